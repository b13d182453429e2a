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
    let is_of = |language| settings.user_agent.as_ref().is_some_and(|agent| agent.language() == language);
    let is_node = is_node || is_of(v2::Language::NodeJs);
    // The Go client goes on to the next message it holds while it repeats one that failed: in order, it holds one at a time.
    let batch = if group.orderly && is_of(v2::Language::Golang) { 1 } else { POP_MESSAGES_MAX.cast_signed() };
    if let Some(PubSub::Subscription(subscription)) = &mut settings.pub_sub {
        subscription.fifo = Some(group.orderly);
        subscription.receive_batch_size = Some(batch);
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

/// A client that names no type is what its settings say. 1 to 3 are producers, push and simple consumers.
fn check_client_type(settings: &v2::Settings, fitting: &[v2::ClientType]) -> Result<(), GatewayError> {
    match settings.client_type.unwrap_or_default() {
        0 => Ok(()),
        number if fitting.iter().any(|fits| i32::from(*fits) == number) => Ok(()),
        1..=3 => {
            let reason = "the settings of a producer name topics to publish to, those of a consumer subscriptions";
            Err(GatewayError::MalformedRequest { reason: reason.to_string() })
        }
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

#[cfg(test)]
mod tests {
    use gantry_broker_core::names::ConsumerGroup;

    use super::*;

    fn group() -> ConsumerGroupConfig {
        ConsumerGroupConfig::new(ConsumerGroup::from_client("shop").unwrap())
    }

    fn subscription(agent: v2::Language) -> v2::Settings {
        v2::Settings {
            client_type: Some(v2::ClientType::PushConsumer.into()),
            request_timeout: Some(words::wire_duration(Duration::from_secs(3))),
            user_agent: Some(v2::Ua { language: agent.into(), ..v2::Ua::default() }),
            pub_sub: Some(PubSub::Subscription(v2::Subscription {
                group: Some(v2::Resource { resource_namespace: "tenant".into(), name: "shop".into() }),
                receive_batch_size: Some(1),
                ..v2::Subscription::default()
            })),
            ..v2::Settings::default()
        }
    }

    fn strategy(settings: v2::Settings) -> Strategy {
        settings.backoff_policy.unwrap().strategy.unwrap()
    }

    #[test]
    fn a_consumer_gets_its_groups_numbers_and_keeps_its_own_words() {
        let settings =
            for_consumer(subscription(v2::Language::Java), &ConsumerGroupConfig { orderly: true, ..group() }, false);
        assert_eq!(settings.request_timeout.unwrap().seconds, 3);
        assert_eq!(settings.metric, Some(v2::Metric { on: false, endpoints: None }));
        assert_eq!(settings.backoff_policy.as_ref().unwrap().max_attempts, 17);
        let Some(PubSub::Subscription(subscription)) = &settings.pub_sub else { panic!("another arm") };
        assert_eq!(subscription.group.as_ref().unwrap().resource_namespace, "tenant");
        assert_eq!((subscription.fifo, subscription.receive_batch_size), (Some(true), Some(32)));
        assert_eq!(subscription.long_polling_timeout.unwrap().seconds, 20);
        let Strategy::CustomizedBackoff(backoff) = strategy(settings) else { panic!("not the group's own") };
        assert_eq!((backoff.next.len(), backoff.next[0].seconds, backoff.next[17].seconds), (18, 1, 7_200));
    }

    #[test]
    fn the_go_client_holds_one_message_at_a_time_where_order_counts() {
        let batch = |language, orderly| {
            let settings = for_consumer(subscription(language), &ConsumerGroupConfig { orderly, ..group() }, false);
            let Some(PubSub::Subscription(subscription)) = settings.pub_sub else { panic!("another arm") };
            subscription.receive_batch_size
        };
        assert_eq!(batch(v2::Language::Golang, true), Some(1));
        assert_eq!((batch(v2::Language::Golang, false), batch(v2::Language::Java, true)), (Some(32), Some(32)));
    }

    #[test]
    fn node_and_producers_get_a_curve() {
        for settings in [
            for_consumer(subscription(v2::Language::Java), &group(), true),
            for_consumer(subscription(v2::Language::NodeJs), &group(), false),
        ] {
            let Strategy::ExponentialBackoff(backoff) = strategy(settings) else { panic!("a list of pauses") };
            assert_eq!((backoff.initial.unwrap().seconds, backoff.max.unwrap().seconds), (1, 7_200));
        }
        let Strategy::ExponentialBackoff(backoff) = strategy(for_producer(v2::Settings::default())) else {
            panic!("a list of pauses")
        };
        assert_eq!((backoff.initial.unwrap().nanos, backoff.max.unwrap().seconds), (10_000_000, 1));
    }

    #[test]
    fn a_client_is_what_its_settings_say() {
        let mut settings = subscription(v2::Language::Java);
        let consumers = [v2::ClientType::PushConsumer, v2::ClientType::SimpleConsumer];
        assert!(check_client_type(&settings, &consumers).is_ok());
        let misfit = check_client_type(&settings, &[v2::ClientType::Producer]);
        assert!(matches!(misfit, Err(GatewayError::MalformedRequest { .. })));
        settings.client_type = None;
        assert!(check_client_type(&settings, &[v2::ClientType::Producer]).is_ok());
        settings.client_type = Some(99);
        assert!(matches!(
            check_client_type(&settings, &consumers),
            Err(GatewayError::UnrecognizedClientType { client_type: 99 })
        ));
    }

    #[test]
    fn client_properties_have_bounds() {
        let one = |name: &str, value: &str| check_client_properties(&[(name.to_string(), value.to_string())].into());
        assert!(one("zone.a_b-1", "x").is_ok());
        assert!(one("zone", &"ü".repeat(256)).is_ok());
        for (name, value) in
            [("", ""), ("1a", ""), ("a b", ""), ("rocketmq.x", ""), (&*"n".repeat(65), ""), ("a", &*"v".repeat(257))]
        {
            assert!(one(name, value).is_err(), "{name} {value}");
        }
        let many = |count: usize, value: &str| {
            check_client_properties(&(0..count).map(|n| (format!("name{n}"), value.to_string())).collect())
        };
        assert!(many(32, "v").is_ok() && many(33, "v").is_err() && many(20, &"v".repeat(256)).is_err());
    }
}
