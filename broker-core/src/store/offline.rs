//! A store read by somebody who must not change it: `gantry store verify` and `gantry store dump`.
//!
//! It reads what Gantry and what RocketMQ 4.x and 5.x wrote, whole or damaged, and believes nothing. No file is made,
//! opened for writing or mapped; the one thing it takes is a share of the directory's lock, so that no broker starts
//! meanwhile. Nothing here is used by a running store.

pub mod index;
pub mod log;
pub mod queues;
pub mod report;
pub mod source;
#[cfg(test)]
mod tests;
pub mod verify;

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::message::StoredMessage;
use crate::names::STATE_TOPIC;
use crate::offset::CommitLogOffset;
use crate::state::record::{Entry, synced_stamp};
use crate::state::snapshot::Snapshot;
use crate::store::checkpoint::{self, CHECKPOINT_BYTES, Checkpoint, DerivedEnds};
use crate::store::commit_log::COMMIT_LOG_DIR;
use crate::store::identity::{self, Identity};
use crate::store::offline::log::{Found, OfflineLog};
use crate::store::offline::report::{Stopped, WrittenBy};
use crate::store::offline::source::{ReadFiles, Share};
use crate::store::record::PropertyCrc;
use crate::store::snapshots::{self, SnapshotHead, Unreadable};

/// Longest file that is read whole: `queue-ends` of some million queues, or a snapshot of as many leases.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error("{} holds no store: neither commitlog/ nor gantry/store.json", path.display())]
    NoStore { path: PathBuf },
    #[error("{} is in use by a running broker: stop it, or say --live to read what was written so far", path.display())]
    InUse { path: PathBuf },
    #[error("{context}: {source}")]
    Io { context: String, source: io::Error },
}

/// A data directory, opened for reading.
pub struct OfflineStore<'a> {
    pub files: &'a dyn ReadFiles,
    pub dir: PathBuf,
    pub written_by: WrittenBy,
    pub stopped: Stopped,
    pub log: OfflineLog,
    /// What `gantry/store.json` says, or why it cannot be read.
    pub identity: Option<Result<Identity, String>>,
    pub checkpoint: CheckpointFound,
    pub derived_ends: DerivedEndsFound,
    /// Snapshots of the state, oldest first, each with its head or the reason why it is none.
    pub snapshots: Vec<(PathBuf, Result<SnapshotHead, String>)>,
    /// The topics that they name, by id; `None` if none of them can be used.
    pub snapshot_topics: Option<HashMap<u32, String>>,
    /// Records below may be somebody else's.
    pub foreign_end: CommitLogOffset,
    /// Nobody else has written since our last clean stop.
    pub taken_over: bool,
    /// Files in `commitlog/` that are no segments.
    pub strangers: Vec<PathBuf>,
    _share: Option<Box<dyn Any + Send>>,
}

/// What the file `checkpoint` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointFound {
    Missing,
    /// All zeros, or without its length yet: made, and never written.
    Blank,
    Gantry(Checkpoint),
    /// RocketMQ's, or not whole: only the times can be told.
    Other {
        log: Timestamp,
        queues: Timestamp,
        index: Timestamp,
    },
    Unreadable,
}

/// What the file `gantry/queue-ends` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivedEndsFound {
    Missing,
    Unreadable,
    Found(DerivedEnds),
}

impl<'a> OfflineStore<'a> {
    /// Opens a directory. While a broker has it, only with `live`.
    pub fn open(files: &'a dyn ReadFiles, dir: &Path, live: bool) -> Result<OfflineStore<'a>, OfflineError> {
        let io = |path: &Path| {
            let context = path.display().to_string();
            move |source: io::Error| OfflineError::Io { context, source }
        };
        let listed = files.read_dir(dir).map_err(io(dir))?;
        let has = |name: &str| listed.iter().any(|listed| listed.name == name);
        let in_gantry = files.read_dir(&dir.join("gantry")).map_err(io(&dir.join("gantry")))?;
        let is_ours = in_gantry.iter().any(|listed| listed.name == "store.json");
        if !(has(COMMIT_LOG_DIR) || is_ours) {
            return Err(OfflineError::NoStore { path: dir.to_path_buf() });
        }
        let lock = dir.join("lock");
        let share = match files.share_lock(&lock).map_err(io(&lock))? {
            Share::Held(share) => Some(share),
            Share::NoFile => None,
            Share::InUse if live => None,
            Share::InUse => return Err(OfflineError::InUse { path: dir.to_path_buf() }),
        };
        let running = share.is_none() && has("lock");
        let stopped = match (running, has("abort")) {
            (true, _) => Stopped::Running,
            (false, true) => Stopped::Not,
            (false, false) => Stopped::Cleanly,
        };
        // What says how far the others go is read before them: while a broker writes, they only grow.
        let checkpoint = checkpoint_of(files, &dir.join("checkpoint"));
        let derived_ends = match files.read_small(&checkpoint::path(dir), SMALL_FILE_BYTES_MAX) {
            Ok(bytes) => match DerivedEnds::decode(&bytes) {
                Some(ends) => DerivedEndsFound::Found(ends),
                None => DerivedEndsFound::Unreadable,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => DerivedEndsFound::Missing,
            Err(_) => DerivedEndsFound::Unreadable,
        };
        let identity_path = identity::path(dir);
        let identity = is_ours.then(|| {
            let bytes = files.read_small(&identity_path, SMALL_FILE_BYTES_MAX).map_err(|error| error.to_string())?;
            Identity::decode(&bytes, identity_path.clone()).map_err(|error| error.to_string())
        });
        let log_id = match &identity {
            Some(Ok(identity)) => u128::from_str_radix(&identity.log_id, 16).ok(),
            _ => None,
        };
        let names =
            in_gantry.iter().filter_map(|listed| Some((snapshots::replay_from_of(&listed.name)?, &listed.name)));
        let mut snapshot_topics: Option<HashMap<u32, String>> = None;
        let snapshots = names
            .map(|(replay_from, name)| {
                let path = dir.join("gantry").join(name);
                let head = snapshot(files, &path, replay_from, log_id).map(|(head, snapshot)| {
                    snapshot_topics.get_or_insert_default().extend(topics_of(&snapshot));
                    head
                });
                (path, head)
            })
            .collect();
        let (written_by, property_crc) = match is_ours {
            true => (WrittenBy::Gantry, PropertyCrc::Required),
            false => (WrittenBy::RocketMq, PropertyCrc::Optional),
        };
        let mut strangers = Vec::new();
        let mut log =
            OfflineLog::open(files, dir, property_crc, &mut strangers).map_err(io(&dir.join(COMMIT_LOG_DIR)))?;
        // Who finds a record where we stopped reads what somebody else wrote since: nobody has taken it over yet.
        let stopped_at = match &identity {
            Some(Ok(identity)) => identity.stopped.as_ref().map(|stopped| stopped.end),
            _ => None,
        };
        let foreign_end = match &identity {
            Some(Ok(identity)) => identity.foreign_end,
            _ => CommitLogOffset(0),
        };
        log.set_foreign_end(CommitLogOffset(u64::MAX));
        // An `abort` beside our word for a clean stop is somebody else's, unless it says that it is ours.
        let abort = files.read_small(&dir.join("abort"), SMALL_FILE_BYTES_MAX);
        let other_abort = abort.is_ok_and(|text| !text.ends_with(identity::ABORT_OF_OURS));
        let wrote = |at| other_abort || matches!(log.look(at), Found::Record(_) | Found::Blank { .. });
        let taken_over = !stopped_at.is_some_and(wrote);
        let written_by = if taken_over { written_by } else { WrittenBy::RocketMq };
        if taken_over {
            log.set_foreign_end(foreign_end);
        }
        Ok(OfflineStore {
            files,
            dir: dir.to_path_buf(),
            written_by,
            stopped,
            log,
            identity,
            checkpoint,
            derived_ends,
            snapshots,
            snapshot_topics,
            foreign_end: if taken_over { foreign_end } else { CommitLogOffset(u64::MAX) },
            taken_over,
            strangers,
            _share: share,
        })
    }
}

fn snapshot(
    files: &dyn ReadFiles,
    path: &Path,
    replay_from: u64,
    log_id: Option<u128>,
) -> Result<(SnapshotHead, Snapshot), String> {
    let bytes = files.read_small(path, SMALL_FILE_BYTES_MAX).map_err(|error| format!("it cannot be read: {error}"))?;
    let log_id = log_id.ok_or("gantry/store.json does not say whose log this is")?;
    let found = snapshots::decode(&bytes, log_id).map_err(|unreadable| match unreadable {
        Unreadable::Damaged => "its checksum is not that of its bytes",
        Unreadable::OtherLog => "it is a snapshot of another log",
        Unreadable::Newer => "it was written by a newer Gantry",
    })?;
    if found.head.replay_from.0 != replay_from {
        return Err(format!("it says that it begins at log offset {}", found.head.replay_from));
    }
    let snapshot = Snapshot::decode(&found.body).map_err(|error| error.to_string())?;
    Ok((found.head, snapshot))
}

/// Ids and names.
fn topics_of(snapshot: &Snapshot) -> impl Iterator<Item = (u32, String)> {
    let entries = snapshot.tables.topics.iter().flat_map(|topic| &topic.entries);
    entries.filter_map(|entry| match entry {
        Entry::PutTopic { topic_id, config, .. } => Some((*topic_id, config.topic.to_string())),
        _ => None,
    })
}

fn checkpoint_of(files: &dyn ReadFiles, path: &Path) -> CheckpointFound {
    let bytes = match files.read_small(path, checkpoint::FILE_BYTES) {
        Ok(bytes) if bytes.is_empty() => return CheckpointFound::Blank,
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return CheckpointFound::Missing,
        Err(_) => return CheckpointFound::Unreadable,
    };
    let Some(head) = bytes.first_chunk::<CHECKPOINT_BYTES>().filter(|_| bytes.len() as u64 == checkpoint::FILE_BYTES)
    else {
        return CheckpointFound::Unreadable;
    };
    let long = |at: usize| Timestamp(i64::from_be_bytes(head[at..at + 8].try_into().expect("8 bytes")));
    match Checkpoint::decode(head) {
        Some(checkpoint) if bytes[CHECKPOINT_BYTES..].iter().all(|byte| *byte == 0) => {
            CheckpointFound::Gantry(checkpoint)
        }
        Some(_) => CheckpointFound::Unreadable,
        None if bytes.iter().all(|byte| *byte == 0) => CheckpointFound::Blank,
        None => CheckpointFound::Other { log: long(0), queues: long(8), index: long(16) },
    }
}

/// The synced offset that a state record of Gantry is stamped with.
pub fn stamp_of(message: &StoredMessage) -> Option<CommitLogOffset> {
    (message.topic() == STATE_TOPIC).then(|| synced_stamp(&message.body)).flatten()
}
