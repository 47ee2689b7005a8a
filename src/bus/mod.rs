//! NATS and JetStream: the only room that knows a stream, a consumer or an ack.
//!
//! Three rules hold here. An acknowledgement is a request whose answer is read (a plain ack is lost when the
//! server is killed, and the client's `double_ack` calls "nobody heard you" a success). A publish is stored only
//! when its PubAck is in. And messages are pulled in small batches, bounded by what can be held, with
//! in-progress beats for every message in hand.

pub mod ask;
mod auth;
pub mod beats;
pub mod broadcast;
pub mod bucket;
pub mod census;
pub mod command;
pub mod connection;
pub mod consumer;
pub mod copies;
pub mod delivery;
mod difference;
pub mod interest;
pub mod journal;
pub mod lease;
pub mod listen;
pub mod permissions;
mod publish;
mod relocate;
pub mod service;
mod stored;
pub mod topology;

pub use beats::Beats;
pub use broadcast::{Broadcast, Message};
pub use bucket::{Bucket, BucketError, Entry, WriteError, key_of, key_subject};
pub use census::Census;
pub use connection::{Connection, Link};
pub use consumer::{Puller, TakeError};
pub use copies::JsonCopies;
pub use delivery::{Delivery, SettleError};
pub use difference::{Difference, Severity};
pub use journal::{Journal, PublishError, Told};
pub use lease::{Candidate, Keeper, Lease};
pub use relocate::Move;
pub use topology::{LEASES_BUCKET, Topology};
