//! Publishing, one message or many, and reading single messages back.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::SendReceipt;
use gantry_broker_core::config::Durability;
use gantry_broker_core::message::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BODY_BYTES_MAX, MessageError, OffsetMessageId, Transaction,
};
use gantry_broker_core::names::TopicName;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::Digest as _;
use utoipa::ToSchema;

use super::draft::{Sender, Source};
use super::envelope::{self, Envelope};
use super::json::Fields;
use super::message_json::{MessageOut, View};
use super::openapi::{BatchIn, EnvelopeIn, MessageHeaders, TimeParams, ViewParams};
use super::problem::Problem;
use super::request::{Query, Segments, json, media_type, read_body, topic_name};
use super::transactions::PublishedHalf;
use super::units::Time;
use super::{Answer, RestState, Shared, headers};
use crate::error::{FieldAt, GatewayError};
use crate::transport::ConnectionInfo;

const ENVELOPE: &str = "application/vnd.gantry.message+json";
/// An envelope of the largest body: base64 takes a third more, escapes in a text twice as much; metadata has room.
const ENVELOPE_BYTES_MAX: usize = BODY_BYTES_MAX * 2 + 128 * 1024;
/// A batch of the largest bodies, likewise, and of the most entries.
const BATCH_REQUEST_BYTES_MAX: usize = BATCH_BYTES_MAX * 2 + 4 * 1024 * 1024;
/// What a topic's name may hold and a path may not.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
const IDEMPOTENCY: HeaderName = HeaderName::from_static("gantry-idempotency");

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Published<'a> {
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
    #[schema(value_type = String)]
    durability: Durability,
    /// Takes the message back while it waits for its delivery time.
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_handle: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl<'a> Published<'a> {
    fn new(
        state: &'a RestState,
        topic: &TopicName,
        receipt: &'a SendReceipt,
        mode: &'static str,
        body_size: usize,
    ) -> Published<'a> {
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
            recall_handle: state.messaging.recall_handle(topic, &state.broker_name, receipt),
            duplicate: receipt.duplicate,
        }
    }
}

/// Publishes one message: the body of the request is its body
#[utoipa::path(post, path = "/v1/topics/{topic}/messages", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), MessageHeaders, TimeParams), request_body(content((Vec<u8> = "*/*"), (EnvelopeIn = "application/vnd.gantry.message+json"))), responses((status = 201, description = "Stored as the broker promises", body = Published<'static>), (status = 200, description = "Stored before under the same idempotency key", body = Published<'static>)))]
pub(super) async fn send_message(
    State(state): Shared,
    Segments(topic): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    publish(&state, &topic, query, request, None).await
}

/// One message, or the half of a transaction.
pub(super) async fn publish(
    state: &RestState,
    topic: &str,
    mut query: Query,
    request: Request,
    transaction: Option<Transaction>,
) -> Answer {
    let topic = topic_name(topic)?;
    let times_as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let sender = Sender { state, born_host: peer(&parts.extensions), now: state.now() };
    let media_type = media_type(headers);
    refuse_cloud_events(headers, media_type.as_deref())?;
    let too_large = |len| MessageError::BodyTooLarge { len, max: BODY_BYTES_MAX }.into();
    let mut in_headers = headers::read(headers)?;
    let is_half = transaction.is_some();
    let mut id = None;
    let (mode, outgoing) = if media_type.as_deref() == Some(ENVELOPE) {
        let text = read_body(headers, body, ENVELOPE_BYTES_MAX, too_large).await?;
        check_digest(headers, &text)?;
        let mut fields = Fields::parse(&text)?;
        id = fields.text("id")?.map(Cow::into_owned);
        let mut envelope = envelope::read(fields, &text)?;
        if let Some(key) = in_headers.idempotency_key
            && envelope.draft.idempotency_key.replace(key).is_some()
        {
            let at = Source::Headers.at("idempotencyKey");
            let reason = "the idempotency key is given in the header and in the envelope: give one".to_string();
            return Err(GatewayError::InvalidParameter { at, reason });
        }
        envelope.draft.traceparent = envelope.draft.traceparent.or(in_headers.traceparent);
        envelope.draft.transaction = transaction;
        ("envelope", envelope.draft.outgoing(envelope.body, &sender, Source::Envelope(""))?)
    } else {
        let body = read_body(headers, body, BODY_BYTES_MAX, too_large).await?;
        check_digest(headers, &body)?;
        in_headers.transaction = transaction;
        ("raw", in_headers.outgoing(body, &sender, Source::Headers)?)
    };
    let body_size = outgoing.message.body().len();
    let keyed = outgoing.idempotency_key.is_some();
    let mut location = String::with_capacity(128);
    location.push_str("/v1/topics/");
    location.extend(utf8_percent_encode(topic.as_str(), IN_PATH));
    location.push_str("/messages/");
    let receipt = state.messaging.send_messages(topic.clone(), vec![outgoing]).await?.remove(0)?;
    let mut published = Published::new(state, &topic, &receipt, mode, body_size);
    published.id = id.as_deref();
    published.store_timestamp.as_ms = times_as_ms;
    let status = if receipt.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = match is_half {
        true => json(status, &PublishedHalf::new(state, published, &receipt, times_as_ms)),
        false => json(status, &published),
    };
    location.extend(utf8_percent_encode(&receipt.unique_key, NON_ALPHANUMERIC));
    let location = HeaderValue::try_from(location).expect("percent-encoded text is visible ASCII");
    // A half message is nowhere to be looked at.
    if !is_half {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if keyed {
        response.headers_mut().insert(IDEMPOTENCY, HeaderValue::from_static("enforced"));
    }
    Ok(response)
}

#[derive(Serialize, ToSchema)]
struct Many<R> {
    summary: Summary,
    results: Vec<R>,
}

#[derive(Serialize, ToSchema)]
struct Summary {
    ok: usize,
    failed: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PublishResult)]
#[serde(untagged)]
enum OneOf<'a> {
    Published(Published<'a>),
    Refused(Refused<'a>),
}

#[derive(Serialize, ToSchema)]
#[schema(as = PublishRefused)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    status: u16,
    problem: Problem,
}

/// An entry of a batch: what it calls itself, how large its body is, and what became of it.
#[derive(Default)]
struct Entry<'a> {
    id: Option<Cow<'a, str>>,
    body_size: usize,
    outcome: Option<Result<SendReceipt, GatewayError>>,
}

/// Publishes up to 1,024 messages, 4 MiB together
#[utoipa::path(post, path = "/v1/topics/{topic}/messages/batch", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), TimeParams, ("ordered" = Option<bool>, Query)), request_body(content((BatchIn = "application/json"), (String = "application/x-ndjson"))), responses((status = 201, description = "All were stored", body = Many<OneOf<'static>>), (status = 207, description = "Some were refused", body = Many<OneOf<'static>>)))]
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
    let headers = &parts.headers;
    let sender = Sender { state: &state, born_host: peer(&parts.extensions), now: state.now() };
    let media_type = media_type(headers);
    refuse_cloud_events(headers, media_type.as_deref())?;
    let in_headers = headers::read(headers)?;
    if in_headers.idempotency_key.is_some() {
        let at = Source::Headers.at("idempotencyKey");
        let reason = "a batch has no idempotency key of its own: give each entry its idempotencyKey".to_string();
        return Err(GatewayError::InvalidParameter { at, reason });
    }
    let text = read_body(headers, body, BATCH_REQUEST_BYTES_MAX, |len| batch_too_large(0, len)).await?;
    check_digest(headers, &text)?;
    let written = match media_type.as_deref() {
        Some("application/x-ndjson") => of_lines(&text)?,
        None | Some("application/json" | "application/x-www-form-urlencoded") => of_object(&text)?,
        Some(other) => {
            let reason = format!("'{other}' is neither application/json nor application/x-ndjson");
            return Err(GatewayError::UnsupportedMediaType { reason });
        }
    };
    if written.is_empty() {
        let at = FieldAt::Pointer("/messages".into());
        return Err(GatewayError::InvalidParameter { at, reason: "the batch holds no message".into() });
    }
    if written.len() > BATCH_ENTRIES_MAX {
        return Err(batch_too_large(written.len(), text.len()));
    }
    let mut entries = Vec::with_capacity(written.len());
    let mut outgoing = Vec::with_capacity(written.len());
    for (at, fields) in written {
        let mut entry = Entry::default();
        let read = fields.and_then(|fields| read_entry(&mut entry, fields, &text));
        let read = read.and_then(|mut envelope| {
            entry.body_size = envelope.body.len();
            envelope.draft.traceparent = envelope.draft.traceparent.or_else(|| in_headers.traceparent.clone());
            envelope.draft.outgoing(envelope.body, &sender, Source::Envelope(&at))
        });
        match read {
            Ok(message) => outgoing.push(message),
            Err(error) => entry.outcome = Some(Err(error)),
        }
        entries.push(entry);
    }
    let bytes: usize = entries.iter().map(|entry| entry.body_size).sum();
    if bytes > BATCH_BYTES_MAX && entries.len() > 1 {
        return Err(batch_too_large(entries.len(), bytes));
    }
    let keyed = outgoing.iter().any(|outgoing| outgoing.idempotency_key.is_some());
    if !outgoing.is_empty() {
        let receipts = state.messaging.send_messages(topic.clone(), outgoing).await?;
        let waiting = entries.iter_mut().filter(|entry| entry.outcome.is_none());
        for (entry, receipt) in waiting.zip(receipts) {
            entry.outcome = Some(receipt);
        }
    }
    let results: Vec<OneOf> = entries
        .iter()
        .map(|entry| match entry.outcome.as_ref().expect("every entry was refused or sent") {
            Ok(receipt) => {
                let mut published = Published::new(&state, &topic, receipt, "envelope", entry.body_size);
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
    let mut response = json(status, &Many { summary: Summary { ok, failed }, results });
    if keyed {
        response.headers_mut().insert(IDEMPOTENCY, HeaderValue::from_static("enforced"));
    }
    Ok(response)
}

fn batch_too_large(entries: usize, bytes: usize) -> GatewayError {
    let (entries_max, bytes_max) = (BATCH_ENTRIES_MAX, BATCH_BYTES_MAX);
    BrokerError::BatchTooLarge { entries, bytes, entries_max, bytes_max }.into()
}

/// The entries of a batch, each with the pointer to where it stands; one that is no object has an error of its own.
type Written<'a> = Vec<(String, Result<Fields<'a>, GatewayError>)>;

/// `{"messages": [...]}`
fn of_object(text: &[u8]) -> Result<Written<'_>, GatewayError> {
    let mut batch = Fields::parse(text)?;
    let messages = batch.list("messages")?;
    let messages = batch.required("messages", messages)?;
    batch.end()?;
    let entry = |(number, json)| {
        let at = format!("/messages/{number}");
        (at.clone(), Fields::of(json, at))
    };
    Ok(messages.into_iter().enumerate().map(entry).collect())
}

/// One JSON text a line; blank lines do not count.
fn of_lines(text: &[u8]) -> Result<Written<'_>, GatewayError> {
    let lines = || text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let count = lines().count();
    if count > BATCH_ENTRIES_MAX {
        return Err(batch_too_large(count, text.len()));
    }
    Ok(lines().map(|line| (String::new(), Fields::parse(line))).collect())
}

fn read_entry<'a>(
    entry: &mut Entry<'a>,
    mut fields: Fields<'a>,
    request: &Bytes,
) -> Result<Envelope<'a>, GatewayError> {
    // The id first: the answer names the entry by it, whatever else is wrong.
    entry.id = fields.text("id")?;
    envelope::read(fields, request)
}

/// The newest message of a topic with this id
#[utoipa::path(get, path = "/v1/topics/{topic}/messages/{messageId}", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("messageId" = String, Path), ViewParams), responses((status = 200, description = "The message", body = MessageOut<'static>)))]
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

/// The message with this physical id, of whatever topic
#[utoipa::path(get, path = "/v1/messages/{offsetMessageId}", tag = "messages", params(("offsetMessageId" = String, Path, description = "32 or 56 hex digits"), ViewParams), responses((status = 200, description = "The message", body = MessageOut<'static>)))]
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
    extensions.get::<ConnectionInfo>().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |info| info.peer)
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
    let at = FieldAt::Header("Content-Digest");
    let malformed = |reason: &str| GatewayError::MalformedRequest { reason: reason.into() }.at_field(at.clone());
    let text = value.to_str().map_err(|_| malformed("Content-Digest cannot be read"))?;
    for digest in text.split(',') {
        let Some(encoded) = digest.trim().strip_prefix("sha-256=") else { continue };
        let encoded = encoded.strip_prefix(':').and_then(|text| text.strip_suffix(':'));
        let claimed = encoded.and_then(|text| STANDARD.decode(text).ok());
        let claimed = claimed.ok_or_else(|| malformed("the sha-256 of Content-Digest is not :base64:"))?;
        if claimed != sha2::Sha256::digest(body)[..] {
            let reason = "the body does not have the sha-256 that Content-Digest names".to_string();
            return Err(GatewayError::MessageCorrupted { reason }.at_field(at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_checked_where_it_is_named() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-digest", HeaderValue::from_str(value).unwrap());
            check_digest(&headers, b"hello").map_err(|error| crate::front::error_table::answer(&error).code)
        };
        let right = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
        assert_eq!(check(right), Ok(()));
        assert_eq!(check(&format!("sha-512=:x:, {right}")), Ok(()));
        assert_eq!(check(&right.replace('L', "M")), Err("message_corrupted"));
        for wrong in ["sha-256=LPJNul", "sha-256=:%:", "sha-256="] {
            assert_eq!(check(wrong), Err("malformed_request"), "{wrong}");
        }
    }

    #[test]
    fn a_batch_is_an_object_or_lines_and_its_entries_fail_alone() {
        let entries = of_object(br#"{"messages":[{"body":"a"},7,{"body":"b","body":"c"}]}"#).unwrap();
        let outcomes: Vec<bool> = entries.iter().map(|(_, fields)| fields.is_ok()).collect();
        assert_eq!(outcomes, [true, false, false]);
        assert_eq!(entries[1].1.as_ref().unwrap_err().at(), Some(&FieldAt::Pointer("/messages/1".into())));
        let lines = of_lines(b"{\"body\":\"a\"}\r\n\n{nope\n{\"body\":\"b\"}").unwrap();
        let outcomes: Vec<bool> = lines.iter().map(|(_, fields)| fields.is_ok()).collect();
        assert_eq!(outcomes, [true, false, true]);
        for wrong in [&b"[]"[..], b"{}", b"{\"messages\":{}}", b"{\"messages\":[],\"more\":1}", b"{"] {
            assert!(of_object(wrong).is_err());
        }
        assert!(of_lines("{}\n".repeat(BATCH_ENTRIES_MAX + 1).as_bytes()).is_err());
    }
}
