//! Pulling: what a queue holds from an offset on; if that is nothing that the filter wants, wait and look again.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{AwaitOffset, PullMessages, PulledMessages};
use gantry_broker_core::delivery::filter::Filter;
use tokio::time::Instant;

use super::Messaging;
use crate::error::GatewayError;

impl Messaging {
    /// At most `wait` long; an empty answer is no error, and says where to go on: behind what the filter did not want.
    pub async fn pull_messages(
        &self,
        mut pull: PullMessages,
        filter: &Filter,
        wait: Duration,
    ) -> Result<PulledMessages, GatewayError> {
        self.accepting()?;
        let deadline = Instant::now() + wait;
        loop {
            let mut pulled = self.broker.pull_messages(pull.clone()).await?;
            if pull.offset > pulled.max_offset {
                return Err(BrokerError::InvalidOffset { max: pulled.max_offset }.into());
            }
            let is_end = pulled.messages.is_empty();
            pulled.messages.retain(|message| filter.matches(message));
            let left = deadline.saturating_duration_since(Instant::now());
            if !pulled.messages.is_empty() || left.is_zero() {
                return Ok(pulled);
            }
            pull.offset = pulled.next_offset;
            if !is_end {
                // Others on this thread get their turn: a long stretch may hold nothing that is wanted.
                tokio::task::yield_now().await;
                continue;
            }
            let (topic, queue_id, offset) = (pull.topic.clone(), pull.queue_id, pull.offset);
            let waiting = self.broker.await_offset(AwaitOffset { topic, queue_id, offset, wait: left });
            let arrived = tokio::select! {
                biased;
                () = self.drained() => return Ok(pulled),
                arrived = waiting => arrived,
            };
            match arrived {
                Ok(true) => {}
                Ok(false) | Err(BrokerError::Draining) => return Ok(pulled),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
