//! The sockets: accepts connections, checks credentials and quota, carries out scripted faults, answers.
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
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::api::{self, Answer, Call, Query};
use super::clock::{VenueClock, wall};
use super::config::SimConfig;
use super::core::tape::{Tape, TapeConfig};
use super::core::{Assets, Exchange, Refusal};
use super::fault::{Reply, Script};
use super::handle::RequestRecord;
use super::json;
use super::market::dialogue::Format;
use super::market::feed::Feed;
use super::market::pulse::Pulse;
use super::market::socket::{self, Opening, Slots};
use super::route::{Endpoint, Route};
use super::stream::{self, Hub};

/// Largest request body read; an order is a few hundred bytes.
const BODY_MAX: usize = 256 * 1024;
/// Requests remembered; older ones are forgotten first.
const LOG_MAX: usize = 100_000;
/// Size of one piece of an overlong answer.
const HUGE_CHUNK: usize = 64 * 1024;

/// What all tasks of one simulator share. The lock is never held across an await.
pub(crate) struct Shared {
    pub(crate) config: SimConfig,
    pub(crate) clock: VenueClock,
    pub(crate) script: Script,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Where every price comes from; it has no part in the world's lock.
    pub(crate) tape: Arc<Tape>,
    pub(crate) assets: Arc<Assets>,
    /// How far market data may be told.
    pub(crate) pulse: Pulse,
    /// The schedule may have changed.
    pub(crate) wake: Notify,
    world: Mutex<World>,
}

/// Everything that changes.
pub(crate) struct World {
    pub(crate) exchange: Exchange,
    pub(crate) hub: Hub,
    pub(crate) log: RequestLog,
    /// Which market-data feeds are taken.
    pub(crate) slots: Slots,
    quota: Quota,
    /// Until when orders have met the moments of a recording.
    met: Timestamp,
}

/// The last requests, each with a serial number that also serves as its request id.
#[derive(Default)]
pub(crate) struct RequestLog {
    pub(crate) records: VecDeque<RequestRecord>,
    pub(crate) received: u64,
}

impl RequestLog {
    fn receive(&mut self, record: RequestRecord) -> u64 {
        if self.records.len() == LOG_MAX {
            self.records.pop_front();
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

/// Requests left in this minute.
struct Quota {
    limit: u32,
    used: u32,
    minute: i64,
}

/// The quota as a response reports it.
#[derive(Clone, Copy)]
struct QuotaReport {
    limit: u32,
    remaining: u32,
    reset: i64,
}

impl Quota {
    fn spend(&mut self, now: Timestamp) -> (bool, QuotaReport) {
        let minute = now.as_second().div_euclid(60);
        if minute != self.minute {
            (self.minute, self.used) = (minute, 0);
        }
        let within = self.used < self.limit;
        if within {
            self.used += 1;
        }
        let report = QuotaReport {
            limit: self.limit,
            remaining: self.limit - self.used,
            reset: (minute + 1) * 60,
        };
        (within, report)
    }
}

impl Shared {
    pub(crate) fn new(config: SimConfig) -> Self {
        let clock = VenueClock::new(config.pace);
        let began_at = clock.now();
        let assets = Arc::new(Assets::new());
        let tape = TapeConfig {
            seed: config.seed,
            trade_interval: config.trade_interval,
            quote_interval: config.quote_interval,
            market: config.market,
            ..TapeConfig::default()
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
        let quota = Quota {
            limit: config.rate_limit_per_minute,
            used: 0,
            minute: 0,
        };
        let world = World {
            exchange,
            hub: Hub::default(),
            log: RequestLog::default(),
            slots: Slots::default(),
            quota,
            met: began_at,
        };
        Self {
            config,
            clock,
            script: Script::default(),
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
        let outcome = act(&mut world.exchange, now);
        for event in world.exchange.take_events() {
            world.hub.publish(json::trade_update(&event));
        }
        drop(world);
        self.wake.notify_one();
        outcome
    }

    fn commit(&self, call: &Call<'_>) -> Answer {
        self.act(|exchange, now| api::answer(exchange, now, call))
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
                shared.tasks.spawn(connection(Arc::clone(&shared), socket, peer));
            }
            Err(error) => {
                debug!(%error, "connection was not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    // A small answer must not wait for the next one.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "answers may be delayed");
    }
    let cut = CancellationToken::new();
    let service = service_fn(|request| {
        let (shared, cut) = (Arc::clone(&shared), cut.clone());
        async move { Ok::<_, Infallible>(respond(shared, request, cut).await) }
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

async fn respond(shared: Arc<Shared>, request: Request<Incoming>, cut: CancellationToken) -> Response<Body> {
    let received_at = Instant::now();
    let (parts, body) = request.into_parts();
    let target = parts
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let route = Route::find(parts.method.as_str(), parts.uri.path());
    let endpoint = route.as_ref().ok().map(|route| route.endpoint);
    if endpoint == Some(Endpoint::Stream) {
        return upgrade(&shared, Request::from_parts(parts, body));
    }
    if let Some(feed) = Feed::at(parts.uri.path())
        && parts.headers.contains_key(header::UPGRADE)
    {
        return market_data(&shared, feed, Request::from_parts(parts, body));
    }
    let body = axum::body::to_bytes(Body::new(body), BODY_MAX).await;
    let (within_quota, quota, serial) = {
        let mut world = shared.world();
        let (within, quota) = world.quota.spend(wall());
        let serial = world.log.receive(RequestRecord {
            method: parts.method.to_string(),
            path: target.clone(),
            endpoint,
            body: body
                .as_deref()
                .map(|body| String::from_utf8_lossy(body).into_owned())
                .unwrap_or_default(),
            status: None,
            received_at,
        });
        (within, quota, serial)
    };
    let reply = shared
        .script
        .take(endpoint, &target, body.as_deref().unwrap_or_default());
    let checked = authenticate(&parts.headers, &shared.config)
        .and(route)
        .and_then(|route| {
            if within_quota {
                Ok(route)
            } else {
                Err(Refusal::rate_limited())
            }
        })
        .and_then(|route| Ok((route, body.map_err(|_| Refusal::body_too_large())?)));
    let mut response = match (checked, reply) {
        (Err(refusal), None) => plain(&Answer::from(&refusal)),
        (Err(refusal), Some(reply)) => misbehave(&cut, reply, || Answer::from(&refusal)).await,
        (Ok((route, body)), reply) => {
            let UrlQuery(query) = UrlQuery::try_from_uri(&parts.uri).unwrap_or_default();
            let call = Call {
                route: &route,
                query: Query(query),
                body: &body,
            };
            match reply {
                None => plain(&shared.commit(&call)),
                Some(reply) => misbehave(&cut, reply, || shared.commit(&call)).await,
            }
        }
    };
    shared.world().log.answered(serial, response.status().as_u16());
    stamp(response.headers_mut(), serial, quota);
    response
}

/// Carries out a scripted fault. `commit` does what was asked and gives the true answer.
async fn misbehave(cut: &CancellationToken, reply: Reply, commit: impl Fn() -> Answer) -> Response<Body> {
    match reply {
        Reply::Status {
            code,
            body,
            content_type,
        } => response(code, content_type, Body::from(body)),
        Reply::StatusAfterCommit {
            code,
            body,
            content_type,
        } => {
            commit();
            response(code, content_type, Body::from(body))
        }
        Reply::Delay(duration) => {
            tokio::time::sleep(duration).await;
            plain(&commit())
        }
        Reply::DelayAfterCommit(duration) => {
            let answer = commit();
            tokio::time::sleep(duration).await;
            plain(&answer)
        }
        Reply::Hang => std::future::pending().await,
        Reply::HangAfterCommit => {
            commit();
            std::future::pending().await
        }
        Reply::CutBeforeCommit => {
            cut.cancel();
            std::future::pending().await
        }
        Reply::CutAfterCommit => {
            commit();
            cut.cancel();
            std::future::pending().await
        }
        Reply::CutMidBody => {
            let answer = commit();
            let half = answer
                .body
                .get(..answer.body.len() / 2)
                .unwrap_or_default()
                .to_owned();
            let pieces = [
                Ok(Bytes::from(half)),
                Err(std::io::Error::other("cut by the script")),
            ];
            response(
                answer.status,
                "application/json",
                Body::from_stream(futures_util::stream::iter(pieces)),
            )
        }
        Reply::TooMany { retry_after, reset } => {
            let mut response = plain(&Answer::from(&Refusal::rate_limited()));
            let headers = response.headers_mut();
            if let Some(after) = retry_after {
                headers.insert(header::RETRY_AFTER, after.as_secs().into());
            }
            if let Some(reset) = reset {
                headers.insert("x-ratelimit-reset", reset.into());
            }
            response
        }
        Reply::Redirect(location) => {
            let mut response = response(307, "text/plain", Body::empty());
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        Reply::HugeBody(size) => {
            commit();
            let chunk = Bytes::from(vec![b' '; HUGE_CHUNK]);
            let lengths = (0..size)
                .step_by(HUGE_CHUNK)
                .map(move |at| HUGE_CHUNK.min(size - at));
            let pieces = lengths.map(move |length| Ok::<_, Infallible>(chunk.slice(..length)));
            response(
                200,
                "application/json",
                Body::from_stream(futures_util::stream::iter(pieces)),
            )
        }
        Reply::BodyGarbage => {
            commit();
            response(200, "application/json", Body::from("{\"id\": \u{fffd}not json"))
        }
    }
}

/// Header pair, or the secret as a bearer token.
fn authenticate(headers: &HeaderMap, config: &SimConfig) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (key, secret) = (text("apca-api-key-id"), text("apca-api-secret-key"));
    let token = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if key.is_none() && secret.is_none() && token.is_none() {
        return Err(Refusal::forbidden());
    }
    let by_pair = key == Some(config.key.as_str()) && secret == Some(config.secret.as_str());
    if by_pair || token == Some(config.secret.as_str()) {
        Ok(())
    } else {
        Err(Refusal::unauthorized())
    }
}

fn upgrade(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let Some(switching) = handshake(request.headers()) else {
        return response(426, "text/plain", Body::from("websocket upgrade required"));
    };
    let Some(admission) = shared.world().hub.admit() else {
        return plain(&Answer {
            status: 429,
            body: r#"{"message":"too many requests."}"#.to_owned(),
        });
    };
    let upgrade = hyper::upgrade::on(&mut request);
    shared
        .tasks
        .spawn(stream::serve(Arc::clone(shared), upgrade, admission));
    switching
}

/// Unlike the account's stream, market data is never refused here: a taken place is told in band.
fn market_data(shared: &Arc<Shared>, feed: Feed, mut request: Request<Incoming>) -> Response<Body> {
    let headers = request.headers();
    let Some(switching) = handshake(headers) else {
        return response(426, "text/plain", Body::from("websocket upgrade required"));
    };
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let opening = Opening {
        feed,
        format: match content_type {
            Some(kind) if kind.contains("msgpack") => Format::MessagePack,
            Some(_) | None => Format::Json,
        },
        has_keys: authenticate(headers, &shared.config).is_ok(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    shared
        .tasks
        .spawn(socket::serve(Arc::clone(shared), upgrade, opening));
    switching
}

/// The answer that turns a request into a websocket, if it asks for that.
fn handshake(headers: &HeaderMap) -> Option<Response<Body>> {
    let names = |name: header::HeaderName, wanted: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = names(header::CONNECTION, "upgrade")
        && names(header::UPGRADE, "websocket")
        && names(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

fn plain(answer: &Answer) -> Response<Body> {
    let body = if answer.body.is_empty() {
        Body::empty()
    } else {
        Body::from(answer.body.clone())
    };
    response(answer.status, "application/json; charset=UTF-8", body)
}

fn response(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status != StatusCode::NO_CONTENT.as_u16() {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// What every answer carries. A scripted reset is left alone.
fn stamp(headers: &mut HeaderMap, serial: u64, quota: QuotaReport) {
    if let Ok(id) = HeaderValue::from_str(&format!("{serial:032x}")) {
        headers.insert("x-request-id", id);
    }
    headers.insert("x-ratelimit-limit", quota.limit.into());
    headers.insert("x-ratelimit-remaining", quota.remaining.into());
    headers
        .entry("x-ratelimit-reset")
        .or_insert_with(|| quota.reset.into());
}
