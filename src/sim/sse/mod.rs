//! `/v2/events/trades` and `/v2beta1/events/activities`: the account's history as server-sent events, with replay.
//!
//! Each event is one line `data: {json}` and an empty one; lines that begin with a colon are comments and keep the
//! connection alive. The response stays open at the end of history, because a client takes a clean end for the end of
//! all events. There is no queue per reader: all read from one log of the latest events, so a reader that is too slow
//! loses the oldest, and is told so by a comment. `since`, `until` and the ids include what they name: who resumes
//! sees his last event again.
//!
//! These connections do not count as the account's one websocket. Absent: `id:` lines, which the venue is not known
//! to send.

mod log;
mod span;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

use self::span::{Span, Until};
use super::api::{Answer, Query};
use super::core::Refusal;
use super::fault::{Disturbed, Step, StreamFault, later};
use super::route::Endpoint;
use super::server::{Shared, plain, response};
use super::truth::Entry;

pub(crate) use self::log::EventLog;

/// Readers at a time; the next one is answered 429.
const READERS_MAX: usize = 25;
/// Events taken from the log at a time.
const BATCH: usize = 64;
/// A comment is sent when nothing else was for so long.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers a request for events, which is authenticated and within its quota. The response ends when the reader goes,
/// at `until`, or by a fault; `cut` kills its connection.
pub(crate) fn open(
    shared: &Arc<Shared>,
    stream: Endpoint,
    query: &Query,
    headers: &HeaderMap,
    cut: CancellationToken,
) -> Response<Body> {
    let span = match Span::read(query, headers) {
        Ok(span) => span,
        Err(refusal) => return plain(Answer::from(&refusal)),
    };
    let reader = {
        let mut world = shared.world();
        let log = &mut world.events;
        if log.weather(stream).refuses() || log.readers == READERS_MAX {
            return plain(Answer::from(&Refusal::rate_limited()));
        }
        log.readers += 1;
        log.opened += 1;
        Reader {
            shared: Arc::clone(shared),
            stream,
            session: log.opened,
            position: log.position(&span.from),
            until: span.until,
            news: log.news.subscribe(),
            strikes: log.strikes.subscribe(),
            disturbed: Disturbed::default(),
            // A first comment makes a proxy or client see the headers at once.
            pieces: VecDeque::from([Piece::Comment(":connected".to_owned())]),
            beat_at: later(HEARTBEAT),
            cut,
        }
    };
    reader.note_session("opened");
    let pieces = futures_util::stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await?;
        Some((Ok::<_, Infallible>(piece), reader))
    });
    response(200, "text/event-stream", Body::from_stream(pieces))
}

/// Something to be written, or done, next.
enum Piece {
    Comment(String),
    Data(Utf8Bytes),
    /// Bytes that are neither.
    Raw(&'static [u8]),
    Die,
    End,
    Freeze(Duration),
}

/// One response that is being written.
struct Reader {
    shared: Arc<Shared>,
    stream: Endpoint,
    session: u64,
    /// The number of the next row.
    position: u64,
    until: Until,
    news: watch::Receiver<u64>,
    strikes: broadcast::Receiver<(Endpoint, StreamFault)>,
    disturbed: Disturbed,
    pieces: VecDeque<Piece>,
    beat_at: Instant,
    cut: CancellationToken,
}

impl Reader {
    /// The next bytes of the body; none at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.pieces.pop_front() {
                Some(Piece::Comment(text)) => return Some(self.comment(&text)),
                Some(Piece::Data(data)) => return Some(self.data(&data)),
                Some(Piece::Raw(bytes)) => {
                    self.note(&String::from_utf8_lossy(bytes));
                    return Some(Bytes::from_static(bytes));
                }
                Some(Piece::End) => return None,
                Some(Piece::Die) => self.die().await,
                Some(Piece::Freeze(duration)) => {
                    tokio::time::sleep(duration).await;
                    self.die().await;
                }
                None if self.take() => {}
                None => self.wait().await,
            }
        }
    }

    fn comment(&mut self, text: &str) -> Bytes {
        self.beat_at = later(HEARTBEAT);
        Bytes::from([text, "\n\n"].concat())
    }

    fn data(&mut self, text: &str) -> Bytes {
        self.beat_at = later(HEARTBEAT);
        self.note(text);
        Bytes::from(["data: ", text, "\n\n"].concat())
    }

    fn note(&self, text: &str) {
        self.shared.note(&Entry::Frame {
            stream: self.stream.name(),
            session: self.session,
            encoding: "sse",
            text,
        });
    }

    async fn die(&self) {
        self.cut.cancel();
        std::future::pending().await
    }

    /// Takes what is new from the log; false when nothing is.
    fn take(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut world = shared.world();
        let log = &mut world.events;
        let is_muted = log.weather(self.stream).is_muted();
        self.news.mark_unchanged();
        if let Some(missed) = log
            .first()
            .checked_sub(self.position)
            .filter(|missed| *missed > 0)
        {
            self.position = log.first();
            let told = format!(": you are reading too slowly, dropped {missed} messages");
            self.pieces.push_back(Piece::Comment(told));
            return true;
        }
        let skip = usize::try_from(self.position - log.first()).unwrap_or(usize::MAX);
        let mut events = Vec::new();
        let mut is_over = false;
        for row in log.rows.iter().skip(skip).take(BATCH) {
            self.position += 1;
            is_over = self.until.excludes(row);
            if is_over {
                break;
            }
            if row.stream == self.stream && !is_muted {
                events.push(row.data.clone());
            }
        }
        let is_caught_up = self.position == log.next;
        drop(world);
        for event in events {
            self.pass(event);
        }
        let now = shared.clock.now();
        let is_past = self.until.moment().is_some_and(|until| now > until);
        if is_over || (is_caught_up && is_past) {
            self.pieces.push_back(Piece::End);
        }
        !is_caught_up || !self.pieces.is_empty()
    }

    fn pass(&mut self, event: Utf8Bytes) {
        let faults = self.shared.disturb(self.stream);
        for step in self.disturbed.pass(&faults, event) {
            self.plan(step);
        }
    }

    fn plan(&mut self, step: Step) {
        let piece = match step {
            Step::Send { frame, .. } => Piece::Data(frame),
            Step::Garbage => Piece::Raw(b"data: {\"at\": \xff\n\n"),
            Step::NullData => Piece::Data(Utf8Bytes::from_static("null")),
            Step::Heartbeat => Piece::Raw(b"\x01\n\n"),
            // There are no articles here.
            Step::Article(_) => return,
            Step::Replay(count) => {
                let latest = self.shared.world().events.latest(self.stream, count);
                self.pieces.extend(latest.into_iter().map(Piece::Data));
                return;
            }
            Step::Strike(fault) => {
                self.shared.world().events.weather(self.stream).strike(&fault);
                return;
            }
            Step::Drop => Piece::Die,
            Step::End => Piece::End,
            Step::HalfOpen(duration) => Piece::Freeze(duration),
        };
        self.pieces.push_back(piece);
    }

    /// Waits for an event, a fault, the end of the span or the next heartbeat.
    async fn wait(&mut self) {
        let ends = self.until.moment();
        let ends = ends.and_then(|until| self.shared.clock.wait_until(until));
        let ends_at = ends.map_or(self.beat_at, |wait| later(wait + Duration::from_millis(1)));
        tokio::select! {
            _ = self.news.changed() => {} // cancel-safe: docs
            struck = self.strikes.recv() => { // cancel-safe: docs
                if let Ok((stream, fault)) = struck && stream == self.stream {
                    // Mute, unmute and refuse were seen to when they were written.
                    let step = Disturbed::at_once(&fault);
                    if let Some(step) = step.filter(|step| !matches!(step, Step::Strike(_))) {
                        self.plan(step);
                    }
                }
            }
            () = tokio::time::sleep_until(self.beat_at.min(ends_at)) => {
                if Instant::now() >= self.beat_at {
                    self.pieces.push_back(Piece::Comment(":heartbeat".to_owned()));
                }
            }
        }
    }

    fn note_session(&self, state: &'static str) {
        self.shared.note(&Entry::Session {
            stream: self.stream.name(),
            session: self.session,
            state,
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.world().events.readers -= 1;
        self.note_session("closed");
    }
}

#[cfg(test)]
mod tests {
    use super::log::RETAINED;
    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_what_it_lost() {
        let shared = Arc::new(Shared::new(crate::sim::SimConfig::default()));
        let query = Query(Vec::new());
        let cut = CancellationToken::new();
        let response = open(&shared, Endpoint::TradeEvents, &query, &HeaderMap::new(), cut);
        for _ in 0..RETAINED + 7 {
            let at = shared.clock.now();
            shared
                .world()
                .events
                .push(Endpoint::TradeEvents, at, "id", "{}".into());
        }
        let mut body = response.into_body().into_data_stream();
        let mut read = String::new();
        while !read.contains("data: ") {
            let piece = futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
            read.push_str(&String::from_utf8_lossy(&piece));
        }
        let told = ":connected\n\n: you are reading too slowly, dropped 7 messages\n\ndata: {}\n\n";
        assert_eq!(read, told);
        drop(body);
        assert_eq!(shared.world().events.readers(), 0);
    }
}
