//! Order inside one queue for one consumer group: which message groups have something in flight, and whose turn is next.
//!
//! A lane is what must stay in order: the messages of one message group. While some of a lane are in flight, the rest of it
//! waits, and other lanes go on. All of this follows from the queue and the cell's leases; nothing of it is in the log.
//!
//! Invariant: an offset is waiting, in flight, or settled; of a lane with anything in flight nothing new is handed out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// How far behind the oldest message that is not settled lanes are looked for. What lies further waits, and with all of it
/// in blocked lanes the queue stands still.
pub const LANE_WINDOW: u64 = 65_536;

/// What of a queue a consumer group gets in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Nothing,
    /// Each message group; what has none waits for nobody.
    MessageGroups,
    /// Each message group, and together all that has none.
    Queue,
}

impl Order {
    /// The lane of the message at this offset.
    pub fn lane(self, offset: u64, message_group: Option<&str>) -> LaneId {
        let mut hasher = DefaultHasher::new();
        match (message_group, self) {
            (None, Order::Nothing | Order::MessageGroups) => offset.hash(&mut hasher),
            (group, _) => group.hash(&mut hasher),
        }
        LaneId(hasher.finish())
    }
}

/// A message group. Two groups with one hash wait for each other, which costs time and never order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneId(u64);

#[derive(Debug, Clone, Default)]
pub struct Lanes {
    lanes: HashMap<LaneId, Lane>,
    /// The lane of each offset that waits or is in flight.
    of: HashMap<u64, Place>,
    /// The first message of each lane that may go on.
    ready: BTreeMap<u64, LaneId>,
    /// Offsets that wait.
    waiting: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    lane: LaneId,
    in_flight: bool,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    waiting: VecDeque<u64>,
    in_flight: BTreeSet<u64>,
}

impl Lanes {
    /// A message nobody has taken yet; offsets come in their order.
    pub fn found(&mut self, offset: u64, lane_id: LaneId) {
        let lane = self.lanes.entry(lane_id).or_default();
        assert!(lane.waiting.back().is_none_or(|last| *last < offset), "found in the order of the queue");
        if lane.in_flight.is_empty() && lane.waiting.is_empty() {
            self.ready.insert(offset, lane_id);
        }
        lane.waiting.push_back(offset);
        self.waiting.insert(offset);
        self.of.insert(offset, Place { lane: lane_id, in_flight: false });
    }

    /// A message that was in flight already when the lanes were not known.
    pub fn found_in_flight(&mut self, offset: u64, lane_id: LaneId) {
        self.lanes.entry(lane_id).or_default().in_flight.insert(offset);
        self.of.insert(offset, Place { lane: lane_id, in_flight: true });
    }

    /// It was handed out. Only the first that waits of its lane may be.
    pub fn leased(&mut self, offset: u64) {
        let Some(place) = self.of.get_mut(&offset).filter(|place| !place.in_flight) else { return };
        place.in_flight = true;
        let lane = self.lanes.get_mut(&place.lane).expect("a place names its lane");
        assert_eq!(lane.waiting.pop_front(), Some(offset), "a lane is handed out in its order");
        lane.in_flight.insert(offset);
        self.ready.remove(&offset);
        self.waiting.remove(&offset);
    }

    /// It is done with, or nobody wants it.
    pub fn settled(&mut self, offset: u64) {
        let Some(place) = self.of.remove(&offset) else { return };
        let lane = self.lanes.get_mut(&place.lane).expect("a place names its lane");
        if place.in_flight {
            lane.in_flight.remove(&offset);
        } else {
            lane.waiting.retain(|waits| *waits != offset);
            self.waiting.remove(&offset);
            self.ready.remove(&offset);
        }
        match (lane.in_flight.is_empty(), lane.waiting.front()) {
            (true, Some(first)) => drop(self.ready.insert(*first, place.lane)),
            (true, None) => drop(self.lanes.remove(&place.lane)),
            (false, _) => {}
        }
    }

    /// The messages that may be handed out now, in the order of the queue: of each lane all that waits, as long as nothing
    /// of it is in flight.
    pub fn ready(&self) -> impl Iterator<Item = u64> {
        let mut heads = self.ready.iter().map(|(offset, lane)| (*offset, *lane)).peekable();
        // The next of lanes whose heads were passed already, and how many of the lane were.
        let mut behind: BTreeMap<u64, (LaneId, usize)> = BTreeMap::new();
        std::iter::from_fn(move || {
            let head = heads.peek().map(|(offset, _)| *offset);
            let is_head = head.is_some_and(|head| behind.first_key_value().is_none_or(|(next, _)| head < *next));
            let (offset, lane_id, passed) = match is_head {
                true => heads.next().map(|(offset, lane)| (offset, lane, 0))?,
                false => behind.pop_first().map(|(offset, (lane, passed))| (offset, lane, passed))?,
            };
            if let Some(next) = self.lanes[&lane_id].waiting.get(passed + 1) {
                behind.insert(*next, (lane_id, passed + 1));
            }
            Some(offset)
        })
    }

    /// Does this message wait, and nothing of its lane is in flight?
    pub fn is_free(&self, offset: u64) -> bool {
        self.of.get(&offset).is_some_and(|place| self.lanes[&place.lane].in_flight.is_empty())
    }

    /// What is in flight of this message's lane, in order.
    pub fn in_flight_beside(&self, offset: u64) -> impl Iterator<Item = u64> {
        let lane = self.of.get(&offset).map(|place| &self.lanes[&place.lane]);
        lane.into_iter().flat_map(|lane| lane.in_flight.iter().copied())
    }

    /// The oldest message that waits.
    pub fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(group: &str) -> LaneId {
        Order::MessageGroups.lane(0, Some(group))
    }

    fn ready(lanes: &Lanes) -> Vec<u64> {
        lanes.ready().collect()
    }

    #[test]
    fn l6_a_lane_waits_for_what_is_in_flight_of_it_and_for_nothing_else() {
        let mut lanes = Lanes::default();
        for (offset, group) in (10..).zip(["a", "b", "a", "c", "b"]) {
            lanes.found(offset, lane(group));
        }
        assert_eq!(ready(&lanes), [10, 11, 12, 13, 14], "a batch takes a lane in its order");
        lanes.leased(10);
        assert_eq!(ready(&lanes), [11, 13, 14]);
        assert_eq!(lanes.first_waiting(), Some(11));
        lanes.leased(11);
        lanes.leased(14);
        lanes.settled(11);
        assert_eq!(ready(&lanes), [13], "all of a batch must be settled");
        lanes.found(15, lane("b"));
        lanes.settled(14);
        assert_eq!(ready(&lanes), [13, 15]);
        lanes.settled(10);
        assert_eq!(ready(&lanes), [12, 13, 15]);
        for offset in [12, 13, 15] {
            lanes.settled(offset);
        }
        assert!(lanes.lanes.is_empty() && lanes.of.is_empty() && lanes.ready.is_empty() && lanes.waiting.is_empty());
    }

    #[test]
    fn what_has_no_group_is_in_order_where_the_queue_is() {
        let [grouped, ordered] = [Order::MessageGroups, Order::Queue];
        assert_ne!(grouped.lane(1, None), grouped.lane(2, None));
        assert_eq!(ordered.lane(1, None), ordered.lane(2, None));
        for order in [grouped, ordered] {
            assert_eq!(order.lane(1, Some("a")), order.lane(2, Some("a")));
            assert_ne!(order.lane(1, Some("a")), order.lane(1, Some("b")));
        }
    }

    #[test]
    fn what_was_in_flight_before_the_lanes_were_known_blocks_as_well() {
        let mut lanes = Lanes::default();
        lanes.found_in_flight(3, lane("a"));
        lanes.found_in_flight(1, lane("a"));
        lanes.found(5, lane("a"));
        assert_eq!(ready(&lanes), [] as [u64; 0]);
        assert_eq!(lanes.in_flight_beside(3).collect::<Vec<_>>(), [1, 3]);
        lanes.settled(1);
        lanes.settled(3);
        assert_eq!(ready(&lanes), [5]);
    }

    #[test]
    fn what_nobody_wants_leaves_its_lane_without_being_handed_out() {
        let mut lanes = Lanes::default();
        for offset in 0..3 {
            lanes.found(offset, lane("a"));
        }
        lanes.settled(0);
        assert_eq!(ready(&lanes), [1, 2]);
        lanes.settled(2);
        assert_eq!(ready(&lanes), [1]);
    }
}
