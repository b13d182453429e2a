//! What a start makes of the last snapshot and of the state records behind it.
//!
//! A snapshot's parts were copied one after the other while the broker worked. Each says up to which place of the log
//! it is: a record below that place is in it already and is passed by, for applied twice it might undo what came after.
//! Deletes are the exception: an id is never given again, so what they end may be ended twice.

use std::collections::HashMap;

use crate::delivery::cells::{AllCells, cell_of};
use crate::delivery::redelivery::Pair;
use crate::delivery::timers::Timers;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::state::record::Entry;
use crate::state::snapshot::Snapshot;
use crate::state::source::Source;
use crate::state::tables::Tables;

/// The state as it comes back.
#[derive(Default)]
pub struct Replay {
    pub tables: Tables,
    pub cells: AllCells,
    /// By topic id: where its queues end at least.
    pub queue_ends: HashMap<u32, Vec<QueueOffset>>,
    pub timers: Timers,
    tables_reflect: CommitLogOffset,
    timers_reflect: CommitLogOffset,
    pairs_reflect: HashMap<Pair, CommitLogOffset>,
    /// Behind a clean stop and before the next start: what lies here, somebody else has written.
    stopped: bool,
}

impl Replay {
    /// Everything that the snapshot says.
    pub fn from_snapshot(snapshot: Snapshot) -> Replay {
        let mut replay = Replay::default();
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
    }

    /// The record that begins at `at` is a message which the broker moved.
    pub fn moved(&mut self, source: &Source, at: CommitLogOffset) {
        if self.stopped {
            return;
        }
        match source {
            Source::Lease { cell, offset } => self.apply(&Entry::Ack { cell: *cell, offsets: vec![*offset] }, at),
            Source::Timer { offset } if at >= self.timers_reflect => self.timers.apply_fired(*offset),
            Source::Level { level, offset } if at >= self.timers_reflect => {
                self.timers.apply_level_fired(*level, *offset);
            }
            Source::Timer { .. } | Source::Level { .. } => {}
        }
    }
}
