//! Replaces: which order at the venue is meant, and whether the one that was taken really took its place.
//!
//! The venue's answer to a replace says that it was taken, not that the old order is gone: the old one may fill
//! first, and then the new one is rejected (source: Alpaca Trading API, replace order by id). So the outcome waits
//! for the venue to say which of the two happened.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::dealer::Dealer;
use super::desk::Inner;
use super::in_hand::{OrderInHand, Work};
use super::place::Prepared;
use super::resolve::ABSENCES_NEEDED;
use super::submit::Sent;
use super::venue::Venue;
use crate::alpaca::rest::LookUpAnswer;
use crate::backoff::{Backoff, Reason};
use crate::domain::order::Replacement;
use crate::domain::outcome::{Acceptance, DenialReason, Refusal};
use crate::domain::record::{Asked, RecordState};
use crate::domain::{
    ClientOrderId, Order, OrderId, OrderName, OrderStatus, Placement, ReplaceOrder, Strategy, Verdict,
};

/// How long a replace waits for an order that cannot be replaced yet, and for the venue to say whether it was.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest chain of replacements that is followed. Each link costs a request.
const CHAIN_MAX: usize = 32;

/// Finds the order that is to be replaced: the last of its chain.
pub(super) async fn prepare<V: Venue>(
    desk: &Inner<V>,
    id: &ClientOrderId,
    command: &ReplaceOrder,
    deadline: Option<Timestamp>,
) -> Prepared {
    let named = command.order.text();
    let named_order = match by_ledger(desk, &command.order).await {
        Some(Known::At(order_id)) => by_order_id(&desk.dealer, order_id, deadline).await,
        Some(Known::Elsewhere) => by_name(&desk.dealer, &command.order, deadline).await,
        Some(Known::Never(why)) => {
            return refuse(format!(
                "the order {named} never worked at the venue: it is {why}"
            ));
        }
        None => return Prepared::Stopping,
    };
    let mut order = match named_order {
        Looked::Found(order) => order,
        Looked::Absent => return refuse(format!("the venue does not have the order {named}")),
        Looked::TimeUp => return Prepared::Over(Verdict::Expired),
        Looked::Stopping => return Prepared::Stopping,
    };
    if Strategy::of(&order.client_order_id) != Strategy::of(id.as_str()) {
        return Prepared::Over(other_strategy(named));
    }
    for _ in 0..CHAIN_MAX {
        let Some(next) = order
            .replaced_by
            .filter(|_| order.status == OrderStatus::Replaced)
        else {
            let Some(replaces) = order.id else {
                return refuse("the venue's order has no id".to_owned());
            };
            let changes = command.changes.clone();
            let replacement = Placement::Replacement(Replacement { replaces, changes });
            return Prepared::Ready(Asked::Placement(Box::new(replacement)));
        };
        order = match by_order_id(&desk.dealer, next, deadline).await {
            Looked::Found(order) => order,
            Looked::Absent => return refuse(format!("the venue does not have the successor of {named}")),
            Looked::TimeUp => return Prepared::Over(Verdict::Expired),
            Looked::Stopping => return Prepared::Stopping,
        };
    }
    refuse(format!(
        "the order {named} was replaced more than {CHAIN_MAX} times"
    ))
}

/// What a replace of another strategy's order comes to.
pub(super) fn other_strategy(named: &ClientOrderId) -> Verdict {
    Verdict::Denied {
        reason: DenialReason::Strategy,
        message: format!(
            "the order {named} belongs to another strategy; a replace stays within the orders of its own"
        ),
        breach: None,
    }
}

fn refuse(message: String) -> Prepared {
    Prepared::Over(Verdict::Rejected(Refusal {
        message,
        ..Refusal::default()
    }))
}

/// What the ledger knows of the order that is to be replaced.
enum Known {
    /// The venue has it, under this id.
    At(OrderId),
    /// It never worked.
    Never(&'static str),
    /// The venue must be asked.
    Elsewhere,
}

async fn by_ledger<V: Venue>(desk: &Inner<V>, name: &OrderName) -> Option<Known> {
    let page = desk.read_ledger(name.text()).await?;
    Some(match page.record.map(|record| record.state) {
        Some(RecordState::Settled(_, outcome)) => match &outcome.verdict {
            Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => {
                acceptance.order_id.map_or(Known::Elsewhere, Known::At)
            }
            Verdict::Unresolved { .. } | Verdict::Conflict { .. } => Known::Elsewhere,
            refused @ (Verdict::Rejected(_)
            | Verdict::Denied { .. }
            | Verdict::Expired
            | Verdict::Invalid { .. }
            | Verdict::CanceledBeforeSend { .. }
            | Verdict::ConfirmedAbsent) => Known::Never(refused.as_str()),
        },
        Some(RecordState::Intent(_) | RecordState::CancelMark | RecordState::External) | None => {
            Known::Elsewhere
        }
    })
}

/// What looking for an order gave.
enum Looked {
    Found(Box<Order>),
    Absent,
    TimeUp,
    Stopping,
}

async fn by_order_id<V: Venue>(dealer: &Dealer<V>, id: OrderId, deadline: Option<Timestamp>) -> Looked {
    look(dealer, deadline, || dealer.venue.find_order(id)).await
}

/// A UUID is a client id that looks like one, if there is such an order, else the venue's own.
async fn by_name<V: Venue>(dealer: &Dealer<V>, name: &OrderName, deadline: Option<Timestamp>) -> Looked {
    if let OrderName::Uuid(order_id, _) = name {
        match by_order_id(dealer, *order_id, deadline).await {
            Looked::Absent => {}
            looked @ (Looked::Found(_) | Looked::TimeUp | Looked::Stopping) => return looked,
        }
    }
    look(dealer, deadline, || dealer.venue.find(name.text())).await
}

/// Looks until there is an answer. One absence proves nothing: the venue is eventually consistent.
async fn look<V: Venue, F: Future<Output = LookUpAnswer>>(
    dealer: &Dealer<V>,
    deadline: Option<Timestamp>,
    mut ask: impl FnMut() -> F,
) -> Looked {
    let mut backoff = Backoff::new(Reason::LookUp);
    let mut absences = 0;
    loop {
        let retry_after = match ask().await {
            LookUpAnswer::Found(order) => return Looked::Found(order),
            LookUpAnswer::Absent => {
                absences += 1;
                if absences >= ABSENCES_NEEDED {
                    return Looked::Absent;
                }
                None
            }
            LookUpAnswer::AccountRefused(refusal) => {
                dealer.account_refused(refusal);
                None
            }
            LookUpAnswer::Failed { cause, retry_after } => {
                warn!(cause, "look-up for a replace gave no answer");
                retry_after
            }
        };
        if deadline.is_some_and(|deadline| dealer.clock.now() >= deadline) {
            return Looked::TimeUp;
        }
        let pause = retry_after.unwrap_or_default().max(backoff.next_delay());
        if dealer.pause(pause).await.is_none() {
            return Looked::Stopping;
        }
    }
}

/// Whether a replace that the venue refused may be let through a moment later, because the order it names is only
/// just on its way to the market. Waits that moment.
pub(super) async fn may_pass<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand) -> bool {
    let Work::Replace(_) = &order.work else {
        return false;
    };
    let Some(replaces) = order.replaces() else {
        return false;
    };
    let (until, pause) = order.patience(PATIENCE, PAUSES);
    if Instant::now() >= until {
        return false;
    }
    let LookUpAnswer::Found(named) = desk.dealer.venue.find_order(replaces).await else {
        return false;
    };
    let is_on_its_way = match named.status {
        OrderStatus::Accepted | OrderStatus::PendingNew | OrderStatus::PendingReplace => true,
        // Somebody else's replace was faster; the next look follows the chain.
        OrderStatus::Replaced => true,
        OrderStatus::New
        | OrderStatus::Held
        | OrderStatus::PartiallyFilled
        | OrderStatus::PendingCancel
        | OrderStatus::DoneForDay
        | OrderStatus::Filled
        | OrderStatus::Canceled
        | OrderStatus::Expired
        | OrderStatus::Rejected
        | OrderStatus::Other(_) => false,
    };
    is_on_its_way && desk.dealer.pause(pause).await.is_some()
}

/// Waits until the venue says whether the replacement took the old order's place.
pub(super) async fn follow<V: Venue>(dealer: &Dealer<V>, acceptance: Acceptance) -> Sent {
    let Some(order_id) = acceptance.order_id else {
        return Sent::Verdict(Verdict::Accepted(acceptance));
    };
    let give_up = Instant::now() + PATIENCE;
    let mut pauses = Backoff::between(PAUSES.0, PAUSES.1);
    let mut latest = acceptance.order.clone();
    loop {
        match latest.as_deref().map(standing) {
            Some(Standing::Took) => {
                return Sent::Verdict(Verdict::Accepted(Acceptance {
                    order: latest,
                    ..acceptance
                }));
            }
            Some(Standing::Over) => {
                return over(dealer, acceptance, latest.as_deref()).await;
            }
            Some(Standing::OnItsWay) | None => {}
        }
        if Instant::now() >= give_up {
            let message =
                "the venue took the replace and has not said yet whether the old order filled first; \
                           the trade updates tell"
                    .to_owned();
            return Sent::Verdict(Verdict::Accepted(Acceptance {
                message,
                ..acceptance
            }));
        }
        if dealer.pause(pauses.next_delay()).await.is_none() {
            return Sent::HandBack { doubt: true };
        }
        match dealer.venue.find_order(order_id).await {
            LookUpAnswer::Found(order) => latest = Some(Arc::from(order)),
            LookUpAnswer::Absent | LookUpAnswer::AccountRefused(_) | LookUpAnswer::Failed { .. } => {
                debug!(%order_id, "the venue does not say what became of the replace");
            }
        }
    }
}

/// What the state of a replacement says.
enum Standing {
    Took,
    OnItsWay,
    /// It does not work any more, or never did.
    Over,
}

fn standing(order: &Order) -> Standing {
    match order.status {
        OrderStatus::New
        | OrderStatus::Held
        | OrderStatus::PartiallyFilled
        | OrderStatus::DoneForDay
        | OrderStatus::Filled
        | OrderStatus::Replaced => Standing::Took,
        OrderStatus::Accepted
        | OrderStatus::PendingNew
        | OrderStatus::PendingReplace
        | OrderStatus::PendingCancel
        | OrderStatus::Other(_) => Standing::OnItsWay,
        OrderStatus::Canceled | OrderStatus::Expired | OrderStatus::Rejected => Standing::Over,
    }
}

/// A replacement that is over took the old order's place if the old order says so.
async fn over<V: Venue>(dealer: &Dealer<V>, acceptance: Acceptance, latest: Option<&Order>) -> Sent {
    // Its line waits for this one, so a venue that does not answer is not waited for longer than for the replace.
    let patience = SignedDuration::try_from(PATIENCE).unwrap_or(SignedDuration::MAX);
    let give_up = dealer
        .clock
        .now()
        .saturating_add(patience)
        .unwrap_or(Timestamp::MAX);
    let old = match latest.and_then(|order| order.replaces) {
        Some(old) => match by_order_id(dealer, old, Some(give_up)).await {
            Looked::Found(old) => old,
            Looked::Absent | Looked::TimeUp => return Sent::Verdict(Verdict::Accepted(acceptance)),
            Looked::Stopping => return Sent::HandBack { doubt: true },
        },
        None => return Sent::Verdict(Verdict::Accepted(acceptance)),
    };
    if old.status == OrderStatus::Replaced {
        return Sent::Verdict(Verdict::Accepted(acceptance));
    }
    let message = format!(
        "the order could not be replaced: it is {}, and its replacement {}",
        old.status,
        latest.map_or("gone", |order| order.status.as_str())
    );
    Sent::Verdict(Verdict::Rejected(Refusal {
        http_status: acceptance.http_status,
        message,
        request_id: acceptance.request_id,
        order_id: acceptance.order_id,
        ..Refusal::default()
    }))
}
