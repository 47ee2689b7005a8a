//! Requests per minute, and what every answer says about them.
//!
//! It is counted on the wall clock, whatever the venue's time does: a client paces itself by its own.

use axum::http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

/// Requests left in this minute.
pub(crate) struct Quota {
    limit: u32,
    used: u32,
    minute: i64,
}

/// The quota as a response reports it.
#[derive(Clone, Copy)]
pub(crate) struct QuotaReport {
    limit: u32,
    remaining: u32,
    reset: i64,
}

impl Quota {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            used: 0,
            minute: 0,
        }
    }

    /// Spends one request, if there is one left.
    pub(crate) fn spend(&mut self, now: Timestamp) -> (bool, QuotaReport) {
        let minute = minute(now);
        if minute != self.minute {
            (self.minute, self.used) = (minute, 0);
        }
        let within = self.used < self.limit;
        if within {
            self.used += 1;
        }
        (within, self.report(now))
    }

    /// What is left.
    pub(crate) fn report(&self, now: Timestamp) -> QuotaReport {
        let minute = minute(now);
        let used = if minute == self.minute { self.used } else { 0 };
        QuotaReport {
            limit: self.limit,
            remaining: self.limit - used,
            reset: (minute + 1) * 60,
        }
    }
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

/// What every answer carries. A scripted reset is left alone.
pub(crate) fn stamp(headers: &mut HeaderMap, serial: u64, quota: QuotaReport) {
    if let Ok(id) = HeaderValue::from_str(&format!("{serial:032x}")) {
        headers.insert("x-request-id", id);
    }
    headers.insert("x-ratelimit-limit", quota.limit.into());
    headers.insert("x-ratelimit-remaining", quota.remaining.into());
    headers
        .entry("x-ratelimit-reset")
        .or_insert_with(|| quota.reset.into());
}
