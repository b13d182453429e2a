//! Reading requests strictly: names out of the path, a query without unknown words, a body of bounded length.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use gantry_broker_core::BrokerError;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::units::parse_duration;
use crate::error::{FieldAt, GatewayError};
use crate::transport::steady_body::TooSlow;

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

/// A filter as requests name one: an expression, and `tag`, as it is if nothing is said, or `sql92`.
pub(super) fn filter(
    kind: Option<(String, FieldAt)>,
    expression: Option<(String, FieldAt)>,
) -> Result<Filter, GatewayError> {
    let compile = match kind.as_ref().map(|(kind, _)| kind.as_str()) {
        None | Some("tag") => Filter::tags,
        Some("sql92") => Filter::sql,
        Some(_) => {
            let (_, at) = kind.expect("it is another one");
            return Err(GatewayError::InvalidParameter { at, reason: "the filter's type must be tag or sql92".into() });
        }
    };
    match (kind, expression) {
        (_, Some((expression, at))) => compile(&expression).map_err(|error| GatewayError::from(error).at_field(at)),
        (Some((_, at)), None) => {
            Err(GatewayError::InvalidParameter { at, reason: "the filter has no expression".into() })
        }
        (None, None) => Ok(Filter::All),
    }
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

    /// A parameter that the API knows and this version does not serve.
    pub(super) fn not_built(&mut self, name: &str) -> Result<(), GatewayError> {
        match self.take(name)? {
            None => Ok(()),
            Some(_) => {
                let error = GatewayError::NotImplemented { what: format!("?{name}=") };
                Err(error.at_field(FieldAt::Query(name.into())))
            }
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
        return Err(too_large(len));
    }
    let mut body = body;
    let mut next = async || -> Result<Option<Bytes>, GatewayError> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| GatewayError::MalformedRequest {
                reason: TooSlow::under(&error).map_or("the body ended early".into(), TooSlow::to_string),
            })?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    };
    // Small bodies come in one piece, which is passed on as it is.
    let Some(first) = next().await? else { return Ok(Bytes::new()) };
    let Some(second) = next().await? else {
        return if first.len() > max { Err(too_large(first.len())) } else { Ok(first) };
    };
    let mut whole = BytesMut::with_capacity(announced.unwrap_or_default().max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(more) = piece {
        if whole.len() + more.len() > max {
            return Err(too_large(whole.len() + more.len()));
        }
        whole.extend_from_slice(&more);
        piece = next().await?;
    }
    Ok(whole.freeze())
}

/// Largest JSON body of an ordinary request.
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// The text of a JSON body; an empty one reads as `{}`.
pub(super) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Bytes, GatewayError> {
    let too_large = |_| GatewayError::RequestTooLarge { max: JSON_BYTES_MAX };
    let body = read_body(headers, body, JSON_BYTES_MAX, too_large).await?;
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    match media_type(headers).as_deref() {
        // The third is curl's default for -d; nothing else could have been meant.
        None | Some("application/json" | "application/merge-patch+json" | "application/x-www-form-urlencoded") => {
            Ok(body)
        }
        Some(other) => Err(GatewayError::UnsupportedMediaType { reason: format!("'{other}' is not application/json") }),
    }
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let text = text.split(';').next()?.trim();
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_ascii_lowercase()) })
}

/// Longest long poll.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// `Prefer: wait=N`, clamped to what is served.
pub(super) fn prefer_wait(headers: &HeaderMap) -> Result<Option<Duration>, GatewayError> {
    for value in headers.get_all("prefer") {
        let Ok(text) = value.to_str() else { continue };
        for preference in text.split([',', ';']) {
            let (name, seconds) = preference.split_once('=').unwrap_or((preference, ""));
            if !name.trim().eq_ignore_ascii_case("wait") {
                continue;
            }
            let reason = || format!("Prefer: wait={} must be whole seconds, 0 to 30", seconds.trim());
            let digits = seconds.trim().trim_matches('"');
            let seconds = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
                true => digits.parse::<u64>().ok(),
                false => None,
            };
            let seconds = seconds.ok_or_else(|| GatewayError::InvalidWait { reason: reason() })?;
            return Ok(Some(Duration::from_secs(seconds).min(WAIT_MAX)));
        }
    }
    Ok(None)
}

/// The time of a request that names none.
pub(super) const BUDGET_DEFAULT: Duration = Duration::from_secs(10);
const BUDGET_MAX: Duration = Duration::from_secs(60);

/// How long a request may take, from its head to its answer: `Gantry-Timeout`; a long poll comes on top.
pub(super) fn budget(headers: &HeaderMap) -> Result<Duration, GatewayError> {
    let budget = match headers.get("gantry-timeout") {
        None => BUDGET_DEFAULT,
        Some(text) => {
            let at = FieldAt::Header("Gantry-Timeout");
            let budget = parse_duration(text.to_str().unwrap_or_default(), at.clone())?;
            if budget.is_zero() {
                let reason = "a request cannot be answered in no time".to_string();
                return Err(GatewayError::InvalidDuration { at, reason });
            }
            budget.min(BUDGET_MAX)
        }
    };
    Ok(budget + prefer_wait(headers)?.unwrap_or_default())
}

/// Most answers fit: no growing in steps.
const ANSWER_BYTES: usize = 512;

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut body = Vec::with_capacity(ANSWER_BYTES);
    serde_json::to_writer(&mut body, value).expect("answers are plain values");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_broker_core::offset::QueueOffset;

    #[tokio::test]
    async fn a_body_is_read_whole_or_refused() {
        let read = async |pieces: &[&'static str], max| {
            let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from(*piece))).collect();
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            read_body(&HeaderMap::new(), body, max, |len| {
                BrokerError::InvalidOffset { max: QueueOffset(len as u64) }.into()
            })
            .await
            .map_err(|error| error.to_string())
        };
        assert_eq!(read(&[], 3).await.unwrap(), "");
        assert_eq!(read(&["abc"], 3).await.unwrap(), "abc");
        assert_eq!(read(&["a", "b", "c"], 3).await.unwrap(), "abc");
        assert!(read(&["abcd"], 3).await.unwrap_err().ends_with('4'));
        assert!(read(&["ab", "cd", "ef"], 3).await.unwrap_err().ends_with('4'));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
        let pending = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = read_body(&headers, pending, 3, |len| GatewayError::RequestTooLarge { max: len }).await;
        assert!(matches!(refused, Err(GatewayError::RequestTooLarge { max: 9 })), "known before anything is read");
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let refused = read_body(&headers, Body::empty(), 3, |len| GatewayError::RequestTooLarge { max: len }).await;
        assert!(matches!(refused, Err(GatewayError::UnsupportedMediaType { .. })));
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
        for wrong in ["wait=-1", "wait=x", "wait=", "wait=1.5", "wait", "wait=+1"] {
            assert!(matches!(wait(wrong), Err(GatewayError::InvalidWait { .. })), "{wrong}");
        }
    }
}
