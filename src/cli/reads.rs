//! `nalpaca state`, `account`, `positions`, `orders`, `order`, `limits`: what the gateway knows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use serde_json::{Value, json as object};

use super::client::{Client, Common, json};
use super::nats::Losses;
use super::table::{Column, cell, list, number, table, words};
use super::{Exit, block_on, journal, nats, output};
use crate::app;
use crate::bus::key_subject;
use crate::bus::listen::listen;
use crate::config::limits;
use crate::domain::Symbol;
use crate::wire::service::{names, positions_of};
use crate::wire::{Encoded, decode_to_json};

/// Pause before a gateway that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Plain {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca positions
  nalpaca positions AAPL --output json | jq .positions[0].qty
  nalpaca positions --watch")]
pub(super) struct Positions {
    /// Only this symbol.
    symbol: Option<String>,
    /// Show them again whenever they change, until told to stop.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca orders                          those that work
  nalpaca orders --status closed          those that ended lately
  nalpaca orders --strategy momentum --symbol AAPL")]
pub(super) struct Orders {
    /// Those that work; this is what happens without --status, too.
    #[arg(long, conflicts_with = "status")]
    open: bool,
    /// Which.
    #[arg(long, value_enum, default_value_t = Status::Open)]
    status: Status,
    /// Only those of a strategy: the first token of a client order id.
    #[arg(long)]
    strategy: Option<String>,
    /// Only those of a symbol.
    #[arg(long)]
    symbol: Option<String>,
    /// At most so many, the latest.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Open,
    Closed,
    All,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca order momentum.1
  nalpaca order 904837e3-3b76-47ec-b432-046db621571b")]
pub(super) struct One {
    /// A client order id, or the venue's UUID.
    order: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca limits                          what holds in the running gateway, and how far it is used
  nalpaca limits --file limits.toml       whether a file could be used; connects to nothing")]
pub(super) struct Limits {
    /// Check this file instead.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// A question in JSON, as protobuf.
fn question(schema: &'static str, fields: &Value) -> Encoded {
    // The fields are written below, by the names of the schema.
    Encoded::from_json(schema, &fields.to_string()).unwrap_or_else(|_| Encoded::empty())
}

pub(super) fn state(arguments: &Plain) -> Exit {
    block_on(async {
        let state = match ask(
            "state",
            &arguments.common,
            "state.get",
            Encoded::empty(),
            names::STATE,
        )
        .await
        {
            Ok((_, state)) => state,
            Err(exit) => return exit,
        };
        if arguments.common.is_json() {
            return json(&state);
        }
        let fields = [
            ("environment", "environment"),
            ("mode", "mode"),
            ("because", "mode_reason"),
            ("set by", "mode_by"),
            ("since", "mode_since"),
            ("instance", "instance"),
            ("version", "version"),
            ("started", "started_at"),
            ("as of", "at"),
        ];
        let mut text = list(&fields, &state);
        let rows = |name: &str| state[name].as_array().cloned().unwrap_or_default();
        let conditions = rows("conditions");
        if conditions.is_empty() {
            text.push_str("\nnothing is wrong\n");
        } else {
            let columns = [
                words("CONDITION", "name"),
                words("HOLDS ORDERS", "holds_orders"),
                words("SINCE", "since"),
                words("BECAUSE", "reason"),
            ];
            text.push('\n');
            text.push_str(&table(&columns, &conditions));
        }
        let feeds = rows("market_data");
        if !feeds.is_empty() {
            let columns = [
                words("MARKET DATA", "class"),
                words("CONNECTED", "connected"),
                number("CONFIRMED", "confirmed"),
                number("REFUSED", "refused"),
                words("HEARD", "heard_at"),
                words("BECAUSE", "reason"),
            ];
            text.push('\n');
            text.push_str(&table(&columns, &feeds));
        }
        output::answer(text)
    })
}

pub(super) fn account(arguments: &Plain) -> Exit {
    block_on(async {
        let account = match ask(
            "account",
            &arguments.common,
            "account.get",
            Encoded::empty(),
            names::ACCOUNT,
        )
        .await
        {
            Ok((_, account)) => account,
            Err(exit) => return exit,
        };
        if arguments.common.is_json() {
            return json(&account);
        }
        let fields = [
            ("account", "account_number"),
            ("status", "status"),
            ("currency", "currency"),
            ("equity", "equity"),
            ("equity at last close", "last_equity"),
            ("cash", "cash"),
            ("buying power", "buying_power"),
            ("options buying power", "options_buying_power"),
            ("long", "long_market_value"),
            ("short", "short_market_value"),
            ("trading blocked", "trading_blocked"),
            ("as of", "as_of"),
        ];
        let mut text = list(&fields, &account);
        text.push_str(vouched(&account));
        output::answer(text)
    })
}

/// Whether a statement can be relied on.
fn vouched(statement: &Value) -> &'static str {
    if statement["fresh"] == Value::Bool(true) {
        ""
    } else {
        "NOT FRESH: nobody vouches for it now; `nalpaca state` says why\n"
    }
}

pub(super) const POSITION_COLUMNS: [Column; 8] = [
    words("SYMBOL", "symbol"),
    number("QTY", "qty"),
    number("AVAILABLE", "qty_available"),
    number("ENTRY", "avg_entry_price"),
    number("PRICE", "current_price"),
    number("VALUE", "market_value"),
    number("P&L", "unrealized_pl"),
    number("TODAY", "unrealized_intraday_pl"),
];

pub(super) fn positions(arguments: &Positions) -> Exit {
    block_on(async {
        let fields = object!({"symbol": arguments.symbol.clone().unwrap_or_default()});
        let asked = || question(names::POSITIONS_REQUEST, &fields);
        let client = match Client::connect("positions", &arguments.common).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        if !arguments.watch {
            return match client.ask("positions.get", asked(), names::POSITIONS).await {
                Ok(positions) => show_positions(&positions, arguments),
                Err(exit) => exit,
            };
        }
        // First this, so that nothing changes unheard in between.
        let subject = key_subject(&client.config.objects.bucket, "positions");
        let mut told = match listen(&client.connection, subject).await {
            Ok(told) => told,
            Err(error) => {
                client.complain(&error);
                return Exit::Unavailable;
            }
        };
        let positions = match client.ask("positions.get", asked(), names::POSITIONS).await {
            Ok(positions) => positions,
            Err(exit) => return exit,
        };
        let shown = show_positions(&positions, arguments);
        if shown != Exit::Ok {
            return shown;
        }
        let stop = app::told_to_stop();
        tokio::pin!(stop);
        let mut losses = Losses::of("positions", &client.connection);
        // What stands above may have changed unheard.
        let mut missed = false;
        let wanted = arguments
            .symbol
            .as_deref()
            .and_then(|symbol| Symbol::parse(symbol).ok());
        loop {
            let positions = tokio::select! {
                () = &mut stop => return Exit::Ok,      // cancel-safe: level-triggered enough, we end
                _ = losses.back() => {                  // cancel-safe: docs
                    client.complain(&"NATS is back, asking for the positions again");
                    missed = true;
                    continue;
                }
                positions = until_answered(&client, asked), if missed => {  // cancel-safe: it is asked again
                    missed = false;
                    Some(positions)
                }
                told = told.next() => match told {      // cancel-safe: docs
                    Some(told) => positions_of(&told.payload, wanted.as_ref())
                        .and_then(|positions| decode_to_json(names::POSITIONS, &positions.bytes, false).ok())
                        .and_then(|text| serde_json::from_str(&text).ok()),
                    None => return nats::over("positions"),
                },
            };
            let Some(positions) = positions else { continue };
            if !arguments.common.is_json() && output::answer("\n") != Exit::Ok {
                return Exit::Internal;
            }
            let shown = show_positions(&positions, arguments);
            if shown != Exit::Ok {
                return shown;
            }
        }
    })
}

/// Asks for the positions until somebody answers: the gateway may need longer than we to find NATS again.
async fn until_answered(client: &Client, question: impl Fn() -> Encoded) -> Value {
    loop {
        match client
            .try_ask("positions.get", question(), names::POSITIONS)
            .await
        {
            Ok(positions) => return positions,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn show_positions(positions: &Value, arguments: &Positions) -> Exit {
    if arguments.common.is_json() {
        // One a line, so that a watch can be read line by line.
        return if arguments.watch {
            output::answer(format_args!("{positions}\n"))
        } else {
            json(positions)
        };
    }
    let rows = positions["positions"].as_array().cloned().unwrap_or_default();
    let mut text = if rows.is_empty() {
        "flat\n".to_owned()
    } else {
        table(&POSITION_COLUMNS, &rows)
    };
    text.push_str(&format!("as of {}\n", cell(positions, "as_of")));
    text.push_str(vouched(positions));
    output::answer(text)
}

pub(super) const ORDER_COLUMNS: [Column; 9] = [
    words("CLIENT ORDER ID", "client_order_id"),
    words("SYMBOL", "symbol"),
    words("SIDE", "side"),
    number("QTY", "qty"),
    number("FILLED", "filled_qty"),
    words("TYPE", "type"),
    number("LIMIT", "limit_price"),
    words("STATUS", "status"),
    words("SUBMITTED", "submitted_at"),
];

pub(super) fn orders(arguments: &Orders) -> Exit {
    block_on(async {
        let status = match arguments.status {
            Status::Open => "open",
            Status::Closed => "closed",
            Status::All => "all",
        };
        let fields = object!({
            "status": status,
            "strategy": arguments.strategy.clone().unwrap_or_default(),
            "symbol": arguments.symbol.clone().unwrap_or_default(),
            "limit": arguments.limit,
        });
        let asked = question(names::ORDERS_REQUEST, &fields);
        let orders = match ask("orders", &arguments.common, "orders.list", asked, names::ORDERS).await {
            Ok((_, orders)) => orders,
            Err(exit) => return exit,
        };
        if arguments.common.is_json() {
            return json(&orders);
        }
        let rows = orders["orders"].as_array().cloned().unwrap_or_default();
        let mut text = if rows.is_empty() {
            "none\n".to_owned()
        } else {
            table(&ORDER_COLUMNS, &rows)
        };
        if orders["more"] == Value::Bool(true) {
            text.push_str("there are more; see --limit\n");
        }
        text.push_str(vouched(&orders));
        output::answer(text)
    })
}

pub(super) fn order(arguments: &One) -> Exit {
    block_on(async {
        let asked = question(names::ORDER_REQUEST, &object!({"order": arguments.order}));
        let (client, record) = match ask("order", &arguments.common, "orders.get", asked, names::RECORD).await
        {
            Ok(asked) => asked,
            Err(exit) => return exit,
        };
        let id = record["client_order_id"]
            .as_str()
            .unwrap_or(&arguments.order)
            .to_owned();
        let updates = match journal::updates_of(&client, &id).await {
            Ok(updates) => updates,
            Err(exit) => return exit,
        };
        if arguments.common.is_json() {
            return json(&object!({"record": record, "updates": updates}));
        }
        let fields = [
            ("client order id", "client_order_id"),
            ("order id", "order_id"),
            ("command", "command"),
            ("state", "state"),
            ("placed elsewhere", "external"),
            ("stored", "stored_at"),
            ("intent", "intent_at"),
            ("deadline", "deadline"),
            ("attempts", "attempts"),
            ("outcome", "outcome.kind"),
            ("at", "outcome.at"),
            ("reason", "outcome.reason"),
            ("message", "outcome.message"),
            ("symbol", "order.symbol"),
            ("side", "order.side"),
            ("quantity", "order.qty"),
            ("filled", "order.filled_qty"),
            ("average price", "order.filled_avg_price"),
            ("limit", "order.limit_price"),
            ("status", "order.status"),
        ];
        let mut text = list(&fields, &record);
        if !updates.is_empty() {
            let columns = [
                words("AT", "timestamp"),
                words("EVENT", "event"),
                number("QTY", "qty"),
                number("PRICE", "price"),
                number("FILLED", "order.filled_qty"),
                words("STATUS", "order.status"),
                words("RECOVERED", "recovered"),
                words("REASON", "reason"),
            ];
            text.push('\n');
            text.push_str(&table(&columns, &updates));
        }
        output::answer(text)
    })
}

pub(super) fn limits(arguments: &Limits) -> Exit {
    if let Some(file) = &arguments.file {
        return check(file);
    }
    block_on(async {
        let limits = match ask(
            "limits",
            &arguments.common,
            "limits.get",
            Encoded::empty(),
            names::LIMITS,
        )
        .await
        {
            Ok((_, limits)) => limits,
            Err(exit) => return exit,
        };
        if arguments.common.is_json() {
            return json(&limits);
        }
        let rows = limits["limits"].as_array().cloned().unwrap_or_default();
        let mut text = if rows.is_empty() {
            "nothing is limited; see LIMITS_FILE and docs/limits.md\n".to_owned()
        } else {
            let columns = [
                words("SCOPE", "scope"),
                words("LIMIT", "name"),
                number("BOUND", "bound"),
                number("USED", "used"),
            ];
            table(&columns, &rows)
        };
        text.push_str(&list(
            &[("file", "file"), ("PROBLEM", "problem"), ("DRY RUN", "dry_run")],
            &limits,
        ));
        output::answer(text)
    })
}

fn check(file: &Path) -> Exit {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            output::complain(format_args!("nalpaca limits: {}: {error}", file.display()));
            return Exit::Unavailable;
        }
    };
    match limits::read(&text) {
        Ok(limits) => {
            let mut text = String::new();
            for (scope, bounds) in limits.scopes() {
                for (limit, bound) in bounds.entries() {
                    text.push_str(&format!("{scope}: {} = {bound}\n", limit.as_str()));
                }
                if bounds.dry_run {
                    text.push_str(&format!("{scope}: dry_run = true\n"));
                }
            }
            text.push_str("it can be used\n");
            output::answer(text)
        }
        Err(error) => {
            for wrong in error.0 {
                output::complain(format_args!("nalpaca limits: {}: {wrong}", file.display()));
            }
            Exit::Config
        }
    }
}

async fn ask(
    command: &'static str,
    common: &Common,
    endpoint: &str,
    question: Encoded,
    reply: &str,
) -> Result<(Client, Value), Exit> {
    let client = Client::connect(command, common).await?;
    let answer = client.ask(endpoint, question, reply).await?;
    Ok((client, answer))
}
