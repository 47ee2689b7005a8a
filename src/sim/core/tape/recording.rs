//! What really happened, as bars or as trades and quotes: a past that is replayed.
//!
//! A bar is played as four trades: its open, then its two extremes, the one against its direction first, then its close,
//! a quarter of its length apart; a share's day from the opening auction to the closing one. What a strategy meets so has
//! the bar's open, high, low, close and volume, and nothing of it before its time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::super::calendar::{Session, day_begins_at, new_york_day};
use super::bars::of_trade;
use super::timeframe::Timeframe;
use super::walk::{nanos, nanos_of, timestamp};
use super::{Bar, Quote, Trade};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest time without a trading day; bars that are further apart are longer than a day.
const LONG_WEEKEND: Duration = Duration::from_secs(4 * 24 * 3600);
const SECONDS_OF_DAY: i64 = 24 * 3600;
/// Trades in which a bar is played.
const STEPS: i64 = 4;

/// A replayable past. Its times are those of the past; the venue's clock decides when they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    symbols: HashMap<String, Record>,
    /// Every moment at which something moves, in order, each once.
    moments: Vec<Timestamp>,
}

/// What is recorded of one symbol, each list in the order of time.
#[derive(Clone, Debug, Default)]
struct Record {
    trades: Vec<Trade>,
    quotes: Vec<Quote>,
    bars: Vec<Bar>,
    /// How long a bar is.
    length: Duration,
    /// Are its bars the days of a share, which trades in the session alone?
    is_daily_share: bool,
}

/// Collects what is read from files, in any order.
#[derive(Debug, Default)]
pub(crate) struct RecordingBuilder(HashMap<String, Record>);

impl RecordingBuilder {
    pub(crate) fn bar(&mut self, symbol: &str, bar: Bar) {
        self.record(symbol).bars.push(bar);
    }

    pub(crate) fn trade(&mut self, symbol: &str, trade: Trade) {
        self.record(symbol).trades.push(trade);
    }

    pub(crate) fn quote(&mut self, symbol: &str, quote: Quote) {
        self.record(symbol).quotes.push(quote);
    }

    fn record(&mut self, symbol: &str) -> &mut Record {
        if !self.0.contains_key(symbol) {
            self.0.insert(symbol.to_owned(), Record::default());
        }
        self.0.entry(symbol.to_owned()).or_default()
    }

    /// Puts everything in order. Of two bars that begin at once the later one read counts. Bars of more than a day are
    /// refused: nothing could tell when in it what was traded.
    pub(crate) fn finish(mut self) -> Result<Recording, String> {
        for record in self.0.values_mut() {
            record.trades.sort_by_key(|trade| trade.at);
            record.quotes.sort_by_key(|quote| quote.at);
            record.bars.sort_by_key(|bar| bar.at);
            record.bars.reverse();
            record.bars.dedup_by_key(|bar| bar.at);
            record.bars.reverse();
        }
        let shortest = self.0.values().filter_map(|record| distance(&record.bars)).min();
        let mut moments = Vec::new();
        for (symbol, record) in &mut self.0 {
            record.length = length(symbol, &record.bars, shortest)?;
            record.is_daily_share = record.length == DAY && !symbol.contains('/');
            if record.is_daily_share {
                record.bars.iter_mut().for_each(begin_in_new_york);
            }
            moments.extend(record.trades.iter().map(|trade| trade.at));
            moments.extend(record.quotes.iter().map(|quote| quote.at));
            if record.trades.is_empty() {
                moments.extend(record.bars.iter().flat_map(|bar| record.steps(bar)));
            }
        }
        moments.sort_unstable();
        moments.dedup();
        Ok(Recording {
            symbols: self.0,
            moments,
        })
    }
}

impl Recording {
    /// The symbols, in alphabetical order, each with its first price.
    pub(crate) fn symbols(&self) -> Vec<(&str, Decimal)> {
        let mut symbols: Vec<_> = self
            .symbols
            .iter()
            .map(|(symbol, record)| (symbol.as_str(), record.first_price()))
            .collect();
        symbols.sort_unstable();
        symbols
    }

    pub(crate) fn has(&self, symbol: &str) -> bool {
        self.symbols.contains_key(symbol)
    }

    /// The first moment.
    pub(crate) fn begins_at(&self) -> Option<Timestamp> {
        self.moments.first().copied()
    }

    /// The last moment, when its last bar is over.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        let of_bars = self.symbols.values().filter_map(|record| {
            let last = record.bars.last()?;
            last.at.checked_add(record.length).ok()
        });
        of_bars.chain(self.moments.last().copied()).max()
    }

    /// How many moments there are.
    pub(crate) fn len(&self) -> usize {
        self.moments.len()
    }

    /// The moments of `from < at <= until`.
    pub(super) fn moments(&self, from: Timestamp, until: Timestamp) -> &[Timestamp] {
        let begin = self.moments.partition_point(|at| *at <= from);
        let end = self.moments.partition_point(|at| *at <= until);
        self.moments.get(begin..end).unwrap_or_default()
    }

    /// The first moment after `at`.
    pub(crate) fn next_moment(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.moments.partition_point(|moment| *moment <= at);
        self.moments.get(next).copied()
    }

    /// The last moment until `at`.
    pub(crate) fn last_moment(&self, at: Timestamp) -> Option<Timestamp> {
        last_until(&self.moments, at, |moment| *moment).copied()
    }

    /// When the first price of a symbol is known; none for a symbol that is not recorded.
    pub(super) fn known_from(&self, symbol: &str) -> Option<Timestamp> {
        let record = self.symbols.get(symbol)?;
        let bar = record.bars.first().map(|bar| record.steps(bar)[0]);
        let trade = record.trades.first().map(|trade| trade.at);
        let quote = record.quotes.first().map(|quote| quote.at);
        [bar, trade, quote].into_iter().flatten().min()
    }

    /// The price of the last trade until `at`; of the first one before there was any.
    pub(super) fn price_at(&self, symbol: &str, at: Timestamp) -> Option<Decimal> {
        let record = self.symbols.get(symbol)?;
        if let Some(trade) = last_until(&record.trades, at, |trade| trade.at) {
            return Some(trade.price);
        }
        if record.trades.is_empty()
            && let Some(price) = record.played(at)
        {
            return Some(price);
        }
        if let Some(quote) = last_until(&record.quotes, at, |quote| quote.at)
            && record.trades.is_empty()
        {
            return Some(middle(quote));
        }
        Some(record.first_price())
    }

    pub(super) fn quote_at(&self, symbol: &str, at: Timestamp) -> Option<Quote> {
        last_until(&self.symbols.get(symbol)?.quotes, at, |quote| quote.at).cloned()
    }

    /// Trades of `from <= at < until`.
    pub(super) fn trades(&self, symbol: &str, from: Timestamp, until: Timestamp) -> Vec<Trade> {
        let Some(record) = self.symbols.get(symbol) else {
            return Vec::new();
        };
        if !record.trades.is_empty() {
            return between(&record.trades, from, until, |trade| trade.at).to_vec();
        }
        // A bar that began earlier may still be playing.
        let earlier = from.checked_sub(record.length).unwrap_or(from);
        let bars = between(&record.bars, earlier, until, |bar| bar.at);
        let played = bars.iter().flat_map(|bar| record.play(bar));
        played
            .filter(|trade| from <= trade.at && trade.at < until)
            .collect()
    }

    /// Quotes of `from <= at < until`; none when none were recorded.
    pub(super) fn quotes(&self, symbol: &str, from: Timestamp, until: Timestamp) -> Option<Vec<Quote>> {
        let quotes = &self.symbols.get(symbol)?.quotes;
        (!quotes.is_empty()).then(|| between(quotes, from, until, |quote| quote.at).to_vec())
    }

    /// What bars of this timeframe are made of in `from <= at < until`, if bars short enough were recorded: those that are
    /// over by then, and what was played of one that is not. Nobody learns here what comes later.
    pub(super) fn parts(
        &self,
        symbol: &str,
        timeframe: Timeframe,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<Vec<Bar>> {
        let record = self.symbols.get(symbol)?;
        let longest = match timeframe {
            Timeframe::Minutes(count) => MINUTE * count,
            Timeframe::Hours(count) => 60 * MINUTE * count,
            Timeframe::Day | Timeframe::Week | Timeframe::Months(_) => DAY,
        };
        if record.bars.is_empty() || record.length > longest {
            return None;
        }
        let bars = between(&record.bars, from, until, |bar| bar.at);
        let is_over = |bar: &Bar| bar.at.checked_add(record.length).is_ok_and(|end| end <= until);
        let over = bars.partition_point(is_over);
        let (over, playing) = bars.split_at_checked(over)?;
        let played = playing.iter().flat_map(|bar| record.play(bar));
        let played = played.filter(|trade| trade.at < until).map(of_trade);
        Some(over.iter().cloned().chain(played).collect())
    }
}

impl Record {
    /// When the four trades of a bar take place.
    fn steps(&self, bar: &Bar) -> [Timestamp; STEPS as usize] {
        let session = Some(new_york_day(bar.at))
            .filter(|_| self.is_daily_share)
            .and_then(Session::on);
        let (begin, apart) = match session {
            // The last one comes before the closing auction.
            Some(day) => {
                let open = nanos_of(day.opens_at());
                let last = nanos_of(day.closes_at()).saturating_sub(nanos(MINUTE));
                (open, (last - open) / (STEPS - 1))
            }
            None => (nanos_of(bar.at), nanos(self.length) / STEPS),
        };
        [0, 1, 2, 3].map(|step| timestamp(begin.saturating_add(apart * step)))
    }

    /// The trades of a bar.
    fn play(&self, bar: &Bar) -> impl Iterator<Item = Trade> + use<> {
        let quarter = (bar.volume / Decimal::from(STEPS)).trunc_with_scale(bar.volume.scale());
        let rest = bar.volume - quarter * Decimal::from(STEPS - 1);
        let base_id = nanos_of(bar.at).unsigned_abs() / 1_000_000_000 * STEPS.unsigned_abs();
        let prices = self.steps(bar).into_iter().zip(path(bar));
        (0_u64..).zip(prices).map(move |(step, (at, price))| Trade {
            at,
            id: base_id + step,
            price,
            size: if step + 1 == STEPS.unsigned_abs() {
                rest
            } else {
                quarter
            },
            exchange: Cow::Borrowed("V"),
        })
    }

    /// The price of the last of the played trades until `at`.
    fn played(&self, at: Timestamp) -> Option<Decimal> {
        let after = self.bars.partition_point(|bar| bar.at <= at);
        let begun = self.bars.get(..after)?;
        let prices = |bar: &Bar| self.steps(bar).into_iter().zip(path(bar));
        // Of a bar that has begun, nothing may have been traded yet.
        let mut latest = begun.iter().rev().take(2);
        latest.find_map(|bar| {
            prices(bar)
                .take_while(|(step, _)| *step <= at)
                .last()
                .map(|(_, price)| price)
        })
    }

    fn first_price(&self) -> Decimal {
        let trade = self.trades.first().map(|trade| (trade.at, trade.price));
        let bar = self.bars.first().map(|bar| (bar.at, bar.open));
        let quote = self.quotes.first().map(|quote| (quote.at, middle(quote)));
        let first = trade
            .into_iter()
            .chain(bar)
            .chain(quote)
            .min_by_key(|(at, _)| *at);
        first.map_or(Decimal::ONE, |(_, price)| price)
    }
}

/// The shortest distance between two bars.
fn distance(bars: &[Bar]) -> Option<Duration> {
    let distances = bars.windows(2).filter_map(|pair| match pair {
        [one, two] => Duration::try_from(two.at.duration_since(one.at)).ok(),
        _ => None,
    });
    distances.min()
}

/// How long a symbol's bars are: as long as the shortest distance between two of them, or of any symbol's when there is but
/// one; a single bar that begins at midnight is a day's.
fn length(symbol: &str, bars: &[Bar], shortest: Option<Duration>) -> Result<Duration, String> {
    let midnight = bars.first().is_some_and(|bar| {
        bar.at.as_second() % SECONDS_OF_DAY == 0 || Timeframe::Day.begin(bar.at) == bar.at
    });
    let alone = if midnight { DAY } else { MINUTE };
    let length = distance(bars).or(shortest).unwrap_or(alone);
    if length > LONG_WEEKEND {
        return Err(format!(
            "the bars of {symbol} are {} days apart: bars of more than a day cannot be replayed",
            length.as_secs() / SECONDS_OF_DAY.unsigned_abs()
        ));
    }
    Ok(length.clamp(MINUTE, DAY))
}

/// A share's day begins at New York's midnight, also when the file says that of Greenwich.
fn begin_in_new_york(bar: &mut Bar) {
    if bar.at.as_second() % SECONDS_OF_DAY == 0 {
        bar.at = day_begins_at(bar.at.to_zoned(TimeZone::UTC).date());
    }
}

fn path(bar: &Bar) -> [Decimal; STEPS as usize] {
    if bar.close >= bar.open {
        [bar.open, bar.low, bar.high, bar.close]
    } else {
        [bar.open, bar.high, bar.low, bar.close]
    }
}

fn middle(quote: &Quote) -> Decimal {
    (quote.bid + quote.ask) / Decimal::TWO
}

fn last_until<T>(rows: &[T], at: Timestamp, time: impl Fn(&T) -> Timestamp) -> Option<&T> {
    let after = rows.partition_point(|row| time(row) <= at);
    rows.get(after.checked_sub(1)?)
}

fn between<T>(rows: &[T], from: Timestamp, until: Timestamp, time: impl Fn(&T) -> Timestamp) -> &[T] {
    let begin = rows.partition_point(|row| time(row) < from);
    let end = rows.partition_point(|row| time(row) < until);
    rows.get(begin..end).unwrap_or_default()
}
