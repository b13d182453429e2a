//! Settling: ack, extend, give back; one or many.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::IntoResponse;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{DeadLetterReason, INVISIBLE_DURATION_MAX};
use gantry_broker_core::message::BATCH_ENTRIES_MAX;
use gantry_broker_core::names::TopicName;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::json::Fields;
use super::openapi::{DeadLetterIn, ExtendIn, NackIn, SettleIn, SettleResult, TimeParams};
use super::problem::Problem;
use super::request::{Query, Segments, json, read_json};
use super::units::Time;
use super::{Answer, Shared};
use crate::error::{FieldAt, GatewayError};
use crate::messaging::ChangedReceipt;

/// Acknowledges one delivery
#[utoipa::path(delete, path = "/v1/receipts/{handle}", tag = "receipts", params(("handle" = String, Path, description = "As it was received")), responses((status = 204, description = "Done with, also when it was before")))]
pub(super) async fn ack_message(State(state): Shared, Segments(handle): Segments<String>, query: Query) -> Answer {
    query.end()?;
    state.messaging.ack_messages([handle.as_str()]).await?.remove(0)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Extended {
    receipt_handle: String,
    invisible_until: Time,
}

/// Moves the end of a lease
#[utoipa::path(patch, path = "/v1/receipts/{handle}", tag = "receipts", params(("handle" = String, Path, description = "As it was received"), TimeParams), request_body = ExtendIn, responses((status = 200, description = "A new handle; the old one is void", body = Extended)))]
pub(super) async fn change_invisible_duration(
    State(state): Shared,
    Segments(handle): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let mut fields = Fields::parse(&text)?;
    let invisible = invisible(&mut fields, "invisibleDuration")?;
    let invisible = fields.required("invisibleDuration", invisible)?;
    fields.end()?;
    let changes = [(handle.as_str(), Some(invisible), false)];
    let changed = state.messaging.change_invisible_durations(changes).await?.remove(0)?;
    let invisible_until = Time { at: changed.invisible_until, as_ms };
    Ok(json(StatusCode::OK, &Extended { receipt_handle: changed.receipt_handle, invisible_until }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Nacked {
    visible_at: Time,
}

/// Gives a message back for redelivery
#[utoipa::path(post, path = "/v1/receipts/{handle}/nack", tag = "receipts", params(("handle" = String, Path, description = "As it was received"), TimeParams), request_body = Option<NackIn>, responses((status = 200, description = "When it comes back", body = Nacked)))]
pub(super) async fn nack_message(
    State(state): Shared,
    Segments(handle): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let mut fields = Fields::parse(&text)?;
    let after = invisible(&mut fields, "retryAfter")?;
    let suspend = fields.flag("suspend")?.unwrap_or_default();
    fields.end()?;
    let changes = [(handle.as_str(), after, suspend)];
    let changed = state.messaging.change_invisible_durations(changes).await?.remove(0)?;
    Ok(json(StatusCode::OK, &Nacked { visible_at: Time { at: changed.invisible_until, as_ms } }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeadLettered {
    dlq_topic: String,
}

/// Gives a message up: it moves to its group's dead letter queue
#[utoipa::path(post, path = "/v1/receipts/{handle}/dead-letter", tag = "receipts", params(("handle" = String, Path, description = "As it was received")), request_body = Option<DeadLetterIn>, responses((status = 200, description = "Where it is, also when it was settled before", body = DeadLettered)))]
pub(super) async fn forward_message_to_dead_letter_queue(
    State(state): Shared,
    Segments(handle): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let mut fields = Fields::parse(&text)?;
    let reason = reason(&mut fields)?;
    fields.end()?;
    let forwards = [(handle.as_str(), reason)];
    let dlq_topic = state.messaging.forward_messages_to_dead_letter_queue(forwards).await?.remove(0)?;
    Ok(json(StatusCode::OK, &DeadLettered { dlq_topic: dlq_topic.to_string() }))
}

/// Why a message is given up.
fn reason(fields: &mut Fields<'_>) -> Result<Option<DeadLetterReason>, GatewayError> {
    let Some(reason) = fields.text("reason")?.filter(|reason| !reason.is_empty()) else { return Ok(None) };
    let reason = DeadLetterReason::new(&reason);
    Ok(Some(reason.map_err(|error| GatewayError::from(error).at_field(fields.at("reason")))?))
}

/// How long a message shall stay away from now on.
fn invisible(fields: &mut Fields<'_>, name: &str) -> Result<Option<Duration>, GatewayError> {
    let duration = fields.duration(name)?;
    if duration.is_some_and(|duration| duration > INVISIBLE_DURATION_MAX) {
        let (min, max) = (Duration::ZERO, INVISIBLE_DURATION_MAX);
        let error = GatewayError::from(BrokerError::InvalidInvisibleDuration { min, max });
        return Err(error.at_field(fields.at(name)));
    }
    Ok(duration)
}

/// One entry of a settle: which delivery, and what becomes of it.
#[derive(Debug)]
struct Entry<'a> {
    receipt_handle: Cow<'a, str>,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Ack,
    Extend(Duration),
    Nack { after: Option<Duration>, suspend: bool },
    DeadLetter { reason: Option<DeadLetterReason> },
}

#[derive(Serialize, ToSchema)]
struct Settled {
    summary: Summary,
    #[schema(value_type = Vec<SettleResult>)]
    results: Vec<OneOf>,
}

#[derive(Serialize, ToSchema)]
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
    DeadLettered {
        status: u16,
        #[serde(flatten)]
        dead_lettered: DeadLettered,
    },
    Refused {
        status: u16,
        problem: Problem,
    },
}

/// Settles many deliveries, of any topics and groups
#[utoipa::path(post, path = "/v1/receipts/settle", tag = "receipts", params(TimeParams), request_body = SettleIn, responses((status = 200, description = "All were settled", body = Settled), (status = 207, description = "Some were refused", body = Settled)))]
pub(super) async fn settle_messages(State(state): Shared, mut query: Query, request: Request) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let entries = read_entries(&text)?;
    let (mut acks, mut changes, mut forwards) = (Vec::new(), Vec::new(), Vec::new());
    for Entry { receipt_handle, action } in entries.iter().flatten() {
        let handle = &**receipt_handle;
        match action {
            Action::Ack => acks.push(handle),
            Action::Extend(invisible) => changes.push((handle, Some(*invisible), false)),
            Action::Nack { after, suspend } => changes.push((handle, *after, *suspend)),
            Action::DeadLetter { reason } => forwards.push((handle, reason.clone())),
        }
    }
    // A refusal of one part must not hide what became of the others.
    let (acks_count, changes_count, forwards_count) = (acks.len(), changes.len(), forwards.len());
    let acked = state.messaging.ack_messages(acks).await;
    let changed = state.messaging.change_invisible_durations(changes).await;
    let forwarded = match forwards.is_empty() {
        true => Ok(Vec::new()),
        false => state.messaging.forward_messages_to_dead_letter_queue(forwards).await,
    };
    let mut outcomes = Outcomes {
        acked: each(acked, acks_count),
        changed: each(changed, changes_count),
        forwarded: each(forwarded, forwards_count),
        as_ms,
    };

    let results: Vec<OneOf> = entries
        .into_iter()
        .map(|entry| match entry.and_then(|entry| outcomes.of(&entry.action)) {
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

/// What became of each kind of entry, in the order of the entries.
struct Outcomes<A, C, F> {
    acked: A,
    changed: C,
    forwarded: F,
    as_ms: bool,
}

impl<A, C, F> Outcomes<A, C, F>
where
    A: Iterator<Item = Result<(), GatewayError>>,
    C: Iterator<Item = Result<ChangedReceipt, GatewayError>>,
    F: Iterator<Item = Result<TopicName, GatewayError>>,
{
    fn of(&mut self, action: &Action) -> Result<OneOf, GatewayError> {
        let as_ms = self.as_ms;
        Ok(match action {
            Action::Ack => {
                self.acked.next().expect("one answer per ack")?;
                OneOf::Acked { status: 204 }
            }
            Action::Extend(_) => {
                let changed = self.changed.next().expect("one answer per change")?;
                let invisible_until = Time { at: changed.invisible_until, as_ms };
                let extended = Extended { receipt_handle: changed.receipt_handle, invisible_until };
                OneOf::Extended { status: 200, extended }
            }
            Action::Nack { .. } => {
                let changed = self.changed.next().expect("one answer per change")?;
                let nacked = Nacked { visible_at: Time { at: changed.invisible_until, as_ms } };
                OneOf::Nacked { status: 200, nacked }
            }
            Action::DeadLetter { .. } => {
                let dlq_topic = self.forwarded.next().expect("one answer per dead letter")?.to_string();
                OneOf::DeadLettered { status: 200, dead_lettered: DeadLettered { dlq_topic } }
            }
        })
    }
}

/// An answer for each entry, also when there was only one for all.
fn each<T>(
    answers: Result<Vec<Result<T, GatewayError>>, GatewayError>,
    count: usize,
) -> impl Iterator<Item = Result<T, GatewayError>> {
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    };
    answers.into_iter()
}

/// The entries as they were written; one that cannot be read is answered alone.
fn read_entries(text: &[u8]) -> Result<Vec<Result<Entry<'_>, GatewayError>>, GatewayError> {
    let mut fields = Fields::parse(text)?;
    let entries = fields.list("entries")?;
    let entries = fields.required("entries", entries)?;
    fields.end()?;
    if entries.is_empty() {
        let at = FieldAt::Pointer("/entries".into());
        return Err(GatewayError::InvalidParameter { at, reason: "there is nothing to settle".into() });
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        let (entries, bytes) = (entries.len(), 0);
        let (entries_max, bytes_max) = (BATCH_ENTRIES_MAX, 0);
        return Err(BrokerError::BatchTooLarge { entries, bytes, entries_max, bytes_max }.into());
    }
    let entry = |(number, json)| read_entry(Fields::of(json, format!("/entries/{number}"))?);
    Ok(entries.into_iter().enumerate().map(entry).collect())
}

fn read_entry(mut fields: Fields<'_>) -> Result<Entry<'_>, GatewayError> {
    let receipt_handle = fields.text("receiptHandle")?;
    let receipt_handle = fields.required("receiptHandle", receipt_handle)?;
    let action = fields.text("action")?;
    let action = match &*fields.required("action", action)? {
        "ack" => Action::Ack,
        "extend" => {
            let invisible = invisible(&mut fields, "invisibleDuration")?;
            Action::Extend(fields.required("invisibleDuration", invisible)?)
        }
        "nack" => Action::Nack {
            after: invisible(&mut fields, "retryAfter")?,
            suspend: fields.flag("suspend")?.unwrap_or_default(),
        },
        "deadLetter" => Action::DeadLetter { reason: reason(&mut fields)? },
        _ => return Err(fields.refuse("action", "must be ack, nack, extend or deadLetter")),
    };
    fields.end()?;
    Ok(Entry { receipt_handle, action })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::error_table::answer;

    #[test]
    fn entries_are_read_one_by_one() {
        let text = br#"{"entries":[
            {"receiptHandle":"a","action":"ack"},
            {"receiptHandle":"b","action":"nack"},
            {"receiptHandle":"c","action":"nack","retryAfter":"30s","suspend":true},
            {"receiptHandle":"d","action":"extend","invisibleDuration":"0s"},
            {"receiptHandle":"e","action":"extend"},
            {"receiptHandle":"f","action":"extend","invisibleDuration":"13h"},
            {"receiptHandle":"g","action":"deadLetter","reason":"no such account"},
            {"receiptHandle":"h","action":"ack","retryAfter":"1s"},
            {"action":"ack"},
            {"receiptHandle":"j","action":"forget"},
            7
        ]}"#;
        let read: Vec<_> = read_entries(text)
            .unwrap()
            .into_iter()
            .map(|entry| entry.map(|entry| entry.action).map_err(|error| answer(&error).code))
            .collect();
        let after = Some(Duration::from_secs(30));
        assert_eq!(
            read,
            [
                Ok(Action::Ack),
                Ok(Action::Nack { after: None, suspend: false }),
                Ok(Action::Nack { after, suspend: true }),
                Ok(Action::Extend(Duration::ZERO)),
                Err("invalid_parameter"),
                Err("invalid_invisible_duration"),
                Ok(Action::DeadLetter { reason: Some(DeadLetterReason::new("no such account").unwrap()) }),
                Err("unknown_field"),
                Err("invalid_parameter"),
                Err("invalid_parameter"),
                Err("invalid_parameter"),
            ]
        );
    }

    #[test]
    fn a_settle_has_bounds() {
        assert!(read_entries(b"{}").is_err() && read_entries(b"{\"entries\":[]}").is_err());
        let many = format!("{{\"entries\":[0{}]}}", ",0".repeat(BATCH_ENTRIES_MAX));
        let error = read_entries(many.as_bytes()).unwrap_err();
        assert_eq!(answer(&error).code, "batch_too_large");
    }

    #[test]
    fn one_answer_for_all_is_one_for_each() {
        let all: Vec<Result<(), _>> = each(Err(BrokerError::Draining.into()), 2).collect();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(Result::is_err));
        assert_eq!(each(Ok(vec![Ok(1), Ok(2)]), 2).flatten().collect::<Vec<_>>(), [1, 2]);
    }
}
