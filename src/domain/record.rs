//! The ledger's record of one client order id: what we are about to do, and what came of it.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ClientOrderId, CommandId, CommandKind, Order, OrderId, Outcome, Placement, Symbol};

/// SHA-256 of what a command asks for. Tells a repeat from a conflict.
pub type PayloadHash = [u8; 32];

/// Everything known of one client order id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRecord {
    /// The key.
    pub client_order_id: ClientOrderId,
    /// How far it has come.
    pub state: RecordState,
    /// The order as the venue last told of it, whatever came of the command.
    pub order: Option<Arc<Order>>,
    /// A cancel that came before its order.
    pub cancel_mark: Option<CancelMark>,
    /// Epoch of the lease that wrote this.
    pub epoch: u64,
}

impl OrderRecord {
    /// Fingerprint of what was asked, if anything was.
    pub fn hash(&self) -> Option<&PayloadHash> {
        match &self.state {
            RecordState::CancelMark | RecordState::External => None,
            RecordState::Intent(intent) | RecordState::Settled(intent, ..) => Some(&intent.payload_hash),
        }
    }
}

/// How far a recorded order has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// No order yet: a cancel came first.
    CancelMark,
    /// Written before the POST: the venue may or may not have the order.
    Intent(Intent),
    /// The outcome is final, except that [`crate::domain::Verdict::Unresolved`] is watched on.
    Settled(Intent, Box<Outcome>),
    /// No command of ours is known to have made this order: it was placed elsewhere, is an exit the venue made for a
    /// bracket, or our record of it is lost.
    External,
}

/// What we are about to do, written first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What kind of command it serves.
    pub command: CommandKind,
    /// Which command.
    pub id: CommandId,
    /// When the stream stored it.
    pub stored_at: Timestamp,
    /// What the command asks for.
    pub payload_hash: PayloadHash,
    /// What is sent for it: compared with what the venue has, and sent again if the venue never had it.
    pub asked: Option<Asked>,
    /// Not to be sent after this instant.
    pub deadline: Option<Timestamp>,
    /// When this was written.
    pub at: Timestamp,
    /// POSTs begun.
    pub attempts: u32,
    /// The venue's id, once known.
    pub order_id: Option<OrderId>,
}

/// What is sent for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One order under this very id.
    Placement(Box<Placement>),
    /// One order per symbol, each under an id of its own.
    PerSymbol(Vec<Symbol>),
}

/// A cancel that overtook its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelMark {
    /// Which command the cancel was.
    pub id: CommandId,
    /// When the stream stored it.
    pub stored_at: Timestamp,
}

/// How long after a cancel its order may still be stored and yet be canceled by it.
const CANCEL_MARK_REACH: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

impl CancelMark {
    /// Whether this cancel takes down an order: one published before it, or stored shortly after it.
    ///
    /// Anything later was meant to live, and a mark kills nothing later. Sequences compare within one stream only: a
    /// stream that was made anew counts from one again.
    pub fn cancels(&self, order: CommandId, stored_at: Timestamp) -> bool {
        let same_stream = order.stream_created == self.id.stream_created;
        let before = same_stream && order.sequence < self.id.sequence;
        before || stored_at.duration_since(self.stored_at) <= CANCEL_MARK_REACH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_cancels_what_came_before_or_just_after_and_nothing_later() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let command = |stream, sequence| CommandId {
            stream_created: at(stream),
            sequence,
        };
        let mark = CancelMark {
            id: command(1, 10),
            stored_at: at(1000),
        };
        assert!(mark.cancels(command(1, 9), at(900)));
        assert!(mark.cancels(command(1, 11), at(1030)));
        assert!(!mark.cancels(command(1, 11), at(1031)));
        assert!(
            mark.cancels(command(1, 9), at(1031)),
            "published first, whatever the clocks say"
        );
        assert!(
            !mark.cancels(command(2, 3), at(1031)),
            "a new stream counts from one again"
        );
        assert!(mark.cancels(command(2, 3), at(999)));
    }
}
