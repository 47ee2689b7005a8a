//! What counts, from when until when.

use super::*;

#[test]
fn orders_are_counted_while_they_are_on_their_way_and_while_they_work() {
    let mut limits = of_account(|bounds| bounds.max_open_orders = Some(3));
    limits.strategies.insert(
        "m".to_owned(),
        Bounds {
            max_open_orders: Some(2),
            ..Bounds::default()
        },
    );
    let mut bench = Bench::new(limits);
    let order = buy("1", "1");
    assert_eq!(bench.ask("m.1", order.clone()), Ok(()));
    let working = bench.work("m.1", &order);
    assert_eq!(bench.ask("m.2", order.clone()), Ok(()));
    assert_eq!(
        bench.ask("m.2", order.clone()),
        Ok(()),
        "asked again it counts once"
    );
    let Err(NotAdmitted::Breach(breach)) = bench.ask("m.3", order.clone()) else {
        panic!("a third one of m");
    };
    assert_eq!(
        breach.to_string(),
        "max_open_orders of the strategy m is 2, and this would be 3"
    );
    assert_eq!(bench.ask("n.1", order.clone()), Ok(()));
    assert_eq!(bench.breach("n.2", order.clone()), "max_open_orders");
    bench.risk.over(COMMAND, &id("m.2"));
    assert_eq!(bench.breach("n.2", order.clone()), "none");
    let ended = Order {
        status: OrderStatus::Canceled,
        ..working
    };
    bench.blotter.tell(&ended, false);
    assert_eq!(bench.ask("m.3", order), Ok(()));
}

#[test]
fn what_an_answer_says_is_filled_counts_until_the_fill_is_told_and_once() {
    let bench = Bench::new(of_account(|bounds| bounds.max_position_qty = Some(decimal("15"))));
    bench.hold(&[]);
    let order = buy("10", "1");
    assert_eq!(bench.ask("m.1", order.clone()), Ok(()));
    let taken = |qty: &str, status, seconds_ago: i64| {
        let at = bench
            .clock
            .now()
            .checked_sub(jiff::SignedDuration::from_secs(seconds_ago));
        Order {
            id: Some(OrderId::from_uuid(Uuid::from_u128(77))),
            status,
            filled_qty: decimal(qty),
            updated_at: at.ok(),
            failed_at: None,
            ..Order::refused("m.1", Some(&order), bench.clock.now())
        }
    };
    let answered = |order: &Order| {
        let acceptance = Acceptance {
            order_id: order.id,
            order: Some(Arc::new(order.clone())),
            ..Acceptance::default()
        };
        bench.risk.accepted(&id("m.1"), &acceptance);
    };
    let is_counted_once = || {
        assert_eq!(bench.breach("m.2", buy("5", "1")), "none");
        assert_eq!(bench.breach("m.2", buy("6", "1")), "max_position_qty");
    };
    answered(&taken("4", OrderStatus::PartiallyFilled, 0));
    is_counted_once();
    answered(&taken("10", OrderStatus::Filled, 0));
    is_counted_once();
    for qty in ["4", "6"] {
        bench.blotter.tell_fill(&fill(
            &taken("10", OrderStatus::Filled, 0),
            qty,
            bench.clock.now(),
        ));
        is_counted_once();
    }
    // The other way round.
    answered(&taken("10", OrderStatus::Filled, 0));
    is_counted_once();
    bench.blotter.forget();
    answered(&taken("10", OrderStatus::Filled, 3600));
    assert_eq!(
        bench.breach("m.2", buy("15", "1")),
        "none",
        "the positions show it since"
    );
}

#[test]
fn commands_that_share_an_id_do_not_uncount_each_other() {
    let command = |sequence| CommandId {
        sequence,
        ..CommandId::NONE
    };
    let mut bench = Bench::new(of_account(|bounds| bounds.max_open_orders = Some(1)));
    let admit = |bench: &Bench, sequence, name: &str| {
        let order = single(name, Side::Buy, "1", limit("1"));
        bench
            .risk
            .admit(
                command(sequence),
                &id("m.1"),
                &Placement::New(order),
                Judged::ByLimits,
                &Quotes::new(),
            )
            .is_ok()
    };
    for first_over in [1, 2] {
        assert!(admit(&bench, 1, "AAPL"));
        assert!(admit(&bench, 2, "MSFT"), "the ledger says whose the id is");
        assert!(admit(&bench, 2, "MSFT"), "and it is judged again");
        bench.risk.over(command(first_over), &id("m.1"));
        assert_eq!(
            bench.breach("m.2", buy("1", "1")),
            "max_open_orders",
            "the other one is on its way"
        );
        bench.risk.over(command(3), &id("m.1"));
        assert_eq!(
            bench.breach("m.2", buy("1", "1")),
            "max_open_orders",
            "it never had one"
        );
        bench.risk.over(command(3 - first_over), &id("m.1"));
        assert_eq!(bench.breach("m.2", buy("1", "1")), "none");
        assert!(!bench.risk.has_begun(&id("m.1")));
    }
    assert!(admit(&bench, 1, "AAPL"));
    assert!(admit(&bench, 2, "MSFT"));
    let working = bench.work("m.1", &buy("1", "1"));
    assert!(
        !bench.risk.has_begun(&id("m.1")),
        "the blotter counts it, and there is one of an id"
    );
    bench.blotter.tell(
        &Order {
            status: OrderStatus::Canceled,
            ..working
        },
        false,
    );
    assert_eq!(bench.breach("m.2", buy("1", "1")), "none");
}
