//! The simulator's answers beside payloads of the venue: every key that the venue sends is there, in the venue's type.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nalpaca::sim::{DataPlan, Market, Pace, Sim, SimConfig};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/alpaca")
        .join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("a fixture is JSON")
}

/// Where `ours` lacks a key of `theirs`, or has another type there. Null fits every type.
fn differences(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(mine) => differences(&format!("{path}.{key}"), value, mine, found),
                    None => found.push(format!("{path}.{key} is missing")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                differences(&format!("{path}[0]"), theirs, ours, found);
            }
        }
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => {}
        (Value::Number(theirs), Value::Number(ours))
            if !theirs.is_f64() || ours.is_f64() || ours.is_u64() => {}
        _ => found.push(format!("{path} is {ours}, the venue sends {theirs}")),
    }
}

fn check(name: &str, ours: &Value) {
    let mut found = Vec::new();
    differences(name, &fixture(name), ours, &mut found);
    assert_eq!(found, Vec::<String>::new(), "{ours:#}");
}

struct Venue {
    sim: Sim,
    client: reqwest::Client,
}

impl Venue {
    async fn start(config: SimConfig) -> Self {
        let config = SimConfig {
            event_delay: Duration::from_millis(2),
            tick: Duration::from_millis(5),
            data_plan: DataPlan::Plus,
            ..config
        };
        Self {
            sim: Sim::start(config).await.expect("a free port"),
            client: reqwest::Client::builder()
                .timeout(PATIENCE)
                .build()
                .expect("a client"),
        }
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.sim.base_url()))
            .header("APCA-API-KEY-ID", "sim-key")
            .header("APCA-API-SECRET-KEY", "sim-secret");
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    async fn get(&self, path: &str) -> Value {
        self.call(reqwest::Method::GET, path, None).await
    }

    async fn submit(&self, changes: Value) -> Value {
        let mut order = json!({"symbol": "AAPL", "qty": "2", "side": "buy", "type": "limit", "limit_price": "150", "time_in_force": "gtc"});
        for (key, value) in changes.as_object().expect("changes") {
            order[key] = value.clone();
        }
        self.call(reqwest::Method::POST, "/v2/orders", Some(order)).await
    }
}

#[tokio::test]
async fn a_parked_order_looks_like_the_venues() {
    let venue = Venue::start(SimConfig {
        market: Market::Closed,
        ..SimConfig::default()
    })
    .await;
    let order = venue.submit(json!({})).await;
    check("order_new_equity", &order);
    assert_eq!(
        (&order["status"], &order["order_class"]),
        (&json!("accepted"), &json!(""))
    );
    venue.sim.stop().await;
}

#[tokio::test]
async fn refusals_carry_the_venues_codes_and_extra_keys() {
    let venue = Venue::start(SimConfig::default()).await;
    let refused = |name: &'static str, ours: Value| {
        check(name, &ours);
        let theirs = fixture(name);
        assert_eq!(ours["code"], theirs["code"], "{name}");
        let keys = |value: &Value| {
            value
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        let extra: Vec<_> = keys(&ours)
            .into_iter()
            .filter(|key| !keys(&theirs).contains(key))
            .collect();
        assert_eq!(extra, Vec::<String>::new(), "{name}");
        ours
    };
    let poor = venue.submit(json!({"qty": "100000"})).await;
    assert_eq!(
        refused("error_buying_power", poor)["message"],
        "insufficient buying power"
    );
    venue.submit(json!({"client_order_id": "a-1"})).await;
    let twice = venue.submit(json!({"client_order_id": "a-1"})).await;
    assert_eq!(
        refused("error_duplicate_client_order_id", twice),
        fixture("error_duplicate_client_order_id")
    );
    let flat = venue.get("/v2/positions/TSLA").await;
    assert_eq!(
        refused("error_position_does_not_exist", flat),
        fixture("error_position_does_not_exist")
    );

    venue.sim.set_price("AAPL", "200".parse().expect("a price"));
    let bought = venue
        .submit(json!({"qty": "1", "limit_price": "210", "time_in_force": "ioc", "client_order_id": "a-2"}))
        .await;
    assert_eq!(bought["status"], "pending_new", "{bought}");
    filled(&venue, "a-2").await;
    // The order above still bids 150, so this must not meet it.
    let resting = venue
        .submit(json!({"qty": "1", "side": "sell", "limit_price": "250"}))
        .await;
    assert_eq!(resting["side"], "sell", "{resting}");
    let oversold = venue
        .submit(json!({"qty": "1", "side": "sell", "limit_price": "260"}))
        .await;
    let oversold = refused("error_insufficient_qty", oversold);
    assert_eq!(oversold, fixture("error_insufficient_qty"));
    let washed = venue
        .submit(json!({"qty": "1", "type": "market", "limit_price": null, "time_in_force": "day"}))
        .await;
    let washed = refused("error_wash_trade", washed);
    assert_eq!(
        (&washed["message"], &washed["existing_order_id"]),
        (&fixture("error_wash_trade")["message"], &resting["id"])
    );
    venue.sim.stop().await;
}

async fn filled(venue: &Venue, client_order_id: &str) {
    let done = tokio::time::timeout(PATIENCE, async {
        loop {
            let order = venue
                .get(&format!(
                    "/v2/orders:by_client_order_id?client_order_id={client_order_id}"
                ))
                .await;
            if order["status"] == "filled" {
                return;
            }
        }
    });
    done.await.expect("the order fills");
}

#[tokio::test]
async fn a_fill_looks_like_the_venues_wherever_it_is_told() {
    let venue = Venue::start(SimConfig::default()).await;
    let url = format!("ws://{}/stream", venue.sim.address());
    let (mut stream, _) = tokio_tungstenite::connect_async(url).await.expect("an upgrade");
    for message in [
        json!({"action": "auth", "key": "sim-key", "secret": "sim-secret"}),
        json!({"action": "listen", "data": {"streams": ["trade_updates"]}}),
    ] {
        stream
            .send(Message::text(message.to_string()))
            .await
            .expect("a socket");
    }
    let mut heard = next(&mut stream).await;
    while heard["stream"] != "listening" {
        heard = next(&mut stream).await;
    }
    venue
        .submit(json!({"type": "market", "limit_price": null, "time_in_force": "day"}))
        .await;
    while heard["data"]["event"] != "fill" {
        heard = next(&mut stream).await;
    }
    check("trade_update_fill", &heard);
    let fills = venue.get("/v2/account/activities/FILL").await;
    check("activity_fill", &fills[0]);
    check("clock", &venue.get("/v2/clock").await);
    check(
        "calendar",
        &venue.get("/v2/calendar?start=2026-08-10&end=2026-08-10").await,
    );
    venue.sim.stop().await;
}

#[tokio::test]
async fn market_data_looks_like_the_venues() {
    let from = "2026-08-10T14:59:50Z".parse().expect("a moment");
    let config = SimConfig {
        pace: Pace::Replay { from, times: 60 },
        market: Market::Calendar,
        ..SimConfig::default()
    };
    let venue = Venue::start(config).await;
    check(
        "bars_multi",
        &venue
            .get("/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2026-08-07&end=2026-08-10")
            .await,
    );
    let url = format!("ws://{}/v2/iex", venue.sim.address());
    let (mut stream, _) = tokio_tungstenite::connect_async(url).await.expect("an upgrade");
    assert_eq!(next(&mut stream).await, fixture("stream_connected"));
    let login = json!({"action": "auth", "key": "sim-key", "secret": "sim-secret"});
    stream
        .send(Message::text(login.to_string()))
        .await
        .expect("a socket");
    assert_eq!(next(&mut stream).await, fixture("stream_authenticated"));
    let wanted = json!({"action": "subscribe", "trades": ["AAPL"], "quotes": ["AAPL"], "bars": ["AAPL"], "statuses": ["*"]});
    stream
        .send(Message::text(wanted.to_string()))
        .await
        .expect("a socket");
    check("stream_subscription", &next(&mut stream).await);
    for (kind, name) in [("t", "stream_trade"), ("q", "stream_quote"), ("b", "stream_bar")] {
        let row = loop {
            let frame = next(&mut stream).await;
            let rows = frame.as_array().expect("an array");
            if let Some(row) = rows.iter().find(|row| row["T"] == kind) {
                break json!([row]);
            }
        };
        check(name, &row);
    }
    venue.sim.stop().await;
}

async fn next<S>(stream: &mut S) -> Value
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let message = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .expect("in time");
        let message = message.expect("an open socket").expect("a message");
        if message.is_text() || message.is_binary() {
            return serde_json::from_slice(&message.into_data()).expect("JSON");
        }
    }
}

#[test]
fn a_missing_key_or_another_type_is_noticed() {
    let mut found = Vec::new();
    let theirs = json!({"a": "1", "b": [{"c": 1.5}], "d": true});
    differences("x", &theirs, &json!({"a": 1, "b": [{"c": "1.5"}]}), &mut found);
    assert_eq!(found.len(), 3, "{found:?}");
    found.clear();
    differences(
        "x",
        &theirs,
        &json!({"a": "2", "b": [{"c": 2}], "d": null, "e": 1}),
        &mut found,
    );
    assert_eq!(found, Vec::<String>::new());
}
