//! Trials of the drop copy and the mirrors: fills happen throughout, also of orders placed elsewhere, and everything
//! between the venue and its listeners is broken.

use std::pin::Pin;
use std::time::Duration;

use nalpaca::sim::Endpoint;
use nalpaca::trial::Point;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::arena::{Arena, Setup, market};
use super::chance::Chance;
use super::evidence::{DROP_TO_CLOSED, FILL_TO_SUBSCRIBER, KILL_TO_READY, MUTE_TO_CLOSED};
use super::judge::feed_history::Bounds;
use super::judge::history::Kind;
use super::proxy::{Proxy, Weather};
use super::support::Daemon;
use super::support::daemon::{KEY, SECRET};
use super::trial::{Report, Trial};

const SYMBOLS: [&str; 4] = ["AAPL", "MSFT", "NVDA", "BRK.B"];
/// How long orders are placed and filled.
const WORK: Duration = Duration::from_secs(4);
/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(45);
/// The order a point waits for.
const MARKED: &str = "00000000-0000-4000-8000-0000000000aa";

/// Somebody at the venue's dashboard, and the market.
pub(crate) struct Hand {
    client: reqwest::Client,
    base_url: String,
    chance: Chance,
    /// Client order ids of orders that rest, their symbols, and what is left of each.
    resting: Vec<(String, &'static str, u64)>,
    held: [u64; SYMBOLS.len()],
    number: u64,
    pub(crate) fills: usize,
}

impl Hand {
    pub(crate) fn new(base_url: String, chance: Chance) -> Self {
        Self {
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
            base_url,
            chance,
            resting: Vec::new(),
            held: [0; SYMBOLS.len()],
            number: 0,
            fills: 0,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base_url))
            .header("APCA-API-KEY-ID", KEY)
            .header("APCA-API-SECRET-KEY", SECRET);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.ok()?;
        let is_good = answer.status().is_success();
        let body = answer.text().await.ok()?;
        is_good.then(|| serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Places an order that rests, under an id as the dashboard gives them.
    async fn place(&mut self, id: Option<&str>, symbol: usize, side: &str, qty: u64) {
        self.number += 1;
        let id = id.map_or_else(
            || {
                format!(
                    "{:08x}-0000-4000-8000-{:012x}",
                    self.chance.next() as u32,
                    self.number
                )
            },
            str::to_owned,
        );
        let limit = if side == "buy" { "1" } else { "90000" };
        let symbol_name = SYMBOLS[symbol];
        let order = json!({
            "client_order_id": id, "symbol": symbol_name, "qty": qty.to_string(), "side": side,
            "type": "limit", "limit_price": limit, "time_in_force": "gtc",
        });
        if self.call(Method::POST, "/v2/orders", Some(order)).await.is_some() && side == "buy" {
            self.resting.push((id, symbol_name, qty));
        }
    }

    /// The market fills a part of an order.
    async fn fill(&mut self, id: &str, qty: u64) -> bool {
        let fill = json!({"order": id, "qty": qty.to_string(), "price": "10"});
        let filled = self.call(Method::POST, "/_sim/fill", Some(fill)).await.is_some();
        self.fills += usize::from(filled);
        filled
    }

    async fn cancel(&self, id: &str) {
        let path = format!("/v2/orders:by_client_order_id?client_order_id={id}");
        let order = self.call(Method::GET, &path, None).await;
        if let Some(order_id) = order.as_ref().and_then(|order| order["id"].as_str()) {
            self.call(Method::DELETE, &format!("/v2/orders/{order_id}"), None)
                .await;
        }
    }

    /// One thing that happens in a market.
    async fn act(&mut self) {
        let count = self.resting.len();
        match self.chance.below(10) {
            0..=2 => {
                let symbol = self.chance.below(SYMBOLS.len());
                let qty = 2 + self.chance.next() % 8;
                self.place(None, symbol, "buy", qty).await;
            }
            3..=8 if count > 0 => {
                let at = self.chance.below(count);
                let (id, symbol, left) = self.resting[at].clone();
                let qty = 1 + self.chance.next() % left;
                if self.fill(&id, qty).await {
                    let place = SYMBOLS
                        .iter()
                        .position(|known| *known == symbol)
                        .unwrap_or_default();
                    self.held[place] += qty;
                    self.resting[at].2 -= qty;
                    if qty == left {
                        self.resting.swap_remove(at);
                    }
                } else {
                    self.resting.swap_remove(at);
                }
            }
            9 if count > 3 => {
                let (id, ..) = self.resting.swap_remove(self.chance.below(count));
                self.cancel(&id).await;
            }
            _ => {}
        }
    }

    /// Goes on for a while.
    pub(crate) async fn work(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.act().await;
            tokio::time::sleep(self.chance.millis(2, 30)).await;
        }
    }

    /// Takes down what rests, and sells all there is.
    async fn flatten(&mut self) {
        for (id, ..) in std::mem::take(&mut self.resting) {
            self.cancel(&id).await;
        }
        for symbol in 0..SYMBOLS.len() {
            let qty = std::mem::take(&mut self.held[symbol]);
            if qty > 0 {
                let id = format!("0f1a7000-0000-4000-8000-00000000000{symbol}");
                self.place(Some(&id), symbol, "sell", qty).await;
                self.fill(&id, qty).await;
            }
        }
    }
}

/// What a scenario does; an error says why it shows nothing.
type Script = for<'a> fn(
    &'a mut Arena,
    &'a mut Hand,
    &'a mut Trial,
) -> Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// One fault, or one kind of it.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    bounds: Bounds,
    environment: Vec<(&'static str, String)>,
    does: Does,
    slow: bool,
}

#[derive(Clone)]
enum Does {
    /// The venue has this fault while orders are filled.
    Fault(&'static str),
    Script(Script),
    /// The daemon ends at a point, or stands still there while NATS is killed.
    Point {
        stands: bool,
    },
}

pub(crate) const CALM: &str = "feed: nothing goes wrong";
/// An order whose first event is the last thing a process sees is canceled before the next one starts.
pub(crate) const CANCELED_MEANWHILE: &str =
    "feed: kill -9 at the first event of an order that is canceled meanwhile";
pub(crate) const GAP: &str = "feed: an order is filled before a gap, in it and after it";
pub(crate) const FLAT: &str = "feed: all is sold in the end";
pub(crate) const BURST: &str = "feed: a burst of 5,000 events";
pub(crate) const UNREADABLE: &str = "feed: stream 15%: without order";
pub(crate) const REORDER: &str = "feed: stream 20%: reorder";
pub(crate) const LOSE: &str = "feed: stream 10%: lose";
pub(crate) const DUPLICATE: &str = "feed: stream 30%: duplicate";
pub(crate) const DROPPED: &str = "feed: the stream is dropped in the middle of fills";
pub(crate) const ENDED: &str = "feed: the stream ends cleanly";
pub(crate) const MUTE: &str = "feed: the stream goes mute";
pub(crate) const REFUSED: &str = "feed: the stream is dropped and refused for a while";
pub(crate) const POSITIONS_FAIL: &str = "feed: list_positions x12: status 503";

/// Every scenario.
pub(crate) fn scenarios(short: bool) -> Vec<Scenario> {
    // What is told at once, and shown at once: within three seconds of a fill the venue has not answered for, and what a busy
    // machine adds.
    let prompt = Bounds {
        told_within: Some(5.0),
        wrong_within: Some(7.0),
        ..Bounds::default()
    };
    // What a look at the venue must find first.
    let found = Bounds {
        told_within: Some(30.0),
        wrong_within: Some(16.0),
        ..Bounds::default()
    };
    let anyhow = Bounds::default();
    let fault = |fault: &'static str, bounds| Scenario {
        name: format!("feed: {fault}"),
        bounds,
        environment: Vec::new(),
        does: Does::Fault(fault),
        slow: false,
    };
    let script = |name: &str, bounds, script: Script| Scenario {
        name: name.to_owned(),
        bounds,
        environment: Vec::new(),
        does: Does::Script(script),
        slow: false,
    };
    let mut all = vec![
        fault("stream 30%: duplicate", prompt),
        fault("stream 10%: replay 5", prompt),
        fault("stream 20%: reorder", found),
        fault("stream 10%: lose", found),
        fault(
            "stream 15%: null-data",
            Bounds {
                told_within: Some(8.0),
                ..prompt
            },
        ),
        fault(
            "stream 15%: garbage-frame",
            Bounds {
                told_within: Some(8.0),
                ..prompt
            },
        ),
        fault("stream 50%: without execution_id,event_id,at", prompt),
        fault("stream 30%: without timestamp", prompt),
        fault(
            "stream 15%: without order",
            Bounds {
                told_within: Some(9.0),
                wrong_within: Some(9.0),
                ..prompt
            },
        ),
        fault("stream 40%: other-opcode", prompt),
        fault("stream 40%: heartbeat", prompt),
        fault("list_positions x12: status 503", anyhow),
        fault(
            "list_positions x8: delay 700ms",
            Bounds {
                wrong_within: Some(6.0),
                ..prompt
            },
        ),
        fault("list_positions x2: hang", anyhow),
        Scenario {
            environment: vec![("POSITIONS_REFRESH_INTERVAL", "1s".to_owned())],
            ..fault("get_account x4: status 500", prompt)
        },
        script(
            DROPPED,
            Bounds {
                told_within: Some(10.0),
                wrong_within: Some(6.0),
                ..anyhow
            },
            |arena, hand, trial| Box::pin(dropped(arena, hand, trial, "stream: drop")),
        ),
        script(
            ENDED,
            Bounds {
                told_within: Some(10.0),
                wrong_within: Some(6.0),
                ..anyhow
            },
            |arena, hand, trial| Box::pin(dropped(arena, hand, trial, "stream: end")),
        ),
        script(MUTE, found, |arena, hand, trial| {
            Box::pin(mute(arena, hand, trial))
        }),
        script(
            REFUSED,
            Bounds {
                wrong_within: Some(5.0),
                ..anyhow
            },
            |arena, hand, trial| Box::pin(refused(arena, hand, trial)),
        ),
        script("feed: the stream is half-open", found, |arena, hand, _| {
            Box::pin(async move {
                arena
                    .world
                    .sim
                    .fault("stream: half-open 25s")
                    .expect("the venue knows the fault");
                hand.work(WORK).await;
                arena.note("stream half-open");
                Ok(())
            })
        }),
        script(
            "feed: back-fill from a venue whose lists fail",
            anyhow,
            |arena, hand, _| {
                Box::pin(backfill(
                    arena,
                    hand,
                    &["list_orders x6: status 503", "list_activities x4: status 502"],
                ))
            },
        ),
        script(
            "feed: back-fill from a venue whose lists are slow",
            anyhow,
            |arena, hand, _| {
                Box::pin(backfill(
                    arena,
                    hand,
                    &["list_orders x4: delay 1500ms", "list_activities x4: delay 1500ms"],
                ))
            },
        ),
        script(
            "feed: back-fill from a venue that hangs and breaks off",
            anyhow,
            |arena, hand, _| {
                Box::pin(backfill(
                    arena,
                    hand,
                    &[
                        "list_orders x1: hang",
                        "list_activities x2: cut-mid-body",
                        "get_clock x2: status 500",
                    ],
                ))
            },
        ),
        script("feed: nats is killed", anyhow, |arena, hand, _| {
            Box::pin(async move {
                let Arena { world, .. } = arena;
                let strikes = async {
                    for _ in 0..2 {
                        tokio::time::sleep(Duration::from_millis(900)).await;
                        world.nats.kill9();
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        world.nats.run().await;
                    }
                };
                tokio::join!(strikes, hand.work(WORK));
                arena.note("nats kill -9");
                Ok(())
            })
        }),
        script("feed: nats cannot be reached", anyhow, |arena, hand, _| {
            Box::pin(async move {
                unreachable(&arena.to_nats, hand).await;
                arena.note("nats connection cut");
                Ok(())
            })
        }),
        script("feed: nats stands still", anyhow, |arena, hand, _| {
            Box::pin(async move {
                let strikes = async {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    arena.world.nats.pause();
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    arena.world.nats.resume();
                };
                tokio::join!(strikes, hand.work(WORK));
                arena.note("nats SIGSTOP");
                Ok(())
            })
        }),
        script(
            "feed: kill -9 while orders are filled",
            anyhow,
            |arena, hand, trial| Box::pin(killed(arena, hand, trial)),
        ),
        script(
            "feed: SIGTERM while orders are filled",
            anyhow,
            |arena, hand, _| {
                Box::pin(async move {
                    let Arena { world, .. } = arena;
                    let strikes = async {
                        tokio::time::sleep(Duration::from_millis(1200)).await;
                        world.daemon.tell_to_stop();
                        until(|| world.daemon.has_ended()).await?;
                        world.daemon.run();
                        Ok(())
                    };
                    let (struck, ()) = tokio::join!(strikes, hand.work(WORK));
                    arena.note("daemon SIGTERM");
                    struck
                })
            },
        ),
        script("feed: the daemon stands still", anyhow, |arena, hand, _| {
            Box::pin(async move {
                let strikes = async {
                    tokio::time::sleep(Duration::from_millis(900)).await;
                    arena.world.daemon.pause();
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    arena.world.daemon.resume();
                };
                tokio::join!(strikes, hand.work(WORK));
                arena.note("daemon SIGSTOP");
                Ok(())
            })
        }),
        script("feed: the venue cannot be reached", anyhow, |arena, hand, _| {
            Box::pin(async move {
                unreachable(&arena.to_venue, hand).await;
                arena.note("venue connection cut");
                Ok(())
            })
        }),
        script("feed: the bucket is emptied", anyhow, |arena, hand, _| {
            Box::pin(async move {
                hand.work(WORK / 2).await;
                let bucket = arena.world.jetstream.get_stream("KV_nalpaca").await;
                bucket
                    .map_err(|error| error.to_string())?
                    .purge()
                    .await
                    .map_err(|error| error.to_string())?;
                arena.note("bucket purged");
                hand.work(WORK / 2).await;
                Ok(())
            })
        }),
        script(
            "feed: the bucket is deleted, then kill -9",
            anyhow,
            |arena, hand, _| {
                Box::pin(async move {
                    hand.work(WORK / 2).await;
                    arena
                        .world
                        .jetstream
                        .delete_stream("KV_nalpaca")
                        .await
                        .map_err(|error| error.to_string())?;
                    arena.note("bucket deleted");
                    hand.work(WORK / 4).await;
                    arena.world.daemon.kill9();
                    arena.note("daemon kill -9");
                    hand.work(WORK / 4).await;
                    arena.world.daemon.run();
                    Ok(())
                })
            },
        ),
        script(
            CALM,
            Bounds {
                nothing_recovered: true,
                ..prompt
            },
            |arena, hand, _| {
                Box::pin(async move {
                    hand.work(WORK * 2).await;
                    arena.note("none");
                    Ok(())
                })
            },
        ),
        script(FLAT, prompt, |arena, hand, _| {
            Box::pin(async move {
                hand.work(WORK / 2).await;
                hand.flatten().await;
                arena.note("all sold");
                Ok(())
            })
        }),
        script(GAP, anyhow, |arena, hand, _| {
            Box::pin(filled_in_a_gap(arena, hand))
        }),
        script(CANCELED_MEANWHILE, anyhow, |arena, hand, _| {
            Box::pin(canceled_meanwhile(arena, hand))
        }),
    ];
    // Some spans are wanted often, from whatever moment.
    for (name, times) in [(MUTE, 5), (DROPPED, 10)] {
        let scenario = all.iter().find(|scenario| scenario.name == name);
        let scenario = scenario.cloned().expect("it is above");
        all.extend((0..times).map(|time| Scenario {
            name: format!("{name}, once more ({time})"),
            slow: true,
            ..scenario.clone()
        }));
    }
    if let Some(scenario) = all
        .iter_mut()
        .find(|scenario| scenario.name == CANCELED_MEANWHILE)
    {
        scenario
            .environment
            .push(("NALPACA_TRIAL_POINT", format!("feed-judged:kill:{MARKED}")));
    }
    all.push(Scenario {
        slow: true,
        ..script(
            BURST,
            Bounds {
                wrong_within: Some(30.0),
                nothing_recovered: true,
                ..anyhow
            },
            |arena, hand, _| Box::pin(burst(arena, hand)),
        )
    });
    for point in POINTS {
        for stands in [false, true] {
            let how = if stands {
                "standstill, and nats is killed,"
            } else {
                "kill -9"
            };
            let what = if stands { "stop" } else { "kill" };
            let id = marked_at(point);
            all.push(Scenario {
                name: format!("feed: {how} at {}", point.as_str()),
                bounds: anyhow,
                environment: vec![("NALPACA_TRIAL_POINT", format!("{}:{what}:{id}", point.as_str()))],
                does: Does::Point { stands },
                slow: stands,
            });
        }
    }
    all.retain(|scenario| !(short && scenario.slow));
    all
}

/// Every point of the drop copy and the mirrors.
const POINTS: [Point; 13] = [
    Point::FeedHeard,
    Point::FeedJudged,
    Point::FeedFannedOut,
    Point::FeedStored,
    Point::FeedTold,
    Point::FeedMarking,
    Point::FeedMarked,
    Point::FeedRemembered,
    Point::FeedCaughtUp,
    Point::StateWriting,
    Point::StateWritten,
    Point::PositionsRead,
    Point::PositionsHalf,
];

/// What comes by a point first.
fn marked_at(point: Point) -> &'static str {
    match point.as_str() {
        "feed-marking" | "feed-marked" | "feed-remembered" | "feed-caught-up" => "watermark",
        "positions-read" | "positions-half" => "positions",
        _ => MARKED,
    }
}

/// The scenario of a name.
pub(crate) fn named(name: &str) -> Scenario {
    let found = scenarios(false)
        .into_iter()
        .find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called {name:?}"))
}

impl Scenario {
    pub(crate) async fn run(&self, seed: u64, bug: Option<&str>) -> Report {
        let mut trial = Trial::new(self.name.clone(), seed);
        let mut setup = Setup::new(seed);
        if let Some(bug) = bug {
            setup = setup.set("NALPACA_TRIAL_BUG", bug);
        }
        let mut arena = setup.start().await;
        if bug.is_some() {
            // Nobody need wait for what a bug has lost.
            arena.patience = Duration::from_secs(25);
        }
        arena.feed = Some(self.bounds);
        let mut hand = Hand::new(arena.world.sim.base_url(), Chance::new(seed));
        hand.work(WORK / 4).await;
        if !self.environment.is_empty() {
            // The trap is set for the next process, which finds some history.
            arena.world.daemon.kill9();
            for (name, value) in &self.environment {
                arena.world.daemon.set(name, value);
            }
            arena.world.daemon.run();
        }
        let done = match &self.does {
            Does::Fault(fault) => during(&mut arena, &mut hand, fault).await,
            Does::Script(script) => script(&mut arena, &mut hand, &mut trial).await,
            Does::Point { stands } => at_a_point(&mut arena, &mut hand, *stands).await,
        };
        // With a bug planted, what does not come to pass is what the judge is to see.
        if let Err(why) = done
            && bug.is_none()
        {
            return trial.toothless(arena, &why).await;
        }
        if hand.fills < 10 {
            return trial.toothless(arena, "hardly anything was filled").await;
        }
        count(&arena, &mut trial, self.name == CALM);
        trial.conclude(arena).await
    }
}

/// Counts what happened; of a calm venue also how long fills took.
fn count(arena: &Arena, trial: &mut Trial, is_calm: bool) {
    let snapshot = arena.world.sim.snapshot();
    trial.counted("fills at the venue", snapshot.fills().len());
    if is_calm {
        trial.counted("calm: fills", snapshot.fills().len());
        trial.counted(
            "calm: reads of the positions",
            snapshot.requests_to(Endpoint::ListPositions),
        );
        for latency in arena.witness.fill_latencies(&arena.world.sim) {
            trial.took(FILL_TO_SUBSCRIBER, latency);
        }
    }
}

async fn until(mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > give_up {
            return Err("it did not come to it".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits until the daemon sees again, or is blind.
async fn sees(daemon: &Daemon, should: bool) -> Result<(), String> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = daemon.get("/readyz").await;
        if answer.is_some_and(|answer| answer.body.contains("[+]blind ok") == should) {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err("it did not see again".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A fault of the venue's while orders are filled, ours among them.
async fn during(arena: &mut Arena, hand: &mut Hand, fault: &str) -> Result<(), String> {
    let before = struck(arena);
    arena.world.sim.fault(fault).expect("the venue knows the fault");
    for number in 0..6 {
        let (id, symbol) = (format!("ours.{number}"), SYMBOLS[number % SYMBOLS.len()]);
        arena
            .publish(Kind::Order, &id, symbol, &market(symbol, "2"))
            .await;
        hand.work(WORK / 6).await;
    }
    let count = struck(arena) - before;
    if count == 0 {
        return Err("the fault never struck".to_owned());
    }
    *arena.faults.entry(format!("venue: {fault}")).or_default() += count;
    Ok(())
}

fn struck(arena: &Arena) -> usize {
    let truth = arena.world.sim.truth(0);
    truth
        .iter()
        .filter(|line| line.contains("\"kind\":\"fault\""))
        .count()
}

/// The stream is lost twice while orders are filled.
async fn dropped(arena: &mut Arena, hand: &mut Hand, trial: &mut Trial, fault: &str) -> Result<(), String> {
    let Arena { world, .. } = arena;
    let mut closed = Vec::new();
    let strikes = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let began = Instant::now();
            world.sim.fault(fault).expect("the venue knows the fault");
            sees(&world.daemon, false).await?;
            sees(&world.daemon, true).await?;
            closed.push(began.elapsed());
        }
        Ok(())
    };
    let (done, ()) = tokio::join!(strikes, hand.work(WORK));
    for span in closed {
        trial.took(DROP_TO_CLOSED, span);
        arena.note(fault);
    }
    done
}

/// Nobody gets through to the other side for a while.
async fn unreachable(proxy: &Proxy, hand: &mut Hand) {
    hand.work(WORK / 6).await;
    proxy.set(Weather {
        refusing: true,
        ..Weather::FAIR
    });
    proxy.cut();
    hand.work(WORK / 2).await;
    proxy.set(Weather::FAIR);
    hand.work(WORK / 3).await;
}

/// The stream answers pings and tells nothing any more.
async fn mute(arena: &mut Arena, hand: &mut Hand, trial: &mut Trial) -> Result<(), String> {
    // A look at the venue is due every quarter of a minute.
    let pause = hand.chance.millis(0, 12_000);
    hand.work(pause).await;
    arena.world.sim.mute_streams(true);
    let began = Instant::now();
    arena.note("stream mute");
    hand.work(WORK).await;
    let missed = arena.witness.updates_seen();
    until_async(async || arena.witness.updates_seen() > missed).await?;
    trial.took(MUTE_TO_CLOSED, began.elapsed());
    arena.world.sim.mute_streams(false);
    Ok(())
}

async fn until_async(mut is_so: impl AsyncFnMut() -> bool) -> Result<(), String> {
    let give_up = Instant::now() + PATIENCE;
    while !is_so().await {
        if Instant::now() > give_up {
            return Err("it did not come to it".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The venue keeps the account's slot for a while, as it does after a crash.
async fn refused(arena: &mut Arena, hand: &mut Hand, _: &mut Trial) -> Result<(), String> {
    arena.world.sim.refuse_streams_for(Duration::from_secs(8));
    arena.world.sim.drop_streams();
    arena.note("stream refused");
    hand.work(WORK * 2).await;
    sees(&arena.world.daemon, true).await
}

/// The stream is lost, and the lists to read what was missed from are out of order.
async fn backfill(arena: &mut Arena, hand: &mut Hand, faults: &[&str]) -> Result<(), String> {
    let before = struck(arena);
    arena.world.sim.refuse_streams_for(Duration::from_millis(1500));
    arena.world.sim.drop_streams();
    hand.work(WORK / 4).await;
    for fault in faults {
        arena.world.sim.fault(fault).expect("the venue knows the fault");
    }
    hand.work(WORK).await;
    sees(&arena.world.daemon, true).await?;
    let count = struck(arena) - before;
    if count == 0 {
        return Err("no fault struck".to_owned());
    }
    *arena.faults.entry("venue: a list broken".to_owned()).or_default() += count;
    arena.note("stream dropped");
    Ok(())
}

async fn killed(arena: &mut Arena, hand: &mut Hand, trial: &mut Trial) -> Result<(), String> {
    let Arena { world, .. } = arena;
    let mut ready = Vec::new();
    let strikes = async {
        for pause in [300, 700, 200] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            world.daemon.kill9();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let began = Instant::now();
            world.daemon.run();
            world.daemon.ready().await;
            ready.push(began.elapsed());
        }
    };
    tokio::join!(strikes, hand.work(WORK));
    for span in ready {
        trial.took(KILL_TO_READY, span);
        arena.note("daemon kill -9");
    }
    Ok(())
}

/// The daemon dies, or stands still, where the marked order comes by.
async fn at_a_point(arena: &mut Arena, hand: &mut Hand, stands: bool) -> Result<(), String> {
    let Arena { world, .. } = arena;
    let strikes = async {
        if stands {
            until(|| world.daemon.is_stopped()).await?;
            world.nats.kill9();
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.nats.run().await;
            world.daemon.resume();
        } else {
            until(|| world.daemon.has_ended()).await?;
            world.daemon.kill9();
            world.daemon.unset("NALPACA_TRIAL_POINT");
            tokio::time::sleep(Duration::from_millis(400)).await;
            world.daemon.run();
        }
        Ok(())
    };
    let work = async {
        hand.work(WORK / 8).await;
        hand.place(Some(MARKED), 0, "buy", 9).await;
        for _ in 0..9 {
            hand.fill(MARKED, 1).await;
            hand.work(WORK / 16).await;
        }
        hand.work(WORK / 4).await;
    };
    let (struck, ()) = tokio::join!(strikes, work);
    arena.note(if stands {
        "daemon SIGSTOP, nats kill -9"
    } else {
        "daemon kill -9"
    });
    struck
}

async fn canceled_meanwhile(arena: &mut Arena, hand: &mut Hand) -> Result<(), String> {
    arena.world.daemon.ready().await;
    hand.place(Some(MARKED), 0, "buy", 9).await;
    until(|| arena.world.daemon.has_ended()).await?;
    arena.world.daemon.kill9();
    arena.world.daemon.unset("NALPACA_TRIAL_POINT");
    hand.cancel(MARKED).await;
    arena.note("daemon kill -9");
    arena.world.daemon.run();
    arena.world.daemon.ready().await;
    hand.work(WORK / 2).await;
    Ok(())
}

/// A fill that is heard has one before it that was not.
async fn filled_in_a_gap(arena: &mut Arena, hand: &mut Hand) -> Result<(), String> {
    hand.place(Some(MARKED), 0, "buy", 9).await;
    hand.fill(MARKED, 2).await;
    arena.world.sim.drop_streams();
    arena.note("stream dropped");
    // A quarter of a second passes before it connects again.
    sees(&arena.world.daemon, false).await?;
    hand.fill(MARKED, 3).await;
    sees(&arena.world.daemon, true).await?;
    hand.fill(MARKED, 4).await;
    hand.work(WORK).await;
    Ok(())
}

/// As many events as a bad day has, as fast as they can be made.
async fn burst(arena: &mut Arena, hand: &mut Hand) -> Result<(), String> {
    let sim = &arena.world.sim;
    let before = arena.witness.updates_seen();
    for round in 0..50_u32 {
        let id = format!("b0000000-0000-4000-8000-{round:012x}");
        hand.place(
            Some(&id),
            usize::try_from(round).unwrap_or_default() % SYMBOLS.len(),
            "buy",
            100,
        )
        .await;
        for _ in 0..100 {
            sim.fill(&id, 1.into(), 10.into())
                .map_err(|refusal| format!("{refusal:?}"))?;
        }
        hand.fills += 100;
    }
    until(|| arena.witness.updates_seen() >= before + 5_000).await?;
    arena.note("burst");
    Ok(())
}

/// One random mix of the above.
pub(crate) async fn mix(seed: u64) -> Report {
    let mut trial = Trial::new(format!("feed mix {seed}"), seed);
    let mut chance = Chance::new(seed);
    let mut setup = Setup::new(seed);
    if chance.below(4) == 0 {
        setup.release = super::support::Release::Oldest;
    }
    let mut arena = setup.start().await;
    arena.feed = Some(Bounds::default());
    let mut hand = Hand::new(arena.world.sim.base_url(), Chance::new(chance.next()));
    for _ in 0..6 {
        let strike = strike(&mut arena, &mut chance);
        tokio::join!(strike, hand.work(WORK / 3));
    }
    if !arena.world.nats.is_running() {
        arena.world.nats.run().await;
    }
    arena.heal().await;
    let healed = Instant::now();
    arena.world.daemon.ready().await;
    trial.took("healed to ready, after a storm", healed.elapsed());
    count(&arena, &mut trial, false);
    if hand.fills < 20 {
        return trial.toothless(arena, "hardly anything was filled").await;
    }
    let mut report = trial.conclude(arena).await;
    report.is_mix = true;
    report
}

/// Something goes wrong.
async fn strike(arena: &mut Arena, chance: &mut Chance) {
    tokio::time::sleep(chance.millis(0, 800)).await;
    match chance.below(12) {
        0 | 1 => {
            arena.world.daemon.kill9();
            tokio::time::sleep(chance.millis(0, 600)).await;
            arena.world.daemon.run();
            arena.note("daemon kill -9");
        }
        2 => {
            arena.world.nats.kill9();
            tokio::time::sleep(chance.millis(0, 500)).await;
            arena.world.nats.run().await;
            arena.note("nats kill -9");
        }
        3 => {
            arena.to_nats.cut();
            arena.note("nats connection cut");
        }
        4 => {
            arena.to_venue.cut();
            arena.note("venue connection cut");
        }
        5 => {
            arena.world.daemon.pause();
            tokio::time::sleep(chance.millis(100, 1500)).await;
            arena.world.daemon.resume();
            arena.note("daemon SIGSTOP");
        }
        other => {
            let fault = [
                "stream: drop",
                "stream: end",
                "stream: mute 900ms",
                "stream 30%: reorder",
                "stream 30%: lose",
                "stream 30%: without order",
                "stream 30%: replay 4",
                "list_orders x3: status 503",
                "list_activities x2: cut-mid-body",
                "list_positions x3: status 500",
                "stream: refuse 2s",
            ];
            for _ in 0..other / 3 {
                let text = chance.among(&fault);
                arena.world.sim.fault(text).expect("the venue knows the fault");
                arena.note(format!("venue: {text}"));
            }
        }
    }
}
