//! One message by its place in the log, or by the id its producer gave it.

use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::StoredMessage;
use crate::names::TopicName;
use crate::offset::CommitLogOffset;

pub(crate) fn read_message(parts: &Parts, at: CommitLogOffset) -> Result<StoredMessage, BrokerError> {
    let message = parts.store.read_record_at(at)?;
    // State records and messages of topics that are gone are nobody's to read.
    let topic = TopicName::from_store(message.topic.as_ref()).map_err(|_| BrokerError::MessageNotFound)?;
    match parts.tables().topic(&topic) {
        // What lies in a system topic is on its way elsewhere, or nobody's business.
        Some(found) if found.incarnation.0 <= at.0 && found.config.permission.read && !topic.is_hidden() => {
            kept(parts, &topic, message)
        }
        _ => Err(BrokerError::MessageNotFound),
    }
}

pub(crate) fn find_message(parts: &Parts, topic: &TopicName, unique_key: &str) -> Result<StoredMessage, BrokerError> {
    readable(parts, topic)?;
    let message = parts.store.find_by_unique_key(topic, unique_key)?.ok_or(BrokerError::MessageNotFound)?;
    kept(parts, topic, message)
}

/// A topic in whose messages anybody may look.
pub(crate) fn readable(parts: &Parts, name: &TopicName) -> Result<(), BrokerError> {
    if name.is_hidden() {
        return Err(BrokerError::SystemTopic { topic: name.to_string() });
    }
    let tables = parts.tables();
    let topic = tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
    if !topic.config.permission.read {
        return Err(BrokerError::TopicNotReadable { topic: name.to_string() });
    }
    Ok(())
}

fn kept(parts: &Parts, topic: &TopicName, message: StoredMessage) -> Result<StoredMessage, BrokerError> {
    if is_kept(parts, topic, &message) { Ok(message) } else { Err(BrokerError::MessageNotFound) }
}

/// The log may still hold what has had its time.
pub(crate) fn is_kept(parts: &Parts, topic: &TopicName, message: &StoredMessage) -> bool {
    let queue = parts.store.queue(topic, message.queue_id);
    queue.is_none_or(|queue| message.queue_offset >= queue.min_offset())
}
