//! Bars, made of the trades of the tape or of shorter bars, so that every timeframe tells the same story.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::super::assets::Asset;
use super::super::calendar::{day_begins_at, new_york_day};
use super::{Bar, DAYS_MAX, PoisonError, Tape, Timeframe, Trade};

/// Decimal places of an average price.
const VWAP_SCALE: u32 = 6;

/// Adds up what belongs into one bar.
struct Sum {
    bar: Bar,
    value: Decimal,
}

impl Sum {
    fn new(begin: Timestamp, first: &Bar) -> Self {
        Self {
            bar: Bar {
                at: begin,
                ..first.clone()
            },
            value: first.vwap * first.volume,
        }
    }

    fn add(&mut self, next: &Bar) {
        self.bar.high = self.bar.high.max(next.high);
        self.bar.low = self.bar.low.min(next.low);
        self.bar.close = next.close;
        self.bar.volume += next.volume;
        self.bar.trades += next.trades;
        self.value += next.vwap * next.volume;
    }

    fn finish(mut self) -> Bar {
        let average = self.value.checked_div(self.bar.volume);
        self.bar.vwap = average.unwrap_or(self.bar.close).round_dp(VWAP_SCALE).normalize();
        self.bar
    }
}

/// Combines shorter bars, or trades taken as bars, into bars that begin where `begin` says.
pub(super) fn combine(
    parts: impl IntoIterator<Item = Bar>,
    begin: impl Fn(Timestamp) -> Timestamp,
) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut sum: Option<Sum> = None;
    for part in parts {
        let at = begin(part.at);
        match &mut sum {
            Some(sum) if sum.bar.at == at => sum.add(&part),
            Some(_) | None => bars.extend(sum.replace(Sum::new(at, &part)).map(Sum::finish)),
        }
    }
    bars.extend(sum.map(Sum::finish));
    bars
}

/// What these trades of one minute make.
pub(crate) fn bar_of(trades: Vec<Trade>) -> Option<Bar> {
    let begin = Timeframe::MINUTE.begin(trades.first()?.at);
    combine(trades.into_iter().map(of_trade), |_| begin).pop()
}

pub(super) fn of_trade(trade: Trade) -> Bar {
    Bar {
        at: trade.at,
        open: trade.price,
        high: trade.price,
        low: trade.price,
        close: trade.price,
        volume: trade.size,
        trades: 1,
        vwap: trade.price,
    }
}

impl Tape {
    /// The bars that begin on a day of `from <= day < until`, made of what traded before `now`; a minute or hour that is
    /// not over is left out, a day is told as far as it went.
    pub(crate) fn bars(
        &self,
        asset: &Asset,
        timeframe: Timeframe,
        (from, until): (Date, Date),
        now: Timestamp,
        adjusted: bool,
    ) -> Vec<Bar> {
        let adjust = |bar: Bar| {
            if adjusted {
                self.splits().adjust(&asset.symbol, bar)
            } else {
                bar
            }
        };
        if timeframe.is_daily() {
            let last = until.min(new_york_day(now).tomorrow().unwrap_or(until));
            let days = from
                .series(jiff::Span::new().days(1))
                .take_while(|day| *day < last);
            let days = days.filter_map(|day| self.day(asset, day, now)).map(adjust);
            return combine(days, |at| timeframe.begin(at));
        }
        let (begin, end) = (
            day_begins_at(from),
            day_begins_at(until).min(timeframe.begin(now)),
        );
        let parts = self.parts(asset, timeframe, begin, end);
        combine(parts.into_iter().map(adjust), |at| timeframe.begin(at))
    }

    /// The bar of the minute that began at `begin`, if anything traded.
    pub(crate) fn minute(&self, asset: &Asset, begin: Timestamp) -> Option<Bar> {
        let end = begin.checked_add(jiff::SignedDuration::from_secs(60)).ok()?;
        let parts = self.parts(asset, Timeframe::MINUTE, begin, end);
        combine(parts, |_| begin).pop()
    }

    /// What traded on a day before `now`.
    pub(crate) fn day(&self, asset: &Asset, day: Date, now: Timestamp) -> Option<Bar> {
        let begin = day_begins_at(day);
        let end = day.tomorrow().ok().map_or(Timestamp::MAX, day_begins_at);
        // What is over, and was over before anybody could touch the market, never changes.
        let is_past = end <= self.began_at.min(now);
        let key = (asset.symbol.clone(), day);
        if is_past && let Some(known) = self.days().get(&key) {
            return known.clone();
        }
        let parts = self.parts(asset, Timeframe::Day, begin, end.min(now));
        let bar = combine(parts, |_| begin).pop();
        if is_past {
            let mut days = self.days();
            if days.len() >= DAYS_MAX {
                days.clear();
            }
            days.insert(key, bar.clone());
        }
        bar
    }

    /// What bars of a timeframe are made of: recorded bars where there are any that are short enough, else trades.
    fn parts(&self, asset: &Asset, timeframe: Timeframe, from: Timestamp, until: Timestamp) -> Vec<Bar> {
        let invented = |from, until| self.trades(asset, from, until).into_iter().map(of_trade);
        let recorded = self
            .recording_of(asset, until)
            .and_then(|(recording, pinned_at)| {
                let parts = recording.parts(&asset.symbol, timeframe, from, pinned_at)?;
                Some((parts, pinned_at))
            });
        match recorded {
            Some((mut parts, pinned_at)) => {
                parts.extend(invented(from.max(pinned_at), until));
                parts
            }
            None => invented(from, until).collect(),
        }
    }

    fn days(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<(String, Date), Option<Bar>>> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
