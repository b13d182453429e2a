//! Parked receives: who waits for messages of a topic on behalf of a consumer group, and how they are woken.
//!
//! A new message wakes as many waiters of each group as there are messages, the longest waiting first; a wake that a
//! waiter can no longer use goes to the next one. Waiting takes nothing, so a waiter that vanishes loses nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::BrokerError;
use crate::names::{ConsumerGroup, TopicName};

/// Most parked receives of one broker.
const WAITERS_MAX: usize = 100_000;

#[derive(Default)]
pub struct LongPolling {
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    /// Waiters by the order in which they came.
    topics: HashMap<TopicName, HashMap<ConsumerGroup, BTreeMap<u64, Arc<Waiter>>>>,
    arrivals: u64,
    len: usize,
    closed: bool,
}

#[derive(Default)]
struct Waiter {
    state: AtomicU8,
    notify: Notify,
}

const PARKED: u8 = 0;
const WOKEN: u8 = 1;
const DONE: u8 = 2;

/// A place in the queue of waiters; leaves it when dropped.
pub struct Place<'a> {
    polling: &'a LongPolling,
    topic: TopicName,
    consumer_group: ConsumerGroup,
    number: u64,
    waiter: Arc<Waiter>,
}

impl LongPolling {
    /// Parks before the caller looks a last time for messages, so that no arrival falls between.
    pub fn park(&self, topic: &TopicName, consumer_group: &ConsumerGroup) -> Result<Place<'_>, BrokerError> {
        let mut parked = self.parked.lock().expect("no code panics while holding it");
        if parked.closed {
            return Err(BrokerError::Draining);
        }
        if parked.len >= WAITERS_MAX {
            return Err(BrokerError::Overloaded { what: "places for parked receives" });
        }
        let number = parked.arrivals;
        parked.arrivals += 1;
        parked.len += 1;
        let waiter = Arc::new(Waiter::default());
        let groups = parked.topics.entry(topic.clone()).or_default();
        groups.entry(consumer_group.clone()).or_default().insert(number, waiter.clone());
        Ok(Place { polling: self, topic: topic.clone(), consumer_group: consumer_group.clone(), number, waiter })
    }

    /// `count` new messages of a topic can be seen.
    pub fn arrived(&self, topic: &TopicName, count: u64) {
        let mut parked = self.parked.lock().expect("no code panics while holding it");
        let Some(groups) = parked.topics.get_mut(topic) else { return };
        let woken: usize = groups.values_mut().map(|waiters| wake(waiters, count)).sum();
        parked.len -= woken;
    }

    /// Does anybody of this group wait for messages of this topic?
    pub fn is_parked(&self, topic: &TopicName, consumer_group: &ConsumerGroup) -> bool {
        let parked = self.parked.lock().expect("no code panics while holding it");
        parked
            .topics
            .get(topic)
            .is_some_and(|groups| groups.get(consumer_group).is_some_and(|waiters| !waiters.is_empty()))
    }

    /// So many messages that a group had to leave for later have their turn now.
    pub fn may_go_on(&self, topic: &TopicName, consumer_group: &ConsumerGroup, count: u64) {
        let mut parked = self.parked.lock().expect("no code panics while holding it");
        let Some(waiters) = parked.topics.get_mut(topic).and_then(|groups| groups.get_mut(consumer_group)) else {
            return;
        };
        let woken = wake(waiters, count);
        parked.len -= woken;
    }

    /// Messages came back to a group. All its waiters look: who is wanted depends on their filters.
    pub fn came_back(&self, topic: &TopicName, consumer_group: &ConsumerGroup) {
        self.may_go_on(topic, consumer_group, u64::MAX);
    }

    /// Ends every wait, now and from now on.
    pub fn close(&self) {
        let mut parked = self.parked.lock().expect("no code panics while holding it");
        parked.closed = true;
        let topics = std::mem::take(&mut parked.topics);
        parked.len = 0;
        for waiters in topics.into_values().flat_map(HashMap::into_values) {
            for waiter in waiters.into_values() {
                waiter.wake();
            }
        }
    }

    pub fn len(&self) -> usize {
        self.parked.lock().expect("no code panics while holding it").len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Wakes the longest waiting ones and says how many.
fn wake(waiters: &mut BTreeMap<u64, Arc<Waiter>>, count: u64) -> usize {
    let mut woken = 0;
    for _ in 0..count {
        let Some((_, waiter)) = waiters.pop_first() else { break };
        waiter.wake();
        woken += 1;
    }
    woken
}

impl Waiter {
    fn wake(&self) {
        self.state.store(WOKEN, Ordering::Release);
        self.notify.notify_one();
    }
}

impl Place<'_> {
    /// `true` if something woke the waiter before the time was over.
    pub async fn wait(&self, wait: Duration) -> bool {
        let woken = tokio::time::timeout(wait, self.waiter.notify.notified()).await.is_ok();
        if woken {
            self.waiter.state.store(DONE, Ordering::Release);
        }
        woken
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut parked = self.polling.parked.lock().expect("no code panics while holding it");
        match self.waiter.state.load(Ordering::Acquire) {
            PARKED => {
                let Some(groups) = parked.topics.get_mut(&self.topic) else { return };
                let Some(waiters) = groups.get_mut(&self.consumer_group) else { return };
                let left = waiters.remove(&self.number).is_some();
                if waiters.is_empty() {
                    groups.remove(&self.consumer_group);
                }
                if groups.is_empty() {
                    parked.topics.remove(&self.topic);
                }
                parked.len -= usize::from(left);
            }
            // Woken, and gone before it could look: the wake belongs to the next one.
            WOKEN => {
                let next = parked
                    .topics
                    .get_mut(&self.topic)
                    .and_then(|groups| groups.get_mut(&self.consumer_group))
                    .map_or(0, |waiters| wake(waiters, 1));
                parked.len -= next;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREVER: Duration = Duration::from_secs(3_600);

    fn names() -> (TopicName, ConsumerGroup) {
        (TopicName::from_client("t").unwrap(), ConsumerGroup::from_client("g").unwrap())
    }

    #[tokio::test]
    async fn one_message_wakes_one_waiter_of_each_group_in_order() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let other = ConsumerGroup::from_client("h").unwrap();
        let first = polling.park(&topic, &group).unwrap();
        let second = polling.park(&topic, &group).unwrap();
        let of_other = polling.park(&topic, &other).unwrap();
        polling.arrived(&topic, 1);
        assert!(first.wait(FOREVER).await && of_other.wait(FOREVER).await);
        assert!(!second.wait(Duration::ZERO).await);
        polling.came_back(&topic, &group);
        assert!(second.wait(FOREVER).await);
        drop((first, second, of_other));
        assert!(polling.is_empty());
    }

    #[tokio::test]
    async fn a_wake_that_nobody_used_goes_to_the_next() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let first = polling.park(&topic, &group).unwrap();
        let second = polling.park(&topic, &group).unwrap();
        polling.arrived(&topic, 1);
        drop(first);
        assert!(second.wait(FOREVER).await);
    }

    #[tokio::test]
    async fn closing_ends_every_wait() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let place = polling.park(&topic, &group).unwrap();
        polling.close();
        assert!(place.wait(FOREVER).await);
        assert!(polling.park(&topic, &group).is_err());
        assert!(polling.is_empty());
    }
}
