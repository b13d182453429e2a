//! A scrape as Prometheus makes it: every name is in the published table, the figures are those of the traffic, and
//! what fails stands in the log under the id that its answer names.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::{Answer, Home, Server, ask};
use serde_json::{Value, json};

const TABLE: &str = include_str!("../../deploy/metrics.md");

/// Names of families with their types.
fn published() -> HashMap<&'static str, &'static str> {
    let row = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim);
        let name = cells.nth(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, cells.next()?))
    };
    TABLE.lines().filter_map(row).collect()
}

async fn scrape(server: &Server) -> String {
    let answer = ask(reqwest::Client::new().get(server.url("/metrics"))).await.unwrap().expect(200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    String::from_utf8(answer.body).unwrap()
}

/// The value of the one sample whose name and labels hold all `parts`.
#[track_caller]
fn value(text: &str, parts: &[&str]) -> f64 {
    let is_meant = |line: &&str| !line.starts_with('#') && parts.iter().all(|part| line.contains(part));
    let lines: Vec<&str> = text.lines().filter(is_meant).collect();
    assert_eq!(lines.len(), 1, "{parts:?}: {lines:?}");
    lines[0].rsplit(' ').next().unwrap().parse().unwrap()
}

async fn post(server: &Server, path: &str, body: &str) -> Answer {
    ask(reqwest::Client::new().post(server.url(path)).body(body.to_string())).await.unwrap()
}

/// Four messages in, one of them with a key and twice; three taken, one acked and one given up; four transactions, of
/// which one stays open; a refusal over each protocol.
async fn traffic(server: &Server) {
    let client = reqwest::Client::new();
    ask(client.put(server.url("/v1/topics/orders")).body("{}")).await.unwrap().expect(201);
    for _ in 0..3 {
        post(server, "/v1/topics/orders/messages", &"x".repeat(2_000)).await.expect(201);
    }
    let take = json!({"topic": "orders", "maxMessages": 2}).to_string();
    let taken = post(server, "/v1/groups/billing/receive", &take).await.expect(200).json();
    let handles: Vec<&str> =
        taken["messages"].as_array().unwrap().iter().filter_map(|m| m["receiptHandle"].as_str()).collect();
    ask(client.delete(server.url(&format!("/v1/receipts/{}", handles[0])))).await.unwrap().expect(204);
    post(server, "/v1/topics/nowhere/messages", "x").await.expect(404);
    ask(client.put(server.url("/v1/topics/pay")).body(r#"{"messageType":"transaction"}"#)).await.unwrap().expect(201);
    for end in ["", "commit", "commit", "rollback"] {
        let half = client.post(server.url("/v1/topics/pay/transactions")).header("gantry-producer-group", "shop");
        let half = ask(half.body("x")).await.unwrap().expect(201).json();
        if !end.is_empty() {
            let handle = half["transactionHandle"].as_str().unwrap();
            post(server, &format!("/v1/transactions/{handle}/{end}"), "").await.expect(204);
        }
    }
    for _ in 0..2 {
        let keyed = client.post(server.url("/v1/topics/orders/messages")).header("idempotency-key", "k-1");
        ask(keyed.body("y".repeat(2_000))).await.unwrap();
    }
    let letter = post(server, "/v1/groups/billing/receive", &json!({"topic": "orders"}).to_string()).await.json();
    let handle = letter["messages"][0]["receiptHandle"].as_str().unwrap();
    post(server, &format!("/v1/receipts/{handle}/dead-letter"), "").await.expect(200);
    ask(client.get(server.url("/v2/what"))).await.unwrap().expect(404);
    let mut grpc = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let answer = grpc.query_route(v2::QueryRouteRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status.unwrap().code(), v2::Code::ClientIdRequired);
}

#[tokio::test]
async fn a_scrape_tells_what_happened_in_names_of_the_table() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--durability", "disk"]);
    traffic(&server).await;
    let text = scrape(&server).await;

    let published = published();
    assert!(published.len() > 30, "the table is read");
    let told: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in &told {
        assert_eq!(published.get(name), Some(kind), "{name} is not in deploy/metrics.md as it is told");
    }
    let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
    for name in published.keys() {
        assert!(names.contains(name), "{name} is in deploy/metrics.md and nobody tells it");
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(names.contains(&name) || names.contains(&family), "{name} has no type");
    }

    let group = ["topic=\"orders\"", "consumer_group=\"billing\""];
    let of_group = |name: &'static str| value(&text, &[name, group[0], group[1]]);
    assert_eq!(value(&text, &["rocketmq_messages_in_total", "topic=\"orders\"", "message_type=\"normal\""]), 4.0);
    assert_eq!(value(&text, &["rocketmq_messages_in_total", "topic=\"pay\"", "message_type=\"transaction\""]), 2.0);
    let of_pay = |name: &'static str| value(&text, &[name, "topic=\"pay\""]);
    assert_eq!(of_pay("rocketmq_half_messages"), 1.0);
    assert_eq!(of_pay("rocketmq_commit_messages_total"), 2.0);
    assert_eq!(of_pay("rocketmq_rollback_messages_total"), 1.0);
    assert_eq!(of_pay("rocketmq_finish_message_latency_seconds_count"), 3.0);
    assert_eq!(value(&text, &["gantry_transactions_given_up_total"]), 0.0);
    assert_eq!(value(&text, &["gantry_idempotency_keys"]), 1.0);
    assert!(value(&text, &["gantry_log_bytes_total", "messages"]) > 8_000.0);
    assert!((300.0..8_000.0).contains(&value(&text, &["gantry_log_bytes_total", "state"])));
    assert_eq!(value(&text, &["rocketmq_message_size_bytes_bucket", "orders", "le=\"1024\""]), 0.0);
    assert_eq!(value(&text, &["rocketmq_message_size_bytes_bucket", "orders", "le=\"4096\""]), 4.0);
    assert_eq!(value(&text, &["rocketmq_message_size_bytes_sum", "orders"]), 8_000.0);
    assert!(value(&text, &["rocketmq_throughput_in_total", "orders"]) > 6_000.0);
    assert_eq!(of_group("rocketmq_messages_out_total"), 3.0);
    assert_eq!(of_group("rocketmq_send_to_dlq_messages_total"), 1.0);
    assert_eq!(of_group("rocketmq_consumer_lag_messages"), 2.0);
    assert_eq!(of_group("rocketmq_consumer_inflight_messages"), 1.0);
    assert_eq!(of_group("rocketmq_consumer_ready_messages"), 1.0);
    assert_eq!(value(&text, &["gantry_published_messages_total", "stored"]), 9.0);
    assert_eq!(value(&text, &["gantry_received_messages_total "]), 3.0);
    assert_eq!(value(&text, &["gantry_settled_receipts_total", "ack", "done"]), 1.0);
    assert_eq!(value(&text, &["gantry_http_requests_total", "/v1/topics/{topic}/messages\"", "POST", "2xx"]), 5.0);
    assert_eq!(value(&text, &["gantry_http_requests_total", "route=\"other\"", "4xx"]), 1.0);
    assert_eq!(value(&text, &["gantry_refusals_total", "rest", "topic_not_found"]), 1.0);
    assert_eq!(value(&text, &["gantry_refusals_total", "grpc", "invalid_parameter"]), 1.0);
    assert_eq!(value(&text, &["rocketmq_rpc_latency_milliseconds_count", "request_code=\"QueryRoute\""]), 1.0);
    assert!(value(&text, &["gantry_store_sync_duration_seconds_count"]) >= 3.0, "every message was synced");
    let node = "cluster=\"DefaultCluster\",node_type=\"broker\",node_id=\"broker-a\"";
    assert_eq!(value(&text, &["rocketmq_broker_permission", node]), 6.0);

    // What is gone is gone from the figures.
    ask(reqwest::Client::new().delete(server.url("/v1/topics/orders"))).await.unwrap().expect(204);
    assert!(!scrape(&server).await.contains("topic=\"orders\""));
}

#[tokio::test]
async fn promtool_finds_fault_with_rocketmqs_own_units_alone() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    traffic(&server).await;
    let text = scrape(&server).await;
    let judge = |text: &str| {
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool: apt-get install prometheus");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (_, said) = judge(&text);
    for line in said.lines() {
        let is_rocketmqs_unit = line.starts_with("rocketmq_") && line.ends_with("instead of \"milliseconds\"");
        assert!(is_rocketmqs_unit, "{said}");
    }
    let (_, said) = judge(&format!("{text}# TYPE gantry_planted_total gauge\ngantry_planted_total 1\n"));
    assert!(said.contains("gantry_planted_total"), "it sees a gauge that calls itself a total: {said}");
}

/// Ends with the test.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An instant query's samples, as soon as there are any.
async fn queried(port: u16, query: &str) -> Value {
    let client = reqwest::Client::new();
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    let form = format!("query={}", query.bytes().map(escape).collect::<String>());
    loop {
        let request = client.post(format!("http://127.0.0.1:{port}/api/v1/query"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.clone());
        let answer = ask(request).await.expect("it listens").expect(200).json();
        let samples = &answer["data"]["result"];
        if samples.as_array().is_some_and(|samples| !samples.is_empty()) {
            return samples.clone();
        }
    }
}

fn start_prometheus(dir: &Path, target: &str) -> (Prometheus, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = json!({
        "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms" },
        "scrape_configs": [{ "job_name": "gantry", "static_configs": [{ "targets": [target] }] }],
    });
    std::fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
    let mut child = Command::new("prometheus")
        .current_dir(dir)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("prometheus: apt-get install prometheus");
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("ready to receive web requests")), "prometheus has ended");
    // Its log has somewhere to go for as long as it lives.
    std::thread::spawn(move || log.for_each(drop));
    (Prometheus(child), port)
}

#[tokio::test]
async fn prometheus_scrapes_and_answers() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    traffic(&server).await;
    let (_prometheus, port) = start_prometheus(home.path(), server.http.strip_prefix("http://").unwrap());
    assert_eq!(queried(port, "up").await[0]["value"][1], "1");
    let lag = queried(port, "rocketmq_consumer_lag_messages").await;
    assert_eq!((&lag[0]["value"][1], &lag[0]["metric"]["consumer_group"]), (&"2".into(), &"billing".into()));
    let query =
        "histogram_quantile(0.99, gantry_http_request_duration_seconds_bucket{route=\"/v1/topics/{topic}/messages\"})";
    let p99: f64 = queried(port, query).await[0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!(p99 > 0.0 && p99 < 30.0, "{p99}");
}

#[tokio::test]
async fn what_fails_stands_in_the_log_under_the_id_of_its_answer() {
    let home = Home::new();
    let server = Server::start_verbose(&home.data(), &[]);
    let client = reqwest::Client::new();
    let asked = client
        .get(server.url("/v1/topics/nowhere"))
        .header("traceparent", "00-11223344556677889900aabbccddeeff-0011223344556677-01");
    let answer = ask(asked).await.unwrap().expect(404);
    let ours = answer.headers["gantry-request-id"].to_str().unwrap().to_string();
    assert_eq!(answer.json()["requestId"], ours.as_str());
    let asked = client.get(server.url("/v1/topics/nowhere")).header("gantry-request-id", "their own id");
    assert_eq!(ask(asked).await.unwrap().headers["gantry-request-id"], "their own id");

    let mut grpc = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let mut request = tonic::Request::new(v2::QueryRouteRequest::default());
    request.metadata_mut().insert("x-mq-request-id", "of-the-client".parse().unwrap());
    let answer = grpc.query_route(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-mq-request-id").unwrap(), "of-the-client");
    let answer = grpc.query_route(v2::QueryRouteRequest::default()).await.unwrap();
    let made = answer.metadata().get("x-mq-request-id").expect("a refusal has an id").to_str().unwrap().to_string();
    let heartbeat = grpc.heartbeat(v2::HeartbeatRequest::default()).await.unwrap();
    assert!(heartbeat.metadata().get("x-mq-request-id").is_none(), "nothing was refused");

    let log = server.log();
    let line = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["refused", &ours, "topic_not_found", "traceparent", "11223344556677889900aabbccddeeff"]), "{log}");
    assert!(line(&["answered", &ours, "status=404", "route=\"/v1/topics/{topic}\""]), "{log}");
    assert!(line(&["refused", "their own id"]), "{log}");
    assert!(line(&["refused", "of-the-client", "invalid_parameter", "QueryRoute"]), "{log}");
    assert!(line(&["refused", &made, "invalid_parameter"]), "{log}");
}
