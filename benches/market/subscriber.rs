//! Hears what is published, and says how long it took: `expect SUBJECT COUNT` on standard input, a line of JSON on standard output
//! when so many have come, or none came for a while.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

use super::{Result, now};

/// So long without a message, and there will be no more.
const SILENCE: Duration = Duration::from_secs(2);

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
        let mut told = client.subscribe((*subject).to_owned()).await?;
        client.flush().await?;
        println!("listening");
        let (mut first, mut last) = (i64::MAX, 0);
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count {
            let Ok(Some(message)) = tokio::time::timeout(SILENCE, told.next()).await else {
                break;
            };
            last = now();
            let at = moment(&message.payload).ok_or("a message without a time")?;
            first = first.min(at);
            latencies.push(last - at);
        }
        told.unsubscribe().await?;
        latencies.sort_unstable();
        let at = |share: usize| {
            latencies
                .get(latencies.len() * share / 1000)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{}",
            json!({
                "count": latencies.len(), "first": first, "last": last,
                "p50": at(500), "p99": at(990),
            })
        );
    }
    Ok(())
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
