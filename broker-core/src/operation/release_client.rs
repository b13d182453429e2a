//! What becomes of the messages that a consumer keeps while it lives (`LeaseLength::WhileSeen`): life signs keep them
//! with it, its loss brings all of them back by one record.

use std::time::Duration;

use crate::delivery::clients::ClientId;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::operation::ack_message::{Locked, apply};
use crate::state::record::{CellKey, Entry};

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

fn release(parts: &Parts, client: ClientId) -> Result<(), BrokerError> {
    let tables = parts.tables();
    let mut keys: Vec<CellKey> = Vec::new();
    for (pair, cells) in parts.cells.all() {
        if tables.consumer_group_by_id(pair.0).is_none() || tables.topic_by_id(pair.1).is_none() {
            continue;
        }
        let cells = cells.lock().expect("no code panics while holding it");
        let held = cells.iter().filter(|(_, cell)| cell.is_held_by(client));
        keys.extend(held.map(|(queue_id, _)| CellKey {
            consumer_group_id: pair.0,
            topic_id: pair.1,
            queue_id: *queue_id,
        }));
    }
    let mut locked = Locked::new(parts, &tables, keys.iter());
    let mut locked = locked.lock();
    let now = parts.store.now();
    // It took something again while this looked around, so it lives.
    if !parts.clients.is_lost(client, now) {
        return Ok(());
    }
    let deadline = now.plus(RELEASED_AFTER);
    let is_held = |key: &CellKey| {
        let cell = locked[&(key.consumer_group_id, key.topic_id)].get(&key.queue_id);
        cell.is_some_and(|cell| cell.is_held_by(client))
    };
    let entries: Vec<Entry> =
        keys.into_iter().filter(is_held).map(|cell| Entry::ReleaseClient { cell, client, deadline }).collect();
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
