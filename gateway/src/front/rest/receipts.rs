//! Settling: ack, extend, give back; one or many.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::IntoResponse;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::INVISIBLE_DURATION_MAX;
use gantry_broker_core::message::BATCH_ENTRIES_MAX;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::request::{Query, Segments, invalid_field, json, read_json};
use super::units::{Time, parse_duration};
use super::{Answer, Shared};
use crate::error::{FieldAt, GatewayError};

/// DELETE /v1/receipts/{handle}
pub(super) async fn ack_message(State(state): Shared, Segments(handle): Segments<String>, query: Query) -> Answer {
    query.end()?;
    state.messaging.ack_messages([handle.as_str()]).await?.remove(0)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Extend {
    invisible_duration: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extended {
    receipt_handle: String,
    invisible_until: Time,
}

/// PATCH /v1/receipts/{handle}
pub(super) async fn change_invisible_duration(
    State(state): Shared,
    Segments(handle): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let extend: Extend = read_json(&parts.headers, body).await?;
    let invisible = invisible(&extend.invisible_duration, "/invisibleDuration")?;
    let changes = [(handle.as_str(), Some(invisible), false)];
    let changed = state.messaging.change_invisible_durations(changes).await?.remove(0)?;
    let invisible_until = Time { at: changed.invisible_until, as_ms };
    Ok(json(StatusCode::OK, &Extended { receipt_handle: changed.receipt_handle, invisible_until }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Nack {
    retry_after: Option<String>,
    suspend: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Nacked {
    visible_at: Time,
}

/// POST /v1/receipts/{handle}/nack
pub(super) async fn nack_message(
    State(state): Shared,
    Segments(handle): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let nack: Nack = read_json(&parts.headers, body).await?;
    let after = nack.retry_after.map(|text| invisible(&text, "/retryAfter")).transpose()?;
    let changes = [(handle.as_str(), after, nack.suspend)];
    let changed = state.messaging.change_invisible_durations(changes).await?.remove(0)?;
    Ok(json(StatusCode::OK, &Nacked { visible_at: Time { at: changed.invisible_until, as_ms } }))
}

fn invisible(text: &str, pointer: &str) -> Result<Duration, GatewayError> {
    let duration = parse_duration(text, FieldAt::Pointer(pointer.into()))?;
    if duration > INVISIBLE_DURATION_MAX {
        let (min, max) = (Duration::ZERO, INVISIBLE_DURATION_MAX);
        return Err(BrokerError::InvalidInvisibleDuration { min, max }.into());
    }
    Ok(duration)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settle {
    entries: Vec<SettleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SettleEntry {
    receipt_handle: String,
    action: String,
    invisible_duration: Option<String>,
    retry_after: Option<String>,
    #[serde(default)]
    suspend: bool,
}

/// What an entry asks for.
enum Action {
    Ack,
    Extend(Duration),
    Nack { after: Option<Duration>, suspend: bool },
}

#[derive(Serialize)]
struct Settled {
    summary: Summary,
    results: Vec<OneOf>,
}

#[derive(Serialize)]
struct Summary {
    ok: usize,
    failed: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OneOf {
    Acked {
        status: u16,
    },
    Extended {
        status: u16,
        #[serde(flatten)]
        extended: Extended,
    },
    Nacked {
        status: u16,
        #[serde(flatten)]
        nacked: Nacked,
    },
    Refused {
        status: u16,
        problem: Problem,
    },
}

/// POST /v1/receipts/settle
pub(super) async fn settle_messages(State(state): Shared, mut query: Query, request: Request) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let Settle { entries } = read_json(&parts.headers, body).await?;
    if entries.len() > BATCH_ENTRIES_MAX {
        let (entries, bytes) = (entries.len(), 0);
        let (entries_max, bytes_max) = (BATCH_ENTRIES_MAX, 0);
        return Err(BrokerError::BatchTooLarge { entries, bytes, entries_max, bytes_max }.into());
    }
    let actions: Vec<_> = entries.iter().enumerate().map(|(at, entry)| action(entry, at)).collect();
    let of_kind = |ack: bool| {
        let pairs = entries.iter().zip(&actions);
        pairs.filter_map(move |(entry, action)| {
            let action = action.as_ref().ok()?;
            (matches!(action, Action::Ack) == ack).then_some((entry.receipt_handle.as_str(), action))
        })
    };
    let acks: Vec<&str> = of_kind(true).map(|(handle, _)| handle).collect();
    let changes: Vec<_> = of_kind(false)
        .map(|(handle, action)| match action {
            Action::Extend(invisible) => (handle, Some(*invisible), false),
            Action::Nack { after, suspend } => (handle, *after, *suspend),
            Action::Ack => unreachable!("acks were taken out"),
        })
        .collect();
    let mut acked = state.messaging.ack_messages(acks).await?.into_iter();
    let mut changed = state.messaging.change_invisible_durations(changes).await?.into_iter();

    let results: Vec<OneOf> = actions
        .into_iter()
        .map(|action| match settled(action, &mut acked, &mut changed, as_ms) {
            Ok(one) => one,
            Err(error) => {
                let problem = Problem::of_entry(&error);
                OneOf::Refused { status: problem.status, problem }
            }
        })
        .collect();
    let failed = results.iter().filter(|result| matches!(result, OneOf::Refused { .. })).count();
    let status = if failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok(json(status, &Settled { summary: Summary { ok: results.len() - failed, failed }, results }))
}

fn settled(
    action: Result<Action, GatewayError>,
    acked: &mut impl Iterator<Item = Result<(), GatewayError>>,
    changed: &mut impl Iterator<Item = Result<crate::messaging::ChangedReceipt, GatewayError>>,
    as_ms: bool,
) -> Result<OneOf, GatewayError> {
    match action? {
        Action::Ack => {
            acked.next().expect("one answer per ack")?;
            Ok(OneOf::Acked { status: 204 })
        }
        Action::Extend(_) => {
            let changed = changed.next().expect("one answer per change")?;
            let invisible_until = Time { at: changed.invisible_until, as_ms };
            let extended = Extended { receipt_handle: changed.receipt_handle, invisible_until };
            Ok(OneOf::Extended { status: 200, extended })
        }
        Action::Nack { .. } => {
            let changed = changed.next().expect("one answer per change")?;
            let nacked = Nacked { visible_at: Time { at: changed.invisible_until, as_ms } };
            Ok(OneOf::Nacked { status: 200, nacked })
        }
    }
}

fn action(entry: &SettleEntry, at: usize) -> Result<Action, GatewayError> {
    let pointer = |field: &str| format!("/entries/{at}/{field}");
    match entry.action.as_str() {
        "ack" => Ok(Action::Ack),
        "extend" => {
            let pointer = pointer("invisibleDuration");
            let text = entry.invisible_duration.as_ref().ok_or_else(|| invalid_field(&pointer, "is missing"))?;
            Ok(Action::Extend(invisible(text, &pointer)?))
        }
        "nack" => {
            let after = entry.retry_after.as_ref().map(|text| invisible(text, &pointer("retryAfter"))).transpose()?;
            Ok(Action::Nack { after, suspend: entry.suspend })
        }
        "deadLetter" => Err(GatewayError::NotImplemented { what: "moving a message to the dead letter queue".into() }),
        _ => Err(invalid_field(&pointer("action"), "must be ack, nack or extend")),
    }
}
