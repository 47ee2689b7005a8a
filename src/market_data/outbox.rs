//! What waits to be published: bounded, and never a reason for a reader to wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bus::Message;
use crate::domain::market::{Channel, MarketClass};
use crate::telemetry::metrics;

/// Messages that are kept, of ticks and of everything else each: at 200 bytes each these are 20 MB. A flood of trades costs no bar.
const KEPT_MAX: usize = 100_000;

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Of which class.
    pub class: MarketClass,
    /// Of which channel.
    pub channel: Channel,
    /// Its stream wants it.
    pub stored: bool,
    /// What it is about: the channel and the symbol, as a key of the bucket of last values.
    pub key: Arc<str>,
    /// It is the last value of its key.
    pub is_last: bool,
    /// What is published.
    pub message: Message,
}

/// Readers put in, the relay takes out. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Slot>,
    /// The newest of each key whose older ones are worth nothing.
    newest: HashMap<(MarketClass, Arc<str>), Parcel>,
    /// Ticks that are kept, and everything else that is.
    kept: [usize; 2],
}

impl Waiting {
    fn kept(&mut self, channel: Channel) -> &mut usize {
        &mut self.kept[usize::from(!channel.is_tick())]
    }
}

#[derive(Debug)]
enum Slot {
    Kept(Parcel),
    Newest(MarketClass, Arc<str>),
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in. Never waits.
    pub fn put(&self, parcel: Parcel) {
        let mut waiting = self.waiting();
        if parcel.channel.is_conflated() && !parcel.stored {
            let key = Arc::clone(&parcel.key);
            let (class, channel) = (parcel.class, parcel.channel);
            if waiting.newest.insert((class, Arc::clone(&key)), parcel).is_some() {
                metrics::market_data_conflated(class, channel);
            } else {
                waiting.queue.push_back(Slot::Newest(class, key));
            }
        } else if *waiting.kept(parcel.channel) < KEPT_MAX {
            *waiting.kept(parcel.channel) += 1;
            waiting.queue.push_back(Slot::Kept(parcel));
        } else {
            // The newest one is left out: what is in the queue is in order, and stays so.
            metrics::market_data_dropped(parcel.class, parcel.channel, 1);
        }
        drop(waiting);
        self.shared.filled.notify_one();
    }

    /// Puts back what could not be published, before everything else. Bounded by what was taken out.
    pub fn put_back(&self, parcels: impl DoubleEndedIterator<Item = Parcel>) {
        let mut waiting = self.waiting();
        for parcel in parcels.rev() {
            *waiting.kept(parcel.channel) += 1;
            waiting.queue.push_front(Slot::Kept(parcel));
        }
        drop(waiting);
        self.shared.filled.notify_one();
    }

    /// Takes out up to `max` messages, oldest first, without a wait.
    pub fn take(&self, max: usize) -> Vec<Parcel> {
        let mut waiting = self.waiting();
        let mut taken = Vec::with_capacity(max.min(waiting.queue.len()));
        while taken.len() < max {
            match waiting.queue.pop_front() {
                Some(Slot::Kept(parcel)) => {
                    *waiting.kept(parcel.channel) -= 1;
                    taken.push(parcel);
                }
                Some(Slot::Newest(class, key)) => taken.extend(waiting.newest.remove(&(class, key))),
                None => break,
            }
        }
        taken
    }

    /// Waits until there is something. Cancel-safe.
    pub async fn filled(&self) {
        while self.waiting().queue.is_empty() {
            self.shared.filled.notified().await;
        }
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.waiting().queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(channel: Channel, subject: &str, payload: &'static str) -> Parcel {
        Parcel {
            class: MarketClass::Stocks,
            channel,
            stored: !channel.is_tick(),
            key: subject.into(),
            is_last: true,
            message: Message {
                subject: subject.into(),
                schema: "stream.v0.Quote",
                id: None,
                payload: payload.into(),
            },
        }
    }

    fn payloads(parcels: &[Parcel]) -> Vec<&[u8]> {
        parcels
            .iter()
            .map(|parcel| parcel.message.payload.as_ref())
            .collect()
    }

    #[test]
    fn the_newest_quote_wins_and_trades_are_kept_in_order() {
        let outbox = Outbox::default();
        outbox.put(parcel(Channel::Quotes, "q.AAPL", "old"));
        outbox.put(parcel(Channel::Trades, "t.AAPL", "1"));
        outbox.put(parcel(Channel::Quotes, "q.MSFT", "other"));
        outbox.put(parcel(Channel::Quotes, "q.AAPL", "new"));
        outbox.put(parcel(Channel::Trades, "t.AAPL", "2"));
        assert_eq!(outbox.len(), 4);
        let taken = outbox.take(3);
        assert_eq!(payloads(&taken), [&b"new"[..], b"1", b"other"]);
        assert_eq!(payloads(&outbox.take(9)), [b"2"]);
        // What was taken out is news again.
        outbox.put(parcel(Channel::Quotes, "q.AAPL", "newer"));
        assert_eq!(payloads(&outbox.take(9)), [b"newer"]);
        outbox.put_back(taken.into_iter());
        assert_eq!(payloads(&outbox.take(9)), [&b"new"[..], b"1", b"other"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let outbox = Outbox::default();
        for _ in 0..KEPT_MAX + 5 {
            outbox.put(parcel(Channel::Trades, "t.AAPL", "trade"));
        }
        assert_eq!(outbox.len(), KEPT_MAX);
        outbox.put(parcel(Channel::Bars, "b.AAPL", "a bar finds room"));
        assert_eq!(outbox.len(), KEPT_MAX + 1);
        outbox.take(1);
        outbox.put(parcel(Channel::Trades, "t.AAPL", "so does a trade, now"));
        outbox.put(parcel(Channel::Quotes, "q.AAPL", "still"));
        assert_eq!(outbox.len(), KEPT_MAX + 2);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let outbox = Outbox::default();
        let mut filled = Box::pin(outbox.filled());
        assert!(futures_util::poll!(&mut filled).is_pending());
        outbox.put(parcel(Channel::Bars, "b.AAPL", "bar"));
        filled.await;
    }
}
