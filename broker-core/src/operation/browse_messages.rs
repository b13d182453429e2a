//! Looking through a topic in the order of the log: all its queues, or one. A safe look that leases and commits nothing.
//!
//! The queues' entries name places of the log, so merging queues needs no record, one number says how far a look has
//! come, and what is stored later lies behind every place that was looked at.

use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::broker::{BrowseMessages, BrowsedMessages};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::store::commit_log::Window;
use crate::store::consume_queue::{Boundary, ConsumeQueue, QueueEntry};

/// Most messages of one look.
const BROWSE_MESSAGES_MAX: u32 = 500;
/// Most entries one look passes: a filter that nothing matches must not hold a thread for long.
const SCANNED_MAX: u64 = 20_000;
/// Entries read from a queue at a time.
const PIECE: u64 = 128;

pub(crate) fn browse_messages(parts: &Parts, browse: &BrowseMessages) -> Result<BrowsedMessages, BrokerError> {
    if browse.topic.is_hidden() {
        return Err(BrokerError::SystemTopic { topic: browse.topic.to_string() });
    }
    let tables = parts.tables();
    let not_found = || BrokerError::TopicNotFound { topic: browse.topic.to_string() };
    let topic = tables.topic(&browse.topic).ok_or_else(not_found)?;
    if !topic.config.permission.read {
        return Err(BrokerError::TopicNotReadable { topic: browse.topic.to_string() });
    }
    // Read before the queues' ends: everything below it is in them.
    let dispatched = parts.store.dispatched_offset();
    let queues = match browse.queue_id {
        None => parts.store.queues(&browse.topic),
        Some(queue_id) => {
            let not_found = || BrokerError::QueueNotFound { topic: browse.topic.to_string(), queue_id };
            [parts.store.queue(&browse.topic, queue_id).ok_or_else(not_found)?].into()
        }
    };
    let mut runs = queues.iter().map(|queue| Run::new(parts, browse, queue.clone())).collect::<Result<Vec<_>, _>>()?;
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (number, run) in runs.iter_mut().enumerate() {
        heads.extend(run.head(parts)?.map(|at| (rank(browse, at), number)));
    }

    let mut seen = BrowsedMessages { messages: Vec::new(), position: start(browse), scanned: 0, complete: false };
    let mut bytes = 0u64;
    while let Some((_, number)) = heads.peek().copied() {
        if seen.messages.len() >= browse.messages_max.min(BROWSE_MESSAGES_MAX) as usize || seen.scanned >= SCANNED_MAX {
            return Ok(seen);
        }
        let run = &mut runs[number];
        let entry = *run.entries.last().expect("it has a head");
        if browse.filter.may_match(entry.tag_hash) {
            let at = run.offset();
            let message = parts.store.read_message(&mut run.window, &run.queue, at, &entry)?;
            if let Some(message) = message.filter(|message| browse.filter.matches(message)) {
                bytes += u64::from(entry.record_len);
                if !seen.messages.is_empty() && bytes > u64::from(browse.bytes_max) {
                    return Ok(seen);
                }
                seen.messages.push(message);
            }
        }
        seen.scanned += 1;
        seen.position = if browse.newest_first { entry.commit_log_offset } else { entry.end() };
        run.entries.pop();
        heads.pop();
        heads.extend(run.head(parts)?.map(|at| (rank(browse, at), number)));
    }
    seen.complete = true;
    if !browse.newest_first && browse.to.is_none() {
        seen.position = seen.position.max(dispatched);
    }
    Ok(seen)
}

/// Where a look stands that has seen nothing.
fn start(browse: &BrowseMessages) -> CommitLogOffset {
    browse.position.unwrap_or(CommitLogOffset(if browse.newest_first { u64::MAX } else { 0 }))
}

/// The heap gives out the greatest first.
fn rank(browse: &BrowseMessages, at: CommitLogOffset) -> u64 {
    if browse.newest_first { at.0 } else { u64::MAX - at.0 }
}

/// What is left of one queue: `[low, high)` is not read yet, `entries` is, the next one last.
struct Run {
    queue: Arc<ConsumeQueue>,
    low: u64,
    high: u64,
    entries: Vec<QueueEntry>,
    newest_first: bool,
    window: Window,
}

impl Run {
    fn new(parts: &Parts, browse: &BrowseMessages, queue: Arc<ConsumeQueue>) -> Result<Run, BrokerError> {
        let mut low = queue.min_offset();
        let mut high = queue.max_offset();
        if let Some(from) = browse.from {
            low = low.max(parts.store.offset_at_time(&queue, from, Boundary::Lower)?);
        }
        if let Some(to) = browse.to {
            high = high.min(parts.store.offset_at_time(&queue, to, Boundary::Lower)?);
        }
        if let Some(position) = browse.position {
            let at = parts.store.offset_at_place(&queue, position)?;
            if browse.newest_first { high = high.min(at) } else { low = low.max(at) }
        }
        let newest_first = browse.newest_first;
        Ok(Run {
            queue,
            low: low.0,
            high: high.0.max(low.0),
            entries: Vec::new(),
            newest_first,
            window: Window::default(),
        })
    }

    /// Of the next entry.
    fn offset(&self) -> QueueOffset {
        let left = self.entries.len() as u64;
        QueueOffset(if self.newest_first { self.high + left - 1 } else { self.low - left })
    }

    /// The place of the next entry; `None` at the end, and when the queue is gone.
    fn head(&mut self, parts: &Parts) -> Result<Option<CommitLogOffset>, BrokerError> {
        if self.entries.is_empty() && self.low < self.high {
            let count = (self.high - self.low).min(PIECE);
            let first = if self.newest_first { self.high - count } else { self.low };
            parts.store.read_queue(&self.queue, QueueOffset(first), count as usize, &mut self.entries)?;
            if self.newest_first {
                self.high = first;
            } else {
                self.low = first + self.entries.len() as u64;
                self.entries.reverse();
            }
        }
        Ok(self.entries.last().map(|entry| entry.commit_log_offset))
    }
}
