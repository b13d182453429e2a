//! How far the store is safe on the disk, kept beside it.
//!
//! `checkpoint` is RocketMQ's file of 4096 bytes; the last two fields are Gantry's own, in bytes that RocketMQ leaves
//! alone:
//! ```text
//! | 0 store timestamp of the last synced record i64 | 8 of the last one in the queues i64 | 16 of the last one in the index i64
//! | 24 log synced below i64 | 32 confirm offset i64 | 40 CRC-32 of the bytes before u32 | 44 magic u32 |
//! ```
//! `gantry/queue-ends` says what consume queues and index hold for sure. Neither is needed: without them more is read
//! at start, and what is derived is made anew.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::names::TopicName;
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::store::consume_queue::{ConsumeQueue, QueueEnds};
use crate::store::failpoint::{self, Point};
use crate::store::files::{DataFile, Files};
use crate::store::index_file::IndexEnds;

pub(super) const FILE_BYTES: u64 = 4096;
const FIELDS_BYTES: usize = 40;
/// What we write of it.
pub(super) const CHECKPOINT_BYTES: usize = FIELDS_BYTES + 8;
/// "GNTR": the CRC before it is meant.
const MAGIC: u32 = 0x474E_5452;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// `storeTimestamp` of the last record that is synced, in the queues, in the index.
    pub log_timestamp: Timestamp,
    pub queues_timestamp: Timestamp,
    pub index_timestamp: Timestamp,
    /// The log is synced below; rule A10's watermark.
    pub synced_offset: CommitLogOffset,
    pub confirm_offset: CommitLogOffset,
}

impl Checkpoint {
    fn encode(&self) -> [u8; FIELDS_BYTES + 8] {
        let mut bytes = [0; FIELDS_BYTES + 8];
        let fields = [
            self.log_timestamp.0,
            self.queues_timestamp.0,
            self.index_timestamp.0,
            self.synced_offset.0.cast_signed(),
            self.confirm_offset.0.cast_signed(),
        ];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        let crc = crc32fast::hash(&bytes[..FIELDS_BYTES]);
        bytes[FIELDS_BYTES..FIELDS_BYTES + 4].copy_from_slice(&crc.to_be_bytes());
        bytes[FIELDS_BYTES + 4..].copy_from_slice(&MAGIC.to_be_bytes());
        bytes
    }

    /// `None` when we did not write it whole.
    pub(super) fn decode(bytes: &[u8; CHECKPOINT_BYTES]) -> Option<Checkpoint> {
        let long = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let int = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        if int(FIELDS_BYTES + 4) != MAGIC || int(FIELDS_BYTES) != crc32fast::hash(&bytes[..FIELDS_BYTES]) {
            return None;
        }
        Some(Checkpoint {
            log_timestamp: Timestamp(long(0)),
            queues_timestamp: Timestamp(long(8)),
            index_timestamp: Timestamp(long(16)),
            synced_offset: CommitLogOffset(u64::try_from(long(24)).ok()?),
            confirm_offset: CommitLogOffset(u64::try_from(long(32)).ok()?),
        })
    }
}

/// The open `checkpoint`. All of it lies in one sector, so a write happens whole or not at all.
pub struct CheckpointFile {
    file: Arc<dyn DataFile>,
}

impl CheckpointFile {
    /// With what it says, if we wrote it.
    pub fn open(files: &dyn Files, path: &Path) -> io::Result<(CheckpointFile, Option<Checkpoint>)> {
        let file = match files.data_file(path, FILE_BYTES) {
            // It has lost its end: what it says lies at its beginning.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let mut bytes = files.read(path)?;
                bytes.resize(FILE_BYTES as usize, 0);
                files.replace(path, &bytes, false)?;
                files.data_file(path, FILE_BYTES)?
            }
            opened => opened?,
        };
        let mut bytes = [0; FIELDS_BYTES + 8];
        file.read_at(0, &mut bytes)?;
        Ok((CheckpointFile { file }, Checkpoint::decode(&bytes)))
    }

    /// Returns when it is on the disk.
    pub fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        failpoint::at(Point::CheckpointBefore);
        self.file.write_at(0, &checkpoint.encode())?;
        failpoint::at(Point::CheckpointUnsynced);
        let synced = self.file.sync();
        failpoint::at(Point::CheckpointAfter);
        synced
    }
}

/// What the derived files hold for sure: every record below `dispatched_below` is in its queue, synced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DerivedEnds {
    pub dispatched_below: u64,
    /// No queue has an entry of a record below.
    #[serde(default)]
    pub log_min: u64,
    pub index: IndexEnds,
    topics: BTreeMap<String, TopicEnds>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicEnds {
    incarnation: u64,
    /// By queue id: the oldest entry kept and one past the newest. A queue that is not here is not to be trusted.
    queues: BTreeMap<u32, (u64, u64)>,
}

impl DerivedEnds {
    pub fn new(dispatched_below: CommitLogOffset) -> DerivedEnds {
        DerivedEnds { dispatched_below: dispatched_below.0, ..DerivedEnds::default() }
    }

    /// The log must be synced up to here before this may be believed: queues and index may run ahead of the log's sync.
    pub fn needs_log_below(&self) -> CommitLogOffset {
        CommitLogOffset(self.dispatched_below.max(self.index.indexed_below))
    }

    /// Adds a queue that has just been synced, unless it is not to be trusted.
    pub fn add(&mut self, queue: &ConsumeQueue, ends: Option<QueueEnds>) {
        let topic = self.topics.entry(queue.topic().as_str().to_string()).or_default();
        topic.incarnation = queue.incarnation().0;
        if let Some(ends) = ends {
            topic.queues.insert(queue.queue_id().0, (ends.min.0, ends.end.0));
        }
    }

    /// `None` for a queue of another incarnation too.
    pub fn ends(&self, topic: &TopicName, incarnation: Incarnation, queue_id: QueueId) -> Option<QueueEnds> {
        let topic = self.topics.get(topic.as_str()).filter(|topic| topic.incarnation == incarnation.0)?;
        let (min, end) = topic.queues.get(&queue_id.0)?;
        Some(QueueEnds { min: QueueOffset(*min), end: QueueOffset(*end) })
    }

    /// `None` if it is missing, or if anything about it is odd.
    pub fn read(files: &dyn Files, data_dir: &Path) -> io::Result<Option<DerivedEnds>> {
        let bytes = match files.read(&path(data_dir)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(DerivedEnds::decode(&bytes))
    }

    /// `None` if anything about it is odd.
    pub(super) fn decode(bytes: &[u8]) -> Option<DerivedEnds> {
        let (crc, json) = bytes.split_at_checked(CRC_BYTES)?;
        if crc != crc_line(json).as_bytes() {
            return None;
        }
        serde_json::from_slice(json).ok()
    }

    /// What is known of a queue, of whatever incarnation.
    pub(super) fn of_queue(&self, topic: &str, queue_id: QueueId) -> Option<(Incarnation, QueueEnds)> {
        let topic = self.topics.get(topic)?;
        let (min, end) = topic.queues.get(&queue_id.0)?;
        Some((Incarnation(topic.incarnation), QueueEnds { min: QueueOffset(*min), end: QueueOffset(*end) }))
    }

    /// What is known of a topic: its incarnation, and where its queues ended.
    pub(super) fn of_topic(&self, topic: &str) -> Option<(Incarnation, Vec<(QueueId, QueueOffset)>)> {
        let topic = self.topics.get(topic)?;
        let ends = topic.queues.iter().map(|(id, (_, end))| (QueueId(*id), QueueOffset(*end)));
        Some((Incarnation(topic.incarnation), ends.collect()))
    }

    pub fn write(&self, files: &dyn Files, data_dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let bytes = [crc_line(&json).as_bytes(), &json].concat();
        files.replace(&path(data_dir), &bytes, false)
    }
}

/// A line of eight hex digits before the text it is the CRC-32 of.
const CRC_BYTES: usize = 9;

fn crc_line(json: &[u8]) -> String {
    format!("{:08x}\n", crc32fast::hash(json))
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("gantry").join("queue-ends")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::consume_queue::OpenFiles;
    use crate::store::simulated_files::SimulatedFiles;

    const DIR: &str = "/data";

    fn checkpoint(number: i64) -> Checkpoint {
        Checkpoint {
            log_timestamp: Timestamp(number),
            queues_timestamp: Timestamp(number + 1),
            index_timestamp: Timestamp(number + 2),
            synced_offset: CommitLogOffset(number.unsigned_abs() + 3),
            confirm_offset: CommitLogOffset(number.unsigned_abs() + 4),
        }
    }

    #[test]
    fn the_checkpoint_has_rocketmqs_layout() {
        let files = SimulatedFiles::new();
        files.create_dir(Path::new(DIR)).unwrap();
        let path = Path::new(DIR).join("checkpoint");
        let (file, none) = CheckpointFile::open(&files, &path).unwrap();
        assert_eq!(none, None);
        file.write(&checkpoint(0x0102)).unwrap();
        let bytes = files.read(&path).unwrap();
        assert_eq!(bytes.len(), 4096);
        let fields: Vec<u64> =
            bytes[..40].chunks(8).map(|field| u64::from_be_bytes(field.try_into().unwrap())).collect();
        assert_eq!(fields, [0x102, 0x103, 0x104, 0x105, 0x106]);
        assert_eq!(&bytes[44..48], b"GNTR");
        assert_eq!(CheckpointFile::open(&files, &path).unwrap().1, Some(checkpoint(0x0102)));
        // Somebody else's fields are not ours.
        files.damage(&path, 7, &[9]).unwrap();
        assert_eq!(CheckpointFile::open(&files, &path).unwrap().1, None);
    }

    #[test]
    fn a_checkpoint_is_the_old_or_the_new_one_after_a_power_cut() {
        let files = SimulatedFiles::new();
        files.create_dir(Path::new(DIR)).unwrap();
        let path = Path::new(DIR).join("checkpoint");
        let (file, _) = CheckpointFile::open(&files, &path).unwrap();
        file.write(&checkpoint(1)).unwrap();
        files.sync_dir(Path::new(DIR)).unwrap();
        files.fail_syncs();
        assert!(file.write(&checkpoint(2)).is_err());
        let seen: Vec<Option<Checkpoint>> =
            (0..32).map(|seed| CheckpointFile::open(&files.power_cut(seed), &path).unwrap().1).collect();
        assert!(seen.contains(&Some(checkpoint(1))) && seen.contains(&Some(checkpoint(2))));
        assert!(!seen.contains(&None));
    }

    #[test]
    fn the_ends_are_those_of_one_incarnation() {
        let files = SimulatedFiles::new();
        files.create_dir(&Path::new(DIR).join("gantry")).unwrap();
        assert_eq!(DerivedEnds::read(&files, Path::new(DIR)).unwrap(), None);
        let open_files = OpenFiles::new(std::sync::Arc::new(files.clone()), "/data/consumequeue".into());
        let topic = TopicName::from_client("orders").unwrap();
        let known = ConsumeQueue::new(&open_files, topic.clone(), QueueId(2), Incarnation(7));
        let untrusted = ConsumeQueue::new(&open_files, topic.clone(), QueueId(3), Incarnation(7));
        let mut ends = DerivedEnds::new(CommitLogOffset(1_000));
        ends.index.indexed_below = 1_200;
        let queue_ends = QueueEnds { min: QueueOffset(1), end: QueueOffset(9) };
        ends.add(&known, Some(queue_ends));
        ends.add(&untrusted, None);
        ends.write(&files, Path::new(DIR)).unwrap();

        let read = DerivedEnds::read(&files, Path::new(DIR)).unwrap().unwrap();
        assert_eq!(read, ends);
        assert_eq!(read.needs_log_below(), CommitLogOffset(1_200));
        assert_eq!(read.ends(&topic, Incarnation(7), QueueId(2)), Some(queue_ends));
        assert_eq!(read.ends(&topic, Incarnation(7), QueueId(3)), None);
        assert_eq!(read.ends(&topic, Incarnation(8), QueueId(2)), None);
        let path = path(Path::new(DIR));
        for (at, byte) in [(0, b'x'), (20, b'?')] {
            let files = files.kill();
            files.damage(&path, at, &[byte]).unwrap();
            assert_eq!(DerivedEnds::read(&files, Path::new(DIR)).unwrap(), None, "byte {at}");
        }
    }
}
