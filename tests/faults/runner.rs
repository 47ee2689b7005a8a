//! The command line: which trials, how many beside each other, and what is said of them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use nalpaca::trial::Bug;

use super::evidence::{self, Evidence};
use super::trial::Report;
use super::{arena, crash, feed, market, matrix, mix, planted, wheel};

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
    /// Writes a report into this directory, after each trial anew, so that a run that is cut short has one.
    #[arg(long)]
    evidence: Option<PathBuf>,
    /// Runs nothing, and sums up the reports of a directory in its `summary.md`.
    #[arg(long, value_name = "DIRECTORY")]
    summarize: Option<PathBuf>,
    /// The commit that is tried, for the report.
    #[arg(long, env = "NALPACA_REVISION", default_value = "unknown")]
    revision: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Every point of the path.
    Crash,
    /// Each fault alone.
    Matrix,
    /// Random mixes under load.
    Mix,
    /// The drop copy and the mirrors: each fault and each point alone.
    Feed,
    /// The drop copy and the mirrors: random mixes while orders are filled.
    FeedMix,
    /// Market data: each fault alone.
    Market,
    /// Market data: several faults one after the other.
    MarketMix,
    /// A halt, and limits, under load.
    Wheel,
    /// Each planted bug; good is that it is caught.
    Planted,
}

/// One trial to be run.
pub(crate) enum Job {
    Crash(crash::Case),
    Matrix(matrix::Scenario),
    Planted(Bug),
    Mix(u64),
    Feed(feed::Scenario),
    FeedMix(u64),
    Market(market::Scenario),
    MarketMix(u64),
    Wheel(wheel::Scenario),
}

impl Job {
    fn name(&self) -> String {
        match self {
            Self::Crash(case) => case.name(),
            Self::Matrix(scenario) => scenario.name.clone(),
            Self::Mix(seed) => format!("mix {seed}"),
            Self::Feed(scenario) => scenario.name.clone(),
            Self::FeedMix(seed) => format!("feed mix {seed}"),
            Self::Market(scenario) => scenario.name.clone(),
            Self::MarketMix(seed) => format!("market mix {seed}"),
            Self::Wheel(scenario) => scenario.name.to_owned(),
            Self::Planted(bug) => format!("planted bug: {}", bug.as_str()),
        }
    }

    async fn run(&self, seed: u64) -> Report {
        match self {
            Self::Crash(case) => case.run(seed).await,
            Self::Matrix(scenario) => scenario.run(seed, None).await,
            Self::Mix(seed) => mix::run(*seed).await,
            Self::Feed(scenario) => scenario.run(seed, None).await,
            Self::FeedMix(seed) => feed::mix(*seed).await,
            Self::Market(scenario) => scenario.run(seed, None).await,
            Self::MarketMix(seed) => market::mix(*seed).await,
            Self::Wheel(scenario) => scenario.run(seed, None).await,
            Self::Planted(bug) => planted::run(*bug, seed).await,
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(directory) = &arguments.summarize {
        evidence::summarize(directory);
        return ExitCode::SUCCESS;
    }
    let seed = arguments
        .seed
        .unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003 % 1_000_000_007);
    let mut jobs = Vec::new();
    for suite in &arguments.suites {
        match suite {
            Suite::Crash => jobs.extend(crash::cases(arguments.short).into_iter().map(Job::Crash)),
            Suite::Mix => jobs.extend((0..arguments.runs).map(|run| Job::Mix(seed.wrapping_add(run)))),
            Suite::Feed => jobs.extend(feed::scenarios(arguments.short).into_iter().map(Job::Feed)),
            Suite::FeedMix => {
                jobs.extend((0..arguments.runs).map(|run| Job::FeedMix(seed.wrapping_add(run))))
            }
            Suite::Market => jobs.extend(market::scenarios(arguments.short).into_iter().map(Job::Market)),
            Suite::MarketMix => {
                jobs.extend((0..arguments.runs).map(|run| Job::MarketMix(seed.wrapping_add(run))))
            }
            Suite::Wheel => jobs.extend(wheel::scenarios().into_iter().map(Job::Wheel)),
            Suite::Planted => jobs.extend(Bug::ALL.iter().copied().map(Job::Planted)),
            Suite::Matrix => jobs.extend(matrix::scenarios(arguments.short).into_iter().map(Job::Matrix)),
        }
    }
    if let Some(only) = &arguments.only {
        jobs.retain(|job| job.name().contains(only.as_str()));
    }
    let evidence = Evidence {
        began: arena::today(),
        revision: arguments.revision.clone(),
        versions: versions(),
        suites: arguments
            .suites
            .iter()
            .filter_map(|suite| Some(suite.to_possible_value()?.get_name().to_owned()))
            .collect(),
        seed,
        ..Evidence::default()
    };
    let evidence = run(&jobs, evidence, &arguments);
    conclude(&evidence)
}

/// What was tried with what.
fn versions() -> BTreeMap<String, String> {
    [
        ("nalpaca", env!("CARGO_PKG_VERSION")),
        ("nats-server", "2.15.1, and 2.10.25 in one mix of four"),
        (
            "profile",
            if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        ),
    ]
    .map(|(name, version)| (name.to_owned(), version.to_owned()))
    .into()
}

/// Runs the jobs, a few beside each other, each in a thread of its own.
fn run(jobs: &[Job], evidence: Evidence, arguments: &Arguments) -> Evidence {
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let seed = evidence.seed;
    let done = Mutex::new((0, evidence));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { return };
                    let seed = seed.wrapping_add(u64::try_from(at).unwrap_or_default());
                    let mut report = one(job, seed);
                    if report.void.is_some() {
                        // By chance nothing was hit. A broken promise is never tried again.
                        report = one(job, seed.wrapping_add(1_000_003));
                    }
                    let mut done = done.lock().expect("nobody panics while it is held");
                    done.0 += 1;
                    say(&report, done.0, jobs.len(), arguments.logs);
                    done.1.add(&report);
                    done.1.seconds = began.elapsed().as_secs();
                    if let Some(directory) = &arguments.evidence {
                        done.1.write(directory);
                    }
                }
            });
        }
    });
    done.into_inner().expect("all threads have ended").1
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
fn say(report: &Report, number: usize, of: usize, logs: bool) {
    if let Some(caught) = &report.caught {
        println!("{number} of {of}: {} is caught: {caught}", report.name);
    } else if report.is_good() {
        if number.is_multiple_of(20) || number == of {
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
        if logs {
            println!("{}", report.log);
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
fn conclude(evidence: &Evidence) -> ExitCode {
    println!();
    println!(
        "{} in {} s, seeds from {}",
        evidence.suites.join(", "),
        evidence.seconds,
        evidence.seed
    );
    for line in evidence.lines() {
        println!("  {line}");
    }
    for void in &evidence.void {
        println!("  showed nothing: {void}");
    }
    if evidence.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
