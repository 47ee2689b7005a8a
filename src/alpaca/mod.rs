//! The venue: the only room that knows Alpaca's JSON, paths and status codes.
//!
//! ```text
//!   desks ──► rest::Client ──► one HTTP request ──► rest::classify ──► an answer sorted by what to do next
//!                  │
//!                pacer        one request budget for the account, cancels first
//!
//!   drop copy ◄── stream::Connection ◄── stream::{session, frame} ◄── one websocket
//!   market data ◄── data::Connection ◄── data::frame ◄── one websocket for each class
//! ```
//!
//! Invariants:
//!
//! - An answer is *definite* only with proof: a refusal in the venue's own JSON, or a connection that never opened.
//!   Everything else is unknown, because the order may be working (see `rest::classify`).
//! - No number of money passes through a float; observations of the market (`data`) are floats.
//! - A secret leaves this room in a header or in the stream's first message, nowhere else.
//!
//! Deliberately absent: retries, deadlines and gateway modes. One call is one request (a listing: one per page); the
//! desks decide whether there is another.

pub mod credential;
pub mod data;
mod liveness;
pub mod pacer;
pub mod rest;
pub mod stream;

pub use credential::Credential;
pub use pacer::{Lane, Pacer, Permit};

/// Longest text of the venue's that travels on into outcomes, states and logs, in characters.
const VENUE_TEXT_MAX: usize = 256;

/// The venue's words made safe to show: bounded, and without control characters that could forge a log line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(VENUE_TEXT_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_venues_words_are_bounded_and_without_control_characters() {
        assert_eq!(clean("a\r\nfake log line\u{1b}[2J\0"), "a  fake log line [2J");
        assert_eq!(clean(&"é".repeat(1000)).chars().count(), VENUE_TEXT_MAX);
    }
}
