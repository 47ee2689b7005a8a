//! How a command finds NATS: by the settings of the daemon.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{Exit, output};
use crate::bus::{Connection, Link};
use crate::clock::Clock;
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

/// Longest time until a lost connection is seen to be lost: three pings, two seconds apart, and some room.
const SEEN_LATE: SignedDuration = SignedDuration::from_secs(10);

/// The end of a command whose connection has ended, which it does not by itself.
pub(super) fn over(command: &str) -> Exit {
    output::complain(format_args!(
        "nalpaca {command}: the connection to NATS has ended"
    ));
    Exit::Unavailable
}

/// Whether NATS can be reached, for a command that goes on for long: silence is to be told from nothing happening.
pub(super) struct Losses {
    command: &'static str,
    link: watch::Receiver<Link>,
    generation: u64,
    lost_at: Option<Timestamp>,
}

impl Losses {
    pub(super) fn of(command: &'static str, connection: &Connection) -> Self {
        let link = connection.link();
        let generation = link.borrow().generation;
        Self {
            command,
            link,
            generation,
            lost_at: None,
        }
    }

    /// Waits until NATS was lost, which is told at once, and is back. Gives when it may have been lost: what was published
    /// since then may not have been heard. Cancel-safe.
    pub(super) async fn back(&mut self) -> Timestamp {
        loop {
            let link = *self.link.borrow_and_update();
            let is_back = link.connected && link.generation != self.generation;
            if !link.connected || is_back {
                let now = Clock::system().now();
                if self.lost_at.is_none() && !link.connected {
                    output::complain(format_args!(
                        "nalpaca {}: NATS is lost, trying again",
                        self.command
                    ));
                }
                let lost_at = *self
                    .lost_at
                    .get_or_insert_with(|| now.saturating_sub(SEEN_LATE).unwrap_or(now));
                if is_back {
                    self.generation = link.generation;
                    self.lost_at = None;
                    return lost_at;
                }
            }
            if self.link.changed().await.is_err() {
                // The connection is gone, and with it whatever is listened to, which says so.
                std::future::pending::<()>().await;
            }
        }
    }
}
