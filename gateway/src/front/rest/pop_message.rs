//! Receiving: messages on a lease, as JSON, or one as raw bytes with its metadata in headers.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{
    INVISIBLE_DURATION_MAX, INVISIBLE_DURATION_MIN, LeaseLength, POP_MESSAGES_MAX, PopMessages,
};
use gantry_broker_core::delivery::filter::Filter;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::message_json::{MessageOut, View};
use super::request::{
    Query, Segments, consumer_group, invalid_field, json, prefer_wait, read_json, topic_name, within_budget,
};
use super::units::parse_duration;
use super::{Answer, Shared, headers};
use crate::error::{FieldAt, GatewayError};
use crate::messaging::ReceivedMessage;

const RAW: &str = "application/vnd.gantry.raw";
const INVISIBLE_DEFAULT: Duration = Duration::from_secs(60);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Receive {
    topic: Option<String>,
    max_messages: Option<u32>,
    invisible_duration: Option<String>,
    filter: Option<FilterIn>,
    attempt_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterIn {
    r#type: Option<String>,
    expression: String,
}

#[derive(Serialize)]
struct Received<'a> {
    messages: Vec<MessageOut<'a>>,
}

/// POST /v1/groups/{group}/receive
pub(super) async fn pop_messages(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let group = consumer_group(&group)?;
    let view = View::take(&mut query)?;
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let is_raw = is_raw(&headers)?;
    let wait = prefer_wait(&headers)?;
    let in_query = from_query(&mut query)?;
    query.end()?;
    let in_body: Receive = read_json(&headers, body).await?;
    let receive = Receive {
        topic: in_body.topic.or(in_query.topic),
        max_messages: in_body.max_messages.or(in_query.max_messages),
        invisible_duration: in_body.invisible_duration.or(in_query.invisible_duration),
        filter: in_body.filter.or(in_query.filter),
        attempt_id: in_body.attempt_id.or(in_query.attempt_id),
    };
    let mut pop = read(receive, group)?;
    if is_raw {
        pop.messages_max = 1;
    }
    let waiting = wait.unwrap_or_default();
    let received = within_budget(&headers, waiting, state.messaging.pop_messages(pop, waiting)).await?;
    let mut response = if is_raw {
        received.into_iter().next().map_or_else(|| StatusCode::NO_CONTENT.into_response(), raw)
    } else {
        let messages = received.iter().map(|received| MessageOut::received(received, view)).collect();
        json(StatusCode::OK, &Received { messages })
    };
    if wait.is_some()
        && let Ok(applied) = HeaderValue::from_str(&format!("wait={}", waiting.as_secs()))
    {
        response.headers_mut().insert("preference-applied", applied);
    }
    if state.messaging.is_draining() {
        response.headers_mut().insert("gantry-draining", HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn is_raw(headers: &HeaderMap) -> Result<bool, GatewayError> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()) else { return Ok(false) };
    let mut types = accept.split(',').map(|text| text.split(';').next().unwrap_or_default().trim());
    if types.clone().any(|text| text == RAW) {
        return Ok(true);
    }
    match types.any(|text| matches!(text, "" | "*/*" | "application/*" | "application/json")) {
        true => Ok(false),
        false => Err(GatewayError::NotAcceptable { accept: accept.to_string() }),
    }
}

fn from_query(query: &mut Query) -> Result<Receive, GatewayError> {
    let filter_type = query.take("filterType")?;
    Ok(Receive {
        topic: query.take("topic")?,
        max_messages: query.take_number("maxMessages")?,
        invisible_duration: query.take("invisibleDuration")?,
        filter: query.take("filter")?.map(|expression| FilterIn { r#type: filter_type, expression }),
        attempt_id: query.take("attemptId")?,
    })
}

fn read(receive: Receive, group: gantry_broker_core::names::ConsumerGroup) -> Result<PopMessages, GatewayError> {
    let topic = receive.topic.ok_or_else(|| invalid_field("/topic", "is missing"))?;
    let topic = topic_name(&topic)?;
    let messages_max = receive.max_messages.unwrap_or(1);
    if !(1..=POP_MESSAGES_MAX).contains(&messages_max) {
        return Err(invalid_field("/maxMessages", format_args!("must be 1 to {POP_MESSAGES_MAX}")));
    }
    let invisible = match &receive.invisible_duration {
        None => INVISIBLE_DEFAULT,
        Some(text) => parse_duration(text, FieldAt::Pointer("/invisibleDuration".into()))?,
    };
    let (min, max) = (INVISIBLE_DURATION_MIN, INVISIBLE_DURATION_MAX);
    if !(min..=max).contains(&invisible) {
        return Err(BrokerError::InvalidInvisibleDuration { min, max }.into());
    }
    let filter = match &receive.filter {
        None => Filter::All,
        Some(filter) => match filter.r#type.as_deref() {
            None | Some("tag") => Filter::tags(&filter.expression)?,
            Some("sql92") => return Err(GatewayError::NotSupportedByBroker { what: "filtering by SQL92" }),
            Some(_) => return Err(invalid_field("/filter/type", "must be tag or sql92")),
        },
    };
    // An attempt id is about message groups, which no topic has yet.
    drop(receive.attempt_id);
    Ok(PopMessages { consumer_group: group, topic, messages_max, lease: LeaseLength::Exactly(invisible), filter })
}

fn raw(received: ReceivedMessage) -> Response {
    let mut response = Response::new(axum::body::Body::from(received.popped.message.body.clone()));
    headers::write(&received, response.headers_mut());
    response
}
