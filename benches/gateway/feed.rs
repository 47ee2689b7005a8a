//! A feed as the venue's, in MessagePack, that sends trades when it is told: `run TARGET RATE SYMBOLS MILLIS` and
//! `burst TARGET COUNT SYMBOLS` on standard input, an answer of how many were sent on standard output.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::{Result, now, symbol};

/// How often a frame is sent; at a thousand a second it has one trade.
const FRAME_EVERY: Duration = Duration::from_millis(1);
/// Trades in a frame of a burst.
const BURST_FRAME: usize = 100;

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;
/// Who listens, by the path they came by.
type Listeners = Arc<Mutex<HashMap<String, tokio::sync::mpsc::Sender<Vec<u8>>>>>;

pub(super) async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let listeners = Listeners::default();
    let local = tokio::task::LocalSet::new();
    let accepting = Arc::clone(&listeners);
    local.spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(socket, Arc::clone(&accepting)));
        }
    });
    local.run_until(orders(listeners)).await
}

/// Greets, believes everybody, confirms everything, and sends what there is to send.
async fn serve(socket: TcpStream, listeners: Listeners) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's form")]
    let look = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let mut socket = accept_hdr_async(socket, look).await.ok()?;
    say(&mut socket, json!([{"T": "success", "msg": "connected"}])).await?;
    hear(&mut socket).await?;
    say(&mut socket, json!([{"T": "success", "msg": "authenticated"}])).await?;
    let mut wanted = hear(&mut socket).await?;
    let confirmed = wanted.as_object_mut()?;
    confirmed.remove("action");
    let mut answer = serde_json::Map::new();
    answer.insert("T".to_owned(), "subscription".into());
    answer.append(confirmed);
    say(&mut socket, json!([answer])).await?;
    let (frames, mut to_send) = tokio::sync::mpsc::channel(64);
    listeners.lock().ok()?.insert(path, frames);
    loop {
        tokio::select! {
            frame = to_send.recv() => socket.send(Message::binary(frame?)).await.ok()?,
            heard = socket.next() => { heard?.ok()?; }
        }
    }
}

async fn say(socket: &mut Socket, rows: Value) -> Option<()> {
    // The type first, as the venue has it; serde_json's maps are sorted, and capitals come first.
    let bytes = rmp_serde::to_vec_named(&rows).ok()?;
    socket.send(Message::binary(bytes)).await.ok()
}

async fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        let message = socket.next().await?.ok()?;
        if message.is_binary() || message.is_text() {
            return rmp_serde::from_slice(&message.into_data()).ok();
        }
    }
}

async fn orders(listeners: Listeners) -> Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut trades = Trades::default();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["who", target] = words.as_slice() {
            let is_here = listeners
                .lock()
                .expect("nobody panics with it")
                .get(*target)
                .is_some_and(|listener| !listener.is_closed());
            println!("{}", if is_here { "here" } else { "nobody" });
            continue;
        }
        let to = |target: &str| {
            let listeners = listeners.lock().expect("nobody panics with it");
            listeners
                .get(target)
                .cloned()
                .ok_or(format!("nobody came by {target}"))
        };
        let sent = match words.as_slice() {
            ["run", target, rate, symbols, millis] => {
                let span = Duration::from_millis(millis.parse()?);
                let rate: u64 = rate.parse()?;
                flow(&to(target)?, &mut trades, rate, symbols.parse()?, span).await?
            }
            ["burst", target, count, symbols] => {
                let (count, symbols) = (count.parse()?, symbols.parse()?);
                let to = to(target)?;
                let mut left: usize = count;
                while left > 0 {
                    let some = left.min(BURST_FRAME);
                    to.send(trades.frame(some, symbols)).await?;
                    left -= some;
                }
                count
            }
            other => return Err(format!("{other:?} is no order").into()),
        };
        println!("{sent}");
    }
    Ok(())
}

async fn flow(
    to: &tokio::sync::mpsc::Sender<Vec<u8>>,
    trades: &mut Trades,
    rate: u64,
    symbols: usize,
    span: Duration,
) -> Result<usize> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(FRAME_EVERY);
    let mut sent = 0;
    loop {
        ticks.tick().await;
        let elapsed = began.elapsed().min(span);
        let due = usize::try_from(u128::from(rate) * elapsed.as_micros() / 1_000_000)?;
        if due > sent {
            to.send(trades.frame(due - sent, symbols)).await?;
            sent = due;
        }
        if elapsed == span {
            return Ok(sent);
        }
    }
}

/// Trades one after the other, of one symbol after the other.
#[derive(Default)]
struct Trades {
    number: u64,
}

impl Trades {
    fn frame(&mut self, count: usize, symbols: usize) -> Vec<u8> {
        let at = now();
        let mut frame = Vec::with_capacity(count * 80 + 8);
        // Writing to a vector cannot fail.
        let _ = rmp::encode::write_array_len(&mut frame, u32::try_from(count).unwrap_or(u32::MAX));
        for _ in 0..count {
            self.number += 1;
            let symbol = symbol(usize::try_from(self.number).unwrap_or_default() % symbols.max(1));
            write_trade(&mut frame, self.number, &symbol, at);
        }
        frame
    }
}

fn write_trade(to: &mut Vec<u8>, id: u64, symbol: &str, at: i64) -> Option<()> {
    use rmp::encode as write;
    let text = |to: &mut Vec<u8>, text: &str| write::write_str(to, text).ok();
    write::write_map_len(to, 9).ok()?;
    for (name, value) in [("T", "t"), ("S", symbol)] {
        text(to, name)?;
        text(to, value)?;
    }
    text(to, "i")?;
    write::write_uint(to, id).ok()?;
    text(to, "x")?;
    text(to, "V")?;
    text(to, "p")?;
    write::write_f64(to, 187.25).ok()?;
    text(to, "s")?;
    write::write_uint(to, 100).ok()?;
    text(to, "c")?;
    write::write_array_len(to, 1).ok()?;
    text(to, "@")?;
    text(to, "z")?;
    text(to, "C")?;
    text(to, "t")?;
    // Nanoseconds in the upper 30 bits, seconds in the lower 34.
    let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
    write::write_ext_meta(to, 8, -1).ok()?;
    let packed = u64::try_from(nanos).ok()? << 34 | u64::try_from(seconds).ok()?;
    to.extend_from_slice(&packed.to_be_bytes());
    Some(())
}
