//! Integration tests: the daemon as it is shipped, against a real nats-server and the simulated venue.

mod architecture;
mod bad_input;
mod barriers;
mod cancels;
mod changes;
mod command_line;
mod drift;
mod examples;
mod history;
mod holdings;
mod json;
mod judge;
mod leases;
mod limits;
mod market_data;
mod migration;
mod modes;
mod orders;
mod permissions;
mod poison;
mod process;
mod reference;
mod restarts;
mod schema;
mod secrets;
mod service;
mod standby;
#[expect(dead_code, reason = "the trials use the rest")]
mod support;
mod template;
mod topology;
mod traces;
mod trade_updates;
mod unknown;
mod venue_shapes;
mod waiting;
