//! What the account was worth over time.
//!
//! Nothing is recorded for it: what was booked is known, and prices are a function of time, so that the worth of any moment
//! can be worked out when somebody asks. The work is bounded by the points of an answer and by what was ever booked.
//!
//! Windows that ended before the account was opened are left out. How the venue shows them is not written down.

use std::iter;

use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan};
use rust_decimal::Decimal;

use super::activities::merged;
use super::assets::Asset;
use super::calendar::{
    EXTENDED_CLOSE, EXTENDED_OPEN, Market, Session, at_new_york, day_begins_at, new_york_day,
};
use super::exchange::Exchange;
use super::ledger::Ledger;
use super::order::Side;

/// Decimal places of dollars, and of ratios.
const DOLLARS_SCALE: u32 = 2;
const RATIO_SCALE: u32 = 8;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Minutes(i64),
    Day,
}

/// Which hours of a day have windows within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hours {
    Market,
    Extended,
    Continuous,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurveRequest {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) window: Window,
    pub(crate) hours: Hours,
    /// Do gains within a day count from the day before, not from the beginning?
    pub(crate) resets_daily: bool,
}

/// The worth at the end of one window, or now if it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// When the window begins.
    pub(crate) at: Timestamp,
    pub(crate) equity: Decimal,
    pub(crate) gain: Decimal,
    /// Of what the gain is measured by; 1 is all of it.
    pub(crate) ratio: Decimal,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Curve {
    pub(crate) points: Vec<Point>,
    /// The worth before the first window, and the day that ended with it.
    pub(crate) base_value: Decimal,
    pub(crate) base_day: Date,
}

/// One thing that was booked.
struct Booking<'a> {
    at: Timestamp,
    symbol: &'a str,
    side: Side,
    qty: Decimal,
    price: Decimal,
}

impl Exchange {
    pub(crate) fn curve(&self, now: Timestamp, request: &CurveRequest) -> Curve {
        let windows = self.windows(now, request);
        let first_day = new_york_day(windows.first().map_or(request.start, |(from, _)| *from));
        let mut past = Past::new(self);
        let base_value = past.worth(day_begins_at(first_day).min(now));
        let (mut day, mut base, mut last) = (first_day, base_value, base_value);
        let points = windows.into_iter().map(|(from, until)| {
            let today = new_york_day(from);
            if request.resets_daily && request.window != Window::Day && today != day {
                (day, base) = (today, last);
            }
            let equity = past.worth(until.min(now));
            last = equity;
            let gain = equity - base;
            let ratio = gain.checked_div(base).unwrap_or_default();
            Point {
                at: from,
                equity,
                gain,
                ratio: ratio.round_dp(RATIO_SCALE),
            }
        });
        Curve {
            points: points.collect(),
            base_value,
            base_day: first_day.yesterday().unwrap_or(first_day),
        }
    }

    /// The day that begins a period of so many market days, the last of which is that of `end` or the last one before.
    pub(crate) fn days_back(&self, end: Timestamp, days: usize) -> Timestamp {
        let last = new_york_day(end);
        let market_days = last.series(-1.day()).filter(|day| {
            self.hours_of(*day, Hours::Market)
                .is_some_and(|(open, _)| open < end)
        });
        let first = market_days.take(days.max(1)).last();
        day_begins_at(first.unwrap_or(last))
    }

    /// Windows that lie in the request, have begun, and did not end before the account was opened.
    fn windows(&self, now: Timestamp, request: &CurveRequest) -> Vec<(Timestamp, Timestamp)> {
        let start = request.start.max(self.created_at);
        let end = request.end.min(now);
        let days = new_york_day(start)
            .series(1.day())
            .take_while(|day| *day <= new_york_day(end));
        days.filter_map(|day| {
            let hours = self.hours_of(day, request.hours)?;
            Some(match request.window {
                Window::Day => {
                    let next = day.tomorrow().map_or(Timestamp::MAX, day_begins_at);
                    vec![(day_begins_at(day), next)]
                }
                Window::Minutes(minutes) => {
                    let step = |from: &Timestamp| from.checked_add(minutes.minutes()).ok();
                    let begins = iter::successors(Some(hours.0), step).take_while(|from| *from < hours.1);
                    begins.filter_map(|from| Some((from, step(&from)?))).collect()
                }
            })
        })
        .flatten()
        .filter(|(from, until)| *until > start && *from < end)
        .collect()
    }

    /// When a day begins and ends, if it has windows at all. A market that never closes has no days off.
    fn hours_of(&self, day: Date, hours: Hours) -> Option<(Timestamp, Timestamp)> {
        let always = self.config.market == Market::Open || hours == Hours::Continuous;
        if always {
            return Some((day_begins_at(day), day_begins_at(day.tomorrow().ok()?)));
        }
        let session = Session::on(day)?;
        let between = |from: Time, until: Time| (at_new_york(day, from), at_new_york(day, until));
        Some(if hours == Hours::Extended {
            between(EXTENDED_OPEN, EXTENDED_CLOSE)
        } else {
            (session.opens_at(), session.closes_at())
        })
    }

    /// Everything that was ever booked, oldest first.
    fn bookings(&self) -> impl Iterator<Item = Booking<'_>> {
        let fills = self.fills.iter().map(|fill| Booking {
            at: fill.at,
            symbol: &fill.symbol,
            side: fill.side,
            qty: fill.qty,
            price: fill.price,
        });
        let postings = self.paperwork.postings.iter().map(|posting| Booking {
            at: posting.at,
            symbol: &posting.symbol,
            side: if posting.qty.is_sign_negative() {
                Side::Sell
            } else {
                Side::Buy
            },
            qty: posting.qty.abs(),
            price: posting.price,
        });
        merged(fills, postings, |fill, posting| fill.at <= posting.at)
    }
}

/// The account's cash and positions, booked anew as time is asked forwards.
struct Past<'a, I: Iterator<Item = Booking<'a>>> {
    exchange: &'a Exchange,
    ledger: Ledger,
    bookings: iter::Peekable<I>,
}

impl<'a> Past<'a, Box<dyn Iterator<Item = Booking<'a>> + 'a>> {
    fn new(exchange: &'a Exchange) -> Self {
        let bookings: Box<dyn Iterator<Item = Booking<'a>>> = Box::new(exchange.bookings());
        Self {
            exchange,
            ledger: Ledger::new(exchange.config.cash),
            bookings: bookings.peekable(),
        }
    }

    /// What the account was worth at a moment, that moment's bookings included.
    fn worth(&mut self, at: Timestamp) -> Decimal {
        while let Some(booking) = self.bookings.next_if(|booking| booking.at <= at) {
            if let Some(asset) = self.exchange.assets.find(booking.symbol) {
                self.ledger.book(&asset, booking.side, booking.qty, booking.price);
            }
        }
        let price = |asset: &Asset| self.exchange.prices.tape().price_at(asset, at);
        let positions = self.ledger.positions();
        let value = positions.map(|held| held.qty * price(&held.asset) * held.asset.multiplier());
        (self.ledger.cash + value.sum::<Decimal>()).round_dp(DOLLARS_SCALE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{ExchangeConfig, OrderRequest, OrderType, TimeInForce};
    use super::*;

    #[test]
    fn what_was_booked_adds_up_to_what_is_held() {
        let mut now: Timestamp = "2026-10-05T14:00:00Z".parse().unwrap();
        let config = ExchangeConfig {
            seed: 11,
            cash: Decimal::from(100_000),
            market: Market::Open,
            event_delay: Duration::from_millis(1),
            partial_fill_percent: 50,
        };
        let mut exchange = Exchange::new(config, now);
        for (symbol, side, qty) in [
            ("SPY", Side::Buy, "3"),
            ("BTC/USD", Side::Buy, "0.1"),
            ("SPY261009C00590000", Side::Buy, "1"),
            ("F", Side::Sell, "100"),
            ("BTC/USD", Side::Sell, "0.05"),
            ("SPY", Side::Sell, "2"),
        ] {
            let request = OrderRequest {
                symbol: Some(symbol.to_owned()),
                qty: Some(qty.parse().unwrap()),
                side: Some(side),
                order_type: Some(OrderType::Market),
                time_in_force: Some(if symbol.contains('/') {
                    TimeInForce::Gtc
                } else {
                    TimeInForce::Day
                }),
                ..OrderRequest::default()
            };
            exchange.submit(now, request).unwrap();
            for _ in 0..100 {
                now = now.checked_add(Duration::from_secs(1)).unwrap();
                exchange.tick(now);
            }
        }
        exchange.exercise(now, "SPY261009C00590000").unwrap();
        let mut past = Past::new(&exchange);
        let worth = past.worth(now);
        assert_eq!(past.ledger.cash, exchange.ledger.cash);
        let held = |ledger: &Ledger| ledger.positions().cloned().collect::<Vec<_>>();
        assert_eq!(held(&past.ledger), held(&exchange.ledger));
        assert_eq!(worth, exchange.funds().equity.round_dp(2));
    }
}
