//! What dealing with the venue takes: the venue itself, the gate's inputs, and the word that it is time to stop.
//!
//! Apart from the desk, so that sending and resolving can be tested with a scripted venue and paused time, without
//! NATS.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::doubts::Doubts;
use super::trouble::Troubles;
use crate::alpaca::rest::ReadError;
use crate::backoff::{Backoff, Reason};
use crate::bus::Lease;
use crate::clock::Clock;
use crate::domain::outcome::Refusal;
use crate::domain::record::CancelMark;
use crate::domain::{ClientOrderId, ConditionName};
use crate::gateway::Gateway;
use crate::risk::Risk;

/// What dealing with the venue takes.
pub(super) struct Dealer<V> {
    pub(super) venue: V,
    pub(super) gateway: Gateway,
    pub(super) risk: Risk,
    pub(super) clock: Clock,
    pub(super) marks: Marks,
    /// How long after a POST ended without an answer, or may have, its order may still turn up.
    pub(super) absence_grace: Duration,
    /// The right to act.
    pub(super) lease: Lease,
    /// Who cannot store what it must.
    pub(super) troubles: Troubles,
    /// Orders the venue is asked about.
    pub(super) doubts: Doubts,
    /// POSTs on the wire at once.
    pub(super) in_flight: Semaphore,
    /// Nothing new begins once this is cancelled; what is on the wire is seen to its end.
    pub(super) stop: CancellationToken,
}

impl<V> Dealer<V> {
    /// Waits a while. `None`: the daemon is stopping.
    pub(super) async fn pause(&self, pause: Duration) -> Option<()> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,             // cancel-safe: level-triggered
            () = tokio::time::sleep(pause) => Some(()),     // cancel-safe: nothing is lost but time
        }
    }

    /// The venue refuses us: nothing is sent until a person has acted, and nobody's order is refused for it.
    pub(super) fn account_refused(&self, refusal: Refusal) {
        self.gateway
            .raise(ConditionName::AccountRefused, refusal.message, true);
    }

    /// Reads until the venue answers. `None`: the daemon is stopping.
    pub(super) async fn until_read<T, F>(&self, what: &'static str, mut read: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        let mut backoff = Backoff::new(Reason::LookUp);
        loop {
            let retry_after = match read().await {
                Ok(value) => return Some(value),
                Err(ReadError::AccountRefused(refusal)) => {
                    self.account_refused(refusal);
                    None
                }
                Err(ReadError::Failed { cause, retry_after }) => {
                    warn!(cause, "{what} could not be read, asking again");
                    retry_after
                }
            };
            self.pause(retry_after.unwrap_or_default().max(backoff.next_delay()))
                .await?;
        }
    }

    /// Waits for an instant of wall-clock time; for ever when there is none. Looks at the clock again at least
    /// once a second, so that a clock that is set does not move a deadline.
    pub(super) async fn until(&self, instant: Option<Timestamp>) {
        let Some(instant) = instant else {
            return std::future::pending().await;
        };
        loop {
            let left = Duration::try_from(instant.duration_since(self.clock.now())).unwrap_or_default();
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}

/// Cancels that came before their orders were sent, for the last check before a POST. The ledger has them too;
/// this copy can be read without waiting.
#[derive(Debug, Default)]
pub(super) struct Marks {
    by_id: Mutex<HashMap<ClientOrderId, CancelMark>>,
    left: Notify,
}

impl Marks {
    /// Marks kept. Older ones are in the ledger, where the intent's compare-and-set meets them.
    const KEPT: usize = 4096;

    /// Of two marks on one id the later cancel's stands: it reaches further.
    pub(super) fn leave(&self, id: ClientOrderId, mark: CancelMark) {
        let mut marks = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = marks.get_mut(&id) {
            if known.id < mark.id {
                *known = mark;
            }
            return;
        }
        if marks.len() >= Self::KEPT {
            let oldest = marks.values().map(|mark| mark.stored_at).min();
            marks.retain(|_, mark| Some(mark.stored_at) != oldest);
        }
        marks.insert(id, mark);
        drop(marks);
        self.left.notify_waiters();
    }

    /// Waits until the next mark is left, on whatever id. Cancel-safe.
    pub(super) async fn next(&self) {
        self.left.notified().await;
    }

    pub(super) fn of(&self, id: &ClientOrderId) -> Option<CancelMark> {
        self.by_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .copied()
    }
}
