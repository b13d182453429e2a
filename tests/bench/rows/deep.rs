//! Goal 19: what a billion messages cost those who never ask for them, and those who look for one of them.

use std::path::PathBuf;
use std::time::Instant;

use super::store::run_in;
use super::{Bench, GANTRY, p50_us};
use crate::loads::{self, Calls};
use crate::measure::{Pace, Round, Rounds, Side, take_turns};
use crate::server::{self, Gantry, Outcome};
use crate::store_loads::{Look, StoreLoad};
use crate::table::{Better, Reference, Row};

/// Of a GiB each, full of records of 1,000 bytes: a billion messages, a terabyte...
const SEGMENTS: u64 = 932;
/// ...or a twentieth of that, when time is short.
const SEGMENTS_QUICK: u64 = 47;
/// A million messages.
const SEGMENTS_SHORT: u64 = 1;
const EMPTY: &str = "an empty store";
const SHORT: &str = "1.07M messages";
const MB: f64 = 1e6;

/// Goal 19.
pub fn depth(bench: &Bench) -> Vec<Row> {
    let quick = bench.pace.quick;
    let segments = if quick { SEGMENTS_QUICK } else { SEGMENTS };
    let (full, empty, short) =
        (Deep::plant(bench, segments), Deep::plant(bench, 0), Deep::plant(bench, SEGMENTS_SHORT));
    let calls = |calls: u64| if quick { calls / 10 } else { calls };
    // There are many of them: when time is short, one round each has to do.
    let rounds = if quick { 1 } else { bench.pace.rounds };
    let pace = Pace { rounds, round_s: bench.pace.warm_up_s, ..bench.pace };
    let by_turns = |sides, look, calls| by_turns(bench, pace, sides, look, calls);
    let tail = by_turns([(GANTRY, &full), (EMPTY, &empty)], Look::Tail, calls(100_000));
    let seek = by_turns([(GANTRY, &full), (SHORT, &short)], Look::Seek, calls(50_000));
    let anywhere = by_turns([(GANTRY, &full), (SHORT, &short)], Look::Anywhere, calls(50_000));
    // Last: what they add moves the ways of the searches, and only on those there is something to be found.
    let send = by_turns([(GANTRY, &full), (EMPTY, &empty)], Look::Send, calls(200_000));
    let started = |deep: &Outcome<Deep>| -> Outcome<Side<'_>> {
        let dir = deep.as_ref().map_err(Clone::clone)?.dir.clone();
        Ok(Box::new(move |seconds| program(bench, dir.clone(), seconds)))
    };
    let memory = take_turns(pace, &bench.warm, vec![(GANTRY, started(&full)), (EMPTY, started(&empty))]);
    for deep in [full, empty, short].into_iter().flatten() {
        let _ = std::fs::remove_dir_all(deep.dir);
    }
    let name = if quick { "50M messages" } else { "1e9 messages" };
    let row = |shape: &str, unit| Row::new("19", &format!("{name}: {shape}"), "A", unit, Better::Lower);
    let p50 = |shape: &str, rounds: &[Rounds]| row(&format!("{shape}, p50"), "us").figures(&rounds[0], p50_us);
    let (mb, start) = (row("memory after sends", "MB"), row("start to first message", "ms"));
    vec![
        p50("send, no network", &send).against(Reference::of(&send[1], p50_us), 1.05, Some(1.02)),
        p50("pull of the newest 32", &tail).against(Reference::of(&tail[1], p50_us), 1.05, Some(1.02)),
        p50("look for a random time", &seek).against(Reference::of(&seek[1], p50_us), 4.0, Some(2.0)),
        p50("pull of 32 anywhere", &anywhere).beside(Reference::of(&anywhere[1], p50_us)),
        mb.figures(&memory[0], mb_of).against(Reference::of(&memory[1], mb_of), 1.05, None),
        start.figures(&memory[0], start_ms).beside(Reference::of(&memory[1], start_ms)),
    ]
}

/// A store that was planted.
struct Deep {
    dir: PathBuf,
    segments: u64,
}

impl Deep {
    fn plant(bench: &Bench, segments: u64) -> Outcome<Deep> {
        let dir = bench.scratch.join(format!("deep-{segments}"));
        server::empty(&dir)?;
        bench.warm.fill();
        let _giving = bench.warm.giving();
        let done = run_in(bench, &dir, StoreLoad::PlantDeep { segments })?;
        eprintln!("bench:   {} messages planted in {:.1} s", done.operations, done.seconds);
        Ok(Deep { dir, segments })
    }
}

fn by_turns(
    bench: &Bench,
    pace: Pace,
    sides: [(&'static str, &Outcome<Deep>); 2],
    look: Look,
    calls: u64,
) -> Vec<Rounds> {
    let side = |deep: &Outcome<Deep>| -> Outcome<Side<'_>> {
        let Deep { dir, segments } = deep.as_ref().map_err(Clone::clone)?;
        let (dir, load) = (dir.clone(), StoreLoad::Deep { look, segments: *segments, calls });
        Ok(Box::new(move |_| Ok(run_in(bench, &dir, load)?.round())))
    };
    take_turns(pace, &bench.warm, sides.map(|(name, deep)| (name, side(deep))).into())
}

/// The program on such a store: its memory as the round's rate, the time to its first message as the round's latency.
fn program(bench: &Bench, dir: PathBuf, seconds: u64) -> Outcome<Round> {
    let calls = Calls { connections: 1, streams: 1, messages: 1, latency: false };
    let request = bench.request(calls.messages)?;
    let begin = Instant::now();
    Gantry::open(&bench.gantry, &bench.scratch, "memory", dir)?.leave(|gantry| {
        gantry.send()?;
        let start_us = begin.elapsed().as_secs_f64() * 1e6;
        let before = gantry.stored()?;
        let load = loads::h2load(gantry.grpc, &request, calls, seconds)?;
        let stored = gantry.stored()? - before;
        if stored < load.succeeded || stored > load.succeeded + load.in_flight_max {
            return Err(format!("failed: {} were acknowledged, {stored} are stored", load.succeeded));
        }
        Ok(Round::new(gantry.process.anonymous_bytes()?).with_p50_us(Some(start_us)))
    })
}

fn start_ms(round: &Round) -> f64 {
    p50_us(round) / 1e3
}

fn mb_of(round: &Round) -> f64 {
    round.rate / MB
}
