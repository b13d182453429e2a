//! Many receives that wait over few connections, and what it takes to wake them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gantry_proto::grpc::v2;
use prost::Message as _;
use tokio::task::JoinSet;

use super::messages_of;
use super::receive::{ack_request, acked, receipts, receive_request, received, runtime};
use crate::h2::{Connection, Method};
use crate::server::{Outcome, Process};

/// Consumers: each a connection and a consumer group of its own...
const CONNECTIONS: usize = 100;
/// ...that waits for a message of each of so many topics.
const TOPICS: usize = 1_000;
/// One of them waits alone.
const LONE: &str = "lone";
/// All that wait: as many as a broker takes.
pub const CALLS: usize = CONNECTIONS * TOPICS;
const LONE_WAKES: usize = 1_000;
/// On an idle machine a receive is parked when this much has passed since it was sent.
const PARKED_AFTER: Duration = Duration::from_millis(1);
/// A server that took no time of the CPU for so long has done what it had to.
const QUIET: Duration = Duration::from_millis(300);
const QUIET_MAX: Duration = Duration::from_secs(10);
/// Long enough for the kernel's grain of 10 ms to say percents. All is over before the first receive gives up, after 20 s.
const IDLE: Duration = Duration::from_secs(4);

/// What it took to wait.
#[derive(Debug, Clone, Copy)]
pub struct Waited {
    /// Memory of the server's own.
    pub bytes_per_call: f64,
    /// Of one core, while nothing happens.
    pub idle_percent: f64,
}

/// What it took to be woken.
#[derive(Debug, Clone, Copy)]
pub struct Woken {
    /// From sending a message to the answer that brings it, while all others wait.
    pub one_p99_us: f64,
    /// From sending a message to each topic to the last answer.
    pub all_s: f64,
}

/// Every topic that somebody waits for.
pub fn topics() -> impl Iterator<Item = String> {
    (0..TOPICS).map(|number| format!("t-{number}")).chain([LONE.into()])
}

/// Parks all of them; a server that has messages for nobody is asked no more.
pub fn wait(address: SocketAddr, server: &Process) -> Outcome<Waited> {
    runtime()?.block_on(async { Ok(park(address, server).await?.1) })
}

/// The same, and wakes one and then all.
pub fn wait_and_wake(address: SocketAddr, server: &Process) -> Outcome<(Waited, Woken)> {
    runtime()?.block_on(async {
        let (consumers, waited) = park(address, server).await?;
        let mut producer = Connection::open(address).await?;
        let one_p99_us = wake_one(address, &mut producer).await?;
        let all_s = wake_all(consumers, &mut producer).await?;
        Ok((waited, Woken { one_p99_us, all_s }))
    })
}

/// A connection, and how many of its calls wait.
type Consumer = (Connection, usize);

async fn park(address: SocketAddr, server: &Process) -> Outcome<(Vec<Consumer>, Waited)> {
    let receive = Method::new("ReceiveMessage");
    let mut consumers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(address).await?;
        connection.send().await?;
        consumers.push((connection, TOPICS));
    }
    // The lone one is the last.
    consumers[0].1 -= 1;
    quiet(server).await?;
    let before = server.anonymous_bytes()?;
    for (number, (connection, waiting)) in consumers.iter_mut().enumerate() {
        let group = format!("g-{number}");
        for topic in topics().take(*waiting) {
            connection.call(&receive, &receive_request(&group, &topic, 1));
        }
        connection.send().await?;
    }
    quiet(server).await?;
    let bytes_per_call = (server.anonymous_bytes()? - before) / (CALLS - 1) as f64;
    let (begin, cpu_us) = (Instant::now(), server.cpu_us()?);
    tokio::time::sleep(IDLE).await;
    let idle_percent = (server.cpu_us()? - cpu_us) / begin.elapsed().as_micros() as f64 * 100.0;
    Ok((consumers, Waited { bytes_per_call, idle_percent }))
}

async fn quiet(server: &Process) -> Outcome<()> {
    let begin = Instant::now();
    loop {
        let before = server.cpu_us()?;
        tokio::time::sleep(QUIET).await;
        if server.cpu_us()? == before {
            return Ok(());
        }
        if begin.elapsed() > QUIET_MAX {
            return Err(format!("failed: the server is not idle after {} s", QUIET_MAX.as_secs()));
        }
    }
}

fn send_request(topic: &str) -> Vec<u8> {
    v2::SendMessageRequest { messages: messages_of(topic, 1) }.encode_to_vec()
}

/// The answer to `send_request`.
async fn sent(producer: &mut Connection, mut count: usize) -> Outcome<()> {
    while count > 0 {
        for (_, answer) in producer.answered().await? {
            receipts(answer)?;
            count -= 1;
        }
    }
    Ok(())
}

async fn wake_one(address: SocketAddr, producer: &mut Connection) -> Outcome<f64> {
    let (receive, ack, send) = (Method::new("ReceiveMessage"), Method::new("AckMessage"), Method::new("SendMessage"));
    let (receiving, sending) = (receive_request(LONE, LONE, 1), send_request(LONE));
    let mut consumer = Connection::open(address).await?;
    let mut times = Vec::with_capacity(LONE_WAKES);
    for _ in 0..LONE_WAKES {
        consumer.call(&receive, &receiving);
        consumer.send().await?;
        tokio::time::sleep(PARKED_AFTER).await;
        let begin = Instant::now();
        producer.call(&send, &sending);
        producer.send().await?;
        let (_, answer) = consumer.answered().await?.remove(0);
        times.push(begin.elapsed());
        sent(producer, 1).await?;
        consumer.call(&ack, &ack_request(LONE, LONE, received(answer)?));
        acked(consumer.answered().await?.remove(0).1, 1)?;
    }
    times.sort_unstable();
    Ok(times[LONE_WAKES * 99 / 100].as_secs_f64() * 1e6)
}

async fn wake_all(consumers: Vec<Consumer>, producer: &mut Connection) -> Outcome<f64> {
    let mut answers = JoinSet::new();
    for (mut connection, mut waiting) in consumers {
        answers.spawn(async move {
            while waiting > 0 {
                for (_, answer) in connection.answered().await? {
                    let count = received(answer)?.len();
                    if count != 1 {
                        return Err(format!("failed: {count} messages instead of one"));
                    }
                    waiting -= 1;
                }
            }
            Ok::<_, String>(())
        });
    }
    let send = Method::new("SendMessage");
    let requests: Vec<Vec<u8>> = topics().take(TOPICS).map(|topic| send_request(&topic)).collect();
    let begin = Instant::now();
    for request in &requests {
        producer.call(&send, request);
    }
    sent(producer, TOPICS).await?;
    while let Some(answered) = answers.join_next().await {
        answered.map_err(|error| error.to_string())??;
    }
    Ok(begin.elapsed().as_secs_f64())
}
