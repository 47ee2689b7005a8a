//! Market data streams: one socket to each, in MessagePack, or in JSON where somebody wants to read along.
//!
//! [`connection`] is the socket, from the greeting to the last frame; [`frame`] takes frames apart; `message` writes what
//! we send. What comes is borrowed from its frame, and has been checked: numbers are numbers, times are times.

pub mod connection;
pub mod frame;
pub mod history;
mod json;
mod message;
mod msgpack;

pub use connection::{Connection, DataEndpoint, DataError, Frame};
pub use frame::{Control, FrameError, Row};
pub use history::{History, HistoryError, LatestQuote};

use crate::domain::market::Channel;

/// How frames are written, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text.
    Json,
    /// Binary, about half as long. Options come in nothing else.
    MessagePack,
}

/// A channel's key in subscriptions and confirmations.
const fn key(channel: Channel) -> &'static str {
    match channel {
        Channel::Trades => "trades",
        Channel::Quotes => "quotes",
        Channel::Bars => "bars",
        Channel::UpdatedBars => "updatedBars",
        Channel::DailyBars => "dailyBars",
        Channel::Statuses => "statuses",
        Channel::OrderBooks => "orderbooks",
        Channel::News => "news",
    }
}
