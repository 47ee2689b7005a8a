//! One command that creates an order: decides by the ledger, sends or asks, records, and settles.
//!
//! What is sent for a plain order is the order itself. What is sent for a replace or a close is found out first
//! ([`super::replace`], [`super::close`]), and then stands in the intent: whoever resumes it sends the same again.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::desk::{Command, Inner, WRITE_PAUSE, announce};
use super::lanes::Place;
use super::ledger::{self, Page, Step};
use super::resolve::Asked as Looked;
use super::submit::{self, Past, Sent, Submission};
use super::trouble::Trouble;
use super::venue::Venue;
use super::{cancel, close, gate, replace, resolve, settle};
use crate::backoff::{Backoff, Reason};
use crate::bus::{Delivery, WriteError};
use crate::domain::record::{Asked, Intent, PayloadHash, RecordState};
use crate::domain::{
    ClientOrderId, CloseSize, CommandId, CommandKind, NewOrder, OrderId, OrderRecord, Outcome, Placement,
    ReplaceOrder, Symbol, Verdict,
};
use crate::trial::{self, Bug, Point};

/// What a command wants to be made under its id.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// This very order.
    Order(Box<NewOrder>),
    /// Whatever takes the place of another order.
    Replace(Box<ReplaceOrder>),
    /// Whatever closes one position.
    Close {
        symbol: Symbol,
        size: CloseSize,
        cancel_orders: bool,
    },
    /// One order per position, each under an id of its own.
    CloseAll { size: CloseSize, cancel_orders: bool },
}

impl Work {
    const fn kind(&self) -> CommandKind {
        match self {
            Self::Order(_) => CommandKind::Order,
            Self::Replace(_) => CommandKind::Replace,
            Self::Close { .. } | Self::CloseAll { .. } => CommandKind::Close,
        }
    }

    /// Whether what comes of it can only make a position smaller.
    const fn reduces(&self) -> bool {
        match self {
            Self::Order(_) | Self::Replace(_) => false,
            Self::Close { .. } | Self::CloseAll { .. } => true,
        }
    }
}

/// Where a command came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) id: CommandId,
    pub(super) stored_at: Timestamp,
    delivered: u64,
    fresh: bool,
}

impl Origin {
    pub(super) fn of(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id,
            stored_at: delivery.stored_at,
            delivered: delivery.delivered,
            fresh: delivery.fresh,
        }
    }
}

/// One command that creates an order, from its lane to its ack. It keeps its place in the lane and its room in our
/// memory until it is settled or only watched: what is watched for a day must not keep the news out.
pub(super) async fn run<V: Venue>(
    desk: &Inner<V>,
    command: Command,
    mut order: OrderInHand,
    held: (Place, OwnedSemaphorePermit),
) {
    held.0.turn().await;
    trial::at(Point::Turn, order.id.as_str());
    if trial::planted(Bug::AckFirst) {
        command.delivery.ack_early().await;
    }
    match run_order(desk, &mut order).await {
        Ended::Settled(outcome) => finish(desk, command, &order, *outcome).await,
        Ended::Unresolved(outcome) => {
            announce(desk, &command, &outcome, order.asked_order()).await;
            if trial::planted(Bug::InterimIsTheEnd) {
                return settle::answer(command.delivery, settle::Settlement::Ack, "").await;
            }
            // The symbol is free again, and so is the room; the order is watched on.
            drop(held);
            match run_late(desk, &mut order).await {
                Some(outcome) => finish(desk, command, &order, outcome).await,
                None => hand_back(command.delivery).await,
            }
        }
        Ended::HandBack => hand_back(command.delivery).await,
    }
}

/// One command while it is in hand.
pub(super) struct OrderInHand {
    pub(super) origin: Origin,
    pub(super) id: ClientOrderId,
    pub(super) work: Work,
    pub(super) hash: PayloadHash,
    pub(super) deadline: Option<Timestamp>,
    attempts: u32,
    /// What is sent for it, once that is known.
    asked: Option<Asked>,
    /// Until when a venue that is not ready for a replace is asked again, and how soon.
    patience: Option<(Instant, Backoff)>,
}

impl OrderInHand {
    pub(super) fn new(
        origin: Origin,
        id: ClientOrderId,
        work: Work,
        hash: PayloadHash,
        deadline: Option<Timestamp>,
    ) -> Self {
        let asked = match &work {
            Work::Order(order) => Some(Asked::Placement(Box::new(Placement::New(order.as_ref().clone())))),
            Work::Replace(_) | Work::Close { .. } | Work::CloseAll { .. } => None,
        };
        Self {
            origin,
            id,
            work,
            hash,
            deadline,
            attempts: 0,
            asked,
            patience: None,
        }
    }

    fn placement(&self) -> Option<&Placement> {
        match self.asked.as_ref()? {
            Asked::Placement(placement) => Some(placement),
            Asked::PerSymbol(_) => None,
        }
    }

    /// Which order at the venue is replaced, once that is known.
    pub(super) fn replaces(&self) -> Option<OrderId> {
        match self.placement()? {
            Placement::Replacement(replacement) => Some(replacement.replaces),
            Placement::New(_) => None,
        }
    }

    /// Until when the venue is asked again, counted from when that is asked first, and how soon.
    pub(super) fn patience(&mut self, span: Duration, pauses: (Duration, Duration)) -> (Instant, Duration) {
        let (until, backoff) = self
            .patience
            .get_or_insert_with(|| (Instant::now() + span, Backoff::between(pauses.0, pauses.1)));
        (*until, backoff.next_delay())
    }

    /// The order that is sent, if it is a new one.
    fn asked_order(&self) -> Option<&NewOrder> {
        match self.placement()? {
            Placement::New(order) => Some(order),
            Placement::Replacement(_) => None,
        }
    }
}

/// How the work on a command ended.
pub(super) enum Ended {
    /// The outcome is terminal and, where it must be, in the ledger.
    Settled(Box<Outcome>),
    /// The outcome is interim and in the ledger.
    Unresolved(Box<Outcome>),
    /// The daemon is stopping, and nothing is on the wire.
    HandBack,
}

/// What is to be sent for a command.
pub(super) enum Prepared {
    Ready(Asked),
    /// Nothing: this is its outcome.
    Over(Verdict),
    /// The daemon is stopping.
    Stopping,
}

async fn finish<V: Venue>(desk: &Inner<V>, command: Command, order: &OrderInHand, outcome: Outcome) {
    announce(desk, &command, &outcome, order.asked_order()).await;
    settle::answer(
        command.delivery,
        settle::settlement(&outcome.verdict),
        outcome.verdict.reason(),
    )
    .await;
}

async fn hand_back(delivery: Delivery) {
    debug!("command handed back");
    if trial::planted(Bug::HandBackIsAck) {
        return settle::answer(delivery, settle::Settlement::Ack, "").await;
    }
    if let Err(error) = delivery.nak().await {
        // Its ack wait hands it back, only later.
        debug!(%error, "hand-back was not confirmed");
    }
}

/// Decides by the ledger, begins or goes on, and records what came of it.
pub(super) async fn run_order<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand) -> Ended {
    let Origin {
        id: command_id,
        stored_at,
        ..
    } = order.origin;
    let mut trouble = Trouble::new(&desk.dealer);
    loop {
        let Some(page) = desk.read_ledger(&order.id).await else {
            return Ended::HandBack;
        };
        trial::at(Point::LedgerRead, order.id.as_str());
        let step = ledger::step(&page, command_id, stored_at, &order.hash);
        let (intent, revision, past) = match step {
            Step::Begin => {
                if desk.dealer.stop.is_cancelled() {
                    return Ended::HandBack;
                }
                let (asked, past) = match begin(desk, order).await {
                    Begun::Send(asked, past) => (asked, past),
                    Begun::Over(verdict) => {
                        let intent = new_intent(desk, order);
                        match record(desk, order, &intent, page, verdict, &mut trouble).await {
                            Some(ended) => return ended,
                            None => continue,
                        }
                    }
                    Begun::Stopping => return Ended::HandBack,
                };
                trial::at(Point::Prepared, order.id.as_str());
                order.asked = Some(asked);
                let intent = new_intent(desk, order);
                match write_intent(desk, order, &intent, &page, &mut trouble).await {
                    Some(revision) => {
                        trouble.over();
                        trial::at(Point::IntentWritten, order.id.as_str());
                        (intent, revision, past)
                    }
                    None => continue, // somebody wrote, or nobody knows: read again and decide again
                }
            }
            Step::Resume(intent) => {
                order.resume(&intent);
                // A former leader that wakes up finds the record changed under it, and writes nothing.
                let revision = match claim(desk, &page).await {
                    Some(revision) => revision,
                    None => continue,
                };
                if trial::planted(Bug::CloseIsComputedAnew)
                    && let Begun::Over(verdict) = begin(desk, order).await
                {
                    let page = Page { revision, ..page };
                    match record(desk, order, &intent, page, verdict, &mut trouble).await {
                        Some(ended) => return ended,
                        None => continue,
                    }
                }
                let past = if trial::planted(Bug::BegunIsSent) {
                    Past::Clean
                } else {
                    Past::Begun
                };
                (intent, revision, past)
            }
            Step::Watch(intent) => {
                order.resume(&intent);
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
                    &mut trouble,
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
        let verdict = match send(desk, order, past).await {
            Sent::Verdict(Verdict::Rejected(refusal)) if replace::may_pass(desk, order).await => {
                debug!(message = refusal.message, "the order cannot be replaced yet");
                withdraw(desk, order, page.record, revision).await;
                order.asked = None;
                continue;
            }
            Sent::Verdict(verdict) => verdict,
            Sent::HandBack { doubt } => {
                if !doubt {
                    withdraw(desk, order, page.record, revision).await;
                }
                return Ended::HandBack;
            }
        };
        trial::at(Point::Known, order.id.as_str());
        let mut page = Page { revision, ..page };
        loop {
            match record(desk, order, &intent, page, verdict.clone(), &mut trouble).await {
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

/// What is begun.
enum Begun {
    Send(Asked, Past),
    /// Nothing: this is the command's outcome.
    Over(Verdict),
    /// The daemon is stopping.
    Stopping,
}

/// Finds out what is to be sent for a command nobody has begun.
async fn begin<V: Venue>(desk: &Inner<V>, order: &OrderInHand) -> Begun {
    // What can never be sent needs no intent: its outcome goes into the ledger at once. Not so what was delivered
    // before: the venue is asked first, whoever had it then may have sent it.
    let now = desk.dealer.clock.now();
    let state = desk.dealer.gateway.state();
    let passage = gate::passage(now, order.deadline, &state, order.work.reduces());
    if let (gate::Passage::Closed(verdict), 1) = (passage, order.origin.delivered) {
        return Begun::Over(verdict);
    }
    let past = if order.origin.fresh || trial::planted(Bug::SuspectIsSent) {
        Past::Clean
    } else {
        Past::Suspect
    };
    if let Some(asked) = order.asked.clone() {
        return Begun::Send(asked, past);
    }
    // What it comes to depends on what is at the venue now, its own order included: that one is looked for first.
    let one = !matches!(order.work, Work::CloseAll { .. });
    if past == Past::Suspect && one && !trial::planted(Bug::CloseIsComputedAnew) {
        match resolve::look_before(&desk.dealer, &order.id, order.deadline).await {
            Looked::Found(found) => {
                let found = Sent::Verdict(resolve::found(&found, None));
                return match followed(desk, &order.work, found).await {
                    Sent::Verdict(verdict) => Begun::Over(verdict),
                    Sent::HandBack { .. } => Begun::Stopping,
                };
            }
            Looked::Absent => {}
            Looked::TimeUp => {
                let message =
                    "the deadline passed, and the venue has not said whether it has the order".to_owned();
                return Begun::Over(Verdict::Unresolved { message });
            }
            Looked::Stopping => return Begun::Stopping,
        }
    }
    // Whatever it was that came before, nothing is begun for what is too late now: no cancel, no look at positions.
    let now = desk.dealer.clock.now();
    let state = desk.dealer.gateway.state();
    if let gate::Passage::Closed(verdict) = gate::passage(now, order.deadline, &state, order.work.reduces()) {
        return Begun::Over(verdict);
    }
    // Found out while orders are held back, it would be old news when they are let go.
    tokio::select! {
        biased;
        () = desk.dealer.stop.cancelled() => return Begun::Stopping,      // cancel-safe: level-triggered
        () = desk.dealer.gateway.clear_to_send() => {}                    // cancel-safe: level-triggered
        () = desk.dealer.until(order.deadline) => return Begun::Over(Verdict::Expired), // cancel-safe
    }
    let prepared = match &order.work {
        Work::Order(new) => Prepared::Ready(Asked::Placement(Box::new(Placement::New(new.as_ref().clone())))),
        Work::Replace(command) => replace::prepare(desk, &order.id, command, order.deadline).await,
        Work::Close {
            symbol,
            size,
            cancel_orders,
        } => close::prepare(desk, order, symbol, *size, *cancel_orders).await,
        Work::CloseAll { .. } => close::list(desk, order).await,
    };
    match prepared {
        Prepared::Ready(asked) => Begun::Send(asked, Past::Clean),
        Prepared::Over(verdict) => Begun::Over(verdict),
        Prepared::Stopping => Begun::Stopping,
    }
}

/// Sends what is to be sent, until its outcome is known or time is up.
async fn send<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand, past: Past) -> Sent {
    let placement = match &order.asked {
        Some(Asked::Placement(placement)) => placement.as_ref(),
        Some(Asked::PerSymbol(symbols)) => return close::each(desk, order, symbols, false).await,
        None => {
            // Written by a later version, or by nobody of ours. What cannot be read cannot be sent again.
            let message = "the ledger does not tell what was sent under this client order id".to_owned();
            return match resolve::ask(&desk.dealer, &order.id, Instant::now(), order.deadline).await {
                Looked::Found(found) => Sent::Verdict(resolve::found(&found, None)),
                Looked::Absent | Looked::TimeUp => Sent::Verdict(Verdict::Unresolved { message }),
                Looked::Stopping => Sent::HandBack { doubt: true },
            };
        }
    };
    let mut submission = Submission {
        command: order.origin.id,
        stored_at: order.origin.stored_at,
        id: &order.id,
        asked: placement,
        reduces: order.work.reduces(),
        deadline: order.deadline,
        attempts: order.attempts,
    };
    let sent = submit::submit(&desk.dealer, &mut submission, past).await;
    order.attempts = submission.attempts;
    followed(desk, &order.work, sent).await
}

/// What the venue has taken, once it has said what came of a replace.
async fn followed<V: Venue>(desk: &Inner<V>, work: &Work, sent: Sent) -> Sent {
    match (sent, work) {
        (Sent::Verdict(Verdict::Accepted(acceptance)), Work::Replace(_))
            if !trial::planted(Bug::ReplaceIsNotFollowed) =>
        {
            replace::follow(&desk.dealer, acceptance).await
        }
        (sent, _) => sent,
    }
}

/// Watches what nobody could resolve by its deadline, and records what became of it. `None`: the daemon is stopping.
pub(super) async fn run_late<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand) -> Option<Outcome> {
    let since = order.deadline.unwrap_or(order.origin.stored_at);
    let verdict = match &order.asked {
        Some(Asked::PerSymbol(symbols)) => match close::each(desk, order, symbols, true).await {
            Sent::Verdict(verdict) => verdict,
            Sent::HandBack { .. } => return None,
        },
        Some(Asked::Placement(_)) | None => {
            resolve::watch(&desk.dealer, &order.id, order.placement(), since).await?
        }
    };
    settle_late(desk, order, verdict).await
}

impl OrderInHand {
    /// Goes on from an intent: what stands there is what was sent.
    fn resume(&mut self, intent: &Intent) {
        self.attempts = intent.attempts.max(1);
        if !matches!(self.work, Work::Order(_)) && !trial::planted(Bug::CloseIsComputedAnew) {
            self.asked.clone_from(&intent.asked);
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

fn order_outcome<V: Venue>(desk: &Inner<V>, order: &OrderInHand, verdict: Verdict) -> Outcome {
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
async fn write_intent<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    intent: &Intent,
    page: &Page,
    trouble: &mut Trouble<'_, V>,
) -> Option<u64> {
    let record = OrderRecord {
        client_order_id: order.id.clone(),
        state: RecordState::Intent(intent.clone()),
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
async fn claim<V: Venue>(desk: &Inner<V>, page: &Page) -> Option<u64> {
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
    trouble: &mut Trouble<'_, V>,
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
        epoch: desk.dealer.lease.epoch(),
    };
    match desk.ledger.write(&record, page.revision).await {
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
    let is_canceled = marked.is_some_and(|mark| mark.cancels(order.origin.id, order.origin.stored_at));
    let take_down = desk.policy.cancel_late && !trial::planted(Bug::LateIsKept);
    if let (Verdict::LateAccepted(acceptance), true) = (&verdict, take_down || is_canceled)
        && let Some(order_id) = acceptance.order_id
    {
        warn!(%order_id, "the venue had taken the order after all, canceling it");
        // Handed back without a record, it is found and taken down by the next process.
        cancel::take_down(&desk.dealer, order_id).await?;
    }
    let mut trouble = Trouble::new(&desk.dealer);
    loop {
        let page = read_until_there(desk, &order.id).await?;
        if let Some(settled) = settled_meanwhile(&page, order.origin.id) {
            return Some(*settled);
        }
        let intent = match page.record.as_ref().map(|record| &record.state) {
            Some(RecordState::Settled(intent, ..) | RecordState::Intent(intent)) => intent.clone(),
            Some(RecordState::CancelMark) | None => new_intent(desk, order),
        };
        if let Some(Ended::Settled(outcome)) =
            record(desk, order, &intent, page, verdict.clone(), &mut trouble).await
        {
            return Some(*outcome);
        }
    }
}
