//! Settings: what a client says of itself, with the server's fields written over it.
//!
//! They are a hint for the client alone: nothing is kept, and no later call depends on them.

use std::collections::HashMap;
use std::time::Duration;

use gantry_broker_core::broker::{ConsumerGroupConfig, POP_MESSAGES_MAX, RetryPolicy};
use gantry_broker_core::message::BODY_BYTES_MAX;
use gantry_proto::grpc::v2;
use v2::retry_policy::Strategy;
use v2::settings::PubSub;

use super::receive_message::POLL_MAX;
use super::{GrpcFront, words};
use crate::error::GatewayError;

const CLIENT_PROPERTIES_MAX: usize = 32;
const CLIENT_PROPERTIES_BYTES_MAX: usize = 4 * 1024;
const CLIENT_PROPERTY_NAME_CHARS_MAX: usize = 64;
const CLIENT_PROPERTY_VALUE_CHARS_MAX: usize = 256;
const CLIENT_PROPERTY_RESERVED_PREFIX: &str = "rocketmq.";
const PRODUCER_ATTEMPTS_MAX: i32 = 3;

impl GrpcFront {
    /// The reply to a client's settings: same arm, same names, the server's numbers.
    pub(super) async fn merged(&self, settings: v2::Settings, is_node: bool) -> Result<v2::Settings, GatewayError> {
        check_client_properties(&settings.client_properties)?;
        match &settings.pub_sub {
            Some(PubSub::Publishing(publishing)) => {
                check_client_type(&settings, &[v2::ClientType::Producer])?;
                for topic in &publishing.topics {
                    words::topic(Some(topic))?;
                }
                Ok(for_producer(settings))
            }
            Some(PubSub::Subscription(subscription)) => {
                check_client_type(&settings, &[v2::ClientType::PushConsumer, v2::ClientType::SimpleConsumer])?;
                let group = words::consumer_group(subscription.group.as_ref())?;
                for entry in &subscription.subscriptions {
                    words::topic(entry.topic.as_ref())?;
                    words::filter(entry.expression.as_ref())?;
                }
                let group = self.consumer_group(&group).await?;
                Ok(for_consumer(settings, &group, is_node))
            }
            None => {
                let reason = "the settings name neither topics to publish to nor subscriptions".to_string();
                Err(GatewayError::MalformedRequest { reason })
            }
        }
    }
}

fn for_producer(mut settings: v2::Settings) -> v2::Settings {
    if let Some(PubSub::Publishing(publishing)) = &mut settings.pub_sub {
        publishing.max_body_size = i32::try_from(BODY_BYTES_MAX).expect("4 MiB");
        publishing.validate_message_type = true;
    }
    let backoff = exponential(Duration::from_millis(10), Duration::from_secs(1), 2.0);
    settings.backoff_policy = Some(v2::RetryPolicy { max_attempts: PRODUCER_ATTEMPTS_MAX, strategy: Some(backoff) });
    settings.metric = Some(v2::Metric { on: false, endpoints: None });
    settings
}

fn for_consumer(mut settings: v2::Settings, group: &ConsumerGroupConfig, is_node: bool) -> v2::Settings {
    let is_node = is_node || settings.user_agent.as_ref().is_some_and(|agent| agent.language() == v2::Language::NodeJs);
    if let Some(PubSub::Subscription(subscription)) = &mut settings.pub_sub {
        subscription.fifo = Some(group.orderly);
        subscription.receive_batch_size = Some(POP_MESSAGES_MAX.cast_signed());
        subscription.long_polling_timeout = Some(words::wire_duration(POLL_MAX));
        subscription.lite_subscription_quota = None;
        subscription.max_lite_topic_size = None;
    }
    settings.backoff_policy = Some(v2::RetryPolicy {
        max_attempts: i32::try_from(group.retry_max_times.saturating_add(1)).unwrap_or(i32::MAX),
        strategy: Some(backoff(&group.retry_policy, is_node)),
    });
    settings.metric = Some(v2::Metric { on: false, endpoints: None });
    settings
}

/// The group's own policy. The Node client skips a list of pauses and nacks at once, so it gets a curve instead.
fn backoff(policy: &RetryPolicy, is_node: bool) -> Strategy {
    match policy {
        RetryPolicy::Customized(pauses) if is_node => {
            let shortest = pauses.first().copied().unwrap_or_default();
            let longest = pauses.last().copied().unwrap_or_default();
            exponential(shortest, longest.max(shortest), 2.0)
        }
        RetryPolicy::Customized(pauses) => {
            let next = pauses.iter().copied().map(words::wire_duration).collect();
            Strategy::CustomizedBackoff(v2::CustomizedBackoff { next })
        }
        RetryPolicy::Exponential { initial, max, multiplier } => exponential(*initial, *max, *multiplier),
    }
}

fn exponential(initial: Duration, max: Duration, multiplier: f32) -> Strategy {
    Strategy::ExponentialBackoff(v2::ExponentialBackoff {
        initial: Some(words::wire_duration(initial)),
        max: Some(words::wire_duration(max)),
        multiplier,
    })
}

/// A client that names no type is what its settings say.
fn check_client_type(settings: &v2::Settings, fitting: &[v2::ClientType]) -> Result<(), GatewayError> {
    match settings.client_type.unwrap_or_default() {
        0 => Ok(()),
        number if fitting.iter().any(|fits| i32::from(*fits) == number) => Ok(()),
        client_type => Err(GatewayError::UnrecognizedClientType { client_type }),
    }
}

fn check_client_properties(properties: &HashMap<String, String>) -> Result<(), GatewayError> {
    let invalid = |reason: String| Err(GatewayError::InvalidClientProperties { reason });
    if properties.len() > CLIENT_PROPERTIES_MAX {
        return invalid(format!("there are more than {CLIENT_PROPERTIES_MAX} client properties"));
    }
    for (name, value) in properties {
        let shown = name.escape_debug();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if name.len() > CLIENT_PROPERTY_NAME_CHARS_MAX
            || !name.starts_with(|first: char| first.is_ascii_alphabetic())
            || !name.bytes().all(legal)
        {
            return invalid(format!("'{shown}' is not the name of a client property"));
        }
        if name.starts_with(CLIENT_PROPERTY_RESERVED_PREFIX) {
            return invalid(format!("the client property '{shown}' is reserved"));
        }
        if value.chars().count() > CLIENT_PROPERTY_VALUE_CHARS_MAX {
            return invalid(format!("the client property '{shown}' has more than 256 characters"));
        }
    }
    let bytes: usize = properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > CLIENT_PROPERTIES_BYTES_MAX {
        return invalid(format!("the client properties have {bytes} bytes, at most 4096 are allowed"));
    }
    Ok(())
}
