//! Reading requests strictly: names out of the path, a query without unknown words, JSON without unknown fields.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gantry_broker_core::BrokerError;
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::units::parse_duration;
use crate::error::{FieldAt, GatewayError};

/// Path parameters, decoded once. What they hold is for the name types to judge.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = GatewayError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, GatewayError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Segments(segments)),
            Err(_) => Err(GatewayError::MalformedRequest { reason: "the path is not percent-encoded UTF-8".into() }),
        }
    }
}

pub(super) fn topic_name(text: &str) -> Result<TopicName, GatewayError> {
    TopicName::from_client(text).map_err(|error| BrokerError::InvalidTopic(error).into())
}

pub(super) fn consumer_group(text: &str) -> Result<ConsumerGroup, GatewayError> {
    ConsumerGroup::from_client(text).map_err(|error| BrokerError::InvalidConsumerGroup(error).into())
}

/// The query, to be taken apart word by word; what is left in the end is unknown.
pub(super) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = GatewayError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, GatewayError> {
        match axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(words)) => Ok(Query(words)),
            Err(_) => Err(GatewayError::MalformedRequest { reason: "the query cannot be read".into() }),
        }
    }
}

impl Query {
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, GatewayError> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(invalid_query(name, "is given twice"));
        }
        Ok(Some(value))
    }

    pub(super) fn take_flag(&mut self, name: &str) -> Result<bool, GatewayError> {
        match self.take(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(invalid_query(name, "must be true or false")),
        }
    }

    pub(super) fn take_number<N: std::str::FromStr>(&mut self, name: &str) -> Result<Option<N>, GatewayError> {
        let parse = |text: String| text.parse().map_err(|_| invalid_query(name, "must be a whole number"));
        self.take(name)?.map(parse).transpose()
    }

    /// `timeFormat=ms` flips every time of the answer.
    pub(super) fn take_time_format(&mut self) -> Result<bool, GatewayError> {
        match self.take("timeFormat")?.as_deref() {
            None | Some("rfc3339") => Ok(false),
            Some("ms") => Ok(true),
            Some(_) => Err(invalid_query("timeFormat", "must be ms or rfc3339")),
        }
    }

    pub(super) fn end(self) -> Result<(), GatewayError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(GatewayError::UnknownField { at: FieldAt::Query(name.clone()), name }),
        }
    }
}

pub(super) fn invalid_query(name: &str, reason: &str) -> GatewayError {
    GatewayError::InvalidParameter { at: FieldAt::Query(name.into()), reason: format!("{name} {reason}") }
}

pub(super) fn invalid_field(pointer: &str, reason: impl std::fmt::Display) -> GatewayError {
    let at = FieldAt::Pointer(pointer.into());
    GatewayError::InvalidParameter { at, reason: format!("{} {reason}", pointer.trim_start_matches('/')) }
}

/// The whole body, `max` bytes at most; `too_large` says what a larger one means here.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    too_large: impl FnOnce(usize) -> GatewayError,
) -> Result<Bytes, GatewayError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        let reason = "Content-Encoding is not supported: send the body as it is".to_string();
        return Err(GatewayError::UnsupportedMediaType { reason });
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
    if let Some(len) = announced
        && len > max
    {
        drain(body, max).await;
        return Err(too_large(len));
    }
    // Small bodies come in one piece, which is passed on as it is.
    let mut body = body;
    let mut pieces = Vec::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| GatewayError::MalformedRequest { reason: "the body ended early".into() })?;
        let Ok(piece) = frame.into_data() else { continue };
        read += piece.len();
        if read > max {
            drain(body, max).await;
            return Err(too_large(read));
        }
        pieces.push(piece);
    }
    match pieces.len() {
        1 => Ok(pieces.remove(0)),
        _ => Ok(pieces.concat().into()),
    }
}

/// Reads on without keeping anything, for as much again as was allowed: a client that is still writing would see a broken
/// connection instead of the answer.
async fn drain(mut body: Body, max: usize) {
    let mut left = max;
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        left = match left.checked_sub(len) {
            Some(left) => left,
            None => return,
        };
    }
}

/// Largest JSON body of an ordinary request.
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// A JSON body; an empty one reads as `{}`.
pub(super) async fn read_json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, GatewayError> {
    let body =
        read_body(headers, body, JSON_BYTES_MAX, |_| GatewayError::RequestTooLarge { max: JSON_BYTES_MAX }).await?;
    if body.is_empty() {
        return parse_json(b"{}", "");
    }
    match media_type(headers).as_deref() {
        // curl's default for -d; nothing else could have been meant.
        None | Some("application/json" | "application/x-www-form-urlencoded") => parse_json(&body, ""),
        Some(other) => Err(GatewayError::UnsupportedMediaType { reason: format!("'{other}' is not application/json") }),
    }
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next()?.trim().to_ascii_lowercase())
}

/// `parent` is the pointer to where the text stands.
pub(super) fn parse_json<'a, T: Deserialize<'a>>(text: &'a [u8], parent: &str) -> Result<T, GatewayError> {
    serde_json::from_slice(text).map_err(|error| json_error(&error, parent))
}

pub(super) fn json_error(error: &serde_json::Error, parent: &str) -> GatewayError {
    let text = error.to_string();
    let quoted = || text.split('`').nth(1).unwrap_or_default().to_string();
    let at = |name: &str| FieldAt::Pointer(format!("{parent}/{name}"));
    if error.classify() != serde_json::error::Category::Data || text.starts_with("duplicate field") {
        return GatewayError::MalformedRequest { reason: format!("the body is no proper JSON: {text}") };
    }
    if text.starts_with("unknown field") {
        let name = quoted();
        return GatewayError::UnknownField { at: at(&name), name };
    }
    if text.starts_with("missing field") {
        let name = quoted();
        return GatewayError::InvalidParameter { at: at(&name), reason: format!("{name} is missing") };
    }
    GatewayError::InvalidParameter { at: FieldAt::Pointer(parent.into()), reason: text }
}

/// A whole number, or its decimal text: offsets may pass what JavaScript counts exactly.
pub(super) fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(u64),
        Text(String),
    }
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => Ok(number),
        NumberOrText::Text(text) => text.parse().map_err(|_| serde::de::Error::custom("an offset is a whole number")),
    }
}

/// Longest long poll.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// `Prefer: wait=N`, clamped to what is served.
pub(super) fn prefer_wait(headers: &HeaderMap) -> Result<Option<Duration>, GatewayError> {
    for value in headers.get_all("prefer") {
        let Ok(text) = value.to_str() else { continue };
        for preference in text.split([',', ';']) {
            let Some((name, seconds)) = preference.split_once('=') else { continue };
            if !name.trim().eq_ignore_ascii_case("wait") {
                continue;
            }
            let reason = || format!("Prefer: wait={} must be whole seconds, 0 to 30", seconds.trim());
            let seconds: u64 =
                seconds.trim().trim_matches('"').parse().map_err(|_| GatewayError::InvalidWait { reason: reason() })?;
            return Ok(Some(Duration::from_secs(seconds).min(WAIT_MAX)));
        }
    }
    Ok(None)
}

const BUDGET_DEFAULT: Duration = Duration::from_secs(10);
const BUDGET_MAX: Duration = Duration::from_secs(60);

/// Runs a call inside its time: `Gantry-Timeout`, 10 s without it; a long poll comes on top.
pub(super) async fn within_budget<T>(
    headers: &HeaderMap,
    wait: Duration,
    call: impl Future<Output = Result<T, GatewayError>>,
) -> Result<T, GatewayError> {
    let budget = match headers.get("gantry-timeout") {
        None => BUDGET_DEFAULT,
        Some(text) => {
            let at = FieldAt::Header("Gantry-Timeout");
            parse_duration(text.to_str().unwrap_or_default(), at)?.min(BUDGET_MAX)
        }
    };
    match tokio::time::timeout(budget + wait, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(GatewayError::DeadlineExceeded { budget }),
    }
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("answers are plain values");
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Sample {
        #[serde(deserialize_with = "number_or_text")]
        offset: u64,
    }

    #[test]
    fn json_errors_name_what_is_wrong() {
        let parse = |text: &str| parse_json::<Sample>(text.as_bytes(), "/messages/1");
        assert_eq!(parse("{\"offset\":\"7\"}").unwrap().offset, 7);
        assert!(matches!(parse("{"), Err(GatewayError::MalformedRequest { .. })));
        assert!(matches!(parse("{\"offset\":1,\"offset\":2}"), Err(GatewayError::MalformedRequest { .. })));
        assert!(matches!(parse("{}"), Err(GatewayError::InvalidParameter { .. })));
        assert!(matches!(parse("{\"offset\":-1}"), Err(GatewayError::InvalidParameter { .. })));
        let Err(GatewayError::UnknownField { name, at }) = parse("{\"ofset\":1}") else { panic!("not refused") };
        assert_eq!((name.as_str(), at), ("ofset", FieldAt::Pointer("/messages/1/ofset".into())));
    }

    #[test]
    fn waits_are_whole_seconds_and_clamped() {
        let wait = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(text));
            prefer_wait(&headers)
        };
        assert_eq!(wait("wait=20").unwrap(), Some(Duration::from_secs(20)));
        assert_eq!(wait("respond-async, wait=99").unwrap(), Some(WAIT_MAX));
        assert_eq!(wait("respond-async").unwrap(), None);
        for wrong in ["wait=-1", "wait=x", "wait=", "wait=1.5"] {
            assert!(matches!(wait(wrong), Err(GatewayError::InvalidWait { .. })), "{wrong}");
        }
    }
}
