//! The gate at which replies wait until a sync has covered them.
//!
//! Those who wait stand in lanes, one for each thread. What opens the gate wakes one of each lane, and that one wakes its
//! neighbours when it runs: to wake a task of another thread costs a system call, which at 64 senders was the dearest step
//! of all, and to wake one of its own thread costs nothing.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

pub struct Gate<const LANES: usize> {
    open_below: AtomicU64,
    /// For ever.
    shut: AtomicBool,
    lanes: [Mutex<Waiters>; LANES],
}

/// Sleepers of one thread by the end they wait for. As many as there are replies in flight, which the front ends bound.
#[derive(Default)]
struct Waiters {
    next_id: u64,
    wakers: BTreeMap<(u64, u64), Waker>,
}

/// Where somebody stands.
pub struct Place {
    lane: usize,
    end: u64,
    id: u64,
}

/// Nobody is let through any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Shut;

impl<const LANES: usize> Gate<LANES> {
    pub fn new(open_below: u64) -> Gate<LANES> {
        let lanes = std::array::from_fn(|_| Mutex::default());
        Gate { open_below: AtomicU64::new(open_below), shut: AtomicBool::new(false), lanes }
    }

    /// May those pass who wait for this end? `None`: not yet.
    pub fn look(&self, end: u64) -> Option<Result<(), Shut>> {
        if self.shut.load(Ordering::Acquire) {
            return Some(Err(Shut));
        }
        (self.open_below.load(Ordering::Acquire) >= end).then_some(Ok(()))
    }

    /// As `look`. Who may not pass yet stands in this lane from now on, and is woken when it shall ask again.
    pub fn wait(&self, lane: usize, end: u64, place: &mut Option<Place>, waker: &Waker) -> Option<Result<(), Shut>> {
        let outcome = self.look(end).or_else(|| self.stand(lane, end, place, waker));
        if outcome.is_some() {
            self.leave(place);
        }
        outcome
    }

    fn stand(&self, lane: usize, end: u64, place: &mut Option<Place>, waker: &Waker) -> Option<Result<(), Shut>> {
        let lane = place.as_ref().map_or(lane, |place| place.lane);
        let mut waiters = self.lanes[lane].lock().expect("nobody panics holding it");
        // Whoever opens the gate takes this lock afterwards: what is not open now finds our waker.
        if let Some(outcome) = self.look(end) {
            return Some(outcome);
        }
        let place = place.get_or_insert_with(|| {
            waiters.next_id += 1;
            Place { lane, end, id: waiters.next_id }
        });
        waiters.wakers.insert((end, place.id), waker.clone());
        None
    }

    /// Who has waited and waits no more, for whatever reason, wakes those of its lane whose wait is over: it may be the one
    /// that was woken for all of them.
    pub fn leave(&self, place: &mut Option<Place>) {
        let Some(Place { lane, end, id }) = place.take() else { return };
        let mut waiters = self.lanes[lane].lock().expect("nobody panics holding it");
        waiters.wakers.remove(&(end, id));
        let later = waiters.wakers.split_off(&(self.open_below.load(Ordering::Acquire) + 1, 0));
        let ready = std::mem::replace(&mut waiters.wakers, later);
        drop(waiters);
        ready.into_values().for_each(Waker::wake);
    }

    /// Lets those pass who wait for this end or an earlier one. The first of each lane is woken, which owes the same to the
    /// others: see `leave`.
    pub fn open(&self, to: u64) {
        self.open_below.store(to, Ordering::Release);
        for lane in &self.lanes {
            let mut waiters = lane.lock().expect("nobody panics holding it");
            let first = waiters.wakers.first_entry().filter(|first| first.key().0 <= to);
            let first = first.map(|first| first.remove());
            drop(waiters);
            first.into_iter().for_each(Waker::wake);
        }
    }

    pub fn shut(&self) {
        self.shut.store(true, Ordering::Release);
        for lane in &self.lanes {
            let wakers = std::mem::take(&mut lane.lock().expect("nobody panics holding it").wakers);
            wakers.into_values().for_each(Waker::wake);
        }
    }
}
