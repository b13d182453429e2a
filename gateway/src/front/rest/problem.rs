//! Problem documents, RFC 9457: every error of the REST face.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::{FieldAt, GatewayError};
use crate::front::error_table::{Outcome, answer};

#[derive(Serialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

#[derive(Serialize)]
struct FieldProblem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    code: &'static str,
    detail: String,
}

impl Problem {
    /// One entry's part of an answer to many.
    pub(super) fn of_entry(error: &GatewayError) -> Problem {
        let answer = answer(error);
        let detail = error.to_string();
        let (pointer, header, query) = match error.at() {
            None | Some(FieldAt::Path(_)) => (None, None, None),
            Some(FieldAt::Pointer(pointer)) => (Some(pointer.clone()), None, None),
            Some(FieldAt::Header(header)) => (None, Some(*header), None),
            Some(FieldAt::Query(query)) => (None, None, Some(query.clone())),
        };
        let named = pointer.is_some() || header.is_some() || query.is_some();
        let field = FieldProblem { pointer, header, query, code: answer.code, detail: detail.clone() };
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
            request_id: None,
            instance: None,
            errors: if named { vec![field] } else { Vec::new() },
        }
    }
}

pub(super) fn response(error: &GatewayError, request_id: &str) -> Response {
    let mut problem = Problem::of_entry(error);
    problem.request_id = Some(request_id.to_string());
    problem.instance = Some(format!("urn:gantry:request:{request_id}"));
    if problem.status >= 500 {
        tracing::warn!(request_id, code = problem.code, detail = %problem.detail, "a request failed");
    }
    let status = StatusCode::from_u16(problem.status).expect("the table holds statuses");
    let body = serde_json::to_vec(&problem).expect("a problem is plain text and numbers");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let GatewayError::MethodNotAllowed { allowed, .. } = error
        && let Ok(allowed) = HeaderValue::from_str(allowed)
    {
        headers.insert(header::ALLOW, allowed);
    }
    // 429: this caller shall slow down; 503: the system is short for a moment.
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        headers.insert("gantry-retry-after-ms", HeaderValue::from_static("200"));
    }
    response
}
