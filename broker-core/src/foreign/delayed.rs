//! How far RocketMQ is with delayed messages: `delayOffset.json` for the levels, `timercheck` for the others.
//!
//! `timercheck` has 4,096 bytes, of which numbers of 8 bytes each are used, big-endian: the next second to be fired in
//! milliseconds, a place in the timer log, and twice how far the topic of timers was read, of which the smaller counts.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::delivery::timers::Timers;
use crate::foreign::config_files;
use crate::foreign::transactions::OFFSETS_AT_ONCE;
use crate::message::{StoredMessage, property};
use crate::offset::QueueOffset;
use crate::operation::delay::{TIMER_QUEUE, timer_topic};
use crate::state::record::Entry;
use crate::store::Store;
use crate::store::commit_log::Window;
use crate::store::error::StoreError;
use crate::store::timer_wheel::TimerWheel;

const TIMER_CHECK: &str = "timercheck";
const TIMER_CHECK_BYTES: usize = 4_096;
const SECOND_MS: i64 = 1_000;
/// Messages read at once.
const READ_AT_ONCE: u64 = 1_024;

/// What is done already: everything else is still to be delivered.
pub fn progress(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let levels = store.read_config(config_files::DELAY_OFFSETS)?;
    let levels = config_files::numbers(levels.as_ref().and_then(|file| file.get("offsetTable")));
    let level = |(level, next): (u64, u64)| {
        Some(Entry::LevelFired { level: u32::try_from(level).ok()?, next: QueueOffset(next) })
    };
    let timers = timers_fired(&store.config_bytes(TIMER_CHECK)?);
    Ok(levels.into_iter().filter_map(level).chain(timers).collect())
}

/// RocketMQ puts what waits for long back without a word about the copy before, which stands in the same second for us: the
/// last copy is the message, and those before it are done. From the end on, so that only what has been put back is
/// remembered.
pub fn copies(store: &Store, timers: &Timers) -> Result<Vec<Entry>, StoreError> {
    let Some(queue) = store.queue(&timer_topic(), TIMER_QUEUE) else { return Ok(Vec::new()) };
    let (mut put_back, mut done): (HashMap<(String, u64), u64>, Vec<u64>) = Default::default();
    let (mut window, mut entries) = (Window::default(), Vec::new());
    let first = queue.min_offset().max(timers.kept_from()).0;
    let mut end = queue.max_offset().0;
    while end > first {
        let from = first.max(end.saturating_sub(READ_AT_ONCE));
        entries.clear();
        store.read_queue(&queue, QueueOffset(from), (end - from) as usize, &mut entries)?;
        for (index, entry) in entries.iter().enumerate().rev() {
            let at = QueueOffset(from + index as u64);
            // What cannot be read is dropped at its time.
            let Ok(Some(message)) = store.read_message(&mut window, &queue, at, entry) else { continue };
            let Some((key, times)) = key_of(&message) else { continue };
            if let Some(copies) = put_back.get_mut(&(key.clone(), times)).filter(|copies| **copies > 0) {
                *copies -= 1;
                done.push(at.0);
            }
            if times > 0 {
                *put_back.entry((key, times - 1)).or_default() += 1;
            }
        }
        end = from;
    }
    done.reverse();
    Ok(done.chunks(OFFSETS_AT_ONCE).map(|offsets| Entry::TimersKept { offsets: offsets.to_vec() }).collect())
}

/// What copies of a message have in common, and how often this one was put back. A recall bears the key of what it recalls.
fn key_of(message: &StoredMessage) -> Option<(String, u64)> {
    let wanted =
        [property::REAL_TOPIC, property::TIMER_OUT_MS, property::TIMER_DEL_UNIQKEY, property::TIMER_ROLL_TIMES];
    let [topic, out, recalls, times] = message.properties_of(wanted);
    let key = format!("{} {}+{}+{}", recalls.is_some(), topic?, message.unique_key()?, out?);
    Some((key, times.and_then(|times| times.parse().ok()).unwrap_or(0)))
}

fn timers_fired(check: &[u8]) -> Option<Entry> {
    let number = |at: usize| {
        let bytes = check.get(at * 8..at * 8 + 8)?.try_into().ok()?;
        u64::try_from(i64::from_be_bytes(bytes)).ok()
    };
    let (next, read_to) = (number(0)?, number(2)?.min(number(3)?));
    let through = Timestamp(i64::try_from(next).ok()?.checked_sub(SECOND_MS).filter(|through| *through >= 0)?);
    Some(Entry::TimersFired { through, read_to: QueueOffset(read_to), kept_from: QueueOffset(0) })
}

/// What a stop leaves of the wheel: its seconds, and how far they go. `through`: all up to this second is fired.
pub fn leave_wheel(store: &Store, wheel: &mut TimerWheel, through: Timestamp) -> Result<(), StoreError> {
    wheel.complete(through).map_err(|error| StoreError::io("writing the timer log", &error))?;
    store.write_timer_wheel(wheel.slots())?;
    store.replace_config_bytes(TIMER_CHECK, &timer_check(through, wheel.end_place(), wheel.end(), store.now()))
}

fn timer_check(through: Timestamp, end_place: i64, read_to: QueueOffset, now: Timestamp) -> Vec<u8> {
    let read_to = i64::try_from(read_to.0).unwrap_or(i64::MAX);
    let version = [0, now.0, 1];
    let numbers = [through.0 + SECOND_MS, end_place, read_to, read_to].into_iter().chain(version);
    let mut bytes: Vec<u8> = numbers.flat_map(i64::to_be_bytes).collect();
    bytes.resize(TIMER_CHECK_BYTES, 0);
    bytes
}

/// What a stop says of the levels.
pub fn levels(file: &mut Map<String, Value>, timers: &Timers) {
    let table = file.entry("offsetTable").or_insert(Value::Object(Map::new()));
    let Some(table) = table.as_object_mut() else { return };
    for (level, next) in timers.levels() {
        table.insert(level.to_string(), next.0.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b8_a_timer_check_says_what_was_fired() {
        let check = |numbers: &[i64]| {
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            bytes.resize(4_096, 0);
            bytes
        };
        let fired = |read_to| Entry::TimersFired {
            through: Timestamp(1_700_000_000_000),
            read_to: QueueOffset(read_to),
            kept_from: QueueOffset(0),
        };
        assert_eq!(timers_fired(&check(&[1_700_000_001_000, 0, 300, 200])), Some(fired(200)));
        assert_eq!(timers_fired(&check(&[1_700_000_001_000, 0, 300, 0])), Some(fired(0)));
        let ours = timer_check(Timestamp(1_700_000_000_000), 52 * 300, QueueOffset(300), Timestamp(7));
        assert_eq!(ours, check(&[1_700_000_001_000, 52 * 300, 300, 300, 0, 7, 1]));
        assert_eq!(timers_fired(&ours), Some(fired(300)));
        for unknown in [&[][..], &[0], &check(&[]), &check(&[-1, 0, 5, 5]), &check(&[1_700_000_001_000, 0, -1, 5])] {
            assert_eq!(timers_fired(unknown), None);
        }
    }
}
