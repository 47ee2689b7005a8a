//! The stages of a start, each of which waits in the open for what it needs, and the helpers that go on watching.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval_at};
use tracing::{debug, error, info, warn};

use super::{Daemon, Ended};
use crate::alpaca::rest::{self, ReadError};
use crate::backoff::{Backoff, Reason};
use crate::bus::{Beats, Bucket, Census, Connection, Difference, Lease, Link, Move, Severity, Topology};
use crate::config::{ObjectNames, Provision};
use crate::domain::ConditionName;
use crate::gateway::Gateway;
use crate::telemetry::{Chain, MetricsHandle, metrics};

/// How often the NATS objects are compared with their declaration.
const DRIFT_INTERVAL: Duration = Duration::from_secs(10);
/// When they are counted for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Pause before they are looked at on a connection that was made anew.
const MADE_ANEW_PAUSE: Duration = Duration::from_millis(500);
/// How often gauges are read.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
/// Longest pause before the objects are looked at again during the start.
const OBJECTS_RETRY: Duration = Duration::from_secs(5);

/// Tells the gateway whether NATS can be reached.
pub(super) async fn follow_link(connection: Connection, gateway: Gateway) {
    let mut link = connection.link();
    let mut generation = 0;
    loop {
        let now = *link.borrow_and_update();
        metrics::nats_connected(now.connected);
        if now.connected {
            if now.generation > 1 && now.generation != generation {
                metrics::nats_reconnected();
            }
            generation = now.generation;
            gateway.clear(ConditionName::NatsDisconnected);
        } else {
            gateway.raise(
                ConditionName::NatsDisconnected,
                "NATS cannot be reached, connecting",
                true,
            );
        }
        if link.changed().await.is_err() {
            return;
        }
    }
}

/// Reads the gauges that nobody pushes.
pub(super) async fn measure(recorder: MetricsHandle, gateway: Gateway, venue: rest::Client, beats: Beats) {
    let mut tick = tokio::time::interval(MEASURE_INTERVAL);
    let process = metrics_process::Collector::default();
    process.describe();
    loop {
        tick.tick().await;
        recorder.run_upkeep();
        process.collect();
        metrics::mode(gateway.state().mode);
        metrics::rate_budget_remaining(venue.pacer().remaining());
        metrics::deliveries_in_hand(beats.len());
        for name in ConditionName::ALL {
            metrics::condition(name, gateway.has(name));
        }
    }
}

/// Waits until every object orders depend on is there and as declared.
pub(super) async fn objects(daemon: &Daemon, connection: &Connection) {
    let mut backoff = Backoff::between(Duration::from_millis(200), OBJECTS_RETRY);
    loop {
        connection.connected().await;
        let checked = daemon.topology.settle(connection, daemon.config.provision).await;
        match checked {
            Ok(differences) => {
                tell(&daemon.gateway, &differences);
                if !differences
                    .iter()
                    .any(|difference| difference.severity == Severity::Critical)
                {
                    if let Some((version, server_id)) = connection.server() {
                        info!(version, server_id, "nats objects are in place");
                    }
                    return;
                }
            }
            Err(error) => {
                let reason = format!("the NATS objects cannot be read or made: {}", Chain(&error));
                daemon.gateway.raise(ConditionName::Drift, reason, true);
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Raises or clears the drift condition, and logs what is only worth a line.
fn tell(gateway: &Gateway, differences: &[Difference]) {
    let critical: Vec<_> = differences
        .iter()
        .filter(|difference| difference.severity == Severity::Critical)
        .map(ToString::to_string)
        .collect();
    if critical.is_empty() {
        gateway.clear(ConditionName::Drift);
    } else {
        gateway.raise(ConditionName::Drift, critical.join("; "), true);
    }
}

/// As at the start, but never makes a ledger where there was one.
async fn check_running(watch: &DriftWatch) -> Result<Vec<Difference>, crate::bus::topology::TopologyError> {
    if watch.mode != Provision::None {
        let differences = watch.topology.compare(&watch.connection, watch.mode).await?;
        if watch.topology.ledger_is_missing(&differences) {
            return Ok(differences);
        }
    }
    watch.topology.settle(&watch.connection, watch.mode).await
}

/// How often a stream that is drained is looked at.
const DRAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Begins to move what an older program keeps in memory into files, where that is allowed, before anything is taken or
/// told. Whether the action stream has to be drained first.
pub(super) async fn begin_move(daemon: &Daemon, connection: &Connection, lease: &Lease) -> bool {
    if daemon.config.provision != Provision::Adopt {
        return false;
    }
    let mut backoff = Backoff::new(Reason::Nats);
    loop {
        let begun = async {
            daemon.topology.relocate_data(connection, lease).await?;
            daemon.topology.relocate(connection, lease).await
        };
        match begun.await {
            Ok(Move::Done) => return false,
            Ok(Move::Draining(left)) => {
                say_draining(&daemon.gateway, left);
                return true;
            }
            Err(error) => {
                let reason = format!(
                    "what is kept in memory cannot be moved into files: {}",
                    Chain(&error)
                );
                daemon.gateway.raise(ConditionName::Reconciling, reason, true);
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Sees the action stream through, until it is kept in files.
pub(super) async fn finish_move(topology: Topology, connection: Connection, lease: Lease, gateway: Gateway) {
    loop {
        tokio::time::sleep(DRAIN_INTERVAL).await;
        match topology.relocate(&connection, &lease).await {
            Ok(Move::Draining(left)) => say_draining(&gateway, left),
            Ok(Move::Done) => {
                // Whoever takes from it binds to the new one.
                connection.suspect();
                gateway.clear(ConditionName::Draining);
                return;
            }
            Err(error) => warn!(error = %Chain(&error), "the action stream cannot be made anew now"),
        }
    }
}

fn say_draining(gateway: &Gateway, left: u64) {
    let reason = format!(
        "the action stream is kept in memory; it takes no commands until the {left} it holds are done and it is made anew in files"
    );
    gateway.raise(ConditionName::Draining, reason, false);
}

/// What watching for drift takes.
pub(super) struct DriftWatch {
    pub(super) topology: Topology,
    pub(super) connection: Connection,
    pub(super) gateway: Gateway,
    pub(super) mode: Provision,
    pub(super) names: ObjectNames,
}

/// Compares the objects with their declaration for as long as the daemon runs; repairs what its mode allows.
pub(super) async fn watch_drift(watch: DriftWatch) {
    let mut noticed: Vec<Difference> = Vec::new();
    let mut census: Option<Census> = None;
    let mut tick = interval_at(Instant::now() + DRIFT_INTERVAL, DRIFT_INTERVAL);
    let mut link = watch.connection.link();
    // They were compared a moment ago, and the first orders may be waiting. What is there is counted, a little later.
    tokio::select! {
        () = tokio::time::sleep(FIRST_LOOK) => { // cancel-safe
            census = Census::take(&watch.connection, &watch.names).await.ok();
        }
        () = made_anew(&mut link) => tick.reset_immediately(), // cancel-safe: nothing is lost with it
    }
    loop {
        tokio::select! {
            _ = tick.tick() => {}                            // cancel-safe: docs
            // A server that was restarted has lost what was in memory.
            () = made_anew(&mut link) => {}                  // cancel-safe: nothing is lost with it
        }
        if !watch.connection.link().borrow().connected {
            continue;
        }
        match check_running(&watch).await {
            Ok(differences) => {
                tell(&watch.gateway, &differences);
                if differences != noticed {
                    for difference in &differences {
                        warn!(%difference, severity = ?difference.severity, "nats object is not as declared");
                    }
                    noticed = differences;
                }
            }
            Err(error) => warn!(error = %Chain(&error), "the NATS objects could not be compared"),
        }
        match Census::take(&watch.connection, &watch.names).await {
            Ok(now) => {
                if let Some(reason) = census.as_ref().and_then(|earlier| now.contradicts(earlier)) {
                    warn!(
                        reason,
                        "what is delivered now may have been executed before: the venue is asked first"
                    );
                    watch.connection.suspect();
                }
                // Counted twice: what moves between two questions is not stranded.
                let stranded = census
                    .as_ref()
                    .map_or(0, |earlier| earlier.stranded.min(now.stranded));
                metrics::commands_stranded(stranded);
                for (consumer, pending) in &now.pending {
                    metrics::commands_pending(consumer, *pending);
                }
                if stranded > 0 {
                    warn!(stranded, "commands are stranded, they are taken up by sequence");
                }
                census = Some(now);
            }
            Err(error) => debug!(%error, "the objects could not be counted"),
        }
    }
}

/// Waits until the connection is another one, and a moment longer: a server that begins answers with errors.
async fn made_anew(link: &mut watch::Receiver<Link>) {
    let known = link.borrow().generation;
    let is_other = |link: &Link| link.connected && link.generation != known;
    if link.wait_for(is_other).await.is_err() {
        // The connection has ended, and with it everything.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(MADE_ANEW_PAUSE).await;
}

/// Asks for the account until the venue answers. Errs when it refuses our credentials, or they are another account's.
pub(super) async fn account(daemon: &Daemon) -> Result<(), Ended> {
    let mut backoff = Backoff::new(Reason::MirrorRead);
    loop {
        match daemon.venue.account().await {
            Ok(read) => {
                let account = read.value;
                info!(
                    status = account.status,
                    account_number = account.account_number,
                    "the venue knows us"
                );
                let expected = daemon.config.alpaca.account.as_ref().or(daemon.account.get());
                if expected.is_some_and(|expected| *expected != account.account_number) {
                    error!(
                        account_number = account.account_number,
                        expected, "the keys are another account's: correct ALPACA_ACCOUNT, or the keys"
                    );
                    return Err(Ended::WrongAccount);
                }
                // Known from an earlier term, it is the same.
                let _ = daemon.account.set(account.account_number);
                return Ok(());
            }
            Err(ReadError::AccountRefused(refusal)) => {
                let variables = match daemon.config.alpaca.oauth {
                    Some(_) => "ALPACA_OAUTH",
                    None => "ALPACA_API_KEY and ALPACA_API_SECRET",
                };
                error!(
                    http_status = refusal.http_status,
                    message = refusal.message,
                    "{} refuses the credentials: check {variables}, and that they belong to {}",
                    daemon.config.alpaca.base_url,
                    daemon.config.alpaca.environment.as_str(),
                );
                return Err(Ended::CredentialsRefused);
            }
            Err(ReadError::Failed { cause, retry_after }) => {
                let reason = format!("the venue does not answer: {cause}");
                daemon.gateway.raise(ConditionName::Reconciling, reason, true);
                tokio::time::sleep(retry_after.unwrap_or_default().max(backoff.next_delay())).await;
            }
        }
    }
}

/// Opens a bucket, as soon as that is possible. What was compared with its declaration is there.
pub(super) async fn open(daemon: &Daemon, connection: &Connection, name: &str) -> Bucket {
    if daemon.config.provision != Provision::None {
        return Bucket::that_exists(connection, name);
    }
    let mut backoff = Backoff::new(Reason::Nats);
    loop {
        match Bucket::open(connection, name).await {
            Ok(bucket) => return bucket,
            Err(error) => warn!(%error, "waiting for a bucket"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
