//! Market data for everyone on the bus: one connection for each class of data, fanned out on subjects.
//!
//! ```text
//!   venue ──► feed (one per class: connect, subscribe, read, notice silence) ──► outbox ──► relay ──► NATS
//!                └─ after a gap: back-fill of minute bars over REST ─────────────┘           └─► last values
//! ```
//!
//! Beside it, the history desk answers questions for bars of the past.
//!
//! Invariants:
//!
//! - The reader of a socket never waits for NATS. What NATS is too slow for stays in the outbox: of quotes the newest per
//!   symbol, of everything else up to a bound. What is left out is counted.
//! - Nothing is subscribed to but what is wanted now, also after a reconnect; what the venue refuses is told and not asked for
//!   again until it is wanted anew.
//! - Everything here runs on a thread and a connection of its own: the heaviest feed delays no order.

mod feed;
mod gaps;
mod history;
mod interest;
mod last;
mod outbox;
mod recovery;
mod relay;
mod switchboard;

pub use feed::{Feed, FeedStatus, Pulse};
pub use gaps::Gaps;
pub use history::HistoryDesk;
pub use interest::follow;
pub use outbox::{Outbox, Parcel};
pub use recovery::{Gap, GapSource, Recovery};
pub use relay::Relay;
pub use switchboard::{Switchboard, WishError};
