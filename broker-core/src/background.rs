//! The threads of a broker beside those of its callers, and how they end.
//!
//! | thread | runs | does | ends |
//! | --- | --- | --- | --- |
//! | `redelivery` | at the next deadline of a lease | wakes parked receives, gives up what came back too often | `Redelivery::close` |
//! | `timers` | when a delayed message comes or is due | delivers it | `Bell::close` |
//! | `upkeep` | every 10 s | takes a snapshot when one is due, lets old messages and what lost consumers held go | `Background::stop` |
//!
//! The store has three of its own: `log-flusher` and `log-preparer` (`commit_log.rs`), `store-keeper` (`store.rs`).

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::local_broker::Parts;
use crate::operation::{fire_messages, release_client, retention, snapshot};
use crate::store::failpoint;

/// RocketMQ's `cleanResourceInterval`; and no two snapshots are nearer to each other.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
/// In processes that tests kill soon.
const HURRIED_UPKEEP_INTERVAL: Duration = Duration::from_millis(10);

/// Running threads. Dropping it does not end them.
pub(crate) struct Background {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Background {
    pub(crate) fn start(parts: &Arc<Parts>) -> Background {
        let stop = Arc::new(Stop::default());
        let (for_redelivery, for_upkeep, until) = (parts.clone(), parts.clone(), stop.clone());
        let redelivery = spawn("redelivery", move || {
            while let Some(pair) = for_redelivery.redelivery.next(|| for_redelivery.store.now()) {
                for_redelivery.came_back(pair);
            }
        });
        let for_timers = parts.clone();
        let timers = spawn("timers", move || fire_messages::keep_firing(&for_timers));
        let upkeep = spawn("upkeep", move || {
            let interval = if failpoint::hurries() { HURRIED_UPKEEP_INTERVAL } else { UPKEEP_INTERVAL };
            while !until.within(interval) {
                keep_up(&for_upkeep);
            }
        });
        Background { threads: vec![redelivery, timers, upkeep], stop }
    }

    pub(crate) fn stop(&mut self, parts: &Parts) {
        parts.redelivery.close();
        parts.delayed.bell.close();
        *self.stop.stopped.lock().expect("no code panics while holding it") = true;
        self.stop.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic over there was reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Stop {
    /// Waits for the stop, so long at most.
    fn within(&self, wait_max: Duration) -> bool {
        let stopped = self.stopped.lock().expect("no code panics while holding it");
        let (stopped, _) = self
            .changed
            .wait_timeout_while(stopped, wait_max, |stopped| !*stopped)
            .expect("no code panics while holding it");
        *stopped
    }
}

/// What fails here is tried again the next time; until then more is kept than need be.
fn keep_up(parts: &Parts) {
    if parts.store.failure().is_some() {
        return;
    }
    parts.idempotency.sweep(parts.store.now());
    if let Err(error) = release_client::release_lost_clients(parts) {
        tracing::warn!(%error, "what lost consumers held comes back later");
    }
    let kept_up = snapshot::take_snapshot_if_due(parts).and_then(|()| retention::enforce_retention(parts));
    if let Err(error) = kept_up {
        tracing::error!(%error, "upkeep failed: the state's older snapshot counts, and nothing is deleted");
    }
}

fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.into()).spawn(life).expect("the operating system gives a thread")
}
