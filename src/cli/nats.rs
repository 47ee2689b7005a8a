//! How a command finds NATS: by the settings of the daemon.

use std::time::Duration;

use super::{Exit, output};
use crate::bus::Connection;
use crate::config::{self, Config, ProcessEnvironment};
use crate::telemetry::Chain;

/// The settings, or what is wrong with them, which is told.
pub(super) fn settings(command: &str) -> Result<Config, Exit> {
    config::load_for_nats(&ProcessEnvironment).map_err(|errors| {
        output::complain(format_args!("nalpaca {command}: {errors}"));
        Exit::Config
    })
}

/// A connection, or why there is none, which is told.
pub(super) async fn connect(command: &str, config: &Config, patience: Duration) -> Result<Connection, Exit> {
    let connection = Connection::start(&config.nats).await.map_err(|error| {
        output::complain(format_args!("nalpaca {command}: {}", Chain(&error)));
        Exit::Unavailable
    })?;
    if tokio::time::timeout(patience, connection.connected())
        .await
        .is_err()
    {
        output::complain(format_args!(
            "nalpaca {command}: no NATS at {} within {} s; set NATS_URL",
            config.nats.servers.join(","),
            patience.as_secs()
        ));
        return Err(Exit::Unavailable);
    }
    Ok(connection)
}
