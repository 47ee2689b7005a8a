//! One order on its way to the venue: waits, the last check, the POST, and what its answer means.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tracing::{Instrument as _, info, warn};

use super::dealer::Dealer;
use super::gate::{self, Passage};
use super::resolve::{self, Asked};
use super::venue::Venue;
use crate::alpaca::rest::{LastCheck, SubmitAnswer};
use crate::alpaca::{Lane, Permit};
use crate::backoff::{Backoff, Reason};
use crate::domain::outcome::{Acceptance, DenialReason, Refusal};
use crate::domain::{
    ClientOrderId, CommandId, ConditionName, GatewayMode, GatewayState, Placement, Strategy, Verdict,
};
use crate::risk::{Judged, NotAdmitted, Quotes};
use crate::telemetry::{metrics, trace};
use crate::trial::{self, Bug, Point};

/// What is known when sending begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// This process saw everything there was: nothing was sent.
    Clean,
    /// Somebody may have sent it, though no intent says so.
    Suspect,
    /// An intent stands, and nobody knows what came of it.
    Begun,
}

/// What is to be sent.
pub(super) struct Submission<'a> {
    pub(super) command: CommandId,
    pub(super) stored_at: Timestamp,
    pub(super) id: &'a ClientOrderId,
    pub(super) asked: &'a Placement,
    /// It can only make a position smaller.
    pub(super) reduces: bool,
    pub(super) deadline: Option<Timestamp>,
    /// POSTs begun, by whomever.
    pub(super) attempts: u32,
}

/// How sending ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    /// It is known what became of it, or known to be unknown.
    Verdict(Verdict),
    /// The daemon is stopping, and nothing of it is on the wire.
    HandBack {
        /// The venue may have taken it all the same.
        doubt: bool,
    },
}

/// What to do next.
enum Next {
    Send,
    Ask(Instant),
    Look,
    /// The venue refused this POST, and may have taken the order at an earlier one.
    Confirm(Instant, Refusal),
}

/// Sends an order until its outcome is known or its deadline has passed.
///
/// `doubt` is what makes the difference at the deadline: an order that was provably never taken is EXPIRED, one
/// that may have been is UNRESOLVED.
pub(super) async fn submit<V: Venue>(
    dealer: &Dealer<V>,
    submission: &mut Submission<'_>,
    past: Past,
) -> Sent {
    let sent = send_until_known(dealer, submission, past).await;
    match &sent {
        Sent::Verdict(Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance)) => {
            dealer.risk.accepted(submission.id, acceptance);
        }
        // It may be at the venue, so it counts on.
        Sent::Verdict(verdict) if !verdict.is_terminal() => {}
        Sent::Verdict(_) | Sent::HandBack { .. } => dealer.risk.over(submission.command, submission.id),
    }
    sent
}

async fn send_until_known<V: Venue>(dealer: &Dealer<V>, submission: &mut Submission<'_>, past: Past) -> Sent {
    // Since when it may be at the venue: when the last POST ended whose answer nobody knows.
    let mut doubt = (past == Past::Begun).then(Instant::now);
    let mut not_sent = Backoff::new(Reason::NotSent);
    let mut next = match past {
        Past::Clean => Next::Send,
        Past::Suspect => Next::Look,
        // How long the intent is old says nothing: its POST may have begun a moment before whoever wrote it died.
        Past::Begun => Next::Ask(Instant::now()),
    };
    loop {
        next = match next {
            Next::Look => match resolve::look_before(dealer, submission.id, submission.deadline).await {
                Asked::Found(order) => return Sent::Verdict(resolve::found(&order, Some(submission.asked))),
                Asked::Absent => Next::Send,
                Asked::TimeUp => return late(true, submission),
                Asked::Stopping => return hand_back(doubt),
            },
            Next::Ask(posted) => match resolve::ask(dealer, submission.id, posted, submission.deadline).await
            {
                Asked::Found(order) => return Sent::Verdict(resolve::found(&order, Some(submission.asked))),
                Asked::Absent => {
                    info!(client_order_id = %submission.id, "the venue never had the order, sending it again");
                    Next::Send
                }
                Asked::TimeUp => return late(true, submission),
                Asked::Stopping => return hand_back(doubt),
            },
            Next::Confirm(since, refusal) => {
                match resolve::ask_again(dealer, submission.id, since, submission.deadline).await {
                    Asked::Found(order) => {
                        return Sent::Verdict(resolve::found(&order, Some(submission.asked)));
                    }
                    Asked::Absent => return Sent::Verdict(Verdict::Rejected(refusal)),
                    Asked::TimeUp => return late(true, submission),
                    Asked::Stopping => return hand_back(doubt),
                }
            }
            Next::Send => match send_once(dealer, submission, doubt).await {
                Step::Done(verdict) => return Sent::Verdict(verdict),
                Step::Stopping => return hand_back(doubt),
                Step::Late => return late(doubt.is_some(), submission),
                Step::Ask(posted) => {
                    doubt = Some(posted);
                    Next::Ask(posted)
                }
                Step::Confirm(since, refusal) => Next::Confirm(since, refusal),
                Step::Pause(asked_for) => {
                    let pause = asked_for.unwrap_or_default().max(not_sent.next_delay());
                    if !wait(dealer, pause, submission.deadline).await {
                        return hand_back(doubt);
                    }
                    Next::Send
                }
                Step::Again => Next::Send,
            },
        };
    }
}

fn hand_back(doubt: Option<Instant>) -> Sent {
    let doubt = doubt.is_some();
    Sent::HandBack { doubt }
}

/// What one attempt gave.
enum Step {
    Done(Verdict),
    Stopping,
    Late,
    Ask(Instant),
    Confirm(Instant, Refusal),
    Pause(Option<Duration>),
    Again,
}

async fn send_once<V: Venue>(
    dealer: &Dealer<V>,
    submission: &mut Submission<'_>,
    doubt: Option<Instant>,
) -> Step {
    if let Some(canceled) = canceled(dealer, submission, doubt) {
        return canceled;
    }
    let gate = trace::child_span!("gate");
    let quotes = if submission.reduces {
        Quotes::new()
    } else {
        dealer.risk.quotes(submission.id, submission.asked).await
    };
    let (_in_flight, permit) = match leave_to_send(dealer, submission).instrument(gate).await {
        Leave::Granted(in_flight, permit) => (in_flight, permit),
        Leave::Canceled => return Step::Again,
        Leave::Shut(_) if may_reduce(dealer, submission) => return Step::Again,
        // Whoever may be at the venue already cannot be denied; whether it is there must be found out.
        Leave::Shut(_) if doubt.is_some() => return Step::Ask(Instant::now()),
        Leave::Shut(verdict) => return Step::Done(verdict),
        Leave::Stopping => return Step::Stopping,
        Leave::Late => return Step::Late,
    };
    trial::at(Point::Permitted, submission.id.as_str());
    // From here to the first byte nothing waits: what is judged now is what holds when the POST begins.
    if !dealer.lease.holds() && !trial::planted(Bug::LeaseIgnored) {
        return Step::Again;
    }
    let state = dealer.gateway.state();
    let judged = match state.mode {
        _ if submission.reduces => Judged::Never,
        GatewayMode::ReduceOnly => Judged::MustReduce,
        GatewayMode::Normal | GatewayMode::CancelOnly | GatewayMode::Halted => Judged::ByLimits,
    };
    let reduces = judged != Judged::ByLimits;
    let passage = match gate::passage(dealer.clock.now(), submission.deadline, &state, reduces) {
        Passage::Open => limited(dealer, submission, judged, &quotes, &state),
        passage @ (Passage::Wait(_) | Passage::Closed(_)) => passage,
    };
    match passage {
        Passage::Open => {}
        Passage::Wait(_) => return Step::Again,
        Passage::Closed(Verdict::Expired) => return Step::Late,
        // Whoever may be at the venue already cannot be denied; whether it is there must be found out.
        Passage::Closed(verdict) => {
            return match doubt {
                Some(_) => Step::Ask(Instant::now()),
                None => Step::Done(verdict),
            };
        }
    }
    if let Some(canceled) = canceled(dealer, submission, doubt) {
        return canceled;
    }
    if dealer.risk.is_dry(submission.id) {
        return match doubt {
            // It was sent before somebody said that nothing is.
            Some(_) => Step::Ask(Instant::now()),
            None => Step::Done(dry()),
        };
    }
    trial::at(Point::Checked, submission.id.as_str());
    submission.attempts += 1;
    if submission.attempts == 1 {
        metrics::order_sent(dealer.clock.since(submission.stored_at));
    }
    let renamed = (trial::planted(Bug::FreshIdOnRetry) && submission.attempts > 1)
        .then(|| ClientOrderId::parse(&format!("{}-{}", submission.id, submission.attempts)).ok())
        .flatten();
    let id = renamed.as_ref().unwrap_or(submission.id);
    let request = dealer.venue.submit(
        permit,
        id,
        submission.asked,
        last_check(dealer, submission, reduces),
    );
    let answer = trial::on_the_wire(id.as_str(), request).await;
    trial::at(Point::Answered, submission.id.as_str());
    let posted = Instant::now();
    match answer {
        SubmitAnswer::Accepted(acceptance) => {
            dealer.gateway.clear(ConditionName::AccountRefused);
            Step::Done(Verdict::Accepted(acceptance))
        }
        SubmitAnswer::Rejected(refusal) => match doubt {
            Some(since) => {
                let message = &refusal.message;
                info!(client_order_id = %submission.id, message, "refused, but it may be there already, asking the venue");
                Step::Confirm(since, refusal)
            }
            None => Step::Done(Verdict::Rejected(refusal)),
        },
        SubmitAnswer::Duplicate(refusal) if trial::planted(Bug::DuplicateIsRefusal) => {
            Step::Done(Verdict::Rejected(refusal))
        }
        SubmitAnswer::Duplicate(refusal) => {
            info!(client_order_id = %submission.id, message = refusal.message, "the venue knows this id already");
            Step::Ask(posted)
        }
        SubmitAnswer::NotSent {
            retry_after: Some(_), ..
        } if trial::planted(Bug::PacedIsRefusal) => Step::Done(Verdict::Rejected(Refusal::default())),
        SubmitAnswer::NotSent { cause, retry_after } => {
            warn!(client_order_id = %submission.id, cause, "order was not sent, it will be sent again");
            Step::Pause(retry_after)
        }
        SubmitAnswer::AccountRefused(refusal) if trial::planted(Bug::AccountIsRefusal) => {
            Step::Done(Verdict::Rejected(refusal))
        }
        SubmitAnswer::AccountRefused(refusal) => {
            let reason = format!("HTTP {}: {}", refusal.http_status, refusal.message);
            dealer.gateway.raise(ConditionName::AccountRefused, reason, true);
            Step::Again
        }
        SubmitAnswer::Unknown { cause }
            if (trial::planted(Bug::TimeoutIsRefusal) && !cause.starts_with("HTTP 5"))
                || (trial::planted(Bug::ServerErrorIsRefusal) && cause.starts_with("HTTP 5")) =>
        {
            Step::Done(Verdict::Rejected(Refusal::default()))
        }
        SubmitAnswer::Unknown { cause } => {
            warn!(client_order_id = %submission.id, cause, "order outcome is unknown, asking the venue");
            Step::Ask(posted)
        }
    }
}

/// What the limits say. An order that is let through counts from now on.
fn limited<V: Venue>(
    dealer: &Dealer<V>,
    submission: &Submission<'_>,
    judged: Judged,
    quotes: &Quotes,
    state: &GatewayState,
) -> Passage {
    let Submission {
        command, id, asked, ..
    } = *submission;
    match dealer.risk.admit(command, id, asked, judged, quotes) {
        Ok(()) => Passage::Open,
        Err(NotAdmitted::Breach(breach)) => Passage::Closed(Verdict::beyond(breach)),
        Err(NotAdmitted::Lapsed) => Passage::Closed(lapsed(id)),
        Err(NotAdmitted::Enlarges) => match gate::denial(state, false) {
            Some(denied) => Passage::Closed(denied),
            None => Passage::Open,
        },
    }
}

/// Whether an order passes in mode reduce-only, as it looks now. It is judged once more when it begins.
fn may_reduce<V: Venue>(dealer: &Dealer<V>, submission: &Submission<'_>) -> bool {
    dealer.gateway.state().mode == GatewayMode::ReduceOnly
        && (submission.reduces || dealer.risk.only_reduces(submission.id, submission.asked))
}

/// The outcome of an order whose strategy's lease has lapsed.
pub(super) fn lapsed(id: &ClientOrderId) -> Verdict {
    let strategy = Strategy::of(id.as_str())
        .map(|strategy| strategy.to_string())
        .unwrap_or_default();
    Verdict::Denied {
        reason: DenialReason::Lease,
        message: format!(
            "the lease of the strategy {strategy} has lapsed; write its key in the bucket nalpaca-leases again, or delete it"
        ),
        breach: None,
    }
}

/// The outcome of an order for which everything was done but the POST.
fn dry() -> Verdict {
    Verdict::Accepted(Acceptance {
        simulated: true,
        message: "dry run: everything was done but the POST, and the venue knows nothing of it".to_owned(),
        ..Acceptance::default()
    })
}

/// What holds now must hold when the connection is open, too.
fn last_check<V>(dealer: &Dealer<V>, submission: &Submission<'_>, reduces: bool) -> LastCheck {
    let (clock, gateway, lease) = (dealer.clock.clone(), dealer.gateway.clone(), dealer.lease.clone());
    let deadline = submission.deadline;
    LastCheck::new(move || {
        let passage = || gate::passage(clock.now(), deadline, &gateway.state(), reduces);
        trial::planted(Bug::LeaseIgnored) || (lease.holds() && passage() == Passage::Open)
    })
}

/// What a cancel that is in hand means for the order.
fn canceled<V>(dealer: &Dealer<V>, submission: &Submission<'_>, doubt: Option<Instant>) -> Option<Step> {
    let mark = dealer
        .marks
        .of(submission.id)
        .filter(|_| !trial::planted(Bug::MarkIgnored))?;
    if !mark.cancels(submission.command, submission.stored_at) {
        return None;
    }
    // Whatever is at the venue is the cancel's to take down. To send it again now would be to undo the cancel.
    if doubt.is_some() {
        return Some(Step::Ask(Instant::now()));
    }
    let message = format!("the cancel with stream sequence {} came first", mark.id.sequence);
    Some(Step::Done(Verdict::CanceledBeforeSend { message }))
}

enum Leave<'a> {
    Granted(SemaphorePermit<'a>, Permit),
    /// Some order was, perhaps this one.
    Canceled,
    /// The mode lets no such order through.
    Shut(Verdict),
    Stopping,
    Late,
}

/// Waits until nothing holds orders back, the wire has room, and so has the budget. None of these waits takes
/// anything while it lasts. The place on the wire is held for the POST alone: an order in doubt keeps its symbol
/// waiting, not everybody.
async fn leave_to_send<'a, V: Venue>(dealer: &'a Dealer<V>, submission: &Submission<'_>) -> Leave<'a> {
    let lane = match submission.asked {
        Placement::New(_) if !submission.reduces => Lane::NewOrder,
        Placement::New(_) | Placement::Replacement(_) => Lane::Change,
    };
    let granted = async {
        dealer.gateway.clear_to_send().await;
        if !trial::planted(Bug::LeaseIgnored) {
            dealer.lease.held().await;
        }
        let in_flight = dealer
            .in_flight
            .acquire()
            .await
            .expect("the semaphore is never closed");
        (in_flight, dealer.venue.pacer().acquire(lane).await)
    };
    tokio::select! {
        biased;
        () = dealer.stop.cancelled() => Leave::Stopping,             // cancel-safe: level-triggered
        (in_flight, permit) = granted => Leave::Granted(in_flight, permit), // cancel-safe: all waits are
        () = dealer.marks.next() => Leave::Canceled,                 // cancel-safe: marks are looked at again
        verdict = shut(dealer, submission) => Leave::Shut(verdict), // cancel-safe: level-triggered
        () = dealer.until(submission.deadline) => Leave::Late,       // cancel-safe: nothing is lost but time
    }
}

/// Waits until the mode lets no such order through.
async fn shut<V: Venue>(dealer: &Dealer<V>, submission: &Submission<'_>) -> Verdict {
    let mut state = dealer.gateway.watch();
    // In mode reduce-only it is let through if it looks as if it reduced now.
    let reduces = submission.reduces || may_reduce(dealer, submission);
    loop {
        let denied = gate::denial(&state.borrow_and_update(), reduces);
        if let Some(denied) = denied {
            return denied;
        }
        if state.changed().await.is_err() {
            // The dealer holds its sender.
            std::future::pending::<()>().await;
        }
    }
}

/// Waits, but not past the deadline. False: the daemon is stopping.
async fn wait<V: Venue>(dealer: &Dealer<V>, pause: Duration, deadline: Option<Timestamp>) -> bool {
    tokio::select! {
        biased;
        () = dealer.stop.cancelled() => false,        // cancel-safe: level-triggered
        () = tokio::time::sleep(pause) => true,     // cancel-safe: nothing is lost but time
        () = dealer.until(deadline) => true,          // the next check says that it is late
    }
}

fn late(doubt: bool, submission: &Submission<'_>) -> Sent {
    Sent::Verdict(if doubt && !trial::planted(Bug::DoubtExpires) {
        let message = format!(
            "the deadline passed after {} attempts and the venue has not said whether it took the order",
            submission.attempts
        );
        Verdict::Unresolved { message }
    } else {
        Verdict::Expired
    })
}
