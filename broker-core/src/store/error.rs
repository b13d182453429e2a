//! What the store can answer instead of yes. Cloneable, because one failed sync answers many waiters.

use std::path::PathBuf;

use crate::error::BrokerError;
use crate::offset::CommitLogOffset;
use crate::store::record::RecordError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("{context}: {source}")]
    Io { context: String, source: IoText },
    /// Nothing was written: the space that is left is kept for state records.
    #[error("the disk is full")]
    StorageFull,
    /// Nothing was written: what the append needs is not ready yet.
    #[error("the store is short of {what}")]
    Overloaded { what: &'static str },
    /// A sync has failed before: nothing is taken any more, and nothing was written.
    #[error("the store has failed: {reason}")]
    Failed { reason: String },
    /// It was appended, and then the sync that should have kept it failed.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown { reason: String },
    #[error("a record of {len} bytes does not fit a segment of {segment_bytes} bytes")]
    RecordTooLarge { len: u64, segment_bytes: u64 },
    #[error("no record begins at {at}")]
    NoRecord { at: CommitLogOffset },
    /// What lies there cannot be what was written.
    #[error("{} is damaged at byte {offset}: {reason}; gantry store verify DIR shows all damage", file.display())]
    Damaged { file: PathBuf, offset: u64, reason: String },
    #[error("{reason}")]
    Record { reason: RecordError },
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("{} was written by a newer Gantry", file.display())]
    NewerFormat { file: PathBuf },
    /// A store of Apache RocketMQ, with something that Gantry does not read.
    #[error("{} holds {what} ({key}), which Gantry does not read", path.display())]
    Foreign { path: PathBuf, key: &'static str, what: &'static str },
    /// The log no longer reaches back to its beginning, and no snapshot says what its deleted records had decided.
    #[error(
        "{} holds no usable snapshot of the state and the log begins at {log_min}: topics, groups and offsets cannot be \
         read back; gantry store recover-state DIR shows what can be known of them and makes a new snapshot",
        path.display()
    )]
    StateLost { path: PathBuf, log_min: CommitLogOffset },
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// An `io::Error` that can be told to many: its kind and its words.
#[derive(Debug, Clone)]
pub struct IoText {
    pub kind: std::io::ErrorKind,
    pub text: String,
}

impl StoreError {
    /// Names what was being done; a full disk keeps its own variant whatever was being done.
    pub fn io(context: impl Into<String>, error: &std::io::Error) -> StoreError {
        if is_full(error) {
            return StoreError::StorageFull;
        }
        StoreError::Io { context: context.into(), source: IoText { kind: error.kind(), text: error.to_string() } }
    }
}

/// Does this error say that there is no space?
pub fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

impl std::fmt::Display for IoText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for IoText {}

impl From<RecordError> for StoreError {
    fn from(reason: RecordError) -> StoreError {
        StoreError::Record { reason }
    }
}

impl From<StoreError> for BrokerError {
    fn from(error: StoreError) -> BrokerError {
        match error {
            StoreError::StorageFull => BrokerError::StorageFull,
            StoreError::Overloaded { what } => BrokerError::Overloaded { what },
            StoreError::Failed { reason } => BrokerError::ReadOnly { reason },
            StoreError::OutcomeUnknown { reason } => BrokerError::OutcomeUnknown { reason },
            StoreError::NoRecord { .. } => BrokerError::MessageNotFound,
            StoreError::Closed => BrokerError::Draining,
            StoreError::Io { .. }
            | StoreError::RecordTooLarge { .. }
            | StoreError::Damaged { .. }
            | StoreError::Record { .. }
            | StoreError::InUse { .. }
            | StoreError::Foreign { .. }
            | StoreError::StateLost { .. }
            | StoreError::NewerFormat { .. } => BrokerError::Storage { reason: error.to_string() },
        }
    }
}
