//! Limits, dry runs and reducing only: what the daemon does with a file that a person has written.

use std::fs;
use std::path::PathBuf;

use jiff::ToSpan as _;
use nalpaca::clock::Clock;
use nalpaca::sim::Endpoint;
use serde_json::{Value, json};

use crate::support::daemon::run;
use crate::support::order::{With as _, buy, market, resting};
use crate::support::scratch::Scratch;
use crate::support::world::Plan;
use crate::support::{World, proto, until};

/// A limits file that lives as long as the test.
struct File {
    _scratch: Scratch,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let scratch = Scratch::new();
        let path = scratch.path().join("limits.toml");
        fs::write(&path, text).expect("write the limits");
        Self {
            _scratch: scratch,
            path,
        }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("write the limits");
    }

    fn plan(&self) -> Plan {
        Plan::new().set("LIMITS_FILE", &self.path.display().to_string())
    }
}

async fn outcome_of(world: &World, id: &str, order: &Value) -> Value {
    world.order(id, order).await;
    world.outcome(id).await
}

fn assert_denied(outcome: &Value, limit: &str, scope: &str) {
    assert_eq!(outcome["kind"], "OUTCOME_KIND_DENIED", "{outcome}");
    assert_eq!(outcome["reason"], limit, "{outcome}");
    assert_eq!(outcome["limit_scope"], scope, "{outcome}");
}

#[tokio::test]
async fn an_order_beyond_a_limit_is_denied_with_the_limit_and_the_value() {
    let file = File::new(
        "[account]\nmax_order_notional = 10000\nprice_collar_percent = 10\n\
         [strategy.m]\nmax_order_qty = 5\n[symbol.\"BRK.B\"]\nmax_order_qty = 2\n",
    );
    let world = file.plan().start().await;
    let outcome = outcome_of(&world, "m.1", &buy("AAPL", "6")).await;
    assert_denied(&outcome, "max_order_qty", "strategy m");
    assert_eq!(
        (&outcome["limit"], &outcome["limit_value"]),
        (&json!("5"), &json!("6"))
    );
    assert!(
        outcome["message"]
            .as_str()
            .is_some_and(|text| text.contains("max_order_qty of the strategy m is 5")),
        "{outcome}"
    );
    assert_denied(
        &outcome_of(&world, "n.1", &buy("BRK.B", "3")).await,
        "max_order_qty",
        "symbol BRK.B",
    );
    assert_denied(
        &outcome_of(&world, "n.2", &buy("AAPL", "600")).await,
        "max_order_notional",
        "account",
    );
    let high = buy("AAPL", "1").with(json!({"order_type": "ORDER_TYPE_LIMIT", "limit_price": "9000"}));
    assert_denied(
        &outcome_of(&world, "n.3", &high).await,
        "price_collar_percent",
        "account",
    );
    assert_eq!(world.posts(), 0);
    let record = world
        .ask("orders.get", &json!({"order": "m.1"}))
        .await
        .expect("a record");
    assert_eq!(record["outcome"]["limit_value"], "6", "{record}");
    for (id, order) in [("m.2", buy("AAPL", "5")), ("n.4", resting("AAPL"))] {
        let outcome = outcome_of(&world, id, &order).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    }
    // A replacement is an order, too.
    let outcome = {
        world
            .replace("n.5", &json!({"order": "n.4", "limit_price": "9000"}))
            .await;
        world.outcome("n.5").await
    };
    assert_denied(&outcome, "price_collar_percent", "account");
    let limits = world.ask("limits.get", &Value::Null).await.expect("the limits");
    let listed = limits["limits"].as_array().expect("limits");
    assert_eq!(listed.len(), 4, "{limits}");
    assert!(
        limits["file"]
            .as_str()
            .is_some_and(|path| path.ends_with("limits.toml"))
    );
}

#[tokio::test]
async fn of_many_orders_at_once_no_more_pass_than_a_limit_lets_and_a_restart_forgets_nothing() {
    let file = File::new("[account]\nmax_open_orders = 5\nmax_orders_per_day = 9\n");
    let mut world = file.plan().set("ORDERS_MAX_IN_FLIGHT", "16").start().await;
    world
        .sim
        .fault("submit_order always: delay 50ms")
        .expect("the simulator knows the fault");
    for number in 0..20 {
        // Each of another symbol, so that none waits for another.
        let symbol = ["AAPL", "MSFT", "NVDA", "SPY", "QQQ"][number % 5];
        world.order(&format!("m.{number}"), &resting(symbol)).await;
    }
    world.settled().await;
    let mut accepted = Vec::new();
    for number in 0..20 {
        let id = format!("m.{number}");
        let outcome = world.outcome(&id).await;
        match outcome["kind"].as_str() {
            Some("OUTCOME_KIND_ACCEPTED") => accepted.push(id),
            _ => assert_denied(&outcome, "max_open_orders", "account"),
        }
    }
    assert_eq!(accepted.len(), 5, "{accepted:?}");
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    assert_denied(
        &outcome_of(&world, "n.1", &resting("AAPL")).await,
        "max_open_orders",
        "account",
    );
    for id in &accepted {
        world.cancel(id).await;
        world.status(id, "canceled").await;
    }
    let mut begun = 0;
    for number in 0..8 {
        let mut tries = 0;
        let outcome = until("the cancels to be told", async || {
            tries += 1;
            let outcome = outcome_of(&world, &format!("o.{number}.{tries}"), &resting("AAPL")).await;
            (outcome["reason"] != "max_open_orders").then_some(outcome)
        })
        .await;
        if outcome["kind"] != "OUTCOME_KIND_ACCEPTED" {
            assert_denied(&outcome, "max_orders_per_day", "account");
            break;
        }
        begun += 1;
    }
    assert_eq!(begun, 4, "five were begun before the restart");
}

/// Takes half a minute by intention: nobody knows of the order for longer than one may turn up late.
#[tokio::test]
async fn an_order_of_which_nobody_knows_counts_until_somebody_does_and_a_restart_does_not_forget_it() {
    let file = File::new("[account]\nmax_open_orders = 1\n");
    let mut world = file.plan().start().await;
    world
        .sim
        .fault("submit_order ~m.1: late-commit 20s status 500")
        .expect("the simulator knows the fault");
    let soon = Clock::system().now().checked_add(2.seconds()).expect("a moment");
    let unknown = resting("AAPL").with(json!({"valid_until": soon.to_string()}));
    world.order("m.1", &unknown).await;
    world.posted("m.1").await;
    let denied = async |world: &World, id: &str| {
        assert_denied(
            &outcome_of(world, id, &resting("MSFT")).await,
            "max_open_orders",
            "account",
        );
    };
    denied(&world, "n.1").await;
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    denied(&world, "n.1.again").await;
    let outcome = world.outcome("m.1").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_UNRESOLVED", "{outcome}");
    denied(&world, "n.2").await;

    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    denied(&world, "n.3").await;
    let outcomes = world.outcomes("m.1", 2).await;
    let late = outcomes[1].message();
    assert_eq!(late["kind"], "OUTCOME_KIND_LATE_ACCEPTED", "{late}");
    world.status("m.1", "canceled").await;
    let outcome = outcome_of(&world, "n.4", &resting("MSFT")).await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
}

#[tokio::test]
async fn limits_are_read_again_when_they_change_and_only_when_they_can_be_used() {
    let file = File::new("[account]\nmax_order_qty = 1\n");
    let world = file.plan().start().await;
    assert_denied(
        &outcome_of(&world, "a", &buy("AAPL", "2")).await,
        "max_order_qty",
        "account",
    );
    file.write("[account]\nmax_order_qty = 2\n");
    let bound = async |expected: &str| {
        until(&format!("the limit to be {expected}"), async || {
            let limits = world.ask("limits.get", &Value::Null).await.ok()?;
            (limits["limits"][0]["bound"] == expected).then_some(limits)
        })
        .await
    };
    bound("2").await;
    assert_eq!(
        outcome_of(&world, "b", &buy("AAPL", "2")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
    file.write("[account]\nmax_order_qyt = 3\n");
    let limits = until("the file to be complained about", async || {
        let limits = world.ask("limits.get", &Value::Null).await.ok()?;
        limits["problem"].is_string().then_some(limits)
    })
    .await;
    assert!(
        limits["problem"]
            .as_str()
            .is_some_and(|text| text.contains("account.max_order_qyt is not known")),
        "{limits}"
    );
    let ready = world.daemon.get("/readyz").await.expect("an answer");
    assert!(
        ready.status == 200 && ready.body.contains("limits_unreadable"),
        "{}",
        ready.body
    );
    assert_denied(
        &outcome_of(&world, "c", &buy("AAPL", "3")).await,
        "max_order_qty",
        "account",
    );
    file.write("[account]\nmax_order_qty = 3\n");
    let limits = bound("3").await;
    assert_eq!(limits["problem"], Value::Null, "{limits}");
    assert_eq!(
        outcome_of(&world, "d", &buy("AAPL", "3")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
}

#[tokio::test]
async fn a_limits_file_that_cannot_be_used_lets_no_daemon_begin() {
    let file = File::new("[account]\nmax_order_qty = \"many\"\nmax_orders_per_week = 1\n");
    let plan = file.plan();
    let mut environment = plan.environment.clone();
    environment.insert("ALPACA_URL".to_owned(), "http://127.0.0.1:1".to_owned());
    let ended = run(&["check-config"], &environment).await;
    assert_eq!(ended.code, 78);
    let said = ended.stdout + &ended.stderr;
    for words in [
        "account.max_order_qty is \"many\"",
        "account.max_orders_per_week is not known",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn too_large_a_loss_halts_and_whoever_resumes_raises_the_limit_first() {
    let file = File::new("[account]\nmax_daily_loss = 100\n");
    let world = file.plan().set("POSITIONS_REFRESH_INTERVAL", "1s").start().await;
    assert_eq!(
        outcome_of(&world, "a", &buy("AAPL", "100")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
    world.filled("a").await;
    world.sim.set_price("AAPL", "1".parse().expect("a price"));
    let halted = async || {
        until("a halt", async || {
            let state = world.ask("state.get", &Value::Null).await.ok()?;
            (state["mode"] == "GATEWAY_MODE_HALTED").then_some(state)
        })
        .await
    };
    let state = halted().await;
    assert!(
        state["mode_reason"]
            .as_str()
            .is_some_and(|text| text.contains("max_daily_loss is 100")),
        "{state}"
    );
    world.ask("admin.resume", &Value::Null).await.expect("it resumes");
    halted().await;
    file.write("[account]\nmax_daily_loss = 10000000\n");
    until("the limit to be raised", async || {
        let limits = world.ask("limits.get", &Value::Null).await.ok()?;
        (limits["limits"][0]["bound"] == "10000000").then_some(())
    })
    .await;
    world.ask("admin.resume", &Value::Null).await.expect("it resumes");
    assert_eq!(
        outcome_of(&world, "b", &buy("MSFT", "1")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
    let modes = world.journal("modes", 4).await;
    let sources: Vec<_> = modes
        .iter()
        .map(|stored| stored.message()["source"].clone())
        .collect();
    assert_eq!(
        sources[..4],
        ["limit", "service", "limit", "service"],
        "{sources:?}"
    );
}

#[tokio::test]
async fn a_dry_run_does_everything_but_the_post() {
    let world = Plan::new().set("DRY_RUN", "true").start().await;
    let outcome = outcome_of(&world, "a", &buy("AAPL", "1")).await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(outcome["simulated"], true);
    assert_eq!(outcome["attempts"], 0);
    let again = {
        world.order("a", &buy("AAPL", "1")).await;
        world.outcomes("a", 2).await.remove(1).message()
    };
    assert_eq!(
        (&again["repeated"], &again["simulated"]),
        (&json!(true), &json!(true)),
        "{again}"
    );
    world.settled().await;
    assert_eq!(world.posts(), 0);

    let file = File::new("[strategy.paper]\ndry_run = true\n");
    let world = file.plan().start().await;
    let dry = outcome_of(&world, "paper.1", &buy("AAPL", "1")).await;
    assert_eq!(dry["simulated"], true, "{dry}");
    let real = outcome_of(&world, "real.1", &buy("AAPL", "1")).await;
    assert_eq!(real["simulated"], false, "{real}");
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn in_mode_reduce_only_what_makes_a_position_smaller_passes() {
    let world = World::start().await;
    assert_eq!(
        outcome_of(&world, "a", &buy("AAPL", "10")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
    world.filled("a").await;
    until("the position to show", async || {
        let positions = world.value("nalpaca", "positions").await?;
        let positions = proto::decode("tradesvc.v0.Positions", &positions);
        (positions["positions"][0]["qty"] == "10").then_some(())
    })
    .await;
    world
        .ask("admin.reduce_only", &json!({"reason": "the close is near"}))
        .await
        .expect("the mode is set");
    let sell = |qty: &str| {
        market("SIDE_SELL", "AAPL", qty)
            .with(json!({"order_type": "ORDER_TYPE_LIMIT", "limit_price": "100000"}))
    };
    let posts = world.posts();
    for (id, order) in [
        ("b", buy("AAPL", "1")),
        ("c", sell("11")),
        ("d", buy("MSFT", "1")),
    ] {
        let outcome = outcome_of(&world, id, &order).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_DENIED", "{outcome}");
        assert_eq!(outcome["reason"], "mode");
        assert!(
            outcome["message"]
                .as_str()
                .is_some_and(|text| text.ends_with(": the close is near"))
        );
    }
    assert_eq!(world.posts(), posts);
    assert_eq!(
        outcome_of(&world, "e", &sell("6")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
    assert_eq!(
        outcome_of(&world, "f", &sell("5")).await["kind"],
        "OUTCOME_KIND_DENIED"
    );
    assert_eq!(
        outcome_of(&world, "g", &sell("4")).await["kind"],
        "OUTCOME_KIND_ACCEPTED"
    );
    world
        .close("h", &json!({"symbol": "AAPL", "cancel_orders": true}))
        .await;
    let outcome = world.outcome("h").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(world.sim.snapshot().requests_to(Endpoint::SubmitOrder), posts + 3);
}
