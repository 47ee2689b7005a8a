//! Nalpaca: one daemon between NATS JetStream and the Alpaca brokerage.

pub mod domain;
