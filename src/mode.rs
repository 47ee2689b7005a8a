//! What is let through, as people change it: it holds at once, it is kept over restarts, and the journal tells who, when
//! and why.
//!
//! A stricter mode holds when [`Modes::change`] begins, whatever else is broken, and is kept as soon as that is possible:
//! who halts a gateway whose NATS is in trouble must not be told to wait. A looser one is kept first, and holds when it
//! is: what nobody could keep would come back with the next start, as a surprise. Whoever halts while somebody else
//! resumes has the last word.
//!
//! Deliberately absent: who may ask. NATS permissions say that, and for a signal or a file the system they are on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use crate::backoff::{Backoff, Reason};
use crate::bus::{Bucket, Journal};
use crate::clock::Clock;
use crate::domain::{GatewayMode, ModeChange, ModeSource};
use crate::gateway::Gateway;
use crate::trial::{self, Bug};
use crate::wire;

/// The key.
const KEY: &str = "mode";
/// Longest wait for a stricter mode to be kept before its asker is told that it holds.
const KEPT_WITHIN: Duration = Duration::from_millis(150);
/// Longest wait for a looser one.
const KEEP_PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether what was kept is still there.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A mode somebody asks for.
#[derive(Clone, Debug)]
pub struct ModeWish {
    /// What is to be let through.
    pub mode: GatewayMode,
    /// Why, for people.
    pub reason: String,
    /// Who asks, as they say.
    pub by: String,
    /// How.
    pub source: ModeSource,
}

/// Why a looser mode does not hold.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// It could not be kept.
    #[error("the mode is still {}, for another one could not be kept: {cause}", .mode.as_str())]
    NotKept {
        /// What holds.
        mode: GatewayMode,
        /// Why it could not be kept.
        cause: String,
    },
    /// Somebody asked for a stricter one meanwhile.
    #[error("the mode is {}, which was asked for meanwhile ({reason}); ask again if you mean it", .mode.as_str())]
    Overtaken {
        /// What holds.
        mode: GatewayMode,
        /// Why.
        reason: String,
    },
    /// Something asks for a stricter one for as long as it is there.
    #[error("{0} asks for a halt for as long as it is there; remove it first")]
    Held(String),
}

/// A mode that holds in this process and could not be kept yet. It outlives a term of leading: who halts while NATS is out of
/// reach must not find the gateway resumed because it lost its lease meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Unkept(Arc<Mutex<Option<ModeChange>>>);

impl Unkept {
    fn set(&self, change: Option<ModeChange>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = change;
    }

    /// What could not be kept, unless what is kept is newer.
    fn newer_than(&self, kept: Option<&ModeChange>) -> Option<ModeChange> {
        let unkept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unkept.filter(|unkept| kept.is_none_or(|kept| kept.at < unkept.at))
    }
}

/// Changes what is let through. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Modes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gateway: Gateway,
    bucket: Bucket,
    journal: Journal,
    clock: Clock,
    /// Held while something is kept, so that what is kept last is what was changed last.
    keeping: tokio::sync::Mutex<()>,
    now: Mutex<Now>,
    /// The version that is kept.
    kept: watch::Sender<u64>,
    /// The version that holds.
    holds: watch::Sender<u64>,
    unkept: Unkept,
}

#[derive(Debug)]
struct Now {
    change: ModeChange,
    version: u64,
    /// What asks for a halt for as long as it is there.
    holder: Option<String>,
}

/// How a change began.
enum Begun {
    /// It holds, as this version, and is to be kept.
    Holds(ModeChange, u64),
    /// It is to be kept before it holds; this version holds till then.
    Loosens(ModeChange, u64),
}

impl Modes {
    /// Reads what was kept, for as long as it takes, and lets it hold. What cannot be read is a halt: it may have been one.
    pub async fn take_up(
        gateway: Gateway,
        bucket: Bucket,
        journal: Journal,
        clock: Clock,
        unkept: Unkept,
    ) -> Self {
        let mut backoff = Backoff::new(Reason::Nats);
        let kept = loop {
            match bucket.get(KEY).await {
                Ok(entry) => break entry.map(|entry| entry.value),
                Err(error) => warn!(%error, "what is let through cannot be read, waiting"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        };
        let begun = |mode, reason: &str| ModeChange {
            id: Uuid::now_v7(),
            mode,
            previous: GatewayMode::Normal,
            reason: reason.to_owned(),
            by: String::new(),
            source: ModeSource::Start,
            at: clock.now(),
        };
        let kept = kept.as_deref().map(wire::service::read_mode_change);
        let known = kept.as_ref().and_then(|kept| kept.as_ref().ok());
        let (change, is_kept) = match (kept.clone(), unkept.newer_than(known)) {
            (_, Some(change)) => (change, false),
            (None, None) => (begun(GatewayMode::Normal, ""), true),
            // Whoever kept it may have ended before the journal had it.
            (Some(Ok(change)), None) => (change, false),
            (Some(Err(error)), None) => {
                warn!(%error, "the mode that was kept cannot be read, so the gateway is halted");
                let reason = "the mode that was kept cannot be read; resume if it may be normal";
                (begun(GatewayMode::Halted, reason), false)
            }
        };
        if change.mode != GatewayMode::Normal {
            let (mode, reason, by) = (change.mode.as_str(), &change.reason, &change.by);
            warn!(mode, reason, by, "the mode of before holds on");
        }
        gateway.set_mode(&change);
        Self(Arc::new(Inner {
            gateway,
            bucket,
            journal,
            clock,
            keeping: tokio::sync::Mutex::new(()),
            now: Mutex::new(Now {
                change,
                version: 1,
                holder: None,
            }),
            kept: watch::Sender::new(u64::from(is_kept)),
            holds: watch::Sender::new(1),
            unkept,
        }))
    }

    /// Changes what is let through. Returns when it holds, at once for a stricter mode; and whether it is kept.
    pub async fn change(&self, wish: ModeWish) -> Result<(ModeChange, bool), NotChanged> {
        match self.begin(wish)? {
            Begun::Holds(change, version) => {
                let mut kept = self.0.kept.subscribe();
                let is_kept = tokio::time::timeout(KEPT_WITHIN, kept.wait_for(|kept| *kept >= version));
                // If not, the keeper goes on trying.
                let is_kept = is_kept.await.is_ok_and(|kept| kept.is_ok());
                Ok((change, is_kept))
            }
            Begun::Loosens(change, version) => self.loosen(change, version).await,
        }
    }

    fn begin(&self, wish: ModeWish) -> Result<Begun, NotChanged> {
        let mut now = self.now();
        let change = ModeChange {
            id: Uuid::now_v7(),
            mode: wish.mode,
            previous: now.change.mode,
            reason: wish.reason,
            by: wish.by,
            source: wish.source,
            at: self.0.clock.now(),
        };
        if change.mode.strictness() >= now.change.mode.strictness() {
            let version = self.let_hold(&mut now, change.clone());
            return Ok(Begun::Holds(change, version));
        }
        match &now.holder {
            Some(holder) => Err(NotChanged::Held(holder.clone())),
            None => Ok(Begun::Loosens(change, now.version)),
        }
    }

    /// Whether this mode holds.
    pub fn is(&self, mode: GatewayMode) -> bool {
        self.now().change.mode == mode
    }

    /// Notes what asks for a halt for as long as it is there; `None`: it has gone.
    pub fn hold(&self, holder: Option<String>) {
        self.now().holder = holder;
    }

    /// Keeps what holds, for as long as the daemon leads; and again, where somebody has lost it.
    pub async fn keep(self) {
        let mut holds = self.0.holds.subscribe();
        let mut backoff = Backoff::new(Reason::Nats);
        loop {
            let version = *holds.borrow_and_update();
            if *self.0.kept.borrow() < version {
                match self.keep_now().await {
                    Ok(()) => backoff.reset(),
                    Err(error) => {
                        warn!(error, "the mode holds, and is not kept yet, trying again");
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
                continue;
            }
            tokio::select! {
                changed = holds.changed() => if changed.is_err() { return },  // cancel-safe: docs
                () = tokio::time::sleep(LOOK_EVERY) => self.look().await,     // cancel-safe
            }
        }
    }

    /// Whether what was kept is still there: a bucket may be made anew.
    async fn look(&self) {
        let is_normal = self.now().change.mode == GatewayMode::Normal;
        if !is_normal && matches!(self.0.bucket.get(KEY).await, Ok(None)) {
            warn!("the mode that was kept has gone from the bucket, keeping it again");
            self.0.kept.send_replace(0);
        }
    }

    async fn keep_now(&self) -> Result<(), String> {
        let _keeping = self.0.keeping.lock().await;
        let (change, version) = {
            let now = self.now();
            (now.change.clone(), now.version)
        };
        self.write(&change).await?;
        self.0.kept.send_replace(version);
        if self.now().version == version {
            self.0.unkept.set(None);
        }
        Ok(())
    }

    async fn write(&self, change: &ModeChange) -> Result<(), String> {
        if trial::planted(Bug::HaltIsNotKept) {
            return Ok(());
        }
        let value = wire::service::mode_change(change, true).bytes;
        self.0
            .bucket
            .put(KEY, value)
            .await
            .map_err(|error| error.to_string())?;
        self.0
            .journal
            .mode(change)
            .await
            .map_err(|error| error.to_string())
    }

    async fn loosen(&self, change: ModeChange, version: u64) -> Result<(ModeChange, bool), NotChanged> {
        let _keeping = self.0.keeping.lock().await;
        let written = tokio::time::timeout(KEEP_PATIENCE, self.write(&change)).await;
        let cause = match written {
            Ok(Ok(())) => None,
            Ok(Err(cause)) => Some(cause),
            Err(_) => Some(format!("no answer within {} s", KEEP_PATIENCE.as_secs())),
        };
        let mut now = self.now();
        if now.version == version && cause.is_none() && now.holder.is_none() {
            let version = self.let_hold(&mut now, change.clone());
            self.0.kept.send_replace(version);
            self.0.unkept.set(None);
            return Ok((change, true));
        }
        // What is kept, or may be, is not what holds.
        self.0.kept.send_replace(0);
        self.0.holds.send_modify(|_| {});
        let mode = now.change.mode;
        Err(match cause {
            Some(cause) => NotChanged::NotKept { mode, cause },
            None => NotChanged::Overtaken {
                mode,
                reason: now.change.reason.clone(),
            },
        })
    }

    fn let_hold(&self, now: &mut Now, change: ModeChange) -> u64 {
        if !trial::planted(Bug::HaltIsOnlyTold) {
            self.0.gateway.set_mode(&change);
        }
        let (mode, previous) = (change.mode.as_str(), change.previous.as_str());
        let (reason, by, source) = (&change.reason, &change.by, change.source.as_str());
        info!(mode, previous, reason, by, source, "mode set");
        self.0.unkept.set(Some(change.clone()));
        now.change = change;
        now.version += 1;
        self.0.holds.send_replace(now.version);
        now.version
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_could_not_be_kept_outlives_the_term_unless_somebody_was_later() {
        let change = |second| ModeChange {
            id: Uuid::nil(),
            mode: GatewayMode::Halted,
            previous: GatewayMode::Normal,
            reason: String::new(),
            by: String::new(),
            source: ModeSource::Signal,
            at: Timestamp::from_second(second).unwrap(),
        };
        let unkept = Unkept::default();
        assert_eq!(unkept.newer_than(None), None);
        unkept.set(Some(change(10)));
        assert_eq!(unkept.newer_than(None), Some(change(10)));
        assert_eq!(unkept.newer_than(Some(&change(9))), Some(change(10)));
        assert_eq!(
            unkept.newer_than(Some(&change(11))),
            None,
            "another daemon led meanwhile"
        );
        unkept.set(None);
        assert_eq!(unkept.newer_than(None), None);
    }
}
