//! What it costs to hold much: many queues, a long log, a cold one. Starts, memory and sends of the real program.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use gantry_broker_core::store::checkpoint::DerivedEnds;
use gantry_broker_core::store::disk_files::DiskFiles;

use super::store::run_in;
use super::{BATCH, Bench, GANTRY, PACED_PER_SECOND};
use crate::loads::{self, Calls};
use crate::measure::{Figure, Pace, Round, Side, take_turns};
use crate::server::{self, Gantry, Outcome};
use crate::store_loads::{self, StoreLoad};
use crate::table::{Better, Reference, Row};

const KIB: f64 = 1024.0;
const MB: f64 = 1e6;
const GIB: f64 = (1u64 << 30) as f64;
const QUEUES: usize = store_loads::QUEUES as usize;
/// Bodies of the curves: what grows is the number of messages.
const SMALL_BODY_BYTES: usize = 128;
const COLD_BODY_BYTES: usize = 1_024;
/// Most that a start may take, and what each GiB behind the last checkpoint adds.
const START_S_MAX: f64 = 1.0;
const START_S_PER_GIB: f64 = 0.6;

/// What a server on a filled store is like.
#[derive(Debug, Clone, Copy)]
struct Held {
    start_ms: f64,
    anonymous_bytes: f64,
    descriptors: f64,
    send_p50_us: f64,
    queue_bytes: f64,
}

/// Goal 15.
pub fn many_queues(bench: &Bench) -> Vec<Row> {
    let topics = if bench.pace.quick { 1_250 } else { 12_500 };
    let queues = (topics * QUEUES) as f64;
    let few = hold(bench, 1, QUEUES, QUEUES, COLD_BODY_BYTES);
    let many = hold(bench, topics, QUEUES, topics * QUEUES, COLD_BODY_BYTES);
    let shape = |what: &str| format!("{} queues, a message in each: {what}", topics * QUEUES);
    let figure = |value: fn(&Held) -> f64| many.as_ref().map(|held| Figure::exact(value(held))).map_err(Clone::clone);
    let each = |bytes: fn(&Held) -> f64| match (&many, &few) {
        (Ok(many), Ok(few)) => Ok(Figure::exact((bytes(many) - bytes(few)) / queues / KIB)),
        (Err(error), _) | (_, Err(error)) => Err(error.clone()),
    };
    let row = |what: &str, unit| Row::new("15", &shape(what), "A", unit, Better::Lower);
    let limit = Reference::limit;
    let memory = row("memory of each", "KiB").figure(each(|held| held.anonymous_bytes));
    let disk = row("disk of each", "KiB").figure(each(|held| held.queue_bytes));
    let descriptors = row("descriptors", "open").figure(figure(|held| held.descriptors));
    let of_few = few.as_ref().map(|held| Figure::exact(held.send_p50_us)).map_err(Clone::clone);
    let few = Reference { name: "8 queues".into(), figure: of_few, cpu_us: None };
    let sends = row("send p50", "us").figure(figure(|held| held.send_p50_us));
    vec![
        memory.against(limit(1.5), 1.0, Some(0.5 / 1.5)),
        disk.against(limit(9.0), 1.0, None),
        descriptors.against(limit(1_024.0), 1.0, None),
        sends.against(few, 1.15, Some(1.05)),
    ]
}

/// Starts, memory and sends as the store grows, each beside the smallest.
pub fn curves(bench: &Bench) -> Vec<Row> {
    let messages: &[usize] = if bench.pace.quick { &[100_000, 1_000_000] } else { &[100_000, 1_000_000, 10_000_000] };
    let queues: &[usize] = if bench.pace.quick { &[10, 1_000] } else { &[10, 1_000, 100_000] };
    let by_messages = messages.iter().map(|count| {
        let name = format!("{count} messages, {QUEUES} queues");
        (name, hold(bench, 1, QUEUES, *count, SMALL_BODY_BYTES))
    });
    let by_queues = queues.iter().map(|count| {
        let name = format!("100000 messages, {count} queues");
        let (topics, each) = if *count <= QUEUES * 2 { (1, *count) } else { (count / QUEUES, QUEUES) };
        (name, hold(bench, topics, each, 100_000, SMALL_BODY_BYTES))
    });
    [by_messages.collect::<Vec<_>>(), by_queues.collect::<Vec<_>>()].iter().flat_map(|curve| rows_of(curve)).collect()
}

fn rows_of(curve: &[(String, Outcome<Held>)]) -> Vec<Row> {
    let Some(((smallest, first), larger)) = curve.split_first() else { return Vec::new() };
    type Value = (&'static str, &'static str, fn(&Held) -> f64);
    let values: [Value; 3] = [
        ("start to first message", "ms", |held| held.start_ms),
        ("memory", "MB", |held| held.anonymous_bytes / MB),
        ("send p50", "us", |held| held.send_p50_us),
    ];
    let of = |held: &Outcome<Held>, value: fn(&Held) -> f64| {
        held.as_ref().map(|held| Figure::exact(value(held))).map_err(Clone::clone)
    };
    let row = |(what, unit, value), (name, held): &(String, Outcome<Held>)| {
        let reference = Reference { name: smallest.clone(), figure: of(first, value), cpu_us: None };
        let row = Row::new("curves", &format!("{name}: {what}"), "A", unit, Better::Lower);
        row.figure(of(held, value)).beside(reference)
    };
    values.into_iter().flat_map(|value| larger.iter().map(move |point| row(value, point))).collect()
}

/// Fills a store, closes it, starts the program on it, and looks.
fn hold(bench: &Bench, topics: usize, queues: usize, messages: usize, body: usize) -> Outcome<Held> {
    eprintln!("bench:   {messages} messages in {} queues", topics * queues);
    let dir = bench.scratch.join("held");
    server::empty(&dir)?;
    bench.warm.fill();
    {
        let _giving = bench.warm.giving();
        run_in(bench, &dir, StoreLoad::Fill { topics, queues, messages, body })?;
    }
    let mut starts = Vec::new();
    // The first start after a clean stop, then some after kills.
    for _ in 0..bench.pace.starts {
        let begin = Instant::now();
        Gantry::open(&bench.gantry, &bench.scratch, "memory", dir.clone())?.leave(|gantry| {
            gantry.send()?;
            starts.push(begin.elapsed().as_secs_f64() * 1e3);
            Ok(())
        })?;
    }
    let gantry = Gantry::open(&bench.gantry, &bench.scratch, "memory", dir.clone())?;
    gantry.send()?;
    let request = bench.request(1)?;
    let calls = Calls { connections: 1, streams: 1, messages: 1, latency: true };
    loads::h2load(gantry.grpc, &request, calls, bench.pace.warm_up_s)?;
    let anonymous_bytes = gantry.process.anonymous_bytes()?;
    let load = loads::h2load(gantry.grpc, &request, calls, bench.pace.round_s)?;
    Ok(Held {
        start_ms: Figure::of(starts).median,
        anonymous_bytes,
        descriptors: gantry.process.descriptors()?,
        send_p50_us: load.p50_us.ok_or("the loader said no p50")?,
        queue_bytes: server::disk_bytes(&dir.join("consumequeue"))?,
    })
}

/// Goal 17.
pub fn recovery(bench: &Bench) -> Vec<Row> {
    let (short, long) = (20, 200);
    // What the goal allows each start of the short one.
    let limits_ms = RefCell::new(Vec::new());
    let side = |segments| -> Outcome<Side<'_>> {
        let dir = bench.scratch.join(format!("long-{segments}"));
        server::empty(&dir)?;
        run_in(bench, &dir, StoreLoad::Plant { segments })?;
        Gantry::open(&bench.gantry, &bench.scratch, "memory", dir.clone())?.leave(|gantry| gantry.send())?;
        let limits_ms = &limits_ms;
        Ok(Box::new(move |seconds| {
            let (round, limit_ms) = killed(bench, &dir, seconds)?;
            if segments == short {
                limits_ms.borrow_mut().push(limit_ms);
            }
            Ok(round)
        }))
    };
    let rounds = take_turns(bench.pace, &bench.warm, vec![("20 GiB", side(short)), ("200 GiB", side(long))]);
    for segments in [short, long] {
        let _ = std::fs::remove_dir_all(bench.scratch.join(format!("long-{segments}")));
    }
    let row = |shape| Row::new("17", shape, "A", "ms", Better::Lower);
    let limit = Figure::of(limits_ms.into_inner());
    let limit = Reference { name: "1 s + 0.6 s per GiB".into(), figure: Ok(limit), cpu_us: None };
    vec![
        row("kill -9 under load, 20 GiB (sparse), exec to first send").figures(&rounds[0], start_ms).against(
            limit,
            1.0,
            Some(0.5),
        ),
        row("the same with 200 GiB").figures(&rounds[1], start_ms).against(
            Reference::of(&rounds[0], start_ms),
            1.1,
            None,
        ),
    ]
}

/// Load, kill, start: starts a second, and how many milliseconds the goal allows this one.
fn killed(bench: &Bench, dir: &Path, seconds: u64) -> Outcome<(Round, f64)> {
    let calls = Calls { connections: 4, streams: 8, messages: BATCH, latency: false };
    let request = bench.request(calls.messages)?;
    let end = Gantry::open(&bench.gantry, &bench.scratch, "memory", dir.to_path_buf())?.leave(|gantry| {
        loads::h2load(gantry.grpc, &request, calls, seconds)?;
        gantry.commit_log_end()
    })?;
    let synced = DerivedEnds::read(&DiskFiles, dir).map_err(|error| error.to_string())?;
    let synced = synced.map_or(0, |ends| ends.needs_log_below().0);
    let behind_gib = end.saturating_sub(synced) as f64 / GIB;
    let begin = Instant::now();
    let took = Gantry::open(&bench.gantry, &bench.scratch, "memory", dir.to_path_buf())?.leave(|gantry| {
        gantry.send()?;
        Ok(begin.elapsed().as_secs_f64())
    })?;
    eprintln!("bench:   {behind_gib:.2} GiB behind the last checkpoint: {took:.3} s");
    Ok((Round::new(1.0 / took), (START_S_MAX + START_S_PER_GIB * behind_gib) * 1e3))
}

fn start_ms(round: &Round) -> f64 {
    1e3 / round.rate
}

/// Goal 20.
pub fn cold_read(bench: &Bench) -> Vec<Row> {
    let gib = if bench.pace.quick { 1 } else { 10 };
    let messages = gib << 20;
    let dir = bench.scratch.join("cold");
    let filled = server::empty(&dir).and_then(|()| {
        let _giving = bench.warm.giving();
        run_in(bench, &dir, StoreLoad::Fill { topics: 1, queues: 1, messages, body: COLD_BODY_BYTES })
    });
    let side = |load: StoreLoad| -> Outcome<Side<'_>> {
        filled.as_ref().map_err(Clone::clone)?;
        let dir = dir.clone();
        Ok(Box::new(move |_| {
            forget_pages()?;
            Ok(run_in(bench, &dir, load)?.round())
        }))
    };
    // Each round reads all of it: fewer rounds do.
    let pace = Pace { rounds: 3, ..bench.pace };
    let beside = StoreLoad::Cold { per_second: PACED_PER_SECOND, alone_seconds: 0 };
    let alone = StoreLoad::Cold { per_second: PACED_PER_SECOND, alone_seconds: bench.pace.round_s };
    let sides =
        vec![(GANTRY, side(beside)), ("no reads", side(alone)), ("read(2) of as much", side(StoreLoad::ColdFiles))];
    let rounds = take_turns(pace, &bench.warm, sides);
    let _ = std::fs::remove_dir_all(&dir);
    let p99 = |round: &Round| round.latency.map_or(f64::NAN, |latency| latency.p99_us);
    let rate = |round: &Round| round.rate;
    let read = Row::new("20", &format!("cold pull of {gib} GiB beside 5,000 sends/s"), "A", "msg/s", Better::Higher);
    let sends = Row::new("20", "the sends beside it, p99", "A", "us", Better::Lower);
    vec![
        read.figures(&rounds[0], rate).against(Reference::of(&rounds[2], rate), 0.5, Some(0.8)),
        sends.figures(&rounds[0], p99).against(Reference::of(&rounds[1], p99), 2.0, Some(1.3)),
    ]
}

/// Nothing that was read before is in memory any more.
fn forget_pages() -> Outcome<()> {
    let written = std::process::Command::new("sync").status().map_err(|error| error.to_string())?;
    if !written.success() {
        return Err("sync failed".into());
    }
    std::fs::write("/proc/sys/vm/drop_caches", "3").map_err(|error| format!("dropping the page cache: {error}"))
}
