//! One market-data connection, from the upgrade to its end.
//!
//! The session pulls: at each beat it asks the tape for what happened since it last told, for what it has subscribed to,
//! and sends that before it asks again. A client that reads slowly is told later, and never at the cost of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tracing::debug;

use super::super::fault::{Disturbed, Step, StreamFault};
use super::super::route::Endpoint;
use super::super::server::Shared;
use super::super::truth::Entry;
use super::dialogue::{Control, Dialogue, Fault, Format, Heard, Keys};
use super::emit::{self, Emitter};
use super::feed::Feed;
use super::pulse::Reader;

/// A client has this long to authenticate.
const AUTH_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest message a client may send; thousands of symbols fit.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Frames kept to be repeated by a fault.
const RECENT: usize = 16;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What an upgrade request already said.
pub(crate) struct Opening {
    pub(crate) feed: Feed,
    pub(crate) format: Format,
    /// Right keys came with the request itself.
    pub(crate) has_keys: bool,
}

/// A session's entry among the feeds; giving it up is dropping it.
struct Place<'a> {
    shared: &'a Shared,
    endpoint: Endpoint,
    number: u64,
}

impl Place<'_> {
    fn note(&self, state: &'static str) {
        self.shared.note(&Entry::Session {
            stream: self.endpoint.name(),
            session: self.number,
            state,
        });
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.world().feeds.close(self.number);
        self.note("closed");
    }
}

/// What a session waits for.
enum Next {
    Beat,
    Slice,
    Message(Vec<u8>),
    Fault(StreamFault),
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
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, Some(limits)).await;
    let endpoint = opening.feed.endpoint();
    let (number, struck) = shared.world().feeds.open(endpoint);
    let place = Place {
        shared: &shared,
        endpoint,
        number,
    };
    place.note("opened");
    let mut session = Session {
        dialogue: Dialogue::new(opening.feed, opening.format, shared.config.data_plan),
        shared: &shared,
        socket,
        place: &place,
        struck,
        disturbed: Disturbed::default(),
        told: VecDeque::new(),
        packed: HashMap::new(),
        serial: 0,
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
    place: &'a Place<'a>,
    /// Faults that need no event.
    struck: mpsc::Receiver<StreamFault>,
    disturbed: Disturbed,
    /// The latest frames, to be repeated by a fault.
    told: VecDeque<Vec<u8>>,
    /// Frames of MessagePack on their way through the faults, which know only text: each under its stand-in.
    packed: HashMap<String, Vec<u8>>,
    serial: u64,
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
                Some(fault) = self.struck.recv() => Next::Fault(fault), // cancel-safe: docs
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
                    let until = self.emitter().slice(told, now);
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
                Next::Fault(fault) => {
                    // What concerns the feed as a whole was carried out by who struck.
                    let step = Disturbed::at_once(&fault).filter(|step| !matches!(step, Step::Strike(_)));
                    if let Some(step) = step {
                        self.carry_out(step).await?;
                    }
                }
                Next::AuthTimeout => self.complain(Fault::AuthTimeout).await?,
                Next::Nothing => {}
                Next::End => return Ok(()),
            }
        }
    }

    async fn hear(&mut self, message: &[u8]) -> Result<(), Gone> {
        let login = self.shared.login();
        let keys = Keys {
            key: &login.key,
            secret: &login.secret,
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
        let is_free = self
            .shared
            .world()
            .feeds
            .take(self.dialogue.feed, self.place.number);
        if !is_free {
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
        let plain = control.encode(self.dialogue.feed, Format::Json);
        self.shared.note(&Entry::Frame {
            stream: self.place.endpoint.name(),
            session: self.place.number,
            encoding: self.dialogue.format.name(),
            text: &String::from_utf8_lossy(&plain),
        });
        self.send(bytes, false).await
    }

    fn emitter(&self) -> Emitter<'_> {
        Emitter {
            tape: &self.shared.tape,
            assets: &self.shared.assets,
            feed: self.dialogue.feed,
            format: self.dialogue.format,
            subscriptions: &self.dialogue.subscriptions,
            seed: self.shared.config.seed,
        }
    }

    async fn tell(&mut self, from: Timestamp, until: Timestamp) -> Result<(), Gone> {
        let endpoint = self.place.endpoint;
        for frame in self.emitter().frames(from, until) {
            self.shared.note(&Entry::Data {
                stream: endpoint.name(),
                session: self.place.number,
                encoding: self.dialogue.format.name(),
                messages: frame.messages,
                bytes: frame.bytes.len(),
            });
            let faults = self.shared.disturb(endpoint);
            if faults.is_empty() && self.disturbed.held().is_none() {
                if !self.shared.world().feeds.is_muted(endpoint) {
                    self.send_event(frame.bytes, false).await?;
                }
                continue;
            }
            let event = self.stand_in(frame.bytes);
            for step in self.disturbed.pass(&faults, event) {
                self.carry_out(step).await?;
            }
            let held = self.disturbed.held();
            self.packed.retain(|name, _| held == Some(name));
        }
        Ok(())
    }

    /// A frame as text that the faults can hold, double or lose. What is not text goes by a name of its own; fields cannot be
    /// taken out of it.
    fn stand_in(&mut self, bytes: Vec<u8>) -> Utf8Bytes {
        match self.dialogue.format {
            Format::Json => String::from_utf8(bytes).unwrap_or_default().into(),
            Format::MessagePack => {
                self.serial += 1;
                let name = format!("frame {}", self.serial);
                self.packed.insert(name.clone(), bytes);
                name.into()
            }
        }
    }

    /// Does what the faults made of a frame.
    async fn carry_out(&mut self, step: Step) -> Result<(), Gone> {
        match step {
            Step::Send { frame, other_opcode } => {
                if self.shared.world().feeds.is_muted(self.place.endpoint) {
                    return Ok(());
                }
                let packed = self.packed.get(frame.as_str()).cloned();
                self.send_event(packed.unwrap_or_else(|| frame.as_bytes().to_vec()), other_opcode)
                    .await
            }
            Step::Garbage => {
                self.frame(Message::binary(b"[{\"T\":\"t\",\xff\xc1".to_vec()))
                    .await
            }
            Step::NullData => self.frame(Message::text("[null]")).await,
            Step::Heartbeat => self.frame(Message::binary(vec![1])).await,
            Step::Article(letters) if self.place.endpoint == Endpoint::NewsStream => {
                let bytes = emit::article(self.dialogue.format, self.shared.clock.now(), letters);
                self.send(bytes, false).await
            }
            // There are no articles here.
            Step::Article(_) => Ok(()),
            Step::Replay(count) => {
                let from = self.told.len().saturating_sub(count);
                let latest: Vec<_> = self.told.iter().skip(from).cloned().collect();
                for bytes in latest {
                    self.send(bytes, false).await?;
                }
                Ok(())
            }
            Step::Strike(fault) => {
                self.shared.strike(self.place.endpoint, fault);
                Ok(())
            }
            Step::Drop => Err(Gone),
            Step::End => {
                // Best effort: the client may be gone already.
                let _ = self.socket.close(None).await;
                Err(Gone)
            }
            Step::HalfOpen(duration) => {
                tokio::time::sleep(duration).await;
                Err(Gone)
            }
        }
    }

    async fn send_event(&mut self, bytes: Vec<u8>, other_opcode: bool) -> Result<(), Gone> {
        if self.told.len() == RECENT {
            self.told.pop_front();
        }
        self.told.push_back(bytes.clone());
        self.send(bytes, other_opcode).await
    }

    async fn send(&mut self, bytes: Vec<u8>, other_opcode: bool) -> Result<(), Gone> {
        let as_text = (self.dialogue.format == Format::Json) != other_opcode;
        let message = if as_text {
            // Only a fault sends MessagePack as text, and then a client must cope with what it gets.
            Message::text(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            Message::binary(bytes)
        };
        self.frame(message).await
    }

    async fn frame(&mut self, message: Message) -> Result<(), Gone> {
        self.socket.send(message).await.map_err(|_| Gone)
    }
}
