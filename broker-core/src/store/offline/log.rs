//! The commit log as it lies on the disk, read from front to back through one window of memory; nothing is believed.
//!
//! A place that holds no record is told with its reason, and whoever reads on asks for the next valid record behind it:
//! one whose own offset is its place. What a bad place means, a torn tail or damage, `verify` decides.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::message::StoredMessage;
use crate::offset::CommitLogOffset;
use crate::store::commit_log::COMMIT_LOG_DIR;
use crate::store::offline::source::{ReadFile, ReadFiles};
use crate::store::record::{self, PEEK_LEN, Peek, PropertyCrc, RecordError};
use crate::store::segment;

/// Read at once. Records are at most a little larger than this, and then the window is too.
const WINDOW_BYTES: usize = 4 << 20;
/// A record longer than this is none of ours and none of RocketMQ's, whose bodies end at what an operator allows.
const RECORD_BYTES_MAX: u32 = 512 << 20;
/// The search behind a bad place passes over blocks of zeros of this length.
const SEARCH_BLOCK_BYTES: usize = 64 << 10;

/// All segments, opened for reading.
pub struct OfflineLog {
    segments: Vec<OfflineSegment>,
    property_crc: PropertyCrc,
    /// Records below may be somebody else's, without the CRC over all of them.
    foreign_end: u64,
    window: Window,
    /// Bytes that have been read from files.
    read_bytes: u64,
}

pub struct OfflineSegment {
    pub base: u64,
    pub len: u64,
    pub path: PathBuf,
    file: Box<dyn ReadFile>,
}

/// The bytes `[at, at + bytes.len())` of the log.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Bytes,
}

/// What begins at a place.
#[derive(Debug)]
pub enum Found {
    Record(Box<StoredMessage>),
    /// The segment is closed here; the log goes on at `next`.
    Blank {
        next: u64,
    },
    /// No record, for this reason.
    Nothing(Reason),
}

/// One step through a log that may be damaged.
#[derive(Debug)]
pub enum Step {
    Record(Box<StoredMessage>),
    /// No record begins at `from`, the next one begins at `to`.
    PassedOver {
        from: CommitLogOffset,
        to: CommitLogOffset,
        reason: Reason,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("{0}")]
    Record(RecordError),
    #[error("the record says that it has {len} bytes, the segment ends after {left}")]
    CrossesSegment { len: u64, left: u64 },
    #[error("the blank says that {claimed} bytes are left of the segment, it is {left}")]
    Blank { claimed: u32, left: u64 },
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("the segment is missing")]
    NoSegment,
}

impl Reason {
    /// Zeros: nobody has written here.
    pub fn is_empty(&self) -> bool {
        matches!(self, Reason::Record(RecordError::Empty) | Reason::NoSegment)
    }
}

/// What lies behind the end of the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The first byte that is not zero.
    pub first_byte: Option<CommitLogOffset>,
    /// Valid records in their own place.
    pub records: u64,
    pub first_record: Option<CommitLogOffset>,
    /// The highest synced offset that any of them is stamped with.
    pub stamp: Option<CommitLogOffset>,
    /// `storeTimestamp` of the first and of the last of them.
    pub stored_ms: Option<(i64, i64)>,
}

impl OfflineLog {
    /// Opens the segments of a data directory, in order; other files there are `strangers`.
    pub fn open(
        files: &dyn ReadFiles,
        data_dir: &Path,
        property_crc: PropertyCrc,
        strangers: &mut Vec<PathBuf>,
    ) -> io::Result<OfflineLog> {
        let dir = data_dir.join(COMMIT_LOG_DIR);
        let mut segments = Vec::new();
        for listed in files.read_dir(&dir)? {
            let path = dir.join(&listed.name);
            match segment::parse_file_name(&listed.name) {
                // An offset is a signed number to RocketMQ; a file of no length is one that was never begun.
                Some(base) if !listed.is_dir && i64::try_from(base.saturating_add(listed.len)).is_ok() => {
                    let file = files.open(&path)?;
                    segments.push(OfflineSegment { base, len: listed.len, path, file });
                }
                _ => strangers.push(path),
            }
        }
        Ok(OfflineLog { segments, property_crc, foreign_end: 0, window: Window::default(), read_bytes: 0 })
    }

    /// Records below need no CRC over all of them.
    pub fn set_foreign_end(&mut self, end: CommitLogOffset) {
        self.foreign_end = end.0;
    }

    pub fn segments(&self) -> &[OfflineSegment] {
        &self.segments
    }

    /// The first byte that is kept.
    pub fn min(&self) -> CommitLogOffset {
        CommitLogOffset(self.segments.first().map_or(0, |segment| segment.base))
    }

    /// Bytes of all segments that may hold something.
    pub fn data_bytes(&self) -> u64 {
        let data = |segment: &OfflineSegment| match segment.file.data_from(0) {
            Ok(stretches) => stretches.iter().map(|stretch| stretch.end - stretch.start).sum(),
            Err(_) => segment.len,
        };
        self.segments.iter().map(data).sum()
    }

    /// Bytes that have been read from files so far.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Where an offset of the log lies: its file, and the byte in it.
    pub fn place(&self, at: CommitLogOffset) -> (PathBuf, u64) {
        match self.segments.iter().rfind(|segment| segment.base <= at.0) {
            Some(segment) => (segment.path.clone(), at.0 - segment.base),
            None => (PathBuf::from(COMMIT_LOG_DIR), at.0),
        }
    }

    /// Says what begins at `at`.
    pub fn look(&mut self, at: CommitLogOffset) -> Found {
        let Some(index) = self.segment_of(at.0) else { return Found::Nothing(Reason::NoSegment) };
        let left = self.segments[index].base + self.segments[index].len - at.0;
        let head = match self.bytes(index, at.0, PEEK_LEN.min(left as usize)) {
            Ok(head) => head,
            Err(error) => return Found::Nothing(Reason::Unreadable(error.to_string())),
        };
        let len = match record::peek(&head) {
            Peek::Nothing(error) => return Found::Nothing(Reason::Record(error)),
            Peek::Blank { len } if u64::from(len) == left => return Found::Blank { next: at.0 + left },
            Peek::Blank { len } => return Found::Nothing(Reason::Blank { claimed: len, left }),
            Peek::Record { len } if u64::from(len) > left || len > RECORD_BYTES_MAX => {
                return Found::Nothing(Reason::CrossesSegment { len: len.into(), left });
            }
            Peek::Record { len } => len,
        };
        drop(head);
        match self.bytes(index, at.0, len as usize) {
            Ok(bytes) => match record::decode(&bytes, at, self.property_crc_at(at)) {
                Ok(message) => Found::Record(Box::new(message)),
                Err(error) => Found::Nothing(Reason::Record(error)),
            },
            Err(error) => Found::Nothing(Reason::Unreadable(error.to_string())),
        }
    }

    /// The next thing at or behind `at`, for one who wants every record there is: damaged places are passed over, and
    /// told. `None` behind the last record.
    pub fn step(&mut self, at: &mut CommitLogOffset) -> Option<Step> {
        loop {
            match self.look(*at) {
                Found::Record(message) => {
                    *at = end_of(&message);
                    return Some(Step::Record(message));
                }
                Found::Blank { next } => *at = CommitLogOffset(next),
                Found::Nothing(reason) => {
                    let from = *at;
                    let next = self.find_record(CommitLogOffset(from.0.checked_add(1)?), |_| {})?;
                    *at = next.commit_log_offset;
                    return Some(Step::PassedOver { from, to: *at, reason });
                }
            }
        }
    }

    /// The first valid record that begins at or behind `from`, wherever it may lie; `bytes_seen` is told of each block
    /// that is not all zeros.
    pub fn find_record(
        &mut self,
        from: CommitLogOffset,
        mut bytes_seen: impl FnMut(CommitLogOffset),
    ) -> Option<Box<StoredMessage>> {
        for index in 0..self.segments.len() {
            let segment = &self.segments[index];
            let (base, end) = (segment.base, segment.base + segment.len);
            if end <= from.0 {
                continue;
            }
            let inside = from.0.max(base) - base;
            let Ok(stretches) = segment.file.data_from(inside) else { continue };
            for stretch in stretches {
                // The first bytes of a record are often zeros, and may have got lost with the block before.
                let start = stretch.start.saturating_sub(PEEK_LEN as u64 - 1).max(inside);
                if let Some(found) = self.find_in(index, base + start..base + stretch.end, &mut bytes_seen) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Reads everything from `from` on.
    pub fn behind(
        &mut self,
        from: CommitLogOffset,
        stamp_of: impl Fn(&StoredMessage) -> Option<CommitLogOffset>,
    ) -> Behind {
        let mut behind = Behind::default();
        let mut at = from;
        loop {
            let mut first_byte = behind.first_byte;
            let found = self.find_record(at, |byte| first_byte = first_byte.or(Some(byte)));
            behind.first_byte = first_byte;
            let Some(message) = found else { return behind };
            behind.records += 1;
            behind.first_record = behind.first_record.or(Some(message.commit_log_offset));
            behind.stamp = behind.stamp.max(stamp_of(&message));
            let stored = message.store_timestamp.0;
            behind.stored_ms = Some((behind.stored_ms.map_or(stored, |(first, _)| first), stored));
            at = end_of(&message);
        }
    }

    fn property_crc_at(&self, at: CommitLogOffset) -> PropertyCrc {
        if at.0 < self.foreign_end { PropertyCrc::Optional } else { self.property_crc }
    }

    fn find_in(
        &mut self,
        index: usize,
        stretch: Range<u64>,
        bytes_seen: &mut impl FnMut(CommitLogOffset),
    ) -> Option<Box<StoredMessage>> {
        let segment_end = self.segments[index].base + self.segments[index].len;
        for start in stretch.clone().step_by(SEARCH_BLOCK_BYTES) {
            // Blocks overlap by the bytes that a record begins with.
            let end = (stretch.end.min(start + SEARCH_BLOCK_BYTES as u64) + PEEK_LEN as u64 - 1).min(segment_end);
            let Ok(block) = self.bytes(index, start, (end - start) as usize) else { continue };
            if block.iter().fold(0, |all, byte| all | byte) == 0 {
                continue;
            }
            // `look` may move the window: a view of it would make it copy.
            let block = block.to_vec();
            let mut told = false;
            for (inside, head) in block.windows(PEEK_LEN).enumerate() {
                let at = CommitLogOffset(start + inside as u64);
                if head[0] != 0 && !told {
                    told = true;
                    bytes_seen(at);
                }
                if matches!(record::peek(head), Peek::Record { .. })
                    && let Found::Record(message) = self.look(at)
                {
                    if !told {
                        bytes_seen(at);
                    }
                    return Some(message);
                }
            }
            if !told && let Some(inside) = block.iter().position(|byte| *byte != 0) {
                bytes_seen(CommitLogOffset(start + inside as u64));
            }
        }
        None
    }

    /// Bytes of one segment, `len` of them or an error.
    fn bytes(&mut self, index: usize, at: u64, len: usize) -> io::Result<Bytes> {
        let inside = |window: &Window| {
            let from = usize::try_from(at.checked_sub(window.at)?).ok()?;
            (from + len <= window.bytes.len()).then(|| window.bytes.slice(from..from + len))
        };
        if let Some(bytes) = inside(&self.window) {
            return Ok(bytes);
        }
        let segment = &self.segments[index];
        let left = segment.base + segment.len - at;
        let wanted = WINDOW_BYTES.max(len).min(usize::try_from(left).unwrap_or(usize::MAX));
        // The old window's memory, unless some message of it is still in somebody's hands.
        let old = std::mem::take(&mut self.window.bytes);
        let mut buffer = old.try_into_mut().map(Vec::from).unwrap_or_default();
        buffer.resize(wanted, 0);
        let read = segment.file.read_at(at - segment.base, &mut buffer)?;
        buffer.truncate(read);
        self.read_bytes += read as u64;
        self.window = Window { at, bytes: buffer.into() };
        inside(&self.window).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"))
    }

    fn segment_of(&self, at: u64) -> Option<usize> {
        let index = self.segments.partition_point(|segment| segment.base <= at).checked_sub(1)?;
        let segment = &self.segments[index];
        (at - segment.base < segment.len).then_some(index)
    }
}

/// Where a record ends.
pub fn end_of(message: &StoredMessage) -> CommitLogOffset {
    CommitLogOffset(message.commit_log_offset.0 + u64::from(message.record_len))
}
