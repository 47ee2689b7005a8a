//! The market-data streams through their sockets, as the SDKs meet them.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::super::replay::{self, Replay};
use super::super::{DataPlan, Market, Pace, Sim, SimConfig};

const PATIENCE: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn sim(config: SimConfig) -> Sim {
    let config = SimConfig {
        tick: Duration::from_millis(5),
        trade_interval: Duration::from_millis(50),
        quote_interval: Duration::from_millis(20),
        ..config
    };
    Sim::start(config).await.unwrap()
}

fn request(sim: &Sim, path: &str) -> http::Request<()> {
    format!("ws://{}{path}", sim.address())
        .into_client_request()
        .unwrap()
}

async fn connect(request: http::Request<()>) -> Socket {
    tokio_tungstenite::connect_async(request).await.unwrap().0
}

async fn hear(socket: &mut Socket) -> Vec<Value> {
    loop {
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        match heard.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Binary(bytes) => return vec![Value::from(bytes.to_vec())],
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

fn auth() -> Value {
    json!({"action": "auth", "key": "sim-key", "secret": "sim-secret"})
}

async fn logged_in(sim: &Sim, path: &str) -> Socket {
    let mut socket = connect(request(sim, path)).await;
    assert_eq!(
        hear(&mut socket).await,
        [json!({"T": "success", "msg": "connected"})]
    );
    say(&mut socket, auth()).await;
    assert_eq!(
        hear(&mut socket).await,
        [json!({"T": "success", "msg": "authenticated"})]
    );
    socket
}

/// The next messages of one kind, however they are packed.
async fn rows(socket: &mut Socket, kind: &str, count: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    while rows.len() < count {
        rows.extend(hear(socket).await.into_iter().filter(|row| row["T"] == kind));
    }
    rows
}

#[tokio::test]
async fn what_is_subscribed_to_is_told_after_the_confirmation() {
    let sim = sim(SimConfig::default()).await;
    let mut socket = logged_in(&sim, "/v2/iex").await;
    say(
        &mut socket,
        json!({"action": "subscribe", "trades": ["SPY"], "quotes": ["AAPL", "NOPE"]}),
    )
    .await;
    let confirmed = hear(&mut socket).await;
    assert_eq!(
        (&confirmed[0]["T"], &confirmed[0]["quotes"]),
        (&json!("subscription"), &json!(["AAPL", "NOPE"]))
    );
    let trades = rows(&mut socket, "t", 5).await;
    let ids: Vec<_> = trades.iter().map(|trade| trade["i"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (ids[0]..).take(ids.len()).collect();
    assert_eq!(ids, expected, "no trade is left out and none comes twice");
    assert!(
        trades
            .iter()
            .all(|trade| trade["S"] == "SPY" && trade["p"].is_number())
    );
    let quotes = rows(&mut socket, "q", 3).await;
    assert!(
        quotes
            .iter()
            .all(|quote| quote["S"] == "AAPL" && quote["bp"].as_f64() < quote["ap"].as_f64())
    );
    say(
        &mut socket,
        json!({"action": "unsubscribe", "trades": ["SPY"], "quotes": ["AAPL"]}),
    )
    .await;
    let rest = rows(&mut socket, "subscription", 1).await;
    assert_eq!(rest[0]["quotes"], json!(["NOPE"]));
    sim.stop().await;
}

#[tokio::test]
async fn an_order_fills_at_the_price_that_the_stream_showed() {
    let sim = sim(SimConfig::default()).await;
    let mut socket = logged_in(&sim, "/v2/iex").await;
    say(&mut socket, json!({"action": "subscribe", "trades": ["SPY"]})).await;
    rows(&mut socket, "t", 1).await;
    sim.set_price("SPY", "432.10".parse().unwrap());
    let mut last = Value::Null;
    while last != json!(432.1) {
        last = rows(&mut socket, "t", 1).await[0]["p"].clone();
    }
    sim.stop().await;
}

#[tokio::test]
async fn one_connection_per_feed_and_the_next_is_told_in_band() {
    let sim = sim(SimConfig::default()).await;
    let first = logged_in(&sim, "/v2/iex").await;
    let mut second = connect(request(&sim, "/v2/iex")).await;
    hear(&mut second).await;
    say(&mut second, auth()).await;
    assert_eq!(
        hear(&mut second).await,
        [json!({"T": "error", "code": 406, "msg": "connection limit exceeded"})]
    );
    logged_in(&sim, "/v2/test").await;
    drop(first);
    let mut answer = Vec::new();
    for _ in 0..1_000 {
        say(&mut second, auth()).await;
        answer = hear(&mut second).await;
        if answer[0]["T"] == "success" {
            break;
        }
    }
    assert_eq!(
        answer[0]["msg"], "authenticated",
        "the socket survived and the place came free"
    );
    sim.stop().await;
}

#[tokio::test]
async fn keys_may_come_with_the_request_and_wrong_ones_end_it() {
    let sim = sim(SimConfig::default()).await;
    let mut keyed = request(&sim, "/v2/test");
    keyed
        .headers_mut()
        .insert("APCA-API-KEY-ID", HeaderValue::from_static("sim-key"));
    keyed
        .headers_mut()
        .insert("APCA-API-SECRET-KEY", HeaderValue::from_static("sim-secret"));
    let mut socket = connect(keyed).await;
    hear(&mut socket).await;
    assert_eq!(hear(&mut socket).await[0]["msg"], "authenticated");
    say(
        &mut socket,
        json!({"action": "subscribe", "quotes": ["FAKEPACA"], "bars": ["*"]}),
    )
    .await;
    assert_eq!(
        hear(&mut socket).await,
        [json!({"T": "subscription", "trades": [], "quotes": ["FAKEPACA"], "bars": ["*"]})]
    );
    assert_eq!(rows(&mut socket, "q", 1).await[0]["S"], "FAKEPACA");

    let mut wrong = connect(request(&sim, "/v2/iex")).await;
    hear(&mut wrong).await;
    say(
        &mut wrong,
        json!({"action": "auth", "key": "sim-key", "secret": "no"}),
    )
    .await;
    assert_eq!(hear(&mut wrong).await[0]["code"], 402);
    let end = tokio::time::timeout(PATIENCE, wrong.next()).await.unwrap();
    assert!(matches!(end, None | Some(Err(_) | Ok(Message::Close(_)))));
    sim.stop().await;
}

#[tokio::test]
async fn options_come_as_message_pack_while_the_market_is_open() {
    let sim = sim(SimConfig {
        data_plan: DataPlan::Plus,
        ..SimConfig::default()
    })
    .await;
    let mut packed = request(&sim, "/v1beta1/opra");
    packed
        .headers_mut()
        .insert("Content-Type", HeaderValue::from_static("application/msgpack"));
    let mut socket = connect(packed).await;
    let unpack = |frame: Vec<Value>| -> Vec<u8> { serde_json::from_value(frame[0].clone()).unwrap() };
    let plain = |bytes: Vec<u8>| -> Value { rmp_serde::from_slice(&bytes).unwrap() };
    assert_eq!(plain(unpack(hear(&mut socket).await))[0]["msg"], "connected");
    let say = async |socket: &mut Socket, message: Value| {
        let bytes = rmp_serde::to_vec_named(&message).unwrap();
        socket.send(Message::binary(bytes)).await.unwrap();
    };
    say(&mut socket, auth()).await;
    assert_eq!(plain(unpack(hear(&mut socket).await))[0]["msg"], "authenticated");
    say(
        &mut socket,
        json!({"action": "subscribe", "quotes": ["SPY271217C00600000"]}),
    )
    .await;
    assert_eq!(
        plain(unpack(hear(&mut socket).await))[0]["quotes"],
        json!(["SPY271217C00600000"])
    );
    let frame = unpack(hear(&mut socket).await);
    let has = |piece: &[u8]| frame.windows(piece.len()).any(|window| window == piece);
    assert!(has(b"SPY271217C00600000") && has(&[0xA1, b't', 0xC7, 12, 0xFF]));
    sim.stop().await;
}

#[tokio::test]
async fn a_closed_market_is_told_and_silent() {
    let sim = sim(SimConfig {
        data_plan: DataPlan::Plus,
        ..SimConfig::default()
    })
    .await;
    let mut socket = logged_in(&sim, "/v2/sip").await;
    say(
        &mut socket,
        json!({"action": "subscribe", "trades": ["*"], "statuses": ["SPY"]}),
    )
    .await;
    rows(&mut socket, "t", 20).await;
    sim.set_market(Market::Closed);
    let halted = rows(&mut socket, "s", 1).await;
    assert_eq!((&halted[0]["S"], &halted[0]["sc"]), (&json!("SPY"), &json!("H")));
    sim.set_market(Market::Open);
    // Nothing traded in between: what comes first is the resumption.
    let mut first = Vec::new();
    while first.is_empty() {
        first = hear(&mut socket).await;
    }
    assert!(
        first.iter().any(|row| row["T"] == "s" && row["sc"] == "T"),
        "{first:?}"
    );
    sim.stop().await;
}

#[tokio::test]
async fn minutes_end_in_bars_and_some_bars_change_later() {
    let pace = Pace::Replay {
        from: "2025-03-04T15:07:30Z".parse().unwrap(),
        times: 300,
    };
    let config = SimConfig {
        pace,
        market: Market::Calendar,
        data_plan: DataPlan::Plus,
        ..SimConfig::default()
    };
    let sim = Sim::start(SimConfig {
        tick: Duration::from_millis(5),
        ..config
    })
    .await
    .unwrap();
    let mut socket = logged_in(&sim, "/v2/iex").await;
    let wanted = json!({"action": "subscribe", "bars": ["SPY"], "updatedBars": ["SPY"], "dailyBars": ["SPY"], "lulds": ["SPY"]});
    say(&mut socket, wanted).await;
    let mut heard = std::collections::HashMap::<String, Vec<Value>>::new();
    while heard.get("u").is_none_or(Vec::is_empty) || heard.get("b").is_none_or(|bars| bars.len() < 4) {
        for row in hear(&mut socket).await {
            heard
                .entry(row["T"].as_str().unwrap().to_owned())
                .or_default()
                .push(row);
        }
    }
    let minute = |row: &Value| row["t"].as_str().unwrap().to_owned();
    let bars = &heard["b"];
    assert!(
        bars.windows(2).all(|pair| minute(&pair[0]) < minute(&pair[1])),
        "{bars:?}"
    );
    let updated = &heard["u"][0];
    let first = bars.iter().find(|bar| minute(bar) == minute(updated)).unwrap();
    assert_eq!(
        updated["n"].as_u64(),
        first["n"].as_u64().map(|trades| trades + 1)
    );
    let (daily, last) = (heard["d"].last().unwrap(), bars.last().unwrap());
    assert_eq!(
        (minute(daily), &daily["c"]),
        ("2025-03-04T05:00:00Z".to_owned(), &last["c"])
    );
    assert!(heard["l"][0]["u"].as_f64() > heard["l"][0]["d"].as_f64());
    sim.stop().await;
}

fn a_past(name: &str) -> Replay {
    let mut rows = "symbol,time,open,high,low,close,volume\n".to_owned();
    for minute in 0..200 {
        let (hour, price) = (14 + (30 + minute) / 60, 100 + minute);
        rows += &format!(
            "TEST,2025-03-04T{hour}:{:02}:00Z,{price},{},{},{price}.5,400\n",
            (30 + minute) % 60,
            price + 2,
            price - 1
        );
    }
    let path = std::env::temp_dir().join(format!("nalpaca-{}-{name}.csv", std::process::id()));
    std::fs::write(&path, rows).unwrap();
    let replay = replay::read(&[path.display().to_string().parse().unwrap()]).unwrap();
    std::fs::remove_file(path).unwrap();
    replay
}

#[tokio::test]
async fn a_past_is_replayed_as_fast_as_it_is_read_and_nothing_is_left_out() {
    let replay = a_past("read");
    let config = SimConfig {
        pace: Pace::AsFastAsPossible { from: replay.from },
        market: Market::Calendar,
        replay: Some(replay),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let keyed = |request: reqwest::RequestBuilder| {
        request
            .header("APCA-API-KEY-ID", "sim-key")
            .header("APCA-API-SECRET-KEY", "sim-secret")
    };
    let url = sim.base_url();
    // Nobody reads yet, so nothing has happened: this order meets every price of the past. 150 is reached in the 51st minute.
    let order = json!({"symbol": "TEST", "qty": "1", "side": "buy", "type": "stop", "stop_price": "150", "time_in_force": "day"});
    let taken = keyed(client.post(format!("{url}/v2/orders")))
        .body(order.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(taken.status(), 200, "{:?}", taken.text().await);
    let mut socket = logged_in(&sim, "/v2/iex").await;
    say(
        &mut socket,
        json!({"action": "subscribe", "bars": ["TEST"], "trades": ["TEST"]}),
    )
    .await;
    let mut heard = std::collections::HashMap::<String, Vec<Value>>::new();
    while heard.get("b").is_none_or(|bars| bars.len() < 200) {
        for row in hear(&mut socket).await {
            heard
                .entry(row["T"].as_str().unwrap().to_owned())
                .or_default()
                .push(row);
        }
    }
    assert_eq!(heard["t"].len(), 800, "each bar is played as four trades");
    let bar = &heard["b"][199];
    assert_eq!(
        (&bar["t"], &bar["o"], &bar["h"], &bar["l"], &bar["c"], &bar["v"]),
        (
            &json!("2025-03-04T17:49:00Z"),
            &json!(299),
            &json!(301),
            &json!(298),
            &json!(299.5),
            &json!(400)
        )
    );
    let orders = keyed(client.get(format!("{url}/v2/orders?status=all")))
        .send()
        .await
        .unwrap();
    let orders: Value = serde_json::from_str(&orders.text().await.unwrap()).unwrap();
    assert_eq!(orders[0]["status"], "filled", "{orders:#}");
    assert!(
        orders[0]["filled_at"]
            .as_str()
            .unwrap()
            .starts_with("2025-03-04T15:1"),
        "in the time of the past: {orders:#}"
    );
    let bars = keyed(client.get(format!(
        "{url}/v2/stocks/bars?symbols=TEST&timeframe=1Day&start=2025-03-04"
    )))
    .send()
    .await
    .unwrap();
    let bars: Value = serde_json::from_str(&bars.text().await.unwrap()).unwrap();
    assert_eq!(
        (&bars["bars"]["TEST"][0]["o"], &bars["bars"]["TEST"][0]["v"]),
        (&json!(100), &json!(80_000))
    );
    sim.stop().await;
}

#[tokio::test]
async fn news_is_told_to_those_it_concerns() {
    let pace = Pace::Replay {
        from: "2025-03-04T15:00:00Z".parse().unwrap(),
        times: 6_000,
    };
    let sim = sim(SimConfig {
        pace,
        ..SimConfig::default()
    })
    .await;
    let mut socket = logged_in(&sim, "/v1beta1/news").await;
    say(&mut socket, json!({"action": "subscribe", "news": ["AAPL"]})).await;
    assert_eq!(
        hear(&mut socket).await,
        [json!({"T": "subscription", "news": ["AAPL"]})]
    );
    let items = rows(&mut socket, "n", 2).await;
    assert!(items[0]["id"].as_u64() < items[1]["id"].as_u64());
    for item in items {
        assert!(
            item["symbols"].as_array().unwrap().contains(&json!("AAPL")),
            "{item}"
        );
        assert!(
            item.get("S").is_none() && item["content"].as_str().unwrap().contains("invented"),
            "{item}"
        );
    }
    sim.stop().await;
}

#[tokio::test]
async fn streams_of_market_data_go_wrong_as_told() {
    let sim = sim(SimConfig::default()).await;
    let mut socket = logged_in(&sim, "/v2/iex").await;
    say(&mut socket, json!({"action": "subscribe", "trades": ["SPY"]})).await;
    rows(&mut socket, "t", 1).await;
    let ids = |rows: &[Value]| {
        rows.iter()
            .map(|row| row["i"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };

    sim.fault("stock_stream: duplicate").unwrap();
    let told = ids(&rows(&mut socket, "t", 10).await);
    let mut once = told.clone();
    once.dedup();
    assert!(once.len() < told.len(), "one frame came twice: {told:?}");

    sim.fault("stock_stream: without p").unwrap();
    let mut told = rows(&mut socket, "t", 1).await;
    while told.iter().all(|row| row.get("p").is_some()) {
        told = rows(&mut socket, "t", 1).await;
    }
    sim.fault("stock_stream: garbage-frame").unwrap();
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if message.is_binary() {
            assert!(serde_json::from_slice::<Value>(&message.into_data()).is_err());
            break;
        }
    }
    sim.fault("stock_stream: drop").unwrap();
    let mut end = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    while let Some(Ok(message)) = end {
        assert!(!message.is_close(), "the connection dies without a word");
        end = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    }
    sim.fault("stock_stream: refuse 90s").unwrap();
    match tokio_tungstenite::connect_async(request(&sim, "/v2/iex")).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 429),
        other => panic!("{other:?}"),
    }
    logged_in(&sim, "/v1beta3/crypto/us").await;
    sim.stop().await;
}

#[tokio::test]
async fn orders_go_on_while_nobody_reads_a_replay() {
    let replay = a_past("unread");
    let config = SimConfig {
        pace: Pace::AsFastAsPossible { from: replay.from },
        market: Market::Calendar,
        replay: Some(replay),
        ..SimConfig::default()
    };
    let sim = Sim::start(config).await.unwrap();
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let order = json!({"symbol": "TEST", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day", "client_order_id": "early"});
    let taken = client
        .post(format!("{}/v2/orders", sim.base_url()))
        .header("APCA-API-KEY-ID", "sim-key")
        .header("APCA-API-SECRET-KEY", "sim-secret")
        .body(order.to_string());
    assert_eq!(taken.send().await.unwrap().status(), 200);
    let filled = async {
        while sim
            .order("early")
            .is_none_or(|order| order.filled_avg_price().is_none())
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, filled)
        .await
        .expect("it fills at the price of the beginning");
    assert_eq!(
        sim.order("early").unwrap().filled_avg_price(),
        Some("100.01".parse().unwrap())
    );
    sim.stop().await;
}
