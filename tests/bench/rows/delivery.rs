//! Delivery without a network: receiving and acking beside a long past, and messages that wait for their time.

use super::store::{caller_cpu_us, side};
use super::{Bench, GANTRY};
use crate::measure::{Round, Rounds, Side, take_turns};
use crate::store_loads::StoreLoad;
use crate::table::{Better, Reference, Row};

const SETTLED_PER_CPU_SECOND_MIN: f64 = 1e6;
const ACKED_BEFORE: usize = 10_000_000;
const LEASED_BEFORE: usize = 1_000_000;
const QUICKER: usize = 10;

/// Messages received and acked a second of the caller's CPU.
fn per_cpu_second(round: &Round) -> f64 {
    1e6 / caller_cpu_us(round)
}

pub fn settle(bench: &Bench) -> Vec<Row> {
    let share = if bench.pace.quick { QUICKER } else { 1 };
    let (messages, acked, leased) = (1_000_000 / share, ACKED_BEFORE / share, LEASED_BEFORE / share);
    let load = |acked, leased| side(bench, move |_| StoreLoad::Settle { messages, acked, leased });
    let sides: Vec<(&'static str, _)> =
        vec![(GANTRY, Ok(load(0, 0))), ("10M acked before", Ok(load(acked, 0))), ("1M leased", Ok(load(0, leased)))];
    let rounds = take_turns(bench.pace, &bench.warm, sides);
    let row = |shape, rounds: &Rounds| {
        Row::new("settle", shape, "A", "msg/CPU s", Better::Higher).figures(rounds, per_cpu_second)
    };
    let plain = || Reference::of(&rounds[0], per_cpu_second);
    vec![
        row("receive 32 + ack 32, 1 KiB, no network", &rounds[0]).against(
            Reference::limit(SETTLED_PER_CPU_SECOND_MIN),
            1.0,
            None,
        ),
        row("after 10M acked out of order", &rounds[1]).against(plain(), 0.8, None),
        row("with 1M leases open", &rounds[2]).against(plain(), 0.8, None),
    ]
}

pub fn timers(bench: &Bench) -> Vec<Row> {
    let messages = if bench.pace.quick { 100_000 } else { 1_000_000 };
    let load =
        |delayed| -> Side<'_> { side(bench, move |_| StoreLoad::Timers { messages, delayed: u64::from(delayed) }) };
    let sides = vec![(GANTRY, Ok(load(true))), ("sends without a time", Ok(load(false)))];
    let rounds = take_turns(bench.pace, &bench.warm, sides);
    let row = Row::new("timers", "1M sent and fired, 1 KiB, 32 in a call, no network", "A", "msg/s", Better::Higher);
    vec![row.rates(&rounds[0]).against(Reference::of(&rounds[1], |round| round.rate), 0.5, None)]
}
