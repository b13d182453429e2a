//! What was sent before is received and acked: by gRPC calls, and by pulls of NATS. Both take everything there is, know at
//! the end that it was all of it and once, and count the time until the server says that nothing is left.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry_proto::grpc::v2;
use prost::Message as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{BODY_BYTES, Load, Nats, messages_of};
use crate::h2::{CallId, Connection, Method};
use crate::server::Outcome;

/// How a consumer goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Receives {
    pub connections: usize,
    /// Receives under way on each connection.
    pub streams: usize,
    /// Messages in each, and in each ack.
    pub messages: usize,
}

/// Sends under way while a topic is filled.
const FILLING: usize = 16;
const GROUP: &str = "bench";
const TOPIC: &str = "t";
/// Longer than a round, so that nothing comes back.
const INVISIBLE_S: i64 = 600;
/// Nothing that is asked here takes so long.
const ALL_MAX: Duration = Duration::from_secs(60);
/// Where NATS pushes to.
const PUSHED: &str = "push.t";
/// Between two questions to NATS whether all was acked.
const ASK_AGAIN: Duration = Duration::from_millis(2);

// The fields of an answer that decide something; decoding passes over the others, as cheaply as a loader should.

#[derive(Clone, PartialEq, prost::Message)]
struct Received {
    #[prost(message, optional, tag = "1")]
    status: Option<Said>,
    #[prost(message, optional, tag = "2")]
    message: Option<Delivered>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Said {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Delivered {
    #[prost(message, optional, tag = "3")]
    system_properties: Option<Lease>,
    #[prost(bytes = "bytes", tag = "4")]
    body: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Lease {
    #[prost(string, tag = "3")]
    message_id: String,
    #[prost(string, tag = "12")]
    receipt_handle: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Acked {
    #[prost(message, optional, tag = "1")]
    status: Option<Said>,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<AckedEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AckedEntry {
    #[prost(message, optional, tag = "3")]
    status: Option<Said>,
}

fn is_ok(status: Option<&Said>) -> Outcome<()> {
    match status {
        Some(said) if said.code == i32::from(v2::Code::Ok) => Ok(()),
        said => Err(format!("failed: the answer was {said:?}")),
    }
}

pub fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { name: name.into(), ..v2::Resource::default() })
}

/// A receive of any message of a topic.
pub fn receive_request(group: &str, topic: &str, messages: usize) -> Vec<u8> {
    let all = v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: "*".into() };
    let request = v2::ReceiveMessageRequest {
        group: resource(group),
        message_queue: Some(v2::MessageQueue { topic: resource(topic), ..v2::MessageQueue::default() }),
        filter_expression: Some(all),
        batch_size: messages as i32,
        invisible_duration: Some(prost_types::Duration { seconds: INVISIBLE_S, nanos: 0 }),
        ..v2::ReceiveMessageRequest::default()
    };
    request.encode_to_vec()
}

/// What a receive gave: ids and handles of its messages, each of them whole.
pub fn received(answer: Vec<Bytes>) -> Outcome<Vec<v2::AckMessageEntry>> {
    received_by(answer, &mut |_| Ok(()))
}

/// The same; `arrived` sees each body.
fn received_by(
    answer: Vec<Bytes>,
    arrived: &mut impl FnMut(&[u8]) -> Outcome<()>,
) -> Outcome<Vec<v2::AckMessageEntry>> {
    let mut entries = Vec::with_capacity(answer.len());
    for (at, part) in answer.into_iter().enumerate() {
        let Received { status, message } = Received::decode(part).map_err(|error| format!("failed: {error}"))?;
        if at == 0 {
            is_ok(status.as_ref())?;
        }
        let Some(Delivered { system_properties, body }) = message else { continue };
        let Lease { message_id, receipt_handle } = system_properties.unwrap_or_default();
        if body.len() != BODY_BYTES || receipt_handle.is_empty() {
            return Err("failed: a message is not what was sent".into());
        }
        arrived(&body)?;
        entries.push(v2::AckMessageEntry { message_id, receipt_handle, lite_topic: None });
    }
    if entries.is_empty() { Err("failed: a receive said OK and gave nothing".into()) } else { Ok(entries) }
}

/// The messages of a send were stored.
pub fn receipts(answer: Vec<Bytes>) -> Outcome<()> {
    let answer = answer.into_iter().next().ok_or("failed: a send has an answer")?;
    let answer = v2::SendMessageResponse::decode(answer).map_err(|error| format!("failed: {error}"))?;
    match answer.status {
        Some(status) if status.code == i32::from(v2::Code::Ok) => Ok(()),
        status => Err(format!("failed: a send was answered {status:?}, {:?}", answer.entries.first())),
    }
}

pub fn ack_request(group: &str, topic: &str, entries: Vec<v2::AckMessageEntry>) -> Vec<u8> {
    v2::AckMessageRequest { group: resource(group), topic: resource(topic), entries }.encode_to_vec()
}

/// Every entry of an ack was.
pub fn acked(answer: Vec<Bytes>, expected: usize) -> Outcome<()> {
    let [answer] = <[Bytes; 1]>::try_from(answer).map_err(|_| "failed: an ack has one answer")?;
    let Acked { status, entries } = Acked::decode(answer).map_err(|error| format!("failed: {error}"))?;
    is_ok(status.as_ref())?;
    entries.iter().try_for_each(|entry| is_ok(entry.status.as_ref()))?;
    let count = entries.len();
    if count == expected { Ok(()) } else { Err(format!("failed: {count} of {expected} were answered")) }
}

pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

/// Sends so many messages of 1 KiB to the topic, 32 in a call.
pub fn fill(address: SocketAddr, messages: usize) -> Outcome<()> {
    const BATCH: usize = 32;
    runtime()?.block_on(async {
        let mut connection = Connection::open(address).await?;
        let send = Method::new("SendMessage");
        let request = v2::SendMessageRequest { messages: messages_of(TOPIC, BATCH as u64) }.encode_to_vec();
        let mut left = messages / BATCH;
        let mut under_way = 0;
        while left > 0 || under_way > 0 {
            while left > 0 && under_way < FILLING {
                connection.call(&send, &request);
                (left, under_way) = (left - 1, under_way + 1);
            }
            for (_, answer) in connection.answered().await? {
                receipts(answer)?;
                under_way -= 1;
            }
        }
        Ok(())
    })
}

/// What all connections together have done.
#[derive(Debug, Default)]
struct Progress {
    received: AtomicU64,
    acked: AtomicU64,
    all: u64,
    done: Notify,
}

/// Receives and acks everything the topic holds.
pub fn drain(address: SocketAddr, receives: Receives, messages: u64) -> Outcome<Load> {
    drain_by(address, receives, messages, |_| Ok(()))
}

/// The same of what is yet to come as well; `arrived` sees each body.
pub fn drain_by(
    address: SocketAddr,
    receives: Receives,
    messages: u64,
    arrived: impl FnMut(&[u8]) -> Outcome<()> + Clone + Send + 'static,
) -> Outcome<Load> {
    runtime()?.block_on(async {
        let progress = Arc::new(Progress { all: messages, ..Progress::default() });
        let mut connections = Vec::new();
        for _ in 0..receives.connections {
            connections.push(Connection::open(address).await?);
        }
        let begin = Instant::now();
        let mut consuming = JoinSet::new();
        for connection in connections {
            consuming.spawn(consume(connection, receives, progress.clone(), arrived.clone()));
        }
        tokio::select! {
            () = progress.done.notified() => {}
            Some(ended) = consuming.join_next() => ended.map_err(|error| error.to_string())??,
        }
        let seconds = begin.elapsed().as_secs_f64();
        let received = progress.received.load(Ordering::Relaxed);
        if received != messages {
            return Err(format!("failed: {messages} were sent, {received} received"));
        }
        Ok(Load { succeeded: messages, in_flight_max: 0, seconds, p50_us: None })
    })
}

/// A receive, the ack of what it gave, the next receive; until nothing is left. What waits then takes nothing.
async fn consume(
    mut connection: Connection,
    receives: Receives,
    progress: Arc<Progress>,
    mut arrived: impl FnMut(&[u8]) -> Outcome<()>,
) -> Outcome<()> {
    let (receive, ack) = (Method::new("ReceiveMessage"), Method::new("AckMessage"));
    let request = receive_request(GROUP, TOPIC, receives.messages);
    let mut acking: HashMap<CallId, usize> = HashMap::new();
    for _ in 0..receives.streams {
        connection.call(&receive, &request);
    }
    loop {
        for (call, answer) in connection.answered().await? {
            match acking.remove(&call) {
                None => {
                    let entries = received_by(answer, &mut arrived)?;
                    let count = entries.len();
                    progress.received.fetch_add(count as u64, Ordering::Relaxed);
                    acking.insert(connection.call(&ack, &ack_request(GROUP, TOPIC, entries)), count);
                }
                Some(count) => {
                    acked(answer, count)?;
                    connection.call(&receive, &request);
                    if progress.acked.fetch_add(count as u64, Ordering::Relaxed) + count as u64 == progress.all {
                        progress.done.notify_one();
                    }
                }
            }
        }
    }
}

/// The same of what a JetStream stream holds. Acks are not answered there: what counts is when the server has them all.
pub fn drain_nats(port: u16, receives: Receives, messages: u64) -> Outcome<Load> {
    let mut control = Nats::connect(port)?;
    control.create_consumer(false)?;
    let mut consumers = Vec::new();
    for number in 0..receives.connections {
        let mut consumer = Nats::connect_bare(port)?;
        for stream in 0..receives.streams {
            consumer.write(format!("SUB {} {stream}\r\n", inbox(number, stream)).as_bytes())?;
        }
        consumers.push(consumer);
    }
    let begin = Instant::now();
    let mut threads = Vec::new();
    let mut sockets = Vec::new();
    for (number, consumer) in consumers.into_iter().enumerate() {
        sockets.push(consumer.writer.try_clone().map_err(|error| error.to_string())?);
        threads.push(std::thread::spawn(move || pull(consumer, number, receives)));
    }
    control.all_acked(messages)?;
    let seconds = begin.elapsed().as_secs_f64();
    // They wait for more.
    for socket in sockets {
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
    let mut received = 0;
    for thread in threads {
        received += thread.join().map_err(|_| "a consumer panicked")??;
    }
    if received == messages {
        Ok(Load { succeeded: messages, in_flight_max: 0, seconds, p50_us: None })
    } else {
        Err(format!("failed: NATS held {messages}, {received} were received"))
    }
}

fn inbox(number: usize, stream: usize) -> String {
    format!("_INBOX.pull.{number}.{stream}")
}

/// So many pulls are always waiting. What came at once is acked at once. Ends when the socket does.
fn pull(mut nats: Nats, number: usize, receives: Receives) -> Outcome<u64> {
    let batch = format!("{{\"batch\":{}}}", receives.messages);
    let pull_for = |stream: usize| {
        format!("PUB $JS.API.CONSUMER.MSG.NEXT.B.C {} {}\r\n{batch}\r\n", inbox(number, stream), batch.len())
    };
    let pulls: Vec<String> = (0..receives.streams).map(pull_for).collect();
    nats.write(pulls.concat().as_bytes())?;
    let mut of_stream = vec![0_usize; receives.streams];
    take(nats, |stream, _, out| {
        let Some(count) = of_stream.get_mut(stream) else { return Err(format!("failed: nobody asked for {stream}")) };
        *count += 1;
        if count.is_multiple_of(receives.messages) {
            out.extend_from_slice(pulls[stream].as_bytes());
        }
        Ok(true)
    })
}

/// The same of what is yet to come, pushed to one subscription; `arrived` sees each body.
pub fn push_nats(port: u16, messages: u64, mut arrived: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
    let mut left = messages;
    let mut nats = Nats::connect_bare(port)?;
    nats.write(format!("SUB {PUSHED} 0\r\n").as_bytes())?;
    let received = take(nats, |_, body, _| {
        arrived(body)?;
        left -= 1;
        Ok(left > 0)
    })?;
    if received == messages { Ok(()) } else { Err(format!("failed: NATS pushed {received} of {messages}")) }
}

/// Acks each message that comes, until the socket ends or `each` says that it was the last. That sees its subscription and
/// its body, and may add to what is said, which goes out whenever nothing more has come.
fn take(mut nats: Nats, mut each: impl FnMut(usize, &[u8], &mut Vec<u8>) -> Outcome<bool>) -> Outcome<u64> {
    let (mut out, mut line, mut payload) = (Vec::new(), String::new(), Vec::new());
    let (mut received, mut goes_on) = (0, true);
    loop {
        line.clear();
        match nats.reader.read_line(&mut line) {
            Ok(0) | Err(_) => return Ok(received),
            Ok(_) => {}
        }
        if let Some(rest) = line.strip_prefix("MSG ") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let &[_, sid, reply, bytes] = &words[..] else { return Err(format!("failed: NATS said '{line}'")) };
            let stream = sid.parse().map_err(|_| format!("failed: NATS sent '{line}'"))?;
            let bytes: usize = bytes.parse().map_err(|_| "failed: a message without a length")?;
            payload.resize(bytes + 2, 0);
            std::io::Read::read_exact(&mut nats.reader, &mut payload).map_err(|error| error.to_string())?;
            if bytes != BODY_BYTES || !reply.starts_with("$JS.ACK.") {
                return Err(format!("failed: NATS sent '{line}'"));
            }
            received += 1;
            let _ = write!(out, "PUB {reply} 0\r\n\r\n");
            goes_on = each(stream, &payload[..bytes], &mut out)?;
        } else if line.starts_with("PING") {
            out.extend_from_slice(b"PONG\r\n");
        } else if line.starts_with("-ERR") {
            return Err(format!("failed: NATS said '{line}'"));
        }
        if (nats.reader.buffer().is_empty() || !goes_on) && !out.is_empty() {
            if nats.writer.write_all(&out).is_err() {
                return Ok(received);
            }
            out.clear();
        }
        if !goes_on {
            return Ok(received);
        }
    }
}

impl Nats {
    /// Everything of the stream, each message acked by itself: pulled, or pushed to a subject.
    pub fn create_consumer(&mut self, pushed: bool) -> Outcome<()> {
        let to = if pushed { format!(r#""deliver_subject":"{PUSHED}","#) } else { String::new() };
        let config = format!(
            r#"{{"stream_name":"B","config":{{"durable_name":"C",{to}"deliver_policy":"all","ack_policy":"explicit","max_ack_pending":1000000}}}}"#
        );
        let answer = self.ask("CONSUMER.DURABLE.CREATE.B.C", &config)?;
        if answer.contains("\"error\"") { Err(format!("nats-server: {answer}")) } else { Ok(()) }
    }

    /// Returns when the consumer has acked so many.
    pub fn all_acked(&mut self, messages: u64) -> Outcome<()> {
        let begin = Instant::now();
        loop {
            match self.left_to_consumer(messages)? {
                0 => return Ok(()),
                left if begin.elapsed() > ALL_MAX => {
                    let waited_s = ALL_MAX.as_secs();
                    return Err(format!("failed: {left} of NATS' messages are not acked after {waited_s} s"));
                }
                _ => std::thread::sleep(ASK_AGAIN),
            }
        }
    }

    /// What was not delivered or not acked yet.
    fn left_to_consumer(&mut self, messages: u64) -> Outcome<u64> {
        let answer = self.ask("CONSUMER.INFO.B.C", "")?;
        let json: serde_json::Value = serde_json::from_str(answer.trim_end()).map_err(|error| error.to_string())?;
        let number = |value: &serde_json::Value| value.as_u64().ok_or_else(|| format!("nats-server: {json}"));
        if number(&json["delivered"]["consumer_seq"])? > messages {
            return Err("failed: NATS delivered something twice".into());
        }
        Ok(messages - number(&json["ack_floor"]["stream_seq"])?)
    }

    /// So many messages, a window of them under way.
    pub fn fill(&mut self, in_flight: u64, messages: u64) -> Outcome<()> {
        self.create_stream()?;
        self.publish_while(in_flight, |begun| begun < messages)?;
        self.holds(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(content: v2::receive_message_response::Content) -> Bytes {
        v2::ReceiveMessageResponse { content: Some(content) }.encode_to_vec().into()
    }

    fn status(code: v2::Code) -> v2::Status {
        v2::Status { code: code.into(), message: String::new() }
    }

    #[test]
    fn an_answer_without_its_messages_is_a_failure() {
        use v2::receive_message_response::Content;
        let system = v2::SystemProperties {
            message_id: "id".into(),
            receipt_handle: Some("handle".into()),
            ..v2::SystemProperties::default()
        };
        let message = |bytes| v2::Message {
            system_properties: Some(system.clone()),
            body: vec![1; bytes].into(),
            ..v2::Message::default()
        };
        let ok = || part(Content::Status(status(v2::Code::Ok)));
        let entries = received(vec![ok(), part(Content::Message(message(BODY_BYTES)))]).unwrap();
        assert_eq!((&*entries[0].message_id, &*entries[0].receipt_handle), ("id", "handle"));
        for wrong in [
            vec![ok()],
            vec![ok(), part(Content::Message(message(7)))],
            vec![part(Content::Status(status(v2::Code::MessageNotFound)))],
        ] {
            assert!(received(wrong).is_err_and(|reason| reason.starts_with("failed")));
        }
    }

    #[test]
    fn an_ack_that_did_not_take_is_a_failure() {
        let entry = |code| v2::AckMessageResultEntry { status: Some(status(code)), ..Default::default() };
        let answer = |code, entries| {
            let answer = v2::AckMessageResponse { status: Some(status(code)), entries };
            acked(vec![answer.encode_to_vec().into()], 2)
        };
        use v2::Code::{InvalidReceiptHandle, MultipleResults, Ok};
        assert!(answer(Ok, vec![entry(Ok), entry(Ok)]).is_ok());
        assert!(answer(Ok, vec![entry(Ok)]).is_err());
        assert!(answer(Ok, vec![entry(Ok), entry(InvalidReceiptHandle)]).is_err());
        assert!(answer(MultipleResults, vec![entry(Ok), entry(Ok)]).is_err());
    }
}
