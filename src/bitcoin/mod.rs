//! Bitcoin's consensus rules, as Bitcoin Core applies them, under Core's reject reasons.

mod block;
mod chain;
mod difficulty;
mod header_rules;
mod params;
mod recognise;

pub use block::{Block, Input, Output, Transaction};
pub use chain::{HeaderStore, LoadedHeaders, params_of_head};
pub use difficulty::retarget;
pub use header_rules::{FUTURE_MAX_S, HeaderRules, TIMEWARP_MAX_S};
pub use params::{ActivationHeights, Network, Params, UnknownName};
pub use recognise::network_of;
