//! Sending: encode outside of every lock, append as one batch, wait until it is as safe as promised.
//!
//! Invariant: a durable reply follows its flush.

use crate::broker::{SendMessages, SendReceipt};
use crate::clock::Timestamp;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Message, MessageType};
use crate::offset::{CommitLogOffset, QueueId};
use crate::operation::delay::{self, Route};
use crate::operation::idempotency::{Admission, Keyed};
use crate::store::commit_log::{Append, AppendClass};

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
        for (at, send) in messages.into_iter().enumerate() {
            if !fits(topic.config.message_type, send.message.message_type) {
                results.push(Err(BrokerError::MessageTypeMismatch {
                    topic: name.to_string(),
                    message_type: type_word(send.message.message_type),
                    topic_type: type_word(topic.config.message_type),
                }));
                continue;
            }
            let queue = match queues.get(send.queue_id.0 as usize) {
                Some(queue) if send.queue_id.0 < topic.config.write_queues => queue,
                _ => {
                    results.push(Err(BrokerError::QueueNotFound { topic: name.to_string(), queue_id: send.queue_id }));
                    continue;
                }
            };
            let body_bytes = send.message.body().len() as u64;
            let route = match delay::route(parts, &send.message, now) {
                Ok(route) => route,
                Err(refused) => {
                    results.push(Err(refused.into()));
                    continue;
                }
            };
            let (waiting_in, waits_for) = match route {
                Route::Now { .. } => (None, None),
                Route::Level(level) => (Some((delay::schedule_topic(), delay::queue_of_level(level))), None),
                Route::Timer { second, .. } => (Some((delay::timer_topic(), delay::TIMER_QUEUE)), Some(second)),
            };
            let counter = match &waiting_in {
                None => queue.counter().clone(),
                Some((topic, queue_id)) => {
                    let queue = parts.store.queue(topic, *queue_id).expect("made above, and never deleted");
                    queue.counter().clone()
                }
            };
            let draft = |message: &Message| delay::draft(parts, (&name, send.queue_id), message, route, now);
            let (record, unique_key, keyed) = match &send.idempotency_key {
                None => {
                    let record = draft(&send.message).encode().expect("the limits of a message fit a record");
                    (record, Box::from(send.message.unique_key()), None)
                }
                Some(key) => match parts.idempotency.admit(parts, topic, key, send.message.body()) {
                    Admission::New(keyed) => {
                        let message = send.message.with_unique_key(&keyed.unique_key);
                        let (property, digest) = keyed.digest_property();
                        let draft = draft(&message).with_property(property, digest);
                        let record = draft.encode().expect("a digest fits beside the limits");
                        (record, keyed.unique_key.clone(), Some(keyed))
                    }
                    Admission::Done(receipt) => {
                        results.push(Ok(*receipt));
                        continue;
                    }
                    Admission::Refused(error) => {
                        results.push(Err(error));
                        continue;
                    }
                },
            };
            // Filled in below; an append that is refused overwrites it.
            results.push(Err(BrokerError::Overloaded { what: "room in the log" }));
            let is_delayed = waiting_in.is_some();
            owners.push(Owner { at, queue_id: send.queue_id, unique_key, body_bytes, keyed, is_delayed, waits_for });
            appends.push(Append { record, queue: counter, class: AppendClass::Message });
        }
        if appends.is_empty() {
            return Ok(results);
        }
        let batch = match parts.store.append(appends) {
            Ok(batch) => batch,
            Err(error) => {
                owners
                    .into_iter()
                    .filter_map(|owner| owner.keyed)
                    .for_each(|keyed| parts.idempotency.not_stored(keyed));
                return Err(error.into());
            }
        };
        let (mut stored, mut bytes, mut stored_at) = (0, 0, Timestamp::default());
        for (appended, owner) in batch.entries.into_iter().zip(owners) {
            let Owner { at, queue_id, unique_key, body_bytes, keyed, is_delayed, waits_for } = owner;
            results[at] = match appended {
                Ok(appended) => {
                    // What waits comes into its topic later.
                    if !is_delayed {
                        stored += 1;
                        topic.traffic.sizes.record(body_bytes);
                        bytes += u64::from(appended.record_len);
                        stored_at = appended.store_timestamp;
                    }
                    let record_end = CommitLogOffset(appended.commit_log_offset.0 + u64::from(appended.record_len));
                    if let Some(keyed) = keyed {
                        parts.idempotency.stored(keyed, record_end);
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
                    })
                }
                Err(error) => {
                    if let Some(keyed) = keyed {
                        parts.idempotency.not_stored(keyed);
                    }
                    Err(error.into())
                }
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

/// Which result an append answers, and what goes into it.
struct Owner {
    at: usize,
    queue_id: QueueId,
    unique_key: Box<str>,
    body_bytes: u64,
    keyed: Option<Keyed>,
    is_delayed: bool,
    waits_for: Option<Timestamp>,
}

/// A topic takes messages of its own type; a mixed one takes all.
pub(crate) fn fits(topic_type: MessageType, message_type: MessageType) -> bool {
    match message_type {
        MessageType::Normal => topic_type != MessageType::Delay,
        MessageType::Delay => matches!(topic_type, MessageType::Delay | MessageType::Mixed),
        _ => false,
    }
}

pub(crate) fn type_word(message_type: MessageType) -> &'static str {
    match message_type {
        MessageType::Normal => "normal",
        MessageType::Fifo => "fifo",
        MessageType::Delay => "delay",
        MessageType::Transaction => "transaction",
        MessageType::Priority => "priority",
        MessageType::Lite => "lite",
        MessageType::Mixed => "mixed",
    }
}
