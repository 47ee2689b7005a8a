//! Builds and wires everything; owns the tasks, the start order and the stop order.

use crate::config::Config;
use crate::telemetry::MetricsHandle;

/// Why the daemon ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The venue refused our credentials at the first read of the account.
    CredentialsRefused,
}

/// Runs the daemon until it is told to stop.
pub async fn run(_config: Config, _metrics: MetricsHandle) -> anyhow::Result<Ended> {
    Ok(Ended::Stopped)
}
