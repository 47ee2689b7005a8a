//! A command that creates an order, while it is in hand: what is wanted, where it came from, what is sent for it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::bus::Delivery;
use crate::domain::record::{Asked, Intent, PayloadHash};
use crate::domain::{
    ClientOrderId, CloseSize, CommandId, CommandKind, NewOrder, OrderId, Outcome, Placement, ReplaceOrder,
    Symbol,
};
use crate::trial::{self, Bug};

/// What a command wants to be made under its id.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// This very order.
    Order(Box<NewOrder>),
    /// Whatever takes the place of another order.
    Replace(Box<ReplaceOrder>),
    /// Whatever closes one position.
    Close {
        symbol: Symbol,
        size: CloseSize,
        cancel_orders: bool,
    },
    /// One order per position, each under an id of its own.
    CloseAll { size: CloseSize, cancel_orders: bool },
}

impl Work {
    pub(super) const fn kind(&self) -> CommandKind {
        match self {
            Self::Order(_) => CommandKind::Order,
            Self::Replace(_) => CommandKind::Replace,
            Self::Close { .. } | Self::CloseAll { .. } => CommandKind::Close,
        }
    }

    /// Whether what comes of it can only make a position smaller.
    pub(super) const fn reduces(&self) -> bool {
        match self {
            Self::Order(_) | Self::Replace(_) => false,
            Self::Close { .. } | Self::CloseAll { .. } => true,
        }
    }
}

/// Where a command came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) id: CommandId,
    pub(super) stored_at: Timestamp,
    pub(super) delivered: u64,
    pub(super) fresh: bool,
}

impl Origin {
    pub(super) fn of(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id,
            stored_at: delivery.stored_at,
            delivered: delivery.delivered,
            fresh: delivery.fresh,
        }
    }
}

impl Origin {
    /// Something like it may be at the venue: that is asked before anything is sent.
    pub(super) fn distrust(&mut self) {
        self.fresh = false;
    }
}

/// One command while it is in hand.
pub(super) struct OrderInHand {
    pub(super) origin: Origin,
    pub(super) id: ClientOrderId,
    pub(super) work: Work,
    pub(super) hash: PayloadHash,
    pub(super) deadline: Option<Timestamp>,
    pub(super) attempts: u32,
    /// What is sent for it, once that is known.
    pub(super) asked: Option<Asked>,
    /// Its outcome, once that is in the journal.
    pub(super) told: Option<Box<Outcome>>,
    /// Until when a venue that is not ready for a replace is asked again, and how soon.
    patience: Option<(Instant, Backoff)>,
}

impl OrderInHand {
    pub(super) fn new(
        origin: Origin,
        id: ClientOrderId,
        work: Work,
        hash: PayloadHash,
        deadline: Option<Timestamp>,
    ) -> Self {
        let asked = match &work {
            Work::Order(order) => Some(Asked::Placement(Box::new(Placement::New(order.as_ref().clone())))),
            Work::Replace(_) | Work::Close { .. } | Work::CloseAll { .. } => None,
        };
        Self {
            origin,
            id,
            work,
            hash,
            deadline,
            attempts: 0,
            asked,
            told: None,
            patience: None,
        }
    }

    pub(super) fn placement(&self) -> Option<&Placement> {
        match self.asked.as_ref()? {
            Asked::Placement(placement) => Some(placement),
            Asked::PerSymbol(_) => None,
        }
    }

    /// Which order at the venue is replaced, once that is known.
    pub(super) fn replaces(&self) -> Option<OrderId> {
        match self.placement()? {
            Placement::Replacement(replacement) => Some(replacement.replaces),
            Placement::New(_) => None,
        }
    }

    /// Until when the venue is asked again, counted from when that is asked first, and how soon.
    pub(super) fn patience(&mut self, span: Duration, pauses: (Duration, Duration)) -> (Instant, Duration) {
        let (until, backoff) = self
            .patience
            .get_or_insert_with(|| (Instant::now() + span, Backoff::between(pauses.0, pauses.1)));
        (*until, backoff.next_delay())
    }

    /// The order that is sent, if it is a new one.
    pub(super) fn asked_order(&self) -> Option<&NewOrder> {
        match self.placement()? {
            Placement::New(order) => Some(order),
            Placement::Replacement(_) => None,
        }
    }

    /// Whether nobody can have begun it, so that its first write finds out as well as a read would whether its id is new.
    pub(super) fn is_first(&self) -> bool {
        self.origin.fresh && self.origin.delivered == 1 && matches!(self.work, Work::Order(_))
    }

    /// Goes on from an intent: what stands there is what was sent.
    pub(super) fn resume(&mut self, intent: &Intent) {
        self.attempts = intent.attempts.max(1);
        if !matches!(self.work, Work::Order(_)) && !trial::planted(Bug::CloseIsComputedAnew) {
            self.asked.clone_from(&intent.asked);
        }
    }
}
