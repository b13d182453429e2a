//! The API described for programs: OpenAPI 3.1, made from the handlers' own annotations, and what all of them share.
//!
//! Handlers read their requests field by field, so that every refusal can name its place; the shapes of request bodies are
//! therefore written down here, for readers only.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, body};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, Required, ResponseBuilder, Type};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::Problem;
use super::units::Time;
use super::{Answer, ROUTES};
use crate::front::console;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gantry",
        description = "RocketMQ-style messaging over plain HTTP. Errors are `application/problem+json` (RFC 9457) with a \
                       stable `code`, whether a repeat makes sense (`retryable`) and whether anything happened (`outcome`). \
                       Times are RFC 3339 in UTC, durations are a number with a unit (`30s`, `250ms`, `12h`).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This gateway")),
    tags(
        (name = "topics", description = "Named streams of messages, and their queues"),
        (name = "messages", description = "Publish, and look without taking"),
        (name = "transactions", description = "Publish what is seen only once it is committed"),
        (name = "receipts", description = "Take messages on a lease, and settle them"),
        (name = "groups", description = "Consumer groups, and how far they are"),
        (name = "cluster", description = "What runs here, and is it well"),
    ),
    components(schemas(Problem)),
)]
struct Document;

/// The document of all routes.
pub fn document() -> utoipa::openapi::OpenApi {
    let begin = OpenApiRouter::with_openapi(Document::openapi());
    let routes = ROUTES.iter().fold(begin, |routes, route| routes.routes(route()));
    let (_, mut document) = routes.split_for_parts();
    for item in document.paths.paths.values_mut() {
        operations_of(item).for_each(finish);
    }
    document
}

/// Path and method of each.
pub(super) fn operations() -> impl Iterator<Item = (String, Method)> {
    ROUTES.iter().flat_map(|route| route().1.paths).flat_map(|(path, item)| {
        let methods = [
            (item.get, Method::GET),
            (item.put, Method::PUT),
            (item.post, Method::POST),
            (item.delete, Method::DELETE),
            (item.patch, Method::PATCH),
        ];
        methods.into_iter().filter_map(move |(operation, method)| operation.map(|_| (path.clone(), method)))
    })
}

struct Served {
    json: Vec<u8>,
    etag: HeaderValue,
}

/// Made once: the handlers do not change while the program runs.
static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let json = document().to_json().expect("a document of plain values").into_bytes();
    let hash: String = Sha256::digest(&json)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Served { json, etag: HeaderValue::try_from(format!("\"{hash}\"")).expect("hex digits in quotes") }
});

/// GET /openapi.json
pub(super) async fn openapi_json(headers: HeaderMap) -> Answer {
    let Served { json, etag } = &*SERVED;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == *etag));
    let mut response: Response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { json.as_slice().into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, etag.clone());
    Ok(response)
}

/// The document for people. Its scripts and styles are in the binary, packed: nothing is asked of other machines.
pub(super) fn docs<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let ui = SwaggerUi::new("/docs").config(Config::from("/openapi.json"));
    Router::<S>::from(ui).layer(middleware::from_fn(async |request: Request, next: Next| {
        let takes_gzip = console::accepts(request.headers(), "gzip");
        let mut response = next.run(request).await;
        if !takes_gzip && response.headers_mut().remove(header::CONTENT_ENCODING).is_some() {
            let (mut parts, body) = response.into_parts();
            let packed = body::to_bytes(body, usize::MAX).await.expect("it is all there");
            parts.headers.remove(header::CONTENT_LENGTH);
            response = Response::from_parts(parts, console::gunzip(&packed).into());
        }
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }))
}

/// Scripts and style sheets come from here alone. The hash is that of the one style that Swagger UI's logo brings along.
const DOCS_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' \
                           'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; \
                           connect-src 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'none'; form-action 'self'";

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// Refusals that operations give beyond those that any operation gives.
const REFUSALS: &[(&str, &[u16])] = &[
    ("list_topics", &[]),
    ("put_topic", &[409, 412, 413, 415, 428, 507]),
    ("describe_topic", &[404]),
    ("delete_topic", &[403, 404, 507]),
    ("query_queue_offsets", &[404]),
    ("query_offset", &[403, 404]),
    ("list_topic_groups", &[404]),
    ("send_message", &[403, 404, 409, 413, 415, 422, 501, 504, 507]),
    ("send_messages", &[403, 404, 413, 415, 501, 504, 507]),
    ("browse_messages", &[403, 404]),
    ("query_messages", &[403, 404]),
    ("pull_messages", &[403, 404, 410, 501]),
    ("find_message", &[403, 404]),
    ("download_body", &[403, 404]),
    ("read_message", &[404]),
    ("recall_message", &[404, 504]),
    ("send_half_message", &[403, 404, 409, 413, 415, 422, 501, 504, 507]),
    ("list_transactions", &[404]),
    ("commit_transaction", &[404, 409, 410, 504, 507]),
    ("roll_back_transaction", &[409, 410, 504, 507]),
    ("check_transactions", &[413, 415, 507]),
    ("pop_messages", &[403, 404, 406, 409, 413, 415, 501]),
    ("ack_message", &[404, 410, 507]),
    ("change_invisible_duration", &[404, 410, 413, 415, 507]),
    ("nack_message", &[404, 410, 413, 415, 507]),
    ("forward_message_to_dead_letter_queue", &[404, 410, 413, 415, 507]),
    ("settle_messages", &[413, 415]),
    ("list_consumer_groups", &[]),
    ("put_consumer_group", &[403, 409, 412, 413, 415, 428, 501, 507]),
    ("describe_consumer_group", &[404]),
    ("delete_consumer_group", &[403, 404, 507]),
    ("reset_offsets", &[404, 409, 410, 413, 415, 507]),
    ("skip_offsets", &[404, 409, 413, 415, 507]),
    ("clone_offsets", &[404, 409, 413, 415, 507]),
    ("describe_dead_letter_queue", &[404]),
    ("browse_dead_letters", &[404]),
    ("resend_dead_letters", &[404, 413, 415]),
    ("query_consume_offsets", &[404]),
    ("list_in_flight", &[404]),
    ("export_dead_letters", &[404]),
    ("patch_topic", &[403, 404, 412, 413, 415, 428, 507]),
    ("patch_consumer_group", &[403, 404, 412, 413, 415, 428, 501, 507]),
    ("update_consume_offsets", &[403, 404, 413, 415]),
    ("topic_stats", &[404]),
    ("broker_stats", &[404]),
    ("describe_storage", &[404]),
    ("describe_cluster", &[]),
    ("limits", &[]),
];
/// What any operation of the API may answer: bad input, nobody it knows, an unknown error, not now.
const ANYWHERE: [u16; 4] = [400, 401, 500, 503];

fn finish(operation: &mut Operation) {
    let name = operation.operation_id.clone().unwrap_or_default();
    operation.operation_id = Some(camel_case(&name));
    if let Some((_, refusals)) = REFUSALS.iter().find(|(known, _)| *known == name) {
        for status in ANYWHERE.iter().chain(*refusals) {
            operation.responses.responses.entry(status.to_string()).or_insert_with(|| refusal(*status).into());
        }
    }
    operation.responses.responses.insert("default".into(), refusal(0).into());
    let request_id = ParameterBuilder::new()
        .name("Gantry-Request-Id")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Names the request in the answer and in the logs; made if it is missing"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128))))
        .build();
    operation.parameters.get_or_insert_default().push(request_id.into());
}

fn refusal(status: u16) -> utoipa::openapi::Response {
    let words = match status {
        0 => "Any other refusal",
        400 => "The request is malformed; `errors` names the place",
        401 => "No credentials, or wrong ones; only where users are configured",
        403 => "Not allowed: a system name, or switched off",
        404 => "There is no such thing",
        406 => "Nothing here can be sent as what `Accept` asks for",
        409 => "It conflicts with what there is",
        410 => "Gone: the lease is over or superseded, or the offset is no longer kept",
        412 => "It exists already, or has changed since",
        413 => "Too large",
        415 => "A media type that is not read here",
        422 => "The idempotency key stands for another message",
        428 => "It exists: say with `If-Match` that it shall be replaced",
        500 => "An error of ours; the log has it under the request's id",
        501 => "Known to RocketMQ, and not built here yet",
        503 => "Not now: overloaded, stopping, or the store has failed",
        504 => "The time is over; `outcome` says whether anything can have happened",
        507 => "The disk is full",
        _ => unreachable!("every status of the table has words"),
    };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(words).content("application/problem+json", content).build()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_string();
    words.fold(first, |text, word| text + &word[..1].to_uppercase() + &word[1..])
}

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct PageParams {
    /// Only names that begin so
    prefix: Option<String>,
    /// System topics and groups too
    include_system: Option<bool>,
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `nextCursor` of the page before
    cursor: Option<String>,
}

/// How times are written.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct TimeParams {
    /// `ms` writes every time as milliseconds since 1970
    #[param(inline)]
    time_format: Option<TimeFormat>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
enum TimeFormat {
    Rfc3339,
    Ms,
}

/// How messages are shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct ViewParams {
    /// `auto`: text when it is UTF-8, else base64
    #[param(inline)]
    body_as: Option<BodyForm>,
    /// `ms` writes every time as milliseconds since 1970
    #[param(inline)]
    time_format: Option<TimeFormat>,
    /// RocketMQ's own properties too
    system_properties: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
enum BodyForm {
    Auto,
    Text,
    Base64,
    Json,
    None,
}

/// A message's metadata, in raw mode.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct MessageHeaders {
    /// One label, by which consumers choose
    #[param(rename = "Gantry-Tag")]
    tag: Option<String>,
    /// Words by which the message is found, separated by commas
    #[param(rename = "Gantry-Keys")]
    keys: Option<String>,
    /// `name=value`, percent-encoded; several headers, or several pairs separated by commas
    #[param(rename = "Gantry-Property", example = "Region=eu")]
    properties: Option<String>,
    /// Messages of one group are delivered in order; needed on a FIFO topic
    #[param(rename = "Gantry-Message-Group", max_length = 64)]
    message_group: Option<String>,
    /// Delivered so long after it was stored, 40 days at most; one of three
    #[param(rename = "Gantry-Delay", example = "10m")]
    delay: Option<String>,
    /// Delivered at this time: RFC 3339, or milliseconds since 1970
    #[param(rename = "Gantry-Deliver-At", example = "2030-01-31T08:00:00Z")]
    deliver_at: Option<String>,
    /// Delivered after RocketMQ's pause with this number
    #[param(rename = "Gantry-Delay-Level", minimum = 1)]
    delay_level: Option<u32>,
    /// The producer's own id of the message
    #[param(rename = "Gantry-Message-Id")]
    message_id: Option<String>,
    /// Pins the message to a queue: `broker/queueId`
    #[param(rename = "Gantry-Queue", example = "broker-a/0")]
    queue: Option<String>,
    /// At most one stored message per key and topic within ten minutes
    #[param(rename = "Idempotency-Key", max_length = 128)]
    idempotency_key: Option<String>,
    /// RFC 9530: checked before anything is stored
    #[param(rename = "Content-Digest")]
    content_digest: Option<String>,
    /// W3C trace context, kept with the message
    #[param(rename = "traceparent")]
    traceparent: Option<String>,
}

/// What must hold for a put.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct PutConditions {
    /// `*`, or the ETag that was read: replace what exists
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: only if it does not exist
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// What must hold for a patch.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct PatchConditions {
    /// The ETag that was read, or `*`
    #[param(rename = "If-Match")]
    if_match: String,
}

/// Time left.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct Waiting {
    /// `wait=20`: seconds to wait for a first message, 30 at most
    #[param(rename = "Prefer", example = "wait=20")]
    prefer: Option<String>,
}

/// Time left. Whoever tries the example waits for nothing, and not long.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
pub(super) struct WaitingForChecks {
    /// `wait=20`: seconds to wait for a first check, 30 at most
    #[param(rename = "Prefer", example = "wait=1")]
    prefer: Option<String>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct TopicIn {
    /// What it takes: messages as they come, in order by message group, with a delivery time, or once they are
    /// committed; `mixed` takes all of them
    #[schema(default = "normal")]
    message_type: Option<TopicType>,
    #[schema(minimum = 0, maximum = 1024, default = 8)]
    read_queues: Option<u32>,
    #[schema(minimum = 0, maximum = 1024, default = 8)]
    write_queues: Option<u32>,
    #[schema(inline)]
    perm: Option<Perm>,
    /// RocketMQ's attributes. `reserve.time`: hours after which the topic's messages are gone, if that is sooner than
    /// the broker lets go of them; `-1` and `0` say nothing. `queue.type` and `cleanup.policy` know their defaults alone
    #[schema(example = json!({"reserve.time": "24"}))]
    attributes: Option<HashMap<String, String>>,
    /// Change how many queues a topic with message groups is written to: what is stored from then on may be consumed
    /// before older messages of its group
    force: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
enum TopicType {
    Normal,
    Fifo,
    Delay,
    Transaction,
    Mixed,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
pub(super) enum Order {
    Asc,
    Desc,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
enum Perm {
    Read,
    Write,
    ReadWrite,
    None,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct GroupIn {
    #[schema(default = true)]
    consume_enabled: Option<bool>,
    orderly: Option<bool>,
    #[schema(default = true)]
    broadcast_enabled: Option<bool>,
    /// Deliveries after the first
    #[schema(default = 16)]
    /// -1 is without end
    #[schema(minimum = -1, maximum = 2147483647)]
    retry_max_times: Option<i64>,
    retry_policy: Option<super::consumer_groups::RetryPolicyOut>,
    /// Lease of clients that renew it themselves
    #[schema(default = "15m")]
    consume_timeout: Option<String>,
    retry_queues: Option<u32>,
    /// `auto`, `min`, `max` or a time
    #[schema(default = "auto")]
    start_from: Option<String>,
}

/// A message written as JSON: exactly one of `body`, `bodyBase64` and `bodyJson`.
#[derive(ToSchema)]
#[schema(as = Envelope)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct EnvelopeIn {
    /// The caller's name of the entry, repeated in the answer
    id: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    #[schema(value_type = Option<Object>)]
    body_json: Option<serde_json::Value>,
    content_type: Option<String>,
    tag: Option<String>,
    keys: Option<Vec<String>>,
    properties: Option<HashMap<String, String>>,
    /// Messages of one group are delivered in order; needed on a FIFO topic
    #[schema(max_length = 64)]
    message_group: Option<String>,
    /// Delivered so long after it was stored, 40 days at most; at most one of `delay`, `deliverAt` and `delayLevel`
    #[schema(example = "10m")]
    delay: Option<String>,
    /// Delivered at this time
    deliver_at: Option<Time>,
    /// Delivered after RocketMQ's pause with this number
    #[schema(minimum = 1)]
    delay_level: Option<u32>,
    message_id: Option<String>,
    queue: Option<QueueIn>,
    traceparent: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = QueueRef)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct QueueIn {
    broker_name: String,
    queue_id: u32,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct BatchIn {
    #[schema(min_items = 1, max_items = 1024)]
    messages: Vec<EnvelopeIn>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct ReceiveIn {
    topic: String,
    #[schema(minimum = 1, maximum = 32, default = 1)]
    max_messages: Option<u32>,
    /// Length of the lease, 10 s to 12 h
    #[schema(default = "60s")]
    invisible_duration: Option<String>,
    filter: Option<FilterIn>,
    /// Names this receive: sent again with the same name, it gets the same messages again
    #[schema(min_length = 1, max_length = 128)]
    attempt_id: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = CheckTransactionsIn)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct ChecksIn {
    #[schema(minimum = 1, maximum = 32, default = 1)]
    max_messages: Option<u32>,
}

/// The language of a filter
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
pub(super) enum FilterType {
    Tag,
    Sql92,
}

#[derive(ToSchema)]
#[schema(as = Filter)]
#[allow(dead_code)]
struct FilterIn {
    #[schema(inline, default = "tag")]
    r#type: Option<FilterType>,
    /// `a || b` or `*` for tags; for `sql92` a condition over properties in RocketMQ's dialect, such as
    /// `region = 'eu' AND amount > 100`
    #[schema(max_length = 4096)]
    expression: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct ExtendIn {
    /// From now on
    invisible_duration: String,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct NackIn {
    /// The group's retry policy if it is missing
    retry_after: Option<String>,
    /// The delivery does not count as an attempt
    suspend: Option<bool>,
}

/// One queue.
#[derive(ToSchema)]
#[schema(as = QueueRef)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct QueueRefIn {
    broker_name: String,
    queue_id: u32,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct ResetOffsetsIn {
    topic: String,
    to: ResetToIn,
    /// All, if they are missing
    #[schema(min_items = 1)]
    queues: Option<Vec<QueueRefIn>>,
    /// Also while the group consumes
    force: Option<bool>,
}

/// One of the three.
#[derive(ToSchema)]
#[schema(as = ResetTo)]
#[allow(dead_code)]
struct ResetToIn {
    /// The first message stored at or after this time
    timestamp: Option<String>,
    offset: Option<u64>,
    /// `min` or `max`
    position: Option<String>,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct SkipOffsetsIn {
    topic: String,
    #[schema(min_items = 1)]
    queues: Option<Vec<QueueRefIn>>,
    force: Option<bool>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct CloneOffsetsIn {
    topic: String,
    from_group: String,
    #[schema(min_items = 1)]
    queues: Option<Vec<QueueRefIn>>,
    force: Option<bool>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct ResendIn {
    /// These; or else those given up from a time to a time
    #[schema(min_items = 1, max_items = 1000)]
    message_ids: Option<Vec<String>>,
    from: Option<String>,
    to: Option<String>,
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
    /// `originalTopic`, where all its groups receive it; `retry`, where this group alone receives the message again that it
    /// gave up; or `{"topic": …}`
    #[schema(value_type = Option<serde_json::Value>)]
    target: Option<String>,
    /// At most so many a second, as far as the request's time allows: `limit` may be as many as fit, and is if it is missing
    #[schema(minimum = 1, maximum = 10000)]
    rate_per_second: Option<u32>,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct DeadLetterIn {
    /// Kept with the message
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct SettleIn {
    #[schema(min_items = 1, max_items = 1024)]
    entries: Vec<SettleEntry>,
}

#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct SettleEntry {
    receipt_handle: String,
    #[schema(inline)]
    action: SettleAction,
    /// With `extend`
    invisible_duration: Option<String>,
    /// With `nack`
    retry_after: Option<String>,
    /// With `nack`
    suspend: Option<bool>,
    /// With `deadLetter`
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
enum SettleAction {
    Ack,
    Nack,
    Extend,
}

/// What became of one entry: after an ack nothing else, after `extend` the new handle, after `nack` when it comes back.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code)]
pub(super) struct SettleResult {
    status: u16,
    receipt_handle: Option<String>,
    invisible_until: Option<Time>,
    visible_at: Option<Time>,
    dlq_topic: Option<String>,
    problem: Option<Problem>,
}

#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct OffsetsIn {
    queues: Vec<OffsetIn>,
}

#[derive(ToSchema)]
#[schema(as = QueueOffset)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct OffsetIn {
    broker_name: String,
    queue_id: u32,
    offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_document_is_that_of_the_handlers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/gantry.v1.yaml");
        let made = document().to_yaml().unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == made, "openapi/gantry.v1.yaml is not what the handlers say: UPDATE=1 cargo test rewrites it");
    }

    #[test]
    fn every_operation_says_what_it_is_and_what_it_refuses() {
        let mut document = document();
        let mut names = Vec::new();
        for (path, item) in &mut document.paths.paths {
            for operation in operations_of(item) {
                let name = operation.operation_id.clone().unwrap();
                assert!(operation.summary.as_ref().is_some_and(|summary| !summary.is_empty()), "{name} has no summary");
                assert!(operation.tags.as_ref().is_some_and(|tags| tags.len() == 1), "{name} has no tag");
                let is_api = path.starts_with("/v1");
                assert_eq!(operation.responses.responses.contains_key("400"), is_api, "{name} has its row of refusals");
                names.push(name);
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "operation ids are unique");
        let known = |(name, _): &&(&str, &[u16])| !names.contains(&camel_case(name));
        assert_eq!(REFUSALS.iter().find(known), None, "a row without its operation");
    }
}
