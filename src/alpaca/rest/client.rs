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
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::alpaca::rest::test_server::{Reply, head, serve, whole_kept};
    use crate::domain::order::{Exits, Pricing, Side, Size, Structure, TimeInForce};
    use crate::domain::{NewOrder, Price, Quantity, Symbol};

    const ORDER: &str = include_str!("../fixtures/order_limit.json");

    fn client(base_url: &str) -> Client {
        let endpoint = Endpoint {
            base_url: base_url.to_owned(),
            credential: Credential::key_pair("PKTEST".into(), "s3cr3t".into()).unwrap(),
            request_timeout: Duration::from_millis(500),
        };
        Client::new(endpoint, Pacer::new(200)).unwrap()
    }

    fn new_order() -> NewOrder {
        NewOrder {
            structure: Structure::Single {
                symbol: Symbol::parse("AAPL").unwrap(),
                side: Side::Buy,
                pricing: Pricing::Limit {
                    limit: Price::parse("150").unwrap(),
                },
                exits: Exits::None,
            },
            size: Size::Quantity(Quantity::parse("2").unwrap()),
            time_in_force: TimeInForce::Gtc,
            extended_hours: false,
            position_intent: None,
            advanced: None,
            valid_until: None,
        }
    }

    async fn submit(client: &Client) -> SubmitAnswer {
        let id = ClientOrderId::parse("momentum.1").unwrap();
        let permit = client.pacer().acquire(Lane::NewOrder).await;
        client
            .submit(permit, &id, &Placement::New(new_order()), LastCheck::new(|| true))
            .await
    }

    /// What comes of an order when the venue does this once. Whoever asks again is told that it was accepted, so
    /// any other answer also shows that nobody did.
    async fn submit_to(reply: Reply) -> (SubmitAnswer, Receiver<String>) {
        let (address, requests) = serve(vec![reply, Reply::whole(200, "", ORDER)]);
        (submit(&client(&address)).await, requests)
    }

    #[tokio::test]
    async fn what_the_last_check_withholds_is_not_written() {
        let (address, requests) = serve(vec![Reply::whole(200, "", ORDER)]);
        let client = client(&address);
        let id = ClientOrderId::parse("momentum.1").unwrap();
        let asked = Placement::New(new_order());
        let permit = client.pacer().acquire(Lane::NewOrder).await;
        let answer = client.submit(permit, &id, &asked, LastCheck::new(|| false)).await;
        assert!(matches!(answer, SubmitAnswer::NotSent { .. }), "{answer:?}");
        let silence = requests
            .recv_timeout(Duration::from_millis(100))
            .unwrap_or_default();
        assert_eq!(silence, "", "not even the head");
    }

    #[tokio::test]
    async fn an_order_is_posted_once_with_our_id_and_headers() {
        let (address, requests) = serve(vec![Reply::whole(
            200,
            "x-request-id: abc123\r\nx-ratelimit-remaining: 17\r\n",
            ORDER,
        )]);
        let client = client(&address);
        let SubmitAnswer::Accepted(acceptance) = submit(&client).await else {
            panic!("the venue showed our order");
        };
        assert_eq!(acceptance.request_id.as_deref(), Some("abc123"));
        assert_eq!(client.pacer().remaining(), 17);
        let request = requests.recv().unwrap();
        assert!(request.starts_with("POST /v2/orders HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("\r\napca-api-secret-key: s3cr3t\r\n"),
            "{request}"
        );
        assert!(
            request.contains("\r\ncontent-type: application/json\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\ncontent-length: "), "{request}");
        assert!(request.contains(r#""client_order_id":"momentum.1""#), "{request}");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_the_secret_stays_here() {
        let (elsewhere, stolen) = serve(vec![Reply::whole(200, "", ORDER)]);
        for status in [301, 302, 303, 307, 308] {
            let location = format!("location: {elsewhere}/v2/orders\r\n");
            let (heard, _) = submit_to(Reply::whole(status, &location, "")).await;
            assert!(
                matches!(heard, SubmitAnswer::Unknown { .. }),
                "{status} {heard:?}"
            );
        }
        assert!(stolen.try_recv().is_err());
    }

    #[tokio::test]
    async fn an_answer_that_is_not_whole_proves_nothing() {
        let cut = format!("{}{}", head(200, "", ORDER.len()), &ORDER[..40]);
        let refusal = head(422, "", 60);
        let endless = head(200, "", BODY_MAX + 1) + &" ".repeat(BODY_MAX + 1);
        for (name, reply) in [
            ("cut after the headers", Reply::Close(head(200, "", 100))),
            ("cut in the body", Reply::Close(cut)),
            ("refusal without its body", Reply::Close(refusal)),
            ("closed at once", Reply::Close(String::new())),
            ("not HTTP", Reply::Close("SSH-2.0-OpenSSH_9.6\r\n".to_owned())),
            ("over the cap", Reply::Close(endless)),
            ("silent", Reply::Stall(String::new())),
            ("silent in the body", Reply::Stall(head(200, "", 100))),
        ] {
            let (heard, requests) = submit_to(reply).await;
            assert!(matches!(heard, SubmitAnswer::Unknown { .. }), "{name}: {heard:?}");
            assert!(requests.recv().unwrap().starts_with("POST"), "{name}");
        }
    }

    #[tokio::test]
    async fn an_order_lost_on_a_reused_connection_is_not_posted_again() {
        let whole = Reply::whole(200, "", ORDER);
        let (address, requests) = serve(vec![Reply::KeepThenClose(whole_kept(ORDER)), whole]);
        let client = client(&address);
        let first = client.find_by_client_order_id("momentum.1").await;
        assert!(matches!(first, LookUpAnswer::Found(_)), "{first:?}");
        let heard = submit(&client).await;
        assert!(matches!(heard, SubmitAnswer::Unknown { .. }), "{heard:?}");
        let both = requests.recv().unwrap();
        assert!(
            both.contains("\r\n\r\nPOST /v2/orders "),
            "one connection: {both}"
        );
    }

    #[tokio::test]
    async fn what_never_connected_was_not_sent() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let (plain, _requests) = serve(vec![Reply::Close("not TLS".to_owned())]);
        // The system opens connections to it, and nobody says a word on them.
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for base_url in [
            format!("http://{address}"),
            format!("https://{}", mute.local_addr().unwrap()),
            plain.replace("http://", "https://"),
            "http://no-such-host.invalid".to_owned(),
        ] {
            let heard = submit(&client(&base_url)).await;
            let SubmitAnswer::NotSent { cause, retry_after } = heard else {
                panic!("{base_url}: {heard:?}");
            };
            assert_eq!(retry_after, None);
            assert!(!cause.contains("s3cr3t"), "{cause}");
        }
    }

    #[tokio::test]
    async fn a_429_is_not_sent_and_closes_the_budget() {
        let (address, _requests) = serve(vec![Reply::whole(429, "retry-after: 7\r\n", "slow down")]);
        let client = client(&address);
        let SubmitAnswer::NotSent { retry_after, .. } = submit(&client).await else {
            panic!("a 429 was not sent");
        };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
        assert_eq!(client.pacer().remaining(), 0);
    }

    #[tokio::test]
    async fn ids_travel_escaped() {
        let (address, requests) = serve(vec![Reply::whole(200, "", ORDER)]);
        let heard = client(&format!("{address}/prefix/"))
            .find_by_client_order_id("a&b=c/d?#+ é")
            .await;
        assert!(matches!(heard, LookUpAnswer::Failed { .. }), "another order");
        let request = requests.recv().unwrap();
        let line = request.lines().next().unwrap();
        assert_eq!(
            line,
            "GET /prefix/v2/orders:by_client_order_id?client_order_id=a%26b%3Dc%2Fd%3F%23%2B+%C3%A9\
             &nested=true HTTP/1.1"
        );
    }

    #[tokio::test]
    async fn positions_say_when_they_were_true() {
        let reply = Reply::whole(200, "date: Thu, 12 Nov 2026 08:49:37 GMT\r\n", "[]");
        let (address, _requests) = serve(vec![reply]);
        let read = client(&address).positions(Lane::Read).await.unwrap();
        assert_eq!(read.value, []);
        assert_eq!(read.server_date.unwrap().to_string(), "2026-11-12T08:49:37Z");
    }

    /// A page of orders with these numbers, one per second.
    fn page(numbers: std::ops::Range<usize>) -> String {
        let orders: Vec<_> = numbers
            .map(|number| {
                let at = Timestamp::from_second(1_700_000_000 + number as i64).unwrap();
                format!(
                    r#"{{"id":"00000000-0000-0000-0000-{number:012}","status":"new","submitted_at":"{at}"}}"#
                )
            })
            .collect();
        format!("[{}]", orders.join(","))
    }

    #[tokio::test]
    async fn a_listing_follows_its_pages_with_overlap_and_names_each_order_once() {
        let (address, requests) = serve(vec![
            Reply::whole(200, "", &page(0..500)),
            Reply::whole(200, "", &page(499..700)),
        ]);
        let orders = client(&address).open_orders(Lane::Cancel).await.unwrap();
        assert_eq!(orders.len(), 700);
        let first = requests.recv().unwrap();
        assert!(
            first.contains("status=open") && !first.contains("after="),
            "{first}"
        );
        let second = requests.recv().unwrap();
        let after = "after=2023-11-14T22%3A21%3A38.999Z";
        assert!(second.contains(after), "{second}");
    }

    #[tokio::test]
    async fn a_listing_that_leads_nowhere_is_no_listing() {
        let (address, _requests) = serve(vec![
            Reply::whole(200, "", &page(0..500)),
            Reply::whole(200, "", &page(0..500)),
        ]);
        let heard = client(&address).orders_since(Timestamp::UNIX_EPOCH).await;
        assert!(matches!(heard, Err(ReadError::Failed { .. })), "{heard:?}");
    }

    #[tokio::test]
    async fn fills_follow_the_page_token() {
        let fill = include_str!("../fixtures/activities_fill.json").trim();
        let row = |number: usize| {
            fill.trim_matches(['[', ']'])
                .replace("20220202135509981::", &format!("{number:017}::"))
        };
        let full = format!("[{}]", (0..100).map(row).collect::<Vec<_>>().join(","));
        let (address, requests) = serve(vec![
            Reply::whole(200, "", &full),
            Reply::whole(200, "", &format!("[{},{}]", row(99), row(100))),
        ]);
        let fills = client(&address)
            .fill_activities(Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        assert_eq!(fills.len(), 101);
        let first = requests.recv().unwrap();
        assert!(first.contains("activity_types=FILL"), "{first}");
        let second = requests.recv().unwrap();
        assert!(
            second.contains("page_token=00000000000000099%3A%3A2d7be4ff"),
            "{second}"
        );
    }

    #[test]
    fn an_address_must_be_plain() {
        let credential = Credential::bearer("t".into()).unwrap();
        for wrong in [
            "",
            "paper-api.alpaca.markets",
            "ftp://x",
            "https://user:pw@x",
            "https://x/?a=b",
            "https://x/#a",
        ] {
            let endpoint = Endpoint {
                base_url: wrong.to_owned(),
                credential: credential.clone(),
                request_timeout: Duration::from_secs(1),
            };
            let heard = Client::new(endpoint, Pacer::new(200));
            assert!(matches!(heard, Err(ClientError::BaseUrl)), "{wrong}");
        }
    }
}
