//! What the outside client does.

use serde_json::{Value, json};
use std::time::Duration;

use super::client::{Client, Heard, text};
use super::show::{self, Terminal};

/// What came of it all.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Time from publish to outcome, one for each command.
    pub(super) latencies: Vec<Duration>,
    /// Outcomes that were not what the script expects, for people.
    pub(super) surprises: Vec<String>,
    /// Commands published.
    pub(super) commands: usize,
    /// Orders the venue was to take.
    pub(super) orders: usize,
    /// Trade updates heard.
    pub(super) updates: usize,
}

/// One step of the script.
struct Step {
    title: &'static str,
    kind: &'static str,
    id: &'static str,
    payload: Option<Value>,
    /// The outcome it must have.
    outcome: &'static str,
    /// The trade update after which the step is over, and of which order.
    until: (&'static str, &'static str),
    /// Positions must change before the step is over.
    moves: bool,
}

fn steps() -> Vec<Step> {
    let order = |title, id, payload, until| Step {
        title,
        kind: "orders",
        id,
        payload: Some(payload),
        outcome: "ACCEPTED",
        until: (until, id),
        moves: until == "fill",
    };
    vec![
        order(
            "a market order",
            "demo.market",
            json!({"symbol": "AAPL", "side": "buy", "qty": 10, "order_type": "market", "tif": "day"}),
            "fill",
        ),
        order(
            "a limit order that rests",
            "demo.limit",
            json!({"symbol": "AAPL", "side": "buy", "qty": 5, "order_type": "limit", "limit_price": "1.00", "tif": "gtc"}),
            "new",
        ),
        Step {
            title: "is replaced under an id of its own",
            kind: "replace",
            id: "demo.limit-2",
            payload: Some(json!({"order": "demo.limit", "limit_price": "1.50"})),
            outcome: "ACCEPTED",
            until: ("replaced", "demo.limit"),
            moves: false,
        },
        Step {
            title: "and is canceled by that id",
            kind: "cancel",
            id: "demo.limit-2",
            payload: None,
            outcome: "ACCEPTED",
            until: ("canceled", "demo.limit-2"),
            moves: false,
        },
        order(
            "a bracket: an entry with a take-profit and a stop-loss",
            "demo.bracket",
            json!({"symbol": "MSFT", "side": "buy", "qty": 2, "order_type": "market", "tif": "gtc", "class": "bracket",
                   "take_profit": {"limit_price": "9000"}, "stop_loss": {"stop": "1"}}),
            "fill",
        ),
        order(
            "a symbol with a dot",
            "demo.class-b",
            json!({"symbol": "BRK.B", "side": "buy", "qty": 1, "order_type": "market", "tif": "day"}),
            "fill",
        ),
        order(
            "a symbol with a slash",
            "demo.crypto",
            json!({"symbol": "BTC/USD", "side": "buy", "qty": "0.05", "order_type": "market", "tif": "gtc"}),
            "fill",
        ),
        Step {
            title: "half of a position is closed",
            kind: "close",
            id: "demo.close",
            payload: Some(json!({"symbol": "AAPL", "percentage": 50})),
            outcome: "ACCEPTED",
            until: ("fill", "demo.close"),
            moves: true,
        },
        Step {
            title: "an order the venue refuses",
            kind: "orders",
            id: "demo.refused",
            payload: Some(
                json!({"symbol": "NVDA", "side": "buy", "qty": 1_000_000, "order_type": "market", "tif": "day"}),
            ),
            outcome: "REJECTED",
            until: ("rejected", "demo.refused"),
            moves: false,
        },
        Step {
            title: "everything that is still open is canceled",
            kind: "cancel",
            id: "ALL",
            payload: None,
            outcome: "ACCEPTED",
            until: ("canceled", ""),
            moves: false,
        },
    ]
}

/// Plays the script and prints what is heard.
pub(super) async fn play(client: &mut Client, terminal: &mut Terminal) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    let mut shown = Vec::new();
    for (number, step) in steps().into_iter().enumerate() {
        terminal.line(format_args!("\n{}. {}", number + 1, step.title))?;
        play_step(client, terminal, &mut summary, &mut shown, &step).await?;
    }
    Ok(summary)
}

async fn play_step(
    client: &mut Client,
    terminal: &mut Terminal,
    summary: &mut Summary,
    shown: &mut Vec<String>,
    step: &Step,
) -> anyhow::Result<()> {
    let subject = format!("nalpaca.action.v0.{}.{}", step.kind, step.id);
    show::command(terminal, &subject, step.payload.as_ref())?;
    let published = client.publish(&subject, step.payload.as_ref()).await?;
    summary.commands += 1;
    let (mut outcome, mut over, mut moved) = (false, false, !step.moves);
    while !(outcome && over && moved) {
        match client.hear().await? {
            Heard::Outcome(heard) => {
                let took = published.elapsed();
                summary.latencies.push(took);
                let kind = text(&heard["kind"]).replace("OUTCOME_KIND_", "");
                if kind != step.outcome {
                    summary
                        .surprises
                        .push(format!("{subject}: {kind}, expected {}", step.outcome));
                    over = true;
                    moved = true;
                }
                let posts = matches!(step.kind, "orders" | "close");
                summary.orders += usize::from(posts && kind == "ACCEPTED");
                show::outcome(terminal, &kind, &heard, took)?;
                outcome = true;
            }
            Heard::Update(heard) => {
                summary.updates += 1;
                show::update(terminal, &heard)?;
                let (event, id) = step.until;
                let is_its = id.is_empty() || text(&heard["order"]["client_order_id"]) == id;
                over |= is_its && text(&heard["event"]) == event;
            }
            Heard::Positions(heard) => {
                // A value that only says "still true" is not worth a table.
                let holdings = show::holdings(&heard);
                if holdings != *shown {
                    show::positions(terminal, &heard)?;
                    *shown = holdings;
                    moved = true;
                }
            }
        }
    }
    Ok(())
}
