//! What the daemon says about itself: log lines, metrics, and errors with their causes.
//!
//! Nothing here knows what is being said; it knows how. Labels are closed sets and no function takes a secret.

pub mod chain;
mod json_lines;
pub mod logging;
pub mod metrics;
pub mod trace;

pub use chain::Chain;
pub use metrics::MetricsHandle;
