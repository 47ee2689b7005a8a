//! Orders of which nobody knows whether the venue has them, for those who watch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::telemetry::metrics;

/// Since when each doubt lasts.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    since: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    since: BTreeMap<u64, Timestamp>,
}

/// One doubt. Over when dropped.
#[derive(Debug)]
pub(super) struct Doubt<'a> {
    doubts: &'a Doubts,
    number: u64,
}

impl Doubts {
    /// The venue is asked about an order from now on.
    pub(super) fn begin(&self, now: Timestamp) -> Doubt<'_> {
        let number = self.change(|open| {
            open.next += 1;
            open.since.insert(open.next, now);
            open.next
        });
        Doubt { doubts: self, number }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Open) -> T) -> T {
        let mut open = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut open);
        metrics::orders_in_doubt(open.since.len(), open.since.values().min().copied());
        result
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.doubts.change(|open| open.since.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_lasts_until_it_is_dropped() {
        let doubts = Doubts::default();
        let count = || doubts.change(|open| open.since.len());
        let first = doubts.begin(Timestamp::UNIX_EPOCH);
        let second = doubts.begin(Timestamp::MAX);
        assert_eq!(count(), 2);
        drop(first);
        assert_eq!(
            doubts.change(|open| open.since.values().min().copied()),
            Some(Timestamp::MAX)
        );
        drop(second);
        assert_eq!(count(), 0);
    }
}
