//! What is wrong is refused with a reason, by the client itself or by the server, and changes nothing.

use gantry_broker_core::message::BODY_BYTES_MAX;
use harness::bytes_of;
use reqwest::Method;
use serde_json::{Value, json};

use crate::driver::{Driver, Refusal, saw};
use crate::trial::{Trial, held, message, web};

pub fn topic(trial: &Trial<'_>) {
    let here = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [here]}));
    let refused = refused(&mut driver, &message("nowhere", b"lost"));
    let is_named = refused.code == "40402" || refused.code == "TOPIC_NOT_FOUND";
    assert!(is_named || refused.error.contains("40402") || refused.error.contains("nowhere"), "{refused:?}");
    web(trial.server, Method::GET, "/v1/topics/nowhere", None).expect(404);
    let after = driver.tell(json!({"do": "send", "messages": [message(&here, b"fine")]}));
    assert_eq!(after[0]["saw"], "sent", "the producer goes on");
}

pub fn message_type(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let mut grouped = message(&topic, b"in a message group");
    grouped["messageGroup"] = json!("group");
    let refused = refused(&mut driver, &grouped);
    let error = refused.error.to_lowercase();
    assert!(
        refused.code == "40014" || refused.code == "MESSAGE_PROPERTY_CONFLICT_WITH_TYPE" || error.contains("type"),
        "{refused:?}"
    );
    assert!(held(trial.server, &topic).is_empty());
}

/// A name that clients take for one, and that belongs to the broker.
pub fn group(trial: &Trial<'_>) {
    const SYSTEM: &str = "CID_RMQ_SYS_MINE";
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    let started = driver.try_tell(json!({"do": "simple", "group": SYSTEM, "topic": topic}));
    // Some clients start without having been told; Java says that it could not, and leaves the reason in its log.
    if started.is_ok() {
        let refused = driver.try_tell(json!({"do": "receive"})).expect_err("no messages for it");
        assert!(refused.code == "40003" || refused.code == "ILLEGAL_CONSUMER_GROUP", "{refused:?}");
    }
    assert_ne!(web(trial.server, Method::GET, &format!("/v1/groups/{SYSTEM}"), None).status, 200);
}

pub fn too_large(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let refused = refused(&mut driver, &message(&topic, &bytes_of(1, BODY_BYTES_MAX + 1)));
    let is_of_size = ["body", "size"].iter().any(|word| refused.error.to_lowercase().contains(word));
    assert!(is_of_size || refused.code == "41301" || refused.code == "MESSAGE_BODY_TOO_LARGE", "{refused:?}");
    assert!(held(trial.server, &topic).is_empty());
}

/// Most clients try three times what the server refused: none of it may leave a trace.
pub fn property(trial: &Trial<'_>) {
    let topic = trial.topic(json!({}));
    let mut driver = trial.driver();
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let mut reserved = message(&topic, b"with a name of the broker's");
    reserved["properties"] = json!({"UNIQ_KEY": "mine"});
    let refused = refused(&mut driver, &reserved);
    assert!(
        refused.code == "40007" || refused.error.contains("40007") || refused.error.contains("PROPERTY_KEY"),
        "{refused:?}"
    );
    assert!(held(trial.server, &topic).is_empty());
    let after = driver.tell(json!({"do": "send", "messages": [message(&topic, b"fine")]}));
    assert_eq!(after[0]["saw"], "sent", "the producer goes on");
    assert_eq!(held(trial.server, &topic).len(), 1);
}

fn refused(driver: &mut Driver, message: &Value) -> Refusal {
    let told = driver.tell(json!({"do": "send", "messages": [message]}));
    let refused = saw(&told, "refused");
    assert_eq!(refused.len(), 1, "{told:?}");
    Refusal::of(refused[0])
}
