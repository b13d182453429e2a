//! The index: from a topic and a key to the places of the messages that bear it, newest first.
//!
//! Files in RocketMQ's layout, `index/<yyyyMMddHHmmssSSS>` (in UTC, of the first message), numbers big-endian:
//! ```text
//! header, 40 bytes: | 0 begin ms i64 | 8 end ms i64 | 16 begin offset i64 | 24 end offset i64 | 32 used slots i32 | 36 count i32 |
//! slots, 4 bytes each: the newest entry whose key falls there, 0 for none
//! entries, 20 bytes each: | 0 key hash i32 | 4 commit-log offset i64 | 12 seconds since begin i32 | 16 previous entry i32 |
//! ```
//! Entry 0 is never used; the count starts at 1. A key is `topic#word`, kept as a hash only: whoever asks must compare
//! topic and key with the record. All of it is derived from the log, and a full disk stops indexing, never a send.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::offset::CommitLogOffset;
use crate::store::files::{Files, TableFile};

pub(super) const HEADER_BYTES: u64 = 40;
pub(super) const SLOT_BYTES: u64 = 4;
pub(super) const ENTRY_BYTES: u64 = 20;
/// Blocks are made sure of in steps of this length before anything in there is written.
const RESERVE_STEP_BYTES: u64 = 16 << 20;
/// Most messages that a search by key gives.
pub const FOUND_MAX: usize = 64;
/// Most records that a search by key reads: some only share a hash with the key, or a second with the time.
pub const PLACES_MAX: usize = 4_096;
/// A search that asks for no time.
pub const ALL_TIME: RangeInclusive<Timestamp> = Timestamp(i64::MIN)..=Timestamp(i64::MAX);
/// Entries that a search looks at before it lets dispatch have the index for a moment.
const STEPS_AT_ONCE: usize = 4_096;
/// Slots looked at at once where all of a file's are cleared.
const PIECE_BYTES: usize = 4 << 10;

/// How many slots and entries a file has; RocketMQ's numbers unless a test wants smaller files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexLayout {
    pub slots: u32,
    pub entries: u32,
}

impl Default for IndexLayout {
    fn default() -> IndexLayout {
        IndexLayout { slots: 5_000_000, entries: 20_000_000 }
    }
}

impl IndexLayout {
    pub fn file_bytes(self) -> u64 {
        self.entries_at() + u64::from(self.entries) * ENTRY_BYTES
    }

    pub(super) fn slot_at(self, slot: u32) -> u64 {
        HEADER_BYTES + u64::from(slot) * SLOT_BYTES
    }

    fn entries_at(self) -> u64 {
        HEADER_BYTES + u64::from(self.slots) * SLOT_BYTES
    }

    pub(super) fn entry_at(self, entry: u32) -> u64 {
        self.entries_at() + u64::from(entry) * ENTRY_BYTES
    }
}

pub struct Index {
    files: Arc<dyn Files>,
    dir: PathBuf,
    layout: IndexLayout,
    inner: Mutex<Inner>,
}

/// What the disk is known to hold of the index, all synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEnds {
    /// Every record below is indexed, or needs no entry.
    pub indexed_below: u64,
    pub files: usize,
    /// What the newest file counts.
    pub count: u32,
}

struct Inner {
    /// Oldest first.
    index_files: Vec<IndexFile>,
    /// How many went to retention since the start.
    trimmed: usize,
    /// As of the last record that was indexed with all its keys.
    ends: IndexEnds,
    /// Why nothing is indexed any more.
    stopped: Option<String>,
}

struct IndexFile {
    path: PathBuf,
    name: String,
    table: Box<dyn TableFile>,
    layout: IndexLayout,
    header: Header,
    /// The header on the disk is an older one.
    header_changed: bool,
    unsynced: bool,
}

/// One word that a message can be found by, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub(super) i32);

/// The part of a key's hash that all keys of a topic share.
#[derive(Debug, Clone, Copy)]
pub struct TopicHash(i32);

impl TopicHash {
    pub fn new(topic: &str) -> TopicHash {
        TopicHash(extend_hash(extend_hash(0, topic), "#"))
    }

    pub fn key(self, key: &str) -> KeyHash {
        // Java's |MIN_VALUE| is negative: RocketMQ makes it 0.
        KeyHash(extend_hash(self.0, key).checked_abs().unwrap_or(0))
    }
}

/// Java's `String.hashCode`, continued.
fn extend_hash(hash: i32, text: &str) -> i32 {
    let add = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if text.is_ascii() {
        text.bytes().fold(hash, |hash, byte| add(hash, u16::from(byte)))
    } else {
        text.encode_utf16().fold(hash, add)
    }
}

impl Index {
    /// The index as it was last synced; entries behind that may be anything after a power cut, and are cut. After a
    /// clean stop there are none. `InvalidData` means that the disk holds something else, which is worth nothing.
    pub fn open(
        files: Arc<dyn Files>,
        dir: PathBuf,
        layout: IndexLayout,
        ends: IndexEnds,
        clean: bool,
    ) -> io::Result<Index> {
        let mut index_files = Vec::new();
        for file in files.list(&dir)? {
            let name = file.name.to_str().filter(|name| name.len() == 17 && name.bytes().all(|b| b.is_ascii_digit()));
            match name {
                // Made right before a power cut, it may not have got its length.
                Some(name) if !file.is_dir && (file.len == 0 || file.len == layout.file_bytes()) => {
                    index_files.push(IndexFile::open(&*files, &dir, name, layout)?);
                }
                _ => return Err(worthless(&dir.join(&file.name), "it is no index file of this layout")),
            }
        }
        let index =
            Index { files, layout, inner: Mutex::new(Inner { index_files, trimmed: 0, ends, stopped: None }), dir };
        let mut inner = index.inner();
        // After a clean stop there is nothing to remove and nothing to cut.
        while inner.index_files.len() > ends.files {
            index.remove_last(&mut inner)?;
        }
        let files_match = inner.index_files.len() == ends.files;
        match inner.index_files.last_mut() {
            Some(last) if files_match && last.holds(ends) => {
                if !(clean && last.header.count == ends.count) {
                    last.keep(ends.count)?;
                }
            }
            None if files_match => {}
            _ => return Err(worthless(&index.dir, "it does not hold what it held")),
        }
        drop(inner);
        Ok(index)
    }

    /// An index that takes nothing and finds nothing, because there is no room for its files.
    pub fn stopped_with(
        files: Arc<dyn Files>,
        dir: PathBuf,
        layout: IndexLayout,
        ends: IndexEnds,
        reason: String,
    ) -> Index {
        tracing::error!(%reason, "the index cannot be opened: queries by key find nothing until a restart");
        let inner = Inner { index_files: Vec::new(), trimmed: 0, ends, stopped: Some(reason) };
        Index { files, dir, layout, inner: Mutex::new(inner) }
    }

    /// Every record below is indexed; nothing is known of the others.
    pub fn indexed_below(&self) -> CommitLogOffset {
        CommitLogOffset(self.inner().ends.indexed_below)
    }

    /// Why indexing has stopped, if it has.
    pub fn stopped(&self) -> Option<String> {
        self.inner().stopped.clone()
    }

    /// For dispatch, which indexes many records in one go.
    pub fn writer(&self) -> IndexWriter<'_> {
        IndexWriter { index: self, inner: self.inner() }
    }

    /// Places of records that may bear this key and may have been stored in this time, newest first, each once. Only the
    /// record itself says for sure: a key is a hash here, and a time is a second.
    pub fn search(&self, topic: &str, key: &str, stored: RangeInclusive<Timestamp>) -> Search<'_> {
        let hash = TopicHash::new(topic).key(key);
        Search { index: self, hash, stored, files_left: None, entry: 0, last: None }
    }

    /// Cuts every entry of a record at or above `end`. What is left of the newest file is trusted only as far as its
    /// entries: the slots are made anew from them.
    pub fn truncate_to(&self, end: CommitLogOffset) -> io::Result<()> {
        let mut inner = self.inner();
        while let Some(file) = inner.index_files.last_mut() {
            let count = file.count_below(end);
            if count > 1 {
                file.keep(count)?;
                break;
            }
            self.remove_last(&mut inner)?;
        }
        inner.ends = inner.seen_ends(inner.ends.indexed_below.min(end.0));
        Ok(())
    }

    /// Records below `log_min` are gone: files that speak of nothing else go too. The newest one stays.
    pub fn trim(&self, log_min: CommitLogOffset) -> io::Result<()> {
        loop {
            let inner = self.inner();
            if inner.index_files.len() < 2 || inner.index_files[0].header.end_offset >= log_min.0 {
                return Ok(());
            }
            let oldest = inner.index_files[0].path.clone();
            drop(inner);
            // Counted no more only once it cannot come back: the start drops files from the newest on.
            self.files.remove_file(&oldest)?;
            self.files.sync_dir(&self.dir)?;
            let mut inner = self.inner();
            inner.index_files.remove(0);
            inner.trimmed += 1;
            inner.ends.files = inner.ends.files.saturating_sub(1);
        }
    }

    /// Syncs what was written; says what the disk holds from then on. After an error nothing more is indexed, and the
    /// next start makes the index anew.
    pub fn sync(&self) -> io::Result<IndexEnds> {
        let (ends, unsynced) = {
            let mut inner = self.inner();
            let unsynced: Vec<PathBuf> = inner
                .index_files
                .iter_mut()
                .filter_map(|file| std::mem::take(&mut file.unsynced).then(|| file.path.clone()))
                .collect();
            (inner.ends, unsynced)
        };
        let sync = |path: &PathBuf| self.files.data_file(path, self.layout.file_bytes())?.sync();
        // Through a handle of its own: the sync of the mapping would keep dispatch from the index.
        let synced = unsynced.iter().try_for_each(sync).and_then(|()| match unsynced.is_empty() {
            true => Ok(()),
            false => self.files.sync_dir(&self.dir),
        });
        match synced {
            Ok(()) => Ok(ends),
            Err(error) => {
                let mut inner = self.inner();
                inner.stopped = Some(error.to_string());
                inner.ends = IndexEnds::default();
                Err(error)
            }
        }
    }

    fn remove_last(&self, inner: &mut Inner) -> io::Result<()> {
        let path = inner.index_files.pop().expect("there is a last one").path;
        self.files.remove_file(&path)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while holding it")
    }
}

/// A search by key, which goes on where it was.
pub struct Search<'a> {
    index: &'a Index,
    hash: KeyHash,
    stored: RangeInclusive<Timestamp>,
    /// The file that is searched is the last of so many, those that went to retention included; `None` before the first.
    files_left: Option<usize>,
    /// The entry to look at; 0: none is left in this file.
    entry: u32,
    last: Option<CommitLogOffset>,
}

impl Iterator for Search<'_> {
    type Item = CommitLogOffset;

    fn next(&mut self) -> Option<CommitLogOffset> {
        loop {
            let inner = self.index.inner();
            for _ in 0..STEPS_AT_ONCE {
                if self.entry == 0 {
                    let left = match self.files_left {
                        None => inner.trimmed + inner.index_files.len(),
                        Some(left) => left - 1,
                    };
                    let file = inner.last_of(left)?;
                    self.files_left = Some(left);
                    self.entry = if file.may_hold(&self.stored) { file.head_of(self.hash) } else { 0 };
                    continue;
                }
                let file = inner.last_of(self.files_left?)?;
                let entry = file.entry(self.entry);
                let at = CommitLogOffset(entry.offset);
                self.entry = if entry.previous < self.entry { entry.previous } else { 0 };
                if entry.hash == self.hash && file.is_of(&entry, &self.stored) && self.last != Some(at) {
                    self.last = Some(at);
                    return Some(at);
                }
            }
        }
    }
}

impl Inner {
    /// The newest of so many files, counted from the first one that there was at the start.
    fn last_of(&self, files: usize) -> Option<&IndexFile> {
        self.index_files.get(files.checked_sub(self.trimmed + 1)?)
    }

    fn seen_ends(&self, indexed_below: u64) -> IndexEnds {
        let count = self.index_files.last().map_or(0, |file| file.header.count);
        IndexEnds { indexed_below, files: self.index_files.len(), count }
    }
}

/// The index in the hands of dispatch.
pub struct IndexWriter<'a> {
    index: &'a Index,
    inner: MutexGuard<'a, Inner>,
}

impl IndexWriter<'_> {
    /// Has this record been indexed before?
    pub fn knows(&self, offset: CommitLogOffset) -> bool {
        offset.0 < self.inner.ends.indexed_below
    }

    /// Adds a key of the record at `offset`. Records come in the order of the log.
    pub fn put(&mut self, key: KeyHash, offset: CommitLogOffset, stored: Timestamp) {
        if self.inner.stopped.is_some() {
            return;
        }
        if let Err(error) = self.try_put(key, offset, stored) {
            tracing::error!(%error, "the index takes no more entries: queries by key miss messages until a restart");
            self.inner.stopped = Some(error.to_string());
        }
    }

    /// Everything below has been put: writes the header.
    pub fn finish(mut self, indexed_below: CommitLogOffset) {
        if self.inner.stopped.is_some() {
            return;
        }
        if let Some(file) = self.inner.index_files.last_mut() {
            file.write_header();
        }
        let below = self.inner.ends.indexed_below.max(indexed_below.0);
        self.inner.ends = self.inner.seen_ends(below);
    }

    fn try_put(&mut self, key: KeyHash, offset: CommitLogOffset, stored: Timestamp) -> io::Result<()> {
        if self.inner.index_files.last().is_none_or(IndexFile::is_full) {
            self.roll(stored)?;
        }
        self.inner.index_files.last_mut().expect("rolled if there was none").put(key, offset, stored)
    }

    fn roll(&mut self, stored: Timestamp) -> io::Result<()> {
        let index = self.index;
        index.files.create_dir(&index.dir)?;
        // Names order the files: two files of one millisecond, or a clock that was set back, must not disturb that.
        let mut name = file_name(stored);
        if let Some(last) = self.inner.index_files.last_mut() {
            last.write_header();
            while name <= last.name {
                name = next_name(&last.name);
            }
        }
        let mut file = IndexFile::open(&*index.files, &index.dir, &name, index.layout)?;
        if let Some(last) = self.inner.index_files.last() {
            file.header.begin_ms = last.header.end_ms;
            file.header.end_ms = last.header.end_ms;
            file.header.begin_offset = last.header.end_offset;
            file.header.end_offset = last.header.end_offset;
        }
        self.inner.index_files.push(file);
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub begin_ms: i64,
    pub end_ms: i64,
    pub begin_offset: u64,
    pub end_offset: u64,
    pub used_slots: u32,
    pub count: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&self.begin_ms.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.end_ms.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.begin_offset.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.end_offset.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.used_slots.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES as usize]) -> Header {
        let long = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let int = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Header {
            begin_ms: long(0),
            end_ms: long(8),
            begin_offset: long(16).max(0).unsigned_abs(),
            end_offset: long(24).max(0).unsigned_abs(),
            used_slots: int(32),
            count: int(36).max(1),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub hash: KeyHash,
    pub offset: u64,
    pub seconds: i32,
    pub previous: u32,
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_BYTES as usize] {
        let mut bytes = [0; ENTRY_BYTES as usize];
        bytes[..4].copy_from_slice(&self.hash.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[16..].copy_from_slice(&self.previous.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Entry {
        let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Entry {
            hash: KeyHash(int(0)),
            offset: u64::from_be_bytes(bytes[4..12].try_into().expect("8 bytes")),
            seconds: int(12),
            previous: int(16).max(0).unsigned_abs(),
        }
    }
}

impl IndexFile {
    fn open(files: &dyn Files, dir: &Path, name: &str, layout: IndexLayout) -> io::Result<IndexFile> {
        let path = dir.join(name);
        let table = files.table_file(&path, layout.file_bytes())?;
        let mut header = [0; HEADER_BYTES as usize];
        table.read_at(0, &mut header);
        let header = Header::decode(&header);
        if header.count > layout.entries || header.used_slots > layout.slots || header.begin_offset > header.end_offset
        {
            return Err(worthless(&path, "its header makes no sense"));
        }
        Ok(IndexFile { name: name.to_string(), path, table, layout, header, header_changed: false, unsynced: false })
    }

    fn is_full(&self) -> bool {
        self.header.count >= self.layout.entries
    }

    fn put(&mut self, key: KeyHash, offset: CommitLogOffset, stored: Timestamp) -> io::Result<()> {
        assert!(!self.is_full(), "the caller rolled");
        let entry = self.header.count;
        let (slot_at, entry_at) = (self.layout.slot_at(self.slot_of(key)), self.layout.entry_at(entry));
        self.make_sure(0, HEADER_BYTES)?;
        self.make_sure(slot_at, SLOT_BYTES)?;
        self.make_sure(entry_at, ENTRY_BYTES)?;
        if entry == 1 {
            self.header.begin_ms = stored.0;
            self.header.begin_offset = offset.0;
        }
        let previous = self.head_of(key);
        let seconds = stored.0.saturating_sub(self.header.begin_ms).max(0) / 1_000;
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        self.table.write_at(entry_at, &Entry { hash: key, offset: offset.0, seconds, previous }.encode());
        self.table.write_at(slot_at, &entry.to_be_bytes());
        self.header.used_slots += u32::from(previous == 0);
        self.header.count += 1;
        self.header.end_ms = stored.0;
        self.header.end_offset = offset.0;
        self.header_changed = true;
        self.unsynced = true;
        Ok(())
    }

    fn write_header(&mut self) {
        if std::mem::take(&mut self.header_changed) {
            self.table.write_at(0, &self.header.encode());
        }
    }

    fn slot_of(&self, key: KeyHash) -> u32 {
        key.0.unsigned_abs() % self.layout.slots
    }

    /// The newest entry that may be of this key, 0 for none.
    fn head_of(&self, key: KeyHash) -> u32 {
        let mut head = [0; SLOT_BYTES as usize];
        self.table.read_at(self.layout.slot_at(self.slot_of(key)), &mut head);
        let head = u32::from_be_bytes(head);
        if head < self.header.count { head } else { 0 }
    }

    /// May any entry be of this time? The end is exact to the second.
    fn may_hold(&self, stored: &RangeInclusive<Timestamp>) -> bool {
        self.header.begin_ms <= stored.end().0 && self.header.end_ms.saturating_add(999) >= stored.start().0
    }

    /// May this entry be of this time? It knows whole seconds, and not those before the file's first or beyond an i32.
    fn is_of(&self, entry: &Entry, stored: &RangeInclusive<Timestamp>) -> bool {
        let from = self.header.begin_ms.saturating_add(i64::from(entry.seconds) * 1_000);
        let begins_in_time = entry.seconds == 0 || from <= stored.end().0;
        let ends_in_time = entry.seconds == i32::MAX || from.saturating_add(999) >= stored.start().0;
        begins_in_time && ends_in_time
    }

    fn entry(&self, entry: u32) -> Entry {
        let mut bytes = [0; ENTRY_BYTES as usize];
        self.table.read_at(self.layout.entry_at(entry), &mut bytes);
        Entry::decode(&bytes)
    }

    /// Can this newest file have been part of such an index?
    fn holds(&self, ends: IndexEnds) -> bool {
        (2..=self.header.count).contains(&ends.count) && self.entry(ends.count - 1).offset < ends.indexed_below
    }

    /// The first entry whose record lies at or above `end`: that many are used then, with the one that never is.
    fn count_below(&self, end: CommitLogOffset) -> u32 {
        let (mut low, mut high) = (1, self.header.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle).offset < end.0 { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Makes the file what it was with `count` entries.
    fn keep(&mut self, count: u32) -> io::Result<()> {
        let kept_end = self.layout.entry_at(count);
        self.make_sure(0, kept_end)?;
        // Most slots of most files were never written: what is zero stays as it is, and takes neither memory nor disk.
        let (zeros, mut slots) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
        let mut at = HEADER_BYTES;
        while at < self.layout.entries_at() {
            let len = PIECE_BYTES.min((self.layout.entries_at() - at) as usize);
            self.table.read_at(at, &mut slots[..len]);
            if slots[..len] != zeros[..len] {
                self.table.write_at(at, &zeros[..len]);
            }
            at += len as u64;
        }
        self.header.used_slots = 0;
        self.header.count = 1;
        for entry in 1..count {
            let known = self.entry(entry);
            let slot_at = self.layout.slot_at(self.slot_of(known.hash));
            let previous = self.head_of(known.hash);
            if previous != known.previous {
                let entry_at = self.layout.entry_at(entry);
                self.table.write_at(entry_at, &Entry { previous, ..known }.encode());
            }
            self.table.write_at(slot_at, &entry.to_be_bytes());
            self.header.used_slots += u32::from(previous == 0);
            self.header.count = entry + 1;
            self.header.end_offset = known.offset;
            self.header.end_ms = self.header.begin_ms + i64::from(known.seconds) * 1_000;
        }
        self.header_changed = true;
        self.write_header();
        self.unsynced = true;
        Ok(())
    }

    /// Blocks for `[at, at + len)`, which a full disk may refuse.
    fn make_sure(&mut self, at: u64, len: u64) -> io::Result<()> {
        let from = at / RESERVE_STEP_BYTES * RESERVE_STEP_BYTES;
        let to = (at + len).next_multiple_of(RESERVE_STEP_BYTES).min(self.layout.file_bytes());
        self.table.reserve(from, to)
    }
}

fn worthless(path: &Path, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("index file {}: {reason}", path.display()))
}

/// `yyyyMMddHHmmssSSS` in UTC.
fn file_name(time: Timestamp) -> String {
    let ms = time.0.max(0).unsigned_abs();
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Days to a date, counted in eras of 400 years that begin with a 1 March.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = (era * 400 + year_of_era + u64::from(month <= 2)).min(9_999);
    let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
    let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{ms:03}")
}

/// A name that sorts right behind this one; Java never reads a date out of it.
fn next_name(name: &str) -> String {
    let number: u64 = name.parse().unwrap_or(0);
    format!("{:017}", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk_files::DiskFiles;
    use crate::store::simulated_files::SimulatedFiles;

    const SMALL: IndexLayout = IndexLayout { slots: 7, entries: 20 };
    const DIR: &str = "/index";

    fn open(files: &SimulatedFiles, ends: IndexEnds, clean: bool) -> io::Result<Index> {
        Index::open(Arc::new(files.clone()), DIR.into(), SMALL, ends, clean)
    }

    fn empty() -> (SimulatedFiles, Index) {
        let files = SimulatedFiles::new();
        let index = open(&files, IndexEnds::default(), true).unwrap();
        (files, index)
    }

    /// Records of 100 bytes; record n has the keys `all`, `n` and `odd` or `even`.
    fn put(index: &Index, records: std::ops::Range<u64>) {
        let topic = TopicHash::new("t");
        for record in records {
            let mut writer = index.writer();
            let offset = CommitLogOffset(record * 100);
            assert!(!writer.knows(offset));
            for key in ["all", &record.to_string(), if record % 2 == 0 { "even" } else { "odd" }] {
                writer.put(topic.key(key), offset, Timestamp(1_000_000 + record as i64 * 1_000));
            }
            writer.finish(CommitLogOffset((record + 1) * 100));
        }
    }

    fn find(index: &Index, key: &str) -> Vec<u64> {
        index.search("t", key, ALL_TIME).map(|offset| offset.0 / 100).collect()
    }

    fn check(index: &Index, records: u64) {
        assert_eq!(index.indexed_below().0, records * 100);
        for record in 0..records {
            assert!(find(index, &record.to_string()).contains(&record), "{record}");
        }
        let odd: Vec<u64> = (0..records).rev().filter(|record| record % 2 == 1).collect();
        let found: Vec<u64> = find(index, "odd").into_iter().filter(|record| record % 2 == 1).collect();
        assert!(found.starts_with(&odd[..odd.len().min(found.len())]) && !(found.is_empty() && records > 1));
    }

    #[test]
    fn d6_what_retention_removed_does_not_come_back_in_the_place_of_another() {
        let (files, index) = empty();
        put(&index, 0..40);
        index.sync().unwrap();
        // Three files are gone by then, whatever a power cut does to directories.
        index.trim(CommitLogOffset(2_000)).unwrap();
        assert_eq!(index.inner().trimmed, 3);
        let ends = index.sync().unwrap();
        for seed in 0..32 {
            let index = open(&files.power_cut(seed), ends, false).unwrap();
            for record in 20..40 {
                assert!(find(&index, &record.to_string()).contains(&record), "seed {seed}, {record}");
            }
        }
    }

    #[test]
    fn keys_hash_as_in_rocketmq() {
        assert_eq!(IndexLayout::default().file_bytes(), 420_000_040);
        let key = TopicHash::new("TopicTest").key("key1");
        assert_eq!(key, KeyHash(1_655_984_460));
        assert_eq!(key.0.unsigned_abs() % IndexLayout::default().slots, 984_460);
        // The hash of "polygenelubricants" is Java's MIN_VALUE.
        assert_eq!(TopicHash(0).key("polygenelubricants"), KeyHash(0));
        assert_eq!(TopicHash::new("订").key("单-7").0, crate::delivery::filter::java_hash("订#单-7").abs());
    }

    #[test]
    fn files_are_named_by_the_time_of_their_first_entry() {
        assert_eq!(file_name(Timestamp(0)), "19700101000000000");
        assert_eq!(file_name(Timestamp(951_782_399_999)), "20000228235959999");
        assert_eq!(file_name(Timestamp(951_782_400_000)), "20000229000000000");
        assert_eq!(file_name(Timestamp(1_700_000_000_123)), "20231114221320123");
        assert_eq!(file_name(Timestamp(1_735_689_599_000)), "20241231235959000");
        assert_eq!(next_name("20231114221320999"), "20231114221321000");
    }

    #[test]
    fn the_layout_on_disk_is_rocketmqs() {
        let dir = tempfile::tempdir().unwrap();
        let layout = IndexLayout::default();
        let index =
            Index::open(Arc::new(DiskFiles), dir.path().join("index"), layout, IndexEnds::default(), true).unwrap();
        assert!(!dir.path().join("index").exists(), "nothing indexed, nothing on the disk");
        let stored = Timestamp(1_700_000_000_123);
        for (second, offset) in [(0, 1_024), (2, 4_096)] {
            let mut writer = index.writer();
            let stored = Timestamp(stored.0 + second * 1_000 + 500 * second.signum());
            writer.put(TopicHash::new("TopicTest").key("key1"), CommitLogOffset(offset), stored);
            writer.finish(CommitLogOffset(offset + 146));
        }
        assert_eq!(index.sync().unwrap(), IndexEnds { indexed_below: 4_242, files: 1, count: 3 });
        let file = DiskFiles.data_file(&dir.path().join("index/20231114221320123"), layout.file_bytes()).unwrap();
        let read = |at: u64, len: usize| {
            let mut bytes = vec![0; len];
            file.read_at(at, &mut bytes).unwrap();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(read(0, 40), "0000018bcfe5687b0000018bcfe5723f000000000000040000000000000010000000000100000003");
        assert_eq!(read(40 + 984_460 * 4, 4), "00000002");
        assert_eq!(read(40 + 20_000_000 + 20, 20), "62b4514c00000000000004000000000000000000");
        assert_eq!(read(40 + 20_000_000 + 40, 20), "62b4514c00000000000010000000000200000001");
        assert_eq!(read(40 + 20_000_000, 20), "0".repeat(40), "entry 0 is never used");
    }

    #[test]
    fn what_was_put_is_found_newest_first_over_many_files() {
        let (files, index) = empty();
        put(&index, 0..100);
        assert!(files.list(Path::new(DIR)).unwrap().len() > 10);
        check(&index, 100);
        let all = find(&index, "all");
        assert_eq!(all, (0..100).rev().collect::<Vec<_>>());
        assert!(find(&index, "nobody").is_empty());
        assert_eq!(index.search("u", "all", ALL_TIME).next(), None);
        let ends = index.sync().unwrap();
        drop(index);
        check(&open(&files, ends, true).unwrap(), 100);
    }

    #[test]
    fn a_search_leaves_out_what_was_stored_at_another_time() {
        let (_, index) = empty();
        put(&index, 0..100);
        let at = |record: i64| 1_000_000 + record * 1_000;
        let find = |from: i64, to: i64| {
            let found = index.search("t", "all", Timestamp(from)..=Timestamp(to));
            found.map(|offset| offset.0 / 100).collect::<Vec<_>>()
        };
        assert_eq!(find(at(10), at(13)), [13, 12, 11, 10]);
        // The entry knows the second only: the record decides.
        assert_eq!(find(at(10) + 999, at(13)), [13, 12, 11, 10]);
        assert_eq!(find(at(10) + 1_000, at(13)), [13, 12, 11]);
        assert_eq!(find(i64::MIN, at(2)), [2, 1, 0]);
        assert_eq!(find(at(98), i64::MAX), [99, 98]);
        assert!(
            find(at(200), i64::MAX).is_empty() && find(i64::MIN, at(-2)).is_empty() && find(at(9), at(7)).is_empty()
        );
        assert_eq!(find(at(0), at(0)), [0]);
    }

    #[test]
    fn b11_truncating_leaves_the_index_of_the_records_below() {
        for cut in [0, 1, 5, 6, 7, 40, 99, 100] {
            let (_, index) = empty();
            put(&index, 0..100);
            index.truncate_to(CommitLogOffset(cut * 100)).unwrap();
            check(&index, cut);
            assert!(find(&index, "all").iter().all(|record| *record < cut));
            put(&index, cut..120);
            check(&index, 120);
        }
    }

    #[test]
    fn what_was_not_synced_is_cut_whatever_is_left_of_it() {
        for synced in [0, 3, 6, 7, 50] {
            let (files, index) = empty();
            put(&index, 0..synced);
            let ends = index.sync().unwrap();
            put(&index, synced..synced + 9);
            drop(index);
            for seed in 0..20 {
                for clean in [true, false] {
                    let index = open(&files.power_cut(seed), ends, clean).unwrap();
                    check(&index, synced);
                    put(&index, synced..synced + 20);
                    check(&index, synced + 20);
                }
            }
        }
    }

    #[test]
    fn an_index_that_is_not_the_one_that_was_synced_is_refused() {
        let (files, index) = empty();
        put(&index, 0..30);
        let ends = index.sync().unwrap();
        drop(index);
        for other in [
            IndexEnds { files: ends.files + 1, ..ends },
            IndexEnds { count: ends.count + 1, ..ends },
            IndexEnds { count: 0, ..ends },
            IndexEnds { indexed_below: 1, ..ends },
        ] {
            let error = open(&files.kill(), other, true).err().expect("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{other:?}");
        }
        files.data_file(&Path::new(DIR).join("strange"), 5).unwrap();
        assert_eq!(open(&files, ends, true).err().unwrap().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a8_a_full_disk_stops_indexing_and_nothing_else() {
        let (files, index) = empty();
        put(&index, 0..4);
        files.limit_space(Some(0));
        put(&index, 4..20);
        assert!(index.stopped().is_some());
        check(&index, u64::from(index.indexed_below().0 as u32) / 100);
        let ends = index.sync().unwrap();
        assert!(ends.indexed_below < 2_000);
        files.limit_space(None);
        drop(index);
        // The next start goes on where indexing stopped.
        let index = open(&files, ends, true).unwrap();
        put(&index, ends.indexed_below / 100..20);
        check(&index, 20);
    }

    #[test]
    fn a_failed_sync_ends_all_trust() {
        let (files, index) = empty();
        put(&index, 0..4);
        files.fail_syncs();
        assert!(index.sync().is_err());
        assert!(index.stopped().is_some());
        assert_eq!(index.sync().unwrap(), IndexEnds::default());
    }
}
