//! When the venue's answer does not say what became of an order: it is asked, and there is never a second order.

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply, Sim};
use serde_json::Value;

use crate::support::daemon::{KEY, SECRET};
use crate::support::order::resting;
use crate::support::world::Plan;
use crate::support::{World, until};

/// Symbols that share no lane.
const SYMBOLS: [&str; 8] = ["AAPL", "AMZN", "F", "GOOG", "META", "MSFT", "NVDA", "SPY"];

fn posts_naming(id: &str) -> Matcher {
    Matcher::endpoint(Endpoint::SubmitOrder).containing(id)
}

fn assert_one_order(world: &World, id: &str, outcome: &Value) {
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{id}: {outcome}");
    let truth = world.sim.snapshot();
    assert_eq!(truth.orders_by_client_id(id), 1, "{id}");
    let order = world.sim.order(id).expect("the venue has it");
    assert_eq!(outcome["order_id"], order.id.to_string(), "{id}");
}

#[tokio::test]
async fn an_order_taken_before_the_answer_was_lost_is_found_and_not_sent_again() {
    let world = Plan::new().set("HTTP_CLIENT_TIMEOUT", "500ms").start().await;
    let page = |code| Reply::StatusAfterCommit {
        code,
        body: "<html>sorry</html>".to_owned(),
        content_type: "text/html".into(),
    };
    let cases = [
        ("cut-off", Reply::CutAfterCommit),
        ("cut-mid-body", Reply::CutMidBody),
        ("hang", Reply::HangAfterCommit),
        ("gateway-timeout", Reply::gateway_timeout_after_commit()),
        ("server-error", page(500)),
        ("request-timeout", page(408)),
        ("garbage", Reply::BodyGarbage),
        ("huge", Reply::HugeBody(8 * 1024 * 1024)),
    ];
    for ((id, reply), symbol) in cases.iter().zip(SYMBOLS) {
        world.sim.script().next(posts_naming(id), reply.clone());
        world.order(id, &resting(symbol)).await;
    }
    for (id, _) in &cases {
        let outcomes = world.outcomes(id, 1).await;
        assert_eq!(outcomes.len(), 1, "{id}");
        let outcome = outcomes[0].message();
        assert_one_order(&world, id, &outcome);
        assert_eq!(outcome["resolved_by_lookup"], true, "{id}");
        assert_eq!(world.posts_of(id).len(), 1, "{id}");
    }
    world.settled().await;
    assert_eq!(world.sim.script().pending(), 0, "every fault happened");
}

/// These take their time by intention, so they take it together.
#[tokio::test]
async fn an_order_that_must_wait_before_it_is_sent_again_is_sent_again_and_placed_once() {
    tokio::join!(
        an_order_the_venue_never_had_is_sent_again_under_its_own_id(),
        an_order_refused_for_haste_is_sent_after_the_pause_the_venue_asks_for(),
    );
}

async fn an_order_the_venue_never_had_is_sent_again_under_its_own_id() {
    let world = Plan::new().set("HTTP_CLIENT_TIMEOUT", "500ms").start().await;
    let cases = [
        ("refused-by-a-broken-server", Reply::status(500, "{}")),
        ("cut-before-it-acted", Reply::CutBeforeCommit),
        ("never-answered", Reply::Hang),
        ("a-page-from-a-proxy", Reply::status(502, "<html></html>")),
    ];
    for ((id, reply), symbol) in cases.iter().zip(SYMBOLS) {
        world.sim.script().next(posts_naming(id), reply.clone());
        world.order(id, &resting(symbol)).await;
    }
    // The same doubt, and then a look-up that sees the order late.
    world
        .sim
        .script()
        .next(posts_naming("seen-late"), Reply::CutAfterCommit);
    let look_ups = Matcher::endpoint(Endpoint::GetOrderByClientOrderId).containing("seen-late");
    world.sim.script().times(2, look_ups, Reply::order_not_found());
    world.order("seen-late", &resting("NVDA")).await;
    // An order of the same symbol waits behind the doubt.
    world.order("behind", &resting(SYMBOLS[0])).await;

    let outcome = world.outcome("seen-late").await;
    assert_one_order(&world, "seen-late", &outcome);
    assert_eq!(world.posts_of("seen-late").len(), 1);
    assert!(
        world.posts_of("behind").is_empty(),
        "the order before it is in doubt"
    );

    for (id, _) in &cases {
        let outcome = world.outcome(id).await;
        assert_one_order(&world, id, &outcome);
        assert_eq!(outcome["attempts"], 2, "{id}");
        assert_eq!(world.posts_of(id).len(), 2, "{id}");
    }
    let behind = world.outcome("behind").await;
    assert_one_order(&world, "behind", &behind);
    let first = &world.posts_of(cases[0].0)[1];
    assert!(first.received_at <= world.posts_of("behind")[0].received_at);
    world.settled().await;
}

async fn an_order_refused_for_haste_is_sent_after_the_pause_the_venue_asks_for() {
    const PAUSE: Duration = Duration::from_secs(1);
    let world = World::start().await;
    let reply = Reply::TooMany {
        retry_after: Some(PAUSE),
        reset: Some(0),
    };
    world.sim.script().next_order(reply);
    world.order("hasty", &resting("AAPL")).await;
    let outcome = world.outcome("hasty").await;
    assert_one_order(&world, "hasty", &outcome);
    let posts = world.posts_of("hasty");
    assert_eq!(posts.len(), 2);
    assert!(posts[1].received_at >= posts[0].received_at + PAUSE);
    world.settled().await;
}

#[tokio::test]
async fn an_order_waits_for_a_venue_that_is_gone() {
    let plan = Plan::new();
    let config = plan.sim.clone();
    let mut world = plan.start().await;
    let address = world.sim.address();
    let elsewhere = Sim::start(config.clone()).await.expect("start another simulator");
    std::mem::replace(&mut world.sim, elsewhere).stop().await;
    world.order("patient", &resting("AAPL")).await;
    world.daemon.not_ready("blind").await;
    let back = nalpaca::sim::SimConfig {
        listen: address,
        ..config
    };
    world.sim = Sim::start(back).await.expect("start the simulator again");
    let outcome = world.outcome("patient").await;
    assert_one_order(&world, "patient", &outcome);
    assert_eq!(world.posts_of("patient").len(), 1);
    world.daemon.ready().await;
    world.settled().await;
}

#[tokio::test]
async fn an_order_waits_while_the_venue_refuses_the_account() {
    let mut world = Plan::new().set("POSITIONS_REFRESH_INTERVAL", "1s").start().await;
    let refusal = Reply::status(401, r#"{"message":"unauthorized."}"#);
    world.sim.script().always(Endpoint::SubmitOrder, refusal.clone());
    world.sim.script().always(Endpoint::GetAccount, refusal);
    world.order("loyal", &resting("AAPL")).await;
    world.daemon.not_ready("account_refused").await;
    let state = until("the state to say so", async || {
        let value = world.value("nalpaca", "state").await?;
        let state = crate::support::proto::decode("tradesvc.v0.GatewayState", &value);
        let conditions = state["conditions"].as_array()?.clone();
        conditions
            .into_iter()
            .find(|condition| condition["name"] == "account_refused")
    })
    .await;
    assert_eq!(state["holds_orders"], true);
    assert!(
        world
            .stored("nalpaca-journal-stream-v0", "nalpaca.journal.v0.outcomes.loyal")
            .await
            .is_empty()
    );
    world.sim.script().clear();
    let outcome = world.outcome("loyal").await;
    assert_one_order(&world, "loyal", &outcome);
    world.daemon.ready().await;
    world.settled().await;
    for secret in [KEY, SECRET] {
        assert!(!outcome.to_string().contains(secret));
    }
}

/// The venue acts after its answer, before or after the daemon has sent the order again; or its answer is odd.
#[tokio::test]
async fn an_order_that_enters_the_book_late_or_is_answered_oddly_is_placed_once() {
    let world = Plan::new().set("HTTP_CLIENT_TIMEOUT", "500ms").start().await;
    let cases = [
        ("late-soon", "late-commit 300ms"),
        ("late-page", "late-commit 2s status 504"),
        ("late-after-all", "late-commit 8s status 500"),
        ("zipped", "gzip"),
        ("dripping", "drip 256 5ms"),
        ("mistyped", "content-type text/html"),
        ("unseen", "blind 2s"),
    ];
    for ((id, what), symbol) in cases.iter().zip(SYMBOLS) {
        let fault = format!("submit_order ~{id}: {what}");
        world.sim.fault(&fault).expect("a fault that can be read");
        world.order(id, &resting(symbol)).await;
    }
    for (id, _) in &cases {
        let outcome = world.outcome(id).await;
        assert_one_order(&world, id, &outcome);
    }
    until("the venue to have acted late", async || {
        let truth = world.sim.truth(0);
        let late = truth.iter().filter(|record| record.contains(r#""kind":"late""#));
        (late.count() == 3).then_some(())
    })
    .await;
    for (id, _) in &cases {
        assert_eq!(world.sim.snapshot().orders_by_client_id(id), 1, "{id}");
    }
    world.settled().await;
    assert_eq!(world.sim.script().pending(), 0, "every fault happened");
}
