//! Waiting for a condition, with a limit. The limit is no promise of speed: it only ends a test that is lost.

use std::time::Duration;

use tokio::time::Instant;

/// Long enough for the slowest thing a test waits for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < give_up, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
