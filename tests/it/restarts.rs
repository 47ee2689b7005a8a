//! Processes that die, at bad moments: nothing is lost, nothing is done twice.

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply, Sim, SimConfig};
use serde_json::json;

use crate::support::order::{With as _, resting};
use crate::support::scratch::free_port;
use crate::support::world::{ACTION_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{NatsServer, Release, World, until};

fn posts_naming(id: &str) -> Matcher {
    Matcher::endpoint(Endpoint::SubmitOrder).containing(id)
}

async fn waiting(world: &World) -> u64 {
    let stream = world.jetstream.get_stream(ACTION_STREAM).await;
    stream.expect("the stream is there").cached_info().state.messages
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_a_post_leaves_one_order_and_one_outcome() {
    let mut world = World::start().await;
    world
        .sim
        .script()
        .next(posts_naming("taken"), Reply::HangAfterCommit);
    world.order("taken", &resting("AAPL")).await;
    world.order("behind", &resting("AAPL")).await;
    world.posted("taken").await;
    world.daemon.kill9();
    world.daemon.run();

    let taken = world.outcome("taken").await;
    assert_eq!(taken["kind"], "OUTCOME_KIND_ACCEPTED", "{taken}");
    assert_eq!(taken["resolved_by_lookup"], true);
    assert_eq!(world.outcome("behind").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    for id in ["taken", "behind"] {
        assert_eq!(world.posts_of(id).len(), 1, "{id}");
        assert_eq!(world.outcomes(id, 1).await.len(), 1, "{id}");
    }
}

#[tokio::test]
async fn a_daemon_killed_again_and_again_under_load_places_every_order_once() {
    const ORDERS: usize = 60;
    let mut world = World::start().await;
    // Two POSTs are on the wire when the daemon is first killed: the venue took one of them.
    world.sim.script().next(posts_naming("load.0\""), Reply::Hang);
    world
        .sim
        .script()
        .next(posts_naming("load.1\""), Reply::HangAfterCommit);
    let symbols = ["AAPL", "AMZN", "F", "GOOG", "META", "MSFT", "NVDA", "SPY"];
    for (number, symbol) in (0..ORDERS).zip(symbols.into_iter().cycle()) {
        let order = resting(symbol).with(json!({"valid_until": "2100-01-01T00:00:00Z"}));
        world.order(&format!("load.{number}"), &order).await;
    }
    world.posted("load.0").await;
    world.posted("load.1").await;
    for quarter in 1..4 {
        until("a part of the orders to be POSTed", async || {
            (world.posts() >= quarter * ORDERS / 4).then_some(())
        })
        .await;
        world.daemon.kill9();
        world.daemon.run();
    }
    world.settled().await;
    let truth = world.sim.snapshot();
    for number in 0..ORDERS {
        let id = format!("load.{number}");
        assert_eq!(truth.orders_by_client_id(&id), 1, "{id}");
        let outcomes = world.outcomes(&id, 1).await;
        assert_eq!(outcomes.len(), 1, "{id}");
        assert_eq!(outcomes[0].message()["kind"], "OUTCOME_KIND_ACCEPTED", "{id}");
    }
    assert_eq!(truth.orders().len(), ORDERS);
    assert_eq!(
        world.posts_of("load.0").len(),
        2,
        "the venue never had the first one"
    );
    assert_eq!(world.posts_of("load.1").len(), 1, "the venue had taken it");
}

#[tokio::test]
async fn a_daemon_told_to_stop_settles_what_is_on_the_wire_and_hands_back_the_rest() {
    let mut world = World::start().await;
    let slow = Reply::DelayAfterCommit(Duration::from_millis(500));
    world.sim.script().next(posts_naming("in-flight"), slow);
    world.order("in-flight", &resting("AAPL")).await;
    world.order("behind", &resting("AAPL")).await;
    world.posted("in-flight").await;
    assert_eq!(world.daemon.terminate().await, 0);

    let outcome = world.outcome("in-flight").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(outcome["resolved_by_lookup"], false, "its answer was waited for");
    assert!(world.posts_of("behind").is_empty());
    assert_eq!(
        waiting(&world).await,
        1,
        "the order behind it is left in the stream"
    );

    world.daemon.run();
    assert_eq!(world.outcome("behind").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    assert_eq!(world.posts(), 2);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_venue_that_hangs_and_loses_nothing() {
    let mut world = Plan::new().set("SHUTDOWN_TIMEOUT", "200ms").start().await;
    world.sim.script().next_order(Reply::HangAfterCommit);
    world.order("hanging", &resting("AAPL")).await;
    world.posted("hanging").await;
    assert_eq!(world.daemon.terminate().await, 0);
    assert_eq!(waiting(&world).await, 1);
    world.daemon.run();
    let outcome = world.outcome("hanging").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    world.settled().await;
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn a_second_signal_ends_the_daemon_at_once() {
    let mut world = World::start().await;
    world.sim.script().next_order(Reply::HangAfterCommit);
    world.order("hanging", &resting("AAPL")).await;
    world.posted("hanging").await;
    world.daemon.tell_to_stop();
    world.daemon.not_ready("stopping").await;
    assert_eq!(world.daemon.terminate().await, 130);
    world.daemon.run();
    assert_eq!(world.outcome("hanging").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn a_nats_server_killed_under_the_daemon_comes_back_and_everything_is_served() {
    let mut world = World::start().await;
    let slow = Reply::DelayAfterCommit(Duration::from_millis(700));
    world.sim.script().next(posts_naming("meanwhile"), slow);
    world.order("before", &resting("AAPL")).await;
    world.outcome("before").await;
    world.order("meanwhile", &resting("AAPL")).await;
    world.order("stored", &resting("AAPL")).await;
    world.posted("meanwhile").await;
    world.nats.kill9();
    world.daemon.not_ready("nats_disconnected").await;
    let alive = world.daemon.get("/livez").await.expect("it answers");
    assert_eq!(alive.status, 200);
    world.nats.run().await;
    world.daemon.ready().await;
    world.order("after", &resting("AAPL")).await;
    for id in ["meanwhile", "stored", "after"] {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{id}: {outcome}");
    }
    world.settled().await;
    let outcomes = world
        .stored(JOURNAL_STREAM, "nalpaca.journal.v0.outcomes.>")
        .await;
    assert_eq!(outcomes.len(), 4, "one outcome each");
    assert_eq!(world.posts(), 4, "one POST each");
}

#[tokio::test]
async fn a_daemon_started_before_nats_waits_in_the_open() {
    let mut world = Plan::new().start_on(NatsServer::reserve(Release::Recent)).await;
    world.daemon.not_ready("nats_disconnected: NATS").await;
    let alive = world.daemon.get("/livez").await.expect("it answers");
    assert_eq!(alive.status, 200);
    world.nats.run().await;
    world.daemon.ready().await;
    world.order("first", &resting("AAPL")).await;
    assert_eq!(world.outcome("first").await["kind"], "OUTCOME_KIND_ACCEPTED");
}

#[tokio::test]
async fn a_daemon_told_to_stop_before_nats_came_stops() {
    let mut world = Plan::new().start_on(NatsServer::reserve(Release::Recent)).await;
    world.daemon.not_ready("nats_disconnected").await;
    assert_eq!(world.daemon.terminate().await, 0);
}

#[tokio::test]
async fn a_daemon_started_before_the_venue_waits_in_the_open() {
    let address = format!("127.0.0.1:{}", free_port());
    let plan = Plan::new().set("ALPACA_URL", &format!("http://{address}"));
    let config = SimConfig {
        listen: address.parse().expect("an address"),
        ..plan.sim.clone()
    };
    let nats = NatsServer::start(Release::Recent).await;
    let mut world = plan.start_on(nats).await;
    world.daemon.not_ready("the venue does not answer").await;
    world.sim = Sim::start(config).await.expect("start the simulator");
    world.daemon.ready().await;
    world.order("first", &resting("AAPL")).await;
    assert_eq!(world.outcome("first").await["kind"], "OUTCOME_KIND_ACCEPTED");
}
