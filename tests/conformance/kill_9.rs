//! kill -9 in the middle of sends, receives and acks over HTTP and gRPC: what was answered with success is delivered, byte
//! for byte, and what was acknowledged stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use gantry_proto::grpc::v2::receive_message_response::Content;
use harness::{Answer, Home, Server, ask, bytes_of};
use reqwest::Client;
use serde_json::{Value, json};

const ROUNDS: u64 = 50;
const SENDERS: u64 = 4;
const RECEIVERS: usize = 2;
/// Acknowledged sends of a round before it is killed: not always the same, so not always the same place.
const SENDS_MIN: u64 = 20;
const SENDS_MAX: u64 = 120;
const BODY_BYTES: usize = 1_024;

/// What the callers were told. An unknown outcome is in neither set.
#[derive(Debug, Default, Clone)]
struct History {
    /// Answered 201.
    stored: BTreeSet<u64>,
    /// Tried; maybe stored.
    tried: BTreeSet<u64>,
    /// Answered 204, and the moment of it in events.
    acked: BTreeMap<u64, usize>,
    /// Every hand-out of a message, in order: its number, whether its bytes were right, the moment of the request.
    delivered: Vec<(u64, bool, usize)>,
    events: usize,
}

impl History {
    fn tick(&mut self) -> usize {
        self.events += 1;
        self.events
    }

    /// Every broken promise, in words.
    fn violations(&self) -> Vec<String> {
        let delivered: BTreeSet<u64> = self.delivered.iter().map(|(number, ..)| *number).collect();
        let lost = self.stored.difference(&delivered).map(|number| format!("{number} was answered 201 and is lost"));
        let altered = self.delivered.iter().filter(|(_, right, _)| !right);
        let altered = altered.map(|(number, ..)| format!("{number} was delivered with other bytes"));
        let phantoms = delivered.difference(&self.tried).map(|number| format!("{number} was never sent"));
        let again =
            self.delivered.iter().filter(|(number, _, asked)| self.acked.get(number).is_some_and(|at| at < asked));
        let again = again.map(|(number, ..)| format!("{number} was answered 204 and came back"));
        lost.chain(altered).chain(phantoms).chain(again).collect()
    }
}

#[test]
fn the_checker_sees_planted_violations() {
    let mut good = History::default();
    good.tried.extend([1, 2]);
    good.stored.insert(1);
    good.delivered.push((1, true, 1));
    good.acked.insert(1, 2);
    assert!(good.violations().is_empty());
    let planted = |change: fn(&mut History)| {
        let mut history = good.clone();
        change(&mut history);
        history.violations().len()
    };
    assert_eq!(planted(|history| history.stored.extend([2])), 1, "a loss");
    assert_eq!(planted(|history| history.delivered.push((2, false, 3))), 1, "other bytes");
    assert_eq!(planted(|history| history.delivered.push((3, true, 3))), 1, "a phantom");
    assert_eq!(planted(|history| history.delivered.push((1, true, 3))), 1, "back after its ack");
}

#[tokio::test]
async fn d2_l5_fifty_kills_lose_nothing_and_bring_nothing_back() {
    let home = Home::new();
    let history = Arc::new(Mutex::new(History::default()));
    let mut next = 0;
    for round in 0..ROUNDS {
        let level = if round % 5 == 4 { "disk" } else { "memory" };
        let server = Server::start(&home.data(), &["--durability", level, "--segment-size", "8MiB"]);
        if round == 0 {
            ask(Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
        }
        let goal = SENDS_MIN + bytes_of(round + 1, 8)[0] as u64 % (SENDS_MAX - SENDS_MIN);
        let before = history.lock().unwrap().stored.len() as u64;
        let mut tasks = tokio::task::JoinSet::new();
        for sender in 0..SENDERS - 1 {
            tasks.spawn(send(server.http.clone(), history.clone(), next + sender));
        }
        for _ in 0..RECEIVERS {
            tasks.spawn(receive(server.http.clone(), history.clone(), false));
        }
        tasks.spawn(grpc_send(server.grpc.clone(), history.clone(), next + SENDERS - 1));
        tasks.spawn(grpc_receive(server.grpc.clone(), history.clone()));
        while (history.lock().unwrap().stored.len() as u64) < before + goal {
            tokio::task::yield_now().await;
        }
        // In the middle of it: no task was told.
        tokio::task::spawn_blocking(move || server.kill_9()).await.unwrap();
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task panics");
        }
        next = history.lock().unwrap().tried.last().map_or(0, |last| last + 1).next_multiple_of(SENDERS);
    }
    let server = Server::start(&home.data(), &["--segment-size", "8MiB"]);
    receive(server.http.clone(), history.clone(), true).await;
    assert_eq!(server.stop("-TERM").code(), Some(0));
    let history = history.lock().unwrap().clone();
    assert!(history.stored.len() as u64 >= ROUNDS * SENDS_MIN && history.acked.len() as u64 > ROUNDS);
    assert_eq!(history.violations(), Vec::<String>::new());
}

/// What a broker that loses its last writes would look like: the control that must fail.
#[tokio::test]
async fn control_a_log_without_its_tail_is_seen_to_lose() {
    let home = Home::new();
    let args = ["--durability", "memory", "--segment-size", "8MiB"];
    let server = Server::start(&home.data(), &args);
    let http = Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let history = Arc::new(Mutex::new(History::default()));
    let sending = tokio::spawn(send(server.http.clone(), history.clone(), 0));
    while history.lock().unwrap().stored.len() < 60 {
        tokio::task::yield_now().await;
    }
    tokio::task::spawn_blocking(move || server.kill_9()).await.unwrap();
    sending.await.unwrap();

    let log = home.data().join("commitlog/00000000000000000000");
    let mut bytes = std::fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("a written log") + 1;
    bytes[end - 16 * BODY_BYTES..end].fill(0);
    std::fs::write(&log, bytes).unwrap();
    // Refusing to start would be another way of seeing it.
    if let Ok(server) = Server::try_start(&home.data(), &args) {
        receive(server.http.clone(), history.clone(), true).await;
        let violations = history.lock().unwrap().violations();
        assert!(violations.len() >= 10, "a loss went unseen: {violations:?}");
    }
}

/// Sends numbers `first`, `first + SENDERS`, ... until the server is gone.
async fn send(base: String, history: Arc<Mutex<History>>, first: u64) {
    let http = Client::new();
    for number in (first..).step_by(SENDERS as usize) {
        history.lock().unwrap().tried.insert(number);
        let request = http
            .post(format!("{base}/v1/topics/t/messages"))
            .header("Gantry-Message-Id", format!("m{number}"))
            .body(bytes_of(number, BODY_BYTES));
        match ask(request).await {
            Some(Answer { status: 201, .. }) => drop(history.lock().unwrap().stored.insert(number)),
            // Not ready for it: not stored, and said so.
            Some(Answer { status: 503, .. }) => {}
            Some(other) => panic!("{}: {}", other.status, String::from_utf8_lossy(&other.body)),
            None => return,
        }
    }
}

/// Receives and acks until the server is gone, or, to the `end`, until nothing comes any more.
async fn receive(base: String, history: Arc<Mutex<History>>, to_the_end: bool) {
    let http = Client::new();
    loop {
        let asked = history.lock().unwrap().tick();
        let request = http
            .post(format!("{base}/v1/groups/g/receive?bodyAs=base64"))
            // To the end, longer than any lease: what was handed out and never reached us comes back first.
            .header("Prefer", if to_the_end { "wait=20" } else { "wait=1" })
            .json(&json!({"topic": "t", "maxMessages": 32, "invisibleDuration": "10s"}));
        let Some(answer) = ask(request).await else { return };
        let messages = answer.expect(200).json()["messages"].as_array().unwrap().clone();
        if messages.is_empty() && to_the_end {
            return;
        }
        for message in &messages {
            let number = number_of(message);
            let right = message["body"] == base64_of(&bytes_of(number, BODY_BYTES));
            history.lock().unwrap().delivered.push((number, right, asked));
        }
        for message in messages.iter().filter(|message| is_acked(number_of(message)) || to_the_end) {
            let handle = message["receiptHandle"].as_str().unwrap();
            let Some(answer) = ask(http.delete(format!("{base}/v1/receipts/{handle}"))).await else { return };
            answer.expect(204);
            let mut history = history.lock().unwrap();
            let at = history.tick();
            history.acked.insert(number_of(message), at);
        }
    }
}

fn asked<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().expect("ascii"));
    request
}

fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { name: name.into(), ..v2::Resource::default() })
}

/// As `send`, over gRPC. An error is the end: the server was killed.
async fn grpc_send(address: String, history: Arc<Mutex<History>>, first: u64) {
    let Ok(mut client) = MessagingServiceClient::connect(format!("http://{address}")).await else { return };
    for number in (first..).step_by(SENDERS as usize) {
        history.lock().unwrap().tried.insert(number);
        let header = v2::SystemProperties {
            message_id: format!("m{number}"),
            message_type: v2::MessageType::Normal as i32,
            body_encoding: v2::Encoding::Identity as i32,
            ..v2::SystemProperties::default()
        };
        let message = v2::Message {
            topic: resource("t"),
            body: bytes_of(number, BODY_BYTES).into(),
            system_properties: Some(header),
            ..v2::Message::default()
        };
        let Ok(reply) = client.send_message(asked(v2::SendMessageRequest { messages: vec![message] })).await else {
            return;
        };
        if reply.into_inner().status.is_some_and(|status| status.code == v2::Code::Ok as i32) {
            history.lock().unwrap().stored.insert(number);
        }
    }
}

/// As `receive`, over gRPC.
async fn grpc_receive(address: String, history: Arc<Mutex<History>>) {
    let Ok(mut client) = MessagingServiceClient::connect(format!("http://{address}")).await else { return };
    loop {
        let began = history.lock().unwrap().tick();
        let request = v2::ReceiveMessageRequest {
            group: resource("g"),
            message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
            batch_size: 32,
            invisible_duration: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
            ..v2::ReceiveMessageRequest::default()
        };
        let Ok(stream) = client.receive_message(asked(request)).await else { return };
        let mut stream = stream.into_inner();
        let mut entries = Vec::new();
        loop {
            match stream.message().await {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let Some(Content::Message(message)) = frame.content else { continue };
                    let header = message.system_properties.expect("a header");
                    let number = header.message_id[1..].parse().expect("our own id");
                    let right = message.body == bytes_of(number, BODY_BYTES);
                    history.lock().unwrap().delivered.push((number, right, began));
                    if is_acked(number) {
                        let receipt_handle = header.receipt_handle.expect("a handle");
                        entries.push(v2::AckMessageEntry {
                            message_id: header.message_id,
                            receipt_handle,
                            ..v2::AckMessageEntry::default()
                        });
                    }
                }
            }
        }
        if entries.is_empty() {
            continue;
        }
        let ack = v2::AckMessageRequest { group: resource("g"), topic: resource("t"), entries };
        let Ok(acked) = client.ack_message(asked(ack)).await else { return };
        for entry in acked.into_inner().entries {
            if entry.status.is_some_and(|status| status.code == v2::Code::Ok as i32) {
                let number = entry.message_id[1..].parse().expect("our own id");
                let mut history = history.lock().unwrap();
                let at = history.tick();
                history.acked.insert(number, at);
            }
        }
    }
}

/// Every third is kept: its lease must survive too.
fn is_acked(number: u64) -> bool {
    !number.is_multiple_of(3)
}

fn number_of(message: &Value) -> u64 {
    message["messageId"]
        .as_str()
        .and_then(|id| id.strip_prefix('m'))
        .and_then(|id| id.parse().ok())
        .expect("our own id")
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
