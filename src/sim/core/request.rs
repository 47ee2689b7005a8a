//! What a client asks for, read but not yet judged: everything optional, `""` and null already absent.

use rust_decimal::Decimal;

use super::order::{OrderClass, OrderType, PositionIntent, Side, TimeInForce};

/// A new order as asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderRequest {
    /// Symbol or asset id; absent for a multi-leg order.
    pub symbol: Option<String>,
    /// Units.
    pub qty: Option<Decimal>,
    /// Dollars, instead of units.
    pub notional: Option<Decimal>,
    /// Side; absent for a multi-leg order.
    pub side: Option<Side>,
    /// Pricing.
    pub order_type: Option<OrderType>,
    /// Time in force.
    pub time_in_force: Option<TimeInForce>,
    /// Limit.
    pub limit_price: Option<Decimal>,
    /// Stop.
    pub stop_price: Option<Decimal>,
    /// Trail in dollars.
    pub trail_price: Option<Decimal>,
    /// Trail in percent.
    pub trail_percent: Option<Decimal>,
    /// Outside the core session too.
    pub extended_hours: bool,
    /// The client's id.
    pub client_order_id: Option<String>,
    /// Class; absent means simple.
    pub class: Option<OrderClass>,
    /// The profit-taking exit.
    pub take_profit: Option<TakeProfit>,
    /// The loss-stopping exit.
    pub stop_loss: Option<StopLoss>,
    /// The legs of a multi-leg order.
    pub legs: Vec<LegRequest>,
    /// Opening or closing.
    pub position_intent: Option<PositionIntent>,
}

/// The profit-taking exit of an advanced order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakeProfit {
    /// Its limit.
    pub limit_price: Option<Decimal>,
}

/// The loss-stopping exit of an advanced order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopLoss {
    /// Its stop.
    pub stop_price: Option<Decimal>,
    /// Its limit, which makes it a stop-limit order.
    pub limit_price: Option<Decimal>,
}

/// One leg of a multi-leg order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegRequest {
    /// The option's symbol.
    pub symbol: Option<String>,
    /// Units per unit of the order.
    pub ratio_qty: Option<Decimal>,
    /// Side, which the intent implies.
    pub side: Option<Side>,
    /// Opening or closing.
    pub position_intent: Option<PositionIntent>,
}

/// Changes to a working order; absent means unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplaceRequest {
    /// New total units.
    pub qty: Option<Decimal>,
    /// New time in force.
    pub time_in_force: Option<TimeInForce>,
    /// New limit.
    pub limit_price: Option<Decimal>,
    /// New stop.
    pub stop_price: Option<Decimal>,
    /// New trail, in the unit the order trails by.
    pub trail: Option<Decimal>,
    /// The replacement's client id.
    pub client_order_id: Option<String>,
}
