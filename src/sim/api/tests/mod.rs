//! Requests and answers, without sockets.

mod activities;
mod configuration;
mod exercise;
mod listings;
mod orders;

use std::time::Duration;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::super::core::{ExchangeConfig, Market};
use super::*;

fn exchange(now: Timestamp) -> Exchange {
    let config = ExchangeConfig {
        seed: 3,
        cash: Decimal::from(100_000),
        market: Market::Open,
        event_delay: Duration::from_millis(1),
        partial_fill_percent: 0,
    };
    Exchange::new(config, now)
}

/// Values that fields do not expect, beside some they do.
fn nasty() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "null",
        "\"\"",
        "0",
        "-0",
        "1",
        "\"1\"",
        "0.000000001",
        "1e-28",
        "79228162514264337593543950335",
        "\"-79228162514264337593543950335\"",
        "1e28",
        "1e400",
        "1000000000",
        "100000000",
        "99.5",
        "true",
        "[]",
        "{}",
        "\"buy\"",
        "\"sell\"",
        "\"limit\"",
        "\"market\"",
        "\"stop_limit\"",
        "\"trailing_stop\"",
        "\"stop\"",
        "\"day\"",
        "\"gtc\"",
        "\"bracket\"",
        "\"oco\"",
        "\"SPY\"",
        "\"BTC/USD\"",
        "\"AAPL991231C00000001\"",
        "\"AAPL000229P99999999\"",
        "\"\\u0000\\ud83d\\ude00\"",
        "{\"limit_price\":1e9,\"stop_price\":\"1\"}",
    ])
}

fn field(expected: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => prop::sample::select(expected), 1 => nasty()]
}

fn arb_order() -> impl Strategy<Value = String> {
    let fields = (
        field(&["\"SPY\"", "\"BTC/USD\"", "\"F\"", "\"AAPL271217C00200000\""]),
        field(&["1", "\"0.5\"", "1000000000", "100"]),
        field(&["\"buy\"", "\"sell\""]),
        field(&[
            "\"limit\"",
            "\"market\"",
            "\"trailing_stop\"",
            "\"stop\"",
            "\"stop_limit\"",
        ]),
        field(&["\"day\"", "\"gtc\""]),
        field(&["null", "100", "0.0001", "100000000"]),
        field(&["null", "100", "0.0001", "100000000"]),
        field(&["null", "\"bracket\"", "\"oco\"", "\"oto\""]),
        field(&[
            "null",
            "{\"limit_price\":\"200\",\"stop_price\":10}",
            "{\"stop_price\":0.01}",
        ]),
    );
    let more = (field(&["null"]), field(&["null", "1", "99.999999999"]));
    (fields, more).prop_map(
        |((symbol, qty, side, kind, tif, limit, stop, class, exit), (notional, trail))| {
            format!(
                r#"{{"symbol":{symbol},"qty":{qty},"side":{side},"type":{kind},"time_in_force":{tif},
            "limit_price":{limit},"stop_price":{stop},"order_class":{class},"take_profit":{exit},
            "stop_loss":{exit},"notional":{notional},"trail_percent":{trail}}}"#
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_brings_the_venue_down(
        orders in prop::collection::vec(arb_order(), 1..30),
        changes in prop::collection::vec((nasty(), nasty(), nasty()), 1..10),
        query in prop::collection::vec(("(limit|after|until|date|start|end|page_size|qty|percentage)", "\\PC{0,24}|[0-9T:Z.-]{1,24}"), 0..4),
    ) {
        let mut now: Timestamp = "2026-10-05T14:00:00Z".parse().unwrap();
        let mut exchange = exchange(now);
        let mut call = |now, method: &str, path: &str, body: &str| {
            let route = Route::find(method, path).unwrap();
            let call = Call { route: &route, query: Query(query.clone()), body: body.as_bytes() };
            let answer = answer(&mut exchange, now, &call);
            exchange.tick(now);
            (answer.status, answer.body)
        };
        for order in &orders {
            let (status, body) = call(now, "POST", "/v2/orders", order);
            prop_assert!(matches!(status, 200 | 400 | 403 | 422), "{status} {order}");
            now = now.checked_add(Duration::from_millis(1)).unwrap();
            let id = serde_json::from_str::<serde_json::Value>(&body).unwrap()["id"].as_str().map(str::to_owned);
            for (qty, price, trail) in id.iter().flat_map(|_| &changes) {
                let change = format!(r#"{{"qty":{qty},"limit_price":{price},"stop_price":{price},"trail":{trail}}}"#);
                let path = format!("/v2/orders/{}", id.as_deref().unwrap_or_default());
                let (status, _) = call(now, "PATCH", &path, &change);
                prop_assert!(matches!(status, 200 | 400 | 403 | 422), "{status} {change}");
            }
        }
        for path in ["/v2/orders", "/v2/positions", "/v2/account", "/v2/account/activities", "/v2/calendar", "/v2/clock"] {
            let (status, _) = call(now, "GET", path, "");
            prop_assert!(matches!(status, 200 | 422), "{status} {path}");
        }
        call(now, "DELETE", "/v2/positions/SPY", "");
        call(now, "DELETE", "/v2/positions", "");
    }
}

/// A venue that is asked in JSON. A second passes after each request, so that orders settle.
struct Desk {
    exchange: Exchange,
    now: Timestamp,
}

impl Desk {
    /// Monday, 5 October 2026, ten in the morning in New York; the market never closes and SPY stands at 100.
    fn open() -> Self {
        let now = "2026-10-05T14:00:00Z".parse().unwrap();
        let mut desk = Self {
            exchange: exchange(now),
            now,
        };
        desk.price("SPY", 100);
        desk
    }

    fn price(&mut self, symbol: &str, price: i64) {
        self.exchange.set_price(self.now, symbol, Decimal::from(price));
    }

    fn pass(&mut self, span: jiff::Span) {
        self.now = self
            .now
            .to_zoned(super::super::core::new_york())
            .checked_add(span)
            .unwrap()
            .timestamp();
        self.exchange.tick(self.now);
    }

    fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, serde_json::Value) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let route = Route::find(method, path).unwrap();
        let call = Call {
            route: &route,
            query: Query(
                pairs
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
            ),
            body: body.as_bytes(),
        };
        let answer = answer(&mut self.exchange, self.now, &call);
        self.pass(1.second());
        (
            answer.status,
            serde_json::from_str(&answer.body).unwrap_or_default(),
        )
    }

    /// What a request that succeeds is answered with.
    fn get(&mut self, target: &str) -> serde_json::Value {
        let (status, body) = self.ask("GET", target, "");
        assert_eq!(status, 200, "{target} {body}");
        body
    }

    fn post(&mut self, body: &str) -> (u16, serde_json::Value) {
        self.ask("POST", "/v2/orders", body)
    }

    /// A market order that fills.
    fn trade(&mut self, symbol: &str, side: &str, qty: &str) -> serde_json::Value {
        let (status, body) = self.post(&format!(
            r#"{{"symbol":"{symbol}","qty":"{qty}","side":"{side}","type":"market","time_in_force":"{}"}}"#,
            if symbol.contains('/') { "gtc" } else { "day" }
        ));
        assert_eq!(status, 200, "{body}");
        let id = body["id"].as_str().unwrap().to_owned();
        let order = self.get(&format!("/v2/orders/{id}"));
        assert_eq!(order["status"], "filled");
        order
    }

    /// Status and message of a refusal.
    fn refusal(&mut self, method: &str, target: &str, body: &str) -> (u16, String) {
        let (status, body) = self.ask(method, target, body);
        (status, body["message"].as_str().unwrap_or_default().to_owned())
    }
}
