//! Benchmark: append and dispatch of 1 KiB messages at `memory` on one thread, beside memcpy of the same bytes, turn and
//! turn about in one run. Prints a table; `--json` prints the same for scripts.
//!
//! Each pass fills a new store and deletes it, and the first passes are thrown away: so the measured ones get pages that
//! the machine has backed with memory before. A virtual machine that backs its memory lazily is measured otherwise (0.4
//! GB/s for pages that nobody has touched since it started, whoever touches them).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry_broker_core::broker::{PutWhen, SendMessage, SendMessages, TopicConfig};
use gantry_broker_core::clock::{SystemClock, Timestamp};
use gantry_broker_core::config::Durability;
use gantry_broker_core::local_broker::Surroundings;
use gantry_broker_core::message::Message;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::QueueId;
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::{Broker, BrokerConfig, LocalBroker};

const BODY_BYTES: usize = 1_024;
static BODY: [u8; BODY_BYTES] = [7; BODY_BYTES];
const BATCH: usize = 32;
const QUEUES: u32 = 8;
const WARM_UP_ROUNDS: usize = 2;
const BAR_PER_SECOND: f64 = 500_000.0;

/// What was measured of one shape, round by round.
struct Row {
    name: &'static str,
    batch: usize,
    memcpy: Vec<f64>,
    gantry: Vec<f64>,
}

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let quick = std::env::var_os("QUICK").is_some();
    let (rounds, messages) = if quick { (3, 200_000) } else { (7, 400_000) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut ring = vec![0u8; 64 << 20];
    let row = |name, batch| Row { name, batch, memcpy: Vec::new(), gantry: Vec::new() };
    let mut rows = [row("batch of 32", BATCH), row("one by one", 1)];
    for round in 0..WARM_UP_ROUNDS + rounds {
        for row in &mut rows {
            let memcpy = rate(messages, || copy(&mut ring, messages));
            let gantry = runtime.block_on(pass(messages, row.batch));
            if round < WARM_UP_ROUNDS {
                eprintln!("warming up, {}", row.name);
                continue;
            }
            eprintln!("round {} of {rounds}, {}", round + 1 - WARM_UP_ROUNDS, row.name);
            row.memcpy.push(memcpy);
            row.gantry.push(gantry);
        }
    }
    print(&rows, json);
}

fn print(rows: &[Row], json: bool) {
    if !json {
        println!("append + dispatch at memory, 1 KiB bodies, {QUEUES} queues, one thread");
        println!("shape             Gantry msg/s    memcpy msg/s     ratio    spread    of the bar");
    }
    for row in rows {
        let (memcpy, gantry, spread) = (median(&row.memcpy), median(&row.gantry), spread(&row.gantry));
        let (ratio, of_bar, name) = (gantry / memcpy, gantry / BAR_PER_SECOND, row.name);
        if json {
            println!(
                "{{\"row\":\"append+dispatch\",\"shape\":\"{name}\",\"level\":\"memory\",\"messagesPerSecond\":{gantry:.0},\
                 \"memcpyPerSecond\":{memcpy:.0},\"ratio\":{ratio:.4},\"spread\":{spread:.3},\"ofBar\":{of_bar:.2}}}"
            );
        } else {
            let spread = spread * 100.0;
            println!("{name:<14}{gantry:>16.0}{memcpy:>16.0}{ratio:>10.3}{spread:>9.0}%{of_bar:>14.2}");
        }
    }
}

/// One store's life; answers messages a second.
async fn pass(messages: usize, batch: usize) -> f64 {
    let dir = tempfile::tempdir_in(".").expect("a directory for the store");
    let broker = open(dir.path());
    let topic = TopicName::from_client("bench").expect("a legal name");
    let config = TopicConfig { read_queues: QUEUES, write_queues: QUEUES, ..TopicConfig::new(topic.clone()) };
    broker.put_topic(config, PutWhen::Missing).await.expect("a topic");
    // Made before the clock starts: making them is the front ends' work.
    let batches: Vec<Vec<SendMessage>> = (0..messages / batch).map(|call| make(call, batch)).collect();
    let started = Instant::now();
    for messages in batches {
        let send = SendMessages { topic: topic.clone(), messages };
        let sent = broker.send_messages(send).await.expect("a send");
        assert!(sent.iter().all(Result::is_ok), "every message is stored");
    }
    let rate = messages as f64 / started.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
    broker.close().expect("a clean stop");
    rate
}

fn open(dir: &Path) -> LocalBroker {
    let config = BrokerConfig { durability: Durability::Memory, ..BrokerConfig::new(dir) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
        random: Arc::new(SystemRandom),
        failed: Box::new(|reason| panic!("the store failed: {reason}")),
    };
    LocalBroker::open(config, surroundings).expect("an open broker")
}

fn make(call: usize, batch: usize) -> Vec<SendMessage> {
    let here = "127.0.0.1:1".parse().expect("an address");
    (0..batch)
        .map(|at| {
            let id = format!("{:032X}", call * batch + at);
            let message = Message::new(Bytes::from_static(&BODY), &id, Timestamp(1), here).expect("a message");
            SendMessage { queue_id: QueueId(call as u32 % QUEUES), message, idempotency_key: None }
        })
        .collect()
}

/// The least that any store must do: move the bytes once.
fn copy(ring: &mut [u8], messages: usize) {
    let slots = ring.len() / BODY_BYTES;
    for at in 0..messages {
        let to = (at % slots) * BODY_BYTES;
        ring[to..to + BODY_BYTES].copy_from_slice(std::hint::black_box(&BODY));
    }
    std::hint::black_box(ring);
}

fn rate(messages: usize, work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    messages as f64 / started.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// From the slowest to the fastest, as a part of the median.
fn spread(values: &[f64]) -> f64 {
    let (min, max) = values.iter().fold((f64::MAX, 0f64), |(min, max), value| (min.min(*value), max.max(*value)));
    (max - min) / median(values)
}
