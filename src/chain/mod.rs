//! The chain: which headers there are, how they hang together, and which branch is best.

mod header_tree;
mod outcome;
mod rejections;

pub use header_tree::{Ancestor, Candidate, HeaderRules, HeaderTree, Start};
pub use outcome::{BlockCounts, OrphanGroup, Outcome, SideBranch, Tip};
