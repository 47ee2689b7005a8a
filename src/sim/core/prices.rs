//! What the market offers an order now, and the grid that prices stand on. The prices themselves come from the tape.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::{Decimal, RoundingStrategy};

use super::assets::{Asset, Contract};
use super::tape::Tape;

/// What the market offers at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) bid: Decimal,
    pub(crate) ask: Decimal,
    pub(crate) last: Decimal,
}

/// The tape, read at the moment of the exchange.
#[derive(Debug)]
pub(crate) struct Prices(Arc<Tape>);

impl Prices {
    pub(crate) fn new(tape: Arc<Tape>) -> Self {
        Self(tape)
    }

    pub(crate) fn tape(&self) -> &Arc<Tape> {
        &self.0
    }

    /// Has it a price yet?
    pub(crate) fn is_known(&self, asset: &Asset, now: Timestamp) -> bool {
        self.0.is_known(asset, now)
    }

    pub(crate) fn quote(&self, asset: &Asset, now: Timestamp) -> Quote {
        let (quote, last) = self.0.look(asset, now);
        Quote {
            bid: quote.bid,
            ask: quote.ask,
            last,
        }
    }
}

/// Intrinsic value plus a crude time value: 2 % of the underlying, fading linearly over the last 90 days
/// and with the distance from the strike. It is smooth and positive, and nothing more is asked of it.
pub(crate) fn option_price(contract: Contract, spot: Decimal, today: Date) -> Decimal {
    const FADE_DAYS: i32 = 90;
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

/// Cheapest and dearest price: beyond them sums of money would not fit into a decimal.
const PRICES: (Decimal, Decimal) = (
    Decimal::from_parts(1, 0, 0, false, 9),
    Decimal::from_parts(100_000_000, 0, 0, false, 0),
);

/// Is it a price that something could have?
pub(crate) fn is_price(price: Decimal) -> bool {
    let (cheapest, dearest) = PRICES;
    (cheapest..=dearest).contains(&price)
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
