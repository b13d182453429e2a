//! Producers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};

use crate::driver::{Driver, saw};
use crate::trial::{Trial, encoded, eventually, get, held, message, publish, receive, same, text, web};

pub fn normal(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let told = send(trial, &mut driver, &topic, false);
    assert_eq!(told.len(), 3);
}

pub fn asynchronous(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    send(trial, &mut driver, &topic, true);
    publish(trial.server, &topic, &[json!({"body": "over REST"})]);
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    assert_eq!(receive(&mut driver, 4, true).len(), 4);
    crate::trial::settled(trial.server, trial.name, &topic);
}

/// Three messages, and the server holds them as they were sent, under the ids that the client was told.
fn send(trial: &Trial<'_>, driver: &mut Driver, topic: &str, is_async: bool) -> Vec<Value> {
    let sent = [
        json!({"topic": topic, "body": encoded(b"one"), "tag": "paid", "keys": ["991", "992"], "properties": {"region": "eu"}}),
        json!({"topic": topic, "body": encoded(b"two"), "tag": "refunded"}),
        json!({"topic": topic, "body": encoded(b"three"), "properties": {"a": "1", "b": "x y", "c": "="}}),
    ];
    let told = driver.tell(json!({"do": "send", "messages": sent, "async": is_async}));
    let held = held(trial.server, topic);
    assert_eq!((saw(&told, "sent").len(), held.len()), (3, 3), "{told:?}");
    for receipt in &told {
        let of_id = held.iter().find(|message| message["messageId"] == receipt["id"]).expect("held under its id");
        same(of_id, &sent[receipt["number"].as_u64().expect("a number") as usize]);
    }
    told
}

/// Clients index into the answer: it holds one entry of each message.
pub fn batch(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let sent: Vec<Value> = (0..10).map(|number| message(&topic, number.to_string().as_bytes())).collect();
    driver.tell(json!({"do": "send", "messages": sent, "batch": true}));
    let held = held(trial.server, &topic);
    let ids: BTreeSet<String> = driver.saw("sent").iter().map(|receipt| receipt["id"].to_string()).collect();
    assert_eq!((ids.len(), held.len()), (10, 10));
    for receipt in driver.saw("sent") {
        let of_id = held.iter().find(|message| message["messageId"] == receipt["id"]).expect("held under its id");
        same(of_id, &sent[receipt["number"].as_u64().expect("a number") as usize]);
    }
}

pub fn fifo(trial: &Trial<'_>) {
    const GROUPS: usize = 5;
    const EACH: usize = 6;
    let topic = trial.topic(json!({"messageType": "fifo", "readQueues": 4, "writeQueues": 4}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let numbered = |number: usize| {
        let mut sent = message(&topic, format!("{}", number / GROUPS).as_bytes());
        sent["messageGroup"] = json!(format!("account-{}", number % GROUPS));
        sent
    };
    let sent: Vec<Value> = (0..GROUPS * EACH).map(numbered).collect();
    driver.tell(json!({"do": "send", "messages": sent}));
    assert_eq!(driver.saw("sent").len(), sent.len());
    let mut groups: BTreeMap<String, (BTreeSet<u64>, Vec<String>)> = BTreeMap::new();
    for message in held(trial.server, &topic) {
        let group = message["messageGroup"].as_str().expect("a message group").to_string();
        let (queues, numbers) = groups.entry(group).or_default();
        queues.insert(message["queueId"].as_u64().expect("a queue"));
        numbers.push(text(&message));
    }
    assert_eq!(groups.len(), GROUPS);
    for (group, (queues, numbers)) in groups {
        assert_eq!(queues.len(), 1, "{group} lies in one queue");
        assert_eq!(numbers, (0..EACH).map(|number| number.to_string()).collect::<Vec<_>>(), "{group}");
    }
}

fn millis_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// Some clients know whole seconds only.
fn in_seconds(ahead: u64) -> u64 {
    millis_now() / 1_000 * 1_000 + ahead * 1_000
}

pub fn delay(trial: &Trial<'_>) {
    let topic = trial.topic(json!({"messageType": "delay"}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let due = in_seconds(3);
    let mut sent = message(&topic, b"later");
    sent["deliverAt"] = due.into();
    let told = driver.tell(json!({"do": "send", "messages": [sent]}));
    assert_eq!(saw(&told, "sent").len(), 1, "{told:?}");
    eventually("it comes", || {
        let held = held(trial.server, &topic);
        let now = millis_now();
        assert!(held.is_empty() || now >= due, "{} ms early", due - now);
        held.len() == 1
    });
    assert_eq!(held(trial.server, &topic)[0]["messageId"], told[0]["id"]);
}

pub fn recall(trial: &Trial<'_>) {
    let topic = trial.topic(json!({"messageType": "delay"}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let due = in_seconds(4);
    let messages = ["kept", "recalled"].map(|body| {
        let mut sent = message(&topic, body.as_bytes());
        sent["deliverAt"] = due.into();
        sent
    });
    let told = driver.tell(json!({"do": "send", "messages": messages}));
    let recalled = driver.tell(json!({"do": "recall", "topic": topic, "handle": told[1]["recallHandle"]}));
    assert_eq!(saw(&recalled, "recalled")[0]["id"], told[1]["id"], "{told:?}");
    eventually("the other one comes", || !held(trial.server, &topic).is_empty());
    // Both were due in the same second.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(held(trial.server, &topic).iter().map(text).collect::<Vec<_>>(), ["kept"]);
    let path = format!("/v1/scheduled/{}", told[1]["recallHandle"].as_str().expect("a handle"));
    assert_ne!(web(trial.server, Method::DELETE, &path, None).status, 200, "it can be recalled once");
}

pub fn transaction(trial: &Trial<'_>) {
    let topic = trial.topic(json!({"messageType": "transaction"}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic], "checker": true}));
    for end in ["commit", "rollback"] {
        let told = driver.tell(json!({"do": "transaction", "end": end, "message": answered(&topic, end)}));
        assert_eq!(saw(&told, "sent").len(), 1);
    }
    outcome(trial, &topic);
}

pub fn transaction_check(trial: &Trial<'_>) {
    let topic = trial.topic(json!({"messageType": "transaction"}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic], "checker": true}));
    let mut sent = BTreeSet::new();
    for answer in ["commit", "rollback"] {
        let told = driver.tell(json!({"do": "transaction", "message": answered(&topic, answer)}));
        sent.insert(saw(&told, "sent")[0]["id"].to_string());
    }
    assert!(held(trial.server, &topic).is_empty(), "nobody sees an open transaction");
    let asked =
        |seen: &[Value]| saw(seen, "asked").iter().map(|asked| asked["id"].to_string()).collect::<BTreeSet<_>>();
    driver.until("the checks", |seen| asked(seen).len() == 2);
    assert!(driver.saw("asked").iter().all(|asked| text(asked) == asked["answer"]), "it was asked about what it sent");
    assert!(driver.saw("asked").iter().all(|asked| sent.contains(&asked["id"].to_string())));
    outcome(trial, &topic);
}

/// The checker answers with the property; the body says what is expected.
fn answered(topic: &str, answer: &str) -> Value {
    let mut sent = message(topic, answer.as_bytes());
    sent["properties"] = json!({"answer": answer});
    sent
}

fn outcome(trial: &Trial<'_>, topic: &str) {
    let open = format!("/v1/topics/{topic}/transactions");
    eventually("none is open", || get(trial.server, &open)["items"].as_array().expect("items").is_empty());
    eventually("what was committed is there", || !held(trial.server, topic).is_empty());
    assert_eq!(held(trial.server, topic).iter().map(text).collect::<Vec<_>>(), ["commit"]);
}
