//! What the account holds, kept in the bucket for whoever watches it.

mod mirror;

pub use mirror::{Mirror, PositionsHandle, Wiring};
