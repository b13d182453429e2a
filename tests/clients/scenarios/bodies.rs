//! What a message carries comes out as it went in.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::bytes_of;
use serde_json::{Value, json};

use crate::trial::{Trial, block_on, body, encoded, held, message, receive, same, settled};

/// As large as every client takes back: some refuse an answer of more than 4 MiB, envelope included.
const LARGE: usize = 4_000_000;

pub fn large(trial: &Trial<'_>) {
    there_and_back(trial, |topic| message(topic, &bytes_of(1, LARGE)));
}

pub fn binary(trial: &Trial<'_>) {
    let every: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    there_and_back(trial, |topic| message(topic, &every));
}

pub fn unicode(trial: &Trial<'_>) {
    there_and_back(trial, |topic| {
        let properties = json!({"город": "Žilina", "城市": "北京 🚀", "plain": "ÿ"});
        json!({"topic": topic, "body": encoded("ваш заказ 订单 🚀".as_bytes()), "tag": "оплачено", "keys": ["订单-7", "ключ"],
            "properties": properties})
    });
}

/// A producer sends it, the server holds it, a consumer gets it.
fn there_and_back(trial: &Trial<'_>, sent: impl Fn(&str) -> Value) {
    let topic = trial.topic(json!({}));
    let sent = sent(&topic);
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let told = driver.tell(json!({"do": "send", "messages": [sent]}));
    assert_eq!(told[0]["saw"], "sent", "{told:?}");
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    let received = receive(&mut driver, 1, false);
    same(&received[0], &sent);
    assert_eq!(received[0]["id"], told[0]["id"]);
    settled(trial.server, trial.name, &topic);
    let held = held(trial.server, &topic);
    assert_eq!(held.len(), 1);
    if sent["body"].as_str().is_some_and(|text| text.len() < 10_000) {
        same(&held[0], &sent);
    }
}

/// Compressed by whoever sent it, in either way that RocketMQ knows.
pub fn compressed(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let plain = "again and again ".repeat(1_000).into_bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&plain).expect("in memory");
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&plain).expect("in memory");
    for packed in [gzip.finish().expect("in memory"), zlib.finish().expect("in memory")] {
        send_packed(trial, &topic, packed);
    }
    let mut driver = trial.driver();
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    for received in receive(&mut driver, 2, false) {
        assert!(body(&received) == plain, "{} bytes of {}", body(&received).len(), plain.len());
    }
    settled(trial.server, trial.name, &topic);
}

fn send_packed(trial: &Trial<'_>, topic: &str, packed: Vec<u8>) {
    let message = v2::Message {
        topic: Some(v2::Resource { name: topic.to_string(), ..v2::Resource::default() }),
        system_properties: Some(v2::SystemProperties {
            message_id: format!("packed{}", packed[0]),
            message_type: v2::MessageType::Normal.into(),
            body_encoding: v2::Encoding::Gzip.into(),
            ..v2::SystemProperties::default()
        }),
        body: packed.into(),
        ..v2::Message::default()
    };
    block_on(async {
        let mut client =
            MessagingServiceClient::connect(format!("http://{}", trial.server.grpc)).await.expect("a server");
        let mut request = tonic::Request::new(v2::SendMessageRequest { messages: vec![message] });
        request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().expect("ASCII"));
        let answer = client.send_message(request).await.expect("an answer").into_inner();
        assert_eq!(answer.status.expect("a status").code(), v2::Code::Ok);
    });
}
