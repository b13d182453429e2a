//! Is everything in a data directory what it should be? One pass over the log, everything else is compared on the way.
//!
//! What is derived from the log is believed as far as the store itself would believe it at its next start: entries that
//! it would make anew are no problem, and are counted in a note. Everything else that disagrees with the log is one.
//!
//! Memory: about 300 bytes for each queue that has a directory or a record, 2.6 MB for entries that wait to be compared
//! with the queues, 20 MB for the slots of one index file, and the windows that files are read through. It does not grow
//! with the log.

mod index;
mod queues;

use std::path::{Path, PathBuf};

use crate::message::{StoredMessage, property, sys_flag};
use crate::names::STATE_TOPIC;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::receipt_handle::HandleKeys;
use crate::state::record::{self as state_record, Entry};
use crate::store::config_json;
use crate::store::identity::{self, ABORT_OF_OURS, Exported};
use crate::store::index_file::{IndexLayout, TopicHash};
use crate::store::message_batch;
use crate::store::offline::log::{Behind, Found, Reason, end_of};
use crate::store::offline::report::{
    IndexReport, LogReport, Problem, QueuesReport, Report, StateReport, Stopped, WrittenBy, remedy,
};
use crate::store::offline::source::ReadFiles;
use crate::store::offline::{
    CheckpointFound, DerivedEndsFound, OfflineError, OfflineStore, SMALL_FILE_BYTES_MAX, stamp_of,
};
use crate::store::snapshots::SnapshotHead;
use index::IndexCheck;
use queues::{QueueCheck, Queued, TopicNumber};

/// Places where the log is damaged, looked behind: with more of them it is no log any more.
const DAMAGED_PLACES_MAX: usize = 10_000;
/// Between two reports of progress lie so many bytes at least.
const PROGRESS_BYTES: u64 = 64 << 20;
/// RocketMQ's topic of delayed messages, whose entries hold a time in the place of a tag's hash.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// A broker may have the store open: only what was written before is looked at.
    pub live: bool,
    pub index_layout: IndexLayout,
}

/// How much of the log has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub read_bytes: u64,
    pub total_bytes: u64,
}

pub fn verify(
    files: &dyn ReadFiles,
    dir: &Path,
    options: VerifyOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, OfflineError> {
    let store = OfflineStore::open(files, dir, options.live)?;
    let mut report = Report {
        directory: dir.to_string_lossy().into_owned(),
        written_by: store.written_by,
        stopped: store.stopped,
        commit_log: LogReport::default(),
        consume_queues: QueuesReport::default(),
        index: IndexReport::default(),
        state: StateReport::default(),
        problems_found: 0,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    check_small_files(&store, &mut report);
    let queues = QueueCheck::open(&store, &mut report)?;
    let index = IndexCheck::open(&store, options.index_layout, &mut report)?;
    let mut pass = Pass {
        store,
        report,
        queues,
        index,
        watermark: None,
        damaged: Vec::new(),
        last_stored: None,
        last_boot: None,
        hashes: Vec::new(),
    };
    let end = pass.read_log(progress);
    pass.finish(end);
    Ok(pass.report)
}

/// The pass over the log, with everything that is compared on the way.
struct Pass<'a> {
    store: OfflineStore<'a>,
    report: Report,
    queues: QueueCheck,
    index: IndexCheck,
    /// Everything below was on the disk once. Found out at the first bad place, for it takes a look at all the rest.
    watermark: Option<CommitLogOffset>,
    /// Stretches of the log that were passed over.
    damaged: Vec<std::ops::Range<u64>>,
    last_stored: Option<i64>,
    last_boot: Option<u64>,
    /// Of the keys of one record; kept for its memory.
    hashes: Vec<i32>,
}

impl Pass<'_> {
    /// Reads every record; answers where the log ends.
    fn read_log(&mut self, progress: &mut dyn FnMut(Progress)) -> CommitLogOffset {
        self.check_segments();
        let total_bytes = self.store.log.data_bytes();
        let mut told = 0;
        let mut at = self.store.log.min();
        self.report.commit_log.min_offset = at.0;
        let end = loop {
            let read_bytes = self.store.log.read_bytes();
            if read_bytes >= told + PROGRESS_BYTES {
                told = read_bytes;
                progress(Progress { read_bytes, total_bytes });
            }
            match self.store.log.look(at) {
                Found::Record(message) => {
                    self.take(&message);
                    at = end_of(&message);
                }
                Found::Blank { next } => {
                    self.report.commit_log.blanks += 1;
                    at = CommitLogOffset(next);
                }
                Found::Nothing(reason) => match self.behind_bad_place(at, &reason) {
                    Some(next) => at = next,
                    None => break at,
                },
            }
        };
        self.report.commit_log.end_offset = end.0;
        self.report.commit_log.last_stored_ms = self.last_stored;
        end
    }

    fn check_segments(&mut self) {
        let segments = self.store.log.segments();
        self.report.commit_log.segments = segments.len() as u64;
        let segment_bytes = match &self.store.identity {
            Some(Ok(identity)) => identity.segment_bytes,
            _ => segments.first().map_or(0, |segment| segment.len),
        };
        let last = segments.len().saturating_sub(1);
        let mut before: Option<u64> = None;
        for (index, segment) in segments.iter().enumerate() {
            if segment.len == 0 && index == last {
                self.report.note(format!("{} is empty: it was being made", segment.path.display()));
            } else if segment.len != segment_bytes {
                let reason = format!("it has {} bytes, a segment of this store has {segment_bytes}", segment.len);
                self.report.problem(Problem::new(&segment.path, segment.len.min(segment_bytes), reason, remedy::LOG));
            }
            if let Some(end) = before
                && end != segment.base
            {
                let reason = format!(
                    "the segment before it ends at {end}: {} bytes are missing",
                    segment.base.wrapping_sub(end)
                );
                self.report.problem(Problem::new(&segment.path, 0, reason, remedy::LOG));
            }
            before = Some(segment.base + segment.len);
        }
        for stranger in &self.store.strangers {
            self.report.note(format!("{} is no segment: RocketMQ does not open a store with it", stranger.display()));
        }
    }

    /// No record begins at `at`: the end of the log, or damage. Behind damage the pass goes on at the next record.
    fn behind_bad_place(&mut self, at: CommitLogOffset, reason: &Reason) -> Option<CommitLogOffset> {
        let watermark = match self.watermark {
            Some(watermark) => watermark,
            None => {
                let behind = self.store.log.behind(at, stamp_of);
                let watermark = self.watermark_of(&behind).max(self.store.log.min());
                self.watermark = Some(watermark);
                watermark
            }
        };
        if at >= watermark {
            self.judge_end(at, reason);
            return None;
        }
        let (file, offset) = self.store.log.place(at);
        let reason = format!("{reason}, though everything below {watermark} was synced once (log offset {at})");
        self.report.problem(Problem::new(&file, offset, reason, remedy::LOG));
        let next = self.store.log.find_record(CommitLogOffset(at.0 + 1), |_| {})?;
        if self.damaged.len() >= DAMAGED_PLACES_MAX {
            self.report.note("the log is damaged at too many places: the rest of it was not read");
            return None;
        }
        self.damaged.push(at.0..next.commit_log_offset.0);
        self.queues.begin_gap();
        Some(next.commit_log_offset)
    }

    /// The highest offset below which everything is known to have been on the disk.
    fn watermark_of(&self, behind: &Behind) -> CommitLogOffset {
        match (self.store.written_by, self.store.checkpoint) {
            (WrittenBy::Gantry, checkpoint) => {
                let checkpoint = match checkpoint {
                    CheckpointFound::Gantry(checkpoint) => checkpoint.synced_offset,
                    _ => CommitLogOffset(0),
                };
                let heads = self.store.snapshots.iter().filter_map(|(_, head)| head.as_ref().ok());
                let snapshot = heads.map(|head| head.reflects_below).max();
                checkpoint.max(behind.stamp.unwrap_or_default()).max(snapshot.unwrap_or_default())
            }
            // RocketMQ notes times: a record that follows the last good one in time and is older than its checkpoint was
            // flushed. Its tails are not zeroed, so an older one may be left over from before.
            (WrittenBy::RocketMq, CheckpointFound::Other { log, .. }) => {
                match (behind.stored_ms, behind.first_record) {
                    (Some((first, _)), Some(record))
                        if self.last_stored.is_none_or(|last| first >= last) && first <= log.0 =>
                    {
                        CommitLogOffset(record.0 + 1)
                    }
                    _ => CommitLogOffset(0),
                }
            }
            (WrittenBy::RocketMq, _) => CommitLogOffset(0),
        }
    }

    /// The log ends here. Behind it there should be zeros, and after a kill there need not be.
    fn judge_end(&mut self, end: CommitLogOffset, reason: &Reason) {
        let behind = self.store.log.behind(end, stamp_of);
        let (file, offset) = self.store.log.place(end);
        let torn = !reason.is_empty() || behind.first_byte.is_some();
        let records = match behind.records {
            0 => String::new(),
            count => format!("; {count} whole records lie behind it, none of them ever known to be safe"),
        };
        match (self.store.stopped, self.store.written_by) {
            (_, _) if !torn => {}
            (Stopped::Running, _) => {
                self.report.note(format!("read up to log offset {end}: a broker is writing there"))
            }
            (Stopped::Cleanly, WrittenBy::Gantry) => {
                let what =
                    format!("the log ends here after a clean stop, and there are bytes behind it: {reason}{records}");
                self.report.problem(Problem::new(&file, offset, what, remedy::LOG_CUT));
            }
            (_, _) => {
                let what = format!("a torn tail at byte {offset} of {}: {reason}{records}", file.display());
                self.report.note(format!("{what}; fine after a kill, the next start cuts it off"));
            }
        }
        if let (Stopped::Cleanly, CheckpointFound::Gantry(checkpoint)) = (self.store.stopped, self.store.checkpoint)
            && checkpoint.synced_offset != end
        {
            let synced = checkpoint.synced_offset;
            self.report
                .note(format!("the log ends at {end}, the last clean stop was at {synced}: somebody else has written"));
        }
    }

    /// One record of the log.
    fn take(&mut self, message: &StoredMessage) {
        let log = &mut self.report.commit_log;
        let stored = message.store_timestamp.0;
        log.records += 1;
        log.bytes += u64::from(message.record_len);
        log.first_stored_ms = log.first_stored_ms.or(Some(stored));
        if let Some(before) = self.last_stored.filter(|before| *before > stored) {
            let (file, offset) = self.store.log.place(message.commit_log_offset);
            let what = format!("a record was stored at {stored}, the one before it at {before}");
            match self.store.written_by {
                WrittenBy::Gantry if message.commit_log_offset >= self.store.foreign_end => {
                    self.report.problem(Problem::new(&file, offset, what, remedy::LOG))
                }
                _ => self.report.note(format!("{}, byte {offset}: {what}: a clock was set back", file.display())),
            }
        }
        self.last_stored = self.last_stored.max(Some(stored));
        let is_state = message.topic() == STATE_TOPIC && self.store.written_by == WrittenBy::Gantry;
        if is_state {
            self.take_state(message);
        }

        let transaction = message.sys_flag & sys_flag::TRANSACTION_MASK;
        let topic = self.queues.topic(message.topic());
        let key_prefix: TopicHash = self.queues.key_prefix(topic);
        self.hashes.clear();
        let mut tag = 0;
        let mut timed = false;
        let ours = self.store.written_by == WrittenBy::Gantry;
        let is_batch = message.sys_flag & sys_flag::INNER_BATCH != 0;
        let mut counts_inner = false;
        let (mut dispatched_to, mut dispatched_at) = ("", "");
        for (name, value) in message.properties() {
            match name {
                property::TAGS => tag = crate::delivery::filter::tag_hash(value),
                property::UNIQUE_KEY => self.hashes.push(key_prefix.key(value).0),
                property::KEYS => {
                    let words = value.split(' ').filter(|word| !word.is_empty());
                    self.hashes.extend(words.map(|word| key_prefix.key(word).0));
                }
                "DELAY" => timed = true,
                property::INNER_NUM => counts_inner = true,
                "INNER_MULTI_DISPATCH" => dispatched_to = value,
                "INNER_MULTI_QUEUE_OFFSET" => dispatched_at = value,
                _ => {}
            }
        }
        // Where Gantry has made queues and index, each message of a batch has its own entries.
        let inner = (is_batch && ours).then(|| message_batch::explode(message.clone()).unwrap_or_default());
        if let Some(inner) = &inner {
            self.hashes.clear();
            for message in inner {
                let keys = message.unique_key().into_iter().chain(message.keys());
                self.hashes.extend(keys.map(|key| key_prefix.key(key).0));
            }
        }
        if transaction != sys_flag::TRANSACTION_ROLLBACK && !self.hashes.is_empty() {
            self.hashes.sort_unstable();
            let alive = self.queues.topic_state(topic);
            self.index.take(&mut self.report, &self.damaged, alive, message.commit_log_offset, &self.hashes);
        }
        if !sys_flag::is_queued(message.sys_flag) {
            return;
        }
        match inner {
            Some(inner) if !inner.is_empty() => return self.take_inner(topic, &inner),
            // The queue ends before what cannot be taken apart; and RocketMQ has files of another layout for batches.
            _ if is_batch || (counts_inner && !ours) => return self.queues.set_unchecked(topic, &mut self.report),
            _ => {}
        }
        let tag_hash = (!(timed && message.topic() == SCHEDULE_TOPIC)).then_some(tag);
        let queued = Queued {
            at: message.queue_offset,
            commit_log_offset: message.commit_log_offset,
            record_len: message.record_len,
            inner: 0,
            tag_hash,
            stored_ms: stored,
        };
        self.queues.take(&self.store, &mut self.report, topic, message.queue_id, &queued);
        // Light queues get an entry for the same record.
        for (name, at) in dispatched_to.split(',').zip(dispatched_at.split(',')) {
            if let Ok(at) = at.parse() {
                let light = self.queues.topic(name);
                let queued = Queued { at: QueueOffset(at), ..queued };
                self.queues.take(&self.store, &mut self.report, light, crate::offset::QueueId(0), &queued);
            }
        }
    }

    /// The messages of one batch, of which each has a queue offset of its own.
    fn take_inner(&mut self, topic: TopicNumber, messages: &[StoredMessage]) {
        for (inner, message) in (0..).zip(messages) {
            let queued = Queued {
                at: message.queue_offset,
                commit_log_offset: message.commit_log_offset,
                record_len: message.record_len,
                inner,
                tag_hash: Some(message.tag().map_or(0, crate::delivery::filter::tag_hash)),
                stored_ms: message.store_timestamp.0,
            };
            self.queues.take(&self.store, &mut self.report, topic, message.queue_id, &queued);
        }
    }

    /// What the broker has written down about itself.
    fn take_state(&mut self, message: &StoredMessage) {
        self.report.state.records += 1;
        let entries = match state_record::decode(&message.body) {
            Ok(entries) => entries,
            Err(error) => {
                let (file, offset) = self.store.log.place(message.commit_log_offset);
                self.report.problem(Problem::new(&file, offset, error.to_string(), remedy::STATE));
                return;
            }
        };
        self.report.state.entries += entries.len() as u64;
        for entry in &entries {
            match entry {
                Entry::PutTopic { topic_id, version, config } => {
                    let name = config.topic.as_str();
                    self.queues.topic_put(&self.store, &mut self.report, *topic_id, *version, name);
                }
                Entry::AdoptTopic { topic_id, config, .. } => {
                    self.queues.topic_adopted(*topic_id, config.topic.as_str())
                }
                Entry::DeleteTopic { topic_id } => self.queues.topic_deleted(&self.store, &mut self.report, *topic_id),
                Entry::Boot { boot } => {
                    if self.last_boot.is_some_and(|last| last >= *boot) {
                        let (file, offset) = self.store.log.place(message.commit_log_offset);
                        let what = format!("boot {boot} comes after boot {}", self.last_boot.unwrap_or_default());
                        self.report.problem(Problem::new(&file, offset, what, remedy::LOG));
                    }
                    self.last_boot = Some(*boot);
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self, end: CommitLogOffset) {
        self.report.state.boot = self.last_boot;
        if let (Some(Ok(identity)), Some(boot)) = (&self.store.identity, self.last_boot)
            && identity.boot < boot
        {
            let what = format!("it counts {} starts, the log knows of {boot}", identity.boot);
            self.report.problem(Problem::new(&identity::path(&self.store.dir), 0, what, remedy::IDENTITY));
        }
        self.queues.finish(&self.store, &mut self.report, end, &self.damaged);
        self.index.finish(&mut self.report, &self.damaged, end, self.queues.topic_states());
    }
}

/// Files that are read whole: can they be?
fn check_small_files(store: &OfflineStore<'_>, report: &mut Report) {
    let ours = store.written_by == WrittenBy::Gantry;
    match &store.identity {
        Some(Err(reason)) => {
            let file = identity::path(&store.dir);
            report.problem(Problem::new(&file, 0, reason, remedy::IDENTITY));
        }
        Some(Ok(identity)) => {
            let is_id = |id: &str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !(is_id(&identity.incarnation) && is_id(&identity.log_id)) {
                let file = identity::path(&store.dir);
                report.problem(Problem::new(&file, 0, "one of its ids is none", remedy::IDENTITY));
            }
        }
        None => {}
    }
    if !store.taken_over {
        report.note("somebody else has written since Gantry's last clean stop: the next start takes that over");
    }
    check_config(store, report);
    let path = store.dir.join("checkpoint");
    match store.checkpoint {
        CheckpointFound::Gantry(_) => {}
        CheckpointFound::Missing | CheckpointFound::Blank if store.stopped != Stopped::Cleanly => {}
        CheckpointFound::Missing if !ours => report.note("there is no checkpoint"),
        CheckpointFound::Other { .. } if !ours => {}
        // Killed before ours replaced the one of a store that was taken over.
        CheckpointFound::Other { .. } if store.stopped != Stopped::Cleanly && has_no_ends_yet(store) => {}
        CheckpointFound::Missing => {
            report.problem(Problem::new(
                &path,
                0,
                "a clean stop leaves a checkpoint, and there is none",
                remedy::CHECKPOINT,
            ));
        }
        CheckpointFound::Blank | CheckpointFound::Unreadable | CheckpointFound::Other { .. } => {
            report.problem(Problem::new(&path, 0, "it is not what was written there", remedy::CHECKPOINT));
        }
    }
    let path = crate::store::checkpoint::path(&store.dir);
    match &store.derived_ends {
        DerivedEndsFound::Unreadable => {
            report.problem(Problem::new(&path, 0, "its checksum is not that of its text", remedy::QUEUE_ENDS));
        }
        DerivedEndsFound::Missing if ours && store.stopped == Stopped::Cleanly => {
            let what = "a clean stop leaves it, and there is none";
            report.problem(Problem::new(&path, 0, what, remedy::QUEUE_ENDS));
        }
        DerivedEndsFound::Missing | DerivedEndsFound::Found(_) => {}
    }
    let min = store.log.min();
    for (path, head) in &store.snapshots {
        if let Err(reason) = head {
            report.problem(Problem::new(path, 0, reason, remedy::SNAPSHOT));
        }
    }
    let is_usable = |head: &Result<SnapshotHead, String>| head.as_ref().is_ok_and(|head| head.replay_from >= min);
    if ours && min.0 > 0 && !store.snapshots.iter().any(|(_, head)| is_usable(head)) {
        let what = format!("no snapshot of the state can be used, and the log begins at {min}");
        report.problem(Problem::new(&store.dir.join("gantry"), 0, what, remedy::STATE_LOST));
    }
    if ours {
        let path = store.dir.join("gantry/handle-keys");
        match read(store, &path) {
            Ok(Some(bytes)) if HandleKeys::from_bytes(&bytes).is_none() => {
                report.problem(Problem::new(&path, 0, "it holds no keys", remedy::HANDLE_KEYS));
            }
            Ok(_) => {}
            Err(reason) => report.problem(Problem::new(&path, 0, reason, remedy::HANDLE_KEYS)),
        }
        let path = store.dir.join("abort");
        let is_process = |text: &[u8]| {
            let number = text.strip_suffix(ABORT_OF_OURS).unwrap_or(text);
            // Empty: a power cut came before its text was on the disk. That it is there is what counts.
            number.iter().all(u8::is_ascii_digit)
        };
        match read(store, &path) {
            Ok(Some(bytes)) if !is_process(&bytes) => {
                report.problem(Problem::new(&path, 0, "it does not hold the number of a process", remedy::ABORT));
            }
            Ok(_) => {}
            Err(reason) => report.problem(Problem::new(&path, 0, reason, remedy::ABORT)),
        }
    }
}

/// A store of somebody else's that was opened, and about which nothing has been written down since.
fn has_no_ends_yet(store: &OfflineStore<'_>) -> bool {
    store.foreign_end.0 > 0 && matches!(store.derived_ends, DerivedEndsFound::Missing)
}

/// RocketMQ's tables: can they be read, and are those that a clean stop of ours left still the same?
fn check_config(store: &OfflineStore<'_>, report: &mut Report) {
    let dir = store.dir.join("config");
    let listed = match store.files.read_dir(&dir) {
        Ok(listed) => listed,
        Err(error) => {
            return report.problem(Problem::new(&dir, 0, format!("it cannot be read: {error}"), remedy::CONFIG));
        }
    };
    for listed in listed {
        let path = dir.join(&listed.name);
        if listed.is_dir || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match read(store, &path) {
            Ok(Some(bytes)) => {
                if let Err(error) = config_json::parse(&bytes) {
                    report.problem(Problem::new(&path, error.at as u64, error.reason, remedy::CONFIG));
                }
            }
            Ok(None) => {}
            Err(reason) => report.problem(Problem::new(&path, 0, reason, remedy::CONFIG)),
        }
    }
    let Some(Ok(identity)) = &store.identity else { return };
    for (name, exported) in identity.stopped.iter().flat_map(|stopped| &stopped.exported) {
        let found = read(store, &dir.join(name)).ok().flatten().map(|bytes| Exported::of(name, &bytes));
        match found {
            Some(found) if found.sha256 == exported.sha256 => {}
            Some(found) if exported.is_followed_by(&found) => report.note(format!(
                "config/{name} is a later version of what Gantry's last clean stop wrote: the next start takes it over"
            )),
            _ => report.note(format!(
                "config/{name} is not what Gantry's last clean stop wrote, and no later version of it: it is not read, \
                 the next clean stop writes it anew"
            )),
        }
    }
}

fn read(store: &OfflineStore<'_>, path: &Path) -> Result<Option<Vec<u8>>, String> {
    match store.files.read_small(path, SMALL_FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

/// Does this offset of the log lie in a stretch that was passed over?
fn is_damaged(damaged: &[std::ops::Range<u64>], at: u64) -> bool {
    damaged
        .partition_point(|stretch| stretch.start <= at)
        .checked_sub(1)
        .is_some_and(|index| damaged[index].contains(&at))
}

fn io_error(path: &Path, source: std::io::Error) -> OfflineError {
    OfflineError::Io { context: path.display().to_string(), source }
}

/// What is wrong with many entries of one file or directory, told once.
#[derive(Debug, Default)]
struct Fault {
    count: u64,
    first: Option<(PathBuf, u64, String)>,
}

impl Fault {
    fn add(&mut self, what: impl FnOnce() -> (PathBuf, u64, String)) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(what());
        }
    }

    fn tell(&mut self, report: &mut Report, remedy: &'static str) {
        if let Some((file, offset, mut reason)) = self.first.take() {
            if self.count > 1 {
                reason.push_str(&format!("; and {} more like this", self.count - 1));
            }
            report.problem(Problem::new(&file, offset, reason, remedy));
        }
        self.count = 0;
    }
}
