//! Deciding a transaction: the first decision counts, asked again it is answered again, and the other one is refused.
//!
//! A commit is the message itself, on its own topic, as RocketMQ writes it; a rollback is RocketMQ's op record. Either ends
//! the half message's delivery by the same record that says so.

use crate::broker::{EndTransaction, HalfMessageId, TransactionResolution};
use crate::delivery::half_messages::{Decided, HalfOutcome};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property, sys_flag};
use crate::names::TopicName;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::operation::fire_messages::target;
use crate::operation::half_messages::{Locked, OP_TAG, QUEUE, half_topic, op_topic, since, with_known, with_locked};
use crate::operation::topics::ensure_topic;
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::commit_log::{Append, AppendClass};
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::record::RecordDraft;

pub(crate) async fn end_transaction(parts: &Parts, end: EndTransaction) -> Result<(), BrokerError> {
    if let Some(failure) = parts.store.failure() {
        return Err(BrokerError::ReadOnly { reason: failure });
    }
    // Before anything is made for it.
    if parts.tables().topic(&half_topic()).is_none() {
        return Err(BrokerError::InvalidTransactionHandle);
    }
    if end.resolution == TransactionResolution::Rollback {
        ensure_topic(parts, &op_topic(), 1)?;
    }
    let decided = match decide_now(parts, &end)? {
        Some(decided) => decided,
        None => look_up(parts, &end)?,
    };
    let wanted = match end.resolution {
        TransactionResolution::Commit => HalfOutcome::Committed,
        TransactionResolution::Rollback => HalfOutcome::RolledBack,
    };
    match decided.outcome {
        HalfOutcome::Held => Err(BrokerError::TransactionExpired),
        HalfOutcome::Committed if wanted != HalfOutcome::Committed => {
            Err(BrokerError::TransactionResolved { as_what: "committed" })
        }
        HalfOutcome::RolledBack if wanted != HalfOutcome::RolledBack => {
            Err(BrokerError::TransactionResolved { as_what: "rolled back" })
        }
        // Also of a decision that somebody else has just made: it is answered when it is as safe.
        HalfOutcome::Committed => parts.reached(decided.end).await,
        // Its record is one of state, which by itself would wait for the next message to have it synced.
        HalfOutcome::RolledBack => parts.reached_soon(decided.end).await,
    }
}

/// Most decisions need no list of what is open: only that one which was put back, or is settled, may be found by it.
fn decide_now(parts: &Parts, end: &EndTransaction) -> Result<Option<Decided>, BrokerError> {
    let decided = with_locked(parts, |tables, locked| decide(locked, tables, end));
    if let Some(decided) = decided.ok_or(BrokerError::InvalidTransactionHandle)?? {
        return Ok(Some(decided));
    }
    let decided = with_known(parts, |tables, locked| decide(locked, tables, end))?;
    decided.ok_or(BrokerError::InvalidTransactionHandle)?
}

/// What was decided, just now or before; `None` if that was so long ago that the index has to be asked.
fn decide(mut locked: Locked<'_>, tables: &Tables, end: &EndTransaction) -> Result<Option<Decided>, BrokerError> {
    let HalfMessageId { queue_offset: origin, commit_log_offset, key_hash } = end.half;
    if let Some(decided) = locked.open.decided(origin) {
        return if decided.key_hash == key_hash {
            Ok(Some(decided))
        } else {
            Err(BrokerError::InvalidTransactionHandle)
        };
    }
    let at = locked.open.place_of(origin);
    if locked.cells[&QUEUE].is_settled(at.0) {
        return Ok(None);
    }
    let meant = |message: StoredMessage| check(&message, at, end).map(|()| message);
    let message = if at == origin {
        // What was just sent need not have come to its queue yet.
        let named = read_half(locked.parts, commit_log_offset).and_then(meant);
        named.or_else(|error| left_before(&locked, end).ok_or(error))?
    } else {
        meant(locked.read(at).ok_or(BrokerError::TransactionExpired)?)?
    };
    let (outcome, record_end) = match end.resolution {
        TransactionResolution::Commit => (HalfOutcome::Committed, commit(&locked, tables, at, &message)?),
        TransactionResolution::Rollback => (HalfOutcome::RolledBack, roll_back(&locked, at, &message)?),
    };
    locked.settled(at);
    let of_topic = message.property(property::REAL_TOPIC).and_then(|name| TopicName::from_store(name.as_bytes()).ok());
    if let Some(topic) = of_topic.and_then(|name| tables.topic(&name)) {
        let took = locked.parts.store.now().since(since(&message));
        topic.traffic.transactions.decided(end.resolution, took);
    }
    let indexed = locked.parts.store.dispatched_offset();
    let decided = Decided { key_hash, outcome, end: record_end };
    locked.open.decide(origin, decided, indexed);
    Ok(Some(decided))
}

fn check(message: &StoredMessage, at: QueueOffset, end: &EndTransaction) -> Result<(), BrokerError> {
    let is_half = message.topic() == half_topic().as_str() && message.queue_offset == at;
    let is_half = is_half && HalfMessageId::of(message).key_hash == end.half.key_hash;
    let topic = message.property(property::REAL_TOPIC);
    let is_meant = end.topic.as_ref().is_none_or(|meant| topic == Some(meant.as_str()));
    if is_half && is_meant { Ok(()) } else { Err(BrokerError::InvalidTransactionHandle) }
}

/// A check may have named where it was just put back, and a power cut have taken that: it lies where it lay before.
fn left_before(locked: &Locked<'_>, end: &EndTransaction) -> Option<StoredMessage> {
    let HalfMessageId { queue_offset: origin, commit_log_offset, .. } = end.half;
    let is_it =
        |message: &StoredMessage| message.commit_log_offset < commit_log_offset && check(message, origin, end).is_ok();
    locked.read(origin).filter(is_it)
}

fn read_half(parts: &Parts, at: CommitLogOffset) -> Result<StoredMessage, BrokerError> {
    match parts.store.read_record_at(at) {
        Ok(message) => Ok(message),
        Err(StoreError::NoRecord { .. }) if at < parts.store.min_offset() => Err(BrokerError::TransactionExpired),
        Err(StoreError::NoRecord { .. }) => Err(BrokerError::InvalidTransactionHandle),
        Err(error) => Err(error.into()),
    }
}

/// Says where its record ends, and so does a rollback.
fn commit(
    locked: &Locked<'_>,
    tables: &Tables,
    at: QueueOffset,
    message: &StoredMessage,
) -> Result<CommitLogOffset, BrokerError> {
    let parts = locked.parts;
    let gone =
        |_| BrokerError::TopicNotFound { topic: message.property(property::REAL_TOPIC).unwrap_or_default().into() };
    let to = target(parts, tables, message).map_err(gone)?;
    let (topic, queue_id) = (&to.topic.config.topic, to.queue.queue_id());
    let host = parts.config.store_host;
    let mut draft = RecordDraft::moved(topic, queue_id, host, message, &locked.source(at), &[]);
    draft.sys_flag |= sys_flag::TRANSACTION_COMMIT;
    draft.prepared_transaction_offset = message.commit_log_offset.0;
    let record = draft.encode().map_err(|error| BrokerError::Storage { reason: error.to_string() })?;
    let append = Append { record, queue: to.queue.counter().clone(), class: AppendClass::Message };
    failpoint::at(Point::CommitBefore);
    let mut batch = parts.store.append(vec![append])?;
    failpoint::at(Point::CommitAfter);
    let appended = batch.entries.pop().expect("one result for one record")?;
    to.topic.traffic.sizes.record(message.body.len() as u64);
    to.topic.traffic.came_in(1, u64::from(appended.record_len), appended.store_timestamp);
    parts.mark(batch.end);
    Ok(batch.end)
}

fn roll_back(locked: &Locked<'_>, at: QueueOffset, message: &StoredMessage) -> Result<CommitLogOffset, BrokerError> {
    let parts = locked.parts;
    let queue = parts.store.queue(&op_topic(), QUEUE).expect("made before, and never deleted");
    // The source comes first. Topic and id are RocketMQ's for messages: by them the index knows of it later.
    let draft = RecordDraft::state(&op_topic(), QUEUE, parts.config.store_host, format!("{at},"))
        .with_property(property::SOURCE, &locked.source(at).to_string())
        .with_property(property::TAGS, OP_TAG)
        .with_property(property::REAL_TOPIC, message.property(property::REAL_TOPIC).unwrap_or_default());
    let draft = [property::PREPARED_QUEUE_OFFSET, property::UNIQUE_KEY].into_iter().fold(draft, |draft, name| {
        match message.property(name) {
            Some(value) => draft.with_property(name, value),
            None => draft,
        }
    });
    let record = draft.encode().map_err(|error| BrokerError::Storage { reason: error.to_string() })?;
    // It makes room, so a full disk does not keep it out.
    let append = Append { record, queue: queue.counter().clone(), class: AppendClass::State };
    failpoint::at(Point::RollBackBefore);
    let mut batch = parts.store.append(vec![append])?;
    failpoint::at(Point::RollBackAfter);
    batch.entries.pop().expect("one result for one record")?;
    Ok(batch.end)
}

/// What the log says of a half message that was settled long ago, or before the last start.
fn look_up(parts: &Parts, end: &EndTransaction) -> Result<Decided, BrokerError> {
    let named = read_half(parts, end.half.commit_log_offset).and_then(|half| {
        // It may be the record of one that was put back.
        let is_it = HalfMessageId::of(&half).queue_offset == end.half.queue_offset;
        check(&half, if is_it { half.queue_offset } else { end.half.queue_offset }, end).map(|()| half)
    });
    let left = || with_locked(parts, |_, locked| left_before(&locked, end)).flatten();
    let half = named.or_else(|error| left().ok_or(error))?;
    let (Some(topic), Some(key)) = (half.property(property::REAL_TOPIC), half.unique_key()) else {
        return Err(BrokerError::TransactionExpired);
    };
    let topic_name = TopicName::from_store(topic.as_bytes()).map_err(BrokerError::InvalidTopic)?;
    let is_commit = |message: &StoredMessage| {
        message.sys_flag & sys_flag::TRANSACTION_MASK == sys_flag::TRANSACTION_COMMIT && ends(message, end.half, &half)
    };
    let is_rollback =
        |op: &StoredMessage| op.property(property::REAL_TOPIC) == Some(topic) && ends(op, end.half, &half);
    let is_known = |name: &TopicName, is_it: &dyn Fn(&StoredMessage) -> bool| -> Result<bool, BrokerError> {
        Ok(parts.store.find_by_unique_key_where(name, key, is_it)?.is_some())
    };
    let outcome = if is_known(&topic_name, &is_commit)? {
        HalfOutcome::Committed
    } else if is_known(&op_topic(), &is_rollback)? {
        HalfOutcome::RolledBack
    } else {
        HalfOutcome::Held
    };
    // Found in the index, it is long in the log.
    Ok(Decided { key_hash: end.half.key_hash, outcome, end: CommitLogOffset(0) })
}

/// Is this the record that ends the delivery of this half message? Others may bear the same unique key: one that was sent
/// twice, or one whose idempotency key has had its window.
fn ends(record: &StoredMessage, id: HalfMessageId, half: &StoredMessage) -> bool {
    let first = record.property(property::PREPARED_QUEUE_OFFSET).and_then(|offset| offset.parse().ok());
    match record.property(property::SOURCE).map(Source::parse) {
        Some(Ok(Source::Lease { offset, .. })) => [Some(offset), first].contains(&Some(id.queue_offset.0)),
        Some(_) => false,
        // RocketMQ wrote it.
        None => {
            record.commit_log_offset > half.commit_log_offset
                && record.prepared_transaction_offset >= half.commit_log_offset.0
        }
    }
}
