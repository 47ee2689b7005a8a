//! Writes the gateway's state into the bucket, so that strategies and people see what the gateway sees.

use std::time::Duration;

use futures_util::future::select_all;
use jiff::Timestamp;
use tracing::warn;

use crate::backoff::{Backoff, Reason};
use crate::bus::Bucket;
use crate::clock::Clock;
use crate::domain::Environment;
use crate::domain::market::MarketClass;
use crate::gateway::Gateway;
use crate::market_data::{FeedStatus, Switchboard};
use crate::wire::{self, Encoded, MarketDataReport, StateContext};

/// The key.
const KEY: &str = "state";
/// The value is written this often though nothing changed, so that its age tells whether anybody is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What writing the state takes.
#[derive(Clone)]
pub(super) struct StateWriter {
    pub(super) bucket: Bucket,
    pub(super) gateway: Gateway,
    pub(super) switchboard: Switchboard,
    pub(super) clock: Clock,
    pub(super) instance: String,
    pub(super) environment: Environment,
    pub(super) started_at: Timestamp,
}

/// Writes every change, and a heartbeat.
pub(super) async fn publish(writer: StateWriter) {
    let mut state = writer.gateway.watch();
    let mut feeds = writer.switchboard.watch();
    let mut backoff = Backoff::new(Reason::Nats);
    loop {
        let pause = match writer.write().await {
            Ok(()) => {
                backoff.reset();
                HEARTBEAT
            }
            Err(error) => {
                warn!(%error, "the gateway's state is not written");
                backoff.next_delay()
            }
        };
        let a_feed_changed = async {
            if feeds.is_empty() {
                return std::future::pending().await;
            }
            // Its senders live as long as the switchboard we hold.
            let _ = select_all(feeds.iter_mut().map(|feed| Box::pin(feed.changed()))).await;
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return }, // cancel-safe: docs
            () = a_feed_changed => {}                                    // cancel-safe: as `changed`
            () = tokio::time::sleep(pause) => {}                         // cancel-safe: nothing is lost but time
        }
    }
}

impl StateWriter {
    async fn write(&self) -> Result<(), crate::bus::BucketError> {
        self.bucket.put(KEY, self.report().bytes).await.map(|_| ())
    }

    /// The state as it is now.
    pub(super) fn report(&self) -> Encoded {
        let context = StateContext {
            instance: &self.instance,
            environment: self.environment.as_str(),
            started_at: self.started_at,
            at: self.clock.now(),
        };
        let feeds = self.switchboard.status();
        let report = |(class, status): &(MarketClass, FeedStatus)| {
            let last = self.switchboard.pulse(*class).last();
            MarketDataReport {
                class: *class,
                connected: status.connected,
                since: status.since,
                reason: status.reason.clone(),
                confirmed: status.confirmed.len(),
                refused: status.refused.len(),
                heard_at: last.map(|(heard_at, _)| heard_at),
                observed_at: last.map(|(_, observed_at)| observed_at),
            }
        };
        let feeds: Vec<MarketDataReport> = feeds.iter().map(report).collect();
        wire::state(&self.gateway.state(), &feeds, &context)
    }
}
