//! The chain file: an append-only history of one chain, in which nothing that was acknowledged is lost,
//! and nothing that was changed goes unnoticed.
//!
//! # Format, version 1
//!
//! Numbers are little-endian. A page has 4,096 bytes.
//!
//! ```text
//! head (whole pages) | slot A (one page) | slot B (one page) | frame | frame | ...
//! ```
//!
//! ## Head
//!
//! | field | bytes |
//! |---|---|
//! | magic | 8; `89 62 6d 63 68 6e 0d 0a` (0x89, `bmchn`, CR LF) |
//! | format version | 4; 1 |
//! | length | 4; of the head, zeros included: a multiple of 4,096, at most 64 MiB |
//! | family | 1; 0 Bitcoin, 1 ledger |
//! | level | 1; 0 `headers`, 1 `blocks`, 2 `full` |
//! | chain id | 32; id of genesis, in the order SHA-256 produces it |
//! | parameters | 4 length, then the family's own encoding |
//! | zeros | up to the checksum |
//! | checksum | 4, the last of the head; CRC-32C of all bytes before it |
//!
//! ## Slot
//!
//! | field | bytes |
//! |---|---|
//! | sequence | 8; the number of the commit. Even ones stand in slot A, odd ones in slot B |
//! | committed length | 8; of the file |
//! | height | 4; of the tip |
//! | tip | 32; block id, in the order SHA-256 produces it |
//! | digest | 32; of all frames, see below |
//! | tree size | 8; height + 1 |
//! | tree root | 32; of the RFC 6962 tree over the block ids of the best branch, genesis first |
//! | zeros | up to the checksum |
//! | checksum | 4, the last of the page; CRC-32C of all bytes before it |
//!
//! ## Frame
//!
//! | field | bytes |
//! |---|---|
//! | type | 1; 1 block, 2 run of headers, 3 take back. Bit 7 set: may be skipped by a reader that does not know it |
//! | length | 4; of the payload |
//! | checksum | 4; CRC-32C of the digest before the frame, then type, length and payload |
//! | payload | as the family has it |
//!
//! A *block* holds one block and a *run of headers* starts with a count (v, see [`crate::wire`]); both follow
//! the tip. *Take back* holds a number (v): so many blocks leave the best branch, the tip first. The file
//! only grows, so every reorganisation stays visible in it.
//!
//! The digest before the first frame is the SHA-256 of the head. Each frame makes it the SHA-256 of the
//! digest before, and the whole frame. So a frame that was left over from another history, or moved,
//! does not fit its place.
//!
//! # Commits
//!
//! A commit appends frames, syncs, writes the *other* slot, and syncs again. Then it is acknowledged, and
//! not before. Several may wait for the disk, which takes them one after the other: the sync that makes the
//! frames of a commit safe may be the one that makes the slot of the commit before safe, and no slot is written
//! while the other one is not. Nor is a *take back* written while a slot is not safe: should that slot be torn, frames
//! behind the older commit are kept, and with them half of a reorganisation. On opening
//! - if both slots hold, bytes behind the committed length of the later one belong to a commit that
//!   never came about: they are dropped;
//! - if one slot does not hold, it may have been the later one. Frames behind the committed length of the
//!   other are kept as far as their checksums hold, and that is reported. They are committed, and the slot is
//!   written anew, before anything is appended;
//! - damage before a committed length is never mended: it is an error that names block and offset;
//! - if neither slot holds, nothing says how long the file must be: an error too.
//!
//! After a sync that failed nobody knows what is on the disk, so the handle refuses all further work.

mod branch;
mod frame;
mod head;
mod id_tree;
mod slot;
mod storage;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::primitives::Hash256;
use crate::wire::{Reader, put_varint};

pub(crate) use branch::BranchFile;
pub use frame::{Frame, FrameType};
pub use head::{CHAIN_FILE_MAGIC, FileHead, FileLevel};
pub use slot::Commit;
pub use storage::{AnyStorage, FileStorage, MemoryStorage, Storage};
use writer::Writer;

/// The length of a slot, and what the head's length is a multiple of.
const PAGE: usize = 4096;

/// What is read at a time.
const STEP: usize = 1 << 20;

/// Frames that are appended before they are written.
const PENDING_BYTES: usize = 1 << 20;

/// How often, and after what pause, a slot is read again that may have been caught half written.
const SLOT_TRIALS: usize = 5;
const SLOT_PAUSE: Duration = Duration::from_millis(10);

/// Why a chain file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainFileError {
    /// The operating system gave up.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process writes the file.
    #[error("another process is writing this chain file")]
    Locked,
    /// The file is none, or of another format.
    #[error("{0}")]
    NotAChainFile(String),
    /// The file is not what was written.
    #[error("damaged at offset {offset}, after the block at height {height}: {what}")]
    Damaged {
        /// The first byte that is not right, as far as can be told.
        offset: u64,
        /// The height of the last sound block before it.
        height: u32,
        /// What is wrong.
        what: String,
    },
    /// An earlier write or sync failed, so that nobody knows what is on the disk.
    #[error("an earlier write failed; open the file again")]
    Poisoned,
}

impl ChainFileError {
    /// What it means that a file cannot be opened for writing.
    #[must_use]
    pub fn of_opening(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Locked,
            _ => Self::Io(error),
        }
    }
}

/// What opening a file found out besides its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The slot that did not hold, if one did not.
    pub bad_slot: Option<char>,
    /// Bytes behind the last commit, which were dropped.
    pub dropped: u64,
    /// Bytes behind the commit that could be read, which were kept because their checksums hold.
    pub kept: u64,
}

/// The tip of the best branch, as a commit states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TipRecord {
    /// The height.
    pub height: u32,
    /// The block id.
    pub id: Hash256,
    /// The root of the tree over the ids of the best branch.
    pub tree_root: Hash256,
}

/// An open chain file.
pub struct ChainFile<S> {
    writer: Writer<S>,
    head: FileHead,
    /// The last commit that has survived, as far as anybody asked.
    commit: Commit,
    /// Those that were begun since, the first first.
    under_way: VecDeque<Commit>,
    /// Where the next frame goes.
    end: u64,
    /// The digest of all frames so far, those that are not committed included.
    digest: Hash256,
    /// Frames that are not written yet.
    pending: Vec<u8>,
    /// Whether frames wait for a commit, or a slot must be written anew.
    is_dirty: bool,
    /// Whether a slot did not hold, and was not written anew since.
    is_unmended: bool,
    /// What it is written anew with before anything is appended.
    mending: Option<TipRecord>,
    /// How often blocks were taken back.
    reorganisations: u64,
    poisoned: bool,
    opening: Opening,
}

impl<S: Storage> ChainFile<S> {
    /// The bytes of a file that holds nothing but genesis.
    #[must_use]
    pub fn empty(head: &FileHead) -> Vec<u8> {
        let head_bytes = head.encode();
        debug_assert_eq!(head.start(), (head_bytes.len() + 2 * PAGE) as u64);
        let mut frontier = crate::primitives::rfc6962::Frontier::default();
        frontier.push(leaf_of(&head.chain_id));
        let commit = |sequence| Commit {
            sequence,
            len: head.start(),
            tip: TipRecord { height: 0, id: head.chain_id, tree_root: frontier.root() },
            digest: first_digest(&head_bytes),
        };
        [head_bytes.clone(), commit(0).encode(), commit(1).encode()].concat()
    }

    /// Opens a file and gives every frame to `visit`, in order, with the storage and its offset.
    ///
    /// # Errors
    /// If it is no such file, if it is damaged, or if `visit` fails.
    pub fn open(
        storage: S,
        mut visit: impl FnMut(&S, &FileHead, u64, &Frame<'_>) -> Result<(), ChainFileError>,
    ) -> Result<Self, ChainFileError> {
        let (head, head_bytes) = FileHead::read(&storage)?;
        let slots = read_slots(&storage, &head);
        let (commit, bad_slot) = match slots {
            [Some(a), Some(b)] if a.sequence > b.sequence => (a, None),
            [Some(_), Some(b)] => (b, None),
            [Some(a), None] => (a, Some('B')),
            [None, Some(b)] => (b, Some('A')),
            [None, None] => {
                let what = "neither of the two commit slots holds".into();
                let offset = head.start() - 2 * PAGE as u64;
                return Err(ChainFileError::Damaged { offset, height: 0, what });
            }
        };
        let len = storage.len()?;
        let mut file = Self {
            writer: Writer::new(storage),
            commit,
            under_way: VecDeque::new(),
            end: head.start(),
            digest: first_digest(&head_bytes),
            head,
            pending: Vec::new(),
            is_dirty: false,
            is_unmended: bad_slot.is_some(),
            mending: None,
            reorganisations: 0,
            poisoned: false,
            opening: Opening { bad_slot, ..Opening::default() },
        };
        if len < commit.len {
            let what = format!("the file ends here, and {} bytes were committed", commit.len);
            let height = file.walk(len, 0, false, &mut |_, _, _, _| Ok(()))?;
            return Err(file.damaged(len, height, what));
        }
        let height = file.walk(commit.len, 0, true, &mut visit)?;
        if height != commit.tip.height {
            let what = format!("the tip is not at height {}, as committed", commit.tip.height);
            return Err(file.damaged(file.end, height, what));
        }
        if file.digest != commit.digest {
            let what = "the frames are not those that were committed".into();
            return Err(file.damaged(file.end, height, what));
        }
        if bad_slot.is_some() {
            // The slot that does not hold may have committed what follows.
            file.walk(len, height, false, &mut visit)?;
            file.opening.kept = file.end - commit.len;
            // The next commit mends the slot, even if there is nothing else to commit.
            file.is_dirty = true;
        }
        file.opening.dropped = len - file.end;
        Ok(file)
    }

    /// Reads frames up to `end`, and says how high the chain is then; before them it is at `height`.
    /// `strict`: all of them must hold.
    fn walk(
        &mut self,
        end: u64,
        mut height: u32,
        strict: bool,
        visit: &mut impl FnMut(&S, &FileHead, u64, &Frame<'_>) -> Result<(), ChainFileError>,
    ) -> Result<u32, ChainFileError> {
        let Writer::Here(storage, _) = &self.writer else {
            unreachable!("a file is read before anything is written")
        };
        let mut window = Window::default();
        while self.end < end {
            let offset = self.end;
            let left = end - offset;
            let (frame, digest) =
                match frame::read(storage, &mut window, offset, left, &self.digest)? {
                    Ok(read) => read,
                    Err(_) if !strict => return Ok(height),
                    Err(what) => return Err(self.damaged(offset, height, what.into())),
                };
            let Some(after) = frame.height_after(height) else {
                if !strict {
                    return Ok(height);
                }
                let what = "a frame that does not fit the height".into();
                return Err(self.damaged(offset, height, what));
            };
            if let FrameType::Unknown(code) = frame.kind
                && !frame.kind.may_be_skipped()
            {
                return Err(ChainFileError::NotAChainFile(format!(
                    "a frame of type {code} at offset {offset}, which a later version has written"
                )));
            }
            visit(storage, &self.head, offset, &frame)?;
            height = after;
            self.reorganisations += u64::from(frame.kind == FrameType::TakeBack);
            self.end += frame.len();
            self.digest = digest;
        }
        Ok(height)
    }

    #[expect(clippy::unused_self, reason = "reads as a property of the file")]
    const fn damaged(&self, offset: u64, height: u32, what: String) -> ChainFileError {
        ChainFileError::Damaged { offset, height, what }
    }

    /// The head.
    #[must_use]
    pub const fn head(&self) -> &FileHead {
        &self.head
    }

    /// The same file, written by a thread of its own from now on: nobody waits for the disk but in
    /// [`ChainFile::commit`], with [`ChainFile::settled`], and where too much waits for the disk.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn write_behind(self) -> io::Result<Self>
    where
        S: 'static,
    {
        Ok(Self { writer: self.writer.behind()?, ..self })
    }

    /// How long the thread of its own, if there is one, has written, and waited for the disk.
    #[must_use]
    pub fn busy_behind(&self) -> Duration {
        self.writer.busy()
    }

    /// Whether all commits that were begun were told of.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The last commit that is known to be safe.
    #[must_use]
    pub const fn commit_record(&self) -> &Commit {
        &self.commit
    }

    /// What opening the file found out.
    #[must_use]
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Says what the tip is that opening has found, which only the family knows, before anything is appended. If a
    /// slot did not hold, it is written anew with that first: beside it a loss of power could leave half of a
    /// reorganisation that is appended next.
    pub fn mend_with(&mut self, tip: TipRecord) {
        if self.is_unmended {
            self.mending = Some(tip);
        }
    }

    /// How often blocks were taken back.
    #[must_use]
    pub const fn reorganisations(&self) -> u64 {
        self.reorganisations
    }

    /// The slot that did not hold when the file was opened, and its offset.
    #[must_use]
    pub fn bad_slot(&self) -> Option<(char, u64)> {
        let place = |slot| slot_offset(&self.head, u64::from(slot == 'B'));
        self.opening.bad_slot.map(|slot| (slot, place(slot)))
    }

    /// Whether there is anything to commit: frames, or a slot that did not hold.
    #[must_use]
    pub const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The bytes of the file, committed or not.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end + self.pending.len() as u64
    }

    /// Whether the file holds genesis alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == self.head.start()
    }

    /// The payload of the frame at `offset`, which was visited or appended before.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn payload(&mut self, offset: u64) -> Result<Vec<u8>, ChainFileError> {
        self.write_pending()?;
        Ok(self.writer.payload(offset)?)
    }

    /// Appends a block. Gives the offset of its frame.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append_block(&mut self, payload: &[u8]) -> Result<u64, ChainFileError> {
        self.append(FrameType::Block, payload)
    }

    /// Appends a run of headers; the payload begins with their count.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append_headers(&mut self, payload: &[u8]) -> Result<u64, ChainFileError> {
        self.append(FrameType::Headers, payload)
    }

    /// Takes blocks back, the tip first.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append_take_back(&mut self, blocks: u32) -> Result<u64, ChainFileError> {
        let mut payload = Vec::new();
        put_varint(&mut payload, blocks.into());
        let offset = self.append(FrameType::TakeBack, &payload)?;
        self.reorganisations += 1;
        Ok(offset)
    }

    fn append(&mut self, kind: FrameType, payload: &[u8]) -> Result<u64, ChainFileError> {
        if self.poisoned {
            return Err(ChainFileError::Poisoned);
        }
        if self.is_unmended {
            let unknown =
                || io::Error::other("a slot does not hold, and nobody said what the tip is");
            self.begin_commit(self.mending.ok_or_else(unknown)?)?;
        }
        if kind == FrameType::TakeBack {
            // Half of a reorganisation must never stand behind a slot that may yet be torn.
            let ordered = self.writer.sync_slot();
            self.or_poison(ordered)?;
        }
        if self.opening.dropped > 0 {
            // What a commit that never came about has left.
            let cut = self.writer.truncate(self.end);
            self.or_poison(cut)?;
            self.opening.dropped = 0;
        }
        let offset = self.end + self.pending.len() as u64;
        let head = frame::put(&mut self.pending, kind, payload, &self.digest);
        self.is_dirty = true;
        let written = match self.pending.len() >= PENDING_BYTES {
            true => self.write_pending(),
            false => Ok(()),
        };
        // Only now, as a thread of its own may write meanwhile.
        self.digest = frame::digest_after(&self.digest, &head, payload);
        written.map(|()| offset)
    }

    fn write_pending(&mut self) -> Result<(), ChainFileError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.poisoned {
            return Err(ChainFileError::Poisoned);
        }
        let len = self.pending.len() as u64;
        let written = self.writer.write(self.end, &mut self.pending);
        self.or_poison(written)?;
        self.end += len;
        Ok(())
    }

    /// Commits all frames: when this returns, they survive whatever happens, and so does what earlier commits
    /// began; nobody is told of those any more.
    ///
    /// # Errors
    /// If they cannot be written. The file is then as it was after the last commit, and this handle
    /// refuses further work.
    pub fn commit(&mut self, tip: TipRecord) -> Result<(), ChainFileError> {
        self.begin_commit(tip)?;
        self.settled(true).map(drop)
    }

    /// Commits all frames, and does not wait for that if the file is written by a thread of its own: see
    /// [`ChainFile::settled`].
    ///
    /// # Errors
    /// As [`ChainFile::commit`], or if that is what happened to an earlier one.
    pub fn begin_commit(&mut self, tip: TipRecord) -> Result<(), ChainFileError> {
        if self.poisoned {
            return Err(ChainFileError::Poisoned);
        }
        self.write_pending()?;
        let sequence = self.under_way.back().unwrap_or(&self.commit).sequence + 1;
        let commit = Commit { sequence, len: self.end, tip, digest: self.digest };
        let begun = self.writer.commit(&self.head, &commit);
        self.or_poison(begun)?;
        self.under_way.push_back(commit);
        self.is_dirty = false;
        self.is_unmended = false;
        Ok(())
    }

    /// The commits that were begun, are safe by now, and were not told of before, the first first. With `wait`
    /// all that were begun are safe when this returns, and so is what was found.
    ///
    /// # Errors
    /// If one of them failed: nobody knows whether it is there, and this handle refuses further work, but for
    /// telling of those before it.
    pub fn settled(&mut self, wait: bool) -> Result<Vec<Commit>, ChainFileError> {
        if wait && self.under_way.is_empty() && !self.poisoned {
            let synced = self.writer.sync_slot();
            self.or_poison(synced)?;
        }
        let settled = self.writer.settled(self.under_way.len(), wait);
        let settled = self.or_poison(settled)?;
        let settled: Vec<_> = self.under_way.drain(..settled).collect();
        if let Some(last) = settled.last() {
            self.commit = *last;
        }
        Ok(settled)
    }

    fn or_poison<T>(&mut self, result: io::Result<T>) -> Result<T, ChainFileError> {
        self.poisoned |= result.is_err();
        Ok(result?)
    }
}

/// The payload of a frame that was visited before.
///
/// # Errors
/// If it cannot be read.
pub fn payload_at(storage: &impl Storage, offset: u64) -> io::Result<Vec<u8>> {
    frame::payload(storage, offset)
}

/// The number that a frame's payload begins with: how many headers it holds, or blocks it takes back.
#[must_use]
pub fn leading_count(frame: &Frame<'_>) -> u32 {
    // Checked when the frame was read.
    leading_number(frame.payload).unwrap_or(0)
}

/// The leaf of a block id in the tree of the best branch.
#[must_use]
pub fn leaf_of(id: &Hash256) -> Hash256 {
    crate::primitives::rfc6962::leaf_hash(id.as_bytes())
}

fn first_digest(head: &[u8]) -> Hash256 {
    Hash256::from_bytes(Sha256::digest(head).into())
}

/// Both slots. While another process writes the file, a page can be read half old and half new: then it
/// is read again.
fn read_slots(storage: &impl Storage, head: &FileHead) -> [Option<Commit>; 2] {
    let read = || [0, 1].map(|slot| read_slot(storage, head, slot));
    let mut slots = read();
    for _ in 0..SLOT_TRIALS {
        if !storage.may_change() || slots.iter().all(Option::is_some) {
            break;
        }
        std::thread::sleep(SLOT_PAUSE);
        slots = read();
    }
    slots
}

const fn slot_offset(head: &FileHead, slot: u64) -> u64 {
    head.start() - (2 - slot) * PAGE as u64
}

fn read_slot(storage: &impl Storage, head: &FileHead, slot: u64) -> Option<Commit> {
    let mut page = vec![0; PAGE];
    let read = storage.read_at(slot_offset(head, slot), &mut page).ok()?;
    Commit::decode(&page[..read])
        .filter(|commit| commit.sequence % 2 == slot && commit.len >= head.start())
}

/// A stretch of a storage that was read ahead.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    at: u64,
}

impl Window {
    /// `len` bytes from `offset` on, fewer only at the end of the storage.
    fn get(&mut self, storage: &impl Storage, offset: u64, len: usize) -> io::Result<&[u8]> {
        let start = offset.checked_sub(self.at).and_then(|start| usize::try_from(start).ok());
        let start = start.filter(|start| start.saturating_add(len) <= self.bytes.len());
        let start = match start {
            Some(start) => start,
            None => {
                self.bytes.resize(len.max(STEP), 0);
                let read = storage.read_at(offset, &mut self.bytes)?;
                self.bytes.truncate(read);
                self.at = offset;
                0
            }
        };
        let end = self.bytes.len().min(start + len);
        Ok(&self.bytes[start..end])
    }
}

/// The number that a payload begins with.
fn leading_number(payload: &[u8]) -> Option<u32> {
    Reader::new(payload).varint().ok().and_then(|number| u32::try_from(number).ok())
}
