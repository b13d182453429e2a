//! Sending: every message gets a queue, then one batch goes to the broker.

use std::sync::atomic::Ordering;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{SendMessage, SendMessages, SendReceipt};
use gantry_broker_core::delivery::filter::java_hash;
use gantry_broker_core::message::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, Message};
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::QueueId;

use super::{Messaging, message_group};
use crate::error::GatewayError;

/// A message with the producer's wishes on where it goes.
#[derive(Debug)]
pub struct OutgoingMessage {
    pub message: Message,
    /// Pins the message to a queue of this broker. A message group has its queue, whatever is said here.
    pub queue_id: Option<QueueId>,
    pub idempotency_key: Option<String>,
}

impl Messaging {
    pub async fn send_messages(
        &self,
        topic: TopicName,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<Result<SendReceipt, GatewayError>>, GatewayError> {
        let count = messages.len();
        let results = self.place_and_send(topic, messages).await;
        self.counts.published(count, &results);
        results
    }

    async fn place_and_send(
        &self,
        topic: TopicName,
        messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<Result<SendReceipt, GatewayError>>, GatewayError> {
        self.accepting()?;
        if topic.is_system() {
            return Err(BrokerError::SystemTopic { topic: topic.to_string() }.into());
        }
        let bytes: usize = messages.iter().map(|outgoing| outgoing.message.body().len()).sum();
        if messages.len() > BATCH_ENTRIES_MAX || (messages.len() > 1 && bytes > BATCH_BYTES_MAX) {
            return Err(BrokerError::BatchTooLarge {
                entries: messages.len(),
                bytes,
                entries_max: BATCH_ENTRIES_MAX,
                bytes_max: BATCH_BYTES_MAX,
            }
            .into());
        }
        let config = self.broker.describe_topic(topic.clone()).await?.config;
        let write_queues = config.write_queues;
        if write_queues == 0 {
            return Err(BrokerError::TopicNotWritable { topic: topic.to_string() }.into());
        }
        // One batch takes one turn: its messages without a queue of their own stay together and in order.
        let turn = self.next_queue.fetch_add(1, Ordering::Relaxed) % write_queues;
        let messages = messages
            .into_iter()
            .map(|outgoing| SendMessage {
                queue_id: match (outgoing.message.message_group(), outgoing.queue_id, &outgoing.idempotency_key) {
                    (Some(group), ..) => message_group::queue_of(group, write_queues),
                    (None, Some(queue_id), _) => queue_id,
                    // Every retry through any gateway must reach the same queue.
                    (None, None, Some(key)) => QueueId(java_hash(key).unsigned_abs() % write_queues),
                    (None, None, None) => QueueId(turn),
                },
                message: outgoing.message,
                idempotency_key: outgoing.idempotency_key.map(String::into_boxed_str),
            })
            .collect();
        let results = self.broker.send_messages(SendMessages { topic, messages }).await?;
        Ok(results.into_iter().map(|result| result.map_err(GatewayError::from)).collect())
    }
}
