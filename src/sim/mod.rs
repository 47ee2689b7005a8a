//! A scriptable Alpaca that speaks real HTTP and websocket on loopback, so that the daemon under test is the
//! daemon that trades.
//!
//! Three layers, each ignorant of the one above: [`core`] decides what the venue does and is pure; `api`,
//! `body`, `json` and `route` translate between the venue's wire and the core; `server`, `stream`, `sse` and `tls` own
//! the sockets. `market` is the data side of the venue, streams and history, told from the core's tape; `replay` reads a
//! past for the tape, `clock` is the venue's time, and `driver` lets it pass. A scripted fault ([`Fault`]) is a value that says what goes wrong for whom and how often, and whether the
//! venue acted before it did: *taken, then the connection died* is the one this room exists for. `admin` lets a person
//! or a script do while it runs what a test does from Rust, and `truth` is the log for a checker that trusts nobody.
//!
//! [`Sim`] is the handle to a running server, and tells the truth about what arrived and what was done,
//! independent of what any client was told.
//!
//! Deliberately absent: more than one account, and whatever our own orders would do to the market.

mod admin;
mod api;
mod body;
mod clock;
mod config;
pub mod core;
mod deed;
mod driver;
mod fault;
mod handle;
mod json;
mod market;
mod quota;
pub mod replay;
mod route;
mod server;
mod sse;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod truth;
mod upgrade;

pub use self::clock::Pace;
pub use self::config::{SimConfig, SimError};
pub use self::core::Market;
pub use self::core::tape::Split;
pub use self::fault::{Fault, FaultError, Matcher, Often, Permille, Reply, Script, StreamFault, vocabulary};
pub use self::handle::{RequestRecord, Sim, Snapshot};
pub use self::market::feed::DataPlan;
pub use self::route::Endpoint;
