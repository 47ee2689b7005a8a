//! One market-data connection, from the upgrade to its end.
//!
//! The session pulls: at each beat it asks the tape for what happened since it last told, for what it has subscribed to,
//! and sends that before it asks again. A client that reads slowly is told later, and never at the cost of memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tracing::debug;

use super::super::server::Shared;
use super::dialogue::{Control, Dialogue, Fault, Format, Heard, Keys};
use super::emit::Emitter;
use super::feed::Feed;
use super::pulse::Reader;

/// A client has this long to authenticate.
const AUTH_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest stretch of venue time in one go, which bounds what is built before it is sent.
const SLICE: SignedDuration = SignedDuration::from_secs(1);

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What an upgrade request already said.
pub(crate) struct Opening {
    pub(crate) feed: Feed,
    pub(crate) format: Format,
    /// Right keys came with the request itself.
    pub(crate) has_keys: bool,
}

/// The feeds somebody is authenticated on: one connection each.
#[derive(Debug, Default)]
pub(crate) struct Slots(HashSet<Feed>);

/// A feed's one place; giving it up is dropping it.
struct Slot<'a> {
    shared: &'a Shared,
    feed: Feed,
}

impl<'a> Slot<'a> {
    fn take(shared: &'a Shared, feed: Feed) -> Option<Self> {
        let is_free = shared.world().slots.0.insert(feed);
        is_free.then_some(Self { shared, feed })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.shared.world().slots.0.remove(&self.feed);
    }
}

/// What a session waits for.
enum Next {
    Beat,
    Slice,
    Message(Vec<u8>),
    AuthTimeout,
    Nothing,
    End,
}

pub(crate) async fn serve(shared: Arc<Shared>, upgrade: OnUpgrade, opening: Opening) {
    let upgraded = tokio::select! {
        () = shared.stop.cancelled() => return,
        upgraded = upgrade => upgraded,
    };
    let socket = match upgraded {
        Ok(socket) => socket,
        Err(error) => return debug!(%error, "market data upgrade was not completed"),
    };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, None).await;
    let mut session = Session {
        dialogue: Dialogue::new(opening.feed, opening.format, shared.config.data_plan),
        shared: &shared,
        socket,
        slot: None,
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        // A write that fails is a client that is gone.
        _ = session.run(opening.has_keys) => {}
    }
}

struct Session<'a> {
    shared: &'a Shared,
    socket: Socket,
    dialogue: Dialogue,
    slot: Option<Slot<'a>>,
}

/// The client is gone.
struct Gone;

impl Session<'_> {
    async fn run(&mut self, has_keys: bool) -> Result<(), Gone> {
        self.say(&Control::Connected).await?;
        if has_keys {
            match self.dialogue.admits() {
                Ok(()) => self.login().await?,
                Err(fault) => self.complain(fault).await?,
            }
        }
        let auth_until = Instant::now() + AUTH_TIMEOUT;
        let shared = self.shared;
        let mut beat = shared.pulse.listen();
        let mut now = *beat.borrow_and_update();
        let mut told = now;
        // Who has subscribed to nothing has nothing to be told, and holds nobody up.
        let mut reader: Option<Reader<'_>> = None;
        loop {
            let next = tokio::select! {
                biased;
                incoming = self.socket.next() => match incoming { // cancel-safe: a partly read frame stays in the socket
                    Some(Ok(Message::Text(text))) => Next::Message(text.as_bytes().to_vec()),
                    Some(Ok(Message::Binary(bytes))) => Next::Message(bytes.to_vec()),
                    // The socket answers pings and closes by itself.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => Next::Nothing,
                    Some(Err(_)) | None => Next::End,
                },
                () = tokio::time::sleep_until(auth_until), if !self.dialogue.authenticated => Next::AuthTimeout,
                () = std::future::ready(()), if reader.is_some() && told < now => Next::Slice,
                changed = beat.changed() => match changed { // cancel-safe: docs
                    Ok(()) => Next::Beat,
                    Err(_) => Next::End,
                },
            };
            match next {
                Next::Beat => now = *beat.borrow_and_update(),
                Next::Slice => {
                    let until = now.min(told + SLICE);
                    self.tell(told, until).await?;
                    told = until;
                    if let Some(reader) = &reader {
                        reader.told(told);
                    }
                }
                Next::Message(message) => {
                    self.hear(&message).await?;
                    if self.dialogue.subscriptions.is_empty() {
                        reader = None;
                    } else if reader.is_none() {
                        now = *beat.borrow_and_update();
                        told = now;
                        reader = Some(shared.pulse.read());
                    }
                }
                Next::AuthTimeout => self.complain(Fault::AuthTimeout).await?,
                Next::Nothing => {}
                Next::End => return Ok(()),
            }
        }
    }

    async fn hear(&mut self, message: &[u8]) -> Result<(), Gone> {
        let config = &self.shared.config;
        let keys = Keys {
            key: &config.key,
            secret: &config.secret,
        };
        match self.dialogue.hear(message, keys) {
            Heard::Login => self.login().await,
            Heard::Subscriptions(subscriptions) => {
                let confirmation = Control::Subscribed(subscriptions.clone());
                self.say(&confirmation).await?;
                self.dialogue.subscriptions = subscriptions;
                Ok(())
            }
            Heard::Fault(fault) => self.complain(fault).await,
        }
    }

    /// The keys fit; is the place free?
    async fn login(&mut self) -> Result<(), Gone> {
        self.slot = Slot::take(self.shared, self.dialogue.feed);
        if self.slot.is_none() {
            return self.complain(Fault::ConnectionLimit).await;
        }
        self.dialogue.authenticated = true;
        self.say(&Control::Authenticated).await
    }

    async fn complain(&mut self, fault: Fault) -> Result<(), Gone> {
        self.say(&Control::Error(fault)).await?;
        if fault.is_final() {
            // Best effort: the client may be gone already.
            let _ = self.socket.close(None).await;
            return Err(Gone);
        }
        Ok(())
    }

    async fn say(&mut self, control: &Control) -> Result<(), Gone> {
        let bytes = control.encode(self.dialogue.feed, self.dialogue.format);
        self.send(bytes).await
    }

    async fn tell(&mut self, from: Timestamp, until: Timestamp) -> Result<(), Gone> {
        let emitter = Emitter {
            tape: &self.shared.tape,
            assets: &self.shared.assets,
            feed: self.dialogue.feed,
            format: self.dialogue.format,
            subscriptions: &self.dialogue.subscriptions,
        };
        for frame in emitter.frames(from, until) {
            self.send(frame).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Gone> {
        let message = match self.dialogue.format {
            Format::MessagePack => Message::Binary(bytes.into()),
            Format::Json => Message::Text(String::from_utf8(bytes).map_err(|_| Gone)?.into()),
        };
        self.socket.send(message).await.map_err(|_| Gone)
    }
}
