//! Keeps what the venue tells of each order in its record, so that who watches that one key sees the whole life of
//! its order.
//!
//! Of an order that is told of again before it was written only the latest is written. A record whose POST is on the
//! wire is left to the desk for a moment, so that the two do not get into each other's way.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::book::{Ledger, Page};
use crate::backoff::{Backoff, Reason};
use crate::bus::{Lease, WriteError};
use crate::clock::Clock;
use crate::domain::record::RecordState;
use crate::domain::{ClientOrderId, Order, OrderRecord};
use crate::trial::{self, Bug, Point};

/// Orders told of and not written. When full, whoever tells waits: the watermark does not pass what is not written, and
/// the venue's stream is not read.
const TOLD_MAX: usize = 10_000;

/// Records kept in memory, so that the next write of an order needs no read. All are forgotten when there are more.
const KNOWN_MAX: usize = 10_000;

/// How long a record is left to the desk that waits for the answer to a POST.
const LEFT_TO_DESK: SignedDuration = SignedDuration::from_secs(2);

/// How soon such a record is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The one writer of what the venue tells of orders.
#[derive(Debug)]
pub struct OrderStates {
    ledger: Ledger,
    lease: Lease,
    clock: Clock,
    told: Arc<Told>,
    /// Ends when the last handle is gone.
    handles: mpsc::Receiver<()>,
    /// Records as they were last written here, by id. Stale where somebody else wrote since, and then a write fails.
    known: HashMap<ClientOrderId, Page>,
}

/// Tells of orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OrderStatesHandle {
    told: Arc<Told>,
    _alive: mpsc::Sender<()>,
}

#[derive(Debug, Default)]
struct Told {
    orders: Mutex<Pending>,
    /// Something is to be written.
    news: Notify,
    /// There is room again.
    room: Notify,
}

/// What was told and is not written.
#[derive(Debug, Default)]
struct Pending {
    orders: HashMap<ClientOrderId, News>,
    /// By when each is due.
    due: BTreeSet<(Instant, ClientOrderId)>,
}

#[derive(Clone, Debug, PartialEq)]
struct News {
    order: Arc<Order>,
    /// Takes back what was told before.
    corrects: bool,
    /// When it happened.
    at: Timestamp,
    due: Instant,
    /// Counts what was told of this order since it was last written.
    version: u64,
}

impl OrderStatesHandle {
    /// Tells of an order as it was at an instant of the venue's clock. `corrects`: a fill was taken back. Waits while
    /// too much is unwritten. What has an id that no command could have is not kept.
    pub async fn tell(&self, order: &Order, at: Timestamp, corrects: bool) {
        let Ok(id) = ClientOrderId::parse(&order.client_order_id) else {
            return debug!(
                id = order.client_order_id,
                "an order's state is not kept under such an id"
            );
        };
        loop {
            let room = self.told.room.notified();
            if self.told.pending().tell(&id, order, at, corrects) {
                return self.told.news.notify_one();
            }
            room.await;
        }
    }

    /// Since when something is unwritten, by the venue's clock.
    pub fn unwritten_since(&self) -> Option<Timestamp> {
        self.told.pending().orders.values().map(|news| news.at).min()
    }
}

impl Told {
    /// Nothing that can panic happens under this lock.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// False: there is no room.
    fn tell(&mut self, id: &ClientOrderId, order: &Order, at: Timestamp, corrects: bool) -> bool {
        if let Some(news) = self.orders.get_mut(id) {
            news.order = latest(news.order.clone(), Arc::new(order.clone()), corrects);
            news.corrects |= corrects;
            news.version += 1;
            return true;
        }
        if self.orders.len() >= TOLD_MAX {
            return false;
        }
        let due = Instant::now();
        let news = News {
            order: Arc::new(order.clone()),
            corrects,
            at,
            due,
            version: 0,
        };
        self.orders.insert(id.clone(), news);
        self.due.insert((due, id.clone()));
        true
    }

    fn first(&self) -> Option<(Instant, ClientOrderId)> {
        self.due.first().cloned()
    }

    fn news(&self, id: &ClientOrderId) -> Option<News> {
        self.orders.get(id).cloned()
    }

    /// What was known of an order is written; what was told meanwhile is not.
    fn written(&mut self, id: &ClientOrderId, version: u64) {
        match self.orders.get(id) {
            Some(news) if news.version == version => {
                self.due.remove(&(news.due, id.clone()));
                self.orders.remove(id);
            }
            Some(_) | None => self.postpone(id, Instant::now()),
        }
    }

    fn postpone(&mut self, id: &ClientOrderId, due: Instant) {
        if let Some(news) = self.orders.get_mut(id) {
            self.due.remove(&(news.due, id.clone()));
            news.due = due;
            self.due.insert((due, id.clone()));
        }
    }
}

impl OrderStates {
    /// Builds it; nothing is written before [`OrderStates::run`].
    pub fn new(ledger: Ledger, lease: Lease, clock: Clock) -> (Self, OrderStatesHandle) {
        let (alive, handles) = mpsc::channel(1);
        let told = Arc::<Told>::default();
        let handle = OrderStatesHandle {
            told: Arc::clone(&told),
            _alive: alive,
        };
        let states = Self {
            ledger,
            lease,
            clock,
            told,
            handles,
            known: HashMap::new(),
        };
        (states, handle)
    }

    /// Runs until nobody can tell anything any more and all is written. Whoever stops the daemon bounds that; what is
    /// lost then is told again at the next start, for the watermark has not passed it.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(Reason::Nats);
        let mut failures = 0u32;
        let mut all_told = false;
        loop {
            let first = self.told.pending().first();
            let Some((due, id)) = first else {
                if all_told {
                    return;
                }
                tokio::select! {
                    () = self.told.news.notified() => {}         // cancel-safe: a permit is kept
                    _ = self.handles.recv() => all_told = true,  // cancel-safe: docs
                }
                continue;
            };
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.told.news.notified() => {}
                }
                continue;
            }
            match self.write(&id).await {
                Ok(()) => {
                    backoff.reset();
                    failures = 0;
                }
                Err(error) => {
                    self.known.remove(&id);
                    // Stale is no fault of the bucket's: somebody else was first.
                    if let WriteError::Unknown(_) = error {
                        failures += 1;
                        if failures.is_power_of_two() {
                            warn!(%error, failures, "an order's state is not in the ledger yet, trying again");
                        }
                        let pause = backoff.next_delay();
                        self.told.pending().postpone(&id, Instant::now() + pause);
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
    }

    /// Writes what was told of one order into its record, if that is news there.
    async fn write(&mut self, id: &ClientOrderId) -> Result<(), WriteError> {
        let Some(news) = self.told.pending().news(id) else {
            return Ok(());
        };
        let page = match self.known.remove(id) {
            Some(page) => page,
            None => self.ledger.read(id).await.map_err(WriteError::Unknown)?,
        };
        if page.spoilt {
            warn!(client_order_id = %id, "an order's state is not kept, its record cannot be read");
            self.done(id, news.version);
            return Ok(());
        }
        if self.is_in_the_desks_hands(&page) {
            self.told.pending().postpone(id, Instant::now() + LOOK_AGAIN);
            return Ok(());
        }
        if trial::planted(Bug::ElsewhereIsIgnored) && page.record.is_none() {
            self.done(id, news.version);
            return Ok(());
        }
        let known = page.record.as_ref().and_then(|record| record.order.clone());
        let order = match known.clone() {
            Some(known) => latest(known, news.order, news.corrects),
            None => news.order,
        };
        let is_over = order.status.is_terminal();
        let mut revision = page.revision;
        let mut record = page.record.unwrap_or_else(|| OrderRecord {
            client_order_id: id.clone(),
            state: RecordState::External,
            order: None,
            cancel_mark: None,
            epoch: 0,
        });
        if known.as_deref() != Some(&*order) {
            record.order = Some(order);
            record.epoch = self.lease.epoch();
            trial::at(Point::StateWriting, id.as_str());
            revision = self.ledger.write(&record, revision).await?;
            trial::at(Point::StateWritten, id.as_str());
        }
        if !is_over {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            let page = Page {
                record: Some(record),
                revision,
                spoilt: false,
            };
            self.known.insert(id.clone(), page);
        }
        self.done(id, news.version);
        Ok(())
    }

    fn is_in_the_desks_hands(&self, page: &Page) -> bool {
        match page.record.as_ref().map(|record| &record.state) {
            Some(RecordState::Intent(intent)) => {
                let age = self.clock.now().duration_since(intent.at);
                (SignedDuration::ZERO..LEFT_TO_DESK).contains(&age)
            }
            Some(RecordState::Settled(..) | RecordState::CancelMark | RecordState::External) | None => false,
        }
    }

    fn done(&self, id: &ClientOrderId, version: u64) {
        self.told.pending().written(id, version);
        self.told.room.notify_waiters();
    }
}

fn latest(known: Arc<Order>, told: Arc<Order>, corrects: bool) -> Arc<Order> {
    if corrects {
        known.corrected_by(told)
    } else {
        known.or_later(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OrderStatus;

    fn id(text: &str) -> ClientOrderId {
        ClientOrderId::parse(text).unwrap()
    }

    fn order(id: &str, status: &str, filled: i64) -> Order {
        Order {
            status: OrderStatus::from_venue(status),
            filled_qty: filled.into(),
            ..Order::refused(id, None, Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn of_an_order_only_the_latest_is_written_and_nothing_told_meanwhile_is_lost() {
        let mut pending = Pending::default();
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        assert!(pending.tell(&id("a"), &order("a", "new", 0), early, false));
        assert!(pending.tell(&id("a"), &order("a", "partially_filled", 2), late, false));
        assert!(
            pending.tell(&id("a"), &order("a", "new", 0), late, false),
            "told again"
        );
        let news = pending.news(&id("a")).unwrap();
        assert_eq!((news.order.filled_qty, news.at), (2.into(), early));
        pending.tell(&id("a"), &order("a", "filled", 5), late, false);
        pending.written(&id("a"), news.version);
        let news = pending.news(&id("a")).unwrap();
        assert_eq!(news.order.status, OrderStatus::Filled);
        pending.written(&id("a"), news.version);
        assert_eq!((pending.news(&id("a")), pending.first()), (None, None));
    }

    #[test]
    fn what_waits_is_bounded_and_what_waits_already_is_renewed() {
        let mut pending = Pending::default();
        for number in 0..TOLD_MAX {
            let name = number.to_string();
            assert!(pending.tell(&id(&name), &order(&name, "new", 0), Timestamp::MIN, false));
        }
        assert!(!pending.tell(&id("more"), &order("more", "new", 0), Timestamp::MIN, false));
        assert!(pending.tell(&id("0"), &order("0", "canceled", 0), Timestamp::MIN, false));
        pending.written(&id("1"), 0);
        assert!(pending.tell(&id("more"), &order("more", "new", 0), Timestamp::MIN, false));
    }

    #[test]
    fn what_is_postponed_waits_behind_what_is_due() {
        let mut pending = Pending::default();
        pending.tell(&id("a"), &order("a", "new", 0), Timestamp::MIN, false);
        pending.tell(&id("b"), &order("b", "new", 0), Timestamp::MIN, false);
        pending.postpone(&id("a"), Instant::now() + LOOK_AGAIN);
        assert_eq!(pending.first().unwrap().1, id("b"));
        assert_eq!(pending.due.len(), 2);
    }

    #[test]
    fn a_correction_takes_back_a_quantity_and_revives_nothing() {
        let corrected = latest(
            Arc::new(order("a", "filled", 5)),
            Arc::new(order("a", "partially_filled", 3)),
            true,
        );
        assert_eq!(corrected.filled_qty, 3.into());
        assert_eq!(corrected.status, OrderStatus::Filled);
    }
}
