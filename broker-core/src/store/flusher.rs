//! The one thread that syncs the commit log, and the gate at which replies wait for it.
//!
//! It is driven by arrival: it takes everything that was appended, syncs it once, and opens the gate for all who wait
//! below the new end; meanwhile the next batch gathers. No timer delays a sync that somebody waits for. What nobody
//! waits for (everything at `memory`, state records alone) is synced within the delay that the pace allows.
//!
//! Invariant: after the first failed sync nothing is synced and nobody is let through any more.

pub mod gate;
pub mod wishes;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::config::Durability;
use crate::metrics::{Histogram, HistogramStats, SYNC_MICROS_BOUNDS};
use crate::offset::CommitLogOffset;
use crate::store::error::StoreError;
use crate::store::flusher::gate::{Gate, Place, Shut};
use crate::store::flusher::wishes::Wishes;

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
    failure: OnceLock<String>,
    wishes: Wishes,
    /// Open below what is on the disk and has been told to `SyncSource::synced`. Whoever is answered at `disk` finds what was
    /// stored, for dispatch is behind it.
    gate: Gate<LANES>,
    /// Microseconds that syncs took.
    syncs: Histogram<10>,
}

/// Threads that wait share this many lanes; with as many workers as cores each has its own.
const LANES: usize = 64;

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
    end: u64,
    place: Option<Place>,
}

impl Flusher {
    pub(super) fn new(durability: Durability, sync_delay: Duration, synced: u64) -> Flusher {
        Flusher {
            durability,
            sync_delay,
            synced: AtomicU64::new(synced),
            failure: OnceLock::new(),
            wishes: Wishes::default(),
            gate: Gate::new(synced),
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
        self.wishes.ask(prompt && self.durability == Durability::Disk);
    }

    pub(super) fn reached(self: &Arc<Flusher>, end: CommitLogOffset) -> Reached {
        // At `memory` the gate is always open, unless it is shut.
        let end = if self.durability == Durability::Memory { 0 } else { end.0 };
        Reached { flusher: self.clone(), end, place: None }
    }

    /// As `reached` at `disk`, with a sync that does not wait for others.
    pub(super) fn on_disk(self: &Arc<Flusher>, end: CommitLogOffset) -> Reached {
        self.wishes.ask_at_once();
        Reached { flusher: self.clone(), end: end.0, place: None }
    }

    /// The first failure counts: the gate stays shut from here on. `true` for the first.
    pub(super) fn fail(&self, reason: String) -> bool {
        let first = self.failure.set(reason).is_ok();
        self.gate.shut();
        first
    }

    /// Ends the thread after one last sync.
    pub(super) fn stop(&self) {
        self.wishes.stop();
    }

    /// The thread's life.
    pub(super) fn run(&self, source: &impl SyncSource) {
        loop {
            let stop = self.wishes.wait(self.sync_delay);
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
                self.gate.open(to);
            }
            if stop {
                return;
            }
        }
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
}

impl Future for Reached {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Reached { flusher, end, place } = &mut *self;
        match flusher.gate.wait(LANE.with(|lane| *lane), *end, place, context.waker()) {
            None => Poll::Pending,
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(Shut)) => {
                let reason = flusher.failure().expect("known before the gate is shut").to_string();
                Poll::Ready(Err(StoreError::OutcomeUnknown { reason }))
            }
        }
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        self.flusher.gate.leave(&mut self.place);
    }
}
