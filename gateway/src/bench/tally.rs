//! What one thread has counted; the threads' tallies are added up at the end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::Histogram;

use super::client::Failure;

/// Longest time told apart: an hour.
const TIME_NS_MAX: u64 = 3_600 * 1_000_000_000;
/// Three digits hold whatever the size.
const DIGITS: u8 = 3;

pub struct Tally {
    /// Of nanoseconds, as all three.
    pub latency: Histogram<u64>,
    pub end_to_end: Histogram<u64>,
    pub wake: Histogram<u64>,
    pub messages: u64,
    pub bytes: u64,
    pub calls: u64,
    pub late: u64,
    /// Over the whole run.
    pub sent: u64,
    pub received: u64,
    /// Of those, what this run has not sent.
    pub foreign: u64,
    pub errors: BTreeMap<Cow<'static, str>, u64>,
    pub first_failure: Option<Failure>,
    /// The last success.
    pub last_done_ns: u64,
}

impl Default for Tally {
    fn default() -> Tally {
        let times = || Histogram::new_with_bounds(1, TIME_NS_MAX, DIGITS).expect("bounds that are allowed");
        Tally {
            latency: times(),
            end_to_end: times(),
            wake: times(),
            messages: 0,
            bytes: 0,
            calls: 0,
            late: 0,
            sent: 0,
            received: 0,
            foreign: 0,
            errors: BTreeMap::new(),
            first_failure: None,
            last_done_ns: 0,
        }
    }
}

impl Tally {
    /// A call succeeded, and with it so many messages were done.
    pub fn done(&mut self, window: &Range<u64>, now_ns: u64, messages: u64, bytes: u64) {
        self.last_done_ns = self.last_done_ns.max(now_ns);
        if window.contains(&now_ns) {
            self.calls += 1;
            self.messages += messages;
            self.bytes += bytes;
        }
    }

    /// So many messages, or one receiving call, have failed.
    pub fn fail(&mut self, failure: Failure, count: u64) {
        *self.errors.entry(failure.code.clone()).or_default() += count;
        self.first_failure.get_or_insert(failure);
    }

    pub fn add(&mut self, other: Tally) {
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.end_to_end, &other.end_to_end),
            (&mut self.wake, &other.wake),
        ] {
            mine.add(theirs).expect("all have the same bounds");
        }
        for (mine, theirs) in [
            (&mut self.messages, other.messages),
            (&mut self.bytes, other.bytes),
            (&mut self.calls, other.calls),
            (&mut self.late, other.late),
            (&mut self.sent, other.sent),
            (&mut self.received, other.received),
            (&mut self.foreign, other.foreign),
        ] {
            *mine += theirs;
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.last_done_ns = self.last_done_ns.max(other.last_done_ns);
    }
}

/// A time of the window, however long it was.
pub fn record(times: &mut Histogram<u64>, from_ns: u64, to_ns: u64) {
    times.saturating_record(to_ns.saturating_sub(from_ns));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_and_failures_are_no_successes() {
        let window = 100..200;
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.done(&window, 99, 32, 32_000);
        one.done(&window, 100, 32, 32_000);
        other.done(&window, 199, 1, 10);
        other.done(&window, 200, 1, 10);
        other.fail(Failure::answer("TOPIC_NOT_FOUND", "no topic"), 32);
        other.fail(Failure::answer("timeout", "slow"), 1);
        record(&mut other.latency, 50, 1_050);
        one.add(other);
        assert_eq!((one.calls, one.messages, one.bytes, one.last_done_ns), (2, 33, 32_010, 200));
        assert_eq!((one.errors["TOPIC_NOT_FOUND"], one.errors["timeout"]), (32, 1));
        assert_eq!(one.first_failure.unwrap().code, "TOPIC_NOT_FOUND");
        assert_eq!((one.latency.len(), one.latency.max()), (1, 1_000));
    }

    #[test]
    fn a_time_beyond_all_bounds_counts_as_the_longest() {
        let mut tally = Tally::default();
        record(&mut tally.latency, 0, u64::MAX);
        record(&mut tally.latency, 5, 0);
        assert_eq!(tally.latency.len(), 2);
        assert!(tally.latency.max() >= TIME_NS_MAX);
    }
}
