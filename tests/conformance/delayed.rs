//! Delayed messages through both faces: sent by one, taken by the other; recalled; and a kill in between.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::{Home, Server, ask};
use reqwest::Client;
use serde_json::{Value, json};

async fn with_topic(server: &Server) {
    let put = Client::new().put(server.url("/v1/topics/t")).json(&json!({"messageType": "delay"}));
    let topic = ask(put).await.unwrap().expect(201).json();
    assert_eq!(topic["messageType"], "delay");
}

async fn publish(server: &Server, envelope: Value) -> Value {
    let post = Client::new().post(server.url("/v1/topics/t/messages")).body(envelope.to_string());
    let post = post.header("content-type", "application/vnd.gantry.message+json");
    ask(post).await.unwrap().expect(201).json()
}

/// Waits for so many messages; says when each came, in milliseconds since 1970.
async fn receive(server: &Server, count: usize) -> Vec<(String, u128)> {
    let mut came = Vec::new();
    while came.len() < count {
        let post = Client::new().post(server.url("/v1/groups/g/receive")).header("prefer", "wait=20");
        let post = post.json(&json!({"topic": "t", "maxMessages": 32}));
        let messages = ask(post).await.unwrap().expect(200).json()["messages"].clone();
        let now = now_ms();
        for message in messages.as_array().unwrap() {
            assert_eq!(message["messageType"], "delay");
            came.push((message["body"].as_str().unwrap().to_string(), now));
        }
    }
    came
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

async fn scheduled(server: &Server) -> Value {
    ask(Client::new().get(server.url("/v1/brokers/broker-a/storage"))).await.unwrap().expect(200).json()["timer"]
        .clone()
}

#[tokio::test]
async fn messages_come_at_their_time_and_not_before_also_after_a_kill() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server).await;
    let begin = now_ms();
    let sent = publish(&server, json!({"body": "by delay", "delay": "3s"})).await;
    assert!(sent["recallHandle"].is_string());
    let sent = publish(&server, json!({"body": "by level", "delayLevel": 2})).await;
    assert!(sent["recallHandle"].is_null());
    let at = begin + 4_000;
    publish(&server, json!({"body": "by time", "deliverAt": at.to_string().parse::<u64>().unwrap()})).await;
    let raw = Client::new().post(server.url("/v1/topics/t/messages")).header("gantry-delay-level", "1").body("raw");
    ask(raw).await.unwrap().expect(201);
    server.kill_9();
    let server = Server::start(&home.data(), &[]);
    let mut came = receive(&server, 4).await;
    for (body, after) in [("by delay", 3_000), ("by level", 5_000), ("by time", 4_000), ("raw", 1_000)] {
        let at = came.iter().position(|(known, _)| known == body).expect(body);
        let (_, came_at) = came.remove(at);
        assert!(came_at >= begin + after, "{body} came {} ms early", begin + after - came_at);
    }
    assert_eq!(scheduled(&server).await, json!({"scheduled": 0, "behindMs": 0}));
}

#[tokio::test]
async fn a_recall_is_answered_by_what_it_did() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server).await;
    let recall = async |handle: &Value| {
        let path = format!("/v1/scheduled/{}", handle.as_str().unwrap());
        ask(Client::new().delete(server.url(&path))).await.unwrap().expect(200).json()["outcome"].clone()
    };
    let recalled = publish(&server, json!({"body": "recalled", "delay": "2s"})).await["recallHandle"].clone();
    let delivered = publish(&server, json!({"body": "delivered", "delay": "2s"})).await["recallHandle"].clone();
    assert_eq!(recall(&recalled).await, "recalled");
    assert_eq!(recall(&recalled).await, "recalled");
    assert_eq!(receive(&server, 1).await[0].0, "delivered");
    assert_eq!(recall(&delivered).await, "alreadyDelivered");
    let later = publish(&server, json!({"body": "later", "delay": "30d"})).await["recallHandle"].clone();
    // It counts as soon as the thread that fires has seen it.
    while scheduled(&server).await["scheduled"] != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(recall(&later).await, "recalled");
}

#[tokio::test]
async fn grpc_sends_with_a_delivery_time_and_recalls_by_rocketmqs_handle() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server).await;
    let mut client = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let topic = Some(v2::Resource { name: "t".into(), ..v2::Resource::default() });
    let due = |ahead: Duration| prost_types::Timestamp::from(SystemTime::now() + ahead);
    let message = |id: &str, ahead: Duration| v2::Message {
        topic: topic.clone(),
        body: id.as_bytes().to_vec().into(),
        system_properties: Some(v2::SystemProperties {
            message_id: id.into(),
            message_type: v2::MessageType::Delay as i32,
            body_encoding: v2::Encoding::Identity as i32,
            delivery_timestamp: Some(due(ahead)),
            ..v2::SystemProperties::default()
        }),
        ..v2::Message::default()
    };
    let asked = |messages| {
        let mut request = tonic::Request::new(v2::SendMessageRequest { messages });
        request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().unwrap());
        request
    };
    let messages = vec![message("kept", Duration::from_secs(2)), message("recalled", Duration::from_secs(60))];
    let sent = client.send_message(asked(messages)).await.unwrap().into_inner();
    assert!(sent.entries.iter().all(|entry| !entry.recall_handle.is_empty()));
    let mut recall = async |recall_handle: &str| {
        let recall = v2::RecallMessageRequest { topic: topic.clone(), recall_handle: recall_handle.into() };
        let mut request = tonic::Request::new(recall);
        request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().unwrap());
        let answer = client.recall_message(request).await.unwrap().into_inner();
        (answer.status.unwrap().code, answer.message_id)
    };
    assert_eq!(recall(&sent.entries[1].recall_handle).await, (v2::Code::Ok as i32, "recalled".to_string()));
    assert_eq!(recall("garbage").await.0, v2::Code::BadRequest as i32);
    assert_eq!(receive(&server, 1).await[0].0, "kept");
    assert_eq!(recall(&sent.entries[0].recall_handle).await.0, v2::Code::IllegalDeliveryTime as i32);
}
