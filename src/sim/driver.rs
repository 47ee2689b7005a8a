//! The one task that lets time pass: orders meet their moments, and market data may be told up to now.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::MissedTickBehavior;

use super::core::Exchange;
use super::core::tape::{Recording, Timeframe};
use super::server::Shared;

/// Time passes until the simulator stops.
pub(crate) async fn drive(shared: Arc<Shared>) {
    let time = async {
        if let Some(recording) = shared.tape.recording().filter(|_| shared.clock.is_stepped()) {
            replay(&shared, recording).await;
        }
        shared.clock.release();
        pass(&shared).await;
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = time => {}
    }
}

/// Time passes by itself, and is looked at in ticks.
async fn pass(shared: &Shared) {
    let mut ticks = tokio::time::interval(shared.config.tick.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = shared.world().exchange.next_due();
        let pause = due.and_then(|due| shared.clock.wait_until(due));
        tokio::select! {
            _ = ticks.tick() => { // cancel-safe: docs
                shared.act(Exchange::tick);
                shared.pulse.beat(shared.clock.now());
            }
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => shared.act(|_, _| ()),
        }
    }
}

/// Jumps from one thing that happens to the next until nothing is left. It begins when somebody subscribes to market data,
/// and nobody who did is left behind.
async fn replay(shared: &Shared, recording: &Recording) {
    // The first moment is told to the first who reads, too.
    let begin = shared.clock.now();
    while !step_while_nobody_reads(shared, recording, begin).await {}
    loop {
        let now = shared.clock.now();
        let told = after(now);
        shared.pulse.beat(told);
        while !step_while_nobody_reads(shared, recording, told).await {}
        let now = shared.clock.now();
        let due = shared.world().exchange.next_due();
        let moment = recording.next_moment(now);
        let minute = minute_to_end(recording, now);
        // What remains due after the last moment need not be hurried through.
        let Some(next) = moment.or(minute) else {
            return;
        };
        let next = [Some(next), minute, due]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(next);
        step(shared, next);
        tokio::task::yield_now().await;
    }
}

/// Waits for those who read to have been told; meanwhile orders go on, as far as nothing else happens. True when all were.
async fn step_while_nobody_reads(shared: &Shared, recording: &Recording, told: Timestamp) -> bool {
    let now = shared.clock.now();
    let due = shared.world().exchange.next_due();
    let moment = recording.next_moment(now);
    // After the last moment only the end of its minute is left to be told.
    let moment = moment.or_else(|| minute_to_end(recording, now)).unwrap_or(now);
    if let Some(due) = due.filter(|due| *due < moment) {
        step(shared, due);
    }
    tokio::select! {
        () = shared.pulse.caught_up(told) => true, // cancel-safe: it only looks
        () = shared.wake.notified() => false, // cancel-safe: docs
    }
}

fn step(shared: &Shared, to: Timestamp) {
    shared.clock.step_to(to);
    shared.act(Exchange::tick);
}

/// The end of the minute in which something last happened, while it lies ahead: its bar is told then.
fn minute_to_end(recording: &Recording, now: Timestamp) -> Option<Timestamp> {
    let last = recording.last_moment(now)?;
    let end = Timeframe::MINUTE
        .begin(last)
        .checked_add(SignedDuration::from_secs(60))
        .ok()?;
    (end > now).then_some(end)
}

/// The first nanosecond that does not belong to `at`: what happens at `at` is before it.
fn after(at: Timestamp) -> Timestamp {
    at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at)
}
