//! Who leads, as the lease says.

use jiff::Timestamp;
use uuid::Uuid;

/// What stands under the key of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Name of the daemon that leads.
    pub instance: String,
    /// Its process: a name may be used twice by mistake.
    pub process: Uuid,
    /// Goes up with each holder.
    pub epoch: u64,
    /// When it was written, by the holder's clock. For people alone.
    pub at: Timestamp,
}
