//! Integration tests: the daemon against a real nats-server and a real simulator.

mod schema;
