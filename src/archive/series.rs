//! The bars of one symbol, in one folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::held::Held;
use super::ranges::Range;
use super::rows::{Format, RowsError, read, write};
use super::{Archive, replace};
use crate::domain::Symbol;
use crate::domain::history::BarsQuestion;
use crate::domain::market::Bar;

/// What is younger may still change: the free plan hears a quarter of an hour late, and late trades correct a bar.
const UNSETTLED: SignedDuration = SignedDuration::from_mins(20);
/// Bars of a day and longer are in one file.
const WHOLE: &str = "all";

/// The folder, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Somebody else writes.
    #[error("another process writes to {}; wait for it, or name another folder", folder.display())]
    Taken {
        /// Where.
        folder: PathBuf,
    },
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: RowsError,
    },
}

impl ArchiveError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::rows(path, error.into())
    }

    pub(super) fn rows(path: &Path, source: RowsError) -> Self {
        let path = path.to_owned();
        Self::File { path, source }
    }
}

/// The bars of one symbol.
#[derive(Debug)]
pub struct Series<'a> {
    /// Held as long as somebody writes.
    _archive: &'a Archive,
    folder: PathBuf,
    format: Format,
    intraday: bool,
    /// The longest a bar may go on.
    unsettled: SignedDuration,
    held: Held,
}

/// One file: its name, and what it is for.
struct Part {
    name: String,
    range: Range,
}

impl<'a> Series<'a> {
    /// Opens the series of a symbol, and looks whether its files are those that were noted.
    pub fn open(
        archive: &'a Archive,
        question: &BarsQuestion,
        symbol: &Symbol,
        format: Format,
    ) -> Result<Self, ArchiveError> {
        let mut kind = question.timeframe().to_string();
        if !question.adjustment().is_raw() {
            kind = format!("{kind}-{}", question.adjustment().as_str().replace(',', "-"));
        }
        if !question.feed().is_empty() {
            kind = format!("{kind}-{}", question.feed());
        }
        let folder = archive
            .folder()
            .join(question.class().as_str())
            .join(kind)
            .join(file_name(symbol.as_str()));
        fs::create_dir_all(&folder).map_err(|error| ArchiveError::io(&folder, error))?;
        let mut series = Self {
            _archive: archive,
            held: Held::default(),
            format,
            intraday: question.timeframe().is_intraday(),
            unsettled: UNSETTLED.max(question.timeframe().longest()),
            folder,
        };
        series.held = Held::read(&series.note())?;
        series.distrust();
        Ok(series)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What of a stretch is not held.
    pub fn missing(&self, range: Range) -> Vec<Range> {
        self.held.ranges.missing(range)
    }

    /// The oldest bar of the series.
    pub fn oldest(&self) -> Result<Option<Bar<'static>>, ArchiveError> {
        match self.held.files.keys().next() {
            Some(name) => Ok(self.rows(name)?.into_iter().next()),
            None => Ok(None),
        }
    }

    /// Takes away everything that is held: beside other prices it would be wrong.
    pub fn forget(&mut self) -> Result<(), ArchiveError> {
        let files = std::mem::take(&mut self.held).files;
        // First the note: a file that nobody knows of is harmless.
        self.held.write(&self.note())?;
        for name in files.keys() {
            remove(&self.folder.join(name))?;
        }
        Ok(())
    }

    /// Writes all the bars there are of a stretch, oldest first, in the place of those that were there, and notes what of it does
    /// not change any more. `now` is when they were fetched.
    pub fn store(&mut self, range: Range, bars: &[Bar<'_>], now: Timestamp) -> Result<(), ArchiveError> {
        let mut from = range.from;
        let mut rest = bars;
        while from < range.until {
            let part = self.part(from);
            let stretch = part.range.and(range);
            let here = rest.partition_point(|bar| bar.at < stretch.until);
            self.replace(&part, stretch, &rest[..here])?;
            rest = &rest[here..];
            from = stretch.until;
        }
        let settled = now.saturating_sub(self.unsettled).unwrap_or(Timestamp::MIN);
        self.held.ranges.remove(range);
        self.held.ranges.add(Range {
            from: range.from,
            until: range.until.min(settled),
        });
        self.held.write(&self.note())
    }

    fn replace(&mut self, part: &Part, stretch: Range, bars: &[Bar<'_>]) -> Result<(), ArchiveError> {
        let mut rows: Vec<Bar<'_>> = Vec::new();
        if self.held.files.contains_key(&part.name) {
            rows.extend(self.rows(&part.name)?);
            rows.retain(|bar| !stretch.contains(bar.at));
        }
        rows.extend(bars.iter().filter(|bar| stretch.contains(bar.at)).cloned());
        rows.sort_by_key(|bar| bar.at);
        let path = self.folder.join(&part.name);
        if rows.is_empty() {
            self.held.files.remove(&part.name);
            return remove(&path);
        }
        let bytes = replace(&path, |file| write(self.format, &rows, file))?;
        self.held.files.insert(part.name.clone(), bytes);
        Ok(())
    }

    fn rows(&self, name: &str) -> Result<Vec<Bar<'static>>, ArchiveError> {
        let path = self.folder.join(name);
        let content = fs::read(&path).map_err(|error| ArchiveError::io(&path, error))?;
        read(self.format, content).map_err(|error| ArchiveError::rows(&path, error))
    }

    /// Takes out what is not as it was noted.
    fn distrust(&mut self) {
        let is_other = |(name, bytes): (&String, &u64)| {
            let path = self.folder.join(name);
            let size = fs::metadata(path).map(|metadata| metadata.len()).ok();
            (size != Some(*bytes)).then(|| name.clone())
        };
        let others: Vec<String> = self.held.files.iter().filter_map(is_other).collect();
        for name in others {
            self.held.files.remove(&name);
            if let Some(range) = self.range_of(&name) {
                self.held.ranges.remove(range);
            }
        }
    }

    fn note(&self) -> PathBuf {
        self.folder
            .join(format!("ranges.{}.json", self.format.extension()))
    }

    /// The file a moment belongs to.
    fn part(&self, at: Timestamp) -> Part {
        let extension = self.format.extension();
        let month = at.to_zoned(TimeZone::UTC).date().first_of_month();
        let next = month.checked_add(1.month());
        let begins = |day: jiff::civil::Date| day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
        match (begins(month), next.and_then(begins)) {
            (Ok(from), Ok(until)) if self.intraday => Part {
                name: format!("{}.{extension}", month.strftime("%Y-%m")),
                range: Range { from, until },
            },
            _ => Part {
                name: format!("{WHOLE}.{extension}"),
                range: Range {
                    from: Timestamp::MIN,
                    until: Timestamp::MAX,
                },
            },
        }
    }

    /// What a file is for, by its name.
    fn range_of(&self, name: &str) -> Option<Range> {
        let stem = name.split('.').next()?;
        let at = if stem == WHOLE {
            Timestamp::default()
        } else {
            let (year, month) = stem.split_once('-')?;
            let (year, month): (i16, i8) = (year.parse().ok()?, month.parse().ok()?);
            if !(1..=12).contains(&month) || !(1..=9999).contains(&year) {
                return None;
            }
            date(year, month, 2).to_zoned(TimeZone::UTC).ok()?.timestamp()
        };
        Some(self.part(at).range)
    }
}

fn remove(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArchiveError::io(path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A symbol as the name of a folder: what is no letter, digit, `-` or `_` is `=HH`, as in subjects, and so is the slash.
fn file_name(symbol: &str) -> String {
    let mut name = String::new();
    for byte in symbol.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("={byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests;
