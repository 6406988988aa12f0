//! The ledger: blockmill's own proof-of-work chain of Ed25519-signed account transactions.
//!
//! It is being built. What is here so far: its parameters with genesis and chain id ([`Params`]),
//! accounts, the encodings of transactions ([`Transaction`]) and what is signed, and the difficulty
//! ([`asert`]). Blocks, state, dumps and the rules that join them are not.

mod account;
pub mod asert;
mod params;
mod transaction;

pub use account::{Account, ParseAccountError};
pub use params::{InvalidParams, Params, RULES_VERSION};
pub use transaction::{
    MEMO_LEN_MAX, PAYLOAD_LEN_MAX, SIGNATURE_LEN, Signature, TAG_LEN_MAX, Transaction,
};
