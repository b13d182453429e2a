//! RecallMessage: the handle must be of the topic that is named, and the message must still wait.

use gantry_broker_core::broker::RecallOutcome;
use gantry_proto::grpc::v2::RecallMessageRequest;

use super::{GrpcFront, words};
use crate::error::GatewayError;

impl GrpcFront {
    /// Answers the id of the message.
    pub(super) async fn recall(&self, request: RecallMessageRequest) -> Result<String, GatewayError> {
        let topic = words::topic(request.topic.as_ref())?;
        match self.messaging.recall_plain(&topic, self.broker_name.as_str(), &request.recall_handle).await? {
            (RecallOutcome::Recalled, message_id) => Ok(message_id),
            (RecallOutcome::AlreadyDelivered, _) => {
                Err(GatewayError::InvalidDeliveryTime { reason: "the message's time has come: it is delivered".into() })
            }
        }
    }
}
