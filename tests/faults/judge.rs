//! What the trials are judged by, and whether that judges right.

#[path = "checker.rs"]
pub(crate) mod checker;
#[cfg(test)]
#[path = "checker_tests.rs"]
mod checker_tests;
#[path = "history.rs"]
pub(crate) mod history;
