//! The gRPC face between two protocols: what one sends the other receives, with all its metadata.

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use gantry_proto::grpc::v2::receive_message_response::Content;
use harness::{Home, Server, ask, bytes_of};
use serde_json::json;

fn asked<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().unwrap());
    request
}

fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { name: name.into(), ..v2::Resource::default() })
}

fn receive(group: &str, batch_size: i32, tags: &str) -> v2::ReceiveMessageRequest {
    v2::ReceiveMessageRequest {
        group: resource(group),
        message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
        batch_size,
        filter_expression: Some(v2::FilterExpression { r#type: v2::FilterType::Tag as i32, expression: tags.into() }),
        invisible_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..v2::ReceiveMessageRequest::default()
    }
}

async fn frames(
    client: &mut MessagingServiceClient<tonic::transport::Channel>,
    request: v2::ReceiveMessageRequest,
) -> (i32, Vec<v2::Message>) {
    let mut stream = client.receive_message(asked(request)).await.expect("a stream").into_inner();
    let (mut status, mut messages, mut ended) = (None, Vec::new(), false);
    while let Some(frame) = stream.message().await.expect("no transport error") {
        match frame.content.expect("every frame holds something") {
            Content::Status(first) => {
                assert!(status.is_none() && messages.is_empty(), "one status, and first");
                status = Some(first.code);
            }
            Content::Message(message) => messages.push(message),
            Content::DeliveryTimestamp(_) => ended = true,
        }
        assert!(!ended || status.is_some());
    }
    assert!(ended, "the delivery timestamp comes last");
    (status.expect("a status"), messages)
}

#[tokio::test]
async fn a_message_crosses_from_grpc_to_rest_and_back() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let http = reqwest::Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let mut client = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();

    let body = bytes_of(1, 10_000);
    let message = v2::Message {
        topic: resource("t"),
        body: body.clone().into(),
        user_properties: [("Region".to_string(), "eu".to_string())].into(),
        system_properties: Some(v2::SystemProperties {
            tag: Some("paid".into()),
            keys: vec!["k1".into(), "k2".into()],
            message_id: "0102AA".into(),
            message_type: v2::MessageType::Normal as i32,
            body_encoding: v2::Encoding::Identity as i32,
            ..v2::SystemProperties::default()
        }),
    };
    let sent =
        client.send_message(asked(v2::SendMessageRequest { messages: vec![message] })).await.unwrap().into_inner();
    assert_eq!(sent.status.unwrap().code, v2::Code::Ok as i32);
    assert_eq!(sent.entries[0].message_id, "0102AA");
    let read = ask(http.post(server.url("/v1/groups/rest/receive?bodyAs=base64")).json(&json!({"topic": "t"})));
    let read = read.await.unwrap().expect(200).json()["messages"][0].clone();
    assert_eq!(read["messageId"], "0102AA");
    assert_eq!((&read["tag"], &read["keys"]), (&json!("paid"), &json!(["k1", "k2"])));
    assert_eq!((&read["properties"], &read["bodySize"]), (&json!({"Region": "eu"}), &json!(10_000)));

    let publish = http.post(server.url("/v1/topics/t/messages")).header("Gantry-Tag", "open").body("from rest");
    ask(publish).await.unwrap().expect(201);
    let (status, messages) = frames(&mut client, receive("grpc", 32, "paid")).await;
    assert_eq!((status, messages.len()), (v2::Code::Ok as i32, 1));
    assert_eq!(messages[0].body, body);
    let header = messages[0].system_properties.as_ref().unwrap();
    assert_eq!((header.delivery_attempt, header.message_id.as_str()), (Some(1), "0102AA"));
    assert!(header.body_digest.is_some() && header.body_encoding == v2::Encoding::Identity as i32);
    let entry = v2::AckMessageEntry {
        message_id: header.message_id.clone(),
        receipt_handle: header.receipt_handle.clone().expect("a handle"),
        ..v2::AckMessageEntry::default()
    };
    let ack = v2::AckMessageRequest { group: resource("grpc"), topic: resource("t"), entries: vec![entry] };
    let acked = client.ack_message(asked(ack.clone())).await.unwrap().into_inner();
    assert_eq!((acked.status.unwrap().code, acked.entries.len()), (v2::Code::Ok as i32, 1));
    let again = client.ack_message(asked(ack)).await.unwrap().into_inner();
    assert_eq!(again.status.unwrap().code, v2::Code::Ok as i32, "acking twice is fine");

    let (status, messages) = frames(&mut client, receive("all", 32, "*")).await;
    assert_eq!((status, messages.len()), (v2::Code::Ok as i32, 2));
    let held = messages.iter().find(|message| message.body == "from rest").unwrap().system_properties.clone().unwrap();
    let change = v2::ChangeInvisibleDurationRequest {
        group: resource("all"),
        topic: resource("t"),
        receipt_handle: held.receipt_handle.clone().unwrap(),
        invisible_duration: Some(prost_types::Duration::default()),
        message_id: held.message_id.clone(),
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    let changed = client.change_invisible_duration(asked(change.clone())).await.unwrap().into_inner();
    assert_eq!(changed.status.unwrap().code, v2::Code::Ok as i32);
    assert_ne!(changed.receipt_handle, held.receipt_handle.unwrap());
    let (_, again) = frames(&mut client, receive("all", 32, "*")).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].system_properties.as_ref().unwrap().delivery_attempt, Some(2));
    // The old handle is void, and comes back all the same: clients store it unseen.
    let refused = client.change_invisible_duration(asked(change.clone())).await.unwrap().into_inner();
    assert_eq!(refused.status.unwrap().code, v2::Code::InvalidReceiptHandle as i32);
    assert_eq!(refused.receipt_handle, change.receipt_handle);
}
