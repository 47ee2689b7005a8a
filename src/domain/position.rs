//! What the account holds.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{AssetClass, Symbol};

/// One holding as the venue states it. Negative quantities are short.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the venue's fields, documented in proto/tradesvc/v0/tradesvc.proto"
)]
pub struct Position {
    pub asset_id: String,
    /// A crypto pair carries its slash, as in orders.
    pub symbol: Symbol,
    pub exchange: String,
    pub asset_class: AssetClass,
    pub asset_marginable: bool,
    pub qty: Decimal,
    pub qty_available: Option<Decimal>,
    pub avg_entry_price: Option<Decimal>,
    pub side: String,
    pub market_value: Option<Decimal>,
    pub cost_basis: Option<Decimal>,
    pub unrealized_pl: Option<Decimal>,
    pub unrealized_plpc: Option<Decimal>,
    pub unrealized_intraday_pl: Option<Decimal>,
    pub unrealized_intraday_plpc: Option<Decimal>,
    pub current_price: Option<Decimal>,
    pub lastday_price: Option<Decimal>,
    pub change_today: Option<Decimal>,
}

/// Everything the account holds, as a dated statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Empty when the account is flat.
    pub positions: Vec<Position>,
    /// The statement was true at the venue at this instant.
    pub as_of: Timestamp,
    /// Where it came from.
    pub source: &'static str,
    /// Whether it can still be vouched for.
    pub fresh: bool,
    /// Goes up by one with each statement, also across restarts.
    pub version: u64,
}
