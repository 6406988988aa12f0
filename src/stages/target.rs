//! The chain file that takes what passes.

use std::io;
use std::path::{Path, PathBuf};

use crate::bitcoin::{BlockStore, HeaderRules, LoadedBlocks, LoadedHeaders, Params};
use crate::chain::HeaderTree;
use crate::chain::file::{
    AnyStorage, BranchFile, ChainFile, ChainFileError, FileHead, FileStorage, Storage,
};
use crate::error::Error;
use crate::ledger::{self, LoadedLedger};
use crate::primitives::Hash256;

use super::Stored;
use super::header_sink::HeaderSink;

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
            // Whoever waits has what was found synced as well.
            if file.is_settled() && !wait {
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
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub(super) enum Opened<'a> {
    Nothing,
    Headers(HeaderSink<'a>),
    Blocks(BlockStore, Commits<'a>),
}

impl<'a> Append<'a> {
    pub(super) const fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Opens the file, and gives it with the tree of what it holds. With `overlap`, headers are appended by
    /// threads of their own; blocks are left to [`super::follow::Sink`].
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
