//! SendMessage: one topic, one entry per message. Everything is checked before anything is stored, since the official
//! clients repeat whatever was refused.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{HalfMessageId, SendReceipt};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::{Delivery, Message, MessageError, MessageType, Transaction};
use gantry_broker_core::names::{ProducerGroup, TopicName};
use gantry_proto::grpc::v2;

use super::{GrpcFront, status, words};
use crate::error::{FieldAt, GatewayError};
use crate::messaging::{OutgoingMessage, plain_recall_handle};

/// The user property that asks for at most one stored copy.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
const DELAY_MAX: Duration = Duration::from_secs(40 * 24 * 3_600);
/// A delivery time so far in the past still means now.
const LATE_DELIVERY_MAX: Duration = Duration::from_secs(60);
const ORPHANED_TRANSACTION_RECOVERY_MAX: Duration = Duration::from_secs(3_600);

/// What became of each message, with the transaction that it began.
pub type Receipts = Vec<Result<(SendReceipt, Option<String>), GatewayError>>;

impl GrpcFront {
    /// `message_ids` are the messages' own, one for each.
    pub(super) async fn send(
        &self,
        messages: Vec<v2::Message>,
        message_ids: &[String],
        peer: SocketAddr,
    ) -> Result<Receipts, GatewayError> {
        let first = messages
            .first()
            .ok_or_else(|| GatewayError::MessageCorrupted { reason: "the request holds no message".into() })?;
        let topic = words::topic(first.topic.as_ref())?;
        if messages.iter().any(|message| message.topic.as_ref().is_none_or(|other| other.name != topic.as_str())) {
            return Err(GatewayError::MixedTopics);
        }
        let now = self.clock.wall();
        let mut outgoing = Vec::with_capacity(messages.len());
        let mut kinds: Vec<MessageType> = Vec::new();
        for (message, message_id) in messages.into_iter().zip(message_ids) {
            let message = outgoing_message(&topic, message, message_id, now, peer)?;
            let kind = message.message.message_type;
            if kind != MessageType::Normal && !kinds.contains(&kind) {
                kinds.push(kind);
            }
            outgoing.push(message);
        }
        if !kinds.is_empty() {
            self.check_kinds(&topic, &kinds).await?;
        }
        let is_half: Vec<bool> = outgoing.iter().map(|outgoing| outgoing.message.transaction().is_some()).collect();
        let receipts = self.messaging.send_messages(topic, outgoing).await?;
        let with_transaction = |(receipt, is_half): (Result<SendReceipt, GatewayError>, bool)| {
            let receipt = receipt?;
            let transaction_id = is_half.then(|| self.transaction_id(&receipt));
            Ok((receipt, transaction_id))
        };
        Ok(receipts.into_iter().zip(is_half).map(with_transaction).collect())
    }

    fn transaction_id(&self, receipt: &SendReceipt) -> String {
        let half = HalfMessageId::new(&receipt.unique_key, receipt.queue_offset, receipt.commit_log_offset);
        self.messaging.transaction_handle(self.broker_name.as_str(), half)
    }

    /// The broker checks each message, too; here it is all or nothing.
    async fn check_kinds(&self, topic: &TopicName, kinds: &[MessageType]) -> Result<(), GatewayError> {
        let config = self.messaging.broker.describe_topic(topic.clone()).await?.config;
        for kind in kinds {
            if ![*kind, MessageType::Mixed].contains(&config.message_type) && !topic.is_derived() {
                return Err(BrokerError::MessageTypeMismatch {
                    topic: topic.to_string(),
                    message_type: kind.word(),
                    topic_type: config.message_type.word(),
                }
                .into());
            }
            if !matches!(kind, MessageType::Fifo | MessageType::Delay | MessageType::Transaction) {
                return Err(GatewayError::NotImplemented { what: format!("sending {} messages", kind.word()) });
            }
        }
        Ok(())
    }
}

/// One entry per message of the request, whatever became of it: clients index into the list.
pub fn answer(
    (topic, broker_name): (&str, &str),
    message_ids: Vec<String>,
    result: Result<Receipts, GatewayError>,
) -> v2::SendMessageResponse {
    let refusal = |message_id, status| v2::SendResultEntry {
        status: Some(status),
        message_id,
        transaction_id: String::new(),
        offset: 0,
        recall_handle: String::new(),
    };
    match result {
        Ok(receipts) => {
            let entries: Vec<_> = message_ids
                .into_iter()
                .zip(receipts)
                .map(|(message_id, receipt)| match receipt {
                    Ok((receipt, transaction_id)) => v2::SendResultEntry {
                        status: Some(status::ok()),
                        recall_handle: plain_recall_handle(topic, broker_name, &receipt),
                        // Differs from the id sent only if an idempotency key stands for an earlier message.
                        message_id: receipt.unique_key.into_string(),
                        transaction_id: transaction_id.unwrap_or_default(),
                        offset: i64::try_from(receipt.queue_offset.0).unwrap_or(i64::MAX),
                    },
                    Err(error) => refusal(message_id, status::refused(&error)),
                })
                .collect();
            let status = status::common(entries.iter().map(|entry| entry.status.as_ref()));
            v2::SendMessageResponse { status: Some(status), entries }
        }
        Err(error) => {
            let status = status::refused(&error);
            let entries = message_ids.into_iter().map(|message_id| refusal(message_id, status.clone())).collect();
            v2::SendMessageResponse { status: Some(status), entries }
        }
    }
}

/// The ids a request's messages bear, taken out of them: the answer needs them whatever becomes of the messages.
pub fn take_message_ids(messages: &mut [v2::Message]) -> Vec<String> {
    let id = |message: &mut v2::Message| {
        let system = message.system_properties.as_mut();
        system.map(|system| std::mem::take(&mut system.message_id)).unwrap_or_default()
    };
    messages.iter_mut().map(id).collect()
}

/// The body is not copied: it stays a slice of what was received.
fn outgoing_message(
    topic: &TopicName,
    wire: v2::Message,
    message_id: &str,
    now: Timestamp,
    peer: SocketAddr,
) -> Result<OutgoingMessage, GatewayError> {
    let system = wire.system_properties.unwrap_or_default();
    let born_timestamp = system.born_timestamp.as_ref().map_or(now, words::timestamp);
    let born_host = born_host(&system.born_host).unwrap_or(peer);
    let body_compressed = system.body_encoding() == v2::Encoding::Gzip;
    // A bad id is the last thing to be told, after everything the sender would rather know.
    let (mut message, bad_id) = match Message::new(wire.body.clone(), message_id, born_timestamp, born_host) {
        Err(bad_id @ MessageError::InvalidUniqueKey { .. }) => {
            (Message::new(wire.body, "-", born_timestamp, born_host)?, Some(bad_id))
        }
        message => (message?, None),
    };
    if !wire.user_properties.is_empty() {
        let properties = wire.user_properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        message = message.with_properties(properties)?;
    }
    if let Some(tag) = system.tag.as_deref().filter(|tag| !tag.is_empty()) {
        message = message.with_tag(tag)?;
    }
    if !system.keys.is_empty() {
        message = message.with_keys(keys(&system.keys)?)?;
    }
    if let Some(trace_context) = system.trace_context.as_deref().filter(|text| !text.is_empty()) {
        message = message.with_trace_context(trace_context)?;
    }
    if let Some(bad_id) = bad_id {
        return Err(bad_id.into());
    }
    message.body_compressed = body_compressed;
    let message_type = message_type(&system, now)?;
    if let Some(message_group) = message_group(&system) {
        message = message.with_message_group(message_group)?;
    }
    if let Some(due) = system.delivery_timestamp.as_ref() {
        message = message.with_delivery(Delivery::At(words::timestamp(due)))?;
    }
    match message_type {
        MessageType::Transaction => {
            // These clients have no producer groups: whoever publishes to the topic is asked about its transactions.
            let producer_group = ProducerGroup::of_topic(topic);
            let check_after = system.orphaned_transaction_recovery_duration.as_ref().and_then(words::duration);
            let check_after = check_after.filter(|after| !after.is_zero());
            message = message.with_transaction(Transaction { producer_group, check_after })?;
        }
        _ => message.message_type = message_type,
    }
    let idempotency_key = wire.user_properties.get(IDEMPOTENCY_KEY).map(|key| idempotency_key(key)).transpose()?;
    Ok(OutgoingMessage { message, queue_id: None, idempotency_key })
}

/// Official clients join several keys by one space; the store separates keys the same way.
fn keys(wire: &[String]) -> Result<impl Iterator<Item = &str>, MessageError> {
    for key in wire {
        if !key.is_empty() && key.trim().is_empty() {
            return Err(MessageError::InvalidKey { reason: "is blank" });
        }
        // Before splitting, which would take a tab or a line end for a separator.
        if key.contains(char::is_control) {
            return Err(MessageError::InvalidKey { reason: "holds a control character" });
        }
    }
    Ok(wire.iter().flat_map(|key| key.split_whitespace()))
}

fn message_group(system: &v2::SystemProperties) -> Option<&str> {
    system.message_group.as_deref().filter(|group| !group.is_empty())
}

/// What kind a message is follows from what it carries; only a transaction says so itself.
fn message_type(system: &v2::SystemProperties, now: Timestamp) -> Result<MessageType, GatewayError> {
    let transaction = system.message_type() == v2::MessageType::Transaction;
    if let Some(recovery) = system.orphaned_transaction_recovery_duration.as_ref().filter(|_| transaction)
        && words::duration(recovery).is_none_or(|recovery| recovery > ORPHANED_TRANSACTION_RECOVERY_MAX)
    {
        return Err(GatewayError::InvalidParameter {
            at: FieldAt::Pointer("orphaned_transaction_recovery_duration".into()),
            reason: "the first check of a transaction must come within an hour".into(),
        });
    }
    if let Some(due) = system.delivery_timestamp.as_ref().map(words::timestamp) {
        if due.since(now) > DELAY_MAX {
            return Err(GatewayError::InvalidDeliveryTime {
                reason: "the delivery time is more than 40 days ahead".into(),
            });
        }
        if now.since(due) > LATE_DELIVERY_MAX {
            return Err(GatewayError::InvalidDeliveryTime {
                reason: "the delivery time is more than a minute in the past".into(),
            });
        }
    }
    Ok(match system {
        _ if transaction => MessageType::Transaction,
        v2::SystemProperties { delivery_timestamp: Some(_), .. } => MessageType::Delay,
        _ if message_group(system).is_some() => MessageType::Fifo,
        v2::SystemProperties { lite_topic: Some(_), .. } => MessageType::Lite,
        v2::SystemProperties { priority: Some(_), .. } => MessageType::Priority,
        _ => MessageType::Normal,
    })
}

fn idempotency_key(key: &str) -> Result<String, MessageError> {
    let printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && printable {
        Ok(key.to_string())
    } else {
        let name = IDEMPOTENCY_KEY.to_string();
        Err(MessageError::InvalidProperty { name, reason: "is not 1 to 128 printable ASCII characters" })
    }
}

/// Most clients send a host's name, which the record has no place for.
fn born_host(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 0)))
}
