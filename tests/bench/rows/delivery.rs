//! Delivery without a network: receiving and acking beside a long past, and messages that wait for their time.

use super::store::{caller_cpu_us, side};
use super::{Bench, GANTRY};
use crate::measure::{Pace, Round, Rounds, Side, take_turns};
use crate::store_loads::{Past, QUEUES, StoreLoad};
use crate::table::{Better, Reference, Row};

const SETTLED_PER_CPU_SECOND_MIN: f64 = 1e6;
const ACKED_BEFORE: usize = 10_000_000;
const LEASED_BEFORE: usize = 1_000_000;
const TIMERS: usize = 1_000_000;
/// What a smoke run has of all these.
const QUICKER: usize = 10;

/// Messages received and acked a second of the caller's CPU.
fn per_cpu_second(round: &Round) -> f64 {
    1e6 / caller_cpu_us(round)
}

/// A past takes longer to make than a round: fewer rounds do.
fn pace(bench: &Bench) -> Pace {
    Pace { rounds: 3, ..bench.pace }
}

fn settling(bench: &Bench, messages: usize, queues: usize, past: Past) -> Side<'_> {
    side(bench, move |_| StoreLoad::Settle { messages, queues, past })
}

fn row(goal: &'static str, shape: &str, rounds: &Rounds) -> Row {
    Row::new(goal, shape, "A", "msg/CPU s", Better::Higher).figures(rounds, per_cpu_second)
}

pub fn settle(bench: &Bench) -> Vec<Row> {
    let share = if bench.pace.quick { QUICKER } else { 1 };
    let (messages, acked, leased) = (1_000_000 / share, ACKED_BEFORE / share, LEASED_BEFORE / share);
    let load = |past| Ok(settling(bench, messages, QUEUES as usize, past));
    let sides = vec![
        (GANTRY, load(Past::default())),
        ("a past of acks", load(Past { acked, ..Past::default() })),
        ("a past of leases", load(Past { leased, ..Past::default() })),
    ];
    let rounds = take_turns(pace(bench), &bench.warm, sides);
    let plain = || Reference { name: "without".into(), ..Reference::of(&rounds[0], per_cpu_second) };
    vec![
        row("settle", "receive 32 + ack 32, 1 KiB, no network", &rounds[0]).against(
            Reference::limit(SETTLED_PER_CPU_SECOND_MIN),
            1.0,
            None,
        ),
        row("settle", &format!("after {acked} acked out of order"), &rounds[1]).against(plain(), 0.8, None),
        row("settle", &format!("with {leased} leases open"), &rounds[2]).against(plain(), 0.8, None),
    ]
}

pub fn timers(bench: &Bench) -> Vec<Row> {
    let messages = if bench.pace.quick { TIMERS / QUICKER } else { TIMERS };
    let load =
        |delayed| -> Side<'_> { side(bench, move |_| StoreLoad::Timers { messages, delayed: u64::from(delayed) }) };
    let sides = vec![(GANTRY, Ok(load(true))), ("sends without a time", Ok(load(false)))];
    let rounds = take_turns(pace(bench), &bench.warm, sides);
    let shape = format!("{messages} timers set and fired, 1 KiB, 32 in a call, no network");
    let row = Row::new("timers", &shape, "A", "msg/s", Better::Higher);
    vec![row.rates(&rounds[0]).against(Reference::of(&rounds[1], |round| round.rate), 0.5, None)]
}

/// How receiving and acking grows, each figure beside that of the smallest.
pub fn growth(bench: &Bench) -> Vec<Row> {
    let messages = if bench.pace.quick { 50_000 } else { 500_000 };
    let largest = if bench.pace.quick { 100_000 } else { 1_000_000 };
    let powers = |from: usize| std::iter::successors(Some(from), |power| Some(power * 10));
    let past = |past: Past| (QUEUES as usize, past);
    let upto = |from: usize, max: usize| powers(from).take_while(move |power| *power <= max);
    let acked =
        upto(10_000, largest).map(|acked| (format!("{acked} acked before"), past(Past { acked, ..Past::default() })));
    let leased =
        upto(10_000, largest).map(|leased| (format!("{leased} leases open"), past(Past { leased, ..Past::default() })));
    let groups = upto(10, largest / 100)
        .map(|groups| (format!("{groups} other groups"), past(Past { groups, ..Past::default() })));
    let queues = upto(10, 1_000).map(|queues| (format!("{queues} queues"), (queues, Past::default())));
    let points: Vec<_> = acked.chain(leased).chain(groups).chain(queues).collect();
    let smallest = ("1 queue".to_owned(), (1, Past::default()));
    let mut figures = Vec::new();
    for (name, (queues, past)) in std::iter::once(smallest).chain(points) {
        eprintln!("bench:   {name}");
        let load = settling(bench, messages, queues, past);
        figures.push((
            name,
            take_turns(Pace { rounds: 1, ..bench.pace }, &bench.warm, vec![(GANTRY, Ok(load))]).remove(0),
        ));
    }
    let (smallest, first) = figures.remove(0);
    let rows = figures.iter().map(|(name, rounds)| {
        let beside = Reference { name: smallest.clone(), ..Reference::of(&first, per_cpu_second) };
        row("growth", &format!("receive 32 + ack 32: {name}"), rounds).beside(beside)
    });
    rows.collect()
}
