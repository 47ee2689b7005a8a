//! One trial's world: NATS, the venue and the daemon, with a proxy before each of the first two, and publishers and
//! readers that go past the proxies.
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{FromConsumer as _, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use nalpaca::sim::{Sim, SimConfig};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::judge::checker::Violation;
use super::judge::feed_checker;
use super::judge::feed_history::Bounds;
use super::judge::history::{Ack, Asks, Command, Departure, History, Kind, Outcome, Request, VenueOrder};
use super::proxy::{Proxy, Weather};
use super::support::daemon::{Environment, KEY, SECRET};
use super::support::world::{ACTION_STREAM, JOURNAL_STREAM, World, environment};
use super::support::{Daemon, NatsServer, Release, proto};
use super::witness::Witness;

const ORDERS_CONSUMER: &str = "nalpaca-orders-consumer-v0";

/// Longest wait for a publish to be acknowledged.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a world to come to rest once it is healed.
const QUIESCE: Duration = Duration::from_secs(120);
/// Longest wait until everything that was missed is told: a mute stream is found in half a minute.
const FEED_QUIESCE: Duration = Duration::from_secs(45);
/// Longest wait for the venue to carry out what it was told.
const VENUE_QUIESCE: Duration = Duration::from_secs(5);
/// Deadline of commands that name none.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(120);

/// The world of one trial.
pub(crate) struct Arena {
    pub(crate) world: World,
    pub(crate) to_nats: Proxy,
    pub(crate) to_venue: Proxy,
    pub(crate) publisher: Publisher,
    /// Longest wait for the world to come to rest.
    pub(crate) patience: Duration,
    /// What was done to the world, and how often.
    pub(crate) faults: BTreeMap<String, usize>,
    /// Who watches what is told.
    pub(crate) witness: Witness,
    /// What the drop copy and the mirrors are judged by; `None` where the trial takes away what they need.
    pub(crate) feed: Option<Bounds>,
}

/// Publishes commands, and remembers them.
pub(crate) struct Publisher {
    jetstream: jetstream::Context,
    commands: Vec<Command>,
    stream_created: i128,
}

/// What an arena is made of.
pub(crate) struct Setup {
    pub(crate) release: Release,
    pub(crate) environment: Environment,
    pub(crate) sim: SimConfig,
    /// The daemon is run at once.
    pub(crate) run: bool,
}

impl Setup {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            release: Release::Recent,
            environment: Environment::new(),
            sim: SimConfig {
                key: KEY.to_owned(),
                secret: SECRET.to_owned(),
                rate_limit_per_minute: 1_000_000,
                tick: Duration::from_millis(10),
                event_delay: Duration::from_millis(1),
                seed,
                ..SimConfig::default()
            },
            run: true,
        }
    }

    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Runs all of it, and waits until the daemon is ready.
    pub(crate) async fn start(self) -> Arena {
        let nats = NatsServer::start(self.release).await;
        let sim = Sim::start(self.sim).await.expect("start the simulator");
        let to_nats = Proxy::start(nats.url()).await;
        let to_venue = Proxy::start(sim.address().to_string()).await;
        let mut variables = environment(&nats, &sim);
        variables.insert("NATS_URL".to_owned(), to_nats.address().to_string());
        variables.insert("ALPACA_URL".to_owned(), format!("http://{}", to_venue.address()));
        variables.insert("RATE_LIMIT_PER_MINUTE".to_owned(), "100000".to_owned());
        variables.insert("HTTP_CLIENT_TIMEOUT".to_owned(), "2s".to_owned());
        variables.insert("INSTANCE".to_owned(), "first".to_owned());
        variables.extend(self.environment);
        let client = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .ping_interval(Duration::from_secs(2))
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(nats.url())
            .await
            .expect("the address can be parsed");
        let mut daemon = Daemon::start(variables);
        daemon.ready().await;
        if !self.run {
            daemon.kill9();
        }
        let witness = Witness::start(client.clone()).await;
        let jetstream = jetstream::new(client);
        let mut publisher = Publisher {
            jetstream: jetstream.clone(),
            commands: Vec::new(),
            stream_created: 0,
        };
        publisher.look_at_the_stream().await;
        let world = World {
            daemon,
            jetstream,
            sim,
            nats,
        };
        Arena {
            world,
            to_nats,
            to_venue,
            publisher,
            patience: QUIESCE,
            faults: BTreeMap::new(),
            witness,
            feed: None,
        }
    }
}

impl Arena {
    /// Deletes the consumer of orders.
    pub(crate) async fn delete_consumer(&self) -> Result<(), String> {
        let jetstream = &self.world.jetstream;
        let deleted = jetstream
            .delete_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
            .await;
        deleted.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Makes the consumer of orders anew, with a limit on deliveries.
    pub(crate) async fn limit_deliveries(&self, limit: i64) -> Result<PullConsumer, String> {
        let mut config = self.consumer_config().await?;
        config.max_deliver = limit;
        self.delete_consumer().await?;
        let jetstream = &self.world.jetstream;
        let created = jetstream.create_consumer_on_stream(config, ACTION_STREAM).await;
        created.map_err(|error| error.to_string())
    }

    /// Takes the limit away.
    pub(crate) async fn limit_deliveries_off(&self) -> Result<(), String> {
        let mut config = self.consumer_config().await?;
        config.max_deliver = -1;
        let jetstream = &self.world.jetstream;
        let updated = jetstream.update_consumer_on_stream(config, ACTION_STREAM).await;
        updated.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn consumer_config(&self) -> Result<pull::Config, String> {
        let found: Result<PullConsumer, _> = self
            .world
            .jetstream
            .get_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
            .await;
        let consumer = found.map_err(|error| error.to_string())?;
        pull::Config::try_from_consumer_config(consumer.cached_info().config.clone())
            .map_err(|error| error.to_string())
    }

    /// Takes what is there and gives it back, until the server has given it up.
    pub(crate) async fn strand(&self, consumer: &PullConsumer) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| error.to_string();
        let jetstream = &self.world.jetstream;
        let noise = jetstream
            .publish("nalpaca.action.v0.orders.noise", Bytes::new())
            .await;
        noise
            .map_err(|error| fail(&error))?
            .await
            .map_err(|error| fail(&error))?;
        for _ in 0..100 {
            let pull = consumer
                .batch()
                .max_messages(50)
                .expires(Duration::from_millis(200));
            let mut batch = pull.messages().await.map_err(|error| fail(&error))?;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| fail(&error))?;
                // One of them is done, so that the consumer's floor lies above the others.
                let kind = if message.subject.ends_with(".noise") {
                    AckKind::Ack
                } else {
                    AckKind::Nak(None)
                };
                message.ack_with(kind).await.map_err(|error| fail(&error))?;
            }
            let info = consumer.get_info().await.map_err(|error| fail(&error))?;
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                return Ok(());
            }
        }
        Err("the server did not give them up".to_owned())
    }
}

/// The date and time.
pub(crate) fn today() -> String {
    wall_clock().to_string()
}

/// Seconds since the epoch.
pub(crate) fn now() -> f64 {
    seconds(wall_clock())
}

#[expect(clippy::disallowed_methods, reason = "trials live in the time of the machine")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

impl Publisher {
    /// Notes which stream there is: the one from before may have been deleted.
    pub(crate) async fn look_at_the_stream(&mut self) {
        let stream = self.jetstream.get_stream(ACTION_STREAM).await;
        let stream = stream.expect("the action stream is there");
        self.stream_created = stream.cached_info().created.unix_timestamp_nanos();
    }

    /// Publishes a command once, and notes what came of it.
    pub(crate) async fn publish(&mut self, kind: Kind, id: &str, symbol: &str, message: &Value) -> Ack {
        let (subject, schema) = match kind {
            Kind::Order | Kind::Poison => ("orders", Some("tradesvc.v0.Trade")),
            Kind::Replace => ("replace", Some("tradesvc.v0.Replace")),
            Kind::Close | Kind::CloseAll => ("close", Some("tradesvc.v0.ClosePosition")),
            Kind::Cancel | Kind::CancelMany => ("cancel", None),
        };
        let payload: Bytes = schema
            .map(|schema| proto::encode(schema, message).into())
            .unwrap_or_default();
        let published = now();
        let publish = PublishMessage::build().headers(HeaderMap::new()).payload(payload);
        let subject = format!("nalpaca.action.v0.{subject}.{id}");
        let sent = async {
            let sent = self.jetstream.send_publish(subject, publish).await.ok()?;
            sent.await.ok()
        };
        let ack = match tokio::time::timeout(PUBLISH_TIMEOUT, sent).await {
            Ok(Some(ack)) if ack.duplicate => Ack::Duplicate,
            Ok(Some(ack)) => Ack::Stored {
                stream: self.stream_created,
                sequence: ack.sequence,
            },
            Ok(None) | Err(_) => Ack::Unknown,
        };
        let acked = now();
        let valid_until = message["valid_until"]
            .as_str()
            .and_then(|text| text.parse::<Timestamp>().ok())
            .map(seconds);
        // What names no deadline has one from when it was stored, which was before the ack; of what may be stored
        // nobody knows when that was.
        let deadline = match (valid_until, ack) {
            (Some(at), _) => Some(at),
            (None, Ack::Unknown) => None,
            (None, Ack::Stored { .. } | Ack::Duplicate) => Some(acked + MAX_AGE.as_secs_f64()),
        };
        self.commands.push(Command {
            kind,
            id: id.to_owned(),
            payload: message.to_string(),
            symbol: symbol.to_owned(),
            ack,
            published,
            acked,
            deadline,
        });
        ack
    }

    /// Notes a command that was published in some other way.
    pub(crate) fn noted(&mut self, kind: Kind, id: &str, sequence: u64) {
        self.commands.push(Command {
            kind,
            id: id.to_owned(),
            payload: String::new(),
            symbol: String::new(),
            ack: Ack::Stored {
                stream: self.stream_created,
                sequence,
            },
            published: now(),
            acked: now(),
            deadline: None,
        });
    }

    pub(crate) fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Says how old commands without a deadline may get here.
    pub(crate) fn age(&mut self, age: Duration) {
        for command in &mut self.commands {
            command.deadline = Some(command.acked + age.as_secs_f64());
        }
    }
}

impl Arena {
    /// Notes that something was done to the world.
    pub(crate) fn note(&mut self, fault: impl Into<String>) {
        *self.faults.entry(fault.into()).or_default() += 1;
    }

    /// Publishes a command once.
    pub(crate) async fn publish(&mut self, kind: Kind, id: &str, symbol: &str, message: &Value) -> Ack {
        self.publisher.publish(kind, id, symbol, message).await
    }

    /// Ends everything that was done to the world. The daemon runs afterwards.
    pub(crate) async fn heal(&mut self) {
        self.to_nats.set(Weather::FAIR);
        self.to_venue.set(Weather::FAIR);
        self.world.sim.script().clear();
        self.world.sim.mute_streams(false);
    }

    /// Waits until nothing is left to do: the queue is empty. False: it did not come to rest.
    pub(crate) async fn quiesce(&self) -> bool {
        let give_up = Instant::now() + self.patience;
        while Instant::now() < give_up {
            let empty = self.is_empty().await;
            if empty {
                // What the venue was told last still has to happen there.
                self.venue_rests().await;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Waits until every stored command under an id has its terminal outcome.
    pub(crate) async fn settles(&self, id: &str, patience: Duration) -> bool {
        let stored: Vec<(i128, u64)> = self
            .publisher
            .commands
            .iter()
            .filter(|command| command.id == id)
            .filter_map(|command| match command.ack {
                Ack::Stored { stream, sequence } => Some((stream, sequence)),
                Ack::Duplicate | Ack::Unknown => None,
            })
            .collect();
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up {
            let outcomes = self.outcomes().await;
            let settled = |(stream, sequence): &(i128, u64)| {
                outcomes.iter().any(|outcome| {
                    outcome.terminal && outcome.stream == *stream && outcome.sequence == *sequence
                })
            };
            if stored.iter().all(settled) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    async fn venue_rests(&self) {
        let give_up = Instant::now() + VENUE_QUIESCE;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let orders = orders(&self.world.sim);
            let busy = orders.iter().any(|order| order.status.starts_with("pending"));
            if !busy || Instant::now() > give_up {
                return;
            }
        }
    }

    async fn is_empty(&self) -> bool {
        let Ok(stream) = self.world.jetstream.get_stream(ACTION_STREAM).await else {
            return false;
        };
        let left = stream.cached_info().state.messages;
        if left == 0 {
            return true;
        }
        // Commands that are watched for a day stay where they are; they have an interim outcome.
        let history = self.history().await;
        let watched = history
            .commands
            .iter()
            .filter(|command| match command.ack {
                Ack::Stored { stream, sequence } => {
                    let mut outcomes = history.outcomes_of(stream, sequence).peekable();
                    outcomes.peek().is_some()
                        && outcomes.all(|outcome| !outcome.terminal)
                        && history.orders_of(&command.id).next().is_none()
                }
                Ack::Duplicate | Ack::Unknown => false,
            })
            .count();
        u64::try_from(watched).is_ok_and(|watched| watched >= left)
    }

    /// Waits until nothing is wrong with what was told, or nothing changes that any more.
    pub(crate) async fn judge_feed(&self, bounds: Bounds) -> Vec<Violation> {
        let give_up = Instant::now() + self.patience.min(FEED_QUIESCE);
        loop {
            let found = feed_checker::check(&self.witness.history(&self.world).await, bounds);
            if found.is_empty() || Instant::now() > give_up {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// What the witnesses saw.
    pub(crate) async fn history(&self) -> History {
        History {
            commands: self.publisher.commands.clone(),
            requests: requests(&self.world.sim),
            departures: self
                .to_venue
                .passed()
                .into_iter()
                .map(|(id, at)| Departure { id, at })
                .collect(),
            orders: orders(&self.world.sim),
            outcomes: self.outcomes().await,
        }
    }

    async fn outcomes(&self) -> Vec<Outcome> {
        let stored = self
            .world
            .stored(JOURNAL_STREAM, "nalpaca.journal.v0.outcomes.>")
            .await;
        stored
            .iter()
            .map(|stored| {
                let outcome = stored.message();
                let text = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
                let instant =
                    |name: &str| -> Timestamp { text(name).parse().unwrap_or(Timestamp::UNIX_EPOCH) };
                Outcome {
                    id: text("client_order_id"),
                    kind: text("kind").replace("OUTCOME_KIND_", ""),
                    terminal: outcome["terminal"] == true,
                    stream: instant("stream_created").as_nanosecond(),
                    sequence: outcome["stream_sequence"].as_u64().unwrap_or_default(),
                    order_id: text("order_id"),
                }
            })
            .collect()
    }
}

fn orders(sim: &Sim) -> Vec<VenueOrder> {
    let snapshot = sim.snapshot();
    let orders = snapshot.orders().iter();
    orders
        .map(|order| VenueOrder {
            order_id: order.id.to_string(),
            id: order.client_order_id.clone(),
            status: order.status.as_str().to_owned(),
            created: seconds(order.created_at),
        })
        .collect()
}

/// Requests that would create an order or ask for one, from the venue's truth.
fn requests(sim: &Sim) -> Vec<Request> {
    let mut found: Vec<(u64, Request)> = Vec::new();
    for line in sim.truth(0) {
        let Ok(entry) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        match entry["kind"].as_str() {
            Some("request") => {
                let Some(number) = entry["request"].as_u64() else {
                    continue;
                };
                let (what, id) = match entry["endpoint"].as_str() {
                    Some("submit_order" | "replace_order") => {
                        let body: Value = serde_json::from_str(entry["body"].as_str().unwrap_or_default())
                            .unwrap_or_default();
                        (
                            Asks::Create,
                            body["client_order_id"].as_str().unwrap_or_default().to_owned(),
                        )
                    }
                    Some("get_order_by_client_order_id") => {
                        let path = entry["path"].as_str().unwrap_or_default();
                        (Asks::LookUp, query(path, "client_order_id"))
                    }
                    _ => continue,
                };
                let at: Timestamp = entry["at"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(Timestamp::UNIX_EPOCH);
                found.push((
                    number,
                    Request {
                        what,
                        id,
                        at: seconds(at),
                        status: None,
                    },
                ));
            }
            Some("answer") => {
                let number = entry["request"].as_u64();
                let status = entry["status"]
                    .as_u64()
                    .and_then(|status| u16::try_from(status).ok());
                if let Some((_, request)) = found.iter_mut().find(|(known, _)| Some(*known) == number) {
                    request.status = status;
                }
            }
            _ => {}
        }
    }
    found.into_iter().map(|(_, request)| request).collect()
}

fn query(path: &str, name: &str) -> String {
    let (_, query) = path.split_once('?').unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.replace("%2F", "/"))
        .unwrap_or_default()
}

/// A limit order that rests.
pub(crate) fn resting(symbol: &str) -> Value {
    json!({
        "symbol": symbol,
        "qty": "1",
        "side": "SIDE_BUY",
        "order_type": "ORDER_TYPE_LIMIT",
        "limit_price": "1",
        "tif": "TIME_IN_FORCE_GTC",
    })
}

/// A market order.
pub(crate) fn market(symbol: &str, qty: &str) -> Value {
    json!({
        "symbol": symbol,
        "qty": qty,
        "side": "SIDE_BUY",
        "order_type": "ORDER_TYPE_MARKET",
        "tif": "TIME_IN_FORCE_DAY",
    })
}

/// The same, valid for so long from now.
pub(crate) fn valid_for(mut message: Value, span: Duration) -> Value {
    let until = wall_clock() + jiff::SignedDuration::try_from(span).expect("a span of a trial is short");
    message["valid_until"] = Value::String(until.to_string());
    message
}
