//! What became of a command, in its bytes: for the journal, and for the ledger beside what was begun.

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::encode::{self, Encoded, changes, command_kind, instant, maybe_instant, text, trade};
use super::proto::tradesvc as pb;
use crate::domain::order::Placement;
use crate::domain::outcome::{Acceptance, OrderResult, Refusal};
use crate::domain::record::{Asked, Intent, RecordState};
use crate::domain::{Order, OrderRecord, Outcome, Symbol, Verdict};

const OUTCOME_SCHEMA: &str = "tradesvc.v0.Outcome";
/// Number of the field `order` of an Outcome (`tradesvc.proto`).
const OUTCOME_ORDER: u32 = 15;
/// Numbers of the fields `outcome` and `order` of an OrderRecord.
const RECORD_OUTCOME: u32 = 11;
const RECORD_ORDER: u32 = 15;

/// What became of a command.
pub fn outcome(outcome: &Outcome) -> Encoded {
    Encoded {
        schema: OUTCOME_SCHEMA,
        bytes: outcome_bytes(outcome, None).into(),
    }
}

/// An outcome, and the order in it: `written` if that one is the same.
fn outcome_bytes(outcome: &Outcome, written: Option<(&Order, &[u8])>) -> Vec<u8> {
    let mut bytes = outcome_message(outcome).encode_to_vec();
    let (Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance)) = &outcome.verdict else {
        return bytes;
    };
    match (&acceptance.order, written) {
        (None, _) => {}
        (Some(order), Some((same, written))) if **order == *same => {
            splice(&mut bytes, OUTCOME_ORDER, written)
        }
        (Some(order), _) => splice(&mut bytes, OUTCOME_ORDER, &encode::order(order).encode_to_vec()),
    }
    bytes
}

/// Without its order, which is written apart.
fn outcome_message(outcome: &Outcome) -> pb::Outcome {
    let mut message = pb::Outcome {
        client_order_id: outcome.client_order_id.clone(),
        command: command_kind(outcome.command),
        kind: outcome_kind(&outcome.verdict),
        terminal: outcome.verdict.is_terminal(),
        stream_created: Some(instant(outcome.id.stream_created)),
        stream_sequence: outcome.id.sequence,
        stored_at: Some(instant(outcome.stored_at)),
        at: Some(instant(outcome.at)),
        reason: outcome.verdict.reason().to_owned(),
        message: outcome.verdict.message(),
        attempts: outcome.attempts,
        repeated: outcome.repeated,
        deadline: maybe_instant(outcome.deadline),
        ..pb::Outcome::default()
    };
    match &outcome.verdict {
        Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => accept(&mut message, acceptance),
        Verdict::Rejected(refusal) => reject(&mut message, refusal),
        Verdict::Conflict { order_id, .. } => message.order_id = text(*order_id),
        Verdict::Denied { breach, .. } => {
            if let Some(breach) = breach {
                message.limit_scope.clone_from(&breach.scope);
                message.limit.clone_from(&breach.bound);
                message.limit_value.clone_from(&breach.value);
            }
        }
        Verdict::Expired
        | Verdict::Invalid { .. }
        | Verdict::CanceledBeforeSend { .. }
        | Verdict::Unresolved { .. }
        | Verdict::ConfirmedAbsent => {}
    }
    message
}

fn outcome_kind(verdict: &Verdict) -> i32 {
    match verdict {
        Verdict::Accepted(_) => pb::OutcomeKind::Accepted,
        Verdict::Rejected(_) => pb::OutcomeKind::Rejected,
        Verdict::Denied { .. } => pb::OutcomeKind::Denied,
        Verdict::Expired => pb::OutcomeKind::Expired,
        Verdict::Invalid { .. } => pb::OutcomeKind::Invalid,
        Verdict::Conflict { .. } => pb::OutcomeKind::Conflict,
        Verdict::CanceledBeforeSend { .. } => pb::OutcomeKind::CanceledBeforeSend,
        Verdict::Unresolved { .. } => pb::OutcomeKind::Unresolved,
        Verdict::LateAccepted(_) => pb::OutcomeKind::LateAccepted,
        Verdict::ConfirmedAbsent => pb::OutcomeKind::ConfirmedAbsent,
    }
    .into()
}

fn accept(message: &mut pb::Outcome, acceptance: &Acceptance) {
    message.order_id = text(
        acceptance
            .order_id
            .or_else(|| acceptance.order.as_ref().and_then(|order| order.id)),
    );
    message.simulated = acceptance.simulated;
    message.resolved_by_lookup = acceptance.by_lookup;
    message.http_status = acceptance.http_status.into();
    message.request_id = text(acceptance.request_id.as_ref());
    message.results = acceptance.results.iter().map(order_result).collect();
}

fn reject(message: &mut pb::Outcome, refusal: &Refusal) {
    message.order_id = text(refusal.order_id);
    message.code = refusal.code;
    message.http_status = refusal.http_status.into();
    message.request_id = text(refusal.request_id.as_ref());
    message.results = refusal.results.iter().map(order_result).collect();
}

fn order_result(result: &OrderResult) -> pb::OrderResult {
    let kind = if result.accepted {
        pb::OutcomeKind::Accepted
    } else {
        pb::OutcomeKind::Rejected
    };
    pb::OrderResult {
        order_id: text(result.order_id),
        client_order_id: result.client_order_id.clone(),
        symbol: result.symbol.clone(),
        kind: kind.into(),
        code: result.code,
        message: result.message.clone(),
    }
}

/// A ledger record.
pub fn record(record: &OrderRecord) -> Encoded {
    record_with_outcome(record).0
}

/// A ledger record, and the outcome in it as it is told: the same bytes. An order stands in both, and in the record beside them; it
/// is written once.
pub fn record_with_outcome(record: &OrderRecord) -> (Encoded, Option<Encoded>) {
    let mut message = pb::OrderRecord {
        client_order_id: record.client_order_id.as_str().to_owned(),
        external: matches!(record.state, RecordState::External),
        cancel_sequence: record
            .cancel_mark
            .map(|mark| mark.id.sequence)
            .unwrap_or_default(),
        cancel_stored_at: record.cancel_mark.map(|mark| instant(mark.stored_at)),
        cancel_stream_created: record.cancel_mark.map(|mark| instant(mark.id.stream_created)),
        epoch: record.epoch,
        ..pb::OrderRecord::default()
    };
    let order = record.order.as_deref();
    let order = order.map(|order| (order, encode::order(order).encode_to_vec()));
    let mut told = None;
    let state = match &record.state {
        RecordState::CancelMark => pb::RecordState::CancelMark,
        RecordState::External => pb::RecordState::External,
        RecordState::Intent(intent) => {
            write_intent(&mut message, intent);
            pb::RecordState::Intent
        }
        RecordState::Settled(intent, outcome) => {
            write_intent(&mut message, intent);
            let written = order.as_ref().map(|(order, bytes)| (*order, bytes.as_slice()));
            told = Some(outcome_bytes(outcome, written));
            if outcome.verdict.is_terminal() {
                pb::RecordState::Settled
            } else {
                pb::RecordState::Unresolved
            }
        }
    };
    message.state = state.into();
    let mut bytes = message.encode_to_vec();
    if let Some((_, order)) = &order {
        splice(&mut bytes, RECORD_ORDER, order);
    }
    if let Some(outcome) = &told {
        splice(&mut bytes, RECORD_OUTCOME, outcome);
    }
    let whole = Bytes::from(bytes);
    let outcome = told.map(|outcome| Encoded {
        schema: OUTCOME_SCHEMA,
        // It stands last.
        bytes: whole.slice(whole.len() - outcome.len()..),
    });
    let schema = "tradesvc.v0.OrderRecord";
    (Encoded { schema, bytes: whole }, outcome)
}

fn write_intent(message: &mut pb::OrderRecord, intent: &Intent) {
    message.command = command_kind(intent.command);
    message.payload_hash = Bytes::copy_from_slice(&intent.payload_hash);
    message.stream_created = Some(instant(intent.id.stream_created));
    message.stream_sequence = intent.id.sequence;
    message.stored_at = Some(instant(intent.stored_at));
    message.deadline = maybe_instant(intent.deadline);
    message.intent_at = Some(instant(intent.at));
    message.attempts = intent.attempts;
    message.order_id = text(intent.order_id);
    match &intent.asked {
        None => {}
        Some(Asked::PerSymbol(symbols)) => {
            message.close_symbols = symbols.iter().map(Symbol::to_string).collect();
        }
        Some(Asked::Placement(placement)) => match placement.as_ref() {
            Placement::New(order) => message.trade = Some(trade(order, false)),
            Placement::Replacement(replacement) => {
                message.replace = Some(pb::Replace {
                    order: replacement.replaces.to_string(),
                    ..changes(&replacement.changes, false)
                });
            }
        },
    }
}

/// Adds a field that is written already to a message. Where its fields stand in a message means nothing in protobuf.
fn splice(message: &mut Vec<u8>, field: u32, written: &[u8]) {
    message.reserve(written.len() + 8);
    encode_key(field, WireType::LengthDelimited, message);
    encode_varint(u64::try_from(written.len()).unwrap_or(u64::MAX), message);
    message.extend_from_slice(written);
}
