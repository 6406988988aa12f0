//! Bitcoin's consensus rules, as Bitcoin Core applies them, under Core's reject reasons.

mod block;
mod body_rules;
mod chain;
mod difficulty;
mod genesis;
mod header_rules;
mod params;
mod recognise;
mod sigops;

pub use block::{Block, BlockEnd, Input, Output, Transaction};
pub use body_rules::{
    BLOCK_WEIGHT_MAX, BlockContext, BodyRules, LOCK_TIME_THRESHOLD, MONEY_MAX, SIGOPS_COST_MAX,
    WITNESS_SCALE, check_transaction, claimed_height,
};
pub use chain::{
    BlockEvent, BlockStore, HeaderStore, LoadedBlocks, LoadedHeaders, StoredBlock, params_of_head,
};
pub(crate) use chain::{NextHeaders, Packer};
pub use difficulty::retarget;
pub use genesis::{genesis_block, put_block_record};
pub use header_rules::{FUTURE_MAX_S, HeaderRules, TIMEWARP_MAX_S};
pub use params::{ActivationHeights, Network, Params, UnknownName, magic_of};
pub use recognise::network_of;
pub use sigops::legacy_sigops;
