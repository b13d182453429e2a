//! Goal 18: a hundred thousand receives wait, beside a null server's; then one is woken, then all.

use std::cell::RefCell;

use super::{Bench, GANTRY, rate};
use crate::loads::fanout::{CALLS, Waited, Woken, topics, wait, wait_and_wake};
use crate::measure::{Figure, Pace, Round, take_turns};
use crate::server::{Gantry, Null, Outcome, http};
use crate::table::{Better, Reference, Row};

const IDLE_PERCENT_MAX: f64 = 2.0;
const WAKE_ONE_MS_MAX: f64 = 2.0;
const WAKE_ALL_S_MAX: f64 = 3.0;
const KIB: f64 = 1024.0;

pub fn fanout(bench: &Bench) -> Vec<Row> {
    // A round is as long as it takes.
    let pace = Pace { rounds: bench.pace.rounds.min(3), ..bench.pace };
    let found = RefCell::new(Vec::new());
    let gantry = |_| -> Outcome<Round> {
        let server = Gantry::start_bare(&bench.gantry, &bench.scratch, "memory")?;
        for topic in topics() {
            let config = br#"{"readQueues":1,"writeQueues":1}"#;
            http(server.http, "PUT", &format!("/v1/topics/{topic}"), "application/json", config)?;
        }
        let (waited, woken) = wait_and_wake(server.grpc, &server.process)?;
        found.borrow_mut().push((waited, woken));
        Ok(Round::new(waited.bytes_per_call))
    };
    let null = |_| {
        let null = Null::start("null-grpc", &bench.scratch)?;
        Ok(Round::new(wait(null.address, &null.process)?.bytes_per_call))
    };
    let sides = vec![(GANTRY, Ok(Box::new(gantry) as _)), ("null tonic", Ok(Box::new(null) as _))];
    let rounds = take_turns(pace, &bench.warm, sides);
    // The first was the warm-up.
    let found: Vec<(Waited, Woken)> = found.into_inner().into_iter().skip(1).collect();
    let figure = |value: fn(&(Waited, Woken)) -> f64| match &rounds[0].rounds {
        Ok(_) => Ok(Figure::of(found.iter().map(value))),
        Err(error) => Err(error.clone()),
    };
    let row = |what: &str, unit| Row::new("18", &format!("{CALLS} receives wait: {what}"), "A", unit, Better::Lower);
    let kib = |round: &Round| rate(round) / KIB;
    vec![
        row("memory of each", "KiB").figures(&rounds[0], kib).against(Reference::of(&rounds[1], kib), 1.5, Some(1.0)),
        row("CPU, of a core", "%").figure(figure(|(waited, _)| waited.idle_percent)).against(
            Reference::limit(IDLE_PERCENT_MAX),
            1.0,
            Some(0.25),
        ),
        row("waking one, p99", "ms").figure(figure(|(_, woken)| woken.one_p99_us / 1e3)).against(
            Reference::limit(WAKE_ONE_MS_MAX),
            1.0,
            Some(0.5),
        ),
        row("waking all, a message to each of 1,000 topics", "s").figure(figure(|(_, woken)| woken.all_s)).against(
            Reference::limit(WAKE_ALL_S_MAX),
            1.0,
            Some(1.0 / 3.0),
        ),
    ]
}
