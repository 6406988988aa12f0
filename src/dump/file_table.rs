//! The files of a dump, what was found in each, and which file a position belongs to.

use std::path::PathBuf;

use crate::error::Place;
use crate::verdict::Position;

use super::Kind;

/// What zeros in a block file are: room that a node reserved. They hide nothing.
/// (Bitcoin Core: `FlatFileSeq::Allocate`.)
pub const PREALLOCATED: &str = "zeros, as preallocated";

/// A range of bytes that holds no block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its first byte in the decompressed file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub why: String,
}

impl Skipped {
    /// Whether these are zeros that a node reserved, and so no fault of the file.
    #[must_use]
    pub fn is_preallocated(&self) -> bool {
        self.why == PREALLOCATED
    }
}

/// A record that the end of the file cuts short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its first byte in the decompressed file.
    pub offset: u64,
    /// How many bytes of it there are.
    pub bytes: u64,
}

/// What was found in a file.
#[derive(Clone, Debug)]
pub struct FileEntry {
    /// The file as the user named it; `-` is standard input.
    pub path: PathBuf,
    /// What it holds.
    pub kind: Kind,
    /// Its decompressed length, as far as it was read.
    pub bytes: u64,
    /// The blocks in it.
    pub blocks: u64,
    /// The first ranges that hold no block, no more than [`FileEntry::SKIPPED_MAX`].
    pub skipped: Vec<Skipped>,
    /// Bytes in further such ranges.
    pub skipped_more_bytes: u64,
    /// A record that the end of the file cuts short.
    pub torn: Option<Torn>,
    /// Whether it could not be read or recognised, or not to its end; why is in the last skipped range.
    pub is_unread: bool,
    /// Bytes in all skipped ranges but those that a node reserved.
    faulty_bytes: u64,
    /// Where the file begins in the whole input.
    pub(super) start: Position,
}

impl FileEntry {
    /// How many skipped ranges of one file are listed.
    pub const SKIPPED_MAX: usize = 1000;

    pub(super) const fn new(path: PathBuf, kind: Kind, start: Position) -> Self {
        Self {
            path,
            kind,
            bytes: 0,
            blocks: 0,
            skipped: Vec::new(),
            skipped_more_bytes: 0,
            torn: None,
            is_unread: false,
            faulty_bytes: 0,
            start,
        }
    }

    /// The bytes of the input that belong to this file; none to one that is passed over.
    pub(super) const fn length_in_input(&self) -> u64 {
        match self.kind {
            Kind::Other => 0,
            _ => self.bytes,
        }
    }

    /// Notes a range that holds no block; neighbours of one kind become one range.
    pub(super) fn skip(&mut self, offset: u64, bytes: u64, why: &str) {
        if why != PREALLOCATED {
            self.faulty_bytes += bytes;
        }
        if let Some(last) = self.skipped.last_mut()
            && last.offset + last.bytes == offset
            && last.why == why
        {
            last.bytes += bytes;
        } else if self.skipped.len() < Self::SKIPPED_MAX {
            self.skipped.push(Skipped { offset, bytes, why: why.into() });
        } else {
            self.skipped_more_bytes += bytes;
        }
    }

    /// Notes why the rest of the file cannot be read, which is so long as far as that is known.
    pub(super) fn leave_unread(&mut self, bytes: u64, why: &str) {
        self.is_unread = true;
        self.skip(self.bytes, bytes, why);
        self.bytes += bytes;
    }

    /// Whether every byte of the file was accounted for: it belongs to a block, or to the zeros that a
    /// node reserves in a block file. A file that a directory merely contains is no part of the dump.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_accounted_for = self.faulty_bytes == 0 && self.torn.is_none();
        !self.is_unread && (self.kind == Kind::Other || is_accounted_for)
    }
}

/// The files of a dump in the order of the input.
#[derive(Clone, Debug, Default)]
pub struct FileTable {
    pub(super) entries: Vec<FileEntry>,
}

impl FileTable {
    /// The files.
    #[must_use]
    pub fn entries(&self) -> &[FileEntry] {
        &self.entries
    }

    /// The file and the offset of a position in the whole input.
    #[must_use]
    pub fn place(&self, position: Position) -> Option<Place> {
        let (index, offset) = self.find(position)?;
        Some(Place { path: self.entries[index].path.clone(), offset })
    }

    /// The number of the file, counted from zero, and the offset of a position in the whole input.
    pub(super) fn find(&self, position: Position) -> Option<(usize, u64)> {
        let after = self.entries.partition_point(|entry| entry.start <= position);
        let index = after.checked_sub(1)?;
        Some((index, position.0 - self.entries[index].start.0))
    }
}
