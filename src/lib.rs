//! blockmill
pub mod bench;
pub mod bitcoin;
pub mod chain;
pub mod cli;
pub mod compute;
pub mod dump;
mod error;
#[cfg(feature = "mine")]
pub mod miner;
pub mod primitives;
pub mod stages;
pub mod verdict;
pub use error::{Error, Place};
