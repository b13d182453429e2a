//! The one thread that syncs the commit log, and the gate at which replies wait for it.
//!
//! It is driven by arrival: it takes everything that was appended, syncs it once, and opens the gate for all who wait
//! below the new end; meanwhile the next batch gathers. No timer delays a sync that somebody waits for. What nobody
//! waits for (everything at `memory`, state records alone) is synced within the delay that the pace allows.
//!
//! Invariant: after the first failed sync nothing is synced and nobody is let through any more.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::config::Durability;
use crate::metrics::{Histogram, HistogramStats, SYNC_MICROS_BOUNDS};
use crate::offset::CommitLogOffset;
use crate::store::error::StoreError;

/// What is to be synced.
pub(super) trait SyncSource {
    /// End of what was appended.
    fn written(&self) -> u64;
    /// Returns when `[from, to)` is on the disk.
    fn sync(&self, from: u64, to: u64) -> io::Result<()>;
    /// `[..to)` is on the disk. The gate opens when this returns.
    fn synced(&self, to: u64);
    /// Called once.
    fn failed(&self, reason: &str);
}

/// The gate's state, shared by appenders, waiters and the thread.
pub(super) struct Flusher {
    durability: Durability,
    /// The longest time that appended bytes stay unsynced when nobody waits for them.
    sync_delay: Duration,
    /// Everything below is on the disk.
    synced: AtomicU64,
    /// And has been told to `SyncSource::synced`: those who wait for it may go on. Whoever is answered at `disk` finds what
    /// was stored, for dispatch is behind it.
    open_below: AtomicU64,
    failure: OnceLock<String>,
    /// Set while a sync has been asked for and not begun: saves later appenders the lock.
    prompt_asked: AtomicBool,
    lazy_asked: AtomicBool,
    wishes: Mutex<Wishes>,
    wished: Condvar,
    lanes: [Mutex<Waiters>; LANES],
    /// Microseconds that syncs took.
    syncs: Histogram<10>,
}

#[derive(Default)]
struct Wishes {
    prompt: bool,
    lazy: bool,
    stop: bool,
}

/// Threads that wait share this many lanes; with as many workers as cores each has its own.
const LANES: usize = 64;

/// Sleepers of one thread by the end they wait for. As many as there are replies in flight, which the front ends bound.
///
/// A sync wakes one of each lane, and that one wakes its neighbours when it runs: to wake a task of another thread costs a
/// system call, which at 64 senders was the dearest step of all, and to wake one of its own thread costs nothing.
#[derive(Default)]
struct Waiters {
    next_id: u64,
    wakers: BTreeMap<(u64, u64), Waker>,
}

thread_local! {
    static LANE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % LANES
    };
}

/// Ready when the log is as durable as the broker promises, up to a place: at `memory` at once, at `disk` after the
/// sync. An error means that nobody knows.
#[must_use = "a promise that nobody waits for is not kept"]
pub struct Reached {
    flusher: Arc<Flusher>,
    level: Durability,
    end: u64,
    /// Lane and id.
    waiter: Option<(usize, u64)>,
}

impl Flusher {
    pub(super) fn new(durability: Durability, sync_delay: Duration, synced: u64) -> Flusher {
        Flusher {
            durability,
            sync_delay,
            synced: AtomicU64::new(synced),
            open_below: AtomicU64::new(synced),
            failure: OnceLock::new(),
            prompt_asked: AtomicBool::new(false),
            lazy_asked: AtomicBool::new(false),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            lanes: std::array::from_fn(|_| Mutex::default()),
            syncs: Histogram::new(&SYNC_MICROS_BOUNDS),
        }
    }

    /// Microseconds that syncs took.
    pub(super) fn syncs(&self) -> HistogramStats {
        self.syncs.stats()
    }

    pub(super) fn synced(&self) -> CommitLogOffset {
        CommitLogOffset(self.synced.load(Ordering::Acquire))
    }

    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Something was appended and published. `prompt`: somebody will wait for it.
    pub(super) fn arrived(&self, prompt: bool) {
        let prompt = prompt && self.durability == Durability::Disk;
        let asked = if prompt { &self.prompt_asked } else { &self.lazy_asked };
        // The thread swaps too, before it looks at the log's end: either its swap reads ours and so sees our bytes, or
        // ours comes later and asks again.
        if asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut wishes = self.wishes.lock().expect("nobody panics holding it");
        *(if prompt { &mut wishes.prompt } else { &mut wishes.lazy }) = true;
        self.wished.notify_one();
    }

    pub(super) fn reached(self: &Arc<Flusher>, end: CommitLogOffset) -> Reached {
        Reached { flusher: self.clone(), level: self.durability, end: end.0, waiter: None }
    }

    /// As `reached` at `disk`, with a sync that does not wait for others.
    pub(super) fn on_disk(self: &Arc<Flusher>, end: CommitLogOffset) -> Reached {
        let mut wishes = self.wishes.lock().expect("nobody panics holding it");
        wishes.prompt = true;
        self.wished.notify_one();
        drop(wishes);
        Reached { flusher: self.clone(), level: Durability::Disk, end: end.0, waiter: None }
    }

    /// The first failure counts: the gate stays shut from here on. `true` for the first.
    pub(super) fn fail(&self, reason: String) -> bool {
        let first = self.failure.set(reason).is_ok();
        for lane in &self.lanes {
            let wakers = std::mem::take(&mut lane.lock().expect("nobody panics holding it").wakers);
            wakers.into_values().for_each(Waker::wake);
        }
        first
    }

    /// Ends the thread after one last sync.
    pub(super) fn stop(&self) {
        self.wishes.lock().expect("nobody panics holding it").stop = true;
        self.wished.notify_one();
    }

    /// The thread's life.
    pub(super) fn run(&self, source: &impl SyncSource) {
        loop {
            let stop = self.wait_for_wishes();
            // Everything that was published before the wishes were cleared is in here.
            let (from, to) = (self.synced.load(Ordering::Relaxed), source.written());
            if self.failure.get().is_some() {
                return;
            }
            if from < to {
                let stopwatch = Stopwatch::start();
                let synced = source.sync(from, to);
                self.syncs.record(u64::try_from(stopwatch.elapsed().as_micros()).unwrap_or(u64::MAX));
                if let Err(error) = synced {
                    let reason = format!("sync of the commit log: {error}");
                    if self.fail(reason.clone()) {
                        source.failed(&reason);
                    }
                    return;
                }
                self.synced.store(to, Ordering::Release);
                source.synced(to);
                self.open_below.store(to, Ordering::Release);
                self.wake_up_to(to);
            }
            if stop {
                return;
            }
        }
    }

    /// Sleeps until there is something to do now; says whether it is the last time.
    fn wait_for_wishes(&self) -> bool {
        let wishes = self.wishes.lock().expect("nobody panics holding it");
        let wishes = self
            .wished
            .wait_while(wishes, |wishes| !(wishes.prompt || wishes.lazy || wishes.stop))
            .expect("nobody panics holding it");
        let (mut wishes, _) = self
            .wished
            .wait_timeout_while(wishes, self.sync_delay, |wishes| !(wishes.prompt || wishes.stop))
            .expect("nobody panics holding it");
        wishes.prompt = false;
        wishes.lazy = false;
        self.prompt_asked.swap(false, Ordering::AcqRel);
        self.lazy_asked.swap(false, Ordering::AcqRel);
        wishes.stop
    }

    /// The first of each lane, which owes the same to the others: see `Reached::leave`.
    fn wake_up_to(&self, end: u64) {
        for lane in &self.lanes {
            let mut waiters = lane.lock().expect("nobody panics holding it");
            let first = waiters.wakers.first_entry().filter(|first| first.key().0 <= end);
            let first = first.map(|first| first.remove());
            drop(waiters);
            first.into_iter().for_each(Waker::wake);
        }
    }

    /// `None`: not yet.
    fn outcome(&self, level: Durability, end: u64) -> Option<Result<(), StoreError>> {
        if let Some(reason) = self.failure.get() {
            return Some(Err(StoreError::OutcomeUnknown { reason: reason.clone() }));
        }
        let reached = level == Durability::Memory || self.open_below.load(Ordering::Acquire) >= end;
        reached.then_some(Ok(()))
    }
}

impl Reached {
    /// For callers without an executor.
    pub fn wait(self) -> Result<(), StoreError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut reached = pin!(self);
        loop {
            match reached.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Who has waited and waits no more, for whatever reason, wakes those of its lane whose wait is over: it may be the one
    /// that was woken for all of them.
    fn leave(&mut self) {
        let Some((lane, id)) = self.waiter.take() else { return };
        let mut waiters = self.flusher.lanes[lane].lock().expect("nobody panics holding it");
        waiters.wakers.remove(&(self.end, id));
        let later = waiters.wakers.split_off(&(self.flusher.open_below.load(Ordering::Acquire) + 1, 0));
        let ready = std::mem::replace(&mut waiters.wakers, later);
        drop(waiters);
        ready.into_values().for_each(Waker::wake);
    }
}

impl Future for Reached {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let flusher = self.flusher.clone();
        if let Some(outcome) = flusher.outcome(self.level, self.end) {
            self.leave();
            return Poll::Ready(outcome);
        }
        let lane = self.waiter.map_or_else(|| LANE.with(|lane| *lane), |(lane, _)| lane);
        let mut waiters = flusher.lanes[lane].lock().expect("nobody panics holding it");
        // Whoever opens the gate takes this lock afterwards: what is not open now finds our waker.
        if let Some(outcome) = flusher.outcome(self.level, self.end) {
            drop(waiters);
            self.leave();
            return Poll::Ready(outcome);
        }
        let (_, id) = *self.waiter.get_or_insert_with(|| {
            waiters.next_id += 1;
            (lane, waiters.next_id)
        });
        waiters.wakers.insert((self.end, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        self.leave();
    }
}
