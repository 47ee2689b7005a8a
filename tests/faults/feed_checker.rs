//! Judges what was seen of the drop copy and the mirrors. Pure, and knows nothing of how the daemon works.
//!
//! | rule | promise |
//! |---|---|
//! | every fill of the venue is in the journal, once, and nothing else is | G4 |
//! | the fills of an order are told in order, how it ended is told once, and nothing revives it | G4 |
//! | the ledger shows each order as the venue has it, and never went back | order states |
//! | what was fresh was the venue's positions at an instant between a second before its date and when it was seen | G5 |
//! | no statement was written over a later one; in the end the positions are the venue's, and fresh | G5 |
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::checker::{Violation, Wrong};
use super::feed_history::{Bounds, FeedHistory, Statement, Update, VenueFill};

/// How far a statement may be behind its date: the venue's positions lag its fills.
const LAG: f64 = 1.0;
/// The clocks of the venue, the server and the watcher are one; this is what reading them costs.
const TOLERANCE: f64 = 0.25;

struct Judge<'a> {
    history: &'a FeedHistory,
    bounds: Bounds,
    found: Vec<Violation>,
}

/// Everything that is wrong with a history.
pub(crate) fn check(history: &FeedHistory, bounds: Bounds) -> Vec<Violation> {
    let mut judge = Judge {
        history,
        bounds,
        found: Vec::new(),
    };
    judge.fills();
    judge.lives();
    judge.states();
    judge.statements();
    judge.end();
    judge.found
}

fn is_over(status: &str) -> bool {
    matches!(
        status,
        "filled" | "canceled" | "expired" | "rejected" | "replaced"
    )
}

fn is_fill(update: &Update) -> bool {
    matches!(update.event.as_str(), "fill" | "partial_fill")
}

impl Judge<'_> {
    fn wrong(&mut self, wrong: Wrong, id: &str, text: impl Into<String>) {
        self.found.push(Violation {
            wrong,
            id: id.to_owned(),
            text: text.into(),
        });
    }

    /// Every fill once, in order, and in time.
    fn fills(&mut self) {
        let history = self.history;
        let mut told = BTreeMap::<(&str, Decimal), Vec<&Update>>::new();
        let mut last = BTreeMap::<&str, Decimal>::new();
        for update in history.updates.iter().filter(|update| is_fill(update)) {
            let key = (update.order_id.as_str(), update.cum_qty.normalize());
            told.entry(key).or_default().push(update);
            let before = last.insert(&update.order_id, update.cum_qty);
            if before.is_some_and(|before| before > update.cum_qty) {
                self.wrong(
                    Wrong::Disordered,
                    &update.order_id,
                    format!("a fill to {} after one beyond it", update.cum_qty),
                );
            }
        }
        for fill in &history.fills {
            let key = (fill.order_id.as_str(), fill.cum_qty.normalize());
            match told.remove(&key).as_deref() {
                None | Some([]) => self.wrong(
                    Wrong::Lost,
                    &fill.order_id,
                    format!("the fill to {} is not in the journal", fill.cum_qty),
                ),
                Some([update]) => self.in_time(fill, update),
                Some(several) => self.wrong(
                    Wrong::Duplicated,
                    &fill.order_id,
                    format!(
                        "the fill to {} is in the journal {} times",
                        fill.cum_qty,
                        several.len()
                    ),
                ),
            }
        }
        for ((id, cum_qty), _) in told {
            self.wrong(
                Wrong::Duplicated,
                id,
                format!("a fill to {cum_qty} that the venue does not know"),
            );
        }
    }

    fn in_time(&mut self, fill: &VenueFill, update: &Update) {
        if let Some(within) = self.bounds.told_within
            && update.stored > fill.at + within
        {
            self.wrong(
                Wrong::Stale,
                &fill.order_id,
                format!("a fill told after {:.1} s", update.stored - fill.at),
            );
        }
        if self.bounds.nothing_recovered && update.recovered {
            self.wrong(
                Wrong::Lost,
                &fill.order_id,
                "a fill that was heard had to be recovered",
            );
        }
    }

    /// Each event once, nothing after the end but a fill that came late, and the end itself.
    fn lives(&mut self) {
        let history = self.history;
        let mut seen = BTreeSet::<(&str, &str, Decimal)>::new();
        let mut over = BTreeSet::<&str>::new();
        for update in &history.updates {
            let identity = (
                update.order_id.as_str(),
                update.event.as_str(),
                update.cum_qty.normalize(),
            );
            if !seen.insert(identity) && !is_fill(update) {
                self.wrong(
                    Wrong::Duplicated,
                    &update.order_id,
                    format!("{} is in the journal twice", update.event),
                );
            }
            if over.contains(update.order_id.as_str()) && !is_over(&update.status) && !is_fill(update) {
                self.wrong(
                    Wrong::Disordered,
                    &update.order_id,
                    format!("{} after the end", update.event),
                );
            }
            if is_over(&update.status) {
                over.insert(&update.order_id);
            }
        }
        for standing in &history.standings {
            let event = match standing.status.as_str() {
                "filled" => "fill",
                end if is_over(end) => end,
                _ => continue,
            };
            if !seen
                .iter()
                .any(|(id, told, _)| *id == standing.order_id && *told == event)
            {
                self.wrong(
                    Wrong::Lost,
                    &standing.order_id,
                    format!("{} ({}) and nobody was told", standing.status, standing.id),
                );
            }
        }
    }

    /// The ledger shows what the venue has, and never went back.
    fn states(&mut self) {
        let history = self.history;
        for standing in &history.standings {
            let known = history.states.get(&standing.id);
            match known {
                None if self.bounds.states_may_be_missing => {}
                None => self.wrong(Wrong::Lost, &standing.id, "the ledger shows no state of it"),
                Some(state) if state.order_id != standing.order_id && self.bounds.states_may_be_missing => {}
                Some(state) if state.status != standing.status || state.filled != standing.filled => {
                    self.wrong(
                        Wrong::Contradicted,
                        &standing.id,
                        format!(
                            "{} with {} filled in the ledger, {} with {} at the venue",
                            state.status, state.filled, standing.status, standing.filled
                        ),
                    );
                }
                Some(_) => {}
            }
        }
        let mut latest = BTreeMap::<&str, (bool, Decimal)>::new();
        for change in &history.changes {
            let now = (is_over(&change.status), change.filled);
            if let Some(before) = latest.insert(&change.id, now)
                && (before.0 && !now.0 || before.1 > now.1)
            {
                self.wrong(
                    Wrong::Disordered,
                    &change.id,
                    format!(
                        "the ledger went back to {} with {} filled",
                        change.status, change.filled
                    ),
                );
            }
        }
    }

    /// What was fresh was true.
    fn statements(&mut self) {
        let history = self.history;
        let timeline = timeline(&history.fills);
        let mut latest = 0.0_f64;
        for statement in &history.statements {
            if statement.as_of < latest {
                self.wrong(
                    Wrong::Disordered,
                    "positions",
                    format!("as of {:.3} was written over a later one", statement.as_of),
                );
            }
            latest = latest.max(statement.as_of);
        }
        for statement in history.statements.iter().filter(|statement| statement.fresh) {
            let (from, to) = (statement.as_of - LAG, statement.seen + TOLERANCE);
            let was_so = timeline.iter().enumerate().any(|(at, (since, held))| {
                let until = timeline.get(at + 1).map_or(f64::INFINITY, |(next, _)| *next);
                *since <= to && until >= from && *held == statement.held
            });
            if !was_so {
                self.wrong(
                    Wrong::Stale,
                    "positions",
                    format!(
                        "{:?} as of {:.3} was never so then",
                        statement.held, statement.as_of
                    ),
                );
            }
        }
        if let Some(within) = self.bounds.wrong_within {
            let longest = longest_wrong(&timeline, &history.statements);
            if longest > within {
                self.wrong(
                    Wrong::Stale,
                    "positions",
                    format!("shown as fresh {longest:.1} s after the venue had others"),
                );
            }
        }
    }

    fn end(&mut self) {
        let history = self.history;
        let timeline = timeline(&history.fills);
        let held = timeline.last().map(|(_, held)| held.clone()).unwrap_or_default();
        match &history.last {
            None => self.wrong(Wrong::Lost, "positions", "there are none"),
            Some(last) if last.held != held => self.wrong(
                Wrong::Contradicted,
                "positions",
                format!("{:?}, and the venue has {held:?}", last.held),
            ),
            Some(last) if !last.fresh => {
                self.wrong(Wrong::Stale, "positions", "nobody vouches for them in the end");
            }
            Some(_) => {}
        }
    }
}

type Held = BTreeMap<String, Decimal>;

/// The venue's positions, each from an instant on.
fn timeline(fills: &[VenueFill]) -> Vec<(f64, Held)> {
    let mut fills: Vec<&VenueFill> = fills.iter().collect();
    fills.sort_by(|one, other| one.at.total_cmp(&other.at));
    let mut held = Held::new();
    let mut timeline = vec![(f64::NEG_INFINITY, held.clone())];
    for fill in fills {
        let qty = held.entry(fill.symbol.clone()).or_default();
        *qty += fill.moved;
        if qty.is_zero() {
            held.remove(&fill.symbol);
        }
        timeline.push((fill.at, held.clone()));
    }
    timeline
}

/// The longest time for which what was shown as fresh was not what the venue had.
fn longest_wrong(timeline: &[(f64, Held)], statements: &[Statement]) -> f64 {
    let (Some(first), Some(last)) = (statements.first(), statements.last()) else {
        return 0.0;
    };
    let mut instants: Vec<f64> = timeline.iter().map(|(at, _)| *at).collect();
    instants.extend(statements.iter().map(|statement| statement.seen));
    instants.retain(|at| (first.seen..=last.seen).contains(at));
    instants.sort_by(f64::total_cmp);
    let mut wrong_since: Option<f64> = None;
    let mut longest = 0.0_f64;
    for at in instants {
        let shown = statements.iter().rev().find(|statement| statement.seen <= at);
        let has = timeline.iter().rev().find(|(since, _)| *since <= at);
        let is_wrong = match (shown, has) {
            (Some(shown), Some((_, held))) => shown.fresh && shown.held != *held,
            _ => false,
        };
        match (is_wrong, wrong_since) {
            (true, None) => wrong_since = Some(at),
            (true, Some(since)) => longest = longest.max(at - since),
            (false, Some(since)) => {
                longest = longest.max(at - since);
                wrong_since = None;
            }
            (false, None) => {}
        }
    }
    longest
}
