//! What the demo prints.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

use super::client::text;
use super::parts::Parts;
use super::script::Summary;
use crate::sim::{Endpoint, Snapshot};

/// Where the demo prints.
pub struct Terminal(Box<dyn Write>);

impl Terminal {
    /// Prints to a writer.
    pub fn new(writer: impl Write + 'static) -> Self {
        Self(Box::new(writer))
    }

    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> io::Result<()> {
        writeln!(self.0, "{line}")?;
        self.0.flush()
    }
}

pub(super) fn introduce(terminal: &mut Terminal, parts: &Parts, took: Duration) -> io::Result<()> {
    terminal.line(format_args!(
        "nalpaca demo: the main job on real parts, on this machine only\n"
    ))?;
    terminal.line(format_args!(
        "  nats-server {:<10} {}",
        parts.nats_version, parts.nats_url
    ))?;
    terminal.line(format_args!("  simulated Alpaca       {}", parts.sim.base_url()))?;
    terminal.line(format_args!(
        "  nalpaca {:<14} process {}, ready after {}; http://{}/readyz",
        env!("CARGO_PKG_VERSION"),
        parts.daemon_pid,
        milliseconds(parts.ready_after),
        parts.admin
    ))?;
    terminal.line(format_args!("  all parts up after {}", milliseconds(took)))
}

pub(super) fn command(terminal: &mut Terminal, subject: &str, payload: Option<&Value>) -> io::Result<()> {
    match payload {
        Some(payload) => terminal.line(format_args!("   publish  {subject}\n            {payload}")),
        None => terminal.line(format_args!("   publish  {subject}")),
    }
}

pub(super) fn outcome(
    terminal: &mut Terminal,
    kind: &str,
    outcome: &Value,
    took: Duration,
) -> io::Result<()> {
    let message = text(&outcome["message"]);
    let what = match text(&outcome["order"]["status"]) {
        status if status.is_empty() => String::new(),
        status => format!(", order {status}"),
    };
    let why = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    terminal.line(format_args!(
        "   outcome  {kind} {} after the publish{what}{why}",
        milliseconds(took)
    ))
}

pub(super) fn update(terminal: &mut Terminal, update: &Value) -> io::Result<()> {
    let order = &update["order"];
    let (event, symbol) = (text(&update["event"]), text(&order["symbol"]));
    let id = text(&order["client_order_id"]);
    // The venue names the exits of a bracket itself.
    let id = if id.starts_with("demo.") {
        id
    } else {
        format!("(the venue's) {}", text(&order["type"]))
    };
    let fill = match (text(&update["qty"]), text(&update["price"])) {
        (qty, price) if !qty.is_empty() && !price.is_empty() => {
            format!("  {qty} @ {price}, position {}", text(&update["position_qty"]))
        }
        _ => String::new(),
    };
    terminal.line(format_args!("   update   {event:<12} {symbol:<8} {id}{fill}"))
}

/// What is held, as text: the same holdings give the same text, whatever the prices do.
pub(super) fn holdings(positions: &Value) -> Vec<String> {
    let rows = positions["positions"].as_array().into_iter().flatten();
    rows.map(|row| format!("{} {}", text(&row["symbol"]), text(&row["qty"])))
        .collect()
}

pub(super) fn positions(terminal: &mut Terminal, positions: &Value) -> io::Result<()> {
    let (as_of, fresh) = (
        text(&positions["as_of"]),
        positions["fresh"].as_bool().unwrap_or_default(),
    );
    let truth = if fresh { "fresh" } else { "STALE" };
    terminal.line(format_args!("   bucket   positions, {truth}, as of {as_of}"))?;
    let rows: Vec<_> = positions["positions"].as_array().into_iter().flatten().collect();
    if rows.is_empty() {
        return terminal.line(format_args!("            (flat)"));
    }
    terminal.line(format_args!(
        "            {:<8} {:>12} {:>14} {:>14}",
        "symbol", "qty", "avg price", "market value"
    ))?;
    for row in rows {
        let field = |name: &str| text(&row[name]);
        terminal.line(format_args!(
            "            {:<8} {:>12} {:>14} {:>14}",
            field("symbol"),
            field("qty"),
            field("avg_entry_price"),
            field("market_value")
        ))?;
    }
    Ok(())
}

/// Prints the summary. False: something was not as it should be.
pub(super) fn summarize(terminal: &mut Terminal, summary: &Summary, venue: &Snapshot) -> io::Result<bool> {
    let mut latencies = summary.latencies.clone();
    latencies.sort();
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    let slowest = latencies.last().copied().unwrap_or_default();
    let posts = venue.requests_to(Endpoint::SubmitOrder);
    let repeated = venue.orders().iter().filter(|order| {
        order.client_order_id.starts_with("demo.") && venue.orders_by_client_id(&order.client_order_id) > 1
    });
    let repeated = repeated.count();
    terminal.line(format_args!("\nSummary"))?;
    terminal.line(format_args!(
        "  {} commands published, {} outcomes, publish to outcome {} at the median and {} at most",
        summary.commands,
        latencies.len(),
        milliseconds(median),
        milliseconds(slowest)
    ))?;
    terminal.line(format_args!(
        "  {posts} POSTs reached the venue for {} orders it took and 1 it refused; {repeated} orders twice",
        summary.orders
    ))?;
    terminal.line(format_args!(
        "  {} trade updates heard, {} fills at the venue",
        summary.updates,
        venue.fills().len()
    ))?;
    for surprise in &summary.surprises {
        terminal.line(format_args!("  NOT AS EXPECTED: {surprise}"))?;
    }
    let one_outcome_each = latencies.len() == summary.commands;
    Ok(summary.surprises.is_empty() && one_outcome_each && posts == summary.orders + 1 && repeated == 0)
}

pub(super) fn stay(terminal: &mut Terminal, parts: &Parts) -> io::Result<()> {
    let url = &parts.nats_url;
    terminal.line(format_args!(
        "\nEverything keeps running until Ctrl-C. Try, from another terminal:\n\n  \
         export NATS_URL={url}\n  \
         nats pub nalpaca.action.v0.orders.mine.1 '{{\"symbol\":\"TSLA\",\"side\":\"buy\",\"qty\":1,\
         \"order_type\":\"market\",\"tif\":\"day\"}}'\n  \
         nats sub 'nalpaca.data.v0.tradeupdates.>' --translate 'nalpaca decode TradeUpdate'\n  \
         nats kv get nalpaca positions --raw | nalpaca decode Positions\n  \
         nats stream view nalpaca-journal-stream-v0\n  \
         nalpaca buy AAPL 1 --wait\n  \
         nalpaca positions\n  \
         nalpaca top\n  \
         nalpaca tail quotes AAPL BTC/USD --add --last\n  \
         nalpaca bars AAPL --start 2026-01-02 --timeframe 1Day\n  \
         curl http://{}/readyz\n\n\
         The daemon's log is {}",
        parts.admin,
        parts.log_path().display()
    ))
}

/// Milliseconds with one decimal.
fn milliseconds(duration: Duration) -> String {
    let tenths = duration.as_micros() / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_one_decimal() {
        assert_eq!(milliseconds(Duration::from_micros(4_268)), "4.2 ms");
        assert_eq!(milliseconds(Duration::from_secs(2)), "2000.0 ms");
    }
}
