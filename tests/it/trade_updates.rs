//! The drop copy: what happens to orders, once each and in order, whatever happens to the line to the venue.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt as _;
use nalpaca::sim::{Endpoint, Reply};
use serde_json::Value;

use crate::support::order::{buy, resting};
use crate::support::proto::{decode, encode};
use crate::support::world::{DATA_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{Stored, World, until};

/// What the journal says of an order: event and cumulative quantity, oldest first.
fn story(updates: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let line = |update: &Value| (text(&update["event"]), text(&update["order"]["filled_qty"]));
    updates.iter().map(line).collect()
}

fn fills(updates: &[Value]) -> Vec<(String, String)> {
    let mut story = story(updates);
    story.retain(|(event, _)| event.ends_with("fill"));
    story
}

fn expect(story: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(event, qty): &(&str, &str)| ((*event).to_owned(), (*qty).to_owned());
    story.iter().map(own).collect()
}

/// Waits until the journal knows how an order ended, and returns all it says of it.
async fn until_event(world: &World, id: &str, event: &str) -> Vec<Value> {
    let subject = format!("nalpaca.journal.v0.updates.{id}");
    until(&format!("{event} of {id} in the journal"), async || {
        let stored = world.stored(JOURNAL_STREAM, &subject).await;
        let updates: Vec<_> = stored.iter().map(Stored::message).collect();
        updates
            .iter()
            .any(|update| update["event"] == event)
            .then_some(updates)
    })
    .await
}

/// An order that rests, and is known to.
async fn rest(world: &World, id: &str, qty: &str) {
    let mut order = resting("BRK.B");
    order["qty"] = qty.into();
    world.order(id, &order).await;
    until_event(world, id, "new").await;
}

fn fill(world: &World, id: &str, qty: i64) {
    let filled = world.sim.fill(id, qty.into(), 400.into());
    filled.expect("the order can be filled");
}

#[tokio::test]
async fn every_event_is_told_once_in_order_in_the_journal_and_to_subscribers() {
    let world = World::start().await;
    rest(&world, "life.1", "10").await;
    for qty in [3, 3, 4] {
        fill(&world, "life.1", qty);
    }
    let updates = until_event(&world, "life.1", "fill").await;
    let expected = expect(&[
        ("pending_new", "0"),
        ("new", "0"),
        ("partial_fill", "3"),
        ("partial_fill", "6"),
        ("fill", "10"),
    ]);
    assert_eq!(story(&updates), expected);
    let last = updates.last().expect("there are some");
    assert_eq!(last["qty"], "4", "of this execution alone");
    assert_eq!(last["price"], "400");
    assert_eq!(last["position_qty"], "10");
    assert_eq!(last["recovered"], false);

    // Subscribers of the symbol get the same, in the same order.
    let fanned_out = until("the fan-out of the fill", async || {
        let fanned_out = world
            .stored(DATA_STREAM, "nalpaca.data.v0.tradeupdates.BRK=2EB")
            .await;
        let messages: Vec<_> = fanned_out.iter().map(Stored::message).collect();
        (messages.len() >= updates.len()).then_some(messages)
    })
    .await;
    assert_eq!(fanned_out, updates);
}

/// What the ledger says of an order now.
async fn record(world: &World, id: &str) -> Option<Value> {
    let value = world.value("nalpaca-orders", id).await?;
    Some(decode("tradesvc.v0.OrderRecord", &value))
}

/// Waits until the ledger shows an order in a status, and returns its record.
async fn until_recorded(world: &World, id: &str, status: &str) -> Value {
    until(&format!("{id} to be {status} in the ledger"), async || {
        let record = record(world, id).await?;
        (record["order"]["status"] == status).then_some(record)
    })
    .await
}

#[tokio::test]
async fn the_record_of_an_order_follows_its_life() {
    let mut world = World::start().await;
    rest(&world, "life.2", "10").await;
    until_recorded(&world, "life.2", "new").await;
    fill(&world, "life.2", 3);
    let partly = until_recorded(&world, "life.2", "partially_filled").await;
    assert_eq!(partly["state"], "RECORD_STATE_SETTLED");
    assert_eq!(partly["order"]["filled_qty"], "3");
    assert_eq!(partly["order"]["filled_avg_price"], "400");
    assert_eq!(partly["external"], false);
    // What happens while nobody listens is there when somebody does again.
    world.daemon.kill9();
    fill(&world, "life.2", 7);
    world.daemon.run();
    let filled = until_recorded(&world, "life.2", "filled").await;
    assert_eq!(filled["order"]["filled_qty"], "10");
    assert_eq!(
        filled["outcome"]["kind"], "OUTCOME_KIND_ACCEPTED",
        "the outcome stays"
    );
    // Old news change nothing.
    world.sim.repeat_events(3);
    rest(&world, "afterwards", "1").await;
    assert_eq!(record(&world, "life.2").await, Some(filled));
}

#[tokio::test]
async fn the_record_of_a_replaced_order_names_its_successor() {
    let world = World::start().await;
    rest(&world, "first", "10").await;
    let change = serde_json::json!({ "order": "first", "qty": "5" });
    world.replace("second", &change).await;
    let replaced = until_recorded(&world, "first", "replaced").await;
    let second = until_recorded(&world, "second", "new").await;
    assert_eq!(replaced["order"]["replaced_by"], second["order"]["id"]);
    assert_eq!(second["order"]["replaces"], replaced["order"]["id"]);
}

#[tokio::test]
async fn orders_placed_elsewhere_are_followed_and_a_command_cannot_take_their_ids() {
    let world = World::start().await;
    for id in ["from the dashboard", "dashboard.2"] {
        let order = serde_json::json!({
            "symbol": "MSFT", "qty": "4", "side": "buy", "type": "limit", "limit_price": "1",
            "time_in_force": "day", "client_order_id": id,
        });
        world.place_elsewhere(&order).await;
    }
    let record = until_recorded(&world, "dashboard.2", "new").await;
    assert_eq!(record["state"], "RECORD_STATE_EXTERNAL");
    assert_eq!(record["external"], true);
    assert_eq!(record["order"]["symbol"], "MSFT");
    // Blanks are no part of an id a command could have; its events are in the journal all the same.
    until_event(&world, "from=20the=20dashboard", "new").await;
    // The venue is asked before anything is sent under an id it is known to have.
    world.order("dashboard.2", &buy("AAPL", "1")).await;
    let outcome = world.outcome("dashboard.2").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_CONFLICT", "{outcome}");
    assert_eq!(world.posts_of("dashboard.2").len(), 1, "the one from elsewhere");
    world.cancel("dashboard.2").await;
    let canceled = until_recorded(&world, "dashboard.2", "canceled").await;
    assert_eq!(canceled["order"]["filled_qty"], "0");
}

#[tokio::test]
async fn a_stream_that_has_gone_mute_is_found_and_replaced() {
    let world = World::start().await;
    rest(&world, "unheard", "2").await;
    world.sim.mute_streams(true);
    fill(&world, "unheard", 2);
    // The line is open, and pings are answered.
    let updates = until_event(&world, "unheard", "fill").await;
    assert_eq!(fills(&updates), expect(&[("fill", "2")]));
    until("the mute stream to be counted", async || {
        let metrics = world.daemon.get("/metrics").await?;
        metrics.body.contains("nalpaca_stream_mute_total 1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_emptied_bucket_does_not_make_a_first_start() {
    let mut world = World::start().await;
    rest(&world, "old.hand", "2").await;
    world.daemon.kill9();
    fill(&world, "old.hand", 2);
    // Our own refusals are no sign of how far the venue's events have come.
    let refusal = serde_json::json!({
        "at": "2999-01-01T00:00:00Z", "timestamp": "2999-01-01T00:00:00Z", "event": "rejected",
        "order": { "client_order_id": "refused" },
    });
    for number in 0..3 {
        let payload = encode("tradesvc.v0.TradeUpdate", &refusal);
        let subject = format!("nalpaca.journal.v0.updates.refused.{number}");
        let stored = world
            .jetstream
            .publish(subject, payload.into())
            .await
            .expect("publish");
        stored.await.expect("it is stored");
    }
    let bucket = world
        .jetstream
        .get_stream("KV_nalpaca")
        .await
        .expect("it is there");
    bucket.purge().await.expect("it can be emptied");
    world.daemon.run();
    let updates = until_event(&world, "old.hand", "fill").await;
    assert_eq!(fills(&updates), expect(&[("fill", "2")]));
    let log = world.daemon.log();
    assert!(
        log.contains("the watermark is gone") && !log.contains("at=2999"),
        "{log}"
    );
}

#[tokio::test]
async fn an_event_told_twice_is_published_once() {
    let world = World::start().await;
    rest(&world, "twice", "2").await;
    fill(&world, "twice", 1);
    fill(&world, "twice", 1);
    until_event(&world, "twice", "fill").await;
    world.sim.repeat_events(3);
    // What is told after the repetition shows that the repetition was heard.
    rest(&world, "afterwards", "1").await;
    let updates = until_event(&world, "twice", "fill").await;
    let fills = fills(&updates);
    assert_eq!(fills, expect(&[("partial_fill", "1"), ("fill", "2")]));
}

#[tokio::test]
async fn what_happens_while_the_line_is_down_is_told_when_it_is_back() {
    let mut world = World::start().await;
    rest(&world, "gap.1", "3").await;
    fill(&world, "gap.1", 1);
    until_event(&world, "gap.1", "partial_fill").await;
    world.sim.refuse_streams_for(Duration::from_secs(600));
    world.sim.drop_streams();
    // The daemon hears nothing now, so what is told is told to nobody.
    world.daemon.not_ready("blind").await;
    fill(&world, "gap.1", 1);
    fill(&world, "gap.1", 1);
    world.sim.refuse_streams_for(Duration::ZERO);
    let updates = until_event(&world, "gap.1", "fill").await;
    let fills: Vec<_> = updates
        .iter()
        .filter(|update| update["qty"] != "")
        .cloned()
        .collect();
    let expected = expect(&[("partial_fill", "1"), ("partial_fill", "2"), ("fill", "3")]);
    assert_eq!(story(&fills), expected);
    assert_eq!(fills[0]["recovered"], false);
    assert_eq!(fills[2]["recovered"], true);
}

#[tokio::test]
async fn what_happens_while_no_daemon_runs_is_told_by_the_next_one() {
    let mut world = World::start().await;
    rest(&world, "over.night", "2").await;
    world.daemon.kill9();
    fill(&world, "over.night", 1);
    fill(&world, "over.night", 1);
    world.daemon.run();
    let updates = until_event(&world, "over.night", "fill").await;
    let fills = fills(&updates);
    assert_eq!(fills, expect(&[("partial_fill", "1"), ("fill", "2")]));
    // The journal knows it all; one more start adds nothing.
    world.daemon.ready().await;
    assert_eq!(world.daemon.terminate().await, 0);
    world.daemon.run();
    world.daemon.ready().await;
    assert_eq!(until_event(&world, "over.night", "fill").await, updates);
}

#[tokio::test]
async fn a_fill_lost_on_a_line_that_stands_is_found_when_the_next_one_is_heard() {
    let world = World::start().await;
    rest(&world, "mute", "3").await;
    world.sim.mute_streams(true);
    fill(&world, "mute", 1);
    // The event leaves the venue a moment after the fill; then the line may speak again.
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.sim.mute_streams(false);
    fill(&world, "mute", 2);
    let updates = until_event(&world, "mute", "fill").await;
    let fills = fills(&updates);
    assert_eq!(fills, expect(&[("partial_fill", "1"), ("fill", "3")]));
}

#[tokio::test]
async fn while_the_venue_is_not_heard_orders_wait_and_cancels_pass() {
    let mut world = World::start().await;
    rest(&world, "working", "1").await;
    // A stream that is up is not enough: what was missed must be known, too.
    let broken = Reply::status(500, "{}");
    world.sim.script().always(Endpoint::ListOrders, broken);
    world.sim.drop_streams();
    world.daemon.not_ready("blind").await;
    until("the stream to be up again", async || {
        world.sim.stream_is_connected().then_some(())
    })
    .await;
    world.order("waits", &buy("AAPL", "1")).await;
    world.cancel("working").await;
    let canceled = world.outcomes("working", 2).await[1].message();
    assert_eq!(canceled["kind"], "OUTCOME_KIND_ACCEPTED", "{canceled}");
    world.daemon.not_ready("blind").await;
    assert!(world.posts_of("waits").is_empty(), "it must not be sent blindly");
    world.sim.script().clear();
    assert_eq!(world.outcome("waits").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.daemon.ready().await;
    until_event(&world, "waits", "fill").await;
    until_event(&world, "working", "canceled").await;
}

#[tokio::test]
async fn blindness_that_is_allowed_holds_nothing() {
    let mut world = Plan::new().set("BLIND_POLICY", "allow").start().await;
    world.sim.refuse_streams_for(Duration::from_secs(600));
    world.sim.drop_streams();
    until("the daemon to say that it is blind", async || {
        let answer = world.daemon.get("/readyz").await?;
        answer.body.contains("[!]blind").then_some(())
    })
    .await;
    world.daemon.ready().await;
    world.order("seen-by-nobody", &buy("AAPL", "1")).await;
    let outcome = world.outcome("seen-by-nobody").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
}

#[tokio::test]
async fn without_trade_updates_no_stream_is_opened_and_orders_are_served() {
    let world = Plan::new().set("ENABLE_TRADE_UPDATER", "false").start().await;
    world.order("quiet", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("quiet").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.filled("quiet").await;
    assert!(!world.sim.stream_is_connected());
    let answer = world.daemon.get("/readyz").await.unwrap();
    assert!(
        answer.body.contains("ENABLE_TRADE_UPDATER=false"),
        "{}",
        answer.body
    );
    let updates = world.stored(JOURNAL_STREAM, "nalpaca.journal.v0.updates.>").await;
    assert!(updates.is_empty(), "{updates:?}");
}

#[tokio::test]
async fn the_users_durable_gets_each_event_once_and_waits_for_them_while_they_are_away() {
    let mut world = World::start().await;
    rest(&world, "durable.1", "2").await;
    world.daemon.kill9();
    world.daemon.run();
    fill(&world, "durable.1", 2);
    let updates = until_event(&world, "durable.1", "fill").await;
    let durable: PullConsumer = world
        .jetstream
        .get_consumer_from_stream("nalpaca-tradeupdate-consumer-v0", DATA_STREAM)
        .await
        .expect("the daemon provides it");
    let mut messages = durable
        .fetch()
        .max_messages(100)
        .expires(Duration::from_millis(500))
        .messages()
        .await
        .expect("it can be read");
    let mut seen = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message.expect("a message");
        seen.push(decode("tradesvc.v0.TradeUpdate", &message.payload));
        message.ack().await.expect("it can be acked");
    }
    assert_eq!(seen, updates);
}

#[tokio::test]
async fn what_a_full_data_stream_drops_is_in_the_journal_and_slows_nobody() {
    let world = World::start().await;
    // Nobody reads the durable, and the stream has room for three.
    let stream = world
        .jetstream
        .get_stream(DATA_STREAM)
        .await
        .expect("it is there");
    let small = jetstream::stream::Config {
        max_messages: 3,
        ..stream.cached_info().config.clone()
    };
    world
        .jetstream
        .update_stream(small)
        .await
        .expect("it can be edited");
    let live = world
        .nats
        .options()
        .connect(world.nats.url())
        .await
        .expect("connect a subscriber");
    let mut heard = live
        .subscribe("nalpaca.data.v0.tradeupdates.>")
        .await
        .expect("subscribe");
    live.flush().await.expect("the subscription is there");
    for number in 1..=4 {
        let id = format!("many.{number}");
        world.order(&id, &buy("AAPL", "1")).await;
        until_event(&world, &id, "fill").await;
    }
    let journaled = world.stored(JOURNAL_STREAM, "nalpaca.journal.v0.updates.>").await;
    assert!(journaled.len() >= 12, "{}", journaled.len());
    let kept = world.stored(DATA_STREAM, "nalpaca.data.v0.tradeupdates.>").await;
    assert!(kept.len() <= 3, "{}", kept.len());
    // Whoever listened live missed nothing either.
    for expected in &journaled {
        let message = tokio::time::timeout(Duration::from_secs(10), heard.next()).await;
        let message = message.expect("in time").expect("the subscription lives");
        assert_eq!(message.payload, expected.payload);
    }
}

#[tokio::test]
async fn a_bust_is_told_and_takes_back_what_the_record_said() {
    let world = World::start().await;
    rest(&world, "busted", "2").await;
    fill(&world, "busted", 1);
    fill(&world, "busted", 1);
    let filled = until_recorded(&world, "busted", "filled").await;
    let bust = serde_json::json!({
        "stream": "trade_updates",
        "data": {
            "event": "trade_bust",
            "timestamp": "2026-11-20T12:00:00Z",
            "order": {
                "id": filled["order"]["id"], "client_order_id": "busted", "symbol": "BRK.B", "status": "partially_filled",
                "side": "buy", "qty": "2", "filled_qty": "1", "filled_avg_price": "400",
            },
        },
    });
    // Twice, as the venue repeats itself.
    for _ in 0..2 {
        world.sim.send_raw_frame(bust.to_string());
    }
    let updates = until_event(&world, "busted", "trade_bust").await;
    let record = until("the record to take the fill back", async || {
        let record = record(&world, "busted").await?;
        (record["order"]["filled_qty"] == "1").then_some(record)
    })
    .await;
    assert_eq!(record["order"]["status"], "filled", "what is over stays over");
    assert_eq!(story(&updates).last(), expect(&[("trade_bust", "1")]).last());
    rest(&world, "afterwards", "1").await;
    let told = until_event(&world, "busted", "trade_bust").await;
    let busts = told.iter().filter(|update| update["event"] == "trade_bust");
    assert_eq!(busts.count(), 1);
}

#[tokio::test]
async fn what_the_venue_leaves_out_and_what_nobody_knows_passes_through() {
    let world = World::start().await;
    rest(&world, "odd", "2").await;
    let known = until_recorded(&world, "odd", "new").await;
    let frame = |event: &str, status: &str| {
        let data = serde_json::json!({
            "event": event,
            "order": { "id": known["order"]["id"], "client_order_id": "odd", "status": status, "qty": "2", "filled_qty": "0" },
        });
        serde_json::json!({ "stream": "trade_updates", "data": data }).to_string()
    };
    for text in [
        r#"{"stream":"trade_updates","data":null}"#.to_owned(),
        "no JSON at all".to_owned(),
        frame("meteor_strike", "meteor_struck"),
    ] {
        world.sim.send_raw_frame(text);
    }
    let updates = until_event(&world, "odd", "meteor_strike").await;
    let strike = updates.last().expect("there is one");
    assert_eq!(strike["order"]["status"], "meteor_struck");
    assert_eq!(
        (&strike["execution_id"], &strike["event_id"]),
        (&"".into(), &"".into())
    );
    fill(&world, "odd", 2);
    until_event(&world, "odd", "fill").await;
    until_recorded(&world, "odd", "filled").await;
}
