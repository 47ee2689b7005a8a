//! Domain → protobuf.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use rust_decimal::Decimal;
use sha2::{Digest as _, Sha256};

use super::proto::tradesvc as pb;
use crate::domain::account::AccountStatement;
use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::market::MarketClass;
use crate::domain::order::{
    AdvancedInstructions, Changes, Exits, PositionIntent, Pricing, Side, Size, StopLoss, Structure,
    TakeProfit, TimeInForce, Trail,
};
use crate::domain::record::PayloadHash;
use crate::domain::{
    AssetClass, ClosePosition, CloseScope, CloseSize, CommandKind, Condition, ExecutionReport, GatewayMode,
    GatewayState, Holdings, LeaseRecord, NewOrder, Order, Position, ReplaceOrder, Symbol,
};

/// A message ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The message's full name, for the `Nalpaca-Schema` header.
    pub schema: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Encoded {
    /// Nothing, for a question that needs no more.
    pub const fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
            schema: "",
        }
    }

    /// A message that is written in JSON.
    pub fn from_json(schema: &'static str, text: &str) -> Result<Self, super::Unreadable> {
        let bytes = super::json::to_protobuf(schema, text.as_bytes())?.into();
        Ok(Self { bytes, schema })
    }
}

pub(super) fn encoded<M: Message>(schema: &'static str, message: &M) -> Encoded {
    Encoded {
        schema,
        bytes: message.encode_to_vec().into(),
    }
}

pub(super) fn instant(at: Timestamp) -> prost_types::Timestamp {
    let mut written = prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    };
    // Before 1970 protobuf counts nanoseconds forwards, jiff backwards.
    written.normalize();
    written
}

pub(super) fn maybe_instant(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(instant)
}

fn amount(value: Option<Decimal>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Fingerprint of the order as the venue gets it. The deadline is left out: a publisher who tries again with a
/// later one means the same order.
pub fn payload_hash(order: &NewOrder) -> PayloadHash {
    let mut trade = trade(order, true);
    trade.valid_until = None;
    Sha256::digest(trade.encode_to_vec()).into()
}

/// Fingerprint of a replace command, its deadline left out.
pub fn replace_hash(replace: &ReplaceOrder) -> PayloadHash {
    let message = pb::Replace {
        order: replace.order.text().as_str().to_owned(),
        ..changes(&replace.changes, true)
    };
    fingerprint("tradesvc.v0.Replace", &message)
}

/// Fingerprint of a close command, its deadline left out.
pub fn close_hash(close: &ClosePosition) -> PayloadHash {
    let (symbol, size) = match &close.scope {
        CloseScope::One(symbol, size) => (Some(symbol), size),
        CloseScope::All(size) => (None, size),
    };
    let mut message = pb::ClosePosition {
        symbol: symbol.map(Symbol::to_string).unwrap_or_default(),
        all: symbol.is_none(),
        cancel_orders: close.cancel_orders,
        ..pb::ClosePosition::default()
    };
    match size {
        CloseSize::Everything => {}
        CloseSize::Quantity(qty) => message.qty = qty.decimal().normalize().to_string(),
        CloseSize::Percentage(share) => message.percentage = share.decimal().normalize().to_string(),
    }
    fingerprint("tradesvc.v0.ClosePosition", &message)
}

/// With the schema's name, so that no close passes for a replace.
fn fingerprint(schema: &str, message: &impl Message) -> PayloadHash {
    let mut hash = Sha256::new_with_prefix(schema);
    hash.update(message.encode_to_vec());
    hash.finalize().into()
}

pub(super) fn changes(changes: &Changes, normalized: bool) -> pb::Replace {
    let write = |value: Option<Decimal>| {
        amount(value.map(|value| if normalized { value.normalize() } else { value }))
    };
    pb::Replace {
        qty: write(changes.quantity.map(|qty| qty.decimal())),
        tif: time_in_force(changes.time_in_force),
        limit_price: write(changes.limit.map(|price| price.decimal())),
        stop_price: write(changes.stop.map(|price| price.decimal())),
        trail: write(changes.trail.map(|trail| trail.decimal())),
        ..pb::Replace::default()
    }
}

/// `normalized` writes `1.50` as `1.5`, so that two spellings of a number are one order.
pub(super) fn trade(order: &NewOrder, normalized: bool) -> pb::Trade {
    let write = |value: Decimal| {
        if normalized {
            value.normalize().to_string()
        } else {
            value.to_string()
        }
    };
    let mut trade = pb::Trade {
        tif: time_in_force(Some(order.time_in_force)),
        extended_hours: order.extended_hours,
        position_intent: position_intent(order.position_intent),
        valid_until: maybe_instant(order.valid_until),
        advanced_instructions: order.advanced.as_ref().map(advanced),
        class: order_class(Some(order.structure.order_class())),
        order_type: order_type(Some(order.structure.order_type())),
        limit_price: order.structure.limit_price().map(write).unwrap_or_default(),
        stop_price: order.structure.stop_price().map(write).unwrap_or_default(),
        ..pb::Trade::default()
    };
    match order.size {
        Size::Quantity(qty) => trade.qty = write(qty.decimal()),
        Size::Notional(notional) => trade.notional = write(notional.decimal()),
    }
    match &order.structure {
        Structure::MultiLeg { legs, .. } => {
            trade.legs = legs
                .iter()
                .map(|leg| pb::Leg {
                    symbol: leg.symbol.to_string(),
                    ratio_qty: write(leg.ratio.decimal()),
                    side: side(Some(leg.side)),
                    position_intent: position_intent(leg.position_intent),
                })
                .collect();
        }
        Structure::Single {
            symbol,
            side: way,
            pricing,
            exits,
        } => {
            trade.symbol = symbol.to_string();
            trade.side = side(Some(*way));
            match pricing {
                Pricing::TrailingStop(Trail::Amount(by)) => trade.trail_price = write(by.decimal()),
                Pricing::TrailingStop(Trail::Percent(by)) => trade.trail_percent = write(by.decimal()),
                Pricing::Market
                | Pricing::Limit { .. }
                | Pricing::Stop { .. }
                | Pricing::StopLimit { .. } => {}
            }
            let profit = |exit: &TakeProfit| pb::TakeProfit {
                limit_price: write(exit.limit.decimal()),
            };
            let loss = |exit: &StopLoss| pb::StopLoss {
                limit: exit.limit.map(|limit| write(limit.decimal())).unwrap_or_default(),
                stop: write(exit.stop.decimal()),
            };
            match exits {
                Exits::None => {}
                Exits::Bracket(take, stop) | Exits::OneCancelsOther(take, stop) => {
                    trade.take_profit = Some(profit(take));
                    trade.stop_loss = Some(loss(stop));
                }
                Exits::TriggersTakeProfit(take) => trade.take_profit = Some(profit(take)),
                Exits::TriggersStopLoss(stop) => trade.stop_loss = Some(loss(stop)),
            }
        }
    }
    trade
}

fn advanced(given: &AdvancedInstructions) -> pb::AdvancedInstructions {
    pb::AdvancedInstructions {
        algorithm: given.algorithm.clone(),
        destination: given.destination.clone().unwrap_or_default(),
        display_qty: text(given.display_quantity),
        start_time: maybe_instant(given.start),
        end_time: maybe_instant(given.end),
        max_percentage: text(given.max_percentage),
    }
}

fn side(side: Option<Side>) -> i32 {
    side.map_or(pb::Side::Unspecified, |side| match side {
        Side::Buy => pb::Side::Buy,
        Side::Sell => pb::Side::Sell,
    })
    .into()
}

fn order_type(order_type: Option<OrderType>) -> i32 {
    order_type
        .map_or(pb::OrderType::Unspecified, |order_type| match order_type {
            OrderType::Market => pb::OrderType::Market,
            OrderType::Limit => pb::OrderType::Limit,
            OrderType::Stop => pb::OrderType::Stop,
            OrderType::StopLimit => pb::OrderType::StopLimit,
            OrderType::TrailingStop => pb::OrderType::TrailingStop,
        })
        .into()
}

fn order_class(class: Option<OrderClass>) -> i32 {
    class
        .map_or(pb::OrderClass::Unspecified, |class| match class {
            OrderClass::Simple => pb::OrderClass::Simple,
            OrderClass::Bracket => pb::OrderClass::Bracket,
            OrderClass::OneCancelsOther => pb::OrderClass::Oco,
            OrderClass::OneTriggersOther => pb::OrderClass::Oto,
            OrderClass::MultiLeg => pb::OrderClass::Mleg,
        })
        .into()
}

fn time_in_force(time_in_force: Option<TimeInForce>) -> i32 {
    time_in_force
        .map_or(
            pb::TimeInForce::Unspecified,
            |time_in_force| match time_in_force {
                TimeInForce::Day => pb::TimeInForce::Day,
                TimeInForce::Gtc => pb::TimeInForce::Gtc,
                TimeInForce::Opg => pb::TimeInForce::Opg,
                TimeInForce::Ioc => pb::TimeInForce::Ioc,
                TimeInForce::Fok => pb::TimeInForce::Fok,
                TimeInForce::Gtx => pb::TimeInForce::Gtx,
                TimeInForce::Gtd => pb::TimeInForce::Gtd,
                TimeInForce::Cls => pb::TimeInForce::Cls,
            },
        )
        .into()
}

fn position_intent(intent: Option<PositionIntent>) -> i32 {
    intent
        .map_or(pb::PositionIntent::Unspecified, |intent| match intent {
            PositionIntent::BuyToOpen => pb::PositionIntent::BuyToOpen,
            PositionIntent::BuyToClose => pb::PositionIntent::BuyToClose,
            PositionIntent::SellToOpen => pb::PositionIntent::SellToOpen,
            PositionIntent::SellToClose => pb::PositionIntent::SellToClose,
        })
        .into()
}

pub(super) fn asset_class(class: AssetClass) -> i32 {
    match class {
        AssetClass::UsEquity => pb::AssetClass::UsEquity,
        AssetClass::Crypto => pb::AssetClass::Crypto,
        AssetClass::UsOption => pb::AssetClass::UsOption,
        AssetClass::Other => pb::AssetClass::Unspecified,
    }
    .into()
}

pub(super) fn command_kind(kind: CommandKind) -> i32 {
    match kind {
        CommandKind::Order => pb::CommandKind::Order,
        CommandKind::Cancel => pb::CommandKind::Cancel,
        CommandKind::Replace => pb::CommandKind::Replace,
        CommandKind::Close => pb::CommandKind::Close,
    }
    .into()
}

pub(super) fn order(order: &Order) -> pb::Order {
    pb::Order {
        id: text(order.id),
        client_order_id: order.client_order_id.clone(),
        created_at: maybe_instant(order.created_at),
        updated_at: maybe_instant(order.updated_at),
        submitted_at: maybe_instant(order.submitted_at),
        filled_at: maybe_instant(order.filled_at),
        expired_at: maybe_instant(order.expired_at),
        canceled_at: maybe_instant(order.canceled_at),
        failed_at: maybe_instant(order.failed_at),
        replaced_at: maybe_instant(order.replaced_at),
        replaced_by: text(order.replaced_by),
        replaces: text(order.replaces),
        asset_id: order.asset_id.clone(),
        symbol: text(order.symbol.as_ref()),
        asset_class: asset_class(order.asset_class),
        order_class: order_class(order.order_class),
        r#type: order_type(order.order_type),
        side: side(order.side),
        time_in_force: time_in_force(order.time_in_force),
        status: order.status.as_str().to_owned(),
        notional: amount(order.notional),
        qty: amount(order.qty),
        filled_qty: order.filled_qty.to_string(),
        filled_avg_price: amount(order.filled_avg_price),
        limit_price: amount(order.limit_price),
        stop_price: amount(order.stop_price),
        trail_price: amount(order.trail_price),
        trail_percent: amount(order.trail_percent),
        hwm: amount(order.hwm),
        ext_hours: order.extended_hours,
        legs: order.legs.iter().map(self::order).collect(),
        position_intent: position_intent(order.position_intent),
        ratio_qty: amount(order.ratio_qty),
    }
}

/// One event in an order's life.
pub fn trade_update(report: &ExecutionReport) -> Encoded {
    encoded(
        "tradesvc.v0.TradeUpdate",
        &pb::TradeUpdate {
            at: Some(instant(report.at)),
            event: report.event.clone(),
            event_id: text(report.event_id.as_ref()),
            execution_id: text(report.execution_id.as_ref()),
            order: Some(order(&report.order)),
            position_qty: amount(report.position_qty),
            price: amount(report.last_px),
            qty: amount(report.last_qty),
            timestamp: Some(instant(report.timestamp)),
            reason: text(report.reason.as_ref()),
            recovered: report.recovered,
        },
    )
}

fn position_message(position: &Position) -> pb::Position {
    pb::Position {
        asset_id: position.asset_id.clone(),
        symbol: position.symbol.to_string(),
        exchange: position.exchange.clone(),
        asset_class: asset_class(position.asset_class),
        asset_marginable: position.asset_marginable,
        qty: position.qty.to_string(),
        qty_available: amount(position.qty_available),
        avg_entry_price: amount(position.avg_entry_price),
        side: position.side.clone(),
        market_value: amount(position.market_value),
        cost_basis: amount(position.cost_basis),
        unrealized_pl: amount(position.unrealized_pl),
        unrealized_plpc: amount(position.unrealized_plpc),
        unrealized_intraday_pl: amount(position.unrealized_intraday_pl),
        unrealized_intraday_plpc: amount(position.unrealized_intraday_plpc),
        current_price: amount(position.current_price),
        lastday_price: amount(position.lastday_price),
        change_today: amount(position.change_today),
        ..pb::Position::default()
    }
}

/// Everything the account holds.
pub fn positions(holdings: &Holdings) -> Encoded {
    encoded(
        "tradesvc.v0.Positions",
        &pb::Positions {
            positions: holdings.positions.iter().map(position_message).collect(),
            as_of: Some(instant(holdings.as_of)),
            source: holdings.source.to_owned(),
            fresh: holdings.fresh,
            version: holdings.version,
        },
    )
}

/// One holding, dated as the statement it is from.
pub fn position(position: &Position, holdings: &Holdings) -> Encoded {
    encoded(
        "tradesvc.v0.Position",
        &pb::Position {
            as_of: Some(instant(holdings.as_of)),
            source: holdings.source.to_owned(),
            fresh: holdings.fresh,
            version: holdings.version,
            ..position_message(position)
        },
    )
}

/// The account, dated.
pub fn account(statement: &AccountStatement) -> Encoded {
    let account = &statement.account;
    encoded(
        "tradesvc.v0.Account",
        &pb::Account {
            id: account.id.clone(),
            account_number: account.account_number.clone(),
            status: account.status.clone(),
            currency: account.currency.clone(),
            cash: amount(account.cash),
            equity: amount(account.equity),
            last_equity: amount(account.last_equity),
            buying_power: amount(account.buying_power),
            regt_buying_power: amount(account.regt_buying_power),
            non_marginable_buying_power: amount(account.non_marginable_buying_power),
            options_buying_power: amount(account.options_buying_power),
            portfolio_value: amount(account.portfolio_value),
            long_market_value: amount(account.long_market_value),
            short_market_value: amount(account.short_market_value),
            initial_margin: amount(account.initial_margin),
            maintenance_margin: amount(account.maintenance_margin),
            multiplier: amount(account.multiplier),
            trading_blocked: account.trading_blocked,
            account_blocked: account.account_blocked,
            trade_suspended_by_user: account.trade_suspended_by_user,
            shorting_enabled: account.shorting_enabled,
            crypto_status: account.crypto_status.clone(),
            as_of: Some(instant(statement.as_of)),
            source: statement.source.to_owned(),
            fresh: statement.fresh,
            version: statement.version,
        },
    )
}

/// A `Positions` value that says of itself that nobody vouches for it any more; `None` when it says so already, or is
/// none.
pub fn disowned_positions(payload: &[u8]) -> Option<Bytes> {
    let known = pb::Positions::decode(payload).ok().filter(|known| known.fresh)?;
    let version = known.version + 1;
    Some(
        pb::Positions {
            fresh: false,
            version,
            ..known
        }
        .encode_to_vec()
        .into(),
    )
}

/// As [`disowned_positions`], of a single `Position`.
pub fn disowned_position(payload: &[u8]) -> Option<Bytes> {
    let known = pb::Position::decode(payload).ok().filter(|known| known.fresh)?;
    Some(
        pb::Position {
            fresh: false,
            ..known
        }
        .encode_to_vec()
        .into(),
    )
}

/// As [`disowned_positions`], of an `Account`.
pub fn disowned_account(payload: &[u8]) -> Option<Bytes> {
    let known = pb::Account::decode(payload).ok().filter(|known| known.fresh)?;
    let version = known.version + 1;
    Some(
        pb::Account {
            fresh: false,
            version,
            ..known
        }
        .encode_to_vec()
        .into(),
    )
}

/// Who leads.
pub fn lease(record: &LeaseRecord) -> Encoded {
    let message = pb::Lease {
        instance: record.instance.clone(),
        process: record.process.to_string(),
        epoch: record.epoch,
        at: Some(instant(record.at)),
    };
    encoded("tradesvc.v0.Lease", &message)
}

/// What the gateway says of itself.
#[derive(Clone, Debug)]
pub struct StateContext<'a> {
    /// Which instance speaks.
    pub instance: &'a str,
    /// `paper`, `sim` or `live`.
    pub environment: &'a str,
    /// When it started.
    pub started_at: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// How one stream of market data goes.
#[derive(Clone, Debug)]
pub struct MarketDataReport {
    /// Which.
    pub class: MarketClass,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it is, or is not.
    pub since: Option<Timestamp>,
    /// Why it is not.
    pub reason: String,
    /// Subscriptions the venue confirmed.
    pub confirmed: usize,
    /// Subscriptions it refused.
    pub refused: usize,
    /// When something was heard last.
    pub heard_at: Option<Timestamp>,
    /// What the venue dated it.
    pub observed_at: Option<Timestamp>,
}

/// What is let through.
pub(super) const fn gateway_mode(mode: GatewayMode) -> pb::GatewayMode {
    match mode {
        GatewayMode::Normal => pb::GatewayMode::Normal,
        GatewayMode::ReduceOnly => pb::GatewayMode::ReduceOnly,
        GatewayMode::CancelOnly => pb::GatewayMode::CancelOnly,
        GatewayMode::Halted => pb::GatewayMode::Halted,
    }
}

/// The gateway's state, and how market data goes.
pub fn state(state: &GatewayState, feeds: &[MarketDataReport], context: &StateContext<'_>) -> Encoded {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let feed = |feed: &MarketDataReport| pb::MarketDataState {
        class: feed.class.as_str().to_owned(),
        connected: feed.connected,
        since: maybe_instant(feed.since),
        reason: feed.reason.clone(),
        confirmed: count(feed.confirmed),
        refused: count(feed.refused),
        heard_at: maybe_instant(feed.heard_at),
        observed_at: maybe_instant(feed.observed_at),
    };
    let condition = |condition: &Condition| pb::Condition {
        name: condition.name.as_str().to_owned(),
        reason: condition.reason.clone(),
        since: Some(instant(condition.since)),
        holds_orders: condition.holds_orders,
    };
    encoded(
        "tradesvc.v0.GatewayState",
        &pb::GatewayState {
            mode: gateway_mode(state.mode).into(),
            mode_reason: state.mode_reason.clone(),
            mode_by: state.mode_by.clone(),
            mode_since: maybe_instant(state.mode_since),
            conditions: state.conditions.iter().map(condition).collect(),
            at: Some(instant(context.at)),
            instance: context.instance.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: context.environment.to_owned(),
            started_at: Some(instant(context.started_at)),
            market_data: feeds.iter().map(feed).collect(),
        },
    )
}
