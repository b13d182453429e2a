//! One cell: the deliveries of one queue to one consumer group. `decide_*` is pure, `apply` is fed by the log alone.
//!
//! Every offset below `next` is either leased (its lease may have run out: then it is due again) or settled. So the
//! leases alone say everything: an offset below `next` without a lease was acked, or passed over by a filter, and the
//! floor is the oldest of them. The map is as large as what is in flight, not as what was acked.
//!
//! Where order is kept, messages are handed out past others that have to wait for their lane. What was is leased or settled
//! above `next`; the first that waits is `next`.
//!
//! Invariant: a popped message is acked or comes back.
//! Invariant: the consume offset goes back only on an explicit reset; there is none yet.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::clients::ClientId;
use crate::delivery::lanes::{LANE_WINDOW, LaneId, Lanes, Order};
use crate::delivery::leases::{Lease, Leases};
use crate::error::BrokerError;
use crate::receipt_handle::LeaseId;
use crate::state::record::{CellKey, Entry, LeaseEntry};

/// Furthest that handing out may run ahead of the oldest message in flight.
pub const WINDOW_MAX: u64 = 16_777_216;
/// A handle is judged this much past its deadline before it is refused: clocks of callers and network time.
pub const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default)]
pub struct Cell {
    next: u64,
    leases: Leases,
    /// Settled, though not everything before is taken: all above `next`.
    settled: BTreeSet<u64>,
    /// Kept from the first receive on that has to keep order.
    lanes: Option<Box<KnownLanes>>,
}

/// The lanes of what is in flight and of what waits, as far as somebody has looked.
#[derive(Debug, Clone)]
struct KnownLanes {
    order: Order,
    lanes: Lanes,
    /// The first message that nobody has looked at.
    looked_at: u64,
}

/// What an ack or a change of a lease comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The handle is the current one of this lease.
    Current(Lease),
    /// Settled before; asking again is fine.
    Settled,
}

impl Cell {
    pub fn starting_at(offset: u64) -> Cell {
        Cell { next: offset, ..Cell::default() }
    }

    /// The first offset that nobody of the group has taken or passed over.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Everything below is settled.
    pub fn floor(&self) -> u64 {
        self.leases.first().map_or(self.next, |offset| self.next.min(offset))
    }

    pub fn in_flight(&self) -> usize {
        self.leases.len()
    }

    /// How many below `end` nobody has taken, passed over or settled. Together with what is in flight, that is all that is
    /// not settled: what was settled out of order does not count as behind.
    pub fn not_taken(&self, end: u64) -> u64 {
        if end <= self.next {
            return 0;
        }
        end - self.next - self.leases.count(self.next..end) - self.settled.range(..end).count() as u64
    }

    /// How many below `begin` are not settled: what is lost if the queue begins there.
    pub fn owed_below(&self, begin: u64) -> u64 {
        let in_flight = self.leases.count(0..begin);
        in_flight + if self.next < begin { self.not_taken(begin) } else { 0 }
    }

    #[cfg(test)]
    pub(crate) fn leases(&self) -> impl Iterator<Item = (u64, Lease)> {
        self.leases_from(0)
    }

    /// What is in flight from this offset on, in order.
    pub fn leases_from(&self, offset: u64) -> impl Iterator<Item = (u64, Lease)> {
        self.leases.range_from(offset)
    }

    /// How many of what is in flight were delivered before.
    pub fn redelivered(&self) -> usize {
        self.leases.redelivered()
    }

    /// Is there more up to `end`, and nothing of it may be taken before something in flight is settled? The window is
    /// full: where order is kept, of messages whose lanes all have something in flight.
    pub fn stands_still(&self, end: u64) -> bool {
        match &self.lanes {
            None => self.next < end && self.next >= self.window_end(),
            Some(known) => {
                let is_full = known.looked_at < end && self.to_look_at(end).is_empty();
                is_full && known.lanes.ready().next().is_none()
            }
        }
    }

    /// How far new messages may be taken now.
    pub fn window_end(&self) -> u64 {
        self.floor().saturating_add(WINDOW_MAX)
    }

    /// Did somebody settle it?
    pub fn is_settled(&self, offset: u64) -> bool {
        (offset < self.next || self.settled.contains(&offset)) && !self.leases.contains(offset)
    }

    pub fn lease_of(&self, offset: u64) -> Option<Lease> {
        self.leases.get(offset)
    }

    /// Was it taken or settled, though it lies above `next`?
    pub fn is_passed(&self, offset: u64) -> bool {
        self.settled.contains(&offset) || self.leases.contains(offset)
    }

    /// Messages that came back, in the order in which they did.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (u64, Lease)> {
        self.leases.due(now)
    }

    /// Messages that came back and whose turn it is. Where order is kept, that is what stands first in its lane of all that
    /// is in flight, and what came back right behind it.
    pub fn deliverable(&self, now: Timestamp, stays: impl Fn(&Lease) -> bool) -> impl Iterator<Item = (u64, Lease)> {
        let mut lanes_seen = HashSet::new();
        let mut behind = VecDeque::new();
        let mut due = self.due(now);
        std::iter::from_fn(move || {
            loop {
                if let Some(next) = behind.pop_front() {
                    return Some(next);
                }
                let (offset, lease) = due.next()?;
                let Some(known) = &self.lanes else {
                    if stays(&lease) {
                        continue;
                    }
                    return Some((offset, lease));
                };
                let in_flight = || {
                    known
                        .lanes
                        .in_flight_beside(offset)
                        .map(|offset| (offset, self.leases.get(offset).expect("it is in flight")))
                };
                if in_flight().next().is_some_and(|(first, _)| lanes_seen.insert(first)) {
                    behind.extend(in_flight().take_while(|(_, lease)| lease.deadline <= now && !stays(lease)));
                }
            }
        })
    }

    /// What a receive with this id took and nobody has settled, given back or been given since.
    pub fn taken_by(&self, attempt_id: u64) -> impl Iterator<Item = (u64, Lease)> {
        self.leases.taken_by(attempt_id)
    }

    /// Does this consumer keep anything while it lives?
    pub fn is_held_by(&self, client: ClientId) -> bool {
        self.leases.is_held_by(client)
    }

    /// All that do.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.leases.clients()
    }

    /// From now on lanes are known, if there is an order to keep: `lane_of` says those of what is in flight.
    pub fn keep_order<E>(&mut self, order: Order, lane_of: impl Fn(u64) -> Result<LaneId, E>) -> Result<(), E> {
        if self.order() == order {
            return Ok(());
        }
        self.lanes = None;
        if order == Order::Nothing {
            return Ok(());
        }
        let mut known = Box::new(KnownLanes { order, looked_at: self.next, lanes: Lanes::default() });
        for (offset, _) in self.leases.range_from(0) {
            known.lanes.found_in_flight(offset, lane_of(offset)?);
        }
        self.lanes = Some(known);
        Ok(())
    }

    /// Where lanes are known: the first message of which none is, unless that lies too far ahead.
    pub fn to_look_at(&self, end: u64) -> std::ops::Range<u64> {
        let end = end.min(self.floor().saturating_add(LANE_WINDOW));
        let from = self.lanes.as_ref().map_or(self.next, |known| known.looked_at);
        from..end.max(from)
    }

    /// The next message behind all that were looked at.
    pub fn looked_at(&mut self, offset: u64, lane: LaneId) {
        let taken = self.is_passed(offset);
        let known = self.lanes.as_mut().expect("order is kept here");
        assert!(offset >= known.looked_at, "one behind the other");
        known.looked_at = offset + 1;
        if !taken {
            known.lanes.found(offset, lane);
        }
    }

    /// Where lanes are known: the messages whose turn it is, of those that nobody took yet.
    pub fn ready(&self) -> impl Iterator<Item = u64> {
        self.lanes.as_ref().into_iter().flat_map(|known| known.lanes.ready())
    }

    /// May the message be handed out, or was it not looked at yet? Where lanes are known.
    pub fn lane_is_free(&self, offset: u64) -> bool {
        self.lanes.as_ref().is_none_or(|known| offset >= known.looked_at || known.lanes.is_free(offset))
    }

    /// What is kept in order here, as far as anybody has asked for it.
    pub fn order(&self) -> Order {
        self.lanes.as_ref().map_or(Order::Nothing, |known| known.order)
    }

    /// The most deliveries that a message in flight has had.
    pub fn attempt_max(&self) -> u32 {
        self.leases.attempt_max()
    }

    /// When the next message comes back that has not come back yet.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.leases.next_deadline(now)
    }

    /// When the first message comes back, or came back if it is still here.
    pub fn first_deadline(&self) -> Option<Timestamp> {
        self.leases.first_deadline()
    }

    /// Does this lease id still speak for this offset?
    pub fn decide_settle(&self, offset: u64, lease_id: LeaseId, now: Timestamp) -> Result<Verdict, BrokerError> {
        match self.leases.get(offset) {
            // Handed out before a power cut that took the record with it.
            None if offset >= self.next && !self.settled.contains(&offset) => Err(BrokerError::ReceiptSuperseded),
            None => Ok(Verdict::Settled),
            Some(lease) if lease.id != lease_id => Err(BrokerError::ReceiptSuperseded),
            Some(lease) if now > lease.deadline.plus(GRACE) => Err(BrokerError::ReceiptExpired),
            Some(lease) => Ok(Verdict::Current(lease)),
        }
    }

    /// Entries that make this cell anew.
    pub fn entries(&self, cell: CellKey) -> impl Iterator<Item = Entry> {
        let leases = self.leases.range_from(0).map(move |(offset, lease)| match (lease.attempt_id, lease.client) {
            (None, None) => Entry::ChangeLease {
                cell,
                offset,
                deadline: lease.deadline,
                lease_id: lease.id,
                attempt: lease.attempt,
            },
            _ => Entry::Lease(LeaseEntry {
                cell,
                deadline: lease.deadline,
                first: lease.id,
                next: self.next,
                auto_renew: lease.client.is_some(),
                attempt_id_hash: lease.attempt_id,
                client: lease.client,
                messages: vec![(offset, lease.attempt)],
            }),
        });
        let settled =
            (!self.settled.is_empty()).then(|| Entry::Ack { cell, offsets: self.settled.iter().copied().collect() });
        std::iter::once(Entry::Start { cell, offset: self.next }).chain(leases).chain(settled)
    }

    /// Takes an entry that names this cell.
    pub(super) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Start { offset, .. } => *self = Cell::starting_at(*offset),
            Entry::Lease(lease) => self.apply_lease(lease),
            Entry::Ack { offsets, .. } => {
                self.settle(offsets);
                self.settled.extend(offsets.iter().filter(|offset| **offset >= self.next));
                self.advance(self.next);
            }
            Entry::ChangeLease { offset, deadline, lease_id, attempt, .. } => {
                let (id, deadline, attempt) = (*lease_id, *deadline, *attempt);
                self.lease(Lease { id, deadline, attempt, attempt_id: None, client: None }, [*offset]);
                self.advance(self.next);
            }
            Entry::ReleaseClient { client, deadline, .. } => self.leases.release(*client, *deadline),
            Entry::CommitOffset { offset, .. } => {
                if let Some(known) = &mut self.lanes {
                    let settled = self.leases.range_from(0).take_while(|(settled, _)| settled < offset);
                    settled.for_each(|(settled, _)| known.lanes.settled(settled));
                }
                self.leases.settle_below(*offset);
                self.advance(*offset);
            }
            Entry::Boot { .. }
            | Entry::Stop { .. }
            | Entry::Mark
            | Entry::PutTopic { .. }
            | Entry::AdoptTopic { .. }
            | Entry::DeleteTopic { .. }
            | Entry::ExpireMessages { .. }
            | Entry::PutConsumerGroup { .. }
            | Entry::DeleteConsumerGroup { .. }
            | Entry::TimersFired { .. }
            | Entry::LevelFired { .. }
            | Entry::TimersDone { .. }
            | Entry::TimersKept { .. }
            | Entry::IdempotencyKeys { .. } => unreachable!("not an entry of a cell"),
        }
    }

    fn apply_lease(&mut self, entry: &LeaseEntry) {
        let mut id = entry.first;
        for alike in entry.messages.chunk_by(|(_, attempt), (_, next)| attempt == next) {
            let (deadline, attempt_id, attempt) = (entry.deadline, entry.attempt_id_hash, alike[0].1);
            let lease = Lease { id, deadline, attempt, attempt_id, client: entry.client };
            self.lease(lease, alike.iter().map(|(offset, _)| *offset));
            id.sequence += alike.len() as u64;
        }
        self.advance(entry.next);
    }

    /// Below `next` nobody waits, nor in the messages taken or settled right behind it.
    fn advance(&mut self, next: u64) {
        let before = self.next;
        self.next = self.next.max(next);
        while self.settled.remove(&self.next) || self.leases.contains(self.next) {
            self.next += 1;
        }
        if self.next > before {
            if !self.settled.is_empty() {
                self.settled = self.settled.split_off(&self.next);
            }
            if let Some(known) = &mut self.lanes {
                while let Some(passed) = known.lanes.first_waiting().filter(|first| *first < self.next) {
                    known.lanes.settled(passed);
                }
                known.looked_at = known.looked_at.max(self.next);
            }
        }
    }

    fn lease(&mut self, first: Lease, offsets: impl IntoIterator<Item = u64> + Clone) {
        if let Some(known) = &mut self.lanes {
            let new = offsets.clone().into_iter().filter(|offset| !self.leases.contains(*offset));
            new.for_each(|offset| known.lanes.leased(offset));
        }
        self.leases.insert(first, offsets);
    }

    fn settle(&mut self, offsets: &[u64]) {
        self.leases.settle(offsets);
        self.lanes.iter_mut().for_each(|known| offsets.iter().for_each(|offset| known.lanes.settled(*offset)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset::QueueId;

    const KEY: CellKey = CellKey { consumer_group_id: 1, topic_id: 1, queue_id: QueueId(0) };

    fn lease(sequence: u64, deadline: i64, next: u64, messages: &[(u64, u32)]) -> Entry {
        Entry::Lease(LeaseEntry {
            cell: KEY,
            deadline: Timestamp(deadline),
            first: LeaseId { boot: 1, sequence },
            next,
            auto_renew: false,
            attempt_id_hash: None,
            client: None,
            messages: messages.to_vec(),
        })
    }

    fn id(sequence: u64) -> LeaseId {
        LeaseId { boot: 1, sequence }
    }

    #[test]
    fn l1_what_is_popped_is_acked_or_comes_back() {
        let mut cell = Cell::starting_at(10);
        // 11 is passed over by a filter.
        cell.apply(&lease(0, 1_000, 13, &[(10, 1), (12, 1)]));
        assert_eq!((cell.floor(), cell.next(), cell.in_flight()), (10, 13, 2));
        assert_eq!(cell.due(Timestamp(999)).count(), 0);
        cell.apply(&Entry::Ack { cell: KEY, offsets: vec![10] });
        assert_eq!(cell.floor(), 12);
        let due: Vec<_> = cell.due(Timestamp(1_000)).collect();
        assert_eq!(
            due,
            [(12, Lease { id: id(1), deadline: Timestamp(1_000), attempt: 1, attempt_id: None, client: None })]
        );
        cell.apply(&lease(2, 5_000, 13, &[(12, 2)]));
        assert_eq!(cell.due(Timestamp(4_999)).count(), 0);
        cell.apply(&Entry::Ack { cell: KEY, offsets: vec![12] });
        assert_eq!((cell.floor(), cell.in_flight()), (13, 0));
    }

    #[test]
    fn c2_only_the_current_lease_id_counts() {
        let mut cell = Cell::starting_at(0);
        cell.apply(&lease(0, 1_000, 2, &[(0, 1), (1, 1)]));
        let now = Timestamp(500);
        assert!(matches!(cell.decide_settle(0, id(0), now), Ok(Verdict::Current(_))));
        assert!(matches!(cell.decide_settle(0, id(1), now), Err(BrokerError::ReceiptSuperseded)));
        assert!(matches!(cell.decide_settle(2, id(2), now), Err(BrokerError::ReceiptSuperseded)));
        let grace = 1_000 + 5_000;
        assert!(cell.decide_settle(0, id(0), Timestamp(grace)).is_ok());
        assert!(matches!(cell.decide_settle(0, id(0), Timestamp(grace + 1)), Err(BrokerError::ReceiptExpired)));
        cell.apply(&Entry::ChangeLease {
            cell: KEY,
            offset: 0,
            deadline: Timestamp(9_000),
            lease_id: id(7),
            attempt: 1,
        });
        assert!(matches!(cell.decide_settle(0, id(0), now), Err(BrokerError::ReceiptSuperseded)));
        assert!(matches!(cell.decide_settle(0, id(7), now), Ok(Verdict::Current(_))));
        cell.apply(&Entry::Ack { cell: KEY, offsets: vec![0] });
        assert_eq!(cell.decide_settle(0, id(0), now).unwrap(), Verdict::Settled);
    }

    #[test]
    fn c5_a_lost_client_gives_back_all_that_it_held_and_nothing_else() {
        let held = |sequence, client, messages: &[(u64, u32)]| match lease(sequence, 10_000, 6, messages) {
            Entry::Lease(entry) => {
                Entry::Lease(LeaseEntry { auto_renew: true, client: Some(ClientId(client)), ..entry })
            }
            _ => unreachable!("a lease"),
        };
        let mut cell = Cell::starting_at(0);
        cell.apply(&held(0, 1, &[(0, 1), (1, 1), (2, 3)]));
        cell.apply(&held(3, 2, &[(3, 1)]));
        cell.apply(&lease(4, 10_000, 6, &[(4, 1), (5, 1)]));
        // Acked, and changed by its consumer: neither is held any more.
        cell.apply(&Entry::Ack { cell: KEY, offsets: vec![0] });
        let (deadline, lease_id) = (Timestamp(9_000), id(9));
        cell.apply(&Entry::ChangeLease { cell: KEY, offset: 1, deadline, lease_id, attempt: 1 });
        let mut again = Cell::default();
        cell.entries(KEY).for_each(|entry| again.apply(&entry));
        for cell in [&mut cell, &mut again] {
            cell.apply(&Entry::ReleaseClient { cell: KEY, client: ClientId(1), deadline: Timestamp(500) });
            let due: Vec<_> = cell.due(Timestamp(500)).collect();
            // The same lease, so that whoever was only slow may still ack.
            let expected = Lease { id: id(2), deadline: Timestamp(500), attempt: 3, attempt_id: None, client: None };
            assert_eq!(due, [(2, expected)]);
            assert!(!cell.is_held_by(ClientId(1)) && cell.is_held_by(ClientId(2)));
            assert_eq!(cell.next_deadline(Timestamp(500)), Some(Timestamp(9_000)));
        }
    }

    #[test]
    fn a_committed_offset_settles_everything_below() {
        let mut cell = Cell::starting_at(0);
        cell.apply(&lease(0, 1_000, 4, &[(0, 1), (1, 1), (3, 1)]));
        cell.apply(&Entry::CommitOffset { cell: KEY, offset: 2 });
        assert_eq!((cell.floor(), cell.next()), (3, 4));
        cell.apply(&Entry::CommitOffset { cell: KEY, offset: 9 });
        assert_eq!((cell.floor(), cell.next(), cell.in_flight()), (9, 9, 0));
        assert_eq!(cell.next_deadline(Timestamp(0)), None);
    }

    #[test]
    fn c4_a_window_full_of_waiting_lanes_stands_still_until_one_goes_on() {
        let order = Order::MessageGroups;
        let lane = order.lane(0, Some("a"));
        let mut cell = Cell::starting_at(0);
        cell.keep_order(order, |_| Ok::<_, ()>(lane)).unwrap();
        let end = LANE_WINDOW + 10;
        for offset in cell.to_look_at(1) {
            cell.looked_at(offset, lane);
        }
        cell.apply(&lease(0, 1_000, 1, &[(0, 1)]));
        for offset in cell.to_look_at(end - 20) {
            cell.looked_at(offset, lane);
        }
        assert!(!cell.stands_still(end), "more can be looked at");
        for offset in cell.to_look_at(end) {
            cell.looked_at(offset, lane);
        }
        assert!(!cell.stands_still(LANE_WINDOW), "there is no more than the window");
        assert!(cell.stands_still(end));
        cell.apply(&Entry::Ack { cell: KEY, offsets: vec![0] });
        assert!(!cell.stands_still(end));
    }

    #[test]
    fn where_no_order_is_kept_only_the_furthest_that_taking_may_run_ahead_stops_it() {
        let mut cell = Cell::starting_at(0);
        cell.apply(&lease(0, 1_000, WINDOW_MAX - 1, &[(0, 1)]));
        assert!(!cell.stands_still(u64::MAX));
        cell.apply(&lease(1, 1_000, WINDOW_MAX, &[]));
        assert!(cell.stands_still(WINDOW_MAX + 1));
        assert!(!cell.stands_still(WINDOW_MAX), "nothing more is there");
        cell.apply(&Entry::Ack { cell: KEY, offsets: vec![0] });
        assert!(!cell.stands_still(WINDOW_MAX + 1));
    }
}
