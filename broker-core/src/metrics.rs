//! The broker's counts, kept where the work is done: beside the topic, the cells, the log. Counting takes no lock that
//! is not held anyway and hashes no name; who reads puts names to them. Exposing them is the front ends' matter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::broker::{TransactionResolution, TransactionStats};
use crate::clock::Timestamp;

/// What went through one topic since the broker started. Figures of one message may be read before all of them are in.
#[derive(Debug)]
pub struct Traffic {
    /// Bytes of bodies.
    pub sizes: Histogram<6>,
    pub transactions: Transactions,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    in_rate: PerSecond,
    out_rate: PerSecond,
}

/// Upper bounds of message sizes, in bytes: RocketMQ's.
pub const MESSAGE_BYTES_BOUNDS: [u64; 6] = [1 << 10, 4 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];
/// Upper bounds of the time from a half message to its decision, in seconds: RocketMQ's.
pub const DECISION_SECONDS_BOUNDS: [u64; 6] = [5, 60, 600, 3_600, 43_200, 86_400];
/// Upper bounds of the time a sync takes, in microseconds.
pub const SYNC_MICROS_BOUNDS: [u64; 10] =
    [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000];

/// How many values lie up to each bound; the last count is of those beyond all.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

/// `Histogram` as it was read at one time: bounds with the number of values in their bucket alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistogramStats {
    pub buckets: Vec<(u64, u64)>,
    pub beyond: u64,
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    pub fn new(bounds: &'static [u64; N]) -> Histogram<N> {
        let counts = [const { AtomicU64::new(0) }; N];
        Histogram { bounds, counts, beyond: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(at).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn stats(&self) -> HistogramStats {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        HistogramStats {
            buckets: self.bounds.iter().copied().zip(counts).collect(),
            beyond: self.beyond.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// `Traffic` as it was read at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrafficStats {
    /// Stored.
    pub messages_in: u64,
    /// Handed out on leases, repeated deliveries included.
    pub messages_out: u64,
    /// Of their records.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Over the last `RATE_SECONDS` whole seconds.
    pub messages_in_per_second: f64,
    pub messages_out_per_second: f64,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            sizes: Histogram::new(&MESSAGE_BYTES_BOUNDS),
            transactions: Transactions::default(),
            messages_in: AtomicU64::default(),
            messages_out: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            in_rate: PerSecond::default(),
            out_rate: PerSecond::default(),
        }
    }
}

impl Traffic {
    /// So many messages were stored, all at `now`.
    pub fn came_in(&self, messages: u64, bytes: u64, now: Timestamp) {
        self.messages_in.fetch_add(messages, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.in_rate.add(messages, now);
    }

    /// So many messages were handed out.
    pub fn went_out(&self, messages: u64, bytes: u64, now: Timestamp) {
        self.messages_out.fetch_add(messages, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        self.out_rate.add(messages, now);
    }

    pub fn stats(&self, now: Timestamp) -> TrafficStats {
        TrafficStats {
            messages_in: self.messages_in.load(Ordering::Relaxed),
            messages_out: self.messages_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            messages_in_per_second: self.in_rate.rate(now),
            messages_out_per_second: self.out_rate.rate(now),
        }
    }

    /// Takes over the totals of a topic that is deleted; its rates end with it.
    pub fn absorb(&self, gone: &Traffic) {
        for (mine, theirs) in [
            (&self.messages_in, &gone.messages_in),
            (&self.messages_out, &gone.messages_out),
            (&self.bytes_in, &gone.bytes_in),
            (&self.bytes_out, &gone.bytes_out),
        ] {
            mine.fetch_add(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Decisions about the half messages of one topic since the broker started.
#[derive(Debug)]
pub struct Transactions {
    committed: AtomicU64,
    rolled_back: AtomicU64,
    seconds: Histogram<6>,
}

impl Default for Transactions {
    fn default() -> Transactions {
        let (committed, rolled_back) = Default::default();
        Transactions { committed, rolled_back, seconds: Histogram::new(&DECISION_SECONDS_BOUNDS) }
    }
}

impl Transactions {
    /// So long after its half message was stored.
    pub fn decided(&self, resolution: TransactionResolution, after: Duration) {
        let count = match resolution {
            TransactionResolution::Commit => &self.committed,
            TransactionResolution::Rollback => &self.rolled_back,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.seconds.record(after.as_secs());
    }

    /// How many are open these counts do not know.
    pub fn stats(&self) -> TransactionStats {
        TransactionStats {
            open: 0,
            committed: self.committed.load(Ordering::Relaxed),
            rolled_back: self.rolled_back.load(Ordering::Relaxed),
            seconds: self.seconds.stats(),
        }
    }
}

impl std::iter::Sum for TrafficStats {
    fn sum<I: Iterator<Item = TrafficStats>>(all: I) -> TrafficStats {
        all.fold(TrafficStats::default(), |sum, each| TrafficStats {
            messages_in: sum.messages_in + each.messages_in,
            messages_out: sum.messages_out + each.messages_out,
            bytes_in: sum.bytes_in + each.bytes_in,
            bytes_out: sum.bytes_out + each.bytes_out,
            messages_in_per_second: sum.messages_in_per_second + each.messages_in_per_second,
            messages_out_per_second: sum.messages_out_per_second + each.messages_out_per_second,
        })
    }
}

/// A rate is taken over so many whole seconds: the running one is not among them.
pub const RATE_SECONDS: u64 = 10;
/// The running second, those of the rate, and room for readers whose clock was read a little later.
const SLOTS: u64 = 16;
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Events of the last seconds, a slot for each second. | 24 bits which turn of the ring | 40 bits how many |
///
/// No thread turns it: who counts in a new second takes the slot over. A count that meets a turn-over may land in the
/// second after; none is lost.
#[derive(Debug, Default)]
struct PerSecond([AtomicU64; SLOTS as usize]);

impl PerSecond {
    fn add(&self, count: u64, now: Timestamp) {
        let (slot, turn) = self.slot(second(now));
        let mut seen = slot.load(Ordering::Relaxed);
        while seen & !COUNT_MASK != turn {
            match slot.compare_exchange_weak(seen, turn | count, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
        slot.fetch_add(count, Ordering::Relaxed);
    }

    fn rate(&self, now: Timestamp) -> f64 {
        let now = second(now);
        let counted = (now.saturating_sub(RATE_SECONDS)..now).map(|second| {
            let (slot, turn) = self.slot(second);
            let seen = slot.load(Ordering::Relaxed);
            if seen & !COUNT_MASK == turn { seen & COUNT_MASK } else { 0 }
        });
        counted.sum::<u64>() as f64 / RATE_SECONDS as f64
    }

    /// The slot of a second, and the mark it bears then. Never 0 for a time that happens, which is what an unused slot has.
    fn slot(&self, second: u64) -> (&AtomicU64, u64) {
        (&self.0[(second % SLOTS) as usize], (second / SLOTS) << COUNT_BITS)
    }
}

fn second(now: Timestamp) -> u64 {
    u64::try_from(now.0 / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp(1_700_000_000_000 + second * 1_000)
    }

    #[test]
    fn a_rate_is_over_ten_whole_seconds() {
        let rate = PerSecond::default();
        assert_eq!(rate.rate(at(0)), 0.0);
        rate.add(30, at(0));
        rate.add(20, at(0));
        assert_eq!(rate.rate(at(0)), 0.0, "the running second does not count yet");
        assert_eq!(rate.rate(at(1)), 5.0);
        rate.add(10, at(9));
        assert_eq!(rate.rate(at(10)), 6.0);
        assert_eq!(rate.rate(at(11)), 1.0, "what is older is over");
        rate.add(1, at(16));
        assert_eq!(rate.rate(at(17)), 1.1, "a slot is taken over by a later second");
        assert_eq!(rate.rate(at(1_000)), 0.0);
    }

    #[test]
    fn a_value_counts_where_its_bound_is() {
        static BOUNDS: [u64; 2] = [10, 20];
        let histogram = Histogram::new(&BOUNDS);
        [0, 10, 11, 20, 21].into_iter().for_each(|value| histogram.record(value));
        let stats = HistogramStats { buckets: vec![(10, 2), (20, 2)], beyond: 1, sum: 62 };
        assert_eq!(histogram.stats(), stats);
    }

    #[test]
    fn counting_from_many_threads_loses_nothing() {
        let rate = PerSecond::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| rate.add(1, at(3))));
            }
        });
        assert_eq!(rate.rate(at(4)), 4_000.0);
    }

    #[test]
    fn totals_outlive_their_topic() {
        let (gone, traffic) = (Traffic::default(), Traffic::default());
        gone.came_in(3, 300, at(0));
        gone.went_out(2, 200, at(0));
        traffic.absorb(&gone);
        let stats = traffic.stats(at(1));
        assert_eq!((stats.messages_in, stats.messages_out, stats.bytes_in, stats.bytes_out), (3, 2, 300, 200));
        assert_eq!(stats.messages_in_per_second, 0.0);
        let both: TrafficStats = [gone.stats(at(1)), stats].into_iter().sum();
        assert_eq!((both.messages_in, both.messages_in_per_second), (6, 0.3));
    }
}
