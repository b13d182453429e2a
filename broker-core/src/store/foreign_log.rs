//! A log that Apache RocketMQ wrote: what of such a store cannot be read, where its log ends, and what lies in it.
//!
//! One pass over the log, which the import needs anyway, finds the end and what each queue holds. The log is believed
//! before the consume queues; those say only what the log no longer can: where a queue goes on whose messages have all
//! expired, and which records are of an earlier life of a topic that was deleted and made again.
//!
//! The directory is only read here.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::message::{StoredMessage, sys_flag};
use crate::names::STATE_TOPIC;
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::store::commit_log::{COMMIT_LOG_DIR, Inspected, UncheckedLog};
use crate::store::consume_queue::{QueueEntry, UNIT_BYTES};
use crate::store::error::StoreError;
use crate::store::files::{Files, Listed};
use crate::store::identity::Importing;
use crate::store::message_batch;
use crate::store::record::PropertyCrc;
use crate::store::recovery::{LogEnd, damaged, end_of};

/// Most queues that one topic of an import may have: a queue id beyond is no queue id.
pub const FOREIGN_QUEUES_MAX: u32 = 65_536;
/// Units of a consume queue read at once.
const UNITS_AT_ONCE: u64 = 4_096;

/// What the log of a foreign store holds.
#[derive(Debug, Clone)]
pub struct ForeignLog {
    pub end: LogEnd,
    /// For the import that may be killed: what it does to the consume queues must not change their answer.
    pub queues_said: QueuesSaid,
    /// Everything below was ours the last time that we stopped; 0 if we never were here.
    pub since: CommitLogOffset,
    topics: HashMap<String, ForeignTopic>,
}

/// What the consume queues know and the log does not say, by topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueuesSaid {
    /// Records below are of an earlier life.
    begins: BTreeMap<String, CommitLogOffset>,
    /// Where queues go on whose messages have all expired, by queue id.
    ends: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// One topic in the log of a foreign store.
#[derive(Debug, Clone, Default)]
pub struct ForeignTopic {
    /// Records below are of an earlier life of the name.
    pub incarnation: Incarnation,
    pub queues: BTreeMap<QueueId, QueueSpan>,
    /// The first record of the present life.
    first: CommitLogOffset,
    /// Its queues are in other files, which nobody asks.
    in_batches: bool,
}

/// The queue offsets `[first, end)` that a queue's records in the log have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSpan {
    pub first: QueueOffset,
    pub end: QueueOffset,
    /// Its last record.
    pub last: CommitLogOffset,
}

/// Is there something that a RocketMQ broker left?
pub fn is_there(files: &dyn Files, data_dir: &Path) -> std::io::Result<bool> {
    for dir in [COMMIT_LOG_DIR, "consumequeue"] {
        if !files.list(&data_dir.join(dir))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(files.list(&data_dir.join("config"))?.iter().any(|file| file.name == OsStr::new("topics.json")))
}

/// Refuses what lies in files that Gantry does not read, naming the key it was switched on with.
pub fn refuse_unreadable(files: &dyn Files, data_dir: &Path) -> Result<(), StoreError> {
    let list = |dir: &str| {
        let dir = data_dir.join(dir);
        files.list(&dir).map_err(|error| StoreError::io(format!("listing {}", dir.display()), &error))
    };
    let refuse = |place: &str, key: &'static str, what: &'static str| {
        Err(StoreError::Foreign { path: data_dir.join(place), key, what })
    };
    let is_rocksdb = |listed: &[Listed]| listed.iter().any(|file| file.name == OsStr::new("CURRENT"));
    for (dir, key, what) in [
        ("consumequeue", "storeType=defaultRocksDB", "consume queues in RocksDB"),
        ("kvStore", "popConsumerKVServiceEnable", "the messages in flight in RocksDB"),
    ] {
        let listed = list(dir)?;
        if is_rocksdb(&listed) {
            return refuse(dir, key, what);
        }
        for inner in listed.iter().filter(|inner| inner.is_dir && dir != "consumequeue") {
            let inner = format!("{dir}/{}", inner.name.to_string_lossy());
            if is_rocksdb(&list(&inner)?) {
                return refuse(&inner, key, what);
            }
        }
    }
    for file in list("config")? {
        let place = format!("config/{}", file.name.to_string_lossy());
        if file.is_dir && is_rocksdb(&list(&place)?) {
            return refuse(&place, "configManagerVersion", "topics, groups or offsets in RocksDB");
        }
        if file.name == OsStr::new("tieredStoreMetadata.json") {
            return refuse(&place, "messageStorePlugIn", "messages in another storage");
        }
    }
    for entry in list("")?.iter().filter(|entry| entry.is_dir) {
        let name = entry.name.to_string_lossy();
        if name.starts_with("dledger-") && !list(&name)?.is_empty() {
            return refuse(&name, "enableDLegerCommitLog", "the log of a DLedger group");
        }
        // Beside `consumequeue` and `config`: some version or other keeps RocksDB under a name of its own.
        if name != "gantry" && is_rocksdb(&list(&name)?) {
            return refuse(&name, "storeType", "data in RocksDB");
        }
    }
    if !list("compaction/compactionLog")?.is_empty() {
        return refuse("compaction/compactionLog", "cleanup.policy=COMPACTION", "compacted topics");
    }
    Ok(())
}

impl ForeignLog {
    /// Reads the whole log. `resumed`: an import has begun before, and this is what it found. `clean`: the last broker
    /// stopped well, so that its consume queues hold all that it wanted them to hold.
    pub fn survey(
        log: &UncheckedLog,
        files: &dyn Files,
        data_dir: &Path,
        since: CommitLogOffset,
        resumed: Option<&Importing>,
        clean: bool,
    ) -> Result<ForeignLog, StoreError> {
        let known_end = resumed.map(|importing| importing.end);
        let mut topics: HashMap<String, ForeignTopic> = HashMap::new();
        let mut at = log.min();
        // Behind the last record: a segment that was closed, and no more, is open again.
        let mut end = at;
        let mut last_stored = Timestamp(0);
        let reason = loop {
            if known_end == Some(at) {
                end = at;
                break String::new();
            }
            match log.inspect(at, PropertyCrc::Optional) {
                Inspected::Record(record) => {
                    let topic = match topics.get_mut(record.topic()) {
                        Some(topic) => topic,
                        None => topics.entry(record.topic().to_string()).or_default(),
                    };
                    topic.take(log, &record)?;
                    last_stored = last_stored.max(record.store_timestamp);
                    at = end_of(&record);
                    end = at;
                }
                Inspected::Blank { next } => at = next,
                Inspected::Invalid(error) => break error.to_string(),
                Inspected::Outside => break "the segment is missing".into(),
            }
        };
        match known_end {
            Some(known) if known != end => return Err(damaged(log, end, known, reason)),
            Some(_) => {}
            // All that was ours was synced when we stopped.
            None if end < since => return Err(damaged(log, end, since, reason)),
            None => refuse_damage(log, files, data_dir, end, last_stored, &reason)?,
        }
        let end = LogEnd { end, last_stored };
        let mut survey = ForeignLog { end, queues_said: QueuesSaid::default(), since, topics };
        survey.queues_said = match resumed {
            Some(importing) => importing.queues.clone(),
            None => survey.ask_queues(files, data_dir, log.min(), clean)?,
        };
        survey.hear_queues(log.min());
        Ok(survey)
    }

    pub fn topic(&self, name: &str) -> Option<&ForeignTopic> {
        self.topics.get(name)
    }

    /// Names of all topics with records in the log, dead ones included.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    fn ask_queues(
        &self,
        files: &dyn Files,
        data_dir: &Path,
        log_min: CommitLogOffset,
        clean: bool,
    ) -> Result<QueuesSaid, StoreError> {
        let root = data_dir.join("consumequeue");
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                let reason = format!("{error}; consumequeue can be deleted, the next start makes it anew");
                StoreError::Damaged { file: root.clone(), offset: 0, reason }
            }
            _ => StoreError::io(format!("reading {}", root.display()), &error),
        };
        let listed = files.list(&root).map_err(io)?;
        let mut said = QueuesSaid::default();
        let mut begins: HashMap<&str, CommitLogOffset> = HashMap::new();
        for dir in listed.iter().filter(|dir| dir.is_dir) {
            let Some(name) = dir.name.to_str() else { continue };
            for queue in files.list(&root.join(name)).map_err(io)? {
                let id = queue.name.to_str().and_then(|id| id.parse().ok()).filter(|id| *id < FOREIGN_QUEUES_MAX);
                let Some(id) = id else { continue };
                let dir = root.join(name).join(&queue.name);
                let units = QueueFiles::open(files, &dir).map_err(io)?;
                if let Some(first) = units.first().map_err(io)? {
                    let begin = begins.entry(name).or_insert(first.commit_log_offset);
                    *begin = (*begin).min(first.commit_log_offset);
                }
                let is_in_log = self.topics.get(name).is_some_and(|topic| topic.queues.contains_key(&QueueId(id)));
                if !is_in_log && let Some(end) = units.end_below(log_min).map_err(io)? {
                    said.ends.entry(name.to_string()).or_default().insert(id, end.0);
                }
            }
        }
        // Only queues that were brought up to the end say that something is not of their topic.
        if clean && !listed.is_empty() {
            let asked = self.topics.iter().filter(|(name, topic)| !topic.in_batches && *name != STATE_TOPIC);
            said.begins = asked
                .map(|(name, topic)| (topic, name, begins.get(name.as_str()).copied().unwrap_or(self.end.end)))
                .filter(|(topic, _, begin)| *begin > topic.first)
                .map(|(_, name, begin)| (name.clone(), begin))
                .collect();
        }
        Ok(said)
    }

    fn hear_queues(&mut self, log_min: CommitLogOffset) {
        for (name, begin) in &self.queues_said.begins {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.incarnation = Incarnation(begin.0);
                topic.queues.retain(|_, span| span.last >= *begin);
            }
        }
        for (name, ends) in &self.queues_said.ends {
            let topic = self.topics.entry(name.clone()).or_default();
            for (id, end) in ends {
                let span = QueueSpan { first: QueueOffset(*end), end: QueueOffset(*end), last: log_min };
                topic.queues.entry(QueueId(*id)).or_insert(span);
            }
        }
    }
}

impl ForeignTopic {
    fn take(&mut self, log: &UncheckedLog, record: &StoredMessage) -> Result<(), StoreError> {
        if !sys_flag::is_queued(record.sys_flag) {
            return Ok(());
        }
        let at = record.commit_log_offset;
        let refuse = |reason: String| {
            let segment = log.segments().iter().rfind(|segment| segment.base() <= at).expect("a record's segment");
            let offset = at.0 - segment.base().0;
            Err(StoreError::Damaged { file: segment.path().to_path_buf(), offset, reason })
        };
        if record.queue_id.0 >= FOREIGN_QUEUES_MAX {
            return refuse(format!("queue {} of topic '{}' is no queue", record.queue_id, record.topic()));
        }
        let count = match message_batch::inner_count(record) {
            Ok(count) => count as u64,
            Err(error) => return refuse(error.to_string()),
        };
        self.in_batches |= record.sys_flag & sys_flag::INNER_BATCH != 0;
        let (first, end) = (record.queue_offset, QueueOffset(record.queue_offset.0 + count));
        match self.queues.get_mut(&record.queue_id) {
            Some(span) if span.end == first => *span = QueueSpan { end, last: at, ..*span },
            Some(span) if span.end < first => {
                let (queue, topic, next) = (record.queue_id, record.topic(), span.end);
                return refuse(format!(
                    "queue {queue} of topic '{topic}' has no message {next}, but {first} behind it"
                ));
            }
            known => {
                // The offsets go back: the topic was deleted and made again.
                if known.is_some() {
                    self.incarnation = Incarnation(at.0);
                    self.queues.clear();
                }
                if self.queues.is_empty() {
                    self.first = at;
                }
                self.queues.insert(record.queue_id, QueueSpan { first, end, last: at });
            }
        }
        Ok(())
    }
}

/// Behind the end may lie what a crash tore, and what earlier crashes left. A record that was stored after the last good
/// one and not after the time up to which Apache's checkpoint says that all is synced was cut off by damage.
fn refuse_damage(
    log: &UncheckedLog,
    files: &dyn Files,
    data_dir: &Path,
    end: CommitLogOffset,
    last_stored: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    let checkpoint = files.read(&data_dir.join("checkpoint")).unwrap_or_default();
    let synced = checkpoint.first_chunk().map_or(Timestamp(0), |bytes| Timestamp(i64::from_be_bytes(*bytes)));
    let mut at = end;
    while let Some(record) = log.find_record(at, PropertyCrc::Optional) {
        if (last_stored..=synced).contains(&record.store_timestamp) {
            return Err(damaged(log, end, record.commit_log_offset, reason.to_string()));
        }
        at = end_of(&record);
    }
    Ok(())
}

/// The files of one consume queue as they lie there, whatever their length.
struct QueueFiles<'a> {
    files: &'a dyn Files,
    dir: &'a Path,
    /// First unit and count of units of each file.
    spans: Vec<(u64, u64)>,
}

impl<'a> QueueFiles<'a> {
    fn open(files: &'a dyn Files, dir: &'a Path) -> std::io::Result<QueueFiles<'a>> {
        let unit = UNIT_BYTES as u64;
        let span = |file: &Listed| {
            let start = crate::store::segment::parse_file_name(&file.name)?;
            (start.is_multiple_of(unit)).then_some((start / unit, file.len / unit))
        };
        Ok(QueueFiles { files, dir, spans: files.list(dir)?.iter().filter_map(span).collect() })
    }

    /// The first unit that somebody wrote for a message.
    fn first(&self) -> std::io::Result<Option<QueueEntry>> {
        for span in &self.spans {
            let mut found = None;
            self.walk(*span, |_, entry| {
                let is_filler = entry.commit_log_offset.0 == 0 && entry.record_len == i32::MAX.unsigned_abs();
                found = (!is_filler).then_some(entry);
                is_filler
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Behind the last unit, if that one's record is gone from the log; `None` if there is no unit.
    fn end_below(&self, log_min: CommitLogOffset) -> std::io::Result<Option<QueueOffset>> {
        for span in self.spans.iter().rev() {
            let mut end = None;
            self.walk(*span, |at, entry| {
                let below = entry.commit_log_offset < log_min;
                if below {
                    end = Some(QueueOffset(at + 1));
                }
                below
            })?;
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    /// The units of one file in order, until one that nobody wrote, or until `each` has enough.
    fn walk(&self, (first, count): (u64, u64), mut each: impl FnMut(u64, QueueEntry) -> bool) -> std::io::Result<()> {
        let unit = UNIT_BYTES as u64;
        let path = self.dir.join(crate::store::segment::file_name(first * unit));
        if count == 0 {
            return Ok(());
        }
        let file = self.files.data_file(&path, count * unit)?;
        let mut units = vec![0; (UNITS_AT_ONCE.min(count) * unit) as usize];
        let mut at = 0;
        while at < count {
            let units = &mut units[..((count - at).min(UNITS_AT_ONCE) * unit) as usize];
            file.read_at(at * unit, units)?;
            for unit in units.chunks_exact(UNIT_BYTES) {
                match QueueEntry::decode(unit) {
                    Some(entry) if each(first + at, entry) => at += 1,
                    _ => return Ok(()),
                }
            }
        }
        Ok(())
    }
}
