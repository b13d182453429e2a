//! Messages that must leave their queue though their consumer group has not settled them: they go to its retry topic, and
//! its receives of their own topic find them there (rule C1).
//!
//! There are two reasons: their segment is about to be deleted, or so much lies behind them that nothing more may be handed
//! out. Like a dead letter, a message leaves by one record, the moved message itself, which names the delivery that it
//! ends; its lease follows in a record of its own, so that whoever holds it goes on holding it. It goes once: what
//! retention finds in a retry topic has had its time, and so has what stands in an order, since messages behind it would
//! pass it.
//!
//! A retry topic has the messages of all topics of its group. Each receive takes those of its own, past the others, which
//! wait.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;

use crate::broker::{ConsumerGroupDescription, LeaseLength, PopMessages, PoppedMessage};
use crate::clock::Timestamp;
use crate::delivery::cell::{Cell, GRACE, Verdict};
use crate::delivery::cells::{Cells, Moved};
use crate::delivery::clients::HELD_MAX;
use crate::delivery::filter::Filter;
use crate::delivery::lanes::Order;
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property};
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::operation::ack_message::{Delivery, Locked};
use crate::operation::forward_message_to_dead_letter_queue::{AttemptLimit, Letter};
use crate::operation::pop_message::{DUE_LOOKED_AT_MAX, LOOKED_AT_MAX, POP_BYTES_MAX, attempt_id_hash, order};
use crate::operation::topics::ensure_topic;
use crate::receipt_handle::{LeaseId, ReceiptHandle};
use crate::state::record::{CellKey, Entry, LeaseEntry};
use crate::state::source::Source;
use crate::state::tables::{LiveTopic, Tables};
use crate::store::commit_log::{AppendClass, Window};
use crate::store::consume_queue::{ConsumeQueue, QueueEntry};
use crate::store::error::StoreError;

/// A retry topic's one queue, as RocketMQ makes it.
const QUEUE: QueueId = QueueId(0);
/// Most messages that are moved under one lock, and by one append.
const MOVED_AT_ONCE_MAX: usize = 64;

/// The log is about to go below this place: what was handed out of it and is not settled goes on in retry topics. Says
/// whether anything moved. What cannot be moved does not keep the log: it expires like what nobody ever received.
pub(crate) fn move_below(parts: &Parts, below: CommitLogOffset) -> Result<bool, StoreError> {
    let mut any = false;
    for pair in parts.cells.pairs() {
        let mut messages = 0;
        let until = |queue: &ConsumeQueue, _: &Cell| Ok(parts.store.offset_at_place(queue, below)?.0);
        let moved = move_all(parts, pair, until, &mut messages);
        if messages > 0 {
            any = true;
            tell(parts, pair, messages, "their segment is about to be deleted");
        }
        match moved {
            Ok(()) => {}
            // It passes: the segment stays until then. A full disk does not, unless segments go.
            Err(BrokerError::Overloaded { what }) => return Err(StoreError::Overloaded { what }),
            Err(error) if parts.store.failure().is_none() => {
                tracing::warn!(%error, "messages that were not settled cannot be moved to a retry topic, and expire");
            }
            Err(error) => return Err(StoreError::Failed { reason: error.to_string() }),
        }
    }
    Ok(any)
}

/// Where the record of a message is that was moved to this cell so lately that its queue may not have it yet.
pub(crate) fn record_of(cells: &Cells, offset: u64) -> Option<CommitLogOffset> {
    cells.moved.as_ref()?.records.get(&offset).copied()
}

/// A queue's window is full: its oldest messages in flight go on in the retry topic. Says whether any did.
pub(crate) fn make_room(parts: &Parts, pair: Pair) -> Result<bool, BrokerError> {
    let oldest = |queue: &ConsumeQueue, cell: &Cell| {
        let stands_still = cell.stands_still(queue.max_offset().0);
        let last = cell.leases_from(0).take(MOVED_AT_ONCE_MAX).last();
        Ok(last.filter(|_| stands_still).map_or(0, |(offset, _)| offset + 1))
    };
    let mut messages = 0;
    // Once more where a topic had to be made first.
    for _ in 0..3 {
        if messages > 0 || !move_some(parts, pair, oldest, false, &mut messages)? {
            break;
        }
    }
    if messages > 0 {
        tell(parts, pair, messages, "the window of their queue is full");
    }
    Ok(messages > 0)
}

fn tell(parts: &Parts, pair: Pair, messages: u64, why: &str) {
    let tables = parts.tables();
    if let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) {
        tracing::info!(
            target: "audit", topic = %topic.config.topic, consumer_group = %group.config.consumer_group, messages, why,
            "messages in flight were moved to the retry topic of their consumer group"
        );
    }
}

fn move_all(
    parts: &Parts,
    pair: Pair,
    until: impl Fn(&ConsumeQueue, &Cell) -> Result<u64, BrokerError> + Copy,
    messages: &mut u64,
) -> Result<(), BrokerError> {
    while move_some(parts, pair, until, true, messages)? {}
    Ok(())
}

/// Moves some of what is in flight below the offset that `until` says, and counts them, also when others are refused. Says
/// whether there may be more. What cannot be moved `expires`, or stays where it is.
fn move_some(
    parts: &Parts,
    pair: Pair,
    until: impl Fn(&ConsumeQueue, &Cell) -> Result<u64, BrokerError>,
    expires: bool,
    messages: &mut u64,
) -> Result<bool, BrokerError> {
    let tables = parts.tables();
    let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) else {
        return Ok(false);
    };
    let name = &topic.config.topic;
    if name.is_system() || name.is_derived() || order(&group.config, topic) != Order::Nothing {
        return Ok(false);
    }
    let group_name = &group.config.consumer_group;
    let (retry, dead) = (TopicName::retry_topic(group_name), TopicName::dead_letter_queue(group_name));
    // Before the cells are locked, since a retry topic's are others of the same group.
    let has_retry = tables.topic(&retry).is_some_and(|topic| parts.cells.next_of(key_of(pair.0, topic)).is_some());
    let limit = AttemptLimit::of(&group.config, name);
    let (own, now) = (key_of(pair.0, topic), parts.store.now());
    let mut pairs = Locked::new(parts, &tables, std::iter::once(&own));
    let mut locked = pairs.lock();
    let cells = &locked[&pair];
    let mut letters = Vec::new();
    for queue in parts.store.queues(name).iter() {
        let Some(cell) = cells.get(&queue.queue_id()) else { continue };
        if letters.len() == MOVED_AT_ONCE_MAX || cell.in_flight() == 0 {
            continue;
        }
        let until = until(queue, cell)?;
        let (cell_key, class) = (CellKey { queue_id: queue.queue_id(), ..key_of(pair.0, topic) }, AppendClass::State);
        let below = cell.leases_from(0).take_while(|(offset, _)| *offset < until);
        let left = MOVED_AT_ONCE_MAX - letters.len();
        letters.extend(below.take(left).map(|(offset, lease)| Letter {
            key: cell_key,
            offset,
            lease,
            reason: None,
            class,
            // It was received from there.
            record: None,
        }));
    }
    if letters.is_empty() {
        return Ok(false);
    }
    // A last delivery that is still under way may succeed.
    let is_dead = |letter: &Letter<'_>| limit.is_reached(letter.lease.attempt) && letter.lease.deadline <= now;
    let lacks_dead = letters.iter().any(is_dead) && tables.topic(&dead).is_none();
    if !has_retry || lacks_dead {
        let (group_id, group) = (pair.0, group_name.clone());
        drop((letters, locked, tables));
        if lacks_dead {
            ensure_topic(parts, &dead, 1)?;
        }
        if !has_retry {
            make_retry_topic(parts, group_id, &group)?;
        }
        return Ok(true);
    }
    let (mut appends, mut moved, mut gone) = (Vec::with_capacity(letters.len()), Vec::new(), Vec::new());
    let (mut bytes, mut expired) = (0, 0);
    for letter in &letters {
        if bytes >= POP_BYTES_MAX {
            break;
        }
        let is_dead = is_dead(letter);
        match letter.append(parts, &tables, if is_dead { &dead } else { &retry }) {
            Ok(Some(append)) => {
                bytes += u64::from(append.record.record_len());
                appends.push(append);
                moved.push((letter, is_dead));
            }
            Ok(None) => gone.push(letter.entry()),
            Err(error) => {
                tracing::error!(
                    topic = %name, queue_id = %letter.key.queue_id, queue_offset = letter.offset, %error,
                    expires, "a message in flight cannot be moved to a retry topic"
                );
                if expires {
                    expired += 1;
                    gone.push(letter.entry());
                }
            }
        }
    }
    let batch = parts.store.append(appends)?;
    let there = key_of(pair.0, tables.topic(&retry).expect("made above, and never deleted"));
    let next = locked[&(there.consumer_group_id, there.topic_id)].get(&QUEUE).map_or(0, |cell| cell.next());
    let (mut refused, mut leases, mut places, mut records) = (None, Vec::new(), Vec::new(), Vec::new());
    let cells = locked.get_mut(&pair).expect("locked above");
    cells.expired += expired;
    for (appended, (letter, is_dead)) in batch.entries.into_iter().zip(&moved) {
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                refused = Some(error);
                continue;
            }
        };
        cells.apply([&letter.entry()]);
        *messages += 1;
        *(if *is_dead { &mut cells.dead_letters } else { &mut cells.retried }) += 1;
        if !is_dead {
            leases.push(letter.lease_at(there, appended.queue_offset.0, next));
            places.push(((letter.key, letter.offset), appended.queue_offset.0));
            records.push((appended.queue_offset.0, appended.commit_log_offset));
        }
    }
    // Their handles speak for them at once. To read it from the records is for starts: at this moment those are not yet in
    // their queue, and a handle whose message is nowhere would pass for one that was settled.
    let retry_cells = locked.get_mut(&(there.consumer_group_id, there.topic_id)).expect("locked above");
    let mut known = retry_cells.moved.take().unwrap_or_default();
    known.places.extend(places);
    known.arrived(parts.store.queue(&retry, QUEUE).map_or(0, |queue| queue.max_offset().0));
    known.records.extend(records);
    retry_cells.get(&QUEUE).into_iter().for_each(|cell| known.forget_settled(cell));
    retry_cells.moved = Some(known);
    parts.mark(batch.end);
    // Nobody can have them any more.
    if !gone.is_empty() {
        parts.append_state(&gone)?;
        locked.get_mut(&pair).expect("locked above").apply(&gone);
    }
    // Whoever holds one holds it there too, for as long. Without this record, after a kill, it can be had there at once.
    if !leases.is_empty() {
        parts.append_state(&leases)?;
        let cells = locked.get_mut(&(there.consumer_group_id, there.topic_id)).expect("locked above");
        cells.apply(&leases);
        let deadline = moved.iter().map(|(letter, _)| letter.lease.deadline).min().expect("some were moved");
        parts.redelivery.arm((there.consumer_group_id, there.topic_id), deadline);
    }
    match refused {
        Some(error) => Err(error.into()),
        None => Ok(true),
    }
}

fn key_of(consumer_group_id: u32, topic: &LiveTopic) -> CellKey {
    CellKey { consumer_group_id, topic_id: topic.topic_id, queue_id: QUEUE }
}

/// Its group begins with its first message, wherever it begins with other topics.
fn make_retry_topic(parts: &Parts, consumer_group_id: u32, group: &ConsumerGroup) -> Result<(), BrokerError> {
    let name = TopicName::retry_topic(group);
    ensure_topic(parts, &name, 1)?;
    let tables = parts.tables();
    let (Some(topic), Some(queue)) = (tables.topic(&name), parts.store.queue(&name, QUEUE)) else {
        return Err(BrokerError::TopicNotFound { topic: name.to_string() });
    };
    if tables.consumer_group_by_id(consumer_group_id).is_none() {
        return Err(BrokerError::ConsumerGroupNotFound { consumer_group: group.to_string() });
    }
    let cell = key_of(consumer_group_id, topic);
    let cells = parts.cells.of((cell.consumer_group_id, cell.topic_id));
    let mut cells = cells.lock().expect("no code panics while holding it");
    if !cells.contains_key(&QUEUE) {
        let start = Entry::Start { cell, offset: queue.min_offset().0 };
        parts.append_state(std::slice::from_ref(&start))?;
        cells.apply([&start]);
    }
    Ok(())
}

/// What a receive of this topic finds in the group's retry topic.
struct Found {
    /// With the deliveries counted, this one included.
    taken: Vec<(StoredMessage, u32)>,
    /// Of this topic, and the filter does not want them: passed over for good.
    unwanted: Vec<u64>,
    /// Below, nothing new is left for this topic.
    looked_to: u64,
}

struct Look<'a> {
    parts: &'a Parts,
    queue: &'a ConsumeQueue,
    group_id: u32,
    topic: &'a LiveTopic,
    filter: &'a Filter,
    limit: AttemptLimit,
    messages_max: usize,
    now: Timestamp,
}

impl Look<'_> {
    fn find(&self, cells: &mut Cells, attempt_id: Option<u64>) -> Result<Found, BrokerError> {
        let mut known = cells.moved.take().unwrap_or_default();
        known.arrived(self.queue.max_offset().0);
        let found = match cells.get(&QUEUE) {
            Some(cell) => self.find_in(cell, &mut known, attempt_id),
            None => Ok(Found { taken: Vec::new(), unwanted: Vec::new(), looked_to: 0 }),
        };
        cells.moved = Some(known);
        found
    }

    fn find_in(&self, cell: &Cell, known: &mut Moved, attempt_id: Option<u64>) -> Result<Found, BrokerError> {
        let mut found = Found { taken: Vec::new(), unwanted: Vec::new(), looked_to: 0 };
        let mut bytes = 0;
        let mut window = Window::default();
        let mut entries = Vec::new();
        let mut take = |found: &mut Found, message: StoredMessage, attempt| {
            bytes += u64::from(message.record_len);
            found.taken.push((message, attempt));
            found.taken.len() >= self.messages_max || bytes >= POP_BYTES_MAX
        };
        let again = attempt_id.into_iter().flat_map(|attempt_id| cell.taken_by(attempt_id));
        for (offset, lease) in again.filter(|(_, lease)| lease.deadline > self.now) {
            let message = self.read_moved(&mut window, offset, known, &mut entries)?;
            if let Some(message) = message.filter(|it| self.is_of_topic(it))
                && take(&mut found, message, lease.attempt)
            {
                break;
            }
        }
        if !found.taken.is_empty() {
            return Ok(found);
        }
        let due = cell.due(self.now).filter(|(_, lease)| !self.limit.is_reached(lease.attempt));
        let of_others =
            |from: Option<&(u32, u32)>| from.is_some_and(|from| *from != (self.group_id, self.topic.topic_id));
        let mut looked_at = 0;
        for (offset, lease) in due {
            // Each is read once: what waits for receives of one topic must not keep those of another from their own.
            if of_others(known.sources.get(&offset)) {
                continue;
            }
            if looked_at == DUE_LOOKED_AT_MAX {
                break;
            }
            looked_at += 1;
            let Some(message) = self.read_moved(&mut window, offset, known, &mut entries)? else { continue };
            known
                .sources
                .extend(source_of(&message).map(|(cell, _)| (offset, (cell.consumer_group_id, cell.topic_id))));
            if self.is_wanted(&message) && take(&mut found, message, lease.attempt + 1) {
                return Ok(found);
            }
        }
        if known.sources.len() > 2 * cell.in_flight() + DUE_LOOKED_AT_MAX {
            known.sources.retain(|offset, _| cell.lease_of(*offset).is_some());
        }
        let looked_to = known.looked_to.get(&self.topic.topic_id);
        let from = looked_to.copied().unwrap_or(0).max(cell.next()).max(self.queue.min_offset().0);
        found.looked_to = from;
        let end = self.queue.max_offset().0.min(from + LOOKED_AT_MAX as u64);
        for offset in from..end {
            found.looked_to = offset + 1;
            if cell.is_passed(offset) {
                continue;
            }
            let Some(message) = self.read(&mut window, offset, &mut entries)?.filter(|it| self.is_of_topic(it)) else {
                continue;
            };
            if !self.filter.matches(&message) {
                found.unwanted.push(offset);
                continue;
            }
            // As often as it was delivered where it came from.
            let attempt = u32::try_from(message.reconsume_times).unwrap_or(0).saturating_add(1);
            if take(&mut found, message, attempt) {
                break;
            }
        }
        Ok(found)
    }

    fn read(
        &self,
        window: &mut Window,
        offset: u64,
        entries: &mut Vec<QueueEntry>,
    ) -> Result<Option<StoredMessage>, BrokerError> {
        entries.clear();
        self.parts.store.read_queue(self.queue, QueueOffset(offset), 1, entries)?;
        let Some(entry) = entries.first() else { return Ok(None) };
        Ok(self.readable(offset, self.parts.store.read_message(window, self.queue, QueueOffset(offset), entry)))
    }

    /// The same of what may have been moved so lately that its queue does not have it yet.
    fn read_moved(
        &self,
        window: &mut Window,
        offset: u64,
        known: &Moved,
        entries: &mut Vec<QueueEntry>,
    ) -> Result<Option<StoredMessage>, BrokerError> {
        match known.records.get(&offset) {
            Some(place) => Ok(self.readable(offset, self.parts.store.read_appended(*place).map(Some))),
            None => self.read(window, offset, entries),
        }
    }

    /// What cannot be read must not keep those behind it, nor the topic itself, from being received.
    fn readable(&self, offset: u64, read: Result<Option<StoredMessage>, StoreError>) -> Option<StoredMessage> {
        read.unwrap_or_else(|error| {
            let topic = self.queue.topic();
            tracing::error!(%topic, offset, %error, "a message that was moved cannot be read");
            None
        })
    }

    /// By ids, where we moved it: group and topic of these names may be others by now. RocketMQ says the name alone.
    fn is_of_topic(&self, message: &StoredMessage) -> bool {
        match source_of(message) {
            Some((cell, _)) => (cell.consumer_group_id, cell.topic_id) == (self.group_id, self.topic.topic_id),
            None => message.property(property::RETRY_TOPIC) == Some(self.topic.config.topic.as_str()),
        }
    }

    fn is_wanted(&self, message: &StoredMessage) -> bool {
        self.is_of_topic(message) && self.filter.matches(message)
    }
}

/// The delivery that it was moved from.
fn source_of(message: &StoredMessage) -> Option<(CellKey, u64)> {
    match message.property(property::SOURCE).map(Source::parse) {
        Some(Ok(Source::Lease { cell, offset })) => Some((cell, offset)),
        _ => None,
    }
}

/// The retry topic of a group, if a receive of this topic may find anything there.
fn retry_of<'a>(
    parts: &Parts,
    tables: &'a Tables,
    group: &ConsumerGroup,
    topic: &TopicName,
) -> Option<(&'a LiveTopic, Arc<ConsumeQueue>)> {
    let name = TopicName::retry_topic(group);
    let retry = tables.topic(&name).filter(|_| !topic.is_derived())?;
    // What has just been moved lies behind its end.
    let queue = parts.store.queue(&name, QUEUE).filter(|queue| queue.counter().next() > queue.min_offset())?;
    Some((retry, queue))
}

/// Takes what was moved to the group's retry topic from the topic that it asks for. What an earlier receive of the same id
/// took from the topic itself comes again first; `after_own` if there was nothing of it.
pub(crate) fn pop_moved(
    parts: &Parts,
    tables: &Tables,
    group: &ConsumerGroupDescription,
    topic: &LiveTopic,
    pop: &PopMessages,
    after_own: bool,
) -> Result<Vec<PoppedMessage>, BrokerError> {
    let Some((retry, queue)) = retry_of(parts, tables, &group.config.consumer_group, &topic.config.topic) else {
        return Ok(Vec::new());
    };
    let cell = key_of(group.consumer_group_id, retry);
    let pair = (cell.consumer_group_id, cell.topic_id);
    let now = parts.store.now();
    let attempt_id_hash = pop.attempt_id.as_deref().map(attempt_id_hash);
    if let Some(attempt_id) = attempt_id_hash.filter(|_| !after_own) {
        let own = parts.cells.of((pair.0, topic.topic_id));
        let own = own.lock().expect("no code panics while holding it");
        if own.in_flight().any(|queue| own[&queue].taken_by(attempt_id).any(|(_, lease)| lease.deadline > now)) {
            return Ok(Vec::new());
        }
    }
    let cells = parts.cells.of(pair);
    let mut cells = cells.lock().expect("no code panics while holding it");
    let limit = AttemptLimit::of(&group.config, &retry.config.topic);
    let (filter, messages_max) = (&pop.filter, pop.messages_max as usize);
    let look = Look { parts, queue: &queue, group_id: pair.0, topic, filter, limit, messages_max, now };
    let Found { mut taken, unwanted, looked_to } = look.find(&mut cells, attempt_id_hash)?;
    let looked_at = |cells: &mut Cells| {
        let known = cells.moved.get_or_insert_default().looked_to.entry(topic.topic_id).or_default();
        *known = looked_to.max(*known);
    };
    if taken.is_empty() && unwanted.is_empty() {
        looked_at(&mut cells);
        return Ok(Vec::new());
    }
    let (invisible, client) = match pop.lease {
        LeaseLength::Exactly(invisible) => (invisible, None),
        LeaseLength::WhileSeen(client) => (HELD_MAX, Some(client)),
    };
    client.into_iter().for_each(|client| parts.clients.holds(client, now));
    let deadline = now.plus(invisible);
    taken.sort_unstable_by_key(|(message, _)| message.queue_offset);
    let first = parts.lease_ids(taken.len());
    let mut entries = Vec::with_capacity(2);
    if !unwanted.is_empty() {
        entries.push(Entry::Ack { cell, offsets: unwanted });
    }
    if !taken.is_empty() {
        // Nobody takes anything of an order from here.
        let known = cells.look_into(QUEUE).expect("something was found in it");
        known.keep_order(Order::Nothing, |_| Err(())).expect("no lane is asked for");
        entries.push(Entry::Lease(LeaseEntry {
            cell,
            deadline,
            first,
            next: known.next(),
            auto_renew: client.is_some(),
            attempt_id_hash,
            client,
            messages: taken.iter().map(|(message, attempt)| (message.queue_offset.0, *attempt)).collect(),
        }));
    }
    parts.append_state(&entries)?;
    cells.apply(&entries);
    looked_at(&mut cells);
    if !taken.is_empty() {
        parts.redelivery.arm(pair, deadline);
        let bytes = taken.iter().map(|(message, _)| u64::from(message.record_len)).sum();
        retry.traffic.went_out(taken.len() as u64, bytes, now);
        cells.messages_out += taken.len() as u64;
        cells.bytes_out += bytes;
    }
    let popped = taken.into_iter().zip(first.sequence..).map(|((message, delivery_attempt), sequence)| {
        let handle = ReceiptHandle {
            consumer_group_id: pair.0,
            topic_id: pair.1,
            incarnation: retry.incarnation,
            queue_id: QUEUE,
            queue_offset: message.queue_offset,
            lease_id: LeaseId { boot: first.boot, sequence },
            deadline,
            broker_name: parts.config.broker_name.clone(),
        };
        // Whoever asked for its topic gets a message of it.
        let topic = Bytes::copy_from_slice(topic.config.topic.as_str().as_bytes());
        let message = StoredMessage { topic, ..message };
        PoppedMessage { message, handle, delivery_attempt, invisible_until: deadline }
    });
    Ok(popped.collect())
}

/// Would `pop_moved` find something to take or to pass over?
pub(crate) fn has_moved(
    parts: &Parts,
    tables: &Tables,
    group: &ConsumerGroupDescription,
    topic: &LiveTopic,
    filter: &Filter,
) -> Result<bool, BrokerError> {
    let Some((retry, queue)) = retry_of(parts, tables, &group.config.consumer_group, &topic.config.topic) else {
        return Ok(false);
    };
    let cells = parts.cells.of((group.consumer_group_id, retry.topic_id));
    let mut cells = cells.lock().expect("no code panics while holding it");
    let limit = AttemptLimit::of(&group.config, &retry.config.topic);
    let (group_id, now) = (group.consumer_group_id, parts.store.now());
    let look = Look { parts, queue: &queue, group_id, topic, filter, limit, messages_max: 1, now };
    let found = look.find(&mut cells, None)?;
    let has_more = cells.contains_key(&QUEUE) && found.looked_to < queue.max_offset().0;
    Ok(!found.taken.is_empty() || !found.unwanted.is_empty() || has_more)
}

/// The cells of a group's retry topic, if it has one.
pub(crate) fn retry_pair(tables: &Tables, consumer_group_id: u32) -> Option<Pair> {
    let group = tables.consumer_group_by_id(consumer_group_id)?;
    let topic = tables.topic(&TopicName::retry_topic(&group.config.consumer_group))?;
    Some((consumer_group_id, topic.topic_id))
}

/// What a handle speaks for whose delivery ended at its own place: its message may have been moved, and the handle speaks
/// for it until somebody gets it anew.
pub(crate) fn moved_to(
    parts: &Parts,
    tables: &Tables,
    locked: &mut BTreeMap<Pair, MutexGuard<'_, Cells>>,
    from: CellKey,
    handle: &ReceiptHandle,
    now: Timestamp,
) -> Result<Delivery, BrokerError> {
    let pair = retry_pair(tables, from.consumer_group_id).filter(|pair| pair.1 != from.topic_id);
    let Some((pair, cells)) = pair.and_then(|pair| Some((pair, locked.get_mut(&pair)?))) else {
        return Ok(Delivery::Settled);
    };
    let retry = tables.topic_by_id(pair.1).expect("looked up above");
    let Some(queue) = parts.store.queue(&retry.config.topic, QUEUE) else { return Ok(Delivery::Settled) };
    learn_places(parts, &queue, cells)?;
    let place = cells.moved.as_ref().and_then(|moved| moved.places.get(&(from, handle.queue_offset.0)).copied());
    let (Some(offset), Some(cell)) = (place, cells.get(&QUEUE)) else { return Ok(Delivery::Settled) };
    let key = key_of(pair.0, retry);
    if cell.lease_of(offset).is_none() && !cell.is_settled(offset) {
        let expired = now > handle.deadline.plus(GRACE);
        return if expired { Err(BrokerError::ReceiptExpired) } else { Ok(Delivery::Unleased { key, offset }) };
    }
    Ok(match cell.decide_settle(offset, handle.lease_id, now)? {
        Verdict::Current(lease) => Delivery::Current { key, offset, lease },
        Verdict::Settled => Delivery::Settled,
    })
}

/// Read from the records, the first time after a start from the oldest that is not settled.
fn learn_places(parts: &Parts, queue: &ConsumeQueue, cells: &mut Cells) -> Result<(), BrokerError> {
    let mut known = cells.moved.take().unwrap_or_default();
    let learned = match cells.get(&QUEUE) {
        Some(cell) => learn_places_of(parts, queue, cell, &mut known),
        None => Ok(()),
    };
    cells.moved = Some(known);
    learned
}

fn learn_places_of(parts: &Parts, queue: &ConsumeQueue, cell: &Cell, known: &mut Moved) -> Result<(), BrokerError> {
    let end = queue.max_offset().0;
    let mut next = known.placed_to.max(cell.floor()).max(queue.min_offset().0);
    known.forget_settled(cell);
    let mut entries = Vec::new();
    let mut window = Window::default();
    while next < end {
        entries.clear();
        parts.store.read_queue(queue, QueueOffset(next), LOOKED_AT_MAX, &mut entries)?;
        for (at, entry) in (next..).zip(&entries).filter(|(at, _)| !cell.is_settled(*at)) {
            // One that cannot be read cannot be delivered either.
            let message = parts.store.read_message(&mut window, queue, QueueOffset(at), entry).ok().flatten();
            known.places.extend(message.as_ref().and_then(source_of).map(|from| (from, at)));
        }
        next += entries.len().max(1) as u64;
        known.placed_to = next;
    }
    Ok(())
}
