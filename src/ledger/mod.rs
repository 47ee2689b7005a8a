//! The record of each order under its client order id, in a bucket that only we write.
//!
//! Two write here: the desk, what it is about to do and what came of it; and [`OrderStates`], what the venue tells of
//! the order. Both by compare-and-set, each keeping what the other wrote.
//!
//! Deliberately absent: what a record means for a command, which is the desk's to decide.

mod book;
mod order_states;

pub use book::{Ledger, Page};
pub use order_states::{OrderStates, OrderStatesHandle};
