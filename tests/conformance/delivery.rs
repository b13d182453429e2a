//! How messages are delivered, as scenarios: each is written once and played over REST and over gRPC, the server killed
//! in between where that must not matter.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use gantry_proto::grpc::v2::receive_message_response::Content;
use harness::{Home, Server, ask};
use reqwest::Client;
use serde_json::{Value, json};
use tonic::transport::Channel;

/// A way to speak to the server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Face {
    Rest,
    Grpc,
}

pub(crate) const FACES: [Face; 2] = [Face::Rest, Face::Grpc];

pub(crate) struct Stage {
    home: Home,
    pub(crate) server: Server,
    pub(crate) face: Face,
    pub(crate) http: Client,
    pub(crate) grpc: MessagingServiceClient<Channel>,
}

/// A message in somebody's hands.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) body: String,
    attempt: u64,
    message_group: String,
    handle: String,
}

pub(crate) fn asked<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().unwrap());
    request.set_timeout(Duration::from_secs(30));
    request
}

pub(crate) fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { name: name.into(), ..v2::Resource::default() })
}

async fn connect(server: &Server) -> MessagingServiceClient<Channel> {
    MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.expect("a connection")
}

impl Stage {
    pub(crate) async fn new(face: Face) -> Stage {
        Stage::with(face, &[]).await
    }

    pub(crate) async fn with(face: Face, args: &[&str]) -> Stage {
        let home = Home::new();
        let server = Server::start(&home.data(), args);
        let grpc = connect(&server).await;
        Stage { home, server, face, http: Client::new(), grpc }
    }

    /// As `kill -9` leaves it, and started again.
    pub(crate) async fn killed(self) -> Stage {
        let Stage { home, server, face, .. } = self;
        server.kill_9();
        let server = Server::start(&home.data(), &[]);
        let grpc = connect(&server).await;
        Stage { home, server, face, http: Client::new(), grpc }
    }

    /// What only REST can do: topics, groups, looking.
    pub(crate) async fn put(&self, path: &str, body: Value) {
        ask(self.http.put(self.server.url(path)).json(&body)).await.unwrap().expect(201);
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        ask(self.http.get(self.server.url(path))).await.unwrap().expect(200).json()
    }

    async fn send(&mut self, message_group: &str, body: &str) {
        match self.face {
            Face::Rest => {
                let publish = self.http.post(self.server.url("/v1/topics/t/messages"));
                let publish = match message_group {
                    "" => publish,
                    group => publish.header("Gantry-Message-Group", group),
                };
                ask(publish.body(body.to_string())).await.unwrap().expect(201);
            }
            Face::Grpc => {
                let message = v2::Message {
                    topic: resource("t"),
                    body: body.to_string().into(),
                    system_properties: Some(v2::SystemProperties {
                        message_id: format!("id-{body}"),
                        message_group: (!message_group.is_empty()).then(|| message_group.to_string()),
                        ..v2::SystemProperties::default()
                    }),
                    ..v2::Message::default()
                };
                let request = v2::SendMessageRequest { messages: vec![message] };
                let sent = self.grpc.send_message(asked(request)).await.unwrap().into_inner();
                assert_eq!(sent.status.unwrap().code, v2::Code::Ok as i32);
            }
        }
    }

    /// What is there now.
    pub(crate) async fn receive(&mut self, count: u32) -> Vec<Held> {
        self.receive_as(count, "").await
    }

    async fn receive_as(&mut self, count: u32, attempt_id: &str) -> Vec<Held> {
        match self.face {
            Face::Rest => {
                let mut body = json!({"topic": "t", "maxMessages": count, "invisibleDuration": "30s"});
                if !attempt_id.is_empty() {
                    body["attemptId"] = attempt_id.into();
                }
                let url = self.server.url("/v1/groups/g/receive");
                let received = ask(self.http.post(url).json(&body)).await.unwrap().expect(200).json();
                let text = |message: &Value, name: &str| message[name].as_str().unwrap_or_default().to_string();
                let messages = received["messages"].as_array().unwrap().iter();
                messages
                    .map(|message| Held {
                        body: text(message, "body"),
                        attempt: message["deliveryAttempt"].as_u64().unwrap(),
                        message_group: text(message, "messageGroup"),
                        handle: text(message, "receiptHandle"),
                    })
                    .collect()
            }
            Face::Grpc => {
                let request = v2::ReceiveMessageRequest {
                    group: resource("g"),
                    message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
                    batch_size: i32::try_from(count).unwrap(),
                    invisible_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
                    attempt_id: (!attempt_id.is_empty()).then(|| attempt_id.to_string()),
                    ..v2::ReceiveMessageRequest::default()
                };
                let mut request = asked(request);
                // Too short to wait for anything.
                request.set_timeout(Duration::from_millis(250));
                let mut stream = self.grpc.receive_message(request).await.expect("a stream").into_inner();
                let mut held = Vec::new();
                while let Some(frame) = stream.message().await.expect("no transport error") {
                    let Some(Content::Message(message)) = frame.content else { continue };
                    let system = message.system_properties.unwrap();
                    held.push(Held {
                        body: String::from_utf8(message.body.to_vec()).unwrap(),
                        attempt: u64::try_from(system.delivery_attempt.unwrap()).unwrap(),
                        message_group: system.message_group.unwrap_or_default(),
                        handle: system.receipt_handle.unwrap(),
                    });
                }
                held
            }
        }
    }

    async fn ack(&mut self, held: &Held) {
        match self.face {
            Face::Rest => {
                let url = self.server.url(&format!("/v1/receipts/{}", held.handle));
                ask(self.http.delete(url)).await.unwrap().expect(204);
            }
            Face::Grpc => {
                let entry =
                    v2::AckMessageEntry { receipt_handle: held.handle.clone(), ..v2::AckMessageEntry::default() };
                let ack = v2::AckMessageRequest { group: resource("g"), topic: resource("t"), entries: vec![entry] };
                let acked = self.grpc.ack_message(asked(ack)).await.unwrap().into_inner();
                assert_eq!(acked.status.unwrap().code, v2::Code::Ok as i32);
            }
        }
    }

    /// Gives it back, to be visible at once.
    async fn nack(&mut self, held: &Held) {
        match self.face {
            Face::Rest => {
                let url = self.server.url(&format!("/v1/receipts/{}/nack", held.handle));
                ask(self.http.post(url).json(&json!({"retryAfter": "0s"}))).await.unwrap().expect(200);
            }
            Face::Grpc => {
                let change = v2::ChangeInvisibleDurationRequest {
                    group: resource("g"),
                    topic: resource("t"),
                    receipt_handle: held.handle.clone(),
                    invisible_duration: Some(prost_types::Duration::default()),
                    ..v2::ChangeInvisibleDurationRequest::default()
                };
                let changed = self.grpc.change_invisible_duration(asked(change)).await.unwrap().into_inner();
                assert_eq!(changed.status.unwrap().code, v2::Code::Ok as i32);
            }
        }
    }

    /// Says whether it was taken.
    async fn give_up(&mut self, handle: &str) -> bool {
        match self.face {
            Face::Rest => {
                let url = self.server.url(&format!("/v1/receipts/{handle}/dead-letter"));
                ask(self.http.post(url).json(&json!({}))).await.unwrap().status == 200
            }
            Face::Grpc => {
                let forward = v2::ForwardMessageToDeadLetterQueueRequest {
                    group: resource("g"),
                    topic: resource("t"),
                    receipt_handle: handle.to_string(),
                    ..v2::ForwardMessageToDeadLetterQueueRequest::default()
                };
                let forwarded = self.grpc.forward_message_to_dead_letter_queue(asked(forward)).await.unwrap();
                forwarded.into_inner().status.unwrap().code == v2::Code::Ok as i32
            }
        }
    }

    async fn dead_letters(&self) -> Vec<Value> {
        let letters = self.get("/v1/groups/g/dlq/messages?order=asc").await;
        letters["items"].as_array().unwrap().clone()
    }
}

pub(crate) fn bodies(held: &[Held]) -> Vec<&str> {
    held.iter().map(|held| held.body.as_str()).collect()
}

#[tokio::test]
async fn l6_a_message_group_comes_in_its_order_and_waits_for_itself_alone() {
    for face in FACES {
        let mut stage = Stage::new(face).await;
        stage.put("/v1/topics/t", json!({"messageType": "fifo", "readQueues": 1})).await;
        for (group, body) in [("group-A", "a1"), ("order-9", "o1"), ("group-A", "a2"), ("order-9", "o2")] {
            stage.send(group, body).await;
        }
        let first = stage.receive(1).await;
        let others = stage.receive(32).await;
        let groups: Vec<_> = [&first[..], &others].concat().iter().map(|held| held.message_group.clone()).collect();
        assert_eq!(others.len(), 2, "{face:?}: {first:?} {others:?}");
        assert!(others.iter().all(|held| held.message_group != first[0].message_group), "{face:?}: {groups:?}");
        assert!(first[0].body.ends_with('1') && others[0].body.ends_with('1') && others[1].body.ends_with('2'));
        let mut stage = stage.killed().await;
        assert!(stage.receive(32).await.is_empty(), "{face:?}: all that is left waits");
        stage.nack(&first[0]).await;
        let again = stage.receive(32).await;
        assert_eq!((bodies(&again), again[0].attempt), (vec![first[0].body.as_str()], 2), "{face:?}");
        stage.ack(&again[0]).await;
        let last = stage.receive(32).await;
        assert_eq!((last.len(), &last[0].message_group), (1, &first[0].message_group), "{face:?}");
        assert!(last[0].body.ends_with('2'));
    }
}

#[tokio::test]
async fn c4_a_receive_whose_answer_was_lost_is_asked_again_by_its_name() {
    for face in FACES {
        let mut stage = Stage::new(face).await;
        stage.put("/v1/topics/t", json!({"messageType": "fifo"})).await;
        for body in ["1", "2", "3"] {
            stage.send("g", body).await;
        }
        let lost = stage.receive_as(2, "attempt-1").await;
        assert_eq!(bodies(&lost), ["1", "2"], "{face:?}");
        assert!(stage.receive_as(2, "attempt-2").await.is_empty());
        let mut stage = stage.killed().await;
        let again = stage.receive_as(2, "attempt-1").await;
        assert_eq!((bodies(&again), again[0].attempt), (vec!["1", "2"], 1), "{face:?}");
        stage.ack(&again[1]).await;
        stage.ack(&again[0]).await;
        assert_eq!(bodies(&stage.receive(2).await), ["3"], "{face:?}");
    }
}

#[tokio::test]
async fn l7_a_message_that_nobody_can_consume_becomes_a_dead_letter_and_lets_its_group_go_on() {
    for face in FACES {
        let mut stage = Stage::new(face).await;
        stage.put("/v1/topics/t", json!({"messageType": "fifo"})).await;
        stage.put("/v1/groups/g", json!({"retryMaxTimes": 1, "startFrom": "min"})).await;
        for body in ["bad", "good"] {
            stage.send("g", body).await;
        }
        for attempt in 1..=2 {
            let held = stage.receive(1).await;
            assert_eq!((bodies(&held), held[0].attempt), (vec!["bad"], attempt), "{face:?}");
            stage.nack(&held[0]).await;
        }
        let held = loop {
            // It is moved by a thread of its own, a moment later.
            let held = stage.receive(1).await;
            if !held.is_empty() {
                break held;
            }
        };
        assert_eq!(bodies(&held), ["good"], "{face:?}");
        stage.ack(&held[0]).await;
        let stage = stage.killed().await;
        let letters = stage.dead_letters().await;
        assert_eq!(letters.len(), 1, "{face:?}");
        assert_eq!((&letters[0]["body"], &letters[0]["topic"]), (&json!("bad"), &json!("%DLQ%g")));
        let origin = &letters[0]["deadLetter"];
        assert_eq!((&origin["topic"], &origin["deliveryAttempts"]), (&json!("t"), &json!(2)));
        let lag = stage.get("/v1/groups/g/lag?topic=t").await;
        assert_eq!((&lag["totalLag"], &lag["topics"][0]["inflight"]), (&json!(0), &json!(0)), "{face:?}");
    }
}

#[tokio::test]
async fn l8_given_up_by_hand_a_message_is_a_dead_letter_once() {
    for face in FACES {
        let mut stage = Stage::new(face).await;
        stage.put("/v1/topics/t", json!({})).await;
        for body in ["a", "b"] {
            stage.send("", body).await;
        }
        let held = stage.receive(2).await;
        assert!(
            stage.give_up(&held[0].handle).await && stage.give_up(&held[0].handle).await,
            "{face:?}: twice is fine"
        );
        assert!(!stage.give_up("r1.garbage").await, "{face:?}");
        stage.nack(&held[1]).await;
        assert!(!stage.give_up(&held[1].handle).await, "{face:?}: a handle that a newer one replaced");
        let mut stage = stage.killed().await;
        assert_eq!(bodies(&stage.receive(2).await), [held[1].body.as_str()], "{face:?}");
        let letters = stage.dead_letters().await;
        assert_eq!((letters.len(), &letters[0]["body"]), (1, &json!(held[0].body)), "{face:?}");
    }
}

#[tokio::test]
async fn many_consumers_keep_every_message_group_in_order_through_kills() {
    const GROUPS: usize = 20;
    const EACH: usize = 15;
    for face in FACES {
        let mut stage = Stage::new(face).await;
        stage.put("/v1/topics/t", json!({"messageType": "fifo"})).await;
        for number in 0..EACH {
            for group in 0..GROUPS {
                stage.send(&format!("group{group}"), &format!("{group}:{number}")).await;
            }
        }
        let mut next: BTreeMap<String, usize> = BTreeMap::new();
        let mut waiting: Vec<Held> = Vec::new();
        let mut turns = 0;
        while next.values().sum::<usize>() < GROUPS * EACH {
            turns += 1;
            assert!(turns < 2_000, "{face:?}: it stands still at {next:?}");
            if turns % 40 == 0 {
                stage = stage.killed().await;
            }
            let held = stage.receive(7).await;
            for held in held {
                let (group, number) = held.body.split_once(':').unwrap();
                let number: usize = number.parse().unwrap();
                let of_group = waiting.iter().filter(|waits| waits.message_group == held.message_group).count();
                let expected = next.get(group).copied().unwrap_or_default() + of_group;
                assert_eq!(number, expected, "{face:?}: {held:?} while {of_group} of its group are held");
                waiting.push(held);
            }
            // Some are given back; what is behind them in their group must then wait or come again behind them.
            match (turns % 5, waiting.is_empty()) {
                (_, true) => {}
                (0, false) => {
                    let group = waiting[0].message_group.clone();
                    let (back, keep) = waiting.into_iter().partition::<Vec<_>, _>(|held| held.message_group == group);
                    waiting = keep;
                    for held in back.iter().rev() {
                        stage.nack(held).await;
                    }
                }
                (_, false) => {
                    for held in std::mem::take(&mut waiting) {
                        stage.ack(&held).await;
                        *next.entry(held.body.split_once(':').unwrap().0.to_string()).or_default() += 1;
                    }
                }
            }
        }
        assert!(stage.receive(1).await.is_empty());
    }
}
