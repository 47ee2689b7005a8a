//! Wires what tells the world: the positions mirror and the drop copy.

use super::Daemon;
use super::tasks::Tasks;
use crate::bus::{Bucket, Journal};

/// Starts the mirror and the drop copy, and waits until the first positions are written and the venue's stream is
/// heard.
pub(super) async fn start(_daemon: &Daemon, _tasks: &mut Tasks, _bucket: &Bucket, _journal: &Journal) {}
