//! Scripted faults: values that say how an answer goes wrong, and whether the venue acted before it did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::route::Endpoint;

/// How one request is answered instead of well. "Acts" means that the venue does what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Does not act; answers this.
    Status {
        /// HTTP status.
        code: u16,
        /// The body, as it is.
        body: String,
        /// Its content type.
        content_type: &'static str,
    },
    /// Acts; answers this instead of the outcome.
    StatusAfterCommit {
        /// HTTP status.
        code: u16,
        /// The body, as it is.
        body: String,
        /// Its content type.
        content_type: &'static str,
    },
    /// Waits, then acts and answers well.
    Delay(Duration),
    /// Acts, waits, then answers well.
    DelayAfterCommit(Duration),
    /// Does not act and never answers; the connection stays open.
    Hang,
    /// Acts, but never answers; the connection stays open.
    HangAfterCommit,
    /// Does not act; closes the connection without an answer.
    CutBeforeCommit,
    /// Acts; closes the connection without an answer.
    CutAfterCommit,
    /// Acts; closes the connection in the middle of the answer's body.
    CutMidBody,
    /// Does not act; 429.
    TooMany {
        /// `Retry-After`, in whole seconds.
        retry_after: Option<Duration>,
        /// `X-RateLimit-Reset`, in epoch seconds, instead of the true one.
        reset: Option<i64>,
    },
    /// Does not act; 307 to this location.
    Redirect(String),
    /// Acts; answers 200 with this many bytes that are not JSON.
    HugeBody(usize),
    /// Acts; answers 200 with a body that is no JSON.
    BodyGarbage,
}

impl Reply {
    /// A JSON answer without acting.
    pub fn status(code: u16, body: &str) -> Self {
        Self::Status {
            code,
            body: body.to_owned(),
            content_type: "application/json",
        }
    }

    /// A gateway's HTML page after the venue acted, as a 504 is.
    pub fn gateway_timeout_after_commit() -> Self {
        Self::StatusAfterCommit {
            code: 504,
            body: "<html><body><h1>504 Gateway Time-out</h1></body></html>".to_owned(),
            content_type: "text/html",
        }
    }

    /// 404 for an order that may well exist: a look-up that does not see it yet.
    pub fn order_not_found() -> Self {
        Self::status(404, r#"{"code":40410000,"message":"order not found"}"#)
    }
}

/// Which requests a reply is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    endpoint: Option<Endpoint>,
    containing: Option<String>,
}

impl Matcher {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests to one endpoint.
    pub fn endpoint(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Some(endpoint),
            containing: None,
        }
    }

    /// Narrows to requests whose path, query or body contain `text`, such as a client order id.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    pub(crate) fn matches(&self, endpoint: Option<Endpoint>, target: &str, body: &str) -> bool {
        let contains = |text: &String| target.contains(text.as_str()) || body.contains(text.as_str());
        self.endpoint.is_none_or(|wanted| endpoint == Some(wanted))
            && self.containing.as_ref().is_none_or(contains)
    }
}

impl From<Endpoint> for Matcher {
    fn from(endpoint: Endpoint) -> Self {
        Self::endpoint(endpoint)
    }
}

#[derive(Debug)]
struct Line {
    matcher: Matcher,
    reply: Reply,
    /// None: for ever.
    times: Option<usize>,
}

/// The faults still to come, in the order they were written. Clones share one script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    lines: Arc<Mutex<VecDeque<Line>>>,
}

impl Script {
    /// The next `POST /v2/orders` is answered so.
    pub fn next_order(&self, reply: Reply) {
        self.next(Endpoint::SubmitOrder, reply);
    }

    /// The next matching request is answered so. Replies for the same request wait in line.
    pub fn next(&self, matcher: impl Into<Matcher>, reply: Reply) {
        self.times(1, matcher, reply);
    }

    /// The next `times` matching requests are answered so.
    pub fn times(&self, times: usize, matcher: impl Into<Matcher>, reply: Reply) {
        self.write(Line {
            matcher: matcher.into(),
            reply,
            times: Some(times),
        });
    }

    /// Every matching request is answered so until [`Script::clear`].
    pub fn always(&self, matcher: impl Into<Matcher>, reply: Reply) {
        self.write(Line {
            matcher: matcher.into(),
            reply,
            times: None,
        });
    }

    /// Forgets everything still to come.
    pub fn clear(&self) {
        self.lines().clear();
    }

    /// How many replies are still to come; those without end are not counted.
    pub fn pending(&self) -> usize {
        self.lines().iter().filter_map(|line| line.times).sum()
    }

    pub(crate) fn take(&self, endpoint: Option<Endpoint>, target: &str, body: &[u8]) -> Option<Reply> {
        let mut lines = self.lines();
        if lines.is_empty() {
            return None;
        }
        let body = String::from_utf8_lossy(body);
        let at = lines
            .iter()
            .position(|line| line.matcher.matches(endpoint, target, &body))?;
        let line = lines.get_mut(at)?;
        let reply = line.reply.clone();
        if let Some(times) = &mut line.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                lines.remove(at);
            }
        }
        Some(reply)
    }

    fn write(&self, line: Line) {
        if line.times != Some(0) {
            self.lines().push_back(line);
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_wait_in_line_for_the_requests_they_are_for() {
        let script = Script::default();
        script.next_order(Reply::Hang);
        script.times(
            2,
            Matcher::endpoint(Endpoint::SubmitOrder).containing("x-1"),
            Reply::CutAfterCommit,
        );
        script.always(Endpoint::GetClock, Reply::BodyGarbage);
        assert_eq!(script.pending(), 3);
        let take = |endpoint, body: &str| script.take(Some(endpoint), "/", body.as_bytes());
        assert_eq!(take(Endpoint::GetOrder, ""), None);
        assert_eq!(take(Endpoint::SubmitOrder, "x-1"), Some(Reply::Hang));
        assert_eq!(take(Endpoint::SubmitOrder, "x-2"), None);
        assert_eq!(take(Endpoint::SubmitOrder, "x-1"), Some(Reply::CutAfterCommit));
        assert_eq!(take(Endpoint::SubmitOrder, "x-1"), Some(Reply::CutAfterCommit));
        assert_eq!(take(Endpoint::SubmitOrder, "x-1"), None);
        assert_eq!(take(Endpoint::GetClock, ""), Some(Reply::BodyGarbage));
        script.clear();
        assert_eq!(take(Endpoint::GetClock, ""), None);
    }
}
