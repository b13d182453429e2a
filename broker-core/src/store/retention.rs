//! Which segments go, and when the disk is too full to take messages: decided here from plain numbers, done by the store.
//!
//! A segment goes when it is the oldest, is not written any more, and one of these holds:
//! - its last record is older than `file_reserved_time`, and it is an hour of `delete_when` or the disk is used beyond
//!   `disk_max_used_space_ratio`;
//! - the log is longer than `commit_log_bytes_max`;
//! - the disk is used beyond `disk_space_clean_forcibly_ratio`: then whatever its age, consumed or not.
//!
//! Invariant: no segment goes before queues and index know all of it, and none that a start needs which finds the newest
//! snapshot damaged (rule B7).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::offset::CommitLogOffset;

/// Most segments of one pass: the disk's other work goes on between two.
pub const SEGMENTS_AT_ONCE_MAX: usize = 10;

/// RocketMQ's rules and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Messages are kept at least so long (RocketMQ's `fileReservedTime`).
    pub file_reserved_time: Duration,
    /// Local hours in which what is old enough is deleted, 0 to 23 (RocketMQ's `deleteWhen`).
    pub delete_when: Vec<u8>,
    /// Percent of the disk in use from which on what is old enough is deleted at any hour.
    pub disk_max_used_space_ratio: u8,
    /// Percent from which on the oldest messages go whatever their age.
    pub disk_space_clean_forcibly_ratio: u8,
    /// Percent from which on messages are refused; acks and deletes still pass.
    pub disk_space_warning_level_ratio: u8,
    /// Whether messages may go before their time to make room.
    pub clean_file_forcibly: bool,
    /// Longest log; the oldest messages go beyond it. RocketMQ has no such key.
    pub commit_log_bytes_max: Option<u64>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            file_reserved_time: Duration::from_secs(72 * 3_600),
            delete_when: vec![4],
            disk_max_used_space_ratio: 75,
            disk_space_clean_forcibly_ratio: 85,
            disk_space_warning_level_ratio: 90,
            clean_file_forcibly: true,
            commit_log_bytes_max: None,
        }
    }
}

/// The world as it is.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub now: Timestamp,
    /// Of the place where the broker is, 0 to 23.
    pub local_hour: u8,
    pub disk_used_bytes: u64,
    /// Used and still to be had.
    pub disk_total_bytes: u64,
    /// Where the log ends.
    pub log_end: CommitLogOffset,
    /// State records from here on must stay.
    pub replay_floor: CommitLogOffset,
    /// Not everything from here on is in queues and index yet.
    pub dispatched: CommitLogOffset,
}

/// A segment that is not written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSegment {
    pub base: CommitLogOffset,
    pub end: CommitLogOffset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Segments that end here or before go.
    pub delete_below: Option<CommitLogOffset>,
    /// The next one would go too, if a newer snapshot stood behind it.
    pub wants_snapshot: bool,
    pub refuse_messages: bool,
}

/// `segments` are the oldest first; `last_stored` reads the time of a segment's last record, which may be costly.
pub fn decide<E>(
    rules: &Retention,
    seen: &Seen,
    segments: &[ClosedSegment],
    mut last_stored: impl FnMut(&ClosedSegment) -> Result<Timestamp, E>,
) -> Result<Decision, E> {
    let used_beyond = |percent: u8| {
        // In 128 bits: a simulated disk may have 2^64 bytes.
        u128::from(seen.disk_used_bytes) * 100 >= u128::from(seen.disk_total_bytes) * u128::from(percent)
            && seen.disk_total_bytes > 0
    };
    let may_expire = rules.delete_when.contains(&seen.local_hour) || used_beyond(rules.disk_max_used_space_ratio);
    let forcibly_below = |percent: u8| (u128::from(seen.disk_total_bytes) * u128::from(percent) / 100) as u64;
    let mut must_free = match rules.clean_file_forcibly && used_beyond(rules.disk_space_clean_forcibly_ratio) {
        true => (seen.disk_used_bytes - forcibly_below(rules.disk_space_clean_forcibly_ratio)).max(1),
        false => 0,
    };
    let refuse_messages = used_beyond(rules.disk_space_warning_level_ratio);
    let mut decision = Decision { delete_below: None, wants_snapshot: false, refuse_messages };
    for segment in segments.iter().take(SEGMENTS_AT_ONCE_MAX) {
        let too_long = rules.commit_log_bytes_max.is_some_and(|max| seen.log_end.0 - segment.base.0 > max);
        let goes = must_free > 0
            || too_long
            || (may_expire && seen.now.since(last_stored(segment)?) >= rules.file_reserved_time);
        if !goes || segment.end > seen.dispatched {
            break;
        }
        if segment.end > seen.replay_floor {
            decision.wants_snapshot = true;
            break;
        }
        decision.delete_below = Some(segment.end);
        must_free = must_free.saturating_sub(segment.end.0 - segment.base.0);
    }
    Ok(decision)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const SEGMENT: u64 = 1_000;

    /// Ten segments, the first one's last record stored at hour 1, and so on; the eleventh is written.
    fn segments() -> Vec<ClosedSegment> {
        (0..10)
            .map(|n| ClosedSegment { base: CommitLogOffset(n * SEGMENT), end: CommitLogOffset((n + 1) * SEGMENT) })
            .collect()
    }

    fn stored(segment: &ClosedSegment) -> Result<Timestamp, ()> {
        Ok(Timestamp((segment.end.0 / SEGMENT) as i64 * HOUR_MS))
    }

    fn seen(hour: i64) -> Seen {
        Seen {
            now: Timestamp(hour * HOUR_MS),
            local_hour: 12,
            disk_used_bytes: 10_000,
            disk_total_bytes: 100_000,
            log_end: CommitLogOffset(10 * SEGMENT + 500),
            replay_floor: CommitLogOffset(u64::MAX),
            dispatched: CommitLogOffset(u64::MAX),
        }
    }

    fn deleted(rules: &Retention, seen: &Seen) -> Option<u64> {
        decide(rules, seen, &segments(), stored).unwrap().delete_below.map(|below| below.0)
    }

    #[test]
    fn what_is_old_enough_goes_in_its_hour() {
        let rules = Retention::default();
        assert_eq!(deleted(&rules, &seen(500)), None, "not at noon");
        let at_four = |hour| Seen { local_hour: 4, ..seen(hour) };
        assert_eq!(deleted(&rules, &at_four(72)), None);
        assert_eq!(deleted(&rules, &at_four(73)), Some(1_000));
        assert_eq!(deleted(&rules, &at_four(75)), Some(3_000));
        assert_eq!(deleted(&rules, &at_four(1_000)), Some(10_000), "ten at once, and there are no more");
        let other = Retention { delete_when: vec![2, 12], ..Retention::default() };
        assert_eq!(deleted(&other, &seen(73)), Some(1_000));
    }

    #[test]
    fn a_fuller_disk_does_more() {
        let rules = Retention::default();
        let used = |percent: u64, hour| Seen { disk_used_bytes: percent * 1_000, ..seen(hour) };
        assert_eq!(deleted(&rules, &used(74, 80)), None);
        assert_eq!(deleted(&rules, &used(75, 80)), Some(8_000), "what is old enough, at any hour");
        assert_eq!(deleted(&rules, &used(84, 10)), None);
        assert_eq!(deleted(&rules, &used(85, 10)), Some(1_000), "one at least, whatever its age");
        assert_eq!(deleted(&rules, &used(88, 10)), Some(3_000), "as much as brings it below the mark");
        let gentle = Retention { clean_file_forcibly: false, ..Retention::default() };
        assert_eq!(deleted(&gentle, &used(95, 10)), None);
        let refuses = |percent| decide(&rules, &used(percent, 10), &[], stored).unwrap().refuse_messages;
        assert_eq!((refuses(89), refuses(90)), (false, true));
        let unknown = Seen { disk_used_bytes: 0, disk_total_bytes: 0, ..seen(10) };
        assert!(!decide(&rules, &unknown, &segments(), stored).unwrap().refuse_messages);
    }

    #[test]
    fn a_log_is_no_longer_than_it_may_be() {
        let rules = |max| Retention { commit_log_bytes_max: Some(max), ..Retention::default() };
        assert_eq!(deleted(&rules(10_500), &seen(1)), None);
        assert_eq!(deleted(&rules(10_499), &seen(1)), Some(1_000));
        assert_eq!(deleted(&rules(0), &seen(1)), Some(10_000));
    }

    #[test]
    fn b7_nothing_goes_that_the_older_snapshot_needs() {
        let rules = Retention { commit_log_bytes_max: Some(0), ..Retention::default() };
        let bound = |at| Seen { replay_floor: CommitLogOffset(at), ..seen(1) };
        let decision = |at| decide(&rules, &bound(at), &segments(), stored).unwrap();
        assert_eq!((decision(0).delete_below, decision(0).wants_snapshot), (None, true));
        let until = decision(2_999);
        assert_eq!((until.delete_below, until.wants_snapshot), (Some(CommitLogOffset(2_000)), true));
        assert!(!decision(10_000).wants_snapshot);
    }

    #[test]
    fn nothing_goes_before_its_entries_are_made() {
        let rules = Retention { commit_log_bytes_max: Some(0), ..Retention::default() };
        let behind = Seen { dispatched: CommitLogOffset(3_999), ..seen(1) };
        assert_eq!(deleted(&rules, &behind), Some(3_000));
    }

    #[test]
    fn the_time_of_a_segment_is_read_only_when_it_matters() {
        let rules = Retention { commit_log_bytes_max: Some(0), ..Retention::default() };
        let dear = |_: &ClosedSegment| -> Result<Timestamp, ()> { Err(()) };
        assert!(decide(&rules, &seen(1), &segments(), dear).is_ok());
        assert!(decide(&Retention::default(), &seen(500), &segments(), dear).is_ok());
        assert!(decide(&Retention::default(), &Seen { local_hour: 4, ..seen(500) }, &segments(), dear).is_err());
    }
}
