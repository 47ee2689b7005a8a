//! One trial: what was done, how long it took to get over it, and what the checker says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::arena::Arena;
use super::judge::checker::{self, Violation, Wrong};
use super::judge::history::{Ack, History};

/// A trial on its way.
pub(crate) struct Trial {
    name: String,
    seed: u64,
    took: Vec<(&'static str, Duration)>,
    counts: BTreeMap<&'static str, usize>,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// Why the trial shows nothing, if it does not: its faults did not bite, or the world did not come to rest.
    pub(crate) void: Option<String>,
    pub(crate) faults: BTreeMap<String, usize>,
    pub(crate) published: usize,
    pub(crate) acknowledged: usize,
    pub(crate) orders: usize,
    pub(crate) outcomes: BTreeMap<String, usize>,
    pub(crate) violations: Vec<Violation>,
    /// A random mix of faults.
    pub(crate) is_mix: bool,
    /// What caught a planted bug.
    pub(crate) caught: Option<String>,
    /// How long it took to get over something.
    pub(crate) took: Vec<(&'static str, Duration)>,
    /// What else was counted.
    pub(crate) counts: BTreeMap<&'static str, usize>,
    /// The daemon's log, where something is wrong.
    pub(crate) log: String,
}

impl Trial {
    pub(crate) fn new(name: String, seed: u64) -> Self {
        Self {
            name,
            seed,
            took: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn counted(&mut self, what: &'static str, count: usize) {
        *self.counts.entry(what).or_default() += count;
    }

    pub(crate) fn took(&mut self, what: &'static str, span: Duration) {
        self.took.push((what, span));
    }

    /// Heals the world, waits until it rests, and judges.
    pub(crate) async fn conclude(self, mut arena: Arena) -> Report {
        arena.heal().await;
        let rested = arena.quiesce().await;
        let history = arena.history().await;
        let mut report = self.report(&arena, &history);
        report.violations = checker::check(&history);
        if let Some(bounds) = arena.feed {
            report.violations.extend(arena.judge_feed(bounds).await);
        }
        if !rested && report.violations.is_empty() {
            // A command that is still in the queue is none the less without an outcome, or its ack is not confirmed.
            report.violations.push(Violation {
                wrong: Wrong::Lost,
                id: String::new(),
                text: "the queue did not run empty".to_owned(),
            });
        }
        if report.violations.is_empty() {
            report.log.clear();
        }
        report
    }

    /// A trial that shows nothing.
    pub(crate) async fn toothless(self, arena: Arena, why: &str) -> Report {
        let history = arena.history().await;
        let mut report = self.report(&arena, &history);
        report.void = Some(why.to_owned());
        report
    }

    fn report(self, arena: &Arena, history: &History) -> Report {
        let mut outcomes = BTreeMap::<String, usize>::new();
        for outcome in &history.outcomes {
            *outcomes.entry(outcome.kind.clone()).or_default() += 1;
        }
        let acknowledged = history
            .commands
            .iter()
            .filter(|command| !matches!(command.ack, Ack::Unknown))
            .count();
        Report {
            name: self.name,
            seed: self.seed,
            void: None,
            faults: arena.faults.clone(),
            published: history.commands.len(),
            acknowledged,
            orders: history.orders.len(),
            outcomes,
            violations: Vec::new(),
            is_mix: false,
            caught: None,
            took: self.took,
            counts: self.counts,
            log: arena.world.daemon.log(),
        }
    }
}

impl Report {
    pub(crate) fn count(&self, wrong: Wrong) -> usize {
        self.violations
            .iter()
            .filter(|violation| violation.wrong == wrong)
            .count()
    }

    /// The same, as one that shows nothing.
    pub(crate) fn toothless(mut self, why: String) -> Self {
        if self.violations.is_empty() {
            self.void = Some(why);
        }
        self
    }

    pub(crate) fn is_good(&self) -> bool {
        self.void.is_none() && self.violations.is_empty()
    }
}

impl Report {
    /// A trial that failed by itself.
    pub(crate) fn broken(name: String, seed: u64, why: String) -> Self {
        Self {
            name,
            seed,
            void: Some(why),
            faults: BTreeMap::new(),
            published: 0,
            acknowledged: 0,
            orders: 0,
            outcomes: BTreeMap::new(),
            violations: Vec::new(),
            is_mix: false,
            caught: None,
            took: Vec::new(),
            counts: BTreeMap::new(),
            log: String::new(),
        }
    }
}
