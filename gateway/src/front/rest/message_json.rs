//! A stored message as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::{StoredMessage, is_reserved_property, property, sys_flag};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::request::{Query, invalid_query};
use super::units::Time;
use crate::error::GatewayError;
use crate::messaging::ReceivedMessage;

/// How bodies are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BodyAs {
    /// Text when it is UTF-8, else base64.
    #[default]
    Auto,
    Base64,
    /// As a JSON value when it is one, else base64.
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
    pub(super) fn take(query: &mut Query) -> Result<View, GatewayError> {
        let body_as = match query.take("bodyAs")?.as_deref() {
            None | Some("auto" | "text") => BodyAs::Auto,
            Some("base64") => BodyAs::Base64,
            Some("json") => BodyAs::Json,
            Some("none") => BodyAs::None,
            Some(_) => return Err(invalid_query("bodyAs", "must be auto, text, base64, json or none")),
        };
        let times_as_ms = query.take_time_format()?;
        Ok(View { body_as, times_as_ms, system_properties: query.take_flag("systemProperties")? })
    }

    pub(super) fn time(self, at: Timestamp) -> Time {
        Time { at, as_ms: self.times_as_ms }
    }
}

/// A stored message on its way out.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
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
    /// Text or base64 as `bodyEncoding` says; any JSON value with `bodyAs=json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Body<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    /// The producer compressed the body itself; this is what it stored.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    body_compressed: bool,
    body_size: usize,
    body_crc32: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<&'a str>,
    #[schema(value_type = HashMap<String, String>)]
    properties: Properties<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<DeadLetter<'a>>,
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

fn message_type(message: &StoredMessage) -> &'static str {
    let has = |name| message.property(name).is_some();
    match () {
        () if has(property::HALF) => "transaction",
        () if has(property::MESSAGE_GROUP) => "fifo",
        () if has(property::TIMER_OUT_MS) || has(property::TIMER_DELIVER_MS) || has(property::DELAY_LEVEL) => "delay",
        () => "normal",
    }
}

/// Where a dead letter was before it was given up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeadLetter<'a> {
    topic: &'a str,
    message_id: &'a str,
    /// Deliveries that it had.
    delivery_attempts: u32,
    /// What its consumer said.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
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
            // The record's own check sum is the store's business alone.
            let shown = if is_reserved_property(name) { self.system && name != property::CRC } else { true };
            if shown && name != property::CONTENT_TYPE {
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
                None => base64(),
            },
        };
        let offset_message_id = message.offset_message_id();
        MessageOut {
            topic: message.topic(),
            message_type: message_type(message),
            message_id: message.unique_key().map_or_else(|| offset_message_id.clone(), str::to_string),
            offset_message_id,
            receipt_handle: None,
            delivery_attempt: None,
            invisible_until: None,
            body,
            body_encoding,
            body_compressed: message.sys_flag & sys_flag::COMPRESSED != 0,
            body_size: message.body.len(),
            body_crc32: message.body_crc,
            content_type: message.property(property::CONTENT_TYPE),
            tag: message.tag(),
            keys: message.keys().collect(),
            properties: Properties { message, system: view.system_properties },
            message_group: message.message_group(),
            dead_letter: message.property(property::DLQ_ORIGIN_TOPIC).map(|topic| DeadLetter {
                topic,
                message_id: message.property(property::DLQ_ORIGIN_MESSAGE_ID).unwrap_or_default(),
                delivery_attempts: message.reconsume_times.cast_unsigned(),
                reason: message.property(property::DEAD_LETTER_REASON),
            }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use gantry_broker_core::offset::{CommitLogOffset, QueueId, QueueOffset};
    use serde_json::{Value, json};

    fn stored(body: &'static [u8], properties: &[(&str, &str)]) -> StoredMessage {
        let properties: String = properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
        StoredMessage {
            topic: Bytes::from_static(b"orders"),
            queue_id: QueueId(3),
            queue_offset: QueueOffset(118),
            commit_log_offset: CommitLogOffset(1024),
            record_len: 200,
            body: Bytes::from_static(body),
            body_crc: 7,
            sys_flag: 0,
            flag: 0,
            born_timestamp: Timestamp(1_000),
            born_host: "127.0.0.1:1".parse().unwrap(),
            store_timestamp: Timestamp(2_000),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            properties: properties.into(),
        }
    }

    fn shown(message: &StoredMessage, view: View) -> Value {
        serde_json::to_value(MessageOut::stored(message, "broker-a", view)).unwrap()
    }

    fn as_body(body: &'static [u8], body_as: BodyAs) -> (Value, Value) {
        let shown = shown(&stored(body, &[]), View { body_as, ..View::default() });
        (shown["body"].clone(), shown["bodyEncoding"].clone())
    }

    #[test]
    fn a_message_shows_its_fields() {
        let properties = [
            ("UNIQ_KEY", "01AB"),
            ("TAGS", "paid"),
            ("KEYS", "1 2"),
            ("contentType", "text/plain"),
            ("Region", "eu"),
            ("TRACE_CONTEXT", "00-x"),
            ("__CRC32#", "0000"),
            ("__GANTRY_DIGEST", "ff"),
        ];
        let message = stored(b"hi", &properties);
        let expected = json!({
            "topic": "orders", "messageType": "normal", "messageId": "01AB",
            "offsetMessageId": "7F00000100002A9F0000000000000400",
            "body": "hi", "bodyEncoding": "text", "bodySize": 2, "bodyCrc32": 7,
            "contentType": "text/plain", "tag": "paid", "keys": ["1", "2"], "properties": {"Region": "eu"},
            "traceparent": "00-x",
            "bornTimestamp": "1970-01-01T00:00:01.000Z", "bornHost": "127.0.0.1:1",
            "storeTimestamp": "1970-01-01T00:00:02.000Z", "storeHost": "127.0.0.1:10911",
            "brokerName": "broker-a", "queueId": 3, "queueOffset": 118,
        });
        assert_eq!(shown(&message, View::default()), expected);
        let shown = shown(&message, View { times_as_ms: true, system_properties: true, ..View::default() });
        assert_eq!(shown["storeTimestamp"], 2_000);
        assert_eq!(shown["properties"]["__GANTRY_DIGEST"], "ff");
        assert_eq!(shown["properties"].get("__CRC32#"), None);
    }

    #[test]
    fn a_body_is_shown_as_asked_and_never_altered() {
        assert_eq!(as_body(b"\xff", BodyAs::Auto), (json!("/w=="), json!("base64")));
        assert_eq!(as_body(b"hi", BodyAs::Base64), (json!("aGk="), json!("base64")));
        assert_eq!(as_body(b"{\"a\": 1}", BodyAs::Json), (json!({"a": 1}), json!("json")));
        assert_eq!(as_body(b"hi", BodyAs::Json), (json!("aGk="), json!("base64")));
        assert_eq!(as_body(b"hi", BodyAs::None), (Value::Null, Value::Null));
        let message = stored(b"{\"a\":12345678901234567890123}", &[]);
        let view = View { body_as: BodyAs::Json, ..View::default() };
        let text = serde_json::to_string(&MessageOut::stored(&message, "b", view)).unwrap();
        assert!(text.contains("\"body\":{\"a\":12345678901234567890123}"), "{text}");
    }

    #[test]
    fn kinds_and_origins_of_apaches_messages_show() {
        let shown_type = |name| shown(&stored(b"x", &[(name, "1")]), View::default())["messageType"].clone();
        assert_eq!(shown_type("__SHARDINGKEY"), "fifo");
        assert_eq!(shown_type("TIMER_OUT_MS"), "delay");
        assert_eq!(shown_type("TRAN_MSG"), "transaction");
        let dead = stored(b"x", &[("DLQ_ORIGIN_TOPIC", "orders"), ("DLQ_ORIGIN_MESSAGE_ID", "01AB")]);
        assert_eq!(
            shown(&dead, View::default())["deadLetter"],
            json!({"topic": "orders", "messageId": "01AB", "deliveryAttempts": 0})
        );
    }
}
