//! Receiving: messages on a lease, as JSON, or one as raw bytes with its metadata in headers.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{
    ATTEMPT_ID_BYTES_MAX, INVISIBLE_DURATION_MAX, INVISIBLE_DURATION_MIN, LeaseLength, POP_MESSAGES_MAX, PopMessages,
};
use gantry_broker_core::names::ConsumerGroup;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::handover::Handover;
use super::json::Fields;
use super::message_json::{MessageOut, View};
use super::openapi::{FilterType, ReceiveIn, ViewParams, Waiting};
use super::request::{Query, Segments, consumer_group, filter, prefer_wait, read_json, topic_name};
use super::units::parse_duration;
use super::{Answer, RestState, Shared, headers};
use crate::error::{FieldAt, GatewayError};
use crate::messaging::ReceivedMessage;

const RAW: &str = "application/vnd.gantry.raw";
const INVISIBLE_DEFAULT: Duration = Duration::from_secs(60);

#[derive(Serialize, ToSchema)]
struct Received<'a> {
    messages: Vec<MessageOut<'a>>,
}

/// Takes messages on a lease, waiting for a first one if asked to
#[utoipa::path(post, path = "/v1/groups/{group}/receive", tag = "receipts", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ViewParams, Waiting, ("topic" = Option<String>, Query), ("maxMessages" = Option<u32>, Query, minimum = 1, maximum = 32), ("invisibleDuration" = Option<String>, Query), ("filter" = Option<String>, Query, description = "An expression"), ("filterType" = inline(Option<FilterType>), Query, description = "`tag` if it is missing"), ("attemptId" = Option<String>, Query, description = "Names this receive: sent again with the same name, it gets the same messages again", min_length = 1, max_length = 128)), request_body = Option<ReceiveIn>, responses((status = 200, description = "Up to `maxMessages`; with `Accept: application/vnd.gantry.raw` the one message's own bytes, its metadata in headers", content((Received<'static> = "application/json"), (Vec<u8> = "*/*"))), (status = 204, description = "With `Accept: application/vnd.gantry.raw`: no message")))]
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
    let in_query = Receive::of_query(&mut query)?;
    query.end()?;
    let text = read_json(&headers, body).await?;
    let pop = Receive::of_body(&text)?.or(in_query)?.checked(group, is_raw)?;
    let waiting = wait.unwrap_or_default();
    let received = state.messaging.pop_messages(pop, waiting).await?;
    let mut response = if is_raw {
        raw(&state, received)
    } else {
        let messages = received.iter().map(|received| MessageOut::received(received, view)).collect();
        let text = serde_json::to_vec(&Received { messages }).expect("messages are plain values");
        let mut response = Response::new(Handover::body(text.into(), &state.messaging, received));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
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
    if types.clone().any(|text| text.starts_with("application/cloudevents")) {
        return Err(GatewayError::NotImplemented { what: "receiving as CloudEvents".into() });
    }
    match types.any(|text| matches!(text, "" | "*/*" | "application/*" | "application/json")) {
        true => Ok(false),
        false => Err(GatewayError::NotAcceptable { accept: accept.to_string() }),
    }
}

/// What a receive asks for, with the places where it says so.
#[derive(Default)]
struct Receive {
    topic: Option<(String, FieldAt)>,
    messages_max: Option<(i64, FieldAt)>,
    invisible: Option<(Duration, FieldAt)>,
    filter: Option<(String, FieldAt)>,
    filter_type: Option<(String, FieldAt)>,
    attempt_id: Option<(String, FieldAt)>,
}

impl Receive {
    fn of_body(text: &[u8]) -> Result<Receive, GatewayError> {
        let mut fields = Fields::parse(text)?;
        let mut receive = Receive {
            topic: fields.text("topic")?.map(|topic| (topic.into_owned(), fields.at("topic"))),
            messages_max: fields.integer("maxMessages")?.map(|count| (count, fields.at("maxMessages"))),
            invisible: fields.duration("invisibleDuration")?.map(|length| (length, fields.at("invisibleDuration"))),
            ..Receive::default()
        };
        if let Some(mut filter) = fields.object("filter")? {
            let expression = filter.text("expression")?;
            let expression = filter.required("expression", expression)?.into_owned();
            receive.filter = Some((expression, filter.at("expression")));
            receive.filter_type = filter.text("type")?.map(|kind| (kind.into_owned(), filter.at("type")));
            filter.end()?;
        }
        receive.attempt_id = fields.text("attemptId")?.map(|id| (id.into_owned(), fields.at("attemptId")));
        fields.end()?;
        Ok(receive)
    }

    fn of_query(query: &mut Query) -> Result<Receive, GatewayError> {
        let at = |name: &str| FieldAt::Query(name.into());
        let invisible = query.take("invisibleDuration")?;
        let invisible = invisible.map(|text| parse_duration(&text, at("invisibleDuration"))).transpose()?;
        Ok(Receive {
            topic: query.take("topic")?.map(|topic| (topic, at("topic"))),
            messages_max: query.take_number("maxMessages")?.map(|count| (count, at("maxMessages"))),
            invisible: invisible.map(|length| (length, at("invisibleDuration"))),
            filter: query.take("filter")?.map(|expression| (expression, at("filter"))),
            filter_type: query.take("filterType")?.map(|kind| (kind, at("filterType"))),
            attempt_id: query.take("attemptId")?.map(|id| (id, at("attemptId"))),
        })
    }

    /// Body and query together; nothing may be said in both.
    fn or(self, query: Receive) -> Result<Receive, GatewayError> {
        fn one<T>(
            body: Option<(T, FieldAt)>,
            query: Option<(T, FieldAt)>,
        ) -> Result<Option<(T, FieldAt)>, GatewayError> {
            match (body, query) {
                (Some(_), Some((_, at))) => {
                    let reason = "this is given in the body and in the query: give one".to_string();
                    Err(GatewayError::InvalidParameter { at, reason })
                }
                (body, query) => Ok(body.or(query)),
            }
        }
        Ok(Receive {
            topic: one(self.topic, query.topic)?,
            messages_max: one(self.messages_max, query.messages_max)?,
            invisible: one(self.invisible, query.invisible)?,
            filter: one(self.filter, query.filter)?,
            filter_type: one(self.filter_type, query.filter_type)?,
            attempt_id: one(self.attempt_id, query.attempt_id)?,
        })
    }

    fn checked(self, consumer_group: ConsumerGroup, is_raw: bool) -> Result<PopMessages, GatewayError> {
        let Some((topic, at)) = self.topic else {
            let at = FieldAt::Pointer("/topic".into());
            return Err(GatewayError::InvalidParameter { at, reason: "topic is missing".into() });
        };
        let topic = topic_name(&topic).map_err(|error| error.at_field(at))?;
        // A raw answer has room for one.
        let max = if is_raw { 1 } else { POP_MESSAGES_MAX };
        let messages_max = match self.messages_max {
            None => 1,
            Some((count, at)) => match u32::try_from(count) {
                Ok(count) if (1..=max).contains(&count) => count,
                _ => {
                    let reason = format!("maxMessages must be 1 to {max} here");
                    return Err(GatewayError::InvalidParameter { at, reason });
                }
            },
        };
        let (min, max) = (INVISIBLE_DURATION_MIN, INVISIBLE_DURATION_MAX);
        let invisible = match self.invisible {
            None => INVISIBLE_DEFAULT,
            Some((invisible, _)) if (min..=max).contains(&invisible) => invisible,
            Some((_, at)) => {
                let error = GatewayError::from(BrokerError::InvalidInvisibleDuration { min, max });
                return Err(error.at_field(at));
            }
        };
        let filter = filter(self.filter_type, self.filter)?;
        let attempt_id = match self.attempt_id {
            Some((id, at)) if id.is_empty() || id.len() > ATTEMPT_ID_BYTES_MAX => {
                let reason = format!("an attempt id has 1 to {ATTEMPT_ID_BYTES_MAX} bytes");
                return Err(GatewayError::InvalidParameter { at, reason });
            }
            id => id.map(|(id, _)| id.into_boxed_str()),
        };
        let lease = LeaseLength::Exactly(invisible);
        Ok(PopMessages { consumer_group, topic, messages_max, lease, filter, attempt_id })
    }
}

fn raw(state: &RestState, received: Vec<ReceivedMessage>) -> Response {
    let Some(first) = received.first() else { return StatusCode::NO_CONTENT.into_response() };
    let mut metadata = HeaderMap::new();
    headers::write(first, &mut metadata);
    let body = first.popped.message.body.clone();
    let mut response = Response::new(Handover::body(body, &state.messaging, received));
    *response.headers_mut() = metadata;
    response
}

#[cfg(test)]
mod tests {
    use gantry_broker_core::delivery::filter::Filter;

    use super::*;
    use crate::front::error_table::answer;

    fn read(body: &str, query: Receive, is_raw: bool) -> Result<PopMessages, GatewayError> {
        let group = ConsumerGroup::from_client("g").unwrap();
        Receive::of_body(body.as_bytes())?.or(query)?.checked(group, is_raw)
    }

    #[test]
    fn a_receive_has_defaults_and_bounds() {
        let pop = read(r#"{"topic":"t"}"#, Receive::default(), false).unwrap();
        assert_eq!((pop.messages_max, pop.lease), (1, LeaseLength::Exactly(INVISIBLE_DEFAULT)));
        assert_eq!(pop.filter, Filter::All);
        let text = r#"{"topic":"t","maxMessages":32,"invisibleDuration":"12h","attemptId":"a",
            "filter":{"type":"tag","expression":"a || b"}}"#;
        let pop = read(text, Receive::default(), false).unwrap();
        assert_eq!((pop.messages_max, pop.lease), (32, LeaseLength::Exactly(INVISIBLE_DURATION_MAX)));
        assert_eq!(pop.filter, Filter::tags("a || b").unwrap());
        let text = r#"{"topic":"t","filter":{"type":"sql92","expression":"a > 1"}}"#;
        assert_eq!(read(text, Receive::default(), false).unwrap().filter, Filter::sql("a > 1").unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, code, pointer) in [
            ("{}", "invalid_parameter", "/topic"),
            (r#"{"topic":"a.b"}"#, "invalid_topic", "/topic"),
            (r#"{"topic":"t","maxMessages":0}"#, "invalid_parameter", "/maxMessages"),
            (r#"{"topic":"t","maxMessages":33}"#, "invalid_parameter", "/maxMessages"),
            (r#"{"topic":"t","invisibleDuration":"9s"}"#, "invalid_invisible_duration", "/invisibleDuration"),
            (r#"{"topic":"t","invisibleDuration":"13h"}"#, "invalid_invisible_duration", "/invisibleDuration"),
            (r#"{"topic":"t","invisibleDuration":60}"#, "invalid_duration", "/invisibleDuration"),
            (r#"{"topic":"t","filter":{"type":"tag"}}"#, "invalid_parameter", "/filter/expression"),
            (r#"{"topic":"t","filter":{"expression":"a |"}}"#, "invalid_filter", "/filter/expression"),
            (r#"{"topic":"t","filter":{"type":"sql92","expression":"a ="}}"#, "invalid_filter", "/filter/expression"),
            (r#"{"topic":"t","filter":{"type":"sql92"}}"#, "invalid_parameter", "/filter/expression"),
            (r#"{"topic":"t","filter":{"type":"x","expression":"a"}}"#, "invalid_parameter", "/filter/type"),
            (r#"{"topic":"t","filter":{"expression":"a","typ":"tag"}}"#, "unknown_field", "/filter/typ"),
        ] {
            let error = read(text, Receive::default(), false).unwrap_err();
            assert_eq!((answer(&error).code, error.at()), (code, Some(&FieldAt::Pointer(pointer.into()))), "{text}");
        }
    }

    #[test]
    fn a_query_says_the_same_and_nothing_twice() {
        let query = || Receive {
            topic: Some(("t".into(), FieldAt::Query("topic".into()))),
            messages_max: Some((2, FieldAt::Query("maxMessages".into()))),
            ..Receive::default()
        };
        assert_eq!(read("{}", query(), false).unwrap().messages_max, 2);
        assert_eq!(read("{}", query(), true).unwrap_err().at(), Some(&FieldAt::Query("maxMessages".into())));
        assert_eq!(read(r#"{"topic":"t"}"#, query(), false).unwrap_err().at(), Some(&FieldAt::Query("topic".into())));
    }

    #[test]
    fn the_answer_is_raw_where_that_is_asked() {
        let accept = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(text));
            is_raw(&headers).map_err(|error| answer(&error).code)
        };
        assert_eq!(accept("text/plain, application/vnd.gantry.raw;q=1"), Ok(true));
        assert_eq!(accept("text/html, */*;q=0.1"), Ok(false));
        assert_eq!(accept("application/cloudevents-batch+json"), Err("not_implemented"));
        assert_eq!(accept("text/html"), Err("not_acceptable"));
    }
}
