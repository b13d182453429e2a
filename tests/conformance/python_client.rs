//! Ten thousand messages between HTTP and RocketMQ's official Python client. What each client can do is tried in
//! `tests/clients`.

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
