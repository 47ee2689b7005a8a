//! Nalpaca: one daemon between NATS JetStream and the Alpaca brokerage.

pub mod alpaca;
pub mod backoff;
pub mod bus;
pub mod clock;
pub mod config;
pub mod domain;
pub mod wire;
