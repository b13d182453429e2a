//! Ending leases for good. One call is one state record, whatever topics and groups its handles name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::broker::POP_MESSAGES_MAX;
use crate::clock::Timestamp;
use crate::delivery::cell::Verdict;
use crate::delivery::cells::Cells;
use crate::delivery::lanes::Order;
use crate::delivery::leases::Lease;
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::operation::forward_message_to_dead_letter_queue::AttemptLimit;
use crate::operation::retry_topic::{moved_to, retry_pair};
use crate::receipt_handle::ReceiptHandle;
use crate::state::record::{CellKey, Entry};
use crate::state::tables::Tables;

pub(crate) fn ack_messages(
    parts: &Parts,
    handles: &[ReceiptHandle],
) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
    let tables = parts.tables();
    let checked: Vec<_> = handles.iter().map(|handle| check_handle(parts, &tables, handle)).collect();
    let mut locked = Locked::new(parts, &tables, checked.iter().flatten());
    let mut locked = locked.lock();
    let now = parts.store.now();

    let mut acked: BTreeMap<CellKey, BTreeSet<u64>> = BTreeMap::new();
    let mut results = Vec::with_capacity(handles.len());
    for (handle, checked) in handles.iter().zip(checked) {
        results.push(checked.and_then(|key| {
            match delivery_of(parts, &tables, &mut locked, key, handle, now)? {
                Delivery::Current { key, offset, .. } | Delivery::Unleased { key, offset } => {
                    acked.entry(key).or_default().insert(offset);
                }
                Delivery::Settled => {}
            }
            Ok(())
        }));
    }
    if acked.is_empty() {
        return Ok(results);
    }
    let cells: Vec<CellKey> = acked.keys().copied().collect();
    let entries: Vec<Entry> =
        acked.into_iter().map(|(cell, offsets)| Entry::Ack { cell, offsets: offsets.into_iter().collect() }).collect();
    parts.append_state(&entries)?;
    apply(&mut locked, &entries);
    wake_lanes(parts, &tables, &locked, cells);
    Ok(results)
}

/// What was settled in these cells may have let lanes of theirs go on, to what is new of them or to what came back:
/// receives that wait look.
pub(crate) fn wake_lanes(
    parts: &Parts,
    tables: &Tables,
    locked: &BTreeMap<Pair, MutexGuard<'_, Cells>>,
    settled: impl IntoIterator<Item = CellKey>,
) {
    let now = parts.store.now();
    for key in settled {
        let pair = (key.consumer_group_id, key.topic_id);
        let cell = locked.get(&pair).and_then(|cells| cells.get(&key.queue_id));
        let Some(cell) = cell.filter(|cell| cell.order() != Order::Nothing) else { continue };
        let group = tables.consumer_group_by_id(pair.0).expect("whoever has its cells locked has looked it up");
        let topic = tables.topic_by_id(pair.1).expect("whoever has its cells locked has looked it up");
        let limit = AttemptLimit::of(&group.config, &topic.config.topic);
        let came_back = cell.deliverable(now, |lease| limit.is_reached(lease.attempt)).map(|(offset, _)| offset);
        let count = cell.ready().chain(came_back).take(POP_MESSAGES_MAX as usize).count() as u64;
        if count > 0 {
            parts.long_polling.may_go_on(&topic.config.topic, &group.config.consumer_group, count);
        }
    }
}

/// The cell a handle speaks of, if topic and group are still the ones it was made for.
pub(crate) fn check_handle(parts: &Parts, tables: &Tables, handle: &ReceiptHandle) -> Result<CellKey, BrokerError> {
    if handle.broker_name != parts.config.broker_name {
        return Err(BrokerError::InvalidReceiptHandle);
    }
    let topic = tables.topic_by_id(handle.topic_id).filter(|topic| topic.incarnation == handle.incarnation);
    let group = tables.consumer_group_by_id(handle.consumer_group_id);
    // Ids are never given twice: a missing one was deleted, and what it leased went with it.
    let (Some(topic), Some(_)) = (topic, group) else { return Err(BrokerError::ReceiptExpired) };
    Ok(CellKey { consumer_group_id: handle.consumer_group_id, topic_id: topic.topic_id, queue_id: handle.queue_id })
}

/// What a handle speaks for.
pub(crate) enum Delivery {
    Current {
        key: CellKey,
        offset: u64,
        lease: Lease,
    },
    /// Moved to the retry topic, and a kill came between its record and that of its lease.
    Unleased {
        key: CellKey,
        offset: u64,
    },
    Settled,
}

/// Where the delivery of a checked handle stands, here or where its message was moved while its consumer was at work; or
/// why the handle speaks for nothing.
pub(crate) fn delivery_of(
    parts: &Parts,
    tables: &Tables,
    locked: &mut BTreeMap<Pair, MutexGuard<'_, Cells>>,
    key: CellKey,
    handle: &ReceiptHandle,
    now: Timestamp,
) -> Result<Delivery, BrokerError> {
    let cell = locked.get(&(key.consumer_group_id, key.topic_id)).and_then(|cells| cells.get(&key.queue_id));
    // No cell: the power cut that took it took the lease as well.
    let cell = cell.ok_or(BrokerError::ReceiptSuperseded)?;
    let offset = handle.queue_offset.0;
    match cell.decide_settle(offset, handle.lease_id, now)? {
        Verdict::Current(lease) => Ok(Delivery::Current { key, offset, lease }),
        Verdict::Settled => moved_to(parts, tables, locked, key, handle, now),
    }
}

/// The cells that a batch of handles names, and those of the groups' retry topics, to be locked in the one order that
/// everybody keeps.
pub(crate) struct Locked {
    pairs: BTreeMap<Pair, Arc<Mutex<Cells>>>,
}

impl Locked {
    pub(crate) fn new<'a>(parts: &Parts, tables: &Tables, keys: impl Iterator<Item = &'a CellKey>) -> Locked {
        let mut pairs: BTreeSet<Pair> = keys.map(|key| (key.consumer_group_id, key.topic_id)).collect();
        let groups: BTreeSet<u32> = pairs.iter().map(|pair| pair.0).collect();
        pairs.extend(groups.into_iter().filter_map(|group| retry_pair(tables, group)));
        Locked { pairs: pairs.into_iter().map(|pair| (pair, parts.cells.of(pair))).collect() }
    }

    pub(crate) fn lock(&mut self) -> BTreeMap<Pair, MutexGuard<'_, Cells>> {
        self.pairs.iter().map(|(pair, cells)| (*pair, cells.lock().expect("no code panics while holding it"))).collect()
    }
}

pub(crate) fn apply(locked: &mut BTreeMap<Pair, MutexGuard<'_, Cells>>, entries: &[Entry]) {
    for entry in entries {
        let key = crate::delivery::cells::cell_of(entry).expect("a settle writes entries of cells");
        let cells = locked.get_mut(&(key.consumer_group_id, key.topic_id)).expect("locked before");
        cells.apply([entry]);
    }
}
