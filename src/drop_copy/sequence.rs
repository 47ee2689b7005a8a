//! Has this been told already? Pure: no clock, no I/O.
//!
//! An event's identity is (order, event, filled by then), the same in every source. Fills are remembered as the
//! stretches of an order's quantity they account for, `(before, after]`: the venue calls one fill `partial_fill` in
//! one place and `fill` in another, and a fill that was pieced together from a snapshot may stand for several.
//!
//! Nothing is remembered by asking. What was stored is noted afterwards, so that a task dropped in between forgets
//! nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use rust_decimal::Decimal;

use crate::domain::execution::OrderClass;
use crate::domain::{ExecutionReport, Order, OrderId};
use crate::trial::{self, Bug};

/// What is remembered at most: words and stretches of all orders together, some 13 MB. Past it orders that are over
/// go first, oldest first; the journal's message ids and a search of the journal still know them.
const REMEMBERED_MAX: usize = 100_000;

/// A gap narrower than this is none: the venue cuts quantities off at nine decimals, and sums of them may not add up.
const ROUNDING: Decimal = Decimal::from_parts(1, 0, 0, false, 6);

/// Whether an event is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was not told.
    News,
    /// It was told, here or by another source.
    Repeat,
    /// It would bring back to life an order that is over: the venue repeats an old event.
    Replay,
}

/// What was told of an account's orders.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Boxed: the table has up to four places for each, and grows by copying.
    orders: HashMap<OrderId, Box<Told>>,
    /// Who is forgotten first: orders that are over (`false`) before live ones, each by age.
    by_age: BTreeSet<(bool, u64, OrderId)>,
    orders_met: u64,
    forgotten: u64,
    remembered: usize,
    remembered_max: usize,
}

/// What was told of one order.
#[derive(Debug, Default)]
struct Told {
    number: u64,
    over: bool,
    words: HashSet<(String, Decimal)>,
    /// Sorted, disjoint, not touching.
    filled: Vec<Stretch>,
    /// Sequence of its last message in the journal, 0 for none. Unknown until the journal was asked.
    last: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    before: Decimal,
    after: Decimal,
}

impl Told {
    fn size(&self) -> usize {
        // An order costs something even when nothing is known of it.
        1 + self.words.len() + self.filled.len()
    }

    /// Its place in the order of forgetting.
    fn age(&self, id: OrderId) -> (bool, u64, OrderId) {
        (!self.over, self.number, id)
    }

    fn covers(&self, cum_qty: Decimal) -> bool {
        self.filled
            .iter()
            .any(|stretch| stretch.before < cum_qty && cum_qty <= stretch.after)
    }

    fn cover(&mut self, mut news: Stretch) {
        self.filled.retain(|known| {
            let touches = known.before <= news.after && news.before <= known.after;
            if touches {
                news.before = news.before.min(known.before);
                news.after = news.after.max(known.after);
            }
            !touches
        });
        let at = self.filled.partition_point(|known| known.before < news.before);
        self.filled.insert(at, news);
    }

    /// Takes back what lies above a quantity: the venue corrected a fill.
    fn uncover(&mut self, cum_qty: Decimal) {
        self.filled.retain(|stretch| stretch.before < cum_qty);
        if let Some(last) = self.filled.last_mut() {
            last.after = last.after.min(cum_qty);
        }
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::bounded(REMEMBERED_MAX)
    }
}

impl Sequence {
    fn bounded(remembered_max: usize) -> Self {
        Self {
            orders: HashMap::new(),
            by_age: BTreeSet::new(),
            orders_met: 0,
            forgotten: 0,
            remembered: 0,
            remembered_max,
        }
    }

    /// Whether an event is news. A fill always is, unless that very quantity is accounted for.
    pub(super) fn judge(&self, report: &ExecutionReport) -> Verdict {
        let Some(told) = report.order.id.and_then(|id| self.orders.get(&id)) else {
            return Verdict::News;
        };
        if trial::planted(Bug::KeyedByTimestamp) || trial::planted(Bug::RepeatIsNews) {
            return Verdict::News;
        }
        if trial::planted(Bug::KeyedByQuantity) && report.last_qty.is_some() {
            let known = told
                .words
                .contains(&(report.event.clone(), report.last_qty.unwrap_or_default()));
            return if known { Verdict::Repeat } else { Verdict::News };
        }
        if report.adds_quantity() {
            return if told.covers(report.order.filled_qty) {
                Verdict::Repeat
            } else {
                Verdict::News
            };
        }
        if told.words.contains(&word(report)) {
            return Verdict::Repeat;
        }
        if told.over
            && !trial::planted(Bug::BackFromTheEnd)
            && !report.order.status.is_terminal()
            && !report.is_fill()
        {
            return Verdict::Replay;
        }
        Verdict::News
    }

    /// Whether a fill starts above what is accounted for: one before it was never heard. What a multi-leg order's
    /// fill says of its quantity is not documented, so nothing is concluded from it.
    pub(super) fn leaves_gap(&self, report: &ExecutionReport) -> bool {
        if report.order.order_class == Some(OrderClass::MultiLeg) || trial::planted(Bug::GapIsIgnored) {
            return false;
        }
        let Some(id) = report.order.id.filter(|_| report.adds_quantity()) else {
            return false;
        };
        let before = stretch(report).before;
        report.last_qty.is_some()
            && before > ROUNDING
            && !self.is_accounted_for(id, before)
            && !self.is_accounted_for(id, before - ROUNDING)
    }

    /// Notes an event that is stored.
    pub(super) fn note(&mut self, report: &ExecutionReport) {
        let Some(id) = report.order.id else {
            return; // never at the venue, so the venue never repeats it
        };
        let over = report.order.status.is_terminal();
        self.change(id, |told| {
            told.over |= over;
            if trial::planted(Bug::KeyedByQuantity) && report.last_qty.is_some() {
                told.words
                    .insert((report.event.clone(), report.last_qty.unwrap_or_default()));
            }
            if report.adds_quantity() {
                told.cover(stretch(report));
                return;
            }
            if report.is_fill() {
                told.uncover(report.order.filled_qty);
            }
            told.words.insert(word(report));
        });
    }

    /// How many orders were forgotten for want of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Where the journal's last message of an order is, 0 for nowhere; `None` when that is not known.
    pub(super) fn last_stored(&self, id: OrderId) -> Option<u64> {
        self.orders.get(&id)?.last
    }

    /// Notes where the journal's last message of an order is.
    pub(super) fn note_last(&mut self, id: OrderId, last: Option<u64>) {
        self.change(id, |told| told.last = last);
    }

    /// Notes that everything of an order as it is was told, or is older than we are.
    pub(super) fn settle(&mut self, order: &Order) {
        if let Some(id) = order.id {
            self.remember(id, order.filled_qty);
            self.change(id, |told| {
                if order.status.is_terminal() {
                    told.over = true;
                    // How it ended is an event of that very word.
                    let end = order.status.as_str().to_owned();
                    told.words.insert((end, order.filled_qty));
                }
            });
        }
    }

    /// Notes that an order lives, as far as is known, and that its fills up to a quantity were told.
    pub(super) fn remember(&mut self, id: OrderId, filled: Decimal) {
        self.change(id, |told| {
            if filled > Decimal::ZERO {
                told.cover(Stretch {
                    before: Decimal::ZERO,
                    after: filled,
                });
            }
        });
    }

    /// Forgets an order the venue knows no more.
    pub(super) fn forget(&mut self, id: OrderId) {
        if let Some(told) = self.orders.remove(&id) {
            self.remembered -= told.size();
            self.by_age.remove(&told.age(id));
        }
    }

    /// Orders that are not over, as far as was told, and how much of each is filled; oldest first.
    pub(super) fn live(&self) -> impl Iterator<Item = (OrderId, Decimal)> + '_ {
        let first = (true, 0, OrderId::from_uuid(uuid::Uuid::nil()));
        self.by_age
            .range(first..)
            .map(|(_, _, id)| (*id, self.filled(*id)))
    }

    /// Whether an order is not over, as far as was told.
    pub(super) fn lives(&self, id: OrderId) -> bool {
        self.orders.get(&id).is_some_and(|told| !told.over)
    }

    /// Whether nothing was ever told of an order.
    pub(super) fn is_silent_on(&self, id: OrderId) -> bool {
        self.orders
            .get(&id)
            .is_none_or(|told| told.words.is_empty() && told.filled.is_empty())
    }

    /// Whether something was told of an order, and nothing beyond its being on its way.
    pub(super) fn is_on_its_way(&self, id: OrderId) -> bool {
        let is_early = |(word, _): &(String, Decimal)| matches!(word.as_str(), "pending_new" | "accepted");
        self.orders.get(&id).is_some_and(|told| {
            !told.words.is_empty() && told.filled.is_empty() && told.words.iter().all(is_early)
        })
    }

    /// Whether an order's fill up to this quantity was told.
    pub(super) fn is_accounted_for(&self, id: OrderId, cum_qty: Decimal) -> bool {
        self.orders.get(&id).is_some_and(|told| told.covers(cum_qty))
    }

    /// How much of an order was told to be filled.
    pub(super) fn filled(&self, id: OrderId) -> Decimal {
        let last = self.orders.get(&id).and_then(|told| told.filled.last());
        last.map_or(Decimal::ZERO, |stretch| stretch.after)
    }

    fn change(&mut self, id: OrderId, change: impl FnOnce(&mut Told)) {
        let orders_met = &mut self.orders_met;
        let told = self.orders.entry(id).or_insert_with(|| {
            *orders_met += 1;
            Box::new(Told {
                number: *orders_met,
                ..Told::default()
            })
        });
        let known = self.by_age.remove(&told.age(id));
        let size = if known { told.size() } else { 0 };
        change(told);
        self.by_age.insert(told.age(id));
        self.remembered = self.remembered - size + told.size();
        while self.remembered > self.remembered_max && self.orders.len() > 1 {
            let Some((_, _, oldest)) = self.by_age.pop_first() else {
                break;
            };
            self.remembered -= self.orders.remove(&oldest).map_or(0, |told| told.size());
            self.forgotten += 1;
        }
    }
}

fn word(report: &ExecutionReport) -> (String, Decimal) {
    (report.event.clone(), report.order.filled_qty)
}

/// What a fill accounts for. One that does not say its own quantity stands for itself alone: all that is certain
/// is its end, and a stretch without width would cover nothing.
fn stretch(report: &ExecutionReport) -> Stretch {
    let after = report.order.filled_qty;
    let width = report.last_qty.filter(|qty| *qty > Decimal::ZERO);
    let before = match width {
        Some(width) => (after - width).max(Decimal::ZERO),
        None => after - Decimal::new(1, Decimal::MAX_SCALE.min(18)),
    };
    Stretch { before, after }
}

#[cfg(test)]
mod tests;
