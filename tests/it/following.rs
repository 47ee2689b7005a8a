//! Commands that go on: on a terminal, nothing happening and nothing heard look the same unless somebody says so.

use nalpaca::sim::Endpoint;
use serde_json::{Value, json};

use crate::support::daemon::{Environment, Following};
use crate::support::order::buy;
use crate::support::world::{Plan, World};
use crate::support::{run, until};

fn lines(following: &Following) -> Vec<Value> {
    let text = following.stdout();
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

async fn shows(following: &Following, what: &str, is_it: impl Fn(&Value) -> bool) {
    until(what, async || lines(following).iter().any(&is_it).then_some(())).await;
}

/// Waits for a line of errors that holds this, and gives it.
async fn says(following: &Following, words: &str) -> String {
    until(&format!("{words:?} to be said"), async || {
        let said = following.stderr();
        said.lines().find(|line| line.contains(words)).map(str::to_owned)
    })
    .await
}

fn client(world: &World) -> Environment {
    [("NATS_URL".to_owned(), world.nats.url())].into()
}

fn outcome_of(id: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["message"]["client_order_id"] == id
}

fn holds(qty: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["fresh"] == true && line["positions"][0]["qty"] == qty
}

#[tokio::test]
async fn commands_that_go_on_say_when_nats_is_lost_and_what_they_missed() {
    let mut world = Plan::new()
        .set("ENABLE_STOCK_STREAM", "true")
        .set("STOCK_STREAM_SYMBOLS", "AAPL")
        .set("STOCK_STREAM_CHANNELS", "quotes")
        .start()
        .await;
    world.order("first", &buy("AAPL", "1")).await;
    world.filled("first").await;
    let environment = client(&world);
    let follow = |arguments: &[&str]| Following::start(arguments, &environment);
    let mut watch = follow(&["watch", "outcomes", "--output", "json"]);
    let mut positions = follow(&["positions", "--watch", "--output", "json"]);
    let mut tail = follow(&["tail", "quotes", "AAPL", "--output", "json"]);
    shows(&positions, "the position", holds("1")).await;
    shows(&tail, "a quote", |line| line["symbol"] == "AAPL").await;
    // When it has begun to listen is known by what it hears.
    let mut orders = 0;
    until("an outcome to be shown", async || {
        orders += 1;
        world.order(&format!("early.{orders}"), &json!({})).await;
        (!lines(&watch).is_empty()).then_some(())
    })
    .await;

    world.nats.kill9();
    for following in [&watch, &positions, &tail] {
        says(following, "NATS is lost, trying again").await;
    }
    let quotes = lines(&tail).len();
    let read = world.sim.snapshot().requests_to(Endpoint::ListPositions);
    world.place_elsewhere(&json!({
        "symbol": "AAPL", "qty": "2", "side": "buy", "type": "market", "time_in_force": "day", "client_order_id": "elsewhere",
    }))
    .await;
    until("the daemon to have read what is held", async || {
        (world.sim.snapshot().requests_to(Endpoint::ListPositions) > read).then_some(())
    })
    .await;
    world.nats.run().await;

    let missed = says(&watch, "NATS is back; what it missed").await;
    says(&positions, "NATS is back, asking for the positions again").await;
    says(&tail, "NATS is back; what was told meanwhile is not shown").await;
    shows(&positions, "the position as it is", holds("3")).await;
    until("quotes to go on", async || {
        (lines(&tail).len() > quotes).then_some(())
    })
    .await;
    world.order("second", &buy("AAPL", "1")).await;
    shows(&watch, "what comes after", outcome_of("second")).await;

    // The command it gives is one that works, and shows what was told before the loss was seen.
    let given = missed.split('`').nth(1).expect("a command");
    let arguments: Vec<&str> = given.split(' ').skip(1).collect();
    let replayed = run(&arguments, &environment).await;
    assert_eq!(replayed.code, 0, "{given}: {}", replayed.stderr);
    assert!(replayed.stdout.contains("second"), "{}", replayed.stdout);
    for following in [&mut watch, &mut positions, &mut tail] {
        assert_eq!(following.stop().await, 0, "{}", following.stderr());
    }
}
