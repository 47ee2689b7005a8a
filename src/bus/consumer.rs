//! Taking messages from a durable consumer, a few at a time.
//!
//! Pulled with `batch` in a loop, never with the client's endless `messages`: that one can stop for half a minute
//! with messages waiting.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use async_nats::jetstream::message::Info;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::beats::Beats;
use super::delivery::{Delivery, Numbers};
use super::stored::{self, Wanted};
use super::{Connection, Link};
use crate::trial::{self, Bug};

/// How long one pull waits on the server for messages.
const PULL_EXPIRES: Duration = Duration::from_secs(2);
/// After this much more the server is not listening.
const PULL_GRACE: Duration = Duration::from_secs(3);
/// So long after it was looked at, a consumer is what it was.
const JUST_BOUND: Duration = Duration::from_secs(1);

/// Takes deliveries from one durable consumer.
pub struct Puller {
    connection: Connection,
    stream: String,
    name: String,
    beats: Beats,
    stream_created: Timestamp,
    /// What is stored after this sequence, and delivered for the first time on the connection of this generation,
    /// is news to everybody: nobody can have acted on it. Sequences are compared, not times, so clocks do not
    /// matter.
    trusted_after: u64,
    generation: u64,
    bound_at: Instant,
    link: watch::Receiver<Link>,
    consumer: PullConsumer,
    /// The pull on its way, if there is one.
    batch: Option<Pull>,
    /// The highest numbers seen in deliveries. Numbers that go back are those of a consumer or a stream made anew.
    seen: Seen,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    delivery: u64,
    first_delivery_of: u64,
}

impl Seen {
    /// Notes a delivery's numbers. False: they went back.
    fn note(&mut self, info: &Info<'_>) -> bool {
        let is_first = info.delivered == 1;
        let forward = info.consumer_sequence > self.delivery
            && (!is_first || info.stream_sequence > self.first_delivery_of);
        self.delivery = info.consumer_sequence;
        if is_first {
            self.first_delivery_of = info.stream_sequence;
        }
        forward
    }
}

struct Pull {
    batch: Batch,
    ends_by: Instant,
}

/// Why nothing could be taken.
#[derive(Debug, thiserror::Error)]
#[error("take from consumer {consumer}: {cause}")]
pub struct TakeError {
    consumer: String,
    cause: String,
}

impl Puller {
    /// Binds to a consumer that exists.
    pub async fn bind(
        connection: &Connection,
        stream: &str,
        name: &str,
        beats: Beats,
    ) -> Result<Self, TakeError> {
        // Read before the stream is: a connection lost in between only means less trust.
        let link = connection.link();
        let generation = link.borrow().generation;
        let fail = |cause: String| TakeError {
            consumer: name.to_owned(),
            cause,
        };
        let handle = connection
            .jetstream()
            .get_stream(stream)
            .await
            .map_err(|error| fail(error.to_string()))?;
        let info = handle.cached_info();
        let (created, trusted_after) = (info.created.unix_timestamp_nanos(), info.state.last_sequence);
        let consumer = handle
            .get_consumer(name)
            .await
            .map_err(|error| fail(error.to_string()))?;
        let stream_created = Timestamp::from_nanosecond(created).map_err(|error| fail(error.to_string()))?;
        beats.stream_is(stream_created);
        Ok(Self {
            connection: connection.clone(),
            stream: stream.to_owned(),
            name: name.to_owned(),
            beats,
            trusted_after,
            generation,
            bound_at: Instant::now(),
            link,
            stream_created,
            consumer,
            batch: None,
            seen: Seen::default(),
        })
    }

    /// Asks the server for up to `max` messages.
    pub async fn pull(&mut self, max: usize) -> Result<(), TakeError> {
        let batch = self
            .consumer
            .batch()
            .max_messages(max)
            .expires(PULL_EXPIRES)
            .messages()
            .await;
        let batch = batch.map_err(|error| self.fail(&error))?;
        self.batch = Some(Pull {
            batch,
            ends_by: Instant::now() + PULL_EXPIRES + PULL_GRACE,
        });
        Ok(())
    }

    /// The next delivery of the pull on its way; `None` when the pull has ended. Cancel-safe: a message is taken
    /// in hand in the same poll that yields it.
    pub async fn next(&mut self) -> Result<Option<Delivery>, TakeError> {
        loop {
            let Some(pull) = &mut self.batch else {
                return Ok(None);
            };
            let generation = self.generation;
            let renewed = self.link.wait_for(|link| link.generation != generation);
            let received = tokio::select! {
                biased;
                received = tokio::time::timeout_at(pull.ends_by, pull.batch.next()) => received, // cancel-safe: docs
                // The server has forgotten the pull together with the connection it came by.
                _ = renewed => { // cancel-safe: docs
                    self.batch = None;
                    return Ok(None);
                }
            };
            let message = match received {
                Ok(Some(Ok(message))) => message,
                Ok(None) => {
                    self.batch = None;
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    self.batch = None;
                    return Err(self.fail(&*error));
                }
                Err(_elapsed) => {
                    self.batch = None;
                    return Err(self.fail(&std::io::Error::other("the server is silent")));
                }
            };
            let read = message
                .info()
                .and_then(|info| Ok((Numbers::of(&info)?, self.seen.note(&info))));
            let (numbers, forward) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.connection.suspect();
                    return Err(self.fail(&*error));
                }
            };
            if !forward {
                warn!(
                    consumer = self.name,
                    "sequences went back: the stream or its consumer was made anew"
                );
                self.connection.suspect();
            }
            let trusted = forward && self.link.borrow().generation == self.generation;
            let taken = Delivery::take(
                message,
                numbers,
                self.stream_created,
                if trusted { self.trusted_after } else { u64::MAX },
                &self.beats,
                &self.connection,
            );
            match taken {
                Ok(Some(delivery)) => return Ok(Some(delivery)),
                Ok(None) => {} // in hand already: the redelivery only renewed its answer subject
                Err(error) => return Err(self.fail(&*error)),
            }
        }
    }

    /// Takes in hand what was delivered before and never settled, oldest first.
    ///
    /// The server would hand these out again only when their ack wait is over, and after newer ones; taken by
    /// sequence, nothing overtakes them. On a work queue, what is stored and was delivered is what is outstanding.
    ///
    /// `known`: what is in hand was taken by way of this consumer as it is now, and need not be read to be known. With a
    /// backlog that is nearly all there is, and to read it takes longer than to work on it.
    pub async fn outstanding(&mut self, known: bool) -> Result<Vec<Delivery>, TakeError> {
        let info = self
            .consumer
            .get_info()
            .await
            .map_err(|error| self.fail(&error))?;
        let last = info.delivered.stream_sequence;
        let filters = if info.config.filter_subjects.is_empty() {
            vec![info.config.filter_subject.clone()]
        } else {
            info.config.filter_subjects.clone()
        };
        let in_hand = if known {
            self.beats.sequences(self.stream_created)
        } else {
            HashSet::new()
        };
        let mut found = Vec::new();
        for filter in filters {
            // From the very first: what nobody will ever be given again lies below the consumer's floor.
            let mut from = if trial::planted(Bug::StrandedIsForgotten) {
                u64::MAX
            } else {
                1
            };
            while from <= last {
                if in_hand.contains(&from) {
                    from += 1;
                    continue;
                }
                let wanted = Wanted::Next(&filter, from);
                let message = stored::read(&self.connection, &self.stream, wanted)
                    .await
                    .map_err(|error| self.fail(&error))?;
                let Some(message) = message.filter(|message| message.sequence <= last) else {
                    break;
                };
                from = message.sequence + 1;
                // The server finds the delivery by its stream sequence; the other numbers may be anything.
                let reply = format!(
                    "$JS.ACK.{}.{}.1.{}.0.0.0",
                    self.stream, self.name, message.sequence
                );
                found.extend(Delivery::adopt(
                    message,
                    reply.into(),
                    self.stream_created,
                    &self.beats,
                    &self.connection,
                ));
            }
        }
        found.sort_by_key(|delivery| delivery.id.sequence);
        Ok(found)
    }

    /// Whether it was bound a moment ago, on the connection of this generation.
    pub fn is_just_bound(&self, generation: u64) -> bool {
        self.generation == generation && self.bound_at.elapsed() < JUST_BOUND
    }

    /// Binds again, after the consumer or the stream may have changed under us.
    pub async fn rebind(&mut self) -> Result<(), TakeError> {
        *self = Self::bind(&self.connection, &self.stream, &self.name, self.beats.clone()).await?;
        Ok(())
    }

    fn fail(&self, cause: &dyn std::error::Error) -> TakeError {
        TakeError {
            consumer: self.name.clone(),
            cause: cause.to_string(),
        }
    }
}
