//! The second reading of a ledger's dumps: bodies, at the places where their headers were found.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::error::{Error, Place};
use crate::ledger::RecordHead;
use crate::verdict::Position;

use super::FileTable;

/// What is read ahead: blocks mostly follow each other.
const READ_AHEAD: usize = 256 << 10;

/// Where a file can be read again.
#[derive(Debug)]
pub(super) enum Source {
    /// It could not be read the first time.
    Unread,
    /// Where it was; opened when need be, as there may be more dumps than a process may open.
    Path(PathBuf),
    /// A copy of all that follows the head.
    Spool { file: File, head_len: u64 },
}

/// The bodies of all blocks that were found, on disk.
#[derive(Debug)]
pub struct Bodies {
    table: FileTable,
    sources: Vec<Source>,
}

impl Bodies {
    pub(super) const fn new(table: FileTable, sources: Vec<Source>) -> Self {
        Self { table, sources }
    }

    /// A reader with a buffer of its own.
    #[must_use]
    pub const fn reader(&self) -> BodyReader<'_> {
        BodyReader { bodies: self, open: None, buffer: Vec::new(), buffer_at: 0 }
    }
}

/// Reads bodies, quickest in the order in which they stand.
#[derive(Debug)]
pub struct BodyReader<'a> {
    bodies: &'a Bodies,
    /// The file that is open, by its number.
    open: Option<(usize, Opened<'a>)>,
    buffer: Vec<u8>,
    /// The offset of the buffer in the open file.
    buffer_at: u64,
}

#[derive(Debug)]
enum Opened<'a> {
    File(File),
    Spool { file: &'a File, head_len: u64 },
}

impl BodyReader<'_> {
    /// The bytes of the block at `position`.
    ///
    /// # Errors
    /// If the file cannot be read, or is not what it was.
    pub fn read(&mut self, position: Position) -> Result<Vec<u8>, Error> {
        let (number, offset) = self.bodies.table.find(position).expect("a place that was found");
        let path = &self.bodies.table.entries()[number].path;
        self.read_at(number, offset).map_err(|source| Error::Unreadable {
            place: Place { path: path.clone(), offset },
            source,
        })
    }

    /// What to say if the block at `position` is not the one that was there before.
    #[must_use]
    pub fn changed(&self, position: Position) -> Error {
        let place = self.bodies.table.place(position).expect("a place that was found");
        Error::Unreadable { place, source: changed() }
    }

    fn read_at(&mut self, number: usize, offset: u64) -> io::Result<Vec<u8>> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.buffer.clear();
            self.open = Some((number, open(&self.bodies.sources[number])?));
        }
        let start = offset - RecordHead::LEN as u64;
        let head = RecordHead::parse(self.bytes(start, RecordHead::LEN)?).ok_or_else(changed)?;
        let len = head.len as usize;
        let block = if len <= READ_AHEAD {
            self.bytes(offset, len)?.to_vec()
        } else {
            // Not twice in memory.
            let mut block = vec![0; len];
            let read = self.read_range(offset, &mut block)?;
            if read < len {
                return Err(changed());
            }
            block
        };
        if head.holds(&block) { Ok(block) } else { Err(changed()) }
    }

    /// `len` bytes of the open file from `start` on.
    fn bytes(&mut self, start: u64, len: usize) -> io::Result<&[u8]> {
        let buffered = start.checked_sub(self.buffer_at).and_then(|at| usize::try_from(at).ok());
        let buffered = buffered.filter(|at| at.saturating_add(len) <= self.buffer.len());
        let at = match buffered {
            Some(at) => at,
            None => {
                self.fill(start, len)?;
                0
            }
        };
        Ok(&self.buffer[at..at + len])
    }

    /// Reads at least `len` bytes from `start` on.
    fn fill(&mut self, start: u64, len: usize) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(len.max(READ_AHEAD), 0);
        let read = self.read_range(start, &mut buffer)?;
        buffer.truncate(read);
        (self.buffer, self.buffer_at) = (buffer, start);
        if read < len { Err(changed()) } else { Ok(()) }
    }

    /// Fills `bytes` from `start` on as far as the open file goes.
    fn read_range(&self, start: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let (file, start) = match &self.open {
            None => return Err(changed()),
            Some((_, Opened::File(file))) => (file, start),
            Some((_, Opened::Spool { file, head_len })) => (*file, start - head_len),
        };
        crate::positioned::read_up_to(file, start, bytes)
    }
}

fn open(source: &Source) -> io::Result<Opened<'_>> {
    match source {
        Source::Unread => Err(changed()),
        Source::Path(path) => File::open(path).map(Opened::File),
        Source::Spool { file, head_len } => Ok(Opened::Spool { file, head_len: *head_len }),
    }
}

fn changed() -> io::Error {
    io::Error::other("the file changed while it was being validated")
}
