//! `nalpaca serve`: the daemon.

use tracing::{error, info, warn};

use super::{Exit, block_on, output};
use crate::app::{self, Ended};
use crate::config::{self, Config, ProcessEnvironment};
use crate::telemetry::{MetricsHandle, logging, metrics};

pub(super) fn run() -> Exit {
    let config = match config::load(&ProcessEnvironment) {
        Ok(config) => config,
        Err(errors) => {
            output::complain(format_args!("nalpaca: {errors}"));
            return Exit::Config;
        }
    };
    let recorder = match start_telemetry(&config) {
        Ok(recorder) => recorder,
        Err(error) => {
            output::complain(format_args!("nalpaca: {error:#}"));
            return Exit::Internal;
        }
    };
    block_on(async {
        match app::run(config, recorder).await {
            Ok(Ended::Stopped) => Exit::Ok,
            Ok(Ended::CredentialsRefused) => Exit::Credentials,
            Ok(Ended::WrongAccount) => Exit::Config,
            Err(error) => {
                error!(error = format!("{error:#}"), "daemon failed");
                Exit::Internal
            }
        }
    })
}

/// Starts log lines and metrics, and says what was started.
fn start_telemetry(config: &Config) -> anyhow::Result<MetricsHandle> {
    logging::init(&config.log)?;
    let recorder = metrics::install()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("NALPACA_REVISION"),
        environment = config.alpaca.environment.as_str(),
        venue = config.alpaca.base_url,
        prefix = config.prefix,
        instance = config.instance,
        "nalpaca starts"
    );
    for warning in &config.warnings {
        warn!(warning, "configuration");
    }
    metrics::config_warnings(config.warnings.len());
    Ok(recorder)
}
