//! The permissions `nalpaca permissions` prints: enough for each role, and not more, with two clients, on real servers.

use std::fs;
use std::future::IntoFuture as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{ConnectOptions, Event, HeaderMap, jetstream};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::daemon::Environment;
use crate::support::jwt::Operator;
use crate::support::order::resting;
use crate::support::scratch::Scratch;
use crate::support::world::{ACTION_STREAM, DATA_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{NatsServer, Release, World, proto, run, until};

const UPDATES: &str = "nalpaca-tradeupdate-consumer-v0";
/// Longer than an answer takes on this machine; only what is denied waits it out.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is let in: user, and roles.
const USERS: [(&str, &[&str]); 8] = [
    ("gateway", &["gateway"]),
    ("trader", &["trader"]),
    ("momentum", &["strategy"]),
    ("kill-switch", &["kill-switch"]),
    ("reader", &["reader"]),
    ("desk", &["reader", "trader"]),
    ("operator-role", &["operator"]),
    ("provisioner", &["provisioner"]),
];

/// The entry of a user, whose password is its name.
async fn entry(user: &str, roles: &[&str]) -> String {
    let arguments = [&["permissions"], roles, &["--user", user]].concat();
    let printed = run(&arguments, &Environment::new()).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let variable = format!("$NATS_PASSWORD_{}", user.to_uppercase().replace('-', "_"));
    assert!(printed.stdout.contains(&variable), "{}", printed.stdout);
    printed.stdout.replace(&variable, &format!("{user:?}"))
}

/// A world whose daemon has the gateway's permissions, on objects that the provisioner made.
async fn guarded(release: Release) -> World {
    let mut users = String::new();
    for (user, roles) in USERS {
        users.push_str(&entry(user, roles).await);
    }
    let nats = NatsServer::start_with_users(release, &users).await;
    let provisioner: Environment = [
        ("NATS_URL", nats.url()),
        ("NATS_USER", "provisioner".to_owned()),
        ("NATS_PASSWORD", "provisioner".to_owned()),
        ("NATS_INBOX_PREFIX", "_INBOX_provisioner".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let made = run(&["provision"], &provisioner).await;
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    let plan = Plan::new()
        .set("NATS_USER", "gateway")
        .set("NATS_PASSWORD", "gateway")
        .set("NATS_INBOX_PREFIX", "_INBOX_gateway")
        .set("PROVISION", "verify");
    let mut world = plan.start_on(nats).await;
    world.daemon.ready().await;
    world
}

/// What is tried as a user, and whether it must be possible.
type Trial = (Value, bool);

fn may(trial: Value) -> Trial {
    (trial, true)
}

fn may_not(mut trial: Value) -> Trial {
    // Nobody waits for the answer to what is denied.
    if matches!(trial["op"].as_str(), Some("store" | "request")) {
        trial["op"] = "publish".into();
    }
    (trial, false)
}

fn order(id: &str) -> Value {
    let body = r#"{"symbol":"AAPL","qty":1,"side":"buy","order_type":"limit","tif":"day","limit_price":"1"}"#;
    json!({"op": "store", "subject": format!("nalpaca.action.v0.orders.{id}"), "payload": body})
}

fn cancel(id: &str) -> Value {
    json!({"op": "store", "subject": format!("nalpaca.action.v0.cancel.{id}")})
}

fn publish(subject: &str) -> Value {
    json!({"op": "publish", "subject": subject})
}

fn subscribe(subject: &str) -> Value {
    json!({"op": "subscribe", "subject": subject})
}

fn request(subject: &str) -> Value {
    json!({"op": "request", "subject": subject})
}

fn get(bucket: &str, key: &str) -> Value {
    json!({"op": "kv_get", "bucket": bucket, "key": key})
}

/// What nobody but the gateway may do.
fn nobody() -> Vec<Trial> {
    let forged = [
        "nalpaca.data.v0.tradeupdates.AAPL",
        "nalpaca.journal.v0.updates.x",
        "nalpaca.journal.v0.outcomes.x",
        "$KV.nalpaca.positions",
        "$KV.nalpaca.lease",
        "$KV.nalpaca-orders.x",
        "_INBOX_gateway.x",
    ]
    .map(publish);
    let meddled = [
        format!("$JS.ACK.{ACTION_STREAM}.nalpaca-orders-consumer-v0.1.1.1.1.0"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{ACTION_STREAM}.nalpaca-orders-consumer-v0"),
        format!("$JS.API.STREAM.PURGE.{ACTION_STREAM}"),
        format!("$JS.API.STREAM.MSG.DELETE.{JOURNAL_STREAM}"),
        format!("$JS.API.STREAM.DELETE.{ACTION_STREAM}"),
        format!("$JS.API.CONSUMER.CREATE.{JOURNAL_STREAM}"),
        "$JS.API.CONSUMER.CREATE.KV_nalpaca-leases".to_owned(),
        format!("$JS.API.CONSUMER.DURABLE.CREATE.{JOURNAL_STREAM}.mine"),
        format!("$JS.API.CONSUMER.DELETE.{ACTION_STREAM}.nalpaca-orders-consumer-v0"),
        "$JS.API.STREAM.CREATE.mine".to_owned(),
    ];
    let meddled = meddled.iter().map(|subject| publish(subject));
    let overheard = ["_INBOX_gateway.>", "_INBOX.>", "nalpaca.action.v0.>", ">"].map(subscribe);
    forged
        .into_iter()
        .chain(meddled)
        .chain(overheard)
        .map(may_not)
        .collect()
}

fn trials(user: &str) -> Vec<Trial> {
    let mut trials = match user {
        "trader" => vec![
            may(order("by-trader")),
            may(cancel("by-trader")),
            may(cancel("ALL")),
            may(subscribe("nalpaca.journal.v0.outcomes.>")),
            may(subscribe("nalpaca.journal.v0.updates.>")),
            may(subscribe("nalpaca.data.v0.tradeupdates.>")),
            may(request("nalpaca.svc.v0.state.get")),
            may(request("nalpaca.svc.v0.orders.submit")),
            may_not(request("nalpaca.svc.v0.admin.halt")),
            may_not(publish("$KV.nalpaca-leases.momentum")),
        ],
        "momentum" => vec![
            may(order("momentum.1")),
            may(cancel("momentum.ALL")),
            may(json!({"op": "store", "subject": "$KV.nalpaca-leases.momentum", "payload": "alive"})),
            may(subscribe("nalpaca.journal.v0.outcomes.momentum.>")),
            may(subscribe("nalpaca.journal.v0.updates.momentum.>")),
            may(request("nalpaca.svc.v0.state.get")),
            may_not(request("nalpaca.svc.v0.orders.submit")),
            may_not(request("nalpaca.svc.v0.orders.cancel")),
            may_not(subscribe("nalpaca.json.journal.v0.outcomes.other.>")),
            may_not(order("other.1")),
            may_not(order("momentum2.1")),
            may_not(order("momentum")),
            may_not(cancel("ALL")),
            may_not(cancel("other.1")),
            may_not(publish("$KV.nalpaca-leases.other")),
            may_not(subscribe("nalpaca.journal.v0.outcomes.>")),
            may_not(subscribe("nalpaca.journal.v0.outcomes.other.>")),
            may_not(publish(
                "$JS.API.DIRECT.GET.KV_nalpaca-leases.$KV.nalpaca-leases.momentum",
            )),
        ],
        "kill-switch" => vec![
            may(cancel("ALL")),
            may(subscribe("nalpaca.journal.v0.outcomes.ALL")),
            may_not(order("by-kill-switch")),
            may_not(cancel("by-trader")),
            may_not(publish("nalpaca.action.v0.close.x")),
            may_not(publish("nalpaca.svc.v0.admin.resume")),
        ],
        "reader" | "operator-role" => vec![
            may(get("nalpaca", "positions")),
            may(get("nalpaca", "account")),
            may(get("nalpaca-orders", "seen")),
            may(subscribe("$KV.nalpaca.>")),
            may(subscribe("nalpaca.data.v0.>")),
            may(subscribe("nalpaca.journal.v0.>")),
            may(json!({"op": "fetch", "stream": DATA_STREAM, "consumer": UPDATES})),
            may(request(&format!("$JS.API.STREAM.INFO.{JOURNAL_STREAM}"))),
            may(request("nalpaca.svc.v0.state.get")),
            may(request("nalpaca.svc.v0.orders.list")),
            may_not(request("nalpaca.svc.v0.orders.submit")),
            may_not(order("by-reader")),
            may_not(publish("nalpaca.action.v0.replace.x")),
            may_not(publish("nalpaca.action.v0.close.x")),
        ],
        "desk" => vec![
            may(order("by-desk")),
            may(get("nalpaca", "positions")),
            may(cancel("by-desk")),
        ],
        "provisioner" => vec![
            may(request(&format!("$JS.API.STREAM.INFO.{ACTION_STREAM}"))),
            may_not(order("by-provisioner")),
            may_not(cancel("ALL")),
            may_not(request("$JS.API.STREAM.INFO.somebody-elses")),
        ],
        other => panic!("{other} has no trials"),
    };
    if user == "operator-role" {
        trials.push(may(cancel("ALL")));
        trials.push(may(request("nalpaca.svc.v0.admin.resume")));
        trials.push(may(request("nalpaca.svc.v0.subscriptions.list")));
    } else {
        trials.push(may_not(publish("$SRV.PING")));
    }
    if user == "reader" {
        trials.push(may_not(cancel("ALL")));
        trials.push(may_not(request("nalpaca.svc.v0.admin.halt")));
        trials.push(may_not(request("nalpaca.svc.v0.orders.cancel")));
    }
    trials.extend(nobody());
    trials
}

/// Tries them with nats-py.
async fn try_with_python(url: &str, user: &str, trials: &[Trial]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = tokio::process::Command::new("python3")
        .arg(root.join("tests/it/clients/permissions.py"))
        .args([url, user, user])
        .env("PYTHONPATH", root.join(".tools/python"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run python3");
    let list: Vec<&Value> = trials.iter().map(|(trial, _)| trial).collect();
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(json!(list).to_string().as_bytes())
        .await
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    assert!(output.status.success(), "the client failed");
    serde_json::from_slice(&output.stdout).expect("it answers in JSON")
}

/// Tries them with async-nats.
async fn try_with_rust(url: &str, user: &str, trials: &[Trial]) -> Vec<String> {
    let complaints: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&complaints);
    let client = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned())
        .custom_inbox_prefix(format!("_INBOX_{user}"))
        .request_timeout(Some(PATIENCE))
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                heard
                    .lock()
                    .expect("nobody panics with it")
                    .push(error.to_string());
            }
            async {}
        })
        .connect(url)
        .await
        .expect("the server lets it in");
    let jetstream = jetstream::context::ContextBuilder::new()
        .timeout(PATIENCE)
        .ack_timeout(PATIENCE)
        .build(client.clone());
    let mut verdicts = Vec::new();
    for (trial, _) in trials {
        complaints.lock().expect("nobody panics with it").clear();
        let text = |name: &str| trial[name].as_str().unwrap_or_default().to_owned();
        let payload = text("payload").into_bytes();
        let attempt = async {
            match trial["op"].as_str().expect("it says what it does") {
                "publish" => client.publish(text("subject"), payload.into()).await.is_ok(),
                "store" => match jetstream.publish(text("subject"), payload.into()).await {
                    Ok(sent) => sent.await.is_ok(),
                    Err(_) => false,
                },
                "subscribe" => client.subscribe(text("subject")).await.is_ok(),
                "request" => client.request(text("subject"), payload.into()).await.is_ok(),
                "kv_get" => match jetstream.get_key_value(text("bucket")).await {
                    Ok(bucket) => matches!(bucket.get(text("key")).await, Ok(Some(_))),
                    Err(_) => false,
                },
                "fetch" => {
                    let consumer = jetstream.get_consumer_from_stream(text("consumer"), text("stream"));
                    let Ok(consumer): Result<PullConsumer, _> = consumer.await else {
                        return false;
                    };
                    let batch = consumer.batch().max_messages(1).expires(PATIENCE).messages();
                    match batch.await.expect("it is sent").next().await {
                        Some(Ok(message)) => message.double_ack().await.is_ok(),
                        Some(Err(_)) | None => false,
                    }
                }
                other => panic!("no such trial: {other}"),
            }
        };
        let done = attempt.await;
        // The server's complaint comes before its answer to this, and events are told in their own time.
        client.flush().await.expect("the server answers");
        let complained = || {
            let heard = complaints.lock().expect("nobody panics with it");
            heard
                .iter()
                .any(|complaint| complaint.to_lowercase().contains("permissions violation"))
        };
        let patience = tokio::time::Instant::now() + Duration::from_millis(100);
        while !complained() && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        verdicts.push(
            match (complained(), done) {
                (true, _) => "denied",
                (false, true) => "allowed",
                (false, false) => "failed",
            }
            .to_owned(),
        );
    }
    verdicts
}

async fn each_role_is_enough_and_not_too_much_on(release: Release) {
    let world = guarded(release).await;
    // Something to read, and updates to fetch: one for each that does.
    for id in ["seen", "seen-2", "seen-3", "seen-4"] {
        world.order(id, &resting("AAPL")).await;
        assert_eq!(world.outcome(id).await["kind"], "OUTCOME_KIND_ACCEPTED");
    }
    let url = world.nats.url();
    for (user, _) in USERS.iter().filter(|(user, _)| *user != "gateway") {
        let trials = trials(user);
        for (client, verdicts) in [
            ("nats-py", try_with_python(&url, user, &trials).await),
            ("async-nats", try_with_rust(&url, user, &trials).await),
        ] {
            assert_eq!(verdicts.len(), trials.len());
            for ((trial, allowed), verdict) in trials.iter().zip(&verdicts) {
                let expected = if *allowed { "allowed" } else { "denied" };
                assert_eq!(verdict, expected, "{client} as {user}: {trial}");
            }
        }
    }
    // What was allowed came through, in the right hands.
    for id in ["by-trader", "momentum.1", "by-desk"] {
        // The cancel that followed may have been faster.
        let outcome = world.outcome(id).await;
        let expected = ["OUTCOME_KIND_ACCEPTED", "OUTCOME_KIND_CANCELED_BEFORE_SEND"];
        let kind = outcome["kind"].as_str().unwrap_or_default();
        assert!(expected.contains(&kind), "{id}: {outcome}");
    }
    assert!(world.posts_of("other.1").is_empty() && world.posts_of("by-reader").is_empty());
}

#[tokio::test]
async fn each_role_is_enough_and_not_too_much_on_a_recent_server() {
    each_role_is_enough_and_not_too_much_on(Release::Recent).await;
}

#[tokio::test]
async fn each_role_is_enough_and_not_too_much_on_the_oldest_supported_server() {
    each_role_is_enough_and_not_too_much_on(Release::Oldest).await;
}

#[tokio::test]
async fn the_gateway_needs_no_more_than_its_role_over_a_restart() {
    let mut world = guarded(Release::Recent).await;
    world.order("before", &resting("AAPL")).await;
    assert_eq!(world.outcome("before").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.daemon.kill9();
    world.cancel("before").await;
    // Everything is there, so making what is missing takes no permission, either.
    world.daemon.set("PROVISION", "create");
    world.daemon.run();
    world.daemon.ready().await;
    let outcomes = world.outcomes("before", 2).await;
    assert_eq!(outcomes[1].message()["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    let log = world.daemon.log();
    assert!(!log.to_lowercase().contains("permissions violation"), "{log}");
}

#[tokio::test]
async fn the_claims_of_a_jwt_say_the_same() {
    let operator = Operator::new();
    let nats = NatsServer::start_operated(Release::Recent, &operator).await;
    let credentials = async |user: &str, roles: &[&str]| {
        let arguments = [&["permissions"], roles, &["--user", user, "--output", "jwt"]].concat();
        let printed = run(&arguments, &Environment::new()).await;
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let claims: Value = serde_json::from_str(&printed.stdout).expect("it is JSON");
        operator.credentials(user, &claims)
    };
    let files = Scratch::new();
    let file = files.path().join("gateway.creds");
    let both = credentials("gateway", &["gateway", "provisioner"]).await;
    fs::write(&file, both).expect("write a file");
    let plan = Plan::new()
        .set("NATS_CREDS", &file.display().to_string())
        .set("NATS_INBOX_PREFIX", "_INBOX_gateway");
    let mut world = plan.start_on(nats).await;
    world.daemon.ready().await;

    let strategy = ConnectOptions::new()
        .credentials(&credentials("momentum", &["strategy"]).await)
        .expect("they are well formed")
        .custom_inbox_prefix("_INBOX_momentum")
        .connect(world.nats.url())
        .await
        .expect("the server lets it in");
    let jetstream = jetstream::new(strategy);
    let order = proto::encode("tradesvc.v0.Trade", &resting("AAPL"));
    let publish = async |id: &str| {
        let subject = format!("nalpaca.action.v0.orders.{id}");
        let sent = jetstream.publish(subject, order.clone().into()).await;
        tokio::time::timeout(PATIENCE, sent.expect("it is sent").into_future()).await
    };
    assert!(publish("other.1").await.is_err(), "it is not stored");
    publish("momentum.1")
        .await
        .expect("in time")
        .expect("it is stored");
    assert_eq!(world.outcome("momentum.1").await["kind"], "OUTCOME_KIND_ACCEPTED");
    assert!(world.posts_of("other.1").is_empty());
}

/// A subject for answers is not checked by the server: an acknowledgement, or a stored message, can be sent to any
/// subject, past the permissions of whoever asked for it.
#[tokio::test]
async fn an_answer_of_the_servers_is_no_command() {
    let world = guarded(Release::Recent).await;
    world.order("open", &resting("AAPL")).await;
    assert_eq!(world.outcome("open").await["kind"], "OUTCOME_KIND_ACCEPTED");
    let connect = async |user: &str| {
        ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned())
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .connect(world.nats.url())
            .await
            .expect("the server lets it in")
    };
    // A strategy has the acknowledgement of its order sent to where cancels go, and to another one's orders.
    let strategy = connect("momentum").await;
    let order = proto::encode("tradesvc.v0.Trade", &resting("MSFT"));
    for (id, reply) in [
        ("momentum.1", "nalpaca.action.v0.cancel.ALL"),
        ("momentum.2", "nalpaca.action.v0.orders.other.1"),
        ("momentum.3", "nalpaca.action.v0.close.other.2"),
    ] {
        let subject = format!("nalpaca.action.v0.orders.{id}");
        let sent = strategy.publish_with_reply(subject, reply, order.clone().into());
        sent.await.expect("it is sent");
    }
    // A reader has a stored value sent to where orders go. (An order's own bytes could be in a bucket it reads.)
    let reader = connect("reader").await;
    let whole = "$JS.API.DIRECT.GET.KV_nalpaca.$KV.nalpaca.positions";
    let sent = reader.publish_with_reply(whole, "nalpaca.action.v0.orders.other.3", "".into());
    sent.await.expect("it is sent");
    for client in [&strategy, &reader] {
        client.flush().await.expect("the server answers");
    }
    for id in ["ALL", "other.1", "other.2", "other.3"] {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_INVALID", "{id}: {outcome}");
    }
    // The very bytes of an order, with the mark of an answer.
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Stream", "KV_nalpaca-leases");
    world
        .publish("orders.other.4", headers, order)
        .await
        .expect("it is stored");
    let outcome = world.outcome("other.4").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_INVALID", "{outcome}");
    for id in ["other.1", "other.3", "other.4"] {
        assert!(world.posts_of(id).is_empty(), "{id}");
    }
    until("the first order to be as it was", async || {
        (world.sim.order("open")?.status.as_str() == "new").then_some(())
    })
    .await;
    world.settled().await;
}

#[tokio::test]
async fn an_answer_of_the_servers_is_no_question_to_the_service() {
    let world = guarded(Release::Recent).await;
    let connect = async |user: &str| {
        ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned())
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .connect(world.nats.url())
            .await
            .expect("the server lets it in")
    };
    let (strategy, reader) = (connect("momentum").await, connect("reader").await);
    let halt = "nalpaca.svc.v0.admin.halt";
    // The acknowledgement of an order, a stored value, and a message of a consumer, each sent to where a halt is asked for.
    let order = proto::encode("tradesvc.v0.Trade", &resting("MSFT"));
    for (client, subject, payload) in [
        (&strategy, "nalpaca.action.v0.orders.momentum.1".to_owned(), order),
        (
            &reader,
            "$JS.API.DIRECT.GET.KV_nalpaca.$KV.nalpaca.positions".to_owned(),
            Vec::new(),
        ),
        (
            &reader,
            format!("$JS.API.CONSUMER.MSG.NEXT.{DATA_STREAM}.{UPDATES}"),
            Vec::new(),
        ),
    ] {
        let sent = client.publish_with_reply(subject, halt, payload.into());
        sent.await.expect("it is sent");
        client.flush().await.expect("the server answers");
    }
    assert_eq!(world.outcome("momentum.1").await["kind"], "OUTCOME_KIND_ACCEPTED");
    // The trade updates of that order answer the third one. What comes after all of them is let through, and was never halted.
    world.journal("updates.momentum.1", 2).await;
    world.order("after", &resting("AAPL")).await;
    assert_eq!(world.outcome("after").await["kind"], "OUTCOME_KIND_ACCEPTED");
    let halts = world.stored(JOURNAL_STREAM, "nalpaca.journal.v0.modes").await;
    assert!(
        halts.is_empty(),
        "{:?}",
        halts.first().map(|stored| stored.message())
    );
}
