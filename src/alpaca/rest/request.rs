//! The bodies of a new order and of a replacement: only what was asked for, decimals as strings, always our client
//! order id.

use serde::Serialize;

use super::words;
use crate::domain::order::{
    AdvancedInstructions, Changes, Exits, Leg, Pricing, Size, StopLoss, Structure, TakeProfit, Trail,
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

/// Body of `PATCH /v2/orders/{id}`. Without our own id a lost answer would leave a replacement of unknown name.
#[derive(Serialize)]
pub(super) struct ReplaceBody<'a> {
    client_order_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    qty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_in_force: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trail: Option<String>,
}

impl<'a> ReplaceBody<'a> {
    pub(super) fn new(client_order_id: &'a ClientOrderId, changes: &Changes) -> Self {
        Self {
            client_order_id: client_order_id.as_str(),
            qty: changes.quantity.map(|qty| qty.to_string()),
            time_in_force: changes.time_in_force.map(words::time_in_force),
            limit_price: changes.limit.map(|price| price.to_string()),
            stop_price: changes.stop.map(|price| price.to_string()),
            trail: changes.trail.map(|trail| trail.to_string()),
        }
    }
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

/// The limit of an OCO stands in its take-profit alone, as in the venue's own examples.
fn limit_price(structure: &Structure) -> Option<String> {
    match structure {
        Structure::Single {
            exits: Exits::OneCancelsOther(..),
            ..
        } => None,
        Structure::Single { .. } | Structure::MultiLeg { .. } => {
            structure.limit_price().map(|price| price.to_string())
        }
    }
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
            side: order.side().map(words::side),
            r#type: words::order_type(structure.order_type()),
            time_in_force: words::time_in_force(order.time_in_force),
            limit_price: limit_price(structure),
            stop_price: structure.stop_price().map(|price| price.to_string()),
            trail_price,
            trail_percent,
            extended_hours: order.extended_hours.then_some(true),
            order_class: words::order_class(structure.order_class()),
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
            position_intent: order.position_intent.map(words::position_intent),
            advanced_instructions: order.advanced.as_ref().map(AdvancedBody::new),
        }
    }
}

impl<'a> LegBody<'a> {
    fn new(leg: &'a Leg) -> Self {
        Self {
            symbol: leg.symbol.as_str(),
            ratio_qty: leg.ratio.to_string(),
            side: words::side(leg.side),
            position_intent: leg.position_intent.map(words::position_intent),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::money::NetPrice;
    use crate::domain::order::{PositionIntent, Side, TimeInForce};
    use crate::domain::{Notional, Percent, Price, Quantity, Symbol};

    fn body(order: &NewOrder) -> Value {
        let id = ClientOrderId::parse("momentum.1").unwrap();
        serde_json::to_value(OrderBody::new(&id, order)).unwrap()
    }

    fn single(symbol: &str, pricing: Pricing, exits: Exits) -> NewOrder {
        NewOrder {
            structure: Structure::Single {
                symbol: Symbol::parse(symbol).unwrap(),
                side: Side::Buy,
                pricing,
                exits,
            },
            size: Size::Quantity(Quantity::parse("2.50").unwrap()),
            time_in_force: TimeInForce::Gtc,
            extended_hours: false,
            position_intent: None,
            advanced: None,
            valid_until: Some("2026-11-20T12:00:00Z".parse().unwrap()),
        }
    }

    fn price(text: &str) -> Price {
        Price::parse(text).unwrap()
    }

    #[test]
    fn only_what_was_asked_for_is_sent() {
        assert_eq!(
            body(&single("BTC/USD", Pricing::Market, Exits::None)),
            json!({
                "client_order_id": "momentum.1",
                "symbol": "BTC/USD",
                "qty": "2.50",
                "side": "buy",
                "type": "market",
                "time_in_force": "gtc",
            })
        );
    }

    #[test]
    fn every_pricing_sends_its_own_prices() {
        let percent = Percent::parse("1.5").unwrap();
        for (pricing, expected) in [
            (
                Pricing::Limit {
                    limit: price("150.00"),
                },
                json!({"type": "limit", "limit_price": "150.00"}),
            ),
            (
                Pricing::Stop { stop: price("140") },
                json!({"type": "stop", "stop_price": "140"}),
            ),
            (
                Pricing::StopLimit {
                    stop: price("140"),
                    limit: price("139.5"),
                },
                json!({"type": "stop_limit", "stop_price": "140", "limit_price": "139.5"}),
            ),
            (
                Pricing::TrailingStop(Trail::Amount(price("0.50"))),
                json!({"type": "trailing_stop", "trail_price": "0.50"}),
            ),
            (
                Pricing::TrailingStop(Trail::Percent(percent)),
                json!({"type": "trailing_stop", "trail_percent": "1.5"}),
            ),
        ] {
            let mut sent = body(&single("AAPL", pricing, Exits::None));
            let sent = sent.as_object_mut().unwrap();
            for common in ["client_order_id", "symbol", "qty", "side", "time_in_force"] {
                sent.remove(common);
            }
            assert_eq!(Value::Object(sent.clone()), expected);
        }
    }

    #[test]
    fn exits_extras_and_notionals_are_sent() {
        let profit = TakeProfit { limit: price("160") };
        let loss = StopLoss {
            stop: price("140"),
            limit: Some(price("139")),
        };
        let order = NewOrder {
            size: Size::Notional(Notional::parse("100.00").unwrap()),
            time_in_force: TimeInForce::Day,
            extended_hours: true,
            position_intent: Some(PositionIntent::BuyToOpen),
            advanced: Some(AdvancedInstructions {
                algorithm: "TWAP".to_owned(),
                destination: Some("NYSE".to_owned()),
                display_quantity: Some(Quantity::parse("100").unwrap()),
                start: Some("2026-11-20T15:00:00Z".parse().unwrap()),
                end: None,
                max_percentage: Some(Percent::parse("0.125").unwrap()),
            }),
            ..single(
                "AAPL",
                Pricing::Limit { limit: price("150") },
                Exits::Bracket(profit, loss),
            )
        };
        assert_eq!(
            body(&order),
            json!({
                "client_order_id": "momentum.1",
                "symbol": "AAPL",
                "notional": "100.00",
                "side": "buy",
                "type": "limit",
                "time_in_force": "day",
                "limit_price": "150",
                "extended_hours": true,
                "order_class": "bracket",
                "take_profit": {"limit_price": "160"},
                "stop_loss": {"stop_price": "140", "limit_price": "139"},
                "position_intent": "buy_to_open",
                "advanced_instructions": {
                    "algorithm": "TWAP",
                    "destination": "NYSE",
                    "display_qty": "100",
                    "start_time": "2026-11-20T15:00:00Z",
                    "max_percentage": "0.125",
                },
            })
        );
        for (exits, class) in [
            (Exits::OneCancelsOther(profit, loss), "oco"),
            (Exits::TriggersTakeProfit(profit), "oto"),
            (Exits::TriggersStopLoss(loss), "oto"),
        ] {
            let sent = body(&single("AAPL", Pricing::Market, exits));
            assert_eq!(sent["order_class"], class);
        }
    }

    #[test]
    fn a_credit_spread_is_sent_with_its_sign_and_legs() {
        let leg = |symbol: &str, side, intent| Leg {
            symbol: Symbol::parse(symbol).unwrap(),
            ratio: Quantity::parse("1").unwrap(),
            side,
            position_intent: Some(intent),
        };
        let order = NewOrder {
            structure: Structure::MultiLeg {
                legs: vec![
                    leg("AAPL250620C00100000", Side::Sell, PositionIntent::SellToOpen),
                    leg("AAPL250620C00110000", Side::Buy, PositionIntent::BuyToOpen),
                ],
                limit: Some(NetPrice::parse("-0.60").unwrap()),
            },
            ..single("AAPL", Pricing::Market, Exits::None)
        };
        assert_eq!(
            body(&order),
            json!({
                "client_order_id": "momentum.1",
                "qty": "2.50",
                "type": "limit",
                "time_in_force": "gtc",
                "limit_price": "-0.60",
                "order_class": "mleg",
                "legs": [
                    {
                        "symbol": "AAPL250620C00100000",
                        "ratio_qty": "1",
                        "side": "sell",
                        "position_intent": "sell_to_open",
                    },
                    {
                        "symbol": "AAPL250620C00110000",
                        "ratio_qty": "1",
                        "side": "buy",
                        "position_intent": "buy_to_open",
                    },
                ],
            })
        );
    }
}
