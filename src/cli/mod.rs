//! The command line: one file per subcommand, each a thin door to a room of the library.
//!
//! A subcommand returns an [`Exit`]; it never ends the process itself, so that destructors run and tests can
//! call it. Answers go to standard output, complaints to standard error.

mod bars;
mod check_config;
mod config_env;
mod decode;
mod demo;
mod exit;
mod nats;
mod output;
mod permissions;
mod provision;
mod serve;
mod sim;
mod tail;
mod version;

use std::future::Future;

use clap::{Parser, Subcommand};

pub use exit::Exit;

const ABOUT: &str = "One daemon between NATS JetStream and the Alpaca brokerage.";

const LONG_ABOUT: &str = "\
One daemon between NATS JetStream and the Alpaca brokerage.

Programs in any language publish an order on a NATS subject. The daemon executes it at Alpaca once, tells the \
publisher what became of it, republishes every fill, and keeps positions, account and order states in a key-value \
bucket. Programs need neither Alpaca's API, nor its keys, nor its rate limits.";

const AFTER_HELP: &str = "\
Try first:
  nalpaca demo                             the main job on real parts, on this machine; no keys, no network
  nalpaca config env --output env > .env   every setting; put your paper keys in it
  nalpaca check-config                     what would be used, and what is wrong
  nalpaca                                  run the daemon, as `nalpaca serve` does

Settings:
  Environment variables; NAME_FILE names a file that holds the value of NAME.
  `nalpaca config env` lists them all.
  Required are ALPACA_API_KEY and ALPACA_API_SECRET.

Exit codes:
   0  done, or stopped when told to
   2  wrong command line
  69  something the command depends on is not there
  70  internal error
  77  Alpaca refused the credentials
  78  the configuration cannot be used";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "nalpaca", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon. This is what happens without a command.
    Serve,
    /// Show the effective settings and where each comes from; exit 78 if they cannot be used.
    CheckConfig(check_config::Arguments),
    /// Explain the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the main job on real parts: NATS, a simulated Alpaca and the daemon, on this machine only.
    Demo(demo::Arguments),
    /// Make the NATS objects the daemon lives on, or say how they differ.
    Provision(provision::Arguments),
    /// Print what a user of NATS must be allowed to say and hear, for each role.
    Permissions(permissions::Arguments),
    /// Bars of the past, through a running daemon: as CSV, JSON lines or Parquet.
    Bars(bars::Arguments),
    /// Market data as it is told on the bus: bars, quotes, trades, news.
    Tail(tail::Arguments),
    /// Run a simulated Alpaca: real HTTP and websocket on loopback, no account needed.
    Sim(Box<sim::Arguments>),
    /// Show a protobuf payload from standard input as JSON.
    Decode(decode::Arguments),
    /// Show version and git revision.
    Version,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// List every variable with its default and what it is for.
    Env(config_env::Arguments),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> Exit {
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Config(ConfigCommand::Env(arguments)) => config_env::run(&arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Provision(arguments) => provision::run(&arguments),
        Command::Permissions(arguments) => permissions::run(&arguments),
        Command::Bars(arguments) => bars::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Version => version::run(),
    }
}

/// Runs a command that waits for sockets. One thread on purpose: the order path is faster without a second one.
fn block_on(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            output::complain(format_args!("nalpaca: cannot start the runtime: {error}"));
            Exit::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
        assert!(Cli::parse_from(["nalpaca"]).command.is_none());
        assert!(matches!(
            Cli::parse_from(["nalpaca", "config", "env", "--output", "env"]).command,
            Some(Command::Config(ConfigCommand::Env(_)))
        ));
    }

    #[test]
    fn help_teaches_the_first_steps() {
        let help = Cli::command().render_long_help().to_string();
        for line in [
            "between NATS JetStream and the Alpaca brokerage",
            "nalpaca demo",
            "nalpaca config env --output env > .env",
            "nalpaca check-config",
            "serve",
            "78  the configuration cannot be used",
            "ALPACA_API_KEY",
        ] {
            assert!(help.contains(line), "{line:?} is not in\n{help}");
        }
    }
}
