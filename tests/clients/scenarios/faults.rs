//! The server goes away in the middle of it and comes back, at the same addresses.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::{Home, Server};
use serde_json::{Value, json};

use crate::driver::{Driver, saw};
use crate::languages::Language;
use crate::trial::{Trial, message, settled};

const EACH: usize = 20;
/// Clients wait for seconds before they try a lost connection again.
const BACK_MAX: Duration = Duration::from_secs(60);

pub fn restart(trial: &Trial<'_>) {
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
    server.kill_9();
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
