//! One cell: the deliveries of one queue to one consumer group. `decide_*` is pure, `apply` is fed by the log alone.
//!
//! Every offset below `next` is either leased (its lease may have run out: then it is due again) or settled. So the
//! leases alone say everything: an offset below `next` without a lease was acked, or passed over by a filter, and the
//! floor is the oldest lease. The map is as large as what is in flight, not as what was acked.
//!
//! Invariant: a popped message is acked or comes back.
//! Invariant: the consume offset goes back only on an explicit reset; there is none yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::BrokerError;
use crate::receipt_handle::LeaseId;
use crate::state::record::{CellKey, Entry, LeaseEntry};

/// Furthest that handing out may run ahead of the oldest message in flight.
pub const WINDOW_MAX: u64 = 16_777_216;
/// A handle is judged this much past its deadline before it is refused: clocks of callers and network time.
pub const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// From here on the message is due again.
    pub deadline: Timestamp,
    /// Deliveries counted so far.
    pub attempt: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Cell {
    next: u64,
    leases: BTreeMap<u64, Lease>,
    /// The same leases by deadline.
    deadlines: BTreeSet<(Timestamp, u64)>,
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
        self.leases.first_key_value().map_or(self.next, |(offset, _)| *offset)
    }

    pub fn in_flight(&self) -> usize {
        self.leases.len()
    }

    /// How far new messages may be taken now.
    pub fn window_end(&self) -> u64 {
        self.floor().saturating_add(WINDOW_MAX)
    }

    /// Messages that came back, in the order in which they did.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (u64, Lease)> {
        self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= now).map(|(_, offset)| {
            let lease = self.leases.get(offset).expect("both maps hold the same leases");
            (*offset, *lease)
        })
    }

    /// When the next message comes back that has not come back yet.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.deadlines.range((Excluded((now, u64::MAX)), Unbounded)).next().map(|(deadline, _)| *deadline)
    }

    /// Does this lease id still speak for this offset?
    pub fn decide_settle(&self, offset: u64, lease_id: LeaseId, now: Timestamp) -> Result<Verdict, BrokerError> {
        match self.leases.get(&offset) {
            // Handed out before a power cut that took the record with it.
            None if offset >= self.next => Err(BrokerError::ReceiptSuperseded),
            None => Ok(Verdict::Settled),
            Some(lease) if lease.id != lease_id => Err(BrokerError::ReceiptSuperseded),
            Some(lease) if now > lease.deadline.plus(GRACE) => Err(BrokerError::ReceiptExpired),
            Some(lease) => Ok(Verdict::Current(*lease)),
        }
    }

    /// Entries that make this cell anew.
    pub fn entries(&self, cell: CellKey) -> impl Iterator<Item = Entry> {
        let leases = self.leases.iter().map(move |(offset, lease)| Entry::ChangeLease {
            cell,
            offset: *offset,
            deadline: lease.deadline,
            lease_id: lease.id,
            attempt: lease.attempt,
        });
        std::iter::once(Entry::Start { cell, offset: self.next }).chain(leases)
    }

    /// Takes an entry that names this cell.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Start { offset, .. } => *self = Cell::starting_at(*offset),
            Entry::Lease(lease) => self.apply_lease(lease),
            Entry::Ack { offsets, .. } => offsets.iter().for_each(|offset| self.settle(*offset)),
            Entry::ChangeLease { offset, deadline, lease_id, attempt, .. } => {
                self.lease(*offset, Lease { id: *lease_id, deadline: *deadline, attempt: *attempt });
            }
            Entry::CommitOffset { offset, .. } => {
                let settled: Vec<u64> = self.leases.range(..offset).map(|(offset, _)| *offset).collect();
                settled.into_iter().for_each(|offset| self.settle(offset));
                self.next = self.next.max(*offset);
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
            | Entry::TimersDone { .. } => unreachable!("not an entry of a cell"),
        }
    }

    fn apply_lease(&mut self, entry: &LeaseEntry) {
        for (sequence, (offset, attempt)) in (entry.first.sequence..).zip(&entry.messages) {
            let id = LeaseId { boot: entry.first.boot, sequence };
            self.lease(*offset, Lease { id, deadline: entry.deadline, attempt: *attempt });
        }
        self.next = self.next.max(entry.next);
    }

    fn lease(&mut self, offset: u64, lease: Lease) {
        if let Some(old) = self.leases.insert(offset, lease) {
            self.deadlines.remove(&(old.deadline, offset));
        }
        self.deadlines.insert((lease.deadline, offset));
    }

    fn settle(&mut self, offset: u64) {
        if let Some(old) = self.leases.remove(&offset) {
            self.deadlines.remove(&(old.deadline, offset));
        }
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
        assert_eq!(due, [(12, Lease { id: id(1), deadline: Timestamp(1_000), attempt: 1 })]);
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
    fn a_committed_offset_settles_everything_below() {
        let mut cell = Cell::starting_at(0);
        cell.apply(&lease(0, 1_000, 4, &[(0, 1), (1, 1), (3, 1)]));
        cell.apply(&Entry::CommitOffset { cell: KEY, offset: 2 });
        assert_eq!((cell.floor(), cell.next()), (3, 4));
        cell.apply(&Entry::CommitOffset { cell: KEY, offset: 9 });
        assert_eq!((cell.floor(), cell.next(), cell.in_flight()), (9, 9, 0));
        assert_eq!(cell.next_deadline(Timestamp(0)), None);
    }
}
