//! Taking delayed messages back: the handle that names one, and what becomes of it.
//!
//! RocketMQ's handle is plain text in base64; it is what gRPC clients are given, and says nothing that they do not know.
//! Over HTTP the same fields are sealed with the keys of receipt handles, so that nobody takes back what was not theirs to
//! send.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{RecallMessage, RecallOutcome, SendReceipt};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::receipt_handle::RECEIPT_HANDLE_CHARS_MAX;

use super::Messaging;
use crate::error::GatewayError;

/// Sealed: | i64 second | u8, n topic | u8, n broker name | unique key |. Permanent: a new layout takes a new prefix.
const PREFIX: &str = "s1.";
const PLAIN_VERSION: &str = "v1";
/// Longest plain handle: topic, broker and id of the longest, and the rest.
const PLAIN_CHARS_MAX: usize = 1_024;

impl Messaging {
    /// The handle for HTTP; none for what does not wait, or has names so long that no handle holds them.
    pub fn recall_handle(&self, topic: &TopicName, broker_name: &str, receipt: &SendReceipt) -> Option<String> {
        let second = receipt.waits_for?;
        let mut fields = second.0.to_be_bytes().to_vec();
        for text in [topic.as_str(), broker_name] {
            fields.push(u8::try_from(text.len()).ok()?);
            fields.extend_from_slice(text.as_bytes());
        }
        fields.extend_from_slice(receipt.unique_key.as_bytes());
        Some(self.seal(PREFIX, &fields)).filter(|handle| handle.len() <= RECEIPT_HANDLE_CHARS_MAX)
    }

    /// By a handle that was given out over HTTP.
    pub async fn recall(&self, broker_name: &str, handle: &str) -> Result<RecallOutcome, GatewayError> {
        let fields = self.unseal(PREFIX, handle).ok_or(BrokerError::InvalidRecallHandle)?;
        let (recall, of_broker) = read(&fields).ok_or(BrokerError::InvalidRecallHandle)?;
        if of_broker != broker_name {
            return Err(GatewayError::BrokerUnavailable { broker: of_broker.to_string() });
        }
        self.accepting()?;
        Ok(self.broker.recall_message(recall).await?)
    }

    /// By RocketMQ's handle, which must be of this topic and this broker.
    pub async fn recall_plain(
        &self,
        topic: &TopicName,
        broker_name: &str,
        handle: &str,
    ) -> Result<(RecallOutcome, String), GatewayError> {
        let recall = read_plain(topic, broker_name, handle).ok_or(BrokerError::InvalidRecallHandle)?;
        self.accepting()?;
        let message_id = recall.unique_key.to_string();
        Ok((self.broker.recall_message(recall).await?, message_id))
    }
}

/// RocketMQ's handle of a stored message; empty for one that does not wait.
pub fn plain_recall_handle(topic: &str, broker_name: &str, receipt: &SendReceipt) -> String {
    let text = receipt.waits_for.map(|second| {
        let time = second.0 + 1;
        URL_SAFE.encode(format!("{PLAIN_VERSION} {topic} {broker_name} {time} {}", receipt.unique_key))
    });
    text.unwrap_or_default()
}

fn read_plain(topic: &TopicName, broker_name: &str, handle: &str) -> Option<RecallMessage> {
    if handle.len() > PLAIN_CHARS_MAX {
        return None;
    }
    let text = String::from_utf8(URL_SAFE.decode(handle).ok()?).ok()?;
    let mut parts = text.splitn(5, ' ');
    let mut next = || parts.next();
    let holds = next()? == PLAIN_VERSION && next()? == topic.as_str() && next()? == broker_name;
    let (time, unique_key) = (next()?.parse::<i64>().ok()?, next()?);
    let second = Timestamp(time.checked_sub(1)?);
    (holds && second.0 >= 0 && !unique_key.is_empty()).then(|| RecallMessage {
        topic: topic.clone(),
        unique_key: unique_key.into(),
        second,
    })
}

fn read(fields: &[u8]) -> Option<(RecallMessage, &str)> {
    let (second, rest) = fields.split_first_chunk::<8>()?;
    let text = |bytes: &'_ [u8]| -> Option<usize> { bytes.first().map(|len| usize::from(*len)) };
    let (topic, rest) = rest.get(1..)?.split_at_checked(text(rest)?)?;
    let (broker_name, unique_key) = rest.get(1..)?.split_at_checked(text(rest)?)?;
    let topic = TopicName::from_client(std::str::from_utf8(topic).ok()?).ok()?;
    let unique_key = std::str::from_utf8(unique_key).ok()?.into();
    let second = Timestamp(i64::from_be_bytes(*second));
    Some((RecallMessage { topic, unique_key, second }, std::str::from_utf8(broker_name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_handle_is_rocketmqs() {
        let topic = TopicName::from_client("reminders").unwrap();
        let handle = URL_SAFE.encode("v1 reminders broker-a 1700000000001 01AB");
        let recall = read_plain(&topic, "broker-a", &handle).unwrap();
        assert_eq!((&*recall.unique_key, recall.second), ("01AB", Timestamp(1_700_000_000_000)));
        for text in [
            "v2 reminders broker-a 1700000000001 01AB",
            "v1 others broker-a 1700000000001 01AB",
            "v1 reminders broker-b 1700000000001 01AB",
            "v1 reminders broker-a soon 01AB",
            "v1 reminders broker-a 0 01AB",
            "v1 reminders broker-a -9223372036854775808 01AB",
            "v1 reminders broker-a 1700000000001 ",
            "v1 reminders broker-a 1700000000001",
            "",
        ] {
            assert!(read_plain(&topic, "broker-a", &URL_SAFE.encode(text)).is_none(), "{text}");
        }
        assert!(read_plain(&topic, "broker-a", "not base64!").is_none());
        assert!(read_plain(&topic, "broker-a", &"A".repeat(PLAIN_CHARS_MAX + 4)).is_none());
    }

    #[test]
    fn the_sealed_fields_read_back_and_short_ones_do_not() {
        let fields = [&1_700_000_000_000i64.to_be_bytes()[..], b"\x09reminders\x08broker-a01AB"].concat();
        let (recall, broker_name) = read(&fields).unwrap();
        assert_eq!((recall.topic.as_str(), broker_name, &*recall.unique_key), ("reminders", "broker-a", "01AB"));
        assert!((0..fields.len() - 4).all(|len| read(&fields[..len]).is_none()));
    }
}
