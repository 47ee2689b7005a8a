//! Judges a history: were the promises kept? Pure, and knows nothing of how the daemon works.
//!
//! | rule | promise |
//! |---|---|
//! | at most one order per client order id, and none that nobody asked for | G1 |
//! | no second request for an id before the venue was asked again and again, unless it had refused the first | G1 |
//! | every stored command has one terminal outcome, and it agrees with the venue | G2 |
//! | no request leaves after its command's deadline | G3 |
//! | orders of one symbol leave in the order in which they were stored | order of things |
//! | what was canceled does not work, and nothing else was canceled | cancels |
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Ack, Asks, Command, History, Kind, Outcome, Request, VenueOrder};

/// The clock of the venue and that of the publishers are one; this is what reading it costs.
const TOLERANCE: f64 = 0.25;
/// How long an order that may be on its way is waited for before it is sent again. A request lives ten seconds.
const GRACE: f64 = 10.0;
/// Answers "no such order" that count as absence.
const LOOKS_NEEDED: usize = 3;
/// How long after a cancel its order may be published and is canceled by it.
const MARK_REACH: f64 = 30.0;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// A stored command has no terminal outcome.
    Lost,
    /// An order that is there twice, or that nobody asked for, or a request that could have made it so.
    Duplicated,
    /// A request after its deadline.
    Stale,
    /// An outcome that the venue, or another outcome, contradicts.
    Contradicted,
    /// An order of things that was not kept.
    Disordered,
    /// A request that a mode or a limit forbids.
    Unbidden,
}

impl Wrong {
    pub(crate) const ALL: [Self; 6] = [
        Self::Lost,
        Self::Duplicated,
        Self::Stale,
        Self::Contradicted,
        Self::Disordered,
        Self::Unbidden,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Stale => "stale",
            Self::Contradicted => "contradicted",
            Self::Disordered => "disordered",
            Self::Unbidden => "unbidden",
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) wrong: Wrong,
    pub(crate) id: String,
    pub(crate) text: String,
}

struct Judge<'a> {
    history: &'a History,
    found: Vec<Violation>,
}

/// Everything that is wrong with a history.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut judge = Judge {
        history,
        found: Vec::new(),
    };
    judge.orders();
    judge.requests();
    judge.outcomes();
    judge.deadlines();
    judge.order_of_things();
    judge.cancels();
    judge.found
}

impl Judge<'_> {
    fn wrong(&mut self, wrong: Wrong, id: &str, text: impl Into<String>) {
        self.found.push(Violation {
            wrong,
            id: id.to_owned(),
            text: text.into(),
        });
    }

    /// At most one order per id, and none that nobody asked for.
    fn orders(&mut self) {
        let history = self.history;
        let mut seen = BTreeMap::<&str, usize>::new();
        for order in &history.orders {
            *seen.entry(&order.id).or_default() += 1;
        }
        for (id, count) in seen {
            if count > 1 {
                self.wrong(Wrong::Duplicated, id, format!("{count} orders at the venue"));
            }
            // The venue names the exits of a bracket itself.
            let venue_named = id.len() == 36 && id.matches('-').count() == 4;
            if !venue_named && !history.commands.iter().any(|command| creates(command, id)) {
                self.wrong(Wrong::Duplicated, id, "an order nobody asked for");
            }
        }
    }

    /// No second request for an id before the venue was asked, unless it had refused the first.
    fn requests(&mut self) {
        let history = self.history;
        let mut by_id = BTreeMap::<&str, Vec<&Request>>::new();
        for request in &history.requests {
            by_id.entry(&request.id).or_default().push(request);
        }
        for (id, mut requests) in by_id {
            requests.sort_by(|one, other| one.at.total_cmp(&other.at));
            let creates: Vec<&Request> = requests
                .iter()
                .copied()
                .filter(|request| request.what == Asks::Create)
                .collect();
            for pair in creates.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                // Read, judged and refused: there can be no order of it.
                if first
                    .status
                    .is_some_and(|status| (400..500).contains(&status) && status != 408)
                {
                    continue;
                }
                let looks: Vec<&&Request> = requests
                    .iter()
                    .filter(|request| {
                        request.what == Asks::LookUp
                            && request.at >= first.at
                            && request.at <= second.at
                            && request.status == Some(404)
                    })
                    .collect();
                let late_enough = looks.last().is_some_and(|last| last.at >= first.at + GRACE);
                if looks.len() < LOOKS_NEEDED || !late_enough {
                    self.wrong(
                        Wrong::Duplicated,
                        id,
                        format!(
                            "sent again after {:.2} s and {} looks at the venue",
                            second.at - first.at,
                            looks.len()
                        ),
                    );
                }
            }
        }
    }

    /// One terminal outcome for every stored command, and it agrees with the venue.
    fn outcomes(&mut self) {
        let history = self.history;
        for command in &history.commands {
            let Ack::Stored { stream, sequence } = command.ack else {
                continue;
            };
            let terminal: Vec<&Outcome> = history
                .outcomes_of(stream, sequence)
                .filter(|outcome| outcome.terminal)
                .collect();
            match terminal.as_slice() {
                [] => {
                    let is_watched = history
                        .outcomes_of(stream, sequence)
                        .any(|outcome| outcome.kind == "UNRESOLVED");
                    // For a day. If the venue has it, that must have been found out.
                    let is_open = is_watched && history.orders_of(&command.id).next().is_none();
                    if !is_open && !unnamed(command) {
                        self.wrong(
                            Wrong::Lost,
                            &command.id,
                            format!("{:?} {sequence} has no outcome", command.kind),
                        );
                    }
                }
                [outcome] => self.agrees(command, outcome),
                several => {
                    let kinds: Vec<_> = several.iter().map(|outcome| outcome.kind.as_str()).collect();
                    self.wrong(
                        Wrong::Contradicted,
                        &command.id,
                        format!("{sequence} has the terminal outcomes {kinds:?}"),
                    );
                }
            }
        }
    }

    fn agrees(&mut self, command: &Command, outcome: &Outcome) {
        match command.kind {
            Kind::Order | Kind::Replace | Kind::Close => self.agrees_on_an_order(command, outcome),
            Kind::Poison => {
                if outcome.kind != "INVALID" {
                    self.wrong(
                        Wrong::Contradicted,
                        &command.id,
                        format!("poison is {}", outcome.kind),
                    );
                }
            }
            Kind::CloseAll | Kind::Cancel | Kind::CancelMany => {}
        }
    }

    fn agrees_on_an_order(&mut self, command: &Command, outcome: &Outcome) {
        let history = self.history;
        let id = command.id.as_str();
        let contradicts = |text: String| (Wrong::Contradicted, text);
        let orders: Vec<&VenueOrder> = history.orders_of(id).collect();
        // Whatever is published again under a known id.
        let others: Vec<&Command> = history
            .commands
            .iter()
            .filter(|other| other.id == id && is_creation(other.kind) && other.payload != command.payload)
            .collect();
        let problem = match outcome.kind.as_str() {
            "ACCEPTED" | "LATE_ACCEPTED" => match orders.as_slice() {
                [] => Some(contradicts(format!(
                    "{}, and the venue has no such order",
                    outcome.kind
                ))),
                [order, ..] if order.order_id != outcome.order_id => Some(contradicts(format!(
                    "{} as {}, and the venue's order is {}",
                    outcome.kind, outcome.order_id, order.order_id
                ))),
                [order, ..] if command.kind == Kind::Replace && order.status == "rejected" => Some(
                    contradicts("the replacement never took the order's place".to_owned()),
                ),
                [order, ..] if outcome.kind == "LATE_ACCEPTED" && order.is_open_in(history) => {
                    Some(contradicts("a late order is left working".to_owned()))
                }
                [..] => None,
            },
            "CONFLICT" => others
                .is_empty()
                .then(|| contradicts("CONFLICT, and there is no other payload".to_owned())),
            "REJECTED" | "DENIED" | "EXPIRED" | "INVALID" | "CANCELED_BEFORE_SEND" | "CONFIRMED_ABSENT" => {
                let live = orders
                    .iter()
                    .find(|order| order.status != "rejected" && others.is_empty());
                let unasked = outcome.kind == "REJECTED"
                    && command.kind == Kind::Order
                    && others.is_empty()
                    && !history.requests.iter().any(|request| {
                        request.what == Asks::Create
                            && request.id == id
                            && matches!(request.status, Some(400 | 403 | 404 | 422))
                    });
                match live {
                    Some(order) => Some(contradicts(format!(
                        "{}, and the venue has the order, {}",
                        outcome.kind, order.status
                    ))),
                    None if unasked => {
                        Some(contradicts("REJECTED, and the venue refused nothing".to_owned()))
                    }
                    None => None,
                }
            }
            other => Some(contradicts(format!("the outcome {other} is no terminal one"))),
        };
        if let Some((wrong, text)) = problem {
            self.wrong(wrong, id, text);
        }
        // Of two payloads one stands; a repeat of either says what the first time said.
        let kinds: BTreeSet<(&str, &str)> = history
            .commands
            .iter()
            .filter(|other| other.id == id && is_creation(other.kind))
            .filter_map(|other| {
                let Ack::Stored { stream, sequence } = other.ack else {
                    return None;
                };
                let outcome = history
                    .outcomes_of(stream, sequence)
                    .find(|outcome| outcome.terminal)?;
                Some((other.payload.as_str(), outcome.kind.as_str()))
            })
            .collect();
        let standing: BTreeSet<&str> = kinds
            .iter()
            .filter(|(_, kind)| *kind != "CONFLICT")
            .map(|(payload, _)| *payload)
            .collect();
        if standing.len() > 1 {
            self.wrong(Wrong::Contradicted, id, format!("two payloads stand: {kinds:?}"));
        }
        let said: BTreeSet<&str> = kinds
            .iter()
            .filter(|(_, kind)| *kind != "CONFLICT")
            .map(|(_, kind)| *kind)
            .collect();
        if said.len() > 1 && standing.len() == 1 {
            self.wrong(Wrong::Contradicted, id, format!("one payload came to {said:?}"));
        }
    }

    /// No request leaves after its command's deadline.
    fn deadlines(&mut self) {
        let history = self.history;
        for departure in &history.departures {
            let latest = history
                .commands
                .iter()
                .filter(|command| creates(command, &departure.id))
                .map(|command| command.deadline.unwrap_or(f64::INFINITY))
                .max_by(f64::total_cmp);
            if let Some(deadline) = latest
                && departure.at > deadline + TOLERANCE
            {
                self.wrong(
                    Wrong::Stale,
                    &departure.id,
                    format!("sent {:.2} s after its deadline", departure.at - deadline),
                );
            }
        }
    }

    /// Orders of one symbol leave in the order in which they were stored: the next one is sent when the one ahead is
    /// sent no more.
    fn order_of_things(&mut self) {
        let history = self.history;
        let mut lines = BTreeMap::<(i128, &str), Vec<(u64, f64, f64, &str)>>::new();
        for command in &history.commands {
            let Ack::Stored { stream, sequence } = command.ack else {
                continue;
            };
            // A publish again is another command for the same order.
            let is_first = !history.commands.iter().any(|other| {
                other.id == command.id
                    && match other.ack {
                        Ack::Stored {
                            stream: of,
                            sequence: before,
                        } => of == stream && before < sequence,
                        Ack::Unknown => true,
                        Ack::Duplicate => false,
                    }
                    && !std::ptr::eq(other, command)
            });
            if command.kind != Kind::Order || !is_first {
                continue;
            }
            let sent: Vec<f64> = history
                .departures
                .iter()
                .filter(|departure| departure.id == command.id)
                .map(|departure| departure.at)
                .collect();
            let first = sent.iter().copied().min_by(f64::total_cmp);
            let last = sent.iter().copied().max_by(f64::total_cmp);
            if let (Some(first), Some(last)) = (first, last) {
                lines.entry((stream, &command.symbol)).or_default().push((
                    sequence,
                    first,
                    last,
                    &command.id,
                ));
            }
        }
        for ((_, symbol), mut line) in lines {
            line.sort_by_key(|(sequence, ..)| *sequence);
            for pair in line.windows(2) {
                let ((.., last, ahead), (_, first, _, behind)) = (pair[0], pair[1]);
                if first < last {
                    self.wrong(Wrong::Disordered, behind, format!("overtook {ahead} in {symbol}"));
                }
            }
        }
    }

    /// What was canceled does not work, and nothing else was canceled.
    fn cancels(&mut self) {
        let history = self.history;
        for cancel in &history.commands {
            let Ack::Stored { stream, sequence } = cancel.ack else {
                continue;
            };
            let accepted = history
                .outcomes_of(stream, sequence)
                .any(|outcome| outcome.kind == "ACCEPTED");
            match cancel.kind {
                Kind::Cancel => {
                    if accepted && let Some(order) = history.open_order(&cancel.id) {
                        let text = format!("the cancel was accepted, and the order is {}", order.status);
                        self.wrong(Wrong::Contradicted, &cancel.id, text);
                    }
                    // An order published shortly after its cancel was not meant to live.
                    for order in &history.commands {
                        let follows = order.id == cancel.id
                            && is_creation(order.kind)
                            && order.published > cancel.acked
                            && order.acked < cancel.acked + MARK_REACH - TOLERANCE;
                        if follows && let Some(open) = history.open_order(&order.id) {
                            let text = format!("canceled before it was published, and it is {}", open.status);
                            self.wrong(Wrong::Contradicted, &order.id, text);
                        }
                    }
                }
                Kind::CancelMany if accepted => {
                    for order in &history.orders {
                        let was_there = order.created + TOLERANCE < cancel.published;
                        if was_there && meant(cancel, order) && order.is_open_in(history) {
                            let text = format!("{} was accepted, and it is {}", cancel.id, order.status);
                            self.wrong(Wrong::Contradicted, &order.id, text);
                        }
                    }
                }
                Kind::CancelMany
                | Kind::Order
                | Kind::Replace
                | Kind::Close
                | Kind::CloseAll
                | Kind::Poison => {}
            }
        }
        for order in &history.orders {
            if order.status != "canceled" {
                continue;
            }
            let named = history.commands.iter().any(|command| match command.kind {
                Kind::Cancel => command.id == order.id || command.id == order.order_id,
                Kind::CancelMany => meant(command, order) && command.acked + TOLERANCE >= order.created,
                // A close may ask for it.
                Kind::Close | Kind::CloseAll => command.payload.contains("cancel_orders"),
                Kind::Order | Kind::Replace | Kind::Poison => false,
            });
            let late = history
                .outcomes
                .iter()
                .any(|outcome| outcome.id == order.id && outcome.kind == "LATE_ACCEPTED");
            // The legs of a bracket go with it, and immediate-or-cancel orders by themselves.
            let venue_named = order.id.len() == 36;
            if !named && !late && !venue_named {
                self.wrong(
                    Wrong::Contradicted,
                    &order.id,
                    "canceled, and nobody asked for that",
                );
            }
        }
    }
}

impl VenueOrder {
    fn is_open_in(&self, history: &History) -> bool {
        history
            .open_order(&self.id)
            .is_some_and(|open| open.order_id == self.order_id)
    }
}

const fn is_creation(kind: Kind) -> bool {
    match kind {
        Kind::Order | Kind::Replace | Kind::Close | Kind::CloseAll => true,
        Kind::Cancel | Kind::CancelMany | Kind::Poison => false,
    }
}

/// Whether a command asks for an order of that id.
fn creates(command: &Command, id: &str) -> bool {
    match command.kind {
        Kind::Order | Kind::Replace | Kind::Close => command.id == id,
        Kind::CloseAll => id
            .strip_prefix(command.id.as_str())
            .is_some_and(|rest| rest.starts_with('.')),
        Kind::Cancel | Kind::CancelMany | Kind::Poison => false,
    }
}

/// Whether a wide cancel means an order.
fn meant(cancel: &Command, order: &VenueOrder) -> bool {
    match cancel.id.strip_suffix("ALL") {
        Some("") => true,
        Some(strategy) => order.id.starts_with(strategy),
        None => false,
    }
}

/// Poison whose subject nobody can read has no id an outcome could go to.
fn unnamed(command: &Command) -> bool {
    command.kind == Kind::Poison && command.id.is_empty()
}
