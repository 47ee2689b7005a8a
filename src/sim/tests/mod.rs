//! The simulator through its sockets, as the daemon meets it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;

mod admin;
mod events;
mod faults;
mod fuzz;
mod streams;
mod truth;

const PATIENCE: Duration = Duration::from_secs(5);

async fn fast_sim() -> Sim {
    sim(SimConfig::default()).await
}

async fn sim(config: SimConfig) -> Sim {
    let config = SimConfig {
        event_delay: Duration::from_millis(2),
        tick: Duration::from_millis(5),
        ..config
    };
    Sim::start(config).await.unwrap()
}

/// A client without credentials of its own.
fn client() -> Client {
    let no_redirect = reqwest::redirect::Policy::none();
    Client::builder()
        .timeout(PATIENCE)
        .redirect(no_redirect)
        .build()
        .unwrap()
}

fn keyed(sim: &Sim, method: Method, path: &str) -> RequestBuilder {
    let mut headers = HeaderMap::new();
    headers.insert("APCA-API-KEY-ID", HeaderValue::from_static("sim-key"));
    headers.insert("APCA-API-SECRET-KEY", HeaderValue::from_static("sim-secret"));
    client()
        .request(method, format!("{}{path}", sim.base_url()))
        .headers(headers)
}

async fn call(sim: &Sim, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = keyed(sim, method, path);
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn get(sim: &Sim, path: &str) -> (StatusCode, Value) {
    call(sim, Method::GET, path, None).await
}

fn market_order(client_order_id: &str) -> Value {
    json!({"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day",
        "client_order_id": client_order_id})
}

async fn submit(sim: &Sim, order: Value) -> (StatusCode, Value) {
    call(sim, Method::POST, "/v2/orders", Some(order)).await
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(sim: &Sim) -> Result<Socket, tungstenite::Error> {
    let url = format!("ws://{}/stream", sim.address());
    tokio_tungstenite::connect_async(url)
        .await
        .map(|(socket, _)| socket)
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if !message.is_pong() {
            assert!(message.is_binary(), "the paper venue sends binary frames");
            return serde_json::from_slice(&message.into_data()).unwrap();
        }
    }
}

async fn listening(sim: &Sim) -> Socket {
    let mut socket = connect(sim).await.unwrap();
    let credentials = json!({"key_id": "sim-key", "secret_key": "sim-secret"});
    say(
        &mut socket,
        json!({"action": "authenticate", "data": credentials}),
    )
    .await;
    assert_eq!(hear(&mut socket).await["data"]["status"], "authorized");
    say(
        &mut socket,
        json!({"action": "listen", "data": {"streams": ["trade_updates", "nonsense"]}}),
    )
    .await;
    assert_eq!(
        hear(&mut socket).await["data"]["streams"],
        json!(["trade_updates"])
    );
    socket
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test]
async fn credentials_are_checked_as_the_venue_checks_them() {
    let sim = fast_sim().await;
    let url = format!("{}/v2/account", sim.base_url());
    let none = client().get(&url).send().await.unwrap();
    assert_eq!(none.status(), 403);
    assert_eq!(none.text().await.unwrap(), r#"{"message":"forbidden."}"#);
    let wrong = client()
        .get(&url)
        .header("apca-api-key-id", "x")
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 401);
    assert_eq!(wrong.text().await.unwrap(), r#"{"message":"unauthorized."}"#);
    let token = client().get(&url).bearer_auth("sim-secret").send().await.unwrap();
    assert_eq!(token.status(), 200);
    for header in [
        "x-request-id",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "date",
    ] {
        assert!(token.headers().contains_key(header), "{header}");
    }
    sim.stop().await;
}

#[tokio::test]
async fn an_order_is_reported_from_pending_to_filled() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    let (status, order) = submit(&sim, market_order("a-1")).await;
    assert_eq!(
        (status, &order["status"]),
        (StatusCode::OK, &json!("pending_new"))
    );
    assert_eq!(order["filled_qty"], "0");
    assert!(order["limit_price"].is_null() && order.as_object().unwrap().contains_key("legs"));
    for expected in ["pending_new", "new", "fill"] {
        let frame = hear(&mut socket).await;
        assert_eq!(frame["stream"], "trade_updates");
        assert_eq!(frame["data"]["event"], expected);
        assert_eq!(frame["data"]["order"]["id"], order["id"]);
        assert_eq!(frame["data"]["position_qty"].is_string(), expected == "fill");
    }
    let (_, found) = get(&sim, "/v2/orders:by_client_order_id?client_order_id=a-1").await;
    assert_eq!(
        (&found["status"], &found["filled_qty"]),
        (&json!("filled"), &json!("1"))
    );
    let (_, position) = get(&sim, "/v2/positions/SPY").await;
    assert_eq!(position["qty"], "1");
    let (_, fills) = get(&sim, "/v2/account/activities/FILL?direction=asc").await;
    assert_eq!(fills[0]["order_id"], order["id"]);
    assert_eq!(fills[0]["id"].as_str().unwrap().find("::"), Some(17));
    sim.stop().await;
}

#[tokio::test]
async fn a_second_stream_is_refused_until_the_first_is_gone() {
    let sim = fast_sim().await;
    let first = listening(&sim).await;
    match connect(&sim).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 429),
        other => panic!("second upgrade: {other:?}"),
    }
    drop(first);
    eventually("the slot is free", || !sim.stream_is_connected()).await;
    let mut second = listening(&sim).await;
    sim.drop_streams();
    assert!(
        tokio::time::timeout(PATIENCE, second.next())
            .await
            .unwrap()
            .is_none_or(|end| end.is_err())
    );
    sim.stop().await;
}

#[tokio::test]
async fn listening_needs_authorization() {
    let sim = fast_sim().await;
    let mut socket = connect(&sim).await.unwrap();
    say(
        &mut socket,
        json!({"action": "listen", "data": {"streams": ["trade_updates"]}}),
    )
    .await;
    let refused = json!({"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}});
    assert_eq!(hear(&mut socket).await, refused);
    say(
        &mut socket,
        json!({"action": "auth", "key": "sim-key", "secret": "wrong"}),
    )
    .await;
    assert_eq!(hear(&mut socket).await["data"]["status"], "unauthorized");
    say(
        &mut socket,
        json!({"action": "auth", "key": "sim-key", "secret": "sim-secret"}),
    )
    .await;
    assert_eq!(hear(&mut socket).await["data"]["status"], "authorized");
    sim.send_raw_frame(r#"{"stream":"trade_updates","data":null}"#);
    assert!(hear(&mut socket).await["data"].is_null());
    sim.stop().await;
}

#[tokio::test]
async fn an_answer_may_be_lost_before_or_after_the_venue_acted() {
    let sim = fast_sim().await;
    let acted = [
        (Reply::CutBeforeCommit, 0),
        (Reply::CutAfterCommit, 1),
        (Reply::CutMidBody, 1),
        (Reply::gateway_timeout_after_commit(), 1),
        (Reply::BodyGarbage, 1),
        (Reply::HugeBody(300_000), 1),
        (Reply::Redirect("http://127.0.0.1:9/".to_owned()), 0),
        (Reply::status(500, "{}"), 0),
        (
            Reply::TooMany {
                retry_after: Some(Duration::from_secs(3)),
                reset: Some(42),
            },
            0,
        ),
    ];
    for (at, (reply, orders)) in acted.into_iter().enumerate() {
        let id = format!("lost-{at}");
        sim.script().next_order(reply.clone());
        let request = keyed(&sim, Method::POST, "/v2/orders").body(market_order(&id).to_string());
        let answer = async { request.send().await?.bytes().await }.await;
        let cut = matches!(
            reply,
            Reply::CutBeforeCommit | Reply::CutAfterCommit | Reply::CutMidBody
        );
        assert_eq!(answer.is_err(), cut, "{reply:?}");
        assert_eq!(sim.snapshot().orders_by_client_id(&id), orders, "{reply:?}");
        let (status, error) = submit(&sim, market_order(&id)).await;
        assert_eq!(status == 422, orders == 1, "{reply:?}: {error}");
        assert_eq!(sim.snapshot().orders_by_client_id(&id), 1);
    }
    assert_eq!(sim.script().pending(), 0);
    sim.stop().await;
}

#[tokio::test]
async fn the_request_over_the_quota_is_refused() {
    let sim = sim(SimConfig {
        rate_limit_per_minute: 1,
        ..SimConfig::default()
    })
    .await;
    // A minute may end between two requests, but not between three.
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(get(&sim, "/v2/clock").await.0.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    sim.stop().await;
}

#[tokio::test]
async fn whatever_arrives_is_answered() {
    let sim = fast_sim().await;
    let check = async |method: Method, path: &str, body: &str, expected: u16| {
        let response = keyed(&sim, method, path)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "{path} {body}");
    };
    check(Method::POST, "/v2/orders", "{", 400).await;
    check(Method::POST, "/v2/orders", "{}", 422).await;
    check(Method::POST, "/v2/orders", &"x".repeat(300_000), 413).await;
    check(Method::PUT, "/v2/orders", "", 405).await;
    check(Method::GET, "/v3/orders", "", 404).await;
    check(Method::GET, "/v2/orders/nonsense", "", 422).await;
    check(
        Method::GET,
        "/v2/orders/6d8a4b2e-0000-4000-8000-000000000000",
        "",
        404,
    )
    .await;
    check(Method::GET, "/v2/orders?limit=x&after=y", "", 422).await;
    check(Method::GET, "/v2/positions/SPY", "", 404).await;
    check(Method::GET, "/v2/assets/BTC%2FUSD", "", 200).await;
    check(Method::GET, "/v2/assets/%ff%zz", "", 404).await;
    check(
        Method::GET,
        "/v2/calendar?start=2026-01-01&end=2026-01-31",
        "",
        200,
    )
    .await;
    check(
        Method::GET,
        "/v2/account/activities?activity_types=FILL&date=2026-01-02",
        "",
        200,
    )
    .await;
    check(Method::GET, "/stream", "", 426).await;
    sim.stop().await;
}

#[tokio::test]
async fn fills_by_hand_and_repeated_events_reach_the_listener() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    let mut order = market_order("by-hand");
    order["type"] = json!("limit");
    order["limit_price"] = json!(1);
    order["qty"] = json!(10);
    submit(&sim, order).await;
    eventually("it works", || {
        sim.order("by-hand").is_some_and(|order| order.working)
    })
    .await;
    sim.fill("by-hand", 4.into(), 2.into()).unwrap();
    sim.repeat_events(1);
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(hear(&mut socket).await["data"].clone());
    }
    assert_eq!(events[2]["event"], "partial_fill");
    assert_eq!(
        (&events[2]["qty"], &events[2]["position_qty"]),
        (&json!("4"), &json!("4"))
    );
    assert_eq!(events[2], events[3]);
    sim.stop().await;
}

#[tokio::test]
async fn orders_are_listed_replaced_and_canceled_over_the_wire() {
    let sim = fast_sim().await;
    let resting = |id: &str| {
        json!({"symbol": "SPY", "qty": 2, "side": "buy", "type": "limit", "limit_price": "10.50",
            "time_in_force": "gtc", "client_order_id": id})
    };
    let (_, first) = submit(&sim, resting("first")).await;
    let (_, second) = submit(&sim, resting("second")).await;
    eventually("both work", || {
        sim.snapshot().orders().iter().all(|order| order.working)
    })
    .await;
    let path = |order: &Value| format!("/v2/orders/{}", order["id"].as_str().unwrap());
    let change = json!({"limit_price": 11, "qty": null, "time_in_force": "", "client_order_id": "third"});
    let (status, third) = call(&sim, Method::PATCH, &path(&first), Some(change)).await;
    assert_eq!((status, &third["replaces"]), (StatusCode::OK, &first["id"]));
    eventually("it took over", || {
        sim.order("third").is_some_and(|order| order.working)
    })
    .await;
    let (_, open) = get(&sim, "/v2/orders?symbols=SPY,BTCUSD&direction=asc&nested=True").await;
    let ids = |list: &Value| {
        let rows = list.as_array().unwrap().iter();
        rows.map(|order| order["client_order_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&open), ["second", "third"]);
    let (_, closed) = get(&sim, "/v2/orders?status=closed").await;
    assert_eq!(
        (ids(&closed), &closed[0]["replaced_by"]),
        (vec!["first".to_owned()], &third["id"])
    );
    let after = format!(
        "/v2/orders?status=all&after={}",
        second["submitted_at"].as_str().unwrap()
    );
    assert_eq!(ids(&get(&sim, &after).await.1), ["third"]);
    assert_eq!(call(&sim, Method::DELETE, &path(&second), None).await.0, 204);
    assert_eq!(call(&sim, Method::DELETE, &path(&first), None).await.0, 422);
    let (status, rows) = call(&sim, Method::DELETE, "/v2/orders", None).await;
    assert_eq!(
        (
            status,
            rows.as_array().unwrap().iter().all(|row| row["status"] == 200)
        ),
        (StatusCode::MULTI_STATUS, true)
    );
    eventually("nothing is open", || {
        sim.snapshot()
            .orders()
            .iter()
            .all(|order| order.status.is_terminal())
    })
    .await;
    sim.stop().await;
}

#[tokio::test]
async fn one_instrument_has_two_spellings() {
    let sim = fast_sim().await;
    sim.set_price("BTC/USD", 50_000.into());
    let order =
        json!({"symbol": "BTCUSD", "qty": 0.1, "side": "buy", "type": "market", "time_in_force": "gtc"});
    let (_, order) = submit(&sim, order).await;
    assert_eq!(order["symbol"], "BTC/USD");
    eventually("it filled", || sim.snapshot().fills().len() == 1).await;
    for name in ["BTCUSD", "BTC%2FUSD", order["asset_id"].as_str().unwrap()] {
        let (_, position) = get(&sim, &format!("/v2/positions/{name}")).await;
        assert_eq!(
            (&position["symbol"], &position["qty"]),
            (&json!("BTCUSD"), &json!("0.09975")),
            "{name}"
        );
    }
    let (status, rows) = call(&sim, Method::DELETE, "/v2/positions?cancel_orders=true", None).await;
    assert_eq!(
        (status, &rows[0]["status"]),
        (StatusCode::MULTI_STATUS, &json!(200))
    );
    eventually("it is flat", || sim.snapshot().positions().is_empty()).await;
    sim.stop().await;
}

#[tokio::test]
async fn a_refusal_carries_the_venues_extra_keys_in_alphabetical_order() {
    let sim = fast_sim().await;
    sim.set_price("SPY", 100.into());
    let mut order = market_order("too-big");
    order["qty"] = json!(10_000);
    let response = keyed(&sim, Method::POST, "/v2/orders")
        .body(order.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 403);
    let expected = r#"{"buying_power":"200000","code":40310000,"cost_basis":"1000100","message":"insufficient buying power"}"#;
    assert_eq!(response.text().await.unwrap(), expected);
    sim.stop().await;
}

#[tokio::test]
async fn a_muted_stream_answers_pings_and_loses_events() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    sim.mute_streams(true);
    submit(&sim, market_order("unheard")).await;
    eventually("it filled", || sim.snapshot().fills().len() == 1).await;
    socket.send(Message::Ping(b"x".to_vec().into())).await.unwrap();
    let pong = tokio::time::timeout(PATIENCE, socket.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(pong.is_pong());
    sim.mute_streams(false);
    submit(&sim, market_order("heard")).await;
    assert_eq!(
        hear(&mut socket).await["data"]["order"]["client_order_id"],
        "heard"
    );
    sim.refuse_streams_for(Duration::from_secs(60));
    sim.drop_streams();
    eventually("the slot is free", || !sim.stream_is_connected()).await;
    assert!(matches!(connect(&sim).await, Err(tungstenite::Error::Http(answer)) if answer.status() == 429));
    sim.stop().await;
}
