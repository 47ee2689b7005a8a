//! One order command: decides by the ledger, sends or asks, records, and settles.

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use super::desk::{Command, Inner, WRITE_PAUSE, announce, outcome};
use super::lanes::Place;
use super::ledger::{self, Page, Step};
use super::submit::{self, Past, Sent, Submission};
use super::venue::Venue;
use super::{cancel, gate, resolve, settle};
use crate::backoff::{Backoff, Reason};
use crate::bus::{Delivery, WriteError};
use crate::domain::record::{Intent, PayloadHash, RecordState};
use crate::domain::{ClientOrderId, CommandId, CommandKind, NewOrder, OrderRecord, Outcome, Verdict};
use crate::wire;

/// One order, from its lane to its ack. It keeps its place in the lane and its room in our memory until it is settled
/// or only watched: what is watched for a day must not keep the news out.
pub(super) async fn run<V: Venue>(
    desk: &Inner<V>,
    command: Command,
    id: ClientOrderId,
    order: NewOrder,
    held: (Place, OwnedSemaphorePermit),
) {
    held.0.turn().await;
    let hash = wire::payload_hash(&order);
    let deadline = gate::deadline(command.delivery.stored_at, order.valid_until, desk.policy.max_age);
    let mut order = OrderInHand {
        command,
        id,
        order,
        hash,
        deadline,
        attempts: 0,
    };
    match run_order(desk, &mut order).await {
        Ended::Settled(outcome) => finish(desk, order, *outcome).await,
        Ended::Unresolved(outcome) => {
            announce(desk, &order.command, &outcome, Some(&order.order)).await;
            // The symbol is free again, and so is the room; the order is watched on.
            drop(held);
            let since = order.deadline.unwrap_or(outcome.stored_at);
            let Some(verdict) = resolve::watch(&desk.dealer, &order.id, Some(&order.order), since).await
            else {
                return hand_back(order.command.delivery).await;
            };
            match settle_late(desk, &mut order, verdict).await {
                Some(outcome) => finish(desk, order, outcome).await,
                None => hand_back(order.command.delivery).await,
            }
        }
        Ended::HandBack => hand_back(order.command.delivery).await,
    }
}

/// One order while it is in hand.
struct OrderInHand {
    command: Command,
    id: ClientOrderId,
    order: NewOrder,
    hash: PayloadHash,
    deadline: Option<Timestamp>,
    attempts: u32,
}

/// How the work on an order ended.
enum Ended {
    /// The outcome is terminal and, where it must be, in the ledger.
    Settled(Box<Outcome>),
    /// The outcome is interim and in the ledger.
    Unresolved(Box<Outcome>),
    /// The daemon is stopping, and nothing is on the wire.
    HandBack,
}

async fn finish<V: Venue>(desk: &Inner<V>, order: OrderInHand, outcome: Outcome) {
    announce(desk, &order.command, &outcome, Some(&order.order)).await;
    settle::answer(
        order.command.delivery,
        settle::settlement(&outcome.verdict),
        outcome.verdict.reason(),
    )
    .await;
}

async fn hand_back(delivery: Delivery) {
    debug!("command handed back");
    if let Err(error) = delivery.nak().await {
        // Its ack wait hands it back, only later.
        debug!(%error, "hand-back was not confirmed");
    }
}

/// Decides by the ledger, begins or goes on, and records what came of it.
async fn run_order<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand) -> Ended {
    let delivery = &order.command.delivery;
    let (command_id, stored_at) = (delivery.id, delivery.stored_at);
    loop {
        let Some(page) = desk.read_ledger(&order.id).await else {
            return Ended::HandBack;
        };
        let step = ledger::step(&page, command_id, stored_at, &order.hash);
        let (intent, revision, past) = match step {
            Step::Begin => {
                if desk.dealer.stop.is_cancelled() {
                    return Ended::HandBack;
                }
                let intent = new_intent(desk, order);
                // What can never be sent needs no intent: its outcome goes into the ledger at once. Not so what was
                // delivered before: the venue is asked first, whoever had it then may have sent it.
                let now = desk.dealer.clock.now();
                let passage = gate::passage(now, order.deadline, &desk.dealer.gateway.state());
                if let (gate::Passage::Closed(verdict), 1) = (passage, order.command.delivery.delivered) {
                    match record(desk, order, &intent, page, verdict).await {
                        Some(ended) => return ended,
                        None => continue,
                    }
                }
                match write_intent(desk, order, &intent, &page).await {
                    Some(revision) => {
                        let past = if order.command.delivery.fresh {
                            Past::Clean
                        } else {
                            Past::Suspect
                        };
                        (intent, revision, past)
                    }
                    None => continue, // somebody wrote, or nobody knows: read again and decide again
                }
            }
            Step::Resume(intent) => {
                order.attempts = intent.attempts.max(1);
                (intent, page.revision, Past::Begun)
            }
            Step::Watch(intent) => {
                order.attempts = intent.attempts.max(1);
                let message = "the deadline passed with the outcome unknown; the order is watched".to_owned();
                return Ended::Unresolved(Box::new(order_outcome(
                    desk,
                    order,
                    Verdict::Unresolved { message },
                )));
            }
            Step::Repeat(recorded) => {
                if recorded.id == command_id {
                    return Ended::Settled(recorded);
                }
                let at = desk.dealer.clock.now();
                let repeated = Outcome {
                    id: command_id,
                    stored_at,
                    at,
                    repeated: true,
                    ..*recorded
                };
                return Ended::Settled(Box::new(repeated));
            }
            Step::Canceled(mark) => {
                let intent = new_intent(desk, order);
                let message = format!("the cancel with stream sequence {} came first", mark.id.sequence);
                match record(
                    desk,
                    order,
                    &intent,
                    page,
                    Verdict::CanceledBeforeSend { message },
                )
                .await
                {
                    Some(ended) => return ended,
                    None => continue,
                }
            }
            Step::Spoilt => {
                let message =
                    "the ledger's record of this client order id is not readable, so nothing is sent under \
                               it; use another id, and have the bucket looked at"
                        .to_owned();
                let verdict = Verdict::Conflict {
                    message,
                    order_id: None,
                };
                return Ended::Settled(Box::new(order_outcome(desk, order, verdict)));
            }
            Step::Conflict(order_id) => {
                let message = "this client order id was published before with another payload; \
                               the first one stands, and this one needs an id of its own"
                    .to_owned();
                let verdict = Verdict::Conflict { message, order_id };
                return Ended::Settled(Box::new(order_outcome(desk, order, verdict)));
            }
        };
        let sent = {
            let mut submission = Submission {
                command: command_id,
                stored_at,
                id: &order.id,
                order: &order.order,
                deadline: order.deadline,
                attempts: order.attempts,
            };
            let sent = submit::submit(&desk.dealer, &mut submission, past).await;
            order.attempts = submission.attempts;
            sent
        };
        let verdict = match sent {
            Sent::Verdict(verdict) => verdict,
            Sent::HandBack { doubt } => {
                if !doubt {
                    withdraw(desk, order, page.record, revision).await;
                }
                return Ended::HandBack;
            }
        };
        let mut page = Page { revision, ..page };
        loop {
            match record(desk, order, &intent, page, verdict.clone()).await {
                Some(ended) => return ended,
                // The outcome stands whoever wrote: it goes on top of what is there now.
                None => match read_until_there(desk, &order.id).await {
                    Some(newer) => {
                        if let Some(settled) = settled_meanwhile(&newer, command_id) {
                            return Ended::Settled(settled);
                        }
                        page = newer;
                    }
                    None => return Ended::HandBack,
                },
            }
        }
    }
}

/// The terminal outcome somebody else wrote for this very command. There is one of them, and that one stands.
fn settled_meanwhile(page: &Page, command: CommandId) -> Option<Box<Outcome>> {
    match &page.record.as_ref()?.state {
        RecordState::Settled(intent, outcome, _) if intent.id == command && outcome.verdict.is_terminal() => {
            Some(outcome.clone())
        }
        RecordState::Settled(..) | RecordState::Intent(_) | RecordState::CancelMark => None,
    }
}

/// Reads a record whose outcome must be written, also while stopping: giving up is the shutdown's to decide.
async fn read_until_there<V: Venue>(desk: &Inner<V>, id: &ClientOrderId) -> Option<Page> {
    let mut backoff = Backoff::new(Reason::Nats);
    loop {
        match desk.ledger.read(id).await {
            Ok(page) => return Some(page),
            Err(error) => warn!(%error, "an outcome waits for the ledger"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

fn new_intent<V: Venue>(desk: &Inner<V>, order: &OrderInHand) -> Intent {
    Intent {
        command: CommandKind::Order,
        id: order.command.delivery.id,
        stored_at: order.command.delivery.stored_at,
        payload_hash: order.hash,
        asked: Some(Box::new(order.order.clone())),
        deadline: order.deadline,
        at: desk.dealer.clock.now(),
        attempts: 0,
        order_id: None,
    }
}

fn order_outcome<V: Venue>(desk: &Inner<V>, order: &OrderInHand, verdict: Verdict) -> Outcome {
    let id = order.id.as_str().to_owned();
    outcome(
        desk,
        &order.command.delivery,
        CommandKind::Order,
        id,
        order.deadline,
        order.attempts,
        verdict,
    )
}

/// Writes the intent. `None`: it is not known to be there.
async fn write_intent<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    intent: &Intent,
    page: &Page,
) -> Option<u64> {
    let record = OrderRecord {
        client_order_id: order.id.clone(),
        state: RecordState::Intent(intent.clone()),
        cancel_mark: page.record.as_ref().and_then(|record| record.cancel_mark),
        epoch: 0,
    };
    match desk.ledger.write(&record, page.revision).await {
        Ok(revision) => Some(revision),
        Err(WriteError::Stale) => None,
        Err(WriteError::Unknown(error)) => {
            warn!(%error, "the intent may or may not be in the ledger");
            // Reading it again tells; an intent of this very instant is ours, and nothing was sent under it.
            let again = desk.read_ledger(&order.id).await?;
            let ours = RecordState::Intent(intent.clone());
            if again.record.is_some_and(|record| record.state == ours) {
                return Some(again.revision);
            }
            tokio::time::sleep(WRITE_PAUSE).await;
            None
        }
    }
}

/// Takes back an intent under which nothing can have been sent, so that the next process does not take it for doubt.
/// Not being able to costs a look-up, so one attempt is enough.
async fn withdraw<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    before: Option<OrderRecord>,
    revision: u64,
) {
    if let Err(error) = desk.ledger.restore(&order.id, before.as_ref(), revision).await {
        debug!(%error, "an intent was not taken back, the venue will be asked");
    }
}

/// Writes the outcome. `None`: somebody wrote in between, or nobody knows.
async fn record<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    intent: &Intent,
    page: Page,
    verdict: Verdict,
) -> Option<Ended> {
    let order_id = match &verdict {
        Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => acceptance.order_id,
        Verdict::Conflict { order_id, .. } => *order_id,
        Verdict::Rejected(_)
        | Verdict::Denied { .. }
        | Verdict::Expired
        | Verdict::Invalid { .. }
        | Verdict::CanceledBeforeSend { .. }
        | Verdict::Unresolved { .. }
        | Verdict::ConfirmedAbsent => None,
    };
    let outcome = order_outcome(desk, order, verdict);
    let intent = Intent {
        attempts: order.attempts,
        order_id,
        ..intent.clone()
    };
    let record = OrderRecord {
        client_order_id: order.id.clone(),
        state: RecordState::Settled(intent, Box::new(outcome.clone()), None),
        cancel_mark: page.record.and_then(|record| record.cancel_mark),
        epoch: 0,
    };
    match desk.ledger.write(&record, page.revision).await {
        Ok(_) => {
            let outcome = Box::new(outcome);
            Some(if outcome.verdict.is_terminal() {
                Ended::Settled(outcome)
            } else {
                Ended::Unresolved(outcome)
            })
        }
        Err(WriteError::Stale) => None,
        Err(WriteError::Unknown(error)) => {
            warn!(%error, "the outcome is not in the ledger yet");
            tokio::time::sleep(WRITE_PAUSE).await;
            None
        }
    }
}

/// Records what became of an order after its deadline, and takes a late one down if that is the policy.
async fn settle_late<V: Venue>(
    desk: &Inner<V>,
    order: &mut OrderInHand,
    verdict: Verdict,
) -> Option<Outcome> {
    let marked = read_until_there(desk, &order.id)
        .await?
        .record
        .and_then(|record| record.cancel_mark);
    let is_canceled =
        marked.is_some_and(|mark| mark.cancels(order.command.delivery.id, order.command.delivery.stored_at));
    if let (Verdict::LateAccepted(acceptance), true) = (&verdict, desk.policy.cancel_late || is_canceled)
        && let Some(order_id) = acceptance.order_id
    {
        warn!(%order_id, "the venue had taken the order after all, canceling it");
        // Handed back without a record, it is found and taken down by the next process.
        cancel::take_down(&desk.dealer, order_id).await?;
    }
    loop {
        let page = read_until_there(desk, &order.id).await?;
        if let Some(settled) = settled_meanwhile(&page, order.command.delivery.id) {
            return Some(*settled);
        }
        let intent = match page.record.as_ref().map(|record| &record.state) {
            Some(RecordState::Settled(intent, ..) | RecordState::Intent(intent)) => intent.clone(),
            Some(RecordState::CancelMark) | None => new_intent(desk, order),
        };
        if let Some(Ended::Settled(outcome)) = record(desk, order, &intent, page, verdict.clone()).await {
            return Some(*outcome);
        }
    }
}
