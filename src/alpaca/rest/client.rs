//! The one client of the account's REST API: what is asked, and what the answers mean.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use http::{Method, Uri};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::answer::{Answer, Exchange, TransportError};
use super::classify::{self, CancelAnswer, LookUpAnswer, ReadError, SubmitAnswer};
use super::http::Http;
use super::last_check::{CheckedBody, LastCheck};
use super::model::{AccountJson, AssetJson, ClockJson, FillJson, OrderJson, PositionJson, Shape};
use super::request::{OrderBody, ReplaceBody};
use super::route::route;
use crate::alpaca::credential::Credential;
use crate::alpaca::pacer::{Lane, Pacer, Permit};
use crate::domain::{
    Account, Asset, ClientOrderId, FillActivity, MarketClock, Order, OrderId, Placement, Position, Symbol,
};
use crate::telemetry::{Chain, metrics, trace};

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
    /// For a whole request, from connecting to the last byte read.
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
    Setup(#[source] rustls::Error),
    /// There is no thread to set it up on, or it has ended.
    #[error("set up the HTTP client: {0}")]
    Thread(std::io::Error),
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
    /// `None` while it is built.
    http: watch::Receiver<Option<Result<Http, rustls::Error>>>,
    base_url: Url,
    /// Where orders are placed: put together once, for nothing is asked for as often.
    orders_uri: Uri,
    credential: Credential,
    pacer: Pacer,
}

impl Client {
    /// Sets the client up. Connects to nothing.
    pub fn new(endpoint: Endpoint, pacer: Pacer) -> Result<Self, ClientError> {
        let http = Http::set_up(endpoint.request_timeout).map_err(ClientError::Setup)?;
        let (_, http) = watch::channel(Some(Ok(http)));
        Self::with(http, endpoint, pacer)
    }

    /// Begins to set a client up, on a thread of its own: the certificates take as long to load as everything else a start
    /// needs before the first request. Requests wait for it.
    pub fn begin(endpoint: Endpoint, pacer: Pacer) -> Result<Self, ClientError> {
        let (built, http) = watch::channel(None);
        let request_timeout = endpoint.request_timeout;
        std::thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || built.send_replace(Some(Http::set_up(request_timeout))))
            .map_err(ClientError::Thread)?;
        Self::with(http, endpoint, pacer)
    }

    fn with(
        http: watch::Receiver<Option<Result<Http, rustls::Error>>>,
        endpoint: Endpoint,
        pacer: Pacer,
    ) -> Result<Self, ClientError> {
        let base_url = base_url(&endpoint.base_url).ok_or(ClientError::BaseUrl)?;
        Ok(Self {
            http,
            orders_uri: uri(&beneath(&base_url, "/v2/orders")).ok_or(ClientError::BaseUrl)?,
            base_url,
            credential: endpoint.credential,
            pacer,
        })
    }

    /// Waits until it is set up, so that no request waits for that between its last check and its first byte. Says why it cannot be.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.http().await.map(|_| ())
    }

    async fn http(&self) -> Result<Http, ClientError> {
        if let Some(Ok(http)) = &*self.http.borrow() {
            return Ok(http.clone());
        }
        let mut http = self.http.clone();
        let built = http.wait_for(Option::is_some).await;
        match built.ok().and_then(|built| (*built).clone()) {
            Some(built) => built.map_err(ClientError::Setup),
            None => Err(ClientError::Thread(std::io::Error::other("the thread has ended"))),
        }
    }

    /// The same client for somebody with another credential, to find out whose it is.
    #[must_use]
    pub fn with_credential(&self, credential: Credential) -> Self {
        Self {
            credential,
            ..self.clone()
        }
    }

    /// The account's request budget.
    pub fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Places an order: one POST or one PATCH, nothing else. The caller got the permit first, and then judged
    /// deadline and mode; `check` judges them again when the connection is open. Dropped before it is ready, the
    /// outcome is unknown.
    pub async fn submit(
        &self,
        permit: Permit,
        id: &ClientOrderId,
        asked: &Placement,
        check: LastCheck,
    ) -> SubmitAnswer {
        let (method, uri, body) = match asked {
            Placement::New(order) => (
                Method::POST,
                Some(self.orders_uri.clone()),
                serde_json::to_vec(&OrderBody::new(id, order)),
            ),
            Placement::Replacement(replacement) => (
                Method::PATCH,
                uri(&self.url(&format!("/v2/orders/{}", replacement.replaces), &[])),
                serde_json::to_vec(&ReplaceBody::new(id, &replacement.changes)),
            ),
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                return SubmitAnswer::NotSent {
                    cause: error.to_string(),
                    retry_after: None,
                };
            }
        };
        let body = CheckedBody {
            bytes: Some(body.into()),
            check,
        };
        let exchange = self.exchange(permit, method, uri, Some(body), BODY_MAX).await;
        classify::submit(exchange, id, asked)
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
        let exchange = self
            .exchange(permit, Method::DELETE, uri(&url), None, BODY_MAX)
            .await;
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
    pub async fn positions(&self, lane: Lane) -> Result<Read<Vec<Position>>, ReadError> {
        self.read::<Vec<PositionJson>>(lane, self.url("/v2/positions", &[]))
            .await
    }

    /// The account itself.
    pub async fn account(&self) -> Result<Read<Account>, ReadError> {
        self.read::<AccountJson>(Lane::Read, self.url("/v2/account", &[]))
            .await
    }

    /// What the venue knows of a symbol. `None`: nothing.
    pub async fn asset(&self, symbol: &Symbol) -> Result<Option<Asset>, ReadError> {
        let mut url = self.url("/v2/assets/", &[]);
        // A pair's slash is part of the name, and must not split the path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(symbol.as_str());
        }
        let exchange = self.get(Lane::Read, url, BODY_MAX).await;
        classify::read_if_there::<AssetJson>(exchange)
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
        self.exchange(permit, Method::GET, uri(&url), None, body_max)
            .await
    }

    /// One request on a budget's permit. No `uri`: there is none of that text, and nothing is sent.
    async fn exchange(
        &self,
        permit: Permit,
        method: Method,
        uri: Option<Uri>,
        body: Option<CheckedBody>,
        body_max: usize,
    ) -> Exchange {
        let Some(uri) = uri else {
            return Err(TransportError::NotSent("its address is none".to_owned()));
        };
        let route = route(&method, uri.path());
        let http = match self.http().await {
            Ok(http) => http,
            Err(error) => return Err(TransportError::NotSent(Chain(&error).to_string())),
        };
        let span = trace::child_span!(
            "venue request",
            otel.kind = "client",
            route,
            http.response.status_code = Empty
        );
        permit.spend();
        let began = Instant::now();
        let headers = self.credential.headers();
        let head = |answer: &Answer| self.pacer.observe(answer.rate);
        let exchange = http
            .exchange(method, uri, headers, body, body_max, head)
            .instrument(span.clone())
            .await;
        let status = exchange.as_ref().ok().map(|answer| answer.status);
        if let Some(status) = status {
            span.record("http.response.status_code", status);
        }
        metrics::venue_answered(route, status, began.elapsed());
        exchange
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = beneath(&self.base_url, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

fn beneath(base_url: &Url, path: &str) -> Url {
    let mut url = base_url.clone();
    url.set_path(&format!("{}{path}", base_url.path().trim_end_matches('/')));
    url
}

/// What the HTTP client goes by. Each URL is one, but for a length of 64 KiB.
fn uri(url: &Url) -> Option<Uri> {
    url.as_str().parse().ok()
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

#[cfg(test)]
mod tests;
