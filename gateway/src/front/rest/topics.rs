//! Topics: create, change, describe, list, delete.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{Permission, PutWhen, QUEUES_DEFAULT, Topic, TopicConfig};
use gantry_broker_core::message::MessageType;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::Incarnation;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::list::Page;
use super::request::{Query, Segments, invalid_field, json, read_json, topic_name};
use super::{Answer, Shared};
use crate::error::GatewayError;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TopicIn {
    message_type: Option<String>,
    read_queues: Option<u32>,
    write_queues: Option<u32>,
    perm: Option<String>,
    order: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TopicOut {
    name: String,
    message_type: &'static str,
    read_queues: u32,
    write_queues: u32,
    perm: &'static str,
    system: bool,
}

impl TopicOut {
    fn new(topic: &Topic) -> TopicOut {
        TopicOut {
            name: topic.config.topic.to_string(),
            message_type: "normal",
            read_queues: topic.config.read_queues,
            write_queues: topic.config.write_queues,
            perm: match (topic.config.permission.read, topic.config.permission.write) {
                (true, true) => "readWrite",
                (true, false) => "read",
                (false, true) => "write",
                (false, false) => "none",
            },
            system: topic.config.topic.is_system(),
        }
    }
}

/// PUT /v1/topics/{topic}
pub(super) async fn put_topic(
    State(state): Shared,
    Segments(topic): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let config = read(read_json(&parts.headers, body).await?, topic.clone())?;
    let when = match put_when(&parts.headers)? {
        Condition::When(when) => when,
        Condition::Etag(etag) => {
            let known = state.messaging.broker.describe_topic(topic).await?;
            version_of(&etag, known.incarnation, known.version, known.config.topic.as_str())?
        }
    };
    let (topic, created) = state.messaging.broker.put_topic(config, when).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_etag(json(status, &TopicOut::new(&topic)), topic.incarnation, topic.version))
}

fn read(topic: TopicIn, name: TopicName) -> Result<TopicConfig, GatewayError> {
    let message_type = match topic.message_type.as_deref() {
        None | Some("normal") => MessageType::Normal,
        Some(other @ ("fifo" | "delay" | "transaction" | "priority" | "lite" | "mixed")) => {
            return Err(GatewayError::NotImplemented { what: format!("a topic of type {other}") });
        }
        Some(_) => return Err(invalid_field("/messageType", "must be normal")),
    };
    let permission = match topic.perm.as_deref() {
        None | Some("readWrite") => Permission { read: true, write: true },
        Some("read") => Permission { read: true, write: false },
        Some("write") => Permission { read: false, write: true },
        Some("none") => Permission { read: false, write: false },
        Some(_) => return Err(invalid_field("/perm", "must be read, write, readWrite or none")),
    };
    if topic.order == Some(true) {
        return Err(GatewayError::NotImplemented { what: "an ordered topic".into() });
    }
    let read_queues = topic.read_queues.unwrap_or(QUEUES_DEFAULT);
    let write_queues = topic.write_queues.unwrap_or(QUEUES_DEFAULT);
    Ok(TopicConfig { topic: name, message_type, read_queues, write_queues, permission })
}

/// GET /v1/topics/{topic}
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

/// DELETE /v1/topics/{topic}
pub(super) async fn delete_topic(State(state): Shared, Segments(topic): Segments<String>, query: Query) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    state.messaging.broker.delete_topic(topic).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// GET /v1/topics
pub(super) async fn list_topics(State(state): Shared, mut query: Query) -> Answer {
    let page = Page::take(&state, "topics", &mut query)?;
    let message_type = query.take("messageType")?;
    query.end()?;
    let topics = state.messaging.broker.list_topics().await?;
    let wanted = |topic: &Topic| {
        (page.include_system || !topic.config.topic.is_system())
            && message_type.as_deref().is_none_or(|wanted| wanted == "normal")
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

/// The version that a caller's ETag stands for; the broker compares it once more when it puts.
pub(super) fn version_of(
    claimed: &str,
    incarnation: Incarnation,
    version: u64,
    name: &str,
) -> Result<PutWhen, GatewayError> {
    if claimed.split(',').any(|claimed| claimed.trim() == etag(incarnation, version)) {
        return Ok(PutWhen::Version(version));
    }
    Err(BrokerError::VersionMismatch { name: name.to_string(), current: version }.into())
}

/// Does `If-None-Match` name what would be answered?
pub(super) fn is_known(headers: &HeaderMap, incarnation: Incarnation, version: u64) -> bool {
    let Some(text) = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    let etag = etag(incarnation, version);
    text.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}
