//! Idempotency keys: which stored message each of them stands for, as long as the window lasts.
//!
//! A key is known by a hash of (principal, topic, incarnation, key), which is also the unique key of its message. The
//! record bears a digest of the body as the first of its properties, so the log alone says what a key stands for; this
//! table only saves looking it up. Nothing in it outlives the window, and no key is forgotten before: when the table is
//! full, further keys are refused.
//!
//! Whoever sends holds the shards of its keys from asking until its append is done (`hold`), so of two that come with one
//! key at once, the second sees what became of the first. A key is being stored as long as its record is not confirmed.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::broker::Topic;
use crate::clock::Timestamp;
use crate::message::{StoredMessage, property};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::state::record::{Entry, KeyedMessage};

/// How long a key is remembered when nothing else is asked for.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(600);
/// The longest that may be asked for.
pub const WINDOW_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Most keys of one broker: at most 160 MB.
pub const KEYS_MAX: usize = 1_000_000;
/// One bit each in the mask of shards that a batch needs.
const SHARDS: usize = u64::BITS as usize;

/// What stands for (principal, topic, incarnation, key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub u128);

/// The beginning of the SHA-256 of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest(pub u64);

pub struct IdempotencyKeys {
    shards: Vec<Mutex<Shard>>,
    /// Known ones, and those being stored.
    len: AtomicUsize,
    len_max: usize,
    window: Duration,
}

#[derive(Default)]
struct Shard {
    messages: HashMap<KeyHash, Known>,
    /// Each key of `messages` once, the one stored first in front.
    order: VecDeque<KeyHash>,
}

/// For as long as any broker may be asked to remember.
impl Default for IdempotencyKeys {
    fn default() -> IdempotencyKeys {
        IdempotencyKeys::new(WINDOW_MAX)
    }
}

/// A `KeyedMessage` without its key.
struct Known {
    body_digest: BodyDigest,
    commit_log_offset: CommitLogOffset,
    queue_id: QueueId,
    queue_offset: QueueOffset,
    store_timestamp: Timestamp,
    waits_for: Option<Timestamp>,
}

/// What may happen to a send with a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nobody has stored it: append, then say `stored`.
    New,
    /// It is stored already.
    Done(KeyedMessage),
    /// Somebody else's append is not confirmed yet, or the same batch has it twice.
    InProgress,
    /// The key stands for another body.
    Reused,
    /// There is no place for another key.
    Full,
}

/// The shards of some keys, locked: nobody else decides about them meanwhile.
pub struct HeldKeys<'a> {
    keys: &'a IdempotencyKeys,
    now: Timestamp,
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
    /// Admitted and not stored yet; their places are given back on drop.
    admitted: HashMap<KeyHash, BodyDigest>,
}

impl KeyHash {
    /// Without access control everybody is the same principal: "".
    pub fn of(principal: &str, topic: &Topic, key: &str) -> KeyHash {
        let mut hash = Sha256::new();
        for part in [principal, topic.config.topic.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(topic.incarnation.0.to_be_bytes());
        hash.update(key);
        let hash: [u8; 32] = hash.finalize().into();
        KeyHash(u128::from_be_bytes(*hash.first_chunk().expect("16 of 32 bytes")))
    }

    fn parse(text: &str) -> Option<KeyHash> {
        let hash = KeyHash(u128::from_str_radix(text, 16).ok()?);
        (hash.to_string() == text).then_some(hash)
    }

    fn shard(self) -> usize {
        (self.0 >> (u128::BITS - SHARDS.ilog2())) as usize
    }
}

/// The unique key of its message.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032X}", self.0)
    }
}

impl BodyDigest {
    pub fn of(body: &[u8]) -> BodyDigest {
        let hash: [u8; 32] = Sha256::digest(body).into();
        BodyDigest(u64::from_be_bytes(*hash.first_chunk().expect("8 of 32 bytes")))
    }

    fn parse(text: &str) -> Option<BodyDigest> {
        let digest = BodyDigest(u64::from_str_radix(text, 16).ok()?);
        (digest.to_string() == text).then_some(digest)
    }
}

/// The value of its property.
impl fmt::Display for BodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl KeyedMessage {
    /// Does a property string begin with the digest of a body? Replay asks this of every record, so it looks at nothing
    /// else. What was moved begins with its source instead: its key stands for the message that it was before.
    pub fn is_in(properties: &[u8]) -> bool {
        properties.strip_prefix(property::BODY_DIGEST.as_bytes()).is_some_and(|rest| rest.first() == Some(&1))
    }

    /// What its record says; nothing if it is none of ours.
    pub fn of(message: &StoredMessage) -> Option<KeyedMessage> {
        // A message with a delivery time lies in another queue than its producer was told.
        let real_queue_id = message.property(property::REAL_QUEUE_ID).and_then(|id| id.parse().ok());
        let waits_for = message.property(property::TIMER_OUT_MS).and_then(|second| second.parse().ok());
        Some(KeyedMessage {
            key: KeyHash::parse(message.unique_key()?)?,
            body_digest: BodyDigest::parse(message.property(property::BODY_DIGEST)?)?,
            commit_log_offset: message.commit_log_offset,
            queue_id: real_queue_id.map_or(message.queue_id, QueueId),
            queue_offset: message.queue_offset,
            store_timestamp: message.store_timestamp,
            waits_for: waits_for.map(Timestamp),
        })
    }
}

impl IdempotencyKeys {
    pub fn new(window: Duration) -> IdempotencyKeys {
        IdempotencyKeys::with_room(window, KEYS_MAX)
    }

    fn with_room(window: Duration, len_max: usize) -> IdempotencyKeys {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        IdempotencyKeys { shards, len: AtomicUsize::new(0), len_max, window }
    }

    /// Locks what decides about these keys, always in the same order.
    pub fn hold(&self, keys: impl IntoIterator<Item = KeyHash>, now: Timestamp) -> HeldKeys<'_> {
        let mask = keys.into_iter().fold(0u64, |mask, key| mask | 1 << key.shard());
        let wanted = (0..SHARDS).filter(|shard| mask & 1 << shard != 0);
        let shards = wanted.map(|at| {
            let mut shard = self.lock(at);
            self.forget_old(&mut shard, now);
            (at, shard)
        });
        HeldKeys { keys: self, now, shards: shards.collect(), admitted: HashMap::new() }
    }

    /// Gives back the places of keys whose window is over, before anybody asks for them.
    pub fn sweep(&self, now: Timestamp) {
        (0..SHARDS).for_each(|at| self.forget_old(&mut self.lock(at), now));
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what a snapshot says, and nothing else.
    pub fn apply(&self, entry: &Entry) {
        if let Entry::IdempotencyKeys { messages } = entry {
            messages.iter().for_each(|message| self.replay(message));
        }
    }

    /// What the log says, in its order. The time is that of the log: what was stored a window before this is forgotten.
    /// A place that the table does not have is made: the window may have been shorter.
    pub fn replay(&self, message: &KeyedMessage) {
        let mut shard = self.lock(message.key.shard());
        self.forget_old(&mut shard, message.store_timestamp);
        let known = shard.messages.get(&message.key);
        // A snapshot may be ahead of the place where the log is read from.
        if known.is_none_or(|known| known.commit_log_offset < message.commit_log_offset) && shard.put(message) {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that still counts, in the words of the log, shard by shard: each is copied under its own lock.
    pub fn entries(&self, now: Timestamp) -> impl Iterator<Item = Entry> {
        (0..SHARDS).filter_map(move |at| {
            let shard = self.lock(at);
            let counts = |(_, known): &(&KeyHash, &Known)| now.since(known.store_timestamp) < self.window;
            let messages = shard.messages.iter().filter(counts).map(|(key, known)| known.with_key(*key));
            let mut messages: Vec<_> = messages.collect();
            drop(shard);
            messages.sort_unstable_by_key(|message| message.commit_log_offset);
            (!messages.is_empty()).then_some(Entry::IdempotencyKeys { messages })
        })
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, Shard> {
        self.shards[at].lock().expect("no code panics while holding it")
    }

    fn forget_old(&self, shard: &mut Shard, now: Timestamp) {
        let before = shard.order.len();
        while let Some(key) = shard.order.front()
            && now.since(shard.messages[key].store_timestamp) >= self.window
        {
            shard.messages.remove(key);
            shard.order.pop_front();
        }
        if shard.order.len() < before {
            self.len.fetch_sub(before - shard.order.len(), Ordering::Relaxed);
        }
        // A burst shall not hold its memory for ever.
        if shard.order.is_empty() && before > 0 {
            *shard = Shard::default();
        }
    }
}

impl HeldKeys<'_> {
    /// Everything below `confirmed` is as safe as the broker promises.
    pub fn admit(&mut self, key: KeyHash, body_digest: BodyDigest, confirmed: CommitLogOffset) -> Admission {
        if let Some(admitted) = self.admitted.get(&key) {
            return if *admitted == body_digest { Admission::InProgress } else { Admission::Reused };
        }
        let (now, window) = (self.now, self.keys.window);
        match self.shard(key).messages.get(&key) {
            // One that the clock has caught up with only now is as good as gone.
            Some(known) if now.since(known.store_timestamp) < window => {
                if known.body_digest != body_digest {
                    Admission::Reused
                } else if known.commit_log_offset >= confirmed {
                    Admission::InProgress
                } else {
                    Admission::Done(known.with_key(key))
                }
            }
            _ => {
                if self.keys.len.fetch_add(1, Ordering::Relaxed) >= self.keys.len_max {
                    self.keys.len.fetch_sub(1, Ordering::Relaxed);
                    return Admission::Full;
                }
                self.admitted.insert(key, body_digest);
                Admission::New
            }
        }
    }

    /// An admitted key's record is appended.
    pub fn stored(&mut self, message: &KeyedMessage) {
        let admitted = self.admitted.remove(&message.key);
        assert!(admitted == Some(message.body_digest), "stored without being admitted");
        if !self.shard(message.key).put(message) {
            self.keys.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn shard(&mut self, key: KeyHash) -> &mut Shard {
        let at = self.shards.binary_search_by_key(&key.shard(), |(at, _)| *at).expect("held since `hold`");
        &mut self.shards[at].1
    }
}

impl Drop for HeldKeys<'_> {
    fn drop(&mut self) {
        self.keys.len.fetch_sub(self.admitted.len(), Ordering::Relaxed);
    }
}

impl Shard {
    /// Says whether the key is a new one.
    fn put(&mut self, message: &KeyedMessage) -> bool {
        let KeyedMessage { key, body_digest, commit_log_offset, queue_id, queue_offset, store_timestamp, waits_for } =
            *message;
        let known = Known { body_digest, commit_log_offset, queue_id, queue_offset, store_timestamp, waits_for };
        let is_new = self.messages.insert(key, known).is_none();
        if is_new {
            self.order.push_back(key);
        }
        is_new
    }
}

impl Known {
    fn with_key(&self, key: KeyHash) -> KeyedMessage {
        let Known { body_digest, commit_log_offset, queue_id, queue_offset, store_timestamp, waits_for } = *self;
        KeyedMessage { key, body_digest, commit_log_offset, queue_id, queue_offset, store_timestamp, waits_for }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::TopicConfig;
    use crate::names::TopicName;
    use crate::offset::Incarnation;

    const WINDOW: Duration = Duration::from_millis(1_000);
    const DIGEST: BodyDigest = BodyDigest(7);
    const END: CommitLogOffset = CommitLogOffset(u64::MAX);

    /// Keys spread over the shards, and some share one.
    fn key(number: u64) -> KeyHash {
        KeyHash(u128::from(number % 5) << 123 | u128::from(number))
    }

    fn message(number: u64, at: u64, ms: i64) -> KeyedMessage {
        KeyedMessage {
            key: key(number),
            body_digest: DIGEST,
            commit_log_offset: CommitLogOffset(at),
            queue_id: QueueId(3),
            queue_offset: QueueOffset(at / 100),
            store_timestamp: Timestamp(ms),
            waits_for: number.is_multiple_of(2).then_some(Timestamp(5_000)),
        }
    }

    fn admit(keys: &IdempotencyKeys, number: u64, now: i64) -> Admission {
        keys.hold([key(number)], Timestamp(now)).admit(key(number), DIGEST, END)
    }

    fn store(keys: &IdempotencyKeys, message: &KeyedMessage) {
        let mut held = keys.hold([message.key], message.store_timestamp);
        assert_eq!(held.admit(message.key, DIGEST, END), Admission::New);
        held.stored(message);
    }

    #[test]
    fn c8_a_key_stands_for_one_message_until_its_window_is_over() {
        let keys = IdempotencyKeys::new(WINDOW);
        let first = message(1, 100, 5_000);
        store(&keys, &first);
        for now in [5_000, 5_999] {
            assert_eq!(admit(&keys, 1, now), Admission::Done(first.clone()));
            let mut held = keys.hold([key(1)], Timestamp(now));
            assert_eq!(held.admit(key(1), BodyDigest(8), END), Admission::Reused);
            assert_eq!(held.admit(key(1), DIGEST, CommitLogOffset(100)), Admission::InProgress, "not confirmed");
            assert_eq!(held.admit(key(1), DIGEST, CommitLogOffset(101)), Admission::Done(first.clone()));
        }
        assert_eq!((admit(&keys, 2, 5_000), keys.len()), (Admission::New, 1), "what was not stored takes no place");
        assert_eq!(admit(&keys, 1, 6_000), Admission::New);
        assert!(keys.is_empty());
        let second = message(1, 900, 6_000);
        store(&keys, &second);
        assert_eq!(admit(&keys, 1, 6_999), Admission::Done(second));
        keys.sweep(Timestamp(7_000));
        assert!(keys.is_empty() && keys.entries(Timestamp(7_000)).next().is_none());
    }

    #[test]
    fn c8_a_full_table_refuses_and_forgets_nothing() {
        let keys = IdempotencyKeys::with_room(WINDOW, 10);
        let messages: Vec<_> = (0..10).map(|number| message(number, number, 5_000 + number as i64)).collect();
        messages.iter().for_each(|message| store(&keys, message));
        assert_eq!((admit(&keys, 10, 5_999), keys.len()), (Admission::Full, 10));
        for (number, message) in (0..).zip(&messages) {
            assert_eq!(admit(&keys, number, 5_999), Admission::Done(message.clone()));
        }
        // The first one's time is over, and its place is free.
        assert_eq!(admit(&keys, 10, 6_000), Admission::New);
        let mut held = keys.hold((10..13).map(key), Timestamp(6_001));
        let admitted: Vec<_> = (10..13).map(|number| held.admit(key(number), DIGEST, END)).collect();
        assert_eq!(admitted, [Admission::New, Admission::New, Admission::Full]);
    }

    #[test]
    fn c8_a_batch_has_a_key_once() {
        let keys = IdempotencyKeys::new(WINDOW);
        let mut held = keys.hold([key(1), key(1)], Timestamp(0));
        assert_eq!(held.admit(key(1), DIGEST, END), Admission::New);
        assert_eq!(held.admit(key(1), DIGEST, END), Admission::InProgress);
        assert_eq!(held.admit(key(1), BodyDigest(8), END), Admission::Reused);
        held.stored(&message(1, 100, 0));
        drop(held);
        assert_eq!(keys.len(), 1);
    }

    /// Snapshots are fuzzy: the log is read again from a place that they are ahead of.
    #[test]
    fn b6_a_snapshot_and_the_log_behind_any_place_before_it_say_the_same() {
        let log: Vec<_> = (0..40).map(|at| message(at % 17, at * 100, at as i64 * 60)).collect();
        let live = IdempotencyKeys::new(WINDOW);
        let mut stored = Vec::new();
        for message in &log {
            let mut held = live.hold([message.key], message.store_timestamp);
            if held.admit(message.key, DIGEST, END) == Admission::New {
                held.stored(message);
                stored.push(message.clone());
            }
        }
        let now = log[39].store_timestamp;
        let told = |keys: &IdempotencyKeys| {
            let messages = keys.entries(now).flat_map(|entry| match entry {
                Entry::IdempotencyKeys { messages } => messages,
                other => panic!("{other:?}"),
            });
            let mut messages: Vec<_> = messages.collect();
            messages.sort_by_key(|message| message.commit_log_offset);
            messages
        };
        let expected = told(&live);
        assert!(expected.len() > 10 && stored.len() > expected.len());
        for (upto, read_from) in (0..=stored.len()).flat_map(|upto| (0..=upto).map(move |from| (upto, from))) {
            let before = IdempotencyKeys::new(WINDOW);
            stored[..upto].iter().for_each(|message| before.replay(message));
            let again = IdempotencyKeys::new(WINDOW);
            let taken_at = upto.checked_sub(1).map_or(Timestamp(0), |last| stored[last].store_timestamp);
            before.entries(taken_at).for_each(|entry| again.apply(&entry));
            stored[read_from..].iter().for_each(|message| again.replay(message));
            assert_eq!(told(&again), expected, "snapshot at {upto}, log from {read_from}");
        }
    }

    #[test]
    fn b10_a_key_is_of_one_principal_topic_and_incarnation() {
        let topic = |name: &str, incarnation| Topic {
            config: TopicConfig::new(TopicName::from_client(name).unwrap()),
            topic_id: 1,
            incarnation: Incarnation(incarnation),
            version: 1,
        };
        let orders = topic("orders", 700);
        let hash = KeyHash::of("", &orders, "k");
        let others = [
            KeyHash::of("alice", &orders, "k"),
            KeyHash::of("", &topic("orders", 701), "k"),
            KeyHash::of("", &topic("order", 700), "k"),
            KeyHash::of("", &orders, "l"),
        ];
        assert!(others.iter().all(|other| *other != hash));
        // Records keep it: it must not change.
        assert_eq!(hash.to_string(), "AB4542A1486C68302DCBCC5639819AAC");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(BodyDigest::of(b"hello").to_string(), "2CF24DBA5FB0A30E");
        assert_eq!(BodyDigest::parse("2CF24DBA5FB0A30E"), Some(BodyDigest::of(b"hello")));
        for wrong in ["", "2cf24dba5fb0a30e", "+CF24DBA5FB0A30E", "CF24DBA5FB0A30E"] {
            assert_eq!(BodyDigest::parse(wrong), None, "{wrong}");
            assert_eq!(KeyHash::parse(wrong), None, "{wrong}");
        }
    }
}
