//! Hands on the wheel: a halt and limits, under load, with the daemon killed in the middle.
#![expect(clippy::float_arithmetic, reason = "instants, not money")]

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::{Value, json};

use super::arena::{Arena, Setup, market, now, resting};
use super::chance::Chance;
use super::judge::checker::{Violation, Wrong};
use super::judge::history::Kind;
use super::support::scratch::Scratch;
use super::support::until;
use super::trial::{Report, Trial};

pub(crate) const HALT: &str = "wheel: a halt under load";
pub(crate) const HALT_KILLED: &str = "wheel: a halt under load, then kill -9";
pub(crate) const OPEN_ORDERS: &str = "wheel: a limit of open orders under load, and kill -9";
pub(crate) const ORDERS_A_DAY: &str = "wheel: a limit of orders a day, and kill -9";

/// Orders that are published before anything is done.
const LOAD: usize = 300;
/// Orders that are published under a limit, before the daemon is killed and after.
const LIMITED: usize = 40;
/// What the limits let pass.
const MAX: usize = 6;
/// How long the venue takes for each, so that the load lasts.
const VENUE_DELAY: Duration = Duration::from_millis(30);
/// Orders that are published while it is halted.
const HALTED: usize = 20;
/// What was sent before the acknowledgement may be seen so much after it: one thread sees both.
const LAG_S: f64 = 0.1;
/// How old a command may get here: whoever is in doubt and may not be sent again is watched from then on.
const AGE: Duration = Duration::from_secs(10);
/// Longest wait for the outcome of an order that is published while it is halted.
const PATIENCE: Duration = Duration::from_secs(20);

const SYMBOLS: [&str; 8] = ["AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA", "SPY"];

/// One trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
}

/// Every one there is.
pub(crate) fn scenarios() -> Vec<Scenario> {
    [HALT, HALT_KILLED, OPEN_ORDERS, ORDERS_A_DAY]
        .map(|name| Scenario { name })
        .into()
}

impl Scenario {
    pub(crate) async fn run(self, seed: u64, bug: Option<&str>) -> Report {
        match self.name {
            HALT => halt(self.name, seed, bug, false).await,
            HALT_KILLED => halt(self.name, seed, bug, true).await,
            OPEN_ORDERS => limited(self.name, seed, bug, "max_open_orders").await,
            _ => limited(self.name, seed, bug, "max_orders_per_day").await,
        }
    }
}

async fn start(seed: u64, bug: Option<&str>, limits: Option<&str>) -> Arena {
    let mut setup = Setup::new(seed)
        .set("ORDERS_MAX_IN_FLIGHT", "8")
        .set("ORDER_MAX_AGE", format!("{}s", AGE.as_secs()));
    if let Some(bug) = bug {
        setup = setup.set("NALPACA_TRIAL_BUG", bug);
    }
    if let Some(limits) = limits {
        setup = setup.set("LIMITS_FILE", limits);
    }
    let arena = setup.start().await;
    let submits = Matcher::endpoint(Endpoint::SubmitOrder);
    arena
        .world
        .sim
        .script()
        .always(submits, Reply::Delay(VENUE_DELAY));
    arena
}

async fn load(arena: &mut Arena, name: &str, count: usize, order: impl Fn(&str) -> Value) {
    for number in 0..count {
        let symbol = SYMBOLS[number % SYMBOLS.len()];
        let id = format!("{name}.{number}");
        arena.publish(Kind::Order, &id, symbol, &order(symbol)).await;
    }
}

/// Waits until the venue has so many orders.
async fn at_the_venue(arena: &Arena, count: usize) {
    until("orders at the venue", async || {
        (arena.world.sim.snapshot().orders().len() >= count).then_some(())
    })
    .await;
}

async fn kill(arena: &mut Arena) {
    arena.world.daemon.kill9();
    arena.note("daemon kill -9");
    arena.world.daemon.run();
    arena.world.daemon.ready().await;
}

/// Asks until there is an answer that is none of the gateway's not being there.
async fn ask(arena: &Arena, endpoint: &str) -> Value {
    until(&format!("an answer of {endpoint}"), async || {
        arena
            .world
            .ask(endpoint, &json!({"reason": "a trial"}))
            .await
            .ok()
    })
    .await
}

async fn halt(name: &str, seed: u64, bug: Option<&str>, kills: bool) -> Report {
    let mut trial = Trial::new(name.to_owned(), seed);
    let mut chance = Chance::new(seed);
    let mut arena = start(seed, bug, None).await;
    load(&mut arena, "load", LOAD, |symbol| market(symbol, "1")).await;
    at_the_venue(&arena, 5).await;
    let halted = ask(&arena, "admin.halt").await;
    let acknowledged = now();
    arena.note("halt");
    if halted["mode"] != "GATEWAY_MODE_HALTED" {
        return trial.toothless(arena, "it was not halted").await;
    }
    if kills {
        // Where it is killed decides whether commands are denied, in hand, or not taken.
        tokio::time::sleep(chance.millis(0, 60)).await;
        kill(&mut arena).await;
    }
    load(&mut arena, "halted", HALTED, |symbol| market(symbol, "1")).await;
    for number in 0..HALTED {
        // What was in doubt holds its symbol's line up till its deadline.
        if !arena.settles(&format!("halted.{number}"), PATIENCE).await {
            return trial
                .toothless(arena, "what came while it was halted had no outcome")
                .await;
        }
    }
    let resumed = now();
    ask(&arena, "admin.resume").await;
    load(&mut arena, "resumed", 8, |symbol| market(symbol, "1")).await;
    arena.publisher.age(AGE);
    arena.quiesce().await;
    let history = arena.history().await;
    let unbidden: Vec<Violation> = history
        .departures
        .iter()
        .filter(|departure| departure.at > acknowledged + LAG_S && departure.at < resumed)
        .map(|departure| Violation {
            wrong: Wrong::Unbidden,
            id: departure.id.clone(),
            text: format!(
                "sent {:.3} s after a halt was acknowledged",
                departure.at - acknowledged
            ),
        })
        .collect();
    let is_alive = history
        .departures
        .iter()
        .any(|departure| departure.id.starts_with("resumed."));
    if unbidden.is_empty() && !is_alive {
        return trial.toothless(arena, "nothing was sent after the resume").await;
    }
    trial.counted("orders denied by a halt", denied(&history.outcomes));
    let mut report = trial.conclude(arena).await;
    report.violations.extend(unbidden);
    report
}

async fn limited(name: &str, seed: u64, bug: Option<&str>, limit: &str) -> Report {
    let mut trial = Trial::new(name.to_owned(), seed);
    let mut chance = Chance::new(seed);
    let scratch = Scratch::new();
    let file = scratch.path().join("limits.toml");
    std::fs::write(&file, format!("[account]\n{limit} = {MAX}\n")).expect("write the limits");
    let mut arena = start(seed, bug, Some(&file.display().to_string())).await;
    load(&mut arena, "before", LIMITED, resting).await;
    let first = chance.below(4) + 1;
    at_the_venue(&arena, first).await;
    kill(&mut arena).await;
    load(&mut arena, "after", LIMITED, resting).await;
    arena.publisher.age(AGE);
    arena.quiesce().await;
    let history = arena.history().await;
    let count = history.orders.len();
    let denied = denied(&history.outcomes);
    if denied == 0 && count <= MAX {
        return trial.toothless(arena, "nothing was denied").await;
    }
    trial.counted("orders denied by a limit", denied);
    let mut report = trial.conclude(arena).await;
    if count > MAX {
        report.violations.push(Violation {
            wrong: Wrong::Unbidden,
            id: String::new(),
            text: format!("{limit} is {MAX}, and the venue has {count}"),
        });
    }
    report
}

fn denied(outcomes: &[super::judge::history::Outcome]) -> usize {
    outcomes.iter().filter(|outcome| outcome.kind == "DENIED").count()
}
