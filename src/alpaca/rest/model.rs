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

use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::money::parse_decimal;
use crate::domain::order::{PositionIntent, Side, TimeInForce};
use crate::domain::{
    Account, AssetClass, FillActivity, MarketClock, Order, OrderId, OrderStatus, Position, Symbol,
};

/// A decimal that came as a string or as a JSON number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::alpaca) struct Number(pub(in crate::alpaca) Option<Decimal>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text as it was sent: serde_json would read a JSON number into a float.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let text: Cow<'_, str> = if raw.starts_with('"') {
            serde_json::from_str::<String>(raw)
                .map_err(D::Error::custom)?
                .into()
        } else {
            raw.into()
        };
        match text.trim() {
            "" | "null" => Ok(Self(None)),
            text => decimal(text)
                .map(|number| Self(Some(number)))
                .ok_or_else(|| D::Error::custom("a number is not a number")),
        }
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
            Some(b'"') => serde_json::from_str::<String>(raw).map_err(D::Error::custom)?,
            Some(b'-' | b'0'..=b'9') => raw.to_owned(),
            _ => String::new(),
        };
        Ok(Self(Some(text).filter(|text| !text.is_empty())))
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
    serde_json::from_slice::<S>(body)?.noun()
}

/// The error envelope: `{"code":40310000,"message":"..."}`, and on some paths the message alone.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct ErrorJson {
    code: Number,
    message: Text,
}

impl ErrorJson {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
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
    extended_hours: Option<bool>,
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
        let asset_class = asset_class(self.asset_class.as_str());
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
            order_class: order_class(self.order_class.as_str()),
            // `order_type` is the older name of `type`; both are sent, and a leg may have neither.
            order_type: order_type(self.r#type.0.as_deref().unwrap_or(self.order_type.as_str())),
            side: side(self.side.as_str()),
            time_in_force: time_in_force(self.time_in_force.as_str()),
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
            extended_hours: self.extended_hours.unwrap_or_default(),
            position_intent: position_intent(self.position_intent.as_str()),
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
    asset_marginable: Option<bool>,
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
        let asset_class = asset_class(self.asset_class.as_str());
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
            asset_marginable: self.asset_marginable.unwrap_or_default(),
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
    trading_blocked: Option<bool>,
    account_blocked: Option<bool>,
    trade_suspended_by_user: Option<bool>,
    shorting_enabled: Option<bool>,
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
            trading_blocked: self.trading_blocked.unwrap_or_default(),
            account_blocked: self.account_blocked.unwrap_or_default(),
            trade_suspended_by_user: self.trade_suspended_by_user.unwrap_or_default(),
            shorting_enabled: self.shorting_enabled.unwrap_or_default(),
            crypto_status: self.crypto_status.owned(),
        })
    }
}

/// `/v2/clock`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClockJson {
    timestamp: Text,
    is_open: Option<bool>,
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

fn asset_class(word: &str) -> AssetClass {
    match word {
        "us_equity" => AssetClass::UsEquity,
        "crypto" => AssetClass::Crypto,
        "us_option" => AssetClass::UsOption,
        _ => AssetClass::Other,
    }
}

fn order_class(word: &str) -> Option<OrderClass> {
    match word {
        "simple" => Some(OrderClass::Simple),
        "bracket" => Some(OrderClass::Bracket),
        "oco" => Some(OrderClass::OneCancelsOther),
        "oto" => Some(OrderClass::OneTriggersOther),
        "mleg" => Some(OrderClass::MultiLeg),
        _ => None,
    }
}

fn order_type(word: &str) -> Option<OrderType> {
    match word {
        "market" => Some(OrderType::Market),
        "limit" => Some(OrderType::Limit),
        "stop" => Some(OrderType::Stop),
        "stop_limit" => Some(OrderType::StopLimit),
        "trailing_stop" => Some(OrderType::TrailingStop),
        _ => None,
    }
}

fn side(word: &str) -> Option<Side> {
    match word {
        "buy" => Some(Side::Buy),
        "sell" => Some(Side::Sell),
        _ => None,
    }
}

fn time_in_force(word: &str) -> Option<TimeInForce> {
    match word {
        "day" => Some(TimeInForce::Day),
        "gtc" => Some(TimeInForce::Gtc),
        "opg" => Some(TimeInForce::Opg),
        "ioc" => Some(TimeInForce::Ioc),
        "fok" => Some(TimeInForce::Fok),
        "gtx" => Some(TimeInForce::Gtx),
        "gtd" => Some(TimeInForce::Gtd),
        "cls" => Some(TimeInForce::Cls),
        _ => None,
    }
}

fn position_intent(word: &str) -> Option<PositionIntent> {
    match word {
        "buy_to_open" => Some(PositionIntent::BuyToOpen),
        "buy_to_close" => Some(PositionIntent::BuyToClose),
        "sell_to_open" => Some(PositionIntent::SellToOpen),
        "sell_to_close" => Some(PositionIntent::SellToClose),
        _ => None,
    }
}
