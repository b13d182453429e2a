//! Leaving a store so that RocketMQ opens it: what a clean stop writes under `config/` (rule B8).
//!
//! Files are changed, not made anew: what Gantry has no word for stays. A file in which nothing changed is not written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::delivery::cells::AllCells;
use crate::delivery::timers::Timers;
use crate::foreign::config_files;
use crate::foreign::delayed;
use crate::foreign::ids;
use crate::names::{ConsumerGroup, STATE_TOPIC, TopicName};
use crate::state::tables::Tables;
use crate::store::Store;
use crate::store::config_json;
use crate::store::error::StoreError;
use crate::store::identity::Exported;

/// Writes the files, and says what is in them: name and SHA-256.
pub fn export(
    store: &Store,
    tables: &Tables,
    cells: &AllCells,
    timers: &Timers,
) -> Result<Vec<(String, [u8; 32])>, StoreError> {
    let mut exporter = Exporter { store, exported: Vec::new(), versions: BTreeMap::new() };
    exporter.file(config_files::TOPICS, &[], true, |file| topics(file, tables))?;
    exporter.file(config_files::CONSUMER_GROUPS, &[], true, |file| consumer_groups(file, tables))?;
    exporter
        .file(config_files::CONSUMER_OFFSETS, config_files::INTEGER_KEYS, true, |file| offsets(file, tables, cells))?;
    exporter.file(config_files::DELAY_OFFSETS, config_files::DELAY_INTEGER_KEYS, true, |file| {
        delayed::levels(file, timers);
    })?;
    // What orderly groups hold is above their floors: RocketMQ delivers it again.
    exporter.file(config_files::ORDER_INFO, config_files::INTEGER_KEYS, false, |file| {
        file.insert("table".into(), json!({}));
    })?;
    // Batch queues are in files of their own, which nobody has touched.
    let batch_topics = tables.topics().filter(|topic| topic.config.attributes.has_batch_queues());
    let batch_topics = batch_topics.map(|topic| topic.config.topic.clone()).collect();
    store.set_exported(exporter.versions, batch_topics);
    Ok(exporter.exported)
}

struct Exporter<'a> {
    store: &'a Store,
    exported: Vec<(String, [u8; 32])>,
    versions: BTreeMap<String, Exported>,
}

impl Exporter<'_> {
    fn file(
        &mut self,
        name: &str,
        integer_keys: &[&[&str]],
        has_version: bool,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), StoreError> {
        let before = self.store.read_config(name)?;
        let mut file = before.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        change(&mut file);
        let mut value = Value::Object(file);
        if before.as_ref() != Some(&value) {
            if has_version {
                let version = before.as_ref().and_then(|before| before.get("dataVersion"));
                value["dataVersion"] = config_files::next_version(version, self.store.now());
            }
            self.store.replace_config(name, &config_json::write(&value, integer_keys))?;
        }
        let bytes = self.store.config_bytes(name)?;
        self.exported.push((name.to_string(), Sha256::digest(&bytes).into()));
        self.versions.insert(name.to_string(), Exported::of(name, &bytes));
        Ok(())
    }
}

pub(super) fn topics(file: &mut Map<String, Value>, tables: &Tables) {
    let before = file.remove("topicConfigTable").and_then(|table| table.as_object().cloned()).unwrap_or_default();
    let known = |name: &str| TopicName::from_store(name.as_bytes()).is_ok_and(|name| tables.topic(&name).is_some());
    // Settings for other topics, and names that nobody could import, were never ours to delete.
    let mut after: Map<String, Value> = before
        .iter()
        .filter(|(name, topic)| {
            !known(name) && (config_files::is_template(topic) || TopicName::from_store(name.as_bytes()).is_err())
        })
        .map(|(name, topic)| (name.clone(), topic.clone()))
        .collect();
    for topic in tables.topics() {
        let name = topic.config.topic.as_str();
        after.insert(name.into(), config_files::topic_json(&topic.config, before.get(name)));
    }
    // So that nobody takes its queue for a leftover; without permissions, so that nobody reads it.
    let state = json!({
        "topicName": STATE_TOPIC, "readQueueNums": 1, "writeQueueNums": 1, "perm": 0, "order": false,
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "attributes": {},
    });
    after.insert(STATE_TOPIC.into(), state);
    file.insert("topicConfigTable".into(), after.into());
    ids::leave_topic_ids(file, tables);
}

pub(super) fn consumer_groups(file: &mut Map<String, Value>, tables: &Tables) {
    let before = file.remove("subscriptionGroupTable").and_then(|table| table.as_object().cloned()).unwrap_or_default();
    let mut after: Map<String, Value> = before
        .iter()
        .filter(|(name, _)| ConsumerGroup::from_store(name.as_bytes()).is_err())
        .map(|(name, group)| (name.clone(), group.clone()))
        .collect();
    for group in tables.consumer_groups() {
        let name = group.config.consumer_group.as_str();
        after.insert(name.into(), config_files::consumer_group_json(&group.config, before.get(name)));
    }
    file.insert("subscriptionGroupTable".into(), after.into());
    file.entry("forbiddenTable").or_insert(json!({}));
    ids::leave_consumer_group_ids(file, tables);
}

/// The floors: RocketMQ delivers everything above them again.
fn offsets(file: &mut Map<String, Value>, tables: &Tables, cells: &AllCells) {
    let mut table: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut topics_of: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pair in cells.pairs() {
        let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) else {
            continue;
        };
        let cells = cells.of(pair);
        let cells = cells.lock().expect("no code panics while holding it");
        if cells.is_empty() {
            continue;
        }
        let floors = cells.iter().map(|(queue, cell)| (queue.to_string(), Value::from(cell.floor()))).collect();
        let (topic, group) = (topic.config.topic.as_str(), group.config.consumer_group.as_str());
        table.insert(format!("{topic}@{group}"), floors);
        topics_of.entry(group.into()).or_default().push(topic.into());
    }
    let table: Map<String, Value> = table.into_iter().map(|(key, floors)| (key, floors.into())).collect();
    file.insert("offsetTable".into(), table.into());
    if file.contains_key("groupTopicMap") {
        let topics_of: Map<String, Value> = topics_of
            .into_iter()
            .map(|(group, mut topics)| {
                topics.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
                (group, topics.into())
            })
            .collect();
        file.insert("groupTopicMap".into(), topics_of.into());
    }
}
