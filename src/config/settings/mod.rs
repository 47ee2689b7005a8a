//! The one table of settings: every variable the daemon knows, with its default and what it is for.
//!
//! Parsing, `nalpaca config env`, `nalpaca check-config` and the template of the environment file all read this
//! table, so none of them can list a variable the others do not know. A default is text and goes through the
//! same parser as a value from outside.

mod table;

use std::time::Duration;

pub use table::SECTIONS;

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// The value when none is given; empty is none.
    pub default: &'static str,
    /// What it is for, in one sentence.
    pub help: &'static str,
    /// Other names for the same thing.
    pub aliases: &'static [&'static str],
    /// Other names that are read, with a warning.
    pub outdated_aliases: &'static [&'static str],
    /// The value is never shown.
    pub secret: bool,
    /// What this version does with it.
    pub status: Status,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text without control characters.
    Text,
    /// One or more subject tokens, separated by dots.
    SubjectPrefix,
    /// The name of a stream, a consumer or a bucket.
    ObjectName,
    /// Texts separated by commas.
    List,
    /// Go's booleans.
    Switch,
    /// Go's durations, within bounds.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// A whole number, within bounds.
    Count {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// An address to listen on.
    IpAddress,
    /// A file's path.
    Path,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The word for people.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::SubjectPrefix => "subject prefix".to_owned(),
            Self::ObjectName => "name".to_owned(),
            Self::List => "list".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Duration { .. } => "duration".to_owned(),
            Self::Count { min, max } => format!("number, {min} to {max}"),
            Self::IpAddress => "IP address".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Choice(words) => words.join(", "),
        }
    }
}

/// What this version does with a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has an effect.
    Used,
    /// It is checked, but what it asks for comes with a later version; the text says what that is.
    Later(&'static str),
    /// It is accepted for the sake of old environment files and means nothing here; the text says why.
    Ignored(&'static str),
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The settings, in the order people read them.
    pub settings: &'static [Setting],
}

impl Setting {
    const fn new(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind,
            default,
            help,
            aliases: &[],
            outdated_aliases: &[],
            secret: false,
            status: Status::Used,
        }
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn outdated_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.outdated_aliases = aliases;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn later(mut self, what: &'static str) -> Self {
        self.status = Status::Later(what);
        self
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.status = Status::Ignored(why);
        self
    }
}

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}
