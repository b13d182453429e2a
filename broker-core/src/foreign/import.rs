//! Taking over what RocketMQ knows beside its log: topics, consumer groups, offsets, and what is in flight.
//!
//! RocketMQ's files become state records like any other decision. They are read before the store starts, because queues
//! need their topics; what is in flight lies in messages, so it is read after. Until `Store::import_done` the end of the
//! foreign log stays where it was found: a kill in between undoes all of it, and the next start does it again (D10).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::broker::ConsumerGroupConfig;
use crate::delivery::cells::AllCells;
use crate::delivery::timers::Timers;
use crate::foreign::config_files::{self, OrderInfo};
use crate::foreign::delayed;
use crate::foreign::in_flight;
use crate::foreign::transactions;
use crate::names::{ConsumerGroup, STATE_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::operation::half_messages::{half_topic, transaction_group};
use crate::receipt_handle::LeaseId;
use crate::state::record::{CellKey, Entry, LeaseEntry, encode};
use crate::state::tables::Tables;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::foreign_log::{FOREIGN_QUEUES_MAX, ForeignLog};

/// Entries of one state record: far below the shortest segment.
const ENTRIES_AT_ONCE: usize = 64;
/// Leases of imports have sequences that no pop gives out.
const FIRST_SEQUENCE: u64 = 1 << 62;

/// What a start has to take over.
pub struct Import {
    entries: Vec<Entry>,
    /// By topic id: where its queues end, as the log or their files say.
    queue_ends: BTreeMap<u32, Vec<QueueOffset>>,
    leases: u64,
}

impl Import {
    /// Reads RocketMQ's files and applies what they say to the tables; the cells follow in `finish`. `None` when nobody
    /// else has written here.
    pub fn begin(store: &Store, tables: &mut Tables) -> Result<Option<Import>, StoreError> {
        let Some(foreign) = store.foreign() else { return Ok(None) };
        let mut import = Import { entries: Vec::new(), queue_ends: BTreeMap::new(), leases: 0 };
        import.topics(store, foreign, tables)?;
        import.consumer_groups(store, tables)?;
        import.offsets(store, foreign, tables)?;
        import.entries.extend(delayed::progress(store)?);
        Ok(Some(import))
    }

    /// Where the queues of topics end, by topic id.
    pub fn take_queue_ends(&mut self) -> BTreeMap<u32, Vec<QueueOffset>> {
        std::mem::take(&mut self.queue_ends)
    }

    /// Writes all of it down, with what is in flight. After the store's start, before anything else is appended.
    pub fn finish(
        mut self,
        store: &Store,
        tables: &mut Tables,
        cells: &AllCells,
        timers: &mut Timers,
    ) -> Result<(), StoreError> {
        let foreign = store.foreign().expect("there is something to import");
        self.entries.iter().for_each(|entry| timers.apply(entry));
        self.entries.iter().for_each(|entry| cells.apply(entry));
        let copies = delayed::copies(store, timers)?;
        copies.iter().for_each(|entry| timers.apply(entry));
        self.entries.extend(copies);
        let decided = self.entries.len();
        let in_flight = in_flight::find(store, tables, cells)?;
        for (cell, messages) in in_flight.messages {
            let next = cells.next_of(cell).unwrap_or_default();
            self.lease(cell, next, messages, foreign);
        }
        self.entries.extend(in_flight.done);
        self.entries.extend(transactions::decided(store, tables, cells)?);
        self.entries[decided..].iter().for_each(|entry| cells.apply(entry));
        for entries in self.entries.chunks(ENTRIES_AT_ONCE) {
            let body = encode(store.synced_offset(), entries);
            let appended = store.append_state(body)?.entries.pop().expect("one result for one record")?;
            for entry in entries {
                // A group's incarnation is the place of the record that made it.
                if let Entry::PutConsumerGroup { consumer_group_id, version: 1, .. } = entry {
                    let consumer_group_id = *consumer_group_id;
                    let at = appended.commit_log_offset;
                    tables.apply(&Entry::DeleteConsumerGroup { consumer_group_id }, at);
                    tables.apply(entry, at);
                }
            }
        }
        store.import_done()?;
        tracing::info!(
            end = %foreign.end.end, topics = tables.topics().len(), consumer_groups = tables.consumer_groups().len(),
            leases = self.leases, "the store of somebody else is ours"
        );
        Ok(())
    }

    /// What is put here has its place in the log later; a topic's incarnation is in its entry.
    fn put(&mut self, tables: &mut Tables, entry: Entry) {
        tables.apply(&entry, CommitLogOffset(0));
        self.entries.push(entry);
    }

    fn topics(&mut self, store: &Store, foreign: &ForeignLog, tables: &mut Tables) -> Result<(), StoreError> {
        let file = store.read_config(config_files::TOPICS)?;
        let mut wanted: BTreeMap<TopicName, Value> = BTreeMap::new();
        match &file {
            Some(file) => {
                for (name, topic) in config_files::members(file, "topicConfigTable") {
                    match TopicName::from_store(name.as_bytes()) {
                        Ok(name) => drop(wanted.insert(name, topic.clone())),
                        Err(error) => tracing::warn!(name, %error, "a topic is left out: its name {error}"),
                    }
                }
            }
            // Nobody says which topics there are: all that ever had a message.
            None => wanted.extend(
                foreign.topics().filter_map(|name| Some((TopicName::from_store(name.as_bytes()).ok()?, Value::Null))),
            ),
        }
        wanted.retain(|name, topic| {
            name.as_str() != STATE_TOPIC
                && !(config_files::is_template(topic) && foreign.topic(name.as_str()).is_none())
        });
        if let Some((name, _)) = wanted.iter().find(|(_, topic)| config_files::is_compacted(topic)) {
            let path = name.as_str().into();
            return Err(StoreError::Foreign { path, key: "cleanup.policy=COMPACTION", what: "a compacted topic" });
        }

        let gone: Vec<u32> = tables
            .topics()
            .filter(|topic| !wanted.contains_key(&topic.config.topic))
            .map(|topic| topic.topic_id)
            .collect();
        gone.into_iter().for_each(|topic_id| self.put(tables, Entry::DeleteTopic { topic_id }));
        for (name, topic) in wanted {
            let seen = foreign.topic(name.as_str());
            let mut config = config_files::topic_config(name.clone(), &topic);
            let queues_seen = seen.and_then(|seen| seen.queues.keys().last()).map_or(0, |last| last.0 + 1);
            // Whoever reads must reach every message: queues that were taken from the readers have some.
            config.read_queues = config.read_queues.max(config.write_queues).max(queues_seen).max(1);
            if config.read_queues > FOREIGN_QUEUES_MAX {
                let (path, reason) = (config_files::TOPICS.into(), format!("topic '{name}' has too many queues"));
                return Err(StoreError::Damaged { file: path, offset: 0, reason });
            }
            let incarnation = seen.map_or(Incarnation(0), |seen| seen.incarnation);
            let known = tables.topic(&name).cloned();
            // A topic that was deleted and made again by the others is another one.
            let known = match known {
                Some(known) if seen.is_some() && incarnation.0 >= foreign.since.0 => {
                    self.put(tables, Entry::DeleteTopic { topic_id: known.topic_id });
                    None
                }
                known => known,
            };
            let topic_id = match known {
                Some(known) => {
                    config.read_queues = config.read_queues.max(known.config.read_queues);
                    if known.config != config {
                        let version = known.version + 1;
                        self.put(tables, Entry::PutTopic { topic_id: known.topic_id, version, config });
                    }
                    known.topic_id
                }
                None => {
                    let topic_id = tables.next_topic_id();
                    self.put(tables, Entry::AdoptTopic { topic_id, version: 1, incarnation, config });
                    topic_id
                }
            };
            if let Some(seen) = seen {
                let end = |queue| seen.queues.get(&QueueId(queue)).map_or(QueueOffset(0), |span| span.end);
                self.queue_ends.insert(topic_id, (0..queues_seen).map(end).collect());
            }
        }
        Ok(())
    }

    fn consumer_groups(&mut self, store: &Store, tables: &mut Tables) -> Result<(), StoreError> {
        let file = store.read_config(config_files::CONSUMER_GROUPS)?;
        let mut wanted: BTreeMap<ConsumerGroup, Value> = BTreeMap::new();
        for (name, group) in file.iter().flat_map(|file| config_files::members(file, "subscriptionGroupTable")) {
            match ConsumerGroup::from_store(name.as_bytes()) {
                Ok(name) => drop(wanted.insert(name, group.clone())),
                Err(error) => tracing::warn!(name, %error, "a consumer group is left out: its name {error}"),
            }
        }
        // Offsets of a group that is in no list count all the same.
        for key in [config_files::CONSUMER_OFFSETS, config_files::ORDER_INFO] {
            let offsets = store.read_config(key)?;
            for table in ["offsetTable", "table"] {
                for (key, _) in offsets.iter().flat_map(|file| config_files::members(file, table)) {
                    if let Some((topic, group)) = config_files::topic_and_group(key)
                        && tables.topic(&topic).is_some()
                    {
                        wanted.entry(group).or_insert(Value::Null);
                    }
                }
            }
        }
        // Nobody settles half messages but it.
        if tables.topic(&half_topic()).is_some() {
            wanted.entry(transaction_group()).or_insert(Value::Null);
        }
        let gone: Vec<u32> = tables
            .consumer_groups()
            .filter(|group| !wanted.contains_key(&group.config.consumer_group))
            .map(|group| group.consumer_group_id)
            .collect();
        for consumer_group_id in gone {
            self.put(tables, Entry::DeleteConsumerGroup { consumer_group_id });
        }
        for (name, group) in wanted {
            let mut config = config_files::consumer_group_config(name.clone(), &group);
            let (consumer_group_id, version) = match tables.consumer_group(&name) {
                Some(known) => {
                    config = ConsumerGroupConfig { start_from: known.config.start_from, ..config };
                    if known.config == config {
                        continue;
                    }
                    (known.consumer_group_id, known.version + 1)
                }
                None => (tables.next_consumer_group_id(), 1),
            };
            self.put(tables, Entry::PutConsumerGroup { consumer_group_id, version, config });
        }
        Ok(())
    }

    fn offsets(&mut self, store: &Store, foreign: &ForeignLog, tables: &Tables) -> Result<(), StoreError> {
        let offsets = store.read_config(config_files::CONSUMER_OFFSETS)?.unwrap_or(Value::Null);
        let order = store.read_config(config_files::ORDER_INFO)?.unwrap_or(Value::Null);
        // What an orderly group has taken: its offsets are committed only when all of it is back.
        let mut taken: BTreeMap<CellKey, OrderInfo> = BTreeMap::new();
        let mut cells: BTreeMap<CellKey, u64> = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        let mut cell_of = |key: &str, queue: u64| {
            let known = config_files::topic_and_group(key).and_then(|(topic, group)| {
                Some((tables.topic(&topic)?.topic_id, tables.consumer_group(&group)?.consumer_group_id))
            });
            let Some((topic_id, consumer_group_id)) = known else {
                unknown.insert(key.to_string());
                return None;
            };
            let queue = u32::try_from(queue).ok().filter(|queue| *queue < FOREIGN_QUEUES_MAX)?;
            Some(CellKey { consumer_group_id, topic_id, queue_id: QueueId(queue) })
        };
        for (key, queues) in config_files::members(&offsets, "offsetTable") {
            for (queue, offset) in config_files::numbers(Some(queues)) {
                if let Some(cell) = cell_of(key, queue) {
                    cells.insert(cell, offset);
                }
            }
        }
        for (key, queues) in config_files::members(&order, "table") {
            for (queue, info) in queues.as_object().into_iter().flatten() {
                let info = OrderInfo::of(info);
                if let Some(first) = info.messages.first()
                    && let Some(cell) = queue.parse().ok().and_then(|queue| cell_of(key, queue))
                {
                    cells.entry(cell).or_insert(first.0);
                    taken.insert(cell, info);
                }
            }
        }
        if !unknown.is_empty() {
            tracing::warn!(count = unknown.len(), "offsets of topics that are gone are left out");
        }
        for (cell, committed) in cells {
            // Beyond the end, after a crash that took messages: new ones must not be passed over.
            let end = self.end_of(&cell);
            self.entries.push(Entry::Start { cell, offset: committed.min(end) });
            if let Some(info) = taken.remove(&cell) {
                let mut messages = info.messages;
                messages.retain(|(offset, ..)| (committed..end).contains(offset));
                let Some(next) = messages.last().map(|last| last.0 + 1) else { continue };
                let owed = messages.iter().filter(|(.., acked)| !acked).map(|(offset, attempt, _)| (*offset, *attempt));
                self.lease(cell, next, owed.collect(), foreign);
            }
        }
        Ok(())
    }

    fn end_of(&self, cell: &CellKey) -> u64 {
        let ends = self.queue_ends.get(&cell.topic_id);
        ends.and_then(|ends| ends.get(cell.queue_id.0 as usize)).map_or(0, |end| end.0)
    }

    /// Messages that somebody holds, whom we cannot hear: they are due at once.
    fn lease(&mut self, cell: CellKey, next: u64, messages: Vec<(u64, u32)>, foreign: &ForeignLog) {
        let sequence = FIRST_SEQUENCE + self.leases;
        self.leases += messages.len() as u64;
        self.entries.push(Entry::Lease(LeaseEntry {
            cell,
            deadline: foreign.end.last_stored,
            first: LeaseId { boot: 0, sequence },
            next,
            auto_renew: false,
            client: None,
            attempt_id_hash: None,
            messages,
        }));
    }
}
