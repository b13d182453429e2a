//! The state of a store that lost both of its snapshots after the log's beginning was deleted (`StateLost`): made anew from
//! what is still there, on the operator's word.
//!
//! There is the log from its minimum on, with the state records in it, and what the last clean stop wrote under `config/`
//! for RocketMQ (`foreign/export.rs`). Those files count when a stop record that is still in the log bears their hashes:
//! then whatever they do not say lies behind them in the log. Ids make the two fit together (`foreign/ids.rs`).
//!
//! A cell whose first entry is in the log is exact. Of any other the file knows the offset below which all is settled; what
//! the log says was acked since moves it on, and everything above is delivered again, for the leases are gone.
//!
//! Without such files nobody knows who had consumed what. Then, only if that is asked for, topics are those of the log and
//! of the files as they are, and every group begins at the oldest message.
//!
//! Invariant: nothing is counted as consumed of which no record says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::broker::{ConsumerGroupConfig, StartFrom, TopicConfig};
use crate::clock::Timestamp;
use crate::delivery::cells::{AllCells, cell_of};
use crate::delivery::idempotency::IdempotencyKeys;
use crate::delivery::timers::Timers;
use crate::foreign::{config_files, ids};
use crate::local_broker::{queues_of, source_of, stamp_of, state_entries};
use crate::message::{StoredMessage, sys_flag};
use crate::names::{ConsumerGroup, STATE_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::state::record::{CellKey, Entry, KeyedMessage};
use crate::state::snapshot::{SnapshotWriter, TablesPart, TimersPart};
use crate::state::source::Source as Moved;
use crate::state::tables::Tables;
use crate::store::config_json;
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::foreign_log::{FOREIGN_QUEUES_MAX, QueueSpan};
use crate::store::lost_state::{LostState, Opened};
use crate::store::message_batch;

/// The files that all must be of one stop.
const EXPORTS: [&str; 3] = [config_files::TOPICS, config_files::CONSUMER_GROUPS, config_files::CONSUMER_OFFSETS];

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoverState {
    /// Write the snapshot; else only say what would be in it.
    pub write: bool,
    /// Go on where nothing says who had consumed what.
    pub invent: bool,
}

/// What the state would be, or is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveredState {
    pub log_min_offset: u64,
    pub log_end_offset: u64,
    pub exports: Exports,
    pub topics: Vec<RecoveredTopic>,
    pub consumer_groups: Vec<RecoveredGroup>,
    /// What each group has consumed of each topic. In an invented state most are missing: they begin at the oldest message.
    pub consumed: Vec<Consumed>,
    /// Deleted topics that come back, for nobody knows their names: at most so many.
    pub deleted_topics_unknown: u64,
    /// State records that speak of a topic or a group without a name.
    pub entries_left_out: u64,
    pub snapshot: PathBuf,
    pub written: bool,
}

/// The files under `config/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Exports {
    /// A stop record in the log bears their hashes.
    #[serde(rename_all = "camelCase")]
    Good { stopped_at_offset: u64, stopped_ms: i64 },
    /// Why they do not say who had consumed what.
    Unusable { reason: String },
}

/// Who says that something exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A state record, or an export of which the log says that it is ours.
    Known,
    /// A file of which nobody knows how old it is.
    OldExport,
    /// Only its messages: the settings are those of a new topic.
    Messages,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveredTopic {
    pub topic: String,
    pub queues: u32,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveredGroup {
    pub consumer_group: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumed {
    pub consumer_group: String,
    pub topic: String,
    pub queues: u64,
    /// Queues of which all is known, what is in flight included.
    pub exact_queues: u64,
    /// In the other queues so many messages lie at or behind the offset: none of them is skipped, and some may have been
    /// consumed before.
    pub delivered_again_max: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoverStateError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the state is not lost: {reason}")]
    NotLost { reason: String },
}

/// Finds out what is left of the state of a store that nobody has open, and writes it down if that is wanted and allowed.
pub fn recover_state(
    files: Arc<dyn Files>,
    data_dir: &Path,
    now: Timestamp,
    options: RecoverState,
) -> Result<RecoveredState, RecoverStateError> {
    let lost = match LostState::open(files, data_dir, stamp_of)? {
        Opened::Lost(lost) => lost,
        Opened::NotLost(reason) => return Err(RecoverStateError::NotLost { reason }),
    };
    let exported = ExportFiles::read(&lost)?;
    let spans = Spans::read(&lost, &exported)?;
    let (exports, mut known) = match exported.tables(spans.stop) {
        Ok((good, known)) => (good, known),
        Err(reason) => (Exports::Unusable { reason }, Known::default()),
    };
    known.replay(&lost)?;
    let invented = matches!(exports, Exports::Unusable { .. });
    let sources = if invented { known.invent(&lost, &exported, &spans) } else { HashMap::new() };

    let (body, consumed) = known.write_down(&lost, &spans);
    let write = options.write && (options.invent || !invented);
    if write {
        lost.put_snapshot(spans.state_end, now, &body)?;
    }
    let source = |name: &str| sources.get(name).copied().unwrap_or(Source::Known);
    let topics = known.tables.topics().map(|topic| RecoveredTopic {
        topic: topic.config.topic.as_str().into(),
        queues: queues_of(&topic.config),
        source: source(&topic_word(&topic.config.topic)),
    });
    let consumer_groups = known.tables.consumer_groups().map(|group| RecoveredGroup {
        consumer_group: group.config.consumer_group.as_str().into(),
        source: source(&group_word(&group.config.consumer_group)),
    });
    Ok(RecoveredState {
        log_min_offset: lost.min().0,
        log_end_offset: lost.end().0,
        exports,
        topics: topics.collect(),
        consumer_groups: consumer_groups.collect(),
        consumed,
        deleted_topics_unknown: known.deleted_unknown,
        entries_left_out: known.left_out,
        snapshot: lost.snapshot_path(),
        written: write,
    })
}

/// The files under `config/`, whatever they are.
struct ExportFiles {
    files: Vec<(&'static str, Option<ExportFile>)>,
}

struct ExportFile {
    sha256: [u8; 32],
    value: Option<Value>,
}

impl ExportFiles {
    fn read(lost: &LostState) -> Result<ExportFiles, StoreError> {
        let read = |name: &'static str| {
            let file = lost.config_bytes(name)?.map(|bytes| ExportFile {
                sha256: Sha256::digest(&bytes).into(),
                value: config_json::parse(&bytes).ok(),
            });
            Ok((name, file))
        };
        Ok(ExportFiles { files: EXPORTS.into_iter().map(read).collect::<Result<_, StoreError>>()? })
    }

    /// Does a stop record bear the hash of every file?
    fn are_of(&self, exported: &[(String, [u8; 32])]) -> bool {
        self.files.iter().all(|(name, file)| {
            let sha256 = exported.iter().find(|(exported, _)| exported == name).map(|(_, sha256)| sha256);
            sha256.is_some() && file.as_ref().map(|file| &file.sha256) == sha256
        })
    }

    fn value(&self, name: &str) -> &Value {
        let file = self.files.iter().find(|(known, _)| *known == name).and_then(|(_, file)| file.as_ref());
        file.and_then(|file| file.value.as_ref()).unwrap_or(&Value::Null)
    }

    /// What the files say, if the log vouches for them; else why not.
    fn tables(&self, stop: Option<(CommitLogOffset, Timestamp)>) -> Result<(Exports, Known), String> {
        if let Some((name, _)) = self.files.iter().find(|(_, file)| file.is_none()) {
            return Err(format!("config/{name} is missing"));
        }
        let (at, stored) = stop.ok_or("no stop whose record is still in the log has left config/*.json as they are")?;
        let tables = ids::tables_of(self.value(config_files::TOPICS), self.value(config_files::CONSUMER_GROUPS));
        let tables = tables.ok_or("config/*.json do not say which ids topics and consumer groups have")?;
        let mut known = Known { topic_id_exported: tables.topic_id_max(), ..Known::default() };
        known.consumer_group_id_exported = tables.consumer_group_id_max();
        for (key, queues) in config_files::members(self.value(config_files::CONSUMER_OFFSETS), "offsetTable") {
            let ids = config_files::topic_and_group(key).and_then(|(topic, group)| {
                Some((tables.consumer_group(&group)?.consumer_group_id, tables.topic(&topic)?.topic_id))
            });
            let (consumer_group_id, topic_id) = ids.ok_or(format!("nobody knows whose offsets '{key}' are"))?;
            for (queue, offset) in config_files::numbers(Some(queues)) {
                let queue_id = u32::try_from(queue).map_err(|_| format!("'{key}' has queue {queue}"))?;
                let cell = CellKey { consumer_group_id, topic_id, queue_id: QueueId(queue_id) };
                known.floors.insert(cell, Floor { settled_below: offset, acked: BTreeSet::new() });
            }
        }
        known.tables = tables;
        Ok((Exports::Good { stopped_at_offset: at.0, stopped_ms: stored.0 }, known))
    }
}

/// The queues as the log has them.
#[derive(Default)]
struct Spans {
    topics: HashMap<String, BTreeMap<QueueId, QueueSpan>>,
    /// Where the state topic goes on.
    state_end: QueueOffset,
    /// The last stop that left the files as they are: its place and its time.
    stop: Option<(CommitLogOffset, Timestamp)>,
}

impl Spans {
    fn read(lost: &LostState, exported: &ExportFiles) -> Result<Spans, StoreError> {
        let mut spans = Spans::default();
        lost.each_record(|record| {
            if record.topic() == STATE_TOPIC {
                spans.state_end = QueueOffset(record.queue_offset.0 + 1);
                for entry in state_entries(record)? {
                    if let Entry::Stop { exported: files } = entry
                        && exported.are_of(&files)
                    {
                        spans.stop = Some((record.commit_log_offset, record.store_timestamp));
                    }
                }
                return Ok(());
            }
            spans.take(record)
        })?;
        Ok(spans)
    }

    fn take(&mut self, record: &StoredMessage) -> Result<(), StoreError> {
        if !sys_flag::is_queued(record.sys_flag) || record.queue_id.0 >= FOREIGN_QUEUES_MAX {
            return Ok(());
        }
        let count = message_batch::inner_count(record)? as u64;
        let (first, last) = (record.queue_offset, record.commit_log_offset);
        let end = QueueOffset(first.0 + count);
        if !self.topics.contains_key(record.topic()) {
            self.topics.insert(record.topic().to_string(), BTreeMap::new());
        }
        let queues = self.topics.get_mut(record.topic()).expect("just made");
        match queues.get_mut(&record.queue_id) {
            Some(span) if span.end == first => *span = QueueSpan { end, last, ..*span },
            known => {
                // The offsets go back: the topic was deleted and made again.
                if known.is_some() {
                    queues.clear();
                }
                queues.insert(record.queue_id, QueueSpan { first, end, last });
            }
        }
        Ok(())
    }

    /// Of a queue of the topic that it is since its incarnation.
    fn of(&self, topic: &TopicName, incarnation: Incarnation, queue_id: QueueId) -> Option<QueueSpan> {
        self.topics.get(topic.as_str())?.get(&queue_id).copied().filter(|span| span.last.0 >= incarnation.0)
    }

    /// How many queues its messages lie in.
    fn queues(&self, topic: &TopicName) -> u32 {
        self.topics.get(topic.as_str()).and_then(|queues| queues.keys().last()).map_or(0, |last| last.0 + 1)
    }
}

/// The state as far as anybody says it.
#[derive(Default)]
struct Known {
    /// Which delayed messages are done, as all of the log says: whatever is left of them, their proofs come after.
    timers: Timers,
    idempotency: IdempotencyKeys,
    tables: Tables,
    /// Ids up to here are in the tables, or dead.
    topic_id_exported: u32,
    consumer_group_id_exported: u32,
    /// Cells whose every entry is in the log.
    exact: AllCells,
    begun: HashSet<CellKey>,
    /// The other cells.
    floors: BTreeMap<CellKey, Floor>,
    /// Names of topics and groups that a record deletes.
    deleted: HashSet<String>,
    /// The highest ids that any record speaks of.
    ids_seen: (u32, u32),
    deleted_unknown: u64,
    left_out: u64,
}

/// What is settled for sure in a queue.
#[derive(Debug, Default)]
struct Floor {
    settled_below: u64,
    /// Above it.
    acked: BTreeSet<u64>,
}

impl Floor {
    fn settle_below(&mut self, offset: u64) {
        self.settled_below = self.settled_below.max(offset);
        self.acked = self.acked.split_off(&self.settled_below);
        while self.acked.remove(&self.settled_below) {
            self.settled_below += 1;
        }
    }

    fn settle(&mut self, offset: u64) {
        if offset >= self.settled_below {
            self.acked.insert(offset);
            self.settle_below(self.settled_below);
        }
    }
}

impl Known {
    fn replay(&mut self, lost: &LostState) -> Result<(), StoreError> {
        lost.each_record(|record| {
            if record.topic() == STATE_TOPIC {
                for entry in state_entries(record)? {
                    self.apply(lost, &entry, record.commit_log_offset);
                }
            } else if Moved::is_in(&record.properties) {
                match source_of(record)? {
                    Moved::Timer { offset } => self.timers.apply_fired(offset),
                    Moved::TimerKept { offset } => self.timers.apply_kept(offset),
                    Moved::Level { level, offset } => self.timers.apply_level_fired(level, offset),
                    Moved::Lease { cell, offset } => {
                        self.apply(lost, &Entry::Ack { cell, offsets: vec![offset] }, record.commit_log_offset);
                    }
                }
            }
            if KeyedMessage::is_in(&record.properties)
                && let Some(message) = KeyedMessage::of(record)
            {
                self.idempotency.replay(&message);
            }
            Ok(())
        })
    }

    /// Records older than the exports are applied too, and must change nothing that those know better.
    fn apply(&mut self, lost: &LostState, entry: &Entry, at: CommitLogOffset) {
        match entry {
            Entry::PutTopic { topic_id, version, config } | Entry::AdoptTopic { topic_id, version, config, .. } => {
                self.ids_seen.0 = self.ids_seen.0.max(*topic_id);
                self.deleted.remove(&topic_word(&config.topic));
                let known = self.tables.topic_by_id(*topic_id).map(|known| known.version);
                match known {
                    Some(known) if known >= *version => {}
                    None if *topic_id <= self.topic_id_exported => {}
                    // Its creation was deleted: it is older than the log.
                    None if *version > 1 && matches!(entry, Entry::PutTopic { .. }) => {
                        let incarnation = since(lost, &config.topic);
                        let (topic_id, version, config) = (*topic_id, *version, config.clone());
                        self.tables.apply(&Entry::AdoptTopic { topic_id, version, incarnation, config }, at);
                    }
                    _ => self.tables.apply(entry, at),
                }
            }
            Entry::PutConsumerGroup { consumer_group_id, version, config } => {
                self.ids_seen.1 = self.ids_seen.1.max(*consumer_group_id);
                self.deleted.remove(&group_word(&config.consumer_group));
                match self.tables.consumer_group_by_id(*consumer_group_id) {
                    Some(known) if known.version >= *version => {}
                    None if *consumer_group_id <= self.consumer_group_id_exported => {}
                    _ => self.tables.apply(entry, at),
                }
            }
            Entry::DeleteTopic { topic_id } => {
                self.ids_seen.0 = self.ids_seen.0.max(*topic_id);
                match self.tables.topic_by_id(*topic_id) {
                    Some(known) => drop(self.deleted.insert(topic_word(&known.config.topic))),
                    None => self.deleted_unknown += u64::from(*topic_id > self.topic_id_exported),
                }
                self.tables.apply(entry, at);
                self.forget(entry, |cell| cell.topic_id == *topic_id);
            }
            Entry::DeleteConsumerGroup { consumer_group_id } => {
                self.ids_seen.1 = self.ids_seen.1.max(*consumer_group_id);
                if let Some(known) = self.tables.consumer_group_by_id(*consumer_group_id) {
                    self.deleted.insert(group_word(&known.config.consumer_group));
                }
                self.tables.apply(entry, at);
                self.forget(entry, |cell| cell.consumer_group_id == *consumer_group_id);
            }
            Entry::ExpireMessages { topic_id, .. } => {
                self.ids_seen.0 = self.ids_seen.0.max(*topic_id);
                self.tables.apply(entry, at);
            }
            Entry::Boot { .. } | Entry::Stop { .. } | Entry::Mark => {}
            Entry::IdempotencyKeys { .. } => self.idempotency.apply(entry),
            Entry::TimersFired { .. }
            | Entry::LevelFired { .. }
            | Entry::TimersDone { .. }
            | Entry::TimersKept { .. } => self.timers.apply(entry),
            Entry::Start { .. }
            | Entry::Lease(_)
            | Entry::Ack { .. }
            | Entry::ChangeLease { .. }
            | Entry::CommitOffset { .. }
            | Entry::ReleaseClient { .. } => self.apply_to_cell(entry),
        }
    }

    fn apply_to_cell(&mut self, entry: &Entry) {
        let cell = cell_of(entry).expect("an entry of a cell");
        self.ids_seen.0 = self.ids_seen.0.max(cell.topic_id);
        self.ids_seen.1 = self.ids_seen.1.max(cell.consumer_group_id);
        let is_known = self.tables.topic_by_id(cell.topic_id).is_some()
            && self.tables.consumer_group_by_id(cell.consumer_group_id).is_some();
        if !is_known {
            // Those that the exports know to be dead are left out rightly.
            let is_dead = (cell.topic_id <= self.topic_id_exported && self.tables.topic_by_id(cell.topic_id).is_none())
                || (cell.consumer_group_id <= self.consumer_group_id_exported
                    && self.tables.consumer_group_by_id(cell.consumer_group_id).is_none());
            self.left_out += u64::from(!is_dead);
            return;
        }
        if matches!(entry, Entry::Start { .. }) {
            self.begun.insert(cell);
            self.floors.remove(&cell);
        }
        if self.begun.contains(&cell) {
            self.exact.apply(entry);
            return;
        }
        let floor = self.floors.entry(cell).or_default();
        match entry {
            Entry::Ack { offsets, .. } => offsets.iter().for_each(|offset| floor.settle(*offset)),
            Entry::CommitOffset { offset, .. } => floor.settle_below(*offset),
            // Who holds what is told of those that are exact alone.
            _ => {}
        }
    }

    fn forget(&mut self, entry: &Entry, of: impl Fn(&CellKey) -> bool) {
        self.exact.apply(entry);
        self.begun.retain(|cell| !of(cell));
        self.floors.retain(|cell, _| !of(cell));
    }

    /// What is there without a state record: topics of old files and of messages, groups of old files. Says where each is
    /// from.
    fn invent(&mut self, lost: &LostState, exported: &ExportFiles, spans: &Spans) -> HashMap<String, Source> {
        let mut sources = HashMap::new();
        self.tables.ids_are_used(self.ids_seen.0, self.ids_seen.1);
        let mut wanted: BTreeMap<TopicName, (TopicConfig, Source)> = BTreeMap::new();
        for name in spans.topics.keys().filter_map(|name| TopicName::from_store(name.as_bytes()).ok()) {
            wanted.insert(name.clone(), (TopicConfig::new(name), Source::Messages));
        }
        for (name, topic) in config_files::members(exported.value(config_files::TOPICS), "topicConfigTable") {
            let Ok(name) = TopicName::from_store(name.as_bytes()) else { continue };
            let is_ours = name.as_str() != STATE_TOPIC && !config_files::is_template(topic);
            if is_ours {
                wanted.insert(name.clone(), (config_files::topic_config(name, topic), Source::OldExport));
            }
        }
        for (name, (mut config, source)) in wanted {
            if self.tables.topic(&name).is_some() || self.deleted.contains(&topic_word(&name)) {
                continue;
            }
            let said = lost.queues_said(&name).and_then(|(_, ends)| ends.last().map(|(last, _)| last.0 + 1));
            let queues = config.read_queues.max(config.write_queues).max(spans.queues(&name)).max(said.unwrap_or(0));
            config.read_queues = queues.min(FOREIGN_QUEUES_MAX);
            sources.insert(topic_word(&name), source);
            let (topic_id, incarnation) = (self.tables.next_topic_id(), since(lost, &name));
            self.tables.apply(&Entry::AdoptTopic { topic_id, version: 1, incarnation, config }, CommitLogOffset(0));
        }
        let old = exported.value(config_files::CONSUMER_GROUPS);
        for (name, group) in config_files::members(old, "subscriptionGroupTable") {
            let Ok(name) = ConsumerGroup::from_store(name.as_bytes()) else { continue };
            if self.tables.consumer_group(&name).is_some() || self.deleted.contains(&group_word(&name)) {
                continue;
            }
            sources.insert(group_word(&name), Source::OldExport);
            let (consumer_group_id, version) = (self.tables.next_consumer_group_id(), 1);
            let config = config_files::consumer_group_config(name, group);
            self.tables.apply(&Entry::PutConsumerGroup { consumer_group_id, version, config }, CommitLogOffset(0));
        }
        // Where a group went on is unknown for most of its topics: it must not go on at their ends.
        let groups: Vec<_> = self.tables.consumer_groups().cloned().collect();
        for group in groups {
            let config = ConsumerGroupConfig { start_from: StartFrom::Min, ..group.config.clone() };
            let (consumer_group_id, version) = (group.consumer_group_id, group.version + 1);
            let at = CommitLogOffset(group.incarnation.0);
            self.tables.apply(&Entry::PutConsumerGroup { consumer_group_id, version, config }, at);
        }
        sources
    }

    /// A snapshot's body, and what it says of each group and topic.
    fn write_down(&self, lost: &LostState, spans: &Spans) -> (Vec<u8>, Vec<Consumed>) {
        let mut part = TablesPart::of(&self.tables, lost.end());
        // Who has consumed so far has seen a queue end no earlier.
        let floors = self.floors.iter().map(|(cell, floor)| (cell, Some(floor.settled_below)));
        let begun = self.begun.iter().map(|cell| (cell, self.exact.next_of(*cell)));
        let mut seen: HashMap<(u32, QueueId), QueueOffset> = HashMap::new();
        for (cell, offset) in floors.chain(begun) {
            let seen = seen.entry((cell.topic_id, cell.queue_id)).or_default();
            *seen = QueueOffset(offset.unwrap_or(0)).max(*seen);
        }
        let mut ends: HashMap<(u32, QueueId), QueueOffset> = HashMap::new();
        for (part, topic) in part.topics.iter_mut().zip(self.tables.topics()) {
            let name = &topic.config.topic;
            let said = lost.queues_said(name).filter(|(incarnation, _)| *incarnation == topic.incarnation);
            let said: HashMap<QueueId, QueueOffset> = said.into_iter().flat_map(|(_, ends)| ends).collect();
            for queue_id in (0..queues_of(&topic.config)).map(QueueId) {
                let place = (topic.topic_id, queue_id);
                let elsewhere = || said.get(&queue_id).max(seen.get(&place)).copied().unwrap_or_default();
                let end = spans.of(name, topic.incarnation, queue_id).map_or_else(elsewhere, |span| span.end);
                part.queue_ends.push(end);
                ends.insert(place, end);
            }
        }

        let mut again: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (cell, floor) in &self.floors {
            let topic = self.tables.topic_by_id(cell.topic_id).expect("cells of what is gone are gone");
            let end = ends.get(&(cell.topic_id, cell.queue_id)).copied().unwrap_or_default();
            let first = spans.of(&topic.config.topic, topic.incarnation, cell.queue_id).map_or(end, |span| span.first);
            let offset = floor.settled_below.max(first.0).min(end.0);
            self.exact.apply(&Entry::Start { cell: *cell, offset });
            *again.entry((cell.consumer_group_id, cell.topic_id)).or_default() += end.0 - offset;
        }
        let mut snapshot = SnapshotWriter::new();
        let mut consumed = Vec::new();
        let mut pairs = self.exact.all();
        pairs.sort_by_key(|(pair, _)| *pair);
        for (pair, cells) in pairs {
            let cells = cells.lock().expect("no code panics while holding it");
            let names = self.tables.consumer_group_by_id(pair.0).zip(self.tables.topic_by_id(pair.1));
            let Some((group, topic)) = names.filter(|_| !cells.is_empty()) else { continue };
            snapshot.pair(pair, lost.end(), cells.iter().map(|(queue_id, cell)| (queue_id, &**cell)));
            let cell =
                |queue_id: &QueueId| CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id: *queue_id };
            consumed.push(Consumed {
                consumer_group: group.config.consumer_group.as_str().into(),
                topic: topic.config.topic.as_str().into(),
                queues: cells.len() as u64,
                exact_queues: cells.keys().filter(|queue| self.begun.contains(&cell(queue))).count() as u64,
                delivered_again_max: again.get(&pair).copied().unwrap_or(0),
            });
        }
        snapshot.timers(TimersPart { reflects: lost.end(), entries: self.timers.entries() });
        // All that the log has: which of them are too old, the start says.
        snapshot.keys(lost.end(), self.idempotency.entries(Timestamp::default()));
        (snapshot.finish(&part), consumed)
    }
}

/// Since when a topic is the one it is, when no record says so: as its queues say, or since before the log.
fn since(lost: &LostState, topic: &TopicName) -> Incarnation {
    lost.queues_said(topic).map_or(Incarnation(0), |(incarnation, _)| incarnation)
}

/// Topics and groups may share a name.
fn topic_word(topic: &TopicName) -> String {
    format!("topic {topic}")
}

fn group_word(consumer_group: &ConsumerGroup) -> String {
    format!("consumer group {consumer_group}")
}
