//! What we ask the venue for. An order that makes no sense on paper cannot be written here.

use jiff::Timestamp;

use super::money::NetPrice;
use super::{Notional, OrderId, Percent, Price, Quantity, Symbol};

/// What the venue is asked to make under a client order id of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A new order.
    New(NewOrder),
    /// An order that takes the place of a working one.
    Replacement(Replacement),
}

/// An order that takes the place of a working one: the same but for its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The venue's id of the order it replaces.
    pub replaces: OrderId,
    /// What is new.
    pub changes: Changes,
}

/// What a replacement changes. `None` leaves a field as it is. At least one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new total quantity, what is filled already included.
    pub quantity: Option<Quantity>,
    /// How long it lives at the venue.
    pub time_in_force: Option<TimeInForce>,
    /// The limit price; of a multi-leg order its net price.
    pub limit: Option<NetPrice>,
    /// The stop price.
    pub stop: Option<Price>,
    /// The trail, in the unit the order has.
    pub trail: Option<Price>,
}

/// A new order, checked. Whether the venue likes it is the venue's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// What is traded and how the order is built.
    pub structure: Structure,
    /// How much.
    pub size: Size,
    /// How long it lives at the venue.
    pub time_in_force: TimeInForce,
    /// May trade before and after the regular session.
    pub extended_hours: bool,
    /// What it is meant to do to the position.
    pub position_intent: Option<PositionIntent>,
    /// Routing, for accounts that have it.
    pub advanced: Option<AdvancedInstructions>,
    /// Never to be sent after this instant.
    pub valid_until: Option<Timestamp>,
}

/// Whether one thing is traded or several together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structure {
    /// One instrument.
    Single {
        /// What.
        symbol: Symbol,
        /// Which way.
        side: Side,
        /// What it asks of the market.
        pricing: Pricing,
        /// The orders it brings along.
        exits: Exits,
    },
    /// Two to four option legs, filled together.
    MultiLeg {
        /// The legs.
        legs: Vec<Leg>,
        /// Net limit for one unit, or at the market.
        limit: Option<NetPrice>,
    },
}

/// Never both, never neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Shares, coins, contracts or units of a strategy.
    Quantity(Quantity),
    /// Dollars.
    Notional(Notional),
}

/// Which way an order trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Side {
    Buy,
    Sell,
}

/// What the order asks of the market. A stop order without a stop price cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Pricing {
    Market,
    Limit { limit: Price },
    Stop { stop: Price },
    StopLimit { stop: Price, limit: Price },
    TrailingStop(Trail),
}

/// How far a trailing stop trails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Dollars.
    Amount(Price),
    /// Percent of the price.
    Percent(Percent),
}

/// The orders an order brings along, in the venue's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exits {
    /// Class simple: none.
    None,
    /// Class bracket: both exits, behind an entry.
    Bracket(TakeProfit, StopLoss),
    /// Class OCO: both exits, of a position that exists.
    OneCancelsOther(TakeProfit, StopLoss),
    /// Class OTO with a take-profit.
    TriggersTakeProfit(TakeProfit),
    /// Class OTO with a stop-loss.
    TriggersStopLoss(StopLoss),
}

/// The exit that takes a profit: a limit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeProfit {
    /// Its limit.
    pub limit: Price,
}

/// The exit that stops a loss: a stop order, or a stop-limit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopLoss {
    /// What triggers it.
    pub stop: Price,
    /// Its limit, if it has one.
    pub limit: Option<Price>,
}

/// One leg of a multi-leg order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// OCC option symbol.
    pub symbol: Symbol,
    /// Contracts per unit of the strategy.
    pub ratio: Quantity,
    /// Which way.
    pub side: Side,
    /// What it does to the position.
    pub position_intent: Option<PositionIntent>,
}

/// How long an order lives at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "FIX's and the venue's words")]
pub enum TimeInForce {
    Day,
    Gtc,
    Opg,
    Ioc,
    Fok,
    Gtx,
    Gtd,
    Cls,
}

/// What an order is meant to do to the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the venue's words")]
pub enum PositionIntent {
    BuyToOpen,
    BuyToClose,
    SellToOpen,
    SellToClose,
}

/// Routing instructions, passed on as they are; the venue judges them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdvancedInstructions {
    /// `DMA`, `TWAP` or `VWAP`.
    pub algorithm: String,
    /// `NYSE`, `NASDAQ` or `ARCA`.
    pub destination: Option<String>,
    /// Shares shown at once.
    pub display_quantity: Option<Quantity>,
    /// When the algorithm begins.
    pub start: Option<Timestamp>,
    /// When it ends.
    pub end: Option<Timestamp>,
    /// Largest share of the market's volume, between 0 and 1.
    pub max_percentage: Option<Percent>,
}

impl NewOrder {
    /// The one symbol traded; `None` for a multi-leg order.
    pub fn symbol(&self) -> Option<&Symbol> {
        match &self.structure {
            Structure::Single { symbol, .. } => Some(symbol),
            Structure::MultiLeg { .. } => None,
        }
    }

    /// Which way it trades; `None` for a multi-leg order.
    pub fn side(&self) -> Option<Side> {
        match &self.structure {
            Structure::Single { side, .. } => Some(*side),
            Structure::MultiLeg { .. } => None,
        }
    }

    /// Every symbol the order touches. Orders that share one are sent in the order they were published.
    pub fn symbols(&self) -> Vec<Symbol> {
        match &self.structure {
            Structure::Single { symbol, .. } => vec![symbol.clone()],
            Structure::MultiLeg { legs, .. } => legs.iter().map(|leg| leg.symbol.clone()).collect(),
        }
    }
}

impl Structure {
    /// The limit price asked for, with the sign a multi-leg order gives it.
    pub fn limit_price(&self) -> Option<rust_decimal::Decimal> {
        match self {
            Self::Single { pricing, .. } => match pricing {
                Pricing::Limit { limit } | Pricing::StopLimit { limit, .. } => Some(limit.decimal()),
                Pricing::Market | Pricing::Stop { .. } | Pricing::TrailingStop(_) => None,
            },
            Self::MultiLeg { limit, .. } => limit.map(NetPrice::decimal),
        }
    }

    /// The stop price asked for.
    pub fn stop_price(&self) -> Option<rust_decimal::Decimal> {
        match self {
            Self::Single { pricing, .. } => match pricing {
                Pricing::Stop { stop } | Pricing::StopLimit { stop, .. } => Some(stop.decimal()),
                Pricing::Market | Pricing::Limit { .. } | Pricing::TrailingStop(_) => None,
            },
            Self::MultiLeg { .. } => None,
        }
    }
}
