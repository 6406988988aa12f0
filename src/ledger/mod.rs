//! The ledger: blockmill's own proof-of-work chain of Ed25519-signed account transactions.
//!
//! The ledger is being built. What is here so far is its difficulty, [`asert`].

pub mod asert;
