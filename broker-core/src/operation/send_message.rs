//! Sending: encode outside of every lock, append as one batch, wait until it is as safe as promised.
//!
//! Invariant: a durable reply follows its flush.

use crate::broker::{SendMessages, SendReceipt};
use crate::clock::Timestamp;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, MessageType};
use crate::offset::CommitLogOffset;
use crate::operation::idempotency::Admission;
use crate::store::commit_log::{Append, AppendClass};
use crate::store::record::{EncodedRecord, RecordDraft};

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
        // Which result each append answers, and the key it holds.
        let mut owners = Vec::with_capacity(messages.len());
        for (at, send) in messages.into_iter().enumerate() {
            if send.message.message_type != MessageType::Normal {
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
            let host = parts.config.store_host;
            let body_bytes = send.message.body().len() as u64;
            let (record, unique_key, keyed) = match &send.idempotency_key {
                None => {
                    let record = EncodedRecord::message(&name, send.queue_id, host, &send.message);
                    (record, Box::from(send.message.unique_key()), None)
                }
                Some(key) => match parts.idempotency.admit(parts, topic, key, send.message.body()) {
                    Admission::New(keyed) => {
                        let message = send.message.with_unique_key(&keyed.unique_key);
                        let (property, digest) = keyed.digest_property();
                        let draft = RecordDraft::message(&name, send.queue_id, host, &message);
                        let record =
                            draft.with_property(property, digest).encode().expect("a digest fits beside the limits");
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
            owners.push((at, send.queue_id, unique_key, body_bytes, keyed));
            appends.push(Append { record, queue: queue.counter().clone(), class: AppendClass::Message });
        }
        if appends.is_empty() {
            return Ok(results);
        }
        let batch = match parts.store.append(appends) {
            Ok(batch) => batch,
            Err(error) => {
                owners
                    .into_iter()
                    .filter_map(|(.., keyed)| keyed)
                    .for_each(|keyed| parts.idempotency.not_stored(keyed));
                return Err(error.into());
            }
        };
        let (mut stored, mut bytes, mut stored_at) = (0, 0, Timestamp::default());
        for (appended, (at, queue_id, unique_key, body_bytes, keyed)) in batch.entries.into_iter().zip(owners) {
            results[at] = match appended {
                Ok(appended) => {
                    stored += 1;
                    topic.traffic.sizes.record(body_bytes);
                    bytes += u64::from(appended.record_len);
                    stored_at = appended.store_timestamp;
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
        topic.traffic.came_in(stored, bytes, stored_at);
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

fn type_word(message_type: MessageType) -> &'static str {
    match message_type {
        MessageType::Normal => "normal",
        MessageType::Fifo => "fifo",
        MessageType::Delay => "delay",
        MessageType::Transaction => "transaction",
        MessageType::Priority => "priority",
        MessageType::Lite => "lite",
    }
}
