//! Topics: create, change, describe, list, delete.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{Permission, PutWhen, QUEUES_DEFAULT, Topic, TopicConfig};
use gantry_broker_core::message::MessageType;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::Incarnation;
use gantry_broker_core::topic_attributes::TopicAttributes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Fields;
use super::lag::behind;
use super::list::{Items, Page};
use super::openapi::{PageParams, PutConditions, TopicIn};
use super::request::{Query, Segments, invalid_query, json, read_json, topic_name};
use super::{Answer, RestState, Shared};
use crate::error::{FieldAt, GatewayError};

#[derive(Serialize, ToSchema)]
#[schema(as = Topic)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicOut {
    name: String,
    message_type: &'static str,
    read_queues: u32,
    write_queues: u32,
    perm: &'static str,
    /// RocketMQ's attributes, as far as they were said; `reserve.time` in hours.
    attributes: BTreeMap<String, String>,
    system: bool,
}

impl TopicOut {
    fn new(topic: &Topic) -> TopicOut {
        TopicOut {
            name: topic.config.topic.to_string(),
            message_type: topic.config.message_type.word(),
            read_queues: topic.config.read_queues,
            write_queues: topic.config.write_queues,
            perm: match (topic.config.permission.read, topic.config.permission.write) {
                (true, true) => "readWrite",
                (true, false) => "read",
                (false, true) => "write",
                (false, false) => "none",
            },
            attributes: topic.config.attributes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            system: topic.config.topic.is_system(),
        }
    }
}

/// Creates a topic, or replaces its configuration
#[utoipa::path(put, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), PutConditions), request_body = TopicIn, responses((status = 200, description = "Replaced", body = TopicOut), (status = 201, description = "Created", body = TopicOut)))]
pub(super) async fn put_topic(
    State(state): Shared,
    Segments(topic): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let config = read(Fields::parse(&text)?, topic.clone())?;
    let broker = &state.messaging.broker;
    let when = match put_when(&parts.headers)? {
        Condition::When(when) => when,
        Condition::Etag(etags) => {
            let known = broker.describe_topic(topic.clone()).await?;
            match version_of(&etags, known.incarnation, known.version) {
                Some(when) => when,
                None => return Ok(changed_since(topic.as_str(), known.incarnation, known.version)),
            }
        }
    };
    match broker.put_topic(config, when).await {
        Ok((topic, created)) => {
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok(with_etag(json(status, &TopicOut::new(&topic)), topic.incarnation, topic.version))
        }
        Err(BrokerError::VersionMismatch { .. }) => {
            let known = broker.describe_topic(topic.clone()).await?;
            Ok(changed_since(topic.as_str(), known.incarnation, known.version))
        }
        Err(BrokerError::InvalidParameter { name, reason }) => {
            Err(GatewayError::from(BrokerError::InvalidParameter { name, reason }).at_field(field_of(name)))
        }
        Err(error) => Err(error.into()),
    }
}

fn read(mut fields: Fields<'_>, name: TopicName) -> Result<TopicConfig, GatewayError> {
    let message_type = fields.text("messageType")?;
    if !is_message_type(message_type.as_deref().unwrap_or(NORMAL)) {
        return Err(fields.refuse("messageType", MESSAGE_TYPES));
    }
    let message_type = match message_type.as_deref() {
        None | Some(NORMAL) => MessageType::Normal,
        Some(FIFO) => MessageType::Fifo,
        Some(DELAY) => MessageType::Delay,
        Some(TRANSACTION) => MessageType::Transaction,
        Some(MIXED) => MessageType::Mixed,
        Some(other) => {
            let error = GatewayError::NotImplemented { what: format!("a topic of type {other}") };
            return Err(error.at_field(fields.at("messageType")));
        }
    };
    let perm = fields.text("perm")?;
    let permission = match perm.as_deref() {
        None | Some("readWrite") => Permission { read: true, write: true },
        Some("read") => Permission { read: true, write: false },
        Some("write") => Permission { read: false, write: true },
        Some("none") => Permission { read: false, write: false },
        Some(_) => return Err(fields.refuse("perm", "must be read, write, readWrite or none")),
    };
    if fields.flag("order")? == Some(true) {
        let error = GatewayError::NotImplemented { what: "an ordered topic".into() };
        return Err(error.at_field(fields.at("order")));
    }
    let attributes = attributes(&mut fields)?;
    for later in ["brokers", "cluster"] {
        fields.not_built(later)?;
    }
    // Who names one number means both.
    let (read_queues, write_queues) = (fields.count("readQueues")?, fields.count("writeQueues")?);
    let (read_queues, write_queues) = (read_queues.or(write_queues), write_queues.or(read_queues));
    let (read_queues, write_queues) = (read_queues.unwrap_or(QUEUES_DEFAULT), write_queues.unwrap_or(QUEUES_DEFAULT));
    fields.end()?;
    Ok(TopicConfig { message_type, read_queues, write_queues, permission, attributes, ..TopicConfig::new(name) })
}

/// What they may say the broker judges: it knows what was there.
fn attributes(fields: &mut Fields<'_>) -> Result<TopicAttributes, GatewayError> {
    let mut attributes = BTreeMap::new();
    for (name, value) in fields.pairs("attributes")?.unwrap_or_default() {
        if attributes.insert(name.to_string(), value.to_string()).is_some() {
            let error = GatewayError::MalformedRequest { reason: format!("the attribute '{name}' is given twice") };
            return Err(error.at_field(fields.at("attributes")));
        }
    }
    Ok(attributes.into_iter().collect())
}

const NORMAL: &str = "normal";
const FIFO: &str = "fifo";
const DELAY: &str = "delay";
const TRANSACTION: &str = "transaction";
const MIXED: &str = "mixed";
const MESSAGE_TYPES: &str = "must be normal, fifo, delay, transaction, priority, lite or mixed";

fn is_message_type(text: &str) -> bool {
    matches!(text, NORMAL | FIFO | DELAY | TRANSACTION | "priority" | "lite" | MIXED)
}

/// A field of the body that the broker found wrong.
pub(super) fn field_of(name: &str) -> FieldAt {
    FieldAt::Pointer(format!("/{name}"))
}

/// One topic
#[utoipa::path(get, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("If-None-Match" = Option<String>, Header)), responses((status = 200, description = "The topic", body = TopicOut), (status = 304, description = "Not changed")))]
pub(super) async fn describe_topic(
    State(state): Shared,
    Segments(topic): Segments<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    let topic = state.messaging.broker.describe_topic(topic).await?;
    if is_known(&headers, topic.incarnation, topic.version) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), topic.incarnation, topic.version));
    }
    Ok(with_etag(json(StatusCode::OK, &TopicOut::new(&topic)), topic.incarnation, topic.version))
}

/// What a delete would take along.
#[derive(Serialize, ToSchema)]
#[schema(as = DeleteImpact)]
struct Impact {
    topic: String,
    /// Messages kept.
    messages: u64,
    groups: Vec<ConsumedBy>,
}

/// A group that receives from the topic.
#[derive(Serialize, ToSchema)]
#[schema(as = TopicGroup)]
#[serde(rename_all = "camelCase")]
struct ConsumedBy {
    name: String,
    /// Stored and not acked.
    lag: u64,
    /// Taken and not acked.
    inflight: u64,
    /// Age of the oldest message that is not acked; null if nothing is behind.
    delay_ms: Option<u64>,
}

async fn consumed_by(state: &RestState, topic: &TopicName) -> Result<Vec<ConsumedBy>, GatewayError> {
    let now = state.now();
    let mut groups = Vec::new();
    for consumption in state.messaging.broker.list_consumptions(None, Some(topic.clone())).await? {
        if let Some(behind) = behind(state, &consumption.consumer_group, topic).await? {
            let name = consumption.consumer_group.to_string();
            let (lag, inflight) = (behind.lag, behind.inflight);
            groups.push(ConsumedBy { name, lag, inflight, delay_ms: behind.delay_ms(now) });
        }
    }
    Ok(groups)
}

#[derive(Serialize, ToSchema)]
#[schema(as = TopicGroups)]
struct ConsumedByAll {
    items: Vec<ConsumedBy>,
}

/// Consumer groups that receive from a topic
#[utoipa::path(get, path = "/v1/topics/{topic}/groups", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$")), responses((status = 200, description = "How far each is", body = ConsumedByAll)))]
pub(super) async fn list_topic_groups(State(state): Shared, Segments(topic): Segments<String>, query: Query) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    Ok(json(StatusCode::OK, &ConsumedByAll { items: consumed_by(&state, &topic).await? }))
}

/// Deletes a topic with everything in it
#[utoipa::path(delete, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("dryRun" = Option<bool>, Query, description = "Say what would go, and change nothing")), responses((status = 200, description = "With `dryRun`: what would go", body = Impact), (status = 204, description = "Deleted")))]
pub(super) async fn delete_topic(State(state): Shared, Segments(topic): Segments<String>, mut query: Query) -> Answer {
    let topic = topic_name(&topic)?;
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    if dry_run {
        if topic.is_system() {
            return Err(BrokerError::SystemTopic { topic: topic.to_string() }.into());
        }
        let queues = state.messaging.broker.query_queue_offsets(topic.clone()).await?;
        let messages = queues.iter().map(|queue| queue.max_offset.0 - queue.min_offset.0).sum();
        let groups = consumed_by(&state, &topic).await?;
        return Ok(json(StatusCode::OK, &Impact { topic: topic.to_string(), messages, groups }));
    }
    state.messaging.broker.delete_topic(topic).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Topics by name
#[utoipa::path(get, path = "/v1/topics", tag = "topics", params(PageParams, ("messageType" = Option<String>, Query, description = "Only topics of this type")), responses((status = 200, description = "A page of topics", body = Items<TopicOut>)))]
pub(super) async fn list_topics(State(state): Shared, mut query: Query) -> Answer {
    let message_type = query.take("messageType")?;
    if message_type.as_deref().is_some_and(|text| !is_message_type(text)) {
        return Err(invalid_query("messageType", MESSAGE_TYPES));
    }
    let kind = format!("topics {}", message_type.as_deref().unwrap_or_default());
    let page = Page::take(&state, kind, &mut query)?;
    query.end()?;
    let topics = state.messaging.broker.list_topics().await?;
    let wanted = |topic: &Topic| {
        // Retry and dead letter topics belong to their groups.
        let name = &topic.config.topic;
        (page.include_system || !(name.is_system() || name.is_derived()))
            && message_type.as_deref().is_none_or(|wanted| wanted == topic.config.message_type.word())
    };
    let items = topics.iter().filter(|topic| wanted(topic)).map(TopicOut::new);
    Ok(json(StatusCode::OK, &page.cut(&state, items, |topic| &topic.name)))
}

/// What `If-None-Match` and `If-Match` ask of a put.
pub(super) enum Condition {
    When(PutWhen),
    Etag(String),
}

pub(super) fn put_when(headers: &HeaderMap) -> Result<Condition, GatewayError> {
    let text = |name| {
        let malformed = || GatewayError::MalformedRequest { reason: format!("{name} cannot be read") };
        headers.get(&name).map(|value: &HeaderValue| value.to_str().map_err(|_| malformed())).transpose()
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::When(PutWhen::Unconditional)),
        (None, Some("*")) => Ok(Condition::When(PutWhen::Missing)),
        (Some("*"), None) => Ok(Condition::When(PutWhen::Exists)),
        (Some(etag), None) => Ok(Condition::Etag(etag.to_string())),
        (Some(_), Some(_)) => {
            Err(GatewayError::MalformedRequest { reason: "give If-Match or If-None-Match, not both".into() })
        }
        (None, Some(_)) => Err(GatewayError::MalformedRequest { reason: "a PUT knows only 'If-None-Match: *'".into() }),
    }
}

pub(super) fn etag(incarnation: Incarnation, version: u64) -> String {
    format!("\"{:x}-{version:x}\"", incarnation.0)
}

pub(super) fn with_etag(mut response: Response, incarnation: Incarnation, version: u64) -> Response {
    let etag = HeaderValue::from_str(&etag(incarnation, version)).expect("hex digits in quotes");
    response.headers_mut().insert(header::ETAG, etag);
    response
}

/// The version that one of a caller's ETags stands for; the broker compares it once more when it puts. A weak ETag
/// stands for none (RFC 9110, 13.1.1).
pub(super) fn version_of(claimed: &str, incarnation: Incarnation, version: u64) -> Option<PutWhen> {
    let current = etag(incarnation, version);
    claimed.split(',').any(|claimed| claimed.trim() == current).then_some(PutWhen::Version(incarnation, version))
}

/// The refusal of a stale ETag, with the current one.
pub(super) fn changed_since(name: &str, incarnation: Incarnation, version: u64) -> Response {
    let error = GatewayError::from(BrokerError::VersionMismatch { name: name.to_string(), current: version });
    with_etag(error.into_response(), incarnation, version)
}

/// Does `If-None-Match` name what would be answered?
pub(super) fn is_known(headers: &HeaderMap, incarnation: Incarnation, version: u64) -> bool {
    let Some(text) = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    let etag = etag(incarnation, version);
    text.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::error_table::answer;

    fn config(text: &str) -> Result<TopicConfig, GatewayError> {
        read(Fields::parse(text.as_bytes())?, TopicName::from_client("t").unwrap())
    }

    #[test]
    fn a_topic_has_defaults() {
        assert_eq!(config("{}").unwrap(), TopicConfig::new(TopicName::from_client("t").unwrap()));
        let text =
            r#"{"messageType":"normal","readQueues":4,"writeQueues":2,"perm":"read","order":false,"brokers":null}"#;
        let config = config(text).unwrap();
        assert_eq!((config.read_queues, config.write_queues), (4, 2));
        assert_eq!(config.permission, Permission { read: true, write: false });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, code, pointer) in [
            (r#"{"messageType":"priority"}"#, "not_implemented", "/messageType"),
            (r#"{"messageType":"odd"}"#, "invalid_parameter", "/messageType"),
            (r#"{"perm":"all"}"#, "invalid_parameter", "/perm"),
            (r#"{"order":true}"#, "not_implemented", "/order"),
            (r#"{"attributes":["a"]}"#, "invalid_parameter", "/attributes"),
            (r#"{"attributes":{"reserve.time":1}}"#, "invalid_parameter", "/attributes/reserve.time"),
            (r#"{"attributes":{"a":"b","a":"c"}}"#, "malformed_request", "/attributes"),
            (r#"{"brokers":["a"]}"#, "not_implemented", "/brokers"),
            (r#"{"readQueues":-1}"#, "invalid_parameter", "/readQueues"),
            (r#"{"queues":1}"#, "unknown_field", "/queues"),
        ] {
            let error = config(text).unwrap_err();
            assert_eq!((answer(&error).code, error.at()), (code, Some(&FieldAt::Pointer(pointer.into()))), "{text}");
        }
    }

    #[test]
    fn etags_are_compared_strongly_for_a_put_and_weakly_for_a_get() {
        let (incarnation, version) = (Incarnation(0x90), 3);
        assert_eq!(version_of("\"90-3\"", incarnation, version), Some(PutWhen::Version(incarnation, 3)));
        assert_eq!(version_of("\"90-2\", \"90-3\"", incarnation, version), Some(PutWhen::Version(incarnation, 3)));
        for stale in ["\"90-2\"", "W/\"90-3\"", "90-3", "\"91-3\"", ""] {
            assert_eq!(version_of(stale, incarnation, version), None, "{stale}");
        }
        let mut headers = HeaderMap::new();
        assert!(!is_known(&headers, incarnation, version));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("W/\"90-3\""));
        assert!(is_known(&headers, incarnation, version) && !is_known(&headers, incarnation, 4));
    }

    #[test]
    fn a_put_has_one_condition() {
        let of = |pairs: &[(header::HeaderName, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            put_when(&pairs.collect())
        };
        assert!(matches!(of(&[]), Ok(Condition::When(PutWhen::Unconditional))));
        assert!(matches!(of(&[(header::IF_MATCH, "*")]), Ok(Condition::When(PutWhen::Exists))));
        assert!(matches!(of(&[(header::IF_NONE_MATCH, "*")]), Ok(Condition::When(PutWhen::Missing))));
        assert!(matches!(of(&[(header::IF_MATCH, "\"1-1\"")]), Ok(Condition::Etag(_))));
        assert!(of(&[(header::IF_NONE_MATCH, "\"1-1\"")]).is_err());
        assert!(of(&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")]).is_err());
    }
}
