//! Where raw text comes from, and which of several texts is the value of a setting.
//!
//! Order: the variable (or a mounted file named by `NAME_FILE`), a context of the nats CLI, the default. An empty
//! variable counts as absent, as compose files and charts leave them behind. Two names of one setting may both be
//! set, but not to different values: whichever we took, someone would be wrong about it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use super::settings::{self, Kind, Setting};
use super::{Problem, context};

/// What the configuration is read from. The process in production, a map in tests.
pub trait Source {
    /// The variable's value, if it is set.
    fn variable(&self, name: &str) -> Option<OsString>;

    /// The names of all variables that are set.
    fn names(&self) -> Vec<String>;

    /// A file's content, of at most [`FILE_LEN_MAX`] bytes.
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut content = String::new();
        let mut bounded = std::fs::File::open(path)?.take(FILE_LEN_MAX + 1);
        bounded.read_to_string(&mut content)?;
        if content.len() as u64 > FILE_LEN_MAX {
            return Err(io::Error::other("file is too large"));
        }
        Ok(content)
    }
}

/// Longest file that is read. Credentials and certificates have a few kilobytes.
pub const FILE_LEN_MAX: u64 = 256 * 1024;

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment;

impl Source for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<String> {
        let lossy = |(name, _): (OsString, OsString)| name.to_string_lossy().into_owned();
        std::env::vars_os().map(lossy).collect()
    }
}

impl Source for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.get(name).map(OsString::from)
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A variable, by the name that was set.
    Variable(String),
    /// A file that a variable names.
    File {
        /// The variable.
        variable: String,
        /// The file.
        path: String,
    },
    /// A context of the nats CLI.
    Context(String),
    /// Nothing was given.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env {name}"),
            Self::File { variable, path } => write!(f, "file {path} ({variable})"),
            Self::Context(name) => write!(f, "context {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The text of one setting. Has no `Debug`: it may be a secret.
pub(super) struct RawValue {
    pub(super) setting: &'static Setting,
    /// Empty when there is neither a value nor a default.
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// The text of every setting, and what was wrong on the way.
pub(super) struct RawValues {
    pub(super) values: Vec<RawValue>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

/// Finds the text of every setting.
pub(super) fn resolve(source: &dyn Source) -> RawValues {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut given: BTreeMap<&'static str, (String, Origin)> = BTreeMap::new();
    for setting in settings::all() {
        let candidates = candidates(source, setting, &mut problems);
        let Some((first_name, text, origin)) = candidates.first() else {
            continue;
        };
        if let Some((other_name, ..)) = candidates.iter().find(|(_, other, _)| other != text) {
            problems.push(Problem::new(
                format!("{first_name}, {other_name}"),
                "have different values for the same thing; keep one of them",
            ));
        }
        for (name, ..) in &candidates {
            let plain = name.strip_suffix("_FILE").unwrap_or(name);
            if setting.outdated_aliases.contains(&plain) {
                warnings.push(format!("{name}: is an old name; write {}", setting.name));
            }
        }
        given.insert(setting.name, (text.clone(), origin.clone()));
    }
    if let Some((name, _)) = given.get("NATS_CONTEXT") {
        let name = name.clone();
        match context::read(source, &name) {
            Ok(context) => context.fill(&mut given, &mut warnings),
            Err(what) => problems.push(Problem::new("NATS_CONTEXT", what)),
        }
    }
    let values = settings::all()
        .map(|setting| {
            let default = || (setting.default.to_owned(), Origin::Default);
            let (text, origin) = given.remove(setting.name).unwrap_or_else(default);
            RawValue {
                setting,
                text,
                origin,
            }
        })
        .collect();
    RawValues {
        values,
        problems,
        warnings,
    }
}

/// Every value that is given for a setting, under whatever name: name, text, origin.
fn candidates(
    source: &dyn Source,
    setting: &'static Setting,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String, Origin)> {
    let names = std::iter::once(&setting.name)
        .chain(setting.aliases)
        .chain(setting.outdated_aliases);
    let mut found = Vec::new();
    for name in names {
        if let Some(text) = variable(source, name, problems) {
            found.push(((*name).to_owned(), text, Origin::Variable((*name).to_owned())));
        }
        let file_name = format!("{name}_FILE");
        let Some(path) = variable(source, &file_name, problems) else {
            continue;
        };
        if setting.kind == Kind::Path {
            // The setting is a path by itself: NATS_CREDS_FILE can only mean the credentials file.
            found.push((file_name.clone(), path, Origin::Variable(file_name)));
            continue;
        }
        match source.read(Path::new(&path)) {
            Ok(content) if content.trim().is_empty() => {
                problems.push(Problem::new(file_name, format!("{path} is empty")));
            }
            Ok(content) => {
                let origin = Origin::File {
                    variable: file_name.clone(),
                    path,
                };
                found.push((file_name, content.trim().to_owned(), origin));
            }
            Err(error) => problems.push(Problem::new(file_name, format!("cannot read {path}: {error}"))),
        }
    }
    found
}

/// A variable's text without blanks around it; `None` when that is nothing.
fn variable(source: &dyn Source, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let Ok(text) = source.variable(name)?.into_string() else {
        problems.push(Problem::new(name, "is not UTF-8 text"));
        return None;
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
