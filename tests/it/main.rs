//! Integration tests: the daemon as it is shipped, against a real nats-server and the simulated venue.

mod orders;
mod schema;
mod support;
