//! Named retry policies, one per reason to wait.
//!
//! The intervals come from the `backoff` crate's generator and nothing else of it is used: the crate is no
//! longer maintained (RUSTSEC-2025-0012), and this module is the fence around it. To swap it for `backon`,
//! replace the body of [`Backoff::next_delay`]; no type of the crate shows outside.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Why we wait before trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The venue's trade-update socket is down. The venue may hold its slot for about 90 s.
    StreamReconnect,
    /// NATS cannot be reached, or a JetStream call failed.
    Nats,
    /// A request that provably never reached the venue.
    NotSent,
    /// The fate of an order is looked up.
    LookUp,
    /// A mirror's read failed.
    MirrorRead,
}

/// Growing, jittered, capped pauses. Never gives up by itself: the deadline of the work does.
#[derive(Debug)]
pub struct Backoff {
    generator: ExponentialBackoff,
    max: Duration,
}

impl Backoff {
    /// The policy for one reason.
    pub fn new(reason: Reason) -> Self {
        let (initial, max) = match reason {
            Reason::StreamReconnect => (Duration::from_millis(250), Duration::from_secs(20)),
            Reason::Nats => (Duration::from_millis(100), Duration::from_secs(2)),
            Reason::NotSent => (Duration::from_millis(200), Duration::from_secs(5)),
            Reason::LookUp => (Duration::from_millis(500), Duration::from_secs(8)),
            Reason::MirrorRead => (Duration::from_millis(500), Duration::from_secs(15)),
        };
        Self::between(initial, max)
    }

    /// A policy from `initial` growing twofold up to `max`, each pause 20 % more or less.
    pub fn between(initial: Duration, max: Duration) -> Self {
        let generator = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            randomization_factor: 0.2,
            multiplier: 2.0,
            max_interval: max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { generator, max }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.generator.next_backoff().unwrap_or(self.max).min(self.max)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.generator.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_under_the_cap() {
        let mut backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(2));
        let delays: Vec<_> = (0..12).map(|_| backoff.next_delay()).collect();
        assert!(
            delays[0] >= Duration::from_millis(80) && delays[0] <= Duration::from_millis(120),
            "{delays:?}"
        );
        assert!(
            delays.iter().all(|delay| *delay <= Duration::from_secs(2)),
            "{delays:?}"
        );
        assert!(delays[11] >= Duration::from_millis(1600), "{delays:?}");
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(120));
    }
}
