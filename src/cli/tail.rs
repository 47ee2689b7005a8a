//! `nalpaca tail`: market data as it is told on the bus.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, select_all};
use serde_json::Value;

use super::bars::class_of;
use super::nats::Losses;
use super::{Exit, block_on, nats, output};
use crate::app;
use crate::bus::Connection;
use crate::bus::ask::ask;
use crate::bus::listen::{Heard, last_value, listen};
use crate::domain::Symbol;
use crate::domain::market::{Channel, MarketClass, Subscriptions};
use crate::wire::market::schema;
use crate::wire::subject::{Subjects, last_key};
use crate::wire::subscriptions::{Heard as Subscribed, read_reply, request};
use crate::wire::{Encoded, decode_to_json};

/// Longest wait for the daemon to say what is heard. It waits 12 s for the venue to confirm what is added.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
#[command(after_help = "\
What nobody has subscribed to at Alpaca is not told: the symbols of the settings are (STOCK_STREAM_SYMBOLS), and
what programs have added. With --add this command adds its symbols; they stay until they are removed.

Examples:
  nalpaca tail bars AAPL                      minute bars, as they end
  nalpaca tail quotes AAPL BTC/USD --last     from the last values on
  nalpaca tail trades --class crypto          every trade of every coin that is heard
  nalpaca tail news --output json | jq .headline")]
pub(super) struct Arguments {
    /// What to hear.
    #[arg(value_enum)]
    kind: Kind,
    /// Symbols: AAPL, BTC/USD, AAPL261218C00200000. Default: all that are heard.
    symbols: Vec<String>,
    /// Of what, when no symbol says it.
    #[arg(long, value_enum, conflicts_with = "symbols")]
    class: Option<ClassName>,
    /// Begin with the last values there are.
    #[arg(long, requires = "symbols")]
    last: bool,
    /// Have the daemon subscribe to these symbols.
    #[arg(long, requires = "symbols")]
    add: bool,
    /// End after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// A table, or one JSON object each line.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Seconds to wait for NATS.
    #[arg(long, default_value_t = 5)]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Bars of one minute.
    Bars,
    /// The best bid and offer.
    Quotes,
    /// Each trade in the market.
    Trades,
    /// Bars of one minute that late trades have changed.
    Updatedbars,
    /// The bar of the day, as it grows.
    Dailybars,
    /// Halts and resumptions.
    Statuses,
    /// Order books.
    Orderbooks,
    /// Articles.
    News,
}

impl From<Kind> for Channel {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bars => Self::Bars,
            Kind::Quotes => Self::Quotes,
            Kind::Trades => Self::Trades,
            Kind::Updatedbars => Self::UpdatedBars,
            Kind::Dailybars => Self::DailyBars,
            Kind::Statuses => Self::Statuses,
            Kind::Orderbooks => Self::OrderBooks,
            Kind::News => Self::News,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClassName {
    /// Shares.
    Stocks,
    /// Coins.
    Crypto,
    /// Option contracts.
    Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Aligned columns; times in UTC.
    Table,
    /// The message as JSON, with the schema's field names.
    Json,
}

/// What is listened to: one channel of one class, of some symbols or of all.
struct Wanted {
    class: MarketClass,
    channel: Channel,
    symbols: Vec<Symbol>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match nats::settings("tail") {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let wanted = match wanted(arguments) {
        Ok(wanted) => wanted,
        Err(problem) => {
            output::complain(format_args!("nalpaca tail: {problem}"));
            return Exit::Usage;
        }
    };
    let subjects = Subjects::new(config.prefix.clone());
    block_on(async {
        let patience = Duration::from_secs(arguments.timeout.max(1));
        let connection = match nats::connect("tail", &config, patience).await {
            Ok(connection) => connection,
            Err(exit) => return exit,
        };
        tokio::select! {
            () = app::told_to_stop() => Exit::Ok,
            exit = tail(&connection, &subjects, &wanted, arguments) => exit,
        }
    })
}

fn wanted(arguments: &Arguments) -> Result<Vec<Wanted>, String> {
    let channel = Channel::from(arguments.kind);
    let mut symbols = Vec::new();
    for text in &arguments.symbols {
        symbols.push(Symbol::parse(text).map_err(|error| format!("{text:?}: {error}"))?);
    }
    if channel == Channel::News {
        if arguments.add {
            return Err("news are told as the settings say: set NEWS_STREAM_SYMBOLS".to_owned());
        }
        return Ok(vec![Wanted {
            class: MarketClass::News,
            channel,
            symbols,
        }]);
    }
    let mut wanted: Vec<Wanted> = Vec::new();
    if symbols.is_empty() {
        let class = match arguments.class.unwrap_or(ClassName::Stocks) {
            ClassName::Stocks => MarketClass::Stocks,
            ClassName::Crypto => MarketClass::Crypto,
            ClassName::Options => MarketClass::Options,
        };
        wanted.push(Wanted {
            class,
            channel,
            symbols,
        });
    } else {
        for symbol in symbols {
            let class = class_of(&symbol);
            match wanted.iter_mut().find(|wanted| wanted.class == class) {
                Some(wanted) => wanted.symbols.push(symbol),
                None => wanted.push(Wanted {
                    class,
                    channel,
                    symbols: vec![symbol],
                }),
            }
        }
    }
    for Wanted { class, .. } in &wanted {
        if !class.channels().contains(&channel) {
            let known: Vec<_> = class.channels().iter().map(|channel| channel.as_str()).collect();
            return Err(format!(
                "{} have no {channel}; ask for {}",
                class.as_str(),
                known.join(", ")
            ));
        }
    }
    Ok(wanted)
}

async fn tail(
    connection: &Connection,
    subjects: &Subjects,
    wanted: &[Wanted],
    arguments: &Arguments,
) -> Exit {
    // First this, so that nothing is told in between.
    let mut told = match subscribe(connection, subjects, wanted).await {
        Ok(told) => told,
        Err(error) => {
            output::complain(format_args!("nalpaca tail: {error}"));
            return Exit::Unavailable;
        }
    };
    let channel = Channel::from(arguments.kind);
    let mut table = Table {
        columns: columns(channel),
        output: arguments.output,
        begun: false,
        left: arguments.count.unwrap_or(u64::MAX),
    };
    if arguments.last {
        for symbol in wanted.iter().flat_map(|wanted| &wanted.symbols) {
            let key = last_key(channel, symbol.as_str());
            if let Some(value) = last_value(connection, &key).await
                && let Some(exit) = table.show(schema(channel), &value)
            {
                return exit;
            }
        }
    }
    if let Some(exit) = look(connection, subjects, wanted, arguments.add).await {
        return exit;
    }
    let of: Vec<&str> = wanted
        .iter()
        .filter(|wanted| wanted.class == MarketClass::News)
        .flat_map(|wanted| &wanted.symbols)
        .map(Symbol::as_str)
        .collect();
    let mut losses = Losses::of("tail", connection);
    loop {
        let heard = tokio::select! {
            _ = losses.back() => {          // cancel-safe: docs
                output::complain("nalpaca tail: NATS is back; what was told meanwhile is not shown");
                continue;
            }
            heard = told.next() => heard,   // cancel-safe: docs
        };
        let Some(Heard {
            schema: said,
            payload,
            ..
        }) = heard
        else {
            return nats::over("tail");
        };
        let schema = schema(channel);
        // Stocks' minute bars share their first tokens with nothing of another schema, but a subject is anybody's.
        if said.is_some_and(|said| said != schema) || !is_about(schema, &payload, &of) {
            continue;
        }
        if let Some(exit) = table.show(schema, &payload) {
            return exit;
        }
    }
}

/// Whether an article is about one of these. No names: it is about anything.
fn is_about(schema: &str, payload: &[u8], symbols: &[&str]) -> bool {
    if symbols.is_empty() {
        return true;
    }
    let article = decode_to_json(schema, payload, false);
    let article: Value = article
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let about = article["symbols"].as_array().into_iter().flatten();
    about
        .filter_map(Value::as_str)
        .any(|symbol| symbols.contains(&symbol))
}

async fn subscribe(
    connection: &Connection,
    subjects: &Subjects,
    wanted: &[Wanted],
) -> Result<SelectAll<futures_util::stream::BoxStream<'static, Heard>>, async_nats::SubscribeError> {
    let mut all = Vec::new();
    for Wanted {
        class,
        channel,
        symbols,
    } in wanted
    {
        let named = symbols
            .iter()
            .map(|symbol| subjects.observation(*class, *channel, symbol.as_str()));
        let of_all = match (class, channel) {
            (MarketClass::News, _) => Some(subjects.news()),
            _ if !symbols.is_empty() => None,
            (MarketClass::Stocks, Channel::Bars) => Some(subjects.stock_bars()),
            _ => Some(subjects.observations(*class, *channel)),
        };
        let subjects: Vec<String> = match of_all {
            Some(every) => vec![every],
            None => named.collect(),
        };
        for subject in subjects {
            all.push(listen(connection, subject).await?.boxed());
        }
    }
    Ok(select_all(all))
}

/// Says what will not be heard, and why; or has it subscribed to. Told on standard error, so that rows stay rows.
async fn look(connection: &Connection, subjects: &Subjects, wanted: &[Wanted], add: bool) -> Option<Exit> {
    let (endpoint, question) = if add {
        let wishes: Vec<_> = wanted
            .iter()
            .map(|wanted| {
                let mut symbols = Subscriptions::default();
                symbols.add(
                    wanted.channel,
                    wanted.symbols.iter().map(|symbol| symbol.as_str().to_owned()),
                );
                (wanted.class, symbols)
            })
            .collect();
        ("subscriptions.add", request(&wishes))
    } else {
        let nothing = Encoded {
            schema: "",
            bytes: Default::default(),
        };
        ("subscriptions.list", nothing)
    };
    let answer = ask(connection, subjects, endpoint, question, ANSWER_TIMEOUT).await;
    let subscribed = match answer.map(|answer| read_reply(&answer)) {
        Ok(Ok(subscribed)) => subscribed,
        Ok(Err(error)) => {
            output::complain(format_args!("nalpaca tail: {error}"));
            return None;
        }
        Err(error) => {
            // Whoever may not ask may listen all the same.
            output::complain(format_args!("nalpaca tail: {endpoint}: {error}"));
            return add.then_some(Exit::Unavailable);
        }
    };
    for line in wanted.iter().flat_map(|wanted| unheard(wanted, &subscribed)) {
        output::complain(format_args!("nalpaca tail: {line}"));
    }
    None
}

/// What of this will not be told, in words.
fn unheard(wanted: &Wanted, subscribed: &[Subscribed]) -> Vec<String> {
    let class = wanted.class.as_str();
    let Some(feed) = subscribed.iter().find(|feed| feed.class == wanted.class) else {
        let word = match wanted.class {
            MarketClass::Stocks => "STOCK",
            MarketClass::Crypto => "CRYPTO",
            MarketClass::Options => "OPTION",
            MarketClass::News => "NEWS",
        };
        return vec![format!(
            "the daemon does not hear {class}; set ENABLE_{word}_STREAM=true"
        )];
    };
    let mut lines = Vec::new();
    let channel = wanted.channel;
    let mut confirmed = feed.confirmed.of(channel).peekable();
    if !feed.connected && !feed.reason.is_empty() {
        lines.push(format!("the stream of {class} is not connected: {}", feed.reason));
    } else if wanted.symbols.is_empty() && confirmed.peek().is_none() {
        lines.push(format!(
            "no {channel} of {class} are subscribed to; name symbols, with --add"
        ));
    }
    let confirmed: Vec<&str> = confirmed.collect();
    let every = confirmed.contains(&crate::domain::market::EVERY_SYMBOL);
    if wanted.class == MarketClass::News || every {
        return lines;
    }
    for symbol in wanted.symbols.iter().map(Symbol::as_str) {
        let refused = feed
            .refused
            .iter()
            .find(|(of, about, _)| *of == channel && about == symbol);
        if let Some((.., words)) = refused {
            lines.push(format!("the venue refuses {channel} of {symbol}: {words}"));
        } else if !confirmed.contains(&symbol) && (feed.connected || feed.reason.is_empty()) {
            lines.push(format!(
                "{channel} of {symbol} are not subscribed to; say --add to have them"
            ));
        }
    }
    lines
}

/// Rows under names.
struct Table {
    columns: &'static [(&'static str, &'static str, usize)],
    output: Output,
    begun: bool,
    left: u64,
}

/// What is shown of a message: name, field, width.
const fn columns(channel: Channel) -> &'static [(&'static str, &'static str, usize)] {
    match channel {
        Channel::Bars | Channel::UpdatedBars | Channel::DailyBars => &[
            ("TIME", "timestamp", 20),
            ("SYMBOL", "symbol", 10),
            ("OPEN", "open", 12),
            ("HIGH", "high", 12),
            ("LOW", "low", 12),
            ("CLOSE", "close", 12),
            ("VOLUME", "volume", 14),
            ("TRADES", "trade_count", 8),
            ("VWAP", "vwap", 12),
        ],
        Channel::Quotes => &[
            ("TIME", "timestamp", 30),
            ("SYMBOL", "symbol", 10),
            ("BID", "bid_price", 12),
            ("SIZE", "bid_size", 12),
            ("ASK", "ask_price", 12),
            ("SIZE", "ask_size", 12),
        ],
        Channel::Trades => &[
            ("TIME", "timestamp", 30),
            ("SYMBOL", "symbol", 10),
            ("PRICE", "price", 12),
            ("SIZE", "size", 14),
            ("EXCHANGE", "exchange", 8),
        ],
        Channel::Statuses => &[
            ("TIME", "timestamp", 30),
            ("SYMBOL", "symbol", 10),
            ("CODE", "status_code", 4),
            ("STATUS", "status_message", 24),
            ("REASON", "reason_message", 0),
        ],
        Channel::OrderBooks => &[
            ("TIME", "timestamp", 30),
            ("SYMBOL", "symbol", 10),
            ("BEST BID", "bids", 12),
            ("BEST ASK", "asks", 12),
            ("WHOLE", "reset", 5),
        ],
        Channel::News => &[
            ("TIME", "updated_at", 20),
            ("SYMBOLS", "symbols", 20),
            ("HEADLINE", "headline", 0),
        ],
    }
}

impl Table {
    /// Shows a message. `Some`: that was the last one.
    fn show(&mut self, schema: &str, payload: &[u8]) -> Option<Exit> {
        let json = match decode_to_json(schema, payload, false) {
            Ok(json) => json,
            Err(error) => {
                output::complain(format_args!("nalpaca tail: {error}"));
                return None;
            }
        };
        let text = match self.output {
            Output::Json => format!("{json}\n"),
            Output::Table => {
                let message: Value = serde_json::from_str(&json).unwrap_or_default();
                let mut text = String::new();
                if !std::mem::replace(&mut self.begun, true) {
                    text.push_str(&self.line(|(name, ..)| (*name).to_owned()));
                }
                text.push_str(&self.line(|(_, field, _)| cell(&message, field)));
                text
            }
        };
        let mut stdout = std::io::stdout().lock();
        if stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .is_err()
        {
            // The reader has seen enough.
            return Some(Exit::Ok);
        }
        self.left = self.left.saturating_sub(1);
        (self.left == 0).then_some(Exit::Ok)
    }

    fn line(&self, cell: impl Fn(&(&'static str, &'static str, usize)) -> String) -> String {
        let cells = self.columns.iter().enumerate().map(|(at, column)| {
            let (text, width) = (cell(column), column.2);
            // Numbers end under each other, words begin so.
            let is_word =
                at < 2 || matches!(column.1, "exchange" | "status_code" | "status_message" | "reset");
            if is_word {
                format!("{text:<width$}")
            } else {
                format!("{text:>width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    }
}

/// One field as text. What the schema leaves out is its default.
fn cell(message: &Value, field: &str) -> String {
    let field_of = |name: &str| message.get(name);
    // What is fractional is exact in a text.
    let field = match field_of("volume_text") {
        Some(_) if field == "volume" => "volume_text",
        Some(_) | None => field,
    };
    match field_of(field) {
        // Anybody may tell us something; a terminal obeys some of it.
        Some(Value::String(text)) => text.replace(|letter: char| letter.is_control(), " "),
        Some(Value::Array(levels)) if matches!(field, "bids" | "asks") => levels
            .first()
            .map_or_else(String::new, |level| cell(level, "price")),
        Some(Value::Array(texts)) => {
            let texts: Vec<_> = texts.iter().filter_map(Value::as_str).collect();
            texts.join(",").replace(|letter: char| letter.is_control(), " ")
        }
        Some(value) => value.to_string(),
        None if field == "reset" => "false".to_owned(),
        None if field.ends_with("message") || field.ends_with("code") || field == "exchange" => String::new(),
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_what_its_names_say() {
        let message: Value = serde_json::json!({
            "timestamp": "2026-11-27T14:30:00Z", "symbol": "BTC/USD", "open": 1.5, "volume": 0, "volume_text": "0.25",
            "trade_count": 3,
        });
        let shown: Vec<String> = columns(Channel::Bars)
            .iter()
            .map(|(_, field, _)| cell(&message, field))
            .collect();
        let expected = [
            "2026-11-27T14:30:00Z",
            "BTC/USD",
            "1.5",
            "0",
            "0",
            "0",
            "0.25",
            "3",
            "0",
        ];
        assert_eq!(shown, expected);
        let book = serde_json::json!({"bids": [{"price": 2.5, "size": 1.0}]});
        assert_eq!(
            (cell(&book, "bids"), cell(&book, "reset")),
            ("2.5".to_owned(), "false".to_owned())
        );
        let article = serde_json::json!({"headline": "a\u{1b}[2Jb\n", "symbols": ["A", "B"]});
        assert_eq!(cell(&article, "headline"), "a [2Jb ");
        assert_eq!(cell(&article, "symbols"), "A,B");
    }

    #[test]
    fn what_will_not_be_told_is_said_with_what_helps() {
        let wanted = |class, channel, symbols: &[&str]| Wanted {
            class,
            channel,
            symbols: symbols
                .iter()
                .map(|symbol| Symbol::parse(symbol).unwrap())
                .collect(),
        };
        let mut confirmed = Subscriptions::default();
        confirmed.add(Channel::Quotes, ["AAPL".to_owned()]);
        let refusal = (
            Channel::Quotes,
            "TSLA".to_owned(),
            "405: symbol limit exceeded".to_owned(),
        );
        let mut stocks = Subscribed {
            class: MarketClass::Stocks,
            connected: true,
            reason: String::new(),
            confirmed,
            refused: vec![refusal],
        };
        let of_stocks = |symbols: &[&str]| wanted(MarketClass::Stocks, Channel::Quotes, symbols);
        assert_eq!(
            unheard(&of_stocks(&["AAPL"]), &[stocks.clone()]),
            Vec::<String>::new()
        );
        assert_eq!(unheard(&of_stocks(&[]), &[stocks.clone()]), Vec::<String>::new());
        for (wanted, said) in [
            (of_stocks(&["MSFT"]), "say --add"),
            (of_stocks(&["TSLA"]), "405: symbol limit"),
            (wanted(MarketClass::Stocks, Channel::Bars, &[]), "name symbols"),
            (
                wanted(MarketClass::Crypto, Channel::Bars, &[]),
                "ENABLE_CRYPTO_STREAM=true",
            ),
        ] {
            let lines = unheard(&wanted, &[stocks.clone()]);
            assert!(lines.len() == 1 && lines[0].contains(said), "{lines:?}");
        }
        // Nobody wants anything of it, so it is not connected.
        stocks.connected = false;
        assert_eq!(unheard(&of_stocks(&["MSFT"]), &[stocks.clone()]).len(), 1);
        stocks.reason = "connection refused".to_owned();
        let lines = unheard(&of_stocks(&["MSFT"]), &[stocks]);
        assert!(
            lines.len() == 1 && lines[0].contains("connection refused"),
            "{lines:?}"
        );
    }
}
