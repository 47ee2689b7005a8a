//! What is told on the bus, for whoever listens.

use async_nats::StatusCode;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::Connection;
use super::broadcast::LAST_BUCKET;
use super::stored::{self, StoredError, Wanted};

/// One message.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Where it was told.
    pub subject: String,
    /// Full name of its message, as it says itself.
    pub schema: Option<String>,
    /// The message.
    pub payload: Bytes,
}

/// Subscribes to a subject, for as long as the stream is kept; over reconnects, too.
pub async fn listen(
    connection: &Connection,
    subject: String,
) -> Result<impl Stream<Item = Heard> + use<>, async_nats::SubscribeError> {
    let told = connection.client().subscribe(subject).await?;
    Ok(told.map(|message| {
        let headers = message.headers.as_ref();
        let schema = headers.and_then(|headers| headers.get("Nalpaca-Schema"));
        Heard {
            subject: message.subject.to_string(),
            schema: schema.map(|schema| schema.as_str().to_owned()),
            payload: message.payload,
        }
    }))
}

/// The last value of a key such as `quotes.AAPL`. `None`: there is none, or it cannot be had now.
pub async fn last_value(connection: &Connection, key: &str) -> Option<Bytes> {
    let subject = format!("$JS.API.DIRECT.GET.KV_{LAST_BUCKET}.$KV.{LAST_BUCKET}.{key}");
    let answer = connection.client().request(subject, Bytes::new()).await.ok()?;
    let is_value = answer.status.is_none_or(|status| status == StatusCode::OK);
    is_value.then_some(answer.payload)
}

/// The last message of a subject in a stream.
pub async fn last_stored(
    connection: &Connection,
    stream: &str,
    subject: &str,
) -> Result<Option<Bytes>, StoredError> {
    let message = stored::read(connection, stream, Wanted::Last(subject)).await?;
    Ok(message.map(|message| message.payload))
}
