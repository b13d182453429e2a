//! Whose data directory this is: the lock, `abort`, and `gantry/store.json`.
//!
//! `store.json` is the first file of a store and the last word on what may open it. Its boot number is raised and synced
//! at each open before anything that bears it (a lease id) is given out.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::names::STATE_TOPIC;
use crate::offset::CommitLogOffset;
use crate::random::Random;
use crate::store::commit_log::{COMMIT_LOG_DIR, Inspected, SEGMENT_BYTES_RANGE, UncheckedLog};
use crate::store::config_json;
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::files::Files;
use crate::store::foreign_log::{self, ForeignLog, QueuesSaid};
use crate::store::record::PropertyCrc;

/// What this program writes; it reads no newer one.
const FORMAT_VERSION: u32 = 1;
/// The last field: the CRC-32 of all bytes before it, in hex.
const CRC_FIELD: &str = ",\n  \"crc32\": \"";
/// The oldest program that may read what this one writes.
const MIN_READER_VERSION: u32 = 1;

/// A store's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    format_version: u32,
    min_reader_version: u32,
    /// Made when the directory was made: a directory that was wiped is another one.
    pub incarnation: String,
    /// Of the log's contents; replicas share it.
    pub log_id: String,
    pub segment_bytes: u64,
    /// How often the store has been opened.
    pub boot: u64,
    /// A record exists that brokers before 5.1 cannot read.
    pub needs_apache_5_1: bool,
    /// Records below may be somebody else's, without the CRC over all of them.
    #[serde(default)]
    pub foreign_end: CommitLogOffset,
    /// The log holds no state of ours below: somebody else began it.
    #[serde(default)]
    pub state_from: CommitLogOffset,
    /// What somebody else wrote is being taken over: what lies behind its end is a try that was killed.
    #[serde(default)]
    pub importing: Option<Importing>,
    /// How the last clean stop left things, until the next start: who finds something else there came after us.
    #[serde(default)]
    pub stopped: Option<Stopped>,
}

/// What an import that has begun found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Importing {
    pub end: CommitLogOffset,
    pub queues: QueuesSaid,
}

/// What a clean stop leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// Behind the last record.
    pub end: CommitLogOffset,
    /// The files under `config/` that were exported.
    pub exported: BTreeMap<String, Exported>,
}

/// One file that a clean stop left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// SHA-256 in hex.
    pub sha256: String,
    /// Its `dataVersion`, which RocketMQ raises with each change.
    pub counter: u64,
    pub timestamp: i64,
}

impl Exported {
    /// A file that is not what its name says has no version.
    pub fn of(name: &str, bytes: &[u8]) -> Exported {
        let value = config_json::parse(bytes).ok().filter(|value| is_shaped(name, value));
        let field = |name: &str| value.as_ref().and_then(|value| value.get("dataVersion")?.get(name));
        Exported {
            sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            counter: field("counter").and_then(serde_json::Value::as_u64).unwrap_or(0),
            timestamp: field("timestamp").and_then(serde_json::Value::as_i64).unwrap_or(0),
        }
    }

    /// Other bytes alone may be damage, or an older copy: taken over, they would delete topics. A later version of what
    /// can be read is somebody's work.
    pub fn is_followed_by(&self, found: &Exported) -> bool {
        found.sha256 != self.sha256 && (found.counter > self.counter || found.timestamp > self.timestamp)
    }
}

/// Has this file the table that RocketMQ gives it?
fn is_shaped(name: &str, value: &serde_json::Value) -> bool {
    let table = |key: &str| value.get(key).and_then(serde_json::Value::as_object);
    match name {
        "topics.json" => table("topicConfigTable").is_some(),
        "subscriptionGroup.json" => table("subscriptionGroupTable").is_some(),
        "consumerOffset.json" => table("offsetTable").is_some_and(|all| all.keys().all(|key| key.contains('@'))),
        "delayOffset.json" => table("offsetTable").is_some_and(|all| all.keys().all(|key| key.parse::<u32>().is_ok())),
        "consumerOrderInfo.json" => table("table").is_some(),
        _ => true,
    }
}

impl Stopped {
    /// Did a start of ours come after this stop? The first thing it writes is a record of state, and before that it takes
    /// the word for this stop back.
    fn is_older_than(&self, log: &UncheckedLog) -> bool {
        let first = match log.inspect(self.end, PropertyCrc::Optional) {
            Inspected::Blank { next } => log.inspect(next, PropertyCrc::Optional),
            found => found,
        };
        matches!(first, Inspected::Record(record) if record.topic() == STATE_TOPIC)
    }

    /// Did somebody write since?
    fn is_changed(&self, files: &dyn Files, data_dir: &Path, log: &UncheckedLog) -> std::io::Result<bool> {
        if matches!(log.inspect(self.end, PropertyCrc::Optional), Inspected::Record(_) | Inspected::Blank { .. }) {
            return Ok(true);
        }
        for (name, exported) in &self.exported {
            let path = data_dir.join("config").join(name);
            let found = match files.read(&path) {
                Ok(bytes) => Exported::of(name, &bytes),
                // Nobody's work ends with fewer files.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // One of our own in the place of another is nobody's work either.
            let is_ours = self.exported.values().any(|own| own.sha256 == found.sha256);
            if !is_ours && exported.is_followed_by(&found) {
                return Ok(true);
            }
            if found.sha256 != exported.sha256 {
                tracing::warn!(
                    file = %path.display(),
                    "it is not what the last stop wrote, and no later version of it: it is not read, the next stop writes it anew"
                );
            }
        }
        Ok(false)
    }
}

impl Identity {
    pub fn new(random: &dyn Random, segment_bytes: u64) -> Identity {
        let id = || {
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            format!("{:032x}", u128::from_be_bytes(bytes))
        };
        Identity {
            format_version: FORMAT_VERSION,
            min_reader_version: MIN_READER_VERSION,
            incarnation: id(),
            log_id: id(),
            segment_bytes,
            boot: 0,
            needs_apache_5_1: false,
            foreign_end: CommitLogOffset(0),
            state_from: CommitLogOffset(0),
            importing: None,
            stopped: None,
        }
    }

    /// Who wrote last, if it was somebody else; an import that was killed goes on. A store of ours that was not closed
    /// is taken for ours: RocketMQ does not open such a one (rule B8).
    pub(super) fn find_foreign(
        &self,
        files: &dyn Files,
        data_dir: &Path,
        log: &UncheckedLog,
        abort: Option<Aborted>,
    ) -> Result<Option<ForeignLog>, StoreError> {
        let io = |error: std::io::Error| StoreError::io(format!("reading {}", data_dir.display()), &error);
        let since = self.stopped.as_ref().map_or(CommitLogOffset(0), |stopped| stopped.end);
        if let Some(stopped) = &self.stopped
            && stopped.is_older_than(log)
        {
            let reason = format!("it is older than the log, which goes on at {since} with what this program wrote");
            return Err(StoreError::Damaged { file: path(data_dir), offset: 0, reason });
        }
        let is_foreign = self.importing.is_some()
            || match &self.stopped {
                None => self.boot == 0 && foreign_log::is_there(files, data_dir).map_err(io)?,
                Some(stopped) => {
                    abort == Some(Aborted::BySomebodyElse) || stopped.is_changed(files, data_dir, log).map_err(io)?
                }
            };
        if !is_foreign {
            return Ok(None);
        }
        let segment_bytes = log.segment_bytes();
        if !SEGMENT_BYTES_RANGE.contains(&segment_bytes) {
            let (path, key) = (data_dir.join(COMMIT_LOG_DIR), "mappedFileSizeCommitLog");
            return Err(StoreError::Foreign { path, key, what: "segments of an odd length" });
        }
        foreign_log::refuse_unreadable(files, data_dir)?;
        tracing::info!(dir = %data_dir.display(), "somebody else wrote this store: it is taken over");
        let survey = ForeignLog::survey(log, files, data_dir, since, self.importing.as_ref(), abort.is_none())?;
        if self.boot == 0 && survey.topic(STATE_TOPIC).is_some() {
            let reason = "it is missing, though the log holds what it belongs to".into();
            return Err(StoreError::Damaged { file: path(data_dir), offset: 0, reason });
        }
        Ok(Some(survey))
    }

    /// `None` if the directory has none yet.
    pub fn read(files: &dyn Files, data_dir: &Path) -> Result<Option<Identity>, StoreError> {
        let path = path(data_dir);
        match files.read(&path) {
            Ok(bytes) => Identity::decode(&bytes, path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(format!("reading {}", path.display()), &error)),
        }
    }

    /// `path` is for the error's words.
    pub(super) fn decode(bytes: &[u8], path: PathBuf) -> Result<Identity, StoreError> {
        /// What is read of a file that may be of any version.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            format_version: u32,
            min_reader_version: u32,
        }

        let damaged = |error: serde_json::Error| StoreError::Damaged {
            file: path.clone(),
            offset: 0,
            reason: format!("it does not say whose store this is: {error}"),
        };
        let version: Version = serde_json::from_slice(bytes).map_err(damaged)?;
        if version.format_version.max(version.min_reader_version) > FORMAT_VERSION {
            return Err(StoreError::NewerFormat { file: path });
        }
        // Files of older programs have none.
        if let Some(at) = bytes.windows(CRC_FIELD.len()).rposition(|window| window == CRC_FIELD.as_bytes()) {
            let found = format!("{:08x}", crc32fast::hash(&bytes[..at]));
            if !bytes[at + CRC_FIELD.len()..].starts_with(found.as_bytes()) {
                let reason = format!("its checksum is not {found}, which its bytes make");
                return Err(StoreError::Damaged { file: path, offset: 0, reason });
            }
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// The log id as a number.
    pub(super) fn log_number(&self, data_dir: &Path) -> Result<u128, StoreError> {
        u128::from_str_radix(&self.log_id, 16).map_err(|_| StoreError::Damaged {
            file: path(data_dir),
            offset: 0,
            reason: format!("logId '{}' is no log id", self.log_id),
        })
    }

    /// Raises the boot number; returns when the new one is on the disk.
    pub fn raise_boot(&mut self, files: &dyn Files, data_dir: &Path) -> Result<(), StoreError> {
        self.boot += 1;
        self.write(files, data_dir)
    }

    /// Returns when it is on the disk.
    pub fn write(&self, files: &dyn Files, data_dir: &Path) -> Result<(), StoreError> {
        let path = path(data_dir);
        let mut json = serde_json::to_vec_pretty(self).expect("plain fields become JSON");
        json.truncate(json.len() - "\n}".len());
        let crc = crc32fast::hash(&json);
        json.extend(format!("{CRC_FIELD}{crc:08x}\"\n}}\n").into_bytes());
        failpoint::at(Point::BootBefore);
        let replaced = files.replace(&path, &json, false);
        failpoint::at(Point::BootAfter);
        replaced.map_err(|error| StoreError::io(format!("writing {}", path.display()), &error))
    }
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("gantry").join("store.json")
}

/// The right to use a data directory, held as long as this lives.
pub struct DirectoryLock {
    _lock: Box<dyn Any + Send + Sync>,
}

impl DirectoryLock {
    /// RocketMQ takes the same lock, so the two never share a directory.
    pub fn take(files: &dyn Files, data_dir: &Path) -> Result<DirectoryLock, StoreError> {
        let path = data_dir.join("lock");
        match files.lock(&path) {
            Ok(Some(lock)) => Ok(DirectoryLock { _lock: lock }),
            Ok(None) => Err(StoreError::InUse { path: data_dir.to_path_buf() }),
            Err(error) => Err(StoreError::io(format!("locking {}", path.display()), &error)),
        }
    }
}

/// The file `abort`: there while the store is open, so that the next open knows whether the last one ended well.
pub struct AbortFile {
    path: PathBuf,
    data_dir: PathBuf,
}

/// Who has not stopped well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aborted {
    ByGantry,
    BySomebodyElse,
}

/// What follows the process id in an `abort` of ours; RocketMQ reads nothing of it.
pub(super) const ABORT_OF_OURS: &[u8] = b" gantry\n";

impl AbortFile {
    pub fn new(data_dir: &Path) -> AbortFile {
        AbortFile { path: data_dir.join("abort"), data_dir: data_dir.to_path_buf() }
    }

    pub fn read(&self, files: &dyn Files) -> Result<Option<Aborted>, StoreError> {
        match files.read(&self.path) {
            Ok(text) if text.ends_with(ABORT_OF_OURS) => Ok(Some(Aborted::ByGantry)),
            Ok(_) => Ok(Some(Aborted::BySomebodyElse)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(&error)),
        }
    }

    pub fn write(&self, files: &dyn Files) -> Result<(), StoreError> {
        let text = [std::process::id().to_string().as_bytes(), ABORT_OF_OURS].concat();
        files.replace(&self.path, &text, false).map_err(|error| self.error(&error))
    }

    /// The last step of a clean close: all that it vouches for has been synced.
    pub fn remove(&self, files: &dyn Files) -> Result<(), StoreError> {
        let removed = files.remove_file(&self.path).and_then(|()| files.sync_dir(&self.data_dir));
        removed.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &std::io::Error) -> StoreError {
        StoreError::io(self.path.display().to_string(), error)
    }
}
