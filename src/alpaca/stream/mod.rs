//! The venue's trade updates: one websocket, which has no memory. What is sent while nobody listens is lost, so
//! whoever reads this stream must also ask over REST after every gap.

mod connection;
mod frame;
mod session;

pub use connection::{ConnectError, Connection, Heard, StreamEnd, StreamEndpoint, connect};
