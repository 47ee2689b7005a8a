//! The body of a new order: only what was asked for, decimals as strings, always our client order id.

use serde::Serialize;

use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::order::{
    AdvancedInstructions, Exits, Leg, PositionIntent, Pricing, Side, Size, StopLoss, Structure, TakeProfit,
    TimeInForce, Trail,
};
use crate::domain::{ClientOrderId, NewOrder};

/// Body of `POST /v2/orders`.
#[derive(Serialize)]
pub(super) struct OrderBody<'a> {
    client_order_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notional: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    r#type: &'static str,
    time_in_force: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail_percent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_hours: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    take_profit: Option<TakeProfitBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_loss: Option<StopLossBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legs: Option<Vec<LegBody<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_intent: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advanced_instructions: Option<AdvancedBody<'a>>,
}

#[derive(Serialize)]
struct TakeProfitBody {
    limit_price: String,
}

#[derive(Serialize)]
struct StopLossBody {
    stop_price: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price: Option<String>,
}

#[derive(Serialize)]
struct LegBody<'a> {
    symbol: &'a str,
    ratio_qty: String,
    side: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_intent: Option<&'static str>,
}

#[derive(Serialize)]
struct AdvancedBody<'a> {
    algorithm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_qty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_percentage: Option<String>,
}

impl<'a> OrderBody<'a> {
    pub(super) fn new(client_order_id: &'a ClientOrderId, order: &'a NewOrder) -> Self {
        let structure = &order.structure;
        let (qty, notional) = match order.size {
            Size::Quantity(qty) => (Some(qty.to_string()), None),
            Size::Notional(notional) => (None, Some(notional.to_string())),
        };
        let (take_profit, stop_loss) = exits(structure);
        let (trail_price, trail_percent) = trail(structure);
        Self {
            client_order_id: client_order_id.as_str(),
            symbol: order.symbol().map(|symbol| symbol.as_str()),
            qty,
            notional,
            side: order.side().map(side),
            r#type: order_type(structure.order_type()),
            time_in_force: time_in_force(order.time_in_force),
            limit_price: structure.limit_price().map(|price| price.to_string()),
            stop_price: structure.stop_price().map(|price| price.to_string()),
            trail_price,
            trail_percent,
            extended_hours: order.extended_hours.then_some(true),
            order_class: order_class(structure.order_class()),
            take_profit: take_profit.map(|exit| TakeProfitBody {
                limit_price: exit.limit.to_string(),
            }),
            stop_loss: stop_loss.map(|exit| StopLossBody {
                stop_price: exit.stop.to_string(),
                limit_price: exit.limit.map(|limit| limit.to_string()),
            }),
            legs: match structure {
                Structure::Single { .. } => None,
                Structure::MultiLeg { legs, .. } => Some(legs.iter().map(LegBody::new).collect()),
            },
            position_intent: order.position_intent.map(position_intent),
            advanced_instructions: order.advanced.as_ref().map(AdvancedBody::new),
        }
    }
}

impl<'a> LegBody<'a> {
    fn new(leg: &'a Leg) -> Self {
        Self {
            symbol: leg.symbol.as_str(),
            ratio_qty: leg.ratio.to_string(),
            side: side(leg.side),
            position_intent: leg.position_intent.map(position_intent),
        }
    }
}

impl<'a> AdvancedBody<'a> {
    fn new(advanced: &'a AdvancedInstructions) -> Self {
        Self {
            algorithm: &advanced.algorithm,
            destination: advanced.destination.as_deref(),
            display_qty: advanced.display_quantity.map(|qty| qty.to_string()),
            start_time: advanced.start.map(|at| at.to_string()),
            end_time: advanced.end.map(|at| at.to_string()),
            max_percentage: advanced.max_percentage.map(|share| share.to_string()),
        }
    }
}

fn exits(structure: &Structure) -> (Option<TakeProfit>, Option<StopLoss>) {
    match structure {
        Structure::MultiLeg { .. } => (None, None),
        Structure::Single { exits, .. } => match exits {
            Exits::None => (None, None),
            Exits::Bracket(profit, loss) | Exits::OneCancelsOther(profit, loss) => {
                (Some(*profit), Some(*loss))
            }
            Exits::TriggersTakeProfit(profit) => (Some(*profit), None),
            Exits::TriggersStopLoss(loss) => (None, Some(*loss)),
        },
    }
}

fn trail(structure: &Structure) -> (Option<String>, Option<String>) {
    match structure {
        Structure::MultiLeg { .. } => (None, None),
        Structure::Single { pricing, .. } => match pricing {
            Pricing::TrailingStop(Trail::Amount(amount)) => (Some(amount.to_string()), None),
            Pricing::TrailingStop(Trail::Percent(percent)) => (None, Some(percent.to_string())),
            Pricing::Market | Pricing::Limit { .. } | Pricing::Stop { .. } | Pricing::StopLimit { .. } => {
                (None, None)
            }
        },
    }
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

fn order_type(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Market => "market",
        OrderType::Limit => "limit",
        OrderType::Stop => "stop",
        OrderType::StopLimit => "stop_limit",
        OrderType::TrailingStop => "trailing_stop",
    }
}

/// `None` for a simple order: the venue's default, and the one form every asset class takes.
fn order_class(order_class: OrderClass) -> Option<&'static str> {
    match order_class {
        OrderClass::Simple => None,
        OrderClass::Bracket => Some("bracket"),
        OrderClass::OneCancelsOther => Some("oco"),
        OrderClass::OneTriggersOther => Some("oto"),
        OrderClass::MultiLeg => Some("mleg"),
    }
}

fn time_in_force(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Day => "day",
        TimeInForce::Gtc => "gtc",
        TimeInForce::Opg => "opg",
        TimeInForce::Ioc => "ioc",
        TimeInForce::Fok => "fok",
        TimeInForce::Gtx => "gtx",
        TimeInForce::Gtd => "gtd",
        TimeInForce::Cls => "cls",
    }
}

fn position_intent(intent: PositionIntent) -> &'static str {
    match intent {
        PositionIntent::BuyToOpen => "buy_to_open",
        PositionIntent::BuyToClose => "buy_to_close",
        PositionIntent::SellToOpen => "sell_to_open",
        PositionIntent::SellToClose => "sell_to_close",
    }
}
