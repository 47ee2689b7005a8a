//! The checker on histories written by hand: what is right passes, and each thing that is wrong is found.
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use super::checker::{Wrong, check};
use super::history::{Ack, Asks, Command, Departure, History, Kind, Outcome, Request, VenueOrder};

fn command(kind: Kind, id: &str, sequence: u64) -> Command {
    let at = 100.0 + seconds(sequence);
    Command {
        kind,
        id: id.to_owned(),
        payload: "one".to_owned(),
        symbol: "AAPL".to_owned(),
        ack: Ack::Stored { stream: 1, sequence },
        published: at,
        acked: at + 0.01,
        deadline: Some(at + 60.0),
    }
}

fn seconds(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("a small number"))
}

fn outcome(id: &str, kind: &str, sequence: u64) -> Outcome {
    Outcome {
        id: id.to_owned(),
        kind: kind.to_owned(),
        terminal: kind != "UNRESOLVED",
        stream: 1,
        sequence,
        order_id: format!("venue-{id}"),
    }
}

fn create(id: &str, at: f64, status: Option<u16>) -> Request {
    Request {
        what: Asks::Create,
        id: id.to_owned(),
        at,
        status,
    }
}

fn departure(id: &str, at: f64) -> Departure {
    Departure {
        id: id.to_owned(),
        at,
    }
}

fn look(id: &str, at: f64) -> Request {
    Request {
        what: Asks::LookUp,
        id: id.to_owned(),
        at,
        status: Some(404),
    }
}

fn order(id: &str, status: &str) -> VenueOrder {
    VenueOrder {
        order_id: format!("venue-{id}"),
        id: id.to_owned(),
        status: status.to_owned(),
        created: 101.0,
    }
}

/// Two orders, both taken.
fn good() -> History {
    History {
        commands: vec![
            command(Kind::Order, "a", 1),
            Command {
                symbol: "MSFT".to_owned(),
                ..command(Kind::Order, "b", 2)
            },
        ],
        requests: vec![create("a", 101.1, Some(200)), create("b", 102.1, Some(200))],
        departures: vec![departure("a", 101.1), departure("b", 102.1)],
        orders: vec![order("a", "new"), order("b", "filled")],
        outcomes: vec![outcome("a", "ACCEPTED", 1), outcome("b", "ACCEPTED", 2)],
    }
}

/// A history that is `good` but for one change.
#[track_caller]
fn changed(change: impl FnOnce(&mut History)) -> Vec<Wrong> {
    let mut history = good();
    change(&mut history);
    let mut wrong: Vec<Wrong> = check(&history)
        .into_iter()
        .map(|violation| violation.wrong)
        .collect();
    wrong.sort();
    wrong.dedup();
    wrong
}

#[test]
fn histories_that_are_right_pass() {
    assert_eq!(changed(|_| {}), []);
    // Unknown to the publisher, stored or not.
    assert_eq!(
        changed(|history| {
            history.commands[0].ack = Ack::Unknown;
            history.outcomes.remove(0);
        }),
        []
    );
    // Published again: the outcome again.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::Order, "a", 3));
            history.outcomes.push(outcome("a", "ACCEPTED", 3));
        }),
        []
    );
    // Another payload under a known id.
    assert_eq!(
        changed(|history| {
            let other = Command {
                payload: "two".to_owned(),
                ..command(Kind::Order, "a", 3)
            };
            history.commands.push(other);
            history.outcomes.push(outcome("a", "CONFLICT", 3));
        }),
        []
    );
    // Refused by the venue, expired, canceled before it was sent.
    for (kind, status) in [
        ("REJECTED", Some(422)),
        ("EXPIRED", None),
        ("CANCELED_BEFORE_SEND", None),
        ("DENIED", None),
    ] {
        assert_eq!(
            changed(|history| {
                history.orders.remove(0);
                history.outcomes[0] = outcome("a", kind, 1);
                match status {
                    Some(status) => history.requests[0].status = Some(status),
                    None => drop(history.requests.remove(0)),
                }
            }),
            [],
            "{kind}"
        );
    }
    // Sent again when the venue had been asked for long enough.
    assert_eq!(
        changed(|history| {
            history.requests[0].status = None;
            history
                .requests
                .extend([look("a", 102.0), look("a", 105.0), look("a", 112.0)]);
            history.requests.push(create("a", 112.5, Some(200)));
        }),
        []
    );
    // Sent again at once when the venue had turned it away.
    assert_eq!(
        changed(|history| {
            history.requests[0].status = Some(429);
            history.requests.push(create("a", 101.5, Some(200)));
        }),
        []
    );
    // Nobody knows yet, and the venue has nothing.
    assert_eq!(
        changed(|history| {
            history.orders.remove(0);
            history.outcomes[0] = outcome("a", "UNRESOLVED", 1);
        }),
        []
    );
    // Found late, and canceled.
    assert_eq!(
        changed(|history| {
            history.orders[0].status = "canceled".to_owned();
            history.outcomes[0] = outcome("a", "LATE_ACCEPTED", 1);
            history.outcomes.push(outcome("a", "UNRESOLVED", 1));
        }),
        []
    );
    // A close of everything has an order per symbol.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::CloseAll, "flat", 3));
            history.outcomes.push(outcome("flat", "ACCEPTED", 3));
            history.requests.push(create("flat.AAPL", 103.1, Some(200)));
            history.orders.push(order("flat.AAPL", "filled"));
        }),
        []
    );
    // Canceled, by name and by strategy.
    for name in ["a", "ALL"] {
        assert_eq!(
            changed(|history| {
                let kind = if name == "ALL" {
                    Kind::CancelMany
                } else {
                    Kind::Cancel
                };
                history.commands.push(command(kind, name, 3));
                history.outcomes.push(outcome(name, "ACCEPTED", 3));
                history.orders[0].status = "canceled".to_owned();
            }),
            [],
            "{name}"
        );
    }
    // Poison is told to its publisher.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::Poison, "p", 3));
            history.outcomes.push(outcome("p", "INVALID", 3));
        }),
        []
    );
    // The exits of a bracket bear the venue's names.
    assert_eq!(
        changed(|history| history
            .orders
            .push(order("904837e3-3b76-47ec-b432-046db621571b", "new"))),
        []
    );
}

#[test]
fn an_order_that_is_there_twice_or_that_nobody_asked_for_is_found() {
    assert_eq!(
        changed(|history| history.orders.push(order("a", "new"))),
        [Wrong::Duplicated]
    );
    assert_eq!(
        changed(|history| history.orders.push(order("c", "new"))),
        [Wrong::Duplicated]
    );
    assert_eq!(
        changed(|history| history.orders.push(order("a-2", "new"))),
        [Wrong::Duplicated],
        "a fresh id for an old order"
    );
}

#[test]
fn a_request_that_is_repeated_in_haste_is_found() {
    // Taken, and sent again.
    assert_eq!(
        changed(|history| history.requests.push(create("a", 101.5, Some(422)))),
        [Wrong::Duplicated]
    );
    // Unknown, and sent again after one look, or after three that came too soon.
    for looks in [vec![112.0], vec![102.0, 103.0, 104.0], vec![]] {
        assert_eq!(
            changed(|history| {
                history.requests[0].status = None;
                history.requests.extend(looks.iter().map(|at| look("a", *at)));
                history.requests.push(create("a", 112.5, Some(200)));
            }),
            [Wrong::Duplicated],
            "{looks:?}"
        );
    }
    // A server error is no refusal, and neither is a timeout in the venue's words.
    for status in [408, 500, 503] {
        assert_eq!(
            changed(|history| {
                history.requests[0].status = Some(status);
                history.requests.push(create("a", 101.5, Some(200)));
            }),
            [Wrong::Duplicated],
            "{status}"
        );
    }
}

#[test]
fn a_command_without_an_outcome_is_lost() {
    assert_eq!(changed(|history| drop(history.outcomes.remove(0))), [Wrong::Lost]);
    // An outcome of another sequence, or of the stream before, is no outcome of this one.
    assert_eq!(changed(|history| history.outcomes[0].sequence = 7), [Wrong::Lost]);
    assert_eq!(changed(|history| history.outcomes[0].stream = 2), [Wrong::Lost]);
    // Nobody knows, they say, and the venue has it.
    assert_eq!(
        changed(|history| history.outcomes[0] = outcome("a", "UNRESOLVED", 1)),
        [Wrong::Lost]
    );
    // Cancels and poison too.
    for kind in [
        Kind::Cancel,
        Kind::CancelMany,
        Kind::Poison,
        Kind::Close,
        Kind::Replace,
    ] {
        assert_eq!(
            changed(|history| history.commands.push(command(kind, "x", 3))),
            [Wrong::Lost],
            "{kind:?}"
        );
    }
}

#[test]
fn an_outcome_the_venue_contradicts_is_found() {
    // Accepted, and not there; or there under another name.
    assert_eq!(
        changed(|history| drop(history.orders.remove(0))),
        [Wrong::Contradicted]
    );
    assert_eq!(
        changed(|history| history.outcomes[0].order_id = "venue-b".to_owned()),
        [Wrong::Contradicted]
    );
    // Refused, and there.
    for kind in [
        "REJECTED",
        "DENIED",
        "EXPIRED",
        "INVALID",
        "CANCELED_BEFORE_SEND",
        "CONFIRMED_ABSENT",
    ] {
        assert_eq!(
            changed(|history| {
                history.outcomes[0] = outcome("a", kind, 1);
                history.requests[0].status = Some(422);
            }),
            [Wrong::Contradicted],
            "{kind}"
        );
    }
    // Refused on the customer's behalf.
    for status in [None, Some(401), Some(429), Some(500)] {
        assert_eq!(
            changed(|history| {
                history.orders.remove(0);
                history.outcomes[0] = outcome("a", "REJECTED", 1);
                history.requests[0].status = status;
            }),
            [Wrong::Contradicted],
            "{status:?}"
        );
    }
    // Two terminal outcomes.
    assert_eq!(
        changed(|history| history.outcomes.push(outcome("a", "ACCEPTED", 1))),
        [Wrong::Contradicted]
    );
    // A conflict with nobody.
    assert_eq!(
        changed(|history| {
            history.orders.remove(0);
            history.requests.remove(0);
            history.outcomes[0] = outcome("a", "CONFLICT", 1);
        }),
        [Wrong::Contradicted]
    );
    // A late order that is left working.
    assert_eq!(
        changed(|history| history.outcomes[0] = outcome("a", "LATE_ACCEPTED", 1)),
        [Wrong::Contradicted]
    );
    // A replacement that lost to a fill.
    assert_eq!(
        changed(|history| {
            history.commands[0].kind = Kind::Replace;
            history.orders[0].status = "rejected".to_owned();
        }),
        [Wrong::Contradicted]
    );
    // Poison that was executed.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::Poison, "p", 3));
            history.outcomes.push(outcome("p", "ACCEPTED", 3));
        }),
        [Wrong::Contradicted]
    );
}

#[test]
fn two_payloads_under_one_id_that_both_stand_are_found() {
    let other = || Command {
        payload: "two".to_owned(),
        ..command(Kind::Order, "a", 3)
    };
    assert_eq!(
        changed(|history| {
            history.commands.push(other());
            history.outcomes.push(outcome("a", "ACCEPTED", 3));
        }),
        [Wrong::Contradicted]
    );
    // One payload that comes to different ends.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::Order, "a", 3));
            history.requests[0].status = Some(422);
            history.outcomes.push(outcome("a", "REJECTED", 3));
        }),
        [Wrong::Contradicted]
    );
}

#[test]
fn a_request_after_its_deadline_is_stale() {
    assert_eq!(changed(|history| history.commands[0].deadline = Some(101.0)), []);
    assert_eq!(
        changed(|history| history.commands[0].deadline = Some(100.5)),
        [Wrong::Stale]
    );
    assert_eq!(changed(|history| history.commands[0].deadline = None), []);
    // Again, when the first time was in time.
    assert_eq!(
        changed(|history| history.departures.push(departure("a", 170.0))),
        [Wrong::Stale]
    );
    // It left in time, and stood still on its way.
    assert_eq!(changed(|history| history.requests[0].at = 170.0), []);
}

#[test]
fn orders_that_overtake_each_other_in_a_symbol_are_found() {
    assert_eq!(
        changed(|history| {
            history.departures[1].at = 101.0;
            history.commands[1].symbol = "AAPL".to_owned();
        }),
        [Wrong::Disordered]
    );
    // Sent between the two times the one ahead of it was sent.
    assert_eq!(
        changed(|history| {
            history.requests[0].status = Some(429);
            history.requests.push(create("a", 103.0, Some(200)));
            history.departures.push(departure("a", 103.0));
            history.commands[1].symbol = "AAPL".to_owned();
        }),
        [Wrong::Disordered]
    );
    assert_eq!(
        changed(|history| {
            history.departures[1].at = 101.0;
        }),
        [],
        "another symbol"
    );
}

#[test]
fn cancels_that_do_too_little_or_too_much_are_found() {
    for name in ["a", "ALL"] {
        assert_eq!(
            changed(|history| {
                let kind = if name == "ALL" {
                    Kind::CancelMany
                } else {
                    Kind::Cancel
                };
                history.commands.push(command(kind, name, 3));
                history.outcomes.push(outcome(name, "ACCEPTED", 3));
            }),
            [Wrong::Contradicted],
            "{name} was accepted, and the order works"
        );
    }
    assert_eq!(
        changed(|history| history.orders[0].status = "canceled".to_owned()),
        [Wrong::Contradicted],
        "canceled, and nobody asked for that"
    );
    // Canceled by a wide cancel from before it was there.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::CancelMany, "ALL", 3));
            history.outcomes.push(outcome("ALL", "ACCEPTED", 3));
            history.orders[0].status = "canceled".to_owned();
            history.orders[0].created = 110.0;
        }),
        [Wrong::Contradicted]
    );
    // Another strategy's.
    assert_eq!(
        changed(|history| {
            history.commands.push(command(Kind::CancelMany, "other.ALL", 3));
            history.outcomes.push(outcome("other.ALL", "ACCEPTED", 3));
            history.orders[0].status = "canceled".to_owned();
        }),
        [Wrong::Contradicted]
    );
    // Canceled before it was published, and it works.
    assert_eq!(
        changed(|history| {
            let first = Command {
                published: 99.0,
                acked: 99.5,
                ..command(Kind::Cancel, "a", 3)
            };
            history.commands.push(first);
            history.outcomes.push(outcome("a", "REJECTED", 3));
        }),
        [Wrong::Contradicted]
    );
}
