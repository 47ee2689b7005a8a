//! A program that trades: publishes orders evenly and hears what becomes of them (`orders PREFIX RATE COUNT SYMBOLS`,
//! or `blind ...` where nobody tells), or all at once and does not wait (`backlog PREFIX COUNT SYMBOLS`). Each order's id says when it was published.

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::proto::tradesvc;
use super::{Result, Spread, heard_by, moment_of, now, symbol};

/// So long without an outcome, and there will be no more.
const SILENCE: Duration = Duration::from_secs(5);
/// Publishes without an acknowledgement.
const WINDOW: usize = 1024;

pub(super) async fn run(nats: &str) -> Result<()> {
    let client = async_nats::connect(nats).await?;
    let jetstream = jetstream::new(client.clone());
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [kind @ ("orders" | "blind"), prefix, rate, count, symbols] => {
                let heard = client
                    .subscribe(format!("{prefix}.journal.v0.outcomes.>"))
                    .await?;
                heard_by(&client).await?;
                let to = Orders {
                    jetstream: &jetstream,
                    prefix,
                    symbols: symbols.parse()?,
                };
                let count = count.parse()?;
                let expected = if *kind == "orders" { count } else { 0 };
                let (published, latencies) =
                    tokio::join!(to.paced(rate.parse()?, count), outcomes(heard, expected));
                published?;
                let count = latencies.len();
                println!("{}", json!({ "count": count, "spread": Spread::of(latencies) }));
            }
            ["backlog", prefix, count, symbols] => {
                let to = Orders {
                    jetstream: &jetstream,
                    prefix,
                    symbols: symbols.parse()?,
                };
                to.at_once(count.parse()?).await?;
                println!("{count}");
            }
            other => return Err(format!("{other:?} is no order").into()),
        }
    }
    Ok(())
}

/// How long after each order's publish its outcome was heard.
async fn outcomes(mut heard: async_nats::Subscriber, count: usize) -> Vec<i64> {
    let mut latencies = Vec::with_capacity(count);
    while latencies.len() < count {
        let Ok(Some(message)) = tokio::time::timeout(SILENCE, heard.next()).await else {
            break;
        };
        let at = now();
        latencies.extend(moment_of(message.subject.as_str()).map(|published| at - published));
    }
    latencies
}

struct Orders<'a> {
    jetstream: &'a jetstream::Context,
    prefix: &'a str,
    symbols: usize,
}

impl Orders<'_> {
    fn subject(&self, number: usize) -> String {
        format!("{}.action.v0.orders.bench-{number}-{}", self.prefix, now())
    }

    fn payload(&self, number: usize) -> Bytes {
        let trade = tradesvc::Trade {
            symbol: symbol(number % self.symbols.max(1)),
            qty: "2".to_owned(),
            side: tradesvc::Side::Buy.into(),
            order_type: tradesvc::OrderType::Limit.into(),
            tif: tradesvc::TimeInForce::Day.into(),
            limit_price: "187.25".to_owned(),
            ..tradesvc::Trade::default()
        };
        trade.encode_to_vec().into()
    }

    /// The acknowledgements are waited for beside it, as a program does that goes on meanwhile.
    async fn paced(&self, rate: u64, count: usize) -> Result<()> {
        let period = Duration::from_nanos(1_000_000_000 / rate.max(1));
        let begin = Instant::now();
        let mut acknowledged = JoinSet::new();
        for number in 0..count {
            tokio::time::sleep_until(begin + period * u32::try_from(number)?).await;
            let payload = self.payload(number);
            let sent = self.jetstream.publish(self.subject(number), payload).await?;
            acknowledged.spawn(sent.into_future());
            while let Some(stored) = acknowledged.try_join_next() {
                stored??;
            }
        }
        while let Some(stored) = acknowledged.join_next().await {
            stored??;
        }
        Ok(())
    }

    async fn at_once(&self, count: usize) -> Result<()> {
        let mut unacknowledged = VecDeque::new();
        for number in 0..count {
            if unacknowledged.len() >= WINDOW {
                let oldest: Option<jetstream::context::PublishAckFuture> = unacknowledged.pop_front();
                if let Some(oldest) = oldest {
                    oldest.into_future().await?;
                }
            }
            let payload = self.payload(number);
            unacknowledged.push_back(self.jetstream.publish(self.subject(number), payload).await?);
        }
        for left in unacknowledged {
            left.into_future().await?;
        }
        Ok(())
    }
}
