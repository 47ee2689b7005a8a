//! What the trials are judged by.

#[path = "checker.rs"]
pub(crate) mod checker;
#[path = "feed_checker.rs"]
pub(crate) mod feed_checker;
#[path = "feed_history.rs"]
pub(crate) mod feed_history;
#[path = "history.rs"]
pub(crate) mod history;
