//! All cells of this broker. The cells of one consumer group and one topic share one lock: a pop looks at every queue
//! of its topic, and a settle names a few of them, so one lock is both the simplest and the cheapest order.
//!
//! Lock order: tables, cells (by group id, then topic id), log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::clock::Timestamp;
use crate::offset::{CommitLogOffset, QueueId};
use crate::state::record::{CellKey, Entry};

use super::cell::Cell;
use super::redelivery::Pair;

/// The cells of one consumer group and one topic, by queue.
#[derive(Default)]
pub struct Cells {
    /// Boxed: a node of the map holds eleven, and most groups use a topic of one queue or eight.
    by_queue: BTreeMap<QueueId, Box<Cell>>,
    /// Those with leases, by their first deadlines: a receive finds what came back without a look at every queue.
    deadlines: BTreeSet<(Timestamp, QueueId)>,
    /// So many queues have cells, from the first on, as far as anybody has looked.
    begun: u32,
    /// Handed out since the start, repeated deliveries included.
    pub messages_out: u64,
    pub bytes_out: u64,
    /// Given up since the start.
    pub dead_letters: u64,
    /// Moved to the group's retry topic since the start.
    pub retried: u64,
    /// Taken by retention before they were settled, since the start.
    pub expired: u64,
    /// Of a retry topic's messages, once anybody looked.
    pub moved: Option<Box<Moved>>,
}

/// What is known of the messages that were moved to a retry topic. Derived.
#[derive(Default)]
pub struct Moved {
    /// By the id of the topic that they came from: below, nothing new is left for its receives.
    pub looked_to: BTreeMap<u32, u64>,
    /// Of what was received from it: group and topic that it came from.
    pub sources: HashMap<u64, (u32, u32)>,
    /// From where to where.
    pub places: HashMap<(CellKey, u64), u64>,
    /// So many were left of them when the settled ones were taken out last.
    pub places_kept: usize,
    /// Those before it are in `places`, unless they are settled.
    pub placed_to: u64,
    /// The records of those that were moved so lately that their queue may not have them yet, by where they will be in it.
    pub records: BTreeMap<u64, CommitLogOffset>,
}

impl Moved {
    /// Whoever has no more of a message asks for its place no more. Each time that so many have come, so that it costs each
    /// of them little.
    pub fn forget_settled(&mut self, cell: &Cell) {
        if self.places.len() > 2 * self.places_kept + PLACES_MIN {
            self.places.retain(|_, at| !cell.is_settled(*at));
            self.places_kept = self.places.len();
        }
    }

    /// Its queue has all below this offset.
    pub fn arrived(&mut self, end: u64) {
        if self.records.first_key_value().is_some_and(|(first, _)| *first < end) {
            self.records = self.records.split_off(&end);
        }
    }
}

/// So few places are not worth a look at what is settled of them.
const PLACES_MIN: usize = 1_024;

/// What was consumed by a pair since the start.
#[derive(Debug, Clone, Copy)]
pub struct Consumed {
    pub pair: Pair,
    pub messages_out: u64,
    pub bytes_out: u64,
    pub dead_letters: u64,
    pub retried: u64,
    pub expired: u64,
}

impl Cells {
    /// Entries that name cells of this pair.
    pub fn apply<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries {
            let key = cell_of(entry).expect("an entry of a cell");
            if matches!(entry, Entry::Start { .. }) {
                self.moved = None;
            }
            let cell = self.by_queue.entry(key.queue_id).or_default();
            let before = cell.first_deadline();
            cell.apply(entry);
            let after = cell.first_deadline();
            if after != before {
                if let Some(before) = before {
                    self.deadlines.remove(&(before, key.queue_id));
                }
                self.deadlines.extend(after.map(|after| (after, key.queue_id)));
            }
        }
    }

    /// From now on it has a cell.
    pub fn begin(&mut self, queue_id: QueueId) {
        self.by_queue.entry(queue_id).or_default();
    }

    /// To look at what is new in it. Its leases change by `apply` alone.
    pub fn look_into(&mut self, queue_id: QueueId) -> Option<&mut Cell> {
        self.by_queue.get_mut(&queue_id).map(|cell| &mut **cell)
    }

    /// As if nothing had been applied to it.
    pub fn forget(&mut self, queue_id: QueueId) {
        let Some(cell) = self.by_queue.remove(&queue_id) else { return };
        if let Some(first) = cell.first_deadline() {
            self.deadlines.remove(&(first, queue_id));
        }
        self.begun = self.begun.min(queue_id.0);
    }

    /// Which of so many queues have no cell yet.
    pub fn not_begun(&mut self, queues: u32) -> Vec<QueueId> {
        while self.begun < queues && self.by_queue.contains_key(&QueueId(self.begun)) {
            self.begun += 1;
        }
        (self.begun..queues).map(QueueId).filter(|queue_id| !self.by_queue.contains_key(queue_id)).collect()
    }

    /// The queues of which something came back, longest ago first.
    pub fn came_back(&self, now: Timestamp) -> impl Iterator<Item = QueueId> {
        self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= now).map(|(_, queue_id)| *queue_id)
    }

    /// The queues of which something is in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = QueueId> {
        self.deadlines.iter().map(|(_, queue_id)| *queue_id)
    }
}

impl Deref for Cells {
    type Target = BTreeMap<QueueId, Box<Cell>>;

    fn deref(&self) -> &Self::Target {
        &self.by_queue
    }
}

#[derive(Default)]
pub struct AllCells {
    pairs: Mutex<HashMap<Pair, Arc<Mutex<Cells>>>>,
}

impl AllCells {
    /// The cells of this pair, empty before the first receive.
    pub fn of(&self, pair: Pair) -> Arc<Mutex<Cells>> {
        self.pairs.lock().expect("no code panics while holding it").entry(pair).or_default().clone()
    }

    /// Drops what speaks for a topic or a group that is gone.
    pub fn retain(&self, keep: impl Fn(Pair) -> bool) {
        self.pairs.lock().expect("no code panics while holding it").retain(|pair, _| keep(*pair));
    }

    /// Every pair that exists now.
    pub fn pairs(&self) -> Vec<Pair> {
        self.pairs.lock().expect("no code panics while holding it").keys().copied().collect()
    }

    /// Every pair that exists now, with its cells.
    pub fn all(&self) -> Vec<(Pair, Arc<Mutex<Cells>>)> {
        let pairs = self.pairs.lock().expect("no code panics while holding it");
        pairs.iter().map(|(pair, cells)| (*pair, cells.clone())).collect()
    }

    /// Those of the wanted pairs in which something was ever received or committed.
    pub fn consumed(&self, wanted: impl Fn(Pair) -> bool) -> Vec<Consumed> {
        let pairs = self.pairs.lock().expect("no code panics while holding it");
        let all = pairs.iter().filter(|(pair, _)| wanted(**pair));
        let all: Vec<_> = all.map(|(pair, cells)| (*pair, cells.clone())).collect();
        drop(pairs);
        let known = |(pair, cells): (Pair, Arc<Mutex<Cells>>)| {
            let cells = cells.lock().expect("no code panics while holding it");
            let Cells { messages_out, bytes_out, dead_letters, retried, expired, .. } = *cells;
            (!cells.is_empty()).then_some(Consumed { pair, messages_out, bytes_out, dead_letters, retried, expired })
        };
        all.into_iter().filter_map(known).collect()
    }

    /// The next message of a cell that nobody of the group has taken; `None` if the group never came here.
    pub fn next_of(&self, key: CellKey) -> Option<u64> {
        let cells = self.of((key.consumer_group_id, key.topic_id));
        let cells = cells.lock().expect("no code panics while holding it");
        cells.get(&key.queue_id).map(|cell| cell.next())
    }

    /// Feeds replay; operations apply to cells that they have locked.
    pub fn apply(&self, entry: &Entry) {
        match entry {
            Entry::DeleteTopic { topic_id } => self.retain(|(_, topic)| topic != *topic_id),
            Entry::DeleteConsumerGroup { consumer_group_id } => self.retain(|(group, _)| group != *consumer_group_id),
            _ => {
                if let Some(key) = cell_of(entry) {
                    let cells = self.of((key.consumer_group_id, key.topic_id));
                    cells.lock().expect("no code panics while holding it").apply([entry]);
                }
            }
        }
    }
}

/// The cell that an entry speaks of, if it speaks of one.
pub fn cell_of(entry: &Entry) -> Option<CellKey> {
    match entry {
        Entry::Start { cell, .. }
        | Entry::Ack { cell, .. }
        | Entry::ChangeLease { cell, .. }
        | Entry::CommitOffset { cell, .. }
        | Entry::ReleaseClient { cell, .. } => Some(*cell),
        Entry::Lease(lease) => Some(lease.cell),
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
        | Entry::IdempotencyKeys { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt_handle::LeaseId;
    use crate::state::record::LeaseEntry;

    fn key(queue: u32) -> CellKey {
        CellKey { consumer_group_id: 1, topic_id: 1, queue_id: QueueId(queue) }
    }

    fn lease(queue: u32, deadline: i64, offset: u64) -> Entry {
        Entry::Lease(LeaseEntry {
            cell: key(queue),
            deadline: Timestamp(deadline),
            first: LeaseId { boot: 1, sequence: offset },
            next: offset + 1,
            auto_renew: false,
            attempt_id_hash: None,
            client: None,
            messages: vec![(offset, 1)],
        })
    }

    #[test]
    fn what_came_back_is_known_by_queues_longest_ago_first() {
        let came_back = |cells: &Cells, now| cells.came_back(Timestamp(now)).map(|queue| queue.0).collect::<Vec<_>>();
        let mut cells = Cells::default();
        cells.apply(&[lease(3, 20, 0), lease(1, 30, 0), lease(3, 40, 1)]);
        assert_eq!((came_back(&cells, 19), came_back(&cells, 30)), (vec![], vec![3, 1]));
        cells.apply([&Entry::Ack { cell: key(3), offsets: vec![0] }]);
        assert_eq!((came_back(&cells, 39), came_back(&cells, 40)), (vec![1], vec![1, 3]));
        let in_flight = |cells: &Cells| cells.in_flight().map(|queue| queue.0).collect::<Vec<_>>();
        cells.apply([&Entry::CommitOffset { cell: key(3), offset: 2 }]);
        assert_eq!(in_flight(&cells), [1]);
        cells.forget(QueueId(1));
        assert_eq!(in_flight(&cells), [0; 0]);
    }

    #[test]
    fn a_queue_without_a_cell_is_found_wherever_it_is() {
        let ids = |queues: &[u32]| queues.iter().copied().map(QueueId).collect::<Vec<_>>();
        let mut cells = Cells::default();
        assert_eq!(cells.not_begun(3), ids(&[0, 1, 2]));
        cells.apply(&[lease(0, 1, 0), lease(1, 1, 0), lease(3, 1, 0)]);
        assert_eq!(cells.not_begun(5), ids(&[2, 4]));
        cells.apply(&[lease(2, 1, 0), lease(4, 1, 0)]);
        assert_eq!((cells.not_begun(5), cells.not_begun(6)), (ids(&[]), ids(&[5])));
        cells.forget(QueueId(1));
        assert_eq!(cells.not_begun(5), ids(&[1]));
    }
}
