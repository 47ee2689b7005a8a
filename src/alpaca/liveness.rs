//! Whether the other end of a websocket is still there.

use std::time::Duration;

use tokio::time::Instant;

/// How often we ask for a sign of life. The venue documents no pings of its own; its clients ping at this pace.
pub(super) const PING_EVERY: Duration = Duration::from_secs(10);

/// Without a frame, or with a ping unanswered, for so long, the stream is dead. Covers two lost pings.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(25);

/// When to ask for a sign of life, and when to stop hoping for one.
#[derive(Debug)]
pub(super) struct Liveness {
    ping_every: Duration,
    quiet_max: Duration,
    ping_at: Instant,
    heard_at: Instant,
    /// The oldest ping without an answer.
    unanswered_since: Option<Instant>,
}

impl Liveness {
    pub(super) fn new(ping_every: Duration, quiet_max: Duration) -> Self {
        let now = Instant::now();
        Self {
            ping_every,
            quiet_max,
            ping_at: now + ping_every,
            heard_at: now,
            unanswered_since: None,
        }
    }

    pub(super) fn heard(&mut self, pong: bool) {
        self.heard_at = Instant::now();
        if pong {
            self.unanswered_since = None;
        }
    }

    pub(super) fn pinged(&mut self) {
        let now = Instant::now();
        self.unanswered_since.get_or_insert(now);
        self.ping_at = now + self.ping_every;
    }

    pub(super) fn dead_at(&self) -> Instant {
        let oldest = self
            .unanswered_since
            .map_or(self.heard_at, |since| since.min(self.heard_at));
        oldest + self.quiet_max
    }

    pub(super) fn wake_at(&self) -> Instant {
        self.ping_at.min(self.dead_at())
    }
}
