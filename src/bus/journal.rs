//! Publishing what happened, and knowing that it is stored.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE as EXPECTED_LAST, NATS_MESSAGE_ID};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use tracing::{Instrument as _, Span, info_span, warn};

use super::Connection;
use super::copies::JsonCopies;
use super::lease::{Lease, NotLeading};
use super::publish::{SCHEMA, Unstored, publish};
use super::stored::{self, StoredMessage, Wanted};
use crate::backoff::{Backoff, Reason};
use crate::domain::{CommandKind, ExecutionReport, ModeChange, Outcome};
use crate::telemetry::trace;
use crate::trial::{self, Bug, Point};
use crate::wire::subject::Subjects;
use crate::wire::{self, Encoded};

/// Bytes of a dead letter that are kept. Commands are cut off at a quarter of this by their stream, unless somebody
/// changed it.
const DEAD_MAX: usize = 256 * 1024;

/// Messages looked through for one that may be there already. An order has a handful of outcomes.
const SEARCH_MAX: usize = 2048;
/// Events read of one order. Most orders have fewer than ten.
const UPDATES_MAX: usize = 10_000;
/// Bytes of headers nobody could read that are kept.
const HEADERS_MAX: usize = 16 * 1024;

/// Where outcomes and order events go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    connection: Connection,
    subjects: Subjects,
    stream: String,
    fence: Lease,
    /// The traces of the commands whose orders' events come by.
    traces: trace::Remembered,
    copies: Option<JsonCopies>,
}

/// Why a message is not known to be stored.
#[derive(Debug, thiserror::Error)]
#[error("publish to {subject}: {cause}")]
pub struct PublishError {
    subject: String,
    cause: String,
    /// The subject has another last message than the publisher knows.
    is_behind: bool,
}

/// What the journal has of one order.
#[derive(Debug)]
pub struct Told {
    /// Its events, oldest first.
    pub reports: Vec<ExecutionReport>,
    /// Sequence of the last message, 0 when there is none.
    pub last: u64,
}

/// What could not be read, for the journal.
#[derive(Clone, Debug)]
pub struct DeadLetter<'a> {
    /// What it tried to be, if that can be told.
    pub kind: Option<CommandKind>,
    /// Where it was published.
    pub subject: &'a str,
    /// Its bytes.
    pub payload: Bytes,
    /// Its headers, where they are what could not be read.
    pub headers: Option<Bytes>,
    /// Why it could not be read.
    pub reason: &'a str,
    /// Which message, for the message id.
    pub id: crate::domain::CommandId,
}

impl Journal {
    /// A journal on a stream, written only while a lease is held.
    pub fn new(connection: Connection, subjects: Subjects, stream: impl Into<String>, fence: Lease) -> Self {
        Self {
            connection,
            subjects,
            stream: stream.into(),
            fence,
            traces: trace::Remembered::default(),
            copies: None,
        }
    }

    /// The same journal, with copies in JSON of what is stored.
    #[must_use]
    pub fn copied(mut self, copies: Option<JsonCopies>) -> Self {
        self.copies = copies;
        self
    }

    /// Stores an outcome, of which `message` is the encoding. `spelling` is the id as the command's subject has it.
    ///
    /// With `maybe_there` the journal is searched first: the command was seen before, perhaps longer ago than the
    /// stream remembers message ids.
    pub async fn outcome(
        &self,
        outcome: &Outcome,
        message: &Encoded,
        spelling: &str,
        publisher: Option<&str>,
        maybe_there: bool,
    ) -> Result<(), PublishError> {
        let subject = self.subjects.outcome(spelling);
        let interim = if outcome.verdict.is_terminal() {
            ""
        } else {
            ":interim"
        };
        let mut id = format!("outcome:{}{interim}", outcome.id);
        if trial::planted(Bug::OutcomeIdIsFresh) {
            id = format!("{id}:{}", uuid::Uuid::now_v7());
        }
        if maybe_there && self.holds(&subject, &id).await? {
            return Ok(());
        }
        let span = trace::child_span!("outcome", outcome = outcome.verdict.as_str());
        let carried = publisher.map(|publisher| trace::carried(&span, publisher));
        self.store(&subject, &id, message, carried.as_deref())
            .instrument(span)
            .await
    }

    /// Stores the outcome of what did not come by the action stream.
    pub async fn outcome_past_stream(
        &self,
        outcome: &Outcome,
        spelling: &str,
        id: uuid::Uuid,
    ) -> Result<(), PublishError> {
        let subject = self.subjects.outcome(spelling);
        self.store(&subject, &format!("outcome:{id}"), &wire::outcome(outcome), None)
            .await
    }

    /// Remembers the trace an order belongs to, for its events.
    pub fn remember_trace(&self, client_order_id: &str, traceparent: &str) {
        self.traces.keep(client_order_id, traceparent);
    }

    /// Fans an order event out and stores it behind the message `last` of its order, 0 for the first one. `key` is the
    /// event's identity. Returns the sequence it is stored under; `None` when the order has another last message:
    /// then the event may be there already, longer ago than the stream remembers message ids.
    ///
    /// The journal comes last: an event it holds was fanned out for certain, and need never be again.
    pub async fn update_after(
        &self,
        report: &ExecutionReport,
        key: &str,
        last: u64,
    ) -> Result<Option<u64>, PublishError> {
        match self.store_update(report, key, Some(last)).await {
            Ok(sequence) => Ok(Some(sequence)),
            Err(error) if error.is_behind => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn store_update(
        &self,
        report: &ExecutionReport,
        key: &str,
        last: Option<u64>,
    ) -> Result<u64, PublishError> {
        let mut id = format!("update:{key}");
        if trial::planted(Bug::KeyedByTimestamp) {
            id = format!("{id}:{}", report.at);
        }
        if trial::planted(Bug::RepeatIsNews) {
            id = format!("{id}:{}", uuid::Uuid::now_v7());
        }
        // An event comes by itself, long after its command's span has ended; the trace goes on with it.
        let publisher = self.traces.of(&report.order.client_order_id);
        let span = match &publisher {
            Some(publisher) => {
                let event = report.event.as_str();
                let span = info_span!(target: trace::TARGET, parent: None, "trade update", event);
                trace::follow(&span, publisher);
                span
            }
            None => Span::none(),
        };
        let carried = publisher.map(|publisher| trace::carried(&span, &publisher));
        self.publish_update(report, &id, last, carried.as_deref())
            .instrument(span)
            .await
    }

    async fn publish_update(
        &self,
        report: &ExecutionReport,
        id: &str,
        last: Option<u64>,
        traceparent: Option<&str>,
    ) -> Result<u64, PublishError> {
        let message = wire::trade_update(report);
        let fanned_out = self.subjects.trade_update(report.order.symbol.as_ref());
        self.store(&fanned_out, id, &message, traceparent).await?;
        trial::at(Point::FeedFannedOut, &report.order.client_order_id);
        let journaled = self.subjects.update(&report.order.client_order_id);
        let mut headers = headers(id, &message, traceparent);
        if let Some(last) = last {
            headers.insert(EXPECTED_LAST, last.to_string());
        }
        self.publish(&journaled, headers, message.bytes).await
    }

    /// Stores the event of an order the venue never had, unless it is there already.
    pub async fn refusal(
        &self,
        report: &ExecutionReport,
        key: &str,
        maybe_there: bool,
    ) -> Result<(), PublishError> {
        let journaled = self.subjects.update(&report.order.client_order_id);
        if maybe_there && self.holds(&journaled, &format!("update:{key}")).await? {
            return Ok(());
        }
        self.store_update(report, key, None).await.map(|_| ())
    }

    /// The order events stored under a client order id. What cannot be read is passed over.
    pub async fn updates(&self, client_order_id: &str) -> Result<Told, PublishError> {
        let subject = self.subjects.update(client_order_id);
        let mut reports = Vec::new();
        let mut last = 0;
        for _ in 0..UPDATES_MAX {
            let Some(message) = self.stored(Wanted::Next(&subject, last + 1)).await? else {
                return Ok(Told { reports, last });
            };
            last = message.sequence;
            match wire::read_update(&message.payload) {
                Ok(report) => reports.push(report),
                Err(error) => warn!(%error, subject, "an order event in the journal cannot be read"),
            }
        }
        warn!(
            subject,
            UPDATES_MAX, "too many events of one order, the latest may be told again"
        );
        let newest = self.stored(Wanted::Last(&subject)).await?;
        let last = newest.map_or(last, |message| message.sequence);
        Ok(Told { reports, last })
    }

    /// When the last event of an order the venue has happened, by the venue's clock. `None`: none is there.
    ///
    /// Our own refusals are in the journal, too, also of a time when the venue could not be heard: they say nothing of how
    /// far its events have come, and are passed over. Of too many of them in a row the time of the oldest one seen
    /// is taken.
    pub async fn last_update_at(&self) -> Result<Option<Timestamp>, PublishError> {
        let subject = self.subjects.every_update();
        let Some(last) = self.stored(Wanted::Last(&subject)).await? else {
            return Ok(None);
        };
        let (mut from, mut seen, mut refused_at) = (last.sequence, u64::MAX, None);
        for _ in 0..SEARCH_MAX {
            // A search goes forward only, so that what lies between two updates is stepped over one by one.
            let Some(message) = self.stored(Wanted::Next(&subject, from)).await? else {
                break;
            };
            if message.sequence < seen {
                seen = message.sequence;
                match wire::read_update(&message.payload) {
                    Ok(report) if report.order.id.is_some() => return Ok(Some(report.timestamp)),
                    Ok(report) => refused_at = Some(report.timestamp),
                    Err(error) => warn!(%error, subject, "an order event in the journal cannot be read"),
                }
            }
            from -= 1;
            if from == 0 {
                break;
            }
        }
        Ok(refused_at.or(Some(last.stored_at)))
    }

    /// Stores a change of what is let through, unless it is there already: nobody else writes here, so it would be the last.
    pub async fn mode(&self, change: &ModeChange) -> Result<(), PublishError> {
        let subject = self.subjects.modes();
        let id = format!("mode:{}", change.id);
        let last = self.stored(Wanted::Last(&subject)).await?;
        if last.is_some_and(|last| last.header(NATS_MESSAGE_ID.as_ref()) == Some(id.as_str())) {
            return Ok(());
        }
        let message = wire::service::mode_change(change, true);
        self.store(&subject, &id, &message, None).await
    }

    /// Stores what could not be read.
    pub async fn dead(&self, letter: DeadLetter<'_>) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("dead:{}", letter.id));
        headers.insert("Nalpaca-Reason", one_line(letter.reason));
        headers.insert("Nalpaca-Subject", one_line(letter.subject));
        headers.insert("Nalpaca-Stream-Sequence", letter.id.sequence.to_string());
        if let Some(mut hostile) = letter.headers {
            hostile.truncate(HEADERS_MAX);
            headers.insert("Nalpaca-Original-Headers", STANDARD.encode(&hostile));
        }
        let mut payload = letter.payload;
        if payload.len() > DEAD_MAX {
            // A whole one with its new headers may be more than the server takes, and would be tried for ever.
            headers.insert("Nalpaca-Original-Size", payload.len().to_string());
            payload.truncate(DEAD_MAX);
        }
        self.publish(&self.subjects.dead(letter.kind), headers, payload)
            .await
            .map(|_| ())
    }

    async fn store(
        &self,
        subject: &str,
        id: &str,
        message: &Encoded,
        traceparent: Option<&str>,
    ) -> Result<(), PublishError> {
        self.publish(subject, headers(id, message, traceparent), message.bytes.clone())
            .await
            .map(|_| ())
    }

    /// One publish, and the sequence its PubAck names. "No responders" is an error like any other: the stream is not
    /// there now.
    async fn publish(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<u64, PublishError> {
        let fail = |cause: String| PublishError {
            subject: subject.to_owned(),
            cause,
            is_behind: false,
        };
        if !self.fence.holds() && !trial::planted(Bug::LeaseIgnored) {
            return Err(fail(NotLeading.to_string()));
        }
        let schema = self.copies.as_ref().and_then(|_| headers.get(SCHEMA)).cloned();
        let stored = publish(&self.connection, subject, headers, payload.clone())
            .await
            .map_err(|error| PublishError {
                is_behind: matches!(error, Unstored::Stale(_)),
                ..fail(error.to_string())
            })?;
        if let (Some(copies), Some(schema), false) = (&self.copies, schema, stored.duplicate) {
            copies.of(subject, schema.as_str(), &payload).await;
        }
        Ok(stored.sequence)
    }

    /// Whether a message with this id is on the subject.
    async fn holds(&self, subject: &str, id: &str) -> Result<bool, PublishError> {
        // What is looked for was mostly published a moment ago.
        let has_it = |message: &StoredMessage| message.header(NATS_MESSAGE_ID.as_ref()) == Some(id);
        let last = self.stored(Wanted::Last(subject)).await?;
        let Some(last) = last else { return Ok(false) };
        if has_it(&last) {
            return Ok(true);
        }
        let mut from = 1;
        for _ in 0..SEARCH_MAX {
            let Some(message) = self.stored(Wanted::Next(subject, from)).await? else {
                return Ok(false);
            };
            if has_it(&message) {
                return Ok(true);
            }
            from = message.sequence + 1;
        }
        Ok(false)
    }

    /// A message of the journal.
    async fn stored(&self, wanted: Wanted<'_>) -> Result<Option<StoredMessage>, PublishError> {
        let read = stored::read(&self.connection, &self.stream, wanted).await;
        read.map_err(|error| PublishError {
            subject: match wanted {
                Wanted::Next(subject, _) | Wanted::Last(subject) => subject.to_owned(),
            },
            cause: error.to_string(),
            is_behind: false,
        })
    }
}

fn headers(id: &str, message: &Encoded, traceparent: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, id);
    headers.insert(SCHEMA, message.schema);
    if let Some(traceparent) = traceparent {
        headers.insert(trace::TRACEPARENT, one_line(traceparent));
    }
    headers
}

/// Does something that must happen until it has: pauses grow to two seconds, and the message id makes a repeat
/// harmless. Ends only with success; whoever stops the daemon drops the future, and the command comes back.
/// Each failure is told to `failed`.
pub async fn until_stored<F, T, E>(
    what: &'static str,
    mut failed: impl FnMut(&E),
    mut attempt: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error,
{
    let mut backoff = Backoff::new(Reason::Nats);
    let mut failures = 0u32;
    loop {
        let error = match attempt().await {
            Ok(done) => return done,
            Err(error) => error,
        };
        failures += 1;
        failed(&error);
        if failures.is_power_of_two() {
            warn!(%error, failures, "{what} is not stored yet, trying again");
        }
        tokio::time::sleep(backoff.next_delay().max(Duration::from_millis(50))).await;
    }
}

/// Header values are one line of visible text: a lone CR in one would end the client's connection.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(512)
        .collect()
}
