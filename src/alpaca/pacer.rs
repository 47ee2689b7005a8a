//! One request budget for the account, shared by everything that calls the venue.
//!
//! The venue counts all requests of an account together, so what a mirror reads is taken from what an order could
//! use. Hence lanes: whoever waits in a higher lane goes first, inside a lane whoever came first, and a share of the
//! budget is kept for the requests that limit risk (cancels) or doubt (look-ups).
//!
//! [`Budget`] is the pure core, a token bucket. [`Pacer`] is the handle that waits. There is no task behind it: the
//! first in line keeps the time, and wakes the next when it leaves, whether served or given up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What a request is for, highest priority first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Cancels an order.
    Cancel,
    /// Asks what became of an order.
    LookUp,
    /// Replaces an order or closes a position.
    Change,
    /// Places an order.
    NewOrder,
    /// Reads for mirrors, back-fill and people.
    Read,
}

impl Lane {
    const COUNT: usize = 5;

    /// Whether the reserved share is open to this lane.
    const fn uses_reserve(self) -> bool {
        match self {
            Self::Cancel | Self::LookUp => true,
            Self::Change | Self::NewOrder | Self::Read => false,
        }
    }
}

/// Longest pause the venue can impose by headers: its quota renews every minute, so anything longer is a mistake.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Pause after a 429 that does not say how long.
pub(super) const PAUSE_UNSAID: Duration = Duration::from_secs(1);

/// Share of the budget only cancels and look-ups may use: one in five.
const RESERVE_DIVISOR: u32 = 5;

/// What an answer's headers say about the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSignal {
    /// Requests per minute (`X-RateLimit-Limit`).
    pub limit: Option<u32>,
    /// Requests left now (`X-RateLimit-Remaining`).
    pub remaining: Option<u32>,
    /// Until the quota renews (`Retry-After` or `X-RateLimit-Reset`).
    pub renews_in: Option<Duration>,
    /// The answer was a 429.
    pub refused: bool,
}

/// A token bucket in whole numbers: the level is counted in `requests × nanoseconds per minute`, so that the
/// refill of one nanosecond is exactly the limit per minute.
#[derive(Debug)]
struct Budget {
    /// What the configuration allows. The venue may lower it, never raise it: somebody else may use the account.
    ceiling: u32,
    /// Requests per minute now.
    limit: u32,
    level: u64,
    as_of: Instant,
    closed_until: Option<Instant>,
}

/// One request, in the unit of the level.
const REQUEST: u64 = 60_000_000_000;

impl Budget {
    fn new(limit_per_minute: u32, now: Instant) -> Self {
        let ceiling = limit_per_minute.max(1);
        Self {
            ceiling,
            limit: ceiling,
            level: u64::from(ceiling) * REQUEST,
            as_of: now,
            closed_until: None,
        }
    }

    /// Takes one request out of the budget, or says when to ask again.
    fn take(&mut self, lane: Lane, now: Instant) -> Result<(), Instant> {
        self.refill(now);
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Err(until);
        }
        self.closed_until = None;
        let reserve = if lane.uses_reserve() {
            0
        } else {
            u64::from(self.limit / RESERVE_DIVISOR)
        };
        let needed = (reserve + 1) * REQUEST;
        if self.level >= needed {
            self.level -= REQUEST;
            return Ok(());
        }
        let missing = Duration::from_nanos((needed - self.level).div_ceil(u64::from(self.limit)));
        Err(now + missing)
    }

    /// Puts back a request that was never sent.
    fn give_back(&mut self, now: Instant) {
        self.refill(now);
        self.level = (self.level + REQUEST).min(self.capacity());
    }

    /// Corrects the budget by what the venue says. Only downwards: answers arrive late and out of order, and a
    /// stale count must not create requests.
    fn observe(&mut self, signal: RateSignal, now: Instant) {
        self.refill(now);
        if let Some(limit) = signal.limit.filter(|limit| *limit > 0) {
            self.limit = limit.min(self.ceiling);
        }
        let remaining = if signal.refused { Some(0) } else { signal.remaining };
        let most = remaining.map_or(u64::MAX, |remaining| u64::from(remaining) * REQUEST);
        self.level = self.level.min(most).min(self.capacity());
        let pause = match (signal.refused, remaining) {
            (true, _) => Some(signal.renews_in.unwrap_or(PAUSE_UNSAID)),
            (false, Some(0)) => signal.renews_in,
            (false, _) => None,
        };
        if let Some(pause) = pause {
            let until = now + pause.min(PAUSE_MAX);
            self.closed_until = Some(self.closed_until.map_or(until, |known| known.max(until)));
        }
    }

    fn remaining(&mut self, now: Instant) -> u32 {
        self.refill(now);
        u32::try_from(self.level / REQUEST).unwrap_or(u32::MAX)
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.as_of).as_nanos();
        let gained = u64::try_from(elapsed.saturating_mul(u128::from(self.limit))).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(gained).min(self.capacity());
        self.as_of = self.as_of.max(now);
    }

    fn capacity(&self) -> u64 {
        u64::from(self.limit) * REQUEST
    }
}

/// The way to a place in the budget. Cheap to clone; all clones share one budget.
#[derive(Clone, Debug)]
pub struct Pacer(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    budget: Budget,
    waiting: [VecDeque<Arc<Notify>>; Lane::COUNT],
}

impl State {
    /// Who goes next: the oldest of the highest lane in which anybody waits.
    fn first(&self) -> Option<&Arc<Notify>> {
        self.waiting.iter().find_map(VecDeque::front)
    }

    fn wake_first(&self) {
        if let Some(first) = self.first() {
            // Stores a wake-up if the waiter is not listening just now, so none is lost.
            first.notify_one();
        }
    }
}

/// Leave to send one request. Unspent when dropped, it goes back into the budget.
#[derive(Debug)]
#[must_use = "a permit is leave to send one request; dropped, it is given back"]
pub struct Permit {
    pacer: Pacer,
    spent: bool,
}

impl Pacer {
    /// A full budget of so many requests per minute (at least one).
    pub fn new(limit_per_minute: u32) -> Self {
        Self(Arc::new(Mutex::new(State {
            budget: Budget::new(limit_per_minute, Instant::now()),
            waiting: Default::default(),
        })))
    }

    /// Waits until the budget has room for a request of this lane.
    ///
    /// Cancel-safe: whoever stops waiting gives up the place and has taken nothing.
    pub async fn acquire(&self, lane: Lane) -> Permit {
        let place = Place::join(self, lane);
        loop {
            match place.try_leave() {
                Turn::Granted => {
                    return Permit {
                        pacer: self.clone(),
                        spent: false,
                    };
                }
                Turn::At(instant) => {
                    tokio::select! {
                        () = place.turn.notified() => {} // cancel-safe: a stored wake-up stays stored
                        () = sleep_until(instant) => {}
                    }
                }
                Turn::BehindOthers => place.turn.notified().await,
            }
        }
    }

    /// Corrects the budget by what an answer's headers said.
    pub fn observe(&self, signal: RateSignal) {
        let mut state = self.lock();
        state.budget.observe(signal, Instant::now());
        state.wake_first();
    }

    /// Requests that could be sent at once, reserve included. A metric.
    pub fn remaining(&self) -> u32 {
        self.lock().budget.remaining(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half changed, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The request is about to be sent.
    pub(super) fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.spent {
            let mut state = self.pacer.lock();
            state.budget.give_back(Instant::now());
            state.wake_first();
        }
    }
}

/// A place in line, given up when dropped.
struct Place<'a> {
    pacer: &'a Pacer,
    lane: Lane,
    turn: Arc<Notify>,
}

enum Turn {
    Granted,
    /// First in line; ask again then.
    At(Instant),
    BehindOthers,
}

impl<'a> Place<'a> {
    fn join(pacer: &'a Pacer, lane: Lane) -> Self {
        let turn = Arc::new(Notify::new());
        pacer.lock().waiting[lane as usize].push_back(turn.clone());
        Self { pacer, lane, turn }
    }

    fn try_leave(&self) -> Turn {
        let mut state = self.pacer.lock();
        if !state.first().is_some_and(|first| Arc::ptr_eq(first, &self.turn)) {
            return Turn::BehindOthers;
        }
        match state.budget.take(self.lane, Instant::now()) {
            Ok(()) => Turn::Granted,
            Err(instant) => Turn::At(instant),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pacer.lock();
        state.waiting[self.lane as usize].retain(|waiter| !Arc::ptr_eq(waiter, &self.turn));
        state.wake_first();
    }
}
