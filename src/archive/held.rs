//! What is noted beside the files: which stretches they hold, and how large they were when that was noted.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ranges::{Range, Ranges};
use super::series::ArchiveError;

/// The form of the note. Another one is not read.
const VERSION: u32 = 1;

/// The note, as it is kept.
#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    ranges: Vec<(Timestamp, Timestamp)>,
    files: BTreeMap<String, u64>,
}

/// What is held, and the size of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) ranges: Ranges,
    pub(super) files: BTreeMap<String, u64>,
}

impl Held {
    /// Reads a note. One that cannot be read says nothing, so everything is fetched again.
    pub(super) fn read(path: &Path) -> Result<Self, ArchiveError> {
        let content = super::read_if_there(path).map_err(|error| ArchiveError::io(path, error))?;
        let note = content.and_then(|content| serde_json::from_slice::<Note>(&content).ok());
        let Some(note) = note.filter(|note| note.version == VERSION) else {
            return Ok(Self::default());
        };
        let mut ranges = Ranges::default();
        for (from, until) in note.ranges {
            ranges.add(Range { from, until });
        }
        Ok(Self {
            ranges,
            files: note.files,
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), ArchiveError> {
        let note = Note {
            version: VERSION,
            ranges: self
                .ranges
                .iter()
                .map(|range| (range.from, range.until))
                .collect(),
            files: self.files.clone(),
        };
        super::replace(path, |file| Ok(serde_json::to_writer_pretty(file, &note)?))?;
        Ok(())
    }
}
