//! A store that says `StateLost` at its start, held open for `recover_state`: what it still says, and the place for a new
//! snapshot. What the state is, others know.
//!
//! Until `put_snapshot` nothing is written but the lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::message::StoredMessage;
use crate::names::{STATE_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::store::checkpoint::{CHECKPOINT_BYTES, Checkpoint, DerivedEnds};
use crate::store::commit_log::{Inspected, UncheckedLog};
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::identity::{AbortFile, DirectoryLock, Identity};
use crate::store::record::PropertyCrc;
use crate::store::recovery::{self, STATE_QUEUE, StampOf};
use crate::store::snapshots::{self, SnapshotHead, Snapshots, Unreadable};

/// A store without a word of its state, which nobody else has open.
pub struct LostState {
    files: Arc<dyn Files>,
    data_dir: PathBuf,
    identity: Identity,
    log_id: u128,
    log: UncheckedLog,
    end: CommitLogOffset,
    ends: DerivedEnds,
    _lock: DirectoryLock,
}

/// What opening comes to.
pub enum Opened {
    Lost(Box<LostState>),
    /// A start needs no help, and why.
    NotLost(String),
}

impl LostState {
    pub fn open(files: Arc<dyn Files>, data_dir: &Path, stamp_of: StampOf) -> Result<Opened, StoreError> {
        let lock = DirectoryLock::take(&*files, data_dir)?;
        let Some(identity) = Identity::read(&*files, data_dir)? else {
            return Ok(Opened::NotLost("Gantry has never opened this store".into()));
        };
        let log_id = identity.log_number(data_dir)?;
        let log = UncheckedLog::open(files.clone(), data_dir, identity.segment_bytes)?;
        if log.min() <= identity.state_from {
            return Ok(Opened::NotLost(format!(
                "the log begins at {}: a start reads all of the state there",
                log.min()
            )));
        }
        let aborted = AbortFile::new(data_dir).read(&*files)?;
        if identity.find_foreign(&*files, data_dir, &log, aborted)?.is_some() {
            return Ok(Opened::NotLost("somebody else wrote here last: a start takes over what they left".into()));
        }
        if let Some(name) = usable_snapshot(&*files, data_dir, log_id, log.min())? {
            return Ok(Opened::NotLost(format!("gantry/{name} is whole: a start goes on from it")));
        }
        let io = |what: &str, error: &std::io::Error| StoreError::io(format!("reading {what}"), error);
        let checkpoint = match files.read(&data_dir.join("checkpoint")) {
            Ok(bytes) => bytes.first_chunk::<CHECKPOINT_BYTES>().and_then(Checkpoint::decode),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("the checkpoint", &error)),
        };
        let ends = DerivedEnds::read(&*files, data_dir).map_err(|error| io("gantry/queue-ends", &error))?;
        let synced = ends.as_ref().map(DerivedEnds::needs_log_below).unwrap_or_default();
        // The same end that the start will find.
        let clean = aborted.is_none();
        let found = recovery::find_end(&log, clean, checkpoint, synced, identity.foreign_end, stamp_of)?;
        let (data_dir, ends, end) = (data_dir.to_path_buf(), ends.unwrap_or_default(), found.end);
        Ok(Opened::Lost(Box::new(LostState { files, data_dir, identity, log_id, log, end, ends, _lock: lock })))
    }

    pub fn min(&self) -> CommitLogOffset {
        self.log.min()
    }

    pub fn end(&self) -> CommitLogOffset {
        self.end
    }

    /// Every record of the log, in order. A damaged one is an error that names its place.
    pub fn each_record(
        &self,
        mut each: impl FnMut(&StoredMessage) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut at = self.log.min();
        while at < self.end {
            let crc = if at < self.identity.foreign_end { PropertyCrc::Optional } else { PropertyCrc::Required };
            match self.log.inspect(at, crc) {
                Inspected::Record(message) => {
                    each(&message)?;
                    at = recovery::end_of(&message);
                }
                Inspected::Blank { next } => at = next,
                Inspected::Invalid(error) => {
                    return Err(recovery::damaged(&self.log, at, self.end, error.to_string()));
                }
                Inspected::Outside => {
                    return Err(recovery::damaged(&self.log, at, self.end, "the segment is missing".into()));
                }
            }
        }
        Ok(())
    }

    /// The bytes of a file under `config/`; `None` if there is none.
    pub fn config_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.data_dir.join("config").join(name);
        match self.files.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(format!("reading {}", path.display()), &error)),
        }
    }

    /// Where the queues of a topic ended when they were last synced, by queue id, and since when it was the one it is.
    pub fn queues_said(&self, topic: &TopicName) -> Option<(Incarnation, Vec<(QueueId, QueueOffset)>)> {
        self.ends.of_topic(topic.as_str())
    }

    /// Where the snapshot will lie.
    pub fn snapshot_path(&self) -> PathBuf {
        self.data_dir.join("gantry").join(snapshots::file_name(self.end))
    }

    /// Puts a snapshot in place that says all of the state up to the log's end. `state_end`: where the state topic goes
    /// on, as far as the log tells.
    pub fn put_snapshot(&self, state_end: QueueOffset, taken: Timestamp, body: &[u8]) -> Result<(), StoreError> {
        let said = self.ends.of_queue(STATE_TOPIC, STATE_QUEUE).map(|(_, ends)| ends.end).unwrap_or_default();
        let state_end = state_end.max(said);
        // A killed process may have left it unsynced: a snapshot vouches for the log below.
        for segment in self.log.segments() {
            let synced = segment.sync();
            synced.map_err(|error| StoreError::io(format!("syncing {}", segment.path().display()), &error))?;
        }
        // What is damaged goes to quarantine here.
        let (snapshots, _) = Snapshots::open(self.files.clone(), &self.data_dir, self.log_id)?;
        let head = SnapshotHead { replay_from: self.end, reflects_below: self.end, state_end, taken };
        snapshots.write(head, body)
    }
}

/// The name of one that a start would take; what it would refuse is refused here.
fn usable_snapshot(
    files: &dyn Files,
    data_dir: &Path,
    log_id: u128,
    log_min: CommitLogOffset,
) -> Result<Option<String>, StoreError> {
    let dir = data_dir.join("gantry");
    let io = |error: std::io::Error| StoreError::io(format!("reading {}", dir.display()), &error);
    for listed in files.list(&dir).map_err(io)? {
        let Some(replay_from) = snapshots::replay_from_of(&listed.name) else { continue };
        let path = dir.join(&listed.name);
        match snapshots::decode(&files.read(&path).map_err(io)?, log_id) {
            Ok(found) if found.head.replay_from.0 == replay_from && found.head.replay_from >= log_min => {
                return Ok(Some(listed.name.to_string_lossy().into_owned()));
            }
            Ok(_) | Err(Unreadable::Damaged) => {}
            Err(Unreadable::Newer) => return Err(StoreError::NewerFormat { file: path }),
            Err(Unreadable::OtherLog) => {
                let reason = "it is a snapshot of another log".to_string();
                return Err(StoreError::Damaged { file: path, offset: 16, reason });
            }
        }
    }
    Ok(None)
}
