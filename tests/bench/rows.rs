//! The rows of the table: each is a goal, a shape of load, and whom Gantry is compared with.

use std::path::PathBuf;

use crate::loads::{self, BODY_BYTES, Calls, Load, Nats};
use crate::measure::{Pace, Round, Side, round, take_turns};
use crate::peers::{NatsServer, RedisServer};
use crate::server::{Gantry, Null, Outcome};
use crate::table::{Better, Reference, Row};
use crate::warm::WarmMemory;

pub mod apache;
mod backlog;
mod consume;
mod deep;
mod delivery;
mod end_to_end;
mod fanout;
mod footprint;
mod hostile;
mod store;

const GANTRY: &str = "Gantry";

/// Goals that have rows, in the table's order.
pub const GOALS: [&str; 27] = [
    "1", "2", "3", "4", "5", "9", "11", "12", "14", "15", "16", "17", "18", "19", "20", "21", "22", "append", "read",
    "filter", "settle", "timers", "durable", "curves", "growth", "hostile", APACHE,
];
/// Goals whose stores take a minute to make: a smoke run has them only by name.
pub const LONG_GOALS: [&str; 10] = ["15", "17", "18", "19", "20", "settle", "timers", "curves", "growth", "hostile"];
/// Needs Java and Maven: measured by name alone.
pub const APACHE: &str = "apache";
/// A stored message: its body, and about what its record and queue entry add.
const STORED_BYTES: u64 = BODY_BYTES as u64 + 150;
/// Sends at a fixed rate, where a row has such.
const PACED_PER_SECOND: u64 = 5_000;
/// Messages in each call of the batch rows.
const BATCH: u64 = 32;
/// Messages a NATS client has under way.
const NATS_IN_FLIGHT: u64 = 256;

/// What every row needs to know.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The program under measurement.
    pub gantry: PathBuf,
    pub scratch: PathBuf,
    pub console: PathBuf,
    pub pace: Pace,
    pub warm: WarmMemory,
}

impl Bench {
    pub fn measure(&self, goal: &str) -> Vec<Row> {
        match goal {
            "1" => self.grpc_single(),
            "2" => self.grpc_one_connection(),
            "3" => self.grpc_batch(),
            "4" => consume::consume(self),
            "5" => self.rest(),
            "9" => self.durable(),
            "11" => store::tail(self),
            "12" => end_to_end::end_to_end(self),
            "14" => footprint::idle_memory(self),
            "15" => backlog::many_queues(self),
            "16" => footprint::start(self),
            "17" => backlog::recovery(self),
            "18" => fanout::fanout(self),
            "19" => deep::depth(self),
            "20" => backlog::cold_read(self),
            "21" => footprint::size(self),
            "22" => consume::efficiency(self),
            "append" => store::append(self),
            "read" => store::read(self),
            "filter" => store::filter(self),
            "settle" => delivery::settle(self),
            "timers" => delivery::timers(self),
            "curves" => backlog::curves(self),
            "growth" => delivery::growth(self),
            "hostile" => hostile::hostile(self),
            "durable" => store::durable(self),
            APACHE => apache::apache(self),
            _ => Vec::new(),
        }
    }

    fn grpc_single(&self) -> Vec<Row> {
        let calls = Calls { connections: 4, streams: 64, messages: 1, latency: false };
        let rounds =
            take_turns(self.pace, &self.warm, vec![self.gantry_calls("memory", calls), self.null_calls(calls)]);
        let row = Row::new("1", "gRPC send, 4 connections x 64", "A", "msg/s", Better::Higher);
        vec![row.rates(&rounds[0]).against(Reference::of(&rounds[1], rate), 0.50, Some(0.75))]
    }

    fn grpc_one_connection(&self) -> Vec<Row> {
        let calls = Calls { connections: 1, streams: 64, messages: 1, latency: false };
        let rounds =
            take_turns(self.pace, &self.warm, vec![self.gantry_calls("memory", calls), self.null_calls(calls)]);
        let many = Row::new("2", "gRPC send, 1 connection x 64", "A", "msg/s", Better::Higher);
        let many = many.rates(&rounds[0]).against(Reference::of(&rounds[1], rate), 0.55, Some(0.75));

        let calls = Calls { connections: 1, streams: 1, messages: 1, latency: true };
        let rounds =
            take_turns(self.pace, &self.warm, vec![self.gantry_calls("memory", calls), self.null_calls(calls)]);
        let one = Row::new("2", "gRPC send, 1 connection x 1, p50", "A", "us", Better::Lower);
        let one = one.figures(&rounds[0], p50_us).against(Reference::of(&rounds[1], p50_us), 1.3, Some(1.15));
        vec![many, one]
    }

    fn grpc_batch(&self) -> Vec<Row> {
        let calls = Calls { connections: 4, streams: 8, messages: BATCH, latency: false };
        let sides = vec![self.gantry_calls("memory", calls), self.null_calls(calls), self.nats(false)];
        let rounds = take_turns(self.pace, &self.warm, sides);
        let row = || Row::new("3", "gRPC send, 32 in a call, 4 x 8", "A", "msg/s", Better::Higher).rates(&rounds[0]);
        vec![
            row().against(Reference::of(&rounds[1], rate), 0.25, Some(0.45)),
            row().against(Reference::of(&rounds[2], rate), 3.0, None),
        ]
    }

    fn rest(&self) -> Vec<Row> {
        let gantry = ServerSide::gantry(self, "memory").map(|mut side| -> Side<'_> {
            Box::new(move |seconds| side.round(seconds, |at, seconds| loads::wrk(at.http, &self.scratch, seconds)))
        });
        let null = Null::start("null-http", &self.scratch).map(|null| -> Side<'_> {
            Box::new(move |seconds| {
                round(&null.process, || loads::wrk(null.address, &self.scratch, seconds)).map(|(round, _)| round)
            })
        });
        let rounds = take_turns(self.pace, &self.warm, vec![(GANTRY, gantry), ("null axum", null)]);
        let row = Row::new("5", "REST publish, 64 connections", "A", "msg/s", Better::Higher);
        vec![row.rates(&rounds[0]).against(Reference::of(&rounds[1], rate), 0.60, Some(0.80))]
    }

    fn durable(&self) -> Vec<Row> {
        let calls = Calls { connections: 64, streams: 1, messages: 1, latency: false };
        let redis = RedisServer::start(&self.scratch).map(|mut redis| -> Side<'_> {
            let mut rate = 20_000.0;
            Box::new(move |seconds| {
                redis.empty()?;
                // It takes a count: as many as the last round's rate fills the time with.
                let requests = (rate * seconds as f64) as u64;
                let (round, load) = round(&redis.process, || loads::redis_benchmark(redis.port, requests))?;
                redis.holds(load.succeeded)?;
                rate = round.rate;
                Ok(round)
            })
        });
        let rounds = take_turns(
            self.pace,
            &self.warm,
            vec![self.gantry_calls("disk", calls), ("Redis, AOF always", redis), self.nats(true)],
        );
        let row = || Row::new("9", "gRPC send, 64 connections x 1", "D", "msg/s", Better::Higher).rates(&rounds[0]);
        vec![
            row().against(Reference::of(&rounds[1], rate), 0.8, Some(1.2)),
            row().against(Reference::of(&rounds[2], rate), 6.0, None),
        ]
    }

    fn request(&self, messages: u64) -> Outcome<PathBuf> {
        let path = self.scratch.join(format!("send-{messages}.bin"));
        loads::write_request(&path, messages)?;
        Ok(path)
    }

    fn gantry_calls(&self, level: &'static str, calls: Calls) -> (&'static str, Outcome<Side<'_>>) {
        let side = || -> Outcome<Side<'_>> {
            let request = self.request(calls.messages)?;
            let mut side = ServerSide::gantry(self, level)?;
            Ok(Box::new(move |seconds| {
                side.round(seconds, |at, seconds| loads::h2load(at.grpc, &request, calls, seconds))
            }))
        };
        (GANTRY, side())
    }

    fn null_calls(&self, calls: Calls) -> (&'static str, Outcome<Side<'_>>) {
        let side = || -> Outcome<Side<'_>> {
            let request = self.request(calls.messages)?;
            let null = Null::start("null-grpc", &self.scratch)?;
            Ok(Box::new(move |seconds| {
                round(&null.process, || loads::h2load(null.address, &request, calls, seconds)).map(|(round, _)| round)
            }))
        };
        ("null tonic", side())
    }

    /// JetStream on files, an empty stream for each round.
    fn nats(&self, durable: bool) -> (&'static str, Outcome<Side<'_>>) {
        let side = || -> Outcome<Side<'_>> {
            let server = NatsServer::start(&self.scratch, durable)?;
            Ok(Box::new(move |seconds| {
                let mut nats = Nats::connect(server.port)?;
                nats.create_stream()?;
                let (round, load) = round(&server.process, || nats.publish_for(NATS_IN_FLIGHT, seconds))?;
                nats.holds(load.succeeded)?;
                Ok(round)
            }))
        };
        (if durable { "NATS, fsync always" } else { "NATS, 256 in flight" }, side())
    }
}

/// A server that is asked after each round whether it holds what was acknowledged.
struct ServerSide<'a> {
    bench: &'a Bench,
    starting: Box<dyn Fn() -> Outcome<Gantry> + 'a>,
    server: Gantry,
    stored: u64,
}

impl<'a> ServerSide<'a> {
    fn start(bench: &'a Bench, starting: Box<dyn Fn() -> Outcome<Gantry> + 'a>) -> Outcome<ServerSide<'a>> {
        let server = starting()?;
        Ok(ServerSide { bench, starting, stored: server.stored()?, server })
    }

    fn gantry(bench: &'a Bench, level: &'static str) -> Outcome<ServerSide<'a>> {
        ServerSide::start(bench, Box::new(move || Gantry::start(&bench.gantry, &bench.scratch, level)))
    }

    fn round(&mut self, seconds: u64, load: impl Fn(&Gantry, u64) -> Outcome<Load>) -> Outcome<Round> {
        let pace = self.bench.pace;
        // The next round writes about what the last one did; nothing a row compares depends on how much lies there.
        if self.stored * STORED_BYTES > pace.store_bytes_max {
            self.server.stop();
            self.server = (self.starting)()?;
            load(&self.server, pace.warm_up_s)?;
            self.stored = self.server.stored()?;
        }
        let (round, load) = round(&self.server.process, || load(&self.server, seconds))?;
        let before = std::mem::replace(&mut self.stored, self.server.stored()?);
        let stored = self.stored - before;
        // Loaders count answers of HTTP; the store knows what they were worth. What was under way at the end may be
        // stored without having been counted.
        if stored < load.succeeded || stored > load.succeeded + load.in_flight_max {
            return Err(format!("failed: {} were acknowledged, {stored} are stored", load.succeeded));
        }
        Ok(round)
    }
}

fn rate(round: &Round) -> f64 {
    round.rate
}

fn p50_us(round: &Round) -> f64 {
    round.latency.map_or(f64::NAN, |latency| latency.p50_us)
}
