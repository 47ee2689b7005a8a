//! The account itself, and the market's clock.

use jiff::Timestamp;
use rust_decimal::Decimal;

/// The account as the venue states it. What the venue left out is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the venue's fields, documented in proto/tradesvc/v0/tradesvc.proto"
)]
pub struct Account {
    pub id: String,
    pub account_number: String,
    pub status: String,
    pub currency: String,
    pub cash: Option<Decimal>,
    pub equity: Option<Decimal>,
    pub last_equity: Option<Decimal>,
    pub buying_power: Option<Decimal>,
    pub regt_buying_power: Option<Decimal>,
    pub non_marginable_buying_power: Option<Decimal>,
    pub options_buying_power: Option<Decimal>,
    pub portfolio_value: Option<Decimal>,
    pub long_market_value: Option<Decimal>,
    pub short_market_value: Option<Decimal>,
    pub initial_margin: Option<Decimal>,
    pub maintenance_margin: Option<Decimal>,
    pub multiplier: Option<Decimal>,
    pub trading_blocked: bool,
    pub account_blocked: bool,
    pub trade_suspended_by_user: bool,
    pub shorting_enabled: bool,
    pub crypto_status: String,
}

#[cfg(test)]
impl Account {
    /// One of which the venue says nothing.
    pub fn unstated() -> Self {
        Self {
            id: String::new(),
            account_number: String::new(),
            status: String::new(),
            currency: String::new(),
            cash: None,
            equity: None,
            last_equity: None,
            buying_power: None,
            regt_buying_power: None,
            non_marginable_buying_power: None,
            options_buying_power: None,
            portfolio_value: None,
            long_market_value: None,
            short_market_value: None,
            initial_margin: None,
            maintenance_margin: None,
            multiplier: None,
            trading_blocked: false,
            account_blocked: false,
            trade_suspended_by_user: false,
            shorting_enabled: false,
            crypto_status: String::new(),
        }
    }
}

/// The account as a dated statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatement {
    /// What was stated.
    pub account: Account,
    /// It was true at the venue at this instant.
    pub as_of: Timestamp,
    /// Where it came from.
    pub source: &'static str,
    /// Whether it can still be vouched for.
    pub fresh: bool,
    /// Goes up by one with each statement, also across restarts.
    pub version: u64,
}

/// The market's clock as the venue states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketClock {
    /// What time it is at the venue.
    pub timestamp: Timestamp,
    /// Whether the regular session is on.
    pub is_open: bool,
    /// When it opens next.
    pub next_open: Option<Timestamp>,
    /// When it closes next.
    pub next_close: Option<Timestamp>,
}
