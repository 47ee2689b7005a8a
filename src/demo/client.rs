//! An outside client: publishes commands, hears outcomes and trade updates, watches the positions key.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::Instant;

use crate::wire;

/// Longest wait for an answer. On one machine they take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something heard over NATS.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// What became of a command.
    Outcome(Value),
    /// An order event.
    Update(Value),
    /// The positions key has a new value.
    Positions(Value),
}

/// The outside client.
pub(super) struct Client {
    jetstream: jetstream::Context,
    outcomes: async_nats::Subscriber,
    updates: async_nats::Subscriber,
    positions: jetstream::kv::Watch,
    /// Trade updates heard, by event.
    pub(super) events: HashMap<String, usize>,
}

impl Client {
    pub(super) async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = async_nats::ConnectOptions::new()
            .name("nalpaca demo")
            .connect(url)
            .await?;
        let jetstream = jetstream::new(client.clone());
        // A plain subscription hears what goes into a stream as soon as it arrives.
        let outcomes = client.subscribe("nalpaca.journal.v0.outcomes.>").await?;
        let updates = client.subscribe("nalpaca.data.v0.tradeupdates.>").await?;
        let bucket = jetstream.get_key_value("nalpaca").await?;
        let positions = bucket.watch("positions").await?;
        client.flush().await?;
        Ok(Self {
            jetstream,
            outcomes,
            updates,
            positions,
            events: HashMap::new(),
        })
    }

    /// Publishes a command and waits until the stream has stored it. Says when the publish began.
    pub(super) async fn publish(&self, subject: &str, payload: Option<&Value>) -> anyhow::Result<Instant> {
        let mut message = jetstream::message::PublishMessage::build();
        if let Some(payload) = payload {
            // A publish that is tried again under the same id is stored once.
            message = message.payload(payload.to_string().into()).message_id(subject);
        }
        let began = Instant::now();
        self.jetstream
            .send_publish(subject.to_owned(), message)
            .await?
            .await
            .context("the stream did not store it")?;
        Ok(began)
    }

    /// The next thing heard.
    pub(super) async fn hear(&mut self) -> anyhow::Result<Heard> {
        let next = async {
            tokio::select! {
                biased;
                Some(message) = self.outcomes.next() => decode("Outcome", &message.payload).map(Heard::Outcome),
                Some(message) = self.updates.next() => decode("TradeUpdate", &message.payload).map(Heard::Update),
                Some(entry) = self.positions.next() => {
                    decode("Positions", &entry.context("watch positions")?.value).map(Heard::Positions)
                }
                else => bail!("NATS is gone"),
            }
        };
        let heard = tokio::time::timeout(PATIENCE, next)
            .await
            .context("nothing was heard for 10 s")??;
        if let Heard::Update(update) = &heard {
            *self.events.entry(text(&update["event"])).or_default() += 1;
        }
        Ok(heard)
    }
}

fn decode(message: &str, payload: &[u8]) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&wire::decode_to_json(
        message, payload, false,
    )?)?)
}

/// A field's text; empty when it is absent.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
