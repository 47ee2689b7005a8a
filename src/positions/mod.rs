//! What the account holds, kept in the bucket for whoever watches it.
//!
//! The venue is asked, never second-guessed: after a fill, after a loss of contact, on a timer. Its answer replaces
//! what was there before.
//!
//! Invariants:
//!
//! - A statement is dated by the moment it was asked for, so that it was true then or later.
//! - Flat is an explicit empty list. What cannot be read is *stale*, never flat: the last statement stays, and says so.
//! - One task writes, one read is under way at most, and versions go up by one with each statement, also across
//!   restarts and when the bucket is made anew.
//! - The key of one position is written when the position changes or its freshness does; its `as_of` is that of the
//!   statement it changed with. `positions` is written with every statement.
//!
//! Deliberately absent: arithmetic on fills. The venue's positions lag its fills by up to a second, which a second
//! look covers; a ledger of our own would have to be reconciled with theirs.

mod mirror;
mod shelf;

pub use mirror::{Mirror, PositionsHandle, Wiring};
