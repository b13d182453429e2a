//! PullMessage: one status, the messages from an offset on, the offset to go on from. Leases and commits nothing.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{POP_MESSAGES_MAX, PullMessages};
use gantry_proto::grpc::v2;
use v2::pull_message_response::Content;

use super::delivery::{Delivery, Reader};
use super::frames::Frames;
use super::{GrpcFront, receive_message, status, words};
use crate::error::GatewayError;

/// An answer of large bodies ends here; the next one goes on.
const BYTES_MAX: u32 = 8 * 1024 * 1024;

impl GrpcFront {
    pub(super) async fn pull(
        &self,
        request: v2::PullMessageRequest,
        time_to_deadline: Option<Duration>,
        reader: Reader,
    ) -> Frames {
        let pulled = self.pulled(request, time_to_deadline, reader).await;
        pulled.unwrap_or_else(|error| refused(&error))
    }

    async fn pulled(
        &self,
        request: v2::PullMessageRequest,
        time_to_deadline: Option<Duration>,
        reader: Reader,
    ) -> Result<Frames, GatewayError> {
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
        let next_offset = i64::try_from(pulled.next_offset.0).unwrap_or(i64::MAX);
        let deliveries = pulled.messages.into_iter().map(|message| Delivery {
            attempt: Some(u32::try_from(message.reconsume_times).unwrap_or(0).saturating_add(1)),
            message,
            receipt_handle: None,
        });
        let around = [Content::Status(first), Content::NextOffset(next_offset)].map(response);
        Frames::with_messages(around, deliveries.collect(), resource, reader).await
    }
}

/// A refusal says nothing of where to go on.
pub(super) fn refused(error: &GatewayError) -> Frames {
    Frames::of([response(Content::Status(status::refused(error)))])
}

fn response(content: Content) -> v2::PullMessageResponse {
    v2::PullMessageResponse { content: Some(content) }
}
