//! Where half messages lie until somebody decides: RocketMQ's topics, its properties, and what is done about those that
//! stay open.
//!
//! They are deliveries like others: one queue, and one cell, that of RocketMQ's own consumer group. Deciding one settles it
//! there, and asking its producer is a lease. Whatever leaves the queue names the delivery that it ends (`Source::Lease`),
//! so no kill comes between the two, and replay knows nothing of transactions.
//!
//! Lock order: tables, cells, half messages, log.

pub(crate) mod upkeep;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::broker::{ConsumerGroupConfig, PutConsumerGroup, PutWhen};
use crate::clock::Timestamp;
use crate::delivery::cells::Cells;
use crate::delivery::half_messages::{HalfMessages, OpenHalf};
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{Message, StoredMessage, Transaction, property};
use crate::names::{ConsumerGroup, HALF_TOPIC, HOLDING_TOPIC, OP_TOPIC, ProducerGroup, TRANSACTION_GROUP, TopicName};
use crate::offset::{QueueId, QueueOffset};
use crate::operation::consumer_groups;
use crate::operation::topics::ensure_topic;
use crate::state::record::{CellKey, Entry};
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::commit_log::Window;
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;
use crate::store::record::RecordDraft;

/// The one queue of each of the three topics.
pub(crate) const QUEUE: QueueId = QueueId(0);
/// RocketMQ's mark of an op record that ends half messages.
pub(crate) const OP_TAG: &str = "d";
/// Most that are looked at under one lock.
const LOOKED_AT_ONCE: usize = 1_024;
/// Most that are open at a time.
const OPEN_MAX: usize = 1_000_000;

/// Open half messages, and who waits for checks of theirs.
pub(crate) struct Transactions {
    half_messages: Mutex<HalfMessages>,
    /// Changes when checks may be due; `true` once the broker stops.
    due: watch::Sender<bool>,
    /// Moved to the holding topic since the start.
    given_up: AtomicU64,
}

impl Default for Transactions {
    fn default() -> Transactions {
        Transactions { half_messages: Mutex::default(), due: watch::Sender::new(false), given_up: AtomicU64::new(0) }
    }
}

impl Transactions {
    pub(crate) fn half_messages(&self) -> MutexGuard<'_, HalfMessages> {
        self.half_messages.lock().expect("no code panics while holding it")
    }

    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
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
    static TOPIC: LazyLock<TopicName> =
        LazyLock::new(|| TopicName::from_store(HALF_TOPIC.as_bytes()).expect("a legal name"));
    TOPIC.clone()
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
    match consumer_groups::put_unchecked(
        parts,
        PutConsumerGroup::new(ConsumerGroupConfig::new(group), PutWhen::Unconditional),
    ) {
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
    let mut draft = RecordDraft::message(&half_topic(), QUEUE, parts.config.store_host, message);
    draft.push_property(property::REAL_TOPIC, topic.as_str());
    draft.push_number(property::REAL_QUEUE_ID, queue_id.0);
    draft.push_property(property::TRANSACTION_ID, message.unique_key());
    draft.push_property(property::HALF, "true");
    draft.push_property(property::PRODUCER_GROUP, transaction.producer_group.as_str());
    transaction
        .check_after
        .into_iter()
        .for_each(|after| draft.push_number(property::CHECK_AFTER_SECONDS, after.as_secs()));
    draft
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
    pub(crate) cells: &'a mut Cells,
    pub(crate) open: MutexGuard<'a, HalfMessages>,
}

/// Does something with the half messages, all of them known. `None` if there never was one.
pub(crate) fn with_known<R>(
    parts: &Parts,
    mut act: impl FnMut(&Tables, Locked<'_>) -> R,
) -> Result<Option<R>, StoreError> {
    loop {
        // Bit by bit: after a start there may be many, and others want to send.
        let done = with_locked(parts, |tables, mut locked| {
            locked.look_at_new().map(|all_known| all_known.then(|| act(tables, locked)))
        });
        match done.transpose()? {
            Some(None) => {}
            Some(done) => return Ok(done),
            None => return Ok(None),
        }
    }
}

/// The same without a look at those that are new: whoever has the handle of one needs no list of them.
pub(crate) fn with_locked<R>(parts: &Parts, act: impl FnOnce(&Tables, Locked<'_>) -> R) -> Option<R> {
    let tables = parts.tables();
    let key = cell_key(&tables)?;
    let queue = parts.store.queue(&half_topic(), QUEUE)?;
    let cells = parts.cells.of((key.consumer_group_id, key.topic_id));
    let mut cells = cells.lock().expect("no code panics while holding it");
    cells.begin(QUEUE);
    let open = parts.transactions.half_messages();
    Some(act(&tables, Locked { parts, key, queue: &queue, cells: &mut cells, open }))
}

impl Locked<'_> {
    /// Gets to know some of those that nobody has looked at; says whether these were all.
    fn look_at_new(&mut self) -> Result<bool, StoreError> {
        let from = self.open.looked_at().max(QueueOffset(self.cells[&QUEUE].floor())).max(self.queue.min_offset());
        let end = self.queue.max_offset();
        let mut window = Window::default();
        let mut entries = Vec::new();
        self.parts.store.read_queue(self.queue, from, LOOKED_AT_ONCE, &mut entries)?;
        for (at, entry) in (from.0..end.0).map(QueueOffset).zip(&entries) {
            if self.cells[&QUEUE].is_settled(at.0) {
                continue;
            }
            match self.parts.store.read_message(&mut window, self.queue, at, entry) {
                Ok(Some(message)) => {
                    // Of what has just been put back it is known when its producer is to be asked.
                    let next_check = self.open.open(at).map(|half| half.next_check);
                    let half = self.half_of(at, &message);
                    self.open.found(at, OpenHalf { next_check: next_check.unwrap_or(half.next_check), ..half });
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
        let before = number(property::TRANSACTION_CHECK_TIMES).and_then(|times| u32::try_from(times).ok()).unwrap_or(0);
        let lease = self.cells[&QUEUE].lease_of(at.0);
        // However often it was put back: the first check comes as long after the message, each other one no sooner after
        // the one before, of which it is not known when it was.
        let next_check = match before {
            0 => since(message).plus(check_after),
            _ => message.store_timestamp.plus(self.parts.config.transactions.check_interval),
        };
        OpenHalf {
            // Nobody asks for what has no legal name.
            topic: TopicName::from_store(text(property::REAL_TOPIC).as_bytes()).unwrap_or_else(|_| half_topic()),
            producer_group: ProducerGroup::from_store(text(property::PRODUCER_GROUP)),
            checks: lease.map_or(before, |lease| lease.attempt),
            next_check: lease.map_or(next_check, |lease| lease.deadline),
            origin: number(property::PREPARED_QUEUE_OFFSET).map(QueueOffset),
            put_back_at: None,
        }
    }

    /// `None`: retention has taken it, or it cannot be read. One such record must not keep the others from being decided.
    pub(crate) fn read(&self, at: QueueOffset) -> Option<StoredMessage> {
        let store = &self.parts.store;
        let read = match self.open.open(at).and_then(|half| half.put_back_at) {
            // Whatever is said of it now comes behind it in the log.
            Some(place) => store.read_appended(place).map(Some),
            None => {
                let mut entries = Vec::with_capacity(1);
                store.read_queue(self.queue, at, 1, &mut entries).and_then(|()| match entries.first() {
                    Some(entry) => store.read_message(&mut Window::default(), self.queue, at, entry),
                    None => Ok(None),
                })
            }
        };
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
        self.cells.apply([&Entry::Ack { cell: self.key, offsets: vec![at.0] }]);
        self.open.settled(at);
    }

    /// Where this one was first.
    fn origin(&self, at: QueueOffset) -> QueueOffset {
        self.open.open(at).and_then(|half| half.origin).unwrap_or(at)
    }
}

fn unreadable(at: QueueOffset, error: &StoreError) {
    tracing::error!(queue_offset = %at, %error, "a half message cannot be read: nobody is asked about it");
}

/// How many of a topic nobody has decided.
pub(crate) fn open_of(parts: &Parts, topic: &TopicName) -> Result<u64, StoreError> {
    Ok(with_known(parts, |_, locked| locked.open.open_of(topic))?.unwrap_or(0))
}

/// When it was stored first.
pub(crate) fn since(message: &StoredMessage) -> Timestamp {
    let since = message.property(property::SINCE_MS).and_then(|text| text.parse().ok());
    since.map_or(message.store_timestamp, Timestamp)
}
