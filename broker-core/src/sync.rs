//! The atomics of code that `tests/loom` tries in every order of steps: there the same names are loom's.

pub use std::sync::atomic::{AtomicUsize, Ordering, fence};
