//! `nalpaca check-config`: what the daemon would use, without starting it.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, output};
use crate::config::settings::Status;
use crate::config::{self, Inspection, Origin, ProcessEnvironment};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let inspection = config::inspect(&ProcessEnvironment);
    let written = output::answer(match arguments.output {
        Output::Table => table(&inspection),
        Output::Json => json(&inspection),
    });
    match &inspection.outcome {
        Ok(_) => written,
        Err(errors) => {
            output::complain(format_args!("nalpaca: {errors}"));
            Exit::Config
        }
    }
}

/// What has an effect, and what was given although it has none.
fn table(inspection: &Inspection) -> String {
    let mut text = String::new();
    let shown = inspection
        .effective
        .iter()
        .filter(|effective| effective.setting.status == Status::Used || effective.origin != Origin::Default);
    for effective in shown {
        let value = if effective.shown.is_empty() {
            "-"
        } else {
            &effective.shown
        };
        writeln!(
            text,
            "{:<28} {value:<36} {}",
            effective.setting.name, effective.origin
        )
        .expect("a String takes every text");
    }
    for warning in &inspection.warnings {
        writeln!(text, "warning: {warning}").expect("a String takes every text");
    }
    if let Ok(config) = &inspection.outcome {
        let environment = config.alpaca.environment.as_str();
        writeln!(text, "ok: {environment} trading at {}", config.alpaca.base_url)
            .expect("a String takes every text");
    }
    text
}

fn json(inspection: &Inspection) -> String {
    let settings: Vec<_> = inspection
        .effective
        .iter()
        .map(|effective| {
            json!({
                "name": effective.setting.name,
                "value": effective.shown,
                "source": effective.origin.to_string(),
            })
        })
        .collect();
    let problems: Vec<_> = match &inspection.outcome {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .problems
            .iter()
            .map(|problem| json!({ "name": problem.name, "problem": problem.what }))
            .collect(),
    };
    let answer = json!({
        "ok": inspection.outcome.is_ok(),
        "settings": settings,
        "warnings": inspection.warnings,
        "problems": problems,
    });
    format!("{answer:#}\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CANARY: &str = "canary-7f3a91";

    #[test]
    fn no_secret_is_shown_wherever_it_was_put() {
        let pairs = [
            ("ALPACA_API_KEY", CANARY.to_owned()),
            ("ALPACA_API_SECRET", CANARY.to_owned()),
            ("ALPACA_OAUTH", CANARY.to_owned()),
            ("NATS_PASSWORD", CANARY.to_owned()),
            ("NATS_TOKEN", CANARY.to_owned()),
            ("NATS_SEED", CANARY.to_owned()),
            ("NATS_JWT", CANARY.to_owned()),
            ("NATS_URL", format!("nats://user:{CANARY}@one,{CANARY}@two:4222")),
            (
                "ALPACA_URL",
                format!("https://user:{CANARY}@paper-api.alpaca.markets"),
            ),
        ];
        let map: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value)).into();
        let inspection = config::inspect(&map);
        assert!(inspection.outcome.is_err());
        for text in [table(&inspection), json(&inspection), format!("{inspection:?}")] {
            assert!(!text.contains(CANARY), "{text}");
        }
        assert!(table(&inspection).contains("nats://(secret)@one,(secret)@two:4222"));
    }

    #[test]
    fn the_table_says_where_a_value_comes_from() {
        let map: BTreeMap<String, String> = [
            ("PREFIX", "desk"),
            ("APCA_API_KEY_ID", "PK1"),
            ("API_SECRET", "s"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let text = table(&config::inspect(&map));
        let line_of = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(
            line_of("PREFIX").contains("desk") && line_of("PREFIX").ends_with("env PREFIX"),
            "{text}"
        );
        assert!(
            line_of("ALPACA_API_KEY").ends_with("(secret)                             env APCA_API_KEY_ID"),
            "{text}"
        );
        assert!(line_of("METRICS_PORT").ends_with("default"), "{text}");
        assert!(
            text.contains("warning: API_SECRET: is an old name; write ALPACA_API_SECRET"),
            "{text}"
        );
        assert!(
            text.ends_with("ok: paper trading at https://paper-api.alpaca.markets\n"),
            "{text}"
        );
    }
}
