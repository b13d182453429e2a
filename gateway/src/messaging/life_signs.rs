//! Passing on that clients live: any call of theirs and any open stream is a sign. Some of them keep messages while
//! they live; the broker knows which. A gateway that forgets them does no harm: it tells of each at its next call.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gantry_broker_core::delivery::clients::ClientId;

use super::Messaging;
use crate::error::GatewayError;

/// The broker is told of each this often: many times before it would take one for gone.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// So many are remembered. Of others the broker is told at every call.
const REMEMBERED_MAX: usize = 20_000;
const NAME_BYTES_MAX: usize = 256;
/// Who has not called for so long makes room.
const SILENT_MAX: Duration = Duration::from_secs(60);

pub(super) struct LifeSigns {
    begin: Instant,
    /// By the names that they give themselves: when the broker was told last, in ms since the beginning.
    told: RwLock<HashMap<Box<[u8]>, AtomicU64>>,
}

impl Default for LifeSigns {
    fn default() -> LifeSigns {
        LifeSigns { begin: Instant::now(), told: RwLock::default() }
    }
}

impl LifeSigns {
    /// Is the broker to be told?
    fn is_due(&self, name: &[u8]) -> bool {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = ms(self.begin.elapsed());
        if let Some(told) = self.told.read().expect("no code panics while holding it").get(name) {
            let last = told.load(Ordering::Relaxed);
            // One of those that come at once tells it.
            return now.saturating_sub(last) >= ms(TOLD_EVERY)
                && told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        }
        if name.len() <= NAME_BYTES_MAX {
            let mut told = self.told.write().expect("no code panics while holding it");
            if told.len() >= REMEMBERED_MAX {
                told.retain(|_, last| now.saturating_sub(last.load(Ordering::Relaxed)) < ms(SILENT_MAX));
            }
            if told.len() < REMEMBERED_MAX {
                told.insert(name.into(), AtomicU64::new(now));
            }
        }
        true
    }
}

/// Who calls itself so.
pub fn client_of(name: &[u8]) -> ClientId {
    ClientId::of(&String::from_utf8_lossy(name))
}

impl Messaging {
    /// It called, or its stream is open.
    pub fn lives(&self, name: &[u8]) {
        if self.life_signs.is_due(name) {
            let (broker, client) = (self.broker.clone(), client_of(name));
            tokio::spawn(async move {
                if let Err(error) = broker.clients_seen(vec![client]).await {
                    tracing::debug!(%error, "the broker was not told that a client lives");
                }
            });
        }
    }

    /// It says that it goes.
    pub async fn release_client(&self, name: &[u8]) -> Result<(), GatewayError> {
        Ok(self.broker.release_client(client_of(name)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_of_at_once_and_not_at_every_call() {
        let signs = LifeSigns::default();
        assert!(signs.is_due(b"one") && !signs.is_due(b"one") && signs.is_due(b"another"));
        let later = LifeSigns { begin: Instant::now().checked_sub(TOLD_EVERY * 2).unwrap(), ..signs };
        assert!(later.is_due(b"one") && !later.is_due(b"one"));
        let long = [b'x'; NAME_BYTES_MAX + 1];
        assert!(later.is_due(&long) && later.is_due(&long), "not remembered");
    }
}
