//! A message as JSON: what a producer may write, and what a consumer gets to read.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_broker_core::BrokerError;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::{
    MESSAGE_GROUP_BYTES_MAX, Message, MessageError, StoredMessage, is_reserved_property, property,
};
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::QueueId;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::RestState;
use super::units::{Time, parse_duration, parse_timestamp};
use crate::error::{FieldAt, GatewayError};
use crate::messaging::{OutgoingMessage, ReceivedMessage};

/// A message on its way in, as written; `outgoing` checks it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct MessageIn {
    pub(super) id: Option<String>,
    pub(super) body: Option<String>,
    pub(super) body_base64: Option<String>,
    pub(super) body_json: Option<Box<RawValue>>,
    pub(super) content_type: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) keys: Vec<String>,
    pub(super) properties: Pairs,
    pub(super) message_group: Option<String>,
    pub(super) delay: Option<String>,
    pub(super) deliver_at: Option<serde_json::Value>,
    pub(super) delay_level: Option<i64>,
    pub(super) priority: Option<i64>,
    pub(super) lite_topic: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) queue: Option<QueueIn>,
    pub(super) traceparent: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct QueueIn {
    pub(super) broker_name: String,
    pub(super) queue_id: u32,
}

/// An object's members as they were written, so that a name given twice is seen.
#[derive(Debug, Default)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Furthest that a delivery time may lie ahead.
const DELAY_MAX: Duration = Duration::from_secs(40 * 86_400);
/// A delivery time in the last minute counts as now.
const LATE_MAX_MS: i64 = 60_000;

impl MessageIn {
    /// The body of an envelope.
    pub(super) fn envelope_body(&self, parent: &str) -> Result<Bytes, GatewayError> {
        let refuse = |field: &str, reason: &str| GatewayError::InvalidParameter {
            at: FieldAt::Pointer(format!("{parent}/{field}")),
            reason: format!("{field} {reason}"),
        };
        match (&self.body, &self.body_base64, &self.body_json) {
            (Some(text), None, None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(text), None) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(bytes.into()),
                Err(_) => Err(refuse("bodyBase64", "is not base64 in the standard alphabet with padding")),
            },
            (None, None, Some(json)) => {
                let value: serde_json::Value =
                    serde_json::from_str(json.get()).map_err(|_| refuse("bodyJson", "is no JSON"))?;
                Ok(serde_json::to_vec(&value).expect("it was JSON").into())
            }
            (None, None, None) => Err(refuse("body", "is missing: give body, bodyBase64 or bodyJson")),
            _ => Err(refuse("body", "is given twice: give one of body, bodyBase64 and bodyJson")),
        }
    }

    /// Checks everything and names the queue.
    pub(super) fn outgoing(
        self,
        state: &RestState,
        topic: &TopicName,
        body: Bytes,
        born_host: SocketAddr,
        parent: &str,
    ) -> Result<OutgoingMessage, GatewayError> {
        let now = state.now();
        self.refuse_other_types(topic, now, parent)?;
        if let Some(key) = &self.idempotency_key {
            check_idempotency_key(key)?;
            if self.message_id.is_some() {
                let reason = "an idempotency key stands for the message id: give one of them".to_string();
                return Err(GatewayError::InvalidParameter { at: FieldAt::Header("Idempotency-Key"), reason });
            }
        }
        let made;
        let unique_key = match &self.message_id {
            Some(id) => id,
            None => {
                made = state.message_ids.next(now);
                &made
            }
        };
        let mut message = Message::new(body, unique_key, now, born_host)?;
        if let Some(tag) = &self.tag {
            message = message.with_tag(tag)?;
        }
        if !self.keys.is_empty() {
            message = message.with_keys(self.keys.iter().map(String::as_str))?;
        }
        if let Some(blank) = self.properties.0.iter().find(|(name, value)| name.trim().is_empty() || value.is_empty()) {
            let name = blank.0.clone();
            return Err(MessageError::InvalidProperty { name, reason: "is blank" }.into());
        }
        let content_type = self.content_type.as_deref().map(|text| (property::CONTENT_TYPE, text));
        let properties = self.properties.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        message = message.with_properties(content_type.into_iter().chain(properties))?;
        if let Some(traceparent) = &self.traceparent {
            message = message.with_trace_context(traceparent)?;
        }
        let queue_id = match self.queue {
            Some(queue) if queue.broker_name != state.broker_name => {
                return Err(GatewayError::BrokerNotFound { broker: queue.broker_name });
            }
            Some(queue) => Some(QueueId(queue.queue_id)),
            None => None,
        };
        Ok(OutgoingMessage { message, queue_id, idempotency_key: self.idempotency_key })
    }

    /// All topics take normal messages: the other kinds are checked as far as they can be, and refused.
    fn refuse_other_types(&self, topic: &TopicName, now: Timestamp, parent: &str) -> Result<(), GatewayError> {
        let late = |reason: &str| GatewayError::InvalidDeliveryTime { reason: reason.to_string() };
        let given = [self.delay.is_some(), self.deliver_at.is_some(), self.delay_level.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(late("only one of delay, deliverAt and delayLevel can hold"));
        }
        let pointer = |field: &str| FieldAt::Pointer(format!("{parent}/{field}"));
        if let Some(delay) = &self.delay
            && parse_duration(delay, pointer("delay"))? > DELAY_MAX
        {
            return Err(late("the delay is longer than 40 days"));
        }
        if let Some(deliver_at) = &self.deliver_at {
            let text = deliver_at.as_str().map_or_else(|| deliver_at.to_string(), str::to_string);
            let at = parse_timestamp(&text, pointer("deliverAt"))?;
            if at.0 < now.0 - LATE_MAX_MS {
                return Err(late("the delivery time is more than a minute past"));
            }
            if at > now.plus(DELAY_MAX) {
                return Err(late("the delivery time is more than 40 days ahead"));
            }
        }
        if self.delay_level.is_some_and(|level| !(1..=18).contains(&level)) {
            return Err(late("delay levels are 1 to 18"));
        }
        if let Some(group) = &self.message_group {
            let invalid = |reason| GatewayError::from(MessageError::InvalidMessageGroup { reason });
            if group.trim().is_empty() {
                return Err(invalid("is blank"));
            }
            if group.len() > MESSAGE_GROUP_BYTES_MAX {
                return Err(invalid("is longer than 63 bytes"));
            }
            if group.contains(char::is_control) {
                return Err(invalid("holds a control character"));
            }
        }
        let message_type = match () {
            () if given.contains(&true) => "delay",
            () if self.message_group.is_some() => "fifo",
            () if self.lite_topic.is_some() => "lite",
            () if self.priority.is_some() => "priority",
            () => return Ok(()),
        };
        let topic = topic.to_string();
        Err(BrokerError::MessageTypeMismatch { topic, message_type, topic_type: "normal" }.into())
    }
}

/// 1 to 128 printable ASCII characters.
fn check_idempotency_key(key: &str) -> Result<(), GatewayError> {
    if (1..=128).contains(&key.len()) && key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Ok(());
    }
    let reason = "an idempotency key is 1 to 128 printable ASCII characters".to_string();
    Err(GatewayError::InvalidParameter { at: FieldAt::Header("Idempotency-Key"), reason })
}

/// How bodies are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BodyAs {
    /// Text when it is UTF-8, else base64.
    #[default]
    Auto,
    Base64,
    /// As JSON when it is, else as `Auto`.
    Json,
    None,
}

/// What the shape of an answer depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View {
    pub(super) body_as: BodyAs,
    pub(super) times_as_ms: bool,
    pub(super) system_properties: bool,
}

impl View {
    /// Takes `bodyAs`, `timeFormat` and `systemProperties` out of a query.
    pub(super) fn take(query: &mut super::request::Query) -> Result<View, GatewayError> {
        let body_as = match query.take("bodyAs")?.as_deref() {
            None | Some("auto" | "text") => BodyAs::Auto,
            Some("base64") => BodyAs::Base64,
            Some("json") => BodyAs::Json,
            Some("none") => BodyAs::None,
            Some(_) => return Err(super::request::invalid_query("bodyAs", "must be auto, text, base64, json or none")),
        };
        let times_as_ms = query.take_time_format()?;
        Ok(View { body_as, times_as_ms, system_properties: query.take_flag("systemProperties")? })
    }

    pub(super) fn time(self, at: Timestamp) -> Time {
        Time { at, as_ms: self.times_as_ms }
    }
}

/// A stored message on its way out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageOut<'a> {
    topic: &'a str,
    message_type: &'static str,
    message_id: String,
    offset_message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_handle: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invisible_until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    body_size: usize,
    body_crc32: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<&'a str>,
    properties: Properties<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    born_timestamp: Time,
    born_host: String,
    store_timestamp: Time,
    store_host: String,
    broker_name: &'a str,
    queue_id: u32,
    queue_offset: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Text(&'a str),
    Json(&'a RawValue),
    Base64(String),
}

struct Properties<'a> {
    message: &'a StoredMessage,
    system: bool,
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.message.properties() {
            if self.system || (!is_reserved_property(name) && name != property::CONTENT_TYPE) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl<'a> MessageOut<'a> {
    pub(super) fn stored(message: &'a StoredMessage, broker_name: &'a str, view: View) -> MessageOut<'a> {
        let text = || std::str::from_utf8(&message.body).ok();
        let base64 = || (Some(Body::Base64(STANDARD.encode(&message.body))), Some("base64"));
        let auto = || text().map_or_else(base64, |text| (Some(Body::Text(text)), Some("text")));
        let (body, body_encoding) = match view.body_as {
            BodyAs::None => (None, None),
            BodyAs::Base64 => base64(),
            BodyAs::Auto => auto(),
            BodyAs::Json => match text().and_then(|text| serde_json::from_str(text).ok()) {
                Some(json) => (Some(Body::Json(json)), Some("json")),
                None => auto(),
            },
        };
        let offset_message_id = message.offset_message_id();
        MessageOut {
            topic: message.topic(),
            message_type: "normal",
            message_id: message.unique_key().map_or_else(|| offset_message_id.clone(), str::to_string),
            offset_message_id,
            receipt_handle: None,
            delivery_attempt: None,
            invisible_until: None,
            body,
            body_encoding,
            body_size: message.body.len(),
            body_crc32: message.body_crc,
            content_type: message.property(property::CONTENT_TYPE),
            tag: message.tag(),
            keys: message.keys().collect(),
            properties: Properties { message, system: view.system_properties },
            traceparent: message.property(property::TRACE_CONTEXT),
            born_timestamp: view.time(message.born_timestamp),
            born_host: message.born_host.to_string(),
            store_timestamp: view.time(message.store_timestamp),
            store_host: message.store_host.to_string(),
            broker_name,
            queue_id: message.queue_id.0,
            queue_offset: message.queue_offset.0,
        }
    }

    pub(super) fn received(received: &'a ReceivedMessage, view: View) -> MessageOut<'a> {
        let popped = &received.popped;
        MessageOut {
            receipt_handle: Some(&received.receipt_handle),
            delivery_attempt: Some(popped.delivery_attempt),
            invisible_until: Some(view.time(popped.invisible_until)),
            ..MessageOut::stored(&popped.message, popped.handle.broker_name.as_str(), view)
        }
    }
}
