use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::OrderStatus;

fn id(number: u128) -> OrderId {
    OrderId::from_uuid(uuid::Uuid::from_u128(number))
}

fn report(order: u128, event: &str, status: &str, filled: i64, last_qty: Option<i64>) -> ExecutionReport {
    let at = Timestamp::UNIX_EPOCH;
    ExecutionReport {
        event: event.to_owned(),
        at,
        timestamp: at,
        event_id: None,
        execution_id: None,
        order: Order {
            id: Some(id(order)),
            status: OrderStatus::from_venue(status),
            filled_qty: filled.into(),
            ..Order::refused("a", None, at)
        },
        position_qty: None,
        last_px: None,
        last_qty: last_qty.map(Decimal::from),
        reason: None,
        recovered: false,
    }
}

/// Tells a sequence everything, and returns what was news.
fn told(sequence: &mut Sequence, reports: &[ExecutionReport]) -> Vec<String> {
    let mut news = Vec::new();
    for report in reports {
        if sequence.judge(report) == Verdict::News {
            sequence.note(report);
            news.push(format!("{}:{}", report.event, report.order.filled_qty));
        }
    }
    news
}

#[test]
fn an_order_that_is_over_is_not_brought_back_to_life() {
    let mut sequence = Sequence::default();
    let new = report(1, "new", "new", 0, None);
    let fill = report(1, "fill", "filled", 2, Some(2));
    assert_eq!(
        told(&mut sequence, &[new.clone(), fill.clone(), new, fill]),
        ["new:0", "fill:2"]
    );
    let accepted = report(1, "accepted", "accepted", 0, None);
    assert_eq!(sequence.judge(&accepted), Verdict::Replay);
    let refused = report(1, "order_cancel_rejected", "filled", 2, None);
    assert_eq!(
        sequence.judge(&refused),
        Verdict::News,
        "a terminal state that stays is no revival"
    );
    let other = report(2, "new", "new", 0, None);
    assert_eq!(sequence.judge(&other), Verdict::News);
}

#[test]
fn a_fill_is_news_even_after_the_end_unless_its_quantity_was_told() {
    let mut sequence = Sequence::default();
    let reports = [
        report(1, "canceled", "canceled", 3, None),
        report(1, "partial_fill", "partially_filled", 3, Some(3)),
        report(1, "fill", "filled", 3, Some(3)), // the same fill by its other name
        report(1, "something_new", "canceled", 3, None),
    ];
    assert_eq!(
        told(&mut sequence, &reports),
        ["canceled:3", "partial_fill:3", "something_new:3"]
    );
}

#[test]
fn a_fill_that_stood_for_several_hides_them_and_a_narrow_one_hides_nothing() {
    let mut sequence = Sequence::default();
    sequence.note(&report(1, "partial_fill", "partially_filled", 10, Some(6)));
    for (filled, expected) in [
        (10, Verdict::Repeat),
        (7, Verdict::Repeat),
        (4, Verdict::News),
        (11, Verdict::News),
    ] {
        let row = report(1, "partial_fill", "partially_filled", filled, Some(1));
        assert_eq!(sequence.judge(&row), expected, "{filled}");
    }
    sequence.note(&report(2, "fill", "filled", 5, None));
    let earlier = report(2, "partial_fill", "partially_filled", 4, None);
    assert_eq!(sequence.judge(&earlier), Verdict::News);
    let same = report(2, "fill", "filled", 5, Some(5));
    assert_eq!(sequence.judge(&same), Verdict::Repeat);
}

#[test]
fn a_fill_that_starts_where_nothing_ended_leaves_a_gap() {
    let mut sequence = Sequence::default();
    let fill = |filled, last| report(1, "partial_fill", "partially_filled", filled, last);
    assert!(!sequence.leaves_gap(&fill(2, Some(2))));
    assert!(sequence.leaves_gap(&fill(5, Some(3))));
    assert!(
        !sequence.leaves_gap(&fill(5, None)),
        "it does not say where it starts"
    );
    sequence.note(&fill(2, Some(2)));
    assert!(!sequence.leaves_gap(&fill(5, Some(3))));
    assert!(sequence.leaves_gap(&fill(6, Some(3))));
    sequence.remember(id(1), 3.into());
    assert!(!sequence.leaves_gap(&fill(6, Some(3))));
    let rounded = ExecutionReport {
        last_qty: Some(Decimal::new(2_999_999_999, 9)),
        ..fill(6, None)
    };
    assert!(!sequence.leaves_gap(&rounded));
}

#[test]
fn a_bust_takes_back_what_it_took_back() {
    let mut sequence = Sequence::default();
    let bust = report(1, "trade_bust", "filled", 4, None);
    let reports = [
        report(1, "fill", "filled", 10, Some(10)),
        bust.clone(),
        bust,
        report(1, "fill", "filled", 8, Some(4)),
        report(1, "partial_fill", "partially_filled", 4, Some(4)),
    ];
    assert_eq!(
        told(&mut sequence, &reports),
        ["fill:10", "trade_bust:4", "fill:8"]
    );
}

#[test]
fn orders_that_are_over_are_forgotten_before_those_that_live() {
    let mut sequence = Sequence::bounded(40);
    sequence.note(&report(0, "new", "new", 0, None));
    for order in 1..1000 {
        sequence.note(&report(order, "new", "new", 0, None));
        sequence.note(&report(order, "fill", "filled", 1, Some(1)));
    }
    assert!(sequence.remembered <= 40, "{}", sequence.remembered);
    assert_eq!(sequence.by_age.len(), sequence.orders.len());
    let again = report(0, "new", "new", 0, None);
    assert_eq!(sequence.judge(&again), Verdict::Repeat);
    let live: Vec<_> = sequence.live().collect();
    assert_eq!(live, [(id(0), Decimal::ZERO)]);
    for order in 2000..3000 {
        sequence.note(&report(order, "new", "new", 0, None));
    }
    assert!(sequence.remembered <= 40, "live orders are bounded too");
    let size: usize = sequence.orders.values().map(|told| told.size()).sum();
    assert_eq!(sequence.remembered, size);
}

/// One order's life: how much each fill fills, and how it ends.
fn life(fills: &[i64], end: &str) -> Vec<ExecutionReport> {
    let mut events = vec![
        report(1, "pending_new", "pending_new", 0, None),
        report(1, "new", "new", 0, None),
    ];
    let mut filled = 0;
    for (at, qty) in fills.iter().enumerate() {
        filled += qty;
        let last = at + 1 == fills.len() && end == "filled";
        let (event, status) = if last {
            ("fill", "filled")
        } else {
            ("partial_fill", "partially_filled")
        };
        events.push(report(1, event, status, filled, Some(*qty)));
    }
    if end != "filled" {
        events.push(report(1, end, end, filled, None));
    }
    events
}

/// Several tellings of one life, each in order, merged as the numbers say.
fn merge(life: &[ExecutionReport], tellers: usize, choices: &[usize]) -> Vec<ExecutionReport> {
    let mut places = vec![0; tellers];
    let mut merged = Vec::new();
    let rest = (0..tellers).cycle().take(tellers * life.len());
    for teller in choices.iter().map(|choice| choice % tellers).chain(rest) {
        if let Some(event) = life.get(places[teller]) {
            places[teller] += 1;
            merged.push(event.clone());
        }
    }
    merged
}

proptest! {
    #[test]
    fn however_tellings_are_mixed_the_life_is_told_once_and_in_order(
        fills in prop::collection::vec(1..50i64, 1..6),
        end in prop::sample::select(vec!["filled", "canceled", "expired", "replaced"]),
        tellers in 1..4usize,
        choices in prop::collection::vec(0..4usize, 0..60),
    ) {
        let life = life(&fills, end);
        let expected = told(&mut Sequence::default(), &life);
        prop_assert_eq!(expected.len(), life.len());
        let heard = merge(&life, tellers, &choices);
        prop_assert_eq!(told(&mut Sequence::default(), &heard), expected);
    }

    #[test]
    fn in_whatever_order_fills_come_each_is_told_once_and_nothing_revives(
        fills in prop::collection::vec(1..50i64, 1..6),
        end in prop::sample::select(vec!["filled", "canceled", "expired"]),
        shuffle in any::<prop::sample::Index>(),
        seeds in prop::collection::vec(any::<u32>(), 24),
    ) {
        let life = life(&fills, end);
        let mut heard: Vec<_> = life.iter().chain(&life).cloned().zip(seeds.iter().cycle()).collect();
        let pivot = shuffle.index(heard.len());
        heard.rotate_left(pivot);
        heard.sort_by_key(|(_, seed)| **seed);
        let heard: Vec<_> = heard.into_iter().map(|(event, _)| event).collect();
        let mut sequence = Sequence::default();
        let mut over = false;
        let mut fills_told = 0;
        for event in &heard {
            if sequence.judge(event) != Verdict::News {
                continue;
            }
            sequence.note(event);
            prop_assert!(!over || event.is_fill() || event.order.status.is_terminal(), "{event:?}");
            over |= event.order.status.is_terminal();
            fills_told += usize::from(event.is_fill());
        }
        prop_assert_eq!(fills_told, fills.len());
    }
}
