//! The contract's small words as ours: names, durations, timestamps, filters.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::ATTEMPT_ID_BYTES_MAX;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::MessageType;
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_proto::grpc::v2::{self, FilterExpression, FilterType, Resource};

use crate::error::{FieldAt, GatewayError};

/// Longest tenant prefix: it is echoed, once per queue or message.
const RESOURCE_NAMESPACE_BYTES_MAX: usize = 255;

/// The topic a request speaks of; system topics are not for clients.
pub fn topic(resource: Option<&Resource>) -> Result<TopicName, GatewayError> {
    let name = name(resource)?;
    let topic = TopicName::from_client(name).map_err(BrokerError::InvalidTopic)?;
    if topic.is_system() {
        return Err(BrokerError::SystemTopic { topic: topic.to_string() }.into());
    }
    Ok(topic)
}

pub fn consumer_group(resource: Option<&Resource>) -> Result<ConsumerGroup, GatewayError> {
    let name = name(resource)?;
    let group = ConsumerGroup::from_client(name).map_err(BrokerError::InvalidConsumerGroup)?;
    if group.is_system() {
        return Err(BrokerError::SystemConsumerGroup { consumer_group: group.to_string() }.into());
    }
    Ok(group)
}

/// The topic and the queue that a request names; "any queue" is none.
pub fn message_queue(queue: Option<&v2::MessageQueue>) -> Result<(TopicName, QueueId), GatewayError> {
    let topic = topic(queue.and_then(|queue| queue.topic.as_ref()))?;
    let id = queue.map_or(0, |queue| queue.id);
    let queue_id = u32::try_from(id).map_err(|_| GatewayError::InvalidParameter {
        at: FieldAt::Pointer("message_queue.id".into()),
        reason: format!("{id} is no queue: name one of the topic's, from 0 on"),
    })?;
    Ok((topic, QueueId(queue_id)))
}

pub fn queue_offset(offset: i64) -> Result<QueueOffset, GatewayError> {
    let illegal = |_| GatewayError::IllegalOffset { reason: format!("{offset} is no offset: they begin at 0") };
    Ok(QueueOffset(u64::try_from(offset).map_err(illegal)?))
}

/// The tenant prefix has no meaning here beyond being echoed.
fn name(resource: Option<&Resource>) -> Result<&str, GatewayError> {
    let Some(resource) = resource else { return Ok("") };
    if resource.resource_namespace.len() > RESOURCE_NAMESPACE_BYTES_MAX {
        let reason = format!("resource_namespace has more than {RESOURCE_NAMESPACE_BYTES_MAX} bytes");
        return Err(GatewayError::InvalidParameter { at: FieldAt::Pointer("resource_namespace".into()), reason });
    }
    Ok(&resource.name)
}

pub fn filter(expression: Option<&FilterExpression>) -> Result<Filter, GatewayError> {
    let Some(expression) = expression else { return Ok(Filter::All) };
    match expression.r#type() {
        FilterType::Unspecified | FilterType::Tag => Ok(Filter::tags(&expression.expression)?),
        FilterType::Sql => Ok(Filter::sql(&expression.expression)?),
    }
}

/// What a topic of this type takes.
pub fn accepted_message_types(topic_type: MessageType) -> Vec<i32> {
    let accepted: &[v2::MessageType] = match topic_type {
        MessageType::Normal => &[v2::MessageType::Normal],
        MessageType::Fifo => &[v2::MessageType::Fifo],
        MessageType::Delay => &[v2::MessageType::Delay],
        MessageType::Transaction => &[v2::MessageType::Transaction],
        MessageType::Priority => &[v2::MessageType::Priority],
        MessageType::Lite => &[v2::MessageType::Lite],
        MessageType::Mixed => {
            &[v2::MessageType::Normal, v2::MessageType::Fifo, v2::MessageType::Delay, v2::MessageType::Transaction]
        }
    };
    accepted.iter().map(|accepted| i32::from(*accepted)).collect()
}

/// A topic's type in one word; a mixed one has none.
pub fn wire_message_type(topic_type: MessageType) -> v2::MessageType {
    match topic_type {
        MessageType::Normal => v2::MessageType::Normal,
        MessageType::Fifo => v2::MessageType::Fifo,
        MessageType::Delay => v2::MessageType::Delay,
        MessageType::Transaction => v2::MessageType::Transaction,
        MessageType::Priority => v2::MessageType::Priority,
        MessageType::Lite => v2::MessageType::Lite,
        MessageType::Mixed => v2::MessageType::Unspecified,
    }
}

/// A receive's own name; many clients give none.
pub fn attempt_id(text: Option<&str>) -> Result<Option<Box<str>>, GatewayError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > ATTEMPT_ID_BYTES_MAX {
        let reason = format!("attempt_id has more than {ATTEMPT_ID_BYTES_MAX} bytes");
        return Err(GatewayError::InvalidParameter { at: FieldAt::Pointer("attempt_id".into()), reason });
    }
    Ok(Some(text.into()))
}

/// `None` for a negative one.
pub fn duration(wire: &prost_types::Duration) -> Option<Duration> {
    Duration::try_from(*wire).ok()
}

pub fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).expect("less than a billion"),
    }
}

pub fn timestamp(wire: &prost_types::Timestamp) -> Timestamp {
    Timestamp(wire.seconds.saturating_mul(1_000).saturating_add(i64::from(wire.nanos) / 1_000_000))
}

pub fn wire_timestamp(timestamp: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: timestamp.0.div_euclid(1_000),
        nanos: i32::try_from(timestamp.0.rem_euclid(1_000)).expect("less than a thousand") * 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Resource {
        Resource { resource_namespace: String::new(), name: name.into() }
    }

    #[test]
    fn names_are_checked_and_system_ones_refused() {
        assert_eq!(topic(Some(&named("orders"))).unwrap().as_str(), "orders");
        assert!(matches!(topic(None), Err(GatewayError::Broker(BrokerError::InvalidTopic(_)))));
        assert!(matches!(topic(Some(&named("a.b"))), Err(GatewayError::Broker(BrokerError::InvalidTopic(_)))));
        assert!(matches!(topic(Some(&named("TBW102"))), Err(GatewayError::Broker(BrokerError::SystemTopic { .. }))));
        let group = consumer_group(Some(&named("CID_RMQ_SYS_X")));
        assert!(matches!(group, Err(GatewayError::Broker(BrokerError::SystemConsumerGroup { .. }))));
        let long = Resource { resource_namespace: "n".repeat(256), name: "orders".into() };
        assert!(matches!(topic(Some(&long)), Err(GatewayError::InvalidParameter { .. })));
    }

    #[test]
    fn filters_are_tags_or_sql_and_what_does_not_compile_is_refused() {
        let expression =
            |r#type: FilterType, text: &str| FilterExpression { r#type: r#type.into(), expression: text.into() };
        assert_eq!(filter(None).unwrap(), Filter::All);
        assert_eq!(filter(Some(&expression(FilterType::Unspecified, "*"))).unwrap(), Filter::All);
        let tags = filter(Some(&expression(FilterType::Tag, "a || b"))).unwrap();
        assert_eq!(tags, Filter::tags("a || b").unwrap());
        let sql = filter(Some(&expression(FilterType::Sql, "a > 1"))).unwrap();
        assert_eq!(sql, Filter::sql("a > 1").unwrap());
        for wrong in [" ", "a > 'x'"] {
            let wrong = filter(Some(&expression(FilterType::Sql, wrong)));
            assert!(matches!(wrong, Err(GatewayError::Broker(BrokerError::InvalidFilter { .. }))));
        }
    }

    #[test]
    fn times_go_both_ways_and_never_wrap() {
        for ms in [0, 1, 999, 1_700_000_000_123, -1] {
            assert_eq!(timestamp(&wire_timestamp(Timestamp(ms))), Timestamp(ms));
        }
        assert_eq!(timestamp(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), Timestamp::MAX);
        assert_eq!(duration(&prost_types::Duration { seconds: -1, nanos: 0 }), None);
        let half = Duration::from_millis(1_500);
        assert_eq!(duration(&wire_duration(half)), Some(half));
    }
}
