//! The chain file that takes what passes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bitcoin::{BlockStore, HeaderRules, HeaderStore, LoadedBlocks, LoadedHeaders, Params};
use crate::chain::HeaderTree;
use crate::chain::file::{
    AnyStorage, BranchFile, ChainFile, ChainFileError, FileHead, FileStorage, Storage,
};
use crate::error::Error;
use crate::ledger::{self, LoadedLedger};
use crate::primitives::{Hash256, Header};

use super::{Busy, Stored};

/// Headers in a frame.
const RUN_MAX: usize = 1 << 12;

/// How far the best branch is ahead of the file before the file follows.
const AHEAD_MAX: u32 = 100_000;

/// A chain file that takes what passes. `P` are the parameters of the chain, `L` is what the file holds.
pub struct AppendTo<'a, P, L> {
    /// The file, for errors.
    pub path: PathBuf,
    /// Opens the file, or creates it, once the parameters are known. One of another chain is an error.
    pub open: Open<'a, P, L>,
    /// Learns of every commit, when it is safe: the height and the id of the tip.
    pub committed: Committed<'a>,
}

type Open<'a, P, L> = Box<dyn FnMut(&P) -> Result<L, Error> + 'a>;

type Committed<'a> = Box<dyn FnMut(u32, &Hash256) -> Result<(), Error> + 'a>;

/// A chain file that takes the blocks of a ledger.
pub type AppendLedger<'a> = AppendTo<'a, ledger::Params, LoadedLedger>;

/// A chain file that takes Bitcoin's blocks.
pub type AppendBlocks<'a> = AppendTo<'a, Params, LoadedBlocks>;

/// A chain file that takes Bitcoin's headers.
pub type AppendHeaders<'a> = AppendTo<'a, Params, LoadedHeaders>;

/// Opens the chain file at `path` for writing, or creates it with the head that is wanted.
///
/// # Errors
/// If it can be neither opened nor created, or if its head is another one: nothing is written then.
pub fn open_or_create(path: &Path, wanted: &FileHead) -> Result<AnyStorage, Error> {
    let failed = |source| Error::ChainFile { path: path.into(), source };
    let opened = |opened: io::Result<FileStorage>| {
        opened.map_err(|error| failed(ChainFileError::of_opening(error)))
    };
    let is_there = path.try_exists().map_err(|error| failed(error.into()))?;
    if !is_there {
        let bytes = ChainFile::<FileStorage>::empty(wanted);
        return Ok(Box::new(opened(FileStorage::create(path, &bytes))?));
    }
    let storage = opened(FileStorage::open(path))?;
    let head = FileHead::of(&storage).map_err(failed)?;
    match head.difference(wanted) {
        None => Ok(Box::new(storage)),
        Some(why) => Err(Error::usage(format!("{}: {why}", path.display()))),
    }
}

/// Who hears of the file.
pub(super) struct Commits<'a> {
    path: PathBuf,
    committed: Committed<'a>,
}

impl<'a> Commits<'a> {
    pub(super) const fn new(path: PathBuf, committed: Committed<'a>) -> Self {
        Self { path, committed }
    }

    pub(super) fn error(&self, source: ChainFileError) -> Error {
        Error::ChainFile { path: self.path.clone(), source }
    }

    /// Tells of the commits that are safe by now; with `wait`, when all that were begun are. `begun` says
    /// whether the last of them could be.
    pub(super) fn acknowledge(
        &mut self,
        branch: &mut BranchFile,
        begun: Result<(), ChainFileError>,
        wait: bool,
    ) -> Result<(), Error> {
        let file = branch.file_mut();
        let mut told = Ok(());
        // Those before one that failed are safe all the same.
        for wait in [wait, false] {
            if file.is_settled() {
                break;
            }
            match file.settled(wait) {
                Ok(settled) => {
                    for commit in settled {
                        (self.committed)(commit.tip.height, &commit.tip.id)?;
                    }
                    break;
                }
                Err(error) => told = Err(error),
            }
        }
        begun.and(told).map_err(|source| self.error(source))
    }

    pub(super) fn stored<S: Storage>(&self, file: &ChainFile<S>) -> Stored {
        let commit = file.commit_record();
        Stored {
            path: self.path.clone(),
            height: commit.tip.height,
            id: commit.tip.id,
            bytes: commit.len,
        }
    }
}

/// The chain file of one of Bitcoin's networks, which opens once that is known.
#[derive(Default)]
pub(super) enum Append<'a> {
    #[default]
    Nothing,
    Headers(AppendHeaders<'a>),
    Blocks(AppendBlocks<'a>),
}

/// The same, open.
pub(super) enum Opened<'a> {
    Nothing,
    Headers(HeaderSink<'a>),
    Blocks(BlockStore, Commits<'a>),
}

impl<'a> Append<'a> {
    pub(super) const fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Opens the file, and gives it with the tree of what it holds. With `overlap`, headers are written by a
    /// thread of its own; blocks are left to [`super::follow::Sink`].
    pub(super) fn open(
        self,
        params: &Params,
        overlap: bool,
    ) -> Result<(Opened<'a>, Option<HeaderTree<HeaderRules>>), Error> {
        match self {
            Self::Nothing => Ok((Opened::Nothing, None)),
            Self::Headers(append_to) => {
                let (sink, tree) = HeaderSink::open(append_to, params, overlap)?;
                Ok((Opened::Headers(sink), Some(tree)))
            }
            Self::Blocks(AppendTo { path, mut open, committed }) => {
                let LoadedBlocks { store, tree } = open(params)?;
                let found = LoadedBlocks::file_head(store.params());
                if let Some(why) = found.difference(&LoadedBlocks::file_head(params)) {
                    return Err(Error::usage(format!("{}: {why}", path.display())));
                }
                Ok((Opened::Blocks(store, Commits::new(path, committed)), Some(tree)))
            }
        }
    }
}

/// The way of headers into a chain file.
pub(super) struct HeaderSink<'a> {
    store: HeaderStore,
    commits: Commits<'a>,
    /// The number of the first header that the file did not hold, once there is one.
    first: Option<u32>,
    /// What the tree does not keep of the headers from there on.
    seals: Vec<Seal>,
    /// How long this thread was busy with the file: before the end, and then.
    appending: Duration,
    ending: Duration,
}

/// What the tree of headers does not keep of one.
struct Seal {
    merkle_root: Hash256,
    nonce: u32,
}

impl<'a> HeaderSink<'a> {
    /// Opens the file of `append_to`, and gives it with the tree of what it holds.
    fn open(
        append_to: AppendHeaders<'a>,
        params: &Params,
        overlap: bool,
    ) -> Result<(Self, HeaderTree<HeaderRules>), Error> {
        let AppendTo { path, mut open, committed } = append_to;
        let LoadedHeaders { store, tree } = open(params)?;
        let found = LoadedHeaders::file_head(store.params());
        if let Some(why) = found.difference(&LoadedHeaders::file_head(params)) {
            return Err(Error::usage(format!("{}: {why}", path.display())));
        }
        let commits = Commits::new(path, committed);
        let store = if overlap { store.write_behind() } else { Ok(store) };
        let store = store.map_err(|error| commits.error(error.into()))?;
        Ok((
            Self {
                store,
                commits,
                first: None,
                seals: Vec::new(),
                appending: Duration::ZERO,
                ending: Duration::ZERO,
            },
            tree,
        ))
    }

    /// Learns of a header that got a number in the tree; they come without gaps.
    pub(super) fn took(&mut self, number: u32, header: &Header) {
        let first = *self.first.get_or_insert(number);
        debug_assert_eq!((number - first) as usize, self.seals.len());
        self.seals.push(Seal { merkle_root: header.merkle_root(), nonce: header.nonce() });
    }

    /// Brings the file to the best branch if that is far ahead.
    pub(super) fn keep_up(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        let height = tree.block(self.store.tip()).height();
        let mut begun = Ok(());
        if tree.best_height().saturating_sub(height) >= AHEAD_MAX {
            let start = Instant::now();
            begun = self.begin_to_follow(tree);
            self.appending += start.elapsed();
        }
        self.commits.acknowledge(self.store.branch_mut(), begun, false)
    }

    /// Waits until what was begun is safe.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.commits.acknowledge(self.store.branch_mut(), Ok(()), true)
    }

    /// Brings the file to the best branch, commits, and waits until all of it is safe.
    pub(super) fn finish(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        let start = Instant::now();
        let begun = self.begin_to_follow(tree);
        self.ending += start.elapsed();
        self.commits.acknowledge(self.store.branch_mut(), begun, true)
    }

    /// Brings the file to the best branch, and begins to commit.
    fn begin_to_follow(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), ChainFileError> {
        let (tip, best) = (self.store.tip(), tree.best());
        if tree.block(best).work() > tree.block(tip).work() {
            self.append(tree, tip, best)?;
        }
        if !self.store.file().is_dirty() {
            return Ok(());
        }
        let tip = tree.block(self.store.tip());
        self.store.branch_mut().begin_commit(tip)
    }

    fn append(
        &mut self,
        tree: &HeaderTree<HeaderRules>,
        tip: u32,
        best: u32,
    ) -> Result<(), ChainFileError> {
        let (back, forth) = tree.route(tip, best);
        if let Some(last) = back.last() {
            let fork = tree.parent(*last).expect("genesis is never taken back");
            let count = tree.block(tip).height() - tree.block(fork).height();
            self.store.take_back(count, fork)?;
        }
        let mut run = Vec::with_capacity(RUN_MAX.min(forth.len()));
        for numbers in forth.chunks(RUN_MAX) {
            run.clear();
            for &number in numbers {
                run.push((number, self.header(tree, number)?));
            }
            self.store.append(&run, tree.block(self.store.tip()))?;
        }
        Ok(())
    }

    /// A header of the tree, whole.
    fn header(
        &mut self,
        tree: &HeaderTree<HeaderRules>,
        number: u32,
    ) -> Result<Header, ChainFileError> {
        let block = tree.block(number);
        let place = self.first.and_then(|first| number.checked_sub(first));
        let seal = place.and_then(|place| self.seals.get(place as usize));
        let Some((seal, parent)) = seal.zip(block.parent()) else {
            return self.store.header(number, block);
        };
        let (version, time, bits) = (block.version(), block.time(), block.bits());
        Ok(Header::from_fields(version, parent.id(), seal.merkle_root, time, bits, seal.nonce))
    }

    pub(super) fn stored(&self) -> Stored {
        self.commits.stored(self.store.file())
    }

    /// Adds how long it took; what took place while headers were connected was counted as that.
    pub(super) fn add_to(&self, busy: &mut Busy) {
        busy.append += self.appending + self.ending + self.store.file().busy_behind();
        busy.connect = busy.connect.saturating_sub(self.appending);
    }
}
