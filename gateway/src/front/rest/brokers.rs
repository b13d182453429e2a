//! One broker: what its store takes.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::TimeParams;
use super::request::{Query, Segments, json};
use super::units::Time;
use super::{Answer, RestState, Shared};
use crate::duration;
use crate::error::GatewayError;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Storage {
    broker_name: String,
    commit_log_min: u64,
    commit_log_max: u64,
    /// Bytes used of the file system on which the store lies, by whomever.
    disk_used: u64,
    disk_total: u64,
    /// When the oldest record that is kept was stored.
    earliest_message_at: Option<Time>,
    /// Messages are kept at least so long.
    reserved_time: String,
    /// Local hours in which what is old enough is deleted.
    delete_when: Vec<u8>,
    /// Longest commit log in bytes, if there is a limit.
    commit_log_size_max: Option<u64>,
    timer: Timer,
}

/// Messages that wait for their delivery time, by level and by time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Timer {
    /// Waiting for their time, without those that were recalled.
    scheduled: u64,
    /// How long the first of them has been due.
    behind_ms: u64,
}

/// What a broker's store takes
#[utoipa::path(get, path = "/v1/brokers/{broker}/storage", tag = "cluster", params(("broker" = String, Path), TimeParams), responses((status = 200, description = "Its log and its disk", body = Storage)))]
pub(super) async fn describe_storage(
    State(state): Shared,
    Segments(broker): Segments<String>,
    mut query: Query,
) -> Answer {
    check_name(&state, &broker)?;
    let as_ms = query.take_time_format()?;
    query.end()?;
    let storage = state.messaging.broker.describe_storage().await?;
    let storage = Storage {
        broker_name: broker,
        commit_log_min: storage.commit_log_min.0,
        commit_log_max: storage.commit_log_max.0,
        disk_used: storage.disk_total_bytes.saturating_sub(storage.disk_available_bytes),
        disk_total: storage.disk_total_bytes,
        earliest_message_at: storage.earliest.map(|at| Time { at, as_ms }),
        reserved_time: duration::format(storage.retention.file_reserved_time),
        delete_when: storage.retention.delete_when,
        commit_log_size_max: storage.retention.commit_log_bytes_max,
        timer: Timer {
            scheduled: storage.timers.scheduled,
            behind_ms: u64::try_from(storage.timers.behind.as_millis()).unwrap_or(u64::MAX),
        },
    };
    Ok(json(StatusCode::OK, &storage))
}

/// The one broker that there is.
pub(super) fn check_name(state: &RestState, broker: &str) -> Result<(), GatewayError> {
    if broker == state.broker_name { Ok(()) } else { Err(GatewayError::BrokerNotFound { broker: broker.to_string() }) }
}
