//! `nalpaca serve`: the daemon.

use tracing::{error, info, warn};

use super::{Exit, block_on, output};
use crate::app::{self, Ended};
use crate::config::{self, Config, ProcessEnvironment};
use crate::telemetry::trace::Traces;
use crate::telemetry::{MetricsHandle, logging, metrics};

pub(super) fn run() -> Exit {
    let config = match config::load(&ProcessEnvironment) {
        Ok(config) => config,
        Err(errors) => {
            output::complain(format_args!("nalpaca: {errors}"));
            return Exit::Config;
        }
    };
    let account = app::Account::begin(&config.alpaca);
    let (recorder, traces) = match start_telemetry(&config) {
        Ok(started) => started,
        Err(error) => {
            output::complain(format_args!("nalpaca: {error:#}"));
            return Exit::Internal;
        }
    };
    let exit = block_on(async {
        let ran = match account {
            Ok(account) => Box::pin(app::run(config, account, recorder)).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(Ended::Stopped) => Exit::Ok,
            Ok(Ended::CredentialsRefused) => Exit::Credentials,
            Ok(Ended::WrongAccount) => Exit::Config,
            Err(error) => {
                error!(error = format!("{error:#}"), "daemon failed");
                Exit::Internal
            }
        }
    });
    if let Some(traces) = traces {
        traces.finish();
    }
    exit
}

/// Starts log lines, traces and metrics, and says what was started.
fn start_telemetry(config: &Config) -> anyhow::Result<(MetricsHandle, Option<Traces>)> {
    let trace = config.trace.as_ref();
    let traces = trace
        .map(|trace| Traces::start(trace, &config.instance))
        .transpose()?;
    logging::init(&config.log, traces.as_ref())?;
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
    Ok((recorder, traces))
}
