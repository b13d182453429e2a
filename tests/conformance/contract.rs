//! The rpcs of the contract that no official client's public interface calls: pulling by offset, and offsets
//! themselves; and consumers whose messages stay with them while they live.

use std::time::Duration;

use gantry_proto::grpc::v2;
use serde_json::json;
use v2::Code;
use v2::pull_message_response::Content;

use crate::delivery::{Face, Stage, asked, resource};

fn queue(id: i32) -> Option<v2::MessageQueue> {
    Some(v2::MessageQueue { topic: resource("t"), id, ..v2::MessageQueue::default() })
}

/// As a stage with a topic `t` of two queues; messages `0` to `count` in queue 1.
async fn stage(count: u32) -> Stage {
    let stage = Stage::new(Face::Grpc).await;
    stage.put("/v1/topics/t", json!({"readQueues": 2, "writeQueues": 2})).await;
    for number in 0..count {
        send(&stage, number).await;
    }
    stage
}

async fn send(stage: &Stage, number: u32) {
    let publish = stage.http.post(stage.server.url("/v1/topics/t/messages")).header("Gantry-Queue", "broker-a/1");
    let publish = publish.header("Gantry-Tag", if number.is_multiple_of(2) { "even" } else { "odd" });
    harness::ask(publish.body(number.to_string())).await.unwrap().expect(201);
}

/// Status, bodies, next offset.
async fn pull(stage: &mut Stage, offset: i64, tags: &str, timeout: Duration) -> (Code, Vec<String>, Option<i64>) {
    let request = v2::PullMessageRequest {
        group: resource("g"),
        message_queue: queue(1),
        offset,
        batch_size: 3,
        filter_expression: Some(v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: tags.into() }),
        long_polling_timeout: None,
    };
    let mut request = asked(request);
    request.set_timeout(timeout);
    let mut frames = stage.grpc.pull_message(request).await.unwrap().into_inner();
    let (mut code, mut bodies, mut next) = (None, Vec::new(), None);
    while let Some(frame) = frames.message().await.unwrap() {
        assert!(next.is_none(), "the next offset comes last");
        match frame.content.unwrap() {
            Content::Status(status) => assert!(code.replace(status.code()).is_none() && bodies.is_empty()),
            Content::Message(message) => {
                let system = message.system_properties.unwrap();
                assert!(system.delivery_attempt == Some(1) && system.body_digest.is_some());
                assert_eq!(system.queue_id, 1);
                bodies.push(String::from_utf8(message.body.to_vec()).unwrap());
            }
            Content::NextOffset(offset) => next = Some(offset),
        }
    }
    (code.unwrap(), bodies, next)
}

const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn pulling_reads_a_queue_from_an_offset_and_waits_at_its_end() {
    let mut stage = stage(5).await;
    assert_eq!(pull(&mut stage, 0, "*", SOON).await, (Code::Ok, vec!["0".into(), "1".into(), "2".into()], Some(3)));
    assert_eq!(pull(&mut stage, 3, "*", SOON).await, (Code::Ok, vec!["3".into(), "4".into()], Some(5)));
    assert_eq!(pull(&mut stage, 0, "odd", SOON).await, (Code::Ok, vec!["1".into()], Some(3)));
    // What the filter passes over is not asked for again.
    assert_eq!(pull(&mut stage, 4, "odd", SOON).await, (Code::MessageNotFound, vec![], Some(5)));
    assert_eq!(pull(&mut stage, 5, "*", SOON).await, (Code::MessageNotFound, vec![], Some(5)));
    for offset in [-1, 6, i64::MAX] {
        assert_eq!(pull(&mut stage, offset, "*", SOON).await, (Code::IllegalOffset, vec![], None), "{offset}");
    }
    let http = stage.http.clone();
    let url = stage.server.url("/v1/topics/t/messages");
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Another queue's message wakes nobody for good.
        for queue in ["broker-a/0", "broker-a/1"] {
            let publish = http.post(&url).header("Gantry-Queue", queue).body("late");
            harness::ask(publish).await.unwrap().expect(201);
        }
    });
    let waited = pull(&mut stage, 5, "*", Duration::from_secs(60)).await;
    assert_eq!(waited, (Code::Ok, vec!["late".into()], Some(6)));
    later.await.unwrap();
    assert_eq!(stage.get("/v1/groups").await["items"].as_array().unwrap().len(), 0, "pulling makes no group");
}

#[tokio::test]
async fn offsets_are_committed_read_and_looked_for() {
    let mut stage = stage(5).await;
    let update =
        |offset: i64, id: i32| v2::UpdateOffsetRequest { group: resource("g"), message_queue: queue(id), offset };
    let read = |id: i32| v2::GetOffsetRequest { group: resource("g"), message_queue: queue(id) };
    let mut code_of = async |offset: i64, id: i32| {
        stage.grpc.update_offset(asked(update(offset, id))).await.unwrap().into_inner().status.unwrap().code()
    };
    // Nothing of this is a first commit, so no group is made.
    assert_eq!(code_of(6, 1).await, Code::IllegalOffset);
    assert_eq!(code_of(-1, 1).await, Code::IllegalOffset);
    assert_eq!(code_of(1, 2).await, Code::NotFound);
    assert_eq!(code_of(1, -1).await, Code::BadRequest);
    assert_eq!(stage.get("/v1/groups").await["items"].as_array().unwrap().len(), 0);
    let unknown = stage.grpc.get_offset(asked(read(1))).await.unwrap().into_inner();
    assert_eq!(unknown.status.unwrap().code(), Code::ConsumerGroupNotFound);

    let mut code_of = async |offset: i64, id: i32| {
        stage.grpc.update_offset(asked(update(offset, id))).await.unwrap().into_inner().status.unwrap().code()
    };
    assert_eq!(code_of(3, 1).await, Code::Ok);
    // Going back is a reset, which this is not.
    assert_eq!(code_of(2, 1).await, Code::IllegalOffset);
    let committed = stage.grpc.get_offset(asked(read(1))).await.unwrap().into_inner();
    assert_eq!((committed.status.unwrap().code(), committed.offset), (Code::Ok, 3));
    let nothing = stage.grpc.get_offset(asked(read(0))).await.unwrap().into_inner();
    assert_eq!(nothing.status.unwrap().code(), Code::OffsetNotFound);

    let mut stage = stage.killed().await;
    let committed = stage.grpc.get_offset(asked(read(1))).await.unwrap().into_inner();
    assert_eq!((committed.status.unwrap().code(), committed.offset), (Code::Ok, 3));
    let mut query = async |policy: v2::QueryOffsetPolicy, seconds: Option<i64>| {
        let timestamp = seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        let query_offset_policy = policy.into();
        let query = v2::QueryOffsetRequest { message_queue: queue(1), query_offset_policy, timestamp };
        let answer = stage.grpc.query_offset(asked(query)).await.unwrap().into_inner();
        (answer.status.unwrap().code(), answer.offset)
    };
    assert_eq!(query(v2::QueryOffsetPolicy::Beginning, None).await, (Code::Ok, 0));
    assert_eq!(query(v2::QueryOffsetPolicy::End, None).await, (Code::Ok, 5));
    assert_eq!(query(v2::QueryOffsetPolicy::Timestamp, None).await, (Code::BadRequest, 0));
    assert_eq!(query(v2::QueryOffsetPolicy::Timestamp, Some(0)).await, (Code::Ok, 0));
    assert_eq!(query(v2::QueryOffsetPolicy::Timestamp, Some(32_503_680_000)).await, (Code::Ok, 5));
}

/// A receive of a push consumer.
fn push(client: &str) -> tonic::Request<v2::ReceiveMessageRequest> {
    let request = v2::ReceiveMessageRequest {
        group: resource("g"),
        message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
        batch_size: 32,
        auto_renew: true,
        long_polling_timeout: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
        ..v2::ReceiveMessageRequest::default()
    };
    let mut request = asked(request);
    request.metadata_mut().insert("x-mq-client-id", client.parse().unwrap());
    request
}

async fn received(stage: &mut Stage, request: tonic::Request<v2::ReceiveMessageRequest>) -> Vec<v2::Message> {
    let mut frames = stage.grpc.receive_message(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(frame) = frames.message().await.unwrap() {
        if let Some(v2::receive_message_response::Content::Message(message)) = frame.content {
            messages.push(message);
        }
    }
    messages
}

#[tokio::test]
async fn c5_what_a_push_consumer_holds_comes_back_when_it_goes_and_outlives_a_kill_of_the_server() {
    let mut stage = stage(3).await;
    let held = received(&mut stage, push("one")).await;
    assert_eq!(held.len(), 3);
    let in_flight = stage.get("/v1/groups/g/inflight").await;
    assert_eq!(in_flight["items"].as_array().unwrap().len(), 3, "{in_flight}");

    // The handle of before the kill, through a gateway that has never seen the client.
    let mut stage = stage.killed().await;
    let handle = |message: &v2::Message| message.system_properties.as_ref().unwrap().receipt_handle.clone().unwrap();
    let entry = v2::AckMessageEntry { receipt_handle: handle(&held[0]), ..v2::AckMessageEntry::default() };
    let ack = v2::AckMessageRequest { group: resource("g"), topic: resource("t"), entries: vec![entry] };
    assert_eq!(stage.grpc.ack_message(asked(ack)).await.unwrap().into_inner().status.unwrap().code(), Code::Ok);

    // Another consumer that says good-bye takes nothing away from this one.
    for (client, count) in [("another", 0), ("one", 2)] {
        let mut bye = asked(v2::NotifyClientTerminationRequest { group: resource("g") });
        bye.metadata_mut().insert("x-mq-client-id", client.parse().unwrap());
        let bye = stage.grpc.notify_client_termination(bye).await.unwrap().into_inner();
        assert_eq!(bye.status.unwrap().code(), Code::Ok);
        let mut again = push("two");
        // What is to come comes after a second; for what is not nobody waits long.
        again.set_timeout(Duration::from_secs(if count == 0 { 3 } else { 60 }));
        let again = received(&mut stage, again).await;
        assert_eq!(again.len(), count, "{client}");
        let attempts = again.iter().map(|message| message.system_properties.as_ref().unwrap().delivery_attempt);
        assert!(attempts.into_iter().all(|attempt| attempt == Some(2)));
    }
}
