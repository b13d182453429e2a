//! All cells of this broker. The cells of one consumer group and one topic share one lock: a pop looks at every queue
//! of its topic, and a settle names a few of them, so one lock is both the simplest and the cheapest order.
//!
//! Lock order: tables, cells (by group id, then topic id), log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::clock::Timestamp;
use crate::offset::QueueId;
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
    /// Taken by retention before they were settled, since the start.
    pub expired: u64,
}

/// What was consumed by a pair since the start.
#[derive(Debug, Clone, Copy)]
pub struct Consumed {
    pub pair: Pair,
    pub messages_out: u64,
    pub bytes_out: u64,
    pub dead_letters: u64,
    pub expired: u64,
}

impl Cells {
    /// Entries that name cells of this pair.
    pub fn apply<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries {
            let key = cell_of(entry).expect("an entry of a cell");
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
            let Cells { messages_out, bytes_out, dead_letters, expired, .. } = *cells;
            (!cells.is_empty()).then_some(Consumed { pair, messages_out, bytes_out, dead_letters, expired })
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
