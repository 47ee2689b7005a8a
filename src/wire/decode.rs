//! Protobuf (or JSON) → domain: the single door for commands.
//!
//! What comes out is an order that makes sense on paper. Every refusal names the field and the fix.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message as _;
use uuid::Uuid;

use super::json;
use super::proto::tradesvc as pb;
use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::limits::{Breach, LimitName};
use crate::domain::money::{self, NetPrice, NumberError};
use crate::domain::order::{
    AdvancedInstructions, Changes, Exits, Leg, Placement, PositionIntent, Pricing, Replacement, Side, Size,
    StopLoss, Structure, TakeProfit, TimeInForce, Trail,
};
use crate::domain::outcome::{Acceptance, DenialReason, OrderResult, Refusal};
use crate::domain::record::{Asked, CancelMark, Intent, RecordState};
use crate::domain::{
    AssetClass, ClientOrderId, ClosePosition, CloseScope, CloseSize, CommandId, CommandKind, ExecutionReport,
    LeaseRecord, NewOrder, Notional, Order, OrderId, OrderName, OrderRecord, OrderStatus, Outcome, Percent,
    Price, Quantity, ReplaceOrder, Symbol, Verdict,
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

type Read<T> = Result<T, Unreadable>;

fn refuse<T>(message: impl Into<String>) -> Read<T> {
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

fn changes(replace: &pb::Replace) -> Read<Changes> {
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
fn number<T>(field: &str, text: &str, parse: impl Fn(&str) -> Result<T, NumberError>) -> Read<Option<T>> {
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
fn enum_value<E: TryFrom<i32>>(field: &str, value: i32) -> Read<E> {
    E::try_from(value).or_else(|_| refuse(format!("{field} has the unknown value {value}")))
}

fn side(value: i32) -> Read<Option<Side>> {
    Ok(match enum_value::<pb::Side>("side", value)? {
        pb::Side::Unspecified => None,
        pb::Side::Buy => Some(Side::Buy),
        pb::Side::Sell => Some(Side::Sell),
    })
}

fn time_in_force(value: i32) -> Read<Option<TimeInForce>> {
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

fn position_intent(field: &str, value: i32) -> Read<Option<PositionIntent>> {
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

/// A timestamp of our own writing; one that is out of range reads as absent.
fn own_instant(given: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    given.and_then(|given| Timestamp::new(given.seconds, given.nanos).ok())
}

fn required<T>(field: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| Unreadable::new(format!("{field} is absent")))
}

/// Reads a lease of our own writing.
pub fn read_lease(payload: &[u8]) -> Read<LeaseRecord> {
    let lease = pb::Lease::decode(payload)
        .map_err(|error| Unreadable::new(format!("the key holds no Lease: {error}")))?;
    Ok(LeaseRecord {
        instance: lease.instance,
        process: Uuid::parse_str(&lease.process)
            .map_err(|error| Unreadable::new(format!("process: {error}")))?,
        epoch: lease.epoch,
        at: required("at", own_instant(lease.at.as_ref()))?,
    })
}

/// Reads a ledger record of our own writing.
pub fn read_record(payload: &[u8]) -> Read<OrderRecord> {
    let record = pb::OrderRecord::decode(payload)
        .map_err(|error| Unreadable::new(format!("the ledger holds no OrderRecord: {error}")))?;
    let client_order_id = ClientOrderId::parse(&record.client_order_id)
        .map_err(|error| Unreadable::new(format!("client_order_id: {error}")))?;
    let cancel_mark = own_instant(record.cancel_stored_at.as_ref())
        .zip(own_instant(record.cancel_stream_created.as_ref()))
        .map(|(stored_at, stream_created)| CancelMark {
            id: CommandId {
                stream_created,
                sequence: record.cancel_sequence,
            },
            stored_at,
        });
    let state = match enum_value::<pb::RecordState>("state", record.state)? {
        pb::RecordState::Unspecified => return refuse("state is absent"),
        pb::RecordState::CancelMark => RecordState::CancelMark,
        pb::RecordState::Intent => RecordState::Intent(intent(&record)?),
        pb::RecordState::Settled | pb::RecordState::Unresolved => {
            let outcome = required("outcome", record.outcome.as_ref())?;
            RecordState::Settled(intent(&record)?, Box::new(outcome_of(outcome)?))
        }
        pb::RecordState::External => RecordState::External,
    };
    Ok(OrderRecord {
        client_order_id,
        state,
        // Only shown. One of a later version must not spoil what is decided by.
        order: record
            .order
            .as_ref()
            .and_then(|told| order(told).ok())
            .map(Arc::new),
        cancel_mark,
        epoch: record.epoch,
    })
}

fn intent(record: &pb::OrderRecord) -> Read<Intent> {
    let payload_hash = record.payload_hash.as_ref().try_into().map_err(|_| {
        Unreadable::new(format!(
            "payload_hash has {} bytes, not 32",
            record.payload_hash.len()
        ))
    })?;
    Ok(Intent {
        command: command_kind(record.command)?,
        id: CommandId {
            stream_created: required("stream_created", own_instant(record.stream_created.as_ref()))?,
            sequence: record.stream_sequence,
        },
        stored_at: required("stored_at", own_instant(record.stored_at.as_ref()))?,
        payload_hash,
        // What was valid when it was written may not be by the rules of a later version; it only serves to compare.
        asked: asked(record),
        deadline: own_instant(record.deadline.as_ref()),
        at: required("intent_at", own_instant(record.intent_at.as_ref()))?,
        attempts: record.attempts,
        order_id: OrderId::parse(&record.order_id),
    })
}

fn asked(record: &pb::OrderRecord) -> Option<Asked> {
    let symbols: Vec<Symbol> = record
        .close_symbols
        .iter()
        .filter_map(|symbol| Symbol::parse(symbol).ok())
        .collect();
    if !symbols.is_empty() {
        return Some(Asked::PerSymbol(symbols));
    }
    let order = record.trade.as_ref().and_then(|trade| new_order(trade).ok());
    let replacement = record.replace.as_ref().and_then(|replace| {
        Some(Replacement {
            replaces: OrderId::parse(&replace.order)?,
            changes: changes(replace).ok()?,
        })
    });
    let placement = order
        .map(Placement::New)
        .or(replacement.map(Placement::Replacement))?;
    Some(Asked::Placement(Box::new(placement)))
}

fn command_kind(value: i32) -> Read<CommandKind> {
    Ok(match enum_value::<pb::CommandKind>("command", value)? {
        pb::CommandKind::Unspecified => return refuse("command is absent"),
        pb::CommandKind::Order => CommandKind::Order,
        pb::CommandKind::Cancel => CommandKind::Cancel,
        pb::CommandKind::Replace => CommandKind::Replace,
        pb::CommandKind::Close => CommandKind::Close,
    })
}

/// Reads an `Outcome` of our own writing.
pub fn read_outcome(payload: &[u8]) -> Read<Outcome> {
    let outcome = pb::Outcome::decode(payload)
        .map_err(|error| Unreadable::new(format!("the payload is no tradesvc.v0.Outcome: {error}")))?;
    outcome_of(&outcome)
}

fn outcome_of(outcome: &pb::Outcome) -> Read<Outcome> {
    let message = outcome.message.clone();
    let order_id = OrderId::parse(&outcome.order_id);
    let request_id = (!outcome.request_id.is_empty()).then(|| outcome.request_id.clone());
    let http_status = u16::try_from(outcome.http_status).unwrap_or_default();
    let results: Vec<_> = outcome.results.iter().map(order_result).collect();
    let acceptance = || -> Read<Acceptance> {
        Ok(Acceptance {
            order: outcome.order.as_ref().map(order).transpose()?.map(Arc::new),
            order_id,
            by_lookup: outcome.resolved_by_lookup,
            http_status,
            request_id: request_id.clone(),
            results: results.clone(),
            message: message.clone(),
            simulated: outcome.simulated,
        })
    };
    let verdict = match enum_value::<pb::OutcomeKind>("kind", outcome.kind)? {
        pb::OutcomeKind::Unspecified => return refuse("kind is absent"),
        pb::OutcomeKind::Accepted => Verdict::Accepted(acceptance()?),
        pb::OutcomeKind::LateAccepted => Verdict::LateAccepted(acceptance()?),
        pb::OutcomeKind::Rejected => Verdict::Rejected(Refusal {
            http_status,
            code: outcome.code,
            message,
            request_id: request_id.clone(),
            order_id,
            results: results.clone(),
        }),
        pb::OutcomeKind::Denied => {
            let known = [
                DenialReason::Mode,
                DenialReason::Strategy,
                DenialReason::Position,
                DenialReason::Lease,
            ];
            let limits = LimitName::ALL.into_iter().map(DenialReason::Limit);
            let mut known = known.into_iter().chain(limits);
            let reason = known.find(|reason| reason.as_str() == outcome.reason);
            let breach = match reason {
                Some(DenialReason::Limit(limit)) => Some(Box::new(Breach {
                    limit,
                    scope: outcome.limit_scope.clone(),
                    bound: outcome.limit.clone(),
                    value: outcome.limit_value.clone(),
                })),
                Some(
                    DenialReason::Mode
                    | DenialReason::Strategy
                    | DenialReason::Position
                    | DenialReason::Lease
                    | DenialReason::Other,
                )
                | None => None,
            };
            Verdict::Denied {
                reason: reason.unwrap_or(DenialReason::Other),
                message,
                breach,
            }
        }
        pb::OutcomeKind::Expired => Verdict::Expired,
        pb::OutcomeKind::Invalid => Verdict::Invalid { message },
        pb::OutcomeKind::Conflict => Verdict::Conflict { message, order_id },
        pb::OutcomeKind::CanceledBeforeSend => Verdict::CanceledBeforeSend { message },
        pb::OutcomeKind::Unresolved => Verdict::Unresolved { message },
        pb::OutcomeKind::ConfirmedAbsent => Verdict::ConfirmedAbsent,
    };
    Ok(Outcome {
        client_order_id: outcome.client_order_id.clone(),
        command: command_kind(outcome.command)?,
        id: CommandId {
            stream_created: required("stream_created", own_instant(outcome.stream_created.as_ref()))?,
            sequence: outcome.stream_sequence,
        },
        stored_at: required("stored_at", own_instant(outcome.stored_at.as_ref()))?,
        at: required("at", own_instant(outcome.at.as_ref()))?,
        deadline: own_instant(outcome.deadline.as_ref()),
        attempts: outcome.attempts,
        verdict,
        repeated: outcome.repeated,
    })
}

fn order_result(result: &pb::OrderResult) -> OrderResult {
    OrderResult {
        order_id: OrderId::parse(&result.order_id),
        client_order_id: result.client_order_id.clone(),
        symbol: result.symbol.clone(),
        accepted: result.kind == i32::from(pb::OutcomeKind::Accepted),
        code: result.code,
        message: result.message.clone(),
    }
}

fn order(order: &pb::Order) -> Read<Order> {
    let amount = |field: &str, text: &str| number(field, text, money::parse_decimal);
    let at = own_instant;
    Ok(Order {
        id: OrderId::parse(&order.id),
        client_order_id: order.client_order_id.clone(),
        created_at: at(order.created_at.as_ref()),
        updated_at: at(order.updated_at.as_ref()),
        submitted_at: at(order.submitted_at.as_ref()),
        filled_at: at(order.filled_at.as_ref()),
        expired_at: at(order.expired_at.as_ref()),
        canceled_at: at(order.canceled_at.as_ref()),
        failed_at: at(order.failed_at.as_ref()),
        replaced_at: at(order.replaced_at.as_ref()),
        replaced_by: OrderId::parse(&order.replaced_by),
        replaces: OrderId::parse(&order.replaces),
        asset_id: order.asset_id.clone(),
        symbol: Symbol::parse(&order.symbol).ok(),
        asset_class: match enum_value::<pb::AssetClass>("asset_class", order.asset_class)? {
            pb::AssetClass::Unspecified => AssetClass::Other,
            pb::AssetClass::UsEquity => AssetClass::UsEquity,
            pb::AssetClass::Crypto => AssetClass::Crypto,
            pb::AssetClass::UsOption => AssetClass::UsOption,
        },
        order_class: match enum_value::<pb::OrderClass>("order_class", order.order_class)? {
            pb::OrderClass::Unspecified => None,
            pb::OrderClass::Simple => Some(OrderClass::Simple),
            pb::OrderClass::Bracket => Some(OrderClass::Bracket),
            pb::OrderClass::Oto => Some(OrderClass::OneTriggersOther),
            pb::OrderClass::Oco => Some(OrderClass::OneCancelsOther),
            pb::OrderClass::Mleg => Some(OrderClass::MultiLeg),
        },
        order_type: match enum_value::<pb::OrderType>("type", order.r#type)? {
            pb::OrderType::Unspecified => None,
            pb::OrderType::Market => Some(OrderType::Market),
            pb::OrderType::Limit => Some(OrderType::Limit),
            pb::OrderType::Stop => Some(OrderType::Stop),
            pb::OrderType::StopLimit => Some(OrderType::StopLimit),
            pb::OrderType::TrailingStop => Some(OrderType::TrailingStop),
        },
        side: side(order.side)?,
        time_in_force: time_in_force(order.time_in_force)?,
        status: OrderStatus::from_venue(&order.status),
        notional: amount("notional", &order.notional)?,
        qty: amount("qty", &order.qty)?,
        filled_qty: amount("filled_qty", &order.filled_qty)?.unwrap_or_default(),
        filled_avg_price: amount("filled_avg_price", &order.filled_avg_price)?,
        limit_price: amount("limit_price", &order.limit_price)?,
        stop_price: amount("stop_price", &order.stop_price)?,
        trail_price: amount("trail_price", &order.trail_price)?,
        trail_percent: amount("trail_percent", &order.trail_percent)?,
        hwm: amount("hwm", &order.hwm)?,
        extended_hours: order.ext_hours,
        position_intent: position_intent("position_intent", order.position_intent)?,
        ratio_qty: amount("ratio_qty", &order.ratio_qty)?,
        legs: order.legs.iter().map(self::order).collect::<Read<Vec<_>>>()?,
    })
}

/// Reads a `TradeUpdate` of our own writing.
pub fn read_update(payload: &[u8]) -> Read<ExecutionReport> {
    let update = pb::TradeUpdate::decode(payload)
        .map_err(|error| Unreadable::new(format!("the payload is no tradesvc.v0.TradeUpdate: {error}")))?;
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let amount = |field: &str, text: &str| number(field, text, money::parse_decimal);
    Ok(ExecutionReport {
        event: update.event.clone(),
        at: required("at", own_instant(update.at.as_ref()))?,
        timestamp: required("timestamp", own_instant(update.timestamp.as_ref()))?,
        event_id: optional(&update.event_id),
        execution_id: optional(&update.execution_id),
        order: order(required("order", update.order.as_ref())?)?,
        position_qty: amount("position_qty", &update.position_qty)?,
        last_px: amount("price", &update.price)?,
        last_qty: amount("qty", &update.qty)?,
        reason: optional(&update.reason),
        recovered: update.recovered,
    })
}

/// The version of a `Positions` value, so that a restart goes on counting. Absent or unreadable is 0.
pub fn read_positions_version(payload: &[u8]) -> u64 {
    pb::Positions::decode(payload)
        .map(|positions| positions.version)
        .unwrap_or_default()
}

/// The version of an `Account` value, as [`read_positions_version`].
pub fn read_account_version(payload: &[u8]) -> u64 {
    pb::Account::decode(payload)
        .map(|account| account.version)
        .unwrap_or_default()
}
