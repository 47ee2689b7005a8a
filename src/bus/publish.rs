//! One message to a stream, and the stream's word that it is stored.
//!
//! The client's own way makes two futures, a permit and an error that it drops for each acknowledgement, three times an order
//! (docs/benchmarks.md).

use async_nats::client::{Request, RequestErrorKind};
use async_nats::jetstream::ErrorCode;
use async_nats::{HeaderMap, HeaderName, Subject, jetstream};
use bytes::Bytes;
use serde::Deserialize;

use super::Connection;
use super::connection::REQUEST_TIMEOUT;

/// The header that names the schema of a message.
pub(super) const SCHEMA: HeaderName = HeaderName::from_static("Nalpaca-Schema");

/// Where a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    /// It was there already, under its message id.
    pub(super) duplicate: bool,
}

/// Why a message is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unstored {
    /// It named a last sequence, and the subject has another: it is not stored. A replicated stream that is still busy with
    /// another message of the subject says so with a code of its own (10164), which tells nothing of what will be there; it is
    /// [`Unstored::Unknown`].
    #[error("{0}")]
    Stale(jetstream::Error),
    /// It may be stored or not.
    #[error("{0}")]
    Unknown(String),
}

/// What a stream answers to a publish.
#[derive(Deserialize)]
pub(super) struct AckJson<E> {
    #[serde(default = "Option::default")]
    pub(super) error: Option<E>,
    /// 0 in an error.
    #[serde(default)]
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) duplicate: bool,
}

/// Publishes a message and waits for its acknowledgement, in all for at most [`REQUEST_TIMEOUT`]. "No responders" is an error like
/// any other: the stream is not there now.
pub(super) async fn publish(
    connection: &Connection,
    subject: impl Into<Subject>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Stored, Unstored> {
    // The client would bound the wait for an answer, and not the wait for room to send in.
    let request = Request::new().headers(headers).payload(payload).timeout(None);
    let made = connection.made();
    let answered =
        tokio::time::timeout(REQUEST_TIMEOUT, made.client.send_request(subject.into(), request)).await;
    let unknown = |cause: &dyn std::fmt::Display| Unstored::Unknown(cause.to_string());
    let answer = match answered {
        Err(_late) => return Err(unknown(&"timed out: didn't receive ack in time")),
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            return Err(unknown(&"no stream found for given subject"));
        }
        Ok(Err(error)) => return Err(unknown(&error)),
        Ok(Ok(answer)) => answer,
    };
    read(&answer.payload)
}

/// What an answer says.
fn read(answer: &[u8]) -> Result<Stored, Unstored> {
    let ack: AckJson<jetstream::Error> =
        serde_json::from_slice(answer).map_err(|error| Unstored::Unknown(error.to_string()))?;
    match ack.error {
        Some(error) if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
            Err(Unstored::Stale(error))
        }
        Some(error) => Err(Unstored::Unknown(error.to_string())),
        None if ack.seq == 0 => Err(Unstored::Unknown("the answer names no sequence".to_owned())),
        None => Ok(Stored {
            sequence: ack.seq,
            duplicate: ack.duplicate,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_stored_stale_or_nobody_knows() {
        let stored = |text: &str| read(text.as_bytes()).unwrap();
        assert_eq!(
            stored(r#"{"stream":"S","seq":7}"#),
            Stored {
                sequence: 7,
                duplicate: false
            }
        );
        assert_eq!(
            stored(r#"{"stream":"S","domain":"hub","seq":7,"duplicate":true,"val":"1"}"#),
            Stored {
                sequence: 7,
                duplicate: true
            }
        );
        // The form of its errors (nats-server, server/errors.json).
        let refused = |code: u16, number: u32, text: &str| {
            let answer = format!(
                r#"{{"error":{{"code":{code},"err_code":{number},"description":"{text}"}},"stream":"S","seq":0}}"#
            );
            read(answer.as_bytes()).unwrap_err()
        };
        let stale = refused(400, 10071, "wrong last sequence: 5");
        assert!(matches!(stale, Unstored::Stale(_)), "{stale}");
        assert!(stale.to_string().contains("wrong last sequence: 5"), "{stale}");
        // Busy with another message of the subject; full; without a leader.
        for (code, number) in [(400, 10164), (503, 10077), (503, 10008)] {
            let unknown = refused(code, number, "not now");
            assert!(matches!(unknown, Unstored::Unknown(_)), "{unknown}");
        }
        for nothing in [
            "",
            "{}",
            r#"{"stream":"S","seq":0}"#,
            r#"{"stream":"S","seq":-1}"#,
            "[]",
            "\u{0}",
        ] {
            let unknown = read(nothing.as_bytes()).unwrap_err();
            assert!(matches!(unknown, Unstored::Unknown(_)), "{nothing:?}: {unknown}");
        }
    }
}
