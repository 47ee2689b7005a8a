//! Do the fills that were told add up to the positions the venue states? Pure: no clock, no I/O.
//!
//! Fills and statements come by different ways and neither is dated by the other, so they are compared only when
//! nothing was told for a while: then both mean the same. What does not add up is given time, for a fill may be on its
//! way; what still does not is reported, and the venue's statement is where the sum begins again. Nothing is ever
//! computed from the sum.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::Instant;

use crate::domain::execution::OrderClass;
use crate::domain::order::Side;
use crate::domain::{AssetClass, ExecutionReport, Order, Position, Symbol};

/// How long nothing may have been told before fills and statement mean the same: the venue's positions lag its fills
/// by up to a second, and its stream may lag behind both.
const QUIET: Duration = Duration::from_secs(3);

/// How long the sum may be wrong before that is reported. A mute stream is found and mended sooner.
const PATIENCE: Duration = Duration::from_secs(45);

/// A difference smaller than this is none: the venue cuts quantities off at nine decimals.
const ROUNDING: Decimal = Decimal::from_parts(1, 0, 0, false, 6);

/// How much of what was traded a crypto position may differ by: the fee is taken from what is received (about 25 basis
/// points), and fills tell of the whole.
const CRYPTO_FEE_MAX: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// A position that is not the sum of what was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Of what.
    pub(super) symbol: String,
    /// By the fills in the journal.
    pub(super) told: Decimal,
    /// By the venue's statement.
    pub(super) stated: Decimal,
}

/// What comparing a statement with the sum gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Nothing can be said now.
    Nothing,
    /// They agree.
    Agrees,
    /// They have differed for long enough.
    Differs(Vec<Mismatch>),
}

/// Statements and the fills told since.
#[derive(Debug, Default)]
pub(super) struct Fold {
    base: Option<Sum>,
    /// A statement that becomes the base once it turns out that nothing was told around it.
    next: Option<Sum>,
    told_at: Option<Instant>,
    /// Since when a position is not the sum, without a word about it since.
    wrong_since: HashMap<String, Instant>,
}

/// A statement and what was told since.
#[derive(Debug)]
struct Sum {
    asked: Instant,
    stated: HashMap<String, Decimal>,
    told: HashMap<String, Net>,
    /// A fill of which it is not known what it moved.
    lost_count: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Net {
    sum: Decimal,
    gross: Decimal,
    is_crypto: bool,
    /// Corrected, busted or without a quantity: no sum can be made of it.
    lost_count: bool,
}

impl Fold {
    /// Notes a fill that is in the journal.
    pub(super) fn tell(&mut self, report: &ExecutionReport, now: Instant) {
        self.told_at = Some(now);
        for symbol in symbols(&report.order) {
            self.wrong_since.remove(&name(symbol));
        }
        // It is not known whether a statement of just now has it.
        self.next.take_if(|next| now < next.asked + QUIET);
        for sum in self.base.iter_mut().chain(&mut self.next) {
            sum.tell(report);
        }
    }

    /// Compares a statement that was asked for at an instant, while everything the venue did was told.
    pub(super) fn compare(&mut self, positions: &[Position], asked: Instant) -> Compared {
        if self.told_at.is_some_and(|told| asked < told + QUIET) {
            return Compared::Nothing;
        }
        if self.next.as_ref().is_some_and(|next| asked >= next.asked + QUIET) {
            self.base = self.next.take();
        }
        let stated = by_name(positions);
        let Some(base) = &mut self.base else {
            self.next
                .get_or_insert_with(|| Sum::beginning_with(stated, asked));
            return Compared::Nothing;
        };
        let mut wrong = base.mismatches(&stated);
        self.wrong_since
            .retain(|name, _| wrong.iter().any(|mismatch| mismatch.symbol == *name));
        if wrong.is_empty() {
            self.next
                .get_or_insert_with(|| Sum::beginning_with(stated, asked));
            return Compared::Agrees;
        }
        self.next = None; // nothing begins with a statement that is in doubt
        wrong.retain(|mismatch| {
            let since = *self.wrong_since.entry(mismatch.symbol.clone()).or_insert(asked);
            asked >= since + PATIENCE
        });
        for mismatch in &wrong {
            self.wrong_since.remove(&mismatch.symbol);
            base.told.remove(&mismatch.symbol);
            base.stated.insert(mismatch.symbol.clone(), mismatch.stated);
        }
        if wrong.is_empty() {
            Compared::Nothing
        } else {
            Compared::Differs(wrong)
        }
    }
}

impl Sum {
    fn beginning_with(stated: HashMap<String, Decimal>, asked: Instant) -> Self {
        Self {
            asked,
            stated,
            told: HashMap::new(),
            lost_count: false,
        }
    }

    fn tell(&mut self, report: &ExecutionReport) {
        let order = &report.order;
        let moved = moved(report, order);
        let mut is_named = false;
        for symbol in symbols(order) {
            is_named = true;
            let net = self.told.entry(name(symbol)).or_default();
            net.is_crypto |= symbol.asset_class() == AssetClass::Crypto;
            net.gross += moved.unwrap_or_default().abs();
            net.sum += moved.unwrap_or_default();
            net.lost_count |= moved.is_none();
        }
        self.lost_count |= !is_named;
    }

    fn mismatches(&self, stated: &HashMap<String, Decimal>) -> Vec<Mismatch> {
        if self.lost_count {
            return Vec::new();
        }
        let names: HashSet<_> = self
            .stated
            .keys()
            .chain(stated.keys())
            .chain(self.told.keys())
            .collect();
        let mut wrong = BTreeMap::new();
        for name in names {
            let net = self.told.get(name).copied().unwrap_or_default();
            let told = self.stated.get(name).copied().unwrap_or_default() + net.sum;
            let now = stated.get(name).copied().unwrap_or_default();
            let fee = if net.is_crypto {
                net.gross * CRYPTO_FEE_MAX
            } else {
                Decimal::ZERO
            };
            if !net.lost_count && (told - now).abs() > ROUNDING + fee {
                let symbol = name.clone();
                let mismatch = Mismatch {
                    symbol,
                    told,
                    stated: now,
                };
                wrong.insert(name.clone(), mismatch);
            }
        }
        wrong.into_values().collect()
    }
}

/// What an order trades.
fn symbols(order: &Order) -> impl Iterator<Item = &Symbol> {
    let legs = order
        .legs
        .iter()
        .filter(|_| order.order_class == Some(OrderClass::MultiLeg));
    order
        .symbol
        .iter()
        .chain(legs.filter_map(|leg| leg.symbol.as_ref()))
}

/// By how much a fill moved the position; `None` where it does not say.
fn moved(report: &ExecutionReport, order: &Order) -> Option<Decimal> {
    if order.order_class == Some(OrderClass::MultiLeg) {
        return None; // told of the parent as a whole: how much of each leg is not
    }
    if !report.adds_quantity() {
        return None;
    }
    let qty = report.last_qty?;
    Some(match order.side? {
        Side::Buy => qty,
        Side::Sell => -qty,
    })
}

fn by_name(positions: &[Position]) -> HashMap<String, Decimal> {
    let held = positions.iter();
    held.map(|position| (name(&position.symbol), position.qty))
        .collect()
}

/// A crypto pair is named with its slash in one place and without it in another.
fn name(symbol: &Symbol) -> String {
    symbol.to_string().replace('/', "")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::mirror::tests::position;
    use super::*;
    use crate::domain::OrderStatus;

    fn fill(symbol: &str, side: Side, qty: &str) -> ExecutionReport {
        let order = Order {
            symbol: Symbol::parse(symbol).ok(),
            side: Some(side),
            status: OrderStatus::Filled,
            ..Order::refused("a", None, Timestamp::UNIX_EPOCH)
        };
        ExecutionReport {
            event: "fill".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            timestamp: Timestamp::UNIX_EPOCH,
            event_id: None,
            execution_id: None,
            order,
            position_qty: None,
            last_px: None,
            last_qty: qty.parse().ok(),
            reason: None,
            recovered: false,
        }
    }

    /// A fold and a clock that goes in seconds.
    struct Desk {
        fold: Fold,
        now: Instant,
    }

    impl Desk {
        /// A desk that knows some positions.
        fn knowing(positions: &[Position]) -> Self {
            let (fold, now) = (Fold::default(), Instant::now());
            let mut desk = Self { fold, now };
            assert_eq!(desk.after(0, positions), Compared::Nothing);
            assert_eq!(desk.after(15, positions), Compared::Agrees);
            desk
        }

        fn after(&mut self, seconds: u64, positions: &[Position]) -> Compared {
            self.now += Duration::from_secs(seconds);
            self.fold.compare(positions, self.now)
        }

        fn tell(&mut self, report: &ExecutionReport) {
            self.fold.tell(report, self.now);
        }
    }

    #[test]
    fn what_adds_up_agrees_and_a_fill_in_between_is_waited_for() {
        let mut desk = Desk::knowing(&[position("AAPL", 5)]);
        desk.tell(&fill("AAPL", Side::Buy, "2"));
        desk.tell(&fill("MSFT", Side::Sell, "3"));
        let after = [position("AAPL", 7), position("MSFT", -3)];
        assert_eq!(desk.after(1, &after), Compared::Nothing, "not quiet yet");
        assert_eq!(desk.after(3, &after), Compared::Agrees);
        desk.tell(&fill("AAPL", Side::Sell, "7"));
        assert_eq!(desk.after(15, &[position("MSFT", -3)]), Compared::Agrees);
    }

    #[test]
    fn a_fill_nobody_told_is_reported_once_and_the_venue_wins() {
        let mut desk = Desk::knowing(&[position("AAPL", 5)]);
        let now = [position("AAPL", 9)];
        assert_eq!(desk.after(15, &now), Compared::Nothing);
        assert_eq!(desk.after(15, &now), Compared::Nothing);
        assert_eq!(desk.after(15, &now), Compared::Nothing);
        let mismatch = Mismatch {
            symbol: "AAPL".to_owned(),
            told: 5.into(),
            stated: 9.into(),
        };
        assert_eq!(desk.after(15, &now), Compared::Differs(vec![mismatch]));
        assert_eq!(desk.after(15, &now), Compared::Agrees);
    }

    #[test]
    fn a_fill_that_is_told_late_mends_the_sum() {
        let mut desk = Desk::knowing(&[]);
        let now = [position("AAPL", 4)];
        assert_eq!(desk.after(15, &now), Compared::Nothing);
        desk.tell(&fill("AAPL", Side::Buy, "4"));
        assert_eq!(desk.after(15, &now), Compared::Agrees);
        assert_eq!(desk.after(60, &now), Compared::Agrees);
    }

    #[test]
    fn fees_in_crypto_and_cut_decimals_are_no_mismatch() {
        let mut desk = Desk::knowing(&[]);
        desk.tell(&fill("BTC/USD", Side::Buy, "2"));
        let mut held = position("BTC/USD", 0);
        held.qty = "1.995".parse().unwrap();
        assert_eq!(desk.after(15, std::slice::from_ref(&held)), Compared::Agrees);
        held.qty = "1.9".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(desk.after(15, std::slice::from_ref(&held)), Compared::Nothing);
        }
        assert!(matches!(
            desk.after(15, &[held]),
            Compared::Differs(wrong) if wrong.len() == 1
        ));
    }

    #[test]
    fn what_cannot_be_summed_is_passed_over_and_nothing_else_is() {
        let mut desk = Desk::knowing(&[]);
        let mut bust = fill("AAPL", Side::Buy, "2");
        bust.event = "trade_bust".to_owned();
        desk.tell(&bust);
        assert_eq!(desk.after(15, &[position("AAPL", 9)]), Compared::Agrees);
        let both = [position("AAPL", 9), position("MSFT", 1)];
        for _ in 0..3 {
            assert_eq!(desk.after(15, &both), Compared::Nothing);
        }
        assert!(matches!(desk.after(15, &both), Compared::Differs(_)));
    }

    proptest! {
        /// Whatever is filled and whenever it is looked at: where everything is told within a second, nothing differs.
        #[test]
        fn what_is_told_in_time_never_differs(
            steps in prop::collection::vec((0u64..20, -3i64..4, any::<bool>()), 1..60)
        ) {
            let mut desk = Desk::knowing(&[]);
            let mut held = 0i64;
            for (pause, qty, is_late) in steps {
                desk.now += Duration::from_secs(pause);
                let side = if qty < 0 { Side::Sell } else { Side::Buy };
                let told = fill("AAPL", side, &qty.abs().to_string());
                held += qty;
                let positions: Vec<_> = (held != 0).then(|| position("AAPL", held)).into_iter().collect();
                // The statement may be a moment ahead of the stream, or behind it.
                if is_late {
                    let compared = desk.after(0, &positions);
                    prop_assert!(!matches!(compared, Compared::Differs(_)));
                    desk.now += Duration::from_secs(1);
                }
                if qty != 0 {
                    desk.tell(&told);
                }
                let compared = desk.after(0, &positions);
                prop_assert!(!matches!(compared, Compared::Differs(_)), "{:?}", compared);
            }
        }
    }
}
