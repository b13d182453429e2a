//! The REST face: paths, what surrounds every request, and what answers where there is nothing.
//!
//! A handler answers `Result<Response, GatewayError>`. An error travels in the response's extensions to `surround`, the
//! one place that knows the request's id and turns it into a problem document.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use gantry_broker_core::clock::{Clock, SystemClock, Timestamp};
use gantry_broker_core::random::SystemRandom;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use metrics_exporter_prometheus::PrometheusHandle;
use tracing::Instrument as _;
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;

use crate::access::Users;
use crate::config::Config;
use crate::error::{FieldAt, GatewayError};
use crate::front::call::{self, Call, Protocol};
use crate::front::console;
use crate::messaging::{MessageIds, Messaging};
use crate::metrics::HttpCounts;
use crate::transport::ConnectionInfo;

mod brokers;
mod browse;
mod consumer_groups;
mod dead_letters;
mod draft;
mod envelope;
mod etag;
mod handover;
mod headers;
mod in_flight;
mod json;
mod lag;
mod list;
mod merge_patch;
mod message_json;
mod messages;
mod offsets;
mod openapi;
mod ops;
mod pop_message;
mod problem;
mod queues;
mod receipts;
mod request;
mod scheduled;
mod stats;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;
mod units;
mod unread;

use unread::Unread;

/// Longest request path with its query.
const PATH_BYTES_MAX: usize = 8 * 1024;
/// Largest sum of header names and values.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Makes a browser ask for an access key and its secret.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Gantry\", charset=\"UTF-8\"");

const REQUEST_ID: HeaderName = HeaderName::from_static("gantry-request-id");

/// What every handler works with.
pub struct RestState {
    messaging: Arc<Messaging>,
    users: Arc<Users>,
    message_ids: MessageIds,
    clock: SystemClock,
    broker_name: String,
    cluster_name: String,
    counts: HttpCounts,
    scrape: PrometheusHandle,
}

impl RestState {
    /// `scrape` tells what the whole process counted.
    pub fn new(messaging: Arc<Messaging>, users: Arc<Users>, config: &Config, scrape: PrometheusHandle) -> RestState {
        RestState {
            messaging,
            users,
            message_ids: MessageIds::new(&SystemRandom),
            clock: SystemClock,
            broker_name: config.broker_name.clone(),
            cluster_name: config.cluster_name.clone(),
            counts: HttpCounts::new(openapi::operations()),
            scrape,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// May this request be answered? Whether the server is well may be asked by anybody.
    fn admit(&self, request: &Request) -> Result<(), GatewayError> {
        if self.users.is_empty() || ["/healthz", "/readyz"].contains(&request.uri().path()) {
            return Ok(());
        }
        // A browser puts the credentials that it knows on any page's request; following a link is fine.
        let of_this_site = |site: &HeaderValue| site == "same-origin" || site == "none";
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        if !is_read && !request.headers().get("sec-fetch-site").is_none_or(of_this_site) {
            return Err(GatewayError::OtherSite);
        }
        self.users.admit(request.headers(), request.extensions().get::<ConnectionInfo>(), self.now())
    }
}

type Shared = State<Arc<RestState>>;
type Answer = Result<Response, GatewayError>;

pub fn router(state: Arc<RestState>) -> Router {
    let api = ROUTES.iter().fold(Router::new(), |api, route| {
        let (_, paths, handlers) = route();
        let (path, _) = paths.paths.first_key_value().expect("every handler has its path");
        api.route(path, handlers)
    });
    api
        // The API's own 404, whatever else this port serves.
        .route("/v1", any(nothing_here))
        .route("/v1/{*rest}", any(nothing_here))
        .route("/openapi.json", get(openapi::openapi_json))
        .merge(openapi::docs())
        .route("/", get(elsewhere))
        .fallback(elsewhere)
        .layer(middleware::from_fn_with_state(state.clone(), surround))
        .with_state(state)
}

/// A handler, with its path and its description.
type Described = UtoipaMethodRouter<Arc<RestState>>;

/// The API's handlers. Paths are written out whole: nesting would take each request's path apart and put it together again.
/// Each describes itself when it is asked to: all descriptions together are 2 MB, and few ever ask for them.
const ROUTES: &[fn() -> Described] = &[
    || routes!(topics::list_topics),
    || routes!(topics::put_topic),
    || routes!(topics::describe_topic),
    || routes!(topics::patch_topic),
    || routes!(topics::delete_topic),
    || routes!(messages::send_message),
    || routes!(browse::browse_messages),
    || routes!(messages::send_messages),
    || routes!(browse::query_messages),
    || routes!(messages::find_message),
    || routes!(browse::download_body),
    || routes!(topics::list_topic_groups),
    || routes!(queues::query_queue_offsets),
    || routes!(queues::pull_messages),
    || routes!(queues::query_offset),
    || routes!(messages::read_message),
    || routes!(scheduled::recall_message),
    || routes!(transactions::send_half_message),
    || routes!(transactions::list_transactions),
    || routes!(transactions::commit_transaction),
    || routes!(transactions::roll_back_transaction),
    || routes!(transactions::check_transactions),
    || routes!(consumer_groups::list_consumer_groups),
    || routes!(consumer_groups::put_consumer_group),
    || routes!(consumer_groups::describe_consumer_group),
    || routes!(consumer_groups::patch_consumer_group),
    || routes!(consumer_groups::delete_consumer_group),
    || routes!(offsets::reset_offsets),
    || routes!(offsets::skip_offsets),
    || routes!(offsets::clone_offsets),
    || routes!(dead_letters::describe_dead_letter_queue),
    || routes!(dead_letters::browse_dead_letters),
    || routes!(dead_letters::resend_dead_letters),
    || routes!(dead_letters::export_dead_letters),
    || routes!(pop_message::pop_messages),
    || routes!(lag::query_consume_offsets),
    || routes!(in_flight::list_in_flight),
    || routes!(consumer_groups::update_consume_offsets),
    || routes!(receipts::settle_messages),
    || routes!(receipts::ack_message),
    || routes!(receipts::change_invisible_duration),
    || routes!(receipts::nack_message),
    || routes!(receipts::forward_message_to_dead_letter_queue),
    || routes!(stats::topic_stats),
    || routes!(stats::broker_stats),
    || routes!(brokers::describe_storage),
    || routes!(ops::describe_cluster),
    || routes!(ops::limits),
    || routes!(ops::healthz),
    || routes!(ops::readyz),
    || routes!(ops::version),
    || routes!(ops::metrics),
];

/// A path that is nobody's here: the console's, or nobody's at all.
async fn elsewhere(method: Method, uri: Uri, headers: HeaderMap) -> Answer {
    console::embedded().answer(&method, uri.path(), &headers).ok_or(GatewayError::NotFound)
}

async fn nothing_here() -> GatewayError {
    GatewayError::NotFound
}

/// A refusal on its way to `surround`.
impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives the request its id and its span, and counts it.
async fn surround(State(state): Shared, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let (id, accepted) = request_id(&request);
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let counts = state.counts.of(route, request.method());
    let span = tracing::debug_span!(
        "http",
        method = %request.method(),
        route,
        request_id = ?id,
        traceparent = request.headers().get("traceparent").map(tracing::field::debug),
    );
    let call = Call::new(Protocol::Rest, Some(id.clone()));
    let accepted = accepted.and_then(|()| state.admit(&request));
    let mut response = call.scope(within_bounds(request, next, accepted, &id)).instrument(span.clone()).await;
    response.headers_mut().insert(REQUEST_ID, id);
    let took = begin.elapsed();
    counts.answered(response.status(), took);
    tracing::debug!(parent: &span, status = response.status().as_u16(), took_us = took.as_micros() as u64, "answered");
    response
}

/// Bounds the request's head and its time, and turns refusals into problem documents.
async fn within_bounds(request: Request, next: Next, accepted: Result<(), GatewayError>, id: &HeaderValue) -> Response {
    let method = request.method().clone();
    let is_api = request.uri().path().starts_with("/v1");
    let head = accepted.and_then(|()| check_head(&request));
    let (request, mut unread) = Unread::lend(request);
    let mut response = match head {
        Ok(budget) => tokio::time::timeout(budget, next.run(request)).await.unwrap_or_else(|_| {
            // Its time is over: nothing more is read.
            unread = None;
            GatewayError::DeadlineExceeded { budget }.into_response()
        }),
        Err(error) => {
            drop(request);
            error.into_response()
        }
    };
    if let Some(unread) = unread {
        unread.skip().await;
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && response.extensions().get::<GatewayError>().is_none() {
        // axum names the allowed methods on the way out, after this.
        response.extensions_mut().insert(GatewayError::MethodNotAllowed { method: method.to_string() });
    }
    if let Some(error) = response.extensions_mut().remove::<GatewayError>() {
        response = problem::response(&error, &response, id.to_str().unwrap_or_default());
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
    }
    if is_api {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The caller's id if it is one, else one of ours.
fn request_id(request: &Request) -> (HeaderValue, Result<(), GatewayError>) {
    match request.headers().get(REQUEST_ID) {
        None => (call::new_request_id(), Ok(())),
        Some(theirs) => match theirs.to_str() {
            Ok(text) if (1..=128).contains(&text.len()) => (theirs.clone(), Ok(())),
            _ => {
                let reason = "Gantry-Request-Id must be 1 to 128 printable characters".to_string();
                (call::new_request_id(), Err(GatewayError::MalformedRequest { reason }))
            }
        },
    }
}

/// Says how much time the request has.
fn check_head(request: &Request) -> Result<Duration, GatewayError> {
    let path_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if path_bytes > PATH_BYTES_MAX {
        return Err(GatewayError::HeadersTooLarge { max: PATH_BYTES_MAX });
    }
    // One walk for everything: nearly all requests have none of these headers.
    let (mut headers_bytes, mut timed) = (0, false);
    for (name, value) in request.headers() {
        let name = name.as_str();
        headers_bytes += name.len() + value.len();
        match name {
            // Passing over it would answer from another namespace than the one meant.
            "gantry-namespace" => {
                let error = GatewayError::NotImplemented { what: "namespaces".into() };
                return Err(error.at_field(FieldAt::Header("Gantry-Namespace")));
            }
            "gantry-timeout" | "prefer" => timed = true,
            _ => {}
        }
    }
    if headers_bytes > HEADERS_BYTES_MAX {
        return Err(GatewayError::HeadersTooLarge { max: HEADERS_BYTES_MAX });
    }
    if timed { request::budget(request.headers()) } else { Ok(request::BUDGET_DEFAULT) }
}
