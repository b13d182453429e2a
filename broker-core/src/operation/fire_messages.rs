//! Delivering messages whose time has come.
//!
//! One thread sleeps until the next of them is due. It takes what the topic of timers holds into the wheel, and fires what
//! is due: appends each message to its own topic, as a record that names the one it comes from. That record is the proof
//! that keeps it from firing twice; a state record says once a second at most what all the proofs before it say together.
//!
//! What cannot be delivered for the moment is tried again; what never can (its topic is gone) is dropped and counted.
//!
//! Here are the thread and what it sleeps on. What it does has a room each: `levels` and `wheel` fire, `put_back` saves what
//! waits from retention, and `call` is the append they all end in.
//!
//! Lock order: wheel, tables, what is left of a second, timers, log.

mod call;
mod levels;
mod put_back;
mod wheel;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use self::wheel::WheelInUse;
use crate::broker::TimerStats;
use crate::clock::Timestamp;
use crate::delivery::timers::Timers;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property};
use crate::names::{SCHEDULE_TOPIC, TIMER_TOPIC};
use crate::operation::delay::{SECOND, queue_of_level, schedule_topic};
use crate::store::dispatch::Arrival;
use crate::store::error::StoreError;

pub(crate) use self::call::target;
pub(crate) use self::put_back::put_back_below;
pub(crate) use self::wheel::{leave_wheel, record_fired};

/// What arrives is put into the wheel together with all that follows so soon: to wake a thread for each call of a sender
/// costs that sender a ninth of its time (11 us for 32 messages, in a virtual machine). What arrives so shortly before its
/// second ends is late by as much.
const GATHERING: Duration = Duration::from_millis(20);
/// After something that was refused, such as an append on a full disk.
pub(crate) const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Effective time runs at most half as fast again as the machine's.
const SLEEP_SHARE: (u32, u32) = (2, 3);
/// Up to here a sleep is not cut short for that.
const SHORT_SLEEP: Duration = SECOND;

/// Delayed messages: what became of them, where they wait, and who is to be woken.
pub(crate) struct Delayed {
    timers: Mutex<Timers>,
    /// None until the topic of timers was looked at, and after something went wrong: then it is made anew.
    wheel: Mutex<WheelInUse>,
    pub(crate) bell: Arc<Bell>,
    in_wheel: AtomicU64,
    /// When the first of them is due; `i64::MAX` for never.
    next_due: AtomicI64,
    fired: AtomicU64,
    dropped: AtomicU64,
}

/// Wakes the thread that fires.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Rung {
    rung: bool,
    closed: bool,
}

impl Bell {
    /// Called by dispatch: something may have come into one of the two topics. Whoever sends pays for waking the thread, so
    /// it is woken for the first of them alone and gathers the others.
    pub(crate) fn arrived(&self, arrivals: &[Arrival]) {
        let is_ours = |arrival: &Arrival| matches!(arrival.topic.as_str(), SCHEDULE_TOPIC | TIMER_TOPIC);
        if arrivals.iter().any(is_ours) {
            self.ring(|rung| rung.rung = true);
        }
    }

    pub(crate) fn close(&self) {
        self.ring(|rung| rung.closed = true);
    }

    fn ring(&self, change: impl FnOnce(&mut Rung)) {
        let mut rung = self.rung.lock().expect("no code panics while holding it");
        let before = *rung;
        change(&mut rung);
        if *rung != before {
            self.changed.notify_all();
        }
    }

    /// Waits until it rings, so long at most; says whether it rang.
    fn wait(&self, wait_max: Option<Duration>) -> bool {
        let rung = self.rung.lock().expect("no code panics while holding it");
        let sleeps = |rung: &mut Rung| !rung.rung && !rung.closed;
        let rung = match wait_max {
            None => self.changed.wait_while(rung, sleeps).expect("no code panics while holding it"),
            Some(wait_max) => {
                let waited = self.changed.wait_timeout_while(rung, wait_max, sleeps);
                waited.expect("no code panics while holding it").0
            }
        };
        rung.rung
    }

    /// Lets it ring on for so long; `false` once it is closed.
    fn gather(&self, wait: Duration) -> bool {
        let rung = self.rung.lock().expect("no code panics while holding it");
        let waited = self.changed.wait_timeout_while(rung, wait, |rung| !rung.closed);
        let (mut rung, _) = waited.expect("no code panics while holding it");
        rung.rung = false;
        !rung.closed
    }
}

impl Delayed {
    pub(crate) fn new(timers: Timers, bell: Arc<Bell>) -> Delayed {
        Delayed {
            timers: Mutex::new(timers),
            wheel: Mutex::default(),
            bell,
            in_wheel: AtomicU64::new(0),
            next_due: AtomicI64::new(i64::MAX),
            fired: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().expect("no code panics while holding it")
    }

    fn dropped(&self, message: &StoredMessage, why: &str) {
        if why == call::OF_THE_SYSTEM {
            // RocketMQ lets its check points of pops wait here; they were taken over when its store was.
            return;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        let topic = message.property(property::REAL_TOPIC).unwrap_or_default();
        tracing::warn!(topic, at = %message.commit_log_offset, why, "a delayed message was dropped");
    }
}

/// The life of the thread that fires.
pub(crate) fn keep_firing(parts: &Parts) {
    let mut failed = false;
    loop {
        let (next, wait_max) = match fire_due(parts) {
            Ok(next) => {
                if std::mem::take(&mut failed) {
                    tracing::info!("delayed messages are delivered again");
                }
                (next, next.map(|due| sleep_until(parts, due)))
            }
            Err(error) => {
                if parts.store.failure().is_some() {
                    return;
                }
                // Once, and not ten times a second.
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(%error, "delayed messages cannot be delivered; it is tried again and again");
                }
                (None, Some(PAUSE_AFTER_FAILURE))
            }
        };
        let bell = &parts.delayed.bell;
        // What is known to be due is not kept waiting for what arrives.
        let left = |next: Option<Timestamp>| next.map_or(GATHERING, |due| due.since(parts.store.now()).min(GATHERING));
        let gathering = if bell.wait(wait_max) { left(next) } else { Duration::ZERO };
        if !bell.gather(gathering) {
            return;
        }
    }
}

/// Effective time may run faster than the machine's while it is drawn towards the wall: look again before.
fn sleep_until(parts: &Parts, due: Timestamp) -> Duration {
    let left = due.since(parts.store.now());
    if left <= SHORT_SLEEP { left } else { left * SLEEP_SHARE.0 / SLEEP_SHARE.1 }
}

/// Fires all that is due; says when the next is.
pub(crate) fn fire_due(parts: &Parts) -> Result<Option<Timestamp>, StoreError> {
    let mut in_use = parts.delayed.wheel.lock().expect("no code panics while holding it");
    let levels_due = levels::fire(parts)?;
    let wheel_due = wheel::fire(parts, &mut in_use).map_err(|trouble| in_use.after(trouble))?;
    let due = levels_due.into_iter().chain(wheel_due).min();
    let known = due.into_iter().chain(in_use.on_its_way.held.map(|second| second.plus(SECOND))).min();
    parts.delayed.next_due.store(known.map_or(i64::MAX, |due| due.0), Ordering::Relaxed);
    // What was fired shall be on record soon, also if nothing else comes. Not before the wheel is complete: dispatch rings.
    let record_due = parts.delayed.timers().has_proofs().then(|| in_use.recorded.plus(wheel::RECORD_INTERVAL));
    Ok(due.into_iter().chain(record_due.filter(|_| in_use.complete.is_some())).min())
}

/// How many wait, and how far behind the first of them is.
pub(crate) fn stats(parts: &Parts) -> TimerStats {
    let delayed = &parts.delayed;
    let topic = schedule_topic();
    let timers = delayed.timers();
    let in_levels = (1..=parts.store.queues(&topic).len() as u32).map(|level| {
        let queue = parts.store.queue(&topic, queue_of_level(level));
        queue.map_or(0, |queue| queue.max_offset().0.saturating_sub(timers.level_next(level).0))
    });
    let in_levels: u64 = in_levels.sum();
    drop(timers);
    let next_due = Timestamp(delayed.next_due.load(Ordering::Relaxed));
    TimerStats {
        scheduled: in_levels + delayed.in_wheel.load(Ordering::Relaxed),
        behind: parts.store.now().since(next_due),
        fired: delayed.fired.load(Ordering::Relaxed),
        dropped: delayed.dropped.load(Ordering::Relaxed),
    }
}

/// What a recall names.
pub(crate) fn recall_key(topic: &str, unique_key: &str) -> String {
    format!("{topic}+{unique_key}")
}
