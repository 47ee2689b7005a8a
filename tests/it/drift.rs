//! The NATS objects are changed, emptied, stranded or made anew under the daemon: it creates no orders meanwhile where
//! one could be lost or repeated, says so, and goes on when it can.

use std::time::Duration;

use async_nats::jetstream::consumer::{FromConsumer as _, PullConsumer, pull};
use async_nats::jetstream::{AckKind, stream};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::support::order::{With as _, buy, resting};
use crate::support::world::{ACTION_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{NatsServer, Release, World, nats, until};

const ORDERS_CONSUMER: &str = "nalpaca-orders-consumer-v0";

fn patient(symbol: &str) -> serde_json::Value {
    resting(symbol).with(json!({"valid_until": "2100-01-01T00:00:00Z"}))
}

async fn orders_consumer(world: &World) -> PullConsumer {
    let found = world
        .jetstream
        .get_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
        .await;
    found.expect("the consumer is there")
}

/// The configuration of a consumer, edited.
fn pull_config(consumer: &PullConsumer, edit: impl FnOnce(&mut pull::Config)) -> pull::Config {
    let config = consumer.cached_info().config.clone();
    let mut config = pull::Config::try_from_consumer_config(config).expect("it is a pull consumer");
    edit(&mut config);
    config
}

/// Changes the consumer of orders behind the daemon's back.
async fn change(world: &World, edit: impl FnOnce(&mut pull::Config)) {
    let config = pull_config(&orders_consumer(world).await, edit);
    let updated = world
        .jetstream
        .update_consumer_on_stream(config, ACTION_STREAM)
        .await;
    updated.expect("the server takes the change");
}

async fn assert_accepted_once(world: &World, id: &str) {
    let outcomes = world.outcomes(id, 1).await;
    assert_eq!(outcomes.len(), 1, "{id}");
    assert_eq!(outcomes[0].message()["kind"], "OUTCOME_KIND_ACCEPTED", "{id}");
    assert_eq!(world.sim.snapshot().orders_by_client_id(id), 1, "{id}");
}

async fn stranded_commands_are_taken_up_by_sequence(release: Release) {
    let mut world = Plan::new().on(release).start().await;
    world.daemon.kill9();
    // Somebody limits the deliveries, and somebody takes what is there and gives it back until the limit is reached.
    let limited = pull_config(&orders_consumer(&world).await, |config| config.max_deliver = 2);
    let jetstream = &world.jetstream;
    let deleted = jetstream
        .delete_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
        .await;
    deleted.expect("the consumer goes");
    let created = jetstream.create_consumer_on_stream(limited, ACTION_STREAM).await;
    created.expect("it is made anew, with a limit");
    let ids = ["s.1", "s.2", "s.3"];
    for id in ids {
        world.order(id, &patient("AAPL")).await;
    }
    until("the server to have given them up", async || {
        let mut consumer = orders_consumer(&world).await;
        let pull = consumer
            .batch()
            .max_messages(ids.len())
            .expires(Duration::from_millis(200));
        let mut batch = pull.messages().await.ok()?;
        while let Some(message) = batch.next().await {
            let message = message.expect("the message arrives");
            message
                .ack_with(AckKind::Nak(None))
                .await
                .expect("it is given back");
        }
        let info = consumer.info().await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
    change(&world, |config| config.max_deliver = -1).await;
    world.daemon.run();
    for id in ids {
        assert_accepted_once(&world, id).await;
    }
    world.settled().await;
}

#[tokio::test]
async fn on_the_recent_server_stranded_commands_are_taken_up_by_sequence() {
    stranded_commands_are_taken_up_by_sequence(Release::Recent).await;
}

#[tokio::test]
async fn on_the_oldest_server_stranded_commands_are_taken_up_by_sequence() {
    stranded_commands_are_taken_up_by_sequence(Release::Oldest).await;
}

#[tokio::test]
async fn a_consumer_that_is_deleted_is_made_again_and_one_that_is_edited_is_reported() {
    let mut world = World::start().await;
    world.order("d.1", &patient("AAPL")).await;
    assert_accepted_once(&world, "d.1").await;
    world
        .jetstream
        .delete_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
        .await
        .expect("the consumer goes");
    world.order("d.2", &patient("AAPL")).await;
    assert_accepted_once(&world, "d.2").await;
    world.settled().await;

    // An edit could lose an order, and is not ours to undo; what was published meanwhile waits.
    change(&world, |config| config.max_deliver = 5).await;
    world.daemon.not_ready("max_deliver").await;
    world.order("d.3", &patient("AAPL")).await;
    let answer = world.daemon.get("/readyz").await.expect("it answers");
    assert!(answer.body.contains("[-]drift"), "{}", answer.body);
    change(&world, |config| config.max_deliver = -1).await;
    assert_accepted_once(&world, "d.3").await;
    world.daemon.ready().await;
    world.settled().await;
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_made_again_and_its_first_sequences_are_no_old_commands() {
    let mut world = World::start().await;
    for id in ["e.1", "e.2"] {
        world.order(id, &patient("AAPL")).await;
        assert_accepted_once(&world, id).await;
    }
    world.settled().await;
    world
        .jetstream
        .delete_stream(ACTION_STREAM)
        .await
        .expect("the stream goes");
    until("the stream to be there again", async || {
        world.jetstream.get_stream(ACTION_STREAM).await.ok()
    })
    .await;
    for id in ["e.3", "e.1"] {
        world.order(id, &patient("AAPL")).await;
    }
    assert_accepted_once(&world, "e.3").await;
    // Known from before, though it is the second command of this stream: answered, not executed.
    let repeated = world.outcomes("e.1", 2).await[1].message();
    assert_eq!(repeated["repeated"], true, "{repeated}");
    assert_eq!(world.sim.snapshot().orders_by_client_id("e.1"), 1);
    world.daemon.ready().await;
    world.settled().await;
}

#[tokio::test]
async fn a_ledger_that_vanishes_stops_orders_and_what_it_knew_is_not_executed_again() {
    let mut world = World::start().await;
    world.order("l.1", &patient("AAPL")).await;
    assert_accepted_once(&world, "l.1").await;
    world.settled().await;
    world
        .jetstream
        .delete_key_value("nalpaca-orders")
        .await
        .expect("the bucket goes");
    world.daemon.not_ready("nalpaca-orders").await;
    world.order("l.2", &patient("AAPL")).await;
    world.order("l.1", &patient("AAPL")).await;
    // Whether an empty ledger will do is a person's decision: who starts the daemon again says yes.
    assert_eq!(world.posts(), 1);
    world.daemon.kill9();
    world.daemon.run();
    assert_accepted_once(&world, "l.2").await;
    let outcomes = world.outcomes("l.1", 2).await;
    assert_eq!(outcomes[1].message()["kind"], "OUTCOME_KIND_ACCEPTED");
    assert_eq!(
        outcomes[1].message()["resolved_by_lookup"],
        true,
        "the venue was asked first"
    );
    assert_eq!(world.posts_of("l.1").len(), 1);
    world.settled().await;
}

#[tokio::test]
async fn a_store_that_is_rolled_back_executes_nothing_twice() {
    let mut world = World::start().await;
    world.order("r.0", &patient("AAPL")).await;
    assert_accepted_once(&world, "r.0").await;
    world.settled().await;
    // A backup from before the orders, put back after them: queue and ledger alike have forgotten.
    world.daemon.pause();
    for id in ["r.1", "r.2"] {
        world.order(id, &patient("AAPL")).await;
    }
    let backup = world.nats.backup();
    world.nats.run().await;
    world.daemon.resume();
    for id in ["r.1", "r.2"] {
        assert_accepted_once(&world, id).await;
    }
    world.settled().await;
    world.nats.restore(&backup);
    world.nats.run().await;
    for id in ["r.1", "r.2"] {
        assert_accepted_once(&world, id).await;
        assert_eq!(world.posts_of(id).len(), 1, "{id}");
    }
    world.settled().await;
    // The sequences that were given away before are given away again, to others.
    world
        .order(
            "r.3",
            &buy("MSFT", "1").with(json!({"valid_until": "2100-01-01T00:00:00Z"})),
        )
        .await;
    assert_accepted_once(&world, "r.3").await;
    world.settled().await;
}

#[tokio::test]
async fn a_journal_that_takes_nothing_stops_orders_and_loses_no_outcome() {
    let mut world = World::start().await;
    world.order("j.1", &patient("AAPL")).await;
    assert_accepted_once(&world, "j.1").await;
    world.settled().await;
    let mut journal = world
        .jetstream
        .get_stream(JOURNAL_STREAM)
        .await
        .expect("the journal is there");
    let before = journal.cached_info().config.clone();
    let full = stream::Config {
        max_messages: i64::try_from(journal.info().await.expect("it answers").state.messages).unwrap_or(1),
        discard: stream::DiscardPolicy::New,
        ..before.clone()
    };
    world
        .jetstream
        .update_stream(full)
        .await
        .expect("the server takes the change");
    world.order("j.2", &patient("AAPL")).await;
    world.posted("j.2").await;
    world.daemon.not_ready("unwritable").await;
    // This one is not begun: what became of it could not be told either.
    world.order("j.3", &patient("MSFT")).await;
    world.in_the_ledger("j.3").await;
    assert_eq!(world.posts_of("j.3").len(), 0);
    world
        .jetstream
        .update_stream(before)
        .await
        .expect("the server takes the change");
    for id in ["j.2", "j.3"] {
        assert_accepted_once(&world, id).await;
    }
    world.daemon.ready().await;
    world.settled().await;
}

#[tokio::test]
async fn a_queue_that_is_full_says_so_to_the_publisher_and_loses_nothing() {
    let mut world = World::start().await;
    world.daemon.kill9();
    let action = world
        .jetstream
        .get_stream(ACTION_STREAM)
        .await
        .expect("the stream is there");
    let before = action.cached_info().config.clone();
    let small = stream::Config {
        max_messages: 2,
        ..before.clone()
    };
    world
        .jetstream
        .update_stream(small)
        .await
        .expect("the server takes the change");
    for id in ["q.1", "q.2"] {
        world.order(id, &patient("AAPL")).await;
    }
    let refused = world
        .publish(
            "orders.q.3",
            async_nats::HeaderMap::new(),
            patient("AAPL").to_string(),
        )
        .await;
    let error = refused.expect_err("there is no room").to_string();
    assert!(error.contains("maximum messages exceeded"), "{error}");
    world
        .jetstream
        .update_stream(before)
        .await
        .expect("the server takes the change");
    world.daemon.run();
    for id in ["q.1", "q.2"] {
        assert_accepted_once(&world, id).await;
    }
    world.settled().await;
    assert_eq!(world.posts(), 2);
}

#[tokio::test]
async fn a_bucket_that_is_deleted_is_made_and_filled_again() {
    let mut world = World::start().await;
    world
        .jetstream
        .delete_key_value("nalpaca")
        .await
        .expect("the bucket goes");
    until("the bucket to be filled again", async || {
        let bucket = world.jetstream.get_key_value("nalpaca").await.ok()?;
        for key in ["lease", "state", "positions", "account"] {
            bucket.get(key).await.ok()??;
        }
        Some(())
    })
    .await;
    world.order("b.1", &patient("AAPL")).await;
    assert_accepted_once(&world, "b.1").await;
    world.daemon.ready().await;
    world.settled().await;
}

#[tokio::test]
async fn credentials_that_are_revoked_stop_the_daemon_and_it_goes_on_when_they_are_back() {
    let nats = NatsServer::start_guarded(Release::Recent).await;
    let plan = Plan::new()
        .set("NATS_USER", nats::DAEMON)
        .set("NATS_PASSWORD", nats::DAEMON);
    let mut world = plan.start_on(nats).await;
    world.daemon.ready().await;
    world.order("c.1", &patient("AAPL")).await;
    assert_accepted_once(&world, "c.1").await;
    world.nats.allow_daemon(false);
    world.daemon.not_ready("nats_disconnected").await;
    world.order("c.2", &patient("AAPL")).await;
    assert_eq!(world.posts_of("c.2").len(), 0);
    world.nats.allow_daemon(true);
    world.daemon.ready().await;
    assert_accepted_once(&world, "c.2").await;
    world.settled().await;
}

#[tokio::test]
async fn a_consumer_that_is_paused_is_reported_and_its_orders_wait() {
    let mut world = World::start().await;
    let pause = async |until: &str| {
        let subject = format!("$JS.API.CONSUMER.PAUSE.{ACTION_STREAM}.{ORDERS_CONSUMER}");
        let question = json!({"pause_until": until}).to_string();
        let answer = world.jetstream.client().request(subject, question.into()).await;
        let answer = answer.expect("the server answers");
        assert!(
            !String::from_utf8_lossy(&answer.payload).contains("\"error\""),
            "{answer:?}"
        );
    };
    pause("2100-01-01T00:00:00Z").await;
    world.daemon.not_ready("paused").await;
    world.order("p.1", &patient("AAPL")).await;
    // A moment that has passed is no pause, though the server remembers it.
    pause("2020-01-01T00:00:00Z").await;
    assert_accepted_once(&world, "p.1").await;
    world.daemon.ready().await;
    world.settled().await;
}
