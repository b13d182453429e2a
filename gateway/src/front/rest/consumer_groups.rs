//! Consumer groups: create, change, describe, list, delete; and how far they are.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::IntoResponse;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{
    ConsumerGroupConfig, ConsumerGroupDescription, INVISIBLE_DURATION_MAX, INVISIBLE_DURATION_MIN, PutConsumerGroup,
    QUEUES_MAX, RETRY_WITHOUT_END, RetryPolicy, StartFrom,
};
use gantry_broker_core::names::ConsumerGroup;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::etag::{PutAnswer, Version, described, patch_when, put_done, put_planned, put_refused, put_when};
use super::json::Fields;
use super::lag::{Behind, GroupLag, behind, group_lag};
use super::list::{Items, Page};
use super::merge_patch::merged;
use super::offsets::DRY_RUN;
use super::openapi::{GroupIn, OffsetsIn, PageParams, PatchConditions, PutConditions};
use super::problem::Problem;
use super::request::{Query, Segments, consumer_group, json, read_json, topic_name};
use super::units::parse_duration;
use super::{Answer, RestState, Shared};
use crate::duration;
use crate::error::{FieldAt, GatewayError};

#[derive(Serialize, ToSchema)]
#[schema(as = ConsumerGroup)]
#[serde(rename_all = "camelCase")]
struct GroupOut {
    name: String,
    consume_enabled: bool,
    orderly: bool,
    broadcast_enabled: bool,
    /// Deliveries after the first before a message goes to the dead letter queue; -1 is without end.
    retry_max_times: i64,
    retry_policy: RetryPolicyOut,
    consume_timeout: String,
    retry_queues: u32,
    start_from: String,
    /// The topics it has received from; in lists that were asked for lag.
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<String>>,
    /// Stored and not acked; missing where it was not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_lag: Option<u64>,
    /// Taken and not acked; missing where it was not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    inflight: Option<u64>,
    /// Age of the oldest message that is not acked; null if nothing is behind, missing where it was not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    delay_ms: Option<Option<u64>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RetryPolicy)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum RetryPolicyOut {
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
            retry_max_times: match config.retry_max_times {
                RETRY_WITHOUT_END => -1,
                times => times.into(),
            },
            retry_policy: match &config.retry_policy {
                RetryPolicy::Customized(pauses) => {
                    RetryPolicyOut::Customized { next: pauses.iter().map(|pause| duration::format(*pause)).collect() }
                }
                RetryPolicy::Exponential { initial, max, multiplier } => RetryPolicyOut::Exponential {
                    initial: duration::format(*initial),
                    max: duration::format(*max),
                    multiplier: *multiplier,
                },
            },
            consume_timeout: duration::format(config.consume_timeout),
            retry_queues: config.retry_queues,
            start_from: match config.start_from {
                StartFrom::Young => "auto".into(),
                StartFrom::Min => "min".into(),
                StartFrom::Max => "max".into(),
                StartFrom::Time(at) => super::units::Time { at, as_ms: false }.text(),
            },
            topics: None,
            total_lag: None,
            inflight: None,
            delay_ms: None,
        }
    }
}

/// Creates a consumer group, or replaces its configuration
#[utoipa::path(put, path = "/v1/groups/{group}", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), PutConditions, ("dryRun" = Option<bool>, Query, description = "Say what would change, and change nothing")), request_body = GroupIn, responses((status = 200, description = "Replaced; with `dryRun`: what would change", body = PutAnswer<GroupOut>), (status = 201, description = "Created", body = PutAnswer<GroupOut>)))]
pub(super) async fn put_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let group = consumer_group(&group)?;
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let config = read(Fields::parse(&text)?, group.clone())?;
    let describe = || state.messaging.broker.describe_consumer_group(group.clone());
    let when = put_when(&parts.headers, async { Ok(Version::from(&describe().await?)) }).await?;
    let before = match dry_run {
        false => None,
        true => match describe().await {
            Err(BrokerError::ConsumerGroupNotFound { .. }) => None,
            known => Some(known?),
        },
    };
    done(&state, PutConsumerGroup { config, when, dry_run }, before).await
}

/// Changes what it names of a consumer group's configuration, and leaves the rest as it is
#[utoipa::path(patch, path = "/v1/groups/{group}", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), PatchConditions, ("dryRun" = Option<bool>, Query, description = "Say what would change, and change nothing")), request_body(content = GroupIn, content_type = "application/merge-patch+json"), responses((status = 200, description = "Changed; with `dryRun`: what would change", body = PutAnswer<GroupOut>)))]
pub(super) async fn patch_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let group = consumer_group(&group)?;
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let known = state.messaging.broker.describe_consumer_group(group.clone()).await?;
    let when = patch_when(&parts.headers, &Version::from(&known))?;
    let now = GroupOut::new(&known);
    let current = serde_json::json!({
        "consumeEnabled": now.consume_enabled, "orderly": now.orderly, "broadcastEnabled": now.broadcast_enabled,
        "retryMaxTimes": now.retry_max_times, "retryPolicy": now.retry_policy, "retryQueues": now.retry_queues,
        "consumeTimeout": now.consume_timeout, "startFrom": now.start_from,
    });
    let config = read(Fields::parse(&merged(current, &text, "retryPolicy")?)?, group)?;
    done(&state, PutConsumerGroup { config, when, dry_run }, Some(known)).await
}

/// `before`: what a dry run compares with.
async fn done(state: &RestState, put: PutConsumerGroup, before: Option<ConsumerGroupDescription>) -> Answer {
    let dry_run = put.dry_run;
    let (group, created) = state.messaging.broker.put_consumer_group(put).await.map_err(put_refused)?;
    let shown = GroupOut::new(&group);
    Ok(match dry_run {
        true => put_planned(before.as_ref().map(GroupOut::new), shown),
        false => put_done(&Version::from(&group), created, shown),
    })
}

/// RocketMQ's own limit.
const RETRY_TIMES_MAX: u32 = i32::MAX as u32;

/// A lease of this length must be possible.
const CONSUME_TIMEOUT: RangeInclusive<Duration> = INVISIBLE_DURATION_MIN..=INVISIBLE_DURATION_MAX;

fn read(mut fields: Fields<'_>, name: ConsumerGroup) -> Result<ConsumerGroupConfig, GatewayError> {
    let default = ConsumerGroupConfig::new(name);
    let config = ConsumerGroupConfig {
        consume_enabled: fields.flag("consumeEnabled")?.unwrap_or(default.consume_enabled),
        orderly: fields.flag("orderly")?.unwrap_or(default.orderly),
        broadcast_enabled: fields.flag("broadcastEnabled")?.unwrap_or(default.broadcast_enabled),
        retry_max_times: match fields.integer("retryMaxTimes")? {
            None => default.retry_max_times,
            Some(-1) => RETRY_WITHOUT_END,
            Some(times) => u32::try_from(times)
                .ok()
                .filter(|times| *times <= RETRY_TIMES_MAX)
                .ok_or_else(|| fields.refuse("retryMaxTimes", "must be -1 (without end) or 0 to 2147483647"))?,
        },
        retry_queues: fields.count("retryQueues")?.unwrap_or(default.retry_queues),
        consume_timeout: fields.duration("consumeTimeout")?.unwrap_or(default.consume_timeout),
        retry_policy: match fields.object("retryPolicy")? {
            Some(policy) => read_retry_policy(policy)?,
            None => default.retry_policy,
        },
        start_from: read_start_from(&mut fields)?.unwrap_or(default.start_from),
        consumer_group: default.consumer_group,
    };
    if !CONSUME_TIMEOUT.contains(&config.consume_timeout) {
        return Err(fields.refuse("consumeTimeout", "must be 10s to 12h"));
    }
    fields.not_built("brokers")?;
    fields.end()?;
    Ok(config)
}

fn read_retry_policy(mut policy: Fields<'_>) -> Result<RetryPolicy, GatewayError> {
    let kind = policy.text("type")?;
    let read = match &*policy.required("type", kind)? {
        "customized" => {
            let pauses = policy.texts("next")?;
            let pauses = policy.required("next", pauses)?;
            let pauses = pauses.iter().map(|pause| parse_duration(pause, policy.at("next")));
            RetryPolicy::Customized(pauses.collect::<Result<_, _>>()?)
        }
        "exponential" => {
            let (initial, max) = (policy.duration("initial")?, policy.duration("max")?);
            let multiplier = policy.decimal("multiplier")?;
            RetryPolicy::Exponential {
                initial: policy.required("initial", initial)?,
                max: policy.required("max", max)?,
                multiplier: policy.required("multiplier", multiplier)? as f32,
            }
        }
        _ => return Err(policy.refuse("type", "must be customized or exponential")),
    };
    policy.end()?;
    Ok(read)
}

/// A word, or else a time.
fn read_start_from(fields: &mut Fields<'_>) -> Result<Option<StartFrom>, GatewayError> {
    const WORDS: [(&str, StartFrom); 3] =
        [("auto", StartFrom::Young), ("min", StartFrom::Min), ("max", StartFrom::Max)];
    Ok(match fields.word("startFrom", &WORDS) {
        Some(word) => Some(word),
        None => fields.time("startFrom")?.map(StartFrom::Time),
    })
}

/// One consumer group
#[utoipa::path(get, path = "/v1/groups/{group}", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("If-None-Match" = Option<String>, Header)), responses((status = 200, description = "The group", body = GroupOut), (status = 304, description = "Not changed")))]
pub(super) async fn describe_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let group = consumer_group(&group)?;
    query.end()?;
    let group = state.messaging.broker.describe_consumer_group(group).await?;
    Ok(described(&headers, &Version::from(&group), &GroupOut::new(&group)))
}

/// Deletes a consumer group with its offsets
#[utoipa::path(delete, path = "/v1/groups/{group}", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("deleteOffsets" = Option<bool>, Query, description = "They always go"), ("dryRun" = Option<bool>, Query, description = "Say what would go, and change nothing")), responses((status = 200, description = "With `dryRun`: how far it is, which nobody knows afterwards", body = GroupLag), (status = 204, description = "Deleted")))]
pub(super) async fn delete_consumer_group(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let group = consumer_group(&group)?;
    // Offsets live and die with their group here.
    query.take_flag("deleteOffsets")?;
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    if dry_run {
        if group.is_system() {
            return Err(BrokerError::SystemConsumerGroup { consumer_group: group.to_string() }.into());
        }
        state.messaging.broker.describe_consumer_group(group.clone()).await?;
        let mut response = json(StatusCode::OK, &group_lag(&state, group, None, false, false).await?);
        response.headers_mut().insert(DRY_RUN, HeaderValue::from_static("true"));
        return Ok(response);
    }
    state.messaging.broker.delete_consumer_group(group).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Most pairs of group and topic that one page of a list asks for: what is beyond is not said.
const PAIRS_MAX: usize = 2_000;

/// Consumer groups by name
#[utoipa::path(get, path = "/v1/groups", tag = "groups", params(PageParams, ("lag" = Option<bool>, Query, description = "Also how far each is")), responses((status = 200, description = "A page of groups", body = Items<GroupOut>)))]
pub(super) async fn list_consumer_groups(State(state): Shared, mut query: Query) -> Answer {
    let with_lag = query.take_flag("lag")?;
    let page = Page::take(&state, "groups", &mut query)?;
    query.end()?;
    let broker = &state.messaging.broker;
    let groups = broker.list_consumer_groups().await?;
    let items = groups
        .iter()
        .filter(|group| page.include_system || !group.config.consumer_group.is_system())
        .map(GroupOut::new);
    let mut page = page.cut(&state, items, |group| &group.name);
    if with_lag {
        let consumptions = broker.list_consumptions(None, None).await?;
        let now = state.now();
        let mut pairs_left = PAIRS_MAX;
        for group in &mut page.items {
            // In the order of their groups' names.
            let first = consumptions.partition_point(|one| one.consumer_group.as_str() < group.name.as_str());
            let of_group = consumptions[first..].iter().take_while(|one| one.consumer_group.as_str() == group.name);
            let mut sum = Some(Behind::default());
            let mut topics = Vec::new();
            for consumption in of_group {
                topics.push(consumption.topic.to_string());
                if pairs_left == 0 {
                    sum = None;
                    continue;
                }
                pairs_left -= 1;
                if let Some(behind) = behind(&state, &consumption.consumer_group, &consumption.topic).await? {
                    sum = sum.map(|sum| sum.and(behind));
                }
            }
            group.topics = Some(topics);
            group.total_lag = sum.map(|sum| sum.lag);
            group.inflight = sum.map(|sum| sum.inflight);
            group.delay_ms = sum.map(|sum| sum.delay_ms(now));
        }
    }
    Ok(json(StatusCode::OK, &page))
}

/// How far a group says it is with one queue.
#[derive(Debug, PartialEq, Eq)]
struct OffsetIn {
    broker_name: String,
    queue_id: u32,
    offset: u64,
}

fn read_offsets(text: &[u8]) -> Result<Vec<OffsetIn>, GatewayError> {
    let mut fields = Fields::parse(text)?;
    let queues = fields.list("queues")?;
    let queues = fields.required("queues", queues)?;
    fields.end()?;
    if queues.len() > QUEUES_MAX as usize {
        let at = FieldAt::Pointer("/queues".into());
        let reason = format!("there are at most {QUEUES_MAX} queues");
        return Err(GatewayError::InvalidParameter { at, reason });
    }
    let read = |(number, json)| {
        let mut queue = Fields::of(json, format!("/queues/{number}"))?;
        let (broker_name, queue_id) = (queue.text("brokerName")?, queue.count("queueId")?);
        let offset = queue.offset("offset")?;
        let read = OffsetIn {
            broker_name: queue.required("brokerName", broker_name)?.into_owned(),
            queue_id: queue.required("queueId", queue_id)?,
            offset: queue.required("offset", offset)?,
        };
        queue.end()?;
        Ok(read)
    };
    queues.into_iter().enumerate().map(read).collect()
}

#[derive(Serialize, ToSchema)]
#[schema(as = OffsetResults)]
struct Updated {
    results: Vec<OneOf>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OffsetResult)]
#[serde(rename_all = "camelCase")]
struct OneOf {
    broker_name: String,
    queue_id: u32,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Says that everything below these offsets is consumed
#[utoipa::path(put, path = "/v1/groups/{group}/topics/{topic}/offsets", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$")), request_body = OffsetsIn, responses((status = 200, description = "All were taken", body = Updated), (status = 207, description = "Some were refused", body = Updated)))]
pub(super) async fn update_consume_offsets(
    State(state): Shared,
    Segments((group, topic)): Segments<(String, String)>,
    query: Query,
    request: Request,
) -> Answer {
    let (group, topic) = (consumer_group(&group)?, topic_name(&topic)?);
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let queues = read_offsets(&text)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::error_table::answer;
    use gantry_broker_core::clock::Timestamp;

    fn config(text: &str) -> Result<ConsumerGroupConfig, GatewayError> {
        read(Fields::parse(text.as_bytes())?, ConsumerGroup::from_client("g").unwrap())
    }

    #[test]
    fn a_group_has_defaults() {
        assert_eq!(config("{}").unwrap(), ConsumerGroupConfig::new(ConsumerGroup::from_client("g").unwrap()));
    }

    #[test]
    fn every_field_of_a_group_reads() {
        let text = r#"{"consumeEnabled":false,"orderly":true,"broadcastEnabled":false,"retryMaxTimes":3,
            "retryQueues":2,"consumeTimeout":"30s","startFrom":"min","retryPolicy":
            {"type":"exponential","initial":"1s","max":"1m","multiplier":1.5}}"#;
        let read = config(text).unwrap();
        assert!(!read.consume_enabled && read.orderly && !read.broadcast_enabled);
        assert_eq!((read.retry_max_times, read.retry_queues, read.start_from), (3, 2, StartFrom::Min));
        assert_eq!(read.consume_timeout, Duration::from_secs(30));
        let (initial, max) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(read.retry_policy, RetryPolicy::Exponential { initial, max, multiplier: 1.5 });
        let text = r#"{"retryPolicy":{"type":"customized","next":["1s","5s"]},"startFrom":1000}"#;
        let read = config(text).unwrap();
        assert_eq!(read.retry_policy, RetryPolicy::Customized(vec![Duration::from_secs(1), Duration::from_secs(5)]));
        assert_eq!(read.start_from, StartFrom::Time(Timestamp(1_000)));
        let time = config(r#"{"startFrom":"1970-01-01T00:00:01Z"}"#).unwrap().start_from;
        assert_eq!(time, StartFrom::Time(Timestamp(1_000)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, code, pointer) in [
            (r#"{"consumeTimeout":"9s"}"#, "invalid_parameter", "/consumeTimeout"),
            (r#"{"consumeTimeout":15}"#, "invalid_duration", "/consumeTimeout"),
            (r#"{"startFrom":"yesterday"}"#, "invalid_timestamp", "/startFrom"),
            (r#"{"retryPolicy":{"type":"odd"}}"#, "invalid_parameter", "/retryPolicy/type"),
            (r#"{"retryPolicy":{"type":"customized","next":["1"]}}"#, "invalid_duration", "/retryPolicy/next"),
            (r#"{"retryPolicy":{"type":"exponential","initial":"1s"}}"#, "invalid_parameter", "/retryPolicy/max"),
            (r#"{"retryPolicy":{"type":"customized","next":[],"max":"1s"}}"#, "unknown_field", "/retryPolicy/max"),
            (r#"{"brokers":["a"]}"#, "not_implemented", "/brokers"),
            (r#"{"orderly":1}"#, "invalid_parameter", "/orderly"),
        ] {
            let error = config(text).unwrap_err();
            assert_eq!((answer(&error).code, error.at()), (code, Some(&FieldAt::Pointer(pointer.into()))), "{text}");
        }
    }

    #[test]
    fn offsets_are_numbers_or_their_text() {
        let text =
            br#"{"queues":[{"brokerName":"b","queueId":1,"offset":7},{"brokerName":"b","queueId":2,"offset":"8"}]}"#;
        let offset = |queue_id, offset| OffsetIn { broker_name: "b".into(), queue_id, offset };
        assert_eq!(read_offsets(text).unwrap(), [offset(1, 7), offset(2, 8)]);
        for wrong in [
            "{}",
            r#"{"queues":[{"brokerName":"b","queueId":1}]}"#,
            r#"{"queues":[{"brokerName":"b","queueId":1,"offset":-1}]}"#,
            r#"{"queues":[{"brokerName":"b","queueId":1,"offset":1,"x":1}]}"#,
        ] {
            assert!(read_offsets(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
