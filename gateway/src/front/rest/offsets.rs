//! Moving a consumer group by hand: to a time or an offset, past its backlog, or to where another group is.

use axum::extract::{Request, State};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{OffsetReset, QUEUES_MAX, ResetOffsets, ResetTo};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Fields;
use super::openapi::{CloneOffsetsIn, ResetOffsetsIn, SkipOffsetsIn};
use super::request::{Query, Segments, consumer_group, json, read_json, topic_name};
use super::{Answer, RestState, Shared};
use crate::error::GatewayError;

pub(super) const DRY_RUN: HeaderName = HeaderName::from_static("gantry-dry-run");

#[derive(Serialize, ToSchema)]
#[schema(as = OffsetsMoved)]
struct Moved<'a> {
    topic: String,
    queues: Vec<QueueMoved<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = QueueMoved)]
#[serde(rename_all = "camelCase")]
struct QueueMoved<'a> {
    broker_name: &'a str,
    queue_id: u32,
    /// Null before the group's first receive from this queue.
    #[schema(value_type = Option<u64>)]
    from: Option<u64>,
    to: u64,
    /// Messages that it is ahead of where it was, or behind.
    delta: i64,
}

/// Moves a group to a time, an offset, or an end of a topic
#[utoipa::path(post, path = "/v1/groups/{group}/offsets/reset", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("dryRun" = Option<bool>, Query, description = "Say what would be moved, and move nothing")), request_body = ResetOffsetsIn, responses((status = 200, description = "From where to where", body = Moved)))]
pub(super) async fn reset_offsets(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    moved(&state, &group, query, request, |fields| {
        let mut to = match fields.object("to")? {
            Some(to) => to,
            None => return Err(fields.refuse("to", "must name a timestamp, an offset or a position")),
        };
        let (timestamp, offset) = (to.time("timestamp")?, to.offset("offset")?);
        let position = to.word("position", &[("min", ResetToWord::Min), ("max", ResetToWord::Max)]);
        let target = match (timestamp, offset, position) {
            (Some(time), None, None) => ResetTo::Time(time),
            (None, Some(offset), None) => ResetTo::Offset(QueueOffset(offset)),
            (None, None, Some(ResetToWord::Min)) => ResetTo::Min,
            (None, None, Some(ResetToWord::Max)) => ResetTo::Max,
            _ => {
                // A position that is no word is still there, and named.
                to.end()?;
                return Err(fields.refuse("to", "must be one of timestamp, offset and position (min or max)"));
            }
        };
        to.end()?;
        Ok(target)
    })
    .await
}

#[derive(Clone, Copy)]
enum ResetToWord {
    Min,
    Max,
}

/// Passes over everything that a group is behind
#[utoipa::path(post, path = "/v1/groups/{group}/offsets/skip", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("dryRun" = Option<bool>, Query, description = "Say what would be skipped, and skip nothing")), request_body = SkipOffsetsIn, responses((status = 200, description = "From where to where", body = Moved)))]
pub(super) async fn skip_offsets(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    moved(&state, &group, query, request, |_| Ok(ResetTo::Max)).await
}

/// Moves a group to where another one is
#[utoipa::path(post, path = "/v1/groups/{group}/offsets/clone", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("dryRun" = Option<bool>, Query, description = "Say what would be moved, and move nothing")), request_body = CloneOffsetsIn, responses((status = 200, description = "From where to where; queues that the other group has never received from stay", body = Moved)))]
pub(super) async fn clone_offsets(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    moved(&state, &group, query, request, |fields| {
        let from = fields.text("fromGroup")?;
        let from = fields.required("fromGroup", from)?;
        Ok(ResetTo::Group(consumer_group(&from).map_err(|error| error.at_field(fields.at("fromGroup")))?))
    })
    .await
}

async fn moved(
    state: &RestState,
    group: &str,
    mut query: Query,
    request: Request,
    target: impl FnOnce(&mut Fields<'_>) -> Result<ResetTo, GatewayError>,
) -> Answer {
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    let consumer_group = consumer_group(group)?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let mut fields = Fields::parse(&text)?;
    let topic = fields.text("topic")?;
    let topic = fields.required("topic", topic)?;
    let topic = topic_name(&topic).map_err(|error| error.at_field(fields.at("topic")))?;
    let to = target(&mut fields)?;
    let queues = queues(&mut fields, &state.broker_name)?;
    let force = fields.flag("force")?.unwrap_or_default();
    let at_queues = fields.at("queues");
    fields.end()?;
    let reset = ResetOffsets { consumer_group, topic: topic.clone(), to, queues, force, dry_run };
    let moved = state.messaging.broker.reset_offsets(reset).await.map_err(|error| match error {
        BrokerError::QueueNotFound { .. } => GatewayError::from(error).at_field(at_queues),
        error => error.into(),
    })?;
    let moved = moved.iter().map(|OffsetReset { queue_id, from, to }| QueueMoved {
        broker_name: &state.broker_name,
        queue_id: queue_id.0,
        from: from.map(|from| from.0),
        to: to.0,
        delta: from.map_or(0, |from| to.0.cast_signed() - from.0.cast_signed()),
    });
    let mut response = json(StatusCode::OK, &Moved { topic: topic.to_string(), queues: moved.collect() });
    if dry_run {
        response.headers_mut().insert(DRY_RUN, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `[{brokerName, queueId}, …]`: these queues alone.
fn queues(fields: &mut Fields<'_>, broker_name: &str) -> Result<Option<Vec<QueueId>>, GatewayError> {
    let Some(list) = fields.list("queues")? else { return Ok(None) };
    if list.is_empty() || list.len() > QUEUES_MAX as usize {
        return Err(fields.refuse("queues", format!("must be 1 to {QUEUES_MAX} queues")));
    }
    let read = |(number, one)| {
        let mut queue = Fields::of(one, format!("/queues/{number}"))?;
        let (broker, queue_id) = (queue.text("brokerName")?, queue.count("queueId")?);
        let broker = queue.required("brokerName", broker)?;
        if broker != broker_name {
            let error = GatewayError::BrokerNotFound { broker: broker.into_owned() };
            return Err(error.at_field(queue.at("brokerName")));
        }
        let queue_id = queue.required("queueId", queue_id)?;
        queue.end()?;
        Ok(QueueId(queue_id))
    };
    list.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}
