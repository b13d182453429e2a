//! The broker beside a model of it: random sequences of everything that delivery knows, kills, the passing of time and
//! steps of the clock among them. `reference` is the model, `drive` does each operation to both, `check` compares.
//!
//! `GANTRY_MODEL_SEQUENCES` says how many sequences, `GANTRY_MODEL_FIRST` from which one on, `GANTRY_SEED` which one
//! alone, step by step; `make torture` plays a million.
//!
//! A new operation is a variant of `Operation` with its weight, a method of `Play`, and what it means to `Model`.

mod check;
mod drive;
mod reference;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use drive::Play;

use super::*;

const SEQUENCES: u64 = 20_000;
const STEPS: u64 = 40;

/// What may happen in one step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    /// A batch, of one message mostly, some with an idempotency key.
    Send,
    Pop,
    Ack,
    ChangeInvisibleDuration,
    ForwardToDeadLetterQueue,
    /// Of a consumer that may keep messages while it lives.
    LifeSign,
    /// It says that it goes.
    ReleaseClient,
    Recall,
    /// A half message.
    BeginTransaction,
    EndTransaction,
    CheckTransactions,
    ResetOffsets,
    PutConsumerGroup,
    /// Deletes it and makes it again, with everything else about it.
    ReplaceTopic,
    ReplaceConsumerGroup,
    PassTime,
    /// The wall clock alone is set to another time.
    StepClock,
    /// A kill mostly, or a clean stop.
    Restart,
    TakeSnapshot,
}

/// Of a thousand steps and some, so many.
const WEIGHTS: [(Operation, u64); 19] = [
    (Operation::Send, 240),
    (Operation::Pop, 240),
    (Operation::Ack, 135),
    (Operation::ChangeInvisibleDuration, 90),
    (Operation::ForwardToDeadLetterQueue, 35),
    (Operation::LifeSign, 40),
    (Operation::ReleaseClient, 20),
    (Operation::Recall, 20),
    (Operation::BeginTransaction, 60),
    (Operation::EndTransaction, 60),
    (Operation::CheckTransactions, 30),
    (Operation::ResetOffsets, 20),
    (Operation::PutConsumerGroup, 20),
    (Operation::ReplaceTopic, 10),
    (Operation::ReplaceConsumerGroup, 5),
    (Operation::PassTime, 110),
    (Operation::StepClock, 15),
    (Operation::Restart, 40),
    (Operation::TakeSnapshot, 20),
];

/// Small and reproducible (xorshift64*).
pub(super) struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.roll(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }

    fn operation(&mut self) -> Operation {
        let mut left = self.roll(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (operation, weight) in WEIGHTS {
            match left.checked_sub(weight) {
                None => return operation,
                Some(rest) => left = rest,
            }
        }
        unreachable!("the roll is below the sum of the weights")
    }
}

/// Two clocks that move only when they are told to.
#[derive(Clone)]
pub(super) struct Hand {
    wall: Arc<AtomicI64>,
    since_boot: Arc<AtomicI64>,
}

impl Hand {
    pub(super) fn new() -> Hand {
        Hand { wall: Arc::new(AtomicI64::new(1_700_000_000_000)), since_boot: Arc::default() }
    }

    pub(super) fn pass_ms(&self, ms: i64) {
        // In this order: whoever reads in between sees no time pass.
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.since_boot.fetch_add(ms, Ordering::SeqCst);
    }

    fn step_wall_ms(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn wall(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.since_boot.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// Done to the broker and not to the model, which must be seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lie {
    MessageTwice,
    TimerLost,
    AckLost,
    LaneIgnored,
    ClockRuns,
    LetterLost,
    CommittedUnseen,
    KeyForgotten,
}

/// Says whether there was anything to lie about.
fn play(seed: u64, lie: Option<Lie>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut play = Play::new(seed).await;
        let mut has_lied = false;
        for step in 0..STEPS {
            play.step().await;
            if let Some(lie) = lie.filter(|_| step >= STEPS / 2 && !has_lied) {
                has_lied = play.lie(lie).await;
            }
        }
        play.finish().await;
        has_lied
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"))
}

#[test]
fn the_broker_does_what_the_model_does() {
    if let Some(seed) = number("GANTRY_SEED") {
        play(seed, None);
        return;
    }
    let first = number("GANTRY_MODEL_FIRST").unwrap_or(0);
    let end = first + number("GANTRY_MODEL_SEQUENCES").unwrap_or(SEQUENCES);
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        // More than one a core: starts and stops of a broker wait for its threads.
        for _ in 0..2 * std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || failed.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    if std::panic::catch_unwind(|| play(seed, None)).is_err() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, u64::MAX, "sequence {failed} differs: run it alone with GANTRY_SEED={failed}");
}

#[test]
fn control_what_the_model_does_not_know_of_is_seen() {
    use Lie::{AckLost, ClockRuns, CommittedUnseen, KeyForgotten, LaneIgnored, LetterLost, MessageTwice, TimerLost};
    for lie in [MessageTwice, TimerLost, AckLost, LaneIgnored, ClockRuns, LetterLost, CommittedUnseen, KeyForgotten] {
        let seen = (0..60).filter(|seed| std::panic::catch_unwind(|| play(*seed, Some(lie))).is_err()).count();
        assert!(seen > 0, "{lie:?} is never seen");
    }
}
