//! The chain: which headers there are, how they hang together, and which branch is best.

mod ending;
mod header_tree;
mod node;
mod outcome;
mod rejections;

pub use header_tree::{HeaderRules, HeaderTree, Start};
pub use node::{Ancestor, Candidate};
pub use outcome::{BlockCounts, OrphanGroup, Outcome, SideBranch, Tip};
