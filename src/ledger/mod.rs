//! The record of each order under its client order id, in a bucket that only we write.
//!
//! Deliberately absent: what a record means for a command, which is the desk's to decide.

mod book;

pub use book::{Ledger, Page};
