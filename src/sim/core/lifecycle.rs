//! What happens to an order after it was taken: routed, acknowledged, matched, filled, ended; and what that
//! does to the orders it came with.

use std::collections::HashMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::Asset;
use super::calendar::new_york;
use super::event::{Event, EventKind, Execution, Fill, LegExecution, ulid};
use super::exchange::{Exchange, Step};
use super::matching::look;
use super::order::{Order, OrderClass, Side, Status, TimeInForce};
use super::prices::{Quote, is_price};
use super::refusal::Refusal;

impl Exchange {
    /// Asks for a cancel. Success means the request was taken: the order may still fill before it arrives.
    pub fn cancel(&mut self, now: Timestamp, id: Uuid) -> Result<(), Refusal> {
        let now = self.at(now);
        let order = self.book.get(id).ok_or_else(|| Refusal::order_not_found(id))?;
        if order.is_leg_of_mleg() {
            return Err(Refusal::unprocessable(
                "cannot cancel individual legs of a mleg order",
            ));
        }
        match order.status {
            // A repeated cancel is accepted, as measured on the paper venue.
            Status::Canceled | Status::PendingCancel => return Ok(()),
            Status::Filled | Status::Expired | Status::Rejected | Status::Replaced => {
                return Err(Refusal::unprocessable(format!(
                    "order is already in \"{}\" state",
                    order.status.as_str()
                )));
            }
            Status::PendingReplace => return Err(Refusal::unprocessable("order is not cancelable")),
            Status::Accepted | Status::PendingNew | Status::New | Status::Held | Status::PartiallyFilled => {}
        }
        self.book.update(id, now, |order| {
            order.status = Status::PendingCancel;
            order.cancel_requested_at = Some(now);
        });
        self.plan(now, Step::Cancel, id);
        Ok(())
    }

    /// Asks for a cancel of every open order: each order's id with its own answer.
    pub fn cancel_all(&mut self, now: Timestamp) -> Vec<(Uuid, Result<(), Refusal>)> {
        let open: Vec<_> = self.book.open().map(|order| order.id).collect();
        open.into_iter().map(|id| (id, self.cancel(now, id))).collect()
    }

    /// Fills a part of a live order by hand, at any price, whatever the market says.
    pub fn fill(&mut self, now: Timestamp, id: Uuid, qty: Decimal, price: Decimal) -> Result<(), Refusal> {
        let now = self.at(now);
        let order = self.book.get(id).ok_or_else(|| Refusal::order_not_found(id))?;
        let waits = order.status == Status::Held || (order.replaces.is_some() && !order.working);
        if order.status.is_terminal() || waits || order.is_leg_of_mleg() {
            return Err(Refusal::unprocessable(format!(
                "order is already in \"{}\" state",
                order.status.as_str()
            )));
        }
        if !is_price(price.abs()) {
            return Err(Refusal::unprocessable(format!("invalid price {price}")));
        }
        if qty <= Decimal::ZERO || qty > order.leaves_at(price) {
            return Err(Refusal::unprocessable(
                "qty must be > 0 and no more than what is open",
            ));
        }
        if order.status == Status::Accepted {
            self.set_status(now, id, Status::PendingNew);
            self.report(now, EventKind::PendingNew, id);
        }
        self.acknowledge(now, id);
        self.execute(now, id, qty, price);
        Ok(())
    }

    pub(crate) fn route(&mut self, now: Timestamp, id: Uuid) {
        let parked = |order: &&Order| order.status == Status::Accepted;
        if self
            .book
            .get(id)
            .filter(parked)
            .is_some_and(|order| self.may_trade(order, now))
        {
            self.set_status(now, id, Status::PendingNew);
            self.report(now, EventKind::PendingNew, id);
            self.plan(now, Step::Acknowledge, id);
        }
    }

    pub(crate) fn acknowledge(&mut self, now: Timestamp, id: Uuid) {
        let Some(order) = self
            .book
            .get(id)
            .filter(|order| order.status == Status::PendingNew)
        else {
            return;
        };
        let is_doomed = self.doomed.remove(&id);
        if is_doomed || self.rejections > 0 {
            if !is_doomed {
                self.rejections -= 1;
            }
            self.end_group(now, id, Status::Rejected);
            return;
        }
        let children = if order.class == OrderClass::Oco {
            order.legs.clone()
        } else {
            Vec::new()
        };
        self.set_status(now, id, Status::New);
        self.book.update(id, now, |order| order.working = true);
        self.report(now, EventKind::New, id);
        self.plan(now, Step::Match, id);
        for child in children {
            self.activate(now, child);
        }
    }

    /// Lets every working order look at the market; those to whom it means nothing cost no more than the look.
    pub(crate) fn match_all(&mut self, now: Timestamp) {
        let mut quotes: HashMap<&str, Option<Quote>> = HashMap::new();
        let mut concerned = Vec::new();
        for order in self.book.open().filter(|order| order.working) {
            let plain = order.side.zip(order.order_type);
            let (Some((side, order_type)), false) = (plain, self.is_immediate(order)) else {
                concerned.push(order.id);
                continue;
            };
            let quote = quotes
                .entry(order.symbol.as_str())
                .or_insert_with(|| self.assets.find(&order.symbol).map(|asset| self.quote(&asset)));
            let Some(quote) = quote else { continue };
            let look = look(order, side, order_type, *quote);
            let stays =
                (look.elected, look.hwm, look.stop_price) == (order.elected, order.hwm, order.stop_price);
            if !stays || look.fill_price.is_some() {
                concerned.push(order.id);
            }
        }
        for id in concerned {
            self.try_match(now, id);
        }
    }

    pub(crate) fn try_match(&mut self, now: Timestamp, id: Uuid) {
        let Some(order) = self
            .book
            .get(id)
            .filter(|order| order.working && !order.status.is_terminal())
        else {
            return;
        };
        if !self.may_trade(order, now) {
            return;
        }
        let (time_in_force, immediate) = (order.time_in_force, self.is_immediate(order));
        let fill_price = if order.is_mleg_parent() {
            self.net_price(order)
                .filter(|net| order.limit_price.is_none_or(|limit| *net <= limit))
        } else {
            self.look_at_market(now, id)
        };
        if let Some(price) = fill_price {
            let qty = self.fill_qty(id, price, time_in_force);
            if qty > Decimal::ZERO {
                self.execute(now, id, qty, price);
            }
        }
        if immediate {
            self.end_group(now, id, Status::Canceled);
        }
    }

    fn look_at_market(&mut self, now: Timestamp, id: Uuid) -> Option<Decimal> {
        let order = self.book.get(id)?;
        let asset = self.assets.find(&order.symbol)?;
        let look = look(order, order.side?, order.order_type?, self.quote(&asset));
        if (look.elected, look.hwm, look.stop_price) != (order.elected, order.hwm, order.stop_price) {
            self.book.update(id, now, |order| {
                (order.elected, order.hwm, order.stop_price) = (look.elected, look.hwm, look.stop_price);
            });
        }
        look.fill_price
    }

    /// What one unit of a multi-leg order costs now: positive is a debit.
    fn net_price(&self, order: &Order) -> Option<Decimal> {
        order
            .legs
            .iter()
            .map(|leg| self.leg_price(*leg))
            .try_fold(Decimal::ZERO, |net, leg| {
                let (side, ratio_qty, price) = leg?;
                Some(net + side.signed(ratio_qty * price))
            })
    }

    fn leg_price(&self, leg: Uuid) -> Option<(Side, Decimal, Decimal)> {
        let leg = self.book.get(leg)?;
        let quote = self.quote(&self.assets.find(&leg.symbol)?);
        let side = leg.side?;
        let price = match side {
            Side::Buy => quote.ask,
            Side::Sell => quote.bid,
        };
        Some((side, leg.ratio_qty?, price))
    }

    /// All that is open, or by chance a part of it.
    fn fill_qty(&mut self, id: Uuid, price: Decimal, time_in_force: TimeInForce) -> Decimal {
        let Some(order) = self.book.get(id) else {
            return Decimal::ZERO;
        };
        let leaves = order.leaves_at(price);
        let divisible = order.qty.is_some() && time_in_force != TimeInForce::Fok && !order.is_mleg_parent();
        let whole = leaves.fract().is_zero();
        if !divisible || self.chance.below(100) >= u64::from(self.config.partial_fill_percent) {
            return leaves;
        }
        let part = leaves * Decimal::from(self.chance.below(99) + 1) / Decimal::ONE_HUNDRED;
        let part = part.trunc_with_scale(if whole { 0 } else { super::QTY_SCALE });
        if part.is_zero() { leaves } else { part }
    }

    pub(crate) fn execute(&mut self, now: Timestamp, id: Uuid, qty: Decimal, price: Decimal) {
        let Some(order) = self.book.get(id) else { return };
        let done = qty >= order.leaves_at(price);
        let is_mleg = order.is_mleg_parent();
        let legs = if is_mleg { order.legs.clone() } else { Vec::new() };
        self.fill_order(now, id, qty, price, done);
        let mut execution = Execution {
            qty,
            price,
            position_qty: None,
            legs: Vec::new(),
        };
        if is_mleg {
            for leg in legs {
                let Some((_, ratio_qty, price)) = self.leg_price(leg) else {
                    continue;
                };
                let qty = qty * ratio_qty;
                self.fill_order(now, leg, qty, price, done);
                let position_qty = self.book_execution(now, leg, qty, price).unwrap_or_default();
                let symbol = self
                    .book
                    .get(leg)
                    .map(|leg| leg.symbol.clone())
                    .unwrap_or_default();
                let execution_id = self.chance.uuid();
                execution.legs.push(LegExecution {
                    execution_id,
                    order_id: leg,
                    symbol,
                    qty,
                    price,
                    position_qty,
                });
            }
        } else {
            execution.position_qty = self.book_execution(now, id, qty, price);
        }
        let kind = if done {
            EventKind::Fill
        } else {
            EventKind::PartialFill
        };
        self.report_with(now, kind, id, Some(execution));
        self.settle_group(now, id, done);
    }

    fn fill_order(&mut self, now: Timestamp, id: Uuid, qty: Decimal, price: Decimal, done: bool) {
        self.book.update(id, now, |order| {
            order.filled_qty += qty;
            order.filled_value += qty * price;
            // A pending request outranks a partial fill, as in FIX: the request is still on its way.
            let is_pending = matches!(order.status, Status::PendingCancel | Status::PendingReplace);
            if done {
                order.status = Status::Filled;
            } else if !is_pending {
                order.status = Status::PartiallyFilled;
            }
            order.filled_at = done.then_some(now);
        });
    }

    /// Books cash, position and history.
    fn book_execution(&mut self, now: Timestamp, id: Uuid, qty: Decimal, price: Decimal) -> Option<Decimal> {
        let order = self.book.get(id)?;
        let side = order.side?;
        let asset: Asset = self.assets.find(&order.symbol)?;
        let activity_id = format!(
            "{}::{}",
            now.to_zoned(new_york()).strftime("%Y%m%d%H%M%S%3f"),
            self.chance.uuid()
        );
        self.fills.push(Fill {
            activity_id,
            at: now,
            order_id: id,
            client_order_id: order.client_order_id.clone(),
            symbol: order.symbol.clone(),
            side,
            qty,
            price,
            cum_qty: order.filled_qty,
            leaves_qty: order.leaves_at(price),
            order_status: order.status,
        });
        Some(self.ledger.book(&asset, side, qty, price))
    }

    /// What a fill does to the orders this one came with.
    fn settle_group(&mut self, now: Timestamp, id: Uuid, done: bool) {
        let Some(order) = self.book.get(id) else { return };
        let leaves = order.leaves_qty();
        let is_entry = order.parent.is_none() && matches!(order.class, OrderClass::Bracket | OrderClass::Oto);
        let others = self.relatives(order);
        if is_entry {
            if done {
                for child in others {
                    self.activate(now, child);
                }
            }
            return;
        }
        for other in others {
            if done {
                self.end(now, other, Status::Canceled);
            } else {
                // What one exit has closed, the other need not close again.
                self.book.update(other, now, |order| {
                    order.qty = Some(order.filled_qty + order.carried_qty + leaves)
                });
            }
        }
    }

    /// A waiting child starts to work.
    pub(crate) fn activate(&mut self, now: Timestamp, id: Uuid) {
        if self
            .book
            .get(id)
            .is_some_and(|order| order.status == Status::Held)
        {
            self.set_status(now, id, Status::New);
            self.book.update(id, now, |order| order.working = true);
            self.report(now, EventKind::New, id);
            self.plan(now, Step::Match, id);
        }
    }

    /// The live orders that share this one's fate; none for simple orders.
    fn relatives(&self, order: &Order) -> Vec<Uuid> {
        let head = order.parent.unwrap_or(order.id);
        match order.class {
            OrderClass::Simple | OrderClass::Mleg => return Vec::new(),
            OrderClass::Bracket | OrderClass::Oco | OrderClass::Oto => {}
        }
        let Some(parent) = self.book.get(head) else {
            return Vec::new();
        };
        let members = std::iter::once(&parent.id).chain(&parent.legs);
        let live = |id: &&Uuid| {
            self.book
                .get(**id)
                .is_some_and(|member| !member.status.is_terminal())
        };
        members
            .filter(|member| **member != order.id)
            .filter(live)
            .copied()
            .collect()
    }

    /// Ends an order that is still live, and with it the orders it came with.
    pub(crate) fn end_group(&mut self, now: Timestamp, id: Uuid, status: Status) {
        let Some(order) = self.book.get(id).filter(|order| !order.status.is_terminal()) else {
            return;
        };
        let others = self.relatives(order);
        // The market rejects one order; what came with it is canceled.
        let shared = if status == Status::Rejected {
            Status::Canceled
        } else {
            status
        };
        self.end(now, id, status);
        for other in others {
            self.end(now, other, shared);
        }
    }

    pub(crate) fn end(&mut self, now: Timestamp, id: Uuid, status: Status) {
        let Some(order) = self.book.get(id).filter(|order| !order.status.is_terminal()) else {
            return;
        };
        let legs = if order.is_mleg_parent() {
            order.legs.clone()
        } else {
            Vec::new()
        };
        let kind = match status {
            Status::Expired => EventKind::Expired,
            Status::Rejected => EventKind::Rejected,
            Status::Replaced => EventKind::Replaced,
            Status::Canceled
            | Status::Accepted
            | Status::PendingNew
            | Status::New
            | Status::Held
            | Status::PartiallyFilled
            | Status::PendingCancel
            | Status::PendingReplace
            | Status::Filled => EventKind::Canceled,
        };
        for ended in legs.into_iter().chain([id]) {
            self.set_status(now, ended, status);
        }
        self.report(now, kind, id);
    }

    /// Sets the status of an order, its legs and the moment that goes with it.
    pub(crate) fn set_status(&mut self, now: Timestamp, id: Uuid, status: Status) {
        let legs = self
            .book
            .get(id)
            .filter(|order| order.is_mleg_parent())
            .map(|order| order.legs.clone());
        for member in legs.into_iter().flatten().chain([id]) {
            self.book.update(member, now, |order| {
                if order.status.is_terminal() {
                    return;
                }
                order.status = status;
                let moment = match status {
                    Status::Canceled => &mut order.canceled_at,
                    Status::Expired => &mut order.expired_at,
                    Status::Rejected => &mut order.failed_at,
                    Status::Replaced => &mut order.replaced_at,
                    Status::Accepted
                    | Status::PendingNew
                    | Status::New
                    | Status::Held
                    | Status::PartiallyFilled
                    | Status::PendingCancel
                    | Status::PendingReplace
                    | Status::Filled => return,
                };
                *moment = Some(now);
            });
        }
    }

    pub(crate) fn report(&mut self, now: Timestamp, kind: EventKind, id: Uuid) {
        self.report_with(now, kind, id, None);
    }

    fn report_with(&mut self, now: Timestamp, kind: EventKind, id: Uuid, execution: Option<Execution>) {
        let Some(view) = self.book.view(id) else { return };
        let execution_id = match kind {
            EventKind::PendingNew | EventKind::Accepted => None,
            EventKind::New
            | EventKind::PartialFill
            | EventKind::Fill
            | EventKind::Canceled
            | EventKind::Expired
            | EventKind::Replaced
            | EventKind::Rejected
            | EventKind::OrderReplaceRejected => Some(self.chance.uuid()),
        };
        self.reported += 1;
        let event_id = ulid(now, self.reported, self.chance.draw());
        self.events.push(Event {
            event_id,
            execution_id,
            kind,
            at: now,
            view,
            execution,
        });
    }
}
