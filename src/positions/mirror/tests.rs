//! The task with a scripted venue and a bucket in memory, under paused time.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::sleep;

use super::*;
use crate::domain::outcome::Refusal;
use crate::domain::{AssetClass, Symbol};
use crate::wire;

const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Script {
    positions: Vec<Position>,
    fail: bool,
    hang: bool,
    refuse: bool,
    reads: Vec<Instant>,
    account_reads: usize,
    keys: BTreeMap<String, Bytes>,
    writes: Vec<String>,
    revision: u64,
    fail_writes: bool,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Script>>);

#[derive(Debug, thiserror::Error)]
#[error("no bucket")]
struct NoBucket;

impl World {
    fn set<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        change(&mut self.0.lock().unwrap())
    }

    fn refused(&self) -> Result<(), ReadError> {
        let (fail, refuse) = self.set(|script| (script.fail, script.refuse));
        if refuse {
            let refusal = Refusal {
                http_status: 401,
                ..Refusal::default()
            };
            return Err(ReadError::AccountRefused(refusal));
        }
        let cause = "HTTP 500".to_owned();
        let retry_after = None;
        if fail {
            return Err(ReadError::Failed { cause, retry_after });
        }
        Ok(())
    }

    fn bucket<R>(&self, change: impl FnOnce(&mut Script) -> R) -> Result<R, NoBucket> {
        self.set(|script| {
            if script.fail_writes {
                return Err(NoBucket);
            }
            Ok(change(script))
        })
    }

    /// `positions` as JSON.
    fn shown(&self) -> serde_json::Value {
        let value = self.set(|script| script.keys.get("positions").cloned());
        let text = wire::decode_to_json("tradesvc.v0.Positions", &value.unwrap_or_default(), false);
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    fn is_fresh(&self) -> bool {
        self.shown()["fresh"] == true
    }

    fn version(&self) -> u64 {
        let value = self.set(|script| script.keys.get("positions").cloned());
        wire::read_positions_version(&value.unwrap_or_default())
    }

    fn position_keys(&self) -> Vec<String> {
        self.set(|script| {
            let keys = script.keys.keys().filter(|key| key.starts_with("position."));
            keys.cloned().collect()
        })
    }

    fn reads(&self) -> usize {
        self.set(|script| script.reads.len())
    }
}

impl Venue for World {
    async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        let hang = self.set(|script| {
            script.reads.push(Instant::now());
            script.hang
        });
        if hang {
            std::future::pending::<()>().await;
        }
        self.refused()?;
        Ok(self.set(|script| script.positions.clone()))
    }

    async fn account(&self) -> Result<Account, ReadError> {
        self.set(|script| script.account_reads += 1);
        self.refused()?;
        Ok(account())
    }
}

impl Keys for World {
    type Error = NoBucket;

    async fn get(&self, key: &str) -> Result<Option<Bytes>, NoBucket> {
        self.bucket(|script| script.keys.get(key).cloned())
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<u64, NoBucket> {
        self.bucket(|script| {
            script.keys.insert(key.to_owned(), value);
            script.writes.push(key.to_owned());
            script.revision += 1;
            script.revision
        })
    }

    async fn delete(&self, key: &str) -> Result<(), NoBucket> {
        self.bucket(|script| {
            script.keys.remove(key);
            script.revision += 1;
        })
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, NoBucket> {
        self.bucket(|script| {
            let keys = script.keys.keys().filter(|key| key.starts_with(prefix));
            keys.cloned().collect()
        })
    }
}

pub(in crate::positions) fn position(symbol: &str, qty: i64) -> Position {
    Position {
        asset_id: String::new(),
        symbol: Symbol::parse(symbol).unwrap(),
        exchange: String::new(),
        asset_class: AssetClass::UsEquity,
        asset_marginable: true,
        qty: qty.into(),
        qty_available: None,
        avg_entry_price: None,
        side: "long".to_owned(),
        market_value: None,
        cost_basis: None,
        unrealized_pl: None,
        unrealized_plpc: None,
        unrealized_intraday_pl: None,
        unrealized_intraday_plpc: None,
        current_price: None,
        lastday_price: None,
        change_today: None,
    }
}

fn account() -> Account {
    Account {
        id: "a".to_owned(),
        status: "ACTIVE".to_owned(),
        ..Account::unstated()
    }
}

struct Around {
    gateway: Gateway,
    handle: PositionsHandle,
    link: watch::Sender<Link>,
    first_done: watch::Receiver<bool>,
}

/// Runs a mirror against the world beside a test, and stops it at the end.
async fn beside(world: &World, test: impl AsyncFnOnce(Around)) {
    run_beside(world, true, test).await;
}

/// The same, where fills are told or where nobody looks for them.
async fn run_beside(world: &World, follows_updates: bool, test: impl AsyncFnOnce(Around)) {
    let (link, linked) = watch::channel(Link {
        connected: true,
        generation: 1,
    });
    let (gateway, stop) = (Gateway::new(Clock::system()), CancellationToken::new());
    let task = Task::new(
        world.clone(),
        world.clone(),
        linked,
        gateway.clone(),
        Clock::system(),
        INTERVAL,
        follows_updates,
    );
    let around = Around {
        gateway,
        handle: PositionsHandle(Arc::clone(&task.told)),
        link,
        first_done: task.first_done.subscribe(),
    };
    let tested = async {
        test(around).await;
        stop.cancel();
    };
    tokio::join!(task.run(stop.clone()), tested);
}

async fn seconds(seconds: f32) {
    sleep(Duration::from_secs_f32(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_flat_account_is_an_empty_list_and_what_is_gone_is_deleted() {
    let world = World::default();
    world.set(|script| {
        script.keys.insert("position.OLD".to_owned(), Bytes::new());
        script.keys.insert("position.BRK=2EB".to_owned(), Bytes::new());
        script.positions = vec![position("BRK.B", 3)];
    });
    beside(&world, async |around| {
        seconds(1.0).await;
        assert!(*around.first_done.borrow());
        assert_eq!(world.position_keys(), ["position.BRK=2EB"]);
        assert!(world.is_fresh());
        world.set(|script| script.positions.clear());
        around.handle.refresh();
        seconds(0.5).await;
        assert_eq!(world.position_keys(), [""; 0]);
        assert!(world.is_fresh(), "flat, and known to be");
        assert!(world.set(|script| script.keys.contains_key("account")));
    })
    .await;
    assert!(!world.is_fresh(), "nobody vouches for it any more");
    let version = world.version();
    beside(&world, async |_| seconds(1.0).await).await;
    assert_eq!(world.version(), version + 2, "versions go on across restarts");
}

#[tokio::test(start_paused = true)]
async fn a_fill_is_answered_at_once_and_once_more_and_a_burst_once_a_second() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(10.0).await;
        assert_eq!(world.reads(), 1);
        around.handle.refresh();
        seconds(0.01).await;
        assert_eq!(world.reads(), 2, "at once");
        seconds(5.0).await;
        assert_eq!(world.reads(), 3, "and once more");
        for _ in 0..100 {
            around.handle.refresh();
            seconds(0.02).await;
        }
        seconds(5.0).await;
        let reads = world.reads() - 3;
        assert!(
            (3..=5).contains(&reads),
            "two seconds of fills cost {reads} reads"
        );
        seconds(40.0).await;
        assert!(world.reads() <= 3 + reads + 2, "then only the timer");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_stale_and_never_flat() {
    let world = World::default();
    world.set(|script| script.positions = vec![position("AAPL", 3)]);
    beside(&world, async |around| {
        seconds(1.0).await;
        world.set(|script| script.fail = true);
        around.handle.refresh();
        seconds(0.5).await;
        assert!(!world.is_fresh());
        assert_eq!(world.shown()["positions"][0]["symbol"], "AAPL");
        assert!(around.gateway.has(ConditionName::PositionsStale));
        assert!(!around.gateway.holds_orders());
        let version = world.version();
        seconds(120.0).await;
        assert_eq!(world.version(), version, "said once");
        world.set(|script| script.fail = false);
        seconds(20.0).await;
        assert!(world.is_fresh());
        assert!(!around.gateway.has(ConditionName::PositionsStale));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_makes_the_positions_stale_in_time() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(1.0).await;
        world.set(|script| script.hang = true);
        seconds(60.0).await;
        assert!(world.is_fresh());
        seconds(6.0).await;
        assert!(!world.is_fresh());
        assert!(around.gateway.has(ConditionName::PositionsStale));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_was_away_or_is_another_one_gets_everything_again() {
    let world = World::default();
    world.set(|script| script.positions = vec![position("AAPL", 3), position("MSFT", 1)]);
    beside(&world, async |around| {
        seconds(1.0).await;
        seconds(INTERVAL.as_secs_f32()).await;
        let singles =
            |script: &mut Script| script.writes.iter().filter(|key| *key == "position.AAPL").count();
        assert_eq!(world.set(singles), 2, "each statement dates each position anew");
        let version = world.version();
        world.set(|script| {
            script.keys.clear();
            script.revision = 0;
        });
        seconds(INTERVAL.as_secs_f32()).await;
        assert_eq!(world.position_keys().len(), 2, "the revision fell");
        assert!(world.version() > version);
        world.set(|script| {
            script.keys.clear();
            script.fail_writes = true;
        });
        around.link.send_modify(|link| link.generation = 2);
        seconds(10.0).await;
        world.set(|script| script.fail_writes = false);
        seconds(5.0).await;
        assert_eq!(world.position_keys().len(), 2, "the connection is another one");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_account_stops_orders_until_it_is_read_again() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(1.0).await;
        world.set(|script| script.refuse = true);
        around.handle.refresh();
        seconds(0.5).await;
        assert!(around.gateway.holds_orders());
        world.set(|script| script.refuse = false);
        seconds(REFUSED_RETRY.as_secs_f32() + 3.0).await;
        assert!(!around.gateway.has(ConditionName::AccountRefused));
    })
    .await;
}

#[test]
fn the_task_can_be_spawned() {
    fn spawnable<F: Future + Send + 'static>(_: fn(Mirror, CancellationToken) -> F) {}
    spawnable(Mirror::run);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_process_left_is_stale_before_the_venue_has_answered() {
    let world = World::default();
    world.set(|script| script.positions = vec![position("AAPL", 3)]);
    beside(&world, async |_| seconds(1.0).await).await;
    // Dead without a word: what it wrote last says that it is fresh.
    let left: Vec<_> = world.set(|script| script.keys.clone().into_iter().collect());
    let fresh = Holdings {
        positions: vec![position("AAPL", 3)],
        as_of: Timestamp::UNIX_EPOCH,
        source: SOURCE,
        fresh: true,
        version: 70,
    };
    world.set(|script| {
        script
            .keys
            .insert("positions".to_owned(), wire::positions(&fresh).bytes);
        script.keys.insert(
            "position.AAPL".to_owned(),
            wire::position(&fresh.positions[0], &fresh).bytes,
        );
        script.hang = true;
    });
    assert!(!left.is_empty());
    beside(&world, async |_| {
        seconds(1.0).await;
        assert!(!world.is_fresh());
        assert_eq!(world.version(), 71);
        let single = world.set(|script| script.keys["position.AAPL"].clone());
        let shown = wire::decode_to_json("Position", &single, false).unwrap();
        assert!(
            shown.contains(r#""qty":"3""#) && !shown.contains(r#""fresh":true"#),
            "{shown}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_fills_cannot_be_seen_nothing_is_fresh() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(1.0).await;
        assert!(world.is_fresh());
        // A stream that is replaced at once costs nothing.
        around.gateway.raise(ConditionName::Blind, "no stream", true);
        seconds(1.5).await;
        assert!(world.is_fresh());
        around.gateway.clear(ConditionName::Blind);
        seconds(3.0).await;
        assert!(world.is_fresh());
        around.gateway.raise(ConditionName::Blind, "no stream", true);
        seconds(2.5).await;
        assert!(!world.is_fresh());
        assert!(around.gateway.has(ConditionName::PositionsStale));
        // They are shown as they are, and not vouched for.
        world.set(|script| script.positions = vec![position("AAPL", 2)]);
        seconds(INTERVAL.as_secs_f32()).await;
        assert_eq!(world.shown()["positions"][0]["qty"], "2");
        assert!(!world.is_fresh());
        around.gateway.clear(ConditionName::Blind);
        seconds(2.0).await;
        assert!(world.is_fresh());
        assert!(!around.gateway.has(ConditionName::PositionsStale));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_venue_that_is_heard_again_is_asked_at_once() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(1.0).await;
        world.set(|script| script.fail = true);
        around.gateway.raise(ConditionName::Blind, "no stream", true);
        around.handle.refresh();
        seconds(90.0).await;
        assert!(!world.is_fresh());
        world.set(|script| script.fail = false);
        around.gateway.clear(ConditionName::Blind);
        seconds(1.5).await;
        assert!(world.is_fresh(), "however long it was away");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fill_the_venue_does_not_answer_for_makes_its_positions_stale() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(1.0).await;
        world.set(|script| script.hang = true);
        around.handle.refresh();
        seconds(2.5).await;
        assert!(world.is_fresh(), "it may still answer");
        seconds(1.0).await;
        assert!(!world.is_fresh());
        world.set(|script| script.hang = false);
        seconds(INTERVAL.as_secs_f32() * 4.0).await;
        assert!(
            !world.is_fresh(),
            "the one that hangs has its own timeout, in the client"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn positions_that_are_not_the_sum_of_their_fills_are_reported_and_shown() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(40.0).await;
        world.set(|script| script.positions = vec![position("AAPL", 2)]);
        seconds(40.0).await;
        assert!(
            !around.gateway.has(ConditionName::PositionsDiffer),
            "a fill may be on its way"
        );
        seconds(60.0).await;
        assert!(around.gateway.has(ConditionName::PositionsDiffer));
        let state = around.gateway.state();
        let reason = state.conditions.iter().map(|condition| condition.reason.as_str());
        assert_eq!(reason.collect::<String>(), "AAPL: 0 by the fills, 2 at the venue");
        assert!(!around.gateway.holds_orders());
        assert_eq!(world.shown()["positions"][0]["qty"], "2");
        assert!(world.is_fresh(), "the venue is right");
        seconds(60.0).await;
        assert!(!around.gateway.has(ConditionName::PositionsDiffer), "said once");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn fills_refresh_the_account_too_and_not_without_end() {
    let world = World::default();
    beside(&world, async |around| {
        seconds(10.0).await;
        assert_eq!(world.set(|script| script.account_reads), 1);
        around.handle.refresh();
        seconds(1.5).await;
        assert_eq!(world.set(|script| script.account_reads), 2);
        for _ in 0..120 {
            around.handle.refresh();
            seconds(0.1).await;
        }
        assert_eq!(world.set(|script| script.account_reads), 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_looks_for_fills_positions_need_not_be_their_sum_and_are_fresh() {
    let world = World::default();
    run_beside(&world, false, async |around| {
        around.gateway.raise(ConditionName::Blind, "switched off", false);
        seconds(40.0).await;
        world.set(|script| script.positions = vec![position("AAPL", 2)]);
        for _ in 0..30 {
            seconds(10.0).await;
            assert!(!around.gateway.has(ConditionName::PositionsDiffer));
            assert!(world.is_fresh());
        }
    })
    .await;
}
