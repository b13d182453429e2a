//! Simple consumers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::driver::saw;
use crate::trial::{Trial, publish, receive, settled, sorted, text};

/// In all queues of the topic.
pub fn receive_and_ack(trial: &Trial<'_>) {
    const COUNT: usize = 50;
    let topic = trial.topic(json!({}));
    let messages: Vec<Value> = (0..COUNT).map(|number| json!({"body": number.to_string(), "tag": "t"})).collect();
    publish(trial.server, &topic, &messages);
    let mut driver = trial.driver();
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    let received = receive(&mut driver, COUNT, false);
    let bodies: BTreeSet<String> = received.iter().map(text).collect();
    assert_eq!((received.len(), bodies.len()), (COUNT, COUNT), "each came once");
    assert!(
        received.iter().all(|message| message["attempt"] == 1 && message["topic"] == topic && message["tag"] == "t")
    );
    settled(trial.server, trial.name, &topic);
}

pub fn change(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, &[json!({"body": "once more"})]);
    let mut driver = trial.driver();
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    let first = driver.tell(json!({"do": "receive", "invisibleMs": 60_000}));
    let first = saw(&first, "received")[0].clone();
    driver.tell(json!({"do": "change", "id": first["id"], "invisibleMs": 1_000}));
    let asked = Instant::now();
    let again = receive(&mut driver, 1, false);
    assert!(asked.elapsed() < Duration::from_secs(30), "long before the first minute was over");
    assert_eq!((&again[0]["id"], &again[0]["attempt"]), (&first["id"], &json!(2)));
    settled(trial.server, trial.name, &topic);
}

/// Java, Go and Python take over whatever handle the answer holds, before they look whether it was granted.
pub fn change_refused(trial: &Trial<'_>) {
    const TOO_LONG_MS: u64 = 13 * 60 * 60 * 1_000;
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, &[json!({"body": "kept"})]);
    let mut driver = trial.driver();
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    let told = driver.tell(json!({"do": "receive", "invisibleMs": 60_000}));
    let id = saw(&told, "received")[0]["id"].clone();
    let refused = driver.try_tell(json!({"do": "change", "id": id, "invisibleMs": TOO_LONG_MS}));
    let refused = refused.expect_err("twelve hours at most");
    assert!(refused.code == "40011" || refused.error.contains("40011"), "{refused:?}");
    driver.tell(json!({"do": "ack", "ids": [id]}));
    settled(trial.server, trial.name, &topic);
}

/// The answer comes before the client's own deadline, which for some is the wait itself.
pub fn nothing(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic, "awaitMs": 5_000}));
    match driver.try_tell(json!({"do": "receive"})) {
        Ok(told) => assert!(saw(&told, "received").is_empty()),
        // Go and Rust call it an error.
        Err(refused) => assert!(refused.code == "40401" || refused.code == "MESSAGE_NOT_FOUND", "{refused:?}"),
    }
}

pub fn tags(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, &tagged());
    let mut driver = trial.driver();
    let filter = json!({"type": "tag", "expression": "paid || refunded"});
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic, "filter": filter}));
    let received = receive(&mut driver, 4, false);
    assert_eq!(sorted(received.iter().map(text).collect()), ["0 paid", "1 refunded", "3 paid", "4 refunded"]);
    settled(trial.server, trial.name, &topic);
}

pub fn sql(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, &priced());
    let mut driver = trial.driver();
    let filter = json!({"type": "sql92", "expression": SQL});
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic, "filter": filter}));
    let received = receive(&mut driver, 3, false);
    assert_eq!(sorted(received.iter().map(text).collect()), ["6", "8", "9 unpriced"]);
    settled(trial.server, trial.name, &topic);
}

/// Two of each tag.
pub fn tagged() -> Vec<Value> {
    let message = |number: usize| {
        let tag = ["paid", "refunded", "lost"][number % 3];
        json!({"body": format!("{number} {tag}"), "tag": tag})
    };
    (0..6).map(message).collect()
}

pub const SQL: &str = "region = 'eu' AND (amount BETWEEN 6 AND 9 OR amount IS NULL)";

pub fn priced() -> Vec<Value> {
    let message = |number: usize| {
        let region = if number.is_multiple_of(2) { "eu" } else { "us" };
        json!({"body": number.to_string(), "properties": {"region": region, "amount": number.to_string()}})
    };
    (0..9).map(message).chain([json!({"body": "9 unpriced", "properties": {"region": "eu"}})]).collect()
}
