//! What can be asked of the exchange without changing it, and positions closed by name.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::{Asset, AssetClass};
use super::calendar::{Session, next_close, next_open};
use super::configuration::Configuration;
use super::event::{Fill, OrderView};
use super::exchange::Exchange;
use super::ledger::Position;
use super::order::{Order, OrderType, Side, Status, TimeInForce};
use super::refusal::Refusal;
use super::request::OrderRequest;

/// Which orders a list holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StatusFilter {
    #[default]
    Open,
    Closed,
    All,
}

/// The filters of an order list; absent means everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListFilter {
    pub(crate) status: StatusFilter,
    pub(crate) limit: usize,
    pub(crate) after: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) ascending: bool,
    pub(crate) nested: bool,
    pub(crate) symbols: Option<Vec<String>>,
    pub(crate) side: Option<Side>,
    pub(crate) asset_classes: Option<Vec<String>>,
    /// Neither this order nor any after it.
    pub(crate) before_order: Option<Uuid>,
    /// Neither this order nor any before it.
    pub(crate) after_order: Option<Uuid>,
}

/// One position, valued at the current price.
#[derive(Clone, Debug, PartialEq)]
pub struct PositionView {
    /// The asset's id.
    pub asset_id: Uuid,
    /// The symbol as orders spell it (`BTC/USD`).
    pub symbol: String,
    /// The asset's class.
    pub asset_class: AssetClass,
    /// The listing exchange.
    pub exchange: &'static str,
    /// Signed units.
    pub qty: Decimal,
    /// Signed units no open order keeps.
    pub qty_available: Decimal,
    /// Average price paid.
    pub avg_entry_price: Decimal,
    /// Signed cost.
    pub cost_basis: Decimal,
    /// Signed value at the current price.
    pub market_value: Decimal,
    /// The current price.
    pub current_price: Decimal,
    /// Yesterday's price.
    pub lastday_price: Decimal,
}

/// The account's money and ids.
#[derive(Clone, Debug)]
pub(crate) struct AccountView {
    pub(crate) id: Uuid,
    pub(crate) created_at: Timestamp,
    pub(crate) cash: Decimal,
    pub(crate) last_equity: Decimal,
    pub(crate) funds: super::risk::Funds,
    pub(crate) configuration: Configuration,
}

/// What the venue's clock says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockView {
    pub(crate) is_open: bool,
    pub(crate) next_open: Timestamp,
    pub(crate) next_close: Timestamp,
}

impl Exchange {
    /// One order with its children or legs.
    pub fn view(&self, id: Uuid) -> Option<OrderView> {
        self.book.view(id)
    }

    /// One order by the client's id.
    pub fn by_client_order_id(&self, client_order_id: &str) -> Option<&Order> {
        self.book.by_client_order_id(client_order_id)
    }

    /// Every order ever taken, oldest first.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.book.all()
    }

    /// Every execution, oldest first.
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// Dollars in the account.
    pub fn cash(&self) -> Decimal {
        self.ledger.cash
    }

    pub(crate) fn list(&self, filter: &ListFilter) -> Result<Vec<OrderView>, Refusal> {
        let anchor = |id: Option<Uuid>| {
            id.map(|id| self.book.get(id).ok_or_else(|| Refusal::order_not_found(id)))
                .transpose()
        };
        let (before, after) = (anchor(filter.before_order)?, anchor(filter.after_order)?);
        // Orders may share a moment with the anchor, so that the stretch to search includes it.
        let moment = |anchor: Option<&Order>, step: jiff::Span| {
            anchor.map(|order| order.submitted_at.checked_add(step).unwrap_or(order.submitted_at))
        };
        let from = filter.after.or(moment(after, jiff::Span::new().nanoseconds(-1)));
        let to = filter.until.or(moment(before, jiff::Span::new().nanoseconds(1)));
        let in_status = |order: &Order| match filter.status {
            StatusFilter::Open => !order.status.is_terminal(),
            StatusFilter::Closed => order.status.is_terminal(),
            StatusFilter::All => true,
        };
        let rolled_up = |order: &Order| {
            let parent = order
                .parent
                .filter(|_| filter.nested)
                .and_then(|parent| self.book.get(parent));
            parent.is_some_and(in_status)
        };
        let wanted = |order: &&Order| {
            let unslashed = order.symbol.replace('/', "");
            let named = |name: &String| *name == order.symbol || *name == unslashed;
            let classed = |class: &String| {
                class == "all" || order.asset_class.is_some_and(|known| known.as_str() == class)
            };
            in_status(order)
                && !order.is_leg_of_mleg()
                && filter.after.is_none_or(|after| order.submitted_at > after)
                && filter.until.is_none_or(|until| order.submitted_at < until)
                && filter
                    .symbols
                    .as_ref()
                    .is_none_or(|names| names.iter().any(named))
                && filter.side.is_none_or(|side| order.side == Some(side))
                && filter
                    .asset_classes
                    .as_ref()
                    .is_none_or(|classes| classes.iter().any(classed))
                && before.is_none_or(|anchor| order.sequence < anchor.sequence)
                && after.is_none_or(|anchor| order.sequence > anchor.sequence)
                && !rolled_up(order)
        };
        let orders: Box<dyn DoubleEndedIterator<Item = &Order>> = match filter.status {
            StatusFilter::Open => Box::new(self.book.open()),
            StatusFilter::Closed | StatusFilter::All => Box::new(self.book.between(from, to)),
        };
        let orders: Box<dyn Iterator<Item = &Order>> = if filter.ascending {
            Box::new(orders)
        } else {
            Box::new(orders.rev())
        };
        let found = orders
            .filter(wanted)
            .take(filter.limit)
            .filter_map(|order| {
                let mut view = self.book.view(order.id)?;
                if !filter.nested && !order.is_mleg_parent() {
                    view.legs.clear();
                }
                Some(view)
            })
            .collect();
        Ok(found)
    }

    /// Every position, by symbol.
    pub fn positions(&self) -> Vec<PositionView> {
        self.ledger
            .positions()
            .map(|position| self.value(position))
            .collect()
    }

    pub(crate) fn position(&self, name: &str) -> Result<PositionView, Refusal> {
        self.assets
            .find(name)
            .and_then(|asset| self.ledger.position(&asset.symbol))
            .map(|position| self.value(position))
            .ok_or_else(|| Refusal::not_found("position does not exist"))
    }

    fn value(&self, position: &Position) -> PositionView {
        let asset = &position.asset;
        let (existing, held) = self.available(&asset.symbol);
        let free = (existing - held).max(Decimal::ZERO);
        let current_price = self.quote(asset).last;
        PositionView {
            asset_id: asset.id,
            symbol: asset.symbol.clone(),
            asset_class: asset.class,
            exchange: asset.exchange,
            qty: position.qty,
            qty_available: if position.qty.is_sign_negative() {
                -free
            } else {
                free
            },
            avg_entry_price: position.avg_entry_price,
            cost_basis: position.qty * position.avg_entry_price * asset.multiplier(),
            market_value: position.qty * current_price * asset.multiplier(),
            current_price,
            lastday_price: if asset.base_price.is_zero() {
                current_price
            } else {
                asset.base_price
            },
        }
    }

    /// Closes all or part of a position with a market order.
    pub fn close_position(
        &mut self,
        now: Timestamp,
        name: &str,
        qty: Option<Decimal>,
        percentage: Option<Decimal>,
    ) -> Result<Uuid, Refusal> {
        let held = self.position(name)?;
        let whole = held.qty.abs();
        let qty = match (qty, percentage) {
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid("only one of qty or percentage is accepted"));
            }
            (Some(qty), None) => qty,
            (None, Some(percent)) if percent > Decimal::ZERO && percent <= Decimal::ONE_HUNDRED => {
                (whole * percent / Decimal::ONE_HUNDRED).trunc_with_scale(super::QTY_SCALE)
            }
            (None, Some(_)) => return Err(Refusal::invalid("percentage must be between 0 and 100")),
            (None, None) => whole,
        };
        let side = if held.qty.is_sign_negative() {
            Side::Buy
        } else {
            Side::Sell
        };
        let time_in_force = if held.asset_class == AssetClass::Crypto {
            TimeInForce::Gtc
        } else {
            TimeInForce::Day
        };
        self.place(
            now,
            OrderRequest {
                symbol: Some(held.symbol),
                qty: Some(qty),
                side: Some(side),
                order_type: Some(OrderType::Market),
                time_in_force: Some(time_in_force),
                ..OrderRequest::default()
            },
        )
    }

    /// Closes every position: each symbol with its own answer. With `cancel_orders` open orders go first, at once.
    pub fn close_all(&mut self, now: Timestamp, cancel_orders: bool) -> Vec<(String, Result<Uuid, Refusal>)> {
        if cancel_orders {
            let now = self.at(now);
            let open: Vec<_> = self.book.open().map(|order| order.id).collect();
            for id in open {
                self.end_group(now, id, Status::Canceled);
            }
        }
        let symbols: Vec<_> = self
            .ledger
            .positions()
            .map(|position| position.asset.symbol.clone())
            .collect();
        symbols
            .into_iter()
            .map(|symbol| {
                let answer = self.close_position(now, &symbol, None, None);
                (symbol, answer)
            })
            .collect()
    }

    pub(crate) fn account(&self) -> AccountView {
        AccountView {
            id: self.account_id,
            created_at: self.created_at,
            cash: self.ledger.cash,
            last_equity: self.config.cash,
            funds: self.funds(),
            configuration: self.configuration().clone(),
        }
    }

    pub(crate) fn clock(&self, now: Timestamp) -> ClockView {
        ClockView {
            is_open: self.config.market.is_open(now, false),
            next_open: next_open(now).unwrap_or(now),
            next_close: next_close(now).unwrap_or(now),
        }
    }

    pub(crate) fn sessions(&self, from: Date, to: Date) -> Vec<Session> {
        from.series(jiff::Span::new().days(1))
            .take_while(|day| *day <= to)
            .filter_map(Session::on)
            .collect()
    }

    pub(crate) fn find_asset(&self, name: &str) -> Option<Asset> {
        self.assets.find(name)
    }

    pub(crate) fn listed_assets(&self) -> &[Asset] {
        self.assets.listed()
    }
}
