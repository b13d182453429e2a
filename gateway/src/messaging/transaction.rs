//! Transactions: the handle that names an open one, and what can be done with it. Any gateway takes it, and nobody can make
//! one up; gRPC clients get the same text as their transaction id.

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{
    CheckTransactions, EndTransaction, HalfMessageId, TransactionCheck, TransactionResolution,
};
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{CommitLogOffset, QueueOffset};

use super::Messaging;
use crate::error::GatewayError;

/// Sealed: | u64 queue offset of the half message | u64 its commit-log offset | u64 hash of its unique key | broker name |. Permanent: a new layout takes a
/// new prefix.
const PREFIX: &str = "t1.";

impl Messaging {
    pub fn transaction_handle(&self, broker_name: &str, half: HalfMessageId) -> String {
        let numbers = [half.queue_offset.0, half.commit_log_offset.0, half.key_hash].map(u64::to_be_bytes).concat();
        self.seal(PREFIX, &[&numbers, broker_name.as_bytes()].concat())
    }

    /// `topic`, if it is said, must be that of the message.
    pub async fn end_transaction(
        &self,
        broker_name: &str,
        topic: Option<TopicName>,
        handle: &str,
        resolution: TransactionResolution,
    ) -> Result<(), GatewayError> {
        let half = self.half_message(broker_name, handle)?;
        self.accepting()?;
        Ok(self.broker.end_transaction(EndTransaction { half, topic, resolution }).await?)
    }

    /// At most `check.wait` long; an empty answer is no error.
    pub async fn check_transactions(&self, check: CheckTransactions) -> Result<Vec<TransactionCheck>, GatewayError> {
        self.accepting()?;
        tokio::select! {
            biased;
            () = self.drained() => Ok(Vec::new()),
            checks = self.broker.check_transactions(check) => Ok(checks?),
        }
    }

    /// The half message that a handle names, if it is one of this broker.
    pub fn half_message(&self, broker_name: &str, handle: &str) -> Result<HalfMessageId, GatewayError> {
        let fields = self.unseal(PREFIX, handle).ok_or(BrokerError::InvalidTransactionHandle)?;
        let (half, of_broker) = read(&fields).ok_or(BrokerError::InvalidTransactionHandle)?;
        if of_broker != broker_name {
            return Err(GatewayError::BrokerUnavailable { broker: of_broker.to_string() });
        }
        Ok(half)
    }
}

fn read(fields: &[u8]) -> Option<(HalfMessageId, &str)> {
    let (queue_offset, rest) = fields.split_first_chunk::<8>()?;
    let (commit_log_offset, rest) = rest.split_first_chunk::<8>()?;
    let (key_hash, broker_name) = rest.split_first_chunk::<8>()?;
    let half = HalfMessageId {
        queue_offset: QueueOffset(u64::from_be_bytes(*queue_offset)),
        commit_log_offset: CommitLogOffset(u64::from_be_bytes(*commit_log_offset)),
        key_hash: u64::from_be_bytes(*key_hash),
    };
    Some((half, std::str::from_utf8(broker_name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sealed_fields_read_back_and_short_ones_do_not() {
        let fields = [&7u64.to_be_bytes()[..], &4_096u64.to_be_bytes(), &9u64.to_be_bytes(), b"broker-a"].concat();
        let (half, broker_name) = read(&fields).unwrap();
        let (queue_offset, commit_log_offset) = (QueueOffset(7), CommitLogOffset(4_096));
        let expected = HalfMessageId { queue_offset, commit_log_offset, key_hash: 9 };
        assert_eq!((half, broker_name), (expected, "broker-a"));
        assert!((0..24).all(|len| read(&fields[..len]).is_none()));
    }
}
