//! The venue's "no": one HTTP status, one code, one text and the extra keys some refusals carry.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use uuid::Uuid;

/// A request the venue refused without acting on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Alpaca's eight digits; the authentication edge sends none.
    pub code: Option<u32>,
    /// The human text, which clients must match loosely.
    pub message: String,
    /// Keys beside `code` and `message`; all are strings on the wire.
    pub extra: BTreeMap<&'static str, String>,
}

impl Refusal {
    fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Some(code),
            message: message.into(),
            extra: BTreeMap::new(),
        }
    }

    fn edge(status: u16, message: &str) -> Self {
        Self {
            status,
            code: None,
            message: message.to_owned(),
            extra: BTreeMap::new(),
        }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.extra.insert(key, value.to_string());
        self
    }

    /// The data side sends no codes.
    pub(crate) fn data(status: u16, message: impl AsRef<str>) -> Self {
        Self::edge(status, message.as_ref())
    }

    pub(crate) fn unauthorized() -> Self {
        Self::edge(401, "unauthorized.")
    }

    pub(crate) fn forbidden() -> Self {
        Self::edge(403, "forbidden.")
    }

    pub(crate) fn endpoint_not_found() -> Self {
        Self::edge(404, "endpoint not found.")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::edge(405, "method not allowed.")
    }

    pub(crate) fn body_too_large() -> Self {
        Self::edge(413, "request body too large.")
    }

    pub(crate) fn malformed_body() -> Self {
        Self::new(400, 40_010_000, "request body format is invalid")
    }

    pub(crate) fn rate_limited() -> Self {
        Self::new(429, 42_910_000, "rate limit exceeded")
    }

    /// A request that makes no sense, 422 with the catch-all 40010001.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(422, 40_010_001, message)
    }

    /// A readable request that breaks a trading rule, 422 with the catch-all 42210000.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, 42_210_000, message)
    }

    /// A request the account may not make now, 403 with the catch-all 40310000.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(403, 40_310_000, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, 40_410_000, message)
    }

    pub(crate) fn duplicate_client_order_id() -> Self {
        Self::invalid("client_order_id must be unique")
    }

    pub(crate) fn order_not_found(id: Uuid) -> Self {
        Self::not_found(format!("order not found for {id}"))
    }

    pub(crate) fn buying_power(buying_power: Decimal, cost_basis: Decimal) -> Self {
        Self::denied("insufficient buying power")
            .with("buying_power", buying_power.normalize())
            .with("cost_basis", cost_basis.normalize())
    }

    pub(crate) fn insufficient_qty(
        symbol: &str,
        requested: Decimal,
        existing: Decimal,
        held: Decimal,
    ) -> Self {
        let available = (existing - held).max(Decimal::ZERO).normalize();
        let requested = requested.normalize();
        Self::denied(format!(
            "insufficient qty available for order (requested: {requested}, available: {available})"
        ))
        .with("available", available)
        .with("existing_qty", existing.normalize())
        .with("held_for_orders", held.normalize())
        .with("symbol", symbol)
    }

    pub(crate) fn insufficient_balance(coin: &str, requested: Decimal, available: Decimal) -> Self {
        Self::denied(format!(
            "insufficient balance for {coin} (requested: {}, available: {})",
            requested.normalize(),
            available.normalize()
        ))
        .with("available", available.normalize())
        .with("symbol", coin)
    }

    pub(crate) fn covered_call(required: Decimal, available: Decimal, underlying: Uuid) -> Self {
        let (required, available) = (required.normalize(), available.normalize());
        Self::denied(format!(
            "insufficient underlying qty available for covered call (required: {required}, available: {available})"
        ))
        .with("available_qty", available)
        .with("required_qty", required)
        .with("underlying_asset_id", underlying)
    }

    pub(crate) fn wash_trade(existing: Uuid, existing_type: &str) -> Self {
        Self::denied("potential wash trade detected. use complex orders")
            .with("existing_order_id", existing)
            .with(
                "reject_reason",
                format!("opposite side {existing_type} order exists"),
            )
    }

    pub(crate) fn price_grid(field: &str, price: Decimal) -> Self {
        Self::unprocessable(format!(
            "invalid {field} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        ))
    }
}
