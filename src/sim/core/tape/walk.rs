//! A symbol's invented life: price, trades and sizes as functions of the seed and the time.

use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::super::assets::{Asset, AssetClass};
use super::super::prices::{on_grid, tick_size};
use super::super::rng::Seeded;
use super::noise::{self, Curve, hash};
use super::spans::Span;
use super::splits::Ratio;

const SALT_TIME: u64 = 101;
const SALT_SIZE: u64 = 102;
const SALT_BID: u64 = 103;
const SALT_ASK: u64 = 104;
/// Sizes of quotes stay for this long.
const SIZE_NANOS: i64 = 1_000_000_000;

/// Where one symbol stands at any moment, and what trades there.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    key: u64,
    curve: Curve,
    /// Ten-thousandths of a dollar.
    base: i64,
    is_coin: bool,
    splits: &'a [(Timestamp, Ratio)],
}

impl<'a> Walk<'a> {
    pub(super) fn new(seed: u64, asset: &Asset, splits: &'a [(Timestamp, Ratio)]) -> Self {
        let key = Seeded::for_name(seed, &asset.symbol).draw();
        Self {
            key,
            curve: Curve::new(key),
            base: (asset.base_price * Decimal::from(10_000))
                .to_i64()
                .unwrap_or(10_000),
            is_coin: asset.class == AssetClass::Crypto,
            splits,
        }
    }

    pub(super) fn price_at(&mut self, at: Timestamp) -> Decimal {
        let swing = i128::from(self.curve.at(nanos_of(at)));
        let base = i128::from(self.base);
        let moved = base + base * swing / i128::from(noise::ONE);
        let price = Decimal::new(i64::try_from(moved).unwrap_or(self.base), 4);
        // The curve is that of today's shares; on the day, there were fewer of them and each cost more.
        let price = self
            .splits
            .iter()
            .filter(|(effective_at, _)| at < *effective_at)
            .fold(price, |price, (_, ratio)| ratio.undo_price(price));
        on_grid(price).max(tick_size(price))
    }

    /// Which ticks of a grid may fall into a span; the first and last may not, when they come late in their interval.
    pub(super) fn indexes(interval: i64, span: &Span) -> impl Iterator<Item = i64> + use<> {
        let (first, last) = (span.from.div_euclid(interval), span.until.div_euclid(interval));
        let every = span.every.max(1);
        let first = first.saturating_add((every - first.rem_euclid(every)) % every);
        (first..=last).step_by(usize::try_from(every).unwrap_or(1))
    }

    /// A trade happens at a random moment of its interval.
    pub(super) fn trade_time(&self, interval: i64, index: i64) -> i64 {
        let late = hash(self.key, SALT_TIME, index) % interval.unsigned_abs().max(1);
        interval
            .saturating_mul(index)
            .saturating_add(i64::try_from(late).unwrap_or(0))
    }

    pub(super) fn trade_size(&self, index: i64, weight: i64) -> Decimal {
        let chance = hash(self.key, SALT_SIZE, index);
        // Mostly small, sometimes a block.
        let most = if chance & 0x1F == 0 { 2_000 } else { 200 };
        self.size((1 + (chance >> 8) % most) * weight.unsigned_abs())
    }

    /// Units bid and asked for at a moment.
    pub(super) fn sizes(&self, at: Timestamp) -> (Decimal, Decimal) {
        let place = nanos_of(at).div_euclid(SIZE_NANOS);
        let size = |salt| self.size(100 * (1 + hash(self.key, salt, place) % 20));
        (size(SALT_BID), size(SALT_ASK))
    }

    fn size(&self, units: u64) -> Decimal {
        let scale = if self.is_coin { 4 } else { 0 };
        Decimal::new(i64::try_from(units).unwrap_or(1), scale)
    }
}

/// Nanoseconds since the epoch; the years that do not fit end at the last that does.
pub(super) fn nanos_of(at: Timestamp) -> i64 {
    let nanos = at.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos > 0 { i64::MAX } else { i64::MIN })
}

pub(super) fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// An interval as a positive number of nanoseconds.
pub(super) fn nanos(interval: Duration) -> i64 {
    i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(1)
}
