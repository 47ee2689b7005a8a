//! One request in, one answer out: the venue's REST interface without its sockets.

mod activities;
mod listings;
mod portfolio;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use super::core::{
    Exchange, ListFilter, OrderView, Refusal, Side, StatusFilter, day_begins_at, new_york_day,
};
use super::route::{Endpoint, Route};
use super::{body, json};

/// Rows of an order list unless asked otherwise, and at most.
const LIST_LIMIT: (usize, usize) = (50, 500);
/// Days a calendar covers at most, which keeps one answer small.
const CALENDAR_DAYS_MAX: i64 = 3_700;
/// Days between a trade and its settlement at most, over a long weekend.
const SETTLEMENT_DAYS_MAX: i64 = 7;

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

    /// One of the words that the parameter may be.
    pub(crate) fn one_of<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<&'a str>, Refusal> {
        let known = |value: &str| words.iter().find(|word| **word == value).copied();
        self.get(name)
            .map(|value| known(value).ok_or_else(|| Refusal::invalid(format!("invalid {name}"))))
            .transpose()
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
            let id = exchange.place(now, body::order(call.body)?)?;
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
        Endpoint::GetConfigurations => Ok(Answer::ok(&json::configuration(exchange.configuration()))),
        Endpoint::SetConfigurations => {
            exchange.configure(&body::configuration(call.body)?);
            Ok(Answer::ok(&json::configuration(exchange.configuration())))
        }
        Endpoint::ExerciseOption => Ok(Answer::ok(&json::exercised(exchange.exercise(now, argument)?))),
        Endpoint::DoNotExerciseOption => {
            exchange.do_not_exercise(now, argument)?;
            Ok(Answer {
                status: 200,
                body: String::new(),
            })
        }
        Endpoint::GetPortfolioHistory => portfolio::history(exchange, now, &call.query),
        Endpoint::ListActivities => activities::list(exchange, &call.query, None),
        Endpoint::ListActivitiesOfType => activities::list(exchange, &call.query, Some(argument)),
        Endpoint::GetClock => Ok(Answer::ok(&json::clock(exchange.clock(now), now))),
        Endpoint::GetCalendar => calendar(exchange, now, &call.query),
        Endpoint::ListAssets => listings::assets(exchange, &call.query),
        Endpoint::GetAsset => {
            let asset = exchange.find_asset(argument);
            let asset = asset.ok_or_else(|| Refusal::not_found(format!("asset not found for {argument}")))?;
            Ok(Answer::ok(&json::asset(&asset)))
        }
        Endpoint::ListOptionContracts => listings::contracts(exchange, now, &call.query),
        Endpoint::GetOptionContract => Ok(Answer::ok(&json::contract(&exchange.contract(now, argument)?))),
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
    let asset_classes = query.list("asset_class");
    let is_known = |class: &String| class == "all" || listings::CLASSES.contains(&class.as_str());
    if asset_classes.iter().flatten().any(|class| !is_known(class)) {
        return Err(Refusal::invalid("invalid asset_class"));
    }
    let cursor = |name: &str| {
        let id = query.get(name).map(Uuid::parse_str).transpose();
        id.map_err(|_| Refusal::invalid(format!("invalid {name}")))
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
        asset_classes,
        before_order: cursor("before_order_id")?,
        after_order: cursor("after_order_id")?,
    };
    let by_time = filter.after.is_some() || filter.until.is_some();
    let ways = [
        filter.before_order.is_some(),
        filter.after_order.is_some(),
        by_time,
    ];
    if ways.into_iter().filter(|used| *used).count() > 1 {
        return Err(Refusal::invalid(
            "only one of before_order_id, after_order_id or after/until is accepted",
        ));
    }
    let views: Vec<OrderView> = exchange.list(&filter)?;
    let rows: Vec<_> = views.iter().map(json::order).collect();
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
    // Trades settle within days, so that what settles in the range was traded not long before it.
    let by_settlement = query.one_of("date_type", &["TRADING", "SETTLEMENT"])? == Some("SETTLEMENT");
    let first = if by_settlement {
        from.checked_sub(SETTLEMENT_DAYS_MAX.days()).unwrap_or(from)
    } else {
        from
    };
    let mut sessions = exchange.sessions(first, to);
    sessions.retain(|session| !by_settlement || (from..=to).contains(&session.settlement()));
    let rows: Vec<_> = sessions.iter().map(json::session).collect();
    Ok(Answer::ok(&rows))
}

#[cfg(test)]
mod tests;
