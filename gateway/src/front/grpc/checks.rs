//! Asking a producer what became of its transactions, over the Telemetry stream that it keeps open.
//!
//! A gateway keeps nothing of it: the broker says what is due, and gives each check to one of those who ask.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gantry_broker_core::broker::{CheckTransactions, TransactionCheck};
use gantry_broker_core::message::MessageType;
use gantry_broker_core::names::{ProducerGroup, TopicName};
use gantry_proto::grpc::v2;
use v2::telemetry_command::Command;

use super::delivery::{self, Reader};
use super::{GrpcFront, status, words};
use crate::error::GatewayError;

/// Most topics of one producer whose transactions it is asked about.
const TOPICS_MAX: usize = 128;
/// Checks for one producer at once: others of its topic get theirs.
const CHECKS_AT_ONCE: u32 = 8;
/// One question to the broker; it is asked again.
const WAIT: Duration = Duration::from_secs(300);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The checks of one stream.
pub(super) struct Checks {
    front: GrpcFront,
    /// What is watched, with the client's own name for it.
    topics: BTreeMap<TopicName, v2::Resource>,
    waiting: FuturesUnordered<BoxFuture<'static, (TopicName, Vec<TransactionCheck>)>>,
    taken: VecDeque<v2::TelemetryCommand>,
}

impl Checks {
    pub(super) fn new(front: GrpcFront) -> Checks {
        Checks { front, topics: BTreeMap::new(), waiting: FuturesUnordered::new(), taken: VecDeque::new() }
    }

    /// The client publishes to these topics: it is asked about those that take transactions.
    pub(super) async fn watch(&mut self, topics: &[v2::Resource]) -> Result<(), GatewayError> {
        for resource in topics {
            let topic = words::topic(Some(resource))?;
            if self.topics.len() >= TOPICS_MAX || self.topics.contains_key(&topic) {
                continue;
            }
            let Ok(known) = self.front.messaging.broker.describe_topic(topic.clone()).await else { continue };
            if matches!(known.config.message_type, MessageType::Transaction | MessageType::Mixed) {
                self.topics.insert(topic.clone(), resource.clone());
                self.wait(topic);
            }
        }
        Ok(())
    }

    /// The next of them. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> v2::TelemetryCommand {
        loop {
            if let Some(command) = self.taken.pop_front() {
                return command;
            }
            let Some((topic, checks)) = self.waiting.next().await else { return std::future::pending().await };
            let commands = checks.into_iter().map(|check| self.command(&topic, check));
            self.taken = commands.collect();
            self.wait(topic);
        }
    }

    fn wait(&mut self, topic: TopicName) {
        let messaging = self.front.messaging.clone();
        let check = CheckTransactions {
            producer_group: ProducerGroup::of_topic(&topic),
            checks_max: CHECKS_AT_ONCE,
            wait: WAIT,
        };
        self.waiting.push(Box::pin(async move {
            loop {
                match messaging.check_transactions(check.clone()).await {
                    Ok(checks) if !checks.is_empty() => return (topic, checks),
                    // The stream ends by itself.
                    Ok(_) if messaging.is_draining() => std::future::pending().await,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%topic, %error, "no checks of transactions can be had for now");
                        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                    }
                }
            }
        }));
    }

    fn command(&self, topic: &TopicName, check: TransactionCheck) -> v2::TelemetryCommand {
        let transaction_id = self.front.messaging.transaction_handle(self.front.broker_name.as_str(), check.half);
        let topic = self.topics.get(topic).cloned();
        let message = delivery::stored(check.message, &topic.unwrap_or_default(), Reader::ANY);
        let command = v2::RecoverOrphanedTransactionCommand { message: Some(message), transaction_id };
        let command = Some(Command::RecoverOrphanedTransactionCommand(command));
        v2::TelemetryCommand { status: Some(status::ok()), command }
    }
}
