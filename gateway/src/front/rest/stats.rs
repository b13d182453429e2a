//! Live figures: what went through a topic or a broker since the start, and how fast lately.

use axum::extract::State;
use gantry_broker_core::broker::TransactionStats;
use gantry_broker_core::metrics::TrafficStats;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::brokers::check_name;
use super::request::{Query, Segments, json, topic_name};
use super::{Answer, Shared};
use crate::duration;

/// Totals since the broker started, rates over the last ten whole seconds.
#[derive(Serialize, ToSchema)]
#[schema(as = Traffic)]
#[serde(rename_all = "camelCase")]
struct TrafficOut {
    /// Stored.
    messages_in: u64,
    /// Handed out on leases, repeated deliveries included.
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    tps_in: f64,
    tps_out: f64,
}

impl From<TrafficStats> for TrafficOut {
    fn from(traffic: TrafficStats) -> TrafficOut {
        TrafficOut {
            messages_in: traffic.messages_in,
            messages_out: traffic.messages_out,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            tps_in: traffic.messages_in_per_second,
            tps_out: traffic.messages_out_per_second,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = TopicStats)]
#[serde(rename_all = "camelCase")]
struct TopicStatsOut {
    /// Kept now.
    messages: u64,
    #[serde(flatten)]
    traffic: TrafficOut,
    transactions: TransactionsOut,
}

/// Transactions of a topic.
#[derive(Serialize, ToSchema)]
#[schema(as = TransactionStats)]
#[serde(rename_all = "camelCase")]
struct TransactionsOut {
    /// Nobody has decided them.
    open: u64,
    /// Since the broker started.
    committed: u64,
    rolled_back: u64,
}

/// What a topic holds, and what goes through it
#[utoipa::path(get, path = "/v1/topics/{topic}/stats", tag = "topics", params(("topic" = String, Path, max_length = 127, pattern = "^[%|a-zA-Z0-9_-]+$")), responses((status = 200, description = "Totals since the broker started, rates over the last ten whole seconds", body = TopicStatsOut)))]
pub(super) async fn topic_stats(State(state): Shared, Segments(topic): Segments<String>, query: Query) -> Answer {
    let topic = topic_name(&topic)?;
    query.end()?;
    let stats = state.messaging.broker.topic_stats(topic).await?;
    let TransactionStats { open, committed, rolled_back, .. } = stats.transactions;
    let transactions = TransactionsOut { open, committed, rolled_back };
    Ok(json(StatusCode::OK, &TopicStatsOut { messages: stats.messages, traffic: stats.traffic.into(), transactions }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = BrokerStats)]
#[serde(rename_all = "camelCase")]
struct BrokerStatsOut {
    broker_name: String,
    #[serde(flatten)]
    traffic: TrafficOut,
    parked_receives: usize,
    uptime: String,
}

/// What goes through a broker
#[utoipa::path(get, path = "/v1/brokers/{broker}/stats", tag = "cluster", params(("broker" = String, Path)), responses((status = 200, description = "Totals since it started, rates over the last ten whole seconds", body = BrokerStatsOut)))]
pub(super) async fn broker_stats(State(state): Shared, Segments(broker): Segments<String>, query: Query) -> Answer {
    query.end()?;
    check_name(&state, &broker)?;
    let stats = state.messaging.broker.broker_stats().await?;
    let out = BrokerStatsOut {
        broker_name: broker,
        traffic: stats.traffic.into(),
        parked_receives: stats.parked_receives,
        uptime: duration::format(std::time::Duration::from_secs(stats.uptime.as_secs())),
    };
    Ok(json(StatusCode::OK, &out))
}
