//! Laws that hold whatever clients and the market do.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

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
            for (symbol, recounted) in venue.exchange.book.recounted() {
                prop_assert_eq!(venue.exchange.book.standing(&symbol), Some(&recounted), "{}", symbol);
            }
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

    /// The same seed and the same calls give the same events, to the letter.
    #[test]
    fn a_run_can_be_repeated(acts in prop::collection::vec(arb_act(), 1..40), partial in 0_u8..100) {
        let run = |acts: Vec<Act>| {
            let mut venue = Venue::starting(Market::Open, "2026-10-05T14:00:00Z", partial);
            let told = acts.into_iter().flat_map(|act| {
                perform(&mut venue, act);
                venue.exchange.take_events()
            });
            told.map(|event| crate::sim::json::trade_update(&event)).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(acts.clone()), run(acts));
    }
}
