//! The command line of `gantry bench`, and the checked plan that follows from it.

use std::fmt;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::stamp::STAMP_LEN;

/// Most messages one receiving call can ask of a RocketMQ server.
pub const RECEIVE_BATCH_MAX: usize = 32;
/// Most messages of one sending call.
const SEND_BATCH_MAX: usize = 1_024;
/// Largest body, and largest sum of bodies in one call.
const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;
const CONNECTIONS_MAX: usize = 65_536;
const IN_FLIGHT_MAX: usize = 4_096;
const THREADS_MAX: usize = 64;
/// Most messages of one run that are kept account of: a bit each, twice.
const MESSAGES_MAX: u64 = 1 << 32;
/// A server waits no longer, whatever it is asked.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    Send,
    Receive,
    Mixed,
    Fanout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RocketMQ's own, apache.rocketmq.v2: Gantry, or Apache's proxy
    Grpc,
    /// Gantry's REST API over HTTP/1.1
    Http,
}

/// What becomes of received messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ack {
    /// One call acknowledges what one receiving call brought
    Batch,
    /// One call for each message
    Each,
    /// Never: they come back once their lease is over
    None,
}

/// A load generator: measures this server, or any other that speaks one of its protocols.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(subcommand)]
    shape: ShapeFlags,
}

#[derive(Debug, Subcommand)]
enum ShapeFlags {
    /// Producers only: how fast, how soon confirmed
    Send {
        #[command(flatten)]
        load: Load,
    },
    /// Consumers only: drains a topic that was filled first
    Receive {
        #[command(flatten)]
        load: Load,
        /// Messages sent before anything is measured
        #[arg(long, default_value_t = 0, value_name = "COUNT")]
        prefill: u64,
        /// What becomes of received messages
        #[arg(long, value_enum, default_value_t = Ack::Batch)]
        ack: Ack,
    },
    /// Producers and long-polling consumers together: end-to-end latency, nothing missing, nothing twice
    Mixed {
        #[command(flatten)]
        load: Load,
        /// Connections of consumers [default: as many as producers have]
        #[arg(long, value_name = "COUNT")]
        consumers: Option<usize>,
        /// Polls at once on one consumer's connection
        #[arg(long, default_value_t = 1, value_name = "COUNT")]
        polls: usize,
        /// What becomes of received messages
        #[arg(long, value_enum, default_value_t = Ack::Batch)]
        ack: Ack,
    },
    /// One producer and many consumer groups, or many parked polls that get one message each
    Fanout {
        #[command(flatten)]
        load: Load,
        /// Consumer groups: each gets every message
        #[arg(long, default_value_t = 1, value_name = "COUNT")]
        groups: usize,
        /// Parks this many polls over the consumers' connections for the warm-up, then wakes each with one message
        #[arg(long, value_name = "COUNT")]
        parked: Option<usize>,
        /// Connections of consumers [default over grpc: 1 for 100 polls; over http: 1 for each poll]
        #[arg(long, value_name = "COUNT")]
        consumers: Option<usize>,
    },
}

#[derive(Debug, Args)]
struct Load {
    /// What to speak
    #[arg(long, value_enum, default_value_t = Protocol::Grpc)]
    protocol: Protocol,
    /// The server [default: 127.0.0.1:8081 over grpc, 127.0.0.1:8080 over http]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Gantry's HTTP address: creates the topic first. Known already over http
    #[arg(long, value_name = "HOST:PORT")]
    http_address: Option<String>,
    /// [default: gantry-bench; mixed and fanout: gantry-bench-mixed and gantry-bench-fanout]
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Consumer group; `fanout` numbers its groups after it
    #[arg(long, default_value = "gantry-bench", value_name = "NAME")]
    group: String,
    /// Message queues of a topic that is created
    #[arg(long, default_value_t = 8, value_name = "COUNT")]
    queues: u32,
    /// Messages a second, each timed from its intended moment [default: as fast as the calls in flight allow]
    #[arg(long, value_name = "NUMBER")]
    rate: Option<f64>,
    /// Bytes of a body
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// Messages of one sending call; in `receive`, of one receiving call [default: 1; receive: 32]
    #[arg(long, value_name = "COUNT")]
    batch: Option<usize>,
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    connections: usize,
    /// Calls at once on one connection [default: 16 over grpc; over http always 1]
    #[arg(long, value_name = "COUNT")]
    in_flight: Option<usize>,
    /// Not measured, at the beginning
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "TIME")]
    warm_up: Duration,
    /// Measured
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    duration: Duration,
    /// Ends the sending after this many messages, if the time is not over before
    #[arg(long, value_name = "COUNT")]
    messages: Option<u64>,
    /// Longest wait of a poll
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "TIME")]
    wait: Duration,
    /// A call without an answer for so long has failed; a poll's wait comes on top
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
    /// Threads of this program [default: half the cores, one at least]
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// A run, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    pub shape: Shape,
    pub protocol: Protocol,
    pub address: String,
    /// Where a topic can be created.
    pub http_address: Option<String>,
    pub topic: String,
    pub group: String,
    pub queues: u32,
    pub rate: Option<f64>,
    pub size: usize,
    pub batch: usize,
    /// Producers' connections; in `receive` the consumers'.
    pub connections: usize,
    pub in_flight: usize,
    /// Consumers' connections beside the producers'.
    pub consumers: usize,
    pub polls: usize,
    pub groups: usize,
    pub parked: Option<usize>,
    pub prefill: u64,
    pub ack: Ack,
    pub warm_up: Duration,
    pub duration: Duration,
    pub messages: Option<u64>,
    pub wait: Duration,
    pub timeout: Duration,
    pub threads: usize,
    pub json: bool,
}

/// A command line that cannot be run, in words that say how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

impl Flags {
    pub fn plan(self) -> Result<Plan, PlanError> {
        let plan = match self.shape {
            ShapeFlags::Send { load } => Plan::new(Shape::Send, load),
            ShapeFlags::Receive { load, prefill, ack } => Plan { prefill, ack, ..Plan::new(Shape::Receive, load) },
            ShapeFlags::Mixed { load, consumers, polls, ack } => {
                let plan = Plan::new(Shape::Mixed, load);
                Plan { consumers: consumers.unwrap_or(plan.connections), polls, ack, ..plan }
            }
            ShapeFlags::Fanout { load, groups, parked, consumers } => {
                let plan = Plan::new(Shape::Fanout, load);
                let polls = parked.unwrap_or(groups);
                let wanted = match plan.protocol {
                    Protocol::Grpc => consumers.unwrap_or(polls.div_ceil(100)),
                    Protocol::Http => consumers.unwrap_or(polls),
                };
                let consumers = wanted.max(1);
                Plan { groups, parked, consumers, polls: polls.div_ceil(consumers), ..plan }
            }
        };
        plan.check()?;
        Ok(plan)
    }
}

impl Plan {
    fn new(shape: Shape, load: Load) -> Plan {
        let http = load.protocol == Protocol::Http;
        let default = if http { "127.0.0.1:8080" } else { "127.0.0.1:8081" };
        let address = load.address.unwrap_or_else(|| default.into());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Plan {
            shape,
            protocol: load.protocol,
            http_address: load.http_address.or_else(|| http.then(|| address.clone())),
            address,
            topic: load.topic.unwrap_or_else(|| match shape {
                Shape::Send | Shape::Receive => "gantry-bench".into(),
                // What others have left there would be delivered first and stand before what is timed.
                Shape::Mixed | Shape::Fanout => format!("gantry-bench-{shape}"),
            }),
            group: load.group,
            queues: load.queues,
            rate: load.rate,
            size: load.size,
            batch: load.batch.unwrap_or(if shape == Shape::Receive { RECEIVE_BATCH_MAX } else { 1 }),
            connections: load.connections,
            in_flight: load.in_flight.unwrap_or(if http { 1 } else { 16 }),
            consumers: 0,
            polls: 0,
            groups: 1,
            parked: None,
            prefill: 0,
            ack: Ack::Batch,
            warm_up: load.warm_up,
            duration: load.duration,
            messages: load.messages,
            wait: load.wait,
            timeout: load.timeout,
            threads: load.threads.unwrap_or(cores / 2).max(1),
            json: load.json,
        }
    }

    fn check(&self) -> Result<(), PlanError> {
        let refuse = |text: String| Err(PlanError(text));
        let between = |name: &str, value: u64, min: u64, max: u64| match (min..=max).contains(&value) {
            true => Ok(()),
            false => Err(PlanError(format!("--{name} must be {min} to {max}, not {value}"))),
        };
        for address in [Some(&self.address), self.http_address.as_ref()].into_iter().flatten() {
            if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
                return refuse(format!("'{address}' is not HOST:PORT"));
            }
        }
        between("connections", self.connections as u64, 1, CONNECTIONS_MAX as u64)?;
        between("in-flight", self.in_flight as u64, 1, IN_FLIGHT_MAX as u64)?;
        between("threads", self.threads as u64, 1, THREADS_MAX as u64)?;
        between("queues", self.queues.into(), 1, 1_024)?;
        let receives_only = self.shape == Shape::Receive;
        between("batch", self.batch as u64, 1, if receives_only { RECEIVE_BATCH_MAX } else { SEND_BATCH_MAX } as u64)?;
        // Every body tells which message it is.
        between("size", self.size as u64, STAMP_LEN as u64, CALL_BYTES_MAX as u64)?;
        if self.size * self.batch > CALL_BYTES_MAX {
            return refuse(format!(
                "--batch {} of --size {} is more than the {CALL_BYTES_MAX} bytes one call may carry",
                self.batch, self.size
            ));
        }
        if self.protocol == Protocol::Http && (self.in_flight != 1 || self.polls > 1) {
            return refuse("over http a connection carries one call at a time: use more --connections instead".into());
        }
        if self.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return refuse("--rate must be a number above 0".into());
        }
        if self.rate.is_some() && receives_only {
            return refuse("receive has no --rate: it takes what is there; `mixed --rate` sends and receives".into());
        }
        if self.messages.is_some_and(|messages| !(1..=MESSAGES_MAX).contains(&messages)) {
            return refuse(format!("--messages must be 1 to {MESSAGES_MAX}"));
        }
        between("prefill", self.prefill, 0, MESSAGES_MAX)?;
        if self.wait > WAIT_MAX || self.wait.subsec_nanos() != 0 && self.protocol == Protocol::Http {
            return refuse("--wait must be at most 30s, over http in whole seconds".into());
        }
        if self.duration.is_zero() || self.timeout.is_zero() {
            return refuse("--duration and --timeout must be more than 0s".into());
        }
        if self.shape == Shape::Fanout {
            between("groups", self.groups as u64, 1, 1_024)?;
            let parked = self.parked.unwrap_or(self.groups);
            if parked == 0 || !parked.is_multiple_of(self.groups) {
                return refuse(format!(
                    "--parked must be a multiple of --groups {}: each group gets as many",
                    self.groups
                ));
            }
            if self.parked.is_some() && self.batch != 1 {
                return refuse("--parked sends one message for each poll: leave out --batch".into());
            }
        }
        if matches!(self.shape, Shape::Mixed | Shape::Fanout) {
            between("consumers", self.consumers as u64, 1, CONNECTIONS_MAX as u64)?;
            between("polls", self.polls as u64, 1, IN_FLIGHT_MAX as u64)?;
        }
        Ok(())
    }

    pub fn connections_in_all(&self) -> usize {
        self.connections + self.consumers
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Shape::Send => "send",
            Shape::Receive => "receive",
            Shape::Mixed => "mixed",
            Shape::Fanout => "fanout",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        })
    }
}

/// A bare number would leave the unit to guessing.
fn duration(text: &str) -> Result<Duration, String> {
    crate::duration::parse(text).map_err(|reason| format!("'{text}' {reason}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.flags.plan().map_err(|error| error.to_string())
    }

    #[test]
    fn each_protocol_has_its_defaults() {
        let grpc = plan("send").unwrap();
        assert_eq!((grpc.address.as_str(), grpc.in_flight, grpc.http_address), ("127.0.0.1:8081", 16, None));
        let http = plan("send --protocol http --address [::1]:80").unwrap();
        assert_eq!((http.in_flight, http.http_address.as_deref()), (1, Some("[::1]:80")));
        assert_eq!(plan("receive").unwrap().batch, 32);
        let mixed = plan("mixed --connections 3").unwrap();
        assert_eq!((mixed.consumers, mixed.polls, mixed.connections_in_all()), (3, 1, 6));
    }

    #[test]
    fn parked_polls_are_spread() {
        let grpc = plan("fanout --parked 10000").unwrap();
        assert_eq!((grpc.consumers, grpc.polls), (100, 100));
        let http = plan("fanout --protocol http --parked 200").unwrap();
        assert_eq!((http.consumers, http.polls), (200, 1));
        let groups = plan("fanout --groups 5 --consumers 2").unwrap();
        assert_eq!((groups.consumers, groups.polls, groups.parked), (2, 3, None));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_flag_to_mend() {
        for (line, word) in [
            ("send --connections 0", "--connections"),
            ("send --size 8", "--size"),
            ("send --size 1048576 --batch 5", "--batch"),
            ("send --rate 0", "--rate"),
            ("send --rate inf", "--rate"),
            ("send --address nowhere", "HOST:PORT"),
            ("send --address a:99999", "HOST:PORT"),
            ("send --protocol http --in-flight 2", "--connections"),
            ("send --duration 10", "has no unit"),
            ("send --duration 0s", "--duration"),
            ("receive --rate 5", "mixed"),
            ("receive --batch 33", "--batch"),
            ("mixed --polls 0", "--polls"),
            ("fanout --groups 3 --parked 100", "--groups"),
            ("fanout --parked 0", "--parked"),
            ("fanout --groups 0", "--groups"),
            ("mixed --wait 31s", "--wait"),
            ("--protocol amqp send", "--protocol"),
        ] {
            let refused = plan(line).expect_err(line);
            assert!(refused.contains(word), "{line}: {refused}");
        }
    }

    #[test]
    fn times_have_units() {
        let read = |text| duration(text).map(|time| time.as_millis());
        assert_eq!((read("250ms"), read("1.5s"), read("2m")), (Ok(250), Ok(1_500), Ok(120_000)));
        for text in ["", "5", "s", "-1s", "nans", "1w"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
