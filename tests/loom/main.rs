//! What holds between threads without a lock, tried in every order of steps that the memory model allows. The code under
//! test is the broker's own file, compiled here against loom's atomics instead of the standard library's.

mod sync {
    pub use std::sync::TryLockError;
    use std::sync::{LockResult, PoisonError};
    use std::time::Duration;

    pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub use loom::sync::{Mutex, MutexGuard};

    /// What the standard library's has and loom's has not.
    #[derive(Default)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn wait_while<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            mut goes_on: impl FnMut(&mut T) -> bool,
        ) -> LockResult<MutexGuard<'a, T>> {
            while goes_on(&mut guard) {
                guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            Ok(guard)
        }

        /// All time has passed at once.
        pub fn wait_timeout_while<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Duration,
            _: impl FnMut(&mut T) -> bool,
        ) -> LockResult<(MutexGuard<'a, T>, ())> {
            Ok((guard, ()))
        }

        pub fn notify_one(&self) {
            self.0.notify_one();
        }
    }
}

#[allow(dead_code, reason = "the broker asks for more")]
#[path = "../../broker-core/src/delivery/long_polling/occupancy.rs"]
mod occupancy;

#[allow(dead_code, reason = "the broker asks for more")]
#[path = "../../broker-core/src/store/dispatch/turn.rs"]
mod turn;

#[allow(dead_code, reason = "the broker asks for more")]
#[path = "../../broker-core/src/store/flusher/gate.rs"]
mod gate;

#[allow(dead_code, reason = "the broker asks for more")]
#[path = "../../broker-core/src/store/flusher/wishes.rs"]
mod wishes;

#[allow(dead_code, reason = "the broker asks for more")]
#[path = "../../broker-core/src/store/commit_log/end.rs"]
mod end;

mod flusher;
mod log;

use loom::sync::Arc;
use loom::thread;

use self::occupancy::Occupancy;
use self::sync::{AtomicUsize, Ordering};

/// What is told of a queue: how many messages can be seen.
#[derive(Default)]
struct Queue(AtomicUsize);

impl Queue {
    fn put(&self) {
        self.0.store(1, Ordering::Release);
    }

    fn has_any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

#[test]
fn a_receive_that_parks_sees_the_message_or_is_seen() {
    loom::model(|| {
        let shared = Arc::new((Occupancy::default(), Queue::default()));
        let sender = thread::spawn({
            let shared = shared.clone();
            move || {
                let (occupancy, queue) = &*shared;
                queue.put();
                occupancy.is_empty_behind_arrival()
            }
        });
        let (occupancy, queue) = &*shared;
        occupancy.enter();
        let found = queue.has_any();
        let passed_by = sender.join().unwrap();
        assert!(found || !passed_by, "it would wait beside a message");
    });
}

#[test]
fn of_two_receives_that_come_and_go_none_is_lost_from_the_count() {
    loom::model(|| {
        let shared = Arc::new((Occupancy::default(), Queue::default()));
        let other = thread::spawn({
            let shared = shared.clone();
            move || {
                let (occupancy, _) = &*shared;
                occupancy.enter();
                occupancy.leave(1);
            }
        });
        let sender = thread::spawn({
            let shared = shared.clone();
            move || {
                let (occupancy, queue) = &*shared;
                queue.put();
                occupancy.is_empty_behind_arrival()
            }
        });
        let (occupancy, queue) = &*shared;
        occupancy.enter();
        let found = queue.has_any();
        let passed_by = sender.join().unwrap();
        other.join().unwrap();
        assert!(found || !passed_by);
        assert_eq!(occupancy.count(), 1);
    });
}

/// The same without its fences.
#[test]
#[should_panic(expected = "it would wait beside a message")]
fn control_without_fences_a_wake_is_lost() {
    loom::model(|| {
        let shared = Arc::new((AtomicUsize::new(0), Queue::default()));
        let sender = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.put();
                shared.0.load(Ordering::Relaxed) == 0
            }
        });
        shared.0.fetch_add(1, Ordering::Relaxed);
        let found = shared.1.has_any();
        let passed_by = sender.join().unwrap();
        assert!(found || !passed_by, "it would wait beside a message");
    });
}
