//! What `verify` found, for people and for scripts: counts, problems, and notes on what is odd and fine.

use std::path::Path;

use serde::Serialize;

/// Most problems told one by one; the rest is counted.
pub const PROBLEMS_MAX: usize = 100;
/// Most notes.
pub const NOTES_MAX: usize = 100;

/// The outcome of one verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub directory: String,
    pub written_by: WrittenBy,
    pub stopped: Stopped,
    pub commit_log: LogReport,
    pub consume_queues: QueuesReport,
    pub index: IndexReport,
    pub state: StateReport,
    /// Of all problems; `problems` holds the first `PROBLEMS_MAX`.
    pub problems_found: u64,
    pub problems: Vec<Problem>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WrittenBy {
    Gantry,
    RocketMq,
}

/// How the store was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stopped {
    Cleanly,
    /// By a kill, a power cut or a failure: the next start recovers.
    Not,
    /// A broker has it open.
    Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReport {
    pub segments: u64,
    pub min_offset: u64,
    pub end_offset: u64,
    /// Bytes of the records.
    pub bytes: u64,
    pub records: u64,
    /// Segments that were closed by a blank record.
    pub blanks: u64,
    pub first_stored_ms: Option<i64>,
    pub last_stored_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuesReport {
    pub topics: u64,
    pub queues: u64,
    pub files: u64,
    /// That were compared with their records.
    pub entries: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexReport {
    pub files: u64,
    /// That were compared with their records.
    pub entries: u64,
    /// Keys of records that were looked for.
    pub keys: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport {
    pub records: u64,
    pub entries: u64,
    /// How often the store has been opened, by its records.
    pub boot: Option<u64>,
}

/// Something that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub file: String,
    pub offset: u64,
    pub reason: String,
    pub remedy: &'static str,
}

impl Problem {
    pub fn new(file: &Path, offset: u64, reason: impl Into<String>, remedy: &'static str) -> Problem {
        Problem { file: file.to_string_lossy().into_owned(), offset, reason: reason.into(), remedy }
    }
}

impl Report {
    pub fn is_well(&self) -> bool {
        self.problems_found == 0
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems_found += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note.into());
        }
    }
}

/// What to do, by what is wrong.
pub mod remedy {
    pub const LOG: &str = "bring the file back from a copy; without one, `gantry store cut DIR --end OFFSET` gives up all that lies behind";
    pub const LOG_CUT: &str = "nothing: the next start cuts it off";
    pub const QUEUE: &str = "stop the server, move this queue's directory away and start: it is made anew from the log";
    pub const INDEX: &str = "stop the server, move the directory index away and start: it is made anew from the log";
    pub const CHECKPOINT: &str = "stop the server and move it away: the next start reads more of the log instead";
    pub const QUEUE_ENDS: &str =
        "stop the server and move it away: the next start makes queues and index anew from the log";
    pub const IDENTITY: &str = "bring it back from a copy: without it nobody knows whose store this is";
    pub const HANDLE_KEYS: &str =
        "bring it back from a copy; without one, move it away: handles given out before count no more";
    pub const STATE: &str = "use the version of Gantry that wrote it, or bring the file back from a copy";
    pub const SNAPSHOT: &str = "move it away: the next start uses the other generation, or the whole log";
    pub const STATE_LOST: &str = "bring gantry/snapshot-* back from a copy: topics, groups and offsets are in there";
    pub const ABORT: &str = "nothing: the next start takes the last stop for a kill, and recovers";
    pub const CONFIG: &str = "bring it back from its .bak";
}
