//! Messages at a fixed rate from a producer to a consumer that waits for them, each timed from the moment at which it was to
//! leave: over gRPC, and through a JetStream of NATS that pushes. Both from one producing loop and by one clock; each message
//! must be confirmed to its producer, arrive once, and be acked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use gantry_gateway::bench::pace::{Alarm, Schedule};
use gantry_proto::grpc::v2;
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::receive::{Receives, drain_by, push_nats, receipts, runtime};
use super::{BODY_BYTES, HELLO, Load, Nats, frame, messages_of};
use crate::h2::{Connection, Method};
use crate::measure::Latency;
use crate::server::Outcome;

/// How much, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    pub per_second: u64,
    pub seconds: u64,
}

/// Before the first moment: connections open, and consumers begin to wait.
const READY: Duration = Duration::from_millis(300);
/// What comes first finds cold caches, and is not timed.
const UNTIMED_S: u64 = 1;
/// An official push consumer has as many receives waiting as a topic has queues.
const RECEIVES: Receives = Receives { connections: 1, streams: 8, messages: 32 };

/// Sent, received and acked by gRPC calls.
pub fn over_grpc(address: SocketAddr, flow: Flow) -> Outcome<(Load, Latency)> {
    let arrivals = Arrivals::of(flow);
    let arrived = arrivals.clone();
    std::thread::scope(|scope| {
        let consumer =
            scope.spawn(move || drain_by(address, RECEIVES, flow.messages(), move |body| arrived.take(body)));
        runtime()?.block_on(async {
            let connection = Connection::open(address).await?;
            let request = v2::SendMessageRequest { messages: messages_of("t", 1) }.encode_to_vec();
            let producer =
                Producer::Grpc { connection, send: Method::new("SendMessage"), body_at: body_in(&request)?, request };
            arrivals.produce(producer).await
        })?;
        joined(consumer).map(drop)
    })?;
    arrivals.measured()
}

/// The same through NATS.
pub fn through_nats(port: u16, flow: Flow) -> Outcome<(Load, Latency)> {
    let mut control = Nats::connect(port)?;
    control.create_stream()?;
    control.create_consumer(true)?;
    // It would get the confirmations as well.
    drop(control);
    let arrivals = Arrivals::of(flow);
    let mut confirmed = Nats::connect(port)?;
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| push_nats(port, flow.messages(), |body| arrivals.take(body)));
        let confirmations = scope.spawn(move || {
            let mut line = String::new();
            (0..flow.messages()).try_for_each(|_| confirmed.acknowledged(&mut line))
        });
        runtime()?.block_on(async {
            let said = |error: std::io::Error| format!("nats-server: {error}");
            let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(said)?;
            socket.set_nodelay(true).map_err(said)?;
            let message = frame();
            let producer = Producer::Nats { socket, body_at: body_in(&message)?, message, out: HELLO.to_vec() };
            arrivals.produce(producer).await
        })?;
        joined(confirmations)?;
        joined(consumer)
    })?;
    Nats::connect(port)?.all_acked(flow.messages())?;
    arrivals.measured()
}

/// Where the body begins in the bytes of a message.
fn body_in(message: &[u8]) -> Outcome<usize> {
    let found = message.windows(BODY_BYTES).position(|bytes| bytes.iter().all(|byte| *byte == b'x'));
    found.ok_or_else(|| "a message has a body".into())
}

fn joined<T>(thread: ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().map_err(|_| "a consumer panicked")?
}

/// Who sends. A body begins with its message's number.
enum Producer {
    Grpc {
        connection: Connection,
        send: Method,
        request: Vec<u8>,
        body_at: usize,
    },
    /// Its confirmations go elsewhere.
    Nats {
        socket: TcpStream,
        message: Vec<u8>,
        body_at: usize,
        out: Vec<u8>,
    },
}

impl Producer {
    fn put(&mut self, number: u64) {
        let number = number.to_be_bytes();
        match self {
            Producer::Grpc { connection, send, request, body_at } => {
                request[*body_at..][..number.len()].copy_from_slice(&number);
                connection.call(send, request);
            }
            Producer::Nats { message, body_at, out, .. } => {
                message[*body_at..][..number.len()].copy_from_slice(&number);
                out.extend_from_slice(message);
            }
        }
    }

    async fn send(&mut self) -> Outcome<()> {
        match self {
            Producer::Grpc { connection, .. } => connection.send().await,
            Producer::Nats { socket, out, .. } => {
                socket.write_all(out).await.map_err(|error| format!("nats-server: {error}"))?;
                out.clear();
                Ok(())
            }
        }
    }

    /// How many more were confirmed, at least one.
    async fn confirmed(&mut self) -> Outcome<u64> {
        let Producer::Grpc { connection, .. } = self else { return std::future::pending().await };
        let answers = connection.answered().await?;
        let count = answers.len() as u64;
        answers.into_iter().try_for_each(|(_, answer)| receipts(answer))?;
        Ok(count)
    }
}

/// When each message was to leave, and when it arrived.
struct Arrivals {
    flow: Flow,
    begin: Instant,
    schedule: Schedule,
    /// Since the beginning; 0 is not yet.
    at_ns: Vec<AtomicU64>,
}

impl Flow {
    fn messages(self) -> u64 {
        self.per_second * (UNTIMED_S + self.seconds)
    }
}

impl Arrivals {
    fn of(flow: Flow) -> Arc<Arrivals> {
        let schedule = Schedule::new(flow.per_second as f64, 1, 0, 0, 1);
        let at_ns = (0..flow.messages()).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Arrivals { flow, begin: Instant::now() + READY, schedule, at_ns })
    }

    fn now_ns(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    /// Sends each at its moment, or as soon afterwards as may be.
    async fn produce(&self, mut producer: Producer) -> Outcome<()> {
        let alarm = Alarm::new().map_err(|error| error.to_string())?;
        let is_told = matches!(producer, Producer::Grpc { .. });
        tokio::time::sleep_until(self.begin.into()).await;
        let (mut sent, mut confirmed) = (0, 0);
        while sent < self.flow.messages() {
            let due = self.schedule.due(self.now_ns()).min(self.flow.messages());
            (sent..due).for_each(|number| producer.put(number));
            producer.send().await?;
            sent = due;
            // None at all would switch the alarm off.
            let wait_ns = self.schedule.intended_ns(sent).saturating_sub(self.now_ns()).max(1);
            tokio::select! {
                rung = alarm.sleep(Duration::from_nanos(wait_ns)) => rung.map_err(|error| error.to_string())?,
                more = producer.confirmed() => confirmed += more?,
            }
        }
        while is_told && confirmed < sent {
            confirmed += producer.confirmed().await?;
        }
        Ok(())
    }

    /// One has arrived.
    fn take(&self, body: &[u8]) -> Outcome<()> {
        let now_ns = self.now_ns().max(1);
        let number = body.first_chunk().map(|first| u64::from_be_bytes(*first));
        let at_ns = number.and_then(|number| self.at_ns.get(usize::try_from(number).ok()?));
        match at_ns.map(|at_ns| at_ns.swap(now_ns, Ordering::Relaxed)) {
            Some(0) => Ok(()),
            Some(_) => Err(format!("failed: message {number:?} came twice")),
            None => Err(format!("failed: message {number:?} was never sent")),
        }
    }

    fn measured(&self) -> Outcome<(Load, Latency)> {
        let mut times = Vec::with_capacity(self.at_ns.len());
        for (number, at_ns) in self.at_ns.iter().enumerate() {
            let at_ns = at_ns.load(Ordering::Relaxed);
            if at_ns == 0 {
                return Err(format!("failed: message {number} did not come"));
            }
            times.push(Duration::from_nanos(at_ns.saturating_sub(self.schedule.intended_ns(number as u64))));
        }
        let latency = Latency::of(times.split_off((UNTIMED_S * self.flow.per_second) as usize));
        let latency = latency.ok_or("a flow lasts longer than what is not timed")?;
        let seconds = (UNTIMED_S + self.flow.seconds) as f64;
        let load = Load { succeeded: self.flow.messages(), in_flight_max: 0, seconds, p50_us: None };
        Ok((load, latency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_foreign_or_comes_twice_is_a_failure() {
        let arrivals = Arrivals::of(Flow { per_second: 2, seconds: 1 });
        let body = |number: u64| [&number.to_be_bytes()[..], b"xx"].concat();
        assert!((0..3).all(|number| arrivals.take(&body(number)).is_ok()));
        assert!(arrivals.take(&body(2)).unwrap_err().contains("twice"));
        assert!(arrivals.take(&body(4)).unwrap_err().contains("never sent"));
        assert!(arrivals.take(b"x").unwrap_err().contains("never sent"));
        assert!(arrivals.measured().unwrap_err().contains("message 3 did not come"));
        arrivals.take(&body(3)).unwrap();
        assert_eq!(arrivals.measured().unwrap().0.succeeded, 4);
    }

    #[test]
    fn a_body_is_found_in_its_message() {
        let message = frame();
        assert_eq!(&message[body_in(&message).unwrap()..][..BODY_BYTES], [b'x'; BODY_BYTES]);
        assert!(body_in(b"xxx").is_err());
    }
}
