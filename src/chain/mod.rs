//! The chain: which headers there are, how they hang together, and which branch is best.

mod block_tree;
mod common_rules;
mod ending;
pub mod file;
mod header_tree;
mod index;
mod node;
mod outcome;
mod rejections;
mod run;
mod stretches;

pub use block_tree::{BlockTree, Body};
pub use common_rules::MEDIAN_BLOCKS;
pub(crate) use common_rules::{proof_of_work_is_valid, time_is_after_median};
pub use header_tree::{HeaderRules, HeaderTree, Start};
pub use node::{Ancestor, Candidate};
pub use outcome::{BlockCounts, OrphanGroup, Outcome, SideBranch, Tip};
pub use run::Steady;
