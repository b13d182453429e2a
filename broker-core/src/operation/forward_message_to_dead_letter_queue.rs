//! Giving messages up: on a consumer's word, or because their deliveries are used up.
//!
//! A message leaves its place by one record: the dead letter itself, which names the delivery that it ends. So there is no
//! moment in which it is at both places or at none.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::broker::{ConsumerGroupConfig, ForwardToDeadLetterQueue, RETRY_WITHOUT_END};
use crate::delivery::cells::Cells;
use crate::delivery::leases::Lease;
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{MessageError, StoredMessage, property};
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::operation::ack_message::{Delivery, Locked, apply, check_handle, delivery_of, wake_lanes};
use crate::operation::{retry_topic, topics};
use crate::receipt_handle::ReceiptHandle;
use crate::state::record::{CellKey, Entry, LeaseEntry};
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::commit_log::{Append, AppendClass, Window};
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::record::{RecordDraft, RecordError};

/// A dead letter queue's one queue.
const QUEUE: QueueId = QueueId(0);
/// Most messages that are given up under one lock, and by one append.
const GIVEN_UP_AT_ONCE_MAX: usize = 64;
/// What could not be given up is tried again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// How many deliveries a message gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptLimit(Option<u32>);

impl AttemptLimit {
    /// Nothing is moved from a group's dead letter queue to itself: consumed by its own group, that keeps its messages.
    pub(crate) fn of(group: &ConsumerGroupConfig, topic: &TopicName) -> AttemptLimit {
        let is_its_end = topic.is_dead_letter_queue_of(&group.consumer_group);
        let is_endless = is_its_end || group.retry_max_times == RETRY_WITHOUT_END;
        AttemptLimit((!is_endless).then(|| group.retry_max_times + 1))
    }

    /// Does a message that was delivered so often get no further delivery?
    pub(crate) fn is_reached(self, attempt: u32) -> bool {
        self.0.is_some_and(|max| attempt >= max)
    }
}

pub(crate) async fn forward_messages_to_dead_letter_queue(
    parts: &Parts,
    forwards: &[ForwardToDeadLetterQueue],
) -> Result<Vec<Result<TopicName, BrokerError>>, BrokerError> {
    if let Some(failure) = parts.store.failure() {
        return Err(BrokerError::ReadOnly { reason: failure });
    }
    for group in groups_that_give_up(parts, forwards) {
        topics::ensure_topic(parts, &TopicName::dead_letter_queue(&group), 1)?;
    }
    let mut end = CommitLogOffset(0);
    let mut results = Vec::with_capacity(forwards.len());
    let mut settled = BTreeSet::new();
    {
        let tables = parts.tables();
        let checked: Vec<_> = forwards.iter().map(|forward| check_handle(parts, &tables, &forward.handle)).collect();
        let mut locked = Locked::new(parts, &tables, checked.iter().flatten());
        let mut locked = locked.lock();
        let now = parts.store.now();
        for (forward, checked) in forwards.iter().zip(checked) {
            results.push(checked.and_then(|key| {
                let group = tables.consumer_group_by_id(key.consumer_group_id).expect("checked above");
                let to = TopicName::dead_letter_queue(&group.config.consumer_group);
                let delivery = delivery_of(parts, &tables, &mut locked, key, &forward.handle, now)?;
                if matches!(delivery, Delivery::Unleased { .. }) {
                    return Err(BrokerError::ReceiptSuperseded);
                }
                if let Delivery::Current { key, offset, lease } = delivery {
                    let reason = forward.reason.as_ref().map(|reason| reason.as_str());
                    let record = retry_topic::record_of(&locked[&(key.consumer_group_id, key.topic_id)], offset);
                    let letter = Letter { key, offset, lease, reason, class: AppendClass::Message, record };
                    // One by one: what is moved ends the lease, so that a handle given twice finds it settled.
                    if let Some(append) = letter.append(parts, &tables, &to)? {
                        failpoint::at(Point::DeadLetterBefore);
                        let mut batch = parts.store.append(vec![append])?;
                        failpoint::at(Point::DeadLetterAfter);
                        batch.entries.pop().expect("one result for one record")?;
                        end = end.max(batch.end);
                        apply(&mut locked, &[letter.entry()]);
                        settled.insert(key);
                        locked.get_mut(&(key.consumer_group_id, key.topic_id)).expect("found above").dead_letters += 1;
                    }
                }
                Ok(to)
            }));
        }
        wake_lanes(parts, &tables, &locked, settled);
    }
    if let Err(error) = parts.reached(end).await {
        // Appended, and nobody can say whether it stays.
        results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone()));
    }
    Ok(results)
}

/// The groups of those handles that speak for a message: one that does not must leave nothing behind, not even a topic.
fn groups_that_give_up(parts: &Parts, forwards: &[ForwardToDeadLetterQueue]) -> BTreeSet<ConsumerGroup> {
    let tables = parts.tables();
    let now = parts.store.now();
    let speaks = |handle: &ReceiptHandle| {
        let Ok(key) = check_handle(parts, &tables, handle) else { return false };
        let mut locked = Locked::new(parts, &tables, std::iter::once(&key));
        let delivery = delivery_of(parts, &tables, &mut locked.lock(), key, handle, now);
        matches!(delivery, Ok(Delivery::Current { .. }))
    };
    let handles = forwards.iter().map(|forward| &forward.handle).filter(|handle| speaks(handle));
    let groups = handles.filter_map(|handle| tables.consumer_group_by_id(handle.consumer_group_id));
    groups.map(|group| group.config.consumer_group.clone()).collect()
}

/// Gives up what came back to this group once too often. What cannot be moved now waits.
pub(crate) fn give_up_exhausted(parts: &Parts, pair: Pair) {
    loop {
        match give_up_some(parts, pair) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "messages whose deliveries are used up stay where they are for now");
                return parts.redelivery.arm(pair, parts.store.now().plus(PAUSE));
            }
        }
    }
}

/// Says whether there may be more.
fn give_up_some(parts: &Parts, pair: Pair) -> Result<bool, BrokerError> {
    let tables = parts.tables();
    let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) else {
        return Ok(false);
    };
    let limit = AttemptLimit::of(&group.config, &topic.config.topic);
    let cells = parts.cells.of(pair);
    let mut cells = cells.lock().expect("no code panics while holding it");
    let (now, locked): (_, &Cells) = (parts.store.now(), &cells);
    let letters =
        locked.iter().filter(|(_, cell)| limit.is_reached(cell.attempt_max())).flat_map(|(queue_id, cell)| {
            let key = CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id: *queue_id };
            let exhausted = cell.due(now).filter(|(_, lease)| limit.is_reached(lease.attempt));
            exhausted.map(move |(offset, lease)| Letter {
                key,
                offset,
                lease,
                reason: None,
                class: AppendClass::Message,
                record: retry_topic::record_of(locked, offset),
            })
        });
    let letters: Vec<_> = letters.take(GIVEN_UP_AT_ONCE_MAX).collect();
    if letters.is_empty() {
        return Ok(false);
    }
    let to = TopicName::dead_letter_queue(&group.config.consumer_group);
    if tables.topic(&to).is_none() {
        drop((cells, tables));
        topics::ensure_topic(parts, &to, 1)?;
        return Ok(true);
    }
    let (mut appends, mut entries) = (Vec::with_capacity(letters.len()), Vec::with_capacity(letters.len()));
    for letter in &letters {
        match letter.append(parts, &tables, &to) {
            Ok(Some(append)) => {
                appends.push(append);
                entries.push(letter.entry());
            }
            Ok(None) => {}
            Err(error) => tracing::error!(
                topic = %topic.config.topic, queue_id = %letter.key.queue_id, queue_offset = letter.offset, %error,
                "a message whose deliveries are used up cannot be moved"
            ),
        }
    }
    let moved = appends.len();
    failpoint::at(Point::DeadLetterBefore);
    let batch = parts.store.append(appends)?;
    failpoint::at(Point::DeadLetterAfter);
    let mut refused = None;
    for (appended, entry) in batch.entries.into_iter().zip(&entries) {
        match appended {
            Ok(_) => {
                cells.apply([entry]);
                cells.dead_letters += 1;
            }
            // Others behind it are stored all the same.
            Err(error) => refused = Some(error),
        }
    }
    parts.mark(batch.end);
    refused.map_or(Ok(moved == GIVEN_UP_AT_ONCE_MAX), |error| Err(error.into()))
}

/// A message that leaves the place of its delivery: for the group's dead letter queue, or for its retry topic.
pub(crate) struct Letter<'a> {
    pub(crate) key: CellKey,
    pub(crate) offset: u64,
    pub(crate) lease: Lease,
    pub(crate) reason: Option<&'a str>,
    pub(crate) class: AppendClass,
    /// Its own, if its queue may not have it yet.
    pub(crate) record: Option<CommitLogOffset>,
}

impl Letter<'_> {
    /// What its record means for the delivery; replay reads the same out of the record.
    pub(crate) fn entry(&self) -> Entry {
        Entry::Ack { cell: self.key, offsets: vec![self.offset] }
    }

    /// The same lease of it, where it is now.
    pub(crate) fn lease_at(&self, cell: CellKey, offset: u64, next: u64) -> Entry {
        let Lease { id, deadline, attempt, attempt_id, client } = self.lease;
        Entry::Lease(LeaseEntry {
            cell,
            deadline,
            first: id,
            next,
            auto_renew: client.is_some(),
            attempt_id_hash: attempt_id,
            client,
            messages: vec![(offset, attempt)],
        })
    }

    fn read(&self, parts: &Parts, queue: &ConsumeQueue) -> Result<Option<StoredMessage>, StoreError> {
        let at = QueueOffset(self.offset);
        if let Some(place) = self.record.filter(|_| at >= queue.max_offset()) {
            return parts.store.read_appended(place).map(Some);
        }
        let mut entries = Vec::with_capacity(1);
        parts.store.read_queue(queue, at, 1, &mut entries)?;
        let Some(entry) = entries.first() else { return Ok(None) };
        parts.store.read_message(&mut Window::default(), queue, at, entry)
    }

    /// `None`: retention has taken the message, so it is settled by that.
    pub(crate) fn append(&self, parts: &Parts, tables: &Tables, to: &TopicName) -> Result<Option<Append>, BrokerError> {
        let topic = tables.topic_by_id(self.key.topic_id).expect("whoever has its cells locked has looked it up");
        let not_found = || BrokerError::TopicNotFound { topic: to.to_string() };
        let target = parts.store.queue(to, QUEUE).ok_or_else(not_found)?;
        let Some(queue) = parts.store.queue(&topic.config.topic, self.key.queue_id) else { return Ok(None) };
        let Some(message) = self.read(parts, &queue)? else { return Ok(None) };
        let source = Source::Lease { cell: self.key, offset: self.offset };
        let physical = message.offset_message_id();
        let unique_key = message.unique_key().unwrap_or(&physical);
        let came_from = message.property(property::RETRY_TOPIC).unwrap_or(message.topic());
        let mut instead = vec![
            (property::RETRY_TOPIC, came_from),
            (property::ORIGIN_MESSAGE_ID, message.property(property::ORIGIN_MESSAGE_ID).unwrap_or(&physical)),
        ];
        if to.retry_group().is_none() {
            // From where its consumers know it.
            let origin = if topic.config.topic.retry_group().is_some() { came_from } else { message.topic() };
            instead.extend([(property::DLQ_ORIGIN_TOPIC, origin), (property::DLQ_ORIGIN_MESSAGE_ID, unique_key)]);
        }
        instead.extend(self.reason.map(|reason| (property::DEAD_LETTER_REASON, reason)));
        let mut draft = RecordDraft::moved(to, QUEUE, parts.config.store_host, &message, &source, &instead);
        draft.reconsume_times = i32::try_from(self.lease.attempt).unwrap_or(i32::MAX);
        // Only foreign messages are so near to a record's limit.
        let too_large = |error: RecordError| MessageError::PropertiesTooLarge { reason: error.to_string() };
        let record = draft.encode().map_err(too_large)?;
        Ok(Some(Append { record, queue: target.counter().clone(), class: self.class }))
    }
}
