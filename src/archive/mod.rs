//! Bars of the past on disk: files of rows, and beside them which stretches of time they hold, so that nothing is fetched twice.
//!
//! ```text
//!   FOLDER/stocks/1Min/AAPL/2026-01.csv        rows of one month; bars of a day and longer are in one file, all.csv
//!   FOLDER/stocks/1Min/AAPL/ranges.csv.json    what was asked for and is held, and how large each file is
//! ```
//!
//! Invariants:
//!
//! - A file is replaced as a whole, and its stretch is noted after it: whoever is killed in between fetches it again.
//! - What may still change (the bar that is not over, what late trades correct) is written and not noted.
//! - A file that is gone, or has another size than was noted, is not believed: its stretch is fetched again.

mod held;
mod ranges;
mod rows;
mod series;

pub use ranges::Range;
pub use rows::{Format, RowWriter, RowsError};
pub use series::{ArchiveError, Series};

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file that one writer holds.
const LOCK: &str = ".nalpaca.lock";

/// A folder of bars, held by one process at a time.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    _lock: File,
}

impl Archive {
    /// Takes the folder, and makes it where it is missing.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let failed = |error| ArchiveError::io(folder, error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder: folder.to_owned(),
                _lock: lock,
            }),
            Err(std::fs::TryLockError::WouldBlock) => Err(ArchiveError::Taken {
                folder: folder.to_owned(),
            }),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Replaces a file as a whole: whoever reads it has all of the old one, or all of the new one.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> Result<(), RowsError>) -> Result<u64, ArchiveError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = || -> Result<u64, RowsError> {
        let mut file = File::create(&part)?;
        write(&mut file)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        std::fs::rename(&part, path)?;
        Ok(bytes)
    };
    written().map_err(|error| {
        // It is of no use to anybody, and made anew the next time.
        let _ = std::fs::remove_file(&part);
        ArchiveError::rows(path, error)
    })
}

/// A missing file has nothing in it.
fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
