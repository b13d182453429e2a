//! Raw mode: the HTTP body is the message body, and `Gantry-*` headers are its metadata, in both directions.

use std::borrow::Cow;

use gantry_broker_core::message::property;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::draft::{Draft, Source, is_traceparent};
use super::units::{Time, parse_duration, parse_timestamp};
use crate::error::GatewayError;
use crate::messaging::ReceivedMessage;

/// Written encoded in a property header: what would end the value, and what a header cannot hold.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b',').add(b'=').add(b' ');

fn malformed(reason: String) -> GatewayError {
    GatewayError::MalformedRequest { reason }
}

fn text<'a>(value: &'a HeaderValue, name: &str) -> Result<&'a str, GatewayError> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| malformed(format!("{name} is not UTF-8")))
}

/// The metadata of a raw publish; the body is added by the caller.
pub(super) fn read(headers: &HeaderMap) -> Result<Draft<'_>, GatewayError> {
    let mut draft = Draft::default();
    let (mut keys, mut queue, mut priority) = (None, None, None);
    let (mut delay, mut deliver_at, mut delay_level) = (None, None, None);
    // One walk over what is there, instead of one look-up for each header there could be.
    for (name, value) in headers {
        let name = name.as_str();
        let slot = match name {
            "content-type" => &mut draft.content_type,
            "gantry-tag" => &mut draft.tag,
            "gantry-keys" => &mut keys,
            "gantry-message-group" => &mut draft.message_group,
            "gantry-delay" => &mut delay,
            "gantry-deliver-at" => &mut deliver_at,
            "gantry-delay-level" => &mut delay_level,
            "gantry-priority" => &mut priority,
            "gantry-lite-topic" => &mut draft.lite_topic,
            "gantry-message-id" => &mut draft.message_id,
            "gantry-queue" => &mut queue,
            "traceparent" => &mut draft.traceparent,
            "idempotency-key" => &mut draft.idempotency_key,
            "gantry-property" => {
                read_properties(text(value, name)?, &mut draft.properties)?;
                continue;
            }
            _ => continue,
        };
        if slot.replace(Cow::Borrowed(text(value, name)?)).is_some() {
            return Err(malformed(format!("{name} is given twice")));
        }
    }
    let at = |field| Source::Headers.at(field);
    if let Some(Cow::Borrowed(keys)) = keys {
        draft.keys = keys.split(',').map(|key| Cow::Borrowed(key.trim())).collect();
    }
    draft.delay = delay.map(|text| parse_duration(&text, at("delay"))).transpose()?;
    draft.deliver_at = deliver_at.map(|text| parse_timestamp(&text, at("deliverAt"))).transpose()?;
    draft.delay_level = delay_level.map(|text| read_number(&text, "delayLevel")).transpose()?;
    draft.priority = priority.map(|text| read_number(&text, "priority")).transpose()?;
    if let Some(Cow::Borrowed(queue)) = queue {
        let read = queue.rsplit_once('/').and_then(|(broker, id)| Some((broker.into(), id.parse().ok()?)));
        let malformed = || malformed("Gantry-Queue must be broker/queueId".into()).at_field(at("queue"));
        draft.queue = Some(read.ok_or_else(malformed)?);
    }
    // Whoever receives a broken trace context starts anew (W3C Trace Context, 3.2).
    draft.traceparent = draft.traceparent.filter(|text| is_traceparent(text));
    Ok(draft)
}

fn read_number(text: &str, field: &'static str) -> Result<i64, GatewayError> {
    text.parse().map_err(|_| {
        let reason = format!("'{}' is no whole number", text.escape_debug());
        GatewayError::InvalidParameter { at: Source::Headers.at(field), reason }
    })
}

/// `name=value`, and more of them behind commas: that is how proxies join repeated headers.
fn read_properties<'a>(text: &'a str, properties: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Result<(), GatewayError> {
    for pair in text.split(',') {
        let refuse = |reason: &str| malformed(reason.into()).at_field(Source::Headers.at("properties"));
        let (name, value) = pair.trim().split_once('=').ok_or_else(|| refuse("Gantry-Property must be name=value"))?;
        let decode = |text| decode(text).ok_or_else(|| refuse("Gantry-Property is not percent-encoded UTF-8"));
        properties.push((decode(name)?, decode(value)?));
    }
    Ok(())
}

/// `None` when a percent sign stands without its two digits, or the bytes are not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    let stray = |rest: &str| !rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if text.split('%').skip(1).any(stray) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok()
}

/// The metadata of a raw receive.
pub(super) fn write(received: &ReceivedMessage, headers: &mut HeaderMap) {
    let message = &received.popped.message;
    let mut put = |name: HeaderName, value: &str| {
        // UTF-8 goes out as it came in; a control character can only be stored by somebody who knew no headers.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .or_else(|_| HeaderValue::from_str(&utf8_percent_encode(value, ENCODED).to_string()));
        if let Ok(value) = value {
            headers.append(name, value);
        }
    };
    let known = HeaderName::from_static;
    put(header::CONTENT_TYPE, message.property(property::CONTENT_TYPE).unwrap_or("application/octet-stream"));
    // The producer named the type; no browser shall guess another.
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
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
    use crate::error::FieldAt;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn metadata_is_read_from_headers() {
        let headers = headers(&[
            ("gantry-tag", "paid"),
            ("gantry-keys", "991, 992"),
            ("gantry-property", "Region=eu"),
            ("gantry-property", "a%3Db=c%2Cd, e=%25"),
            ("gantry-queue", "broker-a/3"),
            ("gantry-delay", "10m"),
            ("gantry-message-group", "konto-ä"),
            ("gantry-unknown", "x"),
        ]);
        let draft = read(&headers).unwrap();
        assert_eq!(draft.tag.as_deref(), Some("paid"));
        assert_eq!(draft.keys, ["991", "992"]);
        let pairs = [("Region", "eu"), ("a=b", "c,d"), ("e", "%")];
        assert_eq!(draft.properties, pairs.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(draft.queue, Some(("broker-a".into(), 3)));
        assert_eq!(draft.delay, Some(std::time::Duration::from_secs(600)));
        assert_eq!(draft.message_group.as_deref(), Some("konto-ä"));
    }

    #[test]
    fn broken_headers_are_malformed() {
        for pair in [
            ("gantry-property", "novalue"),
            ("gantry-property", "a=1,"),
            ("gantry-property", "a=%ff"),
            ("gantry-property", "a=%2"),
            ("gantry-property", "a=%zz"),
            ("gantry-queue", "x"),
            ("gantry-queue", "x/"),
            ("gantry-queue", "x/-1"),
        ] {
            let headers = headers(&[pair]);
            let error = read(&headers).unwrap_err();
            assert_eq!(crate::front::error_table::answer(&error).code, "malformed_request", "{pair:?}");
        }
        assert!(read(&headers(&[("gantry-tag", "a"), ("gantry-tag", "b")])).is_err());
        let mut latin_1 = HeaderMap::new();
        latin_1.insert("gantry-tag", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        assert!(read(&latin_1).is_err());
    }

    #[test]
    fn errors_name_their_header() {
        for (pair, code, at) in [
            (("gantry-delay", "600"), "invalid_duration", "Gantry-Delay"),
            (("gantry-deliver-at", "soon"), "invalid_timestamp", "Gantry-Deliver-At"),
            (("gantry-priority", "high"), "invalid_parameter", "Gantry-Priority"),
            (("gantry-delay-level", "1.5"), "invalid_parameter", "Gantry-Delay-Level"),
            (("gantry-queue", "x"), "malformed_request", "Gantry-Queue"),
        ] {
            let headers = headers(&[pair]);
            let error = read(&headers).unwrap_err();
            assert_eq!(crate::front::error_table::answer(&error).code, code);
            assert_eq!(error.at(), Some(&FieldAt::Header(at)));
        }
    }

    #[test]
    fn a_broken_trace_context_is_left_out() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(&headers(&[("traceparent", good)])).unwrap().traceparent.as_deref(), Some(good));
        assert_eq!(read(&headers(&[("traceparent", "x")])).unwrap().traceparent, None);
    }
}
