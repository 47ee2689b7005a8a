//! `/stream`: the websocket that reports order events.
//!
//! The upgrade is made by hand because a refused one must be an HTTP answer (429 while the account's only slot
//! is taken). What happens while nobody listens is lost, as at the venue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::server::Shared;

/// Frames waiting for a slow client; one that falls further behind is cut off, as a venue would.
const OUTBOX: usize = 16_384;
/// Frames kept to be repeated on request.
const RECENT: usize = 256;

/// What a session has to send.
enum Outgoing {
    /// An order event, for those who listen.
    Event(String),
    /// Whatever a test wants on the wire.
    Raw(String),
}

/// The account's one slot for a stream, and the faults that befall it.
#[derive(Default)]
pub(crate) struct Hub {
    session: Option<Session>,
    admitted: u64,
    refuse_until: Option<Instant>,
    muted: bool,
    recent: VecDeque<String>,
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
        let refused = self.refuse_until.is_some_and(|until| Instant::now() < until);
        if refused || self.session.is_some() {
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
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.number == number)
        {
            self.session = None;
            let free_at = Instant::now() + after;
            self.refuse_until = Some(self.refuse_until.map_or(free_at, |until| until.max(free_at)));
        }
    }

    /// Hands an event to whoever is connected; muted, it is lost.
    pub(crate) fn publish(&mut self, frame: String) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(frame.clone());
        if !self.muted {
            self.send(Outgoing::Event(frame));
        }
    }

    pub(crate) fn send_raw(&mut self, text: String) {
        self.send(Outgoing::Raw(text));
    }

    /// Sends the last `count` events again, word for word.
    pub(crate) fn repeat(&mut self, count: usize) {
        let from = self.recent.len().saturating_sub(count);
        let frames: Vec<_> = self.recent.iter().skip(from).cloned().collect();
        for frame in frames {
            self.send(Outgoing::Event(frame));
        }
    }

    fn send(&mut self, outgoing: Outgoing) {
        let Some(session) = &self.session else { return };
        if session.outbox.try_send(outgoing).is_err() {
            warn!(frames = OUTBOX, "stream client is too slow, cutting it off");
            session.cut.cancel();
        }
    }

    /// Ends the session without a close frame.
    pub(crate) fn drop_session(&mut self) {
        if let Some(session) = &self.session {
            session.cut.cancel();
        }
    }

    pub(crate) fn refuse_for(&mut self, duration: Duration) {
        self.refuse_until = Some(Instant::now() + duration);
    }

    pub(crate) fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_some()
    }
}

/// Gives the slot back when the session ends, however it ends.
struct SlotGuard {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let after = self.shared.config.stream_slot_release;
        self.shared.world().hub.release(self.number, after);
    }
}

/// Runs one connection from the upgrade to its end.
pub(crate) async fn serve(shared: Arc<Shared>, upgrade: OnUpgrade, admission: Admission) {
    let Admission {
        number,
        mut inbox,
        cut,
    } = admission;
    let guard = SlotGuard { shared, number };
    let shared = &guard.shared;
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
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, None).await;
    let mut dialogue = Dialogue::default();
    loop {
        let reply = tokio::select! {
            () = cut.cancelled() => return,
            () = shared.stop.cancelled() => return,
            Some(outgoing) = inbox.recv() => match outgoing { // cancel-safe: docs
                Outgoing::Event(frame) => dialogue.listening.then_some(frame),
                Outgoing::Raw(frame) => Some(frame),
            },
            incoming = socket.next() => match incoming { // cancel-safe: a partly read frame stays in the socket
                Some(Ok(message)) => match message {
                    Message::Text(text) => dialogue.hear(text.as_bytes(), shared),
                    Message::Binary(bytes) => dialogue.hear(&bytes, shared),
                    // The socket answers pings and closes by itself.
                    Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => None,
                },
                Some(Err(_)) | None => return,
            },
        };
        let Some(frame) = reply else { continue };
        let message = if shared.config.binary_frames {
            Message::Binary(frame.into_bytes().into())
        } else {
            Message::Text(frame.into())
        };
        let sent = tokio::select! {
            () = cut.cancelled() => return,
            () = shared.stop.cancelled() => return,
            sent = socket.send(message) => sent,
        };
        if sent.is_err() {
            return;
        }
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
        let Ok(heard) = serde_json::from_slice::<Heard>(message) else {
            return Some(r#"{"action":"error","data":{"error_message":"invalid message"}}"#.to_owned());
        };
        let data = heard.data.unwrap_or_default();
        match heard.action.as_str() {
            "authenticate" | "auth" => {
                let key = data.key_id.or(heard.key);
                let secret = data.secret_key.or(heard.secret);
                let by_pair = key.as_deref() == Some(&shared.config.key)
                    && secret.as_deref() == Some(&shared.config.secret);
                let by_token = data.oauth_token.as_deref() == Some(&shared.config.secret);
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
