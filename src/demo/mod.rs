//! The main job on real parts, on this machine alone: a real nats-server, the simulated Alpaca, the daemon as
//! `nalpaca serve` runs it, and an outside client that trades through them.
//!
//! The client here knows only what every user knows: subjects, payloads and the bucket. What it prints is what
//! came over NATS.

mod client;
mod parts;
mod script;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

pub use show::Terminal;

/// What the demo is started with.
#[derive(Clone, Debug, Default)]
pub struct DemoConfig {
    /// The nats-server to run; `None` looks on the PATH and in `.tools`.
    pub nats_server: Option<PathBuf>,
    /// Keep everything running afterwards.
    pub stay: bool,
    /// Where prices and ids come from.
    pub seed: u64,
}

/// Longest wait for each part to come up.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demo. False: something was not as it should be, and the terminal says what.
pub async fn run(
    config: DemoConfig,
    terminal: &mut Terminal,
    told_to_stop: impl Future<Output = ()>,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    let parts = parts::Parts::start(&config).await?;
    let played = play(&config, &parts, terminal, began, told_to_stop).await;
    let stopped = parts.stop().await;
    let (good, stayed) = match played {
        Ok(played) => played,
        // The daemon's own words are the best explanation there is.
        Err(error) => return Err(error.context(stopped.log_tail)),
    };
    if !stayed {
        terminal.line(format_args!(
            "  daemon stopped by SIGTERM with exit code {}; {:.1?} in all",
            stopped
                .exit_code
                .map_or_else(|| "none".to_owned(), |code| code.to_string()),
            began.elapsed()
        ))?;
    }
    Ok(good && stopped.exit_code == Some(0))
}

async fn play(
    config: &DemoConfig,
    parts: &parts::Parts,
    terminal: &mut Terminal,
    began: Instant,
    told_to_stop: impl Future<Output = ()>,
) -> anyhow::Result<(bool, bool)> {
    show::introduce(terminal, parts, began.elapsed())?;
    let mut told_to_stop = std::pin::pin!(told_to_stop);
    let mut client = client::Client::connect(&parts.nats_url)
        .await
        .context("connect as an outside client")?;
    let summary = tokio::select! {
        summary = script::play(&mut client, terminal) => summary?,
        () = &mut told_to_stop => return Ok((false, false)),
    };
    let good = show::summarize(terminal, &summary, &parts.sim.snapshot())?;
    if config.stay {
        show::stay(terminal, parts)?;
        told_to_stop.await;
    }
    Ok((good, config.stay))
}
