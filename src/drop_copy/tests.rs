//! Both halves together, with a scripted venue and a store in memory, under paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio::time::{sleep, timeout};

use super::venue::{Store, Stream, Trouble, Venue};
use super::watermark::Watermark;
use super::*;
use crate::alpaca::stream::{ConnectError, Heard, StreamEnd};
use crate::bus::Told;
use crate::domain::{ConditionName, ExecutionReport, FillActivity, Order, OrderId, OrderStatus};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn order(number: u128, status: &str, filled: i64) -> Order {
    Order {
        id: Some(OrderId::from_uuid(uuid::Uuid::from_u128(number))),
        status: OrderStatus::from_venue(status),
        filled_qty: filled.into(),
        ..Order::refused(&number.to_string(), None, at(5000))
    }
}

fn report(number: u128, event: &str, status: &str, filled: i64, last: Option<i64>) -> ExecutionReport {
    ExecutionReport {
        event: event.to_owned(),
        at: at(6000),
        timestamp: at(6000),
        event_id: None,
        execution_id: None,
        order: order(number, status, filled),
        position_qty: None,
        last_px: None,
        last_qty: last.map(Decimal::from),
        reason: None,
        recovered: false,
    }
}

fn heard(report: ExecutionReport) -> Result<Heard, StreamEnd> {
    Ok(Heard::Report(Box::new(report)))
}

fn ended() -> Result<Heard, StreamEnd> {
    Err(StreamEnd {
        cause: "the venue ended the stream".to_owned(),
    })
}

/// What each connection says, one after the other; after that it is silent.
#[derive(Default)]
struct Script {
    streams: VecDeque<Result<Vec<Result<Heard, StreamEnd>>, ConnectError>>,
    orders: Vec<Order>,
    /// What the orders are after they were read once.
    orders_later: Option<Vec<Order>>,
    refuse_reads: bool,
    connects: usize,
    published: Vec<ExecutionReport>,
    /// Of which orders the journal was asked.
    asked_of: Vec<String>,
    refuse_publishes: bool,
    /// Told by a daemon that led for a while, a moment before ours.
    second_is_told_by_another: Option<ExecutionReport>,
    /// What the first stream tells after its script, while the test goes on.
    live: Option<mpsc::Receiver<ExecutionReport>>,
    watermark: Option<Bytes>,
}

impl Script {
    /// Sequences count from one.
    fn told(&self, client_order_id: &str) -> Told {
        let numbered = (1..).zip(&self.published);
        let of_order = numbered.filter(|(_, report)| report.order.client_order_id == client_order_id);
        let (sequences, reports): (Vec<u64>, Vec<_>) =
            of_order.map(|(at, report)| (at, report.clone())).unzip();
        Told {
            last: sequences.last().copied().unwrap_or(0),
            reports,
        }
    }
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Script>>);

struct Said {
    script: VecDeque<Result<Heard, StreamEnd>>,
    live: Option<mpsc::Receiver<ExecutionReport>>,
}

impl World {
    fn set<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        change(&mut self.0.lock().unwrap())
    }

    fn published(&self) -> Vec<String> {
        self.set(|script| {
            let word = |report: &ExecutionReport| {
                format!(
                    "{}:{}:{}",
                    report.order.client_order_id, report.event, report.order.filled_qty
                )
            };
            script.published.iter().map(word).collect()
        })
    }

    fn watermark(&self) -> Option<Watermark> {
        self.set(|script| script.watermark.as_deref().and_then(Watermark::read))
    }

    fn read<T>(&self, answer: impl FnOnce(&mut Script) -> T) -> Result<T, Trouble> {
        self.set(|script| {
            if script.refuse_reads {
                Err(Trouble::new("no answer"))
            } else {
                Ok(answer(script))
            }
        })
    }
}

impl Stream for Said {
    async fn next(&mut self) -> Result<Heard, StreamEnd> {
        if let Some(said) = self.script.pop_front() {
            return said;
        }
        match &mut self.live {
            Some(live) => match live.recv().await {
                Some(report) => heard(report),
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Venue for World {
    type Stream = Said;

    async fn connect(&self) -> Result<Said, ConnectError> {
        let (next, live) = self.set(|script| {
            script.connects += 1;
            (script.streams.pop_front(), script.live.take())
        });
        let script = next.unwrap_or_else(|| Ok(Vec::new()))?.into();
        Ok(Said { script, live })
    }

    async fn now(&self) -> Result<Timestamp, Trouble> {
        self.read(|_| at(5500))
    }

    async fn orders_since(&self, _: Timestamp) -> Result<Vec<Order>, Trouble> {
        self.read(|script| {
            let later = script.orders_later.take();
            let now = script.orders.clone();
            script.orders = later.unwrap_or_else(|| now.clone());
            now
        })
    }

    async fn open_orders(&self) -> Result<Vec<Order>, Trouble> {
        self.read(|script| {
            let open = script.orders.iter().filter(|order| !order.status.is_terminal());
            open.cloned().collect()
        })
    }

    async fn fills_since(&self, _: Timestamp) -> Result<Vec<FillActivity>, Trouble> {
        self.read(|_| Vec::new())
    }

    async fn order(&self, _: OrderId) -> Result<Option<Order>, Trouble> {
        self.read(|_| None)
    }
}

impl Store for World {
    async fn publish(&self, report: &ExecutionReport, last: u64) -> Result<Option<u64>, Trouble> {
        self.set(|script| {
            if script.refuse_publishes {
                return Err(Trouble::new("no journal"));
            }
            if script.published.len() == 1 {
                let theirs = script.second_is_told_by_another.take();
                script.published.extend(theirs);
            }
            if script.told(&report.order.client_order_id).last != last {
                return Ok(None);
            }
            script.published.push(report.clone());
            Ok(Some(script.published.len() as u64))
        })
    }

    async fn published(&self, client_order_id: &str) -> Result<Told, Trouble> {
        self.set(|script| {
            script.asked_of.push(client_order_id.to_owned());
            Ok(script.told(client_order_id))
        })
    }

    async fn last_published_at(&self) -> Result<Option<Timestamp>, Trouble> {
        self.set(|script| Ok(script.published.last().map(|report| report.timestamp)))
    }

    async fn watermark(&self) -> Result<Option<Bytes>, Trouble> {
        Ok(self.set(|script| script.watermark.clone()))
    }

    async fn set_watermark(&self, value: Bytes) -> Result<(), Trouble> {
        self.set(|script| script.watermark = Some(value));
        Ok(())
    }
}

/// Runs a drop copy against the world beside a test, and stops it at the end.
async fn beside(world: &World, test: impl AsyncFnOnce(&Gateway)) {
    let (gateway, clock, stop) = (
        Gateway::new(Clock::system()),
        Clock::system(),
        CancellationToken::new(),
    );
    let sight = Sight::new(gateway.clone(), BlindPolicy::Hold);
    assert!(gateway.holds_orders(), "blind until the venue is heard");
    let listeners = Listeners {
        positions: None,
        order_states: None,
        blotter: None,
    };
    let (said, hearing) = mpsc::channel(QUEUE);
    let relay = Relay::new(world, world, &sight, &clock, listeners);
    let stopped = async { tokio::join!(ear::listen(world, &sight, said, &stop), relay.run(hearing, &stop)) };
    let tested = async {
        test(&gateway).await;
        stop.cancel();
    };
    let both = async { tokio::join!(stopped, tested) };
    timeout(Duration::from_secs(3600), both).await.unwrap();
}

async fn a_while() {
    sleep(Duration::from_secs(60)).await;
}

fn mark() -> Option<Bytes> {
    let (at, live) = (at(4900), Vec::new());
    Some(Watermark { at, live }.write())
}

#[tokio::test(start_paused = true)]
async fn a_first_start_begins_now_and_tells_nothing_old() {
    let world = World::default();
    world.set(|script| {
        script.orders = vec![order(1, "canceled", 0), order(2, "partially_filled", 3)];
    });
    beside(&world, async |gateway| {
        a_while().await;
        assert!(!gateway.holds_orders());
    })
    .await;
    assert_eq!(world.published(), [""; 0]);
    let watermark = world.watermark().unwrap();
    assert_eq!(watermark.at, at(5500));
    assert_eq!(watermark.live.len(), 1, "the open order is followed");
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_comes_before_what_is_heard_and_nothing_comes_twice() {
    let world = World::default();
    let new = report(1, "new", "new", 0, None);
    let canceled = report(1, "canceled", "canceled", 0, None);
    world.set(|script| {
        script.watermark = mark();
        script.orders = vec![order(1, "new", 0), order(2, "expired", 0)];
        // Told before the process died, and longer ago than anything remembers but the journal.
        script.published = vec![report(2, "expired", "expired", 0, None)];
        script.streams = [
            Ok(vec![heard(new.clone()), heard(new), heard(canceled), ended()]),
            Err(ConnectError::SlotTaken { status: 429 }),
            Ok(vec![heard(report(3, "new", "new", 0, None))]),
        ]
        .into();
    });
    beside(&world, async |gateway| {
        a_while().await;
        assert!(!gateway.has(ConditionName::Blind));
    })
    .await;
    let expected = ["2:expired:0", "1:new:0", "1:canceled:0", "3:new:0"];
    assert_eq!(world.published(), expected);
    assert!(world.set(|script| script.published[1].recovered));
    assert_eq!(world.set(|script| script.connects), 3);
    assert_eq!(world.watermark().unwrap().at, at(6000));
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_cannot_be_closed_keeps_us_blind_and_is_never_skipped() {
    let world = World::default();
    world.set(|script| {
        script.watermark = mark();
        script.orders = vec![order(1, "canceled", 0)];
        script.streams = [Ok(vec![heard(report(2, "new", "new", 0, None))])].into();
        script.refuse_reads = true;
    });
    beside(&world, async |gateway| {
        a_while().await;
        assert!(gateway.holds_orders());
    })
    .await;
    assert_eq!(
        world.published(),
        [""; 0],
        "what was heard waits for what was before it"
    );
    assert_eq!(world.set(|script| script.watermark.clone()), mark());
    world.set(|script| {
        script.refuse_reads = false;
        script.streams = [Ok(vec![heard(report(2, "new", "new", 0, None))])].into();
    });
    beside(&world, async |_| a_while().await).await;
    assert_eq!(world.published(), ["1:canceled:0", "2:new:0"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_journal_stops_the_reading_and_loses_nothing() {
    let world = World::default();
    let heard_count = QUEUE * 2;
    world.set(|script| {
        script.watermark = mark();
        let new = |number| heard(report(number as u128, "new", "new", 0, None));
        script.streams = [Ok((0..heard_count).map(new).collect())].into();
        script.refuse_publishes = true;
    });
    beside(&world, async |_| {
        a_while().await;
        assert_eq!(world.watermark().map(|mark| mark.at), Some(at(5500)));
        world.set(|script| script.refuse_publishes = false);
    })
    .await;
    let told = world.published().len();
    assert!(
        told >= QUEUE,
        "what was heard is published before the end: {told}"
    );
    assert!(told <= QUEUE + 2, "and no more was heard than there was room for");
}

#[tokio::test(start_paused = true)]
async fn something_unreadable_makes_us_ask_what_it_was() {
    let world = World::default();
    world.set(|script| {
        script.watermark = mark();
        let cause = "no JSON".to_owned();
        script.streams = [Ok(vec![Ok(Heard::Unreadable { cause })])].into();
    });
    beside(&world, async |gateway| {
        sleep(Duration::from_secs(1)).await;
        world.set(|script| script.orders = vec![order(1, "rejected", 0)]);
        a_while().await;
        assert!(!gateway.has(ConditionName::Blind));
    })
    .await;
    assert_eq!(world.published(), ["1:rejected:0"]);
}

#[tokio::test(start_paused = true)]
async fn a_mute_stream_is_found_within_half_a_minute_and_replaced() {
    let world = World::default();
    world.set(|script| {
        script.watermark = mark();
        script.orders = vec![order(1, "new", 0)];
    });
    beside(&world, async |gateway| {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.published(), ["1:new:0"]);
        let second = Order {
            submitted_at: Some(at(5600)),
            ..order(2, "new", 0)
        };
        world.set(|script| script.orders = vec![order(1, "filled", 9), second]);
        sleep(Duration::from_secs(25)).await;
        assert_eq!(world.published(), ["1:new:0", "1:fill:9", "2:new:0"]);
        assert_eq!(world.set(|script| script.connects), 2, "the stream is replaced");
        // An order nobody can find any more is no reason to connect again and again.
        world.set(|script| script.orders.retain(|order| order.client_order_id == "1"));
        a_while().await;
        assert_eq!(world.set(|script| script.connects), 2);
        assert!(!gateway.has(ConditionName::Blind));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_tells_a_moment_later_is_not_missed() {
    let world = World::default();
    let (tell, told) = mpsc::channel(32);
    world.set(|script| {
        script.watermark = mark();
        script.live = Some(told);
    });
    beside(&world, async |_| {
        sleep(Duration::from_secs(1)).await;
        for number in 1..10 {
            // Shown by REST at every instant, and told a second later.
            world.set(|script| script.orders.push(order(number, "new", 0)));
            sleep(Duration::from_secs(1)).await;
            tell.try_send(report(number, "new", "new", 0, None)).unwrap();
            world.set(|script| script.orders[number as usize - 1] = order(number, "canceled", 0));
            sleep(Duration::from_secs(1)).await;
            tell.try_send(report(number, "canceled", "canceled", 0, None))
                .unwrap();
        }
        a_while().await;
    })
    .await;
    assert_eq!(world.published().len(), 18);
    assert!(world.set(|script| script.published.iter().all(|report| !report.recovered)));
    assert_eq!(world.set(|script| script.connects), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fill_above_an_unheard_one_waits_for_it() {
    let world = World::default();
    world.set(|script| {
        script.watermark = mark();
        script.orders_later = Some(vec![order(1, "partially_filled", 5)]);
        script.streams = [Ok(vec![
            heard(report(1, "new", "new", 0, None)),
            heard(report(1, "fill", "filled", 9, Some(4))),
        ])]
        .into();
    });
    beside(&world, async |gateway| {
        a_while().await;
        assert!(!gateway.has(ConditionName::Blind));
    })
    .await;
    assert_eq!(world.published(), ["1:new:0", "1:partial_fill:5", "1:fill:9"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_venue_repeats_years_later_is_known_from_the_journal() {
    let world = World::default();
    let (new, fill) = (
        report(1, "new", "new", 0, None),
        report(1, "fill", "filled", 9, Some(9)),
    );
    world.set(|script| {
        script.watermark = mark();
        script.published = vec![new, fill.clone()];
        script.streams = [Ok(vec![heard(fill), heard(report(2, "new", "new", 0, None))])].into();
    });
    beside(&world, async |_| a_while().await).await;
    assert_eq!(world.published(), ["1:new:0", "1:fill:9", "2:new:0"]);
}

#[tokio::test(start_paused = true)]
async fn of_an_order_that_is_younger_than_we_are_the_journal_is_not_asked_and_still_nothing_comes_twice() {
    let world = World::default();
    let young = |event, status, filled, last| {
        let mut report = report(7, event, status, filled, last);
        report.order.created_at = Some(at(5900));
        report
    };
    let (new, fill) = (young("new", "new", 0, None), young("fill", "filled", 9, Some(9)));
    world.set(|script| {
        script.watermark = mark();
        let old = report(1, "new", "new", 0, None);
        script.streams = [Ok(vec![
            heard(old),
            heard(new.clone()),
            heard(fill.clone()),
            heard(new),
            heard(fill.clone()),
        ])]
        .into();
        script.second_is_told_by_another = Some(young("new", "new", 0, None));
    });
    beside(&world, async |_| a_while().await).await;
    // Whose first event somebody wrote before us, against all odds, is read and not told again.
    assert_eq!(world.published(), ["1:new:0", "7:new:0", "7:fill:9"]);
    let asked = world.set(|script| std::mem::take(&mut script.asked_of));
    assert_eq!(
        asked,
        ["1", "7"],
        "of the young one only when the journal did not take its event"
    );
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_message_in_between_is_read_before_the_next_is_written() {
    let world = World::default();
    let fill = report(1, "fill", "filled", 9, Some(9));
    world.set(|script| {
        script.watermark = mark();
        let new = report(1, "new", "new", 0, None);
        script.streams = [Ok(vec![heard(new), heard(fill.clone())])].into();
        script.second_is_told_by_another = Some(fill);
    });
    beside(&world, async |_| a_while().await).await;
    assert_eq!(world.published(), ["1:new:0", "1:fill:9"]);
}

#[test]
fn the_task_can_be_spawned() {
    fn spawnable<F: Future + Send + 'static>(_: fn(DropCopy, CancellationToken) -> F) {}
    spawnable(DropCopy::run);
}

#[tokio::test(start_paused = true)]
async fn a_watermark_that_cannot_be_read_is_no_first_start() {
    let world = World::default();
    world.set(|script| {
        script.watermark = Some("not a watermark".into());
        script.streams = [Ok(vec![heard(report(1, "new", "new", 0, None))])].into();
    });
    beside(&world, async |gateway| {
        a_while().await;
        assert!(gateway.holds_orders(), "how much was missed is not known");
        assert_eq!(world.published(), [""; 0]);
        // A person looked at it, and let the drop copy begin now.
        world.set(|script| script.watermark = None);
        a_while().await;
        assert!(!gateway.has(ConditionName::Blind));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_watermark_is_found_in_the_journal() {
    let world = World::default();
    world.set(|script| {
        script.published = vec![report(1, "new", "new", 0, None)];
        let submitted_at = Some(at(6100));
        script.orders = vec![
            order(1, "canceled", 0),
            Order {
                submitted_at,
                ..order(2, "new", 0)
            },
        ];
    });
    beside(&world, async |_| {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.published(), ["1:new:0", "1:canceled:0", "2:new:0"]);
        // Emptied again while we run: written again, long before a crash is likely.
        world.set(|script| script.watermark = None);
        sleep(Duration::from_secs(20)).await;
        assert!(world.watermark().is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_from_the_future_does_not_carry_the_watermark_there() {
    let world = World::default();
    let future = ExecutionReport {
        timestamp: Timestamp::MAX,
        ..report(1, "new", "new", 0, None)
    };
    world.set(|script| {
        script.watermark = mark();
        script.streams = [Ok(vec![heard(future)])].into();
    });
    beside(&world, async |_| a_while().await).await;
    assert_eq!(world.published(), ["1:new:0"]);
    let in_a_year = Clock::system().now() + jiff::SignedDuration::from_hours(24 * 365);
    assert!(world.watermark().unwrap().at < in_a_year);
}
