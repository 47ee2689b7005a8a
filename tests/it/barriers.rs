//! Exactly-once effect stands on four barriers. Each is tried here against the one fault that it alone must stop, with
//! the others out of the way.

use async_nats::HeaderMap;
use serde_json::json;

use crate::support::order::{With as _, resting};
use crate::support::{World, proto};

/// The publisher's message id: a publish whose ack was lost is repeated, and stored once.
#[tokio::test]
async fn the_message_id_stops_a_publish_that_is_repeated() {
    let world = World::start().await;
    let publish = async || {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "barrier-1");
        let payload = proto::encode("tradesvc.v0.Trade", &resting("AAPL"));
        world.publish("orders.barrier.1", headers, payload).await
    };
    let first = publish().await.expect("the stream takes it");
    let second = publish().await.expect("the stream knows it");
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(first.sequence, second.sequence);
    world.settled().await;
    assert_eq!(
        world.outcomes("barrier.1", 1).await.len(),
        1,
        "one command, one outcome"
    );
    assert_eq!(world.sim.snapshot().orders_by_client_id("barrier.1"), 1);
}

/// The ledger: the same order is stored twice, as two commands, and nothing at the venue's door tells.
#[tokio::test]
async fn the_ledger_stops_an_order_that_is_stored_twice() {
    let world = World::start().await;
    for _ in 0..2 {
        world.order("barrier.2", &resting("AAPL")).await;
    }
    let outcomes = world.outcomes("barrier.2", 2).await;
    assert_eq!(outcomes[0].message()["repeated"], false);
    assert_eq!(outcomes[1].message()["repeated"], true);
    world.settled().await;
    assert_eq!(
        world.posts_of("barrier.2").len(),
        1,
        "nothing was sent for the second one"
    );
}

/// The venue's unique client order ids: the ledger is gone, the command is news to everybody, and the venue's look-ups
/// do not know the order.
#[tokio::test]
async fn the_venues_unique_ids_stop_an_order_everybody_else_has_forgotten() {
    let mut world = World::start().await;
    world.order("barrier.3", &resting("AAPL")).await;
    world.settled().await;
    world.daemon.kill9();
    world
        .jetstream
        .delete_key_value("nalpaca-orders")
        .await
        .expect("the ledger goes");
    world.daemon.run();
    world.daemon.ready().await;
    let unknown = "get_order_by_client_order_id x2: not-found";
    world.sim.fault(unknown).expect("the venue knows the fault");
    world.order("barrier.3", &resting("AAPL")).await;
    let outcome = world.outcomes("barrier.3", 2).await[1].message();
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(outcome["resolved_by_lookup"], true);
    let posts = world.posts_of("barrier.3");
    assert_eq!(posts.len(), 2, "it was sent again");
    assert_eq!(posts[1].status, Some(422), "and the venue knew it");
    assert_eq!(world.sim.snapshot().orders_by_client_id("barrier.3"), 1);
    world.settled().await;
}

/// The deadline in the command: it was stored once, delivered once, and everybody was down until it was too late.
#[tokio::test]
async fn the_deadline_stops_an_order_that_waited_too_long() {
    let mut world = World::start().await;
    world.daemon.kill9();
    let order = resting("AAPL").with(json!({"valid_until": "2020-01-01T00:00:00Z"}));
    world.order("barrier.4", &order).await;
    world.daemon.run();
    let outcome = world.outcome("barrier.4").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_EXPIRED", "{outcome}");
    world.settled().await;
    assert_eq!(world.posts(), 0);
}
