//! From a verdict to the ack: ledger, journal, trade update, and only then the settlement of the delivery.
//!
//! A crash between any two of these replays into the same end: the ledger repeats its outcome, the journal knows
//! its message ids, and an ack answered twice is answered once.

use std::time::Duration;

use tracing::{error, info, warn};

use super::desk::Inner;
use super::trouble::Trouble;
use super::venue::Venue;
use crate::bus::Delivery;
use crate::bus::PublishError;
use crate::bus::journal::{DeadLetter, until_stored};
use crate::domain::{CommandKind, ExecutionReport, NewOrder, Outcome, Verdict};
use crate::telemetry::metrics;
use crate::trial::{self, Bug, Point};
use crate::wire;

/// How a delivery is answered once its outcome is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Done.
    Ack,
    /// It can never be done, and what it was is in the journal.
    Term,
    /// Still watched: the delivery stays in hand, and comes back to the next process.
    Keep,
}

/// What to tell JetStream. Pure; every case in view.
pub(super) fn settlement(verdict: &Verdict) -> Settlement {
    match verdict {
        Verdict::Accepted(_)
        | Verdict::Rejected(_)
        | Verdict::Denied { .. }
        | Verdict::Expired
        | Verdict::Conflict { .. }
        | Verdict::CanceledBeforeSend { .. }
        | Verdict::LateAccepted(_)
        | Verdict::ConfirmedAbsent => Settlement::Ack,
        Verdict::Invalid { .. } => Settlement::Term,
        Verdict::Unresolved { .. } => Settlement::Keep,
    }
}

/// Whether subscribers of trade updates must hear of it: the venue never will tell them.
///
/// A conflict is not told there: under that id lives another order, which was not rejected.
fn is_refusal(outcome: &Outcome) -> bool {
    let creates = match outcome.command {
        CommandKind::Order | CommandKind::Replace | CommandKind::Close => true,
        CommandKind::Cancel => false,
    };
    creates
        && match &outcome.verdict {
            // A replacement that lost to a fill was an order at the venue, which told of it.
            Verdict::Rejected(refusal) => refusal.order_id.is_none() && refusal.results.is_empty(),
            Verdict::Denied { .. }
            | Verdict::Expired
            | Verdict::Invalid { .. }
            | Verdict::CanceledBeforeSend { .. }
            | Verdict::ConfirmedAbsent => true,
            Verdict::Accepted(_)
            | Verdict::Conflict { .. }
            | Verdict::Unresolved { .. }
            | Verdict::LateAccepted(_) => false,
        }
}

/// Where an outcome goes, besides the journal.
pub(super) struct Addressee<'a> {
    /// The id as the command's subject spells it.
    pub(super) spelling: &'a str,
    /// What was asked, if it could be read.
    pub(super) asked: Option<&'a NewOrder>,
    /// The outcome is stored already.
    pub(super) is_told: bool,
    /// The command was seen before, so its outcome may be stored already.
    pub(super) maybe_there: bool,
    /// The publisher's trace.
    pub(super) trace: Option<&'a str>,
}

/// Stores the outcome where it is looked for. Waits for as long as NATS takes.
pub(super) async fn announce<V: Venue>(desk: &Inner<V>, outcome: &Outcome, to: &Addressee<'_>) {
    if trial::planted(Bug::OutcomeIsNotPublished) && to.maybe_there {
        return;
    }
    let mut trouble = Trouble::new(&desk.dealer);
    let mut failed = |error: &PublishError| trouble.failed("an outcome", error);
    if !to.is_told {
        let message = wire::outcome(outcome);
        until_stored("outcome", &mut failed, || {
            desk.journal
                .outcome(outcome, &message, to.spelling, to.trace, to.maybe_there)
        })
        .await;
    }
    trial::at(Point::Published, to.spelling);
    desk.board.post(outcome);
    if is_refusal(outcome) && !outcome.repeated {
        let report = ExecutionReport::refused(outcome, to.asked);
        let key = format!("refused:{}", outcome.id);
        until_stored("rejection", &mut failed, || {
            desk.journal.refusal(&report, &key, to.maybe_there)
        })
        .await;
        trial::at(Point::RefusalTold, to.spelling);
    }
    let latency = Duration::try_from(outcome.at.duration_since(outcome.stored_at)).unwrap_or_default();
    metrics::outcome_settled(outcome.command, &outcome.verdict, latency);
    let (verdict, detail) = (outcome.verdict.as_str(), outcome.verdict.message());
    let (id, command) = (&outcome.client_order_id, outcome.command.as_str());
    info!(
        client_order_id = %id,
        command,
        outcome = verdict,
        detail,
        sequence = outcome.id.sequence,
        attempts = outcome.attempts,
        latency_ms = i64::try_from(latency.as_millis()).unwrap_or(i64::MAX),
        "command settled"
    );
}

/// Answers the delivery.
pub(super) async fn answer(delivery: Delivery, settlement: Settlement, reason: &str) {
    let (sequence, subject) = (delivery.id.sequence, delivery.subject.clone());
    trial::at(Point::Acking, &subject);
    let answered = match settlement {
        Settlement::Ack => delivery.ack().await,
        Settlement::Term => delivery.term(reason).await,
        Settlement::Keep => return,
    };
    if let Err(error) = answered {
        warn!(sequence, %error, "the command will come back, and its outcome is known");
    }
    trial::at(Point::Acked, &subject);
}

/// Keeps what could not be read, before the stream forgets it.
pub(super) async fn bury<V: Venue>(
    desk: &Inner<V>,
    delivery: &Delivery,
    kind: Option<CommandKind>,
    reason: &str,
) {
    error!(
        subject = delivery.subject,
        sequence = delivery.id.sequence,
        reason,
        "command could not be read"
    );
    metrics::dead_letter(kind.map_or("unknown", CommandKind::as_str));
    let letter = || DeadLetter {
        kind,
        subject: &delivery.subject,
        payload: delivery.payload.clone(),
        headers: delivery.hostile.as_ref().map(|(_, headers)| headers.clone()),
        reason,
        id: delivery.id,
    };
    let mut trouble = Trouble::new(&desk.dealer);
    let failed = |error: &PublishError| trouble.failed("a dead letter", error);
    until_stored("dead letter", failed, || desk.journal.dead(letter())).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::{Acceptance, DenialReason, Refusal};

    #[test]
    fn only_what_can_never_be_done_is_terminated_and_only_what_is_watched_is_kept() {
        let message = String::new;
        for (verdict, expected) in [
            (Verdict::Accepted(Acceptance::default()), Settlement::Ack),
            (Verdict::Rejected(Refusal::default()), Settlement::Ack),
            (
                Verdict::Denied {
                    reason: DenialReason::Mode,
                    message: message(),
                    breach: None,
                },
                Settlement::Ack,
            ),
            (Verdict::Expired, Settlement::Ack),
            (Verdict::Invalid { message: message() }, Settlement::Term),
            (
                Verdict::Conflict {
                    message: message(),
                    order_id: None,
                },
                Settlement::Ack,
            ),
            (
                Verdict::CanceledBeforeSend { message: message() },
                Settlement::Ack,
            ),
            (Verdict::Unresolved { message: message() }, Settlement::Keep),
            (Verdict::LateAccepted(Acceptance::default()), Settlement::Ack),
            (Verdict::ConfirmedAbsent, Settlement::Ack),
        ] {
            assert_eq!(settlement(&verdict), expected, "{verdict:?}");
            assert_eq!(verdict.is_terminal(), expected != Settlement::Keep, "{verdict:?}");
        }
    }
}
