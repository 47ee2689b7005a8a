//! Whether the daemon does its whole job now, latch by latch.
//!
//! Ready is: started, and no condition but informational ones. Stale positions, blindness and drift are
//! informational while they hold no orders: the daemon was told to trade without trade updates, the stale value says
//! so itself, the difference loses nothing. Being unready would mend none of them and hide the next fault. A mode
//! (halted, cancel only) is a person's decision and no fault, so it does not unready either; it is listed.
//!
//! A daemon that stands by is not ready: it does not trade. Whoever asks with `?standby=ready` wants to know whether
//! each daemon does what it should, and takes standing by for that.

use tokio::sync::watch;

use crate::domain::{Condition, ConditionName, GatewayState};

/// What `/readyz` reads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness {
    started: watch::Receiver<bool>,
    state: watch::Receiver<GatewayState>,
}

/// The latch that is set while everything has been started.
#[derive(Debug)]
pub struct Started(watch::Sender<bool>);

impl Started {
    /// Everything has been started.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Everything begins anew.
    pub fn unset(&self) {
        self.0.send_replace(false);
    }
}

/// An answer of `/readyz`.
pub(super) struct Report {
    pub(super) ready: bool,
    /// Another daemon leads, and nothing keeps this one from taking over.
    pub(super) stands_by: bool,
    pub(super) lines: String,
}

impl Readiness {
    /// Reads the gateway's state; not ready before [`Started::set`].
    pub fn new(state: watch::Receiver<GatewayState>) -> (Started, Self) {
        let (started_sender, started) = watch::channel(false);
        (Started(started_sender), Self { started, state })
    }

    /// Whether the daemon does its whole job, or stands by and could.
    pub fn does_its_part(&self) -> bool {
        let report = self.report();
        report.ready || report.stands_by
    }

    pub(super) fn report(&self) -> Report {
        let state = self.state.borrow().clone();
        let started = *self.started.borrow();
        let mut ready = started;
        let mut lines = String::new();
        lines.push_str(if started {
            "[+]started ok\n"
        } else {
            "[-]started: not yet\n"
        });
        for name in ConditionName::ALL {
            match state.conditions.iter().find(|condition| condition.name == name) {
                None => lines.push_str(&format!("[+]{} ok\n", name.as_str())),
                Some(condition) => {
                    let informational = is_informational(condition);
                    ready &= informational;
                    let mark = if informational { '!' } else { '-' };
                    // One latch is one line, whatever the reason quotes.
                    let reason = condition.reason.replace(char::is_control, " ");
                    lines.push_str(&format!("[{mark}]{}: {reason}\n", name.as_str()));
                }
            }
        }
        let keeps_back = |condition: &Condition| match condition.name {
            ConditionName::Standby | ConditionName::Reconciling => false,
            ConditionName::NatsDisconnected
            | ConditionName::Blind
            | ConditionName::AccountRefused
            | ConditionName::Drift
            | ConditionName::Draining
            | ConditionName::Stuck
            | ConditionName::Unwritable
            | ConditionName::PositionsStale
            | ConditionName::PositionsDiffer
            | ConditionName::LimitsUnreadable
            | ConditionName::Stopping => !is_informational(condition),
        };
        let stands_by = state.has(ConditionName::Standby) && !state.conditions.iter().any(keeps_back);
        lines.push_str(&format!("mode {}\n", state.mode.as_str()));
        lines.push_str(if ready { "ready\n" } else { "not ready\n" });
        Report {
            ready,
            stands_by,
            lines,
        }
    }
}

const fn is_informational(condition: &Condition) -> bool {
    match condition.name {
        ConditionName::PositionsStale
        | ConditionName::PositionsDiffer
        | ConditionName::LimitsUnreadable
        | ConditionName::Blind
        | ConditionName::Drift => !condition.holds_orders,
        ConditionName::Reconciling
        | ConditionName::Standby
        | ConditionName::NatsDisconnected
        | ConditionName::AccountRefused
        | ConditionName::Draining
        | ConditionName::Stuck
        | ConditionName::Unwritable
        | ConditionName::Stopping => false,
    }
}
