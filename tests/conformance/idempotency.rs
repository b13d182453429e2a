//! Idempotent publish through both faces: what a key answers, and a network that loses one reply in ten.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::lossy_proxy::LossyProxy;
use harness::{Answer, Home, Server, ask};
use reqwest::Client;
use serde_json::{Value, json};
use tonic::transport::Channel;

/// Over HTTP, each on a connection of its own.
const HTTP_SENDERS: usize = 32;
const HTTP_SENDS: usize = 20_000;
const GRPC_SENDERS: usize = 8;
const GRPC_SENDS: usize = 2_000;
/// Enough that replies are lost.
const CONTROL_SENDS: usize = 1_000;

async fn with_topic(server: &Server, topic: &str, message_type: &str) {
    let put = Client::new().put(server.url(&format!("/v1/topics/{topic}"))).json(&json!({"messageType": message_type}));
    ask(put).await.unwrap().expect(201);
}

async fn publish(client: &Client, base: &str, topic: &str, key: Option<&str>, body: &str) -> Option<Answer> {
    let mut post = client.post(format!("{base}/v1/topics/{topic}/messages")).body(body.to_string());
    if let Some(key) = key {
        post = post.header("idempotency-key", key);
    }
    ask(post).await
}

/// What a publish answers about the stored message.
fn told(published: &Value) -> [Value; 6] {
    ["messageId", "offsetMessageId", "queueId", "queueOffset", "storeTimestamp", "recallHandle"]
        .map(|field| published[field].clone())
}

/// How many messages the topic's queues hold.
async fn stored(server: &Server, topic: &str) -> u64 {
    let queues = ask(Client::new().get(server.url(&format!("/v1/topics/{topic}/queues")))).await.unwrap().expect(200);
    let queues = queues.json();
    let held = |queue: &Value| queue["maxOffset"].as_u64().unwrap() - queue["minOffset"].as_u64().unwrap();
    queues["items"].as_array().unwrap().iter().map(held).sum()
}

async fn grpc(address: &str) -> Option<MessagingServiceClient<Channel>> {
    MessagingServiceClient::connect(format!("http://{address}")).await.ok()
}

fn keyed_over_grpc(topic: &str, key: &str, body: &str) -> tonic::Request<v2::SendMessageRequest> {
    let message = v2::Message {
        topic: Some(v2::Resource { name: topic.into(), ..v2::Resource::default() }),
        body: body.as_bytes().to_vec().into(),
        user_properties: [("Idempotency-Key".to_string(), key.to_string())].into(),
        system_properties: Some(v2::SystemProperties {
            message_id: "its own".into(),
            message_type: v2::MessageType::Normal as i32,
            body_encoding: v2::Encoding::Identity as i32,
            ..v2::SystemProperties::default()
        }),
    };
    let mut request = tonic::Request::new(v2::SendMessageRequest { messages: vec![message] });
    request.metadata_mut().insert("x-mq-client-id", "keyed@1@0@x".parse().unwrap());
    request
}

#[tokio::test]
async fn l3_both_faces_answer_a_repeat_with_the_first_result_also_after_a_kill() {
    let home = Home::new();
    let mut server = Server::start(&home.data(), &[]);
    with_topic(&server, "t", "normal").await;
    with_topic(&server, "later", "delay").await;
    let client = Client::new();
    let first = publish(&client, &server.url(""), "t", Some("k"), "body").await.unwrap().expect(201);
    assert_eq!(first.headers["gantry-idempotency"], "enforced");
    let first = first.json();
    let delayed = json!({"body": "later", "delay": "1h", "idempotencyKey": "d"}).to_string();
    let publish_delayed = async |server: &Server| {
        let post = Client::new().post(server.url("/v1/topics/later/messages")).body(delayed.clone());
        ask(post.header("content-type", "application/vnd.gantry.message+json")).await.unwrap()
    };
    let first_delayed = publish_delayed(&server).await.expect(201).json();
    assert!(first_delayed["recallHandle"].is_string());
    let mut over_grpc = grpc(&server.grpc).await.unwrap();
    let first_grpc = over_grpc.send_message(keyed_over_grpc("t", "g", "body")).await.unwrap().into_inner();
    for restarted in [false, true] {
        if restarted {
            server.kill_9();
            server = Server::start(&home.data(), &[]);
        }
        let again = publish(&client, &server.url(""), "t", Some("k"), "body").await.unwrap().expect(200);
        assert_eq!(again.headers["gantry-idempotency"], "enforced");
        assert_eq!((again.json()["duplicate"].clone(), told(&again.json())), (json!(true), told(&first)));
        let again = publish_delayed(&server).await.expect(200).json();
        assert_eq!(
            (told(&again)[0].clone(), told(&again)[4].clone()),
            (told(&first_delayed)[0].clone(), told(&first_delayed)[4].clone())
        );
        assert!(again["recallHandle"].is_string() && again["duplicate"] == true);
        let reused = publish(&client, &server.url(""), "t", Some("k"), "another").await.unwrap().expect(422);
        assert_eq!(reused.code(), "idempotency_key_reused");
        // The same key over the other face is the same key.
        let mut over_grpc = grpc(&server.grpc).await.unwrap();
        let again = over_grpc.send_message(keyed_over_grpc("t", "g", "body")).await.unwrap().into_inner();
        assert_eq!(again, first_grpc);
        let again = over_grpc.send_message(keyed_over_grpc("t", "k", "body")).await.unwrap().into_inner();
        assert_eq!(again.entries[0].message_id, first["messageId"].as_str().unwrap());
        let reused = over_grpc.send_message(keyed_over_grpc("t", "k", "another")).await.unwrap().into_inner();
        assert_eq!(reused.entries[0].status.as_ref().unwrap().code, v2::Code::BadRequest as i32);
        let again = publish(&client, &server.url(""), "t", Some("g"), "body").await.unwrap().expect(200).json();
        assert_eq!(again["messageId"], first_grpc.entries[0].message_id.as_str());
    }
    assert_eq!(stored(&server, "t").await, 2);
    // The key stands for one that can be recalled still.
    let handle = publish_delayed(&server).await.expect(200).json()["recallHandle"].as_str().unwrap().to_string();
    let recalled = ask(Client::new().delete(server.url(&format!("/v1/scheduled/{handle}")))).await.unwrap().expect(200);
    assert_eq!(recalled.json()["outcome"], "recalled");
}

/// The whole of what producers do: send, and send again until somebody says that it is stored.
#[tokio::test]
async fn l3_with_one_reply_in_ten_lost_each_key_is_stored_once() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server, "t", "normal").await;
    let proxy = LossyProxy::start(server.http.strip_prefix("http://").unwrap().parse().unwrap(), 1).await;
    let base = format!("http://{}", proxy.address);
    let answers = send_all(&base, "t", HTTP_SENDS, true).await;
    assert!(proxy.lost_replies() > HTTP_SENDS as u64 / 20, "{}", proxy.lost_replies());
    let places: HashSet<_> =
        answers.iter().map(|answer| (answer["queueId"].as_u64(), answer["queueOffset"].as_u64())).collect();
    let ids: HashSet<_> = answers.iter().map(|answer| answer["messageId"].as_str().expect("an id")).collect();
    assert_eq!((places.len(), ids.len(), stored(&server, "t").await), (HTTP_SENDS, HTTP_SENDS, HTTP_SENDS as u64));
    assert!(answers.iter().any(|answer| answer["duplicate"] == true), "some replies were lost behind the append");
}

#[tokio::test]
async fn l3_with_one_reply_in_ten_lost_each_key_is_stored_once_over_grpc() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server, "t", "normal").await;
    let proxy = LossyProxy::start(server.grpc.parse().unwrap(), 2).await;
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..GRPC_SENDERS).map(|_| {
        let (next, address) = (next.clone(), proxy.address.to_string());
        tokio::spawn(async move {
            let (mut ids, mut client) = (Vec::new(), None);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= GRPC_SENDS {
                    return ids;
                }
                let entry = loop {
                    let Some(connected) = &mut client else {
                        client = grpc(&address).await;
                        continue;
                    };
                    let sent = connected.send_message(keyed_over_grpc("t", &number.to_string(), "body")).await;
                    match sent.map(|sent| sent.into_inner().entries.remove(0)) {
                        Ok(entry) if entry.status.as_ref().unwrap().code == v2::Code::Ok as i32 => break entry,
                        Ok(entry) => assert_eq!(entry.status.unwrap().code, v2::Code::TooManyRequests as i32),
                        Err(_) => client = None,
                    }
                };
                ids.push(entry.message_id);
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut ids = HashSet::new();
    for sender in senders {
        ids.extend(sender.await.unwrap());
    }
    assert!(proxy.lost_replies() > GRPC_SENDS as u64 / 20, "{}", proxy.lost_replies());
    assert_eq!((ids.len(), stored(&server, "t").await), (GRPC_SENDS, GRPC_SENDS as u64));
}

#[tokio::test]
async fn control_without_keys_lost_replies_make_duplicates() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server, "t", "normal").await;
    let proxy = LossyProxy::start(server.http.strip_prefix("http://").unwrap().parse().unwrap(), 3).await;
    let base = format!("http://{}", proxy.address);
    send_all(&base, "t", CONTROL_SENDS, false).await;
    let stored = stored(&server, "t").await;
    assert!(stored > CONTROL_SENDS as u64 + CONTROL_SENDS as u64 / 50, "{stored}");
}

async fn send_all(base: &str, topic: &'static str, sends: usize, keyed: bool) -> Vec<Value> {
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..HTTP_SENDERS).map(|_| {
        let (next, base) = (next.clone(), base.to_string());
        tokio::spawn(async move {
            let (client, mut answers) = (Client::new(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sends {
                    return answers;
                }
                let key = format!("order-{number}");
                answers.push(until_stored(&client, &base, topic, keyed.then_some(&key)).await);
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut answers = Vec::new();
    for sender in senders {
        answers.extend(sender.await.unwrap());
    }
    answers
}

async fn until_stored(client: &Client, base: &str, topic: &str, key: Option<&String>) -> Value {
    loop {
        match publish(client, base, topic, key.map(String::as_str), "body").await {
            Some(answer) if matches!(answer.status, 200 | 201) => return answer.json(),
            Some(answer) => assert_eq!(answer.code(), "idempotency_in_progress"),
            None => {}
        }
    }
}
