//! Trials of the order path, the drop copy and the mirrors: the real daemon, a real nats-server and the simulated venue, with everything broken that
//! can be broken. `make faults` runs the short form, `make faults ARGS="..."` anything else.

mod arena;
mod chance;
mod crash;
mod evidence;
mod feed;
mod judge;
mod market;
mod matrix;
mod mix;
mod planted;
mod poison;
mod proxy;
mod runner;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests use the rest")]
mod support;
mod trial;
mod wheel;
mod witness;

fn main() -> std::process::ExitCode {
    runner::main()
}
