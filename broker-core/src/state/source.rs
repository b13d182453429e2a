//! From where the broker moved a message: said by the moved record itself, in the first of its properties. So the record is
//! at once the message at its new place and the end of it at the old one, and no crash comes between the two.
//!
//! | value of the property | moved from |
//! | --- | --- |
//! | `lease <group id> <topic id> <queue id> <queue offset>` | a delivery to a consumer group: given up, or moved to the group's retry topic |
//! | `timer <queue offset>` | the topic of timers: its second has come, and it goes to its own topic or on to a later second |
//! | `timer-kept <queue offset>` | the topic of timers, whatever its second: retention had put it back into the same topic |
//! | `level <level> <queue offset>` | the queue of a delay level, and with it all before it |
//!
//! Permanent: words are never given another meaning, new ones are added.

use std::fmt;

use crate::message::property;
use crate::offset::{QueueId, QueueOffset};
use crate::state::record::{CellKey, StateRecordError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A delivery that was given up or moved to the retry topic; this record settles it.
    Lease { cell: CellKey, offset: u64 },
    /// A message that waited for its second, which has come.
    Timer { offset: QueueOffset },
    /// A message that goes on waiting for its second, in a place that retention leaves alone.
    TimerKept { offset: QueueOffset },
    /// A message that waited as long as its delay level says.
    Level { level: u32, offset: QueueOffset },
}

impl Source {
    /// Does a property string begin with a source? Replay asks this of every record, so it looks at nothing else.
    pub fn is_in(properties: &[u8]) -> bool {
        properties.strip_prefix(property::SOURCE.as_bytes()).is_some_and(|rest| rest.first() == Some(&1))
    }

    pub fn parse(text: &str) -> Result<Source, StateRecordError> {
        let mut words = text.split(' ');
        let number = |word: Option<&str>| {
            let number = word.and_then(|word| word.parse::<u64>().ok().filter(|number| number.to_string() == word));
            number.ok_or(StateRecordError::Malformed("a source is not made of numbers"))
        };
        let source = match words.next() {
            Some("lease") => {
                let mut small = || {
                    let number = number(words.next())?;
                    u32::try_from(number).map_err(|_| StateRecordError::Malformed("a source has an id that is none"))
                };
                let (consumer_group_id, topic_id, queue_id) = (small()?, small()?, QueueId(small()?));
                let cell = CellKey { consumer_group_id, topic_id, queue_id };
                Source::Lease { cell, offset: number(words.next())? }
            }
            Some("timer") => Source::Timer { offset: QueueOffset(number(words.next())?) },
            Some("timer-kept") => Source::TimerKept { offset: QueueOffset(number(words.next())?) },
            Some("level") => {
                let level = u32::try_from(number(words.next())?);
                let level = level.map_err(|_| StateRecordError::Malformed("a source has a level that is none"))?;
                Source::Level { level, offset: QueueOffset(number(words.next())?) }
            }
            _ => return Err(StateRecordError::NewerField("a source")),
        };
        match words.next() {
            None => Ok(source),
            Some(_) => Err(StateRecordError::NewerField("a source")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Lease { cell, offset } => {
                let CellKey { consumer_group_id, topic_id, queue_id } = cell;
                write!(f, "lease {consumer_group_id} {topic_id} {queue_id} {offset}")
            }
            Source::Timer { offset } => write!(f, "timer {offset}"),
            Source::TimerKept { offset } => write!(f, "timer-kept {offset}"),
            Source::Level { level, offset } => write!(f, "level {level} {offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_was_written() {
        let cell = CellKey { consumer_group_id: 7, topic_id: 4_294_967_295, queue_id: QueueId(0) };
        let source = Source::Lease { cell, offset: u64::MAX };
        assert_eq!(source.to_string(), "lease 7 4294967295 0 18446744073709551615");
        assert_eq!(Source::parse(&source.to_string()), Ok(source));
        for (text, source) in [
            ("timer 12", Source::Timer { offset: QueueOffset(12) }),
            ("timer-kept 12", Source::TimerKept { offset: QueueOffset(12) }),
            ("level 18 0", Source::Level { level: 18, offset: QueueOffset(0) }),
        ] {
            assert_eq!((source.to_string(), Source::parse(text)), (text.to_string(), Ok(source)));
        }
        for wrong in [
            "timer",
            "timer x",
            "level 1",
            "level 4294967296 1",
            "",
            "lease",
            "lease 1 2 3",
            "lease 1 2 3 x",
            "lease 1 2 3 +4",
            "lease 01 2 3 4",
            "lease 4294967296 2 3 4",
        ] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
        for newer in ["retry 1", "lease 1 2 3 4 5", "timer 1 2", "level 1 2 3"] {
            assert_eq!(Source::parse(newer), Err(StateRecordError::NewerField("a source")), "{newer}");
        }
    }

    #[test]
    fn a_source_stands_in_front_or_nowhere() {
        assert!(Source::is_in(b"__GANTRY_SOURCE\x01lease 1 2 3 4\x02TAGS\x01a\x02"));
        assert!(!Source::is_in(b"TAGS\x01a\x02__GANTRY_SOURCE\x01lease 1 2 3 4\x02"));
        assert!(
            !Source::is_in(b"__GANTRY_SOURCES\x01x\x02") && !Source::is_in(b"__GANTRY_SOURCE") && !Source::is_in(b"")
        );
    }
}
