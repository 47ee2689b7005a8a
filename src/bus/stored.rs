//! Reads messages where they are stored, through the server's JSON interface.
//!
//! Nothing a publisher wrote reaches the client's own parsers that way: a header value with a lone CR ends the
//! client's connection for good, and other bytes cut it again and again (async-nats, measured). Here such a message
//! is read like any other, and what is wrong with it is said.

use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Connection;

/// The server's code for "no such message".
const NO_MESSAGE_FOUND: u64 = 10037;

/// A message as its stream holds it.
#[derive(Clone, Debug)]
pub(super) struct StoredMessage {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) stored_at: Timestamp,
    pub(super) headers: Headers,
    pub(super) payload: Bytes,
}

/// The headers of a stored message.
#[derive(Clone, Debug)]
pub(super) enum Headers {
    Read(HeaderMap),
    /// Bytes that would break the client, and what is wrong with them.
    Hostile(Bytes, &'static str),
}

impl StoredMessage {
    /// A header's text; none of headers that cannot be read.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match &self.headers {
            Headers::Read(headers) => headers.get(name).map(HeaderValue::as_str),
            Headers::Hostile(..) => None,
        }
    }
}

/// Which message is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// The first one on a subject, from a sequence on.
    Next(&'a str, u64),
    /// The last one on a subject.
    Last(&'a str),
}

/// The stream could not be asked, or did not answer to the question.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoredError(String);

impl StoredError {
    pub(super) fn of(error: &dyn std::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads one message through the stream's leader. `None`: there is none.
pub(super) async fn read(
    connection: &Connection,
    stream: &str,
    wanted: Wanted<'_>,
) -> Result<Option<StoredMessage>, StoredError> {
    let question = match wanted {
        Wanted::Next(subject, from) => json!({ "seq": from, "next_by_subj": subject }),
        Wanted::Last(subject) => json!({ "last_by_subj": subject }),
    };
    let request = async_nats::Request::new().payload(question.to_string().into());
    let answer = connection
        .client()
        .send_request(format!("$JS.API.STREAM.MSG.GET.{stream}"), request)
        .await
        .map_err(|error| StoredError(error.to_string()))?;
    understand(&answer.payload)
}

#[derive(Deserialize)]
struct AnswerJson<'a> {
    #[serde(borrow)]
    message: Option<MessageJson<'a>>,
    error: Option<ErrorJson>,
}

#[derive(Deserialize)]
struct MessageJson<'a> {
    subject: String,
    seq: u64,
    time: String,
    #[serde(default)]
    hdrs: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    data: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ErrorJson {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn understand(answer: &[u8]) -> Result<Option<StoredMessage>, StoredError> {
    let answer: AnswerJson<'_> = serde_json::from_slice(answer)
        .map_err(|error| StoredError(format!("the server's answer: {error}")))?;
    match (answer.message, answer.error) {
        (_, Some(error)) if error.err_code == NO_MESSAGE_FOUND => Ok(None),
        (_, Some(error)) => Err(StoredError(format!(
            "{} (code {})",
            error.description, error.err_code
        ))),
        (None, None) => Err(StoredError("the server's answer holds no message".to_owned())),
        (Some(message), None) => {
            let decode = |text: Option<std::borrow::Cow<'_, str>>| {
                STANDARD
                    .decode(text.unwrap_or_default().as_bytes())
                    .map_err(|error| StoredError(format!("the server's answer: {error}")))
            };
            let (headers, payload) = (decode(message.hdrs)?, decode(message.data)?);
            Ok(Some(StoredMessage {
                subject: message.subject,
                sequence: message.seq,
                stored_at: message
                    .time
                    .parse()
                    .map_err(|error| StoredError(format!("the server's answer: {error}")))?,
                headers: read_headers(headers),
                payload: payload.into(),
            }))
        }
    }
}

/// Reads headers by the client's own rules, so that a message is hostile here exactly when it would be there.
fn read_headers(bytes: Vec<u8>) -> Headers {
    match try_headers(&bytes) {
        Ok(headers) => Headers::Read(headers),
        Err(reason) => Headers::Hostile(bytes.into(), reason),
    }
}

fn try_headers(bytes: &[u8]) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    if bytes.is_empty() {
        return Ok(headers);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "its headers are not UTF-8")?;
    let mut lines = text.lines().peekable();
    match lines.next().and_then(|line| line.strip_prefix("NATS/1.0")) {
        None => return Err("its headers do not begin with NATS/1.0"),
        // The client takes it for the server's own word about a request, and the message is lost on the way.
        Some(status) if !status.trim().is_empty() => {
            return Err("its headers pass for a status of the server's");
        }
        Some(_) => {}
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
        let name = HeaderName::from_str(name).map_err(|_| "the name of a header is none")?;
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        let value =
            HeaderValue::from_str(value.trim_end()).map_err(|_| "a header value has a line break in it")?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hostile(headers: &[u8]) -> Option<&'static str> {
        match read_headers(headers.to_vec()) {
            Headers::Read(_) => None,
            Headers::Hostile(_, reason) => Some(reason),
        }
    }

    #[test]
    fn headers_of_good_will_are_read() {
        let Headers::Read(headers) =
            read_headers(b"NATS/1.0\r\nNats-Msg-Id: a-1\r\nX-Long: one\r\n  two\r\n\r\n".to_vec())
        else {
            panic!("nothing is wrong with them");
        };
        assert_eq!(headers.get("Nats-Msg-Id").map(HeaderValue::as_str), Some("a-1"));
        assert_eq!(headers.get("X-Long").map(HeaderValue::as_str), Some("one  two"));
        assert_eq!(hostile(b""), None);
    }

    #[test]
    fn what_breaks_the_client_is_told_apart() {
        for headers in [
            b"NATS/1.0\r\nX-Note: a\rb\r\n\r\n".as_slice(),
            b"NATS/1.0\r\nX Note\xff: a\r\n\r\n",
            b"NATS/1.0\r\nX\x01Note: a\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/9.9\r\nX-Note: a\r\n\r\n",
            b"NATS/1.0 404 No Messages\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert!(
                hostile(headers).is_some(),
                "{:?}",
                String::from_utf8_lossy(headers)
            );
        }
    }

    #[test]
    fn the_servers_answers_are_told_apart() {
        let found = br#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"a.b","seq":7,"hdrs":"TkFUUy8xLjANClg6IHkNCg0K","data":"aGk=","time":"2026-11-28T06:00:00.5Z"}}"#;
        let message = understand(found).unwrap().unwrap();
        assert_eq!(
            (message.subject.as_str(), message.sequence, message.header("X")),
            ("a.b", 7, Some("y"))
        );
        assert_eq!(message.payload, "hi");
        let absent = br#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
        assert!(understand(absent).unwrap().is_none());
        let gone = br#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        assert_eq!(
            understand(gone).unwrap_err().to_string(),
            "stream not found (code 10059)"
        );
        assert!(understand(b"{}").is_err());
        assert!(understand(b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = understand(&bytes);
            let _ = read_headers(bytes);
        }

        #[test]
        fn no_headers_panic(text in "NATS/1.0\r\n([a-zA-Z:\r\n \t\u{80}]{0,40})") {
            let _ = read_headers(text.into_bytes());
        }
    }
}
