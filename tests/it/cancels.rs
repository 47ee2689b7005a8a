//! Cancels, by every name an order has, and at every moment of its life.

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::{Value, json};

use crate::support::order::{With as _, buy, resting};
use crate::support::{Stored, World};

fn assert_accepted(outcome: &Value) {
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
}

/// The outcome of the latest command under an id that was used by an order and then by a cancel.
async fn cancel_outcome(world: &World, id: &str) -> Value {
    let outcome = world.outcomes(id, 2).await[1].message();
    assert_eq!(outcome["command"], "COMMAND_KIND_CANCEL", "{outcome}");
    outcome
}

#[tokio::test]
async fn an_order_is_canceled_by_the_publishers_id_and_by_the_venues() {
    let world = World::start().await;
    for id in ["mine.1", "mine.2"] {
        world.order(id, &resting("BRK.B")).await;
        assert_accepted(&world.outcome(id).await);
    }
    world.cancel("mine.1").await;
    let outcome = cancel_outcome(&world, "mine.1").await;
    assert_accepted(&outcome);
    world.status("mine.1", "canceled").await;

    let uuid = world
        .sim
        .order("mine.2")
        .expect("the venue has it")
        .id
        .to_string();
    world.cancel(&uuid).await;
    let outcome = world.outcome(&uuid).await;
    assert_accepted(&outcome);
    assert_eq!(outcome["order_id"], uuid);
    world.status("mine.2", "canceled").await;
    world.settled().await;
}

#[tokio::test]
async fn a_wide_cancel_takes_down_all_it_names_and_nothing_else() {
    let world = World::start().await;
    for id in ["momentum.1", "momentum.2", "value.1", "momentum2.1"] {
        world.order(id, &resting("AAPL")).await;
        assert_accepted(&world.outcome(id).await);
        world.status(id, "new").await;
    }
    world.cancel("momentum.ALL").await;
    let outcome = world.outcome("momentum.ALL").await;
    assert_accepted(&outcome);
    let canceled = |outcome: &Value| -> Vec<String> {
        let results = outcome["results"].as_array().expect("results are listed");
        let mut ids: Vec<_> = results
            .iter()
            .map(|result| {
                result["client_order_id"]
                    .as_str()
                    .expect("an id is text")
                    .to_owned()
            })
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(canceled(&outcome), ["momentum.1", "momentum.2"]);
    for id in ["momentum.1", "momentum.2"] {
        world.status(id, "canceled").await;
    }
    for id in ["value.1", "momentum2.1"] {
        world.status(id, "new").await;
    }
    world.cancel("ALL").await;
    let outcome = world.outcome("ALL").await;
    assert_accepted(&outcome);
    assert_eq!(canceled(&outcome), ["momentum2.1", "value.1"]);
    world.settled().await;
    // With nothing left it is no error, and what comes later lives.
    world.cancel("ALL").await;
    assert_accepted(&world.outcomes("ALL", 2).await[1].message());
    world.order("value.2", &resting("AAPL")).await;
    assert_accepted(&world.outcome("value.2").await);
    world.status("value.2", "new").await;
}

#[tokio::test]
async fn a_cancel_of_an_unknown_order_is_rejected_and_stops_the_order_that_comes_after_it() {
    let world = World::start().await;
    world.cancel("too-early").await;
    let outcome = world.outcome("too-early").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_REJECTED", "{outcome}");
    assert!(
        outcome["message"]
            .as_str()
            .is_some_and(|message| message.contains("no such order")),
        "{outcome}"
    );
    world.order("too-early", &resting("AAPL")).await;
    let outcome = world.outcomes("too-early", 2).await[1].message();
    assert_eq!(outcome["kind"], "OUTCOME_KIND_CANCELED_BEFORE_SEND", "{outcome}");
    assert_eq!(outcome["command"], "COMMAND_KIND_ORDER");
    let update = world.journal("updates.too-early", 1).await.remove(0).message();
    assert_eq!(update["event"], "rejected");
    world.settled().await;
    assert_eq!(world.posts(), 0);

    let nobody = "0198c5a6-7d5e-7cc1-8f4e-1d6f3c0b2a11";
    world.cancel(nobody).await;
    let outcome = world.outcome(nobody).await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_REJECTED", "{outcome}");
    world.settled().await;
}

#[tokio::test]
async fn a_cancel_of_a_finished_order_is_rejected_in_the_venues_words() {
    let world = World::start().await;
    world.order("done", &buy("AAPL", "1")).await;
    world.filled("done").await;
    world.cancel("done").await;
    let outcome = cancel_outcome(&world, "done").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_REJECTED", "{outcome}");
    assert_eq!(outcome["http_status"], 422);
    assert!(
        outcome["message"].as_str().unwrap().contains("filled"),
        "{outcome}"
    );
    world.settled().await;
}

#[tokio::test]
async fn a_cancel_of_an_order_that_never_worked_says_so_without_asking() {
    let world = World::start().await;
    let late = buy("AAPL", "1").with(json!({"valid_until": "2020-01-01T00:00:00Z"}));
    world.order("late", &late).await;
    world.outcome("late").await;
    world.cancel("late").await;
    let outcome = cancel_outcome(&world, "late").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_REJECTED", "{outcome}");
    assert!(
        outcome["message"].as_str().unwrap().contains("expired"),
        "{outcome}"
    );
    world.settled().await;
    assert_eq!(world.sim.snapshot().requests_to(Endpoint::CancelOrder), 0);
}

#[tokio::test]
async fn a_cancel_overtakes_orders_that_wait_and_never_leaves_one_behind() {
    let world = World::start().await;
    // The first order's POST takes its time; the second one waits behind it.
    let slow = Matcher::endpoint(Endpoint::SubmitOrder).containing("first");
    let long = Duration::from_secs(1);
    world.sim.script().next(slow, Reply::DelayAfterCommit(long));
    world.order("first", &resting("AAPL")).await;
    world.order("second", &resting("AAPL")).await;
    world.posted("first").await;
    world.cancel("second").await;
    world.cancel("first").await;
    let outcomes = world.outcomes("second", 2).await;
    let of = |command: &str| {
        let found = outcomes.iter().map(Stored::message);
        let mut found = found.filter(|outcome| outcome["command"] == command);
        found.next().expect("each command has an outcome")
    };
    assert_eq!(of("COMMAND_KIND_CANCEL")["kind"], "OUTCOME_KIND_REJECTED");
    assert_eq!(
        of("COMMAND_KIND_ORDER")["kind"],
        "OUTCOME_KIND_CANCELED_BEFORE_SEND"
    );
    for outcome in world.outcomes("first", 2).await {
        assert_accepted(&outcome.message());
    }
    world.status("first", "canceled").await;
    world.settled().await;
    assert!(world.posts_of("second").is_empty());
}
