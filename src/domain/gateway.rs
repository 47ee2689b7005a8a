//! What the gateway lets through, and what is wrong with it now.

use jiff::Timestamp;

/// What the gateway lets through. Set by people; survives restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// Everything.
    #[default]
    Normal,
    /// Orders that reduce a position, and cancels.
    ReduceOnly,
    /// Cancels.
    CancelOnly,
    /// Cancels, as before; the word says that something is wrong and that a person must look.
    Halted,
}

impl GatewayMode {
    /// Every mode, for metrics.
    pub const ALL: [Self; 4] = [Self::Normal, Self::ReduceOnly, Self::CancelOnly, Self::Halted];

    /// The word used in logs, states and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReduceOnly => "reduce_only",
            Self::CancelOnly => "cancel_only",
            Self::Halted => "halted",
        }
    }

    /// How much is kept out: of two modes the stricter one is the greater number.
    pub const fn strictness(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::ReduceOnly => 1,
            Self::CancelOnly => 2,
            Self::Halted => 3,
        }
    }
}

/// How a mode was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeSource {
    /// Nobody has asked.
    Start,
    /// A question to the service; the command line asks there, too.
    Service,
    /// A signal to the process.
    Signal,
    /// A file that is there.
    File,
    /// A limit that was reached.
    Limit,
}

impl ModeSource {
    /// Every source.
    pub const ALL: [Self; 5] = [Self::Start, Self::Service, Self::Signal, Self::File, Self::Limit];

    /// The word used in logs and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Service => "service",
            Self::Signal => "signal",
            Self::File => "file",
            Self::Limit => "limit",
        }
    }
}

/// A change of what is let through: what, who, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange {
    /// Which change.
    pub id: uuid::Uuid,
    /// What is let through from now on.
    pub mode: GatewayMode,
    /// What was let through before.
    pub previous: GatewayMode,
    /// Why, for people.
    pub reason: String,
    /// Who asked, as they said.
    pub by: String,
    /// How they asked.
    pub source: ModeSource,
    /// When.
    pub at: Timestamp,
}

/// Which venue the gateway faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Alpaca's paper trading API.
    Paper,
    /// A simulator: loopback, or declared with `ALPACA_ENV=sim`.
    Sim,
    /// Real money.
    Live,
}

impl Environment {
    /// The word used in logs, states and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Sim => "sim",
            Self::Live => "live",
        }
    }
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionName {
    /// Starting, or catching up after a loss of contact.
    Reconciling,
    /// Another daemon leads, and this one waits for its end.
    Standby,
    /// NATS cannot be reached.
    NatsDisconnected,
    /// The venue's trade updates cannot be seen.
    Blind,
    /// The venue refuses our credentials or our account.
    AccountRefused,
    /// A stream, consumer or bucket is not as declared.
    Drift,
    /// The action stream takes no commands while what it holds is executed and it is moved.
    Draining,
    /// Commands cannot be taken from their stream, though NATS can be reached.
    Stuck,
    /// Intents or outcomes cannot be stored.
    Unwritable,
    /// The positions mirror could not be refreshed.
    PositionsStale,
    /// The venue's positions are not what the fills in the journal add up to.
    PositionsDiffer,
    /// The limits file cannot be used any more; the limits of before go on.
    LimitsUnreadable,
    /// The daemon is stopping.
    Stopping,
}

impl ConditionName {
    /// Every condition, for metrics that must exist before anything is wrong.
    pub const ALL: [Self; 13] = [
        Self::Reconciling,
        Self::Standby,
        Self::NatsDisconnected,
        Self::Blind,
        Self::AccountRefused,
        Self::Drift,
        Self::Draining,
        Self::Stuck,
        Self::Unwritable,
        Self::PositionsStale,
        Self::PositionsDiffer,
        Self::LimitsUnreadable,
        Self::Stopping,
    ];

    /// The word used in logs, states and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reconciling => "reconciling",
            Self::Standby => "standby",
            Self::NatsDisconnected => "nats_disconnected",
            Self::Blind => "blind",
            Self::AccountRefused => "account_refused",
            Self::Drift => "drift",
            Self::Draining => "draining",
            Self::Stuck => "stuck",
            Self::Unwritable => "unwritable",
            Self::PositionsStale => "positions_stale",
            Self::PositionsDiffer => "positions_differ",
            Self::LimitsUnreadable => "limits_unreadable",
            Self::Stopping => "stopping",
        }
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What.
    pub name: ConditionName,
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// While it lasts no order is created.
    pub holds_orders: bool,
}

/// The gateway's state: at most one condition of each name, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayState {
    /// What is let through.
    pub mode: GatewayMode,
    /// Why the mode is what it is.
    pub mode_reason: String,
    /// Who set it, as they said. Empty while nobody has.
    pub mode_by: String,
    /// Since when it is what it is.
    pub mode_since: Option<Timestamp>,
    /// What is wrong now.
    pub conditions: Vec<Condition>,
}

impl GatewayState {
    /// The first condition that keeps orders from being created.
    pub fn hold(&self) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.holds_orders)
    }

    /// Whether something is wrong now.
    pub fn has(&self, name: ConditionName) -> bool {
        self.conditions.iter().any(|condition| condition.name == name)
    }

    /// Notes that something is wrong. A condition that is known keeps its `since`. Says whether anything changed.
    pub fn raise(&mut self, raised: Condition) -> bool {
        match self
            .conditions
            .binary_search_by_key(&raised.name, |condition| condition.name)
        {
            Ok(at) => {
                let known = &mut self.conditions[at];
                let changed = known.reason != raised.reason || known.holds_orders != raised.holds_orders;
                *known = Condition {
                    since: known.since,
                    ..raised
                };
                changed
            }
            Err(at) => {
                self.conditions.insert(at, raised);
                true
            }
        }
    }

    /// Notes that something is right again. Says whether anything changed.
    pub fn clear(&mut self, name: ConditionName) -> bool {
        let before = self.conditions.len();
        self.conditions.retain(|condition| condition.name != name);
        self.conditions.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(name: ConditionName, reason: &str, second: i64) -> Condition {
        let since = Timestamp::from_second(second).unwrap();
        Condition {
            name,
            reason: reason.to_owned(),
            since,
            holds_orders: true,
        }
    }

    #[test]
    fn a_condition_stands_once_and_keeps_its_beginning() {
        let mut state = GatewayState::default();
        assert!(state.raise(condition(ConditionName::Drift, "consumer gone", 2)));
        assert!(state.raise(condition(ConditionName::Blind, "socket closed", 1)));
        assert!(!state.raise(condition(ConditionName::Drift, "consumer gone", 9)));
        assert_eq!(state.conditions.len(), 2);
        assert_eq!(state.conditions[1].since.as_second(), 2);
        assert_eq!(state.hold().map(|held| held.name), Some(ConditionName::Blind));
        assert!(state.clear(ConditionName::Blind));
        assert!(!state.clear(ConditionName::Blind));
        assert_eq!(state.hold().map(|held| held.name), Some(ConditionName::Drift));
    }
}
