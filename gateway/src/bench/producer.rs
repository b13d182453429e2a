//! One sending caller: takes a moment, sends what it is for, counts what became of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::client::Caller;
use super::outbox::Outbox;
use super::pace::Pace;
use super::plan::Shape;
use super::run::Run;
use super::stamp::Stamp;
use super::tally::{Tally, record};

/// After a failure the caller pauses: a server that refuses is not to be flooded with what it refuses.
pub const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// A message that leaves later than this after its moment is counted as late.
const LATE_NS: u64 = 1_000_000;

pub struct Producer {
    pub run: Arc<Run>,
    pub tally: Rc<RefCell<Tally>>,
    pub pace: Rc<Pace>,
    pub outbox: Outbox,
    pub caller: Caller,
    /// All messages of the run are given out.
    pub exhausted: Rc<AtomicBool>,
}

impl Producer {
    pub async fn produce(mut self) {
        if self.run.plan.parked.is_some() {
            // Polls are parked first, and rest.
            tokio::time::sleep(self.run.plan.warm_up).await;
        }
        while let Some(intended_ns) = self.pace.next().await {
            let Some((first, count)) = self.run.take(self.run.plan.batch) else {
                self.exhausted.store(true, Ordering::Relaxed);
                break;
            };
            if !self.send(intended_ns, first, count).await {
                break;
            }
        }
        self.run.producer_is_done();
    }

    /// Can more be sent?
    async fn send(&mut self, intended_ns: u64, first: u64, count: usize) -> bool {
        let run = &self.run;
        let call = self.outbox.fill(Stamp { run: run.id, number: first, intended_ns }, count);
        let left_ns = run.now_ns();
        let answer = self.caller.send(call, count).await;
        let now_ns = run.now_ns();
        let window = run.window();
        let mut tally = self.tally.borrow_mut();
        let in_window = window.contains(&intended_ns);
        if in_window && left_ns.saturating_sub(intended_ns) > LATE_NS {
            tally.late += count as u64;
        }
        let refused = match answer {
            Ok(refused) => refused,
            Err(failure) => {
                run.seen.errors.fetch_add(count as u64, Ordering::Relaxed);
                let is_final = failure.is_final;
                tally.fail(failure, count as u64);
                drop(tally);
                tokio::time::sleep(FAILURE_PAUSE).await;
                return !is_final;
            }
        };
        let confirmed = (count - refused.len()) as u64;
        if let Some(mut ledger) = run.ledger() {
            let is_refused = |at: usize| refused.iter().any(|(refused, _)| *refused == at);
            (0..count).filter(|at| !is_refused(*at)).for_each(|at| ledger.confirm(first + at as u64));
        }
        tally.sent += confirmed;
        // Where deliveries are what is counted, the call alone is.
        let counted = if run.plan.shape == Shape::Fanout { 0 } else { confirmed };
        tally.done(&window, now_ns, counted, counted * run.plan.size as u64);
        run.seen.messages.fetch_add(counted, Ordering::Relaxed);
        if in_window && confirmed > 0 {
            record(&mut tally.latency, intended_ns, now_ns);
        }
        let was_refused = !refused.is_empty();
        for (_, failure) in refused {
            run.seen.errors.fetch_add(1, Ordering::Relaxed);
            tally.fail(failure, 1);
        }
        drop(tally);
        if was_refused {
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
        true
    }
}
