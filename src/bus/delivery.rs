//! One message in hand, and its one settlement.

use std::time::Duration;

use async_nats::jetstream::message::Info;
use async_nats::{HeaderMap, Subject, jetstream};
use bytes::Bytes;
use jiff::Timestamp;
use tracing::warn;

use super::Connection;
use super::beats::{Beats, InHand};
use super::stored::{Headers, StoredMessage};
use crate::domain::CommandId;

/// Tries to have an ack confirmed. After that the message comes back, and the ledger knows what to do.
const ACK_ATTEMPTS: u32 = 3;
/// Longest wait for one confirmation.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// One message of the action stream. It is in hand, with beats, until it is settled or dropped; dropped
/// unsettled it comes back.
pub struct Delivery {
    /// Which command this is.
    pub id: CommandId,
    /// When the stream stored it.
    pub stored_at: Timestamp,
    /// Deliveries so far, this one included.
    pub delivered: u64,
    /// This process saw the command's first delivery, and nobody else can have acted on it. When not, the venue
    /// is asked before anything is sent.
    pub fresh: bool,
    /// Its subject.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Why the client itself cannot read it, and the headers as they are.
    pub hostile: Option<(&'static str, Bytes)>,
    headers: HeaderMap,
    in_hand: InHand,
    connection: Connection,
}

/// Why a settlement is not known to have arrived. The message may come back.
#[derive(Debug, thiserror::Error)]
#[error("the settlement was not confirmed: {cause}")]
pub struct SettleError {
    cause: String,
}

/// What the server says of a delivery, in the subject for the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    sequence: u64,
    delivered: u64,
    stored_at: Timestamp,
}

impl Numbers {
    pub(super) fn of(info: &Info<'_>) -> Result<Self, jiff::Error> {
        Ok(Self {
            sequence: info.stream_sequence,
            delivered: u64::try_from(info.delivered).unwrap_or(u64::MAX),
            stored_at: Timestamp::from_nanosecond(info.published.unix_timestamp_nanos())?,
        })
    }
}

impl Delivery {
    /// Takes a message in hand. `None`: it is in hand already.
    pub(super) fn take(
        message: jetstream::Message,
        numbers: Numbers,
        stream_created: Timestamp,
        trusted_after: u64,
        beats: &Beats,
        connection: &Connection,
    ) -> Result<Option<Self>, async_nats::Error> {
        let reply = message
            .reply
            .clone()
            .ok_or("a delivery without a reply subject")?;
        let Numbers {
            sequence,
            delivered,
            stored_at,
        } = numbers;
        let id = CommandId {
            stream_created,
            sequence,
        };
        let Some(in_hand) = beats.take(id, reply) else {
            return Ok(None);
        };
        let (message, _) = message.split();
        Ok(Some(Self {
            id,
            stored_at,
            delivered,
            fresh: delivered == 1 && sequence > trusted_after,
            subject: message.subject.into_string(),
            payload: message.payload,
            hostile: None,
            headers: message.headers.unwrap_or_default(),
            in_hand,
            connection: connection.clone(),
        }))
    }

    /// Takes a message in hand that was delivered to somebody before. `None`: it is in hand already.
    pub(super) fn adopt(
        message: StoredMessage,
        reply: Subject,
        stream_created: Timestamp,
        beats: &Beats,
        connection: &Connection,
    ) -> Option<Self> {
        let id = CommandId {
            stream_created,
            sequence: message.sequence,
        };
        let in_hand = beats.take(id, reply)?;
        let (headers, hostile) = match message.headers {
            // The server writes JSON, so a byte that is no character arrives as this one.
            Headers::Read(_) if message.subject.contains(char::REPLACEMENT_CHARACTER) => {
                (HeaderMap::new(), Some(("its subject is not UTF-8", Bytes::new())))
            }
            Headers::Read(headers) => (headers, None),
            Headers::Hostile(bytes, reason) => (HeaderMap::new(), Some((reason, bytes))),
        };
        Some(Self {
            id,
            stored_at: message.stored_at,
            delivered: 2, // once to somebody, once to us
            fresh: false,
            subject: message.subject,
            payload: message.payload,
            hostile,
            headers,
            in_hand,
            connection: connection.clone(),
        })
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.as_str())
    }

    /// Whether it is an answer of the server's to somebody's read, whose subject for answers was a command's. A stored
    /// message is sent like that past every permission of whoever asked (nats-server 2.10.25 and 2.15.1, measured).
    pub fn is_an_answer(&self) -> bool {
        ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"]
            .iter()
            .any(|name| self.header(name).is_some())
    }

    /// The command is done.
    pub async fn ack(self) -> Result<(), SettleError> {
        self.settle("+ACK".to_owned()).await
    }

    /// The command can never be done. What it was must be in the journal already: the stream forgets it now.
    pub async fn term(self, reason: &str) -> Result<(), SettleError> {
        // One line, whatever the reason says.
        let reason: String = reason
            .chars()
            .filter(|character| !character.is_control())
            .take(200)
            .collect();
        self.settle(format!("+TERM {reason}")).await
    }

    /// The command is done before it is begun: a bug a trial may plant.
    pub(crate) async fn ack_early(&self) {
        if let Err(error) = self.answer("+ACK".to_owned()).await {
            warn!(%error, "the early ack was not confirmed");
        }
    }

    /// Hands the command back, unsent. Only while stopping.
    pub async fn nak(self) -> Result<(), SettleError> {
        self.settle("-NAK".to_owned()).await
    }

    async fn settle(self, answer: String) -> Result<(), SettleError> {
        self.answer(answer).await
    }

    async fn answer(&self, answer: String) -> Result<(), SettleError> {
        let mut cause = String::new();
        for attempt in 1..=ACK_ATTEMPTS {
            let Some(reply) = self.in_hand.reply() else {
                cause = "its stream is gone".to_owned();
                break;
            };
            match confirmed(&self.connection, reply, answer.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    warn!(sequence = self.id.sequence, attempt, %error, "settlement was not confirmed");
                    cause = error.to_string();
                }
            }
        }
        Err(SettleError { cause })
    }
}

/// Answers a delivery and reads the server's confirmation. A "no responders" status is an error here.
async fn confirmed(
    connection: &Connection,
    reply: Subject,
    answer: String,
) -> Result<(), async_nats::RequestError> {
    let request = async_nats::Request::new()
        .payload(answer.into())
        .timeout(Some(ACK_TIMEOUT));
    let made = connection.made();
    made.client.send_request(reply, request).await.map(|_| ())
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("sequence", &self.id.sequence)
            .field("delivered", &self.delivered)
            .field("fresh", &self.fresh)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
