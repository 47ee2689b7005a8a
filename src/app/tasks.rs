//! Every task has a name, is joined, and its end means something.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// Which floor a task lives on. Floors are stopped one after the other, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floor {
    /// Takes and settles commands.
    Desk,
    /// Tells what happened: drop copy and mirrors. Stopped when the desk has nothing in hand.
    Feeds,
}

/// The daemon's tasks.
///
/// A task on a *floor* runs until its floor is stopped: one that ends before is a failure of the daemon. *Helpers*
/// watch, count and report; they hold nothing that could be lost, and are aborted at the end.
pub(super) struct Tasks {
    stop: CancellationToken,
    desk: Rooms,
    feeds: Rooms,
    helpers: JoinSet<&'static str>,
}

struct Rooms {
    stop: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Rooms {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }
}

impl Tasks {
    /// No tasks yet. `stop` is the word that it is time to end.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            desk: Rooms::new(),
            feeds: Rooms::new(),
            helpers: JoinSet::new(),
        }
    }

    /// What stops a floor.
    pub(super) fn stop_of(&self, floor: Floor) -> CancellationToken {
        match floor {
            Floor::Desk => self.desk.stop.clone(),
            Floor::Feeds => self.feeds.stop.clone(),
        }
    }

    /// Starts a task that must not end by itself.
    pub(super) fn essential(
        &mut self,
        floor: Floor,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.rooms(floor).tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that may be aborted at any time.
    pub(super) fn helper(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.helpers.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits until the daemon is told to stop, or a task on a floor ends before it was.
    pub(super) async fn until_stop_or_failure(&mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),          // cancel-safe: level-triggered
            Some(ended) = self.desk.tasks.join_next() => ended,   // cancel-safe: docs
            Some(ended) = self.feeds.tasks.join_next() => ended,  // cancel-safe: docs
        };
        match ended {
            Ok(name) => Err(anyhow::anyhow!("the task {name:?} ended before it was asked to")),
            Err(error) => Err(anyhow::Error::new(error).context("a task failed")),
        }
    }

    /// Stops a floor and waits for its tasks, but not longer than `grace`; aborts what remains.
    pub(super) async fn stop_floor(&mut self, floor: Floor, grace: Duration) {
        let rooms = self.rooms(floor);
        rooms.stop.cancel();
        let drain = async {
            while let Some(ended) = rooms.tasks.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            let tasks = rooms.tasks.len();
            warn!(
                ?floor,
                tasks, "grace period is over; what was in hand comes back to the next daemon"
            );
            rooms.tasks.shutdown().await;
        }
    }

    /// Ends everything that is left.
    pub(super) async fn finish(mut self) {
        self.desk.tasks.shutdown().await;
        self.feeds.tasks.shutdown().await;
        self.helpers.shutdown().await;
    }

    fn rooms(&mut self, floor: Floor) -> &mut Rooms {
        match floor {
            Floor::Desk => &mut self.desk,
            Floor::Feeds => &mut self.feeds,
        }
    }
}

fn report(ended: Result<&'static str, JoinError>) {
    match ended {
        Ok(name) => debug!(task = name, "task ended"),
        Err(error) if error.is_cancelled() => {}
        Err(error) => error!(%error, "a task failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_unasked_is_a_failure_and_says_its_name() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.essential(Floor::Feeds, "drop copy", async {});
        let error = tasks.until_stop_or_failure().await.unwrap_err();
        assert!(error.to_string().contains("drop copy"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_floor_that_does_not_stop_in_time_is_aborted() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.essential(Floor::Desk, "stuck", std::future::pending());
        stop.cancel();
        tasks.until_stop_or_failure().await.unwrap();
        tasks.stop_floor(Floor::Desk, Duration::from_secs(30)).await;
        assert!(tasks.desk.tasks.is_empty());
    }
}
