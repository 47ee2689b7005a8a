//! The newest trade, quote or bar, and the snapshots made of them.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use rust_decimal::Decimal;
use serde_json::Value;

use super::super::super::api::Query;
use super::super::super::core::tape::Timeframe;
use super::super::super::core::{Asset, AssetClass, Refusal, new_york_day};
use super::super::row::{self, Json};
use super::{History, Names, Rows, quoted};

/// A market that was closed for longer has no latest trade.
const LOOK_BACK_DAYS: i64 = 14;
/// Option snapshots on a page unless asked otherwise, and at most.
const CHAIN_LIMIT: (usize, usize) = (100, 1_000);

impl History<'_> {
    /// The newest row of each symbol.
    pub(super) fn latest(
        &self,
        class: AssetClass,
        rows: Rows,
        names: &Names,
        query: &Query,
    ) -> Result<String, Refusal> {
        let assets = self.named(class, names, query)?;
        self.entitled(class, query, None)?;
        let told: Vec<_> = assets
            .iter()
            .filter_map(|asset| Some((asset.symbol.clone(), self.newest(asset, rows)?)))
            .collect();
        match names {
            Names::Query => {
                let rows_of = told
                    .iter()
                    .map(|(symbol, row)| format!("{}:{row}", quoted(symbol)));
                let rows_of: Vec<_> = rows_of.collect();
                Ok(format!(r#"{{"{}":{{{}}}}}"#, rows.plural(), rows_of.join(",")))
            }
            Names::Path(symbol) => {
                let (_, row) = told.first().ok_or_else(|| no_data(symbol))?;
                Ok(format!(
                    r#"{{"symbol":{},"{}":{row}}}"#,
                    quoted(symbol),
                    rows.singular()
                ))
            }
        }
    }

    fn newest(&self, asset: &Asset, rows: Rows) -> Option<String> {
        let mut sink = Json::default();
        match rows {
            Rows::Trades => row::trade(&mut sink, None, asset.class, &self.last_trade(asset)?),
            Rows::Quotes => row::quote(&mut sink, None, asset.class, &self.last_quote(asset)?),
            Rows::OrderBooks => row::order_book(&mut sink, None, &self.last_quote(asset)?),
            Rows::Bars | Rows::Auctions => row::bar(&mut sink, None, asset.class, &self.last_minute(asset)?),
        }
        Some(sink.into_text())
    }

    fn last_trade(&self, asset: &Asset) -> Option<row::Trade> {
        self.backwards(|from, until| self.tape.trades(asset, from, until).pop())
    }

    fn last_quote(&self, asset: &Asset) -> Option<row::Quote> {
        self.backwards(|from, until| self.tape.quotes(asset, from, until).pop())
    }

    fn last_minute(&self, asset: &Asset) -> Option<row::Bar> {
        // The minute that is still going on is not told.
        let begin = Timeframe::MINUTE.begin(self.now);
        let trade = self.backwards_from(begin, |from, until| self.tape.trades(asset, from, until).pop())?;
        self.tape.minute(asset, Timeframe::MINUTE.begin(trade.at))
    }

    fn backwards<T>(&self, find: impl Fn(Timestamp, Timestamp) -> Option<T>) -> Option<T> {
        self.backwards_from(self.now, find)
    }

    /// Looks in growing stretches of the past, since most often the newest is near.
    fn backwards_from<T>(
        &self,
        end: Timestamp,
        find: impl Fn(Timestamp, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let mut until = end;
        let mut stretch = SignedDuration::from_secs(10);
        let earliest = end.checked_sub((24 * LOOK_BACK_DAYS).hours()).ok()?;
        while until > earliest {
            let from = until.checked_sub(stretch).ok()?.max(earliest);
            if let Some(found) = find(from, until) {
                return Some(found);
            }
            until = from;
            stretch = (stretch * 2).min(SignedDuration::from_hours(1));
        }
        None
    }

    /// What happened on the latest day that traded, and on the one before.
    fn days(&self, asset: &Asset) -> (Option<row::Bar>, Option<row::Bar>) {
        let today = new_york_day(self.now);
        let back = |days: i64| today.checked_sub(days.days()).unwrap_or(today);
        let mut days = (0..=LOOK_BACK_DAYS).filter_map(|days| self.tape.day(asset, back(days), self.now));
        (days.next(), days.next())
    }

    fn snapshot(&self, asset: &Asset) -> Option<Vec<(&'static str, String)>> {
        let text = |write: &dyn Fn(&mut Json)| {
            let mut sink = Json::default();
            write(&mut sink);
            sink.into_text()
        };
        let class = asset.class;
        let trade = self.last_trade(asset)?;
        let quote = self.last_quote(asset);
        let bar = |bar: Option<row::Bar>| {
            bar.map_or_else(
                || "null".to_owned(),
                |bar| text(&|sink| row::bar(sink, None, class, &bar)),
            )
        };
        let (today, yesterday) = self.days(asset);
        Some(vec![
            ("latestTrade", text(&|sink| row::trade(sink, None, class, &trade))),
            (
                "latestQuote",
                quote.map_or_else(
                    || "null".to_owned(),
                    |quote| text(&|sink| row::quote(sink, None, class, &quote)),
                ),
            ),
            ("minuteBar", bar(self.last_minute(asset))),
            ("dailyBar", bar(today)),
            ("prevDailyBar", bar(yesterday)),
        ])
    }

    pub(super) fn snapshots(
        &self,
        class: AssetClass,
        names: &Names,
        query: &Query,
    ) -> Result<String, Refusal> {
        let assets = self.named(class, names, query)?;
        self.entitled(class, query, None)?;
        if class == AssetClass::UsOption {
            return self.option_snapshots(&assets, query);
        }
        let told = assets
            .iter()
            .filter_map(|asset| Some((asset, self.snapshot(asset)?)));
        let objects: Vec<_> = told
            .map(|(asset, fields)| (asset.symbol.as_str(), object(&fields)))
            .collect();
        match names {
            Names::Path(symbol) => {
                let (_, snapshot) = objects.first().ok_or_else(|| no_data(symbol))?;
                let fields = snapshot.trim_start_matches('{');
                Ok(format!(r#"{{"symbol":{},{fields}"#, quoted(symbol)))
            }
            // Shares come bare, coins in an envelope.
            Names::Query if class == AssetClass::UsEquity => Ok(map(&objects)),
            Names::Query => Ok(format!(r#"{{"snapshots":{}}}"#, map(&objects))),
        }
    }

    /// The contracts on one share, by symbol.
    pub(super) fn chain(&self, underlying: &str, query: &Query) -> Result<String, Refusal> {
        self.entitled(AssetClass::UsOption, query, None)?;
        let day = |name: &str| -> Result<Option<Date>, Refusal> {
            let invalid = |_| Refusal::data(400, format!("invalid {name}"));
            query.day(name).map_err(invalid)
        };
        let price = |name: &str| -> Result<Option<Decimal>, Refusal> {
            let invalid = |_| Refusal::data(400, format!("invalid {name}"));
            query.decimal(name).map_err(invalid)
        };
        let is_call = match query.get("type") {
            None => None,
            Some("call") => Some(true),
            Some("put") => Some(false),
            Some(other) => return Err(Refusal::data(400, format!("invalid type: {other}"))),
        };
        let (on, after, before) = (
            day("expiration_date")?,
            day("expiration_date_gte")?,
            day("expiration_date_lte")?,
        );
        let (above, below) = (price("strike_price_gte")?, price("strike_price_lte")?);
        let wanted = |asset: &Asset| {
            asset.contract.is_some_and(|contract| {
                is_call.is_none_or(|is_call| contract.is_call == is_call)
                    && on.is_none_or(|day| contract.expires_on == day)
                    && after.is_none_or(|day| contract.expires_on >= day)
                    && before.is_none_or(|day| contract.expires_on <= day)
                    && above.is_none_or(|price| contract.strike >= price)
                    && below.is_none_or(|price| contract.strike <= price)
            })
        };
        let mut contracts = self.assets.contracts_on(underlying, new_york_day(self.now));
        contracts.retain(wanted);
        contracts.sort_by(|one, two| one.symbol.cmp(&two.symbol));
        self.option_snapshots(&contracts, query)
    }

    fn option_snapshots(&self, contracts: &[Asset], query: &Query) -> Result<String, Refusal> {
        let (default, most) = CHAIN_LIMIT;
        let limit = self.limit(query, default, most)?;
        let after = query.get("page_token");
        let mut rest = contracts
            .iter()
            .filter(|asset| after.is_none_or(|after| asset.symbol.as_str() > after));
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let next = match (rest.next(), page.last()) {
            (Some(_), Some(last)) => Value::from(last.symbol.clone()),
            (Some(_) | None, _) => Value::Null,
        };
        let told = page.iter().filter_map(|asset| {
            let mut fields = self.snapshot(asset)?;
            fields.extend(self.greeks(asset).into_iter().flatten());
            Some((asset.symbol.as_str(), object(&fields)))
        });
        let objects: Vec<_> = told.collect();
        Ok(format!(
            r#"{{"next_page_token":{next},"snapshots":{}}}"#,
            map(&objects)
        ))
    }

    /// Smooth and of the right sign, and nothing more: delta falls in a line from deep in to far out of the money.
    fn greeks(&self, asset: &Asset) -> Option<[(&'static str, String); 2]> {
        let contract = asset.contract?;
        let underlying = self.assets.find(asset.underlying?)?;
        let spot = self.tape.price_at(&underlying, self.now);
        let half = Decimal::new(5, 1);
        let moneyness = (spot - contract.strike).checked_div(spot)?;
        let call_delta = (half + moneyness * Decimal::from(3)).clamp(Decimal::new(1, 2), Decimal::new(99, 2));
        let delta = if contract.is_call {
            call_delta
        } else {
            call_delta - Decimal::ONE
        };
        let swing = call_delta * (Decimal::ONE - call_delta);
        let gamma = (swing * Decimal::from(4)).checked_div(spot)?;
        let text = |value: Decimal| value.round_dp(4).normalize().to_string();
        let greeks = [
            ("delta", text(delta)),
            ("gamma", text(gamma)),
            ("rho", text(delta * Decimal::new(5, 2))),
            ("theta", text(-swing * spot * Decimal::new(2, 3))),
            ("vega", text(swing * spot * Decimal::new(4, 3))),
        ];
        Some([
            ("greeks", object(&greeks)),
            ("impliedVolatility", "0.3".to_owned()),
        ])
    }
}

fn no_data(symbol: &str) -> Refusal {
    Refusal::data(404, format!("no data found for {symbol}"))
}

/// A JSON object of fields that are JSON already.
fn object(fields: &[(&'static str, String)]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!(r#""{key}":{value}"#))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn map(objects: &[(&str, String)]) -> String {
    let fields: Vec<_> = objects
        .iter()
        .map(|(key, value)| format!("{}:{value}", quoted(key)))
        .collect();
    format!("{{{}}}", fields.join(","))
}
