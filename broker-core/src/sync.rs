//! The locks and atomics of code that `tests/loom` tries in every order of steps: there the same names are loom's.

pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub use std::sync::{Condvar, Mutex, MutexGuard, TryLockError};
