//! Named places where a test may have the process killed, as if the machine had chosen that moment itself.
//!
//! `GANTRY_FAILPOINT=append.torn:7` kills it with SIGKILL when it comes to `append.torn` for the seventh time. Only builds
//! with the feature `failpoints` know the places; in all others `at` is nothing at all. A place is named after the step it
//! lies in: `before` and `after` it, or by what has happened so far.

/// Every place, by its name.
macro_rules! points {
    ($($point:ident $name:literal)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($point,)*
        }

        impl Point {
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

points! {
    AppendBefore "append.before"
    AppendTorn "append.torn"
    AppendAfter "append.after"
    SyncBefore "sync.before"
    SyncAfter "sync.after"
    QueueBuildBefore "queue-build.before"
    QueueBuildAfter "queue-build.after"
    IndexBuildBefore "index-build.before"
    IndexBuildAfter "index-build.after"
    RollClosed "roll.closed"
    RollBefore "roll.before"
    RollUnsynced "roll.unsynced"
    RollAfter "roll.after"
    DeleteBefore "delete.before"
    DeleteAfter "delete.after"
    RenameBefore "rename.before"
    RenameUnsynced "rename.unsynced"
    RenameAfter "rename.after"
    CheckpointBefore "checkpoint.before"
    CheckpointUnsynced "checkpoint.unsynced"
    CheckpointAfter "checkpoint.after"
    CutBefore "cut.before"
    CutUnsynced "cut.unsynced"
    CutAfter "cut.after"
    QueueEndsBefore "queue-ends.before"
    QueueEndsAfter "queue-ends.after"
    SnapshotBefore "snapshot.before"
    SnapshotAfter "snapshot.after"
    BootBefore "boot.before"
    BootAfter "boot.after"
    FireBefore "fire.before"
    FireAfter "fire.after"
    FireRecorded "fire.recorded"
    DeadLetterBefore "dead-letter.before"
    DeadLetterAfter "dead-letter.after"
    HalfBefore "half.before"
    HalfAfter "half.after"
    HalfMovedBefore "half-moved.before"
    HalfMovedAfter "half-moved.after"
    CommitBefore "commit.before"
    CommitAfter "commit.after"
    RollBackBefore "roll-back.before"
    RollBackAfter "roll-back.after"
}

/// The process is at this place.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn at(_: Point) {}

/// Shall what is otherwise done now and then be done all the time? A process that lives for a moment would not come to it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hurries() -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use armed::{at, hurries};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    const VARIABLE: &str = "GANTRY_FAILPOINT";
    /// Set to anything, it makes the process hurry.
    const HURRY: &str = "GANTRY_HURRY";

    struct Armed {
        point: Point,
        /// Comings to the place that are left.
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> =
        LazyLock::new(|| parse(&std::env::var(VARIABLE).ok()?).map(Some).expect("GANTRY_FAILPOINT=NAME:COUNT"));

    fn parse(text: &str) -> Option<Armed> {
        let (name, count) = text.split_once(':')?;
        let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
        let left = count.parse().ok().filter(|count| *count > 0)?;
        Some(Armed { point, left: AtomicU64::new(left) })
    }

    pub fn hurries() -> bool {
        static HURRIES: LazyLock<bool> = LazyLock::new(|| std::env::var_os(HURRY).is_some());
        *HURRIES
    }

    pub fn at(point: Point) {
        if let Some(armed) = &*ARMED
            && armed.point == point
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            let _ = kill_process(getpid(), Signal::KILL);
            unreachable!("the process outlived SIGKILL");
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_place_is_armed_by_name_and_count() {
            let armed = parse("append.torn:7").unwrap();
            assert_eq!((armed.point, armed.left.into_inner()), (Point::AppendTorn, 7));
            for odd in ["append.torn", "append.torn:0", "append.torn:x", "append:1", ""] {
                assert!(parse(odd).is_none(), "{odd}");
            }
        }
    }
}
