//! Orders that wait: for a condition to end, for a daemon to come back. They wait until their deadline and no longer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::World;
use crate::support::order::{With as _, buy};
use crate::support::world::Plan;

/// A deadline so many seconds from now.
fn in_seconds(seconds: i64) -> Value {
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("the clock is past 1970");
    let deadline = now + Duration::from_secs(u64::try_from(seconds).expect("a deadline to come"));
    let nanos = i128::try_from(deadline.as_nanos()).expect("a date of this century");
    let deadline = jiff::Timestamp::from_nanosecond(nanos).expect("a date of this century");
    json!({"valid_until": deadline.to_string()})
}

async fn blind(world: &mut World) {
    world.sim.refuse_streams_for(Duration::from_secs(600));
    world.sim.drop_streams();
    world.daemon.not_ready("blind").await;
}

#[tokio::test]
async fn an_order_that_is_held_expires_while_the_hold_lasts() {
    let mut world = World::start().await;
    blind(&mut world).await;
    world.order("held", &buy("AAPL", "1").with(in_seconds(2))).await;
    world.order("unread", &json!({"symbol": "AAPL"})).await;
    assert_eq!(world.outcome("unread").await["kind"], "OUTCOME_KIND_INVALID");
    let outcome = world.outcome("held").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_EXPIRED", "{outcome}");
    world.settled().await;
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn an_order_held_over_a_restart_is_not_in_doubt() {
    let mut world = World::start().await;
    blind(&mut world).await;
    world.order("held", &buy("AAPL", "1").with(in_seconds(300))).await;
    world.in_the_ledger("held").await;
    assert_eq!(world.daemon.terminate().await, 0);
    // Nothing was sent under its intent, so nothing is in doubt, and nobody waits out a grace.
    assert!(
        world
            .value("nalpaca-orders", "held")
            .await
            .is_none_or(|value| value.is_empty())
    );
    world.sim.refuse_streams_for(Duration::ZERO);
    world.daemon.run();
    let outcome = world.outcome("held").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(
        (outcome["attempts"].as_u64(), world.posts_of("held").len()),
        (Some(1), 1)
    );
}

#[tokio::test]
async fn a_spoilt_record_costs_its_own_id_and_nobody_elses_turn() {
    let world = Plan::new().start().await;
    let ledger = world
        .jetstream
        .get_key_value("nalpaca-orders")
        .await
        .expect("the ledger is there");
    ledger
        .put("spoilt", "not a record".into())
        .await
        .expect("anybody may do this");
    world.order("spoilt", &buy("AAPL", "1")).await;
    world.order("behind", &buy("AAPL", "2")).await;
    let outcome = world.outcome("spoilt").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_CONFLICT", "{outcome}");
    assert!(
        outcome["message"]
            .as_str()
            .is_some_and(|message| message.contains("not readable")),
        "{outcome}"
    );
    assert_eq!(world.outcome("behind").await["kind"], "OUTCOME_KIND_ACCEPTED");
    assert_eq!(world.posts_of("spoilt").len(), 0);
}
