//! What a start makes of what the last stop, kill or power cut left behind.
//!
//! First the end of the log: the first place where no valid record begins, provided that nothing behind it was ever
//! known to be safe (rule A10). A torn tail is cut; damage below the watermark refuses the start. Then the derived
//! files: what they held when they were last synced is taken over, the rest is dispatched again.
//!
//! Invariant: all of it can be killed at any point and begun again with the same result (rule D10).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::message::StoredMessage;
use crate::names::TopicName;
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::store::checkpoint::{Checkpoint, DerivedEnds};
use crate::store::commit_log::{CommitLog, Inspected, UncheckedLog};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::quarantine;
use crate::store::record::{self, PropertyCrc, RecordError};

/// Queues that RocketMQ makes without a topic.
const LIGHT_QUEUE_PREFIX: &str = "%LMQ%";

/// So much of what was synced last, or a sixteenth of a smaller segment, is checked again by a start after a kill: where a
/// power cut met a drive that had not told the truth, it is here that something is missing.
const CHECKED_BYTES_MAX: u64 = 64 << 20;

/// Reads the synced offset that a state record was stamped with; `None` for any other record.
pub type StampOf = fn(&StoredMessage) -> Option<CommitLogOffset>;

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    pub end: CommitLogOffset,
    /// `storeTimestamp` of the last record.
    pub last_stored: Timestamp,
}

/// Finds the end of the log. After a clean stop it is where the checkpoint says; else what was appended last
/// is read and checked. `synced` is another file's word that the log was synced below.
pub fn find_end(
    log: &UncheckedLog,
    clean: bool,
    checkpoint: Option<Checkpoint>,
    synced: CommitLogOffset,
    foreign_end: CommitLogOffset,
    stamp_of: StampOf,
) -> Result<LogEnd, StoreError> {
    let crc = |at| if at < foreign_end { PropertyCrc::Optional } else { PropertyCrc::Required };
    let checkpoint_synced = checkpoint.map_or(CommitLogOffset(0), |checkpoint| checkpoint.synced_offset);
    let watermark = checkpoint_synced.max(synced).max(log.min());
    if watermark > log.max() {
        return Err(damaged(log, log.max(), watermark, "the segment is missing".into()));
    }
    if let Some(checkpoint) = checkpoint
        && clean
        && checkpoint.synced_offset == watermark
        && matches!(log.inspect(watermark, crc(watermark)), Inspected::Invalid(RecordError::Empty) | Inspected::Outside)
    {
        return Ok(LogEnd { end: watermark, last_stored: checkpoint.log_timestamp });
    }
    let mut last_stored = checkpoint.map_or(Timestamp(0), |checkpoint| checkpoint.log_timestamp);
    let mut at = pass_over(log, watermark, &mut last_stored);
    // Behind the last record: a segment that was closed, and no more, is open again.
    let mut end = at;
    let reason = loop {
        match log.inspect(at, crc(at)) {
            Inspected::Record(message) => {
                last_stored = message.store_timestamp;
                at = end_of(&message);
                end = at;
            }
            // The log was synced up to the middle of what nobody wrote.
            Inspected::Blank { next } if at < watermark && watermark < next => {
                return Err(damaged(log, at, watermark, "the segment is closed here".into()));
            }
            Inspected::Blank { next } => at = next,
            Inspected::Invalid(error) => break error.to_string(),
            Inspected::Outside => break "the segment is missing".into(),
        }
    };
    if at < watermark {
        return Err(damaged(log, at, watermark, reason));
    }
    let end = end.max(watermark);
    // Nothing at or behind this place may ever have been known to be on the disk: a later record would say so.
    let mut at = end;
    while let Some(message) = log.find_record(at, PropertyCrc::Required) {
        if let Some(stamp) = stamp_of(&message)
            && stamp > end
        {
            return Err(damaged(log, end, stamp, reason));
        }
        at = end_of(&message);
    }
    Ok(LogEnd { end, last_stored })
}

/// Goes from the start of the segment that holds the watermark to some way below it, as far as records stand one behind
/// the other, each in its own place, so that no other file passes for this one: what stops it is for the caller to judge.
/// Their checksums are left to those who read them, as in all segments before: to check a full segment took a second of
/// each start.
fn pass_over(log: &UncheckedLog, watermark: CommitLogOffset, last_stored: &mut Timestamp) -> CommitLogOffset {
    let Some(segment) = log.segments().iter().rfind(|segment| segment.base() <= watermark) else {
        return watermark;
    };
    let checked_bytes = CHECKED_BYTES_MAX.min(log.segment_bytes() / 16);
    let to = watermark.min(segment.end()).0.saturating_sub(checked_bytes).max(segment.base().0);
    let view = segment.read(segment.base(), (to - segment.base().0) as usize);
    let mut at = segment.base();
    for record in record::glances(&view, at) {
        *last_stored = record.store_timestamp;
        at = record.end();
    }
    at
}

pub(super) fn end_of(message: &StoredMessage) -> CommitLogOffset {
    CommitLogOffset(message.commit_log_offset.0 + u64::from(message.record_len))
}

pub(super) fn damaged(
    log: &UncheckedLog,
    at: CommitLogOffset,
    watermark: CommitLogOffset,
    reason: String,
) -> StoreError {
    let segment = log.segment_for(at);
    StoreError::Damaged {
        offset: at.0 - segment.0.0,
        file: segment.1,
        reason: format!("{reason}, though everything below {watermark} was synced once"),
    }
}

/// Takes over what the disk holds of a queue, or has it made anew. `data_dir` is for the quarantine.
pub struct QueueRecovery<'a> {
    pub files: &'a dyn Files,
    pub data_dir: &'a Path,
    pub log: &'a CommitLog,
    pub clean: bool,
    pub ends: &'a DerivedEnds,
}

impl QueueRecovery<'_> {
    pub fn recover(&self, queue: &ConsumeQueue) -> Result<(), StoreError> {
        let dispatched_below = CommitLogOffset(self.ends.dispatched_below);
        // What was dispatched last is gone from the log: all that the files hold went with it, and what lay between cannot be
        // dispatched again. The queue begins where the log says.
        let is_behind = dispatched_below < self.log.min();
        let known = self.ends.ends(queue.topic(), queue.incarnation(), queue.queue_id()).filter(|_| !is_behind);
        let holds = |at: QueueOffset, entry: &QueueEntry| {
            self.log.read(entry.commit_log_offset, entry.record_len).is_ok_and(|message| {
                message.topic() == queue.topic().as_str()
                    && message.queue_id == queue.queue_id()
                    && message.queue_offset.0 + u64::from(entry.inner) == at.0
                    && entry.end() <= dispatched_below
            })
        };
        let recovered = match known {
            Some(ends) if self.clean => queue.take_over(ends),
            Some(ends) => queue.recover(ends, holds),
            None => Ok(false),
        };
        match recovered {
            Ok(true) => {
                queue.set_missing_from(Some(dispatched_below.max(CommitLogOffset(queue.incarnation().0))));
                return Ok(());
            }
            Ok(false) if known.is_none() => {}
            Ok(false) => tracing::warn!(
                topic = %queue.topic(), queue_id = %queue.queue_id(),
                "the consume queue does not hold what it held: it is made anew from the log"
            ),
            Err(error) => tracing::warn!(
                topic = %queue.topic(), queue_id = %queue.queue_id(), %error,
                "the consume queue cannot be read: it is made anew from the log"
            ),
        }
        let beginning = CommitLogOffset(queue.incarnation().0);
        let ours = match queue.first_on_disk() {
            Ok(first) => first.is_none_or(|first| first.commit_log_offset >= beginning),
            Err(_) => false,
        };
        if !ours {
            let to = self.quarantine("consumequeue")?.join(queue.topic().as_str());
            self.io(&to, self.files.create_dir(&to))?;
            let to = to.join(queue.queue_id().to_string());
            self.io(&to, queue.set_aside(&to))?;
        }
        // A disk too full for this is no reason not to start: dispatch tries again.
        if beginning < self.log.foreign_end() {
            queue.begin_anywhere();
        }
        if let Err(error) = queue.rebuild(beginning, self.log.min()) {
            tracing::error!(topic = %queue.topic(), queue_id = %queue.queue_id(), %error, "a consume queue cannot be made anew");
        }
        Ok(())
    }

    /// Moves directories of queues that no topic has into quarantine.
    pub fn set_strangers_aside(&self, topics: &HashMap<TopicName, (Incarnation, u32)>) -> Result<(), StoreError> {
        let root = self.data_dir.join("consumequeue");
        let mut strangers: Vec<PathBuf> = Vec::new();
        for listed in self.io(&root, self.files.list(&root))? {
            let name = TopicName::from_store(listed.name.as_encoded_bytes()).ok();
            // The queues of light topics have no topic anywhere.
            if name.as_ref().is_some_and(|name| name.as_str().starts_with(LIGHT_QUEUE_PREFIX)) {
                continue;
            }
            let Some((_, queues)) = name.and_then(|name| topics.get(&name)) else {
                strangers.push(listed.name.into());
                continue;
            };
            let dir = root.join(&listed.name);
            for queue in self.io(&dir, self.files.list(&dir))? {
                let id =
                    queue.name.to_str().and_then(|name| name.parse::<u32>().ok().filter(|id| id.to_string() == name));
                if !(queue.is_dir && id.is_some_and(|id| id < *queues)) {
                    strangers.push(Path::new(&listed.name).join(queue.name));
                }
            }
        }
        if strangers.is_empty() {
            return Ok(());
        }
        let quarantine = self.quarantine("consumequeue")?;
        for stranger in strangers {
            let (from, to) = (root.join(&stranger), quarantine.join(&stranger));
            if let Some(parent) = to.parent() {
                self.io(parent, self.files.create_dir(parent))?;
            }
            self.io(&to, quarantine::move_away(self.files, &from, &to))?;
            tracing::warn!(from = %from.display(), to = %to.display(), "a consume queue of no topic went to quarantine");
        }
        Ok(())
    }

    /// Moves the whole index into quarantine, if there is one.
    pub fn set_index_aside(&self) -> Result<(), StoreError> {
        let dir = self.data_dir.join("index");
        if self.io(&dir, self.files.list(&dir))?.is_empty() {
            return Ok(());
        }
        let to = self.quarantine("index")?.join("index");
        self.io(&to, quarantine::move_away(self.files, &dir, &to))
    }

    /// A new directory in quarantine.
    fn quarantine(&self, what: &str) -> Result<PathBuf, StoreError> {
        let place = quarantine::free_place(self.files, self.data_dir, |number| format!("{what}.{}", number + 1));
        let dir = self.io(self.data_dir, place)?;
        self.io(&dir, self.files.create_dir(&dir))?;
        Ok(dir)
    }

    fn io<T>(&self, path: &Path, result: std::io::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::io(path.display().to_string(), &error))
    }
}

/// The state topic's one queue.
pub const STATE_QUEUE: QueueId = QueueId(0);
