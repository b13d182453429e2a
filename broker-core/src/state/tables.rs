//! Topics and consumer groups as the log says they are.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use crate::broker::{ConsumerGroupDescription, Topic};
use crate::metrics::Traffic;
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};

use super::record::Entry;

/// Ordered by name, because lists are.
#[derive(Debug, Default)]
pub struct Tables {
    topics: BTreeMap<TopicName, Arc<LiveTopic>>,
    topic_names: HashMap<u32, TopicName>,
    /// By topic id: queues begin no earlier, for the time of what lies below is over.
    kept_from: HashMap<u32, BTreeMap<QueueId, QueueOffset>>,
    consumer_groups: BTreeMap<ConsumerGroup, Arc<ConsumerGroupDescription>>,
    consumer_group_names: HashMap<u32, ConsumerGroup>,
    topic_id_max: u32,
    consumer_group_id_max: u32,
}

/// A topic, and what went through it since the start: who has looked the one up counts in the other.
#[derive(Debug)]
pub struct LiveTopic {
    topic: Topic,
    pub traffic: Arc<Traffic>,
}

impl Deref for LiveTopic {
    type Target = Topic;

    fn deref(&self) -> &Topic {
        &self.topic
    }
}

impl Tables {
    pub fn topic(&self, topic: &TopicName) -> Option<&Arc<LiveTopic>> {
        self.topics.get(topic)
    }

    pub fn topic_by_id(&self, topic_id: u32) -> Option<&Arc<LiveTopic>> {
        self.topics.get(self.topic_names.get(&topic_id)?)
    }

    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<LiveTopic>> {
        self.topics.values()
    }

    /// The queues of a topic whose first messages have had their time, and what of each is kept.
    pub fn kept_from(&self, topic_id: u32) -> impl Iterator<Item = (QueueId, QueueOffset)> {
        self.kept_from.get(&topic_id).into_iter().flatten().map(|(queue_id, offset)| (*queue_id, *offset))
    }

    pub fn consumer_group(&self, consumer_group: &ConsumerGroup) -> Option<&Arc<ConsumerGroupDescription>> {
        self.consumer_groups.get(consumer_group)
    }

    pub fn consumer_group_by_id(&self, consumer_group_id: u32) -> Option<&Arc<ConsumerGroupDescription>> {
        self.consumer_groups.get(self.consumer_group_names.get(&consumer_group_id)?)
    }

    pub fn consumer_groups(&self) -> impl ExactSizeIterator<Item = &Arc<ConsumerGroupDescription>> {
        self.consumer_groups.values()
    }

    /// Ids are never given twice, not even after a delete: handles and old records carry them.
    pub fn next_topic_id(&self) -> u32 {
        self.topic_id_max + 1
    }

    pub fn next_consumer_group_id(&self) -> u32 {
        self.consumer_group_id_max + 1
    }

    /// The highest id that a topic ever had.
    pub fn topic_id_max(&self) -> u32 {
        self.topic_id_max
    }

    /// The highest id that a consumer group ever had.
    pub fn consumer_group_id_max(&self) -> u32 {
        self.consumer_group_id_max
    }

    /// Ids up to these were given once, whoever had them.
    pub fn ids_are_used(&mut self, topic_id_max: u32, consumer_group_id_max: u32) {
        self.topic_id_max = self.topic_id_max.max(topic_id_max);
        self.consumer_group_id_max = self.consumer_group_id_max.max(consumer_group_id_max);
    }

    /// Takes what concerns topics and groups; other entries are for the cells.
    pub fn apply(&mut self, entry: &Entry, at: CommitLogOffset) {
        match entry {
            Entry::PutTopic { topic_id, version, config } => {
                let known = self.topic_by_id(*topic_id);
                let incarnation = known.map_or(Incarnation(at.0), |topic| topic.incarnation);
                let traffic = known.map(|topic| topic.traffic.clone()).unwrap_or_default();
                let topic = Topic { config: config.clone(), topic_id: *topic_id, incarnation, version: *version };
                self.topic_names.insert(*topic_id, config.topic.clone());
                self.topics.insert(config.topic.clone(), Arc::new(LiveTopic { topic, traffic }));
                self.topic_id_max = self.topic_id_max.max(*topic_id);
            }
            Entry::AdoptTopic { topic_id, version, incarnation, config } => {
                let topic =
                    Topic { config: config.clone(), topic_id: *topic_id, incarnation: *incarnation, version: *version };
                self.topic_names.insert(*topic_id, config.topic.clone());
                self.topics.insert(config.topic.clone(), Arc::new(LiveTopic { topic, traffic: Arc::default() }));
                self.topic_id_max = self.topic_id_max.max(*topic_id);
            }
            Entry::DeleteTopic { topic_id } => {
                if let Some(name) = self.topic_names.remove(topic_id) {
                    self.topics.remove(&name);
                }
                self.kept_from.remove(topic_id);
            }
            Entry::ExpireMessages { topic_id, kept_from } => {
                if self.topic_names.contains_key(topic_id) {
                    let known = self.kept_from.entry(*topic_id).or_default();
                    for (queue_id, offset) in kept_from {
                        let known = known.entry(*queue_id).or_default();
                        *known = (*known).max(*offset);
                    }
                }
            }
            Entry::PutConsumerGroup { consumer_group_id, version, config } => {
                let known = self.consumer_group_by_id(*consumer_group_id);
                let incarnation = known.map_or(Incarnation(at.0), |group| group.incarnation);
                let description = ConsumerGroupDescription {
                    config: config.clone(),
                    consumer_group_id: *consumer_group_id,
                    incarnation,
                    version: *version,
                };
                self.consumer_group_names.insert(*consumer_group_id, config.consumer_group.clone());
                self.consumer_groups.insert(config.consumer_group.clone(), Arc::new(description));
                self.consumer_group_id_max = self.consumer_group_id_max.max(*consumer_group_id);
            }
            Entry::DeleteConsumerGroup { consumer_group_id } => {
                if let Some(name) = self.consumer_group_names.remove(consumer_group_id) {
                    self.consumer_groups.remove(&name);
                }
            }
            Entry::Boot { .. }
            | Entry::Stop { .. }
            | Entry::Mark
            | Entry::Start { .. }
            | Entry::Lease(_)
            | Entry::Ack { .. }
            | Entry::ChangeLease { .. }
            | Entry::CommitOffset { .. }
            | Entry::ReleaseClient { .. }
            | Entry::TimersFired { .. }
            | Entry::LevelFired { .. }
            | Entry::TimersDone { .. }
            | Entry::TimersKept { .. }
            | Entry::IdempotencyKeys { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::TopicConfig;

    #[test]
    fn b10_a_topic_made_again_is_another_incarnation_with_another_id() {
        let mut tables = Tables::default();
        let config = TopicConfig::new(TopicName::from_client("t").unwrap());
        let put = |topic_id, version| Entry::PutTopic { topic_id, version, config: config.clone() };
        tables.apply(&put(1, 1), CommitLogOffset(100));
        tables.apply(&put(1, 2), CommitLogOffset(200));
        let topic = tables.topic(&config.topic).unwrap();
        assert_eq!((topic.incarnation, topic.version), (Incarnation(100), 2));
        tables.apply(&Entry::DeleteTopic { topic_id: 1 }, CommitLogOffset(300));
        assert!(tables.topic(&config.topic).is_none() && tables.topic_by_id(1).is_none());
        assert_eq!(tables.next_topic_id(), 2);
        tables.apply(&put(2, 1), CommitLogOffset(400));
        assert_eq!(tables.topic(&config.topic).unwrap().incarnation, Incarnation(400));
    }

    #[test]
    fn what_has_had_its_time_stays_away_as_long_as_the_topic_lives() {
        let mut tables = Tables::default();
        let config = TopicConfig::new(TopicName::from_client("t").unwrap());
        let put = |version| Entry::PutTopic { topic_id: 1, version, config: config.clone() };
        let expire = |queue, offset| Entry::ExpireMessages {
            topic_id: 1,
            kept_from: vec![(QueueId(queue), QueueOffset(offset))],
        };
        let kept_from =
            |tables: &Tables| tables.kept_from(1).map(|(queue, from)| (queue.0, from.0)).collect::<Vec<_>>();
        tables.apply(&put(1), CommitLogOffset(100));
        for entry in [expire(3, 7), expire(0, 5), put(2), expire(3, 6)] {
            tables.apply(&entry, CommitLogOffset(200));
        }
        assert_eq!(kept_from(&tables), [(0, 5), (3, 7)], "never back");
        tables.apply(&Entry::DeleteTopic { topic_id: 1 }, CommitLogOffset(300));
        tables.apply(&expire(0, 9), CommitLogOffset(400));
        assert!(kept_from(&tables).is_empty());
    }
}
