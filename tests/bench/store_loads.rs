//! Loads for the store alone: the broker without its servers, in a process of its own that says what it took.
//!
//! `bench store LOAD DIR [NUMBERS]` runs one of them and prints `done` and a line of JSON.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry_broker_core::broker::{PullMessages, PutWhen, SendMessage, SendMessages, TopicConfig};
use gantry_broker_core::clock::{SystemClock, Timestamp};
use gantry_broker_core::config::Durability;
use gantry_broker_core::local_broker::Surroundings;
use gantry_broker_core::message::Message;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::{Broker, BrokerConfig, LocalBroker};
use serde::{Deserialize, Serialize};

use crate::loads::BODY_BYTES;
use crate::server::Outcome;

const QUEUES: u32 = 8;
/// Messages of one pull, as consumers ask for them.
const PULL: u32 = 32;
/// What a record adds to a body of 1 KiB here.
const RECORD_BYTES: usize = BODY_BYTES + 170;
/// Runtimes of one thread each, as the server has them.
const WORKERS: usize = 2;
/// The probe of the disk writes over the same stretch again and again, as large as a part of a segment.
const PROBE_BYTES: usize = 64 << 20;
static BODY: [u8; BODY_BYTES] = [7; BODY_BYTES];

/// A load, as the parent names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreLoad {
    /// One thread appends at `memory`, so many messages in a call.
    Append { batch: usize, messages: usize },
    /// One thread pulls everything that `messages` sends of 1 KiB left, queue by queue.
    Read { messages: usize, seconds: u64 },
    /// Senders at `disk`, each with one call under way.
    Durable { senders: usize, batch: usize, seconds: u64 },
    /// Single sends at `disk` at a fixed rate, whatever becomes of them.
    Paced { per_second: u64, seconds: u64 },
    /// No Gantry: writes of so many bytes, each with its fdatasync, into reserved blocks.
    Syncs { bytes: usize, seconds: u64 },
}

/// What a load took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// Messages; syncs where there is no Gantry.
    pub operations: u64,
    pub seconds: f64,
    /// Of the whole process.
    pub cpu_us: f64,
    /// Of the thread that called, where there is one.
    pub caller_cpu_us: f64,
    /// Of one call.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl StoreLoad {
    pub fn arguments(self) -> Vec<String> {
        let (name, numbers) = match self {
            StoreLoad::Append { batch, messages } => ("append", vec![batch as u64, messages as u64]),
            StoreLoad::Read { messages, seconds } => ("read", vec![messages as u64, seconds]),
            StoreLoad::Durable { senders, batch, seconds } => ("durable", vec![senders as u64, batch as u64, seconds]),
            StoreLoad::Paced { per_second, seconds } => ("paced", vec![per_second, seconds]),
            StoreLoad::Syncs { bytes, seconds } => ("syncs", vec![bytes as u64, seconds]),
        };
        std::iter::once(name.to_owned()).chain(numbers.iter().map(u64::to_string)).collect()
    }

    fn parse(arguments: &[String]) -> Option<StoreLoad> {
        let (name, numbers) = arguments.split_first()?;
        let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().ok()).collect::<Option<_>>()?;
        match (name.as_str(), numbers[..].as_ref()) {
            ("append", &[batch, messages]) => {
                Some(StoreLoad::Append { batch: batch as usize, messages: messages as usize })
            }
            ("read", &[messages, seconds]) => Some(StoreLoad::Read { messages: messages as usize, seconds }),
            ("durable", &[senders, batch, seconds]) => {
                Some(StoreLoad::Durable { senders: senders as usize, batch: batch as usize, seconds })
            }
            ("paced", &[per_second, seconds]) => Some(StoreLoad::Paced { per_second, seconds }),
            ("syncs", &[bytes, seconds]) => Some(StoreLoad::Syncs { bytes: bytes as usize, seconds }),
            _ => None,
        }
    }
}

/// The child's side: `DIR LOAD NUMBERS`.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let (dir, load) = arguments.split_first().ok_or("store: which directory?")?;
    let dir = PathBuf::from(dir);
    let done = match StoreLoad::parse(load).ok_or("store: which load?")? {
        StoreLoad::Append { batch, messages } => append(&dir, batch, messages),
        StoreLoad::Read { messages, seconds } => read(&dir, messages, Duration::from_secs(seconds)),
        StoreLoad::Durable { senders, batch, seconds } => durable(&dir, senders, batch, Duration::from_secs(seconds)),
        StoreLoad::Paced { per_second, seconds } => paced(&dir, per_second, Duration::from_secs(seconds)),
        StoreLoad::Syncs { bytes, seconds } => syncs(&dir, bytes, Duration::from_secs(seconds)),
    }?;
    println!("done {}", serde_json::to_string(&done).map_err(|error| error.to_string())?);
    Ok(())
}

/// What runs between `begin` and `end`.
struct Measure {
    begin: Instant,
    cpu_us: f64,
    caller_cpu_us: f64,
}

impl Measure {
    fn begin() -> Outcome<Measure> {
        let (cpu_us, caller_cpu_us) = (cpu_us()?, caller_cpu_us()?);
        Ok(Measure { begin: Instant::now(), cpu_us, caller_cpu_us })
    }

    fn end(self, operations: u64, mut calls: Vec<Duration>) -> Outcome<Done> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let caller_cpu_us = caller_cpu_us()? - self.caller_cpu_us;
        let cpu_us = cpu_us()? - self.cpu_us;
        calls.sort_unstable();
        let at = |share: f64| {
            let call = calls.get((calls.len() as f64 * share) as usize).or(calls.last());
            call.map_or(f64::NAN, |call| call.as_secs_f64() * 1e6)
        };
        Ok(Done {
            operations,
            seconds,
            cpu_us,
            caller_cpu_us,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
        })
    }
}

fn append(dir: &Path, batch: usize, messages: usize) -> Outcome<Done> {
    let broker = open(dir, Durability::Memory)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        create_topic(&broker, QUEUES).await?;
        // Made before the clock starts: making them is the front ends' work.
        let calls: Vec<SendMessages> = (0..messages / batch).map(|call| make(call as u64, batch)).collect();
        let mut times = Vec::with_capacity(calls.len());
        let measure = Measure::begin()?;
        let mut last = measure.begin;
        for send in calls {
            broker
                .send_messages(send)
                .await
                .map_err(said)?
                .into_iter()
                .try_for_each(|sent| sent.map(drop))
                .map_err(said)?;
            let now = Instant::now();
            times.push(now - last);
            last = now;
        }
        measure.end(messages as u64, times)
    })
}

fn read(dir: &Path, messages: usize, time: Duration) -> Outcome<Done> {
    let broker = open(dir, Durability::Memory)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        create_topic(&broker, 1).await?;
        for call in 0..messages / 32 {
            let send = make_for(call as u64, 32, |_| QueueId(0));
            broker
                .send_messages(send)
                .await
                .map_err(said)?
                .into_iter()
                .try_for_each(|sent| sent.map(drop))
                .map_err(said)?;
        }
        let end = QueueOffset((messages / 32 * 32) as u64);
        let pull = |offset| PullMessages {
            topic: topic(),
            queue_id: QueueId(0),
            offset,
            messages_max: PULL,
            bytes_max: u32::MAX,
        };
        let mut times = Vec::new();
        let mut pulled = 0;
        let mut offset = QueueOffset(0);
        let measure = Measure::begin()?;
        let mut last = measure.begin;
        // One turn at least, so that all of it was read.
        while pulled < end.0 || measure.begin.elapsed() < time {
            let found = broker.pull_messages(pull(offset)).await.map_err(said)?;
            if found.messages.iter().any(|message| message.body.len() != BODY_BYTES) || found.messages.is_empty() {
                return Err("failed: a pull gave something else than was sent".into());
            }
            pulled += found.messages.len() as u64;
            offset = if found.next_offset >= end { QueueOffset(0) } else { found.next_offset };
            let now = Instant::now();
            times.push(now - last);
            last = now;
        }
        measure.end(pulled, times)
    })
}

fn durable(dir: &Path, senders: usize, batch: usize, time: Duration) -> Outcome<Done> {
    let broker = Arc::new(open(dir, Durability::Disk)?);
    runtime()?.block_on(create_topic(&broker, QUEUES))?;
    let measure = Measure::begin()?;
    let begin = measure.begin;
    let worker = |number: usize| {
        let broker = broker.clone();
        move || -> Outcome<Vec<Duration>> {
            let mut tasks = tokio::task::JoinSet::new();
            let runtime = runtime()?;
            for sender in (number..senders).step_by(WORKERS) {
                let broker = broker.clone();
                tasks.spawn_on(
                    async move {
                        let mut times = Vec::new();
                        while begin.elapsed() < time {
                            let send = make((times.len() * senders + sender) as u64, batch);
                            let sent = Instant::now();
                            let results = broker.send_messages(send).await.map_err(said)?;
                            results.into_iter().try_for_each(|sent| sent.map(drop)).map_err(said)?;
                            times.push(sent.elapsed());
                        }
                        Ok::<_, String>(times)
                    },
                    runtime.handle(),
                );
            }
            runtime.block_on(async {
                let mut all = Vec::new();
                while let Some(times) = tasks.join_next().await {
                    all.extend(times.map_err(|error| error.to_string())??);
                }
                Ok(all)
            })
        }
    };
    let threads: Vec<_> = (0..WORKERS).map(|number| std::thread::spawn(worker(number))).collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a worker panicked")??);
    }
    measure.end((times.len() * batch) as u64, times)
}

fn paced(dir: &Path, per_second: u64, time: Duration) -> Outcome<Done> {
    let broker = Arc::new(open(dir, Durability::Disk)?);
    let runtime = runtime()?;
    runtime.block_on(create_topic(&broker, QUEUES))?;
    let count = per_second * time.as_secs();
    let times = Arc::new(Mutex::new(Vec::with_capacity(count as usize)));
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    let handle = runtime.handle().clone();
    let serving = std::thread::spawn(move || runtime.block_on(is_over));
    let measure = Measure::begin()?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let send = make(number, 1);
        let due = measure.begin + Duration::from_nanos(number * 1_000_000_000 / per_second);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (broker, times) = (broker.clone(), times.clone());
        // A sleep takes a little longer than it was asked for; an answer is never waited for here, so the clock of a
        // message may start when it is sent.
        let sent = Instant::now();
        tasks.spawn_on(
            async move {
                let results = broker.send_messages(send).await.map_err(said)?;
                results.into_iter().try_for_each(|sent| sent.map(drop)).map_err(said)?;
                times.lock().expect("no code panics while holding it").push(sent.elapsed());
                Ok::<_, String>(())
            },
            &handle,
        );
    }
    self::runtime()?.block_on(async {
        while let Some(sent) = tasks.join_next().await {
            sent.map_err(|error| error.to_string())??;
        }
        Ok::<_, String>(())
    })?;
    let _ = over.send(());
    serving.join().map_err(|_| "the runtime panicked")?.map_err(|error| error.to_string())?;
    let times = std::mem::take(&mut *times.lock().expect("no code panics while holding it"));
    measure.end(count, times)
}

fn syncs(dir: &Path, bytes: usize, time: Duration) -> Outcome<Done> {
    let path = dir.join("syncs");
    let said = |error: std::io::Error| error.to_string();
    let file = File::create(&path).map_err(said)?;
    for at in (0..PROBE_BYTES).step_by(1 << 20) {
        file.write_all_at(&vec![0; 1 << 20], at as u64).map_err(said)?;
    }
    file.sync_all().map_err(said)?;
    let piece = vec![b'x'; bytes];
    let mut times = Vec::new();
    let measure = Measure::begin()?;
    let mut at = 0;
    while measure.begin.elapsed() < time {
        let begin = Instant::now();
        file.write_all_at(&piece, at as u64).map_err(said)?;
        file.sync_data().map_err(said)?;
        times.push(begin.elapsed());
        at = if at + 2 * bytes > PROBE_BYTES { 0 } else { at + bytes };
    }
    measure.end(times.len() as u64, times)
}

/// So many messages of the size that a stored one has, as bytes.
pub fn record_bytes(messages: usize) -> usize {
    messages * RECORD_BYTES
}

fn open(dir: &Path, durability: Durability) -> Outcome<LocalBroker> {
    let config = BrokerConfig { durability, ..BrokerConfig::new(dir) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
        random: Arc::new(SystemRandom),
        failed: Box::new(|reason| panic!("the store failed: {reason}")),
    };
    LocalBroker::open(config, surroundings).map_err(|error| error.to_string())
}

async fn create_topic(broker: &LocalBroker, queues: u32) -> Outcome<()> {
    let config = TopicConfig { read_queues: queues, write_queues: queues, ..TopicConfig::new(topic()) };
    broker.put_topic(config, PutWhen::Missing).await.map(drop).map_err(said)
}

fn topic() -> TopicName {
    TopicName::from_client("bench").expect("a legal name")
}

fn make(call: u64, batch: usize) -> SendMessages {
    make_for(call, batch, |call| QueueId((call % u64::from(QUEUES)) as u32))
}

fn make_for(call: u64, batch: usize, queue: impl Fn(u64) -> QueueId) -> SendMessages {
    let here = "127.0.0.1:1".parse().expect("an address");
    let message = |at: usize| {
        let id = format!("{:032X}", call * batch as u64 + at as u64);
        let message = Message::new(Bytes::from_static(&BODY), &id, Timestamp(1), here).expect("a legal message");
        SendMessage { queue_id: queue(call), message, idempotency_key: None }
    };
    SendMessages { topic: topic(), messages: (0..batch).map(message).collect() }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

fn said(error: gantry_broker_core::BrokerError) -> String {
    format!("failed: {error}")
}

fn cpu_us() -> Outcome<f64> {
    crate::server::cpu_us("self")
}

/// Of this thread, to the nanosecond.
fn caller_cpu_us() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").map_err(|error| error.to_string())?;
    let nanos = text.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    nanos.map(|nanos| nanos / 1e3).ok_or_else(|| "/proc/thread-self/schedstat has another shape".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_the_same_on_both_sides() {
        for load in [
            StoreLoad::Append { batch: 32, messages: 1_000 },
            StoreLoad::Read { messages: 5, seconds: 3 },
            StoreLoad::Durable { senders: 64, batch: 1, seconds: 5 },
            StoreLoad::Paced { per_second: 5_000, seconds: 20 },
            StoreLoad::Syncs { bytes: 4_096, seconds: 1 },
        ] {
            assert_eq!(StoreLoad::parse(&load.arguments()), Some(load));
        }
    }
}
