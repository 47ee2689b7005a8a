//! Wires what tells the world: the positions mirror and the drop copy.

use std::sync::Arc;

use tokio::sync::watch;

use super::Daemon;
use super::tasks::{Floor, Tasks};
use crate::alpaca::stream::StreamEndpoint;
use crate::bus::{Bucket, Connection, Journal, Lease};
use crate::config::BlindPolicy;
use crate::domain::account::AccountStatement;
use crate::domain::{ConditionName, Holdings};
use crate::drop_copy::{self, DropCopy};
use crate::ledger::{Ledger, OrderStates};
use crate::positions::{self, Mirror, PositionsHandle};

/// The mirror that was started.
pub(super) struct Mirrored {
    handle: PositionsHandle,
    pub(super) holdings: watch::Receiver<Option<Arc<Holdings>>>,
    pub(super) account: watch::Receiver<Option<Arc<AccountStatement>>>,
    first_done: watch::Receiver<bool>,
}

/// Where the states of orders are kept.
pub(super) struct Records {
    pub(super) ledger: Ledger,
    pub(super) lease: Lease,
}

/// Starts the mirror.
pub(super) fn start_mirror(
    daemon: &Daemon,
    tasks: &mut Tasks,
    connection: &Connection,
    bucket: &Bucket,
) -> Mirrored {
    let mirror = Mirror::new(positions::Wiring {
        client: daemon.venue.clone(),
        bucket: bucket.clone(),
        link: connection.link(),
        gateway: daemon.gateway.clone(),
        clock: daemon.clock.clone(),
        refresh_interval: daemon.config.positions.refresh_interval,
        follows_updates: daemon.config.trade_updates.enabled,
    });
    let mirrored = Mirrored {
        handle: mirror.handle(),
        holdings: mirror.holdings(),
        account: mirror.account(),
        first_done: mirror.first_done(),
    };
    tasks.essential(
        Floor::Feeds,
        "positions mirror",
        mirror.run(tasks.stop_of(Floor::Feeds)),
    );
    mirrored
}

/// Starts the drop copy, and waits until the first positions are written and, where orders wait for it, the venue's
/// stream is heard.
pub(super) async fn start(
    daemon: &Daemon,
    tasks: &mut Tasks,
    bucket: &Bucket,
    journal: &Journal,
    records: Records,
    mirror: Mirrored,
) {
    let config = &daemon.config;
    if config.trade_updates.enabled {
        let (states, order_states) = OrderStates::new(records.ledger, records.lease, daemon.clock.clone());
        tasks.essential(Floor::Feeds, "order states", states.run());
        let drop_copy = DropCopy::new(drop_copy::Wiring {
            endpoint: StreamEndpoint::beside(&config.alpaca.base_url, daemon.credential.clone()),
            client: daemon.venue.clone(),
            journal: journal.clone(),
            bucket: bucket.clone(),
            gateway: daemon.gateway.clone(),
            clock: daemon.clock.clone(),
            positions: Some(mirror.handle),
            order_states,
            blotter: daemon.blotter.clone(),
            blind_policy: config.orders.blind_policy,
        });
        let listening = drop_copy.listening();
        tasks.essential(
            Floor::Feeds,
            "drop copy",
            drop_copy.run(tasks.stop_of(Floor::Feeds)),
        );
        if config.orders.blind_policy == BlindPolicy::Hold {
            latched(listening).await;
        }
    } else {
        let reason = "trade updates are switched off (ENABLE_TRADE_UPDATER=false); \
                      orders are sent without seeing what becomes of them";
        daemon.gateway.raise(ConditionName::Blind, reason, false);
    }
    latched(mirror.first_done).await;
}

/// Waits until a latch is set; for ever if its owner has gone, which ends the daemon elsewhere.
async fn latched(mut latch: watch::Receiver<bool>) {
    if latch.wait_for(|set| *set).await.is_err() {
        std::future::pending::<()>().await;
    }
}
