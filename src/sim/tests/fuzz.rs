//! Whatever arrives is answered or ends its connection, and the next good request works.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Pieces of requests, in and out of order, beside bytes that are none.
fn raw_request() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET ",
        "POST ",
        "DELETE ",
        "PATCH ",
        "PRI * HTTP/2.0",
        "\u{0}",
        "/v2/orders",
        "/v2/orders/%ff",
        "/stream",
        "/v2/events/trades?since=x",
        "/_sim/faults",
        "/_sim/truth?since=18446744073709551615",
        "/v2/account?a=%",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/9.9\r\n",
        "host: x\r\n",
        "content-length: 5\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: chunked\r\n",
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "authorization: Bearer sim-secret\r\n",
        "expect: 100-continue\r\n",
        "\r\n",
        "\r\n\r\n",
        "5\r\nabcde\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "{\"symbol\":",
        "submit_order: hang",
        "POST /_sim/price HTTP/1.1\r\nhost: x\r\ncontent-length: 51\r\n\r\n{\"symbol\":\"SPY\",\"price\":\"7922816251426433759354395\"}",
        "POST /_sim/market HTTP/1.1\r\nhost: x\r\ncontent-length: 19\r\n\r\n{\"market\":\"closed\"}",
        "GET /v2/stocks/bars?symbols=SPY&timeframe=1Min&start=-009999-01-01&end=9999-12-31&limit=5",
        "{}",
        "[[[[[[[[",
    ]);
    let piece = prop_oneof![
        4 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let well_formed = (
        prop::sample::select(vec!["GET", "POST", "DELETE", "PATCH", "PUT", "BREW"]),
        prop_oneof![
            prop::sample::select(Endpoint::ALL).prop_map(|endpoint| endpoint.path().replace("{}", "x")),
            "/[!-~]{0,30}",
            "/_sim/(state|faults|price|market|fill|reject|truth)",
        ],
        prop::collection::vec(any::<u8>(), 0..200),
    );
    let well_formed = well_formed.prop_map(|(method, path, body)| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sim-secret\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    });
    prop_oneof![
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        well_formed
    ]
}

fn frame() -> impl Strategy<Value = Message> {
    let dialogue = prop::sample::select(vec![
        r#"{"action":"auth","key":"sim-key","secret":"sim-secret"}"#,
        r#"{"action":"listen","data":{"streams":["trade_updates","trade_updates"]}}"#,
        r#"{"action":"listen","data":{"streams":null}}"#,
        r#"{"action":"listen","data":{"streams":{}}}"#,
        r#"{"action":"authenticate","data":[]}"#,
        r#"{"action":7}"#,
        r#"{"action":"unknown"}"#,
        r#"{"action":"subscribe","trades":["*"],"quotes":["SPY",7]}"#,
        r#"{"action":"subscribe","trades":["SPY"],"bars":null,"news":["*"]}"#,
        r#"{"action":"unsubscribe","quotes":{"SPY":[]}}"#,
        "[",
        "null",
    ]);
    prop_oneof![
        dialogue.prop_map(Message::text),
        "\\PC{0,60}".prop_map(Message::text),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| Message::Binary(bytes.into())),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| Message::Ping(bytes.into())),
        Just(Message::text("x".repeat(200_000))),
        Just(Message::text("[".repeat(30_000))),
        Just(Message::Close(None)),
    ]
}

/// What the server says until it ends the connection, which it must.
async fn exchange_bytes(sim: &Sim, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(sim.address()).await.unwrap();
    // The server may be done with us before we are with it.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let mut read = async || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read())
        .await
        .expect("the connection ends");
    answer
}

async fn converse(sim: &Sim, path: &str, frames: Vec<Message>) {
    let url = format!("ws://{}{path}", sim.address());
    let Ok((mut socket, _)) = tokio_tungstenite::connect_async(url).await else {
        return;
    };
    for frame in frames {
        if socket.send(frame).await.is_err() {
            break;
        }
    }
    let ask = async {
        if socket
            .send(Message::Ping(b"still there".to_vec().into()))
            .await
            .is_ok()
        {
            while let Some(Ok(message)) = socket.next().await {
                if message == Message::Pong(b"still there".to_vec().into()) {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, ask)
        .await
        .expect("an answer or the end");
}

async fn is_well(sim: &Sim) {
    sim.script().clear();
    let (status, _) = get(sim, "/v2/account").await;
    assert_eq!(status, 200);
    // Time still passes: an order is acknowledged and filled.
    sim.set_market(Market::Open);
    sim.set_price("AAPL", "200".parse().unwrap());
    let order = json!({"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day",
        "client_order_id": "after all"});
    assert_eq!(submit(sim, order).await.0, 200);
    let is_filled = || {
        sim.order("after all")
            .is_some_and(|order| order.status.as_str() == "filled")
    };
    eventually("the order fills", is_filled).await;
    eventually("the slot is free", || !sim.stream_is_connected()).await;
    drop(connect(sim).await.expect("a stream"));
    eventually("the slot is free again", || !sim.stream_is_connected()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_and_no_frames_bring_the_server_down(
        requests in prop::collection::vec(raw_request(), 1..8),
        frames in prop::collection::vec(frame(), 0..8),
        path in prop::sample::select(vec!["/stream", "/v2/iex", "/v2/test", "/v1beta3/crypto/us", "/v1beta1/opra", "/v1beta1/news"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = SimConfig { rate_limit_per_minute: 100_000, ..SimConfig::default() };
            let sim = sim(config).await;
            for request in &requests {
                exchange_bytes(&sim, request).await;
            }
            sim.fault("stream: refuse 0s").unwrap();
            sim.set_market(Market::Open);
            converse(&sim, path, frames).await;
            is_well(&sim).await;
            sim.stop().await;
        });
    }
}
