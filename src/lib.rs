//! Nalpaca: one daemon between NATS JetStream and the Alpaca brokerage.

pub mod admin;
pub mod alpaca;
pub mod app;
pub mod archive;
pub mod backoff;
pub mod blotter;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deadman;
pub mod demo;
pub mod domain;
pub mod drop_copy;
pub mod gateway;
pub mod ledger;
pub mod market_data;
pub mod mode;
pub mod orders;
pub mod positions;
pub mod risk;
pub mod service;
pub mod sim;
pub mod telemetry;
pub mod trial;
pub mod wire;
