//! UpdateOffset, GetOffset and QueryOffset: how far a group is with a queue, and what the queue holds.

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{
    Boundary, ConsumerGroupConfig, OffsetPosition, PutConsumerGroup, PutWhen, QueryOffset,
};
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_proto::grpc::v2;

use super::{GrpcFront, words};
use crate::error::{FieldAt, GatewayError};

impl GrpcFront {
    pub(super) async fn update_consume_offset(&self, request: v2::UpdateOffsetRequest) -> Result<(), GatewayError> {
        let group = words::consumer_group(request.group.as_ref())?;
        let (topic, queue_id) = words::message_queue(request.message_queue.as_ref())?;
        let offset = words::queue_offset(request.offset)?;
        match self.update(&group, &topic, queue_id, offset).await {
            // Groups are made by the first who consumes. Whoever commits what cannot be has not.
            Err(GatewayError::Broker(BrokerError::ConsumerGroupNotFound { .. })) => {
                let end = QueryOffset { topic: topic.clone(), queue_id, position: OffsetPosition::Max };
                let max = self.messaging.broker.query_offset(end).await?;
                if offset > max {
                    return Err(BrokerError::InvalidOffset { max }.into());
                }
                let made = PutConsumerGroup::new(ConsumerGroupConfig::new(group.clone()), PutWhen::Missing);
                match self.messaging.broker.put_consumer_group(made).await {
                    Ok(_) | Err(BrokerError::ConsumerGroupExists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                self.update(&group, &topic, queue_id, offset).await
            }
            updated => updated,
        }
    }

    async fn update(
        &self,
        group: &ConsumerGroup,
        topic: &TopicName,
        queue_id: QueueId,
        offset: QueueOffset,
    ) -> Result<(), GatewayError> {
        let offsets = vec![(queue_id, offset)];
        let updated = self.messaging.broker.update_consume_offsets(group.clone(), topic.clone(), offsets).await?;
        match updated.into_iter().next().expect("one answer per queue") {
            Err(BrokerError::InvalidParameter { name: "offset", reason }) => {
                Err(GatewayError::IllegalOffset { reason: format!("the offset {reason}") })
            }
            updated => Ok(updated?),
        }
    }

    pub(super) async fn consume_offset(&self, request: v2::GetOffsetRequest) -> Result<i64, GatewayError> {
        let group = words::consumer_group(request.group.as_ref())?;
        let (topic, queue_id) = words::message_queue(request.message_queue.as_ref())?;
        let known = self.messaging.broker.query_consume_offsets(group, topic.clone()).await?;
        let queue = known.iter().find(|queue| queue.queue_id == queue_id);
        let queue = queue.ok_or(BrokerError::QueueNotFound { topic: topic.to_string(), queue_id })?;
        let offset = queue.consume_offset.ok_or(GatewayError::OffsetNotFound)?;
        Ok(i64::try_from(offset.0).unwrap_or(i64::MAX))
    }

    pub(super) async fn query_queue_offset(&self, request: v2::QueryOffsetRequest) -> Result<i64, GatewayError> {
        let (topic, queue_id) = words::message_queue(request.message_queue.as_ref())?;
        let position = match (request.query_offset_policy(), &request.timestamp) {
            (v2::QueryOffsetPolicy::Beginning, _) => OffsetPosition::Min,
            (v2::QueryOffsetPolicy::End, _) => OffsetPosition::Max,
            (v2::QueryOffsetPolicy::Timestamp, Some(time)) => {
                OffsetPosition::Time(words::timestamp(time), Boundary::Lower)
            }
            (v2::QueryOffsetPolicy::Timestamp, None) => {
                let reason = "the policy TIMESTAMP needs a timestamp".to_string();
                return Err(GatewayError::InvalidParameter { at: FieldAt::Pointer("timestamp".into()), reason });
            }
        };
        let offset = self.messaging.broker.query_offset(QueryOffset { topic, queue_id, position }).await?;
        Ok(i64::try_from(offset.0).unwrap_or(i64::MAX))
    }
}
