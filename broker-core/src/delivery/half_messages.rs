//! Half messages that nobody has decided yet: whose they are, and when their producers are asked what became of them.
//!
//! Pure and derived. What is settled, and how often a producer was asked, is said by the cell of the half messages, one
//! like any other; so this is made anew from their queue at each start.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::names::{ProducerGroup, TopicName};
use crate::offset::{CommitLogOffset, QueueOffset};

/// So many decisions are remembered at least: asked for an older one, the index knows.
const DECISIONS_REMEMBERED: usize = 65_536;

/// What has become of a half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfOutcome {
    Committed,
    RolledBack,
    /// Nobody decided: it lies in the holding topic.
    Held,
}

/// A decision, of whom, and the end of the record that says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    pub key_hash: u64,
    pub outcome: HalfOutcome,
    pub end: CommitLogOffset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHalf {
    pub topic: TopicName,
    pub producer_group: ProducerGroup,
    /// Checks so far.
    pub checks: u32,
    pub next_check: Timestamp,
    /// Where it was first, if it was put back since.
    pub origin: Option<QueueOffset>,
    /// Its record, if it was just put back: its queue has it only when the disk has.
    pub put_back_at: Option<CommitLogOffset>,
}

#[derive(Debug, Default)]
pub struct HalfMessages {
    looked_at: QueueOffset,
    open: BTreeMap<QueueOffset, OpenHalf>,
    by_topic: HashMap<TopicName, u64>,
    by_producer_group: HashMap<ProducerGroup, BTreeSet<(Timestamp, QueueOffset)>>,
    /// The same by time alone.
    due: BTreeSet<(Timestamp, QueueOffset)>,
    /// Where those are now that were put back, by where they were first.
    put_back: HashMap<QueueOffset, QueueOffset>,
    decided: HashMap<QueueOffset, Decided>,
    decisions: VecDeque<(QueueOffset, CommitLogOffset)>,
}

impl HalfMessages {
    /// The first half message that nobody has looked at.
    pub fn looked_at(&self) -> QueueOffset {
        self.looked_at
    }

    /// All below `next` were looked at: those that are open were told by `found`.
    pub fn look_on(&mut self, next: QueueOffset) {
        self.looked_at = self.looked_at.max(next);
    }

    pub fn found(&mut self, at: QueueOffset, half: OpenHalf) {
        self.settled(at);
        if let Some(origin) = half.origin {
            self.put_back.insert(origin, at);
        }
        self.by_producer_group.entry(half.producer_group.clone()).or_default().insert((half.next_check, at));
        self.due.insert((half.next_check, at));
        *self.by_topic.entry(half.topic.clone()).or_default() += 1;
        self.open.insert(at, half);
    }

    pub fn open(&self, at: QueueOffset) -> Option<&OpenHalf> {
        self.open.get(&at)
    }

    /// Open ones from this one on, in their order.
    pub fn open_from(&self, at: QueueOffset) -> impl Iterator<Item = (QueueOffset, &OpenHalf)> {
        self.open.range(at..).map(|(at, half)| (*at, half))
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    pub fn open_of(&self, topic: &TopicName) -> u64 {
        self.by_topic.get(topic).copied().unwrap_or(0)
    }

    /// Where the half message is that was here first.
    pub fn place_of(&self, origin: QueueOffset) -> QueueOffset {
        self.put_back.get(&origin).copied().unwrap_or(origin)
    }

    /// It is settled, one way or another.
    pub fn settled(&mut self, at: QueueOffset) {
        let Some(half) = self.open.remove(&at) else { return };
        self.due.remove(&(half.next_check, at));
        let of_topic = self.by_topic.get_mut(&half.topic).expect("each open one is known by its topic");
        *of_topic -= 1;
        if *of_topic == 0 {
            self.by_topic.remove(&half.topic);
        }
        let of_group =
            self.by_producer_group.get_mut(&half.producer_group).expect("each open one is known by its group");
        of_group.remove(&(half.next_check, at));
        if of_group.is_empty() {
            self.by_producer_group.remove(&half.producer_group);
        }
        if half.origin.is_some_and(|origin| self.put_back.get(&origin) == Some(&at)) {
            self.put_back.remove(&half.origin.expect("just seen"));
        }
    }

    /// Its producer was asked once more.
    pub fn checked(&mut self, at: QueueOffset, next_check: Timestamp) {
        if let Some(half) = self.open.get(&at).cloned() {
            self.found(at, OpenHalf { checks: half.checks + 1, next_check, ..half });
        }
    }

    /// Those of a producer group whose time has come, the longest due first.
    pub fn due(&self, producer_group: &ProducerGroup, now: Timestamp) -> impl Iterator<Item = QueueOffset> {
        let of_group = self.by_producer_group.get(producer_group).into_iter().flatten();
        of_group.take_while(move |(next_check, _)| *next_check <= now).map(|(_, at)| *at)
    }

    /// Those whose producers were asked as often as they are, and whose time is over.
    pub fn given_up(&self, checks_max: u32, now: Timestamp) -> impl Iterator<Item = QueueOffset> {
        let due = self.due.iter().take_while(move |(next_check, _)| *next_check <= now);
        due.map(|(_, at)| *at).filter(move |at| self.open[at].checks >= checks_max)
    }

    /// When the next of them has its time that has not had it yet.
    pub fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        let behind = (Excluded((now, QueueOffset(u64::MAX))), Unbounded);
        self.due.range(behind).next().map(|(next_check, _)| *next_check)
    }

    /// Remembers what became of the one whose handle names this place. Forgets old decisions that the index knows, which
    /// is all those before `indexed`.
    pub fn decide(&mut self, origin: QueueOffset, decided: Decided, indexed: CommitLogOffset) {
        self.decided.insert(origin, decided);
        self.decisions.push_back((origin, decided.end));
        while self.decisions.len() > DECISIONS_REMEMBERED
            && let Some((old, _)) = self.decisions.pop_front_if(|(_, end)| *end <= indexed)
        {
            self.decided.remove(&old);
        }
    }

    pub fn decided(&self, origin: QueueOffset) -> Option<Decided> {
        self.decided.get(&origin).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(producer_group: &str, next_check: i64) -> OpenHalf {
        OpenHalf {
            topic: TopicName::from_client("pay").unwrap(),
            producer_group: ProducerGroup::from_client(producer_group).unwrap(),
            checks: 0,
            next_check: Timestamp(next_check),
            origin: None,
            put_back_at: None,
        }
    }

    #[test]
    fn c7_a_check_asks_the_producers_of_the_group_when_it_is_time() {
        let mut halves = HalfMessages::default();
        halves.found(QueueOffset(1), half("shop", 2_000));
        halves.found(QueueOffset(2), half("shop", 1_000));
        halves.found(QueueOffset(3), half("bank", 1_000));
        let shop = ProducerGroup::from_client("shop").unwrap();
        let due = |halves: &HalfMessages, now| halves.due(&shop, Timestamp(now)).map(|at| at.0).collect::<Vec<_>>();
        assert_eq!((due(&halves, 999), due(&halves, 1_000), due(&halves, 2_000)), (vec![], vec![2], vec![2, 1]));
        halves.checked(QueueOffset(2), Timestamp(5_000));
        assert_eq!((due(&halves, 4_999), halves.next_check(Timestamp(2_000))), (vec![1], Some(Timestamp(5_000))));
        assert_eq!(halves.given_up(1, Timestamp(5_000)).collect::<Vec<_>>(), [QueueOffset(2)]);
        halves.settled(QueueOffset(2));
        halves.settled(QueueOffset(1));
        assert_eq!((due(&halves, 9_999), halves.open_count()), (vec![], 1));
    }

    #[test]
    fn what_was_put_back_is_found_by_where_it_was_first() {
        let mut halves = HalfMessages::default();
        let origin = Some(QueueOffset(1));
        halves.found(QueueOffset(7), OpenHalf { origin, ..half("shop", 1_000) });
        assert_eq!(halves.place_of(QueueOffset(1)), QueueOffset(7));
        halves.found(QueueOffset(9), OpenHalf { origin, ..half("shop", 1_000) });
        halves.settled(QueueOffset(7));
        assert_eq!(halves.place_of(QueueOffset(1)), QueueOffset(9));
        halves.settled(QueueOffset(9));
        assert_eq!(halves.place_of(QueueOffset(1)), QueueOffset(1));
    }

    #[test]
    fn a_decision_is_forgotten_only_when_the_index_knows_it() {
        let mut halves = HalfMessages::default();
        let decided = |end| Decided { key_hash: 0, outcome: HalfOutcome::Committed, end: CommitLogOffset(end) };
        let count = DECISIONS_REMEMBERED as u64 + 5;
        (0..count).for_each(|at| halves.decide(QueueOffset(at), decided(at), CommitLogOffset(2)));
        let first_known = (0..count).find(|at| halves.decided(QueueOffset(*at)).is_some());
        assert_eq!(first_known, Some(3));
    }
}
