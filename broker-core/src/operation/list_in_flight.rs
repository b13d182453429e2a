//! What a consumer group has in flight: taken and not acked, with what each delivery has come to. A look alone.

use crate::broker::{InFlight, ListInFlight};
use crate::delivery::leases::Lease;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::{QueueId, QueueOffset};
use crate::store::commit_log::Window;

/// Most messages of one look.
const IN_FLIGHT_MAX: u32 = 501;

pub(crate) fn list_in_flight(parts: &Parts, list: &ListInFlight) -> Result<Vec<InFlight>, BrokerError> {
    let tables = parts.tables();
    let group_not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: list.consumer_group.to_string() };
    let group = tables.consumer_group(&list.consumer_group).ok_or_else(group_not_found)?;
    let topic_not_found = || BrokerError::TopicNotFound { topic: list.topic.to_string() };
    let topic = tables.topic(&list.topic).ok_or_else(topic_not_found)?;
    let (after_queue, after_offset) = match list.after {
        Some((queue_id, offset)) => (queue_id, offset.0.saturating_add(1)),
        None => (QueueId(0), 0),
    };
    let now = parts.store.now();
    let cells = parts.cells.of((group.consumer_group_id, topic.topic_id));
    let cells = cells.lock().expect("no code panics while holding it");
    let leases = cells.range(after_queue..).flat_map(|(queue_id, cell)| {
        let from = if *queue_id == after_queue { after_offset } else { 0 };
        cell.leases_from(from).map(|(offset, lease)| (*queue_id, offset, lease))
    });
    let leases: Vec<(QueueId, u64, Lease)> = leases.take(list.messages_max.min(IN_FLIGHT_MAX) as usize).collect();
    // Records are read without the cells' lock: a look must not hold up those who receive.
    drop(cells);
    let mut window = Window::default();
    let mut entries = Vec::with_capacity(1);
    let mut read = |queue_id, offset| {
        let queue = parts.store.queue(&list.topic, queue_id)?;
        entries.clear();
        parts.store.read_queue(&queue, offset, 1, &mut entries).ok()?;
        // What cannot be read is in flight all the same, and its row says where.
        parts.store.read_message(&mut window, &queue, offset, entries.first()?).ok()?
    };
    let in_flight = leases.into_iter().map(|(queue_id, offset, lease)| InFlight {
        queue_id,
        queue_offset: QueueOffset(offset),
        delivery_attempt: lease.attempt,
        invisible_until: lease.deadline,
        came_back: lease.deadline <= now,
        message: read(queue_id, QueueOffset(offset)),
    });
    Ok(in_flight.collect())
}
