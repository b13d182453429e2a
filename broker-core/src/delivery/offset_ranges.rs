//! A set of offsets that mostly lie side by side: kept as ranges, it takes memory by gaps and not by offsets.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetRanges {
    /// First offset of each range, and the one behind its last. No two touch.
    ranges: BTreeMap<u64, u64>,
}

impl OffsetRanges {
    pub fn insert(&mut self, offset: u64) {
        let before = self.ranges.range(..=offset).next_back().map(|(first, end)| (*first, *end));
        if before.is_some_and(|(_, end)| offset < end) {
            return;
        }
        let end = self.ranges.remove(&(offset + 1)).unwrap_or(offset + 1);
        let first = before.filter(|(_, end)| *end == offset).map_or(offset, |(first, _)| first);
        self.ranges.insert(first, end);
    }

    pub fn contains(&self, offset: u64) -> bool {
        self.ranges.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// Forgets those below.
    pub fn keep_from(&mut self, from: u64) {
        let kept = self.ranges.split_off(&from);
        let across = self.ranges.pop_last().filter(|(_, end)| *end > from);
        self.ranges = kept;
        if let Some((_, end)) = across {
            self.ranges.insert(from, end);
        }
    }

    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().flat_map(|(first, end)| *first..*end)
    }
}

impl Extend<u64> for OffsetRanges {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, offsets: I) {
        offsets.into_iter().for_each(|offset| self.insert(offset));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(offsets in prop::collection::vec(0_u64..40, 0..60), from in 0_u64..45) {
            let mut ranges = OffsetRanges::default();
            ranges.extend(offsets.iter().copied());
            let mut set: BTreeSet<u64> = offsets.into_iter().collect();
            let same = |ranges: &OffsetRanges, set: &BTreeSet<u64>| {
                ranges.iter().eq(set.iter().copied())
                    && (0..45).all(|offset| ranges.contains(offset) == set.contains(&offset))
                    && ranges.is_empty() == set.is_empty()
                    && ranges.ranges.iter().zip(ranges.ranges.keys().skip(1)).all(|((_, end), next)| end < next)
            };
            prop_assert!(same(&ranges, &set));
            ranges.keep_from(from);
            set.retain(|offset| *offset >= from);
            prop_assert!(same(&ranges, &set), "{ranges:?}");
        }
    }
}
