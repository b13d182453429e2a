//! Rules that take messages away while a life goes on, and what they allow: reckoned from the rules and from the log's
//! end alone, not from what the broker says that it took.

use std::time::{Duration, SystemTime};

use gantry_broker_core::store::failpoint::Point;
use harness::history::{Operation, QueueRead, ReadBack, Recorder, Subject};
use reqwest::Client;

use crate::random::Random;
use crate::read_back::get;

/// A log has to come to several segments in a short life.
pub const SEGMENT_BYTES: u64 = 64 << 10;
const LOG_BYTES_MAX: [u64; 3] = [SEGMENT_BYTES, 2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES];
const RESERVED_MS: [u64; 3] = [20, 100, 400];
/// What lies on the way of a deletion, and of the snapshot that must stand behind it.
pub const FAILPOINTS: [Point; 6] = [
    Point::DeleteBefore,
    Point::DeleteAfter,
    Point::QueueEndsBefore,
    Point::QueueEndsAfter,
    Point::SnapshotBefore,
    Point::SnapshotAfter,
];

/// How much of its log a broker keeps.
#[derive(Debug, Clone, Copy)]
pub enum Rules {
    Longest { bytes: u64 },
    Reserved { ms: u64 },
}

impl Rules {
    pub fn random(random: &mut Random) -> Rules {
        match random.below(2) {
            0 => Rules::Longest { bytes: random.one_of(&LOG_BYTES_MAX) },
            _ => Rules::Reserved { ms: random.one_of(&RESERVED_MS) },
        }
    }

    pub fn args(self) -> Vec<String> {
        // How full the machine's disk is shall not matter.
        let mut args = vec!["--clean-file-forcibly-enable=false".to_string()];
        match self {
            Rules::Longest { bytes } => args.push(format!("--commit-log-size-max={bytes}B")),
            Rules::Reserved { ms } => {
                let hours: Vec<String> = (0..24).map(|hour| hour.to_string()).collect();
                args.push(format!("--file-reserved-time={ms}ms"));
                args.push(format!("--delete-when={}", hours.join(";")));
            }
        }
        args
    }

    /// Writes down what may be gone by now. A broker has made its passes all the time; the last of them might take most,
    /// for a log only grows and grows older.
    pub async fn note(self, recorder: &Recorder, base: &str) -> Result<(), String> {
        let may_go = match self {
            Rules::Longest { bytes } => {
                let cluster = get(&Client::new(), &format!("{base}/v1/cluster")).await?;
                let end =
                    cluster["brokers"][0]["commitLogMax"].as_u64().ok_or("a broker without the end of its log")?;
                // Whole segments, of which the beginning lies too far back.
                let below = end.saturating_sub(bytes).next_multiple_of(SEGMENT_BYTES);
                Subject { may_go_below: Some(below), ..Subject::default() }
            }
            Rules::Reserved { ms } => {
                let now = SystemTime::UNIX_EPOCH.elapsed().expect("later than 1970");
                let until = now.saturating_sub(Duration::from_millis(ms)).as_millis();
                let until = i64::try_from(until).expect("this millennium");
                Subject { may_go_until_ms: Some(until), ..Subject::default() }
            }
        };
        let invoked = recorder.invoke("retention", Operation::Retain, may_go);
        recorder.ok(&invoked, Subject::default());
        Ok(())
    }
}

/// Has anything gone that was in a queue?
pub fn took_something(read: &ReadBack) -> bool {
    read.queues.iter().any(|queue: &QueueRead| queue.min_offset > 0)
}
