//! Publishing, one message or many, and reading single messages back.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::SendReceipt;
use gantry_broker_core::config::Durability;
use gantry_broker_core::message::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BODY_BYTES_MAX, MessageError, OffsetMessageId};
use gantry_broker_core::names::TopicName;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Digest as _;

use super::message_json::{MessageIn, MessageOut, View};
use super::problem::Problem;
use super::request::{Query, Segments, json, json_error, media_type, parse_json, read_body, topic_name, within_budget};
use super::units::Time;
use super::{Answer, RestState, Shared, headers};
use crate::error::GatewayError;
use crate::messaging::OutgoingMessage;

const ENVELOPE: &str = "application/vnd.gantry.message+json";
/// An envelope of the largest body: base64 takes a third more, and its metadata has room.
const ENVELOPE_BYTES_MAX: usize = BODY_BYTES_MAX / 3 * 4 + 128 * 1024;
/// A batch of the largest bodies, likewise, and of the most entries.
const BATCH_REQUEST_BYTES_MAX: usize = BATCH_BYTES_MAX / 3 * 4 + 4 * 1024 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Published<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    message_id: &'a str,
    offset_message_id: String,
    broker_name: &'a str,
    queue_id: u32,
    queue_offset: u64,
    store_timestamp: Time,
    mode: &'static str,
    body_size: usize,
    send_status: &'static str,
    durability: Durability,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl<'a> Published<'a> {
    fn new(state: &'a RestState, receipt: &'a SendReceipt, mode: &'static str, body_size: usize) -> Published<'a> {
        Published {
            id: None,
            status: None,
            message_id: &receipt.unique_key,
            offset_message_id: receipt.offset_message_id(),
            broker_name: &state.broker_name,
            queue_id: receipt.queue_id.0,
            queue_offset: receipt.queue_offset.0,
            store_timestamp: Time { at: receipt.store_timestamp, as_ms: false },
            mode,
            body_size,
            send_status: "ok",
            durability: receipt.durability,
            duplicate: receipt.duplicate,
        }
    }
}

/// POST /v1/topics/{topic}/messages
pub(super) async fn send_message(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let topic = topic_name(&topic)?;
    let times_as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let born_host = peer(&parts.extensions);
    let media_type = media_type(&parts.headers);
    refuse_cloud_events(&parts.headers, media_type.as_deref())?;
    let too_large = |len| MessageError::BodyTooLarge { len, max: BODY_BYTES_MAX }.into();
    let (mode, message, body) = if media_type.as_deref() == Some(ENVELOPE) {
        let text = read_body(&parts.headers, body, ENVELOPE_BYTES_MAX, too_large).await?;
        check_digest(&parts.headers, &text)?;
        let mut message: MessageIn = parse_json(&text, "")?;
        let raw = headers::read(&parts.headers)?;
        message.idempotency_key = message.idempotency_key.or(raw.idempotency_key);
        message.traceparent = message.traceparent.or(raw.traceparent);
        let body = message.envelope_body("")?;
        ("envelope", message, body)
    } else {
        let message = headers::read(&parts.headers)?;
        let body = read_body(&parts.headers, body, BODY_BYTES_MAX, too_large).await?;
        check_digest(&parts.headers, &body)?;
        ("raw", message, body)
    };
    let body_size = body.len();
    let keyed = message.idempotency_key.is_some();
    let outgoing = message.outgoing(&state, &topic, body, born_host, "")?;
    let sending = state.messaging.send_messages(topic.clone(), vec![outgoing]);
    let receipt = within_budget(&parts.headers, std::time::Duration::ZERO, sending).await?.remove(0)?;
    let mut published = Published::new(&state, &receipt, mode, body_size);
    published.store_timestamp.as_ms = times_as_ms;
    let status = if receipt.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = json(status, &published);
    let id = utf8_percent_encode(&receipt.unique_key, NON_ALPHANUMERIC);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/topics/{topic}/messages/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if keyed {
        response.headers_mut().insert("gantry-idempotency", HeaderValue::from_static("enforced"));
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Many<R> {
    summary: Summary,
    results: Vec<R>,
}

#[derive(Serialize)]
struct Summary {
    ok: usize,
    failed: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OneOf<'a> {
    Published(Published<'a>),
    Refused(Refused<'a>),
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    status: u16,
    problem: Problem,
}

/// An entry of a batch: what it calls itself, how large its body is, and what became of it.
struct Entry {
    id: Option<String>,
    body_size: usize,
    outcome: Option<Result<SendReceipt, GatewayError>>,
}

/// POST /v1/topics/{topic}/messages/batch
pub(super) async fn send_messages(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let topic = topic_name(&topic)?;
    let times_as_ms = query.take_time_format()?;
    // Messages of a batch keep their order in any case; the word is about message groups.
    query.take_flag("ordered")?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let born_host = peer(&parts.extensions);
    let media_type = media_type(&parts.headers);
    refuse_cloud_events(&parts.headers, media_type.as_deref())?;
    let (entries_max, bytes_max) = (BATCH_ENTRIES_MAX, BATCH_BYTES_MAX);
    let too_large =
        |entries, bytes| GatewayError::from(BrokerError::BatchTooLarge { entries, bytes, entries_max, bytes_max });
    let text = read_body(&parts.headers, body, BATCH_REQUEST_BYTES_MAX, |len| too_large(0, len)).await?;
    check_digest(&parts.headers, &text)?;
    let raw_entries = match media_type.as_deref() {
        Some("application/x-ndjson") => lines(&text)?,
        None | Some("application/json" | "application/x-www-form-urlencoded") => {
            parse_json::<Batch>(&text, "")?.messages
        }
        Some(other) => {
            let reason = format!("'{other}' is neither application/json nor application/x-ndjson");
            return Err(GatewayError::UnsupportedMediaType { reason });
        }
    };
    if raw_entries.is_empty() {
        return Err(super::request::invalid_field("/messages", "is empty"));
    }
    if raw_entries.len() > BATCH_ENTRIES_MAX {
        return Err(too_large(raw_entries.len(), text.len()));
    }
    let mut entries = Vec::with_capacity(raw_entries.len());
    let mut outgoing = Vec::with_capacity(raw_entries.len());
    for (at, raw) in raw_entries.into_iter().enumerate() {
        let (entry, message) = read_entry(&state, &topic, raw, born_host, at);
        entries.push(entry);
        outgoing.extend(message);
    }
    let bytes: usize = entries.iter().map(|entry| entry.body_size).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(too_large(entries.len(), bytes));
    }
    if !outgoing.is_empty() {
        let sending = state.messaging.send_messages(topic, outgoing);
        let receipts = within_budget(&parts.headers, std::time::Duration::ZERO, sending).await?;
        let waiting = entries.iter_mut().filter(|entry| entry.outcome.is_none());
        for (entry, receipt) in waiting.zip(receipts) {
            entry.outcome = Some(receipt);
        }
    }
    let results: Vec<OneOf> = entries
        .iter()
        .map(|entry| match entry.outcome.as_ref().expect("every entry was refused or sent") {
            Ok(receipt) => {
                let mut published = Published::new(&state, receipt, "envelope", entry.body_size);
                published.id = entry.id.as_deref();
                published.status = Some(if receipt.duplicate { 200 } else { 201 });
                published.store_timestamp.as_ms = times_as_ms;
                OneOf::Published(published)
            }
            Err(error) => {
                let problem = Problem::of_entry(error);
                OneOf::Refused(Refused { id: entry.id.as_deref(), status: problem.status, problem })
            }
        })
        .collect();
    let ok = results.iter().filter(|result| matches!(result, OneOf::Published(_))).count();
    let failed = results.len() - ok;
    let status = if failed == 0 { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    Ok(json(status, &Many { summary: Summary { ok, failed }, results }))
}

/// One JSON text a line; blank lines do not count.
fn lines(text: &Bytes) -> Result<Vec<&RawValue>, GatewayError> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|error| json_error(&error, ""))).collect()
}

fn read_entry(
    state: &RestState,
    topic: &TopicName,
    raw: &RawValue,
    born_host: SocketAddr,
    at: usize,
) -> (Entry, Option<OutgoingMessage>) {
    let parent = format!("/messages/{at}");
    let refused = |id, error| (Entry { id, body_size: 0, outcome: Some(Err(error)) }, None);
    let mut message: MessageIn = match parse_json(raw.get().as_bytes(), &parent) {
        Ok(message) => message,
        Err(error) => return refused(None, error),
    };
    let id = message.id.take();
    let outgoing = message.envelope_body(&parent).and_then(|body| {
        let body_size = body.len();
        Ok((body_size, message.outgoing(state, topic, body, born_host, &parent)?))
    });
    match outgoing {
        Ok((body_size, outgoing)) => (Entry { id, body_size, outcome: None }, Some(outgoing)),
        Err(error) => refused(id, error),
    }
}

/// GET /v1/topics/{topic}/messages/{messageId}
pub(super) async fn find_message(
    State(state): Shared,
    Segments((topic, message_id)): Segments<(String, String)>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let view = View::take(&mut query)?;
    query.end()?;
    let message = state.messaging.broker.find_message(topic, message_id).await?;
    Ok(json(StatusCode::OK, &MessageOut::stored(&message, &state.broker_name, view)))
}

/// GET /v1/messages/{offsetMessageId}
pub(super) async fn read_message(
    State(state): Shared,
    Segments(offset_message_id): Segments<String>,
    mut query: Query,
) -> Answer {
    let view = View::take(&mut query)?;
    query.end()?;
    let id = OffsetMessageId::parse(&offset_message_id)
        .ok_or(MessageError::InvalidUniqueKey { reason: "is no physical message id of 32 or 56 hex digits" })?;
    let message = state.messaging.broker.read_message(id.commit_log_offset).await?;
    // The host in the id names a broker; it is compared and never dialled.
    if message.store_host != id.store_host {
        return Err(BrokerError::MessageNotFound.into());
    }
    Ok(json(StatusCode::OK, &MessageOut::stored(&message, &state.broker_name, view)))
}

fn peer(extensions: &http::Extensions) -> SocketAddr {
    extensions.get::<ConnectInfo<SocketAddr>>().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |ConnectInfo(peer)| *peer)
}

/// Storing one as raw bytes would lose what makes it an event.
fn refuse_cloud_events(headers: &HeaderMap, media_type: Option<&str>) -> Result<(), GatewayError> {
    let structured = media_type.is_some_and(|text| text.starts_with("application/cloudevents"));
    if structured || headers.contains_key("ce-specversion") {
        return Err(GatewayError::NotImplemented { what: "publishing CloudEvents".into() });
    }
    Ok(())
}

/// `Content-Digest: sha-256=:...:`, RFC 9530; other algorithms are not ours to check.
fn check_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), GatewayError> {
    let Some(value) = headers.get("content-digest") else { return Ok(()) };
    let corrupted = |reason: &str| GatewayError::MessageCorrupted { reason: reason.to_string() };
    let text = value.to_str().map_err(|_| corrupted("Content-Digest cannot be read"))?;
    for digest in text.split(',') {
        let Some(encoded) = digest.trim().strip_prefix("sha-256=") else { continue };
        let encoded = encoded.strip_prefix(':').and_then(|text| text.strip_suffix(':'));
        let claimed = encoded.and_then(|text| STANDARD.decode(text).ok());
        let claimed = claimed.ok_or_else(|| corrupted("the sha-256 of Content-Digest is not :base64:"))?;
        if claimed != sha2::Sha256::digest(body)[..] {
            return Err(corrupted("the body does not have the sha-256 that Content-Digest names"));
        }
    }
    Ok(())
}
