//! `/_sim/`: the levers of a running simulator, for a person with curl and for tests in any language.
//!
//! Answered to loopback peers only, and to no web page: a request with an `Origin` is refused. No credentials, no quota,
//! not in the request log. Bodies and answers are JSON; a refusal is `{"message": ...}` with a 4xx that says what is
//! wrong.
//!
//! | method and path | body | does |
//! |---|---|---|
//! | `GET /_sim/state` | | seed, the venue's time, market, counts |
//! | `GET /_sim/faults` | | the faults still to come: `[{"id": 1, "fault": "..."}]` |
//! | `POST /_sim/faults` | faults as text, one a line, or `{"fault": "..."}`, or `{"faults": ["..."]}` | adds all or none; answers with their numbers. A stream's lever is a fault, too: `stream: drop` |
//! | `DELETE /_sim/faults` | | forgets all; what struck already, such as `mute` or `refuse`, goes on |
//! | `DELETE /_sim/faults/ID` | | forgets one |
//! | `POST /_sim/price` | `{"symbol": "SPY", "price": "512.34"}` | pins a price and matches against it |
//! | `POST /_sim/market` | `{"market": "open"}`, or `closed`, or `calendar` | changes the trading hours |
//! | `POST /_sim/fill` | `{"order": ID or client id, "qty": "1", "price": "10"}` | fills a part of a live order |
//! | `POST /_sim/reject` | `{"count": 1}` | the next orders that reach the market are rejected there |
//! | `POST /_sim/frame` | any text | sends it as a frame of `/stream` |
//! | `GET /_sim/truth?since=N&limit=M` | | records of the truth log from number N on, 1,000 unless told otherwise: `{"records": [...], "next": N, "forgotten": M}` |

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::Query as UrlQuery;
use axum::http::request::Parts;
use axum::http::{Response, header};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Answer, Query};
use super::core::{Exchange, Market, Refusal, is_price};
use super::fault::{Fault, FaultError};
use super::server::{Shared, plain};
use super::truth::Entry;

/// Records of one page of the truth log, unless asked otherwise and at most.
const PAGE: (usize, usize) = (1_000, 10_000);

/// Is this path the admin endpoint's?
pub(crate) fn is_for(path: &str) -> bool {
    path == "/_sim" || path.starts_with("/_sim/")
}

/// Answers one request.
pub(crate) fn answer(shared: &Shared, peer: SocketAddr, parts: &Parts, body: &[u8]) -> Response<Body> {
    plain(match respond(shared, peer, parts, body) {
        Ok(body) => Answer { status: 200, body },
        Err(No { status, message }) => Answer {
            status,
            body: json!({ "message": message }).to_string(),
        },
    })
}

/// Why a request is not carried out.
struct No {
    status: u16,
    message: String,
}

impl No {
    fn new(status: u16, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message }
    }
}

impl From<FaultError> for No {
    fn from(error: FaultError) -> Self {
        Self::new(422, error.to_string())
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.message)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    symbol: String,
    price: Money,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hours {
    market: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FillBody {
    order: String,
    qty: Money,
    price: Money,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reject {
    count: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Faults {
    One { fault: String },
    Many { faults: Vec<String> },
}

/// A decimal, as a string or as a whole number: a fraction in JSON would have been a float.
#[derive(Deserialize)]
#[serde(untagged)]
enum Money {
    Text(String),
    Whole(i64),
}

impl Money {
    fn decimal(&self, name: &str) -> Result<Decimal, No> {
        let decimal = match self {
            Self::Text(text) => text.parse().ok(),
            Self::Whole(whole) => Some(Decimal::from(*whole)),
        };
        let positive = decimal.filter(|value| *value > Decimal::ZERO);
        positive.ok_or_else(|| No::new(422, format!("{name} must be a positive decimal, as a string")))
    }
}

fn respond(shared: &Shared, peer: SocketAddr, parts: &Parts, body: &[u8]) -> Result<String, No> {
    check(peer, parts)?;
    let path = parts.uri.path().trim_start_matches("/_sim").trim_matches('/');
    if (parts.method.as_str(), path) == ("GET", "truth") {
        return truth(shared, parts);
    }
    pull_lever(shared, parts, path, body).map(|value| value.to_string())
}

fn check(peer: SocketAddr, parts: &Parts) -> Result<(), No> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(No::new(403, "/_sim/ is for loopback peers only"));
    }
    if parts.headers.contains_key(header::ORIGIN) {
        return Err(No::new(403, "/_sim/ is not for web pages"));
    }
    Ok(())
}

fn pull_lever(shared: &Shared, parts: &Parts, path: &str, body: &[u8]) -> Result<Value, No> {
    match (parts.method.as_str(), path) {
        ("GET", "state") => Ok(state(shared)),
        ("GET", "faults") => {
            let faults = shared.script.faults().into_iter();
            let rows = faults.map(|(id, fault)| json!({"id": id, "fault": fault.to_string()}));
            Ok(rows.collect())
        }
        ("POST", "faults") => add_faults(shared, body),
        ("DELETE", "faults") => {
            shared.script.clear();
            Ok(json!({}))
        }
        ("DELETE", path) if path.starts_with("faults/") => {
            let id = path.trim_start_matches("faults/");
            let removed = id.parse().is_ok_and(|id| shared.script.remove(id));
            let missing = || No::new(404, format!("no fault {id} is waiting"));
            removed.then(|| json!({})).ok_or_else(missing)
        }
        ("POST", "price") => {
            let request: Price = read(body)?;
            let price = request.price.decimal("price")?;
            if !is_price(price) {
                return Err(No::new(
                    422,
                    format!("{price} is no price that anything could have"),
                ));
            }
            pull(shared, body, path, |exchange, now| {
                exchange.set_price(now, &request.symbol, price);
                Ok(())
            })
        }
        ("POST", "market") => {
            let request: Hours = read(body)?;
            let market = match request.market.as_str() {
                "open" => Market::Open,
                "closed" => Market::Closed,
                "calendar" => Market::Calendar,
                other => {
                    let message = format!("unknown market {other:?}; valid are: open, closed, calendar");
                    return Err(No::new(422, message));
                }
            };
            pull(shared, body, path, |exchange, now| {
                exchange.set_market(now, market);
                Ok(())
            })
        }
        ("POST", "fill") => {
            let request: FillBody = read(body)?;
            let (qty, price) = (request.qty.decimal("qty")?, request.price.decimal("price")?);
            pull(shared, body, path, |exchange, now| {
                fill(exchange, now, &request.order, qty, price)
            })
        }
        ("POST", "reject") => {
            let request: Reject = read(body)?;
            pull(shared, body, path, |exchange, _| {
                exchange.reject_next(request.count);
                Ok(())
            })
        }
        ("POST", "frame") => {
            let text = String::from_utf8_lossy(body).into_owned();
            shared.world().hub.send_raw(text);
            Ok(json!({}))
        }
        (method, path) => {
            let known = "state, faults, price, market, fill, reject, frame, truth";
            let message = format!("no {method} /_sim/{path}; there are: {known}");
            Err(No::new(404, message))
        }
    }
}

/// Fills an order that is named by its order id or client id.
pub(crate) fn fill(
    exchange: &mut Exchange,
    now: jiff::Timestamp,
    order: &str,
    qty: Decimal,
    price: Decimal,
) -> Result<(), Refusal> {
    let by_client = exchange.by_client_order_id(order).map(|order| order.id);
    let id = by_client.or_else(|| Uuid::parse_str(order).ok());
    let id = id.ok_or_else(|| Refusal::not_found("order not found"))?;
    exchange.fill(now, id, qty, price)
}

/// Moves the venue by hand, and says so in the truth log.
fn pull(
    shared: &Shared,
    body: &[u8],
    lever: &str,
    act: impl FnOnce(&mut Exchange, jiff::Timestamp) -> Result<(), Refusal>,
) -> Result<Value, No> {
    let what = format!("{lever} {}", String::from_utf8_lossy(body).trim());
    shared.note(&Entry::Lever { what: &what });
    shared.act(act)?;
    Ok(json!({}))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, No> {
    serde_json::from_slice(body).map_err(|error| No::new(422, format!("body cannot be read: {error}")))
}

fn add_faults(shared: &Shared, body: &[u8]) -> Result<Value, No> {
    let texts = if body.trim_ascii_start().starts_with(b"{") {
        match read(body)? {
            Faults::One { fault } => vec![fault],
            Faults::Many { faults } => faults,
        }
    } else {
        let lines = String::from_utf8_lossy(body);
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        lines.map(str::to_owned).collect()
    };
    if texts.is_empty() {
        return Err(No::new(
            422,
            "no fault is given, as in `submit_order: cut-after-commit`",
        ));
    }
    let faults: Vec<Fault> = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for fault in faults {
        let text = fault.to_string();
        let id = shared.inject(fault)?;
        rows.push(json!({"id": id, "fault": text}));
    }
    Ok(rows.into())
}

fn state(shared: &Shared) -> Value {
    let at = shared.clock.now();
    let truth = shared.truth.page(u64::MAX, 0);
    let world = shared.world();
    let exchange = &world.exchange;
    let market = match exchange.config.market {
        Market::Open => "open",
        Market::Closed => "closed",
        Market::Calendar => "calendar",
    };
    let open = exchange
        .orders()
        .filter(|order| !order.status.is_terminal())
        .count();
    json!({
        "seed": shared.config.seed,
        "at": at.to_string(),
        "market": market,
        "orders": exchange.orders().count(),
        "open_orders": open,
        "fills": exchange.fills().len(),
        "cash": exchange.cash().normalize().to_string(),
        "requests": world.log.received,
        "faults": shared.script.pending(),
        "stream_connected": world.hub.is_connected(),
        "event_readers": world.events.readers(),
        "truth": {"next": truth.next, "forgotten": truth.forgotten},
    })
}

fn truth(shared: &Shared, parts: &Parts) -> Result<String, No> {
    let UrlQuery(query) = UrlQuery::try_from_uri(&parts.uri).unwrap_or_default();
    let query = Query(query);
    let (default, most) = PAGE;
    let since = query.count("since")?.unwrap_or_default();
    let limit = query.count("limit")?.unwrap_or(default).min(most);
    let page = shared.truth.page(u64::try_from(since).unwrap_or(u64::MAX), limit);
    let (next, forgotten) = (page.next, page.forgotten);
    let records = page.records.join(",");
    Ok(format!(
        r#"{{"records":[{records}],"next":{next},"forgotten":{forgotten}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn only_loopback_peers_are_answered() {
        let shared = Shared::new(crate::sim::SimConfig::default());
        let (parts, ()) = Request::get("/_sim/state").body(()).unwrap().into_parts();
        let check = |peer: &str, expected: u16| {
            let answer = answer(&shared, peer.parse().unwrap(), &parts, b"");
            assert_eq!(answer.status(), expected, "{peer}");
        };
        check("127.0.0.1:9", 200);
        check("[::1]:9", 200);
        check("[::ffff:127.0.0.1]:9", 200);
        check("192.0.2.1:9", 403);
        check("[2001:db8::1]:9", 403);
    }
}
