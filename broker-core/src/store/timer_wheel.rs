//! Which messages wait for which second: the seconds in memory, their messages on the disk (`timer_log`).
//!
//! A second knows its newest message; each message's unit names the one before it. So memory is taken by seconds in which
//! something waits, of which there are at most as many as the window has, and none by messages.

use std::collections::BTreeMap;
use std::io;

use crate::clock::Timestamp;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::timer_log::{self, TimerLog, TimerUnit, UNITS_PER_FILE};

/// Units and entries compared at once when the wheel is read back.
const UNITS_AT_ONCE: u64 = 4_096;
/// Units read at once while a second is walked: its neighbours are often of the same second.
const BLOCK_UNITS: u64 = 64;
/// RocketMQ's wheel: two weeks of seconds.
pub const TIMER_WHEEL_FILE: &str = "timerwheel";
pub const SLOT_BYTES: usize = 32;
const SLOTS: u64 = 2 * 7 * 24 * 3_600;
pub const TIMER_WHEEL_BYTES: u64 = SLOTS * SLOT_BYTES as u64;

struct Second {
    first: QueueOffset,
    last: QueueOffset,
    count: u64,
    /// Of those, what recalls others.
    recalls: u64,
}

/// What waits for one second, in the order it was stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub messages: Vec<QueueOffset>,
    /// What recalls others, or will once it has been put back.
    pub recalls: Vec<QueueOffset>,
}

pub struct TimerWheel {
    log: TimerLog,
    seconds: BTreeMap<Timestamp, Second>,
    waiting: u64,
    recalls: u64,
    /// Every message of the topic of timers from the first to before the second has its unit.
    first: QueueOffset,
    end: QueueOffset,
    block: (QueueOffset, Vec<TimerUnit>),
}

impl TimerWheel {
    /// Reads the units back from `first` on, as long as each is that of its queue's entry; what follows goes. Of those that
    /// `waits` names the seconds know. What the queue holds beyond is to be pushed again.
    pub fn recover(
        log: TimerLog,
        queue: &ConsumeQueue,
        first: QueueOffset,
        waits: impl Fn(QueueOffset, Timestamp) -> bool,
    ) -> io::Result<TimerWheel> {
        let (seconds, block) = Default::default();
        let mut wheel = TimerWheel { log, seconds, waiting: 0, recalls: 0, first, end: first, block };
        let (mut units, mut entries): (Vec<TimerUnit>, Vec<QueueEntry>) = Default::default();
        'all: while wheel.end < queue.max_offset() {
            units.clear();
            entries.clear();
            queue.read_entries(wheel.end, UNITS_AT_ONCE as usize, &mut entries)?;
            wheel.log.read(wheel.end, entries.len() as u64, &mut units)?;
            for (unit, entry) in units.iter().zip(&entries) {
                if (unit.commit_log_offset, unit.record_len) != (entry.commit_log_offset, entry.record_len) {
                    break 'all;
                }
                let at = wheel.end;
                wheel.end.0 += 1;
                if !waits(at, unit.second) {
                    continue;
                }
                let previous = wheel.seconds.get(&unit.second).map(|second| second.last);
                if unit.previous != previous {
                    wheel.log.set_previous(at, previous)?;
                }
                wheel.add(at, unit);
            }
            if units.len() < entries.len() || entries.is_empty() {
                break;
            }
        }
        wheel.log.truncate(wheel.end)?;
        Ok(wheel)
    }

    /// Nothing waits in messages before this one.
    pub fn first(&self) -> QueueOffset {
        self.first
    }

    /// The next message of the topic of timers that has no unit.
    pub fn end(&self) -> QueueOffset {
        self.end
    }

    /// Messages that wait and that nobody has recalled. What recalls one waits beside it, and neither counts.
    pub fn waiting(&self) -> u64 {
        self.waiting.saturating_sub(2 * self.recalls)
    }

    /// The first second in which something waits.
    pub fn first_second(&self) -> Option<Timestamp> {
        self.seconds.first_key_value().map(|(second, _)| *second)
    }

    /// The next messages of the topic of timers, in order. After an error the wheel is to be recovered.
    pub fn push(&mut self, units: &mut [TimerUnit], waits: impl Fn(QueueOffset, Timestamp) -> bool) -> io::Result<()> {
        let first = self.end;
        for unit in units.iter_mut() {
            let at = self.end;
            self.end.0 += 1;
            unit.previous = self.seconds.get(&unit.second).map(|second| second.last);
            if waits(at, unit.second) {
                self.add(at, unit);
            }
        }
        self.block = Default::default();
        self.log.write(first, units)
    }

    fn add(&mut self, at: QueueOffset, unit: &TimerUnit) {
        let known = self.seconds.entry(unit.second).or_insert(Second { first: at, last: at, count: 0, recalls: 0 });
        known.last = at;
        known.count += 1;
        known.recalls += u64::from(unit.recalls);
        self.waiting += 1;
        self.recalls += u64::from(unit.recalls);
    }

    /// All that waits for this second.
    pub fn waiting_for(&mut self, second: Timestamp) -> io::Result<Waiting> {
        let mut waiting = Waiting::default();
        let Some(Second { last, count, .. }) = self.seconds.get(&second) else { return Ok(waiting) };
        let (mut next, count) = (Some(*last), *count);
        for _ in 0..count {
            let at = next.ok_or_else(|| broken("a second has fewer messages than it counts"))?;
            let unit = self.unit(at)?;
            if unit.second != second || unit.previous.is_some_and(|previous| previous >= at) {
                return Err(broken("a second leads into another"));
            }
            if unit.recalls { &mut waiting.recalls } else { &mut waiting.messages }.push(at);
            next = unit.previous;
        }
        waiting.messages.reverse();
        waiting.recalls.reverse();
        Ok(waiting)
    }

    /// Nothing waits for this second any more.
    pub fn done(&mut self, second: Timestamp) {
        if let Some(second) = self.seconds.remove(&second) {
            self.waiting -= second.count;
            self.recalls -= second.recalls;
        }
    }

    /// The unit of a message that has one.
    pub fn unit(&mut self, at: QueueOffset) -> io::Result<TimerUnit> {
        let (from, units) = &self.block;
        if let Some(unit) = at.0.checked_sub(from.0).and_then(|inside| units.get(inside as usize)) {
            return Ok(*unit);
        }
        let from = QueueOffset((at.0 / BLOCK_UNITS * BLOCK_UNITS).max(self.first.0).min(at.0));
        let count = (from.0 / BLOCK_UNITS * BLOCK_UNITS + BLOCK_UNITS).min(self.end.0.max(at.0 + 1)) - from.0;
        self.block = (from, Vec::with_capacity(count as usize));
        self.log.read(from, count, &mut self.block.1)?;
        self.block.1.get((at.0 - from.0) as usize).copied().ok_or_else(|| broken("a message has no unit"))
    }

    /// The seconds as RocketMQ's `timerwheel` has them: each slot with its place in the file.
    pub fn slots(&self) -> impl Iterator<Item = (u64, [u8; SLOT_BYTES])> {
        self.seconds.iter().filter_map(|(second, waiting)| {
            let tick = second.0.div_euclid(1_000);
            let at = u64::try_from(tick).ok()? % SLOTS * SLOT_BYTES as u64;
            let mut slot = [0; SLOT_BYTES];
            let count = i32::try_from(waiting.count).unwrap_or(i32::MAX);
            slot[..8].copy_from_slice(&tick.to_be_bytes());
            slot[8..16].copy_from_slice(&timer_log::place(Some(waiting.first)).to_be_bytes());
            slot[16..24].copy_from_slice(&timer_log::place(Some(waiting.last)).to_be_bytes());
            slot[24..28].copy_from_slice(&count.to_be_bytes());
            Some((at, slot))
        })
    }

    /// Fills the first file up to where it begins to mean something, since RocketMQ stops reading at the first place that
    /// is no unit, and syncs all. What is put there waits for a second that is over.
    pub fn complete(&mut self, over: Timestamp) -> io::Result<()> {
        let begin = self.first.0 / UNITS_PER_FILE * UNITS_PER_FILE;
        let filler = TimerUnit {
            previous: None,
            rolls: false,
            recalls: false,
            base: over,
            second: over,
            commit_log_offset: CommitLogOffset(0),
            record_len: 0,
            topic_hash: 0,
        };
        if self.end > self.first {
            for from in (begin..self.first.0).step_by(UNITS_AT_ONCE as usize) {
                let count = UNITS_AT_ONCE.min(self.first.0 - from) as usize;
                self.log.write(QueueOffset(from), &vec![filler; count])?;
            }
        }
        self.log.trim(self.first)?;
        self.log.sync()
    }

    /// Where the next unit will begin.
    pub fn end_place(&self) -> i64 {
        timer_log::place(Some(self.end))
    }

    /// Retention has taken the messages below: files that hold no others go.
    pub fn trim(&mut self, min: QueueOffset) -> io::Result<()> {
        let before = self.first;
        self.first = before.max(min);
        if self.first.0 / UNITS_PER_FILE > before.0 / UNITS_PER_FILE { self.log.trim(self.first) } else { Ok(()) }
    }
}

/// Recovering mends it: units are made anew from the queue.
fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
