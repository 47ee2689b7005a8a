//! Minute bars that were missed: which they are, and getting them from the venue's past.
//!
//! Three things leave a hole. A connection that was away: everything since the last bar that was heard of a symbol is asked for
//! once it is subscribed to again. A daemon that was away: where it left off is read from the last values on the bus. And an
//! edge: a bar that is told in the moment between two connections, or in a frame that cannot be read, is not in the past yet
//! when it is first asked for, so the last minutes are looked at once more when they must be. So are minutes of which no symbol
//! had a bar: a stream that is mute for a minute and goes on says nothing of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::domain::market::{Bar, Channel, EVERY_SYMBOL, MarketClass, Subscriptions};
use crate::trial::{self, Bug};

const MINUTE: i64 = 60;
/// Pause after something could not be had.
const AGAIN: Duration = Duration::from_secs(15);
/// A minute's bar is in the past so long after the minute.
const KNOWN_AFTER: SignedDuration = SignedDuration::from_secs(15);
/// Pause before an edge is looked at: the minute has to end, and to be known.
const EDGE_PAUSE: Duration = Duration::from_secs(75);
/// An edge begins so long before it was seen.
const EDGE: SignedDuration = SignedDuration::from_mins(2);
/// What is first subscribed to after so long was not heard by the process before us.
const RECALL_WITHIN: Duration = Duration::from_secs(60);

/// Minute bars that may have been missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of what.
    pub symbol: String,
    /// The first minute.
    pub from: Timestamp,
    /// The first minute that is not missed any more.
    pub until: Timestamp,
}

/// Where missed bars are found, and where the process before us left off.
pub trait GapSource: Send + 'static {
    /// Every bar of these gaps the venue has, oldest first. Errs with words for people. Bounded in time and number.
    fn bars(&self, gaps: Vec<Gap>) -> BoxFuture<'static, Result<Vec<Bar<'static>>, String>>;

    /// The newest bar that was published of each of these symbols, where one is known.
    fn newest(&self, symbols: Vec<String>) -> BoxFuture<'static, Result<HashMap<String, Timestamp>, String>>;
}

/// Which minutes of a symbol were passed on: the newest, and of the 63 before it those that were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Minutes {
    newest: i64,
    /// Bit n is the minute n before the newest.
    seen: u64,
}

impl Minutes {
    /// Everything until then was passed on by somebody else.
    const fn until(newest: i64) -> Self {
        Self {
            newest,
            seen: u64::MAX,
        }
    }

    fn see(&mut self, minute: i64) {
        let ahead = minute.saturating_sub(self.newest);
        if ahead > 0 {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.newest = minute;
        } else if let Ok(back @ 0..64) = u32::try_from(ahead.unsigned_abs()) {
            self.seen |= 1 << back;
        }
    }

    /// Whether a minute was passed on. `None`: it is too long ago to be known.
    fn has(self, minute: i64) -> Option<bool> {
        let back = self.newest.saturating_sub(minute);
        if back < 0 {
            return Some(false);
        }
        u32::try_from(back)
            .ok()
            .filter(|back| *back < 64)
            .map(|back| self.seen >> back & 1 == 1)
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(MINUTE)
}

fn begin_of(minute: i64) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(MINUTE)).unwrap_or_default()
}

/// The last minutes around something that may have cost a bar.
#[derive(Clone, Copy, Debug)]
struct Edge {
    from: Timestamp,
    until: Timestamp,
    at: Instant,
}

/// What is being asked.
enum Work {
    /// Where the process before us left off.
    Recall(
        BoxFuture<'static, Result<HashMap<String, Timestamp>, String>>,
        Vec<String>,
    ),
    /// Bars of these symbols, all since they were last heard.
    Fill(BoxFuture<'static, Result<Vec<Bar<'static>>, String>>, Vec<String>),
    /// Bars of the last minutes.
    Look(BoxFuture<'static, Result<Vec<Bar<'static>>, String>>, Edge),
}

/// Follows the minute bars of one class.
pub struct Recovery<G> {
    class: MarketClass,
    source: G,
    clock: Clock,
    /// What was passed on, over all connections.
    minutes: HashMap<String, Minutes>,
    /// The newest minute that was heard of, of any symbol.
    newest: Option<i64>,
    /// Symbols for which it was looked where the process before us left off.
    recalled: HashSet<String>,
    recall_until: Instant,
    /// As it was when this connection began: what came after it came from it.
    before: HashMap<String, Minutes>,
    filled: HashSet<String>,
    work: Option<Work>,
    edge: Option<Edge>,
    /// Something has changed since it was looked what is to be asked.
    changed: bool,
    not_before: Instant,
}

impl<G: GapSource> Recovery<G> {
    /// Finds them there.
    pub fn new(class: MarketClass, source: G, clock: Clock) -> Self {
        let now = Instant::now();
        Self {
            class,
            source,
            clock,
            minutes: HashMap::new(),
            newest: None,
            recalled: HashSet::new(),
            recall_until: now + RECALL_WITHIN,
            before: HashMap::new(),
            filled: HashSet::new(),
            work: None,
            edge: None,
            changed: false,
            not_before: now,
        }
    }

    /// A connection begins.
    pub(super) fn connected(&mut self) {
        match self.work.take() {
            Some(Work::Look(_, edge)) => {
                let until = self.edge.map_or(edge.until, |later| later.until);
                self.edge = Some(Edge { until, ..edge });
            }
            Some(Work::Fill(_, symbols)) => symbols.iter().for_each(|symbol| {
                self.filled.remove(symbol);
            }),
            Some(Work::Recall(..)) | None => {}
        }
        // A gap that was not filled yet is still one, whatever was heard since.
        let mut before = self.minutes.clone();
        let filled = std::mem::take(&mut self.filled);
        let unfilled = std::mem::take(&mut self.before).into_iter();
        before.extend(unfilled.filter(|(symbol, _)| !filled.contains(symbol)));
        self.before = before;
        if !self.before.is_empty() {
            self.doubt();
        }
        self.changed = true;
    }

    /// Other symbols are subscribed to.
    pub(super) fn confirmed(&mut self) {
        self.changed = true;
    }

    /// Something may have been missed just now.
    pub(super) fn doubt(&mut self) {
        let now = self.clock.now();
        let from = now.saturating_sub(EDGE).unwrap_or_default();
        self.doubt_of(minute_of(from), minute_of(now) + 1);
    }

    /// Something may have been missed of these minutes, the last one not included.
    fn doubt_of(&mut self, from: i64, until: i64) {
        let (from, until) = (begin_of(from), begin_of(until));
        self.edge = Some(match self.edge {
            Some(edge) => Edge {
                from: edge.from.min(from),
                until: edge.until.max(until),
                ..edge
            },
            None => Edge {
                from,
                until,
                at: Instant::now() + EDGE_PAUSE,
            },
        });
    }

    /// A bar is heard, and passed on.
    pub(super) fn heard(&mut self, symbol: &str, at: Timestamp) {
        let minute = minute_of(at);
        if self.is_nonsense(minute) {
            return;
        }
        if let Some(newest) = self.newest.filter(|newest| minute > newest.saturating_add(1)) {
            self.doubt_of(newest + 1, minute);
        }
        self.newest = self.newest.max(Some(minute));
        self.passed_on(symbol, at);
    }

    /// A minute that is still to come, after which nothing would ever be missed.
    fn is_nonsense(&self, minute: i64) -> bool {
        minute > minute_of(self.clock.now()).saturating_add(1)
    }

    /// A bar is passed on that was missed.
    pub(super) fn passed_on(&mut self, symbol: &str, at: Timestamp) {
        let minute = minute_of(at);
        if self.is_nonsense(minute) {
            return;
        }
        // Not the entry interface: it would copy the symbol each time.
        if let Some(minutes) = self.minutes.get_mut(symbol) {
            minutes.see(minute);
        } else {
            self.minutes.insert(
                symbol.to_owned(),
                Minutes {
                    newest: minute,
                    seen: 1,
                },
            );
        }
    }

    /// Begins what is due, once everything is subscribed to that can be.
    pub(super) fn begin(&mut self, confirmed: &Subscriptions) {
        if trial::planted(Bug::MissedBarsAreForgotten) {
            return;
        }
        if self.work.is_some() || !self.changed && self.edge.is_none() {
            return;
        }
        let now = Instant::now();
        if now < self.not_before {
            return;
        }
        if let Some(edge) = self.edge.take_if(|edge| edge.at <= now) {
            self.look(edge);
        } else if self.changed {
            self.begin_anew(confirmed, now);
        }
    }

    /// Looks at every symbol.
    fn begin_anew(&mut self, confirmed: &Subscriptions, now: Instant) {
        let wanted: HashSet<&str> = confirmed.of(Channel::Bars).collect();
        // What nobody wants any more is not missed, should somebody want it again.
        if !wanted.contains(EVERY_SYMBOL) {
            self.minutes.retain(|symbol, _| wanted.contains(symbol.as_str()));
            self.before.retain(|symbol, _| wanted.contains(symbol.as_str()));
        }
        if now < self.recall_until && !trial::planted(Bug::NobodyWasBeforeUs) {
            let unknown = wanted.iter().filter(|symbol| **symbol != EVERY_SYMBOL);
            let unknown = unknown.filter(|symbol| !self.recalled.contains(**symbol));
            let unknown: Vec<String> = unknown.map(|symbol| (*symbol).to_owned()).collect();
            if !unknown.is_empty() {
                self.work = Some(Work::Recall(self.source.newest(unknown.clone()), unknown));
                return;
            }
        }
        let until = begin_of(minute_of(self.clock.now()));
        let mut gaps = Vec::new();
        let mut symbols = Vec::new();
        for (symbol, minutes) in &self.before {
            if self.filled.contains(symbol) {
                continue;
            }
            symbols.push(symbol.clone());
            let from = begin_of(minutes.newest.saturating_add(1));
            if from < until {
                let symbol = symbol.clone();
                gaps.push(Gap { symbol, from, until });
            }
        }
        self.filled.extend(symbols.iter().cloned());
        self.changed = false;
        if !gaps.is_empty() {
            self.work = Some(Work::Fill(self.source.bars(gaps), symbols));
        }
    }

    /// Asks for the part of an edge that must be known by now, and keeps the rest for later.
    fn look(&mut self, edge: Edge) {
        let known = self.clock.now().saturating_sub(KNOWN_AFTER).unwrap_or_default();
        let until = edge.until.min(begin_of(minute_of(known)));
        if until < edge.until {
            self.edge = Some(Edge {
                from: until.max(edge.from),
                at: Instant::now() + EDGE_PAUSE,
                ..edge
            });
        }
        let missing = |minutes: Minutes| {
            (minute_of(edge.from)..minute_of(until)).any(|minute| minutes.has(minute) == Some(false))
        };
        let gaps: Vec<Gap> = self
            .minutes
            .iter()
            .filter(|(_, minutes)| missing(**minutes))
            .map(|(symbol, _)| Gap {
                symbol: symbol.clone(),
                from: edge.from,
                until,
            })
            .collect();
        if !gaps.is_empty() {
            let edge = Edge { until, ..edge };
            self.work = Some(Work::Look(self.source.bars(gaps), edge));
        }
    }

    /// Waits for what was asked, and returns the bars that were missed; each is to be passed on. Waits for ever when nothing was
    /// asked. Cancel-safe.
    pub(super) async fn done(&mut self) -> Vec<Bar<'static>> {
        let class = self.class.as_str();
        let failed = |symbols: usize, cause: &str| {
            warn!(
                class,
                symbols, cause, "market data: missed bars cannot be had, trying again"
            );
        };
        match &mut self.work {
            None => std::future::pending().await,
            Some(Work::Recall(newest, symbols)) => {
                match newest.await {
                    Ok(newest) => {
                        debug!(
                            class,
                            symbols = newest.len(),
                            "market data: going on where bars ended"
                        );
                        self.recalled.extend(std::mem::take(symbols));
                        let is_known = !newest.is_empty();
                        for (symbol, at) in newest {
                            let minutes = Minutes::until(minute_of(at));
                            // What was heard meanwhile came from this connection.
                            let known = self.minutes.entry(symbol.clone()).or_insert(minutes);
                            if known.newest > minutes.newest {
                                let heard = *known;
                                *known = minutes;
                                for back in (0..64).rev().filter(|back| heard.seen >> back & 1 == 1) {
                                    known.see(heard.newest - back);
                                }
                            }
                            self.before.insert(symbol, minutes);
                        }
                        if is_known {
                            self.doubt();
                        }
                    }
                    Err(cause) => {
                        failed(symbols.len(), &cause);
                        self.not_before = Instant::now() + AGAIN;
                    }
                }
                self.work = None;
                Vec::new()
            }
            Some(Work::Fill(bars, symbols)) => {
                let bars = bars.await;
                let symbols = std::mem::take(symbols);
                self.work = None;
                match bars {
                    Ok(bars) => self.missed(bars),
                    Err(cause) => {
                        failed(symbols.len(), &cause);
                        self.changed = true;
                        self.filled.retain(|symbol| !symbols.contains(symbol));
                        self.not_before = Instant::now() + AGAIN;
                        Vec::new()
                    }
                }
            }
            Some(Work::Look(bars, edge)) => {
                let bars = bars.await;
                let edge = *edge;
                self.work = None;
                match bars {
                    Ok(bars) => self.missed(bars),
                    Err(cause) => {
                        failed(self.minutes.len(), &cause);
                        let at = Instant::now() + AGAIN;
                        let until = self.edge.map_or(edge.until, |later| later.until);
                        self.edge = Some(Edge { at, until, ..edge });
                        Vec::new()
                    }
                }
            }
        }
    }

    /// Those that were not passed on.
    fn missed(&self, mut bars: Vec<Bar<'static>>) -> Vec<Bar<'static>> {
        bars.retain(|bar| {
            let minutes = self.minutes.get(bar.symbol.as_ref());
            // What is too long ago to be known comes from a gap, and was not heard.
            minutes.is_none_or(|minutes| minutes.has(minute_of(bar.at)) != Some(true))
        });
        if !bars.is_empty() {
            let (class, bars) = (self.class.as_str(), bars.len());
            info!(class, bars, "market data: missed bars are recovered");
        }
        bars
    }

    /// When there may be something to begin. `None`: when something happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let begin = match (&self.work, self.edge) {
            (Some(_), _) => return None,
            (None, _) if self.changed => self.not_before,
            (None, edge) => edge?.at.max(self.not_before),
        };
        Some(begin)
    }
}

#[cfg(test)]
mod tests;
