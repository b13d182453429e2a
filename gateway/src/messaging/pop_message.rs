//! Receiving: pop what is there; if nothing is, wait for a hint and pop again until the wait is over.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{AwaitMessages, PopMessages, PoppedMessage};
use tokio::time::Instant;

use super::Messaging;
use crate::error::GatewayError;

/// A message on a lease, with the text that proves it.
#[derive(Debug)]
pub struct ReceivedMessage {
    pub popped: PoppedMessage,
    pub receipt_handle: String,
}

impl Messaging {
    /// At most `wait` long; an empty answer is no error. Dropping the future while it waits takes nothing: waiting and
    /// taking are two operations.
    pub async fn pop_messages(&self, pop: PopMessages, wait: Duration) -> Result<Vec<ReceivedMessage>, GatewayError> {
        self.accepting()?;
        let deadline = Instant::now() + wait;
        loop {
            let popped = self.broker.pop_messages(pop.clone()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !popped.is_empty() || left.is_zero() {
                self.counts.received(popped.len());
                return Ok(popped.into_iter().map(|popped| self.sign(popped)).collect());
            }
            let waiting = self.broker.await_messages(AwaitMessages {
                consumer_group: pop.consumer_group.clone(),
                topic: pop.topic.clone(),
                filter: pop.filter.clone(),
                wait: left,
            });
            let arrived = tokio::select! {
                biased;
                () = self.drained() => return Ok(Vec::new()),
                arrived = waiting => arrived,
            };
            match arrived {
                // Others on this thread get their turn: a backlog that the filter passes over is ready every time.
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) | Err(BrokerError::Draining) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn sign(&self, popped: PoppedMessage) -> ReceivedMessage {
        let receipt_handle = self.handle_keys.sign(&popped.handle);
        ReceivedMessage { popped, receipt_handle }
    }
}
