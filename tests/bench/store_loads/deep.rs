//! Goal 19's stores: up to a billion messages that were never sent, a tail that was, and what is asked of them.
//!
//! Where each message lies, in which queue and since when, is arithmetic, and the store's own books say that all are
//! there. Of their 20 GB of entries and 1 TB of records only those are written that a reader here comes to, byte for
//! byte as the store would have; all else is holes, and a reader that comes to one fails the load.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry_broker_core::broker::{BrowseMessages, PullMessages};
use gantry_broker_core::clock::{Clock as _, SystemClock, Timestamp};
use gantry_broker_core::config::Durability;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::{Message, StoredMessage};
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use gantry_broker_core::store::checkpoint::{Checkpoint, CheckpointFile, DerivedEnds};
use gantry_broker_core::store::commit_log::COMMIT_LOG_DIR;
use gantry_broker_core::store::consume_queue::{self, ConsumeQueue, OpenFiles, QueueEnds, QueueEntry};
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::identity::Identity;
use gantry_broker_core::store::record::{EncodedRecord, encode_blank};
use gantry_broker_core::store::segment::file_name;
use gantry_broker_core::{Broker, LocalBroker};

use super::{BODY, Done, Measure, PLANTED_BYTES, PULL, QUEUES, create, make_of, open, runtime, said, send_all, sent};
use crate::loads::BODY_BYTES;
use crate::server::Outcome;

/// A billion of these are a terabyte.
const RECORD_BYTES: u64 = 1_000;
const SEGMENT_RECORDS: u64 = PLANTED_BYTES / RECORD_BYTES;
const FILE_UNITS: u64 = consume_queue::FILE_BYTES / consume_queue::UNIT_BYTES as u64;
/// Messages that really were sent, behind the planted ones.
const TAIL: usize = 100_000;
/// Times that are looked for, over all queues.
const SEEKS: u64 = 2_048;
/// Places that are read from, over all queues.
const PULLS: u64 = 1_024;
/// More entries than a look by time reads at once.
const AHEAD: u64 = 256;
/// How old the youngest planted message is; the oldest is younger than messages live.
const AGE_MS: i64 = 60_000;

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Sends, one by one, at `memory`.
    Send,
    /// Pulls of each queue's newest messages.
    Tail,
    /// Pulls at random places.
    Anywhere,
    /// Looks for random times.
    Seek,
}

impl Look {
    const ALL: [Look; 4] = [Look::Send, Look::Tail, Look::Anywhere, Look::Seek];

    /// As a parent names the load to its child.
    pub fn name(self) -> &'static str {
        match self {
            Look::Send => "deep-send",
            Look::Tail => "deep-tail",
            Look::Anywhere => "deep-anywhere",
            Look::Seek => "deep-seek",
        }
    }

    pub fn named(name: &str) -> Option<Look> {
        Look::ALL.into_iter().find(|look| look.name() == name)
    }
}

/// Where the planted messages are: in segments behind the first one, which holds the state that made their topic.
#[derive(Debug, Clone, Copy)]
struct Planted {
    segments: u64,
    /// When the first ones were stored: one in each queue, a millisecond later the next.
    since: Timestamp,
}

impl Planted {
    fn messages(self) -> u64 {
        self.segments * SEGMENT_RECORDS
    }

    fn in_queue(self, queue: u64) -> u64 {
        (self.messages() + u64::from(QUEUES) - 1 - queue) / u64::from(QUEUES)
    }

    fn end(self) -> CommitLogOffset {
        CommitLogOffset((self.segments + 1) * PLANTED_BYTES)
    }

    fn stored(self, offset: u64) -> Timestamp {
        Timestamp(self.since.0 + offset.cast_signed())
    }

    fn last_stored(self) -> Timestamp {
        self.stored(self.in_queue(0) - 1)
    }

    /// Random queues and offsets that have so many messages behind them: the same for who plants and who looks.
    fn places(self, count: u64, room: u64) -> impl Iterator<Item = (u64, u64)> + Clone {
        (0..count).map(move |number| {
            let queue = number % u64::from(QUEUES);
            (queue, 1 + mixed(number) % (self.in_queue(queue) - 1 - room))
        })
    }

    fn seeks(self) -> impl Iterator<Item = (u64, u64)> + Clone {
        self.places(SEEKS, AHEAD)
    }

    fn pulls(self) -> impl Iterator<Item = (u64, u64)> + Clone {
        self.places(PULLS, u64::from(PULL))
    }
}

/// One message of many that are only thought of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u64);

impl Number {
    fn of(queue: u64, offset: u64) -> Number {
        Number(offset * u64::from(QUEUES) + queue)
    }

    fn queue(self) -> u64 {
        self.0 % u64::from(QUEUES)
    }

    fn offset(self) -> u64 {
        self.0 / u64::from(QUEUES)
    }

    fn segment(self) -> u64 {
        1 + self.0 / SEGMENT_RECORDS
    }

    fn place(self) -> CommitLogOffset {
        CommitLogOffset(self.segment() * PLANTED_BYTES + self.0 % SEGMENT_RECORDS * RECORD_BYTES)
    }

    fn record(self, planted: Planted, topic: &TopicName) -> EncodedRecord {
        let here = "127.0.0.1:1".parse().expect("an address");
        let encoded = |body: usize| {
            let message =
                Message::new(Bytes::from_static(&BODY[..body]), &format!("{:032X}", self.0), Timestamp(1), here);
            EncodedRecord::message(topic, queue_id(self.queue()), here, &message.expect("a legal message"))
        };
        let around = u64::from(encoded(1).record_len()) - 1;
        let mut record = encoded((RECORD_BYTES - around) as usize);
        assert_eq!(u64::from(record.record_len()), RECORD_BYTES, "all are of one length");
        record.place(QueueOffset(self.offset()), self.place(), planted.stored(self.offset()));
        record
    }
}

/// A store with so many planted segments and a real tail, stopped cleanly.
pub fn plant(dir: &Path, segments: u64) -> Outcome<Done> {
    let measure = Measure::begin()?;
    let topic = topic();
    let runtime = runtime()?;
    let broker = open(dir, Durability::Memory)?;
    let incarnation = runtime.block_on(async {
        create(&broker, topic.clone(), QUEUES).await?;
        broker.describe_topic(topic.clone()).await.map(|topic| topic.incarnation).map_err(said)
    })?;
    close(broker)?;
    let length_ms = (segments * SEGMENT_RECORDS / u64::from(QUEUES)).cast_signed();
    let planted = Planted { segments, since: Timestamp(SystemClock.wall().0 - AGE_MS - length_ms) };
    let queues = queues(dir, &topic, incarnation);
    if segments > 0 {
        plant_holes(dir, planted, &queues)?;
        plant_books(dir, planted, &queues)?;
    }

    let broker = open(dir, Durability::Memory)?;
    let ends = runtime.block_on(async {
        send_all(&broker, &topic, 0, TAIL, BODY_BYTES, QUEUES as usize).await?;
        ends(&broker).await
    })?;
    close(broker)?;
    if segments > 0 {
        plant_messages(dir, planted, &queues, &ends)?;
    }
    measure.end(planted.messages() + TAIL as u64, Vec::new())
}

/// The queues, for the names of their files alone.
fn queues(dir: &Path, topic: &TopicName, incarnation: Incarnation) -> Vec<ConsumeQueue> {
    let files = OpenFiles::new(Arc::new(DiskFiles), dir.join("consumequeue"));
    (0..QUEUES).map(|id| ConsumeQueue::new(&files, topic.clone(), QueueId(id), incarnation)).collect()
}

/// All files in their length, nothing in them but the blanks that close the segments.
fn plant_holes(dir: &Path, planted: Planted, queues: &[ConsumeQueue]) -> Outcome<()> {
    let log = dir.join(COMMIT_LOG_DIR);
    let blank = |segment: u64, from: u64| -> Outcome<()> {
        let file =
            File::options().create(true).truncate(false).write(true).open(log.join(file_name(segment * PLANTED_BYTES)));
        let file = file.map_err(told)?;
        file.set_len(PLANTED_BYTES).map_err(told)?;
        file.write_all_at(&encode_blank((PLANTED_BYTES - from) as u32), from).map_err(told)
    };
    blank(0, identity(dir)?.1.0)?;
    (1..=planted.segments).try_for_each(|segment| blank(segment, SEGMENT_RECORDS * RECORD_BYTES))?;
    for (number, queue) in (0..).zip(queues) {
        let end = planted.in_queue(number);
        for offset in (0..end).step_by(FILE_UNITS as usize) {
            let (path, _) = queue.place(QueueOffset(offset));
            std::fs::create_dir_all(path.parent().ok_or("a queue's file lies in a folder")?).map_err(told)?;
            File::create(path).and_then(|file| file.set_len(consume_queue::FILE_BYTES)).map_err(told)?;
        }
    }
    Ok(())
}

/// What a clean stop behind all these messages would have written.
fn plant_books(dir: &Path, planted: Planted, queues: &[ConsumeQueue]) -> Outcome<()> {
    let (mut identity, _) = identity(dir)?;
    identity.stopped.as_mut().ok_or("the store was not stopped")?.end = planted.end();
    identity.write(&DiskFiles, dir).map_err(told)?;

    let (file, _) = CheckpointFile::open(&DiskFiles, &dir.join("checkpoint")).map_err(told)?;
    let stored = planted.last_stored();
    let checkpoint = Checkpoint {
        log_timestamp: stored,
        queues_timestamp: stored,
        index_timestamp: stored,
        synced_offset: planted.end(),
        confirm_offset: planted.end(),
    };
    file.write(&checkpoint).map_err(told)?;

    let ends = DerivedEnds::read(&DiskFiles, dir).map_err(told)?;
    let mut ends = ends.ok_or("a clean stop leaves the queues' ends")?;
    ends.dispatched_below = planted.end().0;
    ends.index.indexed_below = planted.end().0;
    for (number, queue) in (0..).zip(queues) {
        let end = QueueOffset(planted.in_queue(number));
        ends.add(queue, Some(QueueEnds { min: QueueOffset(0), end }));
    }
    ends.write(&DiskFiles, dir).map_err(told)
}

/// With where it ended.
fn identity(dir: &Path) -> Outcome<(Identity, CommitLogOffset)> {
    let identity = Identity::read(&DiskFiles, dir).map_err(told)?.ok_or("the store has no identity")?;
    let end = identity.stopped.as_ref().ok_or("the store was not stopped")?.end;
    Ok((identity, end))
}

/// The records and entries that readers come to; `ends` are the queues' with the tail.
fn plant_messages(dir: &Path, planted: Planted, queues: &[ConsumeQueue], ends: &[QueueOffset]) -> Outcome<()> {
    let mut records: BTreeSet<Number> =
        (0..planted.segments).map(|segment| Number(segment * SEGMENT_RECORDS)).collect();
    let mut entries = BTreeSet::new();
    for (queue, offset) in planted.seeks() {
        entries.extend((offset..offset + AHEAD).map(|offset| Number::of(queue, offset)));
        let came_to = |offset: &u64| *offset < planted.in_queue(queue);
        records.extend(search(ends[queue as usize], offset).filter(came_to).map(|offset| Number::of(queue, offset)));
    }
    for (queue, offset) in planted.pulls() {
        records.extend((offset..offset + u64::from(PULL)).map(|offset| Number::of(queue, offset)));
    }
    entries.extend(&records);

    let topic = topic();
    let log = dir.join(COMMIT_LOG_DIR);
    let mut open = Open::default();
    for number in records {
        let base = number.segment() * PLANTED_BYTES;
        let file = open.at(log.join(file_name(base)))?;
        let record = number.record(planted, &topic);
        file.write_all_at(&record.pieces().concat(), number.place().0 - base).map_err(told)?;
    }
    let mut entries: Vec<Number> = entries.into_iter().collect();
    entries.sort_by_key(|number| (number.queue(), *number));
    for number in entries {
        let (path, at) = queues[number.queue() as usize].place(QueueOffset(number.offset()));
        let entry =
            QueueEntry { commit_log_offset: number.place(), record_len: RECORD_BYTES as u32, tag_hash: 0, inner: 0 };
        open.at(path)?.write_all_at(&entry.encode(), at).map_err(told)?;
    }
    Ok(())
}

/// What a search by time comes to on its way to this offset, in a queue whose every message has a time of its own.
fn search(end: QueueOffset, wanted: u64) -> impl Iterator<Item = u64> {
    let (mut low, mut high) = (0, end.0);
    std::iter::from_fn(move || {
        if low >= high {
            return None;
        }
        let middle = low + (high - low) / 2;
        if middle >= wanted {
            high = middle
        } else {
            low = middle + 1
        }
        Some(middle)
    })
}

/// The file that was written last: the next message mostly lies in it, too.
#[derive(Debug, Default)]
struct Open {
    last: Option<(PathBuf, File)>,
}

impl Open {
    fn at(&mut self, path: PathBuf) -> Outcome<&File> {
        let last = match self.last.take().filter(|(last, _)| *last == path) {
            Some(last) => last,
            None => {
                let file = File::options().write(true).open(&path);
                (path, file.map_err(told)?)
            }
        };
        Ok(&self.last.insert(last).1)
    }
}

/// So many calls on a store that `plant` made.
pub fn look(dir: &Path, look: Look, segments: u64, calls: u64) -> Outcome<Done> {
    let broker = open(dir, Durability::Memory)?;
    let done = runtime()?.block_on(async {
        match look {
            Look::Send => send(&broker, calls).await,
            Look::Tail => tail(&broker, calls).await,
            Look::Anywhere => anywhere(&broker, found(&broker, segments).await?, calls).await,
            Look::Seek => seek(&broker, found(&broker, segments).await?, calls).await,
        }
    })?;
    close(broker)?;
    Ok(done)
}

/// What `plant` planted here.
async fn found(broker: &LocalBroker, segments: u64) -> Outcome<Planted> {
    let first = pull(broker, 0, 0, 1).await?;
    Ok(Planted { segments, since: first[0].store_timestamp })
}

async fn send(broker: &LocalBroker, calls: u64) -> Outcome<Done> {
    let before = ends(broker).await?;
    let make = |call: u64| make_of(topic(), call, 1, BODY_BYTES, |_| queue_id(call % u64::from(QUEUES)));
    // Made before the clock starts: making them is the front ends' work.
    let sends: Vec<_> = (0..calls).map(make).collect();
    let mut clock = CallClock::begin(calls)?;
    for send in sends {
        sent(broker.send_messages(send).await)?;
        clock.called();
    }
    let done = clock.end()?;
    let stored: u64 = ends(broker).await?.iter().zip(before).map(|(after, before)| after.0 - before.0).sum();
    if stored == calls { Ok(done) } else { Err(format!("failed: {calls} were acknowledged, {stored} are stored")) }
}

async fn tail(broker: &LocalBroker, calls: u64) -> Outcome<Done> {
    let newest = |end: &QueueOffset| end.0.checked_sub(u64::from(PULL)).ok_or("the queues hold too little");
    let firsts: Vec<u64> = ends(broker).await?.iter().map(newest).collect::<Result<_, _>>()?;
    let mut clock = CallClock::begin(calls)?;
    for (queue, first) in (0..).zip(firsts).cycle().take(calls as usize) {
        pull(broker, queue, first, PULL).await?;
        clock.called();
    }
    clock.end()
}

async fn anywhere(broker: &LocalBroker, planted: Planted, calls: u64) -> Outcome<Done> {
    for (queue, offset) in planted.pulls() {
        let messages = pull(broker, queue, offset, PULL).await?;
        if (offset..).zip(&messages).any(|(offset, message)| message.store_timestamp != planted.stored(offset)) {
            return Err(format!(
                "failed: what was pulled at {offset} of queue {queue} has other times than were planted"
            ));
        }
    }
    let mut clock = CallClock::begin(calls)?;
    for (queue, offset) in planted.pulls().cycle().take(calls as usize) {
        pull(broker, queue, offset, PULL).await?;
        clock.called();
    }
    clock.end()
}

async fn seek(broker: &LocalBroker, planted: Planted, calls: u64) -> Outcome<Done> {
    for (queue, offset) in planted.seeks() {
        let time = planted.stored(offset);
        let found = seek_one(broker, queue, time).await?;
        let before = &pull(broker, queue, offset - 1, 1).await?[0];
        if found.queue_offset.0 != offset || found.store_timestamp < time || before.store_timestamp >= time {
            let (at, stored) = (found.queue_offset, found.store_timestamp.0);
            return Err(format!(
                "failed: of {} in queue {queue}, {offset} was planted; {at} of {stored} was found",
                time.0
            ));
        }
    }
    let mut clock = CallClock::begin(calls)?;
    for (queue, offset) in planted.seeks().cycle().take(calls as usize) {
        let found = seek_one(broker, queue, planted.stored(offset)).await?;
        if found.queue_offset.0 != offset {
            return Err("failed: another message was found the second time".into());
        }
        clock.called();
    }
    clock.end()
}

async fn seek_one(broker: &LocalBroker, queue: u64, time: Timestamp) -> Outcome<StoredMessage> {
    let browse = BrowseMessages {
        topic: topic(),
        queue_id: Some(queue_id(queue)),
        from: Some(time),
        to: None,
        filter: Filter::All,
        newest_first: false,
        position: None,
        messages_max: 1,
        bytes_max: u32::MAX,
    };
    let found = broker.browse_messages(browse).await.map_err(said)?;
    found.messages.into_iter().next().ok_or_else(|| "failed: nothing was found at a time that has a message".into())
}

/// All of so many messages, checked to be these.
async fn pull(broker: &LocalBroker, queue: u64, offset: u64, count: u32) -> Outcome<Vec<StoredMessage>> {
    let pull = PullMessages {
        topic: topic(),
        queue_id: queue_id(queue),
        offset: QueueOffset(offset),
        messages_max: count,
        bytes_max: u32::MAX,
    };
    let messages = broker.pull_messages(pull).await.map_err(said)?.messages;
    let is_it = |(at, message): (u64, &StoredMessage)| {
        (message.queue_id, message.queue_offset) == (queue_id(queue), QueueOffset(at))
    };
    if messages.len() == count as usize && (offset..).zip(&messages).all(is_it) {
        Ok(messages)
    } else {
        Err(format!("failed: a pull of {count} at {offset} of queue {queue} gave something else"))
    }
}

/// Behind the newest message of each queue.
async fn ends(broker: &LocalBroker) -> Outcome<Vec<QueueOffset>> {
    let queues = broker.query_queue_offsets(topic()).await.map_err(said)?;
    Ok(queues.into_iter().map(|queue| queue.max_offset).collect())
}

/// How long each of many calls takes, the next beginning where one ends.
struct CallClock {
    measure: Measure,
    last: Instant,
    times: Vec<Duration>,
}

impl CallClock {
    fn begin(calls: u64) -> Outcome<CallClock> {
        let times = Vec::with_capacity(calls as usize);
        let measure = Measure::begin()?;
        Ok(CallClock { last: measure.begin, measure, times })
    }

    fn called(&mut self) {
        let now = Instant::now();
        self.times.push(now - self.last);
        self.last = now;
    }

    fn end(self) -> Outcome<Done> {
        self.measure.end(self.times.len() as u64, self.times)
    }
}

fn close(broker: LocalBroker) -> Outcome<()> {
    broker.close().map_err(told)
}

/// The one that loads over the network send to, too.
fn topic() -> TopicName {
    TopicName::from_client("t").expect("a legal name")
}

fn queue_id(queue: u64) -> QueueId {
    QueueId(queue as u32)
}

/// A number for a number, without a pattern (splitmix64).
fn mixed(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use gantry_broker_core::store::record::{self, PropertyCrc};

    use super::*;

    const PLANTED: Planted = Planted { segments: 3, since: Timestamp(1_000) };

    #[test]
    fn every_message_has_a_place_and_a_queue_of_its_own() {
        let sum: u64 = (0..u64::from(QUEUES)).map(|queue| PLANTED.in_queue(queue)).sum();
        assert_eq!(sum, PLANTED.messages());
        for number in [0, 1, SEGMENT_RECORDS - 1, SEGMENT_RECORDS, PLANTED.messages() - 1].map(Number) {
            assert_eq!(Number::of(number.queue(), number.offset()), number);
            assert!(number.offset() < PLANTED.in_queue(number.queue()));
            let in_segment = number.place().0 % PLANTED_BYTES;
            assert_eq!(in_segment % RECORD_BYTES, 0);
            // The blank that closes the segment begins where this ends at the latest.
            assert!(in_segment + RECORD_BYTES <= SEGMENT_RECORDS * RECORD_BYTES);
            assert!(number.place().0 >= PLANTED_BYTES && number.place() < PLANTED.end());
        }
        assert_eq!(Number(SEGMENT_RECORDS).place().0, 2 * PLANTED_BYTES, "each segment begins with one");
    }

    #[test]
    fn what_is_looked_for_was_planted_with_room_around_it() {
        for (places, room) in [(PLANTED.seeks().collect::<Vec<_>>(), AHEAD), (PLANTED.pulls().collect(), PULL.into())] {
            assert!(places.iter().all(|(queue, at)| *at > 0 && at + room <= PLANTED.in_queue(*queue)));
            let different: BTreeSet<_> = places.iter().collect();
            assert!(different.len() * 100 > places.len() * 99, "hardly any twice");
        }
    }

    #[test]
    fn a_record_is_what_a_reader_of_its_place_expects() {
        let number = Number(2 * SEGMENT_RECORDS + 12_345);
        let record = Bytes::from(number.record(PLANTED, &topic()).pieces().concat());
        let message = record::decode(&record, number.place(), PropertyCrc::Required).expect("a whole record");
        assert_eq!((message.queue_id, message.queue_offset.0), (queue_id(number.queue()), number.offset()));
        assert_eq!(message.store_timestamp, PLANTED.stored(number.offset()));
        assert_eq!(u64::from(message.record_len), RECORD_BYTES);
    }

    #[test]
    fn a_search_ends_with_the_message_and_the_one_before_it() {
        let end = 125_090_826;
        for wanted in [1, 2, 77_777_777, end - 1] {
            let path: Vec<u64> = search(QueueOffset(end), wanted).collect();
            assert!(path.len() <= 27 && path.contains(&wanted) && path.contains(&(wanted - 1)));
        }
        assert_eq!(search(QueueOffset(0), 0).count(), 0);
    }
}
