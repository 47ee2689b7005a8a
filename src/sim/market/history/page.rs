//! Many rows of many symbols, a page at a time.
//!
//! The tape is read in windows, an hour of ticks or a day of bars, in the direction asked for, and only until the page is
//! full or enough of it was read: a page may then hold fewer rows than it might, and the next one goes on from there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};

use super::super::super::core::tape::{Recording, Tape, Timeframe};
use super::super::super::core::{Asset, Refusal, day_begins_at, new_york_day};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The venue's history begins here; that of a recording with it.
const HISTORY_BEGINS: Date = date(2016, 1, 1);
/// Windows of one page at most: the next page goes on where the work was put down.
const WINDOWS_MAX: (usize, i32) = (20_000, 3_000);

/// When history begins.
pub(super) fn begins_at(tape: &Tape) -> Timestamp {
    let usual = day_begins_at(HISTORY_BEGINS);
    let recorded = tape.recording().and_then(Recording::begins_at);
    recorded.map_or(usual, |at| usual.min(day_begins_at(new_york_day(at))))
}

/// Which rows, in which order, and how many of them at once.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    pub(super) from: Timestamp,
    /// The last moment, included.
    pub(super) to: Timestamp,
    /// Nothing is told of the time before.
    pub(super) begins_at: Timestamp,
    pub(super) descending: bool,
    pub(super) limit: usize,
    pub(super) token: Option<Token>,
}

/// Where a page begins: a symbol, a moment, and how many rows of just that moment were told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) symbol: String,
    pub(super) at: Timestamp,
    pub(super) told: usize,
}

impl Token {
    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!(
            "{}|{}|{}",
            self.symbol,
            self.at.as_nanosecond(),
            self.told
        ))
    }

    pub(super) fn decode(text: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::data(400, "invalid page token");
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let mut parts = text.split('|');
        let (Some(symbol), Some(at), Some(told), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        Ok(Self {
            symbol: symbol.to_owned(),
            at: at
                .parse()
                .ok()
                .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())
                .ok_or_else(invalid)?,
            told: told.parse().map_err(|_| invalid())?,
        })
    }
}

/// How much of the tape is read at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Window {
    /// Ticks: full hours.
    Hour,
    /// Bars: what one bar of whole days covers, or one day.
    Days(Timeframe),
}

/// One page: the rows of each symbol that has any, by symbol, and where the next page begins.
pub(super) struct Page<R> {
    pub(super) rows: Vec<(String, Vec<R>)>,
    pub(super) next: Option<Token>,
}

/// Collects a page. `read` gives the rows of one asset in a window, oldest first, each with its moment; rows beyond the
/// edges of the range may be among them.
pub(super) fn page<R>(
    pages: &Pages,
    assets: &[Asset],
    window: Window,
    read: impl Fn(&Asset, Timestamp, Timestamp) -> Vec<(Timestamp, R)>,
) -> Page<R> {
    let mut page = Page {
        rows: Vec::new(),
        next: None,
    };
    let mut room = pages.limit;
    let mut budget = Budget::default();
    for asset in assets {
        let token = pages.token.as_ref();
        // Symbols come in alphabetical order, in both directions of time.
        if token.is_some_and(|token| asset.symbol < token.symbol) {
            continue;
        }
        let token = token.filter(|token| token.symbol == asset.symbol);
        let mut reader = Windows::new(pages, token, window);
        let mut rows = Vec::new();
        let mut told = token.map_or((Timestamp::MIN, 0), |token| (token.at, 0));
        let skip = token.map_or(0, |token| token.told);
        while let Some((begin, end)) = reader.next() {
            if !budget.spend(window, begin, end) {
                page.next = Some(Token {
                    symbol: asset.symbol.clone(),
                    at: if pages.descending {
                        end - SignedDuration::from_nanos(1)
                    } else {
                        begin
                    },
                    told: 0,
                });
                break;
            }
            let mut found = read(asset, begin, end);
            if pages.descending {
                found.reverse();
            }
            for (at, row) in found {
                if at < pages.from || at > pages.to || reader.is_before_token(at) {
                    continue;
                }
                told = if told.0 == at { (at, told.1 + 1) } else { (at, 1) };
                if token.is_some_and(|token| token.at == at) && told.1 <= skip {
                    continue;
                }
                if room == 0 {
                    page.next = Some(Token {
                        symbol: asset.symbol.clone(),
                        at,
                        told: told.1 - 1,
                    });
                    break;
                }
                room -= 1;
                rows.push(row);
            }
            if page.next.is_some() {
                break;
            }
        }
        if !rows.is_empty() {
            page.rows.push((asset.symbol.clone(), rows));
        }
        if page.next.is_some() {
            break;
        }
    }
    page
}

/// The work that one page may make.
#[derive(Default)]
struct Budget {
    windows: usize,
    days: i32,
}

impl Budget {
    /// Is there any left for this window? The first one always is.
    fn spend(&mut self, window: Window, begin: Timestamp, end: Timestamp) -> bool {
        let (windows_max, days_max) = WINDOWS_MAX;
        let is_first = self.windows == 0;
        self.windows += 1;
        if let Window::Days(_) = window {
            let days = end.duration_since(begin).as_hours() / 24;
            self.days = self
                .days
                .saturating_add(i32::try_from(days).unwrap_or(i32::MAX).max(1));
        }
        is_first || (self.windows <= windows_max && self.days <= days_max)
    }
}

/// Windows that cover the range from the token on, in the direction of the pages.
struct Windows {
    window: Window,
    descending: bool,
    /// First and last moment still to be covered.
    from: Timestamp,
    to: Timestamp,
    token: Option<Timestamp>,
}

impl Windows {
    fn new(pages: &Pages, token: Option<&Token>, window: Window) -> Self {
        let token = token.map(|token| token.at);
        let (mut from, mut to) = (pages.from.max(pages.begins_at), pages.to);
        match token {
            Some(at) if pages.descending => to = to.min(at),
            Some(at) => from = from.max(at),
            None => {}
        }
        Self {
            window,
            descending: pages.descending,
            from,
            to,
            token,
        }
    }

    fn is_before_token(&self, at: Timestamp) -> bool {
        self.token
            .is_some_and(|token| if self.descending { at > token } else { at < token })
    }

    /// The next window, its end not included; it may reach beyond the range.
    fn next(&mut self) -> Option<(Timestamp, Timestamp)> {
        if self.from > self.to {
            return None;
        }
        let at = if self.descending { self.to } else { self.from };
        let (mut begin, mut end) = self.around(at);
        if matches!(self.window, Window::Hour) {
            // Ticks need not be made to be thrown away; a bar needs all of its day.
            let last = self
                .to
                .checked_add(SignedDuration::from_nanos(1))
                .unwrap_or(self.to);
            (begin, end) = (begin.max(self.from), end.min(last));
        }
        if self.descending {
            self.to = begin.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        } else {
            self.from = end;
        }
        Some((begin, end))
    }

    fn around(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        match self.window {
            Window::Hour => {
                let hour = HOUR.as_secs();
                let begin = at.as_second().div_euclid(hour) * hour;
                let begin = Timestamp::from_second(begin).unwrap_or(at);
                (begin, begin.checked_add(HOUR).unwrap_or(Timestamp::MAX))
            }
            Window::Days(timeframe) => {
                let day = new_york_day(at);
                let next = timeframe.next_day(day);
                (
                    day_begins_at(timeframe.first_day(day)),
                    day_begins_at(next).max(at + SignedDuration::from_nanos(1)),
                )
            }
        }
    }
}
