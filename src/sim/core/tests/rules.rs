//! What is refused, and with which words.

use super::*;

#[test]
fn requests_that_make_no_sense_are_refused_with_the_venues_words() {
    let day = TimeInForce::Day;
    let notional = |qty: Option<&str>, notional: &str| OrderRequest {
        qty: qty.map(dec),
        notional: Some(dec(notional)),
        ..market(Side::Buy, "1")
    };
    let option = |tif, kind| order("AAPL271217C00200000", Side::Buy, "1", kind, tif);
    let cases: Vec<(OrderRequest, u16, u32, &str)> = vec![
        (OrderRequest::default(), 422, 40_010_001, "symbol is required"),
        (
            order("NOPE", Side::Buy, "1", OrderType::Market, day),
            422,
            42_210_000,
            "not found",
        ),
        (
            order("AAPL200117C00200000", Side::Buy, "1", OrderType::Limit, day),
            422,
            42_210_000,
            "is expired",
        ),
        (
            OrderRequest {
                qty: None,
                ..market(Side::Buy, "1")
            },
            422,
            40_010_001,
            "qty or notional is required",
        ),
        (
            notional(Some("1"), "5"),
            422,
            40_010_001,
            "only one of qty or notional is accepted",
        ),
        (notional(None, "-5"), 422, 40_010_001, "notional must be > 0"),
        (market(Side::Buy, "0"), 422, 40_010_001, "qty must be > 0"),
        (market(Side::Buy, "-1"), 422, 40_010_001, "qty must be > 0"),
        (
            market(Side::Buy, "99999999999"),
            422,
            40_010_001,
            "qty must be <=",
        ),
        (
            limit(Side::Buy, "1", "99.001"),
            422,
            42_210_000,
            "sub-penny increment",
        ),
        (
            limit(Side::Buy, "1", "0.00001"),
            422,
            42_210_000,
            "sub-penny increment",
        ),
        (
            OrderRequest {
                limit_price: None,
                ..limit(Side::Buy, "1", "1")
            },
            422,
            40_010_001,
            "limit price",
        ),
        (
            OrderRequest {
                limit_price: Some(dec("1")),
                ..market(Side::Buy, "1")
            },
            422,
            40_010_001,
            "market orders require no",
        ),
        (
            OrderRequest {
                extended_hours: true,
                ..market(Side::Buy, "1")
            },
            422,
            42_210_000,
            "extended hours",
        ),
        (
            OrderRequest {
                time_in_force: Some(TimeInForce::Gtc),
                ..market(Side::Buy, "0.5")
            },
            422,
            42_210_000,
            "fractional orders must be DAY orders",
        ),
        (
            bracket(limit(Side::Buy, "0.5", "100"), "110", "90"),
            422,
            42_210_000,
            "fractional orders must be simple orders",
        ),
        (
            bracket(limit(Side::Buy, "1", "100"), "110", "100"),
            422,
            42_210_000,
            "stop_loss.stop_price must be",
        ),
        (
            bracket(limit(Side::Buy, "1", "100"), "80", "90"),
            422,
            42_210_000,
            "take_profit.limit_price must be",
        ),
        (
            OrderRequest {
                class: Some(OrderClass::Oco),
                ..market(Side::Sell, "1")
            },
            422,
            40_010_001,
            "oco orders must be limit orders",
        ),
        (
            OrderRequest {
                class: Some(OrderClass::Mleg),
                ..OrderRequest::default()
            },
            422,
            40_010_001,
            "2 to 4 legs",
        ),
        (crypto("1", day), 422, 42_210_000, "invalid crypto time_in_force"),
        (
            crypto("0.00001", TimeInForce::Gtc),
            403,
            40_310_000,
            "minimal amount of order 10",
        ),
        (
            order("BTC/USD", Side::Buy, "1", OrderType::Stop, TimeInForce::Gtc),
            422,
            40_010_001,
            "stop",
        ),
        (
            order("BTC/USD", Side::Sell, "1", OrderType::Market, TimeInForce::Gtc),
            403,
            40_310_000,
            "insufficient balance for BTC",
        ),
        (
            option(TimeInForce::Gtc, OrderType::Market),
            422,
            42_210_000,
            "invalid option time_in_force",
        ),
        (
            OrderRequest {
                position_intent: Some(PositionIntent::BuyToClose),
                ..option(day, OrderType::Market)
            },
            422,
            42_210_000,
            "position intent mismatch, inferred: buy_to_open",
        ),
        (
            order("AAPL271217C00200000", Side::Sell, "2", OrderType::Market, day),
            403,
            40_310_000,
            "covered call (required: 200, available: 0)",
        ),
        (market(Side::Sell, "0.5"), 403, 40_310_000, "not allowed to short"),
        (
            market(Side::Buy, "5000"),
            403,
            40_310_000,
            "insufficient buying power",
        ),
    ];
    for (request, status, code, text) in cases {
        let mut venue = Venue::new(Market::Open);
        let refusal = venue.refused(request.clone());
        assert_eq!(
            (refusal.status, refusal.code),
            (status, Some(code)),
            "{refusal} for {request:?}"
        );
        assert!(refusal.message.contains(text), "{refusal} for {text}");
        assert_eq!(venue.exchange.orders().count(), 0);
    }
}

#[test]
fn a_client_order_id_is_used_once_for_ever_but_not_by_a_refusal() {
    let mut venue = Venue::new(Market::Open);
    let named = |qty: &str| OrderRequest {
        client_order_id: Some("once".to_owned()),
        ..limit(Side::Buy, qty, "10")
    };
    venue.refused(named("0"));
    let id = venue.submit(named("1")).unwrap();
    venue.exchange.cancel(venue.now, id).unwrap();
    venue.settle();
    assert_eq!(venue.status(id), Status::Canceled);
    let refusal = venue.refused(named("1"));
    assert_eq!(refusal.message, "client_order_id must be unique");
    assert_eq!((refusal.status, refusal.code), (422, Some(40_010_001)));
}

#[test]
fn opposite_orders_that_could_meet_are_a_wash_trade() {
    let limited = |order_type, side, price: &str| OrderRequest {
        limit_price: Some(dec(price)),
        stop_price: (order_type == OrderType::StopLimit).then(|| dec("80")),
        ..order("SPY", side, "1", order_type, TimeInForce::Day)
    };
    let stop = |side| OrderRequest {
        stop_price: Some(dec("80")),
        ..order("SPY", side, "1", OrderType::Stop, TimeInForce::Day)
    };
    // The resting order sells at 120 or on a stop; each row says whether a new buy is refused.
    let new_orders = |price: &'static str| {
        [
            market(Side::Buy, "1"),
            limited(OrderType::Limit, Side::Buy, price),
            stop(Side::Buy),
            limited(OrderType::StopLimit, Side::Buy, price),
        ]
    };
    let cases = [
        (
            limited(OrderType::Limit, Side::Sell, "120"),
            "119",
            [true, false, true, false],
        ),
        (
            limited(OrderType::Limit, Side::Sell, "120"),
            "120",
            [true, true, true, true],
        ),
        (
            limited(OrderType::StopLimit, Side::Sell, "120"),
            "119",
            [true, false, true, false],
        ),
        (stop(Side::Sell), "119", [true, true, true, true]),
    ];
    for (resting, price, expected) in cases {
        let refused = new_orders(price).map(|new| {
            let mut venue = Venue::new(Market::Open);
            venue.buy("5");
            venue.submit(resting.clone()).unwrap();
            venue.settle();
            venue
                .submit(new)
                .is_err_and(|refusal| refusal.extra.contains_key("existing_order_id"))
        });
        assert_eq!(refused, expected, "{resting:?} against {price}");
    }
}

#[test]
fn what_open_orders_keep_cannot_be_sold_or_spent_twice() {
    let mut venue = Venue::new(Market::Open);
    venue.buy("10");
    venue.submit(limit(Side::Sell, "7", "150")).unwrap();
    let refusal = venue.refused(limit(Side::Sell, "4", "150"));
    assert_eq!(
        refusal.message,
        "insufficient qty available for order (requested: 4, available: 3)"
    );
    assert_eq!(refusal.extra["held_for_orders"], "7");
    assert_eq!(venue.exchange.positions()[0].qty_available, dec("3"));
    let refusal = venue.refused(limit(Side::Sell, "11", "150"));
    assert_eq!(refusal.status, 403, "no order flips a position");

    let mut venue = Venue::new(Market::Open);
    let id = venue.submit(limit(Side::Buy, "1500", "99")).unwrap();
    let refusal = venue.refused(limit(Side::Buy, "1500", "99"));
    assert_eq!(refusal.extra["cost_basis"], "148500");
    venue.exchange.cancel(venue.now, id).unwrap();
    venue.settle();
    venue.submit(limit(Side::Buy, "1500", "99")).unwrap();
}

#[test]
fn no_price_by_hand_breaks_the_sums() {
    let mut venue = Venue::new(Market::Open);
    for absurd in [
        "79228162514264337593543950335",
        "100000000.01",
        "0",
        "-1",
        "0.0000000000000000000000000001",
    ] {
        venue.price("SPY", absurd);
        assert_eq!(
            venue
                .exchange
                .prices
                .tape()
                .price_at(&venue.exchange.find_asset("SPY").unwrap(), venue.now),
            dec("100")
        );
    }
    let id = venue.submit(limit(Side::Buy, "1", "50")).unwrap();
    venue.settle();
    let refused = venue
        .exchange
        .fill(venue.now, id, dec("1"), dec("79228162514264337593543950335"))
        .unwrap_err();
    assert_eq!(refused.status, 422);
    venue.price("SPY", "100000000");
    venue.settle();
    assert!(venue.exchange.account().funds.equity > Decimal::ZERO);
}
