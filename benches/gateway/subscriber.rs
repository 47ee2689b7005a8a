//! Hears what is published, and says how long it took: `expect SUBJECT COUNT` on standard input, a line of JSON on standard output
//! when so many have come, or none came for a while.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

use prost::Message as _;

use super::proto::tradesvc;
use super::{Result, Spread, heard_by, now};

/// So long without a message, and there will be no more.
const SILENCE: Duration = Duration::from_secs(4);

pub(super) async fn run(nats: &str) -> Result<()> {
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(1 << 20)
        .connect(nats)
        .await?;
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["expect", subject, count] = words.as_slice() else {
            return Err(format!("{line:?} is no order").into());
        };
        let count: usize = count.parse()?;
        let is_update = subject.contains("tradeupdates");
        let mut told = client.subscribe((*subject).to_owned()).await?;
        heard_by(&client).await?;
        println!("listening");
        let (mut first, mut last) = (i64::MAX, 0);
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count {
            let Ok(Some(message)) = tokio::time::timeout(SILENCE, told.next()).await else {
                break;
            };
            last = now();
            let at = if is_update {
                happened(&message.payload)
            } else {
                moment(&message.payload)
            };
            let at = at.ok_or("a message without a time")?;
            first = first.min(at);
            latencies.push(last - at);
        }
        told.unsubscribe().await?;
        println!(
            "{}",
            json!({
                "count": latencies.len(), "first": first, "last": last, "spread": Spread::of(latencies),
            })
        );
    }
    Ok(())
}

/// When a trade update happened.
fn happened(payload: &[u8]) -> Option<i64> {
    let at = tradesvc::TradeUpdate::decode(payload).ok()?.timestamp?;
    Some(at.seconds * 1_000_000_000 + i64::from(at.nanos))
}

/// Field 2 of a trade: seconds and nanoseconds.
fn moment(payload: &[u8]) -> Option<i64> {
    let mut rest = payload;
    loop {
        let (tag, left) = rest.split_first()?;
        let (len, left) = left.split_first()?;
        if *tag == 2 << 3 | 2 {
            let (mut seconds, mut nanos) = (0, 0);
            let mut inner = left.get(..usize::from(*len))?;
            while !inner.is_empty() {
                let tag = prost::encoding::decode_varint(&mut inner).ok()?;
                let value = prost::encoding::decode_varint(&mut inner).ok()?;
                if tag == 1 << 3 {
                    seconds = value;
                } else {
                    nanos = value;
                }
            }
            return Some(seconds.cast_signed() * 1_000_000_000 + nanos.cast_signed());
        }
        rest = left.get(usize::from(*len)..)?;
    }
}
