//! The connection to NATS: kept for ever, watched, and made anew when the client behind it has died.
//!
//! The client reconnects by itself, but bytes a publisher chose can end the task that does so (a header value with a
//! lone CR: measured). Nobody above notices more than a reconnect.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_nats::{ConnectOptions, Event, jetstream};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::auth::Identity;
use crate::backoff::Backoff;
use crate::config::{NatsAuth, NatsConfig};
use crate::telemetry::Chain;

/// A server that is silent for two of these is taken for dead: a half-open connection is found within 7 s.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Longest wait for a TCP connection, TLS and the server's greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to a JetStream request or publish.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between attempts to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// How often the client is asked whether it is alive. It answers from memory.
const PULSE_INTERVAL: Duration = Duration::from_millis(250);
/// Longest wait for that answer. A client that is reconnecting gives none, and is alive.
const PULSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pauses between clients that die one after the other.
const REMAKE_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A client that lived so long did not die of what killed the one before it.
const GOOD_AGE: Duration = Duration::from_secs(30);

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
    shared: Arc<Shared>,
}

struct Shared {
    config: NatsConfig,
    identity: Identity,
    link: watch::Sender<Link>,
    made: RwLock<Arc<Made>>,
    /// How often a client was made anew.
    makes: AtomicU64,
    /// Told to close: a client that has ended has done what it should.
    closing: AtomicBool,
}

/// One client, and what stands on it.
pub(super) struct Made {
    pub(super) client: async_nats::Client,
    pub(super) jetstream: jetstream::Context,
}

/// Why there is no connection, though nothing was wrong with the network: the addresses, a certificate, or something
/// else in the options makes no sense to the client.
#[derive(Debug, thiserror::Error)]
#[error("the NATS connection could not be set up")]
pub struct ConnectError(#[source] async_nats::ConnectError);

impl Connection {
    /// Starts connecting and returns at once, connected or not; [`Connection::link`] tells.
    pub async fn start(config: &NatsConfig) -> Result<Self, ConnectError> {
        let link = watch::Sender::new(Link::default());
        let identity = Identity::new(config.auth.clone());
        let made = Made::new(config, identity.clone(), link.clone()).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                config: config.clone(),
                identity,
                link,
                made: RwLock::new(Arc::new(made)),
                makes: AtomicU64::new(0),
                closing: AtomicBool::new(false),
            }),
        })
    }

    /// Another connection, for traffic that is to delay nobody: the same servers and the same identity, which is renewed
    /// for both. It lives on the runtime this is called from.
    pub async fn another(&self, name: &str) -> Result<Self, ConnectError> {
        let config = NatsConfig {
            name: name.to_owned(),
            ..self.shared.config.clone()
        };
        let (identity, link) = (self.shared.identity.clone(), watch::Sender::new(Link::default()));
        let made = Made::new(&config, identity.clone(), link.clone()).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                identity,
                link,
                made: RwLock::new(Arc::new(made)),
                makes: AtomicU64::new(0),
                closing: AtomicBool::new(false),
            }),
        })
    }

    /// Goes up with each client that is made anew: what was subscribed on the one before it is gone.
    pub(super) fn makes(&self) -> u64 {
        self.shared.makes.load(Ordering::Relaxed)
    }

    /// The name it goes by at the server.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// Makes the client anew whenever it has died, until the connection is closed or this is aborted.
    pub async fn keep_alive(self) {
        let mut pauses = Backoff::between(REMAKE_PAUSES.0, REMAKE_PAUSES.1);
        let mut born = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(PULSE_INTERVAL).await;
            let client = self.client();
            // Answered by the client's own task; an error says that there is none any more.
            let pulse = tokio::time::timeout(PULSE_TIMEOUT, client.flush()).await;
            if self.shared.closing.load(Ordering::Relaxed) {
                return;
            }
            let Ok(Err(cause)) = pulse else { continue };
            self.shared.link.send_modify(|link| link.connected = false);
            error!(%cause, "the nats client has died, most likely of a message it cannot read; making a new one");
            if born.elapsed() > GOOD_AGE {
                pauses.reset();
            }
            loop {
                tokio::time::sleep(pauses.next_delay()).await;
                let Shared {
                    config,
                    identity,
                    link,
                    ..
                } = &*self.shared;
                match Made::new(config, identity.clone(), link.clone()).await {
                    Ok(made) => {
                        *self.shared.made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                        self.shared.makes.fetch_add(1, Ordering::Relaxed);
                        born = tokio::time::Instant::now();
                        break;
                    }
                    Err(error) => error!(error = %Chain(&error), "no new nats client could be made"),
                }
            }
        }
    }

    /// Proves by this who we are, from the next connection on. Says whether that is new.
    pub fn set_auth(&self, auth: &NatsAuth) -> bool {
        self.shared.identity.replace(auth)
    }

    /// Says that somebody else may have acted: whatever was known of the streams must be looked at anew.
    pub fn suspect(&self) {
        self.shared.link.send_modify(|link| link.generation += 1);
    }

    /// What is used now. To clone a client or a context costs allocations, so that paths that are taken often use this.
    pub(super) fn made(&self) -> Arc<Made> {
        // Nothing panics while it holds the lock.
        self.shared
            .made
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The core client.
    pub(super) fn client(&self) -> async_nats::Client {
        self.made().client.clone()
    }

    /// The JetStream context.
    pub(super) fn jetstream(&self) -> jetstream::Context {
        self.made().jetstream.clone()
    }

    /// Whether the server can be reached, as a value to watch.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Waits until the server can be reached.
    pub async fn connected(&self) {
        // The sender is ours, so the wait ends only with the connection.
        let _ = self.link().wait_for(|link| link.connected).await;
    }

    /// What the server says of itself, while it is connected: version and server id.
    pub fn server(&self) -> Option<(String, String)> {
        self.client()
            .try_server_info()
            .map(|info| (info.version, info.server_id))
    }

    /// Sends what is buffered and closes.
    pub async fn drain(&self, grace: Duration) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let client = self.client();
        let drained = async {
            if let Err(error) = client.flush().await {
                warn!(%error, "nats could not be flushed before closing");
            }
            if let Err(error) = client.drain().await {
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
            .field("link", &*self.shared.link.borrow())
            .finish_non_exhaustive()
    }
}

impl Made {
    async fn new(
        config: &NatsConfig,
        identity: Identity,
        link: watch::Sender<Link>,
    ) -> Result<Self, ConnectError> {
        let prove = move |nonce: Vec<u8>| std::future::ready(identity.prove(&nonce));
        let has_been = link.clone();
        let mut options = ConnectOptions::with_auth_callback(prove)
            .name(&config.name)
            .custom_inbox_prefix(&config.inbox_prefix)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(move |attempt| {
                // The very first attempt waits for nobody. A connection that ends as soon as it is made waits each time.
                let is_first = attempt <= 1 && has_been.borrow().generation == 0;
                if is_first {
                    Duration::ZERO
                } else {
                    reconnect_delay(attempt)
                }
            })
            .event_callback(move |event| {
                note(&link, &event);
                async {}
            });
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
            .map_err(ConnectError)?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self { client, jetstream })
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
