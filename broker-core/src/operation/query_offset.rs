//! Which offset of a queue is meant by an end of it or by a time.

use crate::broker::{OffsetPosition, QueryOffset};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::QueueOffset;

pub(crate) fn query_offset(parts: &Parts, query: &QueryOffset) -> Result<QueueOffset, BrokerError> {
    let QueryOffset { topic, queue_id, position } = query;
    if topic.is_system() {
        return Err(BrokerError::SystemTopic { topic: topic.to_string() });
    }
    let tables = parts.tables();
    tables.topic(topic).ok_or_else(|| BrokerError::TopicNotFound { topic: topic.to_string() })?;
    let not_found = || BrokerError::QueueNotFound { topic: topic.to_string(), queue_id: *queue_id };
    let queue = parts.store.queue(topic, *queue_id).ok_or_else(not_found)?;
    Ok(match position {
        OffsetPosition::Min => queue.min_offset(),
        OffsetPosition::Max => queue.max_offset(),
        OffsetPosition::Time(time, boundary) => parts.store.offset_at_time(&queue, *time, *boundary)?,
    })
}
