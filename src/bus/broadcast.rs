//! Market data on its way out: told to whoever listens, or stored with its acknowledgements counted in a window.
//!
//! One acknowledgement awaited at a time would cost a round trip each, a twenty-fifth of the rate (measured). The window is
//! as wide as it pays; past it the server is what bounds. Acknowledgements come by one subscription of our own and are
//! ticked off by number: a future for each, as the client makes them, was a third of this thread's time (docs/benchmarks.md).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tracing::debug;

use super::Connection;
use super::bucket::key_subject;
use super::publish::{AckJson, SCHEMA};

/// Publishes that may be unacknowledged.
const WINDOW: usize = 1024;
/// The bucket of last values.
pub const LAST_BUCKET: &str = "nalpaca-last";
/// Room for subjects and headers, which count, too.
const HEADERS_MAX: usize = 4 * 1024;
/// Longest wait for an acknowledgement when the window is full, or at the end.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Numbers of acknowledgements, used again in turn; twice the window, so that none means two messages.
const NUMBERS: usize = 2 * WINDOW;

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
        headers.insert(SCHEMA, self.schema);
        if let Some(id) = &self.id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        }
        headers
    }
}

/// Publishes market data. One owner, who gives each message that is stored a tag to know it by.
pub struct Broadcast<T> {
    connection: Connection,
    /// The connection's client, as it was at the last look: to ask for it again with each message costs as much as the rest.
    client: Arc<Client>,
    /// Where acknowledgements arrive; made with the first message that is stored.
    desk: Option<AckDesk>,
    /// What is not acknowledged, in the order it was sent. What is, and follows something that is not, is empty.
    window: VecDeque<Sent<T>>,
    /// Number of the first one, among [`NUMBERS`].
    first: usize,
}

/// A message on its way to its stream.
struct Sent<T> {
    parcel: Option<(Message, T)>,
    at: Instant,
}

/// Where acknowledgements arrive.
struct AckDesk {
    answers: Subscriber,
    /// The subject for the answer to each number.
    replies: Vec<Subject>,
    /// What all of them begin with.
    prefix: usize,
}

impl AckDesk {
    /// Under subjects nobody has used before: what is late for an earlier one is nobody's here.
    async fn open(client: &async_nats::Client) -> Option<Self> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.ok()?;
        Some(Self {
            answers,
            replies: (0..NUMBERS)
                .map(|number| Subject::from(format!("{inbox}.{number}")))
                .collect(),
            prefix: inbox.len() + 1,
        })
    }

    /// Which message an answer is for, and whether it was stored.
    fn read(&self, answer: &async_nats::Message) -> Option<(usize, bool)> {
        let number = answer.subject.as_str().get(self.prefix..)?.parse().ok()?;
        // Nobody answered, says a status; and what is no answer of a stream's says nothing good.
        let stored = answer.status.is_none()
            && serde_json::from_slice::<AckJson<IgnoredAny>>(&answer.payload)
                .is_ok_and(|ack| ack.error.is_none() && ack.seq > 0);
        Some((number, stored))
    }
}

/// What messages are sent with.
struct Client {
    /// Which of the connection's clients it is.
    makes: u64,
    core: async_nats::Client,
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
        })
    }
}

impl<T> Broadcast<T> {
    /// On a connection of its own, so that its traffic delays no order.
    pub fn new(connection: Connection) -> Self {
        Self {
            client: Client::of(&connection),
            connection,
            desk: None,
            window: VecDeque::new(),
            first: 0,
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
        if is_other {
            // What was subscribed with the other one is gone. What it sent fails by and by, and is sent again.
            self.desk = None;
        }
        if is_other || self.client.payload_max != self.client.core.max_payload() {
            self.client = Client::of(&self.connection);
        }
    }

    /// How many messages can be sent to a stream without a wait.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.window.len())
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
        let mut failed = Vec::new();
        if self.window.len() >= WINDOW {
            failed = self.reap();
        }
        while self.window.len() >= WINDOW {
            failed.extend(self.wait().await);
        }
        if self.desk.is_none() {
            // Nothing that is on its way can be answered any more.
            failed.extend(self.give_up());
            self.desk = AckDesk::open(&self.client.core).await;
        }
        let number = (self.first + self.window.len()) % NUMBERS;
        let reply = self.desk.as_ref().and_then(|desk| desk.replies.get(number));
        let Some(reply) = reply.cloned() else {
            debug!(subject = %message.subject, "no acknowledgement could be asked for");
            failed.push((message, tag));
            return failed;
        };
        let sent = self.client.core.publish_with_reply_and_headers(
            message.subject.clone(),
            reply,
            message.headers(),
            message.payload.clone(),
        );
        if let Err(error) = sent.await {
            debug!(%error, subject = %message.subject, "market data could not be sent");
            failed.push((message, tag));
            return failed;
        }
        self.window.push_back(Sent {
            parcel: Some((message, tag)),
            at: Instant::now(),
        });
        failed
    }

    /// Takes what has been acknowledged out of the window, without a wait. Returns what could not be stored, and what nobody
    /// acknowledged in time.
    pub fn reap(&mut self) -> Vec<(Message, T)> {
        let mut failed = Vec::new();
        while let Some(answer) = self
            .desk
            .as_mut()
            .and_then(|desk| desk.answers.next().now_or_never())
        {
            failed.extend(self.tick_off(answer));
        }
        if self
            .window
            .front()
            .is_some_and(|first| first.at.elapsed() >= ACK_TIMEOUT)
        {
            failed.extend(self.give_up());
        }
        failed
    }

    /// Waits for the next acknowledgement. Returns what could not be stored.
    async fn wait(&mut self) -> Vec<(Message, T)> {
        let (Some(desk), Some(first)) = (&mut self.desk, self.window.front()) else {
            return self.give_up();
        };
        let until = first.at + ACK_TIMEOUT;
        match tokio::time::timeout_at(until, desk.answers.next()).await {
            Ok(answer) => self.tick_off(answer).into_iter().collect(),
            Err(_late) => self.give_up(),
        }
    }

    /// Notes one answer. Returns its message if that was not stored.
    fn tick_off(&mut self, answer: Option<async_nats::Message>) -> Option<(Message, T)> {
        let Some(answer) = answer else {
            // The subscription has ended with its client.
            self.desk = None;
            return None;
        };
        let (number, stored) = self.desk.as_ref()?.read(&answer)?;
        let place = (number + NUMBERS - self.first) % NUMBERS;
        let parcel = self.window.get_mut(place)?.parcel.take();
        while self.window.front().is_some_and(|sent| sent.parcel.is_none()) {
            self.window.pop_front();
            self.first = (self.first + 1) % NUMBERS;
        }
        let parcel = parcel.filter(|_| !stored)?;
        debug!(subject = %parcel.0.subject, "market data was not stored");
        Some(parcel)
    }

    /// Takes everything for not stored. What is answered later is not heard any more.
    fn give_up(&mut self) -> Vec<(Message, T)> {
        self.desk = None;
        self.first = 0;
        self.window.drain(..).filter_map(|sent| sent.parcel).collect()
    }

    /// Waits until everything is acknowledged. Returns how many were not.
    pub async fn finish(mut self) -> usize {
        let mut failed = 0;
        while !self.window.is_empty() {
            failed += self.wait().await.len();
        }
        failed
    }
}
