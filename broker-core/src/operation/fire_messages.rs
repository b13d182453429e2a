//! Delivering messages whose time has come.
//!
//! One thread sleeps until the next of them is due. It takes what the topic of timers holds into the wheel, and fires what
//! is due: appends each message to its own topic, as a record that names the one it comes from. That record is the proof
//! that keeps it from firing twice; a state record says once a second at most what all the proofs before it say together.
//!
//! What cannot be delivered for the moment is tried again; what never can (its topic is gone) is dropped and counted.
//!
//! Lock order: wheel, tables, what is left of a second, timers, log.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use crate::broker::TimerStats;
use crate::clock::Timestamp;
use crate::delivery::filter::tag_hash;
use crate::delivery::timers::Timers;
use crate::foreign::delayed;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property, raw_properties};
use crate::names::{SCHEDULE_TOPIC, TIMER_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::operation::delay::{
    SECOND, TIMER_QUEUE, floor, push_roll, queue_of_level, roll_second, schedule_topic, second_of, timer_topic,
};
use crate::operation::topics::ensure_topic;
use crate::state::record::Entry;
use crate::state::source::Source;
use crate::state::tables::{LiveTopic, Tables};
use crate::store::commit_log::{Append, AppendClass, Window};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::dispatch::{Arrival, TopicQueues};
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::record::{EncodedRecord, RecordDraft, RecordError};
use crate::store::timer_log::TimerUnit;
use crate::store::timer_wheel::TimerWheel;

/// What arrives is put into the wheel together with all that follows so soon: to wake a thread for each call of a sender
/// costs that sender a ninth of its time (11 us for 32 messages, in a virtual machine). What arrives so shortly before its
/// second ends is late by as much.
const GATHERING: Duration = Duration::from_millis(20);
/// Most messages of one append.
const FIRED_AT_ONCE_MAX: usize = 256;
/// Most bytes of records in one append; one may be larger.
const FIRED_BYTES_AT_ONCE_MAX: usize = 1 << 20;
/// Messages put into the wheel at once.
const TAKEN_AT_ONCE: usize = 1_024;
/// So many are put into the wheel before it is looked what is due.
const TAKEN_IN_A_ROW_MAX: usize = 64 * TAKEN_AT_ONCE;
/// Between two state records that say what was fired.
const RECORD_INTERVAL: Duration = SECOND;
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

#[derive(Default)]
struct WheelInUse {
    wheel: Option<TimerWheel>,
    /// Not while a second is being fired.
    complete: Option<Complete>,
    /// When the last state record about it was written.
    recorded: Timestamp,
}

/// All messages below `read_to` of this second and earlier ones are fired.
#[derive(Clone, Copy)]
struct Complete {
    through: Timestamp,
    read_to: QueueOffset,
}

/// What went wrong while firing.
enum Trouble {
    /// The wheel itself: it has to be made anew.
    Wheel(std::io::Error),
    /// Something around it, which may pass.
    Store(StoreError),
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
        if why == OF_THE_SYSTEM {
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
    let levels_due = fire_levels(parts)?;
    let wheel_due = match fire_timers(parts, &mut in_use) {
        Ok(due) => due,
        Err(Trouble::Store(error)) => return Err(error),
        Err(Trouble::Wheel(error)) => {
            in_use.wheel = None;
            return Err(StoreError::io("the timer log", &error));
        }
    };
    let due = levels_due.into_iter().chain(wheel_due).min();
    parts.delayed.next_due.store(due.map_or(i64::MAX, |due| due.0), Ordering::Relaxed);
    // What was fired shall be on record soon, also if nothing else comes.
    let record_due = parts.delayed.timers().has_proofs().then(|| in_use.recorded.plus(RECORD_INTERVAL));
    Ok(due.into_iter().chain(record_due.filter(|_| in_use.wheel.is_some())).min())
}

/// What was fired up to now is on record, so that the next start need not look for proofs. At a stop.
pub(crate) fn record_fired(parts: &Parts) -> Result<(), StoreError> {
    let mut in_use = parts.delayed.wheel.lock().expect("no code panics while holding it");
    match &mut *in_use {
        WheelInUse { complete: Some(complete), recorded, .. } => record(parts, complete, recorded, Duration::ZERO),
        _ => Ok(()),
    }
}

/// Leaves the wheel as RocketMQ has it. At a clean stop, after `record_fired`.
pub(crate) fn leave_wheel(parts: &Parts) -> Result<(), StoreError> {
    let mut in_use = parts.delayed.wheel.lock().expect("no code panics while holding it");
    let WheelInUse { complete: Some(complete), wheel: Some(wheel), .. } = &mut *in_use else { return Ok(()) };
    if let Some(queue) = parts.store.queue(&timer_topic(), TIMER_QUEUE)
        && wheel.first() < first_kept(parts, &queue)
    {
        // What retention put back still stands in its second too, and RocketMQ would deliver it there and its copy.
        let made_anew = recover(parts, &queue).map_err(Trouble::from).and_then(|mut wheel| {
            while take(parts, &mut wheel, &queue)? {}
            Ok(wheel)
        });
        *wheel = made_anew.map_err(|trouble| match trouble {
            Trouble::Store(error) => error,
            Trouble::Wheel(error) => StoreError::io("the timer log", &error),
        })?;
    }
    delayed::leave_wheel(&parts.store, wheel, complete.through)
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

const OF_THE_SYSTEM: &str = "its topic is the system's";

/// Where a message goes that waited for its time, or for a commit.
pub(crate) struct Target<'a> {
    pub(crate) topic: &'a Arc<LiveTopic>,
    pub(crate) queue: Arc<ConsumeQueue>,
}

/// Where one message goes.
pub(crate) fn target<'a>(
    parts: &Parts,
    tables: &'a Tables,
    message: &StoredMessage,
) -> Result<Target<'a>, &'static str> {
    Targets::new(parts, tables).of(message)
}

/// Where one message after the other goes. Neighbours are mostly of one topic: what was found for the last is kept.
struct Targets<'a, 'p> {
    parts: &'p Parts,
    tables: &'a Tables,
    last: Option<(&'a Arc<LiveTopic>, Arc<TopicQueues>)>,
}

impl<'a, 'p> Targets<'a, 'p> {
    fn new(parts: &'p Parts, tables: &'a Tables) -> Targets<'a, 'p> {
        Targets { parts, tables, last: None }
    }

    /// Nobody must be able to send into a system topic by way of a delay; and a topic made again is another one.
    fn of(&mut self, message: &StoredMessage) -> Result<Target<'a>, &'static str> {
        let foreign_end = self.parts.store.foreign_end();
        let [name, queue_id] = message.properties_of([property::REAL_TOPIC, property::REAL_QUEUE_ID]);
        let (topic, queues) = self.topic(name.ok_or("it names no topic")?)?;
        // A topic that was taken over is known since its first message, which may have been this one.
        let made_by_us = topic.incarnation.0 >= foreign_end.0;
        if made_by_us && message.commit_log_offset.0 < topic.incarnation.0 {
            return Err("its topic was deleted and made again since");
        }
        let queue_id: u32 = queue_id.and_then(|id| id.parse().ok()).unwrap_or(0);
        let queue = queues.queues.get(queue_id as usize).or_else(|| {
            // Its queue was taken away since.
            queues.queues.get((queue_id as usize).checked_rem(queues.queues.len())?)
        });
        Ok(Target { topic, queue: queue.ok_or("its topic has no queues")?.clone() })
    }

    fn topic(&mut self, name: &str) -> Result<(&'a Arc<LiveTopic>, &TopicQueues), &'static str> {
        if self.last.as_ref().is_none_or(|(topic, _)| topic.config.topic.as_str() != name) {
            let name = TopicName::from_store(name.as_bytes()).map_err(|_| "its topic has no legal name")?;
            if name.is_system() {
                return Err(OF_THE_SYSTEM);
            }
            let topic = self.tables.topic(&name).ok_or("its topic is gone")?;
            if topic.config.attributes.has_batch_queues() {
                return Err("its topic has batch queues");
            }
            self.last = Some((topic, self.parts.store.topic_queues(&name).ok_or("its topic has no queues")?));
        }
        let (topic, queues) = self.last.as_ref().expect("found above or before");
        Ok((topic, queues))
    }
}

/// One record of a call: whose proof it is, and what it counts for.
struct Firing<'a> {
    at: QueueOffset,
    /// None for what is put back.
    topic: Option<&'a Arc<LiveTopic>>,
    body_bytes: u64,
}

struct Call<'a> {
    class: AppendClass,
    appends: Vec<Append>,
    firings: Vec<Firing<'a>>,
    bytes: usize,
    /// Nothing is left to do for them, and no record says so.
    given_up: Vec<QueueOffset>,
}

impl<'a> Call<'a> {
    fn new(class: AppendClass) -> Call<'a> {
        Call { class, appends: Vec::new(), firings: Vec::new(), bytes: 0, given_up: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.appends.len() + self.given_up.len() >= FIRED_AT_ONCE_MAX || self.bytes >= FIRED_BYTES_AT_ONCE_MAX
    }

    fn put(
        &mut self,
        at: QueueOffset,
        record: EncodedRecord,
        queue: &ConsumeQueue,
        topic: Option<&'a Arc<LiveTopic>>,
        body_bytes: usize,
    ) {
        self.bytes += record.record_len() as usize;
        self.appends.push(Append { record, queue: queue.counter().clone(), class: self.class });
        self.firings.push(Firing { at, topic, body_bytes: body_bytes as u64 });
    }

    /// Appends all of it as one; `done` is told of each message under the lock under which its proof was written.
    fn append(self, parts: &Parts, mut done: impl FnMut(&mut Timers, QueueOffset)) -> Result<(), StoreError> {
        let mut timers = parts.delayed.timers();
        let mut end = CommitLogOffset(0);
        let mut fired = 0;
        // What came into one topic is counted together: mostly it is all of the call.
        type Came<'t> = (&'t LiveTopic, u64, u64, Timestamp);
        let mut came: Option<Came<'_>> = None;
        let count = |came: Option<Came<'_>>| {
            came.into_iter().for_each(|(topic, messages, bytes, now)| topic.traffic.came_in(messages, bytes, now));
        };
        // In the order of the queue: the last proof of a level speaks for all before it.
        let mut given_up = self.given_up.into_iter().peekable();
        if !self.appends.is_empty() {
            failpoint::at(Point::FireBefore);
            let batch = parts.store.append(self.appends)?;
            failpoint::at(Point::FireAfter);
            end = batch.end;
            for (appended, Firing { at, topic, body_bytes }) in batch.entries.into_iter().zip(self.firings) {
                while let Some(before) = given_up.next_if(|given_up| *given_up < at) {
                    done(&mut timers, before);
                }
                done(&mut timers, at);
                match appended {
                    Ok(appended) => {
                        let Some(topic) = topic else { continue };
                        fired += 1;
                        topic.traffic.sizes.record(body_bytes);
                        let (bytes, now) = (u64::from(appended.record_len), appended.store_timestamp);
                        match &mut came {
                            Some((of, messages, sum, last)) if std::ptr::eq(*of, &**topic) => {
                                (*messages, *sum, *last) = (*messages + 1, *sum + bytes, now);
                            }
                            _ => count(came.replace((topic, 1, bytes, now))),
                        }
                    }
                    Err(error) => {
                        parts.delayed.dropped.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, %at, "a delayed message does not fit the log any more: it was dropped");
                    }
                }
            }
        }
        count(came);
        given_up.for_each(|at| done(&mut timers, at));
        drop(timers);
        parts.delayed.fired.fetch_add(fired, Ordering::Relaxed);
        parts.mark(end);
        Ok(())
    }
}

/// The message that comes to its own topic.
fn delivered(
    parts: &Parts,
    target: &Target<'_>,
    source: Source,
    message: &StoredMessage,
) -> Result<EncodedRecord, RecordError> {
    let (topic, queue_id) = (&target.topic.config.topic, target.queue.queue_id());
    let encode = |message: &StoredMessage| moved(parts, topic, queue_id, source, message, &[]).encode();
    encode(message).or_else(|_| {
        // Somebody else filled it to the brim: what RocketMQ leaves in is dispensable.
        let dispensable = [property::REAL_TOPIC, property::REAL_QUEUE_ID, property::TIMER_OUT_MS];
        let kept = raw_properties(&message.properties)
            .filter(|(name, _)| !dispensable.iter().any(|dispensable| dispensable.as_bytes() == *name));
        let properties: Vec<u8> = kept.flat_map(|(name, value)| [name, &[1], value, &[2]].concat()).collect();
        encode(&StoredMessage { properties: properties.into(), ..message.clone() })
    })
}

/// As it was in every respect. Its idempotency key goes on standing for the message that waited.
fn moved(
    parts: &Parts,
    topic: &TopicName,
    queue_id: QueueId,
    source: Source,
    message: &StoredMessage,
    instead: &[(&str, &str)],
) -> RecordDraft {
    let mut draft = RecordDraft::moved(topic, queue_id, parts.config.store_host, message, &source, instead);
    draft.reconsume_times = message.reconsume_times;
    draft
}

/// Fires all levels; says when the first message of any is due.
fn fire_levels(parts: &Parts) -> Result<Option<Timestamp>, StoreError> {
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
            Ok((record, Target { topic, queue })) => call.put(at, record, &queue, Some(topic), message.body.len()),
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
fn due_of_level(parts: &Parts, level: u32, entry: &QueueEntry, now: Timestamp) -> Timestamp {
    let longest = now.plus(parts.config.delay_levels.delay_of_stored(level as usize));
    if entry.tag_hash > longest.0 { now } else { Timestamp(entry.tag_hash) }
}

/// What cannot be read will never be: it must not hold up what comes behind it.
fn read(
    parts: &Parts,
    window: &mut Window,
    queue: &ConsumeQueue,
    at: QueueOffset,
    entry: &QueueEntry,
) -> Option<StoredMessage> {
    let error = match parts.store.read_message(window, queue, at, entry) {
        Ok(Some(message)) => return Some(message),
        Ok(None) => "retention has taken it".to_string(),
        Err(error) => error.to_string(),
    };
    parts.delayed.dropped.fetch_add(1, Ordering::Relaxed);
    tracing::error!(topic = %queue.topic(), %at, error, "a delayed message cannot be read: it was dropped");
    None
}

/// Fires what is due in the wheel; says when its next message is.
fn fire_timers(parts: &Parts, in_use: &mut WheelInUse) -> Result<Option<Timestamp>, Trouble> {
    let Some(queue) = parts.store.queue(&timer_topic(), TIMER_QUEUE) else { return Ok(None) };
    let WheelInUse { wheel, complete, recorded } = in_use;
    let wheel = match wheel {
        Some(wheel) => wheel,
        None => wheel.insert(recover(parts, &queue)?),
    };
    loop {
        *complete = None;
        let more = take(parts, wheel, &queue)?;
        parts.delayed.timers().wheel_has(wheel.end());
        wheel.trim(queue.min_offset())?;
        let due_through = floor(parts.store.now()).minus(SECOND);
        while let Some(second) = wheel.first_second().filter(|second| *second <= due_through) {
            fire_second(parts, wheel, &queue, second)?;
        }
        parts.delayed.in_wheel.store(wheel.waiting(), Ordering::Relaxed);
        // However late something came: nothing due is left in the wheel here.
        let complete = complete.insert(Complete { through: due_through, read_to: wheel.end() });
        record(parts, complete, recorded, RECORD_INTERVAL)?;
        if !more {
            return Ok(wheel.first_second().map(|second| second.plus(SECOND)));
        }
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

/// Puts what the topic of timers holds into the wheel, up to its confirmed end; says whether there is more.
fn take(parts: &Parts, wheel: &mut TimerWheel, queue: &ConsumeQueue) -> Result<bool, Trouble> {
    let (mut entries, mut units): (Vec<QueueEntry>, Vec<TimerUnit>) = Default::default();
    let mut window = Window::default();
    let mut taken = 0;
    while wheel.end() < queue.max_offset() {
        if taken >= TAKEN_IN_A_ROW_MAX {
            return Ok(true);
        }
        entries.clear();
        units.clear();
        parts.store.read_queue(queue, wheel.end(), TAKEN_AT_ONCE, &mut entries)?;
        if entries.is_empty() {
            break;
        }
        taken += entries.len();
        for (at, entry) in (wheel.end().0..).map(QueueOffset).zip(&entries) {
            units.push(match parts.store.read_message(&mut window, queue, at, entry) {
                Ok(Some(message)) => unit_of(&message),
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
    Ok(false)
}

fn unit_of(message: &StoredMessage) -> TimerUnit {
    let (mut out, mut roll, mut topic_hash, mut recalls) = (None, None, 0, false);
    let time = |value: &str| value.parse().ok().filter(|time: &i64| *time >= 0);
    // Each message that waits comes by here: text is made of what is asked for alone.
    for (name, value) in raw_properties(&message.properties) {
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

/// Fires one second: first what is recalled in it, then all others in the order they were stored.
fn fire_second(parts: &Parts, wheel: &mut TimerWheel, queue: &ConsumeQueue, second: Timestamp) -> Result<(), Trouble> {
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
            left.push((at, false));
        } else if let Some(message) = read(parts, &mut window, queue, at, &entry_of(&unit)) {
            recalled.extend(message.property(property::TIMER_DEL_UNIQKEY).map(Box::from));
        }
    }
    let timers = parts.delayed.timers();
    left.extend(waiting.messages.into_iter().map(|at| (at, timers.is_done(at, second))));
    drop(timers);
    let second_hand = left.len() > FIRED_AT_ONCE_MAX;
    let due = Due { parts, queue, recalled };
    let left = Left { wheel, left: left.into_iter(), foreign: ForeignCopies::default(), before: None };
    let left = Mutex::new(left);
    // Reading and encoding them takes longer than appending: both threads do either, and append by turns.
    std::thread::scope(|scope| {
        let fire = || due.fire(&left);
        let named = || std::thread::Builder::new().name("timers-second".into());
        let other = second_hand.then(|| named().spawn_scoped(scope, fire).ok()).flatten();
        let fired = fire();
        let others = other.map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        fired.and(others.unwrap_or(Ok(())))
    })?;
    wheel.done(second);
    Ok(())
}

/// What is due in a second, on its way to its topics.
struct Due<'a> {
    parts: &'a Parts,
    queue: &'a ConsumeQueue,
    recalled: HashSet<Box<str>>,
}

struct Left<'a> {
    wheel: &'a mut TimerWheel,
    /// And whether nothing is left to do for it.
    left: std::vec::IntoIter<(QueueOffset, bool)>,
    foreign: ForeignCopies,
    /// Tells that what was taken last is appended. It never does when that has failed.
    before: Option<mpsc::Receiver<()>>,
}

/// One message that is due.
struct DueUnit {
    at: QueueOffset,
    unit: TimerUnit,
    is_done: bool,
    is_foreign: bool,
}

impl Left<'_> {
    /// So many of them as one append takes.
    fn next(&mut self, parts: &Parts) -> std::io::Result<Vec<DueUnit>> {
        let mut units = Vec::with_capacity(FIRED_AT_ONCE_MAX.min(self.left.len()));
        let mut bytes = 0;
        while units.len() < FIRED_AT_ONCE_MAX
            && bytes < FIRED_BYTES_AT_ONCE_MAX
            && let Some((at, is_done)) = self.left.next()
        {
            let unit = self.wheel.unit(at)?;
            let is_foreign = unit.commit_log_offset < parts.store.foreign_end();
            if is_foreign || !is_done {
                bytes += unit.record_len as usize;
                units.push(DueUnit { at, unit, is_done, is_foreign });
            }
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
            let units = match left.next(self.parts) {
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
            // Which of its copies is the first, is seen in their order.
            let call = if units.iter().any(|unit| unit.is_foreign) {
                self.call(&tables, &mut window, units, &mut left.foreign)
            } else {
                drop(left);
                self.call(&tables, &mut window, units, &mut ForeignCopies::default())
            };
            // Whoever has the one before tells why it failed.
            if before.is_some_and(|before| before.recv().is_err()) {
                return Ok(());
            }
            call.append(self.parts, Timers::apply_fired)?;
            // Nobody may be left to wait for it.
            let _ = appended.send(());
        }
    }

    fn call<'t>(
        &self,
        tables: &'t Tables,
        window: &mut Window,
        units: Vec<DueUnit>,
        foreign: &mut ForeignCopies,
    ) -> Call<'t> {
        let parts = self.parts;
        let mut targets = Targets::new(parts, tables);
        let mut call = Call::new(AppendClass::Message);
        for DueUnit { at, unit, is_done, is_foreign } in units {
            let Some(message) = read(parts, window, self.queue, at, &entry_of(&unit)) else {
                call.given_up.push(at);
                continue;
            };
            let is_copy = is_foreign && !foreign.insert_original(&message);
            if is_done {
                continue;
            }
            if is_copy || self.is_recalled(&message) {
                call.given_up.push(at);
                continue;
            }
            let target = if unit.recalls { None } else { Some(targets.of(&message)) };
            let source = Source::Timer { offset: at };
            let record = match (target.transpose(), unit.rolls) {
                (Ok(_), true) => put_back(parts, source, &message).map(|record| (record, None)),
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
                Ok((record, Some(to))) => call.put(at, record, &to.queue, Some(to.topic), message.body.len()),
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
    outcome.map_err(|trouble| match trouble {
        Trouble::Store(error) => error,
        Trouble::Wheel(error) => {
            in_use.wheel = None;
            StoreError::io("the timer log", &error)
        }
    })?;
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
    if let Err(Trouble::Wheel(error)) = fire_timers(parts, in_use) {
        return Err(Trouble::Wheel(error));
    }
    let WheelInUse { wheel: Some(wheel), complete, .. } = in_use else { return Ok(()) };
    let mut next = queue.min_offset().max(parts.delayed.timers().kept_from());
    if next >= until.min(wheel.end()) {
        return Ok(());
    }
    let until = until.min(wheel.end());
    let mut window = Window::default();
    while next < until {
        let tables = parts.tables();
        let mut call = Call::new(AppendClass::State);
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
            match put_back(parts, Source::TimerKept { offset: at }, &message) {
                Ok(record) => call.put(at, record, queue, None, 0),
                Err(_) => parts.delayed.dropped(&message, "its properties do not fit a record any more"),
            }
        }
        call.append(parts, Timers::apply_kept)?;
    }
    let mut timers = parts.delayed.timers();
    let Complete { through, read_to } =
        complete.unwrap_or(Complete { through: timers.through(), read_to: timers.read_to() });
    let entry = Entry::TimersFired { through, read_to, kept_from: until };
    parts.append_state(std::slice::from_ref(&entry)).map_err(|refused| refused.store_error())?;
    timers.apply(&entry);
    Ok(())
}

/// RocketMQ puts far messages back without a word about the copy before, which stands in the same second here.
#[derive(Default)]
struct ForeignCopies(HashSet<String>);

impl ForeignCopies {
    /// Is it the first of its copies?
    fn insert_original(&mut self, message: &StoredMessage) -> bool {
        let Some((topic, unique_key)) = message.property(property::REAL_TOPIC).zip(message.unique_key()) else {
            return true;
        };
        let was_rolled = message.property(property::TIMER_ROLL_TIMES).is_some();
        self.0.insert(recall_key(topic, unique_key)) || !was_rolled
    }
}

/// The message that waits on, in a record of its own that the log keeps for longer.
fn put_back(parts: &Parts, source: Source, message: &StoredMessage) -> Result<EncodedRecord, RecordError> {
    let number = |name| message.property(name).and_then(|text| text.parse::<i64>().ok());
    let times = number(property::TIMER_ROLL_TIMES).unwrap_or(0).saturating_add(1).to_string();
    let out = Timestamp(number(property::TIMER_OUT_MS).unwrap_or(0));
    let instead = [(property::TIMER_ROLL_TIMES, &*times)];
    let mut draft = moved(parts, &timer_topic(), TIMER_QUEUE, source, message, &instead);
    push_roll(&mut draft, roll_second(parts, parts.store.now(), out));
    draft.encode()
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

fn entry_of(unit: &TimerUnit) -> QueueEntry {
    let (commit_log_offset, record_len) = (unit.commit_log_offset, unit.record_len);
    QueueEntry { commit_log_offset, record_len, tag_hash: 0, inner: 0 }
}

/// What a recall names.
pub(crate) fn recall_key(topic: &str, unique_key: &str) -> String {
    format!("{topic}+{unique_key}")
}
