//! What Prometheus reads: every family by name, and the text of a scrape.
//!
//! RocketMQ's names for what they name, `gantry_*` for the rest. Counts of requests go through the `metrics` facade into
//! the exporter; what the broker counts itself is read at the scrape and written here, so that a topic that is gone is
//! gone from the figures too. Labels are bounded: routes are templates, topics and groups end at `SERIES_MAX`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use gantry_broker_core::broker::{Consumption, Topic, TopicStats, TransactionStats};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::MessageType;
use gantry_broker_core::metrics::HistogramStats;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::{Broker, BrokerError};
use http::{Method, StatusCode};
use metrics::{Counter, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Most topics, and most pairs of group and topic, that one scrape tells of: the rest is summed up under `_other`.
pub const SERIES_MAX: usize = 1_000;
/// The exporter's samples are put into their buckets this often.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

const HTTP_SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// RocketMQ's.
const RPC_MS: [f64; 9] = [1.0, 3.0, 5.0, 7.0, 10.0, 100.0, 1000.0, 2000.0, 3000.0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One name with all that may be known of it.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    /// Beside `cluster`, `node_type` and `node_id`, which every `rocketmq_` name has.
    pub labels: &'static str,
    pub meaning: &'static str,
}

#[rustfmt::skip]
pub const FAMILIES: &[Family] = &[
    family("rocketmq_broker_permission", Kind::Gauge, "", "6: reads and writes; 4: refuses messages"),
    family("rocketmq_topic_number", Kind::Gauge, "", "Topics, system topics included"),
    family("rocketmq_consumer_group_number", Kind::Gauge, "", "Consumer groups"),
    family("rocketmq_messages_in_total", Kind::Counter, "topic, message_type, is_system", "Messages stored since the start"),
    family("rocketmq_throughput_in_total", Kind::Counter, "topic, message_type, is_system", "Bytes of their records"),
    family("rocketmq_message_size_bytes", Kind::Histogram, "topic, message_type", "Bytes of the bodies stored; buckets 1 KiB, 4 KiB, 512 KiB, 1 MiB, 2 MiB, 4 MiB"),
    family("rocketmq_messages_out_total", Kind::Counter, "topic, consumer_group, is_retry, is_system", "Messages handed out since the start, repeated deliveries included"),
    family("rocketmq_throughput_out_total", Kind::Counter, "topic, consumer_group, is_retry, is_system", "Bytes of their records"),
    family("rocketmq_consumer_lag_messages", Kind::Gauge, "topic, consumer_group, is_retry, is_system", "Messages stored and not acknowledged"),
    family("rocketmq_consumer_lag_latency_milliseconds", Kind::Gauge, "topic, consumer_group, is_retry, is_system", "Age of the oldest message that is not acknowledged; 0 if there is none"),
    family("rocketmq_consumer_inflight_messages", Kind::Gauge, "topic, consumer_group, is_retry, is_system", "Messages handed out and not acknowledged"),
    family("rocketmq_consumer_ready_messages", Kind::Gauge, "topic, consumer_group, is_retry, is_system", "Messages that nobody of the group has taken"),
    family("gantry_consumer_redelivered_messages", Kind::Gauge, "topic, consumer_group, is_retry, is_system", "Of the messages in flight, those that were delivered before"),
    family("gantry_consumer_standing_queues", Kind::Gauge, "topic, consumer_group, is_retry, is_system", "Queues of which nothing new is handed out before something in flight is settled: the window is full, in order of messages whose message groups are all in flight"),
    family("rocketmq_send_to_dlq_messages_total", Kind::Counter, "topic, consumer_group, is_retry, is_system", "Messages given up since the start: now dead letters"),
    family("gantry_consumer_retried_messages_total", Kind::Counter, "topic, consumer_group, is_retry, is_system", "Messages in flight that were moved to the group's retry topic since the start: their segment was about to be deleted, or the window was full"),
    family("gantry_consumer_expired_messages_total", Kind::Counter, "topic, consumer_group, is_retry, is_system", "Messages that retention took before the group had settled them, since the start"),
    family("rocketmq_half_messages", Kind::Gauge, "topic", "Half messages whose transactions nobody has decided"),
    family("rocketmq_commit_messages_total", Kind::Counter, "topic", "Transactions committed since the start"),
    family("rocketmq_rollback_messages_total", Kind::Counter, "topic", "Transactions rolled back since the start"),
    family("rocketmq_finish_message_latency_seconds", Kind::Histogram, "topic", "Time from a half message to its decision; buckets 5 s to 24 h"),
    family("gantry_transactions_given_up_total", Kind::Counter, "", "Transactions that nobody decided in time: their half messages went to the holding topic"),
    family("rocketmq_storage_size_bytes", Kind::Gauge, "storage_type, storage_medium", "Bytes of the commit log"),
    family("rocketmq_storage_flush_behind_bytes", Kind::Gauge, "storage_type, storage_medium", "Bytes appended and not synced"),
    family("rocketmq_storage_dispatch_behind_bytes", Kind::Gauge, "storage_type, storage_medium", "Bytes confirmed and not in the consume queues"),
    family("rocketmq_storage_message_reserve_time_milliseconds", Kind::Gauge, "storage_type, storage_medium", "Age of the oldest record that is kept"),
    family("gantry_scheduled_messages", Kind::Gauge, "", "Messages that wait for their delivery time and were not recalled"),
    family("gantry_scheduled_behind_seconds", Kind::Gauge, "", "How long the first of them has been due"),
    family("gantry_fired_messages_total", Kind::Counter, "outcome", "Messages whose delivery time came: delivered, or dropped because their topic is gone"),
    family("gantry_idempotency_keys", Kind::Gauge, "", "Idempotency keys that are kept: a broker takes a million"),
    family("gantry_log_bytes_total", Kind::Counter, "of", "Bytes that the commit log has grown by since the start: state (what was taken, settled, created) and messages (all else)"),
    family("rocketmq_proxy_up", Kind::Gauge, "proxy_mode", "1 while the gateway serves"),
    family("rocketmq_rpc_latency_milliseconds", Kind::Histogram, "protocol_type, request_code, is_long_polling", "Time from a gRPC call to its answer's head, waits of receives included; buckets 1, 3, 5, 7, 10, 100, 1000, 2000, 3000 ms"),
    family("gantry_connections", Kind::Gauge, "", "Connections open now, on both ports"),
    family("gantry_connections_refused_total", Kind::Counter, "reason", "Connections closed as soon as they were accepted, by the key of the limit that they would have passed"),
    family("gantry_http_requests_total", Kind::Counter, "route, method, status_class", "HTTP requests answered, by route template"),
    family("gantry_http_request_duration_seconds", Kind::Histogram, "route, method", "Time from a request to its answer's head, waits of receives included; buckets 0.5 ms to 30 s"),
    family("gantry_refusals_total", Kind::Counter, "protocol, code", "Errors answered, by the error table's code"),
    family("gantry_published_messages_total", Kind::Counter, "outcome", "Messages that producers brought to the broker: stored or refused"),
    family("gantry_received_messages_total", Kind::Counter, "", "Messages given to consumers"),
    family("gantry_settled_receipts_total", Kind::Counter, "action, outcome", "Deliveries settled: ack or change (extend, give back); done or refused"),
    family("gantry_parked_receives", Kind::Gauge, "", "Receives that wait for messages"),
    family("gantry_store_sync_duration_seconds", Kind::Histogram, "", "Time that syncs of the commit log took; buckets 0.1 ms to 3 s"),
    family("gantry_disk_bytes", Kind::Gauge, "state", "The file system of the store: used and available"),
    family("gantry_series_left_out", Kind::Gauge, "of", "Topics and pairs of group and topic beyond the first 1,000 by name, summed up under _other where they can be"),
    family("gantry_build_info", Kind::Gauge, "version", "Always 1"),
    family("gantry_process_resident_memory_bytes", Kind::Gauge, "", "Memory that is in RAM, mapped files included"),
    family("gantry_process_anonymous_memory_bytes", Kind::Gauge, "", "Memory that is in RAM and belongs to no file"),
    family("gantry_process_cpu_seconds_total", Kind::Counter, "", "CPU time used"),
    family("gantry_process_open_fds", Kind::Gauge, "", "Open file descriptors"),
    family("gantry_process_start_time_seconds", Kind::Gauge, "", "When the process started, since 1970"),
];

const fn family(name: &'static str, kind: Kind, labels: &'static str, meaning: &'static str) -> Family {
    Family { name, kind, labels, meaning }
}

/// The table of all names, for people.
pub fn table() -> String {
    let mut text = String::from(
        "# Metrics\n\nGenerated from the list in the gateway; a test compares. Every `rocketmq_` name also has the labels\n\
         `cluster`, `node_type` and `node_id`, as in RocketMQ.\n\n| name | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for Family { name, kind, labels, meaning } in FAMILIES {
        let _ = writeln!(text, "| `{name}` | {} | {labels} | {meaning} |", kind.word());
    }
    text
}

/// Collects what the facade counts from now on. Once in a process, before anything counts.
pub fn install() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("gantry_http_request_duration_seconds".into()), &HTTP_SECONDS)
        .and_then(|it| it.set_buckets_for_metric(Matcher::Full("rocketmq_rpc_latency_milliseconds".into()), &RPC_MS))
        .expect("buckets are not empty")
        .build_recorder();
    let handle = recorder.handle();
    // A test that starts two gateways in one process has the first one's.
    let _ = metrics::set_global_recorder(recorder);
    for Family { name, kind, meaning, .. } in FAMILIES {
        match kind {
            Kind::Counter => describe_counter!(*name, *meaning),
            Kind::Histogram => describe_histogram!(*name, *meaning),
            Kind::Gauge => describe_gauge!(*name, *meaning),
        }
    }
    handle
}

/// Counts of the HTTP port. A handle is looked up once: when it counts for the first time.
pub struct HttpCounts {
    routes: HashMap<String, Vec<(Method, RouteCounts)>>,
    other: RouteCounts,
}

/// What never happened is not told: a scrape of all routes and outcomes would be a thousand zeros.
pub struct RouteCounts {
    labels: [Label; 2],
    by_class: [OnceLock<Counter>; 5],
    seconds: OnceLock<Histogram>,
}

impl HttpCounts {
    pub fn new(routes: impl Iterator<Item = (String, Method)>) -> HttpCounts {
        let mut known: HashMap<String, Vec<(Method, RouteCounts)>> = HashMap::new();
        for (route, method) in routes {
            let counts = RouteCounts::new(&route, method.as_str());
            known.entry(route).or_default().push((method, counts));
        }
        HttpCounts { routes: known, other: RouteCounts::new("other", "any") }
    }

    /// Those of a route's template; those of everything else where it is none of the API's.
    pub fn of(&self, route: Option<&str>, method: &Method) -> &RouteCounts {
        let methods = route.and_then(|route| self.routes.get(route)).map_or(&[][..], Vec::as_slice);
        methods.iter().find(|(known, _)| known == method).map_or(&self.other, |(_, counts)| counts)
    }
}

impl RouteCounts {
    fn new(route: &str, method: &str) -> RouteCounts {
        let labels = [Label::new("route", route.to_string()), Label::new("method", method.to_string())];
        RouteCounts { labels, by_class: [const { OnceLock::new() }; 5], seconds: OnceLock::new() }
    }

    pub fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        let counted = || {
            let class = Label::new("status_class", ["1xx", "2xx", "3xx", "4xx", "5xx"][class]);
            counter!("gantry_http_requests_total", [&self.labels[..], &[class]].concat())
        };
        self.by_class[class].get_or_init(counted).increment(1);
        let timed = || histogram!("gantry_http_request_duration_seconds", self.labels.to_vec());
        self.seconds.get_or_init(timed).record(took.as_secs_f64());
    }
}

/// Times of the gRPC port. Rpcs by name, those that come most often first.
pub struct RpcCounts {
    node: [Label; 4],
    milliseconds: [OnceLock<Histogram>; RPCS.len()],
}

/// What a call of no rpc of ours counts as: the last one.
const RPCS: [&str; 19] = [
    "SendMessage",
    "ReceiveMessage",
    "AckMessage",
    "ChangeInvisibleDuration",
    "Heartbeat",
    "QueryRoute",
    "QueryAssignment",
    "Telemetry",
    "NotifyClientTermination",
    "PullMessage",
    "UpdateOffset",
    "GetOffset",
    "QueryOffset",
    "EndTransaction",
    "RecallMessage",
    "ForwardMessageToDeadLetterQueue",
    "SyncLiteSubscription",
    "ChangeLogLevel",
    "other",
];

impl RpcCounts {
    pub fn new(cluster: &str, node_id: &str) -> RpcCounts {
        let node = [
            Label::new("cluster", cluster.to_string()),
            Label::new("node_type", "proxy"),
            Label::new("node_id", node_id.to_string()),
            Label::new("protocol_type", "grpc"),
        ];
        RpcCounts { node, milliseconds: [const { OnceLock::new() }; RPCS.len()] }
    }

    /// Which rpc a path means.
    pub fn rpc(&self, path: &str) -> usize {
        let name = path.rsplit('/').next().unwrap_or_default();
        RPCS.iter().position(|rpc| *rpc == name).unwrap_or(RPCS.len() - 1)
    }

    pub fn answered(&self, rpc: usize, took: Duration) {
        let timed = || {
            let is_long_polling = (RPCS[rpc] == "ReceiveMessage").to_string();
            let of_rpc = [Label::new("request_code", RPCS[rpc]), Label::new("is_long_polling", is_long_polling)];
            histogram!("rocketmq_rpc_latency_milliseconds", [&self.node[..], &of_rpc].concat())
        };
        self.milliseconds[rpc].get_or_init(timed).record(took.as_secs_f64() * 1e3);
    }
}

/// Counts of what messaging does, whatever the protocol.
pub struct MessagingCounts {
    stored: Counter,
    refused: Counter,
    received: Counter,
    settled: [[Counter; 2]; 3],
}

impl Default for MessagingCounts {
    fn default() -> MessagingCounts {
        let published = |outcome: &'static str| counter!("gantry_published_messages_total", "outcome" => outcome);
        let settled = |action: &'static str| {
            ["done", "refused"]
                .map(|outcome| counter!("gantry_settled_receipts_total", "action" => action, "outcome" => outcome))
        };
        MessagingCounts {
            stored: published("stored"),
            refused: published("refused"),
            received: counter!("gantry_received_messages_total"),
            settled: ["ack", "change", "dead_letter"].map(settled),
        }
    }
}

/// Which counter of a settle.
#[derive(Debug, Clone, Copy)]
pub enum Settle {
    Ack,
    Change,
    DeadLetter,
}

impl MessagingCounts {
    pub fn published<T, E>(&self, count: usize, results: &Result<Vec<Result<T, E>>, E>) {
        let stored = done(results);
        self.stored.increment(stored);
        self.refused.increment(count as u64 - stored);
    }

    pub fn received(&self, count: usize) {
        self.received.increment(count as u64);
    }

    pub fn settled<T, E>(&self, action: Settle, count: usize, results: &Result<Vec<Result<T, E>>, E>) {
        let [done_count, refused] = &self.settled[action as usize];
        let done = done(results);
        done_count.increment(done);
        refused.increment(count as u64 - done);
    }
}

fn done<T, E>(results: &Result<Vec<Result<T, E>>, E>) -> u64 {
    results.iter().flatten().filter(|result| result.is_ok()).count() as u64
}

/// An error was answered.
pub fn refused(protocol: &'static str, code: &'static str) {
    counter!("gantry_refusals_total", "protocol" => protocol, "code" => code).increment(1);
}

/// What the broker counts itself, as text.
pub async fn broker_text(broker: &dyn Broker, now: Timestamp) -> Result<String, BrokerError> {
    let described = broker.describe_broker().await?;
    let storage = broker.describe_storage().await?;
    let stats = broker.broker_stats().await?;
    let topics = broker.list_topics().await?;
    let mut consumptions = broker.list_consumptions(None, None).await?;
    // What the broker consumes itself, open half messages, has figures of its own.
    consumptions.retain(|one| !one.consumer_group.is_system());
    let node: Labels = vec![
        ("cluster", described.cluster_name),
        ("node_type", "broker".into()),
        ("node_id", described.broker_name.to_string()),
    ];
    let mut text = Text { out: String::with_capacity(64 * 1024), node };

    text.one("rocketmq_broker_permission", &[], if described.refuses_sends.is_some() { 4.0 } else { 6.0 });
    text.one("rocketmq_topic_number", &[], described.topics as f64);
    text.one("rocketmq_consumer_group_number", &[], described.consumer_groups as f64);

    let shown = topics.iter().filter(|topic| !topic.config.topic.is_system());
    let mut by_topic = Vec::new();
    for topic in shown.clone().take(SERIES_MAX) {
        match broker.topic_stats(topic.config.topic.clone()).await {
            Ok(stats) => by_topic.push((topic, stats)),
            Err(BrokerError::TopicNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let left_out = shown.count().saturating_sub(SERIES_MAX);
    let labels = |topic: &Topic| -> Labels {
        vec![
            ("topic", topic.config.topic.to_string()),
            ("message_type", topic.config.message_type.word().into()),
            ("is_system", topic.config.topic.is_system().to_string()),
        ]
    };
    let seen = by_topic.iter().map(|(_, stats)| stats.traffic);
    let (messages, bytes) = seen.fold((0, 0), |sum, one| (sum.0 + one.messages_in, sum.1 + one.bytes_in));
    let other: Labels =
        vec![("topic", "_other".into()), ("message_type", "_other".into()), ("is_system", "false".into())];
    let others = (left_out > 0).then_some(&other);
    text.head("rocketmq_messages_in_total");
    for (topic, stats) in &by_topic {
        text.sample("rocketmq_messages_in_total", &labels(topic), stats.traffic.messages_in as f64);
    }
    if let Some(other) = others {
        text.sample("rocketmq_messages_in_total", other, stats.traffic.messages_in.saturating_sub(messages) as f64);
    }
    text.head("rocketmq_throughput_in_total");
    for (topic, stats) in &by_topic {
        text.sample("rocketmq_throughput_in_total", &labels(topic), stats.traffic.bytes_in as f64);
    }
    if let Some(other) = others {
        text.sample("rocketmq_throughput_in_total", other, stats.traffic.bytes_in.saturating_sub(bytes) as f64);
    }
    text.head("rocketmq_message_size_bytes");
    for (topic, stats) in &by_topic {
        text.histogram("rocketmq_message_size_bytes", &labels(topic)[..2], &stats.sizes, 1.0);
    }

    transactions(&mut text, &by_topic);
    text.one("gantry_transactions_given_up_total", &[], stats.transactions_given_up as f64);

    consumers(broker, &mut text, &consumptions, now).await?;

    let disk: Labels = vec![("storage_type", "local".into()), ("storage_medium", "disk".into())];
    let log_bytes = storage.commit_log_max.0 - storage.commit_log_min.0;
    let age = storage.earliest.map_or(0, |earliest| (now.0 - earliest.0).max(0));
    text.one("rocketmq_storage_size_bytes", &disk, log_bytes as f64);
    text.one("rocketmq_storage_flush_behind_bytes", &disk, storage.flush_behind_bytes as f64);
    text.one("rocketmq_storage_dispatch_behind_bytes", &disk, storage.dispatch_behind_bytes as f64);
    text.one("rocketmq_storage_message_reserve_time_milliseconds", &disk, age as f64);

    let timers = storage.timers;
    text.one("gantry_scheduled_messages", &[], timers.scheduled as f64);
    text.one("gantry_scheduled_behind_seconds", &[], timers.behind.as_secs_f64());
    text.head("gantry_fired_messages_total");
    for (outcome, count) in [("delivered", timers.fired), ("dropped", timers.dropped)] {
        text.sample("gantry_fired_messages_total", &[("outcome", outcome.into())], count as f64);
    }

    text.one("gantry_idempotency_keys", &[], stats.idempotency_keys as f64);
    text.head("gantry_log_bytes_total");
    for (of, bytes) in [("state", stats.state_bytes), ("messages", stats.message_bytes)] {
        text.sample("gantry_log_bytes_total", &[("of", of.into())], bytes as f64);
    }

    text.node[1].1 = "proxy".into();
    text.one("rocketmq_proxy_up", &[("proxy_mode", "local".into())], 1.0);

    text.one("gantry_parked_receives", &[], stats.parked_receives as f64);
    text.head("gantry_store_sync_duration_seconds");
    text.histogram("gantry_store_sync_duration_seconds", &[], &storage.syncs, 1e-6);
    text.head("gantry_disk_bytes");
    let used = storage.disk_total_bytes.saturating_sub(storage.disk_available_bytes);
    for (state, bytes) in [("used", used), ("available", storage.disk_available_bytes)] {
        text.sample("gantry_disk_bytes", &[("state", state.into())], bytes as f64);
    }
    text.head("gantry_series_left_out");
    let pairs_left_out = consumptions.len().saturating_sub(SERIES_MAX);
    for (of, count) in [("topics", left_out), ("consumer_groups", pairs_left_out)] {
        text.sample("gantry_series_left_out", &[("of", of.into())], count as f64);
    }
    text.one("gantry_build_info", &[("version", env!("CARGO_PKG_VERSION").into())], 1.0);
    process(&mut text, described.started);
    Ok(text.out)
}

/// What became of half messages, by topic: of those that take some.
fn transactions(text: &mut Text, by_topic: &[(&Topic, TopicStats)]) {
    let takes_some = |topic: &Topic| matches!(topic.config.message_type, MessageType::Transaction | MessageType::Mixed);
    // A topic may have been of another type when they came.
    let told = |stats: &TransactionStats| stats.open + stats.committed + stats.rolled_back > 0;
    let rows = by_topic.iter().filter(|(topic, stats)| takes_some(topic) || told(&stats.transactions));
    let rows: Vec<_> =
        rows.map(|(topic, stats)| ([("topic", topic.config.topic.to_string())], &stats.transactions)).collect();
    let figures = |stats: &TransactionStats| [stats.open, stats.committed, stats.rolled_back];
    let names = ["rocketmq_half_messages", "rocketmq_commit_messages_total", "rocketmq_rollback_messages_total"];
    for (at, name) in names.into_iter().enumerate() {
        text.head(name);
        for (topic, stats) in &rows {
            text.sample(name, topic, figures(stats)[at] as f64);
        }
    }
    text.head("rocketmq_finish_message_latency_seconds");
    for (topic, stats) in &rows {
        text.histogram("rocketmq_finish_message_latency_seconds", topic, &stats.seconds, 1.0);
    }
}

/// How far each group is with each topic.
async fn consumers(
    broker: &dyn Broker,
    text: &mut Text,
    consumptions: &[Consumption],
    now: Timestamp,
) -> Result<(), BrokerError> {
    let mut rows = Vec::new();
    for one in consumptions.iter().take(SERIES_MAX) {
        let progress = match broker.query_consume_offsets(one.consumer_group.clone(), one.topic.clone()).await {
            Ok(progress) => progress,
            // Deleted since the list was made.
            Err(BrokerError::TopicNotFound { .. } | BrokerError::ConsumerGroupNotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        let (mut lag, mut ready, mut inflight, mut oldest) = (0, 0, 0, None);
        let (mut redelivered, mut standing) = (0, 0);
        for queue in &progress {
            lag += queue.lag();
            ready += queue.ready;
            inflight += queue.in_flight;
            redelivered += queue.redelivered;
            standing += u64::from(queue.stands_still);
            oldest = oldest.into_iter().chain(queue.oldest_behind).min();
        }
        let delay = oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0));
        let labels: Labels = vec![
            ("topic", one.topic.to_string()),
            ("consumer_group", one.consumer_group.to_string()),
            ("is_retry", TopicName::is_derived(&one.topic).to_string()),
            ("is_system", one.consumer_group.is_system().to_string()),
        ];
        let (out, bytes, given_up, expired) = (one.messages_out, one.bytes_out, one.dead_letters, one.expired);
        let (delay, retried) = (delay as u64, one.retried);
        let figures = [out, bytes, lag, delay, inflight, ready, redelivered, standing, given_up, retried, expired];
        rows.push((labels, figures));
    }
    let names = [
        "rocketmq_messages_out_total",
        "rocketmq_throughput_out_total",
        "rocketmq_consumer_lag_messages",
        "rocketmq_consumer_lag_latency_milliseconds",
        "rocketmq_consumer_inflight_messages",
        "rocketmq_consumer_ready_messages",
        "gantry_consumer_redelivered_messages",
        "gantry_consumer_standing_queues",
        "rocketmq_send_to_dlq_messages_total",
        "gantry_consumer_retried_messages_total",
        "gantry_consumer_expired_messages_total",
    ];
    for (at, name) in names.into_iter().enumerate() {
        text.head(name);
        for (labels, figures) in &rows {
            text.sample(name, labels, figures[at] as f64);
        }
    }
    Ok(())
}

/// What the system says of this process; nothing where it does not.
fn process(text: &mut Text, started: Timestamp) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    for (name, field) in
        [("gantry_process_resident_memory_bytes", "VmRSS:"), ("gantry_process_anonymous_memory_bytes", "RssAnon:")]
    {
        if let Some(kib) = kib(field) {
            text.one(name, &[], kib * 1024.0);
        }
    }
    // Behind the name in brackets, which may hold anything: fields 14 and 15 are ticks of a hundredth of a second.
    let stat = read("/proc/self/stat");
    let ticks = stat
        .rsplit(") ")
        .next()
        .map(|rest| rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>());
    if let Some(ticks) = ticks.filter(|_| !stat.is_empty()) {
        text.one("gantry_process_cpu_seconds_total", &[], ticks / 100.0);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.one("gantry_process_open_fds", &[], files.count() as f64);
    }
    text.one("gantry_process_start_time_seconds", &[], (started.0 / 1_000) as f64);
}

type Labels = Vec<(&'static str, String)>;

/// Prometheus' text format, as it grows.
struct Text {
    out: String,
    /// Which node a `rocketmq_` name speaks of.
    node: Labels,
}

impl Text {
    /// A family of one sample.
    fn one(&mut self, name: &str, labels: &[(&'static str, String)], value: f64) {
        self.head(name);
        self.sample(name, labels, value);
    }

    fn head(&mut self, name: &str) {
        let family = FAMILIES.iter().find(|family| family.name == name).expect("only names of the table are told");
        let _ = writeln!(self.out, "# HELP {name} {}\n# TYPE {name} {}", family.meaning, family.kind.word());
    }

    fn sample(&mut self, name: &str, labels: &[(&'static str, String)], value: f64) {
        self.line(name, "", labels, None, value);
    }

    /// `unit` is what one of its numbers is worth.
    fn histogram(&mut self, name: &str, labels: &[(&'static str, String)], stats: &HistogramStats, unit: f64) {
        let mut sum = 0;
        for (bound, count) in &stats.buckets {
            sum += count;
            // Divided, so that 100 us read 0.0001 and not what a product makes of it.
            let bound = *bound as f64 / (1.0 / unit).round();
            self.line(name, "_bucket", labels, Some(&bound.to_string()), sum as f64);
        }
        sum += stats.beyond;
        self.line(name, "_bucket", labels, Some("+Inf"), sum as f64);
        self.line(name, "_sum", labels, None, stats.sum as f64 / (1.0 / unit).round());
        self.line(name, "_count", labels, None, sum as f64);
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &[(&'static str, String)], le: Option<&str>, value: f64) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let node = if name.starts_with("rocketmq_") { self.node.as_slice() } else { &[] };
        let mut separator = '{';
        let le = le.map(|le| ("le", le.to_string()));
        for (label, value) in node.iter().chain(labels).chain(le.as_ref()) {
            self.out.push(separator);
            separator = ',';
            let _ = write!(self.out, "{label}=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    letter => self.out.push(letter),
                }
            }
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_names_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/metrics.md");
        let made = table();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == made, "deploy/metrics.md is not what the code says: UPDATE=1 cargo test rewrites it");
    }

    #[test]
    fn text_is_escaped_and_histograms_add_up() {
        let node = vec![("node_id", "a\"b\\c".to_string())];
        let mut text = Text { out: String::new(), node };
        text.sample("rocketmq_topic_number", &[("topic", "x\ny".into())], 3.0);
        text.sample("gantry_parked_receives", &[], 0.0);
        let stats = HistogramStats { buckets: vec![(100, 2), (300, 1)], beyond: 4, sum: 5_000_000 };
        text.histogram("gantry_store_sync_duration_seconds", &[], &stats, 1e-6);
        let expected = "rocketmq_topic_number{node_id=\"a\\\"b\\\\c\",topic=\"x\\ny\"} 3\n\
                        gantry_parked_receives 0\n\
                        gantry_store_sync_duration_seconds_bucket{le=\"0.0001\"} 2\n\
                        gantry_store_sync_duration_seconds_bucket{le=\"0.0003\"} 3\n\
                        gantry_store_sync_duration_seconds_bucket{le=\"+Inf\"} 7\n\
                        gantry_store_sync_duration_seconds_sum 5\n\
                        gantry_store_sync_duration_seconds_count 7\n";
        assert_eq!(text.out, expected);
    }
}
