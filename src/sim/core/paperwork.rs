//! What the account keeps beside orders, cash and positions.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::configuration::Configuration;

#[derive(Debug, Default)]
pub(crate) struct Paperwork {
    pub(crate) configuration: Configuration,
    /// Bookings that no order made, oldest first.
    pub(crate) postings: Vec<Posting>,
    /// Options that must not be exercised when they expire, by symbol.
    pub(crate) left_alone: BTreeSet<String>,
}

/// A row of the account's history that is no execution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Posting {
    /// 17 digits of New York local time, `::`, a uuid.
    pub(crate) activity_id: String,
    pub(crate) at: Timestamp,
    /// `CFEE`, `OPEXC`, `OPTRD`.
    pub(crate) kind: &'static str,
    pub(crate) description: &'static str,
    pub(crate) symbol: String,
    /// Signed units.
    pub(crate) qty: Decimal,
    pub(crate) price: Decimal,
    /// Signed dollars.
    pub(crate) net_amount: Decimal,
}
