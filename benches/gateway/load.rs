//! One hot path kept busy, for a profiler: `load orders|updates|trades|nothing SECONDS`. The daemon's process id is told first.

use std::time::Duration;

use super::Result;
use super::children::Usage;
use super::place::{DAEMON_FEED, Place};

/// A second of each: orders and updates as where latency is measured, trades as on a busy day.
const ORDERS: u64 = 200;
const TRADES: u64 = 20_000;
const SYMBOLS: usize = 500;

pub(super) async fn run(path: &str, seconds: u64) -> Result<()> {
    let mut place = Place::prepare().await?;
    let daemon = place.daemon(&[], path == "trades").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("the daemon is process {}", daemon.pid());
    let before = Usage::of(daemon.pid());
    let count = match path {
        "orders" => {
            let count = ORDERS * seconds;
            place
                .publisher
                .ask(&format!("orders nalpaca {ORDERS} {count} {SYMBOLS}"))
                .await?;
            count
        }
        "updates" => {
            let count = ORDERS * seconds;
            place
                .venue
                .ask(&format!("updates /stream {ORDERS} {count}"))
                .await?;
            count
        }
        // What it does by itself, as if it were so many orders.
        "nothing" => {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            ORDERS * seconds
        }
        "trades" => {
            let order = format!("run {DAEMON_FEED} {TRADES} {SYMBOLS} {}", seconds * 1000);
            place.feed.ask(&order).await?.parse()?
        }
        other => return Err(format!("{other:?} is none of orders, updates, trades, nothing").into()),
    };
    let used = Usage::of(daemon.pid()).cpu.saturating_sub(before.cpu);
    println!(
        "{count} {path}, {:.1} µs CPU each",
        used.as_secs_f64() * 1e6 / count as f64
    );
    daemon.end().await
}
