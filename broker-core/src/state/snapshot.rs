//! The state in one piece, so that a start need not read every state record ever written.
//!
//! A snapshot is a log of state entries with the history taken out: what it says is said in the words of `record.rs`
//! and fed to the same `apply`. It is taken while the broker works, part by part, each under its own lock; so each part
//! says up to which place of the log it reflects what was decided, and `replay` passes older records by.
//!
//! Body, numbers as varints (LEB128), entries as in a state record:
//! ```text
//! | u8 version | topic id max | consumer group id max | place up to which the tables reflect the log |
//! | count of topics | each: incarnation, length of entries, entries, count of queues, next queue offset each |
//! | count of consumer groups | each: incarnation, length of entries, entries |
//! | count of pairs | each: group id, topic id, place it reflects, length of entries, entries |
//! | since version 3: place up to which the timers reflect the log, length of entries, entries |
//! | since version 4: place up to which the idempotency keys reflect the log, length of entries, entries |
//! ```
//! A topic's entries are what makes it and, if messages of it have had their time, what is kept of its queues. A pair's
//! entries are, for each queue, where its cell goes on (`start`) and every lease (`change lease`); see also
//! `VERSION_IN_ORDER`. Those of the timers say which delayed messages are done, those of the idempotency keys what each
//! stands for. Permanent: an unknown version is a newer Gantry's.

use crate::delivery::cell::Cell;
use crate::delivery::redelivery::Pair;
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::state::record::{
    CellKey, Entry, LeaseEntry, Reader, StateRecordError, decode_entries, encode_entries, varint,
};
use crate::state::tables::Tables;

const VERSION: u8 = 1;
/// As version 1, and among a pair's entries are a `lease` for each lease whose receive had an id, and an `ack` for what is
/// settled behind messages that wait. Written only where there is such an entry.
const VERSION_IN_ORDER: u8 = 2;
/// As version 2, and the timers follow. Written only where they have something to say.
const VERSION_WITH_TIMERS: u8 = 3;
/// As version 3, and the idempotency keys follow. Written only where there are any.
const VERSION_WITH_KEYS: u8 = 4;

/// What the tables held, and where their queues end.
pub struct TablesPart {
    pub topic_id_max: u32,
    pub consumer_group_id_max: u32,
    /// Every record below is in it.
    pub reflects: CommitLogOffset,
    pub topics: Vec<TopicPart>,
    pub consumer_groups: Vec<ConsumerGroupPart>,
}

pub struct TopicPart {
    pub incarnation: Incarnation,
    pub topic_id: u32,
    /// What makes it anew: a `put topic`, then an `expire messages` if there is anything to say.
    pub entries: Vec<Entry>,
    /// By queue id: the offset of the next message. Without it a queue would begin at 0 again once all of its messages
    /// have been deleted by retention.
    pub queue_ends: Vec<QueueOffset>,
}

pub struct ConsumerGroupPart {
    pub incarnation: Incarnation,
    /// What makes it anew: a `put consumer group`.
    pub entries: Vec<Entry>,
}

/// The cells of one consumer group and one topic.
pub struct PairPart {
    pub pair: Pair,
    /// Every record below is in it.
    pub reflects: CommitLogOffset,
    pub entries: Vec<Entry>,
}

/// What has become of delayed messages.
#[derive(Default)]
pub struct TimersPart {
    /// Every record below is in it.
    pub reflects: CommitLogOffset,
    pub entries: Vec<Entry>,
}

/// What idempotency keys stand for.
#[derive(Default)]
pub struct KeysPart {
    /// Every record below is in it.
    pub reflects: CommitLogOffset,
    pub entries: Vec<Entry>,
}

pub struct Snapshot {
    pub tables: TablesPart,
    pub pairs: Vec<PairPart>,
    pub timers: TimersPart,
    pub keys: KeysPart,
}

/// A body as it grows. Cells are encoded while their lock is held: entries of a million leases would be a gigabyte.
pub struct SnapshotWriter {
    bytes: Vec<u8>,
    pairs: Vec<u8>,
    pair_count: u64,
    timers: TimersPart,
    /// Behind the place it reflects.
    keys: Option<(CommitLogOffset, Vec<u8>)>,
    entries: Vec<u8>,
    version: u8,
}

impl TablesPart {
    /// Copies the tables. Queue ends come later: they are read without the tables' lock.
    pub fn of(tables: &Tables, reflects: CommitLogOffset) -> TablesPart {
        let topics = tables.topics().map(|topic| {
            let (topic_id, version, config) = (topic.topic_id, topic.version, topic.config.clone());
            let mut entries = vec![Entry::PutTopic { topic_id, version, config }];
            let kept_from: Vec<_> = tables.kept_from(topic_id).collect();
            if !kept_from.is_empty() {
                entries.push(Entry::ExpireMessages { topic_id, kept_from });
            }
            TopicPart { incarnation: topic.incarnation, topic_id, entries, queue_ends: Vec::new() }
        });
        let groups = tables.consumer_groups().map(|group| {
            let put = Entry::PutConsumerGroup {
                consumer_group_id: group.consumer_group_id,
                version: group.version,
                config: group.config.clone(),
            };
            ConsumerGroupPart { incarnation: group.incarnation, entries: vec![put] }
        });
        TablesPart {
            topic_id_max: tables.topic_id_max(),
            consumer_group_id_max: tables.consumer_group_id_max(),
            reflects,
            topics: topics.collect(),
            consumer_groups: groups.collect(),
        }
    }
}

impl SnapshotWriter {
    pub fn new() -> SnapshotWriter {
        SnapshotWriter {
            bytes: Vec::new(),
            pairs: Vec::new(),
            pair_count: 0,
            timers: TimersPart::default(),
            keys: None,
            entries: Vec::new(),
            version: VERSION,
        }
    }

    /// Adds the cells of one pair, whose lock the caller holds.
    pub fn pair<'a>(
        &mut self,
        pair: Pair,
        reflects: CommitLogOffset,
        cells: impl IntoIterator<Item = (&'a QueueId, &'a Cell)>,
    ) {
        self.entries.clear();
        for (queue_id, cell) in cells {
            let key = CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id: *queue_id };
            for entry in cell.entries(key) {
                if matches!(entry, Entry::Lease(_) | Entry::Ack { .. }) {
                    self.version = VERSION_IN_ORDER;
                }
                encode_entries(&mut self.entries, [&entry]);
            }
        }
        varint(&mut self.pairs, u64::from(pair.0));
        varint(&mut self.pairs, u64::from(pair.1));
        varint(&mut self.pairs, reflects.0);
        with_len(&mut self.pairs, &self.entries);
        self.pair_count += 1;
    }

    /// Adds the timers, whose lock the caller held while it copied them.
    pub fn timers(&mut self, part: TimersPart) {
        self.timers = part;
    }

    /// Adds the idempotency keys, as they come: entries of a million of them at once would take their place twice.
    pub fn keys(&mut self, reflects: CommitLogOffset, entries: impl IntoIterator<Item = Entry>) {
        let mut encoded = Vec::new();
        entries.into_iter().for_each(|entry| encode_entries(&mut encoded, [&entry]));
        self.keys = (!encoded.is_empty()).then_some((reflects, encoded));
    }

    pub fn finish(mut self, tables: &TablesPart) -> Vec<u8> {
        let has_timers = !self.timers.entries.is_empty();
        let version = match &self.keys {
            Some(_) => VERSION_WITH_KEYS,
            None if has_timers => VERSION_WITH_TIMERS,
            None => self.version,
        };
        self.bytes.push(version);
        let head = [u64::from(tables.topic_id_max), u64::from(tables.consumer_group_id_max), tables.reflects.0];
        head.into_iter().for_each(|number| varint(&mut self.bytes, number));
        varint(&mut self.bytes, tables.topics.len() as u64);
        for topic in &tables.topics {
            self.table(topic.incarnation, &topic.entries);
            varint(&mut self.bytes, topic.queue_ends.len() as u64);
            topic.queue_ends.iter().for_each(|end| varint(&mut self.bytes, end.0));
        }
        varint(&mut self.bytes, tables.consumer_groups.len() as u64);
        tables.consumer_groups.iter().for_each(|group| self.table(group.incarnation, &group.entries));
        varint(&mut self.bytes, self.pair_count);
        self.bytes.append(&mut self.pairs);
        if version >= VERSION_WITH_TIMERS {
            varint(&mut self.bytes, self.timers.reflects.0);
            self.entries.clear();
            encode_entries(&mut self.entries, &self.timers.entries);
            with_len(&mut self.bytes, &self.entries);
        }
        if let Some((reflects, keys)) = &self.keys {
            varint(&mut self.bytes, reflects.0);
            with_len(&mut self.bytes, keys);
        }
        self.bytes
    }

    fn table(&mut self, incarnation: Incarnation, entries: &[Entry]) {
        varint(&mut self.bytes, incarnation.0);
        self.entries.clear();
        encode_entries(&mut self.entries, entries);
        with_len(&mut self.bytes, &self.entries);
    }
}

impl Default for SnapshotWriter {
    fn default() -> SnapshotWriter {
        SnapshotWriter::new()
    }
}

impl Snapshot {
    pub fn decode(body: &[u8]) -> Result<Snapshot, StateRecordError> {
        let mut reader = Reader(body);
        let version = reader.byte()?;
        if !(VERSION..=VERSION_WITH_KEYS).contains(&version) {
            return Err(StateRecordError::NewerVersion(version));
        }
        let (topic_id_max, consumer_group_id_max) = (reader.small()?, reader.small()?);
        let reflects = CommitLogOffset(reader.number()?);
        let mut topics = Vec::new();
        for _ in 0..reader.len()? {
            let incarnation = Incarnation(reader.number()?);
            let entries = read_entries(&mut reader)?;
            let topic_id = match entries[..] {
                [Entry::PutTopic { topic_id, .. }] => topic_id,
                [Entry::PutTopic { topic_id, .. }, Entry::ExpireMessages { topic_id: of, .. }] if of == topic_id => {
                    topic_id
                }
                _ => return Err(StateRecordError::Malformed("a topic is something else")),
            };
            let mut queue_ends = Vec::new();
            for _ in 0..reader.len()? {
                queue_ends.push(QueueOffset(reader.number()?));
            }
            topics.push(TopicPart { incarnation, topic_id, entries, queue_ends });
        }
        let mut consumer_groups = Vec::new();
        for _ in 0..reader.len()? {
            let incarnation = Incarnation(reader.number()?);
            let entries = read_entries(&mut reader)?;
            if !matches!(entries[..], [Entry::PutConsumerGroup { .. }]) {
                return Err(StateRecordError::Malformed("a consumer group is something else"));
            }
            consumer_groups.push(ConsumerGroupPart { incarnation, entries });
        }
        let mut pairs = Vec::new();
        for _ in 0..reader.len()? {
            let pair = (reader.small()?, reader.small()?);
            let reflects = CommitLogOffset(reader.number()?);
            let entries = read_entries(&mut reader)?;
            let of_pair = |entry: &Entry| match entry {
                Entry::Start { cell, .. } | Entry::ChangeLease { cell, .. } => is_of(pair, cell),
                Entry::Lease(LeaseEntry { cell, .. }) | Entry::Ack { cell, .. } if version > VERSION => {
                    is_of(pair, cell)
                }
                _ => false,
            };
            if !entries.iter().all(of_pair) {
                return Err(StateRecordError::Malformed("a pair's entries are of something else"));
            }
            pairs.push(PairPart { pair, reflects, entries });
        }
        let mut timers = TimersPart::default();
        if version >= VERSION_WITH_TIMERS {
            timers.reflects = CommitLogOffset(reader.number()?);
            timers.entries = read_entries(&mut reader)?;
            let of_timers = |entry: &Entry| {
                matches!(
                    entry,
                    Entry::TimersFired { .. }
                        | Entry::LevelFired { .. }
                        | Entry::TimersDone { .. }
                        | Entry::TimersKept { .. }
                )
            };
            if !timers.entries.iter().all(of_timers) {
                return Err(StateRecordError::Malformed("the timers' entries are of something else"));
            }
        }
        let mut keys = KeysPart::default();
        if version >= VERSION_WITH_KEYS {
            keys.reflects = CommitLogOffset(reader.number()?);
            keys.entries = read_entries(&mut reader)?;
            if !keys.entries.iter().all(|entry| matches!(entry, Entry::IdempotencyKeys { .. })) {
                return Err(StateRecordError::Malformed("the idempotency keys' entries are of something else"));
            }
        }
        if !reader.0.is_empty() {
            return Err(StateRecordError::Malformed("a snapshot has bytes left"));
        }
        let tables = TablesPart { topic_id_max, consumer_group_id_max, reflects, topics, consumer_groups };
        Ok(Snapshot { tables, pairs, timers, keys })
    }
}

fn is_of(pair: Pair, cell: &CellKey) -> bool {
    (cell.consumer_group_id, cell.topic_id) == pair
}

fn read_entries(reader: &mut Reader<'_>) -> Result<Vec<Entry>, StateRecordError> {
    let len = reader.len()?;
    decode_entries(reader.bytes(len)?)
}

fn with_len(bytes: &mut Vec<u8>, entries: &[u8]) {
    varint(bytes, entries.len() as u64);
    bytes.extend_from_slice(entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::TopicConfig;
    use crate::clock::Timestamp;
    use crate::delivery::idempotency::{BodyDigest, KeyHash};
    use crate::names::TopicName;
    use crate::state::record::KeyedMessage;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn put(attributes: &[(&str, &str)]) -> Entry {
        let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let config = TopicConfig { attributes, ..TopicConfig::new(TopicName::from_client("orders").unwrap()) };
        Entry::PutTopic { topic_id: 1, version: 2, config }
    }

    fn expire(topic_id: u32) -> Entry {
        Entry::ExpireMessages { topic_id, kept_from: vec![(QueueId(0), QueueOffset(5))] }
    }

    fn body(entries: &[Entry]) -> Vec<u8> {
        let mut tables = Tables::default();
        entries.iter().for_each(|entry| tables.apply(entry, CommitLogOffset(700)));
        let mut part = TablesPart::of(&tables, CommitLogOffset(900));
        part.topics.iter_mut().for_each(|topic| topic.queue_ends = vec![QueueOffset(9)]);
        SnapshotWriter::new().finish(&part)
    }

    /// What an earlier Gantry wrote opens, and what it has no word for is refused by it as newer: the layout is one.
    #[test]
    fn the_bytes_are_the_documented_ones() {
        let head = "01".to_owned() + "0100" + "8407" + "01" + "bc05";
        let topic = "100d".to_owned() + "0102066f726465727301080803";
        let rest = "0109".to_owned() + "00" + "00";
        assert_eq!(hex(&body(&[put(&[])])), format!("{head}0f{topic}{rest}"));
        let expired = format!("{head}15{topic}170401010005{rest}");
        assert_eq!(hex(&body(&[put(&[]), expire(1)])), expired);
    }

    #[test]
    fn c6_the_timers_come_back_and_nothing_else_passes_for_them() {
        let fired =
            Entry::TimersFired { through: Timestamp(5_000), read_to: QueueOffset(300), kept_from: QueueOffset(0) };
        let entries = vec![fired, Entry::LevelFired { level: 3, next: QueueOffset(7) }];
        let body = |entries: &[Entry]| {
            let mut writer = SnapshotWriter::new();
            writer.timers(TimersPart { reflects: CommitLogOffset(900), entries: entries.to_vec() });
            writer.finish(&TablesPart::of(&Tables::default(), CommitLogOffset(1)))
        };
        let bytes = body(&entries);
        assert_eq!(
            hex(&bytes),
            "03".to_owned() + "000001" + "0000" + "00" + "8407" + "0b" + "30058827ac0200" + "31020307"
        );
        let timers = Snapshot::decode(&bytes).unwrap().timers;
        assert_eq!((timers.reflects, timers.entries), (CommitLogOffset(900), entries));
        assert!(matches!(Snapshot::decode(&body(&[Entry::Mark])), Err(StateRecordError::Malformed(_))));
    }

    #[test]
    fn c8_the_idempotency_keys_come_back_and_nothing_else_passes_for_them() {
        let message = KeyedMessage {
            key: KeyHash(1 << 120),
            body_digest: BodyDigest(2 << 56),
            commit_log_offset: CommitLogOffset(300),
            queue_id: QueueId(7),
            queue_offset: QueueOffset(9),
            store_timestamp: Timestamp(5_000),
            waits_for: None,
        };
        let keys = Entry::IdempotencyKeys { messages: vec![message] };
        let body = |entries: &[Entry]| {
            let mut writer = SnapshotWriter::new();
            writer.keys(CommitLogOffset(900), entries.to_vec());
            writer.finish(&TablesPart::of(&Tables::default(), CommitLogOffset(1)))
        };
        let bytes = body(std::slice::from_ref(&keys));
        let key = "01".to_owned() + &"00".repeat(15) + "02" + &"00".repeat(7);
        assert_eq!(
            hex(&bytes),
            "04000001".to_owned()
                + "0000"
                + "00"
                + "0000"
                + "8407"
                + "22"
                + "3620"
                + "01"
                + &key
                + "ac0207098827"
                + "00"
        );
        let read = Snapshot::decode(&bytes).unwrap();
        assert_eq!((read.keys.reflects, read.keys.entries), (CommitLogOffset(900), vec![keys]));
        assert!(read.timers.entries.is_empty());
        assert!(matches!(Snapshot::decode(&body(&[Entry::Mark])), Err(StateRecordError::Malformed(_))));
        assert_eq!(body(&[])[0], VERSION, "read by an earlier Gantry");
        let newer = [&[VERSION_WITH_KEYS + 1], &bytes[1..]].concat();
        assert!(matches!(Snapshot::decode(&newer), Err(StateRecordError::NewerVersion(_))));
    }

    #[test]
    fn a_topic_comes_back_with_its_attributes_and_what_it_has_let_go() {
        let entries = [put(&[("reserve.time", "24")]), expire(1)];
        let snapshot = Snapshot::decode(&body(&entries)).unwrap();
        assert_eq!(snapshot.tables.topics[0].entries, entries);
        assert_eq!(snapshot.tables.topics[0].queue_ends, [QueueOffset(9)]);
        let mut another = TablesPart::of(&Tables::default(), CommitLogOffset(900));
        let part = |entries: &[Entry]| TopicPart {
            incarnation: Incarnation(700),
            topic_id: 1,
            entries: entries.to_vec(),
            queue_ends: Vec::new(),
        };
        for wrong in [&[put(&[]), expire(2)][..], &[expire(1)], &[put(&[]), expire(1), expire(1)], &[]] {
            another.topics = vec![part(wrong)];
            let body = SnapshotWriter::new().finish(&another);
            assert!(matches!(Snapshot::decode(&body), Err(StateRecordError::Malformed(_))), "{wrong:?}");
        }
    }
}
