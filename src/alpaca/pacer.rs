//! One request budget for the account, shared by everything that calls the venue.
//!
//! The venue counts all requests of an account together, so what a mirror reads is taken from what an order could
//! use. Hence lanes: whoever waits in a higher lane goes first, inside a lane whoever came first, and a share of the
//! budget is kept for the requests that limit risk (cancels) or doubt (look-ups).
//!
//! `Budget` is the pure core, a token bucket. [`Pacer`] is the handle that waits. There is no task behind it: the
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
        if self.closed_until.take().is_some() {
            // The venue said that its quota is renewed by now; one order may find out whether that is so.
            let renewed = u64::from(self.limit / RESERVE_DIVISOR + 1) * REQUEST;
            self.level = self.level.max(renewed);
        }
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

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use tokio::time::advance;

    use super::*;

    const MUCH_LEFT: RateSignal = RateSignal {
        limit: Some(200),
        remaining: Some(150),
        renews_in: Some(Duration::from_secs(30)),
        refused: false,
    };

    fn spend_all(budget: &mut Budget, lane: Lane, now: Instant) -> u32 {
        let mut taken = 0;
        while budget.take(lane, now).is_ok() {
            taken += 1;
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_is_kept_for_cancels_and_look_ups() {
        let now = Instant::now();
        let mut budget = Budget::new(200, now);
        assert_eq!(spend_all(&mut budget, Lane::Read, now), 160);
        assert_eq!(spend_all(&mut budget, Lane::NewOrder, now), 0);
        assert_eq!(spend_all(&mut budget, Lane::LookUp, now), 40);
        assert_eq!(budget.remaining(now), 0);
        assert_eq!(
            budget.take(Lane::Cancel, now),
            Err(now + Duration::from_millis(300)),
            "200 per minute are one per 300 ms"
        );
        assert_eq!(
            budget.take(Lane::Cancel, now + Duration::from_millis(300)),
            Ok(())
        );
        let later = now + Duration::from_secs(3600);
        assert_eq!(budget.remaining(later), 200, "never more than a minute's worth");
    }

    #[tokio::test(start_paused = true)]
    async fn even_the_smallest_budget_lets_every_lane_through() {
        for limit in [0, 1, 4, 5] {
            let now = Instant::now();
            let mut budget = Budget::new(limit, now);
            assert!(budget.take(Lane::Read, now).is_ok(), "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_venue_corrects_the_budget_downwards_only() {
        let now = Instant::now();
        let mut budget = Budget::new(100, now);
        budget.observe(MUCH_LEFT, now);
        assert_eq!(budget.remaining(now), 100, "the configuration is the ceiling");
        let lower = RateSignal {
            limit: Some(60),
            remaining: Some(7),
            ..MUCH_LEFT
        };
        budget.observe(lower, now);
        assert_eq!(budget.remaining(now), 7);
        budget.observe(
            RateSignal {
                remaining: Some(50),
                ..lower
            },
            now,
        );
        assert_eq!(budget.remaining(now), 7, "a late answer gives nothing back");
        assert_eq!(budget.remaining(now + Duration::from_secs(3)), 10);
        budget.observe(
            RateSignal {
                limit: Some(0),
                ..RateSignal::default()
            },
            now,
        );
        assert_eq!(budget.limit, 60, "a limit of nothing is a mistake");
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_closes_every_lane_for_a_bounded_time() {
        for (renews_in, seconds) in [(None, 1), (Some(23), 23), (Some(2_333_664_000), 60)] {
            let now = Instant::now();
            let mut budget = Budget::new(200, now);
            let signal = RateSignal {
                refused: true,
                renews_in: renews_in.map(Duration::from_secs),
                ..RateSignal::default()
            };
            budget.observe(signal, now);
            let open_at = now + Duration::from_secs(seconds);
            assert_eq!(budget.take(Lane::Cancel, now), Err(open_at));
            assert_eq!(budget.take(Lane::Cancel, open_at), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_quota_waits_for_its_renewal() {
        let now = Instant::now();
        let mut budget = Budget::new(200, now);
        budget.observe(
            RateSignal {
                remaining: Some(0),
                ..MUCH_LEFT
            },
            now,
        );
        let renewed = now + Duration::from_secs(30);
        assert_eq!(budget.take(Lane::LookUp, now), Err(renewed));
        assert_eq!(budget.take(Lane::LookUp, renewed), Ok(()));
    }

    /// Spends everything, so that the next requests come at 300 ms each.
    async fn exhausted() -> Pacer {
        let pacer = Pacer::new(200);
        for _ in 0..200 {
            pacer.acquire(Lane::Cancel).await.spend();
        }
        pacer
    }

    #[tokio::test(start_paused = true)]
    async fn higher_lanes_go_first_and_equals_in_turn() {
        let pacer = exhausted().await;
        let order = Mutex::new(Vec::new());
        let wait = async |lane, name| {
            let permit = pacer.acquire(lane).await;
            order.lock().unwrap().push(name);
            permit.spend();
        };
        tokio::join!(
            wait(Lane::Read, "read"),
            wait(Lane::NewOrder, "order 1"),
            wait(Lane::NewOrder, "order 2"),
            wait(Lane::Change, "replace"),
            wait(Lane::LookUp, "look-up"),
            wait(Lane::Cancel, "cancel 1"),
            wait(Lane::Cancel, "cancel 2"),
        );
        assert_eq!(
            *order.lock().unwrap(),
            [
                "cancel 1", "cancel 2", "look-up", "replace", "order 1", "order 2", "read"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_gives_up_the_place() {
        let pacer = exhausted().await;
        let mut context = Context::from_waker(Waker::noop());
        let mut second = pin!(pacer.acquire(Lane::NewOrder));
        {
            let mut first = pin!(pacer.acquire(Lane::Cancel));
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
        }
        let waited = Instant::now();
        second.await.spend();
        // The reserve of 40 and the request itself: nothing went to the one who left.
        assert_eq!(waited.elapsed(), Duration::from_millis(41 * 300));
        assert!(pacer.lock().first().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_was_not_used_goes_back() {
        let pacer = exhausted().await;
        advance(Duration::from_millis(300)).await;
        let unused = pacer.acquire(Lane::Cancel).await;
        assert_eq!(pacer.remaining(), 0);
        let next = pacer.acquire(Lane::Cancel);
        let started = Instant::now();
        let (next, ()) = tokio::join!(next, async { drop(unused) });
        assert_eq!(started.elapsed(), Duration::ZERO);
        next.spend();
        assert_eq!(pacer.remaining(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_reaches_those_who_already_wait() {
        let pacer = exhausted().await;
        let started = Instant::now();
        let pause = async {
            pacer.observe(RateSignal {
                refused: true,
                renews_in: Some(Duration::from_secs(20)),
                ..RateSignal::default()
            });
        };
        let (permit, ()) = tokio::join!(pacer.acquire(Lane::Cancel), pause);
        permit.spend();
        assert_eq!(started.elapsed(), Duration::from_secs(20));
    }
}
