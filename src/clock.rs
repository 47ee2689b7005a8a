//! What time it is: the machine's clock, or in tests whatever the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// The one source of wall-clock time. Durations come from `tokio::time::Instant` instead.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Nanoseconds added to the machine's clock. Zero outside tests.
    offset: Arc<AtomicI64>,
    /// In tests with paused time: what it was when tokio's clock said so. From there the two go together.
    #[cfg(test)]
    tied: Option<(tokio::time::Instant, Timestamp)>,
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
        #[cfg(test)]
        if let Some((since, then)) = self.tied {
            let passed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
            return then
                .saturating_add(passed.saturating_add(offset))
                .unwrap_or(Timestamp::MAX);
        }
        Timestamp::now().saturating_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// How long ago something was; nothing for what is yet to come.
    pub fn since(&self, at: Timestamp) -> std::time::Duration {
        std::time::Duration::try_from(self.now().duration_since(at)).unwrap_or_default()
    }

    /// A clock that says `now`, and goes with tokio's from here on: for tests with paused time.
    #[cfg(test)]
    pub(crate) fn tied_to_tokio(now: Timestamp) -> Self {
        Self {
            tied: Some((tokio::time::Instant::now(), now)),
            ..Self::default()
        }
    }

    /// Moves this clock and all its clones, for tests of deadlines.
    pub fn advance(&self, by: std::time::Duration) {
        let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.offset.fetch_add(nanos, Ordering::Relaxed);
    }
}
