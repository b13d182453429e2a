//! Bad input gets a precise error and changes nothing, over HTTP and over gRPC; the server lives.

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::{Home, Server, ask};
use reqwest::Client;

/// Method, path, headers, body, status, code.
type Row = (&'static str, String, Vec<(&'static str, String)>, Vec<u8>, u16, &'static str);

fn row(
    method: &'static str,
    path: impl Into<String>,
    headers: &[(&'static str, &str)],
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
) -> Row {
    let headers = headers.iter().map(|(name, value)| (*name, value.to_string())).collect();
    (method, path.into(), headers, body.into(), status, code)
}

const MESSAGES: &str = "/v1/topics/t/messages";
/// Of a topic that takes delayed messages alone.
const DELAYED: &str = "/v1/topics/delayed/messages";
const BATCH: &str = "/v1/topics/t/messages/batch";
const RECEIVE: &str = "/v1/groups/g/receive";
const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.gantry.message+json");
const JSON: (&str, &str) = ("content-type", "application/json");

fn rows() -> Vec<Row> {
    let long = |len: usize| "x".repeat(len);
    let mut rows = vec![
        // Bodies and media types.
        row("POST", MESSAGES, &[], "", 400, "empty_body"),
        row("POST", MESSAGES, &[ENVELOPE], "{", 400, "malformed_request"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"body":"x","nope":1}"#, 400, "unknown_field"),
        row("POST", MESSAGES, &[ENVELOPE], "{}", 400, "invalid_parameter"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"body":"x","bodyBase64":"eA=="}"#, 400, "invalid_parameter"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"bodyBase64":"%%"}"#, 400, "invalid_parameter"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"body":"a","body":"b"}"#, 400, "malformed_request"),
        row("POST", MESSAGES, &[], vec![b'x'; 4 * 1024 * 1024 + 1], 413, "message_too_large"),
        row("POST", MESSAGES, &[("content-encoding", "gzip")], "x", 415, "unsupported_media_type"),
        row("POST", MESSAGES, &[("content-digest", "sha-256=:AAAA:")], "x", 400, "message_corrupted"),
        row("POST", MESSAGES, &[("ce-specversion", "1.0")], "x", 501, "not_implemented"),
        row("POST", format!("{MESSAGES}?nope=1"), &[], "x", 400, "unknown_field"),
        // Metadata.
        row("POST", MESSAGES, &[("gantry-tag", " ")], "x", 400, "invalid_tag"),
        row("POST", MESSAGES, &[("gantry-tag", "a|b")], "x", 400, "invalid_tag"),
        row("POST", MESSAGES, &[("gantry-keys", "a b")], "x", 400, "invalid_key"),
        row("POST", MESSAGES, &[("gantry-keys", "a,,b")], "x", 400, "invalid_key"),
        row("POST", MESSAGES, &[("gantry-property", "UNIQ_KEY=x")], "x", 400, "invalid_property"),
        row("POST", MESSAGES, &[("gantry-property", "=x")], "x", 400, "invalid_property"),
        row("POST", MESSAGES, &[("gantry-property", "a=%02")], "x", 400, "invalid_property"),
        row("POST", MESSAGES, &[("gantry-property", "novalue")], "x", 400, "malformed_request"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"body":"x","properties":{"a":"1","a":"2"}}"#, 400, "invalid_property"),
        row("POST", MESSAGES, &[("gantry-message-group", "g")], "x", 400, "message_type_mismatch"),
        row("POST", MESSAGES, &[("gantry-message-group", &long(64))], "x", 400, "invalid_message_group"),
        row("POST", MESSAGES, &[("gantry-delay", "10m")], "x", 400, "message_type_mismatch"),
        row("POST", MESSAGES, &[("gantry-delay", "10")], "x", 400, "invalid_duration"),
        row("POST", MESSAGES, &[("gantry-delay", "41d")], "x", 400, "invalid_delivery_time"),
        row("POST", MESSAGES, &[("gantry-deliver-at", "2001-01-01T00:00:00Z")], "x", 400, "invalid_delivery_time"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"body":"x","delay":"1s","delayLevel":1}"#, 400, "invalid_delivery_time"),
        row("POST", MESSAGES, &[ENVELOPE], r#"{"body":"x","delayLevel":0}"#, 400, "invalid_delivery_time"),
        row(
            "POST",
            MESSAGES,
            &[ENVELOPE],
            r#"{"body":"x","messageGroup":"g","delay":"1s"}"#,
            400,
            "message_type_mismatch",
        ),
        row("POST", DELAYED, &[ENVELOPE], r#"{"body":"x","delayLevel":19}"#, 400, "invalid_delivery_time"),
        row("POST", DELAYED, &[("gantry-deliver-at", "2001-01-01T00:00:00Z")], "x", 400, "invalid_delivery_time"),
        row("POST", DELAYED, &[], "x", 400, "message_type_mismatch"),
        row("DELETE", "/v1/scheduled/garbage", &[], "", 400, "invalid_recall_handle"),
        row("DELETE", "/v1/scheduled/s1.AAAA", &[], "", 400, "invalid_recall_handle"),
        row("DELETE", "/v1/scheduled/x?nope=1", &[], "", 400, "unknown_field"),
        row("POST", MESSAGES, &[("gantry-message-id", " ")], "x", 400, "invalid_message_id"),
        row("POST", MESSAGES, &[("idempotency-key", "")], "x", 400, "invalid_parameter"),
        row("POST", MESSAGES, &[("idempotency-key", &long(129))], "x", 400, "invalid_parameter"),
        row("POST", MESSAGES, &[("idempotency-key", "k"), ("gantry-message-id", "i")], "x", 400, "invalid_parameter"),
        row("POST", MESSAGES, &[("gantry-queue", "broker-a/8")], "x", 404, "not_found"),
        row("POST", MESSAGES, &[("gantry-queue", "broker-b/0")], "x", 404, "broker_not_found"),
        row("POST", MESSAGES, &[("gantry-property", &format!("a={}", long(16_384)))], "x", 431, "headers_too_large"),
        row(
            "POST",
            MESSAGES,
            &[ENVELOPE],
            format!(r#"{{"body":"x","properties":{{"a":"{}"}}}}"#, long(16_384)),
            431,
            "properties_too_large",
        ),
        // Batches.
        row("POST", BATCH, &[JSON], r#"{"messages":[]}"#, 400, "invalid_parameter"),
        row("POST", BATCH, &[JSON], r#"{"messages":[{"body":"x"}],"nope":1}"#, 400, "unknown_field"),
        row("POST", BATCH, &[("content-type", "text/plain")], "x", 415, "unsupported_media_type"),
        row(
            "POST",
            BATCH,
            &[JSON],
            format!(r#"{{"messages":[{}]}}"#, vec![r#"{"body":"x"}"#; 1_025].join(",")),
            413,
            "batch_too_large",
        ),
        // Names.
        row("POST", "/v1/topics/nope/messages", &[], "x", 404, "topic_not_found"),
        row("POST", "/v1/topics/TBW102/messages", &[], "x", 403, "system_resource"),
        row("POST", "/v1/topics/rmq_sys_GANTRY_STATE/messages", &[], "x", 403, "system_resource"),
        row("PUT", "/v1/topics/rmq_sys_x", &[JSON], "{}", 403, "system_resource"),
        row("PUT", "/v1/groups/CID_RMQ_SYS_x", &[JSON], "{}", 403, "system_resource"),
        row("PUT", "/v1/topics/x", &[JSON], r#"{"messageType":"priority"}"#, 501, "not_implemented"),
        row("PUT", "/v1/topics/x", &[JSON], r#"{"writeQueues":0}"#, 400, "invalid_parameter"),
        row("PUT", "/v1/topics/x", &[JSON], r#"{"writeQueues":1025}"#, 400, "invalid_parameter"),
        row("PUT", "/v1/topics/x", &[JSON], r#"{"queues":1}"#, 400, "unknown_field"),
        row("PUT", "/v1/groups/x", &[JSON], r#"{"retryMaxTimes":-2}"#, 400, "invalid_parameter"),
        row("PUT", "/v1/groups/x", &[JSON], r#"{"consumeTimeout":900}"#, 400, "invalid_duration"),
        // Receiving.
        row("POST", RECEIVE, &[JSON], "{}", 400, "invalid_parameter"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"nope"}"#, 404, "topic_not_found"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"t","maxMessages":0}"#, 400, "invalid_parameter"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"t","maxMessages":33}"#, 400, "invalid_parameter"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"t","invisibleDuration":"9s"}"#, 400, "invalid_invisible_duration"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"t","invisibleDuration":"13h"}"#, 400, "invalid_invisible_duration"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"t","invisibleDuration":"60"}"#, 400, "invalid_duration"),
        row("POST", RECEIVE, &[JSON, ("prefer", "wait=-1")], r#"{"topic":"t"}"#, 400, "invalid_wait"),
        row("POST", RECEIVE, &[JSON, ("prefer", "wait=x")], r#"{"topic":"t"}"#, 400, "invalid_wait"),
        row("POST", RECEIVE, &[JSON], r#"{"topic":"t","filter":{"expression":"a |"}}"#, 400, "invalid_filter"),
        row(
            "POST",
            RECEIVE,
            &[JSON],
            r#"{"topic":"t","filter":{"type":"sql92","expression":"a > 'x'"}}"#,
            400,
            "invalid_filter",
        ),
        row("POST", format!("{RECEIVE}?topic=t&filterType=sql92&filter=a%20%3D"), &[], "", 400, "invalid_filter"),
        row("GET", "/v1/topics/t/messages?filterType=sql92&filter=a%20%3D", &[], "", 400, "invalid_filter"),
        row("GET", "/v1/topics/t/messages?filterType=sql92", &[], "", 400, "invalid_parameter"),
        row("GET", "/v1/topics/t/messages?filterType=sql99&filter=a", &[], "", 400, "invalid_parameter"),
        row("GET", "/v1/topics/t/messages?tag=a&filter=b", &[], "", 400, "invalid_parameter"),
        row("POST", RECEIVE, &[JSON, ("accept", "text/html")], r#"{"topic":"t"}"#, 406, "not_acceptable"),
        // Operators.
        row("PATCH", "/v1/topics/t", &[JSON], "{}", 428, "precondition_required"),
        row("PATCH", "/v1/topics/t", &[JSON, ("if-match", "\"1-1\"")], "{}", 412, "etag_mismatch"),
        row("PATCH", "/v1/topics/t", &[JSON, ("if-match", "*")], r#"{"nope":1}"#, 400, "unknown_field"),
        row("PATCH", "/v1/topics/t", &[JSON, ("if-match", "*")], r#"{"writeQueues":0}"#, 400, "invalid_parameter"),
        row("PATCH", "/v1/topics/nowhere", &[JSON, ("if-match", "*")], "{}", 404, "topic_not_found"),
        row("PATCH", "/v1/groups/nobody", &[JSON, ("if-match", "*")], "{}", 404, "group_not_found"),
        row("GET", "/v1/groups/nobody/inflight", &[], "", 404, "group_not_found"),
        row("GET", "/v1/groups/nobody/dlq/export", &[], "", 404, "group_not_found"),
        // Receipts.
        row("DELETE", "/v1/receipts/garbage", &[], "", 400, "invalid_receipt_handle"),
        row("DELETE", "/v1/receipts/r1.AAAA", &[], "", 400, "invalid_receipt_handle"),
        row("DELETE", format!("/v1/receipts/r9.{}", long(600)), &[], "", 400, "invalid_receipt_handle"),
        row("PATCH", "/v1/receipts/r1.AAAA", &[JSON], "{}", 400, "invalid_parameter"),
        row(
            "PATCH",
            "/v1/receipts/r1.AAAA",
            &[JSON],
            r#"{"invisibleDuration":"13h"}"#,
            400,
            "invalid_invisible_duration",
        ),
        row(
            "POST",
            "/v1/receipts/settle",
            &[JSON],
            format!(r#"{{"entries":[{}]}}"#, vec![r#"{"receiptHandle":"x","action":"ack"}"#; 1_025].join(",")),
            413,
            "batch_too_large",
        ),
        // Paths.
        row("GET", "/v1/nope", &[], "", 404, "not_found"),
        row("GET", "/v1/topics/", &[], "", 404, "not_found"),
        row("POST", "/v1/topics", &[], "", 405, "method_not_allowed"),
        row("GET", "/v1/topics?limit=501", &[], "", 400, "invalid_parameter"),
        row("GET", format!("/v1/topics?prefix={}", long(9_000)), &[], "", 431, "headers_too_large"),
    ];
    // Giving up, moving groups.
    for (path, body, status, code) in [
        ("/v1/receipts/garbage/dead-letter", "", 400, "invalid_receipt_handle"),
        ("/v1/receipts/garbage/dead-letter", r#"{"reason":1}"#, 400, "invalid_parameter"),
        ("/v1/groups/nobody/dlq/resend", r#"{"messageIds":["a"]}"#, 404, "group_not_found"),
        ("/v1/groups/nobody/offsets/skip", r#"{"topic":"t"}"#, 404, "group_not_found"),
        ("/v1/groups/nobody/offsets/reset", r#"{"topic":"t","to":{"timestamp":"soon"}}"#, 400, "invalid_timestamp"),
        ("/v1/groups/nobody/offsets/clone", r#"{"topic":"t","fromGroup":"a/b"}"#, 400, "invalid_group"),
    ] {
        rows.push(row("POST", path, &[JSON], body, status, code));
    }
    rows.push(row(
        "POST",
        RECEIVE,
        &[JSON],
        format!(r#"{{"topic":"t","attemptId":"{}"}}"#, long(129)),
        400,
        "invalid_parameter",
    ));
    // What could be a path, as a topic and as a group, wherever a name stands.
    for name in ["a%2Fb", "..", "%2e%2e", "..%2f..%2fetc", "a%00b", "a.b", "%5C", "a%20b", &long(128)] {
        for (method, path, code) in [
            ("PUT", format!("/v1/topics/{name}"), "invalid_topic"),
            ("POST", format!("/v1/topics/{name}/messages"), "invalid_topic"),
            ("PUT", format!("/v1/groups/{name}"), "invalid_group"),
            ("POST", format!("/v1/groups/{name}/receive?topic=t"), "invalid_group"),
        ] {
            // A client resolves dots in a path before it sends it: these are sent by hand, below.
            if !name.starts_with("..") && name != "%2e%2e" {
                rows.push(row(method, path, &[JSON], "{}", 400, code));
            }
        }
    }
    rows
}

#[tokio::test]
async fn every_row_gets_its_code_and_nothing_is_stored() {
    let home = Home::new();
    let mut server = Server::start(&home.data(), &[]);
    let http = Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let delayed = http.put(server.url("/v1/topics/delayed")).json(&serde_json::json!({"messageType": "delay"}));
    ask(delayed).await.unwrap().expect(201);
    let before = ask(http.get(server.url("/v1/topics/t/queues"))).await.unwrap().expect(200).json();

    let mut wrong = Vec::new();
    for (method, path, headers, body, status, code) in rows() {
        let mut request = http.request(method.parse().unwrap(), server.url(&path)).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match ask(request).await {
            Some(answer) if (answer.status, &*answer.code()) == (status, code) => {
                let problem = answer.json();
                assert!(problem["requestId"].is_string() && problem["retryable"].is_boolean(), "{problem}");
            }
            Some(answer) => {
                wrong.push(format!("{method} {path}: {} {} instead of {status} {code}", answer.status, answer.code()))
            }
            None => wrong.push(format!("{method} {path}: no answer")),
        }
    }
    for path in ["/v1/topics/..", "/v1/topics/%2e%2e", "/v1/topics/..%2f..%2fetc/messages", "/v1/groups/../receive"] {
        let status = raw_status(&server.http, path);
        if !["400", "404", "405"].contains(&&*status) {
            wrong.push(format!("{path}: {status}"));
        }
    }
    grpc_rows(&server, &mut wrong).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let after = ask(http.get(server.url("/v1/topics/t/queues"))).await.unwrap().expect(200).json();
    assert_eq!(before, after, "nothing was stored");
    let groups = ask(http.get(server.url("/v1/groups"))).await.unwrap().expect(200).json();
    assert_eq!(groups["items"].as_array().map(Vec::len), Some(0), "a refused receive makes no group: {groups}");
    assert!(server.is_running());
    assert_eq!(server.stop("-TERM").code(), Some(0));
    let known: Vec<_> =
        std::fs::read_dir(home.data().join("consumequeue")).unwrap().map(|dir| dir.unwrap().file_name()).collect();
    assert!(known.iter().all(|name| name == "t" || name == "rmq_sys_GANTRY_STATE"), "{known:?}");
    let around: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(around.iter().all(|name| name == "data" || name == "data.log"), "{around:?}");
}

/// A request as no client would send it.
fn raw_status(base: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    write!(stream, "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_string()
}

async fn grpc_rows(server: &Server, wrong: &mut Vec<String>) {
    let mut client = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let resource = |name: &str| Some(v2::Resource { name: name.into(), ..v2::Resource::default() });
    let good = || v2::Message {
        topic: resource("t"),
        body: vec![b'x'].into(),
        system_properties: Some(v2::SystemProperties {
            message_id: "id".into(),
            message_type: v2::MessageType::Normal as i32,
            body_encoding: v2::Encoding::Identity as i32,
            ..v2::SystemProperties::default()
        }),
        ..v2::Message::default()
    };
    let with = |change: &dyn Fn(&mut v2::Message)| {
        let mut message = good();
        change(&mut message);
        message
    };
    let system = |change: &dyn Fn(&mut v2::SystemProperties)| {
        with(&|message| change(message.system_properties.as_mut().unwrap()))
    };
    let long = "x".repeat(128);
    let sends: Vec<(&str, Vec<v2::Message>, v2::Code)> = vec![
        ("no message", vec![], v2::Code::MessageCorrupted),
        ("slash", vec![with(&|m| m.topic = resource("a/b"))], v2::Code::IllegalTopic),
        ("dots", vec![with(&|m| m.topic = resource(".."))], v2::Code::IllegalTopic),
        ("nul", vec![with(&|m| m.topic = resource("a\0b"))], v2::Code::IllegalTopic),
        ("128 bytes", vec![with(&|m| m.topic = resource(&long))], v2::Code::IllegalTopic),
        ("system", vec![with(&|m| m.topic = resource("TBW102"))], v2::Code::IllegalTopic),
        ("unknown", vec![with(&|m| m.topic = resource("nope"))], v2::Code::TopicNotFound),
        ("two topics", vec![good(), with(&|m| m.topic = resource("u"))], v2::Code::MessageCorrupted),
        ("empty body", vec![with(&|m| m.body = vec![].into())], v2::Code::MessageBodyEmpty),
        ("large body", vec![with(&|m| m.body = vec![0; 4 * 1024 * 1024 + 1].into())], v2::Code::MessageBodyTooLarge),
        ("blank id", vec![system(&|s| s.message_id = " ".into())], v2::Code::IllegalMessageId),
        ("tag", vec![system(&|s| s.tag = Some("a|b".into()))], v2::Code::IllegalMessageTag),
        ("key", vec![system(&|s| s.keys = vec!["a\u{1}".into()])], v2::Code::IllegalMessageKey),
        (
            "property",
            vec![with(&|m| drop(m.user_properties.insert("UNIQ_KEY".into(), "x".into())))],
            v2::Code::IllegalMessagePropertyKey,
        ),
        (
            "properties",
            vec![with(&|m| drop(m.user_properties.insert("a".into(), "x".repeat(16_385))))],
            v2::Code::MessagePropertiesTooLarge,
        ),
        ("fifo", vec![system(&|s| s.message_group = Some("g".into()))], v2::Code::MessagePropertyConflictWithType),
        ("group", vec![system(&|s| s.message_group = Some("x".repeat(64)))], v2::Code::IllegalMessageGroup),
    ];
    fn asked<T>(message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().unwrap());
        request
    }
    for (name, messages, code) in sends {
        let reply = client.send_message(asked(v2::SendMessageRequest { messages })).await;
        match reply {
            Ok(reply) => {
                let got = reply.into_inner().status.map(|status| status.code).unwrap_or_default();
                if got != code as i32 {
                    wrong.push(format!("SendMessage, {name}: {got} instead of {}", code as i32));
                }
            }
            Err(status) => wrong.push(format!("SendMessage, {name}: a transport error: {status}")),
        }
    }
    let receive = |group: &str, topic: &str, change: &dyn Fn(&mut v2::ReceiveMessageRequest)| {
        let mut request = v2::ReceiveMessageRequest {
            group: resource(group),
            message_queue: Some(v2::MessageQueue { topic: resource(topic), ..v2::MessageQueue::default() }),
            batch_size: 1,
            invisible_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            long_polling_timeout: Some(prost_types::Duration { seconds: 0, nanos: 0 }),
            ..v2::ReceiveMessageRequest::default()
        };
        change(&mut request);
        request
    };
    let receives = vec![
        ("topic", receive("g", "a/b", &|_| {}), v2::Code::IllegalTopic),
        ("group", receive("a/b", "t", &|_| {}), v2::Code::IllegalConsumerGroup),
        ("system group", receive("CID_RMQ_SYS_x", "t", &|_| {}), v2::Code::IllegalConsumerGroup),
        ("unknown topic", receive("g", "nope", &|_| {}), v2::Code::TopicNotFound),
        (
            "short lease",
            receive("g", "t", &|r| r.invisible_duration = Some(prost_types::Duration { seconds: 9, nanos: 0 })),
            v2::Code::IllegalInvisibleTime,
        ),
        (
            "filter",
            receive("g", "t", &|r| {
                r.filter_expression =
                    Some(v2::FilterExpression { r#type: v2::FilterType::Sql as i32, expression: String::new() });
            }),
            v2::Code::IllegalFilterExpression,
        ),
    ];
    for (name, request, code) in receives {
        let mut replies = client.receive_message(asked(request)).await.unwrap().into_inner();
        let first = replies.message().await.unwrap().and_then(|reply| reply.content);
        match first {
            Some(v2::receive_message_response::Content::Status(status)) if status.code == code as i32 => {}
            other => wrong.push(format!("ReceiveMessage, {name}: {other:?} instead of {}", code as i32)),
        }
    }
    let entry = v2::AckMessageEntry { receipt_handle: "garbage".into(), ..v2::AckMessageEntry::default() };
    let ack = v2::AckMessageRequest { group: resource("g"), topic: resource("t"), entries: vec![entry] };
    let ack = client.ack_message(asked(ack)).await.unwrap().into_inner();
    if ack.status.map(|status| status.code) != Some(v2::Code::InvalidReceiptHandle as i32) || ack.entries.len() != 1 {
        wrong.push("AckMessage of garbage".into());
    }
    let end = v2::EndTransactionRequest { topic: resource("t"), ..v2::EndTransactionRequest::default() };
    let end = client.end_transaction(asked(end)).await.unwrap().into_inner();
    if end.status.map(|status| status.code) != Some(v2::Code::InvalidTransactionId as i32) {
        wrong.push("EndTransaction without a transaction id".into());
    }
    let mut pulled = client.pull_message(asked(v2::PullMessageRequest::default())).await.unwrap().into_inner();
    let first = pulled.message().await.unwrap().and_then(|reply| reply.content);
    let is_refused = matches!(&first, Some(v2::pull_message_response::Content::Status(status))
        if status.code == v2::Code::IllegalConsumerGroup as i32);
    if !is_refused || pulled.message().await.unwrap().is_some() {
        wrong.push(format!("PullMessage is one status and an end: {first:?}"));
    }
    let nobody = client.query_route(tonic::Request::new(v2::QueryRouteRequest::default())).await.unwrap().into_inner();
    if nobody.status.map(|status| status.code) != Some(v2::Code::ClientIdRequired as i32) {
        wrong.push("a call without a client id".into());
    }
}
