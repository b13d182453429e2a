//! Looking through a topic by time, over all its queues, or for a key; and the stored bytes of one message as a download.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{BrowseMessages, BrowsedMessages, QueryMessages};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{CommitLogOffset, QueueId};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::list::{Listing, PageWish};
use super::message_json::{MessageOut, View};
use super::openapi::{FilterType, Order, ViewParams};
use super::request::{Query, Segments, filter, invalid_query, json, topic_name};
use super::units::{Time, parse_timestamp};
use super::{Answer, RestState, Shared};
use crate::error::{FieldAt, GatewayError};

/// A page of large bodies ends here; the next one goes on.
const PAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// RocketMQ's own bound on what a query by key gives.
const KEY_LIMIT_MAX: u32 = 64;

#[derive(Serialize, ToSchema)]
#[schema(as = MessagePage)]
#[serde(rename_all = "camelCase")]
pub(super) struct BrowsedPage<'a> {
    items: Vec<MessageOut<'a>>,
    /// Goes on where this answer ends. With `order=asc` and no `to` it is always there: messages stored from now on
    /// come behind it.
    next_cursor: Option<String>,
    scan: Scan,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scan {
    /// Messages looked at, those that the filter did not want included.
    scanned: u64,
    /// Nothing that was asked for is left.
    complete: bool,
    from: Option<Time>,
    to: Option<Time>,
}

/// What a look takes and how it is cut into pages.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct Look {
    /// Stored at or after this time: RFC 3339, or milliseconds since 1970
    from: Option<String>,
    /// Stored before this time
    to: Option<String>,
    /// A tag expression, such as `a || b`
    tag: Option<String>,
    /// An expression, instead of `tag`
    filter: Option<String>,
    /// `tag` if it is missing
    #[param(inline)]
    filter_type: Option<FilterType>,
    /// `desc`, the newest first, if it is missing
    #[param(inline)]
    order: Option<Order>,
    /// One queue alone
    queue_id: Option<u32>,
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `nextCursor` of the page before
    cursor: Option<String>,
}

/// Looks through a topic by time, over all its queues
#[utoipa::path(get, path = "/v1/topics/{topic}/messages", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ViewParams, Look), responses((status = 200, description = "A page of messages", body = BrowsedPage)))]
pub(super) async fn browse_messages(State(state): Shared, Segments(topic): Segments<String>, query: Query) -> Answer {
    let topic = topic_name(&topic)?;
    browse(&state, topic, query, Missing::IsNotFound).await
}

/// What a look at a topic that does not exist comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    IsNotFound,
    /// It is made with its first message.
    IsEmpty,
}

pub(super) async fn browse(state: &RestState, topic: TopicName, mut query: Query, missing: Missing) -> Answer {
    let view = View::take(&mut query)?;
    let (from, to) = times(&mut query)?;
    let tag = query.take("tag")?.unwrap_or_default();
    let mut word =
        |name: &str| Ok::<_, GatewayError>(query.take(name)?.map(|text| (text, FieldAt::Query(name.into()))));
    let (kind, expression) = (word("filterType")?, word("filter")?);
    let filter_words = format!("{tag} {kind:?} {expression:?}");
    let filter = match tag.is_empty() {
        true => filter(kind, expression)?,
        false if kind.is_some() || expression.is_some() => {
            return Err(invalid_query("tag", "is a filter already: give one"));
        }
        false => Filter::tags(&tag).map_err(|_| invalid_query("tag", "is no tag expression"))?,
    };
    let newest_first = match query.take("order")?.as_deref() {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(_) => return Err(invalid_query("order", "must be asc or desc")),
    };
    let queue_id = query.take_number("queueId")?;
    let page = PageWish::take(&mut query)?;
    query.end()?;

    // Another incarnation of the topic is another look.
    let incarnation = match state.messaging.broker.describe_topic(topic.clone()).await {
        Ok(topic) => topic.incarnation,
        Err(BrokerError::TopicNotFound { .. }) if missing == Missing::IsEmpty => {
            let scan = Scan { scanned: 0, complete: true, from: None, to: None };
            return Ok(json(StatusCode::OK, &BrowsedPage { items: Vec::new(), next_cursor: None, scan }));
        }
        Err(error) => return Err(error.into()),
    };
    let look = format!("{topic} {incarnation:?} {newest_first} {queue_id:?} {from:?} {to:?} {filter_words}");
    let listing = Listing::new("browse", look);
    let position = page.position(state, &listing, |text| text.parse().ok().map(CommitLogOffset))?;
    let browse = BrowseMessages {
        topic,
        queue_id: queue_id.map(QueueId),
        from,
        to,
        filter,
        newest_first,
        position,
        messages_max: page.limit,
        bytes_max: PAGE_BYTES_MAX,
    };
    let seen = state.messaging.broker.browse_messages(browse).await?;
    let goes_on = !seen.complete || (!newest_first && to.is_none());
    let next_cursor = goes_on.then(|| listing.cursor(state, seen.position.0));
    Ok(browsed(state, &seen, view, (from, to), next_cursor))
}

/// What a look for a key takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(super) struct KeyLook {
    /// One of a message's keys, or its id
    #[param(min_length = 1)]
    key: String,
    /// Stored at or after this time: RFC 3339, or milliseconds since 1970
    from: Option<String>,
    /// Stored before this time
    to: Option<String>,
    #[param(minimum = 1, maximum = 64)]
    limit: Option<u32>,
    /// `nextCursor` of the page before
    cursor: Option<String>,
}

/// Looks for the messages that bear a key, the newest first
#[utoipa::path(get, path = "/v1/topics/{topic}/messages/by-key", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ViewParams, KeyLook), responses((status = 200, description = "A page of messages", body = BrowsedPage)))]
pub(super) async fn query_messages(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let view = View::take(&mut query)?;
    let key = query.take("key")?.unwrap_or_default();
    if key.is_empty() {
        return Err(invalid_query("key", "is missing: name the key to look for"));
    }
    let (from, to) = times(&mut query)?;
    let page = PageWish::take_at_most(&mut query, KEY_LIMIT_MAX)?;
    query.end()?;

    // Another incarnation of the topic is another look.
    let incarnation = state.messaging.broker.describe_topic(topic.clone()).await?.incarnation;
    let listing = Listing::new("by-key", format!("{topic} {incarnation:?} {from:?} {to:?} {key}"));
    let position = page.position(&state, &listing, |text| text.parse().ok().map(CommitLogOffset))?;
    let look = QueryMessages { topic, key, from, to, position, messages_max: page.limit, bytes_max: PAGE_BYTES_MAX };
    let seen = state.messaging.broker.query_messages(look).await?;
    Ok(browsed(&state, &seen, view, (from, to), (!seen.complete).then(|| listing.cursor(&state, seen.position.0))))
}

fn times(query: &mut Query) -> Result<(Option<Timestamp>, Option<Timestamp>), GatewayError> {
    let mut time =
        |name: &str| query.take(name)?.map(|text| parse_timestamp(&text, FieldAt::Query(name.into()))).transpose();
    Ok((time("from")?, time("to")?))
}

fn browsed(
    state: &RestState,
    seen: &BrowsedMessages,
    view: View,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    next_cursor: Option<String>,
) -> Response {
    let (scanned, complete) = (seen.scanned, seen.complete);
    let scan = Scan { scanned, complete, from: from.map(|at| view.time(at)), to: to.map(|at| view.time(at)) };
    let items = seen.messages.iter().map(|message| MessageOut::stored(message, &state.broker_name, view)).collect();
    json(StatusCode::OK, &BrowsedPage { items, next_cursor, scan })
}

/// The stored bytes of one message, as a download
#[utoipa::path(get, path = "/v1/topics/{topic}/messages/{messageId}/body", tag = "messages", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ("messageId" = String, Path)), responses((status = 200, description = "As they were stored", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn download_body(
    State(state): Shared,
    Segments((topic, message_id)): Segments<(String, String)>,
    query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    let message = state.messaging.broker.find_message(topic, message_id).await?;
    let mut response: Response = Body::from(message.body).into_response();
    let headers = response.headers_mut();
    // Whatever the bytes are, no browser shall run them.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"message-body.bin\""));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
