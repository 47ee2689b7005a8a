//! Market data on its way out: told to whoever listens, or stored with its acknowledgements counted in a window.
//!
//! One acknowledgement awaited at a time would cost a round trip each, a twenty-fifth of the rate (measured). The window is
//! as wide as it pays; past it the server is what bounds.

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{HeaderMap, Subject, jetstream};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::debug;

use super::Connection;
use super::bucket::key_subject;

/// Publishes that may be unacknowledged.
const WINDOW: usize = 1024;
/// The bucket of last values.
pub const LAST_BUCKET: &str = "nalpaca-last";
/// Room for subjects and headers, which count, too.
const HEADERS_MAX: usize = 4 * 1024;
/// Longest wait for an acknowledgement when the window is full, or at the end.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub subject: Subject,
    /// Full name of the payload's schema.
    pub schema: &'static str,
    /// What tells it from its repeat, where it is stored.
    pub id: Option<String>,
    /// Its bytes.
    pub payload: Bytes,
}

impl Message {
    /// One that writes a last value. The next one overtakes it, so it needs no id.
    pub fn last(key: &str, schema: &'static str, payload: Bytes) -> Self {
        Self {
            subject: key_subject(LAST_BUCKET, key).into(),
            schema,
            id: None,
            payload,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nalpaca-Schema", self.schema);
        if let Some(id) = &self.id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        }
        headers
    }
}

/// An acknowledgement on its way, and what it is for.
type Unacknowledged<T> = (BoxFuture<'static, Result<PublishAck, PublishError>>, Message, T);

/// Publishes market data. One owner, who gives each message that is stored a tag to know it by.
pub struct Broadcast<T> {
    connection: Connection,
    /// The connection's client, as it was at the last look: to ask for it again with each message costs as much as the rest.
    client: Arc<Client>,
    unacknowledged: VecDeque<Unacknowledged<T>>,
}

/// What messages are sent with.
struct Client {
    /// Which of the connection's clients it is.
    makes: u64,
    core: async_nats::Client,
    jetstream: jetstream::Context,
    payload_max: usize,
}

impl Client {
    fn of(connection: &Connection) -> Arc<Self> {
        // First the number: a client that is made in between is noticed the next time.
        let makes = connection.makes();
        let core = connection.client();
        Arc::new(Self {
            makes,
            payload_max: core.max_payload(),
            core,
            jetstream: connection.jetstream(),
        })
    }
}

impl<T> Broadcast<T> {
    /// On a connection of its own, so that its traffic delays no order.
    pub fn new(connection: Connection) -> Self {
        Self {
            client: Client::of(&connection),
            connection,
            unacknowledged: VecDeque::new(),
        }
    }

    /// Waits until the server can be reached: what is published meanwhile would be told much later.
    pub async fn ready(&mut self) {
        self.connection.connected().await;
        self.look();
    }

    /// Notices a client that was made anew, and a server with other limits. To be called before each batch.
    pub fn look(&mut self) {
        let is_other = self.client.makes != self.connection.makes();
        if is_other || self.client.payload_max != self.client.core.max_payload() {
            self.client = Client::of(&self.connection);
        }
    }

    /// How many messages can be sent to a stream without a wait.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.unacknowledged.len())
    }

    /// Whether the server takes so large a message. One it does not take would fail each time it is sent.
    pub fn fits(&self, message: &Message) -> bool {
        message.payload.len() + HEADERS_MAX <= self.client.payload_max
    }

    /// Tells whoever listens now.
    pub async fn tell(&self, message: &Message) -> bool {
        let sent = self.client.core.publish_with_headers(
            message.subject.clone(),
            message.headers(),
            message.payload.clone(),
        );
        sent.await.is_ok()
    }

    /// Sends a message to its stream. Returns what could not be stored before: it may be sent again.
    pub async fn store(&mut self, message: Message, tag: T) -> Vec<(Message, T)> {
        let mut failed = self.reap();
        while self.unacknowledged.len() >= WINDOW {
            failed.extend(self.oldest().await);
        }
        let publish = PublishMessage::build()
            .headers(message.headers())
            .payload(message.payload.clone());
        let sent = self
            .client
            .jetstream
            .send_publish(message.subject.clone(), publish);
        match sent.await {
            Ok(acknowledged) => {
                self.unacknowledged
                    .push_back((acknowledged.into_future(), message, tag));
            }
            Err(error) => {
                debug!(%error, subject = %message.subject, "market data could not be sent");
                failed.push((message, tag));
            }
        }
        failed
    }

    /// Takes what has been acknowledged out of the window, without a wait. Returns what could not be stored.
    pub fn reap(&mut self) -> Vec<(Message, T)> {
        let mut failed = Vec::new();
        while let Some((acknowledged, ..)) = self.unacknowledged.front_mut() {
            let Some(answer) = acknowledged.now_or_never() else {
                break;
            };
            if let Some((_, message, tag)) = self.unacknowledged.pop_front()
                && let Err(error) = answer
            {
                debug!(%error, subject = %message.subject, "market data was not stored");
                failed.push((message, tag));
            }
        }
        failed
    }

    /// Waits for the oldest acknowledgement. Returns its message if it could not be stored.
    async fn oldest(&mut self) -> Option<(Message, T)> {
        let (acknowledged, message, tag) = self.unacknowledged.pop_front()?;
        match tokio::time::timeout(ACK_TIMEOUT, acknowledged).await {
            Ok(Ok(_)) => None,
            Ok(Err(_)) | Err(_) => Some((message, tag)),
        }
    }

    /// Waits until everything is acknowledged. Returns how many were not.
    pub async fn finish(mut self) -> usize {
        let mut failed = 0;
        let all = async {
            while !self.unacknowledged.is_empty() {
                failed += usize::from(self.oldest().await.is_some());
            }
        };
        let in_time = tokio::time::timeout(ACK_TIMEOUT, all).await.is_ok();
        let left = self.unacknowledged.len();
        if in_time { failed } else { failed + left }
    }
}
