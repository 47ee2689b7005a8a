//! The desk itself: reads each delivery, puts orders into their lanes, and starts every command.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, error, info_span, warn};

use super::board::Board;
use super::dealer::{Dealer, Marks};
use super::doubts::Doubts;
use super::in_hand::{OrderInHand, Origin, Work};
use super::intake::Taken;
use super::lanes::{Lanes, Line};
use super::settle::{self, Addressee, Settlement};
use super::symbols::SymbolsById;
use super::trouble::Troubles;
use super::venue::Venue;
use super::{cancel, gate, place, replace};
use crate::alpaca::rest::UNACKNOWLEDGED_MAX;
use crate::backoff::{Backoff, Reason};
use crate::bus::{Delivery, Journal, Lease};
use crate::clock::Clock;
use crate::domain::record::{CancelMark, PayloadHash};
use crate::domain::{
    ClientOrderId, CloseScope, CommandId, CommandKind, NewOrder, OrderName, Outcome, Strategy, Symbol,
    Verdict,
};
use crate::gateway::Gateway;
use crate::ledger::{Ledger, Page};
use crate::risk::Risk;
use crate::telemetry::{Chain, metrics, trace};
use crate::trial::{self, Bug, Point};
use crate::wire;
use crate::wire::subject::{CommandName, CommandSubject, Subjects};

/// Pause after a write that failed: a bucket that is full, or without a quorum, answers reads and refuses writes at
/// once, and whoever reads and decides again would turn in a circle as fast as it can.
pub(super) const WRITE_PAUSE: Duration = Duration::from_millis(500);

/// How long after a POST ended without an answer its order may still turn up, at least. Whoever began it may also have
/// died at once, so it is never shorter than a request may live, nor than its bytes may be on their way.
const ABSENCE_GRACE: Duration = Duration::from_secs(11);
const _: () = assert!(UNACKNOWLEDGED_MAX.as_secs() < ABSENCE_GRACE.as_secs());

/// How long a replace may keep the commands behind it waiting while the ledger is asked what it is about.
const SYMBOLS_PATIENCE: Duration = Duration::from_secs(1);

/// How long a cancel that comes past the stream waits for the ledger before it does without.
const LEDGER_PATIENCE: Duration = Duration::from_secs(1);

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
    symbols: SymbolsById,
    running: JoinSet<()>,
}

/// What every command needs.
pub(super) struct Inner<V> {
    pub(super) dealer: Dealer<V>,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    pub(super) subjects: Subjects,
    pub(super) policy: Policy,
    pub(super) lanes: Lanes,
    /// Who waits for an outcome in this process.
    pub(super) board: Board,
    /// The latest command that was taken.
    latest: Mutex<Option<CommandId>>,
}

impl<V: Venue> Inner<V> {
    fn has_taken(&self, id: CommandId) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = (*latest).max(Some(id));
    }

    fn latest(&self) -> Option<CommandId> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the ledger can be read now.
    async fn ledger_answers(&self, id: &ClientOrderId) -> bool {
        let read = tokio::time::timeout(LEDGER_PATIENCE, self.ledger.read(id)).await;
        matches!(read, Ok(Ok(_)))
    }

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

/// Cancels that come past the action stream: it may be full, or out of reach. Cheap to clone.
pub struct CancelDesk<V>(Arc<Inner<V>>);

impl<V> Clone for CancelDesk<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: Venue> CancelDesk<V> {
    /// Cancels what is named, and says what became of it. `None`: the daemon is stopping.
    pub async fn cancel(&self, name: &CommandName) -> Option<Outcome> {
        let desk = &self.0;
        let now = desk.dealer.clock.now();
        // As if it had been published behind everything that was taken so far.
        let id = desk.latest().unwrap_or(CommandId::NONE);
        let mark = CancelMark { id, stored_at: now };
        let one = match name {
            CommandName::One(id) => Some(id),
            CommandName::Wide(_) => None,
        };
        let verdict = match one {
            Some(id) if !desk.ledger_answers(id).await => cancel::without_ledger(desk, id, mark).await,
            Some(_) | None => cancel::decide(desk, name, mark, &mut None).await,
        };
        Some(Outcome {
            client_order_id: name.text(),
            command: CommandKind::Cancel,
            id: CommandId::NONE,
            stored_at: now,
            at: desk.dealer.clock.now(),
            deadline: None,
            attempts: 0,
            verdict: verdict?,
            repeated: false,
        })
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
        board: Board,
        ledger: Ledger,
        journal: Journal,
        subjects: Subjects,
        gateway: Gateway,
        risk: Risk,
        clock: Clock,
        lease: Lease,
        policy: Policy,
        stop: CancellationToken,
    ) -> Self {
        let dealer = Dealer {
            venue,
            gateway,
            risk,
            clock,
            marks: Marks::default(),
            lease,
            troubles: Troubles::default(),
            doubts: Doubts::default(),
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
            lanes: Lanes::default(),
            board,
            latest: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
            symbols: SymbolsById::default(),
            running: JoinSet::new(),
        }
    }

    /// Cancels past the stream.
    pub fn cancels(&self) -> CancelDesk<V> {
        CancelDesk(Arc::clone(&self.inner))
    }

    /// Runs every command that is taken, until all intakes have ended and everything in hand is settled or handed
    /// back.
    pub async fn run(mut self, mut taken: mpsc::Receiver<Taken>) {
        loop {
            tokio::select! {
                next = taken.recv() => match next { // cancel-safe: docs
                    Some(taken) => self.begin(taken).await,
                    None => break,
                },
                Some(ended) = self.running.join_next() => report(ended), // cancel-safe: docs
            }
        }
        while let Some(ended) = self.running.join_next().await {
            report(ended);
        }
    }

    /// Reads the command and starts it. One after the other, so that places in lanes are taken in stream order.
    async fn begin(&mut self, taken: Taken) {
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
        desk.has_taken(delivery.id);
        metrics::command_read(subject.kind);
        if delivery.delivered > 1 {
            metrics::redelivered();
        } else {
            metrics::command_taken(desk.dealer.clock.since(delivery.stored_at));
        }
        let span = info_span!(
            "command",
            kind = subject.kind.as_str(),
            client_order_id = subject.spelling,
            sequence = delivery.id.sequence,
            delivered = delivery.delivered,
        );
        trial::at(Point::Taken, &subject.spelling);
        let trace = delivery.header(trace::TRACEPARENT).map(str::to_owned);
        if let Some(publisher) = &trace {
            trace::follow(&span, publisher);
            if let Ok(CommandName::One(id)) = &subject.id {
                // What is told of the order belongs to whoever asked for it, not to whoever cancels it.
                if subject.kind != CommandKind::Cancel {
                    desk.journal
                        .remember_trace(id.as_str(), &trace::carried(&span, publisher));
                }
            }
        }
        let content_type = delivery.header("Content-Type").map(str::to_owned);
        let CommandSubject { kind, spelling, id } = subject;
        let command = Command {
            delivery,
            spelling,
            trace,
        };
        let reading = match &command.delivery.hostile {
            None if command.delivery.is_an_answer() => {
                let message = "a server sent it in answer to a read (header Nats-Stream), nobody published it as a command";
                let message = message.to_owned();
                Reading::Refused(id.ok(), Verdict::Invalid { message })
            }
            None => read(kind, id, content_type.as_deref(), &command.delivery.payload),
            Some((reason, _)) => {
                let message =
                    format!("the message would break a NATS client and was taken out unread: {reason}");
                Reading::Refused(id.ok(), Verdict::Invalid { message })
            }
        };
        match reading {
            Reading::Place(id, asked) => {
                trial::at(Point::Read, id.as_str());
                let lines = self.lines(&id, &asked.work).await;
                let place = desk
                    .lanes
                    .join(if trial::planted(Bug::NoLanes) { &[] } else { &lines });
                let origin = Origin::of(&command.delivery);
                let counted_from = if trial::planted(Bug::DeadlineFromReading) {
                    desk.dealer.clock.now()
                } else {
                    origin.stored_at
                };
                let deadline =
                    gate::deadline(counted_from, asked.valid_until, desk.policy.max_age).filter(|_| {
                        !(trial::planted(Bug::NoDeadlineOnRedelivery) && command.delivery.delivered > 1)
                    });
                let order = OrderInHand::new(origin, id, asked.work, asked.hash, deadline);
                let run = async move {
                    place::run(&desk, command, order, (place, permit)).await;
                };
                self.start(run, span);
            }
            Reading::Cancel(name) => {
                trial::at(Point::Read, &command.spelling);
                let run = async move {
                    cancel::run(&desk, command, name, permit).await;
                };
                self.start(run, span);
            }
            Reading::Refused(name, verdict) => {
                let run = async move {
                    let _permit = permit;
                    refuse(&desk, command, kind, name, verdict).await;
                };
                self.start(run, span);
            }
        }
    }

    /// Runs a command beside the others. What it may have to do one day makes it ten kilobytes large: in a box they stay where they are
    /// when it begins and ends.
    fn start(&mut self, run: impl Future<Output = ()> + Send + 'static, span: Span) {
        self.running.spawn(Box::pin(run).instrument(span));
    }

    /// Which lines a command joins, and what is remembered of it for the replaces that follow it.
    async fn lines(&mut self, id: &ClientOrderId, work: &Work) -> Vec<Line> {
        let symbols = match work {
            Work::Order(order) => order.symbols(),
            Work::Close { symbol, .. } => vec![symbol.clone()],
            // Each of its orders joins its own line.
            Work::CloseAll { .. } => return Vec::new(),
            Work::Replace(replace) => match self.symbols_of(&replace.order).await {
                Some(symbols) => symbols,
                None => return vec![Line::Order(replace.order.text().clone())],
            },
        };
        self.symbols.remember(id.clone(), symbols.clone());
        symbols.into_iter().map(Line::Symbol).collect()
    }

    /// What an order trades: it was seen by this desk, or it is in the ledger.
    async fn symbols_of(&self, name: &OrderName) -> Option<Vec<Symbol>> {
        if let Some(symbols) = self.symbols.of(name.text()) {
            return Some(symbols);
        }
        let page = tokio::time::timeout(SYMBOLS_PATIENCE, self.inner.ledger.read(name.text())).await;
        page.ok()?.ok()?.symbols()
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
    Place(ClientOrderId, Box<ToPlace>),
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
    let (id, name) = match (kind, name) {
        // An acknowledgement of the server's is never empty: whoever may publish anything at all could have one sent to
        // `cancel.ALL`, as the subject for the answer.
        (CommandKind::Cancel, name) if !is_blank(payload) => {
            let message = "a cancel is empty: its subject says it all".to_owned();
            return Reading::Refused(Some(name), Verdict::Invalid { message });
        }
        (CommandKind::Cancel, name) => return Reading::Cancel(name),
        (_, CommandName::One(id)) => (id.clone(), CommandName::One(id)),
        (_, name) => {
            let message = format!("{} is no name of an order", name.text());
            return Reading::Refused(Some(name), Verdict::Invalid { message });
        }
    };
    let placed = match kind {
        CommandKind::Replace => wire::read_replace(content_type, payload).map(|replace| ToPlace {
            hash: wire::replace_hash(&replace),
            valid_until: replace.valid_until,
            work: Work::Replace(Box::new(replace)),
        }),
        CommandKind::Close => wire::read_close(content_type, payload).map(|close| ToPlace {
            hash: wire::close_hash(&close),
            valid_until: close.valid_until,
            work: match close.scope {
                CloseScope::One(symbol, size) => Work::Close {
                    symbol,
                    size,
                    cancel_orders: close.cancel_orders,
                },
                CloseScope::All(size) => Work::CloseAll {
                    size,
                    cancel_orders: close.cancel_orders,
                },
            },
        }),
        CommandKind::Order | CommandKind::Cancel => {
            wire::read_order(content_type, payload).map(|order| ToPlace {
                hash: wire::payload_hash(&order),
                valid_until: order.valid_until,
                work: Work::Order(Box::new(order)),
            })
        }
    };
    match placed {
        Ok(placed) => match refusal(&id, &placed.work) {
            Some(verdict) => Reading::Refused(Some(name), verdict),
            None => Reading::Place(id, Box::new(placed)),
        },
        Err(error) => {
            let message = error.to_string();
            Reading::Refused(Some(name), Verdict::Invalid { message })
        }
    }
}

/// Nothing, or an empty object, as a program writes it that always writes one.
fn is_blank(payload: &[u8]) -> bool {
    matches!(payload.trim_ascii(), b"" | b"{}")
}

/// A command that creates an order, as it was read.
struct ToPlace {
    work: Work,
    hash: PayloadHash,
    valid_until: Option<Timestamp>,
}

/// What makes a command impossible that could be read.
fn refusal(id: &ClientOrderId, work: &Work) -> Option<Verdict> {
    match work {
        Work::Replace(replace) => {
            // By the venue's id it is known only when the venue has shown the order.
            let OrderName::Client(named) = &replace.order else {
                return None;
            };
            if named == id {
                let message =
                    format!("order is {named}, which is the replacement's own id; give it a new one");
                return Some(Verdict::Invalid { message });
            }
            (Strategy::of(named.as_str()) != Strategy::of(id.as_str()))
                .then(|| replace::other_strategy(named))
        }
        Work::CloseAll { .. } => {
            let room = ClientOrderId::LEN_MAX - Symbol::LEN_MAX - 1;
            (id.as_str().len() > room).then(|| Verdict::Invalid {
                message: format!(
                    "the id has {} bytes; with all it has at most {room}, for a dot and a symbol follow it",
                    id.as_str().len()
                ),
            })
        }
        Work::Order(_) | Work::Close { .. } => None,
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
    if !trial::planted(Bug::UnreadableIsSilent) {
        announce(desk, &command, &outcome, None, false).await;
    }
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
    is_told: bool,
) {
    let to = Addressee {
        is_told,
        spelling: &command.spelling,
        asked,
        maybe_there: !command.delivery.fresh,
        trace: command.trace.as_deref(),
    };
    settle::announce(desk, outcome, &to).await;
}
