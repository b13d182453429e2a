//! Time enters the broker here and nowhere else, so that tests and replicas can bring their own.
//!
//! `Clock` reads the machine; `EffectiveTime` turns it into the one time the broker decides by: it advances with the
//! boot-time clock (suspends count), never runs backwards, and is drawn slowly towards the wall when the two differ.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// Saturating: a deadline beyond the end of time is the end of time.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to `self`, zero when `earlier` is the later one.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two clocks of a machine.
pub trait Clock: Send + Sync + 'static {
    /// What the wall says; may be stepped by an operator.
    fn wall(&self) -> Timestamp;
    /// Time since boot, suspends included; only ever grows.
    fn since_boot(&self) -> Duration;
    /// The hour of the day where the clock hangs, 0 to 23. A clock that hangs nowhere shows UTC.
    fn local_hour(&self, at: Timestamp) -> u8 {
        u8::try_from(at.0.div_euclid(3_600_000).rem_euclid(24)).expect("less than 24")
    }
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timestamp(now.tv_sec * 1_000 + now.tv_nsec / 1_000_000)
    }

    fn since_boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn local_hour(&self, at: Timestamp) -> u8 {
        let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        time.to_zoned(jiff::tz::TimeZone::system()).hour().unsigned_abs()
    }
}

/// The wall may differ this much before effective time is drawn towards it.
const SLEW_BEYOND_MS: i64 = 5_000;

/// Effective time: what `storeTimestamp`, deadlines and every decision are made of.
///
/// Invariant: never runs backwards, in this process or across restarts: it starts at or above the last record's
/// `storeTimestamp`, which makes the log itself the persisted high-water mark.
pub struct EffectiveTime {
    clock: Box<dyn Clock>,
    anchor: Mutex<Anchor>,
}

#[derive(Clone, Copy)]
struct Anchor {
    effective_ms: i64,
    since_boot: Duration,
    /// Time that passed while effective time was drawn to the wall, too short to be halved: 0 or 1.
    unhalved_ms: i64,
}

impl EffectiveTime {
    /// `last_stored` is the `storeTimestamp` of the log's last record.
    pub fn start(clock: Box<dyn Clock>, last_stored: Timestamp) -> EffectiveTime {
        let effective_ms = clock.wall().0.max(last_stored.0);
        let anchor = Anchor { effective_ms, since_boot: clock.since_boot(), unhalved_ms: 0 };
        EffectiveTime { clock, anchor: Mutex::new(anchor) }
    }

    /// The hour of the day here, 0 to 23.
    pub fn local_hour(&self, at: Timestamp) -> u8 {
        self.clock.local_hour(at)
    }

    pub fn now(&self) -> Timestamp {
        let mut anchor = self.anchor.lock().expect("no code panics while holding it");
        let since_boot = self.clock.since_boot().max(anchor.since_boot);
        let elapsed_ms = i64::try_from((since_boot - anchor.since_boot).as_millis()).unwrap_or(i64::MAX);
        if elapsed_ms == 0 {
            return Timestamp(anchor.effective_ms);
        }
        let behind_ms = self.clock.wall().0 - (anchor.effective_ms + elapsed_ms);
        // 0.5x to 1.5x of the elapsed time, and never past the wall itself.
        let is_slewed = behind_ms.abs() > SLEW_BEYOND_MS;
        let slewed_ms = if is_slewed { elapsed_ms + anchor.unhalved_ms } else { 0 };
        let slew_ms = behind_ms.signum() * (slewed_ms / 2).min(behind_ms.abs());
        // Advance by whole milliseconds only: the rest stays in the anchor, so reading often does not lose time.
        *anchor = Anchor {
            effective_ms: anchor.effective_ms + elapsed_ms + slew_ms,
            since_boot: anchor.since_boot + Duration::from_millis(elapsed_ms.unsigned_abs()),
            unhalved_ms: slewed_ms % 2,
        };
        Timestamp(anchor.effective_ms)
    }
}

/// How long something takes, for figures that decide nothing.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Clone, Default)]
    struct Hands {
        wall: Arc<AtomicI64>,
        boot: Arc<AtomicI64>,
    }

    impl Clock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp(self.wall.load(Ordering::Relaxed))
        }
        fn since_boot(&self) -> Duration {
            Duration::from_millis(self.boot.load(Ordering::Relaxed).unsigned_abs())
        }
    }

    #[test]
    fn l11_a_step_of_the_wall_is_slewed_and_time_never_runs_back() {
        let hands = Hands::default();
        hands.wall.store(1_000_000, Ordering::Relaxed);
        let time = EffectiveTime::start(Box::new(hands.clone()), Timestamp(0));
        assert_eq!(time.now(), Timestamp(1_000_000));
        hands.boot.store(100, Ordering::Relaxed);
        hands.wall.store(100, Ordering::Relaxed); // stepped far back
        assert_eq!(time.now(), Timestamp(1_000_050));
        hands.boot.store(200, Ordering::Relaxed);
        hands.wall.store(9_000_000, Ordering::Relaxed); // and far ahead
        assert_eq!(time.now(), Timestamp(1_000_200));
    }

    #[test]
    fn l11_time_is_drawn_to_the_wall_however_often_it_is_read() {
        for step in [3_600_000, -3_600_000] {
            let hands = Hands::default();
            let time = EffectiveTime::start(Box::new(hands.clone()), Timestamp(0));
            hands.wall.store(step, Ordering::Relaxed);
            for _ in 0..1_000 {
                hands.boot.fetch_add(1, Ordering::Relaxed);
                hands.wall.fetch_add(1, Ordering::Relaxed);
                time.now();
            }
            assert_eq!(time.now(), Timestamp(1_000 + 500 * step.signum()));
        }
    }

    #[test]
    fn an_hour_is_one_of_a_day() {
        let hands = Hands::default();
        let hours = [-1, 0, 3_599_999, 3_600_000, 90_000_000].map(|ms| hands.local_hour(Timestamp(ms)));
        assert_eq!(hours, [23, 0, 0, 1, 1]);
        assert!(SystemClock.local_hour(SystemClock.wall()) < 24);
    }

    #[test]
    fn it_starts_no_earlier_than_the_last_record() {
        let time = EffectiveTime::start(Box::new(Hands::default()), Timestamp(77));
        assert_eq!(time.now(), Timestamp(77));
    }
}
