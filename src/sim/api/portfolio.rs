//! The history of the account's worth.

use jiff::civil::Date;
use jiff::{Span, Timestamp, ToSpan};

use super::super::core::{CurveRequest, Exchange, Hours, Refusal, Window, day_begins_at, new_york};
use super::super::json;
use super::{Answer, Query};

/// Days that windows shorter than a day may cover, which also bounds an answer: a calendar month, and a week by the minute.
const DAYS_MAX: i64 = 31;
const MINUTE_DAYS_MAX: i64 = 7;

pub(super) fn history(exchange: &Exchange, now: Timestamp, query: &Query) -> Result<Answer, Refusal> {
    let (start, end) = range(exchange, now, query)?;
    let days = end.duration_since(start).as_hours() / 24;
    let word = query.one_of("timeframe", &["1Min", "5Min", "15Min", "1H", "1D"])?;
    let timeframe = word.unwrap_or(match days {
        ..MINUTE_DAYS_MAX => "1Min",
        MINUTE_DAYS_MAX..28 => "15Min",
        28.. => "1D",
    });
    let (window, most) = match timeframe {
        "1Min" => (Window::Minutes(1), MINUTE_DAYS_MAX),
        "5Min" => (Window::Minutes(5), DAYS_MAX),
        "15Min" => (Window::Minutes(15), DAYS_MAX),
        "1H" => (Window::Minutes(60), DAYS_MAX),
        _ => (Window::Day, i64::MAX),
    };
    if days > most {
        return Err(Refusal::invalid(format!(
            "timeframe {timeframe} is only allowed for {most} days"
        )));
    }
    let hours = ["market_hours", "extended_hours", "continuous"];
    let hours = match query.one_of("intraday_reporting", &hours)? {
        Some("extended_hours") => Hours::Extended,
        Some("continuous") => Hours::Continuous,
        None if query.flag("extended_hours") => Hours::Extended,
        Some(_) | None => Hours::Market,
    };
    let request = CurveRequest {
        start,
        end,
        window,
        hours,
        resets_daily: query.one_of("pnl_reset", &["per_day", "no_reset"])? != Some("no_reset"),
    };
    Ok(Answer::ok(&json::curve(
        &exchange.curve(now, &request),
        timeframe,
    )))
}

/// Two of start, end and period make a range; a month up to now is what is missing. Older clients say `date_start`, `date_end`.
fn range(exchange: &Exchange, now: Timestamp, query: &Query) -> Result<(Timestamp, Timestamp), Refusal> {
    let start = query.moment("start")?.or(query.moment("date_start")?);
    let end = last_moment(query, "end")?.or(last_moment(query, "date_end")?);
    let period = query.get("period").map(Period::parse).transpose()?;
    let (start, end) = match (start, end, period) {
        (Some(_), Some(_), Some(_)) => {
            return Err(Refusal::invalid("only two of start, end and period are accepted"));
        }
        (Some(start), None, Some(period)) => (start, period.after(start)?),
        (Some(start), end, None) => (start, end.unwrap_or(now)),
        (None, end, period) => {
            let end = end.unwrap_or(now).min(now);
            (period.unwrap_or(Period::MONTH).before(exchange, end)?, end)
        }
    };
    if start > end {
        return Err(Refusal::invalid("start must be before end"));
    }
    Ok((start, end))
}

/// A moment, or the end of a day.
fn last_moment(query: &Query, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let day = query.get(name).and_then(|value| value.parse::<Date>().ok());
    // What reads as a moment reads as a day too.
    let is_day = query.get(name).is_some_and(|value| value.len() <= 10);
    match day.filter(|_| is_day) {
        Some(day) => Ok(Some(day.tomorrow().map_or(Timestamp::MAX, day_begins_at))),
        None => query.moment(name),
    }
}

/// A number of days, weeks, months or years.
#[derive(Clone, Copy)]
struct Period {
    count: u16,
    unit: char,
}

impl Period {
    const MONTH: Self = Self { count: 1, unit: 'M' };

    fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::invalid("invalid period");
        let unit = text.chars().last().filter(|unit| "DWMA".contains(*unit));
        let unit = unit.ok_or_else(invalid)?;
        let count = text.strip_suffix(unit).and_then(|count| count.parse().ok());
        let count = count
            .filter(|count| (1..=1_000).contains(count))
            .ok_or_else(invalid)?;
        Ok(Self { count, unit })
    }

    fn span(self) -> Span {
        let count = i64::from(self.count);
        match self.unit {
            'D' => count.days(),
            'W' => count.weeks(),
            'M' => count.months(),
            _ => count.years(),
        }
    }

    fn after(self, start: Timestamp) -> Result<Timestamp, Refusal> {
        let end = start.to_zoned(new_york()).checked_add(self.span());
        end.map(|end| end.timestamp())
            .map_err(|_| Refusal::invalid("invalid period"))
    }

    /// Where the period begins that ends then. Days are days of the market.
    fn before(self, exchange: &Exchange, end: Timestamp) -> Result<Timestamp, Refusal> {
        if self.unit == 'D' {
            return Ok(exchange.days_back(end, usize::from(self.count)));
        }
        let start = end.to_zoned(new_york()).checked_sub(self.span());
        start
            .map(|start| start.timestamp())
            .map_err(|_| Refusal::invalid("invalid period"))
    }
}
