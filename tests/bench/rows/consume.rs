//! Goal 4: a backlog is received and acked over gRPC, beside NATS' pulls and acks of as many.

use super::{BATCH, Bench, GANTRY, NATS_IN_FLIGHT, rate};
use crate::loads::Nats;
use crate::loads::receive::{Receives, drain, drain_nats, fill};
use crate::measure::{Round, Side, round, take_turns};
use crate::peers::NatsServer;
use crate::server::{Gantry, Outcome, http};
use crate::table::{Better, Reference, Row};

/// Messages to receive for each second of a round.
const PER_SECOND: u64 = 64_000;
const RECEIVES: Receives = Receives { connections: 4, streams: 8, messages: BATCH as usize };

pub fn consume(bench: &Bench) -> Vec<Row> {
    let gantry: Side<'_> = Box::new(|seconds| gantry(bench, seconds * PER_SECOND));
    let rounds = take_turns(bench.pace, &bench.warm, vec![(GANTRY, Ok(gantry)), ("NATS", nats(bench))]);
    let row = Row::new("4", "gRPC receive + ack of 32, 4 x 8", "A", "msg/s", Better::Higher).rates(&rounds[0]);
    vec![row.against(Reference::of(&rounds[1], rate), 1.5, Some(4.0))]
}

/// A server and a topic of its own for each round.
fn gantry(bench: &Bench, messages: u64) -> Outcome<Round> {
    let gantry = Gantry::start(&bench.gantry, &bench.scratch, "memory")?;
    fill(gantry.grpc, messages as usize)?;
    let (round, _) = round(&gantry.process, || drain(gantry.grpc, RECEIVES, messages))?;
    // The loader counted answers; the server must agree that nothing is left to anybody.
    let lag = http(gantry.http, "GET", "/v1/groups/bench/lag", "application/json", b"")?;
    let lag: serde_json::Value = serde_json::from_slice(&lag).map_err(|error| error.to_string())?;
    if lag["totalLag"].as_u64() != Some(0) || lag["inflight"].as_u64() != Some(0) {
        return Err(format!("failed: all was acked, and the lag is {lag}"));
    }
    Ok(round)
}

fn nats(bench: &Bench) -> Outcome<Side<'_>> {
    let server = NatsServer::start(&bench.scratch, false)?;
    Ok(Box::new(move |seconds| {
        let messages = seconds * PER_SECOND;
        Nats::connect(server.port)?.fill(NATS_IN_FLIGHT, messages)?;
        round(&server.process, || drain_nats(server.port, RECEIVES, messages)).map(|(round, _)| round)
    }))
}
