//! Whose turn it is: what anybody may ask for is done by one thread at a time, and nobody waits for it. Who finds another
//! one at it goes away, because that one looks again after it has let go.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, TryLockError, fence};

pub struct Turn<W> {
    /// Everything below has been done.
    done: AtomicU64,
    work: Mutex<W>,
}

impl<W> Turn<W> {
    pub fn new(work: W) -> Turn<W> {
        Turn { done: AtomicU64::new(0), work: Mutex::new(work) }
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Said by whose turn it is.
    pub fn done_to(&self, to: u64) {
        self.done.store(to, Ordering::Release);
    }

    /// Waits for a turn of its own.
    pub fn take(&self) -> MutexGuard<'_, W> {
        self.work.lock().expect("nobody panics holding it")
    }

    /// Has all done that lies below `wanted`: when this returns, that is so, or another thread is about to do it. `work` says
    /// how far it came by `done_to`, and by its answer whether it can go on.
    pub fn run(&self, wanted: impl Fn() -> u64, mut work: impl FnMut(&mut W, u64) -> bool) {
        loop {
            // Who finds the lock taken has moved the wanted end before; who lets go of it looks at the wanted end after. The
            // fence orders the two steps of both, so one of them sees the other.
            fence(Ordering::SeqCst);
            let wanted = wanted();
            if self.done() >= wanted {
                return;
            }
            let mut turn = match self.work.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => panic!("somebody has panicked at it before"),
            };
            if !work(&mut turn, wanted) {
                return;
            }
        }
    }
}
