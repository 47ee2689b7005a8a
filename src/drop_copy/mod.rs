//! Our republished copy of the account's execution reports: each event once, in order per order, replayable.
//!
//! ```text
//!   stream ──► ear ──► queue ──► relay ──► sequence ──► journal (PubAck) ──► watermark
//!                                  ▲                        ├──► positions are told of fills
//!                                  │                        └──► order states are told of every event
//!                       backfill ──┘  after every gap, before what was heard since
//!                       lookout ───┘  finds the gaps in a stream that looks well
//! ```
//!
//! Invariants:
//!
//! - The watermark moves only past events that are stored, and never past a gap. What was heard and not stored when
//!   the process dies is read again at the next start.
//! - A stream that comes up is not listened to until the gap before it is closed; a gap that cannot be closed keeps
//!   us blind, and is never skipped.
//! - An event's identity is the same in every source, so whatever is told twice is published once: the sequence knows
//!   for as long as it remembers, and before an order's first event in this process the journal is read. Each event is
//!   stored behind the last one of its order that we know of, so that nobody else's goes unnoticed.
//! - Nothing heard is dropped for want of room. When NATS is slow the queue fills, then the socket; when the venue
//!   loses patience with that, the gap is closed like any other.
//!
//! - The watermark does not pass an order state that is not in the ledger.
//!
//! Deliberately absent: positions (the mirror asks the venue), and events of which the venue keeps no memory, such as a `pending_cancel` in a gap.

mod backfill;
mod ear;
mod lookout;
mod relay;
mod sequence;
mod sight;
mod venue;
mod watermark;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::relay::{Listeners, Relay};
use self::sight::Sight;
use self::venue::{Alpaca, Nats};
use crate::alpaca::rest::Client;
use crate::alpaca::stream::StreamEndpoint;
use crate::blotter::Blotter;
use crate::bus::{Bucket, Journal};
use crate::clock::Clock;
use crate::config::BlindPolicy;
use crate::gateway::Gateway;
use crate::ledger::OrderStatesHandle;
use crate::positions::PositionsHandle;

/// Events heard and not yet published. When full, the socket is no longer read.
const QUEUE: usize = 512;

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
    /// Who is to know what became of each order.
    pub order_states: OrderStatesHandle,
    /// Where every order and every fill is noted.
    pub blotter: Blotter,
    /// Whether blindness holds new orders.
    pub blind_policy: BlindPolicy,
}

/// The drop copy.
#[derive(Debug)]
pub struct DropCopy {
    venue: Alpaca,
    store: Nats,
    sight: Sight,
    clock: Clock,
    positions: Option<PositionsHandle>,
    order_states: OrderStatesHandle,
    blotter: Blotter,
}

impl DropCopy {
    /// Builds it. The gateway is blind from here on, until the venue is heard and nothing it said before is missing;
    /// nothing is connected before [`DropCopy::run`].
    pub fn new(wiring: Wiring) -> Self {
        Self {
            sight: Sight::new(wiring.gateway, wiring.blind_policy),
            venue: Alpaca {
                endpoint: wiring.endpoint,
                client: wiring.client,
                clock: wiring.clock.clone(),
            },
            store: Nats {
                journal: wiring.journal,
                bucket: wiring.bucket,
            },
            clock: wiring.clock,
            positions: wiring.positions,
            order_states: wiring.order_states,
            blotter: wiring.blotter,
        }
    }

    /// True while the venue's reports are heard and nothing missed is left to be published.
    pub fn listening(&self) -> watch::Receiver<bool> {
        self.sight.listening()
    }

    /// Runs until `stop`, then publishes what it has heard and returns. That waits for NATS; the caller bounds it, and
    /// loses nothing by dropping the future.
    pub async fn run(self, stop: CancellationToken) {
        let (said, hearing) = mpsc::channel(QUEUE);
        let told = Listeners {
            positions: self.positions.as_ref(),
            order_states: Some(&self.order_states),
            blotter: Some(&self.blotter),
        };
        let relay = Relay::new(&self.venue, &self.store, &self.sight, &self.clock, told);
        tokio::join!(
            ear::listen(&self.venue, &self.sight, said, &stop),
            relay.run(hearing, &stop),
        );
    }
}

#[cfg(test)]
mod tests;
