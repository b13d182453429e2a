//! The flusher: whoever appended and waits is let through by the sync that covers it, and nobody is forgotten.

use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};
use std::time::Duration;

use loom::model::Builder;
use loom::sync::{Arc, Notify};
use loom::thread;

use crate::gate::{Gate, Place, Shut};
use crate::sync::{AtomicU64, Ordering};
use crate::wishes::Wishes;

/// Both waiters stand in one lane: there one wakes the other.
type OneLane = Gate<1>;

struct Flusher {
    written: AtomicU64,
    wishes: Wishes,
    gate: OneLane,
}

/// A thread that sleeps until it is woken.
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: StdArc<Self>) {
        self.0.notify();
    }
}

fn sleeper() -> (StdArc<Sleeper>, Waker) {
    let sleeper = StdArc::new(Sleeper(Notify::new()));
    (sleeper.clone(), Waker::from(sleeper))
}

/// All orders of steps in which threads are interrupted so often: three of them are too many for all orders.
fn model(interruptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(run);
}

fn flusher() -> Arc<Flusher> {
    Arc::new(Flusher { written: AtomicU64::new(0), wishes: Wishes::default(), gate: Gate::new(0) })
}

/// The thread's life, as `store/flusher.rs` has it around what is tried here.
fn sync(flusher: &Flusher) {
    loop {
        let stop = flusher.wishes.wait(Duration::ZERO);
        flusher.gate.open(flusher.written.load(Ordering::Acquire));
        if stop {
            return;
        }
    }
}

fn append(flusher: &Flusher) -> u64 {
    let end = flusher.written.fetch_add(1, Ordering::Release) + 1;
    flusher.wishes.ask(true);
    end
}

fn wait(gate: &OneLane, end: u64) -> Result<(), Shut> {
    let (sleeper, waker) = sleeper();
    let mut place: Option<Place> = None;
    loop {
        match gate.wait(0, end, &mut place, &waker) {
            Some(outcome) => return outcome,
            None => sleeper.0.wait(),
        }
    }
}

/// A wish that is lost, or a waiter that nobody wakes, waits for ever: loom says so.
#[test]
fn d1_whoever_appended_is_let_through() {
    model(2, || {
        let flusher = flusher();
        let thread = thread::spawn({
            let flusher = flusher.clone();
            move || sync(&flusher)
        });
        let other = thread::spawn({
            let flusher = flusher.clone();
            move || {
                let end = append(&flusher);
                assert_eq!(wait(&flusher.gate, end), Ok(()));
            }
        });
        let end = append(&flusher);
        assert_eq!(wait(&flusher.gate, end), Ok(()));
        other.join().unwrap();
        flusher.wishes.stop();
        thread.join().unwrap();
    });
}

/// What was written before the thread looked: with the looks the other way round it would sleep beside it.
#[test]
#[should_panic(expected = "it would sleep beside what was asked for")]
fn control_a_flusher_that_looks_before_it_listens_is_seen() {
    model(3, || {
        let flusher = flusher();
        let thread = thread::spawn({
            let flusher = flusher.clone();
            move || {
                let written = flusher.written.load(Ordering::Acquire);
                flusher.wishes.wait(Duration::ZERO);
                flusher.gate.open(written);
            }
        });
        let end = append(&flusher);
        thread.join().unwrap();
        assert_eq!(flusher.gate.look(end), Some(Ok(())), "it would sleep beside what was asked for");
    });
}

/// The one that was woken for its lane goes away instead: the other one is woken by it.
#[test]
fn who_is_woken_and_goes_away_wakes_the_next() {
    model(3, || {
        let gate: Arc<OneLane> = Arc::new(Gate::new(0));
        let (_, waker) = sleeper();
        let mut place = None;
        let stood = gate.wait(0, 1, &mut place, &waker).is_none();
        assert!(stood);
        let other = thread::spawn({
            let gate = gate.clone();
            move || assert_eq!(wait(&gate, 1), Ok(()))
        });
        let opener = thread::spawn({
            let gate = gate.clone();
            move || gate.open(1)
        });
        gate.leave(&mut place);
        opener.join().unwrap();
        other.join().unwrap();
    });
}

/// It goes away without a word to its lane.
#[test]
#[should_panic(expected = "nobody wakes the second")]
fn control_a_wake_that_is_not_passed_on_is_seen() {
    struct Woken(std::sync::atomic::AtomicBool);
    impl Wake for Woken {
        fn wake(self: StdArc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    model(3, || {
        let gate: OneLane = Gate::new(0);
        let stand = || {
            let woken = StdArc::new(Woken(false.into()));
            let mut place = None;
            assert!(gate.wait(0, 1, &mut place, &Waker::from(woken.clone())).is_none());
            (woken, place)
        };
        let (first, second) = (stand(), stand());
        gate.open(1);
        assert!(first.0.0.load(Ordering::Relaxed), "the first is woken");
        assert!(second.0.0.load(Ordering::Relaxed), "nobody wakes the second");
    });
}

#[test]
fn d4_a_gate_that_is_shut_lets_nobody_wait() {
    model(3, || {
        let gate: Arc<OneLane> = Arc::new(Gate::new(0));
        let waiters = [1, 1].map(|end| {
            let gate = gate.clone();
            thread::spawn(move || wait(&gate, end))
        });
        gate.shut();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == Err(Shut)));
        assert_eq!(gate.look(0), Some(Err(Shut)));
    });
}
