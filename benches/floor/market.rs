//! The least that does the job: one socket, each trade decoded, written as protobuf and published. No reconnects, no bounds, no
//! last values, no metrics, no headers.

use std::collections::HashMap;

use async_nats::Subject;
use bytes::{BufMut as _, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use rmp::Marker;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::Result;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

pub(crate) async fn run(feed: &str, nats: &str) -> Result<()> {
    let client = async_nats::connect(nats).await?;
    let (mut socket, _) = connect_async(format!("ws://{feed}/floor")).await?;
    data(&mut socket).await?;
    for question in [
        serde_json::json!({"action": "auth", "key": "k", "secret": "s"}),
        serde_json::json!({"action": "subscribe", "trades": ["*"]}),
    ] {
        socket
            .send(Message::binary(rmp_serde::to_vec_named(&question)?))
            .await?;
        data(&mut socket).await?;
    }
    println!("ready");
    let mut subjects: HashMap<String, Subject> = HashMap::new();
    let mut buffer = BytesMut::new();
    loop {
        let frame = data(&mut socket).await?;
        let mut rest = frame.as_ref();
        for _ in 0..rmp::decode::read_array_len(&mut rest)? {
            let trade = read(&mut rest).ok_or("a trade that cannot be read")?;
            write(&mut buffer, &trade);
            let subject = match subjects.get(trade.symbol) {
                Some(subject) => subject.clone(),
                None => {
                    let subject = Subject::from(format!("floor.data.v0.stocks.trades.{}", trade.symbol));
                    subjects.insert(trade.symbol.to_owned(), subject.clone());
                    subject
                }
            };
            client.publish(subject, buffer.split().freeze()).await?;
        }
    }
}

async fn data(socket: &mut Socket) -> Result<bytes::Bytes> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("the feed has gone".into()),
        }
    }
}

#[derive(Default)]
struct Trade<'a> {
    symbol: &'a str,
    id: u64,
    exchange: &'a str,
    price: f64,
    size: u64,
    condition: &'a str,
    tape: &'a str,
    seconds: u64,
    nanos: u64,
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<Trade<'a>> {
    let mut trade = Trade::default();
    for _ in 0..rmp::decode::read_map_len(rest).ok()? {
        match text(rest)? {
            "S" => trade.symbol = text(rest)?,
            "x" => trade.exchange = text(rest)?,
            "z" => trade.tape = text(rest)?,
            "i" => trade.id = rmp::decode::read_int(rest).ok()?,
            "s" => trade.size = rmp::decode::read_int(rest).ok()?,
            "p" => trade.price = rmp::decode::read_f64(rest).ok()?,
            "c" => {
                for _ in 0..rmp::decode::read_array_len(rest).ok()? {
                    trade.condition = text(rest)?;
                }
            }
            "t" => {
                rmp::decode::read_ext_meta(rest).ok()?;
                let (packed, left) = rest.split_first_chunk::<8>()?;
                let packed = u64::from_be_bytes(*packed);
                (trade.seconds, trade.nanos) = (packed & ((1 << 34) - 1), packed >> 34);
                *rest = left;
            }
            "T" => {
                text(rest)?;
            }
            _ => return None,
        }
    }
    Some(trade)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (first, left) = rest.split_first()?;
    let Marker::FixStr(len) = Marker::from_u8(*first) else {
        return None;
    };
    let (text, left) = left.split_at_checked(usize::from(len))?;
    *rest = left;
    std::str::from_utf8(text).ok()
}

fn write(to: &mut BytesMut, trade: &Trade<'_>) {
    use prost::encoding::{encode_varint, encoded_len_varint};
    to.reserve(160);
    let text = |to: &mut BytesMut, tag: u8, text: &str| {
        to.put_u8(tag << 3 | 2);
        encode_varint(text.len() as u64, to);
        to.put_slice(text.as_bytes());
    };
    text(to, 1, trade.symbol);
    to.put_u8(2 << 3 | 2);
    let len = 2 + encoded_len_varint(trade.seconds) + encoded_len_varint(trade.nanos);
    encode_varint(len as u64, to);
    for (tag, value) in [(1, trade.seconds), (2, trade.nanos)] {
        to.put_u8(tag << 3);
        encode_varint(value, to);
    }
    to.put_u8(3 << 3 | 1);
    to.put_f64_le(trade.price);
    to.put_u8(4 << 3 | 1);
    to.put_f64_le(trade.size as f64);
    text(to, 5, trade.exchange);
    to.put_u8(6 << 3);
    encode_varint(trade.id, to);
    text(to, 7, trade.condition);
    text(to, 8, trade.tape);
}
