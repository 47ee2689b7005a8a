//! Fills as the account's book of activities tells them.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{OrderId, OrderStatus, Symbol};

/// One fill from the venue's activities. It carries neither an execution id nor a client order id: it is joined
/// to its order by `order_id`, and to the stream's fill by `cum_qty`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillActivity {
    /// The venue's id of the activity. Its order is not the order of time.
    pub activity_id: String,
    /// The order that was filled.
    pub order_id: OrderId,
    /// `fill` or `partial_fill`, the venue's word. An open set.
    pub event: String,
    /// When it happened.
    pub transaction_time: Timestamp,
    /// What was traded, as the venue spells it here; a crypto pair may lack its slash.
    pub symbol: Symbol,
    /// `buy`, `sell` or `sell_short`, the venue's word.
    pub side: String,
    /// Price of this fill alone (FIX LastPx).
    pub last_px: Decimal,
    /// Quantity of this fill alone (FIX LastQty).
    pub last_qty: Decimal,
    /// Filled by then, this fill included (FIX CumQty).
    pub cum_qty: Decimal,
    /// Still open by then (FIX LeavesQty).
    pub leaves_qty: Option<Decimal>,
    /// The order's status after the fill.
    pub order_status: Option<OrderStatus>,
}
