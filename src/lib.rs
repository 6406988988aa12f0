//! blockmill validates chains of blocks, fast, on whatever hardware is there.
//!
//! The way of the data, one module after the other:
//!
//! ```text
//! dump  ->  stages  ->  compute  ->  chain (with the rules of bitcoin)  ->  verdict
//! files     order       hashing      tree of headers                        rule ids, evidence
//! ```
//!
//! - [`dump`] turns files, directories and pipes into batches of headers.
//! - [`stages`] is the pipeline: the only module that knows the order of the work.
//! - [`compute`] hashes, on the CPU or on a device that is never believed.
//! - [`chain`] holds the tree of headers and knows the branch with the most work; [`bitcoin`] holds
//!   the rules by which a header is judged.
//! - [`verdict`] names rules and evidence; [`Error`] is what keeps blockmill from judging.
//! - [`signature`] is Ed25519 under one written rule; [`ledger`] holds the ledger's rules, being built.
//! - [`keys`] keeps the secret keys that sign for a ledger's accounts.
//! - [`primitives`] are the values that all of them share.
//! - `miner` searches nonces (feature `mine`), [`mod@bench`] compares backends, [`cli`] is the program.
//!
//! Dependencies flow downward: `primitives` knows nobody, `verdict` only `primitives`, and nobody
//! knows `cli`.
//!
//! Three outcomes are kept apart everywhere: valid, rejected (a verdict, with its rule), and "we
//! could not tell" (an error).

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

pub use error::{Error, Place};
