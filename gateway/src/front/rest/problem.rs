//! Problem documents, RFC 9457: every error of the REST face.

use axum::body::Body;
use axum::response::Response;
use gantry_broker_core::BrokerError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::etag::etag_header;
use crate::error::{FieldAt, GatewayError};
use crate::front::call;
use crate::front::error_table::Outcome;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    r#type: String,
    title: &'static str,
    pub(super) status: u16,
    code: &'static str,
    detail: String,
    retryable: bool,
    outcome: &'static str,
    rocketmq_code: i32,
    /// The oldest offset there is, where an older one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_offset: Option<u64>,
    /// Byte of a filter expression, from 0, where it went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

#[derive(Serialize, ToSchema)]
struct FieldProblem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'static str>,
    code: &'static str,
    detail: String,
}

impl FieldProblem {
    fn new(at: &FieldAt, code: &'static str, detail: String) -> FieldProblem {
        let mut problem = FieldProblem { pointer: None, header: None, query: None, path: None, code, detail };
        match at {
            FieldAt::Pointer(pointer) => problem.pointer = Some(pointer.clone()),
            FieldAt::Header(header) => problem.header = Some(header),
            FieldAt::Query(query) => problem.query = Some(query.clone()),
            FieldAt::Path(path) => problem.path = Some(path),
        }
        problem
    }
}

impl Problem {
    /// One entry's part of an answer to many.
    pub(super) fn of_entry(error: &GatewayError) -> Problem {
        let answer = call::refused(error);
        let detail = public_detail(error);
        let field = error.at().map(|at| FieldProblem::new(at, answer.code, detail.clone()));
        Problem {
            r#type: format!("urn:gantry:error:{}", answer.code),
            title: answer.title,
            status: answer.http,
            code: answer.code,
            detail,
            retryable: answer.retryable,
            outcome: match answer.outcome {
                Outcome::NotApplied => "notApplied",
                Outcome::Unknown => "unknown",
            },
            rocketmq_code: answer.grpc as i32,
            min_offset: match error {
                GatewayError::Broker(BrokerError::OffsetExpired { min }) => Some(min.0),
                _ => None,
            },
            position: position(error),
            request_id: None,
            instance: None,
            errors: field.into_iter().collect(),
        }
    }
}

fn position(error: &GatewayError) -> Option<usize> {
    match error {
        GatewayError::At { error, .. } => position(error),
        GatewayError::Broker(BrokerError::InvalidFilter { at, .. }) => *at,
        _ => None,
    }
}

/// What a stranger may read. The reasons of a failing store name files; they stand in the log, under the request's id.
fn public_detail(error: &GatewayError) -> String {
    match error {
        GatewayError::At { error, .. } => public_detail(error),
        GatewayError::Internal { .. } | GatewayError::Broker(BrokerError::Storage { .. }) => {
            "something went wrong inside: the log says what, under the id of this request".into()
        }
        GatewayError::Broker(BrokerError::ReadOnly { .. }) => "the store has failed and takes nothing any more".into(),
        GatewayError::Broker(BrokerError::OutcomeUnknown { .. }) => {
            "the outcome is unknown: the message may be stored".into()
        }
        error => error.to_string(),
    }
}

/// `carrier` is the answer that brought the error here; what it allows stays.
pub(super) fn response(error: &GatewayError, carrier: &Response, request_id: &str) -> Response {
    let mut problem = Problem::of_entry(error);
    problem.request_id = Some(request_id.to_string());
    problem.instance = Some(format!("urn:gantry:request:{request_id}"));
    let status = StatusCode::from_u16(problem.status).expect("the table holds statuses");
    let body = serde_json::to_vec(&problem).expect("a problem is plain text and numbers");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(allow) = carrier.headers().get(header::ALLOW) {
        headers.insert(header::ALLOW, allow.clone());
    }
    if let GatewayError::Broker(BrokerError::VersionMismatch { incarnation, version, .. }) = error {
        headers.insert(header::ETAG, etag_header(*incarnation, *version));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    // 429: this caller shall slow down; 503: the system is short for a moment.
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        headers.insert("gantry-retry-after-ms", HeaderValue::from_static("200"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_broker_core::offset::QueueOffset;

    fn document(error: impl Into<GatewayError>) -> serde_json::Value {
        serde_json::to_value(Problem::of_entry(&error.into())).unwrap()
    }

    #[test]
    fn a_problem_has_the_members_of_the_reference() {
        let problem = document(BrokerError::TopicNotFound { topic: "ordres".into() });
        let expected = serde_json::json!({
            "type": "urn:gantry:error:topic_not_found",
            "title": "Topic not found",
            "status": 404,
            "code": "topic_not_found",
            "detail": "topic 'ordres' does not exist",
            "retryable": false,
            "outcome": "notApplied",
            "rocketmqCode": 40402,
        });
        assert_eq!(problem, expected);
    }

    #[test]
    fn errors_name_their_place() {
        for (at, name, place) in [
            (FieldAt::Pointer("/a/b".into()), "pointer", "/a/b"),
            (FieldAt::Header("Gantry-Tag"), "header", "Gantry-Tag"),
            (FieldAt::Query("limit".into()), "query", "limit"),
            (FieldAt::Path("queueId"), "path", "queueId"),
        ] {
            let problem = document(GatewayError::InvalidCursor.at_field(at));
            assert_eq!(problem["code"], "invalid_cursor");
            assert_eq!(problem["errors"][0][name], place);
            assert_eq!(problem["errors"][0]["code"], "invalid_cursor");
        }
    }

    #[test]
    fn an_expired_offset_says_where_the_queue_begins() {
        assert_eq!(document(BrokerError::OffsetExpired { min: QueueOffset(7) })["minOffset"], 7);
    }

    #[test]
    fn a_filter_that_does_not_compile_says_where() {
        let error = BrokerError::InvalidFilter { reason: "is wrong at column 5: it ends".into(), at: Some(4) };
        let problem = document(GatewayError::from(error).at_field(FieldAt::Query("filter".into())));
        assert_eq!((&problem["position"], &problem["code"]), (&4.into(), &"invalid_filter".into()));
        assert_eq!(problem["detail"], "the filter expression is wrong at column 5: it ends");
        let nowhere = BrokerError::InvalidFilter { reason: "is longer than 4096 bytes".into(), at: None };
        assert_eq!(document(nowhere)["position"], serde_json::Value::Null);
    }

    #[test]
    fn a_failing_store_does_not_name_its_files() {
        let reason = || "cannot sync /srv/gantry/commitlog/0".to_string();
        for error in [
            GatewayError::Internal { reason: reason() },
            BrokerError::Storage { reason: reason() }.into(),
            BrokerError::ReadOnly { reason: reason() }.into(),
            BrokerError::OutcomeUnknown { reason: reason() }.into(),
            GatewayError::Internal { reason: reason() }.at_field(FieldAt::Path("topic")),
        ] {
            let text = document(error).to_string();
            assert!(!text.contains("/srv"), "{text}");
        }
    }

    #[test]
    fn who_may_try_again_is_told_when() {
        let carrier = Response::new(Body::empty());
        let answer = response(&BrokerError::Draining.into(), &carrier, "id-1");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
        let answer = response(&GatewayError::NotFound, &carrier, "id-1");
        assert!(!answer.headers().contains_key(header::RETRY_AFTER));
    }
}
