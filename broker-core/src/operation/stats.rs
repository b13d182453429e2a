//! What went through a topic or the whole broker since the start, and how fast lately.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::broker::{BrokerStats, TopicStats, TransactionStats};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::metrics::TrafficStats;
use crate::names::TopicName;
use crate::operation::half_messages;

pub(crate) fn topic_stats(parts: &Parts, name: &TopicName) -> Result<TopicStats, BrokerError> {
    let tables = parts.tables();
    let topic = tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
    let queues = parts.store.queues(name);
    let kept = queues.iter().map(|queue| queue.max_offset().0.saturating_sub(queue.min_offset().0));
    let (messages, traffic) = (kept.sum(), topic.traffic.stats(parts.store.now()));
    let (sizes, transactions) = (topic.traffic.sizes.stats(), topic.traffic.transactions.stats());
    // Before those still to be looked at are read.
    drop(tables);
    let open = half_messages::open_of(parts, name)?;
    Ok(TopicStats { messages, traffic, sizes, transactions: TransactionStats { open, ..transactions } })
}

pub(crate) fn broker_stats(parts: &Parts) -> BrokerStats {
    let now = parts.store.now();
    let tables = parts.tables();
    let live = tables.topics().map(|topic| topic.traffic.stats(now));
    let traffic: TrafficStats = live.chain([parts.traffic_of_deleted.stats(now)]).sum();
    let uptime: Duration = now.since(parts.started);
    let state_bytes = parts.state_bytes.load(Ordering::Relaxed);
    let grown = parts.store.max_offset().0 - parts.log_at_start.0;
    BrokerStats {
        traffic,
        parked_receives: parts.long_polling.len(),
        transactions_given_up: parts.transactions.given_up(),
        idempotency_keys: parts.idempotency.len(),
        state_bytes,
        message_bytes: grown.saturating_sub(state_bytes),
        uptime,
    }
}
