//! What a send with an idempotency key comes to: a message of its own, or the answer that the first one got. The keys
//! themselves are in `delivery/idempotency.rs`.
//!
//! Whoever appends keyed messages, whatever their kind, takes their `body_digests`, says with the topic at hand how they are
//! `keyed`, will `hold` these keys until the append is done, `admit`s each, and tells the held keys what was `stored`.

use crate::broker::{SendMessage, SendReceipt, Topic};
use crate::clock::Timestamp;
use crate::delivery::idempotency::{Admission, BodyDigest, HeldKeys, KeyHash};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::Message;
use crate::offset::QueueId;
use crate::operation::delay::SECOND;
use crate::operation::half_messages;
use crate::state::record::KeyedMessage;
use crate::store::commit_log::Appended;

/// Until there is access control, everybody is the same principal.
const PRINCIPAL: &str = "";

/// The key of one message and what tells its body from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyed {
    pub(crate) key: KeyHash,
    pub(crate) body_digest: BodyDigest,
}

/// One for each message with a key; none at all for a batch without any. Takes its time, so it is done outside of every
/// lock. Of the content the body alone is compared: a repeat may well bear another trace context, or ask for a delay that
/// begins later.
pub(crate) fn body_digests(batch: &[SendMessage]) -> Vec<Option<BodyDigest>> {
    match batch.iter().any(|send| send.idempotency_key.is_some()) {
        true => batch.iter().map(|send| send.idempotency_key.as_ref().map(|_| digest_of(&send.message))).collect(),
        false => Vec::new(),
    }
}

pub(crate) fn keyed(topic: &Topic, batch: &[SendMessage], body_digests: &[Option<BodyDigest>]) -> Vec<Option<Keyed>> {
    let keyed = |(send, body_digest): (&SendMessage, &Option<BodyDigest>)| {
        let key = KeyHash::of(PRINCIPAL, topic, send.idempotency_key.as_deref()?);
        Some(Keyed { key, body_digest: (*body_digest)? })
    };
    batch.iter().zip(body_digests).map(keyed).collect()
}

/// Locks the keys of a batch; nothing if it has none.
pub(crate) fn hold<'a>(parts: &'a Parts, batch: &[Option<Keyed>], now: Timestamp) -> Option<HeldKeys<'a>> {
    let mut keys = batch.iter().flatten().map(|keyed| keyed.key).peekable();
    keys.peek().is_some().then(|| parts.idempotency.hold(keys, now))
}

/// The message as it is to be stored, or the first one's receipt.
pub(crate) fn admit(
    parts: &Parts,
    held: &mut HeldKeys<'_>,
    keyed: Keyed,
    message: Message,
    now: Timestamp,
) -> Result<Result<Message, Box<SendReceipt>>, BrokerError> {
    let Keyed { key, body_digest } = keyed;
    match held.admit(key, body_digest, parts.store.confirm_offset()) {
        Admission::New => Ok(Ok(message.with_idempotency_key(&key.to_string(), &body_digest.to_string()))),
        Admission::Done(first) => Ok(Err(Box::new(receipt(parts, &first, &message, now)))),
        Admission::InProgress => Err(BrokerError::IdempotencyInProgress),
        Admission::Reused => Err(BrokerError::IdempotencyKeyReused),
        Admission::Full => Err(BrokerError::Overloaded { what: "places for idempotency keys" }),
    }
}

/// What the key stands for from now on.
pub(crate) fn stored(
    keyed: Keyed,
    queue_id: QueueId,
    waits_for: Option<Timestamp>,
    appended: &Appended,
) -> KeyedMessage {
    KeyedMessage {
        key: keyed.key,
        body_digest: keyed.body_digest,
        commit_log_offset: appended.commit_log_offset,
        queue_id,
        queue_offset: appended.queue_offset,
        store_timestamp: appended.store_timestamp,
        waits_for,
    }
}

fn digest_of(message: &Message) -> BodyDigest {
    BodyDigest::of(message.body())
}

fn receipt(parts: &Parts, first: &KeyedMessage, repeat: &Message, now: Timestamp) -> SendReceipt {
    SendReceipt {
        unique_key: first.key.to_string().into(),
        queue_id: first.queue_id,
        queue_offset: first.queue_offset,
        commit_log_offset: first.commit_log_offset,
        store_host: parts.config.store_host,
        store_timestamp: first.store_timestamp,
        durability: parts.config.durability,
        duplicate: true,
        // Until then it can be recalled.
        waits_for: first.waits_for.filter(|second| now < second.plus(SECOND)),
        decide_until: repeat
            .transaction()
            .map(|transaction| half_messages::decide_until(parts, transaction, first.store_timestamp)),
    }
}
