//! The socket: connected, kept alive, and given up as soon as it may have gone mute.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::frame::{self, Frame};
use super::session::{Session, Step, carries_updates};
use crate::alpaca::clean;
use crate::alpaca::credential::Credential;
use crate::alpaca::liveness::{Liveness, PING_EVERY, QUIET_MAX};
use crate::clock::Clock;
use crate::domain::ExecutionReport;

/// Connect, TLS, upgrade, authenticate and listen, all together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest message. A trade update with four legs has about 8 KiB.
const MESSAGE_MAX: usize = 1024 * 1024;

/// Most events kept before the venue acknowledges the subscription; it should send none.
const EARLY_MAX: usize = 4096;

/// Where the stream is and who we are to it.
#[derive(Clone, Debug)]
pub struct StreamEndpoint {
    /// `wss://paper-api.alpaca.markets/stream`.
    pub url: String,
    /// Who we are.
    pub credential: Credential,
}

impl StreamEndpoint {
    /// The stream that belongs to a REST address: `http` becomes `ws`, `https` becomes `wss`.
    pub fn beside(base_url: &str, credential: Credential) -> Self {
        let base_url = base_url.trim_end_matches('/');
        let url = match base_url.strip_prefix("http") {
            Some(rest) => format!("ws{rest}/stream"),
            None => format!("{base_url}/stream"),
        };
        Self { url, credential }
    }
}

/// Why the stream did not come up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The account's one slot is taken, perhaps by a dead connection the venue has not noticed (about 90 s).
    #[error("another connection holds the account's stream (HTTP {status})")]
    SlotTaken {
        /// HTTP status of the refused upgrade.
        status: u16,
    },
    /// The venue does not take our credential.
    #[error("the stream refuses the credential: {message}")]
    Unauthorized {
        /// The venue's words.
        message: String,
    },
    /// Anything else.
    #[error("{cause}")]
    Failed {
        /// Why, for people.
        cause: String,
    },
}

/// Why the stream ended. A clean end is a fault too: the venue has no reason to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct StreamEnd {
    /// Why, for people.
    pub cause: String,
}

/// What the stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event in an order's life.
    Report(Box<ExecutionReport>),
    /// Something that may have been one. Ask over REST what it was.
    Unreadable {
        /// Why, for people.
        cause: String,
    },
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A stream the venue has acknowledged.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    clock: Clock,
    liveness: Liveness,
    /// What came before the acknowledgement.
    early: VecDeque<Heard>,
}

/// Connects, authenticates, subscribes, and returns once the venue has acknowledged the subscription. Events that
/// came before that are kept and delivered first. Bounded to ten seconds; cancel-safe, the socket closes.
pub async fn connect(endpoint: &StreamEndpoint, clock: &Clock) -> Result<Connection, ConnectError> {
    timeout(HANDSHAKE_TIMEOUT, handshake(endpoint, clock))
        .await
        .unwrap_or_else(|_| Err(failed("no acknowledgement from the venue in time")))
}

async fn handshake(endpoint: &StreamEndpoint, clock: &Clock) -> Result<Connection, ConnectError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let no_delay = true;
    let (mut socket, _) = connect_async_with_config(endpoint.url.as_str(), Some(config), no_delay)
        .await
        .map_err(upgrade_error)?;
    let (mut session, authenticate) = Session::begin(&endpoint.credential);
    socket
        .send(Message::text(authenticate))
        .await
        .map_err(|error| failed(&error.to_string()))?;
    let mut early = VecDeque::new();
    loop {
        let message = match socket.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(failed(&error.to_string())),
            None => return Err(failed("the venue closed the stream during the handshake")),
        };
        let frame = match content(&message) {
            Content::Data(bytes) => frame::read(bytes, clock.now()),
            Content::Control => continue,
            Content::Close(cause) => return Err(failed(&cause)),
        };
        match session.hear(frame) {
            Step::Wait => {}
            Step::Send(text) => socket
                .send(Message::text(text))
                .await
                .map_err(|error| failed(&error.to_string()))?,
            Step::Keep(report) => early.push_back(Heard::Report(report)),
            Step::Note(cause) => early.push_back(Heard::Unreadable { cause }),
            Step::Listening => break,
            Step::Unauthorized(message) => return Err(ConnectError::Unauthorized { message }),
            Step::Failed(cause) => return Err(failed(&cause)),
        }
        if early.len() > EARLY_MAX {
            return Err(failed("events without end instead of an acknowledgement"));
        }
    }
    Ok(Connection {
        socket,
        clock: clock.clone(),
        liveness: Liveness::new(PING_EVERY, QUIET_MAX),
        early,
    })
}

impl Connection {
    /// The next thing the stream says, or why it ended. After an end, drop the connection.
    ///
    /// Cancel-safe: a frame is read and returned without a wait in between, and a ping that was interrupted is
    /// sent again.
    pub async fn next(&mut self) -> Result<Heard, StreamEnd> {
        if let Some(heard) = self.early.pop_front() {
            return Ok(heard);
        }
        loop {
            let wake_at = self.liveness.wake_at();
            let message = tokio::select! {
                message = self.socket.next() => Some(message), // cancel-safe: parts of a frame stay in the socket
                () = sleep_until(wake_at) => None,
            };
            match message {
                None => self.keep_alive().await?,
                Some(None) => return Err(end("the venue ended the stream")),
                Some(Some(Err(error))) => return Err(end(&error.to_string())),
                Some(Some(Ok(message))) => {
                    self.liveness.heard(matches!(message, Message::Pong(_)));
                    if let Some(heard) = self.hear(&message)? {
                        return Ok(heard);
                    }
                }
            }
        }
    }

    fn hear(&self, message: &Message) -> Result<Option<Heard>, StreamEnd> {
        let bytes = match content(message) {
            Content::Data(bytes) => bytes,
            Content::Control => return Ok(None),
            Content::Close(cause) => return Err(end(&cause)),
        };
        match frame::read(bytes, self.clock.now()) {
            Frame::Report(report) => Ok(Some(Heard::Report(report))),
            Frame::Unreadable(cause) => Ok(Some(Heard::Unreadable { cause })),
            Frame::Nothing | Frame::Authorization { authorized: true, .. } => Ok(None),
            Frame::Listening(streams) if carries_updates(&streams) => Ok(None),
            Frame::Listening(_) => Err(end("the venue no longer listens to trade updates")),
            Frame::Authorization {
                authorized: false,
                message,
            } => Err(end(&format!("the venue withdrew its authorization: {message}"))),
            Frame::ServerError(message) => Err(end(&format!("the venue reports a fault: {message}"))),
        }
    }

    async fn keep_alive(&mut self) -> Result<(), StreamEnd> {
        let dead_at = self.liveness.dead_at();
        if Instant::now() >= dead_at {
            return Err(end("no sign of life from the venue"));
        }
        // A peer that no longer reads fills the buffers, and then a write waits for ever.
        match timeout_at(dead_at, self.socket.send(Message::Ping(Bytes::new()))).await {
            Ok(Ok(())) => {
                self.liveness.pinged();
                Ok(())
            }
            Ok(Err(error)) => Err(end(&error.to_string())),
            Err(_) => Err(end("the venue no longer reads")),
        }
    }
}

enum Content<'a> {
    Data(&'a [u8]),
    Control,
    Close(String),
}

/// The venue sends JSON in text frames and in binary frames; what counts is what is in them.
fn content(message: &Message) -> Content<'_> {
    match message {
        Message::Text(text) => Content::Data(text.as_bytes()),
        Message::Binary(bytes) => Content::Data(bytes),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Content::Control,
        Message::Close(None) => Content::Close("the venue closed the stream".to_owned()),
        Message::Close(Some(close)) => Content::Close(format!(
            "the venue closed the stream: {} {}",
            close.code, close.reason
        )),
    }
}

fn upgrade_error(error: tungstenite::Error) -> ConnectError {
    let tungstenite::Error::Http(response) = error else {
        return failed(&error.to_string());
    };
    let status = response.status().as_u16();
    match status {
        429 | 406 => ConnectError::SlotTaken { status },
        401 | 403 => ConnectError::Unauthorized {
            message: format!("HTTP {status} at the upgrade"),
        },
        _ => failed(&format!("HTTP {status} at the upgrade")),
    }
}

fn failed(cause: &str) -> ConnectError {
    ConnectError::Failed { cause: clean(cause) }
}

fn end(cause: &str) -> StreamEnd {
    StreamEnd { cause: clean(cause) }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    const FILL: &str = include_str!("../fixtures/ws_trade_update_fill.json");
    const AUTHORIZED: &str =
        r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#;
    const LISTENING: &str = r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#;

    type Peer = WebSocketStream<TcpStream>;

    async fn venue() -> (TcpListener, StreamEndpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/", listener.local_addr().unwrap());
        let credential = Credential::key_pair("PK".into(), "s3cr3t".into()).unwrap();
        (listener, StreamEndpoint::beside(&base_url, credential))
    }

    async fn accept(listener: &TcpListener) -> Peer {
        let (socket, _) = listener.accept().await.unwrap();
        accept_async(socket).await.unwrap()
    }

    async fn say(peer: &mut Peer, text: &str) {
        peer.send(Message::binary(text.as_bytes().to_vec()))
            .await
            .unwrap();
    }

    async fn expect(peer: &mut Peer, word: &str) {
        let message = peer.next().await.unwrap().unwrap();
        let text = message.to_text().unwrap();
        assert!(text.contains(word), "{text}");
    }

    /// The venue's side of a handshake.
    async fn welcome(listener: &TcpListener) -> Peer {
        let mut peer = accept(listener).await;
        expect(&mut peer, "s3cr3t").await;
        say(&mut peer, AUTHORIZED).await;
        expect(&mut peer, "trade_updates").await;
        say(&mut peer, LISTENING).await;
        peer
    }

    async fn connected() -> (Connection, Peer) {
        let (listener, endpoint) = venue().await;
        let clock = Clock::system();
        let (connection, peer) = tokio::join!(connect(&endpoint, &clock), welcome(&listener));
        (connection.unwrap(), peer)
    }

    /// What comes of a connection when the venue says this after the credential.
    async fn refused(frames: &[&str]) -> ConnectError {
        let (listener, endpoint) = venue().await;
        let clock = Clock::system();
        let peer = async {
            let mut peer = accept(&listener).await;
            expect(&mut peer, "s3cr3t").await;
            for frame in frames {
                say(&mut peer, frame).await;
            }
            peer
        };
        let (connection, _peer) = tokio::join!(connect(&endpoint, &clock), peer);
        connection.unwrap_err()
    }

    #[tokio::test]
    async fn a_stream_delivers_what_came_early_first_and_loses_nothing() {
        let (listener, endpoint) = venue().await;
        let clock = Clock::system();
        let venue = async {
            let mut peer = accept(&listener).await;
            expect(&mut peer, "s3cr3t").await;
            say(&mut peer, AUTHORIZED).await;
            say(&mut peer, &FILL.replace(r#""fill""#, r#""early""#)).await;
            expect(&mut peer, "listen").await;
            say(&mut peer, LISTENING).await;
            say(&mut peer, "\u{1}").await;
            say(&mut peer, r#"{"stream":"trade_updates","data":null}"#).await;
            peer.send(Message::text(FILL)).await.unwrap();
            peer
        };
        let (connection, _peer) = tokio::join!(connect(&endpoint, &clock), venue);
        let mut connection = connection.unwrap();
        let Heard::Report(early) = connection.next().await.unwrap() else {
            panic!("the early event comes first");
        };
        assert_eq!(early.event, "early");
        assert!(matches!(
            connection.next().await.unwrap(),
            Heard::Unreadable { .. }
        ));
        let Heard::Report(fill) = connection.next().await.unwrap() else {
            panic!("text frames are read like binary ones");
        };
        assert_eq!(fill.event, "fill");
    }

    #[tokio::test]
    async fn a_refused_credential_is_told_from_a_failure() {
        let unauthorized =
            r#"{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}"#;
        assert!(matches!(
            refused(&[unauthorized]).await,
            ConnectError::Unauthorized { .. }
        ));
        let elsewhere = r#"{"stream":"listening","data":{"streams":[]}}"#;
        for frames in [
            vec![AUTHORIZED, elsewhere],
            vec![r#"{"action":"error","data":{"error_message":"internal server error"}}"#],
        ] {
            assert!(
                matches!(refused(&frames).await, ConnectError::Failed { .. }),
                "{frames:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_taken_slot_is_told_from_a_failure() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for (status, expected) in [
            (429, ConnectError::SlotTaken { status: 429 }),
            (406, ConnectError::SlotTaken { status: 406 }),
            (
                401,
                ConnectError::Unauthorized {
                    message: "HTTP 401 at the upgrade".to_owned(),
                },
            ),
            (302, failed("HTTP 302 at the upgrade")),
            (503, failed("HTTP 503 at the upgrade")),
        ] {
            let (listener, endpoint) = venue().await;
            let clock = Clock::system();
            let venue = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                let _ = socket.read(&mut [0; 4096]).await.unwrap();
                let head =
                    format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nlocation: http://x/\r\n\r\n");
                socket.write_all(head.as_bytes()).await.unwrap();
                socket
            };
            let (connection, _socket) = tokio::join!(connect(&endpoint, &clock), venue);
            assert_eq!(connection.unwrap_err(), expected);
        }
    }

    #[tokio::test]
    async fn every_end_of_the_stream_is_a_fault() {
        let (mut connection, mut peer) = connected().await;
        peer.close(None).await.unwrap();
        assert!(connection.next().await.is_err(), "a clean close");

        let (mut connection, peer) = connected().await;
        drop(peer);
        assert!(connection.next().await.is_err(), "a cut");

        let (mut connection, mut peer) = connected().await;
        say(&mut peer, r#"{"stream":"listening","data":{"streams":[]}}"#).await;
        assert!(connection.next().await.is_err(), "unsubscribed");

        let (mut connection, mut peer) = connected().await;
        let send = peer.send(Message::binary(vec![b' '; MESSAGE_MAX + 1]));
        let (heard, _) = tokio::join!(connection.next(), send);
        assert!(heard.is_err(), "a message over the cap");
    }

    #[tokio::test]
    async fn a_mute_socket_ends_and_a_living_one_does_not() {
        let quick = || Liveness::new(Duration::from_millis(20), Duration::from_millis(100));
        let (mut mute, _peer) = connected().await;
        mute.liveness = quick();
        let heard = timeout(Duration::from_secs(5), mute.next()).await.unwrap();
        assert_eq!(heard.unwrap_err(), end("no sign of life from the venue"));

        let (mut living, mut peer) = connected().await;
        living.liveness = quick();
        let pongs = async {
            // Reading is what makes the peer answer pings.
            let mut pings = 0;
            while pings < 15 {
                let message = peer.next().await.unwrap().unwrap();
                pings += u32::from(matches!(message, Message::Ping(_)));
                peer.flush().await.unwrap();
            }
            peer.send(Message::text(FILL)).await.unwrap();
        };
        let (heard, ()) = tokio::join!(living.next(), pongs);
        assert!(heard.is_ok(), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_pongs_do_not_keep_a_stream_alive() {
        let mut liveness = Liveness::new(PING_EVERY, QUIET_MAX);
        let start = Instant::now();
        tokio::time::advance(PING_EVERY).await;
        liveness.pinged();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(5)).await;
            liveness.heard(false);
        }
        assert_eq!(liveness.dead_at(), start + PING_EVERY + QUIET_MAX);
        liveness.heard(true);
        assert_eq!(liveness.dead_at(), Instant::now() + QUIET_MAX);
    }

    #[tokio::test]
    async fn waiting_for_the_next_event_may_be_given_up() {
        let (mut connection, mut peer) = connected().await;
        let given_up = timeout(Duration::from_millis(20), connection.next()).await;
        assert!(given_up.is_err());
        say(&mut peer, FILL).await;
        assert!(connection.next().await.is_ok());
    }

    #[test]
    fn the_stream_is_beside_the_rest_api() {
        let credential = || Credential::bearer("t".into()).unwrap();
        for (base_url, url) in [
            (
                "https://paper-api.alpaca.markets",
                "wss://paper-api.alpaca.markets/stream",
            ),
            ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/stream"),
        ] {
            assert_eq!(StreamEndpoint::beside(base_url, credential()).url, url);
        }
    }
}
