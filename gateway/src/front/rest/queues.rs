//! Message queues: what they hold, and looking into one by offset.

use axum::extract::State;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::PullMessages;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::message_json::{MessageOut, View};
use super::openapi::{TimeParams, ViewParams};
use super::request::{Query, Segments, invalid_query, json, topic_name};
use super::units::Time;
use super::{Answer, Shared};
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
#[utoipa::path(get, path = "/v1/topics/{topic}/queues/{broker}/{queueId}/messages", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("broker" = String, Path), ("queueId" = u32, Path), ViewParams, ("offset" = Option<u64>, Query, description = "The oldest one if it is missing"), ("limit" = Option<u32>, Query, minimum = 1, maximum = 500)), responses((status = 200, description = "Messages from the offset on", body = Browsed)))]
pub(super) async fn pull_messages(
    State(state): Shared,
    Segments((topic, broker, queue_id)): Segments<(String, String, String)>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let view = View::take(&mut query)?;
    let offset: Option<u64> = query.take_number("offset")?;
    query.not_built("at")?;
    query.not_built("wait")?;
    let limit = query.take_number("limit")?.unwrap_or(LIMIT_DEFAULT);
    query.end()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid_query("limit", "must be 1 to 500"));
    }
    let queue_id = queue_id.parse().map_err(|_| GatewayError::InvalidParameter {
        at: FieldAt::Path("queueId"),
        reason: "the queue id is no whole number".into(),
    })?;
    if broker != state.broker_name {
        return Err(GatewayError::BrokerNotFound { broker });
    }
    let pull = PullMessages {
        topic,
        queue_id: QueueId(queue_id),
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
