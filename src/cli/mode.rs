//! `nalpaca halt`, `resume`, `reduce-only`, `cancel-only`: what the gateway lets through.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Common, json, whoami};
use super::table::list;
use super::{Exit, block_on, output};
use crate::domain::GatewayMode;
use crate::wire::service::{MODE_CHANGE, ModeAsked, mode_request};

#[derive(Debug, Args)]
#[command(after_help = "\
A stricter mode holds when this returns, and no order begins after it; cancels pass in every mode. Modes survive restarts.
See docs/limits.md.

Examples:
  nalpaca halt 'the feed is wrong'
  nalpaca reduce-only 'the close is near'
  nalpaca resume")]
pub(super) struct Arguments {
    /// Why, for everybody who is denied.
    #[arg(default_value = "")]
    reason: String,
    /// Who asks.
    #[arg(long, default_value_t = whoami())]
    by: String,
    /// Real money: do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(mode: GatewayMode, arguments: &Arguments) -> Exit {
    block_on(set(mode, arguments))
}

async fn set(mode: GatewayMode, arguments: &Arguments) -> Exit {
    let (command, endpoint) = match mode {
        GatewayMode::Normal => ("resume", "admin.resume"),
        GatewayMode::ReduceOnly => ("reduce-only", "admin.reduce_only"),
        GatewayMode::CancelOnly => ("cancel-only", "admin.cancel_only"),
        GatewayMode::Halted => ("halt", "admin.halt"),
    };
    let client = match Client::connect(command, &arguments.common).await {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    // Only what lets more through is asked about: a halt must never wait for a person.
    if mode == GatewayMode::Normal
        && let Err(exit) = client
            .confirm("everything is let through again", arguments.yes)
            .await
    {
        return exit;
    }
    let asked = ModeAsked {
        reason: arguments.reason.clone(),
        by: arguments.by.clone(),
    };
    let change = match client.ask(endpoint, mode_request(&asked), MODE_CHANGE).await {
        Ok(change) => change,
        Err(exit) => return exit,
    };
    if change["kept"] != Value::Bool(true) {
        client.complain(
            &"it holds, and could not be kept yet; until it is, a restart would forget it (state.get tells)",
        );
    }
    if arguments.common.is_json() {
        return json(&change);
    }
    let fields = [
        ("mode", "mode"),
        ("before", "previous"),
        ("since", "at"),
        ("reason", "reason"),
        ("by", "by"),
    ];
    output::answer(list(&fields, &change))
}
