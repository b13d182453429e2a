//! Reading a queue by offset: a safe look that leases and commits nothing.

use crate::broker::{PullMessages, PulledMessages};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::QueueOffset;
use crate::store::commit_log::Window;

/// Most messages of one pull.
pub const PULL_MESSAGES_MAX: u32 = 500;

pub(crate) fn pull_messages(parts: &Parts, pull: &PullMessages) -> Result<PulledMessages, BrokerError> {
    if pull.topic.is_hidden() {
        return Err(BrokerError::SystemTopic { topic: pull.topic.to_string() });
    }
    let tables = parts.tables();
    let not_found = || BrokerError::TopicNotFound { topic: pull.topic.to_string() };
    let topic = tables.topic(&pull.topic).ok_or_else(not_found)?;
    if !topic.config.permission.read {
        return Err(BrokerError::TopicNotReadable { topic: pull.topic.to_string() });
    }
    let queue = parts
        .store
        .queue(&pull.topic, pull.queue_id)
        .ok_or_else(|| BrokerError::QueueNotFound { topic: pull.topic.to_string(), queue_id: pull.queue_id })?;
    let (min_offset, max_offset) = (queue.min_offset(), queue.max_offset());
    if pull.offset < min_offset {
        return Err(BrokerError::OffsetExpired { min: min_offset });
    }
    if pull.offset >= max_offset {
        return Ok(PulledMessages { messages: Vec::new(), next_offset: max_offset, min_offset, max_offset });
    }
    let mut entries = Vec::new();
    parts.store.read_queue(&queue, pull.offset, pull.messages_max.min(PULL_MESSAGES_MAX) as usize, &mut entries)?;
    let mut messages = Vec::with_capacity(entries.len());
    let mut window = Window::default();
    let mut bytes = 0u64;
    for (at, entry) in (pull.offset.0..).zip(&entries) {
        bytes += u64::from(entry.record_len);
        if !messages.is_empty() && bytes > u64::from(pull.bytes_max) {
            break;
        }
        let Some(message) = parts.store.read_message(&mut window, &queue, QueueOffset(at), entry)? else { break };
        messages.push(message);
    }
    // Nothing is no answer where there was something a moment ago: who asked would ask for the same again.
    if messages.is_empty() && pull.offset < queue.min_offset() {
        return Err(BrokerError::OffsetExpired { min: queue.min_offset() });
    }
    let next_offset = QueueOffset(pull.offset.0 + messages.len() as u64);
    Ok(PulledMessages { messages, next_offset, min_offset, max_offset })
}
