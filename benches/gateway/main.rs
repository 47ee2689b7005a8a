//! The daemon beside the least that could do its job.
//!
//! Every part is a process of its own: a nats-server, a venue that does next to nothing, a feed that sends trades, the daemon
//! as it is shipped, the floors (`benches/floor`), a bare publisher, a program that trades, and a subscriber. Daemon and floor
//! are there all the time and take turns within one run. What holds on another machine are the ratios.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures time and prints a table, and its processes live on the clock of the machine"
)]

mod children;
mod feed;
mod figures;
#[path = "../floor/mod.rs"]
mod floor;
mod latency;
mod load;
mod place;
mod publisher;
mod raw;
mod report;
mod soak;
mod subscriber;
mod venue;

use std::error::Error;
use std::process::ExitCode;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The contract's generated types, for what plays a publisher or a floor.
mod proto {
    #[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    pub(super) mod tradesvc {
        include!(concat!(env!("OUT_DIR"), "/tradesvc.v0.rs"));
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("start a runtime");
    let done = runtime.block_on(async {
        match words.as_slice() {
            ["venue"] => venue::run().await,
            ["feed"] => feed::run().await,
            ["orders-floor", nats, venue] => floor::orders::run(floor::orders::Kind::Full, nats, venue).await,
            ["bare-floor", nats, venue] => floor::orders::run(floor::orders::Kind::Bare, nats, venue).await,
            ["updates-floor", nats, venue] => floor::updates::run(nats, venue).await,
            ["market-floor", nats, feed] => floor::market::run(feed, nats).await,
            ["raw", nats] => raw::run(nats).await,
            ["publisher", nats] => publisher::run(nats).await,
            ["subscriber", nats] => subscriber::run(nats).await,
            // Cargo adds `--bench`.
            words => {
                let words: Vec<&str> = words.iter().copied().filter(|word| *word != "--bench").collect();
                // Dropped, it ends everything it has started.
                let mut terminate = signal(SignalKind::terminate())?;
                tokio::select! {
                    done = measure(&words) => done,
                    _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
                    _ = terminate.recv() => Err("terminated".into()),
                }
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{words:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(words: &[&str]) -> Result<()> {
    match words {
        [] | ["figures"] => figures::run(figures::Length::Full).await,
        ["quick"] => figures::run(figures::Length::Quick).await,
        ["record"] => report::record(),
        ["latency"] => latency::run().await,
        ["compare", other] => figures::compare(other, 8).await,
        ["load", path, seconds] => load::run(path, seconds.parse()?).await,
        ["soak"] => soak::run(60).await,
        ["soak", minutes] => soak::run(minutes.parse()?).await,
        [first, numbers @ ..] if *first == "only" => {
            let numbers = numbers.iter().map(|number| number.parse());
            figures::run(figures::Length::Only(
                numbers.collect::<std::result::Result<_, _>>()?,
            ))
            .await
        }
        other => Err(format!(
            "{other:?}: say nothing (ten minutes), quick, only NUMBERS, latency, compare PROGRAM, load PATH SECONDS, soak MINUTES, or record"
        )
        .into()),
    }
}

/// Nanoseconds since 1970, on the clock that all processes share.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or_default()
}

/// Waits until the server has heard what a client said: it answers what comes later on the same connection.
async fn heard_by(client: &async_nats::Client) -> Result<()> {
    let inbox = client.new_inbox();
    let mut answer = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, "heard?".into()).await?;
    answer.next().await.ok_or("the server has gone")?;
    Ok(())
}

/// The symbols: `AAA`, `AAB` and on.
fn symbol(number: usize) -> String {
    let letter =
        |place: u32| char::from(b'A' + u8::try_from(number / 26_usize.pow(place) % 26).unwrap_or_default());
    [letter(3), letter(2), letter(1), letter(0)].iter().collect()
}

/// When an order was published, by its id: `bench-NUMBER-NANOSECONDS`, also at the end of a subject.
fn moment_of(id: &str) -> Option<i64> {
    id.rsplit('-').next()?.parse().ok()
}

/// What stands between a beginning and an end.
fn between<'a>(bytes: &'a [u8], begin: &[u8], end: u8) -> Option<&'a str> {
    let from = bytes.windows(begin.len()).position(|window| window == begin)? + begin.len();
    let rest = bytes.get(from..)?;
    let to = rest.iter().position(|byte| *byte == end)?;
    std::str::from_utf8(rest.get(..to)?).ok()
}

/// Where latencies lie, nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Spread {
    p50: i64,
    p99: i64,
    max: i64,
}

impl Spread {
    fn of(mut latencies: Vec<i64>) -> Self {
        latencies.sort_unstable();
        let at = |share: usize| {
            let place = latencies.len() * share / 1000;
            latencies.get(place).copied().unwrap_or_default()
        };
        Self {
            p50: at(500),
            p99: at(990),
            max: latencies.last().copied().unwrap_or_default(),
        }
    }
}
