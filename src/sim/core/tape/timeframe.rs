//! How long a bar is, and where it begins: everything is counted from New York's midnight.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::super::calendar::{day_begins_at, new_york_day};

/// The length of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeframe {
    /// 1 to 59.
    Minutes(u32),
    /// 1 to 23.
    Hours(u32),
    Day,
    Week,
    /// 1, 2, 3, 4, 6 or 12.
    Months(u32),
}

impl FromStr for Timeframe {
    type Err = ();

    /// `5Min` or `5T`, `1Hour` or `1H`, `1Day` or `1D`, `1Week` or `1W`, `3Month` or `3M`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let count: u32 = if count.is_empty() {
            1
        } else {
            count.parse().map_err(|_| ())?
        };
        match (unit, count) {
            ("Min" | "T", 1..=59) => Ok(Self::Minutes(count)),
            ("Hour" | "H", 1..=23) => Ok(Self::Hours(count)),
            ("Day" | "D", 1) => Ok(Self::Day),
            ("Week" | "W", 1) => Ok(Self::Week),
            ("Month" | "M", 1 | 2 | 3 | 4 | 6 | 12) => Ok(Self::Months(count)),
            _ => Err(()),
        }
    }
}

impl Timeframe {
    pub(crate) const MINUTE: Self = Self::Minutes(1);

    /// Is a bar of it made of whole days?
    pub(crate) fn is_daily(self) -> bool {
        match self {
            Self::Day | Self::Week | Self::Months(_) => true,
            Self::Minutes(_) | Self::Hours(_) => false,
        }
    }

    /// When the bar that holds `at` began.
    pub(crate) fn begin(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Minutes(count) => floor(at, Duration::from_secs(60 * u64::from(count))),
            Self::Hours(count) => floor(at, Duration::from_secs(3600 * u64::from(count))),
            Self::Day | Self::Week | Self::Months(_) => day_begins_at(self.first_day(new_york_day(at))),
        }
    }

    /// The first day of the bar that holds `day`; the day itself for bars shorter than a day.
    pub(crate) fn first_day(self, day: Date) -> Date {
        match self {
            Self::Minutes(_) | Self::Hours(_) | Self::Day => day,
            Self::Week => {
                let back = i64::from(day.weekday().to_monday_zero_offset());
                day.checked_sub(back.days()).unwrap_or(day)
            }
            Self::Months(count) => {
                let count = i8::try_from(count.max(1)).unwrap_or(1);
                let month = (day.month() - 1) / count * count + 1;
                Date::new(day.year(), month, 1).unwrap_or(day)
            }
        }
    }

    /// The first day after the bar that holds `day`.
    pub(crate) fn next_day(self, day: Date) -> Date {
        let first = self.first_day(day);
        let next = match self {
            Self::Minutes(_) | Self::Hours(_) | Self::Day => first.tomorrow(),
            Self::Week => first.checked_add(7.days()),
            Self::Months(count) => first.checked_add(i64::from(count).months()),
        };
        next.unwrap_or(first)
    }
}

fn floor(at: Timestamp, step: Duration) -> Timestamp {
    let midnight = day_begins_at(new_york_day(at));
    let passed = at.duration_since(midnight).as_nanos();
    let step = i128::try_from(step.as_nanos()).unwrap_or(i128::MAX).max(1);
    let whole = passed - passed.rem_euclid(step);
    Timestamp::from_nanosecond(midnight.as_nanosecond() + whole).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeframes_are_read_in_every_spelling() {
        let read = |text: &str| text.parse::<Timeframe>().ok();
        assert_eq!(read("5Min"), Some(Timeframe::Minutes(5)));
        assert_eq!(read("59T"), Some(Timeframe::Minutes(59)));
        assert_eq!(read("4Hour"), Some(Timeframe::Hours(4)));
        assert_eq!(read("1D"), Some(Timeframe::Day));
        assert_eq!(read("1Week"), Some(Timeframe::Week));
        assert_eq!(read("12Month"), Some(Timeframe::Months(12)));
        for bad in ["", "60Min", "24H", "2Day", "5Month", "1min", "99999999999Min"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn bars_begin_where_new_york_counts_them() {
        let check = |timeframe: Timeframe, at: &str, expected: &str| {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(
                timeframe.begin(at.parse().unwrap()),
                expected,
                "{timeframe:?} {at}"
            );
        };
        let at = "2026-10-07T14:38:21Z";
        check(Timeframe::Minutes(5), at, "2026-10-07T14:35:00Z");
        check(Timeframe::Hours(4), at, "2026-10-07T12:00:00Z");
        check(Timeframe::Day, at, "2026-10-07T04:00:00Z");
        check(Timeframe::Week, at, "2026-10-05T04:00:00Z");
        check(Timeframe::Months(3), at, "2026-10-01T04:00:00Z");
        // The day on which the clocks go back has an hour more.
        check(
            Timeframe::Hours(1),
            "2026-11-01T20:30:00Z",
            "2026-11-01T20:00:00Z",
        );
    }
}
