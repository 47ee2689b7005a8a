//! Orders from their subject to the venue and back into the journal.

use std::time::Duration;

use async_nats::HeaderMap;
use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::{Value, json};

use crate::support::order::{With as _, buy, market, resting};
use crate::support::proto::decode;
use crate::support::world::{ACTION_STREAM, DATA_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{Stored, World, proto, until};

/// A call on SPY.
fn call(strike: u32) -> String {
    format!("SPY301220C{strike:05}000")
}

fn body(world: &World, id: &str) -> Value {
    let posts = world.posts_of(id);
    assert_eq!(posts.len(), 1, "{id} was POSTed {} times", posts.len());
    serde_json::from_str(&posts[0].body).expect("an order is JSON")
}

#[tokio::test]
async fn a_market_order_is_accepted_and_filled() {
    let world = World::start().await;
    world.order("a1", &buy("AAPL", "2")).await;
    let outcome = world.outcome("a1").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(outcome["command"], "COMMAND_KIND_ORDER");
    assert_eq!(outcome["attempts"], 1);
    world.filled("a1").await;
    let order = world.sim.order("a1").expect("the venue has it");
    assert_eq!(outcome["order_id"], order.id.to_string());
    assert_eq!(outcome["order"]["symbol"], "AAPL");
    world.settled().await;
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn protobuf_and_both_kinds_of_json_mean_the_same_order() {
    let world = World::start().await;
    let order = buy("BRK.B", "1.5");
    world.order("protobuf", &order).await;
    let mut declared = HeaderMap::new();
    declared.insert("Content-Type", "application/json");
    let canonical = order.to_string();
    world
        .publish("orders.canonical", declared, canonical)
        .await
        .unwrap();
    let lenient = r#"{"symbol":"BRK.B","qty":1.50,"side":"buy","order_type":"market","tif":"day"}"#;
    world
        .publish("orders.lenient", HeaderMap::new(), lenient)
        .await
        .unwrap();
    let mut bodies = Vec::new();
    for id in ["protobuf", "canonical", "lenient"] {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{id}: {outcome}");
        let mut body = body(&world, id);
        assert_eq!(body["client_order_id"], id);
        body["client_order_id"] = Value::Null;
        body["qty"] = json!(body["qty"].as_str().unwrap().trim_end_matches('0'));
        bodies.push(body);
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
}

#[tokio::test]
async fn every_kind_of_order_reaches_the_venue_as_it_was_published() {
    let world = World::start().await;
    for (symbol, price) in [("AAPL", 230), ("MSFT", 450), ("SPY", 600), ("BTC/USD", 95_000)] {
        world.sim.set_price(symbol, price.into());
    }
    // Something to sell, for the orders that leave a position.
    for symbol in ["AAPL", "MSFT"] {
        let id = format!("hold-{symbol}");
        world.order(&id, &buy(symbol, "20")).await;
        world.filled(&id).await;
    }
    let limit = |price: &str| json!({"order_type": "ORDER_TYPE_LIMIT", "limit_price": price});
    let sell = |symbol: &str| market("SIDE_SELL", symbol, "2");
    let cases = [
        (
            "market-notional",
            buy("SPY", "1").with(json!({"qty": null, "notional": "50.25"})),
            json!({"type": "market", "notional": "50.25", "time_in_force": "day"}),
        ),
        (
            "limit",
            buy("SPY", "1")
                .with(limit("590.5"))
                .with(json!({"tif": "TIME_IN_FORCE_GTC"})),
            json!({"type": "limit", "limit_price": "590.5", "time_in_force": "gtc"}),
        ),
        (
            "extended-hours",
            buy("SPY", "1")
                .with(limit("590"))
                .with(json!({"extended_hours": true})),
            json!({"extended_hours": true}),
        ),
        (
            "stop",
            buy("SPY", "1").with(json!({"order_type": "ORDER_TYPE_STOP", "stop_price": "610"})),
            json!({"type": "stop", "stop_price": "610"}),
        ),
        (
            "stop-limit",
            buy("SPY", "1").with(json!({
                "order_type": "ORDER_TYPE_STOP_LIMIT", "stop_price": "610", "limit_price": "611",
            })),
            json!({"type": "stop_limit", "stop_price": "610", "limit_price": "611"}),
        ),
        (
            "trailing-by-dollars",
            sell("MSFT").with(json!({"order_type": "ORDER_TYPE_TRAILING_STOP", "trail_price": "5"})),
            json!({"type": "trailing_stop", "trail_price": "5"}),
        ),
        (
            "trailing-by-percent",
            sell("MSFT").with(json!({"order_type": "ORDER_TYPE_TRAILING_STOP", "trail_percent": "1.5"})),
            json!({"type": "trailing_stop", "trail_percent": "1.5"}),
        ),
        (
            "bracket",
            buy("SPY", "1").with(limit("590")).with(json!({
                "class": "ORDER_CLASS_BRACKET",
                "take_profit": {"limit_price": "650"},
                "stop_loss": {"stop": "550", "limit": "549"},
            })),
            json!({
                "order_class": "bracket",
                "take_profit": {"limit_price": "650"},
                "stop_loss": {"stop_price": "550", "limit_price": "549"},
            }),
        ),
        (
            "oco",
            sell("AAPL").with(limit("300")).with(json!({
                "class": "ORDER_CLASS_OCO",
                "take_profit": {"limit_price": "300"},
                "stop_loss": {"stop": "200"},
            })),
            json!({"order_class": "oco", "stop_loss": {"stop_price": "200"}}),
        ),
        (
            "oto",
            buy("SPY", "1").with(limit("590")).with(json!({
                "class": "ORDER_CLASS_OTO", "stop_loss": {"stop": "550"},
            })),
            json!({"order_class": "oto", "stop_loss": {"stop_price": "550"}}),
        ),
        (
            "crypto",
            buy("BTC/USD", "0.001").with(json!({"tif": "TIME_IN_FORCE_GTC"})),
            json!({"symbol": "BTC/USD", "qty": "0.001"}),
        ),
        (
            "option",
            buy(&call(600), "1").with(json!({"position_intent": "POSITION_INTENT_BUY_TO_OPEN"})),
            json!({"symbol": call(600), "position_intent": "buy_to_open"}),
        ),
        (
            "spread",
            json!({
                "class": "ORDER_CLASS_MLEG", "qty": "1", "tif": "TIME_IN_FORCE_DAY",
                "order_type": "ORDER_TYPE_LIMIT", "limit_price": "1",
                "legs": [
                    {"symbol": call(610), "ratio_qty": "1", "side": "SIDE_BUY",
                     "position_intent": "POSITION_INTENT_BUY_TO_OPEN"},
                    {"symbol": call(620), "ratio_qty": "1", "side": "SIDE_SELL",
                     "position_intent": "POSITION_INTENT_SELL_TO_OPEN"},
                ],
            }),
            json!({"order_class": "mleg", "limit_price": "1"}),
        ),
    ];
    for (id, order, _) in &cases {
        world.order(id, order).await;
    }
    for (id, _, expected) in &cases {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{id}: {outcome}");
        let body = body(&world, id);
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&body[field], value, "{id}: {field} in {body}");
        }
    }
    let spread = body(&world, "spread");
    assert_eq!(spread["legs"].as_array().unwrap().len(), 2, "{spread}");
    world.settled().await;
}

#[tokio::test]
async fn an_outcome_says_which_command_it_is_of() {
    let world = World::start().await;
    let mut headers = HeaderMap::new();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    headers.insert("traceparent", trace);
    let payload = proto::encode("tradesvc.v0.Trade", &buy("AAPL", "1"));
    let ack = world
        .publish("orders.momentum.7", headers, payload)
        .await
        .unwrap();
    let stored = world.outcomes("momentum.7", 1).await.remove(0);
    let outcome = stored.message();
    assert_eq!(outcome["client_order_id"], "momentum.7");
    assert_eq!(outcome["stream_sequence"], ack.sequence);
    let stream = world.jetstream.get_stream(ACTION_STREAM).await.unwrap();
    let created = stream.cached_info().created.unix_timestamp_nanos();
    let at = |field: &str| -> jiff::Timestamp { outcome[field].as_str().unwrap().parse().unwrap() };
    assert_eq!(at("stream_created").as_nanosecond(), created);
    assert_eq!(
        at("deadline").duration_since(at("stored_at")).as_secs(),
        120,
        "the default age"
    );
    assert!(at("stored_at") <= at("at"));
    assert_eq!(outcome["terminal"], true);
    assert_eq!(outcome["http_status"], 200);
    assert_ne!(outcome["request_id"], "", "support asks for it");
    assert_eq!(stored.header("Nalpaca-Schema"), "tradesvc.v0.Outcome");
    assert_eq!(stored.header("traceparent"), trace);
    let id = stored.header("Nats-Msg-Id");
    assert!(id.ends_with(&format!("-{}", ack.sequence)), "{id}");
}

#[tokio::test]
async fn a_rejection_is_told_in_the_venues_words() {
    let world = World::start().await;
    world.order("rich.1", &buy("BRK.B", "100000")).await;
    let outcome = world.outcome("rich.1").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_REJECTED", "{outcome}");
    assert_eq!(outcome["code"], 40_310_000);
    assert_eq!(outcome["http_status"], 403);
    assert_eq!(outcome["message"], "insufficient buying power");
    let update = world.journal("updates.rich.1", 1).await.remove(0);
    let fanned_out = world
        .stored(DATA_STREAM, "nalpaca.data.v0.tradeupdates.BRK=2EB")
        .await;
    assert_eq!(fanned_out.len(), 1);
    assert_eq!(fanned_out[0].payload, update.payload);
    assert_eq!(fanned_out[0].header("Nalpaca-Schema"), "tradesvc.v0.TradeUpdate");
    let update = update.message();
    assert_eq!(update["event"], "rejected");
    assert_eq!(update["reason"], "rejected: insufficient buying power");
    assert_eq!(update["order"]["client_order_id"], "rich.1");
    assert_eq!(update["order"]["symbol"], "BRK.B");
    world.settled().await;
}

#[tokio::test]
async fn the_same_order_again_repeats_its_outcome_and_posts_nothing() {
    let world = World::start().await;
    world.order("twice", &buy("AAPL", "1")).await;
    world.outcomes("twice", 1).await;
    // Another spelling of the same number, and a deadline, are the same order.
    let again = buy("AAPL", "1.0").with(json!({"valid_until": "2100-01-01T00:00:00Z"}));
    let ack = world.order("twice", &again).await;
    let outcomes = world.outcomes("twice", 2).await;
    let (first, second) = (outcomes[0].message(), outcomes[1].message());
    assert_eq!(first["repeated"], false);
    assert_eq!(second["repeated"], true, "{second}");
    assert_eq!(second["kind"], "OUTCOME_KIND_ACCEPTED");
    assert_eq!(second["order_id"], first["order_id"]);
    assert_eq!(second["stream_sequence"], ack.sequence);
    world.settled().await;
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn another_order_under_a_used_id_is_a_conflict_and_is_not_sent() {
    let world = World::start().await;
    world.order("mine", &buy("AAPL", "1")).await;
    let first = world.outcome("mine").await;
    world.order("mine", &buy("AAPL", "2")).await;
    let second = world.outcomes("mine", 2).await[1].message();
    assert_eq!(second["kind"], "OUTCOME_KIND_CONFLICT", "{second}");
    assert_eq!(second["order_id"], first["order_id"]);
    world.settled().await;
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn an_order_past_its_deadline_is_never_sent() {
    let world = World::start().await;
    let order = buy("AAPL", "1").with(json!({"valid_until": "2020-01-01T00:00:00Z"}));
    world.order("late", &order).await;
    let outcome = world.outcome("late").await;
    assert_eq!(outcome["kind"], "OUTCOME_KIND_EXPIRED", "{outcome}");
    assert_eq!(outcome["attempts"], 0);
    let update = world.journal("updates.late", 1).await.remove(0).message();
    assert_eq!(update["event"], "rejected");
    world.settled().await;
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn a_backlog_is_served_unless_it_grew_too_old() {
    const AGE: Duration = Duration::from_millis(300);
    let mut world = Plan::new().set("ORDER_MAX_AGE", "300ms").start().await;
    assert_eq!(world.daemon.terminate().await, 0);
    world.order("old", &buy("AAPL", "1")).await;
    let patient = buy("MSFT", "1").with(json!({"valid_until": "2100-01-01T00:00:00Z"}));
    world.order("patient", &patient).await;
    tokio::time::sleep(AGE).await; // the order must grow old, and nothing tells when
    world.daemon.run();
    assert_eq!(world.outcome("old").await["kind"], "OUTCOME_KIND_EXPIRED");
    assert_eq!(world.outcome("patient").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    assert!(world.posts_of("old").is_empty());
}

#[tokio::test]
async fn orders_of_one_symbol_go_in_stream_order_and_others_beside_them() {
    const SLOW: Duration = Duration::from_millis(300);
    let world = World::start().await;
    let to = |id: &str| Matcher::endpoint(Endpoint::SubmitOrder).containing(id);
    world.sim.script().next(to("slow-1"), Reply::Delay(SLOW));
    world.sim.script().next(to("slow-2"), Reply::Delay(SLOW));
    for id in ["slow-1", "slow-2", "slow-3"] {
        world.order(id, &resting("AAPL")).await;
    }
    world.order("other", &resting("MSFT")).await;
    world.settled().await;
    let received = |id: &str| world.posts_of(id)[0].received_at;
    assert!(received("slow-2") >= received("slow-1") + SLOW);
    assert!(received("slow-3") >= received("slow-2") + SLOW);
    assert!(
        received("other") < received("slow-2"),
        "another symbol waits for nobody"
    );
}

#[tokio::test]
async fn a_spread_that_fills_is_told_once_by_its_parent() {
    let world = World::start().await;
    let spread = json!({
        "class": "ORDER_CLASS_MLEG", "qty": "1", "tif": "TIME_IN_FORCE_DAY", "order_type": "ORDER_TYPE_MARKET",
        "legs": [
            {"symbol": call(610), "ratio_qty": "1", "side": "SIDE_BUY",
             "position_intent": "POSITION_INTENT_BUY_TO_OPEN"},
            {"symbol": call(620), "ratio_qty": "1", "side": "SIDE_SELL",
             "position_intent": "POSITION_INTENT_SELL_TO_OPEN"},
        ],
    });
    world.order("spread.1", &spread).await;
    let subject = "nalpaca.journal.v0.updates.spread.1";
    let updates = until("the fill of the spread", async || {
        let stored = world.stored(JOURNAL_STREAM, subject).await;
        let updates: Vec<_> = stored.iter().map(Stored::message).collect();
        updates
            .iter()
            .any(|update| update["event"] == "fill")
            .then_some(updates)
    })
    .await;
    let fills: Vec<_> = updates
        .iter()
        .filter(|update| update["event"] == "fill")
        .collect();
    assert_eq!(fills.len(), 1, "{updates:?}");
    assert_eq!(fills[0]["order"]["symbol"], "");
    assert_eq!(fills[0]["order"]["legs"].as_array().unwrap().len(), 2);
    // What has no symbol of its own is fanned out under a token of its own.
    let fanned_out = world.stored(DATA_STREAM, "nalpaca.data.v0.tradeupdates._").await;
    assert!(
        fanned_out
            .iter()
            .any(|update| update.message()["event"] == "fill")
    );
    let all = world.stored(JOURNAL_STREAM, "nalpaca.journal.v0.updates.>").await;
    assert!(
        all.iter().all(|update| update.subject == subject),
        "no leg is told of apart"
    );
    // Both legs are held, and nothing is found amiss with their sum.
    until("both legs in the positions", async || {
        let value = world.value("nalpaca", "positions").await?;
        let positions = decode("tradesvc.v0.Positions", &value);
        (positions["positions"].as_array()?.len() == 2).then_some(())
    })
    .await;
    until("the record of the spread", async || {
        let record = decode(
            "tradesvc.v0.OrderRecord",
            &world.value("nalpaca-orders", "spread.1").await?,
        );
        (record["order"]["status"] == "filled").then_some(())
    })
    .await;
}
