//! Transactions through both faces: begun by one and decided by the other, checked over HTTP and over Telemetry, with a
//! kill in between.

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::telemetry_command::Command as Telemetry;
use harness::ask;
use reqwest::Client;
use serde_json::{Value, json};

use crate::delivery::{FACES, Face, Held, Stage, asked, bodies, resource};

/// Soon enough for a test, and often enough that none is missed.
const HURRIED: [&str; 2] = ["--transaction-timeout=1s", "--transaction-check-interval=1s"];

/// How an end was answered: HTTP's status, or gRPC's code.
#[derive(Debug, PartialEq)]
enum Ended {
    Fine,
    Otherwise,
    NoSuch,
}

impl Stage {
    async fn with_transaction_topic(&self) {
        self.put("/v1/topics/t", json!({"messageType": "transaction"})).await;
    }

    /// Answers the transaction's handle.
    async fn begin(&mut self, body: &str) -> String {
        match self.face {
            Face::Rest => {
                let post = self.http.post(self.server.url("/v1/topics/t/transactions"));
                let post = post.header("Gantry-Producer-Group", "t").body(body.to_string());
                let sent = ask(post).await.unwrap().expect(201).json();
                assert_eq!(sent["transactionId"], sent["messageId"]);
                assert!(sent["expiresAt"].is_string());
                sent["transactionHandle"].as_str().unwrap().to_string()
            }
            Face::Grpc => {
                let message = v2::Message {
                    topic: resource("t"),
                    body: body.to_string().into(),
                    system_properties: Some(v2::SystemProperties {
                        message_id: format!("id-{body}"),
                        message_type: v2::MessageType::Transaction.into(),
                        ..v2::SystemProperties::default()
                    }),
                    ..v2::Message::default()
                };
                let request = v2::SendMessageRequest { messages: vec![message] };
                let sent = self.grpc.send_message(asked(request)).await.unwrap().into_inner();
                let [entry] = &sent.entries[..] else { panic!("{sent:?}") };
                assert_eq!(entry.status.as_ref().unwrap().code, v2::Code::Ok as i32, "{sent:?}");
                entry.transaction_id.clone()
            }
        }
    }

    async fn end(&mut self, handle: &str, resolution: v2::TransactionResolution) -> Ended {
        match self.face {
            Face::Rest => {
                let word = if resolution == v2::TransactionResolution::Commit { "commit" } else { "rollback" };
                let url = self.server.url(&format!("/v1/transactions/{handle}/{word}"));
                match ask(self.http.post(url)).await.unwrap().status {
                    204 => Ended::Fine,
                    409 => Ended::Otherwise,
                    400 => Ended::NoSuch,
                    other => panic!("{other}"),
                }
            }
            Face::Grpc => {
                let end = v2::EndTransactionRequest {
                    topic: resource("t"),
                    transaction_id: handle.to_string(),
                    resolution: resolution.into(),
                    ..v2::EndTransactionRequest::default()
                };
                let ended = self.grpc.end_transaction(asked(end)).await.unwrap().into_inner().status.unwrap();
                match ended.code() {
                    v2::Code::Ok => Ended::Fine,
                    v2::Code::PreconditionFailed => Ended::Otherwise,
                    v2::Code::InvalidTransactionId => Ended::NoSuch,
                    _ => panic!("{ended:?}"),
                }
            }
        }
    }

    async fn commit(&mut self, handle: &str) -> Ended {
        self.end(handle, v2::TransactionResolution::Commit).await
    }

    async fn roll_back(&mut self, handle: &str) -> Ended {
        self.end(handle, v2::TransactionResolution::Rollback).await
    }

    async fn open(&self) -> Vec<Value> {
        self.get("/v1/topics/t/transactions").await["items"].as_array().unwrap().clone()
    }

    /// What comes until `count` are there.
    async fn receive_all(&mut self, count: usize) -> Vec<Held> {
        let mut held = Vec::new();
        while held.len() < count {
            held.extend(self.receive(32).await);
        }
        held
    }
}

#[tokio::test]
async fn l10_the_first_decision_counts_and_a_kill_undoes_none() {
    for face in FACES {
        let mut stage = Stage::new(face).await;
        stage.with_transaction_topic().await;
        let [committed, rolled_back, open] =
            [stage.begin("committed").await, stage.begin("rolled back").await, stage.begin("open").await];
        assert!(stage.receive(32).await.is_empty(), "{face:?}: a half message is nobody's");
        assert_eq!(stage.commit(&committed).await, Ended::Fine);
        assert_eq!(stage.roll_back(&rolled_back).await, Ended::Fine);
        for _ in 0..2 {
            assert_eq!(stage.commit(&committed).await, Ended::Fine);
            assert_eq!(stage.roll_back(&committed).await, Ended::Otherwise);
            assert_eq!(stage.commit(&rolled_back).await, Ended::Otherwise);
            assert_eq!(stage.commit("t1.AAAA").await, Ended::NoSuch);
            stage = stage.killed().await;
        }
        let listed = stage.open().await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!((&listed[0]["producerGroup"], &listed[0]["checkCount"]), (&json!("t"), &json!(0)));
        assert_eq!(bodies(&stage.receive_all(1).await), ["committed"]);
        // Any face ends what another began.
        stage.face = if face == Face::Rest { Face::Grpc } else { Face::Rest };
        assert_eq!(stage.commit(&open).await, Ended::Fine);
        assert_eq!(bodies(&stage.receive_all(1).await), ["open"]);
        assert!(stage.open().await.is_empty());
        let seen = stage.get("/v1/topics/t/messages").await;
        let types: Vec<_> = seen["items"].as_array().unwrap().iter().map(|item| item["messageType"].clone()).collect();
        assert_eq!(types, ["transaction", "transaction"]);
    }
}

#[tokio::test]
async fn c7_checks_are_polled_over_http_and_given_up_after_the_last() {
    let mut stage = Stage::with(Face::Rest, &[&HURRIED[..], &["--transaction-check-max=2"]].concat()).await;
    stage.with_transaction_topic().await;
    stage.begin("answered").await;
    let url = stage.server.url("/v1/producer-groups/t/transaction-checks/receive");
    let check = async || {
        let post = Client::new().post(&url).header("prefer", "wait=20").json(&json!({"maxMessages": 1}));
        let answer = ask(post).await.unwrap().expect(200).json();
        let checks = answer["checks"].as_array().unwrap().clone();
        assert_eq!(checks.len(), 1, "{answer}");
        checks.into_iter().next().unwrap()
    };
    let first = check().await;
    assert_eq!((&first["message"]["body"], &first["checkCount"]), (&json!("answered"), &json!(1)));
    assert_eq!((&first["message"]["topic"], &first["message"]["messageType"]), (&json!("t"), &json!("transaction")));
    let handle = first["transactionHandle"].as_str().unwrap();
    assert_eq!(stage.commit(handle).await, Ended::Fine);
    assert_eq!(bodies(&stage.receive_all(1).await), ["answered"]);

    let unanswered = stage.begin("unanswered").await;
    for count in 1..=2 {
        assert_eq!(check().await["checkCount"], count);
    }
    while !stage.open().await.is_empty() {
        tokio::task::yield_now().await;
    }
    let url = stage.server.url(&format!("/v1/transactions/{unanswered}/commit"));
    let refused = ask(stage.http.post(url)).await.unwrap().expect(410).json();
    assert_eq!(refused["code"], "transaction_expired");
}

#[tokio::test]
async fn c7_a_producer_is_asked_over_the_stream_it_keeps_open() {
    let mut stage = Stage::with(Face::Grpc, &HURRIED).await;
    stage.with_transaction_topic().await;
    let publishing = v2::Publishing { topics: vec![resource("t").unwrap()], ..v2::Publishing::default() };
    let settings = v2::Settings {
        client_type: Some(v2::ClientType::Producer.into()),
        pub_sub: Some(v2::settings::PubSub::Publishing(publishing)),
        ..v2::Settings::default()
    };
    let settings = v2::TelemetryCommand { status: None, command: Some(Telemetry::Settings(settings)) };
    // Never ends: the server would end its side, too.
    let frames = tokio_stream::StreamExt::chain(tokio_stream::once(settings), tokio_stream::pending());
    let mut request = tonic::Request::new(frames);
    request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().unwrap());
    let mut telemetry = stage.grpc.telemetry(request).await.unwrap().into_inner();
    assert!(matches!(telemetry.message().await.unwrap().unwrap().command, Some(Telemetry::Settings(_))));
    stage.begin("left open").await;
    let frame = telemetry.message().await.unwrap().unwrap();
    let Some(Telemetry::RecoverOrphanedTransactionCommand(command)) = frame.command else { panic!("{frame:?}") };
    let message = command.message.unwrap();
    assert_eq!((&message.body[..], message.topic), (&b"left open"[..], resource("t")));
    let system = message.system_properties.unwrap();
    assert_eq!((system.message_id.as_str(), system.message_type()), ("id-left open", v2::MessageType::Transaction));
    // It does not know yet, and is asked again.
    assert_eq!(stage.end(&command.transaction_id, v2::TransactionResolution::Unspecified).await, Ended::Fine);
    let frame = telemetry.message().await.unwrap().unwrap();
    let Some(Telemetry::RecoverOrphanedTransactionCommand(command)) = frame.command else { panic!("{frame:?}") };
    assert_eq!(stage.roll_back(&command.transaction_id).await, Ended::Fine);
    assert!(stage.open().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_a_transaction_is_refused_and_leaves_nothing() {
    let mut stage = Stage::new(Face::Rest).await;
    stage.with_transaction_topic().await;
    stage.put("/v1/topics/normal", json!({})).await;
    let publish = |path: &str| stage.http.post(stage.server.url(path)).body("x");
    let half = |topic: &str| publish(&format!("/v1/topics/{topic}/transactions")).header("Gantry-Producer-Group", "g");
    for (request, status, code) in [
        (publish("/v1/topics/t/transactions"), 400, "invalid_parameter"),
        (publish("/v1/topics/t/transactions").header("Gantry-Producer-Group", "a b"), 400, "invalid_group"),
        (half("t").header("Gantry-Check-After", "2h"), 400, "invalid_duration"),
        (half("t").header("Gantry-Check-After", "soon"), 400, "invalid_duration"),
        (half("t").header("Gantry-Delay", "5s"), 400, "message_type_mismatch"),
        (half("t").header("Gantry-Message-Group", "a"), 400, "message_type_mismatch"),
        (half("normal"), 400, "message_type_mismatch"),
        (half("nowhere"), 404, "topic_not_found"),
        (publish("/v1/topics/t/messages"), 400, "message_type_mismatch"),
    ] {
        let refused = ask(request).await.unwrap().expect(status).json();
        assert_eq!(refused["code"], code, "{refused}");
    }
    assert!(stage.open().await.is_empty());
    let checks = |body: Value| {
        let url = stage.server.url("/v1/producer-groups/t/transaction-checks/receive");
        ask(stage.http.post(url).json(&body))
    };
    for (body, status) in [(json!({"maxMessages": 0}), 400), (json!({"maxMessages": 33}), 400), (json!({}), 200)] {
        checks(body).await.unwrap().expect(status);
    }
    stage.face = Face::Grpc;
    let handle = stage.begin("x").await;
    let elsewhere = v2::EndTransactionRequest {
        topic: resource("normal"),
        transaction_id: handle,
        resolution: v2::TransactionResolution::Commit.into(),
        ..v2::EndTransactionRequest::default()
    };
    let refused = stage.grpc.end_transaction(asked(elsewhere)).await.unwrap().into_inner();
    assert_eq!(refused.status.unwrap().code(), v2::Code::InvalidTransactionId);
    assert_eq!(stage.open().await.len(), 1);
}
