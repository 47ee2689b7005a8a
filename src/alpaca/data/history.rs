//! Bars of the past, over REST: what a stream missed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;

use crate::alpaca::clean;
use crate::alpaca::credential::Credential;
use crate::domain::market::{Bar, MarketClass};

/// One request, from connecting to the last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of one answer, as many as the venue gives.
const PAGE: &str = "10000";
/// Pages followed: a million bars. A gap that is larger is told, and not filled.
const PAGES_MAX: usize = 100;
/// Symbols of one request: an address has its limits.
const SYMBOLS_MAX: usize = 100;
/// Largest answer. Ten thousand bars have about a megabyte.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// The market data API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    http: reqwest::Client,
    base_url: String,
    credential: Credential,
}

/// The past could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HistoryError(String);

impl HistoryError {
    fn of(cause: impl ToString) -> Self {
        Self(clean(&cause.to_string()))
    }
}

#[derive(Deserialize)]
struct PageJson {
    #[serde(default)]
    bars: Option<BTreeMap<String, Vec<BarJson>>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct BarJson {
    t: String,
    #[serde(default)]
    o: f64,
    #[serde(default)]
    h: f64,
    #[serde(default)]
    l: f64,
    #[serde(default)]
    c: f64,
    #[serde(default)]
    v: f64,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    vw: f64,
}

impl History {
    /// Sets the client up. Connects to nothing.
    pub fn new(base_url: &str, credential: Credential) -> Result<Self, HistoryError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("nalpaca/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(HistoryError::of)?;
        Ok(Self {
            http,
            base_url: base_url.trim_end_matches('/').to_owned(),
            credential,
        })
    }

    /// Minute bars of some symbols that began from `from` on and before `until`, sorted by symbol and time.
    pub async fn minute_bars(
        &self,
        class: MarketClass,
        feed: &str,
        symbols: &[String],
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Bar<'static>>, HistoryError> {
        let path = match class {
            MarketClass::Stocks => "/v2/stocks/bars".to_owned(),
            MarketClass::Crypto => format!("/v1beta3/crypto/{feed}/bars"),
            MarketClass::Options => "/v1beta1/options/bars".to_owned(),
            MarketClass::News => return Ok(Vec::new()),
        };
        let mut bars = Vec::new();
        for symbols in symbols.chunks(SYMBOLS_MAX) {
            let mut page_token = String::new();
            for _ in 0..PAGES_MAX {
                let mut url = Url::parse(&format!("{}{path}", self.base_url)).map_err(HistoryError::of)?;
                {
                    let mut query = url.query_pairs_mut();
                    query
                        .append_pair("symbols", &symbols.join(","))
                        .append_pair("timeframe", "1Min")
                        .append_pair("start", &from.to_string())
                        .append_pair("end", &until.to_string())
                        .append_pair("limit", PAGE)
                        .append_pair("sort", "asc");
                    if class == MarketClass::Stocks {
                        query.append_pair("feed", feed);
                    }
                    if !page_token.is_empty() {
                        query.append_pair("page_token", &page_token);
                    }
                }
                let page = self.page(url).await?;
                for (symbol, rows) in page.bars.unwrap_or_default() {
                    let rows = rows.into_iter().filter_map(|row| {
                        let at: Timestamp = row.t.parse().ok()?;
                        (from <= at && at < until).then_some((at, row))
                    });
                    bars.extend(rows.map(|(at, row)| Bar {
                        symbol: Cow::Owned(symbol.clone()),
                        at,
                        open: row.o,
                        high: row.h,
                        low: row.l,
                        close: row.c,
                        volume: row.v,
                        trade_count: row.n,
                        vwap: row.vw,
                    }));
                }
                page_token = page.next_page_token.unwrap_or_default();
                if page_token.is_empty() {
                    break;
                }
            }
            if !page_token.is_empty() {
                return Err(HistoryError::of("there are more bars than are followed"));
            }
        }
        Ok(bars)
    }

    async fn page(&self, url: Url) -> Result<PageJson, HistoryError> {
        let request = self.http.get(url).headers(self.credential.headers());
        let mut response = request
            .send()
            .await
            .map_err(|error| HistoryError::of(error.without_url()))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response
            .chunk()
            .await
            .map_err(|error| HistoryError::of(error.without_url()))?
        {
            if body.len() + part.len() > BODY_MAX {
                return Err(HistoryError::of("the answer is too large"));
            }
            body.extend_from_slice(&part);
        }
        if !status.is_success() {
            let words = String::from_utf8_lossy(&body);
            return Err(HistoryError::of(format!("HTTP {}: {words}", status.as_u16())));
        }
        serde_json::from_slice(&body).map_err(HistoryError::of)
    }
}
