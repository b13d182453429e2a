//! What of one queue is in somebody's hands, by offset and by deadline.
//!
//! A receive takes what lies side by side, on the same terms, and most of it is settled together. So leases are kept by
//! blocks of 64 offsets, and what one receive took of a block is one entry with a bit for each message: a batch costs a few
//! walks of a tree and not some for each message, and what is in flight takes memory by receives and not by messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::ops::Range;

use crate::clock::Timestamp;
use crate::delivery::clients::ClientId;
use crate::receipt_handle::LeaseId;

/// As many offsets as a word has bits.
const BLOCK: u64 = u64::BITS as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// From here on the message is due again.
    pub deadline: Timestamp,
    /// Deliveries counted so far.
    pub attempt: u32,
    /// The receive that took it, by the hash of the id that its caller gave it.
    pub attempt_id: Option<u64>,
    /// Who keeps it while it lives, up to the deadline.
    pub client: Option<ClientId>,
}

/// Invariant: no two receives of a block have the same offset left, and none has nothing left.
#[derive(Clone, Default)]
pub struct Leases {
    blocks: BTreeMap<u64, Vec<Taken>>,
    len: usize,
    /// Every deadline that something in a block has.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// How many leases have which attempt.
    attempts: BTreeMap<u32, usize>,
    /// The blocks in which a receive took something, if its caller gave it an id.
    attempt_ids: HashMap<u64, BTreeSet<u64>>,
    /// The blocks in which a consumer keeps something while it lives.
    clients: HashMap<ClientId, BTreeSet<u64>>,
}

/// What one receive took of a block.
#[derive(Debug, Clone, Copy)]
struct Taken {
    offsets: u64,
    /// Of these, what was neither settled nor leased again.
    left: u64,
    /// Of the first of `offsets`. The others have the same terms, and ids that count on from it.
    lease: Lease,
}

impl Taken {
    fn lease_of(&self, bit: u64) -> Lease {
        let before = (self.offsets & (bit - 1)).count_ones();
        let id = LeaseId { sequence: self.lease.id.sequence + u64::from(before), ..self.lease.id };
        Lease { id, ..self.lease }
    }

    /// Is the other one what the same receive took next?
    fn goes_on_with(&self, next: &Taken) -> bool {
        let sequence = self.lease.id.sequence + u64::from(self.offsets.count_ones());
        let id = LeaseId { sequence, ..self.lease.id };
        let lowest = next.offsets & next.offsets.wrapping_neg();
        next.lease == Lease { id, ..self.lease } && self.offsets < lowest
    }
}

impl Leases {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The oldest message that is in flight.
    pub fn first(&self) -> Option<u64> {
        let (block, receives) = self.blocks.first_key_value()?;
        Some(block * BLOCK + u64::from(left(receives).trailing_zeros()))
    }

    pub fn get(&self, offset: u64) -> Option<Lease> {
        let bit = bit(offset);
        let taken = self.blocks.get(&(offset / BLOCK))?.iter().find(|taken| taken.left & bit != 0)?;
        Some(taken.lease_of(bit))
    }

    pub fn contains(&self, offset: u64) -> bool {
        self.get(offset).is_some()
    }

    /// Those from this offset on, in order.
    pub fn range_from(&self, offset: u64) -> impl Iterator<Item = (u64, Lease)> {
        let blocks = self.blocks.range(offset / BLOCK..);
        blocks
            .flat_map(|(block, receives)| leases_of(*block, receives, |_| true))
            .skip_while(move |(other, _)| *other < offset)
    }

    /// How many lie in this range.
    pub fn count(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let below = |offset: u64| {
            let (block, bit) = (offset / BLOCK, bit(offset));
            self.blocks.get(&block).map_or(0, |receives| u64::from((left(receives) & (bit - 1)).count_ones()))
        };
        let blocks = self.blocks.range(range.start / BLOCK..range.end / BLOCK);
        let whole: u64 = blocks.map(|(_, receives)| u64::from(left(receives).count_ones())).sum();
        whole + below(range.end) - below(range.start)
    }

    /// Those whose deadline has passed, by deadline and then by offset.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (u64, Lease)> {
        let due = self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= now);
        due.flat_map(|(deadline, block)| leases_of(*block, &self.blocks[block], |lease| lease.deadline == *deadline))
    }

    pub fn first_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The first deadline that is still to come.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.deadlines.range((Excluded((now, u64::MAX)), Unbounded)).next().map(|(deadline, _)| *deadline)
    }

    /// What a receive with this id took.
    pub fn taken_by(&self, attempt_id: u64) -> impl Iterator<Item = (u64, Lease)> {
        let blocks = self.attempt_ids.get(&attempt_id).into_iter().flatten();
        blocks.flat_map(move |block| {
            leases_of(*block, &self.blocks[block], move |lease| lease.attempt_id == Some(attempt_id))
        })
    }

    /// Does this consumer keep anything while it lives?
    pub fn is_held_by(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// All that do.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.clients.keys().copied()
    }

    /// How many were delivered before.
    pub fn redelivered(&self) -> usize {
        self.attempts.range(2..).map(|(_, count)| count).sum()
    }

    /// The most deliveries that any has had.
    pub fn attempt_max(&self) -> u32 {
        self.attempts.last_key_value().map_or(0, |(attempt, _)| *attempt)
    }

    /// These offsets on the terms of `first`, which is the lease of the first of them; ids count on from it. They are
    /// leased anew if they were.
    pub fn insert(&mut self, first: Lease, offsets: impl IntoIterator<Item = u64>) {
        let mut offsets = offsets.into_iter().peekable();
        let mut lease = first;
        while let Some(mut last) = offsets.next() {
            let block = last / BLOCK;
            let mut taken = bit(last);
            while let Some(next) = offsets.next_if(|next| *next / BLOCK == block && *next > last) {
                taken |= bit(next);
                last = next;
            }
            self.take(block, Taken { offsets: taken, left: taken, lease });
            lease.id.sequence += u64::from(taken.count_ones());
        }
    }

    fn take(&mut self, block: u64, taken: Taken) {
        self.settle_in(block, taken.left);
        let Lease { deadline, attempt, attempt_id, client, .. } = taken.lease;
        let count = taken.left.count_ones() as usize;
        self.len += count;
        *self.attempts.entry(attempt).or_default() += count;
        let receives = self.blocks.entry(block).or_default();
        if let Some(last) = receives.last_mut().filter(|last| last.goes_on_with(&taken)) {
            last.offsets |= taken.offsets;
            last.left |= taken.left;
            return;
        }
        receives.push(taken);
        self.deadlines.insert((deadline, block));
        if let Some(attempt_id) = attempt_id {
            self.attempt_ids.entry(attempt_id).or_default().insert(block);
        }
        if let Some(client) = client {
            self.clients.entry(client).or_default().insert(block);
        }
    }

    /// Ends those of these offsets that are leased.
    pub fn settle(&mut self, offsets: &[u64]) {
        for together in offsets.chunk_by(|one, other| one / BLOCK == other / BLOCK) {
            self.settle_in(
                together[0] / BLOCK,
                together.iter().map(|offset| bit(*offset)).fold(0, |all, bit| all | bit),
            );
        }
    }

    /// Ends all below.
    pub fn settle_below(&mut self, end: u64) {
        while let Some(block) = self.blocks.keys().next().copied().filter(|block| *block < end / BLOCK) {
            self.settle_in(block, u64::MAX);
        }
        self.settle_in(end / BLOCK, bit(end) - 1);
    }

    fn settle_in(&mut self, block: u64, offsets: u64) {
        let Some(receives) = self.blocks.get_mut(&block) else { return };
        let mut at = 0;
        while let Some(taken) = receives.get_mut(at) {
            let settled = taken.left & offsets;
            taken.left &= !settled;
            let Taken { left, lease, .. } = *taken;
            if settled != 0 {
                let count = settled.count_ones() as usize;
                self.len -= count;
                let of_attempt = self.attempts.get_mut(&lease.attempt).expect("each lease is counted");
                *of_attempt -= count;
                if *of_attempt == 0 {
                    self.attempts.remove(&lease.attempt);
                }
            }
            if left != 0 {
                at += 1;
                continue;
            }
            receives.remove(at);
            let is_last = |same: &dyn Fn(&Lease) -> bool| !receives.iter().any(|taken| same(&taken.lease));
            if is_last(&|other| other.deadline == lease.deadline) {
                self.deadlines.remove(&(lease.deadline, block));
            }
            if let Some(id) = lease.attempt_id.filter(|_| is_last(&|other| other.attempt_id == lease.attempt_id)) {
                forget(&mut self.attempt_ids, id, block);
            }
            if let Some(client) = lease.client.filter(|_| is_last(&|other| other.client == lease.client)) {
                forget(&mut self.clients, client, block);
            }
        }
        if receives.is_empty() {
            self.blocks.remove(&block);
        }
    }

    /// What this consumer kept while it lived comes back at `deadline`, if that is not later than it would have. The leases
    /// stay the same.
    pub fn release(&mut self, client: ClientId, deadline: Timestamp) {
        for block in self.clients.remove(&client).unwrap_or_default() {
            let receives = self.blocks.get_mut(&block).expect("a block that is known by its consumer");
            for taken in receives.iter_mut().filter(|taken| taken.lease.client == Some(client)) {
                self.deadlines.remove(&(taken.lease.deadline, block));
                taken.lease.client = None;
                taken.lease.deadline = taken.lease.deadline.min(deadline);
            }
            self.deadlines.extend(receives.iter().map(|taken| (taken.lease.deadline, block)));
        }
    }
}

/// As a map of offsets, however they are kept.
impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.range_from(0)).finish()
    }
}

fn bit(offset: u64) -> u64 {
    1 << (offset % BLOCK)
}

fn left(receives: &[Taken]) -> u64 {
    receives.iter().fold(0, |left, taken| left | taken.left)
}

/// Those of a block that are meant, in the order of their offsets.
fn leases_of(block: u64, receives: &[Taken], which: impl Fn(&Lease) -> bool) -> impl Iterator<Item = (u64, Lease)> {
    let meant = receives.iter().filter(|taken| which(&taken.lease));
    let mut left = meant.fold(0, |left, taken| left | taken.left);
    std::iter::from_fn(move || {
        let place = left.trailing_zeros();
        let bit = 1_u64.checked_shl(place)?;
        left &= !bit;
        let taken = receives.iter().find(|taken| taken.left & bit != 0).expect("one of those");
        Some((block * BLOCK + u64::from(place), taken.lease_of(bit)))
    })
}

fn forget<K: Hash + Eq>(blocks_of: &mut HashMap<K, BTreeSet<u64>>, key: K, block: u64) {
    let blocks = blocks_of.get_mut(&key).expect("every block is known by what is in it");
    blocks.remove(&block);
    if blocks.is_empty() {
        blocks_of.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Three blocks.
    const END: u64 = 3 * BLOCK;

    #[derive(Debug, Clone)]
    enum Change {
        Lease { offsets: BTreeSet<u64>, deadline: i64, attempt: u32, attempt_id: Option<u64>, client: Option<u64> },
        Settle(BTreeSet<u64>),
        SettleBelow(u64),
        Release { client: u64, deadline: i64 },
    }

    /// Side by side, as receives take them, or here and there.
    fn offsets() -> impl Strategy<Value = BTreeSet<u64>> {
        prop_oneof![
            (0..END, 1_u64..80).prop_map(|(from, count)| (from..(from + count).min(END)).collect()),
            prop::collection::btree_set(0..END, 0..12),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        let some = || prop::option::of(0_u64..3);
        let lease = (offsets(), 0_i64..5, 1_u32..4, some(), some());
        prop_oneof![
            4 => lease.prop_map(|(offsets, deadline, attempt, attempt_id, client)| {
                Change::Lease { offsets, deadline, attempt, attempt_id, client }
            }),
            4 => offsets().prop_map(Change::Settle),
            1 => (0..END).prop_map(Change::SettleBelow),
            1 => (0_u64..3, 0_i64..5).prop_map(|(client, deadline)| Change::Release { client, deadline }),
        ]
    }

    fn change_both(leases: &mut Leases, map: &mut BTreeMap<u64, Lease>, sequence: &mut u64, change: Change) {
        match change {
            Change::Lease { offsets, deadline, attempt, attempt_id, client } => {
                let id = LeaseId { boot: 1, sequence: *sequence };
                let client = client.map(ClientId);
                let first = Lease { id, deadline: Timestamp(deadline), attempt, attempt_id, client };
                leases.insert(first, offsets.iter().copied());
                for offset in offsets {
                    map.insert(offset, Lease { id: LeaseId { boot: 1, sequence: *sequence }, ..first });
                    *sequence += 1;
                }
            }
            Change::Settle(offsets) => {
                leases.settle(&offsets.iter().copied().collect::<Vec<_>>());
                map.retain(|offset, _| !offsets.contains(offset));
            }
            Change::SettleBelow(end) => {
                leases.settle_below(end);
                map.retain(|offset, _| *offset >= end);
            }
            Change::Release { client, deadline } => {
                leases.release(ClientId(client), Timestamp(deadline));
                for lease in map.values_mut().filter(|lease| lease.client == Some(ClientId(client))) {
                    *lease = Lease { client: None, deadline: lease.deadline.min(Timestamp(deadline)), ..*lease };
                }
            }
        }
    }

    fn agree(leases: &Leases, map: &BTreeMap<u64, Lease>) -> bool {
        let all = || map.iter().map(|(offset, lease)| (*offset, *lease));
        let mut by_deadline: Vec<_> = all().collect();
        by_deadline.sort_by_key(|(offset, lease)| (lease.deadline, *offset));
        let deadlines = || by_deadline.iter().map(|(_, lease)| lease.deadline);
        let clients: BTreeSet<_> = map.values().filter_map(|lease| lease.client).collect();
        leases.len() == map.len()
            && leases.is_empty() == map.is_empty()
            && leases.first() == map.keys().next().copied()
            && (0..END).all(|offset| leases.get(offset) == map.get(&offset).copied())
            && leases.range_from(END / 2).eq(map.range(END / 2..).map(|(offset, lease)| (*offset, *lease)))
            && (0..END).all(|at| leases.count(at / 2..at) == map.range(at / 2..at).count() as u64)
            && leases.first_deadline() == deadlines().next()
            && (0..5).map(Timestamp).all(|now| {
                let due = by_deadline.iter().copied().take_while(|(_, lease)| lease.deadline <= now);
                leases.due(now).eq(due) && leases.next_deadline(now) == deadlines().find(|deadline| *deadline > now)
            })
            && (0..3).all(|id| leases.taken_by(id).eq(all().filter(|(_, lease)| lease.attempt_id == Some(id))))
            && leases.clients().collect::<BTreeSet<_>>() == clients
            && (0..3).map(ClientId).all(|client| leases.is_held_by(client) == clients.contains(&client))
            && leases.redelivered() == map.values().filter(|lease| lease.attempt > 1).count()
            && leases.attempt_max() == map.values().map(|lease| lease.attempt).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn they_are_what_a_map_of_offsets_is(changes in prop::collection::vec(change(), 0..40)) {
            let (mut leases, mut map, mut sequence) = (Leases::default(), BTreeMap::new(), 0);
            for change in changes {
                let done = format!("{change:?}");
                change_both(&mut leases, &mut map, &mut sequence, change);
                prop_assert!(agree(&leases, &map), "after {done}: {leases:?} is not {map:?}");
            }
            leases.settle_below(END);
            prop_assert!(leases.deadlines.is_empty() && leases.attempts.is_empty() && leases.blocks.is_empty());
        }
    }

    #[test]
    fn what_was_written_one_by_one_is_one_receive_again() {
        let terms = Lease {
            id: LeaseId { boot: 1, sequence: 7 },
            deadline: Timestamp(5),
            attempt: 1,
            attempt_id: None,
            client: None,
        };
        let mut leases = Leases::default();
        leases.insert(terms, 10..40);
        let mut again = Leases::default();
        for (offset, lease) in leases.range_from(0) {
            again.insert(lease, [offset]);
        }
        assert_eq!(again.blocks[&0].len(), 1);
    }
}
