//! The one HTTP client of the account.
//!
//! Deliberately absent: redirects (custom auth headers would survive them), retries (a repeated POST is an order),
//! and proxies from the environment (the stream would not use them, and the secret would pass through a third
//! party nobody configured here).

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, Url};

use super::answer::{Answer, Exchange, TransportError};
use super::classify::{self, CancelAnswer, LookUpAnswer, ReadError, SubmitAnswer};
use super::model::{AccountJson, ClockJson, FillJson, OrderJson, PositionJson, Shape};
use super::request::OrderBody;
use crate::alpaca::credential::Credential;
use crate::alpaca::pacer::{Lane, Pacer, Permit};
use crate::domain::{Account, ClientOrderId, FillActivity, MarketClock, NewOrder, Order, OrderId, Position};

/// TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection nobody used for so long is closed by us. Longer than the pause between the mirrors' reads, which
/// keep connections warm, and shorter than the idle timeouts usual at an edge, which would reset an order's POST.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Largest answer about one thing. An order with four legs has about 6 KiB.
const BODY_MAX: usize = 1024 * 1024;

/// Largest answer that is a list: 500 orders of four legs each, or some ten thousand positions.
const LIST_BODY_MAX: usize = 8 * 1024 * 1024;

/// Most rows the venue gives per request.
const ORDERS_PAGE: usize = 500;
const ACTIVITIES_PAGE: usize = 100;

/// Most pages one listing follows: 100 000 orders, 20 000 fills. Beyond that the reads would eat the budget.
const PAGES_MAX: usize = 200;

/// The venue's cursor is exclusive and orders may share an instant, so each page starts a little before the last
/// one's end. A millisecond also covers a cursor that is cut to that precision.
const PAGE_OVERLAP: SignedDuration = SignedDuration::from_millis(1);

/// Where the venue is and who we are to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://paper-api.alpaca.markets`, without `/v2`.
    pub base_url: String,
    /// Who we are.
    pub credential: Credential,
    /// From the first byte written to the last byte read.
    pub request_timeout: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an HTTP address, or one with a user, a query or a fragment.
    #[error("the venue's address must be a plain http or https URL")]
    BaseUrl,
    /// TLS could not be set up.
    #[error("set up the HTTP client")]
    Setup(#[source] reqwest::Error),
}

/// What was read, and when it was true by the venue's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// The answer's `Date`, to the second, if there was one.
    pub server_date: Option<Timestamp>,
}

/// The account's REST API. Cheap to clone; all clones share the connections and the budget.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: Url,
    pacer: Pacer,
}

impl Client {
    /// Sets the client up. Connects to nothing.
    pub fn new(endpoint: Endpoint, pacer: Pacer) -> Result<Self, ClientError> {
        let base_url = base_url(&endpoint.base_url).ok_or(ClientError::BaseUrl)?;
        let mut headers = endpoint.credential.headers();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("nalpaca/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT.min(endpoint.request_timeout))
            .timeout(endpoint.request_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self {
            http,
            base_url,
            pacer,
        })
    }

    /// The account's request budget.
    pub fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Places an order: one POST, nothing else. The caller got the permit first, and then judged deadline and
    /// mode a last time. Dropped before it is ready, the outcome is unknown.
    pub async fn submit(&self, permit: Permit, id: &ClientOrderId, order: &NewOrder) -> SubmitAnswer {
        let body = match serde_json::to_vec(&OrderBody::new(id, order)) {
            Ok(body) => body,
            Err(error) => {
                return SubmitAnswer::NotSent {
                    cause: error.to_string(),
                    retry_after: None,
                };
            }
        };
        let url = self.url("/v2/orders", &[]);
        let exchange = self
            .exchange(permit, Method::POST, url, Some(body), BODY_MAX)
            .await;
        classify::submit(exchange, id, order)
    }

    /// Asks for an order by its client order id, which may be anybody's text.
    pub async fn find_by_client_order_id(&self, id: &str) -> LookUpAnswer {
        let query = [("client_order_id", id), ("nested", "true")];
        let url = self.url("/v2/orders:by_client_order_id", &query);
        let exchange = self.get(Lane::LookUp, url, BODY_MAX).await;
        classify::look_up_by_client_order_id(exchange, id)
    }

    /// Asks for an order by the venue's id.
    pub async fn find_by_order_id(&self, id: OrderId) -> LookUpAnswer {
        let url = self.url(&format!("/v2/orders/{id}"), &[("nested", "true")]);
        let exchange = self.get(Lane::LookUp, url, BODY_MAX).await;
        classify::look_up_by_order_id(exchange, id)
    }

    /// Asks the venue to cancel an order. Harmless when repeated.
    pub async fn cancel(&self, id: OrderId) -> CancelAnswer {
        let permit = self.pacer.acquire(Lane::Cancel).await;
        let url = self.url(&format!("/v2/orders/{id}"), &[]);
        let exchange = self.exchange(permit, Method::DELETE, url, None, BODY_MAX).await;
        classify::cancel(exchange)
    }

    /// Every open order, oldest first, each once. Children of brackets stand on their own.
    pub async fn open_orders(&self, lane: Lane) -> Result<Vec<Order>, ReadError> {
        self.orders(lane, "open", None).await
    }

    /// Every order submitted after an instant, whatever became of it, oldest first, each once. Children of brackets
    /// stand on their own.
    pub async fn orders_since(&self, after: Timestamp) -> Result<Vec<Order>, ReadError> {
        self.orders(Lane::Read, "all", Some(after)).await
    }

    async fn orders(
        &self,
        lane: Lane,
        status: &str,
        after: Option<Timestamp>,
    ) -> Result<Vec<Order>, ReadError> {
        let mut all = Distinct::new(|order: &Order| order.id);
        let mut after = after;
        for _ in 0..PAGES_MAX {
            let cursor = after.map(|after| after.to_string());
            let limit = ORDERS_PAGE.to_string();
            let mut query = vec![
                ("status", status),
                ("limit", &limit),
                ("direction", "asc"),
                ("nested", "false"),
            ];
            query.extend(cursor.as_deref().map(|cursor| ("after", cursor)));
            let page: Vec<Order> = self
                .read::<Vec<OrderJson>>(lane, self.url("/v2/orders", &query))
                .await?
                .value;
            let full = page.len() >= ORDERS_PAGE;
            let last = page
                .iter()
                .filter_map(|order| order.submitted_at.or(order.created_at))
                .max();
            let news = all.extend(page);
            if !full {
                return Ok(all.rows);
            }
            let next = last.and_then(|last| last.checked_sub(PAGE_OVERLAP).ok());
            if !news || next <= after {
                return Err(stuck("a page of orders leads nowhere"));
            }
            after = next;
        }
        Err(stuck("more orders than this program is willing to read"))
    }

    /// Every fill after an instant, each once, in the venue's order, which is not reliable within a millisecond.
    pub async fn fill_activities(&self, after: Timestamp) -> Result<Vec<FillActivity>, ReadError> {
        let mut all = Distinct::new(|fill: &FillActivity| fill.activity_id.clone());
        let after = after.to_string();
        let page_size = ACTIVITIES_PAGE.to_string();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![
                ("activity_types", "FILL"),
                ("direction", "asc"),
                ("after", &after),
                ("page_size", &page_size),
            ];
            query.extend(token.as_deref().map(|token| ("page_token", token)));
            let url = self.url("/v2/account/activities", &query);
            let page: Vec<FillActivity> = self.read::<Vec<FillJson>>(Lane::Read, url).await?.value;
            let full = page.len() >= ACTIVITIES_PAGE;
            let next = page.last().map(|fill| fill.activity_id.clone());
            let news = all.extend(page);
            if !full {
                return Ok(all.rows);
            }
            if !news {
                return Err(stuck("a page of activities leads nowhere"));
            }
            token = next;
        }
        Err(stuck("more fills than this program is willing to read"))
    }

    /// Everything the account holds.
    pub async fn positions(&self) -> Result<Read<Vec<Position>>, ReadError> {
        self.read::<Vec<PositionJson>>(Lane::Read, self.url("/v2/positions", &[]))
            .await
    }

    /// The account itself.
    pub async fn account(&self) -> Result<Read<Account>, ReadError> {
        self.read::<AccountJson>(Lane::Read, self.url("/v2/account", &[]))
            .await
    }

    /// The market's clock.
    pub async fn clock(&self) -> Result<Read<MarketClock>, ReadError> {
        self.read::<ClockJson>(Lane::Read, self.url("/v2/clock", &[]))
            .await
    }

    async fn read<S: Shape>(&self, lane: Lane, url: Url) -> Result<Read<S::Noun>, ReadError> {
        let exchange = self.get(lane, url, LIST_BODY_MAX).await;
        let server_date = exchange.as_ref().ok().and_then(|answer| answer.date);
        let value = classify::read::<S>(exchange)?;
        Ok(Read { value, server_date })
    }

    async fn get(&self, lane: Lane, url: Url, body_max: usize) -> Exchange {
        let permit = self.pacer.acquire(lane).await;
        self.exchange(permit, Method::GET, url, None, body_max).await
    }

    async fn exchange(
        &self,
        permit: Permit,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
        body_max: usize,
    ) -> Exchange {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body);
        }
        permit.spend();
        let response = request.send().await.map_err(transport_error)?;
        let mut answer = Answer::from_head(response.status().as_u16(), response.headers());
        self.pacer.observe(answer.rate);
        answer.body = read_body(response, body_max).await;
        Ok(answer)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base_url.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// Sorts a failed request by whether a byte of it can have reached the venue.
fn transport_error(error: reqwest::Error) -> TransportError {
    // `is_connect` covers DNS, TCP, TLS and the connect timeout: the request itself was not yet written.
    let not_sent = error.is_connect() || error.is_builder();
    let timed_out = error.is_timeout();
    let cause = chain(&error.without_url());
    match (not_sent, timed_out) {
        (true, _) => TransportError::NotSent(cause),
        (false, true) => TransportError::Unknown(format!("no answer in time: {cause}")),
        (false, false) => TransportError::Unknown(cause),
    }
}

/// The whole body, unless it is cut off, late or larger than `max`.
async fn read_body(mut response: Response, max: usize) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > max => {
                return Err(format!("the body is larger than {max} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) => return Err(format!("the body was cut off: {}", chain(&error.without_url()))),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn stuck(cause: &str) -> ReadError {
    ReadError::Failed {
        cause: cause.to_owned(),
        retry_after: None,
    }
}

/// Rows in the order they came, each key once.
struct Distinct<T, K, F> {
    rows: Vec<T>,
    seen: HashSet<K>,
    key: F,
}

impl<T, K: Hash + Eq, F: Fn(&T) -> K> Distinct<T, K, F> {
    fn new(key: F) -> Self {
        Self {
            rows: Vec::new(),
            seen: HashSet::new(),
            key,
        }
    }

    /// Adds what is new and says whether anything was.
    fn extend(&mut self, page: Vec<T>) -> bool {
        let before = self.rows.len();
        for row in page {
            if self.seen.insert((self.key)(&row)) {
                self.rows.push(row);
            }
        }
        self.rows.len() > before
    }
}
