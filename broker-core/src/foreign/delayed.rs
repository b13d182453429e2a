//! How far RocketMQ is with delayed messages: `delayOffset.json` for the levels, `timercheck` for the others.
//!
//! `timercheck` has 4,096 bytes, of which numbers of 8 bytes each are used, big-endian: the next second to be fired in
//! milliseconds, a place in the timer log, and twice how far the topic of timers was read, of which the smaller counts.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::delivery::timers::Timers;
use crate::foreign::config_files;
use crate::offset::QueueOffset;
use crate::state::record::Entry;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::timer_wheel::TimerWheel;

const TIMER_CHECK: &str = "timercheck";
const TIMER_CHECK_BYTES: usize = 4_096;
const SECOND_MS: i64 = 1_000;

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
