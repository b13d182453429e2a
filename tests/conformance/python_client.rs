//! RocketMQ's official Python client, from its registry: producer, simple consumer and push consumer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use harness::{Home, Server, ask, bytes_of};
use reqwest::Client;
use serde_json::json;

const MESSAGES: u64 = 10_000;
const BODY_BYTES: usize = 1_024;
const BATCH: u64 = 500;

/// Runs a script of `tests/conformance/python`; the client writes its logs under a HOME of its own.
fn python(script: &str, server: &Server, home: &Path, args: &[&str]) -> Output {
    let python = std::env::var_os("GANTRY_PYTHON").unwrap_or_else(|| {
        panic!("GANTRY_PYTHON must name a Python with rocketmq-python-client 5.1.2: run `make conformance`")
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/python").join(script);
    let output =
        Command::new(python).arg(path).arg(&server.grpc).args(args).env("HOME", home).output().expect("python");
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {said}\n{log}\n{}", server.log());
    output
}

/// `id sha256` a line.
fn digests(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(id, digest)| (id.to_string(), digest.to_string())).collect()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn publish_all(server: &Server) -> BTreeMap<String, String> {
    let http = Client::new();
    let mut sent = BTreeMap::new();
    for from in (0..MESSAGES).step_by(BATCH as usize) {
        let mut messages = Vec::new();
        for number in from..from + BATCH {
            let body = bytes_of(number + 1, BODY_BYTES);
            sent.insert(format!("http{number}"), sha256(&body));
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(&body);
            messages.push(json!({"messageId": format!("http{number}"), "bodyBase64": text, "tag": "all"}));
        }
        let url = server.url("/v1/topics/t/messages/batch");
        ask(http.post(url).json(&json!({"messages": messages}))).await.expect("an answer").expect(201);
    }
    sent
}

#[tokio::test]
async fn ten_thousand_messages_from_http_to_both_consumers() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    ask(Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let sent = publish_all(&server).await;
    for script in ["simple_consumer.py", "push_consumer.py"] {
        let received = digests(&python(script, &server, home.path(), &[script, &MESSAGES.to_string()]));
        assert_eq!(received.len(), sent.len(), "{script}: none is missing");
        assert!(received == sent, "{script}: every body is equal");
        let group = script.trim_end_matches(".py");
        let lag = ask(Client::new().get(server.url(&format!("/v1/groups/{group}/lag?topic=t")))).await.unwrap();
        let lag = lag.expect(200).json();
        assert_eq!(
            (lag["totalLag"].as_u64(), lag["topics"][0]["inflight"].as_u64()),
            (Some(0), Some(0)),
            "{script}: all is acked"
        );
    }
}

#[tokio::test]
async fn ten_thousand_messages_from_the_producer_to_http() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let http = Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let sent = digests(&python("producer.py", &server, home.path(), &[&MESSAGES.to_string()]));
    assert_eq!(sent.len() as u64, MESSAGES);
    // The producer took its time on this thread: connections from before may be closed, and nobody was there to see it.
    let http = Client::new();
    let mut received = BTreeMap::new();
    loop {
        let body = json!({"topic": "t", "maxMessages": 32});
        let answer = ask(http.post(server.url("/v1/groups/http/receive?bodyAs=base64")).json(&body)).await.unwrap();
        let messages = answer.expect(200).json()["messages"].as_array().unwrap().clone();
        if messages.is_empty() {
            break;
        }
        let mut entries = Vec::new();
        for message in &messages {
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD.decode(message["body"].as_str().unwrap()).unwrap();
            received.insert(message["messageId"].as_str().unwrap().to_string(), sha256(&body));
            entries.push(json!({"receiptHandle": message["receiptHandle"], "action": "ack"}));
        }
        ask(http.post(server.url("/v1/receipts/settle")).json(&json!({"entries": entries}))).await.unwrap().expect(200);
    }
    assert_eq!(received.len(), sent.len(), "none is missing");
    assert!(received == sent, "every body is equal");
}

#[tokio::test]
async fn the_clients_survive_a_kill_of_the_server_between_their_lives() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    ask(Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let sent = digests(&python("producer.py", &server, home.path(), &["200"]));
    server.kill_9();
    let server = Server::start(&home.data(), &[]);
    let received = digests(&python("simple_consumer.py", &server, home.path(), &["simple_consumer.py", "200"]));
    assert!(received == sent, "{} of {}", received.len(), sent.len());
}

#[tokio::test]
async fn an_sql92_filter_of_the_simple_consumer_gets_what_meets_it_and_nothing_else() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let http = Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let message = |number: u32| {
        let region = if number.is_multiple_of(2) { "eu" } else { "us" };
        let properties = json!({"region": region, "amount": number.to_string()});
        json!({"body": format!("{number:03}"), "tag": "all", "properties": properties})
    };
    let messages: Vec<_> = (0..200).map(message).collect();
    let url = server.url("/v1/topics/t/messages/batch");
    ask(http.post(url).json(&json!({"messages": messages}))).await.unwrap().expect(201);
    let expected: Vec<String> =
        (150..200_u32).filter(|number| number.is_multiple_of(2)).map(|number| format!("{number:03}")).collect();
    let args = ["sql", &expected.len().to_string(), "region = 'eu' AND amount BETWEEN 150 AND 1000"];
    let output = python("sql_consumer.py", &server, home.path(), &args);
    let received = String::from_utf8_lossy(&output.stdout).to_string();
    assert_eq!(received.lines().collect::<Vec<_>>(), expected);
    let lag = ask(Client::new().get(server.url("/v1/groups/sql/lag?topic=t"))).await.unwrap().expect(200).json();
    assert_eq!(lag["totalLag"], 0, "what does not match counts as consumed");
}

/// The client keeps order itself, repeats what failed by the group's policy, and gives it up in the end.
#[tokio::test]
async fn l6_l7_a_push_consumer_gets_its_message_groups_in_order_and_gives_up_what_it_cannot_consume() {
    const GROUPS: u64 = 6;
    const EACH: u64 = 10;
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let http = Client::new();
    let put = |path: &str, body| http.put(server.url(path)).json(&body);
    ask(put("/v1/topics/t", json!({"messageType": "fifo", "readQueues": 4}))).await.unwrap().expect(201);
    let retry = json!({"type": "customized", "next": ["1s"]});
    let group = json!({"orderly": true, "retryMaxTimes": 1, "retryPolicy": retry, "startFrom": "min"});
    ask(put("/v1/groups/fifo", group)).await.unwrap().expect(201);
    let output = python("fifo.py", &server, home.path(), &["fifo", &GROUPS.to_string(), &EACH.to_string()]);
    let said = String::from_utf8_lossy(&output.stdout);
    let mut consumed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, number) in said.lines().filter_map(|line| line.split_once(' ')) {
        consumed.entry(group).or_default().push(number);
    }
    for group in 0..GROUPS {
        let mut expected: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
        if group == 0 {
            expected.splice(1..2, ["1 bad".to_string(), "1 bad".to_string()]);
        }
        assert_eq!(consumed[&*group.to_string()], expected, "message group {group}");
    }
    let letters = ask(http.get(server.url("/v1/groups/fifo/dlq/messages"))).await.unwrap().expect(200).json();
    assert_eq!((letters["items"].as_array().unwrap().len(), &letters["items"][0]["body"]), (1, &json!("0 1 bad")));
    let lag = ask(http.get(server.url("/v1/groups/fifo/lag?topic=t"))).await.unwrap().expect(200).json();
    assert_eq!((&lag["totalLag"], &lag["topics"][0]["inflight"]), (&json!(0), &json!(0)));
}
