//! Taking back a delayed message before its time.
//!
//! A recall is a message of the topic of timers, in the second of the one that it takes back, as RocketMQ has it. Whether it
//! came in time is decided under the lock that a firing takes too, and by the same clock: whoever fires that second later
//! sees the recall, be it in the wheel or, until it has got there, in memory.

use bytes::Bytes;

use crate::broker::{RecallMessage, RecallOutcome};
use crate::delivery::delay_levels::DELAY_MAX;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{MessageType, property};
use crate::operation::delay::{SECOND, TIMER_QUEUE, floor, push_roll, roll_second, timer_topic};
use crate::operation::fire_messages::recall_key;
use crate::operation::topics::ensure_topic;
use crate::store::commit_log::{Append, AppendClass};
use crate::store::record::RecordDraft;

/// What RocketMQ puts into a recall.
const BODY: &[u8] = b"0";
const TAG: &str = "_RECALL_TAG_";

pub(crate) async fn recall_message(parts: &Parts, recall: RecallMessage) -> Result<RecallOutcome, BrokerError> {
    let RecallMessage { topic, unique_key, second } = recall;
    if let Some(failure) = parts.store.failure() {
        return Err(BrokerError::ReadOnly { reason: failure });
    }
    let breaks_property = |text: &str| text.is_empty() || text.contains(char::is_control);
    if second != floor(second) || second.since(parts.store.now()) > DELAY_MAX || breaks_property(&unique_key) {
        return Err(BrokerError::InvalidRecallHandle);
    }
    if parts.tables().topic(&topic).is_none() {
        return Err(BrokerError::TopicNotFound { topic: topic.to_string() });
    }
    ensure_topic(parts, &timer_topic(), 1)?;
    let end = {
        let tables = parts.tables();
        let live = tables.topic(&topic).ok_or_else(|| BrokerError::TopicNotFound { topic: topic.to_string() })?;
        live.config.check_type(MessageType::Delay)?;
        let Some(queue) = parts.store.queue(&timer_topic(), TIMER_QUEUE) else {
            return Err(BrokerError::TopicNotFound { topic: timer_topic().to_string() });
        };
        let key = recall_key(topic.as_str(), &unique_key);
        let host = parts.config.store_host;
        let mut draft = RecordDraft::state(&timer_topic(), TIMER_QUEUE, host, Bytes::from_static(BODY))
            .with_property(property::TAGS, TAG)
            .with_property(property::REAL_TOPIC, topic.as_str())
            .with_property(property::REAL_QUEUE_ID, "0")
            .with_property(property::TIMER_DELIVER_MS, &(second.0 + 1).to_string())
            .with_property(property::TIMER_OUT_MS, &second.0.to_string())
            .with_property(property::TIMER_DEL_UNIQKEY, &key);
        let mut timers = parts.delayed.timers();
        let now = parts.store.now();
        if now >= second.plus(SECOND) {
            return Ok(RecallOutcome::AlreadyDelivered);
        }
        if !timers.takes_recalls() {
            return Err(BrokerError::Overloaded { what: "places for recalls" });
        }
        push_roll(&mut draft, roll_second(parts, now, second));
        let record = draft.encode().map_err(|_| BrokerError::InvalidRecallHandle)?;
        if timers.is_recalled(second, &key) {
            // The record that says so lies somewhere below.
            parts.store.max_offset()
        } else {
            // Acks and deletes pass on a full disk, and so does this: it makes room.
            let append = Append { record, queue: queue.counter().clone(), class: AppendClass::State };
            let mut batch = parts.store.append(vec![append])?;
            let appended = batch.entries.pop().expect("one result for one record")?;
            timers.recall(second, key.into(), appended.queue_offset);
            batch.end
        }
    };
    parts.reached_soon(end).await?;
    Ok(RecallOutcome::Recalled)
}
