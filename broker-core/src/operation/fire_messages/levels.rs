//! Firing the levels of delay: each is a queue in which whatever was stored first is due first.

use super::call::{Call, FIRED_AT_ONCE_MAX, Target, Targets, delivered, read};
use crate::clock::Timestamp;
use crate::local_broker::Parts;
use crate::offset::QueueOffset;
use crate::operation::delay::schedule_topic;
use crate::state::source::Source;
use crate::store::commit_log::{AppendClass, Window};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::error::StoreError;

/// Fires all levels; says when the first message of any is due.
pub(super) fn fire(parts: &Parts) -> Result<Option<Timestamp>, StoreError> {
    let topic = schedule_topic();
    let mut first_due = None;
    for queue in parts.store.queues(&topic).iter() {
        let level = queue.queue_id().0 + 1;
        let due = loop {
            let (fired, due) = fire_level(parts, queue, level)?;
            if !fired {
                break due;
            }
        };
        first_due = first_due.into_iter().chain(due).min();
    }
    Ok(first_due)
}

/// Fires some of a level; says whether it did, and when the next is due.
fn fire_level(parts: &Parts, queue: &ConsumeQueue, level: u32) -> Result<(bool, Option<Timestamp>), StoreError> {
    let next = parts.delayed.timers().level_next(level).max(queue.min_offset());
    let mut entries = Vec::new();
    parts.store.read_queue(queue, next, FIRED_AT_ONCE_MAX, &mut entries)?;
    let now = parts.store.now();
    let due_of = |entry: &QueueEntry| due_of_level(parts, level, entry, now);
    let due_count = entries.iter().take_while(|entry| due_of(entry) <= now).count();
    if due_count == 0 {
        return Ok((false, entries.first().map(due_of)));
    }
    let tables = parts.tables();
    let mut targets = Targets::new(parts, &tables);
    let mut call = Call::new(AppendClass::Message);
    let mut window = Window::default();
    for (at, entry) in (next.0..).map(QueueOffset).zip(&entries[..due_count]) {
        if call.is_full() {
            break;
        }
        let Some(message) = read(parts, &mut window, queue, at, entry) else {
            call.given_up.push(at);
            continue;
        };
        let record = targets.of(&message).and_then(|target| {
            let record = delivered(parts, &target, Source::Level { level, offset: at }, &message);
            Ok((record.map_err(|_| "its properties do not fit a record any more")?, target))
        });
        match record {
            Ok((record, Target { topic, queue })) => call.put(at, record, queue, Some(topic), message.body.len()),
            Err(why) => {
                parts.delayed.dropped(&message, why);
                call.given_up.push(at);
            }
        }
    }
    call.append(parts, |timers, at| timers.apply_level_fired(level, at))?;
    Ok((true, None))
}

/// Of another list of levels, or somebody else's clock: no longer than the level says.
pub(super) fn due_of_level(parts: &Parts, level: u32, entry: &QueueEntry, now: Timestamp) -> Timestamp {
    let longest = now.plus(parts.config.delay_levels.delay_of_stored(level as usize));
    if entry.tag_hash > longest.0 { now } else { Timestamp(entry.tag_hash) }
}
