//! What Gantry leaves in RocketMQ's files for itself: ids, versions and incarnations, under a name that RocketMQ passes
//! by. A start never reads it; it is for `recover_state`, which has nothing else to tell by whom a state record speaks of.

use serde_json::{Map, Value, json};

use crate::broker::StartFrom;
use crate::clock::Timestamp;
use crate::foreign::config_files;
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{CommitLogOffset, Incarnation};
use crate::state::record::Entry;
use crate::state::tables::Tables;

/// The member of `topics.json` and `subscriptionGroup.json` that is ours.
const OURS: &str = "gantry";

/// For `topics.json`.
pub fn leave_topic_ids(file: &mut Map<String, Value>, tables: &Tables) {
    let ids = tables.topics().map(|topic| {
        let ids = json!({"id": topic.topic_id, "version": topic.version, "incarnation": topic.incarnation.0});
        (topic.config.topic.as_str().to_string(), ids)
    });
    let ids: Map<String, Value> = ids.collect();
    file.insert(OURS.into(), json!({"idMax": tables.topic_id_max(), "ids": ids}));
}

/// For `subscriptionGroup.json`; where a group begins has no place in there either.
pub fn leave_consumer_group_ids(file: &mut Map<String, Value>, tables: &Tables) {
    let ids = tables.consumer_groups().map(|group| {
        let start_from = match group.config.start_from {
            StartFrom::Young => json!("young"),
            StartFrom::Min => json!("min"),
            StartFrom::Max => json!("max"),
            StartFrom::Time(time) => json!(time.0),
        };
        let (id, version, incarnation) = (group.consumer_group_id, group.version, group.incarnation.0);
        let ids = json!({"id": id, "version": version, "incarnation": incarnation, "startFrom": start_from});
        (group.config.consumer_group.as_str().to_string(), ids)
    });
    let ids: Map<String, Value> = ids.collect();
    file.insert(OURS.into(), json!({"idMax": tables.consumer_group_id_max(), "ids": ids}));
}

/// The tables as both files say they were; `None` if something that is listed has no ids, or no name.
pub fn tables_of(topics: &Value, consumer_groups: &Value) -> Option<Tables> {
    let mut tables = Tables::default();
    for (name, topic) in config_files::members(topics, "topicConfigTable") {
        let name = TopicName::from_store(name.as_bytes()).ok()?;
        let Some(ids) = topics[OURS]["ids"].get(name.as_str()) else {
            // The state topic, and what only lends others its settings.
            continue;
        };
        let (topic_id, version, at) = three(ids)?;
        let config = config_files::topic_config(name, topic);
        tables.apply(&Entry::AdoptTopic { topic_id, version, incarnation: Incarnation(at.0), config }, at);
    }
    for (name, group) in config_files::members(consumer_groups, "subscriptionGroupTable") {
        let name = ConsumerGroup::from_store(name.as_bytes()).ok()?;
        let Some(ids) = consumer_groups[OURS]["ids"].get(name.as_str()) else { continue };
        let (consumer_group_id, version, at) = three(ids)?;
        let mut config = config_files::consumer_group_config(name, group);
        config.start_from = match &ids["startFrom"] {
            Value::String(word) if word == "young" => StartFrom::Young,
            Value::String(word) if word == "min" => StartFrom::Min,
            Value::String(word) if word == "max" => StartFrom::Max,
            time => StartFrom::Time(Timestamp(time.as_i64()?)),
        };
        tables.apply(&Entry::PutConsumerGroup { consumer_group_id, version, config }, at);
    }
    let count = |file: &Value| Some(file[OURS].get("ids")?.as_object()?.len());
    let all_are_there =
        count(topics)? == tables.topics().len() && count(consumer_groups)? == tables.consumer_groups().len();
    let max = |file: &Value| file[OURS]["idMax"].as_u64().and_then(|max| u32::try_from(max).ok());
    tables.ids_are_used(max(topics)?, max(consumer_groups)?);
    all_are_there.then_some(tables)
}

fn three(ids: &Value) -> Option<(u32, u64, CommitLogOffset)> {
    let number = |name: &str| ids[name].as_u64();
    Some((u32::try_from(number("id")?).ok()?, number("version")?, CommitLogOffset(number("incarnation")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{ConsumerGroupConfig, TopicConfig};
    use crate::foreign::export;

    #[test]
    fn tables_come_back_from_the_files_as_they_went_there() {
        let mut tables = Tables::default();
        let topic = TopicConfig { read_queues: 9, ..TopicConfig::new(TopicName::from_client("orders").unwrap()) };
        let put = |topic_id, version| Entry::PutTopic { topic_id, version, config: topic.clone() };
        tables.apply(&put(3, 1), CommitLogOffset(700));
        tables.apply(&put(3, 2), CommitLogOffset(900));
        for (id, start_from) in (1..).zip([StartFrom::Young, StartFrom::Max, StartFrom::Time(Timestamp(7))]) {
            let name = ConsumerGroup::from_client(&format!("g{id}")).unwrap();
            let config = ConsumerGroupConfig { start_from, ..ConsumerGroupConfig::new(name) };
            tables.apply(&Entry::PutConsumerGroup { consumer_group_id: id, version: 1, config }, CommitLogOffset(800));
        }
        tables.ids_are_used(5, 6);
        let (mut topics, mut groups) = (Map::new(), Map::new());
        export::topics(&mut topics, &tables);
        export::consumer_groups(&mut groups, &tables);
        let (topics, mut groups) = (Value::Object(topics), Value::Object(groups));
        let back = tables_of(&topics, &groups).unwrap();
        let told = |tables: &Tables| {
            let topics: Vec<_> = tables.topics().map(|topic| format!("{:?}", ***topic)).collect();
            let groups: Vec<_> = tables.consumer_groups().map(|group| format!("{group:?}")).collect();
            (topics, groups, tables.topic_id_max(), tables.consumer_group_id_max())
        };
        assert_eq!(told(&back), told(&tables));
        groups["gantry"]["ids"]["g9"] = json!({"id": 9});
        assert!(tables_of(&topics, &groups).is_none(), "a group without its settings");
        assert!(tables_of(&json!({"topicConfigTable": {}}), &groups).is_none(), "a file of RocketMQ's");
    }
}
