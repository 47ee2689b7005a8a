//! Wires market data: a thread, a runtime and a connection of its own, so that the heaviest feed delays no order.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Daemon;
use super::tasks::{Floor, Tasks};
use crate::alpaca::data::{DataEndpoint, Format, History};
use crate::alpaca::{Credential, rest};
use crate::backoff::Backoff;
use crate::bus::{Broadcast, Connection, JsonCopies};
use crate::clock::Clock;
use crate::config::MarketDataConfig;
use crate::domain::market::MarketClass;
use crate::market_data::{Feed, Gaps, Outbox, Recovery, Relay, Switchboard, follow};
use crate::telemetry::metrics::DataMetrics;
use crate::wire::subject::Subjects;

/// Pauses between threads that end one after the other.
const RESTART_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Longest wait for the thread when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(4);
/// Longest time a word about the session is believed, and pause after there was none.
const SESSION_PAUSES: (Duration, Duration) = (Duration::from_secs(900), Duration::from_secs(60));

/// What the thread takes along.
#[derive(Clone)]
struct Luggage {
    config: MarketDataConfig,
    orders: Connection,
    data_stream: String,
    venue: rest::Endpoint,
    pacer: crate::alpaca::Pacer,
    credential: Credential,
    subjects: Subjects,
    /// First tokens of every subject.
    prefix: String,
    /// Whether copies in JSON are wanted.
    copies: bool,
    clock: Clock,
    switchboard: Switchboard,
}

/// What is switched on, and always wanted.
pub(super) fn switchboard(config: &MarketDataConfig) -> Switchboard {
    let streams = config.streams.iter();
    Switchboard::new(streams.map(|stream| (stream.class, stream.subscriptions.clone())))
}

/// Starts what is switched on; nothing else takes a thread.
pub(super) fn start(daemon: &Daemon, tasks: &mut Tasks, connection: &Connection, switchboard: Switchboard) {
    let config = &daemon.config;
    if config.market_data.streams.is_empty() {
        return;
    }
    let luggage = Luggage {
        config: config.market_data.clone(),
        orders: connection.clone(),
        data_stream: config.objects.data_stream.clone(),
        venue: rest::Endpoint {
            base_url: config.alpaca.base_url.clone(),
            credential: daemon.credential.clone(),
            request_timeout: config.alpaca.request_timeout,
        },
        pacer: daemon.venue.pacer().clone(),
        credential: daemon.credential.clone(),
        subjects: daemon.subjects.clone(),
        prefix: config.prefix.clone(),
        copies: config.json_copies,
        clock: daemon.clock.clone(),
        switchboard,
    };
    tasks.essential(
        Floor::Feeds,
        "market data",
        keep(luggage, tasks.stop_of(Floor::Feeds)),
    );
}

/// Keeps a thread running until stopped. Its end is not the daemon's: orders go on.
async fn keep(luggage: Luggage, stop: CancellationToken) {
    let mut pauses = Backoff::between(RESTART_PAUSES.0, RESTART_PAUSES.1);
    loop {
        let inside = CancellationToken::new();
        // Dropped with this task, for example when the lease is lost, it ends the thread.
        let _guard = inside.clone().drop_guard();
        let (ended, mut end) = oneshot::channel();
        let (taken, token) = (luggage.clone(), inside.clone());
        let spawned = std::thread::Builder::new()
            .name("market-data".to_owned())
            .spawn(move || {
                let outcome = run(taken, token);
                // Nobody waits any more when the daemon has ended.
                let _ = ended.send(outcome);
            });
        let outcome = match spawned {
            Ok(_detached) => tokio::select! {
                () = stop.cancelled() => { // cancel-safe: level-triggered
                    inside.cancel();
                    // What it has is published first.
                    if tokio::time::timeout(STOP_GRACE, &mut end).await.is_err() {
                        warn!("market data did not end in time");
                    }
                    return;
                }
                outcome = &mut end => outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))),
            },
            Err(error) => Err(anyhow::Error::new(error).context("start a thread")),
        };
        if let Err(error) = outcome {
            error!(
                error = format!("{error:#}"),
                "market data failed, starting it anew; orders go on"
            );
        }
        tokio::select! {
            () = stop.cancelled() => return,                     // cancel-safe: level-triggered
            () = tokio::time::sleep(pauses.next_delay()) => {}   // cancel-safe
        }
    }
}

fn run(luggage: Luggage, stop: CancellationToken) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(feeds(luggage, stop))
}

async fn feeds(luggage: Luggage, stop: CancellationToken) -> anyhow::Result<()> {
    let name = format!("{} market data", luggage.orders.name());
    let connection = luggage.orders.another(&name).await.context("connect to NATS")?;
    let history = History::new(&luggage.config.history_url, luggage.credential.clone())?;
    let (open, is_open) = watch::channel(false);
    let outbox = Outbox::default();
    let metrics = DataMetrics::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection.clone().keep_alive());
    let has_session = |class| matches!(class, MarketClass::Stocks | MarketClass::Options);
    if luggage
        .config
        .streams
        .iter()
        .any(|stream| has_session(stream.class))
    {
        let venue = rest::Client::new(luggage.venue.clone(), luggage.pacer.clone())?;
        tasks.spawn(follow_session(venue, open));
    }
    if luggage.config.follow {
        let (subjects, switchboard) = (luggage.subjects.clone(), luggage.switchboard.clone());
        tasks.spawn(follow(connection.clone(), subjects, switchboard));
    }
    // Only what has to finish is waited for.
    let mut readers = JoinSet::new();
    for stream in &luggage.config.streams {
        let Some((wanted, status)) = luggage.switchboard.line(stream.class) else {
            continue;
        };
        let format = if stream.json && stream.class != MarketClass::Options {
            Format::Json
        } else {
            Format::MessagePack
        };
        let (class, symbols) = (stream.class.as_str(), stream.subscriptions.len());
        info!(class, url = stream.url, symbols, "market data");
        if stream.subscriptions.is_empty() {
            warn!(
                class,
                "market data: no symbols are wanted, so there is no connection"
            );
        }
        let feed = Feed {
            class: stream.class,
            endpoint: DataEndpoint {
                url: stream.url.clone(),
                credential: luggage.credential.clone(),
                format,
            },
            reconnect_delay: stream.reconnect_delay,
            wanted,
            captured: luggage.config.captured.iter().copied().collect(),
            outbox: outbox.clone(),
            subjects: luggage.subjects.clone(),
            clock: luggage.clock.clone(),
            open: is_open.clone(),
            recovery: Recovery::new(
                stream.class,
                Gaps {
                    history: history.clone(),
                    class: stream.class,
                    feed: stream.feed.clone(),
                    connection: connection.clone(),
                    data_stream: luggage.data_stream.clone(),
                    subjects: luggage.subjects.clone(),
                    clock: luggage.clock.clone(),
                },
                luggage.clock.clone(),
            ),
            status,
            pulse: luggage.switchboard.pulse(stream.class),
            metrics: metrics.clone(),
        };
        readers.spawn(feed.run(stop.clone()));
    }
    let relay = Relay {
        outbox,
        broadcast: Broadcast::new(connection.clone()),
        copies: luggage
            .copies
            .then(|| JsonCopies::new(connection.clone(), luggage.prefix)),
        metrics,
    };
    relay.run(stop).await;
    readers.shutdown().await;
    tasks.shutdown().await;
    connection.drain(STOP_GRACE).await;
    Ok(())
}

/// Follows whether the regular session is on, with a handful of questions a day.
async fn follow_session(venue: rest::Client, open: watch::Sender<bool>) {
    loop {
        let pause = match venue.clock().await {
            Ok(read) => {
                let clock = read.value;
                open.send_replace(clock.is_open);
                let next = if clock.is_open {
                    clock.next_close
                } else {
                    clock.next_open
                };
                let until =
                    next.and_then(|next| Duration::try_from(next.duration_since(clock.timestamp)).ok());
                // A moment after it, so that the answer is the new one.
                until.map_or(SESSION_PAUSES.0, |until| {
                    (until + Duration::from_secs(1)).min(SESSION_PAUSES.0)
                })
            }
            Err(_) => SESSION_PAUSES.1,
        };
        tokio::time::sleep(pause).await;
    }
}
