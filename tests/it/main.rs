//! Integration tests: the daemon as it is shipped, against a real nats-server and the simulated venue.

mod bad_input;
mod cancels;
mod examples;
mod orders;
mod process;
mod restarts;
mod schema;
mod support;
mod topology;
mod unknown;
