//! The log's ends, which readers follow without a lock, and dispatch, which goes on without anybody waiting for it.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::end::End;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::turn::Turn;

/// Two bytes, each a message of the same queue.
#[derive(Default)]
struct Log {
    bytes: [UnsafeCell<u8>; 2],
    writer: Mutex<()>,
    next_offset: End,
    written: End,
}

impl Log {
    /// Gives the next offset and writes the next byte, as an append does.
    fn append(&self) -> u64 {
        let _writer = self.writer.lock().unwrap();
        let (offset, at) = (self.next_offset.get(), self.written.get());
        self.next_offset.move_to(offset + 1);
        self.bytes[at as usize].with_mut(|_| ());
        self.written.move_to(at + 1);
        offset
    }

    /// loom sees to it that nobody writes what is read.
    fn read_all(&self) -> u64 {
        let written = self.written.get();
        self.bytes[..written as usize].iter().for_each(|byte| byte.with(|_| ()));
        written
    }
}

#[test]
fn what_lies_below_the_written_end_can_be_read_and_has_its_offset() {
    loom::model(|| {
        let log = Arc::new(Log::default());
        let appends = [(); 2].map(|()| {
            let log = log.clone();
            thread::spawn(move || log.append())
        });
        let written = log.read_all();
        assert!(log.next_offset.get() >= written, "a message without its offset");
        let mut offsets = appends.map(|append| append.join().unwrap());
        offsets.sort_unstable();
        assert_eq!((offsets, log.read_all()), ([0, 1], 2));
    });
}

/// The end is moved before the byte is written.
#[test]
#[should_panic(expected = "Causality violation")]
fn control_an_end_that_is_moved_too_early_is_seen() {
    loom::model(|| {
        let log = Arc::new(Log::default());
        let append = thread::spawn({
            let log = log.clone();
            move || {
                log.written.move_to(1);
                log.bytes[0].with_mut(|_| ());
            }
        });
        log.read_all();
        append.join().unwrap();
    });
}

/// The same end without its ordering.
#[test]
#[should_panic(expected = "Causality violation")]
fn control_an_end_that_orders_nothing_is_seen() {
    loom::model(|| {
        let shared = Arc::new((UnsafeCell::new(0), AtomicU64::new(0)));
        let append = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.0.with_mut(|_| ());
                shared.1.store(1, Ordering::Relaxed);
            }
        });
        if shared.1.load(Ordering::Relaxed) == 1 {
            shared.0.with(|_| ());
        }
        append.join().unwrap();
    });
}

/// Two threads move the confirm offset, and each runs dispatch.
fn dispatched_by(run: fn(&Turn<u64>, &AtomicU64)) {
    loom::model(move || {
        let shared = Arc::new((Turn::new(0), AtomicU64::new(0)));
        let wants = move |(turn, confirm): &(Turn<u64>, AtomicU64)| {
            confirm.fetch_add(1, Ordering::Release);
            run(turn, confirm);
        };
        let other = thread::spawn({
            let shared = shared.clone();
            move || wants(&shared)
        });
        wants(&shared);
        other.join().unwrap();
        assert_eq!((shared.0.done(), *shared.0.take()), (2, 2), "somebody went away too early");
    });
}

fn step(turn: &Turn<u64>, done: &mut u64, wanted: u64) -> bool {
    assert_eq!(*done, turn.done(), "two at one time");
    *done = wanted;
    turn.done_to(wanted);
    true
}

#[test]
fn what_is_confirmed_is_dispatched_by_one_of_those_who_confirmed() {
    dispatched_by(|turn, confirm| {
        turn.run(|| confirm.load(Ordering::Acquire), |done, wanted| step(turn, done, wanted))
    });
}

/// Who has let go of the lock does not look again.
#[test]
#[should_panic(expected = "somebody went away too early")]
fn control_dispatch_that_does_not_look_again_is_seen() {
    dispatched_by(|turn, confirm| {
        turn.run(
            || confirm.load(Ordering::Acquire),
            |done, wanted| {
                step(turn, done, wanted);
                false
            },
        );
    });
}
