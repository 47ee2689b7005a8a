//! Who watches the journal's subjects, the ledger and the positions while a trial runs, past the proxies.
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use nalpaca::sim::Sim;
use rust_decimal::Decimal;
use serde_json::Value;

use super::arena::{now, seconds};
use super::judge::feed_history::{FeedHistory, Standing, State, Statement, Update, VenueFill};
use super::support::proto;
use super::support::world::{JOURNAL_STREAM, World};

const UPDATES: &str = "nalpaca.journal.v0.updates.>";
const LIVE: &str = "nalpaca.data.v0.tradeupdates.>";
const POSITIONS: &str = "$KV.nalpaca.positions";
const LEDGER: &str = "$KV.nalpaca-orders.";

/// A message, and when it was seen.
type Seen = (String, Bytes, f64);

/// A watcher. Gone when dropped.
pub(crate) struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Witness {
    #[expect(clippy::disallowed_methods, reason = "it is aborted with the witness")]
    pub(crate) async fn start(client: async_nats::Client) -> Self {
        let mut streams = Vec::new();
        for subject in [LIVE, POSITIONS, &format!("{LEDGER}>")] {
            let subject = subject.to_owned();
            streams.push(client.subscribe(subject).await.expect("subscribe"));
        }
        client.flush().await.expect("the subscriptions are there");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut messages = futures_util::stream::select_all(streams);
            while let Some(message) = messages.next().await {
                let line = (message.subject.to_string(), message.payload, now());
                noted.lock().expect("nobody panics while it is held").push(line);
            }
        });
        Self { seen, task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panics while it is held").clone()
    }

    /// How many order events a subscriber has seen.
    pub(crate) fn updates_seen(&self) -> usize {
        let seen = self.seen.lock().expect("nobody panics while it is held");
        seen.iter()
            .filter(|(subject, ..)| subject.starts_with("nalpaca.data."))
            .count()
    }

    /// How long each fill took from the venue to a subscriber.
    pub(crate) fn fill_latencies(&self, sim: &Sim) -> Vec<Duration> {
        let snapshot = sim.snapshot();
        let at: BTreeMap<(String, Decimal), f64> = snapshot
            .fills()
            .iter()
            .map(|fill| {
                (
                    (fill.order_id.to_string(), fill.cum_qty.normalize()),
                    seconds(fill.at),
                )
            })
            .collect();
        let live = self
            .seen()
            .into_iter()
            .filter(|(subject, ..)| subject.starts_with("nalpaca.data."));
        live.filter_map(|(_, payload, seen)| {
            let update = update(&payload, 0.0);
            let happened = at.get(&(update.order_id, update.cum_qty.normalize()))?;
            let is_heard = matches!(update.event.as_str(), "fill" | "partial_fill") && !update.recovered;
            is_heard.then(|| Duration::try_from_secs_f64(seen - happened).unwrap_or_default())
        })
        .collect()
    }

    /// What was seen, and how it all stands now.
    pub(crate) async fn history(&self, world: &World) -> FeedHistory {
        let seen = self.seen();
        let changes = seen
            .iter()
            .filter(|(subject, payload, _)| subject.starts_with(LEDGER) && !payload.is_empty())
            .filter_map(|(_, payload, _)| state(payload));
        let statements = seen
            .iter()
            .filter(|(subject, payload, _)| subject == POSITIONS && !payload.is_empty())
            .map(|(_, payload, seen)| statement(payload, *seen));
        let journal = all(&world.jetstream, JOURNAL_STREAM, UPDATES).await;
        let snapshot = world.sim.snapshot();
        let mut history = FeedHistory {
            fills: snapshot.fills().iter().map(venue_fill).collect(),
            standings: Vec::new(),
            // Of what the venue refused or never saw there is no order, and an event all the same.
            updates: journal
                .iter()
                .map(|(payload, stored)| update(payload, *stored))
                .filter(|update| !update.order_id.is_empty())
                .collect(),
            states: BTreeMap::new(),
            changes: changes.collect(),
            statements: statements.collect(),
            last: positions(&world.jetstream)
                .await
                .map(|value| statement(&value, now())),
        };
        for (payload, _) in all(&world.jetstream, "KV_nalpaca-orders", &format!("{LEDGER}>")).await {
            if let Some(state) = state(&payload).filter(|_| !payload.is_empty()) {
                history.states.insert(state.id.clone(), state);
            }
        }
        for order in snapshot.orders() {
            history.standings.push(Standing {
                order_id: order.id.to_string(),
                id: order.client_order_id.clone(),
                status: order.status.as_str().to_owned(),
                filled: order.filled_qty,
            });
        }
        history
    }
}

/// Every message a stream holds under a subject now, and when it was stored.
async fn all(jetstream: &jetstream::Context, stream: &str, subject: &str) -> Vec<(Bytes, f64)> {
    let mut found = Vec::new();
    let Ok(stream) = jetstream.get_stream(stream).await else {
        return found;
    };
    let config = jetstream::consumer::pull::Config {
        ack_policy: jetstream::consumer::AckPolicy::None,
        filter_subject: subject.to_owned(),
        inactive_threshold: Duration::from_secs(10),
        ..jetstream::consumer::pull::Config::default()
    };
    let Ok(consumer) = stream.create_consumer(config).await else {
        return found;
    };
    let pending = usize::try_from(consumer.cached_info().num_pending).unwrap_or_default();
    while found.len() < pending {
        let batch = consumer.fetch().max_messages((pending - found.len()).min(1000));
        let Ok(mut messages) = batch.messages().await else {
            return found;
        };
        let before = found.len();
        while let Some(Ok(message)) = messages.next().await {
            let nanos = message
                .info()
                .map_or(0, |info| info.published.unix_timestamp_nanos());
            let stored = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()).as_secs_f64();
            found.push((message.payload.clone(), stored));
        }
        if found.len() == before {
            return found;
        }
    }
    found
}

/// The positions as they are now; the bucket may be gone.
async fn positions(jetstream: &jetstream::Context) -> Option<Bytes> {
    let bucket = jetstream.get_key_value("nalpaca").await.ok()?;
    bucket.get("positions").await.ok()?
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap_or_default().parse().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn instant(value: &Value) -> f64 {
    let at: Option<Timestamp> = value.as_str().and_then(|text| text.parse().ok());
    at.map_or(0.0, seconds)
}

fn status(value: &Value) -> String {
    // An enum in one version of the contract and the venue's word in another.
    text(value).trim_start_matches("ORDER_STATUS_").to_lowercase()
}

fn update(payload: &[u8], stored: f64) -> Update {
    let update = proto::decode("tradesvc.v0.TradeUpdate", payload);
    Update {
        order_id: text(&update["order"]["id"]),
        event: text(&update["event"]),
        status: status(&update["order"]["status"]),
        cum_qty: decimal(&update["order"]["filled_qty"]),
        recovered: update["recovered"] == true,
        stored,
    }
}

fn state(payload: &[u8]) -> Option<State> {
    let record = proto::decode("tradesvc.v0.OrderRecord", payload);
    let order = record.get("order").filter(|order| order.is_object())?;
    Some(State {
        id: text(&record["client_order_id"]),
        order_id: text(&order["id"]),
        status: status(&order["status"]),
        filled: decimal(&order["filled_qty"]),
    })
}

fn statement(payload: &[u8], seen: f64) -> Statement {
    let positions = proto::decode("tradesvc.v0.Positions", payload);
    let held = positions["positions"].as_array().into_iter().flatten();
    Statement {
        as_of: instant(&positions["as_of"]),
        seen,
        fresh: positions["fresh"] == true,
        held: held
            .map(|position| (text(&position["symbol"]), decimal(&position["qty"])))
            .collect(),
    }
}

fn venue_fill(fill: &nalpaca::sim::core::Fill) -> VenueFill {
    VenueFill {
        order_id: fill.order_id.to_string(),
        symbol: fill.symbol.clone(),
        moved: if fill.side.as_str() == "buy" {
            fill.qty
        } else {
            -fill.qty
        },
        cum_qty: fill.cum_qty,
        at: seconds(fill.at),
    }
}
