//! What went through a topic or the whole broker since the start, and how fast lately.

use std::time::Duration;

use crate::broker::{BrokerStats, TopicStats};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::metrics::TrafficStats;
use crate::names::TopicName;

pub(crate) fn topic_stats(parts: &Parts, name: &TopicName) -> Result<TopicStats, BrokerError> {
    let tables = parts.tables();
    let topic = tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
    let queues = parts.store.queues(name);
    let kept = queues.iter().map(|queue| queue.max_offset().0.saturating_sub(queue.min_offset().0));
    Ok(TopicStats { messages: kept.sum(), traffic: topic.traffic.stats(parts.store.now()) })
}

pub(crate) fn broker_stats(parts: &Parts) -> BrokerStats {
    let now = parts.store.now();
    let tables = parts.tables();
    let live = tables.topics().map(|topic| topic.traffic.stats(now));
    let traffic: TrafficStats = live.chain([parts.traffic_of_deleted.stats(now)]).sum();
    let uptime: Duration = now.since(parts.started);
    BrokerStats { traffic, parked_receives: parts.long_polling.len(), uptime }
}
