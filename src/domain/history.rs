//! A question for bars of the past, and its laws.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Symbol;
use super::market::MarketClass;

/// Symbols of one question: an address has its limits.
pub const SYMBOLS_MAX: usize = 100;
/// Bars of one answer at most: so many fit into a message, in JSON, too.
pub const LIMIT_MAX: u32 = 5000;
/// Bars of one answer, unless another number is asked for.
pub const LIMIT_DEFAULT: u32 = 1000;
/// The place where the days of shares begin and end.
const EXCHANGE: &str = "America/New_York";

/// What is wrong with a question: the field, and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct QuestionError {
    field: &'static str,
    problem: String,
}

impl QuestionError {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { field, problem }
    }
}

/// What the length of a bar is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

/// How long a bar is: a number the venue knows, of a unit it knows.
///
/// The rule is the venue's: 1 to 59 minutes, 1 to 23 hours, a day, a week, or 1, 2, 3, 4, 6 or 12 months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeframe {
    count: u8,
    unit: Unit,
}

impl Timeframe {
    /// One minute, as bars are on the stream.
    pub const MINUTE: Self = Self {
        count: 1,
        unit: Unit::Minute,
    };

    /// Reads `1Min`, `15T`, `1Hour`, `4H`, `1Day`, `1D`, `1Week`, `1W`, `3Month`, `12M`; words in any case, letters as the
    /// venue has them.
    pub fn parse(text: &str) -> Result<Self, QuestionError> {
        let refused = || {
            let known = "write 1Min to 59Min, 1Hour to 23Hour, 1Day, 1Week, or 1, 2, 3, 4, 6 or 12Month";
            QuestionError::new("timeframe", format!("{text:?} is none; {known}"))
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, word) = text.split_at(digits);
        let unit = match word {
            "T" => Unit::Minute,
            "H" => Unit::Hour,
            "D" => Unit::Day,
            "W" => Unit::Week,
            "M" => Unit::Month,
            word => match word.to_ascii_lowercase().as_str() {
                "min" => Unit::Minute,
                "hour" => Unit::Hour,
                "day" => Unit::Day,
                "week" => Unit::Week,
                "month" => Unit::Month,
                _ => return Err(refused()),
            },
        };
        let count: u8 = count.parse().map_err(|_| refused())?;
        let is_known = match unit {
            Unit::Minute => (1..=59).contains(&count),
            Unit::Hour => (1..=23).contains(&count),
            Unit::Day | Unit::Week => count == 1,
            Unit::Month => [1, 2, 3, 4, 6, 12].contains(&count),
        };
        if is_known {
            Ok(Self { count, unit })
        } else {
            Err(refused())
        }
    }

    /// Bars of less than a day.
    pub const fn is_intraday(self) -> bool {
        matches!(self.unit, Unit::Minute | Unit::Hour)
    }

    /// No bar is longer than this.
    pub fn longest(self) -> SignedDuration {
        let count = i64::from(self.count);
        match self.unit {
            Unit::Minute => SignedDuration::from_mins(count),
            Unit::Hour => SignedDuration::from_hours(count),
            // A day in which a clock was put back has 25 hours.
            Unit::Day => SignedDuration::from_hours(25),
            Unit::Week => SignedDuration::from_hours(7 * 24 + 1),
            Unit::Month => SignedDuration::from_hours(count * 31 * 24 + 1),
        }
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Minute => "Min",
            Unit::Hour => "Hour",
            Unit::Day => "Day",
            Unit::Week => "Week",
            Unit::Month => "Month",
        };
        write!(f, "{}{unit}", self.count)
    }
}

/// What prices of the past are adjusted for. Ordered, so that one thing has one spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adjustment(String);

impl Adjustment {
    const WORDS: [&'static str; 5] = ["raw", "split", "dividend", "spin-off", "all"];

    /// Reads `raw`, `split`, `dividend`, `spin-off`, `all`, or several with commas; `""` is raw.
    pub fn parse(text: &str) -> Result<Self, QuestionError> {
        let mut words: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        words.sort_unstable();
        words.dedup();
        if let Some(other) = words.iter().find(|word| !Self::WORDS.contains(word)) {
            let known = Self::WORDS.join(", ");
            let problem = format!("{other:?} is none; write of {known}");
            return Err(QuestionError::new("adjustment", problem));
        }
        if words.len() > 1 && words.iter().any(|word| ["raw", "all"].contains(word)) {
            let problem = "raw and all stand alone";
            return Err(QuestionError::new("adjustment", problem));
        }
        Ok(Self(if words.is_empty() {
            "raw".to_owned()
        } else {
            words.join(",")
        }))
    }

    /// Prices as they were paid; they are never changed afterwards.
    pub fn is_raw(&self) -> bool {
        self.0 == "raw"
    }

    /// The venue's spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which bars: all there are of these symbols that began from `from` on and before `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarsQuestion {
    class: MarketClass,
    symbols: Vec<Symbol>,
    timeframe: Timeframe,
    from: Timestamp,
    until: Timestamp,
    open_ended: bool,
    adjustment: Adjustment,
    feed: String,
}

impl BarsQuestion {
    /// Checks a question. An empty feed leaves the choice to the venue.
    pub fn new(
        class: MarketClass,
        symbols: Vec<Symbol>,
        timeframe: Timeframe,
        (from, until): (Timestamp, Timestamp),
        adjustment: Adjustment,
        feed: &str,
    ) -> Result<Self, QuestionError> {
        let feeds: &[&str] = match class {
            MarketClass::Stocks => &["sip", "iex", "otc", "boats"],
            MarketClass::Crypto => &["us", "us-1", "eu-1"],
            MarketClass::Options => &[],
            MarketClass::News => {
                let problem = "news have no bars; write one of stocks, crypto, options";
                return Err(QuestionError::new("class", problem));
            }
        };
        if !feed.is_empty() && !feeds.contains(&feed) {
            let known = if feeds.is_empty() {
                "leave it out".to_owned()
            } else {
                format!("write one of {}", feeds.join(", "))
            };
            let problem = format!("bars of {} have no feed {feed:?}; {known}", class.as_str());
            return Err(QuestionError::new("feed", problem));
        }
        if !adjustment.is_raw() && class != MarketClass::Stocks {
            let problem = "stocks alone are adjusted; leave it out";
            return Err(QuestionError::new("adjustment", problem));
        }
        if symbols.is_empty() {
            return Err(QuestionError::new("symbols", "is required; name one"));
        }
        if let Some(symbol) = symbols.iter().find(|symbol| symbol.as_str().contains(',')) {
            let problem = format!("{:?} is no symbol; write each by itself", symbol.as_str());
            return Err(QuestionError::new("symbols", problem));
        }
        if symbols.len() > SYMBOLS_MAX {
            let problem = format!("{} are too many; ask for {SYMBOLS_MAX} at a time", symbols.len());
            return Err(QuestionError::new("symbols", problem));
        }
        if from >= until {
            let problem = format!("{until} is not after start, {from}");
            return Err(QuestionError::new("end", problem));
        }
        Ok(Self {
            class,
            symbols,
            timeframe,
            from,
            until,
            open_ended: false,
            adjustment,
            feed: feed.to_owned(),
        })
    }

    /// The same without an end: until then, or less, where the plan does not see the present.
    #[must_use]
    pub fn open_ended(self) -> Self {
        Self {
            open_ended: true,
            ..self
        }
    }

    /// The same of another stretch of time. `None`: it has no length.
    pub fn within(&self, from: Timestamp, until: Timestamp) -> Option<Self> {
        (from < until).then(|| Self {
            from,
            until,
            open_ended: self.open_ended && until == self.until,
            ..self.clone()
        })
    }

    /// The same of one symbol.
    pub fn of(&self, symbol: &Symbol) -> Self {
        Self {
            symbols: vec![symbol.clone()],
            ..self.clone()
        }
    }

    /// Shares, coins or contracts.
    pub const fn class(&self) -> MarketClass {
        self.class
    }

    /// Of what; at least one.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// How long each is.
    pub const fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// The first moment.
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// The first moment after.
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether the end is the present, as far as the plan sees it.
    pub const fn is_open_ended(&self) -> bool {
        self.open_ended
    }

    /// What prices are adjusted for.
    pub const fn adjustment(&self) -> &Adjustment {
        &self.adjustment
    }

    /// The feed; empty for the one the venue chooses.
    pub fn feed(&self) -> &str {
        &self.feed
    }
}

/// Reads a moment: RFC 3339, or a date, which is the midnight it begins with: in New York, for coins in UTC.
pub fn moment(field: &'static str, text: &str, class: MarketClass) -> Result<Timestamp, QuestionError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let midnight = || {
        // With a time behind it, it would be a moment without a zone.
        let is_date = text.len() == 10;
        let date: Date = text.parse().ok().filter(|_| is_date)?;
        let zone = match class {
            MarketClass::Crypto => TimeZone::UTC,
            MarketClass::Stocks | MarketClass::Options | MarketClass::News => TimeZone::get(EXCHANGE).ok()?,
        };
        Some(date.to_zoned(zone).ok()?.timestamp())
    };
    midnight().ok_or_else(|| {
        let known = "write a date, 2026-01-31, or a moment, 2026-01-31T14:30:00Z";
        QuestionError::new(field, format!("{text:?} is no moment; {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        moment("start", text, MarketClass::Stocks).unwrap()
    }

    fn question(class: MarketClass, adjustment: &str, feed: &str) -> Result<BarsQuestion, String> {
        BarsQuestion::new(
            class,
            vec![Symbol::parse("AAPL").unwrap()],
            Timeframe::MINUTE,
            (at("2026-01-02"), at("2026-01-03")),
            Adjustment::parse(adjustment).map_err(|error| error.to_string())?,
            feed,
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn lengths_are_those_the_venue_knows_and_have_one_spelling() {
        for (text, spelled) in [
            ("1Min", "1Min"),
            ("59T", "59Min"),
            ("1hour", "1Hour"),
            ("23H", "23Hour"),
            ("1D", "1Day"),
            ("1WEEK", "1Week"),
            ("12M", "12Month"),
            ("3Month", "3Month"),
        ] {
            assert_eq!(Timeframe::parse(text).unwrap().to_string(), spelled);
        }
        for text in [
            "", "1", "Min", "0Min", "60Min", "24Hour", "2Day", "2W", "5Month", "1m", "1Sec", "-1Min",
            "256Min", "1 Min",
        ] {
            let error = Timeframe::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("timeframe: ") && error.contains("59Min"),
                "{error}"
            );
        }
    }

    #[test]
    fn adjustments_have_one_spelling() {
        for (text, spelled) in [
            ("", "raw"),
            ("raw", "raw"),
            ("split, dividend", "dividend,split"),
            ("spin-off,split,split", "spin-off,split"),
        ] {
            assert_eq!(Adjustment::parse(text).unwrap().as_str(), spelled);
        }
        for (text, said) in [("splits", "is none; write of raw"), ("raw,split", "stand alone")] {
            let error = Adjustment::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_date_is_a_midnight_of_the_exchange() {
        assert_eq!(at("2026-01-02").to_string(), "2026-01-02T05:00:00Z");
        assert_eq!(at("2026-07-02").to_string(), "2026-07-02T04:00:00Z");
        assert_eq!(
            at("2026-07-02T10:00:00+02:00").to_string(),
            "2026-07-02T08:00:00Z"
        );
        let of_coins = moment("end", "2026-07-02", MarketClass::Crypto).unwrap();
        assert_eq!(of_coins.to_string(), "2026-07-02T00:00:00Z");
        for text in ["", "yesterday", "2026-02-30", "2026-01-02T10:00:00", "20260102"] {
            let error = moment("end", text, MarketClass::Stocks).unwrap_err().to_string();
            assert!(
                error.contains("end: ") && error.contains("2026-01-31"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn what_the_venue_would_refuse_is_refused_with_the_fix() {
        assert!(question(MarketClass::Stocks, "split", "sip").is_ok());
        assert!(question(MarketClass::Crypto, "", "us-1").is_ok());
        for (class, adjustment, feed, said) in [
            (MarketClass::News, "", "", "class: news have no bars"),
            (MarketClass::Stocks, "", "us", "write one of sip, iex"),
            (MarketClass::Crypto, "", "../../v2", "write one of us, us-1"),
            (MarketClass::Options, "", "opra", "leave it out"),
            (MarketClass::Crypto, "split", "", "stocks alone"),
        ] {
            let error = question(class, adjustment, feed).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let asked = question(MarketClass::Stocks, "", "").unwrap();
        assert_eq!(asked.within(asked.until(), asked.from()), None);
        let open = asked.clone().open_ended();
        let end = |until| open.within(at("2026-01-02"), until).unwrap().is_open_ended();
        assert!(end(open.until()) && !end(at("2026-01-02T12:00:00Z")));
        let many = vec![Symbol::parse("A").unwrap(); SYMBOLS_MAX + 1];
        for (symbols, said) in [(Vec::new(), "is required"), (many, "100 at a time")] {
            let range = (asked.from(), asked.until());
            let raw = Adjustment::parse("").unwrap();
            let refused = BarsQuestion::new(MarketClass::Stocks, symbols, Timeframe::MINUTE, range, raw, "");
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
