//! What a well-behaved client notices of a hostile peer: the p99 of its sends with and without one.

use super::Bench;
use crate::loads::generator;
use crate::loads::hostile::{AtWork, Peer};
use crate::measure::{Round, Side, take_turns};
use crate::server::{Gantry, Outcome};
use crate::table::{Better, Reference, Row};

/// What the well-behaved client sends.
const PER_SECOND: u64 = 1_000;
const P99_RATIO_MAX: f64 = 3.0;

pub fn hostile(bench: &Bench) -> Vec<Row> {
    let p99_us = |round: &Round| round.latency.map_or(f64::NAN, |latency| latency.p99_us);
    let rows = Peer::ALL.into_iter().map(|peer| {
        let server = Gantry::start(&bench.gantry, &bench.scratch, "memory");
        let side = |peer: Option<Peer>| -> Outcome<Side<'_>> {
            let address = server.as_ref().map_err(Clone::clone)?.grpc;
            Ok(Box::new(move |seconds| {
                let _at_work = peer.map(|peer| AtWork::start(peer, address));
                generator::paced(&bench.gantry, address, PER_SECOND, seconds)
            }))
        };
        let rounds = take_turns(bench.pace, &bench.warm, vec![("beside it", side(Some(peer))), ("alone", side(None))]);
        let shape = format!("{PER_SECOND} sends a second beside {}, p99", peer.name());
        let row = Row::new("hostile", &shape, "A", "us", Better::Lower).figures(&rounds[0], p99_us);
        row.against(Reference::of(&rounds[1], p99_us), P99_RATIO_MAX, None)
    });
    rows.collect()
}
