//! The orders of the account as one shared value: those that are open, and those that ended lately.
//!
//! Told of by the desk when the venue takes an order and by the drop copy of everything else, placed elsewhere or not, so
//! it is complete whenever the gateway is not blind. Reading is a look at memory: whoever judges an order before its POST
//! cannot wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::domain::order::Side;
use crate::domain::{ExecutionReport, Order, OrderId, Strategy, Symbol};

/// Orders that have ended and are remembered.
const ENDED_MAX: usize = 1000;

/// How long a fill is remembered: longer than the positions take to show it, and two of their reads.
const FILL_MEMORY: SignedDuration = SignedDuration::from_mins(2);

/// Room for fills that is never given back.
const FILLS_ROOM: usize = 1024;

/// The orders. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Blotter(Arc<Mutex<Orders>>);

#[derive(Debug, Default)]
struct Orders {
    by_id: HashMap<OrderId, Arc<Order>>,
    /// How many orders go by a client order id.
    by_client: HashMap<String, u32>,
    /// Those that have ended, in the order they did.
    ended: VecDeque<OrderId>,
    fills: VecDeque<Fill>,
    /// What answers of the venue's said is filled, and the drop copy has not told yet. Mostly nothing.
    presumed: Vec<(OrderId, Fill)>,
    /// Everything the venue did until then has been told.
    as_of: Option<Timestamp>,
}

/// A fill, which the positions may not show yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// What was traded.
    pub symbol: Symbol,
    /// More of it, or less.
    pub signed_qty: Decimal,
    /// When it was heard, by our clock.
    pub at: Timestamp,
}

/// Which orders are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that are open, those that have ended, or both.
    pub standing: Standing,
    /// Only those whose client order id begins with this token.
    pub strategy: Option<Strategy>,
    /// Only those of this symbol.
    pub symbol: Option<Symbol>,
}

/// Whether an order works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It may be filled.
    #[default]
    Open,
    /// It has ended.
    Closed,
    /// Either.
    All,
}

impl Filter {
    fn lets_pass(&self, order: &Order) -> bool {
        let standing = match self.standing {
            Standing::Open => !order.status.is_terminal(),
            Standing::Closed => order.status.is_terminal(),
            Standing::All => true,
        };
        let is_of = |strategy: &Strategy| Strategy::of(&order.client_order_id).as_ref() == Some(strategy);
        standing
            && self.strategy.as_ref().is_none_or(is_of)
            && self
                .symbol
                .as_ref()
                .is_none_or(|symbol| order.symbol.as_ref() == Some(symbol))
    }
}

impl Orders {
    fn forget_client(&mut self, client_order_id: &str) {
        if let Some(count) = self.by_client.get_mut(client_order_id) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(client_order_id);
            }
        }
    }
}

impl Blotter {
    /// Forgets everything: it will be told anew.
    pub fn forget(&self) {
        *self.orders() = Orders::default();
    }

    /// Everything the venue did until this instant of our clock has been told.
    pub fn is_as_of(&self, at: Timestamp) {
        let mut orders = self.orders();
        orders.as_of = orders.as_of.max(Some(at));
    }

    /// Takes note of an order as the venue has it. What ended does not live again. `corrects`: a fill was taken back.
    pub fn tell(&self, order: &Order, corrects: bool) {
        let Some(id) = order.id else { return };
        let mut orders = self.orders();
        let told = Arc::new(order.clone());
        let (order, had_ended) = match orders.by_id.remove(&id) {
            Some(known) => {
                let had_ended = known.status.is_terminal();
                let later = if corrects {
                    known.corrected_by(told)
                } else {
                    known.or_later(told)
                };
                (later, had_ended)
            }
            None => {
                *orders.by_client.entry(told.client_order_id.clone()).or_default() += 1;
                (told, false)
            }
        };
        if order.status.is_terminal() && !had_ended {
            orders.ended.push_back(id);
        }
        orders.by_id.insert(id, order);
        while orders.ended.len() > ENDED_MAX {
            if let Some(oldest) = orders.ended.pop_front()
                && let Some(order) = orders.by_id.remove(&oldest)
            {
                orders.forget_client(&order.client_order_id);
            }
        }
    }

    /// Takes note of an order as an answer of the venue's has it. What is filled of it and was not told as a fill counts as
    /// one until it is; what was filled longer ago stands in the positions.
    pub fn tell_answer(&self, order: &Order, now: Timestamp) {
        let forgotten = now.saturating_sub(FILL_MEMORY).unwrap_or(Timestamp::MIN);
        if let Some(id) = order.id
            && order.updated_at.is_none_or(|at| at >= forgotten)
        {
            let mut orders = self.orders();
            let told = orders.by_id.get(&id).map(|known| known.filled_qty);
            let untold = order.filled_qty.saturating_sub(told.unwrap_or_default());
            orders.presumed.retain(|(_, fill)| fill.at >= forgotten);
            if untold > Decimal::ZERO {
                let fills = traded(order, untold, now);
                orders.presumed.extend(fills.map(|fill| (id, fill)));
            }
        }
        self.tell(order, false);
    }

    /// Takes note of a fill that was heard.
    pub fn tell_fill(&self, report: &ExecutionReport) {
        let Some(qty) = report.last_qty else { return };
        let order = &report.order;
        let mut orders = self.orders();
        let at = report.at;
        let forgotten = at.saturating_sub(FILL_MEMORY).unwrap_or(Timestamp::MIN);
        while orders.fills.front().is_some_and(|fill| fill.at < forgotten) {
            orders.fills.pop_front();
        }
        // A burst makes room for itself, which a ring would go through from end to end for ever.
        let (room, kept) = (orders.fills.capacity(), orders.fills.len());
        if room > FILLS_ROOM && kept < room / 4 {
            orders.fills.shrink_to(kept * 2);
        }
        for fill in traded(order, qty, at) {
            let mut told = fill.signed_qty.abs();
            orders.presumed.retain_mut(|(id, presumed)| {
                if order.id == Some(*id) && presumed.symbol.same_instrument(&fill.symbol) {
                    let qty = presumed.signed_qty.abs();
                    let left = qty.saturating_sub(told).max(Decimal::ZERO);
                    told = told.saturating_sub(qty).max(Decimal::ZERO);
                    // The two are of one order, so of one side.
                    let is_sold = presumed.signed_qty.is_sign_negative();
                    presumed.signed_qty = if is_sold { -left } else { left };
                }
                !presumed.signed_qty.is_zero() && presumed.at >= forgotten
            });
            orders.fills.push_back(fill);
        }
    }

    /// Orders that pass the filter, the latest first, at most so many; and whether there are more.
    pub fn list(&self, filter: &Filter, limit: usize) -> (Vec<Order>, bool) {
        let orders = self.orders();
        let mut found: Vec<_> = orders
            .by_id
            .values()
            .filter(|order| filter.lets_pass(order))
            .collect();
        found.sort_by_key(|order| {
            let submitted = order.submitted_at.or(order.created_at);
            (std::cmp::Reverse(submitted), order.id)
        });
        let more = found.len() > limit;
        (
            found
                .into_iter()
                .take(limit)
                .map(|order| order.as_ref().clone())
                .collect(),
            more,
        )
    }

    /// One order by the venue's id.
    pub fn order(&self, id: OrderId) -> Option<Order> {
        self.orders().by_id.get(&id).map(|order| order.as_ref().clone())
    }

    /// Whether an order goes by this client order id.
    pub fn knows(&self, client_order_id: &str) -> bool {
        self.orders().by_client.contains_key(client_order_id)
    }

    /// Reads every open order, and the fills heard since an instant.
    pub fn read<T>(&self, since: Timestamp, with: impl FnOnce(&[&Order], &[&Fill]) -> T) -> T {
        let orders = self.orders();
        let open: Vec<&Order> = orders
            .by_id
            .values()
            .map(AsRef::as_ref)
            .filter(|order: &&Order| !order.status.is_terminal())
            .collect();
        let presumed = orders.presumed.iter().map(|(_, fill)| fill);
        let fills = orders.fills.iter().chain(presumed);
        let fills: Vec<&Fill> = fills.filter(|fill| fill.at >= since).collect();
        with(&open, &fills)
    }

    /// Until when everything the venue did has been told, by our clock. `None`: nothing was yet.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.orders().as_of
    }

    /// Nothing that can panic happens under this lock.
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What so many units of an order trade. One of several legs has no symbol; each unit of it trades so many of each leg.
fn traded(order: &Order, units: Decimal, at: Timestamp) -> impl Iterator<Item = Fill> {
    let legs = order.legs.iter().filter(|_| order.symbol.is_none());
    let legs = legs.map(|leg| {
        (
            leg.symbol.as_ref(),
            leg.side,
            leg.ratio_qty.unwrap_or(Decimal::ONE),
        )
    });
    let all = legs.chain([(order.symbol.as_ref(), order.side, Decimal::ONE)]);
    all.filter_map(move |(symbol, side, ratio)| {
        let qty = units.checked_mul(ratio)?;
        Some(Fill {
            symbol: symbol?.clone(),
            signed_qty: match side? {
                Side::Buy => qty,
                Side::Sell => -qty,
            },
            at,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OrderStatus;

    fn order(number: u128, id: &str, status: OrderStatus, second: i64) -> Order {
        let at = Timestamp::from_second(second).unwrap();
        Order {
            id: Some(OrderId::from_uuid(uuid::Uuid::from_u128(number))),
            symbol: Some(Symbol::parse("AAPL").unwrap()),
            side: Some(Side::Buy),
            status,
            ..Order::refused(id, None, at)
        }
    }

    fn ids(listed: (Vec<Order>, bool)) -> Vec<String> {
        listed.0.into_iter().map(|order| order.client_order_id).collect()
    }

    #[test]
    fn what_ended_does_not_live_again_and_the_latest_is_told_first() {
        let blotter = Blotter::default();
        blotter.tell(&order(1, "m.1", OrderStatus::New, 10), false);
        blotter.tell(&order(2, "n.1", OrderStatus::New, 20), false);
        blotter.tell(&order(1, "m.1", OrderStatus::Canceled, 10), false);
        blotter.tell(&order(1, "m.1", OrderStatus::New, 10), false);
        let of = |standing| Filter {
            standing,
            ..Filter::default()
        };
        assert_eq!(ids(blotter.list(&of(Standing::Open), 9)), ["n.1"]);
        assert_eq!(ids(blotter.list(&of(Standing::Closed), 9)), ["m.1"]);
        assert_eq!(ids(blotter.list(&of(Standing::All), 9)), ["n.1", "m.1"]);
        assert!(blotter.list(&of(Standing::All), 1).1, "there are more");
        let of_m = Filter {
            standing: Standing::All,
            strategy: Some(Strategy::new("m")),
            symbol: None,
        };
        assert_eq!(ids(blotter.list(&of_m, 9)), ["m.1"]);
        blotter.forget();
        assert_eq!(blotter.as_of(), None);
        assert!(ids(blotter.list(&of(Standing::All), 9)).is_empty());
    }

    #[test]
    fn only_so_many_that_ended_are_remembered_and_every_open_one() {
        let blotter = Blotter::default();
        blotter.tell(&order(1, "open", OrderStatus::New, 1), false);
        for number in 0..ENDED_MAX + 50 {
            let number = u128::try_from(number).unwrap() + 10;
            blotter.tell(&order(number, "ended", OrderStatus::Filled, 2), false);
            blotter.tell(&order(number, "ended", OrderStatus::Filled, 2), false);
        }
        let all = Filter {
            standing: Standing::All,
            ..Filter::default()
        };
        assert_eq!(blotter.list(&all, usize::MAX).0.len(), ENDED_MAX + 1);
        assert_eq!(ids(blotter.list(&Filter::default(), 9)), ["open"]);
    }

    #[test]
    fn a_fill_of_several_legs_is_one_of_each() {
        let blotter = Blotter::default();
        let leg = |symbol: &str, side, ratio| Order {
            symbol: Some(Symbol::parse(symbol).unwrap()),
            side: Some(side),
            ratio_qty: Some(Decimal::from(ratio)),
            ..order(0, "leg", OrderStatus::New, 10)
        };
        let (near, far) = ("AAPL261218C00200000", "AAPL261218C00210000");
        let spread = Order {
            symbol: None,
            side: None,
            legs: vec![leg(near, Side::Buy, 1), leg(far, Side::Sell, 2)],
            ..order(1, "m.1", OrderStatus::PartiallyFilled, 10)
        };
        let at = Timestamp::from_second(20).unwrap();
        blotter.tell_fill(&ExecutionReport {
            event: "partial_fill".to_owned(),
            at,
            timestamp: at,
            event_id: None,
            execution_id: None,
            order: spread,
            position_qty: None,
            last_px: None,
            last_qty: Some(Decimal::from(3)),
            reason: None,
            recovered: false,
        });
        let fills = blotter.read(at, |_, fills| {
            let told = fills
                .iter()
                .map(|fill| (fill.symbol.to_string(), fill.signed_qty));
            told.collect::<Vec<_>>()
        });
        let expected = [(near, 3), (far, -6)].map(|(symbol, qty)| (symbol.to_owned(), Decimal::from(qty)));
        assert_eq!(fills, expected);
    }

    #[test]
    fn the_room_of_a_burst_of_fills_is_given_back() {
        let blotter = Blotter::default();
        let fill = |second: i64| {
            let at = Timestamp::from_second(second).unwrap();
            blotter.tell_fill(&ExecutionReport {
                event: "fill".to_owned(),
                at,
                timestamp: at,
                event_id: None,
                execution_id: None,
                order: Order {
                    symbol: Some(Symbol::parse("AAPL").unwrap()),
                    side: Some(Side::Buy),
                    ..order(1, "m.1", OrderStatus::Filled, 10)
                },
                position_qty: None,
                last_px: None,
                last_qty: Some(Decimal::ONE),
                reason: None,
                recovered: false,
            });
        };
        for _ in 0..40 * FILLS_ROOM {
            fill(20);
        }
        assert_eq!(
            blotter.orders().fills.len(),
            40 * FILLS_ROOM,
            "all are remembered"
        );
        fill(20 + FILL_MEMORY.as_secs() + 1);
        let orders = blotter.orders();
        assert_eq!(orders.fills.len(), 1);
        assert!(
            orders.fills.capacity() <= FILLS_ROOM,
            "{}",
            orders.fills.capacity()
        );
    }
}
