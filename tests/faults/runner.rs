//! The command line: which trials, how many beside each other, and what is said of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use nalpaca::trial::Bug;

use super::judge::checker::Wrong;
use super::trial::Report;
use super::{crash, matrix, mix, planted};

/// A recovery that took longer is told at once.
const SLOW: Duration = Duration::from_secs(20);

/// Trials of the order path.
#[derive(Parser)]
#[command(
    name = "faults",
    about = "Breaks everything that can be broken, and judges what comes of it"
)]
struct Arguments {
    /// Which trials.
    #[arg(value_enum, default_values_t = [Suite::Crash])]
    suites: Vec<Suite>,
    /// Leaves out what takes long.
    #[arg(long)]
    short: bool,
    /// Trials beside each other; each has its own server, venue and daemon.
    #[arg(long, default_value_t = 8)]
    jobs: usize,
    /// Where seeds begin. Drawn anew unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Random mixes to run.
    #[arg(long, default_value_t = 8)]
    runs: u64,
    /// Only trials whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Shows the log of each daemon that broke a promise.
    #[arg(long)]
    logs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Every point of the path.
    Crash,
    /// Each fault alone.
    Matrix,
    /// Random mixes under load.
    Mix,
    /// Each planted bug; good is that it is caught.
    Planted,
}

/// One trial to be run.
pub(crate) enum Job {
    Crash(crash::Case),
    Matrix(matrix::Scenario),
    Planted(Bug),
    Mix(u64),
}

impl Job {
    fn name(&self) -> String {
        match self {
            Self::Crash(case) => case.name(),
            Self::Matrix(scenario) => scenario.name.clone(),
            Self::Mix(seed) => format!("mix {seed}"),
            Self::Planted(bug) => format!("planted bug: {}", bug.as_str()),
        }
    }

    async fn run(&self, seed: u64) -> Report {
        match self {
            Self::Crash(case) => case.run(seed).await,
            Self::Matrix(scenario) => scenario.run(seed, None).await,
            Self::Mix(seed) => mix::run(*seed).await,
            Self::Planted(bug) => planted::run(*bug, seed).await,
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments
        .seed
        .unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003 % 1_000_000_007);
    let mut jobs = Vec::new();
    for suite in &arguments.suites {
        match suite {
            Suite::Crash => jobs.extend(crash::cases(arguments.short).into_iter().map(Job::Crash)),
            Suite::Mix => jobs.extend((0..arguments.runs).map(|run| Job::Mix(seed.wrapping_add(run)))),
            Suite::Planted => jobs.extend(Bug::ALL.iter().copied().map(Job::Planted)),
            Suite::Matrix => jobs.extend(matrix::scenarios(arguments.short).into_iter().map(Job::Matrix)),
        }
    }
    if let Some(only) = &arguments.only {
        jobs.retain(|job| job.name().contains(only.as_str()));
    }
    let began = Instant::now();
    let reports = run(&jobs, seed, arguments.jobs);
    summarize(&reports, seed, began.elapsed(), arguments.logs)
}

/// Runs the jobs, a few beside each other, each in a thread of its own.
fn run(jobs: &[Job], seed: u64, beside: usize) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    std::thread::scope(|scope| {
        for _ in 0..beside.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { return };
                    let report = one(job, seed.wrapping_add(u64::try_from(at).unwrap_or_default()));
                    let mut done = done.lock().expect("nobody panics while it is held");
                    say(&report, done.len() + 1, jobs.len());
                    done.push(report);
                }
            });
        }
    });
    done.into_inner().expect("all threads have ended")
}

fn one(job: &Job, seed: u64) -> Report {
    let work = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("start a runtime")
            .block_on(job.run(seed))
    };
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report::broken(
            job.name(),
            seed,
            why.unwrap_or_else(|| "the trial itself failed".to_owned()),
        )
    })
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn say(report: &Report, number: usize, of: usize) {
    if let Some(caught) = &report.caught {
        println!("{number} of {of}: {} is caught: {caught}", report.name);
    } else if report.is_good() {
        if number % 20 == 0 || number == of {
            println!("{number} of {of} trials");
        }
    } else {
        println!("{number} of {of}: {} (seed {})", report.name, report.seed);
        if let Some(why) = &report.void {
            println!("    shows nothing: {why}");
        }
        for violation in &report.violations {
            println!(
                "    {} {}: {}",
                violation.wrong.as_str(),
                violation.id,
                violation.text
            );
        }
    }
    for (what, span) in &report.took {
        if *span > SLOW {
            println!("    {}: {what} took {:.1} s", report.name, span.as_secs_f64());
        }
    }
    let _ = std::io::stdout().flush();
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn summarize(reports: &[Report], seed: u64, took: Duration, logs: bool) -> ExitCode {
    if logs {
        for report in reports.iter().filter(|report| !report.is_good()) {
            println!("--- {} (seed {})\n{}", report.name, report.seed, report.log);
        }
    }
    let sum = |count: fn(&Report) -> usize| reports.iter().map(count).sum::<usize>();
    println!();
    println!(
        "trials        {} in {:.0} s, seeds from {seed}",
        reports.len(),
        took.as_secs_f64()
    );
    println!(
        "shown nothing {}",
        sum(|report| usize::from(report.void.is_some()))
    );
    println!(
        "commands      {} published, {} acknowledged",
        sum(|report| report.published),
        sum(|report| report.acknowledged)
    );
    println!("orders        {}", sum(|report| report.orders));
    let mut faults = BTreeMap::<&str, usize>::new();
    let mut spans = BTreeMap::<&str, Vec<Duration>>::new();
    for report in reports {
        for (fault, count) in &report.faults {
            *faults.entry(fault).or_default() += count;
        }
        for (what, span) in &report.took {
            spans.entry(what).or_default().push(*span);
        }
    }
    for (fault, count) in faults {
        println!("fault         {count:>6} {fault}");
    }
    for (what, mut spans) in spans {
        spans.sort();
        let at = |share: usize| spans[(spans.len() * share / 100).min(spans.len() - 1)];
        println!(
            "recovery      {what}: p50 {:.2} s, p99 {:.2} s, max {:.2} s of {}",
            at(50).as_secs_f64(),
            at(99).as_secs_f64(),
            at(100).as_secs_f64(),
            spans.len()
        );
    }
    for wrong in Wrong::ALL {
        let count: usize = reports.iter().map(|report| report.count(wrong)).sum();
        println!("{:<13} {count}", wrong.as_str());
    }
    if reports.iter().all(Report::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
