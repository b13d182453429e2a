//! What stands in RocketMQ's `config/*.json`, as values of ours and back. Reading and writing the files is the store's.
//!
//! Fields that Gantry has no word for are kept as they are when a file is written again. Missing ones have RocketMQ's
//! defaults, for old brokers write fewer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::broker::{ConsumerGroupConfig, Permission, RETRY_WITHOUT_END, RetryPolicy, TopicConfig};
use crate::clock::Timestamp;
use crate::message::MessageType;
use crate::names::{ConsumerGroup, TopicName};
use crate::topic_attributes::{MESSAGE_TYPE, TopicAttributes};

pub const TOPICS: &str = "topics.json";
pub const CONSUMER_GROUPS: &str = "subscriptionGroup.json";
pub const CONSUMER_OFFSETS: &str = "consumerOffset.json";
pub const DELAY_OFFSETS: &str = "delayOffset.json";
pub const ORDER_INFO: &str = "consumerOrderInfo.json";

/// Paths of the objects whose keys are integers, by file.
pub const INTEGER_KEYS: &[&[&str]] =
    &[&["offsetTable", "*"], &["table", "*"], &["table", "*", "*", "ot"], &["table", "*", "*", "oc"]];
/// In `delayOffset.json` the levels themselves are the keys.
pub const DELAY_INTEGER_KEYS: &[&[&str]] = &[&["offsetTable"]];

/// Permission bits of a topic.
const PERM_INHERIT: u64 = 1;
const PERM_WRITE: u64 = 2;
const PERM_READ: u64 = 4;
const QUEUES_DEFAULT: u64 = 16;
/// Most bytes of one topic's attributes: RocketMQ has a handful of short ones.
const ATTRIBUTES_BYTES_MAX: usize = 4_096;

/// The members of an object inside of a file, in the order of their names.
pub fn members<'a>(file: &'a Value, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    file.get(name).and_then(Value::as_object).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// A topic that only lends others its settings: it never holds a message.
pub fn is_template(topic: &Value) -> bool {
    topic.get("perm").and_then(Value::as_u64).is_some_and(|perm| perm & PERM_INHERIT != 0)
}

/// Keeps the newest message of a key alone, in files of its own.
pub fn is_compacted(topic: &Value) -> bool {
    attribute(topic, "cleanup.policy") == Some("COMPACTION")
}

pub fn topic_config(name: TopicName, topic: &Value) -> TopicConfig {
    let number = |field: &str, default: u64| topic.get(field).and_then(Value::as_u64).unwrap_or(default);
    let queues = |field: &str| u32::try_from(number(field, QUEUES_DEFAULT)).unwrap_or(u32::MAX);
    let perm = number("perm", PERM_READ | PERM_WRITE);
    TopicConfig {
        topic: name,
        message_type: message_type(topic),
        read_queues: queues("readQueueNums"),
        write_queues: queues("writeQueueNums"),
        permission: Permission { read: perm & PERM_READ != 0, write: perm & PERM_WRITE != 0 },
        attributes: attributes(topic),
    }
}

/// The topic as RocketMQ writes it; `before` is what it wrote itself.
pub fn topic_json(config: &TopicConfig, before: Option<&Value>) -> Value {
    if let Some(before) = before.filter(|before| topic_config(config.topic.clone(), before) == *config) {
        return before.clone();
    }
    let mut topic = object(before, json!({"order": false, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0}));
    let old_perm = topic.get("perm").and_then(Value::as_u64).unwrap_or(0);
    let perm = old_perm & !(PERM_READ | PERM_WRITE)
        | if config.permission.read { PERM_READ } else { 0 }
        | if config.permission.write { PERM_WRITE } else { 0 };
    topic.insert("topicName".into(), config.topic.as_str().into());
    topic.insert("readQueueNums".into(), config.read_queues.into());
    topic.insert("writeQueueNums".into(), config.write_queues.into());
    topic.insert("perm".into(), perm.into());
    let mut attributes = object(topic.get("attributes"), json!({}));
    // What was taken over is ours to change; the rest stays.
    let known = before.map(self::attributes).unwrap_or_default();
    attributes.retain(|name, _| known.value(name).is_none());
    attributes.extend(config.attributes.iter().map(|(name, value)| (name.to_string(), value.into())));
    let message_type = match config.message_type {
        MessageType::Normal => "NORMAL",
        MessageType::Fifo => "FIFO",
        MessageType::Delay => "DELAY",
        MessageType::Transaction => "TRANSACTION",
        MessageType::Priority => "PRIORITY",
        MessageType::Lite => "LITE",
        MessageType::Mixed => "MIXED",
    };
    // Old brokers know no types: nothing is said where nothing need be.
    if config.message_type != before.map_or(MessageType::Normal, self::message_type) {
        attributes.insert(MESSAGE_TYPE.into(), message_type.into());
    }
    topic.insert("attributes".into(), attributes.into());
    topic.into()
}

/// The greatest number there is, and so the one that says "without end" to Apache: its brokers take -1 for no attempt.
const RETRY_TIMES_MAX: u32 = i32::MAX as u32;

pub fn consumer_group_config(name: ConsumerGroup, group: &Value) -> ConsumerGroupConfig {
    let defaults = ConsumerGroupConfig::new(name);
    let flag = |field: &str, default: bool| group.get(field).and_then(Value::as_bool).unwrap_or(default);
    let number = |field: &str| group.get(field).and_then(Value::as_u64);
    let small = |field: &str, default: u32| number(field).and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    let minutes = number("consumeTimeoutMinute").map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
    ConsumerGroupConfig {
        consume_enabled: flag("consumeEnable", defaults.consume_enabled),
        orderly: flag("consumeMessageOrderly", defaults.orderly),
        broadcast_enabled: flag("consumeBroadcastEnable", defaults.broadcast_enabled),
        retry_max_times: match small("retryMaxTimes", defaults.retry_max_times) {
            RETRY_TIMES_MAX => RETRY_WITHOUT_END,
            times => times,
        },
        retry_policy: group.get("groupRetryPolicy").and_then(retry_policy).unwrap_or(defaults.retry_policy),
        consume_timeout: minutes.unwrap_or(defaults.consume_timeout),
        retry_queues: small("retryQueueNums", defaults.retry_queues),
        start_from: defaults.start_from,
        consumer_group: defaults.consumer_group,
    }
}

pub fn consumer_group_json(config: &ConsumerGroupConfig, before: Option<&Value>) -> Value {
    let name = || config.consumer_group.clone();
    // Where a group begins is not in the file.
    let same = |before: &&Value| {
        consumer_group_config(name(), before)
            == ConsumerGroupConfig { start_from: crate::broker::StartFrom::Young, ..config.clone() }
    };
    if let Some(before) = before.filter(same) {
        return before.clone();
    }
    let mut group = object(
        before,
        json!({
            "attributes": {}, "brokerId": 0, "consumeFromMinEnable": true, "groupSysFlag": 0,
            "notifyConsumerIdsChangedEnable": true, "whichBrokerWhenConsumeSlowly": 1,
        }),
    );
    let millis = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let policy = match &config.retry_policy {
        RetryPolicy::Customized(pauses) => {
            json!({"type": "CUSTOMIZED", "customizedRetryPolicy": {"next": pauses.iter().map(millis).collect::<Vec<_>>()}})
        }
        RetryPolicy::Exponential { initial, max, multiplier } => json!({
            "type": "EXPONENTIAL",
            // The multiplier is a whole number there.
            "exponentialRetryPolicy": {"initial": millis(initial), "max": millis(max), "multiplier": multiplier.round() as u64},
        }),
    };
    for (field, value) in [
        ("groupName", Value::from(config.consumer_group.as_str())),
        ("consumeEnable", config.consume_enabled.into()),
        ("consumeMessageOrderly", config.orderly.into()),
        ("consumeBroadcastEnable", config.broadcast_enabled.into()),
        ("retryMaxTimes", config.retry_max_times.min(RETRY_TIMES_MAX).into()),
        ("groupRetryPolicy", policy),
        ("consumeTimeoutMinute", (config.consume_timeout.as_secs() / 60).max(1).into()),
        ("retryQueueNums", config.retry_queues.into()),
    ] {
        group.insert(field.into(), value);
    }
    group.into()
}

/// Topic and group of a key `topic@group`.
pub fn topic_and_group(key: &str) -> Option<(TopicName, ConsumerGroup)> {
    let (topic, group) = key.split_once('@')?;
    Some((TopicName::from_store(topic.as_bytes()).ok()?, ConsumerGroup::from_store(group.as_bytes()).ok()?))
}

/// Numbers by number: queue ids and offsets. What is no such pair, or negative, is passed by.
pub fn numbers(object: Option<&Value>) -> BTreeMap<u64, u64> {
    let pair = |(key, value): (&String, &Value)| Some((key.parse().ok()?, value.as_u64()?));
    object.and_then(Value::as_object).into_iter().flatten().filter_map(pair).collect()
}

/// Messages that an orderly group has taken from one queue and not given back yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderInfo {
    /// Each with how often it has been delivered, and whether it was acked.
    pub messages: Vec<(u64, u32, bool)>,
}

impl OrderInfo {
    pub fn of(info: &Value) -> OrderInfo {
        let deltas: Vec<u64> =
            info.get("o").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect();
        let acked = info.get("cm").and_then(Value::as_u64).unwrap_or(0);
        let counts = numbers(info.get("oc"));
        let first = deltas.first().copied().unwrap_or(0);
        let message = |(at, delta): (usize, &u64)| {
            let offset = if at == 0 { first } else { first.saturating_add(*delta) };
            let count = counts.get(&offset).and_then(|count| u32::try_from(*count).ok()).unwrap_or(0);
            (offset, count.saturating_add(1), at < 64 && acked >> at & 1 == 1)
        };
        let mut messages: Vec<_> = deltas.iter().enumerate().map(message).collect();
        messages.sort_unstable();
        messages.dedup_by_key(|message| message.0);
        OrderInfo { messages }
    }
}

/// The file's version, one up: RocketMQ compares them between brokers.
pub fn next_version(before: Option<&Value>, now: Timestamp) -> Value {
    let number = |field: &str| before.and_then(|version| version.get(field)).and_then(Value::as_u64).unwrap_or(0);
    json!({"counter": number("counter") + 1, "stateVersion": number("stateVersion"), "timestamp": now.0})
}

/// A type that we do not know takes ordinary messages, as one that is not said.
fn message_type(topic: &Value) -> MessageType {
    match attribute(topic, MESSAGE_TYPE) {
        Some("FIFO") => MessageType::Fifo,
        Some("DELAY") => MessageType::Delay,
        Some("MIXED") => MessageType::Mixed,
        Some("TRANSACTION") => MessageType::Transaction,
        Some("PRIORITY") => MessageType::Priority,
        Some("LITE") => MessageType::Lite,
        _ => MessageType::Normal,
    }
}

/// All but the message type, as far as they fit; what does not is in the file alone.
fn attributes(topic: &Value) -> TopicAttributes {
    let mut left = ATTRIBUTES_BYTES_MAX;
    let pairs = members(topic, "attributes").filter_map(|(name, value)| Some((name, value.as_str()?)));
    let taken = pairs.filter(|(name, value)| {
        let bytes = name.len() + value.len();
        let fits = *name != MESSAGE_TYPE && bytes <= left;
        left -= if fits { bytes } else { 0 };
        fits
    });
    taken.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn attribute<'a>(topic: &'a Value, name: &str) -> Option<&'a str> {
    topic.get("attributes")?.get(name)?.as_str()
}

fn retry_policy(policy: &Value) -> Option<RetryPolicy> {
    let millis = |value: &Value| value.as_u64().map(Duration::from_millis);
    match policy.get("type").and_then(Value::as_str)? {
        "EXPONENTIAL" => {
            let fields = policy.get("exponentialRetryPolicy");
            let number = |name: &str, default: u64| {
                let value = fields.and_then(|fields| fields.get(name)).and_then(Value::as_u64);
                value.filter(|value| *value > 0).unwrap_or(default)
            };
            let multiplier = u16::try_from(number("multiplier", 2)).unwrap_or(2);
            Some(RetryPolicy::Exponential {
                initial: Duration::from_millis(number("initial", 5_000)),
                max: Duration::from_millis(number("max", 7_200_000)),
                multiplier: f32::from(multiplier),
            })
        }
        _ => {
            let next = policy.get("customizedRetryPolicy")?.get("next")?.as_array()?;
            let pauses: Vec<Duration> = next.iter().filter_map(millis).collect();
            (!pauses.is_empty()).then_some(RetryPolicy::Customized(pauses))
        }
    }
}

/// What was there, on top of defaults.
fn object(before: Option<&Value>, defaults: Value) -> Map<String, Value> {
    let mut object = match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    };
    object.extend(before.and_then(Value::as_object).cloned().unwrap_or_default());
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::config_json::parse;

    fn topic(name: &str) -> TopicName {
        TopicName::from_store(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_topic_is_read_and_what_we_do_not_know_is_kept() {
        let before = parse(
            br#"{"attributes":{"message.type":"FIFO","reserve.time":"-1"},"order":true,"perm":6,"readQueueNums":4,
            "topicFilterType":"SINGLE_TAG","topicName":"orders","topicSysFlag":3,"writeQueueNums":2}"#,
        )
        .unwrap();
        let mut config = topic_config(topic("orders"), &before);
        assert_eq!((config.read_queues, config.write_queues, config.message_type), (4, 2, MessageType::Fifo));
        assert_eq!(topic_json(&config, Some(&before)), before);
        config.permission.write = false;
        config.message_type = MessageType::Normal;
        let after = topic_json(&config, Some(&before));
        assert_eq!((&after["perm"], &after["topicSysFlag"], &after["order"]), (&json!(4), &json!(3), &json!(true)));
        assert_eq!(after["attributes"], json!({"message.type": "NORMAL", "reserve.time": "-1"}));
        assert_eq!(topic_config(topic("orders"), &after), config);
        // What Apache put there stays, also what no Gantry does; what is taken away goes.
        let odd = json!({"attributes": {"message.type": "MIXED", "lite.topic.expiration": "30", "reserve.time": "5", "odd": 7}});
        let mut config = topic_config(topic("orders"), &odd);
        let named =
            |config: &TopicConfig| config.attributes.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        assert_eq!(named(&config), ["lite.topic.expiration", "reserve.time"]);
        config.attributes = [("lite.topic.expiration".to_string(), "30".to_string())].into_iter().collect();
        let after = topic_json(&config, Some(&odd));
        assert_eq!(after["attributes"], json!({"message.type": "MIXED", "lite.topic.expiration": "30", "odd": 7}));
        let long = json!({"attributes": {"a": "x".repeat(ATTRIBUTES_BYTES_MAX), "reserve.time": "5"}});
        let mut config = topic_config(topic("orders"), &long);
        assert_eq!(named(&config), ["reserve.time"]);
        config.read_queues += 1;
        assert_eq!(topic_json(&config, Some(&long))["attributes"], long["attributes"]);
        // As 4.x writes it.
        let old = json!({"topicName": "orders", "perm": 7});
        assert!(is_template(&old) && !is_template(&before));
        let new = TopicConfig::new(topic("new"));
        assert_eq!(topic_json(&new, None)["attributes"], json!({}));
        assert_eq!(topic_config(topic("new"), &topic_json(&new, None)), new);
        let batch = json!({"attributes": {"queue.type": "BatchCQ"}});
        assert!(topic_config(topic("b"), &batch).attributes.has_batch_queues());
        assert!(is_compacted(&json!({"attributes": {"cleanup.policy": "COMPACTION"}})) && !is_compacted(&batch));
    }

    #[test]
    fn a_group_is_read_and_written() {
        let name = || ConsumerGroup::from_client("billing").unwrap();
        assert_eq!(consumer_group_config(name(), &json!({})), ConsumerGroupConfig::new(name()));
        let before = json!({"groupName": "billing", "retryMaxTimes": 3, "consumeTimeoutMinute": 1, "unknown": [1],
            "groupRetryPolicy": {"type": "EXPONENTIAL", "exponentialRetryPolicy": {"initial": 100, "max": 900, "multiplier": 3}}});
        let mut config = consumer_group_config(name(), &before);
        let policy = RetryPolicy::Exponential {
            initial: Duration::from_millis(100),
            max: Duration::from_millis(900),
            multiplier: 3.0,
        };
        assert_eq!((&config.retry_policy, config.retry_max_times), (&policy, 3));
        assert_eq!(consumer_group_json(&config, Some(&before)), before);
        config.retry_policy = RetryPolicy::Customized(vec![Duration::from_secs(1), Duration::from_secs(9)]);
        config.consume_enabled = false;
        let after = consumer_group_json(&config, Some(&before));
        assert_eq!(after["unknown"], json!([1]));
        assert_eq!(consumer_group_config(name(), &after), config);
    }

    #[test]
    fn offsets_and_order_are_read() {
        let (of, group) = topic_and_group("%RETRY%g@g@x").unwrap();
        assert_eq!((of.as_str(), group.as_str()), ("%RETRY%g", "g@x"));
        assert!(topic_and_group("nothing").is_none() && topic_and_group("a/b@g").is_none());
        let file = parse(b"{0:5,1:-1,x:3,2:7}").unwrap();
        assert_eq!(numbers(Some(&file)), BTreeMap::from([(0, 5), (2, 7)]));
        let info = parse(br#"{"popTime":1,"i":2,"o":[100,1,5],"oc":{101:2},"l":0,"cm":1,"a":"x"}"#).unwrap();
        assert_eq!(OrderInfo::of(&info).messages, [(100, 1, true), (101, 3, false), (105, 1, false)]);
        assert!(OrderInfo::of(&json!({})).messages.is_empty());
        let version = next_version(Some(&json!({"counter": 4, "stateVersion": 2})), Timestamp(9));
        assert_eq!(version, json!({"counter": 5, "stateVersion": 2, "timestamp": 9}));
    }
}
