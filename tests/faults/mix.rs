//! Random mixes of faults under load, drawn from a seed; then everything is healed, and judged.

use std::collections::BTreeMap;
use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::arena::{Arena, Publisher, Setup, market, resting, valid_for};
use super::chance::Chance;
use super::feed::Hand;
use super::judge::feed_history::Bounds;
use super::judge::history::{Ack, Kind};
use super::poison;
use super::proxy::{Proxy, Weather};
use super::support::World;
use super::trial::{Report, Trial};

const SYMBOLS: [&str; 8] = ["AAPL", "AMZN", "F", "GOOG", "META", "MSFT", "NVDA", "BRK.B"];
const STRATEGIES: [&str; 3] = ["alpha", "beta", "gamma"];
/// How long faults and load go on.
const STORM: Duration = Duration::from_secs(12);
/// Commands a run publishes at most.
const COMMANDS_MAX: usize = 260;

/// One run.
pub(crate) async fn run(seed: u64) -> Report {
    let mut trial = Trial::new(format!("mix {seed}"), seed);
    let mut chance = Chance::new(seed);
    let mut setup = Setup::new(seed);
    if chance.below(4) == 0 {
        setup.release = super::support::Release::Oldest;
    }
    let mut arena = setup.start().await;
    arena.feed = Some(Bounds::default());
    let mut hand = Hand::new(arena.world.sim.base_url(), Chance::new(chance.next()));
    let mut for_load = Chance::new(chance.next());
    let poisons = {
        let Arena {
            world,
            to_nats,
            to_venue,
            publisher,
            faults,
            ..
        } = &mut arena;
        let mut nemesis = Nemesis {
            world,
            to_nats,
            to_venue,
            faults,
            chance: Chance::new(chance.next()),
            poisons: 0,
        };
        tokio::join!(nemesis.rage(), load(publisher, &mut for_load), hand.work(STORM));
        nemesis.poisons
    };
    // Poison needs the whole arena, and comes where the daemon may just be down, up or half-way.
    for poison in poison::all().iter().take(poisons) {
        if arena.world.nats.is_running() {
            poison::publish(&mut arena, poison).await;
            arena.note("poison");
        }
    }
    if !arena.world.nats.is_running() {
        arena.world.nats.run().await;
    }
    if arena.world.daemon.has_ended() {
        arena.world.daemon.run();
    }
    if arena.world.daemon.is_stopped() {
        arena.world.daemon.resume();
    }
    let healed = Instant::now();
    arena.heal().await;
    arena.world.daemon.ready().await;
    trial.took("healed to ready, after a storm", healed.elapsed());
    trial.counted("fills at the venue", arena.world.sim.snapshot().fills().len());
    let bites: usize = arena.faults.values().sum();
    let published = arena.publisher.commands().len();
    let mut report = trial.conclude(arena).await;
    report.is_mix = true;
    if bites < 5 || published < 60 {
        return report.toothless(format!("{bites} faults and {published} commands are no storm"));
    }
    report
}

struct Nemesis<'a> {
    world: &'a mut World,
    to_nats: &'a Proxy,
    to_venue: &'a Proxy,
    faults: &'a mut BTreeMap<String, usize>,
    chance: Chance,
    poisons: usize,
}

impl Nemesis<'_> {
    fn note(&mut self, fault: &str, count: usize) {
        *self.faults.entry(fault.to_owned()).or_default() += count;
    }

    /// Breaks things until the storm is over.
    async fn rage(&mut self) {
        let end = Instant::now() + STORM;
        // What goes on all the time.
        let share = self.chance.below(8);
        if share > 0 {
            for fault in [
                "cut-after-commit",
                "cut-before-commit",
                "status 503",
                "status-after-commit 500",
                "too-many retry-after 1s",
                "late-commit 2500ms",
                "hang-after-commit",
            ]
            .iter()
            .take(share)
            {
                let text = format!("submit_order 2%: {fault}");
                self.world.sim.fault(&text).expect("the venue knows the fault");
            }
        }
        while Instant::now() < end {
            tokio::time::sleep(self.chance.millis(150, 900)).await;
            self.strike().await;
        }
        // Of the faults at a rate the venue tells how many there were.
        let struck = self
            .world
            .sim
            .truth(0)
            .iter()
            .filter(|line| line.contains("\"kind\":\"fault\""))
            .count();
        self.note("venue: an answer broken", struck);
    }

    async fn strike(&mut self) {
        match self.chance.below(20) {
            0..=3 => {
                self.world.daemon.kill9();
                self.note("daemon kill -9", 1);
                tokio::time::sleep(self.chance.millis(0, 800)).await;
                self.world.daemon.run();
            }
            4 => {
                self.world.daemon.tell_to_stop();
                self.note("daemon SIGTERM", 1);
                // It may be cut short half-way through its farewell.
                let patience = Instant::now() + self.chance.millis(50, 4000);
                while !self.world.daemon.has_ended() && Instant::now() < patience {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                self.world.daemon.kill9();
                self.world.daemon.run();
            }
            5 => {
                self.world.daemon.pause();
                self.note("daemon SIGSTOP", 1);
                tokio::time::sleep(self.chance.millis(200, 3000)).await;
                self.world.daemon.resume();
            }
            6 | 7 => {
                self.world.nats.kill9();
                self.note("nats kill -9", 1);
                tokio::time::sleep(self.chance.millis(0, 700)).await;
                self.world.nats.run().await;
            }
            8 => {
                self.world.nats.pause();
                self.note("nats SIGSTOP", 1);
                tokio::time::sleep(self.chance.millis(200, 2500)).await;
                self.world.nats.resume();
            }
            9 | 10 => {
                self.to_nats.cut();
                self.note("nats connection cut", 1);
            }
            11 => self.freeze(true).await,
            12 | 13 => {
                self.to_venue.cut();
                self.note("venue connection cut", 1);
            }
            14 => self.freeze(false).await,
            15 => {
                self.world.sim.drop_streams();
                self.note("venue stream dropped", 1);
            }
            16 => {
                let count = 1 + self.chance.below(4);
                let reply = self
                    .chance
                    .among(&[
                        Reply::Hang,
                        Reply::HangAfterCommit,
                        Reply::CutMidBody,
                        Reply::BodyGarbage,
                        Reply::CutAfterCommit,
                    ])
                    .clone();
                let matcher = Matcher::endpoint(Endpoint::SubmitOrder);
                self.world.sim.script().times(count, matcher, reply);
            }
            17 => {
                let fault = self.chance.among(&[
                    "get_order_by_client_order_id x4: not-found",
                    "get_order_by_client_order_id x3: status 503",
                    "cancel_order x2: status 500",
                    "cancel_order x2: cut-after-commit",
                    "list_orders x1: status 502",
                    "replace_order x2: cut-after-commit",
                    "any x5: status 401 {\"code\":40110000,\"message\":\"request is not authorized\"}",
                ]);
                self.world.sim.fault(fault).expect("the venue knows the fault");
            }
            18 => {
                let deleted = self
                    .world
                    .jetstream
                    .delete_consumer_from_stream(
                        "nalpaca-orders-consumer-v0",
                        super::support::world::ACTION_STREAM,
                    )
                    .await;
                if deleted.is_ok() {
                    self.note("consumer deleted", 1);
                }
            }
            _ => self.poisons = (self.poisons + 1).min(4),
        }
    }

    /// A connection is half-open for a while, in one direction or both.
    async fn freeze(&mut self, nats: bool) {
        let ways = self.chance.below(3);
        let weather = Weather {
            up_frozen: ways != 1,
            down_frozen: ways != 0,
            ..Weather::FAIR
        };
        let (proxy, name) = if nats {
            (self.to_nats, "nats half-open")
        } else {
            (self.to_venue, "venue half-open")
        };
        proxy.set(weather);
        self.note(name, 1);
        tokio::time::sleep(self.chance.millis(300, 4000)).await;
        let proxy = if nats { self.to_nats } else { self.to_venue };
        proxy.set(Weather::FAIR);
        if self.chance.below(2) == 0 {
            proxy.cut();
        }
    }
}

/// Publishes commands of all kinds until the storm is over.
async fn load(publisher: &mut Publisher, chance: &mut Chance) {
    let end = Instant::now() + STORM;
    let mut orders: Vec<(String, String, Value)> = Vec::new();
    let mut number = 0;
    while Instant::now() < end && publisher.commands().len() < COMMANDS_MAX {
        tokio::time::sleep(chance.millis(5, 60)).await;
        number += 1;
        let strategy = chance.among(&STRATEGIES);
        let id = format!("{strategy}.{number}");
        let symbol = (*chance.among(&SYMBOLS)).to_owned();
        match chance.below(100) {
            0..=61 => {
                let order = if chance.below(3) == 0 {
                    market(&symbol, "2")
                } else {
                    resting(&symbol)
                };
                let order = valid_for(order, chance.millis(1500, 45_000));
                if chance.below(40) == 0 {
                    // The cancel comes first.
                    publisher.publish(Kind::Cancel, &id, &symbol, &json!({})).await;
                }
                let ack = publisher.publish(Kind::Order, &id, &symbol, &order).await;
                if ack == Ack::Unknown {
                    // As a publisher would: again, and the same.
                    publisher.publish(Kind::Order, &id, &symbol, &order).await;
                }
                orders.push((id, symbol, order));
            }
            62..=71 if !orders.is_empty() => {
                let (order, symbol, _) = chance.among(&orders).clone();
                let replace = json!({"order": order, "limit_price": "2"});
                let replace = valid_for(replace, chance.millis(1500, 30_000));
                let strategy = order.split('.').next().unwrap_or_default();
                let id = format!("{strategy}.r{number}");
                publisher.publish(Kind::Replace, &id, &symbol, &replace).await;
            }
            72..=83 if !orders.is_empty() => {
                let (order, symbol, _) = chance.among(&orders).clone();
                publisher.publish(Kind::Cancel, &order, &symbol, &json!({})).await;
            }
            84..=87 if !orders.is_empty() => {
                let (order, symbol, message) = chance.among(&orders).clone();
                publisher.publish(Kind::Order, &order, &symbol, &message).await;
            }
            88..=90 if !orders.is_empty() => {
                let (order, symbol, mut message) = chance.among(&orders).clone();
                message["qty"] = json!("3");
                publisher.publish(Kind::Order, &order, &symbol, &message).await;
            }
            91..=95 => {
                let close = valid_for(json!({"symbol": symbol}), chance.millis(3000, 30_000));
                publisher
                    .publish(Kind::Close, &format!("{strategy}.c{number}"), &symbol, &close)
                    .await;
            }
            96 => {
                let close = valid_for(json!({"all": true}), chance.millis(3000, 30_000));
                publisher
                    .publish(Kind::CloseAll, &format!("{strategy}.a{number}"), "", &close)
                    .await;
            }
            97 => {
                let name = format!("{strategy}.ALL");
                publisher.publish(Kind::CancelMany, &name, "", &json!({})).await;
            }
            98 => {
                publisher.publish(Kind::CancelMany, "ALL", "", &json!({})).await;
            }
            _ => {}
        }
    }
}
