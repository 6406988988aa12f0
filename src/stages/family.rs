//! What the two families of chains do in their own way where bodies are judged.

use std::io;
use std::ops::Range;

use crate::chain::file::{BranchFile, ChainFileError};
use crate::chain::{Ancestor, Body, HeaderRules};
use crate::primitives::Hash256;
use crate::verdict::Violation;

/// A family, with the state that the best branch leads to if it has one.
pub(super) trait Family {
    /// The rules on headers.
    type Rules: HeaderRules;
    /// What the rules on a body must know of the blocks before it.
    type Context: Copy + Send;
    /// What is made of a sound body while it is judged, for later.
    type Prepared: Send;
    /// What judges bodies by their own bytes.
    type Judge: JudgeBodies<Self::Context, Prepared = Self::Prepared> + Sync;
    /// The chain file.
    type Store: BranchStore;

    /// Whether a block must be undone before one beside it can be applied.
    const HAS_STATE: bool;

    /// The memory that a body takes while it is judged, about: its bytes, and what is made of them. It must
    /// be cheap to tell.
    fn cost(bytes: &[u8]) -> usize;

    /// A judge of bodies; with `packs` one that also prepares sound ones for the chain file.
    fn judge(&self, packs: bool) -> Self::Judge;

    /// What the rules must know of the blocks before `block`, which may connect to nothing.
    fn context(&self, block: Option<Ancestor<'_>>) -> Self::Context;

    /// What the judge makes of a sound body, of one that it did not see.
    fn prepare(&self, bytes: &[u8]) -> Self::Prepared;

    /// Applies a block whose own bytes are sound.
    ///
    /// # Errors
    /// The first rule that is broken; nothing is changed then.
    fn apply(&mut self, prepared: &Self::Prepared) -> Result<(), Violation>;

    /// Undoes the block that was applied last.
    fn undo(&mut self, bytes: &[u8]);

    /// The body of a block that the chain file holds, where the state is that before it, or with `after`
    /// that after it.
    fn stored_body(
        &self,
        store: &mut Self::Store,
        number: u32,
        block: Ancestor<'_>,
        rules: &Self::Rules,
        after: bool,
    ) -> Result<Vec<u8>, ChainFileError>;

    /// Appends a sound block to the chain file, whose tip is its parent.
    fn append(
        &self,
        store: &mut Self::Store,
        number: u32,
        block: Ancestor<'_>,
        bytes: &[u8],
        prepared: &Self::Prepared,
    ) -> Result<(), ChainFileError>;
}

/// A chain file that holds bodies.
pub(super) trait BranchStore: Sized {
    /// The same, written by a thread of its own.
    fn write_behind(self) -> io::Result<Self>;

    /// The file, with its best branch.
    fn branch(&self) -> &BranchFile;

    /// The file, to append to.
    fn branch_mut(&mut self) -> &mut BranchFile;

    /// Whether the file holds the body of a block.
    fn holds(&self, block: u32) -> bool;
}

/// Judges bodies by their own bytes, batch by batch, several batches at a time.
pub(super) trait JudgeBodies<C> {
    /// What is made of a sound body.
    type Prepared;

    /// How many bytes of bodies the threads of the current rayon pool judge at once well, about.
    fn bytes_at_once(&self) -> usize;

    /// Judges a batch, on the threads of the current rayon pool. The verdict on a body is that of the body
    /// alone, whatever stands in the batch beside it.
    fn judge(&self, bodies: Vec<ReadBody<C>>) -> Vec<JudgedBody<Self::Prepared>>;
}

/// Cuts bodies of these lengths into groups of at most `bytes`, unless `least` of them, one or more, have more. What
/// is read several times is then still in the cache, and there is one for each of as many threads.
pub(super) fn groups(
    lengths: impl Iterator<Item = usize>,
    bytes: usize,
    least: usize,
) -> Vec<Range<usize>> {
    let (mut groups, mut group, mut sum) = (Vec::new(), 0..0, 0_usize);
    for length in lengths {
        sum = sum.saturating_add(length);
        if sum > bytes && group.len() >= least.max(1) {
            groups.push(group.clone());
            (group.start, sum) = (group.end, length);
        }
        group.end += 1;
    }
    groups.push(group);
    groups
}

/// A body to judge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<C> {
    pub(super) body: Body,
    /// The id of its block.
    pub(super) id: Hash256,
    pub(super) known: Known,
    pub(super) context: C,
}

/// What is known of a body before it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// The one body that fits its header is sound; that this is it remains to be seen.
    Block,
    /// It was judged before, and passed.
    Sound,
}

/// A body with its bytes.
#[derive(Debug)]
pub(super) struct ReadBody<C> {
    pub(super) task: Task<C>,
    pub(super) bytes: Vec<u8>,
}

/// A body and what its own bytes say.
#[derive(Debug)]
pub(super) struct JudgedBody<P> {
    pub(super) body: Body,
    pub(super) bytes: Vec<u8>,
    /// What was made of it, if it was looked at, and is sound.
    pub(super) prepared: Option<P>,
    pub(super) verdict: Result<(), Violation>,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_body_is_in_one_group() {
        let groups = |lengths: &[usize]| super::groups(lengths.iter().copied(), 10, 1);
        assert_eq!(groups(&[]), vec![0..0]);
        assert_eq!(groups(&[9, 1]), vec![0..2]);
        assert_eq!(groups(&[9, 2, 8, 1]), [0..1, 1..3, 3..4]);
        assert_eq!(groups(&[50, 0, 4, 50, 60, 1]), [0..1, 1..3, 3..4, 4..5, 5..6]);
        let groups = |least| super::groups([50, 0, 4, 50, 60, 1].into_iter(), 10, least);
        assert_eq!(groups(0), groups(1));
        assert_eq!(groups(2), [0..2, 2..4, 4..6]);
        assert_eq!(groups(5), [0..5, 5..6]);
        assert_eq!(super::groups([usize::MAX, 1].into_iter(), usize::MAX, 1), vec![0..2]);
    }
}
