//! What has become of delayed messages: which of them were delivered, put back or recalled. Pure; when that happens is
//! decided in `operation/fire_messages/`, and where they wait is `store/timer_wheel.rs`'s business.
//!
//! A delivery is one append of the message itself, and that record is the proof: until a state record says that a whole
//! second is done, the proofs since the last one are remembered here. So nothing fires twice, wherever a kill falls.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::delivery::offset_ranges::OffsetRanges;
use crate::offset::QueueOffset;
use crate::state::record::Entry;

/// Most recalls whose records nobody has seen in the topic of timers yet.
pub const RECALLS_PENDING_MAX: usize = 100_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timers {
    /// Of the messages below `read_to`, those of this second and earlier ones are done.
    through: Timestamp,
    read_to: QueueOffset,
    /// Everything below is done, whatever its time.
    kept_from: QueueOffset,
    /// Done in their second, and not covered by the three above.
    done: OffsetRanges,
    /// Done before their second, since retention put them back: what is said of seconds does not cover them.
    kept: OffsetRanges,
    /// By delay level: its messages below this offset are done.
    levels: BTreeMap<u32, QueueOffset>,
    /// By second, then by what is recalled: where the recall's record lies in the topic of timers.
    recalls: BTreeMap<Timestamp, HashMap<Box<str>, QueueOffset>>,
    recalls_pending: usize,
}

impl Timers {
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::TimersFired { through, read_to, kept_from } => {
                // It speaks for all proofs of seconds before it, unless it says nothing new of those.
                if (self.through, self.read_to) != (*through, *read_to) {
                    self.done.clear();
                }
                // Never back: an import may say less than we know.
                self.through = self.through.max(*through);
                self.read_to = self.read_to.max(*read_to);
                self.kept_from = self.kept_from.max(*kept_from);
                self.done.keep_from(kept_from.0);
                self.kept.keep_from(kept_from.0);
            }
            Entry::LevelFired { level, next } => self.level_done(*level, *next),
            Entry::TimersDone { offsets } => self.done.extend(offsets.iter().copied()),
            Entry::TimersKept { offsets } => self.kept.extend(offsets.iter().copied()),
            _ => {}
        }
    }

    /// A record of the log proves that this message's second came: it was delivered, or put back for a later one.
    pub fn apply_fired(&mut self, at: QueueOffset) {
        self.done.insert(at.0);
    }

    /// A record of the log proves that this message waits elsewhere.
    pub fn apply_kept(&mut self, at: QueueOffset) {
        self.kept.insert(at.0);
    }

    /// A record of the log proves that this message of a delay level was delivered, and with it all before it.
    pub fn apply_level_fired(&mut self, level: u32, at: QueueOffset) {
        self.level_done(level, QueueOffset(at.0 + 1));
    }

    fn level_done(&mut self, level: u32, next: QueueOffset) {
        let known = self.levels.entry(level).or_default();
        *known = (*known).max(next);
    }

    /// Is nothing left to do for this message of the topic of timers, which waits in this second?
    pub fn is_done(&self, at: QueueOffset, second: Timestamp) -> bool {
        at < self.kept_from
            || (at < self.read_to && second <= self.through)
            || self.done.contains(at.0)
            || self.kept.contains(at.0)
    }

    /// The first message of a delay level that is not delivered.
    pub fn level_next(&self, level: u32) -> QueueOffset {
        self.levels.get(&level).copied().unwrap_or_default()
    }

    pub fn levels(&self) -> impl Iterator<Item = (u32, QueueOffset)> {
        self.levels.iter().map(|(level, next)| (*level, *next))
    }

    pub fn through(&self) -> Timestamp {
        self.through
    }

    pub fn read_to(&self) -> QueueOffset {
        self.read_to
    }

    pub fn kept_from(&self) -> QueueOffset {
        self.kept_from
    }

    /// Are there proofs of seconds that no state record covers yet?
    pub fn has_proofs(&self) -> bool {
        !self.done.is_empty()
    }

    /// All of it in the words of the log.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if (self.through, self.read_to, self.kept_from) != Default::default() {
            let (through, read_to, kept_from) = (self.through, self.read_to, self.kept_from);
            entries.push(Entry::TimersFired { through, read_to, kept_from });
        }
        entries.extend(self.levels().map(|(level, next)| Entry::LevelFired { level, next }));
        if !self.done.is_empty() {
            entries.push(Entry::TimersDone { offsets: self.done.iter().collect() });
        }
        if !self.kept.is_empty() {
            entries.push(Entry::TimersKept { offsets: self.kept.iter().collect() });
        }
        entries
    }

    /// Whether there is room for one more recall.
    pub fn takes_recalls(&self) -> bool {
        self.recalls_pending < RECALLS_PENDING_MAX
    }

    /// A record at `at` recalls `what` of this second.
    pub fn recall(&mut self, second: Timestamp, what: Box<str>, at: QueueOffset) {
        if self.recalls.entry(second).or_default().insert(what, at).is_none() {
            self.recalls_pending += 1;
        }
    }

    /// A record that may not have reached the wheel yet recalls it already.
    pub fn is_recalled(&self, second: Timestamp, what: &str) -> bool {
        self.recalls.get(&second).is_some_and(|recalls| recalls.contains_key(what))
    }

    /// What is recalled of this second by records that may not have reached the wheel yet.
    pub fn recalled(&self, second: Timestamp) -> impl Iterator<Item = &str> {
        self.recalls.get(&second).into_iter().flatten().map(|(what, _)| &**what)
    }

    /// The wheel has all recalls below.
    pub fn wheel_has(&mut self, below: QueueOffset) {
        if self.recalls_pending == 0 {
            return;
        }
        self.recalls.retain(|_, recalls| {
            recalls.retain(|_, at| *at >= below);
            !recalls.is_empty()
        });
        self.recalls_pending = self.recalls.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_stays_done_through_a_snapshot() {
        let mut timers = Timers::default();
        timers.apply_fired(QueueOffset(3));
        timers.apply_level_fired(2, QueueOffset(7));
        timers.apply_level_fired(2, QueueOffset(5));
        assert!(timers.is_done(QueueOffset(3), Timestamp(9_000)) && !timers.is_done(QueueOffset(2), Timestamp(9_000)));
        let fired =
            Entry::TimersFired { through: Timestamp(9_000), read_to: QueueOffset(10), kept_from: QueueOffset(1) };
        timers.apply(&fired);
        assert!(!timers.has_proofs());
        timers.apply_fired(QueueOffset(12));
        timers.apply_kept(QueueOffset(8));
        let mut again = Timers::default();
        timers.entries().iter().for_each(|entry| again.apply(entry));
        assert_eq!(again, timers);
        // Said again with nothing new of the seconds: the proof still counts.
        let kept =
            Entry::TimersFired { through: Timestamp(9_000), read_to: QueueOffset(10), kept_from: QueueOffset(2) };
        again.apply(&kept);
        assert!(again.is_done(QueueOffset(12), Timestamp(99_000)));
        for (at, second, done) in
            [(1, 99_000, true), (2, 9_000, true), (2, 10_000, false), (10, 9_000, false), (12, 99_000, true)]
        {
            assert_eq!(again.is_done(QueueOffset(at), Timestamp(second)), done, "{at} {second}");
        }
        // Of seconds: the proof is covered. What was put back before its second is not.
        let next =
            Entry::TimersFired { through: Timestamp(10_000), read_to: QueueOffset(13), kept_from: QueueOffset(2) };
        again.apply(&next);
        let far = Timestamp(99_000);
        assert!(!again.has_proofs() && !again.is_done(QueueOffset(12), far) && again.is_done(QueueOffset(8), far));
        assert_eq!((again.level_next(2), again.level_next(1)), (QueueOffset(8), QueueOffset(0)));
    }

    #[test]
    fn a_recall_counts_until_the_wheel_has_it() {
        let mut timers = Timers::default();
        timers.recall(Timestamp(5_000), "t+a".into(), QueueOffset(4));
        timers.recall(Timestamp(5_000), "t+a".into(), QueueOffset(5));
        timers.wheel_has(QueueOffset(5));
        let recalled =
            |timers: &Timers, second| timers.recalled(Timestamp(second)).map(String::from).collect::<Vec<_>>();
        assert_eq!((recalled(&timers, 5_000), recalled(&timers, 6_000)), (vec!["t+a".to_string()], vec![]));
        timers.wheel_has(QueueOffset(6));
        assert!(recalled(&timers, 5_000).is_empty() && timers.takes_recalls());
    }
}
