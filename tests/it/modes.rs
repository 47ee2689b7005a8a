//! What is let through: set by people, at once, and kept.

use std::fs;
use std::time::Duration;

use nalpaca::sim::{Endpoint, Reply};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::order::{buy, resting};
use crate::support::proto::{decode, encode};
use crate::support::scratch::Scratch;
use crate::support::world::Plan;
use crate::support::{World, until};

/// The id of a change nobody made.
const ANOTHER_ID: &str = "01999999-0000-7000-8000-000000000001";

/// Orders of a load.
const LOAD: usize = 150;

async fn is_in_mode(world: &World, mode: &str) -> Value {
    until(&format!("the mode {mode}"), async || {
        let state = world.value("nalpaca", "state").await?;
        let state = decode("tradesvc.v0.GatewayState", &state);
        (state["mode"] == mode).then_some(state)
    })
    .await
}

#[tokio::test]
async fn no_post_begins_after_a_halt_is_acknowledged_and_a_kill_does_not_end_it() {
    let mut world = Plan::new().set("ORDERS_MAX_IN_FLIGHT", "4").start().await;
    world
        .sim
        .script()
        .always(Endpoint::SubmitOrder, Reply::Delay(Duration::from_millis(20)));
    for number in 0..LOAD {
        world.order(&format!("load-{number}"), &buy("AAPL", "1")).await;
    }
    until("some orders at the venue", async || {
        (world.posts() > 5).then_some(())
    })
    .await;
    let asked = Instant::now();
    let halted = world
        .ask("admin.halt", &json!({"reason": "lunch", "by": "ann"}))
        .await
        .expect("it halts");
    let acknowledged = Instant::now();
    // The promise is 250 ms; a machine that runs all tests at once is given more.
    assert!(
        acknowledged - asked < Duration::from_secs(2),
        "{:?}",
        acknowledged - asked
    );
    assert_eq!(halted["mode"], "GATEWAY_MODE_HALTED", "{halted}");
    assert_eq!(halted["kept"], true, "{halted}");
    world.settled().await;
    let posts = world.sim.snapshot().requests().to_vec();
    let late = posts.iter().filter(|request| {
        request.endpoint == Some(Endpoint::SubmitOrder) && request.received_at > acknowledged
    });
    assert_eq!(late.count(), 0, "POSTs after the halt was acknowledged");
    let sent = world.posts();
    assert!(sent < LOAD, "the halt came too late to show anything");
    let mut denied = 0;
    for number in 0..LOAD {
        let outcome = world.outcome(&format!("load-{number}")).await;
        if outcome["kind"] == "OUTCOME_KIND_DENIED" {
            denied += 1;
            assert_eq!(outcome["reason"], "mode");
            assert!(
                outcome["message"]
                    .as_str()
                    .is_some_and(|text| text.ends_with(": lunch")),
                "{outcome}"
            );
        }
    }
    assert_eq!(denied + sent, LOAD, "each was sent or denied");

    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    let state = is_in_mode(&world, "GATEWAY_MODE_HALTED").await;
    assert_eq!(
        (&state["mode_reason"], &state["mode_by"]),
        (&json!("lunch"), &json!("ann"))
    );
    world.order("after", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("after").await["kind"], "OUTCOME_KIND_DENIED");

    let resumed = world.ask("admin.resume", &Value::Null).await.expect("it resumes");
    assert_eq!(resumed["previous"], "GATEWAY_MODE_HALTED", "{resumed}");
    world.order("again", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("again").await["kind"], "OUTCOME_KIND_ACCEPTED");
    let told = world.journal("modes", 2).await;
    let told: Vec<_> = told.iter().map(|stored| stored.message()).collect();
    assert_eq!(told[0]["reason"], "lunch");
    assert_eq!(told[0]["source"], "service");
    assert_eq!(told[1]["mode"], "GATEWAY_MODE_NORMAL");
}

#[tokio::test]
async fn cancels_pass_in_every_mode_and_what_waits_is_denied_at_once() {
    let world = World::start().await;
    world.order("rests", &resting("AAPL")).await;
    assert_eq!(world.outcome("rests").await["kind"], "OUTCOME_KIND_ACCEPTED");
    for (number, endpoint) in ["admin.reduce_only", "admin.cancel_only", "admin.halt"]
        .iter()
        .enumerate()
    {
        world.ask(endpoint, &Value::Null).await.expect("the mode is set");
        let id = format!("opens-{number}");
        world.order(&id, &buy("AAPL", "1")).await;
        let outcome = world.outcome(&id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_DENIED", "{endpoint}: {outcome}");
        assert_eq!(outcome["reason"], "mode");
    }
    world.cancel("rests").await;
    world.status("rests", "canceled").await;
    let (code, message) = world
        .ask("admin.halt", &json!({"reason": "two\nlines"}))
        .await
        .expect_err("it is no reason");
    assert_eq!(code, "400");
    assert!(message.contains("reason is one line"), "{message}");
}

#[tokio::test]
async fn a_signal_and_a_file_halt_and_the_file_has_to_go_first() {
    let scratch = Scratch::new();
    let file = scratch.path().join("halt");
    let world = Plan::new()
        .set("HALT_FILE", &file.display().to_string())
        .start()
        .await;
    world.daemon.tell_to_halt();
    let state = is_in_mode(&world, "GATEWAY_MODE_HALTED").await;
    assert_eq!(state["mode_reason"], "SIGUSR1 was received");
    world.ask("admin.resume", &Value::Null).await.expect("it resumes");

    fs::write(&file, "the risk desk called\n").expect("write the file");
    let state = is_in_mode(&world, "GATEWAY_MODE_HALTED").await;
    assert_eq!(state["mode_reason"], "the risk desk called");
    let (code, message) = world
        .ask("admin.resume", &Value::Null)
        .await
        .expect_err("it is held");
    assert_eq!(code, "409");
    assert!(message.contains("remove it first"), "{message}");
    fs::remove_file(&file).expect("remove the file");
    until("a resume to be possible", async || {
        world.ask("admin.resume", &Value::Null).await.ok()
    })
    .await;
    is_in_mode(&world, "GATEWAY_MODE_NORMAL").await;
    let sources: Vec<_> = world
        .journal("modes", 4)
        .await
        .iter()
        .map(|stored| stored.message()["source"].clone())
        .collect();
    assert_eq!(sources, ["signal", "service", "file", "service"]);
}

#[tokio::test]
async fn a_mode_that_was_kept_by_who_then_died_is_in_the_journal_once() {
    let mut world = World::start().await;
    world
        .ask("admin.halt", &json!({"reason": "lunch"}))
        .await
        .expect("it halts");
    let kept = world.value("nalpaca", "mode").await.expect("it is kept");
    world.daemon.kill9();
    // As it stands when the process ends behind the bucket and before the journal.
    let mut change = decode("tradesvc.v0.ModeChange", &kept);
    change["id"] = json!(ANOTHER_ID);
    change["reason"] = json!("dinner");
    let bucket = world
        .jetstream
        .get_key_value("nalpaca")
        .await
        .expect("the bucket is there");
    let value = encode("tradesvc.v0.ModeChange", &change);
    bucket.put("mode", value.into()).await.expect("put the mode");
    world.daemon.run();
    world.journal("modes", 2).await;
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    world
        .ask("admin.resume", &json!({"reason": "back"}))
        .await
        .expect("it resumes");
    let told = world.journal("modes", 3).await;
    let reasons: Vec<_> = told
        .iter()
        .map(|stored| stored.message()["reason"].clone())
        .collect();
    assert_eq!(reasons, ["lunch", "dinner", "back"]);
}

#[tokio::test]
async fn a_file_that_was_there_before_the_daemon_halts_it_from_the_first_order_on() {
    let scratch = Scratch::new();
    let file = scratch.path().join("halt");
    let mut world = Plan::new()
        .set("HALT_FILE", &file.display().to_string())
        .start()
        .await;
    assert_eq!(world.daemon.terminate().await, 0);
    world.order("waits", &buy("AAPL", "1")).await;
    fs::write(&file, "").expect("write the file");
    world.daemon.run();
    let outcome = world.outcome("waits").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_DENIED", "{outcome}");
    assert_eq!(outcome["reason"], "mode", "{outcome}");
    assert!(world.posts_of("waits").is_empty());
}

#[tokio::test]
async fn a_halt_holds_at_once_where_nothing_can_be_kept_and_a_resume_does_not() {
    let mut world = World::start().await;
    // The bucket is gone, and with it the place where a mode is kept.
    world
        .jetstream
        .delete_stream("KV_nalpaca")
        .await
        .expect("delete the bucket");
    let halted = world.ask("admin.halt", &Value::Null).await.expect("it halts");
    assert_eq!(halted["kept"], Value::Null, "{halted}");
    world.order("no", &buy("AAPL", "1")).await;
    let (code, _) = world
        .ask("admin.resume", &Value::Null)
        .await
        .expect_err("it cannot be kept");
    assert_eq!(code, "503");
    // The drift watcher makes the bucket anew, and what holds is kept.
    until("the mode to be kept", async || {
        world
            .jetstream
            .get_key_value("nalpaca")
            .await
            .ok()?
            .get("mode")
            .await
            .ok()?
    })
    .await;
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    world.order("after", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("after").await["kind"], "OUTCOME_KIND_DENIED");
    assert_eq!(world.outcome("no").await["kind"], "OUTCOME_KIND_DENIED");
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn a_halt_while_nats_is_gone_holds_when_it_comes_back_and_is_kept_then() {
    let mut world = World::start().await;
    world.nats.kill9();
    world.daemon.not_ready("nats_disconnected").await;
    world.daemon.tell_to_halt();
    until("the halt to hold", async || {
        let ready = world.daemon.get("/readyz").await?;
        ready.body.contains("mode halted").then_some(())
    })
    .await;
    world.nats.run().await;
    world.daemon.ready().await;
    is_in_mode(&world, "GATEWAY_MODE_HALTED").await;
    world.order("no", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("no").await["kind"], "OUTCOME_KIND_DENIED");
    until("the mode to be kept", async || {
        world.value("nalpaca", "mode").await
    })
    .await;
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    world.order("still", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("still").await["kind"], "OUTCOME_KIND_DENIED");
    assert_eq!(world.posts(), 0);
}
