//! Everything a broker can answer instead of yes. One enum, so that each protocol translates it in one table.

use std::time::Duration;

use crate::message::MessageError;
use crate::names::NameError;
use crate::offset::{Incarnation, QueueId, QueueOffset};

#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    #[error("the topic name {0}")]
    InvalidTopic(NameError),
    #[error("the consumer group name {0}")]
    InvalidConsumerGroup(NameError),
    #[error("topic '{topic}' is reserved for the system")]
    SystemTopic { topic: String },
    #[error("consumer group '{consumer_group}' is reserved for the system")]
    SystemConsumerGroup { consumer_group: String },
    #[error("topic '{topic}' does not exist")]
    TopicNotFound { topic: String },
    #[error("consumer group '{consumer_group}' does not exist")]
    ConsumerGroupNotFound { consumer_group: String },
    #[error("topic '{topic}' has no queue {queue_id}")]
    QueueNotFound { topic: String, queue_id: QueueId },
    #[error("topic '{topic}' exists already")]
    TopicExists { topic: String },
    #[error("consumer group '{consumer_group}' exists already")]
    ConsumerGroupExists { consumer_group: String },
    #[error("'{name}' exists: say which version to replace")]
    VersionRequired { name: String },
    #[error("'{name}' has changed since: it is at version {version} now")]
    VersionMismatch { name: String, incarnation: Incarnation, version: u64 },
    #[error("topic '{topic}' does not accept messages")]
    TopicNotWritable { topic: String },
    #[error("topic '{topic}' does not hand out messages")]
    TopicNotReadable { topic: String },
    #[error("consumer group '{consumer_group}' may not consume")]
    ConsumeDisabled { consumer_group: String },

    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("a {message_type} message does not fit topic '{topic}', which takes {topic_type} messages")]
    MessageTypeMismatch { topic: String, message_type: &'static str, topic_type: &'static str },
    #[error(
        "the batch has {entries} entries and {bytes} bytes of bodies, at most {entries_max} and {bytes_max} are allowed"
    )]
    BatchTooLarge { entries: usize, bytes: usize, entries_max: usize, bytes_max: usize },
    #[error("this idempotency key was used for another body")]
    IdempotencyKeyReused,
    #[error("a message with this idempotency key is being stored")]
    IdempotencyInProgress,

    #[error("consumer group '{consumer_group}' is consuming: stop it first, or say that it shall be done by force")]
    GroupOnline { consumer_group: String },
    #[error("no message is stored there")]
    MessageNotFound,
    #[error("the offset lies below {min}, the oldest message kept")]
    OffsetExpired { min: QueueOffset },
    #[error("the offset lies outside of the queue, which ends at {max}")]
    InvalidOffset { max: QueueOffset },
    /// `at` is the byte of the expression where it went wrong, where that is one place.
    #[error("the filter expression {reason}")]
    InvalidFilter { reason: String, at: Option<usize> },
    #[error("the invisible duration must be {} s to {} s", min.as_secs(), max.as_secs())]
    InvalidInvisibleDuration { min: Duration, max: Duration },
    #[error("{name} {reason}")]
    InvalidParameter { name: &'static str, reason: String },

    #[error("the receipt handle is not one of this cluster")]
    InvalidReceiptHandle,
    #[error("the lease of this receipt handle has run out")]
    ReceiptExpired,
    #[error("a newer receipt handle has replaced this one")]
    ReceiptSuperseded,

    #[error("the recall handle is not one of a message that waits for its time")]
    InvalidRecallHandle,

    #[error("the transaction handle is not one of this cluster")]
    InvalidTransactionHandle,
    #[error("the transaction was {as_what} before")]
    TransactionResolved { as_what: &'static str },
    #[error("the transaction was given up: nobody decided it in time")]
    TransactionExpired,

    #[error("the disk is full: messages are refused until space is free")]
    StorageFull,
    #[error("the broker is short of {what}: try again")]
    Overloaded { what: &'static str },
    #[error("the broker is stopping")]
    Draining,
    #[error("the store has failed and takes nothing any more: {reason}")]
    ReadOnly { reason: String },
    /// The append happened, its promise could not be kept: nobody can say whether it survives.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown { reason: String },
    #[error("{what} is not built into this version")]
    NotImplemented { what: &'static str },
    #[error("storage: {reason}")]
    Storage { reason: String },
}
