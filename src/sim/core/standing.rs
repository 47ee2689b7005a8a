//! What the open orders of one symbol mean for the next one: whom it could meet, what they open, and what they keep.
//!
//! Kept up to date order by order, so that judging a new order does not mean looking at every open one.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use uuid::Uuid;

use super::exchange::is_limited;
use super::order::{Order, OrderClass, OrderType, PositionIntent, Side, Status};

/// Open orders of one symbol, as far as others care.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Standing {
    buys: Half,
    sells: Half,
}

/// One side of it.
#[derive(Debug, Default, PartialEq)]
struct Half {
    /// Orders that may meet an opposite one: at their limit, or at any price.
    limited: BTreeSet<(Decimal, u64, Uuid)>,
    unlimited: BTreeMap<u64, Uuid>,
    /// How many orders would open a position.
    opening: usize,
    /// Units that plain closing orders keep.
    kept: Decimal,
    /// Closing orders that share what they keep, or whose size depends on the price.
    sharing: BTreeMap<u64, Uuid>,
}

/// What one order, as it is now, adds to its side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    side: Side,
    meets: Option<Meets>,
    opens: bool,
    keeps: Option<Keeps>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Meets {
    AtLimit(Decimal),
    Anywhere,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Keeps {
    Units(Decimal),
    Shared,
}

impl Share {
    /// Nothing for an order that is over, or that has no side of its own.
    pub(crate) fn of(order: &Order) -> Option<Self> {
        let side = order
            .side
            .filter(|_| !order.status.is_terminal() && !order.is_leg_of_mleg())?;
        let is_open = matches!(
            order.position_intent,
            Some(PositionIntent::BuyToOpen | PositionIntent::SellToOpen)
        );
        let exempt = order.class != OrderClass::Simple || order.order_type == Some(OrderType::TrailingStop);
        let meets = order
            .order_type
            .filter(|_| !exempt)
            .map(|order_type| match order.limit_price {
                Some(limit) if is_limited(order_type) => Meets::AtLimit(limit),
                Some(_) | None => Meets::Anywhere,
            });
        // A replacement keeps nothing until it takes over: its predecessor still does.
        let waits = order.status == Status::Held || (order.replaces.is_some() && !order.working);
        let keeps = (!is_open && !waits).then(|| match (order.class, order.qty) {
            (OrderClass::Simple | OrderClass::Mleg, Some(_)) => Keeps::Units(order.leaves_qty()),
            (_, _) => Keeps::Shared,
        });
        Some(Self {
            side,
            meets,
            opens: is_open && order.status != Status::Held,
            keeps,
        })
    }
}

impl Standing {
    pub(crate) fn add(&mut self, order: &Order, share: Share) {
        let half = self.half_mut(share.side);
        match share.meets {
            Some(Meets::AtLimit(limit)) => drop(half.limited.insert((limit, order.sequence, order.id))),
            Some(Meets::Anywhere) => drop(half.unlimited.insert(order.sequence, order.id)),
            None => {}
        }
        half.opening += usize::from(share.opens);
        match share.keeps {
            Some(Keeps::Units(qty)) => half.kept += qty,
            Some(Keeps::Shared) => drop(half.sharing.insert(order.sequence, order.id)),
            None => {}
        }
    }

    pub(crate) fn remove(&mut self, order: &Order, share: Share) {
        let half = self.half_mut(share.side);
        match share.meets {
            Some(Meets::AtLimit(limit)) => drop(half.limited.remove(&(limit, order.sequence, order.id))),
            Some(Meets::Anywhere) => drop(half.unlimited.remove(&order.sequence)),
            None => {}
        }
        half.opening -= usize::from(share.opens);
        match share.keeps {
            Some(Keeps::Units(qty)) => half.kept -= qty,
            Some(Keeps::Shared) => drop(half.sharing.remove(&order.sequence)),
            None => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let is_empty = |half: &Half| {
            half.limited.is_empty()
                && half.unlimited.is_empty()
                && half.opening == 0
                && half.kept.is_zero()
                && half.sharing.is_empty()
        };
        is_empty(&self.buys) && is_empty(&self.sells)
    }

    /// An open order on the other side that a new one could trade with; a new order without a limit meets every one.
    pub(crate) fn counterparty(&self, side: Side, limit: Option<Decimal>) -> Option<Uuid> {
        let other = self.half(side.opposite());
        if let Some(id) = other.unlimited.values().next() {
            return Some(*id);
        }
        let best = match side {
            Side::Buy => other.limited.first(),
            Side::Sell => other.limited.last(),
        };
        let crosses = |existing: Decimal| match (side, limit) {
            (_, None) => true,
            (Side::Buy, Some(limit)) => limit >= existing,
            (Side::Sell, Some(limit)) => existing >= limit,
        };
        best.filter(|(existing, ..)| crosses(*existing))
            .map(|(.., id)| *id)
    }

    /// Would any order of this side open a position?
    pub(crate) fn opens(&self, side: Side) -> bool {
        self.half(side).opening > 0
    }

    /// Units that plain closing orders of this side keep, and the orders whose share must be worked out.
    pub(crate) fn keeps(&self, side: Side) -> (Decimal, impl Iterator<Item = Uuid>) {
        let half = self.half(side);
        (half.kept, half.sharing.values().copied())
    }

    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Buy => &self.buys,
            Side::Sell => &self.sells,
        }
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        }
    }
}
