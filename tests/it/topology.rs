//! The NATS objects: made as declared on every supported server, left alone afterwards, and watched.

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use nalpaca::sim::Sim;

use crate::support::order::resting;
use crate::support::world::{self, ACTION_STREAM, DATA_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{NatsServer, Release, World, run, until};

const ORDERS_CONSUMER: &str = "nalpaca-orders-consumer-v0";
const CANCEL_CONSUMER: &str = "nalpaca-cancel-consumer-v0";
const TRADE_UPDATE_CONSUMER: &str = "nalpaca-tradeupdate-consumer-v0";

const STREAMS: [&str; 7] = [
    ACTION_STREAM,
    DATA_STREAM,
    JOURNAL_STREAM,
    "KV_nalpaca",
    "KV_nalpaca-last",
    "KV_nalpaca-leases",
    "KV_nalpaca-orders",
];
const CONSUMERS: [(&str, &str); 3] = [
    (ACTION_STREAM, ORDERS_CONSUMER),
    (ACTION_STREAM, CANCEL_CONSUMER),
    (DATA_STREAM, TRADE_UPDATE_CONSUMER),
];

async fn stream(world: &World, name: &str) -> Config {
    let stream = world.jetstream.get_stream(name).await;
    let stream = stream.unwrap_or_else(|error| panic!("{name}: {error}"));
    stream.cached_info().config.clone()
}

async fn consumer(world: &World, stream: &str, name: &str) -> pull::Config {
    let consumer = world.jetstream.get_consumer_from_stream(name, stream).await;
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        consumer.unwrap_or_else(|error| panic!("{name}: {error}"));
    let info = consumer.cached_info();
    async_nats::jetstream::consumer::FromConsumer::try_from_consumer_config(info.config.clone())
        .expect("it is a pull consumer")
}

#[derive(Debug, PartialEq)]
enum Object {
    Stream(i128, Box<Config>),
    Consumer(Box<pull::Config>),
}

/// Everything the server says of the objects, but what changes as they are used.
async fn inventory(world: &World) -> Vec<Object> {
    let mut objects = Vec::new();
    for name in STREAMS {
        let stream = world
            .jetstream
            .get_stream(name)
            .await
            .expect("the stream is there");
        let info = stream.cached_info();
        objects.push(Object::Stream(
            info.created.unix_timestamp_nanos(),
            Box::new(info.config.clone()),
        ));
    }
    for (stream, name) in CONSUMERS {
        objects.push(Object::Consumer(Box::new(consumer(world, stream, name).await)));
    }
    objects
}

async fn everything_is_made_and_an_order_is_served_on(release: Release) {
    let mut world = Plan::new().on(release).start().await;
    let action = stream(&world, ACTION_STREAM).await;
    assert_eq!(action.retention, RetentionPolicy::WorkQueue);
    assert_eq!(action.storage, StorageType::File);
    assert_eq!(action.discard, DiscardPolicy::New);
    assert_eq!(action.max_message_size, 64 * 1024);
    assert!(action.max_messages > 0, "bounded");
    assert!(!action.allow_rollup, "one header must not erase the queue");
    let mut kinds = action.subjects.clone();
    kinds.sort();
    let kind = |kind: &str| format!("nalpaca.action.v0.{kind}.>");
    assert_eq!(kinds, ["cancel", "close", "orders", "replace"].map(kind));

    let journal = stream(&world, JOURNAL_STREAM).await;
    assert_eq!(journal.retention, RetentionPolicy::Limits);
    assert_eq!(journal.storage, StorageType::File);
    assert!(journal.deny_delete);
    let data = stream(&world, DATA_STREAM).await;
    assert_eq!(data.retention, RetentionPolicy::Interest);
    assert_eq!(data.discard, DiscardPolicy::Old);
    let ledger = stream(&world, "KV_nalpaca-orders").await;
    assert_eq!(ledger.storage, StorageType::File);
    assert!(!ledger.allow_direct, "the ledger is read through its leader");
    let last = stream(&world, "KV_nalpaca-last").await;
    assert_eq!(last.storage, StorageType::Memory);

    for (name, filters) in [
        (ORDERS_CONSUMER, ["orders", "replace"]),
        (CANCEL_CONSUMER, ["cancel", "close"]),
    ] {
        let consumer = consumer(&world, ACTION_STREAM, name).await;
        assert_eq!(consumer.max_deliver, -1, "{name}: no order is ever stranded");
        assert!(consumer.backoff.is_empty(), "{name}");
        let mut live = consumer.filter_subjects.clone();
        live.sort();
        assert_eq!(live, filters.map(kind), "{name}");
    }
    world.order("served", &resting("BRK.B")).await;
    assert_eq!(world.outcome("served").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.cancel("served").await;
    let canceled = world.outcomes("served", 2).await[1].message();
    assert_eq!(canceled["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;

    // A second start finds it all, and touches nothing.
    let before = inventory(&world).await;
    assert_eq!(world.daemon.terminate().await, 0);
    world.daemon.run();
    world.daemon.ready().await;
    assert_eq!(inventory(&world).await, before);
}

#[tokio::test]
async fn everything_is_made_once_on_a_recent_server() {
    everything_is_made_and_an_order_is_served_on(Release::Recent).await;
}

#[tokio::test]
async fn everything_is_made_once_on_the_oldest_supported_server() {
    everything_is_made_and_an_order_is_served_on(Release::Oldest).await;
}

/// Somebody gives the orders consumer a limit that strands orders.
async fn spoil(world: &World) {
    let spoiled = pull::Config {
        max_deliver: 3,
        ..consumer(world, ACTION_STREAM, ORDERS_CONSUMER).await
    };
    let updated = world
        .jetstream
        .update_consumer_on_stream(spoiled, ACTION_STREAM)
        .await;
    let live = updated.expect("the server takes the edit");
    assert_eq!(live.cached_info().config.max_deliver, 3);
}

#[tokio::test]
async fn a_consumer_that_could_strand_orders_stops_them_until_it_is_repaired() {
    let mut world = World::start().await;
    assert_eq!(world.daemon.terminate().await, 0);
    spoil(&world).await;
    world.daemon.run();
    world
        .daemon
        .not_ready("max_deliver is 3, declared unlimited")
        .await;
    world.order("held", &resting("AAPL")).await;
    assert_eq!(world.daemon.terminate().await, 0);
    let waiting = world.jetstream.get_stream(ACTION_STREAM).await.unwrap();
    assert_eq!(waiting.cached_info().state.messages, 1);
    assert_eq!(world.posts(), 0);

    world.daemon.set("PROVISION", "adopt");
    world.daemon.run();
    world.daemon.ready().await;
    assert_eq!(world.outcome("held").await["kind"], "OUTCOME_KIND_ACCEPTED");
    assert_eq!(
        consumer(&world, ACTION_STREAM, ORDERS_CONSUMER).await.max_deliver,
        -1
    );
    world.settled().await;
}

#[tokio::test]
async fn a_memory_stream_of_the_go_program_is_told_and_no_order_is_risked() {
    let nats = NatsServer::start(Release::Recent).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let kinds = ["orders", "cancel", "replace", "close"].map(|kind| format!("nalpaca.action.v0.{kind}.>"));
    let forgetful = Config {
        name: ACTION_STREAM.to_owned(),
        subjects: kinds.to_vec(),
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::Memory,
        ..Config::default()
    };
    async_nats::jetstream::new(client)
        .create_stream(forgetful)
        .await
        .unwrap();
    let mut world = Plan::new().start_on(nats).await;
    world.daemon.not_ready("storage is").await;
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn a_server_without_room_for_a_stream_is_told_with_the_setting_that_gives_it() {
    let room = "jetstream { max_file_store: 512MB }\n";
    let nats = NatsServer::start_configured(Release::Recent, room).await;
    let mut world = Plan::new().start_on(nats).await;
    world.daemon.not_ready("jetstream.max_file_store").await;
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn provision_says_what_it_did_and_its_exit_code_says_whether_all_is_well() {
    let mut nats = NatsServer::reserve(Release::Recent);
    let sim = Sim::start(Plan::new().sim).await.expect("start the simulator");
    let mut variables = world::environment(&nats, &sim);
    // It needs no venue.
    variables.retain(|name, _| !name.starts_with("ALPACA_"));
    let absent = run(&["provision", "--timeout", "1"], &variables).await;
    assert_eq!(absent.code, 69, "{}", absent.stderr);
    assert!(absent.stderr.contains("NATS_URL"), "{}", absent.stderr);

    nats.run().await;
    let dry = run(&["provision", "--dry-run"], &variables).await;
    assert_eq!(dry.code, 78, "nothing is there yet: {}", dry.stdout);
    let made = run(&["provision"], &variables).await;
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    assert!(made.stdout.contains("created"), "{}", made.stdout);
    let again = run(&["provision"], &variables).await;
    assert_eq!(again.code, 0);
    assert!(!again.stdout.contains("created"), "{}", again.stdout);
    assert!(again.stdout.contains("as declared"), "{}", again.stdout);

    let mut world = Plan::new().start_on(nats).await;
    world.daemon.ready().await;
    spoil(&world).await;
    let spoiled = run(&["provision"], &variables).await;
    assert_eq!(spoiled.code, 78);
    assert!(
        spoiled.stdout.contains("max_deliver is 3, declared unlimited"),
        "{}",
        spoiled.stdout
    );
    variables.insert("PROVISION".to_owned(), "adopt".to_owned());
    let repaired = run(&["provision"], &variables).await;
    assert_eq!(repaired.code, 0, "{}", repaired.stdout);
    assert!(repaired.stdout.contains("updated"), "{}", repaired.stdout);
    until("the repair to be seen", async || {
        let consumer = consumer(&world, ACTION_STREAM, ORDERS_CONSUMER).await;
        (consumer.max_deliver == -1).then_some(())
    })
    .await;
}
