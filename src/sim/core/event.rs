//! What the venue reports about an order, with the order as it was at that moment.

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::order::{Order, wire_words};

wire_words! {
    /// What happened to the order.
    pub enum EventKind {
        Accepted = "accepted",
        PendingNew = "pending_new",
        New = "new",
        PartialFill = "partial_fill",
        Fill = "fill",
        Canceled = "canceled",
        Expired = "expired",
        Replaced = "replaced",
        Rejected = "rejected",
        OrderReplaceRejected = "order_replace_rejected",
    }
}

/// An order with its children or legs, all as of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderView {
    /// The order.
    pub order: Order,
    /// Its children or legs.
    pub legs: Vec<Order>,
}

/// One execution: what changed hands in this event alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Units of this execution.
    pub qty: Decimal,
    /// Price of this execution.
    pub price: Decimal,
    /// The signed position afterwards; none for a multi-leg parent, whose legs say it.
    pub position_qty: Option<Decimal>,
    /// The executions of a multi-leg order's legs.
    pub legs: Vec<LegExecution>,
}

/// The part of a multi-leg execution that concerns one leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegExecution {
    /// The execution's id.
    pub execution_id: Uuid,
    /// The leg's order id.
    pub order_id: Uuid,
    /// The leg's symbol.
    pub symbol: String,
    /// Units of the leg.
    pub qty: Decimal,
    /// Price of the leg.
    pub price: Decimal,
    /// The signed position in the leg's symbol afterwards.
    pub position_qty: Decimal,
}

/// One report.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// A ULID; ids sort in the order of the events.
    pub event_id: String,
    /// None on `pending_new`, as at the venue.
    pub execution_id: Option<Uuid>,
    /// What happened.
    pub kind: EventKind,
    /// When it happened.
    pub at: Timestamp,
    /// The order afterwards.
    pub view: OrderView,
    /// What changed hands, on fills.
    pub execution: Option<Execution>,
}

/// One row of the account's trading history.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// 17 digits of New York local time, `::`, a uuid.
    pub activity_id: String,
    /// When it traded.
    pub at: Timestamp,
    /// The order that traded.
    pub order_id: Uuid,
    /// That order's client id.
    pub client_order_id: String,
    /// The symbol.
    pub symbol: String,
    /// The side.
    pub side: super::order::Side,
    /// Units of this execution.
    pub qty: Decimal,
    /// Price of this execution.
    pub price: Decimal,
    /// Units filled so far.
    pub cum_qty: Decimal,
    /// Units still open.
    pub leaves_qty: Decimal,
    /// The order's status afterwards.
    pub order_status: super::order::Status,
}

/// Milliseconds, then a counter, then chance: 26 characters that sort like the events do.
pub(crate) fn ulid(at: Timestamp, counter: u64, chance: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    const CHARACTERS: u32 = 26;
    let millis = u128::from(at.as_millisecond().max(0).unsigned_abs());
    let value = (millis << 80) | (u128::from(counter) << 16) | u128::from(chance & 0xFFFF);
    (0..CHARACTERS)
        .rev()
        .map(|place| {
            ALPHABET
                .get(((value >> (5 * place)) & 31) as usize)
                .map_or('0', |byte| char::from(*byte))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_sort_like_events() {
        let at = Timestamp::UNIX_EPOCH;
        let ids: Vec<_> = (0..100).map(|n| ulid(at, n, 99 - n)).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.len() == 26));
    }
}
