//! What witnesses saw of the drop copy and the mirrors: the venue, and whoever reads the journal, the ledger and the
//! positions. The daemon is no witness.
//!
//! All times are seconds since the epoch, by the one clock of the machine the trial runs on.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

/// A fill at the venue.
#[derive(Clone, Debug)]
pub(crate) struct VenueFill {
    pub(crate) order_id: String,
    pub(crate) symbol: String,
    /// Negative when sold.
    pub(crate) moved: Decimal,
    /// How much of the order was filled then.
    pub(crate) cum_qty: Decimal,
    pub(crate) at: f64,
}

/// How an order stands at the venue in the end.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) order_id: String,
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) filled: Decimal,
}

/// An order event in the journal.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) order_id: String,
    pub(crate) event: String,
    pub(crate) status: String,
    pub(crate) cum_qty: Decimal,
    pub(crate) recovered: bool,
    /// When the journal stored it.
    pub(crate) stored: f64,
}

/// What the ledger showed of an order at some time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) id: String,
    pub(crate) order_id: String,
    pub(crate) status: String,
    pub(crate) filled: Decimal,
}

/// One revision of the positions.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) as_of: f64,
    /// When a watcher had it.
    pub(crate) seen: f64,
    pub(crate) fresh: bool,
    pub(crate) held: BTreeMap<String, Decimal>,
}

/// Everything the witnesses saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeedHistory {
    pub(crate) fills: Vec<VenueFill>,
    pub(crate) standings: Vec<Standing>,
    /// In the order of the journal.
    pub(crate) updates: Vec<Update>,
    /// Each key of the ledger as it is in the end.
    pub(crate) states: BTreeMap<String, State>,
    /// Every change of a key of the ledger that a watcher saw, in order.
    pub(crate) changes: Vec<State>,
    /// Every revision of the positions that a watcher saw, in order.
    pub(crate) statements: Vec<Statement>,
    /// The positions as they are in the end.
    pub(crate) last: Option<Statement>,
}

/// What a trial may ask for beyond what always holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// Seconds from a fill at the venue to the journal.
    pub(crate) told_within: Option<f64>,
    /// Seconds for which positions may be shown as fresh when they are not the venue's any more.
    pub(crate) wrong_within: Option<f64>,
    /// No event was lost on the way, so none need be recovered.
    pub(crate) nothing_recovered: bool,
    /// States of orders may be missing: the ledger itself was taken away.
    pub(crate) states_may_be_missing: bool,
}
