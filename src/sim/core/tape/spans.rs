//! When a symbol trades: the stretches of time in which its tape has ticks.

use jiff::{SignedDuration, Timestamp, ToSpan};

use super::super::assets::{Asset, AssetClass};
use super::super::calendar::{EXTENDED_CLOSE, EXTENDED_OPEN, Market, Session, at_new_york, new_york_day};
use super::walk::nanos_of;
use super::{TEST_SYMBOL, Timeframe};

/// Before the last days, one tick in so many happens, and is so much larger: years of bars must not take minutes.
const PAST_EVERY: i64 = 15;
/// How many days before the beginning have all of their ticks.
const FULL_DAYS: i64 = 7;
/// Options trade less than what they are written on: one tick in ten happens.
const OPTION_EVERY: i64 = 10;
/// Outside the core session one tick in ten happens.
const EXTENDED_EVERY: i64 = 10;

/// A stretch of trading, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    /// Not part of it.
    pub(super) until: i64,
    /// One tick in this many happens.
    pub(super) every: i64,
    /// How many times as large trades are as elsewhere: fewer of them make the same volume.
    pub(super) weight: i64,
}

impl Span {
    pub(super) fn contains(&self, nanos: i64) -> bool {
        (self.from..self.until).contains(&nanos)
    }
}

/// The market's hours over time: the calendar's before the beginning, then whatever was set.
#[derive(Clone, Debug)]
pub(super) struct Hours(Vec<(Timestamp, Market)>);

impl Hours {
    pub(super) fn new(began_at: Timestamp, market: Market) -> Self {
        Self(vec![(Timestamp::MIN, Market::Calendar), (began_at, market)])
    }

    pub(super) fn change(&mut self, at: Timestamp, market: Market) {
        self.0.retain(|(since, _)| *since < at);
        self.0.push((at, market));
    }

    /// The moments of `from <= at < until` at which the hours were set; the beginning does not count.
    pub(super) fn changes(&self, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let set = self.0.iter().skip(2).map(|(at, _)| *at);
        set.filter(|at| from <= *at && *at < until).collect()
    }

    /// When the ticks become dense.
    fn full_from(&self) -> Timestamp {
        let began_at = self.0.get(1).map_or(Timestamp::MIN, |(began_at, _)| *began_at);
        let earlier = began_at.checked_sub(SignedDuration::from_hours(24 * FULL_DAYS));
        earlier.map_or(Timestamp::MIN, |at| Timeframe::MINUTE.begin(at))
    }

    /// The stretches of `from <= t < until` in which the asset trades, in order.
    pub(super) fn spans(&self, asset: &Asset, from: Timestamp, until: Timestamp) -> Vec<Span> {
        let mut spans = Vec::new();
        let full_from = self.full_from();
        let mut add = |begin: Timestamp, end: Timestamp, every: i64| {
            let past = (begin, end.min(full_from), PAST_EVERY);
            let full = (begin.max(full_from), end, 1);
            for (begin, end, weight) in [past, full] {
                let (begin, end) = (begin.max(from), end.min(until));
                if begin < end {
                    spans.push(Span {
                        from: nanos_of(begin),
                        until: nanos_of(end),
                        every: every * weight,
                        weight,
                    });
                }
            }
        };
        if asset.class == AssetClass::Crypto || asset.symbol == TEST_SYMBOL {
            add(from, until, 1);
            return spans;
        }
        let extended = asset.class == AssetClass::UsEquity;
        let every = if extended { 1 } else { OPTION_EVERY };
        for (at, (since, market)) in self.0.iter().enumerate() {
            let end = self.0.get(at + 1).map_or(Timestamp::MAX, |(next, _)| *next);
            let (begin, end) = ((*since).max(from), end.min(until));
            if begin >= end {
                continue;
            }
            match market {
                Market::Open => add(begin, end, every),
                Market::Closed => {}
                Market::Calendar => {
                    let mut clipped = |from: Timestamp, until: Timestamp, every| {
                        add(from.max(begin), until.min(end), every);
                    };
                    for session in sessions(begin, end) {
                        let (open, close) = (session.opens_at(), session.closes_at());
                        if extended {
                            clipped(at_new_york(session.day, EXTENDED_OPEN), open, EXTENDED_EVERY);
                        }
                        clipped(open, close, every);
                        if extended {
                            clipped(close, at_new_york(session.day, EXTENDED_CLOSE), EXTENDED_EVERY);
                        }
                    }
                }
            }
        }
        spans
    }
}

fn sessions(from: Timestamp, until: Timestamp) -> impl Iterator<Item = Session> {
    let last = new_york_day(until);
    new_york_day(from)
        .series(1.day())
        .take_while(move |day| *day <= last)
        .filter_map(Session::on)
}

#[cfg(test)]
mod tests {
    use super::super::super::assets::Assets;
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours_of(hours: &Hours, symbol: &str, from: &str, until: &str) -> Vec<(i64, i64)> {
        let asset = Assets::new().find(symbol).unwrap();
        let spans = hours.spans(&asset, moment(from), moment(until));
        let hour = |nanos: i64| nanos / 1_000_000_000 / 60;
        spans
            .iter()
            .map(|span| (hour(span.until - span.from), span.every))
            .collect()
    }

    #[test]
    fn shares_keep_sessions_coins_do_not() {
        let hours = Hours::new(moment("2026-01-01T00:00:00Z"), Market::Calendar);
        let week = ("2026-10-05T00:00:00Z", "2026-10-07T00:00:00Z");
        let day = [(330, 10), (390, 1), (240, 10)];
        assert_eq!(hours_of(&hours, "SPY", week.0, week.1), [day, day].concat());
        assert_eq!(hours_of(&hours, "BTC/USD", week.0, week.1), [(2 * 1440, 1)]);
        assert_eq!(
            hours_of(&hours, "SPY", "2026-10-03T05:00:00Z", "2026-10-05T04:00:00Z"),
            []
        );
        assert_eq!(
            hours_of(&hours, "SPY271217C00600000", week.0, week.1),
            [(390, 10), (390, 10)]
        );
    }

    #[test]
    fn what_was_set_holds_from_then_on() {
        let mut hours = Hours::new(moment("2026-10-04T12:00:00Z"), Market::Open);
        hours.change(moment("2026-10-04T13:00:00Z"), Market::Closed);
        hours.change(moment("2026-10-05T13:00:00Z"), Market::Calendar);
        assert_eq!(
            hours_of(&hours, "SPY", "2026-10-04T00:00:00Z", "2026-10-05T14:30:00Z"),
            [(60, 1), (30, 10), (60, 1)]
        );
    }
}
