//! An unknown outcome is a question: ask the venue, by our own id, until it is known or time is up.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::dealer::Dealer;
use super::venue::Venue;
use crate::alpaca::rest::LookUpAnswer;
use crate::backoff::{Backoff, Reason};
use crate::domain::execution::Mismatch;
use crate::domain::outcome::Acceptance;
use crate::domain::{ClientOrderId, Order, Placement, Verdict};
use crate::trial::{self, Bug, Point};

/// Healthy answers "no such order" that together count as absence. One proves nothing: the venue is eventually
/// consistent, and says so.
pub(super) const ABSENCES_NEEDED: u32 = 3;

/// How much longer than that, when another POST was refused meanwhile.
const SECOND_GRACE: Duration = Duration::from_secs(2);

/// How long an order that could not be resolved is watched.
const WATCH: Duration = Duration::from_secs(24 * 3600);

/// What asking gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// The venue has an order of that id.
    Found(Box<Order>),
    /// It has none, as far as can be known, and there is time left.
    Absent,
    /// Time is up, and nobody knows.
    TimeUp,
    /// The daemon is stopping.
    Stopping,
}

/// Asks until it is known whether a POST arrived. `since` is when the last one ended, as far as is known.
pub(super) async fn ask<V: Venue>(
    dealer: &Dealer<V>,
    id: &ClientOrderId,
    since: Instant,
    deadline: Option<Timestamp>,
) -> Asked {
    ask_for(dealer, id, since, dealer.absence_grace, deadline).await
}

/// Asks once more whether a POST of before arrived, when the one after it was refused: what the first one binds may be
/// the very thing the second one lacks. Orders were seen to show twelve seconds late.
pub(super) async fn ask_again<V: Venue>(
    dealer: &Dealer<V>,
    id: &ClientOrderId,
    since: Instant,
    deadline: Option<Timestamp>,
) -> Asked {
    ask_for(dealer, id, since, dealer.absence_grace + SECOND_GRACE, deadline).await
}

async fn ask_for<V: Venue>(
    dealer: &Dealer<V>,
    id: &ClientOrderId,
    since: Instant,
    grace: Duration,
    deadline: Option<Timestamp>,
) -> Asked {
    let _doubt = dealer.doubts.begin(dealer.clock.now());
    let mut backoff = Backoff::new(Reason::LookUp);
    let mut absences = 0;
    loop {
        let in_grace = since.elapsed() < grace && !trial::planted(Bug::NoGrace);
        let absent = match look_up(dealer, id).await {
            None => return Asked::Stopping,
            Some(LookUp::Found(order)) => return Asked::Found(order),
            Some(LookUp::Absent) => true,
            Some(LookUp::Nothing) => false,
        };
        absences += u32::from(absent);
        let late = deadline.is_some_and(|deadline| dealer.clock.now() >= deadline);
        if late && !in_grace {
            return Asked::TimeUp;
        }
        if absent && trial::planted(Bug::OneAbsenceIsEnough) {
            return Asked::Absent;
        }
        // The last word is an absence after the grace: those before it only showed that the order was not there yet.
        if absent && absences >= ABSENCES_NEEDED && !in_grace {
            return Asked::Absent;
        }
        // The look that may decide comes as soon as it can.
        let grace_left = grace.saturating_sub(since.elapsed());
        let mut pause = backoff.next_delay();
        if !grace_left.is_zero() {
            pause = pause.min(grace_left);
        }
        if dealer.pause(pause).await.is_none() {
            return Asked::Stopping;
        }
    }
}

/// One healthy look at the venue before an order is sent that may have been sent before.
pub(super) async fn look_before<V: Venue>(
    dealer: &Dealer<V>,
    id: &ClientOrderId,
    deadline: Option<Timestamp>,
) -> Asked {
    let mut backoff = Backoff::new(Reason::LookUp);
    loop {
        match look_up(dealer, id).await {
            None => return Asked::Stopping,
            Some(LookUp::Found(order)) => return Asked::Found(order),
            Some(LookUp::Absent) => return Asked::Absent,
            Some(LookUp::Nothing) => {}
        }
        if deadline.is_some_and(|deadline| dealer.clock.now() >= deadline) {
            return Asked::TimeUp;
        }
        if dealer.pause(backoff.next_delay()).await.is_none() {
            return Asked::Stopping;
        }
    }
}

/// Watches an order nobody could resolve by its deadline, ever more rarely. `None`: the daemon is stopping.
pub(super) async fn watch<V: Venue>(
    dealer: &Dealer<V>,
    id: &ClientOrderId,
    asked: Option<&Placement>,
    since: Timestamp,
) -> Option<Verdict> {
    let _doubt = dealer.doubts.begin(since);
    let mut pause = Backoff::between(Duration::from_secs(5), Duration::from_secs(300));
    let mut absences = 0;
    loop {
        match look_up(dealer, id).await? {
            LookUp::Found(order) => {
                return Some(match compare(&order, asked) {
                    Ok(acceptance) => Verdict::LateAccepted(acceptance),
                    Err(mismatch) => conflict(&order, mismatch),
                });
            }
            LookUp::Absent => absences += 1,
            LookUp::Nothing => absences = 0,
        }
        // No time at all while `since` is yet to come, as a deadline may be.
        if dealer.clock.since(since) >= WATCH && absences >= ABSENCES_NEEDED {
            return Some(Verdict::ConfirmedAbsent);
        }
        dealer.pause(pause.next_delay()).await?;
    }
}

/// What an order found under our id means: ours, or somebody else's.
pub(super) fn found(order: &Order, asked: Option<&Placement>) -> Verdict {
    match compare(order, asked) {
        Ok(acceptance) => Verdict::Accepted(acceptance),
        Err(mismatch) => conflict(order, mismatch),
    }
}

fn compare(order: &Order, asked: Option<&Placement>) -> Result<Acceptance, Mismatch> {
    asked.map_or(Ok(()), |asked| order.is_what_was_asked(asked))?;
    Ok(Acceptance {
        order_id: order.id,
        order: Some(Arc::new(order.clone())),
        by_lookup: true,
        ..Acceptance::default()
    })
}

fn conflict(order: &Order, mismatch: Mismatch) -> Verdict {
    Verdict::Conflict {
        message: format!("the venue has another order under this client order id: {mismatch}"),
        order_id: order.id,
    }
}

enum LookUp {
    Found(Box<Order>),
    Absent,
    /// No answer to the question.
    Nothing,
}

/// One look-up. `None`: the daemon is stopping.
async fn look_up<V: Venue>(dealer: &Dealer<V>, id: &ClientOrderId) -> Option<LookUp> {
    trial::at(Point::Asking, id.as_str());
    let answer = tokio::select! {
        biased;
        () = dealer.stop.cancelled() => return None, // cancel-safe: level-triggered
        answer = dealer.venue.find(id) => answer,    // a read, dropped it changes nothing
    };
    trial::at(Point::Asked, id.as_str());
    let pause = match answer {
        LookUpAnswer::Found(order) => return Some(LookUp::Found(order)),
        LookUpAnswer::Absent => {
            debug!(client_order_id = %id, "the venue does not have the order now");
            return Some(LookUp::Absent);
        }
        LookUpAnswer::AccountRefused(refusal) => {
            dealer.account_refused(refusal);
            None
        }
        LookUpAnswer::Failed { cause, retry_after } => {
            warn!(client_order_id = %id, cause, "look-up gave no answer");
            retry_after
        }
    };
    if let Some(pause) = pause {
        dealer.pause(pause).await?;
    }
    Some(LookUp::Nothing)
}
