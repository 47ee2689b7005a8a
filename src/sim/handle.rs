//! The handle to a running simulator: its address, its script, its levers, and the truth.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::config::{SimConfig, SimError};
use super::core::{Fill, Market, Order, PositionView, Refusal};
use super::driver::drive;
use super::fault::{Fault, FaultError, Script, StreamFault};
use super::route::Endpoint;
use super::server::{Login, Shared, accept};
use super::{admin, tls};

/// A running simulator. Dropping it stops it without waiting.
pub struct Sim {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<Tls>,
}

/// The TLS listener's address and certificate.
struct Tls {
    address: SocketAddr,
    certificate: String,
}

/// One request as it arrived, and how it was answered.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// What it asked for; none for a path or method nobody serves.
    pub endpoint: Option<Endpoint>,
    /// The body.
    pub body: String,
    /// The status it was answered with; none while it is not, which may be for ever.
    pub status: Option<u16>,
    /// When its head had arrived.
    pub received_at: Instant,
}

/// The truth at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    orders: Vec<Order>,
    requests: Vec<RequestRecord>,
    fills: Vec<Fill>,
    positions: Vec<PositionView>,
    cash: Decimal,
}

impl Sim {
    /// Binds and serves in tasks of its own, on the runtime it is called from.
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let (listener, address) = bind(config.listen).await?;
        let tls = match config.tls_listen {
            Some(at) => Some((
                bind(at).await?,
                tls::Identity::new().map_err(|error| SimError::Tls(error.into()))?,
            )),
            None => None,
        };
        let shared = Arc::new(Shared::new(config));
        if let Some(path) = shared.config.truth_log.clone() {
            let opened = shared.truth.write_to(&path).await;
            opened.map_err(|source| SimError::TruthLog { path, source })?;
            let writer = Arc::clone(&shared);
            shared
                .tasks
                .spawn(async move { writer.truth.keep_flushing(&writer.stop).await });
        }
        for fault in shared.config.faults.clone() {
            shared.inject(fault)?;
        }
        let tls = tls.map(|((listener, address), identity)| {
            let certificate = identity.pem.clone();
            shared
                .tasks
                .spawn(tls::accept(Arc::clone(&shared), listener, identity));
            Tls { address, certificate }
        });
        shared.tasks.spawn(accept(Arc::clone(&shared), listener));
        let driver = shared.tasks.spawn(drive(Arc::clone(&shared)));
        let watched = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            // Without its driver the venue stands still, which nobody would notice for long.
            if driver.await.is_err() {
                tracing::error!("the venue's time has stopped by a defect, and so does the simulator");
                watched.stop.cancel();
            }
        });
        Ok(Self { shared, address, tls })
    }

    /// Where it listens for TLS, if it does.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|tls| tls.address)
    }

    /// The TLS listener's certificate as PEM, for a client to trust.
    pub fn tls_certificate(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.certificate.as_str())
    }

    /// Writes a fault down, or lets it strike at once if it is a stream's that waits for nothing. Errs when too many
    /// are waiting.
    pub fn inject(&self, fault: Fault) -> Result<u64, FaultError> {
        self.shared.inject(fault)
    }

    /// As [`Sim::inject`], from a fault's text.
    pub fn fault(&self, text: &str) -> Result<u64, FaultError> {
        self.shared.inject(text.parse()?)
    }

    /// Records of the truth log that are still in memory, from number `since` on: a line of JSON each.
    pub fn truth(&self, since: u64) -> Vec<Box<str>> {
        self.shared.truth.page(since, usize::MAX).records
    }

    /// What time it is at the venue.
    pub fn now(&self) -> jiff::Timestamp {
        self.shared.clock.now()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`; the stream is the same with `ws` and `/stream`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Rolls the keys: only this pair fits from now on. Streams that are open stay open.
    pub fn roll_keys(&self, key: &str, secret: &str) {
        self.shared.set_login(Login {
            key: key.to_owned(),
            secret: secret.to_owned(),
        });
    }

    /// Waits until it has stopped by itself, which only a defect makes it do.
    pub async fn failed(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Closes every connection, waits for every task and completes the truth log's file.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.truth.flush().await;
    }

    /// The faults to come.
    pub fn script(&self) -> &Script {
        &self.shared.script
    }

    /// A copy of everything that happened, all of one moment.
    pub fn snapshot(&self) -> Snapshot {
        let world = self.shared.world();
        Snapshot {
            orders: world.exchange.orders().cloned().collect(),
            requests: world.log.records.iter().cloned().collect(),
            fills: world.exchange.fills().to_vec(),
            positions: world.exchange.positions(),
            cash: world.exchange.cash(),
        }
    }

    /// One order by its client id; cheap enough to wait on.
    pub fn order(&self, client_order_id: &str) -> Option<Order> {
        self.shared
            .world()
            .exchange
            .by_client_order_id(client_order_id)
            .cloned()
    }

    /// Requests received since the start, upgrades aside; cheap enough to wait on.
    pub fn requests_received(&self) -> u64 {
        self.shared.world().log.received
    }

    /// Pins a symbol's price and matches against it. A price that nothing could have is ignored.
    pub fn set_price(&self, symbol: &str, price: Decimal) {
        self.shared
            .act(|exchange, now| exchange.set_price(now, symbol, price));
    }

    /// Opens or closes the market.
    pub fn set_market(&self, market: Market) {
        self.shared.act(|exchange, now| exchange.set_market(now, market));
    }

    /// Fills a part of a live order, named by its order id or client id, at any price.
    pub fn fill(&self, order: &str, qty: Decimal, price: Decimal) -> Result<(), Refusal> {
        self.shared
            .act(|exchange, now| admin::fill(exchange, now, order, qty, price))
    }

    /// The next `count` orders are accepted, then rejected by the market.
    pub fn reject_next_orders(&self, count: usize) {
        self.shared.act(|exchange, _| exchange.reject_next(count));
    }

    /// Cuts the stream connection without a close frame.
    pub fn drop_streams(&self) {
        self.strike(StreamFault::Drop);
    }

    /// Answers stream upgrades with 429 for this long.
    pub fn refuse_streams_for(&self, duration: Duration) {
        self.strike(StreamFault::Refuse(duration));
    }

    /// While muted, pings are answered and events are lost.
    pub fn mute_streams(&self, muted: bool) {
        self.strike(if muted {
            StreamFault::Mute(None)
        } else {
            StreamFault::Unmute
        });
    }

    fn strike(&self, what: StreamFault) {
        self.shared.strike(Endpoint::Stream, what);
    }

    /// Sends this text as a frame, whether or not the client listens.
    pub fn send_raw_frame(&self, text: impl Into<String>) {
        self.shared.world().hub.send_raw(text.into());
    }

    /// Sends the last `count` events again, word for word, muted ones included.
    pub fn repeat_events(&self, count: usize) {
        self.shared.world().hub.repeat(count);
    }

    /// Is a stream client connected?
    pub fn stream_is_connected(&self) -> bool {
        self.shared.world().hub.is_connected()
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimError> {
    let bind_error = |source| SimError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind_error)?;
    let bound = listener.local_addr().map_err(bind_error)?;
    Ok((listener, bound))
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Snapshot {
    /// Every order ever taken, oldest first.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// How many orders bear this client id.
    pub fn orders_by_client_id(&self, client_order_id: &str) -> usize {
        self.orders
            .iter()
            .filter(|order| order.client_order_id == client_order_id)
            .count()
    }

    /// The requests, oldest first; upgrades are not among them.
    pub fn requests(&self) -> &[RequestRecord] {
        &self.requests
    }

    /// How many requests were made to one endpoint.
    pub fn requests_to(&self, endpoint: Endpoint) -> usize {
        self.requests
            .iter()
            .filter(|request| request.endpoint == Some(endpoint))
            .count()
    }

    /// Every execution, oldest first.
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// Every position, by symbol.
    pub fn positions(&self) -> &[PositionView] {
        &self.positions
    }

    /// Dollars in the account.
    pub fn cash(&self) -> Decimal {
        self.cash
    }
}
