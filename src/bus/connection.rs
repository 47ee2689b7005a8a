//! The connection to NATS: made once, kept for ever, watched.

use std::fmt;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, jetstream};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::config::{NatsAuth, NatsConfig};

/// A server that is silent for two of these is taken for dead: a half-open connection is found within 7 s.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Longest wait for a TCP connection, TLS and the server's greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to a JetStream request or publish.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between attempts to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Whether the server can be reached, and how often it was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The server answers.
    pub connected: bool,
    /// Goes up with each connection made; a change means that somebody else may have acted in between.
    pub generation: u64,
}

/// A connection that reconnects by itself for as long as it lives. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    link: watch::Receiver<Link>,
}

/// Why there is no connection, though nothing was wrong with the network.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file with credentials or certificates could not be used.
    #[error("{what} cannot be used: {cause}")]
    Credentials {
        /// Which variable.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// The addresses, or something else in the options, make no sense to the client.
    #[error("the NATS connection could not be set up")]
    Setup(#[source] async_nats::ConnectError),
}

impl Connection {
    /// Starts connecting and returns at once, connected or not; [`Connection::link`] tells.
    pub async fn start(config: &NatsConfig) -> Result<Self, ConnectError> {
        let (sender, link) = watch::channel(Link::default());
        let mut options = ConnectOptions::new()
            .name(&config.name)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                note(&sender, &event);
                async {}
            });
        options = match &config.auth {
            NatsAuth::None => options,
            NatsAuth::UserPassword { user, password } => {
                options.user_and_password(user.clone(), password.expose_secret().to_owned())
            }
            NatsAuth::Token(token) => options.token(token.expose_secret().to_owned()),
            NatsAuth::NkeySeed(seed) => options.nkey(seed.expose_secret().to_owned()),
            NatsAuth::CredsFile(path) => {
                options
                    .credentials_file(path)
                    .await
                    .map_err(|error| ConnectError::Credentials {
                        what: "NATS_CREDS",
                        cause: error.to_string(),
                    })?
            }
        };
        if let Some(ca) = &config.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&config.tls.cert, &config.tls.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        if config.tls.first {
            options = options.tls_first();
        }
        let client = options
            .connect(config.servers.clone())
            .await
            .map_err(ConnectError::Setup)?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            link,
        })
    }

    /// The core client.
    pub(super) fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// The JetStream context.
    pub(super) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Whether the server can be reached, as a value to watch.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Waits until the server can be reached.
    pub async fn connected(&self) {
        // The sender lives in the client's callback, which lives as long as `self.client`.
        let _ = self.link.clone().wait_for(|link| link.connected).await;
    }

    /// What the server says of itself, while it is connected: version and server id.
    pub fn server(&self) -> Option<(String, String)> {
        self.client
            .try_server_info()
            .map(|info| (info.version, info.server_id))
    }

    /// Sends what is buffered and closes.
    pub async fn drain(&self, grace: Duration) {
        let drained = async {
            if let Err(error) = self.client.flush().await {
                warn!(%error, "nats could not be flushed before closing");
            }
            if let Err(error) = self.client.drain().await {
                warn!(%error, "nats could not be drained");
            }
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            warn!("nats did not drain in time");
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("link", &*self.link.borrow())
            .finish_non_exhaustive()
    }
}

/// Doubling from 50 ms; the client itself adds jitter by the spread of its attempts.
fn reconnect_delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(10);
    Duration::from_millis(50)
        .saturating_mul(1 << doublings)
        .min(RECONNECT_DELAY_MAX)
}

fn note(sender: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            sender.send_modify(|link| {
                *link = Link {
                    connected: true,
                    generation: link.generation + 1,
                }
            });
            info!("nats connected");
        }
        Event::Disconnected => {
            let lost = sender.send_if_modified(|link| std::mem::replace(&mut link.connected, false));
            if lost {
                warn!("nats disconnected, reconnecting");
            }
        }
        Event::LameDuckMode => warn!("nats server is about to stop"),
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "nats subscription lost messages, it was too slow")
        }
        Event::ServerError(error) => warn!(%error, "nats server reports an error"),
        // One for each failed attempt to reconnect; the loss itself was told.
        Event::ClientError(error) => debug!(%error, "nats client reports an error"),
        Event::Closed => sender.send_modify(|link| link.connected = false),
        Event::Draining => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting_slows_down_to_a_cap() {
        assert_eq!(reconnect_delay(0), Duration::from_millis(50));
        assert_eq!(reconnect_delay(3), Duration::from_millis(200));
        assert_eq!(reconnect_delay(usize::MAX), RECONNECT_DELAY_MAX);
    }
}
