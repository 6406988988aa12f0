//! Mining: which transactions a block takes, and the search for nonces above the backends.

mod grind;
mod header_range;
mod ledger_miner;
mod template;

pub use grind::Ground;
pub use header_range::{HeaderRange, VersionMask, VersionMaskError};
pub use ledger_miner::{Effort, Mined, MiningTimes, NotMined, mine_block};
pub use template::Template;
