//! Halts that nobody has to connect for: a signal to the process, and a file that is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::domain::{GatewayMode, ModeSource};
use crate::mode::{ModeWish, Modes};

/// How often it is looked for the file.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes of the file that are taken for the reason.
const REASON_MAX: u64 = 256;

/// Counts the signals that ask for a halt, also while this daemon does not lead: one that is told to halt and takes over
/// later does so halted.
pub(super) async fn count_signals(halts: watch::Sender<u64>) {
    let mut signals = match signal(SignalKind::user_defined1()) {
        Ok(signals) => signals,
        Err(error) => return error!(%error, "SIGUSR1 cannot be caught; halt by the service or by HALT_FILE"),
    };
    while signals.recv().await.is_some() {
        info!(signal = "SIGUSR1", "told to halt");
        halts.send_modify(|count| *count += 1);
    }
}

/// Halts on each signal, for as long as this daemon leads.
pub(super) async fn follow_signals(modes: Modes, halts: watch::Sender<u64>, instance: String) {
    let mut asked = halts.subscribe();
    while asked.wait_for(|count| *count > 0).await.is_ok() {
        obey_signals(&modes, &halts, &instance).await;
    }
}

/// Halts if a signal asked for it and nobody obeyed yet. Those from before this term count, too; what they asked for holds,
/// and outlives the term, from then on.
pub(super) async fn obey_signals(modes: &Modes, halts: &watch::Sender<u64>, instance: &str) {
    let count = *halts.borrow();
    if count > 0 {
        halt(modes, "SIGUSR1 was received", instance, ModeSource::Signal).await;
        halts.send_modify(|now| *now = now.saturating_sub(count));
    }
}

/// Halts when the file appears, and lets nobody resume while it is there.
pub(super) struct HaltFile {
    modes: Modes,
    file: PathBuf,
    instance: String,
    was_there: bool,
    /// What was said of a file that cannot be looked for.
    said: String,
}

impl HaltFile {
    pub(super) const fn new(modes: Modes, file: PathBuf, instance: String) -> Self {
        Self {
            modes,
            file,
            instance,
            was_there: false,
            said: String::new(),
        }
    }

    /// Looks for the file, for as long as this daemon leads.
    pub(super) async fn follow(mut self) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks for it once. Whoever starts does so before orders are taken: a file that was there before us halts us from the
    /// first order on.
    pub(super) async fn look(&mut self) {
        let file = &self.file;
        match tokio::fs::try_exists(file).await {
            Ok(is_there) => {
                self.said.clear();
                if is_there == self.was_there {
                    return;
                }
                self.was_there = is_there;
                self.modes.hold(is_there.then(|| file.display().to_string()));
                if is_there {
                    let reason = reason(file).await;
                    halt(&self.modes, &reason, &self.instance, ModeSource::File).await;
                } else {
                    info!(file = %file.display(), "HALT_FILE has gone; the gateway is halted until somebody resumes");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.said != text {
                    warn!(%error, file = %file.display(), "HALT_FILE cannot be looked for");
                    self.said = text;
                }
            }
        }
    }
}

async fn halt(modes: &Modes, reason: &str, instance: &str, source: ModeSource) {
    let wish = ModeWish {
        mode: GatewayMode::Halted,
        reason: reason.to_owned(),
        by: instance.to_owned(),
        source,
    };
    // A halt is the strictest mode, and holds in any case.
    if let Err(error) = modes.change(wish).await {
        error!(%error, "not halted");
    }
}

/// What the file says, else that it is there.
async fn reason(file: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(opened) = tokio::fs::File::open(file).await {
        // What cannot be read is no reason, and halts all the same.
        let _ = opened.take(REASON_MAX).read_to_end(&mut text).await;
    }
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    let line = line.replace(char::is_control, " ").trim().to_owned();
    if line.is_empty() {
        format!("{} is there", file.display())
    } else {
        line
    }
}
