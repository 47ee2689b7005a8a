//! What was missed, told from what the venue remembers. Pure: no clock, no I/O.
//!
//! The venue remembers orders as they are now, and fills; of the events in between (`pending_cancel`, a refused
//! replace) nothing is left, and nothing is made up. From an order that is alive and of which nothing was told, or
//! only that it was on its way, comes its `new`; from the fills, in the order of their cumulative quantity because the listing's order is not
//! reliable, each fill; from an order that is over, how it ended.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::sequence::{Sequence, Verdict};
use crate::domain::execution::OrderClass;
use crate::domain::{ExecutionReport, FillActivity, Order, OrderId, OrderStatus};

/// What the venue remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Orders as they are now, oldest first, each once.
    pub(super) orders: Vec<Order>,
    /// Fills, in any order.
    pub(super) fills: Vec<FillActivity>,
    /// Orders submitted before this instant had their beginning told, or began before us.
    pub(super) since: Timestamp,
}

impl Memory {
    /// What of this was not told, in the order it happened; each order's events in the order of its life. `now`
    /// stands in for times the venue left out.
    pub(super) fn untold(&self, sequence: &Sequence, now: Timestamp) -> Vec<ExecutionReport> {
        let mut untold = Vec::new();
        let mut fills = self.fills_by_order();
        for order in &self.orders {
            let fills = order.id.and_then(|id| fills.remove(&id)).unwrap_or_default();
            if is_leg(order) {
                continue; // told by its parent, as in the stream
            }
            let mut latest = Timestamp::MIN;
            for report in self.life(order, &fills, sequence, now) {
                latest = latest.max(report.timestamp);
                untold.push((latest, report));
            }
        }
        for (id, fills) in fills {
            // The venue's fills are true even where its orders are silent.
            let order = order_of(id, &fills);
            let reports = self.life(&order, &fills, sequence, now);
            untold.extend(reports.into_iter().map(|report| (report.timestamp, report)));
        }
        untold.sort_by_key(|(at, _)| *at); // stable, so an order's own events stay in order
        untold.into_iter().map(|(_, report)| report).collect()
    }

    /// Whether an order says more is filled than its fills account for: the book of fills lags behind.
    pub(super) fn fills_lag(&self, sequence: &Sequence) -> bool {
        let fills = self.fills_by_order();
        self.orders.iter().any(|order| {
            let Some(id) = order.id.filter(|_| !tells_no_fills(order)) else {
                return false;
            };
            let booked = fills.get(&id).and_then(|fills| fills.last_key_value());
            let booked = booked.map_or(Decimal::ZERO, |(cum_qty, _)| *cum_qty);
            booked.max(sequence.filled(id)) < order.filled_qty
        })
    }

    /// Orders the fills name and the list of orders does not.
    pub(super) fn orders_wanted(&self) -> Vec<OrderId> {
        let mut fills = self.fills_by_order();
        for id in self.orders.iter().filter_map(|order| order.id) {
            fills.remove(&id);
        }
        fills.into_keys().collect()
    }

    fn fills_by_order(&self) -> BTreeMap<OrderId, Fills<'_>> {
        let mut orders = BTreeMap::<OrderId, Fills<'_>>::new();
        for fill in &self.fills {
            let of_order = orders.entry(fill.order_id).or_default();
            of_order.insert(fill.cum_qty.normalize(), fill);
        }
        orders
    }

    fn life(
        &self,
        order: &Order,
        fills: &Fills<'_>,
        sequence: &Sequence,
        now: Timestamp,
    ) -> Vec<ExecutionReport> {
        let mut life = Vec::new();
        life.extend(self.beginning(order, sequence, now));
        life.extend(fills.values().map(|fill| filled(order, fill, now)));
        let booked = fills
            .last_key_value()
            .map_or(Decimal::ZERO, |(cum_qty, _)| *cum_qty);
        let known = order.id.map_or(Decimal::ZERO, |id| sequence.filled(id));
        life.extend(unbooked(order, booked.max(known), now));
        life.extend(end(order, now));
        life.retain(|report| sequence.judge(report) == Verdict::News);
        life
    }

    /// The first event of an order that is alive and of which nothing was told, or only that it was on its way.
    fn beginning(&self, order: &Order, sequence: &Sequence, now: Timestamp) -> Option<ExecutionReport> {
        let submitted = order.submitted_at.or(order.created_at)?;
        let id = order.id?;
        let is_unknown = sequence.is_silent_on(id) && submitted >= self.since;
        if !is_unknown && !sequence.is_on_its_way(id) {
            return None;
        }
        let status = match &order.status {
            OrderStatus::New
            | OrderStatus::PartiallyFilled
            | OrderStatus::PendingCancel
            | OrderStatus::PendingReplace
            | OrderStatus::DoneForDay => OrderStatus::New,
            OrderStatus::Accepted => OrderStatus::Accepted,
            OrderStatus::PendingNew => OrderStatus::PendingNew,
            // Over, or in a state of which it is not known how it was come by; a `new` made up now would hide the
            // true one later.
            OrderStatus::Filled
            | OrderStatus::Canceled
            | OrderStatus::Expired
            | OrderStatus::Rejected
            | OrderStatus::Replaced
            | OrderStatus::Held
            | OrderStatus::Other(_) => return None,
        };
        let event = status.as_str().to_owned();
        let order = Order {
            filled_qty: Decimal::ZERO,
            filled_avg_price: None,
            ..alive(order, status)
        };
        Some(recovered(event, submitted, order, now))
    }
}

/// One order's fills by cumulative quantity.
type Fills<'a> = BTreeMap<Decimal, &'a FillActivity>;

/// Whether this is a leg of a multi-leg order. The stream tells of the parent only, which alone has no symbol.
fn is_leg(order: &Order) -> bool {
    order.order_class == Some(OrderClass::MultiLeg) && order.symbol.is_some()
}

/// The book has the fills of the legs, not those of a multi-leg order as a whole.
fn tells_no_fills(order: &Order) -> bool {
    order.order_class == Some(OrderClass::MultiLeg)
}

/// A fill from the book, joined to its order.
fn filled(order: &Order, fill: &FillActivity, now: Timestamp) -> ExecutionReport {
    let status = match fill.event.as_str() {
        "fill" => OrderStatus::Filled,
        _ => OrderStatus::PartiallyFilled,
    };
    let filled_avg_price = if fill.cum_qty == fill.last_qty {
        Some(fill.last_px)
    } else {
        // Known of the latest fill only; that of an earlier one is not remembered.
        order
            .filled_avg_price
            .filter(|_| order.filled_qty == fill.cum_qty)
    };
    let snapshot = Order {
        filled_qty: fill.cum_qty,
        filled_avg_price,
        filled_at: Some(fill.transaction_time),
        updated_at: Some(fill.transaction_time),
        ..alive(order, status)
    };
    ExecutionReport {
        last_px: Some(fill.last_px),
        last_qty: Some(fill.last_qty),
        ..recovered(fill.event.clone(), fill.transaction_time, snapshot, now)
    }
}

/// What the order says is filled above what its fills account for, told as one fill. Its price is known only when it
/// is all there is.
fn unbooked(order: &Order, booked: Decimal, now: Timestamp) -> Option<ExecutionReport> {
    let last_qty = order.filled_qty - booked;
    if last_qty <= Decimal::ZERO {
        return None;
    }
    let (event, status) = if order.status == OrderStatus::Filled {
        ("fill", OrderStatus::Filled)
    } else {
        ("partial_fill", OrderStatus::PartiallyFilled)
    };
    let at = order.filled_at.or(order.updated_at).unwrap_or(now);
    Some(ExecutionReport {
        last_px: order.filled_avg_price.filter(|_| booked.is_zero()),
        last_qty: Some(last_qty),
        ..recovered(event.to_owned(), at, alive(order, status), now)
    })
}

/// How an order ended. That it was filled is told by its last fill.
fn end(order: &Order, now: Timestamp) -> Option<ExecutionReport> {
    let at = match &order.status {
        OrderStatus::Canceled => order.canceled_at,
        OrderStatus::Expired => order.expired_at,
        OrderStatus::Rejected => order.failed_at,
        OrderStatus::Replaced => order.replaced_at,
        OrderStatus::Filled
        | OrderStatus::Accepted
        | OrderStatus::PendingNew
        | OrderStatus::New
        | OrderStatus::Held
        | OrderStatus::PartiallyFilled
        | OrderStatus::PendingCancel
        | OrderStatus::PendingReplace
        | OrderStatus::DoneForDay
        | OrderStatus::Other(_) => return None,
    };
    let at = at.or(order.updated_at).unwrap_or(now);
    let event = order.status.as_str().to_owned();
    Some(recovered(event, at, order.clone(), now))
}

fn recovered(event: String, timestamp: Timestamp, order: Order, now: Timestamp) -> ExecutionReport {
    ExecutionReport {
        event,
        at: now,
        timestamp,
        event_id: None,
        execution_id: None,
        order,
        position_qty: None,
        last_px: None,
        last_qty: None,
        reason: None,
        recovered: true,
    }
}

/// The order as it was before it ended.
fn alive(order: &Order, status: OrderStatus) -> Order {
    Order {
        status,
        canceled_at: None,
        expired_at: None,
        failed_at: None,
        replaced_at: None,
        replaced_by: None,
        ..order.clone()
    }
}

/// An order of which nothing is left but its fills.
fn order_of(id: OrderId, fills: &Fills<'_>) -> Order {
    let last = fills.values().next_back();
    let at = last.map_or(Timestamp::UNIX_EPOCH, |fill| fill.transaction_time);
    let symbol = last.map(|fill| fill.symbol.clone());
    Order {
        id: Some(id),
        asset_class: symbol
            .as_ref()
            .map_or(crate::domain::AssetClass::Other, |symbol| symbol.asset_class()),
        symbol,
        status: OrderStatus::PartiallyFilled,
        created_at: None,
        submitted_at: None,
        failed_at: None,
        ..Order::refused("", None, at)
    }
}

/// Orders by id, the later snapshot of each, in the order they were first listed.
pub(super) fn latest(snapshots: impl IntoIterator<Item = Order>) -> Vec<Order> {
    let mut places = HashMap::new();
    let mut orders: Vec<Order> = Vec::new();
    for order in snapshots {
        match order.id.and_then(|id| places.get(&id).copied()) {
            Some(place) => orders[place] = order,
            None => {
                if let Some(id) = order.id {
                    places.insert(id, orders.len());
                }
                orders.push(order);
            }
        }
    }
    orders
}

#[cfg(test)]
mod tests;
