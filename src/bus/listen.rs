//! What is told on the bus, for whoever listens.

use async_nats::StatusCode;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;

use super::Connection;
use super::broadcast::LAST_BUCKET;
use super::publish::SCHEMA;
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
        let schema = headers.and_then(|headers| headers.get(SCHEMA));
        Heard {
            subject: message.subject.to_string(),
            schema: schema.map(|schema| schema.as_str().to_owned()),
            payload: message.payload,
        }
    }))
}

/// What a stream has of a subject, from some time on until what it had when this began.
#[derive(Debug)]
pub struct Replay {
    connection: Connection,
    stream: String,
    subject: String,
    next: u64,
}

impl Replay {
    /// Everything there is.
    pub fn all(connection: &Connection, stream: &str, subject: String) -> Self {
        Self {
            connection: connection.clone(),
            stream: stream.to_owned(),
            subject,
            next: 1,
        }
    }

    /// From the first message on that was stored at `since` or later.
    pub async fn since(
        connection: &Connection,
        stream: &str,
        subject: String,
        since: Timestamp,
    ) -> Result<Self, StoredError> {
        let mut replay = Self::all(connection, stream, subject);
        let Some(last) = stored::read(connection, stream, Wanted::Last(&replay.subject)).await? else {
            return Ok(replay);
        };
        // Stored in the order of time, so the first one is found by halves.
        let (mut low, mut high) = (1, last.sequence.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            let found = stored::read(connection, stream, Wanted::Next(&replay.subject, middle)).await?;
            match found {
                Some(message) if message.stored_at < since => low = message.sequence + 1,
                Some(_) | None => high = middle,
            }
        }
        replay.next = low;
        Ok(replay)
    }

    /// The next message, and when it was stored. `None`: there is no more.
    pub async fn next(&mut self) -> Result<Option<(Heard, Timestamp)>, StoredError> {
        let wanted = Wanted::Next(&self.subject, self.next);
        let Some(message) = stored::read(&self.connection, &self.stream, wanted).await? else {
            return Ok(None);
        };
        self.next = message.sequence + 1;
        let schema = message.header(SCHEMA.as_ref()).map(str::to_owned);
        let heard = Heard {
            subject: message.subject,
            schema,
            payload: message.payload,
        };
        Ok(Some((heard, message.stored_at)))
    }
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

/// How full a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Messages it has.
    pub messages: u64,
    /// The share of its room that is used, in percent; `None` where it is not bounded.
    pub percent: Option<u64>,
}

/// How full a stream is, by messages or by bytes, whichever is more.
pub async fn fill_of(connection: &Connection, stream: &str) -> Result<Fill, StoredError> {
    let stream = connection
        .jetstream()
        .get_stream(stream)
        .await
        .map_err(|error| StoredError::of(&error))?;
    let info = stream.cached_info();
    let share = |used: u64, room: i64| {
        let room = u64::try_from(room).ok().filter(|room| *room > 0)?;
        used.saturating_mul(100).checked_div(room)
    };
    let by_bytes = share(info.state.bytes, info.config.max_bytes);
    let by_messages = share(info.state.messages, info.config.max_messages);
    Ok(Fill {
        messages: info.state.messages,
        percent: by_bytes.max(by_messages),
    })
}
