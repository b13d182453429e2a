//! Owing a message to one consumer group once more, after it was given up or acknowledged: where it lies, to this group
//! alone.
//!
//! Everything below a cell's next offset is settled unless it is leased, so a lease that has run out already says it all.
//! Its deliveries are counted anew.

use crate::broker::RedeliverMessage;
use crate::delivery::cell::WINDOW_MAX;
use crate::delivery::lanes::Order;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::operation::pop_message::order;
use crate::state::record::{CellKey, Entry};

pub(crate) async fn redeliver_message(parts: &Parts, redeliver: &RedeliverMessage) -> Result<(), BrokerError> {
    let RedeliverMessage { consumer_group, topic: name, queue_id, queue_offset, dry_run } = redeliver;
    let refuse = |reason: &str| Err(BrokerError::InvalidParameter { name: "target", reason: reason.to_string() });
    let end = {
        let tables = parts.tables();
        let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: consumer_group.to_string() };
        let group = tables.consumer_group(consumer_group).ok_or_else(not_found)?;
        let topic = tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
        if order(&group.config, topic) != Order::Nothing {
            return refuse("cannot be retry where order is kept: what stood behind the message has passed it");
        }
        let queue = parts.store.queue(name, *queue_id).ok_or(BrokerError::MessageNotFound)?;
        if !(queue.min_offset()..queue.max_offset()).contains(queue_offset) {
            return Err(BrokerError::MessageNotFound);
        }
        let pair = (group.consumer_group_id, topic.topic_id);
        let cells = parts.cells.of(pair);
        let mut cells = cells.lock().expect("no code panics while holding it");
        // What the group has yet to receive, or has in flight, it gets anyway.
        let Some(cell) = cells.get(queue_id).filter(|cell| cell.is_settled(queue_offset.0)) else { return Ok(()) };
        if cell.next().saturating_sub(queue_offset.0) >= WINDOW_MAX {
            return refuse("cannot be retry: the message lies too far behind what the group has received");
        }
        if *dry_run {
            return Ok(());
        }
        let entry = Entry::ChangeLease {
            cell: CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id: *queue_id },
            offset: queue_offset.0,
            deadline: parts.store.now(),
            lease_id: parts.lease_ids(1),
            attempt: 0,
        };
        let (_, end) = parts.append_state(std::slice::from_ref(&entry))?;
        cells.apply([&entry]);
        end
    };
    tracing::info!(
        target: "audit", %consumer_group, topic = %name, %queue_id, %queue_offset,
        "a message is delivered to a consumer group once more"
    );
    parts.long_polling.came_back(name, consumer_group, 1);
    parts.reached_soon(end).await
}
