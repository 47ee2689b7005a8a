//! Runs everything in turns, and prints what came of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{self, stream};
use nalpaca::sim::{Sim, SimConfig};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::Result;
use super::children::{Process, Usage};

/// Rates with a hundred symbols, and symbols at ten thousand a second.
const ROWS: [(usize, usize); 6] = [
    (1_000, 100),
    (10_000, 100),
    (100_000, 100),
    (10_000, 1),
    (10_000, 1_000),
    (10_000, 10_000),
];
/// A burst that the daemon keeps as a whole.
const BURST: usize = 90_000;
const SYMBOLS: usize = 500;
/// Longest wait for something to start.
const PATIENCE: Duration = Duration::from_secs(30);
const DATA_STREAM: &str = "nalpaca-data-stream-v0";

/// What the subscriber says.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Heard {
    count: usize,
    first: i64,
    last: i64,
    p50: i64,
    p99: i64,
}

impl Heard {
    /// Messages a second, from the first one's departure to the last one's arrival.
    fn rate(&self) -> f64 {
        self.count as f64 / ((self.last - self.first).max(1) as f64 / 1e9)
    }
}

/// One measurement of one program.
#[derive(Clone, Copy, Debug)]
struct Sample {
    sent: usize,
    heard: Heard,
    cpu: Duration,
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn run(quick: bool) -> Result<()> {
    let folder = Folder(std::env::temp_dir().join(format!("nalpaca-bench-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    let (_server, nats) = nats_server(&folder.0).await?;
    let sim = Sim::start(SimConfig {
        tick: Duration::from_secs(1),
        rate_limit_per_minute: 1_000_000,
        ..SimConfig::default()
    })
    .await?;
    let mut feed = Process::start(&["feed"])?;
    let feed_address = feed.answer().await?;
    let mut floor = Process::start(&["floor", &feed_address, &nats])?;
    floor.answer().await?;
    let mut raw = Process::start(&["raw", &nats])?;
    raw.answer().await?;
    let mut subscriber = Process::start(&["subscriber", &nats])?;
    subscriber.answer().await?;
    let place = Place {
        folder: &folder.0,
        nats: &nats,
        feed: &feed_address,
        sim: sim.base_url(),
    };
    let (rounds, span) = if quick {
        (1, Duration::from_secs(1))
    } else {
        (3, Duration::from_secs(3))
    };

    let daemon = place.daemon(&[]).await?;
    let pid = daemon.id().ok_or("the daemon has ended")?;
    arrived(&mut feed, "/v2/iex").await?;
    // What is made once is made before.
    for target in ["/v2/iex", "/floor"] {
        feed.tell(&format!("run {target} 10000 10000 1500")).await?;
        feed.answer().await?;
    }
    println!(
        "Trades to core NATS: socket to subscriber, microseconds; medians of {rounds} rounds of {span:?}\n"
    );
    println!(
        "| messages/s | symbols | p50 | p99 | floor p50 | floor p99 | ratio p50 | ratio p99 | CPU us | floor | ratio | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (rate, symbols) in ROWS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let order = |target: &str| format!("run {target} {rate} {symbols} {}", span.as_millis());
            let expect = rate * usize::try_from(span.as_millis())? / 1000;
            let who = Who::Pid(pid);
            ours.push(
                turn(
                    &mut feed,
                    &mut subscriber,
                    &who,
                    "nalpaca",
                    &order("/v2/iex"),
                    expect,
                )
                .await?,
            );
            let who = Who::Process(&floor);
            theirs.push(
                turn(
                    &mut feed,
                    &mut subscriber,
                    &who,
                    "floor",
                    &order("/floor"),
                    expect,
                )
                .await?,
            );
        }
        row(rate, symbols, &ours, &theirs);
    }

    println!("\nA burst of {BURST} trades of {SYMBOLS} symbols to core NATS: messages/s, medians\n");
    let (mut ours, mut theirs, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds * 2 {
        let order = |target: &str| format!("burst {target} {BURST} {SYMBOLS}");
        let who = Who::Pid(pid);
        ours.push(
            turn(
                &mut feed,
                &mut subscriber,
                &who,
                "nalpaca",
                &order("/v2/iex"),
                BURST,
            )
            .await?,
        );
        let who = Who::Process(&floor);
        theirs.push(turn(&mut feed, &mut subscriber, &who, "floor", &order("/floor"), BURST).await?);
        bare.push(bare_turn(&mut raw, &mut subscriber, "core").await?);
    }
    bursts(&ours, Some(&theirs), &bare);

    println!("\nMemory at 10000 messages/s of 10000 symbols\n");
    let seconds = if quick { 12 } else { 60 };
    println!("| after s | resident KiB |\n|---|---|");
    for part in 1..=4 {
        let order = format!("run /v2/iex 10000 10000 {}", seconds * 1000 / 4);
        feed.tell(&order).await?;
        feed.answer().await?;
        println!("| {} | {} |", seconds * part / 4, Usage::of(pid).rss);
    }
    end(daemon).await?;

    let client = async_nats::connect(&nats).await?;
    raw_stream(&jetstream::new(client)).await?;
    let daemon = place
        .daemon(&[("DATA_STREAM_TICKS", "trades"), ("PROVISION", "adopt")])
        .await?;
    let pid = daemon.id().ok_or("the daemon has ended")?;
    arrived(&mut feed, "/v2/iex").await?;
    println!("\nThe same to JetStream, each trade stored: messages/s, medians\n");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds * 2 {
        let order = format!("burst /v2/iex {BURST} {SYMBOLS}");
        let who = Who::Pid(pid);
        ours.push(turn(&mut feed, &mut subscriber, &who, "nalpaca", &order, BURST).await?);
        bare.push(bare_turn(&mut raw, &mut subscriber, "stored").await?);
    }
    bursts(&ours, None, &bare);
    end(daemon).await?;
    sim.stop().await;
    Ok(())
}

/// Whose time is measured.
enum Who<'a> {
    Pid(u32),
    Process(&'a Process),
}

impl Who<'_> {
    fn usage(&self) -> Usage {
        match self {
            Self::Pid(pid) => Usage::of(*pid),
            Self::Process(process) => process.usage(),
        }
    }
}

/// Has the feed send something through one of the two, and hears what comes out.
async fn turn(
    feed: &mut Process,
    subscriber: &mut Process,
    who: &Who<'_>,
    prefix: &str,
    order: &str,
    expect: usize,
) -> Result<Sample> {
    let listen = format!("expect {prefix}.data.v0.stocks.trades.> {expect}");
    subscriber.tell(&listen).await?;
    subscriber.answer().await?;
    let before = who.usage();
    feed.tell(order).await?;
    let sent = feed.answer().await?;
    let sent = sent.parse().map_err(|_| sent)?;
    let heard: Heard = serde_json::from_str(&subscriber.answer().await?)?;
    let cpu = who.usage().cpu.saturating_sub(before.cpu);
    Ok(Sample { sent, heard, cpu })
}

/// The bare publisher's turn: from its order to the last message's arrival.
async fn bare_turn(raw: &mut Process, subscriber: &mut Process, kind: &str) -> Result<Sample> {
    let listen = format!("expect raw.data.v0.stocks.trades.> {BURST}");
    subscriber.tell(&listen).await?;
    subscriber.answer().await?;
    let before = raw.usage();
    raw.tell(&format!("{kind} {BURST} {SYMBOLS}")).await?;
    let sent = raw.answer().await?;
    let sent = sent.parse().map_err(|_| sent)?;
    let heard = serde_json::from_str(&subscriber.answer().await?)?;
    let cpu = raw.usage().cpu.saturating_sub(before.cpu);
    Ok(Sample { sent, heard, cpu })
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu.as_secs_f64() * 1e6 / sample.sent.max(1) as f64
}

fn row(rate: usize, symbols: usize, ours: &[Sample], theirs: &[Sample]) {
    let p50 = |samples| median(samples, |sample| sample.heard.p50 as f64 / 1e3);
    let p99 = |samples| median(samples, |sample| sample.heard.p99 as f64 / 1e3);
    let lost: usize = ours.iter().map(|sample| sample.sent - sample.heard.count).sum();
    let their_loss: usize = theirs.iter().map(|sample| sample.sent - sample.heard.count).sum();
    println!(
        "| {rate} | {symbols} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {lost}, {their_loss} |",
        p50(ours),
        p99(ours),
        p50(theirs),
        p99(theirs),
        p50(ours) / p50(theirs),
        p99(ours) / p99(theirs),
        median(ours, cpu),
        median(theirs, cpu),
        median(ours, cpu) / median(theirs, cpu),
    );
}

fn bursts(ours: &[Sample], theirs: Option<&[Sample]>, bare: &[Sample]) {
    let rate = |samples: &[Sample]| median(samples, |sample| sample.heard.rate());
    let complete = |samples: &[Sample]| samples.iter().all(|sample| sample.heard.count == sample.sent);
    println!("| | messages/s | ours beside it | CPU us a message | all heard |\n|---|---|---|---|---|");
    let line = |name: &str, samples: &[Sample]| {
        println!(
            "| {name} | {:.0} | {:.2} | {:.2} | {} |",
            rate(samples),
            rate(ours) / rate(samples),
            median(samples, cpu),
            complete(samples)
        );
    };
    line("the daemon", ours);
    if let Some(theirs) = theirs {
        line("the floor", theirs);
    }
    line("a bare publisher", bare);
}

/// Where everything is.
struct Place<'a> {
    folder: &'a Path,
    nats: &'a str,
    feed: &'a str,
    sim: String,
}

impl Place<'_> {
    async fn daemon(&self, settings: &[(&str, &str)]) -> Result<Child> {
        let log = std::fs::File::create(self.folder.join("nalpaca.log"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let venue = SimConfig::default();
        let daemon = Command::new(env!("CARGO_BIN_EXE_nalpaca"))
            .env_clear()
            .env("NATS_URL", self.nats)
            .env("ALPACA_URL", &self.sim)
            .env("ALPACA_API_KEY", venue.key)
            .env("ALPACA_API_SECRET", venue.secret)
            .env("ENABLE_STOCK_STREAM", "true")
            .env("STOCK_STREAM_BASE_URL", format!("ws://{}", self.feed))
            .env("STOCK_STREAM_SYMBOLS", "*")
            .env("STOCK_STREAM_CHANNELS", "trades")
            .env("METRICS_HOST", "127.0.0.1")
            .env("METRICS_PORT", port.to_string())
            .env("DISABLE_HEALTH", "true")
            .envs(settings.iter().copied())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        Ok(daemon)
    }
}

async fn end(mut daemon: Child) -> Result<()> {
    let pid = daemon.id().ok_or("the daemon has ended")?;
    let told = Command::new("sh")
        .args(["-c", &format!("kill -TERM {pid}")])
        .status()
        .await?;
    let ended = tokio::time::timeout(PATIENCE, daemon.wait()).await??;
    if told.success() && ended.success() {
        Ok(())
    } else {
        Err(format!("the daemon ended with {ended}").into())
    }
}

/// Waits until somebody has subscribed by this path.
async fn arrived(feed: &mut Process, path: &str) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        feed.tell(&format!("who {path}")).await?;
        if feed.answer().await? == "here" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the daemon did not come to the feed".into())
}

async fn nats_server(folder: &Path) -> Result<(Child, String)> {
    let program = std::fs::read_dir(".tools/nats-server")?
        .filter_map(|entry| Some(entry.ok()?.path().join("nats-server")))
        .max()
        .ok_or("no nats-server; run make tools")?;
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

/// A stream for the bare publisher like the daemon's, each with somebody who is interested.
async fn raw_stream(jetstream: &jetstream::Context) -> Result<()> {
    let data = jetstream.get_stream(DATA_STREAM).await?;
    let config = stream::Config {
        name: "raw".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        metadata: Default::default(),
        ..data.cached_info().config.clone()
    };
    let raw = jetstream.create_stream(config).await?;
    for (stream, subject) in [(&raw, "raw.>"), (&data, "nalpaca.data.v0.stocks.trades.>")] {
        let consumer = pull::Config {
            durable_name: Some("bench".to_owned()),
            filter_subject: subject.to_owned(),
            ..pull::Config::default()
        };
        stream.create_consumer(consumer).await?;
    }
    Ok(())
}
