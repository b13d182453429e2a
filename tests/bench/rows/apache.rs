//! Apache RocketMQ's name server, broker and proxy in one Java process, and Gantry, by turns under the same `gantry bench`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::apache::{self, Apache};

use super::{BATCH, Bench, GANTRY, ServerSide, rate};
use crate::loads::receive::Receives;
use crate::loads::{Calls, generator};
use crate::measure::{Figure, Pace, Round, Side, take_turns};
use crate::server::{Gantry, Outcome, http};
use crate::table::{Better, Reference, Row};

const APACHE: &str = "Apache RocketMQ";
/// Broker, proxy and name server share it. Apache's scripts ask for 8 GiB for a broker alone.
const JAVA_OPTIONS: &str = "-Xmx2g";
/// Java compiles what it has seen often enough, and is measured after that.
const COMPILING_S: u64 = 12;
const IDLE_MAX: Duration = Duration::from_secs(20);
const RECEIVES: Receives = Receives { connections: 4, streams: 8, messages: BATCH as usize };
const ROUNDS: usize = 3;
/// Messages to receive for each second of a round.
const PER_SECOND: u64 = 20_000;
/// Of its rates, of its p99 at half of them, of its memory and of its time to start.
const RATE_BAR: f64 = 5.0;
const RATE_MOON: f64 = 10.0;
const P99_BAR: f64 = 0.2;
const MEMORY_BAR: f64 = 0.1;
const START_BAR: f64 = 0.01;
const MB: f64 = 1e6;

/// What a turn of `gantry bench` does.
#[derive(Clone, Copy)]
enum Work {
    Send(Calls),
    /// So many a second, from one connection.
    Paced(u64),
    Receive,
}

pub fn apache(bench: &Bench) -> Vec<Row> {
    let calls = |connections, streams, messages| Work::Send(Calls { connections, streams, messages, latency: false });
    let from_memory = [
        ("gRPC send, 1 connection x 64", calls(1, 64, 1)),
        ("gRPC send, 4 connections x 64", calls(4, 64, 1)),
        ("gRPC send, 32 in a call, 4 x 8", calls(4, 8, BATCH)),
        ("gRPC receive + ack of 32, 4 x 8", Work::Receive),
    ];
    let program = match program() {
        Ok(program) => program,
        Err(needs) => return vec![Row::new("apache", "all of it", "", "", Better::Higher).figure(Err(needs))],
    };
    let mut rows = footprint(bench, &program);
    rows.extend(level(bench, &program, "memory", "A", &from_memory));
    rows.extend(level(bench, &program, "disk", "D", &[("gRPC send, 64 connections x 1", calls(64, 1, 1))]));
    rows
}

/// Gantry's `memory` is Apache's ASYNC_FLUSH, `disk` is SYNC_FLUSH.
fn level(bench: &Bench, program: &Path, level: &'static str, sign: &'static str, shapes: &[(&str, Work)]) -> Vec<Row> {
    let compiled = || {
        let server = Gantry::start(program, &bench.scratch, level)?;
        eprintln!("bench:   Java compiles, {COMPILING_S} s of each shape");
        for (_, work) in shapes {
            match work {
                Work::Send(calls) => generator::send(&bench.gantry, server.grpc, *calls, COMPILING_S).map(drop)?,
                Work::Paced(rate) => generator::paced(&bench.gantry, server.grpc, *rate, COMPILING_S).map(drop)?,
                Work::Receive => receive(bench, &server, COMPILING_S).map(drop)?,
            }
        }
        Ok(server)
    };
    let gantry = ServerSide::gantry(bench, level).map(RefCell::new);
    let apache = ServerSide::start(bench, Box::new(compiled)).map(RefCell::new);
    let pace = Pace { rounds: bench.pace.rounds.min(ROUNDS), ..bench.pace };
    let turns = |work| {
        let sides = vec![(GANTRY, side(bench, &gantry, work)), (APACHE, side(bench, &apache, work))];
        take_turns(pace, &bench.warm, sides)
    };
    // What Apache's server sends singly at most.
    let mut rate_max: f64 = 0.0;
    let mut rows = Vec::new();
    for (shape, work) in shapes {
        let rounds = turns(*work);
        let reference = Reference::of(&rounds[1], rate);
        if let (Work::Send(Calls { messages: 1, .. }), Ok(rate)) = (work, &reference.figure) {
            rate_max = rate_max.max(rate.median);
        }
        let row = Row::new("apache", shape, sign, "msg/s", Better::Higher).rates(&rounds[0]);
        rows.push(row.against(reference, RATE_BAR, Some(RATE_MOON)));
    }
    if rate_max > 0.0 {
        let half = (rate_max / 2.0) as u64;
        let rounds = turns(Work::Paced(half));
        let p99 = |round: &Round| round.latency.map_or(f64::NAN, |latency| latency.p99_us / 1e3);
        let shape = format!("gRPC send, half of Apache's rate ({half}/s), p99");
        let row = Row::new("apache", &shape, sign, "ms", Better::Lower).figures(&rounds[0], p99);
        rows.push(row.against(Reference::of(&rounds[1], p99), P99_BAR, None));
    }
    rows
}

fn side<'s>(bench: &'s Bench, server: &'s Outcome<RefCell<ServerSide<'_>>>, work: Work) -> Outcome<Side<'s>> {
    let server = server.as_ref().map_err(Clone::clone)?;
    Ok(Box::new(move |seconds| match work {
        Work::Send(calls) => {
            server.borrow_mut().round(seconds, |at, seconds| generator::send(&bench.gantry, at.grpc, calls, seconds))
        }
        Work::Paced(rate) => generator::paced(&bench.gantry, server.borrow().server.grpc, rate, seconds),
        Work::Receive => receive(bench, &server.borrow().server, seconds),
    }))
}

/// All of a topic of its own: what is left in another would come first.
fn receive(bench: &Bench, server: &Gantry, seconds: u64) -> Outcome<Round> {
    static TOPICS: AtomicU32 = AtomicU32::new(0);
    let topic = format!("r{}", TOPICS.fetch_add(1, Ordering::Relaxed));
    http(server.http, "PUT", &format!("/v1/topics/{topic}"), "application/json", br#"{"writeQueues":8}"#)?;
    generator::receive(&bench.gantry, server.grpc, &topic, RECEIVES, seconds * PER_SECOND)
}

/// Idle memory, and how long it takes until a topic is there.
fn footprint(bench: &Bench, program: &Path) -> Vec<Row> {
    let idle = bench.pace.idle.min(IDLE_MAX);
    let start = |program: &Path| {
        let begin = Instant::now();
        let server = Gantry::start(program, &bench.scratch, "memory")?;
        Ok((begin.elapsed().as_secs_f64() * 1e3, server))
    };
    let gantry = start(&bench.gantry);
    let apache = start(program);
    eprintln!("bench:   waiting for {} s", idle.as_secs());
    std::thread::sleep(idle);
    let ms = |side: &Outcome<(f64, Gantry)>| side.as_ref().map(|(ms, _)| Figure::exact(*ms)).map_err(Clone::clone);
    let mb = |side: &Outcome<(f64, Gantry)>| {
        let (_, server) = side.as_ref().map_err(Clone::clone)?;
        server.process.anonymous_bytes().map(|bytes| Figure::exact(bytes / MB))
    };
    let reference = |figure| Reference { name: APACHE.into(), figure, cpu_us: None };
    let memory = Row::new("apache", &format!("idle memory after {} s", idle.as_secs()), "A", "MB", Better::Lower);
    let started = Row::new("apache", "start until a topic is there, once", "A", "ms", Better::Lower);
    vec![
        memory.figure(mb(&gantry)).against(reference(mb(&apache)), MEMORY_BAR, None),
        started.figure(ms(&gantry)).against(reference(ms(&apache)), START_BAR, None),
    ]
}

/// What the report says about it.
pub fn about() -> String {
    format!(
        "{}, name server, broker and proxy in one process (proxy mode LOCAL), java {JAVA_OPTIONS}, after {COMPILING_S} s of \
         each shape; level A is ASYNC_FLUSH, D is SYNC_FLUSH; {} rounds; all loads are gantry bench",
        apache::RELEASE,
        ROUNDS
    )
}

fn program() -> Outcome<PathBuf> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = own.ancestors().nth(2).ok_or("the program lies in target/release")?;
    Apache::build(&target.join("tmp/apache"))?.program("for-bench", JAVA_OPTIONS)
}
