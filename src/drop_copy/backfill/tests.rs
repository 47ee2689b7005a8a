use super::*;
use crate::domain::Symbol;

const SINCE: i64 = 1000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(number: u128) -> OrderId {
    OrderId::from_uuid(uuid::Uuid::from_u128(number))
}

/// An order submitted a second after the back-fill begins, touched ten seconds later.
fn order(number: u128, status: &str, filled: i64) -> Order {
    Order {
        id: Some(id(number)),
        status: OrderStatus::from_venue(status),
        filled_qty: filled.into(),
        symbol: Symbol::parse("AAPL").ok(),
        submitted_at: Some(at(SINCE + 1)),
        updated_at: Some(at(SINCE + 11)),
        failed_at: None,
        ..Order::refused("a", None, at(SINCE + 1))
    }
}

fn fill(number: u128, second: i64, last: i64, cum: i64, event: &str) -> FillActivity {
    FillActivity {
        activity_id: format!("{second}::{cum}"),
        order_id: id(number),
        event: event.to_owned(),
        transaction_time: at(SINCE + second),
        symbol: Symbol::parse("AAPL").unwrap(),
        side: "buy".to_owned(),
        last_px: Decimal::new(1000 + cum, 2),
        last_qty: last.into(),
        cum_qty: cum.into(),
        leaves_qty: None,
        order_status: None,
    }
}

fn memory(orders: Vec<Order>, fills: Vec<FillActivity>) -> Memory {
    Memory {
        orders,
        fills,
        since: at(SINCE),
    }
}

fn words(reports: &[ExecutionReport]) -> Vec<String> {
    let word = |report: &ExecutionReport| {
        let qty = report.last_qty.map(|qty| format!("+{qty}")).unwrap_or_default();
        format!("{}:{}{qty}", report.event, report.order.filled_qty)
    };
    reports.iter().map(word).collect()
}

fn check(memory: &Memory, sequence: &Sequence, expected: &[&str]) -> Vec<ExecutionReport> {
    let untold = memory.untold(sequence, at(SINCE + 99));
    assert_eq!(words(&untold), expected);
    assert!(untold.iter().all(|report| report.recovered));
    untold
}

#[test]
fn every_way_an_order_can_be_is_told_as_far_as_it_is_known() {
    let table: [(&str, i64, &[&str]); 15] = [
        ("new", 0, &["new:0"]),
        ("accepted", 0, &["accepted:0"]),
        ("pending_new", 0, &["pending_new:0"]),
        ("held", 0, &[]),
        ("a_word_from_the_future", 0, &[]),
        ("a_word_from_the_future", 2, &["partial_fill:2+2"]),
        ("pending_cancel", 0, &["new:0"]),
        ("done_for_day", 0, &["new:0"]),
        ("partially_filled", 2, &["new:0", "partial_fill:2+2"]),
        ("filled", 2, &["fill:2+2"]),
        ("canceled", 0, &["canceled:0"]),
        ("canceled", 2, &["partial_fill:2+2", "canceled:2"]),
        ("expired", 0, &["expired:0"]),
        ("rejected", 0, &["rejected:0"]),
        ("replaced", 0, &["replaced:0"]),
    ];
    for (status, filled, expected) in table {
        let memory = memory(vec![order(1, status, filled)], vec![]);
        check(&memory, &Sequence::default(), expected);
        assert_eq!(memory.fills_lag(&Sequence::default()), filled > 0, "{status}");
    }
}

#[test]
fn fills_of_one_millisecond_are_told_by_their_cumulative_quantity() {
    let fills = [
        fill(1, 5, 2, 2, "partial_fill"),
        fill(1, 5, 3, 5, "partial_fill"),
        fill(1, 5, 1, 6, "fill"),
    ];
    for turn in 0..6 {
        let mut fills = fills.to_vec();
        fills.rotate_left(turn % 3);
        if turn >= 3 {
            fills.reverse();
        }
        fills.push(fills[0].clone()); // and one of them twice
        let memory = memory(vec![order(1, "filled", 6)], fills);
        let expected = ["partial_fill:2+2", "partial_fill:5+3", "fill:6+1"];
        check(&memory, &Sequence::default(), &expected);
        assert!(!memory.fills_lag(&Sequence::default()));
    }
}

#[test]
fn partial_fills_and_then_a_cancel_are_told_in_that_order_each_with_the_order_as_it_was() {
    let canceled = Order {
        canceled_at: Some(at(SINCE + 9)),
        filled_avg_price: Some(Decimal::new(1003, 2)),
        ..order(1, "canceled", 5)
    };
    let fills = vec![fill(1, 4, 3, 5, "partial_fill"), fill(1, 2, 2, 2, "partial_fill")];
    let memory = memory(vec![canceled], fills);
    let expected = ["partial_fill:2+2", "partial_fill:5+3", "canceled:5"];
    let untold = check(&memory, &Sequence::default(), &expected);
    let [first, second, end] = untold.as_slice() else {
        panic!("three events")
    };
    assert_eq!(first.timestamp, at(SINCE + 2));
    assert_eq!(first.order.status, OrderStatus::PartiallyFilled);
    assert_eq!(first.order.canceled_at, None);
    assert_eq!(
        first.order.filled_avg_price, first.last_px,
        "the first fill is the average"
    );
    assert_eq!(second.order.filled_avg_price, Some(Decimal::new(1003, 2)));
    assert_eq!(second.last_px, Some(Decimal::new(1005, 2)));
    assert_eq!(end.timestamp, at(SINCE + 9));
    assert_eq!(end.order.status, OrderStatus::Canceled);
    assert_eq!(end.identity(), format!("{}:canceled:5", id(1)));
}

#[test]
fn what_was_told_is_not_told_again() {
    let fills = vec![fill(1, 2, 2, 2, "partial_fill"), fill(1, 4, 3, 5, "partial_fill")];
    let memory = memory(vec![order(1, "canceled", 5)], fills);
    let all = memory.untold(&Sequence::default(), at(SINCE));
    for told in 0..=all.len() {
        let mut sequence = Sequence::default();
        all[..told].iter().for_each(|report| sequence.note(report));
        let rest = memory.untold(&sequence, at(SINCE));
        assert_eq!(words(&rest), words(&all[told..]));
    }
}

#[test]
fn an_order_from_before_has_no_second_beginning_and_keeps_its_older_fills_to_itself() {
    let old = Order {
        submitted_at: Some(at(SINCE - 500)),
        ..order(1, "canceled", 5)
    };
    let mut sequence = Sequence::default();
    sequence.remember(id(1), 4.into());
    let fills = vec![fill(1, 3, 1, 5, "partial_fill")];
    let mut memory = memory(vec![old], fills);
    check(&memory, &sequence, &["partial_fill:5+1", "canceled:5"]);
    memory.orders[0].status = OrderStatus::PartiallyFilled;
    check(&memory, &sequence, &["partial_fill:5+1"]);
}

#[test]
fn fills_the_book_does_not_have_yet_are_told_from_the_order() {
    let filled = Order {
        filled_at: Some(at(SINCE + 8)),
        ..order(1, "filled", 10)
    };
    let memory = memory(vec![filled], vec![fill(1, 3, 4, 4, "partial_fill")]);
    assert!(memory.fills_lag(&Sequence::default()));
    let untold = check(&memory, &Sequence::default(), &["partial_fill:4+4", "fill:10+6"]);
    assert_eq!(untold[1].last_px, None, "the price of a part is not known");

    // When the book has them later they were told already.
    let mut sequence = Sequence::default();
    untold.iter().for_each(|report| sequence.note(report));
    let late = Memory {
        fills: vec![
            fill(1, 3, 4, 4, "partial_fill"),
            fill(1, 5, 3, 7, "partial_fill"),
            fill(1, 8, 3, 10, "fill"),
        ],
        ..memory
    };
    check(&late, &sequence, &[]);
}

#[test]
fn a_fill_whose_order_is_not_to_be_found_is_told_all_the_same() {
    let memory = memory(vec![], vec![fill(7, 3, 4, 4, "fill")]);
    assert_eq!(memory.orders_wanted(), [id(7)]);
    let untold = check(&memory, &Sequence::default(), &["fill:4+4"]);
    assert_eq!(untold[0].order.symbol, Symbol::parse("AAPL").ok());
    assert_eq!(untold[0].identity(), format!("{}:fill:4", id(7)));
}

#[test]
fn a_multi_leg_order_is_told_as_one() {
    let multi = Some(OrderClass::MultiLeg);
    let parent = Order {
        symbol: None,
        order_class: multi,
        ..order(1, "filled", 1)
    };
    let leg = Order {
        order_class: multi,
        ..order(2, "filled", 1)
    };
    let memory = memory(vec![parent, leg], vec![fill(2, 3, 1, 1, "fill")]);
    assert!(!memory.fills_lag(&Sequence::default()));
    let untold = check(&memory, &Sequence::default(), &["fill:1+1"]);
    assert_eq!(untold[0].order.id, Some(id(1)));
}

#[test]
fn events_of_different_orders_are_told_in_the_order_of_time() {
    let end = |number: u128, second| Order {
        canceled_at: Some(at(SINCE + second)),
        client_order_id: number.to_string(),
        ..order(number, "canceled", 0)
    };
    let memory = memory(vec![end(1, 9), end(2, 3), end(3, 6)], vec![]);
    let untold = memory.untold(&Sequence::default(), at(SINCE + 99));
    let ids: Vec<_> = untold
        .iter()
        .map(|report| report.order.client_order_id.as_str())
        .collect();
    assert_eq!(ids, ["2", "3", "1"]);
}

#[test]
fn the_later_snapshot_of_an_order_counts() {
    let orders = latest([
        order(1, "new", 0),
        order(2, "new", 0),
        order(1, "partially_filled", 3),
    ]);
    let seen: Vec<_> = orders
        .iter()
        .map(|order| (order.id, order.status.as_str()))
        .collect();
    assert_eq!(seen, [(Some(id(1)), "partially_filled"), (Some(id(2)), "new")]);
}

#[test]
fn an_order_that_was_on_its_way_is_told_to_work_and_not_twice() {
    let mut sequence = Sequence::default();
    let new = order(1, "new", 0);
    let memory = Memory {
        orders: vec![new.clone()],
        since: Timestamp::MAX, // it was placed long ago
        ..Memory::default()
    };
    assert_eq!(
        memory.untold(&sequence, Timestamp::MAX),
        [],
        "nothing is known of it"
    );
    let pending = ExecutionReport {
        event: "pending_new".to_owned(),
        order: order(1, "pending_new", 0),
        ..recovered("pending_new".to_owned(), Timestamp::MIN, new, Timestamp::MIN)
    };
    sequence.note(&pending);
    let untold = memory.untold(&sequence, Timestamp::MAX);
    assert_eq!(untold.len(), 1);
    assert_eq!(untold[0].event, "new");
    sequence.note(&untold[0]);
    assert_eq!(memory.untold(&sequence, Timestamp::MAX), []);
}
