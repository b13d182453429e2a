//! Moving a consumer group on a topic: back, to get messages again, or ahead, to pass them over. What it had taken of the
//! queues is void: handles of before settle nothing.

use crate::broker::{OffsetReset, ResetOffsets, ResetTo};
use crate::delivery::cell::Cell;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::{QueueId, QueueOffset};
use crate::operation::consumer_groups::refuse_system;
use crate::operation::pop_message::queues;
use crate::state::record::{CellKey, Entry};
use crate::store::consume_queue::{Boundary, ConsumeQueue};

pub(crate) fn reset_offsets(parts: &Parts, reset: &ResetOffsets) -> Result<Vec<OffsetReset>, BrokerError> {
    let not_found =
        |name: &dyn std::fmt::Display| BrokerError::ConsumerGroupNotFound { consumer_group: name.to_string() };
    refuse_system(&reset.consumer_group)?;
    let tables = parts.tables();
    let group = tables.consumer_group(&reset.consumer_group).ok_or_else(|| not_found(&reset.consumer_group))?;
    let topic_not_found = || BrokerError::TopicNotFound { topic: reset.topic.to_string() };
    let topic = tables.topic(&reset.topic).ok_or_else(topic_not_found)?;
    let pair = (group.consumer_group_id, topic.topic_id);
    let mut queues = queues(parts, topic).to_vec();
    if let Some(meant) = &reset.queues {
        if let Some(unknown) = meant.iter().find(|id| !queues.iter().any(|queue| queue.queue_id() == **id)) {
            return Err(BrokerError::QueueNotFound { topic: reset.topic.to_string(), queue_id: *unknown });
        }
        queues.retain(|queue| meant.contains(&queue.queue_id()));
    }
    // How far the other group is: read before this group's cells are locked, since both may be locked by somebody else
    // in their order.
    let other = match &reset.to {
        ResetTo::Group(other) => {
            let other = tables.consumer_group(other).ok_or_else(|| not_found(other))?;
            let cells = parts.cells.of((other.consumer_group_id, topic.topic_id));
            let cells = cells.lock().expect("no code panics while holding it");
            cells.iter().map(|(queue_id, cell)| (*queue_id, QueueOffset(cell.floor()))).collect()
        }
        _ => std::collections::BTreeMap::new(),
    };
    let target = |queue: &ConsumeQueue| -> Result<Option<QueueOffset>, BrokerError> {
        let (min, max) = (queue.min_offset(), queue.max_offset());
        Ok(Some(match &reset.to {
            ResetTo::Min => min,
            ResetTo::Max => max,
            ResetTo::Time(time) => parts.store.offset_at_time(queue, *time, Boundary::Lower)?.clamp(min, max),
            ResetTo::Offset(offset) if *offset < min => return Err(BrokerError::OffsetExpired { min }),
            ResetTo::Offset(offset) if *offset > max => return Err(BrokerError::InvalidOffset { max }),
            ResetTo::Offset(offset) => *offset,
            // A queue that the other group has never seen says nothing.
            ResetTo::Group(_) => match other.get(&queue.queue_id()) {
                Some(offset) => (*offset).clamp(min, max),
                None => return Ok(None),
            },
        }))
    };
    let mut targets: Vec<(QueueId, QueueOffset)> = Vec::with_capacity(queues.len());
    for queue in &queues {
        targets.extend(target(queue)?.map(|to| (queue.queue_id(), to)));
    }

    let cells = parts.cells.of(pair);
    let mut cells = cells.lock().expect("no code panics while holding it");
    let now = parts.store.now();
    let takes = |cell: &Cell| cell.next_deadline(now).is_some();
    let is_online =
        parts.long_polling.is_parked(&reset.topic, &reset.consumer_group) || cells.values().any(|cell| takes(cell));
    if is_online && !reset.force && !reset.dry_run {
        return Err(BrokerError::GroupOnline { consumer_group: reset.consumer_group.to_string() });
    }
    let resets: Vec<OffsetReset> = targets
        .into_iter()
        .map(|(queue_id, to)| {
            let from = cells.get(&queue_id).map(|cell| QueueOffset(cell.floor()));
            OffsetReset { queue_id, from, to }
        })
        .collect();
    if reset.dry_run || resets.is_empty() {
        return Ok(resets);
    }
    let start = |reset: &OffsetReset| Entry::Start {
        cell: CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id: reset.queue_id },
        offset: reset.to.0,
    };
    let entries: Vec<Entry> = resets.iter().map(start).collect();
    parts.append_state(&entries)?;
    cells.apply(&entries);
    drop(cells);
    for OffsetReset { queue_id, from, to } in &resets {
        let from = from.map(|from| from.0);
        tracing::info!(
            target: "audit", consumer_group = %reset.consumer_group, topic = %reset.topic, %queue_id, from, to = to.0,
            "the offset of a consumer group was moved"
        );
    }
    parts.long_polling.came_back(&reset.topic, &reset.consumer_group, u64::MAX);
    Ok(resets)
}
