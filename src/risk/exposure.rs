//! What the account holds, and what it may come to hold: pure sums, and of every doubt the worse side.
//!
//! The venue's positions are the ground. On it come the fills that were heard after they were read, or so shortly before
//! that they may not show yet, the orders that work, and the orders on their way. What may still be filled is added to the
//! side it enlarges and never taken off the other one: it may also be canceled.

use std::collections::HashMap;

use jiff::SignedDuration;
use rust_decimal::Decimal;

use super::request::{Request, legs_of, multiplier};
use crate::blotter::Fill;
use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::order::Side;
use crate::domain::{Holdings, Order, OrderId, Position, Symbol};

/// How long the venue's positions may lag behind its fills.
pub(super) const LAG: SignedDuration = SignedDuration::from_secs(2);

/// One instrument, however its symbol is spelled: a crypto pair has two spellings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Instrument(String);

impl Instrument {
    pub(super) fn of(symbol: &Symbol) -> Self {
        Self(symbol.as_str().replace('/', ""))
    }
}

/// What is held of one instrument, and what may come on top. Quantities; short positions are negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exposure {
    pub(super) held: Decimal,
    /// May still be bought, or was and does not show.
    pub(super) buys: Decimal,
    /// May still be sold, or was and does not show.
    pub(super) sells: Decimal,
}

impl Exposure {
    /// The largest position it may become.
    pub(super) fn highest(&self) -> Option<Decimal> {
        self.held.checked_add(self.buys)
    }

    /// The smallest position it may become; the largest short one.
    pub(super) fn lowest(&self) -> Option<Decimal> {
        self.held.checked_sub(self.sells)
    }

    /// The larger of the two, without its sign.
    pub(super) fn worst(&self) -> Option<Decimal> {
        Some(self.highest()?.abs().max(self.lowest()?.abs()))
    }

    /// With so much more on one side.
    pub(super) fn with(mut self, side: Side, qty: Decimal) -> Option<Self> {
        let more = match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        };
        *more = more.checked_add(qty)?;
        Some(self)
    }

    /// Whether so much on this side makes the position smaller, whatever else is filled, and does not turn it around.
    pub(super) fn is_reduced_by(&self, side: Side, qty: Decimal) -> bool {
        match side {
            Side::Sell => self.lowest().is_some_and(|lowest| lowest >= qty),
            Side::Buy => self.highest().is_some_and(|highest| -highest >= qty),
        }
    }
}

/// The exposures of an account. `None` from a question: it cannot be said.
#[derive(Debug, Default)]
pub(super) struct Exposures {
    by_instrument: HashMap<Instrument, Exposure>,
    /// Something of this instrument may be traded, and nobody can say how much.
    uncertain: HashMap<Instrument, ()>,
}

/// What exposures are summed from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) holdings: &'a Holdings,
    pub(super) open: &'a [&'a Order],
    pub(super) fills: &'a [&'a Fill],
    /// Orders on their way.
    pub(super) begun: &'a [&'a Request],
    /// An order that is about to be replaced, and counts no more.
    pub(super) replaced: Option<OrderId>,
}

impl Exposures {
    /// Sums up. `price_of` serves orders for an amount of dollars.
    pub(super) fn sum(from: Sources<'_>, price_of: &dyn Fn(&Symbol) -> Option<Decimal>) -> Self {
        let mut sums = Self::default();
        for position in &from.holdings.positions {
            let exposure = sums.entry(&position.symbol);
            exposure.held = position.qty;
        }
        let shown = from
            .holdings
            .as_of
            .saturating_sub(LAG)
            .unwrap_or(from.holdings.as_of);
        for fill in from.fills.iter().filter(|fill| fill.at >= shown) {
            let side = if fill.signed_qty.is_sign_negative() {
                Side::Sell
            } else {
                Side::Buy
            };
            sums.add(&fill.symbol, side, Some(fill.signed_qty.abs()));
        }
        let mut exits: HashMap<(Instrument, bool, Decimal), [Decimal; 2]> = HashMap::new();
        for order in from
            .open
            .iter()
            .filter(|order| order.id != from.replaced || order.id.is_none())
        {
            let left = left_of(order, price_of);
            if let (Some(symbol), Some(side), Some(left), true) =
                (&order.symbol, order.side, left, is_exit(order))
            {
                // Two ways out of one position: one is filled, and the other one canceled.
                let key = (Instrument::of(symbol), side == Side::Buy, left);
                let is_limit = order.order_type == Some(OrderType::Limit);
                let [limits, stops] = exits.entry(key).or_default();
                let count = if is_limit { limits } else { stops };
                *count += Decimal::ONE;
                sums.entry(symbol);
                continue;
            }
            for leg in legs_of(order, left) {
                sums.add(&leg.symbol, leg.side, leg.qty);
            }
        }
        for ((instrument, is_buy, left), [limits, stops]) in exits {
            let side = if is_buy { Side::Buy } else { Side::Sell };
            let qty = left.checked_mul(limits.max(stops));
            sums.add_to(instrument, side, qty);
        }
        for request in from.begun {
            for leg in &request.legs {
                let of_dollars = || request.notional?.checked_div(price_of(&leg.symbol)?);
                sums.add(&leg.symbol, leg.side, leg.qty.or_else(of_dollars));
            }
        }
        sums
    }

    /// What is held of a symbol, and what may come on top. `None`: nobody can say.
    pub(super) fn of(&self, symbol: &Symbol) -> Option<Exposure> {
        let instrument = Instrument::of(symbol);
        if self.uncertain.contains_key(&instrument) {
            return None;
        }
        Some(self.by_instrument.get(&instrument).copied().unwrap_or_default())
    }

    /// Dollars of all of it at its worst, with `changed` in the place of what it was. `None`: nobody can say.
    pub(super) fn gross(
        &self,
        positions: &[Position],
        changed: &HashMap<Instrument, Exposure>,
        price_of: &dyn Fn(&Instrument) -> Option<Decimal>,
    ) -> Option<Decimal> {
        if !self.uncertain.is_empty() {
            return None;
        }
        let untouched = |instrument: &&Instrument| !changed.contains_key(*instrument);
        let all = self
            .by_instrument
            .iter()
            .filter(|(instrument, _)| untouched(instrument))
            .chain(changed);
        all.map(|(instrument, exposure)| {
            let worst = exposure.worst()?;
            if worst.is_zero() {
                return Some(Decimal::ZERO);
            }
            let position = positions
                .iter()
                .find(|position| Instrument::of(&position.symbol) == *instrument);
            let stated = position.and_then(|position| {
                let value = position.market_value?.abs();
                value.checked_div(position.qty.abs())
            });
            // A price in dollars of one unit, contracts with all their shares.
            let unit = stated.or_else(|| price_of(instrument))?;
            worst.checked_mul(unit)
        })
        .try_fold(Decimal::ZERO, |sum, dollars| sum.checked_add(dollars?))
    }

    fn entry(&mut self, symbol: &Symbol) -> &mut Exposure {
        self.by_instrument.entry(Instrument::of(symbol)).or_default()
    }

    fn add(&mut self, symbol: &Symbol, side: Side, qty: Option<Decimal>) {
        self.add_to(Instrument::of(symbol), side, qty);
    }

    fn add_to(&mut self, instrument: Instrument, side: Side, qty: Option<Decimal>) {
        let known = self.by_instrument.get(&instrument).copied().unwrap_or_default();
        match qty.and_then(|qty| known.with(side, qty)) {
            Some(exposure) => {
                self.by_instrument.insert(instrument, exposure);
            }
            None => {
                self.uncertain.insert(instrument, ());
            }
        }
    }
}

/// Whether an order is one of the ways out that a bracket or an OCO has.
fn is_exit(order: &Order) -> bool {
    // The exits of a bracket are named by the venue, its entry by whoever placed it.
    let is_venue_named = OrderId::parse(&order.client_order_id).is_some();
    match order.order_class {
        Some(OrderClass::OneCancelsOther) => true,
        Some(OrderClass::Bracket | OrderClass::OneTriggersOther) => is_venue_named,
        Some(OrderClass::Simple | OrderClass::MultiLeg) | None => false,
    }
}

/// What of an order may still be traded.
fn left_of(order: &Order, price_of: &dyn Fn(&Symbol) -> Option<Decimal>) -> Option<Decimal> {
    let total = match (order.qty, order.notional, &order.symbol) {
        (Some(qty), ..) => qty,
        (None, Some(notional), Some(symbol)) => notional.checked_div(price_of(symbol)?)?,
        (None, ..) => return None,
    };
    total
        .checked_sub(order.filled_qty)
        .map(|left| left.max(Decimal::ZERO))
}

/// Dollars of one unit at a price.
pub(super) fn unit_price(symbol: &Symbol, price: Decimal) -> Option<Decimal> {
    price.checked_mul(multiplier(symbol))
}
