//! The owner of the holdings: one task that asks, dates and writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::fold::{Compared, Fold, Mismatch};
use super::shelf::{Keys, Shelf};
use crate::alpaca::Lane;
use crate::alpaca::rest::{Client, ReadError};
use crate::backoff::{Backoff, Reason};
use crate::bus::{Bucket, Link};
use crate::clock::Clock;
use crate::domain::account::AccountStatement;
use crate::domain::{Account, ConditionName, ExecutionReport, GatewayState, Holdings, Position};
use crate::gateway::Gateway;
use crate::telemetry::metrics;
use crate::trial::{self, Bug, Point};

/// Why positions are not vouched for while the gateway is blind.
const BLIND: &str = "trade updates cannot be seen, and with them fills";

/// Where statements come from.
const SOURCE: &str = "rest";

/// A fill is answered at once, and then once more after so long, because the venue's positions lag its fills. Fills
/// in between share that second look, so a burst costs one read a second of the account's request budget.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Fills refresh the account at most so often: a twentieth of the usual request budget.
const ACCOUNT_EVERY: Duration = Duration::from_secs(6);

/// On top of two refresh intervals: what a slow read may take before a statement counts as stale.
const STALE_GRACE: Duration = Duration::from_secs(5);

/// While the venue refuses the account, it is asked again this often.
const REFUSED_RETRY: Duration = Duration::from_secs(5);

/// How long the venue's trade updates may be out of sight before positions are not vouched for: a stream that is
/// replaced at once costs no freshness.
const BLIND_GRACE: Duration = Duration::from_secs(2);

/// How long after a fill the statement before it may stand for fresh.
const UNREAD_GRACE: Duration = Duration::from_secs(3);

/// How often the age of the positions is measured.
const AGE_EVERY: Duration = Duration::from_secs(5);

/// Longest wait for the bucket when the daemon stops.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// What the mirror is built from.
#[derive(Debug)]
pub struct Wiring {
    /// Where the holdings are read.
    pub client: Client,
    /// Where they are shown.
    pub bucket: Bucket,
    /// Whether NATS can be reached.
    pub link: watch::Receiver<Link>,
    /// Where staleness and refusals are told.
    pub gateway: Gateway,
    /// What time it is.
    pub clock: Clock,
    /// Pause between reads when nothing happens.
    pub refresh_interval: Duration,
    /// Whether fills are told, so that not being able to see them is to be told, too.
    pub follows_updates: bool,
}

/// Tells of fills and asks for a refresh. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PositionsHandle(Arc<Told>);

impl PositionsHandle {
    /// Something may have moved the positions. Returns at once; calls in quick succession make one refresh.
    pub fn refresh(&self) {
        self.0.wanted.notify_one();
    }

    /// A fill is in the journal. Returns at once, and refreshes.
    pub fn filled(&self, report: &ExecutionReport) {
        self.0.fold().tell(report, Instant::now());
        if !trial::planted(Bug::FillIsNotRead) {
            self.refresh();
        }
    }
}

/// What the mirror was told.
#[derive(Debug, Default)]
struct Told {
    wanted: Notify,
    fold: Mutex<Fold>,
}

impl Told {
    fn fold(&self) -> MutexGuard<'_, Fold> {
        self.fold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the mirror needs of the venue.
trait Venue: Send + Sync {
    fn positions(&self) -> impl Future<Output = Result<Vec<Position>, ReadError>> + Send;
    fn account(&self) -> impl Future<Output = Result<Account, ReadError>> + Send;
}

impl Venue for Client {
    async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        Ok(Self::positions(self, Lane::Read).await?.value)
    }

    async fn account(&self) -> Result<Account, ReadError> {
        Ok(Self::account(self).await?.value)
    }
}

/// The mirror.
#[derive(Debug)]
pub struct Mirror(Task<Client, Bucket>);

impl Mirror {
    /// Builds it; nothing is read before [`Mirror::run`].
    pub fn new(wiring: Wiring) -> Self {
        Self(Task::new(
            wiring.client,
            wiring.bucket,
            wiring.link,
            wiring.gateway,
            wiring.clock,
            wiring.refresh_interval,
            wiring.follows_updates,
        ))
    }

    /// The one way to reach the task.
    pub fn handle(&self) -> PositionsHandle {
        PositionsHandle(Arc::clone(&self.0.told))
    }

    /// What the account holds, as it is stated.
    pub fn holdings(&self) -> watch::Receiver<Option<Arc<Holdings>>> {
        self.0.shared.holdings.subscribe()
    }

    /// The account, as it is stated.
    pub fn account(&self) -> watch::Receiver<Option<Arc<AccountStatement>>> {
        self.0.shared.account.subscribe()
    }

    /// Turns true when the first statement is in the bucket, and stays so.
    pub fn first_done(&self) -> watch::Receiver<bool> {
        self.0.first_done.subscribe()
    }

    /// Runs until `stop`, then says of the last statement that nobody vouches for it any more.
    pub async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }
}

#[derive(Debug)]
struct Task<V, K> {
    venue: V,
    shelf: Shelf<K>,
    link: watch::Receiver<Link>,
    /// The connection to NATS the bucket was written through.
    connection: u64,
    gateway: Gateway,
    clock: Clock,
    refresh_interval: Duration,
    told: Arc<Told>,
    /// Tells when trade updates are out of sight; `None` where nobody looks for them.
    sight: Option<watch::Receiver<GatewayState>>,
    blind_since: Option<Instant>,
    first_done: watch::Sender<bool>,
    holdings: Option<Holdings>,
    account: Option<AccountStatement>,
    /// The same, for whoever judges by it.
    shared: Shared,
    plan: Plan,
}

/// Statements as they are shared. `None`: nothing was read yet.
#[derive(Debug)]
struct Shared {
    holdings: watch::Sender<Option<Arc<Holdings>>>,
    account: watch::Sender<Option<Arc<AccountStatement>>>,
}

impl Shared {
    /// Says what is stated now, where that is news.
    fn say(&self, holdings: Option<&Holdings>, account: Option<&AccountStatement>) {
        self.holdings.send_if_modified(|said| {
            let is_news = said.as_deref() != holdings;
            if is_news {
                *said = holdings.cloned().map(Arc::new);
            }
            is_news
        });
        self.account.send_if_modified(|said| {
            let is_news = said.as_deref() != account;
            if is_news {
                *said = account.cloned().map(Arc::new);
            }
            is_news
        });
    }
}

/// When to do what next.
#[derive(Debug)]
struct Plan {
    positions_at: Instant,
    /// The second look after a fill.
    again_at: Option<Instant>,
    /// A read failed; fills do not shorten the pause.
    not_before: Instant,
    account_at: Instant,
    /// When the venue was last asked for the account.
    account_asked_at: Option<Instant>,
    /// A statement is waiting to be written.
    write_at: Option<Instant>,
    account_write_at: Option<Instant>,
    /// When the last statement is no longer to be trusted; `None` when that is already said.
    stale_at: Option<Instant>,
    /// When the venue was last asked for positions.
    asked_at: Option<Instant>,
    read_backoff: Backoff,
    account_backoff: Backoff,
    write_backoff: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Stop,
    Wanted,
    Sight(bool),
    Linked(u64),
    ReadPositions,
    ReadAccount,
    Write,
    WriteAccount,
    Stale,
    Measure,
}

impl<V: Venue, K: Keys> Task<V, K> {
    fn new(
        venue: V,
        bucket: K,
        link: watch::Receiver<Link>,
        gateway: Gateway,
        clock: Clock,
        refresh_interval: Duration,
        follows_updates: bool,
    ) -> Self {
        let now = Instant::now();
        let connection = link.borrow().generation;
        let sight = follows_updates.then(|| gateway.watch());
        Self {
            venue,
            shelf: Shelf::new(bucket),
            connection,
            link,
            gateway,
            clock,
            refresh_interval,
            told: Arc::default(),
            sight,
            blind_since: None,
            first_done: watch::Sender::new(false),
            holdings: None,
            account: None,
            shared: Shared {
                holdings: watch::Sender::new(None),
                account: watch::Sender::new(None),
            },
            plan: Plan {
                positions_at: now,
                again_at: None,
                not_before: now,
                account_at: now,
                account_asked_at: None,
                write_at: None,
                account_write_at: None,
                stale_at: Some(now + refresh_interval * 2 + STALE_GRACE),
                asked_at: None,
                read_backoff: Backoff::new(Reason::MirrorRead),
                account_backoff: Backoff::new(Reason::MirrorRead),
                write_backoff: Backoff::new(Reason::Nats),
            },
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        if self.disown(&stop).await.is_none() {
            return;
        }
        loop {
            match self.next_event(&stop).await {
                Event::Stop => break,
                Event::Wanted => self.plan.look_twice(Instant::now()),
                Event::Sight(blind) => self.see(blind),
                Event::Linked(connection) => self.relink(connection),
                Event::ReadPositions => self.read_positions(&stop).await,
                Event::ReadAccount => self.read_account(&stop).await,
                Event::Write => self.write(&stop).await,
                Event::WriteAccount => self.write_account(&stop).await,
                Event::Stale if self.blind_since.is_some() => self.turn_stale(BLIND),
                Event::Stale => self.turn_stale("the positions were not refreshed in time"),
                Event::Measure => {}
            }
            self.shared.say(self.holdings.as_ref(), self.account.as_ref());
            self.measure();
        }
        self.retire().await;
    }

    /// Before anything is known: what is in the bucket is not ours. `None`: told to stop.
    async fn disown(&mut self, stop: &CancellationToken) -> Option<()> {
        self.gateway.raise(
            ConditionName::PositionsStale,
            "the positions were not read yet",
            false,
        );
        // cancel-safe: whoever comes next disowns the rest
        while let Err(error) = stop.run_until_cancelled(self.shelf.disown()).await? {
            warn!(%error, "what is in the bucket cannot be marked stale, trying again");
            stop.run_until_cancelled(sleep(self.plan.write_backoff.next_delay()))
                .await?;
        }
        self.plan.write_backoff.reset();
        Some(())
    }

    /// Only waits. Losing any branch loses nothing.
    async fn next_event(&mut self, stop: &CancellationToken) -> Event {
        let (event, due) = self.plan.next(Instant::now());
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop, // cancel-safe: level-triggered
            connection = relinked(&mut self.link, self.connection) => Event::Linked(connection), // cancel-safe: level-triggered
            blind = turned(&mut self.sight, self.blind_since.is_some()) => Event::Sight(blind), // cancel-safe: level-triggered
            () = self.told.wanted.notified() => Event::Wanted, // cancel-safe: a permit is taken only when it is returned
            () = sleep_until(due) => event, // cancel-safe: level-triggered
        }
    }

    async fn read_positions(&mut self, stop: &CancellationToken) {
        let asked = Instant::now();
        let as_of = self.clock.now();
        self.plan.begin_positions(asked, self.refresh_interval);
        let read = {
            let reading = self.venue.positions();
            tokio::pin!(reading);
            let stale_at = self.plan.stale_at;
            tokio::select! {
                biased;
                () = stop.cancelled() => return, // a read that nobody waits for changes nothing
                read = &mut reading => Some(read),
                // Given up and begun anew, after what it held up is said.
                () = sleep_until(stale_at.unwrap_or(asked)), if stale_at.is_some() => None,
            }
        };
        let Some(read) = read else {
            self.turn_stale("the venue takes too long to tell the positions");
            self.plan.positions_at = Instant::now();
            return;
        };
        metrics::positions_refreshed(read.is_ok());
        trial::at(Point::PositionsRead, "positions");
        match read {
            Ok(positions)
                if trial::planted(Bug::FlatIsNotWritten)
                    && positions.is_empty()
                    && self.holdings.is_some() => {}
            Ok(positions) if trial::planted(Bug::OlderOverwrites) => {
                let older = self.holdings.take();
                self.state(positions, as_of, asked);
                self.write(stop).await;
                self.holdings = older.or(self.holdings.take());
                self.plan.write_at = Some(Instant::now());
            }
            Ok(positions) => self.state(positions, as_of, asked),
            Err(_) if trial::planted(Bug::FreshOnATimer) && self.holdings.is_some() => {
                let known = self.holdings.take().map(|known| known.positions);
                self.state(known.unwrap_or_default(), as_of, asked);
            }
            Err(error) => {
                let pause = self.plan.read_backoff.next_delay().max(retry_after(&error));
                self.plan.not_before = Instant::now() + pause;
                self.plan.positions_at = self.plan.not_before;
                self.note_refusal(&error);
                self.turn_stale(&format!("the positions cannot be read: {error}"));
            }
        }
    }

    /// Takes a new statement.
    fn state(&mut self, positions: Vec<Position>, as_of: Timestamp, asked: Instant) {
        self.plan.read_backoff.reset();
        let blind_at = self.blind_since.map(|since| since + BLIND_GRACE);
        let blind_at = blind_at.filter(|_| !trial::planted(Bug::BlindIsFresh));
        let fresh = blind_at.is_none_or(|at| Instant::now() < at);
        // Where nobody looks for fills, every position would differ from their sum.
        if self.sight.is_some() && self.blind_since.is_none() {
            self.check(&positions, asked);
        }
        self.holdings = Some(Holdings {
            positions,
            as_of,
            source: SOURCE,
            fresh,
            version: 0, // the shelf numbers it
        });
        let old_at = asked + self.refresh_interval * 2 + STALE_GRACE;
        self.plan.stale_at = fresh.then(|| blind_at.map_or(old_at, |at| at.min(old_at)));
        self.plan.write_at = Some(Instant::now());
        if fresh {
            self.gateway.clear(ConditionName::PositionsStale);
        } else {
            self.gateway.raise(ConditionName::PositionsStale, BLIND, false);
        }
    }

    /// Compares a statement with the fills that were told.
    fn check(&self, positions: &[Position], asked: Instant) {
        let compared = self.told.fold().compare(positions, asked);
        match compared {
            Compared::Nothing => {}
            Compared::Agrees => self.gateway.clear(ConditionName::PositionsDiffer),
            Compared::Differs(wrong) => {
                metrics::positions_differed(wrong.len());
                let line = |wrong: &Mismatch| {
                    let Mismatch { symbol, told, stated } = wrong;
                    format!("{symbol}: {told} by the fills, {stated} at the venue")
                };
                let lines: Vec<_> = wrong.iter().map(line).collect();
                self.gateway
                    .raise(ConditionName::PositionsDiffer, lines.join("; "), false);
            }
        }
    }

    /// Trade updates went out of sight, or are seen again.
    fn see(&mut self, blind: bool) {
        let now = Instant::now();
        self.blind_since = blind.then_some(now);
        if blind && !trial::planted(Bug::BlindIsFresh) {
            self.plan.stale_by(now + BLIND_GRACE);
        } else {
            // What happened meanwhile is told by now. And a venue that is heard can be asked, whatever it was before.
            self.plan.not_before = now;
            self.plan.read_backoff.reset();
            self.plan.look_twice(now);
        }
    }

    /// Says of the last statement that it is not to be trusted. Said once.
    fn turn_stale(&mut self, reason: &str) {
        self.plan.stale_at = None;
        self.gateway.raise(ConditionName::PositionsStale, reason, false);
        if let Some(holdings) = self.holdings.as_mut().filter(|holdings| holdings.fresh) {
            holdings.fresh = false;
            self.plan.write_at = Some(Instant::now());
        }
    }

    async fn write(&mut self, stop: &CancellationToken) {
        self.plan.write_at = None;
        let Some(holdings) = &mut self.holdings else {
            return;
        };
        // Stopping in the middle leaves a statement half written; the last one, written next, completes it.
        let Some(written) = stop.run_until_cancelled(self.shelf.write(holdings)).await else {
            return;
        };
        match written {
            Ok(()) => {
                self.plan.write_backoff.reset();
                self.first_done.send_replace(true);
            }
            Err(error) => {
                debug!(%error, "the positions are not written, trying again");
                self.plan.write_at = Some(Instant::now() + self.plan.write_backoff.next_delay());
            }
        }
    }

    async fn read_account(&mut self, stop: &CancellationToken) {
        let as_of = self.clock.now();
        self.plan.account_asked_at = Some(Instant::now());
        // cancel-safe: a read that nobody waits for changes nothing
        let Some(read) = stop.run_until_cancelled(self.venue.account()).await else {
            return;
        };
        match read {
            Ok(account) => {
                self.plan.account_backoff.reset();
                self.plan.account_at = Instant::now() + self.refresh_interval;
                self.gateway.clear(ConditionName::AccountRefused);
                self.account = Some(AccountStatement {
                    account,
                    as_of,
                    source: SOURCE,
                    fresh: true,
                    version: 0, // the shelf numbers it
                });
                self.plan.account_write_at = Some(Instant::now());
            }
            Err(error) => {
                let pause = self.plan.account_backoff.next_delay().max(retry_after(&error));
                // Fills do not shorten the pause.
                self.plan.account_at = Instant::now() + pause;
                self.plan.account_asked_at = Some(self.plan.account_at);
                warn!(%error, "the account cannot be read");
                self.note_refusal(&error);
                if let Some(account) = self.account.as_mut().filter(|account| account.fresh) {
                    account.fresh = false;
                    self.plan.account_write_at = Some(Instant::now());
                }
            }
        }
    }

    async fn write_account(&mut self, stop: &CancellationToken) {
        self.plan.account_write_at = None;
        let Some(account) = &mut self.account else { return };
        // cancel-safe: one key, written or not
        let written = stop.run_until_cancelled(self.shelf.write_account(account)).await;
        if let Some(Err(error)) = written {
            debug!(%error, "the account is not written, trying again");
            self.plan.account_write_at = Some(Instant::now() + self.plan.write_backoff.next_delay());
        }
    }

    /// The venue refuses us: no order can pass. Only an account that is read takes it back, so that is tried soon.
    fn note_refusal(&mut self, error: &ReadError) {
        if let ReadError::AccountRefused(_) = error {
            let known = self.gateway.has(ConditionName::AccountRefused);
            let reason = error.to_string();
            if !known {
                error!(reason, "no order can pass until the account is in order");
            }
            self.gateway.raise(ConditionName::AccountRefused, reason, true);
        }
        if self.gateway.has(ConditionName::AccountRefused) {
            self.plan.account_at = self.plan.account_at.min(Instant::now() + REFUSED_RETRY);
        }
    }

    /// NATS is back, perhaps another one, perhaps with another bucket.
    fn relink(&mut self, connection: u64) {
        let now = Instant::now();
        self.connection = connection;
        self.shelf.distrust();
        self.plan.positions_at = self.plan.not_before.max(now);
        self.plan.write_at = self.holdings.as_ref().map(|_| now);
        self.plan.account_write_at = self.account.as_ref().map(|_| now);
    }

    fn measure(&self) {
        if let Some(holdings) = &self.holdings {
            metrics::positions_age(self.clock.since(holdings.as_of));
        }
    }

    /// From here on nobody vouches for what is in the bucket.
    async fn retire(mut self) {
        let last_words = async {
            if let Some(mut holdings) = self.holdings.take() {
                holdings.fresh = false;
                self.shelf.write(&mut holdings).await?;
            }
            if let Some(mut account) = self.account.take() {
                account.fresh = false;
                self.shelf.write_account(&mut account).await?;
            }
            Ok::<(), K::Error>(())
        };
        match timeout(LAST_WRITE, last_words).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the positions are left as they are"),
            Err(_) => warn!("the positions are left as they are, the bucket does not answer"),
        }
    }
}

impl Plan {
    /// What comes next, and when; at the latest the age is measured.
    fn next(&self, now: Instant) -> (Event, Instant) {
        let planned = [
            (Event::Write, self.write_at),
            (Event::WriteAccount, self.account_write_at),
            (Event::Stale, self.stale_at),
            (Event::ReadPositions, Some(self.positions_at)),
            (Event::ReadAccount, Some(self.account_at)),
            (Event::Measure, Some(now + AGE_EVERY)),
        ];
        let due = planned.into_iter().filter_map(|(event, at)| Some((event, at?)));
        due.min_by_key(|(_, at)| *at)
            .unwrap_or((Event::Measure, now + AGE_EVERY))
    }

    /// Something moved the positions: look now, unless the venue was asked just before, and look again.
    fn look_twice(&mut self, now: Instant) {
        let earliest = self.asked_at.map_or(now, |asked| asked + SECOND_LOOK);
        let earliest = earliest.max(self.not_before).max(now);
        self.positions_at = self.positions_at.min(earliest);
        self.stale_by(now + UNREAD_GRACE);
        // Cash and buying power moved, too.
        let account = self.account_asked_at.map_or(now, |asked| asked + ACCOUNT_EVERY);
        self.account_at = self.account_at.min(account.max(now + SECOND_LOOK));
        self.again_at = Some(self.positions_at + SECOND_LOOK);
    }

    /// What is fresh is so until then at most.
    fn stale_by(&mut self, at: Instant) {
        self.stale_at = self.stale_at.map(|planned| planned.min(at));
    }

    /// The venue is asked now, and next when nothing happens.
    fn begin_positions(&mut self, now: Instant, interval: Duration) {
        self.asked_at = Some(now);
        let again = self.again_at.take().filter(|again| *again > now);
        self.positions_at = again.unwrap_or(now + interval);
    }
}

/// Waits until trade updates go out of sight or come back, and says which.
async fn turned(sight: &mut Option<watch::Receiver<GatewayState>>, blind: bool) -> bool {
    let turned = match sight {
        Some(state) => state
            .wait_for(|state| state.has(ConditionName::Blind) != blind)
            .await
            .is_ok(),
        None => false,
    };
    if !turned {
        std::future::pending::<()>().await;
    }
    !blind
}

/// Waits until NATS is connected by another connection than the known one, and says which.
async fn relinked(link: &mut watch::Receiver<Link>, known: u64) -> u64 {
    let another = link
        .wait_for(|link| link.connected && link.generation != known)
        .await;
    match another.map(|link| link.generation) {
        Ok(generation) => generation,
        Err(_) => std::future::pending().await, // nobody tells any more: the connection is closed for good
    }
}

fn retry_after(error: &ReadError) -> Duration {
    match error {
        ReadError::AccountRefused(_) => Duration::ZERO,
        ReadError::Failed { retry_after, .. } => retry_after.unwrap_or_default(),
    }
}

#[cfg(test)]
pub(super) mod tests;
