//! Moving the end of leases: longer for who needs more time, nearer or to now for who gives a message back.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::broker::{ChangeInvisibleDuration, ChangedLease, ConsumerGroupDescription, Topic};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::QueueOffset;
use crate::operation::ack_message::{Delivery, Locked, apply, check_handle, delivery_of};
use crate::operation::forward_message_to_dead_letter_queue::AttemptLimit;
use crate::operation::pop_message::check_invisible;
use crate::receipt_handle::ReceiptHandle;
use crate::state::record::Entry;

pub(crate) fn change_invisible_durations(
    parts: &Parts,
    changes: &[ChangeInvisibleDuration],
) -> Result<Vec<Result<ChangedLease, BrokerError>>, BrokerError> {
    let tables = parts.tables();
    let checked: Vec<_> = changes
        .iter()
        .map(|change| {
            check_invisible(change.invisible.unwrap_or_default(), Duration::ZERO)?;
            check_handle(parts, &tables, &change.handle)
        })
        .collect();
    let mut locked = Locked::new(parts, &tables, checked.iter().flatten());
    let mut locked = locked.lock();
    let now = parts.store.now();

    let mut entries = Vec::new();
    let mut changed = BTreeSet::new();
    let mut results = Vec::with_capacity(changes.len());
    for (change, checked) in changes.iter().zip(checked) {
        results.push(checked.and_then(|key| {
            let delivery = delivery_of(parts, &tables, &mut locked, key, &change.handle, now)?;
            let (key, offset, lease) = match delivery {
                Delivery::Current { key, offset, lease } => (key, offset, lease),
                Delivery::Unleased { .. } => return Err(BrokerError::ReceiptSuperseded),
                // Nothing is left to extend or to give back.
                Delivery::Settled => return Err(BrokerError::ReceiptExpired),
            };
            // The first change of a batch voids the handle for the second.
            if !changed.insert((key, offset)) {
                return Err(BrokerError::ReceiptSuperseded);
            }
            let invisible = match change.invisible {
                Some(invisible) => invisible,
                None => {
                    let group = tables.consumer_group_by_id(key.consumer_group_id).expect("checked above");
                    group.config.retry_policy.pause(lease.attempt)
                }
            };
            let deadline = now.plus(invisible);
            let lease_id = parts.lease_ids(1);
            let attempt = if change.suspend { lease.attempt.saturating_sub(1) } else { lease.attempt };
            entries.push(Entry::ChangeLease { cell: key, offset, deadline, lease_id, attempt });
            let topic = tables.topic_by_id(key.topic_id).expect("whoever has its cells locked has looked it up");
            // Whose message was moved speaks for its new place from now on.
            let handle = ReceiptHandle {
                topic_id: key.topic_id,
                incarnation: topic.incarnation,
                queue_id: key.queue_id,
                queue_offset: QueueOffset(offset),
                lease_id,
                deadline,
                ..change.handle.clone()
            };
            Ok(ChangedLease { handle, invisible_until: deadline })
        }));
    }
    if entries.is_empty() {
        return Ok(results);
    }
    parts.append_state(&entries)?;
    apply(&mut locked, &entries);
    drop(locked);
    for entry in &entries {
        let Entry::ChangeLease { cell, deadline, attempt, .. } = entry else { continue };
        let pair = (cell.consumer_group_id, cell.topic_id);
        // What gets no further delivery is for the thread that gives it up.
        let is_last = |group: &ConsumerGroupDescription, topic: &Topic| {
            AttemptLimit::of(&group.config, &topic.config.topic).is_reached(*attempt)
        };
        if *deadline > now {
            parts.redelivery.arm(pair, *deadline);
        } else if let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) {
            if is_last(group, topic) {
                parts.redelivery.arm(pair, *deadline);
            }
            parts.long_polling.came_back(&topic.config.topic, &group.config.consumer_group, 1);
        }
    }
    Ok(results)
}
