//! The owner of the holdings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::alpaca::rest::Client;
use crate::bus::{Bucket, Link};
use crate::clock::Clock;
use crate::gateway::Gateway;

/// What the mirror is built from.
#[derive(Debug)]
pub struct Wiring {
    /// Where the holdings are read.
    pub client: Client,
    /// Where they are shown.
    pub bucket: Bucket,
    /// Whether NATS can be reached.
    pub link: watch::Receiver<Link>,
    /// Where staleness and refusals are told.
    pub gateway: Gateway,
    /// What time it is.
    pub clock: Clock,
    /// Pause between reads when nothing happens.
    pub refresh_interval: Duration,
}

/// Asks for a refresh. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PositionsHandle(Arc<Notify>);

impl PositionsHandle {
    /// Something moved the position. Returns at once; many calls make one refresh.
    pub fn refresh(&self) {
        self.0.notify_one();
    }
}

/// The task.
#[derive(Debug)]
pub struct Mirror {
    wiring: Wiring,
    wanted: Arc<Notify>,
    first: watch::Sender<bool>,
}

impl Mirror {
    /// Builds it; nothing is read before [`Mirror::run`].
    pub fn new(wiring: Wiring) -> Self {
        let (wanted, first) = (Arc::default(), watch::Sender::new(false));
        Self {
            wiring,
            wanted,
            first,
        }
    }

    /// The one way to reach the task.
    pub fn handle(&self) -> PositionsHandle {
        PositionsHandle(Arc::clone(&self.wanted))
    }

    /// Turns true when the first fresh statement is in the bucket, and stays so.
    pub fn first_done(&self) -> watch::Receiver<bool> {
        self.first.subscribe()
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        drop(self.wiring);
    }
}
