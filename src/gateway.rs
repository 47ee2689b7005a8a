//! The gateway's state as one shared value: raised by whoever sees something wrong, read by whoever acts.
//!
//! Reading is a borrow, not a wait, so that the last check before a POST costs nothing and cannot be overtaken.

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::domain::{Condition, ConditionName, GatewayState, ModeChange};

/// The one way to the gateway's state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    state: watch::Sender<GatewayState>,
    clock: Clock,
}

impl Gateway {
    /// A gateway in mode normal with nothing wrong.
    pub fn new(clock: Clock) -> Self {
        Self {
            state: watch::Sender::new(GatewayState::default()),
            clock,
        }
    }

    /// Notes that something is wrong. Logged when it begins or its reason changes.
    pub fn raise(&self, name: ConditionName, reason: impl Into<String>, holds_orders: bool) {
        let condition = Condition {
            name,
            reason: reason.into(),
            since: self.now(),
            holds_orders,
        };
        self.state.send_if_modified(|state| {
            let changed = state.raise(condition.clone());
            if changed {
                let (name, reason) = (condition.name.as_str(), &condition.reason);
                warn!(condition = name, reason, holds_orders, "condition raised");
            }
            changed
        });
    }

    /// Notes that something is right again. Logged when it was not.
    pub fn clear(&self, name: ConditionName) {
        self.state.send_if_modified(|state| {
            let changed = state.clear(name);
            if changed {
                info!(condition = name.as_str(), "condition cleared");
            }
            changed
        });
    }

    /// Sets what is let through. It holds for everything whose last check is still to come when this returns.
    pub fn set_mode(&self, change: &ModeChange) {
        self.state.send_modify(|state| {
            state.mode = change.mode;
            state.mode_reason.clone_from(&change.reason);
            state.mode_by.clone_from(&change.by);
            state.mode_since = Some(change.at);
        });
    }

    /// The state now.
    pub fn state(&self) -> GatewayState {
        self.state.borrow().clone()
    }

    /// The state as a value to watch.
    pub fn watch(&self) -> watch::Receiver<GatewayState> {
        self.state.subscribe()
    }

    /// Whether some condition keeps orders from being created now.
    pub fn holds_orders(&self) -> bool {
        self.state.borrow().hold().is_some()
    }

    /// Whether a condition stands now.
    pub fn has(&self, name: ConditionName) -> bool {
        self.state.borrow().has(name)
    }

    /// Waits until a condition does not stand. Cancel-safe.
    pub async fn without(&self, name: ConditionName) {
        // As below.
        let _ = self.state.subscribe().wait_for(|state| !state.has(name)).await;
    }

    /// Waits until no condition keeps orders from being created. Cancel-safe.
    pub async fn clear_to_send(&self) {
        // The sender is `self`, so the wait ends only with the condition.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| state.hold().is_none())
            .await;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_wait_while_any_condition_holds_them() {
        let gateway = Gateway::new(Clock::system());
        gateway.raise(ConditionName::PositionsStale, "the venue is slow", false);
        assert!(!gateway.holds_orders(), "a stale mirror stops no order");
        gateway.raise(ConditionName::Blind, "no stream", true);
        gateway.raise(ConditionName::Drift, "no consumer", true);
        let mut waiting = Box::pin(gateway.clear_to_send());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        gateway.clear(ConditionName::Blind);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        gateway.clear(ConditionName::Drift);
        waiting.await;
        assert!(gateway.has(ConditionName::PositionsStale));
    }
}
