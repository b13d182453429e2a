//! One append of messages whose time has come, or that are put back: where each goes, as which record, and what is counted.
//! What has waited for a commit asks here too where it goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::Timestamp;
use crate::delivery::timers::Timers;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property, raw_properties};
use crate::names::TopicName;
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::state::source::Source;
use crate::state::tables::{LiveTopic, Tables};
use crate::store::commit_log::{Append, AppendClass, Window};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::dispatch::TopicQueues;
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::record::{EncodedRecord, RecordDraft, RecordError};

/// Most messages of one append.
pub(super) const FIRED_AT_ONCE_MAX: usize = 256;
/// Most bytes of records in one append; one may be larger.
pub(super) const FIRED_BYTES_AT_ONCE_MAX: usize = 1 << 20;

pub(super) const OF_THE_SYSTEM: &str = "its topic is the system's";

/// Where a message goes that waited for its time, or for a commit.
pub(crate) struct Target<'a, Q> {
    pub(crate) topic: &'a Arc<LiveTopic>,
    pub(crate) queue: Q,
}

/// Where one message goes.
pub(crate) fn target<'a>(
    parts: &Parts,
    tables: &'a Tables,
    message: &StoredMessage,
) -> Result<Target<'a, Arc<ConsumeQueue>>, &'static str> {
    let mut targets = Targets::new(parts, tables);
    let Target { topic, queue } = targets.of(message)?;
    Ok(Target { topic, queue: queue.clone() })
}

/// Where one message after the other goes. Neighbours are mostly of one topic: what was found for the last is kept.
pub(super) struct Targets<'a, 'p> {
    parts: &'p Parts,
    tables: &'a Tables,
    last: Option<(&'a Arc<LiveTopic>, Arc<TopicQueues>)>,
}

impl<'a, 'p> Targets<'a, 'p> {
    pub(super) fn new(parts: &'p Parts, tables: &'a Tables) -> Targets<'a, 'p> {
        Targets { parts, tables, last: None }
    }

    /// Nobody must be able to send into a system topic by way of a delay; and a topic made again is another one.
    /// Two threads ask for the same queues: none of them takes a share for each message.
    pub(super) fn of(&mut self, message: &StoredMessage) -> Result<Target<'a, &Arc<ConsumeQueue>>, &'static str> {
        let foreign_end = self.parts.store.foreign_end();
        let [name, queue_id] = message.properties_of([property::REAL_TOPIC, property::REAL_QUEUE_ID]);
        let (topic, queues) = self.topic(name.ok_or("it names no topic")?)?;
        // A topic that was taken over is known since its first message, which may have been this one.
        let made_by_us = topic.incarnation.0 >= foreign_end.0;
        if made_by_us && message.commit_log_offset.0 < topic.incarnation.0 {
            return Err("its topic was deleted and made again since");
        }
        let queue_id: u32 = queue_id.and_then(|id| id.parse().ok()).unwrap_or(0);
        let queue = queues.queues.get(queue_id as usize).or_else(|| {
            // Its queue was taken away since.
            queues.queues.get((queue_id as usize).checked_rem(queues.queues.len())?)
        });
        Ok(Target { topic, queue: queue.ok_or("its topic has no queues")? })
    }

    fn topic(&mut self, name: &str) -> Result<(&'a Arc<LiveTopic>, &TopicQueues), &'static str> {
        if self.last.as_ref().is_none_or(|(topic, _)| topic.config.topic.as_str() != name) {
            let name = TopicName::from_store(name.as_bytes()).map_err(|_| "its topic has no legal name")?;
            if name.is_system() {
                return Err(OF_THE_SYSTEM);
            }
            let topic = self.tables.topic(&name).ok_or("its topic is gone")?;
            if topic.config.attributes.has_batch_queues() {
                return Err("its topic has batch queues");
            }
            self.last = Some((topic, self.parts.store.topic_queues(&name).ok_or("its topic has no queues")?));
        }
        let (topic, queues) = self.last.as_ref().expect("found above or before");
        Ok((topic, queues))
    }
}

/// One record of a call: whose proof it is, and what it counts for.
struct Firing<'a> {
    at: QueueOffset,
    /// None for what is put back.
    topic: Option<&'a Arc<LiveTopic>>,
    body_bytes: u64,
}

pub(super) struct Call<'a> {
    class: AppendClass,
    appends: Vec<Append>,
    firings: Vec<Firing<'a>>,
    bytes: usize,
    /// Nothing is left to do for them, and no record says so.
    pub(super) given_up: Vec<QueueOffset>,
}

impl<'a> Call<'a> {
    pub(super) fn new(class: AppendClass) -> Call<'a> {
        Call { class, appends: Vec::new(), firings: Vec::new(), bytes: 0, given_up: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.appends.len() + self.given_up.len() >= FIRED_AT_ONCE_MAX || self.bytes >= FIRED_BYTES_AT_ONCE_MAX
    }

    pub(super) fn put(
        &mut self,
        at: QueueOffset,
        record: EncodedRecord,
        queue: &ConsumeQueue,
        topic: Option<&'a Arc<LiveTopic>>,
        body_bytes: usize,
    ) {
        self.bytes += record.record_len() as usize;
        self.appends.push(Append { record, queue: queue.counter().clone(), class: self.class });
        self.firings.push(Firing { at, topic, body_bytes: body_bytes as u64 });
    }

    /// Appends all of it as one; `done` is told of each message under the lock under which its proof was written.
    pub(super) fn append(
        self,
        parts: &Parts,
        mut done: impl FnMut(&mut Timers, QueueOffset),
    ) -> Result<(), StoreError> {
        let mut timers = parts.delayed.timers();
        let mut end = CommitLogOffset(0);
        let mut fired = 0;
        // What came into one topic is counted together: mostly it is all of the call.
        type Came<'t> = (&'t LiveTopic, u64, u64, Timestamp);
        let mut came: Option<Came<'_>> = None;
        let count = |came: Option<Came<'_>>| {
            came.into_iter().for_each(|(topic, messages, bytes, now)| topic.traffic.came_in(messages, bytes, now));
        };
        // In the order of the queue: the last proof of a level speaks for all before it.
        let mut given_up = self.given_up.into_iter().peekable();
        if !self.appends.is_empty() {
            failpoint::at(Point::FireBefore);
            let batch = parts.store.append(self.appends)?;
            failpoint::at(Point::FireAfter);
            end = batch.end;
            for (appended, Firing { at, topic, body_bytes }) in batch.entries.into_iter().zip(self.firings) {
                while let Some(before) = given_up.next_if(|given_up| *given_up < at) {
                    done(&mut timers, before);
                }
                done(&mut timers, at);
                match appended {
                    Ok(appended) => {
                        let Some(topic) = topic else { continue };
                        fired += 1;
                        topic.traffic.sizes.record(body_bytes);
                        let (bytes, now) = (u64::from(appended.record_len), appended.store_timestamp);
                        match &mut came {
                            Some((of, messages, sum, last)) if std::ptr::eq(*of, &**topic) => {
                                (*messages, *sum, *last) = (*messages + 1, *sum + bytes, now);
                            }
                            _ => count(came.replace((topic, 1, bytes, now))),
                        }
                    }
                    Err(error) => {
                        parts.delayed.dropped.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%error, %at, "a delayed message does not fit the log any more: it was dropped");
                    }
                }
            }
        }
        count(came);
        given_up.for_each(|at| done(&mut timers, at));
        drop(timers);
        parts.delayed.fired.fetch_add(fired, Ordering::Relaxed);
        parts.mark(end);
        Ok(())
    }
}

/// The message that comes to its own topic.
pub(super) fn delivered(
    parts: &Parts,
    target: &Target<'_, &Arc<ConsumeQueue>>,
    source: Source,
    message: &StoredMessage,
) -> Result<EncodedRecord, RecordError> {
    let (topic, queue_id) = (&target.topic.config.topic, target.queue.queue_id());
    let encode = |message: &StoredMessage| moved(parts, topic, queue_id, source, message, &[]).encode();
    encode(message).or_else(|_| {
        // Somebody else filled it to the brim: what RocketMQ leaves in is dispensable.
        let dispensable = [property::REAL_TOPIC, property::REAL_QUEUE_ID, property::TIMER_OUT_MS];
        let kept = raw_properties(&message.properties)
            .filter(|(name, _)| !dispensable.iter().any(|dispensable| dispensable.as_bytes() == *name));
        let properties: Vec<u8> = kept.flat_map(|(name, value)| [name, &[1], value, &[2]].concat()).collect();
        encode(&StoredMessage { properties: properties.into(), ..message.clone() })
    })
}

/// As it was in every respect. Its idempotency key goes on standing for the message that waited.
pub(super) fn moved(
    parts: &Parts,
    topic: &TopicName,
    queue_id: QueueId,
    source: Source,
    message: &StoredMessage,
    instead: &[(&str, &str)],
) -> RecordDraft {
    let mut draft = RecordDraft::moved(topic, queue_id, parts.config.store_host, message, &source, instead);
    draft.reconsume_times = message.reconsume_times;
    draft
}

/// What cannot be read will never be: it must not hold up what comes behind it.
pub(super) fn read(
    parts: &Parts,
    window: &mut Window,
    queue: &ConsumeQueue,
    at: QueueOffset,
    entry: &QueueEntry,
) -> Option<StoredMessage> {
    let error = match parts.store.read_message(window, queue, at, entry) {
        Ok(Some(message)) => return Some(message),
        Ok(None) => "retention has taken it".to_string(),
        Err(error) => error.to_string(),
    };
    parts.delayed.dropped.fetch_add(1, Ordering::Relaxed);
    tracing::error!(topic = %queue.topic(), %at, error, "a delayed message cannot be read: it was dropped");
    None
}
