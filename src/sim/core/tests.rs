//! The core's behaviour, told as requests and the events that follow.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;

const DELAY: Duration = Duration::from_millis(10);

/// An exchange with a clock of its own and SPY pinned at 100.
struct Venue {
    exchange: Exchange,
    now: Timestamp,
}

impl Venue {
    fn new(market: Market) -> Self {
        Self::starting(market, "2026-10-05T14:00:00Z", 0)
    }

    fn starting(market: Market, now: &str, partial_fill_percent: u8) -> Self {
        let now: Timestamp = now.parse().unwrap();
        let config = ExchangeConfig {
            seed: 7,
            cash: Decimal::from(100_000),
            market,
            event_delay: DELAY,
            partial_fill_percent,
        };
        let mut venue = Self {
            exchange: Exchange::new(config, now),
            now,
        };
        venue.price("SPY", "100");
        venue
    }

    fn price(&mut self, symbol: &str, price: &str) {
        self.exchange.set_price(self.now, symbol, dec(price));
    }

    fn submit(&mut self, request: OrderRequest) -> Result<Uuid, Refusal> {
        self.exchange.submit(self.now, request)
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.checked_add(duration).unwrap();
        self.exchange.tick(self.now);
    }

    /// Long enough for an order to be acknowledged and matched.
    fn settle(&mut self) {
        self.pass(DELAY * 4);
    }

    fn order(&self, id: Uuid) -> Order {
        self.exchange.view(id).unwrap().order
    }

    fn status(&self, id: Uuid) -> Status {
        self.order(id).status
    }

    fn legs(&self, id: Uuid) -> Vec<Order> {
        self.exchange.view(id).unwrap().legs
    }

    fn events(&mut self) -> Vec<(Uuid, &'static str)> {
        self.exchange
            .take_events()
            .iter()
            .map(|event| (event.view.order.id, event.kind.as_str()))
            .collect()
    }

    fn buy(&mut self, qty: &str) {
        let id = self.submit(market(Side::Buy, qty)).unwrap();
        self.settle();
        assert_eq!(self.status(id), Status::Filled);
    }

    fn refused(&mut self, request: OrderRequest) -> Refusal {
        self.submit(request).unwrap_err()
    }
}

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn order(symbol: &str, side: Side, qty: &str, order_type: OrderType, tif: TimeInForce) -> OrderRequest {
    OrderRequest {
        symbol: Some(symbol.to_owned()),
        qty: Some(dec(qty)),
        side: Some(side),
        order_type: Some(order_type),
        time_in_force: Some(tif),
        ..OrderRequest::default()
    }
}

fn market(side: Side, qty: &str) -> OrderRequest {
    order("SPY", side, qty, OrderType::Market, TimeInForce::Day)
}

fn limit(side: Side, qty: &str, price: &str) -> OrderRequest {
    let limit_price = Some(dec(price));
    OrderRequest {
        limit_price,
        ..order("SPY", side, qty, OrderType::Limit, TimeInForce::Day)
    }
}

fn crypto(qty: &str, tif: TimeInForce) -> OrderRequest {
    order("BTC/USD", Side::Buy, qty, OrderType::Market, tif)
}

fn bracket(entry: OrderRequest, target: &str, stop: &str) -> OrderRequest {
    OrderRequest {
        class: Some(OrderClass::Bracket),
        take_profit: Some(TakeProfit {
            limit_price: Some(dec(target)),
        }),
        stop_loss: Some(StopLoss {
            stop_price: Some(dec(stop)),
            limit_price: None,
        }),
        ..entry
    }
}

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

/// One thing a client or the market may do.
#[derive(Clone, Debug)]
enum Act {
    Submit(Box<OrderRequest>),
    Cancel(usize),
    Replace(usize, u32, i64),
    Fill(usize, u32, i64),
    Price(&'static str, i64),
    Market(Market),
    Close(bool),
    Pass(u64),
}

fn arb_request() -> impl Strategy<Value = OrderRequest> {
    let symbol = prop::sample::select(vec![
        "SPY",
        "AAPL",
        "BTC/USD",
        "AAPL271217C00200000",
        "AAPL271217P00200000",
    ]);
    let side = prop::sample::select(vec![Side::Buy, Side::Sell]);
    let kind = prop::sample::select(vec![
        OrderType::Market,
        OrderType::Limit,
        OrderType::Stop,
        OrderType::StopLimit,
        OrderType::TrailingStop,
    ]);
    let tif = prop::sample::select(vec![
        TimeInForce::Day,
        TimeInForce::Gtc,
        TimeInForce::Ioc,
        TimeInForce::Fok,
    ]);
    let class = prop::sample::select(vec![
        OrderClass::Simple,
        OrderClass::Simple,
        OrderClass::Bracket,
        OrderClass::Oco,
        OrderClass::Oto,
    ]);
    let sizes = (1_u32..40, 80_i64..120, 1_i64..30, any::<bool>());
    (symbol, side, kind, tif, class, sizes).prop_map(
        |(symbol, side, kind, tif, class, (qty, price, gap, is_notional))| {
            let price = Decimal::from(price);
            let gap = if side == Side::Buy {
                Decimal::from(gap)
            } else {
                Decimal::from(-gap)
            };
            let is_limit = matches!(kind, OrderType::Limit | OrderType::StopLimit);
            let is_stop = matches!(kind, OrderType::Stop | OrderType::StopLimit);
            let is_notional = is_notional && class == OrderClass::Simple && tif == TimeInForce::Day;
            OrderRequest {
                qty: (!is_notional).then(|| Decimal::from(qty)),
                notional: is_notional.then(|| Decimal::from(qty) * Decimal::TEN),
                limit_price: is_limit.then_some(price),
                stop_price: is_stop.then_some(price),
                trail_percent: (kind == OrderType::TrailingStop).then_some(Decimal::ONE),
                class: Some(class),
                take_profit: (class != OrderClass::Simple).then_some(TakeProfit {
                    limit_price: Some(price + gap),
                }),
                stop_loss: matches!(class, OrderClass::Bracket | OrderClass::Oco).then_some(StopLoss {
                    stop_price: Some(price - gap),
                    limit_price: None,
                }),
                ..order(symbol, side, "1", kind, tif)
            }
        },
    )
}

fn arb_act() -> impl Strategy<Value = Act> {
    let symbol = prop::sample::select(vec!["SPY", "AAPL", "BTC/USD", "AAPL271217C00200000"]);
    let market = prop::sample::select(vec![Market::Open, Market::Closed, Market::Calendar]);
    prop_oneof![
        8 => arb_request().prop_map(|request| Act::Submit(Box::new(request))),
        2 => any::<usize>().prop_map(Act::Cancel),
        2 => (any::<usize>(), 1_u32..40, 80_i64..120).prop_map(|(at, qty, price)| Act::Replace(at, qty, price)),
        3 => (any::<usize>(), 1_u32..20, 80_i64..120).prop_map(|(at, qty, price)| Act::Fill(at, qty, price)),
        4 => (symbol, 80_i64..120).prop_map(|(symbol, price)| Act::Price(symbol, price)),
        1 => market.prop_map(Act::Market),
        1 => any::<bool>().prop_map(Act::Close),
        6 => (0_u64..40).prop_map(Act::Pass),
    ]
}

fn perform(venue: &mut Venue, act: Act) {
    let pick = |venue: &Venue, at: usize| {
        let ids: Vec<_> = venue.exchange.orders().map(|order| order.id).collect();
        at.checked_rem(ids.len()).map(|at| ids[at])
    };
    match act {
        Act::Submit(request) => drop(venue.submit(*request)),
        Act::Cancel(at) => drop(pick(venue, at).map(|id| venue.exchange.cancel(venue.now, id))),
        Act::Replace(at, qty, price) => {
            let (qty, price) = (Some(Decimal::from(qty)), Some(Decimal::from(price)));
            let request = ReplaceRequest {
                qty,
                limit_price: price,
                stop_price: price,
                ..ReplaceRequest::default()
            };
            let only_price = ReplaceRequest {
                qty: None,
                ..request.clone()
            };
            if let Some(id) = pick(venue, at)
                && venue.exchange.replace(venue.now, id, request).is_err()
            {
                drop(venue.exchange.replace(venue.now, id, only_price));
            }
        }
        Act::Fill(at, qty, price) => {
            let (qty, price) = (Decimal::from(qty), Decimal::from(price));
            drop(pick(venue, at).map(|id| venue.exchange.fill(venue.now, id, qty, price)));
        }
        Act::Price(symbol, price) => venue.price(symbol, &price.to_string()),
        Act::Market(market) => venue.exchange.set_market(venue.now, market),
        Act::Close(cancel_orders) => drop(venue.exchange.close_all(venue.now, cancel_orders)),
        Act::Pass(millis) => venue.pass(Duration::from_millis(millis)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: money and units conserve, nothing fills beyond its size, nothing leaves a terminal
    /// state, client ids stay unique, and the indexes agree with the orders.
    #[test]
    fn the_books_always_balance(acts in prop::collection::vec(arb_act(), 1..80), partial in 0_u8..100) {
        let mut venue = Venue::starting(Market::Open, "2026-10-05T14:00:00Z", partial);
        venue.price("AAPL", "100");
        venue.price("BTC/USD", "100");
        let mut last: HashMap<Uuid, (Status, Decimal)> = HashMap::new();
        for act in acts {
            perform(&mut venue, act);
            for event in venue.exchange.take_events() {
                let seen = &event.view.order;
                if let Some((before, filled)) = last.insert(seen.id, (seen.status, seen.filled_qty)) {
                    let is_echo = event.kind == EventKind::OrderReplaceRejected;
                    prop_assert!(is_echo || !before.is_terminal(), "{before:?} left by {:?}", event.kind);
                    prop_assert!(seen.filled_qty >= filled);
                }
            }
        }
        let mut cash = Decimal::from(100_000);
        let mut units: HashMap<String, Decimal> = HashMap::new();
        let mut filled: HashMap<Uuid, Decimal> = HashMap::new();
        for fill in venue.exchange.fills() {
            let asset = venue.exchange.find_asset(&fill.symbol).unwrap();
            let is_coin = asset.class == AssetClass::Crypto;
            let fee = if is_coin { dec("0.0025") } else { Decimal::ZERO };
            let value = fill.qty * fill.price * asset.multiplier();
            let (coins, dollars) = match fill.side {
                Side::Buy => (fill.qty * (Decimal::ONE - fee), -value),
                Side::Sell => (-fill.qty, value * (Decimal::ONE - fee)),
            };
            cash += dollars;
            *units.entry(fill.symbol.clone()).or_default() += coins;
            *filled.entry(fill.order_id).or_default() += fill.qty;
        }
        let close = |a: Decimal, b: Decimal| (a - b).abs() < dec("0.000001");
        prop_assert!(close(cash, venue.exchange.cash()), "{cash} {}", venue.exchange.cash());
        for (symbol, qty) in units {
            prop_assert!(close(qty, venue.exchange.ledger.qty(&symbol)), "{symbol}");
        }
        let mut ids = std::collections::HashSet::new();
        let mut held = Decimal::ZERO;
        for order in venue.exchange.orders() {
            prop_assert!(ids.insert(order.client_order_id.clone()));
            prop_assert_eq!(order.filled_qty, filled.get(&order.id).copied().unwrap_or_default());
            if let Some(qty) = order.qty {
                prop_assert!(order.filled_qty + order.carried_qty <= qty, "{order:?}");
            }
            if let Some(notional) = order.notional {
                prop_assert!(order.filled_value <= notional, "{order:?}");
            }
            held += order.hold();
        }
        prop_assert_eq!(held, venue.exchange.book.held());
        let open = venue.exchange.orders().filter(|order| !order.status.is_terminal() && !order.is_leg_of_mleg());
        prop_assert_eq!(open.count(), venue.exchange.book.open().count());
    }
}
