//! What time it is: the machine's clock, or in tests whatever the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// The one source of wall-clock time. Durations come from `tokio::time::Instant` instead.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Nanoseconds added to the machine's clock. Zero outside tests.
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// The current time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_nanos(self.offset.load(Ordering::Relaxed));
        Timestamp::now().saturating_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// Moves this clock and all its clones, for tests of deadlines.
    pub fn advance(&self, by: std::time::Duration) {
        let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.offset.fetch_add(nanos, Ordering::Relaxed);
    }
}
