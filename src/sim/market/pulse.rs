//! How far market data may be told, and how far everybody has read it.
//!
//! Time is set by one driver. A session that is behind catches up by itself, since the tape can be asked about any stretch
//! of time: nothing is queued, and a slow reader costs no memory. Where time does not pass by itself (a replay as fast as
//! possible), the driver waits for the slowest before it goes on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

/// The beat, shared by the driver and all sessions.
#[derive(Debug)]
pub(crate) struct Pulse {
    now: watch::Sender<Timestamp>,
    readers: Mutex<Readers>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct Readers {
    numbered: u64,
    /// What each reader has been told, up to when.
    told: HashMap<u64, Timestamp>,
}

/// One session's place on the tape; giving it up is dropping it.
pub(crate) struct Reader<'a> {
    pulse: &'a Pulse,
    number: u64,
}

impl Pulse {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(now),
            readers: Mutex::default(),
            moved: Notify::new(),
        }
    }

    /// Lets everybody read up to `now`, which is not told yet.
    pub(crate) fn beat(&self, now: Timestamp) {
        self.now.send_replace(now);
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Timestamp> {
        self.now.subscribe()
    }

    /// A session that reads from now on.
    pub(crate) fn read(&self) -> Reader<'_> {
        let now = *self.now.borrow();
        let mut readers = self.readers();
        readers.numbered += 1;
        let number = readers.numbered;
        readers.told.insert(number, now);
        drop(readers);
        self.moved.notify_waiters();
        Reader { pulse: self, number }
    }

    /// Waits until somebody reads, and everybody who does has been told all that is before `now`.
    pub(crate) async fn caught_up(&self, now: Timestamp) {
        loop {
            let moved = self.moved.notified();
            let caught_up = {
                let readers = self.readers();
                !readers.told.is_empty() && readers.told.values().all(|told| *told >= now)
            };
            if caught_up {
                return;
            }
            moved.await;
        }
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader<'_> {
    /// Says that everything before `until` was told.
    pub(crate) fn told(&self, until: Timestamp) {
        self.pulse.readers().told.insert(self.number, until);
        self.pulse.moved.notify_waiters();
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.pulse.readers().told.remove(&self.number);
        self.pulse.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_slowest_reader_sets_the_pace() {
        let (zero, one) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1).unwrap());
        let pulse = Pulse::new(zero);
        let waits = async |pulse: &Pulse| {
            let limit = std::time::Duration::from_millis(20);
            tokio::time::timeout(limit, pulse.caught_up(one)).await.is_err()
        };
        assert!(waits(&pulse).await, "nobody reads");
        let (fast, slow) = (pulse.read(), pulse.read());
        pulse.beat(one);
        fast.told(one);
        assert!(waits(&pulse).await);
        let caught_up = async {
            tokio::task::yield_now().await;
            drop(slow);
        };
        tokio::join!(pulse.caught_up(one), caught_up);
    }
}
