//! May this command be sent now? Pure: no clock, no I/O.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::outcome::DenialReason;
use crate::domain::{GatewayMode, GatewayState, Verdict};

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Send it.
    Open,
    /// Not now, for this reason; it waits inside its deadline.
    Wait(String),
    /// Never.
    Closed(Verdict),
}

/// When a command stored at that time must have been sent: its own deadline, else the configured age. The stricter
/// of the two never applies: a publisher who names a deadline means it.
pub(super) fn deadline(
    stored_at: Timestamp,
    valid_until: Option<Timestamp>,
    max_age: Option<Duration>,
) -> Option<Timestamp> {
    valid_until.or_else(|| {
        let age = SignedDuration::try_from(max_age?).unwrap_or(SignedDuration::MAX);
        Some(stored_at.saturating_add(age).unwrap_or(Timestamp::MAX))
    })
}

/// Judges a command that creates an order. `reduces` says that the order can only make a position smaller.
pub(super) fn passage(
    now: Timestamp,
    deadline: Option<Timestamp>,
    state: &GatewayState,
    reduces: bool,
) -> Passage {
    if deadline.is_some_and(|deadline| now >= deadline) {
        return Passage::Closed(Verdict::Expired);
    }
    if let Some(denied) = denial(state, reduces) {
        return Passage::Closed(denied);
    }
    match state.hold() {
        Some(condition) => Passage::Wait(format!("{}: {}", condition.name.as_str(), condition.reason)),
        None => Passage::Open,
    }
}

/// What the mode makes of a command that creates an order; `None`: it lets it through.
pub(super) fn denial(state: &GatewayState, reduces: bool) -> Option<Verdict> {
    let mode = match state.mode {
        GatewayMode::Normal => return None,
        GatewayMode::ReduceOnly if reduces => return None,
        GatewayMode::ReduceOnly => "in mode reduce-only, and takes no order that could enlarge a position",
        GatewayMode::CancelOnly => "in mode cancel-only, and takes no new orders",
        GatewayMode::Halted => "halted, and takes no new orders",
    };
    let why = if state.mode_reason.is_empty() {
        String::new()
    } else {
        format!(": {}", state.mode_reason)
    };
    Some(Verdict::Denied {
        reason: DenialReason::Mode,
        message: format!("the gateway is {mode}{why}"),
        breach: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Condition, ConditionName};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_publishers_deadline_goes_before_the_configured_age() {
        let age = Some(Duration::from_secs(120));
        assert_eq!(deadline(at(1000), None, age), Some(at(1120)));
        assert_eq!(deadline(at(1000), Some(at(5000)), age), Some(at(5000)));
        assert_eq!(
            deadline(at(1000), Some(at(900)), age),
            Some(at(900)),
            "stored after its own deadline"
        );
        assert_eq!(deadline(at(1000), None, None), None);
        assert_eq!(
            deadline(at(1000), None, Some(Duration::MAX)),
            Some(Timestamp::MAX)
        );
    }

    #[test]
    fn the_deadline_is_the_first_instant_that_is_too_late() {
        let state = GatewayState::default();
        assert_eq!(passage(at(9), Some(at(10)), &state, false), Passage::Open);
        assert_eq!(
            passage(at(10), Some(at(10)), &state, false),
            Passage::Closed(Verdict::Expired)
        );
        assert_eq!(passage(at(10), None, &state, false), Passage::Open);
    }

    #[test]
    fn modes_deny_and_conditions_hold() {
        let mode = |mode| GatewayState {
            mode,
            mode_reason: "lunch".to_owned(),
            ..GatewayState::default()
        };
        for shut in [
            GatewayMode::Halted,
            GatewayMode::CancelOnly,
            GatewayMode::ReduceOnly,
        ] {
            let Passage::Closed(Verdict::Denied { message, .. }) = passage(at(0), None, &mode(shut), false)
            else {
                panic!("{shut:?} let an order through");
            };
            assert!(message.ends_with(": lunch"), "{message}");
        }
        assert_eq!(
            passage(at(0), None, &mode(GatewayMode::ReduceOnly), true),
            Passage::Open,
            "what closes a position may pass"
        );
        let condition = |holds_orders| Condition {
            name: ConditionName::Blind,
            reason: "socket closed".to_owned(),
            since: at(0),
            holds_orders,
        };
        let state = |holds| GatewayState {
            conditions: vec![condition(holds)],
            ..GatewayState::default()
        };
        assert_eq!(
            passage(at(0), None, &state(true), false),
            Passage::Wait("blind: socket closed".to_owned())
        );
        assert_eq!(passage(at(0), None, &state(false), false), Passage::Open);
        assert_eq!(
            passage(at(9), Some(at(1)), &state(true), false),
            Passage::Closed(Verdict::Expired),
            "whoever waits past the deadline expires"
        );
    }
}
