//! The sockets: accepts connections, checks credentials and quota, answers.
//!
//! Connections are served straight from hyper, not through a router, because a scripted fault must be able to
//! cut the connection under a request, before or after the venue acted.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Query as UrlQuery;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::admin;
use super::api::{Answer, Query};
use super::clock::{VenueClock, wall};
use super::config::SimConfig;
use super::core::tape::{Splits, Tape, TapeConfig};
use super::core::{Assets, Exchange, Refusal};
use super::deed::{Deed, Work};
use super::fault::{Blind, Reply, Script, perform};
use super::handle::RequestRecord;
use super::json;
use super::market::feed::{DataPlan, Feed};
use super::market::feeds::Feeds;
use super::market::history::{DataCall, History};
use super::market::pulse::Pulse;
use super::quota::{Quota, stamp};
use super::route::{Endpoint, Route};
use super::sse::{self, EventLog};
use super::stream::Hub;
use super::truth::{Entry, Text, Truth, executions};
use super::upgrade::open_stream;

/// Largest request body read; an order is a few hundred bytes.
const BODY_MAX: usize = 256 * 1024;
/// Bytes of paths and bodies remembered.
const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Data requests per minute of who pays for them.
const PLUS_DATA_LIMIT: u32 = 10_000;
/// Requests remembered; older ones are forgotten first.
const LOG_MAX: usize = 100_000;

/// What all tasks of one simulator share. The lock is never held across an await.
pub(crate) struct Shared {
    pub(crate) config: SimConfig,
    pub(crate) clock: VenueClock,
    pub(crate) script: Script,
    pub(crate) blind: Blind,
    pub(crate) truth: Truth,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Where every price comes from; it has no part in the world's lock.
    pub(crate) tape: Arc<Tape>,
    pub(crate) assets: Arc<Assets>,
    /// How far market data may be told.
    pub(crate) pulse: Pulse,
    /// The schedule may have changed.
    pub(crate) wake: Notify,
    /// Who may log in.
    login: Mutex<Login>,
    world: Mutex<World>,
}

/// The one pair of keys that fits.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) key: String,
    pub(crate) secret: String,
}

/// Everything that changes.
pub(crate) struct World {
    pub(crate) exchange: Exchange,
    pub(crate) hub: Hub,
    pub(crate) events: EventLog,
    pub(crate) log: RequestLog,
    pub(crate) feeds: Feeds,
    quota: Quota,
    /// The data side counts apart.
    data_quota: Quota,
    /// Until when orders have met the moments of a recording.
    met: Timestamp,
}

/// The last requests, each with a serial number that also serves as its request id.
#[derive(Default)]
pub(crate) struct RequestLog {
    pub(crate) records: VecDeque<RequestRecord>,
    pub(crate) received: u64,
    bytes: usize,
}

impl RequestLog {
    fn receive(&mut self, record: RequestRecord) -> u64 {
        let size = |record: &RequestRecord| record.body.len() + record.path.len();
        self.bytes += size(&record);
        while self.records.len() == LOG_MAX || self.bytes > LOG_BYTES_MAX {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
        }
        self.records.push_back(record);
        self.received += 1;
        self.received
    }

    fn answered(&mut self, serial: u64, status: u16) {
        let newer = self.received.saturating_sub(serial);
        let at = usize::try_from(newer)
            .ok()
            .and_then(|newer| self.records.len().checked_sub(newer + 1));
        if let Some(record) = at.and_then(|at| self.records.get_mut(at)) {
            record.status = Some(status);
        }
    }
}

impl Shared {
    /// Who may log in now.
    pub(crate) fn login(&self) -> Login {
        self.login.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes who may log in. Connections that have stay.
    pub(crate) fn set_login(&self, login: Login) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = login;
    }

    pub(crate) fn new(config: SimConfig) -> Self {
        let clock = VenueClock::new(config.pace);
        let began_at = clock.now();
        let recording = config.replay.as_ref().map(|replay| Arc::clone(&replay.recording));
        let recorded = recording
            .as_ref()
            .map(|recording| recording.symbols())
            .unwrap_or_default();
        let assets = Arc::new(Assets::with(&recorded));
        // Who replays a file knows whether its prices are adjusted; nothing is assumed.
        let splits = match (&config.splits, &recording) {
            (Some(splits), _) => Splits::new(splits.clone()),
            (None, Some(_)) => Splits::new(Vec::new()),
            (None, None) => Splits::default(),
        };
        let tape = TapeConfig {
            seed: config.seed,
            trade_interval: config.trade_interval,
            quote_interval: config.quote_interval,
            market: config.market,
            splits,
            recording,
        };
        let tape = Arc::new(Tape::new(tape, Arc::clone(&assets), began_at));
        let exchange = super::core::ExchangeConfig {
            seed: config.seed,
            cash: config.cash,
            market: config.market,
            event_delay: config.event_delay,
            partial_fill_percent: config.partial_fill_percent,
        };
        let exchange = Exchange::with_tape(exchange, Arc::clone(&assets), Arc::clone(&tape), began_at);
        let data_limit = match config.data_plan {
            DataPlan::Basic => config.rate_limit_per_minute,
            DataPlan::Plus => config.rate_limit_per_minute.max(PLUS_DATA_LIMIT),
        };
        let world = World {
            exchange,
            hub: Hub::default(),
            events: EventLog::default(),
            log: RequestLog::default(),
            feeds: Feeds::default(),
            quota: Quota::new(config.rate_limit_per_minute),
            data_quota: Quota::new(data_limit),
            met: began_at,
        };
        let login = Login {
            key: config.key.clone(),
            secret: config.secret.clone(),
        };
        Self {
            login: Mutex::new(login),
            script: Script::new(config.seed),
            blind: Blind::default(),
            truth: Truth::new(config.seed, clock.now()),
            config,
            clock,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            tape,
            assets,
            pulse: Pulse::new(began_at),
            wake: Notify::new(),
            world: Mutex::new(world),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `act` do something to the exchange now, then reports what came of it.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut Exchange, Timestamp) -> T) -> T {
        let mut world = self.world();
        let now = self.clock.now();
        let moments = self.tape.moments(world.met, now);
        world.met = world.met.max(now);
        for moment in moments {
            world.exchange.tick(*moment);
        }
        world.exchange.advance(now);
        self.report(&mut world, now);
        let outcome = act(&mut world.exchange, now);
        self.report(&mut world, now);
        drop(world);
        self.wake.notify_one();
        outcome
    }

    /// Hands new events to the streams and to the truth log.
    fn report(&self, world: &mut World, now: Timestamp) {
        for event in world.exchange.take_events() {
            let order = &event.view.order;
            let entry = Entry::Event {
                event: event.kind.as_str(),
                event_id: &event.event_id,
                execution_id: event.execution_id.map(Text),
                order_id: Text(order.id),
                client_order_id: &order.client_order_id,
                status: order.status.as_str(),
                filled_qty: Text(order.filled_qty.normalize()),
            };
            self.truth.note(now, &entry);
            for executed in executions(&event) {
                self.truth.note(now, &Entry::Fill(executed));
            }
            let frame = json::trade_update(&event);
            world.events.publish(&event, &frame);
            world.hub.publish(frame.into());
        }
    }

    /// Answers a question to the data side.
    pub(crate) fn tell(&self, call: &DataCall, query: &Query) -> Answer {
        let history = History {
            tape: &self.tape,
            assets: &self.assets,
            plan: self.config.data_plan,
            seed: self.config.seed,
            now: self.clock.now(),
        };
        history.answer(call, query)
    }

    /// Adds to the truth log, now.
    pub(crate) fn note(&self, entry: &Entry<'_>) {
        self.truth.note(self.clock.now(), entry);
    }
}

/// Accepts connections until told to stop.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted, // cancel-safe: docs
        };
        match accepted {
            Ok((socket, peer)) => {
                no_delay(&socket, peer);
                shared.tasks.spawn(connection(Arc::clone(&shared), socket, peer));
            }
            Err(error) => {
                debug!(%error, "connection was not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// A small answer must not wait for the next one.
pub(crate) fn no_delay(socket: &TcpStream, peer: SocketAddr) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "answers may be delayed");
    }
}

/// Serves one connection, of TCP or of TLS over it.
pub(crate) async fn connection<S>(shared: Arc<Shared>, socket: S, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let cut = CancellationToken::new();
    let service = service_fn(|request| {
        let (shared, cut) = (Arc::clone(&shared), cut.clone());
        async move { Ok::<_, Infallible>(respond(shared, request, peer, cut).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = cut.cancelled() => {}
        served = served => {
            debug!(%peer, ok = served.is_ok(), "connection ended");
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    peer: SocketAddr,
    cut: CancellationToken,
) -> Response<Body> {
    let received_at = Instant::now();
    let (parts, body) = request.into_parts();
    let target = parts
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let route = Route::find(parts.method.as_str(), parts.uri.path());
    let endpoint = route.as_ref().ok().map(|route| route.endpoint);
    let feed = Feed::at(parts.uri.path()).filter(|_| parts.headers.contains_key(header::UPGRADE));
    if endpoint == Some(Endpoint::Stream) || feed.is_some() {
        let (serial, quota) = {
            let world = shared.world();
            (world.log.received, world.quota.report(wall()))
        };
        let mut response = open_stream(shared, feed, Request::from_parts(parts, body), &target, &cut).await;
        stamp(response.headers_mut(), serial, quota);
        return response;
    }
    let body = axum::body::to_bytes(Body::new(body), BODY_MAX).await;
    if admin::is_for(parts.uri.path()) {
        return admin::answer(&shared, peer, &parts, &body.unwrap_or_default());
    }
    let is_data = route.as_ref().is_ok_and(|route| route.data.is_some());
    let (within_quota, quota, serial) = {
        let text = body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let mut world = shared.world();
        let quota = if is_data {
            &mut world.data_quota
        } else {
            &mut world.quota
        };
        let (within, quota) = quota.spend(wall());
        let serial = world.log.received + 1;
        note_request(&shared, Some(serial), &parts, &target, endpoint, &text);
        world.log.receive(RequestRecord {
            method: parts.method.to_string(),
            path: target.clone(),
            endpoint,
            body: text.into_owned(),
            status: None,
            received_at,
        });
        (within, quota, serial)
    };
    let struck = shared.take_fault(
        Some(serial),
        endpoint,
        &target,
        body.as_deref().unwrap_or_default(),
    );
    let checked = admit(&parts.headers, &shared.login(), route)
        .and_then(|route| {
            if within_quota {
                Ok(route)
            } else {
                Err(Refusal::rate_limited())
            }
        })
        .and_then(|route| Ok((route, body.map_err(|_| Refusal::body_too_large())?)));
    let UrlQuery(query) = UrlQuery::try_from_uri(&parts.uri).unwrap_or_default();
    let query = Query(query);
    let mut response = match (checked, struck) {
        (Ok((route, _)), None) if route.endpoint.is_events() => {
            sse::open(&shared, route.endpoint, &query, &parts.headers, cut)
        }
        (Ok((route, _)), Some(Reply::Delay(duration))) if route.endpoint.is_events() => {
            tokio::time::sleep(duration).await;
            sse::open(&shared, route.endpoint, &query, &parts.headers, cut)
        }
        (checked, struck) => {
            let work = match checked {
                Ok((Route { data: Some(call), .. }, _)) => Ok(Work::Data { call, query }),
                Ok((route, body)) => Ok(Work::Call { route, query, body }),
                Err(refusal) => Err(refusal),
            };
            let is_data = matches!(work, Ok(Work::Data { .. }));
            let deed = Deed {
                shared: Arc::clone(&shared),
                serial,
                work,
            };
            match struck {
                None if is_data => plain(aside(deed).await),
                None => plain(deed.commit()),
                Some(reply) => perform(deed, &cut, reply).await,
            }
        }
    };
    let status = response.status().as_u16();
    shared.world().log.answered(serial, status);
    let entry = Entry::Answer {
        request: serial,
        status,
    };
    shared.note(&entry);
    stamp(response.headers_mut(), serial, quota);
    response
}

pub(crate) fn note_request(
    shared: &Shared,
    request: Option<u64>,
    parts: &Parts,
    path: &str,
    endpoint: Option<Endpoint>,
    body: &str,
) {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let auth = match (text("apca-api-key-id"), text("authorization")) {
        (Some(_), _) => "key",
        (None, Some(_)) => "bearer",
        (None, None) => "none",
    };
    let entry = Entry::Request {
        request,
        method: parts.method.as_str(),
        path,
        endpoint: endpoint.map(Endpoint::name),
        auth,
        user_agent: text("user-agent"),
        content_type: text("content-type"),
        body,
    };
    shared.note(&entry);
}

/// Market data is computed aside: years of bars must not delay an order.
async fn aside(deed: Deed) -> Answer {
    let answer = tokio::task::spawn_blocking(|| deed.commit());
    // It only fails when the computation panicked, which is told as the venue would.
    answer
        .await
        .unwrap_or_else(|_| Answer::from(&Refusal::data(500, "internal server error")))
}

/// Who may ask: everybody about coins, who has keys about the rest. The data side knows but one way to say no.
fn admit(headers: &HeaderMap, login: &Login, route: Result<Route, Refusal>) -> Result<Route, Refusal> {
    let known = authenticate(headers, login);
    match &route {
        Ok(Route { data: Some(call), .. }) if call.is_public() => route,
        Ok(Route { data: Some(_), .. }) => known.map_err(|_| Refusal::unauthorized()).and(route),
        Ok(_) | Err(_) => known.and(route),
    }
}

/// Header pair, the same as basic authentication, or the secret as a bearer token.
pub(crate) fn authenticate(headers: &HeaderMap, login: &Login) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (key, secret) = (text("apca-api-key-id"), text("apca-api-secret-key"));
    let authorization = text("authorization");
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let basic = authorization
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| BASE64.decode(value.trim()).ok());
    if let Some(pair) = basic {
        let fits = pair == format!("{}:{}", login.key, login.secret).into_bytes();
        return if fits {
            Ok(())
        } else {
            Err(Refusal::unauthorized())
        };
    }
    if key.is_none() && secret.is_none() && token.is_none() {
        return Err(Refusal::forbidden());
    }
    let by_pair = key == Some(login.key.as_str()) && secret == Some(login.secret.as_str());
    if by_pair || token == Some(login.secret.as_str()) {
        Ok(())
    } else {
        Err(Refusal::unauthorized())
    }
}

pub(crate) fn plain(answer: Answer) -> Response<Body> {
    response(
        answer.status,
        "application/json; charset=UTF-8",
        Body::from(answer.body),
    )
}

/// A content type that no header can carry is left out.
pub(crate) fn response(status: u16, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status != StatusCode::NO_CONTENT.as_u16()
        && let Ok(content_type) = HeaderValue::from_str(content_type)
    {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}
