//! Sending and resolving, with a scripted venue and paused time.

mod canceling;
mod dealing;
mod fake;
mod properties;
mod resolving;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dealer::{Dealer, Marks};
use super::doubts::Doubts;
use super::submit::{self, Past, Sent, Submission};
use super::trouble::Troubles;
use crate::bus::Lease;
use crate::clock::Clock;
use crate::domain::order::{Exits, Pricing, Side, Size, Structure, TimeInForce};
use crate::domain::record::CancelMark;
use crate::domain::{
    ClientOrderId, CommandId, GatewayMode, ModeChange, ModeSource, NewOrder, Order, OrderId, OrderStatus,
    Placement, Price, Quantity, Symbol, Verdict,
};
use crate::gateway::Gateway;
use crate::risk::Risk;
use fake::{FakeVenue, Look, Post};

/// The stream sequence of the order under test.
const SEQUENCE: u64 = 100;

/// The instants of what did not happen.
const NEVER: [Duration; 0] = [];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn id() -> ClientOrderId {
    ClientOrderId::parse("momentum.1").unwrap()
}

fn new_order(shares: &str) -> NewOrder {
    NewOrder {
        structure: Structure::Single {
            symbol: Symbol::parse("AAPL").unwrap(),
            side: Side::Buy,
            pricing: Pricing::Limit {
                limit: Price::parse("150").unwrap(),
            },
            exits: Exits::None,
        },
        size: Size::Quantity(Quantity::parse(shares).unwrap()),
        time_in_force: TimeInForce::Day,
        extended_hours: false,
        position_intent: None,
        advanced: None,
        valid_until: None,
    }
}

/// The order as the venue has it.
fn at_venue(order: &NewOrder) -> Order {
    Order {
        id: OrderId::parse("904837e3-3b76-47ec-b432-046db621571b"),
        status: OrderStatus::New,
        ..Order::refused(id().as_str(), Some(order), began())
    }
}

/// What the clock says when a test begins, and when the order was stored.
fn began() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

fn after(span: Duration) -> Timestamp {
    began() + SignedDuration::try_from(span).unwrap()
}

/// One order, and all it takes to send it.
struct Bench {
    dealer: Dealer<Arc<FakeVenue>>,
    order: NewOrder,
}

impl Bench {
    fn new(posts: impl IntoIterator<Item = Post>, looks: impl IntoIterator<Item = Look>) -> Self {
        let clock = Clock::tied_to_tokio(began());
        let dealer = Dealer {
            venue: Arc::new(FakeVenue::new(posts, looks)),
            gateway: Gateway::new(clock.clone()),
            risk: Risk::unlimited(clock.clone()),
            clock,
            marks: Marks::default(),
            lease: Lease::for_ever(),
            troubles: Troubles::default(),
            doubts: Doubts::default(),
            absence_grace: seconds(11),
            in_flight: Semaphore::new(8),
            stop: CancellationToken::new(),
        };
        Self {
            dealer,
            order: new_order("2"),
        }
    }

    fn venue(&self) -> &FakeVenue {
        &self.dealer.venue
    }

    /// Sends the order. The deadline counts from when the test began.
    async fn submit(&self, past: Past, deadline: Option<Duration>) -> Sent {
        let id = id();
        let asked = Placement::New(self.order.clone());
        let mut submission = Submission {
            command: CommandId {
                stream_created: Timestamp::UNIX_EPOCH,
                sequence: SEQUENCE,
            },
            stored_at: began(),
            id: &id,
            asked: &asked,
            reduces: false,
            deadline: deadline.map(after),
            attempts: 0,
        };
        let sent = submit::submit(&self.dealer, &mut submission, past).await;
        let venue = self.venue();
        assert_eq!(submission.attempts as usize, venue.posts().len());
        assert_eq!(venue.on_the_wire(), 0, "a POST in flight was dropped");
        sent
    }

    /// Sends an order that nobody has seen before, with two minutes to go.
    async fn submit_new(&self) -> Sent {
        self.submit(Past::Clean, Some(seconds(120))).await
    }

    fn set_mode(&self, mode: GatewayMode) {
        self.dealer.gateway.set_mode(&ModeChange {
            id: Uuid::nil(),
            mode,
            previous: GatewayMode::Normal,
            reason: "test".to_owned(),
            by: String::new(),
            source: ModeSource::Service,
            at: began(),
        });
    }

    /// Leaves the mark of a cancel that was published after the order.
    fn cancel(&self) {
        let mark = CancelMark {
            id: CommandId {
                stream_created: Timestamp::UNIX_EPOCH,
                sequence: SEQUENCE + 1,
            },
            stored_at: began(),
        };
        self.dealer.marks.leave(id(), mark);
    }
}

/// Runs both; what the second gives does not matter.
async fn meanwhile<T>(work: impl Future<Output = T>, meddling: impl Future<Output = ()>) -> T {
    tokio::join!(work, meddling).0
}

/// Does something at an instant, counted from now.
async fn at(instant: Duration, act: impl FnOnce()) {
    tokio::time::sleep(instant).await;
    act();
}

#[track_caller]
fn verdict(sent: Sent) -> Verdict {
    match sent {
        Sent::Verdict(verdict) => verdict,
        Sent::HandBack { .. } => panic!("handed back"),
    }
}

/// The word for how sending ended.
fn word(sent: &Sent) -> &'static str {
    match sent {
        Sent::Verdict(verdict) => verdict.as_str(),
        Sent::HandBack { .. } => "handed back",
    }
}

#[track_caller]
fn assert_about(instants: &[Duration], expected: &[Duration]) {
    let near = |(at, expected): (&Duration, &Duration)| at.abs_diff(*expected) <= *expected / 4 + millis(10);
    assert!(
        instants.len() == expected.len() && instants.iter().zip(expected).all(near),
        "{instants:?} is not about {expected:?}"
    );
}
