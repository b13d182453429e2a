//! The table of contents of a broker: one method per operation, typed batch in, one result per entry out.
//!
//! `LocalBroker` answers in this process. Front ends and the gateway's `messaging` know only this trait.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::config::{Durability, Retention};
use crate::delivery::clients::ClientId;
use crate::delivery::filter::Filter;
use crate::error::BrokerError;
use crate::message::{Message, MessageType, OffsetMessageId, StoredMessage, property};
use crate::metrics::{HistogramStats, TrafficStats};
use crate::names::{BrokerName, ConsumerGroup, ProducerGroup, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::receipt_handle::ReceiptHandle;
pub use crate::store::consume_queue::Boundary;
use crate::topic_attributes::TopicAttributes;

#[async_trait]
pub trait Broker: Send + Sync {
    /// Who this broker is, and how it fares.
    async fn describe_broker(&self) -> Result<BrokerDescription, BrokerError>;
    /// What the store takes and what is left for it.
    async fn describe_storage(&self) -> Result<StorageDescription, BrokerError>;
    /// What went through the broker since it started, deleted topics included, and how fast lately.
    async fn broker_stats(&self) -> Result<BrokerStats, BrokerError>;

    /// Appends a batch to one topic; returns once every stored message is as durable as the broker promises.
    /// Entries of one queue are contiguous and in order. One result per message, in order; a refused entry does not
    /// keep the others from being stored.
    async fn send_messages(&self, send: SendMessages) -> Result<Vec<Result<SendReceipt, BrokerError>>, BrokerError>;

    /// Takes a delayed message back before its time. Taking back what is taken back already is fine.
    async fn recall_message(&self, recall: RecallMessage) -> Result<RecallOutcome, BrokerError>;

    /// Decides a transaction. The first decision counts; the same again is fine.
    async fn end_transaction(&self, end: EndTransaction) -> Result<(), BrokerError>;
    /// Asks a producer group about its transactions: those that are due for a check, which counts as one. Waits until there
    /// is one, `wait` has passed, or the broker stops.
    async fn check_transactions(&self, check: CheckTransactions) -> Result<Vec<TransactionCheck>, BrokerError>;
    /// Transactions of a topic that nobody has decided, the oldest first.
    async fn list_transactions(&self, list: ListTransactions) -> Result<OpenTransactions, BrokerError>;

    /// Reads a queue by offset; leases nothing, commits nothing. An offset at the end gives no messages.
    async fn pull_messages(&self, pull: PullMessages) -> Result<PulledMessages, BrokerError>;

    /// Waits until a queue holds something from `offset` on, `wait` has passed, or the broker stops. `true` is a hint and not
    /// a promise. Dropping the future ends the wait.
    async fn await_offset(&self, wait: AwaitOffset) -> Result<bool, BrokerError>;

    /// Looks through a topic in the order of the log; leases nothing, commits nothing.
    async fn browse_messages(&self, browse: BrowseMessages) -> Result<BrowsedMessages, BrokerError>;

    /// Looks for the messages of a topic that bear a key or are called by it, the newest first.
    async fn query_messages(&self, query: QueryMessages) -> Result<BrowsedMessages, BrokerError>;

    /// Takes messages on a lease for a consumer group, those that came back first. Never waits.
    async fn pop_messages(&self, pop: PopMessages) -> Result<Vec<PoppedMessage>, BrokerError>;

    /// Waits until a pop of the same kind may find something, `wait` has passed, or the broker stops; takes nothing.
    /// `true` is a hint and not a promise. Dropping the future ends the wait.
    async fn await_messages(&self, wait: AwaitMessages) -> Result<bool, BrokerError>;

    /// These consumers live. What they took to keep it so long stays with them for another two minutes.
    async fn clients_seen(&self, clients: Vec<ClientId>) -> Result<(), BrokerError>;
    /// This consumer goes: what it took to keep it while it lives comes back.
    async fn release_client(&self, client: ClientId) -> Result<(), BrokerError>;

    /// Ends leases for good. Acking what is acked already is fine.
    async fn ack_messages(&self, acks: Vec<ReceiptHandle>) -> Result<Vec<Result<(), BrokerError>>, BrokerError>;

    /// Moves the end of leases: longer (extend) or nearer, down to now (nack). The old handle is void afterwards.
    async fn change_invisible_durations(
        &self,
        changes: Vec<ChangeInvisibleDuration>,
    ) -> Result<Vec<Result<ChangedLease, BrokerError>>, BrokerError>;

    /// Ends leases by moving their messages to the dead letter queues of their consumer groups, and says which. What is
    /// settled already is fine.
    async fn forward_messages_to_dead_letter_queue(
        &self,
        forwards: Vec<ForwardToDeadLetterQueue>,
    ) -> Result<Vec<Result<TopicName, BrokerError>>, BrokerError>;

    /// Owes a message to one consumer group once more, where it lies: after it was given up, or acknowledged by mistake.
    /// What the group has yet to receive is left as it is.
    async fn redeliver_message(&self, redeliver: RedeliverMessage) -> Result<(), BrokerError>;

    /// Creates a topic or replaces its configuration. The flag says whether it was created.
    async fn put_topic(&self, put: PutTopic) -> Result<(Topic, bool), BrokerError>;
    async fn describe_topic(&self, topic: TopicName) -> Result<Topic, BrokerError>;
    /// All topics in the order of their names, system topics included.
    async fn list_topics(&self) -> Result<Vec<Topic>, BrokerError>;
    /// Ends a topic's incarnation: its messages, offsets and handles speak for nothing any more.
    async fn delete_topic(&self, topic: TopicName) -> Result<(), BrokerError>;
    /// What each queue of a topic holds, by queue id.
    async fn query_queue_offsets(&self, topic: TopicName) -> Result<Vec<QueueOffsets>, BrokerError>;
    /// The offset of a queue that an end of it or a time stands for.
    async fn query_offset(&self, query: QueryOffset) -> Result<QueueOffset, BrokerError>;
    /// What a topic holds, what went through it since the broker started, and how fast lately.
    async fn topic_stats(&self, topic: TopicName) -> Result<TopicStats, BrokerError>;

    /// Creates a consumer group or replaces its configuration. The flag says whether it was created.
    async fn put_consumer_group(&self, put: PutConsumerGroup) -> Result<(ConsumerGroupDescription, bool), BrokerError>;
    async fn describe_consumer_group(&self, group: ConsumerGroup) -> Result<ConsumerGroupDescription, BrokerError>;
    async fn list_consumer_groups(&self) -> Result<Vec<ConsumerGroupDescription>, BrokerError>;
    async fn delete_consumer_group(&self, group: ConsumerGroup) -> Result<(), BrokerError>;

    /// How far a group is with a topic, by queue id.
    async fn query_consume_offsets(
        &self,
        group: ConsumerGroup,
        topic: TopicName,
    ) -> Result<Vec<ConsumeProgress>, BrokerError>;
    /// What a group has in flight of a topic, by queue and offset. Leases nothing and changes nothing.
    async fn list_in_flight(&self, list: ListInFlight) -> Result<Vec<InFlight>, BrokerError>;
    /// Who consumes what: every group with every topic that it has received from, narrowed to one of either.
    async fn list_consumptions(
        &self,
        group: Option<ConsumerGroup>,
        topic: Option<TopicName>,
    ) -> Result<Vec<Consumption>, BrokerError>;
    /// Says that everything below these offsets is consumed. Going back is a reset, and not possible here.
    async fn update_consume_offsets(
        &self,
        group: ConsumerGroup,
        topic: TopicName,
        offsets: Vec<(QueueId, QueueOffset)>,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError>;

    /// Moves a group on a topic, back or ahead; what it has in flight there is void. Says from where to where, by queue.
    async fn reset_offsets(&self, reset: ResetOffsets) -> Result<Vec<OffsetReset>, BrokerError>;

    /// The message whose record begins at this place of the log.
    async fn read_message(&self, at: CommitLogOffset) -> Result<StoredMessage, BrokerError>;
    /// The newest message of a topic with this unique key.
    async fn find_message(&self, topic: TopicName, unique_key: String) -> Result<StoredMessage, BrokerError>;
}

#[derive(Debug, Clone)]
pub struct BrokerDescription {
    pub broker_name: BrokerName,
    pub cluster_name: String,
    pub durability: Durability,
    /// Refuses messages, and why.
    pub refuses_sends: Option<BrokerError>,
    pub commit_log_min: CommitLogOffset,
    pub commit_log_max: CommitLogOffset,
    pub topics: usize,
    pub consumer_groups: usize,
    pub started: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageDescription {
    pub commit_log_min: CommitLogOffset,
    pub commit_log_max: CommitLogOffset,
    /// Of the file system on which the store lies.
    pub disk_total_bytes: u64,
    pub disk_available_bytes: u64,
    /// When the oldest record that is kept was stored.
    pub earliest: Option<Timestamp>,
    /// What lets old messages go.
    pub retention: Retention,
    /// Appended and not synced yet.
    pub flush_behind_bytes: u64,
    /// Confirmed and not in the consume queues yet.
    pub dispatch_behind_bytes: u64,
    /// Microseconds that syncs of the log took.
    pub syncs: HistogramStats,
    pub timers: TimerStats,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BrokerStats {
    pub traffic: TrafficStats,
    /// Receives that wait for messages now.
    pub parked_receives: usize,
    /// Half messages that nobody decided in time, since the broker started.
    pub transactions_given_up: u64,
    /// Kept now, each for as long as its window is.
    pub idempotency_keys: usize,
    /// Of the commit log's growth since the broker started: what records of state took, and everything else.
    pub state_bytes: u64,
    pub message_bytes: u64,
    pub uptime: Duration,
}

#[derive(Debug, Clone)]
pub struct SendMessages {
    pub topic: TopicName,
    pub messages: Vec<SendMessage>,
}

#[derive(Debug, Clone)]
pub struct SendMessage {
    pub queue_id: QueueId,
    pub message: Message,
    /// At most one stored message per key and topic inside the window.
    pub idempotency_key: Option<Box<str>>,
}

#[derive(Debug, Clone)]
pub struct SendReceipt {
    /// The stored message's unique key: the one sent, or the one an idempotency key stands for.
    pub unique_key: Box<str>,
    pub queue_id: QueueId,
    pub queue_offset: QueueOffset,
    pub commit_log_offset: CommitLogOffset,
    pub store_host: SocketAddr,
    pub store_timestamp: Timestamp,
    /// What was reached before this answer.
    pub durability: Durability,
    /// An earlier send with the same idempotency key stored it.
    pub duplicate: bool,
    /// The second at whose end it will be delivered: a recall names it. Only for messages with a delivery time.
    pub waits_for: Option<Timestamp>,
    /// Of a half message: until then at least its transaction can be decided.
    pub decide_until: Option<Timestamp>,
}

impl SendReceipt {
    /// RocketMQ's physical id of the stored message.
    pub fn offset_message_id(&self) -> String {
        let (store_host, commit_log_offset) = (self.store_host, self.commit_log_offset);
        OffsetMessageId { store_host, commit_log_offset }.to_string()
    }
}

/// Names a message that waits for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallMessage {
    pub topic: TopicName,
    pub unique_key: Box<str>,
    /// `SendReceipt::waits_for`.
    pub second: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecallOutcome {
    /// It will not be delivered.
    Recalled,
    /// Its time has come.
    AlreadyDelivered,
}

/// Names a half message: where it was stored, and what it was called. Its place alone would not do: after a power cut
/// another one may lie there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HalfMessageId {
    pub queue_offset: QueueOffset,
    pub commit_log_offset: CommitLogOffset,
    /// Of its unique key.
    pub key_hash: u64,
}

impl HalfMessageId {
    pub fn new(unique_key: &str, queue_offset: QueueOffset, commit_log_offset: CommitLogOffset) -> HalfMessageId {
        let digest = Sha256::digest(unique_key);
        let key_hash = u64::from_be_bytes(digest[..8].try_into().expect("eight of 32 bytes"));
        HalfMessageId { queue_offset, commit_log_offset, key_hash }
    }

    /// As its stored record says. One that was put back keeps the place in its queue that it had first: it may be put back
    /// again before anybody answers.
    pub fn of(half: &StoredMessage) -> HalfMessageId {
        let first = half.property(property::PREPARED_QUEUE_OFFSET).and_then(|offset| offset.parse().ok());
        let queue_offset = first.map_or(half.queue_offset, QueueOffset);
        HalfMessageId::new(half.unique_key().unwrap_or_default(), queue_offset, half.commit_log_offset)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionResolution {
    Commit,
    Rollback,
}

#[derive(Debug, Clone)]
pub struct EndTransaction {
    pub half: HalfMessageId,
    /// If the caller says it, it must be that of the message.
    pub topic: Option<TopicName>,
    pub resolution: TransactionResolution,
}

/// Most checks that one call takes.
pub const TRANSACTION_CHECKS_MAX: u32 = 32;

#[derive(Debug, Clone)]
pub struct CheckTransactions {
    pub producer_group: ProducerGroup,
    pub checks_max: u32,
    pub wait: Duration,
}

/// The question what became of a transaction.
#[derive(Debug, Clone)]
pub struct TransactionCheck {
    pub half: HalfMessageId,
    /// As it will be if it is committed, but for its place.
    pub message: StoredMessage,
    /// How often it was asked, this time included.
    pub checks: u32,
    pub next_check: Timestamp,
}

#[derive(Debug, Clone)]
pub struct ListTransactions {
    pub topic: TopicName,
    pub producer_group: Option<ProducerGroup>,
    pub born_before: Option<Timestamp>,
    /// From this half message on; `OpenTransactions::next` of the page before.
    pub from: QueueOffset,
    pub transactions_max: u32,
    /// Of bodies. At least one comes back even if it is larger.
    pub bytes_max: u32,
}

#[derive(Debug, Clone)]
pub struct OpenTransactions {
    pub transactions: Vec<OpenTransaction>,
    pub next: QueueOffset,
    /// Half messages looked at, those of other topics included.
    pub scanned: u64,
    /// Nothing is left behind `next`.
    pub complete: bool,
}

#[derive(Debug, Clone)]
pub struct OpenTransaction {
    pub half: HalfMessageId,
    pub message: StoredMessage,
    pub producer_group: ProducerGroup,
    pub checks: u32,
    pub next_check: Timestamp,
}

/// Delayed messages, by level and by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimerStats {
    /// Waiting now, without those that were recalled.
    pub scheduled: u64,
    /// How long the first of them has been due.
    pub behind: Duration,
    /// Delivered since the broker started.
    pub fired: u64,
    /// Not to be delivered any more, mostly because their topic is gone; since the broker started.
    pub dropped: u64,
}

#[derive(Debug, Clone)]
pub struct PullMessages {
    pub topic: TopicName,
    pub queue_id: QueueId,
    pub offset: QueueOffset,
    pub messages_max: u32,
    /// At least one message comes back even if it is larger.
    pub bytes_max: u32,
}

#[derive(Debug, Clone)]
pub struct PulledMessages {
    pub messages: Vec<StoredMessage>,
    pub next_offset: QueueOffset,
    pub min_offset: QueueOffset,
    pub max_offset: QueueOffset,
}

#[derive(Debug, Clone)]
pub struct AwaitOffset {
    pub topic: TopicName,
    pub queue_id: QueueId,
    pub offset: QueueOffset,
    pub wait: Duration,
}

#[derive(Debug, Clone)]
pub struct BrowseMessages {
    pub topic: TopicName,
    /// One queue alone.
    pub queue_id: Option<QueueId>,
    /// Stored at or after this time.
    pub from: Option<Timestamp>,
    /// Stored before this time.
    pub to: Option<Timestamp>,
    pub filter: Filter,
    pub newest_first: bool,
    /// Where an earlier look stopped: go on behind it, or before it when the newest come first.
    pub position: Option<CommitLogOffset>,
    pub messages_max: u32,
    /// At least one message comes back even if it is larger.
    pub bytes_max: u32,
}

/// What a look through a topic or for a key came to.
#[derive(Debug, Clone)]
pub struct BrowsedMessages {
    pub messages: Vec<StoredMessage>,
    /// Where to go on.
    pub position: CommitLogOffset,
    /// Messages looked at, those that were not wanted included.
    pub scanned: u64,
    /// Nothing that was asked for is left; what is stored from now on comes behind `position`.
    pub complete: bool,
}

#[derive(Debug, Clone)]
pub struct QueryMessages {
    pub topic: TopicName,
    /// One of a message's keys, or the id that its producer gave it.
    pub key: String,
    /// Stored at or after this time.
    pub from: Option<Timestamp>,
    /// Stored before this time.
    pub to: Option<Timestamp>,
    /// Where an earlier look stopped: go on before it.
    pub position: Option<CommitLogOffset>,
    pub messages_max: u32,
    /// At least one message comes back even if it is larger.
    pub bytes_max: u32,
}

/// Shortest and longest lease.
pub const INVISIBLE_DURATION_MIN: Duration = Duration::from_secs(10);
pub const INVISIBLE_DURATION_MAX: Duration = Duration::from_secs(12 * 3600);
/// Most messages of one pop.
pub const POP_MESSAGES_MAX: u32 = 32;

#[derive(Debug, Clone)]
pub struct PopMessages {
    pub consumer_group: ConsumerGroup,
    pub topic: TopicName,
    pub messages_max: u32,
    pub lease: LeaseLength,
    pub filter: Filter,
    /// The caller's name for this receive. Asked again under the same name, what it took and nobody settled comes again.
    pub attempt_id: Option<Box<str>>,
}

/// Longest id of a receive, in bytes.
pub const ATTEMPT_ID_BYTES_MAX: usize = 128;

/// How long a delivery stays invisible to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseLength {
    /// Exactly so long, `INVISIBLE_DURATION_MIN` to `INVISIBLE_DURATION_MAX`.
    Exactly(Duration),
    /// While this consumer lives (`Broker::clients_seen`), and up to three hours.
    WhileSeen(ClientId),
}

#[derive(Debug, Clone)]
pub struct PoppedMessage {
    pub message: StoredMessage,
    pub handle: ReceiptHandle,
    /// 1 for the first delivery.
    pub delivery_attempt: u32,
    pub invisible_until: Timestamp,
}

#[derive(Debug, Clone)]
pub struct AwaitMessages {
    pub consumer_group: ConsumerGroup,
    pub topic: TopicName,
    pub filter: Filter,
    pub wait: Duration,
}

#[derive(Debug, Clone)]
pub struct ChangeInvisibleDuration {
    pub handle: ReceiptHandle,
    /// From now on, 0 to `INVISIBLE_DURATION_MAX`; `None` is the group's retry policy for this attempt.
    pub invisible: Option<Duration>,
    /// Do not count this delivery as an attempt.
    pub suspend: bool,
}

#[derive(Debug, Clone)]
pub struct ChangedLease {
    pub handle: ReceiptHandle,
    pub invisible_until: Timestamp,
}

#[derive(Debug, Clone)]
pub struct ForwardToDeadLetterQueue {
    pub handle: ReceiptHandle,
    /// Why, in the consumer's words.
    pub reason: Option<DeadLetterReason>,
}

/// Names a stored message and who shall have it again.
#[derive(Debug, Clone)]
pub struct RedeliverMessage {
    pub consumer_group: ConsumerGroup,
    pub topic: TopicName,
    pub queue_id: QueueId,
    pub queue_offset: QueueOffset,
    /// Say whether it can be done, and do nothing.
    pub dry_run: bool,
}

/// Longest reason for a dead letter, in bytes.
pub const DEAD_LETTER_REASON_BYTES_MAX: usize = 1_024;

/// Why a consumer gives a message up: kept with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterReason(Box<str>);

impl DeadLetterReason {
    pub fn new(reason: &str) -> Result<DeadLetterReason, BrokerError> {
        let refuse = |reason: String| Err(BrokerError::InvalidParameter { name: "reason", reason });
        match reason {
            _ if reason.len() > DEAD_LETTER_REASON_BYTES_MAX => {
                refuse(format!("is longer than {DEAD_LETTER_REASON_BYTES_MAX} bytes"))
            }
            _ if reason.contains(char::is_control) => refuse("holds a control character".into()),
            _ => Ok(DeadLetterReason(reason.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What must hold for a put to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutWhen {
    /// Only if it does not exist.
    Missing,
    /// If it does not exist; what exists is left alone and answered with `VersionRequired`.
    Unconditional,
    /// Only if it exists, in any version.
    Exists,
    /// Only if it exists in this version of this incarnation.
    Version(Incarnation, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    pub read: bool,
    pub write: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    pub topic: TopicName,
    pub message_type: MessageType,
    pub read_queues: u32,
    pub write_queues: u32,
    pub permission: Permission,
    pub attributes: TopicAttributes,
}

/// Queues of a topic when nothing else is asked for.
pub const QUEUES_DEFAULT: u32 = 8;
/// Most queues of one topic on one broker.
pub const QUEUES_MAX: u32 = 1_024;

impl TopicConfig {
    pub fn new(topic: TopicName) -> TopicConfig {
        TopicConfig {
            topic,
            message_type: MessageType::Normal,
            read_queues: QUEUES_DEFAULT,
            write_queues: QUEUES_DEFAULT,
            permission: Permission { read: true, write: true },
            attributes: TopicAttributes::default(),
        }
    }

    /// A topic takes messages of its own type, a mixed one those of all; a retry topic or a dead letter queue takes back
    /// whatever came from elsewhere.
    pub fn check_type(&self, message_type: MessageType) -> Result<(), BrokerError> {
        let is_built = !matches!(message_type, MessageType::Priority | MessageType::Lite | MessageType::Mixed);
        let fits = [message_type, MessageType::Mixed].contains(&self.message_type) || self.topic.is_derived();
        if is_built && fits {
            return Ok(());
        }
        Err(BrokerError::MessageTypeMismatch {
            topic: self.topic.to_string(),
            message_type: message_type.word(),
            topic_type: self.message_type.word(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutTopic {
    pub config: TopicConfig,
    pub when: PutWhen,
    /// Also where messages of one message group would go to other queues than before: what is stored from now on may be
    /// consumed before older messages of its group.
    pub force: bool,
    /// Say what it would be, and do nothing.
    pub dry_run: bool,
}

impl PutTopic {
    pub fn new(config: TopicConfig, when: PutWhen) -> PutTopic {
        PutTopic { config, when, force: false, dry_run: false }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub config: TopicConfig,
    pub topic_id: u32,
    pub incarnation: Incarnation,
    /// Grows with each change of the configuration; 1 after creation.
    pub version: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOffsets {
    pub queue_id: QueueId,
    pub min_offset: QueueOffset,
    /// One past the newest message that consumers may see.
    pub max_offset: QueueOffset,
    /// When the newest message was stored.
    pub last_update: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct QueryOffset {
    pub topic: TopicName,
    pub queue_id: QueueId,
    pub position: OffsetPosition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetPosition {
    /// Of the oldest message kept.
    Min,
    /// One past the newest message that consumers may see.
    Max,
    Time(Timestamp, Boundary),
}

#[derive(Debug, Clone, PartialEq)]
pub struct TopicStats {
    /// Kept now, over all queues.
    pub messages: u64,
    pub traffic: TrafficStats,
    /// Bytes of the bodies that were stored.
    pub sizes: HistogramStats,
    pub transactions: TransactionStats,
}

/// The transactions of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionStats {
    /// Half messages that nobody has decided.
    pub open: u64,
    /// Since the broker started.
    pub committed: u64,
    pub rolled_back: u64,
    /// Seconds from storing a half message to its decision.
    pub seconds: HistogramStats,
}

/// Where a group begins with a queue it has never consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At offset 0 while nothing of the queue was ever deleted, else at its end.
    Young,
    /// At the oldest message kept.
    Min,
    /// At the end.
    Max,
    /// At the first message stored at or after this time.
    Time(Timestamp),
}

/// How long a message stays away after each failed attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum RetryPolicy {
    /// One pause per attempt; the last one repeats. Never empty.
    Customized(Vec<Duration>),
    Exponential {
        initial: Duration,
        max: Duration,
        multiplier: f32,
    },
}

impl RetryPolicy {
    /// The pause after the delivery with this number, 1 being the first.
    pub fn pause(&self, delivery_attempt: u32) -> Duration {
        let failed = delivery_attempt.max(1) - 1;
        match self {
            RetryPolicy::Customized(pauses) => {
                let at = (failed as usize).min(pauses.len().saturating_sub(1));
                pauses.get(at).copied().unwrap_or_default()
            }
            RetryPolicy::Exponential { initial, max, multiplier } => {
                let factor = f64::from(*multiplier).powi(i32::try_from(failed).unwrap_or(i32::MAX));
                Duration::try_from_secs_f64(initial.as_secs_f64() * factor).unwrap_or(*max).min(*max)
            }
        }
    }
}

/// A message is delivered until it is settled: what RocketMQ says by -1.
pub const RETRY_WITHOUT_END: u32 = u32::MAX;

#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroupConfig {
    pub consumer_group: ConsumerGroup,
    pub consume_enabled: bool,
    /// Deliver each queue in order.
    pub orderly: bool,
    pub broadcast_enabled: bool,
    /// Deliveries after the first before a message is given up; `RETRY_WITHOUT_END` keeps it, and with it its lane.
    pub retry_max_times: u32,
    pub retry_policy: RetryPolicy,
    /// RocketMQ's, kept for its brokers. Here a consumer that lives keeps what it took (`LeaseLength::WhileSeen`).
    pub consume_timeout: Duration,
    pub retry_queues: u32,
    pub start_from: StartFrom,
}

impl ConsumerGroupConfig {
    /// RocketMQ's defaults.
    pub fn new(consumer_group: ConsumerGroup) -> ConsumerGroupConfig {
        const PAUSES: [u64; 18] =
            [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];
        ConsumerGroupConfig {
            consumer_group,
            consume_enabled: true,
            orderly: false,
            broadcast_enabled: true,
            retry_max_times: 16,
            retry_policy: RetryPolicy::Customized(PAUSES.map(Duration::from_secs).to_vec()),
            consume_timeout: Duration::from_secs(15 * 60),
            retry_queues: 1,
            start_from: StartFrom::Young,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct PutConsumerGroup {
    pub config: ConsumerGroupConfig,
    pub when: PutWhen,
    /// Say what it would be, and do nothing.
    pub dry_run: bool,
}

impl PutConsumerGroup {
    pub fn new(config: ConsumerGroupConfig, when: PutWhen) -> PutConsumerGroup {
        PutConsumerGroup { config, when, dry_run: false }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroupDescription {
    pub config: ConsumerGroupConfig,
    pub consumer_group_id: u32,
    pub incarnation: Incarnation,
    pub version: u64,
}

/// A group has received from a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumption {
    pub consumer_group: ConsumerGroup,
    pub topic: TopicName,
    /// Handed out since the broker started, repeated deliveries included.
    pub messages_out: u64,
    /// Of their records.
    pub bytes_out: u64,
    /// Given up since the broker started.
    pub dead_letters: u64,
    /// Moved to the group's retry topic, since the broker started.
    pub retried: u64,
    /// Taken by retention before the group had settled them, since the broker started.
    pub expired: u64,
}

#[derive(Debug, Clone)]
pub struct ResetOffsets {
    pub consumer_group: ConsumerGroup,
    pub topic: TopicName,
    pub to: ResetTo,
    /// These queues alone.
    pub queues: Option<Vec<QueueId>>,
    /// Also while the group consumes.
    pub force: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetTo {
    /// The oldest message kept.
    Min,
    /// Behind the newest message.
    Max,
    /// The first message stored at or after this time.
    Time(Timestamp),
    Offset(QueueOffset),
    /// As far as another group is; queues that it has never received from are left alone.
    Group(ConsumerGroup),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetReset {
    pub queue_id: QueueId,
    /// Everything below was consumed; `None` before the group's first receive.
    pub from: Option<QueueOffset>,
    pub to: QueueOffset,
}

/// How far a group is with one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumeProgress {
    pub queue_id: QueueId,
    /// Everything below is consumed; `None` before the group's first receive.
    pub consume_offset: Option<QueueOffset>,
    /// The next message that nobody of the group has taken yet.
    pub next_offset: Option<QueueOffset>,
    /// Stored and not taken by anybody.
    pub ready: u64,
    /// Taken and not acked.
    pub in_flight: u64,
    /// Of those in flight, delivered before.
    pub redelivered: u64,
    /// The most deliveries that a message in flight has had; 0 if nothing is.
    pub attempt_max: u32,
    /// When the next message in flight comes back that has not come back yet.
    pub next_visible: Option<Timestamp>,
    /// Nothing new may be taken before something in flight is settled: the window over the queue is full.
    pub stands_still: bool,
    pub min_offset: QueueOffset,
    pub max_offset: QueueOffset,
    /// When the oldest message that is not consumed was stored; `None` if nothing is behind.
    pub oldest_behind: Option<Timestamp>,
}

impl ConsumeProgress {
    /// Stored and not acked. What was acked before older messages does not count.
    pub fn lag(&self) -> u64 {
        self.ready + self.in_flight
    }
}

#[derive(Debug, Clone)]
pub struct ListInFlight {
    pub consumer_group: ConsumerGroup,
    pub topic: TopicName,
    /// Go on behind this message.
    pub after: Option<(QueueId, QueueOffset)>,
    pub messages_max: u32,
}

/// A message that was taken and not acked.
#[derive(Debug, Clone)]
pub struct InFlight {
    pub queue_id: QueueId,
    pub queue_offset: QueueOffset,
    /// Deliveries counted so far.
    pub delivery_attempt: u32,
    /// From here on it is due again.
    pub invisible_until: Timestamp,
    /// That time is over, and nobody has taken it again.
    pub came_back: bool,
    /// `None` if the store does not have it any more.
    pub message: Option<StoredMessage>,
}
