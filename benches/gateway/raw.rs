//! The same bytes, published by a bare program: `core COUNT SYMBOLS` or `stored COUNT SYMBOLS` on standard input. Headers as the
//! daemon's, so that the server has the same to do.

use std::collections::VecDeque;
use std::future::IntoFuture as _;

use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, Subject, jetstream};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

use super::{Result, now, symbol};

/// Publishes without an acknowledgement: as many as pay (measured).
const WINDOW: usize = 1024;
/// As large as the daemon's trades.
const PAYLOAD: usize = 62;

pub(super) async fn run(nats: &str) -> Result<()> {
    let client = async_nats::connect(nats).await?;
    let jetstream = jetstream::new(client.clone());
    println!("ready");
    let mut headers = HeaderMap::new();
    headers.insert("Nalpaca-Schema", "stream.v0.Trade");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, count, symbols] = words.as_slice() else {
            return Err(format!("{line:?} is no order").into());
        };
        let (count, symbols): (usize, usize) = (count.parse()?, symbols.parse()?);
        let subjects: Vec<Subject> = (0..symbols)
            .map(|number| format!("raw.data.v0.stocks.trades.{}", symbol(number)).into())
            .collect();
        let payload = payload();
        let mut unacknowledged = VecDeque::new();
        for number in 0..count {
            let subject = subjects[number % symbols].clone();
            if *kind == "core" {
                let sent = client.publish_with_headers(subject, headers.clone(), payload.clone());
                sent.await?;
                continue;
            }
            while unacknowledged.len() >= WINDOW {
                let oldest: Option<jetstream::context::PublishAckFuture> = unacknowledged.pop_front();
                if let Some(oldest) = oldest {
                    oldest.into_future().await?;
                }
            }
            let publish = PublishMessage::build()
                .headers(headers.clone())
                .payload(payload.clone());
            unacknowledged.push_back(jetstream.send_publish(subject, publish).await?);
        }
        for left in unacknowledged {
            left.into_future().await?;
        }
        client.flush().await?;
        println!("{count}");
    }
    Ok(())
}

/// A trade's bytes: the time at the beginning of all this, and what makes it as long as one.
fn payload() -> Bytes {
    use prost::encoding::{encode_varint, encoded_len_varint};
    let at = now();
    let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
    let mut payload = vec![2 << 3 | 2];
    let (seconds, nanos) = (seconds.cast_unsigned(), nanos.cast_unsigned());
    let len = 2 + encoded_len_varint(seconds) + encoded_len_varint(nanos);
    encode_varint(len as u64, &mut payload);
    for (tag, value) in [(1_u8, seconds), (2, nanos)] {
        payload.push(tag << 3);
        encode_varint(value, &mut payload);
    }
    let rest = PAYLOAD - payload.len() - 2;
    payload.extend([5 << 3 | 2, u8::try_from(rest).unwrap_or_default()]);
    payload.resize(PAYLOAD, b'V');
    payload.into()
}
