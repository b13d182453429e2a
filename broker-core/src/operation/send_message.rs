//! Sending: encode outside of every lock, append as one batch, wait until it is as safe as promised.
//!
//! Invariant: a durable reply follows its flush.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::{SendMessage, SendMessages, SendReceipt, Topic};
use crate::clock::Timestamp;
use crate::delivery::idempotency::HeldKeys;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Transaction};
use crate::names::TopicName;
use crate::offset::QueueId;
use crate::operation::delay::{self, Route};
use crate::operation::half_messages;
use crate::operation::idempotency::{self, Keyed};
use crate::store::commit_log::{Append, AppendClass, QueueCounter};
use crate::store::consume_queue::ConsumeQueue;
use crate::store::failpoint::{self, Point};

pub(crate) async fn send_messages(
    parts: &Parts,
    send: SendMessages,
) -> Result<Vec<Result<SendReceipt, BrokerError>>, BrokerError> {
    let SendMessages { topic: name, messages } = send;
    let bytes: usize = messages.iter().map(|send| send.message.body().len()).sum();
    if messages.len() > BATCH_ENTRIES_MAX || (messages.len() > 1 && bytes > BATCH_BYTES_MAX) {
        let (entries, entries_max, bytes_max) = (messages.len(), BATCH_ENTRIES_MAX, BATCH_BYTES_MAX);
        return Err(BrokerError::BatchTooLarge { entries, bytes, entries_max, bytes_max });
    }
    if name.is_system() {
        return Err(BrokerError::SystemTopic { topic: name.to_string() });
    }
    if let Some(failure) = parts.store.failure() {
        return Err(BrokerError::ReadOnly { reason: failure });
    }

    delay::ensure_topics(parts, messages.iter().map(|send| &send.message))?;
    let now = parts.store.now();
    let body_digests = idempotency::body_digests(&messages);
    let mut results = Vec::with_capacity(messages.len());
    let end = {
        let tables = parts.tables();
        let topic = tables.topic(&name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
        if !topic.config.permission.write || topic.config.attributes.has_batch_queues() {
            return Err(BrokerError::TopicNotWritable { topic: name.to_string() });
        }
        let queues = parts.store.topic_queues(&name);
        let queues = queues.as_deref().map_or(&[][..], |topic| &topic.queues);
        let mut appends = Vec::with_capacity(messages.len());
        let mut owners = Vec::with_capacity(messages.len());
        // Message groups of which one was refused: nothing behind it may be stored.
        let mut broken: HashMap<Box<str>, BrokerError> = HashMap::new();
        let keyed = idempotency::keyed(topic, &messages, &body_digests);
        // Until the append is done: of two sends with one key, the second sees what became of the first.
        let mut held = idempotency::hold(parts, &keyed, now);
        // Looked up once for all of a batch that have a delivery time.
        let timers = LazyCell::new(|| waiting_in(parts, &delay::timer_topic(), delay::TIMER_QUEUE));
        for (at, send) in messages.into_iter().enumerate() {
            let message_group = send.message.message_group().map(Box::from);
            let admitted = match message_group.as_ref().and_then(|group| broken.get(group)) {
                Some(error) => Err(error.clone()),
                None => {
                    admit(parts, topic, queues, &timers, send, held.as_mut().zip(keyed.get(at).copied().flatten()), now)
                }
            };
            match admitted {
                Ok(Admitted::Append(append, owner)) => {
                    // Filled in below; an append that is refused overwrites it.
                    results.push(Err(BrokerError::Overloaded { what: "room in the log" }));
                    owners.push((at, owner));
                    appends.push(append);
                }
                Ok(Admitted::Stored(receipt)) => results.push(Ok(*receipt)),
                Err(error) => {
                    if let Some(group) = message_group {
                        broken.insert(group, error.clone());
                    }
                    results.push(Err(error));
                }
            }
        }
        if appends.is_empty() {
            return Ok(results);
        }
        let has_halves = owners.iter().any(|(_, owner)| owner.transaction.is_some());
        if has_halves {
            failpoint::at(Point::HalfBefore);
        }
        let batch = parts.store.append(appends)?;
        if has_halves {
            failpoint::at(Point::HalfAfter);
        }
        let (mut stored, mut bytes, mut stored_at) = (0, 0, Timestamp::default());
        for (appended, (at, owner)) in batch.entries.into_iter().zip(owners) {
            let Owner { queue_id, unique_key, body_bytes, keyed, is_delayed, waits_for, transaction } = owner;
            results[at] = match appended {
                Ok(appended) => {
                    // What waits comes into its topic later.
                    if !is_delayed {
                        stored += 1;
                        topic.traffic.sizes.record(body_bytes);
                        bytes += u64::from(appended.record_len);
                        stored_at = appended.store_timestamp;
                    }
                    let decide_until = transaction.map(|transaction| {
                        half_messages::stored(parts, &tables, &transaction, appended.store_timestamp)
                    });
                    if let Some((held, keyed)) = held.as_mut().zip(keyed) {
                        held.stored(&idempotency::stored(keyed, queue_id, waits_for, &appended));
                    }
                    Ok(SendReceipt {
                        unique_key,
                        queue_id,
                        queue_offset: appended.queue_offset,
                        commit_log_offset: appended.commit_log_offset,
                        store_host: parts.config.store_host,
                        store_timestamp: appended.store_timestamp,
                        durability: parts.config.durability,
                        duplicate: false,
                        waits_for,
                        decide_until,
                    })
                }
                Err(error) => Err(error.into()),
            };
        }
        if stored > 0 {
            topic.traffic.came_in(stored, bytes, stored_at);
        }
        batch.end
    };
    parts.mark(end);
    if let Err(error) = parts.reached(end).await {
        // Appended, and nobody can say whether it stays.
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(error.clone());
        }
    }
    Ok(results)
}

/// What its sender is told of an append, and what else follows from it.
struct Owner {
    queue_id: QueueId,
    unique_key: Box<str>,
    body_bytes: u64,
    keyed: Option<Keyed>,
    is_delayed: bool,
    waits_for: Option<Timestamp>,
    transaction: Option<Transaction>,
}

/// What becomes of a message that may be sent.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are appends, and a box would cost each of them an allocation"
)]
enum Admitted {
    Append(Append, Owner),
    /// Its idempotency key says that it is stored already.
    Stored(Box<SendReceipt>),
}

fn admit(
    parts: &Parts,
    topic: &Topic,
    queues: &[Arc<ConsumeQueue>],
    timers: &LazyCell<Arc<QueueCounter>, impl FnOnce() -> Arc<QueueCounter>>,
    send: SendMessage,
    keyed: Option<(&mut HeldKeys<'_>, Keyed)>,
    now: Timestamp,
) -> Result<Admitted, BrokerError> {
    let name = &topic.config.topic;
    let SendMessage { queue_id, message, idempotency_key: _ } = send;
    topic.config.check_type(message.message_type)?;
    let queue = queues
        .get(queue_id.0 as usize)
        .filter(|_| queue_id.0 < topic.config.write_queues)
        .ok_or_else(|| BrokerError::QueueNotFound { topic: name.to_string(), queue_id })?;
    let route = delay::route(parts, &message, now)?;
    let is_delayed = !matches!(route, Route::Now { .. });
    let (counter, waits_for) = match route {
        Route::Now { .. } => (queue.counter().clone(), None),
        Route::Level(level) => (waiting_in(parts, &delay::schedule_topic(), delay::queue_of_level(level)), None),
        Route::Timer { second, .. } => (LazyCell::force(timers).clone(), Some(second)),
        Route::Half => (waiting_in(parts, &half_messages::half_topic(), half_messages::QUEUE), None),
    };
    let transaction = message.transaction().cloned();
    let (message, keyed) = match keyed {
        None => (message, None),
        Some((held, keyed)) => match idempotency::admit(parts, held, keyed, message, now)? {
            Ok(message) => (message, Some(keyed)),
            Err(first) => return Ok(Admitted::Stored(first)),
        },
    };
    let (unique_key, body_bytes) = (Box::from(message.unique_key()), message.body().len() as u64);
    let record = delay::draft(parts, (name, queue_id), &message, route, now).encode();
    let record = record.expect("the limits of a message, with a digest beside them, fit a record");
    let append = Append { record, queue: counter, class: AppendClass::Message };
    let owner = Owner { queue_id, unique_key, body_bytes, keyed, is_delayed, waits_for, transaction };
    Ok(Admitted::Append(append, owner))
}

/// Of a queue in which messages wait.
fn waiting_in(parts: &Parts, topic: &TopicName, queue_id: QueueId) -> Arc<QueueCounter> {
    parts.store.queue(topic, queue_id).expect("made before, and never deleted").counter().clone()
}
