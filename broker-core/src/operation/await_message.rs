//! Waiting for messages: park first, look once more, then sleep. Takes nothing.

use std::sync::Arc;

use crate::broker::{AwaitMessages, ConsumerGroupDescription, Topic};
use crate::delivery::filter::Filter;
use crate::delivery::lanes::Order;
use crate::delivery::long_polling::Wants;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::QueueOffset;
use crate::operation::forward_message_to_dead_letter_queue::AttemptLimit;
use crate::operation::pop_message::{DUE_LOOKED_AT_MAX, order, queues, readable_topic};
use crate::state::tables::Tables;

pub(crate) async fn await_messages(parts: &Parts, wait: &AwaitMessages) -> Result<bool, BrokerError> {
    let wants = {
        let tables = parts.tables();
        let (group, topic) = group_and_topic(&tables, wait)?;
        let cells = parts.cells.of((group.consumer_group_id, topic.topic_id));
        Wants { filter: wait.filter.clone(), order: order(&group.config, topic), cells }
    };
    let place = parts.long_polling.park(&wait.topic, &wait.consumer_group, wants.clone())?;
    if is_ready(parts, wait, &wants)? {
        return Ok(true);
    }
    Ok(place.wait(wait.wait).await)
}

/// Would a pop find something to take or to pass over?
fn is_ready(parts: &Parts, wait: &AwaitMessages, parked: &Wants) -> Result<bool, BrokerError> {
    let tables = parts.tables();
    let (group, topic) = group_and_topic(&tables, wait)?;
    let cells = parts.cells.of((group.consumer_group_id, topic.topic_id));
    // Another order is to be kept since, or topic or group were made again: it waits for something that never comes.
    if !Arc::ptr_eq(&cells, &parked.cells) || order(&group.config, topic) != parked.order {
        return Ok(true);
    }
    let cells = cells.lock().expect("no code panics while holding it");
    let now = parts.store.now();
    let limit = AttemptLimit::of(&group.config, &topic.config.topic);
    let queues = queues(parts, topic);
    // Side by side, both by queue id: cheaper than looking up each.
    let mut known = cells.iter();
    for queue in queues.iter() {
        let Some((_, cell)) = known.next().filter(|(queue_id, _)| **queue_id == queue.queue_id()) else {
            return Ok(true);
        };
        let has_new = match parked.order {
            Order::MessageGroups | Order::Queue if cell.order() == parked.order => {
                cell.ready().next().is_some() || !cell.to_look_at(queue.max_offset().0).is_empty()
            }
            // Nobody has looked for lanes here yet.
            _ => queue.max_offset().0.min(cell.window_end()) > cell.next().max(queue.min_offset().0),
        };
        if has_new {
            return Ok(true);
        }
    }
    let mut entries = Vec::with_capacity(1);
    for queue in cells.came_back(now).filter_map(|queue_id| queues.get(queue_id.0 as usize)) {
        let cell = &cells[&queue.queue_id()];
        if cell.order() != parked.order {
            return Ok(true);
        }
        // No further than a pop looks: what it would not find must not have it called again and again.
        for (offset, _) in cell.deliverable(now, |lease| limit.is_reached(lease.attempt)).take(DUE_LOOKED_AT_MAX) {
            entries.clear();
            parts.store.read_queue(queue, QueueOffset(offset), 1, &mut entries)?;
            let Some(entry) = entries.first() else { continue };
            let wanted = match &wait.filter {
                Filter::All => true,
                // The record decides, as it does in the pop: a hash alone would have the caller look in vain for ever.
                filter if filter.may_match(entry.tag_hash) => filter.matches(&parts.store.read_record(entry)?),
                _ => false,
            };
            if wanted {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn group_and_topic<'a>(
    tables: &'a Tables,
    wait: &AwaitMessages,
) -> Result<(&'a ConsumerGroupDescription, &'a Topic), BrokerError> {
    let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: wait.consumer_group.to_string() };
    let group = tables.consumer_group(&wait.consumer_group).ok_or_else(not_found)?;
    Ok((group, readable_topic(tables, &wait.topic)?))
}
