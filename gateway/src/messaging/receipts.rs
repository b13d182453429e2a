//! Settling deliveries, also while the program stops: whoever holds a message may still say that it is done. The handle's signature is checked here, what it proves is the broker's to judge.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{ChangeInvisibleDuration, DeadLetterReason, ForwardToDeadLetterQueue};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::receipt_handle::ReceiptHandleError;

use super::Messaging;
use crate::error::GatewayError;
use crate::metrics::Settle;

/// A lease whose end has moved.
#[derive(Debug, Clone)]
pub struct ChangedReceipt {
    /// Replaces the old handle, which is void now.
    pub receipt_handle: String,
    pub invisible_until: Timestamp,
}

/// A delivery to be given up, and why.
pub type DeadLetter<'a> = (&'a str, Option<DeadLetterReason>);

impl Messaging {
    pub async fn ack_messages<'a>(
        &self,
        handles: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Result<(), GatewayError>>, GatewayError> {
        let verified: Vec<_> = handles.into_iter().map(|handle| self.handle_keys.verify(handle)).collect();
        let valid = verified.iter().flatten().cloned().collect();
        let answers = self.broker.ack_messages(valid).await;
        self.counts.settled(Settle::Ack, verified.len(), &answers);
        Ok(answered(&verified, answers?))
    }

    /// Entries: handle, new invisible duration from now (none: the group's retry policy), and whether the delivery
    /// shall not count as an attempt.
    pub async fn change_invisible_durations<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, Option<Duration>, bool)>,
    ) -> Result<Vec<Result<ChangedReceipt, GatewayError>>, GatewayError> {
        let verified: Vec<_> = changes
            .into_iter()
            .map(|(handle, invisible, suspend)| {
                let handle = self.handle_keys.verify(handle)?;
                Ok(ChangeInvisibleDuration { handle, invisible, suspend })
            })
            .collect::<Vec<Result<_, ReceiptHandleError>>>();
        let valid = verified.iter().flatten().cloned().collect();
        let answers = self.broker.change_invisible_durations(valid).await;
        self.counts.settled(Settle::Change, verified.len(), &answers);
        let answered = answered(&verified, answers?).into_iter().map(|changed| {
            let changed = changed?;
            let receipt_handle = self.handle_keys.sign(&changed.handle);
            Ok(ChangedReceipt { receipt_handle, invisible_until: changed.invisible_until })
        });
        Ok(answered.collect())
    }

    /// Says which dead letter queue each message is in.
    pub async fn forward_messages_to_dead_letter_queue<'a>(
        &self,
        forwards: impl IntoIterator<Item = DeadLetter<'a>>,
    ) -> Result<Vec<Result<TopicName, GatewayError>>, GatewayError> {
        let verified: Vec<_> = forwards
            .into_iter()
            .map(|(handle, reason)| Ok(ForwardToDeadLetterQueue { handle: self.handle_keys.verify(handle)?, reason }))
            .collect::<Vec<Result<_, ReceiptHandleError>>>();
        let valid = verified.iter().flatten().cloned().collect();
        let answers = self.broker.forward_messages_to_dead_letter_queue(valid).await;
        self.counts.settled(Settle::DeadLetter, verified.len(), &answers);
        Ok(answered(&verified, answers?))
    }
}

/// The broker's answers, and between them a refusal of each handle that is none.
fn answered<V, T>(
    verified: &[Result<V, ReceiptHandleError>],
    answers: Vec<Result<T, BrokerError>>,
) -> Vec<Result<T, GatewayError>> {
    let mut answers = answers.into_iter();
    let each = verified.iter().map(|verified| match verified {
        Ok(_) => Ok(answers.next().expect("one answer per handle")?),
        Err(_) => Err(BrokerError::InvalidReceiptHandle.into()),
    });
    each.collect()
}
