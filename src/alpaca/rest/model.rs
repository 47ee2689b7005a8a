//! The venue's JSON, and how it becomes our nouns.
//!
//! Tolerant where the venue is loose: numbers come as strings or as JSON numbers, `""` and `null` mean absent,
//! unknown fields and words are passed over. Strict where money is at stake: a number that is no number, or an
//! order without an id, makes the answer unreadable.

use std::borrow::Cow;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::words;
use crate::domain::money::parse_decimal;
use crate::domain::{
    Account, Asset, AssetClass, FillActivity, MarketClock, Order, OrderId, OrderStatus, Position, Symbol,
};

/// A decimal that came as a string or as a JSON number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::alpaca) struct Number(pub(in crate::alpaca) Option<Decimal>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text as it was sent: serde_json would read a JSON number into a float.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let text = unquoted(raw).map_err(D::Error::custom)?;
        match text.trim() {
            "" | "null" => Ok(Self(None)),
            text => decimal(text)
                .map(|number| Self(Some(number)))
                .ok_or_else(|| D::Error::custom("a number is not a number")),
        }
    }
}

/// The text of a string, or what stands there instead of one.
fn unquoted(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        // Nothing is escaped, so the text is there as it is: an order has thirty of them.
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        Some(_) => serde_json::from_str::<String>(raw).map(Cow::Owned),
        None => Ok(Cow::Borrowed(raw)),
    }
}

/// Exact up to 28 digits. What the venue computed with more (an average, a ratio) is rounded to the nearest.
fn decimal(text: &str) -> Option<Decimal> {
    parse_decimal(text)
        .or_else(|_| text.parse())
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// A text; absent when it is empty, null, or no text at all. A JSON number is taken as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::alpaca) struct Text(pub(in crate::alpaca) Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let text = match raw.as_bytes().first() {
            Some(b'"' | b'-' | b'0'..=b'9') => unquoted(raw).map_err(D::Error::custom)?,
            _ => Cow::Borrowed(""),
        };
        Ok(Self((!text.is_empty()).then(|| text.into_owned())))
    }
}

/// Yes or no; absent when it is neither.
#[derive(Clone, Copy, Debug, Default)]
struct Flag(Option<bool>);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self(raw.parse().ok()))
    }
}

impl Text {
    fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    fn owned(self) -> String {
        self.0.unwrap_or_default()
    }

    pub(in crate::alpaca) fn timestamp(&self) -> Option<Timestamp> {
        self.as_str().parse().ok()
    }

    fn order_id(&self) -> Option<OrderId> {
        OrderId::parse(self.as_str())
    }
}

/// Why an answer could not become a noun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::alpaca) struct Unreadable(String);

impl Unreadable {
    fn missing(what: &str) -> Self {
        Self(format!("{what} is missing or unreadable"))
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("unreadable JSON: {error}"))
    }
}

/// A shape of the venue's that stands for one of our nouns.
pub(super) trait Shape: for<'de> Deserialize<'de> {
    /// Our noun.
    type Noun;
    /// Translates it, or says what is missing.
    fn noun(self) -> Result<Self::Noun, Unreadable>;
}

impl<S: Shape> Shape for Vec<S> {
    type Noun = Vec<S::Noun>;

    fn noun(self) -> Result<Self::Noun, Unreadable> {
        self.into_iter().map(Shape::noun).collect()
    }
}

/// Reads a whole body as one of our nouns.
pub(super) fn read<S: Shape>(body: &[u8]) -> Result<S::Noun, Unreadable> {
    // Once for all: read as bytes, each text in it would be looked at by itself.
    let text = std::str::from_utf8(body).map_err(|error| Unreadable(format!("unreadable JSON: {error}")))?;
    serde_json::from_str::<S>(text)?.noun()
}

/// The error envelope: `{"code":40310000,"message":"..."}`, and on some paths the message alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorJson {
    code: Number,
    message: Text,
}

impl ErrorJson {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        // serde would also take an array for a struct.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        is_object.then(|| serde_json::from_slice(body).ok()).flatten()
    }

    pub(super) fn code(&self) -> Option<i64> {
        self.code.0.and_then(|code| i64::try_from(code).ok())
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.message.0.as_deref()
    }
}

/// An order as the REST API and the stream send it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::alpaca) struct OrderJson {
    id: Text,
    client_order_id: Text,
    created_at: Text,
    updated_at: Text,
    submitted_at: Text,
    filled_at: Text,
    expired_at: Text,
    canceled_at: Text,
    failed_at: Text,
    replaced_at: Text,
    replaced_by: Text,
    replaces: Text,
    asset_id: Text,
    symbol: Text,
    asset_class: Text,
    order_class: Text,
    r#type: Text,
    order_type: Text,
    side: Text,
    time_in_force: Text,
    status: Text,
    notional: Number,
    qty: Number,
    filled_qty: Number,
    filled_avg_price: Number,
    limit_price: Number,
    stop_price: Number,
    trail_price: Number,
    trail_percent: Number,
    hwm: Number,
    extended_hours: Flag,
    position_intent: Text,
    ratio_qty: Number,
    legs: Option<Vec<OrderJson>>,
}

impl Shape for OrderJson {
    type Noun = Order;

    fn noun(self) -> Result<Order, Unreadable> {
        self.order()
    }
}

impl OrderJson {
    /// The order, if it has what every order has: an id and a status.
    pub(in crate::alpaca) fn order(self) -> Result<Order, Unreadable> {
        let id = self
            .id
            .order_id()
            .ok_or_else(|| Unreadable::missing("order id"))?;
        let status = self.status.0.as_deref().map(OrderStatus::from_venue);
        let status = status.ok_or_else(|| Unreadable::missing("order status"))?;
        let asset_class = words::read_asset_class(self.asset_class.as_str());
        let legs = self.legs.unwrap_or_default();
        Ok(Order {
            id: Some(id),
            created_at: self.created_at.timestamp(),
            updated_at: self.updated_at.timestamp(),
            submitted_at: self.submitted_at.timestamp(),
            filled_at: self.filled_at.timestamp(),
            expired_at: self.expired_at.timestamp(),
            canceled_at: self.canceled_at.timestamp(),
            failed_at: self.failed_at.timestamp(),
            replaced_at: self.replaced_at.timestamp(),
            replaced_by: self.replaced_by.order_id(),
            replaces: self.replaces.order_id(),
            symbol: symbol(&self.symbol, asset_class),
            asset_class,
            order_class: words::read_order_class(self.order_class.as_str()),
            // `order_type` is the older name of `type`; both are sent, and a leg may have neither.
            order_type: words::read_order_type(self.r#type.0.as_deref().unwrap_or(self.order_type.as_str())),
            side: words::read_side(self.side.as_str()),
            time_in_force: words::read_time_in_force(self.time_in_force.as_str()),
            status,
            notional: self.notional.0,
            qty: self.qty.0,
            filled_qty: self.filled_qty.0.unwrap_or_default(),
            filled_avg_price: self.filled_avg_price.0,
            limit_price: self.limit_price.0,
            stop_price: self.stop_price.0,
            trail_price: self.trail_price.0,
            trail_percent: self.trail_percent.0,
            hwm: self.hwm.0,
            extended_hours: self.extended_hours.0.unwrap_or_default(),
            position_intent: words::read_position_intent(self.position_intent.as_str()),
            ratio_qty: self.ratio_qty.0,
            legs: legs.noun()?,
            client_order_id: self.client_order_id.owned(),
            asset_id: self.asset_id.owned(),
        })
    }
}

/// A holding.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PositionJson {
    asset_id: Text,
    symbol: Text,
    exchange: Text,
    asset_class: Text,
    asset_marginable: Flag,
    qty: Number,
    qty_available: Number,
    avg_entry_price: Number,
    side: Text,
    market_value: Number,
    cost_basis: Number,
    unrealized_pl: Number,
    unrealized_plpc: Number,
    unrealized_intraday_pl: Number,
    unrealized_intraday_plpc: Number,
    current_price: Number,
    lastday_price: Number,
    change_today: Number,
}

impl Shape for PositionJson {
    type Noun = Position;

    fn noun(self) -> Result<Position, Unreadable> {
        let asset_class = words::read_asset_class(self.asset_class.as_str());
        let symbol = symbol(&self.symbol, asset_class);
        Ok(Position {
            symbol: symbol.ok_or_else(|| Unreadable::missing("a position's symbol"))?,
            qty: self
                .qty
                .0
                .ok_or_else(|| Unreadable::missing("a position's quantity"))?,
            asset_id: self.asset_id.owned(),
            exchange: self.exchange.owned(),
            asset_class,
            asset_marginable: self.asset_marginable.0.unwrap_or_default(),
            qty_available: self.qty_available.0,
            avg_entry_price: self.avg_entry_price.0,
            side: self.side.owned(),
            market_value: self.market_value.0,
            cost_basis: self.cost_basis.0,
            unrealized_pl: self.unrealized_pl.0,
            unrealized_plpc: self.unrealized_plpc.0,
            unrealized_intraday_pl: self.unrealized_intraday_pl.0,
            unrealized_intraday_plpc: self.unrealized_intraday_plpc.0,
            current_price: self.current_price.0,
            lastday_price: self.lastday_price.0,
            change_today: self.change_today.0,
        })
    }
}

/// A row of `/v2/account/activities` of type FILL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FillJson {
    id: Text,
    order_id: Text,
    r#type: Text,
    transaction_time: Text,
    symbol: Text,
    side: Text,
    price: Number,
    qty: Number,
    cum_qty: Number,
    leaves_qty: Number,
    order_status: Text,
}

impl Shape for FillJson {
    type Noun = FillActivity;

    fn noun(self) -> Result<FillActivity, Unreadable> {
        let missing = |what| move || Unreadable::missing(what);
        Ok(FillActivity {
            order_id: self
                .order_id
                .order_id()
                .ok_or_else(missing("a fill's order id"))?,
            transaction_time: self
                .transaction_time
                .timestamp()
                .ok_or_else(missing("a fill's time"))?,
            symbol: Symbol::parse(self.symbol.as_str())
                .map_err(|_| Unreadable::missing("a fill's symbol"))?,
            last_px: self.price.0.ok_or_else(missing("a fill's price"))?,
            last_qty: self.qty.0.ok_or_else(missing("a fill's quantity"))?,
            cum_qty: self
                .cum_qty
                .0
                .ok_or_else(missing("a fill's cumulative quantity"))?,
            leaves_qty: self.leaves_qty.0,
            order_status: self.order_status.0.as_deref().map(OrderStatus::from_venue),
            activity_id: self.id.0.ok_or_else(missing("a fill's activity id"))?,
            event: self.r#type.owned(),
            side: self.side.owned(),
        })
    }
}

/// `/v2/account`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AccountJson {
    id: Text,
    account_number: Text,
    status: Text,
    currency: Text,
    cash: Number,
    equity: Number,
    last_equity: Number,
    buying_power: Number,
    regt_buying_power: Number,
    non_marginable_buying_power: Number,
    options_buying_power: Number,
    portfolio_value: Number,
    long_market_value: Number,
    short_market_value: Number,
    initial_margin: Number,
    maintenance_margin: Number,
    multiplier: Number,
    trading_blocked: Flag,
    account_blocked: Flag,
    trade_suspended_by_user: Flag,
    shorting_enabled: Flag,
    crypto_status: Text,
}

impl Shape for AccountJson {
    type Noun = Account;

    fn noun(self) -> Result<Account, Unreadable> {
        Ok(Account {
            id: self.id.0.ok_or_else(|| Unreadable::missing("account id"))?,
            status: self
                .status
                .0
                .ok_or_else(|| Unreadable::missing("account status"))?,
            account_number: self.account_number.owned(),
            currency: self.currency.owned(),
            cash: self.cash.0,
            equity: self.equity.0,
            last_equity: self.last_equity.0,
            buying_power: self.buying_power.0,
            regt_buying_power: self.regt_buying_power.0,
            non_marginable_buying_power: self.non_marginable_buying_power.0,
            options_buying_power: self.options_buying_power.0,
            portfolio_value: self.portfolio_value.0,
            long_market_value: self.long_market_value.0,
            short_market_value: self.short_market_value.0,
            initial_margin: self.initial_margin.0,
            maintenance_margin: self.maintenance_margin.0,
            multiplier: self.multiplier.0,
            trading_blocked: self.trading_blocked.0.unwrap_or_default(),
            account_blocked: self.account_blocked.0.unwrap_or_default(),
            trade_suspended_by_user: self.trade_suspended_by_user.0.unwrap_or_default(),
            shorting_enabled: self.shorting_enabled.0.unwrap_or_default(),
            crypto_status: self.crypto_status.owned(),
        })
    }
}

/// `/v2/assets/{symbol}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AssetJson {
    id: Text,
    class: Text,
    exchange: Text,
    symbol: Text,
    name: Text,
    status: Text,
    tradable: Flag,
    marginable: Flag,
    shortable: Flag,
    // Older than `borrow_status`, and may be missing (source: Alpaca Trading API, assets).
    easy_to_borrow: Flag,
    borrow_status: Text,
    fractionable: Flag,
    min_order_size: Number,
    min_trade_increment: Number,
    price_increment: Number,
    attributes: Option<Vec<Text>>,
}

impl Shape for AssetJson {
    type Noun = Asset;

    fn noun(self) -> Result<Asset, Unreadable> {
        let asset_class = words::read_asset_class(self.class.as_str());
        let symbol = symbol(&self.symbol, asset_class);
        let easy_to_borrow = self.easy_to_borrow.0;
        Ok(Asset {
            symbol: symbol.ok_or_else(|| Unreadable::missing("an asset's symbol"))?,
            id: self.id.owned(),
            asset_class,
            exchange: self.exchange.owned(),
            name: self.name.owned(),
            status: self.status.owned(),
            tradable: self.tradable.0.unwrap_or_default(),
            marginable: self.marginable.0.unwrap_or_default(),
            shortable: self.shortable.0.unwrap_or_default(),
            easy_to_borrow: easy_to_borrow.unwrap_or(self.borrow_status.as_str() == "easy_to_borrow"),
            fractionable: self.fractionable.0.unwrap_or_default(),
            min_order_size: self.min_order_size.0,
            min_trade_increment: self.min_trade_increment.0,
            price_increment: self.price_increment.0,
            attributes: self
                .attributes
                .unwrap_or_default()
                .into_iter()
                .map(Text::owned)
                .collect(),
        })
    }
}

/// `/v2/clock`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClockJson {
    timestamp: Text,
    is_open: Flag,
    next_open: Text,
    next_close: Text,
}

impl Shape for ClockJson {
    type Noun = MarketClock;

    fn noun(self) -> Result<MarketClock, Unreadable> {
        let timestamp = self.timestamp.timestamp();
        Ok(MarketClock {
            timestamp: timestamp.ok_or_else(|| Unreadable::missing("the clock's time"))?,
            is_open: self
                .is_open
                .0
                .ok_or_else(|| Unreadable::missing("whether the market is open"))?,
            next_open: self.next_open.timestamp(),
            next_close: self.next_close.timestamp(),
        })
    }
}

fn symbol(text: &Text, asset_class: AssetClass) -> Option<Symbol> {
    let symbol = Symbol::parse(text.as_str()).ok()?;
    Some(if asset_class == AssetClass::Crypto {
        symbol.with_pair_slash()
    } else {
        symbol
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::execution::{OrderClass, OrderType};
    use crate::domain::order::Side;

    fn number(json: &str) -> Result<Option<String>, String> {
        serde_json::from_str::<Number>(json)
            .map(|number| number.0.map(|number| number.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_read_from_their_text_and_never_through_a_float() {
        for (json, expected) in [
            (r#""0.000000001""#, Some("0.000000001")),
            ("0.1000", Some("0.1000")),
            ("-5", Some("-5")),
            (
                "123456789012345678.123456789",
                Some("123456789012345678.123456789"),
            ),
            ("1e-9", Some("0.000000001")),
            ("2.5E+3", Some("2500")),
            (r#""""#, None),
            ("null", None),
            (r#"" ""#, None),
            (r#""null""#, None),
        ] {
            assert_eq!(number(json), Ok(expected.map(str::to_owned)), "{json}");
        }
        for json in [r#""abc""#, "true", "{}", "[1]", "1e999999999", r#""NaN""#] {
            assert!(number(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_order_is_read_with_what_the_venue_left_out_absent() {
        let order = read::<OrderJson>(include_bytes!("../fixtures/order_limit.json")).unwrap();
        assert_eq!(order.client_order_id, "momentum.1");
        assert_eq!(order.symbol.as_ref().map(|symbol| symbol.as_str()), Some("AAPL"));
        assert_eq!(order.order_class, None, "an empty word is no word");
        assert_eq!(order.order_type, Some(OrderType::Limit));
        assert_eq!(order.side, Some(Side::Buy));
        assert_eq!(order.status, OrderStatus::Accepted);
        assert_eq!(order.limit_price, Some(Decimal::from(150)));
        assert_eq!(order.filled_at, None);
        assert_eq!(
            order.created_at.unwrap().to_string(),
            "2023-12-12T22:31:24.668464435Z"
        );
        assert!(order.legs.is_empty());
    }

    #[test]
    fn a_multi_leg_parent_has_no_symbol_and_its_legs_no_type() {
        let order = read::<OrderJson>(include_bytes!("../fixtures/order_mleg.json")).unwrap();
        assert_eq!(order.symbol, None);
        assert_eq!(order.side, None);
        assert_eq!(order.order_class, Some(OrderClass::MultiLeg));
        assert_eq!(order.limit_price, Some("-0.6".parse().unwrap()));
        assert_eq!(
            order.submitted_at.unwrap().to_string(),
            "2025-01-21T18:00:25.141Z"
        );
        assert_eq!(order.legs.len(), 2);
        assert_eq!(order.legs[0].order_type, None);
        assert_eq!(order.legs[0].asset_class, AssetClass::UsOption);
        assert_eq!(order.legs[0].ratio_qty, Some(Decimal::ONE));
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_vital_is_not() {
        let id = r#""id":"7b08df51-c1ac-453c-99f9-323a5f075f0d""#;
        let odd = format!(
            r#"{{{id},"status":"halted_by_moon","type":"peg","side":"sideways","asset_class":"ipo","symbol":17,
               "extended_hours":"yes","expires_at":{{}},"replaced_by":"not a uuid","filled_at":"yesterday"}}"#
        );
        let order = read::<OrderJson>(odd.as_bytes()).unwrap();
        assert_eq!(order.status, OrderStatus::Other("halted_by_moon".to_owned()));
        assert_eq!((order.order_type, order.side), (None, None));
        assert_eq!(order.asset_class, AssetClass::Other);
        assert_eq!(order.filled_at, None);
        assert!(!order.extended_hours);
        for vital in [
            format!("{{{id}}}"),
            r#"{"status":"new"}"#.to_owned(),
            r#"{"id":"17","status":"new"}"#.to_owned(),
            format!(r#"{{{id},"status":"new","qty":"many"}}"#),
            "null".to_owned(),
            "[]".to_owned(),
        ] {
            assert!(read::<OrderJson>(vital.as_bytes()).is_err(), "{vital}");
        }
    }

    #[test]
    fn holdings_account_and_fills_are_read() {
        let positions = read::<Vec<PositionJson>>(include_bytes!("../fixtures/positions.json")).unwrap();
        assert_eq!(positions[0].qty, Decimal::from(-5));
        assert_eq!(positions[0].unrealized_plpc.unwrap().to_string(), "-0.20");
        assert_eq!(positions[1].symbol.as_str(), "BTC/USD", "a pair has one spelling");
        assert_eq!(positions[1].qty.to_string(), "0.000000001");
        assert_eq!(positions[1].lastday_price, None);
        assert_eq!(read::<Vec<PositionJson>>(b"[]").unwrap(), []);
        assert!(
            read::<Vec<PositionJson>>(br#"[{"symbol":"AAPL"}]"#).is_err(),
            "no quantity is not flat"
        );

        let account = read::<AccountJson>(include_bytes!("../fixtures/account.json")).unwrap();
        assert_eq!(account.status, "ACTIVE");
        assert_eq!(account.cash.unwrap().to_string(), "-23140.2");
        assert!(account.shorting_enabled && !account.trading_blocked);

        let fills = read::<Vec<FillJson>>(include_bytes!("../fixtures/activities_fill.json")).unwrap();
        assert_eq!(fills[0].cum_qty, Decimal::TWO);
        assert_eq!(fills[0].order_status, Some(OrderStatus::Filled));

        let clock = br#"{"timestamp":"2026-11-20T09:00:00.1-05:00","is_open":false,
            "next_open":"2026-11-20T09:30:00-05:00","next_close":""}"#;
        let clock = read::<ClockJson>(clock).unwrap();
        assert_eq!(clock.timestamp.to_string(), "2026-11-20T14:00:00.1Z");
        assert_eq!(clock.next_close, None);
    }

    proptest! {
        #[test]
        fn any_number_text_is_read_or_refused_without_panic(text in "-?[0-9]{0,40}\\.?[0-9]{0,40}([eE][+-]?[0-9]{0,12})?") {
            let _ = number(&text);
            let _ = number(&format!("{text:?}"));
        }
    }
}
