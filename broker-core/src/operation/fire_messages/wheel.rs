//! Firing the wheel: what the topic of timers holds is put into it, and a second is fired when it has ended.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::call::{Call, FIRED_AT_ONCE_MAX, FIRED_BYTES_AT_ONCE_MAX, Targets, delivered, read};
use super::put_back::{put_back, second_sent_for};
use crate::clock::Timestamp;
use crate::delivery::delay_levels::DELAY_MAX;
use crate::delivery::filter::tag_hash;
use crate::delivery::timers::Timers;
use crate::foreign::delayed;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property, raw_properties};
use crate::offset::QueueOffset;
use crate::operation::delay::{SECOND, TIMER_QUEUE, floor, timer_topic};
use crate::operation::fire_messages::recall_key;
use crate::state::record::Entry;
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::commit_log::{AppendClass, Window};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::record::Glance;
use crate::store::timer_log::TimerUnit;
use crate::store::timer_wheel::TimerWheel;

/// Messages put into the wheel at once.
const TAKEN_AT_ONCE: usize = 1_024;
/// Between two state records that say what was fired.
pub(super) const RECORD_INTERVAL: Duration = SECOND;

#[derive(Default)]
pub(super) struct WheelInUse {
    pub(super) wheel: Option<TimerWheel>,
    /// Not while a second is being fired.
    pub(super) complete: Option<Complete>,
    /// When the last state record about it was written.
    pub(super) recorded: Timestamp,
    pub(super) on_its_way: OnItsWay,
}

/// What was put back and may not be in the wheel again: none of its seconds is fired before. A recall would be done with
/// before its message is there, or the message delivered before its recall is.
#[derive(Default)]
pub(super) struct OnItsWay {
    /// The first of the seconds that its messages were sent for.
    first: Option<Timestamp>,
    /// All of it lies below.
    to: QueueOffset,
    /// A second that is due and is not fired for that.
    pub(super) held: Option<Timestamp>,
}

impl OnItsWay {
    /// Something that waits for this second was put back, or so it may be, below the end of this queue.
    pub(super) fn add(&mut self, second: Timestamp, queue: &ConsumeQueue) {
        self.first = Some(self.first.map_or(second, |first| first.min(second)));
        self.to = queue.counter().next();
    }

    fn arrived(&mut self, wheel: &TimerWheel) {
        if wheel.end() >= self.to {
            self.first = None;
        }
    }

    fn holds(&self, second: Timestamp) -> bool {
        self.first.is_some_and(|first| first <= second)
    }
}

impl WheelInUse {
    /// A wheel that cannot be used is made anew by whoever needs it next.
    pub(super) fn after(&mut self, trouble: Trouble) -> StoreError {
        if matches!(trouble, Trouble::Wheel(_)) {
            self.wheel = None;
        }
        trouble.store_error()
    }
}

/// All messages below `read_to` of this second and earlier ones are fired.
#[derive(Clone, Copy)]
pub(super) struct Complete {
    pub(super) through: Timestamp,
    pub(super) read_to: QueueOffset,
}

/// What went wrong while firing.
pub(super) enum Trouble {
    /// The wheel itself: it has to be made anew.
    Wheel(std::io::Error),
    /// Something around it, which may pass.
    Store(StoreError),
}

impl Trouble {
    fn store_error(self) -> StoreError {
        match self {
            Trouble::Store(error) => error,
            Trouble::Wheel(error) => StoreError::io("the timer log", &error),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble::Wheel(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

/// What was fired up to now is on record, so that the next start need not look for proofs. At a stop.
pub(crate) fn record_fired(parts: &Parts) -> Result<(), StoreError> {
    let mut in_use = parts.delayed.wheel.lock().expect("no code panics while holding it");
    match &mut *in_use {
        WheelInUse { complete: Some(complete), recorded, .. } => record(parts, complete, recorded, Duration::ZERO),
        _ => Ok(()),
    }
}

/// Leaves the wheel as RocketMQ has it. At a clean stop, after `record_fired`, when the queue has all that the log has.
pub(crate) fn leave_wheel(parts: &Parts) -> Result<(), StoreError> {
    let mut in_use = parts.delayed.wheel.lock().expect("no code panics while holding it");
    let Some(queue) = parts.store.queue(&timer_topic(), TIMER_QUEUE) else { return Ok(()) };
    let WheelInUse { wheel, complete, .. } = &mut *in_use;
    // What retention put back still stands in its second too, and RocketMQ would deliver it there and its copy. And of a
    // second that could not be fired whole, only the proofs say how far it got.
    let as_it_is = wheel.as_mut().zip(*complete).filter(|(wheel, _)| wheel.first() >= first_kept(parts, &queue));
    if let Some((wheel, complete)) = as_it_is {
        return delayed::leave_wheel(&parts.store, wheel, complete.through);
    }
    // The files that it is read from are the old one's.
    *wheel = None;
    let made_anew = recover(parts, &queue).map_err(Trouble::from).and_then(|mut wheel| {
        take(parts, &mut wheel, &queue)?;
        Ok(wheel)
    });
    let wheel = wheel.insert(made_anew.map_err(Trouble::store_error)?);
    let through = complete.map_or(parts.delayed.timers().through(), |complete| complete.through);
    // What came just now may lie in a second before.
    let through = wheel.first_second().map_or(through, |first| through.min(first.minus(SECOND)));
    delayed::leave_wheel(&parts.store, wheel, through)
}

/// Fires what is due in the wheel; says when its next message is.
pub(super) fn fire(parts: &Parts, in_use: &mut WheelInUse) -> Result<Option<Timestamp>, Trouble> {
    let Some(queue) = parts.store.queue(&timer_topic(), TIMER_QUEUE) else { return Ok(None) };
    let WheelInUse { wheel, complete, recorded, on_its_way } = in_use;
    let wheel = match wheel {
        Some(wheel) => wheel,
        None => wheel.insert(recover(parts, &queue)?),
    };
    loop {
        *complete = None;
        // Before the look at what there is: what recalls something of these seconds was sent before they ended.
        let due_through = floor(parts.store.now()).minus(SECOND);
        take(parts, wheel, &queue)?;
        parts.delayed.timers().wheel_has(wheel.end());
        wheel.trim(queue.min_offset())?;
        on_its_way.arrived(wheel);
        let is_due = |wheel: &TimerWheel| wheel.first_second().filter(|second| *second <= due_through);
        while let Some(second) = is_due(wheel).filter(|second| !on_its_way.holds(*second)) {
            fire_second(parts, wheel, &queue, second, on_its_way)?;
        }
        parts.delayed.in_wheel.store(wheel.waiting(), Ordering::Relaxed);
        on_its_way.held = is_due(wheel);
        if on_its_way.held.is_some() {
            // Or nothing of it was stored after all.
            if wheel.end() < queue.max_offset() || wheel.end() >= on_its_way.to {
                continue;
            }
            // Dispatch rings when what is on its way can be taken.
            return Ok(None);
        }
        // However late something came, nothing due is left in the wheel here; and what is on its way lies behind its end.
        let complete = complete.insert(Complete { through: due_through, read_to: wheel.end() });
        record(parts, complete, recorded, RECORD_INTERVAL)?;
        return Ok(wheel.first_second().map(|second| second.plus(SECOND)));
    }
}

fn recover(parts: &Parts, queue: &ConsumeQueue) -> std::io::Result<TimerWheel> {
    let log = parts.store.timer_log().map_err(|error| std::io::Error::other(error.to_string()))?;
    let timers = parts.delayed.timers().clone();
    TimerWheel::recover(log, queue, first_kept(parts, queue), |at, second| !timers.is_done(at, second))
}

/// Of the topic of timers nothing waits below.
fn first_kept(parts: &Parts, queue: &ConsumeQueue) -> QueueOffset {
    queue.min_offset().max(parts.delayed.timers().kept_from().min(queue.max_offset()))
}

/// Puts what the topic of timers holds by now into the wheel, up to its confirmed end. All of it, however much a start has
/// to read anew: behind a message that is due there may lie its recall. What follows meanwhile rings again.
fn take(parts: &Parts, wheel: &mut TimerWheel, queue: &ConsumeQueue) -> Result<(), Trouble> {
    let (mut entries, mut units): (Vec<QueueEntry>, Vec<TimerUnit>) = Default::default();
    let mut window = Window::default();
    let end = queue.max_offset();
    while wheel.end() < end {
        entries.clear();
        units.clear();
        parts.store.read_queue(queue, wheel.end(), TAKEN_AT_ONCE, &mut entries)?;
        if entries.is_empty() {
            // Made anew, it begins where the queue does.
            return Err(std::io::Error::other("its queue begins behind its end").into());
        }
        for (at, entry) in (wheel.end().0..).map(QueueOffset).zip(&entries) {
            // Its checksum is looked at when it is fired, if it names a time at which that will be.
            let glanced = parts.store.glance_message(&mut window, queue, at, entry);
            if let Some(unit) = glanced.map(|message| unit_of(&message)).filter(has_a_time) {
                units.push(unit);
                continue;
            }
            units.push(match parts.store.read_message(&mut window, queue, at, entry) {
                Ok(Some(message)) => unit_of(&Glance::from(&message)),
                // It keeps its place, is due at once, and is dropped then.
                Ok(None) | Err(_) => TimerUnit {
                    previous: None,
                    rolls: false,
                    recalls: false,
                    base: Timestamp(0),
                    second: Timestamp(0),
                    commit_log_offset: entry.commit_log_offset,
                    record_len: entry.record_len,
                    topic_hash: 0,
                },
            });
        }
        let timers = parts.delayed.timers();
        let pushed = wheel.push(&mut units, |at, second| !timers.is_done(at, second));
        drop(timers);
        pushed?;
    }
    Ok(())
}

fn unit_of(message: &Glance<'_>) -> TimerUnit {
    let (mut out, mut roll, mut topic_hash, mut recalls) = (None, None, 0, false);
    let time = |value: &str| value.parse().ok().filter(|time: &i64| *time >= 0);
    // Each message that waits comes by here: text is made of what is asked for alone.
    for (name, value) in raw_properties(message.properties) {
        let value = || std::str::from_utf8(value).ok();
        if name == property::TIMER_OUT_MS.as_bytes() {
            out = value().and_then(time);
        } else if name == property::TIMER_ROLL_MS.as_bytes() {
            roll = value().and_then(time);
        } else if name == property::REAL_TOPIC.as_bytes() {
            topic_hash = value().map_or(0, |topic| tag_hash(topic) as i32);
        } else if name == property::TIMER_DEL_UNIQKEY.as_bytes() {
            recalls = true;
        }
    }
    // Without a time it is due now.
    let out = out.unwrap_or(0);
    let roll = roll.filter(|roll| *roll < out);
    TimerUnit {
        previous: None,
        rolls: roll.is_some(),
        recalls,
        base: message.store_timestamp,
        second: Timestamp(roll.unwrap_or(out)),
        commit_log_offset: message.commit_log_offset,
        record_len: message.record_len,
        topic_hash,
    }
}

/// Whether its time is one that a message could be given when it was stored.
fn has_a_time(unit: &TimerUnit) -> bool {
    floor(unit.second) == unit.second && unit.second.since(unit.base).max(unit.base.since(unit.second)) <= DELAY_MAX
}

/// Fires one second: first what is recalled in it, then all others in the order they were stored.
fn fire_second(
    parts: &Parts,
    wheel: &mut TimerWheel,
    queue: &ConsumeQueue,
    second: Timestamp,
    on_its_way: &mut OnItsWay,
) -> Result<(), Trouble> {
    let waiting = wheel.waiting_for(second)?;
    let mut window = Window::default();
    let (mut recalled, recalls): (HashSet<Box<str>>, Vec<QueueOffset>) = {
        let timers = parts.delayed.timers();
        let recalls = waiting.recalls.into_iter().filter(|at| !timers.is_done(*at, second)).collect();
        (timers.recalled(second).map(Box::from).collect(), recalls)
    };
    let mut left = Vec::new();
    for at in recalls {
        let unit = wheel.unit(at)?;
        if unit.rolls {
            left.push(at);
        } else if let Some(message) = read(parts, &mut window, queue, at, &entry_of(&unit)) {
            recalled.extend(message.property(property::TIMER_DEL_UNIQKEY).map(Box::from));
        }
    }
    let timers = parts.delayed.timers();
    left.extend(waiting.messages.into_iter().filter(|at| !timers.is_done(*at, second)));
    drop(timers);
    let second_hand = left.len() > FIRED_AT_ONCE_MAX;
    let due = Due { parts, queue, recalled, put_back_first: AtomicI64::new(i64::MAX) };
    let left = Mutex::new(Left { wheel, left: left.into_iter(), before: None });
    // Reading and encoding them takes longer than appending: both threads do either, and append by turns.
    let fired = std::thread::scope(|scope| {
        let fire = || due.fire(&left);
        let named = || std::thread::Builder::new().name("timers-second".into());
        let other = second_hand.then(|| named().spawn_scoped(scope, fire).ok()).flatten();
        let fired = fire();
        let others = other.map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        fired.and(others.unwrap_or(Ok(())))
    });
    // Also when others were refused.
    let put_back_first = Timestamp(due.put_back_first.into_inner());
    if put_back_first.0 < i64::MAX {
        on_its_way.add(put_back_first, queue);
    }
    fired?;
    wheel.done(second);
    Ok(())
}

/// What is due in a second, on its way to its topics.
struct Due<'a> {
    parts: &'a Parts,
    queue: &'a ConsumeQueue,
    recalled: HashSet<Box<str>>,
    /// The first of the seconds that what is put back was sent for; `i64::MAX` for none.
    put_back_first: AtomicI64,
}

struct Left<'a> {
    wheel: &'a mut TimerWheel,
    left: std::vec::IntoIter<QueueOffset>,
    /// Tells that what was taken last is appended. It never does when that has failed.
    before: Option<mpsc::Receiver<()>>,
}

impl Left<'_> {
    /// So many of them as one append takes.
    fn next(&mut self) -> std::io::Result<Vec<(QueueOffset, TimerUnit)>> {
        let mut units = Vec::with_capacity(FIRED_AT_ONCE_MAX.min(self.left.len()));
        let mut bytes = 0;
        while units.len() < FIRED_AT_ONCE_MAX
            && bytes < FIRED_BYTES_AT_ONCE_MAX
            && let Some(at) = self.left.next()
        {
            let unit = self.wheel.unit(at)?;
            bytes += unit.record_len as usize;
            units.push((at, unit));
        }
        Ok(units)
    }
}

impl Due<'_> {
    /// Fires what is left, each call after the one before it.
    fn fire(&self, left: &Mutex<Left<'_>>) -> Result<(), Trouble> {
        let mut window = Window::default();
        loop {
            // Their targets stay what they are until they are appended. Locked before anything is taken: who waits for
            // the call before must not be waited for by it.
            let tables = self.parts.tables();
            let mut left = left.lock().expect("no code panics while holding it");
            let units = match left.next() {
                Ok(units) => units,
                Err(error) => {
                    // What could not be looked at must not be passed by what comes after it.
                    left.left = Vec::new().into_iter();
                    return Err(error.into());
                }
            };
            if units.is_empty() {
                return Ok(());
            }
            let (appended, after) = mpsc::channel();
            let before = left.before.replace(after);
            drop(left);
            let call = self.call(&tables, &mut window, units);
            // Whoever has the one before tells why it failed.
            if before.is_some_and(|before| before.recv().is_err()) {
                return Ok(());
            }
            call.append(self.parts, Timers::apply_fired)?;
            // Nobody may be left to wait for it.
            let _ = appended.send(());
        }
    }

    fn call<'t>(&self, tables: &'t Tables, window: &mut Window, units: Vec<(QueueOffset, TimerUnit)>) -> Call<'t> {
        let parts = self.parts;
        let mut targets = Targets::new(parts, tables);
        let mut call = Call::new(AppendClass::Message);
        for (at, unit) in units {
            let Some(message) = read(parts, window, self.queue, at, &entry_of(&unit)) else {
                call.given_up.push(at);
                continue;
            };
            if self.is_recalled(&message) {
                call.given_up.push(at);
                continue;
            }
            let target = if unit.recalls { None } else { Some(targets.of(&message)) };
            let source = Source::Timer { offset: at };
            let record = match (target.transpose(), unit.rolls) {
                (Ok(_), true) => {
                    let second = second_sent_for(&message);
                    self.put_back_first.fetch_min(second.0, Ordering::Relaxed);
                    put_back(parts, source, &message, second).map(|record| (record, None))
                }
                (Ok(Some(target)), false) => {
                    delivered(parts, &target, source, &message).map(|record| (record, Some(target)))
                }
                (Ok(None), false) => unreachable!("what recalls in this second was told apart above"),
                (Err(why), _) => {
                    parts.delayed.dropped(&message, why);
                    call.given_up.push(at);
                    continue;
                }
            };
            match record {
                Ok((record, Some(to))) => call.put(at, record, to.queue, Some(to.topic), message.body.len()),
                Ok((record, None)) => call.put(at, record, self.queue, None, 0),
                Err(_) => {
                    parts.delayed.dropped(&message, "its properties do not fit a record any more");
                    call.given_up.push(at);
                }
            }
        }
        call
    }

    fn is_recalled(&self, message: &StoredMessage) -> bool {
        let key = || Some(recall_key(message.property(property::REAL_TOPIC)?, message.unique_key()?));
        !self.recalled.is_empty() && key().is_some_and(|key| self.recalled.contains(key.as_str()))
    }
}

/// Writes down that all proofs so far are covered by "everything below this offset up to this second".
fn record(parts: &Parts, complete: &Complete, recorded: &mut Timestamp, interval: Duration) -> Result<(), StoreError> {
    let now = parts.store.now();
    let mut timers = parts.delayed.timers();
    if !timers.has_proofs() || now.since(*recorded) < interval {
        return Ok(());
    }
    let Complete { through, read_to } = *complete;
    let entry = Entry::TimersFired { through, read_to, kept_from: timers.kept_from() };
    parts.append_state(std::slice::from_ref(&entry)).map_err(|refused| refused.store_error())?;
    failpoint::at(Point::FireRecorded);
    timers.apply(&entry);
    *recorded = now;
    Ok(())
}

pub(super) fn entry_of(unit: &TimerUnit) -> QueueEntry {
    let (commit_log_offset, record_len) = (unit.commit_log_offset, unit.record_len);
    QueueEntry { commit_log_offset, record_len, tag_hash: 0, inner: 0 }
}
