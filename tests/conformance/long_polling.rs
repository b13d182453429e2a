//! Ten thousand parked receives over both protocols, then one message for each: everybody gets one, nobody two.

use std::collections::HashSet;

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use gantry_proto::grpc::v2::receive_message_response::Content;
use harness::{Home, Server, ask};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

/// Over gRPC; the rest over HTTP.
const GRPC_CONNECTIONS: usize = 20;
const GRPC_POLLS_EACH: usize = 400;
/// A connection of the HTTP port carries a hundred requests at once.
const HTTP_CONNECTIONS: usize = 20;
const HTTP_POLLS_EACH: usize = 100;
const POLLS: usize = GRPC_CONNECTIONS * GRPC_POLLS_EACH + HTTP_CONNECTIONS * HTTP_POLLS_EACH;
/// Messages of one batch.
const BATCH: usize = 500;

fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { name: name.into(), ..v2::Resource::default() })
}

/// Polls until there is a message; a poll whose time is over is repeated, as every client does.
async fn over_grpc(mut client: MessagingServiceClient<Channel>) -> Vec<String> {
    loop {
        let mut request = tonic::Request::new(v2::ReceiveMessageRequest {
            group: resource("g"),
            message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
            batch_size: 1,
            invisible_duration: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            long_polling_timeout: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
            ..v2::ReceiveMessageRequest::default()
        });
        request.metadata_mut().insert("x-mq-client-id", "parked@1@0@x".parse().unwrap());
        let mut stream = client.receive_message(request).await.expect("a stream").into_inner();
        let mut bodies = Vec::new();
        while let Some(frame) = stream.message().await.expect("no transport error") {
            if let Some(Content::Message(message)) = frame.content {
                bodies.push(String::from_utf8(message.body.to_vec()).expect("what was sent"));
            }
        }
        if !bodies.is_empty() {
            return bodies;
        }
    }
}

async fn over_http(client: reqwest::Client, url: String) -> Vec<String> {
    let body = json!({ "topic": "t", "maxMessages": 1, "invisibleDuration": "10m" }).to_string();
    loop {
        let request = client.post(&url).header("prefer", "wait=30").body(body.clone());
        let answer = ask(request).await.expect("an answer").expect(200).json();
        let messages = answer["messages"].as_array().expect("a list");
        if !messages.is_empty() {
            return messages.iter().map(|message| message["body"].as_str().expect("text").to_string()).collect();
        }
    }
}

async fn parked(http: &reqwest::Client, server: &Server) -> u64 {
    let stats = ask(http.get(server.url("/v1/brokers/broker-a/stats"))).await.expect("an answer").expect(200).json();
    stats["parkedReceives"].as_u64().expect("a number")
}

#[tokio::test(flavor = "current_thread")]
async fn ten_thousand_parked_polls_are_answered_once_each() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--durability", "memory"]);
    let http = reqwest::Client::new();
    ask(http.put(server.url("/v1/topics/t")).body(json!({}).to_string())).await.unwrap().expect(201);

    let mut polls = tokio::task::JoinSet::new();
    for _ in 0..GRPC_CONNECTIONS {
        let channel = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap();
        for _ in 0..GRPC_POLLS_EACH {
            polls.spawn(over_grpc(MessagingServiceClient::new(channel.clone())));
        }
    }
    for _ in 0..HTTP_CONNECTIONS {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        for _ in 0..HTTP_POLLS_EACH {
            polls.spawn(over_http(client.clone(), server.url("/v1/groups/g/receive")));
        }
    }
    // All of them wait at the same time.
    while parked(&http, &server).await < POLLS as u64 {
        tokio::task::yield_now().await;
    }

    let numbers: Vec<usize> = (0..POLLS).collect();
    for batch in numbers.chunks(BATCH) {
        let messages: Vec<Value> = batch.iter().map(|number| json!({ "body": number.to_string() })).collect();
        let request =
            http.post(server.url("/v1/topics/t/messages/batch")).body(json!({ "messages": messages }).to_string());
        ask(request).await.unwrap().expect(201);
    }
    let mut seen = HashSet::new();
    while let Some(bodies) = polls.join_next().await {
        let bodies = bodies.expect("no poll fails");
        assert_eq!(bodies.len(), 1, "one each");
        assert!(seen.insert(bodies[0].clone()), "message {} was given out twice", bodies[0]);
    }
    assert_eq!(seen.len(), POLLS);
    assert_eq!(parked(&http, &server).await, 0);
    let lag = ask(http.get(server.url("/v1/groups/g/lag?topic=t"))).await.unwrap().expect(200).json();
    let topic = &lag["topics"][0];
    assert_eq!((topic["inflight"].as_u64(), topic["ready"].as_u64()), (Some(POLLS as u64), Some(0)));
}
