//! A chain file together with the best branch that it holds.

use std::io;
use std::panic::resume_unwind;
use std::thread::{self, Builder, ScopedJoinHandle};

use crate::chain::Ancestor;
use crate::primitives::Hash256;

use super::id_tree::IdTree;
use super::{AnyStorage, ChainFile, ChainFileError, TipRecord};

/// How many ids are worth a thread that hashes them.
const HASHED_BESIDE_MIN: usize = 1 << 10;

/// A chain file that knows its tip in a tree of headers.
pub(crate) struct BranchFile {
    file: ChainFile<AnyStorage>,
    /// The number of the tip in the tree.
    tip: u32,
    /// The tree over the ids of the best branch, once somebody needs it; not while blocks were taken back since.
    ids: Option<IdTree>,
    /// Whether the file is written by a thread of its own.
    is_behind: bool,
}

impl BranchFile {
    /// A file that was read up to `tip`, whose number in the tree is `number`. Holds what was read
    /// against what was committed.
    pub(crate) fn new(
        file: ChainFile<AnyStorage>,
        number: u32,
        tip: Ancestor<'_>,
    ) -> Result<Self, ChainFileError> {
        let mut branch = Self { file, tip: number, ids: None, is_behind: false };
        let found = branch.tip_record(tip);
        let commit = *branch.file.commit_record();
        if branch.file.opening().kept == 0 && found != commit.tip {
            return Err(ChainFileError::Damaged {
                offset: commit.len,
                height: found.height,
                what: format!(
                    "the tip is {} at height {}, and {} at height {} was committed",
                    found.id, found.height, commit.tip.id, commit.tip.height
                ),
            });
        }
        branch.file.mend_with(found);
        Ok(branch)
    }

    /// The same, written by a thread of its own: see [`ChainFile::write_behind`].
    pub(crate) fn write_behind(self) -> io::Result<Self> {
        Ok(Self { file: self.file.write_behind()?, is_behind: true, ..self })
    }

    /// The file.
    pub(crate) const fn file(&self) -> &ChainFile<AnyStorage> {
        &self.file
    }

    /// The file, to append to.
    pub(crate) const fn file_mut(&mut self) -> &mut ChainFile<AnyStorage> {
        &mut self.file
    }

    /// The number of the tip in the tree.
    pub(crate) const fn tip(&self) -> u32 {
        self.tip
    }

    /// The block `number`, whose frame was appended, is the tip now.
    pub(crate) fn extended(&mut self, number: u32, id: &Hash256) {
        self.tip = number;
        if let Some(ids) = &mut self.ids {
            ids.push(*id);
        }
    }

    /// Has `append` append headers that have these ids, and of which the last is the tip then, as `number`.
    pub(crate) fn append_headers(
        &mut self,
        number: u32,
        ids: impl ExactSizeIterator<Item = Hash256> + Clone + Sync,
        append: impl FnOnce(&mut ChainFile<AnyStorage>) -> Result<(), ChainFileError>,
    ) -> Result<(), ChainFileError> {
        let Self { file, ids: tree, .. } = self;
        let hash = |tree: &mut Option<IdTree>| {
            if let Some(tree) = tree {
                ids.clone().for_each(|id| tree.push(id));
            }
        };
        // Frames take about as long to hash as ids.
        let is_worth_it = self.is_behind && ids.len() >= HASHED_BESIDE_MIN;
        let (appended, is_hashed) = thread::scope(|scope| {
            let hashing = is_worth_it.then(|| Builder::new().spawn_scoped(scope, || hash(tree)));
            let appended = append(file);
            // Without a thread the work is done all the same.
            match hashing.and_then(Result::ok).map(ScopedJoinHandle::join) {
                Some(Err(panic)) => resume_unwind(panic),
                hashed => (appended, hashed.is_some()),
            }
        });
        if !is_hashed {
            hash(tree);
        }
        self.tip = number;
        appended
    }

    /// Takes blocks back; `tip` is the block that is the tip then.
    pub(crate) fn take_back(&mut self, blocks: u32, tip: u32) -> Result<(), ChainFileError> {
        self.file.append_take_back(blocks)?;
        self.tip = tip;
        self.ids = None;
        Ok(())
    }

    /// Commits what was appended. `tip` is the tip in the tree.
    pub(crate) fn commit(&mut self, tip: Ancestor<'_>) -> Result<(), ChainFileError> {
        let record = self.tip_record(tip);
        self.file.commit(record)
    }

    /// Begins to commit what was appended: see [`ChainFile::begin_commit`]. `tip` is the tip in the tree.
    pub(crate) fn begin_commit(&mut self, tip: Ancestor<'_>) -> Result<(), ChainFileError> {
        let record = self.tip_record(tip);
        self.file.begin_commit(record)
    }

    /// The same where the tree is out of reach: the tip is at this height and has this id.
    ///
    /// # Panics
    /// If blocks were taken back, and [`BranchFile::know_ids`] was not called since.
    pub(crate) fn begin_commit_at(
        &mut self,
        height: u32,
        id: Hash256,
    ) -> Result<(), ChainFileError> {
        let record = self.tip_record_at(height, id);
        self.file.begin_commit(record)
    }

    /// Looks up the ids of the best branch unless they are known. `tip` is the tip in the tree.
    pub(crate) fn know_ids(&mut self, tip: Ancestor<'_>) {
        self.ids.get_or_insert_with(|| IdTree::of(tip));
    }

    fn tip_record(&mut self, tip: Ancestor<'_>) -> TipRecord {
        self.know_ids(tip);
        self.tip_record_at(tip.height(), tip.id())
    }

    fn tip_record_at(&mut self, height: u32, id: Hash256) -> TipRecord {
        let tree_root = self.ids.as_mut().expect("the ids are known").root();
        TipRecord { height, id, tree_root }
    }
}
