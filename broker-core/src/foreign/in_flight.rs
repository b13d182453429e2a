//! What was popped from a RocketMQ broker and not acked: RocketMQ moves a group's offset on when it hands messages out,
//! so that the offsets alone would lose them (rule B8).
//!
//! A pop leaves a check point that names its messages; an ack leaves a record that names one. Both are timers: they lie in
//! the topic of timers until their time comes, and in the revive topic from then on, whose reader has settled all up to
//! its offset. So a check point is open if the reader has not passed it, or if it has not come to the revive topic yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::delivery::cells::AllCells;
use crate::message::{StoredMessage, property};
use crate::names::{ConsumerGroup, REVIVE_GROUP, REVIVE_TOPIC_PREFIX, TIMER_TOPIC, TopicName};
use crate::offset::QueueOffset;
use crate::state::record::{CellKey, Entry};
use crate::state::tables::Tables;
use crate::store::Store;
use crate::store::config_json;
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;

/// Most messages of one lease entry, far below the shortest segment.
const MESSAGES_AT_ONCE: usize = 1_024;
const ENTRIES_AT_ONCE: usize = 1_024;
/// A check point names at most so many messages: its bits are those of a number.
const CHECK_POINT_MESSAGES_MAX: u64 = 64;
/// Where a timer's message is to go.
const REAL_TOPIC: &str = "REAL_TOPIC";

/// What is in flight.
#[derive(Debug, Default, PartialEq)]
pub struct InFlight {
    /// Offsets that are owed, ascending, with how often each was delivered.
    pub messages: Vec<(CellKey, Vec<(u64, u32)>)>,
    /// What says that the revive topic is read.
    pub done: Vec<Entry>,
}

/// The messages of one pop from one queue, as far as somebody acks them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PopKey {
    topic: String,
    group: String,
    queue: u64,
    start: u64,
    pop_time: i64,
    broker: String,
}

/// Offsets with those that were acked when the check point was written.
type CheckPoint = Vec<(u64, bool)>;

#[derive(Default)]
struct Pops {
    open: HashMap<PopKey, CheckPoint>,
    settled: HashSet<PopKey>,
    acks: HashMap<PopKey, Vec<u64>>,
}

/// Reads the revive topics and the topic of timers. After the store's start.
pub fn find(store: &Store, tables: &Tables, cells: &AllCells) -> Result<InFlight, StoreError> {
    let since = store.foreign().map_or(0, |foreign| foreign.since.0);
    let mut pops = Pops::default();
    let mut found = InFlight::default();
    let revive_group = ConsumerGroup::from_store(REVIVE_GROUP.as_bytes()).expect("a legal name");
    let revive_group = tables.consumer_group(&revive_group).map(|group| group.consumer_group_id);
    for topic in tables.topics().filter(|topic| topic.config.topic.as_str().starts_with(REVIVE_TOPIC_PREFIX)) {
        for queue in store.queues(&topic.config.topic).iter() {
            let cell = revive_group.map(|consumer_group_id| CellKey {
                consumer_group_id,
                topic_id: topic.topic_id,
                queue_id: queue.queue_id(),
            });
            // The offset is that of the last check point that was settled, not of the next.
            let settled = cell.and_then(|cell| cells.next_of(cell));
            walk(store, queue, |message| {
                let is_settled = settled.is_some_and(|settled| message.queue_offset.0 <= settled);
                // What we have taken over before is in the cells.
                if message.commit_log_offset.0 >= since || !is_settled {
                    pops.take(message, is_settled);
                }
            })?;
            if let (Some(cell), Some(last)) = (cell, queue.max_offset().0.checked_sub(1)) {
                found.done.push(Entry::CommitOffset { cell, offset: last });
            }
        }
    }
    let timers = TopicName::from_store(TIMER_TOPIC.as_bytes()).expect("a legal name");
    for queue in store.queues(&timers).iter() {
        walk(store, queue, |message| {
            let is_pop = message.property(REAL_TOPIC).is_some_and(|topic| topic.starts_with(REVIVE_TOPIC_PREFIX));
            if is_pop && message.commit_log_offset.0 >= since {
                pops.take(message, false);
            }
        })?;
    }
    found.messages = pops.owed(store, tables, cells)?;
    Ok(found)
}

/// All messages of a queue; one that cannot be read is passed by.
pub(super) fn walk(
    store: &Store,
    queue: &ConsumeQueue,
    mut each: impl FnMut(&StoredMessage),
) -> Result<(), StoreError> {
    let mut entries = Vec::new();
    let mut next = queue.min_offset();
    while next < queue.max_offset() {
        entries.clear();
        store.read_queue(queue, next, ENTRIES_AT_ONCE, &mut entries)?;
        for entry in &entries {
            match store.read_record(entry) {
                Ok(message) => each(&message),
                Err(error) => tracing::error!(topic = %queue.topic(), %error, "a message in flight cannot be read"),
            }
        }
        next = QueueOffset(next.0 + entries.len().max(1) as u64);
    }
    Ok(())
}

impl Pops {
    fn take(&mut self, message: &StoredMessage, is_settled: bool) {
        let Ok(body) = config_json::parse(&message.body) else {
            tracing::warn!(at = %message.commit_log_offset, "a record of what is in flight cannot be read");
            return;
        };
        let number = |short: &str, long: &str| body.get(short).or(body.get(long)).and_then(Value::as_i64);
        let text = |short: &str, long: &str| {
            let value = body.get(short).or(body.get(long)).and_then(Value::as_str);
            value.unwrap_or_default().to_string()
        };
        let unsigned = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let Some(start) = unsigned(number("so", "startOffset")) else { return };
        let Some(queue) = unsigned(number("q", "queueId")) else { return };
        let key = PopKey {
            topic: text("t", "topic"),
            group: text("c", "consumerGroup"),
            queue,
            start,
            pop_time: number("pt", "popTime").unwrap_or(0),
            broker: text("bn", "brokerName"),
        };
        let list = |short: &str, long: &str| {
            let list = body.get(short).or(body.get(long)).and_then(Value::as_array);
            list.map(|list| list.iter().filter_map(Value::as_u64).collect::<Vec<u64>>())
        };
        match message.property(property::TAGS) {
            Some("ck") if is_settled => {
                self.open.remove(&key);
                self.settled.insert(key);
            }
            Some("ck") if !self.settled.contains(&key) => {
                let acked = number("bm", "bitMap").unwrap_or(0);
                let count = unsigned(number("n", "num")).unwrap_or(0).min(CHECK_POINT_MESSAGES_MAX);
                let deltas = list("d", "queueOffsetDiff").filter(|deltas| !deltas.is_empty());
                let offsets = (0..count).map(|at| {
                    let delta = deltas.as_ref().map_or(Some(at), |deltas| deltas.get(at as usize).copied());
                    Some((start.checked_add(delta?)?, acked >> at & 1 == 1))
                });
                let offsets: CheckPoint = offsets.flatten().collect();
                self.open.insert(key, offsets);
            }
            Some("ack") => {
                let acked = unsigned(number("ao", "ackOffset"));
                self.acks.entry(key).or_default().extend(acked);
            }
            Some("bAck") => {
                let acked = list("aol", "ackOffsetList").unwrap_or_default();
                self.acks.entry(key).or_default().extend(acked);
            }
            _ => {}
        }
    }

    /// What nobody has acked.
    fn owed(&self, store: &Store, tables: &Tables, cells: &AllCells) -> Result<Vec<Owed>, StoreError> {
        let mut owed: BTreeMap<CellKey, BTreeSet<u64>> = BTreeMap::new();
        for (key, offsets) in &self.open {
            let topic = TopicName::from_store(key.topic.as_bytes()).ok();
            let group = ConsumerGroup::from_store(key.group.as_bytes()).ok();
            let (Some(topic), Some(group), Ok(queue)) = (
                topic.and_then(|name| tables.topic(&name)),
                group.and_then(|name| tables.consumer_group(&name)),
                u32::try_from(key.queue),
            ) else {
                continue;
            };
            let queue_id = crate::offset::QueueId(queue);
            let cell = CellKey { consumer_group_id: group.consumer_group_id, topic_id: topic.topic_id, queue_id };
            // What lies at or behind it is delivered anyway.
            let next = cells.next_of(cell).unwrap_or(0);
            let acks = self.acks.get(key);
            let is_owed = |(offset, acked): &&(u64, bool)| {
                !acked && *offset < next && acks.is_none_or(|acks| !acks.contains(offset))
            };
            let offsets = offsets.iter().filter(is_owed).map(|(offset, _)| *offset);
            owed.entry(cell).or_default().extend(offsets);
        }
        let mut found = Vec::new();
        for (cell, offsets) in owed {
            let topic = tables.topic_by_id(cell.topic_id).expect("looked up above");
            let Some(queue) = store.queue(&topic.config.topic, cell.queue_id) else { continue };
            let mut messages = Vec::new();
            for offset in offsets {
                // A message that is gone is owed to nobody.
                let Ok(Some(entry)) = queue.read_entry(QueueOffset(offset)) else { continue };
                let Ok(message) = store.read_record(&entry) else { continue };
                let deliveries = u32::try_from(message.reconsume_times).unwrap_or(0).saturating_add(1);
                messages.push((offset, deliveries));
            }
            found.extend(messages.chunks(MESSAGES_AT_ONCE).map(|messages| (cell, messages.to_vec())));
        }
        Ok(found)
    }
}

/// Messages of one cell that were handed out and not acked: offset and deliveries so far.
type Owed = (CellKey, Vec<(u64, u32)>);
