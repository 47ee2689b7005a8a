//! Reading and spelling the pieces of a fault's text: words, quoted texts, durations, shares of a thousand.

use std::fmt;
use std::time::Duration;

/// Longest wait a text may ask for; a longer one is a slip of the pen.
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The units of a duration in nanoseconds, finest first.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no fault. Names the word that is wrong and what could stand there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultError(String);

impl FaultError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// `found` stands where one of `expected` should.
    pub(super) fn unknown<'a>(what: &str, found: &str, expected: impl Iterator<Item = &'a str>) -> Self {
        let expected: Vec<_> = expected.collect();
        let found = if found.is_empty() {
            format!("{what} is missing")
        } else {
            format!("unknown {what} {found:?}")
        };
        Self(format!("{found}; valid are: {}", expected.join(", ")))
    }
}

/// What is still to be read.
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    /// The next word before white space or a colon; empty at the end.
    pub(super) fn head_word(&mut self) -> &'a str {
        self.until(|c| c.is_whitespace() || c == ':')
    }

    /// The next word before white space; empty at the end.
    pub(super) fn word(&mut self) -> &'a str {
        self.until(char::is_whitespace)
    }

    /// Takes `expected` if it is next.
    pub(super) fn eat(&mut self, expected: char) -> bool {
        let rest = self.rest.strip_prefix(expected);
        if let Some(rest) = rest {
            self.rest = rest.trim_start();
        }
        rest.is_some()
    }

    /// Takes `expected` if it is the next word.
    pub(super) fn eat_word(&mut self, expected: &str) -> bool {
        let rest = self.rest.strip_prefix(expected);
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if let Some(rest) = rest {
            self.rest = rest.trim_start();
        }
        rest.is_some()
    }

    /// A JSON string, or a word as `head_word` reads it.
    pub(super) fn head_text(&mut self) -> Result<String, FaultError> {
        self.quoted().unwrap_or_else(|| Ok(self.head_word().to_owned()))
    }

    /// A JSON string, or a word as `word` reads it.
    pub(super) fn text(&mut self) -> Result<String, FaultError> {
        self.quoted().unwrap_or_else(|| Ok(self.word().to_owned()))
    }

    /// A JSON string, or all that is left; none at the end.
    pub(super) fn remainder(&mut self) -> Result<Option<String>, FaultError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let all = |cursor: &mut Self| Ok(std::mem::take(&mut cursor.rest).to_owned());
        self.quoted().unwrap_or_else(|| all(self)).map(Some)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), FaultError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(FaultError::new(format!(
            "{:?} is more than was expected",
            self.rest
        )))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, FaultError> {
        duration(self.word())
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, FaultError> {
        let word = self.word();
        word.parse()
            .map_err(|_| FaultError::new(format!("{word:?} is no {what}: a number is expected")))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn quoted(&mut self) -> Option<Result<String, FaultError>> {
        if !self.rest.starts_with('"') {
            return None;
        }
        let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let read = match strings.next() {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) | None => Err(FaultError::new(format!(
                "{:?} begins with a quote but is no JSON string",
                self.rest
            ))),
        };
        self.rest = self
            .rest
            .get(strings.byte_offset()..)
            .unwrap_or_default()
            .trim_start();
        Some(read)
    }

    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let at = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(at);
        self.rest = rest.trim_start();
        word
    }
}

/// `200ms`, `90s`, `2m`: a whole number and its unit.
pub(super) fn duration(word: &str) -> Result<Duration, FaultError> {
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let hint = "a duration is expected, such as 200ms, 90s or 2m";
        return Err(FaultError::new(format!("{word:?} is no duration: {hint}")));
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(*nanos))
        .map(Duration::from_nanos)
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| FaultError::new(format!("{word:?} is no duration of at most 30 days")))
}

/// A duration in its coarsest unit up to seconds.
pub(super) struct Spelled(pub(super) Duration);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let units = UNITS.iter().take(4).rev();
        let unit = units
            .clone()
            .find(|(_, unit)| nanos.is_multiple_of(u128::from(*unit)));
        let (name, unit) = unit.unwrap_or(&UNITS[0]);
        write!(f, "{}{name}", nanos / u128::from(*unit))
    }
}

/// A text as it is when a reader finds its end by itself, else as a JSON string.
pub(super) struct Quoted<'a> {
    pub(super) text: &'a str,
    /// Would this text, unquoted, be read as something else?
    pub(super) ambiguous: bool,
}

impl<'a> Quoted<'a> {
    /// One word of a fault's head.
    pub(super) fn head_word(text: &'a str) -> Self {
        let breaks = |c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '"';
        let ambiguous = text.is_empty() || text.contains(breaks);
        Self { text, ambiguous }
    }

    /// One word.
    pub(super) fn word(text: &'a str) -> Self {
        let breaks = |c: char| c.is_whitespace() || c.is_control() || c == '"';
        let ambiguous = text.is_empty() || text.contains(breaks);
        Self { text, ambiguous }
    }

    /// Everything to the end of the line.
    pub(super) fn remainder(text: &'a str) -> Self {
        let ambiguous = text.is_empty()
            || text.trim() != text
            || text.starts_with('"')
            || text.contains(char::is_control);
        Self { text, ambiguous }
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ambiguous {
            write!(f, "{}", serde_json::Value::from(self.text))
        } else {
            f.write_str(self.text)
        }
    }
}
