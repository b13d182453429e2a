//! Raw mode: the HTTP body is the message body, and `Gantry-*` headers are its metadata, in both directions.

use std::borrow::Cow;

use gantry_broker_core::message::property;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::message_json::MessageIn;
use super::units::Time;
use crate::error::{FieldAt, GatewayError};
use crate::messaging::ReceivedMessage;

/// Written encoded in a property header: what would end the value, and what a header cannot hold.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b',').add(b'=').add(b' ');

fn malformed(reason: String) -> GatewayError {
    GatewayError::MalformedRequest { reason }
}

fn text<'a>(value: &'a HeaderValue, name: &str) -> Result<&'a str, GatewayError> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| malformed(format!("{name} is not UTF-8")))
}

fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, GatewayError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| text(value, name)).transpose()?;
    if values.next().is_some() {
        return Err(malformed(format!("{name} is given twice")));
    }
    Ok(first)
}

/// The metadata of a raw publish; the body is added by the caller.
pub(super) fn read(headers: &HeaderMap) -> Result<MessageIn, GatewayError> {
    let owned = |name| single(headers, name).map(|text| text.map(str::to_string));
    let mut message = MessageIn {
        content_type: owned("content-type")?,
        tag: owned("gantry-tag")?,
        message_group: owned("gantry-message-group")?,
        delay: owned("gantry-delay")?,
        deliver_at: owned("gantry-deliver-at")?.map(serde_json::Value::String),
        lite_topic: owned("gantry-lite-topic")?,
        message_id: owned("gantry-message-id")?,
        traceparent: owned("traceparent")?,
        idempotency_key: owned("idempotency-key")?,
        ..MessageIn::default()
    };
    if let Some(keys) = single(headers, "gantry-keys")? {
        message.keys = keys.split(',').map(|key| key.trim().to_string()).collect();
    }
    if let Some(priority) = single(headers, "gantry-priority")? {
        let parsed = priority.parse().map_err(|_| GatewayError::InvalidParameter {
            at: FieldAt::Header("Gantry-Priority"),
            reason: format!("the priority '{priority}' is no whole number"),
        })?;
        message.priority = Some(parsed);
    }
    if let Some(queue) = single(headers, "gantry-queue")? {
        let (broker, queue_id) = queue.split_once('/').unwrap_or_default();
        let queue_id = queue_id.parse().map_err(|_| malformed("Gantry-Queue must be broker/queueId".into()))?;
        message.queue = Some(super::message_json::QueueIn { broker_name: broker.to_string(), queue_id });
    }
    for value in headers.get_all("gantry-property") {
        for pair in text(value, "Gantry-Property")?.split(',') {
            let (name, value) =
                pair.trim().split_once('=').ok_or_else(|| malformed("Gantry-Property must be name=value".into()))?;
            message.properties.0.push((decode(name)?.into_owned(), decode(value)?.into_owned()));
        }
    }
    Ok(message)
}

fn decode(text: &str) -> Result<Cow<'_, str>, GatewayError> {
    percent_decode_str(text).decode_utf8().map_err(|_| malformed("Gantry-Property is not percent-encoded UTF-8".into()))
}

/// The metadata of a raw receive.
pub(super) fn write(received: &ReceivedMessage, headers: &mut HeaderMap) {
    let message = &received.popped.message;
    let mut put = |name: HeaderName, value: &str| {
        // Stored by somebody who knew no headers: encoded rather than left out.
        let value = HeaderValue::from_str(value)
            .or_else(|_| HeaderValue::from_str(&utf8_percent_encode(value, ENCODED).to_string()));
        if let Ok(value) = value {
            headers.append(name, value);
        }
    };
    let known = HeaderName::from_static;
    put(header::CONTENT_TYPE, message.property(property::CONTENT_TYPE).unwrap_or("application/octet-stream"));
    put(known("gantry-receipt-handle"), &received.receipt_handle);
    put(known("gantry-message-id"), message.unique_key().unwrap_or(&message.offset_message_id()));
    put(known("gantry-delivery-attempt"), &received.popped.delivery_attempt.to_string());
    let until = Time { at: received.popped.invisible_until, as_ms: false };
    put(known("gantry-invisible-until"), &until.text());
    put(known("gantry-queue-offset"), &message.queue_offset.to_string());
    put(known("gantry-queue"), &format!("{}/{}", received.popped.handle.broker_name, message.queue_id));
    if let Some(tag) = message.tag() {
        put(known("gantry-tag"), tag);
    }
    let keys: Vec<&str> = message.keys().collect();
    if !keys.is_empty() {
        put(known("gantry-keys"), &keys.join(","));
    }
    if let Some(traceparent) = message.property(property::TRACE_CONTEXT) {
        put(known("traceparent"), traceparent);
    }
    for (name, value) in message.user_properties().filter(|(name, _)| *name != property::CONTENT_TYPE) {
        let pair = format!("{}={}", utf8_percent_encode(name, ENCODED), utf8_percent_encode(value, ENCODED));
        put(known("gantry-property"), &pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_from_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("gantry-tag", HeaderValue::from_static("paid"));
        headers.insert("gantry-keys", HeaderValue::from_static("991, 992"));
        headers.append("gantry-property", HeaderValue::from_static("Region=eu"));
        headers.append("gantry-property", HeaderValue::from_static("a%3Db=c%2Cd"));
        headers.insert("gantry-queue", HeaderValue::from_static("broker-a/3"));
        let message = read(&headers).unwrap();
        assert_eq!(message.tag.as_deref(), Some("paid"));
        assert_eq!(message.keys, ["991", "992"]);
        let pairs = [("Region".to_string(), "eu".to_string()), ("a=b".into(), "c,d".into())];
        assert_eq!(message.properties.0, pairs);
        assert_eq!(message.queue.map(|queue| queue.queue_id), Some(3));
    }

    #[test]
    fn broken_headers_are_malformed() {
        for (name, value) in [("gantry-property", "novalue"), ("gantry-property", "a=%ff"), ("gantry-queue", "x")] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            assert!(matches!(read(&headers), Err(GatewayError::MalformedRequest { .. })), "{name}: {value}");
        }
        let mut headers = HeaderMap::new();
        headers.append("gantry-tag", HeaderValue::from_static("a"));
        headers.append("gantry-tag", HeaderValue::from_static("b"));
        assert!(read(&headers).is_err());
    }
}
