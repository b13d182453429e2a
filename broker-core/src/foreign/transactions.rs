//! How far RocketMQ is with half messages (rule B8): the offsets of its own consumer group say below which of them all are
//! decided, and its op records say which of the others are.
//!
//! Gantry writes no op record for a commit: the message itself names the half message that it ends. A stop says for all of
//! them at once what RocketMQ has to know.

use std::collections::{BTreeSet, HashMap};

use crate::delivery::cells::AllCells;
use crate::error::BrokerError;
use crate::foreign::in_flight::walk;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property, sys_flag};
use crate::names::TopicName;
use crate::operation::half_messages::{OP_TAG, QUEUE, cell_key, half_topic, op_topic, transaction_group};
use crate::operation::topics::ensure_topic;
use crate::state::record::{CellKey, Entry};
use crate::state::tables::Tables;
use crate::store::Store;
use crate::store::commit_log::{Append, AppendClass};
use crate::store::error::StoreError;
use crate::store::record::RecordDraft;

/// Longest body of an op record, as RocketMQ writes it (`transactionOpMsgMaxSize`).
const OP_BODY_BYTES_MAX: usize = 4_096;

/// Offsets of one entry: far below the shortest segment, many entries together.
pub const OFFSETS_AT_ONCE: usize = 4_096;

/// What is decided, in the words of the log. After the store's start.
pub fn decided(store: &Store, tables: &Tables, cells: &AllCells) -> Result<Vec<Entry>, StoreError> {
    let (Some(key), Some(queue)) = (cell_key(tables), store.queue(&half_topic(), QUEUE)) else { return Ok(Vec::new()) };
    let floor = cells.next_of(key).unwrap_or(0).max(queue.min_offset().0);
    let mut done: BTreeSet<u64> = BTreeSet::new();
    let mut entries = Vec::new();
    if cells.next_of(key).is_none() {
        entries.push(Entry::Start { cell: key, offset: floor });
    }
    if let (Some(ops), Some(op_key)) = (store.queue(&op_topic(), QUEUE), op_cell_key(tables)) {
        let from = cells.next_of(op_key).unwrap_or(0);
        walk(store, &ops, |op| {
            if op.queue_offset.0 >= from && op.tag() == Some(OP_TAG) {
                done.extend(offsets_of(&op.body).filter(|at| *at >= floor));
            }
        })?;
        entries.push(Entry::CommitOffset { cell: op_key, offset: ops.max_offset().0 });
    }
    // RocketMQ puts a half message back each time it asks about it, without a word about the copy before; and it writes op
    // records a while after the commit.
    let mut newest: HashMap<(String, String), u64> = HashMap::new();
    let mut undecided = Vec::new();
    walk(store, &queue, |half| {
        let at = half.queue_offset.0;
        if at >= floor && !done.contains(&at) {
            let text = |name| half.property(name).unwrap_or_default().to_string();
            let (topic, key) = (text(property::REAL_TOPIC), text(property::UNIQUE_KEY));
            if !key.is_empty()
                && let Some(before) = newest.insert((topic.clone(), key.clone()), at)
            {
                done.insert(before);
            }
            undecided.push((at, half.commit_log_offset, topic, key));
        }
    })?;
    for (at, place, topic, key) in undecided {
        let Ok(topic) = TopicName::from_store(topic.as_bytes()) else { continue };
        let is_commit = |message: &StoredMessage| {
            message.sys_flag & sys_flag::TRANSACTION_MASK == sys_flag::TRANSACTION_COMMIT
                && message.prepared_transaction_offset == place.0
        };
        match store.find_by_unique_key(&topic, &key) {
            Ok(Some(message)) if is_commit(&message) => drop(done.insert(at)),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%topic, key, %error, "a transaction may have been committed: its producer is asked");
            }
        }
    }
    let done: Vec<u64> = done.into_iter().collect();
    entries.extend(done.chunks(OFFSETS_AT_ONCE).map(|offsets| Entry::Ack { cell: key, offsets: offsets.to_vec() }));
    Ok(entries)
}

/// `12,15,`, or one number alone in older versions.
fn offsets_of(body: &[u8]) -> impl Iterator<Item = u64> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.split(',').filter_map(|number| number.trim().parse().ok())
}

fn op_cell_key(tables: &Tables) -> Option<CellKey> {
    let consumer_group_id = tables.consumer_group(&transaction_group())?.consumer_group_id;
    let topic_id = tables.topic(&op_topic())?.topic_id;
    Some(CellKey { consumer_group_id, topic_id, queue_id: QUEUE })
}

/// Says for RocketMQ which half messages are decided that lie behind others which are not. At a clean stop, before the
/// offsets are exported.
pub fn leave_ops(parts: &Parts) -> Result<(), BrokerError> {
    let bodies = ops(parts);
    if !bodies.is_empty() {
        ensure_topic(parts, &op_topic(), 1)?;
    }
    let tables = parts.tables();
    let (Some(key), Some(queue)) = (op_cell_key(&tables), parts.store.queue(&op_topic(), QUEUE)) else { return Ok(()) };
    // RocketMQ begins with the first of ours: those before are told once more by it.
    let first = queue.counter().next();
    if !bodies.is_empty() {
        let append = |body: String| -> Result<Append, BrokerError> {
            let draft = RecordDraft::state(&op_topic(), QUEUE, parts.config.store_host, body);
            let record = draft.with_property(property::TAGS, OP_TAG).encode();
            let record = record.map_err(|error| BrokerError::Storage { reason: error.to_string() })?;
            Ok(Append { record, queue: queue.counter().clone(), class: AppendClass::State })
        };
        let appends = bodies.into_iter().map(append).collect::<Result<Vec<_>, _>>()?;
        for appended in parts.store.append(appends)?.entries {
            appended?;
        }
    }
    let read_to = Entry::CommitOffset { cell: key, offset: first.0 };
    parts.append_state(std::slice::from_ref(&read_to))?;
    parts.cells.apply(&read_to);
    Ok(())
}

/// Bodies of op records for all that is decided above what the offset of the half messages says.
fn ops(parts: &Parts) -> Vec<String> {
    let (Some(key), Some(queue)) = (cell_key(&parts.tables()), parts.store.queue(&half_topic(), QUEUE)) else {
        return Vec::new();
    };
    let cells = parts.cells.of((key.consumer_group_id, key.topic_id));
    let cells = cells.lock().expect("no code panics while holding it");
    let Some(cell) = cells.get(&QUEUE) else { return Vec::new() };
    let mut bodies: Vec<String> = Vec::new();
    for at in (cell.floor()..queue.max_offset().0).filter(|at| cell.is_settled(*at)) {
        let number = format!("{at},");
        match bodies.last_mut().filter(|body| body.len() + number.len() <= OP_BODY_BYTES_MAX) {
            Some(body) => body.push_str(&number),
            None => bodies.push(number),
        }
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_op_record_are_read() {
        for (body, offsets) in
            [(&b"12,15,"[..], &[12, 15][..]), (b"7", &[7]), (b"", &[]), (b"x,3,-1,", &[3]), (b"\xff", &[])]
        {
            assert_eq!(offsets_of(body).collect::<Vec<_>>(), offsets, "{body:?}");
        }
    }
}
