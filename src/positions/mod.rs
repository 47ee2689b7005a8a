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
//! - Fresh means that a fill would have been seen: a statement is not fresh while trade updates cannot be seen, when a fill
//!   was told and the venue has not answered since, or when it is old.
//!
//! Deliberately absent: positions computed from fills. The venue's positions lag its fills by up to a second, which a
//! second look covers. The sum of the fills is kept only to be compared (`fold`); where it differs, the venue wins.

mod fold;
mod mirror;
mod shelf;

pub use mirror::{Mirror, PositionsHandle, Wiring};
