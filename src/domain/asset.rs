//! What can be traded, as the venue describes it.

use rust_decimal::Decimal;

use super::{AssetClass, Symbol};

/// Something that can be traded. What the venue left out is `None`, empty or false.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the venue's fields, documented in proto/tradesvc/v0/service.proto"
)]
pub struct Asset {
    pub id: String,
    pub asset_class: AssetClass,
    pub exchange: String,
    pub symbol: Symbol,
    pub name: String,
    pub status: String,
    pub tradable: bool,
    pub marginable: bool,
    pub shortable: bool,
    pub easy_to_borrow: bool,
    pub fractionable: bool,
    pub min_order_size: Option<Decimal>,
    pub min_trade_increment: Option<Decimal>,
    pub price_increment: Option<Decimal>,
    pub attributes: Vec<String>,
}
