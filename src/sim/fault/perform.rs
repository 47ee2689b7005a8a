//! Carrying out a fault that struck a request.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::api::Answer;
use super::super::core::Refusal;
use super::super::deed::Deed;
use super::super::route::Endpoint;
use super::super::server::{plain, response};
use super::{Reply, later};

/// Size of one piece of an overlong answer.
const HUGE_CHUNK: usize = 64 * 1024;
/// Orders hidden at a time; the one hidden first is seen again when there are more.
const HIDDEN_MAX: usize = 10_000;

/// Answers as `reply` says, and does what was asked before, later or never.
pub(crate) async fn perform(deed: Deed, cut: &CancellationToken, reply: Reply) -> Response<Body> {
    match reply {
        Reply::Status {
            code,
            body,
            content_type,
        } => response(code, &content_type, Body::from(body)),
        Reply::StatusAfterCommit {
            code,
            body,
            content_type,
        } => {
            deed.commit();
            response(code, &content_type, Body::from(body))
        }
        Reply::Delay(duration) => {
            tokio::time::sleep(duration).await;
            plain(deed.commit())
        }
        Reply::DelayAfterCommit(duration) => {
            let answer = deed.commit();
            tokio::time::sleep(duration).await;
            plain(answer)
        }
        Reply::Hang => std::future::pending().await,
        Reply::HangAfterCommit => {
            deed.commit();
            std::future::pending().await
        }
        Reply::CutBeforeCommit => {
            cut.cancel();
            std::future::pending().await
        }
        Reply::CutAfterCommit => {
            deed.commit();
            cut.cancel();
            std::future::pending().await
        }
        Reply::CutMidBody => half(&deed.commit()),
        Reply::TooMany { retry_after, reset } => too_many(retry_after, reset),
        Reply::Redirect(location) => {
            let mut response = response(307, "text/plain", Body::empty());
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Reply::Drip { bytes, pause } => dripping(deed.commit(), bytes, pause),
        Reply::ContentType(content_type) => {
            let answer = deed.commit();
            response(answer.status, &content_type, Body::from(answer.body))
        }
        Reply::HugeBody(size) => {
            deed.commit();
            huge(size)
        }
        Reply::Gzip => {
            let answer = deed.commit();
            let body = gzipped(answer.body.as_bytes());
            let mut response = response(answer.status, "application/json", Body::from(body));
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            response
        }
        Reply::BodyGarbage => {
            deed.commit();
            response(200, "application/json", Body::from("{\"id\": \u{fffd}not json"))
        }
        Reply::Blind(duration) => {
            plain(deed.commit_then(|shared, answer| shared.blind.hide(answer, duration)))
        }
        Reply::Reject => plain(deed.commit_with(|exchange, answer| {
            let order: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let id = order.get("id").and_then(serde_json::Value::as_str);
            if let Some(Ok(id)) = id.map(Uuid::parse_str) {
                exchange.reject(id);
            }
        })),
        Reply::LateCommit { after, status } => {
            deed.commit_later(after);
            match status {
                Some(code) => {
                    let body = r#"{"message":"taken late by the script"}"#;
                    response(code, "application/json", Body::from(body))
                }
                None => {
                    cut.cancel();
                    std::future::pending().await
                }
            }
        }
    }
}

fn half(answer: &Answer) -> Response<Body> {
    let half = answer.body.as_bytes().get(..answer.body.len() / 2);
    let pieces = [
        Ok(Bytes::copy_from_slice(half.unwrap_or_default())),
        Err(std::io::Error::other("cut by the script")),
    ];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    response(answer.status, "application/json", body)
}

fn too_many(retry_after: Option<Duration>, reset: Option<i64>) -> Response<Body> {
    let mut response = plain(Answer::from(&Refusal::rate_limited()));
    let headers = response.headers_mut();
    if let Some(after) = retry_after {
        headers.insert(header::RETRY_AFTER, after.as_secs().into());
    }
    if let Some(reset) = reset {
        headers.insert("x-ratelimit-reset", reset.into());
    }
    response
}

fn dripping(answer: Answer, bytes: usize, pause: Duration) -> Response<Body> {
    let step = bytes.max(1);
    let drip = move |mut rest: Bytes| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(step.min(rest.len()));
        Some((Ok::<_, Infallible>(piece), rest))
    };
    let drops = futures_util::stream::unfold(Bytes::from(answer.body), drip);
    response(answer.status, "application/json", Body::from_stream(drops))
}

fn huge(size: usize) -> Response<Body> {
    let chunk = Bytes::from(vec![b' '; HUGE_CHUNK]);
    let lengths = (0..size)
        .step_by(HUGE_CHUNK)
        .map(move |at| HUGE_CHUNK.min(size - at));
    let pieces = lengths.map(move |length| Ok::<_, Infallible>(chunk.slice(..length)));
    response(
        200,
        "application/json",
        Body::from_stream(futures_util::stream::iter(pieces)),
    )
}

/// A gzip member of stored blocks (RFC 1951, 1952): the encoding without the compression.
fn gzipped(body: &[u8]) -> Vec<u8> {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut out = HEAD.to_vec();
    let mut blocks = body.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32(body).to_le_bytes());
    let length = u32::try_from(body.len() % (1 << 32)).unwrap_or_default();
    out.extend(length.to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    const REFLECTED: u32 = 0xEDB8_8320;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { REFLECTED } else { 0 };
        }
    }
    !crc
}

/// Orders that exist and are not found: what a look-up sees right after a commit that has not reached its replica.
#[derive(Debug, Default)]
pub(crate) struct Blind(Mutex<VecDeque<Hidden>>);

#[derive(Debug)]
struct Hidden {
    id: String,
    until: Instant,
}

/// The part of an order's JSON that says which it is.
#[derive(Deserialize)]
struct Named {
    id: String,
    #[serde(default)]
    legs: Option<Vec<Named>>,
}

impl Blind {
    /// Hides the order in this answer, and its legs.
    fn hide(&self, answer: &Answer, duration: Duration) {
        let Ok(order) = serde_json::from_str::<Named>(&answer.body) else {
            return;
        };
        let until = later(duration);
        let legs = order.legs.unwrap_or_default();
        let ids = std::iter::once(order.id).chain(legs.into_iter().map(|leg| leg.id));
        let mut hidden = self.hidden();
        hidden.extend(ids.map(|id| Hidden { id, until }));
        let surplus = hidden.len().saturating_sub(HIDDEN_MAX);
        hidden.drain(..surplus);
    }

    /// The answer as somebody sees it who does not see the hidden orders.
    pub(crate) fn veil(&self, endpoint: Endpoint, answer: Answer) -> Answer {
        let looks_up = matches!(
            endpoint,
            Endpoint::GetOrder | Endpoint::GetOrderByClientOrderId | Endpoint::ListOrders
        );
        let mut hidden = self.hidden();
        if hidden.is_empty() || !looks_up || answer.status != 200 {
            return answer;
        }
        let now = Instant::now();
        hidden.retain(|order| order.until > now);
        let is_hidden = |json: &str| {
            let order = serde_json::from_str::<Named>(json);
            order.is_ok_and(|order| hidden.iter().any(|hidden| hidden.id == order.id))
        };
        if endpoint == Endpoint::ListOrders {
            let Ok(rows) = serde_json::from_str::<Vec<&RawValue>>(&answer.body) else {
                return answer;
            };
            let seen = rows.iter().filter(|row| !is_hidden(row.get()));
            let seen: Vec<_> = seen.map(|row| row.get()).collect();
            return Answer {
                status: 200,
                body: format!("[{}]", seen.join(",")),
            };
        }
        if is_hidden(&answer.body) {
            return Answer::from(&Refusal::not_found("order not found"));
        }
        answer
    }

    fn hidden(&self) -> MutexGuard<'_, VecDeque<Hidden>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_body_is_framed_in_stored_blocks() {
        let body = vec![b'x'; 70_000];
        let zipped = gzipped(&body);
        assert_eq!(zipped.len(), 10 + 5 + 65_535 + 5 + (70_000 - 65_535) + 8);
        assert_eq!(&zipped[10..15], [0, 0xff, 0xff, 0, 0]);
        assert_eq!(gzipped(b"").len(), 10 + 5 + 8);
    }
}
