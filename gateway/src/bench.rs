//! `gantry bench`: a load generator for this server and for every other that speaks one of its protocols.
//!
//! It cannot flatter. A rate is a promise: each message has a moment at which it was meant to leave, and its latency
//! counts from there however late it left, so a server that stalls pays for everything it kept waiting. What failed is
//! counted by its code and never as a success; what was confirmed and not delivered is missing, and the run has failed.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use gantry_broker_core::random::{Random as _, SystemRandom};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::role::Ended;
use crate::transport::limits::raise_open_files;
use client::Failure;
use ledger::Ledger;
use plan::{Flags, Plan, Protocol, RECEIVE_BATCH_MAX, Shape};
use report::{Percentiles, Report, tenths};
use run::{Interrupt, Outcome, execute};

mod client;
mod consumer;
mod grpc;
mod http;
mod ledger;
mod outbox;
pub mod pace;
pub mod plan;
mod producer;
mod progress;
pub mod report;
mod run;
mod stamp;
mod tally;
mod wire;

/// A connection that takes longer than this will not come.
const DIAL_MAX: Duration = Duration::from_secs(10);
/// Filling a topic: as fast as it goes without a rate to keep.
const PREFILL_IN_FLIGHT: usize = 8;
const PREFILL_DURATION_MAX: Duration = Duration::from_secs(3_600);
const PREFILL_CALL_BYTES_MAX: usize = 1 << 20;

/// Runs what the command line asks for and prints what came of it. 0: all well; 1: something failed, is missing or came
/// twice; 2: not a run that can be made.
pub fn run(flags: Flags) -> ExitCode {
    let plan = match flags.plan() {
        Ok(plan) => plan,
        Err(error) => {
            complain(&error.to_string());
            return Ended::Usage.into();
        }
    };
    match measured(&plan) {
        Ok(Measured { report, first_failure, foreign }) => {
            let text = match plan.json {
                true => serde_json::to_string(&report).expect("a report is plain values") + "\n",
                false => report.to_string(),
            };
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            if let Some(failure) = first_failure {
                complain(&format!("the first failure: {}", advice(&failure, &plan)));
            }
            if foreign > 0 && plan.shape != Shape::Receive {
                let foreign = crate::numbers::grouped(foreign as f64);
                complain(&format!(
                    "{foreign} messages of others were delivered as well and stood before those that were measured: \
                     name a --topic that is empty, or a --group that has consumed it"
                ));
            }
            if report.is_clean() { ExitCode::SUCCESS } else { Ended::Error.into() }
        }
        Err(failure) => {
            complain(&advice(&failure, &plan));
            Ended::Error.into()
        }
    }
}

struct Measured {
    report: Report,
    first_failure: Option<Failure>,
    /// Deliveries of what this run has not sent.
    foreign: u64,
}

fn measured(plan: &Plan) -> Result<Measured, Failure> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::connection)?;
    runtime.block_on(async {
        let interrupt = Interrupt::default();
        let interrupted = interrupt.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                interrupted.add();
            }
        });
        create_topic(plan).await?;
        let mut id = [0; 4];
        SystemRandom.fill(&mut id);
        let id = u32::from_le_bytes(id);
        let ledger = match plan.shape {
            Shape::Send => None,
            Shape::Receive if plan.prefill == 0 => None,
            Shape::Receive => Some(prefilled(plan, id, &interrupt).await?),
            Shape::Mixed | Shape::Fanout => Some(Ledger::new(plan.groups)),
        };
        let outcome = execute(plan, id, ledger, &interrupt).await?;
        Ok(report(plan, outcome))
    })
}

async fn create_topic(plan: &Plan) -> Result<(), Failure> {
    let Some(address) = &plan.http_address else { return Ok(()) };
    let mut caller = http::Caller::connect(plan, address).await?;
    match caller.create_topic(&plan.topic, plan.queues).await {
        // A server that only takes messages has no topics to make.
        Err(failure) if plan.protocol == Protocol::Http && failure.code.starts_with("http_4") => Ok(()),
        created => created,
    }
}

/// Sends what is to be received.
async fn prefilled(plan: &Plan, id: u32, interrupt: &Interrupt) -> Result<Ledger, Failure> {
    let filling = Plan {
        shape: Shape::Send,
        batch: RECEIVE_BATCH_MAX.min(PREFILL_CALL_BYTES_MAX / plan.size).max(1),
        connections: 1,
        in_flight: if plan.protocol == Protocol::Http { 1 } else { PREFILL_IN_FLIGHT },
        threads: 1,
        messages: Some(plan.prefill),
        warm_up: Duration::ZERO,
        duration: PREFILL_DURATION_MAX,
        ..plan.clone()
    };
    let outcome = execute(&filling, id, Some(Ledger::new(1)), interrupt).await?;
    match outcome.tally.first_failure {
        Some(failure) => Err(failure),
        None => Ok(outcome.ledger.expect("it was given one")),
    }
}

fn report(plan: &Plan, outcome: Outcome) -> Measured {
    let Outcome { mut tally, ledger, seconds, cpu } = outcome;
    let found = ledger.as_ref().map_or(0, |ledger| ledger.missing());
    if let Some(parked) = plan.parked.map(|parked| parked as u64)
        && tally.wake.len() + found < parked
    {
        let unanswered = parked - tally.wake.len() - found;
        tally.fail(Failure::answer("poll_unanswered", "a parked poll got no message"), unanswered);
    }
    let per_second = |count: u64| if seconds > 0.0 { tenths(count as f64 / seconds) } else { 0.0 };
    let cpu_us = cpu.as_secs_f64() * 1e6;
    let report = Report {
        command: plan.shape,
        protocol: plan.protocol,
        address: plan.address.clone(),
        message_bytes: plan.size,
        batch: plan.batch,
        connections: plan.connections_in_all(),
        in_flight: plan.in_flight,
        threads: plan.threads,
        target_rate: plan.rate,
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        seconds: (seconds * 1e6).round() / 1e6,
        messages: tally.messages,
        calls: tally.calls,
        messages_per_second: per_second(tally.messages),
        calls_per_second: per_second(tally.calls),
        bytes_per_second: per_second(tally.bytes),
        errors: tally.errors.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        late: tally.late,
        sent: tally.sent,
        received: tally.received,
        missing: ledger.as_ref().map(Ledger::missing),
        duplicates: ledger.as_ref().map(Ledger::duplicates),
        latency_us: Percentiles::of(&tally.latency),
        end_to_end_us: Percentiles::of(&tally.end_to_end),
        wake_us: Percentiles::of(&tally.wake),
        loader_cpu_us_per_message: (tally.messages > 0).then(|| (cpu_us / tally.messages as f64 * 1e3).round() / 1e3),
    };
    Measured { report, first_failure: tally.first_failure, foreign: tally.foreign }
}

/// Connects; answers shall not wait for those before them to be confirmed.
async fn dial(address: &str) -> Result<TcpStream, Failure> {
    let socket = match timeout(DIAL_MAX, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(Failure::connection(format!(
                "nothing listens at {address}: start a server there (gantry serves HTTP on 8080 and gRPC on 8081), or \
                 name another with --address"
            )));
        }
        Ok(Err(error)) => return Err(Failure::connection(format!("cannot connect to {address}: {error}"))),
        Err(_) => return Err(Failure::connection(format!("cannot connect to {address}: no answer in {DIAL_MAX:?}"))),
    };
    socket.set_nodelay(true).map_err(Failure::connection)?;
    Ok(socket)
}

/// A failure, and what to do about it.
fn advice(failure: &Failure, plan: &Plan) -> String {
    let Failure { code, detail, .. } = failure;
    match code.as_ref() {
        "connection" => detail.clone(),
        "TOPIC_NOT_FOUND" | "topic_not_found" => {
            let topic = &plan.topic;
            format!(
                "{code}: {}: there is no topic '{topic}': add --http-address HOST:PORT to have it created, or create it \
                 with curl -X PUT http://HOST:PORT/v1/topics/{topic}",
                plan.address
            )
        }
        _ => format!("{code}: {detail}"),
    }
}

/// On stderr, unless it cannot be written: the exit code still tells.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "gantry bench: {text}");
}
