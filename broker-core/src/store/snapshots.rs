//! Files of state snapshots: `gantry/snapshot-<20-digit log offset>`. What is inside is the state's own business.
//!
//! ```text
//! | 0 magic "GNTRSNAP" | 8 CRC-32 of all bytes from 12 on u32 | 12 version u32 | 16 log id u128
//! | 32 replay begins here u64 | 40 all of it lies below u64 | 48 next queue offset of the state topic u64
//! | 56 taken at, ms i64 | 64 length of the body u64 | 72 body
//! ```
//! Numbers are big-endian. Two generations are kept, so that one may be damaged.
//!
//! Invariant: a snapshot is written only after the log was synced below everything that it reflects. So it is a
//! watermark too: a log that ends before it has lost what was safe.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::quarantine;

const MAGIC: &[u8; 8] = b"GNTRSNAP";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 72;
/// The CRC covers everything from here on.
const CRC_FROM: usize = 12;
const NAME_PREFIX: &str = "snapshot-";
/// One may be damaged, the other one then counts.
const GENERATIONS: usize = 2;

/// What the store needs to know of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHead {
    /// State records from here on are replayed over it.
    pub replay_from: CommitLogOffset,
    /// Nothing in it was decided at or behind this place.
    pub reflects_below: CommitLogOffset,
    /// The offset of the next message of the state topic, for a log that has none left.
    pub state_end: QueueOffset,
    pub taken: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    pub head: SnapshotHead,
    pub body: Bytes,
}

/// The generations that are kept.
pub struct Snapshots {
    files: Arc<dyn Files>,
    dir: PathBuf,
    log_id: u128,
    /// Oldest first.
    kept: Mutex<Vec<SnapshotHead>>,
}

impl Snapshots {
    /// Reads what lies there, newest first. What is damaged goes to quarantine; what belongs to another log or to a newer
    /// Gantry is refused.
    pub fn open(
        files: Arc<dyn Files>,
        data_dir: &Path,
        log_id: u128,
    ) -> Result<(Snapshots, Vec<SnapshotFile>), StoreError> {
        let dir = data_dir.join("gantry");
        let io = |path: &Path| {
            let context = path.display().to_string();
            move |error: io::Error| StoreError::io(context, &error)
        };
        let mut found = Vec::new();
        for listed in files.list(&dir).map_err(io(&dir))? {
            let Some(replay_from) = replay_from_of(&listed.name) else { continue };
            let path = dir.join(&listed.name);
            let bytes = files.read(&path).map_err(io(&path))?;
            match decode(&bytes, log_id) {
                Ok(snapshot) if snapshot.head.replay_from.0 == replay_from => found.push(snapshot),
                Err(Unreadable::Newer) => return Err(StoreError::NewerFormat { file: path }),
                Err(Unreadable::OtherLog) => {
                    let reason = "it is a snapshot of another log".to_string();
                    return Err(StoreError::Damaged { file: path, offset: 16, reason });
                }
                Ok(_) | Err(Unreadable::Damaged) => {
                    let name = listed.name.to_string_lossy();
                    let to = quarantine::free_place(&*files, data_dir, |number| format!("{name}.{number}"));
                    let to = to.map_err(io(&path))?;
                    quarantine::move_away(&*files, &path, &to).map_err(io(&path))?;
                    tracing::warn!(file = %path.display(), to = %to.display(), "a damaged snapshot went to quarantine");
                }
            }
        }
        found.sort_by_key(|snapshot: &SnapshotFile| snapshot.head.replay_from);
        let kept = Mutex::new(found.iter().map(|snapshot| snapshot.head).collect());
        found.reverse();
        Ok((Snapshots { files, dir, log_id, kept }, found))
    }

    /// Puts a snapshot in place, whole, and removes those that are too many. The log must be synced below what it
    /// reflects.
    pub fn write(&self, head: SnapshotHead, body: &[u8]) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().expect("nobody panics holding it");
        let path = self.path(head.replay_from);
        let io = |path: &Path| {
            let context = format!("writing {}", path.display());
            move |error: io::Error| StoreError::io(context, &error)
        };
        self.files.replace(&path, &encode(&head, body, self.log_id), false).map_err(io(&path))?;
        kept.retain(|known| known.replay_from != head.replay_from);
        kept.push(head);
        kept.sort_by_key(|head| head.replay_from);
        while kept.len() > GENERATIONS {
            let oldest = self.path(kept[0].replay_from);
            self.files.remove_file(&oldest).map_err(io(&oldest))?;
            kept.remove(0);
        }
        Ok(())
    }

    /// State records from here on must be kept for a start that finds the newest snapshot damaged. `None` before there
    /// are two.
    pub fn replay_floor(&self) -> Option<CommitLogOffset> {
        let kept = self.kept.lock().expect("nobody panics holding it");
        (kept.len() >= GENERATIONS).then(|| kept[0].replay_from)
    }

    /// Of the newest one.
    pub fn newest(&self) -> Option<SnapshotHead> {
        self.kept.lock().expect("nobody panics holding it").last().copied()
    }

    fn path(&self, replay_from: CommitLogOffset) -> PathBuf {
        self.dir.join(file_name(replay_from))
    }
}

/// Why a file is no snapshot of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    Damaged,
    OtherLog,
    Newer,
}

pub(super) fn file_name(replay_from: CommitLogOffset) -> String {
    format!("{NAME_PREFIX}{:020}", replay_from.0)
}

/// The log offset that a file's name stands for; `None` for any other name.
pub fn replay_from_of(name: &std::ffi::OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_prefix(NAME_PREFIX)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Up to where a snapshot reflects its log, whichever that is; `None` if these bytes are no whole snapshot.
pub fn reflects_below(bytes: &[u8]) -> Option<CommitLogOffset> {
    let log_id = u128::from_be_bytes(bytes.get(16..32)?.try_into().expect("16 bytes"));
    decode(bytes, log_id).ok().map(|snapshot| snapshot.head.reflects_below)
}

/// Reads a file's bytes. Never panics, whatever they are.
pub fn decode(bytes: &[u8], log_id: u128) -> Result<SnapshotFile, Unreadable> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or(Unreadable::Damaged)?;
    let long = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let int = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    if &head[..8] != MAGIC {
        return Err(Unreadable::Damaged);
    }
    // Before the version: one that was flipped is no newer Gantry's.
    if int(8) != crc32fast::hash(&bytes[CRC_FROM..]) {
        return Err(Unreadable::Damaged);
    }
    if int(12) != VERSION {
        return Err(Unreadable::Newer);
    }
    if long(64) != body.len() as u64 {
        return Err(Unreadable::Damaged);
    }
    if u128::from_be_bytes(head[16..32].try_into().expect("16 bytes")) != log_id {
        return Err(Unreadable::OtherLog);
    }
    let head = SnapshotHead {
        replay_from: CommitLogOffset(long(32)),
        reflects_below: CommitLogOffset(long(40)),
        state_end: QueueOffset(long(48)),
        taken: Timestamp(long(56).cast_signed()),
    };
    if head.reflects_below < head.replay_from {
        return Err(Unreadable::Damaged);
    }
    Ok(SnapshotFile { head, body: Bytes::copy_from_slice(body) })
}

fn encode(head: &SnapshotHead, body: &[u8], log_id: u128) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend(MAGIC);
    bytes.extend([0; 4]);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(log_id.to_be_bytes());
    bytes.extend(head.replay_from.0.to_be_bytes());
    bytes.extend(head.reflects_below.0.to_be_bytes());
    bytes.extend(head.state_end.0.to_be_bytes());
    bytes.extend(head.taken.0.to_be_bytes());
    bytes.extend((body.len() as u64).to_be_bytes());
    bytes.extend_from_slice(body);
    let crc = crc32fast::hash(&bytes[CRC_FROM..]);
    bytes[8..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::simulated_files::SimulatedFiles;

    const DIR: &str = "/data/gantry";
    const QUARANTINE: &str = "/data/gantry/quarantine";

    fn head(replay_from: u64) -> SnapshotHead {
        SnapshotHead {
            replay_from: CommitLogOffset(replay_from),
            reflects_below: CommitLogOffset(replay_from + 5),
            state_end: QueueOffset(3),
            taken: Timestamp(77),
        }
    }

    fn open(files: &SimulatedFiles) -> Result<(Snapshots, Vec<SnapshotFile>), StoreError> {
        files.create_dir(Path::new(DIR)).unwrap();
        Snapshots::open(Arc::new(files.clone()), Path::new("/data"), 9)
    }

    fn file(replay_from: u64) -> PathBuf {
        Path::new(DIR).join(format!("snapshot-{replay_from:020}"))
    }

    #[test]
    fn b6_two_generations_are_kept() {
        let files = SimulatedFiles::new();
        let (snapshots, none) = open(&files).unwrap();
        assert_eq!((none.len(), snapshots.replay_floor(), snapshots.newest()), (0, None, None));
        for at in [10, 10, 20] {
            snapshots.write(head(at), b"state").unwrap();
        }
        assert_eq!(snapshots.replay_floor(), Some(CommitLogOffset(10)));
        snapshots.write(head(30), b"newer").unwrap();
        assert_eq!((snapshots.replay_floor(), snapshots.newest()), (Some(CommitLogOffset(20)), Some(head(30))));
        let (again, found) = open(&files.kill()).unwrap();
        assert_eq!(found.iter().map(|found| found.head).collect::<Vec<_>>(), [head(30), head(20)]);
        assert_eq!((&found[0].body[..], again.replay_floor()), (&b"newer"[..], Some(CommitLogOffset(20))));
    }

    #[test]
    fn what_is_damaged_goes_to_quarantine_and_the_older_one_counts() {
        let files = SimulatedFiles::new();
        let (snapshots, _) = open(&files).unwrap();
        snapshots.write(head(10), b"older").unwrap();
        snapshots.write(head(20), b"newer").unwrap();
        for at in [0, 12, 33, 64, 70, 75] {
            let files = files.kill();
            let was = files.read(&file(20)).unwrap()[at as usize];
            files.damage(&file(20), at, &[was ^ 1]).unwrap();
            let (_, found) = open(&files).unwrap();
            assert_eq!(found.iter().map(|found| found.head).collect::<Vec<_>>(), [head(10)], "byte {at}");
            assert_eq!(files.list(Path::new(QUARANTINE)).unwrap().len(), 1);
        }
        // One in another's place says itself where it belongs.
        let swapped = files.kill();
        swapped.rename(&file(20), &file(30)).unwrap();
        assert_eq!(open(&swapped).unwrap().1.len(), 1);
    }

    #[test]
    fn a12_another_logs_and_a_newer_gantrys_are_refused() {
        let files = SimulatedFiles::new();
        let (snapshots, _) = open(&files).unwrap();
        snapshots.write(head(10), b"state").unwrap();
        let other = Snapshots::open(Arc::new(files.clone()), Path::new("/data"), 8);
        assert!(matches!(other, Err(StoreError::Damaged { .. })));
        let mut newer = files.read(&file(10)).unwrap();
        newer[15] = 2;
        let crc = crc32fast::hash(&newer[CRC_FROM..]);
        newer[8..12].copy_from_slice(&crc.to_be_bytes());
        files.replace(&file(10), &newer, false).unwrap();
        assert!(matches!(open(&files), Err(StoreError::NewerFormat { .. })));
    }
}
