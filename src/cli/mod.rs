//! The command line: one file per subcommand, each a thin door to a room of the library.
//!
//! A subcommand returns an [`Exit`]; it never ends the process itself, so that destructors run and tests can
//! call it. Answers go to standard output, complaints to standard error.

mod bars;
mod check_config;
mod client;
mod config_env;
mod decode;
mod demo;
mod doctor;
mod exit;
mod journal;
mod manual;
mod mode;
mod nats;
mod output;
mod permissions;
mod provision;
mod reads;
mod serve;
mod sim;
mod table;
mod tail;
mod top;
mod trade;
mod version;

use std::future::Future;

use clap::{Parser, Subcommand};

use crate::domain::GatewayMode;

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
   1  the gateway or the venue said no
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
    /// Place an order to buy.
    Buy(Box<trade::Order>),
    /// Place an order to sell.
    Sell(Box<trade::Order>),
    /// Replace an order that works.
    Replace(trade::Replace),
    /// Close a position, part of it, or all of them.
    Close(trade::Close),
    /// Cancel an order, those of a strategy, or all of them.
    Cancel(trade::Cancel),
    /// Orders that work, or ended lately.
    Orders(reads::Orders),
    /// One order and its whole life.
    Order(reads::One),
    /// What the account holds.
    Positions(reads::Positions),
    /// The account: equity, cash, buying power.
    Account(reads::Plain),
    /// Whether the gateway is well, what it lets through, and whose money it trades.
    State(reads::Plain),
    /// What orders may not exceed.
    Limits(reads::Limits),
    /// Let no order through. Cancels pass.
    Halt(mode::Arguments),
    /// Let everything through again.
    Resume(mode::Arguments),
    /// Let only orders through that make a position smaller.
    ReduceOnly(mode::Arguments),
    /// Let only cancels through, for a planned end.
    CancelOnly(mode::Arguments),
    /// What happens: outcomes, order events, changes of mode.
    Watch(journal::Watch),
    /// What happened, from the journal.
    Replay(journal::ReplayArguments),
    /// A gateway at a glance, again every second.
    Top(top::Arguments),
    /// What is wrong, and what to do about it.
    Doctor(doctor::Arguments),
    /// Bars of the past, through a running daemon: as CSV, JSON lines or Parquet.
    Bars(bars::Arguments),
    /// Market data as it is told on the bus: bars, quotes, trades, news.
    Tail(tail::Arguments),
    /// Run a simulated Alpaca: real HTTP and websocket on loopback, no account needed.
    Sim(Box<sim::Arguments>),
    /// Show a protobuf payload from standard input as JSON.
    Decode(decode::Arguments),
    /// Print what a shell completes.
    Completions(manual::Completions),
    /// Print the manual pages.
    Man(manual::Man),
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
        Command::Buy(arguments) => trade::order("buy", &arguments),
        Command::Sell(arguments) => trade::order("sell", &arguments),
        Command::Replace(arguments) => trade::replace(&arguments),
        Command::Close(arguments) => trade::close(&arguments),
        Command::Cancel(arguments) => trade::cancel(&arguments),
        Command::Orders(arguments) => reads::orders(&arguments),
        Command::Order(arguments) => reads::order(&arguments),
        Command::Positions(arguments) => reads::positions(&arguments),
        Command::Account(arguments) => reads::account(&arguments),
        Command::State(arguments) => reads::state(&arguments),
        Command::Limits(arguments) => reads::limits(&arguments),
        Command::Halt(arguments) => mode::run(GatewayMode::Halted, &arguments),
        Command::Resume(arguments) => mode::run(GatewayMode::Normal, &arguments),
        Command::ReduceOnly(arguments) => mode::run(GatewayMode::ReduceOnly, &arguments),
        Command::CancelOnly(arguments) => mode::run(GatewayMode::CancelOnly, &arguments),
        Command::Watch(arguments) => journal::watch(&arguments),
        Command::Replay(arguments) => journal::replay(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
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
