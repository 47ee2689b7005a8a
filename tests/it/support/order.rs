//! Orders, in proto3's JSON.

use serde_json::{Value, json};

/// A market order for the day.
pub(crate) fn market(side: &str, symbol: &str, qty: &str) -> Value {
    json!({
        "symbol": symbol,
        "qty": qty,
        "side": side,
        "order_type": "ORDER_TYPE_MARKET",
        "tif": "TIME_IN_FORCE_DAY",
    })
}

/// Buys at the market.
pub(crate) fn buy(symbol: &str, qty: &str) -> Value {
    market("SIDE_BUY", symbol, qty)
}

/// A limit order that rests: it bids a dollar.
pub(crate) fn resting(symbol: &str) -> Value {
    buy(symbol, "1").with(json!({"order_type": "ORDER_TYPE_LIMIT", "limit_price": "1"}))
}

/// Changes to an order.
pub(crate) trait With {
    /// The same, with these fields set; a null takes a field away.
    fn with(self, changes: Value) -> Value;
}

impl With for Value {
    fn with(mut self, changes: Value) -> Value {
        let fields = self.as_object_mut().expect("an order is an object");
        for (name, value) in changes.as_object().expect("changes are an object") {
            if value.is_null() {
                fields.remove(name);
            } else {
                fields.insert(name.clone(), value.clone());
            }
        }
        self
    }
}
