//! Protobuf (or JSON) → domain: the single door for commands.
//!
//! What comes out is an order that makes sense on paper. Every refusal names the field and the fix.

use jiff::Timestamp;

use super::json;
use super::proto::tradesvc as pb;
use crate::domain::money::{NetPrice, NumberError};
use crate::domain::order::{
    AdvancedInstructions, Changes, Exits, Leg, PositionIntent, Pricing, Side, Size, StopLoss, Structure,
    TakeProfit, TimeInForce, Trail,
};
use crate::domain::{
    ClientOrderId, ClosePosition, CloseScope, CloseSize, NewOrder, Notional, OrderName, Percent, Price,
    Quantity, ReplaceOrder, Symbol,
};

/// Why a payload could not be read. The text names the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    message: String,
}

impl Unreadable {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

pub(super) type Read<T> = Result<T, Unreadable>;

pub(super) fn refuse<T>(message: impl Into<String>) -> Read<T> {
    Err(Unreadable::new(message))
}

/// Reads a `Trade`, protobuf or JSON.
pub fn read_order(content_type: Option<&str>, payload: &[u8]) -> Read<NewOrder> {
    new_order(&message::<pb::Trade>("tradesvc.v0.Trade", content_type, payload)?)
}

/// Reads a `Replace`, protobuf or JSON.
pub fn read_replace(content_type: Option<&str>, payload: &[u8]) -> Read<ReplaceOrder> {
    let replace: pb::Replace = message("tradesvc.v0.Replace", content_type, payload)?;
    if replace.order.is_empty() {
        return refuse("order is required; name the order to replace by its client order id");
    }
    let order =
        ClientOrderId::parse(&replace.order).map_err(|error| Unreadable::new(format!("order: {error}")))?;
    let changes = changes(&replace)?;
    if changes == Changes::default() {
        return refuse("nothing is changed; give one of qty, tif, limit_price, stop_price and trail");
    }
    Ok(ReplaceOrder {
        order: OrderName::new(order),
        changes,
        valid_until: instant("valid_until", replace.valid_until.as_ref())?,
    })
}

pub(super) fn changes(replace: &pb::Replace) -> Read<Changes> {
    Ok(Changes {
        quantity: number("qty", &replace.qty, Quantity::parse)?,
        time_in_force: time_in_force(replace.tif)?,
        limit: number("limit_price", &replace.limit_price, NetPrice::parse)?,
        stop: number("stop_price", &replace.stop_price, Price::parse)?,
        trail: number("trail", &replace.trail, Price::parse)?,
    })
}

/// Reads a `ClosePosition`, protobuf or JSON.
pub fn read_close(content_type: Option<&str>, payload: &[u8]) -> Read<ClosePosition> {
    let close: pb::ClosePosition = message("tradesvc.v0.ClosePosition", content_type, payload)?;
    let percentage = number("percentage", &close.percentage, Percent::parse)?;
    if percentage.is_some_and(|share| share.decimal() > rust_decimal::Decimal::ONE_HUNDRED) {
        return refuse("percentage is at most 100");
    }
    let size = match (number("qty", &close.qty, Quantity::parse)?, percentage) {
        (None, None) => CloseSize::Everything,
        (Some(qty), None) => CloseSize::Quantity(qty),
        (None, Some(share)) => CloseSize::Percentage(share),
        (Some(_), Some(_)) => {
            return refuse("qty and percentage are both given; give one of them, or neither");
        }
    };
    let scope = match (close.symbol.is_empty(), close.all) {
        (true, true) if matches!(size, CloseSize::Quantity(_)) => {
            return refuse("qty is given, but all has none; give percentage, or close one symbol at a time");
        }
        (true, true) => CloseScope::All(size),
        (false, false) => CloseScope::One(symbol("symbol", &close.symbol)?, size),
        (false, true) => return refuse("symbol and all are both given; give one of them"),
        (true, false) => return refuse("symbol is required, or all"),
    };
    Ok(ClosePosition {
        scope,
        cancel_orders: close.cancel_orders,
        valid_until: instant("valid_until", close.valid_until.as_ref())?,
    })
}

/// A message of the schema, protobuf or JSON.
pub(super) fn message<M: prost::Message + Default>(
    name: &str,
    content_type: Option<&str>,
    payload: &[u8],
) -> Read<M> {
    if payload.is_empty() {
        return refuse(format!(
            "the payload is empty; publish a {name}, as protobuf or as JSON"
        ));
    }
    if json::is_json(content_type, payload) {
        let bytes = json::to_protobuf(name, payload)?;
        M::decode(bytes.as_slice())
    } else {
        M::decode(payload)
    }
    .map_err(|error| Unreadable::new(format!("the payload is no {name}: {error}")))
}

/// Absent (`""`) or a number of some kind.
pub(super) fn number<T>(
    field: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, NumberError>,
) -> Read<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text)
        .map(Some)
        .map_err(|error| Unreadable::new(format!("{field} {}: {text:?}", error)))
}

pub(super) fn new_order(trade: &pb::Trade) -> Read<NewOrder> {
    let size = match (
        number("qty", &trade.qty, Quantity::parse)?,
        number("notional", &trade.notional, Notional::parse)?,
    ) {
        (Some(qty), None) => Size::Quantity(qty),
        (None, Some(notional)) => Size::Notional(notional),
        (Some(_), Some(_)) => return refuse("qty and notional are both given; give one of them"),
        (None, None) => return refuse("qty or notional is required; give one of them"),
    };
    let class = enum_value::<pb::OrderClass>("class", trade.class)?;
    let multi_leg = class == pb::OrderClass::Mleg;
    if !multi_leg && !trade.legs.is_empty() {
        return refuse("legs are given, but class is not ORDER_CLASS_MLEG");
    }
    let structure = if multi_leg {
        multi_leg_structure(trade)?
    } else {
        single_structure(trade, class)?
    };
    let Some(time_in_force) = time_in_force(trade.tif)? else {
        return refuse("tif is required; give TIME_IN_FORCE_DAY, TIME_IN_FORCE_GTC or another");
    };
    Ok(NewOrder {
        structure,
        size,
        time_in_force,
        extended_hours: trade.extended_hours,
        position_intent: position_intent("position_intent", trade.position_intent)?,
        advanced: trade.advanced_instructions.as_ref().map(advanced).transpose()?,
        valid_until: instant("valid_until", trade.valid_until.as_ref())?,
    })
}

fn single_structure(trade: &pb::Trade, class: pb::OrderClass) -> Read<Structure> {
    let symbol = symbol("symbol", &trade.symbol)?;
    let Some(side) = side(trade.side)? else {
        return refuse("side is required; give SIDE_BUY or SIDE_SELL");
    };
    let exits = exits(trade, class)?;
    let mut limit = number("limit_price", &trade.limit_price, Price::parse)?;
    // The limit order of an OCO is its take-profit: the venue has one price for both.
    if let Exits::OneCancelsOther(profit, _) = exits {
        if trade.order_type != i32::from(pb::OrderType::Limit) {
            return refuse("order_type of class OCO is ORDER_TYPE_LIMIT");
        }
        if limit.is_some_and(|limit| limit != profit.limit) {
            return refuse("limit_price differs from take_profit.limit_price; on class OCO leave it out");
        }
        limit = Some(profit.limit);
    }
    let stop = number("stop_price", &trade.stop_price, Price::parse)?;
    let trail_price = number("trail_price", &trade.trail_price, Price::parse)?;
    let trail_percent = number("trail_percent", &trade.trail_percent, Percent::parse)?;

    let order_type = enum_value::<pb::OrderType>("order_type", trade.order_type)?;
    let surplus =
        |kind: &str, field: &str| refuse(format!("{field} is given, but {kind} has none; leave it out"));
    let missing = |kind: &str, field: &str| refuse(format!("{field} is required for {kind}"));
    let trailing = trail_price.is_some() || trail_percent.is_some();
    let pricing = match (order_type, limit, stop) {
        (pb::OrderType::Unspecified, ..) => {
            return refuse("order_type is required; give ORDER_TYPE_MARKET, ORDER_TYPE_LIMIT or another");
        }
        (pb::OrderType::Market, None, None) => Pricing::Market,
        (pb::OrderType::Market, Some(_), _) => return surplus("a market order", "limit_price"),
        (pb::OrderType::Market, None, Some(_)) => return surplus("a market order", "stop_price"),
        (pb::OrderType::Limit, Some(limit), None) => Pricing::Limit { limit },
        (pb::OrderType::Limit, None, _) => return missing("a limit order", "limit_price"),
        (pb::OrderType::Limit, Some(_), Some(_)) => return surplus("a limit order", "stop_price"),
        (pb::OrderType::Stop, None, Some(stop)) => Pricing::Stop { stop },
        (pb::OrderType::Stop, _, None) => return missing("a stop order", "stop_price"),
        (pb::OrderType::Stop, Some(_), Some(_)) => return surplus("a stop order", "limit_price"),
        (pb::OrderType::StopLimit, Some(limit), Some(stop)) => Pricing::StopLimit { stop, limit },
        (pb::OrderType::StopLimit, _, None) => return missing("a stop-limit order", "stop_price"),
        (pb::OrderType::StopLimit, None, Some(_)) => return missing("a stop-limit order", "limit_price"),
        (pb::OrderType::TrailingStop, Some(_), _) => return surplus("a trailing stop", "limit_price"),
        (pb::OrderType::TrailingStop, None, Some(_)) => return surplus("a trailing stop", "stop_price"),
        (pb::OrderType::TrailingStop, None, None) => match (trail_price, trail_percent) {
            (Some(amount), None) => Pricing::TrailingStop(Trail::Amount(amount)),
            (None, Some(percent)) => Pricing::TrailingStop(Trail::Percent(percent)),
            (None, None) => return missing("a trailing stop", "one of trail_price and trail_percent"),
            (Some(_), Some(_)) => {
                return refuse("trail_price and trail_percent are both given; give one of them");
            }
        },
    };
    if trailing && order_type != pb::OrderType::TrailingStop {
        return refuse(
            "trail_price or trail_percent is given, but order_type is not ORDER_TYPE_TRAILING_STOP",
        );
    }
    Ok(Structure::Single {
        symbol,
        side,
        pricing,
        exits,
    })
}

fn exits(trade: &pb::Trade, class: pb::OrderClass) -> Read<Exits> {
    let take_profit = match &trade.take_profit {
        None => None,
        Some(given) => match number("take_profit.limit_price", &given.limit_price, Price::parse)? {
            Some(limit) => Some(TakeProfit { limit }),
            None => return refuse("take_profit.limit_price is required when take_profit is given"),
        },
    };
    let stop_loss = match &trade.stop_loss {
        None => None,
        Some(given) => match number("stop_loss.stop", &given.stop, Price::parse)? {
            Some(stop) => Some(StopLoss {
                stop,
                limit: number("stop_loss.limit", &given.limit, Price::parse)?,
            }),
            None => return refuse("stop_loss.stop is required when stop_loss is given"),
        },
    };
    match (class, take_profit, stop_loss) {
        (pb::OrderClass::Unspecified | pb::OrderClass::Simple, None, None) => Ok(Exits::None),
        (pb::OrderClass::Unspecified | pb::OrderClass::Simple, ..) => {
            refuse("take_profit or stop_loss is given, but class is not BRACKET, OCO or OTO")
        }
        (pb::OrderClass::Bracket, Some(profit), Some(loss)) => Ok(Exits::Bracket(profit, loss)),
        (pb::OrderClass::Bracket, ..) => refuse("class BRACKET needs both take_profit and stop_loss"),
        (pb::OrderClass::Oco, Some(profit), Some(loss)) => Ok(Exits::OneCancelsOther(profit, loss)),
        (pb::OrderClass::Oco, ..) => refuse("class OCO needs both take_profit and stop_loss"),
        (pb::OrderClass::Oto, Some(profit), None) => Ok(Exits::TriggersTakeProfit(profit)),
        (pb::OrderClass::Oto, None, Some(loss)) => Ok(Exits::TriggersStopLoss(loss)),
        (pb::OrderClass::Oto, ..) => refuse("class OTO needs exactly one of take_profit and stop_loss"),
        (pb::OrderClass::Mleg, ..) => refuse("class MLEG takes no take_profit and no stop_loss"),
    }
}

fn multi_leg_structure(trade: &pb::Trade) -> Read<Structure> {
    if !(2..=4).contains(&trade.legs.len()) {
        return refuse(format!(
            "class MLEG needs 2 to 4 legs, {} are given",
            trade.legs.len()
        ));
    }
    let surplus = [
        ("symbol", !trade.symbol.is_empty()),
        ("side", trade.side != 0),
        ("notional", !trade.notional.is_empty()),
        ("stop_price", !trade.stop_price.is_empty()),
        ("trail_price", !trade.trail_price.is_empty()),
        ("trail_percent", !trade.trail_percent.is_empty()),
        ("take_profit", trade.take_profit.is_some()),
        ("stop_loss", trade.stop_loss.is_some()),
    ];
    if let Some((field, _)) = surplus.iter().find(|(_, given)| *given) {
        return refuse(format!(
            "{field} is given, but class MLEG has none; its legs say it"
        ));
    }
    let limit = number("limit_price", &trade.limit_price, NetPrice::parse)?;
    match (
        enum_value::<pb::OrderType>("order_type", trade.order_type)?,
        limit,
    ) {
        (pb::OrderType::Market, None) | (pb::OrderType::Limit, Some(_)) => {}
        (pb::OrderType::Market, Some(_)) => {
            return refuse("limit_price is given, but a market order has none; leave it out");
        }
        (pb::OrderType::Limit, None) => return refuse("limit_price is required for a limit order"),
        (
            pb::OrderType::Unspecified
            | pb::OrderType::Stop
            | pb::OrderType::StopLimit
            | pb::OrderType::TrailingStop,
            _,
        ) => return refuse("order_type of class MLEG is ORDER_TYPE_MARKET or ORDER_TYPE_LIMIT"),
    }
    let legs = trade
        .legs
        .iter()
        .enumerate()
        .map(|(at, leg)| read_leg(at, leg))
        .collect::<Read<Vec<_>>>()?;
    Ok(Structure::MultiLeg { legs, limit })
}

fn read_leg(at: usize, leg: &pb::Leg) -> Read<Leg> {
    let named = |field: &str| format!("legs[{at}].{field}");
    let Some(ratio) = number(&named("ratio_qty"), &leg.ratio_qty, Quantity::parse)? else {
        return refuse(format!("{} is required", named("ratio_qty")));
    };
    if !ratio.decimal().is_integer() {
        return refuse(format!("{} must be a whole number: {ratio}", named("ratio_qty")));
    }
    let Some(side) = side(leg.side)? else {
        return refuse(format!(
            "{} is required; give SIDE_BUY or SIDE_SELL",
            named("side")
        ));
    };
    Ok(Leg {
        symbol: symbol(&named("symbol"), &leg.symbol)?,
        ratio,
        side,
        position_intent: position_intent(&named("position_intent"), leg.position_intent)?,
    })
}

fn symbol(field: &str, text: &str) -> Read<Symbol> {
    if text.is_empty() {
        return refuse(format!("{field} is required"));
    }
    Symbol::parse(text).map_err(|error| Unreadable::new(format!("{field}: {error}")))
}

/// An enum's value; a number the schema does not know is refused, not guessed at.
pub(super) fn enum_value<E: TryFrom<i32>>(field: &str, value: i32) -> Read<E> {
    E::try_from(value).or_else(|_| refuse(format!("{field} has the unknown value {value}")))
}

pub(super) fn side(value: i32) -> Read<Option<Side>> {
    Ok(match enum_value::<pb::Side>("side", value)? {
        pb::Side::Unspecified => None,
        pb::Side::Buy => Some(Side::Buy),
        pb::Side::Sell => Some(Side::Sell),
    })
}

pub(super) fn time_in_force(value: i32) -> Read<Option<TimeInForce>> {
    Ok(match enum_value::<pb::TimeInForce>("tif", value)? {
        pb::TimeInForce::Unspecified => None,
        pb::TimeInForce::Day => Some(TimeInForce::Day),
        pb::TimeInForce::Gtc => Some(TimeInForce::Gtc),
        pb::TimeInForce::Opg => Some(TimeInForce::Opg),
        pb::TimeInForce::Ioc => Some(TimeInForce::Ioc),
        pb::TimeInForce::Fok => Some(TimeInForce::Fok),
        pb::TimeInForce::Gtx => Some(TimeInForce::Gtx),
        pb::TimeInForce::Gtd => Some(TimeInForce::Gtd),
        pb::TimeInForce::Cls => Some(TimeInForce::Cls),
    })
}

pub(super) fn position_intent(field: &str, value: i32) -> Read<Option<PositionIntent>> {
    Ok(match enum_value::<pb::PositionIntent>(field, value)? {
        pb::PositionIntent::Unspecified => None,
        pb::PositionIntent::BuyToOpen => Some(PositionIntent::BuyToOpen),
        pb::PositionIntent::BuyToClose => Some(PositionIntent::BuyToClose),
        pb::PositionIntent::SellToOpen => Some(PositionIntent::SellToOpen),
        pb::PositionIntent::SellToClose => Some(PositionIntent::SellToClose),
    })
}

fn advanced(given: &pb::AdvancedInstructions) -> Read<AdvancedInstructions> {
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    if given.algorithm.is_empty() {
        return refuse("advanced_instructions.algorithm is required; give DMA, TWAP or VWAP");
    }
    let field = |name: &str| format!("advanced_instructions.{name}");
    Ok(AdvancedInstructions {
        algorithm: given.algorithm.clone(),
        destination: optional(&given.destination),
        display_quantity: number(&field("display_qty"), &given.display_qty, Quantity::parse)?,
        start: instant(&field("start_time"), given.start_time.as_ref())?,
        end: instant(&field("end_time"), given.end_time.as_ref())?,
        max_percentage: number(&field("max_percentage"), &given.max_percentage, Percent::parse)?,
    })
}

pub(super) fn instant(field: &str, given: Option<&prost_types::Timestamp>) -> Read<Option<Timestamp>> {
    let Some(given) = given else { return Ok(None) };
    Timestamp::new(given.seconds, given.nanos)
        .map(Some)
        .map_err(|_| Unreadable::new(format!("{field} is outside the years a timestamp can name")))
}
