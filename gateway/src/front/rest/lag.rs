//! How far consumer groups are: one group with its topics and queues, and in short for lists.

use axum::extract::State;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::ConsumeProgress;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::TimeParams;
use super::request::{Query, Segments, consumer_group, invalid_query, json, topic_name};
use super::units::Time;
use super::{Answer, RestState, Shared};
use crate::error::GatewayError;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupLag {
    /// Stored and not acked, over all topics.
    total_lag: u64,
    /// Age of the oldest message that is not acked; null if nothing is behind.
    delay_ms: Option<u64>,
    /// Taken and not acked, over all topics.
    inflight: u64,
    /// Of those, delivered before.
    retry: u64,
    /// Messages in the group's dead letter queue.
    dead_letters: u64,
    topics: Vec<TopicLag>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TopicLag {
    topic: String,
    /// Stored and not acked.
    lag: u64,
    /// Stored and not taken by anybody.
    ready: u64,
    /// Taken and not acked.
    inflight: u64,
    /// Of those, delivered before.
    retry: u64,
    /// The most deliveries that a message in flight has had; 0 if nothing is.
    delivery_attempt_max: u32,
    /// When the next message in flight comes back that has not come back yet.
    next_visible_at: Option<Time>,
    /// Age of the oldest message that is not acked; null if nothing is behind.
    delay_ms: Option<u64>,
    queues: Vec<QueueLag>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueueLag {
    broker_name: String,
    queue_id: u32,
    broker_offset: u64,
    /// Everything below is acked; null before the first receive.
    consumer_offset: Option<u64>,
    /// The next message that nobody of the group has taken.
    pull_offset: Option<u64>,
    inflight: u64,
    /// Of those, delivered before.
    retry: u64,
    lag: u64,
    /// Nothing new is handed out before something in flight is settled: the window over the queue is full, in order of
    /// messages whose message groups all have something in flight.
    stands_still: bool,
}

impl QueueLag {
    fn new(state: &RestState, queue: &ConsumeProgress) -> QueueLag {
        QueueLag {
            broker_name: state.broker_name.clone(),
            queue_id: queue.queue_id.0,
            broker_offset: queue.max_offset.0,
            consumer_offset: queue.consume_offset.map(|offset| offset.0),
            pull_offset: queue.next_offset.map(|offset| offset.0),
            inflight: queue.in_flight,
            retry: queue.redelivered,
            lag: queue.lag(),
            stands_still: queue.stands_still,
        }
    }
}

/// What lists say of how far somebody is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) lag: u64,
    pub(super) ready: u64,
    pub(super) inflight: u64,
    pub(super) retry: u64,
    pub(super) attempt_max: u32,
    pub(super) next_visible: Option<Timestamp>,
    oldest: Option<Timestamp>,
}

impl Behind {
    fn of(progress: &[ConsumeProgress]) -> Behind {
        progress.iter().fold(Behind::default(), |sum, queue| {
            sum.and(Behind {
                lag: queue.lag(),
                ready: queue.ready,
                inflight: queue.in_flight,
                retry: queue.redelivered,
                attempt_max: queue.attempt_max,
                next_visible: queue.next_visible,
                oldest: queue.oldest_behind,
            })
        })
    }

    pub(super) fn and(self, other: Behind) -> Behind {
        Behind {
            lag: self.lag + other.lag,
            ready: self.ready + other.ready,
            inflight: self.inflight + other.inflight,
            retry: self.retry + other.retry,
            attempt_max: self.attempt_max.max(other.attempt_max),
            next_visible: [self.next_visible, other.next_visible].into_iter().flatten().min(),
            oldest: [self.oldest, other.oldest].into_iter().flatten().min(),
        }
    }

    pub(super) fn delay_ms(&self, now: Timestamp) -> Option<u64> {
        self.oldest.map(|oldest| u64::try_from(now.0 - oldest.0).unwrap_or(0))
    }
}

/// One pair for a list. `None` if group or topic has just been deleted.
pub(super) async fn behind(
    state: &RestState,
    group: &ConsumerGroup,
    topic: &TopicName,
) -> Result<Option<Behind>, GatewayError> {
    match state.messaging.broker.query_consume_offsets(group.clone(), topic.clone()).await {
        Ok(progress) => Ok(Some(Behind::of(&progress))),
        Err(BrokerError::ConsumerGroupNotFound { .. } | BrokerError::TopicNotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How many messages a group has given up. Its queue is made with the first.
pub(super) async fn dead_letters(state: &RestState, group: &ConsumerGroup) -> Result<u64, GatewayError> {
    match state.messaging.broker.topic_stats(TopicName::dead_letter_queue(group)).await {
        Ok(stats) => Ok(stats.messages),
        Err(BrokerError::TopicNotFound { .. }) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// How far a consumer group is, by topic and queue
#[utoipa::path(get, path = "/v1/groups/{group}/lag", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("topic" = Option<String>, Query, description = "One topic alone"), ("perQueue" = Option<bool>, Query, description = "`false` leaves the queues out"), TimeParams), responses((status = 200, description = "Its lag in messages and in time", body = GroupLag)))]
pub(super) async fn query_consume_offsets(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let group = consumer_group(&group)?;
    let topic = query.take("topic")?.map(|topic| topic_name(&topic)).transpose()?;
    let per_queue = match query.take("perQueue")?.as_deref() {
        None | Some("true" | "") => true,
        Some("false") => false,
        Some(_) => return Err(invalid_query("perQueue", "must be true or false")),
    };
    let as_ms = query.take_time_format()?;
    query.end()?;
    Ok(json(StatusCode::OK, &group_lag(&state, group, topic, per_queue, as_ms).await?))
}

/// How far a group is with one topic, or with all that it has received from.
pub(super) async fn group_lag(
    state: &RestState,
    group: ConsumerGroup,
    topic: Option<TopicName>,
    per_queue: bool,
    as_ms: bool,
) -> Result<GroupLag, GatewayError> {
    let broker = &state.messaging.broker;
    // A topic that is asked for is answered also before the group's first receive from it.
    let topics = match topic {
        Some(topic) => vec![topic],
        None => {
            let consumptions = broker.list_consumptions(Some(group.clone()), None).await?;
            consumptions.into_iter().map(|consumption| consumption.topic).collect()
        }
    };
    let now = state.now();
    let (mut total, mut lags) = (Behind::default(), Vec::with_capacity(topics.len()));
    for topic in topics {
        let progress = broker.query_consume_offsets(group.clone(), topic.clone()).await?;
        let behind = Behind::of(&progress);
        total = total.and(behind);
        lags.push(TopicLag {
            topic: topic.to_string(),
            lag: behind.lag,
            ready: behind.ready,
            inflight: behind.inflight,
            retry: behind.retry,
            delivery_attempt_max: behind.attempt_max,
            next_visible_at: behind.next_visible.map(|at| Time { at, as_ms }),
            delay_ms: behind.delay_ms(now),
            queues: progress.iter().filter(|_| per_queue).map(|queue| QueueLag::new(state, queue)).collect(),
        });
    }
    Ok(GroupLag {
        total_lag: total.lag,
        delay_ms: total.delay_ms(now),
        inflight: total.inflight,
        retry: total.retry,
        dead_letters: dead_letters(state, &group).await?,
        topics: lags,
    })
}
