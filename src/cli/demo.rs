//! `nalpaca demo`: the main job on real parts, on this machine only.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, block_on, output};
use crate::demo::{self, DemoConfig, Terminal};

#[derive(Debug, Args)]
#[command(after_help = "\
Needs no keys and no network: a real nats-server and a simulated Alpaca run on free loopback ports, with their data in
a temporary folder that is removed at the end. Exit 0: everything was as it should be.")]
pub(super) struct Arguments {
    /// Keep everything running afterwards, and print commands to try.
    #[arg(long)]
    stay: bool,
    /// The nats-server to run. Otherwise the one on the PATH (2.10 or later), or one that `make demo` fetched.
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
    /// Where the simulated prices and ids come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(arguments: Arguments) -> Exit {
    let config = DemoConfig {
        nats_server: arguments.nats_server,
        stay: arguments.stay,
        seed: arguments.seed,
    };
    block_on(async {
        let mut terminal = Terminal::new(std::io::stdout());
        match demo::run(config, &mut terminal, crate::app::told_to_stop()).await {
            Ok(true) => Exit::Ok,
            Ok(false) => {
                output::complain("nalpaca demo: not everything was as it should be");
                Exit::Internal
            }
            Err(error) => {
                output::complain(format_args!("nalpaca demo: {error:#}"));
                Exit::Unavailable
            }
        }
    })
}
