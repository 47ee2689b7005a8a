//! What can go wrong on a stream, whichever it is and whatever it carries.
//!
//! A stream's own code asks the script which faults strike an event, lets [`Disturbed::pass`] turn the event into
//! [`Step`]s, and carries these out. A frame is JSON text here; how it is encoded comes after. A stream that is to misbehave
//! is one of `Endpoint::is_stream`, keeps a [`Weather`], and is reached by `Shared::strike`.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Word;
use super::text::{Cursor, FaultError, Spelled};

/// A half-open connection is reaped after this, unless told otherwise: what clients report of the venue.
const REAPED_AFTER: Duration = Duration::from_secs(90);
/// Names a fault may leave out; a name is a JSON key.
const FIELDS_MAX: usize = 16;
/// Letters of an article at most.
const ARTICLE_MAX: usize = 64 * 1024 * 1024;
/// Copies of one event, however many faults double it.
const COPIES_MAX: usize = 64;

/// What can go wrong on a stream. "The event" is the one that the fault strikes; a fault that needs none strikes at
/// once when it is to strike once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// The connection dies without a close frame, and the event with it.
    Drop,
    /// The connection ends as it should: a close frame, or the end of the body. The event is lost.
    End,
    /// The connection stays, but nothing is read or sent any more, pings included, until it is reaped after so long.
    /// The event is lost, and the slot is taken.
    HalfOpen(Duration),
    /// Pings are answered and events are lost, for so long or until `Unmute`.
    Mute(Option<Duration>),
    /// Events are heard again.
    Unmute,
    /// Upgrades are answered with 429 for so long.
    Refuse(Duration),
    /// The event is lost.
    Lose,
    /// The event is sent twice.
    Duplicate,
    /// The event is sent after the one that follows it; it is lost when none does.
    Reorder,
    /// So many of the latest events are sent again word for word, old times included, before the event.
    Replay(usize),
    /// A frame that is no message is sent before the event.
    Garbage,
    /// A message whose data is null is sent before the event.
    NullData,
    /// The event is sent without these fields of its data.
    Without(Vec<String>),
    /// A frame of the single byte 0x01 is sent before the event.
    Heartbeat,
    /// An article of so many letters is sent before the event, on the stream of news.
    Article(usize),
    /// The event is sent in a text frame where it should be binary, and the other way round.
    OtherOpcode,
}

/// The words, as `--help` and complaints show them.
pub(super) const WORDS: &[Word] = &[
    Word::new("drop", "at once: the connection dies without a close frame"),
    Word::new("end", "at once: a close frame, or the end of the body"),
    Word::new(
        "half-open [TIME]",
        "at once: no answer, not to pings; reaped after TIME (90s)",
    ),
    Word::new("mute [TIME]", "at once: pings are answered, events are lost"),
    Word::new("unmute", "at once: events are heard again"),
    Word::new("refuse TIME", "at once: upgrades are answered 429"),
    Word::new(
        "replay [N]",
        "at once: the last N (3) events again, word for word",
    ),
    Word::new("garbage-frame", "at once: a frame that is no message"),
    Word::new("null-data", "at once: a message whose data is null"),
    Word::new("heartbeat", "at once: a frame of the byte 0x01"),
    Word::new("article LETTERS", "at once: so long an article, of news"),
    Word::new("lose", "the next event is lost"),
    Word::new("duplicate", "the next event is sent twice"),
    Word::new("reorder", "the next event is sent after the one that follows"),
    Word::new(
        "without FIELD[,FIELD]",
        "the next event lacks these, such as event_id,timestamp",
    ),
    Word::new(
        "other-opcode",
        "the next event is text instead of binary, or the reverse",
    ),
];

impl StreamFault {
    /// Does it strike without an event?
    pub(crate) fn is_immediate(&self) -> bool {
        match self {
            Self::Drop
            | Self::End
            | Self::HalfOpen(_)
            | Self::Mute(_)
            | Self::Unmute
            | Self::Refuse(_)
            | Self::Replay(_)
            | Self::Garbage
            | Self::NullData
            | Self::Heartbeat
            | Self::Article(_) => true,
            Self::Lose | Self::Duplicate | Self::Reorder | Self::Without(_) | Self::OtherOpcode => false,
        }
    }

    /// Reads what follows `word`; none when the word is no stream fault's.
    pub(super) fn parse(word: &str, cursor: &mut Cursor<'_>) -> Option<Result<Self, FaultError>> {
        Some(match word {
            "drop" => Ok(Self::Drop),
            "end" => Ok(Self::End),
            "half-open" if cursor.is_at_end() => Ok(Self::HalfOpen(REAPED_AFTER)),
            "half-open" => cursor.duration().map(Self::HalfOpen),
            "mute" if cursor.is_at_end() => Ok(Self::Mute(None)),
            "mute" => cursor.duration().map(Some).map(Self::Mute),
            "unmute" => Ok(Self::Unmute),
            "refuse" => cursor.duration().map(Self::Refuse),
            "lose" => Ok(Self::Lose),
            "duplicate" => Ok(Self::Duplicate),
            "reorder" => Ok(Self::Reorder),
            "replay" if cursor.is_at_end() => Ok(Self::Replay(3)),
            "replay" => cursor.number("count of events").map(Self::Replay),
            "garbage-frame" => Ok(Self::Garbage),
            "null-data" => Ok(Self::NullData),
            "without" => fields(cursor.word()).map(Self::Without),
            "heartbeat" => Ok(Self::Heartbeat),
            "article" => cursor
                .number("count of letters")
                .map(|letters: usize| Self::Article(letters.min(ARTICLE_MAX))),
            "other-opcode" => Ok(Self::OtherOpcode),
            _ => return None,
        })
    }
}

fn fields(word: &str) -> Result<Vec<String>, FaultError> {
    let names: Vec<String> = word.split(',').map(str::to_owned).collect();
    let is_name = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if names.len() <= FIELDS_MAX && names.iter().all(is_name) {
        Ok(names)
    } else {
        let hint = "names are expected, such as execution_id,event_id,timestamp";
        Err(FaultError::new(format!("{word:?} is no list of fields: {hint}")))
    }
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::End => f.write_str("end"),
            Self::HalfOpen(duration) => write!(f, "half-open {}", Spelled(*duration)),
            Self::Mute(None) => f.write_str("mute"),
            Self::Mute(Some(duration)) => write!(f, "mute {}", Spelled(*duration)),
            Self::Unmute => f.write_str("unmute"),
            Self::Refuse(duration) => write!(f, "refuse {}", Spelled(*duration)),
            Self::Lose => f.write_str("lose"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Reorder => f.write_str("reorder"),
            Self::Replay(count) => write!(f, "replay {count}"),
            Self::Garbage => f.write_str("garbage-frame"),
            Self::NullData => f.write_str("null-data"),
            Self::Without(fields) => write!(f, "without {}", fields.join(",")),
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Article(letters) => write!(f, "article {letters}"),
            Self::OtherOpcode => f.write_str("other-opcode"),
        }
    }
}

/// One thing a stream has to do for an event, or for a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this message, in the other kind of frame if so marked.
    Send { frame: Utf8Bytes, other_opcode: bool },
    /// Send something that is no message.
    Garbage,
    /// Send a message whose data is null.
    NullData,
    /// Send the byte 0x01.
    Heartbeat,
    /// Send an article of so many letters.
    Article(usize),
    /// Send so many of the latest events again.
    Replay(usize),
    /// Change the stream as a whole: mute, unmute, refuse.
    Strike(StreamFault),
    /// Die.
    Drop,
    /// End cleanly.
    End,
    /// Read and send nothing until this has passed, then die.
    HalfOpen(Duration),
}

/// The faults of one connection: what must be remembered from one event to the next.
#[derive(Debug, Default)]
pub(crate) struct Disturbed {
    held: Option<Utf8Bytes>,
}

impl Disturbed {
    /// The event that is held back.
    pub(crate) fn held(&self) -> Option<&str> {
        self.held.as_deref()
    }

    /// What goes onto the wire for an event that `faults` strike, in this order: extras, the event, what was held back,
    /// and the end of the connection.
    pub(crate) fn pass(&mut self, faults: &[StreamFault], event: Utf8Bytes) -> Vec<Step> {
        let mut steps = Vec::with_capacity(1);
        let (mut copies, mut hold, mut other_opcode, mut last) = (1, false, false, None);
        let mut event = event;
        for fault in faults {
            match fault {
                StreamFault::Drop
                | StreamFault::End
                | StreamFault::HalfOpen(_)
                | StreamFault::Lose
                | StreamFault::Mute(_) => copies = 0,
                StreamFault::Duplicate => copies = COPIES_MAX.min(copies * 2),
                StreamFault::Reorder => hold = true,
                StreamFault::Without(fields) => event = without(&event, fields),
                StreamFault::OtherOpcode => other_opcode = true,
                StreamFault::Unmute
                | StreamFault::Refuse(_)
                | StreamFault::Replay(_)
                | StreamFault::Garbage
                | StreamFault::NullData
                | StreamFault::Heartbeat
                | StreamFault::Article(_) => {}
            }
            match Self::at_once(fault) {
                Some(step @ (Step::Drop | Step::End | Step::HalfOpen(_))) => last = Some(step),
                step => steps.extend(step),
            }
        }
        let hold = hold && copies > 0 && self.held.is_none();
        if hold {
            self.held = Some(event);
        } else {
            let frame = Step::Send {
                frame: event,
                other_opcode,
            };
            steps.extend(std::iter::repeat_n(frame, copies));
            steps.extend(self.held.take().map(|frame| Step::Send {
                frame,
                other_opcode: false,
            }));
        }
        steps.extend(last);
        steps
    }

    /// What a fault asks for without an event; nothing if it needs one.
    pub(crate) fn at_once(fault: &StreamFault) -> Option<Step> {
        match fault {
            StreamFault::Drop => Some(Step::Drop),
            StreamFault::End => Some(Step::End),
            StreamFault::HalfOpen(duration) => Some(Step::HalfOpen(*duration)),
            StreamFault::Mute(_) | StreamFault::Unmute | StreamFault::Refuse(_) => {
                Some(Step::Strike(fault.clone()))
            }
            StreamFault::Replay(count) => Some(Step::Replay(*count)),
            StreamFault::Garbage => Some(Step::Garbage),
            StreamFault::NullData => Some(Step::NullData),
            StreamFault::Heartbeat => Some(Step::Heartbeat),
            StreamFault::Article(letters) => Some(Step::Article(*letters)),
            StreamFault::Lose
            | StreamFault::Duplicate
            | StreamFault::Reorder
            | StreamFault::Without(_)
            | StreamFault::OtherOpcode => None,
        }
    }
}

/// The message without some fields of its data; of the message itself, or of each in a list, when it has no data: events
/// over SSE and market data have none.
fn without(event: &Utf8Bytes, fields: &[String]) -> Utf8Bytes {
    let Ok(mut message) = serde_json::from_str::<serde_json::Value>(event) else {
        return event.clone();
    };
    let targets: Vec<&mut serde_json::Value> = if message.get("data").is_some() {
        message.get_mut("data").into_iter().collect()
    } else if let serde_json::Value::Array(messages) = &mut message {
        messages.iter_mut().collect()
    } else {
        vec![&mut message]
    };
    for target in targets {
        if let Some(target) = target.as_object_mut() {
            target.retain(|key, _| !fields.contains(key));
        }
    }
    message.to_string().into()
}

/// What a stream as a whole suffers, whoever is connected.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    refuse_until: Option<Instant>,
    /// Muted; until when, if that is known.
    muted: Option<Option<Instant>>,
}

impl Weather {
    /// Takes a fault that concerns the stream as a whole; others are for its connections.
    pub(crate) fn strike(&mut self, fault: &StreamFault) {
        match fault {
            StreamFault::Mute(duration) => self.muted = Some(duration.map(later)),
            StreamFault::Unmute => self.muted = None,
            StreamFault::Refuse(duration) => self.refuse_until = Some(later(*duration)),
            StreamFault::Drop
            | StreamFault::End
            | StreamFault::HalfOpen(_)
            | StreamFault::Lose
            | StreamFault::Duplicate
            | StreamFault::Reorder
            | StreamFault::Replay(_)
            | StreamFault::Garbage
            | StreamFault::NullData
            | StreamFault::Without(_)
            | StreamFault::Heartbeat
            | StreamFault::Article(_)
            | StreamFault::OtherOpcode => {}
        }
    }

    pub(crate) fn refuses(&self) -> bool {
        self.refuse_until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted
            .is_some_and(|until| until.is_none_or(|until| Instant::now() < until))
    }
}

/// So long from now; further away than anybody waits when that cannot be said.
pub(crate) fn later(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR)
}
