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
    loop {
        // Those from before this term count, too; what they asked for holds, and outlives the term, from then on.
        let Ok(count) = asked.wait_for(|count| *count > 0).await.map(|count| *count) else {
            return;
        };
        halt(&modes, "SIGUSR1 was received", &instance, ModeSource::Signal).await;
        halts.send_modify(|now| *now = now.saturating_sub(count));
    }
}

/// Halts when the file appears, and lets nobody resume while it is there.
pub(super) async fn follow_file(modes: Modes, file: PathBuf, instance: String) {
    let mut was_there = false;
    let mut said = String::new();
    loop {
        match tokio::fs::try_exists(&file).await {
            Ok(is_there) => {
                said.clear();
                if is_there != was_there {
                    was_there = is_there;
                    modes.hold(is_there.then(|| file.display().to_string()));
                    if is_there {
                        let reason = reason(&file).await;
                        halt(&modes, &reason, &instance, ModeSource::File).await;
                    } else {
                        info!(file = %file.display(), "HALT_FILE has gone; the gateway is halted until somebody resumes");
                    }
                }
            }
            Err(error) => {
                let text = error.to_string();
                if said != text {
                    warn!(%error, file = %file.display(), "HALT_FILE cannot be looked for");
                    said = text;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
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
