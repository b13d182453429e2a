//! What a start makes of the last snapshot and of the state records behind it.
//!
//! A snapshot's parts were copied one after the other while the broker worked. Each says up to which place of the log
//! it is: a record below that place is in it already and is passed by, for applied twice it might undo what came after.
//! Deletes are the exception: an id is never given again, so what they end may be ended twice.

use std::collections::HashMap;
use std::time::Duration;

use crate::delivery::cells::{AllCells, cell_of};
use crate::delivery::idempotency::IdempotencyKeys;
use crate::delivery::redelivery::Pair;
use crate::delivery::timers::Timers;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::state::record::{Entry, KeyedMessage};
use crate::state::snapshot::Snapshot;
use crate::state::source::Source;
use crate::state::tables::Tables;

/// The state as it comes back.
pub struct Replay {
    pub tables: Tables,
    pub cells: AllCells,
    /// By topic id: where its queues end at least.
    pub queue_ends: HashMap<u32, Vec<QueueOffset>>,
    pub timers: Timers,
    pub idempotency: IdempotencyKeys,
    tables_reflect: CommitLogOffset,
    timers_reflect: CommitLogOffset,
    keys_reflect: CommitLogOffset,
    pairs_reflect: HashMap<Pair, CommitLogOffset>,
    /// Behind a clean stop and before the next start: what lies here, somebody else has written.
    stopped: bool,
}

impl Replay {
    /// Nothing yet.
    pub fn new(idempotency_window: Duration) -> Replay {
        Replay {
            tables: Tables::default(),
            cells: AllCells::default(),
            queue_ends: HashMap::new(),
            timers: Timers::default(),
            idempotency: IdempotencyKeys::new(idempotency_window),
            tables_reflect: CommitLogOffset(0),
            timers_reflect: CommitLogOffset(0),
            keys_reflect: CommitLogOffset(0),
            pairs_reflect: HashMap::new(),
            stopped: false,
        }
    }

    /// Everything that the snapshot says.
    pub fn from_snapshot(snapshot: Snapshot, idempotency_window: Duration) -> Replay {
        let mut replay = Replay::new(idempotency_window);
        for topic in snapshot.tables.topics {
            let created = CommitLogOffset(topic.incarnation.0);
            topic.entries.iter().for_each(|entry| replay.tables.apply(entry, created));
            replay.queue_ends.insert(topic.topic_id, topic.queue_ends);
        }
        for group in snapshot.tables.consumer_groups {
            let created = CommitLogOffset(group.incarnation.0);
            group.entries.iter().for_each(|entry| replay.tables.apply(entry, created));
        }
        replay.tables.ids_are_used(snapshot.tables.topic_id_max, snapshot.tables.consumer_group_id_max);
        replay.tables_reflect = snapshot.tables.reflects;
        snapshot.timers.entries.iter().for_each(|entry| replay.timers.apply(entry));
        replay.timers_reflect = snapshot.timers.reflects;
        snapshot.keys.entries.iter().for_each(|entry| replay.idempotency.apply(entry));
        replay.keys_reflect = snapshot.keys.reflects;
        for part in snapshot.pairs {
            part.entries.iter().for_each(|entry| replay.cells.apply(entry));
            replay.pairs_reflect.insert(part.pair, part.reflects);
        }
        replay
    }

    /// One entry of the record that begins at `at`, in the order of the log.
    pub fn apply(&mut self, entry: &Entry, at: CommitLogOffset) {
        match entry {
            Entry::Stop { .. } => self.stopped = true,
            Entry::Boot { .. } => self.stopped = false,
            _ => {}
        }
        if at >= self.tables_reflect {
            self.tables.apply(entry, at);
        }
        if at >= self.timers_reflect {
            self.timers.apply(entry);
        }
        match cell_of(entry) {
            Some(cell) => {
                let known = self.pairs_reflect.get(&(cell.consumer_group_id, cell.topic_id));
                if known.is_none_or(|reflects| at >= *reflects) {
                    self.cells.apply(entry);
                }
            }
            None => self.cells.apply(entry),
        }
        self.idempotency.apply(entry);
    }

    /// A message that was sent with an idempotency key.
    pub fn keyed(&mut self, message: &KeyedMessage) {
        if !self.stopped && message.commit_log_offset >= self.keys_reflect {
            self.idempotency.replay(message);
        }
    }

    /// The record that begins at `at` is a message which the broker moved.
    pub fn moved(&mut self, source: &Source, at: CommitLogOffset) {
        if self.stopped {
            return;
        }
        match source {
            Source::Lease { cell, offset } => self.apply(&Entry::Ack { cell: *cell, offsets: vec![*offset] }, at),
            Source::Timer { offset } if at >= self.timers_reflect => self.timers.apply_fired(*offset),
            Source::TimerKept { offset } if at >= self.timers_reflect => self.timers.apply_kept(*offset),
            Source::Level { level, offset } if at >= self.timers_reflect => {
                self.timers.apply_level_fired(*level, *offset);
            }
            Source::Timer { .. } | Source::TimerKept { .. } | Source::Level { .. } => {}
        }
    }
}
