//! The daemon ends, or stands still, between every two steps of the path; for every kind of command, delivered for the
//! first time and delivered again. All of them, no sampling.

use std::time::Duration;

use nalpaca::sim::{Endpoint, Matcher, Reply};
use nalpaca::trial::Point;
use serde_json::json;
use tokio::time::Instant;

use super::arena::{Arena, Setup, market, resting};
use super::evidence::{KILL_TO_OUTCOME, KILL_TO_READY};
use super::judge::history::{Ack, Kind};
use super::trial::{Report, Trial};

/// How long a daemon that stands still does so: longer than it trusts its lease, and than a delivery waits for a beat.
const STANDSTILL: Duration = Duration::from_secs(11);
/// Longest wait for a trap to spring.
const SPRING: Duration = Duration::from_secs(20);
/// Longest wait for the outcome of a victim; the checker judges what takes longer.
const SETTLED: Duration = Duration::from_secs(40);
/// The one name traps listen for.
const VICTIM: &str = "t.victim";

/// What a victim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Order,
    /// An order whose answer the venue loses.
    Doubtful,
    /// An order the venue refuses.
    Refused,
    Replace,
    Cancel,
    /// A cancel that comes before its order.
    EarlyCancel,
    Close,
}

impl Victim {
    const ALL: [Self; 7] = [
        Self::Order,
        Self::Doubtful,
        Self::Refused,
        Self::Replace,
        Self::Cancel,
        Self::EarlyCancel,
        Self::Close,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Doubtful => "doubtful order",
            Self::Refused => "refused order",
            Self::Replace => "replace",
            Self::Cancel => "cancel",
            Self::EarlyCancel => "early cancel",
            Self::Close => "close",
        }
    }

    /// The points it passes, in order, when nothing disturbs it.
    const fn points(self) -> &'static [Point] {
        match self {
            Self::Order | Self::Replace | Self::Close => &[
                Point::Taken,
                Point::Read,
                Point::Turn,
                Point::LedgerRead,
                Point::Prepared,
                Point::IntentWritten,
                Point::Permitted,
                Point::Checked,
                Point::OnTheWire,
                Point::Answered,
                Point::Known,
                Point::Told,
                Point::Recorded,
                Point::Published,
                Point::Acking,
                Point::Acked,
            ],
            // The points only doubt leads to.
            Self::Doubtful => &[
                Point::Checked,
                Point::OnTheWire,
                Point::Answered,
                Point::Asking,
                Point::Asked,
                Point::Known,
                Point::Recorded,
                Point::Published,
                Point::Acking,
                Point::Acked,
            ],
            Self::Refused => &[
                Point::Answered,
                Point::Known,
                Point::Recorded,
                Point::Published,
                Point::RefusalTold,
                Point::Acking,
                Point::Acked,
            ],
            Self::Cancel => &[
                Point::Taken,
                Point::Read,
                Point::Canceling,
                Point::Canceled,
                Point::Known,
                Point::Published,
                Point::Acking,
                Point::Acked,
            ],
            Self::EarlyCancel => &[
                Point::Asking,
                Point::Asked,
                Point::Marked,
                Point::Known,
                Point::Published,
                Point::Acking,
                Point::Acked,
            ],
        }
    }
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    victim: Victim,
    point: Point,
    redelivered: bool,
    stops: bool,
}

/// Every case there is. The short form leaves out those that stand still.
pub(crate) fn cases(short: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for victim in Victim::ALL {
        for point in victim.points() {
            for redelivered in [false, true] {
                // Whatever else is decided, or was delivered before, is in the ledger first.
                if *point == Point::Told && (redelivered || victim != Victim::Order) {
                    continue;
                }
                for stops in [false, true] {
                    if !(short && stops) {
                        cases.push(Case {
                            victim,
                            point: *point,
                            redelivered,
                            stops,
                        });
                    }
                }
            }
        }
    }
    cases
}

impl Case {
    pub(crate) fn name(self) -> String {
        format!(
            "{} {}, {}, at {}",
            if self.redelivered { "redelivered" } else { "new" },
            self.victim.as_str(),
            if self.stops { "standstill" } else { "kill -9" },
            self.point.as_str()
        )
    }

    /// Cancels are told from each other by nothing at the venue's door.
    const fn text(self) -> &'static str {
        if matches!(self.point, Point::Canceling | Point::Canceled) {
            ""
        } else {
            VICTIM
        }
    }

    /// A first delivery, and `kill -9`.
    pub(crate) const fn new(victim: Victim, point: Point) -> Self {
        Self {
            victim,
            point,
            redelivered: false,
            stops: false,
        }
    }

    pub(crate) async fn run(self, seed: u64) -> Report {
        self.run_with(seed, None).await
    }

    pub(crate) async fn run_with(self, seed: u64, bug: Option<&str>) -> Report {
        let mut trial = Trial::new(self.name(), seed);
        let mut setup = Setup::new(seed);
        if let Some(bug) = bug {
            setup = setup.set("NALPACA_TRIAL_BUG", bug);
        }
        let mut arena = setup.start().await;
        self.prepare(&mut arena).await;
        if self.redelivered {
            arm(&mut arena, Point::Taken, "kill", VICTIM).await;
            self.publish(&mut arena).await;
            if !ended(&mut arena).await {
                return trial
                    .toothless(arena, "the first daemon did not take the command")
                    .await;
            }
        }
        let action = if self.stops { "stop" } else { "kill" };
        self.script(&arena);
        arm(&mut arena, self.point, action, self.text()).await;
        if !self.redelivered {
            self.publish(&mut arena).await;
        }
        let sprung = if self.stops {
            stands_still(&arena).await
        } else {
            ended(&mut arena).await
        };
        if !sprung {
            return trial.toothless(arena, "the trap did not spring").await;
        }
        arena.note(if self.stops {
            "daemon standstill"
        } else {
            "daemon kill -9"
        });
        disarm(&mut arena);
        let began = Instant::now();
        if self.stops {
            tokio::time::sleep(STANDSTILL).await;
            arena.world.daemon.resume();
        } else {
            arena.world.daemon.run();
            arena.world.daemon.ready().await;
            trial.took(KILL_TO_READY, began.elapsed());
        }
        self.follow_up(&mut arena).await;
        if !self.stops && arena.settles(VICTIM, SETTLED).await {
            trial.took(KILL_TO_OUTCOME, began.elapsed());
        }
        trial.conclude(arena).await
    }

    /// What must be there before the victim comes.
    async fn prepare(self, arena: &mut Arena) {
        let base = match self.victim {
            Victim::Order | Victim::Doubtful | Victim::Refused | Victim::EarlyCancel => return,
            Victim::Replace => ("t.base", resting("AAPL")),
            Victim::Cancel => (VICTIM, resting("AAPL")),
            Victim::Close => ("t.base", market("AAPL", "4")),
        };
        arena.publish(Kind::Order, base.0, "AAPL", &base.1).await;
        arena.quiesce().await;
        arena
            .world
            .status(
                base.0,
                if self.victim == Victim::Close {
                    "filled"
                } else {
                    "new"
                },
            )
            .await;
    }

    /// What the venue does to the victim.
    fn script(self, arena: &Arena) {
        let endpoint = if self.victim == Victim::Replace {
            Endpoint::ReplaceOrder
        } else {
            Endpoint::SubmitOrder
        };
        let victim = Matcher::endpoint(endpoint).containing(VICTIM);
        let script = arena.world.sim.script();
        if self.point == Point::OnTheWire {
            // Before the venue has acted, and after: every other seed.
            let pause = Duration::from_millis(400);
            let reply = if self.redelivered {
                Reply::Delay(pause)
            } else {
                Reply::DelayAfterCommit(pause)
            };
            script.next(victim.clone(), reply);
        }
        if self.victim == Victim::Doubtful && self.point != Point::OnTheWire {
            script.next(victim, Reply::CutAfterCommit);
        }
    }

    async fn publish(self, arena: &mut Arena) {
        let (kind, message) = match self.victim {
            Victim::Order | Victim::Doubtful => (Kind::Order, resting("AAPL")),
            Victim::Refused => (Kind::Order, market("NOPE", "1")),
            Victim::Replace => (Kind::Replace, json!({"order": "t.base", "limit_price": "2"})),
            Victim::Cancel | Victim::EarlyCancel => (Kind::Cancel, json!({})),
            Victim::Close => (Kind::Close, json!({"symbol": "AAPL"})),
        };
        let ack = arena.publish(kind, VICTIM, "AAPL", &message).await;
        assert!(matches!(ack, Ack::Stored { .. }), "the victim is stored: {ack:?}");
    }

    /// What comes behind the victim.
    async fn follow_up(self, arena: &mut Arena) {
        if self.victim == Victim::EarlyCancel {
            arena.publish(Kind::Order, VICTIM, "AAPL", &resting("AAPL")).await;
        }
        // Somebody else's order is none the worse.
        arena
            .publish(Kind::Order, "t.neighbour", "MSFT", &resting("MSFT"))
            .await;
    }
}

async fn arm(arena: &mut Arena, point: Point, action: &str, text: &str) {
    arena.world.daemon.kill9();
    let trap = format!("{}:{action}:{text}", point.as_str());
    arena.world.daemon.set("NALPACA_TRIAL_POINT", &trap);
    arena.world.daemon.run();
    // A redelivery may spring the trap before the daemon is ready.
    let give_up = Instant::now() + SPRING;
    while Instant::now() < give_up {
        let daemon = &mut arena.world.daemon;
        if daemon.is_stopped() || daemon.has_ended() {
            return;
        }
        if daemon
            .get("/readyz")
            .await
            .is_some_and(|answer| answer.status == 200)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn disarm(arena: &mut Arena) {
    arena.world.daemon.unset("NALPACA_TRIAL_POINT");
}

async fn ended(arena: &mut Arena) -> bool {
    let give_up = Instant::now() + SPRING;
    while Instant::now() < give_up {
        if arena.world.daemon.has_ended() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

async fn stands_still(arena: &Arena) -> bool {
    let give_up = Instant::now() + SPRING;
    while Instant::now() < give_up {
        if arena.world.daemon.is_stopped() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
