//! Publishes what is in the outbox, and keeps the last value of each symbol where a program that starts finds it.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::last::LastValues;
use super::outbox::{Outbox, Parcel};
use crate::bus::{Broadcast, JsonCopies, Message};
use crate::domain::market::{Channel, MarketClass};
use crate::telemetry::metrics::{self, DataMetrics};

/// Messages taken out at once.
const BATCH: usize = 256;
/// How often the last value of a key is written: of what changes more often, the newest.
const LAST_INTERVAL: Duration = Duration::from_millis(250);
/// How many last values are written at once, and how often: two thousand a second, which is a fifth of what a server takes.
const LAST_PORTION: usize = 8;
const LAST_PAUSE: Duration = Duration::from_millis(4);
/// Longest time what waits is published for at the end.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Pause after something could not be stored.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// What is known of a stored message, to send it again; nothing of a last value, which the next one overtakes.
type Tag = Option<(MarketClass, Channel)>;

/// Takes from the outbox until it is stopped.
pub struct Relay {
    /// Where from.
    pub outbox: Outbox,
    /// Where to.
    pub broadcast: Broadcast<Tag>,
    /// What is counted.
    pub metrics: DataMetrics,
    /// Copies in JSON, where they are wanted.
    pub copies: Option<JsonCopies>,
}

impl Relay {
    /// Runs until stopped, and then publishes what is left, for a few seconds at most.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut last = LastValues::default();
        let (mut turn, mut portion) = (interval(LAST_INTERVAL), interval(LAST_PAUSE));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        portion.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,         // cancel-safe: level-triggered
                _ = turn.tick() => {                    // cancel-safe: docs
                    last.turn();
                    let failed = self.broadcast.reap();
                    self.put_back(failed).await;
                    metrics::market_data_waiting(self.outbox.len());
                }
                _ = portion.tick(), if last.is_due() => { // cancel-safe: docs
                    // Whoever reads prices waits for none of this.
                    self.broadcast.look();
                    let failed = self.broadcast.reap();
                    self.put_back(failed).await;
                    let portion = LAST_PORTION.min(self.broadcast.room());
                    self.write_last(&mut last, portion).await;
                }
                () = self.outbox.filled() => {          // cancel-safe: docs
                    self.broadcast.ready().await;
                    let parcels = self.outbox.take(BATCH);
                    self.publish(parcels, &mut last).await;
                    // A feed without end would keep everybody else on this thread waiting.
                    tokio::task::yield_now().await;
                }
            }
        }
        let drain = async {
            while !self.outbox.is_empty() {
                let parcels = self.outbox.take(BATCH);
                self.publish(parcels, &mut last).await;
            }
            last.turn();
            self.write_last(&mut last, usize::MAX).await;
        };
        if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
            warn!("market data that waited is not published before the end");
        }
        let failed = self.broadcast.finish().await;
        if failed > 0 {
            warn!(messages = failed, "market data was not stored before the end");
        }
    }

    /// Publishes a batch. What could not be stored waits a moment: without it, a stream that takes nothing would be asked as fast
    /// as it can say so.
    async fn publish(&mut self, parcels: Vec<Parcel>, last: &mut LastValues) {
        let mut failed = Vec::new();
        for parcel in parcels {
            let (class, channel) = (parcel.class, parcel.channel);
            if !self.broadcast.fits(&parcel.message) {
                let (subject, bytes) = (&parcel.message.subject, parcel.message.payload.len());
                warn!(%subject, bytes, "market data is larger than the server's max_payload and is dropped");
                metrics::market_data_dropped(class, channel, 1);
                continue;
            }
            if parcel.is_last {
                last.put(&parcel.key, &parcel.message.payload, parcel.message.schema);
            }
            if let Some(copies) = &self.copies {
                let message = &parcel.message;
                copies
                    .of(message.subject.as_str(), message.schema, &message.payload)
                    .await;
            }
            let published = if parcel.stored {
                failed.extend(self.broadcast.store(parcel.message, Some((class, channel))).await);
                true
            } else {
                self.broadcast.tell(&parcel.message).await
            };
            if published {
                self.metrics.published(class, channel);
            } else {
                metrics::market_data_dropped(class, channel, 1);
            }
        }
        self.put_back(failed).await;
    }

    /// What was not stored is sent again after a moment; its id makes a repeat one message.
    async fn put_back(&self, failed: Vec<(Message, Tag)>) {
        let again = failed.into_iter().filter_map(|(message, tag)| {
            let (class, channel) = tag?;
            Some(Parcel {
                class,
                channel,
                stored: true,
                key: "".into(),
                is_last: false, // it was put there already
                message,
            })
        });
        let again: Vec<Parcel> = again.collect();
        if !again.is_empty() {
            debug!(messages = again.len(), "market data is sent again");
            self.outbox.put_back(again.into_iter());
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Last values are written without a wait for each; one that is lost is overtaken by the next.
    async fn write_last(&mut self, last: &mut LastValues, count: usize) {
        let mut failed = Vec::new();
        for _ in 0..count {
            let Some((key, (payload, schema))) = last.next() else {
                break;
            };
            let message = Message::last(&key, schema, payload);
            failed.extend(self.broadcast.store(message, None).await);
        }
        self.put_back(failed).await;
    }
}
