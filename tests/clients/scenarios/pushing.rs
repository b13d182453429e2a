//! Push consumers. What is published is there before they start: none of them may miss it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::receiving::{SQL, priced, tagged};
use crate::driver::saw;
use crate::trial::{Trial, eventually, get, publish, settled, sorted, text};

fn consumed(seen: &[Value]) -> BTreeSet<String> {
    saw(seen, "consumed").iter().map(|message| text(message)).collect()
}

fn group(retry_max_times: i32, is_orderly: bool) -> Value {
    let policy = json!({"type": "customized", "next": ["1s"]});
    json!({"retryMaxTimes": retry_max_times, "retryPolicy": policy, "orderly": is_orderly, "startFrom": "min"})
}

pub fn cluster(trial: &Trial<'_>) {
    const COUNT: usize = 100;
    let topic = trial.topic(json!({}));
    let messages: Vec<Value> = (0..COUNT).map(|number| json!({"body": number.to_string()})).collect();
    publish(trial.server, &topic, &messages[..COUNT / 2]);
    let mut driver = trial.driver();
    let group = trial.group(group(16, false));
    for name in ["one", "two"] {
        driver.tell(json!({"do": "push", "name": name, "group": group, "topic": topic}));
    }
    driver.until("the first half", |seen| consumed(seen).len() == COUNT / 2);
    publish(trial.server, &topic, &messages[COUNT / 2..]);
    driver.until("all", |seen| consumed(seen).len() == COUNT);
    settled(trial.server, &group, &topic);
    driver.catch_up();
    assert_eq!(driver.saw("consumed").len(), COUNT, "each went to one of them, once");
}

pub fn retry(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, &[json!({"body": "bad", "properties": {"fail": "2"}}), json!({"body": "good"})]);
    let mut driver = trial.driver();
    let group = trial.group(group(16, false));
    driver.tell(json!({"do": "push", "group": group, "topic": topic}));
    driver.until("three attempts and one", |seen| saw(seen, "consumed").len() == 4);
    settled(trial.server, &group, &topic);
    // Most wait for their open poll to end.
    driver.tell(json!({"do": "close"}));
    let attempts = |body: &str| {
        let of_body: Vec<&Value> = driver.saw("consumed").into_iter().filter(|message| text(message) == body).collect();
        of_body.iter().map(|message| message["attempt"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!((attempts("bad"), attempts("good")), (vec![Some(1), Some(2), Some(3)], vec![Some(1)]));
}

/// Node gives back at once what failed, whatever pause it was told.
pub fn calm(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, &[json!({"body": "hopeless", "properties": {"fail": "99"}})]);
    let mut driver = trial.driver();
    driver.tell(json!({"do": "push", "group": trial.group(group(16, false)), "topic": topic}));
    driver.until("the first attempt", |seen| !saw(seen, "consumed").is_empty());
    let began = Instant::now();
    driver.until("three more", |seen| saw(seen, "consumed").len() >= 4);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2_500), "three pauses of a second were over after {took:?}");
}

pub fn dead_letter(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    publish(
        trial.server,
        &topic,
        &[json!({"body": "hopeless", "properties": {"fail": "99"}}), json!({"body": "good"})],
    );
    let mut driver = trial.driver();
    let group = trial.group(group(1, false));
    driver.tell(json!({"do": "push", "group": group, "topic": topic}));
    let letters = format!("/v1/groups/{group}/dlq/messages");
    let letter = || get(trial.server, &letters)["items"].as_array().expect("items").first().cloned();
    eventually("a dead letter", || letter().is_some());
    settled(trial.server, &group, &topic);
    driver.catch_up();
    let attempts = driver.saw("consumed").into_iter().filter(|message| text(message) == "hopeless").count();
    let letter = letter().expect("it is there");
    assert_eq!((attempts, &letter["body"]), (2, &json!("hopeless")));
    assert_eq!(letter["deadLetter"]["topic"], topic, "{letter}");
}

/// The client keeps order itself, repeats what failed by the group's policy, and gives it up in the end.
pub fn fifo(trial: &Trial<'_>) {
    const GROUPS: usize = 4;
    const EACH: usize = 5;
    let topic = trial.topic(json!({"messageType": "fifo", "readQueues": 4, "writeQueues": 4}));
    let numbered = |number: usize| {
        let (of, place) = (number % GROUPS, number / GROUPS);
        let fail = if of == 0 && place == 1 { "99" } else { "0" };
        json!({"body": format!("{of} {place}"), "messageGroup": format!("group{of}"), "properties": {"fail": fail}})
    };
    publish(trial.server, &topic, &(0..GROUPS * EACH).map(numbered).collect::<Vec<_>>());
    let mut driver = trial.driver();
    let group = trial.group(group(1, true));
    driver.tell(json!({"do": "push", "group": group, "topic": topic}));
    driver.until("all", |seen| consumed(seen).len() == GROUPS * EACH);
    settled(trial.server, &group, &topic);
    driver.catch_up();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for body in driver.saw("consumed").into_iter().map(text) {
        let (group, number) = body.split_once(' ').expect("two words");
        groups.entry(group.to_string()).or_default().push(number.to_string());
    }
    for (group, numbers) in groups {
        let mut expected: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
        if group == "0" {
            expected.insert(1, "1".to_string());
        }
        assert_eq!(numbers, expected, "message group {group}");
    }
    // Settled by the letter's own record, which can be read a moment later.
    let letters = || get(trial.server, &format!("/v1/groups/{group}/dlq/messages"))["items"].clone();
    eventually("a dead letter", || letters().as_array().is_some_and(|letters| !letters.is_empty()));
    let letters = letters();
    assert_eq!((letters.as_array().expect("items").len(), &letters[0]["body"]), (1, &json!("0 1")));
}

pub fn tags(trial: &Trial<'_>) {
    let filter = json!({"type": "tag", "expression": "paid || refunded"});
    filtered(trial, &tagged(), &filter, &["0 paid", "1 refunded", "3 paid", "4 refunded"]);
}

pub fn sql(trial: &Trial<'_>) {
    filtered(trial, &priced(), &json!({"type": "sql92", "expression": SQL}), &["6", "8", "9 unpriced"]);
}

fn filtered(trial: &Trial<'_>, messages: &[Value], filter: &Value, expected: &[&str]) {
    let topic = trial.topic(json!({}));
    publish(trial.server, &topic, messages);
    let mut driver = trial.driver();
    let group = trial.group(group(16, false));
    driver.tell(json!({"do": "push", "group": group, "topic": topic, "filter": filter}));
    driver.until("what is wanted", |seen| consumed(seen).len() == expected.len());
    settled(trial.server, &group, &topic);
    driver.catch_up();
    assert_eq!(sorted(driver.saw("consumed").into_iter().map(text).collect()), expected);
}
