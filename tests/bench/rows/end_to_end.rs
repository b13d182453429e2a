//! Goal 12: how long a message takes from its producer to a consumer that waits for it, beside NATS' push consumer.

use super::store::latency;
use super::{Bench, GANTRY};
use crate::loads::Load;
use crate::loads::end_to_end::{Flow, over_grpc, through_nats};
use crate::measure::{Latency, Pace, Round, Side, round, take_turns};
use crate::peers::NatsServer;
use crate::server::{Gantry, Outcome, Process};
use crate::table::{Better, Reference, Row};

const PER_SECOND: u64 = 10_000;
/// Five rounds are a minute: of fewer messages one in a thousand is no tail.
const FULL_ROUND_S: u64 = 12;

pub fn end_to_end(bench: &Bench) -> Vec<Row> {
    let pace = Pace { round_s: if bench.pace.quick { bench.pace.round_s } else { FULL_ROUND_S }, ..bench.pace };
    let flow = |seconds| Flow { per_second: PER_SECOND, seconds };
    let gantry: Side<'_> = Box::new(|seconds| {
        let server = Gantry::start(&bench.gantry, &bench.scratch, "memory")?;
        timed(&server.process, || over_grpc(server.grpc, flow(seconds)))
    });
    let nats = NatsServer::start(&bench.scratch, false).map(|server| -> Side<'_> {
        Box::new(move |seconds| timed(&server.process, || through_nats(server.port, flow(seconds))))
    });
    let rounds = take_turns(pace, &bench.warm, vec![(GANTRY, Ok(gantry)), ("NATS, push", nats)]);
    let row = |what: &str, value: fn(&Round) -> f64, bar, moon| {
        let row = Row::new("12", &format!("end to end at {PER_SECOND}/s, {what}"), "A", "us", Better::Lower);
        row.figures(&rounds[0], value).against(Reference::of(&rounds[1], value), bar, Some(moon))
    };
    vec![
        row("p50", |round| latency(round).p50_us, 1.5, 1.1),
        row("p99", |round| latency(round).p99_us, 1.2, 0.7),
        row("p99.9", |round| latency(round).p999_us, 1.0, 0.5),
    ]
}

fn timed(process: &Process, load: impl FnOnce() -> Outcome<(Load, Latency)>) -> Outcome<Round> {
    let mut latency = None;
    let (round, _) = round(process, || {
        let (load, found) = load()?;
        latency = Some(found);
        Ok(load)
    })?;
    Ok(Round { latency, ..round })
}
