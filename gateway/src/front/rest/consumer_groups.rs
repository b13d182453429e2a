//! Consumer groups: create, change, describe, list, delete; and how far they are.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::IntoResponse;
use gantry_broker_core::broker::{ConsumerGroupConfig, ConsumerGroupDescription, RetryPolicy, StartFrom};
use gantry_broker_core::names::ConsumerGroup;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::list::Page;
use super::problem::Problem;
use super::request::{
    Query, Segments, consumer_group, invalid_field, invalid_query, json, number_or_text, read_json, topic_name,
};
use super::topics::{Condition, is_known, put_when, version_of, with_etag};
use super::units::{format_duration, parse_duration, parse_timestamp};
use super::{Answer, Shared};
use crate::error::{FieldAt, GatewayError};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct GroupIn {
    consume_enabled: Option<bool>,
    orderly: Option<bool>,
    broadcast_enabled: Option<bool>,
    retry_max_times: Option<u32>,
    retry_policy: Option<RetryPolicyIn>,
    consume_timeout: Option<String>,
    retry_queues: Option<u32>,
    start_from: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "type", rename_all = "camelCase")]
enum RetryPolicyIn {
    Customized { next: Vec<String> },
    Exponential { initial: String, max: String, multiplier: f32 },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupOut {
    name: String,
    consume_enabled: bool,
    orderly: bool,
    broadcast_enabled: bool,
    retry_max_times: u32,
    retry_policy: RetryPolicyOut,
    consume_timeout: String,
    retry_queues: u32,
    start_from: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum RetryPolicyOut {
    Customized { next: Vec<String> },
    Exponential { initial: String, max: String, multiplier: f32 },
}

impl GroupOut {
    fn new(group: &ConsumerGroupDescription) -> GroupOut {
        let config = &group.config;
        GroupOut {
            name: config.consumer_group.to_string(),
            consume_enabled: config.consume_enabled,
            orderly: config.orderly,
            broadcast_enabled: config.broadcast_enabled,
            retry_max_times: config.retry_max_times,
            retry_policy: match &config.retry_policy {
                RetryPolicy::Customized(pauses) => {
                    RetryPolicyOut::Customized { next: pauses.iter().map(|pause| format_duration(*pause)).collect() }
                }
                RetryPolicy::Exponential { initial, max, multiplier } => RetryPolicyOut::Exponential {
                    initial: format_duration(*initial),
                    max: format_duration(*max),
                    multiplier: *multiplier,
                },
            },
            consume_timeout: format_duration(config.consume_timeout),
            retry_queues: config.retry_queues,
            start_from: match config.start_from {
                StartFrom::Young => "auto".into(),
                StartFrom::Min => "min".into(),
                StartFrom::Max => "max".into(),
                StartFrom::Time(at) => super::units::Time { at, as_ms: false }.text(),
            },
        }
    }
}

/// PUT /v1/groups/{group}
pub(super) async fn put_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    let group = consumer_group(&group)?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let config = read(read_json(&parts.headers, body).await?, group.clone())?;
    let when = match put_when(&parts.headers)? {
        Condition::When(when) => when,
        Condition::Etag(etag) => {
            let known = state.messaging.broker.describe_consumer_group(group).await?;
            version_of(&etag, known.incarnation, known.version, known.config.consumer_group.as_str())?
        }
    };
    let (group, created) = state.messaging.broker.put_consumer_group(config, when).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_etag(json(status, &GroupOut::new(&group)), group.incarnation, group.version))
}

fn read(group: GroupIn, name: ConsumerGroup) -> Result<ConsumerGroupConfig, GatewayError> {
    let mut config = ConsumerGroupConfig::new(name);
    let duration = |text: &str, pointer: &str| parse_duration(text, FieldAt::Pointer(pointer.into()));
    config.consume_enabled = group.consume_enabled.unwrap_or(config.consume_enabled);
    config.orderly = group.orderly.unwrap_or(config.orderly);
    config.broadcast_enabled = group.broadcast_enabled.unwrap_or(config.broadcast_enabled);
    config.retry_max_times = group.retry_max_times.unwrap_or(config.retry_max_times);
    config.retry_queues = group.retry_queues.unwrap_or(config.retry_queues);
    if let Some(text) = &group.consume_timeout {
        config.consume_timeout = duration(text, "/consumeTimeout")?;
        let range = Duration::from_secs(10)..=Duration::from_secs(12 * 3_600);
        if !range.contains(&config.consume_timeout) {
            return Err(invalid_field("/consumeTimeout", "must be 10s to 12h"));
        }
    }
    match &group.retry_policy {
        None => {}
        Some(RetryPolicyIn::Customized { next }) => {
            let pauses = next.iter().map(|text| duration(text, "/retryPolicy/next")).collect::<Result<_, _>>()?;
            config.retry_policy = RetryPolicy::Customized(pauses);
        }
        Some(RetryPolicyIn::Exponential { initial, max, multiplier }) => {
            config.retry_policy = RetryPolicy::Exponential {
                initial: duration(initial, "/retryPolicy/initial")?,
                max: duration(max, "/retryPolicy/max")?,
                multiplier: *multiplier,
            };
        }
    }
    if let Some(value) = &group.start_from {
        config.start_from = match value.as_str() {
            Some("auto") => StartFrom::Young,
            Some("min") => StartFrom::Min,
            Some("max") => StartFrom::Max,
            text => {
                let text = text.map_or_else(|| value.to_string(), str::to_string);
                StartFrom::Time(parse_timestamp(&text, FieldAt::Pointer("/startFrom".into()))?)
            }
        };
    }
    Ok(config)
}

/// GET /v1/groups/{group}
pub(super) async fn describe_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let group = consumer_group(&group)?;
    query.end()?;
    let group = state.messaging.broker.describe_consumer_group(group).await?;
    if is_known(&headers, group.incarnation, group.version) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), group.incarnation, group.version));
    }
    Ok(with_etag(json(StatusCode::OK, &GroupOut::new(&group)), group.incarnation, group.version))
}

/// DELETE /v1/groups/{group}
pub(super) async fn delete_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let group = consumer_group(&group)?;
    // Offsets live and die with their group here.
    query.take_flag("deleteOffsets")?;
    query.end()?;
    state.messaging.broker.delete_consumer_group(group).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// GET /v1/groups
pub(super) async fn list_consumer_groups(State(state): Shared, mut query: Query) -> Answer {
    let page = Page::take(&state, "groups", &mut query)?;
    query.end()?;
    let groups = state.messaging.broker.list_consumer_groups().await?;
    let items = groups
        .iter()
        .filter(|group| page.include_system || !group.config.consumer_group.is_system())
        .map(GroupOut::new);
    Ok(json(StatusCode::OK, &page.cut(&state, items, |group| &group.name)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lag {
    topic: String,
    lag: u64,
    inflight: u64,
    queues: Vec<QueueLag>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueLag {
    broker_name: String,
    queue_id: u32,
    broker_offset: u64,
    consumer_offset: Option<u64>,
    pull_offset: Option<u64>,
    inflight: u64,
    lag: u64,
}

/// GET /v1/groups/{group}/lag?topic=
pub(super) async fn query_consume_offsets(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let group = consumer_group(&group)?;
    let topic = query.take("topic")?.ok_or_else(|| invalid_query("topic", "is missing"))?;
    let topic = topic_name(&topic)?;
    query.take_flag("perQueue")?;
    query.end()?;
    let progress = state.messaging.broker.query_consume_offsets(group, topic.clone()).await?;
    let queues: Vec<QueueLag> = progress
        .iter()
        .map(|queue| {
            let floor = queue.consume_offset.unwrap_or(queue.min_offset);
            QueueLag {
                broker_name: state.broker_name.clone(),
                queue_id: queue.queue_id.0,
                broker_offset: queue.max_offset.0,
                consumer_offset: queue.consume_offset.map(|offset| offset.0),
                pull_offset: queue.next_offset.map(|offset| offset.0),
                inflight: queue.in_flight,
                lag: queue.max_offset.0.saturating_sub(floor.0),
            }
        })
        .collect();
    let lag = Lag {
        topic: topic.to_string(),
        lag: queues.iter().map(|queue| queue.lag).sum(),
        inflight: queues.iter().map(|queue| queue.inflight).sum(),
        queues,
    };
    Ok(json(StatusCode::OK, &lag))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Offsets {
    queues: Vec<OffsetIn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OffsetIn {
    broker_name: String,
    queue_id: u32,
    #[serde(deserialize_with = "number_or_text")]
    offset: u64,
}

#[derive(Serialize)]
struct Updated {
    results: Vec<OneOf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneOf {
    broker_name: String,
    queue_id: u32,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// PUT /v1/groups/{group}/topics/{topic}/offsets
pub(super) async fn update_consume_offsets(
    State(state): Shared,
    Segments((group, topic)): Segments<(String, String)>,
    query: Query,
    request: Request,
) -> Answer {
    let (group, topic) = (consumer_group(&group)?, topic_name(&topic)?);
    query.end()?;
    let (parts, body) = request.into_parts();
    let Offsets { queues } = read_json(&parts.headers, body).await?;
    let here = queues.iter().filter(|queue| queue.broker_name == state.broker_name);
    let offsets = here.map(|queue| (QueueId(queue.queue_id), QueueOffset(queue.offset))).collect();
    let mut updated = state.messaging.broker.update_consume_offsets(group, topic, offsets).await?.into_iter();
    let results: Vec<OneOf> = queues
        .into_iter()
        .map(|queue| {
            let outcome = if queue.broker_name == state.broker_name {
                updated.next().expect("one answer per queue").map_err(GatewayError::from)
            } else {
                Err(GatewayError::BrokerNotFound { broker: queue.broker_name.clone() })
            };
            let problem = outcome.err().map(|error| Problem::of_entry(&error));
            let status = problem.as_ref().map_or(204, |problem| problem.status);
            OneOf { broker_name: queue.broker_name, queue_id: queue.queue_id, status, problem }
        })
        .collect();
    let refused = results.iter().any(|result| result.problem.is_some());
    let status = if refused { StatusCode::MULTI_STATUS } else { StatusCode::OK };
    Ok(json(status, &Updated { results }))
}
