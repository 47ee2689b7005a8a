//! A venue that does next to nothing: it notes when an order's body is there, and answers. On its standard input it hears
//! `delay MILLIS`, `take` (answered with what came since the last one), and `updates TARGET RATE COUNT`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Upgrade, Response as Upgraded};

use super::{Result, Spread, between, moment_of, now};

/// Events of one order: those of a market order in session.
const EVENTS: [(&str, &str); 3] = [("pending_new", "pending_new"), ("new", "new"), ("fill", "filled")];

#[derive(Default)]
struct Venue {
    delay: Cell<Duration>,
    orders: Cell<u64>,
    /// When each order's body was there, and how long after it was published.
    bodies: RefCell<Vec<(i64, i64)>>,
    /// How long orders were kept waiting, nanoseconds.
    kept: RefCell<Vec<i64>>,
    /// Who listens, by the path they came by, the latest last.
    listeners: RefCell<HashMap<String, Vec<mpsc::Sender<Vec<u8>>>>>,
}

pub(super) async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let venue = Rc::new(Venue::default());
    let local = tokio::task::LocalSet::new();
    let accepting = Rc::clone(&venue);
    local.spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(socket, Rc::clone(&accepting)));
        }
    });
    local.run_until(orders(&venue)).await
}

async fn serve(socket: TcpStream, venue: Rc<Venue>) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut first = [0; 16];
    // The paths of the sockets are told from the others by their first letters.
    loop {
        match socket.peek(&mut first).await.ok()? {
            // Opened for an order that went by another connection, and closed again.
            0 => return None,
            some if some == first.len() => break,
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    if first.starts_with(b"GET /stream") || first.starts_with(b"GET /floor") {
        return listen(socket, &venue).await;
    }
    let answer = service_fn(move |request| answer(Rc::clone(&venue), request));
    http1::Builder::new()
        .serve_connection(TokioIo::new(socket), answer)
        .await
        .ok()
}

async fn answer(
    venue: Rc<Venue>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let is_order = request.method() == Method::POST;
    let path = request.uri().path().to_owned();
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let (status, text) = if is_order {
        (200, place(&venue, &body).await)
    } else {
        look(&path)
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-ratelimit-limit", "10000000")
        .header("x-ratelimit-remaining", "9999999")
        .header("x-request-id", "6f9d6b9c6f9d6b9c6f9d6b9c6f9d6b9c")
        .body(Full::new(text.into()));
    Ok(response.expect("the parts of it are fixed"))
}

async fn place(venue: &Venue, body: &[u8]) -> String {
    let at = now();
    let id = between(body, b"\"client_order_id\":\"", b'"').unwrap_or_default();
    let symbol = between(body, b"\"symbol\":\"", b'"').unwrap_or_default();
    if let Some(published) = moment_of(id) {
        venue.bodies.borrow_mut().push((at, at - published));
    }
    if !venue.delay.get().is_zero() {
        tokio::time::sleep(venue.delay.get()).await;
        venue.kept.borrow_mut().push(now() - at);
    }
    venue.orders.set(venue.orders.get() + 1);
    // Filled at once, so that it is over for whoever keeps count of open orders.
    order(
        venue.orders.get(),
        id,
        symbol,
        "filled",
        "2026-11-27T15:04:05.123456Z",
    )
}

/// An order as the venue has it.
fn order(number: u64, client_order_id: &str, symbol: &str, status: &str, created_at: &str) -> String {
    let filled = if status == "filled" { "2" } else { "0" };
    format!(
        r#"{{"id":"61e69015-8549-4bfd-b9c3-{number:012x}","client_order_id":"{client_order_id}","created_at":"{created_at}","updated_at":"{created_at}","submitted_at":"{created_at}","filled_at":null,"expired_at":null,"canceled_at":null,"failed_at":null,"replaced_at":null,"replaced_by":null,"replaces":null,"asset_id":"904837e3-3b76-47ec-b432-046db621571b","symbol":"{symbol}","asset_class":"us_equity","notional":null,"qty":"2","filled_qty":"{filled}","filled_avg_price":null,"order_class":"","order_type":"limit","type":"limit","side":"buy","position_intent":"buy_to_open","time_in_force":"day","limit_price":"187.25","stop_price":null,"status":"{status}","extended_hours":false,"legs":null,"trail_percent":null,"trail_price":null,"hwm":null,"subtag":null,"source":null,"expires_at":"2026-11-27T21:00:00Z"}}"#
    )
}

fn look(path: &str) -> (u16, String) {
    match path {
        "/v2/account" => {
            let account = json!({
                "id": "c8f1ef5d-edc0-4f23-9ee4-378f19cb92a4", "account_number": "PA0000000001", "status": "ACTIVE",
                "currency": "USD", "cash": "100000", "portfolio_value": "100000", "equity": "100000",
                "last_equity": "100000", "buying_power": "200000", "pattern_day_trader": false,
                "trading_blocked": false, "transfers_blocked": false, "account_blocked": false,
                "created_at": "2026-01-02T00:00:00Z", "multiplier": "2", "shorting_enabled": true,
                "long_market_value": "0", "short_market_value": "0", "initial_margin": "0",
                "maintenance_margin": "0", "daytrade_count": 0,
            });
            (200, account.to_string())
        }
        "/v2/clock" => {
            let timestamp = jiff::Timestamp::from_nanosecond(now().into())
                .unwrap_or_default()
                .to_string();
            let clock = json!({
                "timestamp": timestamp, "is_open": true,
                "next_open": "2026-11-30T09:30:00-05:00", "next_close": "2026-11-27T16:00:00-05:00",
            });
            (200, clock.to_string())
        }
        "/v2/positions" | "/v2/orders" | "/v2/account/activities" => (200, "[]".to_owned()),
        _ => (404, r#"{"code":40410000,"message":"not found"}"#.to_owned()),
    }
}

/// A socket of trade updates: believes everybody, and sends what there is to send.
async fn listen(socket: TcpStream, venue: &Venue) -> Option<()> {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's form")]
    let look = |request: &Upgrade, response: Upgraded| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let mut socket = accept_hdr_async(socket, look).await.ok()?;
    let authorized =
        json!({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}});
    let listening = json!({"stream": "listening", "data": {"streams": ["trade_updates"]}});
    for answer in [authorized, listening] {
        while !socket.next().await?.ok()?.is_text() {}
        socket.send(Message::binary(answer.to_string())).await.ok()?;
    }
    let (frames, mut to_send) = mpsc::channel(64);
    venue.listeners.borrow_mut().entry(path).or_default().push(frames);
    loop {
        tokio::select! {
            frame = to_send.recv() => socket.send(Message::binary(frame?)).await.ok()?,
            heard = socket.next() => { heard?.ok()?; }
        }
    }
}

async fn orders(venue: &Venue) -> Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["delay", millis] => {
                venue.delay.set(Duration::from_millis(millis.parse()?));
                "set".to_owned()
            }
            ["count"] => venue.bodies.borrow().len().to_string(),
            ["take"] => take(venue),
            ["who", target] => {
                let listeners = venue.listeners.borrow();
                let is_here = listeners
                    .get(*target)
                    .is_some_and(|listeners| listeners.iter().any(|listener| !listener.is_closed()));
                if is_here { "here" } else { "nobody" }.to_owned()
            }
            ["updates", target, rate, count] => {
                let to = venue
                    .listeners
                    .borrow()
                    .get(*target)
                    .and_then(|all| all.iter().rev().find(|listener| !listener.is_closed()).cloned());
                let to = to.ok_or(format!("nobody came by {target}"))?;
                updates(venue, &to, rate.parse()?, count.parse()?).await?
            }
            other => return Err(format!("{other:?} is no order").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

/// What came since the last time.
fn take(venue: &Venue) -> String {
    let bodies = std::mem::take(&mut *venue.bodies.borrow_mut());
    let kept = std::mem::take(&mut *venue.kept.borrow_mut());
    let gaps = bodies.windows(2).zip(1..).map(|(pair, number)| match pair {
        [(one, _), (next, _)] => (next - one, number),
        _ => (0, number),
    });
    let (gap, before): (i64, usize) = gaps.max().unwrap_or_default();
    json!({
        "count": bodies.len(),
        "first": bodies.first().map_or(0, |(at, _)| *at),
        "last": bodies.last().map_or(0, |(at, _)| *at),
        "gap": gap,
        "before": before,
        "kept": kept.iter().sum::<i64>().checked_div(i64::try_from(kept.len()).unwrap_or(1)).unwrap_or_default(),
        "spread": Spread::of(bodies.iter().map(|(_, latency)| *latency).collect()),
    })
    .to_string()
}

/// Sends the events of one order after the other, evenly.
async fn updates(venue: &Venue, to: &mpsc::Sender<Vec<u8>>, rate: u64, count: usize) -> Result<String> {
    let period = Duration::from_nanos(1_000_000_000 / rate.max(1));
    let begin = Instant::now();
    // Orders that are placed meanwhile are numbered, too: an order keeps its number until it is over.
    let (mut number, mut created_at) = (0, String::new());
    for sent in 0..count {
        tokio::time::sleep_until(begin + period * u32::try_from(sent)?).await;
        let (event, status) = EVENTS[sent % EVENTS.len()];
        let at = now();
        let timestamp = jiff::Timestamp::from_nanosecond(at.into())?;
        if sent % EVENTS.len() == 0 {
            number = venue.orders.get() + 1;
            venue.orders.set(number);
            created_at = timestamp.to_string();
        }
        let name = format!("bench-{number}");
        let order = order(number, &name, "AAPL", status, &created_at);
        let fill = match event {
            "fill" => r#","price":"187.25","qty":"2","position_qty":"0""#,
            _ => "",
        };
        let frame = format!(
            r#"{{"stream":"trade_updates","data":{{"at":"{timestamp}","event":"{event}","event_id":"01KB{at:022}","execution_id":"2f63ea93-423d-4169-b3f6-{sent:06x}{:06x}","order":{order},"timestamp":"{timestamp}"{fill}}}}}"#,
            number & 0xff_ffff,
        );
        to.send(frame.into_bytes()).await?;
    }
    Ok(count.to_string())
}
