//! A line that says how it goes, once a second, to somebody who watches; to a file or a pipe nothing.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;

use super::plan::Plan;
use super::run::Seen;
use crate::numbers::grouped;

const INTERVAL_NS: u64 = 1_000_000_000;

pub struct Progress {
    is_watched: bool,
    warm_up_ns: u64,
    shown_at_ns: u64,
    shown_messages: u64,
}

impl Progress {
    pub fn new(plan: &Plan) -> Progress {
        let is_watched = std::io::stderr().is_terminal();
        Progress { is_watched, warm_up_ns: plan.warm_up.as_nanos() as u64, shown_at_ns: 0, shown_messages: 0 }
    }

    pub fn show(&mut self, now_ns: u64, seen: &Seen) {
        let since = now_ns.saturating_sub(self.shown_at_ns);
        if !self.is_watched || since < INTERVAL_NS {
            return;
        }
        let (messages, errors) = (seen.messages.load(Ordering::Relaxed), seen.errors.load(Ordering::Relaxed));
        let rate = (messages - self.shown_messages) as f64 * 1e9 / since as f64;
        let phase = if now_ns < self.warm_up_ns { "warming up" } else { "measuring" };
        let seconds = now_ns as f64 / 1e9;
        let (rate, errors) = (grouped(rate), grouped(errors as f64));
        // A terminal that is gone is no reason to stop.
        let _ = write!(std::io::stderr(), "\r\x1b[K{seconds:5.0} s  {phase}  {rate} messages/s  {errors} errors");
        (self.shown_at_ns, self.shown_messages) = (now_ns, messages);
    }

    /// Leaves the line to whatever comes next.
    pub fn end(&self) {
        if self.is_watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
