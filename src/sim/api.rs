//! One request in, one answer out: the venue's REST interface without its sockets.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use super::core::{
    Exchange, FillFilter, ListFilter, OrderView, Refusal, Side, StatusFilter, day_begins_at, new_york_day,
};
use super::route::{Endpoint, Route};
use super::{body, json};

/// Rows of an order list unless asked otherwise, and at most.
const LIST_LIMIT: (usize, usize) = (50, 500);
/// Rows of an activity page, by default and at most.
const PAGE_SIZE: usize = 100;
/// Days a calendar covers at most, which keeps one answer small.
const CALENDAR_DAYS_MAX: i64 = 3_700;

/// Status and JSON text; a 204 has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    fn ok(value: &impl serde::Serialize) -> Self {
        Self {
            status: 200,
            body: json::text(value),
        }
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        Self {
            status: refusal.status,
            body: json::refusal(refusal),
        }
    }
}

/// A request after its sockets, headers and routing were dealt with.
pub(crate) struct Call<'a> {
    pub(crate) route: &'a Route,
    pub(crate) query: Query,
    pub(crate) body: &'a [u8],
}

/// The parameters of a URL, in order.
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// `true` in either spelling: some clients send Python's.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "True"))
    }

    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.get(name)
            .map(|value| value.split(',').map(|item| item.trim().to_owned()).collect())
    }

    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let invalid = || Refusal::invalid(format!("invalid {name}"));
        self.get(name)
            .map(|value| value.parse().map_err(|_| invalid()))
            .transpose()
    }

    pub(crate) fn decimal(&self, name: &str) -> Result<Option<rust_decimal::Decimal>, Refusal> {
        self.get(name)
            .map(|value| body::decimal_text(name, value))
            .transpose()
    }

    /// A moment, or the New York midnight that begins a day.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        // An unescaped `+00:00` arrives with a space.
        let Some(value) = self.get(name).map(|value| value.replace(' ', "+")) else {
            return Ok(None);
        };
        let day = || value.parse::<Date>().ok().map(day_begins_at);
        let moment = value.parse().ok().or_else(day);
        moment
            .map(Some)
            .ok_or_else(|| Refusal::invalid(format!("invalid {name}")))
    }

    pub(crate) fn day(&self, name: &str) -> Result<Option<Date>, Refusal> {
        let invalid = || Refusal::invalid(format!("invalid {name}"));
        // RFC 3339 is accepted too; its first ten characters are the day.
        let day = |value: &str| value.get(..10).unwrap_or(value).parse().map_err(|_| invalid());
        self.get(name).map(day).transpose()
    }

    fn ascending(&self) -> Result<bool, Refusal> {
        match self.get("direction") {
            None | Some("desc") => Ok(false),
            Some("asc") => Ok(true),
            Some(_) => Err(Refusal::invalid("invalid direction")),
        }
    }
}

/// Answers one request.
pub(crate) fn answer(exchange: &mut Exchange, now: Timestamp, call: &Call<'_>) -> Answer {
    match respond(exchange, now, call) {
        Ok(answer) => answer,
        Err(refusal) => Answer::from(&refusal),
    }
}

fn respond(exchange: &mut Exchange, now: Timestamp, call: &Call<'_>) -> Result<Answer, Refusal> {
    let argument = call.route.argument.as_str();
    match call.route.endpoint {
        Endpoint::SubmitOrder => {
            let id = exchange.submit(now, body::order(call.body)?)?;
            order_answer(exchange, id)
        }
        Endpoint::ReplaceOrder => {
            let id = order_id(argument)?;
            let request = body::replace(call.body)?;
            let successor = exchange.replace(now, id, request)?;
            order_answer(exchange, successor)
        }
        Endpoint::CancelOrder => {
            exchange.cancel(now, order_id(argument)?)?;
            Ok(Answer {
                status: 204,
                body: String::new(),
            })
        }
        Endpoint::CancelAllOrders => {
            let answers = exchange.cancel_all(now);
            let rows: Vec<_> = answers
                .iter()
                .map(|(id, answer)| json::canceled(*id, answer))
                .collect();
            Ok(Answer {
                status: 207,
                body: json::text(&rows),
            })
        }
        Endpoint::ListOrders => list_orders(exchange, &call.query),
        Endpoint::GetOrder => order_answer(exchange, order_id(argument)?),
        Endpoint::GetOrderByClientOrderId => {
            let wanted = call.query.get("client_order_id");
            let wanted = wanted.ok_or_else(|| Refusal::invalid("client_order_id is required"))?;
            let id = exchange.by_client_order_id(wanted).map(|order| order.id);
            order_answer(exchange, id.ok_or_else(|| Refusal::not_found("order not found"))?)
        }
        Endpoint::ListPositions => {
            let rows: Vec<_> = exchange.positions().iter().map(json::position).collect();
            Ok(Answer::ok(&rows))
        }
        Endpoint::GetPosition => Ok(Answer::ok(&json::position(&exchange.position(argument)?))),
        Endpoint::ClosePosition => {
            let (qty, percentage) = (call.query.decimal("qty")?, call.query.decimal("percentage")?);
            let id = exchange.close_position(now, argument, qty, percentage)?;
            order_answer(exchange, id)
        }
        Endpoint::CloseAllPositions => Ok(close_all(exchange, now, call.query.flag("cancel_orders"))),
        Endpoint::GetAccount => Ok(Answer::ok(&json::account(&exchange.account(), now))),
        Endpoint::ListActivities => {
            let kinds = call.query.list("activity_types");
            let fills_wanted = kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind == "FILL"))
                && call.query.get("category") != Some("non_trade_activity");
            list_fills(exchange, &call.query, fills_wanted)
        }
        Endpoint::ListActivitiesOfType => list_fills(exchange, &call.query, argument == "FILL"),
        Endpoint::GetClock => Ok(Answer::ok(&json::clock(exchange.clock(now), now))),
        Endpoint::GetCalendar => calendar(exchange, now, &call.query),
        Endpoint::ListAssets => {
            let class = call.query.get("asset_class");
            let wanted = |name: &str| class.is_none_or(|class| class == name);
            let active = call.query.get("status").is_none_or(|status| status == "active");
            let assets = exchange.listed_assets().iter();
            let rows: Vec<_> = assets
                .filter(|asset| active && wanted(asset.class.as_str()))
                .map(json::asset)
                .collect();
            Ok(Answer::ok(&rows))
        }
        Endpoint::GetAsset => {
            let asset = exchange.find_asset(argument);
            let asset = asset.ok_or_else(|| Refusal::not_found(format!("asset not found for {argument}")))?;
            Ok(Answer::ok(&json::asset(&asset)))
        }
        // Streams are opened by the server, and market data is not the exchange's.
        Endpoint::Stream
        | Endpoint::TradeEvents
        | Endpoint::ActivityEvents
        | Endpoint::StockStream
        | Endpoint::CryptoStream
        | Endpoint::OptionStream
        | Endpoint::NewsStream
        | Endpoint::StockBars
        | Endpoint::StockTrades
        | Endpoint::StockQuotes
        | Endpoint::StockAuctions
        | Endpoint::StockSnapshots
        | Endpoint::CryptoBars
        | Endpoint::CryptoTrades
        | Endpoint::CryptoQuotes
        | Endpoint::CryptoOrderBooks
        | Endpoint::CryptoSnapshots
        | Endpoint::OptionBars
        | Endpoint::OptionTrades
        | Endpoint::OptionQuotes
        | Endpoint::OptionSnapshots
        | Endpoint::DataMeta
        | Endpoint::News
        | Endpoint::CorporateActions
        | Endpoint::Screener => Err(Refusal::endpoint_not_found()),
    }
}

fn order_id(text: &str) -> Result<Uuid, Refusal> {
    Uuid::parse_str(text).map_err(|_| Refusal::invalid("order_id is missing"))
}

fn order_answer(exchange: &Exchange, id: Uuid) -> Result<Answer, Refusal> {
    let view = exchange.view(id).ok_or_else(|| Refusal::order_not_found(id))?;
    Ok(Answer::ok(&json::order(&view)))
}

fn list_orders(exchange: &Exchange, query: &Query) -> Result<Answer, Refusal> {
    let (default, most) = LIST_LIMIT;
    let status = match query.get("status") {
        None | Some("open") => StatusFilter::Open,
        Some("closed") => StatusFilter::Closed,
        Some("all") => StatusFilter::All,
        Some(_) => return Err(Refusal::invalid("invalid status")),
    };
    let side = match query.get("side") {
        None => None,
        Some(word) => Some(Side::parse(word).ok_or_else(|| Refusal::invalid("invalid side"))?),
    };
    let filter = ListFilter {
        status,
        limit: query.count("limit")?.unwrap_or(default).clamp(1, most),
        after: query.moment("after")?,
        until: query.moment("until")?,
        ascending: query.ascending()?,
        nested: query.flag("nested"),
        symbols: query.list("symbols"),
        side,
        asset_classes: query.list("asset_class"),
    };
    let views: Vec<OrderView> = exchange.list(&filter);
    let rows: Vec<_> = views.iter().map(json::order).collect();
    Ok(Answer::ok(&rows))
}

fn list_fills(exchange: &Exchange, query: &Query, wanted: bool) -> Result<Answer, Refusal> {
    let (mut after, mut until) = (query.moment("after")?, query.moment("until")?);
    if let Some(day) = query.day("date")? {
        // `after` is strict, so step back by the finest tick.
        after = day_begins_at(day).checked_sub(1.nanosecond()).ok();
        until = day.tomorrow().ok().map(day_begins_at);
    }
    let filter = FillFilter {
        after,
        until,
        ascending: query.ascending()?,
        page_size: query.count("page_size")?.unwrap_or(PAGE_SIZE).clamp(1, PAGE_SIZE),
        page_token: query.get("page_token").map(str::to_owned),
    };
    let fills = if wanted {
        exchange.history(&filter)
    } else {
        Vec::new()
    };
    let rows: Vec<_> = fills.into_iter().map(json::fill).collect();
    Ok(Answer::ok(&rows))
}

fn close_all(exchange: &mut Exchange, now: Timestamp, cancel_orders: bool) -> Answer {
    let answers = exchange.close_all(now, cancel_orders);
    let rows: Vec<_> = answers
        .iter()
        .map(|(symbol, answer)| {
            let answer = match answer {
                Ok(id) => order_answer(exchange, *id).unwrap_or_else(|refusal| Answer::from(&refusal)),
                Err(refusal) => Answer::from(refusal),
            };
            json::closed(&symbol.replace('/', ""), answer.status, &answer.body)
        })
        .collect();
    Answer {
        status: 207,
        body: json::text(&rows),
    }
}

fn calendar(exchange: &Exchange, now: Timestamp, query: &Query) -> Result<Answer, Refusal> {
    let today = new_york_day(now);
    let from = query.day("start")?.unwrap_or(today);
    let last = from.checked_add(CALENDAR_DAYS_MAX.days()).unwrap_or(from);
    let to = query
        .day("end")?
        .unwrap_or_else(|| from.checked_add(365.days()).unwrap_or(from))
        .min(last);
    let rows: Vec<_> = exchange.sessions(from, to).iter().map(json::session).collect();
    Ok(Answer::ok(&rows))
}

#[cfg(test)]
mod tests {
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
}
