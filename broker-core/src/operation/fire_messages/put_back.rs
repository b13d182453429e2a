//! Putting back what waits: in a new record, before retention takes the old one, or since its time is too far ahead to wait
//! for it in one go.

use super::call::{Call, FIRED_AT_ONCE_MAX, moved, read, target};
use super::levels::due_of_level;
use super::wheel::{self, Complete, Trouble, WheelInUse, entry_of};
use crate::clock::Timestamp;
use crate::delivery::timers::Timers;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property};
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::operation::delay::{TIMER_QUEUE, push_roll, roll_second, schedule_topic, second_of, timer_topic};
use crate::operation::topics::ensure_topic;
use crate::state::record::Entry;
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::commit_log::{AppendClass, Window};
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;
use crate::store::record::{EncodedRecord, RecordError};

/// The log is about to go below this place: what waits there is put into the topic of timers again, whatever its time.
/// Says whether there was anything.
pub(crate) fn put_back_below(parts: &Parts, below: CommitLogOffset) -> Result<bool, StoreError> {
    // Whoever fires a level holds it too: nothing is fired and put back.
    let mut in_use = parts.delayed.wheel.lock().expect("no code panics while holding it");
    let before = parts.store.max_offset();
    for queue in parts.store.queues(&schedule_topic()).iter() {
        put_level_back(parts, queue, below)?;
    }
    let Some(queue) = parts.store.queue(&timer_topic(), TIMER_QUEUE) else { return Ok(false) };
    let outcome = put_wheel_back(parts, &mut in_use, &queue, below);
    outcome.map_err(|trouble| in_use.after(trouble))?;
    Ok(parts.store.max_offset() > before)
}

/// Into the wheel, since it must not wait behind others of its level.
fn put_level_back(parts: &Parts, queue: &ConsumeQueue, below: CommitLogOffset) -> Result<(), StoreError> {
    let level = queue.queue_id().0 + 1;
    let until = parts.store.offset_at_place(queue, below)?;
    let mut entries = Vec::new();
    let mut window = Window::default();
    loop {
        let next = parts.delayed.timers().level_next(level).max(queue.min_offset());
        if next >= until {
            return Ok(());
        }
        ensure_topic(parts, &timer_topic(), 1)
            .map_err(|error| StoreError::Failed { reason: format!("the topic of timers: {error}") })?;
        let timers = parts.store.queue(&timer_topic(), TIMER_QUEUE).expect("just made");
        let count = ((until.0 - next.0) as usize).min(FIRED_AT_ONCE_MAX);
        entries.clear();
        parts.store.read_queue(queue, next, count, &mut entries)?;
        let now = parts.store.now();
        let tables = parts.tables();
        let mut call = Call::new(AppendClass::State);
        for (at, entry) in (next.0..).map(QueueOffset).zip(&entries) {
            if call.is_full() {
                break;
            }
            let Some(message) = read(parts, &mut window, queue, at, entry) else {
                call.given_up.push(at);
                continue;
            };
            if !still_has_a_target(parts, &tables, &message) {
                call.given_up.push(at);
                continue;
            }
            let due = due_of_level(parts, level, entry, now);
            let (deliver, out) = (due.0.to_string(), second_of(due).0.to_string());
            let instead = [(property::TIMER_DELIVER_MS, &*deliver), (property::TIMER_OUT_MS, &*out)];
            let source = Source::Level { level, offset: at };
            match moved(parts, &timer_topic(), TIMER_QUEUE, source, &message, &instead).encode() {
                Ok(record) => call.put(at, record, &timers, None, 0),
                Err(_) => {
                    parts.delayed.dropped(&message, "its properties do not fit a record any more");
                    call.given_up.push(at);
                }
            }
        }
        call.append(parts, |timers, at| timers.apply_level_fired(level, at))?;
    }
}

/// Asked under the lock under which it is put back: its new record lies behind a topic that was made again meanwhile, and
/// would pass for one of that.
fn still_has_a_target(parts: &Parts, tables: &Tables, message: &StoredMessage) -> bool {
    target(parts, tables, message).inspect_err(|why| parts.delayed.dropped(message, why)).is_ok()
}

fn put_wheel_back(
    parts: &Parts,
    in_use: &mut WheelInUse,
    queue: &ConsumeQueue,
    below: CommitLogOffset,
) -> Result<(), Trouble> {
    let until = parts.store.offset_at_place(queue, below)?;
    // What is due and can be delivered goes now; on a full disk it is put back like the others.
    let refused = match wheel::fire(parts, in_use) {
        Err(Trouble::Store(error)) => Some(error),
        outcome => outcome.map(|_| None)?,
    };
    let WheelInUse { wheel: Some(wheel), complete, on_its_way, .. } = in_use else { return Ok(()) };
    if let Some(error) = refused.filter(|_| wheel.end() < until) {
        // Nobody knows what waits there.
        return Err(error.into());
    }
    let mut next = queue.min_offset().max(parts.delayed.timers().kept_from());
    let until = until.min(wheel.end());
    if next >= until {
        return Ok(());
    }
    let mut window = Window::default();
    while next < until {
        let tables = parts.tables();
        let mut call = Call::new(AppendClass::State);
        let mut first: Option<Timestamp> = None;
        while next < until && !call.is_full() {
            let at = next;
            next.0 += 1;
            let unit = wheel.unit(at)?;
            if parts.delayed.timers().is_done(at, unit.second) {
                continue;
            }
            let Some(message) = read(parts, &mut window, queue, at, &entry_of(&unit)) else { continue };
            if !unit.recalls && !still_has_a_target(parts, &tables, &message) {
                call.given_up.push(at);
                continue;
            }
            let second = second_sent_for(&message);
            first = Some(first.map_or(second, |first| first.min(second)));
            match put_back(parts, Source::TimerKept { offset: at }, &message, second) {
                Ok(record) => call.put(at, record, queue, None, 0),
                Err(_) => parts.delayed.dropped(&message, "its properties do not fit a record any more"),
            }
        }
        let appended = call.append(parts, Timers::apply_kept);
        first.into_iter().for_each(|second| on_its_way.add(second, queue));
        appended?;
    }
    let mut timers = parts.delayed.timers();
    let Complete { through, read_to } =
        complete.unwrap_or(Complete { through: timers.through(), read_to: timers.read_to() });
    let entry = Entry::TimersFired { through, read_to, kept_from: until };
    parts.append_state(std::slice::from_ref(&entry)).map_err(|refused| refused.store_error())?;
    timers.apply(&entry);
    Ok(())
}

/// The message that waits on, in a record of its own that the log keeps for longer.
pub(super) fn put_back(
    parts: &Parts,
    source: Source,
    message: &StoredMessage,
    second: Timestamp,
) -> Result<EncodedRecord, RecordError> {
    let times = number(message, property::TIMER_ROLL_TIMES).unwrap_or(0).saturating_add(1).to_string();
    let instead = [(property::TIMER_ROLL_TIMES, &*times)];
    let mut draft = moved(parts, &timer_topic(), TIMER_QUEUE, source, message, &instead);
    push_roll(&mut draft, roll_second(parts, parts.store.now(), second));
    draft.encode()
}

/// The second of the wheel in which it is to be delivered, however often it is put back before.
pub(super) fn second_sent_for(message: &StoredMessage) -> Timestamp {
    Timestamp(number(message, property::TIMER_OUT_MS).unwrap_or(0))
}

fn number(message: &StoredMessage, name: &str) -> Option<i64> {
    message.property(name).and_then(|text| text.parse().ok())
}
