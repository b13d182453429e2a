//! The bytes of a state record: the body of an ordinary message on the state topic, queue 0.
//!
//! Body: | u8 version | u8 flags | u64 synced offset | entries ... |. The synced offset is what the flusher had synced
//! when the record was made; recovery uses it to tell a torn tail from damage.
//! Entry: | u8 kind | varint length | fields |. Integers in fields are varints (LEB128, low bits first) unless said
//! otherwise; texts are a varint length and UTF-8.
//!
//! | kind | entry | fields |
//! | --- | --- | --- |
//! | 1 | boot | boot number |
//! | 2 | stop | count of exported files, then per file: name, 32 bytes SHA-256 |
//! | 3 | mark | none: carries the synced offset of the head |
//! | 16 | put topic | topic id, version, name, u8 message type, read queues, write queues, u8 permission (1 read, 2 write, 4 batch queues) |
//! | 17 | delete topic | topic id |
//! | 20 | adopt topic | as put topic, then the incarnation: of a topic whose records are older than this one |
//! | 21 | put topic with attributes | as put topic, then the attributes |
//! | 22 | adopt topic with attributes | as adopt topic, then the attributes |
//! | 23 | expire messages | topic id, count, then per queue: queue id, offset of the first message that stays |
//! | 18 | put consumer group | group id, version, name, u8 flags (1 consume enabled, 2 orderly, 4 broadcast), retry max times, retry policy, consume timeout ms, retry queues, start from |
//! | 19 | delete consumer group | group id |
//! | 32 | start | cell, start offset |
//! | 33 | lease | cell, deadline ms, boot number, first sequence, next offset, u8 flags (1 auto renew, 2 attempt id, 4 client), \[u64 attempt id hash\], \[u64 client\], count, then per message: offset minus the one before, attempt |
//! | 34 | ack | cell, count, then per message: offset minus the one before |
//! | 35 | change lease | cell, offset, deadline ms, boot number, sequence, attempt |
//! | 36 | commit offset | cell, offset |
//! | 37 | release client | cell, u64 client, deadline ms |
//! | 48 | timers fired | through ms, wheel offset read to, wheel offset below which nothing waits |
//! | 49 | level fired | level, next offset |
//! | 50 | timers done | count, then per message: wheel offset minus the one before (in snapshots alone) |
//! | 51 | timers kept | as timers done (in snapshots alone) |
//! | 54 | idempotency keys | count, then per message: 16 bytes key, 8 bytes body digest, commit-log offset, queue id, queue offset, stored ms, second it waits for or 0 (in snapshots alone) |
//!
//! Cell: group id, topic id, queue id. Retry policy: u8 0, count, ms each; or u8 1, initial ms, max ms, f32 bits as u32.
//! Start from: u8 0 young, 1 min, 2 max, 3 time and ms. Attributes: count, then per attribute: name, value; batch queues
//! are said by the permission alone, and a topic without others is written as kind 16 or 20. Permanent: entries are never re-laid, new ones take new kinds.

use std::time::Duration;

use crate::broker::{ConsumerGroupConfig, Permission, RetryPolicy, StartFrom, TopicConfig};
use crate::clock::Timestamp;
use crate::delivery::clients::ClientId;
use crate::delivery::idempotency::{BodyDigest, KeyHash};
use crate::message::MessageType;
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::receipt_handle::LeaseId;
use crate::topic_attributes::{QUEUE_TYPE, TopicAttributes};

pub const VERSION: u8 = 1;
const HEAD_LEN: usize = 10;

/// Names one cell: the deliveries of one queue to one consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellKey {
    pub consumer_group_id: u32,
    pub topic_id: u32,
    pub queue_id: QueueId,
}

/// One decided fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Boot {
        boot: u64,
    },
    Stop {
        exported: Vec<(String, [u8; 32])>,
    },
    Mark,
    PutTopic {
        topic_id: u32,
        version: u64,
        config: TopicConfig,
    },
    AdoptTopic {
        topic_id: u32,
        version: u64,
        incarnation: Incarnation,
        config: TopicConfig,
    },
    DeleteTopic {
        topic_id: u32,
    },
    /// The time of messages is over: queues begin at these offsets, whatever the log still holds.
    ExpireMessages {
        topic_id: u32,
        kept_from: Vec<(QueueId, QueueOffset)>,
    },
    PutConsumerGroup {
        consumer_group_id: u32,
        version: u64,
        config: ConsumerGroupConfig,
    },
    DeleteConsumerGroup {
        consumer_group_id: u32,
    },
    Start {
        cell: CellKey,
        offset: u64,
    },
    Lease(LeaseEntry),
    Ack {
        cell: CellKey,
        offsets: Vec<u64>,
    },
    ChangeLease {
        cell: CellKey,
        offset: u64,
        deadline: Timestamp,
        lease_id: LeaseId,
        attempt: u32,
    },
    CommitOffset {
        cell: CellKey,
        offset: u64,
    },
    /// What this consumer kept while it lived is due at `deadline`.
    ReleaseClient {
        cell: CellKey,
        client: ClientId,
        deadline: Timestamp,
    },
    /// Of the messages in the topic of timers, nothing is left to do for those below `read_to` whose second is `through`
    /// or earlier, nor for any below `kept_from`.
    TimersFired {
        through: Timestamp,
        read_to: QueueOffset,
        kept_from: QueueOffset,
    },
    /// The messages of a delay level below this offset are delivered.
    LevelFired {
        level: u32,
        next: QueueOffset,
    },
    /// Nothing is left to do for these messages in the topic of timers, whose seconds are over. Offsets ascend.
    TimersDone {
        offsets: Vec<u64>,
    },
    /// These messages in the topic of timers wait elsewhere in it, whatever their seconds. Offsets ascend.
    TimersKept {
        offsets: Vec<u64>,
    },
    /// Messages that were sent with an idempotency key.
    IdempotencyKeys {
        messages: Vec<KeyedMessage>,
    },
}

/// Messages of one queue handed out together. Offsets ascend; message `i` has the lease id `(boot, sequence + i)`.
/// Every offset below `next` that is leased neither here nor before is settled: nobody of the group wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseEntry {
    pub cell: CellKey,
    pub deadline: Timestamp,
    pub first: LeaseId,
    pub next: u64,
    pub auto_renew: bool,
    pub attempt_id_hash: Option<u64>,
    /// Who keeps them while it lives, up to the deadline. Only with `auto_renew`, which older records have alone.
    pub client: Option<ClientId>,
    pub messages: Vec<(u64, u32)>,
}

/// A message that was sent with an idempotency key, and what its producer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedMessage {
    pub key: KeyHash,
    pub body_digest: BodyDigest,
    pub commit_log_offset: CommitLogOffset,
    /// Of the topic it was sent to.
    pub queue_id: QueueId,
    /// Where it lies, which is another queue if it waits for its time.
    pub queue_offset: QueueOffset,
    pub store_timestamp: Timestamp,
    /// See `SendReceipt::waits_for`.
    pub waits_for: Option<Timestamp>,
}

/// Why a state record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateRecordError {
    #[error("state record version {0} was written by a newer Gantry")]
    NewerVersion(u8),
    #[error("state entry kind {0} was written by a newer Gantry")]
    UnknownKind(u8),
    #[error("a state record holds {0} of a newer Gantry")]
    NewerField(&'static str),
    #[error("a state record is malformed: {0}")]
    Malformed(&'static str),
}

pub fn encode(synced: CommitLogOffset, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend([VERSION, 0]);
    bytes.extend(synced.0.to_be_bytes());
    encode_entries(&mut bytes, entries);
    bytes
}

/// Entries alone, as a snapshot keeps them.
pub(super) fn encode_entries<'a>(bytes: &mut Vec<u8>, entries: impl IntoIterator<Item = &'a Entry>) {
    let mut fields = Writer(Vec::with_capacity(64));
    for entry in entries {
        fields.0.clear();
        let kind = fields.entry(entry);
        bytes.push(kind);
        varint(bytes, fields.0.len() as u64);
        bytes.extend_from_slice(&fields.0);
    }
}

/// The synced offset stamped into a state record, without reading its entries.
pub fn synced_stamp(body: &[u8]) -> Option<CommitLogOffset> {
    if *body.first()? != VERSION {
        return None;
    }
    let stamp = body.get(2..HEAD_LEN)?.try_into().ok()?;
    Some(CommitLogOffset(u64::from_be_bytes(stamp)))
}

pub fn decode(body: &[u8]) -> Result<Vec<Entry>, StateRecordError> {
    let (head, rest) = body.split_at_checked(HEAD_LEN).ok_or(StateRecordError::Malformed("shorter than its head"))?;
    if head[0] != VERSION {
        return Err(StateRecordError::NewerVersion(head[0]));
    }
    if head[1] != 0 {
        return Err(StateRecordError::NewerField("head flags"));
    }
    decode_entries(rest)
}

/// Entries alone, as a snapshot keeps them.
pub(super) fn decode_entries(mut rest: &[u8]) -> Result<Vec<Entry>, StateRecordError> {
    let mut entries = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let mut reader = Reader(after);
        let len = reader.len()?;
        let (fields, after) =
            reader.0.split_at_checked(len).ok_or(StateRecordError::Malformed("an entry passes the end"))?;
        let mut fields = Reader(fields);
        entries.push(fields.entry(*kind)?);
        if !fields.0.is_empty() {
            return Err(StateRecordError::Malformed("an entry has bytes left"));
        }
        rest = after;
    }
    Ok(entries)
}

pub(super) fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

struct Writer(Vec<u8>);

impl Writer {
    /// Writes the fields and says the kind.
    fn entry(&mut self, entry: &Entry) -> u8 {
        match entry {
            Entry::Boot { boot } => {
                self.number(*boot);
                1
            }
            Entry::Stop { exported } => {
                self.number(exported.len() as u64);
                for (name, hash) in exported {
                    self.text(name);
                    self.0.extend_from_slice(hash);
                }
                2
            }
            Entry::Mark => 3,
            Entry::PutTopic { topic_id, version, config } => {
                self.topic(*topic_id, *version, config);
                if self.attributes(&config.attributes) { 21 } else { 16 }
            }
            Entry::AdoptTopic { topic_id, version, incarnation, config } => {
                self.topic(*topic_id, *version, config);
                self.number(incarnation.0);
                if self.attributes(&config.attributes) { 22 } else { 20 }
            }
            Entry::DeleteTopic { topic_id } => {
                self.number(u64::from(*topic_id));
                17
            }
            Entry::ExpireMessages { topic_id, kept_from } => {
                self.number(u64::from(*topic_id));
                self.number(kept_from.len() as u64);
                for (queue_id, offset) in kept_from {
                    self.number(u64::from(queue_id.0));
                    self.number(offset.0);
                }
                23
            }
            Entry::PutConsumerGroup { consumer_group_id, version, config } => {
                self.number(u64::from(*consumer_group_id));
                self.number(*version);
                self.consumer_group(config);
                18
            }
            Entry::DeleteConsumerGroup { consumer_group_id } => {
                self.number(u64::from(*consumer_group_id));
                19
            }
            Entry::Start { cell, offset } => {
                self.cell(cell);
                self.number(*offset);
                32
            }
            Entry::Lease(lease) => {
                self.lease(lease);
                33
            }
            Entry::Ack { cell, offsets } => {
                self.cell(cell);
                self.offsets(offsets);
                34
            }
            Entry::ChangeLease { cell, offset, deadline, lease_id, attempt } => {
                self.cell(cell);
                self.number(*offset);
                self.time(*deadline);
                self.number(lease_id.boot);
                self.number(lease_id.sequence);
                self.number(u64::from(*attempt));
                35
            }
            Entry::CommitOffset { cell, offset } => {
                self.cell(cell);
                self.number(*offset);
                36
            }
            Entry::ReleaseClient { cell, client, deadline } => {
                self.cell(cell);
                self.0.extend(client.0.to_be_bytes());
                self.time(*deadline);
                37
            }
            Entry::TimersFired { through, read_to, kept_from } => {
                self.time(*through);
                self.number(read_to.0);
                self.number(kept_from.0);
                48
            }
            Entry::LevelFired { level, next } => {
                self.number(u64::from(*level));
                self.number(next.0);
                49
            }
            Entry::TimersDone { offsets } => {
                self.offsets(offsets);
                50
            }
            Entry::TimersKept { offsets } => {
                self.offsets(offsets);
                51
            }
            Entry::IdempotencyKeys { messages } => {
                self.number(messages.len() as u64);
                messages.iter().for_each(|message| self.keyed(message));
                54
            }
        }
    }

    fn topic(&mut self, topic_id: u32, version: u64, config: &TopicConfig) {
        self.number(u64::from(topic_id));
        self.number(version);
        self.text(config.topic.as_str());
        self.0.push(message_type_byte(config.message_type));
        self.number(u64::from(config.read_queues));
        self.number(u64::from(config.write_queues));
        let permission = u8::from(config.permission.read) | u8::from(config.permission.write) << 1;
        self.0.push(permission | u8::from(config.attributes.has_batch_queues()) << 2);
    }

    /// Says whether there were any to write.
    fn attributes(&mut self, attributes: &TopicAttributes) -> bool {
        let said_elsewhere = |name: &str| name == QUEUE_TYPE && attributes.has_batch_queues();
        let count = attributes.iter().filter(|(name, _)| !said_elsewhere(name)).count();
        if count == 0 {
            return false;
        }
        self.number(count as u64);
        for (name, value) in attributes.iter().filter(|(name, _)| !said_elsewhere(name)) {
            self.text(name);
            self.text(value);
        }
        true
    }

    fn consumer_group(&mut self, config: &ConsumerGroupConfig) {
        self.text(config.consumer_group.as_str());
        self.0.push(
            u8::from(config.consume_enabled) | u8::from(config.orderly) << 1 | u8::from(config.broadcast_enabled) << 2,
        );
        self.number(u64::from(config.retry_max_times));
        match &config.retry_policy {
            RetryPolicy::Customized(pauses) => {
                self.0.push(0);
                self.number(pauses.len() as u64);
                pauses.iter().for_each(|pause| self.duration(*pause));
            }
            RetryPolicy::Exponential { initial, max, multiplier } => {
                self.0.push(1);
                self.duration(*initial);
                self.duration(*max);
                self.0.extend(multiplier.to_bits().to_be_bytes());
            }
        }
        self.duration(config.consume_timeout);
        self.number(u64::from(config.retry_queues));
        match config.start_from {
            StartFrom::Young => self.0.push(0),
            StartFrom::Min => self.0.push(1),
            StartFrom::Max => self.0.push(2),
            StartFrom::Time(time) => {
                self.0.push(3);
                self.time(time);
            }
        }
    }

    fn lease(&mut self, lease: &LeaseEntry) {
        self.cell(&lease.cell);
        self.time(lease.deadline);
        self.number(lease.first.boot);
        self.number(lease.first.sequence);
        self.number(lease.next);
        let (has_attempt_id, has_client) = (lease.attempt_id_hash.is_some(), lease.client.is_some());
        self.0.push(u8::from(lease.auto_renew) | u8::from(has_attempt_id) << 1 | u8::from(has_client) << 2);
        if let Some(hash) = lease.attempt_id_hash {
            self.0.extend(hash.to_be_bytes());
        }
        if let Some(client) = lease.client {
            self.0.extend(client.0.to_be_bytes());
        }
        self.number(lease.messages.len() as u64);
        let mut before = 0;
        for (offset, attempt) in &lease.messages {
            self.number(offset - before);
            self.number(u64::from(*attempt));
            before = *offset;
        }
    }

    fn keyed(&mut self, message: &KeyedMessage) {
        self.0.extend(message.key.0.to_be_bytes());
        self.0.extend(message.body_digest.0.to_be_bytes());
        self.number(message.commit_log_offset.0);
        self.number(u64::from(message.queue_id.0));
        self.number(message.queue_offset.0);
        self.time(message.store_timestamp);
        self.time(message.waits_for.unwrap_or_default());
    }

    fn cell(&mut self, cell: &CellKey) {
        self.number(u64::from(cell.consumer_group_id));
        self.number(u64::from(cell.topic_id));
        self.number(u64::from(cell.queue_id.0));
    }

    /// Ascending ones.
    fn offsets(&mut self, offsets: &[u64]) {
        self.number(offsets.len() as u64);
        let mut before = 0;
        for offset in offsets {
            self.number(offset - before);
            before = *offset;
        }
    }

    fn number(&mut self, value: u64) {
        varint(&mut self.0, value);
    }

    /// A time before 1970 is no time of ours.
    fn time(&mut self, time: Timestamp) {
        self.number(u64::try_from(time.0).unwrap_or(0));
    }

    fn duration(&mut self, duration: Duration) {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes as they are.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], StateRecordError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(StateRecordError::Malformed("an entry ends early"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn entry(&mut self, kind: u8) -> Result<Entry, StateRecordError> {
        Ok(match kind {
            1 => Entry::Boot { boot: self.number()? },
            2 => {
                let count = self.len()?;
                let mut exported = Vec::new();
                for _ in 0..count {
                    exported.push((self.text()?, self.array()?));
                }
                Entry::Stop { exported }
            }
            3 => Entry::Mark,
            16 => {
                let (topic_id, version, config) = self.topic()?;
                Entry::PutTopic { topic_id, version, config }
            }
            20 => {
                let (topic_id, version, config) = self.topic()?;
                Entry::AdoptTopic { topic_id, version, incarnation: Incarnation(self.number()?), config }
            }
            21 => {
                let (topic_id, version, mut config) = self.topic()?;
                self.attributes(&mut config)?;
                Entry::PutTopic { topic_id, version, config }
            }
            22 => {
                let (topic_id, version, mut config) = self.topic()?;
                let incarnation = Incarnation(self.number()?);
                self.attributes(&mut config)?;
                Entry::AdoptTopic { topic_id, version, incarnation, config }
            }
            23 => {
                let topic_id = self.small()?;
                let mut kept_from = Vec::new();
                for _ in 0..self.len()? {
                    kept_from.push((QueueId(self.small()?), QueueOffset(self.number()?)));
                }
                Entry::ExpireMessages { topic_id, kept_from }
            }
            17 => Entry::DeleteTopic { topic_id: self.small()? },
            18 => Entry::PutConsumerGroup {
                consumer_group_id: self.small()?,
                version: self.number()?,
                config: self.consumer_group()?,
            },
            19 => Entry::DeleteConsumerGroup { consumer_group_id: self.small()? },
            32 => Entry::Start { cell: self.cell()?, offset: self.number()? },
            33 => Entry::Lease(self.lease()?),
            34 => Entry::Ack { cell: self.cell()?, offsets: self.offsets()? },
            35 => Entry::ChangeLease {
                cell: self.cell()?,
                offset: self.number()?,
                deadline: self.time()?,
                lease_id: LeaseId { boot: self.number()?, sequence: self.number()? },
                attempt: self.small()?,
            },
            36 => Entry::CommitOffset { cell: self.cell()?, offset: self.number()? },
            37 => {
                let cell = self.cell()?;
                let client = ClientId(u64::from_be_bytes(self.array()?));
                Entry::ReleaseClient { cell, client, deadline: self.time()? }
            }
            48 => Entry::TimersFired {
                through: self.time()?,
                read_to: QueueOffset(self.number()?),
                kept_from: QueueOffset(self.number()?),
            },
            49 => Entry::LevelFired { level: self.small()?, next: QueueOffset(self.number()?) },
            50 => Entry::TimersDone { offsets: self.offsets()? },
            51 => Entry::TimersKept { offsets: self.offsets()? },
            54 => {
                let mut messages = Vec::new();
                for _ in 0..self.len()? {
                    messages.push(self.keyed()?);
                }
                Entry::IdempotencyKeys { messages }
            }
            unknown => return Err(StateRecordError::UnknownKind(unknown)),
        })
    }

    fn topic(&mut self) -> Result<(u32, u64, TopicConfig), StateRecordError> {
        let (topic_id, version) = (self.small()?, self.number()?);
        let topic = TopicName::from_store(self.text()?.as_bytes()).map_err(|_| BAD_NAME)?;
        let message_type = message_type(self.byte()?)?;
        let (read_queues, write_queues) = (self.small()?, self.small()?);
        let bits = self.flags(0b111, "permissions")?;
        let permission = Permission { read: bits & 1 != 0, write: bits & 2 != 0 };
        let attributes = match bits & 4 {
            0 => TopicAttributes::default(),
            _ => TopicAttributes::of_batch_queues(),
        };
        let config = TopicConfig { topic, message_type, read_queues, write_queues, permission, attributes };
        Ok((topic_id, version, config))
    }

    /// Adds those that follow to what the permission said.
    fn attributes(&mut self, config: &mut TopicConfig) -> Result<(), StateRecordError> {
        let said = config.attributes.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let mut attributes: Vec<(String, String)> = said.collect();
        for _ in 0..self.len()? {
            attributes.push((self.text()?, self.text()?));
        }
        config.attributes = attributes.into_iter().collect();
        Ok(())
    }

    fn consumer_group(&mut self) -> Result<ConsumerGroupConfig, StateRecordError> {
        let consumer_group = ConsumerGroup::from_store(self.text()?.as_bytes()).map_err(|_| BAD_NAME)?;
        let flags = self.flags(0b111, "consumer group flags")?;
        let retry_max_times = self.small()?;
        let retry_policy = match self.byte()? {
            0 => {
                let count = self.len()?;
                let mut pauses = Vec::new();
                for _ in 0..count {
                    pauses.push(self.duration()?);
                }
                RetryPolicy::Customized(pauses)
            }
            1 => RetryPolicy::Exponential {
                initial: self.duration()?,
                max: self.duration()?,
                multiplier: f32::from_bits(u32::from_be_bytes(self.array()?)),
            },
            _ => return Err(StateRecordError::NewerField("a retry policy")),
        };
        let consume_timeout = self.duration()?;
        let retry_queues = self.small()?;
        let start_from = match self.byte()? {
            0 => StartFrom::Young,
            1 => StartFrom::Min,
            2 => StartFrom::Max,
            3 => StartFrom::Time(self.time()?),
            _ => return Err(StateRecordError::NewerField("a start")),
        };
        Ok(ConsumerGroupConfig {
            consumer_group,
            consume_enabled: flags & 1 != 0,
            orderly: flags & 2 != 0,
            broadcast_enabled: flags & 4 != 0,
            retry_max_times,
            retry_policy,
            consume_timeout,
            retry_queues,
            start_from,
        })
    }

    fn lease(&mut self) -> Result<LeaseEntry, StateRecordError> {
        let cell = self.cell()?;
        let deadline = self.time()?;
        let first = LeaseId { boot: self.number()?, sequence: self.number()? };
        let next = self.number()?;
        let flags = self.flags(0b111, "lease flags")?;
        let attempt_id_hash = match flags & 2 {
            0 => None,
            _ => Some(u64::from_be_bytes(self.array()?)),
        };
        let client = match flags & 4 {
            0 => None,
            _ => Some(ClientId(u64::from_be_bytes(self.array()?))),
        };
        let count = self.len()?;
        let mut messages = Vec::new();
        let mut before = 0u64;
        for _ in 0..count {
            before = before.checked_add(self.number()?).ok_or(BAD_NUMBER)?;
            messages.push((before, self.small()?));
        }
        let auto_renew = flags & 1 != 0;
        Ok(LeaseEntry { cell, deadline, first, next, auto_renew, attempt_id_hash, client, messages })
    }

    fn keyed(&mut self) -> Result<KeyedMessage, StateRecordError> {
        Ok(KeyedMessage {
            key: KeyHash(u128::from_be_bytes(self.array()?)),
            body_digest: BodyDigest(u64::from_be_bytes(self.array()?)),
            commit_log_offset: CommitLogOffset(self.number()?),
            queue_id: QueueId(self.small()?),
            queue_offset: QueueOffset(self.number()?),
            store_timestamp: self.time()?,
            waits_for: Some(self.time()?).filter(|second| *second != Timestamp::default()),
        })
    }

    fn cell(&mut self) -> Result<CellKey, StateRecordError> {
        Ok(CellKey { consumer_group_id: self.small()?, topic_id: self.small()?, queue_id: QueueId(self.small()?) })
    }

    fn offsets(&mut self) -> Result<Vec<u64>, StateRecordError> {
        let mut offsets = Vec::new();
        let mut before = 0u64;
        for _ in 0..self.len()? {
            before = before.checked_add(self.number()?).ok_or(BAD_NUMBER)?;
            offsets.push(before);
        }
        Ok(offsets)
    }

    pub(super) fn number(&mut self) -> Result<u64, StateRecordError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(BAD_NUMBER);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BAD_NUMBER)
    }

    pub(super) fn small(&mut self) -> Result<u32, StateRecordError> {
        u32::try_from(self.number()?).map_err(|_| BAD_NUMBER)
    }

    pub(super) fn len(&mut self) -> Result<usize, StateRecordError> {
        usize::try_from(self.number()?).map_err(|_| BAD_NUMBER)
    }

    fn time(&mut self) -> Result<Timestamp, StateRecordError> {
        i64::try_from(self.number()?).map(Timestamp).map_err(|_| BAD_NUMBER)
    }

    fn duration(&mut self) -> Result<Duration, StateRecordError> {
        self.number().map(Duration::from_millis)
    }

    /// A bit that we do not know means something: passing over it would lose what it says.
    fn flags(&mut self, known: u8, what: &'static str) -> Result<u8, StateRecordError> {
        let flags = self.byte()?;
        if flags & !known == 0 { Ok(flags) } else { Err(StateRecordError::NewerField(what)) }
    }

    pub(super) fn byte(&mut self) -> Result<u8, StateRecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateRecordError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(StateRecordError::Malformed("an entry ends early"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn text(&mut self) -> Result<String, StateRecordError> {
        let len = self.len()?;
        let text = self.bytes(len)?;
        String::from_utf8(text.to_vec()).map_err(|_| BAD_NAME)
    }
}

const BAD_NUMBER: StateRecordError = StateRecordError::Malformed("a number is out of range");
const BAD_NAME: StateRecordError = StateRecordError::Malformed("a name is not one");

fn message_type_byte(message_type: MessageType) -> u8 {
    match message_type {
        MessageType::Normal => 1,
        MessageType::Fifo => 2,
        MessageType::Delay => 3,
        MessageType::Transaction => 4,
        MessageType::Lite => 5,
        MessageType::Priority => 6,
        MessageType::Mixed => 7,
    }
}

fn message_type(byte: u8) -> Result<MessageType, StateRecordError> {
    Ok(match byte {
        1 => MessageType::Normal,
        2 => MessageType::Fifo,
        3 => MessageType::Delay,
        4 => MessageType::Transaction,
        5 => MessageType::Lite,
        6 => MessageType::Priority,
        7 => MessageType::Mixed,
        _ => return Err(StateRecordError::NewerField("a message type")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> CellKey {
        CellKey { consumer_group_id: 1, topic_id: 300, queue_id: QueueId(7) }
    }

    fn samples() -> Vec<Entry> {
        let group = |policy| ConsumerGroupConfig {
            retry_policy: policy,
            start_from: StartFrom::Time(Timestamp(5)),
            ..ConsumerGroupConfig::new(ConsumerGroup::from_client("g").unwrap())
        };
        let exponential = RetryPolicy::Exponential {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(7200),
            multiplier: 2.0,
        };
        vec![
            Entry::Boot { boot: 3 },
            Entry::Stop { exported: vec![("topics.json".into(), [9; 32])] },
            Entry::Mark,
            Entry::PutTopic {
                topic_id: 1,
                version: 2,
                config: TopicConfig::new(TopicName::from_client("orders").unwrap()),
            },
            Entry::DeleteTopic { topic_id: u32::MAX },
            Entry::PutConsumerGroup { consumer_group_id: 1, version: 1, config: group(exponential) },
            Entry::PutConsumerGroup {
                consumer_group_id: 2,
                version: 1,
                config: group(RetryPolicy::Customized(vec![Duration::from_secs(1)])),
            },
            Entry::DeleteConsumerGroup { consumer_group_id: 1 },
            Entry::Start { cell: cell(), offset: 0 },
            Entry::Lease(LeaseEntry {
                cell: cell(),
                deadline: Timestamp(1_700_000_000_000),
                first: LeaseId { boot: 2, sequence: 40 },
                next: 130,
                auto_renew: true,
                attempt_id_hash: Some(u64::MAX),
                client: None,
                messages: vec![(100, 2), (128, 1), (129, 1)],
            }),
            Entry::Ack { cell: cell(), offsets: vec![100, 129] },
            Entry::ChangeLease {
                cell: cell(),
                offset: 128,
                deadline: Timestamp(1),
                lease_id: LeaseId { boot: 2, sequence: 43 },
                attempt: 1,
            },
            Entry::CommitOffset { cell: cell(), offset: u64::MAX },
            Entry::AdoptTopic {
                topic_id: 3,
                version: 1,
                incarnation: Incarnation(700),
                config: TopicConfig {
                    attributes: TopicAttributes::of_batch_queues(),
                    ..TopicConfig::new(TopicName::from_store(b"%RETRY%g+t.x").unwrap())
                },
            },
            Entry::PutTopic {
                topic_id: 1,
                version: 3,
                config: TopicConfig {
                    attributes: attributes(&[("reserve.time", "24"), ("cleanup.policy", "DELETE")]),
                    ..TopicConfig::new(TopicName::from_client("orders").unwrap())
                },
            },
            Entry::AdoptTopic {
                topic_id: 4,
                version: 1,
                incarnation: Incarnation(700),
                config: TopicConfig {
                    attributes: attributes(&[("queue.type", "BatchCQ"), ("é", "")]),
                    ..TopicConfig::new(TopicName::from_client("b").unwrap())
                },
            },
            Entry::ExpireMessages {
                topic_id: 300,
                kept_from: vec![(QueueId(0), QueueOffset(5)), (QueueId(7), QueueOffset(300))],
            },
            Entry::TimersFired {
                through: Timestamp(1_700_000_000_000),
                read_to: QueueOffset(300),
                kept_from: QueueOffset(7),
            },
            Entry::LevelFired { level: 3, next: QueueOffset(129) },
            Entry::TimersDone { offsets: vec![5, 5 + 128] },
            Entry::TimersKept { offsets: vec![7, 7 + 128] },
            Entry::IdempotencyKeys { messages: vec![keyed(None), keyed(Some(Timestamp(4_000)))] },
            Entry::Lease(LeaseEntry {
                cell: cell(),
                deadline: Timestamp(1_700_000_000_000),
                first: LeaseId { boot: 2, sequence: 40 },
                next: 130,
                auto_renew: true,
                attempt_id_hash: None,
                client: Some(ClientId(0x0102_0304_0506_0708)),
                messages: vec![(129, 1)],
            }),
            Entry::ReleaseClient {
                cell: cell(),
                client: ClientId(0x0102_0304_0506_0708),
                deadline: Timestamp(1_700_000_000_000),
            },
        ]
    }

    fn keyed(waits_for: Option<Timestamp>) -> KeyedMessage {
        KeyedMessage {
            key: KeyHash(0xA79E_98B6 << 96 | 1),
            body_digest: BodyDigest(0x2CF2_4DBA_5FB0_A30E),
            commit_log_offset: CommitLogOffset(300),
            queue_id: QueueId(7),
            queue_offset: QueueOffset(129),
            store_timestamp: Timestamp(1_700_000_000_000),
            waits_for,
        }
    }

    fn attributes(pairs: &[(&str, &str)]) -> TopicAttributes {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn every_entry_reads_back() {
        let bytes = encode(CommitLogOffset(77), &samples());
        assert_eq!(decode(&bytes).unwrap(), samples());
        assert_eq!(synced_stamp(&bytes), Some(CommitLogOffset(77)));
    }

    /// Written once, read for ever: a change of these bytes is a change of the format.
    #[test]
    fn the_bytes_are_the_documented_ones() {
        let hex = |entry: &Entry| {
            encode(CommitLogOffset(0x0102), std::slice::from_ref(entry))[HEAD_LEN - 2..]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let samples = samples();
        assert_eq!(hex(&samples[0]), "0102010103");
        assert_eq!(hex(&samples[3]), "0102100d0102066f726465727301080803");
        assert_eq!(hex(&samples[8]), "010220050".to_owned() + "1ac020700");
        assert_eq!(
            hex(&samples[9]),
            "0102211e01ac0207".to_owned()
                + "80d095ffbc31"
                + "02"
                + "28"
                + "8201"
                + "03"
                + "ffffffffffffffff"
                + "03"
                + "6402"
                + "1c01"
                + "0101"
        );
        assert_eq!(hex(&samples[10]), "0102220701ac020702641d");
        assert_eq!(
            hex(&samples[13]),
            "01021415".to_owned() + "0301" + "0c25524554525925672b742e78" + "0108080" + "7bc05"
        );
        let named = |name: &str, value: &str| {
            let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
            format!("{:02x}{}{:02x}{}", name.len(), hex(name), value.len(), hex(value))
        };
        assert_eq!(
            hex(&samples[14]),
            "0102".to_owned()
                + "1534"
                + "0103066f726465727301080803"
                + "02"
                + &named("cleanup.policy", "DELETE")
                + &named("reserve.time", "24")
        );
        assert_eq!(hex(&samples[15]), "0102160f".to_owned() + "0401" + "016201080807" + "bc05" + "01" + "02c3a900");
        assert_eq!(hex(&samples[16]), "01021708".to_owned() + "ac02" + "02" + "0005" + "07ac02");
        assert_eq!(hex(&samples[17]), "01023009".to_owned() + "80d095ffbc31" + "ac02" + "07");
        assert_eq!(hex(&samples[18]), "01023103".to_owned() + "03" + "8101");
        assert_eq!(hex(&samples[19]), "01023204".to_owned() + "02" + "05" + "8001");
        assert_eq!(hex(&samples[20]), "01023304".to_owned() + "02" + "07" + "8001");
        let keyed = "a79e98b6000000000000000000000001".to_owned() + "2cf24dba5fb0a30e" + "ac02078101" + "80d095ffbc31";
        assert_eq!(hex(&samples[21]), "010236".to_owned() + "4a" + "02" + &keyed + "00" + &keyed + "a01f");
        let held = "0102211b01ac0207".to_owned() + "80d095ffbc31" + "02" + "28" + "8201" + "05";
        assert_eq!(hex(&samples[22]), held + "0102030405060708" + "01" + "810101");
        assert_eq!(hex(&samples[23]), "0102251201ac0207".to_owned() + "0102030405060708" + "80d095ffbc31");
    }

    #[test]
    fn short_long_and_unknown_input_is_refused() {
        let bytes = encode(CommitLogOffset(77), &samples());
        for len in 0..bytes.len() {
            // A cut between two entries is a shorter record; every other cut is refused.
            if let Ok(entries) = decode(&bytes[..len]) {
                assert_eq!(entries[..], samples()[..entries.len()]);
            }
        }
        assert!(decode(&bytes[..HEAD_LEN - 1]).is_err());
        let with_kind = |kind| [&bytes[..HEAD_LEN], &[kind, 0][..]].concat();
        assert_eq!(decode(&with_kind(99)), Err(StateRecordError::UnknownKind(99)));
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(StateRecordError::NewerVersion(2)));
        let mut flagged = bytes.clone();
        flagged[1] = 1;
        assert_eq!(decode(&flagged), Err(StateRecordError::NewerField("head flags")));
        let lease = encode(CommitLogOffset(0), &samples()[9..10]);
        let at = lease.iter().position(|byte| *byte == 0x82).unwrap() + 2;
        let mut flagged = lease.clone();
        flagged[at] |= 8;
        assert_eq!(decode(&flagged), Err(StateRecordError::NewerField("lease flags")));
        let long = [&bytes[..HEAD_LEN], &[3, 1, 0][..]].concat();
        assert!(matches!(decode(&long), Err(StateRecordError::Malformed(_))));
        let endless = [&bytes[..HEAD_LEN], &[1, 11][..], &[0xff; 11][..]].concat();
        assert!(matches!(decode(&endless), Err(StateRecordError::Malformed(_))));
    }
}
