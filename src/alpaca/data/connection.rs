//! The socket of a stream of market data: connected, kept alive, given up when it may have gone mute.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{Control, Format, Row, frame, message};
use crate::alpaca::clean;
use crate::alpaca::credential::Credential;
use crate::alpaca::liveness::{Liveness, PING_EVERY, QUIET_MAX};
use crate::domain::market::Subscriptions;

/// Connect, TLS, upgrade and authenticate, all together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a message of ours to be taken.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest frame. An article may have megabytes.
const FRAME_MAX: usize = 16 * 1024 * 1024;

/// Where a stream is and who we are to it.
#[derive(Clone, Debug)]
pub struct DataEndpoint {
    /// `wss://stream.data.alpaca.markets/v2/iex`.
    pub url: String,
    /// Who we are.
    pub credential: Credential,
    /// How frames are written.
    pub format: Format,
}

/// Why there is no stream, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// The one connection to this stream is taken, perhaps by a dead one the venue has not noticed.
    #[error("another connection has the stream's place: {message}")]
    SlotTaken {
        /// The venue's words.
        message: String,
    },
    /// The venue does not take our credential.
    #[error("the stream refuses the credential: {message}")]
    Unauthorized {
        /// The venue's words.
        message: String,
    },
    /// The account's plan does not have this stream.
    #[error("the account's data plan does not have this stream: {message}")]
    NotEntitled {
        /// The venue's words.
        message: String,
    },
    /// Anything else. A clean end is a fault, too.
    #[error("{cause}")]
    Failed {
        /// Why, for people.
        cause: String,
    },
}

impl DataError {
    fn failed(cause: impl ToString) -> Self {
        Self::Failed {
            cause: clean(&cause.to_string()),
        }
    }

    /// What the venue's number means for the connection; `None`: the connection goes on.
    pub fn of_code(code: u64, message: &str) -> Option<Self> {
        let message = format!("{message} ({code})");
        match code {
            401 | 402 => Some(Self::Unauthorized { message }),
            406 => Some(Self::SlotTaken { message }),
            408 | 409 | 411 | 412 => Some(Self::NotEntitled { message }),
            404 | 407 | 500 => Some(Self::Failed { cause: message }),
            _ => None,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    format: Format,
    liveness: Liveness,
}

/// One frame, as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Bytes,
    format: Format,
}

impl Frame {
    /// Takes it apart, row by row.
    pub fn read<'a>(&'a self, each: impl FnMut(Row<'a>)) -> Result<(), frame::FrameError> {
        frame::read(self.format, &self.bytes, each)
    }
}

impl Connection {
    /// Connects and authenticates. Bounded to ten seconds; cancel-safe, the socket closes.
    pub async fn open(endpoint: &DataEndpoint) -> Result<Self, DataError> {
        timeout(HANDSHAKE_TIMEOUT, Self::handshake(endpoint))
            .await
            .unwrap_or_else(|_| {
                Err(DataError::failed(
                    "the venue did not greet or authenticate us in time",
                ))
            })
    }

    async fn handshake(endpoint: &DataEndpoint) -> Result<Self, DataError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(FRAME_MAX))
            .max_frame_size(Some(FRAME_MAX));
        let mut request = endpoint
            .url
            .as_str()
            .into_client_request()
            .map_err(DataError::failed)?;
        let kind = match endpoint.format {
            Format::Json => "application/json",
            Format::MessagePack => "application/msgpack",
        };
        request
            .headers_mut()
            .insert("Content-Type", HeaderValue::from_static(kind));
        let no_delay = true;
        let (socket, _) = connect_async_with_config(request, Some(config), no_delay)
            .await
            .map_err(|error| upgrade_error(&error))?;
        let mut connection = Self {
            socket,
            format: endpoint.format,
            liveness: Liveness::new(PING_EVERY, QUIET_MAX),
        };
        let mut greeted = false;
        loop {
            let frame = connection.next().await?;
            let mut control = None;
            frame
                .read(|row| {
                    if let Row::Control(heard) = row {
                        control = Some(heard);
                    }
                })
                .map_err(DataError::failed)?;
            match control {
                Some(Control::Connected) if !greeted => {
                    greeted = true;
                    let authenticate = message::authenticate(endpoint.format, &endpoint.credential);
                    connection.send(authenticate).await?;
                }
                Some(Control::Authenticated) => return Ok(connection),
                Some(Control::Error { code, message }) => {
                    return Err(DataError::of_code(code, &message)
                        .unwrap_or_else(|| DataError::failed(format!("{message} ({code})"))));
                }
                Some(Control::Connected | Control::Subscribed(_)) | None => {}
            }
        }
    }

    /// Asks for more. The venue confirms with a list of everything that is subscribed to.
    pub async fn subscribe(&mut self, symbols: &Subscriptions) -> Result<(), DataError> {
        self.send(message::change(self.format, "subscribe", symbols))
            .await
    }

    /// Asks for less. Confirmed alike; what was on its way still comes.
    pub async fn unsubscribe(&mut self, symbols: &Subscriptions) -> Result<(), DataError> {
        self.send(message::change(self.format, "unsubscribe", symbols))
            .await
    }

    async fn send(&mut self, message: Vec<u8>) -> Result<(), DataError> {
        let message = match self.format {
            // What was just written as JSON is text.
            Format::Json => Message::text(String::from_utf8(message).unwrap_or_default()),
            Format::MessagePack => Message::binary(message),
        };
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(DataError::failed),
            Err(_) => Err(DataError::failed("the venue no longer reads")),
        }
    }

    /// The next frame, or why there is none any more. Cancel-safe: a frame is read and returned without a wait in between.
    pub async fn next(&mut self) -> Result<Frame, DataError> {
        loop {
            let wake_at = self.liveness.wake_at();
            let message = tokio::select! {
                message = self.socket.next() => Some(message), // cancel-safe: parts of a frame stay in the socket
                () = sleep_until(wake_at) => None,
            };
            let bytes = match message {
                None => {
                    self.keep_alive().await?;
                    continue;
                }
                Some(None) => return Err(DataError::failed("the venue ended the stream")),
                Some(Some(Err(error))) => return Err(DataError::failed(error)),
                Some(Some(Ok(message))) => {
                    self.liveness.heard(matches!(message, Message::Pong(_)));
                    match message {
                        Message::Text(text) => Bytes::from(text),
                        Message::Binary(bytes) => bytes,
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                        Message::Close(close) => {
                            let why = close.map(|close| format!(": {} {}", close.code, close.reason));
                            let why = why.unwrap_or_default();
                            return Err(DataError::failed(format!("the venue closed the stream{why}")));
                        }
                    }
                }
            };
            let format = self.format;
            return Ok(Frame { bytes, format });
        }
    }

    async fn keep_alive(&mut self) -> Result<(), DataError> {
        let dead_at = self.liveness.dead_at();
        if Instant::now() >= dead_at {
            return Err(DataError::failed("no sign of life from the venue"));
        }
        // A peer that no longer reads fills the buffers, and then a write waits for ever.
        match timeout_at(dead_at, self.socket.send(Message::Ping(Bytes::new()))).await {
            Ok(Ok(())) => {
                self.liveness.pinged();
                Ok(())
            }
            Ok(Err(error)) => Err(DataError::failed(error)),
            Err(_) => Err(DataError::failed("the venue no longer reads")),
        }
    }
}

fn upgrade_error(error: &tungstenite::Error) -> DataError {
    let tungstenite::Error::Http(response) = error else {
        return DataError::failed(error);
    };
    let status = response.status().as_u16();
    let message = format!("HTTP {status} at the upgrade");
    match status {
        406 | 429 => DataError::SlotTaken { message },
        401 | 403 => DataError::Unauthorized { message },
        _ => DataError::Failed { cause: message },
    }
}
