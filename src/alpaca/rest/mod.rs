//! The venue's REST API: one call, one request, one answer sorted by what the caller does next.

mod answer;
mod classify;
mod client;
mod http;
mod last_check;
mod model;
mod request;
mod roots;
mod route;
mod words;

#[cfg(test)]
mod test_server;

pub use classify::{CancelAnswer, LookUpAnswer, ReadError, SubmitAnswer};
pub use client::{Client, ClientError, Endpoint, Read};
pub use http::UNACKNOWLEDGED_MAX;
pub use last_check::LastCheck;

pub(super) use model::{Number, OrderJson, Text};
