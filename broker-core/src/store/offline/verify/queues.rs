//! Consume queues against the records of the log: queue offsets follow each other, and each has its entry.
//!
//! Records come in the order of the log, queues want them in their own: entries wait until there are enough of them,
//! are sorted by queue and offset, and compared in runs. A topic that is deleted and made again begins anew, so what was
//! found of its earlier life is forgotten: its queues are gone.

use std::collections::{HashMap, HashSet};

use super::{Fault, io_error, is_damaged};
use crate::names::STATE_TOPIC;
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::store::consume_queue::{FILLER_LEN, UNIT_BYTES};
use crate::store::index_file::TopicHash;
use crate::store::offline::queues::{self, CONSUME_QUEUE_DIR, QueueDir, READ_UNITS};
use crate::store::offline::report::{Problem, Report, Stopped, WrittenBy, remedy};
use crate::store::offline::{CheckpointFound, DerivedEndsFound, OfflineError, OfflineStore};

/// Entries that wait to be compared, 40 bytes each.
const WAITING_MAX: usize = 65_536;
/// Queues that RocketMQ makes without a topic.
const LIGHT_QUEUE_PREFIX: &str = "%LMQ%";
/// Queue files whose length is wrong, told of one by one.
const LENGTHS_TOLD_MAX: usize = 16;

/// What the queue must know of one record.
#[derive(Debug, Clone, Copy)]
pub struct Queued {
    pub at: QueueOffset,
    pub commit_log_offset: CommitLogOffset,
    pub record_len: u32,
    /// Which of its record's messages it is.
    pub inner: u16,
    /// `None`: the entry holds something else in its place.
    pub tag_hash: Option<i64>,
    pub stored_ms: i64,
}

/// Names a topic in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicNumber(usize);

pub struct QueueCheck {
    file_bytes: u64,
    dirs: Vec<QueueDir>,
    topics: Vec<TopicState>,
    topic_names: HashMap<String, usize>,
    topic_ids: HashMap<u32, usize>,
    queues: Vec<QueueState>,
    queue_numbers: HashMap<(usize, QueueId), usize>,
    waiting: Vec<(usize, Queued)>,
    /// Raised behind each damaged place: queue offsets may jump once.
    gaps: u32,
    /// Neighbours in the log are often of one topic.
    last_topic: usize,
}

/// A topic as far as the log has told of it.
pub struct TopicState {
    name: String,
    key_prefix: TopicHash,
    /// Where its queues are in `queues`.
    queues: Vec<usize>,
    /// Its create record has been seen: its queues begin at 0.
    is_known: bool,
    /// Deleted, and not made again.
    is_deleted: bool,
    /// A create record was seen that may be of a new topic or of one that was there.
    may_restart: bool,
    /// Holds batches in single records whose queues are not ours: they are not read.
    unchecked: bool,
    /// Keys of its records that the index should have and has not.
    pub missing_keys: Fault,
}

struct QueueState {
    topic: usize,
    queue_id: QueueId,
    /// Where its directory is in `dirs`.
    dir: Option<usize>,
    /// The first queue offset that the log holds, and the one expected next.
    first: Option<u64>,
    next: u64,
    gaps: u32,
    /// Not there, or not right, and nobody would have believed it: the next start makes it.
    untrusted: u64,
    faults: Option<Box<QueueFaults>>,
}

#[derive(Default)]
struct QueueFaults {
    order: Fault,
    missing: Fault,
    differs: Fault,
    extra: Fault,
}

impl QueueCheck {
    pub fn open(store: &OfflineStore<'_>, report: &mut Report) -> Result<QueueCheck, OfflineError> {
        let root = store.dir.join(CONSUME_QUEUE_DIR);
        let mut strangers = Vec::new();
        let dirs =
            queues::queue_dirs(store.files, &store.dir, &mut strangers).map_err(|error| io_error(&root, error))?;
        let ours = store.written_by == WrittenBy::Gantry;
        let mut check = QueueCheck {
            file_bytes: queues::file_bytes_of(&dirs, ours),
            dirs: Vec::new(),
            topics: Vec::new(),
            topic_names: HashMap::new(),
            topic_ids: HashMap::new(),
            queues: Vec::new(),
            queue_numbers: HashMap::new(),
            waiting: Vec::with_capacity(WAITING_MAX),
            gaps: 0,
            last_topic: 0,
        };
        for stranger in strangers {
            report.note(format!("{} is no consume queue: RocketMQ does not open a store with it", stranger.display()));
        }
        report.consume_queues.files = dirs.iter().map(|dir| dir.files.len() as u64).sum();
        let mut told = 0;
        for (number, dir) in dirs.iter().enumerate() {
            let topic = check.topic(&dir.topic);
            let queue = check.queue(topic, dir.queue_id);
            check.queues[queue].dir = Some(number);
            let mut end = None;
            for (base, len) in &dir.files {
                let (file, _) = dir.place(QueueOffset(base / UNIT_BYTES as u64), check.file_bytes);
                let follows = end.is_none_or(|end| end == *base) && base % check.file_bytes == 0;
                end = Some(base + check.file_bytes);
                // Made right before a kill, it may not have got its length.
                let begun = *len == 0 && store.stopped != Stopped::Cleanly;
                if (*len == check.file_bytes || begun) && follows {
                    continue;
                }
                told += 1;
                if told <= LENGTHS_TOLD_MAX {
                    let reason = match follows {
                        true => format!("it has {len} bytes, a queue file of this store has {}", check.file_bytes),
                        false => "the file before it is missing".to_string(),
                    };
                    report.problem(Problem::new(&file, (*len).min(check.file_bytes), reason, remedy::QUEUE));
                }
            }
        }
        check.dirs = dirs;
        Ok(check)
    }

    pub fn topic(&mut self, name: &str) -> TopicNumber {
        if self.topics.get(self.last_topic).is_some_and(|topic| topic.name == name) {
            return TopicNumber(self.last_topic);
        }
        let number = match self.topic_names.get(name) {
            Some(number) => *number,
            None => {
                let number = self.topics.len();
                self.topic_names.insert(name.to_string(), number);
                self.topics.push(TopicState {
                    name: name.to_string(),
                    key_prefix: TopicHash::new(name),
                    queues: Vec::new(),
                    is_known: false,
                    is_deleted: false,
                    may_restart: false,
                    unchecked: false,
                    missing_keys: Fault::default(),
                });
                number
            }
        };
        self.last_topic = number;
        TopicNumber(number)
    }

    pub fn key_prefix(&self, topic: TopicNumber) -> TopicHash {
        self.topics[topic.0].key_prefix
    }

    pub fn topic_state(&mut self, topic: TopicNumber) -> &mut TopicState {
        &mut self.topics[topic.0]
    }

    pub fn topic_states(&mut self) -> &mut [TopicState] {
        &mut self.topics
    }

    /// Its queues are not compared.
    pub fn set_unchecked(&mut self, topic: TopicNumber, report: &mut Report) {
        let topic = &mut self.topics[topic.0];
        if !std::mem::replace(&mut topic.unchecked, true) {
            report
                .note(format!("topic '{}' holds batches in single records: its queues were not compared", topic.name));
        }
    }

    /// Records are missing from here: each queue may jump once.
    pub fn begin_gap(&mut self) {
        self.gaps += 1;
    }

    /// A record that creates a topic or changes it.
    pub fn topic_put(&mut self, store: &OfflineStore<'_>, report: &mut Report, id: u32, version: u64, name: &str) {
        if self.topic_ids.contains_key(&id) {
            return;
        }
        let topic = self.topic(name);
        self.topic_ids.insert(id, topic.0);
        // The log may begin behind the record that created it.
        if version > 1 && store.log.min().0 > 0 {
            return;
        }
        let known = &self.topics[topic.0];
        // In a log that was always ours it is a new topic: that of the records before has ended, whoever said so is gone.
        if self.has_records(topic) && !known.is_known && !known.is_deleted && store.foreign_end.0 > 0 {
            // A topic of somebody else's that was taken over, or one whose end the log no longer holds.
            self.topics[topic.0].may_restart = true;
            return;
        }
        self.begin_anew(store, report, topic);
        let topic = &mut self.topics[topic.0];
        (topic.is_known, topic.is_deleted, topic.may_restart) = (true, false, false);
    }

    /// A record that takes over a topic of somebody else's: what it holds lies before.
    pub fn topic_adopted(&mut self, id: u32, name: &str) {
        let topic = self.topic(name);
        self.topic_ids.insert(id, topic.0);
        self.topics[topic.0].is_deleted = false;
    }

    pub fn topic_deleted(&mut self, store: &OfflineStore<'_>, report: &mut Report, id: u32) {
        let by_snapshot = || store.snapshot_topics.as_ref()?.get(&id);
        let topic = self.topic_ids.remove(&id).or_else(|| by_snapshot().map(|name| self.topic(name).0));
        if let Some(topic) = topic {
            self.begin_anew(store, report, TopicNumber(topic));
            self.topics[topic].is_deleted = true;
        }
    }

    /// Retention has taken the record that created a topic, and no snapshot names it: it was deleted before the older of
    /// them, and what is left of its records has neither queues nor keys.
    fn end_those_of_before(&mut self, store: &OfflineStore<'_>) {
        let Some(known) = &store.snapshot_topics else { return };
        if store.log.min().0 == 0 || store.foreign_end.0 > 0 || store.written_by != WrittenBy::Gantry {
            return;
        }
        let alive: HashSet<usize> = self.topic_ids.values().copied().collect();
        let names: HashSet<&str> = known.values().map(String::as_str).chain([STATE_TOPIC]).collect();
        for (number, topic) in self.topics.iter_mut().enumerate() {
            if !alive.contains(&number) && !names.contains(&*topic.name) {
                topic.is_deleted = true;
                topic.missing_keys = Fault::default();
                topic.queues.iter().for_each(|queue| self.queues[*queue].faults = None);
            }
        }
    }

    fn begin_anew(&mut self, store: &OfflineStore<'_>, report: &mut Report, topic: TopicNumber) {
        if self.has_records(topic) {
            self.compare(store, report);
            let topic = &self.topics[topic.0];
            topic.queues.iter().for_each(|queue| self.queues[*queue].begin_anew());
        }
        self.topics[topic.0].missing_keys = Fault::default();
    }

    fn has_records(&self, topic: TopicNumber) -> bool {
        self.topics[topic.0].queues.iter().any(|queue| self.queues[*queue].first.is_some())
    }

    /// The next record of a queue.
    pub fn take(
        &mut self,
        store: &OfflineStore<'_>,
        report: &mut Report,
        topic: TopicNumber,
        queue_id: QueueId,
        queued: &Queued,
    ) {
        let number = self.queue(topic, queue_id);
        let from_zero = self.topics[topic.0].is_known
            || (store.written_by == WrittenBy::Gantry
                && store.log.min().0 == 0
                && store.foreign_end.0 == 0
                && self.topics[topic.0].name == crate::names::STATE_TOPIC);
        let may_restart = queued.commit_log_offset < store.foreign_end
            || store.written_by == WrittenBy::RocketMq
            || self.topics[topic.0].may_restart;
        let expected = match self.queues[number].first {
            None if from_zero && self.queues[number].gaps == self.gaps => Some(0),
            None => None,
            Some(_) => Some(self.queues[number].next),
        };
        let at = queued.at.0;
        if at == 0 && expected.is_some_and(|expected| expected > 0) && may_restart {
            self.compare(store, report);
            self.queues[number].begin_anew();
        } else if let Some(expected) = expected.filter(|expected| *expected != at) {
            let behind_gap = self.queues[number].gaps != self.gaps && at > expected;
            if !behind_gap {
                let topic = &self.topics[topic.0].name;
                self.queues[number].faults().order.add(|| {
                    let (file, offset) = store.log.place(queued.commit_log_offset);
                    let what =
                        format!("a record of queue {queue_id} of '{topic}' has queue offset {at}, {expected} is next");
                    (file, offset, what)
                });
            }
        }
        let queue = &mut self.queues[number];
        queue.gaps = self.gaps;
        queue.first = Some(queue.first.map_or(at, |first| first.min(at)));
        queue.next = at.saturating_add(1);
        let known = &self.topics[topic.0];
        let is_light = store.written_by == WrittenBy::Gantry && known.name.starts_with(LIGHT_QUEUE_PREFIX);
        if known.unchecked || known.is_deleted || is_light {
            return;
        }
        self.waiting.push((number, *queued));
        if self.waiting.len() >= WAITING_MAX {
            self.compare(store, report);
        }
    }

    /// Compares what waits with the files.
    fn compare(&mut self, store: &OfflineStore<'_>, report: &mut Report) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable_by_key(|(queue, queued)| (*queue, queued.at, queued.commit_log_offset));
        let mut units = Vec::new();
        let mut rest = &waiting[..];
        while let Some((queue, first)) = rest.first() {
            // Only what one read covers: an offset that was made up must not make us reserve memory for it.
            let room = |(other, queued): &(usize, Queued)| other == queue && queued.at.0 - first.at.0 < READ_UNITS;
            let (run, after) = rest.split_at(rest.partition_point(room));
            rest = after;
            self.compare_run(store, report, *queue, run, &mut units);
        }
        waiting.clear();
        self.waiting = waiting;
    }

    fn compare_run(
        &mut self,
        store: &OfflineStore<'_>,
        report: &mut Report,
        number: usize,
        run: &[(usize, Queued)],
        units: &mut Vec<u8>,
    ) {
        let (topic, queue_id) = (self.queues[number].topic, self.queues[number].queue_id);
        let name = self.topics[topic].name.clone();
        let (first, last) = (run[0].1.at, run[run.len() - 1].1.at);
        let missing_dir;
        let dir = match self.queues[number].dir {
            Some(dir) => &self.dirs[dir],
            None => {
                let dir = store.dir.join(CONSUME_QUEUE_DIR).join(&name).join(queue_id.to_string());
                missing_dir = QueueDir { topic: name.clone(), queue_id, dir, files: Vec::new() };
                &missing_dir
            }
        };
        units.resize((last.0 - first.0 + 1) as usize * UNIT_BYTES, 0);
        let unreadable = dir.read(store.files, first, units).err();
        let file_bytes = self.file_bytes;
        let place = |at: QueueOffset, what: String| {
            let (file, offset) = dir.place(at, file_bytes);
            (file, offset, what)
        };
        report.consume_queues.entries += run.len() as u64;
        let queue = &mut self.queues[number];
        for (_, queued) in run {
            let from = (queued.at.0 - first.0) as usize * UNIT_BYTES;
            let (entry, is_zero) = queues::unit(&units[from..from + UNIT_BYTES]);
            let is_right = entry.is_some_and(|entry| {
                entry.commit_log_offset == queued.commit_log_offset
                    && entry.record_len == queued.record_len
                    && entry.inner == queued.inner
                    && queued.tag_hash.is_none_or(|hash| hash == entry.tag_hash || is_extended(store, entry.tag_hash))
            });
            if is_right {
                continue;
            }
            if !trusts(store, dir, queued) {
                queue.untrusted += 1;
                continue;
            }
            let (at, lies) = (queued.at, queued.commit_log_offset);
            if is_zero || unreadable.is_some() {
                queue.faults().missing.add(|| {
                    let why = match &unreadable {
                        Some(error) => format!(": {error}"),
                        None => String::new(),
                    };
                    place(
                        at,
                        format!("the entry of queue offset {at} is missing, its record lies at log offset {lies}{why}"),
                    )
                });
            } else {
                queue.faults().differs.add(|| {
                    let says = match entry {
                        Some(entry) => {
                            entry_text(entry.commit_log_offset, entry.record_len, entry.inner, entry.tag_hash)
                        }
                        None => "no entry".to_string(),
                    };
                    let is = entry_text(lies, queued.record_len, queued.inner, queued.tag_hash.unwrap_or_default());
                    place(at, format!("the entry of queue offset {at} says {says}; the record is {is}"))
                });
            }
        }
    }

    /// The log has been read: what do the queues hold besides?
    pub fn finish(
        &mut self,
        store: &OfflineStore<'_>,
        report: &mut Report,
        end: CommitLogOffset,
        damaged: &[std::ops::Range<u64>],
    ) {
        self.compare(store, report);
        self.end_those_of_before(store);
        report.consume_queues.queues = self.queues.len() as u64;
        let mut topics: Vec<usize> = self.queues.iter().map(|queue| queue.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        report.consume_queues.topics = topics.len() as u64;
        let (mut untrusted, mut untrusted_queues, mut left_over) = (0, 0, 0);
        for number in 0..self.queues.len() {
            let topic = &self.topics[self.queues[number].topic];
            // Queues that RocketMQ makes without a topic stay as they are.
            if topic.unchecked || (store.foreign_end.0 > 0 && topic.name.starts_with(LIGHT_QUEUE_PREFIX)) {
                continue;
            }
            if topic.is_deleted {
                left_over += u64::from(self.queues[number].dir.is_some());
                self.queues[number].untrusted = 0;
            } else if let Some(dir) = self.queues[number].dir {
                let extra = self.extra_entries(store, number, dir, end, damaged);
                self.queues[number].untrusted += extra;
            }
            let queue = &mut self.queues[number];
            untrusted += queue.untrusted;
            untrusted_queues += u64::from(queue.untrusted > 0);
            if let Some(faults) = &mut queue.faults {
                faults.order.tell(report, remedy::LOG);
                faults.missing.tell(report, remedy::QUEUE);
                faults.differs.tell(report, remedy::QUEUE);
                faults.extra.tell(report, remedy::QUEUE);
            }
        }
        if untrusted > 0 {
            report.note(format!(
                "{untrusted} entries of {untrusted_queues} consume queues were not synced: the next start makes them anew"
            ));
        }
        if left_over > 0 {
            report.note(format!(
                "{left_over} consume queues are of topics that were deleted: the next start moves them away"
            ));
        }
    }

    /// Looks for entries of no record; answers how many of them nobody would have believed.
    fn extra_entries(
        &mut self,
        store: &OfflineStore<'_>,
        number: usize,
        dir: usize,
        end: CommitLogOffset,
        damaged: &[std::ops::Range<u64>],
    ) -> u64 {
        let dir = &self.dirs[dir];
        let (first, next) = match self.queues[number].first {
            Some(first) => (first, self.queues[number].next),
            // The log has nothing of it any more: it goes on where it ended, behind units that nobody reads.
            None => (u64::MAX, end_on_record(store, dir).unwrap_or(dir.first()).0),
        };
        let mut untrusted = 0;
        let mut units = Vec::new();
        let min = store.log.min();
        let runs = match dir.data_from(store.files, dir.first()) {
            Ok(runs) => runs,
            Err(error) => {
                let faults = self.queues[number].faults();
                faults.missing.add(|| (dir.dir.clone(), 0, format!("it cannot be read: {error}")));
                return 0;
            }
        };
        // In front of the first record and behind the last one.
        let has_first = self.queues[number].first.is_some();
        let outside = runs.into_iter().flat_map(|run| {
            let before = has_first.then(|| run.start..run.end.min(first));
            let behind = run.start.max(if has_first { next } else { 0 })..run.end;
            before.into_iter().chain(std::iter::once(behind))
        });
        let pieces = outside.flat_map(|run| {
            let starts = (run.start..run.end).step_by(READ_UNITS as usize);
            starts.map(move |start| start..run.end.min(start + READ_UNITS))
        });
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            units.resize((piece.end - piece.start) as usize * UNIT_BYTES, 0);
            if dir.read(store.files, QueueOffset(piece.start), &mut units).is_err() {
                continue;
            }
            for (at, bytes) in piece.zip(units.chunks_exact(UNIT_BYTES)) {
                let (entry, is_zero) = queues::unit(bytes);
                let is_old = match &entry {
                    // Before the first message of a queue that begins inside a file.
                    Some(entry) if entry.record_len == FILLER_LEN => at < next,
                    Some(entry) => {
                        let place = entry.commit_log_offset;
                        (place < min && at < first) || is_damaged(damaged, place.0)
                            // Written while we read.
                            || (store.stopped == Stopped::Running && place >= end)
                    }
                    None => false,
                };
                if is_zero || is_old {
                    continue;
                }
                let says =
                    entry.map_or("nothing".to_string(), |entry| format!("log offset {}", entry.commit_log_offset));
                if !trusts_extra(store, &dir.topic, dir.queue_id, at) {
                    untrusted += 1;
                    continue;
                }
                let file_bytes = self.file_bytes;
                self.queues[number].faults().extra.add(|| {
                    let (file, offset) = dir.place(QueueOffset(at), file_bytes);
                    (
                        file,
                        offset,
                        format!("the entry of queue offset {at} points at {says}, where no record of this queue lies"),
                    )
                });
            }
        }
        untrusted
    }

    fn queue(&mut self, topic: TopicNumber, queue_id: QueueId) -> usize {
        let (queues, topics) = (&mut self.queues, &mut self.topics);
        *self.queue_numbers.entry((topic.0, queue_id)).or_insert_with(|| {
            topics[topic.0].queues.push(queues.len());
            queues.push(QueueState {
                topic: topic.0,
                queue_id,
                dir: None,
                first: None,
                next: 0,
                gaps: 0,
                untrusted: 0,
                faults: None,
            });
            queues.len() - 1
        })
    }
}

impl QueueState {
    fn faults(&mut self) -> &mut QueueFaults {
        self.faults.get_or_insert_with(Box::default)
    }

    /// The topic has ended, or begins.
    fn begin_anew(&mut self) {
        self.first = None;
        self.next = 0;
        self.untrusted = 0;
        // What is wrong with the log itself stays wrong.
        if let Some(faults) = &mut self.faults {
            let order = std::mem::take(&mut faults.order);
            **faults = QueueFaults { order, ..QueueFaults::default() };
        }
    }
}

impl TopicState {
    pub fn is_deleted(&self) -> bool {
        self.is_deleted
    }
}

/// What an entry says, or should say.
fn entry_text(at: CommitLogOffset, record_len: u32, inner: u16, tag_hash: i64) -> String {
    let message = if inner == 0 { String::new() } else { format!("message {inner} of its batch, ") };
    format!("log offset {at}, {message}{record_len} bytes, tag hash {tag_hash}")
}

/// Would the next start believe the entry of this record?
fn trusts(store: &OfflineStore<'_>, dir: &QueueDir, queued: &Queued) -> bool {
    match (store.written_by, &store.derived_ends) {
        (WrittenBy::Gantry, DerivedEndsFound::Found(ends)) => {
            ends.of_queue(&dir.topic, dir.queue_id).is_some_and(|(incarnation, known)| {
                queued.commit_log_offset.0 >= incarnation.0
                    && queued.commit_log_offset.0 + u64::from(queued.record_len) <= ends.dispatched_below
                    && queued.at < known.end
                    && queued.at >= known.min
            })
        }
        (WrittenBy::Gantry, _) => false,
        // Nothing in the log says that a topic was deleted there: its queues are just not there any more.
        (WrittenBy::RocketMq, _) if dir.files.is_empty() => false,
        (WrittenBy::RocketMq, _) if store.stopped == Stopped::Cleanly => true,
        (WrittenBy::RocketMq, _) => match store.checkpoint {
            CheckpointFound::Other { queues, .. } => queued.stored_ms <= queues.0,
            _ => false,
        },
    }
}

/// Where a queue ended when that was last written down.
fn end_on_record(store: &OfflineStore<'_>, dir: &QueueDir) -> Option<QueueOffset> {
    match &store.derived_ends {
        DerivedEndsFound::Found(ends) => ends.of_queue(&dir.topic, dir.queue_id).map(|(_, known)| known.end),
        _ => None,
    }
}

/// Would the next start believe an entry that no record has?
fn trusts_extra(store: &OfflineStore<'_>, topic: &str, queue_id: QueueId, at: u64) -> bool {
    match (store.written_by, &store.derived_ends) {
        _ if store.stopped == Stopped::Cleanly => true,
        (WrittenBy::Gantry, DerivedEndsFound::Found(ends)) => {
            ends.of_queue(topic, queue_id).is_some_and(|(_, known)| at < known.end.0)
        }
        _ => false,
    }
}

/// With consume queue extensions a unit holds a place in another file instead of a tag's hash.
fn is_extended(store: &OfflineStore<'_>, tag_hash: i64) -> bool {
    store.written_by == WrittenBy::RocketMq && tag_hash < i64::from(i32::MIN)
}
