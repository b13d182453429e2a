//! Dispatch: feeds records of the log to consume queues and index, in the order of the log, up to the confirm offset.
//!
//! Whoever moved the confirm offset runs it. One thread at a time does the work (`turn.rs`). The same code makes derived files anew
//! from any place of the log: entries that are there already are left as they are.
//!
//! Invariant: consume queues and index have no other writer.

pub mod turn;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use crate::clock::Timestamp;
use crate::delivery::delay_levels::DelayLevels;
use crate::delivery::filter::tag_hash;
use crate::message::{property, raw_properties, sys_flag};
use crate::names::{SCHEDULE_TOPIC, STATE_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::store::commit_log::CommitLog;
use crate::store::consume_queue::{ConsumeQueue, OpenFiles, QueueEntry};
use crate::store::dispatch::turn::Turn;
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::index_file::{Index, IndexWriter, TopicHash};
use crate::store::message_batch;
use crate::store::record::{self, Glance, Peek, RecordError};

/// Most records dispatched before queues are written and consumers woken.
const CHUNK_RECORDS_MAX: usize = 1_024;
/// Most bytes of log, likewise; one record may be larger.
const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// Properties that consume queues and index are made of.
const WANTED_PROPERTIES: [&str; 4] = [property::UNIQUE_KEY, property::TAGS, property::KEYS, property::DELAY_LEVEL];

/// New messages in one queue that consumers may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub topic: TopicName,
    pub queue_id: QueueId,
    pub first: QueueOffset,
    pub count: u64,
}

/// Told between two chunks, by the thread that dispatches.
pub type ArrivedHook = Box<dyn Fn(&[Arrival], &ReadArrival<'_>) + Send + Sync>;
/// Tells of each message of an arrival its offset and its property string, if that can be read. For those who must know
/// more than that something has come.
pub type ReadArrival<'a> = dyn Fn(&Arrival, &mut dyn FnMut(QueueOffset, Option<&[u8]>)) + 'a;

/// All queues of all topics that exist.
pub struct QueueTable {
    open_files: Arc<OpenFiles>,
    topics: RwLock<HashMap<TopicName, Arc<TopicQueues>>>,
}

/// The queues of one topic, by queue id.
pub struct TopicQueues {
    pub incarnation: Incarnation,
    pub queues: Arc<[Arc<ConsumeQueue>]>,
    key_prefix: TopicHash,
}

impl TopicQueues {
    fn name(&self) -> Option<&str> {
        self.queues.first().map(|queue| queue.topic().as_str())
    }
}

impl QueueTable {
    pub fn new(open_files: Arc<OpenFiles>) -> QueueTable {
        QueueTable { open_files, topics: RwLock::default() }
    }

    pub fn topic(&self, topic: &str) -> Option<Arc<TopicQueues>> {
        self.topics.read().expect("nobody panics holding it").get(topic).cloned()
    }

    pub fn queue(&self, topic: &str, queue_id: QueueId) -> Option<Arc<ConsumeQueue>> {
        self.topics.read().expect("nobody panics holding it").get(topic)?.queues.get(queue_id.0 as usize).cloned()
    }

    pub fn all(&self) -> Vec<Arc<ConsumeQueue>> {
        let topics = self.topics.read().expect("nobody panics holding it");
        topics.values().flat_map(|topic| topic.queues.iter().cloned()).collect()
    }

    /// Makes sure that queues 0 to `count` exist; answers the new ones. A topic of another incarnation must have been
    /// removed before.
    pub fn create(&self, topic: &TopicName, incarnation: Incarnation, count: u32) -> Vec<Arc<ConsumeQueue>> {
        let mut topics = self.topics.write().expect("nobody panics holding it");
        let known = topics.get(topic);
        assert!(known.is_none_or(|known| known.incarnation == incarnation), "topic '{topic}' lives already");
        let mut queues = known.map(|known| known.queues.to_vec()).unwrap_or_default();
        let before = queues.len();
        for queue_id in before as u32..count {
            queues.push(Arc::new(ConsumeQueue::new(&self.open_files, topic.clone(), QueueId(queue_id), incarnation)));
        }
        let new = queues[before..].to_vec();
        let key_prefix = TopicHash::new(topic.as_str());
        let queues = queues.into();
        topics.insert(topic.clone(), Arc::new(TopicQueues { incarnation, queues, key_prefix }));
        new
    }

    fn remove(&self, topic: &TopicName) -> Option<Arc<TopicQueues>> {
        self.topics.write().expect("nobody panics holding it").remove(topic)
    }
}

pub struct Dispatch {
    log: Arc<CommitLog>,
    table: QueueTable,
    /// Set when all topics are known.
    index: OnceLock<Index>,
    /// Some queue misses entries, so that `heal` has something to do.
    ailing: AtomicBool,
    delay_levels: DelayLevels,
    arrived: ArrivedHook,
    /// Everything below its end has been looked at.
    turn: Turn<Work>,
}

/// What one thread at a time works with; the buffers are kept from run to run.
#[derive(Default)]
struct Work {
    /// Entries per queue; only the first `used` are of this chunk.
    batches: Vec<Batch>,
    used: usize,
    arrivals: Vec<Arrival>,
    /// `storeTimestamp` of the last record.
    last_stored: Timestamp,
    /// Why dispatch has ended: the log holds something that is no record.
    broken: Option<StoreError>,
}

struct Batch {
    queue: Arc<ConsumeQueue>,
    first: QueueOffset,
    units: Vec<u8>,
}

/// How far dispatch is, as one consistent view.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub dispatched: CommitLogOffset,
    pub last_stored: Timestamp,
}

impl Dispatch {
    /// `again` says what has been dispatched. `last_stored` is of the log's last record.
    pub fn new(
        log: Arc<CommitLog>,
        table: QueueTable,
        last_stored: Timestamp,
        delay_levels: DelayLevels,
        arrived: ArrivedHook,
    ) -> Dispatch {
        Dispatch {
            delay_levels,
            log,
            table,
            index: OnceLock::new(),
            ailing: AtomicBool::new(false),
            arrived,
            turn: Turn::new(Work { last_stored, ..Work::default() }),
        }
    }

    pub fn table(&self) -> &QueueTable {
        &self.table
    }

    pub fn index(&self) -> Option<&Index> {
        self.index.get()
    }

    /// From now on records are indexed too.
    pub fn set_index(&self, index: Index) {
        assert!(self.index.set(index).is_ok(), "set once");
    }

    pub fn dispatched(&self) -> CommitLogOffset {
        CommitLogOffset(self.turn.done())
    }

    /// Does some queue miss entries?
    pub fn is_ailing(&self) -> bool {
        self.ailing.load(Ordering::Acquire)
    }

    /// Dispatches what lies below the confirm offset. When this returns, that has been done, or another thread is about
    /// to do it.
    pub fn run(&self) {
        let wanted = || self.log.confirm_offset().0;
        self.turn.run(wanted, |work, confirm| {
            if work.broken.is_some() {
                return false;
            }
            let mut next = self.dispatched();
            while next.0 < confirm && work.broken.is_none() {
                next = self.chunk(work, next, CommitLogOffset(confirm), Entries::New);
                self.turn.done_to(next.0);
                self.tell_arrivals(work);
            }
            if let Some(error) = &work.broken {
                self.log.fail(format!("dispatch: {error}"));
            }
            true
        });
    }

    /// Dispatches `[from, to)` again: queues and index take what they miss. Before the first `run`.
    pub fn again(&self, from: CommitLogOffset, to: CommitLogOffset) -> Result<(), StoreError> {
        let mut work = self.turn.take();
        self.mend(&mut work, from, to, false);
        self.turn.done_to(to.0);
        work.broken.clone().map_or(Ok(()), Err)
    }

    /// Gives queues that could not be written once what they miss.
    pub fn heal(&self) {
        if !self.ailing.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut work = self.turn.take();
        let from = self.table.all().iter().filter_map(|queue| queue.missing_from()).min();
        if let Some(from) = from {
            let to = self.dispatched();
            let last_stored = work.last_stored;
            self.mend(&mut work, from.max(self.log.min()), to, true);
            work.last_stored = last_stored;
            if !self.ailing.load(Ordering::Acquire) {
                tracing::info!(%from, %to, "the consume queues have what they missed");
            }
        }
        drop(work);
        self.run();
    }

    /// Stops dispatch for the time of `view`, which sees queues and progress as one.
    pub fn paused<T>(&self, view: impl FnOnce(Progress) -> T) -> T {
        let result = {
            let work = self.turn.take();
            view(Progress { dispatched: self.dispatched(), last_stored: work.last_stored })
        };
        // Who came meanwhile went away again.
        self.run();
        result
    }

    /// Ends a topic's queues: dispatch knows them no more, their files go.
    pub fn delete(&self, topic: &TopicName) -> Result<(), StoreError> {
        let Some(removed) = self.paused(|_| self.table.remove(topic)) else { return Ok(()) };
        for queue in &*removed.queues {
            queue.delete().map_err(|error| StoreError::io(format!("deleting queues of topic '{topic}'"), &error))?;
        }
        Ok(())
    }

    fn mend(&self, work: &mut Work, from: CommitLogOffset, to: CommitLogOffset, tell: bool) {
        let queues = self.table.all();
        queues.iter().for_each(|queue| queue.begin_mending());
        let mut next = from;
        while next < to && work.broken.is_none() {
            next = self.chunk(work, next, to, Entries::Missing);
            if tell {
                self.tell_arrivals(work);
            }
            work.arrivals.clear();
        }
        if work.broken.is_none() {
            queues.iter().for_each(|queue| queue.end_mending());
        }
    }

    fn tell_arrivals(&self, work: &mut Work) {
        if !work.arrivals.is_empty() {
            (self.arrived)(&work.arrivals, &|arrival, each| self.read_arrival(arrival, each));
            work.arrivals.clear();
        }
    }

    fn read_arrival(&self, arrival: &Arrival, each: &mut dyn FnMut(QueueOffset, Option<&[u8]>)) {
        let mut entries = Vec::new();
        if let Some(queue) = self.table.queue(arrival.topic.as_str(), arrival.queue_id) {
            // What was not read is not there below.
            let _ = queue.read_entries(arrival.first, arrival.count as usize, &mut entries);
        }
        for number in 0..arrival.count {
            let entry: Option<&QueueEntry> = entries.get(number as usize);
            let to = |entry: &QueueEntry| CommitLogOffset(entry.commit_log_offset.0 + u64::from(entry.record_len));
            let view = entry.and_then(|entry| Some((self.log.view(entry.commit_log_offset, to(entry)).ok()?.0, entry)));
            let record = view.as_ref().and_then(|(view, entry)| record::glance(view, entry.commit_log_offset).ok());
            // A batch of Apache's has properties of its own.
            let record = record.filter(|record| record.sys_flag & sys_flag::INNER_BATCH == 0);
            each(QueueOffset(arrival.first.0 + number), record.map(|record| record.properties));
        }
    }

    /// Dispatches one chunk that begins at `from`; answers where the next one begins.
    fn chunk(&self, work: &mut Work, from: CommitLogOffset, to: CommitLogOffset, entries: Entries) -> CommitLogOffset {
        let mut index = self.index.get().map(Index::writer);
        let mut topic = LastTopic::default();
        let mut next = from;
        let mut records = 0;
        while next < to && records < CHUNK_RECORDS_MAX && next.0 - from.0 < CHUNK_BYTES_MAX && work.broken.is_none() {
            let taken = self.log.view(next, to).and_then(|(view, segment_end)| {
                let mut left = &view[..];
                while !left.is_empty() && records < CHUNK_RECORDS_MAX && next.0 - from.0 < CHUNK_BYTES_MAX {
                    let len = match record::peek(left) {
                        Peek::Record { len } if len as usize <= left.len() => len as usize,
                        Peek::Blank { len } if next.0 + u64::from(len) == segment_end.0 => {
                            // The log may end with it.
                            next = segment_end.min(to);
                            return Ok(());
                        }
                        Peek::Nothing(error) => return Err(self.log.damaged(next, error)),
                        Peek::Record { .. } | Peek::Blank { .. } => {
                            return Err(self.log.damaged(next, RecordError::TooShort { len: left.len() }));
                        }
                    };
                    match entries {
                        // What was just appended is believed: to decode it for its checksum was 13 % of a server's time at
                        // 32 messages in a call.
                        Entries::New => {
                            let record = record::glance(left, next).map_err(|error| self.log.damaged(next, error))?;
                            self.take(work, &mut topic, record, index.as_mut(), entries);
                        }
                        Entries::Missing => {
                            let record = self.log.read(next, len as u32)?;
                            self.take(work, &mut topic, Glance::from(&record), index.as_mut(), entries);
                        }
                    }
                    next.0 += len as u64;
                    left = &left[len..];
                    records += 1;
                }
                Ok(())
            });
            if let Err(error) = taken {
                tracing::error!(%error, "dispatch ends: the log holds something that is no record");
                work.broken = Some(error);
            }
        }
        failpoint::at(Point::QueueBuildBefore);
        if work.write() {
            self.ailing.store(true, Ordering::Release);
        }
        failpoint::at(Point::QueueBuildAfter);
        if let Some(index) = index {
            failpoint::at(Point::IndexBuildBefore);
            index.finish(next);
            failpoint::at(Point::IndexBuildAfter);
        }
        next
    }

    /// One record, or the messages of a batch that Apache wrote as one.
    fn take(
        &self,
        work: &mut Work,
        topic: &mut LastTopic,
        record: Glance<'_>,
        mut index: Option<&mut IndexWriter<'_>>,
        entries: Entries,
    ) {
        work.last_stored = record.store_timestamp;
        let Some(topic) = topic.find(&self.table, record.topic) else { return };
        if record.commit_log_offset.0 < topic.incarnation.0 {
            return;
        }
        if record.sys_flag & sys_flag::INNER_BATCH == 0 {
            work.take(topic, &record, 0, index, entries, &self.delay_levels);
            return;
        }
        let messages = self.log.read(record.commit_log_offset, record.record_len);
        match messages.and_then(|message| Ok(message_batch::explode(message)?)) {
            Ok(messages) => messages.iter().enumerate().for_each(|(inner, message)| {
                let inner = u16::try_from(inner).expect("a batch has at most 32,767 messages");
                work.take(topic, &Glance::from(message), inner, index.as_deref_mut(), entries, &self.delay_levels);
            }),
            Err(error) => tracing::error!(
                topic = topic.name(), %error,
                "a batch cannot be taken apart: its queue ends before it"
            ),
        }
    }
}

/// Which entries a run is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// Those that follow what is there. A queue that misses some takes none.
    New,
    /// Those that a queue misses.
    Missing,
}

/// Neighbours in the log are often of one topic.
#[derive(Default)]
struct LastTopic(Option<(Vec<u8>, Option<Arc<TopicQueues>>)>);

impl LastTopic {
    fn find(&mut self, table: &QueueTable, name: &[u8]) -> Option<&TopicQueues> {
        if self.0.as_ref().is_none_or(|(known, _)| known != name) {
            let mut text = self.0.take().map(|(text, _)| text).unwrap_or_default();
            text.clear();
            text.extend_from_slice(name);
            self.0 = Some((text, std::str::from_utf8(name).ok().and_then(|name| table.topic(name))));
        }
        self.0.as_ref().and_then(|(_, topic)| topic.as_deref())
    }
}

impl Work {
    /// Notes what this record means to its queue, and indexes it.
    fn take(
        &mut self,
        topic: &TopicQueues,
        message: &Glance<'_>,
        inner: u16,
        index: Option<&mut IndexWriter<'_>>,
        entries: Entries,
        delay_levels: &DelayLevels,
    ) {
        let transaction = message.sys_flag & sys_flag::TRANSACTION_MASK;
        let mut index = index
            .filter(|index| transaction != sys_flag::TRANSACTION_ROLLBACK && !index.knows(message.commit_log_offset));
        let (mut tag, mut delay_level) = (0, None);
        let mut put = |key: &str| {
            if let Some(index) = &mut index {
                index.put(topic.key_prefix.key(key), message.commit_log_offset, message.store_timestamp);
            }
        };
        for (name, value) in raw_properties(message.properties) {
            // Most properties are nobody's business here: only what is wanted must be text.
            let wanted = WANTED_PROPERTIES.into_iter().find(|wanted| wanted.as_bytes() == name);
            let Some((name, value)) = wanted.zip(std::str::from_utf8(value).ok()) else { continue };
            match name {
                property::TAGS => tag = tag_hash(value),
                property::DELAY_LEVEL => delay_level = value.parse().ok(),
                property::UNIQUE_KEY => put(value),
                _ => value.split(' ').filter(|word| !word.is_empty()).for_each(&mut put),
            }
        }
        if !sys_flag::is_queued(message.sys_flag) {
            return;
        }
        let Some(queue) = topic.queues.get(message.queue_id.0 as usize) else {
            tracing::error!(
                topic = topic.name(), queue_id = %message.queue_id, commit_log_offset = %message.commit_log_offset,
                "a record names a queue that its topic does not have"
            );
            return;
        };
        queue.saw(message.queue_offset);
        let wanted = match (queue.missing_from(), entries) {
            _ if queue.is_worthless() => false,
            (None, Entries::New) => true,
            (Some(from), Entries::Missing) => message.commit_log_offset >= from,
            (None, Entries::Missing) | (Some(_), Entries::New) => false,
        };
        if wanted {
            let tag_hash = match delay_level {
                // RocketMQ keeps there when the message is to be delivered.
                Some(level) if message.topic == SCHEDULE_TOPIC.as_bytes() => {
                    message.store_timestamp.plus(delay_levels.delay_of_stored(level)).0
                }
                _ => tag,
            };
            let (commit_log_offset, record_len) = (message.commit_log_offset, message.record_len);
            let entry = QueueEntry { commit_log_offset, record_len, tag_hash, inner };
            self.add(queue, message.queue_offset, &entry);
        }
    }

    fn add(&mut self, queue: &Arc<ConsumeQueue>, at: QueueOffset, entry: &QueueEntry) {
        let known = self.batches[..self.used].get(queue.batch_hint()).filter(|batch| Arc::ptr_eq(&batch.queue, queue));
        let fits = known.is_some_and(|batch| batch.first.0 + batch.len() == at.0);
        if !fits {
            // The first entry of the chunk; or one that does not follow, which the queue itself shall judge.
            queue.set_batch_hint(self.used);
            match self.batches.get_mut(self.used) {
                Some(batch) => {
                    batch.queue = queue.clone();
                    batch.first = at;
                    batch.units.clear();
                }
                None => self.batches.push(Batch { queue: queue.clone(), first: at, units: Vec::new() }),
            }
            self.used += 1;
        }
        self.batches[queue.batch_hint()].units.extend_from_slice(&entry.encode());
    }

    /// Writes the batches; `true` if a queue could not take all of its entries and needs healing.
    fn write(&mut self) -> bool {
        let mut ailing = false;
        for batch in &mut self.batches[..self.used] {
            let queue = &batch.queue;
            // An earlier batch of this chunk has failed.
            if queue.is_stalled() {
                continue;
            }
            let before = queue.max_offset();
            if let Err(error) = queue.append(batch.first, &batch.units) {
                tracing::error!(
                    topic = %queue.topic(), queue_id = %queue.queue_id(), %error,
                    "a consume queue could not be written: its consumers miss new messages until it can"
                );
                ailing |= !queue.is_worthless();
            }
            let count = queue.max_offset().0.saturating_sub(before.0);
            if count > 0 && queue.topic().as_str() != STATE_TOPIC {
                let (topic, queue_id) = (queue.topic().clone(), queue.queue_id());
                self.arrivals.push(Arrival { topic, queue_id, first: before, count });
            }
        }
        self.used = 0;
        ailing
    }
}

impl Batch {
    fn len(&self) -> u64 {
        (self.units.len() / crate::store::consume_queue::UNIT_BYTES) as u64
    }
}
