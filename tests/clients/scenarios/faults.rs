//! The server goes away in the middle of it and comes back, at the same addresses; and much at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use harness::{Home, INSTEAD, Server, bytes_of};
use serde_json::{Value, json};

use crate::driver::{Driver, saw};
use crate::languages::Language;
use crate::trial::{Trial, encoded, message, publish, receive, settled};

const EACH: usize = 20;
/// Clients wait for seconds before they try a lost connection again.
const BACK_MAX: Duration = Duration::from_secs(60);
/// In which several connections of a client end.
const AGES: Duration = Duration::from_secs(10);

pub fn kill(trial: &Trial<'_>) {
    outage(trial, Server::kill_9);
}

/// The server ends the clients' polls and streams, and waits for none of them.
pub fn stop(trial: &Trial<'_>) {
    outage(trial, |server| assert!(server.stop("-TERM").success()));
}

fn outage(trial: &Trial<'_>, end: impl FnOnce(Server)) {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let of_server = Trial { server: &server, ..*trial };
    let topic = of_server.topic(json!({}));
    let group = of_server.group(json!({"startFrom": "min"}));
    let mut driver = of_server.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let how = if trial.language == Language::Rust { "simple" } else { "push" };
    driver.tell(json!({"do": how, "group": group, "topic": topic}));
    let mut sent = BTreeSet::new();
    send(&mut driver, &topic, &mut sent, EACH);
    // Some of it is with the consumer, some is not.
    if how == "push" {
        driver.until("the first", |seen| !saw(seen, "consumed").is_empty());
    }
    let (http, grpc) = (server.http["http://".len()..].to_string(), server.grpc.clone());
    end(server);
    let lost = driver.tell(json!({"do": "send", "messages": [message(&topic, b"into the void")]}));
    assert_eq!(saw(&lost, "refused").len(), 1, "nobody was there: {lost:?}");
    let server = Server::start(&home.data(), &["--http-listen", &http, "--grpc-listen", &grpc]);
    send(&mut driver, &topic, &mut sent, 2 * EACH);
    let all = |seen: &[Value], kind: &str| {
        let ids: BTreeSet<String> = saw(seen, kind).iter().map(|message| message["id"].to_string()).collect();
        ids.is_superset(&sent)
    };
    if how == "push" {
        driver.until("all that was sent", |seen| all(seen, "consumed"));
    } else {
        let end = Instant::now() + BACK_MAX;
        let mut received = Vec::new();
        while !all(&received, "received") {
            assert!(Instant::now() < end, "{} of {} came", received.len(), sent.len());
            let Ok(told) = driver.try_tell(json!({"do": "receive"})) else { continue };
            let ids: Vec<&Value> = told.iter().map(|message| &message["id"]).collect();
            if !ids.is_empty() {
                driver.tell(json!({"do": "ack", "ids": ids}));
            }
            received.extend(told);
        }
    }
    settled(&server, &group, &topic);
}

/// Each connection ends after some seconds, and nobody who sends or receives is told.
pub fn age(trial: &Trial<'_>) {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--connection-age-max", "2s"]);
    let of_server = Trial { server: &server, ..*trial };
    let topic = of_server.topic(json!({}));
    let group = of_server.group(json!({"startFrom": "min"}));
    let mut driver = of_server.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let is_pushed = trial.language != Language::Rust;
    let how = if is_pushed { "push" } else { "simple" };
    driver.tell(json!({"do": how, "group": group, "topic": topic, "awaitMs": 1000}));
    let (mut sent, mut received) = (BTreeSet::new(), Vec::new());
    let first = connections(&server);
    let mut later: BTreeSet<u16> = BTreeSet::new();
    let begin = Instant::now();
    while begin.elapsed() < AGES {
        let body = sent.len().to_string();
        let told = driver.tell(json!({"do": "send", "messages": [message(&topic, body.as_bytes())]}));
        assert!(saw(&told, "refused").is_empty(), "after {:?}: {told:?}", begin.elapsed());
        sent.extend(saw(&told, "sent").iter().map(|receipt| receipt["id"].to_string()));
        if !is_pushed {
            received.extend(crate::trial::receive(&mut driver, 1, false));
        }
        later.extend(connections(&server).difference(&first));
        std::thread::sleep(Duration::from_millis(50));
    }
    // Those of a server that is run instead have no age.
    assert!(INSTEAD.get().is_some() || later.len() > first.len(), "they ended: {first:?}, then {later:?}");
    if is_pushed {
        let of = |seen: &[Value]| saw(seen, "consumed").iter().map(|of| of["id"].to_string()).collect::<BTreeSet<_>>();
        driver.until("all that was sent", |seen| of(seen).is_superset(&sent));
    } else {
        let received: BTreeSet<String> = received.iter().map(|message| message["id"].to_string()).collect();
        assert!(received == sent, "{} of {} came", received.len(), sent.len());
    }
    settled(&server, &group, &topic);
}

/// Half of it from elsewhere, half its own; every byte is compared.
pub fn many(trial: &Trial<'_>) {
    const EACH: u64 = 1_000;
    const BODY_BYTES: usize = 1_024;
    let topic = trial.topic(json!({}));
    let group = trial.group(json!({"startFrom": "min"}));
    let body = |number: u64| encoded(&bytes_of(number, BODY_BYTES));
    let theirs: Vec<Value> =
        (0..EACH).map(|number| json!({"messageId": format!("rest{number}"), "bodyBase64": body(number)})).collect();
    theirs.chunks(500).for_each(|chunk| publish(trial.server, &topic, chunk));
    let mut expected: BTreeMap<String, String> =
        theirs.iter().map(|sent| (sent["messageId"].to_string(), sent["bodyBase64"].to_string())).collect();
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let ours: Vec<Value> = (EACH..2 * EACH).map(|number| json!({"topic": topic, "body": body(number)})).collect();
    let told = driver.tell(json!({"do": "send", "messages": ours}));
    for receipt in saw(&told, "sent") {
        let number = receipt["number"].as_u64().expect("a number") as usize;
        expected.insert(receipt["id"].to_string(), ours[number]["body"].to_string());
    }
    assert_eq!(expected.len() as u64, 2 * EACH);
    let of = |message: &Value| (message["id"].to_string(), message["body"].to_string());
    let got: BTreeMap<String, String> = if trial.language == Language::Rust {
        driver.tell(json!({"do": "simple", "group": group, "topic": topic}));
        receive(&mut driver, expected.len(), false).iter().map(of).collect()
    } else {
        driver.tell(json!({"do": "push", "group": group, "topic": topic}));
        let ids = |seen: &[Value]| saw(seen, "consumed").iter().map(|message| message["id"].to_string()).collect();
        driver.until("all", |seen| {
            let ids: BTreeSet<String> = if seen.len() < expected.len() { BTreeSet::new() } else { ids(seen) };
            ids.len() == expected.len()
        });
        driver.saw("consumed").into_iter().map(of).collect()
    };
    assert!(got == expected, "none is missing and every body is equal");
    settled(trial.server, &group, &topic);
}

/// The ports from which clients are connected to it over gRPC.
fn connections(server: &Server) -> BTreeSet<u16> {
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':').expect("a port").1, 16).expect("in hex");
    let ours: std::net::SocketAddr = server.grpc.parse().expect("an address");
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux says it");
    let ends = sockets.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let established = ends.filter(|words| port(words[1]) == ours.port() && words[3] == "01");
    established.map(|words| port(words[2])).collect()
}

/// Until so many in all were confirmed; what was refused is sent again by the application.
fn send(driver: &mut Driver, topic: &str, sent: &mut BTreeSet<String>, count: usize) {
    let end = Instant::now() + BACK_MAX;
    while sent.len() < count {
        assert!(Instant::now() < end, "{} of {count} were confirmed", sent.len());
        let body = sent.len().to_string();
        let told = driver.tell(json!({"do": "send", "messages": [message(topic, body.as_bytes())]}));
        sent.extend(saw(&told, "sent").iter().map(|receipt| receipt["id"].to_string()));
    }
}
