//! The floors: the least that does each job, in one thread, with no checks, no retries, no limits, no metrics and no logs.
//! What the daemon costs is measured beside them.

pub(super) mod market;
pub(super) mod orders;
pub(super) mod updates;
