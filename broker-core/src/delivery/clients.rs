//! Consumers that keep what they took for as long as they live: until when each counts as alive.
//!
//! A life sign is no record in the log: it is lost with the process, and after a start everybody counts as seen for a
//! while. What a consumer holds is in its leases; that it was lost is a record, which makes them due.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;

/// A consumer that is not heard of for so long is gone.
pub const SEEN_FOR: Duration = Duration::from_secs(120);
/// After a start nobody can have been heard of.
pub const SEEN_AT_START_FOR: Duration = Duration::from_secs(60);
/// However long it lives: a consumer keeps a message no longer than this without a word about it.
pub const HELD_MAX: Duration = Duration::from_secs(3 * 3_600);

/// A consumer, by the hash of the name that it gives itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl ClientId {
    pub fn of(name: &str) -> ClientId {
        let digest = Sha256::digest(name.as_bytes());
        ClientId(u64::from_be_bytes(digest[..8].try_into().expect("eight of 32 bytes")))
    }
}

/// Those that hold something, as far as anybody knows.
#[derive(Default)]
pub struct Clients {
    seen_until: Mutex<HashMap<ClientId, Timestamp>>,
}

impl Clients {
    /// It takes messages to keep them while it lives.
    pub fn holds(&self, client: ClientId, now: Timestamp) {
        self.lock().insert(client, now.plus(SEEN_FOR));
    }

    /// It held messages when the last life of this broker ended.
    pub fn held_before(&self, clients: impl IntoIterator<Item = ClientId>, now: Timestamp) {
        self.lock().extend(clients.into_iter().map(|client| (client, now.plus(SEEN_AT_START_FOR))));
    }

    /// Of those that hold nothing nobody wants to know.
    pub fn seen(&self, clients: &[ClientId], now: Timestamp) {
        let mut known = self.lock();
        for client in clients {
            if let Some(until) = known.get_mut(client) {
                *until = now.plus(SEEN_FOR).max(*until);
            }
        }
    }

    pub fn is_lost(&self, client: ClientId, now: Timestamp) -> bool {
        self.lock().get(&client).is_some_and(|until| *until <= now)
    }

    pub fn lost(&self, now: Timestamp) -> Vec<ClientId> {
        self.lock().iter().filter(|(_, until)| **until <= now).map(|(client, _)| *client).collect()
    }

    /// What it held is released. It may have come back in between.
    pub fn forget_lost(&self, client: ClientId, now: Timestamp) {
        self.lock().retain(|known, until| *known != client || *until > now);
    }

    /// It says itself that it goes.
    pub fn goes(&self, client: ClientId, now: Timestamp) {
        if let Some(until) = self.lock().get_mut(&client) {
            *until = now;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ClientId, Timestamp>> {
        self.seen_until.lock().expect("no code panics while holding it")
    }
}
