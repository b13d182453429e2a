//! Is it well, what is it, how large may things be.

use axum::extract::State;
use axum::response::IntoResponse as _;
use gantry_broker_core::broker::{INVISIBLE_DURATION_MAX, INVISIBLE_DURATION_MIN, POP_MESSAGES_MAX};
use gantry_broker_core::config::Durability;
use gantry_broker_core::message::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BODY_BYTES_MAX, KEYS_MAX, MESSAGE_GROUP_BYTES_MAX, PROPERTIES_BYTES_MAX,
    PROPERTIES_MAX,
};
use gantry_broker_core::receipt_handle::RECEIPT_HANDLE_CHARS_MAX;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::TimeParams;
use super::request::{Query, json};
use super::units::Time;
use super::{Answer, Shared};
use crate::duration;
use crate::metrics::broker_text;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
}

/// The process turns
#[utoipa::path(get, path = "/healthz", tag = "cluster", responses((status = 200, description = "It does", body = Health)))]
pub(super) async fn healthz() -> Answer {
    Ok(json(StatusCode::OK, &Health { status: "ok" }))
}

#[derive(Serialize, ToSchema)]
struct Readiness {
    status: &'static str,
    checks: Vec<Check>,
}

#[derive(Serialize, ToSchema)]
struct Check {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// New work may be sent here
#[utoipa::path(get, path = "/readyz", tag = "cluster", responses((status = 200, description = "It may", body = Readiness), (status = 503, description = "Not now, and why", body = Readiness)))]
pub(super) async fn readyz(State(state): Shared) -> Answer {
    let draining = state.messaging.is_draining();
    let refuses = match state.messaging.broker.describe_broker().await {
        Ok(broker) => broker.refuses_sends.map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let checks = vec![
        Check { name: "notDraining", ok: !draining, detail: None },
        Check { name: "writableBroker", ok: refuses.is_none(), detail: refuses },
    ];
    let ready = checks.iter().all(|check| check.ok);
    let (code, status) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "notReady") };
    Ok(json(code, &Readiness { status, checks }))
}

#[derive(Serialize, ToSchema)]
struct Version {
    name: &'static str,
    version: &'static str,
}

/// What this is
#[utoipa::path(get, path = "/version", tag = "cluster", responses((status = 200, description = "Name and version", body = Version)))]
pub(super) async fn version() -> Answer {
    Ok(json(StatusCode::OK, &Version { name: "gantry", version: VERSION }))
}

/// Everything that is counted, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "cluster", responses((status = 200, description = "Prometheus' text format, version 0.0.4", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(state): Shared) -> Answer {
    let mut text = state.scrape.render();
    text.push_str(&broker_text(&*state.messaging.broker, state.now()).await?);
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    Ok(([content_type, (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], text).into_response())
}

#[derive(Serialize, ToSchema)]
struct Cluster {
    clusters: Vec<ClusterOut>,
    brokers: Vec<BrokerOut>,
    totals: Totals,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ClusterInfo)]
#[serde(rename_all = "camelCase")]
struct ClusterOut {
    name: String,
    brokers: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Broker)]
#[serde(rename_all = "camelCase")]
struct BrokerOut {
    broker_name: String,
    cluster: String,
    broker_id: u32,
    role: &'static str,
    version: &'static str,
    writable: bool,
    #[schema(value_type = String)]
    durability: Durability,
    commit_log_min: u64,
    commit_log_max: u64,
    started: Time,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Totals {
    brokers: usize,
    topics: usize,
    groups: usize,
}

/// Clusters, brokers and totals
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", params(TimeParams), responses((status = 200, description = "What runs here", body = Cluster)))]
pub(super) async fn describe_cluster(State(state): Shared, mut query: Query) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let broker = state.messaging.broker.describe_broker().await?;
    let broker_name = broker.broker_name.to_string();
    let cluster = Cluster {
        clusters: vec![ClusterOut { name: state.cluster_name.clone(), brokers: vec![broker_name.clone()] }],
        totals: Totals { brokers: 1, topics: broker.topics, groups: broker.consumer_groups },
        brokers: vec![BrokerOut {
            broker_name,
            cluster: broker.cluster_name,
            broker_id: 0,
            role: "master",
            version: VERSION,
            writable: broker.refuses_sends.is_none(),
            durability: broker.durability,
            commit_log_min: broker.commit_log_min.0,
            commit_log_max: broker.commit_log_max.0,
            started: Time { at: broker.started, as_ms },
        }],
    };
    Ok(json(StatusCode::OK, &cluster))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Limits {
    body_bytes: usize,
    batch_messages: usize,
    batch_bytes: usize,
    settle_entries: usize,
    receive_messages: u32,
    user_properties: usize,
    user_properties_bytes: usize,
    keys: usize,
    message_group_bytes: usize,
    receipt_handle_characters: usize,
    invisible_duration_min: String,
    invisible_duration_max: String,
    wait_max: &'static str,
    abilities: Abilities,
}

#[derive(Serialize, ToSchema)]
struct Abilities {
    native: bool,
    idempotency: bool,
    recall: bool,
    sql92: bool,
}

/// Effective limits, and what the broker can do
#[utoipa::path(get, path = "/v1/limits", tag = "cluster", responses((status = 200, description = "The limits", body = Limits)))]
pub(super) async fn limits(query: Query) -> Answer {
    query.end()?;
    let limits = Limits {
        body_bytes: BODY_BYTES_MAX,
        batch_messages: BATCH_ENTRIES_MAX,
        batch_bytes: BATCH_BYTES_MAX,
        settle_entries: BATCH_ENTRIES_MAX,
        receive_messages: POP_MESSAGES_MAX,
        user_properties: PROPERTIES_MAX,
        user_properties_bytes: PROPERTIES_BYTES_MAX,
        keys: KEYS_MAX,
        message_group_bytes: MESSAGE_GROUP_BYTES_MAX,
        receipt_handle_characters: RECEIPT_HANDLE_CHARS_MAX,
        invisible_duration_min: duration::format(INVISIBLE_DURATION_MIN),
        invisible_duration_max: duration::format(INVISIBLE_DURATION_MAX),
        wait_max: "30s",
        abilities: Abilities { native: true, idempotency: true, recall: true, sql92: true },
    };
    Ok(json(StatusCode::OK, &limits))
}
