//! The half that publishes: catches up after each gap, then passes on what is heard, and keeps the watermark.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::try_join;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backfill::{self, Memory};
use super::ear::Said;
use super::lookout::{Glance, Lookout, Watch};
use super::sequence::{Sequence, Verdict};
use super::sight::Sight;
use super::venue::{Store, Trouble, Venue};
use super::watermark::{KEY, Watermark};
use crate::alpaca::stream::Heard;
use crate::backoff::{Backoff, Reason};
use crate::blotter::Blotter;
use crate::bus::Told;
use crate::bus::journal::until_stored;
use crate::clock::Clock;
use crate::domain::{ExecutionReport, Order, OrderId};
use crate::ledger::OrderStatesHandle;
use crate::positions::PositionsHandle;
use crate::telemetry::metrics;
use crate::trial::{self, Bug, Point};

/// The watermark is written at most so often. What it trails behind is read again after a crash, and collapses.
const WATERMARK_EVERY: Duration = Duration::from_secs(1);

/// Shortest time from a back-fill to the next for the sake of something unreadable, so that a venue that talks
/// gibberish costs no more than this.
const CATCH_UP_EVERY: Duration = Duration::from_secs(5);

/// Shortest and longest pause between two attempts to close a gap. Orders may be waiting for it.
const CATCH_UP_PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How far the venue's clock may be ahead of ours and be believed.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(1);

/// How often, and how far apart, fills are asked for again when the orders say that there must be more of them.
const LAGGING_FILLS_TRIES: usize = 3;
const LAGGING_FILLS_PAUSE: Duration = Duration::from_secs(1);

/// Who else is to know.
#[derive(Clone, Copy)]
pub(super) struct Listeners<'a> {
    /// Of fills.
    pub(super) positions: Option<&'a PositionsHandle>,
    /// Of every order.
    pub(super) order_states: Option<&'a OrderStatesHandle>,
    /// Of every order and every fill, without a wait.
    pub(super) blotter: Option<&'a Blotter>,
}

impl Listeners<'_> {
    async fn tell_of(&self, order: &Order, at: Timestamp, corrects: bool) {
        if let Some(blotter) = self.blotter {
            blotter.tell(order, corrects);
        }
        if let Some(states) = self.order_states {
            states.tell(order, at, corrects).await;
        }
    }

    fn all_told(&self, at: Timestamp) {
        if let Some(blotter) = self.blotter {
            blotter.is_as_of(at);
        }
    }

    fn tell_of_fill(&self, report: &ExecutionReport) {
        if let Some(blotter) = self.blotter {
            blotter.tell_fill(report);
        }
        if let Some(positions) = self.positions {
            positions.filled(report);
        }
    }
}

/// The half that publishes.
pub(super) struct Relay<'a, V, S> {
    venue: &'a V,
    store: &'a S,
    sight: &'a Sight,
    clock: &'a Clock,
    listeners: Listeners<'a>,
    sequence: Sequence,
    /// How far we have come; unknown until the bucket was read.
    watermark: Option<Timestamp>,
    watermark_is_written: bool,
    watermark_due: Instant,
    /// Orders the venue made later than this, by its clock, can have been told of by nobody but us, and what we told of
    /// them we know.
    ours_since: Option<Timestamp>,
    /// How many orders were forgotten when that was last looked at.
    forgotten: u64,
    /// The stream that is heard, as far as the queue was read.
    stream: u64,
    caught_up: bool,
    caught_up_at: Option<Instant>,
    /// Something was missed that a back-fill may find.
    catch_up_due: Option<Instant>,
    /// Heard and not published, because what came before it is not known.
    left: usize,
    /// Events published.
    published: u64,
    lookout: Lookout<'a>,
    /// When the venue was last asked what it shows.
    looked_at: Timestamp,
}

enum Event {
    Said(Said),
    WatermarkDue,
    CatchUpDue,
    Watch(Watch),
    End,
}

impl<'a, V: Venue, S: Store> Relay<'a, V, S> {
    pub(super) fn new(
        venue: &'a V,
        store: &'a S,
        sight: &'a Sight,
        clock: &'a Clock,
        listeners: Listeners<'a>,
    ) -> Self {
        Self {
            venue,
            store,
            sight,
            clock,
            listeners,
            sequence: Sequence::default(),
            watermark: None,
            watermark_is_written: true,
            watermark_due: Instant::now(),
            ours_since: None,
            forgotten: 0,
            stream: 0,
            caught_up: false,
            caught_up_at: None,
            catch_up_due: None,
            left: 0,
            published: 0,
            lookout: Lookout::new(),
            looked_at: Timestamp::MIN,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self, mut said: mpsc::Receiver<Said>, stop: &CancellationToken) {
        loop {
            match self.next_event(&mut said).await {
                Event::Said(Said::Listening(stream)) => {
                    self.stream = stream;
                    self.lookout.forget_odd();
                    self.catch_up(stop).await;
                }
                Event::Said(Said::Heard(Heard::Report(report))) => self.hear(&report, stop).await,
                Event::Said(Said::Heard(Heard::Unreadable { .. })) => {
                    if !trial::planted(Bug::UnreadableIsPassedOver) {
                        self.want_to_catch_up();
                    }
                }
                Event::CatchUpDue => {
                    self.sight.missing("something the venue said could not be read");
                    self.caught_up &= !trial::planted(Bug::HeardBeforeMissed);
                    self.catch_up(stop).await;
                }
                Event::WatermarkDue => self.write_watermark().await,
                Event::Watch(watch) => self.watch(watch, stop).await,
                Event::End => break,
            }
        }
        if self.left > 0 {
            warn!(
                self.left,
                "stopped before the gap was closed; the next start reads it again"
            );
        }
        if !self.watermark_is_written {
            self.write_watermark().await;
        }
    }

    /// Only waits. Losing any branch loses nothing.
    async fn next_event(&mut self, said: &mut mpsc::Receiver<Said>) -> Event {
        let never = Instant::now() + Duration::from_secs(24 * 3600);
        let watermark_due = if self.watermark_is_written {
            never
        } else {
            self.watermark_due
        };
        tokio::select! {
            biased;
            () = sleep_until(watermark_due) => Event::WatermarkDue, // cancel-safe: level-triggered
            () = sleep_until(self.catch_up_due.unwrap_or(never)) => Event::CatchUpDue, // cancel-safe: level-triggered
            next = said.recv() => next.map_or(Event::End, Event::Said), // cancel-safe: docs
            // Last: what was heard is told before anything is said to be untold.
            watch = self.lookout.next() => Event::Watch(watch), // cancel-safe: see there
        }
    }

    /// Passes on what was heard. Waits for NATS for as long as it takes: meanwhile the queue fills, and then the
    /// socket is no longer read. Whoever stops the daemon bounds it; what is lost then is read again at the next
    /// start, for the watermark has not passed it.
    async fn hear(&mut self, report: &ExecutionReport, stop: &CancellationToken) {
        trial::at(Point::FeedHeard, &report.order.client_order_id);
        if trial::planted(Bug::CursorBeforePublish) {
            self.advance(report.timestamp);
            self.write_watermark().await;
        }
        if self.caught_up {
            self.read_back(report).await;
        }
        if self.caught_up && self.sequence.leaves_gap(report) {
            warn!(order = report.order.client_order_id, "a fill was not heard");
            self.sight.missing("a fill was not heard");
            self.catch_up(stop).await;
        }
        if !self.caught_up {
            self.left += 1; // out of turn; the back-fill of the next start tells it in turn
            return;
        }
        self.publish(report).await;
        self.listeners.all_told(report.at);
        trial::at(Point::FeedTold, &report.order.client_order_id);
        self.advance(report.timestamp);
    }

    async fn publish(&mut self, report: &ExecutionReport) {
        let Some(order) = report.order.id else {
            return warn!(
                event = report.event,
                "an event of an order the venue has not named"
            );
        };
        let mut backoff = Backoff::new(Reason::Nats);
        loop {
            match self.sequence.judge(report) {
                Verdict::News => {}
                Verdict::Repeat => {
                    debug!(identity = report.identity(), "an order event was told before");
                    return metrics::update_dropped("repeat");
                }
                Verdict::Replay => {
                    debug!(identity = report.identity(), "an event of an order that is over");
                    return metrics::update_dropped("replay");
                }
            }
            let Some(last) = self.sequence.last_stored(order) else {
                self.read_back(report).await;
                continue;
            };
            trial::at(Point::FeedJudged, &report.order.client_order_id);
            let stored = until_stored("order event", |_| {}, || self.store.publish(report, last)).await;
            if let Some(sequence) = stored {
                trial::at(Point::FeedStored, &report.order.client_order_id);
                self.sequence.note(report);
                self.sequence.note_last(order, Some(sequence));
                break;
            }
            // Somebody else wrote there, or the journal is another one now.
            self.sequence.note_last(order, None);
            sleep(backoff.next_delay()).await;
            self.read_journal(order, report).await;
        }
        self.published += 1;
        metrics::update_published(report.recovered);
        if report.is_fill() {
            self.listeners.tell_of_fill(report);
        }
        self.listeners
            .tell_of(&report.order, report.timestamp, report.is_correction())
            .await;
    }

    /// Reads what the journal has of an order before its first event in this process: what was told longer ago than
    /// the stream remembers message ids would be told again, and nobody else would notice.
    async fn read_back(&mut self, report: &ExecutionReport) {
        let Some(order) = report.order.id else { return };
        if self.sequence.last_stored(order).is_some() {
            return;
        }
        // Nothing is to be found, and the journal takes the event as the order's first one or not at all.
        if self.is_new(&report.order) {
            return self.sequence.note_last(order, Some(0));
        }
        self.read_journal(order, report).await;
    }

    async fn read_journal(&mut self, order: OrderId, report: &ExecutionReport) {
        let id = &report.order.client_order_id;
        let told = until_stored("what is told of an order", |_| {}, || self.store.published(id)).await;
        self.note_stored(order, &told);
    }

    /// Whether an order is one nobody else can have told of, and nothing was told of it here.
    fn is_new(&mut self, order: &Order) -> bool {
        let Some(ours_since) = &mut self.ours_since else {
            return false;
        };
        // What was forgotten meanwhile was made before what was told last.
        if self.forgotten != self.sequence.forgotten() {
            self.forgotten = self.sequence.forgotten();
            *ours_since = (*ours_since).max(self.watermark.unwrap_or(Timestamp::MAX));
        }
        order
            .created_at
            .is_some_and(|created_at| created_at > *ours_since)
    }

    /// Notes what the journal has of an order.
    fn note_stored(&mut self, id: OrderId, told: &Told) {
        for report in &told.reports {
            self.sequence.note(report);
        }
        self.sequence.note_last(id, Some(told.last));
    }

    fn advance(&mut self, to: Timestamp) {
        // A date from the future would carry the watermark past gaps that are yet to come. Where it is our clock that is
        // slow, the watermark only trails behind, and more is read again.
        let to = to.min(
            self.clock
                .now()
                .saturating_add(AHEAD_MAX)
                .unwrap_or(Timestamp::MAX),
        );
        self.watermark = self.watermark.max(Some(to));
        if self.watermark_is_written {
            self.watermark_is_written = false;
            self.watermark_due = self.watermark_due.max(Instant::now());
        }
    }

    async fn write_watermark(&mut self) {
        self.watermark_due = Instant::now() + WATERMARK_EVERY;
        let Some(mut at) = self.watermark else { return };
        if let Some(unwritten) = self
            .listeners
            .order_states
            .and_then(OrderStatesHandle::unwritten_since)
        {
            at = at.min(unwritten);
        }
        let live = self.sequence.live().collect();
        trial::at(Point::FeedMarking, KEY);
        match self.store.set_watermark(Watermark { at, live }.write()).await {
            Ok(()) => {
                trial::at(Point::FeedMarked, KEY);
                self.watermark_is_written = true;
            }
            Err(trouble) => debug!(%trouble, "the watermark is not written, trying again"),
        }
    }

    fn want_to_catch_up(&mut self) {
        let earliest = self.caught_up_at.map(|at| at + CATCH_UP_EVERY);
        let now = Instant::now();
        self.catch_up_due
            .get_or_insert(earliest.map_or(now, |at| at.max(now)));
    }

    /// Publishes what was missed, trying until it is done or it is time to stop. Until then we are blind.
    async fn catch_up(&mut self, stop: &CancellationToken) {
        if trial::planted(Bug::NoBackFill) && self.watermark.is_some() {
            return self.sight.caught_up(self.stream);
        }
        if trial::planted(Bug::HeardBeforeMissed) && self.caught_up {
            self.want_to_catch_up();
            return self.sight.caught_up(self.stream);
        }
        self.caught_up = false;
        self.catch_up_due = None;
        let mut backoff = Backoff::between(CATCH_UP_PAUSES.0, CATCH_UP_PAUSES.1);
        loop {
            // cancel-safe: what is stored is noted after it is stored, and the watermark moves last
            let Some(tried) = stop.run_until_cancelled(self.try_to_catch_up()).await else {
                return;
            };
            let Err(trouble) = tried else { break };
            warn!(%trouble, "the gap in the trade updates is not closed, trying again");
            self.sight
                .missing(&format!("catching up with the venue: {trouble}"));
            let pause = backoff.next_delay().max(trouble.retry_after.unwrap_or_default());
            // cancel-safe: nothing but time passes
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
        self.caught_up = true;
        self.caught_up_at = Some(Instant::now());
        self.sight.caught_up(self.stream);
    }

    /// Compares what the venue shows with what it told.
    async fn watch(&mut self, watch: Watch, stop: &CancellationToken) {
        let Some(watermark) = self.watermark.filter(|_| self.caught_up) else {
            return;
        };
        if trial::planted(Bug::SilenceIsCalm) {
            return;
        }
        match watch {
            Watch::Look => {
                let lived = self.sequence.live().map(|(id, _)| id).collect();
                self.looked_at = self.clock.now();
                self.lookout.look(self.venue, watermark, lived);
            }
            Watch::Seen(Err(trouble)) => debug!(%trouble, "the stream is not compared with the venue"),
            Watch::Seen(Ok(glance)) => {
                // Of some changes no event tells, and of none that was lost.
                for order in glance.orders() {
                    self.listeners.tell_of(order, watermark, false).await;
                }
                self.listeners.all_told(self.looked_at);
                // Somebody may have emptied the bucket.
                self.watermark_is_written = false;
                if !self.untold(&glance).is_empty() {
                    self.lookout.wait(glance);
                }
            }
            Watch::Judge(glance) => self.judge(&glance, stop).await,
        }
    }

    fn untold(&self, glance: &Glance) -> Vec<OrderId> {
        let untold = glance.untold(&self.sequence, self.clock.now());
        self.lookout.without_odd(untold)
    }

    /// What is untold now was missed. A stream that misses something is given up.
    async fn judge(&mut self, glance: &Glance, stop: &CancellationToken) {
        let untold = self.untold(glance);
        if untold.is_empty() {
            return;
        }
        self.sight.missing("the venue did more than its stream told");
        let published = self.published;
        self.catch_up(stop).await;
        if self.published > published {
            let events = self.published - published;
            warn!(events, "the stream was mute, connecting again");
            metrics::stream_mute();
            self.sight.give_up(self.stream);
        } else {
            debug!(orders = untold.len(), "what looked untold was told");
            self.lookout.are_odd(untold);
        }
    }

    async fn try_to_catch_up(&mut self) -> Result<(), Trouble> {
        // By the venue's clock, and before the reads: what happens during them is read again next time.
        let asked_at = self.clock.now();
        let began = self.venue.now().await?;
        if self.watermark.is_none() && !self.recall().await? {
            self.begin(began).await?;
            self.listeners.all_told(asked_at);
            self.is_ours_from(began);
            return Ok(());
        }
        let memory = self.remember().await?;
        trial::at(Point::FeedRemembered, KEY);
        let now = self.clock.now();
        for (id, client_order_id) in with_news(&memory, &self.sequence, now) {
            let told = self.store.published(&client_order_id).await?;
            self.note_stored(id, &told);
        }
        let untold = memory.untold(&self.sequence, now);
        if !untold.is_empty() {
            info!(events = untold.len(), since = %memory.since, "publishing what was missed");
        }
        for report in &untold {
            self.publish(report).await;
        }
        for order in &memory.orders {
            self.sequence.settle(order);
            // Also of those with no news: a process before us may have died before it was written.
            self.listeners.tell_of(order, began, false).await;
        }
        trial::at(Point::FeedCaughtUp, KEY);
        self.listeners.all_told(asked_at);
        self.advance(began);
        self.is_ours_from(began);
        Ok(())
    }

    /// What the venue makes from now on nobody has told of. Its clock and its orders' stamps may differ a little.
    fn is_ours_from(&mut self, began: Timestamp) {
        let later = began
            .saturating_add(SignedDuration::from_secs(1))
            .unwrap_or(Timestamp::MAX);
        self.ours_since.get_or_insert(later);
    }

    /// Reads the watermark. False when there is none: this account is new to us.
    async fn recall(&mut self) -> Result<bool, Trouble> {
        let Some(value) = self.store.watermark().await? else {
            // No first start where events were published: somebody emptied the bucket.
            let Some(at) = self.store.last_published_at().await? else {
                return Ok(false);
            };
            warn!(%at, "the watermark is gone, going on from the last event in the journal");
            self.advance(at);
            return Ok(true);
        };
        let Some(watermark) = Watermark::read(&value) else {
            // Not a first start: something was missed since, and how much is not known. A person must decide.
            return Err(Trouble::new(format!(
                "the watermark cannot be read; delete the key {KEY:?} to go on from the last event in the journal"
            )));
        };
        for (id, filled) in watermark.live {
            self.sequence.remember(id, filled);
        }
        self.watermark = Some(watermark.at);
        Ok(true)
    }

    /// The first start: what is, is old.
    async fn begin(&mut self, now: Timestamp) -> Result<(), Trouble> {
        // Also what a look or a back-fill with its overlap would show of the time before.
        let since = Watermark {
            at: now,
            live: Vec::new(),
        }
        .since();
        let (old, open) = try_join(self.venue.orders_since(since), self.venue.open_orders()).await?;
        for order in old.iter().chain(&open) {
            self.sequence.settle(order);
            self.listeners.tell_of(order, now, false).await;
        }
        let live = self.sequence.live().collect();
        let watermark = Watermark { at: now, live };
        // Before anything is published: a start that dies here must not be a first start again.
        self.store.set_watermark(watermark.write()).await?;
        info!(open_orders = open.len(), at = %now, "no watermark, the drop copy begins now");
        self.watermark = Some(now);
        Ok(())
    }

    /// Asks the venue what it remembers since the watermark.
    async fn remember(&mut self) -> Result<Memory, Trouble> {
        let at = self.watermark.unwrap_or(Timestamp::MIN);
        let since = Watermark { at, live: Vec::new() }.since();
        let (mut orders, open) = try_join(self.venue.orders_since(since), self.venue.open_orders()).await?;
        orders.extend(open);
        // Fills after orders, so that no order is ahead of its fills but by the venue's own delay.
        let fills = self.venue.fills_since(since).await?;
        let mut memory = Memory {
            orders: backfill::latest(orders),
            fills,
            since,
        };
        for id in self.ended(&memory) {
            match self.venue.order(id).await? {
                Some(order) => memory.orders.push(order),
                None => {
                    warn!(order_id = %id, "the venue no longer knows an order");
                    self.sequence.forget(id);
                }
            }
        }
        for _ in 0..LAGGING_FILLS_TRIES {
            if !memory.fills_lag(&self.sequence) {
                break;
            }
            sleep(LAGGING_FILLS_PAUSE).await;
            memory.fills = self.venue.fills_since(since).await?;
        }
        Ok(memory)
    }

    /// Orders to be asked for by id: those that lived and are listed nowhere, and those only a fill names.
    fn ended(&self, memory: &Memory) -> Vec<OrderId> {
        let mut wanted = memory.orders_wanted();
        let listed: HashSet<_> = memory.orders.iter().filter_map(|order| order.id).collect();
        let live = self.sequence.live().map(|(id, _)| id);
        wanted.extend(live.filter(|id| !listed.contains(id)));
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}

/// The orders of which something seems untold: whether it is, the journal knows.
fn with_news(memory: &Memory, sequence: &Sequence, now: Timestamp) -> Vec<(OrderId, String)> {
    let untold = memory.untold(sequence, now);
    let mut ids: Vec<_> = untold
        .into_iter()
        .filter_map(|report| {
            let Order {
                id, client_order_id, ..
            } = report.order;
            Some((id?, client_order_id))
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
