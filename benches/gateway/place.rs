//! Where it is measured: a folder, a nats-server, the venue and the feed, and whoever takes turns there.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{self, stream};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::Result;
use super::children::{Process, Usage};
use super::floor::orders::Kind;

/// Longest wait for something to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Orders on the wire at once.
pub(super) const IN_FLIGHT: usize = 32;
/// The daemon's streams, and the bucket of orders as a stream.
const ACTIONS: &str = "nalpaca-action-stream-v0";
const DATA: &str = "nalpaca-data-stream-v0";
const JOURNAL: &str = "nalpaca-journal-stream-v0";
const ORDERS: &str = "KV_nalpaca-orders";
/// The path the daemon's feed of shares has.
pub(super) const DAEMON_FEED: &str = "/v2/iex";

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything but the daemon and the floors.
pub(super) struct Place {
    pub(super) nats: String,
    pub(super) venue: Process,
    venue_address: String,
    pub(super) feed: Process,
    feed_address: String,
    pub(super) publisher: Process,
    pub(super) subscriber: Process,
    pub(super) raw: Process,
    pub(super) jetstream: jetstream::Context,
    _server: Child,
    folder: Folder,
}

/// A daemon that runs.
pub(super) struct Daemon(Child);

impl Daemon {
    pub(super) fn pid(&self) -> u32 {
        self.0.id().unwrap_or_default()
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }

    /// Tells it to stop, and waits until it has.
    pub(super) async fn end(mut self) -> Result<()> {
        let pid = self.0.id().ok_or("the daemon has ended by itself")?;
        let told = Command::new("sh")
            .args(["-c", &format!("kill -TERM {pid}")])
            .status()
            .await?;
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await??;
        if told.success() && ended.success() {
            Ok(())
        } else {
            Err(format!("the daemon ended with {ended}").into())
        }
    }
}

impl Place {
    pub(super) async fn prepare() -> Result<Self> {
        let folder = Folder(std::env::temp_dir().join(format!("nalpaca-bench-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        let (server, nats) = nats_server(&folder.0).await?;
        let mut venue = Process::start(&["venue"])?;
        let venue_address = venue.answer().await?;
        let mut feed = Process::start(&["feed"])?;
        let feed_address = feed.answer().await?;
        let mut publisher = Process::start(&["publisher", &nats])?;
        let mut subscriber = Process::start(&["subscriber", &nats])?;
        let mut raw = Process::start(&["raw", &nats])?;
        for process in [&mut publisher, &mut subscriber, &mut raw] {
            process.answer().await?;
        }
        let client = async_nats::connect(&nats).await?;
        Ok(Self {
            nats,
            venue,
            venue_address,
            feed,
            feed_address,
            publisher,
            subscriber,
            raw,
            jetstream: jetstream::new(client),
            _server: server,
            folder,
        })
    }

    /// Starts the daemon. It may not be ready yet.
    pub(super) fn start_daemon(&self, settings: &[(&str, &str)]) -> Result<Daemon> {
        // Another build can be measured as well.
        self.start_program(&program(), settings)
    }

    /// Starts some build of the daemon.
    pub(super) fn start_program(&self, program: &OsStr, settings: &[(&str, &str)]) -> Result<Daemon> {
        let log = self.folder.0.join("nalpaca.log");
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // Other settings: `NAME=value NAME=value`.
        let more = std::env::var("NALPACA_SETTINGS").unwrap_or_default();
        let more = more.split_whitespace().filter_map(|pair| pair.split_once('='));
        let daemon = Command::new(program)
            .env_clear()
            .env("NATS_URL", &self.nats)
            .env("INSTANCE", "bench")
            .env("ALPACA_URL", format!("http://{}", self.venue_address))
            .env("ALPACA_API_KEY", "key")
            .env("ALPACA_API_SECRET", "secret")
            .env("RATE_LIMIT_PER_MINUTE", "10000000")
            .env("ORDERS_MAX_IN_FLIGHT", IN_FLIGHT.to_string())
            .env("ORDER_MAX_AGE", "0")
            .env("METRICS_PORT", port.to_string())
            .env("DISABLE_HEALTH", "true")
            .envs(settings.iter().copied())
            .envs(more)
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Daemon(daemon))
    }

    /// Starts the daemon, and waits until it hears the venue's stream and, with market data, the feed.
    pub(super) async fn daemon(&mut self, settings: &[(&str, &str)], market_data: bool) -> Result<Daemon> {
        let feed = format!("ws://{}", self.feed_address);
        let mut all = settings.to_vec();
        if market_data {
            all.extend([
                ("ENABLE_STOCK_STREAM", "true"),
                ("STOCK_STREAM_BASE_URL", &feed),
                ("STOCK_STREAM_SYMBOLS", "*"),
                ("STOCK_STREAM_CHANNELS", "trades"),
            ]);
        }
        let daemon = self.start_daemon(&all)?;
        let waited = async {
            arrived(&mut self.venue, "/stream").await?;
            if market_data {
                arrived(&mut self.feed, DAEMON_FEED).await?;
            }
            Ok(())
        };
        waited
            .await
            .map_err(|error: Box<dyn std::error::Error + Send + Sync>| {
                let log = std::fs::read_to_string(self.folder.0.join("nalpaca.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                format!("{error}; its log ends with {last:#?}")
            })?;
        Ok(daemon)
    }

    pub(super) fn orders_floor(&self, kind: Kind) -> Result<Process> {
        let role = match kind {
            Kind::Full => "orders-floor",
            Kind::Bare => "bare-floor",
        };
        Process::start(&[role, &self.nats, &self.venue_address])
    }

    pub(super) async fn updates_floor(&mut self) -> Result<Process> {
        let mut floor = Process::start(&["updates-floor", &self.nats, &self.venue_address])?;
        floor.answer().await?;
        arrived(&mut self.venue, "/floor").await?;
        Ok(floor)
    }

    pub(super) async fn market_floor(&mut self) -> Result<Process> {
        let mut floor = Process::start(&["market-floor", &self.nats, &self.feed_address])?;
        floor.answer().await?;
        arrived(&mut self.feed, "/floor").await?;
        Ok(floor)
    }

    /// Streams for the floors, like the daemon's in everything but their names.
    pub(super) async fn floor_streams(&self) -> Result<()> {
        for kind in [Kind::Full, Kind::Bare] {
            let prefix = kind.prefix();
            let actions = self
                .like(
                    ACTIONS,
                    format!("{prefix}-action"),
                    format!("{prefix}.action.v0.>"),
                )
                .await?;
            let orders = pull::Config {
                durable_name: Some("orders".to_owned()),
                ack_wait: Duration::from_secs(30),
                ..pull::Config::default()
            };
            actions.create_consumer(orders).await?;
        }
        self.like(
            JOURNAL,
            "floor-journal".to_owned(),
            "floor.journal.v0.>".to_owned(),
        )
        .await?;
        self.like(
            ORDERS,
            "KV_floor-orders".to_owned(),
            "$KV.floor-orders.>".to_owned(),
        )
        .await?;
        let data = self
            .like(
                DATA,
                "floor-data".to_owned(),
                "floor.data.v0.tradeupdates.>".to_owned(),
            )
            .await?;
        interested(&data, "floor.data.v0.tradeupdates.>").await
    }

    /// A stream for the bare publisher like the one the daemon stores market data in, each with somebody who is interested.
    pub(super) async fn raw_stream(&self) -> Result<()> {
        let raw = self.like(DATA, "raw".to_owned(), "raw.>".to_owned()).await?;
        interested(&raw, "raw.>").await?;
        let data = self.jetstream.get_stream(DATA).await?;
        interested(&data, "nalpaca.data.v0.stocks.trades.>").await
    }

    /// Waits until somebody has made a stream.
    pub(super) async fn stream_is_there(&self, name: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while self.jetstream.get_stream(name).await.is_err() {
            if Instant::now() > give_up {
                return Err(format!("nobody made the stream {name}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Forgets what the streams of market data hold: each turn begins with empty ones.
    pub(super) async fn empty_market_data(&self) -> Result<()> {
        for name in [DATA, "raw"] {
            self.jetstream.get_stream(name).await?.purge().await?;
        }
        Ok(())
    }

    async fn like(&self, model: &str, name: String, subject: String) -> Result<stream::Stream> {
        let model = self.jetstream.get_stream(model).await?;
        let config = stream::Config {
            name,
            subjects: vec![subject],
            metadata: Default::default(),
            ..model.cached_info().config.clone()
        };
        Ok(self.jetstream.create_stream(config).await?)
    }
}

async fn interested(stream: &stream::Stream, subject: &str) -> Result<()> {
    let consumer = pull::Config {
        durable_name: Some("bench".to_owned()),
        filter_subject: subject.to_owned(),
        ..pull::Config::default()
    };
    stream.create_consumer(consumer).await?;
    Ok(())
}

/// Waits until somebody listens at this path.
pub(super) async fn arrived(process: &mut Process, path: &str) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if process.ask(&format!("who {path}")).await? == "here" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("nobody came by {path}").into())
}

async fn nats_server(folder: &Path) -> Result<(Child, String)> {
    let program = server_program()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let server = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(folder.join("jetstream"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let url = format!("nats://127.0.0.1:{port}");
    let give_up = Instant::now() + PATIENCE;
    while async_nats::connect(&url).await.is_err() {
        if Instant::now() > give_up {
            return Err("nats-server did not start".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((server, url))
}

/// The build of the daemon that is measured.
pub(super) fn program() -> OsString {
    std::env::var_os("NALPACA").unwrap_or_else(|| env!("CARGO_BIN_EXE_nalpaca").into())
}

/// The newest nats-server that is installed.
pub(super) fn server_program() -> Result<PathBuf> {
    std::fs::read_dir(".tools/nats-server")?
        .filter_map(|entry| Some(entry.ok()?.path().join("nats-server")))
        .max()
        .ok_or_else(|| "no nats-server; run scripts/tools.sh test".into())
}
