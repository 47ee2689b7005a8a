//! Takes as many deliveries as can be held, adopts what others left, and hands them to the desk in stream order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::{Backoff, Reason};
use crate::bus::{Connection, Delivery, Puller};
use crate::domain::ConditionName;
use crate::gateway::Gateway;
use crate::telemetry::metrics;
use crate::trial::{self, Bug};

/// Messages asked for at once. A burst of poison costs its neighbours no more than this.
const BATCH_MAX: usize = 8;

/// Failures in a row after which it is said that nothing is taken.
const STUCK_AFTER: u32 = 4;

/// How often what was delivered and is not in hand is looked for: what the client lost on the way, what it took for
/// something else, and what a limit on deliveries has stranded. The server hands none of these out again by itself.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// A delivery in hand, with its place in our memory.
pub struct Taken {
    pub(super) delivery: Delivery,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Takes from one durable consumer.
pub struct Intake {
    /// Where from.
    pub puller: Puller,
    /// The link it depends on.
    pub connection: Connection,
    /// Whether orders may be created.
    pub gateway: Gateway,
    /// Nothing is pulled while the objects differ from their declaration. Cancels are taken always.
    ///
    /// Other conditions do not keep commands out: they wait in hand, where their deadlines are seen to.
    pub held: bool,
    /// Deliveries that may be in hand at once.
    pub room: Arc<Semaphore>,
    /// The desk.
    pub desk: mpsc::Sender<Taken>,
}

impl Intake {
    /// Takes until stopped. What was pulled and not handed over comes back after its ack wait.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Reason::Nats);
        let mut adopted = None;
        let mut is_bound = true;
        let mut swept = Instant::now();
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            let turn = async {
                self.connection.connected().await;
                if self.held && self.gateway.has(ConditionName::Drift) {
                    is_bound = false; // whatever is mended meanwhile
                    self.gateway.without(ConditionName::Drift).await;
                }
                let generation = self.connection.link().borrow().generation;
                if adopted != Some(generation) {
                    // The first time it was bound a moment ago, to what is there now.
                    if !std::mem::take(&mut is_bound) || !self.puller.is_just_bound(generation) {
                        self.puller.rebind().await.map_err(Stuck::Bus)?;
                    }
                    self.adopt(false).await?;
                    adopted = Some(generation);
                    swept = Instant::now();
                } else if swept.elapsed() >= SWEEP_INTERVAL {
                    // Between two pulls nothing is on its way to us.
                    self.adopt(true).await?;
                    swept = Instant::now();
                }
                self.take().await
            };
            let result = tokio::select! {
                () = stop.cancelled() => return, // cancel-safe: level-triggered
                result = turn => result,         // a delivery dropped unhanded comes back after its ack wait
            };
            match result {
                Ok(()) => {
                    backoff.reset();
                    if std::mem::take(&mut failures) >= STUCK_AFTER {
                        self.gateway.clear(ConditionName::Stuck);
                    }
                }
                Err(Stuck::Desk) => return,
                Err(Stuck::Bus(error)) => {
                    warn!(%error, "nothing can be taken now");
                    failures = failures.saturating_add(1);
                    if failures >= STUCK_AFTER && self.connection.link().borrow().connected {
                        self.gateway.raise(ConditionName::Stuck, error.to_string(), true);
                    }
                    // Whatever is wrong, the next turn binds again and looks at what was left.
                    adopted = None;
                    tokio::select! {
                        () = stop.cancelled() => return,                            // cancel-safe: level-triggered
                        () = tokio::time::sleep(backoff.next_delay()) => {}         // cancel-safe
                    }
                }
            }
        }
    }

    /// Takes over what was delivered before, by us or by somebody else, and never settled.
    async fn adopt(&mut self, known: bool) -> Result<(), Stuck> {
        let outstanding = self.puller.outstanding(known).await.map_err(Stuck::Bus)?;
        metrics::commands_adopted(outstanding.len());
        if !outstanding.is_empty() {
            info!(
                commands = outstanding.len(),
                "commands left unsettled are taken up again"
            );
        }
        let poisoned = outstanding.iter().any(|delivery| delivery.hostile.is_some());
        for delivery in outstanding {
            if poisoned && trial::planted(Bug::PoisonTakesItsNeighbour) {
                let _ = delivery.term("poison").await;
                continue;
            }
            let permit = self.permit().await?;
            self.hand_over(delivery, permit).await?;
        }
        Ok(())
    }

    async fn take(&mut self) -> Result<(), Stuck> {
        let mut permits = vec![self.permit().await?];
        while permits.len() < BATCH_MAX {
            let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
                break;
            };
            permits.push(permit);
        }
        self.puller.pull(permits.len()).await.map_err(Stuck::Bus)?;
        while let Some(delivery) = self.puller.next().await.map_err(Stuck::Bus)? {
            let Some(permit) = permits.pop() else { break };
            self.hand_over(delivery, permit).await?;
        }
        Ok(())
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Stuck> {
        Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_closed| Stuck::Desk)
    }

    async fn hand_over(&self, delivery: Delivery, permit: OwnedSemaphorePermit) -> Result<(), Stuck> {
        self.desk
            .send(Taken { delivery, permit })
            .await
            .map_err(|_closed| Stuck::Desk)
    }
}

/// Why nothing is taken.
enum Stuck {
    /// NATS, or our consumer.
    Bus(crate::bus::TakeError),
    /// The desk has gone.
    Desk,
}
