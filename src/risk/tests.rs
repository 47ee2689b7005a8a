//! The limits as a table, and the property that no order which would break one passes, whatever else happens at once.

mod counting;
mod properties;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::date;
use uuid::Uuid;

use super::*;
use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::limits::{Bounds, Hours};
use crate::domain::order::{
    Changes, Exits, PositionIntent, Pricing, Replacement, Side, Size, StopLoss, Structure, TakeProfit,
    TimeInForce,
};
use crate::domain::{Account, AssetClass, NewOrder, OrderId, OrderStatus, Position, Price, Quantity};

/// The command all orders come by, unless a test says otherwise.
const COMMAND: CommandId = CommandId::NONE;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

fn id(text: &str) -> ClientOrderId {
    ClientOrderId::parse(text).unwrap()
}

fn single(name: &str, side: Side, qty: &str, pricing: Pricing) -> NewOrder {
    NewOrder {
        structure: Structure::Single {
            symbol: symbol(name),
            side,
            pricing,
            exits: Exits::None,
        },
        size: Size::Quantity(Quantity::parse(qty).unwrap()),
        time_in_force: TimeInForce::Day,
        extended_hours: false,
        position_intent: None,
        advanced: None,
        valid_until: None,
    }
}

fn limit(price: &str) -> Pricing {
    Pricing::Limit {
        limit: Price::parse(price).unwrap(),
    }
}

fn held(name: &str, qty: &str, price: &str) -> Position {
    let (qty, price) = (decimal(qty), decimal(price));
    Position {
        asset_id: String::new(),
        symbol: symbol(name),
        exchange: String::new(),
        asset_class: AssetClass::UsEquity,
        asset_marginable: true,
        qty,
        qty_available: None,
        avg_entry_price: None,
        side: String::new(),
        market_value: qty.checked_mul(price),
        cost_basis: None,
        unrealized_pl: None,
        unrealized_plpc: None,
        unrealized_intraday_pl: None,
        unrealized_intraday_plpc: None,
        current_price: Some(price),
        lastday_price: None,
        change_today: None,
    }
}

fn account(equity: &str, last_equity: &str, power: &str) -> Account {
    Account {
        equity: Some(decimal(equity)),
        last_equity: Some(decimal(last_equity)),
        buying_power: Some(decimal(power)),
        shorting_enabled: true,
        ..Account::unstated()
    }
}

/// A risk desk, and everything it looks at.
struct Bench {
    risk: Risk,
    blotter: Blotter,
    clock: Clock,
    holdings: watch::Sender<Option<Arc<Holdings>>>,
    account: watch::Sender<Option<Arc<AccountStatement>>>,
    market: watch::Sender<Option<MarketClock>>,
    quotes: Quotes,
    orders: u128,
}

impl Bench {
    /// Monday, noon in New York.
    fn new(limits: Limits) -> Self {
        let noon = date(2026, 11, 30)
            .at(12, 0, 0, 0)
            .in_tz("America/New_York")
            .unwrap();
        let clock = Clock::tied_to_tokio(noon.timestamp());
        let holdings = watch::Sender::new(None);
        let account = watch::Sender::new(None);
        let market = watch::Sender::new(None);
        let statements = Statements {
            holdings: holdings.subscribe(),
            account: account.subscribe(),
            clock: market.subscribe(),
        };
        let blotter = Blotter::default();
        let bench = Self {
            risk: Risk::new(limits, false, statements, blotter.clone(), None, clock.clone()),
            blotter,
            clock,
            holdings,
            account,
            market,
            quotes: Quotes::new(),
            orders: 0,
        };
        bench.hold(&[]);
        bench.state_account("100000", "100000", "200000");
        bench
    }

    fn hold(&self, positions: &[Position]) {
        self.holdings.send_replace(Some(Arc::new(Holdings {
            positions: positions.to_vec(),
            as_of: self.clock.now(),
            source: "rest",
            fresh: true,
            version: 1,
        })));
    }

    fn state_account(&self, equity: &str, last_equity: &str, power: &str) {
        self.account.send_replace(Some(Arc::new(AccountStatement {
            account: account(equity, last_equity, power),
            as_of: self.clock.now(),
            source: "rest",
            fresh: true,
            version: 1,
        })));
    }

    fn quote(&mut self, name: &str, bid: &str, ask: &str) {
        let quote = Quote {
            bid: Some(decimal(bid)),
            ask: Some(decimal(ask)),
            at: self.clock.now(),
        };
        self.quotes.insert(symbol(name), quote);
    }

    fn ask(&self, name: &str, order: NewOrder) -> Result<(), NotAdmitted> {
        self.risk.admit(
            COMMAND,
            &id(name),
            &Placement::New(order),
            Judged::ByLimits,
            &self.quotes,
        )
    }

    /// The limit that an order would break, and which does not count then.
    fn breach(&self, name: &str, order: NewOrder) -> String {
        match self.ask(name, order) {
            Ok(()) => {
                self.risk.over(COMMAND, &id(name));
                "none".to_owned()
            }
            Err(NotAdmitted::Breach(breach)) => breach.limit.as_str().to_owned(),
            Err(NotAdmitted::Enlarges) => "enlarges".to_owned(),
            Err(NotAdmitted::Lapsed) => "lapsed".to_owned(),
        }
    }

    /// The venue takes an order.
    fn work(&mut self, name: &str, order: &NewOrder) -> Order {
        self.orders += 1;
        let order = Order {
            id: Some(OrderId::from_uuid(Uuid::from_u128(self.orders))),
            status: OrderStatus::New,
            failed_at: None,
            ..Order::refused(name, Some(order), self.clock.now())
        };
        self.risk.accepted(
            &id(name),
            &Acceptance {
                order_id: order.id,
                order: Some(Arc::new(order.clone())),
                ..Acceptance::default()
            },
        );
        order
    }
}

fn of_account(set: impl FnOnce(&mut Bounds)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits.account);
    limits
}

fn buy(qty: &str, price: &str) -> NewOrder {
    single("AAPL", Side::Buy, qty, limit(price))
}

fn sell(qty: &str, price: &str) -> NewOrder {
    single("AAPL", Side::Sell, qty, limit(price))
}

#[test]
fn the_size_of_an_order_is_bounded_in_shares_and_in_dollars() {
    let mut bench = Bench::new(of_account(|bounds| {
        bounds.max_order_qty = Some(decimal("100"));
        bounds.max_order_notional = Some(decimal("5000"));
    }));
    assert_eq!(bench.breach("a", buy("100", "50")), "none");
    assert_eq!(bench.breach("a", buy("100.5", "1")), "max_order_qty");
    assert_eq!(bench.breach("a", buy("100", "50.01")), "max_order_notional");
    // Without a quote nobody can say what a market order comes to.
    let market = single("AAPL", Side::Buy, "10", Pricing::Market);
    assert_eq!(bench.breach("a", market.clone()), "max_order_notional");
    bench.quote("AAPL", "499", "500");
    assert_eq!(bench.breach("a", market.clone()), "none");
    bench.quote("AAPL", "499", "501");
    assert_eq!(bench.breach("a", market), "max_order_notional");
    // A sell may be filled above its limit.
    assert_eq!(bench.breach("a", sell("10", "1")), "none");
    bench.quote("AAPL", "501", "502");
    assert_eq!(bench.breach("a", sell("10", "1")), "max_order_notional");
    let mut dollars = single("AAPL", Side::Buy, "1", Pricing::Market);
    dollars.size = Size::Notional(crate::domain::Notional::parse("5001").unwrap());
    assert_eq!(bench.breach("a", dollars), "max_order_notional");
    // A contract stands for a hundred shares.
    let option = single("SPY301220C00700000", Side::Buy, "10", limit("5.01"));
    assert_eq!(bench.breach("a", option), "max_order_notional");
    let huge = buy("79228162514264337593543950335", "79228162514264337593543950335");
    assert_eq!(bench.breach("a", huge), "max_order_qty");
}

#[test]
fn numbers_that_are_too_large_to_multiply_are_a_breach_and_no_panic() {
    let huge = buy("79228162514264337593543950335", "79228162514264337593543950335");
    for set in [
        (|bounds: &mut Bounds| bounds.max_order_notional = Some(Decimal::MAX)) as fn(&mut Bounds),
        |bounds| bounds.max_position_notional = Some(Decimal::MAX),
        |bounds| bounds.max_gross_exposure = Some(Decimal::MAX),
        |bounds| bounds.check_buying_power = true,
    ] {
        let bench = Bench::new(of_account(set));
        assert_ne!(bench.breach("a", huge.clone()), "none");
    }
    let bench = Bench::new(of_account(|bounds| bounds.max_position_qty = Some(Decimal::MAX)));
    assert_eq!(bench.ask("a", huge.clone()), Ok(()));
    assert_eq!(
        bench.breach("b", huge),
        "max_position_qty",
        "the two together cannot be said"
    );
}

#[test]
fn a_price_is_held_against_a_young_quote_on_its_aggressive_side() {
    let mut bench = Bench::new(of_account(|bounds| {
        bounds.price_collar_percent = Some(decimal("5"));
        bounds.max_quote_age = Some(Duration::from_secs(5));
    }));
    assert_eq!(bench.breach("a", buy("1", "100")), "max_quote_age");
    bench.quote("AAPL", "99", "100");
    assert_eq!(bench.breach("a", buy("1", "105")), "none");
    assert_eq!(bench.breach("a", buy("1", "105.01")), "price_collar_percent");
    assert_eq!(
        bench.breach("a", buy("1", "1")),
        "none",
        "it waits, and costs nothing"
    );
    assert_eq!(bench.breach("a", sell("1", "94.05")), "none");
    assert_eq!(bench.breach("a", sell("1", "94.04")), "price_collar_percent");
    assert_eq!(
        bench.breach("a", single("AAPL", Side::Buy, "1", Pricing::Market)),
        "none"
    );
    bench.clock.advance(Duration::from_secs(6));
    assert_eq!(bench.breach("a", buy("1", "100")), "max_quote_age");
}

#[test]
fn orders_begun_are_counted_by_the_second_the_minute_and_the_day() {
    let bench = Bench::new(of_account(|bounds| {
        bounds.max_orders_per_second = Some(2);
        bounds.max_orders_per_minute = Some(3);
        bounds.max_orders_per_day = Some(4);
    }));
    let ask = |name: &str| bench.breach(name, buy("1", "1"));
    assert_eq!(
        [ask("1"), ask("2"), ask("3")],
        ["none", "none", "max_orders_per_second"]
    );
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!([ask("4"), ask("5")], ["none", "max_orders_per_minute"]);
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!([ask("6"), ask("7")], ["none", "max_orders_per_day"]);
    bench.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(ask("8"), "none");
    // After a restart the venue's list of today says how many there were.
    let today: Vec<Order> = (0..4)
        .map(|_| Order::refused("x", None, bench.clock.now()))
        .collect();
    bench.risk.recall(&today);
    bench.clock.advance(Duration::from_secs(120));
    assert_eq!(ask("9"), "max_orders_per_day");
}

#[test]
fn a_position_counts_with_everything_that_may_still_be_filled() {
    let mut limits = Limits::default();
    limits.symbols.insert(
        symbol("AAPL"),
        Bounds {
            max_position_qty: Some(decimal("100")),
            ..Bounds::default()
        },
    );
    let mut bench = Bench::new(limits);
    bench.hold(&[held("AAPL", "60", "10")]);
    assert_eq!(bench.breach("a", buy("41", "10")), "max_position_qty");
    assert_eq!(bench.ask("a", buy("30", "10")), Ok(()));
    assert_eq!(bench.breach("b", buy("11", "10")), "max_position_qty");
    assert_eq!(bench.ask("b", buy("10", "10")), Ok(()));
    assert_eq!(bench.breach("c", sell("161", "10")), "max_position_qty");
    assert_eq!(bench.ask("c", sell("160", "10")), Ok(()), "short by the rest");
    assert_eq!(
        bench.breach("d", single("MSFT", Side::Buy, "9999", limit("1"))),
        "none",
        "another symbol"
    );
    // A fill that the positions do not show yet.
    let order = buy("30", "10");
    let working = bench.work("a", &order);
    let filled = Order {
        status: OrderStatus::Filled,
        filled_qty: decimal("30"),
        ..working
    };
    bench.blotter.tell(&filled, false);
    bench.blotter.tell_fill(&fill(&filled, "30", bench.clock.now()));
    assert_eq!(bench.breach("e", buy("1", "10")), "max_position_qty");
    bench.clock.advance(Duration::from_secs(10));
    bench.hold(&[held("AAPL", "70", "10")]);
    assert_eq!(bench.breach("e", buy("21", "10")), "max_position_qty");
    assert_eq!(bench.breach("e", buy("20", "10")), "none");
    // What is not known is not kept.
    bench.holdings.send_replace(None);
    assert_eq!(bench.breach("e", buy("1", "10")), "max_position_qty");
}

fn fill(order: &Order, qty: &str, at: Timestamp) -> crate::domain::ExecutionReport {
    crate::domain::ExecutionReport {
        event: "fill".to_owned(),
        at,
        timestamp: at,
        event_id: None,
        execution_id: None,
        order: order.clone(),
        position_qty: None,
        last_px: None,
        last_qty: Some(decimal(qty)),
        reason: None,
        recovered: false,
    }
}

#[test]
fn gross_exposure_adds_long_and_short_up_and_never_keeps_a_position_from_shrinking() {
    let bench = Bench::new(of_account(|bounds| {
        bounds.max_gross_exposure = Some(decimal("3000"))
    }));
    bench.hold(&[held("AAPL", "100", "10"), held("MSFT", "-100", "10")]);
    assert_eq!(
        bench.breach("a", single("NVDA", Side::Buy, "100", limit("10"))),
        "none"
    );
    assert_eq!(
        bench.breach("a", single("NVDA", Side::Buy, "101", limit("10"))),
        "max_gross_exposure"
    );
    assert_eq!(
        bench.ask("n", single("NVDA", Side::Buy, "90", limit("10"))),
        Ok(())
    );
    assert_eq!(
        bench.breach("a", single("NVDA", Side::Sell, "101", limit("10"))),
        "max_gross_exposure"
    );
    bench.hold(&[held("AAPL", "1000", "10"), held("MSFT", "-100", "10")]);
    assert_eq!(bench.breach("a", buy("1", "10")), "max_gross_exposure");
    assert_eq!(bench.breach("a", sell("500", "10")), "none", "it only reduces");
    assert_eq!(
        bench.breach("a", sell("1001", "10")),
        "max_gross_exposure",
        "it turns the position around"
    );
}

#[test]
fn nobody_buys_for_more_than_the_account_can_pay() {
    let mut bench = Bench::new(of_account(|bounds| bounds.check_buying_power = true));
    bench.state_account("1000", "1000", "1000");
    assert_eq!(bench.ask("a", buy("60", "10")), Ok(()));
    assert_eq!(bench.breach("b", buy("41", "10")), "check_buying_power");
    assert_eq!(bench.breach("b", buy("40", "10")), "none");
    let order = buy("60", "10");
    let working = bench.work("a", &order);
    assert_eq!(
        bench.breach("b", buy("41", "10")),
        "check_buying_power",
        "the statement is older"
    );
    bench.clock.advance(Duration::from_secs(1));
    bench.state_account("1000", "1000", "400");
    assert_eq!(bench.breach("b", buy("40", "10")), "none");
    assert!(working.qty.is_some());
    bench.hold(&[held("AAPL", "100", "10")]);
    assert_eq!(
        bench.breach("b", sell("100", "10")),
        "none",
        "what closes costs nothing"
    );
}

#[test]
fn too_large_a_loss_lets_nothing_begin_but_what_reduces() {
    let bench = Bench::new(of_account(|bounds| bounds.max_daily_loss = Some(decimal("500"))));
    bench.hold(&[held("AAPL", "100", "10")]);
    bench.state_account("99500", "100000", "1");
    assert_eq!(bench.breach("a", buy("1", "1")), "none");
    assert_eq!(bench.risk.excessive_loss(), None);
    bench.state_account("99499.99", "100000", "1");
    assert_eq!(bench.breach("a", buy("1", "1")), "max_daily_loss");
    assert_eq!(bench.breach("a", sell("10", "1")), "none");
    assert_eq!(
        bench.risk.excessive_loss(),
        Some((decimal("500"), decimal("500.01")))
    );
    bench.account.send_replace(None);
    assert_eq!(
        bench.breach("a", buy("1", "1")),
        "max_daily_loss",
        "what is not known is not kept"
    );
}

#[test]
fn symbols_and_times_are_bounded() {
    let only = |names: &[&str]| -> BTreeSet<Symbol> { names.iter().map(|name| symbol(name)).collect() };
    let bench = Bench::new(of_account(|bounds| bounds.restricted_symbols = only(&["AAPL"])));
    bench.hold(&[held("AAPL", "10", "10")]);
    assert_eq!(bench.breach("a", buy("1", "1")), "restricted_symbols");
    assert_eq!(bench.breach("a", sell("10", "1")), "none", "what closes passes");
    assert_eq!(bench.breach("a", sell("11", "1")), "restricted_symbols");
    let bench = Bench::new(of_account(|bounds| bounds.allowed_symbols = only(&["BTC/USD"])));
    assert_eq!(bench.breach("a", buy("1", "1")), "allowed_symbols");
    assert_eq!(
        bench.breach("a", single("BTCUSD", Side::Buy, "1", limit("1"))),
        "none"
    );

    let at = |hour, minute| jiff::civil::time(hour, minute, 0, 0);
    for (from, until, expected) in [
        (at(9, 30), at(15, 55), "none"),
        (at(9, 30), at(12, 0), "hours"),
        (at(12, 0), at(12, 1), "none"),
        (at(12, 1), at(13, 0), "hours"),
    ] {
        let bench = Bench::new(of_account(|bounds| bounds.hours = vec![Hours { from, until }]));
        assert_eq!(bench.breach("a", buy("1", "1")), expected, "{from} {until}");
    }
    let bench = Bench::new(of_account(|bounds| {
        bounds.hours = vec![Hours {
            from: at(0, 0),
            until: at(23, 59),
        }];
    }));
    bench.clock.advance(Duration::from_secs(5 * 24 * 3600));
    assert_eq!(bench.breach("a", buy("1", "1")), "hours", "on a Saturday");

    let bench = Bench::new(of_account(|bounds| bounds.regular_session_only = true));
    assert_eq!(
        bench.breach("a", buy("1", "1")),
        "regular_session_only",
        "nobody has said"
    );
    let said = |is_open, opens: i64, closes: i64| MarketClock {
        timestamp: bench.clock.now(),
        is_open,
        next_open: bench
            .clock
            .now()
            .checked_add(jiff::SignedDuration::from_secs(opens))
            .ok(),
        next_close: bench
            .clock
            .now()
            .checked_add(jiff::SignedDuration::from_secs(closes))
            .ok(),
    };
    bench.market.send_replace(Some(said(true, 1000, 60)));
    assert_eq!(bench.breach("a", buy("1", "1")), "none");
    bench.market.send_replace(Some(said(false, 60, 1000)));
    assert_eq!(bench.breach("a", buy("1", "1")), "regular_session_only");
    assert_eq!(
        bench.breach("a", single("BTC/USD", Side::Buy, "1", limit("1"))),
        "none"
    );
    bench.market.send_replace(Some(said(true, 1000, 60)));
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(
        bench.breach("a", buy("1", "1")),
        "regular_session_only",
        "it has closed since"
    );
}

#[test]
fn the_same_order_is_not_begun_twice_in_a_moment() {
    let bench = Bench::new(of_account(|bounds| {
        bounds.repeat_guard = Some(Duration::from_secs(2))
    }));
    assert_eq!(bench.ask("m.1", buy("1", "10")), Ok(()));
    assert_eq!(bench.ask("m.1", buy("1", "10")), Ok(()), "it is the same one");
    assert_eq!(
        bench.breach("m.2", buy("1.0", "10.00")),
        "repeat_guard",
        "however it is written"
    );
    assert_eq!(bench.breach("n.1", buy("1", "10")), "none", "of another strategy");
    assert_eq!(bench.breach("m.3", buy("2", "10")), "none");
    assert_eq!(bench.breach("m.4", sell("1", "10")), "none");
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.breach("m.5", buy("1", "10")), "none");
}

#[test]
fn in_mode_reduce_only_an_order_is_held_against_what_else_may_be_filled() {
    let mut bench = Bench::new(Limits::default());
    bench.hold(&[held("AAPL", "100", "10"), held("MSFT", "-50", "10")]);
    let reduces = |bench: &Bench, name: &str, order: NewOrder| {
        let placement = Placement::New(order);
        bench
            .risk
            .admit(COMMAND, &id(name), &placement, Judged::MustReduce, &Quotes::new())
            .is_ok()
    };
    let msft = |side, qty: &str| single("MSFT", side, qty, Pricing::Market);
    assert!(!reduces(&bench, "a", buy("1", "10")));
    assert!(!reduces(&bench, "a", sell("101", "10")));
    assert!(reduces(&bench, "a", sell("60", "10")));
    assert!(!reduces(&bench, "b", sell("41", "10")), "a may be filled first");
    assert!(reduces(&bench, "b", sell("40", "10")));
    assert!(reduces(&bench, "c", msft(Side::Buy, "50")));
    assert!(!reduces(&bench, "d", msft(Side::Sell, "1")));
    assert!(!reduces(
        &bench,
        "d",
        single("NVDA", Side::Sell, "1", Pricing::Market)
    ));
    bench.risk.over(COMMAND, &id("a"));
    bench.risk.over(COMMAND, &id("b"));
    let mut opens = sell("10", "10");
    opens.position_intent = Some(PositionIntent::SellToOpen);
    assert!(!reduces(&bench, "e", opens));
    let mut bracket = sell("10", "10");
    if let Structure::Single { exits, .. } = &mut bracket.structure {
        let take = TakeProfit {
            limit: Price::parse("9").unwrap(),
        };
        let stop = StopLoss {
            stop: Price::parse("11").unwrap(),
            limit: None,
        };
        *exits = Exits::Bracket(take, stop);
    }
    assert!(!reduces(&bench, "e", bracket), "its exits would buy");
    // Two ways out of one position sell it once.
    let exit = |number: u128, order_type| Order {
        id: Some(OrderId::from_uuid(Uuid::from_u128(900 + number))),
        client_order_id: Uuid::from_u128(900 + number).to_string(),
        order_class: Some(OrderClass::Bracket),
        order_type: Some(order_type),
        status: OrderStatus::New,
        ..Order::refused("", Some(&sell("70", "10")), bench.clock.now())
    };
    let (take, stop) = (exit(1, OrderType::Limit), exit(2, OrderType::Stop));
    bench.blotter.tell(&take, false);
    bench.blotter.tell(&stop, false);
    assert!(reduces(&bench, "f", sell("30", "10")));
    bench.risk.over(COMMAND, &id("f"));
    assert!(!reduces(&bench, "f", sell("31", "10")));
    let order = sell("10", "10");
    let working = bench.work("g", &order);
    let replacement = |qty: &str| {
        Placement::Replacement(Replacement {
            replaces: working.id.unwrap(),
            changes: Changes {
                quantity: Some(Quantity::parse(qty).unwrap()),
                ..Changes::default()
            },
        })
    };
    let admit = |qty: &str| {
        let judged = bench.risk.admit(
            COMMAND,
            &id("h"),
            &replacement(qty),
            Judged::MustReduce,
            &Quotes::new(),
        );
        bench.risk.over(COMMAND, &id("h"));
        judged.is_ok()
    };
    assert!(admit("30"), "the old one goes");
    assert!(!admit("31"));
    bench.holdings.send_replace(None);
    assert!(
        !reduces(&bench, "i", sell("1", "10")),
        "nobody knows what is held"
    );
}

#[test]
fn a_strategy_whose_lease_has_lapsed_begins_nothing_and_closes() {
    let bench = Bench::new(Limits::default());
    bench.risk.lapsed("m", true);
    assert_eq!(bench.breach("m.1", buy("1", "1")), "lapsed");
    assert_eq!(bench.breach("n.1", buy("1", "1")), "none");
    let close = Placement::New(sell("1", "1"));
    assert_eq!(
        bench
            .risk
            .admit(COMMAND, &id("m.2"), &close, Judged::Never, &Quotes::new()),
        Ok(())
    );
    bench.risk.lapsed("m", false);
    assert_eq!(bench.breach("m.1", buy("1", "1")), "none");
}

#[test]
fn limits_that_are_changed_hold_for_the_next_order() {
    let bench = Bench::new(of_account(|bounds| bounds.max_order_qty = Some(decimal("10"))));
    assert_eq!(bench.breach("a", buy("11", "1")), "max_order_qty");
    bench
        .risk
        .set_limits(of_account(|bounds| bounds.max_order_qty = Some(decimal("11"))));
    assert_eq!(bench.breach("a", buy("11", "1")), "none");
}
