//! What the trials are judged by (`make faults`), held against histories written by hand.

#[path = "../faults/checker.rs"]
#[expect(
    dead_code,
    reason = "the trials say what is wrong, the tests only that something is"
)]
mod checker;
#[path = "../faults/checker_tests.rs"]
mod checker_tests;
#[path = "../faults/feed_checker.rs"]
mod feed_checker;
#[path = "../faults/feed_checker_tests.rs"]
mod feed_checker_tests;
#[path = "../faults/feed_history.rs"]
mod feed_history;
#[path = "../faults/history.rs"]
#[expect(dead_code, reason = "the trials fill it")]
mod history;
