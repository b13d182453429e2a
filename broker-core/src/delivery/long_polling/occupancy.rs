//! How many wait: what a sender reads before it takes any lock. Told of here is the one thing that must hold without one: of
//! somebody who parks and then looks for messages, and somebody who lets a message be seen and then looks for waiters, at
//! least one sees the other.

use crate::sync::{AtomicUsize, Ordering, fence};

#[derive(Default)]
pub struct Occupancy {
    len: AtomicUsize,
}

impl Occupancy {
    pub fn count(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// One more waits, from before it looks for messages.
    pub fn enter(&self) {
        self.len.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub fn leave(&self, count: usize) {
        self.len.fetch_sub(count, Ordering::Relaxed);
    }

    /// Asked after a message can be seen: is there nobody who might have missed it?
    pub fn is_empty_behind_arrival(&self) -> bool {
        fence(Ordering::SeqCst);
        self.count() == 0
    }
}
