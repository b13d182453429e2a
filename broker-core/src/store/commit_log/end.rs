//! An end that only grows: moved under a lock by one thread at a time, read by anybody without one. Who reads it can read
//! all that was written before it was moved there.

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct End(AtomicU64);

impl End {
    pub fn new(end: u64) -> End {
        End(AtomicU64::new(end))
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Under the lock of whoever moves it.
    pub fn move_to(&self, to: u64) {
        self.0.store(to, Ordering::Release);
    }
}
