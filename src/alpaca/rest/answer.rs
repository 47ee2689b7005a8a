//! What came back of a request: an answer as far as it could be read, or how it failed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::alpaca::clean;
use crate::alpaca::pacer::{PAUSE_MAX, RateSignal};

/// How a request ended.
pub(super) type Exchange = Result<Answer, TransportError>;

/// An answer whose head was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The whole body, or why there is none: cut off, too slow, over the cap.
    pub(super) body: Result<Bytes, String>,
    /// The venue's id of the request (`X-Request-ID`). Its support asks for it.
    pub(super) request_id: Option<String>,
    /// What the venue's clock said (`Date`), to the second.
    pub(super) date: Option<Timestamp>,
    /// What the headers say about the request budget.
    pub(super) rate: RateSignal,
}

/// A request without an answer, sorted by whether the venue may have acted on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransportError {
    /// The connection never opened, so nothing was written.
    #[error("{0}")]
    NotSent(String),
    /// Anything else.
    #[error("{0}")]
    Unknown(String),
}

impl Answer {
    /// Reads the head of an answer. The body follows.
    pub(super) fn from_head(status: u16, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|text| text.trim().parse::<i64>().ok());
        let count = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
        let date = text(DATE.as_str()).and_then(http_date);
        let retry_after = text(RETRY_AFTER.as_str()).and_then(|text| retry_after(text, date));
        let reset = number("x-ratelimit-reset").and_then(|reset| until_second(reset, date));
        Self {
            status,
            body: Ok(Bytes::new()),
            request_id: text("x-request-id").map(clean).filter(|id| !id.is_empty()),
            date,
            rate: RateSignal {
                limit: count("x-ratelimit-limit"),
                remaining: count("x-ratelimit-remaining"),
                renews_in: retry_after.or(reset),
                refused: status == 429,
            },
        }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, date: Option<Timestamp>) -> Option<Duration> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds).min(PAUSE_MAX)),
        Err(_) => until_second(http_date(text)?.as_second(), date),
    }
}

/// From the venue's own clock to an epoch second of the venue's, at most a minute. The two come in one answer, so
/// our clock has no say. An instant that is past says nothing.
fn until_second(epoch_second: i64, date: Option<Timestamp>) -> Option<Duration> {
    let seconds = epoch_second.checked_sub(date?.as_second())?;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;

    fn signal(status: u16, headers: &[(&'static str, &'static str)]) -> RateSignal {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Answer::from_head(status, &headers).rate
    }

    #[test]
    fn the_budget_is_read_from_the_headers() {
        let date = ("date", "Thu, 12 Nov 2026 08:49:37 GMT"); // 1794473377
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(
            signal(
                200,
                &[
                    date,
                    ("x-ratelimit-limit", "200"),
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1794473400"),
                ],
            ),
            RateSignal {
                limit: Some(200),
                remaining: Some(0),
                renews_in: seconds(23),
                refused: false,
            }
        );
        for (headers, renews_in) in [
            (vec![("retry-after", "7")], seconds(7)),
            (vec![("retry-after", "999999999999")], seconds(60)),
            (vec![("retry-after", "-5")], None),
            (
                vec![date, ("retry-after", "Thu, 12 Nov 2026 08:49:41 GMT")],
                seconds(4),
            ),
            (vec![date, ("x-ratelimit-reset", "4102444800")], seconds(60)),
            (vec![date, ("x-ratelimit-reset", "-1")], None),
            (
                vec![date, ("x-ratelimit-reset", "9223372036854775807")],
                seconds(60),
            ),
            (vec![date, ("x-ratelimit-reset", "-9223372036854775808")], None),
            (vec![date, ("x-ratelimit-reset", "1794473377")], None),
            (vec![("x-ratelimit-reset", "1794473400")], None),
            (vec![date, ("x-ratelimit-reset", "soon")], None),
        ] {
            let heard = signal(429, &headers);
            assert_eq!(heard.renews_in, renews_in, "{headers:?}");
            assert!(heard.refused);
        }
        let absurd = signal(
            200,
            &[("x-ratelimit-limit", "-3"), ("x-ratelimit-remaining", "1e9")],
        );
        assert_eq!(absurd, RateSignal::default());
    }
}
