//! The store: commit log, consume queues and index under one data directory; plain blocking code.
//!
//! ```text
//! append -> commit log -> (flusher) -> confirm offset -> dispatch -> consume queues, index -> arrived
//! ```
//! `Store::open` finds the end of the log and gives out the state records; `Store::start`, called with the topics that
//! they make, brings the derived files up to the log's end and opens the log for appends. The log is the truth: what is
//! derived can be deleted while the store is closed.

pub mod checkpoint;
pub mod commit_log;
pub mod config_json;
pub mod consume_queue;
pub mod disk_files;
pub mod dispatch;
pub mod error;
pub mod failpoint;
pub mod files;
pub mod flusher;
pub mod foreign_log;
pub mod identity;
pub mod index_file;
pub mod lost_state;
mod mapped_file;
pub mod message_batch;
pub mod offline;
pub mod quarantine;
pub mod record;
pub mod recovery;
pub mod repair;
pub mod retention;
pub mod segment;
pub mod simulated_files;
pub mod snapshots;
#[cfg(test)]
mod tests;
pub mod timer_log;
pub mod timer_wheel;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::clock::{Clock, EffectiveTime, Timestamp};
use crate::config::{Durability, Pace};
use crate::delivery::delay_levels::DelayLevels;
use crate::message::{StoredMessage, sys_flag};
use crate::metrics::HistogramStats;
use crate::names::TopicName;
use crate::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use crate::random::Random;
use crate::store::checkpoint::{Checkpoint, CheckpointFile, DerivedEnds};
use crate::store::commit_log::{
    Append, AppendClass, AppendedBatch, CommitLog, CommitLogEvents, Recovered, UncheckedLog, Window,
};
use crate::store::consume_queue::{Boundary, ConsumeQueue, OpenFiles, QueueEntry};
use crate::store::dispatch::{ArrivedHook, Dispatch, QueueTable, TopicQueues};
use crate::store::error::StoreError;
use crate::store::failpoint::Point;
use crate::store::files::Files;
use crate::store::flusher::Reached;
use crate::store::foreign_log::ForeignLog;
use crate::store::identity::{AbortFile, DirectoryLock, Exported, Identity, Importing, Stopped};
use crate::store::index_file::{ALL_TIME, Index, IndexEnds, IndexLayout};
use crate::store::quarantine::QUARANTINE_DIR;
use crate::store::record::{EncodedRecord, Glance, Peek};
use crate::store::recovery::{QueueRecovery, STATE_QUEUE, StampOf};
use crate::store::retention::{Retention, Seen};
use crate::store::snapshots::{SnapshotFile, SnapshotHead, Snapshots};
use crate::store::timer_log::{TIMER_LOG_DIR, TimerLog};
use crate::store::timer_wheel::{TIMER_WHEEL_BYTES, TIMER_WHEEL_FILE};

/// Queues and index are synced after so many checkpoints' delays...
const DERIVED_SYNC_TICKS: u32 = 60;
/// ...or when so much of the log has been dispatched since. It bounds what is dispatched again after a kill.
const DERIVED_SYNC_BYTES: u64 = 256 << 20;
/// Between two tries to give a queue what it misses lie at most so many checkpoints' delays.
const HEAL_PAUSE_TICKS_MAX: u32 = 64;

pub struct StoreConfig {
    pub data_dir: PathBuf,
    pub durability: Durability,
    /// For a new store; an existing store's own length wins.
    pub segment_bytes: u64,
    pub store_host: SocketAddr,
    pub index_layout: IndexLayout,
    pub pace: Pace,
    /// How long messages of a delay level wait.
    pub delay_levels: DelayLevels,
}

/// A topic as the state knows it when the store starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicAtStart {
    pub topic: TopicName,
    pub incarnation: Incarnation,
    /// How many queues it has ever had.
    pub queues: u32,
    /// By queue id: where its queues end at least, whatever the log still holds of them.
    pub queue_ends: Vec<QueueOffset>,
}

/// What a pass of retention came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// The log begins here now, if something went.
    pub deleted_below: Option<CommitLogOffset>,
    /// More would go if a newer snapshot stood behind it.
    pub wants_snapshot: bool,
}

/// What the outer world is to the store.
pub struct StoreParts {
    pub files: Arc<dyn Files>,
    pub clock: Box<dyn Clock>,
    pub random: Arc<dyn Random>,
}

/// What the store tells its owner and asks it.
pub struct StoreHooks {
    /// Consumers may see new messages. Called by dispatch between two chunks: must be quick, and must not create or
    /// delete queues.
    pub arrived: ArrivedHook,
    /// The store takes nothing any more (D4). Called once.
    pub failed: Box<dyn Fn(&str) + Send + Sync>,
    /// The synced offset that a state record is stamped with.
    pub stamp_of: StampOf,
}

/// An open store. Closed by `close`; dropped without it, the next open takes it for a kill.
pub struct Store {
    shared: Arc<Shared>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// The state as of some place of the log, until the state has been read.
    snapshot: Option<SnapshotFile>,
}

struct Shared {
    files: Arc<dyn Files>,
    config: StoreConfig,
    state_topic: TopicName,
    boot: u64,
    identity: Mutex<Identity>,
    /// Somebody else wrote here since we stopped.
    foreign: Option<ForeignLog>,
    /// Topics whose queues RocketMQ keeps in other files: a clean stop leaves none of theirs in `consumequeue`.
    batch_topics: Mutex<Vec<TopicName>>,
    /// Files under `config/` that this stop has written, with their hashes.
    exported: Mutex<BTreeMap<String, Exported>>,
    time: Arc<EffectiveTime>,
    log: Arc<CommitLog>,
    dispatch: Dispatch,
    failed: Box<dyn Fn(&str) + Send + Sync>,
    checkpoint: CheckpointFile,
    abort: AbortFile,
    /// The last stop was a clean one.
    clean: bool,
    snapshots: Snapshots,
    /// What the derived files held when they were last synced.
    recovered: Mutex<DerivedEnds>,
    /// Of the last `queue-ends` that was written: where the log began, and up to where it was dispatched. Held by whoever
    /// syncs what is derived or writes that file, for the keeper and retention both do.
    ends_written: Mutex<(u64, u64)>,
    started: AtomicBool,
    /// The keeper's orders.
    orders: Mutex<Orders>,
    ordered: Condvar,
    /// An order has been given and not been taken up: saves the flusher the lock.
    asked: AtomicBool,
    _lock: DirectoryLock,
}

#[derive(Default)]
struct Orders {
    /// The log has been synced.
    synced: bool,
    /// Queues came or went.
    changed: bool,
    stop: bool,
}

impl Store {
    /// Takes the directory and finds the end of the log. The state records can be read then; nothing else may be asked
    /// of the store before `start`.
    pub fn open(config: StoreConfig, parts: StoreParts, hooks: StoreHooks) -> Result<Store, StoreError> {
        let StoreParts { files, clock, random } = parts;
        let dir = &config.data_dir;
        let io = |what: &str, error: &std::io::Error| StoreError::io(format!("{what} in {}", dir.display()), error);
        files.create_dir(dir).map_err(|error| io("making the data directory", &error))?;
        let lock = DirectoryLock::take(&*files, dir)?;
        let abort = AbortFile::new(dir);
        let aborted = abort.read(&*files)?;
        let known = Identity::read(&*files, dir)?;
        let unchecked =
            UncheckedLog::open(files.clone(), dir, known.as_ref().map_or(config.segment_bytes, |it| it.segment_bytes))?;
        let segment_bytes = unchecked.segment_bytes();
        if known.as_ref().is_some_and(|known| known.segment_bytes != segment_bytes) {
            let reason = format!("its segments have {segment_bytes} bytes");
            return Err(StoreError::Damaged { file: dir.join("gantry/store.json"), offset: 0, reason });
        }
        let mut identity = known.unwrap_or_else(|| Identity::new(&*random, segment_bytes));
        let foreign = identity.find_foreign(&*files, dir, &unchecked, aborted)?;
        let clean = aborted.is_none() && identity.boot > 0 && foreign.is_none();
        if identity.boot == 0
            && let Some(parent) = dir.parent()
        {
            // A first start that was killed may have made the directory and no more (D6).
            files.sync_dir(parent).map_err(|error| io("syncing what is around the data directory", &error))?;
        }
        // Nothing of ours is written before `store.json`.
        files.create_dir(&dir.join("gantry")).map_err(|error| io("making gantry", &error))?;
        match &foreign {
            Some(foreign) => {
                if identity.boot == 0 {
                    identity.state_from = foreign.end.end;
                }
                identity.foreign_end = foreign.end.end;
                identity.importing = Some(Importing { end: foreign.end.end, queues: foreign.queues_said.clone() });
            }
            None => identity.stopped = None,
        }
        identity.raise_boot(&*files, dir)?;

        let (checkpoint, last_checkpoint) = CheckpointFile::open(&*files, &dir.join("checkpoint"))
            .map_err(|error| io("opening the checkpoint", &error))?;
        let last_checkpoint = last_checkpoint.filter(|_| foreign.is_none());
        let log_id = identity.log_number(dir)?;
        let (snapshots, found_snapshots) = Snapshots::open(files.clone(), dir, log_id)?;
        let ends = DerivedEnds::read(&*files, dir).map_err(|error| io("reading gantry/queue-ends", &error))?;
        // Either was written after the log was synced as far.
        let reflected = snapshots.newest().map(|newest| newest.reflects_below);
        let synced = reflected.max(ends.as_ref().map(DerivedEnds::needs_log_below)).unwrap_or_default();
        let found = match &foreign {
            Some(foreign) => foreign.end,
            None => {
                let foreign_end = identity.foreign_end;
                recovery::find_end(&unchecked, clean, last_checkpoint, synced, foreign_end, hooks.stamp_of)?
            }
        };
        // Somebody else may have cut it since.
        let synced = synced.min(found.end);
        let snapshot = found_snapshots.into_iter().find(|snapshot| snapshot.head.replay_from >= unchecked.min());
        if snapshot.is_none() && unchecked.min() > identity.state_from {
            match &foreign {
                None => return Err(StoreError::StateLost { path: dir.join("gantry"), log_min: unchecked.min() }),
                // The others have let our records go: what they say is all that counts.
                Some(foreign) => {
                    identity.state_from = foreign.end.end;
                    identity.write(&*files, dir)?;
                }
            }
        }
        let ends = ends.filter(|ends| ends.needs_log_below() <= found.end).unwrap_or_default();

        // From here on the directory is written.
        abort.write(&*files)?;
        let time = Arc::new(EffectiveTime::start(clock, found.last_stored));
        let synced = last_checkpoint.unwrap_or_default().synced_offset.max(synced);
        let recovered = Recovered { end: found.end, synced, foreign_end: identity.foreign_end };
        let log = CommitLog::start(unchecked, recovered, config.durability, config.pace.sync_delay, time.clone())?;
        let log = Arc::new(log);
        let queues_dir = dir.join("consumequeue");
        files.create_dir(&queues_dir).map_err(|error| io("making consumequeue", &error))?;
        let open_files = OpenFiles::new(files.clone(), queues_dir);
        let table = QueueTable::new(open_files);
        let dispatch = Dispatch::new(log.clone(), table, found.last_stored, config.delay_levels.clone(), hooks.arrived);
        let shared = Arc::new(Shared {
            files,
            config,
            state_topic: TopicName::state(),
            boot: identity.boot,
            identity: Mutex::new(identity),
            foreign,
            batch_topics: Mutex::default(),
            exported: Mutex::default(),
            time,
            log,
            dispatch,
            failed: hooks.failed,
            checkpoint,
            abort,
            clean,
            snapshots,
            recovered: Mutex::new(ends),
            ends_written: Mutex::default(),
            started: AtomicBool::new(false),
            orders: Mutex::default(),
            ordered: Condvar::new(),
            asked: AtomicBool::new(false),
            _lock: lock,
        });
        let state = TopicAtStart {
            topic: shared.state_topic.clone(),
            incarnation: Incarnation(0),
            queues: 1,
            queue_ends: snapshot.iter().map(|snapshot| snapshot.head.state_end).collect(),
        };
        shared.recover_queues(std::slice::from_ref(&state))?;
        shared.dispatch_again()?;
        shared.end_queues_no_earlier(&[state])?;
        Ok(Store { shared, keeper: Mutex::default(), snapshot })
    }

    /// The state as of some place of the log, if it was ever written down as a whole.
    pub fn snapshot(&self) -> Option<&SnapshotFile> {
        self.snapshot.as_ref()
    }

    /// Gives out, in the order of the log, the records that the snapshot does not cover and that speak of the state: all
    /// state records, and of the others those that `concern` it.
    ///
    /// The log is gone over record by record, without their checksums; only what is given out is checked. Where something
    /// stands between that is no record, the state topic's queue knows the next state record behind it.
    pub fn read_state(
        &self,
        concern: impl Fn(&Glance<'_>) -> bool,
        mut each: impl FnMut(StoredMessage),
    ) -> Result<(), StoreError> {
        let log = &self.shared.log;
        let state_topic = self.shared.state_topic.as_str().as_bytes();
        let mut at = match &self.snapshot {
            Some(snapshot) => snapshot.head.replay_from,
            None => self.identity().state_from,
        };
        let mut next_state: Option<QueueOffset> = None;
        while at < log.written() {
            let (view, segment_end) = log.view(at, log.written())?;
            let mut next = at;
            for record in record::glances(&view, at) {
                next = record.end();
                let is_state = record.topic == state_topic;
                if is_state {
                    if next_state.is_some_and(|expected| expected != record.queue_offset) {
                        return Err(self.missing_state(record.commit_log_offset));
                    }
                    next_state = Some(QueueOffset(record.queue_offset.0 + 1));
                }
                if is_state || concern(&record) {
                    each(log.read(record.commit_log_offset, record.record_len)?);
                }
            }
            let left = &view[(next.0 - at.0) as usize..];
            at = match record::peek(left) {
                _ if left.is_empty() => next,
                Peek::Blank { len } if next.0 + u64::from(len) == segment_end.0 => segment_end,
                _ => {
                    let behind = self.state_record_behind(next)?;
                    let (file, offset) = log.place(next);
                    tracing::error!(
                        file = %file.display(), offset, %behind,
                        "a record cannot be read: what was moved behind it may be delivered a second time"
                    );
                    behind
                }
            };
        }
        Ok(())
    }

    /// Where the first state record at or behind `at` begins, by the state topic's queue; the log's end if there is none.
    fn state_record_behind(&self, at: CommitLogOffset) -> Result<CommitLogOffset, StoreError> {
        let queue = self.queue(&self.shared.state_topic, STATE_QUEUE).expect("the state topic has its queue");
        let mut entries = Vec::with_capacity(1);
        let behind = self.offset_at_place(&queue, at)?;
        if behind < queue.max_offset() {
            self.shared.read_queue(&queue, behind, 1, &mut entries)?;
        }
        let place = entries.first().map_or(self.shared.log.written(), |entry| entry.commit_log_offset);
        if place <= at { Err(self.missing_state(at)) } else { Ok(place) }
    }

    fn missing_state(&self, at: CommitLogOffset) -> StoreError {
        let (file, offset) = self.shared.log.place(at);
        StoreError::Damaged { file, offset, reason: "a state record before this place is missing".into() }
    }

    /// Brings the queues of these topics and the index up to the end of the log, and opens the log for appends.
    pub fn start(&mut self, topics: &[TopicAtStart]) -> Result<(), StoreError> {
        self.snapshot = None;
        let shared = &self.shared;
        assert!(!shared.started.load(Ordering::Relaxed), "a store starts once");
        if !shared.clean {
            quarantine::settle(&*shared.files, &shared.config.data_dir)
                .map_err(|error| StoreError::io(format!("syncing {QUARANTINE_DIR}"), &error))?;
        }
        shared.recover_queues(topics)?;
        let mut known: HashMap<TopicName, (Incarnation, u32)> =
            topics.iter().map(|topic| (topic.topic.clone(), (topic.incarnation, topic.queues))).collect();
        known.insert(shared.state_topic.clone(), (Incarnation(0), 1));
        shared.queue_recovery(&shared.recovered()).set_strangers_aside(&known)?;
        shared.dispatch.set_index(shared.recover_index()?);
        shared.dispatch_again()?;
        shared.end_queues_no_earlier(topics)?;
        for queue in shared.dispatch.table().all() {
            queue.open_for_appends();
        }
        let events: Weak<dyn CommitLogEvents> = Arc::<Shared>::downgrade(shared);
        shared.log.report_to(events);
        let keeper = {
            let shared = shared.clone();
            let life = move || shared.keep();
            let spawned = std::thread::Builder::new().name("store-keeper".into()).spawn(life);
            spawned.map_err(|error| StoreError::io("starting the thread store-keeper", &error))?
        };
        *self.keeper.lock().expect("nobody panics holding it") = Some(keeper);
        shared.started.store(true, Ordering::Release);
        shared.order(|orders| orders.changed = true);
        Ok(())
    }

    /// Appends records on this thread; see `CommitLog::append`.
    pub fn append(&self, records: Vec<Append>) -> Result<AppendedBatch, StoreError> {
        assert!(self.shared.started.load(Ordering::Acquire), "appends come after the store's start");
        self.shared.log.append(records)
    }

    /// Appends one state record.
    pub fn append_state(&self, body: impl Into<Bytes>) -> Result<AppendedBatch, StoreError> {
        let shared = &self.shared;
        let queue = self.queue(&shared.state_topic, STATE_QUEUE).expect("the state topic has its queue");
        let record = EncodedRecord::state(&shared.state_topic, STATE_QUEUE, shared.config.store_host, body);
        self.append(vec![Append { record, queue: queue.counter().clone(), class: AppendClass::State }])
    }

    /// As `reached`, for state that a caller waits for: does not leave it to the next message to have it synced.
    pub fn reached_soon(&self, end: CommitLogOffset) -> Reached {
        self.shared.log.hurry();
        self.reached(end)
    }

    /// Ready when everything below `end` is as durable as the broker promises.
    pub fn reached(&self, end: CommitLogOffset) -> Reached {
        self.shared.log.reached(end)
    }

    /// Effective time: what everything is decided by.
    pub fn now(&self) -> Timestamp {
        self.shared.time.now()
    }

    /// The files in which messages wait for their time.
    pub fn timer_log(&self) -> Result<TimerLog, StoreError> {
        let Shared { files, config, .. } = &*self.shared;
        let opened = TimerLog::open(files.clone(), config.data_dir.join(TIMER_LOG_DIR));
        opened.map_err(|error| StoreError::io("opening timerlog", &error))
    }

    /// Writes RocketMQ's `timerwheel` anew: slots by their places, zeros elsewhere.
    pub fn write_timer_wheel(
        &self,
        slots: impl Iterator<Item = (u64, [u8; timer_wheel::SLOT_BYTES])>,
    ) -> Result<(), StoreError> {
        let Shared { files, config, .. } = &*self.shared;
        let write = || {
            let wheel = files.data_file(&config.data_dir.join(TIMER_WHEEL_FILE), TIMER_WHEEL_BYTES)?;
            wheel.zero(0, TIMER_WHEEL_BYTES)?;
            slots.into_iter().try_for_each(|(at, slot)| wheel.write_at(at, &slot))?;
            wheel.sync()?;
            files.sync_dir(&config.data_dir)
        };
        write().map_err(|error: std::io::Error| StoreError::io("writing timerwheel", &error))
    }

    /// Puts a file under `config/` in place that is no text.
    pub fn replace_config_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let Shared { files, config, .. } = &*self.shared;
        let dir = config.data_dir.join("config");
        let written = files.create_dir(&dir).and_then(|()| files.replace(&dir.join(name), bytes, false));
        written.map_err(|error| StoreError::io(format!("writing config/{name}"), &error))
    }

    /// Where the log of somebody else ended that was taken over last.
    pub fn foreign_end(&self) -> CommitLogOffset {
        self.shared.log.foreign_end()
    }

    pub fn store_host(&self) -> SocketAddr {
        self.shared.config.store_host
    }

    pub fn durability(&self) -> Durability {
        self.shared.config.durability
    }

    /// Queues and index know everything below.
    pub fn dispatched_offset(&self) -> CommitLogOffset {
        self.shared.dispatch.dispatched()
    }

    /// Consumers see nothing at or above it.
    pub fn confirm_offset(&self) -> CommitLogOffset {
        self.shared.log.confirm_offset()
    }

    /// Everything below is on the disk.
    pub fn synced_offset(&self) -> CommitLogOffset {
        self.shared.log.synced()
    }

    /// The first byte of the log that is kept.
    pub fn min_offset(&self) -> CommitLogOffset {
        self.shared.log.min()
    }

    /// Behind the last record of the log.
    pub fn max_offset(&self) -> CommitLogOffset {
        self.shared.log.written()
    }

    pub fn read_record(&self, entry: &QueueEntry) -> Result<StoredMessage, StoreError> {
        message_of(entry, self.shared.log.read(entry.commit_log_offset, entry.record_len)?)
    }

    /// The message of a queue that its entry at `at` stands for, read through the caller's window; `None` if retention has
    /// taken it since the entry was read. An entry that stands for anything else is damage.
    pub fn read_message(
        &self,
        window: &mut Window,
        queue: &ConsumeQueue,
        at: QueueOffset,
        entry: &QueueEntry,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let disagrees = || {
            let (file, offset) = queue.place(at);
            let reason = "the entry is not the log's; consumequeue can be deleted, the next start makes it anew".into();
            queue.distrust();
            StoreError::Damaged { file, offset, reason }
        };
        let record = self.shared.log.read_in(window, entry.commit_log_offset, entry.record_len);
        match record.and_then(|record| message_of(entry, record)) {
            Ok(message) => {
                let is_its_own = message.topic == queue.topic().as_str().as_bytes()
                    && message.queue_id == queue.queue_id()
                    && message.queue_offset == at
                    && message.commit_log_offset.0 >= queue.incarnation().0;
                if is_its_own { Ok(Some(message)) } else { Err(disagrees()) }
            }
            // Queues begin behind what goes before it goes.
            Err(StoreError::NoRecord { .. }) if at < queue.min_offset() => Ok(None),
            // The log is right about itself, so the entry is wrong.
            Err(_) if self.shared.log.read_at(entry.commit_log_offset).is_ok() => Err(disagrees()),
            Err(StoreError::NoRecord { at }) if at >= self.min_offset() => Err(disagrees()),
            Err(error) => Err(error),
        }
    }

    /// What can be said of that message without its checksum. `None` for anything out of the ordinary: `read_message`
    /// knows what it is.
    pub fn glance_message<'w>(
        &self,
        window: &'w mut Window,
        queue: &ConsumeQueue,
        at: QueueOffset,
        entry: &QueueEntry,
    ) -> Option<Glance<'w>> {
        let record = self.shared.log.glance_in(window, entry.commit_log_offset, entry.record_len).ok()?;
        let is_its_own = record.topic == queue.topic().as_str().as_bytes()
            && record.record_len == entry.record_len
            && record.queue_id == queue.queue_id()
            && record.queue_offset == at
            && record.commit_log_offset.0 >= queue.incarnation().0;
        (is_its_own && record.sys_flag & sys_flag::INNER_BATCH == 0).then_some(record)
    }

    /// The record that begins at a place somebody names; only what consumers may see.
    pub fn read_record_at(&self, at: CommitLogOffset) -> Result<StoredMessage, StoreError> {
        if at >= self.confirm_offset() {
            return Err(StoreError::NoRecord { at });
        }
        self.shared.log.read_at(at)
    }

    /// The record that the caller appended there, whether or not consumers may see it yet.
    pub fn read_appended(&self, at: CommitLogOffset) -> Result<StoredMessage, StoreError> {
        self.shared.log.read_at(at)
    }

    /// How long syncs of the log took.
    pub fn syncs(&self) -> HistogramStats {
        self.shared.log.syncs()
    }

    /// The first record that is kept; `None` in an empty log.
    pub fn earliest(&self) -> Result<Option<StoredMessage>, StoreError> {
        match self.read_record_at(self.min_offset()) {
            Ok(record) => Ok(Some(record)),
            Err(StoreError::NoRecord { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of the file system on which the store lies: its size, and what can still be allocated.
    pub fn disk_bytes(&self) -> Result<(u64, u64), StoreError> {
        let Shared { files, config, .. } = &*self.shared;
        let space = |dir: &Path| Ok((files.total_bytes(dir)?, files.available_bytes(dir)?));
        space(&config.data_dir).map_err(|error: std::io::Error| StoreError::io("asking how much space is left", &error))
    }

    pub fn queue(&self, topic: &TopicName, queue_id: QueueId) -> Option<Arc<ConsumeQueue>> {
        self.shared.dispatch.table().queue(topic.as_str(), queue_id)
    }

    /// All queues of a topic, for who needs several.
    pub fn topic_queues(&self, topic: &TopicName) -> Option<Arc<TopicQueues>> {
        self.shared.dispatch.table().topic(topic.as_str())
    }

    /// Adds at most `count_max` entries of a queue, from `from` on; none behind its end.
    pub fn read_queue(
        &self,
        queue: &ConsumeQueue,
        from: QueueOffset,
        count_max: usize,
        entries: &mut Vec<QueueEntry>,
    ) -> Result<(), StoreError> {
        self.shared.read_queue(queue, from, count_max, entries)
    }

    /// By queue id; none if the topic has no queues.
    pub fn queues(&self, topic: &TopicName) -> Arc<[Arc<ConsumeQueue>]> {
        self.shared.dispatch.table().topic(topic.as_str()).map(|topic| topic.queues.clone()).unwrap_or_default()
    }

    /// The message of a queue at this boundary of a time.
    pub fn offset_at_time(
        &self,
        queue: &ConsumeQueue,
        time: Timestamp,
        boundary: Boundary,
    ) -> Result<QueueOffset, StoreError> {
        let stored_at = |entry: &QueueEntry| {
            let record = self.shared.log.read(entry.commit_log_offset, entry.record_len);
            record.ok().map(|message| message.store_timestamp)
        };
        queue
            .offset_at_time(time, boundary, stored_at)
            .map_err(|error| StoreError::io(format!("searching a queue of topic '{}'", queue.topic()), &error))
    }

    /// The first message of a queue at or behind this place of the log, its end if there is none.
    pub fn offset_at_place(&self, queue: &ConsumeQueue, at: CommitLogOffset) -> Result<QueueOffset, StoreError> {
        queue
            .offset_at_place(at)
            .map_err(|error| StoreError::io(format!("searching a queue of topic '{}'", queue.topic()), &error))
    }

    /// Makes sure that a topic has queues 0 to `count`. Comes after the record that creates the topic or lets it grow,
    /// and before the first message.
    pub fn create_queues(&self, topic: &TopicName, incarnation: Incarnation, count: u32) {
        assert!(self.shared.started.load(Ordering::Acquire), "topics come after the store's start");
        for queue in self.shared.dispatch.table().create(topic, incarnation, count) {
            queue.open_for_appends();
        }
        self.shared.order(|orders| orders.changed = true);
    }

    /// Ends the queues of a topic. Comes after the record that deletes it.
    pub fn delete_queues(&self, topic: &TopicName) -> Result<(), StoreError> {
        assert!(*topic != self.shared.state_topic, "the state topic stays");
        let deleted = self.shared.dispatch.delete(topic);
        self.shared.order(|orders| orders.changed = true);
        deleted
    }

    /// Messages of a topic whose unique key or one of whose keys this is and that were stored in this time, newest first,
    /// `index_file::FOUND_MAX` at most.
    pub fn find_by_key(&self, topic: &TopicName, key: &str, stored: &RangeInclusive<Timestamp>) -> Vec<StoredMessage> {
        self.search_by_key(topic, key, stored, index_file::FOUND_MAX, |_| true).0
    }

    /// The newest message of a topic with this unique key. `Overloaded` when so many others share the key's place in the
    /// index that it may lie behind them: an honest no is not possible then.
    pub fn find_by_unique_key(&self, topic: &TopicName, key: &str) -> Result<Option<StoredMessage>, StoreError> {
        self.find_by_unique_key_where(topic, key, &|_| true)
    }

    /// The same of those that are wanted.
    pub fn find_by_unique_key_where(
        &self,
        topic: &TopicName,
        key: &str,
        wanted: &dyn Fn(&StoredMessage) -> bool,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let is_it = |message: &StoredMessage| message.unique_key() == Some(key) && wanted(message);
        let (found, is_complete) = self.search_by_key(topic, key, &ALL_TIME, 1, is_it);
        if found.is_empty() && !is_complete {
            return Err(StoreError::Overloaded { what: "places in the index for this key" });
        }
        Ok(found.into_iter().next())
    }

    /// Whether everything that the index knows was looked at.
    fn search_by_key(
        &self,
        topic: &TopicName,
        key: &str,
        stored: &RangeInclusive<Timestamp>,
        count_max: usize,
        wanted: impl Fn(&StoredMessage) -> bool,
    ) -> (Vec<StoredMessage>, bool) {
        let mut found = Vec::new();
        let is_complete = self.look_by_key(topic, key, stored, None, |_, messages| {
            found.extend(messages.into_iter().filter(&wanted));
            if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        found.truncate(count_max);
        (found, is_complete)
    }

    /// Hands over the messages of a topic whose unique key or one of whose keys this is and that were stored in this time:
    /// record by record with its place, the newest first, those before a place alone. A record whose hash alone is that of
    /// the key comes without messages. `false`: `each` broke it off, or `PLACES_MAX` records were looked at.
    pub fn look_by_key(
        &self,
        topic: &TopicName,
        key: &str,
        stored: &RangeInclusive<Timestamp>,
        before: Option<CommitLogOffset>,
        mut each: impl FnMut(CommitLogOffset, Vec<StoredMessage>) -> ControlFlow<()>,
    ) -> bool {
        let Some((topic_queues, index)) =
            self.shared.dispatch.table().topic(topic.as_str()).zip(self.shared.dispatch.index())
        else {
            return true;
        };
        let bears = |message: &StoredMessage| {
            message.topic() == topic.as_str()
                && message.commit_log_offset.0 >= topic_queues.incarnation.0
                && stored.contains(&message.store_timestamp)
                && (message.unique_key() == Some(key) || message.keys().any(|word| word == key))
        };
        let places = index.search(topic.as_str(), key, stored.clone());
        for (number, at) in places.filter(|at| before.is_none_or(|before| *at < before)).enumerate() {
            if number == index_file::PLACES_MAX {
                return false;
            }
            // What cannot be read is no answer to a search.
            let record = self.read_record_at(at).ok();
            let mut messages = record.and_then(|record| message_batch::explode(record).ok()).unwrap_or_default();
            messages.retain(bears);
            if each(at, messages).is_break() {
                return false;
            }
        }
        true
    }

    /// How often this store has been opened, this time included; on the disk before `open` returned.
    pub fn boot(&self) -> u64 {
        self.shared.boot
    }

    pub fn identity(&self) -> Identity {
        self.shared.identity().clone()
    }

    /// What somebody else wrote here since we stopped. Until `import_done` a kill undoes all that was appended since.
    pub fn foreign(&self) -> Option<&ForeignLog> {
        self.shared.foreign.as_ref()
    }

    /// What somebody else wrote is in our state now: what was appended so far is kept for ever.
    pub fn import_done(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.log.on_disk(shared.log.written()).wait()?;
        let mut identity = shared.identity();
        (identity.importing, identity.stopped) = (None, None);
        identity.write(&*shared.files, &shared.config.data_dir)
    }

    /// A file under `config/`; see `config_json::read_file`.
    pub fn read_config(&self, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let shared = &self.shared;
        config_json::read_file(&*shared.files, &shared.config.data_dir.join("config").join(name))
    }

    /// The bytes of a file under `config/`; none if there is no such file.
    pub fn config_bytes(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.shared.config.data_dir.join("config").join(name);
        match self.shared.files.read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::io(format!("reading {}", path.display()), &error)),
        }
    }

    /// Puts a file under `config/` in place; see `config_json::replace_file`.
    pub fn replace_config(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let Shared { files, config, .. } = &*self.shared;
        let dir = config.data_dir.join("config");
        files.create_dir(&dir).map_err(|error| StoreError::io("making config", &error))?;
        config_json::replace_file(&**files, &dir.join(name), text)
    }

    /// What the clean stop that follows leaves under `config/`, and the topics whose queues are batch queues.
    pub fn set_exported(&self, exported: BTreeMap<String, Exported>, batch_topics: Vec<TopicName>) {
        *self.shared.exported.lock().expect("nobody panics holding it") = exported;
        *self.shared.batch_topics.lock().expect("nobody panics holding it") = batch_topics;
    }

    /// A small file of ours, by its name under `gantry/`; `None` if there is none.
    pub fn read_small_file(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.shared.config.data_dir.join("gantry").join(name);
        match self.shared.files.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(format!("reading {}", path.display()), &error)),
        }
    }

    /// Puts it in place whole, synced. `private`: for nobody else's eyes.
    pub fn replace_small_file(&self, name: &str, bytes: &[u8], private: bool) -> Result<(), StoreError> {
        let path = self.shared.config.data_dir.join("gantry").join(name);
        let replaced = self.shared.files.replace(&path, bytes, private);
        replaced.map_err(|error| StoreError::io(format!("writing {}", path.display()), &error))
    }

    /// Writes down the state: `body` says what was decided at and behind `replay_from` up to now, maybe; and everything
    /// before. Returns when it is on the disk, which is after the log is.
    pub fn write_snapshot(&self, replay_from: CommitLogOffset, body: &[u8]) -> Result<(), StoreError> {
        let log = &self.shared.log;
        let state_queue = self.queue(&self.shared.state_topic, STATE_QUEUE).expect("the state topic has its queue");
        // In this order: whatever the counters count, this one and those in the body, lies below. A snapshot that counted
        // what a kill then kept from the log would have the next start look for it in vain.
        let state_end = state_queue.counter().next();
        let reflects_below = log.appended();
        log.on_disk(reflects_below).wait()?;
        let head = SnapshotHead { replay_from, reflects_below, state_end, taken: self.now() };
        failpoint::at(Point::SnapshotBefore);
        let written = self.shared.snapshots.write(head, body);
        failpoint::at(Point::SnapshotAfter);
        written
    }

    /// Deletes what the rules let go, and says whether a newer snapshot would let more of it go. Blocking, and not to be
    /// called by two at once.
    ///
    /// Queues begin behind what goes before it goes, so that nobody is sent there; their files go last, after what is
    /// left of them is on record, so that a start finds what it expects.
    ///
    /// `rescue` is told below which place the log will go, and may append what is still needed of it; it says whether it
    /// did, for that must be on the disk first.
    pub fn enforce_retention(
        &self,
        rules: &Retention,
        rescue: impl FnOnce(CommitLogOffset) -> Result<bool, StoreError>,
    ) -> Result<Retained, StoreError> {
        let shared = &self.shared;
        let log = &shared.log;
        let now = self.now();
        let (disk_total_bytes, available) = self.disk_bytes()?;
        let seen = Seen {
            now,
            local_hour: shared.time.local_hour(now),
            disk_used_bytes: disk_total_bytes.saturating_sub(available),
            disk_total_bytes,
            log_end: log.written(),
            replay_floor: shared.snapshots.replay_floor().unwrap_or(CommitLogOffset(0)),
            dispatched: self.dispatched_offset(),
        };
        let decision = retention::decide(rules, &seen, &log.closed_segments(), |segment| log.last_stored(segment))?;
        if log.refuse_messages(decision.refuse_messages) != decision.refuse_messages {
            match decision.refuse_messages {
                true => tracing::warn!(
                    "the disk is nearly full: messages are refused, what is left is for acks and deletes"
                ),
                false => tracing::info!("the disk has room for messages again"),
            }
        }
        let Some(below) = decision.delete_below else {
            return Ok(Retained { deleted_below: None, wants_snapshot: decision.wants_snapshot });
        };
        if rescue(below)? {
            log.on_disk(log.written()).wait()?;
        }
        let mut trimmed = Vec::new();
        for queue in shared.dispatch.table().all() {
            // A queue that cannot be told would send its consumers to what is gone: then nothing goes this time.
            let was_trimmed = queue.trim(below).map_err(|error| {
                StoreError::io(format!("trimming queue {} of '{}'", queue.queue_id(), queue.topic()), &error)
            })?;
            if was_trimmed {
                trimmed.push(queue);
            }
        }
        let min = log.delete_before(below)?;
        tracing::info!(%min, "messages have been kept long enough: segments before this place were deleted");
        let ends = shared.sync_derived();
        log.on_disk(ends.needs_log_below()).wait()?;
        shared.write_derived_ends(&ends)?;
        // A sync would make anew what has just been removed.
        let alone = shared.ends_written.lock().expect("nobody panics holding it");
        for queue in trimmed {
            if let Err(error) = queue.remove_trimmed() {
                tracing::error!(topic = %queue.topic(), queue_id = %queue.queue_id(), %error, "old files of a consume queue could not be removed");
            }
        }
        if let Some(index) = shared.dispatch.index()
            && let Err(error) = index.trim(min)
        {
            tracing::error!(%error, "old index files could not be removed");
        }
        drop(alone);
        shared.order(|orders| orders.changed = true);
        Ok(Retained { deleted_below: Some(min), wants_snapshot: decision.wants_snapshot })
    }

    /// Is the disk too full for messages?
    pub fn refuses_messages(&self) -> bool {
        self.shared.log.refuses_messages()
    }

    /// The newest snapshot that was written.
    pub fn newest_snapshot(&self) -> Option<SnapshotHead> {
        self.shared.snapshots.newest()
    }

    /// Why the store takes nothing any more, if so.
    pub fn failure(&self) -> Option<String> {
        self.shared.log.failure().map(str::to_string)
    }

    /// Why messages cannot be found by key for the moment, if so.
    pub fn index_failure(&self) -> Option<String> {
        self.shared.dispatch.index().and_then(Index::stopped)
    }

    /// Stops the store for ever: a file that must not fail has failed.
    pub fn fail(&self, reason: String) {
        self.shared.log.fail(reason);
    }

    /// Syncs everything and marks the stop as a clean one. Appends are refused from now on; what was read stays valid.
    pub fn close(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.log.close()?;
        self.stop_keeper();
        if !shared.started.load(Ordering::Acquire) {
            return Ok(());
        }
        shared.dispatch.run();
        shared.dispatch.heal();
        for topic in shared.batch_topics.lock().expect("nobody panics holding it").iter() {
            shared.dispatch.delete(topic)?;
        }
        let ends = shared.sync_derived();
        shared.write_derived_ends(&ends)?;
        shared.write_checkpoint()?;
        if let Some(reason) = self.failure() {
            return Err(StoreError::Failed { reason });
        }
        shared.write_stopped()?;
        shared.abort.remove(&*shared.files)
    }

    fn stop_keeper(&self) {
        self.shared.order(|orders| orders.stop = true);
        if let Some(keeper) = self.keeper.lock().expect("nobody panics holding it").take() {
            keeper.join().expect("the keeper does not panic");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The threads end here, so that none of them is the last to hold the store.
        if let Err(error) = self.shared.log.close() {
            tracing::error!(%error, "the store was dropped");
        }
        self.stop_keeper();
    }
}

impl Shared {
    fn identity(&self) -> std::sync::MutexGuard<'_, Identity> {
        self.identity.lock().expect("nobody panics holding it")
    }

    /// From here on the directory may be somebody else's, and the next start will see what they did.
    fn write_stopped(&self) -> Result<(), StoreError> {
        let exported = self.exported.lock().expect("nobody panics holding it").clone();
        let mut identity = self.identity();
        identity.stopped = Some(Stopped { end: self.log.written(), exported });
        identity.write(&*self.files, &self.config.data_dir)
    }

    fn recovered(&self) -> std::sync::MutexGuard<'_, DerivedEnds> {
        self.recovered.lock().expect("nobody panics holding it")
    }

    fn queue_recovery<'a>(&'a self, ends: &'a DerivedEnds) -> QueueRecovery<'a> {
        QueueRecovery { files: &*self.files, data_dir: &self.config.data_dir, log: &self.log, clean: self.clean, ends }
    }

    fn recover_queues(&self, topics: &[TopicAtStart]) -> Result<(), StoreError> {
        let ends = self.recovered();
        let recovery = self.queue_recovery(&ends);
        for TopicAtStart { topic, incarnation, queues, .. } in topics {
            for queue in self.dispatch.table().create(topic, *incarnation, *queues) {
                recovery.recover(&queue)?;
                // Killed between the deletion of segments and of their entries.
                if ends.log_min < self.log.min().0 {
                    let trimmed = queue.trim(self.log.min()).and_then(|_| queue.remove_trimmed());
                    trimmed
                        .map_err(|error| StoreError::io(format!("queue {} of '{topic}'", queue.queue_id()), &error))?;
                }
            }
        }
        Ok(())
    }

    /// Queues that the log has nothing of any more go on where they ended. After everything has been dispatched again.
    fn end_queues_no_earlier(&self, topics: &[TopicAtStart]) -> Result<(), StoreError> {
        for topic in topics {
            for (queue_id, end) in (0..topic.queues).zip(&topic.queue_ends) {
                let queue = self.dispatch.table().queue(topic.topic.as_str(), QueueId(queue_id));
                let Some(queue) = queue else { continue };
                queue.end_no_earlier(*end).map_err(|error| {
                    let (file, offset) = queue.place(*end);
                    StoreError::Damaged { file, offset, reason: error.to_string() }
                })?;
            }
        }
        Ok(())
    }

    fn recover_index(&self) -> Result<Index, StoreError> {
        let dir = self.config.data_dir.join("index");
        let layout = self.config.index_layout;
        let ends = self.recovered().index;
        let open = |ends, clean| Index::open(self.files.clone(), dir.clone(), layout, ends, clean);
        let error = match open(ends, self.clean) {
            Ok(index) => return Ok(index),
            Err(error) => error,
        };
        if error::is_full(&error) {
            return Ok(Index::stopped_with(self.files.clone(), dir.clone(), layout, ends, error.to_string()));
        }
        if ends != IndexEnds::default() {
            tracing::warn!(%error, "the index is made anew from the log");
        }
        self.queue_recovery(&self.recovered()).set_index_aside()?;
        let empty = IndexEnds { indexed_below: self.log.min().0, ..IndexEnds::default() };
        open(empty, true).map_err(|error| StoreError::io("opening the index", &error))
    }

    /// Everything that queues and index miss below the log's end.
    fn dispatch_again(&self) -> Result<(), StoreError> {
        let queues = self.dispatch.table().all();
        let index = self.dispatch.index().filter(|index| index.stopped().is_none()).map(Index::indexed_below);
        let missing = queues.iter().filter_map(|queue| queue.missing_from()).chain(index).min();
        let end = self.log.confirm_offset();
        self.dispatch.again(missing.unwrap_or(end).max(self.log.min()), end)
    }

    /// The life of the thread that keeps the checkpoint.
    fn keep(&self) {
        // A store that is killed again and again soon after its starts must not have more to go through each time.
        let mut ticks = DERIVED_SYNC_TICKS;
        let (mut heal_pause, mut heal_in) = (1, 1);
        // What was synced while the log was not yet synced as far: written as soon as it is.
        let mut waiting: Option<DerivedEnds> = None;
        let mut synced_below = self.recovered().dispatched_below;
        loop {
            let orders = self.orders.lock().expect("nobody panics holding it");
            let behind = waiting.is_some() || self.dispatch.is_ailing() || self.dispatch.dispatched().0 > synced_below;
            let orders = self
                .ordered
                .wait_while(orders, |orders| !(behind || orders.synced || orders.changed || orders.stop))
                .expect("nobody panics holding it");
            let (mut orders, _) = self
                .ordered
                .wait_timeout_while(orders, self.config.pace.checkpoint_delay, |orders| !orders.stop)
                .expect("nobody panics holding it");
            if orders.stop {
                return;
            }
            let changed = std::mem::take(&mut orders.changed);
            let synced = std::mem::take(&mut orders.synced);
            self.asked.store(false, Ordering::Release);
            drop(orders);
            if self.log.failure().is_some() {
                return;
            }
            ticks += 1;
            if !self.dispatch.is_ailing() {
                (heal_pause, heal_in) = (1, 1);
            } else if heal_in > 1 {
                heal_in -= 1;
            } else {
                // Each try reads all of the log that is missing, so tries become rare.
                self.dispatch.heal();
                heal_pause = HEAL_PAUSE_TICKS_MAX.min(heal_pause * 2);
                heal_in = heal_pause;
            }
            if synced && let Err(error) = self.write_checkpoint() {
                tracing::error!(%error, "the checkpoint could not be written: a start after a kill reads more of the log");
            }
            let far = self.dispatch.dispatched().0.saturating_sub(synced_below) >= DERIVED_SYNC_BYTES;
            if waiting.is_none() && (changed || far || ticks >= DERIVED_SYNC_TICKS) {
                waiting = Some(self.sync_derived());
                ticks = 0;
            }
            if let Some(ends) = waiting.take_if(|ends| ends.needs_log_below() <= self.log.synced()) {
                synced_below = ends.dispatched_below;
                if let Err(error) = self.write_derived_ends(&ends) {
                    tracing::error!(%error, "the queues' ends could not be written: a start after a kill takes longer");
                }
            }
        }
    }

    fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.orders.lock().expect("nobody panics holding it"));
        self.ordered.notify_all();
    }

    /// Syncs queues and index; answers what they hold for sure then.
    fn sync_derived(&self) -> DerivedEnds {
        // What somebody else has begun to sync counts as synced before it is.
        let _alone = self.ends_written.lock().expect("nobody panics holding it");
        let queues = self.dispatch.table().all();
        // Before the queues are looked at: they begin behind it already.
        let log_min = self.log.min();
        let (dispatched_below, seen) = self
            .dispatch
            .paused(|progress| (progress.dispatched, queues.iter().map(|queue| queue.ends()).collect::<Vec<_>>()));
        let mut ends = DerivedEnds::new(dispatched_below);
        ends.log_min = log_min.0;
        if let Err(error) = ConsumeQueue::sync_all(&queues) {
            tracing::error!(%error, "consume queues could not be synced: the next start makes them anew");
        }
        for (queue, seen) in queues.iter().zip(seen) {
            ends.add(queue, seen.filter(|_| queue.is_trusted()));
        }
        match self.dispatch.index().map(Index::sync) {
            Some(Ok(index)) => ends.index = index,
            Some(Err(error)) => tracing::error!(%error, "the index could not be synced: the next start makes it anew"),
            None => {}
        }
        ends
    }

    fn write_derived_ends(&self, ends: &DerivedEnds) -> Result<(), StoreError> {
        // What was seen earlier is not the last word.
        let mut written = self.ends_written.lock().expect("nobody panics holding it");
        let seen = (ends.log_min, ends.dispatched_below);
        if seen < *written {
            return Ok(());
        }
        *written = seen;
        failpoint::at(Point::QueueEndsBefore);
        let outcome = ends.write(&*self.files, &self.config.data_dir);
        failpoint::at(Point::QueueEndsAfter);
        outcome.map_err(|error| StoreError::io("writing gantry/queue-ends", &error))
    }

    fn write_checkpoint(&self) -> Result<(), StoreError> {
        let synced_offset = self.log.synced();
        let last_stored = self.dispatch.paused(|progress| progress.last_stored);
        let checkpoint = Checkpoint {
            log_timestamp: last_stored,
            queues_timestamp: last_stored,
            index_timestamp: last_stored,
            synced_offset,
            confirm_offset: synced_offset,
        };
        let written = self.checkpoint.write(&checkpoint);
        written.map_err(|error| StoreError::io("writing the checkpoint", &error))
    }

    fn read_queue(
        &self,
        queue: &ConsumeQueue,
        from: QueueOffset,
        count_max: usize,
        entries: &mut Vec<QueueEntry>,
    ) -> Result<(), StoreError> {
        let read = queue.read_entries(from, count_max, entries);
        read.map_err(|error| {
            StoreError::io(format!("reading queue {} of '{}'", queue.queue_id(), queue.topic()), &error)
        })
    }
}

/// The one message of a record that an entry stands for.
fn message_of(entry: &QueueEntry, record: StoredMessage) -> Result<StoredMessage, StoreError> {
    if record.sys_flag & sys_flag::INNER_BATCH == 0 {
        return Ok(record);
    }
    let message = message_batch::explode(record)?.into_iter().nth(entry.inner.into());
    message.ok_or(StoreError::NoRecord { at: entry.commit_log_offset })
}

impl CommitLogEvents for Shared {
    fn confirm_moved(&self, _to: CommitLogOffset) {
        self.dispatch.run();
    }

    fn synced(&self, _to: CommitLogOffset) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.order(|orders| orders.synced = true);
        }
    }

    fn failed(&self, reason: &str) {
        (self.failed)(reason);
    }
}
