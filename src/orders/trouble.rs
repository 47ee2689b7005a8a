//! What cannot be stored is tried until it can; meanwhile the gateway says so, and creates no orders.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::dealer::Dealer;
use crate::domain::ConditionName;

/// Failures in a row before it is said: one is a reconnect.
const TELL_AFTER: u32 = 2;

/// Commands that cannot store what they must.
#[derive(Debug, Default)]
pub(super) struct Troubles(AtomicUsize);

/// One command's trouble. However the command ends, its trouble ends with it.
pub(super) struct Trouble<'a, V> {
    dealer: &'a Dealer<V>,
    failures: u32,
}

impl<'a, V> Trouble<'a, V> {
    /// None yet.
    pub(super) fn new(dealer: &'a Dealer<V>) -> Self {
        Self { dealer, failures: 0 }
    }

    /// It was not stored.
    pub(super) fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < TELL_AFTER {
            return;
        }
        if self.failures == TELL_AFTER {
            self.dealer.troubles.0.fetch_add(1, Ordering::Relaxed);
        }
        let reason = format!("{what} cannot be stored: {error}");
        self.dealer.gateway.raise(ConditionName::Unwritable, reason, true);
    }

    /// It was stored.
    pub(super) fn over(&mut self) {
        let was_told = self.failures >= TELL_AFTER;
        self.failures = 0;
        if was_told && self.dealer.troubles.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.dealer.gateway.clear(ConditionName::Unwritable);
        }
    }
}

impl<V> Drop for Trouble<'_, V> {
    fn drop(&mut self) {
        self.over();
    }
}
