//! What becomes of the messages that a consumer keeps while it lives (`LeaseLength::WhileSeen`): life signs keep them
//! with it, its loss brings all of them back by one record.

use std::time::Duration;

use crate::delivery::clients::ClientId;
use crate::delivery::redelivery::Pair;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::names::TopicName;
use crate::offset::QueueId;
use crate::operation::ack_message::{Locked, apply};
use crate::state::record::{CellKey, Entry};
use crate::state::tables::Tables;

/// What a lost consumer held is due again after this: it may have failed because of it.
const RELEASED_AFTER: Duration = Duration::from_secs(1);

pub(crate) fn clients_seen(parts: &Parts, clients: &[ClientId]) {
    parts.clients.seen(clients, parts.store.now());
}

pub(crate) fn release_client(parts: &Parts, client: ClientId) -> Result<(), BrokerError> {
    parts.clients.goes(client, parts.store.now());
    release(parts, client)
}

/// What fails here is tried again the next time.
pub(crate) fn release_lost_clients(parts: &Parts) -> Result<(), BrokerError> {
    for client in parts.clients.lost(parts.store.now()) {
        release(parts, client)?;
    }
    Ok(())
}

/// The cells in which this client holds something, of the topics that are asked for.
fn held_by(parts: &Parts, tables: &Tables, client: ClientId, of: impl Fn(&TopicName) -> bool) -> Vec<CellKey> {
    let mut keys = Vec::new();
    for (pair, cells) in parts.cells.all() {
        let topic = tables.topic_by_id(pair.1).filter(|topic| of(&topic.config.topic));
        if tables.consumer_group_by_id(pair.0).is_none() || topic.is_none() {
            continue;
        }
        let cells = cells.lock().expect("no code panics while holding it");
        keys.extend(cells.iter().filter(|(_, cell)| cell.is_held_by(client)).map(|(queue_id, _)| key(pair, *queue_id)));
    }
    keys
}

fn key(pair: Pair, queue_id: QueueId) -> CellKey {
    CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id }
}

fn release(parts: &Parts, client: ClientId) -> Result<(), BrokerError> {
    let tables = parts.tables();
    let mut keys = held_by(parts, &tables, client, |topic| topic.retry_group().is_none());
    // These at last: what is moved while this looks around goes there, and from there nowhere.
    keys.extend(held_by(parts, &tables, client, |topic| topic.retry_group().is_some()));
    let mut locked = Locked::new(parts, &tables, keys.iter());
    let mut locked = locked.lock();
    let now = parts.store.now();
    // It took something again while this looked around, so it lives.
    if !parts.clients.is_lost(client, now) {
        return Ok(());
    }
    let deadline = now.plus(RELEASED_AFTER);
    let cells = locked.iter().flat_map(|(pair, cells)| cells.iter().map(|(queue_id, cell)| (*pair, *queue_id, cell)));
    let held = cells.filter(|(.., cell)| cell.is_held_by(client));
    let entries: Vec<Entry> =
        held.map(|(pair, queue_id, _)| Entry::ReleaseClient { cell: key(pair, queue_id), client, deadline }).collect();
    if !entries.is_empty() {
        parts.append_state(&entries)?;
        apply(&mut locked, &entries);
        let pairs: Vec<_> = locked.keys().copied().collect();
        drop(locked);
        pairs.into_iter().for_each(|pair| parts.redelivery.arm(pair, deadline));
        tracing::debug!(client = client.0, queues = entries.len(), "a consumer is gone: what it held comes back");
    }
    parts.clients.forget_lost(client, now);
    Ok(())
}
