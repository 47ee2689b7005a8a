//! The rules that need no account: is this order well formed, and may such an order exist at all?
//! What depends on cash, positions and other orders is `risk`'s business.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::QTY_SCALE;
use super::assets::{Asset, AssetClass, Assets};
use super::calendar::{Market, new_york, new_york_day};
use super::order::{OrderClass, OrderType, PositionIntent, Side, TimeInForce, Trail};
use super::prices::{Prices, grid_scale};
use super::refusal::Refusal;
use super::request::{LegRequest, OrderRequest};

/// Bounds that keep every product of quantity and price far inside a `Decimal`; the venue's own are unpublished.
const QTY_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
const PRICE_MAX: Decimal = Decimal::from_parts(100_000_000, 0, 0, false, 0);
/// Longest client order id.
const CLIENT_ORDER_ID_MAX: usize = 128;
/// An exit must be at least a cent beyond its base price.
const CENT: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// An order that satisfies every rule of form.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// None for a multi-leg order, which has legs instead.
    pub(crate) asset: Option<Asset>,
    pub(crate) side: Option<Side>,
    pub(crate) qty: Option<Decimal>,
    pub(crate) notional: Option<Decimal>,
    pub(crate) order_type: OrderType,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) limit_price: Option<Decimal>,
    pub(crate) stop_price: Option<Decimal>,
    pub(crate) trail: Option<Trail>,
    pub(crate) extended_hours: bool,
    pub(crate) client_order_id: Option<String>,
    pub(crate) class: OrderClass,
    pub(crate) exits: Vec<Exit>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) position_intent: Option<PositionIntent>,
}

/// A child order that closes what its parent opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) limit_price: Option<Decimal>,
    pub(crate) stop_price: Option<Decimal>,
}

impl Exit {
    pub(crate) fn order_type(&self) -> OrderType {
        match (self.limit_price, self.stop_price) {
            (Some(_), Some(_)) => OrderType::StopLimit,
            (None, Some(_)) => OrderType::Stop,
            (Some(_) | None, None) => OrderType::Limit,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) asset: Asset,
    pub(crate) side: Side,
    pub(crate) ratio_qty: Decimal,
    pub(crate) position_intent: PositionIntent,
}

/// What the rules look at besides the request.
pub(crate) struct Rulebook<'a> {
    pub(crate) assets: &'a Assets,
    pub(crate) prices: &'a Prices,
    pub(crate) market: Market,
    pub(crate) now: Timestamp,
}

impl Rulebook<'_> {
    pub(crate) fn check(&self, request: OrderRequest) -> Result<Draft, Refusal> {
        if request
            .client_order_id
            .as_ref()
            .is_some_and(|id| id.len() > CLIENT_ORDER_ID_MAX)
        {
            return Err(Refusal::invalid(
                "client_order_id must be no more than 128 characters",
            ));
        }
        let class = request.class.unwrap_or(OrderClass::Simple);
        if class == OrderClass::Mleg {
            return self.check_mleg(request);
        }
        let asset = self.asset(request.symbol.as_deref())?;
        let side = request.side.ok_or_else(|| Refusal::invalid("side is required"))?;
        let (qty, notional) = size(&request, asset.class)?;
        let order_type = request
            .order_type
            .ok_or_else(|| Refusal::invalid("type is required"))?;
        let time_in_force = request
            .time_in_force
            .ok_or_else(|| Refusal::invalid("time_in_force is required"))?;
        let mut draft = Draft {
            side: Some(side),
            qty,
            notional,
            order_type,
            time_in_force,
            limit_price: request.limit_price,
            stop_price: request.stop_price,
            trail: None,
            extended_hours: request.extended_hours,
            client_order_id: request.client_order_id.clone(),
            class,
            exits: Vec::new(),
            legs: Vec::new(),
            position_intent: request.position_intent,
            asset: None,
        };
        if class == OrderClass::Oco {
            if order_type != OrderType::Limit {
                return Err(Refusal::invalid("oco orders must be limit orders"));
            }
            let target = request.take_profit.as_ref().and_then(|exit| exit.limit_price);
            draft.limit_price = draft.limit_price.or(target);
        }
        pricing(&mut draft, &request, &asset)?;
        match asset.class {
            AssetClass::UsEquity => self.equity_rules(&draft)?,
            AssetClass::Crypto => crypto_rules(&draft)?,
            AssetClass::UsOption => self.option_rules(&draft)?,
        }
        if draft.extended_hours
            && !(order_type == OrderType::Limit
                && matches!(time_in_force, TimeInForce::Day | TimeInForce::Gtc)
                && class == OrderClass::Simple)
        {
            return Err(Refusal::unprocessable(
                "extended hours order must be DAY limit orders",
            ));
        }
        let base = draft
            .limit_price
            .unwrap_or_else(|| self.prices.quote(&asset, self.now).last);
        draft.exits = exits(&request, class, side, order_type, time_in_force, base)?;
        draft.asset = Some(asset);
        Ok(draft)
    }

    fn asset(&self, symbol: Option<&str>) -> Result<Asset, Refusal> {
        let symbol = symbol.ok_or_else(|| Refusal::invalid("symbol is required"))?;
        let name = symbol.split(':').next().unwrap_or(symbol);
        let asset = self
            .assets
            .find(name)
            .ok_or_else(|| Refusal::unprocessable(format!("asset \"{symbol}\" not found")))?;
        if !self.prices.is_known(&asset, self.now) {
            return Err(Refusal::unprocessable(format!(
                "asset \"{symbol}\" is not tradable"
            )));
        }
        match asset.contract {
            Some(contract) if contract.expires_on < new_york_day(self.now) => Err(Refusal::unprocessable(
                format!("contract \"{symbol}\" is expired"),
            )),
            Some(_) | None => Ok(asset),
        }
    }

    fn equity_rules(&self, draft: &Draft) -> Result<(), Refusal> {
        let fractional = draft.notional.is_some() || draft.qty.is_some_and(|qty| !qty.fract().is_zero());
        if fractional {
            let refuse = |text: &str| {
                Err(Refusal::unprocessable(format!(
                    "fractional orders must be {text}"
                )))
            };
            if draft.class != OrderClass::Simple {
                return refuse("simple orders");
            }
            if draft.order_type == OrderType::TrailingStop {
                return refuse("market, limit, stop, or stop_limit orders");
            }
            if draft.time_in_force != TimeInForce::Day {
                return refuse("DAY orders");
            }
        }
        let immediate = matches!(
            draft.time_in_force,
            TimeInForce::Ioc | TimeInForce::Fok | TimeInForce::Opg | TimeInForce::Cls
        );
        if immediate && !matches!(draft.order_type, OrderType::Market | OrderType::Limit) {
            return Err(Refusal::unprocessable("invalid time_in_force for order type"));
        }
        if self.market == Market::Calendar {
            self.auction_hours(draft.time_in_force)?;
        }
        Ok(())
    }

    /// Auction orders are taken until shortly before their auction, and again from 19:00.
    fn auction_hours(&self, time_in_force: TimeInForce) -> Result<(), Refusal> {
        let time = self.now.to_zoned(new_york()).time();
        let minute = i32::from(time.hour()) * 60 + i32::from(time.minute());
        let (closed_from, name) = match time_in_force {
            TimeInForce::Opg => (9 * 60 + 28, "opg"),
            TimeInForce::Cls => (15 * 60 + 50, "cls"),
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => return Ok(()),
        };
        if (closed_from..19 * 60).contains(&minute) {
            return Err(Refusal::unprocessable(format!(
                "{name} orders are not accepted at this time"
            )));
        }
        Ok(())
    }

    fn option_rules(&self, draft: &Draft) -> Result<(), Refusal> {
        if draft.class != OrderClass::Simple {
            return Err(Refusal::unprocessable(
                "complex orders not supported for options trading",
            ));
        }
        if draft.notional.is_some() {
            return Err(Refusal::unprocessable(
                "notional orders are not supported for options trading",
            ));
        }
        if draft.qty.is_some_and(|qty| !qty.fract().is_zero()) {
            return Err(Refusal::unprocessable("qty must be integer for options trading"));
        }
        if draft.extended_hours {
            return Err(Refusal::unprocessable(
                "extended hours not supported for options trading",
            ));
        }
        if draft.order_type == OrderType::TrailingStop {
            return Err(Refusal::unprocessable("invalid option order_type"));
        }
        if draft.time_in_force != TimeInForce::Day {
            return Err(Refusal::unprocessable("invalid option time_in_force"));
        }
        if draft.order_type == OrderType::Market && !self.market.is_open(self.now, false) {
            return Err(Refusal::unprocessable(
                "options market orders are only allowed during market hours",
            ));
        }
        Ok(())
    }

    fn check_mleg(&self, request: OrderRequest) -> Result<Draft, Refusal> {
        if !(2..=4).contains(&request.legs.len()) {
            return Err(Refusal::invalid("mleg orders must have 2 to 4 legs"));
        }
        let legs = request
            .legs
            .iter()
            .enumerate()
            .map(|(at, leg)| self.leg(at, leg))
            .collect::<Result<Vec<_>, _>>()?;
        let first = legs.first().and_then(|leg| leg.asset.underlying);
        if legs.iter().any(|leg| leg.asset.underlying != first) {
            return Err(Refusal::unprocessable("underlying mismatch"));
        }
        let repeated = |(at, leg): (usize, &Leg)| {
            legs.iter()
                .take(at)
                .any(|other| other.asset.symbol == leg.asset.symbol)
        };
        if legs.iter().enumerate().any(repeated) {
            return Err(Refusal::unprocessable("mleg orders must have unique symbols"));
        }
        let divisor = legs
            .iter()
            .fold(Decimal::ZERO, |divisor, leg| gcd(divisor, leg.ratio_qty));
        if divisor != Decimal::ONE {
            return Err(Refusal::unprocessable(
                "leg ratio quantities must be relatively prime",
            ));
        }
        let qty = request.qty.ok_or_else(|| Refusal::invalid("qty is required"))?;
        check_qty(qty)?;
        if !qty.fract().is_zero() {
            return Err(Refusal::unprocessable("qty must be integer for options trading"));
        }
        let order_type = request
            .order_type
            .ok_or_else(|| Refusal::invalid("type is required"))?;
        match (order_type, request.limit_price) {
            (OrderType::Limit, None) => {
                return Err(Refusal::unprocessable("limit price is required for limit orders"));
            }
            (OrderType::Limit, Some(price)) if price.scale() > 2 || price.abs() > PRICE_MAX => {
                return Err(Refusal::unprocessable("invalid limit price"));
            }
            (OrderType::Market, Some(_)) => {
                return Err(Refusal::unprocessable(
                    "limit price is only valid for limit orders",
                ));
            }
            (OrderType::Limit, Some(_)) | (OrderType::Market, None) => {}
            (OrderType::Stop | OrderType::StopLimit | OrderType::TrailingStop, _) => {
                return Err(Refusal::unprocessable("invalid option order_type"));
            }
        }
        if request.time_in_force != Some(TimeInForce::Day) {
            return Err(Refusal::unprocessable("invalid time in force"));
        }
        if order_type == OrderType::Market && !self.market.is_open(self.now, false) {
            return Err(Refusal::unprocessable(
                "options market orders are only allowed during market hours",
            ));
        }
        Ok(Draft {
            asset: None,
            side: request.side,
            qty: Some(qty),
            notional: None,
            order_type,
            time_in_force: TimeInForce::Day,
            limit_price: request.limit_price.map(|price| price.normalize()),
            stop_price: None,
            trail: None,
            extended_hours: false,
            client_order_id: request.client_order_id,
            class: OrderClass::Mleg,
            exits: Vec::new(),
            legs,
            position_intent: None,
        })
    }

    fn leg(&self, at: usize, leg: &LegRequest) -> Result<Leg, Refusal> {
        let symbol = leg.symbol.as_deref().unwrap_or_default();
        let asset = self
            .assets
            .find(symbol)
            .ok_or_else(|| Refusal::unprocessable(format!("asset not found for {symbol}")))?;
        if asset.class != AssetClass::UsOption {
            return Err(Refusal::unprocessable("equity legs are not supported"));
        }
        let intent = leg
            .position_intent
            .ok_or_else(|| Refusal::unprocessable(format!("leg.{at} position intent is required")))?;
        let implied = match intent {
            PositionIntent::BuyToOpen | PositionIntent::BuyToClose => Side::Buy,
            PositionIntent::SellToOpen | PositionIntent::SellToClose => Side::Sell,
        };
        if leg.side.is_some_and(|side| side != implied) {
            return Err(Refusal::unprocessable(format!(
                "position intent mismatch, inferred: {}, specified: {}",
                implied.as_str(),
                intent.as_str()
            )));
        }
        let ratio_qty = leg.ratio_qty.unwrap_or_default().normalize();
        if ratio_qty <= Decimal::ZERO || !ratio_qty.fract().is_zero() || ratio_qty > Decimal::ONE_THOUSAND {
            return Err(Refusal::unprocessable(format!(
                "leg.{at} ratio_qty must be a positive integer"
            )));
        }
        Ok(Leg {
            asset,
            side: implied,
            ratio_qty,
            position_intent: intent,
        })
    }
}

fn size(request: &OrderRequest, class: AssetClass) -> Result<(Option<Decimal>, Option<Decimal>), Refusal> {
    match (request.qty, request.notional) {
        (Some(_), Some(_)) => Err(Refusal::invalid("only one of qty or notional is accepted")),
        (None, None) => Err(Refusal::invalid("qty or notional is required")),
        (Some(qty), None) => {
            // Crypto beyond nine decimals is cut off without a word, shares are refused.
            let qty = if class == AssetClass::Crypto {
                qty.trunc_with_scale(QTY_SCALE)
            } else {
                qty
            };
            check_qty(qty)?;
            Ok((Some(qty.normalize()), None))
        }
        (None, Some(notional)) => {
            if notional <= Decimal::ZERO {
                return Err(Refusal::invalid("notional must be > 0"));
            }
            if notional > QTY_MAX || notional.normalize().scale() > 2 {
                return Err(Refusal::invalid(
                    "notional value must be limited to 2 decimal places",
                ));
            }
            Ok((None, Some(notional.normalize())))
        }
    }
}

fn check_qty(qty: Decimal) -> Result<(), Refusal> {
    if qty <= Decimal::ZERO {
        return Err(Refusal::invalid("qty must be > 0"));
    }
    if qty > QTY_MAX {
        return Err(Refusal::invalid(format!("qty must be <= {QTY_MAX}")));
    }
    if qty.normalize().scale() > QTY_SCALE {
        return Err(Refusal::invalid("qty must have at most 9 decimal places"));
    }
    Ok(())
}

/// Each order type has exactly the prices it needs, each on its grid.
fn pricing(draft: &mut Draft, request: &OrderRequest, asset: &Asset) -> Result<(), Refusal> {
    let trails = (request.trail_price, request.trail_percent);
    let needs = |text: &str| Err(Refusal::invalid(text.to_owned()));
    match (draft.order_type, draft.limit_price, draft.stop_price) {
        (OrderType::Market, None, None)
        | (OrderType::Limit, Some(_), None)
        | (OrderType::Stop, None, Some(_))
        | (OrderType::StopLimit, Some(_), Some(_)) => {
            if trails != (None, None) {
                return needs("trail_price and trail_percent are only for trailing_stop orders");
            }
        }
        (OrderType::Market, _, _) => return needs("market orders require no stop or limit price"),
        (OrderType::Limit, None, _) => return needs("limit orders require a limit price"),
        (OrderType::Limit, Some(_), Some(_)) => return needs("limit orders require no stop price"),
        (OrderType::Stop, _, None) => return needs("stop orders require a stop price"),
        (OrderType::Stop, Some(_), Some(_)) => return needs("stop orders require no limit price"),
        (OrderType::StopLimit, _, _) => {
            return needs("stop limit orders require both stop and limit price");
        }
        (OrderType::TrailingStop, None, None) => {
            draft.trail = Some(match trails {
                (Some(price), None) if price > Decimal::ZERO && price <= PRICE_MAX => {
                    Trail::Price(price.normalize())
                }
                (None, Some(percent)) if percent > Decimal::ZERO && percent < Decimal::ONE_HUNDRED => {
                    Trail::Percent(percent.normalize())
                }
                _ => return needs("trailing stop orders must specify one of trail_price or trail_percent"),
            });
        }
        (OrderType::TrailingStop, _, _) => {
            return needs("trailing stop orders require no stop or limit price");
        }
    }
    draft.limit_price = check_price("limit_price", draft.limit_price, asset.class)?;
    draft.stop_price = check_price("stop_price", draft.stop_price, asset.class)?;
    Ok(())
}

pub(crate) fn check_price(
    field: &str,
    price: Option<Decimal>,
    class: AssetClass,
) -> Result<Option<Decimal>, Refusal> {
    let Some(price) = price else { return Ok(None) };
    let tidy = price.normalize();
    if tidy <= Decimal::ZERO {
        return Err(Refusal::invalid(format!("{field} must be > 0")));
    }
    let scale_max = match class {
        AssetClass::UsEquity => grid_scale(tidy),
        AssetClass::UsOption => 2,
        AssetClass::Crypto => QTY_SCALE,
    };
    if tidy.scale() > scale_max {
        return Err(Refusal::price_grid(field, price));
    }
    if tidy > PRICE_MAX {
        return Err(Refusal::unprocessable(format!("invalid {field} {price}")));
    }
    Ok(Some(tidy))
}

fn crypto_rules(draft: &Draft) -> Result<(), Refusal> {
    if draft.class != OrderClass::Simple {
        return Err(Refusal::unprocessable(
            "crypto orders not allowed for advanced order_class",
        ));
    }
    if !matches!(
        draft.order_type,
        OrderType::Market | OrderType::Limit | OrderType::StopLimit
    ) {
        return Err(Refusal::invalid("invalid order type for crypto order"));
    }
    let allowed = match draft.time_in_force {
        TimeInForce::Gtc => true,
        TimeInForce::Ioc => draft.order_type != OrderType::StopLimit,
        TimeInForce::Day | TimeInForce::Opg | TimeInForce::Cls | TimeInForce::Fok => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(Refusal::unprocessable("invalid crypto time_in_force"))
    }
}

/// The exits an order class comes with, checked against each other and against the price they start from.
fn exits(
    request: &OrderRequest,
    class: OrderClass,
    side: Side,
    order_type: OrderType,
    time_in_force: TimeInForce,
    base: Decimal,
) -> Result<Vec<Exit>, Refusal> {
    let target = request.take_profit.as_ref().map(|exit| exit.limit_price);
    let stop = request
        .stop_loss
        .as_ref()
        .map(|exit| (exit.stop_price, exit.limit_price));
    if class == OrderClass::Simple {
        return match (target, stop) {
            (None, None) => Ok(Vec::new()),
            _ => Err(Refusal::unprocessable(
                "take_profit and stop_loss require an advanced order_class",
            )),
        };
    }
    if order_type == OrderType::TrailingStop {
        return Err(Refusal::unprocessable(
            "trailing stop orders must be simple orders",
        ));
    }
    if !matches!(time_in_force, TimeInForce::Day | TimeInForce::Gtc) {
        return Err(Refusal::unprocessable(
            "advanced orders must be DAY or GTC orders",
        ));
    }
    // An OCO's first exit is the order itself, so only its stop is a child.
    let exit_side = if class == OrderClass::Oco {
        side
    } else {
        side.opposite()
    };
    let target = target.flatten().map(|limit| Exit {
        limit_price: Some(limit),
        stop_price: None,
    });
    let stop = match stop {
        Some((Some(stop), limit)) => Some(Exit {
            limit_price: limit,
            stop_price: Some(stop),
        }),
        Some((None, _)) => return Err(Refusal::unprocessable("stop_loss.stop_price is required")),
        None => None,
    };
    for exit in target.iter().chain(&stop) {
        check_price("limit_price", exit.limit_price, AssetClass::UsEquity)?;
        check_price("stop_price", exit.stop_price, AssetClass::UsEquity)?;
    }
    if let Some(Exit {
        stop_price: Some(price),
        ..
    }) = stop
    {
        let (beyond, rule) = match exit_side {
            Side::Sell => (price <= base - CENT, "<= base_price - 0.01"),
            Side::Buy => (price >= base + CENT, ">= base_price + 0.01"),
        };
        if !beyond {
            return Err(Refusal::unprocessable(format!(
                "stop_loss.stop_price must be {rule}"
            )));
        }
    }
    if let (Some(target), Some(stop)) = (
        target.and_then(|exit| exit.limit_price),
        stop.and_then(|exit| exit.stop_price),
    ) {
        let apart = match exit_side {
            Side::Sell => target > stop,
            Side::Buy => target < stop,
        };
        if !apart {
            return Err(Refusal::unprocessable(
                "take_profit.limit_price must be beyond stop_loss.stop_price",
            ));
        }
    }
    match (class, target, stop) {
        (OrderClass::Bracket, Some(target), Some(stop)) => Ok(vec![target, stop]),
        (OrderClass::Bracket, _, _) => Err(Refusal::unprocessable(
            "bracket orders require take_profit.limit_price and stop_loss.stop_price",
        )),
        (OrderClass::Oto, Some(exit), None) | (OrderClass::Oto, None, Some(exit)) => Ok(vec![exit]),
        (OrderClass::Oto, _, _) => Err(Refusal::unprocessable(
            "oto orders require either take_profit or stop_loss",
        )),
        (OrderClass::Oco, _, Some(stop)) => Ok(vec![stop]),
        (OrderClass::Oco, _, None) => Err(Refusal::unprocessable("oco orders require stop_loss.stop_price")),
        (OrderClass::Simple | OrderClass::Mleg, _, _) => Ok(Vec::new()),
    }
}

fn gcd(mut a: Decimal, mut b: Decimal) -> Decimal {
    while !b.is_zero() {
        (a, b) = (b, a % b);
    }
    a
}
