//! Bars of the past, over REST: what a stream missed, and what somebody asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::alpaca::clean;
use crate::alpaca::credential::Credential;
use crate::domain::Symbol;
use crate::domain::history::{BarsQuestion, SYMBOLS_MAX, Timeframe};
use crate::domain::market::{Bar, MarketClass};

/// One request, from connecting to the last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows of one answer, as many as the venue gives.
const PAGE: u32 = 10_000;
/// Pages followed: a million bars. A gap that is larger is told, and not filled.
const PAGES_MAX: usize = 100;
/// Largest answer. Ten thousand bars have about a megabyte.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// The market data API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    http: reqwest::Client,
    base_url: String,
    credential: Credential,
}

/// The past could not be had, by what whoever asked can do. The words are the venue's, where it had any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Ask later.
    #[error("the venue has been asked too often")]
    TooOften {
        /// When it may be asked again, where it said so.
        again_at: Option<Timestamp>,
    },
    /// These keys, or their plan, do not have it.
    #[error("the venue refuses: {0}")]
    NotAllowed(String),
    /// The question is wrong.
    #[error("the venue refuses: {0}")]
    Wrong(String),
    /// No answer, or none that can be read. Ask again.
    #[error("the venue does not answer: {0}")]
    Failed(String),
}

impl HistoryError {
    fn of(cause: impl ToString) -> Self {
        Self::Failed(clean(&cause.to_string()))
    }
}

/// The best bid and offer, as observed. Zero: there is none on that side.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LatestQuote {
    pub bid: f64,
    pub ask: f64,
    pub at: Timestamp,
}

#[derive(Deserialize)]
struct LatestJson {
    #[serde(default)]
    quotes: BTreeMap<String, QuoteJson>,
}

#[derive(Deserialize)]
struct QuoteJson {
    t: String,
    #[serde(default)]
    bp: f64,
    #[serde(default)]
    ap: f64,
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
        let feed = match (class, feed) {
            // The venue's feed for trying things out has no past.
            (MarketClass::News, _) | (MarketClass::Stocks, "test") => return Ok(Vec::new()),
            // What is told late is the consolidated tape.
            (MarketClass::Stocks, "delayed_sip") => "sip",
            (_, feed) => feed,
        };
        let mut bars = Vec::new();
        for symbols in symbols.chunks(SYMBOLS_MAX) {
            let mut asked = Asked {
                class,
                symbols: symbols.join(","),
                timeframe: Timeframe::MINUTE,
                from,
                until,
                open_ended: false,
                adjustment: "",
                feed,
                limit: PAGE,
                page_token: String::new(),
            };
            for _ in 0..PAGES_MAX {
                let (page, next) = self.page(&asked).await?;
                bars.extend(page);
                asked.page_token = next;
                if asked.page_token.is_empty() {
                    break;
                }
            }
            if !asked.page_token.is_empty() {
                return Err(HistoryError::of("there are more bars than are followed"));
            }
        }
        Ok(bars)
    }

    /// One page of bars, sorted by symbol and time, and where the next one begins; empty at the end.
    pub async fn bars(
        &self,
        question: &BarsQuestion,
        limit: u32,
        page_token: &str,
    ) -> Result<(Vec<Bar<'static>>, String), HistoryError> {
        let symbols: Vec<&str> = question.symbols().iter().map(Symbol::as_str).collect();
        self.page(&Asked {
            class: question.class(),
            symbols: symbols.join(","),
            timeframe: question.timeframe(),
            from: question.from(),
            until: question.until(),
            open_ended: question.is_open_ended(),
            adjustment: question.adjustment().as_str(),
            feed: question.feed(),
            limit,
            page_token: page_token.to_owned(),
        })
        .await
    }

    /// The latest bid and offer of a symbol. `None`: there is none.
    pub async fn latest_quote(
        &self,
        class: MarketClass,
        feed: &str,
        symbol: &Symbol,
    ) -> Result<Option<LatestQuote>, HistoryError> {
        let path = match class {
            MarketClass::Stocks => "/v2/stocks/quotes/latest",
            MarketClass::Crypto => "/v1beta3/crypto/us/latest/quotes",
            MarketClass::Options => "/v1beta1/options/quotes/latest",
            MarketClass::News => return Err(HistoryError::of("news have no quotes")),
        };
        let base_url = &self.base_url;
        let mut url = Url::parse(&format!("{base_url}{path}")).map_err(HistoryError::of)?;
        url.query_pairs_mut().append_pair("symbols", symbol.as_str());
        if !feed.is_empty() {
            url.query_pairs_mut().append_pair("feed", feed);
        }
        let mut latest: LatestJson = self.fetch(url).await?;
        let Some(quote) = latest.quotes.remove(symbol.as_str()) else {
            return Ok(None);
        };
        let Ok(at) = quote.t.parse() else {
            return Err(HistoryError::of("a quote has no date"));
        };
        Ok(Some(LatestQuote {
            bid: quote.bp,
            ask: quote.ap,
            at,
        }))
    }

    async fn page(&self, asked: &Asked<'_>) -> Result<(Vec<Bar<'static>>, String), HistoryError> {
        let page: PageJson = self.fetch(asked.url(&self.base_url)?).await?;
        let mut bars = Vec::new();
        for (symbol, rows) in page.bars.unwrap_or_default() {
            let rows = rows.into_iter().filter_map(|row| {
                let at: Timestamp = row.t.parse().ok()?;
                // The venue's end is included.
                (asked.from <= at && at < asked.until).then_some((at, row))
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
        Ok((bars, page.next_page_token.unwrap_or_default()))
    }

    async fn fetch<T: DeserializeOwned>(&self, url: Url) -> Result<T, HistoryError> {
        let request = self.http.get(url).headers(self.credential.headers());
        let mut response = request
            .send()
            .await
            .map_err(|error| HistoryError::of(error.without_url()))?;
        let status = response.status();
        let again_at = again_at(response.headers());
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
            return Err(match status.as_u16() {
                429 => HistoryError::TooOften { again_at },
                401 | 403 => HistoryError::NotAllowed(words(&body)),
                400 | 404 | 422 => HistoryError::Wrong(words(&body)),
                other => HistoryError::Failed(format!("HTTP {other}: {}", words(&body))),
            });
        }
        serde_json::from_slice(&body).map_err(HistoryError::of)
    }
}

/// What is asked for on one page.
struct Asked<'a> {
    class: MarketClass,
    symbols: String,
    timeframe: Timeframe,
    from: Timestamp,
    until: Timestamp,
    /// The end is not said: some plans may not ask for the present, and hear all that they may when they do not.
    open_ended: bool,
    /// Empty for what the venue does by itself, as is the feed.
    adjustment: &'a str,
    feed: &'a str,
    limit: u32,
    page_token: String,
}

impl Asked<'_> {
    fn url(&self, base_url: &str) -> Result<Url, HistoryError> {
        let path = match self.class {
            MarketClass::Stocks => "/v2/stocks/bars".to_owned(),
            MarketClass::Crypto => {
                let feed = if self.feed.is_empty() { "us" } else { self.feed };
                format!("/v1beta3/crypto/{feed}/bars")
            }
            MarketClass::Options => "/v1beta1/options/bars".to_owned(),
            MarketClass::News => return Err(HistoryError::of("news have no bars")),
        };
        let mut url = Url::parse(&format!("{base_url}{path}")).map_err(HistoryError::of)?;
        let mut query = url.query_pairs_mut();
        query
            .append_pair("symbols", &self.symbols)
            .append_pair("timeframe", &self.timeframe.to_string())
            .append_pair("start", &self.from.to_string())
            .append_pair("limit", &self.limit.to_string())
            .append_pair("sort", "asc");
        if self.class == MarketClass::Stocks {
            for (name, value) in [("feed", self.feed), ("adjustment", self.adjustment)] {
                if !value.is_empty() {
                    query.append_pair(name, value);
                }
            }
        }
        if !self.open_ended {
            query.append_pair("end", &self.until.to_string());
        }
        if !self.page_token.is_empty() {
            query.append_pair("page_token", &self.page_token);
        }
        drop(query);
        Ok(url)
    }
}

/// When a venue that has had enough of us may be asked again: the quota is new at a second of the epoch.
fn again_at(headers: &HeaderMap) -> Option<Timestamp> {
    let reset: i64 = headers.get("X-RateLimit-Reset")?.to_str().ok()?.parse().ok()?;
    Timestamp::from_second(reset).ok()
}

/// The venue's message alone, where it is wrapped in JSON.
fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Wrapped {
        message: String,
    }
    match serde_json::from_slice::<Wrapped>(body) {
        Ok(wrapped) => clean(&wrapped.message),
        Err(_) => clean(&String::from_utf8_lossy(body)),
    }
}
