//! `nalpaca buy`, `sell`, `replace`, `close`, `cancel`: commands, published as any program publishes them.
//!
//! They go the way of every command, on their subject: what a user may trade is what their NATS permissions say.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde_json::{Map, Value, json as object};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::client::{Client, Common, json};
use super::table::list;
use super::{Exit, block_on, output};
use crate::bus::command::{self, CommandError};
use crate::bus::listen::{Heard, listen};
use crate::clock::Clock;
use crate::domain::CommandKind;
use crate::wire::service::names;
use crate::wire::subject::{CommandSubject, encode_id};
use crate::wire::{Encoded, decode_to_json, read_close, read_order, read_replace};

/// How every command is named, sent and waited for.
#[derive(Debug, Args)]
pub(super) struct Sending {
    /// The client order id; one is made up without it. The same id with the same order is one order, however often it is sent.
    #[arg(long)]
    id: Option<String>,
    /// The strategy the order belongs to: the first token of an id that is made up. Without it "cli", or that of the order to
    /// replace.
    #[arg(long, conflicts_with = "id")]
    strategy: Option<String>,
    /// Not to be sent after so many seconds; the gateway's ORDER_MAX_AGE without it.
    #[arg(long, value_name = "SECONDS")]
    valid_for: Option<u64>,
    /// Wait for the outcome, as long as --timeout says. Exit 1 if it is not accepted.
    #[arg(long)]
    wait: bool,
    /// Real money: do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca buy AAPL 10 --wait                                    at the market
  nalpaca buy AAPL 10 --limit 187.50 --tif gtc
  nalpaca buy AAPL 10 --limit 187.50 --take-profit 200 --stop-loss 180 --wait
  nalpaca buy BTC/USD --notional 500 --tif gtc
  nalpaca sell TSLA 5 --stop 150 --strategy momentum
  nalpaca sell TSLA 5 --trail-percent 2

Without --limit, --stop and --trail it is an order at the market. With a limit and a stop it is a stop-limit order.")]
pub(super) struct Order {
    /// AAPL, BRK.B, BTC/USD, AAPL261218C00200000.
    symbol: String,
    /// Shares, coins or contracts.
    #[arg(required_unless_present = "notional", conflicts_with = "notional")]
    qty: Option<String>,
    /// Dollars instead of a quantity.
    #[arg(long, value_name = "DOLLARS")]
    notional: Option<String>,
    /// The worst price.
    #[arg(long, value_name = "PRICE")]
    limit: Option<String>,
    /// The price that wakes it.
    #[arg(long, value_name = "PRICE")]
    stop: Option<String>,
    /// A trailing stop, so many dollars behind.
    #[arg(long, value_name = "DOLLARS", conflicts_with_all = ["limit", "stop"])]
    trail: Option<String>,
    /// A trailing stop, so many percent behind.
    #[arg(long, value_name = "PERCENT", conflicts_with_all = ["limit", "stop", "trail"])]
    trail_percent: Option<String>,
    /// How long it lives at the venue.
    #[arg(long, value_enum, default_value_t = Tif::Day)]
    tif: Tif,
    /// Also before and after the regular session.
    #[arg(long)]
    extended_hours: bool,
    /// An exit with a profit, at this limit.
    #[arg(long, value_name = "PRICE")]
    take_profit: Option<String>,
    /// An exit with a loss, at this stop.
    #[arg(long, value_name = "PRICE")]
    stop_loss: Option<String>,
    /// And not below this limit.
    #[arg(long, value_name = "PRICE", requires = "stop_loss")]
    stop_loss_limit: Option<String>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tif {
    Day,
    Gtc,
    Opg,
    Cls,
    Ioc,
    Fok,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca replace momentum.1 --limit 188 --id momentum.2 --wait
  nalpaca replace momentum.1 --qty 5")]
pub(super) struct Replace {
    /// The client order id of the order to replace, or the venue's UUID.
    order: String,
    /// The new quantity, what is filled already included.
    #[arg(long)]
    qty: Option<String>,
    /// The new limit.
    #[arg(long, value_name = "PRICE")]
    limit: Option<String>,
    /// The new stop.
    #[arg(long, value_name = "PRICE")]
    stop: Option<String>,
    /// The new trail, in the unit the order has.
    #[arg(long)]
    trail: Option<String>,
    /// How long it lives at the venue.
    #[arg(long, value_enum)]
    tif: Option<Tif>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca close AAPL --wait
  nalpaca close AAPL --percent 50
  nalpaca close --all --cancel-orders --wait")]
pub(super) struct Close {
    /// Whose position.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    symbol: Option<String>,
    /// Every position of the account.
    #[arg(long)]
    all: bool,
    /// So much of it.
    #[arg(long, conflicts_with = "all")]
    qty: Option<String>,
    /// So many percent of it.
    #[arg(long, value_name = "PERCENT", conflicts_with = "qty")]
    percent: Option<String>,
    /// Cancel the strategy's open orders of what is closed first: they may hold its shares.
    #[arg(long)]
    cancel_orders: bool,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca cancel momentum.1 --wait
  nalpaca cancel 904837e3-3b76-47ec-b432-046db621571b
  nalpaca cancel --strategy momentum
  nalpaca cancel --all --direct             past the action stream, which may be full")]
pub(super) struct Cancel {
    /// A client order id, or the venue's UUID.
    #[arg(required_unless_present_any = ["all", "strategy"], conflicts_with_all = ["all", "strategy"])]
    order: Option<String>,
    /// Every open order of the account.
    #[arg(long, conflicts_with = "strategy")]
    all: bool,
    /// Every open order of a strategy.
    #[arg(long)]
    strategy: Option<String>,
    /// Ask the service, which acts without the action stream, and wait for its answer.
    #[arg(long)]
    direct: bool,
    /// Wait for the outcome, as long as --timeout says. Exit 1 if it is not accepted.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    common: Common,
}

/// Puts what is there into a message.
fn with(mut message: Map<String, Value>, fields: &[(&str, &Option<String>)]) -> Map<String, Value> {
    for (name, value) in fields {
        if let Some(value) = value {
            message.insert((*name).to_owned(), Value::String(value.clone()));
        }
    }
    message
}

fn tif(tif: Tif) -> &'static str {
    match tif {
        Tif::Day => "day",
        Tif::Gtc => "gtc",
        Tif::Opg => "opg",
        Tif::Cls => "cls",
        Tif::Ioc => "ioc",
        Tif::Fok => "fok",
    }
}

pub(super) fn order(side: &'static str, arguments: &Order) -> Exit {
    let trails = arguments.trail.is_some() || arguments.trail_percent.is_some();
    let order_type = match (&arguments.limit, &arguments.stop) {
        (None, None) if trails => "trailing_stop",
        (None, None) => "market",
        (Some(_), None) => "limit",
        (None, Some(_)) => "stop",
        (Some(_), Some(_)) => "stop_limit",
    };
    let class = match (&arguments.take_profit, &arguments.stop_loss) {
        (None, None) => None,
        (Some(_), Some(_)) => Some("bracket"),
        (Some(_), None) | (None, Some(_)) => Some("oto"),
    };
    let mut message = with(
        Map::new(),
        &[
            ("symbol", &Some(arguments.symbol.clone())),
            ("qty", &arguments.qty),
            ("notional", &arguments.notional),
            ("limit_price", &arguments.limit),
            ("stop_price", &arguments.stop),
            ("trail_price", &arguments.trail),
            ("trail_percent", &arguments.trail_percent),
            ("side", &Some(side.to_owned())),
            ("order_type", &Some(order_type.to_owned())),
            ("tif", &Some(tif(arguments.tif).to_owned())),
            ("class", &class.map(str::to_owned)),
        ],
    );
    if arguments.extended_hours {
        message.insert("extended_hours".to_owned(), Value::Bool(true));
    }
    if let Some(price) = &arguments.take_profit {
        message.insert("take_profit".to_owned(), object!({"limit_price": price}));
    }
    if let Some(price) = &arguments.stop_loss {
        let exit = with(
            Map::new(),
            &[
                ("stop", &Some(price.clone())),
                ("limit", &arguments.stop_loss_limit),
            ],
        );
        message.insert("stop_loss".to_owned(), Value::Object(exit));
    }
    let size = match (&arguments.qty, &arguments.notional) {
        (Some(qty), _) => qty.clone(),
        (None, Some(notional)) => format!("${notional} of"),
        (None, None) => String::new(),
    };
    let price = match (&arguments.limit, &arguments.stop) {
        (None, None) => order_type.replace('_', " "),
        (limit, stop) => {
            let part =
                |name: &str, price: &Option<String>| price.as_ref().map(|price| format!("{name} {price}"));
            let parts: Vec<_> = part("limit", limit)
                .into_iter()
                .chain(part("stop", stop))
                .collect();
            parts.join(" ")
        }
    };
    let what = format!(
        "{side} {size} {} {price} {}",
        arguments.symbol,
        tif(arguments.tif)
    );
    send(
        side,
        CommandKind::Order,
        message,
        &arguments.sending,
        Some("cli"),
        &what,
    )
}

pub(super) fn replace(arguments: &Replace) -> Exit {
    let message = with(
        Map::new(),
        &[
            ("order", &Some(arguments.order.clone())),
            ("qty", &arguments.qty),
            ("limit_price", &arguments.limit),
            ("stop_price", &arguments.stop),
            ("trail", &arguments.trail),
            ("tif", &arguments.tif.map(|word| tif(word).to_owned())),
        ],
    );
    let what = format!("replace {}", arguments.order);
    // A replacement stays within the orders of its strategy.
    let strategy = arguments.order.split_once('.').map(|(first, _)| first);
    send(
        "replace",
        CommandKind::Replace,
        message,
        &arguments.sending,
        strategy,
        &what,
    )
}

pub(super) fn close(arguments: &Close) -> Exit {
    let mut message = with(
        Map::new(),
        &[
            ("symbol", &arguments.symbol),
            ("qty", &arguments.qty),
            ("percentage", &arguments.percent),
        ],
    );
    for (name, is_set) in [("all", arguments.all), ("cancel_orders", arguments.cancel_orders)] {
        if is_set {
            message.insert(name.to_owned(), Value::Bool(true));
        }
    }
    let what = match (&arguments.symbol, &arguments.percent, &arguments.qty) {
        (None, None, _) => "close every position".to_owned(),
        (None, Some(percent), _) => format!("close {percent} % of every position"),
        (Some(symbol), Some(percent), _) => format!("close {percent} % of {symbol}"),
        (Some(symbol), None, Some(qty)) => format!("close {qty} of {symbol}"),
        (Some(symbol), None, None) => format!("close {symbol}"),
    };
    send(
        "close",
        CommandKind::Close,
        message,
        &arguments.sending,
        Some("cli"),
        &what,
    )
}

/// Checks a command as the gateway would, and publishes it.
fn send(
    command: &'static str,
    kind: CommandKind,
    mut message: Map<String, Value>,
    sending: &Sending,
    strategy: Option<&str>,
    what: &str,
) -> Exit {
    let complain = |what: &dyn std::fmt::Display| output::complain(format_args!("nalpaca {command}: {what}"));
    if let Some(seconds) = sending.valid_for {
        let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        match Clock::system().now().checked_add(span) {
            Ok(until) => message.insert("valid_until".to_owned(), Value::String(until.to_string())),
            Err(_) => {
                complain(&"--valid-for is too long");
                return Exit::Usage;
            }
        };
    }
    let payload = Value::Object(message).to_string();
    let json = Some("application/json");
    let checked = match kind {
        CommandKind::Order => read_order(json, payload.as_bytes()).map(|_| ()),
        CommandKind::Replace => read_replace(json, payload.as_bytes()).map(|_| ()),
        CommandKind::Close => read_close(json, payload.as_bytes()).map(|_| ()),
        CommandKind::Cancel => Ok(()),
    };
    if let Err(error) = checked {
        complain(&error);
        return Exit::Usage;
    }
    let id = sending.id.clone().unwrap_or_else(|| {
        let number = Uuid::now_v7().simple();
        let strategy = sending.strategy.clone().or_else(|| strategy.map(str::to_owned));
        strategy.map_or_else(|| number.to_string(), |strategy| format!("{strategy}.{number}"))
    });
    block_on(publish(command, kind, id, payload, sending, what))
}

async fn publish(
    command: &'static str,
    kind: CommandKind,
    id: String,
    payload: String,
    sending: &Sending,
    what: &str,
) -> Exit {
    let client = match Client::connect(command, &sending.common).await {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    let subject = client.subjects.command(kind, &id);
    let Some(CommandSubject {
        id: Ok(_), spelling, ..
    }) = client.subjects.read_command(&subject)
    else {
        client.complain(&format!("{id:?} cannot be a client order id; see --help"));
        return Exit::Usage;
    };
    if let Err(exit) = client.confirm(&format!("{what}, as {id}"), sending.yes).await {
        return exit;
    }
    let mut outcomes = match Outcomes::listen(&client, &spelling, sending.wait).await {
        Ok(outcomes) => outcomes,
        Err(exit) => return exit,
    };
    let stored = command::publish_json(&client.connection, subject, payload).await;
    let sequence = match stored {
        Ok(sequence) => sequence,
        Err(error) => return not_stored(&client, &error),
    };
    tell(&client, &id, sequence, &mut outcomes, &sending.common).await
}

fn not_stored(client: &Client, error: &CommandError) -> Exit {
    client.complain(error);
    match error {
        CommandError::Refused(_) => Exit::Refused,
        CommandError::NoStream | CommandError::Unknown(_) => Exit::Unavailable,
    }
}

/// Outcomes, if they are waited for.
struct Outcomes<S>(Option<S>);

impl Outcomes<futures_util::stream::BoxStream<'static, Heard>> {
    async fn listen(client: &Client, spelling: &str, wait: bool) -> Result<Self, Exit> {
        if !wait {
            return Ok(Self(None));
        }
        match listen(&client.connection, client.subjects.outcome(spelling)).await {
            Ok(told) => Ok(Self(Some(Box::pin(told)))),
            Err(error) => {
                client.complain(&error);
                Err(Exit::Unavailable)
            }
        }
    }

    /// The terminal outcome of one command, in so long.
    async fn terminal(&mut self, sequence: u64, patience: Duration) -> Option<Value> {
        use futures_util::StreamExt as _;
        let outcomes = self.0.as_mut()?;
        let until = Instant::now() + patience;
        while let Ok(Some(told)) = timeout_at(until, outcomes.next()).await {
            let outcome = decode_to_json(names::OUTCOME, &told.payload, false).ok();
            let Some(outcome) = outcome.and_then(|text| serde_json::from_str::<Value>(&text).ok()) else {
                continue;
            };
            let is_ours = outcome["stream_sequence"].as_u64() == Some(sequence);
            if is_ours && outcome["terminal"] == Value::Bool(true) {
                return Some(outcome);
            }
        }
        None
    }
}

/// Says that a command is stored, or waits for what becomes of it.
async fn tell(
    client: &Client,
    id: &str,
    sequence: u64,
    outcomes: &mut Outcomes<futures_util::stream::BoxStream<'static, Heard>>,
    common: &Common,
) -> Exit {
    if outcomes.0.is_none() {
        let stored = object!({"client_order_id": id, "stream_sequence": sequence});
        if common.is_json() {
            return json(&stored);
        }
        return output::answer(format_args!(
            "{id} is stored as {sequence}; `nalpaca order {id}` tells what became of it\n"
        ));
    }
    match outcomes.terminal(sequence, client.patience).await {
        Some(outcome) => show(&outcome, common),
        None => {
            client.complain(&format!(
                "no outcome within {} s; {id} is stored as {sequence} and goes on: `nalpaca order {id}` tells, and sending \
                 the same under the same id is no second order",
                common.timeout
            ));
            Exit::Unavailable
        }
    }
}

/// Shows an outcome. Exit 1 if it is not accepted.
fn show(outcome: &Value, common: &Common) -> Exit {
    let shown = if common.is_json() {
        json(outcome)
    } else {
        let fields = [
            ("outcome", "kind"),
            ("client order id", "client_order_id"),
            ("order id", "order_id"),
            ("reason", "reason"),
            ("message", "message"),
            ("limit", "limit"),
            ("would be", "limit_value"),
            ("symbol", "order.symbol"),
            ("side", "order.side"),
            ("quantity", "order.qty"),
            ("limit price", "order.limit_price"),
            ("status", "order.status"),
            ("dry run", "simulated"),
        ];
        let mut text = list(&fields, outcome);
        for result in outcome["results"].as_array().into_iter().flatten() {
            let line = [
                ("  order", "client_order_id"),
                ("  symbol", "symbol"),
                ("  outcome", "kind"),
                ("  message", "message"),
            ];
            text.push_str(&list(&line, result));
        }
        output::answer(text)
    };
    if shown != Exit::Ok {
        return shown;
    }
    match outcome["kind"].as_str() {
        Some("OUTCOME_KIND_ACCEPTED") => Exit::Ok,
        _ => Exit::Refused,
    }
}

pub(super) fn cancel(arguments: &Cancel) -> Exit {
    let name = match (&arguments.order, &arguments.strategy) {
        (Some(order), _) => order.clone(),
        (None, Some(strategy)) => format!("{strategy}.ALL"),
        (None, None) => "ALL".to_owned(),
    };
    block_on(async {
        let client = match Client::connect("cancel", &arguments.common).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        // A cancel takes risk away, so nobody is asked; whose money it is is shown all the same.
        if let Ok(environment) = client.environment().await {
            output::complain(format_args!(
                "{}: cancel {name}",
                environment.to_ascii_uppercase()
            ));
        }
        if arguments.direct {
            return cancel_directly(&client, arguments).await;
        }
        let subject = client.subjects.command(CommandKind::Cancel, &name);
        let spelling = encode_id(&name);
        let mut outcomes = match Outcomes::listen(&client, &spelling, arguments.wait).await {
            Ok(outcomes) => outcomes,
            Err(exit) => return exit,
        };
        let sequence = match command::publish_cancel(&client.connection, subject).await {
            Ok(sequence) => sequence,
            Err(error) => {
                let exit = not_stored(&client, &error);
                client.complain(&"--direct cancels without the action stream");
                return exit;
            }
        };
        if !arguments.wait && !arguments.common.is_json() {
            return output::answer(format_args!("the cancel of {name} is stored as {sequence}\n"));
        }
        tell(&client, &name, sequence, &mut outcomes, &arguments.common).await
    })
}

async fn cancel_directly(client: &Client, arguments: &Cancel) -> Exit {
    let fields = object!({
        "order": arguments.order.clone().unwrap_or_default(),
        "all": arguments.all,
        "strategy": arguments.strategy.clone().unwrap_or_default(),
    });
    let question = match Encoded::from_json(names::CANCEL_REQUEST, &fields.to_string()) {
        Ok(question) => question,
        Err(error) => {
            client.complain(&error);
            return Exit::Usage;
        }
    };
    match client.ask("orders.cancel", question, names::OUTCOME).await {
        Ok(outcome) => show(&outcome, &arguments.common),
        Err(exit) => exit,
    }
}
