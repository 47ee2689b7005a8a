//! The tape: what every symbol was quoted and traded at, at any moment of past and future.
//!
//! Everything that has a price asks here, so that an order fills at what the stream showed and history tells afterwards:
//! the matching, the market-data streams and the historical data. A tape is a pure function of its seed, or of a recording;
//! what moves it from outside (a price pinned by hand, a market opened or closed) is remembered with its moment.
//!
//! All prices are raw: as they were on the day, before later splits.
//!
//! Deliberately absent: what our own orders do to the market. The account is small.

mod bars;
mod noise;
mod pricer;
mod recording;
mod spans;
mod splits;
#[cfg(test)]
mod tests;
mod timeframe;
mod walk;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::assets::{Asset, AssetClass, Assets};
use super::calendar::Market;
use super::prices::{grid_scale, tick_size};
use pricer::Pricer;
use spans::Hours;
use walk::Walk;

pub(crate) use bars::bar_of;
pub(crate) use noise::hash as chance;
pub(crate) use recording::{Recording, RecordingBuilder};
pub(crate) use splits::Splits;
pub use splits::{Ratio, Split};
pub(crate) use timeframe::Timeframe;

/// Half of the spread, in basis points.
const HALF_SPREAD_BPS: i64 = 1;
/// The symbol that only the test feed knows.
pub(crate) const TEST_SYMBOL: &str = "FAKEPACA";
/// Daily bars remembered, so that years of them are computed once.
const DAYS_MAX: usize = 200_000;

/// One trade.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trade {
    pub(crate) at: Timestamp,
    /// Unique within its symbol.
    pub(crate) id: u64,
    pub(crate) price: Decimal,
    pub(crate) size: Decimal,
    /// Where it took place, in the venue's one-letter code.
    pub(crate) exchange: Cow<'static, str>,
}

/// The best bid and ask.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quote {
    pub(crate) at: Timestamp,
    pub(crate) bid: Decimal,
    pub(crate) bid_size: Decimal,
    pub(crate) ask: Decimal,
    pub(crate) ask_size: Decimal,
    /// Where both stand, in the venue's one-letter code.
    pub(crate) exchange: Cow<'static, str>,
}

/// What traded in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    /// When the stretch began.
    pub(crate) at: Timestamp,
    pub(crate) open: Decimal,
    pub(crate) high: Decimal,
    pub(crate) low: Decimal,
    pub(crate) close: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) trades: u64,
    pub(crate) vwap: Decimal,
}

/// What a tape is made with.
#[derive(Clone, Debug)]
pub(crate) struct TapeConfig {
    pub(crate) seed: u64,
    /// From one trade of a symbol to its next.
    pub(crate) trade_interval: Duration,
    /// From one quote of a symbol to its next.
    pub(crate) quote_interval: Duration,
    /// Trading hours from the beginning on; before, the market kept the calendar's.
    pub(crate) market: Market,
    pub(crate) splits: Splits,
    /// What happened, instead of what the seed invents.
    pub(crate) recording: Option<Arc<Recording>>,
}

impl Default for TapeConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            trade_interval: Duration::from_secs(1),
            quote_interval: Duration::from_millis(250),
            market: Market::Open,
            splits: Splits::default(),
            recording: None,
        }
    }
}

/// Every symbol's past and future.
#[derive(Debug)]
pub(crate) struct Tape {
    config: TapeConfig,
    assets: Arc<Assets>,
    began_at: Timestamp,
    levers: RwLock<Levers>,
    days: Mutex<HashMap<(String, Date), Option<Bar>>>,
}

/// What was done to the market by hand, in the order of time.
#[derive(Debug)]
struct Levers {
    pins: HashMap<String, Vec<(Timestamp, Decimal)>>,
    hours: Hours,
}

impl Tape {
    pub(crate) fn new(config: TapeConfig, assets: Arc<Assets>, began_at: Timestamp) -> Self {
        let hours = Hours::new(began_at, config.market);
        Self {
            config,
            assets,
            began_at,
            levers: RwLock::new(Levers {
                pins: HashMap::new(),
                hours,
            }),
            days: Mutex::default(),
        }
    }

    /// Nails a price down from `at` until it is set again.
    pub(crate) fn pin(&self, symbol: &str, at: Timestamp, price: Decimal) {
        let mut levers = self.levers.write().unwrap_or_else(PoisonError::into_inner);
        let pins = levers.pins.entry(symbol.to_owned()).or_default();
        // A pin of the same moment, or one from a clock that ran backwards, gives way.
        pins.retain(|(pinned_at, _)| *pinned_at < at);
        pins.push((at, price));
    }

    /// Changes the trading hours from `at` on.
    pub(crate) fn set_market(&self, at: Timestamp, market: Market) {
        let mut levers = self.levers.write().unwrap_or_else(PoisonError::into_inner);
        levers.hours.change(at, market);
    }

    pub(crate) fn splits(&self) -> &Splits {
        &self.config.splits
    }

    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.config.recording.as_deref()
    }

    /// The price of the last trade, whether or not the market is open.
    pub(crate) fn price_at(&self, asset: &Asset, at: Timestamp) -> Decimal {
        self.price_with(&self.levers(), asset, at)
    }

    fn price_with(&self, levers: &Levers, asset: &Asset, at: Timestamp) -> Decimal {
        Pricer::new(self, levers, asset).at(at)
    }

    /// What the market offers, and the price of the last trade, whether or not it is open.
    pub(crate) fn look(&self, asset: &Asset, at: Timestamp) -> (Quote, Decimal) {
        let levers = self.levers();
        if levers.pinned(&asset.symbol, at).is_none()
            && let Some(recording) = self.recording()
            && let Some(quote) = recording.quote_at(&asset.symbol, at)
        {
            return (quote, self.price_with(&levers, asset, at));
        }
        let last = self.price_with(&levers, asset, at);
        (quote_around(asset, &self.walk(asset), last, at), last)
    }

    /// Trades of `from <= at < until`, oldest first.
    pub(crate) fn trades(&self, asset: &Asset, from: Timestamp, until: Timestamp) -> Vec<Trade> {
        let Some((recording, pinned_at)) = self.recording_of(asset, until) else {
            return self.invented_trades(asset, from, until);
        };
        let mut trades = recording.trades(&asset.symbol, from, pinned_at);
        trades.extend(self.invented_trades(asset, from.max(pinned_at), until));
        trades
    }

    /// What the seed has, or who pinned the price.
    fn invented_trades(&self, asset: &Asset, from: Timestamp, until: Timestamp) -> Vec<Trade> {
        let levers = self.levers();
        let walk = self.walk(asset);
        let mut price = Pricer::new(self, &levers, asset);
        let mut trades = Vec::new();
        let interval = walk::nanos(self.config.trade_interval);
        for span in levers.hours.spans(asset, from, until) {
            for index in Walk::indexes(interval, &span) {
                let at = walk.trade_time(interval, index);
                if !span.contains(at) {
                    continue;
                }
                let at = walk::timestamp(at);
                trades.push(Trade {
                    at,
                    id: u64::try_from(index).unwrap_or(0),
                    price: price.at(at),
                    size: walk.trade_size(index, span.weight),
                    exchange: Cow::Borrowed(home(asset)),
                });
            }
        }
        trades
    }

    /// Quotes of `from <= at < until`, oldest first.
    pub(crate) fn quotes(&self, asset: &Asset, from: Timestamp, until: Timestamp) -> Vec<Quote> {
        let Some((recording, pinned_at)) = self.recording_of(asset, until) else {
            return self.invented_quotes(asset, from, until);
        };
        let recorded = recording.quotes(&asset.symbol, from, pinned_at);
        let mut quotes = recorded.unwrap_or_else(|| {
            let walk = self.walk(asset);
            let trades = recording.trades(&asset.symbol, from, pinned_at);
            let around = |trade: Trade| quote_around(asset, &walk, trade.price, trade.at);
            trades.into_iter().map(around).collect()
        });
        quotes.extend(self.invented_quotes(asset, from.max(pinned_at), until));
        quotes
    }

    fn invented_quotes(&self, asset: &Asset, from: Timestamp, until: Timestamp) -> Vec<Quote> {
        let levers = self.levers();
        let walk = self.walk(asset);
        let mut price = Pricer::new(self, &levers, asset);
        let interval = walk::nanos(self.config.quote_interval);
        let mut quotes = Vec::new();
        for span in levers.hours.spans(asset, from, until) {
            for index in Walk::indexes(interval, &span) {
                let at = interval.saturating_mul(index);
                if span.contains(at) {
                    let at = walk::timestamp(at);
                    quotes.push(quote_around(asset, &walk, price.at(at), at));
                }
            }
        }
        quotes
    }

    /// The moments at which a recording moves, `from < at <= until`: an order must meet each of them, however fast time
    /// passes. A seeded tape moves all the time, and has none.
    pub(crate) fn moments(&self, from: Timestamp, until: Timestamp) -> &[Timestamp] {
        self.recording()
            .map_or(&[], |recording| recording.moments(from, until))
    }

    /// When the hours of trading, as far as they are known at `at`, let this asset trade.
    pub(crate) fn is_open(&self, asset: &Asset, at: Timestamp) -> bool {
        let until = at.checked_add(Duration::from_nanos(1)).unwrap_or(at);
        !self.levers().hours.spans(asset, at, until).is_empty()
    }

    /// When trading was opened or closed by hand in `from <= at < until`, and whether the asset trades since.
    pub(crate) fn openings(
        &self,
        asset: &Asset,
        from: Timestamp,
        until: Timestamp,
    ) -> Vec<(Timestamp, bool)> {
        let changes = self.levers().hours.changes(from, until);
        changes
            .into_iter()
            .map(|at| (at, self.is_open(asset, at)))
            .collect()
    }

    /// The recording, if it has this asset, and until when before `until` it counts: a price pinned by hand ends it.
    fn recording_of(&self, asset: &Asset, until: Timestamp) -> Option<(&Recording, Timestamp)> {
        let recording = self
            .recording()
            .filter(|recording| recording.has(&asset.symbol))?;
        let pinned_at = self.levers().pinned_from(&asset.symbol);
        Some((recording, pinned_at.map_or(until, |at| at.min(until))))
    }

    /// Is anything known of its price by then? Of what is recorded, nothing is before it begins.
    pub(crate) fn is_known(&self, asset: &Asset, at: Timestamp) -> bool {
        let recorded_from = self
            .recording()
            .and_then(|recording| recording.known_from(&asset.symbol));
        recorded_from.is_none_or(|from| from <= at) || self.levers().pinned(&asset.symbol, at).is_some()
    }

    /// Do the ticks of this asset come from the recording alone, up to `until`?
    pub(crate) fn is_recorded(&self, asset: &Asset, until: Timestamp) -> bool {
        self.recording_of(asset, until)
            .is_some_and(|(_, ends_at)| ends_at == until)
    }

    fn walk(&self, asset: &Asset) -> Walk<'_> {
        Walk::new(self.config.seed, asset, self.config.splits.of(&asset.symbol))
    }

    fn levers(&self) -> RwLockReadGuard<'_, Levers> {
        self.levers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Levers {
    /// When the price was first pinned.
    fn pinned_from(&self, symbol: &str) -> Option<Timestamp> {
        let (at, _) = self.pins.get(symbol)?.first()?;
        Some(*at)
    }

    fn pinned(&self, symbol: &str, at: Timestamp) -> Option<Decimal> {
        let pins = self.pins.get(symbol)?;
        let after = pins.partition_point(|(pinned_at, _)| *pinned_at <= at);
        pins.get(after.checked_sub(1)?).map(|(_, price)| *price)
    }
}

/// The quote that has `last` in its middle.
fn quote_around(asset: &Asset, walk: &Walk<'_>, last: Decimal, at: Timestamp) -> Quote {
    let half = (last * Decimal::new(HALF_SPREAD_BPS, 4))
        .round_dp(grid_scale(last))
        .max(tick_size(last));
    let (bid_size, ask_size) = walk.sizes(at);
    Quote {
        at,
        bid: if last > half { last - half } else { last },
        bid_size,
        ask: last + half,
        ask_size,
        exchange: Cow::Borrowed(home(asset)),
    }
}

/// The listing exchange in the one-letter code of the data feeds.
pub(crate) fn home(asset: &Asset) -> &'static str {
    match (asset.class, asset.exchange) {
        (AssetClass::Crypto, _) => "CBSE",
        (AssetClass::UsOption, _) => "C",
        (AssetClass::UsEquity, "NYSE") => "N",
        (AssetClass::UsEquity, "ARCA") => "P",
        (AssetClass::UsEquity, _) => "Q",
    }
}
