//! Every limit of the contract from both sides: one step over it has its code and changes nothing, what just keeps it
//! is taken. RocketMQ's proxy checks in this order and with these numbers.

use std::time::Duration;

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use serde_json::json;
use tonic::transport::Channel;
use v2::Code;

use crate::delivery::{Face, Stage, asked, resource};

type Change = Box<dyn Fn(&mut v2::Message)>;

fn message(change: impl Fn(&mut v2::Message)) -> v2::Message {
    let system = v2::SystemProperties { message_id: "id".into(), ..v2::SystemProperties::default() };
    let mut message = v2::Message {
        topic: resource("t"),
        body: "body".into(),
        system_properties: Some(system),
        ..v2::Message::default()
    };
    change(&mut message);
    message
}

fn any(change: impl Fn(&mut v2::Message) + 'static) -> Change {
    Box::new(change)
}

fn system(change: impl Fn(&mut v2::SystemProperties) + 'static) -> Change {
    Box::new(move |message| change(message.system_properties.as_mut().unwrap()))
}

fn properties(count: usize, value: &str) -> Change {
    let value = value.to_string();
    any(move |message| message.user_properties.extend((0..count).map(|n| (format!("p{n:03}"), value.clone()))))
}

fn property(name: &str, value: &str) -> Change {
    let (name, value) = (name.to_string(), value.to_string());
    any(move |message| drop(message.user_properties.insert(name.clone(), value.clone())))
}

fn topic(name: &str) -> Change {
    let name = name.to_string();
    any(move |message| message.topic = resource(&name))
}

fn after(seconds: i64) -> Change {
    system(move |system| {
        let now = std::process::Command::new("date").arg("+%s").output().unwrap().stdout;
        let now: i64 = String::from_utf8(now).unwrap().trim().parse().unwrap();
        system.delivery_timestamp = Some(prost_types::Timestamp { seconds: now + seconds, nanos: 0 });
    })
}

fn half(check_after: i64) -> Change {
    system(move |system| {
        system.message_type = v2::MessageType::Transaction.into();
        system.orphaned_transaction_recovery_duration = Some(prost_types::Duration { seconds: check_after, nanos: 0 });
    })
}

/// What is wrong with a message, and its code.
fn refused() -> Vec<(&'static str, Change, Code)> {
    let mut rows = vec![
        ("no topic", any(|message| message.topic = None), Code::IllegalTopic),
        ("a blank topic", topic(" "), Code::IllegalTopic),
        ("a topic of 128", topic(&"t".repeat(128)), Code::IllegalTopic),
        ("a dot in a topic", topic("a.b"), Code::IllegalTopic),
        ("a topic that is not there", topic("nowhere"), Code::TopicNotFound),
        ("no body", any(|message| message.body = Default::default()), Code::MessageBodyEmpty),
        ("a body of more than 4 MiB", any(|m| m.body = vec![b'x'; (4 << 20) + 1].into()), Code::MessageBodyTooLarge),
        ("129 properties", properties(129, "v"), Code::MessagePropertiesTooLarge),
        ("properties of more than 16 KiB", property("p", &"v".repeat(16_384)), Code::MessagePropertiesTooLarge),
        ("a control character in a value", property("p", "a\u{1}b"), Code::IllegalMessagePropertyKey),
        ("a control character in a name", property("a\u{7f}", "v"), Code::IllegalMessagePropertyKey),
        ("a tag of blanks", system(|s| s.tag = Some("  ".into())), Code::IllegalMessageTag),
        ("a bar in a tag", system(|s| s.tag = Some("a|b".into())), Code::IllegalMessageTag),
        ("a control character in a tag", system(|s| s.tag = Some("a\tb".into())), Code::IllegalMessageTag),
        ("a key of blanks", system(|s| s.keys = vec!["a".into(), " ".into()]), Code::IllegalMessageKey),
        ("a control character in a key", system(|s| s.keys = vec!["a\nb".into()]), Code::IllegalMessageKey),
        ("no message id", system(|s| s.message_id = String::new()), Code::IllegalMessageId),
        ("a blank message id", system(|s| s.message_id = "  ".into()), Code::IllegalMessageId),
        ("a message group of blanks", system(|s| s.message_group = Some(" ".into())), Code::IllegalMessageGroup),
        ("a message group of 64 bytes", system(|s| s.message_group = Some("g".repeat(64))), Code::IllegalMessageGroup),
        (
            "a control character in a message group",
            system(|s| s.message_group = Some("a\u{1}".into())),
            Code::IllegalMessageGroup,
        ),
        ("a check after more than an hour", half(3_601), Code::BadRequest),
        ("a time more than 40 days ahead", after(40 * 86_400 + 60), Code::IllegalDeliveryTime),
        ("a time long past", after(-120), Code::IllegalDeliveryTime),
        (
            "a message group on a normal topic",
            system(|s| s.message_group = Some("g".into())),
            Code::MessagePropertyConflictWithType,
        ),
        ("a time on a normal topic", after(60), Code::MessagePropertyConflictWithType),
        ("half a transaction on a normal topic", half(60), Code::MessagePropertyConflictWithType),
        (
            "a lite topic on a normal topic",
            system(|s| s.lite_topic = Some("l".into())),
            Code::MessagePropertyConflictWithType,
        ),
        ("a priority on a normal topic", system(|s| s.priority = Some(1)), Code::MessagePropertyConflictWithType),
        ("a normal message on a FIFO topic", topic("fifo"), Code::MessagePropertyConflictWithType),
        ("a topic that takes nothing", topic("readonly"), Code::Forbidden),
    ];
    for name in RESERVED.split(' ') {
        rows.push(("a reserved property", property(name, "v"), Code::IllegalMessagePropertyKey));
    }
    for name in SYSTEM_TOPICS.split(' ') {
        rows.push(("a system topic", topic(name), Code::IllegalTopic));
    }
    rows
}

const RESERVED: &str = "KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET BUYER_ID \
    ORIGIN_MESSAGE_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME UNIQ_KEY MAX_RECONSUME_TIMES \
    CONSUME_START_TIME POP_CK POP_CK_OFFSET 1ST_POP_TIME TRAN_PREPARED_QUEUE_OFFSET DUP_INFO EXTEND_UNIQ_INFO \
    INSTANCE_ID CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER MSG_TYPE \
    INNER_MULTI_QUEUE_OFFSET TIMER_DELAY_MS TIMER_DELAY_SEC TIMER_DELIVER_MS TIMER_ENQUEUE_MS TIMER_DEQUEUE_MS \
    TIMER_ROLL_TIMES TIMER_OUT_MS TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL __BORNHOST BORN_TIMESTAMP DLQ_ORIGIN_TOPIC \
    DLQ_ORIGIN_MESSAGE_ID __CRC32# MSG_REGION TRACE_ON";
const SYSTEM_TOPICS: &str = "TBW102 SCHEDULE_TOPIC_XXXX BenchmarkTest RMQ_SYS_TRANS_HALF_TOPIC RMQ_SYS_TRACE_TOPIC \
    RMQ_SYS_TRANS_OP_HALF_TOPIC TRANS_CHECK_MAX_TIME_TOPIC SELF_TEST_TOPIC OFFSET_MOVED_EVENT CHECKPOINT_TOPIC \
    rmq_sys_x";

/// What just keeps the limit.
fn taken() -> Vec<(&'static str, Change)> {
    vec![
        ("a body of 4 MiB", any(|message| message.body = vec![b'x'; 4 << 20].into())),
        ("128 properties", properties(128, "v")),
        // With its name of one byte, and the tag of none.
        ("properties of 16 KiB", property("p", &"v".repeat(16_383))),
        ("an empty tag", system(|system| system.tag = Some(String::new()))),
        ("an empty key", system(|system| system.keys = vec![String::new()])),
        ("any text as a message id", system(|system| system.message_id = "any text".into())),
        ("an attempt that makes no sense", system(|system| system.delivery_attempt = Some(-5))),
        ("the longest name", topic(&"t".repeat(127))),
        (
            "a message group of 63 bytes",
            any(|message| {
                message.topic = resource("fifo");
                message.system_properties.as_mut().unwrap().message_group = Some("g".repeat(63));
            }),
        ),
        (
            "a check after an hour",
            any(|message| {
                half(3_600)(message);
                message.topic = resource("transaction");
            }),
        ),
        (
            "a time just past",
            any(|message| {
                after(-30)(message);
                message.topic = resource("delay");
            }),
        ),
        (
            "a time 40 days ahead",
            any(|message| {
                after(40 * 86_400 - 60)(message);
                message.topic = resource("delay");
            }),
        ),
    ]
}

async fn send(client: &mut MessagingServiceClient<Channel>, messages: Vec<v2::Message>) -> (Code, Vec<Code>) {
    let count = messages.len();
    let sent = client.send_message(asked(v2::SendMessageRequest { messages })).await.expect("an answer").into_inner();
    assert_eq!(sent.entries.len(), count, "one entry for each message");
    let entries = sent.entries.iter().map(|entry| entry.status.as_ref().expect("a status").code()).collect();
    (sent.status.expect("a status").code(), entries)
}

async fn stage() -> Stage {
    let stage = Stage::new(Face::Grpc).await;
    stage.put("/v1/topics/t", json!({})).await;
    stage.put(&format!("/v1/topics/{}", "t".repeat(127)), json!({})).await;
    for kind in ["fifo", "delay", "transaction"] {
        stage.put(&format!("/v1/topics/{kind}"), json!({"messageType": kind})).await;
    }
    stage.put("/v1/topics/readonly", json!({"perm": "read"})).await;
    stage
}

/// How much there is of everything.
async fn contents(stage: &Stage) -> serde_json::Value {
    let mut all = Vec::new();
    for topic in ["t", "fifo", "delay", "transaction", "readonly"] {
        all.push(stage.get(&format!("/v1/topics/{topic}/queues")).await);
    }
    let names = stage.get("/v1/topics").await["items"].as_array().unwrap().len();
    let groups = stage.get("/v1/groups").await["items"].as_array().unwrap().len();
    json!([all, names, groups])
}

#[tokio::test]
async fn every_row_of_a_send_has_its_code_for_each_message_and_no_effect() {
    let mut stage = stage().await;
    let before = contents(&stage).await;
    let mut wrong = Vec::new();
    for (why, change, code) in refused() {
        let bad = message(&change);
        // Beside a good one of the same topic, which goes down with it.
        let good = message(|message| message.topic = bad.topic.clone());
        for messages in [vec![bad.clone()], vec![good, bad.clone()]] {
            let count = messages.len();
            let answer = send(&mut stage.grpc, messages).await;
            if answer != (code, vec![code; count]) {
                wrong.push(format!(
                    "{why} ({:?}), one of {count}: {answer:?} instead of {code:?}",
                    bad.user_properties.keys().next()
                ));
            }
        }
    }
    assert_eq!(send(&mut stage.grpc, vec![]).await, (Code::MessageCorrupted, vec![]));
    let two_topics = vec![message(|_| {}), message(topic("fifo"))];
    assert_eq!(send(&mut stage.grpc, two_topics).await, (Code::MessageCorrupted, vec![Code::MessageCorrupted; 2]));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(contents(&stage).await, before, "nothing was stored, and nothing made");
    for (why, change) in taken() {
        assert_eq!(send(&mut stage.grpc, vec![message(&change)]).await, (Code::Ok, vec![Code::Ok]), "{why}");
    }
}

#[tokio::test]
async fn every_row_of_a_receive_and_a_settle_has_its_code_and_no_effect() {
    let mut stage = stage().await;
    stage.put("/v1/topics/writeonly", json!({"perm": "write"})).await;
    let before = contents(&stage).await;
    let seconds = |seconds: i64| Some(prost_types::Duration { seconds, nanos: 0 });
    let receive =
        |group: &str, topic: &str, invisible: Option<prost_types::Duration>, r#type: v2::FilterType, filter: &str| {
            v2::ReceiveMessageRequest {
                group: resource(group),
                message_queue: Some(v2::MessageQueue { topic: resource(topic), ..v2::MessageQueue::default() }),
                batch_size: 1,
                invisible_duration: invisible,
                filter_expression: Some(v2::FilterExpression { r#type: r#type.into(), expression: filter.into() }),
                ..v2::ReceiveMessageRequest::default()
            }
        };
    let (tag, sql) = (v2::FilterType::Tag, v2::FilterType::Sql);
    let mut received = async |request: v2::ReceiveMessageRequest| {
        let mut request = asked(request);
        request.set_timeout(Duration::from_millis(700));
        let mut frames = stage.grpc.receive_message(request).await.unwrap().into_inner();
        match frames.message().await.unwrap().unwrap().content.unwrap() {
            v2::receive_message_response::Content::Status(status) => status.code(),
            other => panic!("not a status: {other:?}"),
        }
    };
    for (why, request, code) in [
        ("no group", receive("", "t", seconds(30), tag, "*"), Code::IllegalConsumerGroup),
        ("a group of 121", receive(&"g".repeat(121), "t", seconds(30), tag, "*"), Code::IllegalConsumerGroup),
        ("a system group", receive("CID_RMQ_SYS_X", "t", seconds(30), tag, "*"), Code::IllegalConsumerGroup),
        ("a system topic", receive("g", "TBW102", seconds(30), tag, "*"), Code::IllegalTopic),
        ("no such topic", receive("g", "nowhere", seconds(30), tag, "*"), Code::TopicNotFound),
        ("a topic that gives nothing", receive("g", "writeonly", seconds(30), tag, "*"), Code::Forbidden),
        ("no invisible time", receive("g", "t", None, tag, "*"), Code::IllegalInvisibleTime),
        ("too short a time", receive("g", "t", seconds(9), tag, "*"), Code::IllegalInvisibleTime),
        ("too long a time", receive("g", "t", seconds(43_201), tag, "*"), Code::IllegalInvisibleTime),
        ("a negative time", receive("g", "t", seconds(-30), tag, "*"), Code::IllegalInvisibleTime),
        ("no SQL", receive("g", "t", seconds(30), sql, ""), Code::IllegalFilterExpression),
        ("SQL that does not parse", receive("g", "t", seconds(30), sql, "a = "), Code::IllegalFilterExpression),
    ] {
        assert_eq!(received(request).await, code, "{why}");
    }
    let handle = "r1.AAAA";
    let change = |invisible: Option<prost_types::Duration>, handle: &str| v2::ChangeInvisibleDurationRequest {
        group: resource("g"),
        topic: resource("t"),
        receipt_handle: handle.into(),
        invisible_duration: invisible,
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    for (why, request, code) in [
        ("no time", change(None, handle), Code::IllegalInvisibleTime),
        ("too long a time", change(seconds(43_201), handle), Code::IllegalInvisibleTime),
        ("a negative time", change(seconds(-1), handle), Code::IllegalInvisibleTime),
        ("no handle", change(seconds(0), ""), Code::InvalidReceiptHandle),
        ("a made-up handle", change(seconds(43_200), handle), Code::InvalidReceiptHandle),
    ] {
        let handle = request.receipt_handle.clone();
        let answer = stage.grpc.change_invisible_duration(asked(request)).await.unwrap().into_inner();
        assert_eq!((answer.status.unwrap().code(), answer.receipt_handle), (code, handle), "{why}");
    }
    let ack = |entries: usize| v2::AckMessageRequest {
        group: resource("g"),
        topic: resource("t"),
        entries: vec![v2::AckMessageEntry { receipt_handle: handle.into(), ..v2::AckMessageEntry::default() }; entries],
    };
    for (entries, code) in [
        (0, Code::BadRequest),
        (1, Code::InvalidReceiptHandle),
        (1_024, Code::InvalidReceiptHandle),
        (1_025, Code::PayloadTooLarge),
    ] {
        let answer = stage.grpc.ack_message(asked(ack(entries))).await.unwrap().into_inner();
        assert_eq!((answer.status.unwrap().code(), answer.entries.len()), (code, entries));
    }
    let forward = v2::ForwardMessageToDeadLetterQueueRequest {
        group: resource("g"),
        topic: resource("t"),
        receipt_handle: handle.into(),
        ..v2::ForwardMessageToDeadLetterQueueRequest::default()
    };
    let forwarded = stage.grpc.forward_message_to_dead_letter_queue(asked(forward)).await.unwrap().into_inner();
    assert_eq!(forwarded.status.unwrap().code(), Code::InvalidReceiptHandle);
    let recall = |topic: &str| v2::RecallMessageRequest { topic: resource(topic), recall_handle: "eA==".into() };
    for (topic, code) in [("a.b", Code::IllegalTopic), ("delay", Code::BadRequest)] {
        let recalled = stage.grpc.recall_message(asked(recall(topic))).await.unwrap().into_inner();
        assert_eq!(recalled.status.unwrap().code(), code);
    }
    let end = v2::EndTransactionRequest { topic: resource("transaction"), ..v2::EndTransactionRequest::default() };
    let ended = stage.grpc.end_transaction(asked(end)).await.unwrap().into_inner();
    assert_eq!(ended.status.unwrap().code(), Code::InvalidTransactionId);
    for (topic, code) in [("nowhere", Code::TopicNotFound), ("", Code::IllegalTopic), ("rmq_sys_x", Code::IllegalTopic)]
    {
        let route = v2::QueryRouteRequest { topic: resource(topic), endpoints: None };
        assert_eq!(stage.grpc.query_route(asked(route)).await.unwrap().into_inner().status.unwrap().code(), code);
    }
    for (topic, group, code) in [
        ("t", "", Code::IllegalConsumerGroup),
        ("nowhere", "g", Code::TopicNotFound),
        ("writeonly", "g", Code::Forbidden),
    ] {
        let assignment = v2::QueryAssignmentRequest { topic: resource(topic), group: resource(group), endpoints: None };
        let assigned = stage.grpc.query_assignment(asked(assignment)).await.unwrap().into_inner();
        assert_eq!(assigned.status.unwrap().code(), code, "{topic} {group}");
    }
    let lite = stage.grpc.sync_lite_subscription(asked(v2::SyncLiteSubscriptionRequest::default())).await.unwrap();
    assert_eq!(lite.into_inner().status.unwrap().code(), Code::NotImplemented);
    assert_eq!(contents(&stage).await, before, "nothing was stored, and nothing made");
}
