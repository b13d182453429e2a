//! A backlog is received and acked over gRPC, beside NATS' pulls and acks of as many. Goal 4: how fast; goal 22: what it costs
//! the server, sending included.

use super::{BATCH, Bench, GANTRY, NATS_IN_FLIGHT, rate};
use crate::loads::receive::{Receives, drain, drain_nats, fill};
use crate::loads::{Load, Nats};
use crate::measure::{Round, Rounds, Side, round, take_turns};
use crate::peers::NatsServer;
use crate::server::{Gantry, Outcome, Process, http};
use crate::table::{Better, Reference, Row};

/// Messages to receive for each second of a round.
const PER_SECOND: u64 = 64_000;
const RECEIVES: Receives = Receives { connections: 4, streams: 8, messages: BATCH as usize };

/// What of it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measured {
    Receiving,
    Everything,
}

pub fn consume(bench: &Bench) -> Vec<Row> {
    let rounds = rounds(bench, Measured::Receiving);
    let row = Row::new("4", "gRPC receive + ack of 32, 4 x 8", "A", "msg/s", Better::Higher).rates(&rounds[0]);
    vec![row.against(Reference::of(&rounds[1], rate), 1.5, Some(4.0))]
}

pub fn efficiency(bench: &Bench) -> Vec<Row> {
    let rounds = rounds(bench, Measured::Everything);
    let cpu_us = |round: &Round| round.cpu_us.unwrap_or(f64::NAN);
    let row = Row::new("22", "gRPC send + receive + ack of 32, server CPU each", "A", "us", Better::Lower);
    vec![row.figures(&rounds[0], cpu_us).against(Reference::of(&rounds[1], cpu_us), 0.5, Some(0.2))]
}

fn rounds(bench: &Bench, measured: Measured) -> Vec<Rounds> {
    let gantry: Side<'_> = Box::new(move |seconds| gantry(bench, measured, seconds * PER_SECOND));
    take_turns(bench.pace, &bench.warm, vec![(GANTRY, Ok(gantry)), ("NATS", nats(bench, measured))])
}

/// A server and a topic of its own for each round.
fn gantry(bench: &Bench, measured: Measured, messages: u64) -> Outcome<Round> {
    let gantry = Gantry::start(&bench.gantry, &bench.scratch, "memory")?;
    let fill = || fill(gantry.grpc, messages as usize);
    let drain = || drain(gantry.grpc, RECEIVES, messages);
    let round = both(&gantry.process, measured, fill, drain)?;
    // The loader counted answers; the server must agree that nothing is left to anybody.
    let lag = http(gantry.http, "GET", "/v1/groups/bench/lag", "application/json", b"")?;
    let lag: serde_json::Value = serde_json::from_slice(&lag).map_err(|error| error.to_string())?;
    if lag["totalLag"].as_u64() != Some(0) || lag["inflight"].as_u64() != Some(0) {
        return Err(format!("failed: all was acked, and the lag is {lag}"));
    }
    Ok(round)
}

/// The filling comes first, and is measured or is not.
fn both(
    process: &Process,
    measured: Measured,
    fill: impl Fn() -> Outcome<()>,
    drain: impl Fn() -> Outcome<Load>,
) -> Outcome<Round> {
    if measured == Measured::Receiving {
        fill()?;
    }
    let load = || {
        if measured == Measured::Everything {
            fill()?;
        }
        drain()
    };
    round(process, load).map(|(round, _)| round)
}

fn nats(bench: &Bench, measured: Measured) -> Outcome<Side<'_>> {
    let server = NatsServer::start(&bench.scratch, false)?;
    Ok(Box::new(move |seconds| {
        let messages = seconds * PER_SECOND;
        let fill = || Nats::connect(server.port)?.fill(NATS_IN_FLIGHT, messages);
        both(&server.process, measured, fill, || drain_nats(server.port, RECEIVES, messages))
    }))
}
