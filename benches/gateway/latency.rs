//! Market data from a socket to a subscriber at several rates and numbers of symbols, and the memory it takes.

use std::time::Duration;

use serde::Deserialize;

use super::children::Usage;
use super::place::{DAEMON_FEED, Place};
use super::{Result, Spread};

/// Rates with a hundred symbols, and symbols at ten thousand a second.
const ROWS: [(usize, usize); 6] = [
    (1_000, 100),
    (10_000, 100),
    (100_000, 100),
    (10_000, 1),
    (10_000, 1_000),
    (10_000, 10_000),
];
const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_secs(3);
/// How long memory is watched.
const WATCHED: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Deserialize)]
struct Heard {
    count: usize,
    spread: Spread,
}

/// One measurement of one program.
#[derive(Clone, Copy, Debug)]
struct Sample {
    sent: usize,
    heard: Heard,
    /// Microseconds of processor a message.
    cpu: f64,
}

pub(super) async fn run() -> Result<()> {
    let mut place = Place::prepare().await?;
    let daemon = place.daemon(&[], true).await?;
    let floor = place.market_floor().await?;
    for target in [DAEMON_FEED, "/floor"] {
        place.feed.ask(&format!("run {target} 10000 10000 1500")).await?;
    }
    println!(
        "Trades to core NATS: socket to subscriber, microseconds; medians of {ROUNDS} rounds of {SPAN:?}\n"
    );
    println!(
        "| messages/s | symbols | p50 | p99 | floor p50 | floor p99 | ratio p50 | ratio p99 | CPU us | floor | ratio | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (rate, symbols) in ROWS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(turn(&mut place, daemon.pid(), ("nalpaca", DAEMON_FEED), rate, symbols).await?);
            theirs.push(turn(&mut place, floor.pid(), ("floor", "/floor"), rate, symbols).await?);
        }
        row(rate, symbols, &ours, &theirs);
    }
    println!("\nMemory at 10000 messages/s of 10000 symbols\n");
    println!("| after s | resident KiB |\n|---|---|");
    for part in 1..=4 {
        let span = WATCHED / 4;
        place
            .feed
            .ask(&format!("run {DAEMON_FEED} 10000 10000 {}", span.as_millis()))
            .await?;
        println!(
            "| {} | {} |",
            (span * part).as_secs(),
            Usage::of(daemon.pid()).rss
        );
    }
    daemon.end().await
}

/// Has the feed send trades through one of the two, and hears what comes out.
async fn turn(
    place: &mut Place,
    pid: u32,
    (prefix, target): (&str, &str),
    rate: usize,
    symbols: usize,
) -> Result<Sample> {
    let expect = rate * usize::try_from(SPAN.as_millis())? / 1000;
    let listen = format!("expect {prefix}.data.v0.stocks.trades.> {expect}");
    place.subscriber.ask(&listen).await?;
    let before = Usage::of(pid);
    let sent = place
        .feed
        .ask(&format!("run {target} {rate} {symbols} {}", SPAN.as_millis()))
        .await?;
    let sent = sent.parse().map_err(|_| sent)?;
    let heard: Heard = serde_json::from_str(&place.subscriber.answer().await?)?;
    let cpu = Usage::of(pid).cpu.saturating_sub(before.cpu);
    Ok(Sample {
        sent,
        heard,
        cpu: cpu.as_secs_f64() * 1e6 / sent.max(1) as f64,
    })
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn row(rate: usize, symbols: usize, ours: &[Sample], theirs: &[Sample]) {
    let p50 = |samples| median(samples, |sample| sample.heard.spread.p50 as f64 / 1e3);
    let p99 = |samples| median(samples, |sample| sample.heard.spread.p99 as f64 / 1e3);
    let cpu = |samples| median(samples, |sample| sample.cpu);
    let lost = |samples: &[Sample]| -> usize {
        samples
            .iter()
            .map(|sample| sample.sent.saturating_sub(sample.heard.count))
            .sum()
    };
    println!(
        "| {rate} | {symbols} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {}, {} |",
        p50(ours),
        p99(ours),
        p50(theirs),
        p99(theirs),
        p50(ours) / p50(theirs),
        p99(ours) / p99(theirs),
        cpu(ours),
        cpu(theirs),
        cpu(ours) / cpu(theirs),
        lost(ours),
        lost(theirs),
    );
}
