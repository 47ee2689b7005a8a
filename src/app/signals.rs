//! SIGTERM and Ctrl-C: the first one settles everything, the second one ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Exit code after a second signal, as shells report an interrupt.
const INTERRUPTED: i32 = 130;

/// Cancels `stop` on the first signal and ends the process on the second.
pub(super) async fn stop_on_signals(stop: CancellationToken) {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                error!(%error, "signals cannot be caught, the daemon will stop without settling");
                return;
            }
        };
    let name = next(&mut terminate, &mut interrupt).await;
    info!(
        signal = name,
        "stopping: no new commands, what is in hand is settled"
    );
    stop.cancel();
    let name = next(&mut terminate, &mut interrupt).await;
    warn!(
        signal = name,
        "second signal, ending at once; what was in hand comes back"
    );
    std::process::exit(INTERRUPTED);
}

/// Waits for a signal that asks to end, for commands with nothing to settle.
pub async fn told_to_stop() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    if let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) {
        next(&mut terminate, &mut interrupt).await;
    }
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM", // cancel-safe: docs
        _ = interrupt.recv() => "SIGINT",  // cancel-safe: docs
    }
}
