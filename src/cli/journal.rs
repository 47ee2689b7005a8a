//! `nalpaca watch` and `nalpaca replay`: what happens, and what happened, from the journal.

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json as object};

use super::client::{Client, Common};
use super::nats::Losses;
use super::table::cell;
use super::{Exit, block_on, nats, output};
use crate::app;
use crate::bus::listen::{Replay, listen};
use crate::clock::Clock;
use crate::wire::decode_to_json;
use crate::wire::subject::encode_id;

/// Most events of one order that are shown.
const EVENTS_MAX: usize = 10_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca watch
  nalpaca watch updates --strategy momentum
  nalpaca watch --output json | jq -c .message.event")]
pub(super) struct Watch {
    /// Outcomes, order events, changes of mode, what could not be read; all of it by default.
    #[arg(value_enum)]
    kind: Option<Kind>,
    /// Only of a strategy.
    #[arg(long, conflicts_with = "id")]
    strategy: Option<String>,
    /// Only of one client order id.
    #[arg(long)]
    id: Option<String>,
    /// End after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nalpaca replay --since 1h
  nalpaca replay updates --since 2026-11-27T14:30:00Z --until 2026-11-27T21:00:00Z --output json
  nalpaca replay --since 30d --id momentum.1")]
pub(super) struct ReplayArguments {
    /// Outcomes, order events, changes of mode, what could not be read; all of it by default.
    #[arg(value_enum)]
    kind: Option<Kind>,
    /// From when on: an instant, or how long ago (90s, 15m, 4h, 30d). The journal has 30 days.
    #[arg(long, default_value = "24h")]
    since: String,
    /// Until when; until now without it.
    #[arg(long)]
    until: Option<String>,
    /// Only of a strategy.
    #[arg(long, conflicts_with = "id")]
    strategy: Option<String>,
    /// Only of one client order id.
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Outcomes,
    Updates,
    Modes,
    Dead,
}

/// The subject of what is wanted, or what is wrong with the wish, said.
fn subject(
    client: &Client,
    kind: Option<Kind>,
    strategy: Option<&str>,
    id: Option<&str>,
) -> Result<String, Exit> {
    let usage = |text: &str| {
        client.complain(&text);
        Exit::Usage
    };
    let tail = match (strategy, id) {
        (Some(strategy), _) => format!("{}.>", encode_id(strategy)),
        (None, Some(id)) => encode_id(id),
        (None, None) => ">".to_owned(),
    };
    let is_narrow = strategy.is_some() || id.is_some();
    Ok(match kind {
        None if is_narrow => return Err(usage("say outcomes or updates beside --strategy and --id")),
        None => client.subjects.journal(),
        Some(Kind::Outcomes) => client.subjects.outcome(&tail),
        Some(Kind::Updates) => client.subjects.update_spelled(&tail),
        Some(Kind::Modes | Kind::Dead) if is_narrow => {
            return Err(usage("--strategy and --id are for outcomes and updates"));
        }
        Some(Kind::Modes) => client.subjects.modes(),
        Some(Kind::Dead) => client.subjects.dead_letters(),
    })
}

pub(super) fn watch(arguments: &Watch) -> Exit {
    block_on(async {
        let client = match Client::connect("watch", &arguments.common).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let subject = subject(
            &client,
            arguments.kind,
            arguments.strategy.as_deref(),
            arguments.id.as_deref(),
        );
        let subject = match subject {
            Ok(subject) => subject,
            Err(exit) => return exit,
        };
        let mut told = match listen(&client.connection, subject).await {
            Ok(told) => told,
            Err(error) => {
                client.complain(&error);
                return Exit::Unavailable;
            }
        };
        let stop = app::told_to_stop();
        tokio::pin!(stop);
        let mut losses = Losses::of("watch", &client.connection);
        let mut left = arguments.count.unwrap_or(u64::MAX);
        while left > 0 {
            let heard = tokio::select! {
                () = &mut stop => return Exit::Ok,  // we end
                lost_at = losses.back() => {        // cancel-safe: docs
                    client.complain(&format_args!(
                        "NATS is back; what it missed, `nalpaca replay --since {lost_at:.0}` shows"
                    ));
                    continue;
                }
                heard = told.next() => heard,       // cancel-safe: docs
            };
            let Some(heard) = heard else {
                return nats::over("watch");
            };
            let shown = show(
                &arguments.common,
                &heard.subject,
                heard.schema.as_deref(),
                &heard.payload,
                None,
            );
            if shown != Exit::Ok {
                return shown;
            }
            left -= 1;
        }
        Exit::Ok
    })
}

pub(super) fn replay(arguments: &ReplayArguments) -> Exit {
    let now = Clock::system().now();
    let bounds = instant(&arguments.since, now).and_then(|since| {
        let until = arguments
            .until
            .as_deref()
            .map(|until| instant(until, now))
            .transpose()?;
        Ok((since, until))
    });
    let (since, until) = match bounds {
        Ok(bounds) => bounds,
        Err(error) => {
            output::complain(format_args!("nalpaca replay: {error}"));
            return Exit::Usage;
        }
    };
    block_on(async {
        let client = match Client::connect("replay", &arguments.common).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let subject = subject(
            &client,
            arguments.kind,
            arguments.strategy.as_deref(),
            arguments.id.as_deref(),
        );
        let subject = match subject {
            Ok(subject) => subject,
            Err(exit) => return exit,
        };
        let journal = &client.config.objects.journal_stream;
        let mut replay = match Replay::since(&client.connection, journal, subject, since).await {
            Ok(replay) => replay,
            Err(error) => {
                client.complain(&error);
                return Exit::Unavailable;
            }
        };
        loop {
            match replay.next().await {
                Ok(Some((heard, at))) => {
                    if until.is_some_and(|until| at >= until) {
                        return Exit::Ok;
                    }
                    let schema = heard.schema.as_deref();
                    let shown = show(
                        &arguments.common,
                        &heard.subject,
                        schema,
                        &heard.payload,
                        Some(at),
                    );
                    if shown != Exit::Ok {
                        return shown;
                    }
                }
                Ok(None) => return Exit::Ok,
                Err(error) => {
                    client.complain(&error);
                    return Exit::Unavailable;
                }
            }
        }
    })
}

/// The events of an order that the journal has, oldest first.
pub(super) async fn updates_of(client: &Client, id: &str) -> Result<Vec<Value>, Exit> {
    let journal = &client.config.objects.journal_stream;
    let subject = client.subjects.update(id);
    let mut replay = Replay::all(&client.connection, journal, subject);
    let mut updates = Vec::new();
    while updates.len() < EVENTS_MAX {
        match replay.next().await {
            Ok(Some((heard, _))) => updates.extend(message(heard.schema.as_deref(), &heard.payload)),
            Ok(None) => break,
            Err(error) => {
                client.complain(&error);
                return Err(Exit::Unavailable);
            }
        }
    }
    Ok(updates)
}

fn message(schema: Option<&str>, payload: &[u8]) -> Option<Value> {
    let text = decode_to_json(schema?, payload, false).ok()?;
    serde_json::from_str(&text).ok()
}

/// An instant, or how long ago.
fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let wrong = || {
        format!(
            "{text:?} is no instant such as 2026-11-27T14:30:00Z, and no time such as 90s, 15m, 4h or 30d"
        )
    };
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let ago = number
        .checked_mul(seconds)
        .filter(|ago| *ago >= 0)
        .ok_or_else(wrong)?;
    now.checked_sub(SignedDuration::from_secs(ago))
        .map_err(|_| wrong())
}

/// Shows a message on a line of its own.
fn show(common: &Common, subject: &str, schema: Option<&str>, payload: &[u8], at: Option<Timestamp>) -> Exit {
    let message = message(schema, payload);
    if common.is_json() {
        let line = object!({
            "subject": subject,
            "schema": schema,
            "stored_at": at.map(|at| at.to_string()),
            "message": message,
        });
        return output::answer(format_args!("{line}\n"));
    }
    let line = match (schema, &message) {
        (Some("tradesvc.v0.Outcome"), Some(outcome)) => [
            cell(outcome, "at"),
            "outcome".to_owned(),
            cell(outcome, "client_order_id"),
            cell(outcome, "command"),
            cell(outcome, "kind"),
            cell(outcome, "reason"),
            cell(outcome, "message"),
        ]
        .join("  "),
        (Some("tradesvc.v0.TradeUpdate"), Some(update)) => [
            cell(update, "timestamp"),
            "update".to_owned(),
            cell(update, "order.client_order_id"),
            cell(update, "event"),
            cell(update, "order.side"),
            cell(update, "order.symbol"),
            format!(
                "{}/{}",
                cell(update, "order.filled_qty"),
                cell(update, "order.qty")
            ),
            cell(update, "price"),
            cell(update, "reason"),
        ]
        .join("  "),
        (Some("tradesvc.v0.ModeChange"), Some(change)) => [
            cell(change, "at"),
            "mode".to_owned(),
            cell(change, "mode"),
            format!("by {}", cell(change, "by")),
            cell(change, "reason"),
        ]
        .join("  "),
        (_, _) => format!(
            "{}  {subject}  {} bytes",
            at.map(|at| at.to_string()).unwrap_or_default(),
            payload.len()
        ),
    };
    // What a venue or a publisher wrote must not repaint the terminal.
    let line = line.replace(char::is_control, " ");
    output::answer(format_args!("{}\n", line.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_instant_or_how_long_ago() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, expected) in [
            ("90s", 999_910),
            ("15m", 999_100),
            ("4h", 985_600),
            ("2d", 827_200),
            ("1970-01-02T00:00:00Z", 86_400),
        ] {
            assert_eq!(instant(text, now).unwrap().as_second(), expected, "{text}");
        }
        for text in ["", "h", "4", "-4h", "4w", "soon", "99999999999999999999d", "é"] {
            assert!(instant(text, now).is_err(), "{text}");
        }
    }
}
