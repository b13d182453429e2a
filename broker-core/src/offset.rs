//! Numbers that must not be mixed up: a place in a queue, a byte place in the log, the number of a queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Place of a message in its message queue: 0, 1, 2, ... without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueOffset(pub u64);

/// Byte place in the commit log, counted from the first byte ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitLogOffset(pub u64);

/// Number of a message queue inside its topic on one broker, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueId(pub u32);

/// The life of one topic: the commit-log offset of the record that created it. A topic deleted and created again under
/// the same name is another incarnation, so nothing of the old one (records, offsets, receipt handles) speaks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

macro_rules! display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display!(QueueOffset, CommitLogOffset, QueueId, Incarnation);
