//! Our republished copy of the account's execution reports.

mod relay;

pub use relay::{DropCopy, Wiring};
