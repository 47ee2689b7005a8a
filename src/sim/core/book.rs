//! Every order ever taken, and the indexes that keep the cost of one order independent of history: what is open, ids by
//! client id, and the buying power all open orders hold.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::event::OrderView;
use super::order::Order;
use super::standing::{Share, Standing};

#[derive(Debug, Default)]
pub(crate) struct Book {
    orders: HashMap<Uuid, Order>,
    by_client_order_id: HashMap<String, Uuid>,
    /// Every order in the order of submission; an order's `sequence` is its place here.
    submitted: Vec<Uuid>,
    open: BTreeMap<u64, Uuid>,
    /// What the open orders of each symbol mean for the next one.
    standing: HashMap<String, Standing>,
    held: Decimal,
}

impl Book {
    pub(crate) fn next_sequence(&self) -> u64 {
        self.submitted.len() as u64
    }

    pub(crate) fn insert(&mut self, order: Order) {
        self.by_client_order_id
            .insert(order.client_order_id.clone(), order.id);
        self.submitted.push(order.id);
        self.held += order.hold();
        if !order.is_leg_of_mleg() {
            self.open.insert(order.sequence, order.id);
        }
        if let Some(share) = Share::of(&order) {
            self.standing
                .entry(order.symbol.clone())
                .or_default()
                .add(&order, share);
        }
        self.orders.insert(order.id, order);
    }

    /// The one way to change an order: keeps the indexes true and the status machine honest.
    pub(crate) fn update(&mut self, id: Uuid, now: Timestamp, change: impl FnOnce(&mut Order)) {
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        let (status, hold, share) = (order.status, order.hold(), Share::of(order));
        change(order);
        order.updated_at = now;
        debug_assert!(
            status == order.status || status.may_become(order.status),
            "{status:?} may not become {:?}",
            order.status
        );
        self.held += order.hold() - hold;
        if order.status.is_terminal() {
            self.open.remove(&order.sequence);
        }
        let changed = Share::of(order);
        if changed == share {
            return;
        }
        let standing = self.standing.entry(order.symbol.clone()).or_default();
        if let Some(share) = share {
            standing.remove(order, share);
        }
        if let Some(share) = changed {
            standing.add(order, share);
        }
        if standing.is_empty() {
            self.standing.remove(&order.symbol);
        }
    }

    /// What [`Self::standing`] should say of each symbol, counted anew.
    #[cfg(test)]
    pub(crate) fn recounted(&self) -> HashMap<String, Standing> {
        let mut standing: HashMap<String, Standing> = HashMap::new();
        for order in self.orders.values() {
            if let Some(share) = Share::of(order) {
                standing
                    .entry(order.symbol.clone())
                    .or_default()
                    .add(order, share);
            }
        }
        standing.retain(|_, standing| !standing.is_empty());
        standing
    }

    /// What the open orders of a symbol mean for the next one; nothing when there are none.
    pub(crate) fn standing(&self, symbol: &str) -> Option<&Standing> {
        self.standing.get(symbol)
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&Order> {
        self.orders.get(&id)
    }

    pub(crate) fn by_client_order_id(&self, client_order_id: &str) -> Option<&Order> {
        self.by_client_order_id
            .get(client_order_id)
            .and_then(|id| self.orders.get(id))
    }

    /// The order with its children or legs.
    pub(crate) fn view(&self, id: Uuid) -> Option<OrderView> {
        let order = self.orders.get(&id)?.clone();
        let legs = order
            .legs
            .iter()
            .filter_map(|leg| self.orders.get(leg))
            .cloned()
            .collect();
        Some(OrderView { order, legs })
    }

    /// Buying power held by open orders.
    pub(crate) fn held(&self) -> Decimal {
        self.held
    }

    /// Open orders, oldest first.
    pub(crate) fn open(&self) -> impl DoubleEndedIterator<Item = &Order> {
        self.open.values().filter_map(|id| self.orders.get(id))
    }

    /// Every order, oldest first.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Order> + ExactSizeIterator {
        // The map holds every id of the list: both grow in `insert` alone and never shrink.
        self.submitted.iter().map(|id| &self.orders[id])
    }

    /// Orders submitted strictly between the two moments, oldest first.
    pub(crate) fn between(
        &self,
        after: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> impl DoubleEndedIterator<Item = &Order> {
        let at = |id: &Uuid| self.orders[id].submitted_at;
        let from = after.map_or(0, |after| self.submitted.partition_point(|id| at(id) <= after));
        let to = until.map_or(self.submitted.len(), |until| {
            self.submitted.partition_point(|id| at(id) < until)
        });
        self.submitted
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .map(|id| &self.orders[id])
    }
}
