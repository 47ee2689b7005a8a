//! Each fault alone, under a small load.

use std::pin::Pin;
use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::json;
use tokio::time::Instant;

use super::arena::{Arena, Setup, market, resting, valid_for};
use super::evidence::{KILL_TO_READY, NATS_TO_FLOW, UNKNOWN_TO_SETTLED};
use super::judge::history::{Ack, Kind};
use super::poison;
use super::proxy::Weather;
use super::support::Daemon;
use super::trial::{Report, Trial};

/// Symbols that share no line.
const SYMBOLS: [&str; 6] = ["AAPL", "AMZN", "GOOG", "META", "MSFT", "NVDA"];
/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a scenario does; an error says why it shows nothing.
type Script =
    for<'a> fn(&'a mut Arena, &'a mut Trial) -> Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// One fault, or one kind of it.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// The venue takes its time between an answer and what comes of it.
    slow_market: bool,
    /// It takes its time, and the short form leaves it out.
    slow: bool,
    environment: Vec<(&'static str, &'static str)>,
    does: Does,
}

#[derive(Clone)]
enum Does {
    /// The venue answers to the first request of each of a few orders with this.
    Venue(Endpoint, &'static str),
    Script(Script),
}

impl Scenario {
    pub(crate) async fn run(&self, seed: u64, bug: Option<&str>) -> Report {
        let mut trial = Trial::new(self.name.clone(), seed);
        let mut setup = Setup::new(seed);
        if self.slow_market {
            setup.sim.event_delay = Duration::from_millis(400);
        }
        for (name, value) in &self.environment {
            setup = setup.set(name, *value);
        }
        if let Some(bug) = bug {
            setup = setup.set("NALPACA_TRIAL_BUG", bug);
        }
        let mut arena = setup.start().await;
        if bug.is_some() {
            // Nobody need wait for what a bug has lost.
            arena.patience = Duration::from_secs(25);
        }
        let done = match &self.does {
            Does::Venue(endpoint, fault) => venue(&mut arena, &mut trial, *endpoint, fault).await,
            Does::Script(script) => script(&mut arena, &mut trial).await,
        };
        match done {
            Ok(()) => trial.conclude(arena).await,
            Err(why) => trial.toothless(arena, &why).await,
        }
    }
}

/// Every scenario.
pub(crate) fn scenarios(short: bool) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (fault, slow) in VENUE {
        scenarios.push(Scenario {
            name: format!("venue: submit_order: {fault}"),
            slow_market: false,
            slow: *slow,
            environment: Vec::new(),
            does: Does::Venue(Endpoint::SubmitOrder, fault),
        });
    }
    for fault in [
        "cut-before-commit",
        "cut-after-commit",
        "hang-after-commit",
        "status 500",
        "late-commit 4s",
        "garbage",
    ] {
        scenarios.push(Scenario {
            name: format!("venue: replace_order: {fault}"),
            slow_market: false,
            slow: false,
            environment: Vec::new(),
            does: Does::Venue(Endpoint::ReplaceOrder, fault),
        });
    }
    for (name, slow, environment, script) in scripts() {
        scenarios.push(Scenario {
            name: name.to_owned(),
            slow_market: name.contains("loses to a fill"),
            slow,
            environment,
            does: Does::Script(script),
        });
    }
    scenarios.retain(|scenario| !(short && scenario.slow));
    scenarios
}

/// One scenario by its name.
pub(crate) fn named(name: &str) -> Scenario {
    let found = scenarios(false)
        .into_iter()
        .find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called {name:?}"))
}

/// The scenario in which the venue calls an order a duplicate of itself.
pub(crate) const DUPLICATE: &str = "venue: submit_order: status-after-commit 422 \
    {\"code\":40010001,\"message\":\"client_order_id must be unique\"}";

/// What the venue does to a POST, and whether that takes long.
const VENUE: &[(&str, bool)] = &[
    ("cut-before-commit", false),
    ("cut-after-commit", false),
    ("cut-mid-body", false),
    ("hang", false),
    ("hang-after-commit", false),
    ("delay 3s", false),
    ("delay-after-commit 3s", false),
    ("late-commit 4s", false),
    ("late-commit 4s status 504", false),
    ("status 500", false),
    ("status 503", false),
    ("status-after-commit 500", false),
    ("status-after-commit 408", false),
    ("gateway-timeout-after-commit", false),
    ("html 502", false),
    ("html 403", false),
    (
        "status 401 {\"code\":40110000,\"message\":\"request is not authorized\"}",
        false,
    ),
    ("garbage", false),
    ("huge 9000000", false),
    ("gzip", false),
    ("content-type text/html", false),
    ("redirect http://127.0.0.1:9/", false),
    ("drip 40 500ms", false),
    ("blind 6s", false),
    ("too-many", false),
    ("too-many retry-after 1s", false),
    ("too-many reset -5", false),
    ("too-many reset 4102444800", true),
    (
        "status-after-commit 422 {\"code\":40010001,\"message\":\"client_order_id must be unique\"}",
        false,
    ),
    (
        "status 422 {\"code\":40010001,\"message\":\"client order id must be unique\"}",
        false,
    ),
];

async fn venue(
    arena: &mut Arena,
    trial: &mut Trial,
    endpoint: Endpoint,
    fault: &'static str,
) -> Result<(), String> {
    let count = SYMBOLS.len();
    if endpoint == Endpoint::ReplaceOrder {
        for (at, symbol) in SYMBOLS.iter().enumerate() {
            arena
                .publish(Kind::Order, &format!("v.base{at}"), symbol, &resting(symbol))
                .await;
        }
        rest(arena).await?;
        for at in 0..count {
            arena.world.status(&format!("v.base{at}"), "new").await;
        }
    }
    arena
        .world
        .sim
        .fault(&format!("{} x{count}: {fault}", endpoint.name()))
        .map_err(|error| error.to_string())?;
    for (at, symbol) in SYMBOLS.iter().enumerate() {
        let (kind, message) = if endpoint == Endpoint::ReplaceOrder {
            let message = json!({"order": format!("v.base{at}"), "limit_price": "2"});
            (Kind::Replace, message)
        } else {
            (Kind::Order, resting(symbol))
        };
        arena.publish(kind, &format!("v.{at}"), symbol, &message).await;
    }
    // What is behind them in the same lines, and gets a good answer.
    for (at, symbol) in SYMBOLS.iter().enumerate() {
        arena
            .publish(Kind::Order, &format!("v.behind{at}"), symbol, &resting(symbol))
            .await;
    }
    let began = Instant::now();
    rest(arena).await?;
    let what = match fault.split(' ').next() {
        Some("too-many") => "paced by the venue to outcome",
        Some("status" | "html") if fault.contains("40") => "account refused once to outcome",
        _ => UNKNOWN_TO_SETTLED,
    };
    trial.took(what, began.elapsed());
    if arena.world.sim.script().pending() > 0 {
        return Err(format!(
            "{} faults did not happen",
            arena.world.sim.script().pending()
        ));
    }
    for _ in 0..count {
        arena.note(format!(
            "venue: {}: {}",
            endpoint.name(),
            fault.split(" {").next().unwrap_or(fault)
        ));
    }
    Ok(())
}

/// Waits until everything is settled. If it never is, the checker says what is missing.
async fn rest(arena: &Arena) -> Result<(), String> {
    arena.quiesce().await;
    Ok(())
}

/// Publishes resting orders over all symbols.
async fn load(arena: &mut Arena, name: &str, count: usize) {
    for at in 0..count {
        let symbol = SYMBOLS[at % SYMBOLS.len()];
        arena
            .publish(Kind::Order, &format!("{name}.{at}"), symbol, &resting(symbol))
            .await;
    }
}

/// Publishes one order and waits for its outcome. How long that took.
async fn probe(arena: &mut Arena, id: &str) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        let ack = arena.publish(Kind::Order, id, "F", &resting("F")).await;
        if matches!(ack, Ack::Stored { .. }) {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err("nothing can be published".to_owned());
        }
    }
    while began.elapsed() < PATIENCE {
        let found = arena
            .world
            .stored(
                "nalpaca-journal-stream-v0",
                &format!("nalpaca.journal.v0.outcomes.{id}"),
            )
            .await;
        if !found.is_empty() {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("{id} has no outcome"))
}

async fn ready(daemon: &mut Daemon) {
    daemon.ready().await;
}

/// Every POST is slow, so that some are always on the wire.
fn slow_venue(arena: &Arena) {
    arena.world.sim.script().always(
        Matcher::endpoint(Endpoint::SubmitOrder),
        Reply::Delay(Duration::from_millis(60)),
    );
}

type Row = (&'static str, bool, Vec<(&'static str, &'static str)>, Script);

#[expect(clippy::too_many_lines, reason = "a table")]
fn scripts() -> Vec<Row> {
    vec![
        (
            "daemon: kill -9 with orders in flight",
            false,
            vec![],
            |arena, trial| {
                Box::pin(async move {
                    slow_venue(arena);
                    load(arena, "k", 24).await;
                    for _ in 0..3 {
                        tokio::time::sleep(Duration::from_millis(80)).await;
                        arena.world.daemon.kill9();
                        arena.note("daemon kill -9");
                        let began = Instant::now();
                        arena.world.daemon.run();
                        ready(&mut arena.world.daemon).await;
                        trial.took(KILL_TO_READY, began.elapsed());
                    }
                    let began = Instant::now();
                    rest(arena).await?;
                    trial.took(
                        "kill -9 to the last outcome of what was in flight",
                        began.elapsed(),
                    );
                    Ok(())
                })
            },
        ),
        ("daemon: a storm of kill -9", false, vec![], |arena, _| {
            Box::pin(async move {
                slow_venue(arena);
                load(arena, "s", 30).await;
                for round in 0..12u64 {
                    arena.world.daemon.kill9();
                    arena.note("daemon kill -9");
                    arena.world.daemon.run();
                    tokio::time::sleep(Duration::from_millis(100 + round * 50)).await;
                }
                rest(arena).await
            })
        }),
        (
            "daemon: SIGTERM with orders in flight",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    slow_venue(arena);
                    load(arena, "t", 24).await;
                    for _ in 0..3 {
                        tokio::time::sleep(Duration::from_millis(70)).await;
                        let code = arena.world.daemon.terminate().await;
                        if code != 0 {
                            return Err(format!("the daemon ended with {code}"));
                        }
                        arena.note("daemon SIGTERM");
                        arena.world.daemon.run();
                        ready(&mut arena.world.daemon).await;
                    }
                    rest(arena).await
                })
            },
        ),
        ("daemon: SIGSTOP for 12 s", true, vec![], |arena, _| {
            Box::pin(async move {
                slow_venue(arena);
                load(arena, "p", 24).await;
                arena.world.daemon.pause();
                arena.note("daemon SIGSTOP");
                tokio::time::sleep(Duration::from_secs(12)).await;
                arena.world.daemon.resume();
                rest(arena).await
            })
        }),
        ("daemon: down past the deadlines", false, vec![], |arena, _| {
            Box::pin(async move {
                // Some were delivered once already, some never.
                arena.world.sim.script().always(
                    Matcher::endpoint(Endpoint::SubmitOrder),
                    Reply::Delay(Duration::from_secs(1)),
                );
                for (at, symbol) in SYMBOLS.iter().enumerate() {
                    for line in 0..3 {
                        let order = valid_for(resting(symbol), Duration::from_millis(1500));
                        arena
                            .publish(Kind::Order, &format!("x.{at}.{line}"), symbol, &order)
                            .await;
                    }
                }
                arena.world.daemon.kill9();
                arena.note("daemon kill -9");
                for (at, symbol) in SYMBOLS.iter().enumerate() {
                    let order = valid_for(resting(symbol), Duration::from_millis(500));
                    arena
                        .publish(Kind::Order, &format!("y.{at}"), symbol, &order)
                        .await;
                }
                tokio::time::sleep(Duration::from_millis(2500)).await;
                arena.world.sim.script().clear();
                arena.world.daemon.run();
                ready(&mut arena.world.daemon).await;
                rest(arena).await
            })
        }),
        (
            "daemon: down past the age of orders without a deadline",
            false,
            vec![("ORDER_MAX_AGE", "2s")],
            |arena, _| {
                Box::pin(async move {
                    arena.world.daemon.kill9();
                    arena.note("daemon kill -9");
                    load(arena, "a", 12).await;
                    arena.publisher.age(Duration::from_secs(2));
                    tokio::time::sleep(Duration::from_millis(2600)).await;
                    arena.world.daemon.run();
                    ready(&mut arena.world.daemon).await;
                    rest(arena).await
                })
            },
        ),
        (
            "daemon: a leader asleep in a POST, a standby, and its awakening",
            true,
            vec![],
            |arena, trial| {
                Box::pin(async move {
                    let mut second = arena.world.another("second");
                    second.not_ready("first leads").await;
                    arena.world.sim.script().times(
                        4,
                        Matcher::endpoint(Endpoint::SubmitOrder),
                        Reply::HangAfterCommit,
                    );
                    load(arena, "z", 18).await;
                    arena.world.daemon.pause();
                    arena.note("leader SIGSTOP");
                    arena.world.sim.drop_streams();
                    let began = Instant::now();
                    second.ready().await;
                    trial.took("leader stops to standby leads", began.elapsed());
                    rest(arena).await?;
                    arena.world.daemon.resume();
                    arena.world.daemon.not_ready("second leads").await;
                    load(arena, "zz", 6).await;
                    rest(arena).await
                })
            },
        ),
        (
            "daemon: a leader asleep before its last check, and a standby",
            true,
            vec![("NALPACA_TRIAL_POINT", "permitted:stop:lc.0")],
            |arena, _| {
                Box::pin(async move {
                    arena.world.daemon.unset("NALPACA_TRIAL_POINT");
                    let mut second = arena.world.another("second");
                    second.not_ready("first leads").await;
                    load(arena, "lc", 6).await;
                    let began = Instant::now();
                    while !arena.world.daemon.is_stopped() {
                        if began.elapsed() > PATIENCE {
                            return Err("the leader did not fall asleep".to_owned());
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    arena.note("leader SIGSTOP");
                    arena.world.sim.drop_streams();
                    second.ready().await;
                    rest(arena).await?;
                    arena.world.daemon.resume();
                    arena.world.daemon.not_ready("second leads").await;
                    rest(arena).await
                })
            },
        ),
        ("nats: kill -9 and restart", false, vec![], |arena, trial| {
            Box::pin(async move {
                slow_venue(arena);
                load(arena, "n", 24).await;
                for round in 0..10 {
                    arena.world.nats.kill9();
                    arena.note("nats kill -9");
                    arena.world.nats.run().await;
                    let flow = probe(arena, &format!("n.probe{round}")).await?;
                    trial.took(NATS_TO_FLOW, flow);
                }
                rest(arena).await
            })
        }),
        ("nats: SIGSTOP for 5 s", false, vec![], |arena, trial| {
            Box::pin(async move {
                slow_venue(arena);
                load(arena, "h", 24).await;
                arena.world.nats.pause();
                arena.note("nats SIGSTOP");
                tokio::time::sleep(Duration::from_secs(5)).await;
                arena.world.nats.resume();
                let flow = probe(arena, "h.probe").await?;
                trial.took("nats resumed to flow", flow);
                rest(arena).await
            })
        }),
        (
            "nats: the connection is cut again and again",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    slow_venue(arena);
                    load(arena, "c", 30).await;
                    for _ in 0..10 {
                        arena.to_nats.cut();
                        arena.note("nats connection cut");
                        tokio::time::sleep(Duration::from_millis(150)).await;
                    }
                    rest(arena).await
                })
            },
        ),
        (
            "nats: bytes to it stand still for 8 s",
            true,
            vec![],
            |arena, _| Box::pin(async move { frozen(arena, true, false).await }),
        ),
        (
            "nats: bytes from it stand still for 8 s",
            true,
            vec![],
            |arena, _| Box::pin(async move { frozen(arena, false, true).await }),
        ),
        (
            "nats: bytes stand still both ways for 8 s",
            true,
            vec![],
            |arena, _| Box::pin(async move { frozen(arena, true, true).await }),
        ),
        ("nats: refused for 3 s", false, vec![], |arena, _| {
            Box::pin(async move {
                load(arena, "r", 12).await;
                arena.to_nats.set(Weather {
                    refusing: true,
                    ..Weather::FAIR
                });
                arena.to_nats.cut();
                arena.note("nats refuses connections");
                load(arena, "rr", 12).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
                arena.to_nats.set(Weather::FAIR);
                rest(arena).await
            })
        }),
        ("nats: every chunk 50 ms late", false, vec![], |arena, _| {
            Box::pin(async move {
                arena.to_nats.set(Weather {
                    delay: Duration::from_millis(50),
                    ..Weather::FAIR
                });
                arena.note("nats slow");
                load(arena, "l", 12).await;
                rest(arena).await
            })
        }),
        (
            "nats: the consumer of orders is deleted",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    slow_venue(arena);
                    load(arena, "d", 12).await;
                    arena.delete_consumer().await?;
                    arena.note("consumer deleted");
                    load(arena, "dd", 12).await;
                    rest(arena).await
                })
            },
        ),
        ("nats: stranded commands", false, vec![], |arena, _| {
            Box::pin(async move {
                arena.world.daemon.kill9();
                let limited = arena.limit_deliveries(2).await?;
                load(arena, "g", 6).await;
                arena.strand(&limited).await?;
                arena.note("commands stranded");
                arena.limit_deliveries_off().await?;
                load(arena, "gg", 3).await;
                arena.world.daemon.run();
                ready(&mut arena.world.daemon).await;
                rest(arena).await
            })
        }),
        ("nats: the store is rolled back", false, vec![], |arena, _| {
            Box::pin(async move {
                load(arena, "b", 6).await;
                rest(arena).await?;
                arena.world.daemon.pause();
                load(arena, "bb", 6).await;
                let backup = arena.world.nats.backup();
                arena.world.nats.run().await;
                arena.world.daemon.resume();
                rest(arena).await?;
                let before = arena.world.posts();
                arena.world.nats.restore(&backup);
                arena.world.nats.run().await;
                arena.note("nats store rolled back");
                rest(arena).await?;
                if before == 0 {
                    return Err("nothing had been executed".to_owned());
                }
                Ok(())
            })
        }),
        ("nats: poison between good orders", false, vec![], |arena, _| {
            Box::pin(async move {
                for (at, poison) in poison::all().into_iter().enumerate() {
                    load(arena, &format!("o{at}"), 4).await;
                    poison::publish(arena, &poison).await;
                    arena.note("poison");
                    load(arena, &format!("oo{at}"), 4).await;
                }
                rest(arena).await
            })
        }),
        (
            "venue: the connection is cut again and again",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    slow_venue(arena);
                    load(arena, "vc", 30).await;
                    for _ in 0..10 {
                        arena.to_venue.cut();
                        arena.note("venue connection cut");
                        tokio::time::sleep(Duration::from_millis(150)).await;
                    }
                    rest(arena).await
                })
            },
        ),
        ("venue: answers stand still for 4 s", false, vec![], |arena, _| {
            Box::pin(async move {
                load(arena, "va", 6).await;
                arena.to_venue.set(Weather {
                    down_frozen: true,
                    ..Weather::FAIR
                });
                arena.note("venue answers frozen");
                load(arena, "vb", 12).await;
                tokio::time::sleep(Duration::from_secs(4)).await;
                arena.to_venue.set(Weather::FAIR);
                arena.to_venue.cut();
                rest(arena).await
            })
        }),
        ("venue: gone for 5 s", false, vec![], |arena, _| {
            Box::pin(async move {
                load(arena, "vg", 6).await;
                arena.to_venue.set(Weather {
                    refusing: true,
                    ..Weather::FAIR
                });
                arena.to_venue.cut();
                arena.note("venue refuses connections");
                load(arena, "vh", 12).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
                arena.to_venue.set(Weather::FAIR);
                rest(arena).await
            })
        }),
        (
            "venue: does not know an order it took, for a while",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    let script = arena.world.sim.script();
                    script.times(
                        SYMBOLS.len(),
                        Matcher::endpoint(Endpoint::SubmitOrder),
                        Reply::CutAfterCommit,
                    );
                    let fault = "get_order_by_client_order_id x18: not-found";
                    arena.world.sim.fault(fault).map_err(|error| error.to_string())?;
                    arena.note("look-ups behind");
                    load(arena, "vk", SYMBOLS.len()).await;
                    rest(arena).await
                })
            },
        ),
        (
            "venue: past the deadline nobody knows, then it turns up",
            true,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    // Taken, but look-ups know nothing of it until long after its deadline.
                    let script = arena.world.sim.script();
                    script.times(
                        SYMBOLS.len(),
                        Matcher::endpoint(Endpoint::SubmitOrder),
                        Reply::CutAfterCommit,
                    );
                    let fault = "get_order_by_client_order_id x40: not-found";
                    arena.world.sim.fault(fault).map_err(|error| error.to_string())?;
                    arena.note("look-ups behind");
                    for (at, symbol) in SYMBOLS.iter().enumerate() {
                        let order = valid_for(resting(symbol), Duration::from_secs(3));
                        arena
                            .publish(Kind::Order, &format!("vl.{at}"), symbol, &order)
                            .await;
                    }
                    tokio::time::sleep(Duration::from_secs(14)).await;
                    arena.world.sim.script().clear();
                    rest(arena).await
                })
            },
        ),
        ("venue: refuses the account for 3 s", false, vec![], |arena, _| {
            Box::pin(async move {
                let fault =
                    "any always: status 401 {\"code\":40110000,\"message\":\"request is not authorized\"}";
                arena.world.sim.fault(fault).map_err(|error| error.to_string())?;
                arena.note("account refused");
                load(arena, "ar", 12).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
                arena.world.sim.script().clear();
                rest(arena).await
            })
        }),
        (
            "commands: published twice and in two versions",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    for (at, symbol) in SYMBOLS.iter().enumerate() {
                        let id = format!("e.{at}");
                        let other = json!({"qty": "2", "symbol": symbol, "side": "SIDE_BUY",
                        "order_type": "ORDER_TYPE_LIMIT", "limit_price": "1", "tif": "TIME_IN_FORCE_GTC"});
                        arena.publish(Kind::Order, &id, symbol, &resting(symbol)).await;
                        arena.publish(Kind::Order, &id, symbol, &resting(symbol)).await;
                        arena.publish(Kind::Order, &id, symbol, &other).await;
                        arena.publish(Kind::Order, &id, symbol, &resting(symbol)).await;
                    }
                    arena.note("same id again");
                    rest(arena).await
                })
            },
        ),
        (
            "commands: cancels before, during and after",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    for (at, symbol) in SYMBOLS.iter().enumerate() {
                        let none = json!({});
                        arena
                            .publish(Kind::Cancel, &format!("before.{at}"), symbol, &none)
                            .await;
                    }
                    rest(arena).await?;
                    for (at, symbol) in SYMBOLS.iter().enumerate() {
                        let none = json!({});
                        let before = format!("before.{at}");
                        arena
                            .publish(Kind::Order, &before, symbol, &resting(symbol))
                            .await;
                        let during = format!("during.{at}");
                        arena
                            .publish(Kind::Order, &during, symbol, &resting(symbol))
                            .await;
                        arena.publish(Kind::Cancel, &during, symbol, &none).await;
                    }
                    arena.note("cancels against orders");
                    rest(arena).await
                })
            },
        ),
        (
            "commands: a wide cancel in the middle of a load",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    load(arena, "w1", 12).await;
                    rest(arena).await?;
                    // Slow enough for what comes behind to be there before the lists are read.
                    let fault = "list_orders x2: delay 700ms";
                    arena.world.sim.fault(fault).map_err(|error| error.to_string())?;
                    arena.publish(Kind::CancelMany, "w1.ALL", "", &json!({})).await;
                    arena.publish(Kind::CancelMany, "ALL", "", &json!({})).await;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    load(arena, "w2", 12).await;
                    arena.note("wide cancel under load");
                    rest(arena).await
                })
            },
        ),
        (
            "commands: a replace that loses to a fill",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    load(arena, "f", 4).await;
                    rest(arena).await?;
                    for at in 0..4 {
                        arena.world.status(&format!("f.{at}"), "new").await;
                    }
                    let one = "1".parse().map_err(|error| format!("{error}"))?;
                    for (at, symbol) in SYMBOLS.iter().enumerate().take(4) {
                        let replace = json!({"order": format!("f.{at}"), "limit_price": "2"});
                        arena
                            .publish(Kind::Replace, &format!("f.r{at}"), symbol, &replace)
                            .await;
                    }
                    for at in 0..4usize {
                        let began = Instant::now();
                        while arena.world.sim.order(&format!("f.r{at}")).is_none() {
                            if began.elapsed() > PATIENCE {
                                return Err("the venue did not take the replace".to_owned());
                            }
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        // Between the venue's answer and what comes of it.
                        let filled = arena.world.sim.fill(&format!("f.{at}"), one, one);
                        filled.map_err(|refusal| format!("{refusal:?}"))?;
                    }
                    arena.note("fill against replace");
                    rest(arena).await
                })
            },
        ),
        (
            "commands: positions are closed, and the daemon dies",
            false,
            vec![],
            |arena, _| {
                Box::pin(async move {
                    for (at, symbol) in SYMBOLS.iter().enumerate() {
                        arena
                            .publish(Kind::Order, &format!("q.{at}"), symbol, &market(symbol, "4"))
                            .await;
                    }
                    rest(arena).await?;
                    arena.world.sim.script().always(
                        Matcher::endpoint(Endpoint::SubmitOrder),
                        Reply::DelayAfterCommit(Duration::from_millis(300)),
                    );
                    let half = json!({"symbol": "AAPL", "percentage": "50"});
                    arena.publish(Kind::Close, "qc.half", "AAPL", &half).await;
                    arena
                        .publish(Kind::Close, "qc.one", "META", &json!({"symbol": "META"}))
                        .await;
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    arena.world.daemon.kill9();
                    arena.note("daemon kill -9");
                    arena.world.daemon.run();
                    ready(&mut arena.world.daemon).await;
                    rest(arena).await?;
                    arena
                        .publish(Kind::CloseAll, "qc.all", "", &json!({"all": true}))
                        .await;
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    arena.world.daemon.kill9();
                    arena.note("daemon kill -9");
                    arena.world.daemon.run();
                    rest(arena).await
                })
            },
        ),
    ]
}

async fn frozen(arena: &mut Arena, up: bool, down: bool) -> Result<(), String> {
    slow_venue(arena);
    load(arena, "fz", 18).await;
    arena.to_nats.set(Weather {
        up_frozen: up,
        down_frozen: down,
        ..Weather::FAIR
    });
    arena.note("nats half-open");
    load(arena, "fy", 6).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    arena.to_nats.set(Weather::FAIR);
    rest(arena).await
}
