//! The second reading of dumps: bodies, at the places where their headers were found.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::bitcoin::BlockEnd;
use crate::error::{Error, Place};
use crate::ledger::RecordHead;
use crate::primitives::Header;
use crate::verdict::Position;

use super::block_head::{BLOCK_LEN_MAX, BlockHead};
use super::files::OpenFile;
use super::obfuscation::Key;
use super::{FileTable, Kind};

/// What is read ahead: blocks mostly follow each other.
const READ_AHEAD: usize = 256 << 10;

/// Where a file can be read again.
#[derive(Debug)]
enum Source {
    /// It could not be read the first time, or holds no bodies.
    Unread,
    /// Where it was; opened when need be, as there may be more dumps than a process may open.
    /// Its bytes are XORed with the key.
    Path { path: PathBuf, key: Key },
    /// A copy of all that follows the head of the file, as it was read the first time.
    Spool { file: File, head_len: u64 },
}

/// Where everything can be read again.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Each file, by its number in the table.
    files: Vec<Source>,
    /// Blocks that do not end where their records say, in order.
    misfits: Vec<Position>,
}

impl Sources {
    /// Notes how the file that was opened last can be read again, and gives where to copy it if it must
    /// be copied for that.
    ///
    /// # Errors
    /// If there is no room for a copy.
    pub(super) fn note(
        &mut self,
        table: &FileTable,
        file: &OpenFile,
    ) -> Result<Option<File>, Error> {
        let entry = table.entries.last().expect("a file is open");
        // Files that could not be opened have entries, but no bodies.
        self.files.resize_with(table.entries.len() - 1, || Source::Unread);
        if file.plain.is_some() {
            self.files.push(Source::Path { path: entry.path.clone(), key: file.key });
            return Ok(None);
        }
        let spool = tempfile::tempfile().map_err(Error::Spool)?;
        let twin = spool.try_clone().map_err(Error::Spool)?;
        self.files.push(Source::Spool { file: spool, head_len: 0 });
        Ok(Some(twin))
    }

    /// Says where in the file that was opened last its copy begins.
    pub(super) fn copy_begins_at(&mut self, offset: u64) {
        if let Some(Source::Spool { head_len, .. }) = self.files.last_mut() {
            *head_len = offset;
        }
    }

    /// Notes the next blocks that do not end where their records say.
    pub(super) fn note_misfits(&mut self, misfits: &mut Vec<Position>) {
        self.misfits.append(misfits);
    }

    /// The bodies in these files.
    pub(super) fn bodies(mut self, table: FileTable) -> Bodies {
        self.files.resize_with(table.entries.len(), || Source::Unread);
        Bodies { table, sources: self, spare: Spare::default() }
    }
}

/// The bodies of all blocks that were found, on disk.
#[derive(Debug)]
pub struct Bodies {
    table: FileTable,
    sources: Sources,
    spare: Spare,
}

impl Bodies {
    /// A reader with a buffer of its own.
    #[must_use]
    pub const fn reader(&self) -> BodyReader<'_> {
        BodyReader { bodies: self, open: None, buffer: Vec::new(), buffer_at: 0 }
    }

    /// Takes back the memory of a body that nobody needs any more.
    pub fn give_back(&self, body: Vec<u8>) {
        self.spare.put(body);
    }
}

/// Memory of large bodies for those that are read next: what goes back to the operating system comes from
/// there as pages of zeros, one fault for each.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// The least bytes that are worth it.
    const LEN_MIN: usize = 64 << 10;

    /// The most bytes that are kept.
    const BYTES_MAX: usize = 16 << 20;

    fn put(&self, body: Vec<u8>) {
        if body.capacity() < Self::LEN_MIN {
            return;
        }
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = spare.iter().map(Vec::capacity).sum();
        if kept + body.capacity() <= Self::BYTES_MAX {
            spare.push(body);
        }
    }

    /// `len` bytes, whatever they are.
    fn take(&self, len: usize) -> Vec<u8> {
        if len < Self::LEN_MIN {
            return vec![0; len];
        }
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that is too small would be copied for nothing; the next body may be somewhat larger.
        let spare = spare.filter(|bytes| bytes.capacity() >= len);
        let mut bytes = spare.unwrap_or_else(|| Vec::with_capacity(len + len / 4));
        bytes.resize(len, 0);
        bytes
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
    File { file: File, key: Key },
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
        let fills_record = self.bodies.sources.misfits.binary_search(&position).is_err();
        self.read_at(number, offset, fills_record).map_err(|source| Error::Unreadable {
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

    fn read_at(&mut self, number: usize, offset: u64, fills_record: bool) -> io::Result<Vec<u8>> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            self.buffer.clear();
            self.open = Some((number, open(&self.bodies.sources.files[number])?));
        }
        match self.bodies.table.entries()[number].kind {
            Kind::Ledger => self.read_ledger_record(offset),
            Kind::Blk => self.read_block_record(offset, fills_record),
            Kind::Block => self.read_up_to_block_end(offset, BLOCK_LEN_MAX, false),
            Kind::Headers | Kind::Hex | Kind::Other => Err(changed()),
        }
    }

    fn read_ledger_record(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        let head = self.head::<{ RecordHead::LEN }>(offset)?;
        let head = RecordHead::parse(&head).ok_or_else(changed)?;
        let block = self.read_whole(offset, head.len as usize)?;
        if head.holds(&block) { Ok(block) } else { Err(changed()) }
    }

    fn read_block_record(&mut self, offset: u64, fills_record: bool) -> io::Result<Vec<u8>> {
        let head = self.head::<{ BlockHead::LEN }>(offset)?;
        let head = BlockHead::plausible(&head).ok_or_else(changed)?;
        if fills_record {
            return self.read_whole(offset, head.len);
        }
        self.read_up_to_block_end(offset, head.len, true)
    }

    /// A block of at most `len` bytes. It ends where it says itself; what does not parse has all of them,
    /// and if `is_claimed`, there must be as many.
    fn read_up_to_block_end(
        &mut self,
        offset: u64,
        len: usize,
        is_claimed: bool,
    ) -> io::Result<Vec<u8>> {
        // A length may lie: the few bytes of most blocks are enough to tell.
        let mut end = BlockEnd::default();
        let ahead = self.up_to(offset, len.min(READ_AHEAD))?;
        if let Ok(end) = end.find(ahead) {
            return Ok(ahead[..end].to_vec());
        }
        let mut block = self.bodies.spare.take(len);
        let read = self.read_behind(offset, &mut block)?;
        block.truncate(read);
        match end.find(&block) {
            Ok(end) => block.truncate(end),
            Err(_) if read < Header::LEN || is_claimed && read < len => return Err(changed()),
            Err(_) => {}
        }
        Ok(block)
    }

    /// The bytes right before a block.
    fn head<const N: usize>(&mut self, offset: u64) -> io::Result<[u8; N]> {
        let start = offset.checked_sub(N as u64).ok_or_else(changed)?;
        self.up_to(start, N)?.try_into().map_err(|_| changed())
    }

    /// Exactly `len` bytes of the open file from `start` on.
    fn read_whole(&mut self, start: u64, len: usize) -> io::Result<Vec<u8>> {
        if len <= READ_AHEAD {
            let bytes = self.up_to(start, len)?;
            return if bytes.len() == len { Ok(bytes.to_vec()) } else { Err(changed()) };
        }
        let mut bytes = self.bodies.spare.take(len);
        let read = self.read_behind(start, &mut bytes)?;
        if read == len { Ok(bytes) } else { Err(changed()) }
    }

    /// Fills `bytes` from `start` on as far as the open file goes. What was read ahead is the beginning, and
    /// the rest does not go through the buffer.
    fn read_behind(&self, start: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let ahead = start.checked_sub(self.buffer_at).and_then(|at| usize::try_from(at).ok());
        let ahead = ahead.and_then(|at| self.buffer.get(at..)).unwrap_or_default();
        let (known, rest) = bytes.split_at_mut(ahead.len().min(bytes.len()));
        known.copy_from_slice(&ahead[..known.len()]);
        Ok(known.len() + self.read_range(start + known.len() as u64, rest)?)
    }

    /// Up to `len` bytes of the open file from `start` on, at most [`READ_AHEAD`]; fewer at its end alone.
    fn up_to(&mut self, start: u64, len: usize) -> io::Result<&[u8]> {
        let buffered = start.checked_sub(self.buffer_at).and_then(|at| usize::try_from(at).ok());
        let buffered = buffered.filter(|at| at.saturating_add(len) <= self.buffer.len());
        let at = match buffered {
            Some(at) => at,
            None => {
                self.fill(start)?;
                0
            }
        };
        let end = self.buffer.len().min(at + len);
        Ok(&self.buffer[at..end])
    }

    /// Reads ahead from `start` on.
    fn fill(&mut self, start: u64) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_AHEAD, 0);
        let read = self.read_range(start, &mut buffer)?;
        buffer.truncate(read);
        (self.buffer, self.buffer_at) = (buffer, start);
        Ok(())
    }

    /// Fills `bytes` from `start` on as far as the open file goes.
    fn read_range(&self, start: u64, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.open {
            None => Err(changed()),
            Some((_, Opened::File { file, key })) => {
                let read = crate::positioned::read_up_to(file, start, bytes)?;
                key.apply(&mut bytes[..read], start);
                Ok(read)
            }
            Some((_, Opened::Spool { file, head_len })) => {
                crate::positioned::read_up_to(file, start - head_len, bytes)
            }
        }
    }
}

fn open(source: &Source) -> io::Result<Opened<'_>> {
    match source {
        Source::Unread => Err(changed()),
        Source::Path { path, key } => Ok(Opened::File { file: File::open(path)?, key: *key }),
        Source::Spool { file, head_len } => Ok(Opened::Spool { file, head_len: *head_len }),
    }
}

fn changed() -> io::Error {
    io::Error::other("the file changed while it was being validated")
}
