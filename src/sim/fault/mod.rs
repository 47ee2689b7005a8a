//! Scripted faults: values that say what goes wrong, for which request or stream, and how often.
//!
//! A fault is a value in Rust and a line of text on the command line and at the admin endpoint:
//!
//! ```text
//! TARGET [~TEXT] [xN | N% | always]: WHAT
//!
//! submit_order: cut-after-commit                     the next order is taken, then the connection dies
//! submit_order x3: status 503                        the next three are answered so
//! get_order_by_client_order_id 10%: hang             one look-up in ten is never answered
//! any ~momentum. always: delay 200ms                 every request that speaks of "momentum." waits
//! stream: refuse 90s                                 upgrades of /stream are answered 429 for so long
//! stream 2.5%: duplicate                             one event in forty is sent twice
//! ```
//!
//! - TARGET is an endpoint's name ([`Endpoint::name`]), or `any` for every request. Upgrades are requests, too.
//! - `~TEXT` narrows to requests whose path, query or body contain it; a JSON string where it has blanks or colons.
//! - Without a word on how often it strikes once: the next request, the next event, or at once where the stream
//!   fault needs no event. A share is drawn per request or event from the seed, by a generator per fault.
//! - WHAT is a word and its arguments, of those below. TIME is `200ms`, `90s` or `2m`. A BODY is all
//!   that follows; a JSON string stands for the text in it. Times pass on the wall clock, whatever the venue's does.
//!
//! | for a request | |
//! |---|---|
//! | `status CODE [as TYPE] [BODY]` | answer this, do nothing |
//! | `status-after-commit CODE [as TYPE] [BODY]` | act, answer this instead |
//! | `html [CODE]` | answer a gateway's page (502), do nothing |
//! | `not-found` | answer 404 as for an unknown order, do nothing |
//! | `gateway-timeout-after-commit` | act, answer a gateway's 504 page |
//! | `delay TIME` | wait, then act and answer well |
//! | `delay-after-commit TIME` | act, wait, answer well |
//! | `hang` | never answer, do nothing |
//! | `hang-after-commit` | act, never answer |
//! | `cut-before-commit` | close the connection, do nothing |
//! | `cut-after-commit` | act, close the connection without an answer |
//! | `cut-mid-body` | act, close the connection inside the answer |
//! | `too-many [retry-after TIME] [reset EPOCH]` | answer 429 and these headers, do nothing |
//! | `redirect URL` | answer 307, do nothing |
//! | `drip BYTES TIME` | act, answer so many bytes per TIME |
//! | `content-type TYPE` | act, answer well under a wrong content type |
//! | `huge BYTES` | act, answer 200 with so many blanks |
//! | `gzip` | act, answer compressed though nobody asked |
//! | `garbage` | act, answer 200 with no JSON |
//! | `blind TIME` | act, answer well; look-ups miss the order for so long |
//! | `reject` | act, answer well; the market then rejects the order |
//! | `late-commit TIME [status CODE]` | cut, or answer this, now; act so much later |
//!
//! | for a stream | |
//! |---|---|
//! | `drop` | at once: the connection dies without a close frame |
//! | `end` | at once: a close frame, or the end of the body |
//! | `half-open [TIME]` | at once: no answer, not to pings; reaped after TIME (90s) |
//! | `mute [TIME]` | at once: pings are answered, events are lost |
//! | `unmute` | at once: events are heard again |
//! | `refuse TIME` | at once: upgrades are answered 429 |
//! | `replay [N]` | at once: the last N (3) events again, word for word |
//! | `garbage-frame` | at once: a frame that is no message |
//! | `null-data` | at once: a message whose data is null |
//! | `heartbeat` | at once: a frame of the byte 0x01 |
//! | `article LETTERS` | at once: so long an article, of news |
//! | `lose` | the next event is lost |
//! | `duplicate` | the next event is sent twice |
//! | `reorder` | the next event is sent after the one that follows |
//! | `without FIELD[,FIELD]` | the next event lacks these, such as event_id,timestamp |
//! | `other-opcode` | the next event is text instead of binary, or the reverse |
//!
//! Of the faults that are for one request, the one written first strikes; those after it wait in line. On a stream
//! every fault that is for an event strikes it, in the order written. What a text says is what [`std::fmt::Display`]
//! writes back.

mod matcher;
mod often;
mod perform;
mod reply;
mod stream;
mod strike;
mod text;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::core::Seeded;
use super::route::Endpoint;

pub use self::matcher::Matcher;
pub use self::often::{Often, Permille};
pub use self::reply::Reply;
pub use self::stream::StreamFault;
pub use self::text::FaultError;

pub(crate) use self::perform::{Blind, perform};
pub(crate) use self::stream::{Disturbed, Step, Weather, later};

use self::text::Cursor;

/// Faults waiting at most; further ones are refused.
const LINES_MAX: usize = 10_000;

/// A word of the vocabulary: how it is written and what it does.
#[derive(Debug)]
pub(crate) struct Word {
    usage: &'static str,
    does: &'static str,
}

impl Word {
    const fn new(usage: &'static str, does: &'static str) -> Self {
        Self { usage, does }
    }

    fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or_default()
    }
}

/// Every word a fault may use, a line each: those for requests, then those for streams.
pub fn vocabulary() -> String {
    let mut text = String::new();
    for (title, words) in [("For a request:", reply::WORDS), ("For a stream:", stream::WORDS)] {
        text.push_str(title);
        text.push('\n');
        for word in words {
            text.push_str(&format!("  {:<42} {}\n", word.usage, word.does));
        }
    }
    text
}

/// What goes wrong, for whom, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Requests are answered otherwise than well.
    Request {
        /// Which requests.
        matcher: Matcher,
        /// How many of them.
        often: Often,
        /// How.
        reply: Reply,
    },
    /// A stream misbehaves.
    Stream {
        /// Which stream.
        stream: Endpoint,
        /// How many of its events.
        often: Often,
        /// How.
        what: StreamFault,
    },
}

impl Fault {
    /// What a fault's text may begin with.
    pub fn targets() -> Vec<&'static str> {
        let names = Endpoint::ALL.iter().map(|endpoint| endpoint.name());
        std::iter::once("any").chain(names).collect()
    }

    /// The stream fault that is to strike now, if it is one.
    pub(crate) fn at_once(&self) -> Option<(Endpoint, &StreamFault)> {
        match self {
            Self::Stream {
                stream,
                often: Often::Once,
                what,
            } if what.is_immediate() => Some((*stream, what)),
            Self::Stream { .. } | Self::Request { .. } => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request {
                matcher,
                often,
                reply,
            } => write!(f, "{matcher}{often}: {reply}"),
            Self::Stream { stream, often, what } => write!(f, "{}{often}: {what}", stream.name()),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut cursor = Cursor::new(text);
        let (matcher, often) = head(&mut cursor)?;
        let word = cursor.word();
        if let Some(reply) = Reply::parse(word, &mut cursor) {
            let reply = reply?;
            cursor.finish()?;
            return Ok(Self::Request {
                matcher,
                often: often.unwrap_or(Often::Once),
                reply,
            });
        }
        let Some(what) = StreamFault::parse(word, &mut cursor) else {
            let is_stream = matcher.endpoint.is_some_and(Endpoint::is_stream);
            let for_streams = stream::WORDS.iter().filter(|_| is_stream);
            let words = reply::WORDS.iter().chain(for_streams).map(Word::name);
            return Err(FaultError::unknown("fault", word, words));
        };
        let what = what?;
        cursor.finish()?;
        let streams = || Endpoint::ALL.iter().filter(|endpoint| endpoint.is_stream());
        let Some(stream) = matcher.endpoint.filter(|endpoint| endpoint.is_stream()) else {
            let names: Vec<_> = streams().map(|endpoint| endpoint.name()).collect();
            return Err(FaultError::new(format!(
                "{word:?} is for streams, which are: {}",
                names.join(", ")
            )));
        };
        if matcher.containing.is_some() {
            return Err(FaultError::new(format!(
                "{word:?} is for a stream, which has no ~TEXT"
            )));
        }
        Ok(Self::Stream {
            stream,
            often: often.unwrap_or(Often::Once),
            what,
        })
    }
}

/// Everything up to the colon.
fn head(cursor: &mut Cursor<'_>) -> Result<(Matcher, Option<Often>), FaultError> {
    let target = cursor.head_word();
    let endpoint = Endpoint::named(target);
    if endpoint.is_none() && target != "any" {
        return Err(FaultError::unknown(
            "target",
            target,
            Fault::targets().into_iter(),
        ));
    }
    let (mut containing, mut often) = (None, None);
    while !cursor.eat(':') {
        if cursor.is_at_end() {
            return Err(FaultError::new(
                "a colon and what goes wrong are missing, as in `submit_order: hang`",
            ));
        }
        let twice = if cursor.eat('~') {
            containing.replace(cursor.head_text()?).is_some()
        } else {
            often.replace(Often::parse(cursor.head_word())?).is_some()
        };
        if twice {
            return Err(FaultError::new("the same is said twice before the colon"));
        }
    }
    Ok((Matcher { endpoint, containing }, often))
}

/// A fault that is still to come.
#[derive(Debug)]
struct Line {
    id: u64,
    fault: Fault,
    chance: Seeded,
}

impl Line {
    /// Does it strike this time? Only asked when it is for the request or event at hand.
    fn strikes(&mut self) -> bool {
        match self.often() {
            Often::Once | Often::Times(_) | Often::Always => true,
            Often::Rate(share) => self.chance.below(1000) < u64::from(share.get()),
        }
    }

    /// Counts a strike; false when it was the last.
    fn spend(&mut self) -> bool {
        let often = match &mut self.fault {
            Fault::Request { often, .. } | Fault::Stream { often, .. } => often,
        };
        match often {
            Often::Once => false,
            Often::Times(times) => {
                *times = times.saturating_sub(1);
                *times > 0
            }
            Often::Always | Often::Rate(_) => true,
        }
    }

    fn often(&self) -> Often {
        match self.fault {
            Fault::Request { often, .. } | Fault::Stream { often, .. } => often,
        }
    }
}

/// A fault that struck a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Struck {
    pub(crate) id: u64,
    pub(crate) reply: Reply,
}

/// The faults still to come, in the order they were written. Clones share one script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    seed: u64,
    written: u64,
    waiting: Vec<Line>,
}

impl Script {
    /// An empty script whose shares are drawn from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let script = Self::default();
        script.lines().seed = seed;
        script
    }

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
        self.request(Often::Times(times), matcher, reply);
    }

    /// Every matching request is answered so until [`Script::clear`].
    pub fn always(&self, matcher: impl Into<Matcher>, reply: Reply) {
        self.request(Often::Always, matcher, reply);
    }

    /// Forgets everything still to come.
    pub fn clear(&self) {
        self.lines().waiting.clear();
    }

    /// How many strikes are still to come; those without end are not counted.
    pub fn pending(&self) -> usize {
        let strikes = |line: &Line| match line.often() {
            Often::Once => 1,
            Often::Times(times) => times,
            Often::Always | Often::Rate(_) => 0,
        };
        self.lines().waiting.iter().map(strikes).sum()
    }

    /// What is still to come, with the number each was given.
    pub fn faults(&self) -> Vec<(u64, Fault)> {
        let lines = self.lines();
        let rows = lines.waiting.iter();
        rows.map(|line| (line.id, line.fault.clone())).collect()
    }

    /// Takes one fault back; false when it is not waiting any more.
    pub fn remove(&self, id: u64) -> bool {
        let mut lines = self.lines();
        let at = lines.waiting.iter().position(|line| line.id == id);
        at.map(|at| lines.waiting.remove(at)).is_some()
    }

    /// Writes a fault down and gives it a number. One that is to strike at once is not for the script.
    pub(crate) fn write(&self, fault: Fault) -> Result<u64, FaultError> {
        let mut lines = self.lines();
        if lines.waiting.len() == LINES_MAX {
            return Err(FaultError::new(format!("{LINES_MAX} faults are waiting already")));
        }
        let id = lines.number();
        let chance = Seeded::for_name(lines.seed, &format!("fault {id}"));
        lines.waiting.push(Line { id, fault, chance });
        Ok(id)
    }

    /// A number for a fault that struck at once.
    pub(crate) fn number(&self) -> u64 {
        self.lines().number()
    }

    /// The fault that strikes this request, if one does.
    pub(crate) fn take(&self, endpoint: Option<Endpoint>, target: &str, body: &[u8]) -> Option<Struck> {
        let mut lines = self.lines();
        if lines.waiting.is_empty() {
            return None;
        }
        let body = String::from_utf8_lossy(body);
        for at in 0..lines.waiting.len() {
            let line = lines.waiting.get_mut(at)?;
            let reply = match &line.fault {
                Fault::Request { matcher, reply, .. } if matcher.matches(endpoint, target, &body) => {
                    reply.clone()
                }
                Fault::Request { .. } | Fault::Stream { .. } => continue,
            };
            if line.strikes() {
                let id = line.id;
                if !line.spend() {
                    lines.waiting.remove(at);
                }
                return Some(Struck { id, reply });
            }
        }
        None
    }

    /// The faults that strike the next event of a stream.
    pub(crate) fn disturb(&self, stream: Endpoint) -> Vec<(u64, StreamFault)> {
        let mut struck = Vec::new();
        self.lines().waiting.retain_mut(|line| {
            let what = match &line.fault {
                Fault::Stream { stream: of, what, .. } if *of == stream => what.clone(),
                Fault::Request { .. } | Fault::Stream { .. } => return true,
            };
            if !line.strikes() {
                return true;
            }
            struck.push((line.id, what));
            line.spend()
        });
        struck
    }

    /// Faults beyond the bound are forgotten: a test that writes ten thousand has lost count.
    fn request(&self, often: Often, matcher: impl Into<Matcher>, reply: Reply) {
        if often == Often::Times(0) {
            return;
        }
        let matcher = matcher.into();
        let written = self.write(Fault::Request {
            matcher,
            often,
            reply,
        });
        if let Err(error) = written {
            tracing::warn!(%error, "fault is forgotten");
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn number(&mut self) -> u64 {
        self.written += 1;
        self.written
    }
}

#[cfg(test)]
mod tests;
