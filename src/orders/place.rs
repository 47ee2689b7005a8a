//! One command that creates an order ([`super::in_hand`]): decides by the ledger, sends or asks, has it written
//! ([`super::writing`]), and settles.
//!
//! What is sent for a plain order is the order itself. What is sent for a replace or a close is found out first
//! ([`super::replace`], [`super::close`]), and then stands in the intent: whoever resumes it sends the same again.

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{Instrument as _, debug, warn};

use super::desk::{self, Command, Inner};
use super::in_hand::{OrderInHand, Origin, Work};
use super::lanes::Place;
use super::resolve::Asked as Looked;
use super::step::{Step, step};
use super::submit::{self, Past, Sent, Submission};
use super::trouble::Trouble;
use super::venue::Venue;
use super::writing::{
    claim, new_intent, order_outcome, read_until_there, record, settled_meanwhile, withdraw, write_intent,
};
use super::{cancel, close, gate, replace, resolve, settle};
use crate::bus::Delivery;
use crate::domain::record::{Asked, RecordState};
use crate::domain::{GatewayMode, GatewayState, Outcome, Placement, Verdict};
use crate::ledger::Page;
use crate::risk::{Judged, NotAdmitted};
use crate::telemetry::trace;
use crate::trial::{self, Bug, Point};

/// One command that creates an order, from its lane to its ack. It keeps its place in the lane and its room in our
/// memory until it is settled or only watched: what is watched for a day must not keep the news out.
pub(super) async fn run<V: Venue>(
    desk: &Inner<V>,
    command: Command,
    mut order: OrderInHand,
    held: (Place, OwnedSemaphorePermit),
) {
    held.0.turn().instrument(trace::child_span!("lane")).await;
    trial::at(Point::Turn, order.id.as_str());
    if trial::planted(Bug::AckFirst) {
        command.delivery.ack_early().await;
    }
    let publisher = Publisher::of(&command);
    let ended = run_order(desk, &mut order, Some(&publisher)).await;
    match ended {
        Ended::Settled(outcome) => finish(desk, command, &order, *outcome).await,
        Ended::Unresolved(outcome) => {
            announce(desk, &command, &outcome, &order).await;
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

/// What was counted for this command counts no more. What another command with the same id counts, goes on.
fn over<V: Venue>(desk: &Inner<V>, order: &OrderInHand) {
    desk.dealer.risk.over(order.origin.id, &order.id);
}

/// What somebody has begun counts while it is not known what became of it, also in another process than the one that let it
/// begin.
fn count_on<V: Venue>(desk: &Inner<V>, order: &OrderInHand) {
    if let Some(placement) = order.placement() {
        desk.dealer.risk.count_on(order.origin.id, &order.id, placement);
    }
}

/// Whoever published a command, and hears of it in the journal.
pub(super) struct Publisher<'a> {
    pub(super) spelling: &'a str,
    pub(super) trace: Option<&'a str>,
}

impl<'a> Publisher<'a> {
    fn of(command: &'a Command) -> Self {
        Self {
            spelling: &command.spelling,
            trace: command.trace.as_deref(),
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

/// Stores the outcome in the journal, unless it is there.
async fn announce<V: Venue>(desk: &Inner<V>, command: &Command, outcome: &Outcome, order: &OrderInHand) {
    let is_told = order.told.as_deref() == Some(outcome);
    desk::announce(desk, command, outcome, order.asked_order(), is_told).await;
}

async fn finish<V: Venue>(desk: &Inner<V>, command: Command, order: &OrderInHand, outcome: Outcome) {
    announce(desk, &command, &outcome, order).await;
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

/// Decides by the ledger, begins or goes on, and records what came of it. `publisher`: who hears of it in the journal. Unless
/// nobody knows what became of it, it counts no more in the end.
pub(super) async fn run_order<V: Venue>(
    desk: &Inner<V>,
    order: &mut OrderInHand,
    publisher: Option<&Publisher<'_>>,
) -> Ended {
    let ended = begin_or_go_on(desk, order, publisher).await;
    match ended {
        Ended::Settled(_) | Ended::HandBack => over(desk, order),
        Ended::Unresolved(_) => {}
    }
    ended
}

async fn begin_or_go_on<V: Venue>(
    desk: &Inner<V>,
    order: &mut OrderInHand,
    publisher: Option<&Publisher<'_>>,
) -> Ended {
    let Origin {
        id: command_id,
        stored_at,
        ..
    } = order.origin;
    let mut trouble = Trouble::new(&desk.dealer);
    // A round trip less: where the id is known after all, the first write fails, and then it is read.
    let mut unread = order.is_first() && !desk.dealer.risk.has_begun(&order.id);
    loop {
        let page = if std::mem::take(&mut unread) {
            Page::blank()
        } else {
            match desk.read_ledger(&order.id).await {
                Some(page) => page,
                None => return Ended::HandBack,
            }
        };
        trial::at(Point::LedgerRead, order.id.as_str());
        let step = step(&page, command_id, stored_at, &order.hash);
        let (intent, revision, past) = match step {
            Step::Begin => {
                if desk.dealer.stop.is_cancelled() {
                    return Ended::HandBack;
                }
                if is_external(&page) {
                    // Placed by somebody else, or by us before the ledger lost it. The venue knows which.
                    order.origin.distrust();
                }
                let (asked, past) = match begin(desk, order).await {
                    Begun::Send(asked, past) => (asked, past),
                    Begun::Over(verdict) => {
                        let intent = new_intent(desk, order);
                        match record(desk, order, &intent, page, verdict, &mut trouble, None).await {
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
                count_on(desk, order);
                // A former leader that wakes up finds the record changed under it, and writes nothing.
                let revision = match claim(desk, &page).await {
                    Some(revision) => revision,
                    None => continue,
                };
                if trial::planted(Bug::CloseIsComputedAnew)
                    && let Begun::Over(verdict) = begin(desk, order).await
                {
                    let page = Page { revision, ..page };
                    match record(desk, order, &intent, page, verdict, &mut trouble, None).await {
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
                count_on(desk, order);
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
                    None,
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
            let recorded = record(
                desk,
                order,
                &intent,
                page,
                verdict.clone(),
                &mut trouble,
                publisher,
            );
            match recorded.await {
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

/// Whether the venue is known to have an order that no command of ours is known to have made.
fn is_external(page: &Page) -> bool {
    page.record.as_ref().is_some_and(|record| match record.state {
        RecordState::External => true,
        // A cancel was here first, and then an order came from elsewhere.
        RecordState::CancelMark => record.order.is_some(),
        RecordState::Intent(_) | RecordState::Settled(..) => false,
    })
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
async fn begin<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand) -> Begun {
    // What can never be sent needs no intent: its outcome goes into the ledger at once. Not so what was delivered
    // before: the venue is asked first, whoever had it then may have sent it.
    let now = desk.dealer.clock.now();
    let state = desk.dealer.gateway.state();
    let passage = gate::passage(now, order.deadline, &state, reduces(desk, order, &state));
    if order.origin.delivered == 1 {
        if let gate::Passage::Closed(verdict) = passage {
            return Begun::Over(verdict);
        }
        if let Some(verdict) = beyond_limits(desk, order).await {
            return Begun::Over(verdict);
        }
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
    let passage = gate::passage(now, order.deadline, &state, reduces(desk, order, &state));
    if let gate::Passage::Closed(verdict) = passage {
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

/// Whether a command passes in mode reduce-only, as it looks now: what is sent for it is judged once more. What a replace
/// comes to is not known before the order it names was found.
fn reduces<V: Venue>(desk: &Inner<V>, order: &OrderInHand, state: &GatewayState) -> bool {
    if order.work.reduces() || state.mode != GatewayMode::ReduceOnly {
        return order.work.reduces();
    }
    match order.placement() {
        Some(placement) => desk.dealer.risk.only_reduces(&order.id, placement),
        None => matches!(order.work, Work::Replace(_)),
    }
}

/// What the limits make of an order that nobody has begun: one that breaks them needs no intent. One that is let through
/// counts from here on, also while it waits.
async fn beyond_limits<V: Venue>(desk: &Inner<V>, order: &OrderInHand) -> Option<Verdict> {
    let placement = match (&order.work, order.placement()) {
        (Work::Order(_), Some(placement)) => placement,
        (Work::Order(_) | Work::Replace(_) | Work::Close { .. } | Work::CloseAll { .. }, _) => return None,
    };
    let risk = &desk.dealer.risk;
    let quotes = risk.quotes(&order.id, placement).await;
    let admitted = risk.admit(order.origin.id, &order.id, placement, Judged::ByLimits, &quotes);
    match admitted {
        Ok(()) | Err(NotAdmitted::Enlarges) => None,
        Err(NotAdmitted::Lapsed) => Some(submit::lapsed(&order.id)),
        Err(NotAdmitted::Breach(breach)) => Some(Verdict::beyond(breach)),
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
    let late = watch_late(desk, order).await;
    if let Some(Verdict::LateAccepted(acceptance)) = late.as_ref().map(|outcome| &outcome.verdict) {
        desk.dealer.risk.accepted(&order.id, acceptance);
    }
    over(desk, order);
    late
}

async fn watch_late<V: Venue>(desk: &Inner<V>, order: &mut OrderInHand) -> Option<Outcome> {
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
            Some(RecordState::CancelMark | RecordState::External) | None => new_intent(desk, order),
        };
        if let Some(Ended::Settled(outcome)) =
            record(desk, order, &intent, page, verdict.clone(), &mut trouble, None).await
        {
            return Some(*outcome);
        }
    }
}
