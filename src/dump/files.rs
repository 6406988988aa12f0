//! One file after the other, each with its entry in the table of files.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use crate::error::{Error, Place};
use crate::verdict::Position;

use super::obfuscation::Key;
use super::{FileEntry, FileTable, Input, Inputs, Kind, Progress};

/// A file of the input, open for reading.
pub(super) struct OpenFile {
    pub(super) kind: Kind,
    /// The decompressed bytes.
    pub(super) reader: Box<dyn Read + Send>,
    /// The file itself, if it was not compressed, so that it can be read at any place.
    pub(super) plain: Option<File>,
    /// What the bytes of a block file were XORed with.
    pub(super) key: Key,
}

/// The files of the input in order.
pub(super) struct Files {
    inputs: std::vec::IntoIter<Input>,
    pub(super) table: FileTable,
    /// Where the current file begins in the whole input.
    start: u64,
    /// Why the first file that could not be read to its end could not. Each of them says so in its entry.
    pub(super) error: Option<Error>,
    pub(super) progress: Arc<Progress>,
}

impl Files {
    pub(super) fn new(inputs: Inputs) -> Self {
        Self {
            inputs: inputs.inputs.into_iter(),
            table: FileTable::default(),
            start: 0,
            error: None,
            progress: inputs.progress,
        }
    }

    /// Opens the next file that can be opened, and begins its entry; `None` if there is none.
    pub(super) fn open_next(&mut self) -> Option<OpenFile> {
        loop {
            let mut input = self.inputs.next()?;
            self.start += self.table.entries.last().map_or(0, FileEntry::length_in_input);
            let mut entry = FileEntry::new(input.path.clone(), input.kind, Position(self.start));
            if let Some(why) = input.passed_over.take() {
                entry.bytes = std::fs::metadata(&input.path).map_or(0, |metadata| metadata.len());
                entry.skip(0, entry.bytes, &why);
                self.table.entries.push(entry);
                continue;
            }
            let (kind, key) = (input.kind, input.key);
            self.table.entries.push(entry);
            if let Some(failure) = input.failure.take() {
                self.give_up(failure);
                continue;
            }
            match input.into_reader(&self.progress) {
                Ok((reader, plain)) => return Some(OpenFile { kind, reader, plain, key }),
                Err(source) => self.fail(source),
            }
        }
    }

    /// Notes that the current file cannot be read further.
    pub(super) fn fail(&mut self, source: std::io::Error) {
        if let Some(place) = self.here() {
            self.give_up(Error::Unreadable { place, source });
        }
    }

    /// Leaves the rest of the current file alone, and notes why.
    pub(super) fn give_up(&mut self, failure: Error) {
        if let Some(entry) = self.table.entries.last_mut() {
            // How much of a file was decompressed says nothing of how much is left.
            let is_untouched = entry.bytes == 0;
            let metadata = std::fs::metadata(&entry.path).ok().filter(std::fs::Metadata::is_file);
            let bytes = metadata.filter(|_| is_untouched).map_or(0, |metadata| metadata.len());
            entry.leave_unread(bytes, &failure.reason());
        }
        self.error.get_or_insert(failure);
    }

    /// How far the current file was read.
    pub(super) fn here(&self) -> Option<Place> {
        let entry = self.table.entries.last()?;
        Some(Place { path: entry.path.clone(), offset: entry.bytes })
    }
}
