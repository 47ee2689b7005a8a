//! Protobuf → domain, of our own writing: what the ledger, the journal and the bucket tell a process of what went before it.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message as _;
use uuid::Uuid;

use super::decode::{
    Read, Unreadable, changes, enum_value, new_order, number, position_intent, refuse, side, time_in_force,
};
use super::proto::tradesvc as pb;
use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::limits::{Breach, LimitName};
use crate::domain::money;
use crate::domain::order::{Placement, Replacement};
use crate::domain::outcome::{Acceptance, DenialReason, OrderResult, Refusal};
use crate::domain::record::{Asked, CancelMark, Intent, RecordState};
use crate::domain::{
    AssetClass, ClientOrderId, CommandId, CommandKind, ExecutionReport, LeaseRecord, Order, OrderId,
    OrderRecord, OrderStatus, Outcome, Symbol, Verdict,
};

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
