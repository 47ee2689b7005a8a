//! Historical market data over REST: what the tape says about any time until now, in the venue's envelopes.
//!
//! It needs nothing but the tape, so it never holds up an order. Where the venue would know more (auctions with several
//! prints, real greeks, who moved most in the whole market) it answers plausibly and simply.

mod call;
mod latest;
mod lists;
mod page;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::super::api::{Answer, Query};
use super::super::core::tape::{Tape, Timeframe};
use super::super::core::{Asset, AssetClass, Assets, Refusal, day_begins_at, new_york_day};
use super::feed::DataPlan;
use super::row::{self, Json};
pub(crate) use call::{DataCall, Names, Rows};
use page::{Pages, Token, Window, page};

/// Rows on a page unless asked otherwise, and at most.
const LIMIT: (usize, usize) = (1_000, 10_000);
/// The free plan does not see what is younger on the consolidated tape.
const SIP_DELAY: SignedDuration = SignedDuration::from_mins(15);
/// Symbols in one question at most.
const SYMBOLS_MAX: usize = 1_000;

/// What the data side of the venue answers from.
#[derive(Clone, Copy)]
pub(crate) struct History<'a> {
    pub(crate) tape: &'a Tape,
    pub(crate) assets: &'a Assets,
    pub(crate) plan: DataPlan,
    pub(crate) seed: u64,
    pub(crate) now: Timestamp,
}

impl History<'_> {
    /// Answers one question.
    pub(crate) fn answer(&self, call: &DataCall, query: &Query) -> Answer {
        let answer = match call {
            DataCall::Range(class, rows, names) => self.range(*class, *rows, names, query),
            DataCall::Latest(class, rows, names) => self.latest(*class, *rows, names, query),
            DataCall::Snapshots(class, names) => self.snapshots(*class, names, query),
            DataCall::Chain(underlying) => self.chain(underlying, query),
            DataCall::Exchanges(class) => Ok(lists::exchanges(*class)),
            DataCall::Conditions(class) => Ok(lists::conditions(*class)),
            DataCall::News => self.news(query),
            DataCall::CorporateActions => self.corporate_actions(query),
            DataCall::MostActives => self.most_actives(query),
            DataCall::Movers(class) => self.movers(*class, query),
        };
        match answer {
            Ok(body) => Answer { status: 200, body },
            Err(refusal) => Answer::from(&refusal),
        }
    }

    /// Bars, trades, quotes or auctions of a stretch of time.
    fn range(&self, class: AssetClass, rows: Rows, names: &Names, query: &Query) -> Result<String, Refusal> {
        let assets = self.named(class, names, query)?;
        let mut pages = self.pages(query)?;
        let is_late = class == AssetClass::UsEquity
            && self.plan == DataPlan::Basic
            && query.get("feed") == Some("sip")
            && query.get("end").is_none();
        if is_late {
            // Without rights to the present, the default end is what may be seen.
            pages.to = self.now - SIP_DELAY;
        }
        self.entitled(class, query, Some(pages.to))?;
        let write = |write: &dyn Fn(&mut Json)| {
            let mut sink = Json::default();
            write(&mut sink);
            sink.into_text()
        };
        let found = match rows {
            Rows::Bars => {
                let timeframe = self.timeframe(query)?;
                let adjusted = adjusted(query)?;
                page(&pages, &assets, Window::Days(timeframe), |asset, begin, end| {
                    let days = (new_york_day(begin), new_york_day(end));
                    let bars = self.tape.bars(asset, timeframe, days, self.now, adjusted);
                    let row = |bar: row::Bar| (bar.at, write(&|sink| row::bar(sink, None, class, &bar)));
                    bars.into_iter().map(row).collect()
                })
            }
            Rows::Trades => page(&pages, &assets, Window::Hour, |asset, begin, end| {
                let trades = self.tape.trades(asset, begin, end.min(self.now));
                let row =
                    |trade: row::Trade| (trade.at, write(&|sink| row::trade(sink, None, class, &trade)));
                trades.into_iter().map(row).collect()
            }),
            Rows::Quotes | Rows::OrderBooks => page(&pages, &assets, Window::Hour, |asset, begin, end| {
                let quotes = self.tape.quotes(asset, begin, end.min(self.now));
                let row =
                    |quote: row::Quote| (quote.at, write(&|sink| row::quote(sink, None, class, &quote)));
                quotes.into_iter().map(row).collect()
            }),
            Rows::Auctions => page(
                &pages,
                &assets,
                Window::Days(Timeframe::Day),
                |asset, begin, _| {
                    let day = new_york_day(begin);
                    let auctions = lists::auctions(self.tape, asset, day, self.now);
                    auctions
                        .map(|text| (day_begins_at(day), text))
                        .into_iter()
                        .collect()
                },
            ),
        };
        let next = found
            .next
            .map_or(serde_json::Value::Null, |token| token.encode().into());
        let currency = query
            .get("currency")
            .map(|currency| format!(r#""currency":{},"#, quoted(currency)))
            .unwrap_or_default();
        let key = rows.plural();
        Ok(match names {
            Names::Query => {
                let symbols = found
                    .rows
                    .iter()
                    .map(|(symbol, rows)| format!("{}:[{}]", quoted(symbol), rows.join(",")));
                let symbols: Vec<_> = symbols.collect();
                format!(
                    r#"{{"{key}":{{{}}},{currency}"next_page_token":{next}}}"#,
                    symbols.join(",")
                )
            }
            Names::Path(symbol) => {
                let rows: Vec<_> = found.rows.into_iter().flat_map(|(_, rows)| rows).collect();
                let rows = rows.join(",");
                format!(
                    r#"{{"{key}":[{rows}],{currency}"next_page_token":{next},"symbol":{}}}"#,
                    quoted(symbol)
                )
            }
        })
    }

    /// The assets a question names, in alphabetical order, each once. Unknown symbols have no data, which is no error.
    fn named(&self, class: AssetClass, names: &Names, query: &Query) -> Result<Vec<Asset>, Refusal> {
        let symbols = match names {
            Names::Path(symbol) => vec![symbol.clone()],
            Names::Query => query
                .list("symbols")
                .ok_or_else(|| Refusal::data(400, "symbols is required"))?,
        };
        if symbols.len() > SYMBOLS_MAX {
            return Err(Refusal::data(
                400,
                format!("too many symbols: {} is the most", SYMBOLS_MAX),
            ));
        }
        for symbol in &symbols {
            let is_pair = || {
                let mut coins = symbol.split('/');
                let is_coin = |coin: Option<&str>| {
                    coin.is_some_and(|coin| {
                        !coin.is_empty() && coin.bytes().all(|byte| byte.is_ascii_alphanumeric())
                    })
                };
                is_coin(coins.next()) && is_coin(coins.next()) && coins.next().is_none()
            };
            if class == AssetClass::Crypto && !is_pair() {
                let message = format!("invalid symbol: {symbol} does not match ^[A-Z]+x?/[A-Z]+$");
                return Err(Refusal::data(400, message));
            }
            if symbol.is_empty() || !symbol.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Refusal::data(400, format!("invalid symbol: {symbol}")));
            }
        }
        let known = |symbol: &String| {
            let asset = self.assets.find(symbol)?;
            (asset.class == class && asset.symbol == *symbol).then_some(asset)
        };
        let mut assets: Vec<_> = symbols.iter().filter_map(known).collect();
        assets.sort_by(|one, two| one.symbol.cmp(&two.symbol));
        assets.dedup_by(|one, two| one.symbol == two.symbol);
        Ok(assets)
    }

    fn pages(&self, query: &Query) -> Result<Pages, Refusal> {
        let (default, most) = LIMIT;
        let limit = self.limit(query, default, most)?;
        let descending = match query.get("sort") {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(Refusal::data(400, format!("invalid sort: {other}"))),
        };
        let from = moment(query, "start")?;
        let to = moment(query, "end")?.unwrap_or(self.now);
        let from = from.unwrap_or_else(|| day_begins_at(new_york_day(self.now)));
        if from > to {
            return Err(Refusal::data(400, "end should not be before start"));
        }
        Ok(Pages {
            from,
            to: to.min(self.now),
            begins_at: page::begins_at(self.tape),
            descending,
            limit,
            token: query.get("page_token").map(Token::decode).transpose()?,
        })
    }

    fn limit(&self, query: &Query, default: usize, most: usize) -> Result<usize, Refusal> {
        match query.get("limit") {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=most).contains(limit))
                .ok_or_else(|| Refusal::data(400, format!("invalid limit: must be between 1 and {most}"))),
        }
    }

    fn timeframe(&self, query: &Query) -> Result<Timeframe, Refusal> {
        let text = query
            .get("timeframe")
            .ok_or_else(|| Refusal::data(400, "timeframe is required"))?;
        text.parse()
            .map_err(|()| Refusal::data(400, format!("invalid timeframe: {text}")))
    }

    /// The free plan sees one exchange at once, and the whole tape a quarter of an hour later.
    fn entitled(&self, class: AssetClass, query: &Query, until: Option<Timestamp>) -> Result<(), Refusal> {
        let feed = query.get("feed");
        let known = match class {
            AssetClass::UsEquity => ["sip", "iex", "otc", "boats", "delayed_sip", "overnight"].as_slice(),
            AssetClass::UsOption => ["opra", "indicative"].as_slice(),
            AssetClass::Crypto => return Ok(()),
        };
        let Some(feed) = feed else { return Ok(()) };
        if !known.contains(&feed) {
            return Err(Refusal::data(400, format!("invalid feed: {feed}")));
        }
        if self.plan == DataPlan::Plus {
            return Ok(());
        }
        let is_recent = until.is_none_or(|until| until > self.now - SIP_DELAY);
        match feed {
            "sip" if is_recent => Err(Refusal::data(
                403,
                "subscription does not permit querying recent SIP data",
            )),
            "otc" | "boats" | "opra" => Err(Refusal::data(
                403,
                format!(
                    "subscription does not permit querying {} data",
                    feed.to_uppercase()
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Are prices wanted in the shares of today? Dividends change nothing here.
fn adjusted(query: &Query) -> Result<bool, Refusal> {
    let text = query.get("adjustment").unwrap_or("raw");
    let mut adjusted = false;
    for part in text.split(',') {
        match part {
            "raw" | "dividend" | "spin-off" => {}
            "split" | "all" => adjusted = true,
            _ => return Err(Refusal::data(400, format!("invalid adjustment: {text}"))),
        }
    }
    Ok(adjusted)
}

fn moment(query: &Query, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let invalid = |_| {
        Refusal::data(
            400,
            format!(
                "invalid {name}: cannot parse {:?}",
                query.get(name).unwrap_or_default()
            ),
        )
    };
    query.moment(name).map_err(invalid)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
