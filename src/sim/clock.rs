//! The venue's clock: the wall's, or that of a past which is replayed.
//!
//! Orders, prices, sessions and market data live in this time. What a client measures with its own clock, such as the
//! request quota, does not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// How the venue's time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// It is the wall clock.
    #[default]
    Wall,
    /// It begins in the past and runs this many times as fast as the wall clock; 0 counts as 1.
    Replay {
        /// When it begins.
        from: Timestamp,
        /// Venue seconds per wall second.
        times: u32,
    },
    /// It begins in the past and jumps from one thing that happens to the next, as fast as those who read follow.
    AsFastAsPossible {
        /// When it begins.
        from: Timestamp,
    },
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Wall,
    Scaled {
        from: Timestamp,
        since: Instant,
        times: u32,
    },
    Stepped {
        at: Timestamp,
    },
}

#[derive(Debug)]
pub(crate) struct VenueClock(Mutex<Mode>);

impl VenueClock {
    pub(crate) fn new(pace: Pace) -> Self {
        let mode = match pace {
            Pace::Wall => Mode::Wall,
            Pace::Replay { from, times } => Mode::Scaled {
                from,
                since: Instant::now(),
                times: times.max(1),
            },
            Pace::AsFastAsPossible { from } => Mode::Stepped { at: from },
        };
        Self(Mutex::new(mode))
    }

    /// The venue's time.
    pub(crate) fn now(&self) -> Timestamp {
        match self.mode() {
            Mode::Wall => wall(),
            Mode::Scaled { from, since, times } => {
                let passed = since.elapsed().saturating_mul(times);
                SignedDuration::try_from(passed)
                    .ok()
                    .and_then(|passed| from.checked_add(passed).ok())
                    .unwrap_or(Timestamp::MAX)
            }
            Mode::Stepped { at } => at,
        }
    }

    /// How long to wait, on the wall clock, until it is `at`; none when somebody must step there.
    pub(crate) fn wait_until(&self, at: Timestamp) -> Option<Duration> {
        let ahead = |now: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        match self.mode() {
            Mode::Wall => Some(ahead(wall())),
            Mode::Scaled { times, .. } => Some(ahead(self.now()) / times),
            Mode::Stepped { .. } => None,
        }
    }

    /// Jumps to `at`, never back; only a clock that is stepped does.
    pub(crate) fn step_to(&self, to: Timestamp) {
        if let Mode::Stepped { at } = &mut *self.lock() {
            *at = (*at).max(to);
        }
    }

    /// From here on time passes as on the wall.
    pub(crate) fn release(&self) {
        let mut mode = self.lock();
        if let Mode::Stepped { at } = *mode {
            *mode = Mode::Scaled {
                from: at,
                since: Instant::now(),
                times: 1,
            };
        }
    }

    /// Does somebody have to step it?
    pub(crate) fn is_stepped(&self) -> bool {
        matches!(self.mode(), Mode::Stepped { .. })
    }

    fn mode(&self) -> Mode {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Mode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock: the one place where the simulator asks for it.
#[expect(
    clippy::disallowed_methods,
    reason = "the venue's clock must not be the clock of the daemon under test"
)]
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_replayed_past_runs_as_fast_as_asked() {
        let from: Timestamp = "2025-01-06T14:30:00Z".parse().unwrap();
        let clock = VenueClock::new(Pace::Replay { from, times: 60 });
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now().duration_since(from).as_secs(), 120);
        let at = from + SignedDuration::from_secs(180);
        assert_eq!(clock.wait_until(at), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stepped_clock_jumps_forward_only_until_it_is_released() {
        let from: Timestamp = "2025-01-06T14:30:00Z".parse().unwrap();
        let clock = VenueClock::new(Pace::AsFastAsPossible { from });
        let later = from + SignedDuration::from_secs(60);
        clock.step_to(later);
        clock.step_to(from);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!((clock.now(), clock.wait_until(later)), (later, None));
        clock.release();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().duration_since(later).as_secs(), 5);
        assert!(!clock.is_stepped());
    }
}
