//! Benchmark: append and dispatch of 1 KiB messages at `memory` on one thread, beside memcpy of the same bytes, turn and
//! turn about in one run. Prints a table; `--json` prints the same for scripts.
//!
//! As much memory as the run will fill is touched and given back before it: a virtual machine that backs its memory
//! lazily would be measured otherwise (here: 0.3 GB/s for memory that nobody has touched since the machine started).

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
const BATCH: usize = 32;
const QUEUES: u32 = 8;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let quick = std::env::var_os("QUICK").is_some();
    let (rounds, messages) = if quick { (3, 200_000) } else { (5, 400_000) };
    let dir = tempfile::tempdir_in(".").expect("a directory for the store");
    let broker = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let topic = TopicName::from_client("bench").expect("a legal name");
    let config = TopicConfig { read_queues: QUEUES, write_queues: QUEUES, ..TopicConfig::new(topic.clone()) };
    runtime.block_on(broker.put_topic(config, PutWhen::Missing)).expect("a topic");

    eprintln!("touching memory ...");
    touch((rounds + 1) * 2 * messages * (BODY_BYTES + 256));
    let mut ring = vec![0u8; 64 << 20];
    copy(&mut ring, messages);
    runtime.block_on(send(&broker, &topic, messages, BATCH));
    let shapes = [("batch of 32", BATCH), ("one by one", 1)];
    let mut rows: Vec<(&str, Vec<f64>, Vec<f64>)> =
        shapes.iter().map(|(name, _)| (*name, Vec::new(), Vec::new())).collect();
    for round in 1..=rounds {
        for ((_, batch), row) in shapes.iter().zip(&mut rows) {
            eprintln!("round {round} of {rounds}, {}", row.0);
            row.1.push(rate(messages, || copy(&mut ring, messages)));
            row.2.push(rate(messages, || runtime.block_on(send(&broker, &topic, messages, *batch))));
        }
    }
    broker.close().expect("a clean stop");

    if !json {
        println!("append + dispatch at memory, 1 KiB bodies, {QUEUES} queues, one thread");
        println!("{:<14}{:>16}{:>16}{:>10}{:>10}", "shape", "Gantry msg/s", "memcpy msg/s", "ratio", "spread");
    }
    for (name, memcpy, gantry) in rows {
        let (memcpy, gantry, spread) = (median(&memcpy), median(&gantry), spread(&gantry));
        let ratio = gantry / memcpy;
        if json {
            println!(
                "{{\"row\":\"append+dispatch\",\"shape\":\"{name}\",\"level\":\"memory\",\"messagesPerSecond\":{gantry:.0},\
                 \"memcpyPerSecond\":{memcpy:.0},\"ratio\":{ratio:.4},\"spread\":{spread:.3},\"barPerSecond\":500000}}"
            );
        } else {
            println!("{name:<14}{gantry:>16.0}{memcpy:>16.0}{ratio:>10.3}{:>9.0}%", spread * 100.0);
        }
    }
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

/// Has the machine back so many bytes of memory, which the page cache then gets.
fn touch(bytes: usize) {
    let mut memory = vec![0u8; bytes];
    memory.iter_mut().step_by(4_096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// The least that any store must do: move the bytes once.
fn copy(ring: &mut [u8], messages: usize) {
    let body = vec![7u8; BODY_BYTES];
    let slots = ring.len() / BODY_BYTES;
    for at in 0..messages {
        let to = (at % slots) * BODY_BYTES;
        ring[to..to + BODY_BYTES].copy_from_slice(std::hint::black_box(&body));
    }
    std::hint::black_box(ring);
}

async fn send(broker: &LocalBroker, topic: &TopicName, messages: usize, batch: usize) {
    let body = Bytes::from(vec![7u8; BODY_BYTES]);
    let here = "127.0.0.1:1".parse().expect("an address");
    let mut id = String::new();
    for call in 0..messages / batch {
        let batch = (0..batch)
            .map(|at| {
                use std::fmt::Write as _;
                id.clear();
                write!(id, "{:032X}", call * batch + at).expect("text");
                let message = Message::new(body.clone(), &id, Timestamp(1), here).expect("a message");
                SendMessage { queue_id: QueueId(call as u32 % QUEUES), message, idempotency_key: None }
            })
            .collect();
        let sent = broker.send_messages(SendMessages { topic: topic.clone(), messages: batch }).await.expect("a send");
        assert!(sent.iter().all(Result::is_ok), "every message is stored");
    }
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
