//! What consumer groups have taken and not settled: which message, how often it was delivered, and when it comes back.
//!
//! Pages are cut by place, so that one that is settled meanwhile moves no other.

use std::fmt;

use axum::extract::State;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{InFlight, ListInFlight};
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::list::{Items, Listing, PageWish};
use super::openapi::TimeParams;
use super::request::{Query, Segments, consumer_group, json, topic_name};
use super::units::Time;
use super::{Answer, RestState, Shared};

/// A message that was taken and not acked.
#[derive(Serialize, ToSchema)]
#[schema(as = InFlightMessage)]
#[serde(rename_all = "camelCase")]
struct InFlightOut {
    topic: String,
    broker_name: String,
    queue_id: u32,
    queue_offset: u64,
    /// Deliveries counted so far.
    delivery_attempt: u32,
    /// From here on it may be delivered again.
    invisible_until: Time,
    /// That time is over, and nobody has taken it again.
    came_back: bool,
    /// This and what follows are missing if the message is not kept any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    store_timestamp: Option<Time>,
}

impl InFlightOut {
    fn new(state: &RestState, topic: &TopicName, in_flight: &InFlight, as_ms: bool) -> InFlightOut {
        let message = in_flight.message.as_ref();
        InFlightOut {
            topic: topic.to_string(),
            broker_name: state.broker_name.clone(),
            queue_id: in_flight.queue_id.0,
            queue_offset: in_flight.queue_offset.0,
            delivery_attempt: in_flight.delivery_attempt,
            invisible_until: Time { at: in_flight.invisible_until, as_ms },
            came_back: in_flight.came_back,
            message_id: message.map(|message| match message.unique_key() {
                Some(key) => key.to_string(),
                None => message.offset_message_id(),
            }),
            tag: message.and_then(|message| message.tag()).map(str::to_string),
            keys: message.into_iter().flat_map(|message| message.keys()).map(str::to_string).collect(),
            message_group: message.and_then(|message| message.message_group()).map(str::to_string),
            store_timestamp: message.map(|message| Time { at: message.store_timestamp, as_ms }),
        }
    }
}

/// Where a page ended.
struct Position {
    topic: TopicName,
    queue_id: QueueId,
    offset: QueueOffset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.topic, self.queue_id.0, self.offset.0)
    }
}

impl Position {
    fn parse(text: &str) -> Option<Position> {
        let mut words = text.split(' ');
        let topic = topic_name(words.next()?).ok()?;
        let (queue_id, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Position { topic, queue_id: QueueId(queue_id), offset: QueueOffset(offset) })
    }
}

/// What a consumer group has taken and not acked, by topic, queue and offset
#[utoipa::path(get, path = "/v1/groups/{group}/inflight", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("topic" = Option<String>, Query, description = "One topic alone"), TimeParams, ("limit" = Option<u32>, Query, minimum = 1, maximum = 500), ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before")), responses((status = 200, description = "A page of messages in flight", body = Items<InFlightOut>)))]
pub(super) async fn list_in_flight(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let group = consumer_group(&group)?;
    let topic = query.take("topic")?.map(|topic| topic_name(&topic)).transpose()?;
    let as_ms = query.take_time_format()?;
    let page = PageWish::take(&mut query)?;
    query.end()?;
    let listing = Listing::new("inflight", format!("{group} {}", topic.as_ref().map_or("", TopicName::as_str)));
    let mut position = page.position(&state, &listing, Position::parse)?;
    let broker = &state.messaging.broker;
    // A topic that is asked for must exist, whether or not the group has ever received from it.
    let topics: Vec<TopicName> = match topic {
        Some(topic) => vec![topic],
        None => {
            let consumptions = broker.list_consumptions(Some(group.clone()), None).await?;
            consumptions.into_iter().map(|consumption| consumption.topic).collect()
        }
    };
    let only = topics.len() == 1;
    let mut items = Vec::new();
    let mut more = false;
    for topic in topics {
        let after = match &position {
            Some(position) if topic < position.topic => continue,
            Some(position) if topic == position.topic => Some((position.queue_id, position.offset)),
            _ => None,
        };
        // One more than fits says whether a page follows.
        let left = page.limit - items.len() as u32;
        let list = ListInFlight { consumer_group: group.clone(), topic: topic.clone(), after, messages_max: left + 1 };
        let found = match broker.list_in_flight(list).await {
            // Deleted since the list was made.
            Err(BrokerError::TopicNotFound { .. }) if !only => continue,
            found => found?,
        };
        more = found.len() > left as usize;
        for in_flight in found.iter().take(left as usize) {
            items.push(InFlightOut::new(&state, &topic, in_flight, as_ms));
            let (queue_id, offset) = (in_flight.queue_id, in_flight.queue_offset);
            position = Some(Position { topic: topic.clone(), queue_id, offset });
        }
        if more {
            break;
        }
    }
    let next_cursor = position.filter(|_| more).map(|position| listing.cursor(&state, position));
    Ok(json(StatusCode::OK, &Items { items, next_cursor }))
}
