//! AckMessage and ChangeInvisibleDuration: settling one delivery, or many.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::INVISIBLE_DURATION_MAX;
use gantry_broker_core::message::BATCH_ENTRIES_MAX;
use gantry_proto::grpc::v2;

use super::{GrpcFront, status, words};
use crate::error::{FieldAt, GatewayError};
use crate::messaging::ChangedReceipt;

/// The Node client nacks with 0 ms whatever the retry policy says, and would get the message again at once.
const NODE_NACK_MIN: Duration = Duration::from_secs(1);

impl GrpcFront {
    pub(super) async fn ack(
        &self,
        request: &v2::AckMessageRequest,
    ) -> Result<Vec<Result<(), GatewayError>>, GatewayError> {
        words::consumer_group(request.group.as_ref())?;
        words::topic(request.topic.as_ref())?;
        let entries = &request.entries;
        if entries.is_empty() {
            let at = FieldAt::Pointer("entries".into());
            return Err(GatewayError::InvalidParameter { at, reason: "the request holds no receipt handle".into() });
        }
        if entries.len() > BATCH_ENTRIES_MAX {
            let entries = entries.len();
            let too_large =
                BrokerError::BatchTooLarge { entries, bytes: 0, entries_max: BATCH_ENTRIES_MAX, bytes_max: 0 };
            return Err(too_large.into());
        }
        self.messaging.ack_messages(entries.iter().map(|entry| entry.receipt_handle.as_str())).await
    }

    /// Push consumers give a message up that they could not consume in order.
    pub(super) async fn forward(
        &self,
        request: &v2::ForwardMessageToDeadLetterQueueRequest,
    ) -> Result<(), GatewayError> {
        words::consumer_group(request.group.as_ref())?;
        words::topic(request.topic.as_ref())?;
        let forwards = [(request.receipt_handle.as_str(), None)];
        self.messaging.forward_messages_to_dead_letter_queue(forwards).await?.remove(0)?;
        Ok(())
    }

    pub(super) async fn change(
        &self,
        request: &v2::ChangeInvisibleDurationRequest,
        is_node: bool,
    ) -> Result<ChangedReceipt, GatewayError> {
        words::consumer_group(request.group.as_ref())?;
        words::topic(request.topic.as_ref())?;
        let mut invisible = request
            .invisible_duration
            .as_ref()
            .and_then(words::duration)
            .filter(|invisible| *invisible <= INVISIBLE_DURATION_MAX)
            .ok_or(BrokerError::InvalidInvisibleDuration { min: Duration::ZERO, max: INVISIBLE_DURATION_MAX })?;
        if is_node {
            invisible = invisible.max(NODE_NACK_MIN);
        }
        let change = (request.receipt_handle.as_str(), Some(invisible), request.suspend());
        let mut changed = self.messaging.change_invisible_durations([change]).await?;
        changed.pop().expect("one answer per handle")
    }
}

/// One entry per handle of the request, whatever became of it: clients index into the list.
pub fn ack_answer(
    request: v2::AckMessageRequest,
    result: Result<Vec<Result<(), GatewayError>>, GatewayError>,
) -> v2::AckMessageResponse {
    let entry = |asked: v2::AckMessageEntry, status| v2::AckMessageResultEntry {
        message_id: asked.message_id,
        receipt_handle: asked.receipt_handle,
        status: Some(status),
    };
    match result {
        Ok(results) => {
            let entries: Vec<_> = request
                .entries
                .into_iter()
                .zip(&results)
                .map(|(asked, result)| entry(asked, status::of(result)))
                .collect();
            let status = status::common(entries.iter().map(|entry| entry.status.as_ref()));
            v2::AckMessageResponse { status: Some(status), entries }
        }
        Err(error) => {
            let status = status::refused(&error);
            let entries = request.entries.into_iter().map(|asked| entry(asked, status.clone())).collect();
            v2::AckMessageResponse { status: Some(status), entries }
        }
    }
}

/// Clients take over the handle before they look at the status, so a failed change gives the old one back.
pub fn change_answer(
    request: v2::ChangeInvisibleDurationRequest,
    result: Result<ChangedReceipt, GatewayError>,
) -> v2::ChangeInvisibleDurationResponse {
    let status = Some(status::of(&result));
    let receipt_handle = result.map_or(request.receipt_handle, |changed| changed.receipt_handle);
    v2::ChangeInvisibleDurationResponse { status, receipt_handle }
}
