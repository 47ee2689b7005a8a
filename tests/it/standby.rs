//! Two daemons on one account: one leads, the other waits, and nothing is done twice when they change places.

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::json;
use tokio::time::Instant;

use crate::support::order::{With as _, resting};
use crate::support::world::Plan;
use crate::support::{World, until};

/// An order that may wait for a change of leaders.
fn patient(symbol: &str) -> serde_json::Value {
    resting(symbol).with(json!({"valid_until": "2100-01-01T00:00:00Z"}))
}

async fn assert_accepted_once(world: &World, id: &str) {
    let outcomes = world.outcomes(id, 1).await;
    assert_eq!(outcomes.len(), 1, "{id}");
    assert_eq!(outcomes[0].message()["kind"], "OUTCOME_KIND_ACCEPTED", "{id}");
    assert_eq!(world.sim.snapshot().orders_by_client_id(id), 1, "{id}");
}

#[tokio::test]
async fn the_second_daemon_stands_by_without_a_word_to_the_venue_and_a_restarted_leader_goes_on() {
    let mut world = Plan::new().set("INSTANCE", "first").start().await;
    let mut second = world.another("second");
    second.not_ready("first leads").await;
    // The same name on the same machine does not make it the same daemon.
    let mut namesake = world.another("first");
    namesake.not_ready("first leads").await;
    for id in ["a.1", "a.2", "a.3"] {
        world.order(id, &patient("AAPL")).await;
        assert_accepted_once(&world, id).await;
    }
    world.settled().await;
    // Whoever leads has one socket at the venue, and a second one would be refused.
    let opened = |line: &str| line.contains("\"session\"") && line.contains("\"opened\"");
    let sockets = world.sim.truth(0).iter().filter(|line| opened(line)).count();
    assert_eq!(sockets, 1, "the ones that stand by do not talk to the venue");

    // Killed and run again, the leader does not wait for its own lease.
    let began = Instant::now();
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it waited for its own lease"
    );
    second.not_ready("first leads").await;
    world.order("a.4", &patient("AAPL")).await;
    assert_accepted_once(&world, "a.4").await;

    // Told to stop, it leaves the place to whoever stands by.
    assert_eq!(world.daemon.terminate().await, 0);
    let leader = until("one of the two to lead", async || {
        for daemon in [&second, &namesake] {
            if daemon.get("/readyz").await?.status == 200 {
                return Some(());
            }
        }
        None
    });
    leader.await;
    world.order("a.5", &patient("AAPL")).await;
    assert_accepted_once(&world, "a.5").await;
    world.settled().await;
}

#[tokio::test]
async fn a_leader_that_fell_asleep_in_a_post_is_succeeded_and_writes_nothing_when_it_wakes() {
    let mut world = Plan::new().set("INSTANCE", "first").start().await;
    let mut second = world.another("second");
    second.not_ready("first leads").await;
    // The venue takes it, and nobody hears the answer; behind it waits another of the same symbol.
    world.sim.script().next(
        Matcher::endpoint(Endpoint::SubmitOrder).containing("in-flight"),
        Reply::HangAfterCommit,
    );
    world.order("in-flight", &patient("AAPL")).await;
    world.order("behind", &patient("AAPL")).await;
    world.posted("in-flight").await;
    world.daemon.pause();
    // The venue gives the account's one stream away when its holder does not answer for a while.
    world.sim.drop_streams();
    world.order("later", &patient("MSFT")).await;
    second.ready().await;
    for id in ["in-flight", "behind", "later"] {
        assert_accepted_once(&world, id).await;
    }
    world.settled().await;
    let record = world.value("nalpaca-orders", "in-flight").await;

    world.daemon.resume();
    world.daemon.not_ready("second leads").await;
    for id in ["in-flight", "behind", "later"] {
        assert_accepted_once(&world, id).await;
    }
    assert_eq!(world.value("nalpaca-orders", "in-flight").await, record);
    world.order("last", &patient("AAPL")).await;
    assert_accepted_once(&world, "last").await;
    second.ready().await;
    world.settled().await;
}
