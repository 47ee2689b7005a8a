//! The desk itself: reads each delivery, puts orders into their lanes, and starts every command.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info_span, warn};

use super::dealer::{Dealer, Marks};
use super::intake::Taken;
use super::lanes::Lanes;
use super::ledger::{Ledger, Page};
use super::settle::{self, Addressee, Settlement};
use super::venue::Venue;
use super::{cancel, place};
use crate::backoff::{Backoff, Reason};
use crate::bus::{Delivery, Journal};
use crate::clock::Clock;
use crate::domain::outcome::DenialReason;
use crate::domain::{ClientOrderId, CommandKind, NewOrder, Outcome, Verdict};
use crate::gateway::Gateway;
use crate::telemetry::{Chain, metrics};
use crate::wire;
use crate::wire::subject::{CommandName, CommandSubject, Subjects};

/// Pause after a write that failed: a bucket that is full, or without a quorum, answers reads and refuses writes at
/// once, and whoever reads and decides again would turn in a circle as fast as it can.
pub(super) const WRITE_PAUSE: Duration = Duration::from_millis(500);

/// How long after a POST ended without an answer its order may still turn up, at least. Whoever began it may also have
/// died at once, so it is never shorter than a request may live.
const ABSENCE_GRACE: Duration = Duration::from_secs(11);

/// How commands are treated.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Deadline of a command that names none, counted from when it was stored.
    pub max_age: Option<Duration>,
    /// Longest life of a request to the venue.
    pub request_timeout: Duration,
    /// POSTs on the wire at once.
    pub max_in_flight: usize,
    /// An order found at the venue after its deadline is canceled.
    pub cancel_late: bool,
}

/// The desk for commands.
pub struct Desk<V> {
    inner: Arc<Inner<V>>,
    lanes: Lanes,
    running: JoinSet<()>,
}

/// What every command needs.
pub(super) struct Inner<V> {
    pub(super) dealer: Dealer<V>,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    pub(super) subjects: Subjects,
    pub(super) policy: Policy,
}

impl<V: Venue> Inner<V> {
    /// Reads a record, for as long as it takes. `None`: the daemon is stopping.
    pub(super) async fn read_ledger(&self, id: &ClientOrderId) -> Option<Page> {
        let mut backoff = Backoff::new(Reason::Nats);
        loop {
            match self.ledger.read(id).await {
                Ok(page) => return Some(page),
                Err(error) => {
                    warn!(client_order_id = %id, error = %Chain(&error), "waiting for the ledger");
                }
            }
            self.dealer.pause(backoff.next_delay()).await?;
        }
    }
}

/// A command that could be read, with its delivery.
pub(super) struct Command {
    pub(super) delivery: Delivery,
    pub(super) spelling: String,
    pub(super) trace: Option<String>,
}

impl<V: Venue> Desk<V> {
    /// A desk. Nothing happens before [`Desk::run`].
    #[expect(clippy::too_many_arguments, reason = "one of each, wired once")]
    pub fn new(
        venue: V,
        ledger: Ledger,
        journal: Journal,
        subjects: Subjects,
        gateway: Gateway,
        clock: Clock,
        policy: Policy,
        stop: CancellationToken,
    ) -> Self {
        let dealer = Dealer {
            venue,
            gateway,
            clock,
            marks: Marks::default(),
            absence_grace: ABSENCE_GRACE.max(policy.request_timeout + Duration::from_secs(1)),
            in_flight: Semaphore::new(policy.max_in_flight.max(1)),
            stop,
        };
        let inner = Inner {
            dealer,
            ledger,
            journal,
            subjects,
            policy,
        };
        Self {
            inner: Arc::new(inner),
            lanes: Lanes::default(),
            running: JoinSet::new(),
        }
    }

    /// Runs every command that is taken, until all intakes have ended and everything in hand is settled or handed
    /// back.
    pub async fn run(mut self, mut taken: mpsc::Receiver<Taken>) {
        loop {
            tokio::select! {
                next = taken.recv() => match next { // cancel-safe: docs
                    Some(taken) => self.begin(taken),
                    None => break,
                },
                Some(ended) = self.running.join_next() => report(ended), // cancel-safe: docs
            }
        }
        while let Some(ended) = self.running.join_next().await {
            report(ended);
        }
    }

    /// Reads the command and starts it. Does not wait, so that places in lanes are taken in stream order.
    fn begin(&mut self, taken: Taken) {
        let Taken { delivery, permit } = taken;
        let desk = Arc::clone(&self.inner);
        let Some(subject) = desk.subjects.read_command(&delivery.subject) else {
            // The stream captures command subjects only, so this is a stream that was changed under us.
            self.running.spawn(async move {
                let _permit = permit;
                let reason = "the subject is no command's";
                settle::bury(&desk, &delivery, None, reason).await;
                settle::answer(delivery, Settlement::Term, reason).await;
            });
            return;
        };
        metrics::command_read(subject.kind);
        if delivery.delivered > 1 {
            metrics::redelivered();
        }
        let span = info_span!(
            "command",
            kind = subject.kind.as_str(),
            client_order_id = subject.spelling,
            sequence = delivery.id.sequence,
            delivered = delivery.delivered,
        );
        let trace = delivery.header("traceparent").map(str::to_owned);
        let content_type = delivery.header("Content-Type").map(str::to_owned);
        let CommandSubject { kind, spelling, id } = subject;
        let command = Command {
            delivery,
            spelling,
            trace,
        };
        match read(kind, id, content_type.as_deref(), &command.delivery.payload) {
            Reading::Order(id, order) => {
                let place = self.lanes.join(&order.symbols());
                let run = async move {
                    place::run(&desk, command, id, *order, (place, permit)).await;
                };
                self.running.spawn(run.instrument(span));
            }
            Reading::Cancel(name) => {
                let run = async move {
                    cancel::run(&desk, command, name, permit).await;
                };
                self.running.spawn(run.instrument(span));
            }
            Reading::Refused(name, verdict) => {
                let run = async move {
                    let _permit = permit;
                    refuse(&desk, command, kind, name, verdict).await;
                };
                self.running.spawn(run.instrument(span));
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // The delivery was dropped unsettled, so the command comes back and is looked up before anything is sent.
        error!(%error, "a command's task failed, the command will come back");
    }
}

/// What a delivery turned out to be.
enum Reading {
    Order(ClientOrderId, Box<NewOrder>),
    Cancel(CommandName),
    Refused(Option<CommandName>, Verdict),
}

fn read(
    kind: CommandKind,
    id: Result<CommandName, wire::subject::SubjectError>,
    content_type: Option<&str>,
    payload: &[u8],
) -> Reading {
    let name = match id {
        Ok(name) => name,
        Err(error) => {
            return Reading::Refused(
                None,
                Verdict::Invalid {
                    message: error.to_string(),
                },
            );
        }
    };
    match (kind, name) {
        (CommandKind::Order, CommandName::One(id)) => match wire::read_order(content_type, payload) {
            Ok(order) => Reading::Order(id, Box::new(order)),
            Err(error) => {
                let message = error.to_string();
                Reading::Refused(Some(CommandName::One(id)), Verdict::Invalid { message })
            }
        },
        (CommandKind::Cancel, name) => Reading::Cancel(name),
        (CommandKind::Order | CommandKind::Replace | CommandKind::Close, name) => {
            let message = format!("this version does not {} yet", kind.as_str());
            let verdict = Verdict::Denied {
                reason: DenialReason::Unsupported,
                message,
            };
            Reading::Refused(Some(name), verdict)
        }
    }
}

/// Ends a command that nothing is sent for.
async fn refuse<V: Venue>(
    desk: &Inner<V>,
    command: Command,
    kind: CommandKind,
    name: Option<CommandName>,
    verdict: Verdict,
) {
    let settlement = settle::settlement(&verdict);
    let reason = verdict.message();
    if settlement == Settlement::Term {
        settle::bury(desk, &command.delivery, Some(kind), &reason).await;
    }
    let id = name.map_or_else(|| command.spelling.clone(), |name| name.text());
    let outcome = outcome(desk, &command.delivery, kind, id, None, 0, verdict);
    announce(desk, &command, &outcome, None).await;
    settle::answer(command.delivery, settlement, &reason).await;
}

pub(super) fn outcome<V: Venue>(
    desk: &Inner<V>,
    delivery: &Delivery,
    command: CommandKind,
    client_order_id: String,
    deadline: Option<Timestamp>,
    attempts: u32,
    verdict: Verdict,
) -> Outcome {
    Outcome {
        client_order_id,
        command,
        id: delivery.id,
        stored_at: delivery.stored_at,
        at: desk.dealer.clock.now(),
        deadline,
        attempts,
        verdict,
        repeated: false,
    }
}

pub(super) async fn announce<V: Venue>(
    desk: &Inner<V>,
    command: &Command,
    outcome: &Outcome,
    asked: Option<&NewOrder>,
) {
    let to = Addressee {
        spelling: &command.spelling,
        asked,
        maybe_there: !command.delivery.fresh,
        trace: command.trace.as_deref(),
    };
    settle::announce(desk, outcome, &to).await;
}
