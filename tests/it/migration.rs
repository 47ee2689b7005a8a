//! The Go program is stopped and this one is started in its place: on the objects it made, with what it left in them.
//!
//! The objects are made to the settings it publishes (streams in memory, `discard old`, three deliveries, one-token
//! filters, a consumer of bars that listens on a subject nobody publishes on), and the payloads have its encoding: the
//! fields it knows, under the same numbers.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, AckKind, kv};
use async_nats::{HeaderMap, jetstream::consumer::Info};
use futures_util::StreamExt as _;
use nalpaca::sim::{Endpoint, Matcher, Reply, Sim};
use serde_json::{Value, json};

use crate::support::daemon::Environment;
use crate::support::order::resting;
use crate::support::world::{self, ACTION_STREAM, DATA_STREAM, Plan};
use crate::support::{NatsServer, Release, World, proto, run, until};

const ORDERS_CONSUMER: &str = "nalpaca-orders-consumer-v0";
const STOCK_CONSUMER: &str = "nalpaca-datastream-stock-consumer-v0";
/// What an order may be old, here: longer than a start takes, shorter than a test may.
const MAX_AGE: Duration = Duration::from_secs(12);

/// A server as the Go program leaves it.
struct Left {
    nats: NatsServer,
    jetstream: jetstream::Context,
}

impl Left {
    async fn on(release: Release) -> Self {
        let nats = NatsServer::start(release).await;
        let client = async_nats::connect(nats.url()).await.expect("the server answers");
        let jetstream = jetstream::new(client);
        let stream = |name: &str, retention, subjects: [&str; 2]| Config {
            name: name.to_owned(),
            subjects: subjects.map(|subject| format!("nalpaca.{subject}")).to_vec(),
            retention,
            storage: StorageType::Memory,
            discard: DiscardPolicy::Old,
            ..Config::default()
        };
        for stream in [
            stream(
                ACTION_STREAM,
                RetentionPolicy::WorkQueue,
                ["action.v0.orders.*", "action.v0.cancel.*"],
            ),
            stream(
                DATA_STREAM,
                RetentionPolicy::Interest,
                ["data.v0.tradeupdates.*", "data.v0.stocks.*"],
            ),
        ] {
            jetstream
                .create_stream(stream)
                .await
                .expect("the server takes it");
        }
        let mut consumers = vec![
            (ACTION_STREAM, ORDERS_CONSUMER, "nalpaca.action.v0.orders.*"),
            (
                ACTION_STREAM,
                "nalpaca-cancel-consumer-v0",
                "nalpaca.action.v0.cancel.*",
            ),
            (
                DATA_STREAM,
                "nalpaca-tradeupdate-consumer-v0",
                "nalpaca.data.v0.tradeupdates.*",
            ),
        ];
        if release == Release::Recent {
            // Older servers refuse it, and the Go program's script goes on without.
            consumers.push((DATA_STREAM, STOCK_CONSUMER, "nalpaca.datastream.v0.stocks.*"));
        }
        for (stream, name, filter) in consumers {
            let config = pull::Config {
                durable_name: Some(name.to_owned()),
                ack_policy: AckPolicy::Explicit,
                max_deliver: 3,
                filter_subject: filter.to_owned(),
                ..pull::Config::default()
            };
            let made = jetstream.create_consumer_on_stream(config, stream).await;
            made.expect("the server takes it");
        }
        let bucket = kv::Config {
            bucket: "nalpaca".to_owned(),
            storage: StorageType::Memory,
            ..kv::Config::default()
        };
        let bucket = jetstream
            .create_key_value(bucket)
            .await
            .expect("the server takes it");
        let positions = json!({"positions": [{"symbol": "TSLA", "qty": "7", "avg_entry_price": "101.5"}]});
        let positions = proto::encode("tradesvc.v0.Positions", &positions);
        bucket
            .put("positions", positions.into())
            .await
            .expect("the bucket takes it");
        Self { nats, jetstream }
    }

    /// Stores a command, as a user of the Go program does.
    async fn publish(&self, tail: &str, payload: Vec<u8>) {
        let subject = format!("nalpaca.action.v0.{tail}");
        let stored = self.jetstream.publish(subject, payload.into()).await;
        stored
            .expect("it is sent")
            .await
            .expect("the action stream takes it");
    }

    async fn order(&self, id: &str, order: &Value) {
        let payload = proto::encode("tradesvc.v0.Trade", order);
        self.publish(&format!("orders.{id}"), payload).await;
    }

    /// Fails an order three times, as the Go program does with whatever error: it is never delivered again.
    async fn strand(&self) {
        let consumer: PullConsumer = self
            .jetstream
            .get_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
            .await
            .expect("the consumer is there");
        for _ in 0..3 {
            let mut batch = consumer
                .batch()
                .max_messages(1)
                .expires(Duration::from_secs(5))
                .messages()
                .await
                .expect("the server answers");
            let message = batch
                .next()
                .await
                .expect("there is a message")
                .expect("it can be read");
            let nak = message.ack_with(AckKind::Nak(None)).await;
            nak.expect("the server is there");
            self.jetstream.client().flush().await.expect("it is sent");
        }
        until("the order to be stranded", async || {
            // Asked once more, the server finds that it may not deliver it again.
            let batch = consumer.batch();
            let mut batch = batch
                .max_messages(1)
                .expires(Duration::from_millis(200))
                .messages()
                .await
                .ok()?;
            assert!(batch.next().await.is_none(), "a fourth delivery");
            let info: Info = consumer.get_info().await.ok()?;
            (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
        })
        .await;
    }
}

/// The environment file of the Go program, whose names are ours.
fn go_environment() -> Environment {
    [
        ("PREFIX", "nalpaca"),
        ("ACTION_STREAM", ACTION_STREAM),
        ("NATS_KV_BUCKET", "nalpaca"),
        ("ENABLE_ORDERS", "true"),
        ("ENABLE_CANCELER", "true"),
        ("ENABLE_TRADE_UPDATER", "true"),
        ("PROCESSING_TIMEOUT", "3s"),
        ("HTTP_CLIENT_TIMEOUT", "15s"),
        ("ALPACA_RETRY_LIMIT", "3"),
        ("DISABLE_TRACING", "true"),
        ("LOG_SRC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn posts_naming(id: &str) -> Matcher {
    Matcher::endpoint(Endpoint::SubmitOrder).containing(id)
}

async fn storage(world: &World, name: &str) -> Option<StorageType> {
    let stream = world.jetstream.get_stream(name).await.ok()?;
    Some(stream.cached_info().config.storage)
}

async fn a_backlog_is_taken_over_on(release: Release) {
    let left = Left::on(release).await;
    // Stored long before anybody serves it, and never delivered.
    left.order("go-stranded", &resting("F")).await;
    left.strand().await;
    left.order("go-stale", &resting("GOOG")).await;
    tokio::time::sleep(MAX_AGE).await; // what is tested is that it is too old
    left.order("go-1", &resting("AAPL")).await;
    left.order("go-2", &resting("MSFT")).await;
    left.order("go-slow", &resting("SPY")).await;
    let unknown = uuid::Uuid::now_v7();
    left.publish(&format!("cancel.{unknown}"), Vec::new()).await;

    let Left { nats, .. } = left;
    let mut plan = Plan::new()
        .on(release)
        .set("PROVISION", "verify")
        .set("ORDER_MAX_AGE", &format!("{}s", MAX_AGE.as_secs()));
    plan.environment.extend(go_environment());
    let mut world = plan.start_on(nats).await;
    // Told what is wrong, it takes nothing.
    world.daemon.not_ready("storage is Memory, declared File").await;
    assert_eq!(world.posts(), 0);
    assert_eq!(world.daemon.terminate().await, 0);

    let slow = Reply::Delay(Duration::from_secs(3));
    world.sim.script().next(posts_naming("go-slow"), slow);
    world.daemon.set("PROVISION", "adopt");
    world.daemon.run();
    // While it holds what the Go program left, nobody is told that a command was stored.
    world.daemon.not_ready("takes no commands until").await;
    let order = proto::encode("tradesvc.v0.Trade", &resting("NVDA"));
    let refused = world.publish("orders.early", HeaderMap::new(), order).await;
    assert!(refused.is_err(), "{refused:?}");
    world.daemon.ready().await;

    for id in ["go-1", "go-2", "go-slow"] {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{id}: {outcome}");
        assert_eq!(world.posts_of(id).len(), 1, "{id}");
    }
    for id in ["go-stranded", "go-stale"] {
        assert_eq!(world.outcome(id).await["kind"], "OUTCOME_KIND_EXPIRED", "{id}");
        assert_eq!(world.posts_of(id).len(), 0, "{id}");
    }
    let cancel = world.outcome(&unknown.to_string()).await;
    assert_eq!(cancel["kind"], "OUTCOME_KIND_REJECTED", "{cancel}");
    assert!(world.posts_of("early").is_empty());

    // All of it is as declared now, and in files.
    for name in [ACTION_STREAM, DATA_STREAM, "KV_nalpaca"] {
        assert_eq!(storage(&world, name).await, Some(StorageType::File), "{name}");
    }
    let mut variables = world::environment(&world.nats, &world.sim);
    variables.insert("PROVISION".to_owned(), "verify".to_owned());
    let verified = run(&["provision"], &variables).await;
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    if release == Release::Recent {
        let bars: PullConsumer = world
            .jetstream
            .get_consumer_from_stream(STOCK_CONSUMER, DATA_STREAM)
            .await
            .expect("it was made anew with its stream");
        let filter = &bars.cached_info().config.filter_subject;
        assert_eq!(filter, "nalpaca.data.v0.stocks.*");
    }
    let positions = world.value("nalpaca", "positions").await.expect("they are there");
    let positions = proto::decode("tradesvc.v0.Positions", &positions);
    assert_eq!(positions["fresh"], true, "{positions}");
    world.order("after", &resting("BRK.B")).await;
    assert_eq!(world.outcome("after").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
}

#[tokio::test]
async fn a_backlog_of_the_go_program_is_taken_over_on_a_recent_server() {
    a_backlog_is_taken_over_on(Release::Recent).await;
}

#[tokio::test]
async fn a_backlog_of_the_go_program_is_taken_over_on_the_oldest_supported_server() {
    a_backlog_is_taken_over_on(Release::Oldest).await;
}

#[tokio::test]
async fn a_daemon_killed_while_it_drains_goes_on_and_places_no_order_twice() {
    let left = Left::on(Release::Recent).await;
    left.order("go-taken", &resting("AAPL")).await;
    left.order("go-behind", &resting("AAPL")).await;
    let Left { nats, .. } = left;
    let plan = Plan::new().set("PROVISION", "adopt");
    let sim = plan.sim.clone();
    let sim = Sim::start(sim).await.expect("start the simulator");
    sim.script()
        .next(posts_naming("go-taken"), Reply::HangAfterCommit);
    let mut world = plan.start_beside(nats, sim).await;
    world.posted("go-taken").await;
    world.daemon.kill9();
    assert_eq!(storage(&world, ACTION_STREAM).await, Some(StorageType::Memory));
    world.daemon.run();
    world.daemon.ready().await;
    for id in ["go-taken", "go-behind"] {
        assert_eq!(world.outcome(id).await["kind"], "OUTCOME_KIND_ACCEPTED", "{id}");
        assert_eq!(world.posts_of(id).len(), 1, "{id}");
    }
    assert_eq!(storage(&world, ACTION_STREAM).await, Some(StorageType::File));
    world.settled().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let left = Left::on(Release::Recent).await;
    let sim = Sim::start(Plan::new().sim).await.expect("start the simulator");
    let mut variables = world::environment(&left.nats, &sim);
    variables.insert("PROVISION".to_owned(), "adopt".to_owned());
    let dry = run(&["provision", "--dry-run"], &variables).await;
    assert_eq!(dry.code, 78, "{}", dry.stderr);
    for line in [
        format!("stream {ACTION_STREAM:<41} would update     DIFFERS"),
        "    - discard: Old".to_owned(),
        "    + discard: New    (no orders are created while it is so)".to_owned(),
        "bucket nalpaca                                   would make anew  DIFFERS".to_owned(),
        "    - max_deliver: 3".to_owned(),
        "bucket nalpaca-orders                            would create     DIFFERS".to_owned(),
    ] {
        assert!(dry.stdout.contains(&line), "{line:?} is not in\n{}", dry.stdout);
    }
    let stream = left.jetstream.get_stream(ACTION_STREAM).await.unwrap();
    assert_eq!(stream.cached_info().config.discard, DiscardPolicy::Old);
    assert!(left.jetstream.get_stream("KV_nalpaca-orders").await.is_err());
}
