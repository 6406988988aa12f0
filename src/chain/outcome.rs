//! What a header tree says in the end.

use crate::primitives::{Hash256, Work};
use crate::verdict::{Position, Rejection};

/// The end of the branch with the most work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The number of blocks before it.
    pub height: u32,
    /// The block id.
    pub id: Hash256,
    /// The work of the whole branch; after a trusted start, from there on.
    pub work: Work,
}

/// How the blocks of the input divide. `seen` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// Blocks in the input.
    pub seen: u64,
    /// Blocks on the branch with the most work.
    pub best_branch: u64,
    /// Sound blocks on other branches.
    pub side: u64,
    /// Blocks that no chain of parents connects to a known start.
    pub orphans: u64,
    /// Blocks whose ancestors' bodies are missing or mutated.
    pub unconnected: u64,
    /// Repetitions of blocks that were not rejected.
    pub duplicates: u64,
    /// Blocks that break a rule.
    pub rejected: u64,
}

/// The end of a branch that is not the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideBranch {
    /// Its last block.
    pub tip: Tip,
    /// The height of the last block that it shares with the best branch.
    pub fork_height: u32,
    /// The place of its last block in the input.
    pub position: Position,
}

/// Blocks that hang together but connect to nothing, because the parent of the lowest is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrphanGroup {
    /// The missing block.
    pub parent: Hash256,
    /// How many blocks descend from it.
    pub blocks: u64,
    /// The place of the first of them in the input.
    pub position: Position,
}

/// The verdict on a set of headers.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The best branch; the start itself if nothing connects.
    pub tip: Tip,
    /// How the blocks divide.
    pub blocks: BlockCounts,
    /// The first rejections, in the order of the input.
    pub rejections: Vec<Rejection>,
    /// How many rejections the list leaves out.
    pub rejections_omitted: u64,
    /// The ends of the other branches in the order of the input, no more than
    /// [`Outcome::BRANCHES_MAX`].
    pub side_branches: Vec<SideBranch>,
    /// How many side branches the list leaves out.
    pub side_branches_omitted: u64,
    /// The orphans by missing parent in the order of the input, no more than
    /// [`Outcome::BRANCHES_MAX`].
    pub orphan_groups: Vec<OrphanGroup>,
    /// How many groups of orphans the list leaves out.
    pub orphan_groups_omitted: u64,
}

impl Outcome {
    /// How many side branches, and how many groups of orphans, are listed.
    pub const BRANCHES_MAX: usize = 1000;
}
