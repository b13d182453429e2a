//! How far a consumer group is, and saying so oneself.

use crate::broker::{ConsumeProgress, Consumption};
use crate::delivery::cells::Consumed;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{QueueId, QueueOffset};
use crate::operation::consumer_groups::refuse_system;
use crate::operation::pop_message::{queues, readable_topic};
use crate::state::record::{CellKey, Entry};

pub(crate) fn query_consume_offsets(
    parts: &Parts,
    group: &ConsumerGroup,
    topic: &TopicName,
) -> Result<Vec<ConsumeProgress>, BrokerError> {
    let tables = parts.tables();
    let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: group.to_string() };
    let group = tables.consumer_group(group).ok_or_else(not_found)?;
    // Also of a topic that nobody may read just now: what is behind stays behind.
    let topic = tables.topic(topic).ok_or_else(|| BrokerError::TopicNotFound { topic: topic.to_string() })?;
    let cells = parts.cells.of((group.consumer_group_id, topic.topic_id));
    let cells = cells.lock().expect("no code panics while holding it");
    let now = parts.store.now();
    let queues = queues(parts, topic);
    let progress = queues.iter().map(|queue| {
        let cell = cells.get(&queue.queue_id());
        let max_offset = queue.max_offset();
        let progress = ConsumeProgress {
            queue_id: queue.queue_id(),
            consume_offset: cell.map(|cell| QueueOffset(cell.floor())),
            next_offset: cell.map(|cell| QueueOffset(cell.next())),
            ready: match cell {
                Some(cell) if cell.next() >= queue.min_offset().0 => cell.not_taken(max_offset.0),
                _ => max_offset.0.saturating_sub(queue.min_offset().0),
            },
            in_flight: cell.map_or(0, |cell| cell.in_flight() as u64),
            redelivered: cell.map_or(0, |cell| cell.redelivered() as u64),
            attempt_max: cell.map_or(0, |cell| cell.attempt_max()),
            next_visible: cell.and_then(|cell| cell.next_deadline(now)),
            stands_still: cell.is_some_and(|cell| cell.stands_still(max_offset.0)),
            min_offset: queue.min_offset(),
            max_offset,
            oldest_behind: None,
        };
        (queue, progress)
    });
    let progress: Vec<_> = progress.collect();
    // Records are read without the cells' lock: a look must not hold up those who receive.
    drop(cells);
    let mut entries = Vec::with_capacity(1);
    progress
        .into_iter()
        .map(|(queue, progress)| {
            let behind = progress.consume_offset.unwrap_or(progress.min_offset).max(progress.min_offset);
            entries.clear();
            if behind < progress.max_offset {
                parts.store.read_queue(queue, behind, 1, &mut entries)?;
            }
            let oldest = entries.first().map(|entry| parts.store.read_record(entry)).transpose()?;
            Ok(ConsumeProgress { oldest_behind: oldest.map(|message| message.store_timestamp), ..progress })
        })
        .collect()
}

pub(crate) fn list_consumptions(
    parts: &Parts,
    group: Option<&ConsumerGroup>,
    topic: Option<&TopicName>,
) -> Result<Vec<Consumption>, BrokerError> {
    let tables = parts.tables();
    let group_id = group
        .map(|group| {
            let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: group.to_string() };
            tables.consumer_group(group).map(|group| group.consumer_group_id).ok_or_else(not_found)
        })
        .transpose()?;
    let topic_id = topic
        .map(|topic| {
            let not_found = || BrokerError::TopicNotFound { topic: topic.to_string() };
            tables.topic(topic).map(|topic| topic.topic_id).ok_or_else(not_found)
        })
        .transpose()?;
    let wanted =
        |(group, topic)| group_id.is_none_or(|wanted| wanted == group) && topic_id.is_none_or(|wanted| wanted == topic);
    let mut consumptions: Vec<_> = parts
        .cells
        .consumed(wanted)
        .into_iter()
        .filter_map(|Consumed { pair: (group, topic), messages_out, bytes_out, dead_letters, expired }| {
            let consumer_group = tables.consumer_group_by_id(group)?.config.consumer_group.clone();
            let topic = tables.topic_by_id(topic)?.config.topic.clone();
            Some(Consumption { consumer_group, topic, messages_out, bytes_out, dead_letters, expired })
        })
        .collect();
    consumptions.sort_unstable();
    Ok(consumptions)
}

pub(crate) fn update_consume_offsets(
    parts: &Parts,
    group: &ConsumerGroup,
    topic: &TopicName,
    offsets: &[(QueueId, QueueOffset)],
) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
    refuse_system(group)?;
    let tables = parts.tables();
    let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: group.to_string() };
    let group = tables.consumer_group(group).ok_or_else(not_found)?;
    let topic = readable_topic(&tables, topic)?;
    let pair = (group.consumer_group_id, topic.topic_id);
    let cells = parts.cells.of(pair);
    let mut cells = cells.lock().expect("no code panics while holding it");
    let queues = queues(parts, topic);
    let mut entries = Vec::new();
    let results = offsets
        .iter()
        .map(|(queue_id, offset)| {
            let queue = queues.iter().find(|queue| queue.queue_id() == *queue_id).ok_or_else(|| {
                BrokerError::QueueNotFound { topic: topic.config.topic.to_string(), queue_id: *queue_id }
            })?;
            let max = queue.max_offset();
            let floor = cells.get(queue_id).map_or(0, |cell| cell.floor());
            if *offset > max {
                return Err(BrokerError::InvalidOffset { max });
            }
            if offset.0 < floor {
                let reason = format!("is below the consume offset {floor}: going back is a reset");
                return Err(BrokerError::InvalidParameter { name: "offset", reason });
            }
            let cell = CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id: *queue_id };
            entries.push(Entry::CommitOffset { cell, offset: offset.0 });
            Ok(())
        })
        .collect();
    if !entries.is_empty() {
        parts.append_state(&entries)?;
        cells.apply(&entries);
    }
    Ok(results)
}
