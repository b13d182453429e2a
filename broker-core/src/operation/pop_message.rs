//! Taking messages on a lease: first those that came back, then new ones, over all queues of the topic.
//!
//! One pop is one state record with an entry per queue. New messages that the filter does not want are passed over for
//! good (a consumer group has one filter, as in RocketMQ); a message that came back and does not match stays due for
//! whoever wants it.
//!
//! Where order is kept (a FIFO or mixed topic, or a group that consumes orderly), messages whose lane has something in
//! flight are left for later and others behind them are taken.
//!
//! A receive with the id of an earlier one, whose answer was lost, gets the same messages again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::broker::{
    ConsumerGroupConfig, ConsumerGroupDescription, INVISIBLE_DURATION_MAX, INVISIBLE_DURATION_MIN, LeaseLength,
    POP_MESSAGES_MAX, PopMessages, PoppedMessage, PutConsumerGroup, PutWhen, StartFrom, Topic,
};
use crate::clock::Timestamp;
use crate::delivery::cell::Cell;
use crate::delivery::cells::{Cells, cell_of};
use crate::delivery::clients::HELD_MAX;
use crate::delivery::filter::Filter;
use crate::delivery::lanes::Order;
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{MessageType, StoredMessage};
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{QueueId, QueueOffset};
use crate::operation::consumer_groups;
use crate::operation::forward_message_to_dead_letter_queue::AttemptLimit;
use crate::operation::retry_topic::{make_room, pop_moved};
use crate::receipt_handle::{LeaseId, ReceiptHandle};
use crate::state::record::{CellKey, Entry, LeaseEntry};
use crate::state::tables::{LiveTopic, Tables};
use crate::store::commit_log::Window;
use crate::store::consume_queue::{Boundary, ConsumeQueue};

/// A pop stops taking once its records have this many bytes together: the answer must fit in memory and in a frame.
pub(crate) const POP_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most queue entries one pop looks at: a filter that matches nothing must not hold the lock for long.
pub(crate) const LOOKED_AT_MAX: usize = 4_096;
/// Where order is kept, so many messages are looked at before those whose turn it is are counted again.
const LANES_LOOKED_AT_ONCE: usize = 64;
/// Most leases of one queue looked at for messages that came back.
pub(crate) const DUE_LOOKED_AT_MAX: usize = 1_024;

pub(crate) fn pop_messages(parts: &Parts, pop: &PopMessages) -> Result<Vec<PoppedMessage>, BrokerError> {
    match pop_some(parts, pop)? {
        Popped::Messages(messages) => Ok(messages),
        // Once: messages that the filter does not want must not have all that is in flight moved for them.
        Popped::StandsStill(pair) if make_room(parts, pair)? => match pop_some(parts, pop)? {
            Popped::Messages(messages) => Ok(messages),
            Popped::StandsStill(_) => Ok(Vec::new()),
        },
        Popped::StandsStill(_) => Ok(Vec::new()),
    }
}

enum Popped {
    Messages(Vec<PoppedMessage>),
    /// There are none, and in a queue because too much lies behind what is in flight.
    StandsStill(Pair),
}

fn pop_some(parts: &Parts, pop: &PopMessages) -> Result<Popped, BrokerError> {
    check(pop)?;
    // Before the group is made: a receive that is refused leaves nothing behind.
    readable_topic(&parts.tables(), &pop.topic)?;
    let group = consumer_group(parts, &pop.consumer_group)?;
    let tables = parts.tables();
    let topic = readable_topic(&tables, &pop.topic)?;
    if tables.consumer_group_by_id(group.consumer_group_id).is_none() {
        return Err(BrokerError::ConsumerGroupNotFound { consumer_group: pop.consumer_group.to_string() });
    }
    let moved = pop_moved(parts, &tables, &group, topic, pop, false)?;
    if !moved.is_empty() {
        return Ok(Popped::Messages(moved));
    }
    let pair = (group.consumer_group_id, topic.topic_id);
    let cells = parts.cells.of(pair);
    let mut cells = cells.lock().expect("no code panics while holding it");
    let now = parts.store.now();
    let (invisible, client) = match pop.lease {
        LeaseLength::Exactly(invisible) => (invisible, None),
        LeaseLength::WhileSeen(client) => (HELD_MAX, Some(client)),
    };
    // Before anything is taken: a client that is taken for lost would give it back at once.
    client.into_iter().for_each(|client| parts.clients.holds(client, now));
    let deadline = now.plus(invisible);

    let queues = queues(parts, topic);
    let mut entries = start_entries(parts, &group, topic, &queues, &mut cells)?;
    let starts = entries.len();
    cells.apply(&entries);
    let limit = AttemptLimit::of(&group.config, &topic.config.topic);
    let attempt_id_hash = pop.attempt_id.as_deref().map(attempt_id_hash);
    let order = order(&group.config, topic);
    let decided = decide(parts, pop, &queues, &mut cells, order, limit, attempt_id_hash, now);
    let decided = decided.and_then(|Decision { taken, next, mut passed }| {
        for (queue_id, next) in next {
            let messages = leased(&taken, queue_id);
            let cell = CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id };
            if let Some(offsets) = passed.remove(&queue_id) {
                entries.push(Entry::Ack { cell, offsets });
            }
            if messages.is_empty() && next == cells[&queue_id].next() {
                continue;
            }
            let first = parts.lease_ids(messages.len());
            entries.push(Entry::Lease(LeaseEntry {
                cell,
                deadline,
                first,
                next,
                auto_renew: client.is_some(),
                attempt_id_hash,
                client,
                messages,
            }));
        }
        if !entries.is_empty() {
            parts.append_state(&entries)?;
        }
        Ok(taken)
    });
    let taken = match decided {
        Ok(taken) => taken,
        Err(error) => {
            // What did not reach the log did not happen.
            entries[..starts].iter().filter_map(cell_of).for_each(|key| cells.forget(key.queue_id));
            return Err(error);
        }
    };
    cells.apply(&entries[starts..]);
    if !taken.is_empty() {
        parts.redelivery.arm(pair, deadline);
        let bytes = taken.iter().map(|taken| u64::from(taken.message.record_len)).sum();
        topic.traffic.went_out(taken.len() as u64, bytes, now);
        cells.messages_out += taken.len() as u64;
        cells.bytes_out += bytes;
    }
    let stands_still = |queue: &Arc<ConsumeQueue>| cells[&queue.queue_id()].stands_still(queue.max_offset().0);
    if taken.is_empty() && order == Order::Nothing && queues.iter().any(stands_still) {
        return Ok(Popped::StandsStill(pair));
    }
    if taken.is_empty() && pop.attempt_id.is_some() {
        drop(cells);
        return Ok(Popped::Messages(pop_moved(parts, &tables, &group, topic, pop, true)?));
    }
    let popped = taken
        .into_iter()
        .map(|taken| {
            let handle = ReceiptHandle {
                consumer_group_id: pair.0,
                topic_id: pair.1,
                incarnation: topic.incarnation,
                queue_id: taken.message.queue_id,
                queue_offset: taken.message.queue_offset,
                lease_id: lease_id(&entries, &taken.message),
                deadline,
                broker_name: parts.config.broker_name.clone(),
            };
            let Taken { message, attempt } = taken;
            PoppedMessage { message, handle, delivery_attempt: attempt, invisible_until: deadline }
        })
        .collect();
    Ok(Popped::Messages(popped))
}

/// Where the group begins with queues it has never consumed: said in the log before the first answer, since a restart
/// must not move it.
fn start_entries(
    parts: &Parts,
    group: &ConsumerGroupDescription,
    topic: &Topic,
    queues: &[Arc<ConsumeQueue>],
    cells: &mut Cells,
) -> Result<Vec<Entry>, BrokerError> {
    let unknown = cells.not_begun(queues.len() as u32).into_iter();
    unknown
        .map(|queue_id| {
            let (consumer_group_id, topic_id) = (group.consumer_group_id, topic.topic_id);
            let cell = CellKey { consumer_group_id, topic_id, queue_id };
            let queue = &queues[queue_id.0 as usize];
            Ok(Entry::Start { cell, offset: start_offset(parts, &group.config, queue)?.0 })
        })
        .collect()
}

/// What to take, and up to where each queue was looked at.
struct Decision {
    taken: Vec<Taken>,
    next: BTreeMap<QueueId, u64>,
    /// What nobody wants of messages that stand behind others which have to wait.
    passed: BTreeMap<QueueId, Vec<u64>>,
}

/// The hash by which the log remembers who took a message.
pub(crate) fn attempt_id_hash(attempt_id: &str) -> u64 {
    let digest = Sha256::digest(attempt_id.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("eight of 32 bytes"))
}

/// What of this topic this group gets in order.
pub(crate) fn order(group: &ConsumerGroupConfig, topic: &Topic) -> Order {
    match topic.config.message_type {
        _ if group.orderly => Order::Queue,
        MessageType::Fifo | MessageType::Mixed => Order::MessageGroups,
        _ => Order::Nothing,
    }
}

/// Knows the lanes of what is in flight, or forgets them: a group and a topic may become orderly and stop being so.
fn keep_order(parts: &Parts, queue: &ConsumeQueue, cell: &mut Cell, order: Order) -> Result<(), BrokerError> {
    let window = RefCell::new(Window::default());
    cell.keep_order(order, |offset| {
        let mut entries = Vec::with_capacity(1);
        parts.store.read_queue(queue, QueueOffset(offset), 1, &mut entries)?;
        let Some(entry) = entries.first() else { return Ok(order.lane(offset, None)) };
        let message = parts.store.read_message(&mut window.borrow_mut(), queue, QueueOffset(offset), entry)?;
        Ok(order.lane(offset, message.as_ref().and_then(StoredMessage::message_group)))
    })
}

/// Looks at as few queues as it can: at those of which something came back, and then at one after the other until it has
/// enough.
#[expect(clippy::too_many_arguments)]
fn decide(
    parts: &Parts,
    pop: &PopMessages,
    queues: &[Arc<ConsumeQueue>],
    cells: &mut Cells,
    order: Order,
    limit: AttemptLimit,
    attempt_id_hash: Option<u64>,
    now: Timestamp,
) -> Result<Decision, BrokerError> {
    let mut take = Take {
        parts,
        limit,
        filter: &pop.filter,
        left: pop.messages_max as usize,
        looked_at_left: LOOKED_AT_MAX,
        bytes: 0,
        taken: Vec::new(),
    };
    let mut next = BTreeMap::new();
    let queue_of = |queue_id: QueueId| queues.get(queue_id.0 as usize);
    if let Some(attempt_id) = attempt_id_hash {
        let mut in_flight: Vec<_> = cells.in_flight().collect();
        in_flight.sort_unstable();
        for queue in in_flight.into_iter().filter_map(queue_of) {
            let cell = &cells[&queue.queue_id()];
            take.again(cell, queue, attempt_id, now)?;
            next.insert(queue.queue_id(), cell.next());
        }
        if !take.taken.is_empty() {
            return Ok(Decision { taken: take.taken, next, passed: BTreeMap::new() });
        }
    }
    // One record that cannot be read must not keep the other queues from being served.
    let mut failed = None;
    let came_back: Vec<_> = cells.came_back(now).filter_map(queue_of).collect();
    for queue in came_back {
        let cell = cells.look_into(queue.queue_id()).expect("something of it came back");
        keep_order(parts, queue, cell, order)?;
        if let Err(error) = take.due(cell, queue, now) {
            failed = Some(unreadable(queue, error));
        }
        next.insert(queue.queue_id(), cell.next());
    }
    let turn = parts.next_queue.fetch_add(1, Ordering::Relaxed) as usize % queues.len().max(1);
    let mut passed = BTreeMap::new();
    for queue in queues[turn..].iter().chain(&queues[..turn]) {
        if take.is_full() {
            break;
        }
        let queue_id = queue.queue_id();
        let cell = cells.look_into(queue_id).expect("started above");
        keep_order(parts, queue, cell, order)?;
        let taken = take.taken.len();
        if order != Order::Nothing {
            let mut unwanted = Vec::new();
            if let Err(error) = take.fresh_in_lanes(cell, queue, &mut unwanted) {
                failed = Some(unreadable(queue, error));
            }
            if !unwanted.is_empty() {
                passed.insert(queue_id, unwanted);
            }
            next.insert(queue_id, cell.next());
            continue;
        }
        match take.fresh(cell, queue) {
            Ok(to) => next.insert(queue_id, to),
            Err(error) => {
                failed = Some(unreadable(queue, error));
                // Up to what was taken: the queue goes on from there, and stands still at what cannot be read.
                let last = take.taken[taken..].last().map(|taken| taken.message.queue_offset.0 + 1);
                next.insert(queue_id, last.unwrap_or(cell.next()))
            }
        };
    }
    match failed {
        Some(error) if take.taken.is_empty() && passed.is_empty() => Err(error),
        _ => Ok(Decision { taken: take.taken, next, passed }),
    }
}

fn unreadable(queue: &ConsumeQueue, error: BrokerError) -> BrokerError {
    tracing::error!(topic = %queue.topic(), queue_id = %queue.queue_id(), %error, "a queue cannot be read");
    error
}

/// Offsets and attempts of one queue's messages, ascending.
fn leased(taken: &[Taken], queue_id: QueueId) -> Vec<(u64, u32)> {
    let of_queue = taken.iter().filter(|taken| taken.message.queue_id == queue_id);
    let mut messages: Vec<_> = of_queue.map(|taken| (taken.message.queue_offset.0, taken.attempt)).collect();
    messages.sort_unstable();
    messages
}

fn check(pop: &PopMessages) -> Result<(), BrokerError> {
    if !(1..=POP_MESSAGES_MAX).contains(&pop.messages_max) {
        let reason = format!("must be 1 to {POP_MESSAGES_MAX}");
        return Err(BrokerError::InvalidParameter { name: "maxMessages", reason });
    }
    if let LeaseLength::Exactly(invisible) = pop.lease {
        check_invisible(invisible, INVISIBLE_DURATION_MIN)?;
    }
    if pop.topic.is_system() {
        return Err(BrokerError::SystemTopic { topic: pop.topic.to_string() });
    }
    Ok(())
}

pub(crate) fn check_invisible(invisible: Duration, min: Duration) -> Result<(), BrokerError> {
    let max = INVISIBLE_DURATION_MAX;
    if (min..=max).contains(&invisible) { Ok(()) } else { Err(BrokerError::InvalidInvisibleDuration { min, max }) }
}

/// The group, made on its first receive where that is allowed.
fn consumer_group(parts: &Parts, name: &ConsumerGroup) -> Result<Arc<ConsumerGroupDescription>, BrokerError> {
    consumer_groups::refuse_system(name)?;
    let known = parts.tables().consumer_group(name).cloned();
    let group = match known {
        Some(group) => group,
        None if parts.config.auto_create_consumer_groups => {
            match consumer_groups::put_unchecked(
                parts,
                PutConsumerGroup::new(ConsumerGroupConfig::new(name.clone()), PutWhen::Unconditional),
            ) {
                Ok((group, ..)) => Arc::new(group),
                // Another receive was faster.
                Err(BrokerError::VersionRequired { .. }) => return consumer_group(parts, name),
                Err(error) => return Err(error),
            }
        }
        None => return Err(BrokerError::ConsumerGroupNotFound { consumer_group: name.to_string() }),
    };
    if !group.config.consume_enabled {
        return Err(BrokerError::ConsumeDisabled { consumer_group: name.to_string() });
    }
    Ok(group)
}

pub(crate) fn readable_topic<'a>(tables: &'a Tables, name: &TopicName) -> Result<&'a Arc<LiveTopic>, BrokerError> {
    let topic = tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
    if !topic.config.permission.read || topic.config.read_queues == 0 {
        return Err(BrokerError::TopicNotReadable { topic: name.to_string() });
    }
    Ok(topic)
}

/// The queues that are read, by queue id: that of each is its place.
pub(crate) fn queues(parts: &Parts, topic: &Topic) -> Arc<[Arc<ConsumeQueue>]> {
    let queues = parts.store.queues(&topic.config.topic);
    match queues.get(..topic.config.read_queues as usize) {
        Some(read) if read.len() < queues.len() => read.into(),
        _ => queues,
    }
}

fn start_offset(parts: &Parts, group: &ConsumerGroupConfig, queue: &ConsumeQueue) -> Result<QueueOffset, BrokerError> {
    Ok(match group.start_from {
        StartFrom::Young if queue.min_offset() == QueueOffset(0) => QueueOffset(0),
        StartFrom::Young | StartFrom::Max => queue.max_offset(),
        StartFrom::Min => queue.min_offset(),
        StartFrom::Time(time) => parts.store.offset_at_time(queue, time, Boundary::Lower)?,
    })
}

fn lease_id(entries: &[Entry], message: &StoredMessage) -> LeaseId {
    let lease = entries
        .iter()
        .find_map(|entry| match entry {
            Entry::Lease(lease) if lease.cell.queue_id == message.queue_id => Some(lease),
            _ => None,
        })
        .expect("every taken message has a lease entry of its queue");
    let at = lease
        .messages
        .binary_search_by_key(&message.queue_offset.0, |(offset, _)| *offset)
        .expect("every taken message is in the lease entry of its queue");
    LeaseId { boot: lease.first.boot, sequence: lease.first.sequence + at as u64 }
}

/// What a pop has taken so far.
struct Take<'a> {
    parts: &'a Parts,
    limit: AttemptLimit,
    filter: &'a Filter,
    left: usize,
    looked_at_left: usize,
    bytes: u64,
    taken: Vec<Taken>,
}

struct Taken {
    message: StoredMessage,
    attempt: u32,
}

impl Take<'_> {
    fn is_full(&self) -> bool {
        self.left == 0 || self.bytes >= POP_BYTES_MAX
    }

    /// Takes once more what the receive with this id took, and does not count it as another delivery.
    fn again(&mut self, cell: &Cell, queue: &ConsumeQueue, attempt_id: u64, now: Timestamp) -> Result<(), BrokerError> {
        let mut window = Window::default();
        for (offset, lease) in cell.taken_by(attempt_id).filter(|(_, lease)| lease.deadline > now) {
            if self.is_full() {
                return Ok(());
            }
            if let Some(message) = self.read(&mut window, queue, offset)? {
                self.push(message, lease.attempt);
            }
        }
        Ok(())
    }

    /// Takes what came back.
    fn due(&mut self, cell: &Cell, queue: &ConsumeQueue, now: Timestamp) -> Result<(), BrokerError> {
        let limit = self.limit;
        let mut window = Window::default();
        for (offset, lease) in cell.deliverable(now, |lease| limit.is_reached(lease.attempt)).take(DUE_LOOKED_AT_MAX) {
            if self.is_full() {
                return Ok(());
            }
            if let Some(message) = self.read(&mut window, queue, offset)? {
                self.push(message, lease.attempt + 1);
            }
        }
        Ok(())
    }

    /// The message at this offset, if it is there and wanted.
    fn read(
        &self,
        window: &mut Window,
        queue: &ConsumeQueue,
        offset: u64,
    ) -> Result<Option<StoredMessage>, BrokerError> {
        let mut entries = Vec::with_capacity(1);
        self.parts.store.read_queue(queue, QueueOffset(offset), 1, &mut entries)?;
        let Some(entry) = entries.first().filter(|entry| self.filter.may_match(entry.tag_hash)) else {
            return Ok(None);
        };
        let message = self.parts.store.read_message(window, queue, QueueOffset(offset), entry)?;
        Ok(message.filter(|message| self.filter.matches(message)))
    }

    /// Takes new messages; says up to where the queue was looked at.
    fn fresh(&mut self, cell: &Cell, queue: &ConsumeQueue) -> Result<u64, BrokerError> {
        let from = cell.next().max(queue.min_offset().0);
        let end = queue.max_offset().0.min(cell.window_end());
        if from >= end || self.is_full() || self.looked_at_left == 0 {
            return Ok(from);
        }
        let looked_at = match self.filter {
            Filter::All => self.left,
            Filter::Tags(_) | Filter::Sql(_) => self.looked_at_left,
        };
        let count = usize::try_from(end - from).unwrap_or(usize::MAX).min(looked_at);
        let mut entries = Vec::with_capacity(count);
        self.parts.store.read_queue(queue, QueueOffset(from), count, &mut entries)?;
        let mut next = from;
        let mut window = Window::default();
        for entry in &entries {
            if self.is_full() {
                break;
            }
            // Order was kept here once.
            let is_passed = cell.is_passed(next);
            if !is_passed
                && self.filter.may_match(entry.tag_hash)
                && let Some(message) = self.parts.store.read_message(&mut window, queue, QueueOffset(next), entry)?
                && self.filter.matches(&message)
            {
                self.push(message, 1);
            }
            next += 1;
            self.looked_at_left -= 1;
        }
        Ok(next)
    }

    /// Takes new messages whose lanes have nothing in flight. Those that nobody wants go to `unwanted`, in order.
    fn fresh_in_lanes(
        &mut self,
        cell: &mut Cell,
        queue: &ConsumeQueue,
        unwanted: &mut Vec<u64>,
    ) -> Result<(), BrokerError> {
        if self.is_full() {
            return Ok(());
        }
        let mut window = Window::default();
        let wanted_count = |cell: &Cell, unwanted: &[u64], max: usize| {
            cell.ready().filter(|offset| unwanted.binary_search(offset).is_err()).take(max).count()
        };
        let mut ready = cell.ready().take(self.left).count();
        let mut to_look_at = cell.to_look_at(queue.max_offset().0);
        to_look_at.start = to_look_at.start.max(queue.min_offset().0);
        let mut entries = Vec::new();
        while ready < self.left && !to_look_at.is_empty() && self.looked_at_left > 0 {
            let count = to_look_at.clone().count().min(self.looked_at_left).min(LANES_LOOKED_AT_ONCE);
            entries.clear();
            self.parts.store.read_queue(queue, QueueOffset(to_look_at.start), count, &mut entries)?;
            if entries.is_empty() {
                break;
            }
            for entry in &entries {
                let offset = to_look_at.start;
                let message = self.parts.store.read_message(&mut window, queue, QueueOffset(offset), entry)?;
                let message_group = message.as_ref().and_then(StoredMessage::message_group);
                cell.looked_at(offset, cell.order().lane(offset, message_group));
                if !message.is_some_and(|message| self.filter.matches(&message)) && !cell.is_passed(offset) {
                    unwanted.push(offset);
                }
                to_look_at.start += 1;
                self.looked_at_left -= 1;
            }
            ready = wanted_count(cell, unwanted, self.left);
        }
        // What was looked at by an earlier receive may be unwanted only now.
        let mut late = Vec::new();
        for offset in cell.ready().filter(|offset| unwanted.binary_search(offset).is_err()) {
            if self.is_full() || late.len() == LOOKED_AT_MAX {
                break;
            }
            match self.read(&mut window, queue, offset)? {
                Some(message) => self.push(message, 1),
                None => late.push(offset),
            }
        }
        unwanted.append(&mut late);
        unwanted.sort_unstable();
        Ok(())
    }

    fn push(&mut self, message: StoredMessage, attempt: u32) {
        self.left -= 1;
        self.bytes += u64::from(message.record_len);
        self.taken.push(Taken { message, attempt });
    }
}
