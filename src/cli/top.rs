//! `nalpaca top`: a gateway at a glance, again every second.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;
use serde_json::{Value, json as object};
use tokio::time::MissedTickBehavior;

use super::client::{Client, Common, json};
use super::reads::{ORDER_COLUMNS, POSITION_COLUMNS};
use super::table::{cell, table, words};
use super::{Exit, block_on, nats, output};
use crate::app;
use crate::bus::Census;
use crate::bus::listen::listen;
use crate::wire::service::names;
use crate::wire::{Encoded, decode_to_json};

/// Rows of each part.
const ROWS: usize = 12;
/// Updates that are remembered.
const UPDATES: usize = 10;
/// Clears the screen, and begins at its upper left corner (ECMA-48).
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, Args)]
#[command(after_help = "\
Ctrl-C ends it. Where standard output is no terminal, or with --once, one picture is printed.

Examples:
  nalpaca top
  nalpaca top --once
  nalpaca top --once --output json")]
pub(super) struct Arguments {
    /// One picture, and the end.
    #[arg(long)]
    once: bool,
    /// Seconds between two pictures.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    block_on(async {
        let client = match Client::connect("top", &arguments.common).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let once = arguments.once || !std::io::stdout().is_terminal();
        let mut updates: VecDeque<Value> = VecDeque::new();
        let mut told = match listen(&client.connection, client.subjects.every_update()).await {
            Ok(told) => told,
            Err(error) => {
                client.complain(&error);
                return Exit::Unavailable;
            }
        };
        let stop = app::told_to_stop();
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(Duration::from_secs(arguments.every));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return Exit::Ok,  // we end
                heard = told.next() => {            // cancel-safe: docs
                    let Some(heard) = heard else { return nats::over("top") };
                    let update = decode_to_json("tradesvc.v0.TradeUpdate", &heard.payload, false).ok();
                    updates.extend(update.and_then(|text| serde_json::from_str(&text).ok()));
                    while updates.len() > UPDATES {
                        updates.pop_front();
                    }
                }
                _ = tick.tick() => {                // cancel-safe: docs
                    let picture = match look(&client).await {
                        Ok(picture) => picture,
                        Err(exit) if once => return exit,
                        Err(_) => continue,
                    };
                    let shown = if arguments.common.is_json() {
                        json(&picture)
                    } else {
                        let before = if once { "" } else { CLEAR };
                        output::answer(format_args!("{before}{}", draw(&picture, &updates)))
                    };
                    if once || shown != Exit::Ok {
                        return shown;
                    }
                }
            }
        }
    })
}

/// Everything there is to see.
async fn look(client: &Client) -> Result<Value, Exit> {
    let state = client.ask("state.get", Encoded::empty(), names::STATE).await?;
    let positions = client
        .ask("positions.get", Encoded::empty(), names::POSITIONS)
        .await?;
    let account = client
        .ask("account.get", Encoded::empty(), names::ACCOUNT)
        .await?;
    let orders = client.ask("orders.list", Encoded::empty(), names::ORDERS).await?;
    let census = Census::take(&client.connection, &client.config.objects)
        .await
        .ok();
    let waiting: Option<u64> = census.map(|census| census.pending.iter().map(|(_, pending)| pending).sum());
    Ok(object!({
        "state": state,
        "account": account,
        "positions": positions,
        "orders": orders,
        "commands_waiting": waiting,
    }))
}

fn draw(picture: &Value, updates: &VecDeque<Value>) -> String {
    let get = |path: &str| cell(picture, path);
    let fresh = |part: &str| {
        let is_fresh = picture[part]["fresh"] == Value::Bool(true);
        if is_fresh { "" } else { "  NOT FRESH" }
    };
    let mut text = format!(
        "{}  {}  {}  {}\n",
        get("state.environment").to_ascii_uppercase(),
        get("state.mode"),
        get("state.instance"),
        get("state.at"),
    );
    let reason = get("state.mode_reason");
    if !reason.is_empty() {
        text.push_str(&format!("because {reason} (by {})\n", get("state.mode_by")));
    }
    text.push_str(&format!(
        "equity {}  cash {}  buying power {}  commands waiting {}{}\n",
        get("account.equity"),
        get("account.cash"),
        get("account.buying_power"),
        get("commands_waiting"),
        fresh("account"),
    ));
    let rows = |part: &str, name: &str| picture[part][name].as_array().cloned().unwrap_or_default();
    let conditions = rows("state", "conditions");
    if !conditions.is_empty() {
        let columns = [words("CONDITION", "name"), words("BECAUSE", "reason")];
        text.push('\n');
        text.push_str(&table(&columns, &conditions));
    }
    let mut part = |heading: &str, all: Vec<Value>, columns: &[_], fresh: &str| {
        let more = all.len().saturating_sub(ROWS);
        let shown: Vec<Value> = all.into_iter().take(ROWS).collect();
        text.push_str(&format!("\n{heading}{fresh}\n"));
        if shown.is_empty() {
            text.push_str("none\n");
        } else {
            text.push_str(&table(columns, &shown));
        }
        if more > 0 {
            text.push_str(&format!("and {more} more\n"));
        }
    };
    part(
        "POSITIONS",
        rows("positions", "positions"),
        &POSITION_COLUMNS,
        fresh("positions"),
    );
    part(
        "OPEN ORDERS",
        rows("orders", "orders"),
        &ORDER_COLUMNS,
        fresh("orders"),
    );
    let columns = [
        words("AT", "timestamp"),
        words("CLIENT ORDER ID", "order.client_order_id"),
        words("EVENT", "event"),
        words("SYMBOL", "order.symbol"),
        words("FILLED", "order.filled_qty"),
        words("PRICE", "price"),
    ];
    part(
        "LAST UPDATES",
        updates.iter().rev().cloned().collect(),
        &columns,
        "",
    );
    text
}
