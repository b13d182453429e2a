//! The whole face in front of a broker of its own, without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use gantry_broker_core::config::Durability;
use gantry_broker_core::local_broker::{LocalBroker, Surroundings};
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::{Broker, BrokerConfig};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;

mod management;

/// The face, its broker, and the switch that begins the stop.
struct Face {
    router: Router,
    drain: watch::Sender<bool>,
    /// The data directory goes when the face does.
    _dir: tempfile::TempDir,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// Status and code of a problem document.
    #[track_caller]
    fn refused(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["requestId"], self.header("gantry-request-id"));
        assert_eq!(problem["status"], self.status.as_u16());
        (self.status.as_u16(), problem["code"].as_str().unwrap().to_string())
    }

    #[track_caller]
    fn expect(self, status: u16) -> Answered {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Face {
    /// With a topic `t` of one queue.
    async fn new() -> Face {
        let dir = tempfile::tempdir().unwrap();
        let config =
            BrokerConfig { segment_bytes: 8 << 20, durability: Durability::Memory, ..BrokerConfig::new(dir.path()) };
        let surroundings = Surroundings {
            files: Arc::new(DiskFiles),
            clock: Box::new(SystemClock),
            random: Arc::new(SystemRandom),
            failed: Box::new(|error| panic!("the store failed: {error}")),
        };
        let broker = LocalBroker::open(config, surroundings).unwrap();
        let keys = broker.handle_keys();
        let (drain, draining) = watch::channel(false);
        let door: Arc<dyn Broker> = Arc::new(broker);
        let state = RestState {
            messaging: Arc::new(Messaging::new(door, keys, draining)),
            users: Arc::default(),
            message_ids: MessageIds::new(&SystemRandom),
            clock: SystemClock,
            broker_name: "broker-a".into(),
            cluster_name: "DefaultCluster".into(),
            counts: HttpCounts::new(openapi::operations()),
            scrape: crate::metrics::install(),
        };
        let face = Face { router: router(Arc::new(state)), drain, _dir: dir };
        face.ask("PUT /v1/topics/t", &[], r#"{"readQueues":1,"writeQueues":1}"#).await.expect(201);
        face
    }

    /// `line` is method and path.
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        let answer = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answered { status: parts.status, headers: parts.headers, body }
    }

    async fn receive(&self) -> Vec<Value> {
        let body = r#"{"topic":"t","maxMessages":32}"#;
        let answer = self.ask("POST /v1/groups/g/receive", &[], body).await.expect(200);
        answer.json()["messages"].as_array().unwrap().clone()
    }
}

const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.gantry.message+json");

#[tokio::test]
async fn every_answer_has_an_id_and_every_refusal_is_a_document() {
    let face = Face::new().await;
    for (line, status, code) in [
        ("GET /v1", 404, "not_found"),
        ("GET /v1/", 404, "not_found"),
        ("GET /v1/topics/", 404, "not_found"),
        ("GET /v1/topics/t/messages/", 404, "not_found"),
        ("GET /elsewhere", 404, "not_found"),
        ("PUT /v1/topics/a%2Fb", 400, "invalid_topic"),
        ("PUT /v1/topics/%2e%2e", 400, "invalid_topic"),
        ("PUT /v1/topics/a%00", 400, "invalid_topic"),
        ("PUT /v1/topics/%ff", 400, "malformed_request"),
        ("GET /v1/topics?dryRun=true", 400, "unknown_field"),
        ("GET /v1/topics?limit=1&limit=2", 400, "invalid_parameter"),
        ("GET /v1/topics?messageType=odd", 400, "invalid_parameter"),
        ("GET /v1/groups?lag=much", 400, "invalid_parameter"),
        ("GET /v1/groups/nobody/lag", 404, "group_not_found"),
        ("GET /v1/topics/t/messages?order=up", 400, "invalid_parameter"),
        ("GET /v1/topics/t/messages?from=noon", 400, "invalid_timestamp"),
        ("GET /v1/topics/t/messages?limit=501", 400, "invalid_parameter"),
        ("GET /v1/topics/t/messages?cursor=c1.x", 400, "invalid_cursor"),
        ("GET /v1/topics/gone/messages", 404, "topic_not_found"),
        ("GET /v1/brokers/b/storage", 404, "broker_not_found"),
        ("DELETE /v1/topics/gone?dryRun=true", 404, "topic_not_found"),
        ("GET /v1/topics/t/queues/broker-a/0/messages?at=noon", 400, "invalid_timestamp"),
        ("GET /v1/topics/t/queues/broker-a/x/messages", 400, "invalid_parameter"),
    ] {
        let answer = face.ask(line, &[], "").await;
        assert_eq!(answer.refused(), (status, code.to_string()), "{line}");
    }
    let mine = face.ask("GET /v1/limits", &[("gantry-request-id", "mine-1")], "").await.expect(200);
    assert_eq!((mine.header("gantry-request-id"), mine.header("cache-control")), ("mine-1", "no-store"));
    let long = "x".repeat(129);
    for id in ["", &long, "ü"] {
        let answer = face.ask("GET /v1/limits", &[("gantry-request-id", id)], "").await;
        assert_eq!(answer.refused().1, "malformed_request", "{id:?}");
    }
}

#[tokio::test]
async fn the_console_answers_browsers_outside_the_api() {
    let face = Face::new().await;
    let browser = ("accept", "text/html,*/*;q=0.8");
    for line in ["GET /", "GET /topics/t?tab=queues", "HEAD /groups"] {
        let answer = face.ask(line, &[browser], "").await.expect(200);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{line}");
        assert_ne!(answer.header("gantry-request-id"), "", "{line}");
    }
    for line in ["GET /v1", "GET /v1/", "GET /v1/topcis", "GET /assets/gone.js", "POST /topics"] {
        assert_eq!(face.ask(line, &[browser], "").await.refused(), (404, "not_found".into()), "{line}");
    }
    assert_eq!(face.ask("POST /", &[browser], "").await.refused(), (405, "method_not_allowed".into()));
}

#[tokio::test]
async fn a_405_names_what_is_allowed() {
    let face = Face::new().await;
    for (line, allowed) in [
        ("POST /v1/topics", "GET,HEAD"),
        ("PUT /v1/topics/t/messages", "POST,GET,HEAD"),
        ("GET /v1/receipts/x", "DELETE,PATCH"),
        ("DELETE /healthz", "GET,HEAD"),
    ] {
        let answer = face.ask(line, &[], "").await;
        assert_eq!(answer.refused(), (405, "method_not_allowed".into()), "{line}");
        assert_eq!(answer.header("allow"), allowed, "{line}");
    }
}

#[tokio::test]
async fn a_namespace_is_not_passed_over() {
    let face = Face::new().await;
    let answer = face.ask("POST /v1/topics/t/messages", &[("gantry-namespace", "n")], "x").await;
    assert_eq!(answer.refused(), (501, "not_implemented".into()));
    assert!(face.receive().await.is_empty());
}

#[tokio::test]
async fn a_json_body_is_stored_as_it_was_written() {
    let face = Face::new().await;
    let body = r#"{"id":"mine","bodyJson": {"b": 1.0, "a": 12345678901234567890123, "b": [ ]},"keys":null,"tag":null}"#;
    let published = face.ask("POST /v1/topics/t/messages", &[ENVELOPE], body).await.expect(201).json();
    assert_eq!((&published["mode"], &published["id"]), (&json!("envelope"), &json!("mine")));
    assert_eq!(face.receive().await[0]["body"], r#"{"b":1.0,"a":12345678901234567890123,"b":[]}"#);
}

#[tokio::test]
async fn lines_of_a_batch_fail_alone() {
    let face = Face::new().await;
    let lines = "{\"id\":\"a\",\"body\":\"x\"}\n{nope\n\n{\"id\":\"c\",\"body\":\"y\",\"delay\":\"1m\"}\n{\"id\":\"d\",\"body\":\"z\",\"tag\":5}";
    let headers = [("content-type", "application/x-ndjson")];
    let answer = face.ask("POST /v1/topics/t/messages/batch", &headers, lines).await.expect(207).json();
    assert_eq!(answer["summary"], json!({"ok": 1, "failed": 3}));
    let results = answer["results"].as_array().unwrap();
    let codes: Vec<_> = results.iter().map(|result| result["problem"]["code"].as_str().unwrap_or("stored")).collect();
    assert_eq!(codes, ["stored", "malformed_request", "message_type_mismatch", "invalid_parameter"]);
    assert_eq!(answer["results"][3]["id"], "d");
    assert_eq!(answer["results"][3]["problem"]["errors"][0]["pointer"], "/tag");
    assert_eq!(face.receive().await.len(), 1);
}

#[tokio::test]
async fn keys_of_a_batch_are_its_entries_own() {
    let face = Face::new().await;
    let batch = r#"{"messages":[{"body":"x","idempotencyKey":"k"},{"body":"y"}]}"#;
    let path = "POST /v1/topics/t/messages/batch";
    let refused = face.ask(path, &[("idempotency-key", "k")], batch).await;
    assert_eq!(refused.refused(), (400, "invalid_parameter".into()));
    assert_eq!(refused.json()["errors"][0]["header"], "Idempotency-Key");
    let first = face.ask(path, &[], batch).await.expect(201);
    assert_eq!(first.header("gantry-idempotency"), "enforced");
    let again = face.ask(path, &[], batch).await.expect(201).json();
    assert_eq!((&again["results"][0]["status"], &again["results"][0]["duplicate"]), (&json!(200), &json!(true)));
    assert_eq!(again["results"][0]["messageId"], first.json()["results"][0]["messageId"]);
    let other = r#"{"messages":[{"body":"other","idempotencyKey":"k"}]}"#;
    let other = face.ask(path, &[], other).await.expect(207).json();
    assert_eq!(other["results"][0]["problem"]["code"], "idempotency_key_reused");
    assert_eq!(face.receive().await.len(), 3);
}

#[tokio::test]
async fn a_raw_message_comes_back_with_its_metadata() {
    let face = Face::new().await;
    let headers = [("gantry-tag", "bezahlt-ä"), ("gantry-property", "a%3Db=c%2Cd"), ("content-type", "text/html")];
    face.ask("POST /v1/topics/t/messages", &headers, "<b>").await.expect(201);
    let path = "POST /v1/groups/g/receive?topic=t&invisibleDuration=10s&filter=x%20%7C%7C%20bezahlt-%C3%A4";
    let raw = face.ask(path, &[("accept", "application/vnd.gantry.raw")], "").await.expect(200);
    assert_eq!(raw.body, b"<b>");
    assert_eq!(raw.headers["gantry-tag"].as_bytes(), "bezahlt-ä".as_bytes());
    assert_eq!((raw.header("gantry-property"), raw.header("content-type")), ("a%3Db=c%2Cd", "text/html"));
    assert_eq!((raw.header("x-content-type-options"), raw.header("gantry-queue")), ("nosniff", "broker-a/0"));
    let handle = raw.header("gantry-receipt-handle");
    face.ask(&format!("DELETE /v1/receipts/{handle}"), &[], "").await.expect(204);
}

#[tokio::test]
async fn a_settle_answers_entry_by_entry() {
    let face = Face::new().await;
    for body in ["a", "b", "c", "d"] {
        face.ask("POST /v1/topics/t/messages", &[], body).await.expect(201);
    }
    let received = face.receive().await;
    let entries = json!({"entries": [
        {"receiptHandle": received[0]["receiptHandle"], "action": "ack"},
        {"receiptHandle": "garbage", "action": "ack"},
        {"receiptHandle": received[1]["receiptHandle"], "action": "extend", "invisibleDuration": "2m"},
        {"receiptHandle": received[3]["receiptHandle"], "action": "deadLetter", "reason": "no such account"},
        {"receiptHandle": received[2]["receiptHandle"], "action": "nack", "retryAfter": "0s"},
    ]});
    let settled = face.ask("POST /v1/receipts/settle", &[], entries.to_string()).await.expect(207).json();
    let status: Vec<_> = settled["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(status, [204, 400, 200, 200, 200]);
    assert_eq!(settled["results"][3]["dlqTopic"], "%DLQ%g");
    assert_eq!(settled["results"][1]["problem"]["code"], "invalid_receipt_handle");
    let again = face.receive().await;
    assert_eq!((again.len(), &again[0]["body"], &again[0]["deliveryAttempt"]), (1, &json!("c"), &json!(2)));
    let path = format!("PATCH /v1/receipts/{}", settled["results"][2]["receiptHandle"].as_str().unwrap());
    let merge_patch = [("content-type", "application/merge-patch+json")];
    face.ask(&path, &merge_patch, r#"{"invisibleDuration":"1m"}"#).await.expect(200);
    let none = face.ask(&path, &merge_patch, r#"{"invisibleDuration":null}"#).await;
    assert_eq!(none.refused(), (400, "invalid_parameter".into()));
    let letters = face.ask("GET /v1/topics/%25DLQ%25g/messages", &[], "").await.expect(200).json();
    let origin = &letters["items"][0]["deadLetter"];
    assert_eq!((&origin["topic"], &origin["reason"]), (&json!("t"), &json!("no such account")));
    assert_eq!((&origin["messageId"], &origin["deliveryAttempts"]), (&received[3]["messageId"], &json!(1)));
}

#[tokio::test]
async fn a_message_given_up_is_given_up_once() {
    let face = Face::new().await;
    face.ask("POST /v1/topics/t/messages", &[], "a").await.expect(201);
    let handle = face.receive().await[0]["receiptHandle"].as_str().unwrap().to_string();
    let path = format!("POST /v1/receipts/{handle}/dead-letter");
    let long = format!(r#"{{"reason":"{}"}}"#, "r".repeat(1_025));
    for (body, code) in [(long.as_str(), "invalid_parameter"), (r#"{"why":""}"#, "unknown_field")] {
        assert_eq!(face.ask(&path, &[], body.to_string()).await.refused(), (400, code.into()), "{body}");
    }
    for _ in 0..2 {
        assert_eq!(face.ask(&path, &[], "").await.expect(200).json(), json!({"dlqTopic": "%DLQ%g"}));
    }
    let garbage = face.ask("POST /v1/receipts/garbage/dead-letter", &[], "").await;
    assert_eq!(garbage.refused(), (400, "invalid_receipt_handle".into()));
    let letters = face.ask("GET /v1/topics/%25DLQ%25g/messages", &[], "").await.expect(200).json();
    assert_eq!(letters["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn dead_letters_are_counted_shown_and_sent_once_more() {
    let face = Face::new().await;
    let missing = face.ask("GET /v1/groups/nobody/dlq", &[], "").await;
    assert_eq!(missing.refused(), (404, "group_not_found".into()));
    let headers = [("gantry-tag", "paid"), ("gantry-keys", "7"), ("gantry-property", "Region=eu")];
    face.ask("POST /v1/topics/t/messages", &headers, "a").await.expect(201);
    let received = face.receive().await;
    let none = face.ask("GET /v1/groups/g/dlq", &[], "").await.expect(200).json();
    assert_eq!(none, json!({"topic": "%DLQ%g", "count": 0, "oldest": null, "newest": null}));
    assert_eq!(face.ask("GET /v1/groups/g/dlq/messages", &[], "").await.expect(200).json()["items"], json!([]));
    let unmade = face.ask("GET /v1/topics/%25DLQ%25g/messages", &[], "").await;
    assert_eq!(unmade.refused(), (404, "topic_not_found".into()));
    let handle = received[0]["receiptHandle"].as_str().unwrap();
    face.ask(&format!("POST /v1/receipts/{handle}/dead-letter"), &[], "").await.expect(200);
    let one = face.ask("GET /v1/groups/g/dlq", &[], "").await.expect(200).json();
    assert_eq!((&one["count"], &one["oldest"]), (&json!(1), &one["newest"]));
    let letters = face.ask("GET /v1/groups/g/dlq/messages", &[], "").await.expect(200).json();
    let id = letters["items"][0]["messageId"].as_str().unwrap().to_string();

    let path = "POST /v1/groups/g/dlq/resend";
    let by_id = json!({"messageIds": [id, "unknown"]}).to_string();
    let dry = face.ask(&format!("{path}?dryRun=true"), &[], by_id.clone()).await.expect(207);
    assert_eq!(dry.header("gantry-dry-run"), "true");
    assert_eq!(dry.json()["results"][0], json!({"messageId": id, "status": 200, "target": "t"}));
    assert!(face.receive().await.is_empty(), "a dry run sends nothing");
    let sent = face.ask(path, &[], by_id).await.expect(207).json();
    assert_eq!(sent["summary"], json!({"ok": 1, "failed": 1}));
    assert_eq!(sent["results"][1]["problem"]["code"], "message_not_found");
    let again = face.receive().await;
    assert_eq!(again[0]["messageId"], sent["results"][0]["newMessageId"]);
    assert_ne!(again[0]["messageId"], json!(id));
    let as_it_was = ["body", "tag", "keys", "properties"];
    as_it_was.iter().for_each(|field| assert_eq!(again[0][field], received[0][field], "{field}"));
    assert!(again[0].get("deadLetter").is_none(), "it is a message like any other");

    let by_time = json!({"from": 0, "to": "2100-01-01T00:00:00Z", "target": {"topic": "t"}}).to_string();
    let sent = face.ask(path, &[], by_time).await.expect(200).json();
    assert_eq!(sent["summary"], json!({"ok": 1, "failed": 0}));
    assert_eq!(face.ask("GET /v1/groups/g/dlq", &[], "").await.json()["count"], 1, "a dead letter stays");
}

#[tokio::test]
async fn a_fifo_topic_keeps_a_message_group_in_order() {
    let face = Face::new().await;
    let fifo = r#"{"messageType":"fifo","readQueues":4}"#;
    let made = face.ask("PUT /v1/topics/ledger", &[], fifo).await.expect(201).json();
    assert_eq!(made["messageType"], "fifo");
    let moved = face.ask("PUT /v1/topics/ledger", &[("if-match", "*")], r#"{"messageType":"fifo"}"#).await;
    assert_eq!(moved.refused(), (400, "invalid_parameter".into()));
    let path = "POST /v1/topics/ledger/messages";
    for body in ["+5", "-3"] {
        let sent = face.ask(path, &[("gantry-message-group", "order-1")], body).await.expect(201).json();
        assert_eq!(sent["queueId"], 3, "where RocketMQ puts this group");
    }
    let without = face.ask(path, &[], "x").await;
    assert_eq!(without.refused(), (400, "message_type_mismatch".into()));
    let pinned = [("gantry-message-group", "order-1"), ("gantry-queue", "broker-a/1")];
    assert_eq!(face.ask(path, &pinned, "x").await.refused(), (400, "invalid_parameter".into()));
    let receive = async |attempt: &str| {
        let body = format!(r#"{{"topic":"ledger","maxMessages":1,"attemptId":"{attempt}"}}"#);
        face.ask("POST /v1/groups/g/receive", &[], body).await.expect(200).json()["messages"].clone()
    };
    let first = receive("1").await;
    assert_eq!((&first[0]["body"], &first[0]["messageGroup"]), (&json!("+5"), &json!("order-1")));
    assert_eq!(receive("1").await[0]["body"], "+5", "the answer was lost");
    assert_eq!(receive("2").await, json!([]));
    let handle = receive("1").await[0]["receiptHandle"].as_str().unwrap().to_string();
    face.ask(&format!("DELETE /v1/receipts/{handle}"), &[], "").await.expect(204);
    assert_eq!(receive("2").await[0]["body"], "-3");
}

#[tokio::test]
async fn a_group_is_moved_by_hand_and_a_dry_run_says_where_to() {
    let face = Face::new().await;
    for body in ["a", "b", "c"] {
        face.ask("POST /v1/topics/t/messages", &[("gantry-queue", "broker-a/0")], body).await.expect(201);
    }
    let received = face.receive().await;
    assert_eq!(received.len(), 3);
    let back = r#"{"topic":"t","to":{"offset":1},"queues":[{"brokerName":"broker-a","queueId":0}]}"#;
    let online = face.ask("POST /v1/groups/g/offsets/reset", &[], back).await;
    assert_eq!(online.refused(), (409, "group_online".into()));
    let dry = face.ask("POST /v1/groups/g/offsets/reset?dryRun=true", &[], back).await.expect(200);
    let plan = json!({"brokerName": "broker-a", "queueId": 0, "from": 0, "to": 1, "delta": 1});
    assert_eq!((dry.header("gantry-dry-run"), dry.json()["queues"].clone()), ("true", json!([plan])));
    let force = r#"{"topic":"t","to":{"position":"max"},"force":true}"#;
    let moved = face.ask("POST /v1/groups/g/offsets/reset", &[], force).await.expect(200).json();
    assert_eq!(moved["queues"][0]["to"], 3);
    let handle = received[0]["receiptHandle"].as_str().unwrap();
    let void = face.ask(&format!("POST /v1/receipts/{handle}/nack"), &[], "").await;
    assert_eq!(void.refused(), (410, "receipt_expired".into()));
    face.ask("POST /v1/groups/g/offsets/reset", &[], back).await.expect(200);
    assert_eq!(face.receive().await.len(), 2);
    face.ask("PUT /v1/groups/h", &[], "{}").await.expect(201);
    let clone = face.ask("POST /v1/groups/h/offsets/clone", &[], r#"{"topic":"t","fromGroup":"g"}"#).await;
    assert_eq!(clone.expect(200).json()["queues"][0]["to"], 1);
    let skip = face.ask("POST /v1/groups/h/offsets/skip", &[], r#"{"topic":"t"}"#).await.expect(200).json();
    assert_eq!((&skip["queues"][0]["from"], &skip["queues"][0]["delta"]), (&json!(1), &json!(2)));
    for (path, body, refused) in [
        ("reset", r#"{"topic":"t"}"#, (400, "invalid_parameter")),
        ("reset", r#"{"topic":"t","to":{}}"#, (400, "invalid_parameter")),
        ("reset", r#"{"topic":"t","to":{"offset":1,"position":"min"}}"#, (400, "invalid_parameter")),
        ("reset", r#"{"topic":"t","to":{"position":"middle"}}"#, (400, "unknown_field")),
        ("reset", r#"{"topic":"t","to":{"offset":9}}"#, (400, "invalid_offset")),
        ("reset", r#"{"topic":"gone","to":{"offset":0}}"#, (404, "topic_not_found")),
        ("skip", r#"{"topic":"t","queues":[{"brokerName":"broker-a","queueId":99}]}"#, (404, "not_found")),
        ("skip", r#"{"topic":"t","queues":[{"brokerName":"other","queueId":0}]}"#, (404, "broker_not_found")),
        ("clone", r#"{"topic":"t"}"#, (400, "invalid_parameter")),
        ("clone", r#"{"topic":"t","fromGroup":"nobody"}"#, (404, "group_not_found")),
    ] {
        let answer = face.ask(&format!("POST /v1/groups/h/offsets/{path}"), &[], body).await;
        assert_eq!(answer.refused(), (refused.0, refused.1.to_string()), "{path} {body}");
    }
}

#[tokio::test]
async fn a_stale_etag_is_answered_with_the_current_one() {
    let face = Face::new().await;
    let config = r#"{"readQueues":2,"writeQueues":2}"#;
    let current = face.ask("GET /v1/topics/t", &[], "").await.header("etag").to_string();
    let stale = face.ask("PUT /v1/topics/t", &[("if-match", "\"0-0\"")], config).await;
    assert_eq!(stale.refused(), (412, "etag_mismatch".into()));
    assert_eq!(stale.header("etag"), current);
    let changed = face.ask("PUT /v1/topics/t", &[("if-match", &current)], config).await.expect(200);
    assert_ne!(changed.header("etag"), current);
    let wrong = face.ask("PUT /v1/topics/t", &[("if-match", "*")], r#"{"readQueues":0}"#).await;
    assert_eq!(wrong.refused(), (400, "invalid_parameter".into()));
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/readQueues");
    face.ask("PUT /v1/groups/g", &[], "{}").await.expect(201);
    let stale = face.ask("PUT /v1/groups/g", &[("if-match", "\"0-0\"")], "{}").await;
    assert_eq!(stale.refused(), (412, "etag_mismatch".into()));
    assert!(!stale.header("etag").is_empty());
}

#[tokio::test]
async fn cursors_belong_to_their_query() {
    let face = Face::new().await;
    for name in ["a", "b"] {
        face.ask(&format!("PUT /v1/topics/{name}"), &[], "{}").await.expect(201);
    }
    let page = face.ask("GET /v1/topics?limit=1&messageType=normal", &[], "").await.expect(200).json();
    let cursor = page["nextCursor"].as_str().unwrap();
    face.ask(&format!("GET /v1/topics?messageType=normal&cursor={cursor}"), &[], "").await.expect(200);
    let altered = format!("{}{}", &cursor[..cursor.len() - 2], if cursor.ends_with("AA") { "BB" } else { "AA" });
    for (query, cursor) in [("", cursor), ("messageType=fifo&", cursor), ("messageType=normal&", &altered)] {
        let answer = face.ask(&format!("GET /v1/topics?{query}cursor={cursor}"), &[], "").await;
        assert_eq!(answer.refused(), (400, "invalid_cursor".into()), "{query}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_runs_out_of_time() {
    let face = Face::new().await;
    let endless = || Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = face.ask("POST /v1/topics/t/messages", &[("gantry-timeout", "20ms")], endless()).await;
    assert_eq!(answer.refused(), (504, "deadline_exceeded".into()));
    for (timeout, code) in [("5", "invalid_duration"), ("0s", "invalid_duration"), ("soon", "invalid_duration")] {
        let answer = face.ask("GET /v1/limits", &[("gantry-timeout", timeout)], "").await;
        assert_eq!(answer.refused(), (400, code.into()), "{timeout}");
    }
}

#[tokio::test]
async fn a_stop_ends_waits_and_refuses_work() {
    let face = Face::new().await;
    face.ask("GET /readyz", &[], "").await.expect(200);
    let waiting = face.ask("POST /v1/groups/g/receive", &[("prefer", "wait=30")], r#"{"topic":"t"}"#);
    let (parked, ()) = tokio::join!(waiting, async {
        face.drain.send_replace(true);
    });
    let parked = parked.expect(200);
    assert_eq!((parked.header("gantry-draining"), parked.json()), ("true", json!({"messages": []})));
    let refused = face.ask("POST /v1/topics/t/messages", &[], "x").await;
    assert_eq!(refused.refused(), (503, "draining".into()));
    assert_eq!((refused.header("retry-after"), refused.json()["retryable"].clone()), ("1", json!(true)));
    let ready = face.ask("GET /readyz", &[], "").await.expect(503).json();
    assert_eq!(ready["checks"][0], json!({"name": "notDraining", "ok": false}));
    face.ask("GET /healthz", &[], "").await.expect(200);
}

#[tokio::test]
async fn what_nobody_took_is_visible_again_at_once() {
    let face = Face::new().await;
    face.ask("POST /v1/topics/t/messages", &[], "x").await.expect(201);
    for accept in ["application/json", "application/vnd.gantry.raw"] {
        let request = Request::post("/v1/groups/g/receive?topic=t").header("accept", accept);
        let answer = face.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(face.receive().await.is_empty(), "leased while the answer is under way");
        drop(answer);
        // Whoever gives it back is another task: it runs when this one waits.
        let waited =
            face.ask("POST /v1/groups/g/receive", &[("prefer", "wait=30")], r#"{"topic":"t"}"#).await.expect(200);
        let message = waited.json()["messages"][0].clone();
        assert_eq!(message["deliveryAttempt"], 1, "what did not arrive is no attempt");
        let nack = format!("POST /v1/receipts/{}/nack", message["receiptHandle"].as_str().unwrap());
        face.ask(&nack, &[], r#"{"retryAfter":"0s","suspend":true}"#).await.expect(200);
    }
}

#[tokio::test]
async fn a_topic_is_looked_through_in_pages_from_both_ends() {
    let face = Face::new().await;
    for number in 0..5 {
        let tag = if number % 2 == 0 { "even" } else { "odd" };
        face.ask("POST /v1/topics/t/messages", &[("gantry-tag", tag)], format!("m{number}")).await.expect(201);
    }
    let pages = async |query: &str| {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        for _ in 0..4 {
            let line = format!("GET /v1/topics/t/messages?limit=2{query}{cursor}");
            let page = face.ask(&line, &[], "").await.expect(200).json();
            let bodies =
                page["items"].as_array().unwrap().iter().map(|item| item["body"].as_str().unwrap().to_string());
            pages.push(bodies.collect::<Vec<_>>().join(" "));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        (pages, cursor)
    };
    assert_eq!(pages("").await.0, ["m4 m3", "m2 m1", "m0"]);
    // A page that is full does not look whether anything follows.
    assert_eq!(pages("&tag=odd").await.0, ["m3 m1", ""]);
    let (all, cursor) = pages("&order=asc").await;
    // The end is a place to wait at: what comes later lies behind it.
    assert_eq!(all, ["m0 m1", "m2 m3", "m4", ""]);
    face.ask("POST /v1/topics/t/messages", &[], "later").await.expect(201);
    let later = face.ask(&format!("GET /v1/topics/t/messages?limit=2&order=asc{cursor}"), &[], "").await.expect(200);
    assert_eq!(later.json()["items"][0]["body"], "later");
    // A cursor speaks for its own question alone.
    let other = face.ask(&format!("GET /v1/topics/t/messages?limit=2&order=desc{cursor}"), &[], "").await;
    assert_eq!(other.refused().1, "invalid_cursor");
    let other = face.ask(&format!("GET /v1/topics/t/messages?order=asc&tag=odd{cursor}"), &[], "").await;
    assert_eq!(other.refused().1, "invalid_cursor");

    let id = later.json()["items"][0]["messageId"].as_str().unwrap().to_string();
    let body = face.ask(&format!("GET /v1/topics/t/messages/{id}/body"), &[], "").await.expect(200);
    assert_eq!((body.header("content-type"), &*body.body), ("application/octet-stream", b"later".as_slice()));
    assert!(body.header("content-disposition").starts_with("attachment"));
}

#[tokio::test]
async fn lag_and_what_a_delete_would_take_along_are_counted() {
    let face = Face::new().await;
    for _ in 0..3 {
        face.ask("POST /v1/topics/t/messages", &[], "m").await.expect(201);
    }
    let impact = face.ask("DELETE /v1/topics/t?dryRun=true", &[], "").await.expect(200).json();
    assert_eq!((impact["messages"].as_u64(), impact["groups"].as_array().unwrap().len()), (Some(3), 0));
    let taken = face.receive().await;
    let handle = taken[0]["receiptHandle"].as_str().unwrap();
    face.ask(&format!("DELETE /v1/receipts/{handle}"), &[], "").await.expect(204);
    let lag = face.ask("GET /v1/groups/g/lag", &[], "").await.expect(200).json();
    assert_eq!((lag["totalLag"].as_u64(), lag["topics"][0]["inflight"].as_u64()), (Some(2), Some(2)));
    assert!(lag["delayMs"].is_u64() && lag["topics"][0]["topic"] == "t");
    let listed = face.ask("GET /v1/groups?lag=true", &[], "").await.expect(200).json();
    let group = &listed["items"][0];
    assert_eq!((group["totalLag"].as_u64(), &group["topics"][0]), (Some(2), &serde_json::json!("t")));
    assert!(face.ask("GET /v1/groups", &[], "").await.expect(200).json()["items"][0].get("totalLag").is_none());
    let groups = face.ask("GET /v1/topics/t/groups", &[], "").await.expect(200).json();
    assert_eq!((&groups["items"][0]["name"], groups["items"][0]["lag"].as_u64()), (&serde_json::json!("g"), Some(2)));
    let impact = face.ask("DELETE /v1/topics/t?dryRun=true", &[], "").await.expect(200).json();
    assert_eq!(impact["groups"][0]["lag"].as_u64(), Some(2));
    face.ask("GET /v1/topics/t", &[], "").await.expect(200);
    let stats = face.ask("GET /v1/topics/t/stats", &[], "").await.expect(200).json();
    assert_eq!(
        (stats["messages"].as_u64(), stats["messagesIn"].as_u64(), stats["messagesOut"].as_u64()),
        (Some(3), Some(3), Some(3))
    );
    let stats = face.ask("GET /v1/brokers/broker-a/stats", &[], "").await.expect(200).json();
    assert_eq!((stats["messagesIn"].as_u64(), stats["parkedReceives"].as_u64()), (Some(3), Some(0)));
    assert_eq!(face.ask("GET /v1/brokers/b/stats", &[], "").await.refused().1, "broker_not_found");
    let storage = face.ask("GET /v1/brokers/broker-a/storage", &[], "").await.expect(200).json();
    assert!(storage["diskTotal"].as_u64() > storage["diskUsed"].as_u64() && storage["earliestMessageAt"].is_string());
}
