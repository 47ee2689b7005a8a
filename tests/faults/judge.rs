//! What the trials are judged by.

#[path = "checker.rs"]
pub(crate) mod checker;
#[path = "history.rs"]
pub(crate) mod history;
