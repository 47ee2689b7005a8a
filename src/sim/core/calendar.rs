//! When the market is open: the New York sessions, weekends, exchange holidays and early closes, computed
//! from their rules so that no table ages.

use jiff::civil::{Date, Time, Weekday, date, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// How the simulated market keeps hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// Always in its core session.
    Open,
    /// Never in session: equity and option orders stay `accepted`. Crypto still trades.
    Closed,
    /// New York hours by the given clock.
    Calendar,
}

/// One trading day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) day: Date,
    pub(crate) open: Time,
    pub(crate) close: Time,
}

/// Pre-market begins.
pub(crate) const EXTENDED_OPEN: Time = time(4, 0, 0, 0);
/// After-hours trading ends.
pub(crate) const EXTENDED_CLOSE: Time = time(20, 0, 0, 0);
/// The closing auction begins this long before the close, so that it is over when the market is.
const AUCTION_LEAD: SignedDuration = SignedDuration::from_secs(1);
/// Orders that are too old are canceled then.
const AGED_ORDERS: Time = time(16, 15, 0, 0);
const CORE_OPEN: Time = time(9, 30, 0, 0);
const CORE_CLOSE: Time = time(16, 0, 0, 0);
const EARLY_CLOSE: Time = time(13, 0, 0, 0);

/// New York's zone, from the database compiled in.
pub(crate) fn new_york() -> TimeZone {
    static ZONE: std::sync::LazyLock<TimeZone> =
        std::sync::LazyLock::new(|| TimeZone::get("America/New_York").unwrap_or(TimeZone::UTC));
    ZONE.clone()
}

impl Session {
    pub(crate) fn on(day: Date) -> Option<Self> {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        if weekend || is_holiday(day) {
            return None;
        }
        let close = if closes_early(day) {
            EARLY_CLOSE
        } else {
            CORE_CLOSE
        };
        Some(Self {
            day,
            open: CORE_OPEN,
            close,
        })
    }

    /// The trading day after this one, when its trades settle.
    pub(crate) fn settlement(&self) -> Date {
        self.day
            .series(1.day())
            .skip(1)
            .find(|day| Self::on(*day).is_some())
            .unwrap_or(self.day)
    }

    pub(crate) fn opens_at(&self) -> Timestamp {
        at_new_york(self.day, self.open)
    }

    pub(crate) fn closes_at(&self) -> Timestamp {
        at_new_york(self.day, self.close)
    }

    fn contains(&self, now: Timestamp, extended: bool) -> bool {
        let (from, until) = if extended {
            (
                at_new_york(self.day, EXTENDED_OPEN),
                at_new_york(self.day, EXTENDED_CLOSE),
            )
        } else {
            (self.opens_at(), self.closes_at())
        };
        from <= now && now < until
    }
}

impl Market {
    /// May an equity or option order trade now?
    pub(crate) fn is_open(self, now: Timestamp, extended: bool) -> bool {
        match self {
            Self::Open => true,
            Self::Closed => false,
            Self::Calendar => Session::on(new_york_day(now)).is_some_and(|day| day.contains(now, extended)),
        }
    }

    /// When an order that cannot trade now will be routed; never, when this market never opens.
    pub(crate) fn routes_at(self, now: Timestamp, extended: bool) -> Option<Timestamp> {
        match self {
            Self::Open => Some(now),
            Self::Closed => None,
            Self::Calendar if self.is_open(now, extended) => Some(now),
            Self::Calendar => Some(sessions(now).map_or(now, |mut days| {
                let begin = |day: &Session| {
                    if extended {
                        at_new_york(day.day, EXTENDED_OPEN)
                    } else {
                        day.opens_at()
                    }
                };
                days.find_map(|day| Some(begin(&day)).filter(|at| *at > now))
                    .unwrap_or(now)
            })),
        }
    }

    /// When an order for the closing auction goes to market: with it, every order for the auction meets the last prices of
    /// the session. Only a market that keeps hours has auctions.
    pub(crate) fn closing_auction_at(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Open | Self::Closed => None,
            Self::Calendar => sessions(now)?
                .filter_map(|day| day.closes_at().checked_sub(AUCTION_LEAD).ok())
                .find(|at| *at > now),
        }
    }

    /// When a day order submitted now ends; only a market that keeps hours ends one.
    pub(crate) fn day_ends_at(self, now: Timestamp, extended: bool) -> Option<Timestamp> {
        match self {
            Self::Open | Self::Closed => None,
            Self::Calendar => sessions(now)?.find_map(|day| {
                let end = if extended {
                    at_new_york(day.day, EXTENDED_CLOSE)
                } else {
                    day.closes_at()
                };
                (end > now).then_some(end)
            }),
        }
    }
}

/// The next core open after `now`.
pub(crate) fn next_open(now: Timestamp) -> Option<Timestamp> {
    sessions(now)?.map(|day| day.opens_at()).find(|at| *at > now)
}

/// The next core close after `now`.
pub(crate) fn next_close(now: Timestamp) -> Option<Timestamp> {
    sessions(now)?.map(|day| day.closes_at()).find(|at| *at > now)
}

/// When an order made at `now` that works until canceled is too old.
pub(crate) fn ages_at(now: Timestamp, days: i64) -> Option<Timestamp> {
    let day = new_york_day(now).checked_add(days.days()).ok()?;
    Some(at_new_york(day, AGED_ORDERS))
}

/// The day in New York.
pub(crate) fn new_york_day(now: Timestamp) -> Date {
    now.to_zoned(new_york()).date()
}

/// New York's midnight that begins `day`.
pub(crate) fn day_begins_at(day: Date) -> Timestamp {
    at_new_york(day, Time::midnight())
}

/// Sessions from today on; two weeks always hold several.
fn sessions(now: Timestamp) -> Option<impl Iterator<Item = Session>> {
    let today = new_york_day(now);
    let horizon = today.checked_add(14.days()).ok()?;
    Some(
        today
            .series(1.day())
            .take_while(move |day| *day <= horizon)
            .filter_map(Session::on),
    )
}

/// A time of day in New York as a moment.
pub(crate) fn at_new_york(day: Date, at: Time) -> Timestamp {
    day.to_datetime(at)
        .to_zoned(new_york())
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

fn is_holiday(day: Date) -> bool {
    let year = day.year();
    let fixed = |month, on| observed(date(year, month, on)) == Some(day);
    let nth = |month, n, weekday| {
        date(year, month, 1)
            .nth_weekday_of_month(n, weekday)
            .is_ok_and(|holiday| holiday == day)
    };
    // New Year's Day on a Saturday is not observed on the Friday before, which is the last trading day.
    let new_year = date(year, 1, 1);
    let new_year = match new_year.weekday() {
        Weekday::Saturday => None,
        Weekday::Sunday => new_year.tomorrow().ok(),
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => {
            Some(new_year)
        }
    };
    new_year == Some(day)
        || nth(1, 3, Weekday::Monday)
        || nth(2, 3, Weekday::Monday)
        || easter(year).and_then(|sunday| sunday.checked_sub(2.days()).ok()) == Some(day)
        || nth(5, -1, Weekday::Monday)
        || (year >= 2022 && fixed(6, 19))
        || fixed(7, 4)
        || nth(9, 1, Weekday::Monday)
        || nth(11, 4, Weekday::Thursday)
        || fixed(12, 25)
}

fn closes_early(day: Date) -> bool {
    let after_thanksgiving = date(day.year(), 11, 1)
        .nth_weekday_of_month(4, Weekday::Thursday)
        .and_then(|thursday| thursday.tomorrow())
        .is_ok_and(|friday| friday == day);
    after_thanksgiving || matches!((day.month(), day.day()), (7, 3) | (12, 24))
}

/// Saturday holidays are kept on Friday, Sunday ones on Monday.
fn observed(holiday: Date) -> Option<Date> {
    match holiday.weekday() {
        Weekday::Saturday => holiday.yesterday().ok(),
        Weekday::Sunday => holiday.tomorrow().ok(),
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => {
            Some(holiday)
        }
    }
}

/// Easter Sunday by Gauss's rule in its Gregorian form (Meeus, Astronomical Algorithms, chapter 8).
fn easter(year: i16) -> Option<Date> {
    let year = i32::from(year);
    let golden = year % 19;
    let (century, in_century) = (year / 100, year % 100);
    let moon = (century + 8) / 25;
    let epact = (19 * golden + century - century / 4 - (century - moon + 1) / 3 + 15) % 30;
    let weekday = (32 + 2 * (century % 4) + 2 * (in_century / 4) - epact - in_century % 4) % 7;
    let late = (golden + 11 * epact + 22 * weekday) / 451;
    let serial = epact + weekday - 7 * late + 114;
    Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(serial / 31).ok()?,
        i8::try_from(serial % 31 + 1).ok()?,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn holidays_weekends_and_early_closes_follow_the_exchange() {
        let closed = [
            date(2026, 1, 1),   // New Year
            date(2026, 1, 19),  // Martin Luther King
            date(2026, 2, 16),  // Washington
            date(2026, 4, 3),   // Good Friday
            date(2026, 5, 25),  // Memorial
            date(2026, 6, 19),  // Juneteenth
            date(2026, 7, 3),   // Independence, observed
            date(2026, 9, 7),   // Labor
            date(2026, 11, 26), // Thanksgiving
            date(2026, 12, 25), // Christmas
            date(2026, 10, 3),  // a Saturday
            date(2025, 4, 18),  // Good Friday
        ];
        for day in closed {
            assert_eq!(Session::on(day), None, "{day}");
        }
        assert_eq!(Session::on(date(2021, 12, 31)).unwrap().close, CORE_CLOSE);
        assert_eq!(Session::on(date(2025, 7, 3)).unwrap().close, EARLY_CLOSE);
        assert_eq!(Session::on(date(2026, 11, 27)).unwrap().close, EARLY_CLOSE);
    }

    #[test]
    fn the_calendar_market_keeps_new_york_hours() {
        let market = Market::Calendar;
        let friday_evening = at("2026-10-02T21:00:00Z");
        assert!(market.is_open(at("2026-10-02T13:30:00Z"), false));
        assert!(!market.is_open(at("2026-10-02T20:00:00Z"), false));
        assert!(
            market.is_open(friday_evening, true),
            "17:00 in New York is after hours"
        );
        assert_eq!(
            market.routes_at(friday_evening, false),
            Some(at("2026-10-05T13:30:00Z"))
        );
        assert_eq!(
            market.day_ends_at(friday_evening, false),
            Some(at("2026-10-05T20:00:00Z"))
        );
        assert_eq!(
            next_open(at("2026-10-02T13:30:00Z")),
            Some(at("2026-10-05T13:30:00Z"))
        );
    }
}
