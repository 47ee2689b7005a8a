//! The written report: one file per run of the trials, and the sum of all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nalpaca::trial::Bug;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::judge::checker::Wrong;
use super::trial::Report;

/// What the long run must reach.
const RUNS_NEEDED: usize = 300;
const FAULTS_NEEDED: usize = 3_000;
const COMMANDS_NEEDED: usize = 50_000;
/// Recoveries with a bar: the longest that may be at p99, in milliseconds.
const BARS: [(&str, u64); 6] = [
    (KILL_TO_READY, 3_000),
    (KILL_TO_OUTCOME, 15_000),
    (NATS_TO_FLOW, 5_000),
    (UNKNOWN_TO_SETTLED, 20_000),
    (DROP_TO_CLOSED, 5_000),
    (MUTE_TO_CLOSED, 30_000),
];

pub(crate) const KILL_TO_READY: &str = "daemon kill -9 to ready";
pub(crate) const KILL_TO_OUTCOME: &str = "daemon kill -9 to the outcome of the command in flight";
pub(crate) const NATS_TO_FLOW: &str = "nats restart to flow";
pub(crate) const DROP_TO_CLOSED: &str = "stream dropped to gap closed";
pub(crate) const MUTE_TO_CLOSED: &str = "stream mute to gap closed";
pub(crate) const FILL_TO_SUBSCRIBER: &str = "fill at the venue to its subscriber";
pub(crate) const UNKNOWN_TO_SETTLED: &str = "unknown outcome to settled, with a healthy venue";

/// One run of the trials.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// When it began.
    pub(crate) began: String,
    pub(crate) seconds: u64,
    /// Which commit, as far as is known.
    pub(crate) revision: String,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) suites: Vec<String>,
    /// The first seed; each trial has the next one.
    pub(crate) seed: u64,
    pub(crate) trials: usize,
    /// Random mixes among them.
    pub(crate) mixes: usize,
    /// Trials that showed nothing, with the reason; they count for nothing else here.
    pub(crate) void: Vec<String>,
    pub(crate) published: usize,
    pub(crate) acknowledged: usize,
    pub(crate) orders: usize,
    pub(crate) outcomes: BTreeMap<String, usize>,
    pub(crate) faults: BTreeMap<String, usize>,
    /// Broken promises, by kind; all kinds are there.
    pub(crate) wrong: BTreeMap<String, usize>,
    pub(crate) violations: Vec<String>,
    /// Planted bugs, and what caught each.
    pub(crate) caught: BTreeMap<String, String>,
    /// How long each recovery took, in milliseconds, sorted.
    pub(crate) recoveries_ms: BTreeMap<String, Spans>,
    /// What else was counted.
    #[serde(default)]
    pub(crate) counts: BTreeMap<String, usize>,
}

/// Milliseconds, sorted; in a report one text, so that hundreds of them take one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Vec<u64>);

impl Serialize for Spans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words: Vec<String> = self.0.iter().map(u64::to_string).collect();
        serializer.serialize_str(&words.join(" "))
    }
}

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let words = text.split_whitespace().map(str::parse);
        words
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(D::Error::custom)
    }
}

impl Evidence {
    /// Adds what came of one trial.
    pub(crate) fn add(&mut self, report: &Report) {
        if let Some(why) = &report.void {
            self.void
                .push(format!("{} (seed {}): {why}", report.name, report.seed));
            return;
        }
        if let Some(caught) = &report.caught {
            // What a planted bug breaks says nothing of the program.
            self.caught.insert(report.name.clone(), caught.clone());
            return;
        }
        self.trials += 1;
        self.mixes += usize::from(report.is_mix);
        self.published += report.published;
        self.acknowledged += report.acknowledged;
        self.orders += report.orders;
        for (kind, count) in &report.outcomes {
            *self.outcomes.entry(kind.clone()).or_default() += count;
        }
        for (fault, count) in &report.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        for wrong in Wrong::ALL {
            *self.wrong.entry(wrong.as_str().to_owned()).or_default() += report.count(wrong);
        }
        for violation in &report.violations {
            self.violations.push(format!(
                "{} (seed {}): {} {}: {}",
                report.name,
                report.seed,
                violation.wrong.as_str(),
                violation.id,
                violation.text
            ));
        }
        for (what, count) in &report.counts {
            *self.counts.entry((*what).to_owned()).or_default() += count;
        }
        for (what, span) in &report.took {
            let Spans(spans) = self.recoveries_ms.entry((*what).to_owned()).or_default();
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            let at = spans.partition_point(|known| *known < millis);
            spans.insert(at, millis);
        }
    }

    fn join(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.trials += other.trials;
        self.mixes += other.mixes;
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.orders += other.orders;
        for (sum, part) in [
            (&mut self.outcomes, &other.outcomes),
            (&mut self.faults, &other.faults),
            (&mut self.wrong, &other.wrong),
            (&mut self.counts, &other.counts),
        ] {
            for (name, count) in part {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
        self.void.extend(other.void.iter().cloned());
        self.violations.extend(other.violations.iter().cloned());
        self.caught.extend(other.caught.clone());
        for (what, Spans(spans)) in &other.recoveries_ms {
            let Spans(all) = self.recoveries_ms.entry(what.clone()).or_default();
            all.extend(spans);
            all.sort_unstable();
        }
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// Whether nothing is wrong with it.
    pub(crate) fn is_good(&self) -> bool {
        self.void.is_empty() && self.wrong.values().all(|count| *count == 0)
    }

    /// Writes it. What was written before under its name is replaced, so a run that is cut short has its report.
    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("make the directory of the evidence");
        let day = self.began.split('T').next().unwrap_or_default();
        let path = directory.join(format!("{day}-{}-{}.json", self.suites.join("-"), self.seed));
        let mut text = serde_json::to_string_pretty(self).expect("the report is JSON");
        text.push('\n');
        fs::write(path, text).expect("write the evidence");
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("{:>8} trials, {} of them random mixes", self.trials, self.mixes),
            format!("{:>8} faults", self.faults()),
            format!(
                "{:>8} commands published, {} acknowledged",
                self.published, self.acknowledged
            ),
            format!("{:>8} orders at the venue", self.orders),
        ];
        if !self.caught.is_empty() {
            lines.push(format!("{:>8} planted bugs caught", self.caught.len()));
        }
        for (wrong, count) in &self.wrong {
            lines.push(format!("{count:>8} {wrong}"));
        }
        for (what, count) in &self.counts {
            lines.push(format!("{count:>8} {what}"));
        }
        for (what, Spans(spans)) in &self.recoveries_ms {
            lines.push(format!("{what}: {}", percentiles(spans)));
        }
        lines
    }
}

fn at(spans: &[u64], share: usize) -> u64 {
    let place = (spans.len() * share).div_ceil(100).saturating_sub(1);
    spans.get(place).copied().unwrap_or_default()
}

fn percentiles(spans: &[u64]) -> String {
    let is_short = at(spans, 100) < 500;
    let seconds = |millis: u64| {
        if is_short {
            format!("{millis} ms")
        } else {
            format!("{:.2} s", Duration::from_millis(millis).as_secs_f64())
        }
    };
    format!(
        "p50 {}, p99 {}, max {} of {}",
        seconds(at(spans, 50)),
        seconds(at(spans, 99)),
        seconds(at(spans, 100)),
        spans.len()
    )
}

/// Sums up every report in a directory into its `summary.md`.
pub(crate) fn summarize(directory: &Path) {
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("read the directory of the evidence")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let mut sum = Evidence::default();
    let mut rows = String::new();
    for path in &files {
        let text = fs::read_to_string(path).expect("read a report");
        let part: Evidence = serde_json::from_str(&text).expect("it is a report");
        let zeros = part.wrong.values().sum::<usize>();
        rows.push_str(&format!(
            "| [{name}]({name}) | {} | {} | {} | {} | {} | {} | {zeros} | {} |\n",
            part.revision,
            part.trials,
            part.faults(),
            part.published,
            part.acknowledged,
            part.orders,
            part.void.len(),
            name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default(),
        ));
        sum.join(&part);
    }
    let mut text = String::from(
        "# What the trials showed\n\nWritten by `make evidence` from the reports beside it; how they come about is told in \
         [README.md](README.md).\n\n",
    );
    text.push_str("| report | commit | trials | faults | published | acknowledged | orders | broken promises | showed nothing |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    text.push_str(&rows);
    text.push_str("\n## All together\n\n| | | needed |\n|---|---|---|\n");
    for (name, count, needed) in [
        ("random mixes", sum.mixes, Some(RUNS_NEEDED)),
        ("trials", sum.trials, None),
        ("faults", sum.faults(), Some(FAULTS_NEEDED)),
        ("commands published", sum.published, Some(COMMANDS_NEEDED)),
        ("commands acknowledged", sum.acknowledged, None),
        ("orders created", sum.orders, None),
        ("planted bugs caught", sum.caught.len(), Some(Bug::ALL.len())),
    ] {
        let needed = needed.map(|needed| needed.to_string()).unwrap_or_default();
        text.push_str(&format!("| {name} | {count} | {needed} |\n"));
    }
    for (what, count) in &sum.counts {
        text.push_str(&format!("| {what} | {count} |  |\n"));
    }
    for (wrong, count) in &sum.wrong {
        text.push_str(&format!("| **{wrong}** | **{count}** | 0 |\n"));
    }
    text.push_str("\n| recovery | p50, p99, max | p99 needed |\n|---|---|---|\n");
    for (what, Spans(spans)) in &sum.recoveries_ms {
        let bar = BARS.iter().find(|(name, _)| name == what);
        let bar = bar
            .map(|(_, millis)| format!("{} s", millis / 1000))
            .unwrap_or_default();
        text.push_str(&format!("| {what} | {} | {bar} |\n", percentiles(spans)));
    }
    text.push_str("\n| fault | times |\n|---|---|\n");
    for (fault, count) in &sum.faults {
        text.push_str(&format!("| {fault} | {count} |\n"));
    }
    text.push_str("\n| outcome | times |\n|---|---|\n");
    for (outcome, count) in &sum.outcomes {
        text.push_str(&format!("| {outcome} | {count} |\n"));
    }
    if !sum.violations.is_empty() {
        text.push_str("\n## Broken promises\n\n");
        for violation in &sum.violations {
            text.push_str(&format!("- {violation}\n"));
        }
    }
    fs::write(directory.join("summary.md"), text).expect("write the summary");
}
