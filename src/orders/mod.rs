//! The desk for commands: from a delivery in hand to its one terminal outcome.
//!
//! ```text
//!   intake ──► read ──► lane (per symbol) ──► ledger: intent ──► gate ──► POST ──► classify
//!                                                │                                   │ unknown
//!                 same id again: the recorded    │                                   ▼
//!                 outcome, nothing sent          │                                resolve (ask by client id)
//!                                                ▼                                   │
//!                                             settle: outcome in ledger ◄────────────┘
//!                                                     outcome in journal, awaited
//!                                                     ack, confirmed
//! ```
//!
//! Invariants:
//!
//! - An intent is in the ledger before the first byte of a POST is written.
//! - At most one POST per client order id is on the wire, and there is no second one before the venue was asked.
//! - Deadline, mode and conditions are judged after every wait, in the same instant the POST begins.
//! - A delivery is acked only when its outcome is stored; until then it comes back, and replays into the same end.
//! - Orders that share a symbol begin in the order of the stream. Only cancels overtake.
//!
//! Deliberately absent: limits on deliveries (each attempt is judged by the command's deadline, not counted), and
//! any state that only this process has: kill it anywhere, and ledger, stream and venue tell the next one enough.

mod board;
mod cancel;
mod close;
mod dealer;
mod desk;
mod doubts;
mod gate;
mod in_hand;
mod intake;
mod lanes;
mod place;
mod replace;
mod resolve;
mod settle;
mod step;
mod submit;
mod symbols;
#[cfg(test)]
mod tests;
mod trouble;
mod venue;
mod writing;

pub use board::{Awaited, Board};
pub use desk::{CancelDesk, Desk, Policy};
pub use intake::{Intake, Taken};
pub use venue::Venue;
