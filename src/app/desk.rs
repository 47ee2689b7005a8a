//! Wires the desk: two consumers, one desk.

use std::sync::Arc;

use futures_util::future::OptionFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Daemon;
use super::tasks::{Floor, Tasks};
use crate::alpaca::rest;
use crate::backoff::{Backoff, Reason};
use crate::bus::{Beats, Connection, Journal, Lease, Puller};
use crate::ledger::Ledger;
use crate::orders::{Board, CancelDesk, Desk, Intake, Policy, Taken};
use crate::risk::Risk;

/// Deliveries in hand for each POST that may be on the wire: the rest wait for their symbol's turn.
const IN_HAND_PER_FLIGHT: usize = 8;
/// Cancels in hand at once.
const CANCELS_IN_HAND: usize = 64;
/// Deliveries on their way from the intakes to the desk. Full, the intakes wait; the stream keeps the rest.
const TAKEN_MAX: usize = 16;

/// What the desk works with in one term.
pub(super) struct Wiring<'a> {
    pub(super) connection: &'a Connection,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    pub(super) lease: &'a Lease,
    pub(super) board: Board,
    pub(super) risk: Risk,
    pub(super) pullers: Pullers,
}

/// What is taken from, where it is taken from at all.
pub(super) struct Pullers {
    cancels: Option<Puller>,
    orders: Option<Puller>,
}

/// Binds to the consumers, as soon as they are there.
pub(super) async fn bind_consumers(daemon: &Daemon, connection: &Connection, beats: &Beats) -> Pullers {
    let (orders, names) = (&daemon.config.orders, &daemon.config.objects);
    let to = |name| bind(connection, &names.action_stream, name, beats);
    let cancels = orders.canceler_enabled.then(|| to(&names.cancel_consumer));
    let orders = orders.enabled.then(|| to(&names.orders_consumer));
    let (cancels, orders) = tokio::join!(OptionFuture::from(cancels), OptionFuture::from(orders));
    Pullers { cancels, orders }
}

/// Starts the desk and the intakes that feed it. All of them end when `stop` is cancelled and everything in hand
/// is settled or handed back.
pub(super) fn start(daemon: &Daemon, tasks: &mut Tasks, wiring: Wiring<'_>) -> CancelDesk<rest::Client> {
    let Wiring {
        connection,
        ledger,
        journal,
        lease,
        board,
        risk,
        pullers,
    } = wiring;
    let stop = tasks.stop_of(Floor::Desk);
    let orders = &daemon.config.orders;
    let policy = Policy {
        max_age: orders.max_age,
        request_timeout: daemon.config.alpaca.request_timeout,
        max_in_flight: orders.max_in_flight,
        cancel_late: orders.cancel_late,
    };
    let desk = Desk::new(
        daemon.venue.clone(),
        board,
        ledger,
        journal,
        daemon.subjects.clone(),
        daemon.gateway.clone(),
        risk,
        daemon.clock.clone(),
        lease.clone(),
        policy,
        stop.clone(),
    );
    let (sender, taken) = mpsc::channel(TAKEN_MAX);
    let intake = |puller, held, room| Intake {
        puller,
        connection: connection.clone(),
        gateway: daemon.gateway.clone(),
        held,
        room: Arc::new(Semaphore::new(room)),
        desk: sender.clone(),
    };
    // Cancels first: what they take down must not be sent in between.
    if let Some(puller) = pullers.cancels {
        tasks.essential(
            Floor::Desk,
            "cancels",
            intake(puller, false, CANCELS_IN_HAND).run(stop.clone()),
        );
    }
    if let Some(puller) = pullers.orders {
        let room = orders.max_in_flight * IN_HAND_PER_FLIGHT;
        tasks.essential(
            Floor::Desk,
            "orders",
            intake(puller, true, room).run(stop.clone()),
        );
    }
    drop(sender);
    let cancels = desk.cancels();
    tasks.essential(Floor::Desk, "desk", run(desk, taken, stop));
    cancels
}

/// A desk without intakes (both switched off) has nothing to do, and waits for the end.
async fn run(desk: Desk<rest::Client>, taken: mpsc::Receiver<Taken>, stop: CancellationToken) {
    desk.run(taken).await;
    stop.cancelled().await;
}

async fn bind(connection: &Connection, stream: &str, name: &str, beats: &Beats) -> Puller {
    let mut backoff = Backoff::new(Reason::Nats);
    loop {
        match Puller::bind(connection, stream, name, beats.clone()).await {
            Ok(puller) => return puller,
            Err(error) => tracing::warn!(%error, "waiting for a consumer"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
