//! Cash and positions: the fold of all executions.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

use super::QTY_SCALE;
use super::assets::{Asset, AssetClass};
use super::order::Side;

/// Crypto fee: 25 basis points of what is received, coins on a buy and dollars on a sell.
const CRYPTO_FEE: Decimal = Decimal::from_parts(25, 0, 0, false, 4);

/// What the account holds of one asset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    pub(crate) asset: Asset,
    /// Negative when short.
    pub(crate) qty: Decimal,
    pub(crate) avg_entry_price: Decimal,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) cash: Decimal,
    positions: BTreeMap<String, Position>,
}

impl Ledger {
    pub(crate) fn new(cash: Decimal) -> Self {
        Self {
            cash,
            positions: BTreeMap::new(),
        }
    }

    pub(crate) fn positions(&self) -> impl Iterator<Item = &Position> {
        self.positions.values()
    }

    pub(crate) fn position(&self, symbol: &str) -> Option<&Position> {
        self.positions.get(symbol)
    }

    /// Signed units held; zero when flat.
    pub(crate) fn qty(&self, symbol: &str) -> Decimal {
        self.positions
            .get(symbol)
            .map_or(Decimal::ZERO, |position| position.qty)
    }

    /// Books one execution and returns the signed position afterwards.
    pub(crate) fn book(&mut self, asset: &Asset, side: Side, qty: Decimal, price: Decimal) -> Decimal {
        let value = qty * price * asset.multiplier();
        let is_crypto = asset.class == AssetClass::Crypto;
        let fee = if is_crypto {
            crypto_fee(side, qty, price)
        } else {
            Fee::default()
        };
        self.cash -= side.signed(value) + fee.dollars;
        let change = side.signed(qty) - fee.coins;
        let position = self
            .positions
            .entry(asset.symbol.clone())
            .or_insert_with(|| Position {
                asset: asset.clone(),
                qty: Decimal::ZERO,
                avg_entry_price: price,
            });
        let before = position.qty;
        position.qty += change;
        let after = position.qty;
        let grows = before.is_zero() || before.is_sign_negative() == change.is_sign_negative();
        let crosses =
            !before.is_zero() && !after.is_zero() && before.is_sign_negative() != after.is_sign_negative();
        if after.is_zero() {
            self.positions.remove(&asset.symbol);
        } else if crosses {
            position.avg_entry_price = price;
        } else if grows {
            let cost = position.avg_entry_price * before.abs() + price * change.abs();
            position.avg_entry_price = (cost / after.abs()).round_dp(QTY_SCALE);
        }
        after
    }
}

/// What a crypto execution costs, of what is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fee {
    pub(crate) coins: Decimal,
    pub(crate) dollars: Decimal,
}

pub(crate) fn crypto_fee(side: Side, qty: Decimal, price: Decimal) -> Fee {
    match side {
        Side::Buy => Fee {
            coins: round_fee_up(qty * CRYPTO_FEE),
            ..Fee::default()
        },
        Side::Sell => Fee {
            dollars: round_fee_up(qty * price * CRYPTO_FEE),
            ..Fee::default()
        },
    }
}

/// A fee never rounds in the client's favour.
fn round_fee_up(fee: Decimal) -> Decimal {
    fee.round_dp_with_strategy(QTY_SCALE, RoundingStrategy::AwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::super::assets::Assets;
    use super::*;

    #[test]
    fn a_crypto_buy_receives_less_than_it_filled() {
        let btc = Assets::new().find("BTC/USD").unwrap();
        let mut ledger = Ledger::new(Decimal::from(1000));
        let held = ledger.book(&btc, Side::Buy, Decimal::ONE, Decimal::ONE_HUNDRED);
        assert_eq!(held, Decimal::new(9975, 4));
        assert_eq!(ledger.cash, Decimal::from(900));
    }

    #[test]
    fn averages_follow_growth_survive_reduction_and_restart_after_a_cross() {
        let spy = Assets::new().find("SPY").unwrap();
        let mut ledger = Ledger::new(Decimal::ZERO);
        let mut book = |side, qty: i64, price: i64| {
            ledger.book(&spy, side, Decimal::from(qty), Decimal::from(price));
            ledger
                .position("SPY")
                .map(|held| (held.qty, held.avg_entry_price))
        };
        let held = |qty: i64, average: i64| Some((Decimal::from(qty), Decimal::from(average)));
        assert_eq!(book(Side::Buy, 1, 10), held(1, 10));
        assert_eq!(book(Side::Buy, 1, 20), held(2, 15));
        assert_eq!(book(Side::Sell, 1, 90), held(1, 15));
        assert_eq!(book(Side::Sell, 3, 30), held(-2, 30));
        assert_eq!(book(Side::Buy, 2, 30), None);
    }
}
