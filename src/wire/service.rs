//! What is asked of the service, and what it answers.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::decode::{self, Unreadable, instant, message};
use super::encode::{self, Encoded, encoded};
use super::json;
use super::proto::tradesvc as pb;
use super::subject::{CommandName, Subjects};
use crate::domain::limits::{LimitName, Limits, Scope};
use crate::domain::{
    Asset, ClientOrderId, CommandKind, GatewayMode, MarketClock, ModeChange, ModeSource, Order, Strategy,
    Symbol,
};

/// Full name of the question for another mode.
pub const MODE_REQUEST: &str = "tradesvc.v0.ModeRequest";
/// Full name of its answer.
pub const MODE_CHANGE: &str = "tradesvc.v0.ModeChange";

/// Longest reason and name that are kept, in bytes: both are repeated to whoever is denied.
const WORDS_MAX: usize = 512;

/// Why somebody asks for another mode, and who, as they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeAsked {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// Reads a question for another mode, which may be empty.
pub fn read_mode_request(content_type: Option<&str>, payload: &[u8]) -> Result<ModeAsked, Unreadable> {
    if payload.is_empty() {
        return Ok(ModeAsked::default());
    }
    let request: pb::ModeRequest = message(MODE_REQUEST, content_type, payload)?;
    for (field, text) in [("reason", &request.reason), ("by", &request.by)] {
        if text.len() > WORDS_MAX || text.chars().any(char::is_control) {
            return Err(Unreadable::new(format!(
                "{field} is one line of {WORDS_MAX} bytes at most"
            )));
        }
    }
    Ok(ModeAsked {
        reason: request.reason,
        by: request.by,
    })
}

/// A question for another mode.
pub fn mode_request(asked: &ModeAsked) -> Encoded {
    let request = pb::ModeRequest {
        reason: asked.reason.clone(),
        by: asked.by.clone(),
    };
    encoded(MODE_REQUEST, &request)
}

/// How long a strategy's lease may stand still when it does not say.
pub const LEASE_TTL: Duration = Duration::from_secs(30);
/// Shortest and longest that it may say, in milliseconds.
const LEASE_TTLS: (u32, u32) = (1000, 86_400_000);

/// Reads how long a strategy's lease may stand still.
pub fn read_strategy_lease(payload: &[u8]) -> Result<Duration, Unreadable> {
    let lease: pb::StrategyLease = optional("tradesvc.v0.StrategyLease", None, payload)?;
    match lease.ttl_ms {
        0 => Ok(LEASE_TTL),
        ttl if (LEASE_TTLS.0..=LEASE_TTLS.1).contains(&ttl) => Ok(Duration::from_millis(ttl.into())),
        ttl => Err(Unreadable::new(format!(
            "ttl_ms is {ttl}; it is from {} to {}",
            LEASE_TTLS.0, LEASE_TTLS.1
        ))),
    }
}

/// A change of the mode, and whether it is kept.
pub fn mode_change(change: &ModeChange, kept: bool) -> Encoded {
    let message = pb::ModeChange {
        mode: encode::gateway_mode(change.mode).into(),
        previous: encode::gateway_mode(change.previous).into(),
        reason: change.reason.clone(),
        by: change.by.clone(),
        source: change.source.as_str().to_owned(),
        at: Some(encode::instant(change.at)),
        id: change.id.to_string(),
        kept,
    };
    encoded(MODE_CHANGE, &message)
}

/// Reads a change of the mode, as it is kept.
pub fn read_mode_change(payload: &[u8]) -> Result<ModeChange, Unreadable> {
    let unreadable = |what: &str| Unreadable::new(format!("the payload is no {MODE_CHANGE}: {what}"));
    let change = pb::ModeChange::decode(payload).map_err(|error| unreadable(&error.to_string()))?;
    let mode = |number: i32| {
        GatewayMode::ALL
            .into_iter()
            .find(|mode| i32::from(encode::gateway_mode(*mode)) == number)
    };
    let source = ModeSource::ALL
        .into_iter()
        .find(|source| source.as_str() == change.source);
    Ok(ModeChange {
        id: Uuid::parse_str(&change.id).unwrap_or_default(),
        mode: mode(change.mode).ok_or_else(|| unreadable("it names no mode"))?,
        previous: mode(change.previous).unwrap_or_default(),
        reason: change.reason,
        by: change.by,
        source: source.unwrap_or(ModeSource::Start),
        at: instant("at", change.at.as_ref())?.ok_or_else(|| unreadable("it has no date"))?,
    })
}

/// Full names of what is asked and answered.
#[expect(missing_docs, reason = "the names say it")]
pub mod names {
    pub const STATE: &str = "tradesvc.v0.GatewayState";
    pub const ACCOUNT: &str = "tradesvc.v0.Account";
    pub const POSITIONS_REQUEST: &str = "tradesvc.v0.PositionsRequest";
    pub const POSITIONS: &str = "tradesvc.v0.Positions";
    pub const ORDERS_REQUEST: &str = "tradesvc.v0.OrdersRequest";
    pub const ORDERS: &str = "tradesvc.v0.Orders";
    pub const ORDER_REQUEST: &str = "tradesvc.v0.OrderRequest";
    pub const RECORD: &str = "tradesvc.v0.OrderRecord";
    pub const SUBMIT_REQUEST: &str = "tradesvc.v0.SubmitRequest";
    pub const CANCEL_REQUEST: &str = "tradesvc.v0.CancelRequest";
    pub const OUTCOME: &str = "tradesvc.v0.Outcome";
    pub const ASSET_REQUEST: &str = "tradesvc.v0.AssetRequest";
    pub const ASSET: &str = "tradesvc.v0.Asset";
    pub const CLOCK: &str = "tradesvc.v0.MarketClock";
    pub const LIMITS: &str = "tradesvc.v0.Limits";
    pub const SCHEMA_REQUEST: &str = "tradesvc.v0.SchemaRequest";
    pub const SCHEMA: &str = "tradesvc.v0.Schema";
}

/// A question that may be left out: without a payload it asks for what is usual.
fn optional<M: prost::Message + Default>(
    name: &str,
    content_type: Option<&str>,
    payload: &[u8],
) -> Result<M, Unreadable> {
    if payload.is_empty() {
        return Ok(M::default());
    }
    message(name, content_type, payload)
}

fn symbol(text: &str) -> Result<Option<Symbol>, Unreadable> {
    if text.is_empty() {
        return Ok(None);
    }
    let symbol = Symbol::parse(text).map_err(|error| Unreadable::new(format!("symbol: {error}")))?;
    Ok(Some(symbol))
}

/// Reads which positions are asked for; `None`: all of them.
pub fn read_positions_request(
    content_type: Option<&str>,
    payload: &[u8],
) -> Result<Option<Symbol>, Unreadable> {
    let request: pb::PositionsRequest = optional(names::POSITIONS_REQUEST, content_type, payload)?;
    symbol(&request.symbol)
}

/// The positions that are kept, or one of them. `None`: what is kept cannot be read.
pub fn positions_of(kept: &[u8], wanted: Option<&Symbol>) -> Option<Encoded> {
    let mut positions = pb::Positions::decode(kept).ok()?;
    if let Some(wanted) = wanted {
        let is_wanted = |position: &pb::Position| {
            Symbol::parse(&position.symbol).is_ok_and(|symbol| symbol.same_instrument(wanted))
        };
        positions.positions.retain(is_wanted);
    }
    Some(encoded(names::POSITIONS, &positions))
}

/// Which orders are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdersAsked {
    /// "open", "closed" or "all".
    pub standing: OrdersStanding,
    /// Only those of a strategy.
    pub strategy: Option<Strategy>,
    /// Only those of a symbol.
    pub symbol: Option<Symbol>,
    /// At most so many.
    pub limit: usize,
}

/// Whether orders work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OrdersStanding {
    Open,
    Closed,
    All,
}

impl OrdersStanding {
    /// Every word.
    pub const ALL: [(&str, Self); 3] = [("open", Self::Open), ("closed", Self::Closed), ("all", Self::All)];
}

/// Orders told of when nobody says how many, and at most.
const ORDERS_USUAL: u32 = 500;
const ORDERS_MAX: u32 = 1000;

/// Reads which orders are asked for.
pub fn read_orders_request(content_type: Option<&str>, payload: &[u8]) -> Result<OrdersAsked, Unreadable> {
    let request: pb::OrdersRequest = optional(names::ORDERS_REQUEST, content_type, payload)?;
    let standing = match request.status.as_str() {
        "" => OrdersStanding::Open,
        word => {
            let known = OrdersStanding::ALL.iter().find(|(name, _)| *name == word);
            known.map(|(_, standing)| *standing).ok_or_else(|| {
                Unreadable::new(format!("status: {word:?} is none; write open, closed or all"))
            })?
        }
    };
    let limit = match request.limit {
        0 => ORDERS_USUAL,
        more if more > ORDERS_MAX => {
            return Err(Unreadable::new(format!(
                "limit is at most {ORDERS_MAX}, and not {more}"
            )));
        }
        limit => limit,
    };
    Ok(OrdersAsked {
        standing,
        strategy: (!request.strategy.is_empty()).then(|| Strategy::new(request.strategy)),
        symbol: symbol(&request.symbol)?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    })
}

/// A list of orders.
pub fn orders(orders: &[Order], more: bool, as_of: Timestamp, fresh: bool) -> Encoded {
    let message = pb::Orders {
        orders: orders.iter().map(encode::order).collect(),
        more,
        as_of: Some(encode::instant(as_of)),
        source: "stream".to_owned(),
        fresh,
    };
    encoded(names::ORDERS, &message)
}

/// Reads which order is asked for.
pub fn read_order_request(content_type: Option<&str>, payload: &[u8]) -> Result<ClientOrderId, Unreadable> {
    let request: pb::OrderRequest = message(names::ORDER_REQUEST, content_type, payload)?;
    order_id(&request.order)
}

fn order_id(text: &str) -> Result<ClientOrderId, Unreadable> {
    if text.is_empty() {
        let what = "order is required; name one by its client order id, or by the venue's UUID";
        return Err(Unreadable::new(what));
    }
    ClientOrderId::parse(text).map_err(|error| Unreadable::new(format!("order: {error}")))
}

/// A command to be published, and how long its outcome is waited for.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its own client order id.
    pub id: ClientOrderId,
    /// What kind of command.
    pub kind: CommandKind,
    /// The command as it is published.
    pub command: Encoded,
    /// How long its outcome is waited for.
    pub wait: Duration,
}

/// Milliseconds an outcome is waited for when nobody says how many, and at most.
const WAIT_USUAL: u32 = 10_000;
const WAIT_MAX: u32 = 60_000;

/// Reads a command and checks it as the desk would.
pub fn read_submit_request(
    content_type: Option<&str>,
    payload: &[u8],
    subjects: &Subjects,
) -> Result<Submission, Unreadable> {
    let request: pb::SubmitRequest = message(names::SUBMIT_REQUEST, content_type, payload)?;
    if request.client_order_id.is_empty() {
        let what =
            "client_order_id is required, so that asking twice is one order; make one up for each order";
        return Err(Unreadable::new(what));
    }
    let id = ClientOrderId::parse(&request.client_order_id)
        .map_err(|error| Unreadable::new(format!("client_order_id: {error}")))?;
    let binary = Some("application/protobuf");
    let (kind, command) = match (&request.trade, &request.replace, &request.close) {
        (Some(trade), None, None) => {
            let command = encoded("tradesvc.v0.Trade", trade);
            decode::read_order(binary, &command.bytes)?;
            (CommandKind::Order, command)
        }
        (None, Some(replace), None) => {
            let command = encoded("tradesvc.v0.Replace", replace);
            decode::read_replace(binary, &command.bytes)?;
            (CommandKind::Replace, command)
        }
        (None, None, Some(close)) => {
            let command = encoded("tradesvc.v0.ClosePosition", close);
            decode::read_close(binary, &command.bytes)?;
            (CommandKind::Close, command)
        }
        _ => return Err(Unreadable::new("give exactly one of trade, replace and close")),
    };
    let subject = subjects.command(kind, id.as_str());
    // An id whose last token is ALL names many orders, and none.
    if let Some(Err(error)) = subjects.read_command(&subject).map(|subject| subject.id) {
        return Err(Unreadable::new(format!("client_order_id: {error}")));
    }
    let wait = match request.wait_ms {
        0 => WAIT_USUAL,
        more if more > WAIT_MAX => {
            return Err(Unreadable::new(format!(
                "wait_ms is at most {WAIT_MAX}, and not {more}"
            )));
        }
        wait => wait,
    };
    Ok(Submission {
        id,
        kind,
        command,
        wait: Duration::from_millis(wait.into()),
    })
}

/// Reads what is to be canceled.
pub fn read_cancel_request(content_type: Option<&str>, payload: &[u8]) -> Result<CommandName, Unreadable> {
    let request: pb::CancelRequest = message(names::CANCEL_REQUEST, content_type, payload)?;
    match (request.order.as_str(), request.all, request.strategy.as_str()) {
        ("", true, "") => Ok(CommandName::Wide(None)),
        ("", false, strategy) if !strategy.is_empty() => Ok(CommandName::Wide(Some(Strategy::new(strategy)))),
        (order, false, "") => order_id(order).map(CommandName::One),
        _ => Err(Unreadable::new("give exactly one of order, all and strategy")),
    }
}

/// Reads which symbol is asked about.
pub fn read_asset_request(content_type: Option<&str>, payload: &[u8]) -> Result<Symbol, Unreadable> {
    let request: pb::AssetRequest = message(names::ASSET_REQUEST, content_type, payload)?;
    symbol(&request.symbol)?.ok_or_else(|| Unreadable::new("symbol is required"))
}

/// What the venue knows of a symbol.
pub fn asset(asset: &Asset, as_of: Timestamp) -> Encoded {
    let message = pb::Asset {
        id: asset.id.clone(),
        asset_class: encode::asset_class(asset.asset_class),
        exchange: asset.exchange.clone(),
        symbol: asset.symbol.to_string(),
        name: asset.name.clone(),
        status: asset.status.clone(),
        tradable: asset.tradable,
        marginable: asset.marginable,
        shortable: asset.shortable,
        easy_to_borrow: asset.easy_to_borrow,
        fractionable: asset.fractionable,
        min_order_size: encode::text(asset.min_order_size),
        min_trade_increment: encode::text(asset.min_trade_increment),
        price_increment: encode::text(asset.price_increment),
        attributes: asset.attributes.clone(),
        as_of: Some(encode::instant(as_of)),
    };
    encoded(names::ASSET, &message)
}

/// The market's clock.
pub fn clock(clock: &MarketClock, as_of: Timestamp) -> Encoded {
    let message = pb::MarketClock {
        timestamp: Some(encode::instant(clock.timestamp)),
        is_open: clock.is_open,
        next_open: encode::maybe_instant(clock.next_open),
        next_close: encode::maybe_instant(clock.next_close),
        as_of: Some(encode::instant(as_of)),
    };
    encoded(names::CLOCK, &message)
}

/// What the limits are, and how far they are used.
#[derive(Clone, Copy, Debug)]
pub struct LimitsReport<'a> {
    /// The limits.
    pub limits: &'a Limits,
    /// How far they are used, where that is counted.
    pub usage: &'a HashMap<(Scope, LimitName), Decimal>,
    /// Where they are written; empty for nowhere.
    pub file: &'a str,
    /// No order is POSTed at all.
    pub dry_run: bool,
    /// Why the file cannot be used any more; empty while it can.
    pub problem: &'a str,
}

/// What orders may not exceed.
pub fn limits(report: LimitsReport<'_>) -> Encoded {
    let mut limits = Vec::new();
    for (scope, bounds) in report.limits.scopes() {
        for (limit, bound) in bounds.entries() {
            let used = report.usage.get(&(scope.clone(), limit));
            limits.push(pb::Limit {
                scope: scope.to_string(),
                name: limit.as_str().to_owned(),
                bound,
                used: encode::text(used.map(Decimal::normalize)),
            });
        }
        if bounds.dry_run {
            limits.push(pb::Limit {
                scope: scope.to_string(),
                name: "dry_run".to_owned(),
                bound: "true".to_owned(),
                used: String::new(),
            });
        }
    }
    let message = pb::Limits {
        file: report.file.to_owned(),
        limits,
        dry_run: report.dry_run,
        problem: report.problem.to_owned(),
    };
    encoded(names::LIMITS, &message)
}

/// How messages look: all of them, or one and what it holds. Errs when nothing is called so.
pub fn schema(content_type: Option<&str>, payload: &[u8]) -> Result<Encoded, Unreadable> {
    let request: pb::SchemaRequest = optional(names::SCHEMA_REQUEST, content_type, payload)?;
    Ok(encoded(names::SCHEMA, &json::schema(&request.message)?))
}
