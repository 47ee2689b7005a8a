//! An hour of everything at once: whether what the daemon holds of memory stays the same.

use std::time::{Duration, Instant};

use super::children::Usage;
use super::place::{DAEMON_FEED, Place};
use super::{Result, between};

/// Orders a second, trade updates a second, trades a second.
const ORDERS: u64 = 20;
const UPDATES: u64 = 20;
const TRADES: u64 = 1_000;
const SYMBOLS: usize = 500;
/// How long one turn of all of them is, and how often memory is looked at.
const TURN: Duration = Duration::from_secs(30);
/// What is remembered is bounded, and is filled to its bound first: ten thousand orders in several places, and what was told of
/// 33,000 orders of three events in another (`drop_copy::sequence`).
const ORDERS_BEFORE: u64 = 12_000;
const ORDERS_BEFORE_RATE: u64 = 200;
const UPDATES_BEFORE: u64 = 105_000;
const UPDATES_BEFORE_RATE: u64 = 1_000;
/// The first part of the time does not count.
const WARM: f64 = 0.1;
/// Memory that may be more an hour later, KiB.
const SLOPE_MAX: f64 = 1024.0;

pub(super) async fn run(minutes: u64) -> Result<()> {
    let mut place = Place::prepare().await?;
    let daemon = place.daemon(&[], true).await?;
    let updates = format!("updates /stream {UPDATES_BEFORE_RATE} {UPDATES_BEFORE}");
    place.venue.tell(&updates).await?;
    let orders = format!("orders nalpaca {ORDERS_BEFORE_RATE} {ORDERS_BEFORE} {SYMBOLS}");
    place.publisher.ask(&orders).await?;
    place.venue.answer().await?;
    place.venue.ask("take").await?;
    let began = Instant::now();
    let span = Duration::from_secs(minutes * 60);
    let mut samples: Vec<(f64, f64)> = Vec::new();
    println!("| after s | resident KiB | orders |\n|---|---|---|");
    let mut orders = 0_usize;
    while began.elapsed() < span {
        let seconds = TURN.as_secs();
        let trades = format!("run {DAEMON_FEED} {TRADES} {SYMBOLS} {}", TURN.as_millis());
        place.feed.tell(&trades).await?;
        let updates = format!("updates /stream {UPDATES} {}", UPDATES * seconds);
        place.venue.tell(&updates).await?;
        let count = ORDERS * seconds;
        let heard = place
            .publisher
            .ask(&format!("orders nalpaca {ORDERS} {count} {SYMBOLS}"))
            .await?;
        if between(heard.as_bytes(), b"\"count\":", b',') != Some(count.to_string().as_str()) {
            return Err(format!("of {count} orders: {heard}").into());
        }
        orders += usize::try_from(count)?;
        place.venue.answer().await?;
        place.feed.answer().await?;
        place.venue.ask("take").await?;
        let rss = Usage::of(daemon.pid()).rss;
        let at = began.elapsed().as_secs_f64();
        samples.push((at, rss as f64));
        println!("| {at:.0} | {rss} | {orders} |");
    }
    daemon.end().await?;
    let counted = samples.split_off((samples.len() as f64 * WARM) as usize);
    let slope = slope(&counted) * 3600.0;
    println!("\nresident memory changes by {slope:.0} KiB an hour, of at most {SLOPE_MAX:.0}");
    if slope.abs() > SLOPE_MAX {
        return Err("memory is not flat".into());
    }
    Ok(())
}

/// Least squares: KiB a second.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean_at = samples.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
    let both: f64 = samples
        .iter()
        .map(|(at, value)| (at - mean_at) * (value - mean))
        .sum();
    let squares: f64 = samples.iter().map(|(at, _)| (at - mean_at).powi(2)).sum();
    if squares > 0.0 { both / squares } else { 0.0 }
}
