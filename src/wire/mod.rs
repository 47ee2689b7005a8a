//! Bytes ↔ domain, and nothing else.
//!
//! Everything that comes in is read here once, into types that cannot be wrong afterwards; everything that goes
//! out is written here. The generated protobuf types and the subject grammar never leave this room.

mod decode;
mod encode;
pub mod history;
mod json;
pub mod market;
mod proto;
mod recall;
mod record;
pub mod service;
pub mod subject;
pub mod subscriptions;

pub use decode::{Unreadable, read_close, read_order, read_replace};
pub use encode::{
    Encoded, MarketDataReport, StateContext, account, close_hash, disowned_account, disowned_position,
    disowned_positions, lease, payload_hash, position, positions, replace_hash, state, trade_update,
};
pub use json::{decode_to_json, is_json, known_messages};
pub use recall::{
    read_account_version, read_lease, read_outcome, read_positions_version, read_record, read_update,
};
pub use record::{outcome, record, record_with_outcome};

#[cfg(test)]
mod tests;
