//! The dead-man switch: strategies that stop renewing their lease.

use async_nats::jetstream::kv::Store;
use serde_json::json;

use crate::support::order::resting;
use crate::support::world::Plan;
use crate::support::{World, until};

async fn bucket(world: &World) -> Store {
    world
        .jetstream
        .get_key_value("nalpaca-leases")
        .await
        .expect("the bucket of leases is there")
}

async fn works(world: &World, id: &str) {
    world.order(id, &resting("AAPL")).await;
    let outcome = world.outcome(id).await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
}

async fn renew(leases: &Store, strategy: &str, ttl_ms: u32) {
    let value = json!({"ttl_ms": ttl_ms}).to_string();
    leases.put(strategy, value.into()).await.expect("write the lease");
}

#[tokio::test]
async fn a_strategy_that_stops_renewing_has_its_orders_canceled_and_nobody_else() {
    let world = World::start().await;
    let leases = bucket(&world).await;
    renew(&leases, "momentum", 1500).await;
    renew(&leases, "alive", 1500).await;
    for id in ["momentum.1", "momentum.2", "alive.1", "other.1", "momentum"] {
        works(&world, id).await;
    }
    let told = until("momentum to be told", async || {
        renew(&leases, "alive", 1500).await;
        let found = world
            .stored(
                "nalpaca-journal-stream-v0",
                "nalpaca.journal.v0.outcomes.momentum.ALL",
            )
            .await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    let outcome = told[0].message();
    assert_eq!(outcome["command"], "COMMAND_KIND_CANCEL", "{outcome}");
    assert!(
        outcome["message"].as_str().is_some_and(
            |text| text.starts_with("the lease of the strategy momentum was not renewed for 1.5 s")
        ),
        "{outcome}"
    );
    for id in ["momentum.1", "momentum.2"] {
        world.status(id, "canceled").await;
    }
    for id in ["alive.1", "other.1", "momentum"] {
        let order = world.sim.order(id).expect("the venue has it");
        assert_eq!(order.status.as_str(), "new", "{id}");
    }
    world.order("momentum.3", &resting("AAPL")).await;
    let denied = world.outcome("momentum.3").await;
    assert_eq!(
        (&denied["kind"], &denied["reason"]),
        (&json!("OUTCOME_KIND_DENIED"), &json!("lease")),
        "{denied}"
    );
    works(&world, "other.2").await;

    renew(&leases, "momentum", 60_000).await;
    // The renewal may be heard after an order; the same one published again would come to the same.
    let mut orders = 0;
    until("the strategy to be taken again", async || {
        orders += 1;
        let id = format!("momentum.again.{orders}");
        world.order(&id, &resting("AAPL")).await;
        (world.outcome(&id).await["kind"] == "OUTCOME_KIND_ACCEPTED").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_deletes_its_lease_ends_in_good_order_and_a_restart_gives_everybody_their_time_again() {
    let mut world = Plan::new().start().await;
    let leases = bucket(&world).await;
    renew(&leases, "ended", 1500).await;
    renew(&leases, "patient", 3000).await;
    works(&world, "ended.1").await;
    works(&world, "patient.1").await;
    leases.delete("ended").await.expect("delete the lease");
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    // Nobody renews: the lease that is still there lapses, and the one that was given up does not.
    world.status("patient.1", "canceled").await;
    let order = world.sim.order("ended.1").expect("the venue has it");
    assert_eq!(order.status.as_str(), "new");
    works(&world, "ended.2").await;
}
