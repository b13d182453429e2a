//! Consumers that keep messages while they live, and passing on that they do: any call of theirs and any open stream is a
//! sign. A gateway that forgets them does no harm: the next one sees them call, and hears of them at their next receive.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gantry_broker_core::delivery::clients::ClientId;

use super::Messaging;
use crate::error::GatewayError;

/// The broker is told of each this often: many times before it would take one for gone.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// So many are known before those are forgotten that have not called for long.
const KNOWN_MAX: usize = 10_000;
const SILENT_MAX: Duration = Duration::from_secs(600);

pub(super) struct LifeSigns {
    begin: Instant,
    /// By the names that they give themselves: when the broker was told last, in ms since the beginning.
    told: RwLock<HashMap<Box<[u8]>, (ClientId, AtomicU64)>>,
}

impl Default for LifeSigns {
    fn default() -> LifeSigns {
        LifeSigns { begin: Instant::now(), told: RwLock::default() }
    }
}

impl LifeSigns {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn of(&self, name: &[u8]) -> ClientId {
        let now = self.now_ms();
        if let Some((client, told)) = self.told.read().expect("no code panics while holding it").get(name) {
            told.store(now, Ordering::Relaxed);
            return *client;
        }
        let client = ClientId::of(&String::from_utf8_lossy(name));
        let mut known = self.told.write().expect("no code panics while holding it");
        if known.len() >= KNOWN_MAX {
            let silent_max = SILENT_MAX.as_millis() as u64;
            known.retain(|_, (_, told)| told.load(Ordering::Relaxed) + silent_max > now);
        }
        known.insert(name.into(), (client, AtomicU64::new(now)));
        client
    }

    /// Whom to tell the broker of, if anybody.
    fn due(&self, name: &[u8]) -> Option<ClientId> {
        let known = self.told.read().expect("no code panics while holding it");
        let (client, told) = known.get(name)?;
        let (now, last) = (self.now_ms(), told.load(Ordering::Relaxed));
        let is_due = now.saturating_sub(last) >= TOLD_EVERY.as_millis() as u64;
        // One of those that come at once tells it.
        let won = is_due && told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        won.then_some(*client)
    }
}

impl Messaging {
    /// A consumer that is about to take messages for as long as it lives.
    pub fn holder(&self, name: &[u8]) -> ClientId {
        self.life_signs.of(name)
    }

    /// It called, or its stream is open.
    pub fn lives(&self, name: &[u8]) {
        if let Some(client) = self.life_signs.due(name) {
            let broker = self.broker.clone();
            tokio::spawn(async move {
                if let Err(error) = broker.clients_seen(vec![client]).await {
                    tracing::debug!(%error, "the broker was not told that a consumer lives");
                }
            });
        }
    }

    /// It says that it goes.
    pub async fn release_client(&self, name: &[u8]) -> Result<(), GatewayError> {
        let client = self.life_signs.told.write().expect("no code panics while holding it").remove(name);
        // Not known here: it may have received through another gateway.
        let client = client.map_or_else(|| ClientId::of(&String::from_utf8_lossy(name)), |(client, _)| client);
        Ok(self.broker.release_client(client).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_holds_something_is_told_of_and_not_at_every_call() {
        let signs = LifeSigns::default();
        assert_eq!(signs.due(b"producer"), None);
        let client = signs.of(b"consumer");
        assert_eq!((client, signs.of(b"consumer")), (ClientId::of("consumer"), client));
        assert_eq!(signs.due(b"consumer"), None, "the receive itself told");
        let long_ago = LifeSigns { begin: Instant::now().checked_sub(TOLD_EVERY * 2).unwrap(), ..signs };
        assert_eq!(long_ago.due(b"consumer"), Some(client));
        assert_eq!(long_ago.due(b"consumer"), None);
    }
}
