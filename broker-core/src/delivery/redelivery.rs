//! Wakes parked receives when leases run out. One thread sleeps until the earliest deadline that anybody armed.
//!
//! A lease that runs out is no event in the log: the next pop sees that its deadline has passed. This thread exists
//! only so that a receive that is parked already gets to look.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::clock::Timestamp;

/// A consumer group and a topic, by id.
pub type Pair = (u32, u32);

#[derive(Default)]
pub struct Redelivery {
    armed: Mutex<Armed>,
    changed: Condvar,
}

#[derive(Default)]
struct Armed {
    /// At most two entries a pair: a later deadline than the armed one is found when that one fires.
    heap: BinaryHeap<Reverse<(Timestamp, Pair)>>,
    earliest: HashMap<Pair, Timestamp>,
    closed: bool,
}

impl Redelivery {
    /// A lease of this pair runs out at `deadline`.
    pub fn arm(&self, pair: Pair, deadline: Timestamp) {
        let mut armed = self.armed.lock().expect("no code panics while holding it");
        if armed.earliest.get(&pair).is_some_and(|earliest| *earliest <= deadline) {
            return;
        }
        armed.earliest.insert(pair, deadline);
        let first = armed.heap.peek().is_none_or(|Reverse((earliest, _))| deadline < *earliest);
        armed.heap.push(Reverse((deadline, pair)));
        drop(armed);
        if first {
            self.changed.notify_one();
        }
    }

    /// The next pair with a lease that ran out; sleeps until there is one. `None` after `close`.
    pub fn next(&self, now: impl Fn() -> Timestamp) -> Option<Pair> {
        let mut armed = self.armed.lock().expect("no code panics while holding it");
        loop {
            if armed.closed {
                return None;
            }
            let Some(Reverse((deadline, pair))) = armed.heap.peek().copied() else {
                armed = self.changed.wait(armed).expect("no code panics while holding it");
                continue;
            };
            let now = now();
            if deadline > now {
                // Effective time may run slower than the machine's: look again, an hour later at most.
                let sleep = deadline.since(now).min(Duration::from_secs(3_600));
                armed = self.changed.wait_timeout(armed, sleep).expect("no code panics while holding it").0;
                continue;
            }
            armed.heap.pop();
            if armed.earliest.get(&pair) == Some(&deadline) {
                armed.earliest.remove(&pair);
                return Some(pair);
            }
        }
    }

    pub fn close(&self) {
        self.armed.lock().expect("no code panics while holding it").closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_fire_in_the_order_of_their_earliest_deadlines() {
        let redelivery = Redelivery::default();
        redelivery.arm((1, 1), Timestamp(30));
        redelivery.arm((2, 2), Timestamp(20));
        redelivery.arm((1, 1), Timestamp(40)); // later than armed: found when 30 fires
        redelivery.arm((1, 1), Timestamp(10)); // earlier: the one at 30 is void now
        let now = || Timestamp(100);
        assert_eq!(redelivery.next(now), Some((1, 1)));
        assert_eq!(redelivery.next(now), Some((2, 2)));
        redelivery.close();
        assert_eq!(redelivery.next(now), None);
    }
}
