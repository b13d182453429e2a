//! EndTransaction: the transaction id names the half message, so any gateway can finish what another began.

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::TransactionResolution as Resolution;
use gantry_proto::grpc::v2::{EndTransactionRequest, TransactionResolution};

use super::{GrpcFront, words};
use crate::error::GatewayError;

impl GrpcFront {
    pub(super) async fn end(&self, request: EndTransactionRequest) -> Result<(), GatewayError> {
        let topic = words::topic(request.topic.as_ref())?;
        let (broker_name, handle) = (self.broker_name.as_str(), &request.transaction_id);
        let end = |resolution| self.messaging.end_transaction(broker_name, Some(topic), handle, resolution);
        let ended = match request.resolution() {
            TransactionResolution::Commit => end(Resolution::Commit).await,
            TransactionResolution::Rollback => end(Resolution::Rollback).await,
            // Some clients say so in answer to a check: it stays open.
            TransactionResolution::Unspecified => self.messaging.half_message(broker_name, handle).map(drop),
        };
        match ended {
            // Whoever holds the handle of another broker is told what it is worth here.
            Err(GatewayError::BrokerUnavailable { .. }) => Err(BrokerError::InvalidTransactionHandle.into()),
            ended => ended,
        }
    }
}
