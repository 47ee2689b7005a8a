//! What is told in lists: codes, auctions, news, splits, and who moved most.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::super::api::Query;
use super::super::super::core::tape::Tape;
use super::super::super::core::{Asset, AssetClass, Refusal, Session, day_begins_at, new_york_day};
use super::super::news::{self, NewsItem};
use super::super::row::Json;
use super::{History, Window, moment, page::Pages, page::Token};

/// News on a page unless asked otherwise, and at most.
const NEWS_LIMIT: (usize, usize) = (10, 50);
/// News looks this far back unless asked otherwise.
const NEWS_DAYS: i64 = 7;
/// Symbols in a ranking unless asked otherwise, and at most.
const TOP: (usize, usize) = (10, 100);

/// Where trades take place, by letter.
pub(super) fn exchanges(class: AssetClass) -> String {
    match class {
        AssetClass::UsOption => {
            json!({"A": "AMEX - NYSE American", "C": "CBOE - Cboe Options Exchange", "P": "ARCA - NYSE Arca"})
        }
        AssetClass::UsEquity | AssetClass::Crypto => json!({"D": "FINRA ADF", "N": "New York Stock Exchange",
            "P": "NYSE Arca", "Q": "NASDAQ OMX", "V": "IEX"}),
    }
    .to_string()
}

/// What a condition's letter means.
pub(super) fn conditions(class: AssetClass) -> String {
    match class {
        AssetClass::UsOption => json!({"A": "SLAN - Single Leg Auction Non ISO", "a": "AUTO - Electronic"}),
        AssetClass::UsEquity | AssetClass::Crypto => {
            json!({"@": "Regular Sale", "R": "Regular, two-sided open", "I": "Odd Lot Trade"})
        }
    }
    .to_string()
}

/// A day's opening and closing auction, once it has closed.
pub(super) fn auctions(tape: &Tape, asset: &Asset, day: Date, now: Timestamp) -> Option<String> {
    let session = Session::on(day)?;
    let (open, close) = (session.opens_at(), session.closes_at());
    if close > now {
        return None;
    }
    let number =
        |value: Decimal| serde_json::from_str::<Value>(&value.normalize().to_string()).unwrap_or(Value::Null);
    let print = |at: Timestamp, condition: &str| json!([{"c": condition, "p": number(tape.price_at(asset, at)), "s": 1_000, "t": at.to_string(), "x": "Q"}]);
    Some(json!({"d": day.to_string(), "o": print(open, "Q"), "c": print(close, "M")}).to_string())
}

impl History<'_> {
    pub(super) fn news(&self, query: &Query) -> Result<String, Refusal> {
        let (default, most) = NEWS_LIMIT;
        let limit = self.limit(query, default, most)?;
        let symbols = query.list("symbols");
        let descending = match query.get("sort") {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(other) => return Err(Refusal::data(400, format!("invalid sort: {other}"))),
        };
        let to = moment(query, "end")?.unwrap_or(self.now).min(self.now);
        let from = moment(query, "start")?;
        let a_week = jiff::SignedDuration::from_hours(24 * NEWS_DAYS);
        let from = from.unwrap_or_else(|| to.checked_sub(a_week).unwrap_or(to));
        let pages = Pages {
            from,
            to,
            begins_at: super::page::begins_at(self.tape),
            descending,
            limit,
            token: query.get("page_token").map(Token::decode).transpose()?,
        };
        let with_content = query.flag("include_content");
        let found = super::page(&pages, &news::everything(), Window::Hour, |_, begin, end| {
            let items = news::between(self.seed, self.assets, begin, end.min(self.now));
            let wanted = |item: &NewsItem| {
                let names = |wanted: &String| {
                    item.symbols.contains(wanted)
                        || item
                            .symbols
                            .iter()
                            .any(|symbol| symbol.replace('/', "") == *wanted)
                };
                symbols.as_ref().is_none_or(|symbols| symbols.iter().any(names))
            };
            let row = |item: NewsItem| {
                let mut sink = Json::default();
                news::row(&mut sink, None, &item, with_content);
                (item.at, sink.into_text())
            };
            items.into_iter().filter(wanted).map(row).collect()
        });
        let next = found.next.map_or(Value::Null, |token| token.encode().into());
        let rows: Vec<_> = found.rows.into_iter().flat_map(|(_, rows)| rows).collect();
        Ok(format!(
            r#"{{"news":[{}],"next_page_token":{next}}}"#,
            rows.join(",")
        ))
    }

    /// The splits of the tape; there are no other corporate actions here.
    pub(super) fn corporate_actions(&self, query: &Query) -> Result<String, Refusal> {
        let day = |name: &str| {
            let invalid = |_| Refusal::data(400, format!("invalid {name}"));
            query.day(name).map_err(invalid)
        };
        let (from, to) = (day("start")?, day("end")?);
        let (symbols, kinds) = (query.list("symbols"), query.list("types"));
        let mut forward = Vec::new();
        let mut reverse = Vec::new();
        for (at, split) in self.tape.splits().all().iter().enumerate() {
            let is_forward = split.ratio.new >= split.ratio.old;
            let kind = if is_forward {
                "forward_split"
            } else {
                "reverse_split"
            };
            let wanted = from.is_none_or(|from| split.effective_on >= from)
                && to.is_none_or(|to| split.effective_on <= to)
                && symbols
                    .as_ref()
                    .is_none_or(|symbols| symbols.contains(&split.symbol))
                && kinds
                    .as_ref()
                    .is_none_or(|kinds| kinds.iter().any(|named| named == kind));
            if wanted {
                let row = json!({
                    "id": uuid::Uuid::from_u128(at as u128 + 1).to_string(),
                    "symbol": split.symbol,
                    "cusip": "",
                    "new_rate": split.ratio.new,
                    "old_rate": split.ratio.old,
                    "process_date": split.effective_on.to_string(),
                    "ex_date": split.effective_on.to_string(),
                    "record_date": split.effective_on.to_string(),
                    "payable_date": split.effective_on.to_string(),
                });
                if is_forward {
                    forward.push(row)
                } else {
                    reverse.push(row)
                }
            }
        }
        let mut actions = serde_json::Map::new();
        for (key, rows) in [("forward_splits", forward), ("reverse_splits", reverse)] {
            if !rows.is_empty() {
                actions.insert(key.to_owned(), rows.into());
            }
        }
        Ok(json!({"corporate_actions": actions, "next_page_token": null}).to_string())
    }

    pub(super) fn most_actives(&self, query: &Query) -> Result<String, Refusal> {
        let by = query.get("by").unwrap_or("volume");
        if !matches!(by, "volume" | "trades") {
            return Err(Refusal::data(400, format!("invalid by: {by}")));
        }
        let mut rows: Vec<_> = self
            .listed(AssetClass::UsEquity)
            .filter_map(|asset| {
                Some((
                    asset.symbol.clone(),
                    self.tape.day(asset, new_york_day(self.now), self.now)?,
                ))
            })
            .collect();
        rows.sort_by_key(|(_, day)| {
            std::cmp::Reverse(if by == "volume" {
                day.volume
            } else {
                day.trades.into()
            })
        });
        let top = self.top(query)?;
        let row = |(symbol, day): (String, super::row::Bar)| json!({"symbol": symbol, "volume": whole(day.volume), "trade_count": day.trades});
        let rows: Vec<_> = rows.into_iter().take(top).map(row).collect();
        Ok(json!({"last_updated": self.now.to_string(), "most_actives": rows}).to_string())
    }

    pub(super) fn movers(&self, class: AssetClass, query: &Query) -> Result<String, Refusal> {
        let begin = day_begins_at(new_york_day(self.now));
        let mut rows: Vec<_> = self
            .listed(class)
            .filter_map(|asset| {
                let (before, now) = (
                    self.tape.price_at(asset, begin),
                    self.tape.price_at(asset, self.now),
                );
                let change = now - before;
                let percent = (change * Decimal::ONE_HUNDRED).checked_div(before)?.round_dp(2);
                Some((asset.symbol.clone(), now, change, percent))
            })
            .collect();
        rows.sort_by_key(|(.., percent)| std::cmp::Reverse(*percent));
        let top = self.top(query)?;
        let row = |(symbol, price, change, percent): &(String, Decimal, Decimal, Decimal)| json!({"symbol": symbol, "price": number(*price), "change": number(*change), "percent_change": number(*percent)});
        let gainers: Vec<_> = rows
            .iter()
            .filter(|(.., percent)| *percent >= Decimal::ZERO)
            .take(top)
            .map(row)
            .collect();
        let losers: Vec<_> = rows
            .iter()
            .rev()
            .filter(|(.., percent)| *percent < Decimal::ZERO)
            .take(top)
            .map(row)
            .collect();
        let market = if class == AssetClass::Crypto {
            "crypto"
        } else {
            "stocks"
        };
        Ok(json!({"gainers": gainers, "losers": losers, "market_type": market, "last_updated": self.now.to_string()}).to_string())
    }

    fn listed(&self, class: AssetClass) -> impl Iterator<Item = &Asset> {
        self.assets
            .listed()
            .iter()
            .filter(move |asset| asset.class == class)
    }

    fn top(&self, query: &Query) -> Result<usize, Refusal> {
        let (default, most) = TOP;
        let invalid = |_| Refusal::data(400, "invalid top");
        Ok(query
            .count("top")
            .map_err(invalid)?
            .unwrap_or(default)
            .clamp(1, most))
    }
}

/// A JSON number with every digit.
fn number(value: Decimal) -> Value {
    serde_json::from_str(&value.normalize().to_string()).unwrap_or(Value::Null)
}

fn whole(value: Decimal) -> Value {
    number(value.trunc())
}
