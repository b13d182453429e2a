//! The store alone, without a network: what an append costs, what a sync serves, how fast a queue is read and
//! a filter asked.

use std::path::Path;
use std::process::Stdio;

use super::{BATCH, Bench, GANTRY, PACED_PER_SECOND};
use crate::measure::{Latency, Round, Rounds, Side, take_turns};
use crate::server::{self, Outcome, Process, bound_to_us};
use crate::store_loads::{Done, StoreLoad, record_bytes};
use crate::table::{Better, Reference, Row};

/// CPU time of one message, append and dispatch, 1 KiB.
const BATCH_CPU_US_MAX: f64 = 1.0;
const SINGLE_CPU_US_MAX: f64 = 2.0;
const STALL_MS_MAX: f64 = 5.0;
const READ_PER_CPU_SECOND_MIN: f64 = 2e6;
const FILTERED_PER_CPU_SECOND_MIN: f64 = 2e6;
const SENDERS: usize = 64;
const BATCH_SENDERS: usize = 32;
const PROBE: &str = "fdatasync of as much";

pub fn append(bench: &Bench) -> Vec<Row> {
    let messages = if bench.pace.quick { 200_000 } else { 1_000_000 };
    let side = |batch| {
        let load = StoreLoad::Append { batch, messages };
        take_turns(bench.pace, &bench.warm, vec![(GANTRY, Ok(side(bench, move |_| load)))]).remove(0)
    };
    let (batches, singles) = (side(BATCH as usize), side(1));
    let cpu = |shape, rounds: &Rounds, limit| {
        let row = Row::new("append", shape, "A", "us CPU", Better::Lower).figures(rounds, caller_cpu_us);
        row.against(Reference::limit(limit), 1.0, Some(0.5))
    };
    let stall = |shape, rounds: &Rounds| {
        let row = Row::new("append", shape, "A", "ms", Better::Lower).figures(rounds, max_ms);
        row.against(Reference::limit(STALL_MS_MAX), 1.0, None)
    };
    vec![
        cpu("append + dispatch, 32 in a call, caller", &batches, BATCH_CPU_US_MAX),
        cpu("append + dispatch, one by one, caller", &singles, SINGLE_CPU_US_MAX),
        stall("worst call, 32 in a call", &batches),
        stall("worst call, one by one", &singles),
    ]
}

pub fn read(bench: &Bench) -> Vec<Row> {
    let messages = if bench.pace.quick { 200_000 } else { 1_000_000 };
    let load = move |seconds| StoreLoad::Read { messages, seconds };
    let rounds = take_turns(bench.pace, &bench.warm, vec![(GANTRY, Ok(side(bench, load)))]);
    let row = Row::new("read", "pull of 32, one queue, warm", "A", "msg/CPU s", Better::Higher);
    let row = row.figures(&rounds[0], |round| 1e6 / caller_cpu_us(round));
    vec![row.against(Reference::limit(READ_PER_CPU_SECOND_MIN), 1.0, None)]
}

pub fn filter(bench: &Bench) -> Vec<Row> {
    let load = |seconds| StoreLoad::Filter { seconds };
    let rounds = take_turns(bench.pace, &bench.warm, vec![(GANTRY, Ok(side(bench, load)))]);
    let row = Row::new("filter", "SQL92, three of nine properties named", "A", "msg/CPU s", Better::Higher);
    let row = row.figures(&rounds[0], |round| 1e6 / caller_cpu_us(round));
    vec![row.against(Reference::limit(FILTERED_PER_CPU_SECOND_MIN), 1.0, None)]
}

/// The store's half of goals 9 and 10.
pub fn durable(bench: &Bench) -> Vec<Row> {
    let row = |shape, senders, batch| {
        let gantry = side(bench, move |seconds| StoreLoad::Durable { senders, batch, seconds });
        let together = senders * batch;
        let mut probe = side(bench, move |seconds| StoreLoad::Syncs { bytes: record_bytes(together), seconds });
        // As many messages as all senders have under way ride with each sync.
        let probe: Side<'_> = Box::new(move |seconds| {
            let round = probe(seconds)?;
            Ok(Round::new(round.rate * together as f64))
        });
        let rounds = take_turns(bench.pace, &bench.warm, vec![(GANTRY, Ok(gantry)), (PROBE, Ok(probe))]);
        let row = Row::new("durable", shape, "D", "msg/s", Better::Higher).rates(&rounds[0]);
        row.beside(Reference::of(&rounds[1], |round| round.rate))
    };
    vec![
        row("64 senders x 1, no network", SENDERS, 1),
        row("32 senders x 32, no network", BATCH_SENDERS, BATCH as usize),
    ]
}

/// Goal 11.
pub fn tail(bench: &Bench) -> Vec<Row> {
    let gantry = side(bench, |seconds| StoreLoad::Paced { per_second: PACED_PER_SECOND, seconds });
    let probe = side(bench, |seconds| StoreLoad::Syncs { bytes: record_bytes(1), seconds });
    // Long rounds: one in a thousand of 5,000 is no tail.
    let pace = crate::measure::Pace { round_s: bench.pace.round_s * 4, ..bench.pace };
    let rounds = take_turns(pace, &bench.warm, vec![(GANTRY, Ok(gantry)), ("1 KiB + fdatasync", Ok(probe))]);
    let row = |shape, value: fn(&Round) -> f64, bar, moon| {
        let row = Row::new("11", shape, "D", "us", Better::Lower).figures(&rounds[0], value);
        row.against(Reference::of(&rounds[1], value), bar, Some(moon))
    };
    vec![
        row("5,000 sends/s, no network, p50", |round| latency(round).p50_us, 2.0, 1.3),
        row("5,000 sends/s, no network, p99", |round| latency(round).p99_us, 2.0, 1.3),
        row("5,000 sends/s, no network, p99.9", |round| latency(round).p999_us, 2.5, 1.5),
    ]
}

/// Each round is a process with an empty directory.
pub(super) fn side<'a>(bench: &'a Bench, load: impl Fn(u64) -> StoreLoad + 'a) -> Side<'a> {
    Box::new(move |seconds| {
        let done = run(bench, load(seconds))?;
        if done.operations == 0 {
            return Err("failed: nothing succeeded".into());
        }
        Ok(done.round())
    })
}

/// In a directory that is empty before and gone afterwards.
fn run(bench: &Bench, load: StoreLoad) -> Outcome<Done> {
    let dir = bench.scratch.join("store");
    server::empty(&dir)?;
    let done = run_in(bench, &dir, load);
    let _ = std::fs::remove_dir_all(&dir);
    done
}

pub(super) fn run_in(bench: &Bench, dir: &Path, load: StoreLoad) -> Outcome<Done> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = bound_to_us(&program);
    command.arg("store").arg(dir).args(load.arguments()).stdout(Stdio::piped());
    let log = bench.scratch.join("store.log");
    let mut process = Process::start(&mut command, &log)?;
    let said = |error| match std::fs::read_to_string(&log) {
        Ok(said) if !said.trim().is_empty() => said.trim().trim_start_matches("bench: ").to_owned(),
        _ => error,
    };
    let line = process.line("done").map_err(said)?;
    serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))
}

pub(super) fn latency(round: &Round) -> Latency {
    round.latency.unwrap_or_default()
}

pub(super) fn caller_cpu_us(round: &Round) -> f64 {
    round.caller_cpu_us.unwrap_or(f64::NAN)
}

fn max_ms(round: &Round) -> f64 {
    latency(round).max_us / 1e3
}
