//! What was measured, beside what is wanted: a table for people, JSON for programs, and both in `docs/`.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Result;
use super::place::server_program;

/// Where a run leaves its result, and where the documents keep it.
const LATEST: &str = "target/benchmarks.json";
const KEPT: &str = "docs/benchmarks.json";
const DOCUMENT: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- figures: made by `make bench-record` -->";
const END: &str = "<!-- end of figures -->";
/// Runs the documents keep, the latest first.
const RUNS_KEPT: usize = 2;

/// One figure of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Figure {
    pub(super) number: String,
    pub(super) name: String,
    /// The median of the rounds, and the least and the most of them.
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) rounds: usize,
    /// `x` of a ratio, `ms`, `MiB`.
    pub(super) unit: String,
    pub(super) wanted: Option<Wanted>,
    /// What it was computed from.
    pub(super) detail: String,
}

/// What a figure should be, and what it must be.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum Wanted {
    AtMost(f64, f64),
    AtLeast(f64, f64),
}

impl Figure {
    /// A figure of so many rounds.
    pub(super) fn of(
        number: &str,
        name: &str,
        unit: &str,
        wanted: Option<Wanted>,
        mut rounds: Vec<f64>,
        detail: String,
    ) -> Self {
        rounds.sort_by(f64::total_cmp);
        let figure = Self {
            number: number.to_owned(),
            name: name.to_owned(),
            value: rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN),
            least: rounds.first().copied().unwrap_or(f64::NAN),
            most: rounds.last().copied().unwrap_or(f64::NAN),
            rounds: rounds.len(),
            unit: unit.to_owned(),
            wanted,
            detail,
        };
        println!("{}", figure.row());
        figure
    }

    fn judged(&self) -> &'static str {
        let (goal, must) = match self.wanted {
            None => return "",
            Some(Wanted::AtMost(goal, must)) => (self.value <= goal, self.value <= must),
            Some(Wanted::AtLeast(goal, must)) => (self.value >= goal, self.value >= must),
        };
        match (goal, must) {
            (true, _) => "goal",
            (false, true) => "must",
            (false, false) => "**missed**",
        }
    }

    fn row(&self) -> String {
        let wanted = match self.wanted {
            None => "reported".to_owned(),
            Some(Wanted::AtMost(goal, must)) => format!("≤ {goal} (≤ {must})"),
            Some(Wanted::AtLeast(goal, must)) => format!("≥ {goal} (≥ {must})"),
        };
        format!(
            "| {} | {} | **{:.2}** {} | {:.2}–{:.2} of {} | {wanted} | {} | {} |",
            self.number,
            self.name,
            self.value,
            self.unit,
            self.least,
            self.most,
            self.rounds,
            self.judged(),
            self.detail
        )
    }
}

/// A run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Run {
    pub(super) revision: String,
    pub(super) at: String,
    pub(super) machine: String,
    pub(super) versions: String,
    pub(super) seconds: u64,
    pub(super) figures: Vec<Figure>,
}

pub(super) const HEAD: &str =
    "| # | figure | median | rounds | goal (must) | reached | from |\n|---|---|---|---|---|---|---|";

impl Run {
    pub(super) fn new(figures: Vec<Figure>, seconds: u64) -> Result<Self> {
        let now = jiff::Timestamp::from_nanosecond(super::now().into())?;
        Ok(Self {
            revision: output("git", &["describe", "--always", "--dirty"]),
            at: now.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            machine: machine(),
            versions: versions(),
            seconds,
            figures,
        })
    }

    /// Leaves the result where `make bench-record` finds it.
    pub(super) fn keep(&self) -> Result<()> {
        std::fs::write(LATEST, serde_json::to_string_pretty(self)? + "\n")?;
        println!("\nwritten to {LATEST}; `make bench-record` takes it into the documents");
        Ok(())
    }

    fn table(&self, title: &str) -> String {
        let mut text = format!(
            "### {title}: {}, revision {}\n\n{}; {}; {} s.\n\n{HEAD}\n",
            self.at, self.revision, self.machine, self.versions, self.seconds
        );
        for figure in &self.figures {
            text.push_str(&figure.row());
            text.push('\n');
        }
        text
    }
}

/// Takes the latest run into the documents, beside the one before it.
pub(super) fn record() -> Result<()> {
    let latest: Run = serde_json::from_str(&std::fs::read_to_string(LATEST)?)?;
    let mut runs: Vec<Run> = match Path::new(KEPT).exists() {
        true => serde_json::from_str(&std::fs::read_to_string(KEPT)?)?,
        false => Vec::new(),
    };
    runs.retain(|run| run.at != latest.at);
    runs.insert(0, latest);
    runs.truncate(RUNS_KEPT);
    let mut tables = String::new();
    for (run, title) in runs.iter().zip(["Latest run", "The run before"]) {
        write!(tables, "\n{}", run.table(title))?;
    }
    let document = std::fs::read_to_string(DOCUMENT)?;
    let (before, rest) = document.split_once(BEGIN).ok_or("no place for the figures")?;
    let (_, after) = rest
        .split_once(END)
        .ok_or("no end of the place for the figures")?;
    std::fs::write(DOCUMENT, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?;
    std::fs::write(KEPT, serde_json::to_string_pretty(&runs)? + "\n")?;
    println!("written into {DOCUMENT} and {KEPT}");
    Ok(())
}

fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("a processor", |(_, name)| name.trim());
    let count = processors
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} × {model}, Linux {}", kernel.trim())
}

fn versions() -> String {
    let server = server_program().map_or_else(
        |_| String::new(),
        |program| output(&program.to_string_lossy(), &["--version"]),
    );
    format!("{}, {}", output("rustc", &["--version"]), server)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let run = std::process::Command::new(program).args(arguments).output();
    run.map(|run| String::from_utf8_lossy(&run.stdout).trim().to_owned())
        .unwrap_or_default()
}
