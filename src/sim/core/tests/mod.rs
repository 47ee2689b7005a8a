//! The core's behaviour, told as requests and the events that follow.

mod lifecycle;
mod properties;
mod rules;

use std::time::Duration;

use jiff::Timestamp;
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
