//! Publishing a command, from the side of whoever publishes one.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;

use super::Connection;
use super::publish::SCHEMA;
use crate::telemetry::trace;
use crate::wire::Encoded;

/// Longest wait for the stream to say that it has it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a command is not known to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The stream does not take it; nothing will come of it.
    #[error("the action stream refuses it: {0}")]
    Refused(String),
    /// Nobody captures its subject; nothing will come of it.
    #[error("no stream takes it; is the action stream there, and is this the daemon's PREFIX?")]
    NoStream,
    /// It may be stored, or not.
    #[error("it may or may not be stored: {0}; publish it again, under the same id")]
    Unknown(String),
}

/// Publishes a command, and waits until it is stored. Returns its sequence.
pub async fn publish(
    connection: &Connection,
    subject: String,
    command: Encoded,
    traceparent: Option<&str>,
) -> Result<u64, CommandError> {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/protobuf");
    headers.insert(SCHEMA, command.schema);
    if let Some(traceparent) = traceparent {
        headers.insert(trace::TRACEPARENT, traceparent);
    }
    store(connection, subject, headers, command.bytes).await
}

/// As [`publish`], for a command that is written in JSON.
pub async fn publish_json(
    connection: &Connection,
    subject: String,
    command: String,
) -> Result<u64, CommandError> {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/json");
    store(connection, subject, headers, command.into()).await
}

/// Publishes a cancel, which is empty: its subject says it all.
pub async fn publish_cancel(connection: &Connection, subject: String) -> Result<u64, CommandError> {
    store(connection, subject, HeaderMap::new(), bytes::Bytes::new()).await
}

async fn store(
    connection: &Connection,
    subject: String,
    headers: HeaderMap,
    payload: bytes::Bytes,
) -> Result<u64, CommandError> {
    let stored = async {
        let sent = connection
            .jetstream()
            .publish_with_headers(subject, headers, payload)
            .await?;
        sent.await
    };
    let Ok(stored) = tokio::time::timeout(PATIENCE, stored).await else {
        let late = format!("no answer within {} s", PATIENCE.as_secs());
        return Err(CommandError::Unknown(late));
    };
    match stored {
        Ok(stored) => Ok(stored.sequence),
        Err(error) => Err(match error.kind() {
            PublishErrorKind::StreamNotFound => CommandError::NoStream,
            PublishErrorKind::MaxPayloadExceeded => CommandError::Refused(error.to_string()),
            PublishErrorKind::Other if is_from_stream(&error) => CommandError::Refused(error.to_string()),
            PublishErrorKind::MaxAckPending
            | PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::Other => CommandError::Unknown(error.to_string()),
        }),
    }
}

/// Whether the stream has spoken: a full one, or one whose message size is exceeded.
fn is_from_stream(error: &async_nats::jetstream::context::PublishError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<async_nats::jetstream::Error>())
}
