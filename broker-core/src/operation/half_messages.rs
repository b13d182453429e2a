//! Where half messages lie until somebody decides: RocketMQ's topics, its properties, and what is done about those that
//! stay open.
//!
//! They are deliveries like others: one queue, and one cell, that of RocketMQ's own consumer group. Deciding one settles it
//! there, and asking its producer is a lease. Whatever leaves the queue names the delivery that it ends (`Source::Lease`),
//! so no kill comes between the two, and replay knows nothing of transactions.
//!
//! Lock order: tables, cells, half messages, log.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::broker::{ConsumerGroupConfig, HalfMessageId, PutWhen};
use crate::clock::Timestamp;
use crate::delivery::cell::Cell;
use crate::delivery::half_messages::{Decided, HalfMessages, HalfOutcome, OpenHalf};
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{Message, StoredMessage, Transaction, property};
use crate::names::{ConsumerGroup, HALF_TOPIC, HOLDING_TOPIC, OP_TOPIC, ProducerGroup, TRANSACTION_GROUP, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::operation::consumer_groups;
use crate::operation::topics::ensure_topic;
use crate::state::record::{CellKey, Entry};
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::commit_log::{Append, AppendClass, Window};
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;
use crate::store::record::RecordDraft;

/// The one queue of each of the three topics.
pub(crate) const QUEUE: QueueId = QueueId(0);
/// RocketMQ's mark of an op record that ends half messages.
pub(crate) const OP_TAG: &str = "d";
/// Most that are looked at under one lock.
const LOOKED_AT_ONCE: usize = 1_024;
/// Most that are moved under one lock, and by one append.
const MOVED_AT_ONCE: usize = 64;
/// One half message that stays open for days must not have the cell remember all that were settled behind it: when the
/// queue is this much longer than what is open, it is put back to the queue's end.
const BEHIND_MAX: u64 = 262_144;
/// Most that are open at a time.
const OPEN_MAX: usize = 1_000_000;
/// What could not be done is tried again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// Open half messages, and who waits for checks of theirs.
pub(crate) struct Transactions {
    half_messages: Mutex<HalfMessages>,
    /// Changes when checks may be due; `true` once the broker stops.
    due: watch::Sender<bool>,
}

impl Default for Transactions {
    fn default() -> Transactions {
        Transactions { half_messages: Mutex::default(), due: watch::Sender::new(false) }
    }
}

impl Transactions {
    pub(crate) fn half_messages(&self) -> MutexGuard<'_, HalfMessages> {
        self.half_messages.lock().expect("no code panics while holding it")
    }

    pub(crate) fn waiter(&self) -> watch::Receiver<bool> {
        self.due.subscribe()
    }

    fn wake(&self) {
        self.due.send_modify(|_| {});
    }

    /// Ends all waits.
    pub(crate) fn close(&self) {
        self.due.send_replace(true);
    }
}

pub(crate) fn half_topic() -> TopicName {
    TopicName::from_store(HALF_TOPIC.as_bytes()).expect("a legal name")
}

pub(crate) fn op_topic() -> TopicName {
    TopicName::from_store(OP_TOPIC.as_bytes()).expect("a legal name")
}

pub(crate) fn holding_topic() -> TopicName {
    TopicName::from_store(HOLDING_TOPIC.as_bytes()).expect("a legal name")
}

pub(crate) fn transaction_group() -> ConsumerGroup {
    ConsumerGroup::from_store(TRANSACTION_GROUP.as_bytes()).expect("a legal name")
}

/// Makes what half messages lie in, and who settles them.
pub(crate) fn ensure(parts: &Parts) -> Result<(), BrokerError> {
    ensure_topic(parts, &half_topic(), 1)?;
    let group = transaction_group();
    if parts.tables().consumer_group(&group).is_some() {
        return Ok(());
    }
    match consumer_groups::put(parts, ConsumerGroupConfig::new(group), PutWhen::Unconditional) {
        // Another send was faster.
        Ok(_) | Err(BrokerError::VersionRequired { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The cell of half messages; `None` before the first of them.
pub(crate) fn cell_key(tables: &Tables) -> Option<CellKey> {
    let consumer_group_id = tables.consumer_group(&transaction_group())?.consumer_group_id;
    let topic_id = tables.topic(&half_topic())?.topic_id;
    Some(CellKey { consumer_group_id, topic_id, queue_id: QUEUE })
}

/// Whether this is the pair of that cell.
pub(crate) fn is_theirs(tables: &Tables, pair: Pair) -> bool {
    cell_key(tables).is_some_and(|cell| (cell.consumer_group_id, cell.topic_id) == pair)
}

/// The record that lies there in the message's place.
pub(crate) fn draft(
    parts: &Parts,
    (topic, queue_id): (&TopicName, QueueId),
    message: &Message,
    transaction: &Transaction,
) -> RecordDraft {
    let draft = RecordDraft::message(&half_topic(), QUEUE, parts.config.store_host, message)
        .with_property(property::REAL_TOPIC, topic.as_str())
        .with_property(property::REAL_QUEUE_ID, &queue_id.to_string())
        .with_property(property::TRANSACTION_ID, message.unique_key())
        .with_property(property::HALF, "true")
        .with_property(property::PRODUCER_GROUP, transaction.producer_group.as_str());
    match transaction.check_after {
        Some(after) => draft.with_property(property::CHECK_AFTER_SECONDS, &after.as_secs().to_string()),
        None => draft,
    }
}

/// Is there room for one more?
pub(crate) fn admit(parts: &Parts) -> Result<(), BrokerError> {
    if parts.transactions.half_messages().open_count() >= OPEN_MAX {
        return Err(BrokerError::Overloaded { what: "places for open transactions" });
    }
    Ok(())
}

/// One was stored: somebody is to be asked about it, if it stays open so long. Says when it is given up at the earliest.
pub(crate) fn stored(parts: &Parts, tables: &Tables, transaction: &Transaction, at: Timestamp) -> Timestamp {
    if let Some(cell) = cell_key(tables) {
        parts.redelivery.arm((cell.consumer_group_id, cell.topic_id), first_check(parts, transaction, at));
    }
    decide_until(parts, transaction, at)
}

/// When one that was stored at this time is given up at the earliest.
pub(crate) fn decide_until(parts: &Parts, transaction: &Transaction, at: Timestamp) -> Timestamp {
    let rules = &parts.config.transactions;
    first_check(parts, transaction, at).plus(rules.check_interval.saturating_mul(rules.check_max))
}

fn first_check(parts: &Parts, transaction: &Transaction, at: Timestamp) -> Timestamp {
    at.plus(transaction.check_after.unwrap_or(parts.config.transactions.timeout))
}

/// What the queue of half messages is worked on with, all of it locked.
pub(crate) struct Locked<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) key: CellKey,
    pub(crate) queue: &'a ConsumeQueue,
    pub(crate) cell: &'a mut Cell,
    pub(crate) open: MutexGuard<'a, HalfMessages>,
}

/// Does something with the half messages, all of them known. `None` if there never was one.
pub(crate) fn with_locked<R>(
    parts: &Parts,
    mut act: impl FnMut(&Tables, Locked<'_>) -> R,
) -> Result<Option<R>, StoreError> {
    loop {
        let tables = parts.tables();
        let Some(key) = cell_key(&tables) else { return Ok(None) };
        let Some(queue) = parts.store.queue(&half_topic(), QUEUE) else { return Ok(None) };
        let cells = parts.cells.of((key.consumer_group_id, key.topic_id));
        let mut cells = cells.lock().expect("no code panics while holding it");
        let cell = cells.entry(QUEUE).or_default();
        let open = parts.transactions.half_messages();
        let mut locked = Locked { parts, key, queue: &queue, cell, open };
        // Bit by bit: after a start there may be many, and others want to send.
        if locked.look_at_new()? {
            return Ok(Some(act(&tables, locked)));
        }
    }
}

impl Locked<'_> {
    /// Gets to know some of those that nobody has looked at; says whether these were all.
    fn look_at_new(&mut self) -> Result<bool, StoreError> {
        let from = self.open.looked_at().max(QueueOffset(self.cell.floor())).max(self.queue.min_offset());
        let end = self.queue.max_offset();
        let mut window = Window::default();
        let mut entries = Vec::new();
        self.parts.store.read_queue(self.queue, from, LOOKED_AT_ONCE, &mut entries)?;
        for (at, entry) in (from.0..end.0).map(QueueOffset).zip(&entries) {
            if self.cell.is_settled(at.0) {
                continue;
            }
            match self.parts.store.read_message(&mut window, self.queue, at, entry) {
                Ok(Some(message)) => {
                    let half = self.half_of(at, &message);
                    self.open.found(at, half);
                }
                Ok(None) => {}
                Err(error) => unreadable(at, &error),
            }
        }
        let next = QueueOffset(from.0 + entries.len() as u64).min(end);
        self.open.look_on(next);
        Ok(entries.is_empty() || next >= end)
    }

    fn half_of(&self, at: QueueOffset, message: &StoredMessage) -> OpenHalf {
        let text = |name| message.property(name).unwrap_or_default();
        let number = |name| message.property(name).and_then(|text| text.parse::<u64>().ok());
        let timeout = self.parts.config.transactions.timeout;
        let check_after = number(property::CHECK_AFTER_SECONDS).map_or(timeout, Duration::from_secs);
        let before = number(property::TRANSACTION_CHECK_TIMES).and_then(|times| u32::try_from(times).ok());
        let lease = self.cell.lease_of(at.0);
        OpenHalf {
            // Nobody asks for what has no legal name.
            topic: TopicName::from_store(text(property::REAL_TOPIC).as_bytes()).unwrap_or_else(|_| half_topic()),
            producer_group: ProducerGroup::from_store(text(property::PRODUCER_GROUP)),
            checks: lease.map_or(before.unwrap_or(0), |lease| lease.attempt),
            next_check: lease.map_or(message.store_timestamp.plus(check_after), |lease| lease.deadline),
            origin: number(property::PREPARED_QUEUE_OFFSET).map(QueueOffset),
        }
    }

    /// `None`: retention has taken it, or it cannot be read. One such record must not keep the others from being decided.
    pub(crate) fn read(&self, at: QueueOffset) -> Option<StoredMessage> {
        let mut entries = Vec::with_capacity(1);
        let read = self.parts.store.read_queue(self.queue, at, 1, &mut entries).and_then(|()| match entries.first() {
            Some(entry) => self.parts.store.read_message(&mut Window::default(), self.queue, at, entry),
            None => Ok(None),
        });
        read.unwrap_or_else(|error| {
            unreadable(at, &error);
            None
        })
    }

    /// What names the delivery that a record ends.
    pub(crate) fn source(&self, at: QueueOffset) -> Source {
        Source::Lease { cell: self.key, offset: at.0 }
    }

    /// A record that ends this delivery is in the log.
    pub(crate) fn settled(&mut self, at: QueueOffset) {
        self.cell.apply(&Entry::Ack { cell: self.key, offsets: vec![at.0] });
        self.open.settled(at);
    }

    /// Moves them to the end of their queue, or to the holding topic.
    fn move_all(&mut self, to: MoveTo, wanted: &[QueueOffset]) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let (topic, queue) = match to {
            MoveTo::End => (half_topic(), self.queue.counter().clone()),
            MoveTo::Holding => {
                let topic = holding_topic();
                let queue = self.parts.store.queue(&topic, QUEUE).expect("made before").counter().clone();
                (topic, queue)
            }
        };
        let (mut appends, mut moved) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len()));
        for at in wanted.iter().copied() {
            let Some(message) = self.read(at) else {
                self.open.settled(at);
                continue;
            };
            let checks = self.open.open(at).map_or(0, |half| half.checks).to_string();
            let (origin, since) = (self.origin(at).to_string(), since(&message).0.to_string());
            let mut instead = vec![(property::TRANSACTION_CHECK_TIMES, &*checks)];
            if to == MoveTo::End {
                instead.extend([(property::PREPARED_QUEUE_OFFSET, &*origin), (property::SINCE_MS, &*since)]);
            }
            let host = self.parts.config.store_host;
            let draft = RecordDraft::moved(&topic, QUEUE, host, &message, &self.source(at), &instead);
            match draft.encode() {
                Ok(record) => {
                    appends.push(Append { record, queue: queue.clone(), class: AppendClass::State });
                    moved.push((at, HalfMessageId::of(&message).key_hash));
                }
                Err(error) => {
                    tracing::error!(%at, %error, "a half message is too large to be moved, and stays where it is");
                    self.open.settled(at);
                }
            }
        }
        if appends.is_empty() {
            return Ok(());
        }
        let batch = self.parts.store.append(appends)?;
        let indexed = self.parts.store.dispatched_offset();
        for (appended, (at, key_hash)) in batch.entries.into_iter().zip(moved) {
            appended?;
            let origin = self.origin(at);
            self.settled(at);
            if to == MoveTo::Holding {
                let outcome = HalfOutcome::Held;
                self.open.decide(origin, Decided { key_hash, outcome, end: batch.end }, indexed);
            }
        }
        self.parts.mark(batch.end);
        Ok(())
    }

    /// Where this one was first.
    fn origin(&self, at: QueueOffset) -> QueueOffset {
        self.open.open(at).and_then(|half| half.origin).unwrap_or(at)
    }
}

fn unreadable(at: QueueOffset, error: &StoreError) {
    tracing::error!(queue_offset = %at, %error, "a half message cannot be read: nobody is asked about it");
}

/// When it was stored first.
fn since(message: &StoredMessage) -> Timestamp {
    let since = message.property(property::SINCE_MS).and_then(|text| text.parse().ok());
    since.map_or(message.store_timestamp, Timestamp)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveTo {
    End,
    Holding,
}

/// Checks may be due, or used up. What cannot be done now waits.
pub(crate) fn keep_up(parts: &Parts) {
    let kept_up = hold_given_up(parts).and_then(|()| put_back_stragglers(parts)).and_then(|()| arm(parts));
    parts.transactions.wake();
    if let Err(error) = kept_up {
        tracing::warn!(%error, "half messages cannot be looked after; it is tried again and again");
        let pair = cell_key(&parts.tables()).map(|cell| (cell.consumer_group_id, cell.topic_id));
        pair.into_iter().for_each(|pair| parts.redelivery.arm(pair, parts.store.now().plus(PAUSE)));
    }
}

/// After a start: those of the last life are to be known.
pub(crate) fn arm_at_start(parts: &Parts) {
    let cell = cell_key(&parts.tables());
    cell.into_iter().for_each(|cell| parts.redelivery.arm((cell.consumer_group_id, cell.topic_id), parts.store.now()));
}

fn arm(parts: &Parts) -> Result<(), BrokerError> {
    with_locked(parts, |_, locked| {
        let pair = (locked.key.consumer_group_id, locked.key.topic_id);
        let next = locked.open.next_check(parts.store.now());
        next.into_iter().for_each(|next| parts.redelivery.arm(pair, next));
    })?;
    Ok(())
}

/// Those about which producers were asked often enough go to the holding topic.
fn hold_given_up(parts: &Parts) -> Result<(), BrokerError> {
    let given_up = |locked: &Locked<'_>| -> Vec<QueueOffset> {
        let given_up = locked.open.given_up(parts.config.transactions.check_max, parts.store.now());
        given_up.take(MOVED_AT_ONCE).collect()
    };
    while with_locked(parts, |_, locked| !given_up(&locked).is_empty())? == Some(true) {
        ensure_topic(parts, &holding_topic(), 1)?;
        let held = with_locked(parts, |_, mut locked| {
            let given_up = given_up(&locked);
            locked.move_all(MoveTo::Holding, &given_up)
        });
        held?.unwrap_or(Ok(()))?;
    }
    Ok(())
}

fn put_back_stragglers(parts: &Parts) -> Result<(), BrokerError> {
    loop {
        let put_back = with_locked(parts, |_, mut locked| {
            let end = locked.queue.max_offset().0;
            let behind_max = BEHIND_MAX + 4 * locked.open.open_count() as u64;
            let below = QueueOffset(end.saturating_sub(behind_max));
            let stragglers = locked.open.open_from(QueueOffset(0)).map(|(at, _)| at).take_while(|at| *at < below);
            let stragglers: Vec<_> = stragglers.take(MOVED_AT_ONCE).collect();
            locked.move_all(MoveTo::End, &stragglers).map(|()| stragglers.len() == MOVED_AT_ONCE)
        });
        if !matches!(put_back?, Some(Ok(true))) {
            return Ok(());
        }
    }
}

/// The log is about to go below this place: what is open there is put back, or held if it is as old as messages get.
/// Says whether there was anything.
pub(crate) fn put_back_below(parts: &Parts, below: CommitLogOffset) -> Result<bool, StoreError> {
    let Some(queue) = parts.store.queue(&half_topic(), QUEUE) else { return Ok(false) };
    let below = parts.store.offset_at_place(&queue, below)?;
    let before = parts.store.max_offset();
    let holding = |error| StoreError::Failed { reason: format!("the topic of held half messages: {error}") };
    loop {
        let open = with_locked(parts, |_, locked| {
            let open = locked.open.open_from(QueueOffset(0)).map(|(at, _)| at).take_while(|at| *at < below);
            let too_old = parts.store.now().minus(parts.config.retention.file_reserved_time);
            let (mut old, mut young) = (Vec::new(), Vec::new());
            for at in open.take(MOVED_AT_ONCE).collect::<Vec<_>>() {
                let is_old = locked.read(at).is_some_and(|message| since(&message) <= too_old);
                if is_old { old.push(at) } else { young.push(at) }
            }
            (old, young)
        });
        let Some((old, young)) = open? else { break };
        if old.is_empty() && young.is_empty() {
            break;
        }
        if !old.is_empty() {
            ensure_topic(parts, &holding_topic(), 1).map_err(holding)?;
        }
        let moved = with_locked(parts, |_, mut locked| {
            let still_open = |all: &[QueueOffset], locked: &Locked<'_>| -> Vec<QueueOffset> {
                all.iter().copied().filter(|at| locked.open.open(*at).is_some()).collect()
            };
            let (old, young) = (still_open(&old, &locked), still_open(&young, &locked));
            locked.move_all(MoveTo::Holding, &old)?;
            locked.move_all(MoveTo::End, &young)
        });
        moved?.unwrap_or(Ok(()))?;
    }
    Ok(parts.store.max_offset() > before)
}
