//! Stretches of time, and sets of them.

use jiff::Timestamp;

/// From a moment on, until before another. Never empty, where it is in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after.
    pub until: Timestamp,
}

impl Range {
    /// What both have; it may be empty.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.from >= self.until
    }

    pub(super) fn contains(self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// A set of moments, as stretches in order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    pub(super) fn iter(&self) -> impl Iterator<Item = Range> {
        self.0.iter().copied()
    }

    pub(super) fn add(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.0);
        all.push(range);
        all.sort_unstable();
        for range in all {
            match self.0.last_mut() {
                Some(last) if range.from <= last.until => last.until = last.until.max(range.until),
                Some(_) | None => self.0.push(range),
            }
        }
    }

    pub(super) fn remove(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.0);
        let before = |held: Range| Range {
            until: held.until.min(range.from),
            ..held
        };
        let after = |held: Range| Range {
            from: held.from.max(range.until),
            ..held
        };
        let left = all.into_iter().flat_map(|held| [before(held), after(held)]);
        self.0.extend(left.filter(|left| !left.is_empty()));
    }

    /// What of a stretch is not in the set.
    pub(super) fn missing(&self, range: Range) -> Vec<Range> {
        let mut missing = Self::default();
        missing.add(range);
        for held in self.iter() {
            missing.remove(held);
        }
        missing.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(from: i64, until: i64) -> Range {
        let at = |second| Timestamp::from_second(second).unwrap();
        Range {
            from: at(from),
            until: at(until),
        }
    }

    proptest! {
        #[test]
        fn a_set_of_stretches_is_a_set_of_seconds(
            steps in proptest::collection::vec((any::<bool>(), 0i64..40, 0i64..40), 0..12),
            asked in (0i64..40, 0i64..40),
        ) {
            let (mut ranges, mut seconds) = (Ranges::default(), BTreeSet::new());
            for (add, from, until) in steps {
                if add {
                    ranges.add(range(from, until));
                    seconds.extend(from..until);
                } else {
                    ranges.remove(range(from, until));
                    seconds.retain(|second| !(from..until).contains(second));
                }
            }
            let spread = |ranges: Vec<Range>| -> Vec<i64> {
                ranges.into_iter().flat_map(|range| range.from.as_second()..range.until.as_second()).collect()
            };
            prop_assert_eq!(spread(ranges.iter().collect()), seconds.iter().copied().collect::<Vec<_>>());
            let missing: Vec<i64> = (asked.0..asked.1).filter(|second| !seconds.contains(second)).collect();
            prop_assert_eq!(spread(ranges.missing(range(asked.0, asked.1))), missing);
            let apart = ranges.0.windows(2).all(|pair| pair[0].until < pair[1].from);
            prop_assert!(apart && ranges.iter().all(|range| !range.is_empty()));
        }
    }
}
