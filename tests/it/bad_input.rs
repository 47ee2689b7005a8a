//! What cannot be read, or makes no sense: a clear end for each, and nothing lost behind it.

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use serde_json::{Value, json};

use crate::support::order::{With as _, buy, resting};
use crate::support::{World, proto};

fn trade(order: &Value) -> Vec<u8> {
    proto::encode("tradesvc.v0.Trade", order)
}

fn with(changes: Value) -> Vec<u8> {
    trade(&buy("AAPL", "1").with(changes))
}

#[tokio::test]
async fn what_cannot_be_read_is_invalid_and_kept_and_its_neighbour_is_served() {
    let mut world = World::start().await;
    // What is published, and a word that tells the publisher what to mend.
    let cases: [(&str, Vec<u8>, &str); 16] = [
        ("empty", Vec::new(), "empty"),
        ("gibberish", vec![0xff; 40], "tradesvc.v0.Trade"),
        ("cut-short", with(json!({}))[..5].to_vec(), "tradesvc.v0.Trade"),
        ("half-json", br#"{"symbol":"AAPL","qty""#.to_vec(), ""),
        ("json-not-utf8", b"{\"symbol\":\"\xff\"}".to_vec(), "UTF-8"),
        ("json-unknown-field", br#"{"symbl":"AAPL"}"#.to_vec(), "symbl"),
        ("both-sizes", with(json!({"notional": "10"})), "notional"),
        ("no-size", with(json!({"qty": null})), "qty or notional"),
        ("negative", with(json!({"qty": "-1"})), "qty"),
        ("no-number", with(json!({"qty": "1e5x"})), "qty"),
        ("no-side", with(json!({"side": null})), "side"),
        ("no-symbol", with(json!({"symbol": null})), "symbol"),
        ("no-type", with(json!({"order_type": null})), "order_type"),
        ("no-tif", with(json!({"tif": null})), "tif"),
        ("unknown-side", with(json!({"side": 99})), "99"),
        (
            "market-with-limit",
            with(json!({"limit_price": "1"})),
            "limit_price",
        ),
    ];
    for (id, payload, _) in &cases {
        let neighbour = format!("after-{id}");
        world
            .publish(&format!("orders.{id}"), HeaderMap::new(), payload.clone())
            .await
            .unwrap();
        world.order(&neighbour, &resting("AAPL")).await;
    }
    let dead = world.journal("dead.orders", cases.len()).await;
    for (id, payload, word) in &cases {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_INVALID", "{id}: {outcome}");
        assert_eq!(outcome["client_order_id"], *id);
        assert_eq!(outcome["terminal"], true, "{id}");
        let message = outcome["message"].as_str().unwrap();
        assert!(!message.is_empty() && message.contains(word), "{id}: {message}");
        let update = world.journal(&format!("updates.{id}"), 1).await.remove(0);
        assert_eq!(update.message()["event"], "rejected", "{id}");

        let subject = format!("nalpaca.action.v0.orders.{id}");
        let letter = dead
            .iter()
            .find(|letter| letter.header("Nalpaca-Subject") == subject);
        let letter = letter.unwrap_or_else(|| panic!("{id} is not kept"));
        assert_eq!(letter.payload, payload.as_slice(), "{id} is not kept as it was");
        assert_eq!(letter.header("Nalpaca-Reason"), message, "{id}");
        let sequence = outcome["stream_sequence"].to_string();
        assert_eq!(letter.header("Nalpaca-Stream-Sequence"), sequence, "{id}");

        let neighbour = world.outcome(&format!("after-{id}")).await;
        assert_eq!(
            neighbour["kind"], "OUTCOME_KIND_ACCEPTED",
            "after {id}: {neighbour}"
        );
    }
    world.settled().await;
    assert_eq!(dead.len(), cases.len());
    assert_eq!(world.posts(), cases.len(), "only the neighbours were sent");
    world.daemon.ready().await;
}

#[tokio::test]
async fn an_id_that_is_none_is_invalid_and_its_outcome_is_found_under_its_subject() {
    let mut world = World::start().await;
    let long = "x".repeat(200);
    let cases = [
        (long.as_str(), "128"),
        ("momentum=2Ex", "momentum.x"),
        ("lower=2ehex", "=HH"),
        ("half=4", "=HH"),
        ("ALL", "reserved"),
        ("momentum.ALL", "reserved"),
    ];
    for (id, _) in cases {
        world.order(id, &buy("AAPL", "1")).await;
    }
    world.order("momentum.x", &resting("AAPL")).await;
    for (id, word) in cases {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_INVALID", "{id}: {outcome}");
        let message = outcome["message"].as_str().unwrap();
        assert!(message.contains(word), "{id}: {message}");
    }
    assert_eq!(world.outcome("momentum.x").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    assert_eq!(world.posts(), 1);
    world.daemon.ready().await;
}

#[tokio::test]
async fn a_command_that_is_too_large_is_refused_at_the_door() {
    let mut world = World::start().await;
    for size in [64 * 1024 + 1, 256 * 1024] {
        let refused = world
            .publish("orders.large", HeaderMap::new(), vec![b'{'; size])
            .await
            .expect_err("the publisher is told");
        assert!(refused.to_string().contains("maximum"), "{size} bytes: {refused}");
    }
    // A whole megabyte does not even leave the client, or ends in the server; either way the publisher knows.
    let refused = world
        .publish("orders.large", HeaderMap::new(), vec![b'{'; 1024 * 1024])
        .await;
    assert_ne!(
        refused.expect_err("the publisher is told").kind(),
        PublishErrorKind::TimedOut
    );
    world.order("small", &resting("AAPL")).await;
    assert_eq!(world.outcome("small").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world.settled().await;
    world.daemon.ready().await;
}

#[tokio::test]
async fn what_only_the_venue_can_judge_is_left_to_the_venue() {
    let world = World::start().await;
    world.order("unknown-symbol", &buy("NOPE", "1")).await;
    let fraction = resting("AAPL").with(json!({"limit_price": "1.00001"}));
    world.order("off-the-grid", &fraction).await;
    for (id, word) in [("unknown-symbol", "NOPE"), ("off-the-grid", "sub-penny")] {
        let outcome = world.outcome(id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_REJECTED", "{id}: {outcome}");
        let message = outcome["message"].as_str().unwrap();
        assert!(message.contains(word), "{id}: {message}");
        assert_ne!(outcome["code"], 0);
    }
    world.settled().await;
}

#[tokio::test]
async fn replaces_and_closes_that_make_no_sense_are_invalid_and_name_the_field() {
    let world = World::start().await;
    let cases = [
        ("replace", json!({"order": "working"}), "nothing is changed"),
        ("replace", json!({"limit_price": "2"}), "order is required"),
        (
            "replace",
            json!({"order": "a b", "limit_price": "2"}),
            "order: client order id",
        ),
        (
            "replace",
            json!({"order": "working", "qty": "-1"}),
            "qty must be greater than zero",
        ),
        ("replace", json!({"order": "i4", "qty": "1"}), "give it a new one"),
        ("close", json!({}), "symbol is required, or all"),
        (
            "close",
            json!({"symbol": "AAPL", "all": true}),
            "give one of them",
        ),
        (
            "close",
            json!({"symbol": "AAPL", "percentage": "100.5"}),
            "at most 100",
        ),
        (
            "close",
            json!({"symbol": "AAPL", "qty": "1", "percentage": "5"}),
            "or neither",
        ),
        ("close", json!({"all": true, "qty": "1"}), "qty is given"),
    ];
    for (at, (kind, message, expected)) in cases.iter().enumerate() {
        let id = format!("i{at}");
        world
            .publish(&format!("{kind}.{id}"), HeaderMap::new(), message.to_string())
            .await
            .unwrap();
        let outcome = world.outcome(&id).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_INVALID", "{message}: {outcome}");
        let said = outcome["message"].as_str().unwrap();
        assert!(said.contains(expected), "{message}: {said}");
    }
    world.settled().await;
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn headers_of_a_publisher_do_no_harm() {
    let world = World::start().await;
    let hostile = [
        ("Content-Type", "application/json; charset=\"utf-8"),
        ("Content-Type", "text/html"),
        ("traceparent", "not a trace at all"),
        ("Nalpaca-Schema", "tradesvc.v0.Outcome"),
        ("X-Very-Long", "long"),
    ];
    for (at, (name, value)) in hostile.into_iter().enumerate() {
        let mut headers = HeaderMap::new();
        let value = if value == "long" {
            "x".repeat(8000)
        } else {
            value.to_owned()
        };
        headers.insert(name, value);
        let json = resting("AAPL").to_string();
        world
            .publish(&format!("orders.h{at}"), headers, json)
            .await
            .unwrap();
        let outcome = world.outcome(&format!("h{at}")).await;
        assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{name}: {outcome}");
    }
    world.settled().await;
}
