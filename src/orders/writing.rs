//! What is written into the ledger for a command in hand: its intent, whose it is, its outcome.
//!
//! Every write is a compare-and-set on the revision that was read. One that may or may not have happened is read
//! again by the caller, which then decides again.

use tracing::{debug, warn};

use super::desk::{Inner, WRITE_PAUSE};
use super::in_hand::OrderInHand;
use super::place::{Ended, Publisher};
use super::trouble::Trouble;
use super::venue::Venue;
use crate::backoff::{Backoff, Reason};
use crate::bus::WriteError;
use crate::domain::record::{Intent, RecordState};
use crate::domain::{ClientOrderId, CommandId, OrderRecord, Outcome, Verdict};
use crate::ledger::Page;
use crate::trial::{self, Point};
use crate::wire;

/// The terminal outcome somebody else wrote for this very command. There is one of them, and that one stands.
pub(super) fn settled_meanwhile(page: &Page, command: CommandId) -> Option<Box<Outcome>> {
    match &page.record.as_ref()?.state {
        RecordState::Settled(intent, outcome) if intent.id == command && outcome.verdict.is_terminal() => {
            Some(outcome.clone())
        }
        RecordState::Settled(..)
        | RecordState::Intent(_)
        | RecordState::CancelMark
        | RecordState::External => None,
    }
}

/// Reads a record whose outcome must be written, also while stopping: giving up is the shutdown's to decide.
pub(super) async fn read_until_there<V: Venue>(desk: &Inner<V>, id: &ClientOrderId) -> Option<Page> {
    let mut backoff = Backoff::new(Reason::Nats);
    loop {
        match desk.ledger.read(id).await {
            Ok(page) => return Some(page),
            Err(error) => warn!(%error, "an outcome waits for the ledger"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

pub(super) fn new_intent<V: Venue>(desk: &Inner<V>, order: &OrderInHand) -> Intent {
    Intent {
        command: order.work.kind(),
        id: order.origin.id,
        stored_at: order.origin.stored_at,
        payload_hash: order.hash,
        asked: order.asked.clone(),
        deadline: order.deadline,
        at: desk.dealer.clock.now(),
        attempts: 0,
        order_id: None,
    }
}

pub(super) fn order_outcome<V: Venue>(desk: &Inner<V>, order: &OrderInHand, verdict: Verdict) -> Outcome {
    Outcome {
        client_order_id: order.id.as_str().to_owned(),
        command: order.work.kind(),
        id: order.origin.id,
        stored_at: order.origin.stored_at,
        at: desk.dealer.clock.now(),
        deadline: order.deadline,
        attempts: order.attempts,
        verdict,
        repeated: false,
    }
}

/// Writes the intent. `None`: it is not known to be there.
pub(super) async fn write_intent<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    intent: &Intent,
    page: &Page,
    trouble: &mut Trouble<'_, V>,
) -> Option<u64> {
    let record = OrderRecord {
        client_order_id: order.id.clone(),
        state: RecordState::Intent(intent.clone()),
        order: page.record.as_ref().and_then(|record| record.order.clone()),
        cancel_mark: page.record.as_ref().and_then(|record| record.cancel_mark),
        epoch: desk.dealer.lease.epoch(),
    };
    match desk.ledger.write(&record, page.revision).await {
        Ok(revision) => Some(revision),
        Err(WriteError::Stale) => None,
        Err(WriteError::Unknown(error)) => {
            warn!(%error, "the intent may or may not be in the ledger");
            trouble.failed("an intent", &error);
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

/// Makes a record ours that another leader wrote. `None`: it is not known to be.
pub(super) async fn claim<V: Venue>(desk: &Inner<V>, page: &Page) -> Option<u64> {
    let epoch = desk.dealer.lease.epoch();
    match &page.record {
        Some(record) if record.epoch != epoch => {
            let record = OrderRecord {
                epoch,
                ..record.clone()
            };
            match desk.ledger.write(&record, page.revision).await {
                Ok(revision) => Some(revision),
                Err(WriteError::Stale) => None,
                Err(WriteError::Unknown(error)) => {
                    warn!(%error, "a record may or may not be ours now");
                    tokio::time::sleep(WRITE_PAUSE).await;
                    None
                }
            }
        }
        Some(_) | None => Some(page.revision),
    }
}

/// Takes back an intent under which nothing can have been sent, so that the next process does not take it for doubt.
/// Not being able to costs a look-up, so one attempt is enough.
pub(super) async fn withdraw<V: Venue>(
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
///
/// That the venue has the order stays true whoever asks and whatever becomes of this process: where a publisher is named,
/// it is told beside the write, not after it. Every other outcome could turn out another way if the write were lost, so
/// the ledger has it first.
pub(super) async fn record<V: Venue>(
    desk: &Inner<V>,
    order: &mut OrderInHand,
    intent: &Intent,
    page: Page,
    verdict: Verdict,
    trouble: &mut Trouble<'_, V>,
    publisher: Option<&Publisher<'_>>,
) -> Option<Ended> {
    let (order_id, answered) = match &verdict {
        Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => {
            (acceptance.order_id, acceptance.order.clone())
        }
        Verdict::Conflict { order_id, .. } => (*order_id, None),
        Verdict::Rejected(_)
        | Verdict::Denied { .. }
        | Verdict::Expired
        | Verdict::Invalid { .. }
        | Verdict::CanceledBeforeSend { .. }
        | Verdict::Unresolved { .. }
        | Verdict::ConfirmedAbsent => (None, None),
    };
    // The stream may have told more of the order than the answer to the POST did.
    let told = page.record.as_ref().and_then(|record| record.order.clone());
    let latest = match (told, answered) {
        (Some(told), Some(answered)) => Some(told.or_later(answered)),
        (told, answered) => told.or(answered),
    };
    let outcome = match &order.told {
        Some(told) if told.verdict == verdict => told.as_ref().clone(),
        Some(_) | None => order_outcome(desk, order, verdict),
    };
    let intent = Intent {
        attempts: order.attempts,
        order_id,
        ..intent.clone()
    };
    let record = OrderRecord {
        client_order_id: order.id.clone(),
        state: RecordState::Settled(intent, Box::new(outcome.clone())),
        order: latest,
        cancel_mark: page.record.and_then(|record| record.cancel_mark),
        epoch: desk.dealer.lease.epoch(),
    };
    let (encoded, outcome_encoded) = wire::record_with_outcome(&record);
    let written = desk.ledger.write_encoded(&order.id, encoded, page.revision);
    // A dry run may be over when somebody asks.
    let stays_true = matches!(&outcome.verdict, Verdict::Accepted(acceptance) if !acceptance.simulated);
    let early = publisher.filter(|_| order.told.is_none() && order.is_first() && stays_true);
    let written = match early.zip(outcome_encoded) {
        None => written.await,
        Some((publisher, message)) => {
            let (spelling, trace) = (publisher.spelling, publisher.trace);
            let told = desk.journal.outcome(&outcome, &message, spelling, trace, false);
            let (written, told) = if trial::waits_at(Point::Told) {
                let told = told.await;
                trial::at(Point::Told, order.id.as_str());
                (written.await, told)
            } else {
                tokio::join!(written, told)
            };
            // What is not told now is told behind the write, for as long as that takes.
            if told.is_ok() {
                order.told = Some(Box::new(outcome.clone()));
            }
            written
        }
    };
    match written {
        Ok(_) => {
            trouble.over();
            trial::at(Point::Recorded, order.id.as_str());
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
            trouble.failed("an outcome", &error);
            tokio::time::sleep(WRITE_PAUSE).await;
            None
        }
    }
}
