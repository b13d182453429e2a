//! Index files against the records of the log: every key of every record has its entry, every entry its record, and
//! the chains lead from a slot to all entries that fall there.
//!
//! Both are in the order of the log, so one pass over both finds what either lacks. Of chains, the newest entry of each
//! slot is kept in memory, for one file at a time.

use super::queues::TopicState;
use super::{Fault, is_damaged};
use crate::offset::CommitLogOffset;
use crate::store::index_file::IndexLayout;
use crate::store::offline::index::{INDEX_DIR, IndexEntry, OfflineIndexFile, index_files};
use crate::store::offline::report::{Problem, Report, Stopped, WrittenBy, remedy};
use crate::store::offline::{CheckpointFound, DerivedEndsFound, OfflineError, OfflineStore};

use super::io_error;

pub struct IndexCheck {
    dir: std::path::PathBuf,
    files: Vec<OfflineIndexFile>,
    /// Per file, how many of its entries the next start would believe.
    counts: Vec<u32>,
    /// Is what the newest file's slots hold to be believed too?
    slots_count: bool,
    /// Records below have their entries, if the next start is to believe it.
    indexed_below: u64,
    /// The place in `files`, and the number of the entry that comes next.
    file: usize,
    entry: u32,
    /// The newest entry of each slot, of the file that is read.
    slots: Vec<u32>,
    used_slots: u32,
    last_offset: u64,
    min: u64,
    /// Keys of records that nobody would have believed to be there: the next start puts them in.
    untrusted: u64,
    /// Of one record, sorted; kept for its memory.
    found: Vec<i32>,
    order: Fault,
    chains: Fault,
    extra: Fault,
    unreadable: Fault,
    live: bool,
}

impl IndexCheck {
    pub fn open(
        store: &OfflineStore<'_>,
        layout: IndexLayout,
        report: &mut Report,
    ) -> Result<IndexCheck, OfflineError> {
        let dir = store.dir.join(INDEX_DIR);
        let ours = store.written_by == WrittenBy::Gantry;
        let mut refused = Vec::new();
        let files = index_files(store.files, &store.dir, layout, |path, offset, reason| {
            refused.push((path, offset, reason));
        })
        .map_err(|error| io_error(&dir, error))?;
        let all: Vec<u32> = files.iter().map(|file| file.header.count).collect();
        let (counts, slots_count, indexed_below) = match (store.written_by, &store.derived_ends) {
            (WrittenBy::Gantry, DerivedEndsFound::Found(ends)) => {
                let ends = ends.index;
                let fewer = files.len() < ends.files || (ends.files > 0 && all[ends.files - 1] < ends.count);
                if fewer && store.stopped != Stopped::Cleanly {
                    // Files went with their messages after that was written down.
                    report.note("the index is not the one that was synced last: the next start makes it anew");
                } else if fewer {
                    let what = format!(
                        "the index had {} files with {} entries in the last one when it was synced; now there are {}",
                        ends.files,
                        ends.count.saturating_sub(1),
                        files.len()
                    );
                    report.problem(Problem::new(&dir, 0, what, remedy::INDEX));
                }
                let trusted = if fewer { 0 } else { ends.files };
                let mut counts = all.clone();
                counts.truncate(trusted);
                if counts.len() == ends.files
                    && !fewer
                    && let Some(last) = counts.last_mut()
                {
                    *last = (*last).min(ends.count);
                }
                let whole = store.stopped == Stopped::Cleanly && counts == all;
                let longer =
                    || counts.iter().chain(std::iter::repeat(&1)).zip(&all).position(|(known, found)| known != found);
                if store.stopped == Stopped::Cleanly
                    && !fewer
                    && let Some(at) = longer()
                {
                    let what = "its header counts entries that were not there when it was synced last";
                    report.problem(Problem::new(&files[at].path, 36, what, remedy::INDEX));
                }
                (counts, whole, if fewer { 0 } else { ends.indexed_below })
            }
            (WrittenBy::Gantry, _) => (Vec::new(), false, 0),
            (WrittenBy::RocketMq, _) if files.is_empty() => (Vec::new(), false, 0),
            (WrittenBy::RocketMq, _) if store.stopped == Stopped::Cleanly => (all, true, u64::MAX),
            // After a kill RocketMQ deletes the files that its checkpoint does not reach.
            (WrittenBy::RocketMq, _) => {
                let index_ms = match store.checkpoint {
                    CheckpointFound::Other { index, .. } => index.0,
                    _ => 0,
                };
                let kept = files.iter().take_while(|file| file.header.end_ms <= index_ms);
                let kept: Vec<u32> = kept.map(|file| file.header.count).collect();
                let below = kept.len().checked_sub(1).map_or(0, |last| files[last].header.end_offset + 1);
                (kept, true, below)
            }
        };
        for (path, offset, reason) in refused {
            // One that was made right before a kill may not have got its length.
            if store.stopped == Stopped::Cleanly || !ours {
                report.problem(Problem::new(&path, offset, reason, remedy::INDEX));
            } else {
                report.note(format!("{}: {reason}; the next start makes the index anew", path.display()));
            }
        }
        if !ours && files.is_empty() {
            report.note("there is no index: messages are not found by key");
        }
        report.index.files = files.len() as u64;
        let min = store.log.min().0;
        let slots = vec![0; if counts.is_empty() { 0 } else { layout.slots as usize }];
        Ok(IndexCheck {
            dir,
            files,
            counts,
            slots_count,
            indexed_below,
            file: 0,
            entry: 1,
            slots,
            used_slots: 0,
            last_offset: 0,
            min,
            untrusted: 0,
            found: Vec::new(),
            order: Fault::default(),
            chains: Fault::default(),
            extra: Fault::default(),
            unreadable: Fault::default(),
            live: store.stopped == Stopped::Running,
        })
    }

    /// The keys of the next record that has some, hashed and sorted.
    pub fn take(
        &mut self,
        report: &mut Report,
        damaged: &[std::ops::Range<u64>],
        topic: &mut TopicState,
        at: CommitLogOffset,
        hashes: &[i32],
    ) {
        report.index.keys += hashes.len() as u64;
        self.found.clear();
        let begins = (self.file, self.entry);
        while let Some(entry) = self.peek() {
            if entry.commit_log_offset > at.0 && !self.is_out_of_order(&entry, at.0) {
                break;
            }
            self.check_chain(&entry);
            report.index.entries += 1;
            if entry.commit_log_offset == at.0 {
                self.found.push(entry.key_hash);
            } else {
                self.no_record(&entry, damaged);
            }
            self.entry += 1;
        }
        self.found.sort_unstable();
        if self.found == hashes {
            return;
        }
        let (missing, extra) = differences(hashes, &self.found);
        let (file, place) = self.place_of(begins);
        if missing > 0 && at.0 >= self.indexed_below {
            self.untrusted += missing;
        } else if missing > 0 {
            topic.missing_keys.add(|| {
                (
                    file.clone(),
                    place,
                    format!("{missing} keys of the record at log offset {at} are not found through the index"),
                )
            });
        }
        if extra > 0 {
            self.extra.add(|| {
                (file, place, format!("{extra} entries point at log offset {at}, whose record has other keys"))
            });
        }
    }

    /// The log has been read.
    pub fn finish(
        &mut self,
        report: &mut Report,
        damaged: &[std::ops::Range<u64>],
        end: CommitLogOffset,
        topics: &mut [TopicState],
    ) {
        while let Some(entry) = self.peek() {
            self.check_chain(&entry);
            report.index.entries += 1;
            if !(self.live && entry.commit_log_offset >= end.0) {
                self.no_record(&entry, damaged);
            }
            self.entry += 1;
        }
        for topic in topics {
            // Records of a topic that is gone are not indexed when the index is made anew.
            if !topic.is_deleted() {
                topic.missing_keys.tell(report, remedy::INDEX);
            }
        }
        for fault in [&mut self.unreadable, &mut self.order, &mut self.chains, &mut self.extra] {
            fault.tell(report, remedy::INDEX);
        }
        if self.untrusted > 0 {
            report.note(format!("{} keys were not synced to the index: the next start puts them in", self.untrusted));
        }
    }

    /// The entry that comes next; goes on to the next file.
    fn peek(&mut self) -> Option<IndexEntry> {
        loop {
            let count = *self.counts.get(self.file)?;
            if self.entry >= count {
                self.finish_file();
                self.file += 1;
                self.entry = 1;
                self.slots.fill(0);
                self.used_slots = 0;
                continue;
            }
            match self.files[self.file].entry(self.entry) {
                Ok(entry) => return Some(entry),
                Err(error) => {
                    let (file, place) = self.place();
                    self.unreadable.add(|| (file, place, format!("it cannot be read: {error}")));
                    self.counts.truncate(self.file);
                }
            }
        }
    }

    /// An entry that leads beyond this record although the one behind it does not is not what was written.
    fn is_out_of_order(&mut self, entry: &IndexEntry, at: u64) -> bool {
        let next = entry.number + 1;
        let follows = next < self.counts[self.file]
            && self.files[self.file].entry(next).is_ok_and(|next| next.commit_log_offset <= at);
        // The window has moved on; the entry itself is read again from there.
        follows
    }

    fn no_record(&mut self, entry: &IndexEntry, damaged: &[std::ops::Range<u64>]) {
        let at = entry.commit_log_offset;
        // Messages that were deleted since, or whose place nobody can read.
        if at < self.min || is_damaged(damaged, at) {
            return;
        }
        let (file, place) = self.place();
        self.extra.add(|| {
            (file, place, format!("entry {} points at log offset {at}, where no record with keys lies", entry.number))
        });
    }

    fn check_chain(&mut self, entry: &IndexEntry) {
        if entry.commit_log_offset < self.last_offset && entry.commit_log_offset >= self.min {
            let (file, place) = self.place();
            let (at, before) = (entry.commit_log_offset, self.last_offset);
            self.order.add(|| {
                (
                    file,
                    place,
                    format!("entry {} points at log offset {at}, the one before it at {before}", entry.number),
                )
            });
        } else {
            self.last_offset = entry.commit_log_offset;
        }
        let slot = self.files[self.file].slot_of(entry.key_hash) as usize;
        let previous = std::mem::replace(&mut self.slots[slot], entry.number);
        self.used_slots += u32::from(previous == 0);
        if previous != entry.previous {
            let (file, place) = self.place();
            self.chains.add(|| {
                let what = format!(
                    "entry {} leads to entry {}, the one before it in slot {slot} is {previous}",
                    entry.number, entry.previous
                );
                (file, place + 16, what)
            });
        }
    }

    /// All entries of a file have been seen: do its slots lead to them?
    fn finish_file(&mut self) {
        let is_last = self.file + 1 == self.counts.len();
        if is_last && !self.slots_count {
            return;
        }
        let file = &mut self.files[self.file];
        // Slots in holes of the file lead nowhere: those that should lead somewhere are then missing among the others.
        let mut seen = 0;
        let runs = match file.slot_runs() {
            Ok(runs) => runs,
            Err(error) => {
                self.unreadable.add(|| (file.path.clone(), 0, format!("it cannot be read: {error}")));
                return;
            }
        };
        for slot in runs.into_iter().flatten() {
            let expected = self.slots[slot as usize];
            seen += u32::from(expected != 0);
            match file.slot(slot) {
                // A slot that leads nowhere counts as empty.
                Ok(found) if found == expected || (expected == 0 && found >= file.header.count) => {}
                Ok(found) => {
                    let place = file.layout.slot_at(slot);
                    let what = format!("slot {slot} leads to entry {found}, its newest one is {expected}");
                    self.chains.add(|| (file.path.clone(), place, what));
                }
                Err(error) => {
                    let place = file.layout.slot_at(slot);
                    self.unreadable.add(|| (file.path.clone(), place, format!("it cannot be read: {error}")));
                    return;
                }
            }
        }
        if seen != self.used_slots {
            let what = format!("{} slots lead nowhere that should lead to entries", self.used_slots - seen);
            self.chains.add(|| (file.path.clone(), file.layout.slot_at(0), what));
        }
        if file.header.used_slots != self.used_slots {
            let what =
                format!("its header counts {} used slots, there are {}", file.header.used_slots, self.used_slots);
            self.chains.add(|| (file.path.clone(), 32, what));
        }
    }

    /// Where the entry that comes next lies.
    fn place(&self) -> (std::path::PathBuf, u64) {
        self.place_of((self.file, self.entry))
    }

    fn place_of(&self, (file, entry): (usize, u32)) -> (std::path::PathBuf, u64) {
        match self.files.get(file.min(self.files.len().saturating_sub(1))) {
            Some(file) => (file.path.clone(), file.place(entry)),
            None => (self.dir.clone(), 0),
        }
    }
}

/// How many of the one are not among the other, and the other way round; both sorted.
fn differences(expected: &[i32], found: &[i32]) -> (u64, u64) {
    let (mut missing, mut extra) = (0, 0);
    let (mut expected, mut found) = (expected.iter().peekable(), found.iter().peekable());
    loop {
        match (expected.peek(), found.peek()) {
            (None, None) => return (missing, extra),
            (Some(_), None) => {
                missing += 1;
                expected.next();
            }
            (None, Some(_)) => {
                extra += 1;
                found.next();
            }
            (Some(a), Some(b)) if a == b => {
                expected.next();
                found.next();
            }
            (Some(a), Some(b)) if a < b => {
                missing += 1;
                expected.next();
            }
            (Some(_), Some(_)) => {
                extra += 1;
                found.next();
            }
        }
    }
}
