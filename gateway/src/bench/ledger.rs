//! Which messages were confirmed and which were delivered: what is missing, what came twice.

/// A bit for each message of a run; grows with the highest number.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Was it unset before?
    fn set(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let was_unset = self.0[word] & bit == 0;
        self.0[word] |= bit;
        was_unset
    }

    fn has(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}

/// Of one run. A message counts as missing only if the server has confirmed it: whatever became of a send without an
/// answer, it may or may not be delivered.
#[derive(Debug)]
pub struct Ledger {
    confirmed: Bits,
    confirmed_count: u64,
    /// By group.
    delivered: Vec<Bits>,
    /// Confirmed messages that a group has, over all groups.
    matched: u64,
    duplicates: u64,
}

impl Ledger {
    pub fn new(groups: usize) -> Ledger {
        let delivered = (0..groups).map(|_| Bits::default()).collect();
        Ledger { confirmed: Bits::default(), confirmed_count: 0, delivered, matched: 0, duplicates: 0 }
    }

    pub fn confirm(&mut self, number: u64) {
        assert!(self.confirmed.set(number), "each number is sent once");
        self.confirmed_count += 1;
        // A consumer may be faster than the producer's answer.
        self.matched += self.delivered.iter().filter(|delivered| delivered.has(number)).count() as u64;
    }

    /// Is it the first time?
    pub fn deliver(&mut self, group: usize, number: u64) -> bool {
        let is_first = self.delivered[group].set(number);
        if !is_first {
            self.duplicates += 1;
        } else if self.confirmed.has(number) {
            self.matched += 1;
        }
        is_first
    }

    pub fn missing(&self) -> u64 {
        self.confirmed_count * self.delivered.len() as u64 - self.matched
    }

    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_delivered_is_not_missing_in_whatever_order() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.missing(), 0);
        ledger.confirm(0);
        assert!(ledger.deliver(0, 0) && ledger.deliver(1, 0));
        assert!(ledger.deliver(1, 1) && ledger.deliver(0, 1), "before its confirmation");
        ledger.confirm(1);
        assert_eq!((ledger.missing(), ledger.duplicates()), (0, 0));
    }

    #[test]
    fn a_planted_loss_is_found_for_each_group() {
        let mut ledger = Ledger::new(2);
        (0..1_000).for_each(|number| ledger.confirm(number));
        for number in (0..1_000).filter(|number| *number != 377) {
            ledger.deliver(0, number);
            ledger.deliver(1, number);
        }
        assert_eq!(ledger.missing(), 2);
        ledger.deliver(1, 377);
        assert_eq!((ledger.missing(), ledger.duplicates()), (1, 0));
    }

    #[test]
    fn a_planted_duplicate_is_found_and_hides_no_loss() {
        let mut ledger = Ledger::new(1);
        ledger.confirm(5);
        ledger.confirm(6);
        assert!(ledger.deliver(0, 5));
        assert!(!ledger.deliver(0, 5));
        assert_eq!((ledger.missing(), ledger.duplicates()), (1, 1));
    }

    #[test]
    fn what_was_never_confirmed_may_come_or_not() {
        let mut ledger = Ledger::new(1);
        assert!(ledger.deliver(0, 9));
        assert_eq!((ledger.missing(), ledger.duplicates()), (0, 0));
    }
}
