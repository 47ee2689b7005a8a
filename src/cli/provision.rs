//! `nalpaca provision`: makes the NATS objects the daemon lives on, or says how they differ.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::{Exit, block_on, output};
use crate::bus::{Connection, Severity, Topology};
use crate::config::{self, Config, ProcessEnvironment, Provision};
use crate::telemetry::Chain;
use crate::wire::subject::Subjects;

#[derive(Debug, Args)]
#[command(after_help = "\
PROVISION says what may be done: create (make what is missing), adopt (also edit what differs), verify or none (only
compare). Exit 0: everything is as declared. Exit 78: something differs. Exit 69: NATS cannot be reached.")]
pub(super) struct Arguments {
    /// Only compare, whatever PROVISION says.
    #[arg(long)]
    dry_run: bool,
    /// Seconds to wait for NATS.
    #[arg(long, default_value_t = 5)]
    timeout: u64,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match config::load_for_nats(&ProcessEnvironment) {
        Ok(config) => config,
        Err(errors) => {
            output::complain(format_args!("nalpaca provision: {errors}"));
            return Exit::Config;
        }
    };
    block_on(provision(config, arguments))
}

async fn provision(config: Config, arguments: &Arguments) -> Exit {
    let complain = |what: &dyn std::fmt::Display| output::complain(format_args!("nalpaca provision: {what}"));
    let connection = match Connection::start(&config.nats).await {
        Ok(connection) => connection,
        Err(error) => {
            complain(&Chain(&error));
            return Exit::Unavailable;
        }
    };
    let patience = Duration::from_secs(arguments.timeout.max(1));
    if tokio::time::timeout(patience, connection.connected())
        .await
        .is_err()
    {
        complain(&format_args!(
            "no NATS at {} within {} s; set NATS_URL",
            config.nats.servers.join(","),
            patience.as_secs()
        ));
        return Exit::Unavailable;
    }
    let topology = Topology::new(&config.objects, &Subjects::new(config.prefix.clone()));
    let mode = if arguments.dry_run {
        Provision::Verify
    } else {
        config.provision
    };
    let done = match topology.provision(&connection, mode).await {
        Ok(done) => done,
        Err(error) => {
            complain(&Chain(&error));
            return Exit::Unavailable;
        }
    };
    let differences = match topology.compare(&connection).await {
        Ok(differences) => differences,
        Err(error) => {
            complain(&Chain(&error));
            return Exit::Unavailable;
        }
    };
    let mut text = String::new();
    for (object, action) in &done {
        let differs: Vec<_> = differences
            .iter()
            .filter(|difference| difference.object == *object)
            .collect();
        let verdict = if differs.is_empty() {
            "as declared"
        } else {
            "DIFFERS"
        };
        writeln!(
            text,
            "{object:<48} {:<8} {verdict}",
            format!("{action:?}").to_lowercase()
        )
        .expect("a String takes every text");
        for difference in differs {
            let cost = match difference.severity {
                Severity::Critical => "no orders are created while it is so",
                Severity::Notice => "notice",
            };
            writeln!(
                text,
                "    {} is {}, declared {} ({cost})",
                difference.field, difference.live, difference.declared
            )
            .expect("a String takes every text");
        }
    }
    match (output::answer(text), differences.is_empty()) {
        (Exit::Ok, true) => Exit::Ok,
        (Exit::Ok, false) => Exit::Config,
        (failed, _) => failed,
    }
}
