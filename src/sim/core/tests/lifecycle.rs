//! What becomes of an order that was taken, and of the orders it came with.

use super::*;

#[test]
fn a_market_order_goes_from_pending_to_filled_and_moves_cash_and_position() {
    let mut venue = Venue::new(Market::Open);
    let id = venue.submit(market(Side::Buy, "10")).unwrap();
    assert_eq!(venue.status(id), Status::PendingNew);
    venue.settle();
    assert_eq!(venue.events(), [(id, "pending_new"), (id, "new"), (id, "fill")]);
    assert_eq!(venue.order(id).filled_avg_price(), Some(dec("100.01")));
    assert_eq!(venue.exchange.cash(), dec("98999.9"));
    assert_eq!(venue.exchange.positions()[0].qty, dec("10"));
}

#[test]
fn the_same_seed_and_requests_give_the_same_run() {
    let run = || {
        let mut venue = Venue::starting(Market::Open, "2026-10-05T14:00:00Z", 50);
        for qty in 1..20 {
            venue.submit(market(Side::Buy, &qty.to_string())).unwrap();
            venue.settle();
        }
        venue.exchange.take_events()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_limit_order_waits_for_its_price_and_gets_no_worse() {
    let mut venue = Venue::new(Market::Open);
    let id = venue.submit(limit(Side::Buy, "1", "99")).unwrap();
    venue.settle();
    assert_eq!(venue.status(id), Status::New);
    venue.price("SPY", "95");
    assert_eq!(venue.status(id), Status::Filled);
    assert!(venue.order(id).filled_avg_price().unwrap() <= dec("99"));
}

#[test]
fn stops_wait_for_their_price() {
    let mut venue = Venue::new(Market::Open);
    venue.buy("3");
    let stop = OrderRequest {
        stop_price: Some(dec("98")),
        ..order("SPY", Side::Sell, "1", OrderType::Stop, TimeInForce::Gtc)
    };
    let stop_limit = OrderRequest {
        stop_price: Some(dec("98")),
        limit_price: Some(dec("97.5")),
        ..order("SPY", Side::Sell, "1", OrderType::StopLimit, TimeInForce::Gtc)
    };
    let trailing = OrderRequest {
        trail_price: Some(dec("2")),
        ..order("SPY", Side::Sell, "1", OrderType::TrailingStop, TimeInForce::Gtc)
    };
    let ids = [stop, stop_limit, trailing].map(|request| venue.submit(request).unwrap());
    venue.settle();
    assert_eq!(ids.map(|id| venue.status(id)), [Status::New; 3]);
    venue.price("SPY", "110");
    assert_eq!(
        venue.order(ids[2]).stop_price,
        Some(dec("108")),
        "the stop trails the high"
    );
    venue.price("SPY", "108");
    assert_eq!(
        ids.map(|id| venue.status(id)),
        [Status::New, Status::New, Status::Filled]
    );
    venue.price("SPY", "97");
    assert_eq!(
        ids.map(|id| venue.status(id)),
        [Status::Filled, Status::New, Status::Filled]
    );
    venue.price("SPY", "99");
    assert_eq!(
        venue.status(ids[1]),
        Status::Filled,
        "elected once, it is a limit order"
    );
}

#[test]
fn an_immediate_order_trades_at_once_or_ends() {
    for tif in [TimeInForce::Ioc, TimeInForce::Fok] {
        let mut venue = Venue::new(Market::Open);
        let away = OrderRequest {
            time_in_force: Some(tif),
            ..limit(Side::Buy, "1", "50")
        };
        let near = OrderRequest {
            time_in_force: Some(tif),
            ..limit(Side::Buy, "1", "101")
        };
        let ids = [away, near].map(|request| venue.submit(request).unwrap());
        venue.settle();
        assert_eq!(ids.map(|id| venue.status(id)), [Status::Canceled, Status::Filled]);
    }
}

#[test]
fn a_bracket_protects_what_its_entry_bought() {
    let mut venue = Venue::new(Market::Open);
    let id = venue
        .submit(bracket(limit(Side::Buy, "10", "99"), "110", "90"))
        .unwrap();
    venue.settle();
    let statuses = |venue: &Venue| venue.legs(id).iter().map(|leg| leg.status).collect::<Vec<_>>();
    assert_eq!(statuses(&venue), [Status::Held, Status::Held]);
    venue.price("SPY", "98");
    venue.settle();
    assert_eq!(venue.status(id), Status::Filled);
    assert_eq!(statuses(&venue), [Status::New, Status::New]);
    let legs = venue.legs(id);
    assert_eq!(
        venue.exchange.positions()[0].qty_available,
        Decimal::ZERO,
        "a pair keeps the shares once"
    );
    venue
        .exchange
        .fill(venue.now, legs[0].id, dec("4"), dec("110"))
        .unwrap();
    assert_eq!(
        venue.legs(id)[1].qty,
        Some(dec("6")),
        "the stop shrinks with the target"
    );
    venue.price("SPY", "89");
    assert_eq!(statuses(&venue), [Status::Canceled, Status::Filled]);
    assert!(venue.exchange.positions().is_empty());
}

#[test]
fn a_group_is_canceled_together() {
    let mut venue = Venue::new(Market::Open);
    let id = venue
        .submit(bracket(limit(Side::Buy, "10", "99"), "110", "90"))
        .unwrap();
    venue.settle();
    let leg = venue.legs(id)[1].id;
    venue.exchange.cancel(venue.now, leg).unwrap();
    venue.settle();
    assert_eq!(venue.status(id), Status::Canceled);
    assert!(venue.legs(id).iter().all(|leg| leg.status == Status::Canceled));
}

#[test]
fn an_oco_ends_a_position_one_way_or_the_other() {
    let mut venue = Venue::new(Market::Open);
    let oco = OrderRequest {
        class: Some(OrderClass::Oco),
        limit_price: None,
        take_profit: Some(TakeProfit {
            limit_price: Some(dec("110")),
        }),
        stop_loss: Some(StopLoss {
            stop_price: Some(dec("90")),
            limit_price: None,
        }),
        ..limit(Side::Sell, "5", "110")
    };
    assert_eq!(venue.refused(oco.clone()).status, 403, "an oco is an exit");
    venue.buy("5");
    let id = venue.submit(oco).unwrap();
    venue.settle();
    assert_eq!(venue.legs(id)[0].status, Status::New);
    venue.price("SPY", "90");
    assert_eq!(
        (venue.status(id), venue.legs(id)[0].status),
        (Status::Canceled, Status::Filled)
    );
}

#[test]
fn a_multi_leg_order_fills_all_its_legs_or_none() {
    let mut venue = Venue::new(Market::Open);
    venue.price("AAPL271217C00200000", "12");
    venue.price("AAPL271217C00210000", "7");
    let leg = |symbol: &str, intent| LegRequest {
        symbol: Some(symbol.to_owned()),
        ratio_qty: Some(Decimal::ONE),
        side: None,
        position_intent: Some(intent),
    };
    let spread = |price: &str| OrderRequest {
        class: Some(OrderClass::Mleg),
        symbol: None,
        side: None,
        legs: vec![
            leg("AAPL271217C00200000", PositionIntent::BuyToOpen),
            leg("AAPL271217C00210000", PositionIntent::SellToOpen),
        ],
        ..limit(Side::Buy, "2", price)
    };
    let away = venue.submit(spread("4")).unwrap();
    let near = venue.submit(spread("5.10")).unwrap();
    venue.settle();
    assert_eq!(
        (venue.status(away), venue.status(near)),
        (Status::New, Status::Filled)
    );
    assert!(
        venue
            .legs(near)
            .iter()
            .all(|leg| leg.status == Status::Filled && leg.filled_qty == dec("2"))
    );
    let fill = venue
        .exchange
        .take_events()
        .into_iter()
        .find(|event| event.execution.is_some())
        .unwrap();
    let positions: Vec<_> = fill
        .execution
        .unwrap()
        .legs
        .iter()
        .map(|leg| leg.position_qty)
        .collect();
    assert_eq!(positions, [dec("2"), dec("-2")]);
    assert_eq!(venue.exchange.cash(), dec("98996"));
    let leg = venue.legs(away)[0].id;
    assert!(
        venue.exchange.cancel(venue.now, leg).is_err(),
        "legs are not canceled alone"
    );
    venue.exchange.cancel(venue.now, away).unwrap();
    venue.settle();
    assert!(venue.legs(away).iter().all(|leg| leg.status == Status::Canceled));
}

#[test]
fn a_replacement_takes_over_with_the_fills_it_inherits() {
    let mut venue = Venue::new(Market::Open);
    let old = venue.submit(limit(Side::Buy, "10", "90")).unwrap();
    let request = ReplaceRequest {
        qty: Some(dec("8")),
        limit_price: Some(dec("91")),
        ..ReplaceRequest::default()
    };
    let early = venue
        .exchange
        .replace(venue.now, old, request.clone())
        .unwrap_err();
    assert_eq!(early.message, "cannot replace order in pending_new status");
    venue.settle();
    venue.exchange.fill(venue.now, old, dec("3"), dec("90")).unwrap();
    let unchanged = venue
        .exchange
        .replace(venue.now, old, ReplaceRequest::default())
        .unwrap_err();
    assert_eq!(unchanged.message, "order parameters are not changed");
    let new = venue.exchange.replace(venue.now, old, request).unwrap();
    assert_eq!(venue.status(old), Status::PendingReplace);
    assert!(venue.exchange.cancel(venue.now, old).is_err());
    venue.settle();
    assert_eq!(
        (venue.status(old), venue.status(new)),
        (Status::Replaced, Status::New)
    );
    assert_eq!(venue.order(old).replaced_by, Some(new));
    assert_eq!(venue.order(new).leaves_qty(), dec("5"));
    venue.price("SPY", "80");
    assert_eq!(
        (venue.status(new), venue.order(new).filled_qty),
        (Status::Filled, dec("5"))
    );
    assert_eq!(venue.exchange.positions()[0].qty, dec("8"));
}

#[test]
fn a_replacement_loses_to_a_fill() {
    let mut venue = Venue::new(Market::Open);
    let old = venue.submit(limit(Side::Buy, "10", "90")).unwrap();
    venue.settle();
    let request = ReplaceRequest {
        limit_price: Some(dec("80")),
        ..ReplaceRequest::default()
    };
    let new = venue.exchange.replace(venue.now, old, request).unwrap();
    venue.price("SPY", "85");
    venue.exchange.take_events();
    venue.settle();
    assert_eq!(
        (venue.status(old), venue.status(new)),
        (Status::Filled, Status::Rejected)
    );
    assert_eq!(
        venue.events(),
        [(new, "rejected"), (old, "order_replace_rejected")]
    );
}

#[test]
fn a_cancel_is_a_request_that_a_fill_may_beat() {
    let mut venue = Venue::new(Market::Open);
    let id = venue.submit(limit(Side::Buy, "1", "90")).unwrap();
    venue.settle();
    venue.exchange.cancel(venue.now, id).unwrap();
    assert_eq!(venue.status(id), Status::PendingCancel);
    venue.price("SPY", "85");
    venue.settle();
    assert_eq!(venue.status(id), Status::Filled);
    let refusal = venue.exchange.cancel(venue.now, id).unwrap_err();
    assert_eq!(refusal.message, "order is already in \"filled\" state");
}

#[test]
fn a_closed_market_parks_orders_and_the_open_releases_them() {
    let mut venue = Venue::new(Market::Closed);
    let id = venue.submit(market(Side::Buy, "1")).unwrap();
    let coin = venue.submit(crypto("0.01", TimeInForce::Gtc)).unwrap();
    venue.settle();
    assert_eq!(
        (venue.status(id), venue.status(coin)),
        (Status::Accepted, Status::Filled)
    );
    venue.exchange.set_market(venue.now, Market::Open);
    venue.settle();
    assert_eq!(venue.status(id), Status::Filled);
}

#[test]
fn the_calendar_opens_the_market_and_ends_day_orders() {
    // Friday 17:00 in New York.
    let mut venue = Venue::starting(Market::Calendar, "2026-10-02T21:00:00Z", 0);
    let day = venue.submit(limit(Side::Buy, "1", "10")).unwrap();
    let extended = venue
        .submit(OrderRequest {
            extended_hours: true,
            ..limit(Side::Buy, "1", "101")
        })
        .unwrap();
    venue.settle();
    assert_eq!(
        (venue.status(day), venue.status(extended)),
        (Status::Accepted, Status::Filled)
    );
    venue.pass(Duration::from_secs(3 * 24 * 3600 - 3600));
    assert_eq!(venue.status(day), Status::Expired, "Monday's close is past");
    let kinds: Vec<_> = venue
        .events()
        .into_iter()
        .filter(|(id, _)| *id == day)
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(kinds, ["accepted", "pending_new", "new", "expired"]);
}

#[test]
fn the_market_may_reject_what_was_accepted() {
    let mut venue = Venue::new(Market::Open);
    venue.exchange.reject_next(1);
    let id = venue.submit(market(Side::Buy, "1")).unwrap();
    venue.settle();
    assert_eq!(venue.events(), [(id, "pending_new"), (id, "rejected")]);
    venue.buy("1");
}

#[test]
fn a_position_is_closed_in_part_or_whole() {
    let mut venue = Venue::new(Market::Open);
    assert_eq!(
        venue
            .exchange
            .close_position(venue.now, "SPY", None, None)
            .unwrap_err()
            .status,
        404
    );
    venue.buy("10");
    venue.submit(limit(Side::Sell, "2", "150")).unwrap();
    assert!(
        venue
            .exchange
            .close_position(venue.now, "SPY", None, None)
            .is_err(),
        "open sells keep their shares"
    );
    venue
        .exchange
        .close_position(venue.now, "SPY", None, Some(dec("50")))
        .unwrap();
    venue.settle();
    assert_eq!(venue.exchange.positions()[0].qty, dec("5"));
    let closed = venue.exchange.close_all(venue.now, true);
    assert!(closed.iter().all(|(_, answer)| answer.is_ok()));
    venue.settle();
    assert!(venue.exchange.positions().is_empty());
}

#[test]
fn auction_orders_wait_for_their_auction_and_end_with_it() {
    // Monday, an hour before the open.
    let mut venue = Venue::starting(Market::Calendar, "2026-10-05T12:30:00Z", 0);
    let auction = |tif, price: &str| OrderRequest {
        time_in_force: Some(tif),
        ..limit(Side::Buy, "1", price)
    };
    let at_open = venue.submit(auction(TimeInForce::Opg, "101")).unwrap();
    let too_low = venue.submit(auction(TimeInForce::Opg, "99")).unwrap();
    let at_close = venue.submit(auction(TimeInForce::Cls, "101")).unwrap();
    venue.settle();
    for id in [at_open, too_low, at_close] {
        assert_eq!(venue.status(id), Status::Accepted);
    }
    venue.pass(Duration::from_secs(3_600));
    venue.settle();
    assert_eq!(
        (venue.status(at_open), venue.status(too_low)),
        (Status::Filled, Status::Canceled)
    );
    assert!(
        venue
            .order(at_open)
            .filled_at
            .unwrap()
            .to_string()
            .starts_with("2026-10-05T13:30:00")
    );
    assert_eq!(venue.status(at_close), Status::Accepted);
    venue.pass(Duration::from_secs(6 * 3_600 + 1_800 - 10));
    assert_eq!(venue.status(at_close), Status::Accepted);
    venue.pass(Duration::from_secs(10));
    assert_eq!(venue.status(at_close), Status::Filled);
    assert!(
        venue
            .order(at_close)
            .filled_at
            .unwrap()
            .to_string()
            .starts_with("2026-10-05T19:59:59")
    );
    venue.events();
    let tomorrow = venue.submit(auction(TimeInForce::Cls, "101")).unwrap_err();
    assert_eq!(
        tomorrow.status, 422,
        "between 15:50 and 19:00 nothing is taken for the close"
    );
}

#[test]
fn an_order_that_works_for_ninety_days_is_canceled() {
    let mut venue = Venue::new(Market::Calendar);
    let patient = OrderRequest {
        time_in_force: Some(TimeInForce::Gtc),
        ..limit(Side::Buy, "1", "50")
    };
    let id = venue.submit(patient).unwrap();
    venue.settle();
    assert_eq!(
        venue.order(id).expires_at,
        Some("2027-01-03T21:15:00Z".parse().unwrap())
    );
    venue.pass(Duration::from_secs(90 * 24 * 3_600));
    assert_eq!(venue.status(id), Status::New);
    venue.pass(Duration::from_secs(8 * 3_600));
    venue.settle();
    let order = venue.order(id);
    assert_eq!(
        (order.status, order.cancel_requested_at.is_some()),
        (Status::Canceled, true)
    );
}

#[test]
fn a_stop_that_buys_does_not_chase_a_price_that_ran_away() {
    let mut venue = Venue::new(Market::Open);
    let stop = |price: &str| OrderRequest {
        stop_price: Some(dec(price)),
        ..order("SPY", Side::Buy, "1", OrderType::Stop, TimeInForce::Day)
    };
    let id = venue.submit(stop("110")).unwrap();
    venue.settle();
    venue.price("SPY", "120");
    venue.settle();
    assert_eq!(venue.status(id), Status::New, "elected, and 9 % away");
    venue.price("SPY", "112");
    venue.settle();
    assert_eq!(venue.status(id), Status::Filled);
    assert_eq!(venue.order(id).limit_price, None, "the limit is the venue's own");
}
