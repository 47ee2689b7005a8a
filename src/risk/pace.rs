//! How many orders were begun lately, in each scope that is limited.

use std::collections::{HashMap, VecDeque};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::domain::limits::Scope;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// Orders begun, by scope.
#[derive(Debug, Default)]
pub(super) struct Paces(HashMap<Scope, Pace>);

#[derive(Debug, Default)]
struct Pace {
    /// Of the last minute.
    begun: VecDeque<Timestamp>,
    day: Option<Date>,
    in_day: u32,
}

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) second: u32,
    pub(super) minute: u32,
    pub(super) day: u32,
}

impl Paces {
    /// How many were begun before now.
    pub(super) fn of(&self, scope: &Scope, now: Timestamp) -> Counts {
        let Some(pace) = self.0.get(scope) else {
            return Counts::default();
        };
        let within = |span| {
            let count = pace
                .begun
                .iter()
                .filter(|at| now.duration_since(**at) < span)
                .count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Counts {
            second: within(SECOND),
            minute: within(MINUTE),
            day: if pace.day == Some(day(now)) {
                pace.in_day
            } else {
                0
            },
        }
    }

    /// One is begun.
    pub(super) fn note(&mut self, scope: Scope, at: Timestamp) {
        let pace = self.0.entry(scope).or_default();
        while pace
            .begun
            .front()
            .is_some_and(|first| at.duration_since(*first) >= MINUTE)
        {
            pace.begun.pop_front();
        }
        pace.begun.push_back(at);
        let today = day(at);
        if pace.day.is_none_or(|day| day < today) {
            pace.day = Some(today);
            pace.in_day = 0;
        }
        if pace.day == Some(today) {
            pace.in_day = pace.in_day.saturating_add(1);
        }
    }

    /// Keeps the scopes that are limited.
    pub(super) fn keep(&mut self, is_limited: impl Fn(&Scope) -> bool) {
        self.0.retain(|scope, _| is_limited(scope));
    }

    /// Forgets everything, to be told of it anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The trading day an instant belongs to: that of New York.
pub(super) fn day(at: Timestamp) -> Date {
    at.in_tz("America/New_York").map_or_else(
        |_| at.to_zoned(jiff::tz::TimeZone::UTC).date(),
        |local| local.date(),
    )
}
