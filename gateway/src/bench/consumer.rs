//! One receiving caller: takes what is there or waits for it, compares it with what was sent, acknowledges it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client::{Caller, Delivery, Failure, Receive};
use super::plan::{Ack, Plan, Shape};
use super::producer::FAILURE_PAUSE;
use super::run::Run;
use super::tally::{Tally, record};

pub struct Consumer {
    pub run: Arc<Run>,
    pub tally: Rc<RefCell<Tally>>,
    pub caller: Caller,
    pub receive: Receive,
    pub group: usize,
}

/// One group has the name it was given; several are numbered.
pub fn group_name(plan: &Plan, group: usize) -> String {
    if plan.groups == 1 { plan.group.clone() } else { format!("{}-{group}", plan.group) }
}

impl Consumer {
    pub async fn consume(mut self) {
        let run = self.run.clone();
        let mut ended = run.ended();
        let is_receive = run.plan.shape == Shape::Receive;
        loop {
            let asked_ns = run.now_ns();
            // What is compared is taken to the last message; else the time decides.
            if is_receive && asked_ns >= run.end_ns() && run.plan.prefill == 0 {
                return;
            }
            let answer = tokio::select! {
                biased;
                answer = self.caller.receive(&self.receive) => answer,
                _ = ended.wait_for(|ended| *ended) => return,
            };
            match answer {
                Ok(deliveries) if deliveries.is_empty() => {
                    // Drained.
                    if is_receive && run.plan.prefill == 0 {
                        return;
                    }
                }
                Ok(deliveries) => {
                    let was_ours = self.take(asked_ns, &deliveries);
                    if !self.ack(&deliveries).await || run.plan.parked.is_some() && was_ours {
                        return;
                    }
                }
                Err(failure) => {
                    if !self.fail(failure, 1).await {
                        return;
                    }
                }
            }
        }
    }

    /// Counts what has arrived. Was one of them sent by this run?
    fn take(&self, asked_ns: u64, deliveries: &[Delivery]) -> bool {
        let (run, now_ns, window) = (&self.run, self.run.now_ns(), self.run.window());
        let mut tally = self.tally.borrow_mut();
        let mut ours = 0;
        {
            let mut ledger = run.ledger();
            for stamp in deliveries.iter().filter_map(|delivery| delivery.stamp) {
                if stamp.run != run.id || !run.has_given(stamp.number) {
                    continue;
                }
                ours += 1;
                let is_first = ledger.as_mut().is_none_or(|ledger| ledger.deliver(self.group, stamp.number));
                if !is_first || !window.contains(&stamp.intended_ns) {
                    continue;
                }
                match run.plan.shape {
                    Shape::Send | Shape::Receive => {}
                    Shape::Fanout if run.plan.parked.is_some() => record(&mut tally.wake, stamp.intended_ns, now_ns),
                    Shape::Mixed | Shape::Fanout => record(&mut tally.end_to_end, stamp.intended_ns, now_ns),
                }
            }
        }
        tally.received += deliveries.len() as u64;
        tally.foreign += deliveries.len() as u64 - ours;
        run.seen.deliveries.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
        match run.plan.shape {
            Shape::Fanout => {
                tally.done(&window, now_ns, ours, ours * run.plan.size as u64);
                run.seen.messages.fetch_add(ours, Ordering::Relaxed);
            }
            Shape::Receive => {
                let counts = if run.plan.ack == Ack::None { deliveries } else { &[] };
                self.count(&mut tally, now_ns, counts);
                if window.contains(&asked_ns) {
                    record(&mut tally.latency, asked_ns, now_ns);
                }
            }
            Shape::Send | Shape::Mixed => tally.done(&window, now_ns, 0, 0),
        }
        ours > 0
    }

    /// In `receive`, messages are done when they are acknowledged.
    fn count(&self, tally: &mut Tally, now_ns: u64, deliveries: &[Delivery]) {
        let bytes = deliveries.iter().map(|delivery| delivery.body_bytes as u64).sum();
        tally.done(&self.run.window(), now_ns, deliveries.len() as u64, bytes);
        self.run.seen.messages.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
    }

    /// Can more be asked on this connection?
    async fn ack(&mut self, deliveries: &[Delivery]) -> bool {
        let size = match self.run.plan.ack {
            Ack::Batch => deliveries.len(),
            Ack::Each => 1,
            Ack::None => return true,
        };
        for list in deliveries.chunks(size) {
            let refused = match self.caller.ack(&self.receive, list).await {
                Ok(refused) => refused,
                Err(failure) => {
                    if !self.fail(failure, list.len() as u64).await {
                        return false;
                    }
                    continue;
                }
            };
            let mut tally = self.tally.borrow_mut();
            let now_ns = self.run.now_ns();
            if self.run.plan.shape == Shape::Receive {
                let is_refused = |at: usize| refused.iter().any(|(refused, _)| *refused == at);
                let acked: Vec<Delivery> = match refused.is_empty() {
                    true => Vec::new(),
                    false => {
                        let kept = list.iter().enumerate().filter(|(at, _)| !is_refused(*at));
                        kept.map(|(_, delivery)| delivery.clone()).collect()
                    }
                };
                self.count(&mut tally, now_ns, if refused.is_empty() { list } else { &acked });
            } else {
                tally.done(&self.run.window(), now_ns, 0, 0);
            }
            for (_, failure) in refused {
                self.run.seen.errors.fetch_add(1, Ordering::Relaxed);
                tally.fail(failure, 1);
            }
        }
        true
    }

    async fn fail(&self, failure: Failure, count: u64) -> bool {
        let is_final = failure.is_final;
        self.run.seen.errors.fetch_add(count, Ordering::Relaxed);
        self.tally.borrow_mut().fail(failure, count);
        tokio::time::sleep(FAILURE_PAUSE).await;
        !is_final
    }
}
