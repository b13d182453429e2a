//! Dispatch: feeds records of the log to consume queues and index, in the order of the log, up to the confirm offset.
//!
//! Whoever moved the confirm offset runs it. One thread at a time does the work; another one that comes meanwhile goes
//! away at once, because the first looks again after it has let go of the lock. The same code makes derived files anew
//! from any place of the log: entries that are there already are left as they are.
//!
//! Invariant: consume queues and index have no other writer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, TryLockError};

use crate::message::{StoredMessage, property, sys_flag};
use crate::names::{STATE_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::clock::Timestamp;
use crate::delivery::filter::tag_hash;
use crate::store::commit_log::CommitLog;
use crate::store::consume_queue::{ConsumeQueue, OpenFiles, QueueEntry};
use crate::store::error::StoreError;
use crate::store::index_file::{Index, IndexWriter, TopicHash};

/// Most records dispatched before queues are written and consumers woken.
const CHUNK_RECORDS_MAX: usize = 1_024;
/// Most bytes of log, likewise; one record may be larger.
const CHUNK_BYTES_MAX: u64 = 4 << 20;

/// New messages in one queue that consumers may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub topic: TopicName,
    pub queue_id: QueueId,
    pub count: u64,
}

/// All queues of all topics that exist.
pub struct QueueTable {
    open_files: Arc<OpenFiles>,
    topics: RwLock<HashMap<TopicName, Arc<TopicQueues>>>,
}

/// The queues of one topic, by queue id.
pub struct TopicQueues {
    pub incarnation: Incarnation,
    pub queues: Vec<Arc<ConsumeQueue>>,
    key_prefix: TopicHash,
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
        let mut queues = known.map(|known| known.queues.clone()).unwrap_or_default();
        let before = queues.len();
        for queue_id in before as u32..count {
            queues.push(Arc::new(ConsumeQueue::new(&self.open_files, topic.clone(), QueueId(queue_id), incarnation)));
        }
        let new = queues[before..].to_vec();
        let key_prefix = TopicHash::new(topic.as_str());
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
    index: Index,
    /// Everything below has been looked at.
    dispatched: AtomicU64,
    /// Some queue misses entries, so that `heal` has something to do.
    ailing: AtomicBool,
    arrived: Box<dyn Fn(&[Arrival]) + Send + Sync>,
    work: Mutex<Work>,
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
    /// Nothing at or above `from` has been dispatched.
    pub fn new(
        log: Arc<CommitLog>,
        table: QueueTable,
        index: Index,
        from: CommitLogOffset,
        last_stored: Timestamp,
        arrived: Box<dyn Fn(&[Arrival]) + Send + Sync>,
    ) -> Dispatch {
        Dispatch {
            log,
            table,
            index,
            dispatched: AtomicU64::new(from.0),
            ailing: AtomicBool::new(false),
            arrived,
            work: Mutex::new(Work { last_stored, ..Work::default() }),
        }
    }

    pub fn table(&self) -> &QueueTable {
        &self.table
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    pub fn dispatched(&self) -> CommitLogOffset {
        CommitLogOffset(self.dispatched.load(Ordering::Acquire))
    }

    /// Dispatches what lies below the confirm offset. When this returns, that has been done, or another thread is about
    /// to do it.
    pub fn run(&self) {
        loop {
            // Who finds the lock taken has moved the confirm offset before; who lets go of it looks at the confirm offset
            // after. The fence orders the two steps of both, so one of them sees the other.
            fence(Ordering::SeqCst);
            let confirm = self.log.confirm_offset();
            if self.dispatched() >= confirm {
                return;
            }
            let mut work = match self.work.try_lock() {
                Ok(work) => work,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => panic!("dispatch has panicked before"),
            };
            if work.broken.is_some() {
                return;
            }
            let mut next = self.dispatched();
            while next < confirm && work.broken.is_none() {
                next = self.chunk(&mut work, next, confirm, Entries::New);
                self.dispatched.store(next.0, Ordering::Release);
                let arrivals = std::mem::take(&mut work.arrivals);
                if !arrivals.is_empty() {
                    (self.arrived)(&arrivals);
                }
                work.arrivals = arrivals;
                work.arrivals.clear();
            }
            if let Some(error) = &work.broken {
                self.log.fail(format!("dispatch: {error}"));
            }
        }
    }

    /// Dispatches `[from, to)` again: queues and index take what they miss.
    pub fn again(&self, from: CommitLogOffset, to: CommitLogOffset) -> Result<(), StoreError> {
        let mut work = self.work();
        let last_stored = work.last_stored;
        let mut next = from;
        while next < to {
            next = self.chunk(&mut work, next, to, Entries::Missing);
            work.arrivals.clear();
            if let Some(error) = &work.broken {
                return Err(error.clone());
            }
        }
        work.last_stored = last_stored.max(work.last_stored);
        Ok(())
    }

    /// Gives queues that could not be written once what they miss. Returns whether all is well now.
    pub fn heal(&self) -> bool {
        if !self.ailing.swap(false, Ordering::AcqRel) {
            return true;
        }
        let ailing = |queue: &Arc<ConsumeQueue>| !queue.is_worthless() && queue.missing_from().is_some();
        let queues: Vec<Arc<ConsumeQueue>> = self.table.all().into_iter().filter(ailing).collect();
        let Some(from) = queues.iter().filter_map(|queue| queue.missing_from()).min() else { return true };
        let before: Vec<QueueOffset> = queues.iter().map(|queue| queue.max_offset()).collect();
        let to = {
            let mut work = self.work();
            let to = self.dispatched();
            let mut next = from.max(self.log.min());
            while next < to && work.broken.is_none() {
                next = self.chunk(&mut work, next, to, Entries::Missing);
                work.arrivals.clear();
            }
            to
        };
        let healed = !self.ailing.load(Ordering::Acquire);
        if healed {
            tracing::info!(%from, %to, "the consume queues have what they missed");
        }
        let arrivals: Vec<Arrival> = queues
            .iter()
            .zip(before)
            .map(|(queue, before)| Arrival {
                topic: queue.topic().clone(),
                queue_id: queue.queue_id(),
                count: queue.max_offset().0.saturating_sub(before.0),
            })
            .filter(|arrival| arrival.count > 0)
            .collect();
        if !arrivals.is_empty() {
            (self.arrived)(&arrivals);
        }
        self.run();
        healed
    }

    /// Stops dispatch for the time of `view`, which sees queues and progress as one.
    pub fn paused<T>(&self, view: impl FnOnce(Progress) -> T) -> T {
        let result = {
            let work = self.work();
            view(Progress { dispatched: self.dispatched(), last_stored: work.last_stored })
        };
        // Who came meanwhile went away again.
        self.run();
        result
    }

    /// Ends a topic's queues: dispatch knows them no more, their files go.
    pub fn delete(&self, topic: &TopicName) -> Result<(), StoreError> {
        let Some(removed) = self.paused(|_| self.table.remove(topic)) else { return Ok(()) };
        for queue in &removed.queues {
            queue.delete().map_err(|error| StoreError::io(format!("deleting queues of topic '{topic}'"), &error))?;
        }
        Ok(())
    }

    /// Dispatches one chunk that begins at `from`; answers where the next one begins.
    fn chunk(&self, work: &mut Work, from: CommitLogOffset, to: CommitLogOffset, entries: Entries) -> CommitLogOffset {
        let mut index = self.index.writer();
        let mut topic = LastTopic::default();
        let mut next = from;
        for _ in 0..CHUNK_RECORDS_MAX {
            if next >= to || next.0 - from.0 >= CHUNK_BYTES_MAX {
                break;
            }
            let message = match self.log.read_next(next) {
                Ok(message) => message,
                // The segment is closed here, and the record behind is not confirmed yet.
                Err(StoreError::NoRecord { .. }) => break,
                Err(error) => {
                    tracing::error!(%error, "dispatch ends: the log holds something that is no record");
                    work.broken = Some(error);
                    break;
                }
            };
            if message.commit_log_offset >= to {
                break;
            }
            next = CommitLogOffset(message.commit_log_offset.0 + u64::from(message.record_len));
            work.last_stored = message.store_timestamp;
            if let Some(topic) = topic.find(&self.table, message.topic())
                && message.commit_log_offset.0 >= topic.incarnation.0
            {
                work.take(topic, &message, &mut index, entries);
            }
        }
        if work.write(entries) {
            self.ailing.store(true, Ordering::Release);
        }
        index.finish(next);
        next
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("nobody panics holding it")
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
    fn find(&mut self, table: &QueueTable, name: &str) -> Option<&TopicQueues> {
        if self.0.as_ref().is_none_or(|(known, _)| known != name.as_bytes()) {
            let mut text = self.0.take().map(|(text, _)| text).unwrap_or_default();
            text.clear();
            text.extend_from_slice(name.as_bytes());
            self.0 = Some((text, table.topic(name)));
        }
        self.0.as_ref().and_then(|(_, topic)| topic.as_deref())
    }
}

impl Work {
    /// Notes what this record means to its queue, and indexes it.
    fn take(&mut self, topic: &TopicQueues, message: &StoredMessage, index: &mut IndexWriter<'_>, entries: Entries) {
        let transaction = message.sys_flag & sys_flag::TRANSACTION_MASK;
        let indexed = transaction != sys_flag::TRANSACTION_ROLLBACK && !index.knows(message.commit_log_offset);
        let mut tag = 0;
        for (name, value) in message.properties() {
            match name {
                property::TAGS => tag = tag_hash(value),
                property::UNIQUE_KEY if indexed => {
                    index.put(topic.key_prefix.key(value), message.commit_log_offset, message.store_timestamp);
                }
                property::KEYS if indexed => {
                    for word in value.split(' ').filter(|word| !word.is_empty()) {
                        index.put(topic.key_prefix.key(word), message.commit_log_offset, message.store_timestamp);
                    }
                }
                _ => {}
            }
        }
        if transaction == sys_flag::TRANSACTION_PREPARED || transaction == sys_flag::TRANSACTION_ROLLBACK {
            return;
        }
        let Some(queue) = topic.queues.get(message.queue_id.0 as usize) else {
            tracing::error!(
                topic = message.topic(), queue_id = %message.queue_id, commit_log_offset = %message.commit_log_offset,
                "a record names a queue that its topic does not have"
            );
            return;
        };
        queue.saw(message.queue_offset);
        let wanted = match (queue.missing_from(), entries) {
            _ if queue.is_worthless() => false,
            (None, _) => entries == Entries::New,
            (Some(from), Entries::Missing) => message.commit_log_offset >= from,
            (Some(_), Entries::New) => false,
        };
        if wanted {
            let entry = QueueEntry {
                commit_log_offset: message.commit_log_offset,
                record_len: message.record_len,
                tag_hash: tag,
            };
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
    fn write(&mut self, entries: Entries) -> bool {
        let mut ailing = false;
        for batch in &mut self.batches[..self.used] {
            let queue = &batch.queue;
            // An earlier batch of this chunk has failed.
            if entries == Entries::New && queue.missing_from().is_some() {
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
                self.arrivals.push(Arrival { topic, queue_id, count });
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
