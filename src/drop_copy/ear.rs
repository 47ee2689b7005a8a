//! The half that listens: connects, hears, and connects again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::sight::Sight;
use super::venue::{Stream, Venue};
use crate::alpaca::stream::{ConnectError, Heard};
use crate::backoff::{Backoff, Reason};
use crate::telemetry::metrics;
use crate::trial::{self, Bug};

/// A stream that lived so long was a good one: the pauses start over. Shorter ones are a venue that takes us in and
/// throws us out.
const GOOD_STREAM: Duration = Duration::from_secs(30);

/// Shortest pause when somebody else has the slot, or the venue refuses the credential: neither passes in a moment,
/// and asking faster does not help.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// What passes from the half that listens to the half that publishes.
#[derive(Debug)]
pub(super) enum Said {
    /// A stream is up; what comes next was heard on it, and what came before may have been missed.
    Listening(u64),
    /// Something was heard.
    Heard(Heard),
}

/// Listens until `stop`. Reads the stream only while there is room in the queue.
pub(super) async fn listen<V: Venue>(
    venue: &V,
    sight: &Sight,
    said: mpsc::Sender<Said>,
    stop: &CancellationToken,
) {
    let mut backoff = Backoff::new(Reason::StreamReconnect);
    let mut streams = 0;
    loop {
        // cancel-safe: an unfinished handshake closes its socket
        let Some(connected) = stop.run_until_cancelled(venue.connect()).await else {
            return;
        };
        let mut pause = Duration::ZERO;
        match connected {
            Ok(stream) => {
                streams += 1;
                sight.connected(streams);
                info!(streams, "trade updates are heard");
                let since = Instant::now();
                let hearing = hear(stream, streams, &said, stop);
                let ended = tokio::select! {
                    ended = hearing => ended,
                    // cancel-safe: a stream that does not tell everything is dropped with what it may still tell
                    () = sight.is_given_up(streams) => Some("it did not tell what happened".to_owned()),
                };
                let Some(cause) = ended else {
                    return;
                };
                if since.elapsed() >= GOOD_STREAM {
                    backoff.reset();
                }
                sight.lost(&format!("the stream of trade updates ended: {cause}"));
            }
            Err(refusal) => {
                pause = pause_after(&refusal);
                sight.lost(&format!("trade updates cannot be heard: {refusal}"));
            }
        }
        let pause = pause.max(backoff.next_delay());
        // cancel-safe: nothing but time passes
        if stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Hands over what a stream says until it ends, and says why; `None` when it is time to stop. A clean end is a fault
/// like any other.
async fn hear<S: Stream>(
    mut stream: S,
    number: u64,
    said: &mpsc::Sender<Said>,
    stop: &CancellationToken,
) -> Option<String> {
    let mut next = Some(Said::Listening(number));
    loop {
        if trial::planted(Bug::FullIsDropped) && said.capacity() == 0 && next.is_none() {
            let _ = stream.next().await;
            continue;
        }
        // Room first, so that nothing is in hand while waiting. cancel-safe: a place in the line is all that is lost
        let room = stop.run_until_cancelled(said.reserve()).await?.ok()?;
        let heard = match next.take() {
            Some(first) => first,
            None => {
                // cancel-safe: see `Stream::next`
                match stop.run_until_cancelled(stream.next()).await? {
                    Ok(heard) => Said::Heard(heard),
                    Err(end) if trial::planted(Bug::CleanEndIsCalm) && end.cause.contains("closed") => {
                        stop.cancelled().await;
                        return None;
                    }
                    Err(end) => return Some(end.cause),
                }
            }
        };
        match &heard {
            Said::Heard(Heard::Report(report)) => metrics::update_heard(&report.event),
            Said::Heard(Heard::Unreadable { cause }) => warn!(cause, "the venue said something unreadable"),
            Said::Listening(_) => {}
        }
        room.send(heard);
    }
}

fn pause_after(refusal: &ConnectError) -> Duration {
    match refusal {
        ConnectError::SlotTaken { .. } => {
            warn!(%refusal, "waiting for the account's one stream");
            REFUSED_PAUSE
        }
        ConnectError::Unauthorized { .. } => {
            error!(%refusal, "trade updates cannot be heard until the credential is right");
            REFUSED_PAUSE
        }
        ConnectError::Failed { .. } => {
            warn!(%refusal, "trade updates cannot be heard");
            Duration::ZERO
        }
    }
}
