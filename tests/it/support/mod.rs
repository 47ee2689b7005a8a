//! What every test stands on: a real nats-server, the real binary, a simulated venue, and bounded waiting.
//!
//! Each test has a world of its own, with its own ports and directories, so tests run side by side. A test drives
//! its world from one thread: the simulator runs inside it, the server and the daemon are child processes.

pub(crate) mod daemon;
pub(crate) mod jwt;
pub(crate) mod nats;
pub(crate) mod order;
pub(crate) mod proto;
pub(crate) mod scratch;
pub(crate) mod wait;
pub(crate) mod world;

pub(crate) use daemon::{Daemon, run};
pub(crate) use nats::{NatsServer, Release};
pub(crate) use wait::until;
pub(crate) use world::{Stored, World};
