//! What the account may do now: buying power, what may be sold, and no trading with itself.

use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::{Asset, AssetClass};
use super::exchange::{Exchange, is_limited};
use super::order::{OrderClass, OrderType, PositionIntent, Side};
use super::refusal::Refusal;
use super::rules::{Draft, Leg};

/// A margin account's equity counts twice.
pub(crate) const MARGIN_MULTIPLIER: Decimal = Decimal::TWO;
/// An opening short is valued at this many times the ask, or its limit if that is more.
const SHORT_MARKUP: Decimal = Decimal::from_parts(103, 0, 0, false, 2);
/// Smallest crypto order, in dollars.
const CRYPTO_COST_MIN: Decimal = Decimal::TEN;

/// What an accepted order takes with it.
pub(crate) struct Verdict {
    pub(crate) hold_price: Decimal,
    pub(crate) position_intent: Option<PositionIntent>,
}

/// The account's money, as of the current prices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Funds {
    pub(crate) equity: Decimal,
    pub(crate) long_value: Decimal,
    /// Negative.
    pub(crate) short_value: Decimal,
    pub(crate) buying_power: Decimal,
    pub(crate) non_marginable: Decimal,
}

impl Exchange {
    /// May the account send this order now, and what does the order keep if so?
    pub(crate) fn assess(&self, draft: &Draft) -> Result<Verdict, Refusal> {
        match (&draft.asset, draft.side) {
            (Some(asset), Some(side)) => self.assess_single(draft, asset, side),
            (Some(_) | None, _) => self.assess_mleg(draft),
        }
    }

    fn assess_single(&self, draft: &Draft, asset: &Asset, side: Side) -> Result<Verdict, Refusal> {
        self.refuse_wash_trade(draft, asset, side)?;
        let quote = self.quote(asset);
        let far_side = match side {
            Side::Buy => quote.ask,
            Side::Sell => quote.bid,
        };
        let price = draft.limit_price.or(draft.stop_price).unwrap_or(far_side);
        let qty = match (draft.qty, draft.notional) {
            (Some(qty), _) => qty,
            (None, Some(notional)) => (notional / price).trunc_with_scale(super::QTY_SCALE),
            (None, None) => Decimal::ZERO,
        };
        if asset.class == AssetClass::Crypto && qty * price < CRYPTO_COST_MIN {
            return Err(Refusal::denied(
                "cost basis must be >= minimal amount of order 10",
            ));
        }
        if asset.class == AssetClass::UsEquity
            && !qty.fract().is_zero()
            && side == Side::Buy
            && qty * price < Decimal::ONE
        {
            return Err(Refusal::denied("cost basis must be >= minimal amount of order 1"));
        }
        let position = self.ledger.qty(&asset.symbol);
        let intent = inferred_intent(side, position);
        if let Some(given) = draft.position_intent
            && given != intent
            && asset.class == AssetClass::UsOption
        {
            return Err(Refusal::unprocessable(format!(
                "position intent mismatch, inferred: {}, specified: {}",
                intent.as_str(),
                given.as_str()
            )));
        }
        let hold_price = match intent {
            PositionIntent::BuyToClose | PositionIntent::SellToClose => {
                self.refuse_oversell(asset, qty, position)?;
                Decimal::ZERO
            }
            PositionIntent::BuyToOpen => {
                self.refuse_crossed_openings(draft, asset, side)?;
                // An OCO only ever leaves a position.
                if draft.class == OrderClass::Oco {
                    return Err(Refusal::insufficient_qty(
                        &asset.symbol,
                        qty,
                        Decimal::ZERO,
                        Decimal::ZERO,
                    ));
                }
                price * asset.multiplier()
            }
            PositionIntent::SellToOpen => self.short_price(draft, asset, qty, price.max(quote.ask))?,
        };
        let funds = self.funds();
        let available = match asset.class {
            AssetClass::UsEquity => funds.buying_power,
            AssetClass::Crypto | AssetClass::UsOption => funds.non_marginable,
        };
        let cost_basis = match draft.notional {
            Some(notional) if !hold_price.is_zero() => notional,
            Some(_) | None => hold_price * qty,
        };
        if cost_basis > available {
            return Err(Refusal::buying_power(available, cost_basis));
        }
        let hold_price = match draft.notional {
            Some(_) if !hold_price.is_zero() => Decimal::ONE,
            Some(_) | None => hold_price,
        };
        Ok(Verdict {
            hold_price,
            position_intent: Some(draft.position_intent.unwrap_or(intent)),
        })
    }

    /// Dollars a short keeps per unit, or why it may not be opened.
    fn short_price(
        &self,
        draft: &Draft,
        asset: &Asset,
        qty: Decimal,
        value: Decimal,
    ) -> Result<Decimal, Refusal> {
        match asset.class {
            AssetClass::Crypto => Err(Refusal::insufficient_balance(asset.coin(), qty, Decimal::ZERO)),
            AssetClass::UsEquity if draft.class == OrderClass::Oco => Err(Refusal::insufficient_qty(
                &asset.symbol,
                qty,
                Decimal::ZERO,
                Decimal::ZERO,
            )),
            AssetClass::UsEquity if draft.notional.is_some() || !qty.fract().is_zero() => {
                Err(Refusal::denied("fractional orders are not allowed to short"))
            }
            AssetClass::UsEquity => {
                self.refuse_crossed_openings(draft, asset, Side::Sell)?;
                Ok(value * SHORT_MARKUP)
            }
            AssetClass::UsOption => self.option_writing_price(asset, qty),
        }
    }

    /// A written call must be covered by shares, a written put by cash.
    fn option_writing_price(&self, asset: &Asset, qty: Decimal) -> Result<Decimal, Refusal> {
        let (Some(contract), Some(underlying)) = (
            asset.contract,
            asset.underlying.and_then(|symbol| self.assets.find(symbol)),
        ) else {
            return Err(Refusal::denied(
                "account not eligible to trade uncovered option contracts",
            ));
        };
        if !contract.is_call {
            return Ok(contract.strike * asset.multiplier());
        }
        let required = qty * asset.multiplier();
        let (existing, held) = self.available(&underlying.symbol);
        let written: Decimal = self
            .ledger
            .positions()
            .filter(|position| {
                position.asset.underlying == asset.underlying
                    && position.asset.contract.is_some_and(|contract| contract.is_call)
                    && position.qty.is_sign_negative()
            })
            .map(|position| position.qty.abs() * position.asset.multiplier())
            .sum();
        let free = (existing - held - written).max(Decimal::ZERO);
        if required > free {
            return Err(Refusal::covered_call(required, free, underlying.id));
        }
        Ok(Decimal::ZERO)
    }

    fn assess_mleg(&self, draft: &Draft) -> Result<Verdict, Refusal> {
        for is_call in [true, false] {
            let count = |intent: PositionIntent| -> Decimal {
                let of_right = |leg: &&Leg| {
                    leg.asset
                        .contract
                        .is_some_and(|contract| contract.is_call == is_call)
                };
                let legs = draft.legs.iter().filter(of_right);
                legs.filter(|leg| leg.position_intent == intent)
                    .map(|leg| leg.ratio_qty)
                    .sum()
            };
            if count(PositionIntent::SellToOpen) > count(PositionIntent::BuyToOpen) {
                return Err(Refusal::denied(
                    "account not eligible to trade uncovered option contracts",
                ));
            }
        }
        let qty = draft.qty.unwrap_or_default();
        for leg in &draft.legs {
            let (existing, held) = self.available(&leg.asset.symbol);
            let position = self.ledger.qty(&leg.asset.symbol);
            let closes_nothing = match leg.position_intent {
                PositionIntent::SellToClose => position <= Decimal::ZERO,
                PositionIntent::BuyToClose => position >= Decimal::ZERO,
                PositionIntent::BuyToOpen | PositionIntent::SellToOpen => continue,
            };
            let wanted = qty * leg.ratio_qty;
            if closes_nothing {
                return Err(Refusal::denied(
                    "no available position for the specified contract",
                ));
            }
            if wanted > existing - held {
                return Err(Refusal::insufficient_qty(
                    &leg.asset.symbol,
                    wanted,
                    existing,
                    held,
                ));
            }
        }
        let debit = draft.limit_price.unwrap_or_else(|| self.net_ask(&draft.legs));
        let strikes = draft
            .legs
            .iter()
            .filter_map(|leg| leg.asset.contract)
            .map(|contract| contract.strike);
        let opens_short = draft
            .legs
            .iter()
            .any(|leg| leg.position_intent == PositionIntent::SellToOpen);
        let width = match (strikes.clone().min(), strikes.max()) {
            (Some(low), Some(high)) if opens_short => high - low,
            (Some(_) | None, _) => Decimal::ZERO,
        };
        let worst = if debit >= Decimal::ZERO {
            debit
        } else {
            (width + debit).max(Decimal::ZERO)
        };
        let hold_price = worst * Decimal::ONE_HUNDRED;
        let available = self.funds().non_marginable;
        let cost_basis = hold_price * qty;
        if cost_basis > available {
            return Err(Refusal::denied(format!(
                "insufficient options buying power for mleg order (required: {}, available: {})",
                cost_basis.normalize(),
                available.normalize()
            )));
        }
        Ok(Verdict {
            hold_price,
            position_intent: None,
        })
    }

    /// What one unit of a multi-leg order costs at the market: positive is a debit.
    fn net_ask(&self, legs: &[Leg]) -> Decimal {
        legs.iter()
            .map(|leg| {
                let quote = self.quote(&leg.asset);
                match leg.side {
                    Side::Buy => quote.ask * leg.ratio_qty,
                    Side::Sell => -quote.bid * leg.ratio_qty,
                }
            })
            .sum()
    }

    /// Two opposite orders of one account that could meet are refused; advanced classes and trailing stops
    /// are exempt on both sides.
    fn refuse_wash_trade(&self, draft: &Draft, asset: &Asset, side: Side) -> Result<(), Refusal> {
        if draft.class != OrderClass::Simple || draft.order_type == OrderType::TrailingStop {
            return Ok(());
        }
        // Without a limit of its own, an order meets whatever stands on the other side.
        let limit = draft.limit_price.filter(|_| is_limited(draft.order_type));
        let counterparty = self
            .book
            .standing(&asset.symbol)
            .and_then(|standing| standing.counterparty(side, limit))
            .and_then(|id| self.book.get(id));
        match counterparty {
            Some(order) => {
                let name = match order.order_type {
                    Some(OrderType::Market) => "market",
                    Some(OrderType::Stop | OrderType::TrailingStop) => "stop",
                    Some(OrderType::Limit | OrderType::StopLimit) | None => "limit",
                };
                Err(Refusal::wash_trade(order.id, name))
            }
            None => Ok(()),
        }
    }

    /// From flat, an order may not open one way while another waits to open the other way.
    fn refuse_crossed_openings(&self, draft: &Draft, asset: &Asset, side: Side) -> Result<(), Refusal> {
        let standing = self.book.standing(&asset.symbol);
        let opens_other_way = standing.is_some_and(|standing| standing.opens(side.opposite()));
        if draft.class == OrderClass::Mleg || !opens_other_way {
            return Ok(());
        }
        Err(Refusal::denied(match side {
            Side::Buy => "cannot open a long buy while a short sell order is open",
            Side::Sell => "cannot open a short sell while a long buy order is open",
        }))
    }

    fn refuse_oversell(&self, asset: &Asset, qty: Decimal, position: Decimal) -> Result<(), Refusal> {
        let (existing, held) = self.available(&asset.symbol);
        if qty <= existing - held {
            return Ok(());
        }
        if asset.class == AssetClass::Crypto {
            return Err(Refusal::insufficient_balance(asset.coin(), qty, existing - held));
        }
        let sign = if position.is_sign_negative() {
            -Decimal::ONE
        } else {
            Decimal::ONE
        };
        Err(Refusal::insufficient_qty(
            &asset.symbol,
            qty,
            existing * sign,
            held,
        ))
    }

    /// Units held of a symbol, and how many of them open closing orders keep; both unsigned. The members of
    /// one bracket or OCO keep the same units, since only one of them will trade.
    pub(crate) fn available(&self, symbol: &str) -> (Decimal, Decimal) {
        let position = self.ledger.qty(symbol);
        let closing = if position.is_sign_negative() {
            Side::Buy
        } else {
            Side::Sell
        };
        let Some(standing) = self.book.standing(symbol) else {
            return (position.abs(), Decimal::ZERO);
        };
        let (mut held, sharing) = standing.keeps(closing);
        let mut groups: Vec<(Uuid, Decimal)> = Vec::new();
        for order in sharing.filter_map(|id| self.book.get(id)) {
            let leaves = match (order.qty, self.assets.find(symbol)) {
                (None, Some(asset)) => order.leaves_at(self.quote(&asset).bid),
                (Some(_), _) | (None, None) => order.leaves_qty(),
            };
            let group = match order.class {
                OrderClass::Bracket | OrderClass::Oco | OrderClass::Oto => order.parent.unwrap_or(order.id),
                OrderClass::Simple | OrderClass::Mleg => {
                    held += leaves;
                    continue;
                }
            };
            match groups.iter_mut().find(|(id, _)| *id == group) {
                Some((_, most)) => *most = (*most).max(leaves),
                None => groups.push((group, leaves)),
            }
        }
        held += groups.iter().map(|(_, most)| *most).sum::<Decimal>();
        (position.abs(), held)
    }

    pub(crate) fn funds(&self) -> Funds {
        let (mut long_value, mut short_value) = (Decimal::ZERO, Decimal::ZERO);
        for position in self.ledger.positions() {
            let value = position.qty * self.quote(&position.asset).last * position.asset.multiplier();
            if value.is_sign_negative() {
                short_value += value;
            } else {
                long_value += value;
            }
        }
        let equity = self.ledger.cash + long_value + short_value;
        let held = self.book.held();
        let exposure = long_value - short_value;
        Funds {
            equity,
            long_value,
            short_value,
            buying_power: (equity * MARGIN_MULTIPLIER - exposure - held).max(Decimal::ZERO),
            non_marginable: (self.ledger.cash + short_value - held).max(Decimal::ZERO),
        }
    }
}

fn inferred_intent(side: Side, position: Decimal) -> PositionIntent {
    match side {
        Side::Buy if position < Decimal::ZERO => PositionIntent::BuyToClose,
        Side::Buy => PositionIntent::BuyToOpen,
        Side::Sell if position > Decimal::ZERO => PositionIntent::SellToClose,
        Side::Sell => PositionIntent::SellToOpen,
    }
}
