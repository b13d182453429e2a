//! Receiving and acking without a network, on a topic with a past; and messages that wait for their time.

use std::path::Path;
use std::time::{Duration, Instant};

use gantry_broker_core::Broker as _;
use gantry_broker_core::LocalBroker;
use gantry_broker_core::broker::{LeaseLength, PopMessages, PoppedMessage, PutTopic, PutWhen, TopicConfig};
use gantry_broker_core::config::Durability;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::{Delivery, MessageType};
use gantry_broker_core::names::ConsumerGroup;

use super::{
    BODY_BYTES, Done, FILL_BATCH, Measure, Outcome, PULL, Past, QUEUES, create_topic, make, open, runtime, said,
    send_all, sent, topic,
};

/// So many older messages are in hand at once while they are acked out of order.
const OUT_OF_ORDER: usize = 100_000;
/// Older messages need no body to speak of.
const OLD_BODY_BYTES: usize = 16;
/// Nothing is due before all of it was sent.
const AHEAD_BASE: Duration = Duration::from_secs(2);
/// Of sending, slower than any machine that this is run on.
const AHEAD_EACH: Duration = Duration::from_micros(10);

const GROUP: &str = "bench";

fn pop(consumer_group: &str) -> PopMessages {
    PopMessages {
        consumer_group: ConsumerGroup::from_client(consumer_group).expect("a legal name"),
        topic: topic(),
        messages_max: PULL,
        lease: LeaseLength::Exactly(Duration::from_secs(12 * 3_600)),
        filter: Filter::All,
        attempt_id: None,
    }
}

async fn ack(broker: &LocalBroker, popped: Vec<PoppedMessage>) -> Outcome<()> {
    let handles = popped.into_iter().map(|popped| popped.handle).collect();
    broker.ack_messages(handles).await.map_err(said)?.into_iter().collect::<Result<_, _>>().map_err(said)
}

/// `messages` of 1 KiB, received and acked by 32. What was acked before was acked in another order than that in which it was
/// received, the very first not at all.
pub fn settle(dir: &Path, messages: usize, queues: usize, past: Past) -> Outcome<Done> {
    let broker = open(dir, Durability::Memory)?;
    let Past { acked, leased, groups } = past;
    runtime()?.block_on(async {
        create_topic(&broker, queues as u32).await?;
        send_all(&broker, &topic(), 0, acked + leased, OLD_BODY_BYTES, queues).await?;
        out_of_order(&broker, acked).await?;
        let mut held = 0;
        while held < leased {
            held += take(&broker).await?.len();
        }
        send_all(&broker, &topic(), (acked + leased) as u64, messages, BODY_BYTES, queues).await?;
        for group in 0..groups {
            broker
                .pop_messages(PopMessages { messages_max: 1, ..pop(&format!("other-{group}")) })
                .await
                .map_err(said)?;
        }
        let (mut settled, mut times) = (0, Vec::new());
        let measure = Measure::begin()?;
        let mut last = measure.begin;
        while settled < messages {
            let popped = take(&broker).await?;
            settled += popped.len();
            ack(&broker, popped).await?;
            let now = Instant::now();
            times.push(now - last);
            last = now;
        }
        measure.end(settled as u64, times)
    })
}

async fn take(broker: &LocalBroker) -> Outcome<Vec<PoppedMessage>> {
    let popped = broker.pop_messages(pop(GROUP)).await.map_err(said)?;
    if popped.is_empty() { Err("failed: a receive gave nothing before the end".into()) } else { Ok(popped) }
}

async fn out_of_order(broker: &LocalBroker, count: usize) -> Outcome<()> {
    let mut first = true;
    let mut left = count;
    while left > 0 {
        let mut held = Vec::with_capacity(OUT_OF_ORDER);
        while held.len() < OUT_OF_ORDER.min(left) {
            held.extend(take(broker).await?);
        }
        left = left.saturating_sub(held.len());
        // It stays: the floor is as far behind as can be.
        if std::mem::take(&mut first) {
            held.remove(0);
        }
        // Every third, then the others backwards.
        let (thirds, mut others): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(at, _)| at % 3 == 0);
        others.reverse();
        let all: Vec<PoppedMessage> = thirds.into_iter().chain(others).map(|(_, popped)| popped).collect();
        for some in all.chunks(PULL as usize) {
            ack(broker, some.to_vec()).await?;
        }
    }
    Ok(())
}

/// `messages` of 1 KiB sent by 32 and, with a delivery time, delivered: what is told is the time of both without the wait.
pub fn timers(dir: &Path, messages: usize, delayed: bool) -> Outcome<Done> {
    let broker = open(dir, Durability::Memory)?;
    runtime()?.block_on(async {
        let config = TopicConfig { read_queues: QUEUES, write_queues: QUEUES, ..TopicConfig::new(topic()) };
        let config = TopicConfig { message_type: MessageType::Mixed, ..config };
        broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.map_err(said)?;
        let ahead = AHEAD_BASE + AHEAD_EACH * messages as u32;
        let due = gantry_broker_core::clock::Clock::wall(&gantry_broker_core::clock::SystemClock).plus(ahead);
        let due_in = Instant::now() + ahead;
        let mut calls = Vec::with_capacity(messages / FILL_BATCH);
        for call in 0..messages / FILL_BATCH {
            let mut send = make(call as u64, FILL_BATCH);
            for send in send.messages.iter_mut().filter(|_| delayed) {
                let message = send.message.clone().with_delivery(Delivery::At(due));
                send.message = message.map_err(|error| error.to_string())?;
            }
            calls.push(send);
        }
        let count = (calls.len() * FILL_BATCH) as u64;
        let measure = Measure::begin()?;
        for send in calls {
            sent(broker.send_messages(send).await)?;
        }
        let mut done = measure.end(count, Vec::new())?;
        if delayed {
            // A second of the wheel ends at a whole second.
            let left =
                due_in.checked_duration_since(Instant::now()).ok_or("failed: sending took too long to time it")?;
            tokio::time::sleep(left).await;
            let begin = first_delivery(&broker).await?;
            while delivered(&broker).await? < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            done.seconds += begin.elapsed().as_secs_f64();
        }
        Ok(done)
    })
}

async fn first_delivery(broker: &LocalBroker) -> Outcome<Instant> {
    loop {
        let looked = Instant::now();
        if delivered(broker).await? > 0 {
            return Ok(looked);
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

async fn delivered(broker: &LocalBroker) -> Outcome<u64> {
    let queues = broker.query_queue_offsets(topic()).await.map_err(said)?;
    Ok(queues.iter().map(|queue| queue.max_offset.0).sum())
}
