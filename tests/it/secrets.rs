//! Secrets: rolled while the daemon runs, bound to one account, and shown nowhere.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use futures_util::TryStreamExt as _;
use nalpaca::sim::Reply;
use serde_json::json;

use crate::support::daemon::{KEY, SECRET};
use crate::support::order::{With as _, buy, resting};
use crate::support::scratch::Scratch;
use crate::support::world::{DATA_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{NatsServer, Release, World, nats, until};

/// A password of NATS that must show nowhere, either.
const CANARY_PASSWORD: &str = "canary!password/of/nats/000001";

async fn said(world: &World, what: &str) {
    until(&format!("the daemon to say {what:?}"), async || {
        world.daemon.log().contains(what).then_some(())
    })
    .await;
}

#[tokio::test]
async fn keys_in_files_are_rolled_without_a_restart_and_wrong_ones_are_not_used() {
    let files = Scratch::new();
    let file = |name: &str| files.path().join(name);
    let write = |key: &str, secret: &str| {
        fs::write(file("key"), format!("{key}\n")).expect("write a file");
        fs::write(file("secret"), format!("{secret}\n")).expect("write a file");
    };
    write(KEY, SECRET);
    let plan = Plan::new()
        .set("ALPACA_API_KEY_FILE", &file("key").display().to_string())
        .set("ALPACA_API_SECRET_FILE", &file("secret").display().to_string())
        .without("ALPACA_API_KEY")
        .without("ALPACA_API_SECRET");
    let world = plan.start().await;
    world.order("before", &resting("AAPL")).await;
    assert_eq!(world.outcome("before").await["kind"], "OUTCOME_KIND_ACCEPTED");

    // Wrong ones first: nothing happens but a line in the log.
    write("PKANOTHERKEY00000001", "notTheSecretOfThatKey");
    said(&world, "the venue refuses the new keys").await;
    world.order("meanwhile", &resting("MSFT")).await;
    assert_eq!(world.outcome("meanwhile").await["kind"], "OUTCOME_KIND_ACCEPTED");

    // The old pair fits no more from here on. SIGHUP, which ends most programs, has the new one read at once.
    world
        .sim
        .roll_keys("PKROLLEDKEYID000001", "rolledSecret0000000000000000000001");
    write("PKROLLEDKEYID000001", "rolledSecret0000000000000000000001");
    world.daemon.hang_up();
    said(&world, "the venue takes the new keys").await;
    world.sim.drop_streams();
    world.order("after", &buy("NVDA", "1")).await;
    assert_eq!(world.outcome("after").await["kind"], "OUTCOME_KIND_ACCEPTED");
    // The stream, made anew with the new pair, tells the fill.
    world.filled("after").await;
    until("the fill in the journal", async || {
        let updates = world
            .stored(JOURNAL_STREAM, "nalpaca.journal.v0.updates.after")
            .await;
        updates
            .iter()
            .any(|update| update.message()["event"] == "fill")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_password_of_nats_is_rolled_without_a_restart() {
    let files = Scratch::new();
    let file = files.path().join("password");
    fs::write(&file, "first").expect("write a file");
    let mut nats = NatsServer::start_guarded(Release::Recent).await;
    nats.let_in("first");
    let plan = Plan::new()
        .set("NATS_USER", nats::DAEMON)
        .set("NATS_PASSWORD_FILE", &file.display().to_string());
    let mut world = plan.start_on(nats).await;
    world.daemon.ready().await;
    fs::write(&file, "second").expect("write a file");
    said(&world, "another identity for NATS").await;
    // The server lets go of whom it does not know any more.
    world.nats.let_in("second");
    world.daemon.ready().await;
    world.order("after", &resting("AAPL")).await;
    assert_eq!(world.outcome("after").await["kind"], "OUTCOME_KIND_ACCEPTED");
    nats = world.nats;
    drop(nats);
}

#[tokio::test]
async fn keys_of_another_account_end_the_daemon() {
    let mut world = World::start().await;
    let account = world.value("nalpaca", "account").await.expect("it is mirrored");
    let account = crate::support::proto::decode("tradesvc.v0.Account", &account);
    let number = account["account_number"]
        .as_str()
        .expect("it has a number")
        .to_owned();
    assert_eq!(world.daemon.terminate().await, 0);

    world.daemon.set("ALPACA_ACCOUNT", "PA0000OTHER");
    world.daemon.run();
    assert_eq!(world.daemon.ended().await, 78);
    let log = world.daemon.log();
    assert!(log.contains("correct ALPACA_ACCOUNT, or the keys"), "{log}");

    world.daemon.set("ALPACA_ACCOUNT", &number);
    world.daemon.run();
    world.daemon.ready().await;
}

#[tokio::test]
async fn the_secret_shows_nowhere() {
    let nats = NatsServer::start_guarded(Release::Recent).await;
    nats.let_in(CANARY_PASSWORD);
    let plan = Plan::new()
        .set("NATS_USER", nats::DAEMON)
        .set("NATS_PASSWORD", CANARY_PASSWORD)
        .set("RUST_LOG", "trace")
        .set("LOG_FMT", "json")
        .set("LOG_SRC", "true");
    let mut world = plan.start_on(nats).await;
    world.daemon.ready().await;
    world.order("filled", &buy("AAPL", "1")).await;
    world.order("rejected", &buy("NOPE", "1")).await;
    world
        .order("invalid", &buy("AAPL", "1").with(json!({"side": null})))
        .await;
    world.sim.script().next_order(Reply::CutAfterCommit);
    world.order("looked-up", &resting("MSFT")).await;
    world.cancel("ALL").await;
    for id in ["filled", "rejected", "invalid", "looked-up", "ALL"] {
        world.outcome(id).await;
    }
    world.sim.drop_streams();
    world.settled().await;

    let mut said = Vec::new();
    for path in ["/metrics", "/readyz", "/livez", "/version", "/nowhere"] {
        let answer = world.daemon.get(path).await.expect("it answers");
        said.push((path.to_owned(), answer.body.into_bytes()));
    }
    let streams = [
        (JOURNAL_STREAM, "nalpaca.journal.>"),
        (DATA_STREAM, "nalpaca.data.>"),
    ];
    for (stream, subjects) in streams {
        for message in world.stored(stream, subjects).await {
            let headers = format!("{:?}", message.headers).into_bytes();
            said.push((format!("{} (headers)", message.subject), headers));
            said.push((message.subject, message.payload.to_vec()));
        }
    }
    for bucket in ["nalpaca", "nalpaca-orders"] {
        let store = world.jetstream.get_key_value(bucket).await.unwrap();
        let keys: Vec<String> = store.keys().await.unwrap().try_collect().await.unwrap();
        assert!(!keys.is_empty(), "{bucket}");
        for key in keys {
            if let Some(value) = world.value(bucket, &key).await {
                said.push((format!("{bucket} {key}"), value.to_vec()));
            }
        }
    }
    assert_eq!(world.daemon.terminate().await, 0);
    said.push(("the log".to_owned(), world.daemon.log().into_bytes()));
    assert!(said.len() > 20, "there was something to look through");
    let secrets = [SECRET, KEY, CANARY_PASSWORD];
    let spellings: Vec<String> = secrets.into_iter().flat_map(spellings).collect();
    for (place, bytes) in &said {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        for spelling in &spellings {
            assert!(!text.contains(spelling), "{spelling} shows in {place}");
        }
    }
}

/// A secret as it is, and as programs like to spell bytes, in lower case.
fn spellings(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let spaced: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let form = secret.replace('!', "%21").replace('/', "%2f");
    let mut spellings = vec![secret.to_owned(), hex, escaped, form, spaced.join(", ")];
    // In base64 a text begins at one of three places, and its ends depend on what stands beside it.
    for shift in 0..3 {
        for engine in [STANDARD, URL_SAFE] {
            let whole = engine.encode([vec![b'x'; shift].as_slice(), secret.as_bytes()].concat());
            spellings.push(whole[4..whole.len() - 4].to_owned());
        }
    }
    spellings.iter().map(|spelling| spelling.to_lowercase()).collect()
}
