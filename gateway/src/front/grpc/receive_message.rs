//! ReceiveMessage: exactly one status, the messages, one delivery timestamp, end. Nothing there is `MESSAGE_NOT_FOUND`.

use std::sync::Arc;
use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{
    INVISIBLE_DURATION_MAX, INVISIBLE_DURATION_MIN, LeaseLength, POP_MESSAGES_MAX, PopMessages,
};
use gantry_proto::grpc::v2;
use v2::receive_message_response::Content;

use super::delivery::{Delivery, Reader};
use super::frames::Frames;
use super::{GrpcFront, caller, status, words};
use crate::error::GatewayError;
use crate::messaging::{Messaging, ReceivedMessage, client_of};

/// Shortest and longest wait for a first message.
const POLL_MIN: Duration = Duration::from_secs(5);
pub const POLL_MAX: Duration = Duration::from_secs(20);
/// Official clients set deadlines this much beyond the wait they want.
const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// The answer must be on its way this long before the caller's deadline; or a twentieth of it, if that is more.
const DEADLINE_MARGIN: Duration = Duration::from_millis(200);

/// What a call asks for. Its headers are forgotten while it waits: of 100,000 that wait, they would be most.
struct Asked {
    pop: PopMessages,
    poll_time: Duration,
    /// As it was named.
    topic: v2::Resource,
    reader: Reader,
}

impl Asked {
    fn of(request: tonic::Request<v2::ReceiveMessageRequest>) -> Result<Asked, GatewayError> {
        let (metadata, _, request) = request.into_parts();
        let pop = pop_messages(&request, caller::client_id(&metadata).unwrap_or_default())?;
        let polling = request.long_polling_timeout.as_ref().map(|wire| words::duration(wire).unwrap_or_default());
        Ok(Asked {
            pop,
            poll_time: poll_time(polling, caller::time_to_deadline(metadata.as_ref())),
            topic: request.message_queue.and_then(|queue| queue.topic).unwrap_or_default(),
            reader: caller::reader(&metadata),
        })
    }
}

impl GrpcFront {
    pub(super) async fn receive(&self, request: tonic::Request<v2::ReceiveMessageRequest>) -> Frames {
        let asked = self.identified(&request).and_then(|()| Asked::of(request));
        let received = match asked {
            Ok(asked) => self.received(asked).await,
            Err(error) => Err(error),
        };
        match received {
            Ok(Some(frames)) => frames,
            Ok(None) => self.without_messages(status::message_not_found()),
            Err(error) => self.without_messages(status::refused(&error)),
        }
    }

    /// `None` when nothing came in time.
    async fn received(&self, asked: Asked) -> Result<Option<Frames>, GatewayError> {
        let Asked { pop, poll_time, topic, reader } = asked;
        let received = self.messaging.pop_messages(pop, poll_time).await?;
        if received.is_empty() {
            return Ok(None);
        }
        // No await between here and the pop: from now on dropping this call gives the messages back.
        let undelivered = Undelivered {
            messaging: self.messaging.clone(),
            receipt_handles: received.iter().map(|received| received.receipt_handle.clone()).collect(),
        };
        let deliveries = received.into_iter().map(|ReceivedMessage { popped, receipt_handle }| Delivery {
            message: popped.message,
            attempt: Some(popped.delivery_attempt),
            receipt_handle: Some(receipt_handle),
        });
        let around = self.around(status::ok());
        let frames = Frames::with_messages(around, deliveries.collect(), topic, reader).await?;
        Ok(Some(frames.given_back_by(undelivered)))
    }

    fn without_messages(&self, status: v2::Status) -> Frames {
        Frames::of(self.around(status))
    }

    fn around(&self, status: v2::Status) -> [v2::ReceiveMessageResponse; 2] {
        let now = words::wire_timestamp(self.clock.wall());
        [Content::Status(status), Content::DeliveryTimestamp(now)]
            .map(|content| v2::ReceiveMessageResponse { content: Some(content) })
    }
}

/// Messages on a lease whose consumer may not have heard of them; dropping this makes them visible again.
pub(super) struct Undelivered {
    messaging: Arc<Messaging>,
    receipt_handles: Vec<String>,
}

impl Undelivered {
    pub(super) fn delivered(mut self) {
        self.receipt_handles.clear();
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        let receipt_handles = std::mem::take(&mut self.receipt_handles);
        if receipt_handles.is_empty() {
            return;
        }
        // Without a runtime the program is at its end: the leases run out by themselves.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let messaging = self.messaging.clone();
        runtime.spawn(async move {
            let changes = receipt_handles.iter().map(|handle| (handle.as_str(), Some(Duration::ZERO), true));
            let count = receipt_handles.len();
            match messaging.change_invisible_durations(changes).await {
                Ok(_) => tracing::debug!(count, "messages of a cancelled receive given back"),
                Err(error) => tracing::debug!(count, %error, "messages of a cancelled receive wait for their leases"),
            }
        });
    }
}

fn pop_messages(request: &v2::ReceiveMessageRequest, client: &[u8]) -> Result<PopMessages, GatewayError> {
    // The queue's id is not looked at: simple consumers name one queue and expect the messages of all.
    let topic = request.message_queue.as_ref().and_then(|queue| queue.topic.as_ref());
    Ok(PopMessages {
        consumer_group: words::consumer_group(request.group.as_ref())?,
        topic: words::topic(topic)?,
        messages_max: u32::try_from(request.batch_size).unwrap_or(1).clamp(1, POP_MESSAGES_MAX),
        lease: lease_length(request, client)?,
        filter: words::filter(request.filter_expression.as_ref())?,
        attempt_id: words::attempt_id(request.attempt_id.as_deref())?,
    })
}

fn lease_length(request: &v2::ReceiveMessageRequest, client: &[u8]) -> Result<LeaseLength, GatewayError> {
    if request.auto_renew {
        return Ok(LeaseLength::WhileSeen(client_of(client)));
    }
    let allowed = INVISIBLE_DURATION_MIN..=INVISIBLE_DURATION_MAX;
    match request.invisible_duration.as_ref().and_then(words::duration) {
        Some(invisible) if allowed.contains(&invisible) => Ok(LeaseLength::Exactly(invisible)),
        _ => Err(BrokerError::InvalidInvisibleDuration { min: *allowed.start(), max: *allowed.end() }.into()),
    }
}

/// How long to wait: what was asked for, in bounds, and always so that the answer comes before the deadline.
pub(super) fn poll_time(long_polling_timeout: Option<Duration>, time_to_deadline: Option<Duration>) -> Duration {
    let Some(deadline) = time_to_deadline else {
        return long_polling_timeout.unwrap_or(POLL_MAX).clamp(POLL_MIN, POLL_MAX);
    };
    let asked = long_polling_timeout.unwrap_or_else(|| deadline.saturating_sub(REQUEST_TIMEOUT_DEFAULT / 2));
    let margin = DEADLINE_MARGIN.max(deadline / 20);
    asked.clamp(POLL_MIN, POLL_MAX).min(deadline.saturating_sub(margin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_keeps_its_bounds_and_ends_before_the_deadline() {
        let ms = Duration::from_millis;
        for (polling, deadline, expected) in [
            // Java and its kin: the deadline is 3 s beyond the wait.
            (Some(ms(20_000)), Some(ms(23_000)), ms(20_000)),
            (Some(ms(1_000)), Some(ms(4_000)), ms(3_800)),
            // Rust: the deadline is the wait itself.
            (Some(ms(40_000)), Some(ms(40_000)), ms(20_000)),
            (Some(ms(20_000)), Some(ms(20_000)), ms(19_000)),
            // Go's simple consumer names no wait.
            (None, Some(ms(3_000)), ms(2_800)),
            (None, Some(ms(13_000)), ms(11_500)),
            (None, None, ms(20_000)),
            (Some(ms(7_000)), None, ms(7_000)),
            (Some(ms(90_000)), None, ms(20_000)),
            (Some(ms(0)), None, ms(5_000)),
            (None, Some(ms(150)), ms(0)),
        ] {
            assert_eq!(poll_time(polling, deadline), expected, "{polling:?} {deadline:?}");
        }
    }
}
