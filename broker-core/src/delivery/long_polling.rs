//! Parked receives: who waits for messages of a topic on behalf of a consumer group, and how they are woken.
//!
//! A new message wakes one waiter of each group that can be served with it: one whose filter wants it and, where order is
//! kept, whose lane has nothing in flight. Of those it is the longest waiting one. Waiters of a group that want the same
//! stand in one line, so a message is judged once for all of them. A wake that a waiter can no longer use goes to the next.
//! Waiting takes nothing, so a waiter that vanishes loses nothing.
//!
//! What cannot be judged wakes somebody: a wake in vain costs a look, a missing one a message's delay.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::delivery::cells::Cells;
use crate::delivery::filter::Filter;
use crate::delivery::lanes::Order;
use crate::error::BrokerError;
use crate::message::{properties, property};
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{QueueId, QueueOffset};
use crate::store::dispatch::{Arrival, ReadArrival};

use self::occupancy::Occupancy;

pub mod occupancy;

/// Most parked receives of one broker.
const WAITERS_MAX: usize = 100_000;
/// Most lines of one group and topic. Further kinds of waiters share the last, and every message wakes somebody there.
const LINES_MAX: usize = 64;

#[derive(Default)]
pub struct LongPolling {
    /// Read by whoever sends, before anything else.
    occupancy: Occupancy,
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    topics: HashMap<TopicName, HashMap<ConsumerGroup, Vec<Line>>>,
    arrivals: u64,
    closed: bool,
}

/// What a waiter can be served with.
#[derive(Clone)]
pub struct Wants {
    pub filter: Filter,
    pub order: Order,
    /// Of its group and topic: they know which lanes have something in flight.
    pub cells: Arc<Mutex<Cells>>,
}

/// Waiters that want the same, by the order in which they came. Never empty.
struct Line {
    number: u64,
    /// None: nobody knows, so every message will do.
    wants: Option<Wants>,
    waiters: BTreeMap<u64, Arc<Waiter>>,
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
    line: u64,
    number: u64,
    waiter: Arc<Waiter>,
}

impl LongPolling {
    /// Parks before the caller looks a last time for messages, so that no arrival falls between.
    pub fn park(
        &self,
        topic: &TopicName,
        consumer_group: &ConsumerGroup,
        wants: Wants,
    ) -> Result<Place<'_>, BrokerError> {
        let mut parked = self.lock();
        if parked.closed {
            return Err(BrokerError::Draining);
        }
        if self.occupancy.count() >= WAITERS_MAX {
            return Err(BrokerError::Overloaded { what: "places for parked receives" });
        }
        let number = parked.arrivals;
        parked.arrivals += 1;
        let waiter = Arc::new(Waiter::default());
        let lines = parked.topics.entry(topic.clone()).or_default().entry(consumer_group.clone()).or_default();
        let line = match lines.iter_mut().position(|line| line.wants.as_ref().is_none_or(|known| *known == wants)) {
            Some(at) => &mut lines[at],
            None => {
                let wants = (lines.len() + 1 < LINES_MAX).then_some(wants);
                lines.push(Line { number, wants, waiters: BTreeMap::new() });
                lines.last_mut().expect("just pushed")
            }
        };
        line.waiters.insert(number, waiter.clone());
        let line = line.number;
        self.occupancy.enter();
        Ok(Place { polling: self, topic: topic.clone(), consumer_group: consumer_group.clone(), line, number, waiter })
    }

    /// New messages can be seen in a queue. Costs one look at a number as long as nobody waits.
    pub fn arrived(&self, arrival: &Arrival, read: &ReadArrival<'_>) {
        if self.occupancy.is_empty_behind_arrival() {
            return;
        }
        if let Some(group) = arrival.topic.retry_group() {
            ConsumerGroup::from_store(group.as_bytes()).iter().for_each(|group| self.retried(group));
        }
        let mut woken = Woken::default();
        let mut parked = self.lock();
        let Some(groups) = parked.topics.get_mut(&arrival.topic) else { return };
        let mut judges = false;
        for lines in groups.values_mut() {
            match lines.iter().any(|line| line.wants.as_ref().is_some_and(Wants::judges)) {
                true => judges = true,
                false => self.occupancy.leave(wake_longest(lines, arrival.count, &mut woken)),
            }
        }
        if judges {
            read(arrival, &mut |offset, properties| {
                for lines in groups.values_mut().filter(|lines| !lines.is_empty()) {
                    if lines.iter().any(|line| line.wants.as_ref().is_some_and(Wants::judges)) {
                        let place = (arrival.queue_id, offset);
                        self.occupancy.leave(wake_one_for(lines, place, properties, &mut woken));
                    }
                }
            });
        }
        groups.retain(|_, lines| !lines.is_empty());
        if groups.is_empty() {
            parked.topics.remove(&arrival.topic);
        }
    }

    /// Does anybody of this group wait for messages of this topic?
    pub fn is_parked(&self, topic: &TopicName, consumer_group: &ConsumerGroup) -> bool {
        self.lock().topics.get(topic).is_some_and(|groups| groups.contains_key(consumer_group))
    }

    /// So many messages that a group had to leave for later have their turn now.
    pub fn may_go_on(&self, topic: &TopicName, consumer_group: &ConsumerGroup, count: u64) {
        if !self.occupancy.is_empty_behind_arrival() {
            self.with_lines(topic, consumer_group, |lines, woken| wake_longest(lines, count, woken));
        }
    }

    /// So many messages came back to a group. Who is wanted depends on the filters: where there are any, all look.
    pub fn came_back(&self, topic: &TopicName, consumer_group: &ConsumerGroup, count: u64) {
        if self.occupancy.is_empty_behind_arrival() {
            return;
        }
        match topic.is_retry_topic_of(consumer_group) {
            true => self.retried(consumer_group),
            false => self.with_lines(topic, consumer_group, |lines, woken| {
                let filters =
                    lines.iter().any(|line| line.wants.as_ref().is_none_or(|wants| wants.filter != Filter::All));
                wake_longest(lines, if filters { u64::MAX } else { count }, woken)
            }),
        }
    }

    /// Something of a group's retry topic can be had, by receives of whichever topic it came from: all of them look.
    fn retried(&self, consumer_group: &ConsumerGroup) {
        let mut woken = Woken::default();
        let mut parked = self.lock();
        for lines in parked.topics.values_mut().filter_map(|groups| groups.get_mut(consumer_group)) {
            self.occupancy.leave(wake_longest(lines, u64::MAX, &mut woken));
        }
        parked.topics.values_mut().for_each(|groups| groups.retain(|_, lines| !lines.is_empty()));
        parked.topics.retain(|_, groups| !groups.is_empty());
    }

    /// A topic is gone, and with it what its waiters could be served with: they look once more and are told so.
    pub fn topic_is_gone(&self, topic: &TopicName) {
        let mut woken = Woken::default();
        let gone = self.lock().topics.remove(topic);
        let gone = gone.into_iter().flat_map(HashMap::into_values);
        gone.for_each(|mut lines| self.occupancy.leave(wake_longest(&mut lines, u64::MAX, &mut woken)));
    }

    /// The same of a consumer group.
    pub fn consumer_group_is_gone(&self, consumer_group: &ConsumerGroup) {
        let mut woken = Woken::default();
        let mut parked = self.lock();
        let gone = parked.topics.values_mut().filter_map(|groups| groups.remove(consumer_group));
        gone.for_each(|mut lines| self.occupancy.leave(wake_longest(&mut lines, u64::MAX, &mut woken)));
        parked.topics.retain(|_, groups| !groups.is_empty());
    }

    /// Ends every wait, now and from now on.
    pub fn close(&self) {
        let mut woken = Woken::default();
        let mut parked = self.lock();
        parked.closed = true;
        for mut lines in std::mem::take(&mut parked.topics).into_values().flat_map(HashMap::into_values) {
            self.occupancy.leave(wake_longest(&mut lines, u64::MAX, &mut woken));
        }
    }

    pub fn len(&self) -> usize {
        self.occupancy.count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Parked> {
        self.parked.lock().expect("no code panics while holding it")
    }

    /// Changes the lines of a group; `change` says how many left them.
    fn with_lines(
        &self,
        topic: &TopicName,
        consumer_group: &ConsumerGroup,
        change: impl FnOnce(&mut Vec<Line>, &mut Woken) -> usize,
    ) {
        let mut woken = Woken::default();
        let mut parked = self.lock();
        parked.with_lines(topic, consumer_group, |lines| self.occupancy.leave(change(lines, &mut woken)));
    }
}

impl Parked {
    fn with_lines(&mut self, topic: &TopicName, consumer_group: &ConsumerGroup, change: impl FnOnce(&mut Vec<Line>)) {
        let Some(groups) = self.topics.get_mut(topic) else { return };
        let Some(lines) = groups.get_mut(consumer_group) else { return };
        change(lines);
        if lines.is_empty() {
            groups.remove(consumer_group);
        }
        if groups.is_empty() {
            self.topics.remove(topic);
        }
    }
}

impl Wants {
    /// Is there anything to look at in a message?
    fn judges(&self) -> bool {
        self.filter != Filter::All || self.order != Order::Nothing
    }

    fn can_be_served(&self, queue_id: QueueId, offset: QueueOffset, stored: Option<&[u8]>) -> bool {
        let Some(stored) = stored else { return true };
        self.filter.matches_properties(stored) && self.may_go_on(queue_id, offset.0, stored)
    }

    /// The thread that asks may hold these very cells: then nobody knows.
    fn may_go_on(&self, queue_id: QueueId, offset: u64, stored: &[u8]) -> bool {
        if self.order == Order::Nothing {
            return true;
        }
        let Ok(mut cells) = self.cells.try_lock() else { return true };
        let Some(cell) = cells.look_into(queue_id).filter(|cell| cell.order() == self.order) else { return true };
        // As a receive would look at it.
        if cell.to_look_at(offset + 1).eq([offset]) {
            let group = properties(stored).find(|(name, _)| *name == property::MESSAGE_GROUP).map(|(_, group)| group);
            cell.looked_at(offset, self.order.lane(offset, group));
        }
        cell.lane_is_free(offset)
    }
}

impl PartialEq for Wants {
    fn eq(&self, other: &Wants) -> bool {
        (&self.filter, self.order) == (&other.filter, other.order) && Arc::ptr_eq(&self.cells, &other.cells)
    }
}

/// Wakes the longest waiting ones, whatever they want, and says how many.
fn wake_longest(lines: &mut Vec<Line>, count: u64, woken: &mut Woken) -> usize {
    let before = woken.0.len();
    for _ in 0..count {
        let Some(at) = longest(lines, |_| true) else { break };
        wake_first(lines, at, woken);
    }
    woken.0.len() - before
}

/// Wakes the longest waiting one that can be served with this message, and says whether there was one.
fn wake_one_for(
    lines: &mut Vec<Line>,
    (queue_id, offset): (QueueId, QueueOffset),
    stored: Option<&[u8]>,
    woken: &mut Woken,
) -> usize {
    let served = |line: &Line| line.wants.as_ref().is_none_or(|wants| wants.can_be_served(queue_id, offset, stored));
    match longest(lines, served) {
        Some(at) => {
            wake_first(lines, at, woken);
            1
        }
        None => 0,
    }
}

/// The line in which the longest waiting one of these stands.
fn longest(lines: &[Line], which: impl Fn(&Line) -> bool) -> Option<usize> {
    let first = |line: &Line| line.waiters.first_key_value().map(|(number, _)| *number);
    let these = lines.iter().enumerate().filter(|(_, line)| which(line));
    these.min_by_key(|(_, line)| first(line)).map(|(at, _)| at)
}

fn wake_first(lines: &mut Vec<Line>, at: usize, woken: &mut Woken) {
    let (_, waiter) = lines[at].waiters.pop_first().expect("no line is empty");
    waiter.state.store(WOKEN, Ordering::Release);
    woken.0.push(waiter);
    if lines[at].waiters.is_empty() {
        lines.remove(at);
    }
}

/// Those who have left their line, and are called when this is dropped: after the lock, which it is therefore made before. A
/// thread that is called may run before the one that called it goes on, and would find it locked.
#[derive(Default)]
struct Woken(Vec<Arc<Waiter>>);

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.iter().for_each(|waiter| waiter.notify.notify_one());
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
        // It has left its line already, and nobody else changes this.
        if self.waiter.state.load(Ordering::Acquire) == DONE {
            return;
        }
        let occupancy = &self.polling.occupancy;
        let mut woken = Woken::default();
        let mut parked = self.polling.lock();
        parked.with_lines(&self.topic, &self.consumer_group, |lines| {
            let own = lines.iter().position(|line| line.number == self.line);
            match self.waiter.state.load(Ordering::Acquire) {
                PARKED => {
                    let at = own.expect("a waiter stands in its line until it is woken");
                    lines[at].waiters.remove(&self.number).expect("the same");
                    if lines[at].waiters.is_empty() {
                        lines.remove(at);
                    }
                    occupancy.leave(1);
                }
                // Woken, and gone before it could look: the wake belongs to the next one who wants the same, and if there
                // is none, to whoever may.
                WOKEN => match own {
                    Some(at) => {
                        wake_first(lines, at, &mut woken);
                        occupancy.leave(1);
                    }
                    None => occupancy.leave(wake_longest(lines, u64::MAX, &mut woken)),
                },
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREVER: Duration = Duration::from_secs(3_600);

    fn names() -> (TopicName, ConsumerGroup) {
        (TopicName::from_client("t").unwrap(), ConsumerGroup::from_client("g").unwrap())
    }

    fn anything() -> Wants {
        wants(Filter::All)
    }

    fn wants(filter: Filter) -> Wants {
        Wants { filter, order: Order::Nothing, cells: Arc::default() }
    }

    fn tags(expression: &str) -> Filter {
        Filter::tags(expression).unwrap()
    }

    /// Messages with these tags come into a queue; of a tag `?` nothing can be read.
    fn arrive(polling: &LongPolling, tags: &[&str]) {
        let arrival =
            Arrival { topic: names().0, queue_id: QueueId(0), first: QueueOffset(7), count: tags.len() as u64 };
        polling.arrived(&arrival, &|_, each| {
            for (number, tag) in (7..).zip(tags) {
                let properties = format!("TAGS\x01{tag}\x02");
                each(QueueOffset(number), (*tag != "?").then_some(properties.as_bytes()));
            }
        });
    }

    async fn is_woken(place: &Place<'_>) -> bool {
        place.wait(Duration::ZERO).await
    }

    #[tokio::test]
    async fn one_message_wakes_one_waiter_of_each_group_in_order() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let other = ConsumerGroup::from_client("h").unwrap();
        let first = polling.park(&topic, &group, anything()).unwrap();
        let second = polling.park(&topic, &group, anything()).unwrap();
        let third = polling.park(&topic, &group, anything()).unwrap();
        let of_other = polling.park(&topic, &other, anything()).unwrap();
        arrive(&polling, &["a"]);
        assert!(first.wait(FOREVER).await && of_other.wait(FOREVER).await);
        assert!(!is_woken(&second).await);
        polling.came_back(&topic, &group, 1);
        assert!(second.wait(FOREVER).await && !is_woken(&third).await);
        drop((first, second, third, of_other));
        assert!(polling.is_empty() && polling.lock().topics.is_empty());
    }

    #[tokio::test]
    async fn a_message_wakes_the_longest_waiting_one_whose_filter_wants_it() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let cells: Arc<Mutex<Cells>> = Arc::default();
        let park = |filter| polling.park(&topic, &group, Wants { cells: cells.clone(), ..wants(filter) }).unwrap();
        let (paid, open, paid_too, all) =
            (park(tags("paid")), park(tags("open")), park(tags("paid")), park(Filter::All));
        arrive(&polling, &["open"]);
        assert!(is_woken(&open).await && !is_woken(&paid).await && !is_woken(&all).await);
        arrive(&polling, &["open"]);
        assert!(is_woken(&all).await && !is_woken(&paid).await);
        arrive(&polling, &["open", "refunded"]);
        assert!(!is_woken(&paid).await && !is_woken(&paid_too).await);
        arrive(&polling, &["open", "paid", "open"]);
        assert!(is_woken(&paid).await && !is_woken(&paid_too).await);
        arrive(&polling, &["?"]);
        assert!(is_woken(&paid_too).await, "what cannot be judged wakes somebody");
        assert!(polling.is_empty());
    }

    #[tokio::test]
    async fn a_wake_that_nobody_used_goes_to_the_next_who_can_use_it() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let cells: Arc<Mutex<Cells>> = Arc::default();
        let park = |filter| polling.park(&topic, &group, Wants { cells: cells.clone(), ..wants(filter) }).unwrap();
        let (paid, open, paid_too) = (park(tags("paid")), park(tags("open")), park(tags("paid")));
        arrive(&polling, &["paid"]);
        drop(paid);
        assert!(paid_too.wait(FOREVER).await && !is_woken(&open).await);
        drop(paid_too);
        let paid = park(tags("paid"));
        arrive(&polling, &["paid"]);
        drop(paid);
        assert!(open.wait(FOREVER).await, "nobody else wants the same: it may be for anybody");
    }

    #[tokio::test]
    async fn more_kinds_of_waiters_than_lines_are_woken_by_every_message() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let cells: Arc<Mutex<Cells>> = Arc::default();
        let park = |at: usize| {
            let wants = Wants { cells: cells.clone(), ..wants(tags(&format!("t{at}"))) };
            polling.park(&topic, &group, wants).unwrap()
        };
        let places: Vec<_> = (0..LINES_MAX + 10).map(park).collect();
        assert_eq!(polling.lock().topics[&topic][&group].len(), LINES_MAX);
        arrive(&polling, &["t5"]);
        assert!(is_woken(&places[5]).await && !is_woken(&places[LINES_MAX]).await);
        arrive(&polling, &["other"]);
        assert!(is_woken(&places[LINES_MAX - 1]).await && !is_woken(&places[0]).await);
    }

    #[tokio::test]
    async fn what_is_gone_wakes_all_who_waited_for_it() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let (one, two) = (polling.park(&topic, &group, anything()), polling.park(&topic, &group, anything()));
        polling.topic_is_gone(&topic);
        assert!(is_woken(&one.unwrap()).await && is_woken(&two.unwrap()).await && polling.is_empty());
        let one = polling.park(&topic, &group, anything()).unwrap();
        polling.consumer_group_is_gone(&group);
        assert!(is_woken(&one).await && polling.is_empty());
    }

    /// Looks, in the place of the thread that it would wake, whether that could go on at once.
    struct FindsLockFree {
        polling: Arc<LongPolling>,
        found: AtomicU8,
    }

    impl std::task::Wake for FindsLockFree {
        fn wake(self: Arc<Self>) {
            self.found.fetch_add(self.polling.parked.try_lock().is_ok().into(), Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn who_is_woken_finds_the_lock_free() {
        let polling = Arc::new(LongPolling::default());
        let (topic, group) = names();
        let wakes: [&dyn Fn(&LongPolling); 6] = [
            &|polling| arrive(polling, &["a"]),
            &|polling| polling.came_back(&topic, &group, 1),
            &|polling| polling.may_go_on(&topic, &group, 1),
            &|polling| polling.topic_is_gone(&topic),
            &|polling| polling.consumer_group_is_gone(&group),
            &LongPolling::close,
        ];
        for wake in wakes {
            let looks = Arc::new(FindsLockFree { polling: polling.clone(), found: AtomicU8::new(0) });
            let place = polling.park(&topic, &group, anything()).unwrap();
            let mut waiting = std::pin::pin!(place.wait(FOREVER));
            let waker = looks.clone().into();
            let mut context = std::task::Context::from_waker(&waker);
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            wake(&polling);
            assert_eq!(looks.found.load(Ordering::Relaxed), 1);
            assert!(waiting.as_mut().poll(&mut context).is_ready());
        }
    }

    #[tokio::test]
    async fn closing_ends_every_wait() {
        let polling = LongPolling::default();
        let (topic, group) = names();
        let place = polling.park(&topic, &group, anything()).unwrap();
        polling.close();
        assert!(place.wait(FOREVER).await);
        assert!(polling.park(&topic, &group, anything()).is_err());
        assert!(polling.is_empty());
    }
}
