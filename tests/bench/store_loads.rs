//! Loads for the store alone: the broker without its servers, in a process of its own that says what it took.
//!
//! `bench store LOAD DIR [NUMBERS]` runs one of them and prints `done` and a line of JSON.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry_broker_core::broker::{
    PullMessages, PutTopic, PutWhen, SendMessage, SendMessages, SendReceipt, TopicConfig,
};
use gantry_broker_core::clock::{SystemClock, Timestamp};
use gantry_broker_core::config::Durability;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::local_broker::Surroundings;
use gantry_broker_core::message::Message;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{CommitLogOffset, QueueId, QueueOffset};
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::commit_log::COMMIT_LOG_DIR;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::record::{EncodedRecord, encode_blank};
use gantry_broker_core::store::segment::file_name;
use gantry_broker_core::{Broker, BrokerConfig, BrokerError, LocalBroker};
use serde::{Deserialize, Serialize};

use crate::device::SyncProbe;
use crate::loads::BODY_BYTES;
use crate::measure::{Latency, Round};
use crate::server::Outcome;

mod deep;
mod delivery;

pub use deep::Look;

/// Of a topic, where a load does not say.
pub const QUEUES: u32 = 8;
/// Messages of one pull, as consumers ask for them.
const PULL: u32 = 32;
/// What a record adds to a body of 1 KiB here.
const RECORD_BYTES: usize = BODY_BYTES + 170;
/// Runtimes of one thread each, as the server has them.
const WORKERS: usize = 2;
/// The probe of the disk writes over the same stretch again and again, as large as a part of a segment.
const PROBE_BYTES: usize = 64 << 20;
/// RocketMQ's length of a segment.
const PLANTED_BYTES: u64 = 1 << 30;
/// Messages of one call where only the outcome counts.
const FILL_BATCH: usize = 32;
const TOPICS_AT_ONCE: usize = 256;
static BODY: [u8; BODY_BYTES] = [7; BODY_BYTES];

/// A load, as the parent names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreLoad {
    /// One thread appends at `memory`, so many messages in a call.
    Append { batch: usize, messages: usize },
    /// One thread pulls everything that `messages` sends of 1 KiB left, queue by queue.
    Read { messages: usize, seconds: u64 },
    /// One thread asks an SQL92 filter about messages whose properties it names three of.
    Filter { seconds: u64 },
    /// One thread receives and acks what lies in so many queues, beside a past.
    Settle { messages: usize, queues: usize, past: Past },
    /// One thread sends so many messages, with one delivery time if it is not 0; then they are all delivered.
    Timers { messages: usize, delayed: u64 },
    /// Senders at `disk`, each with one call under way.
    Durable { senders: usize, batch: usize, seconds: u64 },
    /// Single sends at `disk` at a fixed rate, whatever becomes of them.
    Paced { per_second: u64, seconds: u64 },
    /// So many messages of so many bytes, spread over the queues of so many topics.
    Fill { topics: usize, queues: usize, messages: usize, body: usize },
    /// A log of so many segments that hold one record each, as another broker would have left it.
    Plant { segments: usize },
    /// So many segments full of messages that were never sent, and a tail that was.
    PlantDeep { segments: u64 },
    /// So many calls on what `PlantDeep` left.
    Deep { look: Look, segments: u64, calls: u64 },
    /// Pulls of a filled store whose log is not in memory, from its beginning to its end, beside paced sends at `memory`;
    /// or those alone, for so many seconds. The calls that are timed are the sends.
    Cold { per_second: u64, alone_seconds: u64 },
    /// No Gantry: what `Cold` reads, read as plain files.
    ColdFiles,
    /// No Gantry: writes of so many bytes, each with its fdatasync, into reserved blocks.
    Syncs { bytes: usize, seconds: u64 },
}

/// What a group has behind it when it receives and acks: messages that it acked out of order, messages that are still in
/// somebody's hands, and other groups that hold a message of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    pub acked: usize,
    pub leased: usize,
    pub groups: usize,
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
    /// Of one call, where calls were timed.
    pub latency: Option<Latency>,
}

impl Done {
    pub fn round(&self) -> Round {
        let operations = self.operations as f64;
        let each = |us: f64| (self.operations > 0).then_some(us / operations);
        Round {
            rate: operations / self.seconds,
            cpu_us: each(self.cpu_us),
            caller_cpu_us: each(self.caller_cpu_us),
            latency: self.latency,
        }
    }
}

impl StoreLoad {
    pub fn arguments(self) -> Vec<String> {
        let (name, numbers) = match self {
            StoreLoad::Append { batch, messages } => ("append", vec![batch as u64, messages as u64]),
            StoreLoad::Read { messages, seconds } => ("read", vec![messages as u64, seconds]),
            StoreLoad::Filter { seconds } => ("filter", vec![seconds]),
            StoreLoad::Settle { messages, queues, past: Past { acked, leased, groups } } => {
                ("settle", [messages, queues, acked, leased, groups].map(|number| number as u64).to_vec())
            }
            StoreLoad::Timers { messages, delayed } => ("timers", vec![messages as u64, delayed]),
            StoreLoad::Durable { senders, batch, seconds } => ("durable", vec![senders as u64, batch as u64, seconds]),
            StoreLoad::Paced { per_second, seconds } => ("paced", vec![per_second, seconds]),
            StoreLoad::Fill { topics, queues, messages, body } => {
                ("fill", [topics, queues, messages, body].map(|number| number as u64).to_vec())
            }
            StoreLoad::Plant { segments } => ("plant", vec![segments as u64]),
            StoreLoad::PlantDeep { segments } => ("plant-deep", vec![segments]),
            StoreLoad::Deep { look, segments, calls } => (look.name(), vec![segments, calls]),
            StoreLoad::Cold { per_second, alone_seconds } => ("cold", vec![per_second, alone_seconds]),
            StoreLoad::ColdFiles => ("cold-files", Vec::new()),
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
            ("filter", &[seconds]) => Some(StoreLoad::Filter { seconds }),
            ("settle", &[messages, queues, acked, leased, groups]) => {
                let past = Past { acked: acked as usize, leased: leased as usize, groups: groups as usize };
                Some(StoreLoad::Settle { messages: messages as usize, queues: queues as usize, past })
            }
            ("timers", &[messages, delayed]) => Some(StoreLoad::Timers { messages: messages as usize, delayed }),
            ("durable", &[senders, batch, seconds]) => {
                Some(StoreLoad::Durable { senders: senders as usize, batch: batch as usize, seconds })
            }
            ("paced", &[per_second, seconds]) => Some(StoreLoad::Paced { per_second, seconds }),
            ("fill", &[topics, queues, messages, body]) => Some(StoreLoad::Fill {
                topics: topics as usize,
                queues: queues as usize,
                messages: messages as usize,
                body: body as usize,
            }),
            ("plant", &[segments]) => Some(StoreLoad::Plant { segments: segments as usize }),
            ("plant-deep", &[segments]) => Some(StoreLoad::PlantDeep { segments }),
            ("cold", &[per_second, alone_seconds]) => Some(StoreLoad::Cold { per_second, alone_seconds }),
            ("cold-files", &[]) => Some(StoreLoad::ColdFiles),
            ("syncs", &[bytes, seconds]) => Some(StoreLoad::Syncs { bytes: bytes as usize, seconds }),
            (look, &[segments, calls]) => Look::named(look).map(|look| StoreLoad::Deep { look, segments, calls }),
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
        StoreLoad::Filter { seconds } => filter(Duration::from_secs(seconds)),
        StoreLoad::Settle { messages, queues, past } => delivery::settle(&dir, messages, queues, past),
        StoreLoad::Timers { messages, delayed } => delivery::timers(&dir, messages, delayed != 0),
        StoreLoad::Durable { senders, batch, seconds } => durable(&dir, senders, batch, Duration::from_secs(seconds)),
        StoreLoad::Paced { per_second, seconds } => paced(&dir, per_second, Duration::from_secs(seconds)),
        StoreLoad::Fill { topics, queues, messages, body } => fill(&dir, topics, queues, messages, body),
        StoreLoad::Plant { segments } => plant(&dir, segments),
        StoreLoad::PlantDeep { segments } => deep::plant(&dir, segments),
        StoreLoad::Deep { look, segments, calls } => deep::look(&dir, look, segments, calls),
        StoreLoad::Cold { per_second, alone_seconds } => cold(&dir, per_second, Duration::from_secs(alone_seconds)),
        StoreLoad::ColdFiles => cold_files(&dir),
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

    fn end(self, operations: u64, calls: Vec<Duration>) -> Outcome<Done> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let caller_cpu_us = caller_cpu_us()? - self.caller_cpu_us;
        let cpu_us = cpu_us()? - self.cpu_us;
        Ok(Done { operations, seconds, cpu_us, caller_cpu_us, latency: Latency::of(calls) })
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
        send_all(&broker, &topic(), 0, messages, BODY_BYTES, 1).await?;
        let end = QueueOffset(messages as u64);
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

/// Of records as a producer fills them: the three that are asked for stand among the reserved ones and others.
fn filter(time: Duration) -> Outcome<Done> {
    const MESSAGES: u64 = 1_000;
    let filter = Filter::sql("region = 'eu' AND amount > 100 AND vip = TRUE").map_err(said)?;
    let stored: Vec<Vec<u8>> = (0..MESSAGES).map(stored_properties).collect::<Outcome<_>>()?;
    let wanted = |number: &u64| number.is_multiple_of(2) && number % 200 > 100 && !number.is_multiple_of(3);
    let wanted = (0..MESSAGES).filter(wanted).count();
    let mut asked = 0;
    let measure = Measure::begin()?;
    while measure.begin.elapsed() < time {
        let matched = stored.iter().filter(|stored| filter.matches_properties(std::hint::black_box(stored))).count();
        if matched != wanted {
            return Err(format!("failed: {matched} match instead of {wanted}"));
        }
        asked += MESSAGES;
    }
    measure.end(asked, Vec::new())
}

fn stored_properties(number: u64) -> Outcome<Vec<u8>> {
    let amount = (number % 200).to_string();
    let properties = [
        ("customer", "c-4711"),
        ("region", if number.is_multiple_of(2) { "eu" } else { "us" }),
        ("channel", "web"),
        ("amount", &amount),
        ("currency", "EUR"),
        ("vip", if number.is_multiple_of(3) { "false" } else { "true" }),
    ];
    let born_host = "127.0.0.1:50000".parse().expect("an address");
    let message = Message::new(Bytes::from_static(&BODY), &format!("{number:032X}"), Timestamp(1), born_host);
    let refused = |error: gantry_broker_core::message::MessageError| error.to_string();
    let message = message.and_then(|message| message.with_tag("paid")?.with_keys(["991"])).map_err(refused)?;
    let message = message.with_properties(properties).map_err(refused)?;
    let parts = message.stored_properties().map(|(name, value)| format!("{name}\x01{value}\x02"));
    Ok(parts.collect::<String>().into_bytes())
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
                            let began = Instant::now();
                            sent(broker.send_messages(send).await)?;
                            times.push(began.elapsed());
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
        let began = Instant::now();
        tasks.spawn_on(
            async move {
                sent(broker.send_messages(send).await)?;
                times.lock().expect("no code panics while holding it").push(began.elapsed());
                Ok::<_, String>(())
            },
            &handle,
        );
    }
    self::runtime()?.block_on(async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok::<_, String>(())
    })?;
    let _ = over.send(());
    serving.join().map_err(|_| "the runtime panicked")?.map_err(|error| error.to_string())?;
    let times = std::mem::take(&mut *times.lock().expect("no code panics while holding it"));
    measure.end(count, times)
}

fn syncs(dir: &Path, bytes: usize, time: Duration) -> Outcome<Done> {
    let said = |error: std::io::Error| error.to_string();
    let mut probe = SyncProbe::create(&dir.join("syncs"), bytes, PROBE_BYTES).map_err(said)?;
    let mut times = Vec::new();
    let measure = Measure::begin()?;
    while measure.begin.elapsed() < time {
        times.push(probe.sync().map_err(said)?);
    }
    measure.end(times.len() as u64, times)
}

fn fill(dir: &Path, topics: usize, queues: usize, messages: usize, body: usize) -> Outcome<Done> {
    let broker = Arc::new(open(dir, Durability::Memory)?);
    let each = messages / topics;
    let done = runtime()?.block_on(async {
        let measure = Measure::begin()?;
        // Each topic's record is synced at once: together they share the syncs.
        let names = (0..topics).map(|number| named_topic(topics, number));
        for some in names.collect::<Vec<_>>().chunks(TOPICS_AT_ONCE) {
            let mut creating = tokio::task::JoinSet::new();
            for name in some {
                let (broker, name) = (broker.clone(), name.clone());
                creating.spawn(async move { create(&broker, name, queues as u32).await });
            }
            while let Some(created) = creating.join_next().await {
                created.map_err(|error| error.to_string())??;
            }
        }
        for number in 0..topics {
            let name = named_topic(topics, number);
            send_all(&broker, &name, (number * each) as u64, each, body, queues).await?;
        }
        measure.end((each * topics) as u64, Vec::new())
    })?;
    broker.close().map_err(|error| error.to_string())?;
    Ok(done)
}

/// So many messages, in turn over the queues of a topic.
async fn send_all(
    broker: &LocalBroker,
    topic: &TopicName,
    first: u64,
    messages: usize,
    body: usize,
    queues: usize,
) -> Outcome<()> {
    for at in (0..messages).step_by(FILL_BATCH) {
        let queue = |inside: usize| QueueId(((at + inside) % queues) as u32);
        let batch = FILL_BATCH.min(messages - at);
        sent(broker.send_messages(make_of(topic.clone(), first + at as u64, batch, body, queue)).await)?;
    }
    Ok(())
}

/// Each segment: one record, the blank that closes it, and a hole. The last one is open.
fn plant(dir: &Path, segments: usize) -> Outcome<Done> {
    let said = |error: std::io::Error| error.to_string();
    let measure = Measure::begin()?;
    let log = dir.join(COMMIT_LOG_DIR);
    std::fs::create_dir_all(&log).map_err(said)?;
    let here = "127.0.0.1:1".parse().expect("an address");
    for number in 0..segments as u64 {
        let base = number * PLANTED_BYTES;
        let message = Message::new(Bytes::from_static(&BODY), &format!("{number:032X}"), Timestamp(1), here);
        let message = message.expect("a legal message");
        let mut record = EncodedRecord::message(&topic(), QueueId(0), here, &message);
        record.place(QueueOffset(number), CommitLogOffset(base), Timestamp(number as i64 + 1));
        let file = File::create(log.join(file_name(base))).map_err(said)?;
        file.set_len(PLANTED_BYTES).map_err(said)?;
        file.write_all_at(&record.pieces().concat(), 0).map_err(said)?;
        if number + 1 < segments as u64 {
            let len = u64::from(record.record_len());
            file.write_all_at(&encode_blank((PLANTED_BYTES - len) as u32), len).map_err(said)?;
        }
    }
    // The import, and a checkpoint behind it.
    open(dir, Durability::Memory)?.close().map_err(|error| error.to_string())?;
    measure.end(segments as u64, Vec::new())
}

fn cold(dir: &Path, per_second: u64, alone: Duration) -> Outcome<Done> {
    let broker = Arc::new(open(dir, Durability::Memory)?);
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sending = {
        let (broker, over) = (broker.clone(), over.clone());
        std::thread::spawn(move || -> Outcome<Vec<Duration>> {
            let runtime = runtime()?;
            let (begin, mut times) = (Instant::now(), Vec::new());
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let number = times.len() as u64;
                let due = begin + Duration::from_nanos(number * 1_000_000_000 / per_second);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let send = make_for(number, 1, |_| QueueId(0));
                let began = Instant::now();
                sent(runtime.block_on(broker.send_messages(send)))?;
                times.push(began.elapsed());
            }
            Ok(times)
        })
    };
    let read = runtime()?.block_on(async {
        let measure = Measure::begin()?;
        let mut read = 0;
        if !alone.is_zero() {
            tokio::time::sleep(alone).await;
            return Ok((measure, read));
        }
        for (queue_id, queue) in (0..).map(QueueId).zip(broker.query_queue_offsets(topic()).await.map_err(said)?) {
            let (mut offset, end) = (QueueOffset(0), queue.max_offset);
            while offset < end {
                let pull = PullMessages { topic: topic(), queue_id, offset, messages_max: PULL, bytes_max: u32::MAX };
                let found = broker.pull_messages(pull).await.map_err(said)?;
                if found.messages.is_empty() {
                    return Err("failed: a pull gave nothing before the end".into());
                }
                read += found.messages.len() as u64;
                offset = found.next_offset;
            }
        }
        Ok::<_, String>((measure, read))
    });
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let times = sending.join().map_err(|_| "the sender panicked")??;
    let (measure, read) = read?;
    measure.end(read, times)
}

fn cold_files(dir: &Path) -> Outcome<Done> {
    let said = |error: std::io::Error| error.to_string();
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir.join(COMMIT_LOG_DIR)).map_err(said)? {
        names.push(entry.map_err(said)?.path());
    }
    names.sort();
    let mut piece = vec![0; record_bytes(PULL as usize)];
    let measure = Measure::begin()?;
    let mut bytes = 0;
    for name in names {
        let mut file = File::open(name).map_err(said)?;
        // The last segment is reserved and not written: its zeros are not read.
        let held = file.metadata().map_err(said)?.blocks() * 512;
        let mut left = held.min(file.metadata().map_err(said)?.len());
        while left > 0 {
            let read = file.read(&mut piece).map_err(said)?;
            bytes += read;
            left = left.saturating_sub(read as u64);
            if read == 0 {
                break;
            }
        }
    }
    measure.end((bytes / record_bytes(1)) as u64, Vec::new())
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
    create(broker, topic(), queues).await
}

async fn create(broker: &LocalBroker, name: TopicName, queues: u32) -> Outcome<()> {
    let config = TopicConfig { read_queues: queues, write_queues: queues, ..TopicConfig::new(name) };
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.map(drop).map_err(said)
}

/// All of the messages were stored, or this is why not.
fn sent(results: Result<Vec<Result<SendReceipt, BrokerError>>, BrokerError>) -> Outcome<()> {
    results.map_err(said)?.into_iter().try_for_each(|result| result.map(drop)).map_err(said)
}

/// One topic goes by the name that loads use.
fn named_topic(topics: usize, number: usize) -> TopicName {
    if topics == 1 { topic() } else { TopicName::from_client(&format!("bench-{number:05}")).expect("a legal name") }
}

fn topic() -> TopicName {
    TopicName::from_client("bench").expect("a legal name")
}

fn make(call: u64, batch: usize) -> SendMessages {
    make_for(call, batch, |call| QueueId((call % u64::from(QUEUES)) as u32))
}

fn make_for(call: u64, batch: usize, queue: impl Fn(u64) -> QueueId) -> SendMessages {
    make_of(topic(), call * batch as u64, batch, BODY_BYTES, |_| queue(call))
}

fn make_of(topic: TopicName, first: u64, batch: usize, body: usize, queue: impl Fn(usize) -> QueueId) -> SendMessages {
    let here = "127.0.0.1:1".parse().expect("an address");
    let message = |at: usize| {
        let id = format!("{:032X}", first + at as u64);
        let message = Message::new(Bytes::from_static(&BODY[..body]), &id, Timestamp(1), here);
        SendMessage { queue_id: queue(at), message: message.expect("a legal message"), idempotency_key: None }
    };
    SendMessages { topic, messages: (0..batch).map(message).collect() }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

fn said(error: BrokerError) -> String {
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
            StoreLoad::Settle { messages: 5, queues: 4, past: Past { acked: 6, leased: 7, groups: 8 } },
            StoreLoad::Timers { messages: 8, delayed: 1 },
            StoreLoad::Durable { senders: 64, batch: 1, seconds: 5 },
            StoreLoad::Paced { per_second: 5_000, seconds: 20 },
            StoreLoad::Fill { topics: 2, queues: 3, messages: 4, body: 5 },
            StoreLoad::Plant { segments: 20 },
            StoreLoad::PlantDeep { segments: 932 },
            StoreLoad::Deep { look: Look::Send, segments: 0, calls: 9 },
            StoreLoad::Deep { look: Look::Tail, segments: 0, calls: 9 },
            StoreLoad::Deep { look: Look::Anywhere, segments: 1, calls: 9 },
            StoreLoad::Deep { look: Look::Seek, segments: 1, calls: 9 },
            StoreLoad::Cold { per_second: 5, alone_seconds: 1 },
            StoreLoad::ColdFiles,
            StoreLoad::Syncs { bytes: 4_096, seconds: 1 },
        ] {
            assert_eq!(StoreLoad::parse(&load.arguments()), Some(load));
        }
    }
}
