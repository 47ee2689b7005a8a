//! Replaces and closes: orders that come of other orders, and of positions.

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply, RequestRecord};
use serde_json::{Value, json};

use crate::support::order::{With as _, buy, resting};
use crate::support::world::{JOURNAL_STREAM, Plan};
use crate::support::{World, until};

async fn placed(world: &World, id: &str, order: &Value) {
    world.order(id, order).await;
    let outcome = world.outcome(id).await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
}

async fn resting_at_the_market(world: &World, id: &str, symbol: &str) {
    placed(world, id, &resting(symbol)).await;
    world.status(id, "new").await;
}

fn kind(outcome: &Value) -> &str {
    let kind = outcome["kind"].as_str().expect("a kind is text");
    kind.strip_prefix("OUTCOME_KIND_").expect("it is spelled in full")
}

fn said(outcome: &Value) -> &str {
    outcome["message"].as_str().unwrap_or_default()
}

fn requests(world: &World, endpoint: Endpoint) -> Vec<RequestRecord> {
    let mut requests = world.sim.snapshot().requests().to_vec();
    requests.retain(|request| request.endpoint == Some(endpoint));
    requests
}

/// The venue's order under a client order id, as JSON.
fn at_venue(world: &World, id: &str) -> nalpaca::sim::core::Order {
    world
        .sim
        .order(id)
        .unwrap_or_else(|| panic!("the venue has {id}"))
}

#[tokio::test]
async fn a_replace_takes_the_orders_place_under_the_id_it_was_published_with() {
    let world = World::start().await;
    resting_at_the_market(&world, "mine.1", "AAPL").await;
    world
        .replace(
            "mine.2",
            &json!({"order": "mine.1", "limit_price": "2", "qty": "3"}),
        )
        .await;
    let outcome = world.outcome("mine.2").await;
    assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    assert_eq!(outcome["command"], "COMMAND_KIND_REPLACE");
    let (old, new) = (at_venue(&world, "mine.1"), at_venue(&world, "mine.2"));
    assert_eq!(outcome["order_id"], new.id.to_string());
    assert_eq!(outcome["order"]["replaces"], old.id.to_string());
    assert_eq!(old.status.as_str(), "replaced", "the outcome waited for it");
    assert_eq!(new.status.as_str(), "new");

    // By the name of an order that was replaced, and by the venue's own name for it.
    world
        .replace("mine.3", &json!({"order": "mine.1", "limit_price": "3"}))
        .await;
    assert_eq!(kind(&world.outcome("mine.3").await), "ACCEPTED");
    assert_eq!(at_venue(&world, "mine.3").replaces, Some(new.id));
    world
        .replace(
            "mine.4",
            &json!({"order": new.id.to_string(), "limit_price": "4"}),
        )
        .await;
    assert_eq!(kind(&world.outcome("mine.4").await), "ACCEPTED");
    assert_eq!(
        at_venue(&world, "mine.4").replaces,
        Some(at_venue(&world, "mine.3").id)
    );
    world.settled().await;

    // And it is canceled by its own name.
    world.cancel("mine.4").await;
    world.status("mine.4", "canceled").await;
    world.settled().await;
}

#[tokio::test]
async fn a_replace_published_right_after_its_order_waits_for_it_and_what_follows_waits_for_the_replace() {
    let world = World::start().await;
    // The order is on its way to the market for a while, and is not replaced before it is there.
    world.order("o.1", &resting("AAPL")).await;
    world
        .replace("o.2", &json!({"order": "o.1", "limit_price": "2"}))
        .await;
    world.order("o.3", &resting("AAPL")).await;
    for id in ["o.1", "o.2", "o.3"] {
        let outcome = world.outcome(id).await;
        assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    }
    let sequence_of = |endpoint, id: &str| {
        let requests = requests(&world, endpoint);
        let last = requests
            .iter()
            .rfind(|request| request.body.contains(&format!("\"{id}\"")));
        last.map(|request| request.received_at).expect("it was sent")
    };
    let patched = sequence_of(Endpoint::ReplaceOrder, "o.2");
    assert!(sequence_of(Endpoint::SubmitOrder, "o.1") < patched);
    assert!(patched < sequence_of(Endpoint::SubmitOrder, "o.3"));
    world.settled().await;
}

#[tokio::test]
async fn a_replace_that_loses_to_a_fill_is_rejected_and_says_so() {
    let mut plan = Plan::new();
    // Time enough for a fill between the venue's answer and what comes of it.
    plan.sim.event_delay = Duration::from_millis(400);
    let world = plan.start().await;
    resting_at_the_market(&world, "o.1", "AAPL").await;
    world
        .replace("o.2", &json!({"order": "o.1", "limit_price": "2"}))
        .await;
    until("the venue to take the replace", async || world.sim.order("o.2")).await;
    let one = "1".parse().unwrap();
    world
        .sim
        .fill("o.1", one, one)
        .expect("the old order is still there");
    let outcome = world.outcome("o.2").await;
    assert_eq!(kind(&outcome), "REJECTED", "{outcome}");
    assert!(said(&outcome).contains("it is filled"), "{outcome}");
    assert_eq!(at_venue(&world, "o.1").status.as_str(), "filled");
    assert_eq!(outcome["order_id"], at_venue(&world, "o.2").id.to_string());
    world.settled().await;
    // The venue had that order, and tells of its end itself.
    let told = world
        .stored(JOURNAL_STREAM, "nalpaca.journal.v0.updates.o.2")
        .await;
    let ours = told
        .iter()
        .any(|update| update.header("Nats-Msg-Id").starts_with("update:refused"));
    assert!(!ours, "{told:?}");
}

#[tokio::test]
async fn a_replace_stays_within_its_own_strategy_and_names_an_order_that_is_there() {
    let world = World::start().await;
    resting_at_the_market(&world, "value.1", "AAPL").await;
    let uuid = at_venue(&world, "value.1").id.to_string();
    for (id, order) in [("momentum.1", "value.1"), ("momentum.2", uuid.as_str())] {
        world.replace(id, &json!({"order": order, "qty": "2"})).await;
        let outcome = world.outcome(id).await;
        assert_eq!(kind(&outcome), "DENIED", "{outcome}");
        assert_eq!(outcome["reason"], "strategy");
    }
    world
        .replace("value.2", &json!({"order": "value.nobody", "qty": "2"}))
        .await;
    let outcome = world.outcome("value.2").await;
    assert_eq!(kind(&outcome), "REJECTED", "{outcome}");
    assert!(
        said(&outcome).contains("does not have the order value.nobody"),
        "{outcome}"
    );
    world.cancel("value.1").await;
    world.status("value.1", "canceled").await;
    world
        .replace("value.3", &json!({"order": "value.1", "qty": "2"}))
        .await;
    let outcome = world.outcome("value.3").await;
    assert_eq!(kind(&outcome), "REJECTED", "{outcome}");
    assert!(said(&outcome).contains("canceled"), "{outcome}");
    let update = world.journal("updates.value.3", 1).await.remove(0).message();
    assert_eq!(update["event"], "rejected");
    world.settled().await;
}

#[tokio::test]
async fn a_replace_whose_answer_is_lost_is_looked_up_and_not_sent_again() {
    let world = Plan::new().set("HTTP_CLIENT_TIMEOUT", "500ms").start().await;
    resting_at_the_market(&world, "o.1", "AAPL").await;
    world
        .sim
        .script()
        .next(Matcher::endpoint(Endpoint::ReplaceOrder), Reply::HangAfterCommit);
    world
        .replace("o.2", &json!({"order": "o.1", "limit_price": "2"}))
        .await;
    let outcome = world.outcome("o.2").await;
    assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    assert_eq!(outcome["resolved_by_lookup"], true);
    assert_eq!(requests(&world, Endpoint::ReplaceOrder).len(), 1);
    assert_eq!(at_venue(&world, "o.1").status.as_str(), "replaced");
    // The same command again is answered from the ledger; another one under its id is not taken.
    world
        .replace("o.2", &json!({"order": "o.1", "limit_price": "2.00"}))
        .await;
    let outcomes = world.outcomes("o.2", 2).await;
    assert_eq!(outcomes[1].message()["repeated"], true);
    world
        .replace("o.2", &json!({"order": "o.1", "limit_price": "5"}))
        .await;
    let outcomes = world.outcomes("o.2", 3).await;
    assert_eq!(kind(&outcomes[2].message()), "CONFLICT");
    assert_eq!(requests(&world, Endpoint::ReplaceOrder).len(), 1);
    world.settled().await;
}

async fn holding(world: &World, id: &str, symbol: &str, qty: &str) {
    placed(world, id, &buy(symbol, qty)).await;
    world.filled(id).await;
}

fn held(world: &World, symbol: &str) -> String {
    let snapshot = world.sim.snapshot();
    let position = snapshot.positions().iter().find(|held| held.symbol == symbol);
    position.map_or_else(|| "0".to_owned(), |held| held.qty.normalize().to_string())
}

#[tokio::test]
async fn a_position_is_closed_in_part_and_whole_by_orders_of_ours() {
    let world = World::start().await;
    holding(&world, "buy.1", "AAPL", "11").await;
    for (id, close, left) in [
        ("close.1", json!({"symbol": "AAPL", "qty": "1"}), "10"),
        ("close.2", json!({"symbol": "AAPL", "percentage": "50"}), "5"),
        ("close.3", json!({"symbol": "AAPL"}), "0"),
    ] {
        world.close(id, &close).await;
        let outcome = world.outcome(id).await;
        assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
        assert_eq!(outcome["command"], "COMMAND_KIND_CLOSE");
        world.filled(id).await;
        until(&format!("{left} shares to be left"), async || {
            (held(&world, "AAPL") == left).then_some(())
        })
        .await;
    }
    world.close("close.4", &json!({"symbol": "AAPL"})).await;
    let outcome = world.outcome("close.4").await;
    assert_eq!(kind(&outcome), "DENIED", "{outcome}");
    assert_eq!(outcome["reason"], "position");
    // Published again, a close does not close again.
    holding(&world, "buy.2", "AAPL", "4").await;
    world.close("close.3", &json!({"symbol": "AAPL"})).await;
    let outcomes = world.outcomes("close.3", 2).await;
    assert_eq!(outcomes[1].message()["repeated"], true);
    assert_eq!(held(&world, "AAPL"), "4");
    world
        .close("close.5", &json!({"symbol": "AAPL", "qty": "5"}))
        .await;
    let outcome = world.outcome("close.5").await;
    assert_eq!(kind(&outcome), "DENIED", "{outcome}");
    assert!(said(&outcome).contains("position in AAPL is 4"), "{outcome}");
    world.settled().await;
}

#[tokio::test]
async fn a_close_cancels_the_symbols_open_orders_first_when_asked() {
    let world = World::start().await;
    holding(&world, "m.1", "AAPL", "4").await;
    let exit = resting("AAPL").with(json!({"side": "SIDE_SELL", "limit_price": "9000", "qty": "4"}));
    placed(&world, "m.2", &exit).await;
    world.status("m.2", "new").await;
    placed(&world, "m.3", &resting("MSFT")).await;
    // The shares are held by the resting order.
    world.close("m.4", &json!({"symbol": "AAPL"})).await;
    let outcome = world.outcome("m.4").await;
    assert_eq!(kind(&outcome), "REJECTED", "{outcome}");
    world
        .close("m.5", &json!({"symbol": "AAPL", "cancel_orders": true}))
        .await;
    let outcome = world.outcome("m.5").await;
    assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    world.filled("m.5").await;
    world.status("m.2", "canceled").await;
    world.status("m.3", "new").await;
    assert_eq!(held(&world, "AAPL"), "0");
    world.settled().await;
}

#[tokio::test]
async fn everything_is_closed_with_an_order_per_symbol_and_one_outcome() {
    let mut world = World::start().await;
    for (id, symbol) in [("b.1", "AAPL"), ("b.2", "BRK.B"), ("b.3", "MSFT")] {
        holding(&world, id, symbol, "2").await;
    }
    world.close("flat.1", &json!({"all": true})).await;
    let outcome = world.outcome("flat.1").await;
    assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    let results = outcome["results"].as_array().expect("results are listed");
    let ids: Vec<_> = results
        .iter()
        .map(|result| result["client_order_id"].as_str())
        .collect();
    assert_eq!(
        ids,
        [Some("flat.1.AAPL"), Some("flat.1.BRK.B"), Some("flat.1.MSFT")]
    );
    for id in ids.into_iter().flatten() {
        world.filled(id).await;
    }
    assert_eq!(world.sim.snapshot().positions().len(), 0);
    world.close("flat.2", &json!({"all": true})).await;
    let outcome = world.outcome("flat.2").await;
    assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    assert!(said(&outcome).contains("no position"), "{outcome}");
    world.settled().await;

    // Killed half-way, it goes on with the orders it had begun, and begins none twice.
    for (id, symbol) in [("c.1", "AAPL"), ("c.2", "MSFT")] {
        holding(&world, id, symbol, "2").await;
    }
    world.sim.script().next(
        Matcher::endpoint(Endpoint::SubmitOrder).containing("flat.3.MSFT"),
        Reply::Hang,
    );
    world.close("flat.3", &json!({"all": true})).await;
    world.filled("flat.3.AAPL").await;
    world.posted("flat.3.MSFT").await;
    world.daemon.kill9();
    world.daemon.run();
    let outcome = world.outcome("flat.3").await;
    assert_eq!(kind(&outcome), "ACCEPTED", "{outcome}");
    assert_eq!(outcome["results"].as_array().map(Vec::len), Some(2), "{outcome}");
    world.filled("flat.3.MSFT").await;
    assert_eq!(world.sim.snapshot().orders_by_client_id("flat.3.AAPL"), 1);
    assert_eq!(world.sim.snapshot().positions().len(), 0);
    world.settled().await;
}
