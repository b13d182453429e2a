//! PullMessage: one status, the messages from an offset on, the offset to go on from. Leases and commits nothing.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{POP_MESSAGES_MAX, PullMessages};
use gantry_proto::grpc::v2;
use v2::pull_message_response::Content;

use super::{GrpcFront, delivery, receive_message, status, words};
use crate::error::GatewayError;

/// An answer of large bodies ends here; the next one goes on.
const BYTES_MAX: u32 = 8 * 1024 * 1024;

impl GrpcFront {
    pub(super) async fn pull(
        &self,
        request: v2::PullMessageRequest,
        time_to_deadline: Option<Duration>,
    ) -> Vec<Result<v2::PullMessageResponse, tonic::Status>> {
        let contents = self.pulled(request, time_to_deadline).await;
        let contents = contents.unwrap_or_else(|error| vec![Content::Status(status::refused(&error))]);
        contents.into_iter().map(|content| Ok(v2::PullMessageResponse { content: Some(content) })).collect()
    }

    async fn pulled(
        &self,
        request: v2::PullMessageRequest,
        time_to_deadline: Option<Duration>,
    ) -> Result<Vec<Content>, GatewayError> {
        let group = words::consumer_group(request.group.as_ref())?;
        let (topic, queue_id) = words::message_queue(request.message_queue.as_ref())?;
        let pull = PullMessages {
            topic,
            queue_id,
            offset: words::queue_offset(request.offset)?,
            messages_max: u32::try_from(request.batch_size).unwrap_or(1).clamp(1, POP_MESSAGES_MAX),
            bytes_max: BYTES_MAX,
        };
        let filter = words::filter(request.filter_expression.as_ref())?;
        if !self.consumer_group(&group).await?.consume_enabled {
            return Err(BrokerError::ConsumeDisabled { consumer_group: group.to_string() }.into());
        }
        let polling = request.long_polling_timeout.as_ref().map(|wire| words::duration(wire).unwrap_or_default());
        let wait = receive_message::poll_time(polling, time_to_deadline);
        let pulled = self.messaging.pull_messages(pull, &filter, wait).await?;
        let resource = request.message_queue.and_then(|queue| queue.topic).unwrap_or_default();
        let first = if pulled.messages.is_empty() { status::message_not_found() } else { status::ok() };
        let messages = pulled.messages.into_iter().map(|stored| {
            let attempts = stored.reconsume_times;
            let mut message = delivery::stored(stored, &resource);
            if let Some(system) = &mut message.system_properties {
                system.delivery_attempt = Some(attempts.saturating_add(1));
            }
            Content::Message(message)
        });
        let next_offset = i64::try_from(pulled.next_offset.0).unwrap_or(i64::MAX);
        Ok([Content::Status(first)].into_iter().chain(messages).chain([Content::NextOffset(next_offset)]).collect())
    }
}
