//! The service: every endpoint, in JSON and in protobuf, and what it says when something is wrong.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::order::{buy, resting};
use crate::support::proto::{decode, encode};
use crate::support::world::{ACTION_STREAM, Plan};
use crate::support::{World, until};

/// Asks in protobuf, and reads the answer by the name its header gives.
async fn ask_in_protobuf(world: &World, endpoint: &str, message: &str, question: &Value) -> Value {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/protobuf");
    let answer = world
        .jetstream
        .client()
        .request_with_headers(
            format!("nalpaca.svc.v0.{endpoint}"),
            headers,
            encode(message, question).into(),
        )
        .await
        .expect("an answer");
    let headers = answer.headers.expect("it has headers");
    assert!(headers.get("Nats-Service-Error").is_none(), "{headers:?}");
    let schema = headers.get("Nalpaca-Schema").expect("it names its message");
    decode(schema.as_str(), &answer.payload)
}

#[tokio::test]
async fn every_endpoint_is_found_with_its_messages() {
    let world = World::start().await;
    let client = world.jetstream.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribe");
    client
        .publish_with_reply("$SRV.INFO.nalpaca", inbox, "".into())
        .await
        .expect("ask");
    let info = answers.next().await.expect("an answer");
    let info: Value = serde_json::from_slice(&info.payload).expect("JSON");
    let endpoints: BTreeMap<_, _> = info["endpoints"]
        .as_array()
        .expect("endpoints")
        .iter()
        .map(|endpoint| {
            (
                endpoint["subject"].as_str().unwrap_or_default(),
                &endpoint["metadata"],
            )
        })
        .collect();
    for (name, request, response) in [
        ("state.get", "", "tradesvc.v0.GatewayState"),
        ("account.get", "", "tradesvc.v0.Account"),
        (
            "positions.get",
            "tradesvc.v0.PositionsRequest",
            "tradesvc.v0.Positions",
        ),
        ("orders.list", "tradesvc.v0.OrdersRequest", "tradesvc.v0.Orders"),
        (
            "orders.get",
            "tradesvc.v0.OrderRequest",
            "tradesvc.v0.OrderRecord",
        ),
        (
            "orders.submit",
            "tradesvc.v0.SubmitRequest",
            "tradesvc.v0.Outcome",
        ),
        (
            "orders.cancel",
            "tradesvc.v0.CancelRequest",
            "tradesvc.v0.Outcome",
        ),
        ("assets.get", "tradesvc.v0.AssetRequest", "tradesvc.v0.Asset"),
        ("clock.get", "", "tradesvc.v0.MarketClock"),
        ("subscriptions.list", "", "stream.v0.SubscriptionsReply"),
        ("admin.halt", "tradesvc.v0.ModeRequest", "tradesvc.v0.ModeChange"),
        (
            "admin.resume",
            "tradesvc.v0.ModeRequest",
            "tradesvc.v0.ModeChange",
        ),
        (
            "admin.reduce_only",
            "tradesvc.v0.ModeRequest",
            "tradesvc.v0.ModeChange",
        ),
        (
            "admin.cancel_only",
            "tradesvc.v0.ModeRequest",
            "tradesvc.v0.ModeChange",
        ),
        ("schema", "tradesvc.v0.SchemaRequest", "tradesvc.v0.Schema"),
    ] {
        let metadata = endpoints
            .get(format!("nalpaca.svc.v0.{name}").as_str())
            .unwrap_or_else(|| panic!("{name} is not registered: {info}"));
        assert_eq!(metadata["request"], request, "{name}");
        assert_eq!(metadata["response"], response, "{name}");
    }
}

#[tokio::test]
async fn what_the_gateway_mirrors_is_read_with_its_date() {
    let world = World::start().await;
    world.order("momentum.1", &buy("AAPL", "3")).await;
    world.order("momentum.2", &resting("MSFT")).await;
    world.order("other.1", &resting("BRK.B")).await;
    world.filled("momentum.1").await;
    for id in ["momentum.1", "momentum.2", "other.1"] {
        assert_eq!(world.outcome(id).await["kind"], "OUTCOME_KIND_ACCEPTED");
    }
    let state = world.ask("state.get", &Value::Null).await.expect("the state");
    assert_eq!(state["mode"], "GATEWAY_MODE_NORMAL", "{state}");
    assert_eq!(state["environment"], "sim");
    let account = world.ask("account.get", &Value::Null).await.expect("the account");
    assert!(
        account["as_of"].is_string() && account["fresh"] == true,
        "{account}"
    );
    let positions = until("the position to show", async || {
        let positions = world
            .ask("positions.get", &json!({"symbol": "AAPL"}))
            .await
            .ok()?;
        (positions["positions"][0]["qty"] == "3").then_some(positions)
    })
    .await;
    assert!(
        positions["as_of"].is_string() && positions["fresh"] == true,
        "{positions}"
    );
    let none = world
        .ask("positions.get", &json!({"symbol": "MSFT"}))
        .await
        .expect("none");
    assert_eq!(none["positions"], Value::Null, "{none}");

    let ids = |orders: &Value| -> Vec<String> {
        let orders = orders["orders"].as_array().cloned().unwrap_or_default();
        let id = |order: &Value| order["client_order_id"].as_str().unwrap_or_default().to_owned();
        orders.iter().map(id).collect()
    };
    let open = world
        .ask("orders.list", &Value::Null)
        .await
        .expect("the open orders");
    assert_eq!(ids(&open), ["other.1", "momentum.2"], "the latest first: {open}");
    assert!(open["as_of"].is_string() && open["fresh"] == true, "{open}");
    for (question, expected) in [
        (json!({"strategy": "momentum"}), vec!["momentum.2"]),
        (json!({"symbol": "BRK.B"}), vec!["other.1"]),
        (json!({"status": "closed"}), vec!["momentum.1"]),
        (json!({"status": "all", "limit": 1}), vec!["other.1"]),
        (json!({"status": "all", "strategy": "nobody"}), vec![]),
    ] {
        let listed = world.ask("orders.list", &question).await.expect("orders");
        assert_eq!(ids(&listed), expected, "{question}");
        assert_eq!(listed["more"] == true, question["limit"] == 1, "{question}");
    }
    let in_protobuf = ask_in_protobuf(
        &world,
        "orders.list",
        "tradesvc.v0.OrdersRequest",
        &json!({"status": "closed"}),
    )
    .await;
    assert_eq!(ids(&in_protobuf), ["momentum.1"]);

    let record = world
        .ask("orders.get", &json!({"order": "momentum.1"}))
        .await
        .expect("an order");
    assert_eq!(record["state"], "RECORD_STATE_SETTLED", "{record}");
    let venues = record["order_id"].as_str().expect("the venue's id").to_owned();
    let same = world
        .ask("orders.get", &json!({"order": venues}))
        .await
        .expect("an order");
    assert_eq!(same["client_order_id"], "momentum.1");

    let elsewhere = world
        .place_elsewhere(
            &json!({"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit",
            "limit_price": "1", "time_in_force": "day", "client_order_id": "by-hand"}),
        )
        .await;
    assert_eq!(elsewhere["client_order_id"], "by-hand");
    let record = world
        .ask("orders.get", &json!({"order": "by-hand"}))
        .await
        .expect("an order");
    assert_eq!(record["state"], "RECORD_STATE_EXTERNAL", "{record}");
}

#[tokio::test]
async fn the_venue_is_asked_for_what_nobody_mirrors_and_not_again_for_the_same() {
    let world = World::start().await;
    for _ in 0..3 {
        let asset = world
            .ask("assets.get", &json!({"symbol": "BTC/USD"}))
            .await
            .expect("an asset");
        assert_eq!(asset["symbol"], "BTC/USD", "{asset}");
        assert_eq!(asset["asset_class"], "ASSET_CLASS_CRYPTO");
        assert_eq!(asset["tradable"], true);
    }
    let asked = |path: &str| {
        let requests = world.sim.snapshot().requests().to_vec();
        requests
            .iter()
            .filter(|request| request.path.starts_with(path))
            .count()
    };
    assert_eq!(asked("/v2/assets/"), 1);
    let clock = world.ask("clock.get", &Value::Null).await.expect("a clock");
    assert!(
        clock["timestamp"].is_string() && clock["next_close"].is_string(),
        "{clock}"
    );
    let (code, message) = world
        .ask("assets.get", &json!({"symbol": "NOSUCHTHING"}))
        .await
        .expect_err("there is none");
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("404", "the venue knows no NOSUCHTHING")
    );
}

#[tokio::test]
async fn a_submit_goes_the_way_of_every_command_and_is_one_order_however_often_it_is_asked() {
    let world = World::start().await;
    let question = json!({"client_order_id": "svc.1", "trade": {
        "symbol": "AAPL", "qty": 2, "side": "buy", "order_type": "market", "tif": "day"}});
    let outcome = world.ask("orders.submit", &question).await.expect("an outcome");
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(outcome["client_order_id"], "svc.1");
    let again = world.ask("orders.submit", &question).await.expect("an outcome");
    assert_eq!(again["repeated"], true, "{again}");
    assert_eq!(again["order_id"], outcome["order_id"]);
    assert_eq!(world.posts(), 1);
    assert_eq!(world.outcomes("svc.1", 2).await.len(), 2);
    world.filled("svc.1").await;

    let close = json!({"client_order_id": "svc.2", "close": {"symbol": "AAPL"}});
    let closed = until("the position to be known", async || {
        let outcome = world.ask("orders.submit", &close).await.ok()?;
        Some(outcome)
    })
    .await;
    assert_eq!(closed["kind"], "OUTCOME_KIND_ACCEPTED", "{closed}");
    let rests = json!({"client_order_id": "svc.3", "trade": resting("MSFT")});
    world.ask("orders.submit", &rests).await.expect("an outcome");
    let replace = json!({"client_order_id": "svc.4", "replace": {"order": "svc.3", "limit_price": "2"}});
    let replaced = world.ask("orders.submit", &replace).await.expect("an outcome");
    assert_eq!(replaced["kind"], "OUTCOME_KIND_ACCEPTED", "{replaced}");

    for (question, words) in [
        (json!({"trade": buy("AAPL", "1")}), "client_order_id is required"),
        (
            json!({"client_order_id": "svc.5"}),
            "exactly one of trade, replace and close",
        ),
        (
            json!({"client_order_id": "svc.ALL", "trade": buy("AAPL", "1")}),
            "reserved",
        ),
        (
            json!({"client_order_id": "svc.5", "trade": buy("AAPL", "-1")}),
            "qty",
        ),
        (
            json!({"client_order_id": "svc.5", "trade": buy("AAPL", "1"), "wait_ms": 99_000}),
            "wait_ms is at most",
        ),
    ] {
        let (code, message) = world
            .ask("orders.submit", &question)
            .await
            .expect_err("it is wrong");
        assert!(
            code == "400" && message.contains(words),
            "{question}: {code} {message}"
        );
    }
    // What is not known in time goes on, and says where.
    world
        .sim
        .fault("submit_order: delay 2s")
        .expect("the simulator knows the fault");
    let slow = json!({"client_order_id": "svc.6", "trade": buy("AAPL", "1"), "wait_ms": 200});
    let (code, message) = world.ask("orders.submit", &slow).await.expect_err("it is late");
    assert!(
        code == "504" && message.contains("nalpaca.journal.v0.outcomes.svc.6"),
        "{message}"
    );
    assert_eq!(world.outcome("svc.6").await["kind"], "OUTCOME_KIND_ACCEPTED");
}

#[tokio::test]
async fn a_cancel_passes_by_a_stream_that_is_full() {
    let world = World::start().await;
    for id in ["momentum.1", "momentum.2", "other.1", "other.2"] {
        world.order(id, &resting("AAPL")).await;
        assert_eq!(world.outcome(id).await["kind"], "OUTCOME_KIND_ACCEPTED");
    }
    // No room for a single command.
    let stream = world
        .jetstream
        .get_stream(ACTION_STREAM)
        .await
        .expect("the stream");
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = 1;
    world
        .jetstream
        .update_stream(config)
        .await
        .expect("make it small");
    let refused = world.publish("cancel.other.1", HeaderMap::new(), "").await;
    assert!(refused.is_err(), "the stream takes cancels");
    let (code, message) = world
        .ask(
            "orders.submit",
            &json!({"client_order_id": "x", "trade": buy("AAPL", "1")}),
        )
        .await
        .expect_err("it is full");
    assert!(
        code == "503" && message.contains("the action stream refuses it"),
        "{code} {message}"
    );

    let canceled = world
        .ask("orders.cancel", &json!({"order": "other.1"}))
        .await
        .expect("an outcome");
    assert_eq!(canceled["kind"], "OUTCOME_KIND_ACCEPTED", "{canceled}");
    assert_eq!(canceled["command"], "COMMAND_KIND_CANCEL");
    world.status("other.1", "canceled").await;
    world
        .ask("orders.cancel", &json!({"strategy": "momentum"}))
        .await
        .expect("an outcome");
    world.status("momentum.1", "canceled").await;
    world.status("momentum.2", "canceled").await;
    world
        .ask("orders.cancel", &json!({"all": true}))
        .await
        .expect("an outcome");
    world.status("other.2", "canceled").await;
    let unknown = world
        .ask("orders.cancel", &json!({"order": "nobody"}))
        .await
        .expect("an outcome");
    assert_eq!(unknown["kind"], "OUTCOME_KIND_REJECTED", "{unknown}");
    let told = world.outcomes("momentum.ALL", 1).await;
    assert_eq!(told[0].message()["stream_sequence"], 0, "it came past the stream");
    let (code, _) = world
        .ask("orders.cancel", &json!({"order": "a", "all": true}))
        .await
        .expect_err("that is two");
    assert_eq!(code, "400");
}

#[tokio::test]
async fn a_cancel_and_a_halt_are_heard_while_many_wait_and_the_ledger_is_gone() {
    let world = Plan::new().set("ORDERS_MAX_IN_FLIGHT", "1").start().await;
    world.order("rests", &resting("AAPL")).await;
    assert_eq!(world.outcome("rests").await["kind"], "OUTCOME_KIND_ACCEPTED");
    world
        .sim
        .fault("submit_order: hang")
        .expect("the simulator knows the fault");
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..120 {
        let client = world.jetstream.client();
        let question =
            json!({"client_order_id": format!("w.{number}"), "wait_ms": 60_000, "trade": buy("AAPL", "1")});
        waiting.spawn(async move {
            client
                .request("nalpaca.svc.v0.orders.submit", question.to_string().into())
                .await
                .is_ok()
        });
    }
    until("the questions to be stored", async || {
        let info = world.jetstream.get_stream(ACTION_STREAM).await.ok()?;
        (info.cached_info().state.messages >= 100).then_some(())
    })
    .await;
    let halted = world.ask("admin.halt", &Value::Null).await.expect("it halts");
    assert_eq!(halted["mode"], "GATEWAY_MODE_HALTED");
    world
        .jetstream
        .delete_stream("KV_nalpaca-orders")
        .await
        .expect("delete the ledger");
    let canceled = world
        .ask("orders.cancel", &json!({"order": "rests"}))
        .await
        .expect("an outcome");
    assert_eq!(canceled["kind"], "OUTCOME_KIND_ACCEPTED", "{canceled}");
    world.status("rests", "canceled").await;
    waiting.shutdown().await;
}

#[tokio::test]
async fn a_program_without_proto_files_learns_how_messages_look() {
    let world = World::start().await;
    let schema = world
        .ask("schema", &json!({"message": "Trade"}))
        .await
        .expect("a schema");
    let names: Vec<_> = schema["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|message| message["name"].as_str())
        .collect();
    assert!(
        names.contains(&"tradesvc.v0.Trade") && names.contains(&"tradesvc.v0.TakeProfit"),
        "{names:?}"
    );
    assert!(!names.contains(&"tradesvc.v0.Account"));
    let trade = &schema["messages"][names
        .iter()
        .position(|name| *name == "tradesvc.v0.Trade")
        .unwrap_or(0)];
    let side = trade["fields"]
        .as_array()
        .and_then(|fields| fields.iter().find(|field| field["name"] == "side"))
        .expect("a side");
    assert_eq!(side["number"], 4);
    assert_eq!(side["type"], "tradesvc.v0.Side");
    assert!(
        schema["descriptors"]
            .as_str()
            .is_some_and(|bytes| bytes.len() > 1000)
    );
    let (code, message) = world
        .ask("schema", &json!({"message": "Nothing"}))
        .await
        .expect_err("no such");
    assert!(
        code == "404" && message.contains("tradesvc.v0.Trade"),
        "{code} {message}"
    );
}
