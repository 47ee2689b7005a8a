//! In-progress beats for every message in hand.
//!
//! A message that waits its turn in our memory burns its ack deadline just as one that is worked on; without
//! beats the server would hand it out again. The set of messages in hand also tells a redelivery of something we
//! are still working on from news.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use jiff::Timestamp;
use tracing::debug;

use super::Connection;
use crate::domain::CommandId;

/// Less than a third of the consumers' ack wait, so that two beats may be lost.
const INTERVAL: Duration = Duration::from_secs(3);

/// Messages in hand, with the subject that answers them. By sequence alone the first messages of a stream that was
/// made anew would pass for redeliveries of what is still in hand from the old one, and be lost.
#[derive(Clone, Default)]
pub struct Beats {
    in_hand: Arc<Mutex<HashMap<CommandId, Subject>>>,
    /// When the stream that is there now was created, as far as is known.
    stream_created: Arc<Mutex<Option<Timestamp>>>,
}

/// One message is in hand for as long as this lives.
pub(super) struct InHand {
    beats: Beats,
    id: CommandId,
}

impl Beats {
    /// Notes that a message is in hand. `None`: it was already, and the newer delivery's answer subject is kept.
    pub(super) fn take(&self, id: CommandId, reply: Subject) -> Option<InHand> {
        let known = self.lock().insert(id, reply);
        known.is_none().then(|| InHand {
            beats: self.clone(),
            id,
        })
    }

    /// Notes which stream is there now. An answer to a delivery of an older one would settle whatever message has
    /// its sequence today.
    pub(super) fn stream_is(&self, created: Timestamp) {
        *self.current() = Some(created);
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
        // As with the map.
        self.stream_created.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sequences that are in hand of a stream.
    pub(super) fn sequences(&self, stream_created: Timestamp) -> HashSet<u64> {
        let in_hand = self.lock();
        let of_stream = in_hand.keys().filter(|id| id.stream_created == stream_created);
        of_stream.map(|id| id.sequence).collect()
    }

    /// Messages in hand.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is in hand.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Beats until aborted.
    pub async fn run(self, connection: Connection) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // While disconnected a beat would only queue up behind the reconnect; the server has forgotten us.
            if !connection.link().borrow().connected {
                continue;
            }
            let current = *self.current();
            let replies: Vec<Subject> = {
                let in_hand = self.lock();
                let answerable = in_hand
                    .iter()
                    .filter(|(id, _)| Some(id.stream_created) == current);
                answerable.map(|(_, reply)| reply.clone()).collect()
            };
            for reply in replies {
                if let Err(error) = connection.made().client.publish(reply, "+WPI".into()).await {
                    debug!(%error, "in-progress beat could not be sent");
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CommandId, Subject>> {
        // Nothing panics while it holds the lock; were it so, the map would still be whole.
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InHand {
    /// The subject that answers the newest delivery of the message; `None` when its stream is gone.
    pub(super) fn reply(&self) -> Option<Subject> {
        let is_there = *self.beats.current() == Some(self.id.stream_created);
        is_there
            .then(|| self.beats.lock().get(&self.id).cloned())
            .flatten()
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.beats.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stream_created: i64, sequence: u64) -> CommandId {
        CommandId {
            stream_created: Timestamp::from_second(stream_created).unwrap(),
            sequence,
        }
    }

    #[test]
    fn a_message_is_in_hand_once() {
        let beats = Beats::default();
        beats.stream_is(message(100, 7).stream_created);
        let held = beats.take(message(100, 7), "first".into()).unwrap();
        assert!(
            beats.take(message(100, 7), "second".into()).is_none(),
            "a redelivery is not news"
        );
        assert_eq!(
            held.reply(),
            Some("second".into()),
            "the newest delivery is the one to answer"
        );
        drop(held);
        assert!(beats.is_empty());
        assert!(beats.take(message(100, 7), "third".into()).is_some());
    }

    #[test]
    fn a_stream_made_anew_hands_out_news_under_old_sequences() {
        let beats = Beats::default();
        let old = beats.take(message(100, 7), "old".into());
        let new = beats.take(message(200, 7), "new".into());
        assert!(new.is_some());
        beats.stream_is(message(200, 7).stream_created);
        let old_reply = old.as_ref().and_then(InHand::reply);
        assert_eq!(old_reply, None, "it would settle the new stream's message");
        drop(old);
        assert_eq!(new.and_then(|new| new.reply()), Some("new".into()));
    }
}
