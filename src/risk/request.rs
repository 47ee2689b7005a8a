//! An order as the limits see it.

use rust_decimal::Decimal;

use crate::domain::execution::{AssetClass, OrderClass, OrderType};
use crate::domain::order::{Exits, PositionIntent, Pricing, Replacement, Side, Size, Structure, TimeInForce};
use crate::domain::{ClientOrderId, NewOrder, Order, OrderId, Strategy, Symbol};

/// Shares that one option contract stands for.
const CONTRACT_SIZE: Decimal = Decimal::ONE_HUNDRED;

/// An order that wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: ClientOrderId,
    pub(super) strategy: Option<Strategy>,
    pub(super) legs: Vec<Leg>,
    /// Dollars, where the order says so itself.
    pub(super) notional: Option<Decimal>,
    /// The worst price it may trade at; of several legs the net price of one unit, without its sign.
    pub(super) price: Option<Decimal>,
    /// Whether that is a limit, which a collar is held against.
    pub(super) is_limit: bool,
    /// Units of several legs.
    pub(super) units: Option<Decimal>,
    /// The order it takes the place of, which is not counted beside it.
    pub(super) replaces: Option<OrderId>,
    /// It says itself that it opens a position, or brings along an order that would.
    pub(super) opens: bool,
    pub(super) shape: Shape,
}

/// What makes two orders the same for whoever sends one twice by mistake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    strategy: Option<String>,
    legs: Vec<(String, bool, Option<Decimal>)>,
    notional: Option<Decimal>,
    price: Option<Decimal>,
    order_type: Option<OrderType>,
    order_class: Option<OrderClass>,
    time_in_force: Option<TimeInForce>,
}

/// What is traded of one symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) symbol: Symbol,
    pub(super) side: Side,
    /// `None`: the order is for an amount of dollars.
    pub(super) qty: Option<Decimal>,
}

impl Leg {
    /// Dollars of one dollar of price.
    pub(super) fn multiplier(&self) -> Decimal {
        multiplier(&self.symbol)
    }
}

/// Dollars of one dollar of price.
pub(super) fn multiplier(symbol: &Symbol) -> Decimal {
    match symbol.asset_class() {
        AssetClass::UsOption => CONTRACT_SIZE,
        AssetClass::UsEquity | AssetClass::Crypto | AssetClass::Other => Decimal::ONE,
    }
}

impl Request {
    /// A new order.
    pub(super) fn new(id: &ClientOrderId, order: &NewOrder) -> Self {
        let strategy = Strategy::of(id.as_str());
        let (qty, notional) = match order.size {
            Size::Quantity(qty) => (Some(qty.decimal()), None),
            Size::Notional(notional) => (None, Some(notional.decimal())),
        };
        let (legs, price, is_limit, units, brings) = match &order.structure {
            Structure::Single {
                symbol,
                side,
                pricing,
                exits,
            } => {
                let leg = Leg {
                    symbol: symbol.clone(),
                    side: *side,
                    qty,
                };
                let (price, is_limit) = match pricing {
                    Pricing::Limit { limit } | Pricing::StopLimit { limit, .. } => {
                        (Some(limit.decimal()), true)
                    }
                    Pricing::Stop { stop } => (Some(stop.decimal()), false),
                    Pricing::Market | Pricing::TrailingStop(_) => (None, false),
                };
                // An OCO is two ways out of a position that exists; the others bring their way out of a new one.
                let brings = match exits {
                    Exits::None | Exits::OneCancelsOther(..) => false,
                    Exits::Bracket(..) | Exits::TriggersTakeProfit(..) | Exits::TriggersStopLoss(..) => true,
                };
                (vec![leg], price, is_limit, None, brings)
            }
            Structure::MultiLeg { legs, limit } => {
                let legs = legs.iter().map(|leg| Leg {
                    symbol: leg.symbol.clone(),
                    side: leg.side,
                    qty: qty.and_then(|qty| qty.checked_mul(leg.ratio.decimal())),
                });
                let price = limit.map(|limit| limit.decimal().abs());
                (legs.collect(), price, false, qty, false)
            }
        };
        let says_open = matches!(
            order.position_intent,
            Some(PositionIntent::BuyToOpen | PositionIntent::SellToOpen)
        );
        let shape = Shape {
            strategy: strategy.as_ref().map(ToString::to_string),
            legs: legs
                .iter()
                .map(|leg| {
                    (
                        leg.symbol.to_string(),
                        leg.side == Side::Buy,
                        leg.qty.map(|qty| qty.normalize()),
                    )
                })
                .collect(),
            notional: notional.map(|notional| notional.normalize()),
            price: price.map(|price| price.normalize()),
            order_type: Some(order.structure.order_type()),
            order_class: Some(order.structure.order_class()),
            time_in_force: Some(order.time_in_force),
        };
        Self {
            id: id.clone(),
            strategy,
            legs,
            notional,
            price,
            is_limit,
            units,
            replaces: None,
            opens: says_open || brings,
            shape,
        }
    }

    /// An order that takes the place of `old`, of which it differs by its changes.
    pub(super) fn replacement(id: &ClientOrderId, replacement: &Replacement, old: &Order) -> Self {
        let strategy = Strategy::of(id.as_str());
        let changes = &replacement.changes;
        let total = changes.quantity.map(|qty| qty.decimal()).or(old.qty);
        let left = total
            .and_then(|total| total.checked_sub(old.filled_qty))
            .map(|left| left.max(Decimal::ZERO));
        let legs = legs_of(old, left);
        let limit = changes
            .limit
            .map(|limit| limit.decimal().abs())
            .or(old.limit_price);
        let stop = changes.stop.map(|stop| stop.decimal()).or(old.stop_price);
        let is_multi_leg = old.symbol.is_none();
        let shape = Shape {
            strategy: strategy.as_ref().map(ToString::to_string),
            legs: vec![(replacement.replaces.to_string(), true, left)],
            notional: old.notional,
            price: limit.or(stop),
            order_type: old.order_type,
            order_class: old.order_class,
            time_in_force: changes.time_in_force,
        };
        Self {
            id: id.clone(),
            strategy,
            legs,
            notional: old.notional,
            price: limit.or(stop),
            is_limit: limit.is_some() && !is_multi_leg,
            units: left.filter(|_| is_multi_leg),
            replaces: Some(replacement.replaces),
            opens: false,
            shape,
        }
    }

    /// Dollars it may come to, at the given prices where it names none. `None`: nobody can say.
    pub(super) fn dollars(&self, price_of: impl Fn(&Leg) -> Option<Decimal>) -> Option<Decimal> {
        if let Some(notional) = self.notional {
            return Some(notional);
        }
        if let (Some(units), Some(net)) = (self.units, self.price) {
            return units.checked_mul(net)?.checked_mul(CONTRACT_SIZE);
        }
        let dollars = |leg: &Leg| {
            let price = self.price.filter(|_| self.units.is_none());
            // A sell may trade above its limit, and then it is worth what the market pays.
            let market = price_of(leg);
            let price = match (price, market, leg.side) {
                (Some(price), Some(market), Side::Sell) => Some(price.max(market)),
                (Some(price), ..) => Some(price),
                (None, market, _) => market,
            };
            leg.qty?.checked_mul(price?)?.checked_mul(leg.multiplier())
        };
        self.legs
            .iter()
            .try_fold(Decimal::ZERO, |sum, leg| sum.checked_add(dollars(leg)?))
    }
}

/// What of an order at the venue may still be traded.
pub(super) fn legs_of(order: &Order, left: Option<Decimal>) -> Vec<Leg> {
    match (&order.symbol, order.side) {
        (Some(symbol), Some(side)) => vec![Leg {
            symbol: symbol.clone(),
            side,
            qty: left,
        }],
        _ => order
            .legs
            .iter()
            .filter_map(|leg| {
                Some(Leg {
                    symbol: leg.symbol.clone()?,
                    side: leg.side?,
                    qty: left.and_then(|left| left.checked_mul(leg.ratio_qty.unwrap_or(Decimal::ONE))),
                })
            })
            .collect(),
    }
}
