//! `nalpaca provision`: makes the NATS objects the daemon lives on, or says how they differ.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::{Exit, block_on, nats, output};
use crate::bus::Difference;
use crate::bus::topology::Action;
use crate::bus::{Severity, Topology};
use crate::config::Config;
use crate::telemetry::Chain;
use crate::wire::subject::Subjects;

#[derive(Debug, Args)]
#[command(after_help = "\
PROVISION says what may be done: create (make what is missing), adopt (also edit what differs), verify or none (only
compare). What is kept in memory cannot be edited: with adopt the daemon drains it and makes it anew in files.
Exit 0: everything is as declared. Exit 78: something differs. Exit 69: NATS cannot be reached.")]
pub(super) struct Arguments {
    /// Change nothing: print what would be done and what differs, - for what is there and + for what is declared.
    #[arg(long)]
    dry_run: bool,
    /// Connect to nothing: print what is declared, as JetStream's API has it.
    #[arg(long, conflicts_with = "dry_run")]
    print: bool,
    /// Seconds to wait for NATS.
    #[arg(long, default_value_t = 5)]
    timeout: u64,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match nats::settings("provision") {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let subjects = Subjects::new(config.prefix.clone());
    let topology = Topology::new(&config.objects, &subjects, &config.market_data.captured);
    if arguments.print {
        return output::answer(format_args!("{:#}\n", topology.to_json()));
    }
    block_on(provision(config, topology, arguments))
}

async fn provision(config: Config, topology: Topology, arguments: &Arguments) -> Exit {
    let complain = |what: &dyn std::fmt::Display| output::complain(format_args!("nalpaca provision: {what}"));
    let patience = Duration::from_secs(arguments.timeout.max(1));
    let connection = match nats::connect("provision", &config, patience).await {
        Ok(connection) => connection,
        Err(exit) => return exit,
    };
    let mode = config.provision;
    let done = if arguments.dry_run {
        topology.plan(&connection, mode).await
    } else {
        topology.provision(&connection, mode).await
    };
    let looked = async { Ok((done?, topology.compare(&connection, mode).await?)) };
    let looked: Result<_, crate::bus::topology::TopologyError> = looked.await;
    let (done, differences) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            complain(&Chain(&error));
            return Exit::Unavailable;
        }
    };
    let text = report(&done, &differences, arguments.dry_run);
    match (output::answer(text), differences.is_empty()) {
        (Exit::Ok, true) => Exit::Ok,
        (Exit::Ok, false) => Exit::Config,
        (failed, _) => failed,
    }
}

/// One line for each object, and below it what differs.
fn report(done: &[(String, Action)], differences: &[Difference], dry_run: bool) -> String {
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| {
        writeln!(text, "{what}").expect("a String takes every text");
    };
    for (object, action) in done {
        let differs: Vec<_> = differences
            .iter()
            .filter(|difference| difference.object == *object)
            .collect();
        let verdict = if differs.is_empty() {
            "as declared"
        } else {
            "DIFFERS"
        };
        line(format_args!(
            "{object:<48} {:<16} {verdict}",
            word(*action, dry_run)
        ));
        for difference in differs {
            let cost = match difference.severity {
                Severity::Critical => "no orders are created while it is so",
                Severity::Notice => "notice",
            };
            let Difference {
                field,
                declared,
                live,
                ..
            } = difference;
            if dry_run {
                line(format_args!("    - {field}: {live}"));
                line(format_args!("    + {field}: {declared}    ({cost})"));
            } else {
                line(format_args!(
                    "    {field} is {live}, declared {declared} ({cost})"
                ));
            }
        }
    }
    text
}

const fn word(action: Action, dry_run: bool) -> &'static str {
    match (action, dry_run) {
        (Action::Kept, _) => "kept",
        (Action::Created, false) => "created",
        (Action::Created, true) => "would create",
        (Action::Updated, false) => "updated",
        (Action::Updated, true) => "would update",
        (Action::MadeAnew, false) => "made anew",
        (Action::MadeAnew, true) => "would make anew",
    }
}
