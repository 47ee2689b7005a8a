//! The checker of the drop copy on histories written by hand: what is right passes, and each thing that is wrong is
//! found.
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use std::collections::BTreeMap;

use super::checker::Wrong;
use super::feed_checker::check;
use super::feed_history::{Bounds, FeedHistory, Standing, State, Statement, Update, VenueFill};

fn fill(cum_qty: i64, moved: i64, at: f64) -> VenueFill {
    VenueFill {
        order_id: "o".to_owned(),
        symbol: "AAPL".to_owned(),
        moved: moved.into(),
        cum_qty: cum_qty.into(),
        at,
    }
}

fn update(event: &str, status: &str, cum_qty: i64, stored: f64) -> Update {
    Update {
        order_id: "o".to_owned(),
        event: event.to_owned(),
        status: status.to_owned(),
        cum_qty: cum_qty.into(),
        recovered: false,
        stored,
    }
}

fn state(status: &str, filled: i64) -> State {
    State {
        id: "a".to_owned(),
        order_id: "o".to_owned(),
        status: status.to_owned(),
        filled: filled.into(),
    }
}

fn statement(as_of: f64, held: i64) -> Statement {
    let held = (held != 0).then(|| ("AAPL".to_owned(), held.into()));
    Statement {
        as_of,
        seen: as_of + 0.1,
        fresh: true,
        held: held.into_iter().collect(),
    }
}

/// An order of five that is filled in two steps.
fn good() -> FeedHistory {
    FeedHistory {
        fills: vec![fill(2, 2, 100.0), fill(5, 3, 101.0)],
        standings: vec![Standing {
            order_id: "o".to_owned(),
            id: "a".to_owned(),
            status: "filled".to_owned(),
            filled: 5.into(),
        }],
        updates: vec![
            update("new", "new", 0, 99.0),
            update("partial_fill", "partially_filled", 2, 100.1),
            update("fill", "filled", 5, 101.1),
        ],
        states: BTreeMap::from([("a".to_owned(), state("filled", 5))]),
        changes: vec![state("new", 0), state("partially_filled", 2), state("filled", 5)],
        statements: vec![
            statement(99.0, 0),
            statement(100.1, 2),
            statement(101.1, 5),
            statement(103.0, 5),
        ],
        last: Some(statement(103.0, 5)),
    }
}

const STRICT: Bounds = Bounds {
    told_within: Some(1.0),
    wrong_within: Some(1.0),
    nothing_recovered: true,
    states_may_be_missing: false,
};

fn wrongs(history: &FeedHistory, bounds: Bounds) -> Vec<Wrong> {
    check(history, bounds).iter().map(|found| found.wrong).collect()
}

#[test]
fn what_is_right_passes() {
    assert_eq!(wrongs(&good(), STRICT), []);
    assert_eq!(wrongs(&good(), Bounds::default()), []);
}

#[test]
fn each_thing_that_is_wrong_is_found() {
    type Spoil = fn(&mut FeedHistory);
    let cases: &[(&str, Spoil, Wrong)] = &[
        (
            "a fill is missing",
            |all| drop(all.updates.remove(1)),
            Wrong::Lost,
        ),
        (
            "a fill is there twice",
            |all| {
                let again = all.updates[1].clone();
                all.updates.push(again);
                all.updates.swap(2, 3);
            },
            Wrong::Duplicated,
        ),
        (
            "a fill nobody made",
            |all| {
                all.updates
                    .insert(1, update("partial_fill", "partially_filled", 1, 99.5))
            },
            Wrong::Duplicated,
        ),
        (
            "fills change places",
            |all| all.updates.swap(1, 2),
            Wrong::Disordered,
        ),
        (
            "a fill is told late",
            |all| all.updates[2].stored = 103.0,
            Wrong::Stale,
        ),
        (
            "a fill had to be recovered",
            |all| all.updates[2].recovered = true,
            Wrong::Lost,
        ),
        (
            "an event is there twice",
            |all| all.updates.insert(0, update("new", "new", 0, 98.0)),
            Wrong::Duplicated,
        ),
        (
            "an order comes back to life",
            |all| {
                all.updates
                    .push(update("pending_cancel", "pending_cancel", 5, 102.0))
            },
            Wrong::Disordered,
        ),
        (
            "nobody is told of the end",
            |all| {
                all.standings.push(Standing {
                    order_id: "p".to_owned(),
                    id: "b".to_owned(),
                    status: "canceled".to_owned(),
                    filled: 0.into(),
                });
                let shown = State {
                    id: "b".to_owned(),
                    order_id: "p".to_owned(),
                    ..state("canceled", 0)
                };
                all.states.insert("b".to_owned(), shown);
            },
            Wrong::Lost,
        ),
        ("the ledger shows nothing", |all| all.states.clear(), Wrong::Lost),
        (
            "the ledger shows an old state",
            |all| drop(all.states.insert("a".to_owned(), state("partially_filled", 2))),
            Wrong::Contradicted,
        ),
        (
            "the ledger went back",
            |all| all.changes.push(state("new", 5)),
            Wrong::Disordered,
        ),
        (
            "the ledger took a fill back",
            |all| all.changes.push(state("filled", 3)),
            Wrong::Disordered,
        ),
        (
            "fresh, and never so",
            |all| all.statements[2].held = BTreeMap::from([("AAPL".to_owned(), 4.into())]),
            Wrong::Stale,
        ),
        (
            "fresh, and no longer so",
            |all| {
                all.statements.insert(3, statement(102.5, 2));
            },
            Wrong::Stale,
        ),
        (
            "shown as fresh for too long",
            |all| drop(all.statements.remove(2)),
            Wrong::Stale,
        ),
        (
            "an older statement over a newer one",
            |all| all.statements.swap(1, 2),
            Wrong::Disordered,
        ),
        ("no positions", |all| all.last = None, Wrong::Lost),
        (
            "other positions in the end",
            |all| all.last = Some(statement(103.0, 2)),
            Wrong::Contradicted,
        ),
        (
            "stale in the end",
            |all| {
                if let Some(last) = &mut all.last {
                    last.fresh = false;
                }
            },
            Wrong::Stale,
        ),
    ];
    for (what, spoil, expected) in cases {
        let mut history = good();
        spoil(&mut history);
        let found = wrongs(&history, STRICT);
        assert!(found.contains(expected), "{what}: {found:?}");
    }
}

#[test]
fn what_is_not_vouched_for_may_be_old() {
    let mut history = good();
    history.statements[1].fresh = false;
    history.statements[1].held = BTreeMap::from([("AAPL".to_owned(), 1.into())]);
    history.statements.remove(2);
    assert_eq!(wrongs(&history, STRICT), []);
}

#[test]
fn a_fill_that_comes_after_the_end_revives_nothing() {
    let mut history = good();
    history.updates.swap(1, 2);
    let found = wrongs(&history, Bounds::default());
    assert_eq!(found, [Wrong::Disordered], "only their order is wrong");
}

#[test]
fn a_ledger_that_was_taken_away_may_have_forgotten() {
    let mut history = good();
    history.states.clear();
    let bounds = Bounds {
        states_may_be_missing: true,
        ..STRICT
    };
    assert_eq!(wrongs(&history, bounds), []);
}
