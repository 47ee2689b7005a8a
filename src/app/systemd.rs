//! Tells systemd how it goes, where systemd runs us (`Type=notify`); elsewhere nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::admin::Readiness;
use crate::gateway::Gateway;

/// How often it is looked at how it goes, unless the watchdog wants to know more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Says when the daemon does its job or stands by, what it waits for, and when it stops; and keeps the watchdog quiet
/// for as long as the runtime that trades gets round to it.
pub(super) async fn follow(readiness: Readiness, gateway: Gateway, stop: CancellationToken) {
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(LOOK_EVERY, |patience| (patience / 3).min(LOOK_EVERY));
    let mut tick = tokio::time::interval(every);
    let (mut is_told_ready, mut told) = (false, String::new());
    loop {
        let stopping = tokio::select! {
            _ = tick.tick() => false,         // cancel-safe: docs
            () = stop.cancelled() => true,    // cancel-safe: level-triggered
        };
        if stopping {
            return say(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        }
        let mut news = Vec::new();
        if !is_told_ready && readiness.does_its_part() {
            is_told_ready = true;
            news.push(NotifyState::Ready);
        }
        let state = gateway.state();
        let status = match state.hold() {
            // One line, whatever the reason quotes.
            Some(held) => format!("{}: {}", held.name.as_str(), held.reason).replace(char::is_control, " "),
            None => format!("mode {}", state.mode.as_str()),
        };
        if status != told {
            news.push(NotifyState::Status(&status));
        }
        if watchdog.is_some() {
            news.push(NotifyState::Watchdog);
        }
        if !news.is_empty() {
            say(&news);
        }
        told = status;
    }
}

fn say(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        debug!(%error, "systemd cannot be told");
    }
}
