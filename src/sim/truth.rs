//! The truth log: what arrived, what was done and what was sent, for a checker that trusts nobody.
//!
//! Every record is one line of JSON with `seq` (1, 2, 3, ... without a gap), `mono_ns` (nanoseconds since the start on
//! a clock that never runs back), `at` (the venue's time) and `kind`:
//!
//! | kind | further keys |
//! |---|---|
//! | `start` | `format` (1), `seed` |
//! | `request` | `request` (its number, null for a stream's upgrade), `method`, `path` (with query), `endpoint` (null for one nobody serves), `auth` (`key`, `bearer`, `none`; never the secret), `user_agent`, `content_type`, `body` |
//! | `fault` | `request` or `stream`, `fault` (its number in the script), `what` (as it is written) |
//! | `commit` | `request`, `endpoint`, `status`, `order_id`, `client_order_id` (null where the answer names no order): the venue acted, whatever its client is told |
//! | `answer` | `request`, `status`: handed to the socket |
//! | `late` | `request`, `status`: carried out after its answer, with a status that nobody is told |
//! | `event` | `event`, `event_id`, `execution_id`, `order_id`, `client_order_id`, `status`, `filled_qty`: the venue reports |
//! | `fill` | `execution_id`, `order_id`, `client_order_id`, `symbol`, `side`, `qty`, `price`, `cum_qty`, `leaves_qty`, `position_qty` |
//! | `session` | `stream`, `session` (its number, among websockets or among event streams), `state` (`opened`, `closed`) |
//! | `frame` | `stream`, `session`, `encoding` (`binary`, `text`, `msgpack`, `sse`), `text`: handed to the socket, before encoding |
//! | `data` | `stream`, `session`, `encoding`, `messages`, `bytes`: a frame of market data, which the tape can tell again |
//! | `lever` | `what`: somebody moved the venue by hand |
//! | `lost` | `records`: so many lines could not be written, see below |
//!
//! The order is the venue's: a commit stands before the events it causes and before its answer. Numbers of money are
//! strings, as on the venue's wire.
//!
//! In memory the last 100,000 records or 64 MiB are kept; older ones are forgotten, and whoever reads is told how many.
//! A file gets them all: lines are gathered and written every 50 ms and at the stop. When the disk falls 64 MiB
//! behind, lines are left out and a `lost` record says how many; after a write error, said once, the file is given up.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::core::{Event, Order, Side};

/// Records kept in memory at most.
const KEPT_MAX: usize = 100_000;
/// Bytes kept in memory at most, and bytes waiting for the disk at most.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often gathered lines are written; the promise is 100 ms.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry<'a> {
    Start {
        format: u32,
        seed: u64,
    },
    Request {
        request: Option<u64>,
        method: &'a str,
        path: &'a str,
        endpoint: Option<&'static str>,
        auth: &'static str,
        user_agent: Option<&'a str>,
        content_type: Option<&'a str>,
        body: &'a str,
    },
    Fault {
        request: Option<u64>,
        stream: Option<&'static str>,
        fault: u64,
        what: &'a str,
    },
    Commit {
        request: u64,
        endpoint: &'static str,
        status: u16,
        order_id: Option<&'a str>,
        client_order_id: Option<&'a str>,
    },
    Answer {
        request: u64,
        status: u16,
    },
    Late {
        request: u64,
        status: u16,
    },
    Event {
        event: &'static str,
        event_id: &'a str,
        execution_id: Option<Text<Uuid>>,
        order_id: Text<Uuid>,
        client_order_id: &'a str,
        status: &'static str,
        filled_qty: Text<Decimal>,
    },
    Fill(Executed<'a>),
    Session {
        stream: &'static str,
        session: u64,
        state: &'static str,
    },
    Frame {
        stream: &'static str,
        session: u64,
        encoding: &'static str,
        text: &'a str,
    },
    Data {
        stream: &'static str,
        session: u64,
        encoding: &'static str,
        messages: usize,
        bytes: usize,
    },
    Lever {
        what: &'a str,
    },
    Lost {
        records: u64,
    },
}

/// Something that is a string on the wire.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// One execution, of an order or of a leg.
#[derive(Serialize)]
pub(crate) struct Executed<'a> {
    pub(crate) execution_id: Option<Text<Uuid>>,
    pub(crate) order_id: Text<Uuid>,
    pub(crate) client_order_id: &'a str,
    pub(crate) symbol: &'a str,
    pub(crate) side: &'static str,
    pub(crate) qty: Text<Decimal>,
    pub(crate) price: Text<Decimal>,
    pub(crate) cum_qty: Text<Decimal>,
    pub(crate) leaves_qty: Text<Decimal>,
    pub(crate) position_qty: Option<Text<Decimal>>,
    #[serde(skip)]
    pub(crate) order: &'a Order,
}

/// What changed hands in an event: one execution, or one for each leg.
pub(crate) fn executions(event: &Event) -> Vec<Executed<'_>> {
    let executed = |order, id: Option<Uuid>, qty: Decimal, price: Decimal, position: Option<Decimal>| {
        let order: &Order = order;
        Executed {
            execution_id: id.map(Text),
            order_id: Text(order.id),
            client_order_id: &order.client_order_id,
            symbol: &order.symbol,
            side: order.side.map_or("", Side::as_str),
            qty: Text(qty.normalize()),
            price: Text(price.normalize()),
            cum_qty: Text(order.filled_qty.normalize()),
            leaves_qty: Text(order.leaves_qty().normalize()),
            position_qty: position.map(|qty| Text(qty.normalize())),
            order,
        }
    };
    let Some(execution) = &event.execution else {
        return Vec::new();
    };
    if execution.legs.is_empty() {
        let (qty, price) = (execution.qty, execution.price);
        let position = execution.position_qty;
        return vec![executed(
            &event.view.order,
            event.execution_id,
            qty,
            price,
            position,
        )];
    }
    let legs = execution.legs.iter().filter_map(|leg| {
        let order = event.view.legs.iter().find(|order| order.id == leg.order_id)?;
        let position = Some(leg.position_qty);
        Some(executed(
            order,
            Some(leg.execution_id),
            leg.qty,
            leg.price,
            position,
        ))
    });
    legs.collect()
}

/// A line as it is kept and written.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    mono_ns: u64,
    at: Text<Timestamp>,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

pub(crate) struct Truth {
    started: Instant,
    log: Mutex<Log>,
    /// Held over a write, so that lines stay in order.
    file: tokio::sync::Mutex<Option<File>>,
}

#[derive(Default)]
struct Log {
    seq: u64,
    kept: VecDeque<Box<str>>,
    kept_bytes: usize,
    /// Lines that wait for the disk; none without a file.
    unwritten: Option<Vec<u8>>,
    left_out: u64,
}

/// A part of the log, as the admin endpoint shows it.
pub(crate) struct Page {
    pub(crate) records: Vec<Box<str>>,
    /// What to ask for next.
    pub(crate) next: u64,
    /// Records that are not in memory any more.
    pub(crate) forgotten: u64,
}

impl Truth {
    pub(crate) fn new(seed: u64, at: Timestamp) -> Self {
        let truth = Self {
            started: Instant::now(),
            log: Mutex::default(),
            file: tokio::sync::Mutex::default(),
        };
        truth.note(at, &Entry::Start { format: 1, seed });
        truth
    }

    /// Writes to a new file from here on, and what is in memory first.
    pub(crate) async fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let file = File::create_new(path).await?;
        *self.file.lock().await = Some(file);
        let mut log = self.log();
        let mut lines = Vec::new();
        for line in &log.kept {
            push_line(&mut lines, line);
        }
        log.unwritten = Some(lines);
        Ok(())
    }

    /// Adds a record. A leaf lock and a few microseconds: callable while the world is locked, which keeps the order.
    pub(crate) fn note(&self, at: Timestamp, entry: &Entry<'_>) {
        let mut log = self.log();
        let mono_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        log.add(mono_ns, at, entry);
    }

    /// Records from number `since` on, at most `limit` of them.
    pub(crate) fn page(&self, since: u64, limit: usize) -> Page {
        let log = self.log();
        let forgotten = log.seq - u64::try_from(log.kept.len()).unwrap_or(log.seq);
        let skip = usize::try_from(since.saturating_sub(forgotten + 1)).unwrap_or(usize::MAX);
        let records: Vec<_> = log.kept.iter().skip(skip).take(limit).cloned().collect();
        let first = since.max(forgotten + 1);
        let next = first.saturating_add(u64::try_from(records.len()).unwrap_or_default());
        Page {
            records,
            next: next.min(log.seq + 1),
            forgotten,
        }
    }

    /// Writes what was gathered, if there is a file.
    pub(crate) async fn flush(&self) {
        let mut file = self.file.lock().await;
        let Some(open) = file.as_mut() else { return };
        let lines = self.log().unwritten.as_mut().map(std::mem::take);
        let lines = lines.unwrap_or_default();
        let mut written = Ok(());
        if !lines.is_empty() {
            written = open.write_all(&lines).await;
        }
        if let Err(error) = written.and(open.flush().await) {
            warn!(%error, "truth log cannot be written any more");
            *file = None;
            self.log().unwritten = None;
        }
    }

    /// Writes every now and then until told to stop; a write that has begun is never given up.
    pub(crate) async fn keep_flushing(&self, stop: &CancellationToken) {
        while timeout(FLUSH_EVERY, stop.cancelled()).await.is_err() {
            self.flush().await;
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn add(&mut self, mono_ns: u64, at: Timestamp, entry: &Entry<'_>) {
        let room = self.unwritten.as_ref().map(|lines| lines.len() < BYTES_MAX);
        if room == Some(true) && self.left_out > 0 {
            let records = std::mem::take(&mut self.left_out);
            self.push(mono_ns, at, &Entry::Lost { records });
        }
        self.left_out += u64::from(room == Some(false));
        self.push(mono_ns, at, entry);
    }

    fn push(&mut self, mono_ns: u64, at: Timestamp, entry: &Entry<'_>) {
        self.seq += 1;
        let seq = self.seq;
        let line = Line {
            seq,
            mono_ns,
            at: Text(at),
            entry,
        };
        let line = super::json::text(&line).into_boxed_str();
        if let Some(lines) = self.unwritten.as_mut().filter(|lines| lines.len() < BYTES_MAX) {
            push_line(lines, &line);
        }
        self.kept_bytes += line.len();
        self.kept.push_back(line);
        while self.kept.len() > KEPT_MAX || self.kept_bytes > BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= oldest.len();
        }
    }
}

fn push_line(lines: &mut Vec<u8>, line: &str) {
    lines.extend_from_slice(line.as_bytes());
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_counted_and_the_rest_is_paged() {
        let truth = Truth::new(9, Timestamp::UNIX_EPOCH);
        for _ in 0..KEPT_MAX {
            truth.note(
                Timestamp::UNIX_EPOCH,
                &Entry::Answer {
                    request: 1,
                    status: 200,
                },
            );
        }
        let page = truth.page(0, 2);
        assert_eq!((page.forgotten, page.next, page.records.len()), (1, 4, 2));
        let first: serde_json::Value = serde_json::from_str(&page.records[0]).unwrap();
        assert_eq!((&first["seq"], &first["kind"]), (&2.into(), &"answer".into()));
        let last = truth.page(KEPT_MAX as u64 + 1, 10);
        assert_eq!((last.records.len(), last.next), (1, KEPT_MAX as u64 + 2));
        let beyond = truth.page(u64::MAX, 10);
        assert_eq!((beyond.records.len(), beyond.next), (0, KEPT_MAX as u64 + 2));
    }

    #[test]
    fn memory_is_bounded_by_bytes_too() {
        let truth = Truth::new(9, Timestamp::UNIX_EPOCH);
        let text = "x".repeat(1024 * 1024);
        for _ in 0..70 {
            truth.note(Timestamp::UNIX_EPOCH, &Entry::Lever { what: &text });
        }
        let page = truth.page(0, 100);
        assert!(
            page.records.len() < 64 && page.forgotten > 6,
            "{}",
            page.forgotten
        );
    }
}
