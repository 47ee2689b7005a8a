//! Positions and account in the bucket: dated, whole, and never silently stale.

use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::{Value, json};

use crate::support::order::{With as _, buy, market};
use crate::support::world::Plan;
use crate::support::{World, proto, until};

const BUCKET: &str = "nalpaca";

async fn read(world: &World, key: &str, message: &str) -> Option<Value> {
    let bytes = world.value(BUCKET, key).await?;
    assert!(!bytes.is_empty(), "{key} is empty");
    Some(proto::decode(message, &bytes))
}

/// Waits until `positions` is as it should be.
async fn positions(world: &World, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    until(&format!("positions to be {what}"), async || {
        let positions = read(world, "positions", "tradesvc.v0.Positions").await?;
        is_so(&positions).then_some(positions)
    })
    .await
}

fn held(positions: &Value) -> Vec<(&str, &str)> {
    let positions = positions["positions"].as_array().expect("a list");
    positions
        .iter()
        .map(|position| {
            let symbol = position["symbol"].as_str().expect("text");
            (symbol, position["qty"].as_str().expect("text"))
        })
        .collect()
}

fn gtc() -> Value {
    json!({"tif": "TIME_IN_FORCE_GTC"})
}

#[tokio::test]
async fn holdings_follow_the_fills_and_being_flat_is_said_aloud() {
    let world = World::start().await;
    // The daemon is ready, so there is a statement: nothing is held, and that is a list.
    let flat = read(&world, "positions", "tradesvc.v0.Positions").await;
    let flat = flat.expect("written before the daemon is ready");
    assert_eq!(held(&flat), []);
    assert_eq!(flat["fresh"], true);
    assert_eq!(flat["source"], "rest");
    let at = |value: &Value| -> jiff::Timestamp {
        value["as_of"].as_str().expect("as_of is set").parse().unwrap()
    };

    world.order("b1", &buy("BRK.B", "2")).await;
    world.order("b2", &buy("BTC/USD", "0.01").with(gtc())).await;
    let long = positions(&world, "long in both", |positions| held(positions).len() == 2).await;
    // The venue keeps its fee in the coin.
    assert_eq!(held(&long), [("BRK.B", "2"), ("BTC/USD", "0.009975")]);
    assert_eq!(long["fresh"], true);
    assert!(at(&long) > at(&flat));
    assert!(long["version"].as_u64() > flat["version"].as_u64());
    let single = until("the key of one position", async || {
        read(&world, "position.BRK=2EB", "tradesvc.v0.Position").await
    })
    .await;
    assert_eq!(single["symbol"], "BRK.B");
    assert_eq!(single["qty"], "2");
    assert_eq!(single["side"], "long");
    assert_eq!(single["fresh"], true);
    at(&single);
    until("the key of the coin", async || {
        read(&world, "position.BTC/USD", "tradesvc.v0.Position").await
    })
    .await;

    world.order("s1", &market("SIDE_SELL", "BRK.B", "2")).await;
    world
        .order("s2", &market("SIDE_SELL", "BTC/USD", "0.009975").with(gtc()))
        .await;
    let flat = positions(&world, "flat again", |positions| held(positions).is_empty()).await;
    assert_eq!(flat["fresh"], true);
    until("the key of what is sold to go", async || {
        let gone = world.value(BUCKET, "position.BRK=2EB").await.is_none();
        gone.then_some(())
    })
    .await;

    let account = until("the account", async || {
        read(&world, "account", "tradesvc.v0.Account").await
    })
    .await;
    assert_eq!(account["status"], "ACTIVE");
    assert_eq!(account["fresh"], true);
}

#[tokio::test]
async fn a_statement_nobody_can_vouch_for_says_so_and_keeps_what_it_knew() {
    let plan = Plan::new().set("POSITIONS_REFRESH_INTERVAL", "1s");
    let mut world = plan.start().await;
    world.order("b1", &buy("AAPL", "3")).await;
    positions(&world, "long", |positions| held(positions) == [("AAPL", "3")]).await;
    let broken = Reply::status(503, "{}");
    world.sim.script().always(Endpoint::ListPositions, broken);
    let stale = positions(&world, "stale", |positions| positions["fresh"] == false).await;
    assert_eq!(held(&stale), [("AAPL", "3")], "stale is not flat");
    // It is no reason to stop trading, and it is listed.
    world.daemon.ready().await;
    let answer = world.daemon.get("/readyz").await.expect("it answers");
    assert!(answer.body.contains("[!]positions_stale"), "{}", answer.body);
    world.order("b2", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("b2").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.sim.script().clear();
    let fresh = positions(&world, "fresh again", |positions| positions["fresh"] == true).await;
    assert_eq!(held(&fresh), [("AAPL", "4")]);

    // Nobody vouches for the bucket when the daemon has gone.
    assert_eq!(world.daemon.terminate().await, 0);
    let left = positions(&world, "left behind", |_| true).await;
    assert_eq!(left["fresh"], false);
    assert_eq!(held(&left), [("AAPL", "4")]);
    assert!(left["version"].as_u64() > fresh["version"].as_u64());
}

#[tokio::test]
async fn a_venue_that_hangs_over_the_positions_makes_them_stale() {
    let plan = Plan::new()
        .set("POSITIONS_REFRESH_INTERVAL", "1s")
        .set("HTTP_CLIENT_TIMEOUT", "500ms");
    let world = plan.start().await;
    world.sim.script().always(Endpoint::ListPositions, Reply::Hang);
    positions(&world, "stale", |positions| positions["fresh"] == false).await;
    world.sim.script().clear();
    positions(&world, "fresh again", |positions| positions["fresh"] == true).await;
}

#[tokio::test]
async fn versions_go_on_across_restarts() {
    let mut world = World::start().await;
    let first = positions(&world, "there", |_| true).await;
    world.daemon.kill9();
    world.daemon.run();
    let version = |positions: &Value| positions["version"].as_u64();
    let second = positions(&world, "written anew", |positions| {
        positions["fresh"] == true && version(positions) > version(&first)
    })
    .await;
    assert!(version(&second) > version(&first));
}

#[tokio::test]
async fn what_a_killed_daemon_left_is_disowned_though_the_venue_is_away() {
    let mut world = World::start().await;
    world.order("a1", &buy("AAPL", "3")).await;
    positions(&world, "held", |positions| !held(positions).is_empty()).await;
    world.daemon.kill9();
    world.sim.script().always(Matcher::any(), Reply::Hang);
    world.daemon.run();
    let left = positions(&world, "disowned", |positions| positions["fresh"] == false).await;
    assert_eq!(held(&left), [("AAPL", "3")], "stale, not flat");
}
