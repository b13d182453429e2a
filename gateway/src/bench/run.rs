//! One run from its first connection to its last answer: what its threads share, what each of them does, and who ends it.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use super::client::{Caller, Failure, Side, connect};
use super::ledger::Ledger;
use super::pace::{Pace, Schedule};
use super::plan::{Plan, Shape};
use super::progress::Progress;
use super::tally::Tally;
use super::{consumer, producer};

/// How often the run is looked at from outside.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Consumers get this long for what is on its way once nothing comes any more; a poll's wait comes on top for those
/// that are parked.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// What the threads of a run share.
pub struct Run {
    pub plan: Plan,
    /// Tells this run's messages from those of others.
    pub id: u32,
    start: Instant,
    end_ns: AtomicU64,
    next_number: AtomicU64,
    numbers_max: u64,
    /// Where deliveries are compared with what was sent.
    ledger: Option<Mutex<Ledger>>,
    /// Producing callers still at work.
    producing: AtomicUsize,
    ended: watch::Sender<bool>,
    pub seen: Seen,
}

/// For the progress line, and to know that something still moves.
#[derive(Default)]
pub struct Seen {
    pub messages: AtomicU64,
    pub deliveries: AtomicU64,
    pub errors: AtomicU64,
}

impl Run {
    pub fn now_ns(&self) -> u64 {
        // 584 years of nanoseconds.
        self.start.elapsed().as_nanos() as u64
    }

    pub fn end_ns(&self) -> u64 {
        self.end_ns.load(Ordering::Relaxed)
    }

    /// What is measured.
    pub fn window(&self) -> Range<u64> {
        self.plan.warm_up.as_nanos() as u64..self.end_ns()
    }

    /// Numbers for the messages of a call: the first, and how many; `None` when all are given out.
    pub fn take(&self, batch: usize) -> Option<(u64, usize)> {
        let first = self.next_number.fetch_add(batch as u64, Ordering::Relaxed);
        let left = self.numbers_max.saturating_sub(first);
        (left > 0).then(|| (first, batch.min(left as usize)))
    }

    /// Is it the number of a message that was given out?
    pub fn has_given(&self, number: u64) -> bool {
        number < self.next_number.load(Ordering::Relaxed).min(self.numbers_max)
    }

    pub fn ledger(&self) -> Option<MutexGuard<'_, Ledger>> {
        self.ledger.as_ref().map(|ledger| ledger.lock().expect("no code panics while holding it"))
    }

    /// Resolves when consumers are to stop.
    pub fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    pub fn producer_is_done(&self) {
        self.producing.fetch_sub(1, Ordering::Release);
    }
}

/// What came of it.
pub struct Outcome {
    pub tally: Tally,
    pub ledger: Option<Ledger>,
    /// Length of the window.
    pub seconds: f64,
    /// CPU time of this process in the window.
    pub cpu: Duration,
}

struct Thread {
    handle: JoinHandle<Tally>,
    start: oneshot::Sender<Arc<Run>>,
}

/// Runs a plan. `ledger`: what was sent before, if that is to be compared.
pub async fn execute(
    plan: &Plan,
    id: u32,
    ledger: Option<Ledger>,
    interrupted: &Interrupt,
) -> Result<Outcome, Failure> {
    let (ready, all_ready) = mpsc::channel();
    let threads = (0..plan.threads).map(|number| spawn(number, plan.clone(), ready.clone())).collect::<Vec<_>>();
    drop(ready);
    // Each says once that it is ready, or why not; the others end when their starts are dropped.
    let connected = tokio::task::spawn_blocking(move || all_ready.iter().collect::<Result<Vec<usize>, _>>());
    let producing = connected.await.expect("the wait does not panic")?.into_iter().sum();

    let warm_up_ns = plan.warm_up.as_nanos() as u64;
    let planned_end_ns = match plan.parked {
        // Over when every poll has its message.
        Some(_) => u64::MAX / 2,
        None => warm_up_ns + plan.duration.as_nanos() as u64,
    };
    let parked_messages = plan.parked.map(|parked| (parked / plan.groups) as u64);
    let run = Arc::new(Run {
        plan: plan.clone(),
        id,
        start: Instant::now(),
        end_ns: AtomicU64::new(planned_end_ns),
        // A topic that was filled before has the numbers of its filling.
        next_number: AtomicU64::new(if plan.shape == Shape::Receive { plan.prefill } else { 0 }),
        numbers_max: parked_messages.or(plan.messages).unwrap_or(u64::MAX / 2),
        ledger: ledger.map(Mutex::new),
        producing: AtomicUsize::new(producing),
        ended: watch::Sender::new(false),
        seen: Seen::default(),
    });
    let handles: Vec<_> = threads
        .into_iter()
        .map(|thread| {
            // A thread that is gone says why when it is joined.
            let _ = thread.start.send(run.clone());
            thread.handle
        })
        .collect();
    let (from, to) = watch_over(&run, &handles, planned_end_ns, interrupted).await;

    let mut tally = Tally::default();
    for handle in handles {
        tally.add(handle.join().expect("a thread of the load generator does not panic"));
    }
    // A run that ended by itself was as long as it had something to do.
    let end_ns = run.end_ns();
    let until_ns = if to.at_ns < end_ns { tally.last_done_ns.min(to.at_ns) } else { end_ns };
    let seconds = until_ns.saturating_sub(warm_up_ns) as f64 / 1e9;
    let run = Arc::into_inner(run).expect("every thread has ended");
    let ledger = run.ledger.map(|ledger| ledger.into_inner().expect("no code panics while holding it"));
    Ok(Outcome { tally, ledger, seconds, cpu: to.cpu.saturating_sub(from.cpu) })
}

/// The clock and this process's CPU time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at_ns: u64,
    cpu: Duration,
}

impl Reading {
    fn take(run: &Run) -> Reading {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Reading { at_ns: run.now_ns(), cpu: Duration::new(time.tv_sec as u64, time.tv_nsec as u32) }
    }
}

/// Waits until every thread has ended, and tells those that would go on for ever when it is time. Readings of the
/// window's beginning and end.
async fn watch_over(
    run: &Run,
    threads: &[JoinHandle<Tally>],
    planned_end_ns: u64,
    interrupted: &Interrupt,
) -> (Reading, Reading) {
    let mut progress = Progress::new(&run.plan);
    let (mut from, mut to) = (None, None);
    let mut last_change = (0, Instant::now());
    loop {
        let now = run.now_ns();
        if from.is_none() && now >= run.window().start {
            from = Some(Reading::take(run));
        }
        if to.is_none() && now >= run.end_ns() {
            to = Some(Reading::take(run));
        }
        if threads.iter().all(JoinHandle::is_finished) {
            break;
        }
        match interrupted.count() {
            0 => {}
            1 => drop(run.end_ns.fetch_min(now, Ordering::Relaxed)),
            _ => drop(run.ended.send_replace(true)),
        }
        let moved = run.seen.messages.load(Ordering::Relaxed) + run.seen.deliveries.load(Ordering::Relaxed);
        if moved != last_change.0 {
            last_change = (moved, Instant::now());
        }
        // Producers hand out what consumers are compared with, so they come first.
        if run.producing.load(Ordering::Acquire) == 0 {
            let is_quiet = last_change.1.elapsed() > QUIET_MAX;
            let is_complete = match run.ledger() {
                Some(ledger) => ledger.missing() == 0 && (run.plan.parked.is_none() || is_quiet || run.has_woken_all()),
                None => now >= run.end_ns(),
            };
            if is_complete
                || is_quiet && now >= run.end_ns().min(planned_end_ns)
                || is_quiet && run.plan.parked.is_some()
            {
                run.ended.send_replace(true);
            }
        }
        progress.show(now, &run.seen);
        let boundary = if from.is_none() { run.window().start } else { run.end_ns() };
        let pause = Duration::from_nanos(boundary.saturating_sub(now)).clamp(Duration::from_millis(1), LOOK_INTERVAL);
        tokio::time::sleep(pause).await;
    }
    progress.end();
    let last = Reading::take(run);
    (from.unwrap_or(last), to.unwrap_or(last))
}

impl Run {
    fn has_woken_all(&self) -> bool {
        self.plan.parked.is_some_and(|parked| self.seen.messages.load(Ordering::Relaxed) >= parked as u64)
    }
}

/// Counts how often the user has asked for the end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn spawn(number: usize, plan: Plan, ready: mpsc::Sender<Result<usize, Failure>>) -> Thread {
    let (start, started) = oneshot::channel();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(Failure::connection(error)));
                return Tally::default();
            }
        };
        LocalSet::new().block_on(&runtime, thread(number, plan, ready, started))
    };
    let handle = std::thread::Builder::new().name(format!("bench-{number}")).spawn(work);
    Thread { handle: handle.expect("a thread can be started"), start }
}

/// One thread's share: every `threads`-th connection.
async fn thread(
    number: usize,
    plan: Plan,
    ready: mpsc::Sender<Result<usize, Failure>>,
    started: oneshot::Receiver<Arc<Run>>,
) -> Tally {
    let callers = match open(number, &plan).await {
        Ok(callers) => callers,
        Err(failure) => {
            let _ = ready.send(Err(failure));
            return Tally::default();
        }
    };
    let _ = ready.send(Ok(callers.producers.len()));
    drop(ready);
    // Another thread found nobody to talk to.
    let Ok(run) = started.await else { return Tally::default() };

    let tally = Rc::new(RefCell::new(Tally::default()));
    let from_ns = if plan.parked.is_some() { plan.warm_up.as_nanos() as u64 } else { 0 };
    let sharing = plan.threads.min(plan.connections);
    let schedule = plan.rate.map(|rate| Schedule::new(rate, plan.batch, from_ns, number, sharing));
    let pace = Rc::new(Pace::new(run.clone(), schedule));
    let mut tasks = Vec::new();
    let exhausted = Rc::new(AtomicBool::new(false));
    if !callers.producers.is_empty() {
        let keeper = pace.clone();
        let faulty = tally.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = keeper.keep().await {
                faulty.borrow_mut().fail(Failure::answer("timer", error.to_string()), 1);
            }
        });
    }
    for caller in callers.producers {
        let producer = producer::Producer {
            run: run.clone(),
            tally: tally.clone(),
            pace: pace.clone(),
            outbox: caller.outbox(&plan),
            caller,
            exhausted: exhausted.clone(),
        };
        tasks.push(tokio::task::spawn_local(producer.produce()));
    }
    for (slot, caller) in callers.consumers {
        let group = slot % plan.groups;
        let name = consumer::group_name(&plan, group);
        let messages_max = match plan.shape {
            Shape::Receive => plan.batch,
            _ if plan.parked.is_some() => 1,
            _ => super::plan::RECEIVE_BATCH_MAX,
        };
        let receive = caller.receiving(&plan, &name, messages_max, slot);
        let consumer = consumer::Consumer { run: run.clone(), tally: tally.clone(), caller, receive, group };
        tasks.push(tokio::task::spawn_local(consumer.consume()));
    }
    for task in tasks {
        task.await.expect("a task of the load generator does not panic");
    }
    if !exhausted.load(Ordering::Relaxed) {
        tally.borrow_mut().late += pace.unsent() * plan.batch as u64;
    }
    tally.take()
}

/// A thread's callers; a consumer's number says which group it is in.
struct Callers {
    producers: Vec<Caller>,
    consumers: Vec<(usize, Caller)>,
}

async fn open(number: usize, plan: &Plan) -> Result<Callers, Failure> {
    let mut callers = Callers { producers: Vec::new(), consumers: Vec::new() };
    for connection in (number..plan.connections).step_by(plan.threads) {
        if plan.shape == Shape::Receive {
            let opened = connect(plan, Side::Consumer, &plan.group, plan.in_flight).await?;
            let first = connection * plan.in_flight;
            callers.consumers.extend(opened.into_iter().enumerate().map(|(at, caller)| (first + at, caller)));
        } else {
            callers.producers.extend(connect(plan, Side::Producer, &plan.group, plan.in_flight).await?);
        }
    }
    // The last connections may have fewer polls than the others.
    let slots_max = match plan.shape {
        Shape::Fanout => plan.parked.unwrap_or(plan.groups),
        _ => usize::MAX,
    };
    for connection in (number..plan.consumers).step_by(plan.threads) {
        let first = connection * plan.polls;
        let polls = plan.polls.min(slots_max.saturating_sub(first));
        if polls > 0 {
            let group = consumer::group_name(plan, first % plan.groups);
            let opened = connect(plan, Side::Consumer, &group, polls).await?;
            callers.consumers.extend(opened.into_iter().enumerate().map(|(at, caller)| (first + at, caller)));
        }
    }
    Ok(callers)
}
