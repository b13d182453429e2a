//! A consume queue: where each message of one message queue lies in the log, found by queue offset.
//!
//! Files in RocketMQ's layout, `consumequeue/<topic>/<queueId>/<20-digit byte offset>`, 6,000,000 bytes long and sparse:
//! ```text
//! unit, 20 bytes: | 0 commit-log offset i64 | 8 record length i32 | 12 tag hash i64 |
//! ```
//! Invariant: unit k is queue offset k. It is written by dispatch alone, in order, and never shifted. Everything here is
//! derived from the log; what must be in it, and how far the disk's word for it counts, `dispatch` and `recovery` decide.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::clock::Timestamp;
use crate::names::TopicName;
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::store::commit_log::QueueCounter;
use crate::store::files::{DataFile, Files};
use crate::store::quarantine;

pub const UNIT_BYTES: usize = 20;
/// Length of every file; RocketMQ refuses another one.
pub const FILE_BYTES: u64 = 6_000_000;
const FILE_UNITS: u64 = FILE_BYTES / UNIT_BYTES as u64;
/// Most bytes of units that wait in memory to be written together: what one page holds of them.
const TAIL_BYTES_MAX: usize = 4096 / UNIT_BYTES * UNIT_BYTES;
/// Units read at once.
const READ_UNITS: usize = 256;
/// Most files held open over all queues.
pub const OPEN_FILES_MAX: usize = 512;
/// Bits of a unit's offset that name a place of the log: 256 TiB of it. The 15 above are `QueueEntry::inner`, which is
/// 0 in every file that RocketMQ ever reads.
const INNER_SHIFT: u32 = 48;
/// Record length in the units that RocketMQ puts before the first message of a queue that begins inside a file.
pub(super) const FILLER_LEN: u32 = i32::MAX.unsigned_abs();
/// Most queues that are synced one after the other: each one costs a commit of the file system's journal.
const SYNC_ONE_BY_ONE_MAX: usize = 32;
/// Nothing waits to be synced.
const ALL_SYNCED: u64 = u64::MAX;
/// Nothing is missing behind the end.
const NOTHING: u64 = u64::MAX;

/// What a queue knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    pub commit_log_offset: CommitLogOffset,
    pub record_len: u32,
    pub tag_hash: i64,
    /// Which of its record's messages this is: 0 but in the batch queues of foreign stores.
    pub inner: u16,
}

impl QueueEntry {
    /// Where the record ends.
    pub fn end(&self) -> CommitLogOffset {
        CommitLogOffset(self.commit_log_offset.0 + u64::from(self.record_len))
    }

    pub fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut unit = [0; UNIT_BYTES];
        let offset = self.commit_log_offset.0 | u64::from(self.inner) << INNER_SHIFT;
        unit[..8].copy_from_slice(&offset.to_be_bytes());
        unit[8..12].copy_from_slice(&self.record_len.to_be_bytes());
        unit[12..].copy_from_slice(&self.tag_hash.to_be_bytes());
        unit
    }

    /// `None` for a unit that nobody wrote.
    pub(super) fn decode(unit: &[u8]) -> Option<QueueEntry> {
        let offset = i64::from_be_bytes(unit[..8].try_into().expect("8 bytes"));
        let len = i32::from_be_bytes(unit[8..12].try_into().expect("4 bytes"));
        let tag_hash = i64::from_be_bytes(unit[12..20].try_into().expect("8 bytes"));
        if len <= 0 {
            return None;
        }
        let offset = u64::try_from(offset).ok()?;
        Some(QueueEntry {
            commit_log_offset: CommitLogOffset(offset & ((1 << INNER_SHIFT) - 1)),
            record_len: u32::try_from(len).ok()?,
            tag_hash,
            inner: u16::try_from(offset >> INNER_SHIFT).expect("15 bits"),
        })
    }

    fn filler() -> QueueEntry {
        QueueEntry { commit_log_offset: CommitLogOffset(0), record_len: FILLER_LEN, tag_hash: 0, inner: 0 }
    }
}

/// Which message is meant by a time, where several were stored at once or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first one stored at that time or later; the queue's end if all are older. RocketMQ's usual one.
    Lower,
    /// The last one stored at that time or earlier; the queue's first if all are younger.
    Upper,
}

/// What the disk is known to hold of one queue: entries `[min, end)`, all synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueEnds {
    pub min: QueueOffset,
    pub end: QueueOffset,
}

pub struct ConsumeQueue {
    topic: TopicName,
    queue_id: QueueId,
    incarnation: Incarnation,
    dir: PathBuf,
    open_files: Arc<OpenFiles>,
    /// Names this queue among the open files: a topic made again under the same name shares no descriptor with the old.
    number: u64,
    min_offset: AtomicU64,
    /// The time of the messages below is over: nobody sees them, whatever the files and the log hold.
    kept_from: AtomicU64,
    /// Entries below are in the files or in the tail; published last.
    max_offset: AtomicU64,
    tail: Mutex<Tail>,
    /// The tail could not be written before a sync: the disk lacks what it holds.
    tail_stuck: AtomicBool,
    /// Byte offset of the oldest file with writes that no sync has covered.
    unsynced_from: AtomicU64,
    /// Records of this queue at or above this place of the log have no entry yet, because a write failed or because the
    /// queue is being rebuilt: they must be dispatched again, and nothing behind them before.
    missing_from: AtomicU64,
    /// Entry k could not be put at place k. Only a rebuild at the next start helps.
    worthless: AtomicBool,
    /// A sync has failed: nobody knows what the disk holds.
    unsafe_on_disk: AtomicBool,
    /// The log no longer has this queue's first records: the first one that comes says where the queue begins.
    begins_anywhere: AtomicBool,
    deleted: AtomicBool,
    /// A write has failed in the present attempt to give the queue what it misses.
    stalled: AtomicBool,
    /// One past the highest queue offset among the records that dispatch has seen, written or not.
    seen_end: AtomicU64,
    /// Where dispatch last gathered entries of this queue.
    batch_hint: AtomicUsize,
    /// The next offset to give out; set when the queue's end is known.
    counter: OnceLock<Arc<QueueCounter>>,
}

/// The newest entries, which consumers see and the files do not hold yet. A system call for each message was the
/// dearest step of dispatch; a kill costs nothing, for what was not synced is dispatched again anyway.
#[derive(Default)]
struct Tail {
    first: u64,
    /// Of one file, `TAIL_BYTES_MAX` at most. Given back by a sync: most queues are quiet.
    units: Vec<u8>,
}

impl ConsumeQueue {
    /// A queue without files; `recover` looks for some.
    pub fn new(
        open_files: &Arc<OpenFiles>,
        topic: TopicName,
        queue_id: QueueId,
        incarnation: Incarnation,
    ) -> ConsumeQueue {
        ConsumeQueue {
            dir: open_files.root.join(topic.as_str()).join(queue_id.to_string()),
            number: open_files.next_number.fetch_add(1, Ordering::Relaxed),
            open_files: open_files.clone(),
            topic,
            queue_id,
            incarnation,
            min_offset: AtomicU64::new(0),
            kept_from: AtomicU64::new(0),
            max_offset: AtomicU64::new(0),
            tail: Mutex::default(),
            tail_stuck: AtomicBool::new(false),
            unsynced_from: AtomicU64::new(ALL_SYNCED),
            missing_from: AtomicU64::new(NOTHING),
            worthless: AtomicBool::new(false),
            unsafe_on_disk: AtomicBool::new(false),
            begins_anywhere: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            seen_end: AtomicU64::new(0),
            batch_hint: AtomicUsize::new(0),
            counter: OnceLock::new(),
        }
    }

    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// Records of the topic's name below it belong to an earlier topic.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The oldest message kept.
    pub fn min_offset(&self) -> QueueOffset {
        let kept_from = self.kept_from.load(Ordering::Acquire);
        let min = self.oldest_entry();
        // A queue that is being made anew has not come so far yet.
        if kept_from <= min { QueueOffset(min) } else { QueueOffset(kept_from.min(self.max_offset().0).max(min)) }
    }

    /// The time of the messages below is over. Never taken back.
    pub fn keep_from(&self, offset: QueueOffset) {
        self.kept_from.fetch_max(offset.0, Ordering::AcqRel);
    }

    /// One past the newest message that consumers may see.
    pub fn max_offset(&self) -> QueueOffset {
        QueueOffset(self.max_offset.load(Ordering::Acquire))
    }

    /// The next queue offset, for appends. The queue's end must be known.
    pub fn counter(&self) -> &Arc<QueueCounter> {
        self.counter.get().expect("appends come after the store's start")
    }

    /// Everything below the log's end has been seen: offsets go on behind it.
    pub fn open_for_appends(&self) {
        let next = self.seen_end.load(Ordering::Relaxed).max(self.max_offset().0);
        self.counter.get_or_init(|| Arc::new(QueueCounter::new(QueueOffset(next))));
    }

    /// Adds the entries from `from` up to the end to `entries`, `count_max` at most. Nothing outside of the queue.
    pub fn read_entries(&self, from: QueueOffset, count_max: usize, entries: &mut Vec<QueueEntry>) -> io::Result<()> {
        let already = entries.len();
        let read = self.read_present(from, count_max, entries);
        if from < self.min_offset() {
            entries.truncate(already);
            return Ok(());
        }
        read
    }

    pub fn read_entry(&self, at: QueueOffset) -> io::Result<Option<QueueEntry>> {
        let mut entries = Vec::with_capacity(1);
        self.read_entries(at, 1, &mut entries)?;
        Ok(entries.pop())
    }

    /// The message at this boundary of `time`. `stored_at` reads an entry's record.
    pub fn offset_at_time(
        &self,
        time: Timestamp,
        boundary: Boundary,
        stored_at: impl Fn(&QueueEntry) -> Option<Timestamp>,
    ) -> io::Result<QueueOffset> {
        let (mut low, mut high) = (self.min_offset().0, self.max_offset().0);
        while low < high {
            let middle = low + (high - low) / 2;
            let stored = self.read_entry(QueueOffset(middle))?.and_then(|entry| stored_at(&entry));
            // A record that cannot be read any more is an old one.
            let is_behind = stored.is_some_and(|stored| match boundary {
                Boundary::Lower => stored >= time,
                Boundary::Upper => stored > time,
            });
            if is_behind { high = middle } else { low = middle + 1 }
        }
        // The queue's front may have gone meanwhile.
        Ok(match boundary {
            Boundary::Lower => QueueOffset(low).max(self.min_offset()),
            Boundary::Upper => QueueOffset(low.saturating_sub(1)).max(self.min_offset()),
        })
    }

    /// The first message at or behind this place of the log, the end if there is none.
    pub fn offset_at_place(&self, at: CommitLogOffset) -> io::Result<QueueOffset> {
        Ok(QueueOffset(self.search_place(self.min_offset().0, at)?))
    }

    /// Takes units of consecutive queue offsets and makes them visible. Units below the end must be there already: one
    /// that differs is put right, for the log is the truth. What could not be written is missing from then on
    /// (`missing_from`); consumers get what was written before it.
    ///
    /// One caller at a time: dispatch, under its lock.
    pub fn append(&self, first: QueueOffset, units: &[u8]) -> io::Result<()> {
        assert!(!units.is_empty() && units.len().is_multiple_of(UNIT_BYTES), "whole units");
        if self.deleted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.append_to_files(first.0, units).inspect_err(|_| {
            let written = self.max_offset.load(Ordering::Relaxed).saturating_sub(first.0) as usize;
            let unit = &units[written.min(units.len() / UNIT_BYTES - 1) * UNIT_BYTES..];
            let missing = QueueEntry::decode(unit).map_or(self.incarnation.0, |entry| entry.commit_log_offset.0);
            self.missing_from.store(missing, Ordering::Relaxed);
            self.stalled.store(true, Ordering::Relaxed);
        })
    }

    /// The first record without an entry that should have one, if there is any.
    pub fn missing_from(&self) -> Option<CommitLogOffset> {
        let from = self.missing_from.load(Ordering::Relaxed);
        (from != NOTHING).then_some(CommitLogOffset(from))
    }

    pub(super) fn set_missing_from(&self, from: Option<CommitLogOffset>) {
        self.missing_from.store(from.map_or(NOTHING, |from| from.0), Ordering::Relaxed);
    }

    /// An attempt begins to dispatch again what is missing.
    pub(super) fn begin_mending(&self) {
        self.stalled.store(false, Ordering::Relaxed);
    }

    /// The attempt has gone through the log up to the place where dispatch goes on.
    pub(super) fn end_mending(&self) {
        if !self.is_stalled() && !self.is_worthless() {
            self.missing_from.store(NOTHING, Ordering::Relaxed);
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn saw(&self, offset: QueueOffset) {
        self.seen_end.fetch_max(offset.0 + 1, Ordering::Relaxed);
    }

    pub(super) fn batch_hint(&self) -> usize {
        self.batch_hint.load(Ordering::Relaxed)
    }

    pub(super) fn set_batch_hint(&self, at: usize) {
        self.batch_hint.store(at, Ordering::Relaxed);
    }

    /// Entry k cannot be had at place k any more before the next start, which rebuilds the queue.
    pub fn is_worthless(&self) -> bool {
        self.worthless.load(Ordering::Relaxed)
    }

    /// An entry was found to be wrong: the next start makes the queue anew.
    pub(super) fn distrust(&self) {
        self.worthless.store(true, Ordering::Relaxed);
    }

    /// The file of an entry, and the byte at which the entry begins.
    pub fn place(&self, at: QueueOffset) -> (PathBuf, u64) {
        (self.dir.join(file_name(file_start(at.0))), place_of(at.0))
    }

    /// What the disk holds once `sync` has returned; `None` if it is not to be trusted.
    pub fn ends(&self) -> Option<QueueEnds> {
        let is_whole = self.is_trusted() && self.missing_from().is_none();
        is_whole.then(|| QueueEnds { min: QueueOffset(self.oldest_entry()), end: self.max_offset() })
    }

    /// May the next start build on what the disk holds?
    pub fn is_trusted(&self) -> bool {
        let is_unsafe = self.unsafe_on_disk.load(Ordering::Relaxed) || self.tail_stuck.load(Ordering::Relaxed);
        !self.is_worthless() && !is_unsafe
    }

    /// Has anything been taken since the last sync?
    pub fn is_unsynced(&self) -> bool {
        self.unsynced_from.load(Ordering::Acquire) != ALL_SYNCED
    }

    /// Syncs what was written since the last time. After an error the disk's word for this queue counts for nothing.
    pub fn sync(&self) -> io::Result<()> {
        let Some(from) = self.begin_sync()? else { return Ok(()) };
        let end = self.max_offset().0;
        let mut at = from / UNIT_BYTES as u64;
        let result = (|| {
            while at < end {
                self.file_of(at)?.sync()?;
                at += FILE_UNITS;
            }
            // The names of the file, its queue and its topic may be new.
            self.dir.ancestors().take(3).try_for_each(|dir| self.open_files.files.sync_dir(dir))
        })();
        self.end_sync(result)
    }

    /// Syncs all of these queues. Beyond a few of them, with one sync of the whole file system.
    pub fn sync_all(queues: &[Arc<ConsumeQueue>]) -> io::Result<()> {
        let unsynced: Vec<&Arc<ConsumeQueue>> = queues.iter().filter(|queue| queue.is_unsynced()).collect();
        if unsynced.len() <= SYNC_ONE_BY_ONE_MAX {
            // Each is worth as much as its own sync; the first error is told, the others are known to their queues.
            return unsynced.iter().map(|queue| queue.sync()).fold(Ok(()), Result::and);
        }
        let open_files = &unsynced[0].open_files;
        let written = unsynced.iter().map(|queue| queue.begin_sync().map(|_| ())).fold(Ok(()), Result::and);
        let synced = open_files.files.sync_all(&open_files.root);
        if synced.is_err() {
            unsynced.iter().for_each(|queue| queue.unsafe_on_disk.store(true, Ordering::Relaxed));
        }
        written.and(synced)
    }

    /// Cuts every entry whose record begins at or above `end`, and whatever lies behind, on the disk too.
    pub fn truncate_to(&self, end: CommitLogOffset) -> io::Result<()> {
        self.write_out(&mut self.tail())?;
        let low = self.search_place(self.oldest_entry(), end)?;
        self.max_offset.store(low, Ordering::Release);
        self.zero_from(low)
    }

    /// Takes over what the disk holds, as it was known when it was last synced, and zeroes everything behind, which may
    /// be anything after a power cut. `holds` says whether an entry's record is this queue's message with this offset:
    /// it is asked for the last one.
    ///
    /// `false`: the disk holds something else. Then the queue is worth nothing, and `rebuild` is due.
    pub fn recover(&self, ends: QueueEnds, holds: impl Fn(QueueOffset, &QueueEntry) -> bool) -> io::Result<bool> {
        if !self.take_over(ends)? {
            return Ok(false);
        }
        if let Some(last) = ends.end.0.checked_sub(1).filter(|last| *last >= ends.min.0)
            && !self.raw_entry(last)?.is_some_and(|entry| holds(QueueOffset(last), &entry))
        {
            return Ok(false);
        }
        self.zero_from(ends.end.0)?;
        Ok(true)
    }

    /// Takes over what a clean stop left behind: the files are there, and nobody need open them now.
    pub fn take_over(&self, ends: QueueEnds) -> io::Result<bool> {
        let Ok(files) = self.listed_files() else { return Ok(false) };
        if ends.min < ends.end {
            let needed = file_start(ends.min.0)..=file_start(ends.end.0 - 1);
            let mut present = files.iter().copied().filter(|start| needed.contains(start));
            let mut start = *needed.start();
            while start <= *needed.end() {
                if present.next() != Some(start) {
                    return Ok(false);
                }
                start += FILE_BYTES;
            }
        }
        self.min_offset.store(ends.min.0, Ordering::Release);
        self.max_offset.store(ends.end.0, Ordering::Release);
        Ok(true)
    }

    /// Empties the queue: every record from `from` on is to be dispatched again. `log_min` is where the log begins now.
    pub fn rebuild(&self, from: CommitLogOffset, log_min: CommitLogOffset) -> io::Result<()> {
        self.max_offset.store(0, Ordering::Release);
        self.min_offset.store(0, Ordering::Release);
        *self.tail() = Tail::default();
        self.set_missing_from(Some(from.max(log_min)));
        self.begins_anywhere.fetch_or(log_min.0 > self.incarnation.0, Ordering::Relaxed);
        self.zero_from(0)
    }

    /// The first record that comes says where the queue begins, as when the log has lost the ones before.
    pub(super) fn begin_anywhere(&self) {
        self.begins_anywhere.store(true, Ordering::Relaxed);
    }

    /// The queue ended at `end` once, whatever the log still holds of it. An empty queue goes on there.
    pub fn end_no_earlier(&self, end: QueueOffset) -> io::Result<()> {
        self.seen_end.fetch_max(end.0, Ordering::Relaxed);
        let (min, max) = (QueueOffset(self.oldest_entry()), self.max_offset());
        if max >= end || self.is_worthless() || self.missing_from().is_some() {
            return Ok(());
        }
        if min < max {
            let (file, offset) = self.place(max);
            let what =
                format!("it ends at {max}, but it has ended at {end} before; gantry store verify DIR shows more");
            let text = format!("{} is damaged at byte {offset}: {what}", file.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        // A disk too full for the filler is no reason not to start: only RocketMQ looks at it.
        if let Err(error) = self.begin_at(end.0) {
            tracing::warn!(topic = %self.topic, queue_id = %self.queue_id, %error, "a consume queue begins without filler");
            self.min_offset.store(end.0, Ordering::Release);
            self.max_offset.store(end.0, Ordering::Release);
        }
        Ok(())
    }

    /// Messages below are gone, or go: the queue begins there. Never behind its end.
    pub fn begin_no_earlier(&self, min: QueueOffset) {
        self.min_offset.fetch_max(min.0.min(self.max_offset().0), Ordering::AcqRel);
    }

    /// Records below `log_min` are gone, or go: the queue begins behind them. Says whether it began earlier.
    pub fn trim(&self, log_min: CommitLogOffset) -> io::Result<bool> {
        let oldest = self.oldest_entry();
        if self.present_entry(oldest)?.is_none_or(|oldest| oldest.commit_log_offset >= log_min) {
            return Ok(false);
        }
        self.begin_no_earlier(QueueOffset(self.search_place(oldest, log_min)?));
        Ok(true)
    }

    /// Removes files that hold nothing but entries below the queue's beginning.
    pub fn remove_trimmed(&self) -> io::Result<()> {
        if self.deleted.load(Ordering::Acquire) {
            return Ok(());
        }
        let kept = file_start(self.oldest_entry());
        for start in self.listed_files()?.into_iter().filter(|start| *start < kept) {
            self.open_files.close_one(self.number, start);
            self.open_files.files.remove_file(&self.dir.join(file_name(start)))?;
        }
        Ok(())
    }

    /// Moves the directory away: its files are not this queue's.
    pub fn set_aside(&self, to: &Path) -> io::Result<()> {
        self.open_files.close(self.number);
        quarantine::move_away(&*self.open_files.files, &self.dir, to)
    }

    /// The first unit on the disk, for the question whose queue it was. `InvalidData` if there are strange files.
    pub fn first_on_disk(&self) -> io::Result<Option<QueueEntry>> {
        match self.listed_files()?.first() {
            Some(start) => self.raw_entry(start / UNIT_BYTES as u64),
            None => Ok(None),
        }
    }

    /// Removes the files. Readers that still hold the queue find nothing any more.
    pub fn delete(&self) -> io::Result<()> {
        {
            // Under the lock: what is deleted writes nothing any more, for its place may soon be another topic's.
            let mut tail = self.tail();
            self.deleted.store(true, Ordering::Release);
            *tail = Tail::default();
        }
        self.open_files.close(self.number);
        let files = &self.open_files.files;
        for file in files.list(&self.dir)? {
            files.remove_file(&self.dir.join(file.name))?;
        }
        match files.remove_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        // The last queue takes the topic's directory along.
        match self.dir.parent().map(|topic| files.remove_dir(topic)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    }

    /// The oldest entry there is, for anybody to see or not.
    fn oldest_entry(&self) -> u64 {
        self.min_offset.load(Ordering::Acquire)
    }

    /// The first entry from `low` on whose record begins at or behind this place of the log, the end if there is none.
    fn search_place(&self, mut low: u64, at: CommitLogOffset) -> io::Result<u64> {
        let mut high = self.max_offset().0;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.present_entry(middle)? {
                Some(entry) if entry.commit_log_offset < at => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn present_entry(&self, at: u64) -> io::Result<Option<QueueEntry>> {
        let mut entries = Vec::with_capacity(1);
        self.read_present(QueueOffset(at), 1, &mut entries)?;
        Ok(entries.pop())
    }

    /// As `read_entries`, messages whose time is over included.
    fn read_present(&self, from: QueueOffset, count_max: usize, entries: &mut Vec<QueueEntry>) -> io::Result<()> {
        let already = entries.len();
        let read = self.read_visible(from, count_max, entries);
        // Its place may be another topic's by now, or its file gone with the messages.
        if self.deleted.load(Ordering::Acquire) || from.0 < self.oldest_entry() {
            entries.truncate(already);
            return Ok(());
        }
        read
    }

    fn read_visible(&self, from: QueueOffset, count_max: usize, entries: &mut Vec<QueueEntry>) -> io::Result<()> {
        let already = entries.len();
        if from.0 < self.oldest_entry() {
            return Ok(());
        }
        let end = self.max_offset().0.min(from.0.saturating_add(count_max as u64));
        let mut at = from.0;
        let mut units = [0; READ_UNITS * UNIT_BYTES];
        let mut take = |units: &[u8]| {
            units.chunks_exact(UNIT_BYTES).try_for_each(|unit| match QueueEntry::decode(unit) {
                Some(entry) => {
                    entries.push(entry);
                    Ok(())
                }
                None => Err(self.entry_missing(QueueOffset(from.0 + (entries.len() - already) as u64))),
            })
        };
        while at < end {
            // What consumers see is in the tail or in the files, and moves from the one to the other only.
            let in_files = {
                let tail = self.tail();
                match tail.units.is_empty() {
                    true => end,
                    false if at >= tail.first => {
                        let units = &tail.units[(at - tail.first) as usize * UNIT_BYTES..];
                        return take(&units[..(end - at) as usize * UNIT_BYTES]);
                    }
                    false => tail.first.min(end),
                }
            };
            let count = (in_files - at).min(FILE_UNITS - at % FILE_UNITS).min(READ_UNITS as u64);
            let units = &mut units[..count as usize * UNIT_BYTES];
            self.file_of(at)?.read_at(place_of(at), units)?;
            take(units)?;
            at += count;
        }
        Ok(())
    }

    fn append_to_files(&self, first: u64, units: &[u8]) -> io::Result<()> {
        if self.max_offset().0 == 0 && first > 0 && self.begins_anywhere.load(Ordering::Relaxed) {
            self.begin_at(first)?;
        }
        self.begins_anywhere.store(false, Ordering::Relaxed);
        let end = self.max_offset.load(Ordering::Relaxed);
        if first > end {
            self.worthless.store(true, Ordering::Relaxed);
            return Err(self.damaged(&format!("entry {first} comes where entry {end} should")));
        }
        let known = ((end - first) as usize).min(units.len() / UNIT_BYTES);
        if known > 0 {
            self.write_out(&mut self.tail())?;
        }
        self.put_right(first, &units[..known * UNIT_BYTES])?;
        let mut at = end;
        for units in Pieces::new(at, &units[known * UNIT_BYTES..]) {
            self.push(at, units)?;
            at += (units.len() / UNIT_BYTES) as u64;
            self.max_offset.store(at, Ordering::Release);
        }
        Ok(())
    }

    /// Takes units that lie in one file, behind everything there is. After an error they are not there.
    fn push(&self, at: u64, units: &[u8]) -> io::Result<()> {
        let mut tail = self.tail();
        let fits = tail.units.len() + units.len() <= TAIL_BYTES_MAX && file_start(tail.first) == file_start(at);
        if !fits {
            self.write_out(&mut tail)?;
        }
        if units.len() > TAIL_BYTES_MAX {
            return self.write_units(at, units);
        }
        if tail.units.is_empty() {
            tail.first = at;
        }
        tail.units.extend_from_slice(units);
        self.unsynced_from.fetch_min(file_start(at), Ordering::AcqRel);
        Ok(())
    }

    /// Puts the tail into the files, if there is one.
    fn write_out(&self, tail: &mut Tail) -> io::Result<()> {
        if !tail.units.is_empty() && !self.deleted.load(Ordering::Acquire) {
            self.write_units(tail.first, &tail.units)?;
        }
        tail.units.clear();
        self.tail_stuck.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect("no code panics while holding it")
    }

    /// Begins an empty queue at `first`, the units before it in its file filled as RocketMQ fills them.
    fn begin_at(&self, first: u64) -> io::Result<()> {
        let count = (first % FILE_UNITS) as usize;
        if count > 0 {
            self.write_units(first - count as u64, &QueueEntry::filler().encode().repeat(count))?;
        }
        self.min_offset.store(first, Ordering::Release);
        self.max_offset.store(first, Ordering::Release);
        Ok(())
    }

    /// From which file on writes are to be synced; they count as synced from here on, and the files hold everything.
    fn begin_sync(&self) -> io::Result<Option<u64>> {
        // Under the tail's lock: what comes later marks the queue again.
        let mut tail = self.tail();
        if !self.is_unsynced() || self.deleted.load(Ordering::Acquire) {
            return Ok(None);
        }
        if let Err(error) = self.write_out(&mut tail) {
            // Consumers see it all the same; the next sync tries again, and until then the disk is not believed.
            self.tail_stuck.store(true, Ordering::Relaxed);
            return Err(error);
        }
        tail.units = Vec::new();
        Ok(Some(self.unsynced_from.swap(ALL_SYNCED, Ordering::AcqRel)))
    }

    fn end_sync(&self, result: io::Result<()>) -> io::Result<()> {
        // Deleted meanwhile: there is nothing left to be safe.
        if result.is_err() && !self.deleted.load(Ordering::Acquire) {
            self.unsafe_on_disk.store(true, Ordering::Relaxed);
            return result;
        }
        Ok(())
    }

    fn put_right(&self, first: u64, units: &[u8]) -> io::Result<()> {
        let mut at = first;
        let mut stored = Vec::new();
        for units in Pieces::new(first, units) {
            stored.resize(units.len(), 0);
            // Units below the oldest message kept may be gone with their file.
            if at >= self.oldest_entry() {
                self.file_of(at)?.read_at(place_of(at), &mut stored)?;
                if stored != units {
                    tracing::error!(
                        topic = %self.topic, queue_id = %self.queue_id, queue_offset = at,
                        "the consume queue disagreed with the log and was put right"
                    );
                    self.write_units(at, units)?;
                }
            }
            at += (units.len() / UNIT_BYTES) as u64;
        }
        Ok(())
    }

    /// Writes units that lie in one file.
    fn write_units(&self, at: u64, units: &[u8]) -> io::Result<()> {
        if at.is_multiple_of(FILE_UNITS) {
            self.open_files.files.make_dir(&self.dir)?;
        }
        self.file_of(at)?.write_at(place_of(at), units)?;
        self.unsynced_from.fetch_min(file_start(at), Ordering::AcqRel);
        Ok(())
    }

    /// A unit of the files as they are, visible or not.
    fn raw_entry(&self, at: u64) -> io::Result<Option<QueueEntry>> {
        let mut unit = [0; UNIT_BYTES];
        self.file_of(at)?.read_at(place_of(at), &mut unit)?;
        Ok(QueueEntry::decode(&unit))
    }

    /// Zeroes what the files hold from this unit on, where they hold anything, and removes the files behind.
    fn zero_from(&self, unit: u64) -> io::Result<()> {
        let kept = file_start(unit);
        for start in self.listed_files()? {
            if start > kept || (start == kept && unit.is_multiple_of(FILE_UNITS)) {
                self.open_files.close_one(self.number, start);
                self.open_files.files.remove_file(&self.dir.join(file_name(start)))?;
            } else if start == kept {
                self.file_of(unit)?.zero(place_of(unit), FILE_BYTES)?;
                self.unsynced_from.fetch_min(start, Ordering::AcqRel);
            }
        }
        Ok(())
    }

    /// Byte offsets of the files on the disk, in order.
    fn listed_files(&self) -> io::Result<Vec<u64>> {
        self.open_files
            .files
            .list(&self.dir)?
            .into_iter()
            .map(|file| match parse_file_name(&file.name) {
                // Made right before a power cut, it may not have got its length.
                Some(start) if !file.is_dir && matches!(file.len, 0 | FILE_BYTES) => Ok(start),
                _ => Err(self.damaged("it holds a file that is none of its own")),
            })
            .collect()
    }

    fn file_of(&self, unit: u64) -> io::Result<Arc<dyn DataFile>> {
        let start = file_start(unit);
        self.open_files.open(self.number, start, || self.dir.join(file_name(start)))
    }

    fn entry_missing(&self, at: QueueOffset) -> io::Error {
        self.distrust();
        let (file, offset) = self.place(at);
        let what = "an entry is missing; consumequeue can be deleted, the next start makes it anew";
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged at byte {offset}: {what}", file.display()))
    }

    fn damaged(&self, what: &str) -> io::Error {
        let text = format!("consume queue {} of topic '{}': {what}", self.queue_id, self.topic);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

/// Cuts units into pieces that lie in one file each.
struct Pieces<'a> {
    at: u64,
    units: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn new(at: u64, units: &'a [u8]) -> Pieces<'a> {
        Pieces { at, units }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.units.is_empty() {
            return None;
        }
        let room = (FILE_UNITS - self.at % FILE_UNITS) as usize * UNIT_BYTES;
        let (piece, rest) = self.units.split_at(room.min(self.units.len()));
        self.at += (piece.len() / UNIT_BYTES) as u64;
        self.units = rest;
        Some(piece)
    }
}

/// Byte offset of the file that holds a unit.
fn file_start(unit: u64) -> u64 {
    unit / FILE_UNITS * FILE_BYTES
}

/// Where a unit lies in its file.
fn place_of(unit: u64) -> u64 {
    unit % FILE_UNITS * UNIT_BYTES as u64
}

fn file_name(start: u64) -> String {
    format!("{start:020}")
}

fn parse_file_name(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let start: u64 = name.parse().ok()?;
    (name == file_name(start) && start.is_multiple_of(FILE_BYTES)).then_some(start)
}

/// The files that all queues together hold open, `OPEN_FILES_MAX` at most: the least used one makes room.
pub struct OpenFiles {
    files: Arc<dyn Files>,
    root: PathBuf,
    next_number: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    by_file: HashMap<(u64, u64), Slot>,
    /// The hand of a clock goes over these: a file used since it last passed stays.
    hand: VecDeque<(u64, u64)>,
}

struct Slot {
    file: Arc<dyn DataFile>,
    used: bool,
}

impl OpenFiles {
    /// `root` is the directory that holds one directory per topic; it exists.
    pub fn new(files: Arc<dyn Files>, root: PathBuf) -> Arc<OpenFiles> {
        Arc::new(OpenFiles { files, root, next_number: AtomicU64::new(0), held: Mutex::default() })
    }

    fn open(&self, queue: u64, start: u64, path: impl Fn() -> PathBuf) -> io::Result<Arc<dyn DataFile>> {
        let mut held = self.held();
        if let Some(slot) = held.by_file.get_mut(&(queue, start)) {
            slot.used = true;
            return Ok(slot.file.clone());
        }
        // Opened under the lock: nobody opens a file twice, and opening is quick.
        let file = self.files.data_file(&path(), FILE_BYTES)?;
        while held.by_file.len() >= OPEN_FILES_MAX {
            let Some(key) = held.hand.pop_front() else { break };
            match held.by_file.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    held.hand.push_back(key);
                }
                Some(_) => drop(held.by_file.remove(&key)),
                None => {}
            }
        }
        held.by_file.insert((queue, start), Slot { file: file.clone(), used: false });
        held.hand.push_back((queue, start));
        Ok(file)
    }

    fn close(&self, queue: u64) {
        let mut held = self.held();
        held.by_file.retain(|(known, _), _| *known != queue);
        held.hand.retain(|(known, _)| *known != queue);
    }

    fn close_one(&self, queue: u64, start: u64) {
        let mut held = self.held();
        held.by_file.remove(&(queue, start));
        held.hand.retain(|key| *key != (queue, start));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no code panics while holding it")
    }
}
