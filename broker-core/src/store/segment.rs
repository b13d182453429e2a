//! One file of the commit log: its name, its place, and the log's offsets turned into the file's.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::offset::CommitLogOffset;
use crate::store::files::LogFile;

const NAME_DIGITS: usize = 20;

/// A segment: `[base, end)` of the log.
pub struct Segment {
    pub(super) base: u64,
    path: PathBuf,
    pub(super) file: Arc<dyn LogFile>,
    /// When its last record was stored, once somebody has asked and it is not written any more.
    last_stored: OnceLock<Timestamp>,
}

impl Segment {
    pub(super) fn new(dir: &Path, base: u64, file: Arc<dyn LogFile>) -> Segment {
        Segment { base, path: dir.join(file_name(base)), file, last_stored: OnceLock::new() }
    }

    /// Offset of the first byte.
    pub fn base(&self) -> CommitLogOffset {
        CommitLogOffset(self.base)
    }

    /// Offset behind the last byte.
    pub fn end(&self) -> CommitLogOffset {
        CommitLogOffset(self.base + self.file.len())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes `[at, at + len)` of the log, which lie in this segment and were written: asserted.
    pub fn read(&self, at: CommitLogOffset, len: usize) -> Bytes {
        assert!(at >= self.base() && at.0 + len as u64 <= self.end().0, "{at} + {len} lies in {}", self.path.display());
        self.file.read(at.0 - self.base, len)
    }

    /// Returns when all that was written is on the disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }

    /// `read` finds it out, the first time.
    pub(super) fn last_stored<E>(&self, read: impl FnOnce() -> Result<Timestamp, E>) -> Result<Timestamp, E> {
        match self.last_stored.get() {
            Some(known) => Ok(*known),
            None => read().map(|stored| *self.last_stored.get_or_init(|| stored)),
        }
    }

    /// The place of a byte of the log inside the file.
    pub(super) fn at(&self, offset: u64) -> u64 {
        offset.checked_sub(self.base).expect("an offset of this segment")
    }
}

/// RocketMQ's name: the first byte's offset in twenty digits.
pub fn file_name(base: u64) -> String {
    format!("{base:0NAME_DIGITS$}")
}

/// The offset a file name stands for; `None` for any other name.
pub fn parse_file_name(name: &std::ffi::OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let digits = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rocketmqs() {
        assert_eq!(file_name(1 << 30), "00000000001073741824");
        assert_eq!(parse_file_name("00000000001073741824".as_ref()), Some(1 << 30));
        for other in ["", "1073741824", "0000000000107374182x", "+0000000000000000001", "99999999999999999999"] {
            assert_eq!(parse_file_name(other.as_ref()), None, "{other}");
        }
    }
}
