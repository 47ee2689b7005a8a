//! Notices a stream that has gone mute: one that is open, answers pings and tells nothing, or not everything.
//!
//! Silence is not calm. Every quarter of a minute the venue is asked what it shows; what it shows and did not tell is
//! given a moment to arrive, and then it was missed. Seen alone, never published: that is the back-fill's to do.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::backfill::{self, Memory};
use super::sequence::Sequence;
use super::venue::{Trouble, Venue};
use crate::domain::{Order, OrderId};

/// Pause between two looks: two requests each, 8 of the 200 a minute. With [`GRACE`] and the reads a mute stream is found
/// in less than half a minute.
const EVERY: Duration = Duration::from_secs(15);

/// How long the stream may be behind what REST shows.
const GRACE: Duration = Duration::from_secs(2);

/// How far before the watermark a look begins. What is older was told, or is open and listed for that.
const BACK: SignedDuration = SignedDuration::from_mins(1);

/// Orders that are known to be listed nowhere although nothing ended them. More of them are not remembered.
const ODD_MAX: usize = 1000;

/// What the venue showed.
#[derive(Debug)]
pub(super) struct Glance {
    memory: Memory,
    /// Orders that were told to live before the venue was asked.
    lived: Vec<OrderId>,
}

impl Glance {
    /// Orders as the venue shows them.
    pub(super) fn orders(&self) -> &[Order] {
        &self.memory.orders
    }

    /// Orders of which the venue shows more than it told.
    pub(super) fn untold(&self, sequence: &Sequence, now: Timestamp) -> Vec<OrderId> {
        let untold = self.memory.untold(sequence, now);
        let mut ids: HashSet<_> = untold.into_iter().filter_map(|report| report.order.id).collect();
        let listed: HashSet<_> = self.memory.orders.iter().filter_map(|order| order.id).collect();
        let gone = self.lived.iter().filter(|id| !listed.contains(id));
        ids.extend(gone.filter(|id| sequence.lives(**id)));
        ids.into_iter().collect()
    }
}

/// Asks the venue what it shows of orders that may have moved since the watermark.
async fn look<V: Venue>(venue: &V, watermark: Timestamp, lived: Vec<OrderId>) -> Result<Glance, Trouble> {
    let since = watermark.saturating_sub(BACK).unwrap_or(Timestamp::MIN);
    let mut orders = venue.orders_since(since).await?;
    orders.extend(venue.open_orders().await?);
    let memory = Memory {
        orders: backfill::latest(orders),
        fills: Vec::new(), // the orders say how much of them is filled
        since,
    };
    Ok(Glance { memory, lived })
}

type Looking<'a> = Pin<Box<dyn Future<Output = Result<Glance, Trouble>> + Send + 'a>>;

/// What to do next about it.
#[derive(Debug)]
pub(super) enum Watch {
    /// It is time to look.
    Look,
    /// This was seen.
    Seen(Result<Glance, Trouble>),
    /// What was seen had its time to be told.
    Judge(Glance),
}

/// When to look, and what is seen.
pub(super) struct Lookout<'a> {
    plan: Plan<'a>,
    odd: HashSet<OrderId>,
}

enum Plan<'a> {
    LookAt(Instant),
    Looking(Looking<'a>),
    JudgeAt(Instant, Option<Glance>),
}

impl<'a> Lookout<'a> {
    pub(super) fn new() -> Self {
        Self {
            plan: Plan::LookAt(Instant::now() + EVERY),
            odd: HashSet::new(),
        }
    }

    /// Waits for what comes next. Cancel-safe: a look that is under way stays here.
    pub(super) async fn next(&mut self) -> Watch {
        match &mut self.plan {
            Plan::LookAt(at) => {
                sleep_until(*at).await;
                self.later();
                Watch::Look
            }
            Plan::Looking(looking) => {
                let seen = looking.await;
                self.later();
                Watch::Seen(seen)
            }
            Plan::JudgeAt(at, glance) => {
                sleep_until(*at).await;
                let glance = glance.take();
                self.later();
                glance.map_or(Watch::Look, Watch::Judge)
            }
        }
    }

    /// Looks, beside whatever else is done.
    pub(super) fn look<V: Venue>(&mut self, venue: &'a V, watermark: Timestamp, lived: Vec<OrderId>) {
        self.plan = Plan::Looking(Box::pin(look(venue, watermark, lived)));
    }

    /// Gives the stream a moment to tell what was seen.
    pub(super) fn wait(&mut self, glance: Glance) {
        self.plan = Plan::JudgeAt(Instant::now() + GRACE, Some(glance));
    }

    /// Nothing is amiss for now.
    fn later(&mut self) {
        self.plan = Plan::LookAt(Instant::now() + EVERY);
    }

    /// Leaves out what is known to look untold and not to be.
    pub(super) fn without_odd(&self, mut ids: Vec<OrderId>) -> Vec<OrderId> {
        ids.retain(|id| !self.odd.contains(id));
        ids
    }

    /// A new stream tells anew, and what was odd may not be any more.
    pub(super) fn forget_odd(&mut self) {
        self.odd.clear();
    }

    /// Notes orders that looked untold and were not: which orders the venue lists as open is not documented to the last
    /// status.
    pub(super) fn are_odd(&mut self, ids: Vec<OrderId>) {
        if self.odd.len() + ids.len() > ODD_MAX {
            self.odd.clear();
        }
        self.odd.extend(ids);
    }
}
