//! At most one stored message per idempotency key and topic inside the window.
//!
//! The key's hash, with the topic's incarnation, is the message's unique key, and a digest of the body rides in the
//! record. So the log itself remembers what was stored, and the index finds it again after any restart; only keys whose
//! record cannot be found yet (being stored, not dispatched) are kept in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::broker::{SendReceipt, Topic};
use crate::clock::Timestamp;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property};
use crate::offset::CommitLogOffset;
use crate::operation::delay::{SECOND, schedule_topic, timer_topic};

/// How long a key is remembered.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Most keys whose messages are being stored at once.
const RUNNING_MAX: usize = 100_000;

#[derive(Default)]
pub(crate) struct Idempotency {
    /// By unique key: where the record ends, or nothing while it is not appended yet.
    running: Mutex<HashMap<Box<str>, Option<CommitLogOffset>>>,
}

/// What may happen to a send with a key.
pub(crate) enum Admission {
    /// Nobody has stored it: append, then say `stored` or `not_stored`.
    New(Keyed),
    /// It is stored already.
    Done(Box<SendReceipt>),
    Refused(BrokerError),
}

/// A key that is being stored.
pub(crate) struct Keyed {
    pub(crate) unique_key: Box<str>,
    digest: String,
}

impl Keyed {
    pub(crate) fn digest_property(&self) -> (&str, &str) {
        (property::BODY_DIGEST, &self.digest)
    }
}

impl Idempotency {
    pub(crate) fn admit(&self, parts: &Parts, topic: &Topic, key: &str, body: &Bytes) -> Admission {
        let unique_key = unique_key_of(topic, key);
        let digest = hex(&Sha256::digest(body)[..8]);
        {
            let mut running = self.running.lock().expect("no code panics while holding it");
            let dispatched = parts.store.dispatched_offset();
            if running.len() >= RUNNING_MAX {
                running.retain(|_, end| end.is_none_or(|end| end > dispatched));
            }
            match running.get(&unique_key) {
                Some(Some(end)) if *end <= dispatched => {
                    running.remove(&unique_key);
                }
                Some(_) => return Admission::Refused(BrokerError::IdempotencyInProgress),
                None if running.len() >= RUNNING_MAX => {
                    return Admission::Refused(BrokerError::Overloaded { what: "idempotency keys" });
                }
                None => {}
            }
            running.insert(unique_key.clone(), None);
        }
        // The place is taken, so nobody else can store this key while the index is asked.
        match self.find(parts, topic, &unique_key, &digest) {
            Ok(None) => Admission::New(Keyed { unique_key, digest }),
            found => {
                self.not_stored(Keyed { unique_key, digest });
                match found {
                    Ok(Some(receipt)) => Admission::Done(Box::new(receipt)),
                    Ok(None) => unreachable!("answered above"),
                    Err(error) => Admission::Refused(error),
                }
            }
        }
    }

    pub(crate) fn stored(&self, keyed: Keyed, end: CommitLogOffset) {
        self.running.lock().expect("no code panics while holding it").insert(keyed.unique_key, Some(end));
    }

    pub(crate) fn not_stored(&self, keyed: Keyed) {
        self.running.lock().expect("no code panics while holding it").remove(&keyed.unique_key);
    }

    fn find(
        &self,
        parts: &Parts,
        topic: &Topic,
        unique_key: &str,
        digest: &str,
    ) -> Result<Option<SendReceipt>, BrokerError> {
        let now = parts.store.now();
        if parts.store.index_failure().is_some() {
            // Without the index nobody can say whether the key was used.
            return Err(BrokerError::Overloaded { what: "an index for idempotency keys" });
        }
        // A delayed message lies elsewhere until its time has come.
        let (levels, timers) = (schedule_topic(), timer_topic());
        let mut found = None;
        for place in [&topic.config.topic, &levels, &timers] {
            found = parts.store.find_by_unique_key(place, unique_key)?;
            if found.is_some() {
                break;
            }
        }
        let Some(message) = found.filter(|message| now.since(message.store_timestamp) < WINDOW) else {
            return Ok(None);
        };
        if message.property(property::BODY_DIGEST) != Some(digest) {
            return Err(BrokerError::IdempotencyKeyReused);
        }
        Ok(Some(SendReceipt {
            unique_key: unique_key.into(),
            queue_id: message.queue_id,
            queue_offset: message.queue_offset,
            commit_log_offset: message.commit_log_offset,
            store_host: message.store_host,
            store_timestamp: message.store_timestamp,
            durability: parts.config.durability,
            duplicate: true,
            waits_for: waits_for(&message).filter(|second| now < second.plus(SECOND)),
            decide_until: None,
        }))
    }
}

/// The second in which it waits, if it is a message with a delivery time.
fn waits_for(message: &StoredMessage) -> Option<Timestamp> {
    message.property(property::TIMER_OUT_MS)?.parse().ok().map(Timestamp)
}

/// 128 bits of a hash over topic, incarnation and key, in upper-case hex like every unique key.
fn unique_key_of(topic: &Topic, key: &str) -> Box<str> {
    let mut hash = Sha256::new();
    hash.update(topic.incarnation.0.to_be_bytes());
    hash.update((topic.config.topic.as_str().len() as u64).to_be_bytes());
    hash.update(topic.config.topic.as_str());
    hash.update(key);
    hex(&hash.finalize()[..16]).into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
