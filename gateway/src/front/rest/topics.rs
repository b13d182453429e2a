//! Topics: create, change, describe, list, delete.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{Permission, PutTopic, PutWhen, QUEUES_DEFAULT, Topic, TopicConfig};
use gantry_broker_core::message::MessageType;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::topic_attributes::TopicAttributes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::etag::{PutAnswer, Version, described, patch_when, put_done, put_planned, put_refused, put_when};
use super::json::Fields;
use super::lag::{behind, dead_letters};
use super::list::{Items, Page};
use super::merge_patch::merged;
use super::offsets::DRY_RUN;
use super::openapi::{PageParams, PatchConditions, PutConditions, TimeParams, TopicIn};
use super::request::{Query, Segments, invalid_query, json, read_json, topic_name};
use super::units::Time;
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
#[utoipa::path(put, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), PutConditions, ("dryRun" = Option<bool>, Query, description = "Say what would change, and change nothing")), request_body = TopicIn, responses((status = 200, description = "Replaced; with `dryRun`: what would change", body = PutAnswer<TopicOut>), (status = 201, description = "Created", body = PutAnswer<TopicOut>)))]
pub(super) async fn put_topic(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let topic = topic_name(&topic)?;
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let put = read(Fields::parse(&text)?, topic.clone())?;
    let describe = || state.messaging.broker.describe_topic(topic.clone());
    let when = put_when(&parts.headers, async { Ok(Version::from(&describe().await?)) }).await?;
    let before = match dry_run {
        false => None,
        true => match describe().await {
            Err(BrokerError::TopicNotFound { .. }) => None,
            known => Some(known?),
        },
    };
    let put = PutTopic { when, dry_run, ..put };
    done(&state, put, before).await
}

/// Changes what it names of a topic's configuration, and leaves the rest as it is
#[utoipa::path(patch, path = "/v1/topics/{topic}", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), PatchConditions, ("dryRun" = Option<bool>, Query, description = "Say what would change, and change nothing")), request_body(content = TopicIn, content_type = "application/merge-patch+json"), responses((status = 200, description = "Changed; with `dryRun`: what would change", body = PutAnswer<TopicOut>)))]
pub(super) async fn patch_topic(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let topic = topic_name(&topic)?;
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let known = state.messaging.broker.describe_topic(topic.clone()).await?;
    let when = patch_when(&parts.headers, &Version::from(&known))?;
    let now = TopicOut::new(&known);
    let mut current = serde_json::json!({
        "messageType": now.message_type, "perm": now.perm, "attributes": now.attributes,
        "readQueues": now.read_queues, "writeQueues": now.write_queues,
    });
    // Who asks for more queues to write to, and says nothing of readers, wants them read as well.
    let named = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default();
    if named.get("readQueues").is_none()
        && let Some(writers) = named.get("writeQueues").and_then(serde_json::Value::as_u64)
    {
        current["readQueues"] = writers.max(now.read_queues.into()).into();
    }
    let put = read(Fields::parse(&merged(current, &text, "")?)?, topic)?;
    let put = PutTopic { when, dry_run, ..put };
    done(&state, put, Some(known)).await
}

/// `before`: what a dry run compares with.
async fn done(state: &RestState, put: PutTopic, before: Option<Topic>) -> Answer {
    let dry_run = put.dry_run;
    let (topic, created) = state.messaging.broker.put_topic(put).await.map_err(put_refused)?;
    let shown = TopicOut::new(&topic);
    Ok(match dry_run {
        true => put_planned(before.as_ref().map(TopicOut::new), shown),
        false => put_done(&Version::from(&topic), created, shown),
    })
}

fn read(mut fields: Fields<'_>, name: TopicName) -> Result<PutTopic, GatewayError> {
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
    let force = fields.flag("force")?.unwrap_or_default();
    fields.end()?;
    let config =
        TopicConfig { message_type, read_queues, write_queues, permission, attributes, ..TopicConfig::new(name) };
    Ok(PutTopic { force, ..PutTopic::new(config, PutWhen::Unconditional) })
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
    Ok(described(&headers, &Version::from(&topic), &TopicOut::new(&topic)))
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
    /// Of those, delivered before.
    retry: u64,
    /// The most deliveries that a message in flight has had; 0 if nothing is.
    delivery_attempt_max: u32,
    /// When the next message in flight comes back that has not come back yet.
    next_visible_at: Option<Time>,
    /// Messages in the group's dead letter queue, from all of its topics.
    dead_letters: u64,
    /// Age of the oldest message that is not acked; null if nothing is behind.
    delay_ms: Option<u64>,
}

async fn consumed_by(state: &RestState, topic: &TopicName, as_ms: bool) -> Result<Vec<ConsumedBy>, GatewayError> {
    let now = state.now();
    let mut groups = Vec::new();
    for consumption in state.messaging.broker.list_consumptions(None, Some(topic.clone())).await? {
        if let Some(behind) = behind(state, &consumption.consumer_group, topic).await? {
            groups.push(ConsumedBy {
                name: consumption.consumer_group.to_string(),
                lag: behind.lag,
                inflight: behind.inflight,
                retry: behind.retry,
                delivery_attempt_max: behind.attempt_max,
                next_visible_at: behind.next_visible.map(|at| Time { at, as_ms }),
                dead_letters: dead_letters(state, &consumption.consumer_group).await?,
                delay_ms: behind.delay_ms(now),
            });
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
#[utoipa::path(get, path = "/v1/topics/{topic}/groups", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), TimeParams), responses((status = 200, description = "How far each is", body = ConsumedByAll)))]
pub(super) async fn list_topic_groups(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let as_ms = query.take_time_format()?;
    query.end()?;
    Ok(json(StatusCode::OK, &ConsumedByAll { items: consumed_by(&state, &topic, as_ms).await? }))
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
        let groups = consumed_by(&state, &topic, false).await?;
        let mut response = json(StatusCode::OK, &Impact { topic: topic.to_string(), messages, groups });
        response.headers_mut().insert(DRY_RUN, HeaderValue::from_static("true"));
        return Ok(response);
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
    let page = Page::take(&state, &kind, &mut query)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::error_table::answer;

    fn config(text: &str) -> Result<TopicConfig, GatewayError> {
        read(Fields::parse(text.as_bytes())?, TopicName::from_client("t").unwrap()).map(|put| put.config)
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
}
