//! Message queues: what they hold, and looking into one by offset.

use axum::extract::State;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{Boundary, OffsetPosition, PullMessages, QueryOffset};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::message_json::{MessageOut, View};
use super::openapi::{TimeParams, ViewParams};
use super::request::{Query, Segments, invalid_query, json, topic_name};
use super::units::{Time, parse_timestamp};
use super::{Answer, RestState, Shared};
use crate::error::{FieldAt, GatewayError};

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 500;
/// A page of large bodies ends here; the next one goes on.
const PAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

#[derive(Serialize, ToSchema)]
struct Queues {
    items: Vec<QueueOut>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MessageQueue)]
#[serde(rename_all = "camelCase")]
struct QueueOut {
    broker_name: String,
    queue_id: u32,
    min_offset: u64,
    max_offset: u64,
    last_update: Option<Time>,
}

/// Message queues of a topic, and what each holds
#[utoipa::path(get, path = "/v1/topics/{topic}/queues", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), TimeParams), responses((status = 200, description = "By queue id", body = Queues)))]
pub(super) async fn query_queue_offsets(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let as_ms = query.take_time_format()?;
    query.end()?;
    let queues = state.messaging.broker.query_queue_offsets(topic).await?;
    let items = queues
        .into_iter()
        .map(|queue| QueueOut {
            broker_name: state.broker_name.clone(),
            queue_id: queue.queue_id.0,
            min_offset: queue.min_offset.0,
            max_offset: queue.max_offset.0,
            last_update: queue.last_update.map(|at| Time { at, as_ms }),
        })
        .collect();
    Ok(json(StatusCode::OK, &Queues { items }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = QueuePage)]
#[serde(rename_all = "camelCase")]
struct Browsed<'a> {
    items: Vec<MessageOut<'a>>,
    next_offset: u64,
    min_offset: u64,
    max_offset: u64,
}

/// Looks into one queue by offset
#[utoipa::path(get, path = "/v1/topics/{topic}/queues/{broker}/{queueId}/messages", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("broker" = String, Path), ("queueId" = u32, Path), ViewParams, ("offset" = Option<u64>, Query, description = "The oldest one if it is missing"), ("at" = Option<String>, Query, description = "Instead of an offset: `min`, `max`, or the first message stored at or after this time"), ("limit" = Option<u32>, Query, minimum = 1, maximum = 500)), responses((status = 200, description = "Messages from the offset on", body = Browsed)))]
pub(super) async fn pull_messages(
    State(state): Shared,
    Segments((topic, broker, queue_id)): Segments<(String, String, String)>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let view = View::take(&mut query)?;
    let offset: Option<u64> = query.take_number("offset")?;
    let position = query.take("at")?.map(|at| position(&at, Boundary::Lower)).transpose()?;
    if offset.is_some() && position.is_some() {
        return Err(invalid_query("at", "and offset are one too many: give one"));
    }
    query.not_built("wait")?;
    let limit = query.take_number("limit")?.unwrap_or(LIMIT_DEFAULT);
    query.end()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid_query("limit", "must be 1 to 500"));
    }
    let queue_id = queue_of(&state, broker, &queue_id)?;
    let offset = match position {
        None => offset,
        Some(position) => {
            let query = QueryOffset { topic: topic.clone(), queue_id, position };
            Some(state.messaging.broker.query_offset(query).await?.0)
        }
    };
    let pull = PullMessages {
        topic,
        queue_id,
        offset: QueueOffset(offset.unwrap_or(0)),
        messages_max: limit,
        bytes_max: PAGE_BYTES_MAX,
    };
    let pulled = match state.messaging.broker.pull_messages(pull.clone()).await {
        // Who names no offset begins with the oldest message there is.
        Err(BrokerError::OffsetExpired { min }) if offset.is_none() => {
            state.messaging.broker.pull_messages(PullMessages { offset: min, ..pull }).await?
        }
        pulled => pulled?,
    };
    let items = pulled.messages.iter().map(|message| MessageOut::stored(message, &state.broker_name, view)).collect();
    let (next_offset, min_offset) = (pulled.next_offset.0, pulled.min_offset.0);
    Ok(json(StatusCode::OK, &Browsed { items, next_offset, min_offset, max_offset: pulled.max_offset.0 }))
}

#[derive(Serialize, ToSchema)]
struct OffsetOut {
    offset: u64,
    /// Which message a time meant; null for `min` and `max`.
    boundary: Option<&'static str>,
}

/// The offset of a queue that a time or an end of it stands for
#[utoipa::path(get, path = "/v1/topics/{topic}/queues/{broker}/{queueId}/offset", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("broker" = String, Path), ("queueId" = u32, Path), ("at" = String, Query, description = "`min`, `max`, or a time: RFC 3339, or milliseconds since 1970"), ("boundary" = Option<String>, Query, description = "With a time: `lower`, if it is missing, is the first message stored then or later; `upper` the last one stored then or earlier")), responses((status = 200, description = "The offset; the queue's end if all messages are older", body = OffsetOut)))]
pub(super) async fn query_offset(
    State(state): Shared,
    Segments((topic, broker, queue_id)): Segments<(String, String, String)>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let at = query.take("at")?.ok_or_else(|| invalid_query("at", "is missing: min, max or a time"))?;
    let (boundary, word) = match query.take("boundary")?.as_deref() {
        None | Some("lower") => (Boundary::Lower, "lower"),
        Some("upper") => (Boundary::Upper, "upper"),
        Some(_) => return Err(invalid_query("boundary", "must be lower or upper")),
    };
    query.end()?;
    let queue_id = queue_of(&state, broker, &queue_id)?;
    let position = position(&at, boundary)?;
    let offset = state.messaging.broker.query_offset(QueryOffset { topic, queue_id, position }).await?;
    let boundary = matches!(position, OffsetPosition::Time(..)).then_some(word);
    Ok(json(StatusCode::OK, &OffsetOut { offset: offset.0, boundary }))
}

fn position(at: &str, boundary: Boundary) -> Result<OffsetPosition, GatewayError> {
    Ok(match at {
        "min" => OffsetPosition::Min,
        "max" => OffsetPosition::Max,
        time => OffsetPosition::Time(parse_timestamp(time, FieldAt::Query("at".into()))?, boundary),
    })
}

/// The queue that a path names.
fn queue_of(state: &RestState, broker: String, queue_id: &str) -> Result<QueueId, GatewayError> {
    let at = FieldAt::Path("queueId");
    let no_number = |_| GatewayError::InvalidParameter { at, reason: "the queue id is no whole number".into() };
    let queue_id = queue_id.parse().map_err(no_number)?;
    if broker != state.broker_name {
        return Err(GatewayError::BrokerNotFound { broker });
    }
    Ok(QueueId(queue_id))
}
