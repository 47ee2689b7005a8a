//! Reads secrets again while the daemon runs: when a file that holds one changes, and on SIGHUP.
//!
//! Only who we are is taken over, to NATS and to the venue; every other setting takes a restart. A new key is tried
//! first, by reading the account: what the venue refuses, or what belongs to another account, is not used, and the one
//! in use stays.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::Daemon;
use crate::alpaca::rest::ReadError;
use crate::alpaca::{Credential, rest};
use crate::bus::Connection;
use crate::config::{self, Config, ProcessEnvironment};

/// How often the files are read. Kubernetes itself takes about a minute to change them.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The account we trade, once the venue has told its number.
pub(super) type KnownAccount = Arc<OnceLock<String>>;

/// What watching secrets takes.
pub(super) struct Secrets {
    venue: rest::Client,
    credential: Credential,
    account: KnownAccount,
    connection: Connection,
    /// Why settings could not be read, or a key not used, the last time; said once.
    said: String,
}

impl Secrets {
    pub(super) fn new(daemon: &Daemon, connection: &Connection) -> Self {
        Self {
            venue: daemon.venue.clone(),
            credential: daemon.credential.clone(),
            account: Arc::clone(&daemon.account),
            connection: connection.clone(),
            said: String::new(),
        }
    }

    /// Looks for as long as the daemon runs.
    pub(super) async fn follow(mut self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                error!(%error, "SIGHUP cannot be caught; secrets are read again only when their files change");
                return self.look_for_ever().await;
            }
        };
        loop {
            tokio::select! {
                _ = hangup.recv() => { // cancel-safe: docs
                    info!(signal = "SIGHUP", "secrets are read again; other settings take a restart");
                    self.said.clear();
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {} // cancel-safe
            }
            self.look().await;
        }
    }

    async fn look_for_ever(&mut self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        // Files may stand on a disk that does not answer; nobody else waits for it.
        let read = tokio::task::spawn_blocking(|| config::load(&ProcessEnvironment)).await;
        match read {
            Ok(Ok(config)) => self.take_over(&config).await,
            Ok(Err(errors)) => self.say(format!("the settings cannot be read again: {errors}")),
            Err(error) => self.say(format!("the settings cannot be read again: {error}")),
        }
    }

    async fn take_over(&mut self, config: &Config) {
        if self.connection.set_auth(&config.nats.auth) {
            info!("another identity for NATS, used from the next connection on");
        }
        let Ok(renewed) = super::credential(&config.alpaca) else {
            return self.say("the new keys cannot be sent; those in use stay".to_owned());
        };
        if renewed.is_same_as(&self.credential) {
            self.said.clear();
            return;
        }
        match self.venue.with_credential(renewed.clone()).account().await {
            Ok(read) => {
                let number = read.value.account_number;
                match self.account.get() {
                    Some(known) if *known != number => self.say(format!(
                        "the new keys belong to account {number}, not {known}; those in use stay, restart to trade another account"
                    )),
                    Some(_) | None => {
                        self.credential.replace(&renewed);
                        self.said.clear();
                        info!(account_number = number, "the venue takes the new keys, they are used from now on");
                    }
                }
            }
            Err(ReadError::AccountRefused(refusal)) => self.say(format!(
                "the venue refuses the new keys ({}); those in use stay",
                refusal.message
            )),
            Err(ReadError::Failed { cause, .. }) => {
                self.say(format!(
                    "the new keys cannot be tried: {cause}; those in use stay until then"
                ));
            }
        }
    }

    /// Says what is wrong, once.
    fn say(&mut self, what: String) {
        if self.said != what {
            warn!("{what}");
            self.said = what;
        }
    }
}
