//! blockmill validates chains of blocks, fast, on whatever hardware is there.
//!
//! The way of the data, one module after the other:
//!
//! ```text
//! dump  ->  stages  ->  compute  ->  chain (rules of bitcoin, ledger)  ->  verdict
//! files     order       hashing      tree of blocks, chain file            rule ids, evidence
//! ```
//!
//! - [`dump`] turns files, directories and pipes into batches of headers, and reads bodies again.
//! - [`stages`] is the pipeline: the only module that knows the order of the work.
//! - [`compute`] hashes, on the CPU or on a device that is never believed.
//! - [`chain`] holds the tree of blocks, knows the branch with the most work, and keeps it in an
//!   append-only file; [`bitcoin`] and [`ledger`] hold the rules by which blocks are judged.
//! - [`verdict`] names rules and evidence; [`Error`] is what keeps blockmill from judging.
//! - [`signature`] is Ed25519 under one written rule, [`keys`] the file of a secret key.
//! - [`primitives`] are the values that all of them share.
//! - `miner` searches headers that meet their target and mines blocks (feature `mine`), [`mod@bench`]
//!   compares backends, [`cli`] is the program.
//!
//! Dependencies flow downward: `primitives` knows nobody, `verdict` only `primitives`, and nobody
//! knows `cli`.
//!
//! Three outcomes are kept apart everywhere: valid, rejected (a verdict, with its rule), and "we
//! could not tell" (an error).

mod allocator;
pub mod bench;
pub mod bitcoin;
pub mod chain;
pub mod cli;
pub mod compute;
pub mod dump;
mod error;
pub mod keys;
pub mod ledger;
#[cfg(feature = "mine")]
pub mod miner;
mod new_file;
mod positioned;
pub mod primitives;
pub mod signature;
pub mod stages;
pub mod verdict;
pub mod wire;

pub use allocator::keep_freed_memory;
pub use error::{Error, Place};
