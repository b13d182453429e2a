//! When each call is meant to leave.
//!
//! With a rate the load is open: moments follow from the rate alone, never from the answers, and a call that finds no
//! one free to make it waits with its moment unchanged. Without one it is closed: a call's moment is when it is made.
//!
//! The runtime's own timer has a grain of 1 ms, which would be most of what is measured; these moments are kept by the
//! kernel's timer.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;

use super::run::Run;

/// Calls whose moments are closer than this leave together: waking for each would be most of the work.
const GRAIN: Duration = Duration::from_micros(20);
/// A moment further away is looked at again on the way, so that an early end is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// The moments of one thread's calls, in nanoseconds since the run's start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    first_ns: f64,
    step_ns: f64,
}

impl Schedule {
    /// The share of thread `number` of `threads`: calls are dealt out in turn, beginning at `from_ns`.
    pub fn new(messages_per_second: f64, batch: usize, from_ns: u64, number: usize, threads: usize) -> Schedule {
        let call_ns = batch as f64 * 1e9 / messages_per_second;
        Schedule { first_ns: from_ns as f64 + call_ns * number as f64, step_ns: call_ns * threads as f64 }
    }

    pub fn intended_ns(self, call: u64) -> u64 {
        (self.first_ns + self.step_ns * call as f64) as u64
    }

    /// How many calls were to have left by now.
    pub fn due(self, now_ns: u64) -> u64 {
        let steps = (now_ns as f64 - self.first_ns) / self.step_ns;
        let mut due = if steps < 0.0 { 0 } else { steps as u64 + 1 };
        // Rounded as the moments themselves are.
        while due > 0 && self.intended_ns(due - 1) > now_ns {
            due -= 1;
        }
        while self.intended_ns(due) <= now_ns {
            due += 1;
        }
        due
    }
}

/// Hands out the moments of one thread.
pub struct Pace {
    run: Arc<Run>,
    schedule: Option<Schedule>,
    due: Semaphore,
    released: Cell<u64>,
    taken: Cell<u64>,
}

impl Pace {
    pub fn new(run: Arc<Run>, schedule: Option<Schedule>) -> Pace {
        Pace { run, schedule, due: Semaphore::new(0), released: Cell::new(0), taken: Cell::new(0) }
    }

    /// The moment of the next call, once it has come; `None` when the run is over.
    pub async fn next(&self) -> Option<u64> {
        let Some(schedule) = self.schedule else {
            let now = self.run.now_ns();
            return (now < self.run.end_ns()).then_some(now);
        };
        self.due.acquire().await.ok()?.forget();
        let call = self.taken.get();
        self.taken.set(call + 1);
        Some(schedule.intended_ns(call))
    }

    /// Releases each call at its moment, until the end.
    pub async fn keep(&self) -> io::Result<()> {
        let Some(schedule) = self.schedule else { return Ok(()) };
        let alarm = Alarm::new()?;
        loop {
            let now = self.run.now_ns();
            let end = self.run.end_ns();
            let due = schedule.due(now.min(end.saturating_sub(1)));
            self.due.add_permits((due - self.released.get()) as usize);
            self.released.set(due);
            if now >= end {
                self.due.close();
                return Ok(());
            }
            let next = schedule.intended_ns(due).min(end).saturating_sub(now);
            alarm.sleep(Duration::from_nanos(next).clamp(GRAIN, SLEEP_MAX)).await?;
        }
    }

    /// Calls whose moment has passed and that nobody was free to make.
    pub fn unsent(&self) -> u64 {
        self.released.get() - self.taken.get()
    }
}

/// The kernel's timer, which is read like a pipe: the runtime takes the descriptor as one, checking nothing.
pub struct Alarm(Receiver);

impl Alarm {
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Alarm(Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Whoever gives up on it may sleep anew.
    pub async fn sleep(&self, time: Duration) -> io::Result<()> {
        let value = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(self.0.as_fd(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_from_the_rate_alone() {
        let schedule = Schedule::new(10_000.0, 1, 0, 0, 1);
        assert_eq!([0, 1, 2, 10_000].map(|call| schedule.intended_ns(call)), [0, 100_000, 200_000, 1_000_000_000]);
        // A batch leaves as often as its messages together would.
        assert_eq!(Schedule::new(32_000.0, 32, 0, 0, 1).intended_ns(1_000), 1_000_000_000);
        assert_eq!(Schedule::new(1.0, 1, 7, 0, 1).intended_ns(1), 1_000_000_007);
    }

    #[test]
    fn threads_share_one_schedule() {
        let whole = Schedule::new(3_000.0, 1, 500, 0, 1);
        let threads: Vec<_> = (0..3).map(|number| Schedule::new(3_000.0, 1, 500, number, 3)).collect();
        for call in 0..3_000u64 {
            let theirs = threads[(call % 3) as usize].intended_ns(call / 3);
            assert!(theirs.abs_diff(whole.intended_ns(call)) <= 1, "call {call}");
        }
    }

    #[test]
    fn a_call_is_due_at_its_moment_and_not_before() {
        for (rate, from) in [(10_000.0, 0), (7.0, 3), (333_333.3, 1_000_000), (1e6, 0)] {
            let schedule = Schedule::new(rate, 1, from, 0, 1);
            for call in [0, 1, 2, 3, 1_000, 999_999] {
                let moment = schedule.intended_ns(call);
                assert_eq!(schedule.due(moment), call + 1, "{rate} {call}");
                if moment > 0 {
                    assert_eq!(schedule.due(moment - 1), call, "{rate} {call}");
                }
            }
        }
    }

    #[test]
    fn days_of_work_lose_no_moment() {
        let schedule = Schedule::new(1e6, 1, 0, 0, 1);
        let call = 3 * 24 * 3_600 * 1_000_000u64;
        assert_eq!(schedule.intended_ns(call), call * 1_000);
    }
}
