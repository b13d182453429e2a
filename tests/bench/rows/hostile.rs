//! What a well-behaved client notices of a hostile peer: the p99 of its sends with one at its server, with one at another
//! server of the same machine, which is what the machine makes of so much work beside it, and without any.

use std::time::Duration;

use harness::hostile::Peer;

use super::{Bench, GANTRY};
use crate::loads::generator;
use crate::loads::hostile::{AtWork, PEERS};
use crate::measure::{Pace, Round, Side, take_turns};
use crate::server::{Gantry, Outcome};
use crate::table::{Better, Reference, Row};

/// What the well-behaved client sends.
const PER_SECOND: u64 = 1_000;
const P99_RATIO_MAX: f64 = 3.0;
/// Eleven sides take turns: in rounds of so long, with so much between them, all of it takes four minutes.
const ROUND_S_MAX: u64 = 3;
const SETTLE_MAX: Duration = Duration::from_millis(500);

pub fn hostile(bench: &Bench) -> Vec<Row> {
    let server = || Gantry::start(&bench.gantry, &bench.scratch, "memory");
    let (here, elsewhere) = (server(), server());
    let side = |at_work: Option<(Peer, &Outcome<Gantry>)>| -> Outcome<Side<'_>> {
        let address = here.as_ref().map_err(Clone::clone)?.grpc;
        let at_work = match at_work {
            Some((peer, server)) => Some((peer, server.as_ref().map_err(Clone::clone)?.grpc)),
            None => None,
        };
        Ok(Box::new(move |seconds| {
            let _at_work = at_work.map(|(peer, address)| AtWork::start(peer, address));
            generator::paced(&bench.gantry, address, PER_SECOND, seconds)
        }))
    };
    let mut sides = vec![("alone", side(None))];
    for peer in PEERS {
        sides.push((GANTRY, side(Some((peer, &here)))));
        sides.push(("at another server", side(Some((peer, &elsewhere)))));
    }
    let (round_s, settle) = (bench.pace.round_s.min(ROUND_S_MAX), bench.pace.settle.min(SETTLE_MAX));
    let pace = Pace { round_s, settle, warm_up_s: 1, ..bench.pace };
    let rounds = take_turns(pace, &bench.warm, sides);
    let p99_us = |round: &Round| round.latency.map_or(f64::NAN, |latency| latency.p99_us);
    let alone = Reference::of(&rounds[0], p99_us);
    let rows = PEERS.into_iter().zip(rounds[1..].chunks(2)).flat_map(|(peer, sides)| {
        let row = |at: &str| {
            Row::new("hostile", &format!("{PER_SECOND} sends/s, p99, {at}{}", peer.name()), "A", "us", Better::Lower)
        };
        [
            row("beside ").figures(&sides[0], p99_us).against(alone.clone(), P99_RATIO_MAX, None),
            row("at another server ").figures(&sides[1], p99_us).beside(alone.clone()),
        ]
    });
    rows.collect()
}
