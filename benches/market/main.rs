//! Market data from a socket to a subscriber, beside the least that could do it.
//!
//! Every part is a process of its own: a nats-server, a feed that sends trades at a given rate, the daemon as it is shipped, the floor
//! (one connection, read, decode, publish; nothing else), a bare publisher of the same bytes, and the subscriber that measures. The
//! daemon and the floor are connected all the time and take turns within one run. What holds on another machine are the ratios.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures time and prints a table, and its processes live on the clock of the machine"
)]

mod children;
mod feed;
mod floor;
mod measure;
mod raw;
mod subscriber;

use std::error::Error;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("start a runtime");
    let done = runtime.block_on(async {
        match words.as_slice() {
            ["feed"] => feed::run().await,
            ["floor", feed, nats] => floor::run(feed, nats).await,
            ["raw", nats] => raw::run(nats).await,
            ["subscriber", nats] => subscriber::run(nats).await,
            // Cargo says `--bench`.
            words => {
                // Dropped, it ends everything it has started.
                let mut terminate = signal(SignalKind::terminate())?;
                tokio::select! {
                    done = measure::run(words.contains(&"--quick")) => done,
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

/// Nanoseconds since 1970, on the clock that all processes share.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or_default()
}

/// The symbols, `S0` and on.
fn symbol(number: usize) -> String {
    format!("S{number}")
}
