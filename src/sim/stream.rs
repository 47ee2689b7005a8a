//! `/stream`: the websocket that reports order events.
//!
//! The upgrade is made by hand because a refused one must be an HTTP answer (429 while the account's only slot
//! is taken). What happens while nobody listens is lost, as at the venue. A message is JSON in binary or text frames,
//! or MessagePack for a client whose upgrade says so.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::fault::{Disturbed, Step, StreamFault, Weather, later};
use super::route::Endpoint;
use super::server::Shared;
use super::truth::Entry;

/// Frames waiting for a slow client; one that falls further behind is cut off, as a venue would.
const OUTBOX: usize = 16_384;
/// Frames kept to be repeated on request.
const RECENT: usize = 1_024;
/// Largest message a client may send; a larger one ends the connection.
const MESSAGE_MAX: usize = 64 * 1024;
/// How long a client has to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// What a session has to send.
enum Outgoing {
    /// An order event, for those who listen.
    Event(Utf8Bytes),
    /// Whatever a test wants on the wire.
    Raw(Utf8Bytes),
    /// A fault that needs no event.
    Fault(StreamFault),
}

/// The account's one slot for a stream, and the faults that befall it.
#[derive(Default)]
pub(crate) struct Hub {
    session: Option<Session>,
    admitted: u64,
    /// A session that is gone may keep its slot until then.
    free_at: Option<Instant>,
    weather: Weather,
    recent: VecDeque<Utf8Bytes>,
}

struct Session {
    number: u64,
    outbox: mpsc::Sender<Outgoing>,
    cut: CancellationToken,
}

/// A taken slot: what the session task needs to run.
pub(crate) struct Admission {
    number: u64,
    inbox: mpsc::Receiver<Outgoing>,
    cut: CancellationToken,
}

impl Hub {
    /// Takes the slot, or says that it is taken.
    pub(crate) fn admit(&mut self) -> Option<Admission> {
        let is_kept = self.free_at.is_some_and(|free_at| Instant::now() < free_at);
        if is_kept || self.weather.refuses() || self.session.is_some() {
            return None;
        }
        self.admitted += 1;
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let cut = CancellationToken::new();
        self.session = Some(Session {
            number: self.admitted,
            outbox,
            cut: cut.clone(),
        });
        Some(Admission {
            number: self.admitted,
            inbox,
            cut,
        })
    }

    fn release(&mut self, number: u64, after: Duration) {
        let holds = |session: &Session| session.number == number;
        if self.session.as_ref().is_some_and(holds) {
            self.session = None;
            self.free_at = Some(later(after));
        }
    }

    /// Hands an event to whoever is connected; muted, it is lost.
    pub(crate) fn publish(&mut self, frame: Utf8Bytes) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(frame.clone());
        if !self.weather.is_muted() {
            self.send(Outgoing::Event(frame));
        }
    }

    pub(crate) fn send_raw(&mut self, text: String) {
        self.send(Outgoing::Raw(text.into()));
    }

    /// Sends the last `count` events again, word for word.
    pub(crate) fn repeat(&mut self, count: usize) {
        for frame in self.latest(count) {
            self.send(Outgoing::Event(frame));
        }
    }

    fn latest(&self, count: usize) -> Vec<Utf8Bytes> {
        let from = self.recent.len().saturating_sub(count);
        self.recent.iter().skip(from).cloned().collect()
    }

    fn send(&mut self, outgoing: Outgoing) {
        let Some(session) = &self.session else { return };
        if session.outbox.try_send(outgoing).is_err() {
            warn!(frames = OUTBOX, "stream client is too slow, cutting it off");
            session.cut.cancel();
        }
    }

    /// Carries out a fault that needs no event.
    pub(crate) fn strike(&mut self, fault: StreamFault) {
        match fault {
            StreamFault::Drop => {
                if let Some(session) = &self.session {
                    session.cut.cancel();
                }
            }
            StreamFault::Mute(_) | StreamFault::Unmute | StreamFault::Refuse(_) => {
                self.weather.strike(&fault)
            }
            StreamFault::End
            | StreamFault::HalfOpen(_)
            | StreamFault::Lose
            | StreamFault::Duplicate
            | StreamFault::Reorder
            | StreamFault::Replay(_)
            | StreamFault::Garbage
            | StreamFault::NullData
            | StreamFault::Without(_)
            | StreamFault::Heartbeat
            | StreamFault::Article(_)
            | StreamFault::OtherOpcode => self.send(Outgoing::Fault(fault)),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_some()
    }
}

/// Gives the slot back when the session ends, however it ends.
struct SlotGuard {
    shared: Arc<Shared>,
    number: u64,
    /// Both sides have said goodbye, so the venue need not find out by itself.
    is_closed: bool,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        note_session(&self.shared, self.number, "closed");
        let after = if self.is_closed {
            Duration::ZERO
        } else {
            self.shared.config.stream_slot_release
        };
        self.shared.world().hub.release(self.number, after);
    }
}

fn note_session(shared: &Shared, session: u64, state: &'static str) {
    shared.note(&Entry::Session {
        stream: Endpoint::Stream.name(),
        session,
        state,
    });
}

/// How a message becomes a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Binary,
    Text,
    MessagePack,
}

impl Encoding {
    /// What the upgrade asks for: MessagePack by its content type, else what the venue sends.
    pub(crate) fn asked(headers: &HeaderMap, binary_frames: bool) -> Self {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|value| value.trim().eq_ignore_ascii_case("application/msgpack")) {
            Self::MessagePack
        } else if binary_frames {
            Self::Binary
        } else {
            Self::Text
        }
    }

    fn frame(self, message: Utf8Bytes) -> Message {
        match self {
            Self::Text => Message::Text(message),
            Self::Binary => Message::Binary(message.into()),
            Self::MessagePack => match packed(&message) {
                Some(bytes) => Message::Binary(bytes.into()),
                // Not JSON, so somebody wants it on the wire as it is.
                None => Message::Binary(message.into()),
            },
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Text => Self::Binary,
            Self::Binary | Self::MessagePack => Self::Text,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::MessagePack => "msgpack",
        }
    }
}

fn packed(message: &str) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_str(message).ok()?;
    rmp_serde::to_vec(&value).ok()
}

/// Runs one connection from the upgrade to its end.
pub(crate) async fn serve(shared: Arc<Shared>, upgrade: OnUpgrade, admission: Admission, encoding: Encoding) {
    let Admission {
        number,
        mut inbox,
        cut,
    } = admission;
    note_session(&shared, number, "opened");
    let mut guard = SlotGuard {
        shared: Arc::clone(&shared),
        number,
        is_closed: false,
    };
    let shared = &shared;
    let socket = tokio::select! {
        () = cut.cancelled() => return,
        () = shared.stop.cancelled() => return,
        upgraded = upgrade => match upgraded {
            Ok(upgraded) => upgraded,
            Err(error) => {
                debug!(%error, "stream upgrade was not completed");
                return;
            }
        },
    };
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, Some(limits)).await;
    let mut line = Line {
        shared,
        number,
        encoding,
        cut: &cut,
        socket,
    };
    let mut dialogue = Dialogue::default();
    let mut disturbed = Disturbed::default();
    loop {
        let steps = tokio::select! {
            () = cut.cancelled() => return,
            () = shared.stop.cancelled() => return,
            Some(outgoing) = inbox.recv() => match outgoing { // cancel-safe: docs
                Outgoing::Event(event) if dialogue.listening => {
                    disturbed.pass(&shared.disturb(Endpoint::Stream), event)
                }
                Outgoing::Event(_) => Vec::new(),
                Outgoing::Raw(frame) => vec![send(frame)],
                Outgoing::Fault(fault) => Disturbed::at_once(&fault).into_iter().collect(),
            },
            incoming = line.socket.next() => match incoming { // cancel-safe: a partly read frame stays in the socket
                Some(Ok(message)) => match message {
                    Message::Text(text) => dialogue.hear(text.as_bytes(), shared),
                    Message::Binary(bytes) => dialogue.hear(&bytes, shared),
                    // The socket answers pings and closes by itself.
                    Message::Close(_) => {
                        guard.is_closed = true;
                        None
                    }
                    Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
                }
                .map(|answer| send(answer.into()))
                .into_iter()
                .collect(),
                Some(Err(_)) | None => return,
            },
        };
        for step in steps {
            guard.is_closed |= step == Step::End;
            if line.carry_out(step).await.is_break() {
                return;
            }
        }
    }
}

fn send(frame: Utf8Bytes) -> Step {
    Step::Send {
        frame,
        other_opcode: false,
    }
}

/// The sending half of a session.
struct Line<'a> {
    shared: &'a Shared,
    number: u64,
    encoding: Encoding,
    cut: &'a CancellationToken,
    socket: WebSocketStream<TokioIo<Upgraded>>,
}

impl Line<'_> {
    /// Breaks when the connection is over.
    async fn carry_out(&mut self, step: Step) -> ControlFlow<()> {
        match step {
            Step::Send { frame, other_opcode } => {
                let usual = self.encoding;
                self.message(frame, if other_opcode { usual.other() } else { usual })
                    .await
            }
            Step::NullData => {
                let message = Utf8Bytes::from_static(r#"{"stream":"trade_updates","data":null}"#);
                self.message(message, self.encoding).await
            }
            Step::Garbage => self.bytes(b"{\"stream\":\"trade_upda\xff\xc1").await,
            Step::Heartbeat => self.bytes(b"\x01").await,
            // There are no articles here.
            Step::Article(_) => ControlFlow::Continue(()),
            Step::Replay(count) => {
                let latest = self.shared.world().hub.latest(count);
                for frame in latest {
                    self.message(frame, self.encoding).await?;
                }
                ControlFlow::Continue(())
            }
            Step::Strike(fault) => {
                self.shared.world().hub.strike(fault);
                ControlFlow::Continue(())
            }
            Step::Drop => ControlFlow::Break(()),
            Step::End => {
                self.close().await;
                ControlFlow::Break(())
            }
            Step::HalfOpen(duration) => {
                or_over(self.shared, self.cut, tokio::time::sleep(duration)).await?;
                ControlFlow::Break(())
            }
        }
    }

    async fn message(&mut self, text: Utf8Bytes, encoding: Encoding) -> ControlFlow<()> {
        self.note(encoding.name(), &text);
        self.frame(encoding.frame(text)).await
    }

    async fn bytes(&mut self, bytes: &'static [u8]) -> ControlFlow<()> {
        self.note("binary", &String::from_utf8_lossy(bytes));
        self.frame(Message::Binary(bytes.into())).await
    }

    fn note(&self, encoding: &'static str, text: &str) {
        self.shared.note(&Entry::Frame {
            stream: Endpoint::Stream.name(),
            session: self.number,
            encoding,
            text,
        });
    }

    async fn frame(&mut self, frame: Message) -> ControlFlow<()> {
        match or_over(self.shared, self.cut, self.socket.send(frame)).await {
            ControlFlow::Continue(Ok(())) => ControlFlow::Continue(()),
            ControlFlow::Continue(Err(_)) | ControlFlow::Break(()) => ControlFlow::Break(()),
        }
    }

    /// Says goodbye and waits for the same, so that the frame is not lost with the connection.
    async fn close(&mut self) {
        let goodbye = timeout(CLOSE_PATIENCE, async {
            if self.socket.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        });
        // However it goes, the connection is over.
        let _over = or_over(self.shared, self.cut, goodbye).await;
    }
}

/// Waits, unless the connection or the simulator is over before.
async fn or_over<T>(
    shared: &Shared,
    cut: &CancellationToken,
    wait: impl Future<Output = T>,
) -> ControlFlow<(), T> {
    tokio::select! {
        () = cut.cancelled() => ControlFlow::Break(()),
        () = shared.stop.cancelled() => ControlFlow::Break(()),
        done = wait => ControlFlow::Continue(done),
    }
}

/// Where the conversation is.
#[derive(Default)]
struct Dialogue {
    authorized: bool,
    listening: bool,
}

#[derive(Deserialize)]
struct Heard {
    action: String,
    key: Option<String>,
    secret: Option<String>,
    #[serde(default)]
    data: Option<HeardData>,
}

#[derive(Default, Deserialize)]
struct HeardData {
    key_id: Option<String>,
    secret_key: Option<String>,
    oauth_token: Option<String>,
    streams: Option<Vec<String>>,
}

impl Dialogue {
    /// The answer to one message of the client.
    fn hear(&mut self, message: &[u8], shared: &Shared) -> Option<String> {
        let json = serde_json::from_slice::<Heard>(message).ok();
        let Some(heard) = json.or_else(|| rmp_serde::from_slice(message).ok()) else {
            return Some(r#"{"action":"error","data":{"error_message":"invalid message"}}"#.to_owned());
        };
        let data = heard.data.unwrap_or_default();
        match heard.action.as_str() {
            "authenticate" | "auth" => {
                let key = data.key_id.or(heard.key);
                let secret = data.secret_key.or(heard.secret);
                let login = shared.login();
                let by_pair = key.as_deref() == Some(&login.key) && secret.as_deref() == Some(&login.secret);
                let by_token = data.oauth_token.as_deref() == Some(&login.secret);
                self.authorized = by_pair || by_token;
                Some(authorization("authenticate", self.authorized))
            }
            "listen" if !self.authorized => Some(authorization("listen", false)),
            "listen" => {
                let mut streams = data.streams.unwrap_or_default();
                streams.retain(|stream| stream == "trade_updates");
                streams.dedup();
                self.listening = !streams.is_empty();
                Some(serde_json::json!({"stream": "listening", "data": {"streams": streams}}).to_string())
            }
            _ => None,
        }
    }
}

fn authorization(action: &str, authorized: bool) -> String {
    let status = if authorized { "authorized" } else { "unauthorized" };
    let mut data = serde_json::json!({"status": status, "action": action});
    if !authorized && action == "authenticate" {
        data["message"] = "access key verification failed".into();
    }
    serde_json::json!({"stream": "authorization", "data": data}).to_string()
}
