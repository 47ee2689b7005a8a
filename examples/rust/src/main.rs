//! A client of the gateway: orders and their outcomes, order events, positions, cancels, bars. It speaks NATS alone: no key
//! of Alpaca's, no library of theirs.
//!
//! ```sh
//! cargo run -- order AAPL buy 1
//! ```
//!
//! NATS_URL and PREFIX say where.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::{HeaderMap, jetstream};
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::time::timeout;

#[allow(dead_code, reason = "generated; this program needs a part of it")]
mod tradesvc {
    include!(concat!(env!("OUT_DIR"), "/tradesvc.v0.rs"));
}
#[allow(dead_code, reason = "generated; this program needs a part of it")]
mod stream {
    include!(concat!(env!("OUT_DIR"), "/stream.v0.rs"));
}

const USAGE: &str = "usage:
  order SYMBOL buy|sell QTY        place an order at the market, wait for its outcome
  cancel CLIENT_ORDER_ID           cancel it, wait for the outcome
  follow FILE [--until-now]        every order event, from where FILE says it stopped
  positions [--count N]            what the account holds, whenever it changes
  bars SYMBOL DATE                 daily bars since then";

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let client = Client::connect().await?;
    match words.as_slice() {
        ["order", symbol, side, qty] => client.order(symbol, side, qty).await,
        ["cancel", id] => client.cancel(id).await,
        ["follow", file] => client.follow(Path::new(file), false).await,
        ["follow", file, "--until-now"] => client.follow(Path::new(file), true).await,
        ["positions"] => client.positions(usize::MAX).await,
        ["positions", "--count", count] => client.positions(count.parse()?).await,
        ["bars", symbol, start] => client.bars(symbol, start).await,
        _ => bail!(USAGE),
    }
}

struct Client {
    nats: async_nats::Client,
    js: jetstream::Context,
    prefix: String,
}

fn variable(name: &str, otherwise: &str) -> String {
    env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| otherwise.to_owned())
}

/// One token of a subject or key: any byte but A-Z a-z 0-9 - _ / is written =HH. "BRK.B" is "BRK=2EB".
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' => char::from(byte).to_string(),
            _ => format!("={byte:02X}"),
        })
        .collect()
}

/// A client order id: its dots split tokens.
fn escape_id(id: &str) -> String {
    id.split('.').map(escape).collect::<Vec<_>>().join(".")
}

impl Client {
    async fn connect() -> anyhow::Result<Self> {
        let nats = async_nats::connect(variable("NATS_URL", "nats://localhost:4222")).await?;
        Ok(Self {
            js: jetstream::new(nats.clone()),
            nats,
            prefix: variable("PREFIX", "nalpaca"),
        })
    }

    /// Publishes a command and waits for its one terminal outcome. The outcome is listened for first, so that it cannot be
    /// missed; the command's sequence tells it from those of commands with the same id.
    async fn settle(&self, kind: &str, id: &str, payload: Vec<u8>) -> anyhow::Result<tradesvc::Outcome> {
        let (prefix, spelled) = (&self.prefix, escape_id(id));
        let mut outcomes = self
            .nats
            .subscribe(format!("{prefix}.journal.v0.outcomes.{spelled}"))
            .await?;
        let subject = format!("{prefix}.action.v0.{kind}.{spelled}");
        let stored = self.js.publish(subject, payload.into()).await?.await;
        let stored = stored
            .context("publish; publish again under the same id")?
            .sequence;
        let settled = async {
            while let Some(message) = outcomes.next().await {
                let outcome = tradesvc::Outcome::decode(message.payload)?;
                if outcome.terminal && outcome.stream_sequence == stored {
                    return Ok(outcome);
                }
            }
            bail!("the connection has ended")
        };
        timeout(PATIENCE, settled)
            .await
            .with_context(|| format!("{id} is stored as {stored}, and nothing is known of it yet"))?
    }

    async fn order(&self, symbol: &str, side: &str, qty: &str) -> anyhow::Result<()> {
        let side = match side {
            "buy" => tradesvc::Side::Buy,
            "sell" => tradesvc::Side::Sell,
            _ => bail!(USAGE),
        };
        let trade = tradesvc::Trade {
            symbol: symbol.to_owned(),
            side: side.into(),
            qty: qty.to_owned(),
            order_type: tradesvc::OrderType::Market.into(),
            tif: tradesvc::TimeInForce::Day.into(),
            ..Default::default()
        };
        let id = format!("rust.{}", uuid::Uuid::now_v7());
        show(&self.settle("orders", &id, trade.encode_to_vec()).await?)
    }

    async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        show(&self.settle("cancel", id, Vec::new()).await?)
    }

    /// Shows each order event once, also over restarts of this program: the sequence of the last one it has dealt with is
    /// all it has to remember.
    async fn follow(&self, file: &Path, until_now: bool) -> anyhow::Result<()> {
        let next = match fs::read_to_string(file) {
            Ok(text) => text.trim().parse::<u64>().context("the file holds no sequence")? + 1,
            Err(_) => 1,
        };
        let journal = self
            .js
            .get_stream(variable("JOURNAL_STREAM", "nalpaca-journal-stream-v0"))
            .await?;
        // An ordered consumer notices what it misses and asks for it again.
        let consumer = journal
            .create_consumer(OrderedConfig {
                filter_subject: format!("{}.journal.v0.updates.>", self.prefix),
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next },
                ..Default::default()
            })
            .await?;
        let mut updates = consumer.messages().await?;
        loop {
            let message = match timeout(Duration::from_secs(1), updates.next()).await {
                Ok(Some(message)) => message?,
                Ok(None) => bail!("the consumer has ended"),
                Err(_) if until_now => return Ok(()),
                Err(_) => continue,
            };
            let sequence = message.info().map_err(anyhow::Error::from_boxed)?.stream_sequence;
            let update = tradesvc::TradeUpdate::decode(message.payload.clone())?;
            let order = update.order.unwrap_or_default();
            println!(
                "{}",
                format!(
                    "{sequence} {} {} {}",
                    update.event, order.client_order_id, update.qty
                )
                .trim_end()
            );
            // After it was dealt with, whole or not at all.
            let fresh = file.with_extension("new");
            fs::write(&fresh, sequence.to_string())?;
            fs::rename(&fresh, file)?;
        }
    }

    async fn positions(&self, count: usize) -> anyhow::Result<()> {
        let bucket = self
            .js
            .get_key_value(variable("NATS_KV_BUCKET", "nalpaca"))
            .await?;
        let mut changes = bucket.watch_with_history("positions").await?.take(count);
        while let Some(entry) = changes.next().await {
            let positions = tradesvc::Positions::decode(entry?.value)?;
            let held: Vec<_> = positions
                .positions
                .iter()
                .map(|held| format!("{} {}", held.qty, held.symbol))
                .collect();
            let as_of = positions.as_of.unwrap_or_default();
            // An empty list is flat; what is not fresh is vouched for by nobody.
            println!(
                "positions: [{}] as of {as_of}, fresh {}",
                held.join(", "),
                positions.fresh
            );
        }
        Ok(())
    }

    async fn bars(&self, symbol: &str, start: &str) -> anyhow::Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/protobuf");
        let mut question = stream::BarsRequest {
            symbols: vec![symbol.to_owned()],
            timeframe: "1Day".to_owned(),
            start: start.to_owned(),
            ..Default::default()
        };
        loop {
            let subject = format!("{}.svc.v0.bars.history", self.prefix);
            let request =
                self.nats
                    .request_with_headers(subject, headers.clone(), question.encode_to_vec().into());
            let answer = timeout(PATIENCE, request).await.context("no answer")??;
            let header = |name: &str| answer.headers.as_ref()?.get(name).map(|value| value.to_string());
            let refused = header("Nats-Service-Error-Code");
            ensure!(
                refused.is_none(),
                "{}: {}",
                refused.unwrap_or_default(),
                header("Nats-Service-Error").unwrap_or_default()
            );
            let reply = stream::BarsReply::decode(answer.payload)?;
            for bar in &reply.bars {
                let date = bar.timestamp.map(|at| at.to_string()).unwrap_or_default();
                println!(
                    "{} {} close {:.2}",
                    &date[..10.min(date.len())],
                    bar.symbol,
                    bar.close
                );
            }
            if reply.next_page_token.is_empty() {
                return Ok(());
            }
            question.page_token = reply.next_page_token;
        }
    }
}

fn show(outcome: &tradesvc::Outcome) -> anyhow::Result<()> {
    let kind = outcome.kind();
    let word = kind.as_str_name().trim_start_matches("OUTCOME_KIND_");
    let line = format!(
        "{word} {} {} {}",
        outcome.client_order_id, outcome.reason, outcome.message
    );
    println!("{}", line.trim_end());
    ensure!(kind == tradesvc::OutcomeKind::Accepted, "not accepted");
    Ok(())
}
