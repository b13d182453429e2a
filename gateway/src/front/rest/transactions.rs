//! Transactions: publishing half messages, deciding them, answering checks, and showing what is open.

use std::time::Duration;

use axum::extract::{Request, State};
use gantry_broker_core::broker::{
    CheckTransactions, HalfMessageId, ListTransactions, SendReceipt, TRANSACTION_CHECKS_MAX, TransactionResolution,
};
use gantry_broker_core::message::Transaction;
use gantry_broker_core::names::ProducerGroup;
use gantry_broker_core::offset::QueueOffset;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::json::Fields;
use super::list::{Listing, PageWish};
use super::message_json::{MessageOut, View};
use super::messages::{Published, publish};
use super::openapi::{ChecksIn, EnvelopeIn, MessageHeaders, TimeParams, ViewParams, WaitingForChecks};
use super::request::{Query, Segments, json, prefer_wait, read_json, topic_name};
use super::units::{Time, parse_duration};
use super::{Answer, RestState, Shared};
use crate::error::{FieldAt, GatewayError};

/// A page of large bodies ends here; the next one goes on.
const PAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// What is told of a half message: what is told of any, and its transaction.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublishedHalf<'a> {
    #[serde(flatten)]
    published: Published<'a>,
    /// Names the transaction to whoever decides it.
    transaction_handle: String,
    transaction_id: String,
    /// Until then it can be decided; later it is given up if nobody answers its checks.
    expires_at: Option<Time>,
}

impl<'a> PublishedHalf<'a> {
    pub(super) fn new(
        state: &RestState,
        published: Published<'a>,
        receipt: &SendReceipt,
        times_as_ms: bool,
    ) -> PublishedHalf<'a> {
        let half = HalfMessageId::new(&receipt.unique_key, receipt.queue_offset, receipt.commit_log_offset);
        PublishedHalf {
            published,
            transaction_handle: state.messaging.transaction_handle(&state.broker_name, half),
            transaction_id: receipt.unique_key.to_string(),
            expires_at: receipt.decide_until.map(|at| Time { at, as_ms: times_as_ms }),
        }
    }
}

/// Publishes a half message: nobody receives it before its transaction is committed
#[utoipa::path(post, path = "/v1/topics/{topic}/transactions", tag = "transactions", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), MessageHeaders, TransactionHeaders, TimeParams), request_body(content((Vec<u8> = "*/*"), (EnvelopeIn = "application/vnd.gantry.message+json"))), responses((status = 201, description = "Stored as the broker promises", body = PublishedHalf<'static>), (status = 200, description = "Stored before under the same idempotency key", body = PublishedHalf<'static>)))]
pub(super) async fn send_half_message(
    State(state): Shared,
    Segments(topic): Segments<String>,
    query: Query,
    request: Request,
) -> Answer {
    let transaction = transaction(request.headers())?;
    publish(&state, &topic, query, request, Some(transaction)).await
}

/// What makes a publish the half of a transaction.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)]
struct TransactionHeaders {
    /// Whose members can say what became of the transaction
    #[param(rename = "Gantry-Producer-Group", min_length = 1, max_length = 127)]
    producer_group: String,
    /// When it is asked first what became of it, such as `30s`; an hour at most
    #[param(rename = "Gantry-Check-After")]
    check_after: Option<String>,
}

fn transaction(headers: &HeaderMap) -> Result<Transaction, GatewayError> {
    let at = |name: &'static str| FieldAt::Header(name);
    let text = |name: &'static str| {
        let mut given = headers.get_all(name).iter();
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let unreadable = || GatewayError::MalformedRequest { reason: format!("{name} cannot be read") };
                value.to_str().map(Some).map_err(|_| unreadable().at_field(at(name)))
            }
            (Some(_), Some(_)) => {
                Err(GatewayError::MalformedRequest { reason: format!("{name} is given twice") }.at_field(at(name)))
            }
        }
    };
    let missing = || {
        let reason = "say which producer group can tell what became of the transaction".to_string();
        GatewayError::InvalidParameter { at: at("Gantry-Producer-Group"), reason }
    };
    let producer_group = text("Gantry-Producer-Group")?.ok_or_else(missing)?;
    let producer_group = producer_group_name(producer_group, at("Gantry-Producer-Group"))?;
    let check_after = text("Gantry-Check-After")?;
    let check_after = check_after.map(|text| parse_duration(text, at("Gantry-Check-After"))).transpose()?;
    Ok(Transaction { producer_group, check_after })
}

fn producer_group_name(name: &str, at: FieldAt) -> Result<ProducerGroup, GatewayError> {
    ProducerGroup::from_client(name).map_err(|error| GatewayError::InvalidProducerGroup(error).at_field(at))
}

/// Commits a transaction: its message is delivered
#[utoipa::path(post, path = "/v1/transactions/{transactionHandle}/commit", tag = "transactions", params(("transactionHandle" = String, Path)), responses((status = 204, description = "Committed, now or before")))]
pub(super) async fn commit_transaction(
    State(state): Shared,
    Segments(handle): Segments<String>,
    query: Query,
) -> Answer {
    decide(&state, &handle, query, TransactionResolution::Commit).await
}

/// Rolls a transaction back: its message is never delivered
#[utoipa::path(post, path = "/v1/transactions/{transactionHandle}/rollback", tag = "transactions", params(("transactionHandle" = String, Path)), responses((status = 204, description = "Rolled back, now or before")))]
pub(super) async fn roll_back_transaction(
    State(state): Shared,
    Segments(handle): Segments<String>,
    query: Query,
) -> Answer {
    decide(&state, &handle, query, TransactionResolution::Rollback).await
}

async fn decide(state: &RestState, handle: &str, query: Query, resolution: TransactionResolution) -> Answer {
    query.end()?;
    state.messaging.end_transaction(&state.broker_name, None, handle, resolution).await?;
    Ok(axum::response::IntoResponse::into_response(StatusCode::NO_CONTENT))
}

#[derive(Serialize, ToSchema)]
struct Checks<'a> {
    checks: Vec<Check<'a>>,
}

/// The question what became of a transaction: commit it or roll it back by its handle, or leave it open.
#[derive(Serialize, ToSchema)]
#[schema(as = TransactionCheck)]
#[serde(rename_all = "camelCase")]
struct Check<'a> {
    transaction_handle: String,
    message: MessageOut<'a>,
    /// How often it was asked, this time included.
    check_count: u32,
    /// When it is asked again.
    next_check_at: Time,
}

/// Asks what became of the transactions of a producer group that are due for a check
#[utoipa::path(post, path = "/v1/producer-groups/{producerGroup}/transaction-checks/receive", tag = "transactions", params(("producerGroup" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), ViewParams, WaitingForChecks), request_body = Option<ChecksIn>, responses((status = 200, description = "Up to `maxMessages`", body = Checks<'static>)))]
pub(super) async fn check_transactions(
    State(state): Shared,
    Segments(producer_group): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let producer_group = producer_group_name(&producer_group, FieldAt::Path("producerGroup"))?;
    let view = View::take(&mut query)?;
    query.end()?;
    let (parts, body) = request.into_parts();
    let wait = prefer_wait(&parts.headers)?;
    let text = read_json(&parts.headers, body).await?;
    let mut fields = Fields::parse(&text)?;
    let checks_max = fields.count("maxMessages")?.unwrap_or(1);
    if !(1..=TRANSACTION_CHECKS_MAX).contains(&checks_max) {
        return Err(fields.refuse("maxMessages", "must be 1 to 32"));
    }
    fields.end()?;
    let waiting = wait.unwrap_or_default();
    let check = CheckTransactions { producer_group, checks_max, wait: waiting };
    let taken = state.messaging.check_transactions(check).await?;
    let checks = taken
        .iter()
        .map(|check| Check {
            transaction_handle: state.messaging.transaction_handle(&state.broker_name, check.half),
            message: MessageOut::stored(&check.message, &state.broker_name, view),
            check_count: check.checks,
            next_check_at: view.time(check.next_check),
        })
        .collect();
    let mut response = json(StatusCode::OK, &Checks { checks });
    if wait.is_some()
        && let Ok(applied) = HeaderValue::from_str(&format!("wait={}", waiting.as_secs()))
    {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

#[derive(Serialize, ToSchema)]
#[schema(as = TransactionPage)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    items: Vec<Open<'a>>,
    /// Goes on where this answer ends.
    next_cursor: Option<String>,
    scan: Scanned,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TransactionScan)]
struct Scanned {
    /// Half messages looked at, those of other topics included.
    scanned: u64,
    /// Nothing that was asked for is left.
    complete: bool,
}

/// A transaction that nobody has decided.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenTransaction)]
#[serde(rename_all = "camelCase")]
struct Open<'a> {
    transaction_handle: String,
    message_id: &'a str,
    producer_group: &'a str,
    born_timestamp: Time,
    check_count: u32,
    next_check_at: Time,
    /// As its producer sent it; `bodyAs=none` leaves the body out.
    message: MessageOut<'a>,
}

/// Which of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code)]
struct Which {
    producer_group: Option<String>,
    /// Born so long ago, such as `1m`
    older_than: Option<String>,
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `nextCursor` of the page before
    cursor: Option<String>,
}

/// Transactions of a topic that nobody has decided, the oldest first
#[utoipa::path(get, path = "/v1/topics/{topic}/transactions", tag = "transactions", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$"), Which, ViewParams), responses((status = 200, description = "A page of them", body = Page<'static>)))]
pub(super) async fn list_transactions(
    State(state): Shared,
    Segments(topic): Segments<String>,
    mut query: Query,
) -> Answer {
    let topic = topic_name(&topic)?;
    let view = View::take(&mut query)?;
    let at = |name: &str| FieldAt::Query(name.into());
    let producer_group = query.take("producerGroup")?;
    let older_than = query.take("olderThan")?;
    let page = PageWish::take(&mut query)?;
    query.end()?;
    let listing = Listing::new("transactions", format!("{topic} {producer_group:?} {older_than:?}"));
    let from = page.position(&state, &listing, |text| text.parse().ok().map(QueueOffset))?.unwrap_or(QueueOffset(0));
    let producer_group = producer_group.map(|name| producer_group_name(&name, at("producerGroup"))).transpose()?;
    let older_than: Option<Duration> = older_than.map(|text| parse_duration(&text, at("olderThan"))).transpose()?;
    let list = ListTransactions {
        topic,
        producer_group,
        born_before: older_than.map(|age| state.now().minus(age)),
        from,
        transactions_max: page.limit,
        bytes_max: PAGE_BYTES_MAX,
    };
    let listed = state.messaging.broker.list_transactions(list).await?;
    let items = listed
        .transactions
        .iter()
        .map(|open| Open {
            transaction_handle: state.messaging.transaction_handle(&state.broker_name, open.half),
            message_id: open.message.unique_key().unwrap_or_default(),
            producer_group: open.producer_group.as_str(),
            born_timestamp: view.time(open.message.born_timestamp),
            check_count: open.checks,
            next_check_at: view.time(open.next_check),
            message: MessageOut::stored(&open.message, &state.broker_name, view),
        })
        .collect();
    let next_cursor = (!listed.complete).then(|| listing.cursor(&state, listed.next.0));
    let scan = Scanned { scanned: listed.scanned, complete: listed.complete };
    Ok(json(StatusCode::OK, &Page { items, next_cursor, scan }))
}
