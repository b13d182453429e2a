//! The commit log: all messages and all state, in the order they arrived, in segments of one length.
//!
//! `UncheckedLog` is what lies on the disk; recovery reads it, decides where the log ends, and `CommitLog::start` makes
//! it the log. Appends run on their callers' threads under one short lock; a small thread, the preparer, keeps blocks
//! reserved and memory warm ahead of them, and the flusher's thread syncs behind them.
//!
//! Invariants: a record never spans two segments. Readers never pass the published end, which only grows. Nothing is
//! written beyond the reserved end. Queue offsets, places and `storeTimestamp` grow in one order.

pub mod end;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, RwLock, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{EffectiveTime, Timestamp};
use crate::config::Durability;
use crate::message::StoredMessage;
use crate::metrics::HistogramStats;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::store::commit_log::end::End;
use crate::store::error::{StoreError, is_full};
use crate::store::failpoint::{self, Point};
use crate::store::files::Files;
use crate::store::flusher::{Flusher, Reached, SyncSource};
use crate::store::quarantine::{self, QUARANTINE_DIR};
use crate::store::record::{self, BLANK_LEN, EncodedRecord, Glance, PEEK_LEN, Peek, PropertyCrc, RecordError};
use crate::store::retention::ClosedSegment;
use crate::store::segment::{self, Segment};

/// Directory of the segments, under the data directory.
pub const COMMIT_LOG_DIR: &str = "commitlog";

/// Blocks are reserved in steps of this, or of a sixteenth of a smaller segment.
const RESERVE_STEP_BYTES_MAX: u64 = 64 << 20;
/// Messages leave this much of the file system free, or two steps of a small log: a stop and a start must be able to
/// write their small files.
const FREE_BYTES_KEPT_MAX: u64 = 1 << 20;
/// Reservations are made for whole multiples of this when the disk has no room for a step: its blocks.
const RESERVE_GRAIN_BYTES: u64 = 4 << 10;
/// Memory is warmed at most this far ahead of the writer...
const WARM_AHEAD_BYTES_MAX: u64 = 16 << 20;
/// ...and at least this far; between the two, as far as the log has grown since the start: an idle broker stays small.
const WARM_AHEAD_BYTES_MIN: u64 = 1 << 20;
/// Memory is warmed, and the preparer looked after, in steps of this.
const WARM_STEP_BYTES: u64 = 1 << 20;
/// From so many bytes on, the records of one call are handed over in one piece.
const GATHERED_BYTES_MIN: u64 = 16 << 10;
/// How far a reader's window reaches.
const WINDOW_BYTES: u64 = 64 << 10;
/// A sync that covers at most this much is a small one.
const SMALL_SYNC_BYTES_MAX: u64 = 256 << 10;
/// An append prepares what it needs at most this often before it gives up as overloaded.
const PREPARE_ATTEMPTS_MAX: usize = 8;
/// An append waits at most this long for the preparation another thread is in the middle of.
const PREPARE_WAIT_MAX: Duration = Duration::from_secs(1);
/// The preparer keeps this many steps reserved ahead of the writer: one to write into, one that is kept for state.
const RESERVED_STEPS_AHEAD: u64 = 2;
/// A segment that begins with this many zeros was never reached.
const EMPTY_PROOF_BYTES: u64 = 4 << 10;
/// Lengths of a segment that can work: blocks to reserve in steps, and a length that fits the blank's field.
pub const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = (64 << 10)..=(i32::MAX as u64);
/// Recovery looks for records in blocks of this, and passes over those of zeros.
const SEARCH_BLOCK_BYTES: usize = 4 << 10;

/// Next queue offset of one message queue. Read by anybody, moved only under the log's lock.
#[derive(Debug, Default)]
pub struct QueueCounter(End);

/// A stretch of the log that a reader keeps, for what it asks for next mostly lies right behind. To find the segment and
/// take a share of it for each record of a pull took as long as to check the records.
#[derive(Debug, Default)]
pub struct Window {
    from: u64,
    bytes: Bytes,
}

/// One record for the log.
#[derive(Debug)]
pub struct Append {
    pub record: EncodedRecord,
    pub queue: Arc<QueueCounter>,
    pub class: AppendClass,
}

/// What a full disk and the flusher make of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendClass {
    /// Refused while only the reserve is left; at `disk`, synced at once.
    Message,
    /// May use the reserve, so that acks and deletes pass on a full disk; rides with the next sync.
    State,
}

/// Where a record came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub queue_offset: QueueOffset,
    pub commit_log_offset: CommitLogOffset,
    pub record_len: u32,
    pub store_timestamp: Timestamp,
}

/// What became of one call.
#[derive(Debug)]
pub struct AppendedBatch {
    /// One for each record, in order. Records behind a refused one are stored all the same.
    pub entries: Vec<Result<Appended, StoreError>>,
    /// Behind the last record: what to wait for with `reached`.
    pub end: CommitLogOffset,
}

/// What the log tells its owner. No lock of the log is held during a call.
pub trait CommitLogEvents: Send + Sync {
    /// Everything below `to` may be dispatched: called by whoever moved the confirm offset, maybe by two at once.
    fn confirm_moved(&self, to: CommitLogOffset);
    /// Everything below `to` is on the disk: called by the flusher's thread, before those who wait go on.
    fn synced(&self, to: CommitLogOffset);
    /// The store takes nothing any more. Called once.
    fn failed(&self, reason: &str);
}

/// The log as it lies on the disk: whole segments whose end nobody has found yet.
pub struct UncheckedLog {
    files: Arc<dyn Files>,
    data_dir: PathBuf,
    segment_bytes: u64,
    segments: Vec<Segment>,
}

/// What recovery found out about an unchecked log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Behind the last record.
    pub end: CommitLogOffset,
    /// Everything below is known to be on the disk already; 0 when nothing is known.
    pub synced: CommitLogOffset,
    /// Records below may be somebody else's, without the CRC over all of them.
    pub foreign_end: CommitLogOffset,
}

/// What begins at a place of an unchecked log.
#[derive(Debug)]
pub enum Inspected {
    Record(Box<StoredMessage>),
    /// The segment is closed here; the log goes on at `next`.
    Blank {
        next: CommitLogOffset,
    },
    /// No valid record.
    Invalid(RecordError),
    /// Behind the last segment.
    Outside,
}

/// The log, open for appends. Dropping it closes it.
pub struct CommitLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    files: Arc<dyn Files>,
    dir: PathBuf,
    segment_bytes: u64,
    /// Blocks are reserved in steps of this, and this much is kept for state records.
    step_bytes: u64,
    free_bytes_kept: u64,
    /// Records below may be somebody else's, without the CRC over all of them.
    foreign_end: u64,
    /// Where the log ended when it was opened.
    opened_at: u64,
    time: Arc<EffectiveTime>,
    flusher: Arc<Flusher>,
    events: OnceLock<Weak<dyn CommitLogEvents>>,
    /// Without holes; only the last two can lie at or behind `written`.
    segments: RwLock<VecDeque<Arc<Segment>>>,
    /// The log's lock. Taken after a cell's or a shard's lock, before `segments`.
    writer: Mutex<Writer>,
    /// Moved under the log's lock alone.
    written: End,
    /// Everything in `[written, reserved)` has its blocks and its segments. Moved by who holds `preparing`.
    reserved: AtomicU64,
    /// A flag rather than a lock held over the work, so that who finds it taken can wait for a bounded time.
    preparing: Mutex<bool>,
    prepared: Condvar,
    /// What the last sync covered.
    last_sync_bytes: AtomicU64,
    closed: AtomicBool,
    /// No space was left when blocks were last reserved; only to say so once.
    full: AtomicBool,
    /// The disk is too full for messages, though there is space left: that is for acks and deletes.
    refuses_messages: AtomicBool,
    preparer: OnceLock<Thread>,
}

struct Writer {
    /// The segment that holds `written`, or ends there.
    segment: Arc<Segment>,
}

/// Proof that this thread is the one that prepares.
struct Preparing<'a>(&'a Shared);

impl QueueCounter {
    pub fn new(next: QueueOffset) -> QueueCounter {
        QueueCounter(End::new(next.0))
    }

    /// The offset the queue's next message will get.
    pub fn next(&self) -> QueueOffset {
        QueueOffset(self.0.get())
    }
}

impl UncheckedLog {
    /// Lists and opens the segments. `segment_bytes` is for a log that has none yet; otherwise their own length holds.
    pub fn open(files: Arc<dyn Files>, data_dir: &Path, segment_bytes: u64) -> Result<UncheckedLog, StoreError> {
        let dir = data_dir.join(COMMIT_LOG_DIR);
        let io = |what: &str| {
            let context = format!("{what} {}", dir.display());
            move |error: io::Error| StoreError::io(context.clone(), &error)
        };
        files.create_dir(&dir).map_err(io("creating"))?;
        let mut found = Vec::new();
        for listed in files.list(&dir).map_err(io("listing"))? {
            match segment::parse_file_name(&listed.name) {
                Some(base) if !listed.is_dir => found.push((base, listed.len)),
                _ => tracing::warn!(name = ?listed.name, "a file that nobody knows lies among the segments"),
            }
        }
        // The last file was created and the machine died before it had its length.
        if let Some((base, 0)) = found.last() {
            files.remove_file(&dir.join(segment::file_name(*base))).map_err(io("removing an empty segment of"))?;
            files.sync_dir(&dir).map_err(io("syncing"))?;
            found.pop();
        }
        // Where one has the length that all should have, it is another one that is wrong.
        let is_known = found.iter().any(|(_, len)| *len == segment_bytes);
        let segment_bytes = found.first().filter(|_| !is_known).map_or(segment_bytes, |(_, len)| *len);
        let mut segments: Vec<Segment> = Vec::with_capacity(found.len());
        for (base, len) in found {
            let path = dir.join(segment::file_name(base));
            let damaged = |reason: String| StoreError::Damaged { file: path.clone(), offset: 0, reason };
            if len != segment_bytes {
                return Err(damaged(format!("it has {len} bytes, a segment has {segment_bytes}")));
            }
            if let Some(before) = segments.last()
                && before.end().0 != base
            {
                return Err(damaged(format!("the segment before it ends at {}", before.end())));
            }
            let file =
                files.open_log_file(&path).map_err(|error| StoreError::io(path.display().to_string(), &error))?;
            segments.push(Segment::new(&dir, base, file));
        }
        Ok(UncheckedLog { files, data_dir: data_dir.to_path_buf(), segment_bytes, segments })
    }

    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The first byte that is kept.
    pub fn min(&self) -> CommitLogOffset {
        self.segments.first().map_or(CommitLogOffset(0), Segment::base)
    }

    /// Behind the last segment.
    pub fn max(&self) -> CommitLogOffset {
        self.segments.last().map_or(CommitLogOffset(0), Segment::end)
    }

    /// The base and the path of the segment that holds `at`, or would.
    pub fn segment_for(&self, at: CommitLogOffset) -> (CommitLogOffset, PathBuf) {
        let base = self.min().0 + (at.0.saturating_sub(self.min().0)) / self.segment_bytes * self.segment_bytes;
        (CommitLogOffset(base), self.data_dir.join(COMMIT_LOG_DIR).join(segment::file_name(base)))
    }

    /// Says what begins at `at`.
    pub fn inspect(&self, at: CommitLogOffset, property_crc: PropertyCrc) -> Inspected {
        let Some(segment) = self.segment_of(at) else {
            return Inspected::Outside;
        };
        let remaining = segment.end().0 - at.0;
        let short = |len: u64| Inspected::Invalid(RecordError::TooShort { len: len as usize });
        if remaining < PEEK_LEN as u64 {
            return short(remaining);
        }
        match record::peek(&segment.read(at, PEEK_LEN)) {
            Peek::Nothing(error) => Inspected::Invalid(error),
            Peek::Blank { len } if u64::from(len) == remaining => Inspected::Blank { next: segment.end() },
            Peek::Blank { len } => Inspected::Invalid(RecordError::Length { claimed: len.into(), found: remaining }),
            Peek::Record { len } if u64::from(len) > remaining => short(remaining),
            Peek::Record { len } => match record::decode(&segment.read(at, len as usize), at, property_crc) {
                Ok(message) => Inspected::Record(Box::new(message)),
                Err(error) => Inspected::Invalid(error),
            },
        }
    }

    /// The first valid record that begins at or behind `from`, wherever it may lie.
    pub fn find_record(&self, from: CommitLogOffset, property_crc: PropertyCrc) -> Option<Box<StoredMessage>> {
        self.segments.iter().filter(|segment| segment.end() > from).find_map(|segment| {
            let from = segment.at(from.max(segment.base()).0);
            segment.file.data_from(from).into_iter().find_map(|stretch| {
                // The first bytes of a record are often zeros, and may have got lost with the block before.
                let start = stretch.start.saturating_sub(PEEK_LEN as u64 - 1).max(from);
                self.find_record_in(segment, start..stretch.end, property_crc)
            })
        })
    }

    /// The first valid record that begins in a stretch of a segment.
    fn find_record_in(
        &self,
        segment: &Segment,
        stretch: Range<u64>,
        property_crc: PropertyCrc,
    ) -> Option<Box<StoredMessage>> {
        for start in stretch.clone().step_by(SEARCH_BLOCK_BYTES) {
            // Blocks overlap by the bytes that a record begins with.
            let end = (stretch.end).min(start + SEARCH_BLOCK_BYTES as u64) + PEEK_LEN as u64 - 1;
            let block = segment.file.read(start, (end.min(segment.file.len()) - start) as usize);
            // Most of what is searched was never written; without a branch for each byte this runs at memory speed.
            if block.iter().fold(0, |all, byte| all | byte) == 0 {
                continue;
            }
            for (inside, head) in block.windows(PEEK_LEN).enumerate() {
                let at = CommitLogOffset(segment.base + start + inside as u64);
                if matches!(record::peek(head), Peek::Record { .. })
                    && let Inspected::Record(message) = self.inspect(at, property_crc)
                {
                    return Some(message);
                }
            }
        }
        None
    }

    fn segment_of(&self, at: CommitLogOffset) -> Option<&Segment> {
        let index = at.0.checked_sub(self.min().0)? / self.segment_bytes;
        self.segments.get(usize::try_from(index).ok()?)
    }

    /// Makes `end` the end of the log (A10): segments behind it go to quarantine, what lies behind it in its own
    /// segment is zeroed, and when this returns that is on the disk, as is everything below, which a killed process
    /// may have left unsynced.
    pub(super) fn cut(&mut self, end: CommitLogOffset, synced: CommitLogOffset) -> Result<(), StoreError> {
        assert!(end >= self.min() && end <= self.max(), "the end lies in the log");
        failpoint::at(Point::CutBefore);
        let dir = self.data_dir.join(COMMIT_LOG_DIR);
        let io = |path: &Path| {
            let context = format!("ending the log at {end}: {}", path.display());
            move |error: io::Error| StoreError::io(context.clone(), &error)
        };
        // A segment made ahead of time, which nothing has reached yet, stays.
        let holds_nothing = |segment: &Segment| {
            let len = segment.file.len().min(EMPTY_PROOF_BYTES) as usize;
            segment.read(segment.base(), len).iter().all(|byte| *byte == 0)
        };
        let kept = self.segments.iter().take_while(|segment| segment.base() < end || holds_nothing(segment)).count();
        let later = self.segments.split_off(kept);
        if !later.is_empty() {
            let quarantine = self.data_dir.join(QUARANTINE_DIR);
            // From the last one on, so that a kill in between leaves no hole in the log.
            for segment in later.into_iter().rev() {
                let name = format!("{COMMIT_LOG_DIR}-{}", segment::file_name(segment.base().0));
                let to = quarantine::free_place(&*self.files, &self.data_dir, |number| match number {
                    0 => name.clone(),
                    number => format!("{name}.{number}"),
                });
                let to = to.map_err(io(&quarantine))?;
                quarantine::move_away(&*self.files, segment.path(), &to).map_err(io(segment.path()))?;
                tracing::warn!(segment = %segment.path().display(), %end, "a segment behind the log's end went to quarantine");
            }
        }
        for segment in self.segments.iter_mut().filter(|segment| segment.end() > end || segment.end() > synced) {
            let path = segment.path().to_path_buf();
            if segment.end() > end {
                let at = end.0.saturating_sub(segment.base);
                let file = Arc::get_mut(&mut segment.file).expect("an unchecked log owns its files");
                file.cut(at).map_err(io(&path))?;
                failpoint::at(Point::CutUnsynced);
            }
            segment.file.sync().map_err(io(&path))?;
        }
        // The name of a segment that was made right before a kill may not be on the disk yet (D6).
        self.files.sync_dir(&dir).map_err(io(&dir))?;
        failpoint::at(Point::CutAfter);
        Ok(())
    }
}

impl CommitLog {
    /// Opens the log for appends where recovery says that it ends. `time` starts no earlier than the last record.
    pub fn start(
        mut log: UncheckedLog,
        recovered: Recovered,
        durability: Durability,
        sync_delay: Duration,
        time: Arc<EffectiveTime>,
    ) -> Result<CommitLog, StoreError> {
        let Recovered { end, synced, foreign_end } = recovered;
        let range = SEGMENT_BYTES_RANGE;
        assert!(range.contains(&log.segment_bytes), "segments of {} bytes", log.segment_bytes);
        log.cut(end, synced)?;
        let dir = log.data_dir.join(COMMIT_LOG_DIR);
        if log.segments.is_empty() {
            // A log that was given up whole goes on where it began: places below it are not its own.
            let segment =
                create_segment(&*log.files, &dir, end.0, log.segment_bytes).map_err(|failure| failure.error)?;
            log.segments.push(segment);
        }
        let segments: VecDeque<Arc<Segment>> = log.segments.into_iter().map(Arc::new).collect();
        let segment = segments.iter().rfind(|segment| segment.base() < end).unwrap_or(&segments[0]).clone();
        let step_bytes = RESERVE_STEP_BYTES_MAX.min(log.segment_bytes / 16);
        let shared = Arc::new(Shared {
            files: log.files,
            dir,
            segment_bytes: log.segment_bytes,
            step_bytes,
            free_bytes_kept: FREE_BYTES_KEPT_MAX.min(2 * step_bytes),
            foreign_end: foreign_end.0,
            opened_at: end.0,
            time,
            flusher: Arc::new(Flusher::new(durability, sync_delay, end.0)),
            events: OnceLock::new(),
            segments: RwLock::new(segments),
            writer: Mutex::new(Writer { segment }),
            written: End::new(end.0),
            reserved: AtomicU64::new(end.0),
            preparing: Mutex::new(false),
            prepared: Condvar::new(),
            last_sync_bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            refuses_messages: AtomicBool::new(false),
            preparer: OnceLock::new(),
        });
        let spawn = |name: &str, life: fn(&Shared)| {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || life(&shared))
                .map_err(|error| StoreError::io(format!("starting the thread {name}"), &error))
        };
        let flusher = spawn("log-flusher", |shared| shared.flusher.run(shared))?;
        let log = CommitLog { shared: shared.clone(), threads: Mutex::new(vec![flusher]) };
        let preparer = spawn("log-preparer", Shared::prepare_ahead)?;
        shared.preparer.set(preparer.thread().clone()).expect("set once");
        log.threads.lock().expect("nobody panics holding it").push(preparer);
        Ok(log)
    }

    /// Who is told what happens. Set once, before the first append; held weakly.
    pub fn report_to(&self, events: Weak<dyn CommitLogEvents>) {
        assert!(self.shared.events.set(events).is_ok(), "one owner");
    }

    /// Appends records in order, on this thread. They lie one behind the other, and those of one queue have consecutive
    /// queue offsets. A record that cannot be stored is refused alone; an error of the whole means that nothing was.
    pub fn append(&self, mut records: Vec<Append>) -> Result<AppendedBatch, StoreError> {
        let shared = &*self.shared;
        let is_message = records.iter().any(|append| append.class == AppendClass::Message);
        let kept_bytes = if is_message { shared.step_bytes } else { 0 };
        if is_message && shared.refuses_messages.load(Ordering::Relaxed) {
            return Err(StoreError::StorageFull);
        }
        for _ in 0..PREPARE_ATTEMPTS_MAX {
            let needed = {
                let mut writer = shared.writer.lock().expect("nobody panics holding it");
                shared.check_open()?;
                let from = shared.written.get();
                let end = shared.end_of(from, writer.segment.end().0, &records);
                let needed = end + kept_bytes;
                if needed <= shared.reserved.load(Ordering::Acquire) {
                    let written = shared.write(&mut writer, from, &mut records);
                    drop(writer);
                    let entries = written.map_err(|error| {
                        let reason = format!("writing {}: {error}", shared.dir.display());
                        shared.fail(reason.clone());
                        StoreError::Failed { reason }
                    })?;
                    shared.appended(from, end, is_message);
                    return Ok(AppendedBatch { entries, end: CommitLogOffset(end) });
                }
                needed
            };
            // Usually done already, by the preparer. If not, one step takes a millisecond.
            shared.prepare(needed, if is_message { shared.free_bytes_kept } else { 0 })?;
        }
        Err(StoreError::Overloaded { what: "prepared segments" })
    }

    /// The record at `at`, of which the caller knows the length: what a queue's entry says must be true.
    pub fn read(&self, at: CommitLogOffset, len: u32) -> Result<StoredMessage, StoreError> {
        let segment = self.shared.readable(at, len.into())?;
        let record = segment.read(at, len as usize);
        record::decode(&record, at, self.shared.property_crc(at)).map_err(|error| damaged(&segment, at, error))
    }

    /// The same through the reader's window.
    pub fn read_in(&self, window: &mut Window, at: CommitLogOffset, len: u32) -> Result<StoredMessage, StoreError> {
        let inside = self.move_window(window, at, len as usize)?;
        record::decode_in(&window.bytes, &window.bytes[inside], at, self.shared.property_crc(at))
            .map_err(|error| self.damaged(at, error))
    }

    /// The same for who needs no checksum.
    pub fn glance_in<'w>(
        &self,
        window: &'w mut Window,
        at: CommitLogOffset,
        len: u32,
    ) -> Result<Glance<'w>, StoreError> {
        let inside = self.move_window(window, at, len as usize)?;
        record::glance(&window.bytes[inside], at).map_err(|error| self.damaged(at, error))
    }

    /// Says where in the window the record lies.
    fn move_window(&self, window: &mut Window, at: CommitLogOffset, len: usize) -> Result<Range<usize>, StoreError> {
        let inside = |window: &Window| {
            let from = usize::try_from(at.0.checked_sub(window.from)?).ok()?;
            Some(from..from.checked_add(len)?).filter(|inside| inside.end <= window.bytes.len() && len >= PEEK_LEN)
        };
        if let Some(inside) = inside(window) {
            return Ok(inside);
        }
        let segment = self.shared.readable(at, len as u64)?;
        let end = segment.end().min(self.written()).0.min(at.0 + WINDOW_BYTES.max(len as u64));
        *window = Window { from: at.0, bytes: segment.read(at, (end - at.0) as usize) };
        Ok(0..len)
    }

    /// The record at `at`, if one begins there: for offsets that strangers name.
    pub fn read_at(&self, at: CommitLogOffset) -> Result<StoredMessage, StoreError> {
        let segment = self.shared.readable(at, PEEK_LEN as u64)?;
        let Peek::Record { len } = record::peek(&segment.read(at, PEEK_LEN)) else {
            return Err(StoreError::NoRecord { at });
        };
        let segment = self.shared.readable(at, len.into())?;
        match record::decode(&segment.read(at, len as usize), at, self.shared.property_crc(at)) {
            Ok(message) => Ok(message),
            // Its magic and its own place are right, so it is one, and not bytes out of the middle of another.
            Err(error @ (RecordError::Checksum { .. } | RecordError::NoChecksum)) => Err(damaged(&segment, at, error)),
            Err(_) => Err(StoreError::NoRecord { at }),
        }
    }

    /// What lies in `[from, to)`, as far as the segment of `from` goes, and where that segment ends. Everything there was
    /// appended or recovered; it is not looked at here.
    pub fn view(&self, from: CommitLogOffset, to: CommitLogOffset) -> Result<(Bytes, CommitLogOffset), StoreError> {
        let segment = self.shared.readable(from, PEEK_LEN as u64)?;
        let end = segment.end().min(to).min(self.written());
        Ok((segment.read(from, (end.0 - from.0) as usize), segment.end()))
    }

    /// The error for something at `at` that should be a record.
    pub fn damaged(&self, at: CommitLogOffset, error: RecordError) -> StoreError {
        match self.shared.segment_of(at.0) {
            Some(segment) => damaged(&segment, at, error),
            None => StoreError::NoRecord { at },
        }
    }

    /// File and offset in it of what lies at `at`, for people.
    pub fn place(&self, at: CommitLogOffset) -> (PathBuf, u64) {
        match self.shared.segment_of(at.0) {
            Some(segment) => (segment.path().to_path_buf(), segment.at(at.0)),
            None => (PathBuf::from("commitlog"), at.0),
        }
    }

    /// Microseconds that syncs took.
    pub fn syncs(&self) -> HistogramStats {
        self.shared.flusher.syncs()
    }

    /// Ready when everything below `end` is as durable as the broker promises.
    pub fn reached(&self, end: CommitLogOffset) -> Reached {
        self.shared.flusher.reached(end)
    }

    /// Ready when everything below `end` is on the disk, whatever the broker promises. Synced at once.
    pub fn on_disk(&self, end: CommitLogOffset) -> Reached {
        self.shared.flusher.on_disk(end)
    }

    /// Somebody waits for what was appended as state: it is synced now and not with the next message.
    pub fn hurry(&self) {
        self.shared.flusher.arrived(true);
    }

    /// Nothing at or behind this place may be seen by a consumer.
    pub fn confirm_offset(&self) -> CommitLogOffset {
        match self.shared.flusher.durability() {
            Durability::Memory => self.written(),
            Durability::Disk => self.synced(),
        }
    }

    /// Behind the last record.
    pub fn written(&self) -> CommitLogOffset {
        CommitLogOffset(self.shared.written.get())
    }

    /// Behind the last record of every append that has begun: one that is under way has counted its records in their queues
    /// before they can be read, and is waited for.
    pub fn appended(&self) -> CommitLogOffset {
        let _under_way = self.shared.writer.lock().expect("nobody panics holding it");
        self.written()
    }

    /// Everything below is on the disk.
    pub fn synced(&self) -> CommitLogOffset {
        self.shared.flusher.synced()
    }

    /// The first byte that is kept.
    pub fn min(&self) -> CommitLogOffset {
        self.shared.segments.read().expect("nobody panics holding it")[0].base()
    }

    pub fn segment_bytes(&self) -> u64 {
        self.shared.segment_bytes
    }

    /// Records below may be somebody else's.
    pub fn foreign_end(&self) -> CommitLogOffset {
        CommitLogOffset(self.shared.foreign_end)
    }

    /// Why the store takes nothing any more, if so.
    pub fn failure(&self) -> Option<&str> {
        self.shared.flusher.failure()
    }

    /// Stops everything for ever (D4): some file that must not fail has failed.
    pub fn fail(&self, reason: String) {
        self.shared.fail(reason);
    }

    /// From now on messages are refused as on a full disk, or taken again; state is taken always.
    pub fn refuse_messages(&self, refuse: bool) -> bool {
        self.shared.refuses_messages.swap(refuse, Ordering::Relaxed)
    }

    pub fn refuses_messages(&self) -> bool {
        self.shared.refuses_messages.load(Ordering::Relaxed)
    }

    /// Segments that are not written any more, oldest first.
    pub fn closed_segments(&self) -> Vec<ClosedSegment> {
        let written = self.written();
        let segments = self.shared.segments.read().expect("nobody panics holding it");
        let closed = segments.iter().take_while(|segment| segment.end() < written);
        closed.map(|segment| ClosedSegment { base: segment.base(), end: segment.end() }).collect()
    }

    /// When the last record of a closed segment was stored. The first time all of its records are gone over. Where that is
    /// damaged, the first record behind it speaks for it: it was stored no earlier, so nothing goes too soon, and all
    /// goes in the end.
    pub fn last_stored(&self, closed: &ClosedSegment) -> Result<Timestamp, StoreError> {
        let segment = self.shared.segment_of(closed.base.0).ok_or(StoreError::NoRecord { at: closed.base })?;
        segment.last_stored(|| {
            let view = segment.read(closed.base, (closed.end.0 - closed.base.0) as usize);
            let is_last = |record: &Glance<'_>| {
                let left = &view[(record.end().0 - closed.base.0) as usize..];
                left.len() < PEEK_LEN || matches!(record::peek(left), Peek::Blank { len } if len as usize == left.len())
            };
            let last = record::glances(&view, closed.base).last().filter(is_last);
            let last = last.and_then(|record| self.read(record.commit_log_offset, record.record_len).ok());
            let speaks = last.map_or_else(|| self.read_at(closed.end), Ok)?;
            Ok(speaks.store_timestamp)
        })
    }

    /// Deletes the segments that end at or below `below`, except the one that is written. Views of them stay valid.
    /// Returns the new minimum.
    pub fn delete_before(&self, below: CommitLogOffset) -> Result<CommitLogOffset, StoreError> {
        let shared = &*self.shared;
        loop {
            let mut segments = shared.segments.write().expect("nobody panics holding it");
            let first = segments[0].clone();
            if first.end() > below || first.end().0 > shared.written.get() || segments.len() == 1 {
                drop(segments);
                break;
            }
            segments.pop_front();
            drop(segments);
            let io = |error: io::Error| StoreError::io(format!("deleting {}", first.path().display()), &error);
            shared.files.remove_file(first.path()).map_err(io)?;
            // One by one, from the oldest on: a power cut must leave no hole.
            shared.files.sync_dir(&shared.dir).map_err(|error| {
                shared.fail(format!("sync of {}: {error}", shared.dir.display()));
                StoreError::io(format!("syncing {}", shared.dir.display()), &error)
            })?;
        }
        Ok(self.min())
    }

    /// Refuses further appends, syncs what there is and ends the threads. May be called again.
    pub fn close(&self) -> Result<(), StoreError> {
        {
            let _writer = self.shared.writer.lock().expect("nobody panics holding it");
            self.shared.closed.store(true, Ordering::Release);
        }
        self.shared.flusher.stop();
        if let Some(preparer) = self.shared.preparer.get() {
            preparer.unpark();
        }
        for thread in self.threads.lock().expect("nobody panics holding it").drain(..) {
            // The owner may let go of the log inside of a call from one of them.
            if thread.thread().id() != std::thread::current().id() {
                thread.join().expect("the log's threads do not panic");
            }
        }
        match self.failure() {
            None => Ok(()),
            Some(reason) => Err(StoreError::Failed { reason: reason.into() }),
        }
    }
}

impl Drop for CommitLog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "the commit log was closed");
        }
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), StoreError> {
        if let Some(reason) = self.flusher.failure() {
            return Err(StoreError::Failed { reason: reason.into() });
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    fn fits(&self, append: &Append) -> bool {
        u64::from(append.record.record_len()) + BLANK_LEN as u64 <= self.segment_bytes
    }

    /// Where the log ends after these records, if the one at `from` may lie in the segment that ends at `segment_end`.
    fn end_of(&self, from: u64, mut segment_end: u64, records: &[Append]) -> u64 {
        records.iter().filter(|append| self.fits(append)).fold(from, |at, append| {
            let len = u64::from(append.record.record_len());
            if len + BLANK_LEN as u64 <= segment_end - at {
                return at + len;
            }
            let next = segment_end;
            segment_end += self.segment_bytes;
            next + len
        })
    }

    /// Copies the records in and publishes them. Everything they need was reserved.
    fn write(
        &self,
        writer: &mut Writer,
        from: u64,
        records: &mut [Append],
    ) -> io::Result<Vec<Result<Appended, StoreError>>> {
        let store_timestamp = self.time.now();
        let mut at = from;
        let mut entries = Vec::with_capacity(records.len());
        // Where the first record lies that has its place and is not copied in yet, and which one that is.
        let mut copied = (at, 0);
        for index in 0..records.len() {
            let append = &mut records[index];
            let record_len = append.record.record_len();
            if !self.fits(append) {
                let (len, segment_bytes) = (record_len.into(), self.segment_bytes);
                entries.push(Err(StoreError::RecordTooLarge { len, segment_bytes }));
                continue;
            }
            let remaining = writer.segment.end().0 - at;
            if u64::from(record_len) + BLANK_LEN as u64 > remaining {
                self.copy_in(&writer.segment, copied.0, &records[copied.1..index])?;
                self.close_segment(&writer.segment, at, remaining);
                at = writer.segment.end().0;
                copied = (at, index);
                writer.segment = self.segment_of(at).expect("what is reserved has its segment");
            }
            let append = &mut records[index];
            let queue_offset = append.queue.next();
            append.record.place(queue_offset, CommitLogOffset(at), store_timestamp);
            append.queue.0.move_to(queue_offset.0 + 1);
            let commit_log_offset = CommitLogOffset(at);
            entries.push(Ok(Appended { queue_offset, commit_log_offset, record_len, store_timestamp }));
            at += u64::from(record_len);
        }
        self.copy_in(&writer.segment, copied.0, &records[copied.1..])?;
        self.written.move_to(at);
        failpoint::at(Point::AppendAfter);
        Ok(entries)
    }

    /// Copies records that have their places into their segment: one behind the other, the first at `at`. After an error the
    /// log is not to be written any more.
    fn copy_in(&self, segment: &Segment, at: u64, records: &[Append]) -> io::Result<()> {
        let mut place = segment.at(at);
        let fitting = records.iter().filter(|append| self.fits(append));
        failpoint::at(Point::AppendBefore);
        if fitting.clone().map(|append| u64::from(append.record.record_len())).sum::<u64>() >= GATHERED_BYTES_MIN {
            let pieces = fitting.flat_map(|append| append.record.pieces().map(IoSlice::new)).collect::<Vec<_>>();
            // A kill in between is a kill in the middle of the call.
            let torn_at = if cfg!(feature = "failpoints") { pieces.len() / 2 } else { pieces.len() };
            let (first, second) = pieces.split_at(torn_at);
            segment.file.write_gathered_at(place, first)?;
            failpoint::at(Point::AppendTorn);
            if !second.is_empty() {
                place += first.iter().map(|piece| piece.len() as u64).sum::<u64>();
                segment.file.write_gathered_at(place, second)?;
            }
            return Ok(());
        }
        for piece in fitting.flat_map(|append| append.record.pieces()) {
            segment.file.write_at(place, piece);
            place += piece.len() as u64;
            failpoint::at(Point::AppendTorn);
        }
        Ok(())
    }

    /// Writes the blank, if the segment is not full to the last byte.
    fn close_segment(&self, segment: &Segment, at: u64, remaining: u64) {
        if remaining > 0 {
            assert!(remaining >= BLANK_LEN as u64, "no record leaves less than a blank needs");
            let remaining = u32::try_from(remaining).expect("a segment's length fits 31 bits");
            segment.file.write_at(segment.at(at), &record::encode_blank(remaining));
        }
        failpoint::at(Point::RollClosed);
        // Nothing more will be written: all of it may be read.
        segment.file.write_at(segment.file.len(), &[]);
    }

    /// After an append, outside of the lock: tells those who follow.
    fn appended(&self, from: u64, end: u64, is_message: bool) {
        if from == end {
            return;
        }
        self.flusher.arrived(is_message);
        let wake_bytes = WARM_STEP_BYTES.min(self.step_bytes);
        if from / wake_bytes != end / wake_bytes
            && let Some(preparer) = self.preparer.get()
        {
            preparer.unpark();
        }
        if self.flusher.durability() == Durability::Memory {
            self.tell(|events| events.confirm_moved(CommitLogOffset(end)));
        }
    }

    fn tell(&self, what: impl FnOnce(&dyn CommitLogEvents)) {
        if let Some(events) = self.events.get().and_then(Weak::upgrade) {
            what(&*events);
        }
    }

    fn fail(&self, reason: String) {
        if self.flusher.fail(reason.clone()) {
            self.tell(|events| events.failed(&reason));
        }
    }

    fn segment_of(&self, at: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().expect("nobody panics holding it");
        let index = at.checked_sub(segments[0].base().0)? / self.segment_bytes;
        segments.get(usize::try_from(index).ok()?).cloned()
    }

    /// The segment of `[at, at + len)`, all of which was written.
    fn readable(&self, at: CommitLogOffset, len: u64) -> Result<Arc<Segment>, StoreError> {
        let end = at.0.checked_add(len).filter(|end| *end <= self.written.get());
        let segment = end.filter(|_| len >= PEEK_LEN as u64).zip(self.segment_of(at.0));
        match segment {
            Some((end, segment)) if end <= segment.end().0 => Ok(segment),
            _ => Err(StoreError::NoRecord { at }),
        }
    }

    fn property_crc(&self, at: CommitLogOffset) -> PropertyCrc {
        if at.0 < self.foreign_end { PropertyCrc::Optional } else { PropertyCrc::Required }
    }

    /// Reserves at least up to `target`. Called outside of the log's lock.
    fn prepare(&self, target: u64, free_bytes_kept: u64) -> Result<(), StoreError> {
        let preparing = self.begin_preparing()?;
        while self.reserved.load(Ordering::Relaxed) < target {
            preparing.reserve_step(target, free_bytes_kept)?;
        }
        Ok(())
    }

    fn begin_preparing(&self) -> Result<Preparing<'_>, StoreError> {
        let busy = self.preparing.lock().expect("nobody panics holding it");
        let (mut busy, _) =
            self.prepared.wait_timeout_while(busy, PREPARE_WAIT_MAX, |busy| *busy).expect("nobody panics holding it");
        if *busy {
            return Err(StoreError::Overloaded { what: "prepared segments" });
        }
        *busy = true;
        Ok(Preparing(self))
    }

    /// The preparer's life: whenever the log has grown by a step, does what the next appends will need, the most urgent
    /// first, in small pieces.
    fn prepare_ahead(&self) {
        let mut warmed = self.written.get();
        let mut warming = true;
        while !self.closed.load(Ordering::Acquire) && self.flusher.failure().is_none() {
            let written = self.written.get();
            let reserved = self.reserved.load(Ordering::Acquire);
            if reserved < written + RESERVED_STEPS_AHEAD * self.step_bytes {
                let target = reserved + 1;
                if self
                    .begin_preparing()
                    .and_then(|preparing| preparing.reserve_step(target, self.free_bytes_kept))
                    .is_ok()
                {
                    continue;
                }
            }
            let half_full = self.segment_of(written).is_some_and(|segment| {
                written - segment.base().0 >= self.segment_bytes / 2 && self.segment_of(segment.end().0).is_none()
            });
            if half_full {
                // To create a segment takes syncs, and nothing is reserved meanwhile: on a busy disk that was long enough for
                // the writer to come to the reserved end. What is left of this segment will be needed anyway.
                let rest = self.segment_of(reserved).is_some();
                let prepared = self.begin_preparing().and_then(|preparing| match rest {
                    true => preparing.reserve_step(reserved + 1, self.free_bytes_kept),
                    false => preparing.create_next().map(drop),
                });
                if prepared.is_ok() {
                    continue;
                }
            }
            let ahead = (written - self.opened_at).clamp(WARM_AHEAD_BYTES_MIN, WARM_AHEAD_BYTES_MAX);
            warmed = warmed.max(written);
            let warm_to = reserved.min(written + ahead);
            if warming && warmed < warm_to {
                let (to, done) = self.warm(warmed, warm_to);
                (warmed, warming) = (to, done);
                continue;
            }
            std::thread::park();
        }
    }

    /// One step of warming; `false`: this system cannot do it.
    fn warm(&self, from: u64, to: u64) -> (u64, bool) {
        let Some(segment) = self.segment_of(from) else {
            return (to, true);
        };
        let to = to.min(from + WARM_STEP_BYTES).min(segment.end().0);
        segment.file.expect_small_syncs(self.last_sync_bytes.load(Ordering::Relaxed) <= SMALL_SYNC_BYTES_MAX);
        match segment.file.warm(segment.at(from), segment.at(to)) {
            Ok(()) => (to, true),
            Err(error) => {
                tracing::info!(%error, "memory cannot be warmed ahead of the log");
                (to, false)
            }
        }
    }
}

impl Preparing<'_> {
    /// Reserves the next step, or, where the disk has no room for one, what is needed for `target`.
    fn reserve_step(&self, target: u64, free_bytes_kept: u64) -> Result<(), StoreError> {
        let shared = self.0;
        shared.check_open()?;
        let reserved = shared.reserved.load(Ordering::Relaxed);
        // Somebody else may have been here since the caller looked.
        let target = target.max(reserved + 1);
        let segment = match shared.segment_of(reserved) {
            Some(segment) => segment,
            None => self.create_next()?,
        };
        let step = shared.step_bytes;
        let at = segment.at(reserved);
        let step_end = ((at / step + 1) * step).min(segment.file.len());
        let least_end =
            target.saturating_sub(segment.base).next_multiple_of(RESERVE_GRAIN_BYTES).min(segment.file.len());
        // Blocks that are there already cost nothing, but nobody says which: a disk this full takes no message either way.
        let reserve = |end: u64| match shared.files.available_bytes(&shared.dir)? {
            available if available < free_bytes_kept + (end - at) && free_bytes_kept > 0 => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => segment.file.reserve(end),
        };
        let outcome = match reserve(step_end) {
            Err(error) if is_full(&error) && least_end < step_end => reserve(least_end).map(|()| least_end),
            outcome => outcome.map(|()| step_end),
        };
        match outcome {
            Ok(end) => {
                shared.reserved.store(segment.base + end, Ordering::Release);
                if shared.full.swap(false, Ordering::Relaxed) {
                    tracing::info!("the disk has room for the log again");
                }
                Ok(())
            }
            Err(error) => {
                if is_full(&error) && !shared.full.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the disk is full: messages are refused, what is left is for acks and deletes");
                }
                Err(StoreError::io(format!("reserving blocks of {}", segment.path().display()), &error))
            }
        }
    }

    /// Makes the segment behind the last one.
    fn create_next(&self) -> Result<Arc<Segment>, StoreError> {
        let shared = self.0;
        let base = shared.segments.read().expect("nobody panics holding it").back().expect("never empty").end().0;
        match create_segment(&*shared.files, &shared.dir, base, shared.segment_bytes) {
            Ok(segment) => {
                let segment = Arc::new(segment);
                shared.segments.write().expect("nobody panics holding it").push_back(segment.clone());
                Ok(segment)
            }
            Err(failure) => {
                if failure.of_sync {
                    shared.fail(failure.error.to_string());
                }
                Err(failure.error)
            }
        }
    }
}

impl Drop for Preparing<'_> {
    fn drop(&mut self) {
        *self.0.preparing.lock().expect("nobody panics holding it") = false;
        self.0.prepared.notify_all();
    }
}

impl SyncSource for Shared {
    fn written(&self) -> u64 {
        self.written.get()
    }

    fn sync(&self, from: u64, to: u64) -> io::Result<()> {
        self.last_sync_bytes.store(to - from, Ordering::Relaxed);
        let touched: Vec<Arc<Segment>> = {
            let segments = self.segments.read().expect("nobody panics holding it");
            let touched = |segment: &&Arc<Segment>| segment.base().0 < to && segment.end().0 > from;
            segments.iter().filter(touched).cloned().collect()
        };
        failpoint::at(Point::SyncBefore);
        let synced = touched.iter().try_for_each(|segment| {
            let (from, to) = (from.max(segment.base().0), to.min(segment.end().0));
            segment.file.sync_range(segment.at(from), segment.at(to))
        });
        failpoint::at(Point::SyncAfter);
        synced
    }

    fn synced(&self, to: u64) {
        self.tell(|events| {
            if self.flusher.durability() == Durability::Disk {
                events.confirm_moved(CommitLogOffset(to));
            }
            events.synced(CommitLogOffset(to));
        });
    }

    fn failed(&self, reason: &str) {
        self.tell(|events| events.failed(reason));
    }
}

struct CreateFailure {
    error: StoreError,
    /// A sync has failed: nothing may go on.
    of_sync: bool,
}

/// A new segment that counts: its file and its name are synced.
fn create_segment(files: &dyn Files, dir: &Path, base: u64, len: u64) -> Result<Segment, CreateFailure> {
    let path = dir.join(segment::file_name(base));
    let failure = |of_sync| {
        let context = format!("creating {}", path.display());
        move |error: io::Error| CreateFailure { error: StoreError::io(context.clone(), &error), of_sync }
    };
    failpoint::at(Point::RollBefore);
    let file = files.create_log_file(&path, len).map_err(failure(false))?;
    failpoint::at(Point::RollUnsynced);
    file.sync().map_err(failure(true))?;
    files.sync_dir(dir).map_err(failure(true))?;
    failpoint::at(Point::RollAfter);
    Ok(Segment::new(dir, base, file))
}

fn damaged(segment: &Segment, at: CommitLogOffset, error: RecordError) -> StoreError {
    StoreError::Damaged { file: segment.path().to_path_buf(), offset: segment.at(at.0), reason: error.to_string() }
}
