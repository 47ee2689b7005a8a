//! How one request is answered instead of well, as a value and as a word.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::Word;
use super::text::{Cursor, FaultError, Quoted, Spelled};

const JSON: &str = "application/json";
const HTML: &str = "text/html";

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
        content_type: Cow<'static, str>,
    },
    /// Acts; answers this instead of the outcome.
    StatusAfterCommit {
        /// HTTP status.
        code: u16,
        /// The body, as it is.
        body: String,
        /// Its content type.
        content_type: Cow<'static, str>,
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
    /// Acts; answers well, but only so many bytes at a time.
    Drip {
        /// Bytes per piece; 0 counts as 1.
        bytes: usize,
        /// The pause before each piece.
        pause: Duration,
    },
    /// Acts; answers well under a content type that is wrong.
    ContentType(String),
    /// Acts; answers 200 with this many bytes that are not JSON.
    HugeBody(usize),
    /// Acts; answers well, but gzipped although nobody asked for it.
    Gzip,
    /// Acts; answers 200 with a body that is no JSON.
    BodyGarbage,
    /// Acts and answers well; for this long the order is not found by id, by client order id or in lists.
    Blind(Duration),
    /// Acts and answers well; the market then rejects the order. Strictly: the next order that reaches the market.
    Reject,
    /// Answers now without having acted, and acts this much later.
    LateCommit {
        /// How much later.
        after: Duration,
        /// The status answered now; none cuts the connection.
        status: Option<u16>,
    },
}

/// The words, as `--help` and complaints show them.
pub(super) const WORDS: &[Word] = &[
    Word::new("status CODE [as TYPE] [BODY]", "answer this, do nothing"),
    Word::new(
        "status-after-commit CODE [as TYPE] [BODY]",
        "act, answer this instead",
    ),
    Word::new("html [CODE]", "answer a gateway's page (502), do nothing"),
    Word::new("not-found", "answer 404 as for an unknown order, do nothing"),
    Word::new("gateway-timeout-after-commit", "act, answer a gateway's 504 page"),
    Word::new("delay TIME", "wait, then act and answer well"),
    Word::new("delay-after-commit TIME", "act, wait, answer well"),
    Word::new("hang", "never answer, do nothing"),
    Word::new("hang-after-commit", "act, never answer"),
    Word::new("cut-before-commit", "close the connection, do nothing"),
    Word::new("cut-after-commit", "act, close the connection without an answer"),
    Word::new("cut-mid-body", "act, close the connection inside the answer"),
    Word::new(
        "too-many [retry-after TIME] [reset EPOCH]",
        "answer 429 and these headers, do nothing",
    ),
    Word::new("redirect URL", "answer 307, do nothing"),
    Word::new("drip BYTES TIME", "act, answer so many bytes per TIME"),
    Word::new("content-type TYPE", "act, answer well under a wrong content type"),
    Word::new("huge BYTES", "act, answer 200 with so many blanks"),
    Word::new("gzip", "act, answer compressed though nobody asked"),
    Word::new("garbage", "act, answer 200 with no JSON"),
    Word::new(
        "blind TIME",
        "act, answer well; look-ups miss the order for so long",
    ),
    Word::new("reject", "act, answer well; the market then rejects the order"),
    Word::new(
        "late-commit TIME [status CODE]",
        "cut, or answer this, now; act so much later",
    ),
];

impl Reply {
    /// A JSON answer without acting.
    pub fn status(code: u16, body: &str) -> Self {
        Self::Status {
            code,
            body: body.to_owned(),
            content_type: JSON.into(),
        }
    }

    /// A gateway's HTML page after the venue acted, as a 504 is.
    pub fn gateway_timeout_after_commit() -> Self {
        Self::StatusAfterCommit {
            code: 504,
            body: "<html><body><h1>504 Gateway Time-out</h1></body></html>".to_owned(),
            content_type: HTML.into(),
        }
    }

    /// 404 for an order that may well exist: a look-up that does not see it yet.
    pub fn order_not_found() -> Self {
        Self::status(404, r#"{"code":40410000,"message":"order not found"}"#)
    }

    /// A gateway's HTML page without acting.
    pub fn html(code: u16) -> Self {
        Self::Status {
            code,
            body: format!("<html><body><h1>{code}</h1></body></html>"),
            content_type: HTML.into(),
        }
    }

    /// Reads what follows `word`; none when the word is no reply's.
    pub(super) fn parse(word: &str, cursor: &mut Cursor<'_>) -> Option<Result<Self, FaultError>> {
        Some(match word {
            "status" => answer(cursor).map(|(code, content_type, body)| Self::Status {
                code,
                body,
                content_type,
            }),
            "status-after-commit" => {
                answer(cursor).map(|(code, content_type, body)| Self::StatusAfterCommit {
                    code,
                    body,
                    content_type,
                })
            }
            "html" if cursor.is_at_end() => Ok(Self::html(502)),
            "html" => status(cursor).map(Self::html),
            "not-found" => Ok(Self::order_not_found()),
            "gateway-timeout-after-commit" => Ok(Self::gateway_timeout_after_commit()),
            "delay" => cursor.duration().map(Self::Delay),
            "delay-after-commit" => cursor.duration().map(Self::DelayAfterCommit),
            "hang" => Ok(Self::Hang),
            "hang-after-commit" => Ok(Self::HangAfterCommit),
            "cut-before-commit" => Ok(Self::CutBeforeCommit),
            "cut-after-commit" => Ok(Self::CutAfterCommit),
            "cut-mid-body" => Ok(Self::CutMidBody),
            "too-many" => too_many(cursor),
            "redirect" => header_text(cursor, "location").map(Self::Redirect),
            "drip" => drip(cursor),
            "content-type" => header_text(cursor, "content type").map(Self::ContentType),
            "huge" => cursor.number("count of bytes").map(Self::HugeBody),
            "gzip" => Ok(Self::Gzip),
            "garbage" => Ok(Self::BodyGarbage),
            "blind" => cursor.duration().map(Self::Blind),
            "reject" => Ok(Self::Reject),
            "late-commit" => late_commit(cursor),
            _ => return None,
        })
    }
}

fn status(cursor: &mut Cursor<'_>) -> Result<u16, FaultError> {
    let code = cursor.number("HTTP status")?;
    if (200..=599).contains(&code) {
        Ok(code)
    } else {
        Err(FaultError::new(format!(
            "{code} is no HTTP status from 200 to 599"
        )))
    }
}

fn answer(cursor: &mut Cursor<'_>) -> Result<(u16, Cow<'static, str>, String), FaultError> {
    let code = status(cursor)?;
    let content_type = if cursor.eat_word("as") {
        header_text(cursor, "content type")?.into()
    } else {
        JSON.into()
    };
    let body = cursor.remainder()?;
    let body = body.unwrap_or_else(|| format!(r#"{{"message":"status {code} by the script"}}"#));
    Ok((code, content_type, body))
}

fn header_text(cursor: &mut Cursor<'_>, what: &str) -> Result<String, FaultError> {
    let text = cursor.text()?;
    let is_sendable = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_sendable {
        Ok(text)
    } else {
        Err(FaultError::new(format!(
            "{text:?} is no {what}: printable ASCII is expected"
        )))
    }
}

fn too_many(cursor: &mut Cursor<'_>) -> Result<Reply, FaultError> {
    let retry_after = cursor.eat_word("retry-after");
    let retry_after = retry_after.then(|| cursor.duration()).transpose()?;
    let reset = cursor.eat_word("reset");
    let reset = reset
        .then(|| cursor.number("time in epoch seconds"))
        .transpose()?;
    Ok(Reply::TooMany { retry_after, reset })
}

fn drip(cursor: &mut Cursor<'_>) -> Result<Reply, FaultError> {
    let bytes = cursor.number("count of bytes")?;
    let pause = cursor.duration()?;
    Ok(Reply::Drip { bytes, pause })
}

fn late_commit(cursor: &mut Cursor<'_>) -> Result<Reply, FaultError> {
    let after = cursor.duration()?;
    let answers = cursor.eat_word("status");
    let status = answers.then(|| status(cursor)).transpose()?;
    Ok(Reply::LateCommit { after, status })
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = |word: &str, code: u16, content_type: &str, body: &str| {
            write!(f, "{word} {code}")?;
            if content_type != JSON {
                write!(f, " as {}", Quoted::word(content_type))?;
            }
            let mut body = Quoted::remainder(body);
            body.ambiguous |= body.text.split_whitespace().next() == Some("as");
            write!(f, " {body}")
        };
        match self {
            Self::Status {
                code,
                body,
                content_type,
            } => answer("status", *code, content_type, body),
            Self::StatusAfterCommit {
                code,
                body,
                content_type,
            } => answer("status-after-commit", *code, content_type, body),
            Self::Delay(duration) => write!(f, "delay {}", Spelled(*duration)),
            Self::DelayAfterCommit(duration) => write!(f, "delay-after-commit {}", Spelled(*duration)),
            Self::Hang => f.write_str("hang"),
            Self::HangAfterCommit => f.write_str("hang-after-commit"),
            Self::CutBeforeCommit => f.write_str("cut-before-commit"),
            Self::CutAfterCommit => f.write_str("cut-after-commit"),
            Self::CutMidBody => f.write_str("cut-mid-body"),
            Self::TooMany { retry_after, reset } => {
                f.write_str("too-many")?;
                if let Some(after) = retry_after {
                    write!(f, " retry-after {}", Spelled(*after))?;
                }
                reset.map_or(Ok(()), |reset| write!(f, " reset {reset}"))
            }
            Self::Redirect(location) => write!(f, "redirect {}", Quoted::word(location)),
            Self::Drip { bytes, pause } => write!(f, "drip {bytes} {}", Spelled(*pause)),
            Self::ContentType(content_type) => write!(f, "content-type {}", Quoted::word(content_type)),
            Self::HugeBody(size) => write!(f, "huge {size}"),
            Self::Gzip => f.write_str("gzip"),
            Self::BodyGarbage => f.write_str("garbage"),
            Self::Blind(duration) => write!(f, "blind {}", Spelled(*duration)),
            Self::Reject => f.write_str("reject"),
            Self::LateCommit { after, status } => {
                write!(f, "late-commit {}", Spelled(*after))?;
                status.map_or(Ok(()), |status| write!(f, " status {status}"))
            }
        }
    }
}
