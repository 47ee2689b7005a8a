//! One price per symbol: a seeded walk of a few basis points per tick that never strays far from where
//! it began. A price set by hand stands still, so that a test knows what it will see.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

use super::assets::{Asset, Assets, Contract};
use super::rng::Seeded;

/// Largest move of one tick, in basis points; chosen so that ten ticks a second look alive, not wild.
const STEP_MAX_BPS: u64 = 3;
/// Beyond this distance from the base price, in percent, the walk only turns back.
const STRAY_MAX_PERCENT: i64 = 10;
/// Half of the spread, in basis points.
const HALF_SPREAD_BPS: i64 = 1;

/// What the market offers at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) bid: Decimal,
    pub(crate) ask: Decimal,
    pub(crate) last: Decimal,
}

#[derive(Debug)]
struct Walk {
    base: Decimal,
    last: Decimal,
    chance: Seeded,
}

impl Walk {
    fn step(&mut self) {
        let move_bps = i64::try_from(self.chance.below(2 * STEP_MAX_BPS + 1)).unwrap_or(0)
            - i64::try_from(STEP_MAX_BPS).unwrap_or(0);
        let band = self.base * Decimal::new(STRAY_MAX_PERCENT, 2);
        let move_bps = match self.last - self.base {
            above if above > band => -move_bps.abs(),
            below if below < -band => move_bps.abs(),
            _ => move_bps,
        };
        let moved = self.last + self.last * Decimal::new(move_bps, 4);
        self.last = on_grid(moved).max(tick_size(moved));
    }
}

/// Every symbol's price.
#[derive(Debug)]
pub(crate) struct Prices {
    walks: BTreeMap<String, Walk>,
    pinned: HashMap<String, Decimal>,
}

impl Prices {
    pub(crate) fn new(seed: u64, assets: &Assets) -> Self {
        let walks = assets
            .listed()
            .iter()
            .map(|asset| {
                let chance = Seeded::for_name(seed, &asset.symbol);
                (
                    asset.symbol.clone(),
                    Walk {
                        base: asset.base_price,
                        last: asset.base_price,
                        chance,
                    },
                )
            })
            .collect();
        Self {
            walks,
            pinned: HashMap::new(),
        }
    }

    /// Moves every price that is not pinned by one step.
    pub(crate) fn tick(&mut self) {
        for (symbol, walk) in &mut self.walks {
            if !self.pinned.contains_key(symbol) {
                walk.step();
            }
        }
    }

    /// Nails the price down until it is set again.
    pub(crate) fn pin(&mut self, symbol: &str, price: Decimal) {
        self.pinned.insert(symbol.to_owned(), price);
    }

    pub(crate) fn quote(&self, asset: &Asset, now: Timestamp) -> Quote {
        let last = self.last(asset, now);
        let half = on_grid(last * Decimal::new(HALF_SPREAD_BPS, 4)).max(tick_size(last));
        let bid = if last > half { last - half } else { last };
        Quote {
            bid,
            ask: last + half,
            last,
        }
    }

    fn last(&self, asset: &Asset, now: Timestamp) -> Decimal {
        if let Some(price) = self.pinned.get(&asset.symbol) {
            return *price;
        }
        match (asset.contract, asset.underlying) {
            (Some(contract), Some(underlying)) => option_price(contract, self.walked(underlying), now),
            (Some(_) | None, _) => self.walked(&asset.symbol),
        }
    }

    fn walked(&self, symbol: &str) -> Decimal {
        let pinned = self.pinned.get(symbol).copied();
        pinned
            .or_else(|| self.walks.get(symbol).map(|walk| walk.last))
            .unwrap_or(Decimal::ONE)
    }
}

/// Intrinsic value plus a crude time value: 2 % of the underlying, fading linearly over the last 90 days
/// and with the distance from the strike. It is smooth and positive, and nothing more is asked of it.
fn option_price(contract: Contract, spot: Decimal, now: Timestamp) -> Decimal {
    const FADE_DAYS: i32 = 90;
    let today = now.to_zoned(super::calendar::new_york()).date();
    let days_left = contract
        .expires_on
        .since(today)
        .map_or(0, |span| span.get_days())
        .clamp(0, FADE_DAYS);
    let moneyness = if contract.is_call {
        spot - contract.strike
    } else {
        contract.strike - spot
    };
    let at_the_money = spot * Decimal::new(2, 2) * Decimal::from(days_left) / Decimal::from(FADE_DAYS);
    let time_value = (at_the_money - moneyness.abs() / Decimal::TEN).max(Decimal::ZERO);
    on_grid(moneyness.max(Decimal::ZERO) + time_value).max(Decimal::new(5, 2))
}

/// The smallest price step of the regulation: a cent from one dollar up, a hundredth of a cent below.
pub(crate) fn tick_size(price: Decimal) -> Decimal {
    Decimal::new(1, grid_scale(price))
}

pub(crate) fn grid_scale(price: Decimal) -> u32 {
    if price.abs() >= Decimal::ONE { 2 } else { 4 }
}

/// The price on the grid, nearest step, halves away from zero.
pub(crate) fn on_grid(price: Decimal) -> Decimal {
    price.round_dp_with_strategy(grid_scale(price), RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_prices_and_stays_near_home() {
        let assets = Assets::new();
        let mut one = Prices::new(7, &assets);
        let mut two = Prices::new(7, &assets);
        let spy = assets.find("SPY").unwrap();
        for _ in 0..5_000 {
            one.tick();
            two.tick();
            let quote = one.quote(&spy, Timestamp::UNIX_EPOCH);
            assert_eq!(quote, two.quote(&spy, Timestamp::UNIX_EPOCH));
            assert!(quote.bid < quote.last && quote.last < quote.ask);
            assert!((quote.last - spy.base_price).abs() < spy.base_price * Decimal::new(11, 2));
        }
    }

    #[test]
    fn a_pinned_price_stands_still() {
        let assets = Assets::new();
        let mut prices = Prices::new(1, &assets);
        prices.pin("SPY", Decimal::new(500, 0));
        prices.tick();
        let spy = assets.find("SPY").unwrap();
        assert_eq!(
            prices.quote(&spy, Timestamp::UNIX_EPOCH).last,
            Decimal::new(500, 0)
        );
    }
}
