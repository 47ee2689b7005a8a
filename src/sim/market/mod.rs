//! Market data on the wire: what the tape says, in the shapes of the venue's streams and of its historical data.
//!
//! Nothing here decides a price or a time; that is [`super::core`]'s.

pub(crate) mod dialogue;
mod emit;
pub(crate) mod feed;
pub(crate) mod feeds;
pub(crate) mod history;
pub(crate) mod news;
pub(crate) mod pulse;
pub(crate) mod row;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
