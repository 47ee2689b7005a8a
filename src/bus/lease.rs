//! Which daemon leads: a value in the bucket that its holder writes again and again, by compare-and-set.
//!
//! The holder counts from when it began its last write; everybody else from when they saw the value change. Neither
//! looks at the other's clock. The holder stops trusting its lease well before anybody may take it, so that two
//! daemons never both believe that they lead; and whoever was asleep meanwhile (a stopped process, a frozen machine)
//! finds out before its next write, because every write asks [`Lease::holds`] first.
//!
//! A lease does not prove that nobody else acts: a request may be on its way. What a former holder began is looked up
//! at the venue like everything that is in doubt.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::bucket::{Bucket, BucketError, WriteError};
use crate::clock::Clock;
use crate::domain::LeaseRecord;
use crate::wire;

/// The key.
const KEY: &str = "lease";
/// How often the holder writes it.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// How long the holder trusts its last write. Two writes may be lost.
const TRUST: Duration = Duration::from_secs(9);
/// A value that stood still for so long before an observer's eyes has no holder any more.
const DEAD_AFTER: Duration = Duration::from_secs(12);
/// Longest wait for NATS to take the lease back.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often those who stand by look.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The right to act, while it lasts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoch: u64,
    trusted_until: watch::Sender<Instant>,
    lost: CancellationToken,
}

impl Lease {
    fn new(epoch: u64, trusted_until: Instant) -> Self {
        let shared = Shared {
            epoch,
            trusted_until: watch::Sender::new(trusted_until),
            lost: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A lease nobody can take, for tests of what stands on one.
    #[cfg(test)]
    pub(crate) fn for_ever() -> Self {
        Self::new(1, Instant::now() + Duration::from_secs(365 * 24 * 3600))
    }

    /// Goes up with each holder.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Whether this daemon may act now.
    pub fn holds(&self) -> bool {
        !self.shared.lost.is_cancelled() && Instant::now() < *self.shared.trusted_until.borrow()
    }

    /// Waits until this daemon may act. Cancel-safe.
    pub async fn held(&self) {
        let mut renewed = self.shared.trusted_until.subscribe();
        while !self.holds() {
            if self.shared.lost.is_cancelled() || renewed.changed().await.is_err() {
                // Whoever waits is ended from above.
                return std::future::pending().await;
            }
        }
    }

    /// Waits until somebody else leads. Cancel-safe.
    pub async fn lost(&self) {
        self.shared.lost.cancelled().await;
    }
}

/// A write that was not made.
#[derive(Debug, thiserror::Error)]
#[error("this daemon does not hold the lease now")]
pub(super) struct NotLeading;

/// Takes the lease, and keeps it.
pub struct Keeper {
    bucket: Bucket,
    clock: Clock,
    instance: String,
    process: Uuid,
    revision: u64,
    lease: Lease,
}

/// What somebody who wants to lead brings along.
pub struct Candidate {
    /// Where the lease is.
    pub bucket: Bucket,
    /// For what people read.
    pub clock: Clock,
    /// Name of this daemon.
    pub instance: String,
    /// This process.
    pub process: Uuid,
    /// It is proven that no other process of this name lives, so what bears it is ours to take up again.
    pub alone: bool,
}

impl Candidate {
    /// Waits until nobody leads, and leads. `standing_by` hears of whoever leads meanwhile.
    pub async fn lead(self, mut standing_by: impl FnMut(&LeaseRecord)) -> Keeper {
        let mut watched: Option<(u64, Instant)> = None;
        let mut alone = self.alone;
        loop {
            match self.look(&mut watched, alone).await {
                Ok(Look::Free { revision, epoch, why }) => match self.take(revision, epoch).await {
                    Ok(keeper) => {
                        info!(epoch = keeper.lease.epoch(), why, "this daemon leads");
                        return keeper;
                    }
                    Err(error) => {
                        debug!(%error, "the lease was not taken");
                        watched = None;
                    }
                },
                Ok(Look::Held(record)) => standing_by(&record),
                Err(error) => {
                    // What was not seen all the time has not stood still.
                    watched = None;
                    debug!(%error, "the lease could not be read");
                }
            }
            // Only at first sight: a name that is used twice must not change hands for ever.
            alone = alone && watched.is_none();
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look(&self, watched: &mut Option<(u64, Instant)>, alone: bool) -> Result<Look, BucketError> {
        let (entry, revision) = self.bucket.get_or_revision(KEY).await?;
        let Some(record) = entry.and_then(|entry| wire::read_lease(&entry.value).ok()) else {
            // Nobody ever led, or the last one said that it goes.
            return Ok(Look::Free {
                revision,
                epoch: 0,
                why: "nobody did",
            });
        };
        let free = |why| Look::Free {
            revision,
            epoch: record.epoch,
            why,
        };
        if alone && record.instance == self.instance {
            return Ok(free("the last one was ourselves"));
        }
        match watched {
            Some((known, since)) if *known == revision => {
                if since.elapsed() >= DEAD_AFTER {
                    return Ok(free("the last one is dead"));
                }
            }
            Some(_) | None => *watched = Some((revision, Instant::now())),
        }
        Ok(Look::Held(record))
    }

    async fn take(&self, revision: u64, epoch: u64) -> Result<Keeper, WriteError> {
        let began = Instant::now();
        // A bucket that was made anew has forgotten the epochs of the one before; the calendar has not.
        let today = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let record = LeaseRecord {
            instance: self.instance.clone(),
            process: self.process,
            epoch: today.max(epoch + 1),
            at: self.clock.now(),
        };
        let revision = self
            .bucket
            .compare_and_set(KEY, wire::lease(&record).bytes, revision)
            .await?;
        Ok(Keeper {
            bucket: self.bucket.clone(),
            clock: self.clock.clone(),
            instance: self.instance.clone(),
            process: self.process,
            revision,
            lease: Lease::new(record.epoch, began + TRUST),
        })
    }
}

enum Look {
    Free {
        revision: u64,
        epoch: u64,
        why: &'static str,
    },
    Held(LeaseRecord),
}

impl Keeper {
    /// The lease that is kept.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Writes the lease until somebody else has it. Then the lease is lost, and this ends.
    pub async fn keep(&mut self) {
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            match self.renew().await {
                Ok(true) => {}
                Ok(false) => {
                    self.lease.shared.lost.cancel();
                    return;
                }
                Err(error) => warn!(%error, "the lease was not renewed"),
            }
        }
    }

    /// One renewal. False: somebody else leads.
    async fn renew(&mut self) -> Result<bool, WriteError> {
        let began = Instant::now();
        let value = wire::lease(&LeaseRecord {
            instance: self.instance.clone(),
            process: self.process,
            epoch: self.lease.epoch(),
            at: self.clock.now(),
        });
        let written = match self
            .bucket
            .compare_and_set(KEY, value.bytes.clone(), self.revision)
            .await
        {
            // Our own write whose answer was lost, a bucket made anew, or somebody else.
            Err(WriteError::Stale) => {
                let (entry, revision) = self
                    .bucket
                    .get_or_revision(KEY)
                    .await
                    .map_err(WriteError::Unknown)?;
                let holder = entry.map(|entry| wire::read_lease(&entry.value));
                if let Some(Ok(holder)) = holder
                    && holder.process != self.process
                {
                    warn!(
                        instance = holder.instance,
                        epoch = holder.epoch,
                        "somebody else leads now"
                    );
                    return Ok(false);
                }
                self.bucket.compare_and_set(KEY, value.bytes, revision).await
            }
            written => written,
        };
        self.revision = written?;
        self.lease.shared.trusted_until.send_replace(began + TRUST);
        Ok(true)
    }

    /// Says that nobody leads any more, so that whoever stands by need not wait.
    pub async fn release(self) {
        self.lease.shared.lost.cancel();
        let given_back = async {
            // The last renewal may have been dropped half-way, so what stands there is looked at.
            let (entry, revision) = self
                .bucket
                .get_or_revision(KEY)
                .await
                .map_err(WriteError::Unknown)?;
            match entry.map(|entry| wire::read_lease(&entry.value)) {
                Some(Ok(holder)) if holder.process == self.process => {
                    self.bucket.delete_revision(KEY, revision).await
                }
                Some(_) | None => Ok(()),
            }
        };
        match tokio::time::timeout(RELEASE_TIMEOUT, given_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "the lease was not given back, it runs out by itself"),
            Err(_late) => debug!("the lease was not given back in time, it runs out by itself"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_not_trusted_and_one_that_is_lost_never_again() {
        let lease = Lease::new(7, Instant::now() + TRUST);
        assert!(lease.holds());
        tokio::time::advance(TRUST).await;
        assert!(!lease.holds(), "the first instant that is too late");
        let mut held = Box::pin(lease.held());
        assert!(poll!(&mut held).is_pending());
        lease.shared.trusted_until.send_replace(Instant::now() + TRUST);
        assert!(poll!(&mut held).is_ready());
        lease.shared.lost.cancel();
        assert!(!lease.holds());
        assert!(poll!(Box::pin(lease.held())).is_pending());
        lease.lost().await;
    }

    #[test]
    fn nobody_may_take_a_lease_its_holder_still_trusts() {
        // The holder counts from before its write, an observer from after.
        assert!(TRUST < DEAD_AFTER);
        assert!(RENEW_INTERVAL * 3 <= TRUST);
    }
}
