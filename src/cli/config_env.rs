//! `nalpaca config env`: every variable, as a table, as JSON for programs, or as the template of an environment file.

use std::fmt::{self, Write as _};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Exit, output};
use crate::config::settings::{SECTIONS, Setting, Status};

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
    /// A template for an environment file.
    Env,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut text = String::new();
    match arguments.output {
        Output::Table => table(&mut text).expect("a String takes every text"),
        Output::Json => text = json(),
        Output::Env => env_file(&mut text).expect("a String takes every text"),
    }
    output::answer(text)
}

/// What the status means for who sets the variable.
fn note(setting: &Setting) -> Option<String> {
    match setting.status {
        Status::Used => None,
        Status::Later(what) => Some(format!("No effect yet: {what}.")),
        Status::Ignored(why) => Some(format!("No effect: {why}.")),
    }
}

fn table(text: &mut String) -> fmt::Result {
    for section in SECTIONS {
        writeln!(text, "{}", section.title)?;
        for setting in section.settings {
            let default = if setting.default.is_empty() {
                "-"
            } else {
                setting.default
            };
            write!(text, "  {:<30} {default:<34} {}", setting.name, setting.help)?;
            write!(text, " ({})", setting.kind.describe())?;
            let aliases = [setting.aliases, setting.outdated_aliases].concat();
            if !aliases.is_empty() {
                write!(text, " Also: {}.", aliases.join(", "))?;
            }
            if let Some(note) = note(setting) {
                write!(text, " {note}")?;
            }
            writeln!(text)?;
        }
        writeln!(text)?;
    }
    writeln!(text, "NAME_FILE names a file that holds the value of NAME.")
}

fn json() -> String {
    let entries: Vec<_> = SECTIONS
        .iter()
        .flat_map(|section| section.settings.iter().map(move |setting| (section, setting)))
        .map(|(section, setting)| {
            json!({
                "name": setting.name,
                "section": section.title,
                "type": setting.kind.describe(),
                "default": setting.default,
                "secret": setting.secret,
                "aliases": setting.aliases,
                "outdated_aliases": setting.outdated_aliases,
                "status": match setting.status {
                    Status::Used => "used",
                    Status::Later(_) => "later",
                    Status::Ignored(_) => "ignored",
                },
                "note": note(setting),
                "help": setting.help,
            })
        })
        .collect();
    format!("{:#}\n", json!(entries))
}

/// Comments have lines of their own, as neither `docker --env-file` nor a shell strips them from a value.
fn env_file(text: &mut String) -> fmt::Result {
    writeln!(text, "# Settings of nalpaca. NAME=value is the default;")?;
    writeln!(text, "# \"# NAME=\" has none, or no effect in this version.")?;
    writeln!(text, "# NAME_FILE names a file that holds the value of NAME.")?;
    for section in SECTIONS {
        writeln!(text, "\n## {}", section.title)?;
        for setting in section.settings {
            writeln!(text, "\n# {} ({})", setting.help, setting.kind.describe())?;
            if let Some(note) = note(setting) {
                writeln!(text, "# {note}")?;
            }
            if setting.default.is_empty() || setting.status != Status::Used {
                writeln!(text, "# {}=", setting.name)?;
            } else {
                writeln!(text, "{}={}", setting.name, setting.default)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{self, settings};

    #[test]
    fn the_template_is_an_environment_file_that_changes_nothing() {
        let mut text = String::new();
        env_file(&mut text).unwrap();
        let mut map = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (name, value) = line.split_once('=').unwrap();
            assert!(!value.contains([' ', '#', '"', '\'']), "{line}");
            map.insert(name.to_owned(), value.to_owned());
        }
        map.insert("ALPACA_API_KEY".to_owned(), "PK1".to_owned());
        map.insert("ALPACA_API_SECRET".to_owned(), "secret".to_owned());
        let config = config::load(&map).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
        for setting in settings::all() {
            let mut names = text
                .lines()
                .filter_map(|line| line.trim_start_matches("# ").split_once('='));
            assert!(names.any(|(name, _)| name == setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn every_variable_is_listed() {
        let mut text = String::new();
        table(&mut text).unwrap();
        let listed: serde_json::Value = serde_json::from_str(&json()).unwrap();
        assert_eq!(listed.as_array().map(Vec::len), Some(settings::all().count()));
        for setting in settings::all() {
            assert!(text.contains(&format!("  {} ", setting.name)), "{}", setting.name);
        }
    }
}
