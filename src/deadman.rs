//! The dead-man switch: a strategy that stops renewing its lease has its open orders canceled.
//!
//! A strategy that wants it writes its key in the bucket `nalpaca-leases`, again and again; the value says how long it may
//! stand still. When it has stood still for longer, by our clock, the strategy's open orders are canceled, its new ones are
//! denied until it renews, and it is told: the outcome of `<strategy>.ALL`. Who deletes the key has ended in good order.
//!
//! A renewal is heard where it is published, and then and before a lease lapses its key is read: what was not heard while the
//! connection was made anew costs nobody their orders. While NATS cannot be reached at all nothing is renewed, and leases
//! lapse: their strategies cannot reach us either, and nobody attends to their orders.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::alpaca::rest::Client;
use crate::backoff::{Backoff, Reason};
use crate::bus::listen::listen;
use crate::bus::{Bucket, Connection, Journal, LEASES_BUCKET, key_of, key_subject};
use crate::domain::{Outcome, Strategy, Verdict};
use crate::orders::CancelDesk;
use crate::risk::Risk;
use crate::wire::service::read_strategy_lease;
use crate::wire::subject::{CommandName, decode, encode_id};

/// Longest wait for a key before its lease lapses.
const READ_PATIENCE: Duration = Duration::from_secs(1);
/// How often all keys are listed: who began while we were not listening is found then.
const LIST_EVERY: Duration = Duration::from_secs(15);
/// Leases that are watched. A strategy is a token of somebody's choice.
const LEASES_MAX: usize = 1000;
/// Pause before the second look for what was on its way when a lease lapsed.
const SECOND_SWEEP: Duration = Duration::from_secs(3);
/// Longest wait for the journal.
const TELL_PATIENCE: Duration = Duration::from_secs(30);

/// What watching leases takes.
pub struct DeadMan {
    /// Where renewals are heard.
    pub connection: Connection,
    /// Who cancels.
    pub cancels: CancelDesk<Client>,
    /// Who denies what comes after.
    pub risk: Risk,
    /// Where it is told.
    pub journal: Journal,
}

/// A lease as it was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    revision: u64,
    /// When it was seen to be renewed.
    renewed: Instant,
    ttl: Duration,
    lapsed: bool,
}

/// All leases. Pure: whoever calls says what time it is.
#[derive(Debug, Default)]
struct Leases(HashMap<String, Lease>);

/// What a look at a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It was renewed after it had lapsed.
    Revived,
    Renewed,
    /// As it was.
    Still,
    /// There is no room for more.
    Ignored,
}

impl Leases {
    /// A key has this revision now.
    fn see(&mut self, strategy: &str, revision: u64, ttl: Duration, now: Instant) -> Seen {
        let renewed = Lease {
            revision,
            renewed: now,
            ttl,
            lapsed: false,
        };
        let has_room = self.0.len() < LEASES_MAX;
        match self.0.get_mut(strategy) {
            None if !has_room => Seen::Ignored,
            None => {
                self.0.insert(strategy.to_owned(), renewed);
                Seen::Renewed
            }
            Some(known) if known.revision == revision => Seen::Still,
            Some(known) => {
                let seen = if known.lapsed {
                    Seen::Revived
                } else {
                    Seen::Renewed
                };
                *known = renewed;
                seen
            }
        }
    }

    /// A key was deleted: its strategy has ended in good order.
    fn end(&mut self, strategy: &str) -> bool {
        self.0.remove(strategy).is_some_and(|lease| lease.lapsed)
    }

    /// The lease that lapses first, and when.
    fn first(&self) -> Option<(String, Instant)> {
        let live = self.0.iter().filter(|(_, lease)| !lease.lapsed);
        live.map(|(strategy, lease)| (strategy.clone(), lease.renewed + lease.ttl))
            .min_by_key(|(_, at)| *at)
    }

    /// Marks a lease lapsed, and says how long it may have stood still.
    fn lapse(&mut self, strategy: &str) -> Option<Duration> {
        let lease = self.0.get_mut(strategy)?;
        lease.lapsed = true;
        Some(lease.ttl)
    }
}

impl DeadMan {
    /// Watches for as long as the daemon leads.
    pub async fn run(self) {
        let mut backoff = Backoff::new(Reason::Nats);
        let mut leases = Leases::default();
        let mut sweeps = JoinSet::new();
        loop {
            match Bucket::open(&self.connection, LEASES_BUCKET).await {
                Ok(bucket) => {
                    backoff.reset();
                    self.watch(&bucket, &mut leases, &mut sweeps).await;
                }
                Err(error) => warn!(%error, "waiting for the bucket of leases"),
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Watches until the subscription ends.
    async fn watch(&self, bucket: &Bucket, leases: &mut Leases, sweeps: &mut JoinSet<()>) {
        let mut told = match listen(&self.connection, key_subject(LEASES_BUCKET, ">")).await {
            Ok(told) => told,
            Err(error) => return warn!(%error, "renewals of leases cannot be heard"),
        };
        let mut list_at = Instant::now();
        loop {
            let first = leases.first();
            let lapses_at = first.as_ref().map_or(list_at, |(_, at)| *at);
            tokio::select! {
                heard = told.next() => { // cancel-safe: docs
                    let Some(heard) = heard else { return };
                    let Some(strategy) = strategy_of(&heard.subject) else { continue };
                    // Its revision is what counts, and whether it was deleted.
                    self.read(bucket, leases, &strategy).await;
                }
                () = sleep_until(lapses_at), if first.is_some() => { // cancel-safe: level-triggered
                    if let Some((strategy, at)) = first {
                        self.read(bucket, leases, &strategy).await;
                        let stands = leases.first().is_some_and(|(next, when)| next == strategy && when == at);
                        if stands {
                            self.lapse(leases, sweeps, &strategy);
                        }
                    }
                }
                Some(ended) = sweeps.join_next() => { // cancel-safe: docs
                    if let Err(error) = ended {
                        error!(%error, "orders of a strategy whose lease has lapsed may still work");
                    }
                }
                () = sleep_until(list_at) => { // cancel-safe: level-triggered
                    list_at = Instant::now() + LIST_EVERY;
                    match bucket.keys("").await {
                        Ok(keys) => {
                            for strategy in keys.iter().filter_map(|key| decode(key).ok()) {
                                self.read(bucket, leases, &strategy).await;
                            }
                        }
                        Err(error) => warn!(%error, "leases cannot be listed"),
                    }
                }
            }
        }
    }

    /// Reads a key. What cannot be read counts as standing still.
    async fn read(&self, bucket: &Bucket, leases: &mut Leases, strategy: &str) {
        match timeout(READ_PATIENCE, bucket.get(&encode_id(strategy))).await {
            Ok(Ok(Some(entry))) => self.see(leases, strategy, entry.revision, &entry.value),
            Ok(Ok(None)) => {
                if leases.end(strategy) {
                    info!(strategy, "the lease was given up");
                }
                self.risk.lapsed(strategy, false);
            }
            Ok(Err(error)) => warn!(%error, strategy, "a lease cannot be read"),
            Err(_) => warn!(strategy, "a lease cannot be read in time"),
        }
    }

    fn see(&self, leases: &mut Leases, strategy: &str, revision: u64, value: &[u8]) {
        let ttl = read_strategy_lease(value).unwrap_or_else(|error| {
            warn!(strategy, %error, "a lease says nothing readable, so it lasts as long as is usual");
            crate::wire::service::LEASE_TTL
        });
        match leases.see(strategy, revision, ttl, Instant::now()) {
            Seen::Revived => {
                info!(
                    strategy,
                    "the lease is renewed; the strategy's orders are taken again"
                );
                self.risk.lapsed(strategy, false);
            }
            Seen::Ignored => warn!(strategy, LEASES_MAX, "too many leases, this one is not watched"),
            Seen::Renewed | Seen::Still => {}
        }
    }

    fn lapse(&self, leases: &mut Leases, sweeps: &mut JoinSet<()>, strategy: &str) {
        let Some(ttl) = leases.lapse(strategy) else { return };
        let why = format!(
            "the lease of the strategy {strategy} was not renewed for {} s",
            ttl.as_secs_f64()
        );
        warn!(
            strategy,
            ttl_s = ttl.as_secs_f64(),
            "a lease has lapsed, canceling the strategy's orders"
        );
        // First of all nothing new.
        self.risk.lapsed(strategy, true);
        let (cancels, journal) = (self.cancels.clone(), self.journal.clone());
        let name = CommandName::Wide(Some(Strategy::new(strategy)));
        // Beside the watch: other leases lapse meanwhile.
        sweeps.spawn(async move { sweep(&cancels, &journal, &name, &why).await });
    }
}

/// Cancels what is open, and once more what was on its way; and tells.
async fn sweep(cancels: &CancelDesk<Client>, journal: &Journal, name: &CommandName, why: &str) {
    let mut has_told = false;
    for pause in [Duration::ZERO, SECOND_SWEEP] {
        sleep(pause).await;
        let Some(mut outcome) = cancels.cancel(name).await else {
            return;
        };
        let found = explain(&mut outcome, why);
        if has_told && !found {
            return;
        }
        has_told = true;
        let spelling = encode_id(&name.text());
        let id = Uuid::now_v7();
        let stored = crate::bus::journal::until_stored(
            "the outcome of a lapse",
            |_| {},
            || journal.outcome_past_stream(&outcome, &spelling, id),
        );
        if timeout(TELL_PATIENCE, stored).await.is_err() {
            warn!(
                order = name.text(),
                "the lapse of a lease could not be told in the journal"
            );
        }
    }
}

/// Says in the outcome why it was canceled. Whether there was something to cancel.
fn explain(outcome: &mut Outcome, why: &str) -> bool {
    let (message, results) = match &mut outcome.verdict {
        Verdict::Accepted(acceptance) => (&mut acceptance.message, acceptance.results.len()),
        Verdict::Rejected(refusal) => (&mut refusal.message, refusal.results.len()),
        Verdict::Denied { .. }
        | Verdict::Expired
        | Verdict::Invalid { .. }
        | Verdict::Conflict { .. }
        | Verdict::CanceledBeforeSend { .. }
        | Verdict::Unresolved { .. }
        | Verdict::LateAccepted(_)
        | Verdict::ConfirmedAbsent => return true,
    };
    *message = format!("{why}: {message}");
    results > 0
}

/// Whose key a subject is.
fn strategy_of(subject: &str) -> Option<String> {
    let key = key_of(LEASES_BUCKET, subject)?;
    decode(key).ok().filter(|strategy| !strategy.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_lease_lapses_when_it_has_stood_still_and_lives_again_when_it_moves() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(leases.see("m", 5, TTL, at(0)), Seen::Renewed);
        assert_eq!(leases.see("m", 5, TTL, at(9)), Seen::Still);
        assert_eq!(leases.first(), Some(("m".to_owned(), at(10))));
        assert_eq!(leases.see("m", 6, TTL, at(9)), Seen::Renewed);
        assert_eq!(leases.first(), Some(("m".to_owned(), at(19))));
        assert_eq!(leases.lapse("m"), Some(TTL));
        assert_eq!(leases.first(), None);
        assert_eq!(
            leases.see("m", 6, TTL, at(30)),
            Seen::Still,
            "a key that stands still stays lapsed"
        );
        assert_eq!(leases.see("m", 7, TTL, at(31)), Seen::Revived);
        assert_eq!(leases.first(), Some(("m".to_owned(), at(41))));
        leases.lapse("m");
        assert!(leases.end("m"));
        assert!(!leases.end("m"));
    }

    #[test]
    fn keys_are_read_as_they_are_spelled_and_there_is_an_end_to_them() {
        assert_eq!(
            strategy_of("$KV.nalpaca-leases.momentum").as_deref(),
            Some("momentum")
        );
        assert_eq!(strategy_of("$KV.nalpaca-leases.a=40b").as_deref(), Some("a@b"));
        assert_eq!(strategy_of("$KV.nalpaca-leases.a.b"), None);
        assert_eq!(strategy_of("$KV.nalpaca.momentum"), None);
        let (mut leases, now) = (Leases::default(), Instant::now());
        for number in 0..LEASES_MAX {
            leases.see(&number.to_string(), 1, TTL, now);
        }
        assert_eq!(leases.see("one more", 1, TTL, now), Seen::Ignored);
    }
}
