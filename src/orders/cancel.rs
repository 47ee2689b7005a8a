//! Cancels: of one order by either id, of a strategy's, of all. They overtake everything and wait for nothing but
//! the order they name.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{info, warn};

use super::dealer::Dealer;
use super::desk::{self, Command, Inner};
use super::settle;
use super::venue::Venue;
use crate::alpaca::rest::{CancelAnswer, LookUpAnswer};
use crate::backoff::{Backoff, Reason};
use crate::bus::WriteError;
use crate::domain::outcome::{Acceptance, OrderResult, Refusal};
use crate::domain::record::{CancelMark, RecordState};
use crate::domain::{
    CancelTarget, ClientOrderId, CommandKind, Order, OrderId, OrderRecord, OrderStatus, Strategy, Symbol,
    Verdict,
};
use crate::trial::{self, Bug, Point};
use crate::wire::subject::CommandName;

/// Longest a wide cancel re-lists before it says what remains.
const WIDE_PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two listings of a wide cancel: each one costs a request.
const WIDE_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Orders an outcome tells of, one by one.
const RESULTS_MAX: usize = 1000;
/// Cancels of a wide cancel that are on the wire at once.
const WIDE_AT_ONCE: usize = 8;

/// One cancel command, to its ack.
///
/// It gives its room back while it waits for an order that is on its way, so that other cancels are not kept out.
pub(super) async fn run<V: Venue>(
    desk: &Inner<V>,
    command: Command,
    name: CommandName,
    room: OwnedSemaphorePermit,
) {
    let text = name.text();
    let mark = CancelMark {
        id: command.delivery.id,
        stored_at: command.delivery.stored_at,
    };
    let Some(verdict) = decide(desk, &name, mark, &mut Some(room)).await else {
        // Stopping. A cancel may be sent again, so it simply comes back.
        if let Err(error) = command.delivery.nak().await {
            warn!(%error, "cancel was not handed back, it comes back by itself");
        }
        return;
    };
    trial::at(Point::Known, &command.spelling);
    let outcome = desk::outcome(
        desk,
        &command.delivery,
        CommandKind::Cancel,
        text,
        None,
        0,
        verdict,
    );
    desk::announce(desk, &command, &outcome, None, false).await;
    settle::answer(
        command.delivery,
        settle::settlement(&outcome.verdict),
        outcome.verdict.reason(),
    )
    .await;
}

/// Cancels what is named. `None`: the daemon is stopping.
pub(super) async fn decide<V: Venue>(
    desk: &Inner<V>,
    name: &CommandName,
    mark: CancelMark,
    room: &mut Option<OwnedSemaphorePermit>,
) -> Option<Verdict> {
    match name.cancel_target() {
        CancelTarget::Client(id) => by_client_id(desk, mark, &id, room).await,
        CancelTarget::Uuid(order_id, id) => by_uuid(desk, mark, order_id, &id, room).await,
        CancelTarget::All => wide(&desk.dealer, mark.stored_at, Among::default()).await,
        CancelTarget::Strategy(strategy) => {
            let among = Among {
                strategy: Some(&strategy),
                symbol: None,
            };
            wide(&desk.dealer, mark.stored_at, among).await
        }
    }
}

/// Cancels one order by what the venue knows of it, where the ledger cannot be asked. The mark reaches what has not been
/// sent, in this process.
pub(super) async fn without_ledger<V: Venue>(
    desk: &Inner<V>,
    id: &ClientOrderId,
    mark: CancelMark,
) -> Option<Verdict> {
    desk.dealer.marks.leave(id.clone(), mark);
    match find(&desk.dealer, id).await? {
        Some(order) => cancel_found(&desk.dealer, &order).await,
        None => match OrderId::parse(id.as_str()) {
            Some(order_id) => one(&desk.dealer, order_id).await.map(verdict),
            None => Some(not_found("the venue does not have the order".to_owned())),
        },
    }
}

/// Cancels an order by the publisher's id. `None`: the daemon is stopping.
///
/// The ledger says whether the order was sent. While nobody knows, the cancel leaves its mark, so that the order
/// is not sent if it has not been, and waits until it is known.
async fn by_client_id<V: Venue>(
    desk: &Inner<V>,
    mark: CancelMark,
    id: &ClientOrderId,
    room: &mut Option<OwnedSemaphorePermit>,
) -> Option<Verdict> {
    let mut backoff = Backoff::between(Duration::from_millis(20), Duration::from_secs(2));
    loop {
        let page = desk.read_ledger(id).await?;
        match page.record.as_ref().map(|record| &record.state) {
            Some(RecordState::Settled(_, outcome)) => match &outcome.verdict {
                Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => {
                    return match acceptance.order_id {
                        Some(order_id) => one(&desk.dealer, order_id).await.map(verdict),
                        None => by_look_up(&desk.dealer, id).await,
                    };
                }
                // Nobody knows whether it is there. If it turns up after this, the mark has it taken down.
                Verdict::Unresolved { .. } => {
                    if leave_mark(desk, mark, id, page.record, page.revision).await {
                        return by_look_up(&desk.dealer, id).await;
                    }
                }
                // Under this id the venue has another order; only the venue can tell.
                Verdict::Conflict { .. } => {
                    return by_look_up(&desk.dealer, id).await;
                }
                refused @ (Verdict::Rejected(_)
                | Verdict::Denied { .. }
                | Verdict::Expired
                | Verdict::Invalid { .. }
                | Verdict::CanceledBeforeSend { .. }
                | Verdict::ConfirmedAbsent) => {
                    let message = format!("the order never worked at the venue: it is {}", refused.as_str());
                    return Some(not_found(message));
                }
            },
            Some(RecordState::Intent(_)) => {
                leave_mark(desk, mark, id, page.record, page.revision).await;
                match find(&desk.dealer, id).await? {
                    Some(order) => return cancel_found(&desk.dealer, &order).await,
                    None => {
                        drop(room.take());
                        desk.dealer.pause(backoff.next_delay()).await?;
                    }
                }
            }
            Some(RecordState::CancelMark | RecordState::External) | None => {
                // Perhaps it was placed elsewhere, or before this ledger was.
                if let Some(order) = find(&desk.dealer, id).await? {
                    return cancel_found(&desk.dealer, &order).await;
                }
                if leave_mark(desk, mark, id, page.record, page.revision).await {
                    let message =
                        "no such order yet; if it comes within 30 s, or was published before this cancel, \
                                   it will not be sent"
                            .to_owned();
                    return Some(not_found(message));
                }
            }
        }
    }
}

/// Notes the cancel where its order will meet it. False: somebody wrote in between, read again.
async fn leave_mark<V: Venue>(
    desk: &Inner<V>,
    mark: CancelMark,
    id: &ClientOrderId,
    record: Option<OrderRecord>,
    revision: u64,
) -> bool {
    desk.dealer.marks.leave(id.clone(), mark);
    trial::at(Point::Marked, id.as_str());
    let known = record.as_ref().and_then(|record| record.cancel_mark);
    let order = record.as_ref().and_then(|record| record.order.clone());
    if known.is_some_and(|known| known.id >= mark.id) {
        return true;
    }
    let state = record.map_or(RecordState::CancelMark, |record| record.state);
    // An intent is left to the desk that works on it; the mark in memory reaches its last check.
    if matches!(state, RecordState::Intent(_)) {
        return true;
    }
    let marked = OrderRecord {
        client_order_id: id.clone(),
        state,
        order,
        cancel_mark: Some(mark),
        epoch: desk.dealer.lease.epoch(),
    };
    match desk.ledger.write(&marked, revision).await {
        Ok(_) => true,
        Err(WriteError::Stale) => false,
        Err(WriteError::Unknown(error)) => {
            warn!(%error, "the cancel's mark may or may not be in the ledger");
            tokio::time::sleep(desk::WRITE_PAUSE).await;
            false
        }
    }
}

/// Cancels by a UUID: a client id that looks like one if we know it, else the venue's own.
async fn by_uuid<V: Venue>(
    desk: &Inner<V>,
    mark: CancelMark,
    order_id: OrderId,
    id: &ClientOrderId,
    room: &mut Option<OwnedSemaphorePermit>,
) -> Option<Verdict> {
    if desk.read_ledger(id).await?.record.is_some() {
        return by_client_id(desk, mark, id, room).await;
    }
    match one(&desk.dealer, order_id).await? {
        Err(NotCanceled::NotFound(_)) => by_client_id(desk, mark, id, room).await,
        judged => Some(verdict(judged)),
    }
}

async fn by_look_up<V: Venue>(dealer: &Dealer<V>, id: &ClientOrderId) -> Option<Verdict> {
    match find(dealer, id).await? {
        Some(order) => cancel_found(dealer, &order).await,
        None => Some(not_found("the venue does not have the order".to_owned())),
    }
}

async fn cancel_found<V: Venue>(dealer: &Dealer<V>, order: &Order) -> Option<Verdict> {
    match order.id {
        Some(order_id) => one(dealer, order_id).await.map(verdict),
        None => Some(not_found("the venue's order has no id".to_owned())),
    }
}

/// The venue's judgement of one cancel.
type Judged = Result<Acceptance, NotCanceled>;

/// Why the venue did not take a cancel.
enum NotCanceled {
    /// It has no such order.
    NotFound(Refusal),
    /// It has the order, and says why not.
    Refused(Refusal),
}

impl NotCanceled {
    fn refusal(self) -> Refusal {
        match self {
            Self::NotFound(refusal) | Self::Refused(refusal) => refusal,
        }
    }
}

fn verdict(judged: Judged) -> Verdict {
    judged.map_or_else(|error| Verdict::Rejected(error.refusal()), Verdict::Accepted)
}

fn not_found(message: String) -> Verdict {
    Verdict::Rejected(Refusal {
        message,
        ..Refusal::default()
    })
}

/// Asks the venue for an order until it answers. `None`: the daemon is stopping.
async fn find<V: Venue>(dealer: &Dealer<V>, id: &ClientOrderId) -> Option<Option<Box<Order>>> {
    let mut backoff = Backoff::new(Reason::LookUp);
    loop {
        trial::at(Point::Asking, id.as_str());
        let answer = dealer.venue.find(id).await;
        trial::at(Point::Asked, id.as_str());
        let retry_after = match answer {
            LookUpAnswer::Found(order) => return Some(Some(order)),
            LookUpAnswer::Absent => return Some(None),
            LookUpAnswer::AccountRefused(refusal) => {
                dealer.account_refused(refusal);
                None
            }
            LookUpAnswer::Failed { cause, retry_after } => {
                warn!(client_order_id = %id, cause, "look-up for a cancel gave no answer");
                retry_after
            }
        };
        dealer
            .pause(retry_after.unwrap_or_default().max(backoff.next_delay()))
            .await?;
    }
}

/// Cancels one order at the venue, again and again until the venue has judged. `None`: the daemon is stopping.
async fn one<V: Venue>(dealer: &Dealer<V>, order_id: OrderId) -> Option<Judged> {
    let mut backoff = Backoff::new(Reason::NotSent);
    loop {
        match attempt(dealer, order_id).await {
            Attempt::Judged(Err(NotCanceled::Refused(refusal))) => {
                return Some(second_look(dealer, order_id, refusal).await);
            }
            Attempt::Judged(judged) => return Some(judged),
            Attempt::Unanswered { retry_after } => {
                dealer
                    .pause(retry_after.unwrap_or_default().max(backoff.next_delay()))
                    .await?;
            }
        }
    }
}

/// A cancel may be sent twice: its first answer was lost, or its command came back. The second one is refused because
/// the first one worked, and that is no refusal.
async fn second_look<V: Venue>(dealer: &Dealer<V>, order_id: OrderId, refusal: Refusal) -> Judged {
    match dealer.venue.find_order(order_id).await {
        LookUpAnswer::Found(order)
            if matches!(order.status, OrderStatus::Canceled | OrderStatus::PendingCancel) =>
        {
            Ok(Acceptance {
                order_id: Some(order_id),
                http_status: refusal.http_status,
                request_id: refusal.request_id,
                message: format!("the order is {} already", order.status),
                ..Acceptance::default()
            })
        }
        LookUpAnswer::Found(_)
        | LookUpAnswer::Absent
        | LookUpAnswer::AccountRefused(_)
        | LookUpAnswer::Failed { .. } => Err(NotCanceled::Refused(refusal)),
    }
}

enum Attempt {
    Judged(Judged),
    /// Nobody knows; it may be sent again.
    Unanswered {
        retry_after: Option<Duration>,
    },
}

/// One cancel request.
async fn attempt<V: Venue>(dealer: &Dealer<V>, order_id: OrderId) -> Attempt {
    trial::at(Point::Canceling, "");
    let answer = dealer.venue.cancel(order_id).await;
    trial::at(Point::Canceled, "");
    match answer {
        CancelAnswer::Accepted {
            http_status,
            request_id,
        } => Attempt::Judged(Ok(Acceptance {
            order_id: Some(order_id),
            http_status,
            request_id,
            ..Acceptance::default()
        })),
        CancelAnswer::NotFound(refusal) => Attempt::Judged(Err(NotCanceled::NotFound(refusal))),
        CancelAnswer::Refused(refusal) => Attempt::Judged(Err(NotCanceled::Refused(refusal))),
        CancelAnswer::AccountRefused(refusal) => {
            dealer.account_refused(refusal);
            Attempt::Unanswered { retry_after: None }
        }
        CancelAnswer::Failed { cause, retry_after } => {
            warn!(%order_id, cause, "cancel gave no answer, sending it again");
            Attempt::Unanswered { retry_after }
        }
    }
}

/// Cancels an order that should not be at the venue. `None`: the daemon is stopping, and the order may still work.
pub(super) async fn take_down<V: Venue>(dealer: &Dealer<V>, order_id: OrderId) -> Option<()> {
    match one(dealer, order_id).await? {
        Ok(_) => info!(%order_id, "late order asked to cancel"),
        Err(error) => {
            warn!(%order_id, message = error.refusal().message, "late order could not be canceled");
        }
    }
    Some(())
}

/// Which open orders a wide cancel means; all of them by default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Among<'a> {
    /// Those of a strategy.
    pub(super) strategy: Option<&'a Strategy>,
    /// Those of a symbol.
    pub(super) symbol: Option<&'a Symbol>,
}

impl Among<'_> {
    fn holds(self, order: &Order) -> bool {
        let of_strategy = self
            .strategy
            .is_none_or(|strategy| strategy.owns(&order.client_order_id));
        let of_symbol = self.symbol.is_none_or(|wanted| {
            order
                .symbol
                .as_ref()
                .is_some_and(|symbol| symbol.same_instrument(wanted))
        });
        of_strategy && of_symbol
    }
}

/// Cancels every open order (of a strategy, of a symbol) that the venue had taken when the command was stored, lists again until
/// none is left, and says what became of each.
pub(super) async fn wide<V: Venue>(
    dealer: &Dealer<V>,
    stored_at: Timestamp,
    among: Among<'_>,
) -> Option<Verdict> {
    // An order accepted after the cancel was stored was meant to live.
    let is_meant = |order: &Order| {
        let early = order
            .created_at
            .or(order.submitted_at)
            .is_none_or(|created| created <= stored_at);
        (early || trial::planted(Bug::WideCancelHasNoEnd)) && among.holds(order)
    };
    let give_up = Instant::now() + WIDE_PATIENCE;
    let mut pauses = Backoff::between(WIDE_PAUSES.0, WIDE_PAUSES.1);
    let mut results: Vec<OrderResult> = Vec::new();
    let (remaining, venue_named) = loop {
        let all = dealer
            .until_read("the open orders", || dealer.venue.open_orders())
            .await?;
        // The venue names the exits of a bracket itself, so no strategy can be told from their ids.
        let venue_named = all
            .iter()
            .filter(|order| OrderId::parse(&order.client_order_id).is_some())
            .count();
        let open: Vec<Order> = all.into_iter().filter(is_meant).collect();
        if dealer.stop.is_cancelled() {
            return None;
        }
        let on_its_way = |order: &Order| {
            results
                .iter()
                .any(|result| result.accepted && result.order_id == order.id)
        };
        let targets: Vec<(&Order, OrderId)> = open
            .iter()
            .filter(|order| !on_its_way(order))
            .filter_map(|order| Some((order, order.id?)))
            .collect();
        let mut attempts = Vec::with_capacity(targets.len());
        for targets in targets.chunks(WIDE_AT_ONCE) {
            let answers = join_all(targets.iter().map(|(_, order_id)| attempt(dealer, *order_id))).await;
            attempts.extend(targets.iter().map(|(order, _)| *order).zip(answers));
        }
        let mut unanswered = 0;
        for (order, attempt) in attempts {
            let result = match attempt {
                Attempt::Judged(judged) => result_of(order, judged),
                // The others do not wait for this one; the next listing comes back to it.
                Attempt::Unanswered { .. } => {
                    unanswered += 1;
                    let message = "the venue did not answer".to_owned();
                    result_of(
                        order,
                        Err(NotCanceled::Refused(Refusal {
                            message,
                            ..Refusal::default()
                        })),
                    )
                }
            };
            match results.iter_mut().find(|known| known.order_id == result.order_id) {
                Some(known) => *known = result,
                None => results.push(result),
            }
        }
        // What is no longer open is done, whatever the venue said of its cancel: a leg goes with its parent.
        for result in &mut results {
            let gone = open.iter().all(|order| order.id != result.order_id);
            if gone && !result.accepted {
                result.accepted = true;
                result.message = format!("no longer open ({})", result.message);
            }
        }
        // Patience is for orders that the venue will not cancel, not for a venue that does not answer.
        if open.is_empty() || (unanswered == 0 && Instant::now() >= give_up) {
            break (open.len(), venue_named);
        }
        dealer.pause(pauses.next_delay()).await?;
    };
    let refused = results.iter().filter(|result| !result.accepted).count();
    let mut message = match (results.len(), remaining) {
        (0, _) => "there was no open order to cancel".to_owned(),
        (count, 0) => format!("{count} orders canceled, none remains"),
        (count, remaining) => format!("{count} orders asked to cancel, {remaining} still open"),
    };
    if among.strategy.is_some() && venue_named > 0 {
        message += &format!(
            "; {venue_named} open orders bear the venue's own ids, such as exits of brackets, and are not touched"
        );
    }
    // An outcome must fit into one message. Those that were refused are told first.
    results.sort_by_key(|result| result.accepted);
    results.truncate(RESULTS_MAX);
    Some(if refused == 0 {
        Verdict::Accepted(Acceptance {
            results,
            message,
            ..Acceptance::default()
        })
    } else {
        Verdict::Rejected(Refusal {
            message,
            results,
            ..Refusal::default()
        })
    })
}

fn result_of(order: &Order, judged: Judged) -> OrderResult {
    let (accepted, code, message) = match judged {
        Ok(_) => (true, 0, String::new()),
        Err(error) => {
            let refusal = error.refusal();
            (false, refusal.code, refusal.message)
        }
    };
    OrderResult {
        order_id: order.id,
        client_order_id: order.client_order_id.clone(),
        symbol: order.symbol.as_ref().map(ToString::to_string).unwrap_or_default(),
        accepted,
        code,
        message,
    }
}
