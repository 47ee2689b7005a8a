//! `nalpaca decode`: shows a payload as JSON.

use std::io::Read as _;

use clap::Args;

use super::{Exit, output};
use crate::wire;

/// More than any message of ours.
const PAYLOAD_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nats kv get nalpaca positions --raw | nalpaca decode Positions
  nats sub 'nalpaca.data.v0.tradeupdates.>' --translate 'nalpaca decode TradeUpdate'
  nats stream view nalpaca-journal-stream-v0 --translate 'nalpaca decode Outcome'")]
pub(super) struct Arguments {
    /// Name of the message: Positions, TradeUpdate, Outcome, OrderRecord, GatewayState, Trade, ...
    message: String,
    /// One line instead of many.
    #[arg(long)]
    compact: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut payload = Vec::new();
    if let Err(error) = std::io::stdin()
        .lock()
        .take(PAYLOAD_MAX)
        .read_to_end(&mut payload)
    {
        output::complain(format_args!(
            "nalpaca decode: cannot read standard input: {error}"
        ));
        return Exit::Internal;
    }
    match wire::decode_to_json(&arguments.message, &payload, !arguments.compact) {
        Ok(json) => output::answer(format_args!("{json}\n")),
        Err(error) => {
            output::complain(format_args!("nalpaca decode: {error}"));
            Exit::Usage
        }
    }
}
