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

    fn darken(&self, reason: &str) {
        self.listening.send_replace(false);
        self.gateway
            .raise(ConditionName::Blind, reason, self.holds_orders);
    }
}
