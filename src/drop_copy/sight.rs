//! Whether the venue's reports are seen, told to everybody who must know.

use tokio::sync::watch;

use crate::config::BlindPolicy;
use crate::domain::ConditionName;
use crate::gateway::Gateway;
use crate::telemetry::metrics;

/// Seen means: a stream is up, and what was missed before it is published. Shared by the two halves of the relay,
/// which run in one task; so nothing happens between the lines of a method.
#[derive(Debug)]
pub(super) struct Sight {
    gateway: Gateway,
    holds_orders: bool,
    /// The number of the stream that is up.
    stream: watch::Sender<Option<u64>>,
    listening: watch::Sender<bool>,
    /// The number of the last stream that does not tell everything.
    given_up: watch::Sender<u64>,
}

impl Sight {
    /// Blind until told otherwise.
    pub(super) fn new(gateway: Gateway, policy: BlindPolicy) -> Self {
        let holds_orders = match policy {
            BlindPolicy::Hold => true,
            BlindPolicy::Allow => false,
        };
        let sight = Self {
            gateway,
            holds_orders,
            stream: watch::Sender::new(None),
            listening: watch::Sender::new(false),
            given_up: watch::Sender::new(0),
        };
        sight.lost("the venue's trade updates were not heard yet");
        sight
    }

    /// Turns with every loss and every recovery.
    pub(super) fn listening(&self) -> watch::Receiver<bool> {
        self.listening.subscribe()
    }

    /// There is no stream.
    pub(super) fn lost(&self, reason: &str) {
        self.stream.send_replace(None);
        metrics::stream_up(false);
        self.darken(reason);
    }

    /// There is a stream; what came before it is not known yet.
    pub(super) fn connected(&self, stream: u64) {
        self.stream.send_replace(Some(stream));
        metrics::stream_up(true);
    }

    /// Something was missed. When there is no stream at all, that is the better reason and stays.
    pub(super) fn missing(&self, reason: &str) {
        if self.stream.borrow().is_some() {
            self.darken(reason);
        }
    }

    /// What was missed before a stream is published. Says nothing of a stream that is gone.
    pub(super) fn caught_up(&self, stream: u64) {
        if *self.stream.borrow() == Some(stream) {
            self.gateway.clear(ConditionName::Blind);
            self.listening.send_replace(true);
        }
    }

    /// A stream does not tell everything, and is to be replaced by another one.
    pub(super) fn give_up(&self, stream: u64) {
        self.given_up.send_replace(stream);
    }

    /// Waits until a stream is given up. Cancel-safe.
    pub(super) async fn is_given_up(&self, stream: u64) {
        // The sender is `self`, so the wait ends only with the stream.
        let _ = self
            .given_up
            .subscribe()
            .wait_for(|given_up| *given_up >= stream)
            .await;
    }

    fn darken(&self, reason: &str) {
        self.listening.send_replace(false);
        self.gateway
            .raise(ConditionName::Blind, reason, self.holds_orders);
    }
}
