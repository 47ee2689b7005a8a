//! Builds and wires everything; owns the tasks, the start order and the stop order.
//!
//! ```text
//!   start: admin (live) → NATS → objects → lease → account → positions, drop copy listening → intakes → ready
//!   stop:  not ready → no new commands → commands in hand settled or handed back → drop copy, mirrors → lease given
//!          back → NATS drained → exit
//! ```
//!
//! Everything from the lease on belongs to one term of leading. A daemon that loses its lease drops all of it at
//! once, for it may not write any more, and stands by like any other: without a socket at the venue.
//!
//! A floor that is not there yet is waited for, in the open: a condition says what is missing, `/readyz` says so
//! too, and the daemon goes on by itself when it comes. Two things end a start at once: settings that cannot work,
//! and a venue that refuses our credentials when it is first asked.

mod chair;
mod desk;
mod feeds;
mod market_data;
mod modes;
mod risk;
mod secrets;
mod signals;
mod stages;
mod state;
mod systemd;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::admin::{self, Readiness, Started};
use crate::alpaca::{Credential, Pacer, rest};
use crate::blotter::Blotter;
use crate::bus::{self, Beats, Bucket, Candidate, Connection, Journal, JsonCopies, Keeper, Lease, Topology};
use crate::clock::Clock;
use crate::config::{AlpacaConfig, Config};
use crate::deadman::DeadMan;
use crate::domain::ConditionName;
use crate::gateway::Gateway;
use crate::ledger::Ledger;
use crate::market_data::HistoryDesk;
use crate::mode::{Modes, Unkept};
use crate::orders::{Board, CancelDesk};
use crate::risk::Risk;
use crate::service::{self, Service, Takes};
use crate::telemetry::{MetricsHandle, metrics};
use crate::wire::subject::Subjects;
pub use signals::told_to_stop;

use chair::Chair;
use modes::HaltFile;
use secrets::{KnownAccount, Secrets};
use stages::DriftWatch;
use state::StateWriter;
use tasks::{Floor, Tasks};

/// Why the daemon ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The venue refused our credentials at the first read of the account.
    CredentialsRefused,
    /// The keys are another account's than the settings say.
    WrongAccount,
}

/// Longest wait for the drop copy and the mirrors to write their last.
const FEEDS_GRACE: Duration = Duration::from_secs(5);
/// Longest wait for NATS to take what is buffered at the end.
const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// Runs the daemon until a signal tells it to stop.
pub async fn run(config: Config, account: Account, metrics: MetricsHandle) -> anyhow::Result<Ended> {
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.helper("signals", signals::stop_on_signals(stop.clone()));
    let connection = Connection::start(&config.nats).await.context("connect to NATS")?;
    let daemon = Daemon::new(config, account, stop);
    let ended = daemon.run(&mut tasks, connection, metrics).await;
    tasks.finish().await;
    ended
}

/// The account at the venue, as this process begins to set it up.
#[derive(Debug)]
pub struct Account {
    credential: Credential,
    venue: rest::Client,
}

impl Account {
    /// Begins to set up the client. The sooner the better: it takes milliseconds.
    pub fn begin(config: &AlpacaConfig) -> anyhow::Result<Self> {
        let pacer = Pacer::new(config.rate_limit_per_minute);
        let credential = credential(config)?;
        let endpoint = rest::Endpoint {
            base_url: config.base_url.clone(),
            credential: credential.clone(),
            request_timeout: config.request_timeout,
        };
        let venue = rest::Client::begin(endpoint, pacer).context("build the client for the venue")?;
        Ok(Self { credential, venue })
    }
}

/// What all stages share.
struct Daemon {
    config: Config,
    clock: Clock,
    started_at: Timestamp,
    /// This process, among all that ever went by the daemon's name.
    process: Uuid,
    gateway: Gateway,
    /// The account's orders, as they are told.
    blotter: Blotter,
    subjects: Subjects,
    topology: Topology,
    venue: rest::Client,
    credential: Credential,
    account: KnownAccount,
    /// How often a signal asked for a halt.
    halts: watch::Sender<u64>,
    /// A mode that could not be kept in a term before this one.
    unkept: Unkept,
    /// Told to stop.
    stop: CancellationToken,
}

impl Daemon {
    fn new(config: Config, account: Account, stop: CancellationToken) -> Self {
        let clock = Clock::system();
        let gateway = Gateway::new(clock.clone());
        let subjects = Subjects::new(config.prefix.clone());
        let topology = Topology::new(&config.objects, &subjects, &config.market_data.captured);
        let started_at = clock.now();
        Self {
            config,
            clock,
            started_at,
            process: Uuid::now_v7(),
            gateway,
            blotter: Blotter::default(),
            subjects,
            topology,
            venue: account.venue,
            credential: account.credential,
            account: KnownAccount::default(),
            halts: watch::Sender::new(0),
            unkept: Unkept::default(),
            stop,
        }
    }

    async fn run(
        &self,
        tasks: &mut Tasks,
        connection: Connection,
        metrics: MetricsHandle,
    ) -> anyhow::Result<Ended> {
        tasks.helper("halts", modes::count_signals(self.halts.clone()));
        self.gateway.raise(ConditionName::Reconciling, "starting", true);
        let (started, readiness) = Readiness::new(self.gateway.watch());
        let beats = Beats::default();
        let measure = stages::measure(
            metrics.clone(),
            self.gateway.clone(),
            self.venue.clone(),
            beats.clone(),
        );
        tasks.helper("metrics", measure);
        let systemd = systemd::follow(readiness.clone(), self.gateway.clone(), self.stop.clone());
        tasks.helper("systemd", systemd);
        let admin_stop = self.serve_admin(tasks, readiness, metrics).await?;

        tasks.helper(
            "nats link",
            stages::follow_link(connection.clone(), self.gateway.clone()),
        );
        tasks.helper("nats client", connection.clone().keep_alive());
        tasks.helper("beats", beats.clone().run(connection.clone()));
        tasks.helper("secrets", Secrets::new(self, &connection).follow());

        // Taken once: whoever lost the lease is not alone under its name, or was asleep.
        let mut chair = self.take_chair();
        let verdict = loop {
            let term = self.term(&connection, &beats, &started, chair.is_some()).await;
            match term {
                Term::Lost => {
                    chair = None;
                    started.unset();
                    metrics::leading(false);
                    self.gateway
                        .raise(ConditionName::Reconciling, "another daemon took over", true);
                    // What a leader sees, and nobody looks at now.
                    for name in [
                        ConditionName::Blind,
                        ConditionName::AccountRefused,
                        ConditionName::Draining,
                        ConditionName::Stuck,
                        ConditionName::Unwritable,
                        ConditionName::PositionsStale,
                        ConditionName::PositionsDiffer,
                    ] {
                        self.gateway.clear(name);
                    }
                }
                Term::Ended(verdict) => break verdict,
            }
        };
        connection.drain(DRAIN_GRACE).await;
        admin_stop.cancel();
        info!("stopped");
        verdict
    }

    /// The chair of this daemon's name, where it would lead.
    fn take_chair(&self) -> Option<Chair> {
        let name = format!(
            "{} {:?} {}",
            self.config.instance, self.config.nats.servers, self.config.objects.bucket
        );
        Chair::take(&name)
    }

    /// Waits for the lease, and leads until told to stop, or until somebody else does.
    async fn term(&self, connection: &Connection, beats: &Beats, started: &Started, alone: bool) -> Term {
        let mut keeper = tokio::select! {
            // Nothing is in hand yet, so standing by may be dropped at any time.
            () = self.stop.cancelled() => return Term::Ended(Ok(Ended::Stopped)),
            keeper = self.stand_by(connection, alone) => keeper,
        };
        let lease = keeper.lease();
        let mut tasks = Tasks::new(self.stop.clone());
        let led = {
            let lead = self.lead(&mut tasks, connection, beats, started, &lease);
            tokio::select! {
                biased;
                () = keeper.keep() => None,
                ended = lead => Some(ended),
            }
        };
        let Some(ended) = led else {
            // Not a write more: all of it is somebody else's now.
            tasks.finish().await;
            return Term::Lost;
        };
        self.gateway.raise(ConditionName::Stopping, "told to stop", true);
        let stop = async {
            tasks.stop_floor(Floor::Desk, self.config.shutdown_timeout).await;
            tasks.stop_floor(Floor::Feeds, FEEDS_GRACE).await;
        };
        tokio::select! {
            () = keeper.keep() => {}
            () = stop => {}
        }
        tasks.finish().await;
        keeper.release().await;
        Term::Ended(ended)
    }

    /// Starts everything, and waits until told to stop.
    async fn lead(
        &self,
        tasks: &mut Tasks,
        connection: &Connection,
        beats: &Beats,
        started: &Started,
        lease: &Lease,
    ) -> anyhow::Result<Ended> {
        let ready = tokio::select! {
            // Files are read for it, and a disk may hang.
            () = self.stop.cancelled() => return Ok(Ended::Stopped), // cancel-safe: level-triggered
            ready = self.venue.ready() => ready,                     // cancel-safe: only waits
        };
        ready.context("build the client for the venue")?;
        let start = tokio::select! {
            // Nothing is in hand yet, so a start may be dropped half-way.
            () = self.stop.cancelled() => return Ok(Ended::Stopped),
            start = self.start(tasks, connection, beats, lease) => start,
        };
        match start {
            Start::Refused(ended) => Ok(ended),
            Start::Ready => {
                self.gateway.clear(ConditionName::Reconciling);
                started.set();
                info!(environment = self.config.alpaca.environment.as_str(), "ready");
                tasks.until_stop_or_failure().await.map(|()| Ended::Stopped)
            }
        }
    }

    /// Waits until nobody else leads.
    async fn stand_by(&self, connection: &Connection, alone: bool) -> Keeper {
        stages::objects(self, connection).await;
        let candidate = Candidate {
            bucket: stages::open(self, connection, &self.config.objects.bucket).await,
            clock: self.clock.clone(),
            instance: self.config.instance.clone(),
            process: self.process,
            alone,
        };
        let keeper = candidate
            .lead(|leader| {
                let reason = format!("{} leads, epoch {}", leader.instance, leader.epoch);
                self.gateway.raise(ConditionName::Standby, reason, true);
            })
            .await;
        self.gateway.clear(ConditionName::Standby);
        metrics::leading(true);
        keeper
    }

    async fn serve_admin(
        &self,
        tasks: &mut Tasks,
        readiness: Readiness,
        metrics: MetricsHandle,
    ) -> anyhow::Result<CancellationToken> {
        let stop = CancellationToken::new();
        if let Some(address) = self.config.admin.health {
            let listener = TcpListener::bind(address).await.with_context(|| {
                format!("listen on {address} for gRPC health; set HEALTH_PORT, METRICS_HOST or DISABLE_HEALTH=true")
            })?;
            info!(address = %listener.local_addr()?, "grpc health is served");
            let (readiness, stopped) = (readiness.clone(), stop.clone());
            tasks.helper("health", async move {
                if let Err(error) = admin::health::serve(listener, readiness, stopped).await {
                    warn!(%error, "grpc health is not served any more");
                }
            });
        }
        let Some(address) = self.config.admin.metrics else {
            return Ok(stop);
        };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("listen on {address} for metrics and probes; set METRICS_PORT or METRICS_HOST")
        })?;
        info!(address = %listener.local_addr()?, "metrics and probes are served");
        let stopped = stop.clone();
        tasks.helper("admin", async move {
            if let Err(error) = admin::serve(listener, readiness, metrics, stopped).await {
                warn!(%error, "metrics and probes are not served any more");
            }
        });
        Ok(stop)
    }

    /// Lets the mode hold that was kept, before anything else begins, and has it changed by whoever may.
    async fn take_up_mode(&self, tasks: &mut Tasks, bucket: &Bucket, journal: &Journal) -> Modes {
        let (gateway, clock) = (self.gateway.clone(), self.clock.clone());
        let unkept = self.unkept.clone();
        let modes = Modes::take_up(gateway, bucket.clone(), journal.clone(), clock, unkept).await;
        tasks.helper("mode", modes.clone().keep());
        let instance = self.config.instance.clone();
        // What asked for a halt before now is obeyed before there can be an order.
        modes::obey_signals(&modes, &self.halts, &instance).await;
        let signals = modes::follow_signals(modes.clone(), self.halts.clone(), instance.clone());
        tasks.helper("halt by signal", signals);
        if let Some(file) = self.config.halt_file.clone() {
            let mut file = HaltFile::new(modes.clone(), file, instance);
            file.look().await;
            tasks.helper("halt by file", file.follow());
        }
        modes
    }

    /// Registers the service, and answers what it is asked.
    fn serve_questions(&self, tasks: &mut Tasks, connection: &Connection, desk: FrontDesk) {
        let (asked, questions) = bus::service::channel();
        let (subjects, prefix) = (self.subjects.clone(), self.config.prefix.clone());
        let registered =
            bus::service::serve(connection.clone(), subjects, prefix, service::endpoints(), asked);
        tasks.helper("service registration", registered);
        let state = desk.state;
        let service = Service {
            modes: desk.modes,
            switchboard: state.switchboard.clone(),
            bucket: state.bucket.clone(),
            ledger: desk.ledger,
            blotter: self.blotter.clone(),
            journal: desk.journal,
            connection: connection.clone(),
            subjects: self.subjects.clone(),
            board: desk.board,
            cancels: desk.cancels,
            takes: Takes {
                orders: self.config.orders.enabled,
                cancels: self.config.orders.canceler_enabled,
            },
            risk: desk.risk,
            limits_file: self
                .config
                .limits
                .as_ref()
                .map(|config| config.path.display().to_string())
                .unwrap_or_default(),
            gateway: self.gateway.clone(),
            state: Arc::new(move || state.report()),
            venue: self.venue.clone(),
            history: HistoryDesk::new(
                self.config.market_data.history_url.clone(),
                self.credential.clone(),
                self.clock.clone(),
            ),
            clock: self.clock.clone(),
        };
        tasks.helper("service", service.run(questions));
    }

    /// Everything between a connection and readiness.
    async fn start(&self, tasks: &mut Tasks, connection: &Connection, beats: &Beats, lease: &Lease) -> Start {
        let names = &self.config.objects;
        let open = async |name| stages::open(self, connection, name).await.behind(lease.clone());
        let copies = self
            .config
            .json_copies
            .then(|| JsonCopies::new(connection.clone(), self.config.prefix.clone()));
        let (bucket, orders) = tokio::join!(open(&names.bucket), open(&names.orders_bucket));
        let (bucket, ledger) = (bucket.copied(copies.clone()), Ledger::new(orders));
        let journal = Journal::new(
            connection.clone(),
            self.subjects.clone(),
            &names.journal_stream,
            lease.clone(),
        )
        .copied(copies);
        let switchboard = market_data::switchboard(&self.config.market_data);
        // What the term before this one knew may have changed since.
        self.blotter.forget();
        let writer = StateWriter {
            bucket: bucket.clone(),
            switchboard: switchboard.clone(),
            gateway: self.gateway.clone(),
            clock: self.clock.clone(),
            instance: self.config.instance.clone(),
            environment: self.config.alpaca.environment,
            started_at: self.started_at,
        };
        tasks.helper("state", state::publish(writer.clone()));
        let watch = DriftWatch {
            topology: self.topology.clone(),
            connection: connection.clone(),
            gateway: self.gateway.clone(),
            mode: self.config.provision,
            names: names.clone(),
        };
        tasks.helper("drift", stages::watch_drift(watch));
        let modes = self.take_up_mode(tasks, &bucket, &journal).await;
        // What the process before us left is disowned before anything can keep us waiting.
        let mirror = feeds::start_mirror(self, tasks, connection, &bucket);
        let risk = risk::start(self, tasks, connection, &mirror, &modes);
        let board = Board::default();
        let (cancels, cancels_there) = watch::channel(None);
        let front = FrontDesk {
            modes,
            state: writer,
            ledger: ledger.clone(),
            journal: journal.clone(),
            board: board.clone(),
            cancels: cancels_there,
            risk: risk.clone(),
        };
        self.serve_questions(tasks, connection, front);
        if let Err(refused) = stages::account(self).await {
            return Start::Refused(refused);
        }
        let draining = stages::begin_move(self, connection, lease).await;
        let records = feeds::Records {
            ledger: ledger.clone(),
            lease: lease.clone(),
        };
        let seen = async {
            feeds::start(self, tasks, &bucket, &journal, records, mirror).await;
            risk::recall(self, &risk).await;
        };
        let ((), pullers) = tokio::join!(seen, desk::bind_consumers(self, connection, beats));
        let (watched, told) = (risk.clone(), journal.clone());
        let wiring = desk::Wiring {
            connection,
            ledger,
            journal,
            lease,
            board,
            risk,
            pullers,
        };
        let desk = desk::start(self, tasks, wiring);
        cancels.send_replace(Some(desk.clone()));
        let dead_man = DeadMan {
            connection: connection.clone(),
            cancels: desk,
            risk: watched,
            journal: told,
        };
        tasks.helper("strategy leases", dead_man.run());
        market_data::start(self, tasks, connection, switchboard);
        if draining {
            let seen_through = stages::finish_move(
                self.topology.clone(),
                connection.clone(),
                lease.clone(),
                self.gateway.clone(),
            );
            tasks.helper("move", seen_through);
        }
        Start::Ready
    }
}

/// What the service needs of a term.
struct FrontDesk {
    modes: Modes,
    state: StateWriter,
    ledger: Ledger,
    journal: Journal,
    board: Board,
    cancels: watch::Receiver<Option<CancelDesk<rest::Client>>>,
    risk: Risk,
}

/// How a start went.
enum Start {
    Ready,
    /// Nothing can come of it.
    Refused(Ended),
}

/// How a term of leading, or the wait for one, ended.
enum Term {
    /// Somebody else leads.
    Lost,
    /// The daemon is to end.
    Ended(anyhow::Result<Ended>),
}

fn credential(config: &AlpacaConfig) -> anyhow::Result<Credential> {
    match &config.oauth {
        Some(token) => Credential::bearer(token.clone()).context("use ALPACA_OAUTH"),
        None => Credential::key_pair(config.key.clone().into(), config.secret.clone())
            .context("use ALPACA_API_KEY and ALPACA_API_SECRET"),
    }
}
