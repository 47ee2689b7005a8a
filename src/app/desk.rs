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
    pub(super) beats: &'a Beats,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal,
    pub(super) lease: &'a Lease,
    pub(super) board: Board,
    pub(super) risk: Risk,
}

/// Starts the desk and the intakes that feed it. All of them end when `stop` is cancelled and everything in hand
/// is settled or handed back.
pub(super) async fn start(
    daemon: &Daemon,
    tasks: &mut Tasks,
    wiring: Wiring<'_>,
) -> CancelDesk<rest::Client> {
    let Wiring {
        connection,
        beats,
        ledger,
        journal,
        lease,
        board,
        risk,
    } = wiring;
    let stop = tasks.stop_of(Floor::Desk);
    let orders = &daemon.config.orders;
    let names = &daemon.config.objects;
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
    let stream = &names.action_stream;
    let (cancels, taken_orders) = tokio::join!(
        OptionFuture::from(orders.canceler_enabled.then(|| bind(
            connection,
            stream,
            &names.cancel_consumer,
            beats
        ))),
        OptionFuture::from(
            orders
                .enabled
                .then(|| bind(connection, stream, &names.orders_consumer, beats))
        ),
    );
    // Cancels first: what they take down must not be sent in between.
    if let Some(puller) = cancels {
        tasks.essential(
            Floor::Desk,
            "cancels",
            intake(puller, false, CANCELS_IN_HAND).run(stop.clone()),
        );
    }
    if let Some(puller) = taken_orders {
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
