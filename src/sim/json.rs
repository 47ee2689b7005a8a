//! The venue's JSON: every field present, decimals as strings, unset ones null.

use std::fmt;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::core::{
    AccountView, Activity, Asset, AssetClass, ClockView, Configuration, ContractView, EXTENDED_CLOSE,
    EXTENDED_OPEN, Event, Exercised, Fill, LegExecution, OPTIONS_LEVEL_MAX, Order, OrderClass, OrderView,
    PositionView, Posting, Refusal, Session, Trail, new_york, new_york_day,
};

/// A decimal as the wire spells it: a string without trailing zeros.
struct Money(Decimal);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.normalize())
    }
}

fn money(value: Option<Decimal>) -> Option<Money> {
    value.map(Money)
}

/// Ids and moments, which are strings on the wire.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn moment(value: Option<Timestamp>) -> Option<Text<Timestamp>> {
    value.map(Text)
}

#[derive(Serialize)]
pub(crate) struct OrderJson<'a> {
    id: Text<Uuid>,
    client_order_id: &'a str,
    created_at: Text<Timestamp>,
    updated_at: Text<Timestamp>,
    submitted_at: Text<Timestamp>,
    filled_at: Option<Text<Timestamp>>,
    expired_at: Option<Text<Timestamp>>,
    expires_at: Option<Text<Timestamp>>,
    cancel_requested_at: Option<Text<Timestamp>>,
    canceled_at: Option<Text<Timestamp>>,
    failed_at: Option<Text<Timestamp>>,
    replaced_at: Option<Text<Timestamp>>,
    replaced_by: Option<Text<Uuid>>,
    replaces: Option<Text<Uuid>>,
    asset_id: String,
    symbol: &'a str,
    asset_class: &'static str,
    notional: Option<Money>,
    qty: Option<Money>,
    filled_qty: Money,
    filled_avg_price: Option<Money>,
    order_class: &'static str,
    order_type: &'static str,
    r#type: &'static str,
    side: &'static str,
    position_intent: Option<&'static str>,
    time_in_force: &'static str,
    limit_price: Option<Money>,
    stop_price: Option<Money>,
    status: &'static str,
    extended_hours: bool,
    legs: Option<Vec<OrderJson<'a>>>,
    trail_percent: Option<Money>,
    trail_price: Option<Money>,
    hwm: Option<Money>,
    ratio_qty: Option<Money>,
    subtag: Option<&'static str>,
    source: Option<&'static str>,
}

impl<'a> OrderJson<'a> {
    fn new(order: &'a Order, legs: &'a [Order]) -> Self {
        // Plain equity and crypto orders echo "", plain options echo "simple".
        let order_class = match (order.class, order.asset_class) {
            (OrderClass::Simple, Some(AssetClass::UsEquity | AssetClass::Crypto) | None) => "",
            (class, _) => class.as_str(),
        };
        let (trail_percent, trail_price) = match order.trail {
            Some(Trail::Percent(percent)) => (Some(percent), None),
            Some(Trail::Price(price)) => (None, Some(price)),
            None => (None, None),
        };
        let order_type = order.order_type.map_or("", |order_type| order_type.as_str());
        Self {
            id: Text(order.id),
            client_order_id: &order.client_order_id,
            created_at: Text(order.created_at),
            updated_at: Text(order.updated_at),
            submitted_at: Text(order.submitted_at),
            filled_at: moment(order.filled_at),
            expired_at: moment(order.expired_at),
            expires_at: moment(order.expires_at),
            cancel_requested_at: moment(order.cancel_requested_at),
            canceled_at: moment(order.canceled_at),
            failed_at: moment(order.failed_at),
            replaced_at: moment(order.replaced_at),
            replaced_by: order.replaced_by.map(Text),
            replaces: order.replaces.map(Text),
            asset_id: order.asset_id.map(|id| id.to_string()).unwrap_or_default(),
            symbol: &order.symbol,
            asset_class: order.asset_class.map_or("", AssetClass::as_str),
            notional: money(order.notional),
            qty: money(order.qty),
            filled_qty: Money(order.filled_qty),
            filled_avg_price: money(order.filled_avg_price()),
            order_class,
            order_type,
            r#type: order_type,
            side: order.side.map_or("", |side| side.as_str()),
            position_intent: order.position_intent.map(|intent| intent.as_str()),
            time_in_force: order.time_in_force.as_str(),
            limit_price: money(order.limit_price),
            stop_price: money(order.stop_price),
            status: order.status.as_str(),
            extended_hours: order.extended_hours,
            legs: (!legs.is_empty()).then(|| legs.iter().map(|leg| Self::new(leg, &[])).collect()),
            trail_percent: money(trail_percent),
            trail_price: money(trail_price),
            hwm: money(order.hwm),
            ratio_qty: money(order.ratio_qty),
            subtag: None,
            source: None,
        }
    }
}

pub(crate) fn order(view: &OrderView) -> OrderJson<'_> {
    OrderJson::new(&view.order, &view.legs)
}

#[derive(Serialize)]
struct LegExecutionJson<'a> {
    execution_id: Text<Uuid>,
    order_id: Text<Uuid>,
    symbol: &'a str,
    price: Money,
    qty: Money,
    timestamp: Text<Timestamp>,
}

#[derive(Serialize)]
struct TradeUpdateJson<'a> {
    at: Text<Timestamp>,
    event: &'static str,
    event_id: &'a str,
    execution_id: Option<Text<Uuid>>,
    order: OrderJson<'a>,
    timestamp: Text<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_qty: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_qtys: Option<std::collections::BTreeMap<&'a str, Money>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qty: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    legs: Option<Vec<LegExecutionJson<'a>>>,
}

#[derive(Serialize)]
struct FrameJson<'a> {
    stream: &'static str,
    data: TradeUpdateJson<'a>,
}

/// One frame of `trade_updates`.
pub(crate) fn trade_update(event: &Event) -> String {
    let execution = event.execution.as_ref();
    let legs = execution
        .map(|execution| execution.legs.as_slice())
        .filter(|legs| !legs.is_empty());
    let frame = FrameJson {
        stream: "trade_updates",
        data: TradeUpdateJson {
            at: Text(event.at),
            event: event.kind.as_str(),
            event_id: &event.event_id,
            execution_id: event.execution_id.map(Text),
            order: order(&event.view),
            timestamp: Text(event.at),
            position_qty: execution.and_then(|execution| money(execution.position_qty)),
            position_qtys: legs.map(|legs| {
                legs.iter()
                    .map(|leg| (leg.symbol.as_str(), Money(leg.position_qty)))
                    .collect()
            }),
            price: execution.map(|execution| Money(execution.price)),
            qty: execution.map(|execution| Money(execution.qty)),
            legs: legs.map(|legs| legs.iter().map(|leg| leg_execution(leg, event.at)).collect()),
        },
    };
    text(&frame)
}

fn leg_execution(leg: &LegExecution, at: Timestamp) -> LegExecutionJson<'_> {
    LegExecutionJson {
        execution_id: Text(leg.execution_id),
        order_id: Text(leg.order_id),
        symbol: &leg.symbol,
        price: Money(leg.price),
        qty: Money(leg.qty),
        timestamp: Text(at),
    }
}

/// The error envelope: keys in alphabetical order, extras as strings.
pub(crate) fn refusal(refusal: &Refusal) -> String {
    let mut body = serde_json::Map::new();
    let mut pairs: Vec<(&str, serde_json::Value)> = refusal
        .extra
        .iter()
        .map(|(key, value)| (*key, value.as_str().into()))
        .collect();
    pairs.push(("message", refusal.message.as_str().into()));
    if let Some(code) = refusal.code {
        pairs.push(("code", code.into()));
    }
    pairs.sort_by_key(|(key, _)| *key);
    for (key, value) in pairs {
        body.insert(key.to_owned(), value);
    }
    text(&body)
}

/// One element of a 207 body for orders.
pub(crate) fn canceled(id: Uuid, answer: &Result<(), Refusal>) -> serde_json::Value {
    match answer {
        Ok(()) => serde_json::json!({"id": id.to_string(), "status": 200}),
        Err(error) => {
            serde_json::json!({"id": id.to_string(), "status": error.status, "body": raw(&refusal(error))})
        }
    }
}

/// One element of a 207 body for positions.
pub(crate) fn closed(symbol: &str, status: u16, body: &str) -> serde_json::Value {
    serde_json::json!({"symbol": symbol, "status": status, "body": raw(body)})
}

fn raw(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap_or(serde_json::Value::Null)
}

pub(crate) fn position(view: &PositionView) -> serde_json::Value {
    let string = |value: Decimal| value.round_dp(9).normalize().to_string();
    let gain = view.market_value - view.cost_basis;
    let ratio = |part: Decimal, whole: Decimal| {
        if whole.is_zero() {
            Decimal::ZERO
        } else {
            part / whole.abs()
        }
    };
    let day_change = view.current_price - view.lastday_price;
    let intraday = if view.current_price.is_zero() {
        Decimal::ZERO
    } else {
        view.market_value / view.current_price * day_change
    };
    serde_json::json!({
        "asset_id": view.asset_id.to_string(),
        "symbol": view.symbol.replace('/', ""),
        "exchange": view.exchange,
        "asset_class": view.asset_class.as_str(),
        "asset_marginable": view.asset_class == AssetClass::UsEquity,
        "qty": string(view.qty),
        "qty_available": string(view.qty_available),
        "avg_entry_price": string(view.avg_entry_price),
        "side": if view.qty.is_sign_negative() { "short" } else { "long" },
        "market_value": string(view.market_value),
        "cost_basis": string(view.cost_basis),
        "unrealized_pl": string(gain),
        "unrealized_plpc": string(ratio(gain, view.cost_basis)),
        "unrealized_intraday_pl": string(intraday),
        "unrealized_intraday_plpc": string(ratio(intraday, view.cost_basis)),
        "current_price": string(view.current_price),
        "lastday_price": string(view.lastday_price),
        "change_today": string(ratio(day_change, view.lastday_price)),
    })
}

pub(crate) fn account(view: &AccountView, now: Timestamp) -> serde_json::Value {
    let (funds, settings) = (view.funds, &view.configuration);
    let exposure = funds.long_value - funds.short_value;
    let number: String = view.id.simple().to_string().chars().take(9).collect();
    let balance_day = new_york_day(now)
        .yesterday()
        .unwrap_or_else(|_| new_york_day(now));
    let mut json = serde_json::json!({
        "id": view.id.to_string(),
        "account_number": format!("PA{}", number.to_uppercase()),
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "multiplier": "2",
        "balance_asof": balance_day.to_string(),
        "created_at": view.created_at.to_string(),
        "trading_blocked": false,
        "transfers_blocked": false,
        "account_blocked": false,
        "trade_suspended_by_user": settings.suspend_trade,
        "shorting_enabled": !settings.no_shorting,
        "options_approved_level": OPTIONS_LEVEL_MAX,
        "options_trading_level": settings.max_options_trading_level.unwrap_or(OPTIONS_LEVEL_MAX),
        "crypto_tier": 1,
        "admin_configurations": {},
        "user_configurations": null,
        // Withdrawn by the venue in 2026, still wanted by older clients.
        "pattern_day_trader": false,
        "daytrade_count": 0,
        "bod_dtbp": 0,
        "dtbp_check": settings.dtbp_check,
        "pdt_check": settings.pdt_check,
    });
    let amounts = [
        ("cash", view.cash),
        ("buying_power", funds.buying_power),
        ("regt_buying_power", funds.buying_power),
        ("effective_buying_power", funds.buying_power),
        ("non_marginable_buying_power", funds.non_marginable),
        ("options_buying_power", funds.non_marginable),
        ("daytrading_buying_power", Decimal::ZERO),
        ("equity", funds.equity),
        ("portfolio_value", funds.equity),
        ("last_equity", view.last_equity),
        ("long_market_value", funds.long_value),
        ("short_market_value", funds.short_value),
        ("position_market_value", exposure),
        ("initial_margin", exposure * Decimal::new(5, 1)),
        ("maintenance_margin", exposure * Decimal::new(3, 1)),
        ("last_maintenance_margin", Decimal::ZERO),
        ("sma", funds.equity),
        ("accrued_fees", Decimal::ZERO),
        ("pending_transfer_in", Decimal::ZERO),
        ("pending_transfer_out", Decimal::ZERO),
        ("pending_reg_taf_fees", Decimal::ZERO),
        ("intraday_adjustments", Decimal::ZERO),
    ];
    if let Some(fields) = json.as_object_mut() {
        let text = |amount: Decimal| amount.round_dp(2).normalize().to_string().into();
        fields.extend(amounts.map(|(key, amount)| (key.to_owned(), text(amount))));
    }
    json
}

pub(crate) fn configuration(settings: &Configuration) -> serde_json::Value {
    serde_json::json!({
        "closing_transactions_only": settings.closing_transactions_only,
        "disable_overnight_trading": settings.disable_overnight_trading,
        "dtbp_check": settings.dtbp_check,
        "fractional_trading": settings.fractional_trading,
        "max_margin_multiplier": settings.max_margin_multiplier,
        "max_options_trading_level": settings.max_options_trading_level,
        "no_shorting": settings.no_shorting,
        "pdt_check": settings.pdt_check,
        "ptp_no_exception_entry": settings.ptp_no_exception_entry,
        "suspend_trade": settings.suspend_trade,
        "trade_confirm_email": settings.trade_confirm_email,
    })
}

pub(crate) fn exercised(exercised: Exercised) -> serde_json::Value {
    serde_json::json!({
        "qty_exercised": exercised.qty.normalize().to_string(),
        "qty_remaining": exercised.remaining.normalize().to_string(),
    })
}

pub(crate) fn activity(activity: &Activity<'_>) -> serde_json::Value {
    match activity {
        Activity::Fill(executed) => fill(executed),
        Activity::Posting(posted) => posting(posted),
    }
}

fn posting(posting: &Posting) -> serde_json::Value {
    let string = |value: Decimal| value.normalize().to_string();
    serde_json::json!({
        "activity_type": posting.kind,
        "id": posting.activity_id,
        "created_at": posting.at.to_string(),
        "date": new_york_day(posting.at).to_string(),
        "currency": "USD",
        "description": posting.description,
        "net_amount": string(posting.net_amount),
        "price": string(posting.price),
        "qty": string(posting.qty),
        "status": "executed",
        "symbol": posting.symbol.replace('/', ""),
    })
}

fn fill(fill: &Fill) -> serde_json::Value {
    let string = |value: Decimal| value.normalize().to_string();
    serde_json::json!({
        "activity_type": "FILL",
        "id": fill.activity_id,
        "transaction_time": fill.at.to_string(),
        "type": if fill.leaves_qty.is_zero() { "fill" } else { "partial_fill" },
        "price": string(fill.price),
        "qty": string(fill.qty),
        "side": fill.side.as_str(),
        "symbol": fill.symbol,
        "leaves_qty": string(fill.leaves_qty),
        "cum_qty": string(fill.cum_qty),
        "order_id": fill.order_id.to_string(),
        "order_status": fill.order_status.as_str(),
    })
}

pub(crate) fn clock(view: ClockView, now: Timestamp) -> serde_json::Value {
    let local = |at: Timestamp| {
        at.to_zoned(new_york())
            .strftime("%Y-%m-%dT%H:%M:%S%.f%:z")
            .to_string()
    };
    serde_json::json!({
        "timestamp": local(now),
        "is_open": view.is_open,
        "next_open": local(view.next_open),
        "next_close": local(view.next_close),
    })
}

pub(crate) fn session(session: &Session) -> serde_json::Value {
    serde_json::json!({
        "date": session.day.to_string(),
        "open": session.open.strftime("%H:%M").to_string(),
        "close": session.close.strftime("%H:%M").to_string(),
        "session_open": EXTENDED_OPEN.strftime("%H%M").to_string(),
        "session_close": EXTENDED_CLOSE.strftime("%H%M").to_string(),
        "settlement_date": session.settlement().to_string(),
    })
}

pub(crate) fn asset(asset: &Asset) -> serde_json::Value {
    let is_equity = asset.class == AssetClass::UsEquity;
    let is_crypto = asset.class == AssetClass::Crypto;
    let mut json = serde_json::json!({
        "id": asset.id.to_string(),
        "class": asset.class.as_str(),
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active",
        "tradable": true,
        "marginable": is_equity,
        "shortable": is_equity,
        "easy_to_borrow": is_equity,
        "borrow_status": if is_equity { "easy_to_borrow" } else { "not_available" },
        "fractionable": is_equity || is_crypto,
        "attributes": asset.attributes(),
        "maintenance_margin_requirement": if is_equity { 30 } else { 100 },
        "margin_requirement_long": if is_equity { "30" } else { "100" },
        "margin_requirement_short": if is_equity { "30" } else { "100" },
        "cusip": null,
    });
    if is_crypto && let Some(fields) = json.as_object_mut() {
        for (key, value) in [
            ("min_order_size", "0.000000001"),
            ("min_trade_increment", "0.000000001"),
            ("price_increment", "0.000000001"),
        ] {
            fields.insert(key.to_owned(), value.into());
        }
    }
    json
}

pub(crate) fn contract(view: &ContractView) -> serde_json::Value {
    let right = if view.is_call { "Call" } else { "Put" };
    let strike = view.strike.normalize();
    let expiry = view.expires_on.strftime("%b %d %Y");
    serde_json::json!({
        "id": view.id.to_string(),
        "symbol": view.symbol,
        "name": format!("{} {expiry} {strike} {right}", view.underlying),
        "status": if view.is_active { "active" } else { "inactive" },
        "tradable": view.is_active,
        "expiration_date": view.expires_on.to_string(),
        "root_symbol": view.root,
        "underlying_symbol": view.underlying,
        "underlying_asset_id": view.underlying_id.to_string(),
        "type": if view.is_call { "call" } else { "put" },
        "style": "american",
        "strike_price": strike.to_string(),
        "multiplier": "100",
        "size": "100",
        "open_interest": view.open_interest.to_string(),
        "open_interest_date": view.as_of.to_string(),
        "close_price": view.close_price.normalize().to_string(),
        "close_price_date": view.as_of.to_string(),
        "ppind": true,
    })
}

/// Serializing our own shapes has no way to fail; an empty body would be seen by every test.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
